/* workloads_first_nets.c - the networks among the programs of workloads_first.c. */
#include "workloads.h"

#include <math.h>

static hd step_of(hd p, hd g) { return hd_sub(p, hd_mul_c(g, .1)); }

/* tuple(loss, parameters - 0.1 gradient) */
static hd trained(hd value_and_grad, hd params)
{
    return hd_tuple(hd_nth(value_and_grad, 0), hd_tree_map(step_of, params, hd_nth(value_and_grad, 1)));
}

/* ==================== a small language model: size layers, letters, window, width, batch */

enum { HEADS = 4 };
#define LAYER(F, S) F(query) F(key) F(value) F(mix) F(up) F(down)
HD_STRUCT(layer, LAYER);
#define GPT(F, S) F(embedding) F(position) F(output) S(layer, layers)
HD_STRUCT(gpt, GPT);

static hd heads(hd x)                                   /* [HEADS,window,...] */
{
    return hd_transpose(hd_reshape(x, hd_dim(x, 0), HEADS, -1), 1, 0, 2);
}

static hd attention(layer p, hd x)
{
    int64_t t = hd_dim(x, 0), d = hd_dim(x, 1);
    hd q = heads(hd_matmul(x, p.query)), k = heads(hd_matmul(x, p.key)), v = heads(hd_matmul(x, p.value));
    hd scores = hd_div_c(hd_einsum("hik,hjk->hij", q, k), sqrt((double)d / HEADS));
    hd seen = hd_tril(hd_ones(HD_BOOL, t, t), 0);
    hd looked = hd_einsum("hij,hjk->ihk", hd_softmax(hd_where(seen, scores, hd_c(-1e9)), -1), v);
    return hd_matmul(hd_reshape(looked, t, d), p.mix);
}

static hd block(hd x, hd weights)                       /* a scan's step: the layers are its inputs */
{
    layer p = hd_unpack(layer, weights);
    x = hd_add(x, attention(p, hd_standardize(x, -1)));
    x = hd_add(x, hd_matmul(hd_gelu(hd_matmul(hd_standardize(x, -1), p.up)), p.down));
    return hd_tuple(x, HD_NIL);
}

static hd gpt_loss(hd params, hd tokens)                /* one example: i32[window + 1] */
{
    gpt p = hd_unpack(gpt, params);
    hd x = hd_add(hd_take(p.embedding, hd_slice_axis(tokens, 0, 0, hd_dim(tokens, 0) - 1), 0), p.position);
    x = hd_nth(hd_scan(block, x, hd_pack(layer, p.layers)), 0);
    hd logits = hd_matmul(hd_standardize(x, -1), p.output);
    return mean_cross_entropy(logits, hd_slice_axis(tokens, 0, 1, HD_LAST));
}

static hd batch_loss(hd params, hd batch)
{
    return hd_mean(hd_apply(hd_vmap(gpt_loss, .in_axes = { HD_NONE, 0 }), params, batch));
}

static hd gpt_step(hd params, hd batch)
{
    hd r = hd_apply(hd_value_and_grad(batch_loss), params, batch);
    hd next = hd_adam(params, hd_nth(r, 1), hd_opt_init(params), hd_c(1e-2));
    return hd_tuple(hd_nth(r, 0), hd_nth(next, 0));
}

static hd squares(hd g) { return hd_sum(hd_square(g)); }

static hd example_norm(hd params, hd tokens)
{
    hd all = hd_tree_map(squares, hd_apply(hd_grad(gpt_loss), params, tokens)), sum = hd_leaf(all, 0);
    for (int i = 1; i < hd_leaf_count(all); i++)
        sum = hd_add(sum, hd_leaf(all, i));
    return hd_sqrt(sum);
}

static hd_fn *gpt_step_fn(const int64_t *s) { (void)s; return HD_FN(gpt_step); }
static hd_fn *gpt_norms_fn(const int64_t *s)
{
    (void)s;
    return hd_vmap(example_norm, .in_axes = { HD_NONE, 0 });
}

static hd_array *stacked(int k, int64_t layers, int64_t n, int64_t m)
{
    return AR(k, sqrt(3 / (double)n), 0, layers, n, m);
}

static int gpt_args(const int64_t *s, hd_array **a)
{
    int64_t l = s[0], d = s[3];
    a[0] = hd_array_pack(gpt,
        {
            .embedding = A(7, s[1], d),
            .position = A(8, s[2], d),
            .output = dense(9, d, s[1]),
            .layers = { .query = stacked(1, l, d, d), .key = stacked(2, l, d, d),
                .value = stacked(3, l, d, d), .mix = stacked(4, l, d, d), .up = stacked(5, l, d, 4 * d),
                .down = stacked(6, l, 4 * d, d) },
        });
    a[1] = Z(10, (uint32_t)s[1], s[4], s[2] + 1);
    return 2;
}

/* ==================== learning to learn sines: size tasks, shots, width */

static hd predict(hd params, hd x)                      /* f32[n] -> f32[n] */
{
    return hd_squeeze(perceptron(params, hd_expand_dims(x, 1), (hd_tanh)), 1);
}

static hd sine_loss(hd params, hd x, hd y) { return hd_mean(hd_square(hd_sub(predict(params, x), y))); }

static hd task_loss(hd params, hd shape, hd x)          /* shape: height and phase; x: two sets of points */
{
    hd height = hd_add_c(hd_mul_c(hd_at(shape, 0), 2), 3), phase = hd_mul_c(hd_at(shape, 1), M_PI);
    hd y = hd_mul(height, hd_sin(hd_add(x, phase)));
    hd g = hd_apply(hd_grad(sine_loss), params, hd_at(x, 0), hd_at(y, 0));
    return sine_loss(hd_tree_map(step_of, params, g), hd_at(x, 1), hd_at(y, 1));
}

static hd mean_task_loss(hd params, hd shapes, hd xs)
{
    return hd_mean(hd_apply(hd_vmap(task_loss, .in_axes = { HD_NONE, 0, 0 }), params, shapes, xs));
}

static hd maml(hd params, hd shapes, hd xs)
{
    return trained(hd_apply(hd_value_and_grad(mean_task_loss), params, shapes, xs), params);
}

static hd_fn *maml_fn(const int64_t *s) { (void)s; return HD_FN(maml); }
static int maml_args(const int64_t *s, hd_array **a)
{
    const int64_t sizes[] = { 1, s[2], s[2], 1 };
    a[0] = layers(sizes, 4), a[1] = A(1, s[0], 2), a[2] = AR(2, 5, 0, s[0], 2, s[1]);
    return 3;
}

/* ==================== one sequence to another: size batch, time, letters, width */

#define GRU(F, S) F(wx) F(wh) F(b)
HD_STRUCT(gru, GRU);
#define SEQ2SEQ(F, S) S(gru, encoder) S(gru, decoder) F(embedding) F(output)
HD_STRUCT(seq2seq, SEQ2SEQ);

static hd cell(hd weights, hd h, hd x)
{
    gru p = hd_unpack(gru, weights);
    hd a = hd_split(hd_add(hd_dot(x, p.wx), p.b), 3, 0), b = hd_split(hd_dot(h, p.wh), 3, 0);
    hd r = hd_sigmoid(hd_add(hd_nth(a, 0), hd_nth(b, 0)));
    hd z = hd_sigmoid(hd_add(hd_nth(a, 1), hd_nth(b, 1)));
    hd n = hd_tanh(hd_add(hd_nth(a, 2), hd_mul(r, hd_nth(b, 2))));
    h = hd_add(hd_mul(hd_c_sub(1, z), n), hd_mul(z, h));
    return hd_tuple(h, h);
}

static hd translation_loss(hd params, hd source, hd target)
{
    seq2seq p = hd_unpack(seq2seq, params);
    hd zero = hd_zeros(HD_F32, hd_dim(p.embedding, 1)), first = hd_zeros(HD_I32, 1);
    hd before = hd_concatenate(0, first, hd_slice_axis(target, 0, 0, hd_dim(target, 0) - 1));
    hd xs = hd_take(p.embedding, source, 0), ys = hd_take(p.embedding, before, 0);
    hd h = hd_nth(hd_scan(hd_partial(cell, hd_pack(gru, p.encoder)), zero, xs), 0);
    hd out = hd_nth(hd_scan(hd_partial(cell, hd_pack(gru, p.decoder)), h, ys), 1);
    return mean_cross_entropy(hd_matmul(out, p.output), target);
}

static hd mean_translation_loss(hd params, hd source, hd target)
{
    return hd_mean(
        hd_apply(hd_vmap(translation_loss, .in_axes = { HD_NONE, 0, 0 }), params, source, target));
}

static hd seq2seq_step(hd params, hd source, hd target)
{
    return trained(hd_apply(hd_value_and_grad(mean_translation_loss), params, source, target), params);
}

static hd_fn *seq2seq_fn(const int64_t *s) { (void)s; return HD_FN(seq2seq_step); }

static gru_data new_gru(int k, int64_t d)
{
    hd_array *wx = dense(k, d, 3 * d), *wh = dense(k + 1, d, 3 * d), *b = AR(k + 2, .1, 0, 3 * d);
    return (gru_data){ .wx = wx, .wh = wh, .b = b };
}

static int seq2seq_args(const int64_t *s, hd_array **a)
{
    uint32_t letters = (uint32_t)s[2];
    a[0] = hd_array_pack(seq2seq,
        {
            .encoder = new_gru(1, s[3]),
            .decoder = new_gru(4, s[3]),
            .embedding = A(7, s[2], s[3]),
            .output = dense(8, s[3], s[2]),
        });
    a[1] = Z(9, letters, s[0], s[1]), a[2] = Z(10, letters, s[0], s[1]);
    return 3;
}

/* ==================== connectionist temporal classification: size batch, time, letters, length */

static hd later(hd x, int64_t n)
{
    hd never = hd_full(hd_c(-1e30), n);
    return hd_concatenate(0, never, hd_slice_axis(x, 0, 0, hd_dim(x, 0) - n));
}

static hd align(hd skips, hd a, hd seen)
{
    hd two = hd_where(skips, later(a, 2), hd_c(-1e30));
    return hd_tuple(hd_add(hd_logaddexp(hd_logaddexp(a, later(a, 1)), two), seen), HD_NIL);
}

/* f32[time,letters], i32[length]; letter 0 is a gap */
static hd ctc_loss(hd logits, hd labels)
{
    hd gap = hd_zeros(HD_I32, 1), pairs = hd_reshape(hd_stack(1, hd_zeros_like(labels), labels), -1);
    hd marks = hd_concatenate(0, pairs, gap);
    int64_t n = hd_dim(marks, 0);
    hd before = hd_concatenate(0, hd_slice_axis(marks, 0, 0, 2), hd_slice_axis(marks, 0, 0, n - 2));
    hd differs = hd_and(hd_ne(marks, hd_c(0)), hd_ne(marks, before)), place = hd_iota(HD_I32, 0, n);
    hd skips = hd_and(differs, hd_gt(place, hd_c(1)));
    hd seen = hd_take(hd_log_softmax(logits, -1), marks, 1);
    hd start = hd_where(hd_lt(place, hd_c(2)), hd_at(seen, 0), hd_c(-1e30));
    hd a = hd_nth(hd_scan(hd_partial(align, skips), start, hd_slice_axis(seen, 0, 1, HD_LAST)), 0);
    return hd_neg(hd_logaddexp(hd_at(a, -1), hd_at(a, -2)));
}

static hd mean_ctc_loss(hd logits, hd labels)
{
    return hd_mean(hd_apply(hd_vmap(ctc_loss), logits, hd_add_c(labels, 1)));
}

static hd_fn *ctc_fn(const int64_t *s) { (void)s; return hd_value_and_grad(mean_ctc_loss); }
static int ctc_args(const int64_t *s, hd_array **a)
{
    a[0] = AR(1, 2, 0, s[0], s[1], s[2]), a[1] = Z(2, (uint32_t)s[2] - 1, s[0], s[3]);
    return 2;
}

/* ==================== a convolutional network: size batch, height */

#define LINEAR(F, S) F(w) F(b)
HD_STRUCT(linear, LINEAR);
#define CNN(F, S) S(linear, one) S(linear, two) S(linear, out)
HD_STRUCT(cnn, CNN);

static hd convolved(linear p, hd x)                     /* NHWC, halved */
{
    hd y = hd_relu(hd_add(hd_conv(x, p.w, .dims = "NHWC,HWIO->NHWC", .same = true), p.b));
    return hd_max_pool(y, .window = HD_INTS(2, 2, 1), .stride = HD_INTS(2, 2, 1));
}

static hd cnn_loss(hd params, hd x, hd labels)
{
    cnn p = hd_unpack(cnn, params);
    x = convolved(p.two, convolved(p.one, x));
    hd logits = hd_add(hd_matmul(hd_reshape(x, hd_dim(x, 0), -1), p.out.w), p.out.b);
    return mean_cross_entropy(logits, labels);
}

static hd cnn_step(hd params, hd x, hd labels)
{
    return trained(hd_apply(hd_value_and_grad(cnn_loss), params, x, labels), params);
}

static hd_fn *cnn_fn(const int64_t *s) { (void)s; return HD_FN(cnn_step); }

static linear_data filter(int k, int64_t in, int64_t out)
{
    hd_array *w = AR(k, sqrt(3 / (9.0 * (double)in)), 0, 3, 3, in, out), *b = AR(k + 1, .1, 0, out);
    return (linear_data){ .w = w, .b = b };
}

static int cnn_args(const int64_t *s, hd_array **a)
{
    int64_t last = s[1] / 4 * (s[1] / 4) * 16;
    a[0] = hd_array_pack(cnn,
        {
            .one = filter(1, 1, 8),
            .two = filter(3, 8, 16),
            .out = { .w = dense(5, last, 10), .b = AR(6, .1, 0, 10) },
        });
    a[1] = A(7, s[0], s[1], s[1], 1), a[2] = Z(8, 10, s[0]);
    return 3;
}

/* ==================== the group */

#define ROW(n, arg, ...) \
    { \
        .name = "first_" #n, .group = "first", .function = n##_fn, .args = arg##_args, .target = 1, \
        __VA_ARGS__ \
    }
#define AT(...)     .size = { __VA_ARGS__ }
#define SMALL(...)  .small = { __VA_ARGS__ }

const Workload first_net_workloads[] = {
    ROW(gpt_step, gpt, AT(2, 28, 32, 32, 8), SMALL(2, 5, 4, 8, 2), .tol = 1e-3),
    ROW(gpt_norms, gpt, AT(2, 28, 32, 32, 8), SMALL(2, 5, 4, 8, 2), .tol = 1e-4),
    ROW(maml, maml, AT(8, 20, 32), SMALL(2, 3, 4), .tol = 1e-4),
    ROW(seq2seq, seq2seq, AT(8, 12, 12, 32), SMALL(2, 3, 4, 4), .tol = 1e-4),
    ROW(ctc, ctc, AT(32, 100, 20, 20), SMALL(2, 6, 4, 2), .tol = 1e-4),
    ROW(cnn, cnn, AT(32, 28), SMALL(2, 8), .tol = 1e-4),
    { 0 },
};
