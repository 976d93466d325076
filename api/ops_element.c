/*
 * ops_element.c - mathematics, comparisons, bits and casts.
 *
 * Most are a row of the op table on unified operands. The others are formulas of rows, chosen so that
 * special values and the derivatives at kinks are JAX's: a derivative is that of the formula, so which
 * branch a tie takes is part of its meaning.
 */
#include "formulas.h"

#include <math.h>

/* ==================== formulas on values */

Ref bin(Op op, Ref x, Ref y)
{
    Ref r[2] = { x, y };
    if (!x || !y || unify_shape(optab[op].name, 2, r))
        return 0;
    return emit(op, 2, r, NULL);
}

Ref choose(Ref p, Ref x, Ref y)
{
    Ref r[3] = { p, x, y };
    if (!p || !x || !y || unify_shape("hd_where", 3, r))
        return 0;
    return emit(OP_select, 3, r, NULL);
}

Ref square(Ref x) { return Mul(x, x); }
Ref stop_gradient(Ref x) { return emit(OP_stop_gradient, 1, &x, NULL); }

Ref is_nan(Ref x)
{
    if (!x)
        return 0;
    if (is_inexact(x))
        return Ne(x, x);
    Type t = *typ(x);
    t.dt = DT_BOOL;
    return Zeros(&t);
}

Ref to_float(Ref x) { return !x || is_inexact(x) ? x : Convert(x, DT_F32); }

/* max + log1p(exp(-|x - y|)). Written with x >= y choosing both the larger operand and the sign of the
 * difference, each operand has half of the derivative at a tie. Equal infinities have no difference: 0 is
 * put there, and half of each operand in the place of the larger one. */
Ref logaddexp(Ref x, Ref y)
{
    Ref r[2] = { x, y };
    if (!x || !y || unify_shape("hd_logaddexp", 2, r))
        return 0;
    x = r[0], y = r[1];
    Ref d = Sub(x, y);
    Ref same = And(Eq(x, y), Not(IsFinite(x)));
    d = choose(same, Like(d, 0), d);
    Ref larger = choose(Ge(x, y), x, y), halves = Mul(Add(x, y), Like(x, 0.5));
    return Add(choose(same, halves, larger), Log1p(Exp(Neg(Abs(d)))));
}

Ref softplus(Ref x) { return x ? logaddexp(x, Like(x, 0)) : 0; }

/* ==================== checks */

/* How r, which is no number as it is, becomes one. */
static const char *made_number(Ref r)
{
    return typ(r)->dt == DT_KEY ? "a random key is none: draw from it, or take its words with hd_key_data" :
                                  "write hd_cast(x, HD_F32)";
}

Ref float_ref(const char *what, hd x)
{
    Ref r = sym_ref(x);
    if (!r || is_float(r))
        return r;
    error_set(E_DTYPE, "%s: floating-point numbers are wanted, not %s; %s", what, type_text(typ(r)),
        made_number(r));
    return 0;
}

Ref rank_ref(const char *what, hd x, int least)
{
    Ref r = sym_ref(x);
    if (!r || typ(r)->rank >= least)
        return r;
    error_set(
        E_SHAPE, "%s: an array with %d or more axes is wanted, not %s", what, least, type_text(typ(r)));
    return 0;
}

Ref axis_ref(const char *what, hd x, int axis, int *a)
{
    Ref r = rank_ref(what, x, 1);
    return r && (*a = axis_of(what, axis, typ(r)->rank)) >= 0 ? r : 0;
}

bool real_dtype(const char *what, Dtype d)
{
    _Static_assert(DT_BOOL == DT_NONE + 1 && DT_C128 == DT_KEY - 1, "numbers are between");
    if (d >= DT_BOOL && d <= DT_C128)
        return true;
    if (d == DT_KEY) {
        error_set(E_DTYPE,
            "%s: random keys are not made of numbers; there are hd_random_key, hd_random_split, and "
            "hd_wrap_key_data of "
            "words",
            what);
        return false;
    }
    if (dtype_stored(d)) {
        error_set(E_DTYPE,
            "%s: %s is for storage, converted and moved but not computed with; convert with hd_cast", what,
            dtype_name(d));
        return false;
    }
    error_set(E_DTYPE,
        "%s: %s is not a dtype of arrays; there are bool, i8 .. i64, u8 .. u64, f16, bf16, f32, f64, c64, "
        "c128, and for storage f8_e4m3fn, f8_e5m2, i4 and u4",
        what, d > DT_NONE && d < DT_COUNT ? dtype_name(d) : "this number");
    return false;
}

bool plain_dtype(const char *what, Dtype d) { return dtype_stored(d) || real_dtype(what, d); }

bool int_operand(const char *what, const char *name, Ref r)
{
    if (!r)
        return false;
    if (dtype_int((Dtype)typ(r)->dt))
        return true;
    error_set(
        E_DTYPE, "%s: %s must be integers, not %s; convert with hd_cast", what, name, type_text(typ(r)));
    return false;
}

Ref as_index(Ref i, int64_t n)
{
    Dtype least = type_counter(n);
    return i && dtype_size((Dtype)typ(i)->dt) < dtype_size(least) ? Convert(i, least) : i;
}

Ref from_end(Ref i, int64_t n)
{
    i = as_index(i, n);
    if (!i || dtype_unsigned((Dtype)typ(i)->dt))
        return i;
    return choose(Lt(i, Like(i, 0)), Add(i, Like(i, (double)n)), i);
}

Ref to_start(Ref i, int64_t n)
{
    Dtype counter = type_counter(n);
    i = from_end(i, n);
    if (!i || (Dtype)typ(i)->dt == counter)
        return i;
    return Convert(Min(Max(i, Like(i, 0)), Like(i, (double)n)), counter);
}

/* ==================== rows */

#define ROW1(name, row) hd hd_##name(hd x) { OP(hd_##name); return elem(OP_##row, 1, &x); }
#define ROW2(name, row) \
    hd hd_##name(hd x, hd y) \
    { \
        OP(hd_##name); \
        return elem(OP_##row, 2, (const hd[]){ x, y }); \
    }

ROW2(add, add)
ROW2(sub, sub)
ROW2(mul, mul)
ROW2(div, div)
ROW2(rem, rem)
ROW2(maximum, max)
ROW2(minimum, min)
ROW2(atan2, atan2)
ROW2(hypot, hypot)
ROW2(copysign, copysign)
ROW2(nextafter, nextafter)

ROW1(neg, neg)
ROW1(abs, abs)
ROW1(sign, sign)
ROW1(floor, floor)
ROW1(ceil, ceil)
ROW1(round, round)
ROW1(round_away, round_away)
ROW1(trunc, trunc)
ROW1(sqrt, sqrt)
ROW1(rsqrt, rsqrt)
ROW1(cbrt, cbrt)
ROW1(exp, exp)
ROW1(exp2, exp2)
ROW1(expm1, expm1)
ROW1(log, log)
ROW1(log2, log2)
ROW1(log1p, log1p)
ROW1(sin, sin)
ROW1(cos, cos)
ROW1(tan, tan)
ROW1(asin, asin)
ROW1(acos, acos)
ROW1(atan, atan)
ROW1(sinh, sinh)
ROW1(cosh, cosh)
ROW1(tanh, tanh)
ROW1(asinh, asinh)
ROW1(acosh, acosh)
ROW1(atanh, atanh)
ROW1(erf, erf)
ROW1(erfc, erfc)
ROW1(erf_inv, erf_inv)
ROW1(lgamma, lgamma)
ROW1(digamma, digamma)

ROW2(eq, eq)
ROW2(ne, ne)
ROW2(lt, lt)
ROW2(le, le)
ROW2(gt, gt)
ROW2(ge, ge)

ROW2(and, and)
ROW2(or, or)
ROW2(xor, xor)
ROW1(not, not)
ROW2(left_shift, shift_left)
ROW1(popcount, population_count)
ROW1(clz, clz)

/* ==================== formulas on symbols, so that constants stay constants */

static hd row1(Op op, hd x) { return elem(op, 1, &x); }
static hd row2(Op op, hd x, hd y) { return elem(op, 2, (const hd[]){ x, y }); }

hd hd_square(hd x) { OP(hd_square); return row2(OP_mul, x, x); }
hd hd_reciprocal(hd x) { OP(hd_reciprocal); return row2(OP_div, sym_const(1), x); }

hd hd_clip(hd x, hd lo, hd hi)
{
    OP(hd_clip);
    if (!sym_usable(x))
        return HD_NIL;
    if (!sym_absent(lo))
        x = row2(OP_max, x, lo);
    return sym_absent(hi) ? x : row2(OP_min, x, hi);
}

/* x * x * ... by squaring, as lax.integer_pow: the same products in the same order. */
static hd power(hd x, int64_t y)
{
    uint64_t n = y < 0 ? -(uint64_t)y : (uint64_t)y;
    hd all = HD_NIL;

    if (y == 3)
        return row2(OP_mul, row2(OP_mul, x, x), x);
    for (bool first = true; n; n >>= 1) {
        if (n & 1)
            all = first ? x : row2(OP_mul, all, x), first = false;
        if (n > 1)
            x = row2(OP_mul, x, x);
    }
    return y < 0 ? row2(OP_div, sym_const(1), all) : all;
}

/* 1 / x^n, of n > 1. Its derivative at 0 would be the infinite one of 1 / x^n times that of x^n, which is 0;
 * there it is (1 / x)^n. */
static hd inverse_power(hd x, int64_t n)
{
    hd one = sym_const(1);
    Ref r = sym_ref(x), zero = r ? Eq(r, Like(r, 0)) : 0;
    if (!zero)
        return HD_NIL;
    hd there = power(row2(OP_div, one, sym_of(choose(zero, r, Like(r, 1)))), n);
    hd elsewhere = power(sym_of(choose(zero, Like(r, 1), r)), -n);
    return sym_of(choose(zero, sym_ref(there), sym_ref(elsewhere)));
}

static hd integer_pow(const char *what, hd x, int64_t y)
{
    if (!sym_usable(x))
        return HD_NIL;
    bool weak = sym_weak(x, NULL);
    Ref r = weak ? 0 : sym_ref(x);
    if (!weak && !r)
        return HD_NIL;
    if (y == 0)
        return weak ? sym_const(1) : sym_of(Like(r, 1));
    if (y < 0 && !weak && !is_inexact(r)) {
        error_set(E_INVAL,
            "%s: integers have no negative powers: %s to the power %lld; write hd_cast(x, HD_F32)", what,
            type_text(typ(r)), (long long)y);
        return HD_NIL;
    }
    if (weak || !is_float(r))
        return power(x, y);
    /* products of 16-bit floats round once, at the end */
    Dtype own = (Dtype)typ(r)->dt;
    x = sym_of(Convert(r, dtype_sum(own)));
    return sym_of(Convert(sym_ref(y < -1 ? inverse_power(x, -y) : power(x, y)), own));
}

hd hd_integer_pow(hd x, int y) { OP(hd_integer_pow); return integer_pow("hd_integer_pow", x, y); }

/* A constant exponent that is a whole number is a product, exact where the products are; so is its
 * derivative at
 * 0. */
hd hd_pow(hd x, hd y)
{
    double c;
    OP(hd_pow);
    if (sym_usable(x) && !sym_weak(x, NULL) && sym_weak(y, &c) && c == floor(c) && fabs(c) <= INT32_MAX)
        return integer_pow("hd_pow", x, (int64_t)c);
    return row2(OP_pow, x, y);
}

/* ==================== with a plain number, and many at once */

#define WITH_C(name, f) hd hd_##name##_c(hd x, double c) { OP(hd_##name##_c); return f(x, sym_const(c)); }
WITH_C(add, hd_add)
WITH_C(sub, hd_sub)
WITH_C(mul, hd_mul)
WITH_C(div, hd_div)
WITH_C(pow, hd_pow)
WITH_C(maximum, hd_maximum)
WITH_C(minimum, hd_minimum)

hd hd_c_sub(double c, hd x) { OP(hd_c_sub); return row2(OP_sub, sym_const(c), x); }
hd hd_c_div(double c, hd x) { OP(hd_c_div); return row2(OP_div, sym_const(c), x); }

static hd joined(const char *what, Op op, const hd *x, int n)
{
    n = tracing() ? sym_count(what, x, n) : -1;
    if (n < 0 || (n && !sym_usable(x[0])))
        return HD_NIL;
    if (!n) {
        error_set(E_INVAL, "%s: there is no operand", what);
        return HD_NIL;
    }
    hd all = x[0];
    for (int i = 1; i < n; i++)
        all = row2(op, all, x[i]);
    return all;
}

hd hd_add_all_n(const hd *x, int n) { OP(hd_add_all_n); return joined("hd_add_all", OP_add, x, n); }
hd hd_mul_all_n(const hd *x, int n) { OP(hd_mul_all_n); return joined("hd_mul_all", OP_mul, x, n); }

/* Operands of one dtype and shape. */
static bool pair(const char *what, hd x, hd y, Ref *r) { return !unify(what, 2, (const hd[]){ x, y }, r); }

/* Is a float or integer operand missing? Bool has no arithmetic of this kind. */
static bool numeric(const char *what, Ref x)
{
    if (typ(x)->dt != DT_BOOL)
        return true;
    error_set(E_DTYPE, "%s: numbers are wanted, not %s; write hd_cast(x, HD_I32)", what, type_text(typ(x)));
    return false;
}

/* The remainder with the sign of y. */
static Ref modulo(Ref x, Ref y)
{
    Ref r = Rem(x, y), zero = Like(r, 0);
    Ref other = And(Ne(r, zero), Xor(Lt(r, zero), Lt(y, zero)));
    return choose(other, Add(r, y), r);
}

hd hd_mod(hd x, hd y)
{
    Ref r[2];
    OP(hd_mod);
    return pair("hd_mod", x, y, r) && numeric("hd_mod", r[0]) ? sym_of(modulo(r[0], r[1])) : HD_NIL;
}

/* Integers: toward zero, then one less where a remainder was cut off a negative quotient. Floats: the
 * quotient of what is left when the remainder is taken away is nearly whole, and rounded. */
hd hd_floor_divide(hd x, hd y)
{
    Ref r[2];
    OP(hd_floor_divide);
    if (!pair("hd_floor_divide", x, y, r) || !numeric("hd_floor_divide", r[0]))
        return HD_NIL;
    Ref a = r[0], b = r[1], left = Rem(a, b), zero = Like(a, 0);
    if (is_float(a)) {
        Ref q = Div(Sub(a, left), b);
        Ref less = And(Ne(left, zero), Ne(Sign(b), Sign(left)));
        return sym_of(Round(choose(less, Sub(q, Like(q, 1)), q)));
    }
    Ref q = Div(a, b);
    if (dtype_unsigned((Dtype)typ(a)->dt))
        return sym_of(q);
    Ref less = And(Ne(Sign(a), Sign(b)), Ne(left, zero));
    return sym_of(choose(less, Sub(q, Like(q, 1)), q));
}

hd hd_logaddexp(hd x, hd y)
{
    Ref r[2];
    OP(hd_logaddexp);
    if (!pair("hd_logaddexp", x, y, r))
        return HD_NIL;
    return sym_of(float_ref("hd_logaddexp", sym_of(r[0])) ? logaddexp(r[0], r[1]) : 0);
}

hd hd_right_shift(hd x, hd n)
{
    Ref r[2];
    OP(hd_right_shift);
    if (!pair("hd_right_shift", x, n, r) || !int_operand("hd_right_shift", "x", r[0]))
        return HD_NIL;
    bool sign = dtype_signed((Dtype)typ(r[0])->dt);
    return sym_of(sign ? ShiftRightArithmetic(r[0], r[1]) : ShiftRightLogical(r[0], r[1]));
}

hd hd_isnan(hd x) { OP(hd_isnan); return sym_of(is_nan(sym_ref(x))); }

hd hd_isfinite(hd x)
{
    OP(hd_isfinite);
    Ref r = sym_ref(x);
    if (r && is_complex(r))
        return sym_of(And(IsFinite(RealPart(r)), IsFinite(ImagPart(r))));
    return !r ? HD_NIL : is_float(r) ? row1(OP_is_finite, x) : sym_of(Not(is_nan(r)));
}

static Ref is_infinite(Ref r) { return Eq(Abs(r), Like(r, INFINITY)); }

hd hd_isinf(hd x)
{
    OP(hd_isinf);
    Ref r = sym_ref(x);
    if (r && is_complex(r))
        return sym_of(Or(is_infinite(RealPart(r)), is_infinite(ImagPart(r))));
    return !r ? HD_NIL : sym_of(is_float(r) ? is_infinite(r) : is_nan(r));
}

hd hd_where(hd cond, hd x, hd y)
{
    Ref r[2];
    OP(hd_where);
    Ref p = sym_ref(cond);
    if (!p || unify_dtype("hd_where", 2, (const hd[]){ x, y }, r))
        return HD_NIL;
    if (typ(p)->dt != DT_BOOL)
        p = Ne(p, Like(p, 0));
    return sym_of(choose(p, r[0], r[1]));
}

/* ==================== casts */

/* Is c a value of that dtype, exactly? */
static bool fits(Dtype d, double c)
{
    if (d == DT_BOOL || dtype_inexact(d))
        return dtype_inexact(d);
    int bits = (int)dtype_size(d) * 8 - dtype_signed(d);
    return c == floor(c) && fabs(c) <= 0x1p53 && c < ldexp(1, bits) &&
        c >= (dtype_signed(d) ? -ldexp(1, bits) : 0);
}

/* A constant goes there directly where it can, so that hd_cast(hd_c(0.1), HD_F64) is 0.1 to the last bit. */
hd hd_cast(hd x, enum hd_dtype to)
{
    double c;
    OP(hd_cast);
    if (!plain_dtype("hd_cast", (Dtype)to))
        return HD_NIL;
    if (sym_weak(x, &c) && fits((Dtype)to, c))
        return sym_of(sym_ref_as(x, (Dtype)to));
    return sym_of(Convert(sym_ref(x), (Dtype)to));
}

hd hd_bitcast(hd x, enum hd_dtype to)
{
    OP(hd_bitcast);
    return plain_dtype("hd_bitcast", (Dtype)to) ? sym_of(Bitcast(sym_ref(x), (Dtype)to)) : HD_NIL;
}

hd hd_reduce_precision(hd x, int exponent_bits, int mantissa_bits)
{
    OP(hd_reduce_precision);
    if (exponent_bits < 1 || mantissa_bits < 0) {
        error_set(E_INVAL,
            "hd_reduce_precision: %d bits of exponent and %d of mantissa; at least 1 and 0 are needed",
            exponent_bits, mantissa_bits);
        return HD_NIL;
    }
    return sym_of(ReducePrecision(float_ref("hd_reduce_precision", x), exponent_bits, mantissa_bits));
}
