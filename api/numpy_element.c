/*
 * numpy_element.c - what jax.numpy has of elements beside the ops: maxima that leave nan out, steps, numbers
 * that are close to one another, averages with weights.
 */
#include "formulas.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Two operands of one dtype of floats; integers and bool become f32. */
static bool floats(const char *what, hd x, hd y, Ref *r)
{
    Ref a = to_float(sym_ref(x)), b = a ? to_float(sym_ref(y)) : 0;
    return b && !unify(what, 2, (const hd[]){ sym_of(a), sym_of(b) }, r) && float_ref(what, sym_of(r[0]));
}

hd hd_log10(hd x)
{
    OP(hd_log10);
    Ref r = float_ref("hd_log10", x);
    return r ? sym_of(Mul(Log(r), Like(r, 0.43429448190325182765))) : HD_NIL; /* 1 / log(10) */
}

/* x where it is more (op: OP_gt) or less than y, or y is nan; else y. */
static hd extreme(const char *what, hd x, hd y, Op op)
{
    Ref r[2];
    if (!floats(what, x, y, r))
        return HD_NIL;
    return sym_of(choose(Or(bin(op, r[0], r[1]), is_nan(r[1])), r[0], r[1]));
}

hd hd_fmax(hd x, hd y) { OP(hd_fmax); return extreme("hd_fmax", x, y, OP_gt); }
hd hd_fmin(hd x, hd y) { OP(hd_fmin); return extreme("hd_fmin", x, y, OP_lt); }

hd hd_heaviside(hd x, hd at_zero)
{
    Ref r[2];
    OP(hd_heaviside);
    if (!floats("hd_heaviside", x, at_zero, r))
        return HD_NIL;
    Ref zero = Like(r[0], 0), here = choose(is_nan(r[0]), r[0], r[1]);
    return sym_of(choose(Lt(r[0], zero), zero, choose(Gt(r[0], zero), Like(r[0], 1), here)));
}

/* The largest finite number. */
static double most(Dtype d)
{
    return d == DT_F64 ? DBL_MAX : d == DT_F32 ? FLT_MAX : d == DT_F16 ? 65504 : 0x1.fep127;
}

hd hd_nan_to_num(hd x)
{
    OP(hd_nan_to_num);
    Ref r = sym_ref(x);
    if (!r || !dtype_inexact((Dtype)typ(r)->dt))
        return r ? x : HD_NIL;
    if (!float_ref("hd_nan_to_num", x))
        return HD_NIL;
    const double high = most((Dtype)typ(r)->dt);
    Ref y = choose(is_nan(r), Like(r, 0), r);
    return sym_of(choose(Eq(y, Like(y, INFINITY)), Like(y, high),
        choose(Eq(y, Like(y, -INFINITY)), Like(y, -high), y)));
}

static Ref close(const char *what, hd x, hd y, double rtol, double atol)
{
    Ref r[2];
    if (!(rtol >= 0 && atol >= 0))
        return error_set(E_INVAL, "%s: rtol is %g and atol %g: neither may be negative", what, rtol, atol),
               0;
    if (!floats(what, x, y, r))
        return 0;
    Ref far = Add(Like(r[1], atol), Mul(Like(r[1], rtol), Abs(r[1])));
    Ref finite = Lt(Abs(r[1]), Like(r[1], INFINITY));
    return Or(Eq(r[0], r[1]), And(finite, Le(Abs(Sub(r[0], r[1])), far)));
}

hd hd_isclose(hd x, hd y, double rtol, double atol)
{
    OP(hd_isclose);
    return sym_of(close("hd_isclose", x, y, rtol, atol));
}

hd hd_allclose(hd x, hd y, double rtol, double atol)
{
    OP(hd_allclose);
    Ref r = close("hd_allclose", x, y, rtol, atol);
    return r ? sym_of(Reduce(OP_reduce_and, r, ints_run(0, typ(r)->rank))) : HD_NIL;
}

static bool same_shape(const Type *a, const Type *b)
{
    return a->rank == b->rank && !memcmp(a->dim, b->dim, sizeof *a->dim * (size_t)a->rank);
}

hd hd_average(hd x, hd weights, int axis)
{
    static const char what[] = "hd_average";
    Ref r[2];
    int a;
    OP(hd_average);
    Ref w = to_float(sym_ref(weights)), v = w ? to_float(axis_ref(what, x, axis, &a)) : 0;
    if (!v)
        return HD_NIL;
    const bool each = typ(w)->rank == 1 && typ(v)->rank > 1;
    if (each ? typ(w)->dim[0] != typ(v)->dim[a] : !same_shape(typ(w), typ(v)))
        return error_set(E_SHAPE,
                   "hd_average: weights are %s and the values %s: as many weights as values, or one for "
                   "each place of axis %d, are wanted",
                   type_text(typ(w)), type_text(typ(v)), a),
               HD_NIL;
    if (each)
        w = Broadcast(w, shape_of(v), ints1(a));
    if (unify(what, 2, (const hd[]){ sym_of(v), sym_of(w) }, r) || !float_ref(what, sym_of(r[0])))
        return HD_NIL;
    return sym_of(Div(Sum(Mul(r[0], r[1]), ints1(a)), Sum(r[1], ints1(a))));
}

hd hd_digitize(hd x, hd edges)
{
    Ref r[2];
    OP(hd_digitize);
    return vector_and("hd_digitize", edges, x, r) ? sym_of(searchsorted(r[0], r[1], true)) : HD_NIL;
}
