/* Hamiltonian Monte Carlo: the posterior of a logistic regression. A chain is a scan of draws, a draw a scan
 * of leapfrog steps along hd_grad of the energy; the chains run side by side by vmap, each with its key. */
#include <getopt.h>
#include <heddle.h>
#include <stdlib.h>

enum { POINTS = 12, LEAPS = 5 };

/* f32[2] -> f32[]: minus the logarithm of prior times likelihood */
static hd energy(hd w)
{
    hd x = hd_lit(float, (POINTS), -3, -2.4f, -1.8f, -1.4f, -1, -0.4f, 0.2f, 0.7f, 1.1f, 1.9f, 2.3f, 3);
    hd y = hd_lit(float, (POINTS), 0, 0, 0, 1, 0, 0, 1, 0, 1, 1, 1, 1);
    hd logits = hd_add(hd_at(w, 0), hd_mul(hd_at(w, 1), x));
    return hd_add(hd_div_c(hd_dot(w, w), 8), hd_sum(hd_sigmoid_cross_entropy(logits, y)));
}

static hd push(hd w, hd p, double step) { return hd_sub(p, hd_mul_c(hd_apply(hd_grad(energy), w), step)); }

static hd leap(hd state, hd nothing)                    /* position and momentum, one step on */
{
    (void)nothing;
    hd p = push(hd_nth(state, 0), hd_nth(state, 1), 0.15), w = hd_add(hd_nth(state, 0), hd_mul_c(p, 0.3));
    return hd_tuple(hd_tuple(w, push(w, p, 0.15)), HD_NIL);
}

static hd total(hd w, hd p) { return hd_add(energy(w), hd_mul_c(hd_dot(p, p), 0.5)); }

/* A new momentum, a path, and whether its end is taken: its energy differs from the start's by the error of
 * the steps alone. */
static hd draw(hd w, hd key)
{
    hd keys = hd_random_split(key, 2), p = hd_random_normal(hd_at(keys, 0), HD_F32, 2);
    hd end = hd_nth(hd_scan(leap, hd_tuple(w, p), HD_NIL, .length = LEAPS), 0);
    hd gain = hd_sub(total(w, p), total(hd_nth(end, 0), hd_nth(end, 1)));
    hd taken = hd_lt(hd_log(hd_random_uniform(hd_at(keys, 1), HD_F32)), gain);
    w = hd_where(taken, hd_nth(end, 0), w);
    return hd_tuple(w, hd_tuple(w, hd_cast(taken, HD_F32)));
}

struct size { int chains, draws; };

static hd chain(hd key, const void *env)                /* tuple(f32[draws,2], f32[draws]) */
{
    const struct size *s = env;
    return hd_nth(hd_scan(draw, hd_zeros(HD_F32, 2), hd_random_split(key, s->draws)), 1);
}

/* means, standard deviations, share of paths taken */
static hd sample(hd key, const void *env)
{
    struct size s = *(const struct size *)env;
    hd r = hd_apply(hd_vmap(hd_bind(chain, s)), hd_random_split(key, s.chains));
    /* the first fifth is the way there */
    hd w = hd_slice_axis(hd_nth(r, 0), 1, s.draws / 5, HD_LAST);
    return hd_tuple(hd_mean(w, 0, 1), hd_std(w, 0, 1), hd_mean(hd_nth(r, 1)));
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "device", 1, NULL, 'd' }, { "chains", 1, NULL, 'c' },
        { "draws", 1, NULL, 'n' }, { 0 } };
    struct size size = { 32, 300 };
    hd_array *key = hd_array_key(0), *out[3] = { NULL };
    float mean[2], deviation[2];
    int status = 1;

    for (int k; (k = getopt_long(argc, argv, "d:c:n:", options, NULL)) != -1; )
        if (k == '?' || (k == 'd' && !hd_default_device(optarg)))
            goto fail;
        else if (k != 'd')
            *(k == 'c' ? &size.chains : &size.draws) = atoi(optarg);
    if (hd_call(hd_bind(sample, size), out, key) || hd_read(out[0], mean, 2) ||
        hd_read(out[1], deviation, 2))
        goto fail;
    printf("offset %.2f deviation %.2f\nslope  %.2f deviation %.2f\n", (double)mean[0], (double)deviation[0],
        (double)mean[1], (double)deviation[1]);
    printf("taken  %.2f\n", hd_item(out[2]));
    status = 0;
fail:
    if (status)
        fprintf(stderr, "%s\n", hd_error());
    hd_drop(key), hd_drop(out[0]), hd_drop(out[1]), hd_drop(out[2]);
    return status;
}
