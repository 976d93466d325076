/*
 * golden_guide.c - the programs of the vectorisation guide, and the small functions that batching and kinks
 * are tried on.
 *
 * In:  arrays.   Out: arrays. Each program is the definition written down in tests/golden/README.md's
 * sources, in heddle.h.
 */
#include "golden.h"

#define ARGS const json_t *a, const hd *x, int n
#define UNUSED (void)a, (void)n

static hd sum_squares(hd v) { return hd_sum(hd_square(v)); }

/* ---- guide ---- */

static hd predict(ARGS)
{
    UNUSED;
    hd z = hd_add(hd_dot(x[2], x[0]), x[1]);
    return hd_stack(0, z, hd_sigmoid(z));
}

static hd scaled_loss(ARGS)
{
    UNUSED;
    return hd_mul(x[0], sum_squares(hd_sub(x[1], x[2])));
}

static hd images(ARGS)
{
    (void)x, (void)n;
    return hd_random_normal_n(hd_key((uint64_t)attr_i(a, "seed", 0)), HD_F32, attr_l(a, "shape"));
}

static hd normalize(ARGS)
{
    UNUSED;
    return hd_div(hd_sub(x[0], hd_mean(x[0])), hd_std(x[0]));
}

static hd distance2(hd p, hd q) { return hd_sqrt(sum_squares(hd_sub(p, q))); }
static hd distance(ARGS) { UNUSED; return distance2(x[0], x[1]); }

static hd safe2(hd p, hd q)
{
    hd s = sum_squares(hd_sub(p, q)), ok = hd_gt(s, hd_c(0));
    return hd_where(ok, hd_sqrt(hd_where(ok, s, hd_c(1))), hd_c(0));
}

static hd all_pairs(hd_fn *d, const hd *x)
{
    hd_fn *row = hd_vmap(d, .in_axes = { HD_NONE, 0 });
    return hd_sum(hd_apply(hd_vmap(row, .in_axes = { 0, HD_NONE }), x[0], x[1]));
}
static hd pairwise_sum(ARGS) { UNUSED; return all_pairs(HD_FN(distance2), x); }
static hd pairwise_sum_safe(ARGS) { UNUSED; return all_pairs(HD_FN(safe2), x); }

static hd log_sigmoid(hd z) { return hd_neg(hd_softplus(hd_neg(z))); }

static hd loss_of_one(hd w, hd b, hd x, hd y)
{
    hd z = hd_add(hd_dot(x, w), b);
    hd left = hd_mul(hd_neg(y), log_sigmoid(z));
    return hd_mean(hd_sub(left, hd_mul(hd_sub(hd_c(1), y), log_sigmoid(hd_neg(z)))));
}
static hd loss_per_example(ARGS) { UNUSED; return loss_of_one(x[0], x[1], x[2], x[3]); }

static hd loss_of_batch(hd w, hd b, hd x, hd y)
{
    const hd all[] = { w, b, x, y };
    return hd_mean(hd_apply_n(hd_vmap(loss_of_one, .in_axes = { HD_NONE, HD_NONE, 0, 0 }), all, 4));
}

static hd data_parallel_step(ARGS)
{
    (void)n;
    hd all = hd_apply_n(hd_value_and_grad(loss_of_batch, .argnums = HD_INTS(0, 1)), x, 4),
       r = hd_c(attr_f(a, "rate", 0));
    hd mean = hd_pmean(all, "devices"), d = hd_nth(mean, 1);
    return hd_tuple(
        hd_sub(x[0], hd_mul(r, hd_nth(d, 0))), hd_sub(x[1], hd_mul(r, hd_nth(d, 1))), hd_nth(mean, 0));
}

static hd softmax(ARGS) { UNUSED; return hd_softmax(x[0], -1); }
static hd softmax_scalar(ARGS) { UNUSED; return hd_sum(hd_mul(x[1], hd_softmax(x[0], -1))); }

/* older: which layout of random bits, so that a layer of one is not taken for one of the other */
static hd dropout_layer(hd key, hd v, hd keep, const void *older)
{
    hd_random_older(*(const int64_t *)older);
    hd k = hd_random_bernoulli_n(key, keep, hd_shape(v));
    return hd_div(hd_mul(hd_cast(k, hd_dtype(v)), v), keep);
}

static hd dropout(ARGS)
{
    (void)n;
    hd key = hd_key((uint64_t)attr_i(a, "seed", 0)),
       keep = hd_cast(hd_c(1 - attr_f(a, "rate", 0.5)), HD_F32);
    int64_t older = !attr_b(a, "partitionable", true);
    hd_fn *layer = hd_bind(dropout_layer, older);
    if (attr_b(a, "shared", false))
        return hd_apply(hd_vmap(layer, .in_axes = { HD_NONE, 0, HD_NONE }), key, x[0], keep);
    return hd_apply(
        hd_vmap(layer, .in_axes = { 0, 0, HD_NONE }), hd_random_split(key, hd_dim(x[0], 0)), x[0], keep);
}

static hd rnn_cell(hd w_hh, hd w_xh, hd b, hd h, hd x)
{
    h = hd_tanh(hd_add(hd_add(hd_dot(h, w_hh), hd_dot(x, w_xh)), b));
    return hd_tuple(h, h);
}

static hd run_sequence(hd inputs, hd w_hh, hd w_xh, hd b)
{
    hd start = hd_zeros(hd_dtype(inputs), hd_dim(w_hh, 0));
    return hd_nth(hd_scan(hd_partial(rnn_cell, w_hh, w_xh, b), start, inputs), 1);
}

static hd run_batch(const hd *x)
{
    return hd_apply(
        hd_vmap(run_sequence, .in_axes = { 0, HD_NONE, HD_NONE, HD_NONE }), x[0], x[1], x[2], x[3]);
}
static hd rnn(ARGS) { UNUSED; return run_sequence(x[0], x[1], x[2], x[3]); }
static hd rnn_loss(ARGS) { UNUSED; return hd_mean(hd_square(run_batch(x))); }
static hd rnn_batched(ARGS) { UNUSED; return run_batch(x); }

/* ---- small functions ---- */

static hd affine(ARGS) { UNUSED; return hd_tanh(hd_add(hd_dot(x[0], x[2]), x[1])); }

static hd tree_affine(ARGS)
{
    UNUSED;
    hd s = hd_mul(x[1], x[3]);
    return hd_tuple(hd_add(hd_dot(s, x[2]), x[0]), hd_sum(hd_mul(x[3], x[1])));
}

static hd two_outputs(ARGS)
{
    UNUSED;
    return hd_tuple(hd_outer(x[0], x[1]), hd_mul(hd_sum(x[0]), hd_max(x[1])));
}

static hd attention(ARGS)
{
    UNUSED;
    hd scale = hd_cast(hd_sqrt(hd_cast(hd_c((double)hd_dim(x[0], -1)), HD_F32)), hd_dtype(x[0]));
    return hd_matmul(hd_softmax(hd_div(hd_matmul(x[0], hd_swapaxes(x[1], -1, -2)), scale), -1), x[2]);
}

static hd layer_norm(ARGS)
{
    UNUSED;
    hd m = hd_mean(x[0], -1, HD_KEEP), d = hd_sub(x[0], m), v = hd_mean(hd_square(d), -1, HD_KEEP);
    return hd_add(hd_mul(hd_mul(d, hd_rsqrt(hd_add(v, hd_c(1e-5)))), x[1]), x[2]);
}

static hd outer_product(ARGS) { UNUSED; return hd_add(hd_mul(x[0], x[1]), hd_sin(x[0])); }

static hd mlp_loss(ARGS)
{
    UNUSED;
    hd h = hd_relu(hd_add(hd_dot(x[4], x[0]), x[1]));
    return sum_squares(hd_sub(hd_add(hd_dot(h, x[2]), x[3]), x[5]));
}

static hd constant_and_identity(ARGS) { UNUSED; return hd_tuple(hd_arange(HD_F32, 0, 3, 1), x[0]); }

/* ---- kinks: derivatives at points where there is a choice ---- */

static hd sinc(hd v)
{
    hd zero = hd_eq(v, hd_c(0)), t = hd_mul_c(hd_where(zero, hd_c(1), v), 3.14159265358979323846);
    return hd_where(zero, hd_c(1), hd_div(hd_sin(t), t));
}

#define KINK1(name, f) static hd kink_##name(ARGS) { UNUSED; return f(x[0]); }
#define KINK2(name, f) static hd kink_##name(ARGS) { UNUSED; return f(x[0], x[1]); }
#define KINK(name, e)  static hd kink_##name(ARGS) { UNUSED; return e; }
KINK1(abs, hd_abs)
KINK1(relu, hd_relu) KINK1(elu, hd_elu) KINK1(sign, hd_sign) KINK1(floor, hd_floor) KINK1(sqrt,
    hd_sqrt) KINK1(cbrt, hd_cbrt) KINK1(rsqrt, hd_rsqrt) KINK1(log, hd_log) KINK1(acos, hd_acos) KINK1(atanh,
    hd_atanh) KINK1(acosh, hd_acosh) KINK1(softplus, hd_softplus) KINK1(log_sigmoid, log_sigmoid) KINK2(max,
    hd_maximum) KINK2(min, hd_minimum) KINK2(pow, hd_pow) KINK2(atan2, hd_atan2) KINK2(div,
    hd_div) KINK2(rem, hd_rem) KINK2(logaddexp, hd_logaddexp) KINK(relu_max, hd_maximum(x[0], hd_c(0)))
    KINK(integer_pow_0, hd_integer_pow(x[0], 0)) KINK(integer_pow_1, hd_integer_pow(x[0], 1)) KINK(
        integer_pow_2, hd_integer_pow(x[0], 2)) KINK(clip, hd_clip(x[1], x[0], x[2])) KINK(hypot,
        hd_sqrt(hd_add(hd_mul(x[0], x[0]), hd_mul(x[1], x[1])))) KINK(reduce_max, hd_max(x[0], -1))
        KINK(reduce_min, hd_min(x[0], -1)) KINK(reduce_prod, hd_prod(x[0], -1)) KINK(sort, hd_sort(x[0], -1))
            KINK(cummax, hd_cummax(x[0], -1)) KINK(top_k, hd_nth(hd_top_k(x[0], 2, -1), 0))
                KINK(logsumexp, hd_logsumexp(x[0], -1)) KINK(median, hd_median(x[0], -1)) KINK(relu6,
                    hd_relu6(x[0]))
                    KINK(leaky_relu, hd_where(hd_ge(x[0], hd_c(0)), x[0], hd_mul_c(x[0], 0.01)))
                        KINK(sinc, sinc(x[0])) KINK(norm, hd_sqrt(hd_sum(hd_mul(x[0], x[0]), -1)))
                            KINK(std, hd_std(x[0], -1))

                                const GoldenRow
    golden_guide_rows[] = { { "guide_predict", predict },
        { "guide_scaled_loss", scaled_loss }, { "guide_images", images }, { "guide_normalize", normalize },
        { "guide_euclidean_distance", distance }, { "guide_pairwise_sum", pairwise_sum },
        { "guide_pairwise_sum_safe", pairwise_sum_safe }, { "guide_loss_per_example", loss_per_example },
        { "guide_softmax", softmax }, { "guide_softmax_scalar", softmax_scalar },
        { "guide_dropout", dropout }, { "guide_rnn", rnn }, { "guide_rnn_loss", rnn_loss },
        { "guide_data_parallel_step", data_parallel_step }, { "guide_rnn_batched", rnn_batched },
        { "affine", affine }, { "tree_affine", tree_affine }, { "two_outputs", two_outputs },
        { "attention", attention }, { "layer_norm", layer_norm }, { "outer_product", outer_product },
        { "mlp_loss", mlp_loss }, { "constant_and_identity", constant_and_identity },
#define K(name) { "kink_" #name, kink_##name }
        K(abs), K(relu), K(elu), K(sign), K(floor), K(sqrt), K(cbrt), K(rsqrt), K(log), K(acos), K(atanh),
        K(acosh), K(softplus), K(log_sigmoid), K(max), K(min), K(pow), K(atan2), K(div), K(rem),
        K(logaddexp), K(relu_max), K(integer_pow_0), K(integer_pow_1), K(integer_pow_2), K(clip), K(hypot),
        K(reduce_max), K(reduce_min), K(reduce_prod), K(sort), K(cummax), K(top_k), K(logsumexp), K(median),
        K(norm), K(std), K(relu6), K(leaky_relu), K(sinc), { NULL, NULL } };
