/*
 * prepare_taps.c - sums of products that differ only in where they read become one product.
 *
 * In:  a graph, as traced.   Out: one that means the same; the same one where no such sum is.
 * A convolution written as slices of a padded array is a sum of products that are alike but for the starts
 * of slices. Its derivative to the weights is such products side by side: a sum of pads that do not meet;
 * that to the operand is a sum of pads that do. Where starts are affine in the number of the term (of
 * several digits: rows and columns of a filter) the slices become one dynamic slice at starts that depend on
 * the position alone, which is a view like any other. So the terms are one product, with loops over them
 * instead of a text for each.
 * Invariant: nothing is multiplied that was not; only the order of additions changes. What is rounded to
 * half floats after each term is left alone.
 */
#include "graph_map.h"
#include "prepare.h"

#include <string.h>

#define TERMS       3                           /* fewer are not worth it */
#define TERMS_MAX   256
#define DIFFS       64                          /* starts in which two terms may differ; values looked at */

/* some: a sum was made again. */
typedef struct Taps { const Graph *g; Ref *m; int *uses; bool *inner, some; } Taps;

static Ints shifted(Ints a, int64_t by)
{
    for (int k = 0; k < a.n; k++)
        a.v[k] += by;
    return a;
}

/* ==================== are two terms alike? */

typedef struct Diff { int n, seen; int64_t v[DIFFS]; } Diff;

static bool alike_attrs(const Ins *i, const Ins *j, Diff *d)
{
    if (i->nattr != j->nattr)
        return false;
    if (i->op != OP_slice && i->op != OP_pad)
        return !memcmp(i->attr, j->attr, sizeof *i->attr * (size_t)i->nattr);
    /* starts or lo; steps */
    bool pad = i->op == OP_pad;
    int first = pad ? ATTR(pad, lo) : ATTR(slice, start),
        step = pad ? ATTR(pad, interior) : ATTR(slice, step);
    Ints a = ins_ints(i, first), b = ins_ints(j, first), x = ins_ints(i, step), y = ins_ints(j, step);
    if (d->n + a.n > DIFFS || memcmp(x.v, y.v, sizeof *x.v * (size_t)x.n))
        return false;
    for (int k = 0; k < a.n; k++)
        d->v[d->n++] = b.v[k] - a.v[k];
    return true;
}

static bool batches(int op)
{
    _Static_assert(OP_reduce_xor - OP_reduce_sum == 6, "seven reductions");
    switch (op) {
    case OP_slice:
    case OP_reshape:
    case OP_transpose:
    case OP_broadcast:
    case OP_reverse:
    case OP_pad:
    case OP_dynamic_slice:
    case OP_dot:
        return true;
    default:
        return optab[op].element == IS_POINT || (op >= OP_reduce_sum && op <= OP_reduce_xor);
    }
}

/* The same instructions on the same operands, but for starts of slices and pads; d: by how much those
 * differ. */
static bool alike(Ref u, Ref v, Diff *d)
{
    const Ins *i = def(u), *j = def(v);
    if (u == v)
        return true;
    if (!i || !j || i->op != j->op || i->nin != j->nin || !batches(i->op) || ++d->seen > DIFFS ||
        !type_equal(typ(u), typ(v)) || !alike_attrs(i, j, d))
        return false;
    for (int k = 0; k < i->nin; k++)
        if (!alike(i->in[k], j->in[k], d))
            return false;
    return true;
}

static bool same_diff(const Diff *a, const Diff *b)
{
    return a->n == b->n && !memcmp(a->v, b->v, sizeof *a->v * (size_t)a->n);
}

/* The digits of a term's number, most significant first: within one, neighbours differ by the same. */
static bool grid(const Ref *term, int n, Ints *lead)
{
    Diff first = { 0 };
    int p = 2;
    if (n < 2 || !alike(term[0], term[1], &first))
        return false;
    for (; p < n; p++) {
        Diff d = { 0 };
        if (!alike(term[p - 1], term[p], &d) || !same_diff(&d, &first))
            break;
    }
    if (n % p || lead->n == MAXRANK / 2)
        return false;
    Ref head[TERMS_MAX];
    for (int k = 0; k < n / p; k++)
        head[k] = term[k * p];
    if (p < n && !grid(head, n / p, lead))
        return false;
    lead->v[lead->n++] = p;
    return true;
}

/* ==================== terms stacked along new leading axes */

/* all: with the leading axes; else one value serves every term. 0: no */
typedef struct Stack { Ref v; bool all; } Stack;

static bool same_value(const Ref *v, int n)
{
    for (int k = 1; k < n; k++)
        if (v[k] != v[0])
            return false;
    return true;
}

/* i32[lead.., rank]: at[term * MAXRANK + axis], if that is affine in the digits of the term; else 0. */
static Ref starts(const Ints *lead, int n, const int64_t *at, int rank)
{
    Ref part[MAXRANK];
    Type t = { .dt = DT_I32, .rank = (uint8_t)(lead->n + 1) };
    memcpy(t.dim, lead->v, sizeof *lead->v * (size_t)lead->n);
    t.dim[lead->n] = 1;
    for (int d = 0; d < rank; d++) {
        int64_t by[MAXRANK], stride = 1;
        for (int j = lead->n - 1; j >= 0; stride *= lead->v[j--])
            by[j] = at[stride * MAXRANK + d] - at[d];
        for (int k = 0; k < n; k++) {
            int64_t f = at[d];
            for (int j = lead->n - 1, rest = k; j >= 0; rest /= (int)lead->v[j--])
                f += rest % lead->v[j] * by[j];
            if (f != at[k * MAXRANK + d] || f > INT32_MAX)
                return 0;
        }
        part[d] = FullBits(t, at[d]);
        for (int j = 0; j < lead->n; j++)
            if (by[j])
                part[d] = Add(part[d], Mul(Iota(t, j), FullBits(t, by[j])));
    }
    return rank == 1 ? part[0] : Concat(part, rank, lead->n);
}

static Ref with_lead(const Ints *lead, Ref v)
{
    const Type *t = typ(v);
    return Broadcast(v, ints_concat(*lead, type_shape(t)), ints_range(lead->n, lead->n + t->rank));
}

/* Slices that begin at different places: a slice along the axes where they do not, windows of what is
 * left. */
static Ref windows(const Ints *lead, const Ref *v, int n, Stack x)
{
    const Ins *i = def(v[0]);
    Ints first = ins_ints(i, ATTR(slice, start)), limit = ins_ints(i, ATTR(slice, limit)),
         step = ins_ints(i, ATTR(slice, step)), from = first, to = first, size = first;
    Ints lo = ints_fill(x.all ? lead->n : 0, 0), hi = x.all ? *lead : lo;
    int64_t *at = NEWS(int64_t, n * MAXRANK);
    if (lead->n * 2 + first.n > MAXRANK)
        return 0;
    for (int d = 0; d < first.n; d++) {
        bool vary = false;
        for (int k = 0; k < n; k++) {
            at[k * MAXRANK + d] = ins_attr(def(v[k]), ATTR(slice, start), NULL)[d];
            vary = vary || at[k * MAXRANK + d] != first.v[d];
        }
        size.v[d] = (limit.v[d] - first.v[d] - 1) / step.v[d] * step.v[d] + 1;
        from.v[d] = vary ? 0 : first.v[d];
        to.v[d] = vary ? typ(i->in[0])->dim[d] : first.v[d] + size.v[d];
        for (int k = 0; k < n && !vary; k++)
            at[k * MAXRANK + d] = 0;
    }
    Ref s = starts(lead, n, at, first.n);
    Ref y = s ? Slice(x.v, ints_concat(lo, from), ints_concat(hi, to), ints_fill(lo.n + first.n, 1)) : 0;
    y = y ? DynamicSlice(y, s, size, ints_fill(lead->n, x.all)) : 0;
    return y ? Slice(y, ints_fill(lead->n + size.n, 0), ints_concat(*lead, size),
                   ints_concat(ints_fill(lead->n, 1), step)) :
               0;
}

static Ref stacked_dot(const Ints *lead, const Ins *i, Stack x, Stack y)
{
    int r = lead->n, rank;
    Ints lc = ins_ints(i, ATTR(dot, lhs_contract)), rc = ins_ints(i, ATTR(dot, rhs_contract)),
         lb = ins_ints(i, ATTR(dot, lhs_batch)), rb = ins_ints(i, ATTR(dot, rhs_batch)),
         own = ints_range(0, r);
    lc = x.all ? shifted(lc, r) : lc, lb = x.all ? shifted(lb, r) : lb;
    rc = y.all ? shifted(rc, r) : rc, rb = y.all ? shifted(rb, r) : rb;
    bool both = x.all && y.all;
    Ref z = Dot(x.v, y.v, lc, rc, both ? ints_concat(own, lb) : lb, both ? ints_concat(own, rb) : rb,
        (Dtype)ins_int(i, ATTR(dot, dtype)));
    if (!z || both)
        return z;
    rank = typ(z)->rank;
    int at = x.all ? lb.n : lb.n + typ(x.v)->rank - lc.n - lb.n;        /* where the leading axes are */
    Ints perm =
        ints_concat(ints_range(at, at + r), ints_concat(ints_range(0, at), ints_range(at + r, rank)));
    return Transpose(z, perm);
}

static Ref stacked_pointwise(const Ints *lead, const Ins *i, const Stack *x, const Type *t)
{
    Ref in[3], out;
    for (int k = 0; k < i->nin; k++) {
        bool scalar = typ(x[k].v)->rank == (x[k].all ? lead->n : 0) && t->rank;
        if (scalar && x[k].all)
            return 0;
        in[k] = x[k].all || scalar ? x[k].v : with_lead(lead, x[k].v);
    }
    again(i, in, &out);
    return out;
}

static Ref on_stacks(const Ints *lead, const Ins *i, const Stack *x, const Type *t)
{
    int r = lead->n;
    Ints none = ints_fill(r, 0), own = ints_range(0, r);
    Ref v = x[0].v;
    if (i->op == OP_dot)
        return stacked_dot(lead, i, x[0], x[1]);
    if (i->op == OP_dynamic_slice) {
        Ref s = x[1].all ? x[1].v : with_lead(lead, x[1].v);
        Ints xb = ints_concat(ints_fill(r, x[0].all), ins_ints(i, ATTR(dynamic_slice, xb)));
        return s ? DynamicSlice(v, s, ins_ints(i, ATTR(dynamic_slice, sizes)), xb) : 0;
    }
    if (optab[i->op].element == IS_POINT)
        return stacked_pointwise(lead, i, x, t);
    if (!x[0].all || (i->nin > 1 && x[1].all))
        return 0;
    switch (i->op) {
    case OP_slice:
        return Slice(v, ints_concat(none, ins_ints(i, ATTR(slice, start))),
            ints_concat(*lead, ins_ints(i, ATTR(slice, limit))),
            ints_concat(ints_fill(r, 1), ins_ints(i, ATTR(slice, step))));
    case OP_reshape: return Reshape(v, ints_concat(*lead, ins_ints(i, ATTR(reshape, shape))));
    case OP_transpose:
        return Transpose(v, ints_concat(own, shifted(ins_ints(i, ATTR(transpose, perm)), r)));
    case OP_broadcast:
        return Broadcast(v, ints_concat(*lead, ins_ints(i, ATTR(broadcast, shape))),
            ints_concat(own, shifted(ins_ints(i, ATTR(broadcast, dims)), r)));
    case OP_reverse: return Reverse(v, shifted(ins_ints(i, ATTR(reverse, axes)), r));
    case OP_pad:
        return Pad(v, x[1].v, ints_concat(none, ins_ints(i, ATTR(pad, lo))),
            ints_concat(none, ins_ints(i, ATTR(pad, hi))),
            ints_concat(none, ins_ints(i, ATTR(pad, interior))));
    default: return Reduce((Op)i->op, v, shifted(ins_ints(i, ATTR(reduce_sum, axes)), r));
    }
}

static bool same_attrs(const Ref *v, int n)
{
    const Ins *i = def(v[0]);
    for (int k = 1; k < n; k++) {
        const Ins *j = def(v[k]);
        if (j->nattr != i->nattr || memcmp(j->attr, i->attr, sizeof *i->attr * (size_t)i->nattr))
            return false;
    }
    return true;
}

/* The values, which are alike, as one. */
static Stack stack(const Ints *lead, const Ref *v, int n)
{
    if (same_value(v, n))
        return (Stack){ v[0], false };
    const Ins *i = def(v[0]);
    const Type t = *typ(v[0]);
    Stack x[3] = { { 0 } };
    Ref *in = NEWS(Ref, n);
    if (i->nin > 3 || t.rank + lead->n > MAXRANK)
        return (Stack){ 0 };
    for (int o = 0; o < i->nin; o++) {
        for (int k = 0; k < n; k++)
            in[k] = def(v[k])->in[o];
        x[o] = stack(lead, in, n);
        if (!x[o].v)
            return (Stack){ 0 };
    }
    if (same_attrs(v, n))
        return (Stack){ on_stacks(lead, i, x, &t), true };
    return (Stack){ i->op == OP_slice ? windows(lead, v, n, x[0]) : 0, true };
}

/* ==================== sums of them */

static Ref outer_pad(Ref x, Ref zero, Ints lo, Ints hi)
{
    for (int d = 0; d < lo.n; d++)
        if (lo.v[d] || hi.v[d])
            return Pad(x, zero, lo, hi, ints_fill(lo.n, 0));
    return x;
}

static int64_t pad_lo(Ref v, int d) { return ins_attr(def(v), ATTR(pad, lo), NULL)[d]; }
static int64_t pad_hi(Ref v, int d) { return ins_attr(def(v), ATTR(pad, hi), NULL)[d]; }

/* Pads that do not meet and lie side by side along axis d: their operands are pieces of one array. */
static Ref side_by_side(Ref *term, int n, int d)
{
    Ints lead = { 0 }, lo = ins_ints(def(term[0]), ATTR(pad, lo)),
         hi = ins_ints(def(term[0]), ATTR(pad, hi));
    Ref *x = NEWS(Ref, n), zero = def(term[0])->in[1];
    int64_t size = typ(def(term[0])->in[0])->dim[d];
    for (int j = 1; j < n; j++)
        for (int k = j; k > 0 && pad_lo(term[k - 1], d) > pad_lo(term[k], d); k--) {
            Ref u = term[k];
            term[k] = term[k - 1], term[k - 1] = u;
        }
    for (int k = 0; k < n; k++) {
        x[k] = def(term[k])->in[0];
        if (pad_lo(term[k], d) != pad_lo(term[0], d) + k * size)
            return 0;
    }
    if (!grid(x, n, &lead))
        return 0;
    Ref v = stack(&lead, x, n).v;
    if (!v)
        return 0;
    int r = lead.n, rank = lo.n;
    v = Transpose(
        v, ints_concat(ints_range(r, r + d), ints_concat(ints_range(0, r), ints_range(r + d, r + rank))));
    Ints shape = type_shape(typ(x[0]));
    shape.v[d] *= n;
    lo.v[d] = pad_lo(term[0], d), hi.v[d] = pad_hi(term[n - 1], d);
    return outer_pad(Reshape(v, shape), zero, lo, hi);
}

/* Pads that meet: what each term adds to an element is a window of it, zeros around. */
static Ref overlapping(const Ref *term, int n, const bool *vary)
{
    Ints lead = { 0 }, lo = ins_ints(def(term[0]), ATTR(pad, lo)),
         hi = ins_ints(def(term[0]), ATTR(pad, hi));
    Ints size = type_shape(typ(def(term[0])->in[0])), before = ints_fill(lo.n, 0), after = before;
    Ref *x = NEWS(Ref, n), zero = def(term[0])->in[1];
    int64_t *at = NEWS(int64_t, n * MAXRANK);
    if (!grid(term, n, &lead) || 2 * lead.n + lo.n > MAXRANK)
        return 0;
    for (int d = 0; d < lo.n; d++) {
        if (!vary[d])
            continue;
        size.v[d] += lo.v[d] + hi.v[d];
        for (int k = 0; k < n; k++) {
            before.v[d] = pad_lo(term[k], d) > before.v[d] ? pad_lo(term[k], d) : before.v[d];
            after.v[d] = pad_hi(term[k], d) > after.v[d] ? pad_hi(term[k], d) : after.v[d];
        }
        for (int k = 0; k < n; k++)
            at[k * MAXRANK + d] = before.v[d] - pad_lo(term[k], d);
        lo.v[d] = hi.v[d] = 0;
    }
    for (int k = 0; k < n; k++)
        x[k] = def(term[k])->in[0];
    Stack s = stack(&lead, x, n);
    Ref from = starts(&lead, n, at, lo.n);
    if (!s.v || !s.all || !from)
        return 0;
    int r = lead.n;
    Ref v = Pad(s.v, zero, ints_concat(ints_fill(r, 0), before), ints_concat(ints_fill(r, 0), after),
        ints_fill(r + lo.n, 0));
    v = v ? DynamicSlice(v, from, size, ints_fill(r, 1)) : 0;
    return v ? outer_pad(Sum(v, ints_range(0, r)), zero, lo, hi) : 0;
}

static Ref sum_of_pads(Ref *term, int n)
{
    bool vary[MAXRANK] = { false };
    const Type *t = typ(term[0]);
    int nvary = 0, axis = -1;
    for (int d = 0; d < t->rank; d++) {
        for (int k = 1; k < n; k++)
            vary[d] = vary[d] || pad_lo(term[k], d) != pad_lo(term[0], d);
        if (vary[d])
            nvary++, axis = d;
    }
    for (int k = 0; k < n; k++)
        for (int d = 0; d < t->rank; d++)
            if (pad_lo(term[k], d) < 0 || pad_hi(term[k], d) < 0 ||
                ins_ints(def(term[k]), ATTR(pad, interior)).v[d])
                return 0;
    Ref v = nvary == 1 ? side_by_side(term, n, axis) : 0;
    return v ? v : nvary ? overlapping(term, n, vary) : 0;
}

static Ref sum_of_dots(const Ref *term, int n)
{
    Ints lead = { 0 };
    const Ins *i = def(term[0]);
    Ref *x = NEWS(Ref, n), *y = NEWS(Ref, n);
    if (!same_attrs(term, n) || !grid(term, n, &lead))
        return 0;
    for (int k = 0; k < n; k++)
        x[k] = def(term[k])->in[0], y[k] = def(term[k])->in[1];
    Stack a = stack(&lead, x, n), b = stack(&lead, y, n);
    if (!a.v || !b.v || !a.all || !b.all)
        return 0;
    int r = lead.n;
    Ints own = ints_range(0, r);
    return Dot(a.v, b.v, ints_concat(own, shifted(ins_ints(i, ATTR(dot, lhs_contract)), r)),
        ints_concat(own, shifted(ins_ints(i, ATTR(dot, rhs_contract)), r)),
        shifted(ins_ints(i, ATTR(dot, lhs_batch)), r), shifted(ins_ints(i, ATTR(dot, rhs_batch)), r),
        (Dtype)ins_int(i, ATTR(dot, dtype)));
}

/* Terms that are alike as one value; 0: they stay. */
static Ref sum_of(Ref *term, int n)
{
    const Ins *i = def(term[0]);
    bool view = i->op == OP_reshape || i->op == OP_transpose || i->op == OP_reverse;
    if (n < TERMS)
        return 0;
    if (i->op == OP_pad)
        return const_is(i->in[1], 0) ? sum_of_pads(term, n) : 0;
    if (i->op == OP_dot)
        return sum_of_dots(term, n);
    if (!view || !same_attrs(term, n))
        return 0;
    Ref *x = NEWS(Ref, n), v, out;
    for (int k = 0; k < n; k++)
        x[k] = def(term[k])->in[0];
    if ((v = sum_of(x, n)) == 0)
        return 0;
    again(i, &v, &out);
    return out;
}

/* ==================== the graph */

static bool is_view_or_pad(int op)
{
    return op == OP_pad || op == OP_reshape || op == OP_transpose || op == OP_reverse;
}

/* Does the term come from a product that nothing else wants, through views and pads? */
static bool heavy(const Taps *t, Ref v)
{
    const Graph *g = t->g;
    for (;;) {
        const Ins *i = g->def[v];
        if (!i || t->uses[v] != 1 || dtype_half((Dtype)g->type[v].dt))
            return false;
        if (i->op == OP_dot)
            return true;
        if (i->op == OP_add)
            break;
        if (!is_view_or_pad(i->op))
            return false;
        v = i->in[0];
    }
    Ref u = t->m[v];                            /* a sum that has become one product already */
    while (u && def(u) && is_view_or_pad(def(u)->op))
        u = def(u)->in[0];
    return u && def(u) && def(u)->op == OP_dot;
}

static int terms_of(const Taps *t, const Ins *i, Ref *term)
{
    Ref open[TERMS_MAX];                        /* still to be looked into, the first on top */
    int n = 0, m = 0;
    open[m++] = i->in[1], open[m++] = i->in[0];
    while (m) {
        Ref v = open[--m];
        const Ins *j = t->g->def[v];
        if (t->inner[v] && m + 2 <= TERMS_MAX && j->op == OP_add)
            open[m++] = j->in[1], open[m++] = j->in[0];
        else if (n < TERMS_MAX)
            term[n++] = v;
        else
            return 0;
    }
    return n;
}

/* The sum whose last addition is i, from its terms in order. 0: as it was. */
static Ref sum_again(const Taps *t, const Ins *i)
{
    Ref term[TERMS_MAX], kin[TERMS_MAX], sum = 0;
    bool done[TERMS_MAX] = { false };
    int n = terms_of(t, i, term), of[TERMS_MAX];
    for (int k = 0; k < n; k++) {
        int m = 0;
        for (int j = k; j < n && heavy(t, term[k]); j++) {
            Diff d = { 0 };
            if (!done[j] && heavy(t, term[j]) && alike(t->m[term[k]], t->m[term[j]], &d))
                of[m] = j, kin[m++] = t->m[term[j]];
        }
        Ref v = m >= TERMS ? sum_of(kin, m) : 0;
        for (int j = 0; v && j < m; j++)
            done[of[j]] = true;
        if (v)
            sum = sum ? Add(sum, v) : v;
    }
    for (int k = 0; sum && k < n; k++)
        if (!done[k])
            sum = Add(sum, t->m[term[k]]);
    return sum;
}

static void count_uses(Taps *t)
{
    const Graph *g = t->g;
    for (int n = 0; n < g->nins; n++)
        for (int k = 0; k < g->ins[n]->nin; k++) {
            Ref v = g->ins[n]->in[k];
            t->uses[v]++;
            t->inner[v] = t->uses[v] == 1 && g->def[v] && g->def[v]->op == OP_add && g->ins[n]->op == OP_add;
        }
    for (int k = 0; k < g->nout; k++)
        t->uses[g->out[k]]++, t->inner[g->out[k]] = false;
}

static bool worth_it(const Graph *g)
{
    int adds = 0, dots = 0;
    for (int n = 0; n < g->nins; n++)
        adds += g->ins[n]->op == OP_add, dots += g->ins[n]->op == OP_dot;
    return adds >= TERMS - 1 && dots >= TERMS;
}

static void taps_ins(const Ins *i, const Ref *x, Ref *out, void *env)
{
    Taps *t = env;
    Ref sum = i->op == OP_add && !t->inner[i->out] ? sum_again(t, i) : 0;
    if (sum)
        out[0] = sum, t->some = true;
    else
        again(i, x, out);
}

const Graph *prepare_taps(const Graph *g)
{
    if (!worth_it(g))
        return g;
    Taps t = { .g = g, .m = NEWS(Ref, g->nval), .uses = NEWS(int, g->nval), .inner = NEWS(bool, g->nval) };
    count_uses(&t);
    Graph *h = graph_map_begin(g, t.m, V_ACC);
    h->ncap = g->ncap, h->name = g->name;
    graph_map_ins(g, t.m, taps_ins, &t);
    graph_map_end(g, t.m);
    return error_pending() || !t.some ? g : graph_dce(h);
}
