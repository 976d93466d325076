/* A convolutional network with pooling learns which way stripes run: across, down, or along a diagonal.
 * All steps of gradient descent are one scan; images and weights are made by formulas, so that anybody can
 * make the same. */
#include <getopt.h>
#include <heddle.h>
#include <math.h>
#include <stdlib.h>

enum { IMAGES = 48, SIDE = 12, KINDS = 3 };
#define NHWC .dims = "NHWC,HWIO->NHWC", .same = true

#define CNN(F, S) F(first) F(second) F(dense) F(bias)
HD_STRUCT(cnn, CNN);

/* The largest of each 2 x 2; windows are given for the last axes: height, width, features. */
static hd pool(hd x) { return hd_max_pool(x, .window = HD_INTS(2, 2, 1), .stride = HD_INTS(2, 2, 1)); }

static hd logits(hd params, hd images) /* f32[n, 12, 12, 1] -> f32[n, 3] */
{
    cnn p = hd_unpack(cnn, params);
    hd x = pool(hd_relu(hd_conv(images, p.first, NHWC)));
    x = pool(hd_relu(hd_conv(x, p.second, NHWC)));
    return hd_add(hd_matmul(hd_reshape(x, hd_dim(x, 0), -1), p.dense), p.bias);
}

static hd loss(hd params, hd images, hd kinds)
{
    return hd_mean(hd_softmax_cross_entropy(logits(params, images), hd_one_hot(kinds, KINDS, HD_F32)));
}

static hd downhill(hd parameter, hd slope) { return hd_sub(parameter, hd_mul_c(slope, 0.3)); }

static hd step(hd images, hd kinds, hd params, hd i)
{
    (void)i;
    hd r = hd_apply(hd_value_and_grad(loss), params, images, kinds);
    return hd_tuple(hd_tree_map(downhill, params, hd_nth(r, 1)), hd_nth(r, 0));
}

/* Numbers without a pattern, between -scale and scale. */
static hd weights(double scale, hd_ints shape)
{
    hd k = hd_arange(HD_F32, 0, 1000, 1);
    int64_t n = 1;
    for (int d = 0; d < shape.n; d++)
        n *= shape.v[d];
    k = hd_slice(k, HD_INTS(0), HD_INTS(n), HD_INTS());
    return hd_reshape_n(hd_mul_c(hd_sin(hd_square(hd_add(k, hd_c(1)))), scale), shape);
}

/* Stripes of image k: their direction is k % 3, their width and phase follow from k. */
static hd picture(hd k)
{
    hd i = hd_expand_dims(hd_arange(HD_F32, 0, SIDE, 1), 1), j = hd_transpose(i),
       kind = hd_rem(k, hd_c(KINDS));
    hd along = hd_where(
        hd_eq(kind, hd_c(0)), i, hd_where(hd_eq(kind, hd_c(1)), j, hd_mul_c(hd_add(i, j), M_SQRT1_2)));
    hd wave = hd_add(hd_c(1.2), hd_mul_c(hd_rem(k, hd_c(5)), 0.15));
    hd noise = hd_mul_c(hd_sin(hd_mul(hd_add(hd_mul_c(i, 13), hd_mul_c(j, 7)), hd_add(k, hd_c(1)))), 0.6);
    return hd_expand_dims(hd_add(hd_sin(hd_add(hd_mul(along, wave), k)), noise), 2);
}

/* Losses at the first and the last step, how many are right before and after. */
static hd train(hd numbers, const void *steps)
{
    hd images = hd_apply(hd_vmap(picture), numbers);
    hd kinds = hd_cast(hd_rem(numbers, hd_c(KINDS)), HD_I32);
    hd params = hd_pack(cnn,
        {
            .first = weights(0.5, HD_INTS(3, 3, 1, 4)),
            .second = weights(0.3, HD_INTS(3, 3, 4, 6)),
            .dense = weights(0.2, HD_INTS(54, KINDS)),
            .bias = hd_zeros(HD_F32, KINDS),
        });
    int64_t n = *(const int *)steps;
    hd r = hd_scan(hd_partial(step, images, kinds), params, hd_arange(HD_I32, 0, (double)n, 1)),
       losses = hd_nth(r, 1);
    hd right[2];
    for (int k = 0; k < 2; k++) {
        hd guess = hd_argmax(logits(k ? hd_nth(r, 0) : params, images), -1);
        right[k] = hd_sum(hd_cast(hd_eq(guess, kinds), HD_I32));
    }
    return hd_tuple(hd_at(losses, 0), hd_at(losses, (int)n - 1), right[0], right[1]);
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "device", 1, NULL, 'd' }, { "steps", 1, NULL, 'n' }, { 0 } };
    float number[IMAGES];
    int steps = 40, status = 1;
    hd_array *numbers = NULL, *out[4] = { NULL };

    for (int k; (k = getopt_long(argc, argv, "d:n:", options, NULL)) != -1;)
        if (k == '?' || (k == 'd' && !hd_default_device(optarg)))
            goto fail;
        else if (k == 'n')
            steps = atoi(optarg);
    for (int k = 0; k < IMAGES; k++)
        number[k] = (float)k;
    numbers = hd_array_of(number, IMAGES);
    if (hd_call(hd_bind(train, steps), out, numbers))
        goto fail;
    printf("loss %.3f then %.3f\n", hd_item(out[0]), hd_item(out[1]));
    printf("right %d then %d of %d\n", (int)hd_item(out[2]), (int)hd_item(out[3]), IMAGES);
    status = 0;
fail:
    if (status)
        fprintf(stderr, "%s\n", hd_error());
    for (int k = 0; k < 4; k++)
        hd_drop(out[k]);
    hd_drop(numbers);
    return status;
}
