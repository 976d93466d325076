/*
 * test_launches.c - how many launches a call is, on each device, and that what shares one still gives the
 * host's values.
 *
 * In:  a small recurrent network and its gradients; little sums that know nothing of one another.   Out:
 * counts, values.
 */
#include <math.h>
#include <stdlib.h>

#include "suite.h"

static hd cell(hd w, hd u, hd b, hd h, hd x)
{
    h = hd_tanh(hd_add(hd_add(hd_dot(h, w), hd_dot(x, u)), b));
    return hd_tuple(h, h);
}

static hd rnn(hd w, hd u, hd b, hd xs)
{
    return hd_nth(hd_scan(hd_partial(cell, w, u, b), hd_zeros(HD_F32, 8), xs), 1);
}
static hd loss_of_one(hd w, hd u, hd b, hd xs) { return hd_mean(hd_square(rnn(w, u, b, xs))); }

static hd loss(hd w, hd u, hd b, hd xs)
{
    return hd_mean(hd_apply(hd_vmap(loss_of_one, .in_axes = { HD_NONE, HD_NONE, HD_NONE, 0 }), w, u, b, xs));
}

/* Three sums of three shapes, which have nothing in common; and one that reads another of them. */
static hd apart(hd x, hd y, hd z)
{
    hd a = hd_sum(x, 0), b = hd_sum(y, 1), c = hd_max(z, 0, 1);
    return hd_tuple(a, b, c);
}

static hd one_reads(hd x, hd y, hd z)
{
    hd a = hd_sum(x, 0), b = hd_sum(y, 1);
    return hd_tuple(a, b, hd_add(hd_max(z, 0, 1), hd_sum(hd_mul(b, b))));
}

typedef struct Case { hd_fn *f; int n; hd_ints shape[4]; int most[DEVICES]; } Case;

static hd_array *filled(hd_ints shape, int phase)
{
    int64_t n = 1;
    for (int d = 0; d < shape.n; d++)
        n *= shape.v[d];
    float *v = malloc(sizeof *v * (size_t)n);
    for (int64_t i = 0; i < n; i++)
        v[i] = (float)sin((double)(i * 7 + phase) * 0.37) * 0.5f;
    hd_array *x = hd_array_new(HD_F32, shape, v, NULL);
    free(v);
    return x;
}

static void same(const hd_array *a, const hd_array *b, const char *device)
{
    int n = hd_array_len(a);
    ck_assert_int_eq(n, hd_array_len(b));
    for (int k = 0; k < n; k++) {
        const float *p = hd_data(hd_array_nth(a, k)), *q = hd_data(hd_array_nth(b, k));
        for (int64_t i = 0; i < hd_array_size(hd_array_nth(a, k)); i++)
            ck_assert_msg(fabsf(p[i] - q[i]) <= 2e-4f * (1 + fabsf(q[i])),
                "%s: result %d, element %lld: %g instead of %g", device, k, (long long)i, (double)p[i],
                (double)q[i]);
    }
}

static void judge(const Case *c)
{
    hd_array *x[4], *want = NULL;
    for (int k = 0; k < c->n; k++)
        x[k] = filled(c->shape[k], k);
    for (int d = 0; d < DEVICES; d++) {
        if (!there(devices[d]))
            continue;
        hd_fn *f = hd_jit_n(c->f, &(hd_jit_opts){ .device = devices[d] });
        hd_array *got = NULL;
        hd_cost_info cost;
        ck_assert_msg(!hd_call_n(f, &got, 1, x, c->n) && !hd_cost_n(f, &cost, x, c->n), "%s", hd_error());
        ck_assert_msg(cost.launches <= c->most[d], "%d launches on %s", (int)cost.launches, devices[d]);
        if (want)
            same(got, want, devices[d]);
        if (!want)
            want = got;
        else
            hd_drop(got);
    }
    for (int k = 0; k < c->n; k++)
        hd_drop(x[k]);
    hd_drop(want);
}

enum { UNITS = 8, STEPS = 1000, LANES = 16 };
#define NETWORK \
    4, { HD_INTS(UNITS, UNITS), HD_INTS(UNITS, UNITS), HD_INTS(UNITS), HD_INTS(LANES, STEPS, UNITS) }

static hd forward(hd w, hd u, hd b, hd xs)
{
    return hd_tuple(hd_apply(hd_vmap(rnn, .in_axes = { HD_NONE, HD_NONE, HD_NONE, 0 }), w, u, b, xs));
}

START_TEST(network)
{
    judge(&(Case){ HD_FN(forward), NETWORK, { 0, 1, 1 } });
    judge(&(Case){ hd_grad(loss, .argnums = HD_INTS(0, 1, 2)), NETWORK, { 0, 3, 3 } });
}
END_TEST

/* Of a device without vectors of its own, kernels stand side by side; one that reads another cannot. */
START_TEST(side_by_side)
{
    judge(&(Case){ HD_FN(apart), 3, { HD_INTS(40, 33), HD_INTS(17, 50), HD_INTS(5, 7, 3) }, { 0, 1, 1 } });
    judge(
        &(Case){ HD_FN(one_reads), 3, { HD_INTS(40, 33), HD_INTS(17, 50), HD_INTS(5, 7, 3) }, { 0, 1, 2 } });
}
END_TEST

int main(void)
{
    Suite *s = suite_create("launches");
    TCase *c = suite_case(s);
    tcase_add_test(c, network);
    tcase_add_test(c, side_by_side);
    return suite_run(s);
}
