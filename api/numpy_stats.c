/*
 * numpy_stats.c - statistics: those that leave nan out, and what jax.numpy makes of sums and sorted
 * arrays.
 *
 * A reduction that leaves nan out is the plain one after nan has become what does not count for it, 0, 1
 * or an infinity; means divide by how many are left.
 */
#include "formulas.h"

#include <math.h>

/* ==================== reductions that leave nan out */

typedef struct Reduced {
    Ref x, there;
    Ints axes;
    bool keep;
} Reduced;

/* there: where x is a number, as floats. 0, or a code */
static int reduced(const char *what, hd x, hd_ints list, Reduced *r)
{
    r->x = to_float(sym_ref(x));
    if (!r->x || !float_ref(what, sym_of(r->x)) || axes_of(what, list, typ(r->x)->rank, &r->axes, &r->keep))
        return error_code();
    r->there = Not(is_nan(r->x));
    return 0;
}

static hd result(const Reduced *r, Ref y, Ref like)
{
    if (!y || !like)
        return HD_NIL;
    y = typ(y)->dt == typ(like)->dt ? y : Convert(y, (Dtype)typ(like)->dt);
    return sym_of(r->keep ? kept(y, r->axes, r->x) : y);
}

static Ref instead(const Reduced *r, Ref x, double c) { return choose(r->there, x, Like(x, c)); }

/* 16-bit floats are added in f32. */
static Ref wide(Ref x) { return x && dtype_size((Dtype)typ(x)->dt) < 4 ? Convert(x, DT_F32) : x; }

static Ref how_many(const Reduced *r)
{
    Ref x = wide(r->x);
    return Sum(Convert(r->there, (Dtype)typ(x)->dt), r->axes);
}

hd hd_nansum_n(hd x, hd_ints axes)
{
    Reduced r;
    OP(hd_nansum_n);
    return reduced("hd_nansum", x, axes, &r) ? HD_NIL : result(&r, Sum(instead(&r, r.x, 0), r.axes), r.x);
}

hd hd_nanprod_n(hd x, hd_ints axes)
{
    Reduced r;
    OP(hd_nanprod_n);
    if (reduced("hd_nanprod", x, axes, &r))
        return HD_NIL;
    return result(&r, Reduce(OP_reduce_prod, instead(&r, r.x, 1), r.axes), r.x);
}

/* Where all are nan, so is the result. */
static hd extreme(const char *what, Op op, hd x, hd_ints axes)
{
    Reduced r;
    if (reduced(what, x, axes, &r))
        return HD_NIL;
    if (!size_along(r.x, r.axes)) {
        error_set(E_SHAPE, "%s: %s has no elements there", what, type_text(typ(r.x)));
        return HD_NIL;
    }
    Ref y = Reduce(op, instead(&r, r.x, op == OP_reduce_max ? -INFINITY : INFINITY), r.axes);
    Ref some = Reduce(OP_reduce_or, r.there, r.axes);
    return result(&r, choose(some, y, Like(y, NAN)), r.x);
}

hd hd_nanmax_n(hd x, hd_ints axes)
{
    OP(hd_nanmax_n);
    return extreme("hd_nanmax", OP_reduce_max, x, axes);
}
hd hd_nanmin_n(hd x, hd_ints axes)
{
    OP(hd_nanmin_n);
    return extreme("hd_nanmin", OP_reduce_min, x, axes);
}

static Ref mean_there(const Reduced *r) { return Div(Sum(instead(r, wide(r->x), 0), r->axes), how_many(r)); }

hd hd_nanmean_n(hd x, hd_ints axes)
{
    Reduced r;
    OP(hd_nanmean_n);
    return reduced("hd_nanmean", x, axes, &r) ? HD_NIL : result(&r, mean_there(&r), r.x);
}

static Ref variance_there(const Reduced *r)
{
    Ref x = wide(r->x), c = instead(r, Sub(x, spread(mean_there(r), r->axes, x)), 0), n = how_many(r);
    return choose(Gt(n, Like(n, 0)), Div(Sum(square(c), r->axes), n), Like(n, NAN));
}

hd hd_nanvar_n(hd x, hd_ints axes)
{
    Reduced r;
    OP(hd_nanvar_n);
    return reduced("hd_nanvar", x, axes, &r) ? HD_NIL : result(&r, variance_there(&r), r.x);
}

hd hd_nanstd_n(hd x, hd_ints axes)
{
    Reduced r;
    OP(hd_nanstd_n);
    return reduced("hd_nanstd", x, axes, &r) ? HD_NIL : result(&r, Sqrt(variance_there(&r)), r.x);
}

hd hd_count_nonzero_n(hd x, hd_ints list)
{
    static const char what[] = "hd_count_nonzero";
    Ints axes;
    bool keep;
    OP(hd_count_nonzero_n);
    Ref r = sym_ref(x);
    if (!r || axes_of(what, list, typ(r)->rank, &axes, &keep))
        return HD_NIL;
    Ref there = typ(r)->dt == DT_BOOL ? r : Ne(r, Like(r, 0));
    Ref n = Sum(Convert(there, type_counter(size_along(r, axes) + 1)), axes);
    return sym_of(keep ? kept(n, axes, r) : n);
}

/* ==================== axes one at a time */

static hd nan_arg(const char *what, hd x, int axis, bool most)
{
    int a;
    Ref r = axis_ref(what, x, axis, &a);
    if (!r || !float_ref(what, sym_of(r)))
        return HD_NIL;
    hd there = sym_of(choose(is_nan(r), Like(r, most ? -INFINITY : INFINITY), r));
    hd at = most ? hd_argmax(there, a) : hd_argmin(there, a);
    Ref i = sym_ref(at), some = i ? Reduce(OP_reduce_or, Not(is_nan(r)), ints1(a)) : 0;
    return sym_of(i ? choose(some, i, Like(i, -1)) : 0);
}

hd hd_nanargmax(hd x, int axis)
{
    OP(hd_nanargmax);
    return nan_arg("hd_nanargmax", x, axis, true);
}
hd hd_nanargmin(hd x, int axis)
{
    OP(hd_nanargmin);
    return nan_arg("hd_nanargmin", x, axis, false);
}

/* Of the sorted elements, where nan is last: between the two that lie nearest to q (n - 1), n being how
 * many are not nan. */
static Ref nanquantile(Ref x, Ref q, int a)
{
    Dtype own = (Dtype)typ(x)->dt;
    x = wide(x), q = Convert(q, (Dtype)typ(x)->dt);
    Ref n = Sum(Convert(Not(is_nan(x)), (Dtype)typ(x)->dt), ints1(a)), s = sort1(x, a);
    Ref last = Max(Sub(n, Like(n, 1)), Like(n, 0));
    int more = typ(q)->rank;
    for (int k = 0; k < more; k++)
        last = unsqueeze(last, 0);
    for (int k = 0; k < typ(x)->rank - 1; k++)
        q = unsqueeze(q, typ(q)->rank);
    Ref at = bin(OP_mul, q, last), low = Floor(at), up = Sub(at, low);
    Ref values[2];
    Type t = *typ(at);
    int64_t each = type_size(&t) ? type_size(&t) / (type_size(typ(n)) ? type_size(typ(n)) : 1) : 0;
    for (int k = 0; k < 2; k++) { /* read along the axis in one go: positions of all q side by side */
        Ref i = Convert(k ? Ceil(at) : low, DT_I32);
        Ints flat_shape = shape_of(n);
        flat_shape = (Ints){ flat_shape.n + 1, { 0 } };
        flat_shape.v[0] = each;
        for (int j = 1; j < flat_shape.n; j++)
            flat_shape.v[j] = typ(n)->dim[j - 1];
        hd rows = hd_take_along_axis(sym_of(MoveAxis(s, a, 0)), sym_of(Reshape(i, flat_shape)), 0);
        Ref v = sym_ref(rows);
        values[k] = v ? Reshape(v, shape_of(at)) : 0;
    }
    if (!values[0] || !values[1])
        return 0;
    Ref y = Add(Mul(values[0], Sub(Like(up, 1), up)), Mul(values[1], up));
    y = choose(Eq(up, Like(up, 0)), values[0], y);
    return Convert(y, own);
}

hd hd_nanquantile(hd x, hd q, int axis)
{
    OP(hd_nanquantile);
    return quantile_along("hd_nanquantile", x, q, axis, nanquantile);
}
hd hd_nanmedian(hd x, int axis)
{
    OP(hd_nanmedian);
    return quantile_along("hd_nanmedian", x, sym_const(0.5), axis, nanquantile);
}
hd hd_percentile(hd x, hd q, int axis)
{
    OP(hd_percentile);
    return hd_quantile(x, hd_div_c(q, 100), axis);
}
hd hd_nanpercentile(hd x, hd q, int axis)
{
    OP(hd_nanpercentile);
    return hd_nanquantile(x, hd_div_c(q, 100), axis);
}

/* ==================== correlation, integrals, slopes */

hd hd_corrcoef(hd x)
{
    OP(hd_corrcoef);
    Ref c = sym_ref(hd_cov(x));
    if (!c)
        return HD_NIL;
    if (!typ(c)->rank)
        return sym_of(Div(c, c));
    Ref d = Sqrt(sym_ref(hd_diag(sym_of(c)))), like = c;
    c = Div(Div(c, spread(d, ints1(1), like)), spread(d, ints1(0), like));
    return sym_of(Max(Min(c, Like(c, 1)), Like(c, -1)));
}

/* x: where y was taken, a vector or like y; HD_NIL: 1 apart. */
hd hd_trapezoid(hd y, hd x, int axis)
{
    static const char what[] = "hd_trapezoid";
    int a;
    OP(hd_trapezoid);
    Ref r = to_float(axis_ref(what, y, axis, &a));
    if (!r)
        return HD_NIL;
    int64_t n = typ(r)->dim[a], m = n ? n - 1 : 0;
    Ref sums = Add(SliceAxis(r, a, 0, m), SliceAxis(r, a, n - m, n));
    if (!sym_absent(x)) {
        Ref p[2];
        if (unify_dtype(what, 2, (const hd[]){ sym_of(r), x }, p))
            return HD_NIL;
        Type t = *typ(p[1]);
        if (t.rank == 1 && t.dim[0] == n)
            p[1] = Broadcast(p[1], shape_of(r), ints1(a));
        else if (!type_equal(&t, typ(p[0]))) {
            error_set(E_SHAPE, "%s: x is %s; %lld places, or the shape of y, %s, are wanted", what,
                type_text(&t), (long long)n, type_text(typ(r)));
            return HD_NIL;
        }
        sums = Mul(sums, Sub(SliceAxis(p[1], a, n - m, n), SliceAxis(p[1], a, 0, m)));
    }
    Ref s = Sum(sums, ints1(a));
    return s ? sym_of(Mul(s, Like(s, 0.5))) : HD_NIL;
}

/* Central differences inside, one-sided at both ends. */
hd hd_gradient(hd x, double spacing, int axis)
{
    static const char what[] = "hd_gradient";
    int a;
    OP(hd_gradient);
    Ref r = to_float(axis_ref(what, x, axis, &a));
    if (!r)
        return HD_NIL;
    int64_t n = typ(r)->dim[a];
    if (n < 2) {
        error_set(
            E_SHAPE, "%s: at least 2 elements are wanted along axis %d of %s", what, a, type_text(typ(r)));
        return HD_NIL;
    }
    Ref step = Sub(SliceAxis(r, a, 1, n), SliceAxis(r, a, 0, n - 1)), first = SliceAxis(step, a, 0, 1);
    Ref mid = Add(SliceAxis(step, a, 0, n - 2), SliceAxis(step, a, 1, n - 1));
    mid = mid ? Mul(mid, Like(mid, 0.5)) : 0;
    Ref y = join(join(first, mid, a), SliceAxis(step, a, n - 2, n - 1), a);
    return y ? sym_of(Div(y, Like(y, spacing))) : HD_NIL;
}

/* Negative numbers count as 0, what is beyond the length is dropped. */
hd hd_bincount(hd x, hd weights, int64_t length)
{
    static const char what[] = "hd_bincount";
    OP(hd_bincount);
    Ref i = sym_ref(x);
    if (!i || !int_operand(what, "x", i))
        return HD_NIL;
    if (typ(i)->rank != 1 || length < 0) {
        error_set(E_SHAPE, "%s: a vector and a length are wanted, not %s and %lld", what, type_text(typ(i)),
            (long long)length);
        return HD_NIL;
    }
    Ref w = sym_absent(weights) ? scalar_to(Const(DT_I32, 1), shape_of(i)) : sym_ref(weights);
    if (!w)
        return HD_NIL;
    if (!dtype_unsigned((Dtype)typ(i)->dt))
        i = Max(i, Like(i, 0));
    return hd_segment_sum(sym_of(w), sym_of(i), length);
}
