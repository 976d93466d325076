/*
 * golden_rules.c - programs with derivatives of their own: stable softplus, a derivative that is wrong on
 * purpose, clipped cotangents, a fixed point found by a loop.
 */
#include "golden.h"

#define ARGS const json_t *a, const hd *x, int n
#define UNUSED (void)a, (void)n

static hd log1pexp_of(hd x) { return hd_log(hd_add(hd_c(1), hd_exp(x))); }
static hd log1pexp_jvp(hd x, hd t)
{
    hd slope = hd_sub(hd_c(1), hd_div(hd_c(1), hd_add(hd_c(1), hd_exp(x))));
    return hd_tuple(hd_apply(hd_custom_jvp(log1pexp_of, log1pexp_jvp), x), hd_mul(slope, t));
}
static hd log1pexp(ARGS) { UNUSED; return hd_apply(hd_custom_jvp(log1pexp_of, log1pexp_jvp), x[0]); }

static hd times_itself(hd x) { return hd_mul(x, x); }
static hd wrong_jvp(hd x, hd t)
{
    return hd_tuple(hd_apply(hd_custom_jvp(times_itself, wrong_jvp), x), hd_mul(hd_mul(hd_c(10), x), t));
}
static hd wrong_square(ARGS) { UNUSED; return hd_apply(hd_custom_jvp(times_itself, wrong_jvp), x[0]); }

static hd third(hd lo, hd hi, hd x) { return (void)lo, (void)hi, x; }
static hd clip_fwd(hd lo, hd hi, hd x) { return hd_tuple(x, hd_tuple(lo, hi)); }
static hd clip_bwd(hd saved, hd dy)
{
    return hd_tuple(HD_NIL, HD_NIL, hd_clip(dy, hd_nth(saved, 0), hd_nth(saved, 1)));
}
static hd clip_gradient(ARGS)
{
    UNUSED;
    hd y = hd_apply(hd_custom_vjp(third, clip_fwd, clip_bwd), x[0], x[1], x[2]);
    return hd_sum(hd_integer_pow(y, 3));
}

static hd product(hd w, hd x) { return hd_mul(w, x); }
static hd product_fwd(hd w, hd x) { return hd_tuple(hd_mul(w, x), hd_tuple(w, x)); }
static hd product_bwd(hd saved, hd dy)
{
    return hd_tuple(
        hd_mul(hd_mul(hd_c(2), dy), hd_nth(saved, 1)), hd_mul(hd_mul(hd_c(3), dy), hd_nth(saved, 0)));
}
static hd_fn *scaled(void) { return hd_custom_vjp(product, product_fwd, product_bwd); }
static hd scaled_product(ARGS) { UNUSED; return hd_sum(hd_sin(hd_apply(scaled(), x[0], x[1]))); }
static hd scaled_product_lanes(ARGS)
{
    UNUSED;
    return hd_sum(hd_sin(hd_apply(hd_vmap(scaled(), .in_axes = { HD_NONE, 0 }), x[0], x[1])));
}

/* The fixed point of x = (x + a / x) / 2, and its derivative by the implicit function theorem: u = g +
 * (df/dx)^T u. */
static hd newton(hd a, hd x) { return hd_mul(hd_c(.5), hd_add(x, hd_div(a, x))); }
static hd apart(hd s) { return hd_gt(hd_abs(hd_sub(hd_nth(s, 0), hd_nth(s, 1))), hd_c(1e-10)); }
static hd again_f(hd a, hd s) { return hd_tuple(hd_nth(s, 1), newton(a, hd_nth(s, 1))); }
static hd solve(hd a)
{
    return hd_nth(hd_while(apart, hd_partial(again_f, a), hd_tuple(a, newton(a, a))), 1);
}
static hd pull(hd a, hd x, hd g, hd u)
{
    return hd_add(g, hd_nth(hd_nth(hd_apply(hd_vjp(newton), a, x, u), 1), 1));
}
static hd again_u(hd a, hd x, hd g, hd s) { return hd_tuple(hd_nth(s, 1), pull(a, x, g, hd_nth(s, 1))); }
static hd solve_fwd(hd a)
{
    hd x = solve(a);
    return hd_tuple(x, hd_tuple(a, x));
}
static hd solve_bwd(hd saved, hd g)
{
    hd at = hd_nth(saved, 0), x = hd_nth(saved, 1);
    hd u = hd_nth(hd_while(apart, hd_partial(again_u, at, x, g), hd_tuple(g, pull(at, x, g, g))), 1);
    return hd_nth(hd_nth(hd_apply(hd_vjp(newton), at, x, u), 1), 0);
}
static hd implicit_fixed_point(ARGS)
{
    UNUSED;
    return hd_apply(hd_custom_vjp(solve, solve_fwd, solve_bwd), x[0]);
}

const GoldenRow golden_rule_rows[] = {
#define R(name) { #name, name }
    R(log1pexp), R(wrong_square), R(clip_gradient), R(scaled_product), R(scaled_product_lanes),
    R(implicit_fixed_point), { NULL, NULL }
};
