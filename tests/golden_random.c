/*
 * golden_random.c - jax.random operations of the stored cases, by name.
 *
 * In:  an op's name and attributes.   Out: a program. Keys are u32[2]; the layout of bits is the partitionable one.
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
        in[k] = Broadcast(Reshape(SliceAxis(key, 0, k, k + 1), ints_of(NULL, 0)), type_shape(typ(x0)), ints_of(NULL, 0));
    if (!emit_n(OP_threefry, 4, in, NULL, out))
        return HD_NIL;
    const hd both[] = { sym_of(out[0]), sym_of(out[1]) };
    return hd_tuple_n(both, 2);
}

/* The flat counter is cut in two halves, a zero appended if its length is odd. */
static hd threefry_array(const json_t *a, const hd *x, int n)
{
    int64_t size = hd_size(x[1]), half = (size + 1) / 2;
    hd flat = hd_pad(x[1], hd_lit_n(HD_U32, (hd_ints){ 0 }, &(uint32_t){ 0 }), (hd_ints){ 1, { 0 } }, (hd_ints){ 1, { size & 1 } }, (hd_ints){ 0 });
    const hd in[] = { x[0], hd_slice(flat, (hd_ints){ 1, { 0 } }, (hd_ints){ 1, { half } }, (hd_ints){ 0 }),
        hd_slice(flat, (hd_ints){ 1, { half } }, (hd_ints){ 1, { 2 * half } }, (hd_ints){ 0 }) };
    hd both = threefry_block(a, in, n);
    const hd parts[] = { hd_nth(both, 0), hd_nth(both, 1) };
    return hd_slice(hd_concatenate_n(0, parts, 2), (hd_ints){ 1, { 0 } }, (hd_ints){ 1, { size } }, (hd_ints){ 0 });
}

/* With 32-bit types a seed is its low half. */
static hd key(const json_t *a, const hd *x, int n)
{
    (void)x, (void)n;
    uint64_t seed = (uint64_t)attr_i(a, "seed", 0);
    return hd_key(attr_b(a, "x64", false) ? seed : (uint32_t)seed);
}

static hd split(const json_t *a, const hd *x, int n)
{
    (void)n;
    hd_ints s = attr_l(a, "shape");
    int64_t total = 1;
    for (int i = 0; i < s.n; i++)
        total *= s.v[i];
    hd y = hd_random_split(x[0], total);
    s.v[s.n++] = 2;
    return hd_reshape_n(y, s);
}

static hd fold_in(const json_t *a, const hd *x, int n) { (void)a, (void)n; return hd_random_fold_in(x[0], x[1]); }
static hd bits(const json_t *a, const hd *x, int n) { (void)n; return hd_random_bits_n(x[0], dtype(a), attr_l(a, "shape")); }

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

#define SAMPLER(name) static hd name(const json_t *a, const hd *x, int n) { (void)n; return hd_random_##name##_n(x[0], dtype(a), attr_l(a, "shape")); }
SAMPLER(normal) SAMPLER(gumbel) SAMPLER(exponential) SAMPLER(laplace) SAMPLER(rademacher)

static hd bernoulli(const json_t *a, const hd *x, int n) { (void)n; return hd_random_bernoulli_n(x[0], x[1], attr_l(a, "shape")); }

static hd bound(const json_t *a, const char *name)
{
    int64_t v = attr_i(a, name, 0);
    if (v < 0 && attr_s(a, name, "")[0] != '-')
        return hd_lit_n(HD_U64, (hd_ints){ 0 }, &v);
    return hd_lit_n(HD_I64, (hd_ints){ 0 }, &v);
}

static hd randint(const json_t *a, const hd *x, int n)
{
    (void)n;
    return hd_cast(hd_random_randint_n(x[0], hd_cast(bound(a, "minval"), dtype(a)), hd_cast(bound(a, "maxval"), dtype(a)), attr_l(a, "shape")), dtype(a));
}

/* Is a bound not a number of the dtype? */
static bool beyond(const json_t *a)
{
    const char *const names[] = { "minval", "maxval" };
    for (int k = 0; k < 2; k++) {
        const char *text = attr_s(a, names[k], "0");
        int64_t v = attr_i(a, names[k], 0), back = 0;
        Dtype dt = (Dtype)dtype(a);
        dtype_store_i(dt, &back, v);
        bool negative = text[0] == '-', big = !negative && v < 0;
        if (dtype_load_i(dt, &back) != v || (negative && dtype_unsigned(dt)) || (big && dt != DT_U64))
            return true;
    }
    return false;
}

static hd permutation(const json_t *a, const hd *x, int n)
{
    (void)n;
    int axis = (int)attr_i(a, "axis", 0);
    return hd_moveaxis(hd_random_permutation(x[0], hd_moveaxis(x[1], axis, 0)), 0, axis);
}

static hd choice(const json_t *a, const hd *x, int n)
{
    (void)n;
    hd_ints s = attr_l(a, "shape");
    int64_t total = 1;
    for (int i = 0; i < s.n; i++)
        total *= s.v[i];
    hd y = hd_random_choice(x[0], x[1], total, attr_b(a, "replace", true));
    hd_ints t = hd_shape(y);
    for (int i = 1; i < t.n; i++)
        s.v[s.n++] = t.v[i];
    return hd_reshape_n(y, s);
}

static hd categorical(const json_t *a, const hd *x, int n) { (void)n; return hd_random_categorical(x[0], x[1], (int)attr_i(a, "axis", -1)); }

static const GoldenRow table[] = {
    { "threefry2x32", threefry_block }, { "threefry_2x32", threefry_array }, { "random.PRNGKey", key }, { "random.split", split },
    { "random.fold_in", fold_in }, { "random.bits", bits }, { "random.uniform", uniform }, { "random.normal", normal },
    { "random.gumbel", gumbel }, { "random.exponential", exponential }, { "random.laplace", laplace },
    { "random.rademacher", rademacher }, { "random.bernoulli", bernoulli }, { "random.randint", randint },
    { "random.permutation", permutation }, { "random.choice", choice }, { "random.categorical", categorical },
    { NULL, NULL }
};

GoldenFn *golden_random(const char *op, const json_t *attrs, const char **missing)
{
    GoldenFn *f = golden_row(table, op);
    if (f && !attr_b(attrs, "partitionable", true))
        *missing = "the older layout of random bits";
    else if (f && attr_b(attrs, "independent", false))
        *missing = "independent permutations";
    else if (f && !strcmp(op, "random.randint") && beyond(attrs))
        *missing = "a bound of randint beyond its dtype";
    return *missing ? NULL : f;
}
