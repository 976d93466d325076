/*
 * test_nn.c - layers, attention, losses, optimisers and schedules for small arrays, against the numbers of
 * JAX 0.10.2 and optax 0.2.8; lanes and refusals.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

static const float plain[] = { 1, 4, 0, 2, 0.5f, -3, 8, 6, 7, 5, -1, 2.5f };

static hd vec(int n, const float *v) { return hd_lit_n(HD_F32, HD_INTS(n), v); }
#define VEC(...) \
    vec((int)(sizeof((const float[]){ __VA_ARGS__ }) / sizeof(float)), (const float[]){ __VA_ARGS__ })
static hd whole(const int *v, int n) { return hd_lit_n(HD_I32, HD_INTS(n), v); }
static hd scale(void) { return VEC(1, 2, -1, 0.5f); }
static hd shift(void) { return VEC(0, 1, 2, 3); }

/* ==================== layers */

static hd layer(hd x) { return hd_layer_norm(x, scale(), shift()); }
static hd layer_all(hd x) { return hd_layer_norm(x, HD_NIL, HD_NIL, .axes = HD_INTS(0, 1), .eps = 1e-3); }
static hd standard(hd x) { return hd_standardize(x, -1); }
static hd rms(hd x) { return hd_rms_norm(x, scale()); }
static hd batch(hd x) { return hd_nth(hd_batch_norm(x, scale(), shift(), HD_NIL, HD_NIL), 0); }
static hd batch_mean(hd x) { return hd_nth(hd_batch_norm(x, HD_NIL, HD_NIL, HD_NIL, HD_NIL), 1); }
static hd batch_given(hd x)
{
    return hd_nth(hd_batch_norm(x, scale(), HD_NIL, shift(), VEC(1, 4, 2, 3)), 0);
}
static hd rows(hd x) { return hd_embedding(x, whole((const int[]){ 2, 0 }, 2)); }

/* ==================== activations: values, then derivatives of their sum, kinks among them */

#define ACTIVATION(name, y) \
    static hd name##_sum(hd x) { return hd_sum(y); } \
    static hd act_##name(hd x) \
    { \
        return hd_concatenate(0, hd_ravel(y), hd_ravel(hd_apply(hd_grad(name##_sum), x))); \
    }
ACTIVATION(relu6, hd_relu6(x))
ACTIVATION(leaky_relu, hd_leaky_relu(x, 0.2))
ACTIVATION(selu, hd_selu(x))
ACTIVATION(celu, hd_celu(x, 2))
ACTIVATION(mish, hd_mish(x))
ACTIVATION(soft_sign, hd_soft_sign(x))
ACTIVATION(squareplus, hd_squareplus(x, 3))
ACTIVATION(hard_tanh, hd_hard_tanh(x))
ACTIVATION(hard_sigmoid, hd_hard_sigmoid(x))
ACTIVATION(hard_silu, hd_hard_silu(x))
ACTIVATION(sparse_plus, hd_sparse_plus(x))
ACTIVATION(sparse_sigmoid, hd_sparse_sigmoid(x))
ACTIVATION(glu, hd_glu(x, -1))

/* ==================== attention: sums that tell what is where */

static hd waves(hd (*wave)(hd), double from, hd_ints shape)
{
    int64_t n = 1;
    for (int k = 0; k < shape.n; k++)
        n *= shape.v[k];
    return hd_reshape_n(wave(hd_add_c(hd_iota(HD_F32, 0, n), from)), shape);
}
static hd sums(hd y)
{
    hd f = hd_ravel(y);
    return hd_stack(0, hd_sum_n(f, HD_INTS(0)), hd_dot(f, hd_iota(HD_F32, 0, hd_size(f))), hd_dot(f, f));
}
static hd q(void) { return waves(hd_sin, 0, HD_INTS(2, 3, 4, 2)); }
static hd k(void) { return waves(hd_cos, 0, HD_INTS(2, 2, 2, 2)); }
static hd v(void) { return waves(hd_sin, 2, HD_INTS(2, 2, 2, 2)); }
static hd bias(void) { return waves(hd_sin, 0, HD_INTS(2, 4, 3, 2)); }
static hd mask(void)
{
    hd i = hd_iota(HD_I32, 0, 6);
    return hd_reshape(hd_ne(hd_rem(i, hd_c(3)), hd_c(1)), 1, 1, 3, 2);
}
#define ATTEND(name, ...) \
    static hd name(hd x) \
    { \
        (void)x; \
        return sums(hd_dot_product_attention(q(), k(), v(), __VA_ARGS__)); \
    }
ATTEND(attention, .scale = 0)
ATTEND(attention_causal, .causal = true)
ATTEND(attention_bias, .bias = bias())
ATTEND(attention_mask, .mask = mask(), .scale = 0.3)
ATTEND(attention_window, .window = HD_INTS(1, 0))
ATTEND(attention_lengths, .query_lengths = whole((const int[]){ 2, 3 }, 2),
    .key_lengths = whole((const int[]){ 1, 2 }, 2))
/* lanes instead of a batch axis: the same */
static hd one_attention(hd query, hd key, hd value)
{
    return hd_dot_product_attention(query, key, value, .causal = true);
}
static hd attention_lanes(hd x)
{
    (void)x;
    return sums(hd_apply(hd_vmap(one_attention), q(), k(), v()));
}
static hd attention_loss(hd query, hd key, hd value)
{
    return hd_sum(hd_square(hd_dot_product_attention(query, key, value, .causal = true, .bias = bias())));
}
static hd attention_slopes(hd x)
{
    (void)x;
    hd g = hd_apply(hd_grad(attention_loss, .argnums = HD_INTS(0, 1, 2)), q(), k(), v());
    return hd_stack(0, sums(hd_nth(g, 0)), sums(hd_nth(g, 1)), sums(hd_nth(g, 2)));
}

/* ==================== losses */

static hd classes(hd x) { return hd_softmax_cross_entropy_labels(x, whole((const int[]){ 1, 3, 0 }, 3)); }
static hd divergence(hd x) { return hd_kl_divergence(hd_log_softmax(x, -1), hd_softmax(hd_flip(x, 0), -1)); }
static hd divergence_zero(hd x)
{
    return hd_kl_divergence(hd_log_softmax(x, -1), hd_broadcast_to(VEC(0, 0.5f, 0.5f, 0), 3, 4));
}
static hd smooth(hd x)
{
    (void)x;
    return hd_smooth_labels(hd_one_hot(whole((const int[]){ 1, 3, 0 }, 3), 4, HD_F32), 0.1);
}
static hd huber(hd x) { return hd_huber_loss(x, hd_c(2), 1.5); }
static hd log_cosh(hd x) { return hd_log_cosh_loss(x, hd_c(2)); }
static hd hinge(hd x)
{
    return hd_hinge_loss(x, hd_sign(hd_reshape(hd_sin(hd_add_c(hd_iota(HD_F32, 0, 12), 1)), 3, 4)));
}

/* ==================== optimisers: five steps down a slope */

static hd slope(hd p)
{
    hd w = hd_get(p, "w"), far = hd_sub(hd_get(p, "b"), hd_index(w, 0, 0));
    return hd_add(hd_sum(hd_mul(hd_square(w), VEC(1, 0.5f, 2))), hd_square(far));
}
typedef hd Step(hd params, hd grads, hd state);
static hd descent(Step *step)
{
    hd p = hd_dict({ "w", VEC(1, -2, 3) }, { "b", hd_full(hd_c(0.5)) }), state = hd_opt_init(p);
    for (int n = 0; n < 5; n++) {
        hd next = step(p, hd_apply(hd_grad(slope), p), state);
        p = hd_nth(next, 0), state = hd_nth(next, 1);
    }
    hd b = hd_expand_dims(hd_get(p, "b"), 0), steps = hd_expand_dims(hd_cast(hd_nth(state, 2), HD_F32), 0);
    return hd_concatenate(0, hd_get(p, "w"), b, steps);
}
#define STEPS(name, f, rate, ...) \
    static hd name##_step(hd p, hd g, hd s) { return f(p, g, s, hd_c(rate), __VA_ARGS__); } \
    static hd name(hd x) \
    { \
        (void)x; \
        return descent(name##_step); \
    }
STEPS(sgd, hd_sgd, 0.1, .momentum = 0)
STEPS(momentum, hd_sgd, 0.05, .momentum = 0.9)
STEPS(nesterov, hd_sgd, 0.05, .momentum = 0.9, .nesterov = true)
STEPS(adam, hd_adam, 0.1, .b1 = 0.9)
STEPS(nadam, hd_adam, 0.1, .nesterov = true)
STEPS(adamw, hd_adamw, 0.1, .b1 = 0.9)
STEPS(adamw_more, hd_adamw, 0.1, .weight_decay = 0.1)
STEPS(rmsprop, hd_rmsprop, 0.1, .b2 = 0.9)
STEPS(rmsprop_momentum, hd_rmsprop, 0.02, .b2 = 0.8, .momentum = 0.9)
STEPS(rmsprop_nesterov, hd_rmsprop, 0.02, .momentum = 0.9, .nesterov = true)
STEPS(adagrad, hd_adagrad, 0.3, .eps = 1e-7)
STEPS(lion, hd_lion, 0.1, .b1 = 0.9)
STEPS(lion_decay, hd_lion, 0.1, .weight_decay = 0.01)
static hd clipped_step(hd p, hd g, hd s) { return hd_sgd(p, hd_clip_by_value(g, 0.7), s, hd_c(0.1)); }
static hd clipped(hd x)
{
    (void)x;
    return descent(clipped_step);
}
static hd clipped_all_step(hd p, hd g, hd s)
{
    return hd_sgd(p, hd_clip_by_global_norm(g, 1.5), s, hd_c(0.1));
}
static hd clipped_all(hd x)
{
    (void)x;
    return descent(clipped_all_step);
}
static hd clipped_each(hd x)
{
    hd t = hd_clip_by_norm(hd_tuple(hd_ravel(x), VEC(3, 4), VEC(0, 0)), 5.5);
    return hd_concatenate(0, hd_slice_axis(hd_nth(t, 0), 0, 0, 2), hd_nth(t, 1), hd_nth(t, 2),
        hd_expand_dims(hd_global_norm(t), 0));
}

static hd at_steps(hd (*f)(hd))
{
    return hd_apply(hd_vmap(hd_function_(1, (uintptr_t)f, "schedule", NULL, 0)),
        whole((const int[]){ 0, 1, 5, 10, 14, 25 }, 6));
}
#define SCHEDULE(name, value) \
    static hd name##_at(hd n) { return value; } \
    static hd name(hd x) \
    { \
        (void)x; \
        return at_steps(name##_at); \
    }
SCHEDULE(line, hd_polynomial_schedule(n, 0.1, 1, 10))
SCHEDULE(polynomial, hd_polynomial_schedule(n, 1, 0.1, 12, .power = 2, .begin = 2))
SCHEDULE(exponential, hd_exponential_decay(n, 1, 0.5, 5))
SCHEDULE(staircase, hd_exponential_decay(n, 1, 0.5, 5, .begin = 2, .staircase = true, .end = 0.2))
SCHEDULE(cosine, hd_cosine_decay(n, 2, 20, .end = 0.2))
SCHEDULE(cosine_squared, hd_cosine_decay(n, 2, 20, .end = 0.2, .power = 2))
SCHEDULE(warmup, hd_warmup_cosine_decay(n, 0.1, 1, 5, 20, .end = 0.05))
SCHEDULE(piecewise, hd_piecewise_constant(n, 1, HD_INTS(5, 14), (const double[]){ 0.5, 0.1 }))

static const struct {
    const char *name;
    hd (*f)(hd);
    int n;
    double error;
    float want[24];
} cases[] = {
#define CASE(f, n, ...) { #f, f, n, 2e-6, { __VA_ARGS__ } },
#define NEAR(f, n, ...) { #f, f, n, 2e-5, { __VA_ARGS__ } },
    CASE(standard, 12, -0.507091403f, 1.52127421f, -1.18321335f, 0.169030473f, -0.54419136f,
        -1.34615755f, 1.1743077f, 0.716041267f, 1.2136116f, 0.544032753f, -1.46470356f, -0.292940736f)
    CASE(layer, 12, -0.507091403f, 4.04254818f, 3.18321323f, 3.08451533f, -0.54419136f, -1.6923151f,
        0.825692296f, 3.35802054f, 1.2136116f, 2.08806562f, 3.46470356f, 2.85352969f)
    CASE(layer_all, 12, -0.513980269f, 0.411184162f, -0.822368383f, -0.205592126f, -0.668174326f,
        -1.74753296f, 1.64473665f, 1.02796042f, 1.33634853f, 0.719572306f, -1.1307565f, -0.05139805f)
    CASE(rms, 12, 0.436435372f, 3.49148297f, 0, 0.436435372f, 0.0956729576f, -1.14807546f, -1.53076732f,
        0.574037731f, 1.55316019f, 2.21880007f, 0.221880019f, 0.277350008f)
    CASE(batch, 12, -0.620765567f, 2.12390256f, 2.57932377f, 2.57853699f, -0.790065289f, -1.80975628f,
        0.593070626f, 3.70243835f, 1.41083074f, 2.68585396f, 2.82760549f, 2.71902466f)
    CASE(batch_mean, 4, 8.5f / 3, 2, 7.f / 3, 3.5f)
    CASE(batch_given, 12, 0.999994993f, 2.99999642f, 1.41420996f, -0.288674653f, 0.499997497f,
        -3.99999523f, -4.24263f, 0.866023958f, 6.99996471f, 3.99999523f, 2.121315f, -0.144337326f)
    CASE(act_relu6, 24, 1, 4, 0, 2, 0.5f, 0, 6, 6, 6, 5, 0, 2.5f, 1, 1, 0, 1, 1, 0, 0, 0, 0, 1, 0, 1)
    CASE(act_leaky_relu, 24, 1, 4, 0, 2, 0.5f, -0.600000024f, 8, 6, 7, 5, -0.200000003f, 2.5f, 1, 1, 1, 1,
        1, 0.200000003f, 1, 1, 1, 1, 0.200000003f, 1)
    CASE(act_selu, 24, 1.05070102f, 4.20280409f, 0, 2.10140204f, 0.525350511f, -1.67056882f, 8.40560818f,
        6.30420589f, 7.35490704f, 5.25350523f, -1.11133075f, 2.62675261f, 1.05070102f, 1.05070102f,
        1.75809932f, 1.05070102f, 1.05070102f, 0.0875305682f, 1.05070102f, 1.05070102f, 1.05070102f,
        1.05070102f, 0.64676863f, 1.05070102f)
    CASE(act_celu, 24, 1, 4, 0, 2, 0.5f, -1.55373967f, 8, 6, 7, 5, -0.786938667f, 2.5f, 1, 1, 1, 1, 1,
        0.223130167f, 1, 1, 1, 1, 0.606530666f, 1)
    CASE(act_mish, 24, 0.865098476f, 3.99741268f, 0, 1.943959f, 0.375245243f, -0.145647451f, 8,
        5.99992704f, 6.99998903f, 4.99955225f, -0.30340144f, 2.47139239f, 1.04903615f, 1.00443304f,
        0.600000024f, 1.06931782f, 0.886424422f, -0.0933931172f, 1.00000337f, 1.0001334f, 1.00002156f,
        1.0008f, 0.0592167564f, 1.04112935f)
    CASE(act_soft_sign, 24, 0.5f, 0.800000012f, 0, 0.666666687f, 0.333333343f, -0.75f, 0.888888896f,
        0.857142866f, 0.875f, 0.833333313f, -0.5f, 0.714285731f, 0.25f, 0.0400000066f, 1, 0.111111119f,
        0.444444478f, 0.0625f, 0.0123456791f, 0.0204081684f, 0.015625f, 0.0277777761f, 0.25f, 0.0816326737f)
    CASE(act_squareplus, 24, 1.5f, 4.17944956f, 0.866025388f, 2.3228755f, 1.15138781f, 0.232050776f,
        8.09267616f, 6.12249899f, 7.10555124f, 5.145751f, 0.5f, 2.77069068f, 0.75f, 0.958831429f, 0.5f,
        0.877964497f, 0.638675034f, 0.0669873059f, 0.9886778f, 0.980384469f, 0.985362649f, 0.972455621f,
        0.25f, 0.91099745f)
    CASE(act_hard_tanh, 24, 1, 1, 0, 1, 0.5f, -1, 1, 1, 1, 1, -1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0)
    CASE(act_hard_sigmoid, 24, 0.666666687f, 1, 0.5f, 0.833333373f, 0.583333373f, 0, 1, 1, 1, 1,
        0.333333343f, 0.916666687f, 0.166666672f, 0, 0.166666672f, 0.166666672f, 0.166666672f, 0, 0, 0, 0,
        0, 0.166666672f, 0.166666672f)
    CASE(act_hard_silu, 24, 0.666666687f, 4, 0, 1.66666675f, 0.291666687f, -0, 8, 6, 7, 5, -0.333333343f,
        2.29166675f, 0.833333373f, 1, 0.5f, 1.16666675f, 0.666666687f, 0, 1, 1, 1, 1, 0.166666672f,
        1.33333337f)
    CASE(act_sparse_plus, 24, 1, 4, 0.25f, 2, 0.5625f, 0, 8, 6, 7, 5, 0, 2.5f, 1, 1, 0.5f, 1, 0.75f, 0, 1,
        1, 1, 1, 0, 1)
    CASE(act_sparse_sigmoid, 24, 1, 1, 0.5f, 1, 0.75f, 0, 1, 1, 1, 1, 0, 1, 0.25f, 0, 0.5f, 0, 0.5f, 0, 0,
        0, 0, 0, 0.25f, 0)
    CASE(act_glu, 18, 0.5f, 3.52318811f, 0.499832332f, -2.99258232f, 1.88259006f, 4.62070894f, 0.5f,
        0.880797029f, 0.25f, 0.419974506f, 0.999664664f, 0.997527421f, 0.000167611637f, -0.00739939744f,
        0.268941432f, 0.924141824f, 1.37628365f, 0.350518554f)
    CASE(rows, 8, 7, 5, -1, 2.5f, 1, 4, 0, 2)
    NEAR(attention, 3, 1.06280684f, -87.0859299f, 8.86458778f)
    NEAR(attention_causal, 3, -3.37293983f, -163.188385f, 13.7621231f)
    NEAR(attention_lanes, 3, -3.37293983f, -163.188385f, 13.7621231f)
    NEAR(attention_bias, 3, 1.16642237f, -104.218819f, 9.62972355f)
    NEAR(attention_mask, 3, 0.67912066f, -19.0327511f, 17.9619274f)
    NEAR(attention_window, 3, 1.81752121f, 7.79434204f, 18.9650688f)
    NEAR(attention_lengths, 3, -5.72547531f, -175.098984f, 13.4672203f)
    NEAR(attention_slopes, 9, 0.637951255f, 0.0369243622f, 2.53556848f, 0, 7.28910875f, 2.17049313f,
        -9.33373642f, -117.200394f, 152.865677f)
    CASE(classes, 3, 0.185182571f, 2.12742996f, 0.136957645f)
    CASE(divergence, 3, 2.40283108f, 0, 1.83158922f)
    CASE(divergence_zero, 3, 1.49203539f, 4.9342823f, 4.44381094f)
    CASE(smooth, 12, 0.025f, 0.925f, 0.025f, 0.025f, 0.025f, 0.025f, 0.025f, 0.925f, 0.925f, 0.025f,
        0.025f, 0.025f)
    CASE(huber, 12, 0.5f, 1.875f, 1.875f, 0, 1.125f, 6.375f, 7.875f, 4.875f, 6.375f, 3.375f, 3.375f,
        0.125f)
    CASE(log_cosh, 12, 0.433780789f, 1.32500267f, 1.32500267f, 0, 0.85544014f, 4.30689812f, 5.30685902f,
        3.30718803f, 4.30689812f, 2.30932856f, 2.30932856f, 0.120114505f)
    CASE(hinge, 12, 0, 0, 1, 3, 1.5f, 0, 0, 0, 0, 6, 0, 3.5f)
    CASE(sgd, 5, 0.348319978f, -1.18097997f, 0.233279973f, 0.536159992f, 5)
    CASE(momentum, 5, -0.0977500081f, -0.834312022f, -1.74126005f, 0.666125f, 5)
    CASE(nesterov, 5, 0.0260808878f, -0.631884694f, -1.24715257f, 0.487993449f, 5)
    CASE(adam, 5, 0.526533246f, -1.50295961f, 2.50178337f, 0.869783878f, 5)
    CASE(nadam, 5, 0.499312699f, -1.43480361f, 2.42986512f, 0.794031143f, 5)
    CASE(adamw, 5, 0.526495218f, -1.50287032f, 2.50164413f, 0.869745374f, 5)
    CASE(adamw_more, 5, 0.489438087f, -1.41557038f, 2.36528254f, 0.831976712f, 5)
    CASE(rmsprop, 5, 0.346847624f, -1.04892719f, 2.00670385f, 0.453291535f, 5)
    CASE(rmsprop_momentum, 5, 0.588668883f, -1.55879307f, 2.5560205f, 0.847534001f, 5)
    CASE(rmsprop_nesterov, 5, 0.398914278f, -1.2661953f, 2.25394464f, 0.805736601f, 5)
    CASE(adagrad, 5, 0.393267155f, -1.13496375f, 2.09331799f, 0.511822283f, 5)
    CASE(lion, 5, 0.5f, -1.5f, 2.5f, 0.6f, 5)
    CASE(lion_decay, 5, 0.496008992f, -1.49101889f, 2.48602891f, 0.596706033f, 5)
    CASE(clipped, 5, 0.650000036f, -1.64999974f, 2.65000033f, 0.708160043f, 5)
    CASE(clipped_all, 5, 0.824099541f, -1.87089205f, 2.2844739f, 0.55323112f, 5)
    CASE(clipped_each, 7, 0.37818779f, 1.51275116f, 3, 4, 0, 0, 7.43303437f)
    CASE(line, 6, 0.1f, 0.19f, 0.55f, 1, 1, 1)
    CASE(polynomial, 6, 1, 1, 0.606249988f, 0.2f, 0.1f, 0.1f)
    CASE(exponential, 6, 1, 0.870550573f, 0.5f, 0.25f, 0.143587306f, 0.03125f)
    CASE(staircase, 6, 1, 1, 1, 0.5f, 0.25f, 0.2f)
    CASE(cosine, 6, 2, 1.9889195f, 1.73639619f, 1.1f, 0.570993125f, 0.2f)
    CASE(cosine_squared, 6, 2, 1.97790718f, 1.51139617f, 0.65f, 0.276464403f, 0.2f)
    CASE(warmup, 6, 0.1f, 0.28f, 1, 0.7625f, 0.378216892f, 0.05f)
    CASE(piecewise, 6, 1, 1, 0.5f, 0.5f, 0.05f, 0.05f)
};

static void holds(size_t i, const char *device)
{
    hd_array *x = hd_array_new(HD_F32, HD_INTS(3, 4), plain, NULL), *y = NULL;
    hd_fn *f = hd_jit(hd_function_(1, (uintptr_t)cases[i].f, cases[i].name, NULL, 0), .device = device);
    ck_assert_msg(!hd_call(f, &y, x), "%s on %s: %s", cases[i].name, device, hd_error());
    ck_assert_msg(
        hd_array_size(y) == cases[i].n, "%s has %d elements", cases[i].name, (int)hd_array_size(y));
    const float *got = hd_data(y);
    for (int j = 0; j < cases[i].n; j++) {
        double want = (double)cases[i].want[j], error = fabs((double)got[j] - want);
        ck_assert_msg(error <= cases[i].error * fmax(1, fabs(want)),
            "%s on %s: element %d is %.9g, not %.9g", cases[i].name, device, j, (double)got[j], want);
    }
    hd_drop(x), hd_drop(y);
}

START_TEST(values)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        holds(i, "host"), holds(i, "kernel");
}
END_TEST

/* Half of them go, the others are doubled; lanes have keys of their own. */
static hd dropped(hd key, hd x) { return hd_dropout(key, x, 0.5); }
static hd lanes_dropped(hd key, hd x)
{
    return hd_apply(hd_vmap(dropped, .in_axes = { 0, HD_NONE }), hd_random_split(key, 3), x);
}

START_TEST(dropout)
{
    enum { N = 400 };
    float ones[N];
    for (int i = 0; i < N; i++)
        ones[i] = 1;
    hd_array *key = hd_array_random_key(7), *x = hd_array_of(ones, N), *y = NULL;
    ck_assert_msg(!hd_call(lanes_dropped, &y, key, x), "%s", hd_error());
    const float *got = hd_data(y);
    int left[3] = { 0 }, alike = 0;
    for (int i = 0; i < 3 * N; i++) {
        ck_assert(got[i] == 0 || got[i] == 2);
        left[i / N] += got[i] == 2;
        alike += i < N && got[i] == got[i + N];
    }
    for (int k = 0; k < 3; k++)
        ck_assert_msg(left[k] > 150 && left[k] < 250, "%d are left", left[k]);
    ck_assert(alike < N);
    hd_drop(key), hd_drop(x), hd_drop(y);
}
END_TEST

static hd no_halves(hd x) { return hd_glu(x, 0); }
static hd no_rate(hd x) { return hd_dropout(hd_random_key(0), x, 1.5); }
static hd odd_heads(hd x)
{
    hd a = hd_reshape(x, 1, 3, 4), b = hd_reshape(x, 1, 2, 6);
    return hd_dot_product_attention(a, b, b);
}
static hd odd_mask(hd x)
{
    hd a = hd_reshape(x, 2, 3, 2);
    return hd_dot_product_attention(a, a, a, .mask = hd_ones(HD_BOOL, 3, 5));
}
static hd float_mask(hd x)
{
    hd a = hd_reshape(x, 2, 3, 2);
    return hd_dot_product_attention(a, a, a, .mask = hd_ones(HD_F32, 3, 2, 2));
}
static hd wrong_scale(hd x) { return hd_layer_norm(x, VEC(1, 2, 3), HD_NIL); }
static hd half_given(hd x) { return hd_batch_norm(x, HD_NIL, HD_NIL, shift(), HD_NIL); }
static hd no_state(hd x) { return hd_rmsprop(x, x, x, hd_c(0.1)); }
static hd past_peak(hd x) { return hd_warmup_cosine_decay(hd_index(hd_ravel(x), 0, 0), 0, 1, 9, 9); }
static hd wrong_labels(hd x) { return hd_softmax_cross_entropy_labels(x, whole((const int[]){ 1, 3 }, 2)); }

START_TEST(refused)
{
    const struct {
        hd (*f)(hd);
        const char *words[3];
    } wrong[] = {
        { no_halves, { "hd_glu", "axis 0 of f32[3,4]", "even" } },
        { no_rate, { "hd_dropout", "probability", "1.5" } },
        { odd_heads, { "keys have the batch and the d", "f32[1,1,2,6]", "attention" } },
        { odd_mask, { "mask", "bool[1,1,3,5]", "[1, 3, 2, 2]" } },
        { float_mask, { "bool", "f32[3,2,2]", ".bias" } },
        { wrong_scale, { "scale is f32[3]", "f32[4]", "hd_layer_norm" } },
        { half_given, { "mean and variance", "both", "hd_batch_norm" } },
        { no_state, { "hd_rmsprop", "hd_opt_init", "f32[3,4]" } },
        { past_peak, { "hd_warmup_cosine_decay", "9 steps", "fewer" } },
        { wrong_labels, { "f32[3,4]", "i32[2]", "label" } },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        hd_array *x = hd_array_new(HD_F32, HD_INTS(3, 4), plain, NULL), *y = NULL;
        ck_assert(hd_call(hd_function_(1, (uintptr_t)wrong[i].f, "f", NULL, 0), &y, x) != 0);
        for (int k = 0; k < 3; k++)
            ck_assert_msg(strstr(hd_error(), wrong[i].words[k]) && strstr(hd_error(), "test_nn.c"),
                "\"%s\" is not in: %s", wrong[i].words[k], hd_error());
        hd_drop(x);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("nn");
    TCase *c = suite_case(s);
    tcase_add_test(c, values);
    tcase_add_test(c, dropout);
    tcase_add_test(c, refused);
    return suite_run(s);
}
