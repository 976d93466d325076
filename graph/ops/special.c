/*
 * special.c - functions of one real variable that the C library does not have: erf_inv, digamma, trigamma.
 *
 * In and out: long double, correct to about its last digits, so that rounding once to a narrower type gives the
 * nearest value but in rare ties. Values at poles are JAX's: digamma has nan there, trigamma infinity.
 */
#include <math.h>

#include "element.h"

#define PI 3.14159265358979323846264338327950288L

/* Halley's iteration on erf(y) - x, which triples the digits of the first guess each time. Near 1 the difference is
 * taken from erfc, where 1 - x is exact. */
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
    1.0L / 6, -1.0L / 30, 1.0L / 42, -1.0L / 30, 5.0L / 66, -691.0L / 2730, 7.0L / 6, -3617.0L / 510, 43867.0L / 798,
    -174611.0L / 330,
};
enum { TERMS = sizeof bernoulli / sizeof *bernoulli };

/* Upward to where the asymptotic series holds, then the series; below zero by reflection. */
long double element_digamma(long double x)
{
    long double sum = 0, p = 1;
    if (x != x || (x <= 0 && x == floorl(x)))
        return NAN;
    if (x < 0) {
        long double r = x - floorl(x);
        return element_digamma(1 - x) - PI / tanl(PI * (r > 0.5L ? r - 1 : r));
    }
    if (isinf(x))
        return x;
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
        long double r = x - floorl(x), s = sinl(PI * (r > 0.5L ? 1 - r : r));
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
