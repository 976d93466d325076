/*
 * test_while.c - reverse mode through loops that data end: with a bound on their steps. Against differences,
 * for lanes with their own counts, nested, under jvp and hessian; the bound ends the loop; without one the
 * error names the way out.
 */
#include <math.h>
#include <stdlib.h>

#include "suite.h"

enum { N = 5 };
static const double in5[N] = { 0.5, 2, 9, 30, 1.5 };

/* Halves until it is below one: each lane as often as it needs. */
static hd large(hd x) { return hd_gt(x, hd_c(1)); }
static hd halved(hd x) { return hd_mul(hd_mul_c(x, .5), hd_sin(hd_add_c(x, 1))); }
static hd loop(hd x) { return hd_while(large, halved, hd_abs(x), .max_trips = 9); }
static hd free_loop(hd x) { return hd_while(large, halved, hd_abs(x)); }
static hd sum_of(hd x) { return hd_sum(hd_square(hd_apply(hd_vmap(loop), x))); }
static hd free_sum(hd x) { return hd_sum(hd_square(hd_apply(hd_vmap(free_loop), x))); }

/* A power by a number of turns that is data, captures and trees in the carry. */
static hd turn(hd base, hd i, hd c)
{
    (void)i;
    return hd_dict({ "p", hd_mul(hd_get(c, "p"), base) }, { "n", hd_add_c(hd_get(c, "n"), 1) });
}
static hd power(hd x, hd n)
{
    hd c = hd_fori(hd_c(0), n, hd_partial(turn, x),
        hd_dict({ "p", hd_ones(HD_F64) }, { "n", hd_zeros(HD_I32) }), .max_trips = 4);
    return hd_get(c, "p");
}
static hd powers(hd x) { return hd_sum(hd_apply(hd_vmap(power), x, hd_iota(HD_I32, 0, N))); }

/* A loop in the loop. */
static hd outer(hd x) { return hd_gt(hd_sum(x), hd_c(3)); }
static hd inside(hd x) { return hd_div(hd_apply(hd_vmap(loop), x), hd_c(2)); }
static hd nested(hd x) { return hd_sum(hd_while(outer, inside, x, .max_trips = 5)); }

/* Stopped by the bound: 2^3 x. */
static hd always(hd x) { return hd_eq(x, x); }
static hd doubled(hd x) { return hd_mul_c(x, 2); }
static hd three(hd x) { return hd_while(always, doubled, x, .max_trips = 3); }
static hd threes(hd x) { return hd_sum(hd_apply(hd_vmap(three), x)); }

static double value_of(hd_fn *f, const double *v)
{
    hd_array *x = hd_array_of(v, N), *y = NULL;
    ck_assert_msg(hd_call(hd_jit(f, .device = "host"), &y, x) == 0, "%s", hd_error());
    double r = hd_item(y);
    hd_drop(x), hd_drop(y);
    return r;
}

static void derivative(hd_fn *f, const char *what)
{
    double want[N], got[N];
    for (int i = 0; i < N; i++) {
        double a[N], b[N], h = 1e-6;
        memcpy(a, in5, sizeof a), memcpy(b, in5, sizeof b);
        a[i] += h, b[i] -= h;
        want[i] = (value_of(f, a) - value_of(f, b)) / (2 * h);
    }
    hd_array *x = hd_array_of(in5, N);
    for (int d = 0; d < 3; d++)
        for (int mode = 0; mode < 2; mode++) {
            hd_array *y = NULL;
            if (!there(devices[d]) || (d == 2 && mode))
                continue;
            int e = hd_call(hd_jit(mode ? hd_jacfwd(f) : hd_grad(f), .device = devices[d]), &y, x);
            if (e && strstr(hd_error(), "not available on"))     /* functions of f64 */
                continue;
            ck_assert_msg(e == 0 && !hd_read(y, got, N), "%s on %s: %s", what, devices[d], hd_error());
            for (int i = 0; i < N; i++)
                ck_assert_msg(fabs(got[i] - want[i]) < 1e-5 * (1 + fabs(want[i])),
                    "%s on %s: derivative %d is %g, not %g", what, devices[d], i, got[i], want[i]);
            hd_drop(y);
        }
    hd_drop(x);
}

START_TEST(derivatives)
{
    derivative(HD_FN(sum_of), "lanes with their own counts");
    derivative(HD_FN(powers), "fori with bounds that are data");
    derivative(HD_FN(nested), "a loop in a loop");
    derivative(HD_FN(threes), "ended by the bound");
}
END_TEST

START_TEST(bound_ends_it)
{
    double want = 0;
    for (int i = 0; i < N; i++)
        want += 8 * in5[i];
    ck_assert(value_of(HD_FN(threes), in5) == want);
    ck_assert(value_of(HD_FN(sum_of), in5) == value_of(HD_FN(free_sum), in5));
}
END_TEST

static hd first_of_hessian(hd x) { return hd_at(hd_apply(hd_hessian(powers), x), 3, 3); }

START_TEST(higher)
{
    ck_assert(fabs(value_of(HD_FN(first_of_hessian), in5) - 6 * in5[3]) < 1e-9);        /* (x^3)'' */
}
END_TEST

static hd negative(hd x) { return hd_while(large, halved, hd_sum(x), .max_trips = -2); }

START_TEST(refusals)
{
    hd_array *x = hd_array_of(in5, N), *y = NULL;
    ck_assert(hd_call(hd_grad(free_sum), &y, x) == HD_EDIFF && strstr(hd_error(), ".max_trips"));
    ck_assert(hd_call(negative, &y, x) == HD_EINVAL && strstr(hd_error(), ".max_trips is -2"));
    hd_drop(x);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("while");
    TCase *c = suite_case(s);
    tcase_add_test(c, derivatives);
    tcase_add_test(c, bound_ends_it);
    tcase_add_test(c, higher);
    tcase_add_test(c, refusals);
    return suite_run(s);
}
