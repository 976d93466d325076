/*
 * ops_reduce.c - reductions over axes, positions of extremes, running sums.
 *
 * Each reduction is a formula on a value and a sorted list of axes; reduce() does for all of them what a
 * call needs: symbols to values, axes checked, HD_KEEP. Result dtypes are jax.numpy's: sums of bool and of
 * integers below 32 bits are 32 bits wide, means of integers are f32.
 */
#include "formulas.h"

#include <math.h>

/* ==================== axes */

Ints ints1(int64_t v) { return (Ints){ 1, { v } }; }

Ints ints_run(int64_t from, int64_t to)
{
    Ints r = { 0 };
    for (; from < to; from++)
        r.v[r.n++] = from;
    return r;
}

Ints ints_without(Ints all, const Ints *axes)
{
    Ints r = { 0 };
    for (int i = 0; i < all.n; i++)
        if (!ints_has(axes, i))
            r.v[r.n++] = all.v[i];
    return r;
}

Ints shape_of(Ref x) { return x ? type_shape(typ(x)) : (Ints){ 0 }; }

int64_t size_along(Ref x, Ints axes)
{
    int64_t n = 1;
    for (int i = 0; x && i < axes.n; i++)
        n *= typ(x)->dim[axes.v[i]];
    return n;
}

Ref kept(Ref reduced, Ints axes, Ref of)
{
    Ints shape = shape_of(of);
    for (int i = 0; i < axes.n; i++)
        shape.v[axes.v[i]] = 1;
    return reduced && of ? Reshape(reduced, shape) : 0;
}

Ref spread(Ref reduced, Ints axes, Ref of)
{
    if (!reduced || !of)
        return 0;
    return Broadcast(reduced, shape_of(of), ints_without(ints_run(0, typ(of)->rank), &axes));
}

/* ==================== formulas */

/* The dtype in which jax.numpy adds up integers. */
static Ref widened(Ref x)
{
    if (!x || dtype_size((Dtype)typ(x)->dt) >= 4 || is_inexact(x))
        return x;
    return Convert(x, dtype_unsigned((Dtype)typ(x)->dt) ? DT_U32 : DT_I32);
}

static Ref sum(const char *what, Ref x, Ints axes) { (void)what; return Sum(widened(x), axes); }
static Ref prod(const char *what, Ref x, Ints axes)
{
    (void)what;
    return Reduce(OP_reduce_prod, widened(x), axes);
}

static Ref extreme(const char *what, Op op, Ref x, Ints axes)
{
    if (size_along(x, axes))
        return Reduce(op, x, axes);
    error_set(E_SHAPE, "%s: %s is empty along the axes reduced, and nothing has no %s", what,
        type_text(typ(x)), op == OP_reduce_max ? "maximum" : "minimum");
    return 0;
}
static Ref max(const char *what, Ref x, Ints axes) { return extreme(what, OP_reduce_max, x, axes); }
static Ref min(const char *what, Ref x, Ints axes) { return extreme(what, OP_reduce_min, x, axes); }

static Ref truth(Ref x) { return !x || typ(x)->dt == DT_BOOL ? x : Ne(x, Like(x, 0)); }
static Ref all(const char *what, Ref x, Ints axes)
{
    (void)what;
    return Reduce(OP_reduce_and, truth(x), axes);
}
static Ref any(const char *what, Ref x, Ints axes)
{
    (void)what;
    return Reduce(OP_reduce_or, truth(x), axes);
}

/* 16-bit floats are computed in f32 and rounded once. */
static Ref computed(Ref x)
{
    x = to_float(x);
    return x && dtype_size((Dtype)typ(x)->dt) < 4 ? Convert(x, DT_F32) : x;
}

static Ref result_of(Ref r, Ref x) { return r && x && is_float(x) ? Convert(r, (Dtype)typ(x)->dt) : r; }

/* The sum over axes divided by how many there are. */
static Ref average(Ref x, Ints axes)
{
    Ref s = Sum(x, axes);
    return s ? Div(s, Like(s, (double)size_along(x, axes))) : 0;
}

Ref mean(Ref x, Ints axes) { return result_of(average(computed(x), axes), x); }

static Ref variance(Ref x, Ints axes)
{
    x = computed(x);
    return average(norm_square(Sub(x, spread(average(x, axes), axes, x))), axes);
}

static Ref mean_of(const char *what, Ref x, Ints axes) { (void)what; return mean(x, axes); }
static Ref var(const char *what, Ref x, Ints axes) { (void)what; return result_of(variance(x, axes), x); }
static Ref std(const char *what, Ref x, Ints axes)
{
    (void)what;
    return result_of(Sqrt(variance(x, axes)), x);
}

static Ref norm(const char *what, Ref x, Ints axes)
{
    (void)what;
    x = to_float(x);
    return Sqrt(Sum(norm_square(x), axes));
}

/* log(sum(exp(x))) with the largest element taken out; an infinite one is not, so that -inf and inf come out
 * as they went in. */
Ref logsumexp(Ref x, Ints axes)
{
    if (!x)
        return 0;
    if (!size_along(x, axes))
        return Log(Sum(Exp(x), axes));
    Ref top = Reduce(OP_reduce_max, x, axes);
    top = top ? stop_gradient(choose(IsFinite(top), top, Like(top, 0))) : 0;
    return Add(Log(Sum(Exp(Sub(x, spread(top, axes, x))), axes)), top);
}

static Ref logsumexp_of(const char *what, Ref x, Ints axes)
{
    return float_ref(what, sym_of(x)) ? logsumexp(x, axes) : 0;
}

/* ==================== calls */

typedef Ref ReduceFn(const char *what, Ref x, Ints axes);

static hd reduce(const char *what, ReduceFn *f, hd x, hd_ints list)
{
    Ints axes;
    bool keep;
    Ref r = sym_ref(x);

    if (!r || axes_of(what, list, typ(r)->rank, &axes, &keep))
        return HD_NIL;
    Ref y = f(what, r, axes);
    return sym_of(keep ? kept(y, axes, r) : y);
}

#define REDUCTION(name, f) \
    hd hd_##name##_n(hd x, hd_ints axes) { OP(hd_##name##_n); return reduce("hd_" #name, f, x, axes); } \
    hd hd_##name(hd x) { OP(hd_##name); return reduce("hd_" #name, f, x, (hd_ints){ 0, { 0 } }); }
REDUCTION(sum, sum)
REDUCTION(prod, prod)
REDUCTION(mean, mean_of)
REDUCTION(max, max)
REDUCTION(min, min)
REDUCTION(var, var)
REDUCTION(std, std)
REDUCTION(all, all)
REDUCTION(any, any)
REDUCTION(logsumexp, logsumexp_of)
REDUCTION(norm, norm)

static hd position(const char *what, Op op, hd x, int axis)
{
    Ref r = rank_ref(what, x, 1);
    int a = r ? axis_of(what, axis, typ(r)->rank) : -1;

    if (a < 0)
        return HD_NIL;
    if (typ(r)->dim[a])
        return sym_of(Arg(op, r, a, type_counter(typ(r)->dim[a])));
    error_set(E_SHAPE, "%s: %s is empty along axis %d, and nothing has no position", what, type_text(typ(r)),
        axis);
    return HD_NIL;
}

hd hd_argmax(hd x, int axis) { OP(hd_argmax); return position("hd_argmax", OP_argmax, x, axis); }
hd hd_argmin(hd x, int axis) { OP(hd_argmin); return position("hd_argmin", OP_argmin, x, axis); }

static hd running(const char *what, Op op, hd x, int axis)
{
    Ref r = rank_ref(what, x, 1);
    int a = r ? axis_of(what, axis, typ(r)->rank) : -1;

    if (a < 0)
        return HD_NIL;
    if (typ(r)->dt == DT_BOOL)
        r = Convert(r, DT_I32);
    return sym_of(Cumulative(op, r, a, false));
}

hd hd_cumsum(hd x, int axis) { OP(hd_cumsum); return running("hd_cumsum", OP_cumsum, x, axis); }
hd hd_cumprod(hd x, int axis) { OP(hd_cumprod); return running("hd_cumprod", OP_cumprod, x, axis); }
hd hd_cummax(hd x, int axis) { OP(hd_cummax); return running("hd_cummax", OP_cummax, x, axis); }
hd hd_cummin(hd x, int axis) { OP(hd_cummin); return running("hd_cummin", OP_cummin, x, axis); }

/* By doubling: after the step of distance d each element stands for itself and the 2 d - 1 before it. */
hd hd_cumlogsumexp(hd x, int axis)
{
    OP(hd_cumlogsumexp);
    Ref r = rank_ref("hd_cumlogsumexp", x, 1);
    int a = r ? axis_of("hd_cumlogsumexp", axis, typ(r)->rank) : -1;

    if (a < 0 || !float_ref("hd_cumlogsumexp", sym_of(r)))
        return HD_NIL;
    int64_t n = typ(r)->dim[a];
    for (int64_t d = 1; r && d < n; d *= 2)
        r = logaddexp(r, pad_axis(r, a, d, -d, Const((Dtype)typ(r)->dt, -INFINITY)));
    return sym_of(r);
}
