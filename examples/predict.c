/* A function of one example over a batch; a shared argument; the batch axis put last. */
#include <heddle.h>

static hd predict(hd params, hd features)               /* f32[2] -> f32[2] */
{
    hd logits = hd_add(hd_dot(features, hd_get(params, "w")), hd_get(params, "b"));
    return hd_stack(0, logits, hd_sigmoid(logits));
}

static hd scaled_loss(hd scale, hd preds, hd targets)   /* f32[], f32[n], f32[n] -> f32[] */
{
    return hd_mul(scale, hd_sum(hd_square(hd_sub(preds, targets))));
}

static hd normalize(hd x)
{
    return hd_div(hd_sub(x, hd_mean(x)), hd_std(x));
}

static hd images(hd key)
{
    return hd_random_normal(key, HD_F32, 2, 28, 28);
}

int main(void)
{
    hd_array *params =
        hd_array_dict({ "w", hd_array_lit(float, (2), 1.5, -0.5) }, { "b", hd_array_scalar(HD_F32, 0.25) });
    hd_array *X = hd_array_lit(float, (3, 2), 1, 2, 2.5, -1, -0.25, 0.75);
    hd_array *scale = hd_array_scalar(HD_F32, 0.5), *key = hd_array_key(0);
    hd_array *preds = hd_array_lit(float, (2, 2), 0.2f, 0.8f, 0.6f, 0.4f);
    hd_array *targets = hd_array_lit(float, (2, 2), 0, 1, 1, 0);
    hd_array *probs = NULL, *losses = NULL, *pictures = NULL, *last = NULL;
    int status = 1;

    if (hd_call(hd_jit(hd_vmap(predict, .in_axes = { HD_NONE, 0 })), &probs, params, X)
        || hd_call(hd_vmap(scaled_loss, .in_axes = { HD_NONE, 0, 0 }), &losses, scale, preds, targets)
        || hd_call(images, &pictures, key)
        || hd_call(hd_vmap(normalize, .out_axes = -1), &last, pictures))
        goto fail;
    hd_print(stdout, probs);                            /* f32[3,2] */
    hd_print(stdout, losses);                           /* f32[2] */
    hd_print(stdout, last);                             /* f32[28,28,2] */
    status = 0;
fail:
    if (status)
        fprintf(stderr, "%s\n", hd_error());
    hd_drop(params), hd_drop(X), hd_drop(scale), hd_drop(key), hd_drop(preds), hd_drop(targets);
    hd_drop(probs), hd_drop(losses), hd_drop(pictures), hd_drop(last);
    return status;
}
