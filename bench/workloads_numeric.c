/* workloads_numeric.c - transforms, factorisations, windows and complex products: what libraries are called
 * for elsewhere. */
#include "workloads.h"

#include <math.h>

/* ==================== Fourier transforms: of two arrays of parts, [n] or [n, n]; of rows of reals */

static hd fft_flat(hd re, hd im) { return hd_fft(hd_complex(re, im)); }
static hd fft_plane(hd re, hd im) { return hd_fft(hd_complex(re, im), 0, 1); }
static hd fft_rows(hd x) { return hd_rfft(x); }
static hd_fn *fft_flat_fn(const int64_t *s) { (void)s; return HD_FN(fft_flat); }
static hd_fn *fft_plane_fn(const int64_t *s) { (void)s; return HD_FN(fft_plane); }
static hd_fn *fft_rows_fn(const int64_t *s) { (void)s; return HD_FN(fft_rows); }

static int pair_args(const int64_t *s, hd_array **a) { a[0] = A(1, s[0]), a[1] = A(2, s[0]); return 2; }
static int plane_args(const int64_t *s, hd_array **a)
{
    a[0] = A(1, s[0], s[0]), a[1] = A(2, s[0], s[0]);
    return 2;
}
static int rows_args(const int64_t *s, hd_array **a) { a[0] = A(1, s[0], s[1]); return 1; }

static double fft_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return 5.0 * (double)s[0] * log2((double)s[0]);
}
static double plane_flops(const int64_t *s, const hd_array *o)
{
    return 2.0 * (double)s[0] * fft_flops(s, o);
}
static double row_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return 2.5 * (double)(s[0] * s[1]) * log2((double)s[1]);
}

static hd complex_product(hd a, hd b, hd c, hd d) { return hd_matmul(hd_complex(a, b), hd_complex(c, d)); }
static hd_fn *complex_fn(const int64_t *s) { (void)s; return HD_FN(complex_product); }
static int complex_args(const int64_t *s, hd_array **a)
{
    plane_args(s, a);
    a[2] = dense(3, s[0], s[0]), a[3] = dense(4, s[0], s[0]);
    return 4;
}
static double complex_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return 8.0 * (double)(s[0] * s[0] * s[0]);
}

/* ==================== factorisations: sizes count, n. Matrices are small numbers beside a diagonal. */

static hd heavy(hd a)
{
    return hd_add(a, times(4, hd_eye(HD_F32, hd_dim(a, -1))));
}
static hd factor(hd a) { return hd_cholesky(heavy(a)); }
static hd solved(hd a, hd b) { return hd_solve(heavy(a), b); }
static hd values(hd a)                                  /* without signs, which are nobody's */
{
    hd usv = hd_svd(a);
    return hd_tuple(hd_abs(hd_nth(usv, 0)), hd_nth(usv, 1), hd_abs(hd_nth(usv, 2)));
}
static hd_fn *cholesky_fn(const int64_t *s) { (void)s; return HD_FN(factor); }
static hd_fn *solve_fn(const int64_t *s) { (void)s; return HD_FN(solved); }
static hd_fn *svd_fn(const int64_t *s) { (void)s; return HD_FN(values); }

static int matrix_args(const int64_t *s, hd_array **a)
{
    a[0] = AR(1, 1 / sqrt((double)s[1]), 0, s[0], s[1], s[1]);
    return 1;
}
static int solve_args(const int64_t *s, hd_array **a)
{
    matrix_args(s, a), a[1] = A(2, s[0], s[1], 1);
    return 2;
}
static double cubes(const int64_t *s) { return (double)(s[0] * s[1] * s[1] * s[1]); }
static double cholesky_flops(const int64_t *s, const hd_array *o) { (void)o; return cubes(s) / 3; }
static double solve_flops(const int64_t *s, const hd_array *o) { (void)o; return 2 * cubes(s) / 3; }
static double svd_flops(const int64_t *s, const hd_array *o) { (void)o; return 20 * cubes(s); }

/* ==================== windows: sizes batch, height, features in, features out */

#define NHWC    .dims = "NHWC,HWIO->NHWC"
static hd conv1x1(hd x, hd w) { return hd_conv(x, w, NHWC); }
static hd conv3x3s2(hd x, hd w) { return hd_conv(x, w, NHWC, .stride = HD_INTS(2, 2), .same = true); }
static hd depthwise(hd x, hd w) { return hd_conv(x, w, NHWC, .groups = hd_dim(x, 3), .same = true); }
static hd pooled(hd x)
{
    return hd_max_pool(x, .window = HD_INTS(3, 3, 1), .stride = HD_INTS(2, 2, 1), .same = true);
}
static hd pooled_vjp(hd x, hd ct) { return hd_nth(hd_apply(hd_vjp(pooled), x, ct), 1); }
static hd_fn *conv1x1_fn(const int64_t *s) { (void)s; return HD_FN(conv1x1); }
static hd_fn *conv3x3s2_fn(const int64_t *s) { (void)s; return HD_FN(conv3x3s2); }
static hd_fn *depthwise_fn(const int64_t *s) { (void)s; return HD_FN(depthwise); }
static hd_fn *pool_fn(const int64_t *s) { (void)s; return HD_FN(pooled_vjp); }

static int conv_args(const int64_t *s, hd_array **a, int64_t k)
{
    a[0] = A(1, s[0], s[1], s[1], s[2]);
    a[1] = AR(2, sqrt(3 / (double)(k * k * s[2])), 0, k, k, s[2], s[3]);
    return 2;
}
static int conv1x1_args(const int64_t *s, hd_array **a) { return conv_args(s, a, 1); }
static int conv3x3_args(const int64_t *s, hd_array **a) { return conv_args(s, a, 3); }
static int depthwise_args(const int64_t *s, hd_array **a)
{
    a[0] = A(1, s[0], s[1], s[1], s[2]), a[1] = AR(2, sqrt(3 / 25.0), 0, 5, 5, 1, s[2]);
    return 2;
}
static int pool_args(const int64_t *s, hd_array **a)
{
    int64_t half = (s[1] + 1) / 2;
    a[0] = A(1, s[0], s[1], s[1], s[2]), a[1] = A(2, s[0], half, half, s[2]);
    return 2;
}
static double pixels(const int64_t *s) { return (double)(s[0] * s[1] * s[1]); }
static double conv1x1_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return 2 * pixels(s) * (double)(s[2] * s[3]);
}
static double conv3x3_flops(const int64_t *s, const hd_array *o) { return 9.0 / 4 * conv1x1_flops(s, o); }
static double depthwise_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return 50 * pixels(s) * (double)s[2];
}

/* ==================== the group */

#define ROW(n, fn, arg, fl, to, ...) \
    { .name = #n, .group = "numeric", .function = fn, .args = arg, .flops = fl, .target = to, __VA_ARGS__ }
#define AT(...)     .size = { __VA_ARGS__ }
#define SMALL(...)  .small = { __VA_ARGS__ }

const Workload numeric_workloads[] = {
    ROW(fft_1m, fft_flat_fn, pair_args, fft_flops, 1, AT(1 << 20), SMALL(1 << 9), .tol = 1e-4),
    ROW(fft2_1024, fft_plane_fn, plane_args, plane_flops, 1, AT(1024), SMALL(32), .tol = 1e-4),
    ROW(rfft_rows, fft_rows_fn, rows_args, row_flops, 1, AT(4096, 1024), SMALL(3, 64), .tol = 1e-4),
    ROW(complex_512, complex_fn, complex_args, complex_flops, 1, AT(512), SMALL(20), .tol = 1e-4),
    ROW(cholesky_8, cholesky_fn, matrix_args, cholesky_flops, 1, AT(100000, 8), SMALL(20, 8), .tol = 1e-4),
    ROW(cholesky_512, cholesky_fn, matrix_args, cholesky_flops, 1, AT(8, 512), SMALL(1, 40), .tol = 1e-4),
    ROW(solve_8, solve_fn, solve_args, solve_flops, 1, AT(100000, 8), SMALL(20, 8), .tol = 1e-4),
    ROW(solve_512, solve_fn, solve_args, solve_flops, 1, AT(8, 512), SMALL(1, 40), .tol = 1e-4),
    ROW(svd_64, svd_fn, matrix_args, svd_flops, 1, AT(256, 64), SMALL(2, 5), .tol = 1e-2, .sum_only = true),
    ROW(conv1x1, conv1x1_fn, conv1x1_args, conv1x1_flops, 1, AT(32, 56, 64, 256), SMALL(2, 5, 8, 16)),
    ROW(conv3x3_s2, conv3x3s2_fn, conv3x3_args, conv3x3_flops, 1, AT(32, 56, 128, 128), SMALL(2, 6, 8, 16)),
    ROW(dwconv5x5, depthwise_fn, depthwise_args, depthwise_flops, 1, AT(32, 56, 64), SMALL(2, 7, 16)),
    ROW(max_pool_grad, pool_fn, pool_args, NULL, 1, AT(32, 56, 64), SMALL(2, 7, 16)),
    { 0 },
};
