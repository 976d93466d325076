/*
 * math_integral.c - functions that are integrals, in f32 and f64 by one text: Bessel's, the exponential
 * integral, Spence's function, the normal distribution's logarithm and quantile; and products with
 * logarithms.
 *
 * Each is a series or a fraction whose steps are counted for the dtype, around exp, log and erfc of that
 * dtype. Sums have terms of one sign where they can, so what is lost is a rounding a step.
 */
#include <math.h>
#include "math_real.h"

/* ==================== modified Bessel functions, times exp(-|x|)
 * Up to 8 the power series, sum (x^2/4)^k / (k! (k + order)!), all of one sign. From there sqrt(x) times
 * the function is smooth in 1/x: Chebyshev's series in 16/x - 1 [fitted with mpmath]. */

static const double i0_large[] = { 0.4022452055070544, 0.0033691164782556943, 6.889758346916825e-05,
    2.8913705208347567e-06, 2.0489185894690638e-07, 2.266668990498178e-08, 3.3962320257083865e-09,
    4.94060238822497e-10, 1.1889147107846439e-11, -3.1499165279632416e-11, -1.3215811840447713e-11,
    -1.7941785315068062e-12, 7.180124451383666e-13, 3.8527783827421426e-13, 1.54008621752141e-14,
    -4.150569347287222e-14, -9.554846698828307e-15, 3.8116806693526224e-15, 1.7725601330565263e-15,
    -3.425485619677219e-16, -2.8276239805165836e-16, 3.461222867697461e-17, 4.46562142029676e-17,
    -4.830504485944182e-18, -7.233180487874754e-18, 9.921475412173699e-19, 1.193650890845982e-18 };

static const double i1_large[] = { 0.38928811750914005, -0.009761097491361469, -0.00011058893876262371,
    -3.882564808877691e-06, -2.512236237870209e-07, -2.6314688468895196e-08, -3.835380385964237e-09,
    -5.589743462196584e-10, -1.8974958123505413e-11, 3.2526035830154884e-11, 1.4125807436613782e-11,
    2.0356285441470896e-12, -7.198551776245908e-13, -4.0835511110921974e-13, -2.1015418427726643e-14,
    4.272440016711951e-14, 1.0420276984128802e-14, -3.8144030724370075e-15, -1.8803547755107825e-15,
    3.3082023109209285e-16, 2.96262899764595e-16, -3.209525921993424e-17, -4.6503053684893586e-17,
    4.414348323071708e-18, 7.517296310842105e-18, -9.314178867326884e-19, -1.242193275194891e-18 };

enum { POWERS = 28 };

static Val bessel(Val x, int order, const double *large)
{
    bool wide = is64(x);
    double c[POWERS], term = 1;
    for (int k = 0; k < POWERS; k++, term /= (double)k * (k + order))
        c[k] = term;
    Val a = abs_(x), low = atmost(a, lit(x, 8)), y = times(mul(low, low), 0.25);
    Val small = mul(math_series(y, wide ? POWERS : 18, c), exp_(neg(low)));
    if (order)
        small = mul(small, times(low, 0.5));
    Val high = atleast(a, lit(x, 8)), t = plus(divide(lit(x, 16), high), -1);
    Val big = divide(math_chebyshev(t, wide ? 27 : 8, large), sqrt_(high));
    return sel(above(a, 8), big, small);
}

Val math_bessel_i0e(Val x) { return bessel(x, 0, i0_large); }
Val math_bessel_i1e(Val x) { return copysign_(bessel(x, 1, i1_large), x); }

/* ==================== the exponential integral */

#define EULER 0.57721566490153286061

/* euler + log |x| + sum x^k / (k k!), where x <= high. x < 0: for x >= -1 only. */
static Val ei_series(Val x)
{
    Val init[] = { lit(x, 1), x, x }, phi[3], out[3]; /* k, x^k / k!, the sum */
    math_turns(x, -1, 3, init, phi);
    Val k = plus(phi[0], 1), term = divide(mul(phi[1], x), k), part = divide(term, k);
    Val go = gt(abs_(part), times(abs_(phi[2]), is64(x) ? 0x1p-54 : 0x1p-25));
    math_turn(go, 3, phi, (const Val[]){ k, term, add(phi[2], part) }, out);
    return add(out[2], plus(log_(abs_(x)), EULER));
}

/* e^x / x (1 + 1/x (1 + 2/x (1 + ...))), of which terms become smaller up to the x-th */
static Val ei_asymptotic(Val x)
{
    Val i = divide(lit(x, 1), x), s = lit(x, 1), half = exp_(times(x, 0.5));
    for (int k = is64(x) ? 40 : 20; k > 0; k--)
        s = fma_(times(i, k), s, lit(x, 1));
    return mul(mul(mul(half, i), s), half);
}

/* E1(y) = e^-y / (y + 1/(1 + 1/(y + 2/(1 + 2/(y + ...))))), here contracted to y + 1 - 1/(y + 3 - 4/(y + 5
 * - ...)), from its end */
static Val e1_fraction(Val y)
{
    int n = is64(y) ? 90 : 24;
    Val init[] = { plus(y, 2 * n + 1), lit(y, n) }, phi[2], out[2];
    math_turns(y, n, 2, init, phi);
    Val b = plus(add(y, add(phi[1], phi[1])), -1);
    k_loop_end(K, (const Val[]){ sub(b, divide(mul(phi[1], phi[1]), phi[0])), plus(phi[1], -1) }, out);
    return divide(exp_(neg(y)), out[0]);
}

Val math_expi(Val x)
{
    double far = is64(x) ? 40 : 20;
    Val a = abs_(x), fraction = below(x, -1), asymptotic = above(x, far);
    Val y = ei_series(sel(or(or(fraction, asymptotic), ne(x, x)), lit(x, 1), x));
    y = sel(fraction, neg(e1_fraction(sel(fraction, a, lit(x, 2)))), y);
    y = sel(asymptotic, ei_asymptotic(sel(asymptotic, x, lit(x, far))), y);
    y = sel(is(x, INFINITY), x, sel(is(x, -INFINITY), lit(x, -0.0), y));
    return sel(is(a, 0), lit(x, -INFINITY), sel(ne(x, x), x, y));
}

/* ==================== Spence's function, Li2(1 - x)
 * With u = -log(1 - z), Li2(z) = u - u^2/4 + sum B_2k u^(2k+1) / (2k+1)!. Below 1/2 by pi^2/6 - log x
 * log(1 - x) - Li2(x), from 2 on by -f(1/x) - log^2(x)/2. */
static Val li2(Val u)
{
    static const double c[] = { 1. / 36, -1. / 3600, 1. / 211680, -1. / 10886400, 1. / 526901760,
        -691. / 16999766784000., 1. / 1120863744000., -3617. / 181400588328960000. };
    Val v = mul(u, u), s = mul(mul(u, v), math_series(v, is64(u) ? 8 : 4, c));
    return add(u, sub(s, times(v, 0.25)));
}

Val math_spence(Val x)
{
    Val over = above(x, 2), one = lit(x, 1), z = sel(over, divide(one, x), x), low = below(z, 0.5);
    Val l = log_(sel(is(z, 0), one, z)), m = log1p_(neg(sel(low, z, lit(x, 0.25))));
    Val near = sel(low, sub(plus(neg(mul(l, m)), 1.6449340668482264), li2(neg(m))), li2(sub(lit(x, 0), l)));
    Val y = sel(over, sub(times(mul(l, l), -0.5), near), near);
    y = sel(is(x, INFINITY), lit(x, -INFINITY), y);
    return sel(below(x, 0), lit(x, NAN), sel(ne(x, x), x, y));
}

/* ==================== the normal distribution */

static const double normal_tail[] = { -0.4792814894092103, 0.4159997294006325, -0.07066795438503945,
    0.018860822867904498, -0.004240652986919181, 0.0012205228780947353, -0.00029666782839007374,
    9.217101877108418e-05, -2.3267023911346925e-05, 7.738928835984503e-06, -1.9596457795728615e-06,
    6.9461410639451e-07, -1.71323689125212e-07, 6.53184567429544e-08, -1.5243397054266215e-08,
    6.38391061434584e-09, -1.357977958468033e-09, 6.464957994160486e-10, -1.1869115489954818e-10,
    6.783121961544625e-11, -9.837245555376551e-12, 7.387396700616352e-12, -7.145718876512594e-13,
    8.374340287834607e-13, -3.322844383281948e-14, 9.906041498822454e-14, 2.3292774369074652e-15,
    1.224208956234429e-14, 1.0873613824920942e-15, 1.5791947479568554e-15, 2.395346420377356e-16,
    2.1198938938569967e-16, 4.413118946378042e-17, 2.947419677001426e-17, 7.542504895156862e-18,
    4.221021664804179e-18, 1.2416361750871396e-18 };

/* The quantile. Between 1/4 and 3/4 by erf_inv, where 2p - 1 is exact; beyond, w = sqrt(-2 log p) and what
 * is wrong with it, by Chebyshev's series in (w - 6)/(w + 6) [fitted with mpmath]. */
Val math_ndtri(Val p)
{
    Val up = above(p, 0.75), q = sel(up, sub(lit(p, 1), p), p), tail = below(q, 0.25);
    Val arg = plus(sel(tail, lit(p, 0), add(p, p)), -1);
    Val mid =
        times(math_function(OP_erf_inv, 1, (const Val[]){ sel(tail, lit(p, 0), arg) }), 1.41421356237309505);
    Val w = sqrt_(times(log_(sel(and(tail, above(q, 0)), q, lit(p, 0.25))), -2));
    Val v = divide(plus(w, -6), plus(w, 6));
    const double lo = -0.5655844810023078, hi = 0.7315436241610738;
    Val t = plus(times(plus(v, -lo), 2 / (hi - lo)), -1);
    Val z = add(w, math_chebyshev(t, is64(p) ? 37 : 18, normal_tail));
    z = sel(is(q, 0), lit(p, INFINITY), z);
    z = sel(tail, sel(up, z, neg(z)), mid);
    return sel(and(ge(p, lit(p, 0)), le(p, lit(p, 1))), z, lit(p, NAN));
}

/* log of the distribution function. Far below 0 by log erfc's asymptotic series. */
Val math_log_ndtr(Val x)
{
    static const double c[] = { 1, -1, 3, -15, 105, -945, 10395, -135135, 2027025, -34459425, 654729075 };
    bool wide = is64(x);
    double far = wide ? -20 : -10;
    Val a = abs_(x), near_a = sel(below(x, far), lit(x, -far), atmost(a, lit(x, 40))),
        arg = times(near_a, 0.70710678118654752);
    Val rest = fma_(near_a, lit(x, 0.70710678118654752), neg(arg)); /* what rounding took */
    rest = fma_(near_a, lit(x, wide ? -4.8336466567264567e-17 : 1.21016175e-08), rest);
    Val half = mul(rest, times(exp_(neg(mul(arg, arg))), 1.12837916709551257));
    half = times(sub(erfc_(arg), half), 0.5);
    Val low = below(x, 0);
    Val near = log_(sel(low, half, lit(x, 1))), y = sel(low, near, log1p_(neg(half)));
    Val b = sel(below(x, far), a, lit(x, -far)), i = divide(lit(x, 1), b), z = mul(i, i);
    Val s = log_(mul(math_series(z, wide ? 11 : 7, c), i));
    Val tail = add(plus(s, -0.91893853320467274), neg(mul(times(b, 0.5), b)));
    return sel(below(x, far), sel(is(x, -INFINITY), x, tail), y);
}

/* ==================== x log y, where 0 times anything is 0 */

static Val product(Val x, Val l) { return sel(is(x, 0), lit(x, 0), mul(x, l)); }
Val math_xlogy(Val x, Val y) { return product(x, log_(y)); }
Val math_xlog1py(Val x, Val y)                  /* a library's log1p may lose denormals */
{
    return product(x, sel(below(abs_(y), 0x1p-60), y, log1p_(y)));
}
Val math_entr(Val x) { return sel(below(x, 0), lit(x, -INFINITY), product(neg(x), log_(x))); }
