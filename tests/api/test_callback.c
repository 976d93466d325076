/*
 * test_callback.c - hd_callback on every device: a function on the host in straight code, loops and
 * branches, a lane at a time and batched; lanes that are off; trees; what is shared and what is not called;
 * errors of the function; derivatives refused, or given.
 */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "suite.h"

enum { N = 4 };
static const float four[N] = { 1, 2, 3, 4 };
static _Atomic int calls;

/* ==================== functions on the host */

/* x * x + *user, of whatever shape. */
static int square_plus(hd_array *const *args, int n, hd_array **out, int nout, void *user)
{
    int64_t size = hd_array_size(args[0]);
    const float *x = hd_data(args[0]);
    float *y = malloc(sizeof *y * (size_t)(size + 1));
    calls++;
    ck_assert(n == 1 && nout == 1);
    for (int64_t k = 0; k < size; k++)
        y[k] = x[k] * x[k] + *(const float *)user;
    out[0] = hd_array_new(HD_F32, hd_array_shape(args[0]), y, NULL);
    free(y);
    return 0;
}

static const float one = 1, zero = 0;

/* Refuses what is not positive. */
static int root(hd_array *const *args, int n, hd_array **out, int nout, void *user)
{
    (void)n, (void)nout, (void)user;
    double x = hd_item(args[0]);
    calls++;
    if (x < 0)
        return hd_fail("no root of %g", x), HD_EINVAL;
    out[0] = hd_array_scalar(HD_F32, sqrt(x));
    return 0;
}

static int silent(hd_array *const *args, int n, hd_array **out, int nout, void *user)
{
    (void)args, (void)n, (void)out, (void)nout, (void)user;
    return 7;
}

static int wrong_type(hd_array *const *args, int n, hd_array **out, int nout, void *user)
{
    (void)args, (void)n, (void)nout, (void)user;
    out[0] = hd_array_scalar(HD_F64, 1);
    return 0;
}

static int no_result(hd_array *const *args, int n, hd_array **out, int nout, void *user)
{
    (void)args, (void)n, (void)out, (void)nout, (void)user;
    return 0;
}

static hd inner(hd x) { return x; }
static int calls_heddle(hd_array *const *args, int n, hd_array **out, int nout, void *user)
{
    (void)n, (void)nout, (void)user;
    return hd_call(inner, &out[0], args[0]);
}

/* ==================== what is computed */

static void gives(hd_fn *f, const float *v, const double *want, int n, int times)
{
    for (int d = 0; d < DEVICES; d++) {
        float got[16];
        if (!there(devices[d]))
            continue;
        hd_array *x = hd_array_of(v, N), *y = NULL;
        calls = 0;
        ck_assert_msg(
            hd_call(hd_jit(f, .device = devices[d]), &y, x) == 0, "%s: %s", devices[d], hd_error());
        ck_assert_int_eq(hd_array_size(y), n);
        ck_assert_int_eq(hd_read_n(y, HD_F32, got, (size_t)n), 0);
        for (int k = 0; k < n; k++)
            ck_assert_msg(fabs((double)got[k] - want[k]) < 1e-4 * (1 + fabs(want[k])),
                "%s: %d is %g, not %g", devices[d], k, (double)got[k], want[k]);
        ck_assert_msg(calls == times, "%s: %d calls, not %d", devices[d], calls, times);
        hd_drop(x), hd_drop(y);
    }
}
#define GIVES(f, v, n, times, ...) gives(f, v, (const double[]){ __VA_ARGS__ }, n, times)

static hd on_host(hd x) { return hd_callback(square_plus, (void *)(uintptr_t)&one, x, x); }
static hd at_once(hd x) { return hd_callback_batched(square_plus, (void *)(uintptr_t)&one, x, x); }
static hd straight(hd x) { return hd_mul_c(on_host(hd_add_c(x, 1)), 2); }
static hd added(hd c, hd x)
{
    c = hd_add(c, on_host(hd_mul(x, c)));
    return hd_tuple(c, hd_neg(c));
}
static hd scanned(hd x) { return hd_nth(hd_scan(added, hd_c(0), x), 1); }
static hd below(hd x) { return hd_lt(x, hd_c(20)); }
static hd looped(hd x) { return hd_while(below, on_host, x); }
static hd host_below(hd x)
{
    return hd_lt(hd_callback(square_plus, (void *)(uintptr_t)&zero, x, x), hd_c(100));
}
static hd twice(hd x) { return hd_mul_c(x, 2); }
static hd asked(hd x) { return hd_while(host_below, twice, hd_at(x, 0)); }
static hd first_looped(hd x) { return looped(hd_at(x, 1)); }
static hd chosen(hd x) { return hd_cond(hd_gt(x, hd_c(2.5)), on_host, twice, x); }
static hd each(hd c, hd x) { return hd_tuple(c, hd_apply(hd_vmap(chosen), hd_stack(0, x, hd_add_c(x, 1)))); }
static hd in_steps(hd x) { return hd_nth(hd_scan(each, hd_c(0), x), 1); }

START_TEST(straight_and_loops)
{
    GIVES(HD_FN(straight), four, 4, 1, 10, 20, 34, 52);
    /* c: 1, 1 + 5, 6 + 325, 331 + 1324^2 + 1 */
    GIVES(HD_FN(scanned), four, 4, 4, -1, -6, -331, -1753309);
    GIVES(HD_FN(first_looped), four, 1, 2, 26);
    GIVES(HD_FN(asked), four, 1, 5, 16);
}
END_TEST

START_TEST(lanes)
{
    GIVES(hd_vmap(on_host), four, 4, 4, 2, 5, 10, 17);
    GIVES(hd_vmap(at_once), four, 4, 1, 2, 5, 10, 17);
    GIVES(hd_vmap(looped), four, 4, 3 + 2 + 2 + 2, 26, 26, 101, 290);
    GIVES(hd_vmap(chosen), four, 4, 2, 2, 4, 10, 17);
    GIVES(HD_FN(in_steps), four, 8, 5, 2, 4, 4, 10, 10, 17, 17, 26);
}
END_TEST

/* ---- pure: equal calls are one, and what nobody needs is not called */

static hd shared(hd x) { return hd_add(on_host(x), on_host(x)); }
static hd unused(hd x) { return on_host(x), hd_mul_c(x, 3); }

START_TEST(pure)
{
    GIVES(HD_FN(shared), four, 4, 1, 4, 10, 20, 34);
    GIVES(HD_FN(unused), four, 4, 0, 3, 6, 9, 12);
}
END_TEST

/* ---- trees of several dtypes, in and out */

static int parts(hd_array *const *args, int n, hd_array **out, int nout, void *user)
{
    ck_assert(n == 3 && nout == 2 && user == NULL);
    ck_assert(hd_array_dtype(args[0]) == HD_F32 && hd_array_dtype(args[1]) == HD_I32 &&
        hd_array_dtype(args[2]) == HD_BOOL);
    double sum = hd_item(args[1]) + hd_item(args[2]);
    out[0] = hd_array_scalar(HD_I32, sum);
    out[1] = hd_keep(args[0]);
    return 0;
}
static hd tree(hd x)
{
    hd in = hd_dict({ "a", x }, { "b", hd_cast(hd_sum(x), HD_I32) });
    hd like = hd_dict({ "n", hd_zeros(HD_I32) }, { "x", x });
    hd y = hd_callback(parts, NULL, like, in, hd_gt(hd_at(x, 0), hd_c(0)));
    return hd_mul(hd_get(y, "x"), hd_cast(hd_get(y, "n"), HD_F32));
}

START_TEST(trees)
{
    GIVES(HD_FN(tree), four, 4, 0, 11, 22, 33, 44);
}
END_TEST

/* ---- derivatives */

static hd root_of(hd x) { return hd_callback(root, NULL, x, x); }
static hd total(hd x) { return hd_sum(hd_apply(hd_vmap(root_of), x)); }
static hd root_rule(hd x, hd dx)
{
    hd y = root_of(x);
    return hd_tuple(y, hd_div(dx, hd_mul_c(y, 2)));
}
static hd with_rule(hd x) { return hd_sum(hd_apply(hd_vmap(hd_custom_jvp(root_of, root_rule)), x)); }
static hd stopped(hd x)
{
    return hd_mul(hd_sum(x), hd_sum(hd_apply(hd_vmap(root_of), hd_stop_gradient(x))));
}

START_TEST(derivatives)
{
    const float v[N] = { 1, 4, 9, 16 };
    hd_array *x = hd_array_of(v, N), *y = NULL;
    ck_assert_int_eq(hd_call(hd_grad(total), &y, x), HD_EDIFF);
    ck_assert_msg(
        strstr(hd_error(), "hd_custom_jvp") && strstr(hd_error(), "test_callback.c"), "%s", hd_error());
    hd_drop(x);
    GIVES(hd_grad(with_rule), v, 4, 4, .5, .25, 1. / 6, .125);
    GIVES(hd_grad(stopped), v, 4, 4, 10, 10, 10, 10);
}
END_TEST

/* ---- errors of the function are the call's; idle lanes are not called */

static hd guarded(hd x) { return hd_cond(hd_ge(x, hd_c(0)), root_of, twice, x); }
static hd gives_code(hd x) { return hd_callback(silent, NULL, x, x); }
static hd gives_f64(hd x) { return hd_callback(wrong_type, NULL, hd_sum(x), x); }
static hd gives_none(hd x) { return hd_callback(no_result, NULL, x, x); }
static hd nested_call(hd x) { return hd_callback(calls_heddle, NULL, x, x); }
static hd nothing_like(hd x) { return hd_callback(no_result, NULL, hd_tuple_n(NULL, 0), x); }
static hd no_function(hd x) { return hd_callback(NULL, NULL, x, x); }

static void refuses(hd_fn *f, const float *v, int code, const char *word)
{
    for (int d = 0; d < DEVICES; d++) {
        if (!there(devices[d]))
            continue;
        hd_array *x = hd_array_of(v, N), *y = NULL;
        int e = hd_call(hd_jit(f, .device = devices[d]), &y, x);
        ck_assert_msg(e == code && !y && strstr(hd_error(), word), "%s: %d %s, not: %s", devices[d], e,
            hd_error(), word);
        ck_assert_msg(strstr(hd_error(), "test_callback.c:") != NULL, "%s", hd_error());
        hd_drop(x);
    }
}

/* ==================== complex numbers, and what is for storage, as the function's own dtypes */

/* x -> conj(x), and its first part as an 8-bit float */
static int turned(hd_array *const *args, int n, hd_array **out, int nout, void *user)
{
    float x[2 * N];
    unsigned char b[N] = { 0 };
    int64_t size = hd_array_size(args[0]);
    (void)user;
    ck_assert(n == 2 && nout == 2 && size <= N);
    ck_assert(hd_array_dtype(args[0]) == HD_C64 && hd_array_dtype(args[1]) == HD_F8_E4M3FN);
    memcpy(x, hd_data(args[0]), sizeof(float) * 2 * (size_t)size);
    memcpy(b, hd_data(args[1]), (size_t)size);
    for (int64_t k = 0; k < size; k++)
        x[2 * k + 1] = -x[2 * k + 1], b[k] ^= 0x80;
    out[0] = hd_array_new(HD_C64, hd_array_shape(args[0]), x, NULL);
    out[1] = hd_array_new(HD_F8_E4M3FN, hd_array_shape(args[1]), b, NULL);
    return 0;
}

static hd turns(hd x)
{
    hd z = hd_complex(x, hd_mul(x, hd_c(2))), s = hd_cast(x, HD_F8_E4M3FN);
    hd y = hd_callback(turned, NULL, hd_tuple(z, s), z, s), c = hd_mul(hd_nth(y, 0), hd_nth(y, 0));
    return hd_tuple(hd_real(c), hd_imag(c), hd_cast(hd_nth(y, 1), HD_F32));
}

START_TEST(dtypes)
{
    hd_fn *of[] = { hd_jit(turns, .device = devices[_i]), hd_jit(hd_vmap(turns), .device = devices[_i]) };
    if (!there(devices[_i]))
        return;
    for (int f = 0; f < 2; f++) {
        hd_array *x = hd_array_new(HD_F32, (hd_ints){ 1, { N } }, four, NULL), *y = NULL;
        ck_assert_msg(!hd_call(of[f], &y, x), "%s: %s", devices[_i], hd_error());
        for (int part = 0; part < 3; part++) {
            hd_array *p = hd_array_nth(y, part);
            const float *v = hd_data(p);
            for (int k = 0; k < N; k++) {       /* (x - 2xi)^2 = -3x^2 - 4x^2 i */
                float want = part == 2 ? -four[k] : (part ? -4 : -3) * four[k] * four[k];
                ck_assert_msg(v[k] == want, "%s: %d: %g, not %g", devices[_i], part, v[k], want);
            }
            hd_drop(p);
        }
        hd_drop(x), hd_drop(y);
    }
}
END_TEST

START_TEST(errors)
{
    const float v[N] = { 1, 4, -9, -16 };
    refuses(hd_vmap(root_of), v, HD_EINVAL, "no root of -9");
    GIVES(hd_vmap(guarded), v, 4, 2, 1, 2, -18, -32);
    refuses(HD_FN(gives_code), v, HD_EINVAL, "the code 7");
    refuses(HD_FN(gives_f64), v, HD_EDTYPE, "f64[], not f32[]");
    refuses(HD_FN(gives_none), v, HD_EINVAL, "no result 0");
    refuses(HD_FN(nested_call), v, HD_EINVAL, "may not call");
    refuses(HD_FN(nothing_like), v, HD_EINVAL, "gives nothing");
    refuses(HD_FN(no_function), v, HD_EINVAL, "NULL");
    ck_assert_ptr_null(hd_parse("fn f(x0: f32[]) -> f32[] { v1: bool[] = const dtype=bool bits=true "
        "v2: f32[] = callback v1 x0 host=1,2,3 lanes=0 batched=0 out=12,0 ret v2 }", "text"));
    ck_assert_ptr_nonnull(strstr(hd_error(), "cannot be read from text"));
}
END_TEST

static void *call_often(void *at)
{
    float k = *(float *)at, v[N] = { k, k, k, k }, got[N];
    hd_array *x = hd_array_of(v, N), *y = NULL;
    bool right = true;
    for (int n = 0; n < 20 && right; n++) {
        right = !hd_call(straight, &y, x) && !hd_read(y, got, N) && got[3] == 2 * ((k + 1) * (k + 1) + 1);
        hd_drop(y), y = NULL;
    }
    hd_drop(x);
    return right ? NULL : "wrong";
}

START_TEST(threads)
{
    pthread_t t[4];
    float at[4] = { 0, 1, 2, 3 };
    void *wrong;
    for (int k = 0; k < 4; k++)
        ck_assert_int_eq(pthread_create(&t[k], NULL, call_often, &at[k]), 0);
    for (int k = 0; k < 4; k++)
        ck_assert(!pthread_join(t[k], &wrong) && !wrong);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("callback");
    TCase *c = suite_case(s);
    tcase_add_test(c, straight_and_loops);
    tcase_add_test(c, lanes);
    tcase_add_test(c, pure);
    tcase_add_test(c, trees);
    tcase_add_test(c, derivatives);
    tcase_add_loop_test(c, dtypes, 0, DEVICES);
    tcase_add_test(c, errors);
    tcase_add_test(c, threads);
    return suite_run(s);
}
