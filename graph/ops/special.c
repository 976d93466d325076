/*
 * special.c - functions of one real variable that the C library does not have.
 *
 * In and out: long double, correct to about its last digits, so that rounding once to a narrower type gives
 * the nearest value but in rare ties. Values at poles are JAX's: digamma has nan there, trigamma infinity.
 */
#include <math.h>

#include "element.h"

#define PI 3.14159265358979323846264338327950288L

/* Halley's iteration on erf(y) - x, which triples the digits of the first guess each time. Near 1 the
 * difference is taken from erfc, where 1 - x is exact. */
long double element_erf_inv(long double x)
{
    long double a = fabsl(x), y;
    if (x != x || a > 1)
        return NAN;
    if (a == 1 || x == 0)
        return x == 0 ? x : x > 0 ? INFINITY : -INFINITY;
    if (a < 0.1L) {
        y = a * (0.5L * sqrtl(PI)) * (1 + PI / 12 * a * a);
    } else {
        long double l = logl((1 - a) * (1 + a)), b = 2 / (PI * 0.147L) + l / 2;
        y = sqrtl(sqrtl(b * b - l / 0.147L) - b);
    }
    for (int k = 0; k < 5; k++) {
        long double f = a < 0.5L ? erfl(y) - a : (1 - a) - erfcl(y);
        long double u = f * (0.5L * sqrtl(PI)) * expl(y * y);
        y -= u / (1 + y * u);
    }
    return copysignl(y, x);
}

/* Bernoulli numbers B2, B4 ... */
static const long double bernoulli[] = {
    1.0L / 6,
    -1.0L / 30,
    1.0L / 42,
    -1.0L / 30,
    5.0L / 66,
    -691.0L / 2730,
    7.0L / 6,
    -3617.0L / 510,
    43867.0L / 798,
    -174611.0L / 330,
};
enum { TERMS = sizeof bernoulli / sizeof *bernoulli };

/* Derivatives of digamma at its zero, divided by the factorials. */
static const long double at_zero[] = {
    0.9676722454476211704274L,
    -0.4427631689835921060929L,
    0.2584997609556510106244L,
    -0.1639427054424065275043L,
    0.1078240506912623657572L,
    -0.07219956125645471092612L,
    0.04880428816414310722509L,
    -0.03316112647484735929226L,
    0.02259764823221810465962L,
    -0.0154247659049489591388L,
    0.01053879161661217538812L,
    -0.00720453438635686824097L,
    0.004926781395729853446354L,
    -0.003369801655439328082793L,
    0.002305126326734927836938L,
    -0.001576936771430197259271L,
    0.001078825201916296580692L,
    -0.000738070938996005129566L,
};

/* Near the zero, where the sums below cancel. The zero is taken off in two pieces. */
static long double near_zero(long double x)
{
    long double t = x - 1.461632144968362341280917L - (-1.82570963159635e-20L), s = 0;
    for (int k = sizeof at_zero / sizeof *at_zero - 1; k >= 0; k--)
        s = s * t + at_zero[k];
    return s * t;
}

/* Upward to where the asymptotic series holds, then the series; below zero by reflection. */
long double element_digamma(long double x)
{
    long double sum = 0, p = 1;
    if (x != x || (x <= 0 && x == floorl(x)))
        return NAN;
    if (x < 0)
        return element_digamma(1 - x) - PI / tanl(PI * (x - rintl(x)));
    if (isinf(x))
        return x;
    if (fabsl(x - 1.4616L) < 0.1L)
        return near_zero(x);
    for (; x < 24; x++)
        sum -= 1 / x;
    sum += logl(x) - 0.5L / x;
    for (int k = 0; k < TERMS; k++)
        sum -= bernoulli[k] / (2 * (k + 1)) * (p /= x * x);
    return sum;
}

long double element_trigamma(long double x)
{
    long double sum = 0, p;
    if (x != x || x == -INFINITY)
        return NAN;
    if (x <= 0 && x == floorl(x))
        return INFINITY;
    if (x < 0) {
        long double s = sinl(PI * (x - rintl(x)));
        return PI * PI / (s * s) - element_trigamma(1 - x);
    }
    for (; x < 24; x++)
        sum += 1 / (x * x);
    p = 1 / x;
    sum += p + 0.5L * p * p;
    for (int k = 0; k < TERMS; k++)
        sum += bernoulli[k] * (p /= x * x);
    return sum;
}

/* Up to 50 the power series, all of one sign; beyond, the asymptotic one. */
long double element_bessel(int order, long double x)
{
    long double a = fabsl(x), sum = 1, term = 1;
    if (x != x)
        return x;
    if (isinf(a))
        return order && x < 0 ? -0.0L : 0;
    if (a < 50) {
        for (int k = 1; term > sum * 1e-22L; k++)
            sum += term *= a * a / 4 / ((long double)k * (k + order));
        sum *= expl(-a) * (order ? a / 2 : 1);
    } else {
        for (int k = 1; k < 40; k++)
            sum += term *= ((2 * k - 1) * (2 * k - 1) - 4.0L * order) / (8 * k * a);
        sum /= sqrtl(2 * PI * a);
    }
    return order ? copysignl(sum, x) : sum;
}

#define EULER 0.577215664901532860606512090082402431L

/* Near 0 the power series; far above the asymptotic one; below -2 e^x times a fraction, from its end. */
long double element_expi(long double x)
{
    long double sum = 0, term = 1;
    if (x != x || x == INFINITY)
        return x;
    if (x == 0 || x == -INFINITY)
        return x == 0 ? -INFINITY : -0.0L;
    if (x > 60) {
        for (int k = 60; k > 0; k--)
            sum = (1 + sum) * k / x;
        return expl(x / 2) * (1 + sum) / x * expl(x / 2);
    }
    if (x < -2) {
        sum = 801 - x;
        for (int k = 400; k > 0; k--)
            sum = 2 * k - 1 - x - (long double)k * k / sum;
        return -expl(x) / sum;
    }
    for (int k = 1; k < 400; k++)
        sum += (term *= x / k) / k;
    return EULER + logl(fabsl(x)) + sum;
}

/* Li2(1 - e^-u), |u| < 1: u - u^2/4 + sum B_2k u^(2k + 1) / (2k + 1)! */
static long double li2(long double u)
{
    long double sum = u - u * u / 4, p = u;
    for (int k = 0; k < TERMS; k++)
        sum += bernoulli[k] * (p *= u * u / ((2 * k + 2) * (2 * k + 3)));
    return sum;
}

/* Li2(1 - x) */
long double element_spence(long double x)
{
    if (x != x || x < 0)
        return NAN;
    if (isinf(x))
        return -INFINITY;
    if (x == 0 || x == 1)
        return x == 0 ? PI * PI / 6 : 0;
    if (x > 2)
        return -element_spence(1 / x) - logl(x) * logl(x) / 2;
    return x < 0.5L ? PI * PI / 6 - logl(x) * log1pl(-x) - li2(-log1pl(-x)) : li2(-logl(x));
}

#define ROOT2 1.41421356237309504880168872420969808L

/* Newton's method on the logarithm of the tail. */
long double element_ndtri(long double p)
{
    if (!(p >= 0 && p <= 1))
        return NAN;
    if (p == 0 || p == 1)
        return p == 0 ? -INFINITY : INFINITY;
    if (p > 0.25L && p < 0.75L)
        return ROOT2 * element_erf_inv(2 * p - 1);
    long double q = p < 0.5L ? p : 1 - p, w = sqrtl(-2 * logl(q)), z = w - logl(w * 2.5L) / w;
    for (int k = 0; k < 12; k++) {
        long double tail = erfcl(z / ROOT2) / 2;
        z += (logl(tail) - logl(q)) * tail * sqrtl(2 * PI) * expl(z * z / 2);
    }
    return p < 0.5L ? -z : z;
}

long double element_log_ndtr(long double x)
{
    if (x > -25)
        return x < 0 ? logl(erfcl(-x / ROOT2) / 2) : log1pl(-erfcl(x / ROOT2) / 2);
    if (x != x || isinf(x))
        return x;
    long double sum = 0, z = 1 / (x * x);
    for (int k = 30; k > 0; k--)
        sum = -(2 * k - 1) * z * (1 + sum);
    return -x * x / 2 - logl(-x) - logl(2 * PI) / 2 + log1pl(sum);
}
