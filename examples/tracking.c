/* Where something is that three stations see: a Kalman filter whose gain is a solve inside the scan, 3
 * measurements at a time of a state of 4. Many tracks at once by vmap, and the gradient of the likelihood
 * by the noises. */
#include <getopt.h>
#include <heddle.h>
#include <math.h>
#include <stdlib.h>

#define BELIEF(F, S) F(mean) F(covariance) F(loglik)
HD_STRUCT(belief, BELIEF);

/* of position and velocity in the plane, a tenth of a second later */
static hd motion(void) { return hd_lit(float, (4, 4), 1, 0, 0.1, 0, 0, 1, 0, 0.1, 0, 0, 1, 0, 0, 0, 0, 1); }
/* along the direction of each station */
static hd seen(void) { return hd_lit(float, (3, 4), 1, 0, 0, 0, 0, 1, 0, 0, 0.6, 0.8, 0, 0); }

/* noise: logarithms of the variances of motion and measurement */
static hd learn(hd noise, hd before, hd z)
{
    belief b = hd_unpack(belief, before);
    hd F = motion(), H = seen(), drift = hd_mul(hd_exp(hd_at(noise, 0)), hd_eye(HD_F32, 4));
    hd mean = hd_dot(F, b.mean), P = hd_add(hd_matmul(hd_matmul(F, b.covariance), hd_transpose(F)), drift);
    hd HP = hd_matmul(H, P);
    hd S = hd_add(hd_matmul(HP, hd_transpose(H)), hd_mul(hd_exp(hd_at(noise, 1)), hd_eye(HD_F32, 3)));
    hd surprise = hd_sub(z, hd_dot(H, mean)), gain = hd_transpose(hd_solve(S, HP));
    hd volume = hd_nth(hd_slogdet(S), 1), weight = hd_dot(surprise, hd_solve(S, surprise));
    hd cost = hd_add_all(weight, volume, 3 * log(2 * M_PI));
    return hd_tuple(hd_pack(belief,
                        {
                            .mean = hd_add(mean, hd_dot(gain, surprise)),
                            .covariance = hd_sub(P, hd_matmul(gain, HP)),
                            .loglik = hd_sub(b.loglik, hd_mul_c(cost, 0.5)),
                        }),
        HD_NIL);
}

static hd track(hd noise, hd zs) /* f32[2], f32[time, 3] -> the belief at the end */
{
    hd start = hd_pack(belief,
        {
            .mean = hd_zeros(HD_F32, 4),
            .covariance = hd_mul_c(hd_eye(HD_F32, 4), 10),
            .loglik = hd_zeros(HD_F32),
        });
    return hd_nth(hd_scan(hd_partial(learn, noise), start, zs), 0);
}

static hd loglik(hd noise, hd zs) { return hd_get(track(noise, zs), "loglik"); }

/* What is left of a circle that each track follows from a start of its own, with errors of 0.2. */
static hd see(hd k, hd time)
{
    hd angle = hd_add(hd_mul_c(time, 0.05), k),
       error = hd_mul_c(hd_sin(hd_mul_c(hd_add(time, hd_mul_c(k, 7)), 11.7)), 0.2);
    hd at = hd_stack(0, hd_mul_c(hd_cos(angle), 3), hd_mul_c(hd_sin(angle), 3), hd_c(0), hd_c(0));
    return hd_add(hd_dot(seen(), at), hd_mul(error, hd_lit(float, (3), 1, -0.5, 0.7)));
}

static hd run(hd noise, hd tracks, hd times)
{
    hd zs =
        hd_apply(hd_vmap(hd_vmap(see, .in_axes = { HD_NONE, 0 }), .in_axes = { 0, HD_NONE }), tracks, times);
    hd ends = hd_apply(hd_vmap(track, .in_axes = { HD_NONE, 0 }), noise, zs);
    hd slopes = hd_apply(hd_vmap(hd_grad(loglik), .in_axes = { HD_NONE, 0 }), noise, zs);
    return hd_tuple(hd_get(ends, "mean"), hd_get(ends, "loglik"), slopes);
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "device", 1, NULL, 'd' }, { "tracks", 1, NULL, 'n' },
        { "time", 1, NULL, 't' }, { 0 } };
    int tracks = 4, time = 100, status = 1;
    hd_array *in[3] = { NULL }, *out[3] = { NULL };

    for (int k; (k = getopt_long(argc, argv, "d:n:t:", options, NULL)) != -1;)
        if (k == '?' || (k == 'd' && !hd_default_device(optarg)))
            goto fail;
        else if (k != 'd')
            *(k == 'n' ? &tracks : &time) = atoi(optarg);
    float *count = calloc((size_t)(tracks > time ? tracks : time), sizeof *count);
    for (int k = 0; count && k < (tracks > time ? tracks : time); k++)
        count[k] = (float)k;
    in[0] = hd_array_of(((float[]){ -4, -3 }), 2);
    in[1] = hd_array_of(count, tracks), in[2] = hd_array_of(count, time);
    free(count);
    if (hd_call(run, out, in[0], in[1], in[2]))
        goto fail;
    for (int k = 0; k < 3; k++)
        hd_print(stdout, out[k]);
    status = 0;
fail:
    if (status)
        fprintf(stderr, "%s\n", hd_error());
    for (int k = 0; k < 3; k++)
        hd_drop(in[k]), hd_drop(out[k]);
    return status;
}
