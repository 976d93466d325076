/*
 * test_closures.c - functions with rules of the user's own that hold symbols, at once and after their traces
 * have ended; hd_root, whose rules hold functions.
 *
 * The functions square and are multiplied; their rules say that the derivative is 10 x, so that one sees the
 * rule used.
 */
#include <stdlib.h>

#include "rules.h"

static hd by_hand_fwd(hd x) { return hd_tuple(square(x), x); }
static hd thrice(hd x) { return hd_mul(hd_c(3), x); }

/* ==================== closures */

static hd scaled(hd y, hd x) { return hd_mul(y, square(x)); }
static hd scaled_jvp(hd y, hd x, hd dx)
{
    return hd_tuple(scaled(y, x), hd_mul(hd_mul(hd_mul(hd_c(10), y), x), dx));
}
static hd scaled_fwd(hd y, hd x) { return hd_tuple(scaled(y, x), x); }
static hd scaled_bwd(hd y, hd x, hd dy) { return hd_mul(hd_mul(hd_mul(hd_c(10), y), x), dy); }
static hd scaled_lanes(hd y, hd x) { return hd_mul(y, thrice(x)); }
struct closed { hd y; };
static hd bound(hd x, const void *env) { return scaled(((const struct closed *)env)->y, x); }
static hd bound_jvp(hd x, hd dx, const void *env)
{
    return scaled_jvp(((const struct closed *)env)->y, x, dx);
}
static hd bound_fwd(hd x, const void *env) { return scaled_fwd(((const struct closed *)env)->y, x); }
static hd bound_bwd(hd x, hd dy, const void *env)
{
    return scaled_bwd(((const struct closed *)env)->y, x, dy);
}
static hd only_bwd(hd x, hd dy, const void *env)
{
    return hd_mul(hd_mul(hd_mul(hd_c(10), ((const struct closed *)env)->y), x), dy);
}

enum { PARTIAL_JVP, BOUND_JVP, PARTIAL_VJP, BOUND_VJP, BWD_ALONE, HOWS };
static hd_fn *closing_over(hd y, int how)
{
    struct closed c = { y };
    switch (how) {
    case PARTIAL_JVP: return hd_custom_jvp(hd_partial(scaled, y), hd_partial(scaled_jvp, y));
    case BOUND_JVP: return hd_custom_jvp(hd_bind(bound, c), hd_bind(bound_jvp, c));
    case PARTIAL_VJP:
        return hd_custom_vjp(hd_partial(scaled, y), hd_partial(scaled_fwd, y), hd_partial(scaled_bwd, y));
    case BOUND_VJP: return hd_custom_vjp(hd_bind(bound, c), hd_bind(bound_fwd, c), hd_bind(bound_bwd, c));
    /* bwd alone closes over y */
    default: return hd_custom_vjp(square, by_hand_fwd, hd_bind(only_bwd, c));
    }
}

struct deep { int how; hd y; };
static hd deep_step(hd c, hd x, const void *env)
{
    const struct deep *d = env;
    return hd_tuple(hd_add(c, hd_apply(closing_over(d->y, d->how), x)), HD_NIL);
}
static hd deep_loss(hd x, const void *env)     /* y from two traces out, in a scan under a vmap */
{
    struct deep d = *(const struct deep *)env;
    return hd_nth(hd_scan(hd_bind(deep_step, d), hd_full(hd_c(0)), hd_stack(0, x, x, x)), 0);
}
static hd deep_of(hd y, hd x, const void *how)
{
    hd z = hd_mul(y, hd_c(2));
    hd_fn *g = hd_grad(hd_bind(deep_loss, ((struct deep){ *(const int *)how, z })));
    return hd_sum(hd_apply(hd_vmap(g), hd_stack(0, x, hd_mul(x, hd_c(2)))));
}
static hd shallow(hd y, hd x, const void *how) { return hd_apply(closing_over(y, *(const int *)how), x); }
static hd at_two(hd x, const void *f) { return hd_apply(*(hd_fn *const *)f, hd_full(hd_c(2)), x); }
static hd of_y(hd y, const void *f) { return hd_apply(*(hd_fn *const *)f, y, hd_full(hd_c(.5))); }

START_TEST(closures)
{
    for (int how = 0; how < HOWS; how++) {
        hd_fn *f = hd_bind(shallow, how), *deep = hd_bind(deep_of, how),
              *dx = hd_grad(f, .argnums = HD_INTS(1));
        bool alone = how == BWD_ALONE;
        is(hd_bind(at_two, f), 3, alone ? 9 : 18);
        is(hd_grad(hd_bind(at_two, f)), 3, 60);
        is(hd_bind(at_two, dx), 3, 60);
        is(hd_grad(hd_bind(of_y, dx)), 7, 5);   /* of 10 y x by y */
        is(hd_bind(at_two, deep), .5f, 4 * 10 * 3 * 1.5f);
        is(hd_grad(hd_bind(of_y, deep)), 2, 2 * 10 * 3 * 1.5f);
        is(hd_grad(hd_bind(at_two, deep)), .5f, 4 * 10 * 3 * 3);
        if (alone)                              /* the function makes nothing of y */
            is(hd_grad(hd_bind(of_y, f)), 7, 0);
        else
            REFUSED(hd_grad(hd_bind(of_y, f)), 7, "captures a value that is differentiated", "argument",
                "test_closures.c");
    }
}
END_TEST

static hd root_f(hd theta, hd x);
static hd root_solve(hd theta, hd x);

/* Closures whose rules apply them, to any order. */
static hd own_jvp(hd x, hd dx, const void *env);
static hd_fn *own_closure(hd y)
{
    return hd_custom_jvp(hd_bind(bound, ((struct closed){ y })), hd_bind(own_jvp, ((struct closed){ y })));
}
static hd own_jvp(hd x, hd dx, const void *env)
{
    hd y = ((const struct closed *)env)->y;
    return hd_tuple(hd_apply(own_closure(y), x), hd_mul(hd_mul(hd_mul(hd_c(10), y), x), dx));
}
static hd own_of(hd y, hd x) { return hd_sin(hd_apply(own_closure(y), x)); }

static hd part_jvp(hd y, hd x, hd dx)
{
    hd f = hd_apply(hd_custom_jvp(hd_partial(scaled, y), hd_partial(part_jvp, y)), x);
    return hd_tuple(f, hd_mul(hd_mul(hd_mul(hd_c(10), y), x), dx));
}
static hd part_of(hd y, hd x)
{
    return hd_sin(hd_apply(hd_custom_jvp(hd_partial(scaled, y), hd_partial(part_jvp, y)), x));
}

static hd back_fwd(hd x, const void *env);
static hd_fn *back_closure(hd y)
{
    struct closed c = { y };
    return hd_custom_vjp(hd_bind(bound, c), hd_bind(back_fwd, c), hd_bind(only_bwd, c));
}
static hd back_fwd(hd x, const void *env)
{
    return hd_tuple(hd_apply(back_closure(((const struct closed *)env)->y), x), x);
}
static hd back_of(hd y, hd x) { return hd_sin(hd_apply(back_closure(y), x)); }

/* sqrt(y x), of which y is captured */
static hd closed_f(hd y, hd theta, hd x) { return root_f(hd_mul(y, theta), x); }
static hd closed_solve(hd y, hd theta, hd x) { return root_solve(hd_mul(y, theta), x); }
static hd closed_root(hd y, hd x)
{
    return hd_apply(hd_root(hd_partial(closed_f, y), hd_partial(closed_solve, y)), x, hd_c(1));
}

/* Rules for lanes that are bound inside a trace, to a number, to symbols, to a tree and a constant. */
struct bag { double number; hd tree, weak; };
static hd bag_one(hd x, const void *env)
{
    const struct bag *b = env;
    hd y = hd_mul_c(hd_mul(hd_nth(b->tree, 0), hd_nth(hd_nth(b->tree, 1), 0)), b->number);
    return hd_mul(hd_add(y, b->weak), x);
}
static hd bag_lanes(hd x, const void *env)
{
    ck_assert(hd_shape(x).n == 1);
    return hd_mul_c(bag_one(x, env), 10);
}
static hd_fn *bag_of(hd y, double number)
{
    struct bag b = { number, hd_tuple(y, hd_tuple(hd_add_c(y, 1))), hd_c(3) };
    return hd_custom_vmap(hd_bind(bag_one, b), hd_bind(bag_lanes, b));
}
static hd bag_inner(hd y, hd x) { return hd_apply(bag_of(y, 2), x); }
static hd bag_outer(hd y, hd x)                                 /* by when lanes come, the trace is over */
{
    return hd_sum(hd_apply(hd_vmap(bag_inner, .in_axes = { HD_NONE, 0 }), y, hd_stack(0, x, x, x)));
}
static hd bag_deep_step(hd y, hd c, hd x) { return hd_tuple(hd_add(c, bag_inner(y, x)), HD_NIL); }
static hd bag_scan(hd y, hd x)
{
    return hd_nth(hd_scan(hd_partial(bag_deep_step, y), hd_zeros(HD_F32), hd_stack(0, x, x)), 0);
}
static hd bag_deep(hd y, hd x)
{
    return hd_sum(hd_apply(hd_vmap(bag_scan, .in_axes = { HD_NONE, 0 }), y, hd_stack(0, x, x, x)));
}
static hd lanes_closed(hd y, hd x)
{
    return hd_sum(hd_apply(
        hd_vmap(hd_custom_vmap(hd_partial(scaled, y), hd_partial(scaled_lanes, y))), hd_stack(0, x, x)));
}
static hd lanes_differ(hd y, hd x)
{
    return hd_apply(hd_custom_vmap(hd_partial(scaled, y), hd_partial(scaled_lanes, y)), x);
}
static hd vmap_differ(hd x)
{
    return hd_sum(hd_apply(hd_vmap(lanes_differ), hd_stack(0, x, x), hd_stack(0, x, x)));
}

START_TEST(closures_of_their_own)
{
    hd_fn *f = HD_FN(own_of), *g = HD_FN(lanes_closed);
    is(hd_grad(hd_bind(at_two, f)), .5f, cosf(.5f) * 10);
    static hd (*const own[])(hd, hd) = { own_of, part_of, back_of };
    for (int k = 0; k < 3; k++) {               /* of v with v' = 10 y x = 10 there */
        hd_fn *inner = HD_FN(own[k]), *h = hd_bind(at_two, inner), *twice = hd_grad(hd_grad(h));
        is(hd_grad(h), .5f, cosf(.5f) * 10);
        is(twice, .5f, -sinf(.5f) * 100 + cosf(.5f) * 20);
        is(hd_grad(twice), .5f, -cosf(.5f) * 1000 - sinf(.5f) * 600);
        if (k < 2)
            is(hd_hessian(h), .5f, -sinf(.5f) * 100 + cosf(.5f) * 20);
    }
    hd_fn *root_y = HD_FN(closed_root), *outer = HD_FN(bag_outer), *deep = HD_FN(bag_deep),
          *alone = HD_FN(bag_inner), *root = hd_bind(at_two, root_y);
    is(hd_grad(root), 8, .25f);
    is(hd_grad(hd_grad(root)), 8, -1.f / 64);
    is(hd_jacfwd(hd_grad(root)), 8, -1.f / 64);
    is(hd_jacfwd(hd_jacfwd(root)), 8, -1.f / 64);
    is(hd_bind(at_two, outer), .5f, 10 * 3 * (2 * 3 * 2 + 3) * .5f);
    is(hd_grad(hd_bind(at_two, outer)), .5f, 10 * 3 * (2 * 3 * 2 + 3));
    is(hd_bind(at_two, deep), .5f, 2 * 10 * 3 * (2 * 3 * 2 + 3) * .5f);
    is(hd_bind(at_two, alone), .5f, (2 * 3 * 2 + 3) * .5f);
    is(hd_bind(at_two, g), .5f, 2 * 3 * 2 * .5f);
    is(hd_grad(hd_bind(at_two, g)), .5f, 12);
    REFUSED(HD_FN(vmap_differ), .5f, "differs between the lanes", "argument");
}
END_TEST

/* ==================== roots */

static hd root_f(hd theta, hd x) { return hd_sub(hd_mul(x, x), theta); }
static hd root_far(hd theta, hd s) { return hd_gt(hd_abs(root_f(theta, s)), hd_mul(hd_c(1e-6), theta)); }
static hd root_step(hd theta, hd x) { return hd_mul(hd_c(.5), hd_add(x, hd_div(theta, x))); }
static hd root_solve(hd theta, hd x)
{
    return hd_while(hd_partial(root_far, theta), hd_partial(root_step, theta), x);
}
static hd root(hd theta) { return hd_apply(hd_root(root_f, root_solve), theta, hd_c(1)); }
static hd root_linear(hd theta, hd x, hd g) { return (void)theta, hd_div(g, hd_mul(hd_c(2), x)); }
static hd root_given(hd theta)
{
    return hd_apply(hd_root(root_f, root_solve, .linear = HD_FN(root_linear)), theta, hd_c(1));
}

/* Of one linearised function its value for one direction, and its transpose. */
static hd both_directions(hd theta, const void *f)
{
    hd_fn *root = *(hd_fn *const *)f, *linear = hd_linearized(root);
    hd saved = hd_nth(hd_apply(hd_linearize(root), theta), 1);
    hd back = hd_apply(hd_linear_transpose(hd_partial(linear, saved)), theta, hd_c(1));
    return hd_add(hd_apply(linear, saved, hd_c(2)), back);
}
static hd root_turn(hd theta, hd i, hd c, const void *f)
{
    return (void)i, hd_apply(*(hd_fn *const *)f, hd_add(theta, c));
}
static hd in_loop(hd theta, const void *f)                      /* sqrt(theta + sqrt(theta + 0)) */
{
    hd_fn *turn = hd_partial(hd_bind(root_turn, *(hd_fn *const *)f), theta);
    return hd_fori(hd_c(0), hd_c(2), turn, hd_zeros(HD_F32));
}

/* x = tanh(W x + b) / 2, an array and a tree: held against the same iteration differentiated step by
 * step. */
static hd fixed_step(hd theta, hd x)
{
    return hd_mul(hd_c(.5), hd_tanh(hd_add(hd_dot(hd_get(theta, "w"), x), hd_get(theta, "b"))));
}
static hd fixed_f(hd theta, hd x) { return hd_sub(x, fixed_step(theta, x)); }
static hd fixed_turn(hd theta, hd i, hd x) { return (void)i, fixed_step(theta, x); }
static hd fixed_solve(hd theta, hd x)
{
    return hd_fori(hd_c(0), hd_c(40), hd_partial(fixed_turn, theta), x);
}
static hd fixed_loss(hd x, const void *f)
{
    hd w = hd_mul(hd_lit(float, (4, 4), .3f, -.2f, .5f, .1f, .7f, .2f, -.4f, .3f, -.1f, .6f, .2f, -.5f, .4f,
                      .1f, -.3f, .8f),
        hd_sum(x));
    hd y = hd_apply(*(hd_fn *const *)f, hd_dict({ "w", w }, { "b", x }), hd_zeros_like(x));
    return hd_sum(hd_sin(hd_mul(y, x)));
}

START_TEST(roots)
{
    hd_fn *const f[] = { HD_FN(root), HD_FN(root_given) };
    for (int i = 0; i < 2; i++) {
        is(f[i], 4, 2);
        is(hd_grad(f[i]), 4, .25f);
        is(hd_grad(hd_grad(f[i])), 4, -1.f / 32);
        is(hd_grad(hd_grad(hd_grad(f[i]))), 4, 3.f / 256);
        is(hd_jacfwd(f[i]), 4, .25f);
        is(hd_jacfwd(hd_jacfwd(f[i])), 4, -1.f / 32);
        is(hd_hessian(f[i]), 4, -1.f / 32);
        is(hd_jacrev(hd_jacfwd(f[i])), 4, -1.f / 32);
        is(hd_jacfwd(hd_hessian(f[i])), 4, 3.f / 256);
        is(hd_bind(both_directions, f[i]), 4, 2 * .25f + .25f);
        is(hd_jacfwd(hd_bind(in_loop, f[i])), 4, (.25f + 1) / (2 * sqrtf(6)));
        hd_fn *const lanes[] = { hd_vmap(hd_grad(f[i])), hd_vmap(hd_jacfwd(f[i])),
            hd_jacfwd(hd_vmap(f[i], .axis_name = "i")) };
        for (int j = 0; j < 3; j++) {
            hd_array *x = vector(3, 1, 1.5f), *y = NULL, *const args[] = { x };
            ck_assert_msg(hd_call_n(lanes[j], &y, 1, args, 1) == 0, "%s", hd_error());
            for (int k = 0; k < 3; k++) {
                float got = ((const float *)hd_data(y))[j == 2 ? 4 * k : k];
                ck_assert(fabsf(got - .5f / sqrtf(1 + 1.5f * (float)k)) < 1e-4f);
            }
            hd_drop(x), hd_drop(y);
        }
    }
    hd_fn *implicit = hd_root(fixed_f, fixed_solve), *direct = HD_FN(fixed_solve);
    hd_fn *a = hd_bind(fixed_loss, implicit), *b = hd_bind(fixed_loss, direct);
    hd_array *x = vector(4, -.2f, .15f), *const one[] = { x };
    for (int d = 0; d < DEVICES; d++)
        if (there(devices[d]))
            alike(hd_grad(a), hd_grad(b), one, 1, devices[d], "fixed point");
    alike(hd_jacrev(hd_grad(a)), hd_jacrev(hd_grad(b)), one, 1, "host", "fixed point, twice");
    for (int d = 0; d < DEVICES; d++)
        if (there(devices[d])) {
            alike(hd_jacfwd(a), hd_jacfwd(b), one, 1, devices[d], "fixed point, forwards");
            alike(hd_hessian(a), hd_hessian(b), one, 1, devices[d], "fixed point, forwards over reverse");
        }
    hd_drop(x);
    hd_forget(root_f);
    is(hd_grad(root), 4, .25f);
    is(hd_jacfwd(root), 4, .25f);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("closures");
    TCase *c = suite_case(s);
    tcase_add_test(c, closures);
    tcase_add_test(c, closures_of_their_own);
    tcase_add_test(c, roots);
    return suite_run(s);
}
