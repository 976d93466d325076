/* workloads_control.c - loops and branches: every lane has its own trip count and its own path. */
#include "workloads.h"

#include <math.h>
#include <stdlib.h>

static hd le(hd x, double c) { return hd_le(x, hd_c(c)); }

static double sum_of(const hd_array *a)
{
    Checksum c;
    return checksum(a, &c) ? 0 : c.sum;
}

/* ==================== mandelbrot: size n, limit */

static hd escape_more(hd s, const void *limit)
{
    hd r2 = hd_add(hd_square(hd_nth(s, 0)), hd_square(hd_nth(s, 1)));
    return hd_and(hd_lt(hd_nth(s, 2), hd_c((double)*(const int64_t *)limit)), le(r2, 4));
}

static hd escape_step(hd cr, hd ci, hd s)
{
    hd zr = hd_nth(s, 0), zi = hd_nth(s, 1);
    hd re = hd_add(hd_sub(hd_mul(zr, zr), hd_mul(zi, zi)), cr);
    return hd_tuple(re, hd_add(hd_mul(times(2, zr), zi), ci), plus(hd_nth(s, 2), 1));
}

static hd escape(hd cr, hd ci, const void *limit)
{
    hd zero = hd_zeros_like(cr), start = hd_tuple(zero, zero, hd_zeros(HD_I32));
    hd_fn *more = hd_bind(escape_more, *(const int64_t *)limit);
    return hd_nth(hd_while(more, hd_partial(escape_step, cr, ci), start), 2);
}

static hd_fn *mandelbrot_fn(const int64_t *s)
{
    hd_fn *f = hd_bind(escape, s[1]);
    return hd_vmap(hd_vmap(f, .in_axes = { 0, HD_NONE }), .in_axes = { HD_NONE, 0 });
}

static hd_array *grid(int64_t n, double from)
{
    float *v = malloc((size_t)n * sizeof *v);
    for (int64_t i = 0; v && i < n; i++)
        v[i] = (float)(((double)i + .5) * (2.5 / (double)n) + from);
    hd_array *a = v ? hd_array_of(v, n) : NULL;
    free(v);
    return a;
}

static int mandelbrot_args(const int64_t *s, hd_array **a)
{
    a[0] = grid(s[0], -2), a[1] = grid(s[0], -1.25);
    return 2;
}
static double mandelbrot_flops(const int64_t *s, const hd_array *out) { (void)s; return 10 * sum_of(out); }

/* ==================== collatz */

static hd collatz_more(hd s)
{
    return hd_and(hd_ne(hd_nth(s, 0), hd_c(1)), hd_lt(hd_nth(s, 1), hd_c(1000)));
}

static hd collatz_step(hd s)
{
    hd m = hd_nth(s, 0), odd = hd_ne(hd_and(m, hd_c(1)), hd_c(0));
    return hd_tuple(hd_where(odd, plus(times(3, m), 1), hd_right_shift(m, hd_c(1))), plus(hd_nth(s, 1), 1));
}

static hd collatz(hd m)
{
    return hd_nth(hd_while(collatz_more, collatz_step, hd_tuple(m, hd_zeros(HD_I32))), 1);
}
static hd_fn *collatz_fn(const int64_t *s) { (void)s; return hd_vmap(collatz); }

static int collatz_args(const int64_t *s, hd_array **a)
{
    uint32_t *v = malloc((size_t)s[0] * sizeof *v);
    for (int64_t i = 0; v && i < s[0]; i++)
        v[i] = (uint32_t)i + 1;
    a[0] = v ? hd_array_of(v, s[0]) : NULL;
    free(v);
    return 1;
}

static double collatz_flops(const int64_t *s, const hd_array *out) { (void)s; return 6 * sum_of(out); }

/* ==================== newton */

static hd newton_more(hd a, hd s)
{
    hd x = hd_nth(s, 0), off = hd_abs(hd_sub(hd_mul(x, x), a));
    return hd_and(hd_gt(off, times(1e-6, a)), hd_lt(hd_nth(s, 1), hd_c(60)));
}

static hd newton_step(hd a, hd s)
{
    hd x = hd_nth(s, 0);
    return hd_tuple(times(.5, hd_add(x, hd_div(a, x))), plus(hd_nth(s, 1), 1));
}

static hd newton(hd a)
{
    return hd_while(hd_partial(newton_more, a), hd_partial(newton_step, a), hd_tuple(a, hd_zeros(HD_I32)));
}

static hd_fn *newton_fn(const int64_t *s) { (void)s; return hd_vmap(newton); }
static int newton_args(const int64_t *s, hd_array **a) { a[0] = AR(1, 500, 500.01, s[0]); return 1; }
static double newton_flops(const int64_t *s, const hd_array *out)
{
    (void)s;
    return (SLOW + 6) * sum_of(hd_array_nth(out, 1));
}

/* ==================== rare_branch: one lane in 64 takes the long way. size n, steps */

static hd root_step(hd x, hd i, hd y)
{
    (void)i;
    return hd_mul(y, hd_sub(hd_c(1.5), hd_mul(hd_mul(times(.5, plus(x, 1)), y), y)));
}

static hd long_way(hd x, const void *steps)
{
    return hd_fori(hd_c(0), hd_c((double)*(const int64_t *)steps), hd_partial(root_step, x), x);
}

static hd rare(hd x, const void *steps)
{
    return hd_cond(hd_gt(x, hd_c(31.0 / 32)), hd_bind(long_way, *(const int64_t *)steps), hd_square, x);
}

static hd_fn *rare_fn(const int64_t *s) { return hd_vmap(hd_bind(rare, s[1])); }
static int rare_args(const int64_t *s, hd_array **a) { a[0] = A(1, s[0]); return 1; }

static double rare_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return (double)s[0] * (1 + 5 * (double)s[1] / 64);
}

/* ==================== logistic map, Lorenz: size n, steps */

static hd logistic_step(hd r, hd i, hd x) { (void)i; return hd_mul(hd_mul(r, x), hd_sub(hd_c(1), x)); }

static hd logistic(hd r, hd x, const void *steps)
{
    return hd_fori(hd_c(0), hd_c((double)*(const int64_t *)steps), hd_partial(logistic_step, r), x);
}

static hd_fn *logistic_fn(const int64_t *s) { return hd_vmap(hd_bind(logistic, s[1])); }
static int logistic_args(const int64_t *s, hd_array **a)
{
    a[0] = AR(1, .4, 3, s[0]), a[1] = AR(2, .4, .5, s[0]);
    return 2;
}
static double logistic_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return 3.0 * (double)(s[0] * s[1]);
}

typedef struct Point { hd x, y, z; } Point;

static Point lorenz_slope(Point p, hd rho)
{
    return (Point){
        .x = times(10, hd_sub(p.y, p.x)),
        .y = hd_sub(hd_mul(p.x, hd_sub(rho, p.z)), p.y),
        .z = hd_sub(hd_mul(p.x, p.y), times(8.0 / 3, p.z)),
    };
}

static Point along(Point p, double h, Point d)
{
    return (Point){ hd_add(p.x, times(h, d.x)), hd_add(p.y, times(h, d.y)), hd_add(p.z, times(h, d.z)) };
}

static hd lorenz_step(hd rho, hd i, hd s)
{
    double dt = .002;
    Point p = { hd_nth(s, 0), hd_nth(s, 1), hd_nth(s, 2) };
    Point a = lorenz_slope(p, rho), b = lorenz_slope(along(p, dt / 2, a), rho);
    Point c = lorenz_slope(along(p, dt / 2, b), rho), d = lorenz_slope(along(p, dt, c), rho);
    Point sum = along(along(along(a, 2, b), 2, c), 1, d), q = along(p, dt / 6, sum);
    (void)i;
    return hd_tuple(q.x, q.y, q.z);
}

static hd lorenz(hd start, hd rho, const void *steps)
{
    return hd_fori(hd_c(0), hd_c((double)*(const int64_t *)steps), hd_partial(lorenz_step, rho), start);
}

static hd_fn *lorenz_fn(const int64_t *s) { return hd_vmap(hd_bind(lorenz, s[1])); }

static int lorenz_args(const int64_t *s, hd_array **a)
{
    hd_array *x = AR(1, 1, 1, s[0]), *y = AR(2, 1, 1, s[0]), *z = AR(3, 1, 20, s[0]);
    a[0] = hd_array_tuple(x, y, z), a[1] = AR(4, 2, 28, s[0]);
    return 2;
}

static double lorenz_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return 77.0 * (double)(s[0] * s[1]);
}

/* ==================== Hodgkin and Huxley's nerve cell: size n, steps */

/* x / (1 - exp(-x)), safe at 0 for derivatives too */
static hd rate_ratio(hd x)
{
    hd small = hd_lt(hd_abs(x), hd_c(1e-3)), safe = hd_where(small, hd_c(1), x);
    return hd_where(small, plus(times(.5, x), 1), hd_div(safe, hd_sub(hd_c(1), hd_exp(hd_neg(safe)))));
}

static hd over(hd v, double add, double by) { return hd_div(plus(v, add), hd_c(by)); }
static hd gate(hd x, hd open, hd close)                 /* one Euler step */
{
    hd change = hd_sub(hd_mul(open, hd_sub(hd_c(1), x)), hd_mul(close, x));
    return hd_add(x, times(.01, change));
}

static hd cell_step(hd g, hd current, hd s, hd nothing)
{
    hd v = hd_nth(s, 0), m = hd_nth(s, 1), h = hd_nth(s, 2), n = hd_nth(s, 3);
    hd am = rate_ratio(over(v, 40, 10)), bm = times(4, hd_exp(hd_neg(over(v, 65, 18))));
    hd ah = times(.07, hd_exp(hd_neg(over(v, 65, 20))));
    hd bh = hd_div(hd_c(1), plus(hd_exp(hd_neg(over(v, 35, 10))), 1));
    hd an = times(.1, rate_ratio(over(v, 55, 10))), bn = times(.125, hd_exp(hd_neg(over(v, 65, 80))));
    hd na = hd_mul(hd_mul(hd_mul(hd_nth(g, 0), hd_integer_pow(m, 3)), h), plus(v, -50));
    hd k = hd_mul(hd_mul(hd_nth(g, 1), hd_integer_pow(n, 4)), plus(v, 77));
    hd i = hd_add(hd_add(na, k), hd_mul(hd_nth(g, 2), plus(v, 54.387)));
    (void)nothing;
    v = hd_add(v, times(.01, hd_sub(current, i)));
    return hd_tuple(hd_tuple(v, gate(m, am, bm), gate(h, ah, bh), gate(n, an, bn)), HD_NIL);
}

static hd nerve(hd g, hd current, const void *steps)
{
    hd start = hd_tuple(hd_c(-65), hd_c(.05), hd_c(.6), hd_c(.32));
    return hd_nth(
        hd_scan(hd_partial(cell_step, g, current), start, HD_NIL, .length = *(const int64_t *)steps), 0);
}

static hd mean_voltage(hd g, hd currents, const void *steps)
{
    hd_fn *f = hd_bind(nerve, *(const int64_t *)steps);
    return hd_mean(hd_nth(hd_apply(hd_vmap(f, .in_axes = { HD_NONE, 0 }), g, currents), 0));
}

static hd_fn *nerve_fn(const int64_t *s) { return hd_vmap(hd_bind(nerve, s[1]), .in_axes = { HD_NONE, 0 }); }
static hd_fn *nerve_grad_fn(const int64_t *s)
{
    return hd_grad(hd_bind(mean_voltage, s[1]), .argnums = HD_INTS(0, 1));
}

static int nerve_args(const int64_t *s, hd_array **a)
{
    hd_array *na = hd_array_scalar(HD_F32, 120), *k = hd_array_scalar(HD_F32, 36),
             *l = hd_array_scalar(HD_F32, .3);
    a[0] = hd_array_tuple(na, k, l), a[1] = AR(1, 5, 7, s[0]);
    return 2;
}

static double nerve_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return (60.0 + 8 * SLOW) * (double)(s[0] * s[1]);
}
static double nerve_grad_flops(const int64_t *s, const hd_array *o) { return 3 * nerve_flops(s, o); }

/* ==================== bodies that attract one another: size n, steps */

static hd pull(hd a, hd b)
{
    hd d = hd_sub(b, a), r2 = plus(hd_sum(hd_square(d)), 1e-2);
    return hd_mul(d, hd_div(hd_rsqrt(r2), r2));
}

static hd force(hd a, hd all)
{
    return hd_sum(hd_apply(hd_vmap(pull, .in_axes = { HD_NONE, 0 }), a, all), 0);
}

static hd bodies_step(hd i, hd s)
{
    hd p = hd_nth(s, 0), v = hd_nth(s, 1), dt = hd_c(1e-3);
    hd f = hd_apply(hd_vmap(force, .in_axes = { 0, HD_NONE }), p, p);
    (void)i;
    v = hd_add(v, times(1e-3 / (double)hd_dim(p, 0), f));
    return hd_tuple(hd_add(p, hd_mul(dt, v)), v);
}

static hd bodies(hd p, hd v, const void *steps)
{
    return hd_fori(hd_c(0), hd_c((double)*(const int64_t *)steps), bodies_step, hd_tuple(p, v));
}

static hd_fn *nbody_fn(const int64_t *s) { return hd_bind(bodies, s[1]); }
static int nbody_args(const int64_t *s, hd_array **a)
{
    a[0] = A(1, s[0], 3), a[1] = AR(2, .1, 0, s[0], 3);
    return 2;
}

static double nbody_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return (double)(s[1] * s[0] * s[0]) * (15 + SLOW);
}

/* ==================== heat in a plate: size n, steps */

static hd part(hd u, int64_t down, int64_t right)       /* the interior, moved */
{
    int64_t n = hd_dim(u, 0), m = hd_dim(u, 1);
    return hd_slice(u, HD_INTS(1 + down, 1 + right), HD_INTS(n - 1 + down, m - 1 + right), HD_INTS());
}

static hd heat_step(hd i, hd u)
{
    hd around = hd_add(hd_add(hd_add(part(u, -1, 0), part(u, 1, 0)), part(u, 0, -1)), part(u, 0, 1));
    hd change = times(.2, hd_sub(around, times(4, part(u, 0, 0))));
    (void)i;
    return hd_add(u, hd_pad(change, hd_c(0), HD_INTS(1, 1), HD_INTS(1, 1), HD_INTS()));
}

static hd heat(hd u, const void *steps)
{
    return hd_fori(hd_c(0), hd_c((double)*(const int64_t *)steps), heat_step, u);
}
static hd_fn *heat_fn(const int64_t *s) { return hd_bind(heat, s[1]); }
static int heat_args(const int64_t *s, hd_array **a) { a[0] = A(1, s[0], s[0]); return 1; }
static double heat_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return 7.0 * (double)(s[0] * s[0] * s[1]);
}

/* ==================== Metropolis' sampler: size n, steps */

static hd energy(hd x) { hd x2 = hd_square(x); return hd_mul(x2, plus(x2, -2)); }

static hd chain_step(hd key, hd t, hd s)
{
    hd x = hd_nth(s, 0), u = hd_random_uniform(hd_random_fold_in(key, t), HD_F32, 2);
    hd y = plus(hd_add(x, times(2, hd_index(u, 0, 0))), -1);
    hd take = hd_lt(hd_index(u, 0, 1), hd_exp(hd_sub(energy(x), energy(y))));
    x = hd_where(take, y, x);
    return hd_tuple(x, hd_add(hd_nth(s, 1), hd_cast(take, HD_I32)), hd_add(hd_nth(s, 2), hd_square(x)));
}

static hd chain(hd key, hd x, const void *env)
{
    double steps = (double)*(const int64_t *)env;
    hd start = hd_tuple(x, hd_zeros(HD_I32), hd_zeros(HD_F32));
    hd s = hd_fori(hd_c(0), hd_c(steps), hd_partial(chain_step, key), start);
    return hd_tuple(hd_nth(s, 1), hd_div(hd_nth(s, 2), hd_c(steps)));
}

static hd chains(hd key, hd x, const void *env)
{
    return hd_apply(hd_vmap(hd_bind(chain, *(const int64_t *)env)), hd_random_split(key, hd_dim(x, 0)), x);
}

static hd_fn *metropolis_fn(const int64_t *s) { return hd_bind(chains, s[1]); }
static int metropolis_args(const int64_t *s, hd_array **a)
{
    a[0] = seed_key(7), a[1] = A(1, s[0]);
    return 2;
}
static double metropolis_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return (3.0 * 77 + SLOW + 14) * (double)(s[0] * s[1]);
}

/* ==================== Kalman's filter: size n, T */

static hd at(hd m, int i, int j) { return hd_index(hd_index(m, 0, i), 0, j); }

static hd kalman_step(hd r, hd s, hd y)
{
    hd f = hd_lit(float, (4, 4), 1, 0, .1f, 0, 0, 1, 0, .1f, 0, 0, 1, 0, 0, 0, 0, 1);
    hd x = hd_dot(f, hd_nth(s, 0));
    hd p = hd_add(hd_dot(hd_dot(f, hd_nth(s, 1)), hd_transpose(f)), times(.01, hd_eye(HD_F32, 4)));
    hd a = hd_add(at(p, 0, 0), r), b = at(p, 0, 1), d = hd_add(at(p, 1, 1), r);
    hd inverse = hd_div(hd_stack(0, hd_stack(0, d, hd_neg(b)), hd_stack(0, hd_neg(b), a)),
        hd_sub(hd_mul(a, d), hd_mul(b, b)));
    hd gain = hd_dot(hd_slice(p, HD_INTS(0, 0), HD_INTS(4, 2), HD_INTS()), inverse);
    hd seen = hd_slice(x, HD_INTS(0), HD_INTS(2), HD_INTS());
    x = hd_add(x, hd_dot(gain, hd_sub(y, seen)));
    p = hd_sub(p, hd_dot(gain, hd_slice(p, HD_INTS(0, 0), HD_INTS(2, 4), HD_INTS())));
    return hd_tuple(hd_tuple(x, p), x);
}

static hd kalman(hd r, hd ys)
{
    hd start = hd_tuple(hd_zeros(HD_F32, 4), hd_eye(HD_F32, 4));
    return hd_nth(hd_scan(hd_partial(kalman_step, r), start, ys), 1);
}

static hd_fn *kalman_fn(const int64_t *s) { (void)s; return hd_vmap(kalman); }
static int kalman_args(const int64_t *s, hd_array **a)
{
    a[0] = AR(1, .4, .5, s[0]), a[1] = A(2, s[0], s[1], 2);
    return 2;
}
static double kalman_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return 500.0 * (double)(s[0] * s[1]);
}

/* ==================== the group */

#define ROW(n, f, to, ...) \
    { \
        .name = #n, .group = "control", .function = f##_fn, .args = f##_args, .flops = f##_flops, \
        .target = to, __VA_ARGS__ \
    }
#define AT(...)     .size = { __VA_ARGS__ }
#define SMALL(...)  .small = { __VA_ARGS__ }

const Workload control_workloads[] = {
    ROW(mandelbrot, mandelbrot, 25, AT(1024, 200), SMALL(40, 50), .tol = 1e-3, .sum_only = true),
    ROW(collatz_1m, collatz, 8, AT(1 << 20), SMALL(300)),
    ROW(newton_1m, newton, 5, AT(1 << 20), SMALL(300), .tol = 1e-3, .sum_only = true),
    ROW(rare_branch, rare, 2, AT(1 << 20, 500), SMALL(400, 20)),
    ROW(logistic_10k, logistic, 1.3, AT(4096, 10000), SMALL(70, 12)),
    ROW(lorenz_rk4, lorenz, 4, AT(4096, 1000), SMALL(70, 20), .tol = 1e-3),
    ROW(hodgkin_huxley, nerve, 2, AT(1024, 1000), SMALL(40, 30)),
    { .name = "hodgkin_huxley_grad", .group = "control", .function = nerve_grad_fn, .args = nerve_args,
        .flops = nerve_grad_flops, .target = 12, AT(1024, 1000), SMALL(40, 30), .tol = 1e-2 },
    ROW(nbody, nbody, 20, AT(1024, 100), SMALL(50, 3)),
    ROW(heat2d, heat, 2.5, AT(512, 200), SMALL(40, 5)),
    ROW(metropolis, metropolis, 10, AT(4096, 1000), SMALL(40, 12), .tol = 1e-3, .sum_only = true),
    ROW(kalman, kalman, 12, AT(256, 1000), SMALL(20, 6)),
    { 0 },
};
