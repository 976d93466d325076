/*
 * test_computed.c - elements, rows and columns at computed places, read, written, scattered and added to
 * inside of scans: their gradients over many lanes.
 *
 * In:  a program that failed (a step that reads an element and a column at its own place), casts that
 * failed, and programs that
 *      are drawn: steps of a few such operations on a matrix, with `vmap(grad)` over 16 lanes and more.
 *      HEDDLE_TEST_COUNT: so many of them on each device.
 * Out: every device gives what the host gives, but for roundings.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "heddle.h"
#include "suite_run.h"

static const char *device;

static uint64_t state;
static uint64_t any(void)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state;
}

static hd_array *numbers(int lanes, int rows, int columns)
{
    int n = lanes * rows * columns;
    float *v = malloc((size_t)n * sizeof *v);
    for (int i = 0; i < n; i++)
        v[i] = 1 + .3f * sinf((float)i);
    hd_array *x = hd_array_of(v, lanes, rows, columns);
    free(v);
    return x;
}

/* The result on the device against the host's. */
static void agrees(hd_fn *f, hd_array *x, double most, const char *what)
{
    hd_array *a = NULL, *b = NULL;
    ck_assert_msg(!hd_call(hd_jit(f, .device = "host"), &a, x), "%s: %s", what, hd_error());
    ck_assert_msg(!hd_call(hd_jit(f, .device = device), &b, x), "%s: %s", what, hd_error());
    const float *p = hd_data(a), *q = hd_data(b);
    for (int64_t i = 0; i < hd_array_size(a); i++)
        ck_assert_msg(fabs((double)p[i] - (double)q[i]) <= most * (1 + fabs((double)p[i])),
            "%s on %s: element %lld is %g, not %g", what, device, (long long)i, (double)q[i], (double)p[i]);
    hd_drop(a), hd_drop(b);
}

/* ==================== a clamped place compared as 64 bits */

static hd step(hd A, hd k)
{
    hd d = hd_dynamic_index(hd_dynamic_index(A, k, 0), k, 0), c = hd_div(hd_dynamic_index(A, k, 1), d);
    return hd_tuple(hd_sub(A, hd_mul(hd_c(.1), hd_outer(c, c))), d);
}
static hd pivots(hd A) { return hd_sum(hd_nth(hd_scan(step, A, hd_iota(HD_I32, 0, 1)), 1)); }

static hd casts(hd x)
{
    hd byte = hd_cast(hd_cast(x, HD_I32), HD_U8);
    return hd_cast(hd_cast(hd_cast(byte, HD_I8), HD_I32), HD_F32);
}

/* ==================== drawn: what a step does follows from the matrix's size */

/* the matrix, the step's place, another that is computed from it */
static hd A, K, J;

static hd row(void) { return hd_dynamic_index(A, K, 0); }
static hd column(void) { return hd_dynamic_index(A, J, 1); }
static hd scaled(hd x, double by) { return hd_mul(x, hd_c(by)); }

static hd changed(uint64_t r)
{
    switch (r % 6) {
    case 0: return hd_sub(A, scaled(hd_outer(row(), column()), .1));
    case 1: return hd_dynamic_update_index(A, hd_tanh(hd_add(row(), column())), K, 0);
    case 2: return hd_dynamic_update_index(A, scaled(hd_mul(row(), column()), .5), J, 1);
    case 3: return hd_at_add(A, scaled(column(), .3), K);
    case 4: return hd_at_add(A, hd_tanh(hd_at(A, K, J)), J, K);
    default:
        return hd_add(scaled(A, .9), scaled(hd_take(A, hd_add(hd_zeros(HD_I32, hd_dim(A, 0)), K), 0), .1));
    }
}

static hd seen(uint64_t r)
{
    switch (r % 4) {
    case 0: return hd_at(A, K, J);
    case 1: return hd_sum(hd_mul(row(), column()));
    case 2: return hd_div(hd_at(A, J, K), hd_add(hd_c(2), hd_tanh(hd_at(A, K, K))));
    default: return hd_sum(hd_take(row(), hd_add(hd_zeros(HD_I32, 3), J), 0));
    }
}

static hd drawn_step(hd carry, hd k)
{
    int64_t n = hd_dim(carry, 0);
    state = (uint64_t)n * 0x9e3779b97f4a7c15 + 88172645463325252ull;
    any(), any();
    A = carry, K = k;
    J = any() % 2 ? hd_rem(hd_add(hd_mul(k, hd_c(3)), hd_c(1)), hd_c((double)n)) :
                    hd_cast(hd_mul(hd_tanh(hd_at(carry, k, 0)), hd_c(4)), HD_I32);
    J = hd_maximum_c(J, 0);
    for (int i = (int)(any() % 2); i >= 0; i--)
        A = changed(any() >> 7);
    return hd_tuple(A, seen(any() >> 9));
}

static hd drawn(hd x)
{
    int64_t n = hd_dim(x, 0);
    hd out = hd_scan(drawn_step, x, hd_rem(hd_mul(hd_iota(HD_I32, 0, 1 + n % 5), hd_c(2)), hd_c((double)n)));
    return hd_add(hd_sum(hd_nth(out, 1)), hd_sum(hd_mul(hd_nth(out, 0), hd_nth(out, 0))));
}

START_TEST(rows_of_one_step)
{
    hd_array *x = numbers(16, 96, 96);
    agrees(hd_vmap(hd_grad(pivots)), x, 1e-4, "the gradient at a pivot");
    hd_drop(x);
}
END_TEST

START_TEST(casts_there_and_back)
{
    static float v[600];
    for (int i = 0; i < 600; i++)
        v[i] = (float)(i - 300);
    hd_array *x = hd_array_of(v, 600);
    agrees(hd_jit(casts), x, 0, "u8 as i8 as i32");
    hd_drop(x);
}
END_TEST

/* Loop test: the matrix's size. */
START_TEST(drawn_programs)
{
    char what[64];
    snprintf(what, sizeof what, "the gradient of program %d", _i);
    hd_array *x = numbers(16 + _i % 5, _i, _i);
    agrees(hd_vmap(hd_grad(drawn)), x, 2e-3, what);
    hd_drop(x);
}
END_TEST

int main(void)
{
    static const char *const devices[] = { "opencl:0", "vulkan:0" };
    const char *asked = getenv("HEDDLE_TEST_COUNT");
    int failed = 0;
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        device = devices[i];
        /* Mesa's driver on processors takes a minute for one */
        int count = asked ? atoi(asked) : i == 0 ? 3 : 0;
        if (!hd_default_device(device)) {
            printf("skipped: %s\n", hd_error());
            continue;
        }
        Suite *s = suite_create(device);
        TCase *t = tcase_create("computed places");
        suite_add_tcase(s, t);
        tcase_add_test(t, rows_of_one_step);
        tcase_add_test(t, casts_there_and_back);
        tcase_set_timeout(t, 0);
        tcase_add_loop_test(t, drawn_programs, 6, 6 + count);
        failed += suite_run_unforked(s);
    }
    return failed != 0;
}
