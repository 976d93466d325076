/* Derivatives of what a loop found, not of the loop: the solution of an equation by hd_root, Newton's method
 * on a system, and optimal transport by Sinkhorn's iteration. Each loop runs until it is near enough, in
 * every lane by itself; its derivative comes from the equation that its result solves. */
#include <getopt.h>
#include <heddle.h>
#include <math.h>

/* -------- Kepler's equation x = mean + e sin x: where a planet is; and how that depends on e, once and
 * twice */

static hd kepler_step(hd theta, hd x)
{
    return hd_add(hd_nth(theta, 1), hd_mul(hd_nth(theta, 0), hd_sin(x)));
}
static hd kepler(hd theta, hd x) { return hd_sub(x, kepler_step(theta, x)); }
static hd kepler_far(hd theta, hd x) { return hd_gt(hd_abs(kepler(theta, x)), hd_c(1e-6)); }
static hd kepler_solve(hd theta, hd x0)
{
    return hd_while(hd_partial(kepler_far, theta), hd_partial(kepler_step, theta), x0);
}
static hd planet(hd e, hd mean) { return hd_apply(hd_root(kepler, kepler_solve), hd_tuple(e, mean), mean); }

static hd planets(hd e, hd means)
{
    hd_fn *first = hd_grad(planet), *second = hd_grad(first);
    return hd_tuple(hd_apply(hd_vmap(planet, .in_axes = { HD_NONE, 0 }), e, means),
                    hd_apply(hd_vmap(first, .in_axes = { HD_NONE, 0 }), e, means),
                    hd_apply(hd_vmap(second, .in_axes = { HD_NONE, 0 }), e, means));
}

/* -------- Two equations: a circle of radius r meets the hyperbola x y = 1. Newton's steps use the Jacobian
 * of the equations */

static hd crossing(hd r, hd p)
{
    hd x = hd_at(p, 0), y = hd_at(p, 1);
    return hd_stack(0, hd_sub(hd_add(hd_square(x), hd_square(y)), hd_square(r)), hd_sub_c(hd_mul(x, y), 1));
}
static hd newton(hd r, hd p)
{
    hd f = crossing(r, p), J = hd_apply(hd_jacfwd(crossing, .argnums = HD_INTS(1)), r, p);
    hd a = hd_at(J, 0, 0), b = hd_at(J, 0, 1), c = hd_at(J, 1, 0), d = hd_at(J, 1, 1), u = hd_at(f, 0),
       v = hd_at(f, 1);
    hd step = hd_stack(0, hd_sub(hd_mul(d, u), hd_mul(b, v)), hd_sub(hd_mul(a, v), hd_mul(c, u)));
    return hd_sub(p, hd_div(step, hd_sub(hd_mul(a, d), hd_mul(b, c))));
}
static hd not_there(hd r, hd p) { return hd_gt(hd_max(hd_abs(crossing(r, p))), hd_c(1e-5)); }
static hd crossing_solve(hd r, hd p) { return hd_while(hd_partial(not_there, r), hd_partial(newton, r), p); }
static hd meet(hd r)
{
    return hd_apply(hd_root(crossing, crossing_solve), r, hd_stack(0, r, hd_c_div(1, r)));
}
static hd meets(hd rs)
{
    return hd_tuple(hd_apply(hd_vmap(meet), rs), hd_apply(hd_vmap(hd_jacrev(meet)), rs));
}

/* -------- Optimal transport with entropy, from points x to points y on a line: what it costs, and where the
 * points would rather be */

static const double entropy = 0.5;

static hd costs(hd x, hd y) { return hd_square(hd_sub(hd_expand_dims(x, 1), hd_expand_dims(y, 0))); }

/* The potential of the targets for that of the sources, and back. */
static hd potential(hd other, hd C, int axis)
{
    hd s = hd_div(hd_sub(hd_expand_dims(other, 1 - axis), C), hd_c(entropy));
    return hd_mul_c(hd_sub_c(hd_logsumexp(s, axis), log((double)hd_dim(other, 0))), -entropy);
}
static hd sinkhorn_step(hd C, hd u) { return potential(potential(u, C, 0), C, 1); }
static hd sinkhorn(hd C, hd u) { return hd_sub(u, sinkhorn_step(C, u)); }
static hd unbalanced(hd C, hd u) { return hd_gt(hd_max(hd_abs(sinkhorn(C, u))), hd_c(2e-6)); }
static hd balance(hd C, hd u)
{
    return hd_while(hd_partial(unbalanced, C), hd_partial(sinkhorn_step, C), u);
}

static hd transport(hd x, hd y)
{
    hd C = costs(x, y), u = hd_apply(hd_root(sinkhorn, balance), C, hd_zeros_like(x)),
       v = potential(u, C, 0);
    hd gain = hd_sub(hd_add(hd_expand_dims(u, 1), hd_expand_dims(v, 0)), C),
       plan = hd_exp(hd_div(gain, hd_c(entropy)));
    return hd_div(hd_sum(hd_mul(plan, C)), hd_c((double)hd_size(C)));
}
static hd move(hd x, hd y) { return hd_apply(hd_value_and_grad(transport), x, y); }

/* -------- */

static int show(hd_fn *f, hd_array *const *args, int n, int nout)
{
    hd_array *out[3] = { NULL };
    int code = hd_call_n(f, out, nout, args, n);
    for (int i = 0; i < nout && !code; i++)
        hd_print(stdout, out[i]);
    for (int i = 0; i < nout; i++)
        hd_drop(out[i]);
    return code;
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "device", 1, NULL, 'd' }, { 0 } };
    for (int k; (k = getopt_long(argc, argv, "d:", options, NULL)) != -1; )
        if (k == '?' || !hd_default_device(optarg))
            return fprintf(stderr, "%s\n", hd_error()), 1;

    hd_array *e = hd_array_scalar(HD_F32, 0.3), *means = hd_array_lit(float, (4), 0.5f, 1, 2, 3);
    hd_array *rs = hd_array_lit(float, (3), 1.6f, 2, 3);
    hd_array *x = hd_array_lit(float, (5), -1, -0.4f, 0.1f, 0.8f, 1.5f),
             *y = hd_array_lit(float, (4), 0, 0.5f, 1.2f, 2);
    int code = show(HD_FN(planets), (hd_array *const[]){ e, means }, 2, 3) || show(HD_FN(meets), &rs, 1, 2)
        || show(HD_FN(move), (hd_array *const[]){ x, y }, 2, 2);
    if (code)
        fprintf(stderr, "%s\n", hd_error());
    hd_drop(e), hd_drop(means), hd_drop(rs), hd_drop(x), hd_drop(y);
    return code;
}
