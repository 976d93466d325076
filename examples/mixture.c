/* A mixture of Gaussians fitted by expectation and maximisation, from many starts at once: each lane of a
 * while goes on until its own likelihood settles, and the best end is taken. */
#include <getopt.h>
#include <heddle.h>
#include <math.h>
#include <stdlib.h>

enum { PARTS = 3, POINTS = 150 };

#define MIXTURE(F, S) F(share) F(mean) F(variance)
HD_STRUCT(mixture, MIXTURE);                            /* f32[PARTS], f32[PARTS,2], f32[PARTS] */
#define SEARCH(F, S) S(mixture, m) F(loglik) F(gain) F(turns)
HD_STRUCT(search, SEARCH);

/* The logarithm of each part's density times its share, of one point: f32[PARTS]. */
static hd parts(hd model, hd x)
{
    mixture m = hd_unpack(mixture, model);
    hd square = hd_sum(hd_square(hd_sub(x, m.mean)), -1);
    return hd_sub(hd_log(m.share),
        hd_add(hd_log(hd_mul_c(m.variance, 2 * M_PI)), hd_div(square, hd_mul_c(m.variance, 2))));
}

/* Whose are the points, as far as one can tell? Then the parts as those points have them. */
static hd turn(hd xs, hd state)
{
    search s = hd_unpack(search, state);
    hd logs = hd_apply(hd_vmap(parts, .in_axes = { HD_NONE, 0 }), hd_pack(mixture, s.m), xs);
    hd loglik = hd_sum(hd_logsumexp(logs, -1)), whose = hd_softmax(logs, -1), count = hd_sum(whose, 0);
    hd mean = hd_div(hd_matmul(hd_transpose(whose), xs), hd_expand_dims(count, 1));
    hd apart = hd_sum(hd_square(hd_sub(hd_expand_dims(xs, 1), mean)), -1);
    return hd_pack(search, {
        .m = { .share = hd_div_c(count, POINTS), .mean = mean,
            .variance = hd_add_c(hd_div(hd_sum(hd_mul(whose, apart), 0), hd_mul_c(count, 2)), 1e-4) },
        .loglik = loglik, .gain = hd_sub(loglik, s.loglik), .turns = hd_add_c(s.turns, 1),
    });
}

static hd rising(hd state)
{
    search s = hd_unpack(search, state);
    return hd_and(hd_gt(s.gain, hd_c(1e-3)), hd_lt(s.turns, hd_c(500)));
}

static hd fit(hd key, hd xs)                            /* from PARTS of the points as means */
{
    hd start = hd_pack(search,
        {
            .m = { .share = hd_full(hd_c(1. / PARTS), PARTS),
                .mean = hd_random_choice(key, xs, PARTS, false),
                .variance = hd_ones(HD_F32, PARTS) },
            .loglik = hd_full(hd_c(-1e9)),
            .gain = hd_full(hd_c(1e9)),
            .turns = hd_zeros(HD_I32),
        });
    return hd_while(rising, hd_partial(turn, xs), start);
}

/* f32[POINTS,2], a third around each of three places */
static hd points(hd key)
{
    hd places = hd_lit(float, (PARTS, 2), 0, 0, 3, 1, -1, 3),
       widths = hd_lit(float, (PARTS, 1), 0.5f, 0.8f, 0.3f);
    hd part = hd_rem(hd_iota(HD_I32, 0, POINTS), hd_c(PARTS));
    return hd_add(hd_take(places, part, 0),
        hd_mul(hd_take(widths, part, 0), hd_random_normal(key, HD_F32, POINTS, 2)));
}

/* of many starts: the mixture, sorted by its means, and its likelihood */
static hd best(hd key, const void *env)
{
    hd xs = points(key), keys = hd_random_split(hd_random_fold_in(key, hd_c(1)), *(const int *)env);
    search all = hd_unpack(search, hd_apply(hd_vmap(fit, .in_axes = { 0, HD_NONE }), keys, xs));
    hd i = hd_argmax(all.loglik, 0), mean = hd_at(all.m.mean, i),
       order = hd_argsort(hd_index(mean, 1, 0), 0);
    return hd_tuple(hd_take(hd_at(all.m.share, i), order, 0), hd_take(mean, order, 0),
        hd_sqrt(hd_take(hd_at(all.m.variance, i), order, 0)), hd_max(all.loglik));
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "device", 1, NULL, 'd' }, { "starts", 1, NULL, 'n' }, { 0 } };
    int starts = 16, status = 1;
    hd_array *key = hd_array_key(7), *out[4] = { NULL };

    for (int k; (k = getopt_long(argc, argv, "d:n:", options, NULL)) != -1; )
        if (k == '?' || (k == 'd' && !hd_default_device(optarg)))
            goto fail;
        else if (k == 'n')
            starts = atoi(optarg);
    if (hd_call(hd_bind(best, starts), out, key))
        goto fail;
    for (int i = 0; i < 4; i++)
        hd_print(stdout, out[i]);
    status = 0;
fail:
    if (status)
        fprintf(stderr, "%s\n", hd_error());
    hd_drop(key);
    for (int i = 0; i < 4; i++)
        hd_drop(out[i]);
    return status;
}
