/*
 * math_f64.c - exponentials, logarithms, powers, roots and hyperbolic functions, in f64, built in the
 * kernel IR.
 *
 * In:  a value of one lane or many.   Out: a value within 2 ULP of the function, the same bits on every
 * device. No library, no tables, no loops.
 * The forms are those of f32 (math_exp.c, whose head explains them) with longer polynomials: interpolation
 * at Chebyshev's points in 60 digits, rounded. A product with fma is exact in two pieces where f32 cuts
 * its factors.
 */
#include <math.h>
#include "math_f64.h"

/* ==================== exponentials */

/* 2^n p in two factors, so that overflow and gradual underflow round once: t is n + 2046 + MAGIC64, whose
 * half is the first factor's exponent, the rest the second's. */
static Val scaled(Val p, Val t)
{
    Val b = bits(t, DT_U64), half = shr_n(b, 1);
    return mul(mul(p, bits(shl_n(half, 52), DT_F64)), bits(shl_n(sub(b, half), 52), DT_F64));
}

/* e^r = 1 + r + r^2 q(r), |r| <= ln 2 / 2. */
static Val exp_q(Val r)
{
    return POLY(r, 0.50000000000000133, 0.16666666666666405, 0.04166666666650614, 0.0083333333335006421,
        0.0013888888950432882, 0.00019841269498162021, 2.4801485553518835e-05, 2.7557585869752054e-06,
        2.7633100354567797e-07, 2.5003372666516189e-08);
}

/* h = n ln 2 + r, ln 2 in two pieces. */
Val f64_exp_pair(Val h, Val l)
{
    Val up = gt(h, D(710)), down = lt(h, D(-746));
    h = sel(up, D(710), sel(down, D(-746), h));
    l = sel(or(up, down), D(0), l);
    Val magic = D(MAGIC64 + 2046), t = add(mul(h, D(1.4426950408889634)), magic), n = neg(sub(t, magic));
    Val rh = fma_(n, D(LN2_HIGH), h), rl = fma_(n, D(LN2_LOW), l);
    Val r = add(rh, rl), c = sub(rl, sub(r, rh));
    return scaled(add(D(1), add(r, fma_(mul(r, r), exp_q(r), c))), t);
}

Val f64_exp(Val x) { return f64_exp_pair(x, D(0)); }

/* x = n + f, exactly; 2^f = 1 + f q(f). 2^n is exact. */
Val f64_exp2(Val x)
{
    x = atleast(atmost(x, D(1025)), D(-1080));
    Val magic = D(MAGIC64 + 2046), t = add(x, magic), f = sub(x, sub(t, magic));
    Val q = POLY(f, 0.6931471805599453, 0.24022650695910072, 0.05550410866482158, 0.009618129107628484,
        0.0013333558146428445, 0.00015403530393362755, 1.5252733804051129e-05, 1.3215486815999978e-06,
        1.0178086021185474e-07, 7.054894386348348e-09, 4.4455303091051067e-10, 2.5733568308756892e-11,
        1.3716962392737587e-12);
    return scaled(fma_(f, q, D(1)), t);
}

/* e = e^r - 1 with the rounding of r carried along (c); then 2^n e + (2^n - 1), halved, so that n = 1024
 * does not overflow early. n = 0 gives e itself. */
Val f64_expm1(Val x)
{
    Val y = atleast(atmost(x, D(710)), D(-40));
    Val magic = D(MAGIC64 + 1022), t = add(mul(y, D(1.4426950408889634)), magic), n = sub(t, magic);
    Val rh = fma_(n, D(-LN2_HIGH), y), rl = mul(n, D(LN2_LOW)), r = sub(rh, rl), c = sub(sub(rh, r), rl);
    Val e = add(r, fma_(mul(r, r), exp_q(r), c));
    Val s = bits(shl_n(bits(t, DT_U64), 52), DT_F64);
    Val z = mul(fma_(s, e, sub(s, D(0.5))), D(2));
    return sel(eq(x, D(0)), x, sel(eq(n, D(0)), e, z));
}

/* ==================== logarithms */

/* x = 2^k m, m in sqrt(1/2) .. sqrt(2); denormals times 2^54 first. */
static void parts(Val x, Val *k, Val *m)
{
    Val tiny = lt(x, D(0x1p-1022)), ix = bits(sel(tiny, mul(x, D(0x1p54)), x), DT_U64);
    Val e = shr_n(bits(sub(ix, L(0x3fe6a09e667f3bcd)), DT_I64), 52);
    *m = bits(sub(ix, shl_n(bits(e, DT_U64), 52)), DT_F64);
    *k = sub(convert(e, DT_F64), sel(tiny, D(54), D(0)));
}

/* log(1 + f) = f - (f^2/2 - tail), tail = s (f^2/2 + z r(z)), s = f/(2 + f), z = s^2. */
static Val log_tail(Val f, Val half_square)
{
    Val s = divide(f, add(f, D(2))), z = mul(s, s);
    Val r = POLY(z, 0.666666666666666667, 0.39999999999899505, 0.28571428625975487, 0.2222221113479508,
        0.18182889125261723, 0.15331721600556042, 0.14616449685043406);
    return mul(s, fma_(z, r, half_square));
}

/* k ln 2 + log(1 + f), the largest last. */
static Val log_sum(Val k, Val f)
{
    Val h = mul(mul(D(0.5), f), f), tail = fma_(k, D(LN2_LOW), log_tail(f, h));
    return sub(mul(k, D(LN2_HIGH)), sub(sub(h, tail), f));
}

/* Of what is no positive finite number, y being what came out: C's Annex F. */
static Val log_edges(Val x, Val y, double pole)
{
    y = sel(lt(x, D(INFINITY)), y, x);
    y = sel(lt(x, D(pole)), D(NAN), y);
    return sel(eq(x, D(pole)), D(-INFINITY), y);
}

Val f64_log(Val x)
{
    Val k, m;
    parts(x, &k, &m);
    return log_edges(x, log_sum(k, sub(m, D(1))), 0);
}

/* log m in two pieces, times 1/ln 2 in two pieces; powers of two are exact. */
Val f64_log2(Val x)
{
    Val k, m;
    parts(x, &k, &m);
    Val f = sub(m, D(1)), h = mul(mul(D(0.5), f), f);
    Val high = sub(f, h), low = add(sub(sub(f, high), h), log_tail(f, h));
    Val by = D(1.4426950408889634), p = mul(high, by);
    Val rest = add(fma_(high, by, neg(p)), fma_(low, by, mul(high, D(2.0355273740931033e-17))));
    Val sum = add(k, p);
    return log_edges(x, add(sum, add(add(sub(k, sum), p), rest)), 0);
}

/* k is taken from 1 + x rounded; f = 2^-k x + (2^-k - 1), exactly x where k = 0. 2^-k is held four times too
 * large, so that k = 1024 does not underflow. */
Val f64_log1p(Val x)
{
    Val k = shr_n(bits(sub(bits(add(D(1), x), DT_U64), L(0x3fe6a09e667f3bcd)), DT_I64), 52);
    Val shift = shl_n(bits(k, DT_U64), 52), four = bits(sub(L(0x4010000000000000), shift), DT_F64);
    Val f = add(bits(sub(bits(x, DT_U64), shift), DT_F64), sub(mul(D(0.25), four), D(1)));
    f = sel(eq(k, bits_like(k, 0)), x, f);
    return sel(eq(x, D(0)), x, log_edges(x, log_sum(convert(k, DT_F64), f), -1));
}

/* s = (m - 1)/(m + 1) with a remainder, and log m = 2 s + 2/3 s^3 + ..., whose leading terms are kept in two
 * pieces. */
void f64_log_pair(Val x, Val *high, Val *low)
{
    Val k, m;
    parts(x, &k, &m);
    Val f = sub(m, D(1)), d = add(m, D(1)), dl = sub(m, sub(d, D(1)));
    Val sh = divide(f, d), sl = divide(fma_(neg(sh), dl, fma_(neg(sh), d, f)), d);
    Val u = add(sh, sh), ul = add(sl, sl);
    Val zh = mul(sh, sh), zl = fma_(u, sl, fma_(sh, sh, neg(zh)));
    Val ch = mul(sh, zh), cl = add(fma_(sh, zh, neg(ch)), fma_(sh, zl, mul(sl, zh)));
    Val third = D(0.66666666666666663), rest = D(3.700743415417188e-17);
    Val th = mul(ch, third), tl = add(fma_(ch, third, neg(th)), fma_(ch, rest, mul(cl, third)));
    Val q = mul(mul(ch, zh),
        POLY(zh, 2. / 5, 2. / 7, 2. / 9, 2. / 11, 2. / 13, 2. / 15, 2. / 17, 2. / 19, 2. / 21, 2. / 23,
            2. / 25, 2. / 27));
    Val kh = mul(k, D(LN2_HIGH)), kl = mul(k, D(LN2_LOW));
    Val s1 = add(kh, u), e1 = sub(u, sub(s1, kh));
    Val s2 = add(s1, th), e2 = sub(th, sub(s2, s1));
    Val l = add(add(e1, e2), add(q, add(ul, add(tl, kl))));
    *high = add(s2, l);
    *low = sub(l, sub(*high, s2));
}

/* ==================== powers and roots */

/* y log x in two pieces. Zeros, infinities and nan as C's Annex F. */
Val f64_pow(Val x, Val y)
{
    Val ax = abs_(x), ay = abs_(y), h, l;
    f64_log_pair(ax, &h, &l);
    Val yc = atleast(atmost(y, D(0x1p70)), D(-0x1p70)), p = mul(yc, h);
    Val r = f64_exp_pair(p, fma_(yc, l, fma_(yc, h, neg(p))));
    Val half = mul(ay, D(0.5)), whole = eq(k1(K, K_RINT, DT_F64, ay), ay);
    Val odd = and(whole, ne(k1(K, K_RINT, DT_F64, half), half));
    Val edge = sel(eq(gt(y, D(0)), gt(ax, D(1))), D(INFINITY), D(0));
    r = sel(or(eq(ax, D(0)), eq(ax, D(INFINITY))), edge, r);
    r = sel(odd, copysign_(r, x), r);
    r = sel(and(and(lt(x, D(0)), not(whole)), lt(ax, D(INFINITY))), D(NAN), r);
    r = sel(and(le(ax, D(INFINITY)), le(ay, D(INFINITY))), r, add(x, y));
    return sel(or(eq(y, D(0)), eq(x, D(1))), D(1), r);
}

/* c = |x|^(-1/3) from a third of the bits and three steps of third order (e = 1 - x c^3; c += c e (1/3 + 2/9
 * e)); y = x c^2, then one step of Newton's with y^3 - x in two pieces. Denormals times 2^54 first. */
Val f64_cbrt(Val x)
{
    Val a = abs_(x), tiny = lt(a, D(0x1p-1022)), b = sel(tiny, mul(a, D(0x1p54)), a);
    Val third = mulhi(bits(b, DT_U64), L(0x5555555555555556));
    Val c = bits(sub(L(0x553ef0ff289dd796), third), DT_F64);
    for (int n = 0; n < 3; n++) {
        Val e = sub(D(1), mul(mul(b, c), mul(c, c)));
        c = fma_(mul(c, e), fma_(e, D(2. / 9), D(1. / 3)), c);
    }
    Val y = mul(b, mul(c, c)), y2 = mul(y, y), l2 = fma_(y, y, neg(y2));
    Val over = fma_(y, l2, fma_(y, y2, neg(b)));
    y = sub(y, mul(over, mul(mul(c, c), D(1. / 3))));
    y = sel(tiny, mul(y, D(0x1p-18)), y);
    y = sel(and(gt(a, D(0)), lt(a, D(INFINITY))), y, a);
    return copysign_(y, x);
}

/* Scaled by powers of two where a square could leave the range; an infinity wins over nan. */
Val f64_hypot(Val x, Val y)
{
    Val a = abs_(x), b = abs_(y), m = sel(gt(a, b), a, b);
    Val high = gt(m, D(0x1p500)), low = lt(m, D(0x1p-460));
    Val in = sel(high, D(0x1p-600), sel(low, D(0x1p600), D(1)));
    Val out = sel(high, D(0x1p600), sel(low, D(0x1p-600), D(1)));
    Val p = mul(a, in), q = mul(b, in);
    Val p2 = mul(p, p), q2 = mul(q, q), sum = add(p2, q2);
    Val rest = add(fma_(p, p, neg(p2)), fma_(q, q, neg(q2)));
    Val big = sel(gt(p2, q2), p2, q2), small = sel(gt(p2, q2), q2, p2);
    rest = add(rest, sub(small, sub(sum, big)));
    Val r = sqrt_(sum);
    r = sel(gt(r, D(0)), add(r, divide(add(fma_(neg(r), r, sum), rest), add(r, r))), r);
    return sel(or(eq(a, D(INFINITY)), eq(b, D(INFINITY))), D(INFINITY), mul(r, out));
}

/* ==================== hyperbolic functions */

/* |x| < 0.6: x + x z p(z), z = x^2. Above: 1 - 2/(e^(2|x|) + 1). */
Val f64_tanh(Val x)
{
    Val a = atmost(abs_(x), D(20)), z = mul(a, a);
    Val p = POLY(z, -0.3333333333333333, 0.13333333333333205, -0.05396825396808531, 0.021869488527368107,
        -0.008863235292803289, 0.0035921242500086925, -0.0014557958855734635, 0.0005897680994688268,
        -0.00023795201383924994, 9.332432233847448e-05, -3.2086614037935994e-05, 6.934046420988954e-06);
    Val far = sub(D(1), divide(D(2), add(f64_exp_pair(add(a, a), D(0)), D(1))));
    return copysign_(sel(ge(a, D(0.6)), far, fma_(mul(a, z), p, a)), x);
}

/* e = exp(-|x|) never overflows; below 0 e/(1 + e) keeps small results. What the rounding of 1 + e took is
 * put back: 1/(1 + e) is y, below 0 it is 1 - y. */
Val f64_logistic(Val x)
{
    Val e = f64_exp(neg(abs_(x))), d = add(D(1), e), below = lt(x, D(0));
    Val y = divide(sel(below, e, D(1)), d), lost = sub(e, sub(d, D(1)));
    return fma_(neg(mul(y, sel(below, sub(D(1), y), y))), lost, y);
}

/* a = |x| = n ln 2 + r, and with S = sinh r, C = cosh r - 1: A = (2^n - 2^-n)/2, B = (2^n + 2^-n)/2 give
 * sinh a = A + (A C + B S), cosh a = B + (B C + A S). All of it is halved, so that n = 1025 does not
 * overflow early. */
typedef struct Halves { Val a, b, s, c; } Halves;

static Halves halves(Val x)
{
    Val a = atmost(abs_(x), D(710.6));
    Val magic = D(MAGIC64 + 1021), t = add(mul(a, D(1.4426950408889634)), magic), n = neg(sub(t, magic));
    Val r = fma_(n, D(LN2_LOW), fma_(n, D(LN2_HIGH), a)), z = mul(r, r);
    Val b = shl_n(bits(t, DT_U64), 52), up = bits(b, DT_F64);
    Val down = sel(lt(n, D(-500)), D(0), bits(sub(shl_n(L(2042), 52), b), DT_F64));
    Val s = POLY(z, 0.16666666666666669, 0.008333333333330065, 0.00019841269863040545,
        2.7557268480310024e-06, 2.5100375832561234e-08);
    Val c = POLY(z, 0.5, 0.04166666666666668, 0.0013888888888879082, 2.480158733642132e-05,
        2.755726330147475e-07, 2.0918129454967065e-09);
    return (Halves){ sub(up, down), add(up, down), fma_(mul(r, z), s, r), mul(z, c) };
}

/* Below 1 an odd polynomial of its own. */
Val f64_sinh(Val x)
{
    Halves h = halves(x);
    Val y = mul(add(h.a, fma_(h.a, h.c, mul(h.b, h.s))), D(2)), z = mul(x, x);
    Val p = POLY(z, 0.16666666666666666, 0.008333333333333333, 0.00019841269841269773,
        2.755731922404034e-06, 2.505210836405804e-08, 1.6059048396350562e-10, 7.646625361656657e-13,
        2.8445264169895285e-15);
    return sel(lt(abs_(x), D(1)), fma_(mul(x, z), p, x), copysign_(y, x));
}

Val f64_cosh(Val x)
{
    Halves h = halves(x);
    return mul(add(h.b, fma_(h.b, h.c, mul(h.a, h.s))), D(2));
}
