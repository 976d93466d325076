/*
 * golden_random.c - jax.random operations of the stored cases, by name.
 *
 * In:  an op's name and attributes.   Out: a program. Keys are u32[2].
 */
#include <string.h>

#include "api.h"
#include "golden.h"

static enum hd_dtype dtype(const json_t *a) { return attr_dtype(a, "dtype", HD_F32); }

static hd threefry_block(const json_t *a, const hd *x, int n)
{
    (void)a, (void)n;
    Ref key = sym_ref(x[0]), x0 = sym_ref(x[1]), in[4] = { 0, 0, x0, sym_ref(x[2]) }, out[2];
    for (int k = 0; k < 2; k++)
        in[k] = Broadcast(
            Reshape(SliceAxis(key, 0, k, k + 1), ints_of(NULL, 0)), type_shape(typ(x0)), ints_of(NULL, 0));
    if (!emit_n(OP_threefry, 4, in, NULL, out))
        return HD_NIL;
    const hd both[] = { sym_of(out[0]), sym_of(out[1]) };
    return hd_tuple_n(both, 2);
}

/* The flat counter is cut in two halves, a zero appended if its length is odd. */
static hd threefry_array(const json_t *a, const hd *x, int n)
{
    int64_t size = hd_size(x[1]), half = (size + 1) / 2;
    hd flat = hd_pad(x[1], hd_lit_n(HD_U32, (hd_ints){ 0 }, &(uint32_t){ 0 }), (hd_ints){ 1, { 0 } },
        (hd_ints){ 1, { size & 1 } }, (hd_ints){ 0 });
    const hd in[] = { x[0], hd_slice(flat, (hd_ints){ 1, { 0 } }, (hd_ints){ 1, { half } }, (hd_ints){ 0 }),
        hd_slice(flat, (hd_ints){ 1, { half } }, (hd_ints){ 1, { 2 * half } }, (hd_ints){ 0 }) };
    hd both = threefry_block(a, in, n);
    const hd parts[] = { hd_nth(both, 0), hd_nth(both, 1) };
    return hd_slice(
        hd_concatenate_n(0, parts, 2), (hd_ints){ 1, { 0 } }, (hd_ints){ 1, { size } }, (hd_ints){ 0 });
}

/* With 32-bit types a seed is its low half. */
static hd key(const json_t *a, const hd *x, int n)
{
    (void)x, (void)n;
    uint64_t seed = (uint64_t)attr_i(a, "seed", 0);
    return hd_key(attr_b(a, "x64", false) ? seed : (uint32_t)seed);
}

static int64_t product(hd_ints s)
{
    int64_t total = 1;
    for (int i = 0; i < s.n; i++)
        total *= s.v[i];
    return total;
}

static hd split(const json_t *a, const hd *x, int n)
{
    (void)n;
    hd_ints s = attr_l(a, "shape");
    hd y = hd_random_split(x[0], product(s));
    s.v[s.n++] = 2;
    return hd_reshape_n(y, s);
}

static hd fold_in(const json_t *a, const hd *x, int n)
{
    (void)a, (void)n;
    return hd_random_fold_in(x[0], x[1]);
}
static hd bits(const json_t *a, const hd *x, int n)
{
    (void)n;
    return hd_random_bits_n(x[0], dtype(a), attr_l(a, "shape"));
}

/* Over other ranges: the unit draw, scaled, and not below the minimum. */
static hd uniform(const json_t *a, const hd *x, int n)
{
    (void)n;
    double lo = attr_f(a, "minval", 0), hi = attr_f(a, "maxval", 1);
    hd u = hd_random_uniform_n(x[0], dtype(a), attr_l(a, "shape"));
    if (lo == 0 && hi == 1)
        return u;
    hd l = hd_cast(hd_c(lo), dtype(a)), h = hd_cast(hd_c(hi), dtype(a));
    return hd_maximum(l, hd_add(hd_mul(u, hd_sub(h, l)), l));
}

#define SAMPLER(name) \
    static hd name(const json_t *a, const hd *x, int n) \
    { \
        (void)n; \
        return hd_random_##name##_n(x[0], dtype(a), attr_l(a, "shape")); \
    }
SAMPLER(normal)
SAMPLER(gumbel) SAMPLER(exponential) SAMPLER(laplace) SAMPLER(rademacher) SAMPLER(logistic) SAMPLER(cauchy)
    SAMPLER(maxwell)

#define DRAWN(name) \
    static hd draw_##name(const json_t *a, const hd *x, int n) \
    { \
        (void)n; \
        return hd_random_##name##_n(x[0], x[1], attr_l(a, "shape")); \
    }
        DRAWN(bernoulli) DRAWN(gamma) DRAWN(loggamma) DRAWN(t) DRAWN(chisquare) DRAWN(pareto)
            DRAWN(dirichlet) DRAWN(poisson) DRAWN(rayleigh) DRAWN(lognormal) DRAWN(wald) DRAWN(geometric)
                DRAWN(generalized_normal)
#define DRAWN2(name) \
    static hd draw_##name(const json_t *a, const hd *x, int n) \
    { \
        (void)n; \
        return hd_random_##name##_n(x[0], x[1], x[2], attr_l(a, "shape")); \
    }
                    DRAWN2(beta) DRAWN2(f) DRAWN2(binomial) DRAWN2(multinomial) DRAWN2(weibull_min)
                        DRAWN2(double_sided_maxwell)

                            static hd triangular(const json_t *a, const hd *x, int n)
{
    (void)n;
    return hd_random_triangular_n(x[0], x[1], x[2], x[3], attr_l(a, "shape"));
}

static hd ball(const json_t *a, const hd *x, int n)
{
    (void)n;
    return hd_random_ball_n(x[0], x[1], attr_i(a, "d", 0), attr_l(a, "shape"));
}

static hd multivariate_normal(const json_t *a, const hd *x, int n)
{
    (void)n;
    return hd_random_multivariate_normal_n(x[0], x[1], x[2], HD_CHOLESKY, attr_l(a, "shape"));
}

static hd orthogonal(const json_t *a, const hd *x, int n)
{
    (void)n;
    int64_t rows = attr_i(a, "n", 0);
    return hd_random_orthogonal_n(x[0], dtype(a), rows, attr_i(a, "m", rows), attr_l(a, "shape"));
}

static hd truncated_normal(const json_t *a, const hd *x, int n)
{
    (void)n;
    hd low = hd_cast(hd_c(attr_f(a, "lower", 0)), dtype(a)),
       high = hd_cast(hd_c(attr_f(a, "upper", 0)), dtype(a));
    return hd_random_truncated_normal_n(x[0], low, high, attr_l(a, "shape"));
}

/* A bound as a number of the dtype; one that is beyond it and is known to f64 stays a constant. */
static hd bound(const json_t *a, const char *name)
{
    int64_t v = attr_i(a, name, 0), back = 0;
    bool big = v < 0 && attr_s(a, name, "")[0] != '-';
    dtype_store_i((Dtype)dtype(a), &back, v);
    if (!big && dtype_load_i((Dtype)dtype(a), &back) != v)
        return hd_c((double)v);
    return hd_cast(hd_lit_n(big ? HD_U64 : HD_I64, (hd_ints){ 0 }, &v), dtype(a));
}

static hd randint(const json_t *a, const hd *x, int n)
{
    (void)n;
    return hd_random_randint_n(x[0], bound(a, "minval"), bound(a, "maxval"), attr_l(a, "shape"));
}

static hd permutation(const json_t *a, const hd *x, int n)
{
    (void)n;
    return hd_random_permutation_n(x[0], x[1], &(hd_permutation_opts){ .axis = (int)attr_i(a, "axis", 0),
        .independent = attr_b(a, "independent", false) });
}

static hd choice(const json_t *a, const hd *x, int n)
{
    hd_ints s = attr_l(a, "shape");
    hd_choice_opts o = { .p = n > 2 ? x[2] : HD_NIL };
    hd y = hd_random_choice_n(x[0], x[1], product(s), attr_b(a, "replace", true), &o);
    hd_ints t = hd_shape(y);
    for (int i = 1; i < t.n; i++)
        s.v[s.n++] = t.v[i];
    return hd_reshape_n(y, s);
}

static hd categorical(const json_t *a, const hd *x, int n)
{
    (void)n;
    return hd_random_categorical_n(x[0], x[1], (int)attr_i(a, "axis", -1), attr_l(a, "shape"));
}

static const GoldenRow table[] = { { "threefry2x32", threefry_block }, { "threefry_2x32", threefry_array },
    { "random.PRNGKey", key }, { "random.split", split }, { "random.fold_in", fold_in },
    { "random.bits", bits }, { "random.uniform", uniform }, { "random.normal", normal },
    { "random.gumbel", gumbel }, { "random.exponential", exponential }, { "random.laplace", laplace },
    { "random.rademacher", rademacher }, { "random.bernoulli", draw_bernoulli },
    { "random.randint", randint }, { "random.permutation", permutation }, { "random.choice", choice },
    { "random.categorical", categorical }, { "random.logistic", logistic }, { "random.cauchy", cauchy },
    { "random.maxwell", maxwell }, { "random.truncated_normal", truncated_normal },
    { "random.gamma", draw_gamma }, { "random.loggamma", draw_loggamma }, { "random.beta", draw_beta },
    { "random.dirichlet", draw_dirichlet }, { "random.t", draw_t }, { "random.f", draw_f },
    { "random.chisquare", draw_chisquare }, { "random.pareto", draw_pareto },
    { "random.rayleigh", draw_rayleigh }, { "random.lognormal", draw_lognormal },
    { "random.wald", draw_wald }, { "random.weibull_min", draw_weibull_min },
    { "random.double_sided_maxwell", draw_double_sided_maxwell }, { "random.triangular", triangular },
    { "random.generalized_normal", draw_generalized_normal }, { "random.ball", ball },
    { "random.multivariate_normal", multivariate_normal }, { "random.orthogonal", orthogonal },
    { "random.geometric", draw_geometric }, { "random.poisson", draw_poisson },
    { "random.binomial", draw_binomial }, { "random.multinomial", draw_multinomial }, { NULL, NULL } };

GoldenFn *golden_random(const char *op, const json_t *attrs, const char **missing)
{
    (void)missing;
    hd_random_older(!attr_b(attrs, "partitionable", true));
    return golden_row(table, op);
}
