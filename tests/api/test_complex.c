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

/* ==================== linear algebra: values and the gradient of their sum, as JAX has them */

static float entry(int64_t k) { return (float)((k * k * 37 + 11 * k + 5) % 101 - 50) / 50; }

static hd adjoint(hd a) { return hd_conj(hd_swapaxes(a, -1, -2)); }
static hd weighted(hd a, hd w, bool both)
{
    hd s = hd_sum(hd_mul(hd_real(a), w));
    return both ? hd_add(s, hd_mul(hd_c(2), hd_sum(hd_mul(hd_imag(a), w)))) : s;
}

static hd quantities(hd a)
{
    float w[9];
    for (int k = 0; k < 9; k++)
        w[k] = entry(50 + k);
    hd u = hd_lit_n(HD_F32, (hd_ints){ 2, { 3, 3 } }, w), one = hd_cast(hd_eye(HD_F32, 3), HD_C64);
    hd thin = hd_slice_axis(a, 1, 0, 2), b = hd_slice_axis(a, 1, 2, 3), sign = hd_slogdet(a), qr = hd_qr(a);
    hd values = hd_eigvalsh(hd_add(a, adjoint(a)));
    const hd q[] = { hd_square(hd_abs(hd_det(a))), hd_nth(sign, 1), hd_real(hd_nth(sign, 0)),
        weighted(hd_inv(a), u, false), weighted(hd_expm(a), u, true),
        hd_sum(hd_square(hd_abs(hd_pinv(thin)))), hd_sum(hd_real(hd_lstsq(thin, b))),
        hd_sum(hd_mul(values, hd_square(values))), hd_matrix_norm(a, HD_NUCLEAR),
        weighted(hd_cholesky(hd_add(hd_matmul(a, adjoint(a)), one)), u, true),
        hd_sum(hd_real(hd_matrix_power(a, -2))), weighted(hd_nth(qr, 0), u, false),
        weighted(hd_nth(qr, 1), u, true) };
    return hd_stack_n(0, q, sizeof q / sizeof *q);
}

static hd all_together(hd a) { return hd_sum(quantities(a)); }

START_TEST(matrices)
{
    static const float want[] = { 0.9787897f, -0.01071924f, 0.6783688f, 1.433124f, -2.128944f, 1.411983f,
        0.09216338f, -24.43026f, 3.391409f, -1.716207f, 0.5524508f, 0.1301853f, -1.28171f };
    static const float slope[] = { 37.17893f, 1.967566f, -18.67284f, -11.1005f, 18.95203f, -1.503385f,
        -17.04196f, 11.01257f, 14.19893f, -1.228836f, -3.989361f, -3.498378f, 14.53241f, -0.5371608f,
        -9.486985f, 3.845844f, 13.60803f, -0.2325403f };
    float z[18];
    for (int k = 0; k < 18; k++)
        z[k] = entry(k);
    hd_array *a = hd_array_new(HD_C64, (hd_ints){ 2, { 3, 3 } }, z, NULL);
    hd_array *y = on(where[_i], HD_FN(quantities), a), *g = on(where[_i], hd_grad(all_together), a);
    const float *got = hd_data(y), *got_slope = hd_data(g);
    for (size_t k = 0; k < sizeof want / sizeof *want; k++)
        ck_assert_msg(fabsf(got[k] - want[k]) < 1e-4f * (1 + fabsf(want[k])), "%s, %zu: %g, not %g",
            where[_i], k, (double)got[k], (double)want[k]);
    for (size_t k = 0; k < sizeof slope / sizeof *slope; k++)
        ck_assert_msg(fabsf(got_slope[k] - slope[k]) < 1e-3f * (1 + fabsf(slope[k])),
            "%s, slope %zu: %g, not %g", where[_i], k, (double)got_slope[k], (double)slope[k]);
    hd_drop(a), hd_drop(y), hd_drop(g);
}
END_TEST

static hd roots(hd p) { return hd_roots(p); }
static hd roots_size(hd p) { return hd_sum(hd_square(hd_abs(hd_roots(p)))); }

/* The product of all (x - root) is the polynomial; the gradient is JAX's. One root is 0. */
START_TEST(roots_of_polynomials)
{
    const float p[] = { 1, -6, 11.5f, -6, 0.25f, 3 }, q[] = { 2, 0, -8, 0 },
                slope[] = { -16.693255f, 0.7271408f, 2.4178124f, 1.5068203f, 0.8139636f, 0.6962293f };
    hd_array *a = hd_array_new(HD_F32, (hd_ints){ 1, { 6 } }, p, NULL),
             *b = hd_array_new(HD_F32, (hd_ints){ 1, { 4 } }, q, NULL);
    hd_array *x = on(where[_i], HD_FN(roots), a), *y = on(where[_i], HD_FN(roots), b),
             *g = on(where[_i], hd_grad(roots_size), a);
    const float complex *r = hd_data(x), *s = hd_data(y);
    for (int at = -2; at < 3; at++) {
        float complex got = 1;
        float want = 0;
        for (int k = 0; k < 5; k++)
            got *= (float)at - r[k];
        for (int k = 0; k < 6; k++)
            want = want * (float)at + p[k];
        ck_assert_msg(
            cabsf(got - want) < 1e-4f * (1 + fabsf(want)), "%d: %g", at, (double)cabsf(got - want));
    }
    float sizes = 0;
    for (int k = 0; k < 3; k++)
        sizes += cabsf(s[k]), ck_assert(cabsf(s[k] * (s[k] - 2) * (s[k] + 2)) < 1e-5f);
    ck_assert(fabsf(sizes - 4) < 1e-5f);
    for (int k = 0; k < 6; k++)
        ck_assert(fabsf(((const float *)hd_data(g))[k] - slope[k]) < 1e-4f * (1 + fabsf(slope[k])));
    hd_drop(a), hd_drop(b), hd_drop(x), hd_drop(y), hd_drop(g);
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
    tcase_add_loop_test(c, matrices, 0, WHERE);
    tcase_add_loop_test(c, roots_of_polynomials, 0, WHERE);
    return suite_run(s);
}
