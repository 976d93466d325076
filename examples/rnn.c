/* A recurrent network: one sequence by scan, a batch of sequences by vmap, trained by gradients through
 * both. */
#include <heddle.h>

enum { FEATURES = 4, HIDDEN = 16, TIME = 12, BATCH = 8 };

#define RNN(F, S) F(wx) F(wh) F(b)
HD_STRUCT(rnn, RNN);

static hd cell(hd params, hd h, hd x)
{
    rnn w = hd_unpack(rnn, params);
    h = hd_tanh(hd_add(hd_add(hd_dot(x, w.wx), hd_dot(h, w.wh)), w.b));
    return hd_tuple(h, h);                              /* carry, output */
}

static hd run(hd params, hd xs)                         /* f32[time, FEATURES] -> f32[time, HIDDEN] */
{
    return hd_nth(hd_scan(hd_partial(cell, params), hd_zeros(HD_F32, HIDDEN), xs), 1);
}

static hd loss(hd params, hd xs, hd target) { return hd_mean(hd_square(hd_sub(run(params, xs), target))); }

static hd batch_loss(hd params, hd xs, hd target)
{
    return hd_mean(hd_apply(hd_vmap(loss, .in_axes = { HD_NONE, 0, 0 }), params, xs, target));
}

static hd descend(hd p, hd g) { return hd_sub(p, hd_mul(hd_c(0.5), g)); }

static hd step(hd params, hd xs, hd target)             /* tuple(params, loss) */
{
    hd r = hd_apply(hd_value_and_grad(batch_loss), params, xs, target);
    return hd_tuple(hd_tree_map(descend, params, hd_nth(r, 1)), hd_nth(r, 0));
}

static hd init(hd key)                                  /* tuple(params, xs, target) */
{
    hd k = hd_random_split(key, 3), xs = hd_random_normal(hd_index(k, 0, 2), HD_F32, BATCH, TIME, FEATURES);
    hd params = hd_pack(rnn, {
        .wx = hd_mul(hd_c(0.3), hd_random_normal(hd_index(k, 0, 0), HD_F32, FEATURES, HIDDEN)),
        .wh = hd_mul(hd_c(0.2), hd_random_normal(hd_index(k, 0, 1), HD_F32, HIDDEN, HIDDEN)),
        .b = hd_zeros(HD_F32, HIDDEN),
    });
    hd target = hd_broadcast_to(hd_tanh(hd_cumsum(hd_mean(xs, -1, HD_KEEP), 1)), BATCH, TIME, HIDDEN);
    return hd_tuple(params, xs, target);                /* the running mean of the features */
}

int main(void)
{
    hd_fn *train = hd_jit(step, .donate = HD_INTS(0));
    hd_array *key = hd_array_key(0), *start[3] = { NULL }, *out[2] = { NULL };
    int status = 1;

    if (hd_call(init, start, key))
        goto fail;
    out[0] = start[0];
    for (int i = 0; i < 60; i++) {
        hd_drop(out[1]), out[1] = NULL;
        /* takes over out[0], gives the new parameters */
        if (hd_call(train, out, out[0], start[1], start[2]))
            goto fail;
        if (i % 20 == 0)
            printf("%3d  loss %.4f\n", i, hd_item(out[1]));
    }
    printf("     loss %.4f\n", hd_item(out[1]));
    status = 0;
fail:
    if (status)
        fprintf(stderr, "%s\n", hd_error());
    hd_drop(key), hd_drop(out[0]), hd_drop(out[1]), hd_drop(start[1]), hd_drop(start[2]);
    return status;
}
