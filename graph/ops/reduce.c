/*
 * reduce.c - reductions over axes, positions of extremes, cumulative operations.
 *
 * Sums are linear. The derivative of a maximum is shared equally by the elements that attain it. Products
 * are differentiated as what they are, products of two halves (or of a prefix and a shifted prefix): right
 * where elements are zero, and differentiable again, as no division occurs.
 */
#include <stdlib.h>
#include <string.h>

#include "ops.h"

static Join join_of(int op)
{
    switch (op) {
    case OP_reduce_sum: case OP_cumsum: return J_ADD;
    case OP_reduce_prod: case OP_cumprod: return J_MUL;
    case OP_reduce_max: case OP_cummax: return J_MAX;
    case OP_reduce_min: case OP_cummin: return J_MIN;
    case OP_reduce_and: return J_AND;
    case OP_reduce_or: return J_OR;
    default: return J_XOR;
    }
}

/* Which dtypes have the operation. */
static int reducible(Op op, const Type *t)
{
    Join j = join_of(op);
    Dtype dt = (Dtype)t->dt;
    if ((j == J_ADD || j == J_MUL) && dt == DT_BOOL)
        return error_set(E_DTYPE,
            "%s: %s: bools are not added or multiplied; convert to i32 to count, or use "
            "reduce_or and reduce_and",
            optab[op].name, type_text(t));
    if ((j == J_MAX || j == J_MIN) && ops_class(dt) == CL_COMPLEX)
        return error_set(E_DTYPE, "%s: %s: complex numbers have no order; reduce their parts",
            optab[op].name, type_text(t));
    if (j >= J_AND && dt != DT_BOOL && !dtype_int(dt))
        return error_set(E_DTYPE, "%s: %s: only bools and integers have bits; compare or bitcast first",
            optab[op].name, type_text(t));
    return 0;
}

/* ==================== reductions */

static int reduce_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    struct reduce_sum_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e || (e = reducible(op, t[0])) || (e = ops_axes(op, "axes", t[0], a.axes)))
        return e;
    return ops_result(op, out, (Dtype)t[0]->dt, ints_pick(t[0], ints_others(t[0]->rank, a.axes)));
}

/* Of one element that itself, of several what they are with the identity: sums of several -0 are 0, as on
 * devices. */
static int reduce_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    (void)u;
    Dtype dt = (Dtype)t[0]->dt;
    Join j = join_of(i->op);
    size_t size = dtype_size(dt);
    Ints axes = ins_ints(i, ATTR(reduce_sum, axes));
    int64_t n, m, *kept = ops_offsets(t[0], ints_others(t[0]->rank, axes), &n),
                  *gone = ops_offsets(t[0], axes, &m);
    if (kept && gone)
        for (int64_t k = 0; k < n; k++) {
            Wide w = ops_identity(j, dt);
            for (int64_t l = 0; l < m; l++) {
                Wide x = ops_load(dt, (const char *)in[0] + (size_t)(kept[k] + gone[l]) * size);
                w = m == 1 ? x : ops_join(j, dt, w, x);
            }
            ops_store(dt, (char *)out[0] + (size_t)k * size, w);
        }
    free(kept), free(gone);
    return kept && gone ? 0 : error_code();
}

static void reduce_batch(const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    out[0] =
        Reduce((Op)i->op, stacked(x[0], s[0], ax->lane.size), ints_up(ins_ints(i, ATTR(reduce_sum, axes))));
    so[0] = STACKED;
}

static void sum_transpose(const Ins *i, const Ref *ct, Cts *cts)
{
    Type t = *typ(i->in[0]);
    ct_add(cts, i->in[0],
        Broadcast(ct[0], type_shape(&t), ints_others(t.rank, ins_ints(i, ATTR(reduce_sum, axes)))));
}

const Rules rules_reduce_sum = { reduce_infer, ops_jvp_again, sum_transpose, reduce_batch, reduce_eval };

/* A value and its tangent. */
typedef struct Dual { Ref x, t; } Dual;

static Dual dual_mul(Dual a, Dual b) { return (Dual){ Mul(a.x, b.x), Add(Mul(a.t, b.x), Mul(b.t, a.x)) }; }

static Ref pad_axis(Ref x, int axis, int64_t lo, int64_t hi, double value)
{
    const Type *t = typ(x);
    Ints zero = ints_fill(t->rank, 0), l = zero, h = zero;
    l.v[axis] = lo, h.v[axis] = hi;
    return Pad(x, Const((Dtype)t->dt, value), l, h, zero);
}

/* The halves of an axis are multiplied until one element is left; an odd axis is padded with a one. */
static Dual fold_axis(Dual d, int axis)
{
    int64_t n = typ(d.x)->dim[axis];
    if (!n)
        d = (Dual){ pad_axis(d.x, axis, 0, 1, 1), pad_axis(d.t, axis, 0, 1, 0) };
    while (d.x && d.t && n > 1) {
        if (n & 1)
            d = (Dual){ pad_axis(d.x, axis, 0, 1, 1), pad_axis(d.t, axis, 0, 1, 0) };
        int64_t h = (n + 1) / 2;
        d = dual_mul((Dual){ SliceAxis(d.x, axis, 0, h), SliceAxis(d.t, axis, 0, h) },
            (Dual){ SliceAxis(d.x, axis, h, 2 * h), SliceAxis(d.t, axis, h, 2 * h) });
        n = h;
    }
    return d;
}

static void prod_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    Ints axes = ins_ints(i, ATTR(reduce_prod, axes));
    Dual d = { x[0], t[0] };
    for (int k = 0; k < axes.n && d.x && d.t; k++)
        d = fold_axis(d, (int)axes.v[k]);
    tz[0] = d.t ? Reshape(d.t, type_shape(typ(z[0]))) : 0;
}

const Rules rules_reduce_prod = { reduce_infer, prod_jvp, NULL, reduce_batch, reduce_eval };

/* Select, not a product: a tangent that is infinite where the element is not the extreme takes no part. What
 * the extreme of none is does not change. */
static void extreme_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    Type u = *typ(x[0]);
    Ints axes = ins_ints(i, ATTR(reduce_max, axes));
    if (!type_size(&u))
        return;
    Ref hit = Eq(x[0], Broadcast(z[0], type_shape(&u), ints_others(u.rank, axes)));
    Ref count = Sum(Select(hit, Full(u, 1), Zeros(&u)), axes);
    tz[0] = Div(Sum(Select(hit, t[0], Zeros(&u)), axes), count);
}

const Rules rules_reduce_max = { reduce_infer, extreme_jvp, NULL, reduce_batch, reduce_eval };
const Rules rules_reduce_min = { reduce_infer, extreme_jvp, NULL, reduce_batch, reduce_eval };
const Rules rules_reduce_and = { reduce_infer, ops_jvp_zero, NULL, reduce_batch, reduce_eval };
const Rules rules_reduce_or = { reduce_infer, ops_jvp_zero, NULL, reduce_batch, reduce_eval };
const Rules rules_reduce_xor = { reduce_infer, ops_jvp_zero, NULL, reduce_batch, reduce_eval };

/* ==================== argmax, argmin: the first NaN, else the first of the extremes */

static int arg_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    struct argmax_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e || (e = ops_axis(op, t[0], a.axis.v[0])))
        return e;
    int64_t axis = a.axis.v[0], dt = a.dtype.v[0];
    if (dt <= DT_NONE || dt >= DT_COUNT || !dtype_int((Dtype)dt))
        return error_set(E_DTYPE, "%s: positions cannot be %s; use an integer dtype, such as i32",
            optab[op].name, dt > DT_NONE && dt < DT_COUNT ? dtype_name((Dtype)dt) : "of an unknown dtype");
    if (ops_class((Dtype)t[0]->dt) == CL_COMPLEX)
        return error_set(E_DTYPE, "%s: %s: complex numbers have no order; reduce their parts",
            optab[op].name, type_text(t[0]));
    if (!t[0]->dim[axis])
        return error_set(E_SHAPE,
            "%s: %s has no elements along axis %lld, so there is no position; pad it first", optab[op].name,
            type_text(t[0]), (long long)axis);
    if ((e = ops_counts(op, t[0], axis, (Dtype)dt)))
        return e;
    return ops_result(op, out, (Dtype)dt, ints_pick(t[0], ints_others(t[0]->rank, ints_fill(1, axis))));
}

/* Is y a better choice than x, found earlier? */
static bool better(bool max, Dtype dt, Wide x, Wide y)
{
    if (ops_is_nan(dt, x))
        return false;
    if (ops_is_nan(dt, y))
        return true;
    if (ops_class(dt) == CL_FLOAT)
        return max ? y.f > x.f : y.f < x.f;
    if (dtype_unsigned(dt))
        return max ? (uint64_t)y.i > (uint64_t)x.i : (uint64_t)y.i < (uint64_t)x.i;
    return max ? y.i > x.i : y.i < x.i;
}

static int arg_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    Dtype dt = (Dtype)t[0]->dt, index = (Dtype)u[0].dt;
    size_t size = dtype_size(dt);
    Ints axis = ints_fill(1, ins_int(i, ATTR(argmax, axis)));
    int64_t n, m, *kept = ops_offsets(t[0], ints_others(t[0]->rank, axis), &n),
                  *gone = ops_offsets(t[0], axis, &m);
    if (kept && gone)
        for (int64_t k = 0; k < n; k++) {
            int64_t at = 0;
            Wide best = ops_load(dt, (const char *)in[0] + (size_t)kept[k] * size);
            for (int64_t l = 1; l < m; l++) {
                Wide w = ops_load(dt, (const char *)in[0] + (size_t)(kept[k] + gone[l]) * size);
                if (better(i->op == OP_argmax, dt, best, w))
                    best = w, at = l;
            }
            dtype_store_i(index, (char *)out[0] + (size_t)k * dtype_size(index), at);
        }
    free(kept), free(gone);
    return kept && gone ? 0 : error_code();
}

static void arg_batch(const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    out[0] = Arg((Op)i->op, stacked(x[0], s[0], ax->lane.size), (int)ins_int(i, ATTR(argmax, axis)) + 1,
        (Dtype)ins_int(i, ATTR(argmax, dtype)));
    so[0] = STACKED;
}

const Rules rules_argmax = { arg_infer, ops_jvp_zero, NULL, arg_batch, arg_eval };
const Rules rules_argmin = { arg_infer, ops_jvp_zero, NULL, arg_batch, arg_eval };

/* ==================== cumulative operations: along an axis, from its start, or in reverse from its end */

static int cumulative_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    struct cumsum_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e || (e = reducible(op, t[0])) || (e = ops_axis(op, t[0], a.axis.v[0])))
        return e;
    if (a.reverse.v[0] != 0 && a.reverse.v[0] != 1)
        return error_set(
            E_INVAL, "%s: reverse is 0 or 1, not %lld", optab[op].name, (long long)a.reverse.v[0]);
    *out = *t[0];
    return 0;
}

static int cumulative_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    (void)u;
    Dtype dt = (Dtype)t[0]->dt;
    Join j = join_of(i->op);
    size_t size = dtype_size(dt);
    Ints axis = ints_fill(1, ins_int(i, ATTR(cumsum, axis)));
    bool reverse = ins_int(i, ATTR(cumsum, reverse));
    int64_t n, m, *line = ops_offsets(t[0], ints_others(t[0]->rank, axis), &n),
                  *along = ops_offsets(t[0], axis, &m);
    if (line && along)
        for (int64_t k = 0; k < n; k++) {
            Wide w = ops_identity(j, dt);
            for (int64_t l = 0; l < m; l++) {
                size_t at = (size_t)(line[k] + along[reverse ? m - 1 - l : l]) * size;
                Wide x = ops_load(dt, (const char *)in[0] + at);
                w = m == 1 ? x : ops_join(j, dt, w, x);
                ops_store(dt, (char *)out[0] + at, w);
            }
        }
    free(line), free(along);
    return line && along ? 0 : error_code();
}

static void cumulative_batch(
    const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    out[0] = Cumulative((Op)i->op, stacked(x[0], s[0], ax->lane.size),
        (int)ins_int(i, ATTR(cumsum, axis)) + 1, ins_int(i, ATTR(cumsum, reverse)));
    so[0] = STACKED;
}

static void cumsum_transpose(const Ins *i, const Ref *ct, Cts *cts)
{
    ct_add(cts, i->in[0],
        Cumulative(
            OP_cumsum, ct[0], (int)ins_int(i, ATTR(cumsum, axis)), !ins_int(i, ATTR(cumsum, reverse))));
}

const Rules rules_cumsum = { cumulative_infer, ops_jvp_again, cumsum_transpose, cumulative_batch,
    cumulative_eval };

/* After the step of width d each element is the product of 2d, ending with its own. */
static void cumprod_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)z;
    int axis = (int)ins_int(i, ATTR(cumprod, axis));
    bool reverse = ins_int(i, ATTR(cumprod, reverse));
    int64_t n = typ(x[0])->dim[axis];
    Dual d = { x[0], t[0] };
    for (int64_t w = 1; w < n && d.x && d.t; w *= 2) {
        int64_t lo = reverse ? -w : w;
        d = dual_mul(d, (Dual){ pad_axis(d.x, axis, lo, -lo, 1), pad_axis(d.t, axis, lo, -lo, 0) });
    }
    tz[0] = d.t;
}

const Rules rules_cumprod = { cumulative_infer, cumprod_jvp, NULL, cumulative_batch, cumulative_eval };

/* Of [before, n, after]: elements from, from + step, ... below to. */
static Ref every(Ref x, int64_t from, int64_t to, int64_t step)
{
    const Type *t = typ(x);
    return Slice(x, ints_of((int64_t[]){ 0, from, 0 }, 3),
        ints_of((int64_t[]){ t->dim[0], to < from ? from : to, t->dim[2] }, 3),
        ints_of((int64_t[]){ 1, step, 1 }, 3));
}

static Dual dual_every(Dual d, int64_t from, int64_t to, int64_t step)
{
    return (Dual){ every(d.x, from, to, step), every(d.t, from, to, step) };
}

/* x, y, x, y ... to n of them; x is as long as y or one longer. */
static Ref in_turn(Ref x, Ref y, int64_t n)
{
    Type t = *typ(x);
    Ints shape = { 4, { t.dim[0], t.dim[1], 1, t.dim[2] } };
    Ref two[2] = { Reshape(x, shape), Reshape(n % 2 ? pad_axis(y, 1, 0, 1, 0) : y, shape) };
    Ref all = Reshape(Concat(two, 2, 2), ints_of((int64_t[]){ t.dim[0], 2 * t.dim[1], t.dim[2] }, 3));
    return all ? every(all, 0, n, 1) : 0;
}

/* Where two are equal, each gives half. */
static Dual dual_extreme(bool max, Dual a, Dual b)
{
    Ref first = max ? Gt(a.x, b.x) : Lt(a.x, b.x), second = max ? Lt(a.x, b.x) : Gt(a.x, b.x);
    Ref half = Mul(Add(a.t, b.t), Like(a.t, 0.5)), none = Like(a.t, 0);
    Ref t = Select(first, a.t, Select(second, b.t, Select(Eq(a.x, b.x), half, none)));
    return (Dual){ max ? Max(a.x, b.x) : Min(a.x, b.x), t };
}

/* Along axis 1: pairs, then running over the pairs, which gives every second one; the others are one more
 * step. So equal elements share as in JAX, whose tree this is. */
static Dual running(bool max, Dual d)
{
    int64_t n = d.x && d.t ? typ(d.x)->dim[1] : 0;
    if (n < 2)
        return d;
    Dual odd = running(max, dual_extreme(max, dual_every(d, 0, n - 1, 2), dual_every(d, 1, n, 2)));
    if (!odd.x || !odd.t)
        return odd;
    Dual first = dual_every(d, 0, 1, 1), before = n % 2 ? odd : dual_every(odd, 0, n / 2 - 1, 1);
    Dual rest = dual_extreme(max, before, dual_every(d, 2, n, 2));
    Ref x[2] = { first.x, rest.x }, t[2] = { first.t, rest.t };
    return (Dual){ in_turn(Concat(x, 2, 1), odd.x, n), in_turn(Concat(t, 2, 1), odd.t, n) };
}

static void cumextreme_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)z;
    int axis = (int)ins_int(i, ATTR(cumsum, axis));
    Type u = *typ(x[0]);
    Ints shape = { 3, { 1, u.dim[axis], 1 } }, along = { 1, { 1 } };
    for (int k = 0; k < u.rank; k++)
        shape.v[k < axis ? 0 : 2] *= k == axis ? 1 : u.dim[k];
    Dual d = { Reshape(x[0], shape), Reshape(t[0], shape) };
    if (ins_int(i, ATTR(cumsum, reverse)))
        d = (Dual){ Reverse(d.x, along), Reverse(d.t, along) };
    d = running(i->op == OP_cummax, d);
    tz[0] = d.t ? Reshape(ins_int(i, ATTR(cumsum, reverse)) ? Reverse(d.t, along) : d.t, type_shape(&u)) : 0;
}

const Rules rules_cummax = { cumulative_infer, cumextreme_jvp, NULL, cumulative_batch, cumulative_eval };
const Rules rules_cummin = { cumulative_infer, cumextreme_jvp, NULL, cumulative_batch, cumulative_eval };
