/* One gradient an example, clipped to norm 1 and averaged, as differentially private training does. */
#include <heddle.h>

static hd loss(hd params, hd x, hd y)
{
    hd logits = hd_add(hd_dot(x, hd_get(params, "w")), hd_get(params, "b"));
    return hd_mean(hd_sigmoid_cross_entropy(logits, y));
}

static hd clipped(hd params, hd x, hd y)                /* a tree like params */
{
    hd g = hd_apply(hd_grad(loss), params, x, y), norm2 = hd_c(0);
    for (int i = 0; i < hd_leaf_count(g); i++)
        norm2 = hd_add(norm2, hd_sum(hd_square(hd_leaf(g, i))));
    hd scale = hd_minimum(hd_c(1), hd_rsqrt(norm2));
    return hd_tree_map(hd_partial(hd_mul, scale), g);
}

static hd over_batch(hd g) { return hd_mean(g, 0); }

static hd private_gradient(hd params, hd X, hd Y)
{
    hd all = hd_apply(hd_vmap(clipped, .in_axes = { HD_NONE, 0, 0 }), params, X, Y);
    return hd_tree_map(over_batch, all);
}

int main(void)
{
    hd_array *params =
        hd_array_dict({ "w", hd_array_lit(float, (2), 1, -2) }, { "b", hd_array_scalar(HD_F32, 0.3) });
    hd_array *X = hd_array_lit(float, (3, 2), 1, 0, 0.5, 1.5, 2, -1);
    hd_array *Y = hd_array_lit(float, (3, 3), 1, 0, 1, 0, 1, 0, 1, 0, 1), *g;

    if (hd_call(hd_jit(private_gradient), &g, params, X, Y))
        return fprintf(stderr, "%s\n", hd_error()), 1;
    hd_print(stdout, hd_array_get(g, "w"));             /* f32[2], lent by g */
    hd_drop(g);                                         /* the whole tree */
    hd_drop(params), hd_drop(X), hd_drop(Y);
    return 0;
}
