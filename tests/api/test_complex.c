/*
 * test_complex.c - complex numbers and Fourier transforms as users meet them: values at edges and cuts, as
 * XLA has them; gradients of real and of holomorphic functions; transforms of all kinds of lengths against
 * their definition. On the host and on the device that reads kernels.
 */
#include <complex.h>
#include <math.h>

#include "suite.h"

static const char *const where[] = { "host", "kernel" };
enum { WHERE = 2 };

static hd_array *on(const char *device, hd_fn *f, hd_array *x)
{
    hd_array *y = NULL;
    ck_assert_msg(hd_call(hd_jit(f, .device = device), &y, x) == 0, "%s: %s", device, hd_error());
    return y;
}

/* ==================== edges */

typedef struct Edge {
    hd (*f)(hd);
    const char *name;
    float re, im, want_re, want_im;
} Edge;
#define E(f, a, b, c, d) \
    { \
        hd_##f, #f, a, b, c, d \
    }

static hd at_edge(const hd *x, int n, const void *env)
{
    (void)n;
    return ((const Edge *)env)->f(x[0]);
}

static bool near_to(float got, float want, float size)
{
    return (isnan(got) && isnan(want)) || got == want || fabsf(got - want) <= 4e-6f * size + 1e-37f;
}

START_TEST(at_edges)
{
    const char *d = where[_i];
    const Edge edges[] = { E(sqrt, -4, 0.0f, 0, 2), E(sqrt, -4, -0.0f, 0, 2), E(sqrt, 0, 0, 0, 0),
        E(sqrt, INFINITY, 1, INFINITY, 0), E(sqrt, -INFINITY, -1, 0, -INFINITY),
        E(sqrt, 1, INFINITY, INFINITY, INFINITY), E(sqrt, 3e38f, 3e38f, 1.9029767e19f, 7.8823873e18f),
        E(rsqrt, -1, 0.0f, 0, -1), E(rsqrt, -1, -0.0f, 0, 1), E(rsqrt, 0, 0, INFINITY, NAN),
        E(log, -1, 0.0f, 0, 3.14159265f), E(log, -1, -0.0f, 0, -3.14159265f), E(log, 0, 0, -INFINITY, 0),
        E(log, INFINITY, INFINITY, INFINITY, 0.7853982f), E(log, 3e38f, 3e38f, 88.94342f, 0.7853982f),
        E(exp, INFINITY, 0, INFINITY, 0), E(exp, -INFINITY, 1, 0, 0), E(exp, 100, 1, INFINITY, INFINITY),
        E(asin, 2, 0.0f, 1.5707964f, 1.316958f), E(asin, 2, -0.0f, 1.5707964f, 1.316958f),
        E(asin, 1e38f, 0, 1.5707964f, 88.191376f), E(acos, 2, -0.0f, 0, -1.316958f),
        E(acos, -4, 0, 3.1415927f, -2.063437f), E(acosh, -2, -0.0f, 1.316958f, 3.1415927f),
        E(acosh, 0, 0, 0, 1.5707964f), E(asinh, -0.0f, 2, 1.316958f, 1.5707964f),
        E(atanh, 1, 0, INFINITY, 0), E(atanh, 2, 0.0f, 0.54930615f, 1.5707964f),
        E(atanh, 2, -0.0f, 0.54930615f, -1.5707964f), E(atanh, 1e30f, 0, 1e-30f, 1.5707964f),
        E(atan, 0, 2, 1.5707964f, 0.54930615f), E(atan, -0.0f, 2, -1.5707964f, 0.54930615f),
        E(tanh, 100, 1, 1, 0), E(tanh, INFINITY, 1, 1, 0), E(sin, 0, INFINITY, 0, INFINITY),
        E(sigmoid, -100, 1, 0, 0), E(sigmoid, 100, 1, 1, 0), E(sign, 0, 0, 0, 0), E(sign, 3, 4, 0.6f, 0.8f),
        E(abs, 3e38f, 1e38f, 3.1622777e38f, 0), E(abs, -INFINITY, NAN, INFINITY, 0),
        E(reciprocal, 0, 0, INFINITY, NAN), E(reciprocal, INFINITY, INFINITY, 0, 0),
        E(reciprocal, 3e38f, 3e38f, 1.6666667e-39f, -1.6666667e-39f) };
    for (size_t k = 0; k < sizeof edges / sizeof *edges; k++) {
        const Edge *e = &edges[k];
        float z[2] = { e->re, e->im }, got[2] = { 0 };
        hd_array *x = hd_array_new(HD_C64, (hd_ints){ 0 }, z, NULL), *y = on(d, hd_bind(at_edge, *e), x);
        memcpy(got, hd_data(y), hd_dtype_size(hd_array_dtype(y)));
        float size = fmaxf(
            isfinite(e->want_re) ? fabsf(e->want_re) : 0, isfinite(e->want_im) ? fabsf(e->want_im) : 0);
        ck_assert_msg(near_to(got[0], e->want_re, size) && near_to(got[1], e->want_im, size),
            "%s: %s(%g, %g) is (%.9g, %.9g), not (%.9g, %.9g)", d, e->name, (double)e->re, (double)e->im,
            (double)got[0], (double)got[1], (double)e->want_re, (double)e->want_im);
        hd_drop(x), hd_drop(y);
    }
}
END_TEST

/* ==================== derivatives */

static hd norm_of_square(hd z) { return hd_square(hd_abs(hd_mul(z, z))); } /* |z|^4 */
static hd cube(hd z) { return hd_mul(hd_mul(z, z), z); }

START_TEST(gradients)
{
    const float z[2] = { 1, 2 };
    hd_array *x = hd_array_new(HD_C64, (hd_ints){ 0 }, z, NULL);
    /* d|z|^4 / dx - i d / dy = 4 |z|^2 (x - i y); 3 z^2 = 3 (-3 + 4i) */
    hd_array *real = on(where[_i], hd_grad(norm_of_square), x);
    hd_array *whole = on(where[_i], hd_grad(cube, .holomorphic = true), x);
    const float *g = hd_data(real), *h = hd_data(whole);
    ck_assert_msg(fabsf(g[0] - 20) < 1e-4f && fabsf(g[1] + 40) < 1e-4f, "%g %g", (double)g[0], (double)g[1]);
    ck_assert_msg(h[0] == -9 && h[1] == 12, "%g %g", (double)h[0], (double)h[1]);
    hd_drop(x), hd_drop(real), hd_drop(whole);
}
END_TEST

/* ==================== transforms */

static hd forward(hd x) { return hd_fft(x); }
static hd there_and_back(hd x) { return hd_ifft(hd_fft(x)); }
static hd real_and_back(hd x) { return hd_irfft(hd_rfft(x), hd_dim(x, -1)); }
static hd of_real(hd x) { return hd_rfft(x); }

static float number(int64_t k) { return (float)((k * 7919 + 13) % 101 - 50) / 50; }

/* Every frequency of a short one, some of a long one. */
static void transform_of(const char *d, int64_t n)
{
    float *z = malloc(sizeof *z * 2 * (size_t)n), worst = 0;
    double size = 0;
    for (int64_t k = 0; k < 2 * n; k++)
        z[k] = number(k), size += z[k] * z[k];
    hd_array *x = hd_array_new(HD_C64, (hd_ints){ 1, { n } }, z, NULL), *y = on(d, HD_FN(forward), x),
             *back = on(d, HD_FN(there_and_back), x);
    const float *got = hd_data(y), *same = hd_data(back);
    for (int64_t k = 0; k<n; k += n> 300 ? n / 7 : 1) {
        double complex want = 0;
        for (int64_t j = 0; j < n; j++)
            want += (z[2 * j] + I * z[2 * j + 1]) * cexp(-2 * M_PI * I * (double)(j * k % n) / (double)n);
        worst = fmaxf(worst, (float)(cabs(got[2 * k] + I * got[2 * k + 1] - want) / sqrt(size)));
    }
    for (int64_t k = 0; k < 2 * n; k++)
        worst = fmaxf(worst, fabsf(same[k] - z[k]));
    ck_assert_msg(worst < 5e-6f, "%s: length %lld: off by %g", d, (long long)n, (double)worst);
    hd_drop(x), hd_drop(y), hd_drop(back), free(z);
}

static void real_transform_of(const char *d, int64_t n)
{
    float *z = malloc(sizeof *z * (size_t)n), worst = 0;
    for (int64_t k = 0; k < n; k++)
        z[k] = number(k);
    hd_array *x = hd_array_new(HD_F32, (hd_ints){ 1, { n } }, z, NULL), *y = on(d, HD_FN(of_real), x),
             *back = on(d, HD_FN(real_and_back), x);
    const float *got = hd_data(y), *same = hd_data(back);
    ck_assert_int_eq(hd_array_size(y), n / 2 + 1);
    for (int64_t k = 0; k <= n / 2; k++) {
        double complex want = 0;
        for (int64_t j = 0; j < n; j++)
            want += z[j] * cexp(-2 * M_PI * I * (double)(j * k % n) / (double)n);
        worst = fmaxf(worst, (float)(cabs(got[2 * k] + I * got[2 * k + 1] - want) / sqrt((double)n)));
    }
    for (int64_t k = 0; k < n; k++)
        worst = fmaxf(worst, fabsf(same[k] - z[k]));
    ck_assert_msg(worst < 5e-6f, "%s: real length %lld: off by %g", d, (long long)n, (double)worst);
    hd_drop(x), hd_drop(y), hd_drop(back), free(z);
}

/* By one matrix, mixed, with a prime above 16, by a chirp, and with a table in two parts. */
START_TEST(lengths)
{
    static const int64_t n[] = { 1, 2, 3, 5, 16, 17, 24, 37, 60, 64, 67, 74, 101, 210, 243, 1024, 1009,
        32768 };
    for (size_t k = 0; k < sizeof n / sizeof *n; k++) {
        transform_of(where[_i], n[k]);
        if (n[k] < 300)
            real_transform_of(where[_i], n[k]);
    }
}
END_TEST

static hd frequencies(hd x)
{
    (void)x;
    return hd_tuple(hd_fftshift(hd_fftfreq(HD_F32, 5, 0.5)),
        hd_ifftshift(hd_fftshift(hd_fftfreq(HD_F32, 4, 1))), hd_rfftfreq(HD_F32, 5, 0.5));
}

START_TEST(names_of_frequencies)
{
    static const float want[3][5] = { { -0.8f, -0.4f, 0, 0.4f, 0.8f }, { 0, 0.25f, -0.5f, -0.25f },
        { 0, 0.4f, 0.8f } };
    hd_array *x = hd_array_scalar(HD_F32, 0), *y = on(where[_i], HD_FN(frequencies), x);
    for (int k = 0; k < 3; k++) {
        const float *got = hd_data(hd_array_nth(y, k));
        for (int64_t j = 0; j < hd_array_size(hd_array_nth(y, k)); j++)
            ck_assert_msg(
                fabsf(got[j] - want[k][j]) < 1e-6f, "%d, %lld: %g", k, (long long)j, (double)got[j]);
    }
    hd_drop(x), hd_drop(y);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("complex");
    TCase *c = suite_case(s);
    tcase_add_loop_test(c, at_edges, 0, WHERE);
    tcase_add_loop_test(c, gradients, 0, WHERE);
    tcase_add_loop_test(c, lengths, 0, WHERE);
    tcase_add_loop_test(c, names_of_frequencies, 0, WHERE);
    return suite_run(s);
}
