/*
 * parse.c - text to graph. The language is at the head of print.c.
 *
 * In: text and its name. Out: a checked graph, or NULL and an error "name:line:column: expected this, found
 * that". The parser knows the table, not the ops: words of an op's schema in their order, types from its
 * infer rule. Only what has a block of its own is spelt out: `data` with its elements and `region` with its
 * bodies.
 */
#include "graph.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 128 };                         /* bodies in bodies */

typedef struct Named { const char *s; size_t n; Ref v; } Named;

/* Names of one function's values: an open hash table. */
typedef struct Scope { Named *slot; int cap, used; } Scope;

/* Of the instruction that is being read; one for all of them, for bodies in bodies are read on the stack. */
typedef struct Buffers { Attr attr; int64_t list[ATTR_MAX]; } Buffers;

typedef struct Parse {
    const char *name, *p, *line_start, *end;
    int line, depth;
    bool failed;
    Buffers *buffers;
} Parse;

/* ==================== where we are, and complaints */

static void skip(Parse *q)
{
    for (;; q->p++) {
        if (*q->p == ';')
            q->p += strcspn(q->p, "\n");
        if (*q->p == '\n') {
            q->line++;
            q->line_start = q->p + 1;
        } else if (!isspace((unsigned char)*q->p)) {
            return;
        }
    }
}

/* At a place on the current line. */
static bool fail_at(Parse *q, const char *at, const char *what)
{
    if (!q->failed && !error_pending()) {
        Loc before = loc_set((Loc){ 0 });
        error_set(E_INVAL, "%s:%d:%d: %s", q->name, q->line, (int)(at - q->line_start) + 1, what);
        loc_set(before);
    }
    q->failed = true;
    return false;
}

/* At a place that was passed lines ago. */
static bool fail_back(Parse *q, const Parse *then, const char *what)
{
    q->line = then->line;
    q->line_start = then->line_start;
    return fail_at(q, then->p, what);
}

static bool expected(Parse *q, const char *what)
{
    skip(q);
    int n = (int)strcspn(q->p, " \t\r\n,;(){}[]|");
    n = n ? n > 24 ? 24 : n : *q->p != 0;
    return fail_at(q, q->p, n ? arena_text("expected %s, found '%.*s'", what, n, q->p)
                              : arena_text("expected %s, found the end", what));
}

/* ==================== tokens */

static bool peek(Parse *q, char c) { skip(q); return !q->failed && *q->p == c; }

static bool take(Parse *q, char c)
{
    if (!peek(q, c))
        return false;
    q->p++;
    return true;
}

static bool need(Parse *q, char c)
{
    return take(q, c) || expected(q, arena_text("'%c'", c));
}

static bool word_char(char c) { return isalnum((unsigned char)c) || c == '_'; }

/* A name or keyword; NULL if there is none. */
static const char *word(Parse *q, size_t *n)
{
    skip(q);
    const char *s = q->p;
    if (q->failed || (!isalpha((unsigned char)*s) && *s != '_'))
        return NULL;
    while (word_char(*q->p))
        q->p++;
    *n = (size_t)(q->p - s);
    return s;
}

static bool is(const char *s, size_t n, const char *t) { return s && strlen(t) == n && !memcmp(s, t, n); }

static bool take_word(Parse *q, const char *t)
{
    size_t n;
    skip(q);
    const char *at = q->p, *s = word(q, &n);
    if (is(s, n, t))
        return true;
    q->p = at;
    return false;
}

static bool need_word(Parse *q, const char *t)
{
    return take_word(q, t) || expected(q, arena_text("'%s'", t));
}

static bool integer(Parse *q, int64_t *v)
{
    skip(q);
    char *end;
    errno = 0;
    *v = *q->p == '-' || isdigit((unsigned char)*q->p) ? strtoll(q->p, &end, 10) : (end = (char *)q->p, 0);
    if (end == q->p || errno == ERANGE)
        return expected(q, "an integer");
    q->p = end;
    return true;
}

static bool natural(Parse *q, int64_t most, int64_t *v)
{
    skip(q);
    const char *at = q->p;
    return integer(q, v) &&
        ((*v >= 0 && *v <= most) ||
            fail_at(q, at, arena_text("expected a number from 0 to %lld", (long long)most)));
}

/* What follows a backslash: xNN is a byte, any other is itself. */
static char escaped(Parse *q)
{
    char hex[3] = { 0 };
    if (*q->p != 'x' || !isxdigit((unsigned char)q->p[1]) || !isxdigit((unsigned char)q->p[2]))
        return *q->p++;
    memcpy(hex, q->p + 1, 2);
    q->p += 3;
    return (char)strtol(hex, NULL, 16);
}

/* Does a character of a string come next? Strings end with their line. */
static bool in_string(const char *s)
{
    return *s && *s != '"' && *s != '\n' && (*s != '\\' || (s[1] && s[1] != '\n'));
}

static const char *string(Parse *q)
{
    if (!need(q, '"'))
        return NULL;
    size_t n = 1;
    for (const char *s = q->p; in_string(s); s += *s == '\\' ? 2 : 1)
        n++;
    char *s = NEWS(char, n), *to = s;
    while (in_string(q->p)) {
        const char *at = q->p++;
        *to = *at == '\\' ? escaped(q) : *at;
        if (!*to++)
            return fail_at(q, at, "expected a character, found one that is zero"), NULL;
    }
    return need(q, '"') ? intern(s) : NULL;
}

/* ==================== names of values */

static Named *scope_slot(const Scope *c, const char *s, size_t n)
{
    int k = (int)(hash_bytes(s, n, 0) & (uint64_t)(c->cap - 1));
    while (c->slot[k].s && (c->slot[k].n != n || memcmp(c->slot[k].s, s, n)))
        k = (k + 1) & (c->cap - 1);
    return &c->slot[k];
}

static Ref scope_find(const Scope *c, const char *s, size_t n)
{
    return c->cap ? scope_slot(c, s, n)->v : 0;
}

static void scope_add(Scope *c, const char *s, size_t n, Ref v)
{
    if (2 * c->used >= c->cap) {
        Scope old = *c;
        c->cap = old.cap ? 2 * old.cap : 64;
        c->slot = NEWS(Named, c->cap);
        for (int k = 0; k < old.cap; k++)
            if (old.slot[k].s)
                *scope_slot(c, old.slot[k].s, old.slot[k].n) = old.slot[k];
    }
    *scope_slot(c, s, n) = (Named){ s, n, v };
    c->used++;
}

/* ==================== types and definitions */

static bool type(Parse *q, Type *t)
{
    size_t n = 0;
    int64_t dim[MAXRANK];
    int rank = 0;
    skip(q);
    const char *at = q->p, *s = word(q, &n);
    Dtype dt = s ? dtype_parse(s, n) : DT_NONE;
    q->p = s && !dt ? at : q->p;
    if (!dt)
        return expected(q, "a dtype");
    if (!need(q, '['))
        return false;
    while (!peek(q, ']')) {
        if (rank && !need(q, ','))
            return false;
        if (rank == MAXRANK)
            return fail_at(q, q->p, arena_text("expected at most %d dimensions", MAXRANK));
        if (!natural(q, INT64_MAX, &dim[rank++]))
            return false;
    }
    *t = type_of(dt, rank, dim);
    int64_t size = 1;
    for (int k = 0; k < rank; k++)
        if (__builtin_mul_overflow(size, dim[k] ? dim[k] : 1, &size) || size > INT64_MAX / 16)
            return fail_at(q, at, "expected a type whose size can be counted");
    return need(q, ']');
}

typedef struct Def { const char *s; size_t n; Type t; uint8_t flag; } Def;

static bool definition(Parse *q, const Scope *c, Def *d)
{
    skip(q);
    const char *at = q->p;
    d->s = word(q, &d->n);
    if (!d->s)
        return expected(q, "the name of a value");
    if (scope_find(c, d->s, d->n) || is(d->s, d->n, "ret"))
        return fail_at(q, at, arena_text("expected a new name, found '%.*s' again", (int)d->n, d->s));
    if (!need(q, ':') || !type(q, &d->t))
        return false;
    d->flag = 0;
    if (*q->p == '\'') {
        q->p++;
        d->flag |= V_LIN;
    }
    if (*q->p == '+') {
        q->p++;
        d->flag |= V_ACC;
    }
    return true;
}

static bool value(Parse *q, const Scope *c, Ref *v)
{
    size_t n = 0;
    skip(q);
    const char *at = q->p, *s = word(q, &n);
    *v = s ? scope_find(c, s, n) : 0;
    if (!*v) {
        q->p = at;
        expected(q, "a value defined before");
    }
    return *v;
}

/* ==================== elements */

static bool element(Parse *q, Dtype dt, void *to)
{
    skip(q);
    const char *at = q->p;
    char *end = (char *)at;
    if (q->p[0] == '0' && q->p[1] == 'x') {     /* the bits */
        errno = 0;
        uint64_t bits = strtoull(q->p, &end, 16);
        if (errno || dtype_size(dt) > 8 || (dtype_size(dt) < 8 && bits >> (8 * dtype_size(dt))))
            return expected(q, arena_text("the bits of %s", dtype_name(dt)));
        dtype_store_i(dt, to, (int64_t)bits);
    } else if (dt == DT_BOOL) {
        bool yes = take_word(q, "true");
        if (!yes && !take_word(q, "false"))
            return expected(q, "true or false");
        dtype_store_i(dt, to, yes);
        return true;
    } else if (dtype_int(dt) || (dtype_stored(dt) && !dtype_f8(dt))) {
        errno = 0;
        int64_t v = *at == '-' ? strtoll(at, &end, 10) : (int64_t)strtoull(at, &end, 10);
        dtype_store_i(dt, to, v);
        if (errno || dtype_load_i(dt, to) != v || (*at == '-') != (v < 0 && !dtype_unsigned(dt)))
            end = (char *)at;
    } else if (dtype_float(dt) || dtype_f8(dt)) {
        dtype_store_f(dt, to, strtod(at, &end));
    }
    if (end == at)
        return expected(q, arena_text("an element of %s", dtype_name(dt)));
    q->p = end;
    return true;
}

/* { elements }: all of a type's, row-major; complex ones as pairs. */
static const void *blob(Parse *q, const Type *t, size_t *bytes)
{
    Dtype dt = t->dt == DT_C64 ? DT_F32 : t->dt == DT_C128 ? DT_F64 : (Dtype)t->dt;
    size_t size = dtype_size(dt), n = 0, cap = 0;
    char *data = NULL;
    *bytes = type_bytes(t);
    if (!need(q, '{'))
        return NULL;
    for (; n < *bytes; n += size) {             /* grows with the text: a type may claim anything */
        if (n + size > cap) {
            data = arena_grow(data, n, cap ? 2 * cap : 256);
            cap = cap ? 2 * cap : 256;
        }
        if (!element(q, dt, data + n))
            return NULL;
    }
    return need(q, '}') ? data ? data : arena_alloc(1) : NULL;
}

/* ==================== attributes */

static bool attr_value(Parse *q, const char *w, Dtype dt, int64_t *v)
{
    char e[16] = { 0 };
    if (!strcmp(w, "dtype")) {
        size_t len = 0;
        skip(q);
        const char *at = q->p, *s = word(q, &len);
        *v = s ? dtype_parse(s, len) : DT_NONE;
        q->p = *v ? q->p : at;
        return *v || expected(q, "a dtype");
    }
    if (!strcmp(w, "name") || !strcmp(w, "names")) {
        const char *s = string(q);
        *v = (int64_t)(intptr_t)s;
        return s != NULL;
    }
    if (strcmp(w, "bits"))
        return integer(q, v);
    if (!element(q, dt = dt == DT_C128 ? DT_F64 : dt, e)) /* it has no imaginary part */
        return false;
    *v = dtype_load_i(dt, e);
    return true;
}

static bool attr_words(Parse *q, Op op, Attr *a)
{
    Dtype dt = DT_NONE;
    int64_t *v = q->buffers->list;
    a->n = 0;
    for (const AttrWord *w = optab[op].attrs; w->word; w++) {
        size_t len = 0;
        skip(q);
        const char *at = q->p, *s = word(q, &len);
        int count = 0;
        if (!s || !is(s, len, w->word) || *q->p != '=') {
            q->p = at;
            return expected(q, arena_text("'%s='", w->word));
        }
        q->p++;
        if (take(q, '(')) {
            if (!need(q, ')'))
                return false;
        } else {
            do {
                if (count == ATTR_MAX || !attr_value(q, w->word, dt, &v[count++]))
                    return count == ATTR_MAX ? fail_at(q, at, "expected fewer values") : false;
            } while (take(q, ','));
        }
        if (!w->list && count != 1)
            return fail_at(q, at, arena_text("expected one value for %s", w->word));
        if (!strcmp(w->word, "dtype"))
            dt = (Dtype)v[0];
        attr_list(a, v, count);
    }
    return true;
}

static bool place(Parse *q, Loc *l)
{
    int64_t line;
    *l = (Loc){ 0 };
    if (!take(q, '@'))
        return true;
    l->file = string(q);
    if (!l->file || !need(q, ':') || !natural(q, INT32_MAX, &line))
        return false;
    l->line = (int)line;
    return true;
}

/* ==================== regions */

static bool count(Parse *q, const char *w, int64_t most, int64_t *v)
{
    return need_word(q, w) && need(q, '=') && natural(q, most, v);
}

static bool marks(Parse *q, const char *w, uint8_t *m, int n, int nlane)
{
    if (!need_word(q, w) || !need(q, '('))
        return false;
    for (int k = 0; k < n * nlane; k++) {
        skip(q);
        const char *at = *q->p ? strchr("=|+", *q->p) : NULL;
        if (!at)
            return expected(q, arena_text("a mark (= | +): %d for each of %d", nlane, n));
        m[k] = (uint8_t)(at - strchr("=|+", '='));
        q->p++;
    }
    return need(q, ')');
}

static bool lanes(Parse *q, Region *r, int nin, int nout)
{
    int cap = 0;
    if (!need(q, '('))
        return false;
    while (!peek(q, ')')) {
        Lane l = { 0 };
        if (!natural(q, INT64_MAX, &l.size))
            return false;
        if (take(q, ':') && !(l.name = string(q)))
            return false;
        if (take(q, '@') && !(l.place = string(q)))
            return false;
        PUSH(r->lane, r->nlane, cap, l);
    }
    /* each has its mark in the text */
    if ((size_t)r->nlane * ((size_t)nin + (size_t)nout) > (size_t)(q->end - q->p))
        return expected(q, "a mark for each lane axis of each operand and result");
    r->im = NEWS(uint8_t, (size_t)nin * (size_t)r->nlane);
    r->om = NEWS(uint8_t, (size_t)nout * (size_t)r->nlane);
    return need(q, ')') && marks(q, "in", r->im, nin, r->nlane) && marks(q, "out", r->om, nout, r->nlane);
}

static bool region_kind(Parse *q, uint8_t *kind)
{
    for (*kind = 0; *kind < 4; ++*kind)
        if (take_word(q, region_kind_name[*kind]))
            return true;
    return expected(q, "call, scan, while or cond");
}

static bool rule(Parse *q, Region *r, int nin)
{
    int64_t closed = 0;
    int kind = RULE_JVP;
    const char *name;
    while (kind <= RULE_VMAP && !take_word(q, rule_word[kind]))
        kind++;
    if (kind > RULE_VMAP)
        return expected(q, "jvp, vjp, back or vmap");
    if (!count(q, "closed", nin, &closed) || !(name = string(q)))
        return false;
    r->rule = rule_lost((RuleKind)kind, (int)closed, name);
    return true;
}

static bool region_head(Parse *q, Region *r, int nin, int nout)
{
    int64_t n[4] = { 0 };
    if (!count(q, "cap", nin, &n[0]) || !count(q, "acc", nin, &n[1]) || !count(q, "carry", nin, &n[2]))
        return false;
    if (r->kind == SCAN && !count(q, "length", INT64_MAX, &n[3]))
        return false;
    if (r->kind == WHILE && take_word(q, "trips") && (!need(q, '=') || !integer(q, &r->trips)))
        return false;
    if (r->trips < 0 || r->trips > INT32_MAX)
        return expected(q, "a number of trips");
    r->ncap = (int)n[0], r->nacc = (int)n[1], r->ncarry = (int)n[2], r->length = n[3];
    if (region_npred(r) + r->ncap + region_nloop(r) > nin || region_nloop(r) > nout)
        return expected(q, "as many operands and results as captures, accumulators and carry");
    r->reverse = take_word(q, "reverse");
    r->remat = take_word(q, "remat");
    if (r->remat && take(q, '=') && !(r->save = string(q)))
        return false;
    r->split = take_word(q, "split");
    if (take_word(q, "rule") && !rule(q, r, nin))
        return false;
    r->im = NEWS(uint8_t, 1);
    r->om = NEWS(uint8_t, 1);
    return !take_word(q, "lanes") || lanes(q, r, nin, nout);
}

static Graph *function(Parse *q);

static bool bodies(Parse *q, Graph ***sub, int *nsub)
{
    int cap = 0;
    if (!need(q, '{'))
        return false;
    if (++q->depth > DEEPEST)
        return fail_at(q, q->p, arena_text("expected fewer than %d bodies in each other", DEEPEST));
    while (!peek(q, '}')) {
        Graph *g = function(q);
        if (!g)
            return false;
        PUSH(*sub, *nsub, cap, g);
    }
    q->depth--;
    return (*nsub || expected(q, "a body")) && need(q, '}');
}

/* ==================== instructions */

typedef struct Line { Def *def; int ndef, def_cap; Ref *in; int nin, in_cap; } Line;

/* Operands: names, up to an attribute (a word with = behind it), the next line's definition (:), or anything
 * else. */
static bool operands(Parse *q, const Scope *c, Op op, Line *l)
{
    for (;;) {
        size_t n = 0;
        skip(q);
        Parse before = *q;
        const char *s = word(q, &n);
        bool name = s && scope_find(c, s, n) && *q->p != '=';
        if (s && !name && *q->p != '=' && !is(s, n, "ret")) {
            skip(q);
            if (*q->p != ':') {
                *q = before;
                return expected(q, "a value defined before");
            }
        }
        if (!name) {
            *q = before;
            break;
        }
        Ref v = scope_find(c, s, n);
        PUSH(l->in, l->nin, l->in_cap, v);
    }
    int want = optab[op].nin;
    return want < 0 || want == l->nin
        || expected(q, arena_text("%d operands of %s instead of %d", want, optab[op].name, l->nin));
}

static bool op_name(Parse *q, Op *op)
{
    size_t n = 0;
    skip(q);
    const char *at = q->p, *s = word(q, &n);
    *op = s ? op_find(arena_text("%.*s", (int)n, s)) : OP_NONE;
    if (*op == OP_callback)
        return fail_at(q, at, "a function on the host cannot be read from text");
    if (*op)
        return true;
    q->p = at;
    return expected(q, "an operation");
}

/* Types as the rule of the op gives them; its message, in front of it the place in the text. */
static bool types(Parse *q, const Parse *at, Op op, const Line *l, const Attr *a)
{
    const Type **t = NEWS(const Type *, l->nin);
    int nout = optab[op].nout < 0 ? l->nin : optab[op].nout;
    Type *u = NEWS(Type, nout);
    for (int k = 0; k < l->nin; k++)
        t[k] = typ(l->in[k]);
    Loc before = loc_set((Loc){ q->name, at->line });
    q->failed |= op_infer(op, l->nin, t, a->v, a->n, u) != 0;
    loc_set(before);
    if (!q->failed && nout != l->ndef)
        return fail_back(q, at, arena_text("expected %d results of %s", nout, optab[op].name));
    for (int k = 0; !q->failed && k < nout; k++)
        if (!type_equal(&u[k], &l->def[k].t))
            return fail_back(q, at, arena_text("expected %s as the type of %.*s, found %s", type_text(&u[k]),
                                             (int)l->def[k].n, l->def[k].s, type_text(&l->def[k].t)));
    return !q->failed;
}

static bool instruction(Parse *q, Scope *c)
{
    Line l = { 0 };
    Op op;
    Attr *a = &q->buffers->attr;
    Region r = { 0 };
    Graph **sub = NULL;
    int nsub = 0;
    const void *data = NULL;
    size_t bytes = 0;
    Loc loc;
    skip(q);
    const Parse at = *q;
    if (!peek(q, '='))
        do {
            Def d;
            if (!definition(q, c, &d))
                return false;
            PUSH(l.def, l.ndef, l.def_cap, d);
        } while (take(q, ','));
    if (!need(q, '=') || !op_name(q, &op) || (op == OP_region && !region_kind(q, &r.kind)))
        return false;
    if (!operands(q, c, op, &l) || !attr_words(q, op, a) ||
        (op == OP_region && !region_head(q, &r, l.nin, l.ndef)))
        return false;
    if (op != OP_region && !types(q, &at, op, &l, a))
        return false;
    if (!place(q, &loc) || (op == OP_region && !bodies(q, &sub, &nsub)))
        return false;
    a->n = op == OP_region ? 0 : a->n;          /* what bodies left there */
    if (op == OP_data && !(data = blob(q, &l.def[0].t, &bytes)))
        return false;
    Type *t = NEWS(Type, l.ndef);
    uint8_t *flag = NEWS(uint8_t, l.ndef);
    for (int k = 0; k < l.ndef; k++) {
        t[k] = l.def[k].t;
        flag[k] = l.def[k].flag;
    }
    Loc before = loc_set(loc);
    Ins *i = append(op, l.nin, l.in, a, l.ndef, t, flag);
    loc_set(before);
    i->blob = data;
    i->nblob = bytes;
    i->region = op == OP_region ? arena_copy(&r, sizeof r) : NULL;
    i->sub = sub;
    i->nsub = nsub;
    for (int k = 0; k < nsub; k++)
        i->region->effects |= graph_effect(sub[k]);
    if (i->region)
        rule_asked(cur(), i->region, nsub, sub);
    for (int k = 0; k < l.ndef; k++) {
        if (scope_find(c, l.def[k].s, l.def[k].n))
            return fail_back(q, &at,
                arena_text("expected different names, found '%.*s' twice", (int)l.def[k].n, l.def[k].s));
        scope_add(c, l.def[k].s, l.def[k].n, i->out + (Ref)k);
    }
    return true;
}

/* ==================== functions */

static bool inputs(Parse *q, Graph *g, Scope *c)
{
    bool bar = false;
    if (!need(q, '('))
        return false;
    while (!peek(q, ')')) {
        Def d;
        if (!bar && take(q, '|')) {
            bar = true;
            g->ncap = g->nin;
            continue;
        }
        if (g->nin && !(bar && g->nin == g->ncap) && !need(q, ','))
            return false;
        if (!definition(q, c, &d))
            return false;
        scope_add(c, d.s, d.n, graph_input(d.t, d.flag));
    }
    return need(q, ')');
}

static bool result_types(Parse *q, Type **t, int *n)
{
    int cap = 0;
    if (!need(q, '-') || !need(q, '>'))
        return false;
    if (take(q, '('))
        return need(q, ')');
    do {
        Type u;
        if (!type(q, &u))
            return false;
        PUSH(*t, *n, cap, u);
    } while (take(q, ','));
    return true;
}

static bool results(Parse *q, const Scope *c, const Type *t, int n)
{
    Ref *out = NEWS(Ref, n);
    for (int k = 0; k < n; k++) {
        if (k && !need(q, ','))
            return false;
        skip(q);
        const char *at = q->p;
        if (!value(q, c, &out[k]))
            return false;
        if (!type_equal(typ(out[k]), &t[k]))
            return fail_at(q, at, arena_text("expected a result of type %s, found %s", type_text(&t[k]),
                                             type_text(typ(out[k]))));
    }
    graph_outputs(out, n);
    return true;
}

static bool function_text(Parse *q, Graph *g)
{
    Scope c = { 0 };
    Type *t = NULL;
    int n = 0;
    if (!need_word(q, "fn"))
        return false;
    if (peek(q, '"')) {
        g->name = string(q);
    } else {
        size_t len = 0;
        const char *s = word(q, &len);
        if (!s)
            return expected(q, "the name of the function");
        g->name = intern(arena_text("%.*s", (int)len, s));
    }
    if (!inputs(q, g, &c) || !result_types(q, &t, &n))
        return false;
    g->linear = take_word(q, "linear");
    if (!need(q, '{'))
        return false;
    while (!take_word(q, "ret"))
        if (!instruction(q, &c))
            return false;
    return results(q, &c, t, n) && need(q, '}');
}

static Graph *function(Parse *q)
{
    Graph *g = graph_begin(graph_new());
    bool ok = function_text(q, g) && !error_pending();
    graph_end();
    return ok ? g : NULL;
}

Graph *graph_parse(const char *text, const char *name)
{
    Parse q = { .name = intern(name ? name : "text"),
        .p = text,
        .line_start = text,
        .end = text + strlen(text),
        .line = 1,
        .buffers = NEW(Buffers) };
    Graph *g = function(&q);
    if (g && !peek(&q, 0))
        g = (expected(&q, "the end"), NULL);
    return g && !graph_check(g) ? g : NULL;
}
