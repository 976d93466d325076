/*
 * trace.c - running a user's function on symbols: what it computes becomes a closed graph.
 *
 * In: a function and the types of its arguments. Out: a Traced: the graph, what it captured, the shape of
 * its result. A trace has a serial number that its symbols carry. Using a symbol of an enclosing trace makes
 * a hidden parameter of every trace between (closure conversion); data met on the way is a hidden parameter
 * too. So every graph is closed, and transforms see captures as what they are: constants under grad,
 * unbatched under vmap, ordinary operands to whatever is around.
 * A symbol is a value of the trace's graph, or a node: a tree of symbols, or a constant that has no dtype
 * yet.
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
    error_set(E_TRACE,
        "a symbol%s%s, is used after its trace has ended: symbols live while the function that made "
        "them runs",
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

Trace *trace_owning(uint32_t owner)
{
    Trace *t = trace_top;
    while (t && t->owner != owner)
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

/* The open trace that holds this symbol: whatever its eight bytes are. NULL: none does. */
Trace *sym_holder(hd x)
{
    Trace *t = x.trace ? trace_find(x.trace) : NULL;
    uint32_t k = x.ref & ~SYM_NODE;
    bool in = t && ((x.ref & SYM_NODE) ? k < (uint32_t)t->nnode : k && k < (uint32_t)t->g->nval);
    return in ? t : NULL;
}

/* The trace of a symbol; NULL for HD_NIL and after an error. */
Trace *sym_home(hd x)
{
    if (!x.trace) {
        if (!error_pending())
            error_set(E_INVAL, "an operand is absent (HD_NIL)");
        return NULL;
    }
    if (!tracing())
        return NULL;
    Trace *t = sym_holder(x);
    if (!t)
        stale(x);
    return t;
}

const Node *sym_node(hd x, const Trace *t) { return x.ref & SYM_NODE ? &t->node[x.ref & ~SYM_NODE] : NULL; }

bool sym_usable(hd x) { return sym_home(x) != NULL; }
bool sym_absent(hd x) { return !x.trace && !error_pending(); }

bool sym_weak(hd x, double *value)
{
    const Trace *t = sym_holder(x);
    const Node *n = t ? sym_node(x, t) : NULL;
    if (!n || n->tree->kind != T_WEAK)
        return false;
    if (value)
        *value = n->tree->value;
    return true;
}

bool sym_tree(hd x)
{
    const Trace *t = sym_holder(x);
    const Node *n = t ? sym_node(x, t) : NULL;
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

/* Where the number of this capture + 1 is, or would be. */
static int *cap_slot(const CapSet *s, const Cap *c)
{
    uintptr_t data = (uintptr_t)c->data;
    uint64_t h = data ? hash_bytes(&data, sizeof data, 0) : hash_bytes(&c->sym, sizeof c->sym, 0);
    for (;; h++) {
        int *slot = &s->slot[h & (s->room - 1)];
        const Cap *d = *slot ? &s->cap[*slot - 1] : c;
        if (d == c || (c->data ? d->data == c->data && type_equal(&d->type, &c->type)
                               : !d->data && d->sym.trace == c->sym.trace && d->sym.ref == c->sym.ref))
            return slot;
    }
}

int cap_find(const CapSet *s, const Cap *c) { return s->n ? *cap_slot(s, c) - 1 : -1; }

int cap_add(CapSet *s, const Cap *c)
{
    int k = cap_find(s, c);
    if (k >= 0)
        return k;
    if (2 * (uint64_t)s->n >= s->room) {
        s->room = s->room ? 2 * s->room : 8;
        s->slot = NEWS(int, s->room);
        for (int i = 0; i < s->n; i++)
            *cap_slot(s, &s->cap[i]) = i + 1;
    }
    PUSH(s->cap, s->n, s->cap_cap, *c);
    *cap_slot(s, c) = s->n;
    return s->n - 1;
}

/* A hidden parameter of the trace. */
Ref capture(Trace *t, Cap c)
{
    int k = cap_find(&t->caps, &c);
    if (k >= 0)
        return t->capref[k];
    graph_begin(t->g);
    Ref v = graph_input(c.type, 0);
    graph_end();
    Arena *a = arena_use(t->arena);
    k = cap_add(&t->caps, &c);
    PUSH(t->capref, k, t->capref_cap, v);
    arena_use(a);
    return v;
}

/* A value of `from` in trace t, which is inside it. A constant is written again instead of being
 * captured. */
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
    const Trace *t = sym_home(x);
    if (!t)
        return 0;
    const Node *n = sym_node(x, t);
    if (!n)
        return lift(t, x.ref, trace_top);
    if (n->tree->kind == T_WEAK)
        return Const(DT_F32, n->tree->value);
    error_set(E_INVAL, "an array is wanted here, not the tree %s: take its parts with hd_get or hd_nth",
              tree_text(n->tree));
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
    const Trace *t = sym_home(x);
    const Node *n = t ? sym_node(x, t) : NULL;
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
    const Tree *t = tree_tuple(p, n);
    return tree_depth_ok(t->depth) ? new_node(t, part) : HD_NIL;
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
    const Tree *t = tree_dict(k, p, n);
    return tree_depth_ok(t->depth) ? new_node(t, part) : HD_NIL;
}

int sym_leaf_count(hd x)
{
    const Tree *t = sym_type(x);
    return t ? t->nleaf : -1;
}

static int gather(hd x, hd *out, int n)
{
    const Trace *t = sym_holder(x);
    const Node *d = t ? sym_node(x, t) : NULL;
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
    if (!n && !error_pending())
        error_set(E_INVAL, "%s: there are no trees", what);
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

static uint32_t new_serial(void)
{
    static _Atomic uint32_t serials;
    uint32_t s;
    do
        s = ++serials;
    while (!s || s == UINT32_MAX);
    return s;
}

static void open_trace(Trace *t, const char *name)
{
    uint32_t s = new_serial();
    *t = (Trace){ .serial = s,
        .owner = s,
        .g = graph_begin(graph_new()),
        .up = trace_top,
        .arena = arena_current(),
        .name = name,
        .loc = loc_here() };
    t->g->name = name;
    trace_top = t;
    axes_open(t);
}

static void close_trace(Trace *t)
{
    remember(t);
    axes_close(t);
    fns_end(t->made);
    graph_end();
    trace_top = t->up;
}

void trace_again(Trace *t, uint32_t serial)
{
    uint32_t s = new_serial();
    *t = (Trace){ .serial = serial ? serial : s,
        .owner = s,
        .g = graph_new(),
        .up = trace_top,
        .arena = arena_current(),
        .loc = loc_here() };
    trace_top = t;
}

void trace_over(Trace *t)
{
    fns_end(t->made);
    trace_top = t->up;
}

/* Captures go in front of the arguments. */
static void order_inputs(Trace *t)
{
    Graph *g = t->g;
    Ref *in = NEWS(Ref, g->nin);
    int n = 0;
    bool *captured = NEWS(bool, g->nval);
    for (int i = 0; i < t->caps.n; i++)
        captured[in[n++] = t->capref[i]] = true;
    for (int i = 0; i < g->nin; i++)
        if (!captured[g->in[i]])
            in[n++] = g->in[i];
    g->in = in, g->in_cap = g->nin, g->ncap = t->caps.n;
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
    *r = (Traced){ t->g, t->caps.cap, t->caps.n, args, out, keys_used(t) };
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
    hd *x = NEWS(hd, args->n);
    for (int i = 0; i < args->n; i++)
        x[i] = t.node[tuple.ref & ~SYM_NODE].part[i];
    At at = at_lend();
    y = error_pending() ? HD_NIL : fn_call(f, x, args->n);
    at_back(&at);
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
    if (error_pending() || keys_apply(t, in + t->ncap))
        return HD_NIL;
    graph_inline(t->g, in, out);
    keys_results(t, out);
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
    c->rule = rule_copy(r->rule);
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
    c->found = (HashTable){ 0 };
    for (int k = 0; k < g->nins; k++) {
        c->ins[k] = clone_ins(g->ins[k]);
        for (int o = 0; o < c->ins[k]->nout; o++)
            c->def[c->ins[k]->out + (Ref)o] = c->ins[k];
    }
    return c;
}
