/*
 * trace.c - running a user's function on symbols: what it computes becomes a closed graph.
 *
 * In: a function and the types of its arguments. Out: a Traced: the graph, what it captured, the shape of its result.
 * A trace has a serial number that its symbols carry. Using a symbol of an enclosing trace makes a hidden parameter of every
 * trace between (closure conversion); data met on the way is a hidden parameter too. So every graph is closed, and transforms
 * see captures as what they are: constants under grad, unbatched under vmap, ordinary operands to whatever is around.
 * A symbol is a value of the trace's graph, or a node: a tree of symbols, or a constant that has no dtype yet.
 */
#include "api.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

_Thread_local Trace *trace_top;

/* ==================== traces that have ended: where their symbols were made, for messages */

enum { ENDED = 16, ENDED_LOCS = 1 << 16 };
static struct Ended { uint32_t serial; const char *name; Loc *loc; uint32_t n; } ended[ENDED];
static int ended_at;
static pthread_mutex_t ended_lock = PTHREAD_MUTEX_INITIALIZER;

static void remember(const Trace *t)
{
    struct Ended e = { t->serial, t->name, NULL, 0 };
    uint32_t n = t->g->nval < ENDED_LOCS ? (uint32_t)t->g->nval : ENDED_LOCS;
    e.loc = calloc(n, sizeof *e.loc);
    if (e.loc) {
        e.n = n;
        for (uint32_t v = 1; v < n; v++)
            e.loc[v] = t->g->def[v] ? t->g->def[v]->loc : t->loc;
    }
    pthread_mutex_lock(&ended_lock);
    free(ended[ended_at].loc);
    ended[ended_at] = e;
    ended_at = (ended_at + 1) % ENDED;
    pthread_mutex_unlock(&ended_lock);
}

static void stale(hd x)
{
    char where[600] = "", in[300] = "";
    pthread_mutex_lock(&ended_lock);
    for (int i = 0; i < ENDED; i++) {
        const struct Ended *e = &ended[i];
        if (e->serial != x.trace)
            continue;
        if (x.ref < e->n && e->loc[x.ref].file)
            snprintf(where, sizeof where, ", made at %s:%d", e->loc[x.ref].file, e->loc[x.ref].line);
        if (e->name)
            snprintf(in, sizeof in, " in %s", e->name);
    }
    pthread_mutex_unlock(&ended_lock);
    error_set(E_TRACE, "a symbol%s%s, is used after its trace has ended: symbols live while the function that made them runs",
              where, in);
}

/* ==================== symbols */

Trace *trace_find(uint32_t serial)
{
    Trace *t = trace_top;
    while (t && t->serial != serial)
        t = t->up;
    return t;
}

bool tracing(void)
{
    if (!trace_top) {
        error_begin();
        error_set(E_TRACE, "no program is being traced here: ops work inside functions that Heddle calls; "
                           "wrap this in a function and hd_call it");
    }
    return trace_top != NULL;
}

/* The trace of a symbol; NULL for HD_NIL and after an error. */
static Trace *home(hd x)
{
    if (!x.trace) {
        if (!error_pending())
            error_set(E_INVAL, "an operand is absent (HD_NIL)");
        return NULL;
    }
    if (!tracing())
        return NULL;
    Trace *t = trace_find(x.trace);
    if (!t || ((x.ref & SYM_NODE) ? (int)(x.ref & ~SYM_NODE) >= t->nnode : (int)x.ref >= t->g->nval || !x.ref)) {
        stale(x);
        return NULL;
    }
    return t;
}

static const Node *node_of(hd x, const Trace *t) { return x.ref & SYM_NODE ? &t->node[x.ref & ~SYM_NODE] : NULL; }

bool sym_usable(hd x) { return home(x) != NULL; }
bool sym_absent(hd x) { return !x.trace && !error_pending(); }

bool sym_weak(hd x, double *value)
{
    const Trace *t = x.trace ? trace_find(x.trace) : NULL;
    const Node *n = t ? node_of(x, t) : NULL;
    if (!n || n->tree->kind != T_WEAK)
        return false;
    if (value)
        *value = n->tree->value;
    return true;
}

bool sym_tree(hd x)
{
    const Trace *t = x.trace ? trace_find(x.trace) : NULL;
    const Node *n = t ? node_of(x, t) : NULL;
    return n && n->tree->kind != T_WEAK;
}

static hd new_node(const Tree *tree, hd *part)
{
    Trace *t = trace_top;
    Arena *a = arena_use(t->arena);
    PUSH(t->node, t->nnode, t->node_cap, (Node){ tree, part });
    arena_use(a);
    return (hd){ t->serial, SYM_NODE | (uint32_t)(t->nnode - 1) };
}

hd sym_const(double value)
{
    return tracing() ? new_node(tree_weak(value), NULL) : HD_NIL;
}

hd sym_of(Ref v)
{
    return v && tracing() ? (hd){ trace_top->serial, v } : HD_NIL;
}

/* A hidden parameter of the trace. */
static Ref capture(Trace *t, Cap c)
{
    for (int i = 0; i < t->ncap; i++)
        if (c.data ? t->cap[i].data == c.data && type_equal(&t->cap[i].type, &c.type)
                   : !t->cap[i].data && t->cap[i].sym.trace == c.sym.trace && t->cap[i].sym.ref == c.sym.ref)
            return t->capref[i];
    graph_begin(t->g);
    Ref v = graph_input(c.type, 0);
    graph_end();
    Arena *a = arena_use(t->arena);
    if (t->ncap == t->cap_cap) {
        int cap = t->cap_cap;
        t->capref = arena_grow(t->capref, (size_t)t->ncap * sizeof *t->capref, (size_t)(cap ? 2 * cap : 8) * sizeof *t->capref);
    }
    PUSH(t->cap, t->ncap, t->cap_cap, c);
    t->capref[t->ncap - 1] = v;
    arena_use(a);
    return v;
}

/* A value of `from` in trace t, which is inside it. A constant is written again instead of being captured. */
static Ref lift(const Trace *from, Ref v, Trace *t)
{
    int64_t bits;
    if (from == t)
        return v;
    graph_begin(from->g);
    Type type = *typ(v);
    bool constant = const_of(v, &bits);
    graph_end();
    if (constant) {
        graph_begin(t->g);
        Ref c = ConstBits(type.dt, bits);
        if (type.rank)
            c = Broadcast(c, type_shape(&type), (Ints){ 0 });
        graph_end();
        return c;
    }
    Ref outer = lift(from, v, t->up);
    return outer ? capture(t, (Cap){ .sym = { t->up->serial, outer }, .type = type }) : 0;
}

Ref sym_ref(hd x)
{
    const Trace *t = home(x);
    if (!t)
        return 0;
    const Node *n = node_of(x, t);
    if (!n)
        return lift(t, x.ref, trace_top);
    if (n->tree->kind == T_WEAK)
        return Const(DT_F32, n->tree->value);
    error_set(E_INVAL, "an array is wanted here, not the tree %s: take its parts with hd_get or hd_nth", tree_text(n->tree));
    return 0;
}

Ref cap_ref(const Cap *c)
{
    return c->data ? capture(trace_top, *c) : sym_ref(c->sym);
}

void caps_ref(const Cap *c, int n, Ref *out)
{
    for (int i = 0; i < n; i++)
        out[i] = cap_ref(&c[i]);
}

const Tree *sym_type(hd x)
{
    const Trace *t = home(x);
    const Node *n = t ? node_of(x, t) : NULL;
    return !t ? NULL : n ? n->tree : tree_leaf(&t->g->type[x.ref]);
}

/* ==================== trees of symbols */

static const Tree *part_type(hd x)
{
    return x.trace ? sym_type(x) : error_pending() ? NULL : tree_nil();
}

hd sym_tuple(const hd *x, int n)
{
    if (!tracing())
        return HD_NIL;
    const Tree **p = NEWS(const Tree *, n);
    hd *part = NEWS(hd, n);
    for (int i = 0; i < n; i++)
        if (part[i] = x[i], !(p[i] = part_type(x[i])))
            return HD_NIL;
    return new_node(tree_tuple(p, n), part);
}

hd sym_dict(const char *const *key, const hd *x, int n)
{
    if (!tracing())
        return HD_NIL;
    int *order = NEWS(int, n);
    const char **k = NEWS(const char *, n);
    const Tree **p = NEWS(const Tree *, n);
    hd *part = NEWS(hd, n);
    if (key_order(key, n, order))
        return HD_NIL;
    for (int i = 0; i < n; i++) {
        k[i] = intern(key[order[i]]), part[i] = x[order[i]];
        if (!(p[i] = part_type(part[i])))
            return HD_NIL;
    }
    return new_node(tree_dict(k, p, n), part);
}

int sym_leaf_count(hd x)
{
    const Tree *t = sym_type(x);
    return t ? t->nleaf : -1;
}

static int gather(hd x, hd *out, int n)
{
    const Trace *t = x.trace ? trace_find(x.trace) : NULL;
    const Node *d = t ? node_of(x, t) : NULL;
    if (!t)
        return n;
    if (!d || d->tree->kind == T_WEAK)
        out[n++] = x;
    for (int i = 0; d && i < d->tree->n; i++)
        n = gather(d->part[i], out, n);
    return n;
}

hd *sym_leaves(hd x, int *n)
{
    int count = sym_leaf_count(x);
    if (count < 0)
        return NULL;
    hd *out = NEWS(hd, count);
    *n = gather(x, out, 0);
    return out;
}

static hd rebuild(const Tree *t, const hd **next)
{
    if (t->kind == T_NIL)
        return HD_NIL;
    if (t->nleaf && t->kind != T_DICT && t->kind != T_TUPLE)
        return *(*next)++;
    const Tree **p = NEWS(const Tree *, t->n);
    hd *part = NEWS(hd, t->n);
    for (int i = 0; i < t->n; i++) {
        part[i] = rebuild(t->part[i], next);
        if (!(p[i] = part_type(part[i])))
            return HD_NIL;
    }
    return new_node(tree_like(t, p), part);
}

hd sym_like(hd tree, const hd *leaves)
{
    const Tree *t = sym_type(tree);
    return t ? rebuild(t, &leaves) : HD_NIL;
}

hd *sym_build(const Tree *t, const Ref *leaves, hd *out)
{
    const Tree **l = NEWS(const Tree *, t->nleaf);
    hd *s = NEWS(hd, t->nleaf);
    tree_leaves(t, l);
    for (int i = 0; i < t->nleaf; i++)
        s[i] = l[i]->kind == T_WEAK ? sym_const(l[i]->value) : sym_of(leaves[i]);
    const hd *next = s;
    *out = rebuild(t, &next);
    return out;
}

hd sym_map(const char *what, LeafFn *f, void *env, int n, const hd *trees)
{
    const Tree *first = n ? sym_type(trees[0]) : NULL;
    hd **leaf = NEWS(hd *, n), *out, *x = NEWS(hd, n);
    if (!first)
        return HD_NIL;
    for (int i = 0; i < n; i++) {
        int count;
        const Tree *t = sym_type(trees[i]);
        if (!t)
            return HD_NIL;
        if (!tree_same_shape(first, t)) {
            error_set(E_INVAL, "%s: the trees differ: %s and %s", what, tree_text(first), tree_text(t));
            return HD_NIL;
        }
        leaf[i] = sym_leaves(trees[i], &count);
    }
    out = NEWS(hd, first->nleaf);
    for (int k = 0; k < first->nleaf; k++) {
        for (int i = 0; i < n; i++)
            x[i] = leaf[i][k];
        if (out[k] = f(x, n, env), !out[k].trace)
            return HD_NIL;
    }
    return sym_like(trees[0], out);
}

/* ==================== tracing */

static void open_trace(Trace *t, const char *name)
{
    static _Atomic uint32_t serials;
    uint32_t s;
    do
        s = ++serials;
    while (!s || s == UINT32_MAX);
    *t = (Trace){ .serial = s, .g = graph_begin(graph_new()), .up = trace_top, .arena = arena_current(), .name = name,
                  .loc = loc_here() };
    t->g->name = name;
    trace_top = t;
}

static void close_trace(Trace *t)
{
    remember(t);
    fns_end(t->made);
    graph_end();
    trace_top = t->up;
}

/* Captures go in front of the arguments. */
static void order_inputs(Trace *t)
{
    Graph *g = t->g;
    Ref *in = NEWS(Ref, g->nin);
    int n = 0;
    for (int i = 0; i < t->ncap; i++)
        in[n++] = t->capref[i];
    for (int i = 0; i < g->nin; i++) {
        bool captured = false;
        for (int k = 0; k < t->ncap; k++)
            captured |= t->capref[k] == g->in[i];
        if (!captured)
            in[n++] = g->in[i];
    }
    g->in = in, g->in_cap = g->nin, g->ncap = t->ncap;
}

static const Traced *finish(Trace *t, const Tree *args, hd y)
{
    const Tree *out = y.trace ? sym_type(y) : NULL;
    int n = 0;
    if (error_pending())
        return NULL;
    if (!out) {
        error_set(E_INVAL, "%s returned nothing (HD_NIL)", t->name);
        return NULL;
    }
    hd *leaf = sym_leaves(y, &n);
    Ref *ref = NEWS(Ref, n);
    for (int i = 0; i < n; i++)
        if (!(ref[i] = sym_ref(leaf[i])))
            return NULL;
    graph_outputs(ref, n);
    order_inputs(t);
    if (error_pending())
        return NULL;
    Traced *r = NEW(Traced);
    *r = (Traced){ t->g, t->cap, t->ncap, args, out };
    return r;
}

const Traced *trace_user(hd_fn *f, const Tree *args)
{
    Context frame;
    Trace t;
    Loc loc = loc_here();
    context_push(&frame, NULL, f->text, loc);
    open_trace(&t, f->text);
    const Tree **l = NEWS(const Tree *, args->nleaf);
    Ref *in = NEWS(Ref, args->nleaf);
    tree_leaves(args, l);
    for (int i = 0; i < args->nleaf; i++)
        in[i] = graph_input(l[i]->type, 0);
    hd tuple, y;
    sym_build(args, in, &tuple);
    At at = at_enter(NULL);                     /* the function's own calls begin here */
    hd *x = NEWS(hd, args->n);
    for (int i = 0; i < args->n; i++)
        x[i] = t.node[tuple.ref & ~SYM_NODE].part[i];
    y = error_pending() ? HD_NIL : fn_call(f, x, args->n);
    at_leave(&at);
    loc_set(loc);
    const Traced *r = finish(&t, args, y);
    close_trace(&t);
    context_pop(&frame);
    return r;
}

/* Inlines a traced function into the current trace. */
hd traced_apply(const Traced *t, const hd *args, int n)
{
    hd y = HD_NIL;
    Ref *in = NEWS(Ref, t->g->nin), *out = NEWS(Ref, t->g->nout);
    int at = t->ncap;
    caps_ref(t->cap, t->ncap, in);
    for (int i = 0; i < n; i++) {
        int k = 0;
        hd *leaf = args[i].trace ? sym_leaves(args[i], &k) : NULL;
        for (int j = 0; j < k; j++)
            in[at++] = sym_ref(leaf[j]);
    }
    if (error_pending())
        return HD_NIL;
    graph_inline(t->g, in, out);
    if (!error_pending())
        sym_build(t->out, out, &y);
    return y;
}

hd apply(hd_fn *f, const hd *args, int n)
{
    if (!f || !tracing())
        return HD_NIL;
    const Tree **p = NEWS(const Tree *, n);
    for (int i = 0; i < n; i++)
        if (!(p[i] = part_type(args[i])))
            return HD_NIL;
    const Traced *t = graph_of(f, tree_tuple(p, n));
    return t ? traced_apply(t, args, n) : HD_NIL;
}

/* ==================== an independent copy of a graph, bodies and all */

static Region *clone_region(const Region *r, int nin, int nout)
{
    Region *c = arena_copy(r, sizeof *r);
    c->lane = arena_copy(r->lane, sizeof *r->lane * (size_t)r->nlane);
    if (r->im)
        c->im = arena_copy(r->im, (size_t)(nin * r->nlane));
    if (r->om)
        c->om = arena_copy(r->om, (size_t)(nout * r->nlane));
    return c;
}

static Ins *clone_ins(const Ins *i)
{
    Ins *c = arena_copy(i, sizeof *i);
    c->in = arena_copy(i->in, sizeof *i->in * i->nin);
    c->attr = arena_copy(i->attr, sizeof *i->attr * (size_t)i->nattr);
    if (i->blob)
        c->blob = arena_copy(i->blob, i->nblob);
    if (i->region)
        c->region = clone_region(i->region, i->nin, i->nout);
    if (i->nsub)
        c->sub = NEWS(Graph *, i->nsub);
    for (int k = 0; k < i->nsub; k++)
        c->sub[k] = graph_clone(i->sub[k]);
    return c;
}

Graph *graph_clone(const Graph *g)
{
    Graph *c = arena_copy(g, sizeof *g);
    c->ins = NEWS(Ins *, g->nins), c->ins_cap = g->nins;
    c->type = arena_copy(g->type, sizeof *g->type * (size_t)g->nval);
    c->flag = arena_copy(g->flag, (size_t)g->nval);
    c->def = NEWS(Ins *, g->nval), c->val_cap = g->nval;
    c->in = arena_copy(g->in, sizeof *g->in * (size_t)g->nin), c->in_cap = g->nin;
    c->out = arena_copy(g->out, sizeof *g->out * (size_t)g->nout);
    c->cse = NULL, c->cse_size = c->cse_used = 0;
    for (int k = 0; k < g->nins; k++) {
        c->ins[k] = clone_ins(g->ins[k]);
        for (int o = 0; o < c->ins[k]->nout; o++)
            c->def[c->ins[k]->out + (Ref)o] = c->ins[k];
    }
    return c;
}

/* ==================== the public questions and trees */

static const Type *leaf_type(hd x)
{
    static const Type weak = { .dt = DT_F32 };
    const Trace *t = home(x);
    if (!t)
        return NULL;
    const Node *n = node_of(x, t);
    if (n && n->tree->kind != T_WEAK) {
        error_set(E_INVAL, "an array is wanted here, not the tree %s", tree_text(n->tree));
        return NULL;
    }
    return n ? &weak : &t->g->type[x.ref];
}

hd hd_c(double value)
{
    OP(hd_c);
    return sym_const(value);
}

static hd const_of_array(hd_array *a)
{
    if (a->tree) {
        hd *part = NEWS(hd, a->n);
        for (int i = 0; i < a->n; i++)
            if (part[i] = const_of_array(a->part[i]), !part[i].trace)
                return HD_NIL;
        return a->key ? sym_dict(a->key, part, a->n) : sym_tuple(part, a->n);
    }
    if (a->abstract) {
        error_set(E_INVAL, "hd_const: an abstract array has no contents");
        return HD_NIL;
    }
    Arena *arena = arena_use(entry_top->arena);
    PUSH(entry_top->kept, entry_top->nkept, entry_top->kept_cap, store_keep(a->store));
    arena_use(arena);
    return sym_of(capture(trace_top, (Cap){ .data = a->store, .type = a->type }));
}

hd hd_const(hd_array *a)
{
    OP(hd_const);
    if (!a && !error_pending())
        error_set(E_INVAL, "hd_const: the array is NULL");
    return a && tracing() ? const_of_array(a) : HD_NIL;
}

hd hd_lit_n(enum hd_dtype d, hd_ints shape, const void *data)
{
    OP(hd_lit_n);
    Ints s;
    if (!tracing())
        return HD_NIL;
    if (shape.n < 0)
        error_set(E_SHAPE, "hd_lit: the number of values does not match the shape");
    else if (d <= HD_NODTYPE || (int)d >= DT_COUNT)
        error_set(E_DTYPE, "hd_lit: %d is no dtype", (int)d);
    else if (!ints_in("hd_lit", shape, &s))
        return sym_of(Data(type_of((Dtype)d, s.n, s.v), data));
    return HD_NIL;
}

enum hd_dtype hd_dtype(hd x)
{
    const Type *t = leaf_type(x);
    return t ? (enum hd_dtype)t->dt : HD_NODTYPE;
}

hd_ints hd_shape(hd x)
{
    const Type *t = leaf_type(x);
    return t ? ints_out(type_shape(t)) : (hd_ints){ 0 };
}

int64_t hd_dim(hd x, int axis)
{
    const Type *t = leaf_type(x);
    int a = t ? axis_of("hd_dim", axis, t->rank) : -1;
    return a < 0 ? 0 : t->dim[a];
}

int64_t hd_size(hd x)
{
    const Type *t = leaf_type(x);
    return t ? type_size(t) : 0;
}

const char *hd_str(hd x)
{
    static _Thread_local char buffer[8][256];
    static _Thread_local int turn;
    char *b = buffer[turn = (turn + 1) % 8];
    size_t n = sizeof buffer[0];
    const Trace *t = x.trace ? trace_find(x.trace) : NULL;
    const Node *d = t ? node_of(x, t) : NULL;
    if (!x.trace)
        return "nil";
    if (!t || (!d && (int)x.ref >= t->g->nval))
        return "a symbol whose trace has ended";
    if (d) {
        snprintf(b, n, "%s", tree_text(d->tree));
        return b;
    }
    const Ins *i = t->g->def[x.ref];
    int k = snprintf(b, n, "%s %s", type_text(&t->g->type[x.ref]), i ? optab[i->op].name : "argument");
    if (i && i->loc.file && k > 0 && (size_t)k < n)
        snprintf(b + k, n - (size_t)k, " at %s:%d", i->loc.file, i->loc.line);
    return b;
}

int sym_count(const hd *x, int n)
{
    if (n < 0)
        for (n = 0; x[n].trace != UINT32_MAX; n++)
            ;
    return n;
}

hd hd_tuple_n(const hd *x, int n)
{
    OP(hd_tuple_n);
    return sym_tuple(x, sym_count(x, n));
}

hd hd_dict_n(const hd_pair *p, int n)
{
    OP(hd_dict_n);
    if (!tracing())
        return HD_NIL;
    if (n < 0)
        for (n = 0; p[n].key; n++)
            ;
    const char **k = NEWS(const char *, n);
    hd *x = NEWS(hd, n);
    for (int i = 0; i < n; i++)
        k[i] = p[i].key, x[i] = p[i].value;
    return sym_dict(k, x, n);
}

static const Node *tree_node(const char *what, hd x)
{
    const Trace *t = home(x);
    const Node *n = t ? node_of(x, t) : NULL;
    if (t && (!n || n->tree->kind == T_WEAK)) {
        error_set(E_INVAL, "%s: %s is an array, not a tree", what, hd_str(x));
        return NULL;
    }
    return n;
}

hd hd_get(hd tree, const char *key)
{
    OP(hd_get);
    const Node *n = tree_node("hd_get", tree);
    if (!n)
        return HD_NIL;
    for (int i = 0; n->tree->key && i < n->tree->n; i++)
        if (!strcmp(n->tree->key[i], key))
            return n->part[i];
    error_set(E_INVAL, "hd_get: there is no key \"%s\" in %s", key, tree_text(n->tree));
    return HD_NIL;
}

hd hd_nth(hd tree, int i)
{
    OP(hd_nth);
    const Node *n = tree_node("hd_nth", tree);
    if (n && i >= 0 && i < n->tree->n)
        return n->part[i];
    if (n)
        error_set(E_INVAL, "hd_nth: there is no part %d in %s", i, tree_text(n->tree));
    return HD_NIL;
}

int hd_len(hd tree)
{
    const Trace *t = home(tree);
    const Node *n = t ? node_of(tree, t) : NULL;
    return n ? n->tree->n : 0;
}

const char *hd_field_name(hd tree, int i)
{
    const Node *n = tree_node("hd_field_name", tree);
    return n && n->tree->key && i >= 0 && i < n->tree->n ? n->tree->key[i] : NULL;
}

int hd_leaf_count(hd tree)
{
    int n = sym_leaf_count(tree);
    return n < 0 ? 0 : n;
}

hd hd_leaf(hd tree, int i)
{
    OP(hd_leaf);
    int n = 0;
    hd *leaf = sym_leaves(tree, &n);
    if (leaf && i >= 0 && i < n)
        return leaf[i];
    if (leaf)
        error_set(E_INVAL, "hd_leaf: there is no leaf %d in %s", i, tree_text(sym_type(tree)));
    return HD_NIL;
}

static hd apply_leaf(const hd *x, int n, void *f) { return apply(f, x, n); }

hd hd_tree_map_n(hd_fn *f, const hd *trees, int n)
{
    OP(hd_tree_map_n);
    return f ? sym_map("hd_tree_map", apply_leaf, f, sym_count(trees, n), trees) : HD_NIL;
}

/* ==================== structs */

static int field_leaves(const hd_field *f)
{
    int n = 0;
    for (; f->name; f++)
        n += f->inner ? field_leaves(f->inner) : 1;
    return n;
}

static int field_count(const hd_field *f)
{
    int n = 0;
    while (f[n].name)
        n++;
    return n;
}

static hd pack(const hd_field *f, const hd *leaf)
{
    int n = field_count(f);
    const char **key = NEWS(const char *, n);
    hd *part = NEWS(hd, n);
    for (int i = 0; i < n; i++) {
        key[i] = f[i].name;
        part[i] = f[i].inner ? pack(f[i].inner, leaf) : *leaf;
        leaf += f[i].inner ? field_leaves(f[i].inner) : 1;
        if (!part[i].trace && !error_pending())
            error_set(E_INVAL, "hd_pack: the field %s is missing", f[i].name);
    }
    return error_pending() ? HD_NIL : sym_dict(key, part, n);
}

hd hd_pack_n(const hd_field *f, const hd *leaves)
{
    OP(hd_pack_n);
    return tracing() ? pack(f, leaves) : HD_NIL;
}

static hd *unpack(hd tree, const hd_field *f, hd *out)
{
    const Node *n = tree_node("hd_unpack", tree);
    if (!n)
        return out;
    if (n->tree->n != field_count(f))
        error_set(E_INVAL, "hd_unpack: the struct has %d fields, the tree is %s", field_count(f), tree_text(n->tree));
    for (; f->name; f++) {
        hd x = error_pending() ? HD_NIL : hd_get(tree, f->name);
        if (f->inner)
            out = x.trace ? unpack(x, f->inner, out) : out + field_leaves(f->inner);
        else
            *out++ = x;
    }
    return out;
}

const hd *hd_unpack_n(hd tree, const hd_field *f)
{
    static const hd nothing[256];
    OP(hd_unpack_n);
    int n = field_leaves(f);
    if (!home(tree) && n <= 256)
        return nothing;
    hd *out = NEWS(hd, n);
    if (tree.trace)
        unpack(tree, f, out);
    return out;
}
