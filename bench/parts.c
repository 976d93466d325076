/* parts.c - pieces that several workloads share. */
#include "workloads.h"

hd perceptron(hd params, hd x, hd (*act)(hd))
{
    int n = hd_len(params);
    for (int i = 0; i < n; i++) {
        hd layer = hd_nth(params, i);
        x = hd_add(hd_dot(x, hd_nth(layer, 0)), hd_nth(layer, 1));
        if (i < n - 1)
            x = act(x);
    }
    return x;
}

hd cross_entropy(hd logits, hd label) { return hd_sub(hd_logsumexp(logits), hd_take(logits, label, 0)); }

hd mean_cross_entropy(hd logits, hd labels)
{
    return hd_mean(hd_apply(hd_vmap(cross_entropy), logits, labels));
}

hd normalise(hd x, hd gain, hd shift)
{
    hd centred = hd_sub(x, hd_mean(x, -1, HD_KEEP));
    hd var = hd_mean(hd_square(centred), -1, HD_KEEP);
    return hd_add(hd_mul(hd_mul(centred, hd_rsqrt(plus(var, 1e-5))), gain), shift);
}

/* Nine products, each of a shifted image with one tap. */
hd convolve3x3(hd x, hd w)
{
    int64_t n = hd_dim(x, 0), h = hd_dim(x, 1), v = hd_dim(x, 2), c = hd_dim(x, 3);
    hd wide = hd_pad(x, hd_c(0), HD_INTS(0, 1, 1, 0), HD_INTS(0, 1, 1, 0), HD_INTS()), y = HD_NIL;
    for (int a = 0; a < 3; a++)
        for (int b = 0; b < 3; b++) {
            hd part = hd_slice(wide, HD_INTS(0, a, b, 0), HD_INTS(n, a + h, b + v, c), HD_INTS());
            hd tap = hd_dot(part, hd_index(hd_index(w, 0, a), 0, b));
            y = a || b ? hd_add(y, tap) : tap;
        }
    return y;
}
