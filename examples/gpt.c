/* A small language model: a transformer that predicts the next letter, trained with Adam on the text below.
 * One function of one window of text; the batch by vmap, the layers by a scan over their stacked weights,
 * the norm of each example's gradient by vmap of grad. */
#include <getopt.h>
#include <heddle.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char text[] = "the weaver lifts the warp and throws the shuttle through the shed. the heddle "
                           "holds each thread, and lifts it when the "
                           "pattern says so. a thread that is held is a thread that is known. the weaver "
                           "beats the weft and lets the warp down, and "
                           "lifts the other threads. so the cloth grows, row by row, as long as there is "
                           "thread and as long as the weaver weaves. ";
static const char letters[] = " abcdefghiklmnoprstuvw.,y";

enum { LETTERS = sizeof letters - 1, WINDOW = 16, WIDTH = 24, HEADS = 2, BATCH = 8 };

#define LAYER(F, S) F(query) F(key) F(value) F(mix) F(up) F(down)
HD_STRUCT(layer, LAYER);
#define GPT(F, S) F(embedding) F(position) F(output) S(layer, layers)
HD_STRUCT(gpt, GPT);

/* [HEADS,WINDOW,...] */
static hd heads(hd x) { return hd_transpose(hd_reshape(x, WINDOW, HEADS, WIDTH / HEADS), 1, 0, 2); }

/* Each place looks at those before it. */
static hd attention(layer p, hd x)
{
    hd q = heads(hd_matmul(x, p.query)), k = heads(hd_matmul(x, p.key)), v = heads(hd_matmul(x, p.value));
    hd scores = hd_div_c(hd_einsum("hik,hjk->hij", q, k), sqrt((double)WIDTH / HEADS));
    hd seen = hd_tril(hd_ones(HD_BOOL, WINDOW, WINDOW), 0);
    hd looked = hd_einsum("hij,hjk->ihk", hd_softmax(hd_where(seen, scores, hd_c(-1e9)), -1), v);
    return hd_matmul(hd_reshape(looked, WINDOW, WIDTH), p.mix);
}

static hd block(hd x, hd weights)                       /* a scan's step: the layers are its inputs */
{
    layer p = hd_unpack(layer, weights);
    x = hd_add(x, attention(p, hd_standardize(x, -1)));
    x = hd_add(x, hd_matmul(hd_gelu(hd_matmul(hd_standardize(x, -1), p.up)), p.down));
    return hd_tuple(x, HD_NIL);
}

static hd predict(gpt p, hd tokens)                     /* i32[WINDOW] -> f32[WINDOW,LETTERS] */
{
    hd x = hd_add(hd_take(p.embedding, tokens, 0), p.position);
    x = hd_nth(hd_scan(block, x, hd_pack(layer, p.layers)), 0);
    return hd_matmul(hd_standardize(x, -1), p.output);
}

static hd loss(hd params, hd tokens)                    /* one example: i32[WINDOW + 1] */
{
    hd logits = predict(hd_unpack(gpt, params), hd_slice_axis(tokens, 0, 0, WINDOW));
    return hd_mean(
        hd_softmax_cross_entropy(logits, hd_one_hot(hd_slice_axis(tokens, 0, 1, HD_LAST), LETTERS, HD_F32)));
}

static hd batch_loss(hd params, hd batch)
{
    return hd_mean(hd_apply(hd_vmap(loss, .in_axes = { HD_NONE, 0 }), params, batch));
}

static hd windows(hd key, hd data)                      /* BATCH of them, from anywhere in the text */
{
    hd from = hd_random_randint(key, hd_c(0), hd_c((double)(hd_dim(data, 0) - WINDOW)), BATCH);
    return hd_take(data, hd_add(hd_expand_dims(from, 1), hd_iota(HD_I32, 0, WINDOW + 1)), 0);
}

static hd step(hd data, hd carry, hd key)
{
    hd r = hd_apply(hd_value_and_grad(batch_loss), hd_nth(carry, 0), windows(key, data));
    return hd_tuple(hd_adam(hd_nth(carry, 0), hd_nth(r, 1), hd_nth(carry, 1), hd_c(1e-2)), hd_nth(r, 0));
}

static hd norm(hd gradient)
{
    hd sum = hd_c(0);
    for (int i = 0; i < hd_leaf_count(gradient); i++)
        sum = hd_add(sum, hd_sum(hd_square(hd_leaf(gradient, i))));
    return hd_sqrt(sum);
}

static hd example_norm(hd params, hd tokens) { return norm(hd_apply(hd_grad(loss), params, tokens)); }

static hd weights(hd key, int64_t n, int64_t m)
{
    return hd_div_c(hd_random_normal(key, HD_F32, n, m), sqrt((double)n));
}

static hd new_layer(hd key)
{
    hd k = hd_random_split(key, 6);
    return hd_pack(layer, {
        .query = weights(hd_at(k, 0), WIDTH, WIDTH), .key = weights(hd_at(k, 1), WIDTH, WIDTH),
        .value = weights(hd_at(k, 2), WIDTH, WIDTH), .mix = weights(hd_at(k, 3), WIDTH, WIDTH),
        .up = weights(hd_at(k, 4), WIDTH, 4 * WIDTH), .down = weights(hd_at(k, 5), 4 * WIDTH, WIDTH),
    });
}

struct size { int layers, steps; };

/* Training from the start to the end: the losses, and the norm of the gradient of each example of one more
 * batch. */
static hd train(hd key, hd data, const void *env)
{
    const struct size *s = env;
    hd k = hd_random_split(key, 6);
    hd params = hd_pack(gpt,
        {
            .embedding = hd_random_normal(hd_at(k, 0), HD_F32, LETTERS, WIDTH),
            .position = hd_random_normal(hd_at(k, 1), HD_F32, WINDOW, WIDTH),
            .output = weights(hd_at(k, 2), WIDTH, LETTERS),
            .layers =
                hd_unpack(layer, hd_apply(hd_vmap(new_layer), hd_random_split(hd_at(k, 3), s->layers))),
        });
    hd r = hd_scan(hd_partial(step, data), hd_tuple(params, hd_opt_init(params)),
        hd_random_split(hd_at(k, 4), s->steps));
    hd trained = hd_nth(hd_nth(r, 0), 0), batch = windows(hd_at(k, 5), data);
    return hd_tuple(
        hd_nth(r, 1), hd_apply(hd_vmap(example_norm, .in_axes = { HD_NONE, 0 }), trained, batch));
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "device", 1, NULL, 'd' }, { "layers", 1, NULL, 'l' },
        { "steps", 1, NULL, 'n' }, { 0 } };
    struct size size = { 2, 80 };
    hd_array *key = hd_array_key(0), *data = NULL, *out[2] = { NULL };
    int32_t tokens[sizeof text - 1];
    const float *losses, *norms;
    int status = 1;

    for (int k; (k = getopt_long(argc, argv, "d:l:n:", options, NULL)) != -1; )
        if (k == '?' || (k == 'd' && !hd_default_device(optarg)))
            goto fail;
        else if (k != 'd')
            *(k == 'l' ? &size.layers : &size.steps) = atoi(optarg);
    for (size_t i = 0; i < sizeof text - 1; i++)
        tokens[i] = (int32_t)(strchr(letters, text[i]) - letters);
    data = hd_array_of(tokens, sizeof text - 1);
    if (hd_call(hd_bind(train, size), out, key, data) || !(losses = hd_data(out[0])) ||
        !(norms = hd_data(out[1])))
        goto fail;
    printf("loss %.3f at first, ", (double)losses[0]);
    double sum = 0;
    for (int i = size.steps - 10; i < size.steps; i++)
        sum += (double)losses[i] / 10;
    printf("%.2f at last; of any letter alike %.3f\n", sum, log(LETTERS));
    printf("gradient norms of examples");
    for (int i = 0; i < BATCH; i++)
        printf(" %.2f", (double)norms[i]);
    putchar('\n');
    status = 0;
fail:
    if (status)
        fprintf(stderr, "%s\n", hd_error());
    hd_drop(key), hd_drop(data), hd_drop(out[0]), hd_drop(out[1]);
    return status;
}
