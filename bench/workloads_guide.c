/* workloads_guide.c - the sections of the guide, at their printed size (_s) and at a size that matters. */
#include "workloads.h"

#include <math.h>
#include <stdlib.h>

/* ==================== predict: linear model, batched */

static hd predict(hd params, hd x)
{
    hd z = hd_add(hd_dot(x, hd_get(params, "w")), hd_get(params, "b"));
    return hd_stack(0, z, hd_sigmoid(z));
}

static hd_fn *predict_fn(const int64_t *s) { (void)s; return hd_vmap(predict, .in_axes = { HD_NONE, 0 }); }

static hd_array *linear_model(float w0, float w1, float b)
{
    float w[] = { w0, w1 };
    hd_array *aw = hd_array_of(w, 2), *ab = hd_array_of(&b);
    return hd_array_dict({ "w", aw }, { "b", ab });
}

static int predict_args(const int64_t *s, hd_array **a)
{
    a[0] = linear_model(1.5f, -0.5f, 0.25f);
    a[1] = s[0] == 3 ? hd_array_lit(float, (3, 2), 1, 2, 2.5, -1, -.25, .75) : AR(1, 3, 0, s[0], 2);
    return 2;
}

static double predict_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return (double)s[0] * (4 + 2 * SLOW);
}

/* ==================== scaled loss */

static hd scaled_loss(hd s, hd p, hd t) { return hd_mul(s, hd_sum(hd_square(hd_sub(p, t)))); }

static hd_fn *scaled_fn(const int64_t *s)
{
    (void)s;
    return hd_vmap(scaled_loss, .in_axes = { HD_NONE, 0, 0 });
}

static int scaled_args(const int64_t *s, hd_array **a)
{
    a[0] = hd_array_scalar(HD_F32, 0.5);
    if (s[0] == 2) {
        a[1] = hd_array_lit(float, (2, 2), .2, .8, .6, .4);
        a[2] = hd_array_lit(float, (2, 2), 0, 1, 1, 0);
    } else {
        a[1] = A(1, s[0], s[1]), a[2] = A(2, s[0], s[1]);
    }
    return 3;
}

static double scaled_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return 3.0 * (double)(s[0] * s[1]);
}

/* ==================== normalise images */

static hd normalize(hd x) { return hd_div(hd_sub(x, hd_mean(x)), hd_std(x)); }

static hd_fn *normalize_fn(const int64_t *s) { (void)s; return hd_vmap(normalize); }
static hd_fn *normalize_last_fn(const int64_t *s) { (void)s; return hd_vmap(normalize, .out_axes = -1); }
static int normalize_args(const int64_t *s, hd_array **a)
{
    a[0] = AR(1, 2, .5, s[0], s[1], s[1]);
    return 1;
}
static double normalize_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return 6.0 * (double)(s[0] * s[1] * s[1]);
}

/* ==================== pairwise distances */

static hd distance(hd x, hd y) { return hd_sqrt(hd_sum(hd_square(hd_sub(x, y)))); }

static hd_fn *pairwise_fn(const int64_t *s)
{
    (void)s;
    return hd_vmap(hd_vmap(distance, .in_axes = { HD_NONE, 0 }), .in_axes = { 0, HD_NONE });
}

static int pairwise_args(const int64_t *s, hd_array **a)
{
    if (s[0] == 3) {
        a[0] = hd_array_lit(float, (3, 2), 0, 0, 1, 0, 0, 1);
        a[1] = hd_array_lit(float, (2, 2), 0, 0, 1, 1);
    } else {
        a[0] = A(1, s[0], s[2]), a[1] = A(2, s[1], s[2]);
    }
    return 2;
}

static double pairwise_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return (double)(s[0] * s[1]) * (3.0 * (double)s[2] + SLOW);
}

/* ==================== gradients for each example: a linear classifier */

static hd example_loss(hd params, hd x, hd y)
{
    hd z = hd_add(hd_dot(x, hd_get(params, "w")), hd_get(params, "b"));
    return hd_mean(hd_sigmoid_cross_entropy(z, y));
}

static hd_fn *pergrad_fn(const int64_t *s)
{
    (void)s;
    return hd_vmap(hd_grad(example_loss), .in_axes = { HD_NONE, 0, 0 });
}

static hd_array *coins(int64_t n, int64_t m)
{
    float *v = malloc((size_t)(n * m) * sizeof *v);
    for (int64_t i = 0; v && i < n * m; i++)
        v[i] = (float)(mix((uint32_t)i, 2) % 2);
    hd_array *a = v ? hd_array_of(v, n, m) : NULL;
    free(v);
    return a;
}

static int pergrad_args(const int64_t *s, hd_array **a)
{
    a[0] = linear_model(1, -2, 0.3f);
    if (s[0] == 3) {
        a[1] = hd_array_lit(float, (3, 2), 1, 0, .5, 1.5, 2, -1);
        a[2] = hd_array_lit(float, (3, 3), 1, 0, 1, 0, 1, 0, 1, 0, 1);
    } else {
        a[1] = AR(1, 3, 0, s[0], 2), a[2] = coins(s[0], 3);
    }
    return 3;
}

static double pergrad_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return (double)s[0] * (30 + 2 * SLOW);
}

/* ==================== gradients for each example: a perceptron; clipped and summed */

static hd mlp_loss(hd params, hd x, hd label)
{
    return cross_entropy(perceptron(params, x, (hd_tanh)), label);
}

static hd squares(hd x) { return hd_sum(hd_square(x)); }
static hd sum_rows(hd x) { return hd_sum(x, 0); }
static hd shrink(hd norm, hd g) { return hd_div(g, hd_maximum(hd_c(1), norm)); }

static hd clipped(hd params, hd x, hd label)
{
    hd g = hd_apply(hd_grad(mlp_loss), params, x, label), all = hd_tree_map(squares, g),
       sum = hd_leaf(all, 0);
    for (int i = 1; i < hd_leaf_count(all); i++)
        sum = hd_add(sum, hd_leaf(all, i));
    return hd_tree_map(hd_partial(shrink, hd_sqrt(sum)), g);
}

static hd clipped_sum(hd params, hd x, hd label)
{
    return hd_tree_map(sum_rows, hd_apply(hd_vmap(clipped, .in_axes = { HD_NONE, 0, 0 }), params, x, label));
}

static hd_fn *pergrad_mlp_fn(const int64_t *s)
{
    (void)s;
    return hd_vmap(hd_grad(mlp_loss), .in_axes = { HD_NONE, 0, 0 });
}
static hd_fn *pergrad_clip_fn(const int64_t *s) { (void)s; return HD_FN(clipped_sum); }

static int pergrad_mlp_args(const int64_t *s, hd_array **a)
{
    a[0] = layers(s + 1, 3), a[1] = AR(1, 1.7, 0, s[0], s[1]), a[2] = Z(2, (uint32_t)s[3], s[0]);
    return 3;
}

static double mlp_flops(const int64_t *s, int each)
{
    double macs = (double)(s[1] * s[2] + s[2] * s[3]);
    return (double)s[0] * (2 * macs + 2 * (double)(s[2] * s[3]) + macs * each + 74 * SLOW);
}

static double pergrad_mlp_flops(const int64_t *s, const hd_array *o) { (void)o; return mlp_flops(s, 1); }
static double pergrad_clip_flops(const int64_t *s, const hd_array *o) { (void)o; return mlp_flops(s, 5); }

/* ==================== Jacobians, Hessians */

static hd soft(hd x) { return hd_softmax(x, -1); }

static hd_fn *jacrev_fn(const int64_t *s) { (void)s; return hd_jacrev(soft); }
static hd_fn *jacfwd_fn(const int64_t *s) { (void)s; return hd_jacfwd(soft); }

static int jac_args(const int64_t *s, hd_array **a)
{
    a[0] = s[0] == 3 ? hd_array_lit(float, (3), 1, 0, -1) : AR(1, 3, 0, s[0]);
    return 1;
}

static double jac_flops(const int64_t *s, const hd_array *o) { (void)o; return 4.0 * (double)(s[0] * s[0]); }

static hd log_cosh(hd w, hd x) { return hd_sum(hd_log(hd_cosh(hd_dot(w, x)))); }

static hd_fn *hessian_fn(const int64_t *s)
{
    (void)s;
    return hd_vmap(hd_hessian(log_cosh, .argnums = HD_INTS(1)), .in_axes = { HD_NONE, 0 });
}

static int hessian_args(const int64_t *s, hd_array **a)
{
    a[0] = A(1, s[1], s[1]), a[1] = A(2, s[0], s[1]);
    return 2;
}

static double hessian_flops(const int64_t *s, const hd_array *o)
{
    double d = (double)s[1];
    (void)o;
    return (double)s[0] * (2 * d * d * (d + 1) + d * SLOW);
}

/* ==================== dropout, a key a row */

static hd drop_row(hd key, hd x)
{
    hd keep = hd_random_bernoulli(key, hd_c(0.9), hd_dim(x, 0));
    return hd_div(hd_mul(hd_cast(keep, HD_F32), x), hd_c(0.9));
}

static hd dropout(hd key, hd x)
{
    return hd_apply(hd_vmap(drop_row), hd_random_split(key, hd_dim(x, 0)), x);
}

static hd_fn *dropout_fn(const int64_t *s) { (void)s; return HD_FN(dropout); }

static int dropout_args(const int64_t *s, hd_array **a)
{
    float ones[20];
    for (int i = 0; i < 20; i++)
        ones[i] = 1;
    a[0] = seed_key(42);
    a[1] = s[0] == 4 ? hd_array_of(ones, 4, 5) : A(1, s[0], s[1]);
    return 2;
}

static double dropout_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return 77.0 * (double)(s[0] * s[1]);
}

/* ==================== a recurrent network, a sequence at a time */

static hd rnn_cell(hd p, hd h, hd x)
{
    h = hd_tanh(hd_add(hd_add(hd_dot(h, hd_nth(p, 0)), hd_dot(x, hd_nth(p, 1))), hd_nth(p, 2)));
    return hd_tuple(h, h);
}

static hd rnn(hd params, hd xs)
{
    hd h0 = hd_zeros_like(hd_nth(params, 2));
    return hd_nth(hd_scan(hd_partial(rnn_cell, params), h0, xs), 1);
}

static hd rnn_loss(hd params, hd xs)
{
    return hd_mean(hd_square(hd_apply(hd_vmap(rnn, .in_axes = { HD_NONE, 0 }), params, xs)));
}

static hd_fn *rnn_fn(const int64_t *s) { (void)s; return hd_vmap(rnn, .in_axes = { HD_NONE, 0 }); }
static hd_fn *rnn_grad_fn(const int64_t *s) { (void)s; return hd_grad(rnn_loss); }

static int rnn_args(const int64_t *s, hd_array **a)
{
    int64_t T = s[0], H = s[1], D = s[2], B = s[3];
    hd_array *w = dense(1, H, H), *u = dense(2, D, H), *b = AR(3, .1, 0, H);
    a[0] = hd_array_tuple(w, u, b), a[1] = A(4, B, T, D);
    return 2;
}

static double rnn_flops(const int64_t *s, const hd_array *o)
{
    double T = (double)s[0], H = (double)s[1], D = (double)s[2], B = (double)s[3];
    (void)o;
    return T * B * (2 * H * (H + D) + H * SLOW);
}

static double rnn_grad_flops(const int64_t *s, const hd_array *o) { return 3 * rnn_flops(s, o); }

/* ==================== the group */

#define ROW(n, fn, arg, fl, to, ...) \
    { .name = #n, .group = "guide", .function = fn, .args = arg, .flops = fl, .target = to, __VA_ARGS__ }
#define AT(...)         .size = { __VA_ARGS__ }
#define SMALL(...)      .small = { __VA_ARGS__ }
#define ONLY(...)       AT(__VA_ARGS__), SMALL(__VA_ARGS__)

const Workload guide_workloads[] = {
    ROW(predict_s, predict_fn, predict_args, predict_flops, 4, ONLY(3)),
    ROW(predict_1m, predict_fn, predict_args, predict_flops, 3, AT(1 << 20), SMALL(1000)),
    ROW(scaled_loss_s, scaled_fn, scaled_args, scaled_flops, 4, ONLY(2, 2)),
    ROW(scaled_loss_256k, scaled_fn, scaled_args, scaled_flops, 1.5, AT(1 << 18, 64), SMALL(300, 64)),
    ROW(normalize_s, normalize_fn, normalize_args, normalize_flops, 4, ONLY(2, 28)),
    ROW(normalize_last_s, normalize_last_fn, normalize_args, normalize_flops, 4, ONLY(2, 28)),
    ROW(normalize_256, normalize_fn, normalize_args, normalize_flops, 4, AT(256, 224), SMALL(9, 48)),
    ROW(normalize_last_256, normalize_last_fn, normalize_args, normalize_flops, 4, AT(256, 224),
        SMALL(19, 32)),
    ROW(pairwise_s, pairwise_fn, pairwise_args, pairwise_flops, 4, ONLY(3, 2, 2)),
    ROW(pairwise_3, pairwise_fn, pairwise_args, pairwise_flops, 20, AT(2048, 2048, 3), SMALL(70, 50, 3)),
    ROW(pairwise_64, pairwise_fn, pairwise_args, pairwise_flops, 4, AT(2048, 2048, 64), SMALL(70, 50, 64)),
    ROW(pergrad_s, pergrad_fn, pergrad_args, pergrad_flops, 4, ONLY(3)),
    ROW(pergrad_1m, pergrad_fn, pergrad_args, pergrad_flops, 10, AT(1 << 20), SMALL(1000)),
    ROW(pergrad_mlp, pergrad_mlp_fn, pergrad_mlp_args, pergrad_mlp_flops, 6, AT(4096, 32, 64, 10),
        SMALL(33, 32, 64, 10)),
    ROW(pergrad_clip, pergrad_clip_fn, pergrad_mlp_args, pergrad_clip_flops, 8, AT(4096, 32, 64, 10),
        SMALL(33, 32, 64, 10)),
    ROW(jacrev_s, jacrev_fn, jac_args, jac_flops, 3, ONLY(3)),
    ROW(jacrev_512, jacrev_fn, jac_args, jac_flops, 2, AT(512), SMALL(40)),
    ROW(jacfwd_512, jacfwd_fn, jac_args, jac_flops, 1.5, AT(512), SMALL(40)),
    ROW(hessian_s, hessian_fn, hessian_args, hessian_flops, 4, ONLY(3, 4)),
    ROW(hessian_4096, hessian_fn, hessian_args, hessian_flops, 8, AT(4096, 16), SMALL(20, 16)),
    ROW(dropout_s, dropout_fn, dropout_args, dropout_flops, 3, ONLY(4, 5)),
    ROW(dropout_4m, dropout_fn, dropout_args, dropout_flops, 10, AT(4096, 1024), SMALL(20, 50)),
    ROW(rnn_s, rnn_fn, rnn_args, rnn_flops, 4, ONLY(8, 8, 4, 4)),
    ROW(rnn_s_grad, rnn_grad_fn, rnn_args, rnn_grad_flops, 4, ONLY(8, 8, 4, 4)),
    ROW(rnn_h8, rnn_fn, rnn_args, rnn_flops, 4, AT(256, 8, 8, 64), SMALL(10, 8, 8, 20)),
    ROW(rnn_h8_grad, rnn_grad_fn, rnn_args, rnn_grad_flops, 4, AT(256, 8, 8, 64), SMALL(10, 8, 8, 20)),
    ROW(rnn, rnn_fn, rnn_args, rnn_flops, 2.2, AT(256, 128, 64, 64), SMALL(6, 128, 64, 18)),
    ROW(rnn_grad, rnn_grad_fn, rnn_args, rnn_grad_flops, 2, AT(256, 128, 64, 64), SMALL(6, 128, 64, 18)),
    { 0 },
};
