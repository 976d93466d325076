/*
 * math_special.c - error functions, gamma functions, powers and roots, in f32, built in the kernel IR.
 * Common ground: math_exp.c.
 *
 * In:  values of one lane or many.   Out: within 2 ULP (erfc, lgamma, digamma 4.5, erf_inv 2.9); nan and
 * infinities as C's Annex F.
 */
#include <math.h>
#include "math_ir.h"

#define LOG2E 1.44269502f
#define LN2_1 0.693145752f      /* 16 bits: n * LN2_1 is exact for |n| < 256 */
#define LN2_2 1.42860677e-06f
/* erf = w - w^2/4, 1 - (1 - w/2)^2 unfolded, which saturates: an error of w counts less and less. So is w =
   v - v^2/8, in terms of r(|x|) = v/|x| - 1 [erf_4]: w = |x| + |x| (r - |x| ((1 + r)/sqrt 8)^2), where only
   |x| is not small. The fourth root of 1 - erf is so smooth that one polynomial serves all of 0..4, where
   its fit counts double from 3.9, for erf(4) to be 1. */
Val f32_erf(Val x)
{
    const float c = 0.353553391f;
    Val a = atmost(abs_(x), F(4.0f));
    Val r = poly(a, 0.128379151f, 0.477466255f, -0.0618665926f, -0.074427478f, 0.0047291806f, 0.00793869235f,
        -0.000919395534f, -0.000509349629f, 0.000142344899f, -1.08933509e-05f);
    Val s = fma_(r, F(c), F(c));
    Val w = fma_(a, fma_(neg(mul(a, s)), s, r), a);
    return copysign_(fma_(mul(w, F(-0.25f)), w, w), x);
}

/* erfc.  |x| < 0.72: 1 - erf [erf_0].  Else e^(-x^2) u p(v), u = 1/(|x| + 3), v = (|x| - 2) u
   [erfc], and 2 minus that for x < 0; a polynomial in u itself would multiply u's rounding by three at |x| =
   1/2; the rounding of |x| + 3 joins e.  x^2 is carried
   exactly: h = x to 12 bits, x^2 = h^2 + (x - h)(x + h); the second part joins r.  e^r - 1 is multiplied in
   last: g + g (e^r - 1), so its error counts a third. */
Val f32_erfc(Val x)
{
    Val a = atmost(abs_(x), F(10.5f));
    Val h = trunc12(a);
    Val s = mul(h, h), l = mul(sub(a, h), add(a, h));
    Val t = add(mul(s, F(-LOG2E)), F(MAGIC + 254.0f));
    Val n = sub(t, F(MAGIC + 254.0f));
    Val r = sub(sub(neg(s), mul(n, F(LN2_1))), add(mul(n, F(LN2_2)), l));
    Val e = add(
        r, mul(mul(r, r), poly(r, 0.49999997f, 0.16666536f, 0.0416674241f, 0.00836762972f, 0.00138734712f)));
    Val d = add(a, F(3.0f)), u = divide(F(1.0f), d), v = mul(sub(a, F(2.0f)), u);
    e = sub(e, mul(add(sub(a, d), F(3.0f)), u));
    Val g = mul(u,
        poly(v, 1.27697837f, -1.39293313f, 1.1625005f, -0.719625294f, 0.300085694f, -0.0562879667f,
            -0.0173246097f, 0.0119295968f, 5.77621577e-05f, -0.00118228351f));
    Val y = add(g, mul(g, e));
    Val b = ubits(t), b2 = shr_n(b, 1);
    y = mul(mul(y, flt(shl_n(b2, 23))), flt(shl_n(sub(b, b2), 23)));
    y = sel(lt(x, F(0.0f)), sub(F(2.0f), y), y);
    Val z = mul(x, x);
    Val near = sub(F(1.0f), add(x, mul(x, poly(z, 0.128379166f, -0.37612626f, 0.11283496f, -0.026841484f,
        0.00513029983f, -0.000687850174f))));
    return sel(lt(a, F(0.72f)), near, y);
}

/* erf_inv, Giles 2010's plan with other polynomials and another variable for the tail: w =
   -log((1-|x|)(1+|x|)) only needs to be absolutely exact; x p(w - 2.5) below 5, x p(sqrt(w) - 3) above
   [erfinv_lo, erfinv_hi].  +-1 gives +-inf, beyond NaN. */
Val f32_erf_inv(Val x)
{
    Val a = abs_(x);
    Val v = mul(sub(F(1.0f), a), add(F(1.0f), a));
    Val w = neg(f32_logn(v));
    Val big = ge(w, F(5.0f));
    Val t = sel(big, sub(sqrt_(w), F(3.0f)), sub(w, F(2.5f)));
    Val p = sel(big, F(0.000130676985f), F(-8.23578716e-09f));
    p = fma_(p, t, sel(big, F(-0.000316476915f), F(2.82128685e-08f)));
    p = fma_(p, t, sel(big, F(-8.26029209e-05f), F(4.59941077e-07f)));
    p = fma_(p, t, sel(big, F(0.00149281614f), F(-3.5239359e-06f)));
    p = fma_(p, t, sel(big, F(-0.00358157163f), F(-4.94346114e-06f)));
    p = fma_(p, t, sel(big, F(0.00568471849f), F(0.000218578163f)));
    p = fma_(p, t, sel(big, F(-0.00764114363f), F(-0.00125275564f)));
    p = fma_(p, t, sel(big, F(0.00944534596f), F(-0.00417766906f)));
    p = fma_(p, t, sel(big, F(1.00167525f), F(0.24664028f)));
    p = fma_(p, t, sel(big, F(2.83297682f), F(1.50140941f)));
    Val y = mul(x, p);
    y = sel(eq(a, F(1.0f)), copysign_(F(INFINITY), x), y);
    return sel(le(a, F(1.0f)), y, F(NAN));
}

/* lgamma.  0 < x < 8: u = x - round(x) shifted to lgamma(2 + u) = u p(u) [lgamma], plus the log of the
   product of the factors in between, or minus the log of x or x(x+1) below 1.25: near 1 the sum is 0.42 u -
   log(1+u),
        no cancellation.  From 8: Stirling,
   (x - 1/2) log x - x + (log(2 pi)/2 + p(1/x^2)/x) [stirling].  x < 0: reflection log(pi/|x sin(pi x)|) -
   lgamma(|x|), with x - round(x) exact.  Poles, +-0 and +-inf give inf.  For x < 0 the bound is in
   ULP of the larger of lgamma(|x|) and 1: near the zeros there the error is absolute. */
static Val f32_lgamma_pos(Val x)
{
    Val big = ge(x, F(8.0f));
    Val xs = atmost(x, F(8.0f));
    Val n = sub(add(xs, F(MAGIC)), F(MAGIC));
    n = sel(lt(xs, F(0.5f)), F(0.0f), sel(and(ge(xs, F(1.25f)), lt(xs, F(1.5f))), F(2.0f), n));
    n = sel(gt(n, F(8.0f)), F(8.0f), n);
    Val u = sub(xs, n);
    Val d = sel(eq(n, F(0.0f)), mul(xs, add(xs, F(1.0f))), sel(eq(n, F(1.0f)), xs, F(1.0f)));
    d = sel(ge(n, F(3.0f)), sub(xs, F(1.0f)), d);
    d = sel(ge(n, F(4.0f)), mul(d, sub(xs, F(2.0f))), d);
    d = sel(ge(n, F(5.0f)), mul(d, sub(xs, F(3.0f))), d);
    d = sel(ge(n, F(6.0f)), mul(d, sub(xs, F(4.0f))), d);
    d = sel(ge(n, F(7.0f)), mul(d, sub(xs, F(5.0f))), d);
    d = sel(ge(n, F(8.0f)), mul(d, sub(xs, F(6.0f))), d);
    Val lg = f32_log(sel(big, x, d));
    Val p = mul(u,
        poly(u, 0.422784328f, 0.322467029f, -0.0673515946f, 0.0205812734f, -0.00739727262f, 0.00287879584f,
            -0.00113277498f, 0.000595844002f, -0.000291924836f, -8.20567802e-05f, -0.000160421347f));
    Val small = sel(lt(n, F(2.0f)), sub(p, lg), add(p, lg));
    Val i = divide(F(1.0f), x), z = mul(i, i);
    Val tail = add(F(0.918938518f), mul(i, poly(z, 0.083333306f, -0.00276464992f)));
    Val st = sel(lt(x, F(1e8f)), add(sub(mul(sub(x, F(0.5f)), sub(lg, F(1.0f))), F(0.5f)), tail),
        mul(x, sub(lg, F(1.0f))));
    return sel(big, st, small);
}

/* a - round(a), exact; 0 where a has no fraction, nan at inf. */
static Val f32_fraction(Val a)
{
    Val hasf = lt(a, F(8388608.0f));
    return sub(a, sel(hasf, sub(add(a, F(8388608.0f)), F(8388608.0f)), a));
}

/* |sin(pi a)| / pi for a >= 0: the leading term is exact. */
static Val f32_sinpi(Val a)
{
    Val f = f32_fraction(a), z = mul(f, f);
    return abs_(add(f,
        mul(mul(f, z), poly(z, -1.64493406f, 0.811742365f, -0.190750062f, 0.0261280593f, -0.00225506281f))));
}

Val f32_lgamma(Val x)
{
    Val a = abs_(x);
    Val y = f32_lgamma_pos(a);
    Val below = lt(x, F(0.0f));
    k_if(K, any(below));
    {
        const Val old[] = { y };
        Val s = f32_sinpi(a);
        Val g = neg(add(f32_log(mul(a, s)), y));
        g = sel(lt(a, F(1e-9f)), y, g);
        g = sel(eq(s, F(0.0f)), F(INFINITY), g);
        y = sel(below, g, y);
        const Val new[] = { y };
        Val out[1];
        k_if_end(K, 1, new, old, out);
        y = out[0];
    }
    y = sel(eq(a, F(INFINITY)), F(INFINITY), y);
    return sel(eq(a, F(0.0f)), F(INFINITY), y);
}

/* digamma.  1 <= x <= 2: (x - x0) p(x - x0), x0 = 1.4616.. the zero in two pieces [digamma].  Below 1 and up
   to 5: recurrence, the sum of 1/(x - i) gathered as one fraction, one division.  From 5: log x - 1/(2x) - z
   p(z), z = 1/x^2 [digamma_hi]. x < 0: psi(1 + |x|) + pi/tan(pi |x|), psi(1 + |x|) = psi(|x|) + 1/|x| (below
   1 the two reciprocals cancel and are left out). Zeros and negative integers, -inf too, give NaN.  For x <
   0 the bound is in ULP of the larger of the two terms. */
Val f32_digamma(Val x)
{
    Val a = abs_(x);
    Val below = lt(x, F(0.0f)), big = ge(a, F(5.0f)), low = lt(a, F(1.0f));
    Val num = sel(and(low, not(below)), F(-1.0f), F(0.0f)), den = sel(low, a, F(1.0f));
    Val base = atmost(a, F(5.0f));
    for (int n = 0; n < 3; n++) {
        Val go = gt(base, F(2.0f));
        Val t = sub(base, F(1.0f));
        num = sel(go, add(mul(num, t), den), num);
        den = sel(go, mul(den, t), den);
        base = sel(go, t, base);
    }
    Val t = sub(
        sub(base, sel(low, F(0.461632133f), F(1.46163213f))), sel(low, F(9.9997e-09f), F(1.24381492e-08f)));
    Val p = mul(t,
        poly(t, 0.967672229f, -0.44276315f, 0.258502126f, -0.163942426f, 0.107770257f, -0.0722453892f,
            0.0492252968f, -0.0324063338f, 0.021174185f, -0.0196853187f, 0.0135579417f));
    Val i = divide(sel(big, F(1.0f), num), sel(big, a, den)), z = mul(i, i);
    Val st = sub(sub(f32_log(sel(big, a, F(8.0f))), mul(F(0.5f), i)), mul(z, poly(z, 0.0833333358f,
        -0.00833358429f, 0.00396950636f, -0.00380879012f)));
    Val r = sel(big, st, add(p, i));
    k_if(K, any(below));
    {
        const Val old[] = { r };
        Val f = f32_fraction(a), g = abs_(f);
        Val hi = gt(g, F(0.25f));
        Val h = sel(hi, sub(F(0.5f), g), g), w = mul(h, h);
        Val tp = add(mul(h, F(3.14159274f)), mul(mul(h, w), poly(w, 10.335371f, 40.8193207f, 161.319672f,
        728.185547f, 918.612122f, 27248.6133f)));
        Val c = sel(hi, mul(F(3.14159274f), tp), divide(F(3.14159274f), tp));
        Val v = add(add(r, sel(low, F(0.0f), divide(F(1.0f), a))), xorsign(c, sign(f)));
        v = sel(eq(f, F(0.0f)), F(NAN), v);
        r = sel(below, v, r);
        const Val new[] = { r };
        Val out[1];
        k_if_end(K, 1, new, old, out);
        r = out[0];
    }
    r = sel(eq(a, F(0.0f)), F(NAN), r);
    return sel(eq(x, F(INFINITY)), F(INFINITY), r);
}

/* pow.  log2|x| as a sum t1 + t2 with t1 of 12 bits: s = f/(m+1), f = m - 1, with a remainder from short
   products; log m = (2/3) s (3 + s^2 + 3 s^4 p(s^2)) [pow_log] with the leading terms in two pieces (the
   scheme of Sun's fdlibm,
        1993, without its
   table); relative error about 2^-34.  y = y1 + y2; y1 t1 is exact.  2^g = 1 + (g ln 2 + g^2 p(g)) with ln 2
   in two pieces [pow_exp], wrong by less than half a unit before its last sum, so that exact powers come out
   exact.  The sign from the parity of y. pow(x, 0) = pow(1, y) = 1; x < 0 with a fraction in y: NaN; zeros
   and infinities as C Annex F; pow(-1,
        +-inf) = 1. */
Val f32_pow(Val x, Val y)
{
    Val ax = abs_(x);
    Val tiny = lt(ax, F(1.17549435e-38f));
    Val ix = ubits(sel(tiny, mul(ax, F(8388608.0f)), ax));
    Val k = shr_n(asi(sub(ix, U(0x3f3504f3u))), 23);
    Val m = flt(sub(ix, shl_n(asu(k), 23)));
    Val kf = sub(tof(k), sel(tiny, F(23.0f), F(0.0f)));
    Val f = sub(m, F(1.0f)), d = add(m, F(1.0f));
    Val dl = sub(m, sub(d, F(1.0f)));
    Val rc = divide(F(1.0f), d);
    Val s = mul(f, rc);
    Val sh = trunc12(s);
    Val d1 = trunc12(d), d2 = sub(d, d1);
    Val sl = mul(sub(sub(sub(f, mul(sh, d1)), mul(sh, d2)), mul(sh, dl)), rc);
    Val s2 = mul(s, s);
    Val zh = mul(sh, sh);
    Val w = add(
        mul(mul(mul(s2, s2), poly(s2, 0.199999988f, 0.142859861f, 0.110898644f, 0.0977821276f)), F(3.0f)),
        mul(sl, add(sh, s)));
    Val th = trunc12(add(add(F(3.0f), zh), w));
    Val tl = sub(w, sub(sub(th, F(3.0f)), zh));
    Val u = mul(sh, th), v = add(mul(sl, th), mul(s, tl));
    Val ph = trunc12(add(u, v));
    Val pl = sub(v, sub(ph, u));
    Val gh = mul(F(0.961669922f), ph);
    Val gl = add(mul(F(0.000126772051f), ph), mul(pl, F(0.961796694f)));
    Val t1 = trunc12(add(kf, add(gh, gl)));
    Val t2 = sub(gl, sub(sub(t1, kf), gh));
    Val yc = atleast(atmost(y, F(1.20892582e24f)), F(-1.20892582e24f));
    Val y1 = trunc12(yc);
    Val eh = mul(y1, t1), el = add(mul(sub(yc, y1), t1), mul(yc, t2));
    Val e = add(eh, el);
    Val up = gt(e, F(129.0f)), dn = lt(e, F(-151.0f));
    eh = sel(up, F(129.0f), sel(dn, F(-151.0f), eh));
    el = sel(or(up, dn), F(0.0f), el);
    Val t = add(add(eh, el), F(MAGIC + 254.0f));
    Val g = add(sub(eh, sub(t, F(MAGIC + 254.0f))), el);
    Val g1 = trunc12(g);
    Val g2 = add(add(mul(g, F(3.19461833e-05f)), mul(sub(g, g1), F(0.693115234f))), mul(mul(g, g), poly(g,
        0.240226477f, 0.0555036254f, 0.00961851049f, 0.00133900333f, 0.000153243789f)));
    Val p = add(add(mul(g1, F(0.693115234f)), g2), F(1.0f));
    Val b = ubits(t), h = shr_n(b, 1);
    Val r = mul(mul(p, flt(shl_n(h, 23))), flt(shl_n(sub(b, h), 23)));
    Val ay = abs_(y);
    Val yi = add(ay, F(8388608.0f));
    Val small = lt(ay, F(8388608.0f));
    Val whole = or(not(small), eq(sub(yi, F(8388608.0f)), ay));
    Val odd = shl_n(sel(small, ubits(yi), sel(lt(ay, F(16777216.0f)), ubits(ay), U(0u))), 31);
    odd = sel(whole, odd, U(0u));
    Val edge = sel(eq(gt(y, F(0.0f)), gt(ax, F(1.0f))), F(INFINITY), F(0.0f));
    r = sel(or(eq(ax, F(0.0f)), eq(ax, F(INFINITY))), edge, r);
    r = xorsign(r, and(odd, sign(x)));
    r = sel(and(and(lt(x, F(0.0f)), not(whole)), lt(ax, F(INFINITY))), F(NAN), r);
    r = sel(and(le(ax, F(INFINITY)), le(ay, F(INFINITY))), r, add(x, y));
    return sel(or(eq(y, F(0.0f)), eq(x, F(1.0f))), F(1.0f), r);
}

/* cbrt.  c = |x|^(-1/3) from a third of the bits and two steps of third order (e = 1 - x c^3; c += c e (1/3
   + 2/9 e)); t = x c^2; its 12-bit head h has h^3 in exact pieces; d = (x - h^3) c^2/3, and h + (d + d^2 c):
   nearly correctly rounded,
        cubes exact.
   No division.  cbrt(+-0), cbrt(+-inf), NaN as they come. */
Val f32_cbrt(Val x)
{
    Val a = abs_(x);
    Val tiny = lt(a, F(5.42101086e-20f));
    Val b = sel(tiny, mul(a, F(7.92281625e28f)), a);
    Val c = flt(sub(I(0x54a21d29), toi(mul(tof(ibits(b)), F(0.333333343f)))));
    Val e = sub(F(1.0f), mul(mul(b, c), mul(c, c)));
    c = add(c, mul(mul(c, e), add(F(0.333333343f), mul(e, add(F(0.222222224f), mul(e, F(0.172839507f)))))));
    e = sub(F(1.0f), mul(mul(b, c), mul(c, c)));
    c = add(c, mul(mul(c, e), add(F(0.333333343f), mul(e, F(0.222222224f)))));
    Val c2 = mul(c, c);
    Val h = trunc12(mul(b, c2));
    Val h2 = mul(h, h);
    Val h21 = trunc12(h2);
    Val d = mul(sub(sub(b, mul(h, h21)), mul(h, sub(h2, h21))), mul(c2, F(0.333333343f)));
    Val y = add(h, add(d, mul(mul(d, d), c)));
    y = sel(tiny, mul(y, F(2.32830644e-10f)), y);
    y = sel(and(gt(a, F(0.0f)), lt(a, F(INFINITY))), y, a);
    return copysign_(y, x);
}

/* hypot.  Scaled by 2^-64 or 2^100 where a square could leave the range; inf wins over NaN. */
Val f32_hypot(Val x, Val y)
{
    Val a = abs_(x), b = abs_(y);
    Val m = sel(gt(a, b), a, b);
    Val hi = gt(m, F(9.22337204e18f)), lo = lt(m, F(1.0e-13f));
    Val in = sel(hi, F(5.42101086e-20f), sel(lo, F(1.2676506e30f), F(1.0f)));
    Val out = sel(hi, F(1.84467441e19f), sel(lo, F(7.88860905e-31f), F(1.0f)));
    Val p = mul(a, in), q = mul(b, in);
    Val r = mul(sqrt_(add(mul(p, p), mul(q, q))), out);
    return sel(or(eq(a, F(INFINITY)), eq(b, F(INFINITY))), F(INFINITY), r);
}

/* trigamma, polygamma(1, x). Below 6 the terms 1/(x + k)^2 of the recurrence, the smallest first, are added
   to the asymptotic series at x + 6. x < 0: pi^2 / sin^2(pi x) - psi1(1 - x). Zero and negative integers
   give inf, psi1(inf) = 0. */
static Val f32_trigamma_pos(Val x)
{
    Val low = lt(x, F(6.0f));
    Val i = divide(F(1.0f), sel(low, add(x, F(6.0f)), x)), z = mul(i, i);
    Val p = poly(z, 0.166666667f, -0.0333333333f, 0.0238095238f, -0.0333333333f, 0.0757575758f);
    Val sum = add(i, fma_(mul(i, z), p, mul(F(0.5f), z)));
    for (int n = 5; n >= 0; n--) {
        Val r = divide(F(1.0f), n ? add(x, F((float)n)) : x);
        sum = sel(low, fma_(r, r, sum), sum);
    }
    return sum;
}

Val f32_trigamma(Val x)
{
    Val below = lt(x, F(0.0f));
    Val y = f32_trigamma_pos(sel(below, sub(F(1.0f), x), x));
    k_if(K, any(below));
    {
        const Val old[] = { y };
        Val s = f32_sinpi(abs_(x));
        Val g = sub(divide(F(1.0f), mul(s, s)), y);
        y = sel(below, g, y);
        const Val new[] = { y };
        Val out[1];
        k_if_end(K, 1, new, old, out);
        y = out[0];
    }
    return sel(eq(x, F(INFINITY)), F(0.0f), y);
}
