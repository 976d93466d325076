/*
 * math_f64_gamma.c - the error function and gamma functions, in f64, built in the kernel IR. Common ground:
 * math_exp.c and math_f64.c.
 */
#include <math.h>
#include "math_f64.h"

/* ==================== the error function */

/* |x| < 1: x + x (2/sqrt(pi) - 1 + z p(z)), z = x^2. */
static Val erf_near(Val x)
{
    Val z = mul(x, x);
    Val p = POLY(z, 0.1283791670955126, -0.37612638903183754, 0.11283791670955111, -0.026866170645123838,
        0.005223977625303518, -0.0008548327010033328, 0.00012055332214716276, -1.4925622504489842e-05,
        1.6461446656928561e-06, -1.6355118610877705e-07, 1.4692484859133263e-08, -1.1500357159785296e-09,
        6.174097221305255e-11);
    return fma_(x, p, x);
}

/* a from 1/2 to 28: e^(-a^2) g(t)/(1 + 2a), t = (a - 5/2)/(a + 5/2), after Shepherd and Laframboise 1981;
 * a^2 in two pieces, and what roundings took from g, from 1 + 2a and from their quotient is put back. */
static Val erfc_far(Val a)
{
    Val d = add(a, D(2.5)), t = divide(sub(a, D(2.5)), d), s = mul(a, a);
    Val first = D(1.2648381843668615);
    Val p = POLY(t, -0.1223567630824043, -0.0990245395736019, 0.1576299190232189,
        -0.10296705603856397, 0.03276089326864391, 0.0009318928171108341, -0.004382078340015637,
        0.0004918658152723041, 0.0006321243383364328, -8.847924228122094e-05, -0.00011352235847993832,
        6.265917958063991e-06, 2.2699776369656196e-05, 2.60985768625758e-06, -4.219289045747933e-06,
        -1.5887708229676225e-06, 5.330422570066342e-07, 5.402153631049041e-07, 1.984994419935073e-08,
        -1.3161653348468467e-07, -2.5062095829878343e-08, 2.0101960961267782e-08, 2.0811878178878267e-09);
    Val rest = mul(t, p), g = add(first, rest), g_low = sub(rest, sub(g, first));
    Val w = fma_(a, D(2), D(1)), w_low = sub(D(1), sub(w, add(a, a))), q = divide(g, w);
    Val low = divide(add(fma_(neg(q), w, g), fma_(neg(q), w_low, g_low)), w);
    Val e = f64_exp_pair(neg(s), neg(fma_(a, a, neg(s))));
    return fma_(e, q, mul(e, low));
}

Val f64_erf(Val x)
{
    Val a = abs_(x), far = sub(D(1), erfc_far(atleast(atmost(a, D(6)), D(0.5))));
    return sel(lt(a, D(1)), erf_near(x), copysign_(far, x));
}

Val f64_erfc(Val x)
{
    Val a = abs_(x), far = erfc_far(atleast(atmost(a, D(28)), D(0.5)));
    far = sel(lt(x, D(0)), sub(D(2), far), far);
    return sel(lt(a, D(0.5)), sub(D(1), erf_near(x)), sel(ne(x, x), x, far));
}

/* From a good start y three steps of Halley's method: f = erf(y) - |x| (or |x|'s complement against erfc,
 * where erf is near 1), f' = 2/sqrt(pi) e^(-y^2). */
Val f64_erf_inv(Val x)
{
    Val a = abs_(x);
    Val y = convert(f32_erf_inv(convert(sel(lt(a, D(0.999999)), a, D(0.999999)), DT_F32)), DT_F64);
    Val w = neg(f64_log(mul(sub(D(1), a), add(D(1), a))));      /* the far tail: its own start */
    Val l = sqrt_(sel(gt(w, D(10)), sub(w, D(0.6)), D(10)));
    Val far = sub(l, divide(f64_log(l), mul(D(2), l)));
    far = sub(far, divide(D(0.05), l));
    Val first = sel(gt(a, D(0.999999)), far, y), phi;
    math_turns(x, 3, 1, &first, &phi);
    {
        Val near = sub(erf_near(phi), a);
        Val tail = sub(sub(D(1), a), erfc_far(atleast(atmost(phi, D(28)), D(0.5))));
        Val u = mul(mul(sel(gt(a, D(0.7)), tail, near), D(0.88622692545275801365)), f64_exp(mul(phi, phi)));
        Val next = sub(phi, divide(u, fma_(phi, u, D(1))));
        k_loop_end(K, &next, &y);
    }
    Val s = sel(lt(x, D(0)), neg(y), y);
    s = sel(eq(a, D(1)), sel(lt(x, D(0)), D(-INFINITY), D(INFINITY)), s);
    return sel(eq(a, D(0)), x, sel(le(a, D(1)), s, D(NAN)));
}

/* ==================== gamma functions */

/* 0 < x < 8: u = x - n with lgamma(2 + u) = u p(u), u in -3/4 .. 1/2, plus the log of the product of the
 * factors in between, or minus the log of x or of x (x + 1) below 5/4. From 8: Stirling, (x - 1/2)(log x -
 * 1) - 1/2 + log(2 pi)/2 + q(1/x^2)/x. The logarithm is one of two pieces. */
static Val lgamma_positive(Val x)
{
    Val big = ge(x, D(8)), near = atmost(x, D(8)), n = k1(K, K_RINT, DT_F64, near);
    n = sel(lt(near, D(0.5)), D(0), sel(and(ge(near, D(1.25)), lt(near, D(1.5))), D(2), n));
    n = sel(and(ge(near, D(0.5)), lt(near, D(1.25))), D(1), n);
    Val u = sub(near, n);
    Val d = sel(eq(n, D(0)), mul(near, add(near, D(1))), sel(eq(n, D(1)), near, D(1)));
    for (int k = 3; k <= 8; k++) {
        Val factor = sub(near, D(k - 2));
        d = sel(ge(n, D(k)), k == 3 ? factor : mul(d, factor), d);
    }
    Val h, l;
    f64_log_pair(sel(big, x, d), &h, &l);
    Val p = mul(u,
        POLY(u, 0.42278433509846713, 0.3224670334241132, -0.06735230105319803, 0.020580808427784605,
            -0.007385551028681512, 0.002890510330735603, -0.0011927539113632116, 0.0005096695250613079,
            -0.00022315476626183224, 9.94575037206372e-05, -4.492613417222439e-05, 2.050735916377729e-05,
            -9.440295643329289e-06, 4.373455647232756e-06, -2.035450933367171e-06, 9.634073192949235e-07,
            -4.5855335925043413e-07, 1.8327792622502426e-07, -9.423130042125474e-08, 1.0227175181175715e-07,
            -2.4687569244652835e-09, -3.150027782334188e-08, -3.9681207194105607e-08));
    Val low = lt(n, D(2)), small = add(sel(low, neg(h), h), add(p, sel(low, neg(l), l)));
    Val i = divide(D(1), x), z = mul(i, i), from = sub(x, D(0.5));
    Val q = POLY(z, 0.0833333333333333, -0.002777777777606244, 0.0007936506649488252,
        -0.0005952025951802712, 0.0008372834512071336, -0.0016526004455595122);
    Val tail = fma_(from, l, fma_(i, q, D(0.4189385332046727)));        /* log(2 pi)/2 - 1/2 */
    return sel(big, fma_(from, sub(h, D(1)), tail), small);
}

/* |sin(pi a)| / pi: the leading term is exact. */
static Val sinpi(Val a)
{
    Val f = f64_fraction(a), z = mul(f, f);
    Val p = POLY(z, -1.6449340668482264, 0.8117424252833533, -0.1907518241220839, 0.026147847817640922,
        -0.002346081035170168, 0.00014842878972770888, -6.975851212142348e-06, 2.5303274566671434e-07,
        -7.114052818770147e-09);
    return abs_(fma_(mul(f, z), p, f));
}

/* x < 0: reflection, log(pi / |x sin(pi x)|) - lgamma(|x|). Poles, zeros and infinities give inf. */
Val f64_lgamma(Val x)
{
    Val a = abs_(x), y = lgamma_positive(a), below = lt(x, D(0));
    k_if(K, any(below));
    {
        const Val old[] = { y };
        Val s = sinpi(a), g = neg(add(f64_log(mul(a, s)), y)), out[1];
        g = sel(lt(a, D(1e-18)), y, g);
        g = sel(eq(s, D(0)), D(INFINITY), g);
        const Val new[] = { sel(below, g, y) };
        k_if_end(K, 1, new, old, out);
        y = out[0];
    }
    return sel(or(eq(a, D(INFINITY)), eq(a, D(0))), D(INFINITY), y);
}

/* From 10: log x - 1/(2x) - Bernoulli's series; i = 1/x. */
static Val digamma_series(Val x, Val i)
{
    Val z = mul(i, i);
    Val s =
        POLY(z, 1. / 12, -1. / 120, 1. / 252, -1. / 240, 1. / 132, -691. / 32760, 1. / 12, -3617. / 8160);
    return sub(sub(f64_log(x), mul(D(0.5), i)), mul(z, s));
}

/* Between 1 and 2 (x - x0) p(x - x0), where x0 = 1.46.. is the zero, in two pieces. Below 1 the same at 1 +
 * |x|, up to 10 by the recurrence, whose terms are gathered in one fraction. x < 0: psi(1 + |x|) + pi /
 * tan(pi |x|). */
Val f64_digamma(Val x)
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
    Val f = f64_fraction(a), g = abs_(f), near = gt(g, D(0.25)), h = sel(near, sub(D(0.5), g), g);
    Val tan_h = f64_tan(mul(h, D(M_PI)));
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

Val f64_trigamma(Val x)
{
    Val below = lt(x, D(0)), y = trigamma_positive(sel(below, sub(D(1), x), x));
    Val f = f64_sin(mul(f64_fraction(x), D(M_PI)));
    y = sel(below, sub(divide(D(M_PI * M_PI), mul(f, f)), y), y);
    return sel(eq(x, D(INFINITY)), D(0), y);
}
