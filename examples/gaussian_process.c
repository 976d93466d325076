/* A Gaussian process: a function from some noisy values of it, with how sure that is. How smooth, how
 * large and how noisy the function is, is what makes its values likeliest: Newton's method on the marginal
 * likelihood, whose gradient and Hessian go through the Cholesky factor of the covariance. */
#include <getopt.h>
#include <heddle.h>
#include <math.h>
#include <stdlib.h>

enum { POINTS = 40, TESTS = 5 };

/* logarithms of the length, the amplitude and the noise: f32[3] */
static hd near(hd p, hd x, hd y) /* the covariance of the function at two numbers */
{
    hd far = hd_div(hd_sub(x, y), hd_exp(hd_at(p, 0)));
    return hd_mul(hd_exp(hd_mul_c(hd_at(p, 1), 2)), hd_exp(hd_mul_c(hd_square(far), -0.5)));
}

static hd covariance(hd p, hd x, hd y)
{
    hd_fn *rows = hd_vmap(near, .in_axes = { HD_NONE, HD_NONE, 0 });
    return hd_apply(hd_vmap(rows, .in_axes = { HD_NONE, 0, HD_NONE }), p, x, y);
}

static hd factor(hd p, hd x)
{
    hd noise = hd_mul(hd_exp(hd_mul_c(hd_at(p, 2), 2)), hd_eye(HD_F32, hd_dim(x, 0)));
    return hd_cholesky(hd_add(covariance(p, x, x), noise));
}

static hd likelihood(hd p, hd x, hd y)
{
    hd l = factor(p, x), u = hd_triangular_solve(l, y);
    hd volume = hd_sum(hd_log(hd_diag(l)));
    double rest = 0.5 * (double)hd_dim(x, 0) * log(2 * M_PI);
    return hd_sub(hd_sub(hd_mul_c(hd_dot(u, u), -0.5), volume), hd_c(rest));
}

/* A step uphill, of 1 at most. */
static hd newton(hd x, hd y, hd i, hd p)
{
    (void)i;
    hd g = hd_apply(hd_grad(likelihood), p, x, y), H = hd_apply(hd_hessian(likelihood), p, x, y);
    return hd_sub(p, hd_clip(hd_solve(H, g), hd_c(-1), hd_c(1)));
}

/* (likelihood and its gradient at the start, parameters, likelihood there, mean and deviation at the
 * tests) */
static hd fit(hd x, hd y, hd tests)
{
    hd start = hd_lit(float, (3), -0.5, 0, -1.5),
       first = hd_apply(hd_value_and_grad(likelihood), start, x, y);
    hd p = hd_fori(hd_c(0), hd_c(8), hd_partial(newton, x, y), start);
    hd l = factor(p, x), across = covariance(p, x, tests);
    hd mean = hd_dot(hd_cho_solve(l, y), across), known = hd_triangular_solve(l, across);
    hd variance = hd_sub(hd_exp(hd_mul_c(hd_at(p, 1), 2)), hd_sum(hd_square(known), 0));
    return hd_tuple(
        hd_nth(first, 0), hd_nth(first, 1), p, likelihood(p, x, y), hd_stack(0, mean, hd_sqrt(variance)));
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "device", 1, NULL, 'd' }, { 0 } };
    float x[POINTS], y[POINTS], tests[TESTS] = { -2.5f, -1, 0, 1.5f, 3.5f };
    hd_array *in[3] = { NULL }, *out[5] = { NULL };
    int status = 1;

    for (int k; (k = getopt_long(argc, argv, "d:", options, NULL)) != -1;)
        if (k == '?' || !hd_default_device(optarg))
            goto fail;
    for (int k = 0; k < POINTS; k++) { /* errors of a tenth, from a simple generator */
        double error = (k * 7919 % 101 / 100.0 - 0.5) * 0.35;
        x[k] = (float)(-3 + 6.0 * k / (POINTS - 1));
        y[k] = (float)(sin(2 * (double)x[k]) + 0.3 * (double)x[k] + error);
    }
    in[0] = hd_array_of(x, POINTS), in[1] = hd_array_of(y, POINTS), in[2] = hd_array_of(tests, TESTS);
    if (hd_call(fit, out, in[0], in[1], in[2]))
        goto fail;
    for (int k = 0; k < 5; k++)
        hd_print(stdout, out[k]);
    status = 0;
fail:
    if (status)
        fprintf(stderr, "%s\n", hd_error());
    for (int k = 0; k < 5; k++)
        hd_drop(out[k]);
    for (int k = 0; k < 3; k++)
        hd_drop(in[k]);
    return status;
}
