/* Attention over a sequence that is cut into blocks, one for each worker: keys and values go around a ring,
 * each worker keeps the running maximum and sums of its softmax, and never holds more than a block of the
 * rest. The result and its gradient are those of all at once. The workers are lanes; with --devices they are
 * places of a map over devices. */
#include <getopt.h>
#include <heddle.h>
#include <math.h>
#include <stdlib.h>

enum { WORKERS = 4, BLOCK = 8, WIDTH = 16 };

static hd scores(hd q, hd k) { return hd_div_c(hd_matmul(q, hd_transpose(k)), sqrt(WIDTH)); }

static hd whole(hd q, hd k, hd v)                       /* f32[n,WIDTH] each: all at once */
{
    return hd_matmul(hd_softmax(scores(q, k), -1), v);
}

#define PASS(F, S) F(k) F(v) F(top) F(sum) F(out)
HD_STRUCT(pass, PASS);

static hd onward(hd x)
{
    int ring[WORKERS][2];
    for (int i = 0; i < WORKERS; i++)
        ring[i][0] = i, ring[i][1] = (i + 1) % WORKERS;
    return hd_ppermute(x, "ring", (const int (*)[2])ring, WORKERS);
}

/* What a block of keys and values adds; what was there before is weighed anew where the maximum has
 * grown. */
static hd look(hd q, hd state, hd nothing)
{
    (void)nothing;
    pass p = hd_unpack(pass, state);
    hd s = scores(q, p.k), top = hd_maximum(p.top, hd_max(s, -1, HD_KEEP)),
       fade = hd_exp(hd_sub(p.top, top)), e = hd_exp(hd_sub(s, top));
    return hd_tuple(hd_pack(pass,
                        {
                            .k = onward(p.k),
                            .v = onward(p.v),
                            .top = top,
                            .sum = hd_add(hd_mul(p.sum, fade), hd_sum(e, -1, HD_KEEP)),
                            .out = hd_add(hd_mul(p.out, fade), hd_matmul(e, p.v)),
                        }),
        HD_NIL);
}

static hd part(hd q, hd k, hd v)                        /* f32[BLOCK,WIDTH] each: one worker's */
{
    hd start = hd_pack(pass,
        {
            .k = k,
            .v = v,
            .top = hd_full(hd_c(-1e30), BLOCK, 1),
            .sum = hd_zeros(HD_F32, BLOCK, 1),
            .out = hd_zeros(HD_F32, BLOCK, WIDTH),
        });
    pass p = hd_unpack(pass, hd_nth(hd_scan(hd_partial(look, q), start, HD_NIL, .length = WORKERS), 0));
    return hd_div(p.out, p.sum);
}

struct places { char names[256]; };                     /* of devices; none: lanes of one */

static hd in_blocks(hd q, hd k, hd v, const void *env)
{
    const struct places *at = env;
    hd_fn *all = at->names[0] ? hd_pmap(part, .axis_name = "ring", .devices = at->names) :
                                hd_vmap(part, .axis_name = "ring");
    hd out = hd_apply(all, hd_reshape(q, WORKERS, BLOCK, WIDTH), hd_reshape(k, WORKERS, BLOCK, WIDTH),
        hd_reshape(v, WORKERS, BLOCK, WIDTH));
    return hd_reshape(out, WORKERS * BLOCK, WIDTH);
}

static hd draw(hd key) { return hd_random_normal(key, HD_F32, 4, WORKERS * BLOCK, WIDTH); }

static hd weighed(hd q, hd k, hd v, hd w, const void *env)      /* a number to differentiate */
{
    struct places at = *(const struct places *)env;
    return hd_sum(hd_mul(w, hd_apply(hd_bind(in_blocks, at), q, k, v)));
}
static hd weighed_whole(hd q, hd k, hd v, hd w) { return hd_sum(hd_mul(w, whole(q, k, v))); }

/* The largest differences of the results and of the gradients by queries, keys and values. */
static hd compare(hd x, const void *env)
{
    struct places at = *(const struct places *)env;
    hd q = hd_index(x, 0, 0), k = hd_index(x, 0, 1), v = hd_index(x, 0, 2), w = hd_index(x, 0, 3), worst[4];
    worst[0] = hd_max(hd_abs(hd_sub(hd_apply(hd_bind(in_blocks, at), q, k, v), whole(q, k, v))));
    hd a = hd_apply(hd_grad(hd_bind(weighed, at), .argnums = HD_INTS(0, 1, 2)), q, k, v, w);
    hd b = hd_apply(hd_grad(weighed_whole, .argnums = HD_INTS(0, 1, 2)), q, k, v, w);
    for (int i = 0; i < 3; i++)
        worst[i + 1] = hd_max(hd_abs(hd_sub(hd_nth(a, i), hd_nth(b, i))));
    return hd_tuple(hd_stack_n(0, worst, 4), weighed_whole(q, k, v, w), hd_norm(hd_nth(a, 1)));
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "device", 1, NULL, 'd' }, { "devices", 1, NULL, 'p' },
        { 0 } };
    static const char *const label[] = { "result", "gradient by queries", "by keys", "by values" };
    struct places at = { "" };
    hd_array *key = hd_array_key(11), *x = NULL, *out[3] = { NULL };
    const float *worst;
    int status = 1;

    for (int k; (k = getopt_long(argc, argv, "d:p:", options, NULL)) != -1; )
        if (k == '?' || (k == 'd' && !hd_default_device(optarg)))
            goto fail;
        else if (k == 'p')
            snprintf(at.names, sizeof at.names, "%s", optarg);
    if (hd_call(draw, &x, key) || hd_call(hd_bind(compare, at), out, x) || !(worst = hd_data(out[0])))
        goto fail;
    printf("value %.4f, norm of the gradient by keys %.4f\n", hd_item(out[1]), hd_item(out[2]));
    status = 0;
    for (int i = 0; i < 4; i++) {
        printf("%s: %s\n", label[i], worst[i] < 1e-5f ? "as all at once" : "differs");
        status |= !(worst[i] < 1e-5f);
    }
fail:
    if (!out[0])
        fprintf(stderr, "%s\n", hd_error());
    hd_drop(key), hd_drop(x), hd_drop(out[0]), hd_drop(out[1]), hd_drop(out[2]);
    return status;
}
