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

hd convolve3x3(hd x, hd w) { return hd_conv(x, w, .dims = "NHWC,HWIO->NHWC", .same = true); }
