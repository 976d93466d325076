/* Randomness is an argument: one key an example, or one shared. The rate is static: it is bound. */
#include <heddle.h>

static hd dropout(hd key, hd x, const void *env)
{
    double rate = *(const double *)env;
    hd keep = hd_random_bernoulli_n(key, hd_c(1 - rate), hd_shape(x));
    return hd_where(keep, hd_div(x, hd_c(1 - rate)), hd_c(0));
}

static hd batched(hd key, hd x, const void *env)
{
    double rate = *(const double *)env;
    return hd_apply(hd_vmap(hd_bind(dropout, rate)), hd_random_split(key, hd_dim(x, 0)), x);
}

static hd ones(void) { return hd_ones(HD_F32, 4, 5); }

int main(void)
{
    double rate = 0.1;
    hd_array *key = hd_array_key(42), *x, *y, *shared;

    if (hd_call(ones, &x)
        || hd_call(hd_jit(hd_bind(batched, rate)), &y, key, x)
        || hd_call(hd_vmap(hd_bind(dropout, rate), .in_axes = { HD_NONE, 0 }), &shared, key, x))
        return fprintf(stderr, "%s\n", hd_error()), 1;
    hd_print(stdout, y);                                /* f32[4,5] */
    hd_drop(key), hd_drop(x), hd_drop(y), hd_drop(shared);
    return 0;
}
