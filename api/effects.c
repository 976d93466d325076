/*
 * effects.c - what a running program tells: checks that fail, and what it prints.
 *
 * In: symbols while tracing; after a call the states of the program's effects, further results of it. Out:
 * an instruction each; lines of text, and the call's error. A place of an effect orders it in time: where it
 * stands in the program, and the steps of the loops around it.
 */
#include "api.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* ==================== while tracing */

static Ref condition_of(const char *what, hd x)
{
    Ref c = tracing() ? sym_ref(x) : 0;
    if (!c)
        return 0;
    if (typ(c)->rank) {
        error_set(E_SHAPE,
            "%s: the condition is %s, not a scalar: say whether hd_all or hd_any of them hold", what,
            type_text(typ(c)));
        return 0;
    }
    return typ(c)->dt == DT_BOOL ? c : Ne(c, Like(c, 0));
}

void hd_check(hd condition, const char *message)
{
    OP(hd_check);
    Ref c = condition_of("hd_check", condition);
    if (c && !message)
        error_set(E_INVAL, "hd_check: the message is NULL");
    else if (c)
        Check(c, intern(message));
}

void hd_debug_print_n(const char *format, const hd *values, int n)
{
    OP(hd_debug_print_n);
    if (!tracing() || (n = sym_count("hd_debug_print", values, n)) < 0)
        return;
    Ref *x = NEWS(Ref, n);
    if (!format) {
        error_set(E_INVAL, "hd_debug_print: the format is NULL");
        return;
    }
    for (int k = 0; k < n; k++) {
        if (!(x[k] = sym_ref(values[k])))
            return;
        if (typ(x[k])->dt == DT_KEY)
            x[k] = Bitcast(x[k], DT_U32);
    }
    DebugPrint(intern(format), x, n);
}

/* ==================== where something happened */

/* What one lane did at one time. */
typedef struct Event {
    const Effect *e;
    int64_t lane;                               /* counts through all lane axes */
    const int32_t *step;                        /* of the loops around it, `stride` apart */
    int64_t stride;
    void **state; int64_t record;               /* a print: its states, and which of them */
    int64_t missed;                             /* records before it that are not there any more */
} Event;

static int order(int64_t a, int64_t b) { return (a > b) - (a < b); }

/* Which was earlier? */
static int event_order(const Event *a, const Event *b)
{
    int loop = 0;
    for (int k = 0; k < a->e->nplace && k < b->e->nplace; k++) {
        const EffectStep *p = &a->e->place[k], *q = &b->e->place[k];
        int c = order(p->at, q->at);
        if (!c && p->loop)
            c = p->loop * order(a->step[loop * a->stride], b->step[loop * b->stride]), loop++;
        c = c ? c : order(p->body, q->body);
        if (c)
            return c;
    }
    return order(a->lane, b->lane);
}

static int64_t lanes_of(const Effect *e, int from, int to)
{
    int64_t n = 1;
    for (int k = from; k < to; k++)
        n *= e->lane[k].size;
    return n;
}

/* "i 3, lane 0, step 2": axes by their names, then the steps. "" outside lanes and loops. */
static void where(Text *t, const Event *v, const char *before, const char *after)
{
    const Effect *e = v->e;
    int n = 0;
    for (int k = 0; k < e->nlane; k++) {
        const char *name = e->lane[k].name && e->lane[k].name[0] ? e->lane[k].name : "lane";
        text_add(t, "%s%.*s %lld", n++ ? ", " : before, (int)strcspn(name, "'"), name,
            (long long)(v->lane / lanes_of(e, k + 1, e->nlane) % e->lane[k].size));
    }
    for (int k = 0; k < e->nloop; k++)
        text_add(t, "%sstep %d", n++ ? ", " : before, (int)v->step[k * v->stride]);
    text_add(t, "%s", n ? after : "");
}

/* ==================== checks */

/* The states of an effect, read; NULL after an error. What is read is one block, to be freed. */
static void **read_states(const Effect *e, Mem *const *state)
{
    size_t bytes = (size_t)e->nstate * sizeof(void *);
    for (int s = 0; s < e->nstate; s++)
        bytes += (type_bytes(&e->state[s]) + 15) / 16 * 16;
    void **x = malloc(bytes + 16);
    if (!x) {
        error_set(E_NOMEM, "out of host memory");
        return NULL;
    }
    char *at = (char *)x + ((size_t)e->nstate * sizeof(void *) + 15) / 16 * 16;
    for (int s = 0; s < e->nstate; s++) {
        size_t n = type_bytes(&e->state[s]);
        x[s] = at, at += (n + 15) / 16 * 16;
        if (n && state[s]->device->backend->read(state[s], 0, x[s], n)) {
            free(x);
            return NULL;
        }
    }
    return x;
}

/* The earliest failure of a check, if it is earlier than *best, whose states are *kept. 0, or a code. */
static int look_at(const Effect *e, Mem *const *state, Event *best, void ***kept)
{
    void **x = read_states(e, state);
    int64_t n = lanes_of(e, 0, e->nlane);
    bool mine = false;
    if (!x)
        return (int)error_code();
    int32_t *code = x[0];
    int64_t stride = e->nstate > 1 ? (int32_t *)x[1] - code : 0;
    for (int64_t k = 0; k < n; k++) {
        Event v = { .e = e, .lane = k, .step = code + k, .stride = stride };
        if (!code[k])
            continue;
        for (int s = 0; s < e->nloop; s++)
            code[k + s * stride]--;             /* a code is the step + 1 */
        if (!best->e || event_order(&v, best) < 0)
            *best = v, mine = true;
    }
    if (mine) {
        free(*kept);
        *kept = x;
    } else {
        free(x);
    }
    return 0;
}

static int check_failed(const Event *v)
{
    Text t = { 0 };
    where(&t, v, " (", ")");
    Loc before = loc_set(v->e->loc);
    int e = error_set(E_CHECK, "hd_check: %s%s", v->e->text, t.s ? t.s : "");
    loc_set(before);
    text_free(&t);
    return e;
}

/* The first of the states says whether any check failed. */
static int settle_checks(const Program *p, Mem *const *state)
{
    const Effects *all = &p->effects;
    uint8_t failed = 0;
    Event best = { 0 };
    void **kept = NULL;
    int e = state[0]->device->backend->read(state[0], 0, &failed, 1);
    for (int k = 0; k < all->n && failed && !e; k++)
        if (all->effect[k].op == OP_check)
            e = look_at(&all->effect[k], state + all->effect[k].first - p->nout, &best, &kept);
    if (!e && failed)
        e = check_failed(&best);
    free(kept);
    return e;
}

/* ==================== prints */

typedef void Write(const char *line, void *user);
static _Atomic(Write *) write_line;
static void *_Atomic write_user;

void hd_debug_print_to(void (*write)(const char *line, void *user), void *user)
{
    atomic_store(&write_user, user);
    atomic_store(&write_line, write);
}

/* All that the prints of a run recorded. */
typedef struct Printed { Event *event; int64_t n, cap; void ***block; } Printed;

static Event *event_more(Printed *p)
{
    if (p->n == p->cap) {
        int64_t cap = p->cap ? 2 * p->cap : 64;
        Event *more = realloc(p->event, (size_t)cap * sizeof *more);
        if (!more) {
            error_set(E_NOMEM, "out of host memory");
            return NULL;
        }
        p->event = more, p->cap = cap;
    }
    return &p->event[p->n++];
}

/* The records of print e in one lane of the regions around it. */
static int add_records(Printed *p, const Effect *e, void **x, int64_t outer)
{
    int64_t own = lanes_of(e, e->nlane - e->nown, e->nlane), stored = e->rows ? e->rows + 1 : 1,
            rows = e->rows ? e->rows : 1;
    int64_t count = ((const int32_t *)x[0])[outer], missed = count > rows ? count - rows : 0,
            first = missed % rows;
    for (int64_t r = 0; r < rows && r < count; r++)
        for (int64_t k = 0; k < own; k++) {
            int64_t row = outer * stored + (first + r) % rows, record = row * own + k;
            if (!((const uint8_t *)x[1])[record])
                continue;
            Event *v = event_more(p);
            if (!v)
                return (int)error_code();
            *v = (Event){
                .e = e, .lane = outer * own + k, .stride = 1, .state = x, .record = record, .missed = missed
            };
            missed = 0;
            v->step = e->nloop ? (const int32_t *)x[2] + row * e->nloop : NULL;
        }
    return 0;
}

static int compare_events(const void *a, const void *b) { return event_order(a, b); }

/* The type of one record of state s. */
static Type record_type(const Effect *e, int s)
{
    const Type *t = &e->state[s];
    int lead = e->nlane + 1;                    /* lanes around it, rows, its own lanes */
    return type_of((Dtype)t->dt, t->rank - lead, t->dim + lead);
}

/* Where the last line of the text begins; columns on it. */
static int column(const Text *t)
{
    size_t n = t->n;
    while (n && t->s[n - 1] != '\n')
        n--;
    return (int)(t->n - n);
}

static int line_text(Text *t, const Event *v)
{
    const Effect *e = v->e;
    /* the first value behind the count, whether, and the steps */
    int err = 0, k = 2 + (e->nloop > 0);
    bool value;
    where(t, v, "[", "] ");
    for (const char *s = e->text; *s && !err;) {
        s = format_piece(s, t, &value);
        if (!value)
            continue;
        Type u = record_type(e, k);
        err = text_array(t, &u, (const char *)v->state[k++] + (size_t)v->record * type_bytes(&u), column(t));
    }
    return err;
}

/* Gives a line to whom the user has named, else adds it to what is for stderr. */
static void tell(Text *line, Text *all)
{
    Write *write = atomic_load(&write_line);
    const char *s = line->s ? line->s : "";
    if (write) {
        At at = at_lend();
        write(s, atomic_load(&write_user));
        at_back(&at);
    } else {
        text_add(all, "%s\n", s);
    }
    text_free(line);
}

static int print_events(const Printed *p)
{
    Text all = { 0 };
    int e = 0;
    for (int64_t k = 0; k < p->n && !e; k++) {
        const Event *v = &p->event[k];
        Text line = { 0 };
        if (v->missed) {
            where(&line, v, "[", "] ");
            text_add(&line, "%lld earlier records of this print are left out: it keeps %lld",
                (long long)v->missed, (long long)v->e->rows);
            tell(&line, &all);
        }
        e = line_text(&line, v);
        tell(&line, &all);
    }
    if (all.s)
        fputs(all.s, stderr);
    text_free(&all);
    return e;
}

static int settle_prints(const Program *p, Mem *const *state)
{
    const Effects *all = &p->effects;
    Printed q = { .block = calloc((size_t)all->n, sizeof(void **)) };
    int err = q.block ? 0 : error_set(E_NOMEM, "out of host memory");
    for (int k = 0; k < all->n && !err; k++) {
        const Effect *e = &all->effect[k];
        if (e->op != OP_debug_print)
            continue;
        void **x = q.block[k] = read_states(e, state + e->first - p->nout);
        err = x ? 0 : (int)error_code();
        int64_t lanes = lanes_of(e, 0, e->nlane - e->nown);
        for (int64_t outer = 0; outer < lanes && !err; outer++)
            err = add_records(&q, e, x, outer);
    }
    if (!err && q.n) {
        qsort(q.event, (size_t)q.n, sizeof *q.event, compare_events);
        err = print_events(&q);
    }
    for (int k = 0; q.block && k < all->n; k++)
        free(q.block[k]);
    free(q.block), free(q.event);
    return err;
}

int effects_settle(const Program *p, Mem *const *state)
{
    bool has[OP_COUNT] = { false };
    for (int k = 0; k < p->effects.n; k++)
        has[p->effects.effect[k].op] = true;
    int e = has[OP_debug_print] ? settle_prints(p, state) : 0;
    return !e && has[OP_check] ? settle_checks(p, state) : e;
}
