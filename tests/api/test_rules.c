/*
 * test_rules.c - functions with rules of the user's own, under every transform and each other, held against
 * twins: the same values and the same derivatives, written with hd_stop_gradient.
 *
 * The functions square; their rules say that the derivative is 10 x, so that one sees the rule used, and
 * take the value from the function itself, so that higher derivatives use it again.
 */
#include <stdlib.h>

#include "rules.h"

/* ==================== the functions */

static hd twin(hd x)
{
    hd s = square(x);
    return hd_add(hd_mul(hd_c(5), s), hd_stop_gradient(hd_mul(hd_c(-4), s)));
}

static hd square_jvp(hd x, hd dx);
static hd_fn *by_jvp(void) { return hd_custom_jvp(square, square_jvp); }
static hd square_jvp(hd x, hd dx)
{
    return hd_tuple(hd_apply(by_jvp(), x), hd_mul(hd_mul(hd_c(10), x), dx));
}

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
static hd turn(hd i, hd c, const void *env)
{
    return hd_add(c, hd_sin(hd_mul(hd_apply(((const Around *)env)->f, c), hd_cast(i, HD_F32))));
}
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
    return hd_fori(hd_c(0), hd_cast(hd_add(hd_abs(hd_mul(x, hd_c(3))), hd_c(1)), HD_I32), hd_bind(turn, a),
        x, .max_trips = 6);
}
static hd met(hd x, const void *env)
{
    hd_fn *f = ((const Around *)env)->f;
    return hd_add(hd_apply(f, hd_psum(x, "i")),
        hd_psum(hd_apply(f, hd_mul(x, hd_cast(hd_axis_index("i"), HD_F32))), "i"));
}
static hd pair_of(hd x, hd y, const void *env)
{
    return hd_mul(
        hd_apply(((const Around *)env)->f, x), hd_sin(hd_apply(((const Around *)env)->f, hd_mul(x, y))));
}

enum { PROGRAMS = 12 };
static const char *const program_name[PROGRAMS] = { "plain", "twice", "vmap", "scan", "vmap of cond",
    "vmap of scan", "vmap of a bounded loop", "checkpoint", "named vmap", "jit", "two lanes",
    "scan of vmap" };

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

/* Every transform of every program around f and around g, which is its twin. reverse: f has a derivative in
 * reverse alone. */
static void all_transforms(hd_fn *f, hd_fn *g, bool reverse, const char *what)
{
    float many[12];
    for (int i = 0; i < 12; i++)
        many[i] = .9f * sinf((float)i);
    hd_array *x = vector(4, -.7f, .55f), *rows = hd_array_new(HD_F32, HD_INTS(3, 4), many, NULL);
    hd_array *const one[] = { x }, *const lanes[] = { rows };
    for (int p = 0; p < PROGRAMS; p++) {
        char name[100];
        snprintf(name, sizeof name, "%s, %s", what, program_name[p]);
        hd_fn *a = hd_bind(around, ((Around){ f, p })), *b = hd_bind(around, ((Around){ g, p }));
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
    }
    hd_drop(x), hd_drop(rows);
}

static hd times_vmap(hd x) { return hd_apply(hd_vmap(square), x); }

START_TEST(jvp_everywhere) { all_transforms(by_jvp(), HD_FN(twin), false, "custom_jvp"); }
END_TEST
START_TEST(vjp_everywhere) { all_transforms(by_vjp(), HD_FN(twin), true, "custom_vjp"); }
END_TEST
START_TEST(vmap_everywhere)
{
    all_transforms(hd_custom_vmap(square, times_vmap), HD_FN(square), false, "custom_vmap");
}
END_TEST

/* One in the other. */
static hd both_fwd(hd x) { return hd_tuple(hd_apply(by_jvp(), x), x); }
static hd both_jvp(hd x, hd dx)
{
    return hd_tuple(hd_apply(hd_custom_vmap(square, times_vmap), x), hd_mul(hd_mul(hd_c(10), x), dx));
}
static hd back_vmap(hd x) { return hd_apply(hd_vmap(by_jvp()), x); }
START_TEST(each_other)
{
    hd_fn *lanes = hd_custom_vmap(square, times_vmap);
    all_transforms(
        hd_custom_vjp(by_jvp(), both_fwd, square_bwd), HD_FN(twin), true, "custom_vjp of custom_jvp");
    all_transforms(hd_custom_vmap(by_jvp(), back_vmap), HD_FN(twin), false, "custom_vmap of custom_jvp");
    all_transforms(hd_checkpoint(by_jvp()), HD_FN(twin), false, "checkpoint of custom_jvp");
    all_transforms(hd_custom_jvp(hd_jit(hd_checkpoint(square)), square_jvp), HD_FN(twin), false,
        "custom_jvp of checkpoint");
    hd_array *x = vector(4, .5f, .25f), *const one[] = { x };
    hd_fn *f = hd_custom_jvp(lanes, both_jvp);
    alike(hd_vmap(f), hd_vmap(twin), one, 1, "host", "lanes of custom_jvp of custom_vmap");
    alike(hd_vmap(hd_grad(f)), hd_vmap(hd_grad(twin)), one, 1, "host",
        "derivative of custom_jvp of custom_vmap");
    hd_drop(x);
}
END_TEST

/* ==================== one number */

static int asked;
static hd counting_jvp(hd x, hd dx) { asked++; return hd_tuple(square(x), hd_mul(hd_mul(hd_c(10), x), dx)); }
static hd counted(hd x) { return hd_apply(hd_custom_jvp(square, counting_jvp), x); }

START_TEST(lazy)
{
    is(HD_FN(counted), 3, 9);
    ck_assert_int_eq(asked, 0);
    is(hd_grad(counted), 3, 30);
    ck_assert_int_eq(asked, 1);
    is(hd_jacfwd(counted), 3, 30);
    ck_assert_int_eq(asked, 1);
}
END_TEST

/* Forward over reverse differentiates fwd and bwd. fwd's value is squared by hand: it has derivative 2 x. */
static hd by_hand_fwd(hd x) { return hd_tuple(square(x), x); }
static hd by_hand(hd x) { return hd_sin(hd_apply(hd_custom_vjp(square, by_hand_fwd, square_bwd), x)); }
START_TEST(forward_over_reverse)
{
    float x = .6f, want = -sinf(x * x) * 2 * x * 10 * x + cosf(x * x) * 10;
    is(hd_grad(by_hand), x, cosf(x * x) * 10 * x);
    is(hd_hessian(by_hand), x, want);
    is(hd_grad(hd_grad(by_hand)), x, want);
    REFUSED(
        hd_jacfwd(by_hand), x, "forward mode through square", "hd_custom_vjp", "hd_grad", "test_rules.c");
}
END_TEST

/* ==================== rules for lanes: wrong on purpose, to see them used */

static hd thrice(hd x) { return hd_mul(hd_c(3), x); }
static hd_fn *by_lanes(void) { return hd_custom_vmap(square, thrice); }
static hd lanes_step(hd c, hd x) { return hd_tuple(hd_add(c, hd_apply(by_lanes(), x)), HD_NIL); }
static hd lanes_scan(hd x) { return hd_nth(hd_scan(lanes_step, x, hd_stack(0, x, hd_add(x, hd_c(1)))), 0); }
static hd lanes_yes(hd x) { return hd_apply(by_lanes(), x); }
static hd lanes_cond(hd x) { return hd_cond(hd_gt(x, hd_c(1)), lanes_yes, no, x); }
static hd weighted(hd w, hd x) { return hd_mul(w, x); }
static hd weighted_lanes(hd w, hd x) { return hd_add(w, x); }
static hd lanes_jvp(hd x, hd dx) { return hd_tuple(hd_apply(by_lanes(), x), hd_mul(hd_c(7), dx)); }

static void lanes_are(hd_fn *f, const float *want)
{
    hd_array *x = vector(3, .5f, 1), *y = NULL, *const args[] = { x };
    for (int d = 0; d < DEVICES; d++) {
        if (!there(devices[d]))
            continue;
        hd_jit_opts o = { .device = devices[d] };
        ck_assert_msg(hd_call_n(hd_jit_n(f, &o), &y, 1, args, 1) == 0, "%s", hd_error());
        for (int i = 0; i < 3; i++)
            ck_assert_msg(fabsf(((const float *)hd_data(y))[i] - want[i]) < 1e-4f,
                "%s: lane %d is %g, not %g", devices[d], i, (double)((const float *)hd_data(y))[i],
                (double)want[i]);
        hd_drop(y), y = NULL;
    }
    hd_drop(x);
}
#define LANES(f, ...) lanes_are(f, (const float[]){ __VA_ARGS__ })

static hd sum_of_lanes(hd x) { return hd_sum(hd_apply(hd_vmap(by_lanes()), x)); }
static hd lanes_of_one(hd x)
{
    return hd_apply(hd_vmap(by_lanes(), .in_axes = { HD_NONE }, .axis_size = 3), x);
}
static hd lanes_of_lanes(hd x)
{
    return hd_sum(hd_apply(hd_vmap(hd_vmap(by_lanes())), hd_expand_dims(x, 0)), 0);
}
static hd shared_weight(hd x)
{
    return hd_apply(
        hd_vmap(hd_custom_vmap(weighted, weighted_lanes), .in_axes = { HD_NONE, 0 }), hd_full(hd_c(2)), x);
}

START_TEST(lanes)
{
    LANES(by_lanes(), .25f, 2.25f, 6.25f);
    LANES(hd_vmap(by_lanes()), 1.5f, 4.5f, 7.5f);
    LANES(HD_FN(lanes_of_lanes), 1.5f, 4.5f, 7.5f);
    LANES(HD_FN(shared_weight), 2.5f, 3.5f, 4.5f);
    LANES(hd_vmap(lanes_scan), .5f + 6, 1.5f + 12, 2.5f + 18);
    LANES(hd_vmap(lanes_cond), 1.5f, 4.5f, 7.5f);
    LANES(hd_grad(sum_of_lanes), 3, 3, 3);
    LANES(hd_vmap(hd_grad(by_lanes())), 1, 3, 5);
    LANES(hd_vmap(hd_custom_jvp(by_lanes(), lanes_jvp)), 1.5f, 4.5f, 7.5f);
    LANES(hd_vmap(hd_grad(hd_custom_jvp(by_lanes(), lanes_jvp))), 7, 7, 7);
    hd_array *x = vector(1, 2, 0), *y = NULL, *const args[] = { x };
    ck_assert_msg(hd_call_n(hd_vmap(lanes_of_one), &y, 1, args, 1) == 0, "%s", hd_error());
    /* of the outer lanes; the inner ones are all the same */
    ck_assert(((const float *)hd_data(y))[0] == 6);
    hd_drop(x), hd_drop(y);
}
END_TEST

/* Data met while tracing. */
static hd_array *ten;
static hd with_data(hd x) { return hd_mul(hd_const(ten), square(x)); }
static hd data_jvp(hd x, hd dx)
{
    hd y = hd_apply(hd_custom_jvp(with_data, data_jvp), x);
    return hd_tuple(y, hd_mul(hd_mul(hd_const(ten), x), dx));
}
static hd data_fwd(hd x) { return hd_tuple(with_data(x), hd_const(ten)); }
static hd data_bwd(hd saved, hd dy) { return hd_mul(hd_mul(saved, hd_const(ten)), dy); }
static hd data_of(hd x) { return hd_apply(hd_custom_jvp(with_data, data_jvp), x); }
static hd data_back(hd x) { return hd_apply(hd_custom_vjp(with_data, data_fwd, data_bwd), x); }

START_TEST(data)
{
    float v = 10;
    ten = hd_array_new(HD_F32, HD_INTS(), &v, NULL);
    is(HD_FN(data_of), 3, 90);
    is(hd_grad(data_of), 3, 30);
    is(hd_grad(hd_grad(data_of)), 3, 10);
    is(hd_grad(data_back), 3, 100);
    hd_drop(ten);
    is(hd_grad(data_back), 4, 100);             /* what is kept of a function keeps its data */
    hd_forget(data_of), hd_forget(data_back), hd_forget(with_data), hd_forget(data_jvp), hd_forget(data_fwd),
        hd_forget(data_bwd);
}
END_TEST

/* ==================== forgetting */

static hd forgotten_jvp(hd x, hd dx) { return hd_tuple(square(x), hd_mul(hd_c((double)asked), dx)); }
static hd remembered(hd x) { return hd_apply(hd_custom_jvp(square, forgotten_jvp), x); }

START_TEST(forget)
{
    hd_fn *f = HD_FN(remembered);
    asked = 4;
    is(f, 3, 9);                                /* its graph is kept, and the rule not yet traced */
    hd_fn *made = hd_custom_jvp(square, forgotten_jvp);
    hd_forget(forgotten_jvp);
    ck_assert(hd_grad(made) == NULL && strstr(hd_error(), "was forgotten"));
    is(hd_grad(f), 3, 4);                       /* traced anew */
    asked = 5;
    hd_forget(forgotten_jvp);
    hd_forget(hd_grad(f));
    is(hd_grad(f), 3, 5);
    for (int i = 0; i < 3000; i++)              /* more than are remembered as ended */
        hd_forget(hd_bind(step, i));
    hd_forget(square);
    is(f, 3, 9);
    is(hd_grad(f), 3, 5);
    hd_forget(f);
    is(hd_grad(remembered), 3, 5);
}
END_TEST

/* ==================== trees, integers, nothing */

static hd tree_of(hd p, hd n)
{
    return hd_dict({ "v", hd_mul(hd_get(p, "w"), hd_cast(n, HD_F32)) }, { "n", hd_add(n, n) });
}
static hd tree_jvp(hd p, hd n, hd dp, hd dn)
{
    return hd_tuple(tree_of(p, n),
        hd_dict({ "v", hd_add(hd_mul(hd_c(7), hd_get(dp, "w")), hd_cast(dn, HD_F32)) }, { "n", HD_NIL }));
}
static hd tree_fwd(hd p, hd n) { return hd_tuple(tree_of(p, n), hd_tuple(n, hd_c(3))); }
static hd tree_bwd(hd saved, hd dy)
{
    hd k = hd_mul(hd_cast(hd_nth(saved, 0), HD_F32), hd_nth(saved, 1));
    return hd_tuple(hd_dict({ "w", hd_mul(k, hd_get(dy, "v")) }, { "u", HD_NIL }), HD_NIL);
}
static hd tree_loss(hd x, const void *f)
{
    hd y =
        hd_apply(*(hd_fn *const *)f, hd_dict({ "w", x }, { "u", hd_mul(x, x) }), hd_cast(hd_c(2), HD_I32));
    return hd_add(hd_get(y, "v"), hd_cast(hd_get(y, "n"), HD_F32));
}
static hd nothing_jvp(hd x, hd dx) { return (void)dx, hd_tuple(square(x), HD_NIL); }
static hd half(hd x) { return hd_mul(x, hd_cast(x, HD_F16)); }

START_TEST(trees)
{
    hd_fn *f = hd_custom_jvp(tree_of, tree_jvp), *g = hd_custom_vjp(tree_of, tree_fwd, tree_bwd);
    is(hd_bind(tree_loss, f), 3, 10);
    is(hd_grad(hd_bind(tree_loss, f)), 3, 7);
    is(hd_jacfwd(hd_bind(tree_loss, f)), 3, 7);
    is(hd_grad(hd_bind(tree_loss, g)), 3, 6);
    is(hd_grad(hd_custom_jvp(square, nothing_jvp)), 3, 0);
    (void)half;
}
END_TEST

/* ==================== text: what is read back runs, and says what is lost where that is needed */

START_TEST(text)
{
    char *t = NULL, *again = NULL;
    size_t n = 0;
    hd_array *x = vector(1, 3, 0), *y = NULL;
    FILE *f = open_memstream(&t, &n);
    ck_assert_msg(hd_print_graph(f, hd_vmap(counted), x) == 0, "%s", hd_error());
    fclose(f);
    ck_assert_msg(strstr(t, "rule jvp closed=0 \"square\""), "%s", t);
    hd_fn *g = hd_parse(t, "text");
    ck_assert_msg(g != NULL, "%s", hd_error());
    f = open_memstream(&again, &n);
    ck_assert_msg(hd_print_graph(f, g, x) == 0, "%s", hd_error());
    fclose(f);
    ck_assert_msg(!strcmp(t, again), "%s%s", t, again);
    ck_assert(hd_call(g, &y, x) == 0 && ((const float *)hd_data(y))[0] == 9);
    hd_drop(y), y = NULL;
    ck_assert(hd_call(hd_jacfwd(g), &y, x) != 0);
    ck_assert_msg(strstr(hd_error(), "square had a derivative of its own, which is code"), "%s", hd_error());
    hd_drop(x);
    free(t), free(again);
}
END_TEST

/* ==================== named axes that the rule alone uses */

static hd met_jvp(hd x, hd dx)
{
    hd k = hd_cast(hd_add(hd_axis_index("i"), hd_c(1)), HD_F32);
    return hd_tuple(square(x), hd_mul(k, hd_psum(hd_mul(x, dx), "i")));
}
static hd met_lanes(hd x) { return hd_apply(hd_vmap(hd_custom_jvp(square, met_jvp), .axis_name = "i"), x); }
static hd met_step(hd c, hd x)
{
    return hd_tuple(hd_add(c, hd_apply(hd_custom_jvp(square, met_jvp), x)), HD_NIL);
}
static hd met_scan(hd x) { return hd_nth(hd_scan(met_step, hd_full(hd_c(0)), hd_stack(0, x)), 0); }
static hd met_in_scan(hd x) { return hd_apply(hd_vmap(met_scan, .axis_name = "i"), x); }
static hd meets(hd x, const void *f)
{
    return hd_sum(hd_mul(hd_apply(*(hd_fn *const *)f, x), hd_lit(float, (3), 1, 2, 3)));
}

START_TEST(named_axes)
{
    hd_fn *const f[] = { HD_FN(met_lanes), HD_FN(met_in_scan) };
    for (int i = 0; i < 2; i++) {               /* row k: (k + 1) x */
        LANES(f[i], .25f, 2.25f, 6.25f);
        LANES(hd_grad(hd_bind(meets, f[i])), 14 * .5f, 14 * 1.5f, 14 * 2.5f);
    }
}
END_TEST

/* ==================== a rule that applies another to its tangents; what runs is as if there were no rule */

static hd linear_rule(hd x, hd dx) { return hd_tuple(hd_mul_c(x, 3), hd_mul_c(dx, 3)); }
static hd_fn *triple(void) { return hd_custom_jvp(thrice, linear_rule); }
static hd through_jvp(hd x, hd dx) { return hd_tuple(square(x), hd_mul(x, hd_apply(triple(), dx))); }
static hd through(hd x) { return hd_apply(hd_custom_jvp(square, through_jvp), x); }
static hd counted_all(hd x) { return hd_sum(hd_sin(hd_apply(hd_vmap(counted), x))); }
static hd plain_all(hd x) { return hd_sum(hd_sin(square(x))); }

static hd linear_back(hd x, const void *env)
{
    hd_fn *f = *(hd_fn *const *)env;
    hd y = hd_apply(hd_linearize(f), x);
    return hd_apply(hd_linear_transpose(hd_partial(hd_linearized(f), hd_nth(y, 1))), x, hd_c(1));
}

START_TEST(tangents_through_rules)
{
    hd_fn *const f[] = { by_jvp(), by_vjp(), HD_FN(by_hand) };
    for (int i = 0; i < 3; i++)                 /* what linearizing keeps can be transposed later */
        is(hd_bind(linear_back, f[i]), 2, number_of(hd_grad(f[i]), 2));
    is(hd_grad(through), 2, 6);
    is(hd_jacfwd(through), 2, 6);
    is(hd_grad(hd_grad(through)), 2, 3);
}
END_TEST

START_TEST(calls_are_inlined)
{
    hd_cost_info a, b;
    hd_array *x = vector(40, 0, .1f);
    if (there("opencl:0")) {
        ck_assert(!hd_cost(hd_jit(counted_all, .device = "opencl:0"), &a, x) &&
            !hd_cost(hd_jit(plain_all, .device = "opencl:0"), &b, x));
        ck_assert_int_eq(a.kernels, b.kernels);
        ck_assert_int_eq(a.temporary_bytes, b.temporary_bytes);
    }
    hd_drop(x);
}
END_TEST

/* A check inside a function, or inside its rule. */
static hd positive(hd x) { hd_check(hd_gt(x, hd_c(0)), "the function wants more than 0"); return square(x); }
static hd positive_jvp(hd x, hd dx)
{
    hd_check(hd_lt(x, hd_c(5)), "the rule wants less than 5");
    return hd_tuple(square(x), hd_mul(hd_mul_c(x, 10), dx));
}
static hd checked(hd x) { return hd_apply(hd_custom_jvp(positive, positive_jvp), x); }

START_TEST(effects)
{
    is(HD_FN(checked), 7, 49);
    is(hd_grad(checked), 4, 40);
    REFUSED(HD_FN(checked), -1, "the function wants more than 0");
    REFUSED(hd_grad(checked), 6, "the rule wants less than 5");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("rules");
    TCase *c = suite_case(s);
    tcase_add_test(c, jvp_everywhere);
    tcase_add_test(c, vjp_everywhere);
    tcase_add_test(c, vmap_everywhere);
    tcase_add_test(c, each_other);
    tcase_add_test(c, lazy);
    tcase_add_test(c, forward_over_reverse);
    tcase_add_test(c, lanes);
    tcase_add_test(c, data);
    tcase_add_test(c, forget);
    tcase_add_test(c, trees);
    tcase_add_test(c, text);
    tcase_add_test(c, named_axes);
    tcase_add_test(c, tangents_through_rules);
    tcase_add_test(c, calls_are_inlined);
    tcase_add_test(c, effects);
    return suite_run(s);
}
