/*
 * test_reduce.c - hd_reduce: trees reduced with a function that need not commute, few and many, on every
 * device; its derivative; functions that are reductions of the op table are those.
 */
#include <math.h>
#include <stdlib.h>

#include "suite.h"

/* x -> a x + b, then x -> c x + d. Of integers, which wrap: the same whatever is combined first, if the
 * order is kept. */
static hd after(hd p, hd q)
{
    hd a = hd_nth(p, 0), b = hd_nth(p, 1), c = hd_nth(q, 0), d = hd_nth(q, 1);
    return hd_tuple(hd_mul(a, c), hd_add(hd_mul(b, c), d));
}
static hd identity(void) { return hd_tuple(hd_cast(hd_c(1), HD_I32), hd_cast(hd_c(0), HD_I32)); }
static hd all_after(hd a, hd b) { return hd_reduce(after, identity(), hd_tuple(a, b)); }
static hd rows_after(hd a, hd b) { return hd_reduce(after, identity(), hd_tuple(a, b), 0, 2); }

static void composed_on(const char *device, int n, int m)
{
    int rows = 3; /* (n, 3, m) */
    int32_t *a = malloc(sizeof *a * (size_t)(n * rows * m + 1)),
            *b = malloc(sizeof *b * (size_t)(n * rows * m + 1));
    for (int k = 0; k < n * rows * m; k++)
        a[k] = k * 7919 % 13 - 6 + (k * 7919 % 13 == 6), b[k] = k * 104729 % 17 - 8;
    hd_array *x = hd_array_new(HD_I32, HD_INTS(n, rows, m), a, NULL),
             *y = hd_array_new(HD_I32, HD_INTS(n, rows, m), b, NULL);
    hd_array *whole[2], *each[2];
    ck_assert_msg(hd_call(hd_jit(all_after, .device = device), whole, x, y) == 0, "%s", hd_error());
    ck_assert_msg(hd_call(hd_jit(rows_after, .device = device), each, x, y) == 0, "%s", hd_error());
    uint32_t p = 1, q = 0;
    for (int k = 0; k < n * rows * m; k++)
        p *= (uint32_t)a[k], q = q * (uint32_t)a[k] + (uint32_t)b[k];
    ck_assert_msg((uint32_t) * (const int32_t *)hd_data(whole[0]) == p &&
            (uint32_t) * (const int32_t *)hd_data(whole[1]) == q,
        "%s: all of %d x 3 x %d", device, n, m);
    for (int r = 0; r < rows; r++) {
        p = 1, q = 0;
        for (int k = 0; k < n; k++)
            for (int j = 0; j < m; j++) {
                int at = (k * rows + r) * m + j;
                p *= (uint32_t)a[at], q = q * (uint32_t)a[at] + (uint32_t)b[at];
            }
        ck_assert_msg((uint32_t)((const int32_t *)hd_data(each[0]))[r] == p &&
                (uint32_t)((const int32_t *)hd_data(each[1]))[r] == q,
            "%s: row %d of %d x 3 x %d", device, r, n, m);
    }
    for (int k = 0; k < 2; k++)
        hd_drop(whole[k]), hd_drop(each[k]);
    hd_drop(x), hd_drop(y);
    free(a), free(b);
}

START_TEST(order_is_kept)
{
    static const int sizes[][2] = { { 0, 4 }, { 1, 1 }, { 5, 7 }, { 300, 3 } };
    for (int d = 0; d < DEVICES; d++)
        for (size_t k = 0; there(devices[d]) && k < sizeof sizes / sizeof *sizes; k++)
            composed_on(devices[d], sizes[k][0], sizes[k][1]);
}
END_TEST

/* ==================== derivatives: log(sum of exp) by pairs */

static hd log_add(hd x, hd y) { return hd_logaddexp(x, y); }
static hd total(hd x) { return hd_reduce(log_add, hd_c(-INFINITY), x); }
static hd reference(hd x) { return hd_logsumexp(x); }
static hd both(hd x) { return hd_tuple(hd_apply(hd_grad(total), x), hd_apply(hd_grad(reference), x)); }

START_TEST(derivative)
{
    float v[40];
    for (int k = 0; k < 40; k++)
        v[k] = (float)((k * 7) % 11) / 4;
    hd_array *x = hd_array_new(HD_F32, HD_INTS(40), v, NULL), *g[2];
    ck_assert_msg(hd_call(both, g, x) == 0, "%s", hd_error());
    const float *a = hd_data(g[0]), *b = hd_data(g[1]);
    for (int k = 0; k < 40; k++)
        ck_assert_msg(fabsf(a[k] - b[k]) < 1e-6f, "element %d: %g, not %g", k, (double)a[k], (double)b[k]);
    hd_drop(x), hd_drop(g[0]), hd_drop(g[1]);
}
END_TEST

/* ==================== what is known is known; what is wrong is told */

static hd known(hd x) { return hd_reduce(hd_add, hd_c(0), x, 1); }
static hd sum_and_largest(hd p, hd q)
{
    return hd_tuple(hd_add(hd_nth(p, 0), hd_nth(q, 0)), hd_maximum(hd_nth(p, 1), hd_nth(q, 1)));
}
static hd parts(hd x)
{
    return hd_reduce(sum_and_largest, hd_tuple(hd_c(0), hd_c(-INFINITY)), hd_tuple(x, x), 1);
}
static hd two_of(hd a, hd b) { return hd_tuple(a, b); }
static hd wrong(hd x) { return hd_reduce(two_of, hd_c(0), x); }
static hd unlike(hd x) { return hd_reduce(after, hd_c(0), hd_tuple(x, x)); }
static hd shapes(hd x)
{
    return hd_reduce(after, hd_tuple(hd_c(1), hd_c(0)), hd_tuple(x, hd_index(x, 0, 0)));
}

START_TEST(known_and_wrong)
{
    hd_array *x = hd_array_abstract(HD_F32, 4, 5), *y = NULL;
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    ck_assert_int_eq(hd_print_graph(f, known, x), 0);
    fclose(f);
    ck_assert_msg(strstr(text, "reduce_sum") && !strstr(text, "region"), "%s", text);
    free(text), text = NULL;
    f = open_memstream(&text, &size);
    ck_assert_int_eq(hd_print_graph(f, parts, x), 0);
    fclose(f);
    ck_assert_msg(
        strstr(text, "reduce_sum") && strstr(text, "reduce_max") && !strstr(text, "region"), "%s", text);
    free(text);
    ck_assert(hd_eval_shape(wrong, &y, x) != 0);
    ck_assert_msg(strstr(hd_error(), "must return what it is given") && strstr(hd_error(), "test_reduce.c"),
        "%s", hd_error());
    ck_assert(hd_eval_shape(unlike, &y, x) != 0);
    ck_assert_msg(strstr(hd_error(), "they have the same parts"), "%s", hd_error());
    ck_assert(hd_eval_shape(shapes, &y, x) != 0);
    ck_assert_msg(strstr(hd_error(), "the parts of x have one shape"), "%s", hd_error());
    hd_drop(x);
}
END_TEST

/* The sum of one element is that one, -0 too; the largest of none is what it begins with. */
START_TEST(parts_of_one_and_none)
{
    static const float zero[] = { -0.0f };
    hd_array *one = hd_array_new(HD_F32, HD_INTS(1, 1), zero, NULL),
             *none = hd_array_new(HD_F32, HD_INTS(1, 0), zero, NULL), *y[2];
    for (int d = 0; d < DEVICES; d++) {
        if (!there(devices[d]))
            continue;
        hd_fn *on = hd_jit(parts, .device = devices[d]);
        ck_assert_msg(hd_call(on, y, one) == 0, "%s", hd_error());
        const float *sum = hd_data(y[0]), *most = hd_data(y[1]);
        ck_assert_msg(signbit(*sum) && *most == 0, "%s: %g %g", devices[d], (double)*sum, (double)*most);
        hd_drop(y[0]), hd_drop(y[1]);
        ck_assert_msg(hd_call(on, y, none) == 0, "%s", hd_error());
        sum = hd_data(y[0]), most = hd_data(y[1]);
        ck_assert_msg(*sum == 0 && *most == -INFINITY, "%s: %g %g", devices[d], (double)*sum, (double)*most);
        hd_drop(y[0]), hd_drop(y[1]);
    }
    hd_drop(one), hd_drop(none);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("reduce");
    TCase *c = suite_case(s);
    tcase_add_test(c, order_is_kept);
    tcase_add_test(c, derivative);
    tcase_add_test(c, known_and_wrong);
    tcase_add_test(c, parts_of_one_and_none);
    return suite_run(s);
}
