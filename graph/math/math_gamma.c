/*
 * math_gamma.c - functions of two and three numbers that are made of gamma functions, in f32 and f64 by
 * one text: the incomplete gamma and beta functions, Hurwitz's zeta, derivatives of digamma.
 *
 * What overflows or cancels in x^a e^-x / Gamma(a) is avoided: below 10 the factors are multiplied,
 * beyond, the exponent is a phi((x - a) / a), phi(m) = m - log(1 + m), which is small where the function
 * is not. Then a series or a continued fraction, until no lane of the vector moves. Edges are JAX's.
 */
#include <math.h>
#include "math_real.h"

/* ==================== gamma functions of positive numbers */

/* 1 / Gamma(1 + t) for t in 0 .. 1: Chebyshev's series in 2t - 1 [fitted with mpmath] */
static const double rgamma[] = { 1.063773007805262, -0.004985587286840036, -0.06419254361091582,
    0.005065798640286087, 0.0004166091387096889, -8.048141249784711e-05, 2.960011775188017e-06,
    2.6897599644059546e-07, -3.3396463068683694e-08, 1.0896538645441867e-09, 5.13850186324227e-11,
    -6.600741004112952e-12, 2.4769163034825414e-13, 2.2003907817225954e-15, -6.707186064779082e-16,
    3.1317345823123396e-17 };

/* 1 / Gamma(1 + a): the factors above 1 are divided out. For a below 200. */
static Val inverse_gamma(Val a)
{
    Val phi[2], out[2];
    math_turns(a, -1, 2, (const Val[]){ a, lit(a, 1) }, phi);
    Val more = above(phi[0], 1);
    math_turn(more, 2, phi, (const Val[]){ plus(phi[0], -1), mul(phi[1], phi[0]) }, out);
    return divide(math_chebyshev(plus(times(out[0], 2), -1), is64(a) ? 16 : 10, rgamma), out[1]);
}

enum { FEW = 10 };

/* log Gamma(a) less Stirling's (a - 1/2) log a - a + log(2 pi)/2, for a >= 10 */
static Val stirling_rest(Val a)
{
    static const double c[] = { 1. / 12, -1. / 360, 1. / 1260, -1. / 1680, 1. / 1188, -691. / 360360,
        1. / 156, -3617. / 122400 };
    Val i = one_over(a);
    return mul(i, math_series(mul(i, i), is64(a) ? 8 : 4, c));
}

/* The same for any a > 0. */
static Val stirling_rest_of_any(Val a)
{
    Val few = below(a, FEW), low = sel(few, a, lit(a, 1));
    Val l =
        sub(sub(low, mul(plus(low, 0.5), log_(low))), plus(log_(inverse_gamma(low)), 0.91893853320467274));
    return sel(few, l, stirling_rest(sel(few, lit(a, FEW), a)));
}

static Val lgamma_(Val x) { return math_function(OP_lgamma, 1, &x); }

/* Gamma has one: 0, -1, -2 ... */
static Val pole(Val x) { return and(le(x, lit(x, 0)), eq(floor_(x), x)); }

/* log B(a, b). With few a and b by their gamma functions; else, a being the smaller, log Gamma(a) and
 * log (Gamma(b) / Gamma(a + b)) by Stirling's formula, in which what is large cancels on paper. */
Val math_betaln(Val x, Val y)
{
    Val less = lt(x, y), a = sel(less, x, y), b = sel(less, y, x),
        big = and(ge(b, lit(b, FEW)), ge(add(a, b), lit(b, FEW)));
    Val few = and(above(a, 0), below(b, FEW)), c = sel(big, b, lit(b, FEW)), d = sel(big, a, lit(a, 1)),
        s = add(c, d);
    Val l = log1p_(divide(d, c)), rest = sub(stirling_rest(c), stirling_rest(s));
    Val ratio = sub(sub(rest, mul(plus(c, -0.5), l)), mul(d, plus(log_(s), -1)));
    ratio = sel(and(is(s, INFINITY), below(c, INFINITY)), lit(x, -INFINITY), ratio);
    Val alone = lgamma_(sel(is(ratio, -INFINITY), lit(a, 1), a));
    ratio = add(alone, sel(big, ratio, sub(lgamma_(b), lgamma_(add(a, b)))));
    Val e = sel(few, a, lit(a, 1)), f = sel(few, b, lit(b, 1)), t = add(e, f);
    Val tiny = below(f, 0x1p-60), big_f = sel(tiny, times(f, 0x1p60), f);
    Val direct =
        mul(mul(inverse_gamma(e), divide(e, mul(t, inverse_gamma(t)))), mul(inverse_gamma(f), big_f));
    direct = sub(sel(tiny, lit(f, 60 * 0.69314718055994531), lit(f, 0)), log_(direct));
    ratio = sel(few, direct, ratio);
    ratio = sel(or(pole(a), pole(b)), lit(x, INFINITY), ratio);
    return sel(or(is_nan(x), is_nan(y)), lit(x, NAN), ratio);
}

/* m - log(ratio), where ratio = 1 + m. Near 0, with s = m/(2 + m): s m - 2 s^3 (1/3 + s^2/5 + s^4/7 ...). */
static Val phi_of(Val m, Val ratio)
{
    double c[18];
    for (int k = 0; k < 18; k++)
        c[k] = 2.0 / (2 * k + 3);
    Val near = and(above(m, -0.5), below(m, 1)), s = divide(m, plus(m, 2)), z = mul(s, s);
    z = sel(near, z, lit(m, 0));
    Val sum = mul(s, sub(m, mul(z, math_series(z, is64(m) ? 18 : 9, c))));
    return sel(near, sum, sub(m, log_(ratio)));
}

/* ==================== the incomplete gamma function */

/* x^a e^-x / Gamma(a + 1) */
static Val front_of_gamma(Val a, Val x)
{
    Val few = below(a, FEW), low = sel(few, a, lit(a, 1)),
        y = sel(few, atmost(x, lit(x, is64(x) ? 1500 : 300)), lit(x, 1));
    Val half = exp_(times(y, -0.5)), direct = mul(mul(mul(pow_(y, low), half), inverse_gamma(low)), half);
    Val high = sel(few, lit(a, FEW), a), z = sel(few, high, x), m = divide(sub(z, high), high);
    Val e = exp_(neg(add(mul(high, phi_of(m, divide(z, high))), stirling_rest(high))));
    return sel(few, direct, divide(e, sqrt_(times(high, 6.28318530717958648))));
}

/* 1 + x/(a + 1) + x^2/((a + 1)(a + 2)) + ... */
static Val gamma_series(Val a, Val x)
{
    Val phi[3], out[3], one = lit(a, 1);
    math_turns(add(a, x), -1, 3, (const Val[]){ a, one, one }, phi);
    Val r = plus(phi[0], 1), t = divide(mul(phi[1], x), r), go = gt(phi[1], times(phi[2], unit_of(a)));
    math_turn(go, 3, phi, (const Val[]){ r, t, add(phi[2], t) }, out);
    return out[2];
}

/* 1/(x + 1 - a - 1 (1 - a)/(x + 3 - a - 2 (2 - a)/(...))), x > a, by Lentz's method */
static Val gamma_fraction(Val a, Val x)
{
    double tiny = is64(a) ? 1e-290 : 1e-30;
    Val b0 = plus(sub(x, a), 1), like = add(a, x), phi[6], out[6];
    Val d0 = one_over(b0), one = lit(a, 1);
    math_turns(
        like, -1, 6, (const Val[]){ one, b0, lit(a, 1 / tiny), d0, d0, one }, phi); /* k b c d h moved */
    Val an = mul(phi[0], sub(a, phi[0])), b = plus(phi[1], 2);
    Val den = fma_(an, phi[3], b), d = one_over(sel(is(den, 0), lit(a, tiny), den));
    Val num = add(b, divide(an, phi[2])), c = sel(is(num, 0), lit(a, tiny), num), by = mul(c, d);
    math_turn(above(phi[5], 2 * unit_of(a)), 6, phi,
        (const Val[]){ plus(phi[0], 1), b, c, d, mul(phi[4], by), abs_(plus(by, -1)) }, out);
    return out[4];
}

/* Temme's uniform expansion: Q = erfc(e sqrt(a/2))/2 + exp(-a e^2/2)/sqrt(2 pi a) (c0(e) + c1(e)/a), e^2/2
 * = phi(x/a - 1). From such an a on, e is small where Q is neither 0 nor 1. */
static double many(Val a) { return is64(a) ? 1e6 : 1e3; }

static Val gamma_uniform(Val a, Val x, bool upper)
{
    static const double c0[] = { -1. / 3, 1. / 12, -2. / 135, 1. / 864, 1. / 2835, -139. / 777600,
        1. / 25515 };
    static const double c1[] = { -1. / 540, -1. / 288, 1. / 378 };
    Val m = divide(sub(x, a), a), f = phi_of(m, divide(x, a)), e = copysign_(sqrt_(times(f, 2)), m);
    Val s = mul(copysign_(sqrt_(mul(f, a)), m), lit(a, upper ? 1 : -1)), half = times(erfc_(s), 0.5);
    Val near = atleast(atmost(e, lit(e, 0.5)), lit(e, -0.5));
    Val r = add(math_series(near, 7, c0), divide(math_series(near, 3, c1), a));
    r = mul(r, divide(exp_(neg(mul(f, a))), sqrt_(times(a, 6.28318530717958648))));
    return upper ? add(half, r) : sub(half, r);
}

static Val incomplete_gamma(Val a, Val x, bool upper)
{
    Val good = and(and(above(a, 0), below(a, INFINITY)), and(above(x, 0), below(x, INFINITY)));
    Val large = above(a, many(a)), own = and(good, not(large)), high = and(own, and(above(x, 1), gt(x, a)));
    Val a1 = sel(own, a, lit(a, 1)), x1 = sel(own, x, lit(x, 1)), front = front_of_gamma(a1, x1);
    Val p = mul(front, gamma_series(a1, sel(high, lit(x, 0), x1)));
    Val q = mul(mul(front, a1), gamma_fraction(sel(high, a1, lit(a, 1)), sel(high, x1, lit(x, 2))));
    Val far = gamma_uniform(sel(large, a, lit(a, 1e6)), sel(and(good, large), x, lit(x, 1e6)), upper);
    Val one = lit(a, 1),
        y = upper ? sel(high, q, atleast(sub(one, p), lit(a, 0))) : sel(high, sub(one, q), atmost(p, one));
    y = sel(and(good, large), far, y);
    Val none = or(is(x, INFINITY), is(a, 0));
    y = sel(is(x, 0), lit(x, upper ? 1 : 0), sel(none, lit(x, upper ? 0 : 1), y));
    Val bad = or(or(below(x, 0), below(a, 0)), and(is(a, 0), is(x, 0)));
    bad = or(bad, and(is(a, INFINITY), and(above(x, 0), below(x, INFINITY))));
    bad = or(bad, or(is_nan(a), is_nan(x)));
    return sel(bad, lit(a, NAN), y);
}

Val math_igamma(Val a, Val x) { return incomplete_gamma(a, x, false); }
Val math_igammac(Val a, Val x) { return incomplete_gamma(a, x, true); }

/* ==================== the incomplete beta function */

/* a phi(t/a), where t = x b - (1 - x) a, all = x (a + b) */
static Val part_of_beta(Val a, Val t, Val all)
{
    Val most = lit(a, 1e20), near = mul(a, phi_of(atmost(divide(t, a), most), atmost(divide(all, a), most)));
    return sel(ge(divide(t, a), most), sub(t, mul(a, sub(log_(all), log_(a)))), near);
}

/* x^a (1 - x)^b / (a B(a, b)), y = 1 - x */
static Val front_of_beta(Val a, Val b, Val x, Val y)
{
    Val few = and(below(a, FEW), below(b, FEW)), one = lit(a, 1);
    Val a1 = sel(few, a, one), b1 = sel(few, b, one), s1 = add(a1, b1);
    Val g = divide(mul(mul(inverse_gamma(a1), inverse_gamma(b1)), b1), mul(inverse_gamma(s1), s1));
    Val direct = mul(mul(pow_(x, a1), g), pow_(y, b1));
    Val s = add(a, b), t = sub(mul(x, b), mul(y, a));
    Val rest = sub(stirling_rest_of_any(s), add(stirling_rest_of_any(a), stirling_rest_of_any(b)));
    Val e = exp_(sub(rest, add(part_of_beta(a, t, mul(x, s)), part_of_beta(b, neg(t), mul(y, s)))));
    Val root = sqrt_(divide(divide(b, s), times(a, 6.28318530717958648)));
    return sel(few, direct, mul(e, root));
}

/* The fraction of DLMF 8.17.22 by Lentz's method, two steps a turn; x < (a + 1)/(a + b + 2). */
static Val beta_fraction(Val a, Val b, Val x)
{
    double tiny = is64(a) ? 1e-290 : 1e-30;
    Val one = lit(a, 1), s = add(a, b), like = add(s, x), phi[5], out[5];
    Val first = sub(one, divide(mul(s, x), plus(a, 1))),
        d0 = one_over(sel(is(first, 0), lit(a, tiny), first));
    math_turns(like, -1, 5, (const Val[]){ one, one, d0, d0, one }, phi); /* m c d h moved */
    Val m = phi[0], c = phi[1], d = phi[2], h = phi[3], twice = add(m, m), by = one;
    for (int odd = 0; odd < 2; odd++) {
        Val even_part = mul(divide(m, plus(add(a, twice), -1)), divide(mul(sub(b, m), x), add(a, twice)));
        Val odd_part =
            mul(divide(add(a, m), add(a, twice)), divide(mul(add(s, m), x), plus(add(a, twice), 1)));
        Val aa = odd ? neg(odd_part) : even_part;
        Val den = fma_(aa, d, one), num = add(one, divide(aa, c));
        d = one_over(sel(is(den, 0), lit(a, tiny), den)), c = sel(is(num, 0), lit(a, tiny), num);
        by = mul(c, d), h = mul(h, by);
    }
    math_turn(and(above(phi[4], 2 * unit_of(a)), below(m, 20000)), 5, phi,
        (const Val[]){ plus(m, 1), c, d, h, abs_(plus(by, -1)) }, out);
    return out[3];
}

Val math_betainc(Val a, Val b, Val x)
{
    Val no_a = or(is(a, 0), is(b, INFINITY)), no_b = or(is(b, 0), is(a, INFINITY)), zero = is(x, 0),
        all = is(x, 1);
    Val good = and(and(above(x, 0), below(x, 1)), and(and(above(a, 0), above(b, 0)), not(or(no_a, no_b))));
    Val half = lit(x, 0.5), a0 = sel(good, a, half), b0 = sel(good, b, half), x0 = sel(good, x, half);
    Val y0 = sub(lit(x, 1), x0);
    Val swap = ge(x0, divide(plus(a0, 1), plus(add(a0, b0), 2)));
    Val a1 = sel(swap, b0, a0), b1 = sel(swap, a0, b0), x1 = sel(swap, y0, x0), y1 = sel(swap, x0, y0);
    Val r = mul(front_of_beta(a1, b1, x1, y1), beta_fraction(a1, b1, x1));
    r = sel(swap, sub(lit(x, 1), r), r);
    Val mean = one_over(plus(divide(b0, a0), 1)); /* where a + b overflows: a step */
    r = sel(
        below(add(a0, b0), INFINITY), r, sel(lt(x0, mean), lit(x, 0), sel(gt(x0, mean), lit(x, 1), half)));
    r = sel(or(zero, no_b), lit(x, 0), r);
    r = sel(or(or(all, and(no_a, not(zero))), and(no_b, all)), lit(x, 1), r);
    Val bad = or(or(below(a, 0), below(b, 0)), or(below(x, 0), above(x, 1)));
    bad = or(or(bad, and(no_a, no_b)), or(or(is_nan(a), is_nan(b)), is_nan(x)));
    return sel(bad, lit(x, NAN), r);
}

/* ==================== dx/da, where P(a, x) stays: how a number drawn from the gamma distribution moves
 * with its shape
 * dP/da and dP/dx by the series, or by the fraction, each differentiated step by step until the derivative
 * stays (Figurnov, Mohamed and Mnih 2018; Moore 1982). For a large a by an expansion. */

/* carry: a + n, the term, the sum, the derivatives of both by a */
static Val slope_by_series(Val a, Val x)
{
    Val phi[5], out[5], zero = lit(a, 0), one = lit(a, 1);
    math_turns(add(a, x), -1, 5, (const Val[]){ a, one, one, zero, zero }, phi);
    Val r = plus(phi[0], 1), by = divide(x, r), term = mul(phi[1], by);
    Val slope = sub(mul(phi[3], by), divide(mul(phi[1], by), r));
    Val more = or(gt(abs_(slope), times(abs_(phi[4]), unit_of(a))), gt(term, times(phi[2], unit_of(a))));
    math_turn(more, 5, phi, (const Val[]){ r, term, add(phi[2], term), slope, add(phi[4], slope) }, out);
    Val outer = sub(log_(x), math_function(OP_digamma, 1, (const Val[]){ plus(a, 1) }));
    Val less = below(a, 1), y = neg(mul(add(out[4], mul(out[2], outer)), sel(less, divide(x, a), x)));
    return sel(less, y, divide(y, a));
}

/* carry: the step; numerators and denominators before last and last, their derivatives by a; the quotient,
 * its derivative, and how far that moved */
enum { TURN, P2, Q2, P1, Q1, DP2, DQ2, DP1, DQ1, QUOTIENT, SLOPE, MOVED, PARTS };

static Val slope_by_fraction(Val a, Val x)
{
    Val one = lit(a, 1), zero = lit(a, 0), y0 = sub(one, a), z0 = add(add(x, y0), one);
    Val p0 = one_over(x), p1 = plus(p0, 1), i0 = one_over(z0), r0 = mul(p1, i0), s0 = mul(r0, i0);
    Val v[PARTS], out[PARTS], next[PARTS];
    math_turns(add(a, x), -1, PARTS,
        (const Val[]){ zero, mul(p0, i0), i0, r0, one, zero, zero, zero, neg(i0), r0, s0, one }, v);
    Val n = plus(v[TURN], 1), y = add(y0, n), z = add(z0, add(n, n)), yn = mul(y, n);
    Val p = sub(mul(v[P1], z), mul(v[P2], yn)), q = sub(mul(v[Q1], z), mul(v[Q2], yn));
    Val dp = add(sub(sub(mul(v[DP1], z), v[P1]), mul(v[DP2], yn)), mul(v[P2], n));
    Val dq = add(sub(sub(mul(v[DQ1], z), v[Q1]), mul(v[DQ2], yn)), mul(v[Q2], n));
    Val none = is(q, 0), r = sel(none, v[QUOTIENT], divide(p, q));
    Val slope = sel(none, v[SLOPE], divide(sub(dp, mul(r, dq)), q));
    Val size = abs_(q), scale = sel(above(size, 0x1p23), one_over(size), one);
    const Val both[] = { v[P1], v[Q1], p, q, v[DP1], v[DQ1], dp, dq };
    for (int k = 0; k < 8; k++)
        next[P2 + k] = mul(both[k], scale);
    next[TURN] = n, next[QUOTIENT] = r, next[SLOPE] = slope;
    next[MOVED] = sel(none, one, abs_(sub(slope, v[SLOPE])));
    math_turn(and(above(v[MOVED], 2 * unit_of(a)), below(v[TURN], 2000)), PARTS, v, next, out);
    Val outer = sub(log_(x), math_function(OP_digamma, 1, &a));
    return mul(add(out[SLOPE], mul(out[QUOTIENT], outer)), x);
}

/* For a large a by Temme's expansion: with l = x/a, m = l - 1, e^2/2 = phi(m), what makes Q stay is
 * dx/da = l (1 - g (g e/2 + c0(e)/(2a)) / (g - c0'(e)/a)), g = e/m = 1 + e c0(e). Where e is
 * not small, c0 = 1/m - 1/e is put in, and what cancels is left out. */
static Val slope_by_uniform(Val a, Val x)
{
    static const double c0[] = { -1. / 3, 1. / 12, -2. / 135, 1. / 864, 1. / 2835, -139. / 777600,
        1. / 25515 };
    double d0[6];
    for (int k = 0; k < 6; k++)
        d0[k] = (k + 1) * c0[k + 1];
    Val l = divide(x, a), m = divide(sub(x, a), a), f = phi_of(m, l), e = copysign_(sqrt_(add(f, f)), m);
    Val near = below(abs_(e), 0.3), en = sel(near, e, lit(e, 0)), mf = sel(near, lit(e, 1), m);
    Val c = math_series(en, 7, c0), d = math_series(en, 6, d0), g = fma_(en, c, lit(e, 1)), i = one_over(a);
    Val top = mul(g, times(fma_(g, en, mul(c, i)), 0.5)), low = sub(g, mul(d, i));
    Val by = divide(l, mf), rest = sub(lit(a, 1), times(mul(by, divide(f, mf)), 2));
    Val far = mul(by, sub(log_(l), times(mul(rest, i), 0.5)));
    return sel(is(l, 0), l, sel(near, mul(l, sub(lit(a, 1), divide(top, low))), far));
}

Val math_random_gamma_grad(Val a, Val x)
{
    Val good = and(and(above(a, 0), below(a, INFINITY)), and(above(x, 0), below(x, INFINITY)));
    Val large = above(a, is64(a) ? 1e5 : 200), own = and(good, not(large)),
        high = and(own, and(above(x, 1), gt(x, a)));
    Val a1 = sel(own, a, lit(a, 1)), x1 = sel(own, x, lit(x, 1));
    Val low = slope_by_series(a1, sel(high, lit(x, 1), x1));
    Val up = slope_by_fraction(sel(high, a1, lit(a, 1)), sel(high, x1, lit(x, 2)));
    Val y = sel(large, slope_by_uniform(sel(large, a, lit(a, 1)), x), sel(high, up, low));
    y = sel(good, y, lit(a, NAN));
    return sel(and(is(x, 0), above(a, 0)), lit(a, 0), y);
}

/* ==================== Hurwitz's zeta function */

/* (q + k)^-s, or in units of q^-s */
static Val zeta_term(Val s, Val q, Val k, bool scaled)
{
    return scaled ? exp_(neg(mul(s, log1p_(divide(k, q))))) : pow_(add(q, k), neg(s));
}

/* The sum of terms over k >= 0, q > 0, s > 1: a few, then the formula of Euler and Maclaurin. */
static Val zeta_sum(Val s, Val q, bool scaled)
{
    static const double bernoulli[] = { 1. / 12, -1. / 720, 1. / 30240, -1. / 1209600, 1. / 47900160,
        -691. / 1307674368000., 1. / 74724249600., -3617. / 10670622842880000.,
        43867. / 5109094217170944000., -174611. / 802857662698291200000. };
    int terms = is64(s) ? 10 : 6;
    Val a = plus(q, terms), one = lit(s, 1), low = divide(one, a), z = mul(low, low);
    Val t = zeta_term(sub(s, one), q, lit(q, terms), scaled); /* in units of q^(1 - s) */
    t = scaled ? mul(t, q) : t;
    Val factor = mul(s, low), rest = lit(s, 0);
    for (int k = 0; k < terms; k++) {
        rest = fma_(factor, lit(s, bernoulli[k]), rest);
        factor = mul(factor, mul(mul(plus(s, 2 * k + 1), plus(s, 2 * k + 2)), z));
    }
    Val tail = mul(t, fma_(plus(rest, 0.5), low, divide(one, sub(s, one))));
    Val phi[2], out[2];
    math_turns(add(s, q), terms, 2, (const Val[]){ lit(q, terms - 1), sel(is(t, 0), lit(s, 0), tail) }, phi);
    Val sum = add(phi[1], zeta_term(s, q, phi[0], scaled));
    k_loop_end(K, (const Val[]){ plus(phi[0], -1), sum }, out);
    return out[1];
}

static Val zeta_positive(Val s, Val q) { return zeta_sum(s, q, false); }

static Val even(Val n) { return eq(floor_(times(n, 0.5)), times(n, 0.5)); }

/* Below 0, and there is a sum for whole s only, the terms on both sides of 0 are sums of their own:
 * zeta(s, 1 - f) and zeta(s, f) - zeta(s, 1 - q), where f is how far the last negative q + n is below 0. */
Val math_zeta(Val s, Val q)
{
    Val negative = below(q, 0), whole = eq(floor_(s), s), at_pole = pole(q);
    Val good = and(and(above(s, 1), below(s, INFINITY)), and(not(at_pole), below(abs_(q), INFINITY)));
    Val f = sub(neg(floor_(neg(q))), q), part = and(good, negative), s1 = sel(good, s, lit(s, 2));
    Val y = zeta_positive(s1, sel(part, sub(lit(q, 1), f), sel(good, q, lit(q, 1))));
    k_if(K, any(part));
    {
        const Val old[] = { y };
        Val down = zeta_positive(s1, sel(part, f, lit(q, 1)));
        Val rest = zeta_positive(s1, sel(part, sub(lit(q, 1), q), lit(q, 1)));
        Val both = sel(even(s1), sub(add(y, down), rest), add(sub(y, down), rest));
        const Val new[] = { sel(part, both, y) };
        k_if_end(K, 1, new, old, &y);
    }
    y = sel(and(negative, or(not(whole), is(s, INFINITY))), lit(s, NAN), y);
    y = sel(at_pole, sel(and(whole, even(s)), lit(s, INFINITY), lit(s, NAN)), y);
    Val over = and(is(s, INFINITY), above(q, 0)),
        past = sel(below(q, 1), lit(s, INFINITY), sel(is(q, 1), lit(s, 1), lit(s, 0)));
    y = sel(over, past, sel(and(is(q, INFINITY), above(s, 1)), lit(s, 0), y));
    y = sel(is(q, -INFINITY), lit(s, NAN), y);
    y = sel(is(s, 1), lit(s, INFINITY), sel(below(s, 1), lit(s, NAN), y));
    return sel(or(is_nan(s), is_nan(q)), lit(s, NAN), y);
}

/* x^-(n + 1) n! times what zeta is in units of x^-(n + 1). Of a large n by logarithms. */
static Val polygamma_positive(Val n, Val x)
{
    Val z = zeta_sum(plus(n, 1), x, true), few = below(n, 20.5), phi[2], out[2], l = plus(n, 1);
    math_turns(add(n, x), -1, 2, (const Val[]){ sel(few, n, lit(n, 0)), divide(z, x) }, phi);
    math_turn(
        above(phi[0], 0), 2, phi, (const Val[]){ plus(phi[0], -1), mul(phi[1], divide(phi[0], x)) }, out);
    Val g = lgamma_(l), y = exp_(sub(add(log_(z), g), mul(l, log_(x))));
    y = sel(is(g, INFINITY), sel(lt(x, n), g, lit(x, 0)), y);
    return sel(few, out[1], y);
}

/* (-1)^(n + 1) n! zeta(n + 1, x); digamma for n = 0. Below 0 up to n = 20. */
Val math_polygamma(Val n, Val x)
{
    Val good = and(eq(floor_(n), n), and(above(n, 0), below(n, INFINITY))),
        up = and(above(x, 0), below(x, INFINITY));
    Val n1 = sel(good, n, lit(n, 1)), y = polygamma_positive(n1, sel(up, x, lit(x, 1))),
        low = le(x, lit(x, 0));
    k_if(K, any(low));
    {
        const Val old[] = { y };
        Val l = plus(n1, 1), z = math_zeta(l, sel(low, x, lit(x, -0.5)));
        const Val new[] = { sel(low, mul(exp_(lgamma_(l)), z), y) };
        k_if_end(K, 1, new, old, &y);
    }
    y = sel(or(up, low), y, sel(is(x, INFINITY), lit(x, 0), lit(x, NAN)));
    y = sel(even(n1), neg(y), y);
    y = sel(and(low, above(n, 20)), lit(n, NAN), y);
    y = sel(good, y, sel(is(n, 0), math_function(OP_digamma, 1, &x), lit(n, NAN)));
    return sel(or(is_nan(n), is_nan(x)), lit(n, NAN), y);
}
