/* Train a two-layer network. Parameters are nested structs; memory is updated in place; the result is saved
 * as .npz. */
#include <heddle.h>

#define LINEAR(F, S) F(w) F(b)
HD_STRUCT(linear, LINEAR);
#define MLP(F, S) S(linear, hidden) S(linear, out)
HD_STRUCT(mlp, MLP);

static hd forward(linear p, hd x) { return hd_add(hd_dot(x, p.w), p.b); }

static linear new_linear(hd key, int64_t n, int64_t m)
{
    return (linear){
        .w = hd_mul(hd_random_normal(key, HD_F32, n, m), hd_rsqrt(hd_c((double)n))),
        .b = hd_zeros(HD_F32, m),
    };
}

static hd init(hd key)
{
    hd keys = hd_random_split(key, 2);
    hd params = hd_pack(mlp, {
        .hidden = new_linear(hd_index(keys, 0, 0), 4, 16),
        .out = new_linear(hd_index(keys, 0, 1), 16, 3),
    });
    return hd_tuple(params, hd_opt_init(params));
}

static hd loss(hd params, hd x, hd label)               /* one example; aux: was it right */
{
    mlp p = hd_unpack(mlp, params);
    hd logits = forward(p.out, hd_tanh(forward(p.hidden, x)));
    hd right = hd_cast(hd_eq(hd_argmax(logits, -1), label), HD_F32);
    return hd_tuple(hd_softmax_cross_entropy(logits, hd_one_hot(label, 3, HD_F32)), right);
}

static hd batch_loss(hd params, hd X, hd labels)
{
    hd all = hd_apply(hd_vmap(loss, .in_axes = { HD_NONE, 0, 0 }), params, X, labels);
    return hd_tuple(hd_mean(hd_nth(all, 0)), hd_mean(hd_nth(all, 1)));
}

static hd step(hd params, hd state, hd X, hd labels)    /* tuple(params, state, loss, accuracy) */
{
    hd r = hd_apply(hd_value_and_grad(batch_loss, .has_aux = true), params, X, labels);
    hd value = hd_nth(r, 0),
       updated = hd_adam(params, hd_nth(r, 1), state, hd_c(1e-2), .weight_decay = 1e-4);
    return hd_tuple(hd_nth(updated, 0), hd_nth(updated, 1), hd_nth(value, 0), hd_nth(value, 1));
}

int main(void)
{
    hd_fn *train = hd_jit(step, .donate = HD_INTS(0, 1));
    enum { POINTS = 48 };
    float x[POINTS * 4];
    int32_t y[POINTS];
    hd_array *key = hd_array_key(0), *X = NULL, *labels = NULL, *out[4] = { NULL };
    int status = 1;

    for (int i = 0; i < POINTS; i++) {                  /* three noisy directions */
        y[i] = i % 3;
        for (int k = 0; k < 4; k++)
            x[i * 4 + k] = (k == y[i]) + 0.1f * (float)((i * 7 + k * 5) % 11 - 5);
    }
    X = hd_array_of(x, POINTS, 4), labels = hd_array_of(y, POINTS);

    hd_array *start[2];
    if (hd_call(init, start, key))
        goto fail;
    out[0] = start[0], out[1] = start[1];
    for (int i = 0; i < 100; i++) {
        hd_drop(out[2]), hd_drop(out[3]);
        out[2] = out[3] = NULL;
        /* takes over out[0] and out[1], gives the new ones */
        if (hd_call(train, out, out[0], out[1], X, labels))
            goto fail;
        if (i % 50 == 0)
            printf("%3d  loss %.4f  accuracy %.2f\n", i, hd_item(out[2]), hd_item(out[3]));
    }
    mlp_data p = hd_array_unpack(mlp, out[0]);
    hd_print(stdout, p.hidden.w);
    if (hd_save("mlp.npz", out[0]))                     /* hidden/w, hidden/b, out/w, out/b */
        goto fail;
    status = 0;
fail:
    if (status)
        fprintf(stderr, "%s\n", hd_error());
    for (int i = 0; i < 4; i++)
        hd_drop(out[i]);
    hd_drop(key), hd_drop(X), hd_drop(labels);
    return status;
}
