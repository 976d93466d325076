/*
 * math_f64.c - functions in f64.
 *
 * In:  the op and its operands.   Out: a value.
 * Where the device's library has the function it is called (K_CALL): within a few ULP by the OpenCL
 * specification, not the same bits on every device. The others are built from those: logistic, erf_inv (a
 * start by Giles 2010's f32 polynomials, then two steps of Halley's method on erf or erfc), digamma and
 * trigamma (recurrence to 10, then Bernoulli's series; reflection). pow is ours too: log and exp in two
 * pieces, within 1 ULP; libraries differ where it underflows.
 */
#include <math.h>
#include "graph.h"
#include "math_ir.h"

#define D(x) k_const(K, DT_F64, (x))
#define LN2_HIGH 0x1.62e42fefa38p-1    /* 42 bits: its product with an exponent is exact */
#define LN2_LOW  0x1.ef35793c7673p-45

static Val call(int op, int n, const Val *x) { return k_call(K, op, optab[op].library, DT_F64, n, x); }
static Val call1(int op, Val x) { return call(op, 1, &x); }

static Val poly64(Val t, int n, const double *c)
{
    Val p = D(c[n - 1]);
    for (int i = n - 2; i >= 0; i--)
        p = fma_(p, t, D(c[i]));
    return p;
}
#define POLY(t, ...) \
    poly64(t, sizeof((const double[]){ __VA_ARGS__ }) / sizeof(double), (const double[]){ __VA_ARGS__ })

/* e = exp(-|x|) never overflows; below 0 e/(1 + e) keeps small results. */
static Val logistic(Val x)
{
    Val e = call1(OP_exp, neg(abs_(x)));
    return divide(sel(lt(x, D(0)), e, D(1)), add(D(1), e));
}

/* From a good start y: f = erf(y) - |x| (or |x|'s complement against erfc, where erf is near 1), f' =
 * 2/sqrt(pi) e^(-y^2). */
static Val erf_inv(Val x)
{
    Val a = abs_(x);
    Val y = convert(f32_erf_inv(convert(sel(lt(a, D(0.999999)), a, D(0.999999)), DT_F32)), DT_F64);
    Val w = neg(call1(OP_log, mul(sub(D(1), a), add(D(1), a))));        /* the far tail: its own start */
    Val l = sqrt_(sel(gt(w, D(10)), sub(w, D(0.6)), D(10)));
    Val far = sub(l, divide(call1(OP_log, l), mul(D(2), l)));
    far = sub(far, divide(D(0.05), l));
    y = sel(gt(a, D(0.999999)), far, y);
    for (int n = 0; n < 3; n++) {
        Val up = sub(call1(OP_erf, y), a), down = sub(sub(D(1), a), call1(OP_erfc, y));
        Val f = sel(gt(a, D(0.5)), down, up);
        Val u = mul(mul(f, D(0.88622692545275801365)), call1(OP_exp, mul(y, y)));
        y = sub(y, divide(u, fma_(y, u, D(1))));
    }
    Val s = sel(lt(x, D(0)), neg(y), y);
    s = sel(eq(a, D(1)), sel(lt(x, D(0)), D(-INFINITY), D(INFINITY)), s);
    return sel(eq(a, D(0)), x, sel(le(a, D(1)), s, D(NAN)));
}

/* The distance of x to the nearest integer, with its sign, exactly. */
static Val fraction(Val x) { return sub(x, k1(K, K_RINT, DT_F64, x)); }

/* From 10: log x - 1/(2x) - Bernoulli's series; i = 1/x. */
static Val digamma_series(Val x, Val i)
{
    Val z = mul(i, i);
    Val s =
        POLY(z, 1. / 12, -1. / 120, 1. / 252, -1. / 240, 1. / 132, -691. / 32760, 1. / 12, -3617. / 8160);
    return sub(sub(call1(OP_log, x), mul(D(0.5), i)), mul(z, s));
}

/* Between 1 and 2 (x - x0) p(x - x0), where x0 = 1.46.. is the zero, in two pieces. Below 1 the same at 1 +
 * |x|, up to 10 by the recurrence, whose terms are gathered in one fraction. x < 0: psi(1 + |x|) + pi /
 * tan(pi |x|). */
static Val digamma(Val x)
{
    Val a = abs_(x), below = lt(x, D(0)), big = ge(a, D(10)), low = lt(a, D(1));
    Val num = sel(and(low, not(below)), D(-1), D(0)), den = sel(low, a, D(1)), base = atmost(a, D(10));
    for (int n = 0; n < 8; n++) {
        Val go = gt(base, D(2)), t = sub(base, D(1));
        num = sel(go, fma_(num, t, den), num);
        den = sel(go, mul(den, t), den);
        base = sel(go, t, base);
    }
    Val t = sub(sub(base, sel(low, D(0.46163214496836236), D(1.4616321449683622))),
        sel(low, D(-1.5522348162858677e-17), D(9.549995429965697e-17)));
    Val p = mul(t,
        POLY(t, 0.9676722454476212, -0.44276316898359214, 0.2584997609556509, -0.16394270544239933,
            0.10782405069127954, -0.07219956125728176, 0.04880428816323914, -0.033161126430834756,
            0.022597648248248545, -0.015424767205798105, 0.010538791788919843, -0.0072045109574719185,
            0.004926769418388227, -0.0033700709071922902, 0.002305348327158477, -0.0015749355480831092,
            0.0010766128230576817, -0.000747499595599247, 0.0005180490833339942, -0.000319369667120709,
            0.00019075640343164054, -0.00019476490125989052, 0.00019426548768519724,
            -8.153978973306964e-05));
    Val i = divide(sel(big, D(1), num), sel(big, a, den));
    Val r = sel(big, digamma_series(sel(big, a, D(10)), sel(big, i, D(0.1))), add(p, i));
    Val f = fraction(a), g = abs_(f), near = gt(g, D(0.25)), h = sel(near, sub(D(0.5), g), g);
    Val tan_h = call1(OP_tan, mul(h, D(M_PI)));
    Val c = copysign_(sel(near, mul(D(M_PI), tan_h), divide(D(M_PI), tan_h)), f);
    Val v = add(add(r, sel(low, D(0), divide(D(1), a))), c);
    r = sel(below, sel(eq(f, D(0)), D(NAN), v), r);
    r = sel(eq(a, D(0)), D(NAN), r);
    return sel(eq(x, D(INFINITY)), x, r);
}

/* Below 10 the terms 1/(x + k)^2, the smallest first, are added to Bernoulli's series at x + 10. */
static Val trigamma_positive(Val x)
{
    Val low = lt(x, D(10)), i = divide(D(1), sel(low, add(x, D(10)), x)), z = mul(i, i);
    Val s = POLY(z, 1. / 6, -1. / 30, 1. / 42, -1. / 30, 5. / 66, -691. / 2730, 7. / 6, -3617. / 510);
    Val sum = add(i, fma_(mul(i, z), s, mul(D(0.5), z)));
    for (int n = 9; n >= 0; n--) {
        Val r = divide(D(1), n ? add(x, D(n)) : x);
        sum = sel(low, fma_(r, r, sum), sum);
    }
    return sum;
}

static Val trigamma(Val x)
{
    Val below = lt(x, D(0)), y = trigamma_positive(sel(below, sub(D(1), x), x));
    Val f = call1(OP_sin, mul(fraction(x), D(M_PI)));
    y = sel(below, sub(divide(D(M_PI * M_PI), mul(f, f)), y), y);
    return sel(eq(x, D(INFINITY)), D(0), y);
}

/* log |x| as a sum of two, to 2^-63 of it: x = 2^k m, s = (m - 1)/(m + 1) with a remainder, and log m = 2 s
 * + 2/3 s^3 + ... whose leading terms are kept in two pieces. ln 2 is cut at 42 bits, so that its product
 * with k is exact. */
static void log_pair(Val ax, Val *high, Val *low)
{
    Val tiny = lt(ax, D(0x1p-1022));
    Val ix = bits(sel(tiny, mul(ax, D(0x1p54)), ax), DT_U64);
    Val k = shr_n(bits(sub(ix, k_bits(K, DT_U64, 0x3fe6a09e667f3bcd)), DT_I64), 52);
    Val m = bits(sub(ix, shl_n(bits(k, DT_U64), 52)), DT_F64);
    Val kf = sub(convert(k, DT_F64), sel(tiny, D(54), D(0)));
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
    Val kh = mul(kf, D(LN2_HIGH)), kl = mul(kf, D(LN2_LOW));
    Val s1 = add(kh, u), e1 = sub(u, sub(s1, kh));
    Val s2 = add(s1, th), e2 = sub(th, sub(s2, s1));
    Val l = add(add(e1, e2), add(q, add(ul, add(tl, kl))));
    *high = add(s2, l);
    *low = sub(l, sub(*high, s2));
}

/* e^(h + l), l a correction. Times 2^n in two factors, so that underflow rounds once. */
static Val exp_pair(Val h, Val l)
{
    Val up = gt(h, D(710)), down = lt(h, D(-746));
    h = sel(up, D(710), sel(down, D(-746), h));
    l = sel(or(up, down), D(0), l);
    Val magic = D(0x1.8p52 + 2046), t = add(mul(h, D(1.4426950408889634)), magic), n = neg(sub(t, magic));
    Val rh = fma_(n, D(LN2_HIGH), h), rl = fma_(n, D(LN2_LOW), l);
    Val r = add(rh, rl), c = sub(rl, sub(r, rh));
    Val q = POLY(r, 0.50000000000000133, 0.16666666666666405, 0.04166666666650614, 0.0083333333335006421,
        0.0013888888950432882, 0.00019841269498162021, 2.4801485553518835e-05, 2.7557585869752054e-06,
        2.7633100354567797e-07, 2.5003372666516189e-08);
    Val p = add(D(1), add(r, fma_(mul(r, r), q, c)));
    Val b = bits(t, DT_U64), half = shr_n(b, 1);
    return mul(mul(p, bits(shl_n(half, 52), DT_F64)), bits(shl_n(sub(b, half), 52), DT_F64));
}

/* Zeros, infinities and nan as C Annex F. */
static Val power(Val x, Val y)
{
    Val ax = abs_(x), ay = abs_(y), h, l;
    log_pair(ax, &h, &l);
    Val yc = atleast(atmost(y, D(0x1p70)), D(-0x1p70)), p = mul(yc, h);
    Val r = exp_pair(p, fma_(yc, l, fma_(yc, h, neg(p))));
    Val half = mul(ay, D(0.5)), whole = eq(k1(K, K_RINT, DT_F64, ay), ay);
    Val odd = and(whole, ne(k1(K, K_RINT, DT_F64, half), half));
    Val edge = sel(eq(gt(y, D(0)), gt(ax, D(1))), D(INFINITY), D(0));
    r = sel(or(eq(ax, D(0)), eq(ax, D(INFINITY))), edge, r);
    r = sel(odd, copysign_(r, x), r);
    r = sel(and(and(lt(x, D(0)), not(whole)), lt(ax, D(INFINITY))), D(NAN), r);
    r = sel(and(le(ax, D(INFINITY)), le(ay, D(INFINITY))), r, add(x, y));
    return sel(or(eq(y, D(0)), eq(x, D(1))), D(1), r);
}

/* Where Stirling's terms are below the last place of x log x, libraries overflow early. */
static Val lgamma_wide(Val x)
{
    return sel(gt(x, D(1e17)), mul(x, sub(call1(OP_log, x), D(1))), call1(OP_lgamma, x));
}

Val f64_function(int op, int n, const Val *x)
{
    switch (op) {
    case OP_logistic: return logistic(x[0]);
    case OP_erf_inv:  return erf_inv(x[0]);
    case OP_digamma:  return digamma(x[0]);
    case OP_trigamma: return trigamma(x[0]);
    case OP_lgamma:   return lgamma_wide(x[0]);
    case OP_pow:      return power(x[0], x[1]);
    case OP_rsqrt:    return divide(D(1), sqrt_(x[0]));
    }
    return optab[op].library ? call(op, n, x) : 0;
}
