/*
 * test_windows.c - convolutions, reductions over windows and pooling: values and derivatives against loops
 * written out here, on every device; what lanes make of them; the kernels that they become; what is refused.
 */
#include <math.h>
#include <stdlib.h>

#include "suite.h"

/* ==================== a convolution of two axes of space, written out */

enum { B = 2, C = 4, H = 7, W = 6, O = 6, K = 3, L = 2, GROUPS = 2 };

static hd plain(hd x, hd w)
{
    return hd_conv(x, w, .stride = HD_INTS(2, 1), .pad = HD_INTS(1, 0, 1, 1), .w_dilation = HD_INTS(1, 2),
        .groups = GROUPS);
}

static void numbers(float *v, int n, int seed)
{
    for (int k = 0; k < n; k++)
        v[k] = (float)((k * 37 + seed * 11) % 17 - 8) / 4;
}

static float element(const float *x, const float *w, int b, int o, int i, int j)
{
    float sum = 0;
    for (int c = 0; c < C / GROUPS; c++)
        for (int p = 0; p < K; p++)
            for (int q = 0; q < L; q++) {
                int r = i * 2 + p - 1, s = j + q * 2 - 1, from = c + o / (O / GROUPS) * (C / GROUPS);
                if (r >= 0 && r < H && s >= 0 && s < W)
                    sum += x[((b * C + from) * H + r) * W + s] * w[((o * (C / GROUPS) + c) * K + p) * L + q];
            }
    return sum;
}

static void each_device(void (*f)(const char *device))
{
    for (int d = 0; d < DEVICES; d++)
        if (there(devices[d]))
            f(devices[d]);
}

static void convolves_on(const char *device)
{
    float xs[B * C * H * W], ws[O * C / GROUPS * K * L], got[2000];
    numbers(xs, B * C * H * W, 1);
    numbers(ws, O * C / GROUPS * K * L, 2);
    hd_array *x = hd_array_new(HD_F32, HD_INTS(B, C, H, W), xs, NULL), *y = NULL;
    hd_array *w = hd_array_new(HD_F32, HD_INTS(O, C / GROUPS, K, L), ws, NULL);
    ck_assert_msg(hd_call(hd_jit(plain, .device = device), &y, x, w) == 0, "%s", hd_error());
    int h = (int)hd_array_dim(y, 2), n = (int)hd_array_dim(y, 3);
    ck_assert_int_eq(h, (H + 1 - 3) / 2 + 1);
    ck_assert_int_eq(n, W + 2 - 3 + 1);
    ck_assert_int_eq(hd_read(y, got, hd_array_size(y)), 0);
    for (int b = 0; b < B; b++)
        for (int o = 0; o < O; o++)
            for (int i = 0; i < h; i++)
                for (int j = 0; j < n; j++) /* quarters: sums are exact */
                    ck_assert_msg(got[((b * O + o) * h + i) * n + j] == element(xs, ws, b, o, i, j),
                        "%s: element %d %d %d %d is %g, not %g", device, b, o, i, j,
                        got[((b * O + o) * h + i) * n + j], element(xs, ws, b, o, i, j));
    hd_drop(x), hd_drop(w), hd_drop(y);
}

START_TEST(convolution) { each_device(convolves_on); }
END_TEST

/* ==================== derivatives: <ct, J t> = <J^T ct, t>, and differences, which are exact here */

static hd inner(hd x, hd w, hd ct) { return hd_sum(hd_mul(plain(x, w), ct)); }
static hd along(hd x, hd w, hd t, hd u, hd ct)
{
    hd d = hd_nth(hd_apply(hd_jvp(plain), x, w, t, u), 1),
       g = hd_apply(hd_grad(inner, .argnums = HD_INTS(0, 1)), x, w, ct);
    hd forward = hd_sum(hd_mul(d, ct));
    hd reverse = hd_add(hd_sum(hd_mul(hd_nth(g, 0), t)), hd_sum(hd_mul(hd_nth(g, 1), u)));
    hd half = hd_c(0.5); /* f(x + t/2, w + u/2) - f(x - t/2, w - u/2), of a bilinear f */
    hd up = plain(hd_add(x, hd_mul(half, t)), hd_add(w, hd_mul(half, u)));
    hd down = plain(hd_sub(x, hd_mul(half, t)), hd_sub(w, hd_mul(half, u)));
    return hd_tuple(forward, reverse, hd_sum(hd_mul(hd_sub(up, down), ct)));
}

static void derives_on(const char *device)
{
    float v[5][B * C * H * W + O * C * K * L];
    hd_array *in[5], *out[3] = { NULL };
    const hd_ints x = HD_INTS(B, C, H, W), w = HD_INTS(O, C / GROUPS, K, L), y = HD_INTS(B, O, 3, 6),
                  shape[5] = { x, w, x, w, y };
    for (int k = 0; k < 5; k++) {
        numbers(v[k], B * C * H * W + O * C * K * L, k + 3);
        in[k] = hd_array_new(HD_F32, shape[k], v[k], NULL);
    }
    ck_assert_msg(hd_call(hd_jit(along, .device = device), out, in[0], in[1], in[2], in[3], in[4]) == 0,
        "%s", hd_error());
    ck_assert_msg(hd_item(out[0]) == hd_item(out[1]) && hd_item(out[0]) == hd_item(out[2]),
        "%s: %g forwards, %g in reverse, %g", device, hd_item(out[0]), hd_item(out[1]), hd_item(out[2]));
    for (int k = 0; k < 5; k++)
        hd_drop(in[k]);
    for (int k = 0; k < 3; k++)
        hd_drop(out[k]);
}

START_TEST(derivatives) { each_device(derives_on); }
END_TEST

/* ==================== lanes: kernels of their own for each example */

static hd mapped(hd x, hd w) { return hd_apply(hd_vmap(plain), x, w); }

static void maps_on(const char *device)
{
    enum { N = 3, X = B * C * H * W, F = O * C / GROUPS * K * L };
    float xs[N * X], ws[N * F], all[N * 2000], one[2000];
    numbers(xs, N * X, 1);
    numbers(ws, N * F, 2);
    hd_array *x = hd_array_new(HD_F32, HD_INTS(N, B, C, H, W), xs, NULL), *y = NULL;
    hd_array *w = hd_array_new(HD_F32, HD_INTS(N, O, C / GROUPS, K, L), ws, NULL);
    ck_assert_msg(hd_call(hd_jit(mapped, .device = device), &y, x, w) == 0, "%s", hd_error());
    ck_assert_int_eq(hd_read(y, all, hd_array_size(y)), 0);
    int64_t n = hd_array_size(y) / N;
    for (int k = 0; k < N; k++) {
        hd_array *a = hd_array_new(HD_F32, HD_INTS(B, C, H, W), xs + k * X, NULL), *z = NULL;
        hd_array *b = hd_array_new(HD_F32, HD_INTS(O, C / GROUPS, K, L), ws + k * F, NULL);
        ck_assert_msg(hd_call(hd_jit(plain, .device = device), &z, a, b) == 0, "%s", hd_error());
        ck_assert_int_eq(hd_read(z, one, hd_array_size(z)), 0);
        ck_assert_msg(!memcmp(one, all + k * n, sizeof *one * (size_t)n), "%s: example %d", device, k);
        hd_drop(a), hd_drop(b), hd_drop(z);
    }
    hd_drop(x), hd_drop(w), hd_drop(y);
}

START_TEST(lanes) { each_device(maps_on); }
END_TEST

/* ==================== the other direction: hd_conv_transpose with `same` has size * stride elements */

static hd upward(hd x, hd w) { return hd_conv_transpose(x, w, .stride = HD_INTS(3), .same = true); }
static hd upward_valid(hd x, hd w) { return hd_conv_transpose(x, w, .stride = HD_INTS(2)); }

START_TEST(transposed)
{
    const float xs[] = { 1, 2, 4 }, ws[] = { 1, 10 };
    float got[9];
    hd_array *x = hd_array_new(HD_F32, HD_INTS(1, 1, 3), xs, NULL),
             *w = hd_array_new(HD_F32, HD_INTS(1, 1, 2), ws, NULL);
    hd_array *y = NULL, *z = NULL;
    ck_assert_msg(hd_call(upward, &y, x, w) == 0, "%s", hd_error());
    ck_assert_int_eq(hd_array_dim(y, 2), 9);
    ck_assert_int_eq(hd_read(y, got, hd_array_size(y)), 0);
    const float same[] = { 10, 1, 0, 20, 2, 0, 40, 4, 0 }; /* jax.lax.conv_transpose */
    for (int k = 0; k < 9; k++)
        ck_assert_msg(got[k] == same[k], "element %d is %g", k, got[k]);
    ck_assert_msg(hd_call(upward_valid, &z, x, w) == 0, "%s", hd_error());
    ck_assert_int_eq(hd_array_dim(z, 2), 6);
    hd_drop(x), hd_drop(w), hd_drop(y), hd_drop(z);
}
END_TEST

/* ==================== windows */

/* Of 1 2 9 9 3: windows of 2, the larger of each, and what the first of them is given. */
static hd largest(hd x) { return hd_max_pool(x, .window = HD_INTS(2)); }
static hd weighed(hd x, hd w) { return hd_sum(hd_mul(largest(x), w)); }
static hd smaller(hd a, hd b)
{
    return hd_where(hd_lt(hd_abs(a), hd_abs(b)), a, b);
} /* no reduction that we know */
static hd pools(hd x)
{
    hd g = hd_apply(hd_grad(weighed), x, hd_add(hd_iota(HD_F32, 0, 4), hd_c(1)));
    return hd_tuple(largest(x), g,
        hd_avg_pool(x, .window = HD_INTS(2), .stride = HD_INTS(2), .pad = HD_INTS(0, 1)),
        hd_reduce_window(smaller, hd_c(100), x, .window = HD_INTS(3), .same = true),
        hd_reduce_window(hd_mul, hd_c(2), x, .window = HD_INTS(2), .stride = HD_INTS(3)),
        hd_windows(x, .window = HD_INTS(3), .dilation = HD_INTS(2)));
}

static void pools_on(const char *device)
{
    static const float want[][8] = { { 2, 9, 9, 9 }, { 0, 1, 5, 4 }, { 1.5f, 9, 1.5f }, { 1, 1, 2, 3, 3 },
        { 4, 54 }, { 1, 9, 3 } };
    static const int n[] = { 4, 5, 3, 5, 2, 3 };
    const float xs[] = { 1, 2, 9, 9, 3 };
    float got[8];
    hd_array *x = hd_array_new(HD_F32, HD_INTS(5), xs, NULL), *y[6] = { NULL };
    ck_assert_msg(hd_call(hd_jit(pools, .device = device), y, x) == 0, "%s", hd_error());
    for (int k = 0; k < 6; k++) {
        ck_assert_int_eq(hd_array_size(y[k]), n[k]);
        ck_assert_int_eq(hd_read(y[k], got, hd_array_size(y[k])), 0);
        for (int j = 0; j < n[k]; j++)
            ck_assert_msg(got[j] == want[k][j], "%s: result %d, element %d is %g, not %g", device, k, j,
                got[j], want[k][j]);
        hd_drop(y[k]);
    }
    hd_drop(x);
}

START_TEST(pooling) { each_device(pools_on); }
END_TEST

/* ==================== no window is stored */

static hd layer(hd x, hd w)
{
    return hd_sum(hd_square(hd_conv(x, w, .same = true, .dims = "NHWC,HWIO->NHWC")));
}

START_TEST(no_windows_in_memory)
{
    hd_array *x = hd_array_abstract(HD_F32, 4, 64, 64, 16), *w = hd_array_abstract(HD_F32, 3, 3, 16, 16);
    hd_cost_info cost;
    if (there("opencl:0")) {
        ck_assert_msg(hd_cost(hd_jit(hd_grad(layer, .argnums = HD_INTS(0, 1)), .device = "opencl:0"), &cost,
                          x, w) == 0,
            "%s", hd_error());
        ck_assert_msg(cost.temporary_bytes < 4 * 1024 * 1024, "%lld bytes",
            (long long)cost.temporary_bytes); /* windows: 9 MB */
    }
    hd_drop(x), hd_drop(w);
}
END_TEST

/* ==================== what is refused */

static hd odd(hd x) { return hd_conv(x, hd_ones(HD_F32, 4, 3, 3, 3), .dims = "NHWC,OIHW->NHWC"); }
static hd letters(hd x) { return hd_conv(x, hd_ones(HD_F32, 4, 3, 3, 3), .dims = "NHWC,OIHH->NHWC"); }
static hd short_list(hd x) { return hd_conv(x, hd_ones(HD_F32, 4, 5, 3, 3), .stride = HD_INTS(2)); }
static hd no_window(hd x) { return hd_max_pool(x); }
static hd no_size(hd x) { return hd_max_pool(x, .window = HD_INTS(2, 0)); }
static hd wrong_source(hd x) { return hd_select_and_scatter_max(x, x, .window = HD_INTS(2, 2)); }

START_TEST(refused)
{
    static const struct {
        hd (*f)(hd);
        const char *says;
    } rows[] = {
        { odd, "takes 3 features: 5 are wanted" },
        { letters, "each axis has one letter" },
        { short_list, "stride is a list of 1, not 2: a number for each axis of the windows" },
        { no_window, "window has 0 sizes" },
        { no_size, "window has 0 for axis 3" },
        { wrong_source, "has shape f32[2,5,7,4]" },
    };
    hd_array *x = hd_array_abstract(HD_F32, 2, 5, 8, 5), *y = NULL;
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        ck_assert(hd_eval_shape(rows[k].f, &y, x) != 0);
        ck_assert_msg(strstr(hd_error(), rows[k].says) != NULL, "%s", hd_error());
        ck_assert_msg(strstr(hd_error(), "test_windows.c") != NULL, "%s", hd_error());
    }
    hd_drop(x);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("windows");
    TCase *c = suite_case(s);
    tcase_add_test(c, convolution);
    tcase_add_test(c, derivatives);
    tcase_add_test(c, lanes);
    tcase_add_test(c, transposed);
    tcase_add_test(c, pooling);
    tcase_add_test(c, no_windows_in_memory);
    tcase_add_test(c, refused);
    return suite_run(s);
}
