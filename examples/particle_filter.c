/* A particle filter: the likelihood of a series, estimated by many guesses of the hidden state that are
 * moved, weighed and drawn anew. One scan over time; resampling is hd_searchsorted in the running sum of
 * weights; several series at once by vmap. The model is linear, so that Kalman's filter gives the exact
 * likelihood to compare with. */
#include <getopt.h>
#include <heddle.h>
#include <math.h>
#include <stdlib.h>

enum { SERIES = 6, TIME = 40 };
/* x' = decay x + motion noise, z = x + error noise */
static const double decay = 0.9, motion = 0.5, error = 0.4;

static hd move(hd x, hd noise) { return hd_add(hd_mul_c(x, decay), hd_mul_c(noise, motion)); }

static hd log_density(hd x, hd z)                       /* of measuring z where x is */
{
    return hd_sub(
        hd_mul_c(hd_square(hd_div_c(hd_sub(z, x), error)), -0.5), hd_c(log(error) + 0.5 * log(2 * M_PI)));
}

/* The particles at evenly spaced shares of the sum of weights, from a random first one on. */
static hd resample(hd key, hd x, hd weights)
{
    int64_t n = hd_dim(x, 0);
    hd first = hd_random_uniform(key, HD_F32),
       shares = hd_div_c(hd_add(first, hd_iota(HD_F32, 0, n)), (double)n);
    hd sums = hd_cumsum(weights, 0);
    return hd_take(x, hd_searchsorted(sums, hd_mul(shares, hd_at(sums, -1))), 0, .mode = HD_CLIP);
}

/* carry: the particles; input: a key and a measurement */
static hd filter(hd x, hd input)
{
    hd keys = hd_random_split(hd_nth(input, 0), 2);
    x = move(x, hd_random_normal_n(hd_at(keys, 0), HD_F32, hd_shape(x)));
    hd w = log_density(x, hd_nth(input, 1)),
       likelihood = hd_sub(hd_logsumexp(w), hd_c(log((double)hd_dim(x, 0))));
    return hd_tuple(resample(hd_at(keys, 1), x, hd_softmax(w, 0)), likelihood);
}

static hd loglik(hd key, hd zs, const void *env)        /* u32[2], f32[time] -> f32[] */
{
    hd keys = hd_random_split(key, hd_dim(zs, 0) + 1),
       start = hd_random_normal(hd_at(keys, 0), HD_F32, *(const int *)env);
    return hd_sum(hd_nth(hd_scan(filter, start, hd_tuple(hd_slice_axis(keys, 0, 1, HD_LAST), zs)), 1));
}

static hd go(hd x, hd noise)
{
    x = move(x, hd_at(noise, 0));
    return hd_tuple(x, hd_add(x, hd_mul_c(hd_at(noise, 1), error)));
}

static hd measure(hd key)                               /* u32[2] -> f32[TIME] */
{
    hd keys = hd_random_split(key, 2);
    return hd_nth(hd_scan(go, hd_random_normal(hd_at(keys, 0), HD_F32),
                      hd_random_normal(hd_at(keys, 1), HD_F32, TIME, 2)),
        1);
}

static hd measure_all(hd key) { return hd_apply(hd_vmap(measure), hd_random_split(key, SERIES)); }
static hd split(hd key) { return hd_random_split(hd_random_fold_in(key, hd_c(1)), SERIES); }

static double exact(const float *z)                     /* Kalman's filter of one number */
{
    double mean = 0, variance = 1, sum = 0;

    for (int t = 0; t < TIME; t++) {
        mean *= decay, variance = decay * decay * variance + motion * motion;
        double all = variance + error * error, surprise = (double)z[t] - mean;
        sum -= 0.5 * (surprise * surprise / all + log(2 * M_PI * all));
        mean += variance / all * surprise, variance *= error * error / all;
    }
    return sum;
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "device", 1, NULL, 'd' }, { "particles", 1, NULL, 'n' },
        { 0 } };
    int particles = 1000, status = 1;
    hd_array *key = hd_array_key(5), *keys = NULL, *zs = NULL, *out = NULL;
    float estimate[SERIES];
    double worst = 0;

    for (int k; (k = getopt_long(argc, argv, "d:n:", options, NULL)) != -1; )
        if (k == '?' || (k == 'd' && !hd_default_device(optarg)))
            goto fail;
        else if (k == 'n')
            particles = atoi(optarg);
    if (hd_call(measure_all, &zs, key) || hd_call(split, &keys, key) ||
        hd_call(hd_vmap(hd_bind(loglik, particles)), &out, keys, zs) || hd_read(out, estimate, SERIES))
        goto fail;
    for (int i = 0; i < SERIES; i++) {
        double sum = exact((const float *)hd_data(zs) + TIME * i);
        printf("log-likelihood %.3f\n", sum);
        worst = fmax(worst, fabs(sum - (double)estimate[i]));
    }
    printf("estimates %s\n", worst < 30 / sqrt(particles) ? "agree" : "differ");
    status = 0;
fail:
    if (status)
        fprintf(stderr, "%s\n", hd_error());
    hd_drop(key), hd_drop(keys), hd_drop(zs), hd_drop(out);
    return status;
}
