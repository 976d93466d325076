/* A Kalman filter of a position that drifts, and the noise that explains the measurements best: Newton's
 * method on the likelihood, whose gradient and Hessian go through the scan over time. Many tracks at once by
 * vmap. */
#include <getopt.h>
#include <heddle.h>
#include <math.h>
#include <stdlib.h>

#define BELIEF(F, S) F(mean) F(covariance) F(loglik)
HD_STRUCT(belief, BELIEF);

/* of position and velocity */
static hd motion(void) { return hd_lit(float, (2, 2), 1, 1, 0, 1); }
/* by a random acceleration */
static hd spread(void) { return hd_lit(float, (2, 2), 1.f / 3, 0.5f, 0.5f, 1); }

/* One step: predict, then learn from the measurement z. noise: logarithms of the variances of motion and
 * measurement. */
static hd learn(hd noise, hd before, hd z)
{
    belief b = hd_unpack(belief, before);
    hd P = hd_matmul(hd_matmul(motion(), b.covariance), hd_transpose(motion()));
    P = hd_add(P, hd_mul(hd_exp(hd_at(noise, 0)), spread()));
    hd mean = hd_dot(motion(), b.mean), variance = hd_add(hd_at(P, 0, 0), hd_exp(hd_at(noise, 1)));
    hd surprise = hd_sub(z, hd_at(mean, 0)), gain = hd_div(hd_at(P, 0), variance);
    hd cost = hd_add_all(hd_div(hd_square(surprise), variance), hd_log(variance), log(2 * M_PI));
    return hd_tuple(hd_pack(belief, {
        .mean = hd_add(mean, hd_mul(gain, surprise)),
        .covariance = hd_sub(P, hd_outer(gain, hd_at(P, 0))),
        .loglik = hd_sub(b.loglik, hd_mul_c(cost, 0.5)),
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

/* A step of Newton's method uphill, of 1 at most; the Hessian is 2 by 2. */
static hd newton(hd zs, hd i, hd noise)
{
    (void)i;
    hd g = hd_apply(hd_grad(loglik), noise, zs), H = hd_apply(hd_hessian(loglik), noise, zs);
    hd a = hd_at(H, 0, 0), b = hd_at(H, 0, 1), d = hd_at(H, 1, 1), u = hd_at(g, 0), v = hd_at(g, 1);
    hd determinant = hd_sub(hd_mul(a, d), hd_square(b));
    hd step = hd_stack(0, hd_sub(hd_mul(d, u), hd_mul(b, v)), hd_sub(hd_mul(a, v), hd_mul(b, u)));
    return hd_sub(noise, hd_clip(hd_div(step, determinant), hd_c(-1), hd_c(1)));
}

/* The start's log-likelihood and gradient; the noise after some steps, and the log-likelihood there. */
static hd fit(hd zs)
{
    hd start = hd_lit(float, (2), -3, -1), first = hd_apply(hd_value_and_grad(loglik), start, zs);
    hd best = hd_fori(hd_c(0), hd_c(8), hd_partial(newton, zs), start);
    return hd_tuple(hd_nth(first, 0), hd_nth(first, 1), best, loglik(best, zs));
}

/* What is measured: the velocity changes at random with variance 0.01, the measurement errs with variance
 * 0.25. */
static hd move(hd state, hd shock)
{
    hd v = hd_at(state, 1), a = hd_mul_c(hd_at(shock, 0), 0.1);
    hd next = hd_stack(0, hd_add_all(hd_at(state, 0), v, hd_mul_c(a, 0.5)), hd_add(v, a));
    return hd_tuple(next, hd_add(hd_at(next, 0), hd_mul_c(hd_at(shock, 1), 0.5)));
}

static hd measure(hd shocks) { return hd_nth(hd_scan(move, hd_zeros(HD_F32, 2), shocks), 1); }

struct size { int tracks, time; };

static hd draw(hd key, const void *env)
{
    const struct size *s = env;
    return hd_apply(hd_vmap(measure), hd_random_normal(key, HD_F32, s->tracks, s->time, 2));
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "device", 1, NULL, 'd' }, { "tracks", 1, NULL, 'n' },
        { "time", 1, NULL, 't' }, { 0 } };
    struct size size = { 4, 200 };
    hd_array *key = hd_array_key(1), *zs = NULL, *out[4] = { NULL };
    int status = 1;

    for (int k; (k = getopt_long(argc, argv, "d:n:t:", options, NULL)) != -1; )
        if (k == '?' || (k == 'd' && !hd_default_device(optarg)))
            goto fail;
        else if (k != 'd')
            *(k == 'n' ? &size.tracks : &size.time) = atoi(optarg);
    if (hd_call(hd_bind(draw, size), &zs, key) || hd_call(hd_vmap(fit), out, zs))
        goto fail;
    for (int i = 0; i < 4; i++)
        hd_print(stdout, out[i]);
    status = 0;
fail:
    if (status)
        fprintf(stderr, "%s\n", hd_error());
    for (int i = 0; i < 4; i++)
        hd_drop(out[i]);
    hd_drop(key), hd_drop(zs);
    return status;
}
