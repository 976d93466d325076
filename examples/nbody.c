/* Bodies that attract each other: the forces are hd_grad of the energy, the steps a symmetric composition of
 * leaps. Three equal bodies can chase each other along a figure of eight; after a period they are back, and
 * the energy is what it was. The lanes are starts that differ a little. */
#include <getopt.h>
#include <heddle.h>
#include <math.h>
#include <stdlib.h>

enum { BODIES = 3, LANES = 3 };

static hd potential(hd q)                               /* f32[bodies,2] -> f32[]: each pair once */
{
    hd between = hd_sub(hd_expand_dims(q, 0), hd_expand_dims(q, 1)), square = hd_sum(hd_square(between), -1);
    hd pairs = hd_triu(hd_ones(HD_F32, BODIES, BODIES), 1);
    return hd_neg(hd_sum(hd_mul(pairs, hd_rsqrt(hd_add(square, hd_eye(HD_F32, BODIES))))));
}

static hd energy(hd q, hd p) { return hd_add(hd_mul_c(hd_sum(hd_square(p)), 0.5), potential(q)); }

struct way { int steps; double period; };

/* Three leaps, the middle one back in time: what each does wrong to fourth order is undone by the others. */
static hd step(hd state, hd nothing, const void *env)
{
    const struct way *way = env;
    double w = 1 / (2 - cbrt(2)), h = way->period / way->steps;
    hd q = hd_nth(state, 0), p = hd_nth(state, 1);

    (void)nothing;
    for (int i = 0; i < 3; i++) {
        double t = h * (i == 1 ? 1 - 2 * w : w);
        q = hd_add(q, hd_mul_c(p, t / 2));
        p = hd_sub(p, hd_mul_c(hd_apply(hd_grad(potential), q), t));
        q = hd_add(q, hd_mul_c(p, t / 2));
    }
    return hd_tuple(hd_tuple(q, p), HD_NIL);
}

/* Bodies 0 and 1 are opposite, 2 is in the middle; by `shift` body 2 is put aside. Energy before and after,
 * and the distance to the start after a period. */
static hd chase(hd shift, const void *env)
{
    struct way way = *(const struct way *)env;
    hd q = hd_lit(float, (BODIES, 2), 0.97000436f, -0.24308753f, -0.97000436f, 0.24308753f, 0, 0);
    hd p = hd_lit(
        float, (BODIES, 2), 0.46620368f, 0.43236573f, 0.46620368f, 0.43236573f, -0.93240737f, -0.86473146f);
    q = hd_at_add(q, shift, 2, 0);
    hd end = hd_nth(hd_scan(hd_bind(step, way), hd_tuple(q, p), HD_NIL, .length = way.steps), 0);
    return hd_tuple(
        energy(q, p), energy(hd_nth(end, 0), hd_nth(end, 1)), hd_norm(hd_sub(hd_nth(end, 0), q)));
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "device", 1, NULL, 'd' }, { "steps", 1, NULL, 'n' }, { 0 } };
    struct way way = { 600, 6.32591398 };
    hd_array *shifts = hd_array_lit(float, (LANES), 0, 0.01f, 0.1f), *out[3] = { NULL };
    float before[LANES], after[LANES], distance[LANES];
    int status = 1;

    for (int k; (k = getopt_long(argc, argv, "d:n:", options, NULL)) != -1; )
        if (k == '?' || (k == 'd' && !hd_default_device(optarg)))
            goto fail;
        else if (k == 'n')
            way.steps = atoi(optarg);
    if (hd_call(hd_vmap(hd_bind(chase, way)), out, shifts) || hd_read(out[0], before, LANES) ||
        hd_read(out[1], after, LANES) || hd_read(out[2], distance, LANES))
        goto fail;
    for (int i = 0; i < LANES; i++)
        printf("energy %.4f then %.4f distance to the start %.3f\n", (double)before[i], (double)after[i],
            (double)distance[i]);
    status = 0;
fail:
    if (status)
        fprintf(stderr, "%s\n", hd_error());
    hd_drop(shifts), hd_drop(out[0]), hd_drop(out[1]), hd_drop(out[2]);
    return status;
}
