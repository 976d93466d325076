/* Learning to learn: parameters from which one step of gradient descent on a few points of a sine fits that
 * sine. The outer gradient goes through the inner one; the tasks are lanes of a vmap; Adam moves the
 * parameters. */
#include <getopt.h>
#include <heddle.h>
#include <math.h>
#include <stdlib.h>

enum { HIDDEN = 32, SHOTS = 20, TASKS = 8 };

#define NET(F, S) F(w1) F(b1) F(w2) F(b2) F(w3) F(b3)
HD_STRUCT(net, NET);

static hd predict(hd params, hd x)                      /* f32[n] -> f32[n] */
{
    net p = hd_unpack(net, params);
    hd h = hd_tanh(hd_add(hd_outer(x, p.w1), p.b1));
    h = hd_tanh(hd_add(hd_matmul(h, p.w2), p.b2));
    return hd_add(hd_dot(h, p.w3), p.b3);
}

static hd loss(hd params, hd x, hd y) { return hd_mean(hd_square(hd_sub(predict(params, x), y))); }

static hd descend(hd p, hd g) { return hd_sub(p, hd_mul_c(g, 0.1)); }
static hd adapt(hd params, hd x, hd y)
{
    return hd_tree_map(descend, params, hd_apply(hd_grad(loss), params, x, y));
}

/* A sine of its own height and phase, and two sets of points of it: to learn from, and to be judged by.
 * tuple(loss after learning, loss before). */
static hd task_loss(hd params, hd key)
{
    hd keys = hd_random_split(key, 3), shape = hd_random_uniform(hd_at(keys, 0), HD_F32, 2);
    hd height = hd_add_c(hd_mul_c(hd_at(shape, 0), 4), 1), phase = hd_mul_c(hd_at(shape, 1), M_PI);
    hd x = hd_mul_c(hd_sub(hd_random_uniform(hd_at(keys, 1), HD_F32, 2, SHOTS), hd_c(0.5)), 10);
    hd y = hd_mul(height, hd_sin(hd_add(x, phase)));
    hd learned = adapt(params, hd_at(x, 0), hd_at(y, 0));
    return hd_tuple(loss(learned, hd_at(x, 1), hd_at(y, 1)), loss(params, hd_at(x, 1), hd_at(y, 1)));
}

static hd mean_loss(hd params, hd key)
{
    hd all = hd_apply(hd_vmap(task_loss, .in_axes = { HD_NONE, 0 }), params, hd_random_split(key, TASKS));
    return hd_tuple(hd_mean(hd_nth(all, 0)), hd_mean(hd_nth(all, 1)));
}

static hd step(hd params, hd state, hd key)             /* tuple(params, state, losses after and before) */
{
    hd r = hd_apply(hd_value_and_grad(mean_loss, .has_aux = true), params, key);
    hd next = hd_adam(params, hd_nth(r, 1), state, hd_c(2e-3));
    return hd_tuple(
        hd_nth(next, 0), hd_nth(next, 1), hd_stack(0, hd_nth(hd_nth(r, 0), 0), hd_nth(hd_nth(r, 0), 1)));
}

static hd one(hd carry, hd key)
{
    hd r = step(hd_nth(carry, 0), hd_nth(carry, 1), key);
    return hd_tuple(hd_tuple(hd_nth(r, 0), hd_nth(r, 1)), hd_nth(r, 2));
}

static hd weights(hd key, int64_t n, int64_t m)
{
    return hd_div_c(hd_random_normal(key, HD_F32, n, m), sqrt((double)n));
}

/* All steps in one scan: the losses f32[steps,2]. */
static hd train(hd key, const void *env)
{
    hd keys = hd_random_split(key, 5);
    hd start = hd_pack(net,
        {
            .w1 = hd_index(weights(hd_at(keys, 0), 1, HIDDEN), 0, 0),
            .b1 = hd_random_normal(hd_at(keys, 1), HD_F32, HIDDEN),
            .w2 = weights(hd_at(keys, 2), HIDDEN, HIDDEN),
            .b2 = hd_zeros(HD_F32, HIDDEN),
            .w3 = hd_index(weights(hd_at(keys, 3), HIDDEN, 1), 1, 0),
            .b3 = hd_zeros(HD_F32),
        });
    hd carry = hd_tuple(start, hd_opt_init(start));
    return hd_nth(hd_scan(one, carry, hd_random_split(hd_at(keys, 4), *(const int *)env)), 1);
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "device", 1, NULL, 'd' }, { "steps", 1, NULL, 'n' }, { 0 } };
    int steps = 120, status = 1;
    const float *loss;
    hd_array *key = hd_array_key(2), *out = NULL;

    for (int k; (k = getopt_long(argc, argv, "d:n:", options, NULL)) != -1; )
        if (k == '?' || (k == 'd' && !hd_default_device(optarg)))
            goto fail;
        else if (k == 'n')
            steps = atoi(optarg) / 6 * 6;
    if (hd_call(hd_bind(train, steps), &out, key) || !(loss = hd_data(out)))
        goto fail;
    for (int i = 0; i < steps; i += steps / 6) {
        double after = 0, before = 0;
        for (int k = 0; k < steps / 6; k++)
            after += (double)loss[2 * (i + k)], before += (double)loss[2 * (i + k) + 1];
        printf("steps from %3d: loss %.3f, after learning %.3f\n", i, 6 * before / steps, 6 * after / steps);
    }
    status = 0;
fail:
    if (status)
        fprintf(stderr, "%s\n", hd_error());
    hd_drop(key), hd_drop(out);
    return status;
}
