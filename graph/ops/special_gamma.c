/*
 * special_gamma.c - functions of two and three real numbers that are made of gamma functions.
 *
 * In and out: long double, correct to some digits beyond double. Values at edges are JAX's, but where JAX
 * has nan and a limit exists (zeta and polygamma at infinity).
 */
#define _GNU_SOURCE /* lgammal_r */
#include <math.h>

#include "element.h"

#define PI 3.14159265358979323846264338327950288L
#define EPS 1e-20L

/* ==================== gamma functions of positive numbers */

static long double log_gamma(long double x)
{
    int sign;
    return lgammal_r(x, &sign);
}

/* log Gamma(a) less (a - 1/2) log a - a + log(2 pi)/2: Stirling's series from 20 on, to which smaller a
 * are moved */
static long double stirling_rest(long double a)
{
    static const long double c[] = { 1.0L / 12, -1.0L / 360, 1.0L / 1260, -1.0L / 1680, 1.0L / 1188,
        -691.0L / 360360, 1.0L / 156, -3617.0L / 122400, 43867.0L / 244188, -174611.0L / 125400 };
    if (a < 20)
        return log_gamma(a) - ((a - 0.5L) * logl(a) - a + 0.5L * logl(2 * PI));
    long double sum = 0, z = 1 / (a * a);
    for (int k = 9; k >= 0; k--)
        sum = sum * z + c[k];
    return sum / a;
}

/* m - log(1 + m), ratio = 1 + m */
static long double phi(long double m, long double ratio)
{
    if (m < -0.3L || m > 0.3L)
        return m - logl(ratio);
    long double s = m / (2 + m), z = s * s, sum = 0;
    for (int k = 40; k >= 0; k--)
        sum = sum * z + 2.0L / (2 * k + 3);
    return s * (m - z * sum);
}

/* log B(a, b) = log (Gamma(a) Gamma(b) / Gamma(a + b)). What is large in the terms is taken together,
 * where both are positive. */
long double element_betaln(long double a, long double b)
{
    if (a != a || b != b)
        return NAN;
    if ((a <= 0 && floorl(a) == a) || (b <= 0 && floorl(b) == b))
        return INFINITY;
    if (a > b) {
        long double t = a;
        a = b, b = t;
    }
    if (b < 20 || a + b < 20 || isinf(a) || isinf(b))
        return log_gamma(a) + (log_gamma(b) - log_gamma(a + b));
    return stirling_rest(b) - stirling_rest(a + b) - (b - 0.5L) * log1pl(a / b) + log_gamma(a) -
        a * (logl(a + b) - 1);
}

/* ==================== the incomplete gamma function */

/* x^a e^-x / Gamma(a + 1) */
static long double front_of_gamma(long double a, long double x)
{
    if (a < 20)
        return expl(a * logl(x) - x - log_gamma(a + 1));
    return expl(-a * phi((x - a) / a, x / a) - stirling_rest(a)) / sqrtl(2 * PI * a);
}

/* Temme's expansion, for a from 1e7 on, where it is right to all digits. */
static long double gamma_uniform(bool upper, long double a, long double x)
{
    static const long double c0[] = { -1.0L / 3, 1.0L / 12, -2.0L / 135, 1.0L / 864, 1.0L / 2835,
        -139.0L / 777600, 1.0L / 25515 };
    static const long double c1[] = { -1.0L / 540, -1.0L / 288, 1.0L / 378 };
    long double m = (x - a) / a, f = phi(m, x / a), e = copysignl(sqrtl(2 * f), m), r0 = 0, r1 = 0;
    long double near = fminl(fmaxl(e, -0.3L), 0.3L), s = copysignl(sqrtl(a * f), m);
    for (int k = 6; k >= 0; k--)
        r0 = r0 * near + c0[k];
    for (int k = 2; k >= 0; k--)
        r1 = r1 * near + c1[k];
    long double rest = expl(-a * f) / sqrtl(2 * PI * a) * (r0 + r1 / a);
    return upper ? erfcl(s) / 2 + rest : erfcl(-s) / 2 - rest;
}

long double element_igamma(bool upper, long double a, long double x)
{
    if (a != a || x != x || a < 0 || x < 0 || (a == 0 && x == 0))
        return NAN;
    if (x == 0 || isinf(x) || a == 0)
        return (x == 0) == upper ? 1 : 0;
    if (isinf(a))
        return NAN;
    if (a > 1e7L)
        return gamma_uniform(upper, a, x);
    long double front = front_of_gamma(a, x), sum = 1, term = 1;
    if (x > 1 && x > a) { /* a fraction, by Lentz's method */
        long double b = x - a + 1, c = 1e4000L, d = 1 / b, h = d, by = 0;
        for (int k = 1; fabsl(by - 1) > EPS && k < 200000; k++) {
            long double an = k * (a - k);
            b += 2;
            d = 1 / (an * d + b), c = b + an / c;
            h *= by = c * d;
        }
        return upper ? front * a * h : 1 - front * a * h;
    }
    for (long double r = a + 1; term > sum * EPS; r++)
        sum += term *= x / r;
    return upper ? fmaxl(1 - front * sum, 0) : fminl(front * sum, 1);
}

/* dx/da where P(a, x) stays: -(dP/da) / (dP/dx), P being the series or the fraction as above,
 * differentiated step by step; for a large a by an expansion. */
static long double slope_by_series(long double a, long double x)
{
    long double term = 1, sum = 1, slope = 0, slopes = 0;
    for (long double r = a + 1;; r++) {
        slope = slope * (x / r) - term * x / (r * r), term *= x / r;
        sum += term, slopes += slope;
        if (fabsl(slope) <= EPS * fabsl(slopes) && term <= EPS * sum)
            break;
    }
    return -(slopes + sum * (logl(x) - element_digamma(a + 1))) * x / a;
}

static long double slope_by_fraction(long double a, long double x)
{
    long double y = 1 - a, z = x + y + 1, p2 = 1, q2 = x, p1 = x + 1, q1 = z * x, dp2 = 0, dq2 = 0, dp1 = 0,
                dq1 = -x;
    long double r = p1 / q1, slope = r * x / q1;
    for (int k = 1; k < 200000; k++) {
        y += 1, z += 2;
        long double p = p1 * z - p2 * y * k, q = q1 * z - q2 * y * k, before = slope;
        long double dp = dp1 * z - p1 - dp2 * y * k + p2 * k, dq = dq1 * z - q1 - dq2 * y * k + q2 * k;
        if (q != 0)
            r = p / q, slope = (dp - r * dq) / q;
        p2 = p1, q2 = q1, p1 = p, q1 = q, dp2 = dp1, dq2 = dq1, dp1 = dp, dq1 = dq;
        if (fabsl(p) > 1e1000L)
            p2 *= 1e-1000L, q2 *= 1e-1000L, p1 *= 1e-1000L, q1 *= 1e-1000L, dp2 *= 1e-1000L, dq2 *= 1e-1000L,
                dp1 *= 1e-1000L, dq1 *= 1e-1000L;
        if (q != 0 && fabsl(slope - before) < EPS * fabsl(slope))
            break;
    }
    return (slope + r * (logl(x) - element_digamma(a))) * x;
}

/* With l = x/a, m = l - 1, e^2/2 = phi(m), c0 as in gamma_uniform, g = e/m = 1 + e c0(e). */
static long double slope_by_uniform(long double a, long double x)
{
    static const long double c0[] = { -1.0L / 3, 1.0L / 12, -2.0L / 135, 1.0L / 864, 1.0L / 2835,
        -139.0L / 777600, 1.0L / 25515 };
    long double l = x / a, m = (x - a) / a, e = copysignl(sqrtl(2 * phi(m, l)), m), c = 0, d = 0;
    for (int k = 6; k >= 0; k--)
        d = d * e + c, c = c * e + c0[k];
    long double g = 1 + e * c;
    if (fabsl(e) >= 0.05L) /* c0 = 1/m - 1/e is put in, and what cancels left out */
        return l / m * (logl(l) - (1 - 2 * (l / m) * (e * e / 2 / m)) / (2 * a));
    return l * (1 - g * (g * e + c / a) / 2 / (g - d / a));
}

long double element_random_gamma_grad(long double a, long double x)
{
    if (!(a > 0 && x >= 0))
        return NAN;
    if (x == 0)
        return 0;
    if (isinf(a) || isinf(x))
        return NAN;
    if (a > 1e8L)
        return slope_by_uniform(a, x);
    return x > 1 && x > a ? slope_by_fraction(a, x) : slope_by_series(a, x);
}

/* ==================== the incomplete beta function */

static long double beta_fraction(long double a, long double b, long double x)
{
    long double s = a + b, c = 1, first = 1 - s * x / (a + 1), d = 1 / (first == 0 ? 1e-4000L : first);
    long double h = d, by = 0;
    for (int k = 1; fabsl(by - 1) > EPS && k < 200000; k++)
        for (int odd = 0; odd < 2; odd++) {
            long double f = odd ? -(a + k) * (s + k) * x / ((a + 2 * k) * (a + 2 * k + 1)) :
                                  k * (b - k) * x / ((a + 2 * k - 1) * (a + 2 * k));
            d = 1 + f * d, c = 1 + f / c;
            d = 1 / (d == 0 ? 1e-4000L : d), c = c == 0 ? 1e-4000L : c;
            h *= by = c * d;
        }
    return h;
}

long double element_betainc(long double a, long double b, long double x)
{
    bool no_a = a == 0 || b == INFINITY, no_b = b == 0 || a == INFINITY;
    if (!(a >= 0 && b >= 0 && x >= 0 && x <= 1) || (no_a && no_b))
        return NAN;
    if (x == 0 || x == 1 || no_a || no_b)
        return x == 0 ? 0 : x == 1 ? 1 : no_a;
    long double y = 1 - x;
    bool swap = x >= (a + 1) / (a + b + 2);
    if (swap) {
        long double t = a;
        a = b, b = t, t = x, x = y, y = t;
    }
    long double s = a + b, t = x * b - y * a;
    long double e = stirling_rest(s) - stirling_rest(a) - stirling_rest(b) - a * phi(t / a, x * s / a) -
        b * phi(-t / b, y * s / b);
    long double r = expl(e) * sqrtl(b / s / (2 * PI * a)) * beta_fraction(a, b, x);
    return swap ? 1 - r : r;
}

/* ==================== Hurwitz's zeta function */

static long double zeta_positive(long double s, long double q)
{
    static const long double bernoulli[] = { 1.0L / 12, -1.0L / 720, 1.0L / 30240, -1.0L / 1209600,
        1.0L / 47900160, -691 / 1307674368000.0L, 1 / 74724249600.0L, -3617 / 10670622842880000.0L,
        43867 / 5109094217170944000.0L, -174611 / 802857662698291200000.0L };
    long double sum = 0, a = q + 30, t = powl(a, -s), factor = s / a, rest = 0;
    for (int k = 0; k < 10; k++) {
        rest += factor * bernoulli[k];
        factor *= (s + 2 * k + 1) / a * ((s + 2 * k + 2) / a);
    }
    if (t > 0)
        sum = t * (a / (s - 1) + 0.5L + rest);
    for (int k = 29; k >= 0; k--)
        sum += powl(q + k, -s);
    return sum;
}

static bool even(long double n) { return floorl(n / 2) == n / 2; }

long double element_zeta(long double s, long double q)
{
    bool whole = floorl(s) == s;
    if (s != s || q != q || s < 1)
        return NAN;
    if (s == 1)
        return INFINITY;
    if (q == -INFINITY)
        return NAN;
    if (q == INFINITY)
        return 0;
    if (isinf(s) && q > 0)
        return q < 1 ? INFINITY : q == 1;
    if (q <= 0 && floorl(q) == q)
        return whole && even(s) ? INFINITY : NAN;
    if (q > 0)
        return zeta_positive(s, q);
    if (!whole || isinf(s))
        return NAN;
    long double f = -floorl(-q) - q, up = zeta_positive(s, 1 - f), down = zeta_positive(s, f);
    return even(s) ? up + down - zeta_positive(s, 1 - q) : up - down + zeta_positive(s, 1 - q);
}

long double element_polygamma(long double n, long double x)
{
    if (x != x || !(n >= 0) || floorl(n) != n || isinf(n))
        return NAN;
    if (n == 0)
        return element_digamma(x);
    if (x <= 0 && n > 20)
        return NAN;
    if (isinf(x))
        return x > 0 ? even(n) ? -0.0L : 0 : NAN;
    long double z = element_zeta(n + 1, x), l = log_gamma(n + 1);
    if (x > 0 && (z == 0 || isinf(z))) /* x^-(n + 1) is out of range: where x > 1 few terms count */
        z = expl(l - (n + 1) * logl(x));
    else
        z = n < 21 ? roundl(expl(l)) * z : copysignl(expl(l + logl(fabsl(z))), z);
    return even(n) ? -z : z;
}
