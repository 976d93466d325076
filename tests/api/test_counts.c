/*
 * test_counts.c - counts beyond 16 bits: operands, results, arguments, captures, members of trees, carries,
 * branches' arguments.
 *
 * In:  programs of 65,535 to 100,000 of each, on the host.   Out: sizes and values as of few.
 */
#include <stdlib.h>

#include "heddle.h"
#include "suite_run.h"

static const int counts[] = { 65535, 65536, 65537, 100000 };
enum { COUNTS = sizeof counts / sizeof *counts };
static int count;

/* x, y, x, y, ... */
static hd *in_turn(hd x, hd y)
{
    hd *v = malloc(sizeof *v * (size_t)count);
    for (int k = 0; k < count; k++)
        v[k] = k % 2 ? y : x;
    return v;
}

static hd stacked(hd x, hd y)
{
    hd *v = in_turn(x, y), z = hd_stack_n(0, v, count);
    free(v);
    return z;
}

static hd joined(hd x, hd y)
{
    hd *v = in_turn(hd_reshape(x, 1), hd_reshape(y, 1)), z = hd_concatenate_n(0, v, count);
    free(v);
    return z;
}

static hd tuple(hd x, hd y)
{
    hd *v = in_turn(x, y), z = hd_tuple_n(v, count);
    free(v);
    return z;
}

static hd stacked_sum(hd x, hd y) { return hd_sum(stacked(x, y)); }
static hd gradient(hd x, hd y) { return hd_apply(hd_grad(stacked_sum), x, y); }

/* The last of what goes round. */
static hd keep(hd c, hd x) { return (void)x, hd_tuple(c, HD_NIL); }
static hd carried(hd x, hd y)
{
    return hd_nth(hd_nth(hd_scan(keep, tuple(x, y), HD_NIL, .length = 2), 0), count - 1);
}

/* The last argument of a branch, and how many there are. */
static hd last(const hd *v, int n) { return hd_add(v[n - 1], hd_c(n)); }
static hd chosen(hd x, hd y)
{
    hd *v = in_turn(x, y), z = hd_cond_n(hd_lt(x, y), HD_FN(last), HD_FN(last), v, count);
    free(v);
    return z;
}

/* Each of these is a capture of the body: none is the same as another. */
static hd add_all(hd all, hd c, hd x)
{
    (void)x;
    for (int k = 0; k < hd_len(all); k++)
        c = hd_add(c, hd_nth(all, k));
    return hd_tuple(c, HD_NIL);
}

static hd captured(hd x, hd y)
{
    hd *v = in_turn(x, y);
    for (int k = 0; k < count; k++)
        v[k] = hd_mul(v[k], hd_cast(hd_c(k), HD_F64));
    hd z = hd_nth(
        hd_scan(hd_partial(add_all, hd_tuple_n(v, count)), hd_cast(hd_c(0), HD_F64), HD_NIL, .length = 2),
        0);
    free(v);
    return z;
}

static hd captured_slope(hd x, hd y) { return hd_apply(hd_grad(captured), x, y); }

/* ==================== running */

static hd_array *value(double v) { return hd_array_scalar(HD_F64, v); }

static double run(hd_fn *f, int64_t size, int64_t at)
{
    hd_array *x = value(1), *y = value(2), *z = NULL;
    ck_assert_msg(!hd_call(f, &z, x, y), "%d: %s", count, hd_error());
    ck_assert_int_eq(hd_array_size(z), size);
    double v = ((const double *)hd_data(z))[at];
    hd_drop(x), hd_drop(y), hd_drop(z);
    return v;
}

#define RUN(f, size, at) run(hd_jit(f, .device = "host"), size, at)

START_TEST(operands)
{
    count = counts[_i];
    double last_one = count % 2 ? 1 : 2;
    ck_assert_double_eq(RUN(stacked, count, count - 1), last_one);
    ck_assert_double_eq(RUN(joined, count, count - 2), 3 - last_one);
    ck_assert_double_eq(RUN(gradient, 1, 0), (count + 1) / 2);
    ck_assert_double_eq(RUN(carried, 1, 0), last_one);
    ck_assert_double_eq(RUN(chosen, 1, 0), count + last_one);
}
END_TEST

START_TEST(results)
{
    count = counts[_i];
    hd_array *x = value(1), *y = value(2), **z = calloc((size_t)count, sizeof(hd_array *));
    ck_assert_msg(
        !hd_call_n(hd_jit(tuple, .device = "host"), z, count, (hd_array *[]){ x, y }, 2), "%s", hd_error());
    ck_assert_double_eq(hd_item(z[count - 1]), count % 2 ? 1 : 2);
    for (int k = 0; k < count; k++)
        hd_drop(z[k]);
    free(z);
    hd_drop(x), hd_drop(y);
}
END_TEST

START_TEST(arguments)
{
    count = counts[_i];
    hd_array **v = calloc((size_t)count, sizeof *v), *z = NULL;
    for (int k = 0; k < count; k++)
        v[k] = value(k);
    ck_assert_msg(!hd_call_n(hd_jit(last, .device = "host"), &z, 1, v, count), "%s", hd_error());
    ck_assert_double_eq(hd_item(z), 2.0 * count - 1);
    for (int k = 0; k < count; k++)
        hd_drop(v[k]);
    free(v);
    hd_drop(z);
}
END_TEST

/* Twice the sum of k x for even k and k y for odd ones. */
START_TEST(captures)
{
    count = 65537;
    double n = (count - 1) / 2, even = n * (n + 1), odd = n * n;
    ck_assert_double_eq(RUN(captured, 1, 0), 2 * even + 4 * odd);
    ck_assert_double_eq(RUN(captured_slope, 1, 0), 2 * even);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("counts");
    TCase *t = tcase_create("beyond 16 bits");
    tcase_add_loop_test(t, operands, 0, COUNTS);
    tcase_add_loop_test(t, results, 0, COUNTS);
    tcase_add_loop_test(t, arguments, 0, COUNTS);
    tcase_add_test(t, captures);
    tcase_set_timeout(t, 120);
    suite_add_tcase(s, t);
    return suite_run(s);
}
