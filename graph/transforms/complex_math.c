/*
 * complex_math.c - what rows of ops.def compute of complex numbers, in builders on their parts.
 *
 * In: parts, f32 or f64. Out: parts, each within a few roundings of the exact number's norm, wherever that
 * is in range: squares that could overflow or vanish are not formed. Zeros, infinities and what lies on a
 * cut follow complex.def.
 *
 * asin and acos: Hull, Fairgrieve and Tang, "Implementing the complex arcsine and arccosine functions using
 * exception handling" (1997). tanh: Kahan, "Branch cuts for complex elementary functions" (1987). Division:
 * Smith, "Algorithm 116" (1962).
 */
#include "pairs.h"

#include <math.h>

/* ==================== small words */

static Ref like(Ref v, double c) { return Like(v, c); }
static Ref scaled(Ref v, double c) { return Mul(v, Like(v, c)); }
static Ref plus(Ref v, double c) { return Add(v, Like(v, c)); }
static Ref is(Ref v, double c) { return Eq(v, Like(v, c)); }
static Ref below(Ref v, double c) { return Lt(v, Like(v, c)); }
static Ref square(Ref v) { return Mul(v, v); }
static Ref infinite(Ref v) { return is(Abs(v), INFINITY); }
static Pair turned(Pair x) { return (Pair){ x.im, x.re }; } /* i conj(x) */
static Pair negated(Pair x) { return (Pair){ Neg(x.re), Neg(x.im) }; }
static Pair chosen(Ref p, Pair x, Pair y) { return (Pair){ Select(p, x.re, y.re), Select(p, x.im, y.im) }; }
static Ref with_sign(Ref magnitude, Ref sign) { return Copysign(magnitude, sign); }
/* The sign of v, where -0 is above 0. */
static Ref signed_as(Ref magnitude, Ref v) { return Select(below(v, 0), Neg(magnitude), magnitude); }
/* sin of what is a part of a product with something infinite: 0 there is 0. */
static Ref times_or_zero(Ref x, Ref zero) { return Select(is(zero, 0), zero, x); }

/* ==================== arithmetic */

static Pair pair_add(Pair x, Pair y) { return (Pair){ Add(x.re, y.re), Add(x.im, y.im) }; }
static Pair pair_sub(Pair x, Pair y) { return (Pair){ Sub(x.re, y.re), Sub(x.im, y.im) }; }
static Pair pair_neg(Pair x, Pair y)
{
    (void)y;
    return negated(x);
}

Pair pair_mul(Pair x, Pair y)
{
    return (Pair){ Sub(Mul(x.re, y.re), Mul(x.im, y.im)), Add(Mul(x.re, y.im), Mul(x.im, y.re)) };
}

/* With y.re the larger part, r = y.im / y.re: (x.re + x.im r, x.im - x.re r) / (y.re + y.im r). Else parts
 * change places, of both, and the imaginary one its sign. Something finite by 0 is infinite, and by infinity
 * 0. */
Pair pair_div(Pair x, Pair y)
{
    Ref first = Ge(Abs(y.re), Abs(y.im));
    Ref p = Select(first, y.re, y.im), q = Select(first, y.im, y.re);
    Ref a = Select(first, x.re, x.im), b = Select(first, x.im, x.re);
    q = Select(infinite(p), like(q, 0), q);
    Ref r = Div(q, Select(is(p, 0), like(p, 1), p)), whole = Add(p, Mul(q, r));
    Ref im = Div(Sub(b, Mul(a, r)), whole);
    return (Pair){ Div(Add(a, Mul(b, r)), whole), Select(first, im, Neg(im)) };
}

static Ref norm(Pair x) { return Hypot(x.re, x.im); }
static Pair pair_abs(Pair x, Pair y)
{
    (void)y;
    return (Pair){ norm(x), 0 };
}

static Pair pair_sign(Pair x, Pair y)
{
    (void)y;
    Ref n = norm(x), none = is(n, 0), d = Select(none, like(n, 1), n);
    return (Pair){ Select(none, x.re, Div(x.re, d)), Select(none, x.im, Div(x.im, d)) };
}

static Pair pair_eq(Pair x, Pair y) { return (Pair){ And(Eq(x.re, y.re), Eq(x.im, y.im)), 0 }; }
static Pair pair_ne(Pair x, Pair y) { return (Pair){ Or(Ne(x.re, y.re), Ne(x.im, y.im)), 0 }; }

/* ==================== roots */

/* t = sqrt((|re| + |x|) / 2) is the larger part of the root, im / 2t the other: parts are made 16 times
 * smaller first, so that their norm is in range. Left of the imaginary axis they change places. */
static Pair root(Pair x, Ref sign)
{
    Ref a = Abs(x.re), small = scaled(a, 0.0625), n = Hypot(small, scaled(x.im, 0.0625));
    Ref t = scaled(Sqrt(scaled(Add(small, n), 0.5)), 4), none = is(t, 0), huge = infinite(x.im);
    Ref other = Div(scaled(Abs(x.im), 0.5), Select(none, like(t, 1), t));
    other = Select(huge, like(t, INFINITY), other);
    Ref left = below(x.re, 0), im = Select(left, t, other);
    return (Pair){ Select(left, other, t), Select(none, x.im, Mul(im, sign)) };
}

static Pair pair_sqrt(Pair x, Pair y)
{
    (void)y;
    return root(x, signed_as(like(x.im, 1), x.im));
}

/* 1 / r = conj(r) / |x|; at an infinite x it is 0. */
static Pair pair_rsqrt(Pair x, Pair y)
{
    (void)y;
    Pair r = root(x, with_sign(like(x.im, 1), x.im));
    Pair one = { like(x.re, 1), like(x.re, 0) };
    return pair_div(one, r);
}

/* ==================== exponentials, logarithms */

/* exp(a / 2)^2, so that what it is multiplied with comes before it is out of range. Of -inf all is 0. */
static Pair exponential(Ref a, Ref b)
{
    Ref h = Exp(scaled(a, 0.5)), gone = is(a, -INFINITY), zero = like(a, 0);
    Pair z = { Mul(Mul(h, Cos(b)), h), times_or_zero(Mul(Mul(h, Sin(b)), h), b) };
    return chosen(And(gone, Not(IsFinite(b))), (Pair){ zero, zero }, z);
}

static Pair pair_exp(Pair x, Pair y)
{
    (void)y;
    return exponential(x.re, x.im);
}
static Pair pair_exp2(Pair x, Pair y)
{
    (void)y;
    return exponential(scaled(x.re, 0.693147180559945309417), scaled(x.im, 0.693147180559945309417));
}

/* expm1(a) cos(b) - 2 sin(b / 2)^2 + i exp(a) sin(b) */
static Pair pair_expm1(Pair x, Pair y)
{
    (void)y;
    Ref s = Sin(scaled(x.im, 0.5));
    return (Pair){ Sub(Mul(Expm1(x.re), Cos(x.im)), scaled(square(s), 2)), exponential(x.re, x.im).im };
}

/* log|x|. With u and v the larger and the smaller part: log(u) + log1p((v / u)^2) / 2; where u is near 1
 * that is log1p((u - 1) (u + 1) + v^2) / 2. */
static Ref log_norm(Pair x)
{
    Ref a = Abs(x.re), b = Abs(x.im), u = Max(a, b), v = Min(a, b);
    Ref near = And(Gt(u, like(u, 0.5)), below(u, 2)), odd = Or(is(u, 0), is(u, INFINITY));
    Ref r = Select(odd, like(u, 0), Div(v, Select(odd, like(u, 1), u)));
    Ref s = Select(near, Add(Mul(plus(u, -1), plus(u, 1)), square(v)), square(r));
    return Add(Select(near, like(u, 0), Log(u)), scaled(Log1p(s), 0.5));
}

static Pair pair_log(Pair x, Pair y)
{
    (void)y;
    return (Pair){ log_norm(x), Atan2(x.im, x.re) };
}

/* log|1 + x| is log1p(a (2 + a) + b^2) / 2 where that is not near -1, and its terms are in range. */
static Pair pair_log1p(Pair x, Pair y)
{
    (void)y;
    Pair z = { plus(x.re, 1), x.im };
    Ref s = Add(Mul(x.re, plus(x.re, 2)), square(x.im));
    Ref near = And(And(below(Abs(x.re), 1), below(Abs(x.im), 1)), Gt(s, like(s, -0.5)));
    Ref small = scaled(Log1p(Select(near, s, like(s, 0))), 0.5);
    return (Pair){ Select(near, small, log_norm(z)), Atan2(z.im, z.re) };
}

/* r^c exp(-d t) (cos q + i sin q), q = c t + d log r, of x = r exp(i t), y = c + d i. */
static Pair pair_pow(Pair x, Pair y)
{
    Ref r = norm(x), t = Atan2(x.im, x.re), zero = like(r, 0), real = is(y.im, 0);
    Ref q = Add(Mul(y.re, t), Select(real, zero, Mul(y.im, log_norm(x))));
    Ref size = Mul(Pow(r, y.re), Select(real, like(r, 1), Exp(Neg(Mul(y.im, t)))));
    Pair z = { Mul(size, Cos(q)), times_or_zero(Mul(size, Sin(q)), q) };
    Ref bare = And(real, Gt(y.re, zero)), nan = like(r, NAN);
    Pair of_zero = { Select(bare, zero, nan), Select(bare, zero, nan) };
    z = chosen(is(r, 0), of_zero, z);
    return chosen(And(real, is(y.re, 0)), (Pair){ like(r, 1), zero }, z);
}

/* With w = exp(-|a| + ..): 1 / (1 + w), left of the imaginary axis w / (1 + w). */
static Pair pair_logistic(Pair x, Pair y)
{
    (void)y;
    Ref left = below(x.re, 0);
    Pair w = exponential(Neg(Abs(x.re)), Select(left, x.im, Neg(x.im)));
    Pair one = { like(x.re, 1), like(x.re, 0) };
    return pair_div(chosen(left, w, one), pair_add(one, w));
}

/* ==================== trigonometric and hyperbolic */

static Pair pair_sinh(Pair x, Pair y)
{
    (void)y;
    return (Pair){ times_or_zero(Mul(Sinh(x.re), Cos(x.im)), x.re),
        times_or_zero(Mul(Cosh(x.re), Sin(x.im)), x.im) };
}

static Pair pair_cosh(Pair x, Pair y)
{
    (void)y;
    Ref im = Mul(Sinh(x.re), Sin(x.im)), none = Or(is(x.re, 0), is(x.im, 0));
    Ref zero = with_sign(like(im, 0), Mul(with_sign(like(im, 1), x.re), x.im));
    return (Pair){ Mul(Cosh(x.re), Cos(x.im)), Select(none, zero, im) };
}

/* Of t = tan(b), s = sinh(a): (sqrt(1 + s^2) (1 + t^2) s + i t) / (1 + (1 + t^2) s^2); far from the
 * imaginary axis 1 and 4 sin(b) cos(b) exp(-2 |a|). */
static Pair pair_tanh(Pair x, Pair y)
{
    (void)y;
    Dtype dt = (Dtype)typ(x.re)->dt;
    Ref a = Abs(x.re), far = Gt(a, like(a, dt == DT_F32 ? 10 : 20)), zero = like(a, 0);
    Ref s = Sinh(Select(far, zero, x.re)), t = Tan(x.im), more = plus(square(t), 1);
    Ref whole = plus(Mul(more, square(s)), 1);
    Ref re = Div(Mul(Mul(more, Sqrt(plus(square(s), 1))), s), whole), im = Div(t, whole);
    Ref e = Exp(Neg(a)), edge = Mul(Mul(scaled(Sin(x.im), 4), Mul(Cos(x.im), e)), e);
    edge = Select(IsFinite(x.im), edge, Select(infinite(a), zero, edge));
    return (Pair){ Select(far, with_sign(like(a, 1), x.re), re), Select(far, edge, im) };
}

/* sin(x) = -i sinh(i x): parts change places; so do those of tan, asin and atan. */
static Pair pair_sin(Pair x, Pair y) { return turned(pair_sinh(turned(x), y)); }
static Pair pair_tan(Pair x, Pair y) { return turned(pair_tanh(turned(x), y)); }
static Pair pair_cos(Pair x, Pair y) { return pair_cosh((Pair){ Neg(x.im), x.re }, y); }

/* ==================== inverses */

/* Of x with parts of either sign. length: sqrt(a^2 - re^2), where a = (|x + 1| + |x - 1|) / 2: the angle of
 * re + i length is that of acos; grows: log(a + sqrt(a^2 - 1)), the other part of both. */
typedef struct Arc {
    Ref length, grows;
} Arc;

static Arc arc(Ref re, Ref im)
{
    double big = typ(re)->dt == DT_F32 ? 1e9 : 1e150;
    Ref x0 = Abs(re), y0 = Abs(im), far = Or(Gt(x0, like(x0, big)), Gt(y0, like(y0, big)));
    Ref one = like(x0, 1), x = Select(far, one, x0), y = Select(far, one, y0);
    Ref right = plus(x, 1), left = plus(x, -1), r = Hypot(right, y), s = Hypot(left, y);
    Ref a = scaled(Add(r, s), 0.5), inside = Le(x, one);
    /* r - (x + 1) and s - |x - 1|, which are y^2 by the sum of the two */
    Ref q = Div(y, Add(r, right)), p = Add(s, Abs(left)), pz = is(p, 0);
    Ref k = Select(pz, y, Div(y, Select(pz, one, p)));
    Ref behind = Mul(y, k), before = Mul(y, q);
    /* length^2 = (a + x) (a - x), and 2 (a - x) = (r - x - 1) + (s - x + 1) */
    Ref in = Sqrt(scaled(Mul(Add(a, x), Add(before, p)), 0.5));
    Ref beyond = Mul(Sqrt(scaled(Add(a, x), 0.5)), Mul(Sqrt(y), Sqrt(Add(q, k))));
    Ref length = Select(inside, in, beyond);
    /* 2 (a - 1) */
    Ref less = scaled(Add(before, Select(below(x, 1), behind, p)), 0.5);
    Ref grows = Log1p(Add(less, Sqrt(Mul(less, plus(a, 1)))));
    return (Arc){ Select(far, y0, length),
        Select(far, plus(log_norm((Pair){ re, im }), 0.693147180559945309417), grows) };
}

static Pair pair_asin(Pair x, Pair y)
{
    (void)y;
    Arc a = arc(x.re, x.im);
    return (Pair){ Atan2(x.re, a.length), signed_as(a.grows, x.im) };
}

static Pair pair_acos(Pair x, Pair y)
{
    (void)y;
    Arc a = arc(x.re, x.im);
    return (Pair){ Atan2(a.length, x.re), Neg(signed_as(a.grows, x.im)) };
}

static Pair pair_asinh(Pair x, Pair y) { return turned(pair_asin(turned(x), y)); }

static Pair pair_acosh(Pair x, Pair y)
{
    (void)y;
    Arc a = arc(x.re, x.im);
    return (Pair){ a.grows, signed_as(Atan2(a.length, x.re), x.im) };
}

/* log1p(4 a / ((1 - a)^2 + b^2)) / 4 + i atan2(2 b, (1 - a) (1 + a) - b^2) / 2, for a >= 0; far away
 * re(1 / x) and a right angle. */
static Pair pair_atanh(Pair x, Pair y)
{
    (void)y;
    double big = typ(x.re)->dt == DT_F32 ? 1e9 : 1e150;
    Ref a0 = Abs(x.re), b0 = Abs(x.im), far = Or(Gt(a0, like(a0, big)), Gt(b0, like(b0, big)));
    Ref one = like(a0, 1), a = Select(far, one, a0), b = Select(far, one, b0), less = Sub(one, a);
    Ref re = scaled(Log1p(Div(scaled(a, 4), Add(square(less), square(b)))), 0.25);
    Ref im = scaled(Atan2(scaled(b, 2), Sub(Mul(less, plus(a, 1)), square(b))), 0.5);
    Ref wide = Or(Not(infinite(a0)), Not(infinite(b0)));
    Ref away = pair_div((Pair){ one, like(a, 0) }, (Pair){ a0, Select(wide, b0, one) }).re;
    re = Select(far, Abs(away), re), im = Select(far, like(im, M_PI_2), im);
    return (Pair){ with_sign(re, x.re), with_sign(im, x.im) };
}

static Pair pair_atan(Pair x, Pair y) { return turned(pair_atanh(turned(x), y)); }

/* ==================== the rows */

Pair pair_element(Op op, Pair x, Pair y)
{
    typedef Pair PairRow(Pair, Pair);
    static PairRow *const row[OP_COUNT] = {
#define COMPLEX(name, e) [OP_##name] = pair_##name,
#include "complex.def"
    };
    if (!row[op]) {
        error_set(E_INTERNAL, "%s has no row in complex.def", optab[op].name);
        return (Pair){ 0 };
    }
    return row[op](x, y);
}
