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

/* ==================== Bessel functions and their slopes, by mpmath: near 0, about 8, far out */

static hd of_j0(hd x) { return hd_j0(x); }
static hd of_j1(hd x) { return hd_j1(x); }
static hd of_y0(hd x) { return hd_y0(x); }
static hd of_y1(hd x) { return hd_y1(x); }
enum { PLACES = 12 };
static const double places[PLACES] = { 0.1, 0.3, 2, 0.5, 4, 7.9, 8, 8.1, 15.5, 100, 1234.5, 0.75 };
static const struct {
    const char *name;
    hd (*f)(hd);
    double value[PLACES], slope[PLACES];
} kinds[] = {
    { "j0", of_j0, { 0.99750156206604, 0.977626246538296, 0.223890779141236, 0.938469807240813,
        -0.397149809863847, 0.194361844841278, 0.171650807137554, 0.147517454044378, -0.10923065090005,
        0.0199858503042231, -0.0135503796180357, 0.864242275166649 }, { -0.049937526036242,
        -0.148318816273104, -0.576724807756873, -0.242268457674874, 0.0660433280235491,
        -0.219179399921751, -0.234636346853915, -0.247607766981593, -0.167213180351747,
        0.0771453520141122, -0.0182175083373925, -0.349243602174862 } },
    { "j1", of_j1, { 0.049937526036242, 0.148318816273104, 0.576724807756873, 0.242268457674874,
        -0.0660433280235491, 0.219179399921751, 0.234636346853915, 0.247607766981593, 0.167213180351747,
        -0.0771453520141122, 0.0182175083373925, 0.349243602174862 }, { 0.49812630170362,
        0.483230192294616, -0.064471624737201, 0.453932891891065, -0.38063897785796, 0.166617617003082,
        0.142321263780815, 0.116948593923193, -0.120018598019518, 0.0207573038243642,
        -0.0135651366114236, 0.398584138933499 } },
    { "y0", of_y0, { -1.53423865135037, -0.807273577804519, 0.510375672649745, -0.444518733506707,
        -0.016940739325065, 0.206520948144376, 0.223521489387566, 0.238091328702235, 0.170644911229435,
        -0.0772443133650832, 0.0182229950474126, -0.137172769385772 }, { 6.45895109470203,
        2.29310513838853, 0.107032431540938, 1.47147239267024, -0.3979257105571, 0.181721077280573,
        0.158060461731247, 0.133148795952496, -0.114786142513342, 0.0203723120027598,
        -0.0135577614471803, 1.03759455076929 } },
    { "y1", of_y1, { -6.45895109470203, -2.29310513838853, -0.107032431540938, -1.47147239267024,
        0.3979257105571, -0.181721077280573, -0.158060461731247, -0.133148795952496, 0.114786142513342,
        -0.0203723120027598, 0.0135577614471803, -1.03759455076929 }, { 63.0552722956699,
        6.83641021682391, 0.563891888420214, 2.49842605183378, -0.11642216696434, 0.229523616154575,
        0.243279047103972, 0.254529451659333, 0.163239353647929, -0.0770405902450556, 0.0182120126566088,
        1.24628663163994 } },
};

static hd (*kind)(hd);
static hd summed(hd x) { return hd_sum(kind(x)); }
static hd both(hd x) { return hd_stack(0, kind(x), hd_apply(hd_grad(summed), x)); }
static hd in_f32(hd x) { return hd_cast(both(hd_cast(x, HD_F32)), HD_F64); }
static hd ends(hd x)
{
    (void)x;
    hd at = hd_lit(double, (3), 0, INFINITY, -2);
    return hd_stack(0, hd_j0(at), hd_j1(at), hd_y0(at), hd_y1(at));
}

START_TEST(bessel)
{
    hd_array *x = hd_array_new(HD_F64, HD_INTS(PLACES), places, NULL), *y[2];
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        kind = kinds[i].f;
        hd_forget(summed), hd_forget(both), hd_forget(in_f32);
        ck_assert_msg(!hd_call(both, &y[0], x), "%s", hd_error());
        ck_assert_msg(!hd_call(hd_jit(in_f32, .device = "kernel"), &y[1], x), "%s", hd_error());
        for (int n = 0; n < 2 * PLACES; n++) {
            int k = n % PLACES;
            double want = n < PLACES ? kinds[i].value[k] : kinds[i].slope[k];
            for (int wide = 0; wide < 2; wide++) {
                double got = ((const double *)hd_data(y[!wide]))[n], eps = wide ? 1e-14 : 2e-6;
                ck_assert_msg(fabs(got - want) <= eps * fmax(1, fabs(want)) * (k == 10 && wide ? 10 : 1),
                    "%s%s of %g, f%d: %.17g, not %.17g", kinds[i].name, n < PLACES ? "" : "'s slope",
                    places[k], wide ? 64 : 32, got, want);
            }
        }
        hd_drop(y[0]), hd_drop(y[1]);
    }
    ck_assert_msg(!hd_call(ends, &y[0], x), "%s", hd_error());
    const double *e = hd_data(y[0]);
    ck_assert(fabs(e[0] - 1) < 1e-14 && e[1] == 0 && fabs(e[2] - 0.223890779141236) < 1e-14);
    ck_assert(e[3] == 0 && e[4] == 0 && fabs(e[5] + 0.576724807756873) < 1e-14);
    for (int k = 6; k < 12; k += 3)
        ck_assert(e[k] == -INFINITY && e[k + 1] == 0 && isnan(e[k + 2]));
    hd_drop(x), hd_drop(y[0]);
}
END_TEST

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
    tcase_add_test(c, bessel);
    tcase_add_test(c, weights);
    return suite_run(s);
}
