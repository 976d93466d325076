/*
 * fold.c - what an instruction is equal to without being computed. Exact in IEEE arithmetic or not done.
 *
 * In: a draft whose type has been inferred, so it is known to be legal. Out: an existing or simpler value,
 * or 0. x*1, x/1, x - (+0) and x + (-0) fold for every x, nan and zeros of either sign included; x*0 and x +
 * (+0) do not, for floats. Integers and bools have no such values, so their neutral and absorbing constants
 * fold as well. Elementwise operations on filled operands are computed by the operation's own rule on one
 * element, so a folded program and an evaluated one give the same bits.
 */
#include "graph.h"

#include <math.h>
#include <string.h>

/* ==================== constants seen through views */

bool const_of(Ref v, int64_t *bits)
{
    const Ins *i = def(v);
    while (i && optab[i->op].element == IS_VIEW)
        i = def(i->in[0]);
    if (!i || i->op != OP_const)
        return false;
    *bits = ins_int(i, ATTR(const, bits));
    return true;
}

static bool bits_are(Dtype dt, int64_t bits, double want)
{
    char e[16] = { 0 };
    dtype_store_i(dt, e, bits);
    double v = dtype_load_f(dt, e);
    return v == want && !signbit(v) == !signbit(want);
}

bool const_is(Ref v, double want)
{
    int64_t bits;
    Dtype dt = (Dtype)typ(v)->dt;
    return const_of(v, &bits) && !dtype_complex(dt) && bits_are(dt, bits, want);
}

/* All ones: the neutral constant of `and`. */
static bool const_ones(Ref v)
{
    int64_t bits;
    Dtype dt = (Dtype)typ(v)->dt;
    if (!const_of(v, &bits))
        return false;
    return dt == DT_BOOL ? bits != 0 :
                           (uint64_t)bits << (64 - 8 * dtype_size(dt)) >> (64 - 8 * dtype_size(dt)) ==
            UINT64_MAX >> (64 - 8 * dtype_size(dt));
}

/* ==================== elementwise */

static bool computes_by_element(const Ins *i)
{
    return optab[i->op].elementwise || i->op == OP_select || i->op == OP_convert ||
        i->op == OP_reduce_precision || i->op == OP_complex || i->op == OP_real || i->op == OP_imag ||
        i->op == OP_conj;
}

/* All operands are filled with constants: one element says it all. */
static Ref fold_constants(const Ins *i, const Type *result)
{
    char value[3][16] = { { 0 } }, r[16] = { 0 };
    Type scalar[3], u = type_scalar((Dtype)result->dt);
    const Type *t[3];
    const void *in[3];
    if (!i->nin || i->nin > 3)
        return 0;
    for (int k = 0; k < i->nin; k++) {
        int64_t bits;
        Dtype dt = (Dtype)typ(i->in[k])->dt;
        if (dtype_size(dt) > 8 || !const_of(i->in[k], &bits))
            return 0;
        dtype_store_i(dt, value[k], bits);
        scalar[k] = type_scalar(dt);
        t[k] = &scalar[k];
        in[k] = value[k];
    }
    void *out[1] = { r };
    if (dtype_size((Dtype)u.dt) > 8 || optab[i->op].rules->eval(i, t, in, &u, out))
        return 0;
    return FullBits(*result, dtype_load_i((Dtype)u.dt, r));
}

static Ref unsigned_of(Ref v)
{
    const Ins *d = def(v);
    return d && (d->op == OP_neg || d->op == OP_abs) ? d->in[0] : v;
}

/* Is x that a value is not finite, and y that it, or its negative, equals something finite? */
static bool contradicts(Ref x, Ref y)
{
    const Ins *n = def(x), *f = n && n->op == OP_not ? def(n->in[0]) : NULL, *e = def(y);
    if (!f || f->op != OP_is_finite || !e || e->op != OP_eq)
        return false;
    for (int k = 0; k < 2; k++) {
        int64_t bits;
        char c[16] = { 0 };
        Dtype dt = (Dtype)typ(e->in[k])->dt;
        if (dtype_complex(dt) || unsigned_of(e->in[1 - k]) != unsigned_of(f->in[0]) ||
            !const_of(e->in[k], &bits))
            continue;
        dtype_store_i(dt, c, bits);
        if (isfinite(dtype_load_f(dt, c)))
            return true;
    }
    return false;
}

static Ref fold_binary(const Ins *i, const Type *result)
{
    Ref x = i->in[0], y = i->in[1];
    bool whole = !dtype_float((Dtype)result->dt);               /* integers and bool: no nan, no -0 */
    switch (i->op) {
    case OP_add:
        return const_is(x, whole ? 0 : -0.0) ? y : const_is(y, whole ? 0 : -0.0) ? x : 0;
    case OP_sub:
        return const_is(y, 0) ? x : 0;
    case OP_mul:
        return const_is(x, 1) ? y : const_is(y, 1) ? x
            : whole && (const_is(x, 0) || const_is(y, 0)) ? FullBits(*result, 0) : 0;
    case OP_div: case OP_pow:
        return const_is(y, 1) ? x : 0;
    case OP_and:
        return x == y     ? x :
            const_ones(x) ? y :
            const_ones(y) ? x :
            const_is(x, 0) || const_is(y, 0) || contradicts(x, y) || contradicts(y, x) ?
                            FullBits(*result, 0) :
                            0;
    case OP_or:
        return x == y      ? x :
            const_is(x, 0) ? y :
            const_is(y, 0) ? x :
            const_ones(x)  ? x :
            const_ones(y)  ? y :
                             0;
    case OP_xor:
        return const_is(x, 0) ? y : const_is(y, 0) ? x : 0;
    case OP_max: case OP_min:
        return x == y ? x : 0;
    case OP_shift_left: case OP_shift_right_logical: case OP_shift_right_arithmetic:
        return const_is(y, 0) ? x : 0;
    default:
        return 0;
    }
}

/* true where it holds and false elsewhere is the predicate itself. */
static Ref fold_select(const Ins *i, const Type *result)
{
    int64_t bits;
    Ref p = i->in[0], x = i->in[1], y = i->in[2];
    if (x == y || const_of(p, &bits))
        return x == y || bits ? x : y;
    return result->dt == DT_BOOL && const_ones(x) && const_is(y, 0) && type_equal(typ(p), result) ? p : 0;
}

/* The parts of what was put together, and what was taken apart put together again. */
static Ref fold_parts(const Ins *i)
{
    const Ins *d = def(i->in[0]), *e = i->nin > 1 ? def(i->in[1]) : NULL;
    if (!d)
        return 0;
    if (i->op == OP_complex)
        return e && d->op == OP_real && e->op == OP_imag && d->in[0] == e->in[0] ? d->in[0] : 0;
    if (i->op == OP_conj)
        return d->op == OP_conj ? d->in[0] : 0;
    return d->op == OP_complex ? d->in[i->op == OP_imag] : 0;
}

static Ref fold_element(const Ins *i, const Type *result)
{
    Ref x = i->in[0];
    const Ins *d = def(x);
    Ref r = fold_constants(i, result);
    if (r)
        return r;
    switch (i->op) {
    case OP_neg: case OP_not:
        return d && d->op == i->op ? d->in[0] : 0;
    case OP_is_finite:
        return unsigned_of(x) != x ? IsFinite(unsigned_of(x)) : 0;
    case OP_convert:
        return type_equal(result, typ(x)) ? x : 0;
    case OP_select:
        return fold_select(i, result);
    case OP_complex:
    case OP_real:
    case OP_imag:
    case OP_conj:
        return fold_parts(i);
    default:
        return i->nin == 2 ? fold_binary(i, result) : 0;
    }
}

/* ==================== shape */

static Ref fold_transpose(const Ins *i, const Ins *d)
{
    Ints perm = ins_ints(i, ATTR(transpose, perm));
    bool same = true;
    for (int k = 0; k < perm.n; k++)
        same &= perm.v[k] == k;
    if (same)
        return i->in[0];
    if (!d || d->op != OP_transpose)
        return 0;
    Ints p = ins_ints(d, ATTR(transpose, perm));
    for (int k = 0; k < perm.n; k++)
        perm.v[k] = p.v[perm.v[k]];
    return Transpose(d->in[0], perm);
}

static Ref fold_broadcast(const Ins *i, const Type *result, const Ins *d)
{
    Ints dims = ins_ints(i, ATTR(broadcast, dims));
    bool same = type_equal(result, typ(i->in[0]));
    for (int k = 0; k < dims.n; k++)
        same &= dims.v[k] == k;
    if (same)
        return i->in[0];
    if (!d || d->op != OP_broadcast)
        return 0;
    Ints inner = ins_ints(d, ATTR(broadcast, dims));
    for (int k = 0; k < inner.n; k++)
        inner.v[k] = dims.v[inner.v[k]];
    return Broadcast(d->in[0], type_shape(result), inner);
}

static bool all_zero(const Ins *i, int attr)
{
    int n;
    const int64_t *v = ins_attr(i, attr, &n);
    while (n > 0 && !v[n - 1])
        n--;
    return !n;
}

/* Along these axes nothing can move. */
static bool single(const Ins *i, int attr, const Type *t)
{
    int n;
    const int64_t *axes = ins_attr(i, attr, &n);
    for (int k = 0; k < n; k++)
        if (t->dim[axes[k]] > 1)
            return false;
    return true;
}

static Ref fold_shape(const Ins *i, const Type *result)
{
    Ref x = i->in[0];
    const Type *t = typ(x);
    const Ins *d = def(x);
    int64_t bits;
    if (optab[i->op].element == IS_VIEW && d && d->op != OP_const && const_of(x, &bits))
        return FullBits(*result, bits);
    switch (i->op) {
    case OP_reshape:
        return type_equal(result, t) ? x :
            d && d->op == OP_reshape ? Reshape(d->in[0], type_shape(result)) :
                                       0;
    case OP_transpose:
        return fold_transpose(i, d);
    case OP_broadcast:
        return fold_broadcast(i, result, d);
    case OP_slice:                              /* within bounds: the same size is the same elements */
        return type_equal(result, t) ? x : 0;
    case OP_pad:
        return type_equal(result, t) && all_zero(i, ATTR(pad, lo)) && all_zero(i, ATTR(pad, hi)) ? x : 0;
    case OP_reverse:
        if (d && d->op == OP_reverse && d->nattr == i->nattr
            && !memcmp(d->attr, i->attr, (size_t)i->nattr * sizeof *i->attr))
            return d->in[0];
        return single(i, ATTR(reverse, axes), t) ? x : 0;
    case OP_shear:
        return type_equal(result, t) ? x : 0;
    case OP_cumsum: case OP_cumprod: case OP_cummax: case OP_cummin:
        return single(i, ATTR(cumsum, axis), t) ? x : 0;
    case OP_reduce_sum: case OP_reduce_prod: case OP_reduce_max: case OP_reduce_min:
    case OP_reduce_and: case OP_reduce_or: case OP_reduce_xor:
        return ins_ints(i, ATTR(reduce_sum, axes)).n ? 0 : x;
    case OP_concat:
        return i->nin == 1 ? x : 0;
    case OP_bitcast:
        return type_equal(result, t) ? x : 0;
    case OP_check:
        return const_is(x, 1) ? x : 0;
    default:
        return 0;
    }
}

Ref fold(const Ins *i, const Type *result)
{
    if (!i->nin || i->op == OP_accum)
        return 0;
    return computes_by_element(i) ? fold_element(i, result) : fold_shape(i, result);
}
