/* workloads_models.c - whole networks: training steps give (loss, new parameters), parameters - 0.1
 * gradient. */
#include "workloads.h"

#include <math.h>

static hd descend(hd p, hd g) { return hd_sub(p, times(.1, g)); }

static hd trained(hd value_and_grad, hd params)
{
    return hd_tuple(hd_nth(value_and_grad, 0), hd_tree_map(descend, params, hd_nth(value_and_grad, 1)));
}

/* ==================== a perceptron: size batch, then the layers */

static hd mlp_loss(hd params, hd x, hd labels)
{
    return mean_cross_entropy(perceptron(params, x, (hd_relu)), labels);
}
static hd mlp_step(hd params, hd x, hd labels)
{
    return trained(hd_apply(hd_value_and_grad(mlp_loss), params, x, labels), params);
}
static hd_fn *mlp_fn(const int64_t *s) { (void)s; return HD_FN(mlp_step); }

static int mlp_args(const int64_t *s, hd_array **a)
{
    a[0] = layers(s + 1, 4), a[1] = A(1, s[0], s[1]), a[2] = Z(2, 10, s[0]);
    return 3;
}

static double mlp_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return 6.0 * (double)(s[0] * (s[1] * s[2] + s[2] * s[3] + s[3] * s[4])) -
        2.0 * (double)(s[0] * s[1] * s[2]);
}

/* ==================== convolutional network: size batch, height; the last layers are 128 and 10 wide */

static hd pool(hd x)                                    /* the largest of each 2 x 2 */
{
    int64_t n = hd_dim(x, 0), h = hd_dim(x, 1) / 2, v = hd_dim(x, 2) / 2, c = hd_dim(x, 3);
    return hd_max(hd_reshape(x, n, h, 2, v, 2, c), 2, 4);
}

static hd cnn_loss(hd params, hd x, hd labels)
{
    hd conv = hd_get(params, "conv");
    for (int i = 0; i < hd_len(conv); i++) {
        hd layer = hd_nth(conv, i);
        x = pool(hd_relu(hd_add(convolve3x3(x, hd_nth(layer, 0)), hd_nth(layer, 1))));
    }
    hd flat = hd_reshape(x, hd_dim(x, 0), -1);
    return mean_cross_entropy(perceptron(hd_get(params, "mlp"), flat, (hd_relu)), labels);
}

static hd cnn_step(hd params, hd x, hd labels)
{
    return trained(hd_apply(hd_value_and_grad(cnn_loss), params, x, labels), params);
}

static hd_fn *cnn_fn(const int64_t *s) { (void)s; return HD_FN(cnn_step); }

static hd_array *filter(int k, int64_t in, int64_t out)
{
    hd_array *w = AR(k, sqrt(3 / (9.0 * (double)in)), 0, 3, 3, in, out), *b = AR(k + 1, .1, 0, out);
    return hd_array_tuple(w, b);
}

static int cnn_args(const int64_t *s, hd_array **a)
{
    const int64_t sizes[] = { s[1] / 4 * (s[1] / 4) * 64, 128, 10 };
    hd_array *first = filter(3, 1, 32), *second = filter(5, 32, 64), *conv = hd_array_tuple(first, second);
    hd_array *mlp = layers(sizes, 3);
    a[0] = hd_array_dict({ "conv", conv }, { "mlp", mlp });
    a[1] = A(1, s[0], s[1], s[1], 1), a[2] = Z(2, 10, s[0]);
    return 3;
}

static double cnn_flops(const int64_t *s, const hd_array *o)
{
    double h2 = (double)(s[1] * s[1]);
    (void)o;
    return 2.0 * (double)s[0] *
        (2 * h2 * 9 * 32 + 3 * h2 / 4 * 9 * 32 * 64 + 3 * (h2 / 16 * 64 * 128 + 1280));
}

/* ==================== residual block with batch normalisation: size batch, height, channels */

static hd batch_norm(hd x, hd a, hd b)
{
    hd scale = hd_mul(hd_rsqrt(plus(hd_var(x, 0, 1, 2), 1e-5)), a);
    return hd_add(hd_mul(hd_sub(x, hd_mean(x, 0, 1, 2)), scale), b);
}

static hd block_loss(hd p, hd x)
{
    hd y = hd_relu(batch_norm(convolve3x3(x, hd_get(p, "w1")), hd_get(p, "a1"), hd_get(p, "b1")));
    y = batch_norm(convolve3x3(y, hd_get(p, "w2")), hd_get(p, "a2"), hd_get(p, "b2"));
    return hd_mean(hd_square(hd_relu(hd_add(x, y))));
}

static hd_fn *resblock_fn(const int64_t *s)
{
    (void)s;
    return hd_grad(block_loss, .argnums = HD_INTS(0, 1));
}

static int resblock_args(const int64_t *s, hd_array **a)
{
    int64_t c = s[2];
    double r = sqrt(3 / (9.0 * (double)c));
    hd_array *w1 = AR(2, r, 0, 3, 3, c, c), *w2 = AR(3, r, 0, 3, 3, c, c);
    hd_array *a1 = AR(4, .5, 1, c), *b1 = AR(5, .1, 0, c), *a2 = AR(6, .5, 1, c), *b2 = AR(7, .1, 0, c);
    a[0] = hd_array_dict({ "w1", w1 }, { "w2", w2 }, { "a1", a1 }, { "b1", b1 }, { "a2", a2 }, { "b2", b2 });
    a[1] = A(1, s[0], s[1], s[1], c);
    return 2;
}

static double resblock_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return 2.0 * 3 * 2 * 9 * (double)(s[0] * s[1] * s[1] * s[2] * s[2]);
}

/* ==================== gated recurrent networks, time first: size T, batch, width */

static hd gates(hd p, hd x) { return hd_dot(x, hd_get(p, "wx")); }
static hd both(hd wide, hd narrow) { return hd_sigmoid(hd_add(wide, narrow)); }

static hd lstm_cell(hd p, hd s, hd x)
{
    hd g = hd_add(hd_add(gates(p, x), hd_dot(hd_nth(s, 0), hd_get(p, "wh"))), hd_get(p, "b")),
       t = hd_split(g, 4, -1);
    hd keep = hd_mul(hd_sigmoid(hd_nth(t, 1)), hd_nth(s, 1));
    hd c = hd_add(keep, hd_mul(hd_sigmoid(hd_nth(t, 0)), hd_tanh(hd_nth(t, 2))));
    hd h = hd_mul(hd_sigmoid(hd_nth(t, 3)), hd_tanh(c));
    return hd_tuple(hd_tuple(h, c), h);
}

static hd gru_cell(hd p, hd h, hd x)
{
    hd a = hd_split(hd_add(gates(p, x), hd_get(p, "b")), 3, -1),
       b = hd_split(hd_dot(h, hd_get(p, "wh")), 3, -1);
    hd r = both(hd_nth(a, 0), hd_nth(b, 0)), z = both(hd_nth(a, 1), hd_nth(b, 1));
    hd n = hd_tanh(hd_add(hd_nth(a, 2), hd_mul(r, hd_nth(b, 2))));
    h = hd_add(hd_mul(hd_sub(hd_c(1), z), n), hd_mul(z, h));
    return hd_tuple(h, h);
}

static hd state_of(hd p, hd xs) { return hd_zeros(HD_F32, hd_dim(xs, 1), hd_dim(hd_get(p, "wh"), 0)); }

static hd lstm(hd p, hd xs)
{
    hd zero = state_of(p, xs);
    return hd_nth(hd_scan(hd_partial(lstm_cell, p), hd_tuple(zero, zero), xs), 1);
}

static hd gru(hd p, hd xs) { return hd_nth(hd_scan(hd_partial(gru_cell, p), state_of(p, xs), xs), 1); }
static hd lstm_loss(hd p, hd xs) { return hd_mean(hd_square(lstm(p, xs))); }
static hd gru_loss(hd p, hd xs) { return hd_mean(hd_square(gru(p, xs))); }
static hd_fn *lstm_fn(const int64_t *s) { (void)s; return HD_FN(lstm); }
static hd_fn *gru_fn(const int64_t *s) { (void)s; return HD_FN(gru); }
static hd_fn *lstm_grad_fn(const int64_t *s) { (void)s; return hd_value_and_grad(lstm_loss); }
static hd_fn *gru_grad_fn(const int64_t *s) { (void)s; return hd_value_and_grad(gru_loss); }

static int gated_args(const int64_t *s, int64_t n, hd_array **a)
{
    int64_t h = s[2];
    hd_array *wx = dense(1, h, n * h), *wh = dense(2, h, n * h), *b = AR(3, .1, 0, n * h);
    a[0] = hd_array_dict({ "wx", wx }, { "wh", wh }, { "b", b }), a[1] = A(4, s[0], s[1], h);
    return 2;
}

static int lstm_args(const int64_t *s, hd_array **a) { return gated_args(s, 4, a); }
static int gru_args(const int64_t *s, hd_array **a) { return gated_args(s, 3, a); }

static double gated_flops(const int64_t *s, int n)
{
    return (double)(s[0] * s[1]) * (4.0 * n * (double)(s[2] * s[2]) + 5.0 * (double)s[2] * SLOW);
}

static double lstm_flops(const int64_t *s, const hd_array *o) { (void)o; return gated_flops(s, 4); }
static double gru_flops(const int64_t *s, const hd_array *o) { (void)o; return gated_flops(s, 3); }
static double lstm_grad_flops(const int64_t *s, const hd_array *o) { (void)o; return 3 * gated_flops(s, 4); }
static double gru_grad_flops(const int64_t *s, const hd_array *o) { (void)o; return 3 * gated_flops(s, 3); }

/* ==================== attention: size batch, heads, time, width */

static hd attention(hd q, hd k, hd v)
{
    hd scores = times(1 / sqrt((double)hd_dim(q, 3)), hd_einsum("bhqd,bhkd->bhqk", q, k));
    return hd_einsum("bhqk,bhkd->bhqd", hd_softmax(scores, -1), v);
}

static hd_fn *attention_fn(const int64_t *s) { (void)s; return HD_FN(attention); }

static int attention_args(const int64_t *s, hd_array **a)
{
    for (int i = 0; i < 3; i++)
        a[i] = AR(i + 1, 1.7, 0, s[0], s[1], s[2], s[3]);
    return 3;
}

static double attention_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return (double)(s[0] * s[1] * s[2] * s[2]) * (4.0 * (double)s[3] + SLOW);
}

/* ==================== a block of a transformer: size batch, time, width, heads */

static hd heads(hd y, int64_t h)                        /* [b, t, h d] -> [b, h, t, d] */
{
    return hd_transpose(hd_reshape(y, hd_dim(y, 0), hd_dim(y, 1), h, -1), 0, 2, 1, 3);
}

static hd transformer(hd p, hd x, const void *count)
{
    int64_t b = hd_dim(x, 0), t = hd_dim(x, 1), d = hd_dim(x, 2), h = *(const int64_t *)count;
    hd parts = hd_split(hd_dot(normalise(x, hd_get(p, "g1"), hd_get(p, "c1")), hd_get(p, "wqkv")), 3, -1);
    hd q = heads(hd_nth(parts, 0), h), k = heads(hd_nth(parts, 1), h), v = heads(hd_nth(parts, 2), h);
    hd scores = times(1 / sqrt((double)(d / h)), hd_einsum("bhqd,bhkd->bhqk", q, k));
    scores = hd_where(hd_tril(hd_ones(HD_BOOL, t, t), 0), scores, hd_c(-1e9));
    hd y = hd_transpose(hd_einsum("bhqk,bhkd->bhqd", hd_softmax(scores, -1), v), 0, 2, 1, 3);
    x = hd_add(x, hd_dot(hd_reshape(y, b, t, d), hd_get(p, "wo")));
    y = normalise(x, hd_get(p, "g2"), hd_get(p, "c2"));
    y = hd_gelu(hd_add(hd_dot(y, hd_get(p, "w1")), hd_get(p, "b1")));
    return hd_add(hd_add(x, hd_dot(y, hd_get(p, "w2"))), hd_get(p, "b2"));
}

static hd transformer_loss(hd p, hd x, const void *count)
{
    return hd_mean(hd_square(hd_apply(hd_bind(transformer, *(const int64_t *)count), p, x)));
}

static hd_fn *transformer_fn(const int64_t *s) { return hd_bind(transformer, s[3]); }
static hd_fn *transformer_grad_fn(const int64_t *s)
{
    return hd_value_and_grad(hd_bind(transformer_loss, s[3]));
}

static int transformer_args(const int64_t *s, hd_array **a)
{
    int64_t d = s[2];
    hd_array *wqkv = dense(1, d, 3 * d), *wo = dense(2, d, d), *w1 = dense(3, d, 4 * d),
             *b1 = AR(4, .1, 0, 4 * d);
    hd_array *w2 = dense(5, 4 * d, d), *b2 = AR(6, .1, 0, d), *g1 = AR(7, .5, 1, d), *c1 = AR(8, .1, 0, d);
    hd_array *g2 = AR(9, .5, 1, d), *c2 = AR(10, .1, 0, d);
    a[0] = hd_array_dict({ "wqkv", wqkv }, { "wo", wo }, { "w1", w1 }, { "b1", b1 }, { "w2", w2 },
        { "b2", b2 }, { "g1", g1 }, { "c1", c1 }, { "g2", g2 }, { "c2", c2 });
    a[1] = AR(11, 1.7, 0, s[0], s[1], d);
    return 2;
}

static double transformer_flops(const int64_t *s, const hd_array *o)
{
    double b = (double)s[0], t = (double)s[1], d = (double)s[2], h = (double)s[3];
    (void)o;
    return 2 * b * t * d * d * 12 + 4 * b * t * t * d + b * t * (h * t + 4 * d) * SLOW;
}

static double transformer_grad_flops(const int64_t *s, const hd_array *o)
{
    return 3 * transformer_flops(s, o);
}

/* ==================== recommendation: tables and a perceptron. size batch, fields, rows, width, more
 * features */

static hd dlrm_loss(hd p, hd index, hd x, hd labels)
{
    hd rows = hd_reshape(hd_take(hd_get(p, "table"), index, 0), hd_dim(index, 0), -1);
    hd logits = perceptron(hd_get(p, "mlp"), hd_concatenate(1, rows, x), (hd_relu));
    return mean_cross_entropy(logits, labels);
}

static hd_fn *dlrm_fn(const int64_t *s) { (void)s; return hd_value_and_grad(dlrm_loss); }

static int dlrm_args(const int64_t *s, hd_array **a)
{
    const int64_t sizes[] = { s[1] * s[3] + s[4], 128, 16 };
    hd_array *table = A(1, s[2], s[3]), *mlp = layers(sizes, 3);
    a[0] = hd_array_dict({ "table", table }, { "mlp", mlp });
    a[1] = Z(2, (uint32_t)s[2], s[0], s[1]), a[2] = A(3, s[0], s[4]), a[3] = Z(4, 16, s[0]);
    return 4;
}

static double dlrm_flops(const int64_t *s, const hd_array *o)
{
    (void)o;
    return 6.0 * (double)(s[0] * ((s[1] * s[3] + s[4]) * 128 + 128 * 16));
}

/* ==================== the group */

#define ROW(n, f, arg, to, ...) \
    { \
        .name = #n, .group = "models", .function = f##_fn, .args = arg, .flops = f##_flops, .target = to, \
        __VA_ARGS__ \
    }
#define AT(...)     .size = { __VA_ARGS__ }
#define SMALL(...)  .small = { __VA_ARGS__ }

const Workload model_workloads[] = {
    ROW(mlp_step, mlp, mlp_args, 1, AT(128, 784, 512, 256, 10), SMALL(9, 30, 20, 18, 10)),
    ROW(cnn_step, cnn, cnn_args, 2.5, AT(32, 28), SMALL(2, 8)),
    ROW(resblock_grad, resblock, resblock_args, 2, AT(32, 28, 64), SMALL(2, 6, 16)),
    ROW(lstm, lstm, lstm_args, 1.2, AT(64, 32, 256), SMALL(4, 5, 32)),
    ROW(gru, gru, gru_args, 1.3, AT(64, 32, 256), SMALL(4, 5, 32)),
    ROW(lstm_grad, lstm_grad, lstm_args, 1.2, AT(64, 32, 256), SMALL(4, 5, 32)),
    ROW(gru_grad, gru_grad, gru_args, 1.2, AT(64, 32, 256), SMALL(4, 5, 32)),
    ROW(attention, attention, attention_args, 2, AT(8, 8, 512, 64), SMALL(2, 2, 20, 64)),
    ROW(transformer, transformer, transformer_args, 1, AT(4, 128, 256, 8), SMALL(2, 10, 32, 4)),
    ROW(transformer_grad, transformer_grad, transformer_args, 1.1, AT(4, 128, 256, 8), SMALL(2, 10, 32, 4)),
    ROW(dlrm_grad, dlrm, dlrm_args, 1.5, AT(2048, 8, 100000, 32, 16), SMALL(20, 3, 50, 8, 5)),
    { 0 },
};
