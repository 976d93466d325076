/*
 * math_exp.c - exponentials, logarithms, hyperbolic functions and the logistic, in f32, built in the kernel
 * IR.
 *
 * In:  a value of one lane or many.   Out: a value within 2 ULP of the function, the same bits on every
 * device.
 * Common ground of the math_*.c files:
 * - Rounding to an integer: t = x + 1.5 * 2^23; the low bits of t hold the integer, t - 1.5 * 2^23 is it as
 *   a float. Needs round to nearest and |x| < 2^22.
 * - A constant is cut into pieces short enough that n * piece is exact, and so is x - n * piece (Cody and
 *   Waite 1980); the last piece is taken off by an fma.
 * - trunc12 keeps 12 bits, so that a product of two such numbers is exact (Dekker's products, shorter).
 * - Steps of polynomials and of reductions are exact fma; everything else is the one rounding that is
 *   written.
 * - Denormals: right where the device keeps them; where it flushes, an argument counts as 0 and a result
 *   below 2^-126 is 0.
 * - nan in, nan out. Polynomials are minimax fits; the name of each fit is in brackets.
 */
#include <math.h>
#include "math_ir.h"

#define LOG2E 1.44269502f
#define LN2_1 0.693145752f      /* 16 bits: n*LN2_1 is exact for |n| < 256 */
#define LN2_2 1.42860677e-06f
/* x - n ln 2. */
static Val less_ln2(Val x, Val n) { return fma_(n, F(-LN2_2), fma_(n, F(-LN2_1), x)); }

/* exp.  x = n ln 2 + r, |r| <= 0.35 (Cody-Waite, two pieces); e^r = 1 + (r + r^2 q(r)) [exp]; times 2^n in
   two factors 2^(n/2), so that overflow and gradual underflow each round once,
        at the last product.  The two exponents come out of the magic sum:
   it is biased by 254, its half is the first exponent field, the rest the second; higher bits fall off in
   the shift. The first factor joins the last sum, whose rounding it only scales.
   Error: 0.5 for the last sum, 0.35 from r, 0.1 approximation, all in units of ulp(1..2) or twice that below
   1. exp(-inf) = 0, exp(inf) = inf, exp(+-0) = 1.  Arguments are clamped to [-104.5, 89] first. */
Val f32_exp(Val x)
{
    x = atmost(x, F(89.0f));
    x = atleast(x, F(-104.5f));
    Val t = fma_(x, F(LOG2E), F(MAGIC + 254.0f));
    Val r = less_ln2(x, sub(t, F(MAGIC + 254.0f)));
    Val q = poly(r, 0.49999994f, 0.166665122f, 0.0416682996f, 0.00836982857f, 0.0013820664f);
    Val e = fma_(mul(r, r), q, r);
    Val b = ubits(t), h = shr_n(b, 1), s = flt(shl_n(h, 23));
    return mul(fma_(e, s, s), flt(shl_n(sub(b, h), 23)));
}

/* exp2.  x = n + f, exact; 2^f = 1 + f q(f) [exp2]; scaling as in exp.  exp2(integer) is exact. */
Val f32_exp2(Val x)
{
    x = atmost(x, F(129.0f));
    x = atleast(x, F(-151.0f));
    Val t = add(x, F(MAGIC + 254.0f));
    Val f = sub(x, sub(t, F(MAGIC + 254.0f)));
    Val p = poly(
        f, 1.0f, 0.693147182f, 0.240226477f, 0.0555035993f, 0.00961850584f, 0.00133908063f, 0.000153264729f);
    Val b = ubits(t), h = shr_n(b, 1);
    return mul(mul(p, flt(shl_n(h, 23))), flt(shl_n(sub(b, h), 23)));
}

/* expm1.  Reduced as in exp with the rounding of r carried along (c); e = e^r - 1 = r + (r^2 q + c) [expm1];
   then 2^n e + (2^n - 1), halved throughout so that n = 128 does not overflow early.  n = 0 returns e
   itself: exact zeros, their signs, and denormals.  Below -17.4 the answer is -1. */
Val f32_expm1(Val x)
{
    Val y = atmost(x, F(89.0f));
    y = atleast(y, F(-17.5f));
    Val t = add(mul(y, F(LOG2E)), F(MAGIC + 126.0f));
    Val n = sub(t, F(MAGIC + 126.0f));
    Val rh = sub(y, mul(n, F(LN2_1))), rl = mul(n, F(LN2_2));
    Val r = sub(rh, rl);
    Val c = sub(sub(rh, r), rl);
    Val q = poly(r, 0.49999997f, 0.16666536f, 0.0416674241f, 0.00836762972f, 0.00138734712f);
    Val e = add(r, add(mul(mul(r, r), q), c));
    Val s = flt(shl_n(ubits(t), 23));
    Val z = mul(add(mul(s, e), sub(s, F(0.5f))), F(2.0f));
    return sel(eq(x, F(0.0f)), x, sel(eq(n, F(0.0f)), e, z));
}

/* log.  x = 2^k m, 2/3 <= m < 4/3 (denormals times 2^23 first); f = m - 1 exactly; log = k ln2_1 + (f -
   (f^2/2 - (f^3 p(f) + k ln2_2))) [log7]: no division, and for k = 0 the first term is f itself, so log near
   1 is relatively exact. log(+-0) = -inf, log(x < 0) = NaN, log(inf) = inf. */
static Val log_sum(Val kf, Val f, Val z, Val p)
{
    Val lo = fma_(kf, F(LN2_2), mul(mul(z, f), p));
    return fma_(kf, F(LN2_1), add(f, fma_(z, F(-0.5f), lo)));
}

Val f32_logn(Val x)
{
    Val ix = ubits(x);
    Val k = shr_n(asi(sub(ix, U(0x3f2aaaabu))), 23);
    Val f = sub(flt(sub(ix, shl_n(asu(k), 23))), F(1.0f));
    Val kf = tof(k);
    Val z = mul(f, f);
    Val p = poly(f, 0.333332151f, -0.249998063f, 0.200104252f, -0.166801959f, 0.140057668f, -0.121874794f,
        0.139844254f, -0.128800437f);
    return log_sum(kf, f, z, p);
}

Val f32_log(Val x)
{
    Val tiny = lt(x, F(1.17549435e-38f));
    Val ix = ubits(sel(tiny, mul(x, F(8388608.0f)), x));
    Val k = shr_n(asi(sub(ix, U(0x3f2aaaabu))), 23);
    Val f = sub(flt(sub(ix, shl_n(asu(k), 23))), F(1.0f));
    Val kf = sub(tof(k), sel(tiny, F(23.0f), F(0.0f)));
    Val z = mul(f, f);
    Val p = poly(f, 0.333332151f, -0.249998063f, 0.200104252f, -0.166801959f, 0.140057668f, -0.121874794f,
        0.139844254f, -0.128800437f);
    Val y = log_sum(kf, f, z, p);
    y = sel(lt(x, F(INFINITY)), y, x);
    y = sel(lt(x, F(0.0f)), F(NAN), y);
    return sel(eq(x, F(0.0f)), F(-INFINITY), y);
}

/* log2, log10.  As log; the factor's fraction only multiplies f: log2(1+f) = f + (0.4427 f + f^2 p(f))
   [log2], k + f being exact for |k| <= 1, and log10(1+f) = f/2 + (-0.0657 f + f^2 p(f)) [log10].  Powers of
   two, and of ten, come out exact. */
Val f32_log2(Val x)
{
    Val tiny = lt(x, F(1.17549435e-38f));
    Val ix = ubits(sel(tiny, mul(x, F(8388608.0f)), x));
    Val k = shr_n(asi(sub(ix, U(0x3f2aaaabu))), 23);
    Val f = sub(flt(sub(ix, shl_n(asu(k), 23))), F(1.0f));
    Val kf = sub(tof(k), sel(tiny, F(23.0f), F(0.0f)));
    Val p = poly(f, -0.721346617f, 0.480896413f, -0.360785604f, 0.288699567f, -0.236846924f, 0.201923832f,
        -0.221941248f, 0.202328041f);
    Val y = add(add(kf, f), add(mul(f, F(0.442695041f)), mul(mul(f, f), p)));
    y = sel(lt(x, F(INFINITY)), y, x);
    y = sel(lt(x, F(0.0f)), F(NAN), y);
    return sel(eq(x, F(0.0f)), F(-INFINITY), y);
}

/* log1p.  k is taken from 1 + x rounded; f = 2^-k x + (2^-k - 1), one rounding, and exactly x where k = 0:
   no division and no correction term.  2^-k is held four times too large, so that k = 128 does not
   underflow.  Then as log. log1p(-1) = -inf, below NaN, log1p(-0) = -0. */
Val f32_log1p(Val x)
{
    Val u = add(F(1.0f), x);
    Val k = shr_n(asi(sub(ubits(u), U(0x3f2aaaabu))), 23);
    Val ks = shl_n(asu(k), 23);
    Val s = flt(sub(U(0x40800000u), ks));
    Val f = sel(eq(k, I(0)), x, add(flt(sub(ubits(x), ks)), sub(mul(F(0.25f), s), F(1.0f))));
    Val kf = tof(k);
    Val z = mul(f, f);
    Val p = poly(f, 0.333332151f, -0.249998063f, 0.200104252f, -0.166801959f, 0.140057668f, -0.121874794f,
        0.139844254f, -0.128800437f);
    Val y = log_sum(kf, f, z, p);
    y = sel(and(lt(x, F(INFINITY)), not(eq(x, F(0.0f)))), y, x);
    y = sel(lt(x, F(-1.0f)), F(NAN), y);
    return sel(eq(x, F(-1.0f)), F(-INFINITY), y);
}

/* sinh, cosh.  a = |x| = n ln 2 + r; with S = sinh r, C = cosh r - 1 [sinh_r, cosh_r] and A = 2^(n-1) -
   2^(-n-1), B = 2^(n-1) + 2^(-n-1):  cosh a = B + (B C + A S), sinh a = A + (A C + B S).  No division,
        one reduction.  sinh below 1 has its
   own odd polynomial [sinh].  Everything is halved once more, so that n = 129 does not overflow early. */
Val f32_sinh(Val x)
{
    Val a = atmost(abs_(x), F(89.5f));
    Val t = add(mul(a, F(LOG2E)), F(MAGIC + 125.0f));
    Val n = sub(t, F(MAGIC + 125.0f));
    Val r = sub(sub(a, mul(n, F(LN2_1))), mul(n, F(LN2_2)));
    Val b = shl_n(ubits(t), 23);
    Val g = flt(b), h = flt(sub(U(0x7d000000u), b));
    h = sel(gt(n, F(100.0f)), F(0.0f), h);
    Val A = sub(g, h), B = add(g, h);
    Val z = mul(r, r);
    Val S = add(r, mul(mul(r, z), poly(z, 0.166665018f, 0.00837077014f)));
    Val C = mul(z, poly(z, 0.5f, 0.0416664369f, 0.00139377662f));
    Val y = mul(add(A, add(mul(A, C), mul(B, S))), F(2.0f));
    Val w = mul(x, x);
    Val v = add(x, mul(mul(x, w), poly(w, 0.166666672f, 0.00833331048f, 0.000198428956f, 2.78221319e-06f)));
    return sel(lt(a, F(1.0f)), v, copysign_(y, x));
}

Val f32_cosh(Val x)
{
    Val a = atmost(abs_(x), F(89.5f));
    Val t = add(mul(a, F(LOG2E)), F(MAGIC + 125.0f));
    Val n = sub(t, F(MAGIC + 125.0f));
    Val r = sub(sub(a, mul(n, F(LN2_1))), mul(n, F(LN2_2)));
    Val b = shl_n(ubits(t), 23);
    Val g = flt(b), h = flt(sub(U(0x7d000000u), b));
    h = sel(gt(n, F(100.0f)), F(0.0f), h);
    Val A = sub(g, h), B = add(g, h);
    Val z = mul(r, r);
    Val S = add(r, mul(mul(r, z), poly(z, 0.166665018f, 0.00837077014f)));
    Val C = mul(z, poly(z, 0.5f, 0.0416664369f, 0.00139377662f));
    return mul(add(B, add(mul(B, C), mul(A, S))), F(2.0f));
}

/* tanh.  |x| < 0.6: x + x z p(z), z = x^2 [tanh_0].  Above, with e^(2|x|) = 2^n (1 + e): tanh =
   1 - 2/(2^n e + (2^n + 1)), whose quotient is then below 1/2; e = r + r^2 q(r) [exp].  The two polynomials
   share one Horner chain with selected coefficients.  |x| >= 9.02 gives 1. */
Val f32_tanh(Val x)
{
    Val a = atmost(abs_(x), F(9.02f));
    Val big = ge(a, F(0.6f));
    Val c = add(a, a);
    Val t = fma_(c, F(LOG2E), F(MAGIC + 127.0f));
    Val r = less_ln2(c, sub(t, F(MAGIC + 127.0f)));
    Val z = mul(a, a);
    Val v = sel(big, r, z), m = sel(big, r, a);
    Val p = sel(big, F(0.0013820664f), F(-0.00589379063f));
    p = fma_(p, v, sel(big, F(0.00836982857f), F(0.0207956713f)));
    p = fma_(p, v, sel(big, F(0.0416682996f), F(-0.0537840612f)));
    p = fma_(p, v, sel(big, F(0.166665122f), F(0.133319318f)));
    p = fma_(p, v, sel(big, F(0.49999994f), F(-0.333332986f)));
    Val e = fma_(mul(m, v), p, m);
    Val s = flt(shl_n(ubits(t), 23));
    Val y = sub(F(1.0f), divide(F(2.0f), fma_(s, e, add(s, F(1.0f)))));
    return copysign_(sel(big, y, e), x);
}

/* logistic 1/(1 + e^-x).  e = exp(-|x|) never overflows: x < 0 gives e/(1 + e), which keeps denormal results
   down to x = -103.97 where 1/(1 + exp(-x)) is 0 below -88.7; x >= 0 gives 1/(1 + e).  The roundings of 1 +
   e, and for x < 0 of e^r, are put back at the end: nine operations, from 2.4 to 1.6 ULP. */
Val f32_logistic(Val x)
{
    Val a = atleast(neg(abs_(x)), F(-104.5f));
    Val t = fma_(a, F(LOG2E), F(MAGIC + 254.0f));
    Val r = less_ln2(a, sub(t, F(MAGIC + 254.0f)));
    Val q = poly(r, 0.49999994f, 0.166665122f, 0.0416682996f, 0.00836982857f, 0.0013820664f);
    Val w = fma_(mul(r, r), q, r);
    Val p = add(w, F(1.0f));
    Val l = sel(lt(x, F(0.0f)), add(sub(F(1.0f), p), w), F(0.0f));
    Val b = ubits(t), h = shr_n(b, 1);
    Val e = mul(mul(p, flt(shl_n(h, 23))), flt(shl_n(sub(b, h), 23)));
    Val d = add(F(1.0f), e);
    Val y = divide(sel(lt(x, F(0.0f)), e, F(1.0f)), d);
    return fma_(y, sub(l, sub(e, sub(d, F(1.0f)))), y);
}
