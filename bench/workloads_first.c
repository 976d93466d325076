/* workloads_first.c - whole programs as users write them, whose first call is what counts: filters,
 * samplers, simulations, fits. bench/first.py runs them beside jax_first.py; networks are in
 * workloads_first_nets.c. */
#include "workloads.h"

#include <math.h>

static hd mean_of(hd_fn *each, hd a, hd b)              /* over the rows of b */
{
    return hd_mean(hd_apply(hd_vmap(each, .in_axes = { HD_NONE, 0 }), a, b));
}

/* ==================== Kalman's filter, and the gradient of its likelihood: size tracks, time */

#define BELIEF(F, S) F(mean) F(covariance) F(loglik)
HD_STRUCT(belief, BELIEF);

/* noise: logarithms of the variances of motion and measurement */
static hd learn(hd noise, hd before, hd z)
{
    hd F = hd_lit(float, (2, 2), 1, 1, 0, 1), Q = hd_lit(float, (2, 2), 1.f / 3, .5f, .5f, 1);
    belief b = hd_unpack(belief, before);
    hd P = hd_matmul(hd_matmul(F, b.covariance), hd_transpose(F));
    P = hd_add(P, hd_mul(hd_exp(hd_at(noise, 0)), Q));
    hd mean = hd_dot(F, b.mean), variance = hd_add(hd_at(P, 0, 0), hd_exp(hd_at(noise, 1)));
    hd surprise = hd_sub(z, hd_at(mean, 0)), gain = hd_div(hd_at(P, 0), variance);
    hd cost = hd_add_all(hd_div(hd_square(surprise), variance), hd_log(variance), log(2 * M_PI));
    return hd_tuple(hd_pack(belief, {
        .mean = hd_add(mean, hd_mul(gain, surprise)),
        .covariance = hd_sub(P, hd_outer(gain, hd_at(P, 0))),
        .loglik = hd_sub(b.loglik, hd_mul_c(cost, .5)),
    }), HD_NIL);
}

static hd loglik(hd noise, hd zs)                       /* f32[2], f32[time] -> f32[] */
{
    hd start = hd_pack(belief,
        {
            .mean = hd_zeros(HD_F32, 2),
            .covariance = hd_mul_c(hd_eye(HD_F32, 2), 10),
            .loglik = hd_zeros(HD_F32),
        });
    return hd_get(hd_nth(hd_scan(hd_partial(learn, noise), start, zs), 0), "loglik");
}

static hd all_tracks(hd noise, hd zs) { return mean_of(HD_FN(loglik), noise, zs); }
static hd_fn *kalman_fn(const int64_t *s) { (void)s; return hd_value_and_grad(all_tracks); }
static int kalman_args(const int64_t *s, hd_array **a)
{
    a[0] = hd_array_lit(float, (2), -3, -1), a[1] = AR(1, 3, 0, s[0], s[1]);
    return 2;
}

/* ==================== Hamiltonian Monte Carlo: size chains, draws */

static hd energy(hd w)                                  /* of a logistic regression */
{
    hd x = hd_lit(float, (12), -3, -2.4f, -1.8f, -1.4f, -1, -.4f, .2f, .7f, 1.1f, 1.9f, 2.3f, 3);
    hd y = hd_lit(float, (12), 0, 0, 0, 1, 0, 0, 1, 0, 1, 1, 1, 1);
    hd logits = hd_add(hd_at(w, 0), hd_mul(hd_at(w, 1), x));
    return hd_add(hd_div_c(hd_dot(w, w), 8), hd_sum(hd_sigmoid_cross_entropy(logits, y)));
}

static hd push(hd w, hd p) { return hd_sub(p, hd_mul_c(hd_apply(hd_grad(energy), w), .15)); }

static hd leap(hd state, hd nothing)
{
    (void)nothing;
    hd p = push(hd_nth(state, 0), hd_nth(state, 1)), w = hd_add(hd_nth(state, 0), hd_mul_c(p, .3));
    return hd_tuple(hd_tuple(w, push(w, p)), HD_NIL);
}

static hd total(hd w, hd p) { return hd_add(energy(w), hd_mul_c(hd_dot(p, p), .5)); }

static hd draw(hd w, hd key)
{
    hd keys = hd_random_split(key, 2), p = hd_random_normal(hd_at(keys, 0), HD_F32, 2);
    hd end = hd_nth(hd_scan(leap, hd_tuple(w, p), HD_NIL, .length = 5), 0);
    hd gain = hd_sub(total(w, p), total(hd_nth(end, 0), hd_nth(end, 1)));
    hd taken = hd_lt(hd_log(hd_random_uniform(hd_at(keys, 1), HD_F32)), gain);
    w = hd_where(taken, hd_nth(end, 0), w);
    return hd_tuple(w, hd_tuple(w, hd_cast(taken, HD_F32)));
}

typedef struct Chains { int64_t chains, draws; } Chains;

static hd chain(hd key, const void *size)               /* tuple(f32[draws,2], f32[draws]) */
{
    const Chains *s = size;
    return hd_nth(hd_scan(draw, hd_zeros(HD_F32, 2), hd_random_split(key, s->draws)), 1);
}

static hd sample(hd key, const void *size)
{
    Chains s = *(const Chains *)size;
    hd r = hd_apply(hd_vmap(hd_bind(chain, s)), hd_random_split(key, s.chains));
    hd w = hd_slice_axis(hd_nth(r, 0), 1, s.draws / 5, HD_LAST);
    return hd_tuple(hd_mean(w, 0, 1), hd_std(w, 0, 1), hd_mean(hd_nth(r, 1)));
}

static hd_fn *hmc_fn(const int64_t *s)
{
    Chains c = { s[0], s[1] };
    return hd_bind(sample, c);
}
static int hmc_args(const int64_t *s, hd_array **a) { (void)s; a[0] = seed_key(0); return 1; }

/* ==================== Gauss and Newton's fit of curves: size sets, points */

static hd curve(hd p, int64_t points)                   /* p0 exp(-p1 t) + p2 + p3 t */
{
    hd t = hd_linspace(HD_F32, 0, 4, points);
    hd falls = hd_mul(hd_at(p, 0), hd_exp(hd_neg(hd_mul(hd_at(p, 1), t))));
    return hd_add_all(falls, hd_at(p, 2), hd_mul(hd_at(p, 3), t));
}

static hd residuals(hd p, hd y) { return hd_sub(curve(p, hd_dim(y, 0)), y); }

static hd improve(hd y, hd i, hd p)
{
    hd r = residuals(p, y), J = hd_apply(hd_jacfwd(residuals), p, y), Jt = hd_transpose(J);
    (void)i;
    hd A = hd_add(hd_matmul(Jt, J), hd_mul_c(hd_eye(HD_F32, 4), 1e-3));
    return hd_sub(p, hd_solve(A, hd_dot(Jt, r)));
}

static hd fit(hd noise)
{
    hd y = hd_add(curve(hd_lit(float, (4), 2, 1.3f, .5f, -.1f), hd_dim(noise, 0)), hd_mul_c(noise, .05));
    hd p = hd_fori(hd_c(0), hd_c(10), hd_partial(improve, y), hd_lit(float, (4), 1, 1, 0, 0));
    return hd_tuple(p, hd_sum(hd_square(residuals(p, y))));
}

static hd_fn *fit_fn(const int64_t *s) { (void)s; return hd_vmap(fit); }
static int fit_args(const int64_t *s, hd_array **a) { a[0] = A(1, s[0], s[1]); return 1; }

/* ==================== a pendulum until it hangs down, by Dormand and Prince, and how that time depends on
 * where it was let go: size angles */

enum { STAGES = 7 };

#define FLIGHT(F, S) F(t) F(y) F(step) F(turns)
HD_STRUCT(flight, FLIGHT);

static hd pendulum(hd y) { return hd_stack(0, hd_at(y, 1), hd_neg(hd_sin(hd_at(y, 0)))); }

static hd advance(hd y, hd h, hd *error)
{
    static const double a[STAGES][STAGES] = {
        { 0 },
        { 1. / 5 },
        { 3. / 40, 9. / 40 },
        { 44. / 45, -56. / 15, 32. / 9 },
        { 19372. / 6561, -25360. / 2187, 64448. / 6561, -212. / 729 },
        { 9017. / 3168, -355. / 33, 46732. / 5247, 49. / 176, -5103. / 18656 },
        { 35. / 384, 0, 500. / 1113, 125. / 192, -2187. / 6784, 11. / 84 },
    };
    static const double e[STAGES] = { 71. / 57600, 0, -71. / 16695, 71. / 1920, -17253. / 339200, 22. / 525,
        -1. / 40 };
    hd k[STAGES], at = y, wrong = hd_zeros_like(y);

    for (int i = 0; i < STAGES; i++) {
        at = y;
        for (int j = 0; j < i; j++)
            at = a[i][j] != 0 ? hd_add(at, hd_mul(hd_mul_c(h, a[i][j]), k[j])) : at;
        k[i] = pendulum(at);
        wrong = hd_add(wrong, hd_mul(hd_mul_c(h, e[i]), k[i]));
    }
    *error = hd_div_c(hd_norm(wrong), 1e-4);
    return at;
}

static hd turn(hd state)
{
    flight f = hd_unpack(flight, state);
    hd error, y = advance(f.y, f.step, &error), before = hd_at(f.y, 0), after = hd_at(y, 0);
    hd past = hd_lt(after, hd_c(-1e-5)), good = hd_and(hd_le(error, hd_c(1)), hd_not(past));
    hd scale = hd_clip(hd_mul_c(hd_pow_c(hd_maximum_c(error, 1e-6), -.2), .9), hd_c(.2), hd_c(5));
    scale = hd_where(hd_and(past, hd_le(error, hd_c(1))), hd_div(before, hd_sub(before, after)), scale);
    return hd_pack(flight,
        {
            .t = hd_where(good, hd_add(f.t, f.step), f.t),
            .y = hd_where(good, y, f.y),
            .step = hd_mul(f.step, scale),
            .turns = hd_add_c(f.turns, 1),
        });
}

static hd falling(hd state)
{
    flight f = hd_unpack(flight, state);
    return hd_and(hd_gt(hd_at(f.y, 0), hd_c(1e-5)), hd_lt(f.turns, hd_c(1000)));
}

static hd fall(hd angle)
{
    hd start = hd_pack(flight,
        {
            .t = hd_zeros(HD_F32),
            .y = hd_stack(0, angle, hd_zeros(HD_F32)),
            .step = hd_full(hd_c(.1)),
            .turns = hd_zeros(HD_I32),
        });
    return hd_get(hd_while(falling, turn, start), "t");
}

static hd sensitive(hd angle) { return hd_apply(hd_jvp(fall), angle, hd_ones_like(angle)); }
static hd_fn *ode_fn(const int64_t *s) { (void)s; return hd_vmap(sensitive); }
static int ode_args(const int64_t *s, hd_array **a) { a[0] = AR(1, 1.2, 1.5, s[0]); return 1; }

/* ==================== a particle filter: size series, time, particles */

static hd log_density(hd x, hd z)
{
    hd error = hd_div_c(hd_sub(z, x), .4);
    return hd_sub_c(hd_mul_c(hd_square(error), -.5), log(.4) + .5 * log(2 * M_PI));
}

static hd resample(hd key, hd x, hd weights)
{
    int64_t n = hd_dim(x, 0);
    hd shares = hd_div_c(hd_add(hd_random_uniform(key, HD_F32), hd_iota(HD_F32, 0, n)), (double)n);
    hd sums = hd_cumsum(weights, 0);
    return hd_take(x, hd_searchsorted(sums, hd_mul(shares, hd_at(sums, -1))), 0, .mode = HD_CLIP);
}

/* carry: the particles; input: a key, a measurement */
static hd filter(hd x, hd given)
{
    hd keys = hd_random_split(hd_nth(given, 0), 2);
    hd noise = hd_random_normal_n(hd_at(keys, 0), HD_F32, hd_shape(x));
    x = hd_add(hd_mul_c(x, .9), hd_mul_c(noise, .5));
    hd w = log_density(x, hd_nth(given, 1)),
       likelihood = hd_sub(hd_logsumexp(w), hd_c(log((double)hd_dim(x, 0))));
    return hd_tuple(resample(hd_at(keys, 1), x, hd_softmax(w, 0)), likelihood);
}

static hd estimate(hd key, hd zs, const void *particles)
{
    hd keys = hd_random_split(key, hd_dim(zs, 0) + 1),
       start = hd_random_normal(hd_at(keys, 0), HD_F32, *(const int64_t *)particles);
    return hd_sum(hd_nth(hd_scan(filter, start, hd_tuple(hd_slice_axis(keys, 0, 1, HD_LAST), zs)), 1));
}

static hd estimates(hd key, hd zs, const void *particles)
{
    hd_fn *each = hd_vmap(hd_bind(estimate, *(const int64_t *)particles));
    return hd_apply(each, hd_random_split(key, hd_dim(zs, 0)), zs);
}

static hd_fn *particles_fn(const int64_t *s) { return hd_bind(estimates, s[2]); }
static int particles_args(const int64_t *s, hd_array **a)
{
    a[0] = seed_key(5), a[1] = AR(1, 2, 0, s[0], s[1]);
    return 2;
}

/* ==================== an Asian option and its sensitivities, by Monte Carlo: size paths, steps */

#define MARKET(F, S) F(spot) F(sigma) F(rate)
HD_STRUCT(market, MARKET);
typedef struct Paths { int64_t paths, steps; } Paths;

static hd price(hd given, hd key, const void *size)
{
    const Paths *s = size;
    market m = hd_unpack(market, given);
    double dt = 1 / (double)s->steps;
    hd drift = hd_mul_c(hd_sub(m.rate, hd_mul_c(hd_square(m.sigma), .5)), dt);
    hd z = hd_random_normal(key, HD_F32, s->paths, s->steps);
    hd walk = hd_cumsum(hd_add(drift, hd_mul(hd_mul_c(m.sigma, sqrt(dt)), z)), 1);
    hd mean = hd_mean(hd_mul(m.spot, hd_exp(walk)), 1);
    return hd_mul(hd_exp(hd_neg(m.rate)), hd_mean(hd_maximum_c(hd_sub_c(mean, 100), 0)));
}

static hd_fn *asian_fn(const int64_t *s)
{
    Paths p = { s[0], s[1] };
    return hd_value_and_grad(hd_bind(price, p));
}
static int asian_args(const int64_t *s, hd_array **a)
{
    (void)s;
    a[0] = hd_array_pack(market, { .spot = hd_array_scalar(HD_F32, 100),
        .sigma = hd_array_scalar(HD_F32, .25), .rate = hd_array_scalar(HD_F32, .03125) });
    a[1] = seed_key(11);
    return 2;
}

/* ==================== the game of life: size n, steps */

static hd generation(hd i, hd board)
{
    hd around = hd_zeros_like(board);
    (void)i;
    for (int di = -1; di <= 1; di++)
        for (int dj = -1; dj <= 1; dj++)
            if (di || dj)
                around = hd_add(around, hd_roll(hd_roll(board, di, 0), dj, 1));
    hd stays = hd_and(hd_eq(board, hd_c(1)), hd_eq(around, hd_c(2)));
    return hd_cast(hd_or(hd_eq(around, hd_c(3)), stays), HD_I32);
}

static hd life(hd board, const void *steps)
{
    return hd_fori(hd_c(0), hd_c((double)*(const int64_t *)steps), generation, board);
}
static hd_fn *life_fn(const int64_t *s) { return hd_bind(life, s[1]); }
static int life_args(const int64_t *s, hd_array **a) { a[0] = Z(1, 2, s[0], s[0]); return 1; }

/* ==================== a picture by marching along rays: size height, width */

#define RAY(F, S) F(way) F(near) F(steps)
HD_STRUCT(ray, RAY);

static hd vector(double x, double y, double z) { return hd_lit(float, (3), (float)x, (float)y, (float)z); }
static hd unit(hd v) { return hd_div(v, hd_norm(v)); }

static hd distance(hd p)                                /* to a ring with a ball on it over a floor */
{
    hd ring = hd_hypot(hd_sub_c(hd_hypot(hd_at(p, 0), hd_at(p, 2)), 1), hd_at(p, 1));
    hd ball = hd_norm(hd_sub(p, vector(.9, .5, .3)));
    hd both = hd_logaddexp(hd_div_c(hd_sub_c(ring, .3), -.05), hd_div_c(hd_sub_c(ball, .4), -.05));
    return hd_minimum(hd_mul_c(both, -.05), hd_add_c(hd_at(p, 1), .5));
}

static hd point(hd from, hd toward, hd way) { return hd_add(from, hd_mul(toward, way)); }

static hd open_air(hd state)
{
    ray r = hd_unpack(ray, state);
    return hd_and(hd_and(hd_gt(r.near, hd_c(1e-3)), hd_lt(r.way, hd_c(20))), hd_lt(r.steps, hd_c(200)));
}

static hd march(hd from, hd toward, hd state)
{
    ray r = hd_unpack(ray, state);
    r.way = hd_add(r.way, r.near), r.near = distance(point(from, toward, r.way));
    r.steps = hd_add_c(r.steps, 1);
    return hd_pack(ray, r);
}

static hd follow(hd from, hd toward)                    /* how far the ray goes */
{
    hd near = distance(point(from, toward, hd_c(.02)));
    hd start = hd_pack(ray, { .way = hd_full(hd_c(.02)), .near = near, .steps = hd_zeros(HD_I32) });
    return hd_get(hd_while(open_air, hd_partial(march, from, toward), start), "way");
}

static hd shade(hd at)
{
    hd lamp = unit(vector(.5, .8, -.4)), up = unit(hd_apply(hd_grad(distance), at));
    hd way = follow(hd_add(at, hd_mul_c(up, .01)), lamp);
    hd lit = hd_where(hd_gt(way, hd_c(10)), hd_maximum_c(hd_dot(up, lamp), 0), hd_c(0));
    return hd_add_c(hd_mul_c(lit, .8), .1);
}

typedef struct Picture { int64_t height, width; } Picture;

static hd pixel(hd row, hd column, const void *size)
{
    const Picture *p = size;
    double half = (double)p->height / 2;
    hd x = hd_div_c(hd_sub_c(column, (double)(p->width - 1) / 2), half);
    hd y = hd_div_c(hd_c_sub((double)(p->height - 1) / 2, row), half);
    hd eye = vector(0, 1.5, -3.5), ahead = unit(vector(0, -1.5, 3.5)), right = vector(1, 0, 0);
    hd toward = hd_add_all(hd_mul_c(ahead, 1.8), hd_mul(right, x), hd_mul(hd_cross(ahead, right), y));
    hd way = follow(eye, unit(toward));
    hd light = hd_where(hd_lt(way, hd_c(20)), shade(point(eye, unit(toward), way)), hd_c(.05));
    return hd_clip(light, hd_c(0), hd_c(1));
}

static hd_fn *rays_fn(const int64_t *s)
{
    Picture p = { s[0], s[1] };
    hd_fn *line = hd_vmap(hd_bind(pixel, p), .in_axes = { HD_NONE, 0 });
    return hd_vmap(line, .in_axes = { 0, HD_NONE });
}

static int rays_args(const int64_t *s, hd_array **a)
{
    float at[1024];
    for (int i = 0; i < 1024; i++)
        at[i] = (float)i;
    a[0] = hd_array_of(at, s[0]), a[1] = hd_array_of(at, s[1]);
    return 2;
}

/* ==================== k means: size points, clusters, turns */

static hd square_distance(hd x, hd c) { return hd_sum(hd_square(hd_sub(x, c))); }

static hd distances(hd x, hd c)                         /* f32[points,clusters] */
{
    hd_fn *one = hd_vmap(square_distance, .in_axes = { HD_NONE, 0 });
    return hd_apply(hd_vmap(one, .in_axes = { 0, HD_NONE }), x, c);
}

static hd settle(hd x, hd i, hd c)
{
    int64_t k = hd_dim(c, 0), n = hd_dim(x, 0);
    hd to = hd_argmin(distances(x, c), 1);
    (void)i;
    hd sums = hd_segment_sum(x, to, k), counts = hd_segment_sum(hd_ones(HD_F32, n), to, k);
    return hd_div(sums, hd_expand_dims(hd_maximum_c(counts, 1), 1));
}

typedef struct Clusters { int64_t k, turns; } Clusters;

static hd kmeans(hd x, const void *size)
{
    const Clusters *s = size;
    hd start = hd_slice_axis(x, 0, 0, s->k);
    hd c = hd_fori(hd_c(0), hd_c((double)s->turns), hd_partial(settle, x), start);
    return hd_tuple(c, hd_mean(hd_min(distances(x, c), 1)));
}

static hd_fn *kmeans_fn(const int64_t *s)
{
    Clusters c = { s[1], s[2] };
    return hd_bind(kmeans, c);
}
static int kmeans_args(const int64_t *s, hd_array **a) { a[0] = A(1, s[0], 2); return 1; }

/* ==================== optimal transport by Sinkhorn's scaling, and its gradient: size points, turns */

static const double softness = .1;

static hd scale(hd far, hd state, hd nothing)
{
    double log_n = log((double)hd_dim(far, 0));
    hd f = hd_nth(state, 0), g = hd_nth(state, 1);
    (void)nothing;
    hd rows = hd_sub_c(hd_div_c(hd_sub(hd_expand_dims(g, 0), far), softness), log_n);
    f = hd_mul_c(hd_logsumexp(rows, 1), -softness);
    hd columns = hd_sub_c(hd_div_c(hd_sub(hd_expand_dims(f, 1), far), softness), log_n);
    g = hd_mul_c(hd_logsumexp(columns, 0), -softness);
    return hd_tuple(hd_tuple(f, g), HD_NIL);
}

static hd transport(hd x, hd y, const void *turns)
{
    hd far = distances(x, y), zero = hd_zeros(HD_F32, hd_dim(x, 0));
    hd r = hd_scan(hd_partial(scale, far), hd_tuple(zero, zero), HD_NIL, .length = *(const int64_t *)turns);
    return hd_add(hd_mean(hd_nth(hd_nth(r, 0), 0)), hd_mean(hd_nth(hd_nth(r, 0), 1)));
}

static hd_fn *sinkhorn_fn(const int64_t *s) { return hd_value_and_grad(hd_bind(transport, s[1])); }
static int sinkhorn_args(const int64_t *s, hd_array **a)
{
    a[0] = A(1, s[0], 2), a[1] = AR(2, .5, .5, s[0], 2);
    return 2;
}

/* ==================== a Gaussian process: evidence, its gradient, predictions: size points, places */

#define KERNEL(F, S) F(height) F(length) F(noise)
HD_STRUCT(kernel, KERNEL);

static hd rbf(kernel k, hd a, hd b)                     /* f32[n], f32[m] -> f32[n,m] */
{
    hd d = hd_mul(hd_sub(hd_expand_dims(a, 1), hd_expand_dims(b, 0)), hd_exp(hd_neg(k.length)));
    return hd_mul(hd_exp(k.height), hd_exp(hd_mul_c(hd_square(d), -.5)));
}

static hd factor(kernel k, hd x)
{
    hd noise = hd_mul(hd_add_c(hd_exp(k.noise), 1e-4), hd_eye(HD_F32, hd_dim(x, 0)));
    return hd_cholesky(hd_add(rbf(k, x, x), noise));
}

static hd surprise(hd params, hd x, hd y)
{
    hd L = factor(hd_unpack(kernel, params), x);
    return hd_add(hd_mul_c(hd_dot(y, hd_cho_solve(L, y)), .5), hd_sum(hd_log(hd_diag(L))));
}

static hd nudge(hd p, hd g) { return hd_sub(p, hd_mul_c(g, .01)); }

static hd gaussian(hd params, hd x, hd noise, hd at)
{
    hd y = hd_add(hd_sin(hd_mul_c(x, 3)), hd_mul_c(noise, .1));
    hd r = hd_apply(hd_value_and_grad(surprise), params, x, y);
    kernel k = hd_unpack(kernel, hd_tree_map(nudge, params, hd_nth(r, 1)));
    hd L = factor(k, x), K = rbf(k, at, x), v = hd_triangular_solve(L, hd_transpose(K));
    hd variance = hd_sub(hd_exp(k.height), hd_sum(hd_square(v), 0));
    return hd_tuple(hd_nth(r, 0), hd_nth(r, 1), hd_dot(K, hd_cho_solve(L, y)), variance);
}

static hd_fn *gaussian_fn(const int64_t *s) { (void)s; return HD_FN(gaussian); }
static int gaussian_args(const int64_t *s, hd_array **a)
{
    float at[1024];
    for (int i = 0; i < s[1]; i++)
        at[i] = (float)(-2 + 4 * (double)i / (double)(s[1] - 1));
    a[0] = hd_array_pack(kernel, { .height = hd_array_scalar(HD_F32, 0),
        .length = hd_array_scalar(HD_F32, -1), .noise = hd_array_scalar(HD_F32, -3) });
    a[1] = AR(1, 2, 0, s[0]), a[2] = A(2, s[0]), a[3] = hd_array_of(at, s[1]);
    return 4;
}

/* ==================== the group */

#define ROW(n, ...) \
    { .name = "first_" #n, .group = "first", .function = n##_fn, .args = n##_args, .target = 1, __VA_ARGS__ }
#define AT(...)     .size = { __VA_ARGS__ }
#define SMALL(...)  .small = { __VA_ARGS__ }

const Workload first_workloads[] = {
    ROW(kalman, AT(16, 200), SMALL(3, 6), .tol = 1e-4),
    ROW(hmc, AT(32, 300), SMALL(2, 5), .tol = 1e-2, .sum_only = true),
    ROW(fit, AT(64, 32), SMALL(2, 8), .tol = 1e-3),
    ROW(ode, AT(64), SMALL(2), .tol = 1e-3, .sum_only = true),
    ROW(particles, AT(6, 40, 1000), SMALL(2, 3, 20), .tol = 2e-2, .sum_only = true),
    ROW(asian, AT(4096, 64), SMALL(8, 5), .tol = 1e-4),
    ROW(life, AT(128, 64), SMALL(8, 3)),
    ROW(rays, AT(64, 96), SMALL(4, 6), .tol = 1e-3, .sum_only = true),
    ROW(kmeans, AT(20000, 16, 20), SMALL(50, 4, 2), .tol = 1e-3, .sum_only = true),
    ROW(sinkhorn, AT(200, 50), SMALL(6, 3), .tol = 1e-3),
    ROW(gaussian, AT(100, 50), SMALL(6, 4), .tol = 1e-3),
    { 0 },
};
