/*
 * test_special.c - special functions that are formulas, and derivatives of those that are rows, in f64
 * against JAX 0.10.2.
 */
#include <math.h>
#include <stdlib.h>

#include "suite.h"

static const double xs[] = { 0.1, 0.4, 0.75, 0.95 }, ys[] = { 0.3, 2, 0.5, 4 };

static hd i0(hd x, hd y) { (void)x; return hd_i0(y); }
static hd i1(hd x, hd y) { (void)x; return hd_i1(hd_neg(y)); }
static hd igamma_grad_a(hd x, hd y) { return hd_igamma_grad_a(y, x); }
static hd multigammaln(hd x, hd y) { (void)x; return hd_multigammaln(hd_add_c(y, 2), 3); }
static hd ndtr(hd x, hd y) { (void)x; return hd_ndtr(hd_sub_c(y, 3)); }
static hd logit(hd x, hd y) { (void)y; return hd_logit(x); }
static hd sinc(hd x, hd y) { (void)x; return hd_sinc(y); }
static hd rel_entr(hd x, hd y) { return hd_rel_entr(x, y); }
static hd kl_div(hd x, hd y) { return hd_kl_div(y, x); }

/* the sum over lanes, whose gradient is every lane's derivative */
#define SLOPE(name, by, value) \
    static hd name##_sum(hd x, hd y) { (void)x, (void)y; return hd_sum(value); } \
    static hd name(hd x, hd y) { return hd_apply(hd_grad(name##_sum, .argnums = HD_INTS(by)), x, y); }
SLOPE(i0_slope, 1, hd_i0(y))
SLOPE(sinc_slope, 1, hd_sinc(y))
SLOPE(logit_slope, 0, hd_logit(x))
SLOPE(ndtr_slope, 1, hd_ndtr(y))
SLOPE(rel_slope, 0, hd_rel_entr(x, y))
SLOPE(igamma_by_a, 1, hd_igamma(y, x))
SLOPE(igammac_by_x, 0, hd_igammac(y, x))
SLOPE(betainc_by_x, 0, hd_betainc(y, hd_add_c(y, 1), x))
SLOPE(zeta_by_q, 1, hd_zeta(hd_c(2.5), y))
SLOPE(polygamma_once, 1, hd_polygamma(hd_c(1), y))
SLOPE(polygamma_twice, 1, polygamma_once(x, y))
SLOPE(digamma_once, 1, hd_digamma(y))
SLOPE(digamma_twice, 1, digamma_once(x, y))
SLOPE(log_ndtr_slope_3, 1, hd_log_ndtr(hd_mul_c(y, -3)))
static hd log_ndtr_slope(hd x, hd y) { return hd_div_c(log_ndtr_slope_3(x, y), -3); }
SLOPE(ndtri_slope, 0, hd_ndtri(x))
SLOPE(expi_slope, 1, hd_expi(y))
SLOPE(xlogy_slope, 1, hd_xlogy(y, y))
SLOPE(betaln_slope, 0, hd_betaln(x, y))
SLOPE(i1e_minus, 1, hd_i1e(hd_neg(y)))
static hd i1e_slope(hd x, hd y) { return hd_neg(i1e_minus(x, y)); }
SLOPE(spence_slope, 1, hd_spence(y))
SLOPE(entr_slope, 1, hd_entr(y))

static const struct { const char *name; hd (*f)(hd, hd); double want[4]; } cases[] = {
#define CASE(f, ...) { #f, f, { __VA_ARGS__ } },
    CASE(i0, 1.02262687935, 2.27958530234, 1.06348337074, 11.3019219521)
    CASE(i1, -0.151693840004, -1.59063685464, -0.257894305391, -9.7594651537)
    CASE(igamma_grad_a, -1.19666082513, -0.116047760148, -0.504993264704, -0.0257099376446)
    CASE(multigammaln, 1.69202560131, 5.40297508091, 1.88099546161, 13.6404543695)
    CASE(ndtr, 0.00346697380304, 0.158655253931, 0.00620966532578, 0.841344746069)
    CASE(logit, -2.19722457734, -0.405465108108, 1.09861228867, 2.94443897917)
    CASE(sinc, 0.858393691334, 0, 0.636619772368, 0)
    CASE(rel_entr, -0.109861228867, -0.643775164974, 0.304098831081, -1.36570827273)
    CASE(kl_div, 0.1295836866, 1.61887582487, 0.0472674459459, 2.70035062203)
    CASE(i0_slope, 0.151693840004, 1.59063685464, 0.257894305391, 9.7594651537)
    CASE(sinc_slope, -0.902028130139, 0.5, -1.27323954474, 0.25)
    CASE(logit_slope, 11.1111111111, 4.16666666667, 5.33333333333, 21.0526315789)
    CASE(ndtr_slope, 0.381387815461, 0.0539909665132, 0.352065326764, 0.000133830225765)
    CASE(rel_slope, -0.0986122886681, -0.609437912434, 1.40546510811, -0.437587655507)
    CASE(igamma_by_a, -1.19666082513, -0.116047760148, -0.504993264704, -0.0257099376446)
    CASE(igammac_by_x, -1.51590340819, -0.268128018414, -0.307732645611, -0.0552636808307)
    CASE(betainc_by_x, 1.61605251971, 1.728, 0.367552596948, 0.00150040625)
    CASE(zeta_by_q, -170.256640131, -0.316834668293, -29.0520116586, -0.0424054409135)
    CASE(polygamma_twice, 743.141764655, 0.493939402267, 97.409091034, 0.0448653281928)
    CASE(digamma_twice, -75.2725365887, -0.404113806319, -16.8287966442, -0.0800397322451)
    CASE(log_ndtr_slope, 1.4456430984, 6.15848260454, 1.93867716662, 12.0822141753)
    CASE(ndtri_slope, 5.69805985612, 2.58837666914, 3.14686508056, 9.6959692727)
    CASE(expi_slope, 4.49952935859, 3.69452804947, 3.2974425414, 13.6495375083)
    CASE(xlogy_slope, -0.203972804326, 1.69314718056, 0.30685281944, 2.38629436112)
    CASE(betaln_slope, -7.86237039583, -3.21428571429, -0.85840734641, -2.15759969958)
    CASE(i1e_slope, 0.270611195743, -0.0143956113197, 0.175772860895, -0.0164366281541)
    CASE(spence_slope, -1.71996114904, -0.69314718056, -1.38629436112, -0.462098120373)
    CASE(entr_slope, 0.203972804326, -1.69314718056, -0.30685281944, -2.38629436112)
};

static hd weighted(hd x, hd y) { return hd_logsumexp_weighted(x, y, 0); }

START_TEST(values)
{
    hd_array *x = hd_array_new(HD_F64, HD_INTS(4), xs, NULL), *z;
    hd_array *y = hd_array_new(HD_F64, HD_INTS(4), ys, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hd_fn *f = hd_function_(2, (uintptr_t)cases[i].f, cases[i].name, NULL, 0);
        ck_assert_msg(!hd_call(f, &z, x, y), "%s: %s", cases[i].name, hd_error());
        const double *got = hd_data(z);
        for (int k = 0; k < 4; k++)
            ck_assert_msg(fabs(got[k] - cases[i].want[k]) <= 1e-9 * fmax(1, fabs(got[k])),
                "%s: element %d is %.17g, not %.17g", cases[i].name, k, got[k], cases[i].want[k]);
        hd_drop(z);
    }
    hd_drop(x), hd_drop(y);
}
END_TEST

/* What has the weight 0 does not count, be it infinite. */
START_TEST(weights)
{
    const double v[] = { 1, INFINITY, 2 }, w[] = { 1, 0, 2 };
    hd_array *x = hd_array_new(HD_F64, HD_INTS(3), v, NULL), *z;
    hd_array *y = hd_array_new(HD_F64, HD_INTS(3), w, NULL);
    ck_assert_msg(!hd_call(weighted, &z, x, y), "%s", hd_error());
    ck_assert(fabs(hd_item(z) - log(exp(1) + 2 * exp(2))) < 1e-12);
    hd_drop(x), hd_drop(y), hd_drop(z);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("special");
    TCase *c = suite_case(s);
    tcase_add_test(c, values);
    tcase_add_test(c, weights);
    return suite_run(s);
}
