/*
 * test_edges.c - derivatives where a function has a kink, a pole or a tie, and values at infinities and
 * zeros: JAX's, on every device that is there, forwards and backwards, of every float dtype.
 *
 * In:  a function of a vector, points, and the derivative of its sum there.   Out: what grad gives, and jvp
 * for each direction.
 */
#include <math.h>
#include <string.h>

#include "heddle.h"
#include "suite_run.h"

static const char *const devices[] = { "host", "opencl:0", "vulkan:0" };
static const enum hd_dtype dtypes[] = { HD_F32, HD_F16, HD_BF16, HD_F64 };
enum { MOST = 6 };

static hd number(hd x, double v) { return hd_cast(hd_c(v), hd_dtype(x)); }

static hd square_inverse(hd x) { return hd_integer_pow(x, -2); }
static hd cube_inverse(hd x) { return hd_pow(x, hd_c(-3)); }
static hd inverse(hd x) { return hd_integer_pow(x, -1); }
static hd cube(hd x) { return hd_integer_pow(x, 3); }
static hd hypot0(hd x) { return hd_hypot(x, number(x, 0)); }
static hd hypot4(hd x) { return hd_hypot(x, number(x, 4)); }
static hd with_minus(hd x) { return hd_copysign(x, number(x, -1)); }
static hd with_plus(hd x) { return hd_copysign(x, number(x, 0)); }
static hd absolute(hd x) { return hd_abs(x); }
static hd root(hd x) { return hd_sqrt(x); }
static hd cube_root(hd x) { return hd_cbrt(x); }
static hd logarithm(hd x) { return hd_log(x); }
static hd rectified(hd x) { return hd_relu(x); }
static hd bounded(hd x) { return hd_clip(x, hd_c(-1), hd_c(1)); }
static hd larger(hd x) { return hd_maximum(x, number(x, 1)); }
static hd smaller(hd x) { return hd_minimum(x, number(x, 1)); }
static hd arc_sine(hd x) { return hd_asin(x); }
static hd running_max(hd x) { return hd_cummax(x, 0); }
static hd running_min(hd x) { return hd_cummin(x, 0); }
static hd running_max_back(hd x) { return hd_flip(hd_cummax(hd_flip(x, 0), 0), 0); }
static hd running_product(hd x) { return hd_cumprod(x, 0); }
static hd product(hd x) { return hd_prod(x); }
static hd largest(hd x) { return hd_max(x); }
static hd smallest(hd x) { return hd_min(x); }
static hd sorted(hd x) { return hd_mul(hd_sort(x, 0), hd_iota(hd_dtype(x), 0, hd_size(x))); }
static hd variance(hd x) { return hd_var(x); }
static hd untaken(hd x)
{
    return hd_where(
        hd_gt(x, hd_c(0)), x, hd_sqrt(hd_sub(hd_c(-1), hd_where(hd_gt(x, hd_c(0)), hd_c(-1), x))));
}
static hd log_sum(hd x) { return hd_logsumexp(x); }
static hd add_logs(hd x) { return hd_logaddexp(x, number(x, -INFINITY)); }
static hd chances(hd x) { return hd_mul(hd_softmax(x, 0), hd_iota(hd_dtype(x), 0, hd_size(x))); }

typedef struct Edge { const char *name; hd (*f)(hd x); int n; double at[MOST], slope[MOST]; } Edge;
static const Edge edges[] = {
    { "x^-2", square_inverse, 4, { 0, -0.0, 1, -2 }, { -INFINITY, INFINITY, -2, .25 } },
    { "x^-3", cube_inverse, 4, { 0, -0.0, 1, -2 }, { -INFINITY, -INFINITY, -3, -.1875 } },
    { "x^-1", inverse, 3, { 0, -0.0, 2 }, { -INFINITY, -INFINITY, -.25 } },
    { "x^3", cube, 3, { 0, -0.0, 2 }, { 0, 0, 12 } },
    { "hypot(x, 0)", hypot0, 4, { 0, -0.0, 2, -3 }, { .5, .5, 1, -1 } },
    { "hypot(x, 4)", hypot4, 3, { 0, -0.0, 3 }, { 0, 0, .6 } },
    { "copysign(x, -1)", with_minus, 4, { 0, -0.0, 2, -3 }, { -1, 1, -1, 1 } },
    { "copysign(x, 0)", with_plus, 4, { 0, -0.0, 2, -3 }, { 1, -1, 1, -1 } },
    { "abs", absolute, 4, { 0, -0.0, 2, -3 }, { 1, 1, 1, -1 } },
    { "sqrt", root, 2, { 0, 4 }, { INFINITY, .25 } },
    { "cbrt", cube_root, 2, { 0, 1 }, { INFINITY, 1. / 3 } },
    { "log", logarithm, 3, { 0, -0.0, 2 }, { INFINITY, -INFINITY, .5 } },
    { "relu", rectified, 4, { 0, -0.0, 2, -3 }, { 0, 0, 1, 0 } },
    { "clip", bounded, 5, { -2, -1, 0, 1, 2 }, { 0, .5, 1, .5, 0 } },
    { "maximum(x, 1)", larger, 4, { 1, 0, 2, NAN }, { .5, 0, 1, 0 } },
    { "minimum(x, 1)", smaller, 4, { 1, 0, 2, NAN }, { .5, 1, 0, 0 } },
    { "asin", arc_sine, 3, { 1, -1, 0 }, { INFINITY, INFINITY, 1 } },
    { "cummax", running_max, 4, { 2, 1, 2, 2 }, { 3, 0, .75, .25 } },
    { "cummin", running_min, 5, { 0, 0, -0.0, -1, -1 }, { 1.75, .75, .5, 1.5, .5 } },
    { "cummax backwards", running_max_back, 4, { 2, 2, 1, 2 }, { .25, .75, 0, 3 } },
    { "cumprod", running_product, 3, { 2, 0, 3 }, { 1, 8, 0 } },
    { "prod, one zero", product, 3, { 2, 0, 3 }, { 0, 6, 0 } },
    { "prod, two zeros", product, 3, { 0, 0, 3 }, { 0, 0, 0 } },
    { "max", largest, 4, { 2, 2, 1, 2 }, { 1. / 3, 1. / 3, 0, 1. / 3 } },
    { "max of zeros", largest, 2, { 0, -0.0 }, { .5, .5 } },
    { "min", smallest, 3, { 1, 2, 1 }, { .5, 0, .5 } },
    { "sort", sorted, 4, { 2, 1, 2, 1 }, { 2, 0, 3, 1 } },
    { "var of one", variance, 1, { 5 }, { 0 } },
    { "where, nan not taken", untaken, 2, { 4, 9 }, { 1, 1 } },
    { "logsumexp, -inf", log_sum, 3, { 0, -INFINITY, 0 }, { .5, 0, .5 } },
    { "logaddexp(x, -inf)", add_logs, 2, { -INFINITY, 0 }, { .5, 1 } },
    { "softmax, -inf", chances, 3, { 0, -INFINITY, 0 }, { -.5, 0, .5 } },
};
enum { EDGES = sizeof edges / sizeof *edges };

static hd total(hd x, const void *env) { return hd_sum((*(hd (*const *)(hd))env)(x)); }

/* pole: some slope is infinite; then a direction that leaves that element alone would give 0 times infinity,
 * so each element moves, and what they give is not summed: such functions go by element. */
typedef struct Run { hd (*f)(hd x); enum hd_dtype dt; int pole; } Run;

/* The gradient, and every directional derivative, side by side in f32. */
static hd both_ways(hd at, const void *env)
{
    const Run *r = env;
    hd x = hd_cast(at, r->dt), eye = hd_eye(r->dt, hd_dim(at, 0)),
       way[] = { x, r->pole ? hd_ones_like(x) : eye };
    hd_fn *f = hd_bind(total, r->f),
          *lanes = hd_vmap_n(hd_jvp_n(f), &(hd_vmap_opts){ .in_axes = { HD_NONE, 0 } });
    hd forward = hd_nth(hd_apply_n(r->pole ? hd_jvp(r->f) : lanes, way, 2), 1);
    return hd_cast(hd_stack(0, hd_apply_n(hd_grad_n(f, &(hd_grad_opts){ 0 }), &x, 1), forward), HD_F32);
}

static bool there(const char *device)
{
    hd_device_info info;
    for (int k = 0; k < hd_device_count(); k++)
        if (!hd_device(k, &info) && !strcmp(info.name, device))
            return true;
    return false;
}

static bool close_to(double x, double y, enum hd_dtype dt)
{
    return isfinite(y) ? fabs(x - y) <= (dt == HD_F32 || dt == HD_F64 ? 1e-5 : .02) * (1 + fabs(y)) : x == y;
}

static void check_edge(const Edge *e, const char *device, enum hd_dtype dt)
{
    float at[MOST];
    hd_array *x, *z = NULL;
    Run r;
    memset(&r, 0, sizeof r);
    r.f = e->f, r.dt = dt;
    for (int k = 0; k < e->n; k++) {
        at[k] = (float)e->at[k];
        r.pole |= isinf(e->slope[k]) != 0;
    }
    x = hd_array_of(at, e->n);
    hd_fn *f = hd_jit_n(hd_bind(both_ways, r), &(hd_jit_opts){ .device = device });
    ck_assert_msg(!hd_call_n(f, &z, 1, &x, 1), "%s: %s", e->name, hd_error());
    for (int k = 0; k < 2 * e->n; k++) {
        double got = (double)((const float *)hd_data(z))[k], want = e->slope[k % e->n];
        ck_assert_msg(close_to(got, want, dt), "%s of %s on %s at %g, %s: %g, not %g", e->name,
            hd_dtype_name(dt), device, e->at[k % e->n], k < e->n ? "backwards" : "forwards", got, want);
    }
    hd_drop(x), hd_drop(z);
}

START_TEST(derivatives)
{
    for (int d = 0; d < 3; d++)
        for (int t = 0; t < (d ? 1 : 4); t++)   /* the derivative is made before there is a device */
            if (there(devices[d]))
                check_edge(&edges[_i], devices[d], dtypes[t]);
}
END_TEST

/* ---- second derivatives stay finite beside an edge's own branch */

static hd second(hd x) { return hd_apply(hd_grad(hypot4), x); }
static hd hypot0_slope(hd x) { return hd_apply(hd_grad(hypot0), x); }
static hd inverse_slope(hd x) { return hd_apply(hd_grad(square_inverse), x); }

START_TEST(second_derivatives)
{
    hd_array *zero = hd_array_scalar(HD_F32, 0), *z = NULL;
    static const double want[] = { .25, 0, INFINITY };
    hd_fn *f[] = { hd_jit(hd_grad(second), .device = "host"),
        hd_jit(hd_grad(hypot0_slope), .device = "host"), hd_jit(hd_grad(inverse_slope), .device = "host") };
    for (int k = 0; k < 3; k++) {
        ck_assert_msg(!hd_call(f[k], &z, zero), "%s", hd_error());
        ck_assert_double_eq(hd_item(z), want[k]);
        hd_drop(z);
    }
    hd_drop(zero);
}
END_TEST

/* ---- values */

static hd median(hd x) { return hd_median(x, 0); }
static hd quarter(hd x) { return hd_quantile(x, hd_c(.25), 0); }
static hd middle(hd x) { return hd_interp(hd_c(.5), hd_cast(hd_iota(HD_I32, 0, 2), HD_F32), x); }
static hd top_two(hd x) { return hd_mul(hd_nth(hd_top_k(x, 2, 0), 0), hd_c(1)); }
static hd top_places(hd x) { return hd_cast(hd_nth(hd_top_k(x, 3, 0), 1), HD_F32); }
static hd argmax(hd x) { return hd_cast(hd_argmax(x, 0), HD_F32); }
static hd argsort(hd x) { return hd_cast(hd_argsort(x, 0), HD_F32); }

typedef struct Value { const char *name; hd (*f)(hd x); int n, m; double x[MOST], z[MOST]; } Value;
static const Value values[] = {
    { "median of infinities", median, 3, 1, { INFINITY, INFINITY, INFINITY }, { INFINITY } },
    { "median of infinities, even", median, 4, 1, { -INFINITY, INFINITY, INFINITY, INFINITY },
        { INFINITY } },
    { "median beside infinity", median, 3, 1, { 1, 2, INFINITY }, { 2 } },
    { "median with infinity", median, 2, 1, { 1, INFINITY }, { INFINITY } },
    { "median with nan", median, 3, 1, { 1, NAN, 2 }, { NAN } },
    { "quantile of infinities", quarter, 3, 1, { -INFINITY, -INFINITY, -INFINITY }, { -INFINITY } },
    { "interp between infinities", middle, 2, 1, { INFINITY, INFINITY }, { INFINITY } },
    { "top_k of zeros", top_two, 3, 2, { -0.0, 0, -1 }, { 0, -0.0 } },
    { "top_k with nan", top_two, 3, 2, { 1, NAN, INFINITY }, { NAN, INFINITY } },
    { "places of zeros", top_places, 4, 3, { -0.0, -2, 0, -0.0 }, { 2, 0, 3 } },
    { "argmax of zeros", argmax, 3, 1, { -1, -0.0, 0 }, { 1 } },
    { "argsort of zeros", argsort, 3, 3, { 0, -0.0, -1 }, { 2, 0, 1 } },
};
enum { VALUES = sizeof values / sizeof *values };

START_TEST(at_infinity_and_zero)
{
    const Value *v = &values[_i];
    for (int d = 0; d < 3; d++) {
        float x[MOST];
        hd_array *a, *z = NULL;
        if (!there(devices[d]))
            continue;
        for (int k = 0; k < v->n; k++)
            x[k] = (float)v->x[k];
        a = hd_array_of(x, v->n);
        ck_assert_msg(
            !hd_call_n(hd_jit(v->f, .device = devices[d]), &z, 1, &a, 1), "%s: %s", v->name, hd_error());
        for (int k = 0; k < v->m; k++) {
            double got = (double)((const float *)hd_data(z))[k], want = v->z[k];
            bool same =
                isnan(want) ? isnan(got) : got == want && (signbit(got) != 0) == (signbit(want) != 0);
            ck_assert_msg(same, "%s on %s: [%d] is %g, not %g", v->name, devices[d], k, got, want);
        }
        hd_drop(a), hd_drop(z);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("edges");
    TCase *t = tcase_create("edges");
    tcase_add_loop_test(t, derivatives, 0, EDGES);
    tcase_add_test(t, second_derivatives);
    tcase_add_loop_test(t, at_infinity_and_zero, 0, VALUES);
    tcase_set_timeout(t, 300);
    suite_add_tcase(s, t);
    return suite_run(s);
}
