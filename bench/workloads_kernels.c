/* workloads_kernels.c - single operations and short formulas at sizes that fill memory or the arithmetic
 * units. */
#include "workloads.h"

#include <math.h>

#define M16 (1 << 24)

/* ==================== flat arrays */

static hd saxpy(hd x, hd y) { return hd_add(times(2, x), y); }
static hd half_gelu(hd x)
{
    hd u = plus(times(2, x), .1), g = hd_mul(times(.5, u), plus(hd_erf(times(sqrt(.5), u)), 1));
    return hd_sub(times(.5, g), x);
}
static hd total(hd x) { return hd_sum(x); }
static hd running(hd x) { return hd_cumsum(x, 0); }

static hd_fn *saxpy_fn(const int64_t *s) { (void)s; return HD_FN(saxpy); }
static hd_fn *exp_fn(const int64_t *s) { (void)s; return HD_FN(hd_exp); }
static hd_fn *tanh_fn(const int64_t *s) { (void)s; return HD_FN(hd_tanh); }
static hd_fn *erf_fn(const int64_t *s) { (void)s; return HD_FN(hd_erf); }
static hd_fn *gelu_fn(const int64_t *s) { (void)s; return HD_FN(half_gelu); }
static hd_fn *sum_fn(const int64_t *s) { (void)s; return HD_FN(total); }
static hd_fn *cumsum_fn(const int64_t *s) { (void)s; return HD_FN(running); }

static int flat_args(const int64_t *s, hd_array **a) { a[0] = AR(1, 3, 0, s[0]); return 1; }
static int saxpy_args(const int64_t *s, hd_array **a)
{
    a[0] = AR(1, 3, 0, s[0]), a[1] = AR(2, 3, 0, s[0]);
    return 2;
}

static double once(const int64_t *s, const hd_array *o) { (void)o; return (double)s[0]; }
static double twice(const int64_t *s, const hd_array *o) { (void)o; return 2.0 * (double)s[0]; }
static double slow(const int64_t *s, const hd_array *o) { (void)o; return SLOW * (double)s[0]; }
static double gelu_flops(const int64_t *s, const hd_array *o) { (void)o; return (SLOW + 8) * (double)s[0]; }

/* ==================== rows */

static hd soft(hd x) { return hd_softmax(x, -1); }
static hd lse(hd x) { return hd_logsumexp(x, -1); }
static hd_fn *softmax_fn(const int64_t *s) { (void)s; return HD_FN(soft); }
static hd_fn *lse_fn(const int64_t *s) { (void)s; return HD_FN(lse); }
static int rows_args(const int64_t *s, hd_array **a) { a[0] = AR(1, 3, 0, s[0], s[1]); return 1; }
static double softmax_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return (SLOW + 4.0) * (double)(s[0] * s[1]);
}
static double lse_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return (SLOW + 3.0) * (double)(s[0] * s[1]);
}

static hd normalise_vjp(hd x, hd g, hd b, hd ct)
{
    return hd_nth(hd_apply(hd_vjp(normalise), x, g, b, ct), 1);
}
static hd_fn *layernorm_fn(const int64_t *s) { (void)s; return HD_FN(normalise); }
static hd_fn *layernorm_grad_fn(const int64_t *s) { (void)s; return HD_FN(normalise_vjp); }

static int layernorm_args(const int64_t *s, hd_array **a)
{
    a[0] = AR(1, 2, .5, s[0], s[1]), a[1] = AR(2, .5, 1, s[1]), a[2] = AR(3, .1, 0, s[1]);
    return 3;
}

static int layernorm_grad_args(const int64_t *s, hd_array **a)
{
    layernorm_args(s, a);
    a[3] = A(4, s[0], s[1]);
    return 4;
}

static double layernorm_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return 8.0 * (double)(s[0] * s[1]);
}
static double layernorm_grad_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return 20.0 * (double)(s[0] * s[1]);
}

static hd turned(hd x) { return hd_transpose(x); }
static hd_fn *transpose_fn(const int64_t *s) { (void)s; return HD_FN(turned); }
static int square_args(const int64_t *s, hd_array **a) { a[0] = A(1, s[0], s[0]); return 1; }

/* ==================== products: sizes m, k, n */

static hd gemm_gelu(hd a, hd b, hd c) { return hd_gelu(hd_add(hd_matmul(a, b), c)); }
static hd gram(hd a) { return hd_matmul(hd_transpose(a), a); }
static hd_fn *gemm_fn(const int64_t *s) { (void)s; return HD_FN(hd_matmul); }
static hd_fn *gemm_gelu_fn(const int64_t *s) { (void)s; return HD_FN(gemm_gelu); }
static hd_fn *gram_fn(const int64_t *s) { (void)s; return HD_FN(gram); }
static hd_fn *bmm_fn(const int64_t *s) { (void)s; return hd_vmap(hd_matmul); }
static int gemm_args(const int64_t *s, hd_array **a)
{
    a[0] = A(1, s[0], s[1]), a[1] = dense(2, s[1], s[2]);
    return 2;
}
static int gemm_gelu_args(const int64_t *s, hd_array **a) { gemm_args(s, a), a[2] = A(3, s[2]); return 3; }
static int gram_args(const int64_t *s, hd_array **a) { a[0] = A(1, s[0], s[1]); return 1; }
static int bmm_args(const int64_t *s, hd_array **a)
{
    a[0] = A(1, s[0], s[1], s[1]), a[1] = AR(2, .2, 0, s[0], s[1], s[1]);
    return 2;
}
static int matvec_args(const int64_t *s, hd_array **a)
{
    a[0] = dense(1, s[0], s[0]), a[1] = A(2, s[0]);
    return 2;
}
static double gemm_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return 2.0 * (double)(s[0] * s[1] * s[2]);
}
static double gemm_gelu_flops(const int64_t *s, const hd_array *o)
{
    return gemm_flops(s, o) + SLOW * (double)(s[0] * s[2]);
}
static double gram_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return 2.0 * (double)(s[0] * s[1] * s[1]);
}
static double bmm_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return 2.0 * (double)(s[0] * s[1] * s[1] * s[1]);
}
static double matvec_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return 2.0 * (double)(s[0] * s[0]);
}

/* ==================== convolutions: sizes n, h, c */

static hd convolve_vjp(hd x, hd w, hd ct) { return hd_nth(hd_apply(hd_vjp(convolve3x3), x, w, ct), 1); }

static hd depthwise3x3(hd x, hd w)                      /* every channel by itself */
{
    int64_t n = hd_dim(x, 0), h = hd_dim(x, 1), v = hd_dim(x, 2), c = hd_dim(x, 3);
    hd wide = hd_pad(x, hd_c(0), HD_INTS(0, 1, 1, 0), HD_INTS(0, 1, 1, 0), HD_INTS()), y = HD_NIL;
    for (int a = 0; a < 3; a++)
        for (int b = 0; b < 3; b++) {
            hd part = hd_slice(wide, HD_INTS(0, a, b, 0), HD_INTS(n, a + h, b + v, c), HD_INTS());
            hd tap = hd_mul(part, hd_reshape(hd_index(hd_index(w, 0, a), 0, b), c));
            y = a || b ? hd_add(y, tap) : tap;
        }
    return y;
}

static hd_fn *conv_fn(const int64_t *s) { (void)s; return HD_FN(convolve3x3); }
static hd_fn *conv_grad_fn(const int64_t *s) { (void)s; return HD_FN(convolve_vjp); }
static hd_fn *dwconv_fn(const int64_t *s) { (void)s; return HD_FN(depthwise3x3); }

static int conv_args(const int64_t *s, hd_array **a)
{
    a[0] = A(1, s[0], s[1], s[1], s[2]), a[1] = AR(2, sqrt(3 / (9.0 * (double)s[2])), 0, 3, 3, s[2], s[2]);
    return 2;
}

static int conv_grad_args(const int64_t *s, hd_array **a)
{
    conv_args(s, a), a[2] = A(3, s[0], s[1], s[1], s[2]);
    return 3;
}

static int dwconv_args(const int64_t *s, hd_array **a)
{
    a[0] = A(1, s[0], s[1], s[1], s[2]), a[1] = AR(2, sqrt(1.0 / 3), 0, 3, 3, 1, s[2]);
    return 2;
}

static double dwconv_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return 18.0 * (double)(s[0] * s[1] * s[1] * s[2]);
}
static double conv_flops(const int64_t *s, const hd_array *o) { return dwconv_flops(s, o) * (double)s[2]; }
static double conv_grad_flops(const int64_t *s, const hd_array *o) { return 2 * conv_flops(s, o); }

/* ==================== order, tables */

static hd sorted(hd x) { return hd_sort(x, -1); }
static hd_fn *sort_fn(const int64_t *s) { (void)s; return HD_FN(sorted); }
static int sort_args(const int64_t *s, hd_array **a)
{
    a[0] = s[0] == 1 ? A(1, s[1]) : A(1, s[0], s[1]);
    return 1;
}
static double sort_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return (double)(s[0] * s[1]) * log2((double)s[1]);
}

static hd look_up(hd table, hd index) { return hd_take(table, index, 0); }
static hd add_rows(hd table, hd index, hd update)
{
    hd at = hd_expand_dims(index, -1);
    return hd_scatter(table, at, update, .window_axes = HD_INTS(1), .collapsed_axes = HD_INTS(0),
        .index_axes = HD_INTS(0), .combine = HD_ADD);
}
static hd_fn *gather_fn(const int64_t *s) { (void)s; return HD_FN(look_up); }
static hd_fn *scatter_fn(const int64_t *s) { (void)s; return HD_FN(add_rows); }
static int gather_args(const int64_t *s, hd_array **a)
{
    a[0] = A(1, s[0], s[1]), a[1] = Z(2, (uint32_t)s[0], s[2]);
    return 2;
}
static int scatter_args(const int64_t *s, hd_array **a)
{
    gather_args(s, a), a[2] = A(3, s[2], s[1]);
    return 3;
}
static double scatter_flops(const int64_t *s, const hd_array *o) { (void)o; return (double)(s[1] * s[2]); }

/* ==================== random numbers: one key, n of them */

static hd bits(hd key, const void *n) { return hd_random_bits(key, HD_U32, *(const int64_t *)n); }
static hd uniform(hd key, const void *n) { return hd_random_uniform(key, HD_F32, *(const int64_t *)n); }
static hd normal(hd key, const void *n) { return hd_random_normal(key, HD_F32, *(const int64_t *)n); }
static hd_fn *bits_fn(const int64_t *s) { return hd_bind(bits, s[0]); }
static hd_fn *uniform_fn(const int64_t *s) { return hd_bind(uniform, s[0]); }
static hd_fn *normal_fn(const int64_t *s) { return hd_bind(normal, s[0]); }
static int key_args(const int64_t *s, hd_array **a) { (void)s; a[0] = seed_key(0); return 1; }
static double bits_flops(const int64_t *s, const hd_array *o) { (void)o; return 77.0 * (double)s[0]; }
static double normal_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return (77.0 + 2 * SLOW) * (double)s[0];
}

/* ==================== the group */

#define ROW(n, fn, arg, fl, to, ...) \
    { .name = #n, .group = "kernels", .function = fn, .args = arg, .flops = fl, .target = to, __VA_ARGS__ }
#define AT(...)     .size = { __VA_ARGS__ }
#define SMALL(...)  .small = { __VA_ARGS__ }

const Workload kernel_workloads[] = {
    ROW(saxpy_16m, saxpy_fn, saxpy_args, twice, 2.5, AT(M16), SMALL(1003)),
    ROW(exp_16m, exp_fn, flat_args, slow, 5, AT(M16), SMALL(1003)),
    ROW(tanh_16m, tanh_fn, flat_args, slow, 4, AT(M16), SMALL(1003)),
    ROW(erf_16m, erf_fn, flat_args, slow, 4, AT(M16), SMALL(1003)),
    ROW(gelu_16m, gelu_fn, flat_args, gelu_flops, 5, AT(M16), SMALL(1003)),
    ROW(sum_16m, sum_fn, flat_args, once, 1.1, AT(M16), SMALL(70001), .tol = 1e-4),
    ROW(cumsum_16m, cumsum_fn, flat_args, once, 15, AT(M16), SMALL(70001), .tol = 1e-4),
    ROW(softmax, softmax_fn, rows_args, softmax_flops, 1.5, AT(4096, 1024), SMALL(17, 1024)),
    ROW(logsumexp, lse_fn, rows_args, lse_flops, 1.8, AT(4096, 1024), SMALL(17, 1024)),
    ROW(layernorm, layernorm_fn, layernorm_args, layernorm_flops, 2, AT(4096, 1024), SMALL(17, 1024)),
    ROW(layernorm_grad, layernorm_grad_fn, layernorm_grad_args, layernorm_grad_flops, 5, AT(4096, 1024),
        SMALL(35, 1024)),
    ROW(transpose_4096, transpose_fn, square_args, NULL, 3, AT(4096), SMALL(80)),
    ROW(gemm_256, gemm_fn, gemm_args, gemm_flops, 1, AT(256, 256, 256), SMALL(70, 33, 50)),
    ROW(gemm_512, gemm_fn, gemm_args, gemm_flops, .95, AT(512, 512, 512), SMALL(64, 64, 64)),
    ROW(gemm_1024, gemm_fn, gemm_args, gemm_flops, .95, AT(1024, 1024, 1024), SMALL(128, 128, 128)),
    ROW(gemm_2048, gemm_fn, gemm_args, gemm_flops, .9, AT(2048, 2048, 2048), SMALL(100, 200, 150)),
    ROW(gemm_gelu_1024, gemm_gelu_fn, gemm_gelu_args, gemm_gelu_flops, 1, AT(1024, 1024, 1024),
        SMALL(60, 40, 70)),
    ROW(gemm_skinny, gemm_fn, gemm_args, gemm_flops, 2.5, AT(1 << 18, 32, 32), SMALL(400, 32, 32)),
    ROW(gram_256k, gram_fn, gram_args, gram_flops, 2, AT(1 << 18, 32), SMALL(3000, 32)),
    ROW(bmm_512, bmm_fn, bmm_args, bmm_flops, 2, AT(512, 64), SMALL(3, 64)),
    ROW(matvec_4096, gemm_fn, matvec_args, matvec_flops, 1, AT(4096), SMALL(200)),
    ROW(conv3x3, conv_fn, conv_args, conv_flops, 1.9, AT(32, 56, 64), SMALL(2, 7, 16)),
    ROW(conv3x3_grad, conv_grad_fn, conv_grad_args, conv_grad_flops, 2.2, AT(32, 56, 64), SMALL(2, 7, 16)),
    ROW(dwconv3x3, dwconv_fn, dwconv_args, dwconv_flops, 25, AT(32, 56, 64), SMALL(2, 7, 32)),
    ROW(sort_1m, sort_fn, sort_args, sort_flops, 20, AT(1, 1 << 20), SMALL(1, 3000)),
    ROW(sort_rows, sort_fn, sort_args, sort_flops, 20, AT(1024, 1024), SMALL(20, 100)),
    ROW(gather, gather_fn, gather_args, NULL, 3, AT(100000, 64, 1 << 16), SMALL(1000, 64, 300)),
    ROW(scatter_add, scatter_fn, scatter_args, scatter_flops, 1.5, AT(100000, 64, 1 << 16),
        SMALL(100, 64, 300)),
    ROW(random_bits_16m, bits_fn, key_args, bits_flops, 12, AT(M16), SMALL(1003)),
    ROW(uniform_16m, uniform_fn, key_args, bits_flops, 12, AT(M16), SMALL(1003)),
    ROW(normal_16m, normal_fn, key_args, normal_flops, 7, AT(M16), SMALL(1003)),
    { 0 },
};
