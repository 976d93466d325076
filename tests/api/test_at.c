/*
 * test_at.c - elements at plain numbers are slices: the nearest where they are outside, and neither they nor
 * their derivatives are gathers and scatters, which would be kernels of their own.
 */
#include <stdlib.h>

#include "suite.h"

static const double places[] = { 0, 2, -1, -3, 7, -9, 2147483647, -2147483647. };
enum { N = 3, M = 2, PLACES = sizeof places / sizeof *places };

static int nearest(double place)
{
    double i = place < 0 ? place + N : place;
    return i < 0 ? 0 : i > N - 1 ? N - 1 : (int)i;
}

static hd row(hd x, const void *env) { return hd_at(x, hd_c(places[*(const int *)env])); }
static hd column(hd x, const void *env) { return hd_at(x, HD_NIL, hd_c(places[*(const int *)env])); }
static hd element(hd x, const void *env) { return hd_at(x, hd_c(places[*(const int *)env]), 1); }
static hd squares(hd x, const void *env) { return hd_sum(hd_square(row(x, env))); }

static void holds(hd_array *got, const float *want, int n)
{
    ck_assert_int_eq(hd_array_size(got), n);
    const float *g = hd_data(got);
    for (int i = 0; i < n; i++)
        ck_assert_msg(g[i] == want[i], "element %d is %g, not %g", i, (double)g[i], (double)want[i]);
    hd_drop(got);
}

START_TEST(nearest_element)
{
    float x[N * N];
    hd_array *a, *got;

    for (int i = 0; i < N * N; i++)
        x[i] = (float)(i * i + 1);
    a = hd_array_of(x, N, N);
    for (int p = 0; p < PLACES; p++) {
        int i = nearest(places[p]);
        float slope[N * N] = { 0 };
        ck_assert_msg(!hd_call(hd_bind(row, p), &got, a), "%s", hd_error());
        holds(got, x + i * N, N);
        ck_assert(!hd_call(hd_bind(column, p), &got, a));
        holds(got, (const float[]){ x[i], x[i + N], x[i + 2 * N] }, N);
        ck_assert(!hd_call(hd_bind(element, p), &got, a));
        holds(got, x + i * N + 1, 1);
        for (int k = 0; k < N; k++)
            slope[i * N + k] = 2 * x[i * N + k];
        ck_assert(!hd_call(hd_grad(hd_bind(squares, p)), &got, a));
        holds(got, slope, N * N);
    }
    hd_drop(a);
}
END_TEST

static void has_no(const char *op, hd_fn *f, hd_array *x)
{
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);

    ck_assert(!hd_print_graph(file, f, x));
    fclose(file);
    ck_assert_msg(!strstr(text, op), "there is a %s in\n%s", op, text);
    free(text);
}

START_TEST(slices)
{
    int p = 2;
    hd_array *x = hd_array_abstract(HD_F32, 4, N, M);

    has_no("gather", hd_vmap(hd_bind(row, p)), x);
    has_no("gather", hd_vmap(hd_bind(element, p)), x);
    has_no("scatter", hd_vmap(hd_grad(hd_bind(squares, p))), x);
    hd_drop(x);
}
END_TEST

static hd halfway(hd x) { return hd_at(x, 0.5); }
static hd too_many(hd x) { return hd_at(x, 0, 0, 0); }

START_TEST(errors_as_before)
{
    float none[1] = { 0 };
    int p = 0;
    hd_array *x = hd_array_of(none, 1, 1), *empty = hd_array_of(none, 0, 2), *got = NULL;

    ck_assert(hd_call(halfway, &got, x) != 0);
    ck_assert_msg(strstr(hd_error(), "0.5"), "%s", hd_error());
    ck_assert(hd_call(too_many, &got, x) != 0);
    ck_assert_msg(strstr(hd_error(), "3 indices"), "%s", hd_error());
    /* nothing is inside: nan, as it reads elsewhere */
    ck_assert(!hd_call(hd_bind(row, p), &got, empty));
    ck_assert_int_eq(hd_array_size(got), 2);
    hd_drop(x), hd_drop(empty), hd_drop(got);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("at");
    TCase *c = suite_case(s);
    tcase_add_test(c, nearest_element);
    tcase_add_test(c, slices);
    tcase_add_test(c, errors_as_before);
    return suite_run(s);
}
