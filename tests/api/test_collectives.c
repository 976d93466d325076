/*
 * test_collectives.c - named axes: what lanes do together in loops and branches, under other transforms, in
 * trees; which lanes cannot meet, with both lines; names that hide others. Values against loops in C,
 * derivatives against differences, on every device.
 */
#include <math.h>
#include <stdlib.h>

#include "suite.h"

enum { N = 4 };
static const double in4[N] = { 0.5, -1, 2, 0.25 };

/* f's results on in4, as f64, on each device the same within tolerance. */
static void gives(hd_fn *f, const double *want, int n, const char *what)
{
    hd_array *x = hd_array_of(in4, N);
    double got[64];
    for (int d = 0; d < 3; d++) {
        hd_array *y = NULL;
        if (!there(devices[d]))
            continue;
        ck_assert_msg(hd_call(hd_jit(f, .device = devices[d]), &y, x) == 0, "%s on %s: %s", what, devices[d],
            hd_error());
        ck_assert_msg(hd_read(y, got, (size_t)n) == 0, "%s: %s", what, hd_error());
        for (int i = 0; i < n; i++)
            ck_assert_msg(fabs(got[i] - want[i]) <= 1e-9 * (1 + fabs(want[i])),
                "%s on %s: element %d is %.12g, not %.12g", what, devices[d], i, got[i], want[i]);
        hd_drop(y);
    }
    hd_drop(x);
}

static void refused(hd_fn *f, enum hd_code code, const char *const *words)
{
    hd_array *x = hd_array_of(in4, N), *y = NULL;
    int e = hd_call(f, &y, x);
    ck_assert_msg(e == (int)code, "%d, not %d: %s", e, (int)code, hd_error());
    for (; *words; words++)
        ck_assert_msg(strstr(hd_error(), *words) != NULL, "\"%s\" is not in \"%s\"", *words, hd_error());
    hd_drop(x);
}
#define WORDS(...) (const char *const[]){ __VA_ARGS__, NULL }

/* ==================== in loops and branches */

/* x <- x / 2 + mean over lanes, three times */
static hd pulled(hd x, hd nothing)
{
    (void)nothing;
    x = hd_add(hd_mul_c(x, .5), hd_pmean(x, "i"));
    return hd_tuple(x, x);
}
static hd scanned(hd x) { return hd_nth(hd_scan(pulled, x, HD_NIL, .length = 3), 0); }
static hd below(hd s) { return hd_lt(hd_nth(s, 1), hd_c(3)); }
static hd turn(hd s)
{
    return hd_tuple(
        hd_add(hd_mul_c(hd_nth(s, 0), .5), hd_pmean(hd_nth(s, 0), "i")), hd_add_c(hd_nth(s, 1), 1));
}
static hd looped(hd x) { return hd_nth(hd_while(below, turn, hd_tuple(x, hd_zeros(HD_I32))), 0); }
static hd forth(hd i, hd x) { (void)i; return hd_add(hd_mul_c(x, .5), hd_pmean(x, "i")); }
static hd counted(hd x) { return hd_fori(hd_c(0), hd_c(3), forth, x); }
static hd meets(hd x) { return hd_psum(x, "i"); }
static hd alone(hd x) { return x; }
static hd branch(hd x) { return hd_cond(hd_gt(hd_psum(x, "i"), hd_c(0)), meets, alone, x); }

static void pulled_by_hand(double *y)
{
    memcpy(y, in4, sizeof in4);
    for (int k = 0; k < 3; k++) {
        double mean = (y[0] + y[1] + y[2] + y[3]) / N;
        for (int i = 0; i < N; i++)
            y[i] = y[i] / 2 + mean;
    }
}

START_TEST(loops)
{
    double y[N], sum[N] = { 1.75, 1.75, 1.75, 1.75 };
    pulled_by_hand(y);
    gives(hd_vmap(scanned, .axis_name = "i"), y, N, "scan");
    gives(hd_vmap(looped, .axis_name = "i"), y, N, "while");
    gives(hd_vmap(counted, .axis_name = "i"), y, N, "fori");
    gives(hd_vmap(branch, .axis_name = "i"), sum, N, "cond");
}
END_TEST

/* Each lane turns as often as its number: nobody meets, so each has its own trip count. */
static hd doubled(hd i, hd x) { (void)i; return hd_mul_c(x, 2); }
static hd own_trips(hd x) { return hd_fori(hd_c(0), hd_axis_index("i"), doubled, x); }
static hd by_number(hd x) { return hd_switch(hd_axis_index("i"), HD_FNS(alone, hd_neg, hd_square), x); }
static hd number(hd x) { return hd_add(hd_cast(hd_axis_index("i"), HD_F64), hd_mul_c(x, 0)); }

START_TEST(lane_numbers)
{
    const double numbers[N] = { 0, 1, 2, 3 }, trips[N] = { 0.5, -2, 8, 2 },
                 branches[N] = { 0.5, 1, 4, 0.0625 };
    gives(hd_vmap(number, .axis_name = "i"), numbers, N, "axis_index");
    gives(hd_vmap(own_trips, .axis_name = "i"), trips, N, "trips by lane");
    gives(hd_vmap(by_number, .axis_name = "i"), branches, N, "a branch by lane");
}
END_TEST

/* ==================== under other transforms */

static hd energy(hd x) { return hd_sum(hd_square(hd_apply(hd_vmap(scanned, .axis_name = "i"), x))); }
static hd mixed(hd x)
{
    hd y = hd_apply(hd_vmap(branch, .axis_name = "i"), hd_exp(x));
    return hd_add(
        hd_sum(hd_mul(y, x)), hd_sum(hd_square(hd_apply(hd_vmap(own_trips, .axis_name = "i"), x))));
}

static double value_of(hd_fn *f, const double *v)
{
    hd_array *x = hd_array_of(v, N), *y = NULL;
    ck_assert_msg(hd_call(hd_jit(f, .device = "host"), &y, x) == 0, "%s", hd_error());
    double r = hd_item(y);
    hd_drop(x), hd_drop(y);
    return r;
}

/* Gradient against central differences; reverse is false where there is a while that data ends. */
static void derivative(hd_fn *f, bool reverse, const char *what)
{
    double want[N];
    for (int i = 0; i < N; i++) {
        double a[N], b[N], h = 1e-5;
        memcpy(a, in4, sizeof a), memcpy(b, in4, sizeof b);
        a[i] += h, b[i] -= h;
        want[i] = (value_of(f, a) - value_of(f, b)) / (2 * h);
    }
    for (int mode = 0; mode <= reverse; mode++) {
        hd_array *x = hd_array_of(in4, N), *y = NULL;
        double got[N];
        ck_assert_msg(hd_call(mode ? hd_grad(f) : hd_jacfwd(f), &y, x) == 0, "%s: %s", what, hd_error());
        hd_read(y, got, N);
        for (int i = 0; i < N; i++)
            ck_assert_msg(fabs(got[i] - want[i]) < 1e-6 * (1 + fabs(want[i])),
                "%s: %s derivative %d is %g, not %g", what, mode ? "reverse" : "forward", i, got[i],
                want[i]);
        hd_drop(x), hd_drop(y);
    }
}

/* Inside the axis psum transposes to psum: of n lanes that all have the sum, each counts. */
static hd whole(hd x) { return hd_psum(hd_square(x), "i"); }
static hd inner(hd x) { return hd_apply(hd_grad(whole), x); }
static hd spread(hd x) { return hd_square(hd_sub(x, hd_pmean(x, "i"))); }
static hd spread_sum(hd x) { return hd_sum(hd_apply(hd_vmap(spread, .axis_name = "i"), x)); }
static hd top(hd x) { return hd_pmax(hd_mul(x, x), "i"); }
static hd top_sum(hd x) { return hd_sum(hd_apply(hd_vmap(top, .axis_name = "i"), x)); }

START_TEST(derivatives)
{
    double twice[N], hess[N * N];
    for (int i = 0; i < N; i++)
        twice[i] = 2 * N * in4[i];
    for (int i = 0; i < N * N; i++)
        hess[i] = 2 * ((i % (N + 1) == 0) - 1.0 / N);
    gives(hd_vmap(inner, .axis_name = "i"), twice, N, "grad inside the axis");
    gives(hd_hessian(spread_sum), hess, N * N, "hessian");
    derivative(HD_FN(energy), true, "psum in a scan");
    derivative(HD_FN(mixed), false, "cond and trips by lane");
    derivative(HD_FN(top_sum), true, "pmax");
}
END_TEST

/* ==================== several axes */

static hd flat_number(hd x) { return hd_add(hd_cast(hd_axis_index("i, j"), HD_F64), hd_mul_c(x, 0)); }
static hd both(hd x) { return hd_add(hd_psum(x, "i,j"), hd_mul_c(hd_psum(x, "j"), 100)); }
static hd grid(hd x)
{
    return hd_ravel(
        hd_apply(hd_vmap(hd_vmap(both, .axis_name = "j"), .axis_name = "i"), hd_reshape(x, 2, 2)));
}
static hd grid_number(hd x)
{
    return hd_ravel(
        hd_apply(hd_vmap(hd_vmap(flat_number, .axis_name = "j"), .axis_name = "i"), hd_reshape(x, 2, 2)));
}
static hd gathered(hd x)
{
    return hd_sum(hd_mul(hd_all_gather(x, "i,j", 0, false), hd_arange(HD_F64, 1, 5, 1)));
}
static hd grid_gather(hd x)
{
    return hd_ravel(
        hd_apply(hd_vmap(hd_vmap(gathered, .axis_name = "j"), .axis_name = "i"), hd_reshape(x, 2, 2)));
}
/* the inner axis hides the outer one of its name, and the outer one is back behind it */
static hd hidden(hd x) { return hd_add(hd_psum(x, "i"), hd_mul_c(hd_cast(hd_axis_index("i"), HD_F64), 10)); }
static hd hides(hd x)
{
    return hd_add(hd_apply(hd_vmap(hidden, .axis_name = "i"), x), hd_psum(hd_sum(x), "i"));
}
static hd shadows(hd x) { return hd_ravel(hd_apply(hd_vmap(hides, .axis_name = "i"), hd_reshape(x, 2, 2))); }
/* lanes without a name around and inside */
static hd rows(hd x) { return hd_add(hd_sum(x), hd_psum(hd_at(x, 0), "i")); }
static hd unnamed(hd x)
{
    return hd_ravel(hd_apply(hd_vmap(hd_vmap(rows, .axis_name = "i")), hd_reshape(x, 2, 2, 1)));
}

START_TEST(axes)
{
    const double s = 1.75, a = -0.5, b = 2.25, numbers[N] = { 0, 1, 2, 3 };
    const double g = 0.5 - 2 + 6 + 1, same[N] = { g, g, g, g };
    gives(
        HD_FN(grid), (const double[]){ s + 100 * a, s + 100 * a, s + 100 * b, s + 100 * b }, N, "two axes");
    gives(HD_FN(grid_number), numbers, N, "one number of two axes");
    gives(HD_FN(grid_gather), same, N, "gathered over two axes");
    gives(HD_FN(shadows), (const double[]){ a + s, a + 10 + s, b + s, b + 10 + s }, N,
        "an axis that hides another");
    gives(HD_FN(unnamed), (const double[]){ 0.5 + a, -1 + a, 2 + b, 0.25 + b }, N, "unnamed lanes around");
}
END_TEST

/* The same function over an axis of another size is another program. */
static hd share(hd x) { return hd_div(x, hd_psum(hd_c(1), "i")); }
static hd pairs(hd x)
{
    return hd_ravel(hd_apply(hd_vmap(hd_vmap(share, .axis_name = "i")), hd_reshape(x, 2, 2)));
}

START_TEST(sizes)
{
    double quarter[N], half[N];
    for (int i = 0; i < N; i++)
        quarter[i] = in4[i] / 4, half[i] = in4[i] / 2;
    gives(hd_vmap(share, .axis_name = "i"), quarter, N, "of four");
    gives(HD_FN(pairs), half, N, "of two");
    gives(hd_vmap(share, .axis_name = "i"), quarter, N, "of four again");
}
END_TEST

/* ==================== trees, constants, dtypes */

static hd of_tree(hd x)
{
    hd t =
        hd_psum(hd_dict({ "a", x }, { "b", hd_tuple(hd_gt(x, hd_c(0)), hd_cast(x, HD_I8), hd_c(2)) }), "i");
    hd b = hd_get(t, "b");
    return hd_stack(0, hd_get(t, "a"), hd_cast(hd_nth(b, 0), HD_F64), hd_cast(hd_nth(b, 1), HD_F64),
        hd_add(hd_mul_c(x, 0), hd_nth(b, 2)), hd_pmean(hd_cast(hd_axis_index("i"), HD_F64), "i"),
        hd_pbroadcast(x, "i", 2));
}
static hd first_tree(hd x) { return hd_index(hd_apply(hd_vmap(of_tree, .axis_name = "i"), x), 0, 0); }
static hd zero_sign(hd x) { return hd_pbroadcast(hd_mul_c(x, 0), "i", 1); }

START_TEST(trees)
{
    gives(HD_FN(first_tree), (const double[]){ 1.75, 3, 1, 8, 1.5, 2 }, 6, "a tree");
    hd_array *x = hd_array_of(in4, N), *y = NULL;
    ck_assert_int_eq(hd_call(hd_vmap(zero_sign, .axis_name = "i"), &y, x), 0);
    ck_assert(signbit(((const double *)hd_data(y))[0]));        /* -1 * 0, not 0 + -0 */
    hd_drop(x), hd_drop(y);
}
END_TEST

/* Text knows collectives; a vmap with that name takes them up. */
START_TEST(text)
{
    const char *t = "fn f(x0: f64[]) -> f64[] { v1: f64[] = psum x0 name=\"i\" size=4 v2: i32[] = "
                    "axis_index name=\"i\" size=4 "
                    "v3: f64[] = convert v2 dtype=f64 v4: f64[] = add v1 v3 ret v4 }";
    gives(
        hd_vmap(hd_parse(t, "f"), .axis_name = "i"), (const double[]){ 1.75, 2.75, 3.75, 4.75 }, N, "text");
    hd_array *x = hd_array_scalar(HD_F64, 1), *y = NULL, *v = hd_array_of(in4, 3);
    ck_assert(hd_call(hd_parse(t, "f"), &y, x) == HD_ETRACE && strstr(hd_error(), "no axis \"i\""));
    ck_assert(hd_call(hd_vmap(hd_parse(t, "f"), .axis_name = "i"), &y, v) == HD_ESHAPE &&
        strstr(hd_error(), "3 lanes, not 4"));
    hd_drop(x), hd_drop(v);
}
END_TEST

/* A body in which nobody meets keeps its lanes beside one that is batched at once. */
static hd step(hd c, hd x) { c = hd_add(hd_tanh(c), x); return hd_tuple(c, HD_NIL); }
static hd two_scans(hd x)
{
    hd alone = hd_nth(hd_scan(step, x, hd_full(x, 5)), 0);
    return hd_add(hd_nth(hd_scan(pulled, x, HD_NIL, .length = 5), 0), alone);
}

START_TEST(others_keep_lanes)
{
    hd_array *x = hd_array_of(in4, N);
    char *out = NULL;
    size_t n = 0, lanes = 0, scans = 0;
    FILE *f = open_memstream(&out, &n);
    ck_assert_msg(hd_print_graph(f, hd_vmap(two_scans, .axis_name = "i"), x) == 0, "%s", hd_error());
    fclose(f);
    for (const char *s = out; (s = strstr(s, "region scan")); s++)
        scans++;
    for (const char *s = out; (s = strstr(s, "lanes(4")); s++)
        lanes++;
    ck_assert_msg(scans == 2 && lanes == 1, "%zu scans, %zu with lanes\n%s", scans, lanes, out);
    free(out), hd_drop(x);
}
END_TEST

/* ==================== who cannot meet */

static hd own_path(hd x) { return hd_cond(hd_gt(x, hd_c(0)), meets, alone, x); }
static hd more(hd x) { return hd_lt(x, hd_c(9)); }
static hd grow(hd x) { return hd_add(x, hd_psum(hd_add_c(hd_square(x), 1), "i")); }
static hd own_end(hd x) { return hd_while(more, grow, x); }
static hd no_axis(hd x) { return hd_psum(x, "j"); }
static hd twice(hd x) { return hd_psum(x, "i,i"); }
static hd junk(hd x) { return hd_psum(x, "i,,"); }
static hd null(hd x) { return hd_psum(x, NULL); }
static hd far(hd x) { return hd_ppermute(x, "i", (const int[][2]){ { 0, 4 } }, 1); }
static hd again_(hd x) { return hd_ppermute(x, "i", (const int[][2]){ { 0, 1 }, { 2, 1 } }, 2); }
static hd no_lane(hd x) { return hd_pbroadcast(x, "i", 4); }
static hd uneven(hd x) { return hd_psum_scatter(hd_full(x, 6), "i", 0, true); }
static hd not_one(hd x) { return hd_psum_scatter(hd_full(x, 6), "i", 0, false); }
static hd size_of(hd x) { return hd_mul_c(x, (double)hd_axis_size("k")); }

START_TEST(refusals)
{
    char line[40];
    refused(hd_vmap(own_path, .axis_name = "i"), HD_EINVAL,
        WORDS("psum", "\"i\"", "cond", "differs", "test_collectives.c"));
    refused(hd_vmap(own_end, .axis_name = "i"), HD_EINVAL,
        WORDS("psum", "while", "differs", "test_collectives.c"));
    hd_fn *f = hd_vmap(no_axis, .axis_name = "i");
    snprintf(line, sizeof line, "test_collectives.c:%d", __LINE__ - 1);     /* of hd_vmap */
    refused(f, HD_EINVAL, WORDS("no axis \"j\"", "\"i\" of 4", line));
    refused(hd_vmap(no_axis), HD_EINVAL, WORDS("no axis \"j\"", ".axis_name"));
    refused(hd_vmap(twice, .axis_name = "i"), HD_EINVAL, WORDS("twice"));
    refused(hd_vmap(junk, .axis_name = "i"), HD_EINVAL, WORDS("with commas"));
    refused(hd_vmap(null, .axis_name = "i"), HD_EINVAL, WORDS("NULL"));
    refused(hd_vmap(far, .axis_name = "i"), HD_EINVAL, WORDS("from 0 to 4", "4 lanes"));
    refused(hd_vmap(again_, .axis_name = "i"), HD_EINVAL, WORDS("lane 1 receives twice"));
    refused(hd_vmap(no_lane, .axis_name = "i"), HD_EINVAL, WORDS("no lane 4"));
    refused(hd_vmap(uneven, .axis_name = "i"), HD_ESHAPE, WORDS("f64[6]", "4 lanes"));
    refused(hd_vmap(not_one, .axis_name = "i"), HD_ESHAPE, WORDS("f64[6]", "4 lanes"));
    refused(hd_vmap(size_of, .axis_name = "i"), HD_EINVAL, WORDS("no axis \"k\""));
    refused(hd_vmap(alone, .axis_name = "a b"), HD_EINVAL, WORDS("is no name"));
    refused(hd_vmap(alone, .axis_name = "i", .in_axes = { HD_NONE }), HD_EINVAL, WORDS("nothing is mapped"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("collectives");
    TCase *c = suite_case(s);
    tcase_add_test(c, loops);
    tcase_add_test(c, lane_numbers);
    tcase_add_test(c, derivatives);
    tcase_add_test(c, axes);
    tcase_add_test(c, sizes);
    tcase_add_test(c, trees);
    tcase_add_test(c, text);
    tcase_add_test(c, others_keep_lanes);
    tcase_add_test(c, refusals);
    return suite_run(s);
}
