/*
 * associative.c - hd_associative_scan: running combinations of what is associative.
 *
 * In:  a function of two slices and the arrays they are slices of. Out: for each slice the combination of
 * all up to it. Any bracketing gives the answer, so each kind of function gets the one that suits it. Sums,
 * products and extremes are the cumulative ops. A small function is a scan, in one kernel; where it works on
 * each element alone the elements are its lanes. A long row of it is cut into blocks, which are lanes too.
 * Any other function is applied to pairs, then to pairs of pairs: twice as often as a scan, but to many
 * slices at once, in steps that grow with the logarithm of their number.
 */
#include "control.h"
#include "graph_map.h"

enum {
    SMALL_CODE = 64,                            /* instructions of a small function */
    /* elements of a slice that it carries, where it does not take them one by one */
    SMALL_STATE = 64,
    /* steps of one row; more of a small state are cut into blocks */
    ROW = 65536
};

/* body: (captures, leaves of a, leaves of b) -> leaves of a combination of a with b. */
typedef struct Combiner { Graph *body; const Ref *cap; int ncap, n; } Combiner;

/* ==================== rows of all leaves: axis 0 */

static void rows(const Combiner *c, const Ref *x, int64_t from, int64_t to, int64_t step, Ref *out)
{
    for (int k = 0; k < c->n; k++) {
        Ints start = { 0 }, limit = { 0 }, by = { 0 };
        start.n = limit.n = by.n = typ(x[k])->rank;
        for (int d = 0; d < by.n; d++)
            start.v[d] = d ? 0 : from, limit.v[d] = d ? typ(x[k])->dim[d] : to, by.v[d] = d ? 1 : step;
        out[k] = Slice(x[k], start, limit, by);
    }
}

static void joined(const Combiner *c, const Ref *a, const Ref *b, Ref *out)
{
    for (int k = 0; k < c->n; k++)
        out[k] = a[k] && b[k] ? Concat((const Ref[]){ a[k], b[k] }, 2, 0) : 0;
}

/* [m,n,..] as [m*n,..], and [m*n,..] as [m,n,..]. */
static Ref merged(Ref x)
{
    Type t = *typ(x), u = type_drop_lead(&t, 2);
    u = type_add_lead(&u, t.dim[0] * t.dim[1]);
    return Reshape(x, type_shape(&u));
}

static Ref divided(Ref x, int64_t n)
{
    Type t = *typ(x), u = type_drop_lead(&t, 1);
    u = type_add_lead(&u, n);
    u = type_add_lead(&u, t.dim[0] / n);
    return Reshape(x, type_shape(&u));
}

/* a and b with m rows each: their combinations, row by row. */
static void combine(const Combiner *c, const Ref *a, const Ref *b, int64_t m, Ref *out)
{
    const Graph *g = c->body;
    Ref *V = NEWS(Ref, g->nval);
    uint8_t *S = NEWS(uint8_t, g->nval);
    for (int k = 0; k < g->nin; k++) {
        int leaf = k - c->ncap;
        V[g->in[k]] = leaf < 0 ? c->cap[k] : leaf < c->n ? a[leaf] : b[leaf - c->n];
        S[g->in[k]] = leaf < 0 ? SHARED : STACKED;
    }
    batch_into(g, V, S, &(Axis){ { .size = m }, 0 }, false);
    for (int k = 0; k < c->n; k++)
        out[k] = error_pending() ? 0 : stacked(V[g->out[k]], S[g->out[k]], m);
}

/* ==================== pairs of pairs */

/* [m,..] as [m,elements]. */
static Ref flat_rows(Ref x)
{
    Type t = *typ(x), slice = type_drop_lead(&t, 1);
    return Reshape(x, (Ints){ 2, { t.dim[0], type_size(&slice) } });
}

/* Rows 0, 2, .. from even and 1, 3, .. from odd, which has as many or one less. */
static void interleaved(const Combiner *c, const Ref *even, const Ref *odd, int64_t n, Ref *out)
{
    Ref *both = NEWS(Ref, c->n), *last = NEWS(Ref, c->n);
    rows(c, even, 0, n / 2, 1, both);
    for (int k = 0; k < c->n && !error_pending(); k++) {
        Type t = *typ(both[k]);
        t.dim[0] *= 2;
        both[k] =
            Reshape(Concat((const Ref[]){ flat_rows(both[k]), flat_rows(odd[k]) }, 2, 1), type_shape(&t));
    }
    if (n % 2)
        rows(c, even, n / 2, n / 2 + 1, 1, last), joined(c, both, last, out);
    else
        for (int k = 0; k < c->n; k++)
            out[k] = both[k];
}

static void scan_pairs(const Combiner *c, const Ref *x, int64_t n, Ref *out)
{
    Ref *a = NEWS(Ref, c->n), *b = NEWS(Ref, c->n), *odd = NEWS(Ref, c->n);
    for (int k = 0; k < c->n; k++)
        out[k] = x[k];
    if (n < 2 || error_pending())
        return;
    rows(c, x, 0, n - 1, 2, a), rows(c, x, 1, n, 2, b);
    combine(c, a, b, n / 2, b);
    scan_pairs(c, b, n / 2, odd);
    int64_t m = (n - 1) / 2;                    /* even rows but the first */
    rows(c, x, 0, 1, 1, a);
    if (m) {
        Ref *before = NEWS(Ref, c->n);
        rows(c, odd, 0, m, 1, before), rows(c, x, 2, n, 2, b);
        combine(c, before, b, m, b);
        joined(c, a, b, a);
    }
    interleaved(c, a, odd, n, out);
}

/* ==================== a row: a scan */

static Ref first_row(Ref x)
{
    Type t = type_drop_lead(typ(x), 1);
    return Reshape(SliceAxis(x, 0, 0, 1), type_shape(&t));
}

/* (captures, b): b, the first step. (captures, a, b): their combination. Of one signature, for a branch. */
static Graph *first_step(const Combiner *c)
{
    const Graph *g = c->body;
    Ref *in = NEWS(Ref, g->nin);
    graph_begin(graph_new());
    for (int k = 0; k < g->nin; k++)
        in[k] = graph_input(g->type[g->in[k]], 0);
    graph_outputs(in + c->ncap + c->n, c->n);
    return graph_end();
}

/* (captures, a, b, step) -> (combination as carry, combination as y). The first step takes b as it is: what
 * the function makes of a row and itself must not be seen, not by derivatives either. */
static Graph *row_step(const Combiner *c)
{
    const Graph *g = c->body;
    Graph *branch[2] = { c->body, first_step(c) };
    Ref *in = NEWS(Ref, 1 + g->nin), *out = NEWS(Ref, 2 * c->n);
    graph_begin(graph_new());
    for (int k = 0; k < g->nin; k++)
        in[1 + k] = graph_input(g->type[g->in[k]], 0);
    Ref step = graph_input(type_scalar(DT_I32), 0);
    in[0] = Convert(Eq(step, Like(step, 0)), DT_I32);
    Region r = region_plain(COND, g->nin, 0, 0);
    emit_region(&r, 1 + g->nin, in, 2, branch, out);
    for (int k = 0; k < c->n; k++)
        out[c->n + k] = out[k];
    graph_outputs(out, 2 * c->n);
    return graph_end();
}

/* (captures, leaves of n rows) -> running combinations. */
static Graph *row_graph(const Combiner *c, int64_t n)
{
    const Graph *g = c->body;
    Graph *step = row_step(c);
    int nin = g->nin + 1;
    Ref *in = NEWS(Ref, nin), *out = NEWS(Ref, 2 * c->n);
    graph_begin(graph_new());
    for (int k = 0; k < c->ncap; k++)
        in[k] = graph_input(g->type[g->in[k]], 0);
    for (int k = 0; k < c->n; k++) {
        Type t = type_add_lead(&g->type[g->in[c->ncap + k]], n);
        Ref x = graph_input(t, 0);
        in[c->ncap + k] = first_row(x), in[c->ncap + c->n + k] = x;
    }
    in[nin - 1] = Iota(type_of(DT_I32, 1, &n), 0);
    Region r = region_plain(SCAN, c->ncap, 0, c->n);
    r.length = n;
    if (!error_pending())
        emit_region(&r, nin, in, 1, &step, out);
    graph_outputs(out + c->n, c->n);
    return graph_end();
}

/* m rows of n slices, [m,n,..]; m 0: one row, [n,..]. */
static void scan_rows(
    const Combiner *c, const Ref *x, int64_t m, int64_t n, const uint8_t *cap_state, Ref *out)
{
    Graph *g = row_graph(c, n);
    Ref *V = NEWS(Ref, g->nval);
    uint8_t *S = NEWS(uint8_t, g->nval);
    if (error_pending())
        return;
    for (int k = 0; k < g->nin; k++) {
        V[g->in[k]] = k < c->ncap ? c->cap[k] : x[k - c->ncap];
        S[g->in[k]] = k < c->ncap ? (cap_state ? cap_state[k] : SHARED) : STACKED;
    }
    if (!m) {
        Ref *in = NEWS(Ref, g->nin);
        for (int k = 0; k < g->nin; k++)
            in[k] = V[g->in[k]];
        graph_inline(g, in, out);
        return;
    }
    batch_into(g, V, S, &(Axis){ { .size = m }, 0 }, false);
    for (int k = 0; k < c->n; k++)
        out[k] = error_pending() ? 0 : stacked(V[g->out[k]], S[g->out[k]], m);
}

/* ==================== a long row: blocks of it are rows, and what they come to is a row */

static void scan_row(const Combiner *c, const Ref *x, int64_t n, Ref *out);

/* Steps of a block: about the square root, a divisor if one is near. */
static int64_t block_of(int64_t n)
{
    int64_t root = 1;
    while (root * root < n)
        root *= 2;
    for (int64_t k = root; k > root / 2; k--)
        if (n % k == 0)
            return k;
    return root;
}

/* a: one row for each of b's. Combinations of each a with all rows of its b, [m,n,..]. */
static void combine_blocks(const Combiner *c, const Ref *a, const Ref *b, int64_t m, int64_t n, Ref *out)
{
    Ref *each = NEWS(Ref, c->n), *all = NEWS(Ref, c->n);
    for (int k = 0; k < c->n; k++) {
        each[k] = a[k] ? merged(MoveAxis(BroadcastLead(a[k], n), 0, 1)) : 0;
        all[k] = b[k] ? merged(b[k]) : 0;
    }
    combine(c, each, all, m * n, out);
}

static void scan_blocks(const Combiner *c, const Ref *x, int64_t n, Ref *out)
{
    int64_t len = block_of(n), m = n / len, whole = m * len;
    Ref *a = NEWS(Ref, c->n), *y = NEWS(Ref, c->n), *sum = NEWS(Ref, c->n), *rest = NEWS(Ref, c->n);
    rows(c, x, 0, whole, 1, a);
    for (int k = 0; k < c->n; k++)
        a[k] = divided(a[k], len);
    scan_rows(c, a, m, len, NULL, y);
    for (int k = 0; k < c->n && !error_pending(); k++)
        sum[k] = first_row(MoveAxis(SliceAxis(y[k], 1, len - 1, len), 1, 0));
    scan_row(c, sum, m, sum);
    rows(c, sum, 0, m - 1, 1, a);
    rows(c, y, 1, m, 1, rest);
    combine_blocks(c, a, rest, m - 1, len, rest);
    rows(c, y, 0, 1, 1, a);
    for (int k = 0; k < c->n && !error_pending(); k++)
        a[k] = merged(a[k]);
    joined(c, a, rest, out);
    if (whole == n || error_pending())
        return;
    rows(c, x, whole, n, 1, a), rows(c, sum, m - 1, m, 1, sum);
    scan_row(c, a, n - whole, a);
    for (int k = 0; k < c->n; k++)
        a[k] = divided(a[k], n - whole);
    combine_blocks(c, sum, a, 1, n - whole, a);
    joined(c, out, a, out);
}

static void scan_row(const Combiner *c, const Ref *x, int64_t n, Ref *out)
{
    if (n > ROW)
        scan_blocks(c, x, n, out);
    else
        scan_rows(c, x, 0, n, NULL, out);
}

/* ==================== what kind of function it is */

/* Does it take elements one by one? Each value is a scalar, or has the shape of every slice. */
static bool by_element(const Graph *g, const Type *slice)
{
    bool is = true;
    for (int v = 1; v < g->nval && is; v++) {
        Type t = g->type[v];
        t.dt = slice->dt;
        is = !t.rank || type_equal(&t, slice);
    }
    for (int n = 0; n < g->nins && is; n++) {
        const Ins *i = g->ins[n];
        is = optab[i->op].elementwise || i->op == OP_select || i->op == OP_convert ||
            i->op == OP_reduce_precision || i->op == OP_stop_gradient || i->op == OP_named ||
            i->op == OP_constrain || i->op == OP_const || (i->op == OP_broadcast && !g->type[i->in[0]].rank);
    }
    return is;
}

static void one_element_ins(const Ins *i, const Ref *x, Ref *out, void *none)
{
    (void)none;
    if (i->op == OP_broadcast)
        out[0] = x[0];
    else
        again(i, x, out);
}

/* The same function of one element. */
static Graph *one_element(const Graph *g)
{
    Ref *map = NEWS(Ref, g->nval);
    graph_begin(graph_new());
    for (int k = 0; k < g->nin; k++)
        map[g->in[k]] = graph_input(type_scalar((Dtype)g->type[g->in[k]].dt), 0);
    graph_map_ins(g, map, one_element_ins, NULL);
    return graph_map_end(g, map);
}

/* Elements are lanes: [n,..] is [elements,n]. */
static void scan_elements(const Combiner *c, const Ref *x, int64_t n, Ref *out)
{
    Type slice = type_drop_lead(typ(x[0]), 1);
    int64_t m = type_size(&slice);
    Combiner one = *c;
    Ref *y = NEWS(Ref, c->n), *cap = NEWS(Ref, c->ncap);
    uint8_t *state = NEWS(uint8_t, c->ncap);
    one.body = one_element(c->body), one.cap = cap;
    for (int k = 0; k < c->ncap; k++) {
        state[k] = typ(c->cap[k])->rank ? STACKED : SHARED;
        cap[k] = state[k] == STACKED ? Reshape(c->cap[k], (Ints){ 1, { m } }) : c->cap[k];
    }
    for (int k = 0; k < c->n; k++)
        y[k] = MoveAxis(Reshape(x[k], (Ints){ 2, { n, m } }), 0, 1);
    scan_rows(&one, y, m, n, state, y);
    for (int k = 0; k < c->n && !error_pending(); k++)
        out[k] = Reshape(MoveAxis(y[k], 0, 1), type_shape(typ(x[k])));
}

/* A function that is one instruction with a running form: that op; else OP_NONE. */
static Op running(const Combiner *c)
{
    static const struct { Op op, all; } has[] = {
        { OP_add, OP_cumsum }, { OP_mul, OP_cumprod }, { OP_max, OP_cummax }, { OP_min, OP_cummin },
    };
    const Graph *g = c->body;
    const Ins *i = g->nins == 1 && c->n == 1 ? g->ins[0] : NULL;
    for (size_t k = 0; i && k < sizeof has / sizeof *has; k++)
        if (i->op == has[k].op && i->in[0] != i->in[1] && g->out[0] == i->out &&
            g->type[i->out].dt != DT_BOOL && i->in[0] >= g->in[c->ncap] && i->in[1] >= g->in[c->ncap])
            return has[k].all;
    return OP_NONE;
}

static double elements_of(const Combiner *c)
{
    double n = 0;
    for (int k = 0; k < c->n; k++)
        n += (double)type_size(&c->body->type[c->body->in[c->ncap + k]]);
    return n;
}

static bool has_regions(const Graph *g)
{
    for (int n = 0; n < g->nins; n++)
        if (g->ins[n]->op == OP_region)
            return true;
    return false;
}

static void scan_all(const Combiner *c, const Ref *x, int64_t n, Ref *out)
{
    const Type *slice = &c->body->type[c->body->in[c->ncap]];
    bool small = c->body->nins <= SMALL_CODE && !has_regions(c->body);
    bool short_state = elements_of(c) <= SMALL_STATE && slice->rank + 2 <= MAXRANK;
    Op all = running(c);
    if (all)
        out[0] = Cumulative(all, x[0], 0, false);
    else if (small && slice->rank && type_size(slice) && by_element(c->body, slice) &&
        !(n > ROW && short_state))
        scan_elements(c, x, n, out);
    else if (small && short_state)
        scan_row(c, x, n, out);
    else
        scan_pairs(c, x, n, out);
}

/* ==================== */

/* All leaves with the axis in front, and its size; -1 after an error. The axis counts from the end of the
 * first leaf's. */
static int64_t axis_first(const Tree *tree, Ref *x, int64_t axis, int *at, bool reverse)
{
    int64_t n = -1;
    for (int k = 0; k < tree->nleaf; k++) {
        const Type *t = typ(x[k]);
        if (!k && (*at = axis_of("hd_associative_scan", axis, t->rank)) < 0)
            return -1;
        if (*at >= t->rank || (k && t->dim[*at] != n)) {
            error_set(E_SHAPE,
                "hd_associative_scan: xs%s is %s, but there are %lld slices along axis %d in xs before it",
                tree_path(tree, k), type_text(t), (long long)n, *at);
            return -1;
        }
        n = t->dim[*at];
        x[k] = MoveAxis(x[k], *at, 0);
        x[k] = reverse ? Reverse(x[k], (Ints){ 1, { 0 } }) : x[k];
    }
    if (n < 0)
        error_set(E_INVAL, "hd_associative_scan: xs is %s: there is nothing to go along", tree_text(tree));
    return n;
}

/* f of two slices; it must give one again. */
static const Traced *combiner(hd_fn *f, const Tree *slice)
{
    const Tree *pair[2] = { slice, slice }, **leaf = NEWS(const Tree *, slice->nleaf);
    const Traced *t = traced_body("combined", f, tree_tuple(pair, 2));
    if (!t)
        return NULL;
    Type *want = NEWS(Type, slice->nleaf);
    tree_types(slice, want);
    bool same = tree_same_shape(slice, t->out);
    if (same)
        tree_leaves(t->out, leaf);
    for (int k = 0; k < slice->nleaf && same; k++)
        same = leaf[k]->kind == T_WEAK ? !want[k].rank : type_equal(&want[k], &leaf[k]->type);
    if (same)
        return t;
    error_set(E_SHAPE,
        "hd_associative_scan: %s is given slices %s and returns %s: it must return what it is given",
        fn_name(f), tree_text(slice), tree_text(t->out));
    return NULL;
}

static hd scanned(hd_fn *f, const Tree *tree, Ref *x, const hd_associative_scan_opts *o)
{
    int at = 0;
    int64_t n = axis_first(tree, x, o->axis, &at, o->reverse);
    if (n < 0 || error_pending())
        return HD_NIL;
    Type *type = NEWS(Type, tree->nleaf);
    Ref *out = NEWS(Ref, tree->nleaf);
    for (int k = 0; k < tree->nleaf; k++)
        type[k] = type_drop_lead(typ(x[k]), 1), out[k] = x[k];
    const Type *next = type;
    const Traced *t = combiner(f, tree_retype(tree, &next));
    if (!t)
        return HD_NIL;
    if (keys_combined(t, n))
        return HD_NIL;
    CapSet caps = all_captures(1, &t);
    Ref *cap = NEWS(Ref, caps.n);
    Combiner c = { body_graph(t, &caps, type), cap, caps.n, tree->nleaf };
    if (!c.body)
        return HD_NIL;
    c.body = graph_dce(c.body);
    caps_ref(caps.cap, caps.n, cap);
    if (n > 1 && !error_pending())
        scan_all(&c, x, n, out);
    for (int k = 0; k < tree->nleaf && !error_pending(); k++) {
        out[k] = o->reverse ? Reverse(out[k], (Ints){ 1, { 0 } }) : out[k];
        out[k] = MoveAxis(out[k], 0, at);
    }
    return built(tree, out);
}

hd hd_associative_scan_n(hd_fn *f, hd xs, const hd_associative_scan_opts *o)
{
    OP(hd_associative_scan_n);
    OPTIONS(hd_associative_scan_opts, o);
    const Tree *tree = fn_in("hd_associative_scan", f) && tracing() ? sym_type(xs) : NULL;
    if (!tree)
        return HD_NIL;
    tree = tree_strong(tree);
    Ref *x = NEWS(Ref, tree->nleaf);
    return values(xs, NULL, x) ? HD_NIL : scanned(f, tree, x, o);
}
