/*
 * factors.c - for each op, which axes of its operands and results are one and the same.
 *
 * In: an instruction. Out: its factors: what a loop nest of it would run over, if it were one. Axes of
 * operands and results that have the same factor can be dealt out to shards together, each of which then
 * does the same to less. A factor that no result has is summed, or its largest or least is taken. An axis
 * without a factor has to be whole.
 */
#include "sharded.h"

static int new_factor(Factors *f, FactorKind kind)
{
    f->kind[f->n] = (uint8_t)kind;
    return f->n++;
}

/* A factor for axis d of all operands and results that have so many axes. */
static void along(Factors *f, const Ins *i, const Graph *g, int d)
{
    int k = new_factor(f, F_KEPT);
    for (int j = 0; j < i->nin; j++)
        if (d < g->type[i->in[j]].rank)
            f->in[j][d] = (int8_t)k;
    for (int j = 0; j < i->nout; j++)
        f->out[j][d] = (int8_t)k;
}

static void all_axes(Factors *f, const Ins *i, const Graph *g, Ints but)
{
    for (int d = 0; d < g->type[i->out].rank; d++)
        if (!ints_has(&but, d))
            along(f, i, g, d);
}

/* Matrices are whole; their leading axes are one and the same in all operands and results. */
static void stack_factors(Factors *f, const Ins *i, const Graph *g)
{
    for (int d = 0; d < g->type[i->in[0]].rank - 2; d++)
        along(f, i, g, d);
}

/* One that axis a of operand j has, and axis b of the result. */
static void pair(Factors *f, int j, int a, int b)
{
    int k = new_factor(f, F_KEPT);
    f->in[j][a] = (int8_t)k, f->out[0][b] = (int8_t)k;
}

static Ints ints_one(int64_t v) { return (Ints){ 1, { v } }; }

/* ==================== views */

static void broadcast_factors(Factors *f, const Ins *i, const Graph *g)
{
    Ints dims = ins_ints(i, ATTR(broadcast, dims));
    const Type *x = &g->type[i->in[0]], *y = &g->type[i->out];
    for (int d = 0; d < dims.n; d++)
        if (x->dim[d] == y->dim[dims.v[d]])
            pair(f, 0, d, (int)dims.v[d]);
}

/* The next axis that is not of size 1, from *d on. */
static int64_t size_at(const Type *t, int *d)
{
    while (*d < t->rank && t->dim[*d] == 1)
        ++*d;
    return *d < t->rank ? t->dim[*d] : 1;
}

/* Axes of both that have the same elements in all are a group; what its first axes deal out is the same. */
static void reshape_factors(Factors *f, const Ins *i, const Graph *g)
{
    const Type *x = &g->type[i->in[0]], *y = &g->type[i->out];
    int a = 0, b = 0;
    if (!type_size(x))
        return;
    while (size_at(x, &a) > 1 && size_at(y, &b) > 1) {
        int64_t m = x->dim[a], n = y->dim[b];
        pair(f, 0, a++, b++);
        while (m != n)
            if (m < n && a < x->rank)
                m *= x->dim[a++];
            else if (b < y->rank)
                n *= y->dim[b++];
            else
                return;
    }
}

static void slice_factors(Factors *f, const Ins *i, const Graph *g)
{
    const Type *x = &g->type[i->in[0]];
    for (int d = 0; d < x->rank; d++)
        if (x->dim[d] == g->type[i->out].dim[d] && ins_ints(i, ATTR(slice, start)).v[d] == 0 &&
            ins_ints(i, ATTR(slice, step)).v[d] == 1)
            pair(f, 0, d, d);
}

static void pad_factors(Factors *f, const Ins *i, const Graph *g)
{
    for (int d = 0; d < g->type[i->out].rank; d++)
        if (!ins_ints(i, ATTR(pad, lo)).v[d] && !ins_ints(i, ATTR(pad, hi)).v[d] &&
            !ins_ints(i, ATTR(pad, interior)).v[d])
            pair(f, 0, d, d);
}

static void transpose_factors(Factors *f, const Ins *i)
{
    Ints perm = ins_ints(i, ATTR(transpose, perm));
    for (int d = 0; d < perm.n; d++)
        pair(f, 0, (int)perm.v[d], d);
}

/* ==================== reductions and products */

/* How the parts of a reduction go together; F_KEPT: not at all. */
static FactorKind reduction(const Ins *i, const Graph *g)
{
    bool truth = g->type[i->out].dt == DT_BOOL;
    switch (i->op) {
    case OP_reduce_sum: return F_SUM;
    case OP_reduce_max: return F_MAX;
    case OP_reduce_min: return F_MIN;
    case OP_reduce_or: return truth ? F_MAX : F_KEPT;
    case OP_reduce_and: return truth ? F_MIN : F_KEPT;
    default: return F_KEPT;
    }
}

static void reduce_factors(Factors *f, const Ins *i, const Graph *g)
{
    Ints axes = ins_ints(i, ATTR(reduce_sum, axes));
    FactorKind kind = reduction(i, g);
    for (int d = 0, at = 0; d < g->type[i->in[0]].rank; d++)
        if (!ints_has(&axes, d))
            pair(f, 0, d, at++);
        else if (kind != F_KEPT && g->type[i->in[0]].dim[d])
            f->in[0][d] = (int8_t)new_factor(f, kind);
}

static void dot_factors(Factors *f, const Ins *i, const Graph *g)
{
    Ints contract[2] = { ins_ints(i, ATTR(dot, lhs_contract)), ins_ints(i, ATTR(dot, rhs_contract)) },
         batch[2] = { ins_ints(i, ATTR(dot, lhs_batch)), ins_ints(i, ATTR(dot, rhs_batch)) };
    int at = batch[0].n;
    for (int k = 0; k < contract[0].n; k++) {
        int s = new_factor(f, F_SUM);
        for (int j = 0; j < 2; j++)
            f->in[j][contract[j].v[k]] = (int8_t)s;
    }
    for (int k = 0; k < batch[0].n; k++) {
        pair(f, 0, (int)batch[0].v[k], k);
        f->in[1][batch[1].v[k]] = f->out[0][k];
    }
    for (int j = 0; j < 2; j++)
        for (int d = 0; d < g->type[i->in[j]].rank; d++)
            if (!ints_has(&contract[j], d) && !ints_has(&batch[j], d))
                pair(f, j, d, at++);
}

/* ==================== windows */

static void dynamic_slice_factors(Factors *f, const Ins *i, const Graph *g)
{
    Ints xb = ins_ints(i, ATTR(dynamic_slice, xb));
    const Type *x = &g->type[i->in[0]], *y = &g->type[i->out];
    int own = 0;
    for (int b = 0; b < xb.n; b++) {
        pair(f, 1, b, b);
        if (xb.v[b])
            f->in[0][own++] = f->out[0][b];
    }
    for (int d = own; d < x->rank; d++)
        if (x->dim[d] == y->dim[xb.n + d - own])
            pair(f, 0, d, xb.n + d - own);
}

/* dynamic_update and accum_slice: u and starts have all batch axes; x, and so the result, has `own` of
 * them. */
static void update_factors(Factors *f, const Ins *i, const Graph *g)
{
    bool accum = i->op == OP_accum_slice;
    const Type *x = &g->type[i->in[0]], *u = &g->type[i->in[1]], *s = &g->type[i->in[2]];
    int nb = s->rank - 1, own = 0;
    for (int b = 0; b < nb; b++) {
        bool has = !accum || ins_ints(i, ATTR(accum_slice, xb)).v[b];
        int k = new_factor(f, has ? F_KEPT : F_SUM);
        f->in[1][b] = f->in[2][b] = (int8_t)k;
        if (has)
            f->in[0][own] = f->out[0][own] = (int8_t)k, own++;
    }
    for (int d = own; d < x->rank; d++)
        if (x->dim[d] == u->dim[nb + d - own]) {
            pair(f, 0, d, d);
            f->in[1][nb + d - own] = f->in[0][d];
        }
}

/* gather and scatter: `outer` holds the windows, the result of one and the updates of the other. */
static void window_factors(Factors *f, const Ins *i, const Graph *g)
{
    bool gather = i->op == OP_gather, adds = !gather && ins_int(i, ATTR(scatter, combine)) == 1;
    const Type *x = &g->type[i->in[0]], *index = &g->type[i->in[1]],
               *outer = gather ? &g->type[i->out] : &g->type[i->in[2]];
    int8_t *out = gather ? f->out[0] : f->in[2];
    Ints window = ins_ints(i, gather ? ATTR(gather, offset_dims) : ATTR(scatter, window_dims));
    Ints dropped = ins_ints(i, gather ? ATTR(gather, collapsed) : ATTR(scatter, inserted));
    Ints xb = ins_ints(i, gather ? ATTR(gather, x_batch) : ATTR(scatter, x_batch));
    Ints ib = ins_ints(i, gather ? ATTR(gather, indices_batch) : ATTR(scatter, indices_batch));
    for (int d = 0, at = 0; d < index->rank - 1; d++, at++) {
        while (ints_has(&window, at))
            at++;
        int b = 0;
        while (b < ib.n && ib.v[b] != d)
            b++;
        if (!gather && !adds && b == ib.n)
            continue;
        int k = new_factor(f, gather || b < ib.n ? F_KEPT : F_SUM);
        f->in[1][d] = out[at] = (int8_t)k;
        if (b < ib.n)
            f->in[0][xb.v[b]] = (int8_t)k;
        if (b < ib.n && !gather)
            f->out[0][xb.v[b]] = (int8_t)k;
    }
    for (int d = 0, w = 0; d < x->rank; d++) {
        if (ints_has(&dropped, d) || ints_has(&xb, d))
            continue;
        int at = (int)window.v[w++];
        if (x->dim[d] != outer->dim[at])
            continue;
        int k = new_factor(f, F_KEPT);
        f->in[0][d] = out[at] = (int8_t)k;
        if (!gather)
            f->out[0][d] = (int8_t)k;
    }
}

/* ==================== the table */

Factors factors_of(const Ins *i, const Graph *g)
{
    Factors f = { .in = NEWS(FactorAxes, i->nin), .out = NEWS(FactorAxes, i->nout) };
    memset(f.in, -1, sizeof *f.in * (size_t)i->nin);
    memset(f.out, -1, sizeof *f.out * (size_t)i->nout);
    switch (i->op) {
    case OP_select:
    case OP_convert:
    case OP_reduce_precision:
    case OP_stop_gradient:
    case OP_named:
    case OP_gamma_draw:
    case OP_threefry: case OP_accum:
        all_axes(&f, i, g, (Ints){ 0 });
        break;
    case OP_bitcast:
        for (int d = 0; d < g->type[i->in[0]].rank && d < g->type[i->out].rank; d++)
            pair(&f, 0, d, d);
        break;
    case OP_sort:
    case OP_cumsum:
    case OP_cumprod:
    case OP_cummax:
    case OP_cummin:
    case OP_concat:
        all_axes(&f, i, g, ins_ints(i, ATTR(cumsum, axis)));
        break;
    case OP_fft: all_axes(&f, i, g, ints_one(ins_int(i, ATTR(fft, axis)))); break;
    case OP_reverse: all_axes(&f, i, g, ins_ints(i, ATTR(reverse, axes))); break;
    case OP_cholesky:
    case OP_triangular_solve:
    case OP_qr:
    case OP_lu:
    case OP_solve:
    case OP_eigh:
    case OP_svd:
        stack_factors(&f, i, g);
        break;
    case OP_shear:
        all_axes(&f, i, g, (Ints){ 2, { ins_int(i, ATTR(shear, axis)), ins_int(i, ATTR(shear, along)) } });
        break;
    case OP_argmax: case OP_argmin: reduce_factors(&f, i, g); break;
    case OP_top_k: all_axes(&f, i, g, ints_one(g->type[i->out].rank - 1)); break;
    case OP_broadcast: broadcast_factors(&f, i, g); break;
    case OP_reshape: reshape_factors(&f, i, g); break;
    case OP_transpose: transpose_factors(&f, i); break;
    case OP_slice: slice_factors(&f, i, g); break;
    case OP_pad: pad_factors(&f, i, g); break;
    case OP_reduce_sum:
    case OP_reduce_prod:
    case OP_reduce_max:
    case OP_reduce_min:
    case OP_reduce_and:
    case OP_reduce_or:
    case OP_reduce_xor:
        reduce_factors(&f, i, g);
        break;
    case OP_dot: dot_factors(&f, i, g); break;
    case OP_dynamic_slice: dynamic_slice_factors(&f, i, g); break;
    case OP_dynamic_update: case OP_accum_slice: update_factors(&f, i, g); break;
    case OP_gather: case OP_scatter: window_factors(&f, i, g); break;
    default:
        if (optab[i->op].elementwise)
            all_axes(&f, i, g, (Ints){ 0 });
    }
    return f;
}

bool graph_constrains(const Graph *g)
{
    for (int n = 0; n < g->nins; n++) {
        if (g->ins[n]->op == OP_constrain)
            return true;
        for (int k = 0; k < g->ins[n]->nsub; k++)
            if (graph_constrains(g->ins[n]->sub[k]))
                return true;
    }
    return false;
}
