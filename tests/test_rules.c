/*
 * test_rules.c - functions with rules of the user's own, under every transform and each other, held against twins: the same
 * values and the same derivatives, written with hd_stop_gradient.
 *
 * The functions square; their rules say that the derivative is 10 x, so that one sees the rule used, and take the value from
 * the function itself, so that higher derivatives use it again.
 */
#include <math.h>
#include <stdlib.h>

#include "suite.h"

static hd_array *vector(int n, float from, float step)
{
    float v[64];
    for (int i = 0; i < n; i++)
        v[i] = from + step * (float)i;
    return hd_array_new(HD_F32, HD_INTS(n), v, NULL);
}

static void alike(hd_fn *f, hd_fn *g, hd_array *const *args, int n, const char *device, const char *what)
{
    hd_array *a = NULL, *b = NULL;
    hd_jit_opts o = { .device = device };
    ck_assert_msg(hd_call_n(hd_jit_n(g, &o), &b, 1, args, n) == 0, "%s, twin on %s: %s", what, device, hd_error());
    ck_assert_msg(hd_call_n(hd_jit_n(f, &o), &a, 1, args, n) == 0, "%s on %s: %s", what, device, hd_error());
    const float *p = hd_data(a), *q = hd_data(b);
    ck_assert_msg(hd_array_size(a) == hd_array_size(b), "%s: sizes", what);
    for (int64_t i = 0; i < hd_array_size(a); i++)
        ck_assert_msg(fabsf(p[i] - q[i]) <= 1e-4f * (1 + fabsf(q[i])), "%s on %s: element %lld is %g, not %g", what, device,
                      (long long)i, (double)p[i], (double)q[i]);
    hd_drop(a), hd_drop(b);
}

/* ==================== the functions */

static hd square(hd x) { return hd_mul(x, x); }
static hd twin(hd x)
{
    hd s = square(x);
    return hd_add(hd_mul(hd_c(5), s), hd_stop_gradient(hd_mul(hd_c(-4), s)));
}

static hd square_jvp(hd x, hd dx);
static hd_fn *by_jvp(void) { return hd_custom_jvp(square, square_jvp); }
static hd square_jvp(hd x, hd dx) { return hd_tuple(hd_apply(by_jvp(), x), hd_mul(hd_mul(hd_c(10), x), dx)); }

static hd square_fwd(hd x);
static hd square_bwd(hd x, hd dy) { return hd_mul(hd_mul(hd_c(10), x), dy); }
static hd_fn *by_vjp(void) { return hd_custom_vjp(square, square_fwd, square_bwd); }
static hd square_fwd(hd x) { return hd_tuple(hd_apply(by_vjp(), x), x); }

/* ==================== programs around them, f32[4] -> f32[] */

typedef struct Around { hd_fn *f; int program; } Around;

static hd step(hd c, hd x, const void *env)
{
    c = hd_sin(hd_apply(((const Around *)env)->f, hd_add(c, x)));
    return hd_tuple(c, hd_mul(c, x));
}
static hd turn(hd i, hd c, const void *env) { return hd_add(c, hd_sin(hd_mul(hd_apply(((const Around *)env)->f, c), hd_cast(i, HD_F32)))); }
static hd yes(hd x, const void *env) { return hd_apply(((const Around *)env)->f, x); }
static hd no(hd x) { return hd_mul(x, hd_c(3)); }
static hd either(hd x, const void *env)
{
    Around a = *(const Around *)env;
    return hd_cond(hd_gt(x, hd_c(0.5)), hd_bind(yes, a), no, x);
}
static hd scanned(hd x, const void *env)
{
    Around a = *(const Around *)env;
    hd y = hd_scan(hd_bind(step, a), x, hd_stack(0, x, hd_sin(x), hd_cos(x)));
    return hd_add(hd_nth(y, 0), hd_sum(hd_nth(y, 1)));
}
static hd looped(hd x, const void *env)
{
    Around a = *(const Around *)env;
    return hd_fori(hd_c(0), hd_cast(hd_add(hd_abs(hd_mul(x, hd_c(3))), hd_c(1)), HD_I32), hd_bind(turn, a), x, .max_trips = 6);
}
static hd met(hd x, const void *env)
{
    hd_fn *f = ((const Around *)env)->f;
    return hd_add(hd_apply(f, hd_psum(x, "i")), hd_psum(hd_apply(f, hd_mul(x, hd_cast(hd_axis_index("i"), HD_F32))), "i"));
}
static hd pair_of(hd x, hd y, const void *env)
{
    return hd_mul(hd_apply(((const Around *)env)->f, x), hd_sin(hd_apply(((const Around *)env)->f, hd_mul(x, y))));
}

enum { PROGRAMS = 12 };
static const char *const program_name[PROGRAMS] = { "plain", "twice", "vmap", "scan", "vmap of cond", "vmap of scan", "vmap of a bounded loop",
    "checkpoint", "named vmap", "jit", "two lanes", "scan of vmap" };

static hd row(hd x, const void *env)
{
    Around a = *(const Around *)env;
    return hd_sum(hd_apply(hd_vmap(hd_bind(yes, a)), x));
}
static hd around(hd x, const void *env)
{
    Around a = *(const Around *)env;
    switch (a.program) {
    case 0: return hd_sum(hd_sin(hd_apply(a.f, x)));
    case 1: return hd_sum(hd_sin(hd_apply(a.f, hd_apply(a.f, x))));
    case 2: return hd_sum(hd_sin(hd_apply(hd_vmap(a.f), x)));
    case 3: return scanned(hd_sum(x), &a);
    case 4: return hd_sum(hd_sin(hd_apply(hd_vmap(hd_bind(either, a)), x)));
    case 5: return hd_sum(hd_sin(hd_apply(hd_vmap(hd_bind(scanned, a)), x)));
    case 6: return hd_sum(hd_sin(hd_apply(hd_vmap(hd_bind(looped, a)), x)));
    case 7: return hd_sum(hd_apply(hd_checkpoint(a.f), hd_sin(hd_apply(hd_checkpoint(a.f), x))));
    case 8: return hd_sum(hd_sin(hd_apply(hd_vmap(hd_bind(met, a), .axis_name = "i"), hd_mul(x, hd_c(.2)))));
    case 9: return hd_sum(hd_sin(hd_apply(hd_jit(a.f), x)));
    case 10: {
        hd_fn *inner = hd_vmap(hd_bind(pair_of, a), .in_axes = { HD_NONE, 0 });
        return hd_sum(hd_apply(hd_vmap(inner, .in_axes = { 0, HD_NONE }), x, x));
    }
    default: return hd_sum(hd_map(hd_bind(row, a), hd_stack(0, x, hd_sin(x))));
    }
}

/* Every transform of a program. rules: for reverse mode alone? */
static void all_transforms(hd_fn *f, bool reverse, const char *what, int from, int to)
{
    hd_array *x = vector(4, -.7f, .55f), *dx = vector(4, 1, -.3f), *rows = NULL, *const one[] = { x }, *const two[] = { x, dx };
    float many[12];
    for (int i = 0; i < 12; i++)
        many[i] = .9f * sinf((float)i);
    rows = hd_array_new(HD_F32, HD_INTS(3, 4), many, NULL);
    hd_array *const lanes[] = { rows };
    for (int p = from; p < to; p++) {
        char name[100];
        snprintf(name, sizeof name, "%s, %s", what, program_name[p]);
        hd_fn *a = hd_bind(around, ((Around){ f, p })), *b = hd_bind(around, ((Around){ HD_FN(twin), p }));
        alike(a, b, one, 1, "host", name);
        for (int d = 0; d < DEVICES; d++)
            if (there(devices[d]) && (d == 0 || p % 3 == 0))
                alike(hd_grad(a), hd_grad(b), one, 1, devices[d], name);
        alike(hd_vmap(hd_grad(a)), hd_vmap(hd_grad(b)), lanes, 1, "host", name);
        alike(hd_jacrev(hd_grad(a)), hd_jacrev(hd_grad(b)), one, 1, "host", name);
        alike(hd_grad(hd_checkpoint(a)), hd_grad(hd_checkpoint(b)), one, 1, "host", name);
        if (reverse)
            continue;
        alike(hd_hessian(a), hd_hessian(b), one, 1, "host", name);
        alike(hd_jacfwd(a), hd_jacfwd(b), one, 1, "host", name);
        alike(hd_jacfwd(hd_jacfwd(a)), hd_jacfwd(hd_jacfwd(b)), one, 1, "host", name);
        alike(hd_vmap(hd_jacfwd(a)), hd_vmap(hd_jacfwd(b)), lanes, 1, "host", name);
        (void)two;
    }
    hd_drop(x), hd_drop(dx), hd_drop(rows);
}

START_TEST(jvp_everywhere) { all_transforms(by_jvp(), false, "custom_jvp", 0, PROGRAMS); }
END_TEST
START_TEST(vjp_everywhere) { all_transforms(by_vjp(), true, "custom_vjp", 0, PROGRAMS); }
END_TEST

int main(void)
{
    Suite *s = suite_create("rules");
    TCase *c = suite_case(s);
    tcase_add_test(c, jvp_everywhere);
    tcase_add_test(c, vjp_everywhere);
    return suite_run(s);
}
