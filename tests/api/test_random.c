/*
 * test_random.c - distributions: their moments at fixed seeds, each number a loop of its own, one device
 * like another, what vmap, derivatives and empty shapes make of them, and what is refused. Single numbers
 * are held to JAX's by the golden cases.
 */
#include "suite.h"

#include <math.h>

enum { N = 2048, LANES = 5 };

/* ==================== moments of N numbers */

static hd gamma_low(hd k) { return hd_random_gamma(k, hd_c(0.3), N); }
static hd gamma_high(hd k) { return hd_random_gamma(k, hd_c(7.5), N); }
static hd loggamma_(hd k) { return hd_exp(hd_random_loggamma(k, hd_c(2.5), N)); }
static hd beta_(hd k) { return hd_random_beta(k, hd_c(2), hd_c(5), N); }
static hd chisquare_(hd k) { return hd_random_chisquare(k, hd_c(5), N); }
static hd student(hd k) { return hd_random_t(k, hd_c(9), N); }
static hd f_(hd k) { return hd_random_f(k, hd_c(6), hd_c(20), N); }
static hd dirichlet_(hd k) { return hd_reshape(hd_random_dirichlet(k, hd_full(hd_c(2), 4), N / 4), N); }
static hd poisson_low(hd k) { return hd_cast(hd_random_poisson(k, hd_c(3.5), N), HD_F32); }
static hd poisson_high(hd k) { return hd_cast(hd_random_poisson(k, hd_c(60), N), HD_F32); }
static hd binomial_low(hd k) { return hd_random_binomial(k, hd_c(12), hd_c(0.25), N); }
static hd binomial_high(hd k) { return hd_random_binomial(k, hd_c(200), hd_c(0.7), N); }
static hd geometric_(hd k) { return hd_cast(hd_random_geometric(k, hd_c(0.4), N), HD_F32); }
static hd logistic_(hd k) { return hd_random_logistic(k, HD_F32, N); }
static hd maxwell_(hd k) { return hd_random_maxwell(k, HD_F32, N); }
static hd two_sided(hd k) { return hd_random_double_sided_maxwell(k, hd_c(1), hd_c(0.5), N); }
static hd lognormal_(hd k) { return hd_random_lognormal(k, hd_c(0.5), N); }
static hd pareto_(hd k) { return hd_random_pareto(k, hd_c(6), N); }
static hd rayleigh_(hd k) { return hd_random_rayleigh(k, hd_c(2), N); }
static hd weibull(hd k) { return hd_random_weibull_min(k, hd_c(2), hd_c(2), N); }
static hd wald_(hd k) { return hd_random_wald(k, hd_c(1.5), N); }
static hd triangular_(hd k) { return hd_random_triangular(k, hd_c(0), hd_c(1), hd_c(4), N); }
static hd generalized(hd k) { return hd_random_generalized_normal(k, hd_c(3), N); }
static hd ball_(hd k) { return hd_norm(hd_random_ball(k, hd_c(2), 3, N), 1); }
/* of a covariance that mixes its two numbers, the second; of a direction in four dimensions, the third */
static hd together(hd k)
{
    hd cov = hd_lit(float, (2, 2), 4, 1, 1, 2);
    return hd_index(hd_random_multivariate_normal(k, hd_lit(float, (2), 0, 3), cov, N), 1, 1);
}
static hd orthogonal_(hd k)
{
    return hd_index(hd_index(hd_random_orthogonal(k, HD_F32, 4, 4, N), 1, 2), 1, 1);
}
static hd multinomial_(hd k)
{
    const float p[] = { 0.5, 0.3, 0.2 };
    hd x = hd_random_multinomial(k, hd_c(50), hd_lit_n(HD_F32, (hd_ints){ 1, { 3 } }, p), N);
    return hd_index(x, 1, 1);
}
/* the middle, which has no mean */
static hd cauchy_(hd k) { return hd_cast(hd_gt(hd_abs(hd_random_cauchy(k, HD_F32, N)), hd_c(1)), HD_F32); }
static hd chosen(hd k)
{
    const float p[] = { 0.1f, 0.2f, 0.7f };
    return hd_cast(
        hd_random_choice(k, hd_c(3), N, true, .p = hd_lit_n(HD_F32, (hd_ints){ 1, { 3 } }, p)), HD_F32);
}

static const struct { const char *name; hd (*f)(hd); double mean, variance;
} moments[] = {
    { "gamma(0.3)", gamma_low, 0.3, 0.3 },
    { "gamma(7.5)", gamma_high, 7.5, 7.5 },
    { "exp loggamma(2.5)", loggamma_, 2.5, 2.5 },
    { "multivariate normal", together, 3, 2 },
    { "orthogonal", orthogonal_, 0, 0.25 },
    { "beta(2, 5)", beta_, 2.0 / 7, 10.0 / (49 * 8) },
    { "chisquare(5)", chisquare_, 5, 10 },
    { "t(9)", student, 0, 9.0 / 7 },
    { "f(6, 20)", f_, 20.0 / 18, 2.0 * 400 * 24 / (6.0 * 18 * 18 * 16) },
    { "dirichlet(2, 2, 2, 2)", dirichlet_, 0.25, 12.0 / (64 * 9) },
    { "poisson(3.5)", poisson_low, 3.5, 3.5 },
    { "poisson(60)", poisson_high, 60, 60 },
    { "binomial(12, 0.25)", binomial_low, 3, 2.25 },
    { "binomial(200, 0.7)", binomial_high, 140, 42 },
    { "geometric(0.4)", geometric_, 2.5, 3.75 },
    { "logistic", logistic_, 0, 3.2898681 },
    { "maxwell", maxwell_, 1.5957691, 0.45352092 },
    { "two-sided maxwell", two_sided, 1, 0.75 },
    { "lognormal(0.5)", lognormal_, 1.1331485, 0.36469541 },
    { "pareto(6)", pareto_, 1.2, 0.06 },
    { "rayleigh(2)", rayleigh_, 2.5066283, 1.7168147 },
    { "weibull(2, 2)", weibull, 1.7724539, 0.85840735 },
    { "wald(1.5)", wald_, 1.5, 3.375 },
    { "triangular(0, 1, 4)", triangular_, 5.0 / 3, 13.0 / 18 },
    { "generalized normal(3)", generalized, 0, 0.37328217 },
    { "ball(2), radius", ball_, 0.75, 0.0375 },
    { "multinomial, one class", multinomial_, 15, 10.5 },
    { "cauchy, the outer half", cauchy_, 0.5, 0.25 },
    { "choice with .p", chosen, 1.6, 0.44 },
};

/* Means within five of their standard errors, variances within a fifth: the seed is fixed, so this never
 * changes. */
START_TEST(distributions)
{
    ck_assert_ptr_nonnull(hd_default_device("host"));
    hd_array *key = hd_array_key(20), *x = NULL;
    static float v[N];
    ck_assert_msg(!hd_call(moments[_i].f, &x, key), "%s", hd_error());
    ck_assert(!hd_read(x, v, N));
    double sum = 0, squares = 0;
    for (int i = 0; i < N; i++)
        sum += v[i];
    for (int i = 0; i < N; i++)
        squares += (v[i] - sum / N) * (v[i] - sum / N);
    double mean = sum / N, variance = squares / N;
    ck_assert_msg(fabs(mean - moments[_i].mean) < 5 * sqrt(moments[_i].variance / N), "%s: mean %g, not %g",
        moments[_i].name, mean, moments[_i].mean);
    ck_assert_msg(fabs(variance / moments[_i].variance - 1) < 0.2, "%s: variance %g, not %g",
        moments[_i].name, variance, moments[_i].variance);
    hd_drop(x), hd_drop(key);
}
END_TEST

/* ==================== lanes */

static hd draws(hd key, hd a)
{
    return hd_concatenate(0, hd_random_gamma(key, a, 3),
        hd_cast(hd_random_poisson(key, hd_mul(a, hd_c(4)), 3), HD_F32),
        hd_random_binomial(key, hd_c(40), hd_div(a, hd_c(9)), 3), hd_random_beta(key, a, hd_c(0.5), 2));
}

static hd lanes(hd key, hd a) { return hd_apply(hd_vmap(draws), hd_random_split(key, LANES), a); }
static hd one_lane(hd key, hd a, const void *lane)
{
    int i = *(const int *)lane;
    return draws(hd_index(hd_random_split(key, LANES), 0, i), hd_index(a, 0, i));
}

/* A lane under vmap is what it is alone: its loops end where they end. */
START_TEST(vmap_is_a_loop)
{
    const float a[LANES] = { 0.01f, 0.6f, 1, 4, 8.5f };
    float all[LANES][11], one[11];
    for (int d = 0; d < DEVICES; d++) {
        if (!there(devices[d]))
            continue;
        ck_assert_ptr_nonnull(hd_default_device(devices[d]));
        hd_array *key = hd_array_key(3), *x = hd_array_of(a, LANES), *y = NULL, *z = NULL;
        ck_assert_msg(!hd_call(lanes, &y, key, x), "%s", hd_error());
        ck_assert(!hd_read(y, &all[0][0], LANES * 11));
        for (int i = 0; i < LANES; i++) {
            ck_assert_msg(!hd_call(hd_bind(one_lane, i), &z, key, x), "%s", hd_error());
            ck_assert(!hd_read(z, one, 11));
            ck_assert_msg(!memcmp(one, all[i], sizeof one), "lane %d on %s", i, devices[d]);
            hd_drop(z), z = NULL;
        }
        hd_drop(y), hd_drop(x), hd_drop(key);
    }
}
END_TEST

/* ==================== derivatives */

static hd total(hd key, hd a) { return hd_sum(hd_random_gamma(key, a, 64)); }
static hd slopes(hd key, hd a)
{
    return hd_apply(hd_vmap(hd_grad(total, .argnums = HD_INTS(1)), .in_axes = { HD_NONE, 0 }), key, a);
}

/* The mean of gamma numbers is a: so is the mean of their derivatives 1. */
START_TEST(derivative_of_gamma)
{
    const float a[] = { 0.5f, 1.5f, 20, 3000 };
    float v[4];
    for (int d = 0; d < DEVICES; d++) {
        if (!there(devices[d]))
            continue;
        ck_assert_ptr_nonnull(hd_default_device(devices[d]));
        hd_array *key = hd_array_key(8), *x = hd_array_of(a, 4), *y = NULL;
        ck_assert_msg(!hd_call(slopes, &y, key, x), "%s", hd_error());
        ck_assert(!hd_read(y, v, 4));
        for (int i = 0; i < 4; i++)
            ck_assert_msg(fabs(v[i] / 64 - 1) < 0.4, "a = %g: %g", a[i], v[i] / 64);
        hd_drop(y), hd_drop(x), hd_drop(key);
    }
}
END_TEST

/* ==================== shapes, and what is refused */

static hd none(hd key)
{
    hd a = hd_full(hd_c(2), 0);
    return hd_tuple(hd_random_gamma(key, a), hd_random_poisson(key, a),
        hd_random_binomial(key, a, hd_c(0.5)), hd_random_dirichlet(key, hd_full(hd_c(1), 0, 3)),
        hd_random_ball(key, hd_c(2), 3, 0), hd_random_t(key, a),
        hd_random_multivariate_normal(key, hd_full(hd_c(1), 3, 0), hd_full(hd_c(1), 0, 0)),
        hd_random_multivariate_normal_by(key, hd_full(hd_c(1), 3, 0), hd_full(hd_c(1), 0, 0), HD_EIGH),
        hd_random_multivariate_normal_by(key, hd_full(hd_c(1), 3, 0), hd_full(hd_c(1), 0, 0), HD_SVD),
        hd_random_orthogonal(key, HD_F32, 3, 0));
}

START_TEST(empty)
{
    for (int d = 0; d < DEVICES; d++) {
        if (!there(devices[d]))
            continue;
        ck_assert_ptr_nonnull(hd_default_device(devices[d]));
        hd_array *key = hd_array_key(1), *y = NULL;
        ck_assert_msg(!hd_call(none, &y, key), "%s", hd_error());
        for (int i = 0; i < 10; i++)
            ck_assert_int_eq(hd_array_size(hd_array_nth(y, i)), 0);
        hd_drop(y), hd_drop(key);
    }
}
END_TEST

static hd of_integers(hd key) { return hd_random_gamma(key, hd_iota(HD_I32, 0, 3)); }
static hd two_dtypes(hd key)
{
    return hd_random_beta(key, hd_cast(hd_c(1), HD_F16), hd_cast(hd_c(1), HD_F32));
}
static hd shapes_differ(hd key) { return hd_random_poisson(key, hd_full(hd_c(1), 3), 4); }
static hd no_class(hd key) { return hd_random_dirichlet(key, hd_full(hd_c(1), 2, 0)); }
static hd scalar_alpha(hd key) { return hd_random_dirichlet(key, hd_c(1)); }
static hd other_chances(hd key) { return hd_random_choice(key, hd_c(4), 2, true, .p = hd_full(hd_c(1), 3)); }
static hd no_such_axis(hd key) { return hd_random_permutation(key, hd_full(hd_c(1), 2, 3), .axis = 2); }
static hd small_cov(hd key)
{
    return hd_random_multivariate_normal(key, hd_full(hd_c(1), 3), hd_eye(HD_F32, 2));
}
static hd small_batch(hd key)
{
    return hd_random_multivariate_normal(key, hd_full(hd_c(1), 5, 3), hd_eye(HD_F32, 3), 4);
}
static hd minus_rows(hd key) { return hd_random_orthogonal(key, HD_F32, -1, 2); }

/* Means, covariances and a shape that broadcast; rows and columns that are orthonormal. */
static hd broadcast_normal(hd key)
{
    hd mean = hd_reshape(hd_iota(HD_F32, 0, 6), 2, 1, 3), one = hd_eye(HD_F32, 3);
    hd cov = hd_mul(hd_reshape(hd_lit(float, (4), 1, 4, 9, 16), 4, 1, 1), one);
    hd far = hd_random_multivariate_normal(key, mean, cov), near = hd_random_normal(key, HD_F32, 2, 4, 3);
    hd scale = hd_reshape(hd_lit(float, (4), 1, 2, 3, 4), 4, 1);
    return hd_tuple(hd_max(hd_abs(hd_sub(far, hd_add(mean, hd_mul(scale, near))))),
        hd_random_multivariate_normal(key, hd_zeros(HD_F32, 3), cov, 5, 4));
}
static hd far_from_one(hd key, int64_t n, int64_t m)
{
    hd q = hd_random_orthogonal(key, HD_F32, n, m, 2);
    hd p = n < m ? hd_einsum("bij,bkj->bik", q, q) : hd_einsum("bji,bjk->bik", q, q);
    return hd_max(hd_abs(hd_sub(p, hd_eye(HD_F32, n < m ? n : m))));
}
static hd matrices(hd key)
{
    return hd_stack(0, hd_nth(broadcast_normal(key), 0), far_from_one(key, 3, 3), far_from_one(key, 5, 2),
        far_from_one(key, 2, 5));
}

START_TEST(of_matrices)
{
    for (int d = 0; d < DEVICES; d++) {
        if (!there(devices[d]))
            continue;
        hd_array *key = hd_array_key(1), *y = NULL;
        ck_assert_msg(!hd_call(hd_jit(matrices, .device = devices[d]), &y, key), "%s", hd_error());
        for (int i = 0; i < 4; i++)
            ck_assert_msg(((const float *)hd_data(y))[i] < 1e-5f, "%d is off by %g", i,
                (double)((const float *)hd_data(y))[i]);
        hd_drop(y), y = NULL;
        ck_assert_msg(!hd_call(hd_jit(broadcast_normal, .device = devices[d]), &y, key), "%s", hd_error());
        ck_assert_int_eq(hd_array_size(hd_array_nth(y, 1)), 5 * 4 * 3);
        hd_drop(y), hd_drop(key);
    }
}
END_TEST

/* The factor that samples of `to` normal numbers were made with, by least squares, times its transpose: the
 * covariance again, by whatever method. Of two: one of full rank, and one of rank 2, which has no Cholesky
 * factor. */
static hd covariance(hd key, hd cov, enum hd_factor method)
{
    hd x = hd_random_multivariate_normal_by(key, hd_zeros(HD_F32, 4), cov, method, 20);
    hd f = hd_lstsq(hd_random_normal(key, HD_F32, 20, 4), x);
    return hd_matmul(hd_transpose(f), f);
}
static hd covariances(hd key)
{
    hd b = hd_lit(float, (4, 2), 1, 2, -1, 0.5, 0, 3, 2, 1), flat = hd_matmul(b, hd_transpose(b));
    hd full = hd_add(flat, hd_eye(HD_F32, 4));
    return hd_stack(0, hd_sub(covariance(key, full, HD_CHOLESKY), full),
        hd_sub(covariance(key, full, HD_EIGH), full), hd_sub(covariance(key, full, HD_SVD), full),
        hd_sub(covariance(key, flat, HD_EIGH), flat), hd_sub(covariance(key, flat, HD_SVD), flat));
}

/* Of many covariances, each lane what it is alone; of one with a negative value eigh has no root. */
static hd of_one(hd key, hd cov)
{
    return hd_stack(0, hd_random_multivariate_normal_by(key, hd_zeros(HD_F32, 2), cov, HD_EIGH, 3),
        hd_random_multivariate_normal_by(key, hd_zeros(HD_F32, 2), cov, HD_SVD, 3));
}
static hd in_lanes(hd key)
{
    hd covs = hd_lit(float, (3, 2, 2), 4, 1, 1, 2, 1, 1, 1, 1, 9, 0, 0, 1);
    hd all = hd_apply(hd_vmap(of_one, .in_axes = { HD_NONE, 0 }), key, covs), off = hd_c(0);
    for (int k = 0; k < 3; k++)
        off =
            hd_maximum(off, hd_max(hd_abs(hd_sub(hd_index(all, 0, k), of_one(key, hd_index(covs, 0, k))))));
    hd none = hd_index(of_one(key, hd_lit(float, (2, 2), 1, 2, 2, 1)), 0, 0);
    return hd_tuple(off, hd_all(hd_isnan(none)));
}

START_TEST(of_factors)
{
    for (int d = 0; d < DEVICES; d++) {
        if (!there(devices[d]))
            continue;
        hd_array *key = hd_array_key(3), *y = NULL;
        ck_assert_msg(!hd_call(hd_jit(covariances, .device = devices[d]), &y, key), "%s", hd_error());
        for (int i = 0; i < 5 * 16; i++)
            ck_assert_msg(fabsf(((const float *)hd_data(y))[i]) < 1e-4f, "%d is off by %g", i,
                (double)((const float *)hd_data(y))[i]);
        hd_drop(y), y = NULL;
        ck_assert_msg(!hd_call(hd_jit(in_lanes, .device = devices[d]), &y, key), "%s", hd_error());
        ck_assert_float_le(*(const float *)hd_data(hd_array_nth(y, 0)), 1e-5f);
        ck_assert(*(const bool *)hd_data(hd_array_nth(y, 1)));
        hd_drop(y), hd_drop(key);
    }
}
END_TEST

/* What is drawn is differentiated by the covariance: against difference quotients, in f64. */
static hd of_spread(hd key, hd a)
{
    hd cov = hd_add(hd_mul(hd_lit(double, (2, 2), 3, 1, 1, 1), hd_square(a)), hd_eye(HD_F64, 2)),
       sum = hd_c(0);
    for (int method = HD_CHOLESKY; method <= HD_SVD; method++)
        sum = hd_add(sum,
            hd_sum(hd_sin(hd_random_multivariate_normal_by(
                key, hd_zeros(HD_F64, 2), cov, (enum hd_factor)method, 5))));
    return sum;
}

START_TEST(slopes_of_factors)
{
    hd_array *key = hd_array_key(5), *at[3], *y[3] = { 0 };
    const double a[] = { 0.7, 0.7 + 1e-6, 0.7 - 1e-6 };
    for (int k = 0; k < 3; k++) {
        at[k] = hd_array_scalar(HD_F64, a[k]);
        hd_fn *f = k ? HD_FN(of_spread) : hd_grad(of_spread, .argnums = HD_INTS(1));
        ck_assert_msg(!hd_call(hd_jit(f, .device = "host"), &y[k], key, at[k]), "%s", hd_error());
    }
    double slope = (hd_item(y[1]) - hd_item(y[2])) / 2e-6;
    ck_assert_msg(
        fabs(hd_item(y[0]) - slope) < 1e-6 * (1 + fabs(slope)), "%g instead of %g", hd_item(y[0]), slope);
    for (int k = 0; k < 3; k++)
        hd_drop(at[k]), hd_drop(y[k]);
    hd_drop(key);
}
END_TEST

static hd no_factor(hd key)
{
    return hd_random_multivariate_normal_by(
        key, hd_full(hd_c(1), 3), hd_eye(HD_F32, 3), (enum hd_factor)7, 2);
}

static hd minus_dimensions(hd key) { return hd_random_ball(key, hd_c(2), -1, 3); }

static const struct { hd (*f)(hd); const char *says;
} refused[] = {
    { of_integers, "hd_random_gamma" },
    { two_dtypes, "hd_cast" },
    { shapes_differ, "broadcast" },
    { no_class, "without a class" },
    { scalar_alpha, "hd_random_dirichlet" },
    { other_chances, ".p is f32[3]" },
    { no_such_axis, "axis 2" },
    { minus_dimensions, "-1 dimensions" },
    { small_cov, "3 by 3" },
    { small_batch, "broadcast to" },
    { minus_rows, "-1 by 2" },
    { no_factor, "factorisation 7" },
};

START_TEST(refuses)
{
    hd_array *key = hd_array_key(1), *y = NULL;
    ck_assert(hd_call(refused[_i].f, &y, key) != 0);
    ck_assert_msg(
        strstr(hd_error(), refused[_i].says) && strstr(hd_error(), "test_random.c"), "%s", hd_error());
    hd_drop(key);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("random");
    TCase *c = suite_case(s);
    tcase_add_loop_test(c, distributions, 0, sizeof moments / sizeof *moments);
    tcase_add_test(c, vmap_is_a_loop);
    tcase_add_test(c, derivative_of_gamma);
    tcase_add_test(c, empty);
    tcase_add_test(c, of_matrices);
    tcase_add_test(c, of_factors);
    tcase_add_test(c, slopes_of_factors);
    tcase_add_loop_test(c, refuses, 0, sizeof refused / sizeof *refused);
    return suite_run(s);
}
