/* Curves fitted to many data sets at once: the Levenberg-Marquardt method in a while, so that each data set
 * takes the steps that it needs. The Jacobian of the residuals is hd_jacfwd's; the 3 by 3 system is solved
 * by cross products. */
#include <getopt.h>
#include <heddle.h>
#include <stdlib.h>

enum { POINTS = 16 };

#define SEARCH(F, S) F(p) F(cost) F(damping) F(step) F(turns)
HD_STRUCT(search, SEARCH);

static hd times(void) { return hd_linspace(HD_F32, 0, 4, POINTS); }

static hd curve(hd p, hd t)                             /* p0 exp(-p1 t) + p2 */
{
    return hd_add(hd_mul(hd_at(p, 0), hd_exp(hd_neg(hd_mul(hd_at(p, 1), t)))), hd_at(p, 2));
}

static hd residuals(hd p, hd y) { return hd_sub(curve(p, times()), y); }
static hd half_square(hd r) { return hd_mul_c(hd_dot(r, r), 0.5); }

/* x of A x = b, A symmetric: Cramer's rule. */
static hd solve3(hd A, hd b)
{
    hd u = hd_at(A, 0), v = hd_at(A, 1), w = hd_at(A, 2);
    hd inverse = hd_stack(0, hd_cross(v, w), hd_cross(w, u), hd_cross(u, v));
    return hd_div(hd_dot(b, inverse), hd_dot(u, hd_cross(v, w)));
}

static hd improve(hd y, hd state)
{
    search s = hd_unpack(search, state);
    hd r = residuals(s.p, y), J = hd_apply(hd_jacfwd(residuals), s.p, y);
    hd A = hd_matmul(hd_transpose(J), J), slope = hd_dot(r, J);
    A = hd_add(A, hd_mul(s.damping, hd_mul(A, hd_eye(HD_F32, 3))));
    hd step = solve3(A, slope), p = hd_sub(s.p, step), cost = half_square(residuals(p, y)),
       better = hd_lt(cost, s.cost);
    return hd_pack(search,
        {
            .p = hd_where(better, p, s.p),
            .cost = hd_where(better, cost, s.cost),
            .step = hd_norm(step),
            .damping = hd_mul(s.damping, hd_where(better, hd_full(hd_c(0.2)), hd_c(5))),
            .turns = hd_add_c(s.turns, 1),
        });
}

static hd unsettled(hd state)
{
    search s = hd_unpack(search, state);
    return hd_and(hd_gt(s.step, hd_c(1e-5)), hd_lt(s.turns, hd_c(100)));
}

static hd fit(hd y)                                     /* f32[POINTS] -> the search at its end */
{
    hd p = hd_stack(0, hd_sub(hd_at(y, 0), hd_at(y, -1)), hd_full(hd_c(1)), hd_at(y, -1));
    hd start = hd_pack(search,
        {
            .p = p,
            .cost = half_square(residuals(p, y)),
            .damping = hd_full(hd_c(1e-2)),
            .step = hd_full(hd_c(1)),
            .turns = hd_zeros(HD_I32),
        });
    return hd_while(unsettled, hd_partial(improve, y), start);
}

/* Data of a curve of its own for each set, and noise. */
static hd measure(hd key)
{
    hd keys = hd_random_split(key, 2),
       p = hd_add(hd_random_uniform(hd_at(keys, 0), HD_F32, 3), hd_lit(float, (3), 1, 0.5f, 0));
    return hd_add(curve(p, times()), hd_mul_c(hd_random_normal(hd_at(keys, 1), HD_F32, POINTS), 0.02));
}

static hd measure_all(hd key, const void *env)
{
    return hd_apply(hd_vmap(measure), hd_random_split(key, *(const int *)env));
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "device", 1, NULL, 'd' }, { "sets", 1, NULL, 'n' }, { 0 } };
    int sets = 5, status = 1;
    hd_array *key = hd_array_key(3), *y = NULL, *out = NULL;

    for (int k; (k = getopt_long(argc, argv, "d:n:", options, NULL)) != -1; )
        if (k == '?' || (k == 'd' && !hd_default_device(optarg)))
            goto fail;
        else if (k == 'n')
            sets = atoi(optarg);
    if (hd_call(hd_bind(measure_all, sets), &y, key) || hd_call(hd_vmap(fit), &out, y))
        goto fail;
    search_data s = hd_array_unpack(search, out);
    hd_print(stdout, s.p), hd_print(stdout, s.cost);
    status = 0;
fail:
    if (status)
        fprintf(stderr, "%s\n", hd_error());
    hd_drop(key), hd_drop(y), hd_drop(out);
    return status;
}
