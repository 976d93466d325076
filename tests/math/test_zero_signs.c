/*
 * test_zero_signs.c - the sign of a sum of zeros: sums begin at +0, however few or many terms they have, on
 * every device. And of zeros that are sorted, which are equal.
 *
 * In:  sums, products of matrices and convolutions whose terms are all -0.   Out: the host's bits.
 */
#include <math.h>
#include <stdlib.h>

#include "suite.h"

static hd sum_rows(hd x, hd y) { return (void)y, hd_sum(x, 1); }
static hd mean_rows(hd x, hd y) { return (void)y, hd_mean(x, 1); }
static hd product(hd x, hd y) { return hd_dot(x, hd_transpose(y)); }
static hd sum_of_products(hd x, hd y) { return hd_sum(hd_mul(x, y), 1); }
static hd one_row(hd x, hd y) { return hd_convolve(x, y); }
static hd convolved(hd x, hd y) { return hd_apply(hd_vmap(one_row), x, y); }
static hd running(hd x, hd y) { return (void)y, hd_cumsum(x, 1); }

/* As steps of a body in registers. */
static hd step(hd y, hd c, hd x)
{
    return (void)x, hd_tuple(hd_add(hd_dot(c, y), hd_dot(hd_neg(c), y)), hd_sum(hd_mul(c, y)));
}
static hd in_a_loop(hd x, hd y)
{
    return hd_nth(hd_scan(hd_partial(step, y), hd_slice_axis(x, 0, 0, 1), HD_NIL, .length = 3), 1);
}
static hd looped(hd x, hd y)
{
    int n = (int)hd_dim(y, 1);
    return n == 1 ? in_a_loop(x, hd_slice_axis(y, 0, 0, 1)) : hd_sum(y, 0);
}

static hd_fn *function(int k)
{
    hd_fn *all[] = { HD_FN(sum_rows), HD_FN(mean_rows), HD_FN(product), HD_FN(sum_of_products),
        HD_FN(convolved), HD_FN(running), HD_FN(looped) };
    return k < (int)(sizeof all / sizeof *all) ? all[k] : NULL;
}

/* Sums have this many terms: written out, loops, vectors. */
static const int terms[] = { 1, 2, 3, 5, 16, 17, 40, 300 };
enum { TERMS = sizeof terms / sizeof *terms, ROWS = 4 };

START_TEST(all_minus_zero)
{
    int n = terms[_i];
    float *zero = calloc((size_t)(ROWS * n), sizeof *zero),
          *minus = malloc(sizeof *minus * (size_t)(ROWS * n));
    for (int k = 0; k < ROWS * n; k++)
        minus[k] = k < n ? -0.f : -1; /* the first row is -0, and times 0 every one */
    hd_array *x = hd_array_new(HD_F32, HD_INTS(ROWS, n), minus, NULL),
             *y = hd_array_new(HD_F32, HD_INTS(ROWS, n), zero, NULL);
    for (int k = 0; function(k); k++) {
        hd_array *want = NULL;
        ck_assert_msg(!hd_call(hd_jit_n(function(k), &(hd_jit_opts){ .device = "host" }), &want, x, y), "%s",
            hd_error());
        for (int d = 1; d < DEVICES; d++) {
            hd_array *got = NULL;
            if (!there(devices[d]))
                continue;
            ck_assert_msg(
                !hd_call(hd_jit_n(function(k), &(hd_jit_opts){ .device = devices[d] }), &got, x, y), "%s",
                hd_error());
            const float *a = hd_data(got), *b = hd_data(want);
            for (int64_t j = 0; j < hd_array_size(want); j++)
                ck_assert_msg(a[j] == b[j] && !signbit(a[j]) == !signbit(b[j]),
                    "function %d of %d terms on %s, element %d: %g, not %g", k, n, devices[d], (int)j,
                    (double)a[j], (double)b[j]);
            hd_drop(got);
        }
        hd_drop(want);
    }
    hd_drop(x), hd_drop(y);
    free(zero), free(minus);
}
END_TEST

static hd down(hd x) { return hd_sort(x, 0, .descending = true); }

/* As jax.numpy.sort: equal numbers keep their order, and descending is that from the other end. */
START_TEST(sorted_down)
{
    const float v[] = { -0.f, 0.75f, 0.f, -1 };
    for (int d = 0; d < DEVICES; d++) {
        hd_array *x = hd_array_new(HD_F32, HD_INTS(4), v, NULL), *y = NULL;
        if (there(devices[d])) {
            ck_assert_msg(!hd_call(hd_jit(down, .device = devices[d]), &y, x), "%s", hd_error());
            const float *z = hd_data(y);
            ck_assert_msg(z[0] == 0.75f && !signbit(z[1]) && signbit(z[2]) && z[3] == -1, "%s: %g, %g",
                devices[d], (double)z[1], (double)z[2]);
        }
        hd_drop(x), hd_drop(y);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("zero_signs");
    TCase *c = suite_case(s);
    tcase_add_loop_test(c, all_minus_zero, 0, TERMS);
    tcase_add_test(c, sorted_down);
    return suite_run(s);
}
