/* The heat equation on a torus, by its Fourier series: each wave exp(i (k x + l y)) decays by itself, as
 * exp(-nu (k^2 + l^2) t). And the way back: which nu explains the temperatures that were measured, by
 * Newton's method through the transforms. */
#include <getopt.h>
#include <heddle.h>
#include <math.h>
#include <stdlib.h>

static const double end = 0.5;

/* k^2 + l^2 of each coefficient that hd_rfft gives of [n, n] */
static hd laplacian(int64_t n)
{
    hd k = hd_fftfreq(HD_F32, n, 1.0 / (double)n), l = hd_rfftfreq(HD_F32, n, 1.0 / (double)n);
    return hd_add(hd_expand_dims(hd_square(k), 1), hd_square(l));
}

static hd heat(hd nu, hd start) /* f32[], f32[n, n] -> f32[n, n] */
{
    int64_t n = hd_dim(start, 0);
    hd decay = hd_exp(hd_mul(hd_mul_c(nu, -end), laplacian(n)));
    hd waves = hd_rfft(start, 0, 1);
    waves = hd_complex(hd_mul(hd_real(waves), decay), hd_mul(hd_imag(waves), decay));
    return hd_irfft(waves, n, 0, 1);
}

static hd x(int64_t n, int axis)
{
    return hd_expand_dims(hd_mul_c(hd_arange(HD_F32, 0, (double)n, 1), 2 * M_PI / (double)n), 1 - axis);
}

/* sin x cos 2y + cos 3x / 2, which decay as exp(-5 nu t) and exp(-9 nu t) */
static hd waves(hd nu, double t, int64_t n)
{
    hd one = hd_mul(hd_sin(x(n, 0)), hd_cos(hd_mul_c(x(n, 1), 2)));
    hd two = hd_mul_c(hd_cos(hd_mul_c(x(n, 0), 3)), 0.5);
    return hd_add(hd_mul(one, hd_exp(hd_mul_c(nu, -5 * t))), hd_mul(two, hd_exp(hd_mul_c(nu, -9 * t))));
}

static hd misfit(hd nu, hd start, hd measured)
{
    return hd_mean(hd_square(hd_sub(heat(nu, start), measured)));
}

static hd newton(hd start, hd measured, hd i, hd nu)
{
    (void)i;
    hd slope = hd_apply(hd_grad(misfit), nu, start, measured);
    hd bend = hd_apply(hd_grad(hd_grad(misfit)), nu, start, measured);
    return hd_sub(nu, hd_div(slope, bend));
}

/* How far the series is from the solution in closed form; the heat that is left of a hot square; nu, as
 * it was found from a first guess. */
static hd solve(hd nu, const void *size)
{
    int64_t n = *(const int *)size;
    hd series = heat(nu, waves(nu, 0, n)), error = hd_max(hd_abs(hd_sub(series, waves(nu, end, n))));
    hd in = hd_cast(hd_lt(hd_abs(hd_sub(x(n, 0), hd_c(M_PI))), hd_c(1)), HD_F32);
    hd square = hd_mul(in, hd_transpose(in)), after = heat(nu, square);
    hd found = hd_fori(hd_c(0), hd_c(6), hd_partial(newton, square, after), hd_mul_c(nu, 0.5));
    return hd_tuple(error, hd_mean(square), hd_mean(after), hd_max(after), found);
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "device", 1, NULL, 'd' }, { "size", 1, NULL, 'n' }, { 0 } };
    int size = 64, status = 1;
    hd_array *nu = NULL, *out[5] = { NULL };

    for (int k; (k = getopt_long(argc, argv, "d:n:", options, NULL)) != -1;)
        if (k == '?' || (k == 'd' && !hd_default_device(optarg)))
            goto fail;
        else if (k == 'n')
            size = atoi(optarg);
    nu = hd_array_of((float[]){ 0.2f });
    if (hd_call(hd_bind(solve, size), out, nu))
        goto fail;
    printf("error of the series below 1e-5: %s\n", hd_item(out[0]) < 1e-5 ? "yes" : "no");
    printf("a hot square: mean %.4f then %.4f, hottest %.4f\n", hd_item(out[1]), hd_item(out[2]),
        hd_item(out[3]));
    printf("conductivity found %.4f\n", hd_item(out[4]));
    status = 0;
fail:
    if (status)
        fprintf(stderr, "%s\n", hd_error());
    for (int k = 0; k < 5; k++)
        hd_drop(out[k]);
    hd_drop(nu);
    return status;
}
