/*
 * fft_written.c - short Fourier transforms, number by number: all of them in registers.
 *
 * A length that is no prime is cut in two, a b: transforms of a, factors exp(-2 pi i j k / n), transforms
 * of b. Of an odd prime p, pairs z[j] + z[p - j] and z[j] - z[p - j] meet cosines and sines alone: half of
 * the products of a matrix.
 */
#include "fft.h"

#include <math.h>

static Parts plus(Parts x, Parts y) { return (Parts){ Add(x.re, y.re), Add(x.im, y.im) }; }
static Parts minus(Parts x, Parts y) { return (Parts){ Sub(x.re, y.re), Sub(x.im, y.im) }; }
static Parts scaled(Parts x, double c)
{
    return (Parts){ Mul(x.re, Like(x.re, c)), Mul(x.im, Like(x.im, c)) };
}

void fft_root(int64_t m, int64_t n, double *re, double *im)
{
    long double angle = 2 * 3.14159265358979323846264338327950288L * (long double)m / (long double)n;
    *re = 4 * m == n || 4 * m == 3 * n ? 0 : (double)cosl(angle);
    *im = m == 0 || 2 * m == n ? 0 : (double)-sinl(angle);
}

/* x exp(-2 pi i m / n): an eighth of a turn is a sum and a product for each part, a quarter nothing. */
static Parts by_root(Parts x, int64_t m, int64_t n)
{
    const double half = 0.70710678118654752440;
    double c, s;
    m %= n;
    if (n % 2 == 0 && 2 * m >= n) {
        x = by_root(x, m - n / 2, n);
        return (Parts){ Neg(x.re), Neg(x.im) };
    }
    if (m == 0)
        return x;
    if (4 * m == n)
        return (Parts){ x.im, Neg(x.re) };
    if (8 * m == n)
        return scaled((Parts){ Add(x.re, x.im), Sub(x.im, x.re) }, half);
    if (8 * m == 3 * n)
        return scaled((Parts){ Sub(x.im, x.re), Neg(Add(x.re, x.im)) }, half);
    fft_root(m, n, &c, &s);
    Parts y = scaled(x, c), z = scaled(x, s);
    return (Parts){ Sub(y.re, z.im), Add(y.im, z.re) };
}

static void two(Parts *z)
{
    Parts x = z[0], y = z[1];
    z[0] = plus(x, y), z[1] = minus(x, y);
}

static void four(Parts *z)
{
    Parts a = plus(z[0], z[2]), b = minus(z[0], z[2]), c = plus(z[1], z[3]), d = minus(z[1], z[3]);
    z[0] = plus(a, c), z[2] = minus(a, c);
    z[1] = (Parts){ Add(b.re, d.im), Sub(b.im, d.re) };
    z[3] = (Parts){ Sub(b.re, d.im), Add(b.im, d.re) };
}

static void odd(Parts *z, int64_t p)
{
    int64_t half = p / 2;
    Parts sum[ODD / 2 + 1], less[ODD / 2 + 1], first = z[0];
    for (int64_t j = 1; j <= half; j++)
        sum[j] = plus(z[j], z[p - j]), less[j] = minus(z[j], z[p - j]);
    for (int64_t j = 1; j <= half; j++)
        z[0] = plus(z[0], sum[j]);
    for (int64_t k = 1; k <= half; k++) {
        Parts even = first, other = { 0 };
        for (int64_t j = 1; j <= half; j++) {
            double c, s;
            fft_root(j * k % p, p, &c, &s);
            even = plus(even, scaled(sum[j], c));
            other = j == 1 ? scaled(less[j], -s) : plus(other, scaled(less[j], -s));
        }
        z[k] = (Parts){ Add(even.re, other.im), Sub(even.im, other.re) };
        z[p - k] = (Parts){ Sub(even.re, other.im), Add(even.im, other.re) };
    }
}

static int64_t first_factor(int64_t n)
{
    for (int64_t p = n % 4 ? 2 : 4; p <= n; p++)
        if (n % p == 0)
            return p;
    return n;
}

void fft_written(Parts *z, int64_t n)
{
    int64_t a = first_factor(n), b = n / a;
    Parts y[WRITTEN], line[WRITTEN];
    if (n == 2)
        two(z);
    else if (n == 4)
        four(z);
    else if (b == 1 && n > 2)
        odd(z, n);
    if (b == 1 || n <= 2)
        return;
    for (int64_t j = 0; j < b; j++) {
        for (int64_t i = 0; i < a; i++)
            line[i] = z[i * b + j];
        fft_written(line, a);
        for (int64_t k = 0; k < a; k++)
            y[k * b + j] = by_root(line[k], k * j, n);
    }
    for (int64_t k = 0; k < a; k++) {
        fft_written(y + k * b, b);
        for (int64_t q = 0; q < b; q++)
            z[k + a * q] = y[k * b + q];
    }
}

double fft_code(int64_t n)
{
    int64_t a = n > 1 ? first_factor(n) : 1, b = n / a;
    if (n <= 1)
        return 0;
    if (b > 1)
        return (double)b * fft_code(a) + (double)a * fft_code(b) + 6.0 * (double)((a - 1) * (b - 1));
    return n == 2 ? 4 : n == 4 ? 16 : 4.0 * (double)((n / 2) * (n / 2)) * 2 + 8.0 * (double)n;
}
