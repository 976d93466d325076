/*
 * fuzz_pmap.c - random programs whose shards meet: as a map over devices they give what they give as a map
 * over lanes on one.
 *
 * In:  a seed, a list of devices.   Out: whether the values, their gradients, two maps one after the other,
 * a batch of maps, maps in a
 *      loop and maps in places of an outer map agree:
 *      to the bit where all devices are the host, else but for rounding.
 * A program is a function of one shard's vector, and of one that all share: elementwise and structural ops,
 * every collective, and scans, loops, branches, checkpoints, maps over lanes and gradients around such
 * programs. What decides a branch or a trip count around a collective is the same in all shards; elsewhere
 * each has its own. Each function draws what it does from its own number, so that tracing it again gives the
 * same.
 */
#include "heddle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

enum { SHARDS = 4, WIDE = 4, B = 3, DEPTH = 3, MADE = 4096 };

/* meets: it may hold collectives. */
typedef struct Body { uint64_t seed; int depth; bool meets; } Body;

static hd_fn *made[MADE];
static int nmade;

static int draw_body(hd *out, const hd *in, int n, void *body);
static int draw_step(hd *out, const hd *in, int n, void *body);
static int draw_turn(hd *out, const hd *in, int n, void *body);
static int draw_energy(hd *out, const hd *in, int n, void *body);

static hd_fn *function(hd_callback *f, Rng *r, int depth, bool meets, const char *name)
{
    Body *b = malloc(sizeof *b);
    *b = (Body){ rng_next(r), depth, meets };
    hd_fn *g = nmade < MADE ? hd_function(f, b, free, name) : NULL;
    if (g)
        made[nmade++] = g;
    return g;
}

static void forget_all(void)
{
    while (nmade)
        hd_forget(made[--nmade]);
}

/* ==================== one op */

static hd spread(hd s) { return hd_broadcast_to(s, WIDE); }
static hd damped(hd x) { return hd_tanh(hd_mul_c(x, .5)); }

static hd local(Rng *r, hd x, hd w)
{
    switch (pick(r, 9)) {
    case 0: return hd_add(hd_sin(x), w);
    case 1: return hd_mul(x, hd_cos(w));
    case 2: return hd_cumsum(x, 0);
    case 3: return hd_flip(x, 0);
    case 4: return hd_sub(x, spread(hd_mean(hd_mul(x, w))));
    case 5: return hd_where(hd_gt(x, w), x, hd_mul_c(w, .5));
    case 6: return hd_matmul(hd_mul(hd_reshape(x, WIDE, 1), hd_reshape(w, 1, WIDE)), w);
    case 7: return hd_roll(hd_square(x), 1, 0);
    default: return hd_add(x, hd_mul_c(w, .25));
    }
}

/* A random permutation of some of the shards. */
static hd permuted(Rng *r, hd x)
{
    int to[SHARDS], pair[SHARDS][2], n = 0;
    for (int k = 0; k < SHARDS; k++)
        to[k] = k;
    for (int k = SHARDS - 1; k > 0; k--) {
        int j = pick(r, k + 1), t = to[k];
        to[k] = to[j], to[j] = t;
    }
    for (int k = 0; k < SHARDS; k++)
        if (pick(r, 4))
            pair[n][0] = k, pair[n++][1] = to[k];
    return hd_ppermute(x, "i", pair, n);
}

static hd number(void) { return hd_cast(hd_axis_index("i"), HD_F32); }

static hd together(Rng *r, hd x)
{
    switch (pick(r, 11)) {
    case 0: return hd_mul_c(hd_psum(x, "i"), .25);
    case 1: return hd_sub(x, hd_pmean(x, "i"));
    case 2: return hd_add(x, hd_pmax(x, "i"));
    case 3: return hd_mul(x, hd_pmin(x, "i"));
    case 4: return hd_sum(hd_sin(hd_all_gather(x, "i", 0, false)), 0);
    case 5: return hd_sum(hd_all_gather(hd_mul(x, number()), "i", 1, false), 1);
    case 6: return hd_all_gather(hd_psum_scatter(x, "i", 0, true), "i", 0, true);
    case 7: return spread(hd_psum_scatter(hd_mul(x, x), "i", 0, false));
    case 8: return hd_all_to_all(x, "i", 0, 0, true);
    case 9: return permuted(r, x);
    default: return hd_mul(x, hd_add_c(number(), .5));
    }
}

/* ==================== what is around a program */

static hd same_flag(Rng *r, hd x, bool meets)
{
    return hd_gt(meets ? hd_psum(hd_sum(x), "i") : hd_sum(x), hd_c(uniform(r) - .5));
}

static hd structure(Rng *r, const Body *b, hd x, hd w)
{
    int d = b->depth - 1, kind = pick(r, 8);
    bool meets = b->meets && pick(r, 4);
    hd_fn *f = function(draw_body, r, d, meets, "inner"), *g = function(draw_body, r, d, meets, "other");
    if (!f || !g)
        return x;
    switch (kind) {
    case 0: {
        hd_fn *step = function(draw_step, r, d, meets, "step");
        hd y = hd_scan(step, hd_tuple(x, w), HD_NIL, .length = 2 + pick(r, 2), .reverse = pick(r, 2));
        return hd_add(hd_nth(hd_nth(y, 0), 0), hd_sum(hd_nth(y, 1), 0));
    }
    case 1: return hd_cond(same_flag(r, x, meets), f, g, x, w);
    case 2:
        return hd_nth(
            hd_fori(hd_c(0), hd_c(1 + pick(r, 2)), function(draw_turn, r, d, meets, "turn"), hd_tuple(x, w)),
            0);
    case 3: return hd_apply(hd_checkpoint(f), x, w);
    case 4: return hd_sum(hd_apply(hd_vmap(f, .in_axes = { 0, HD_NONE }), hd_stack(0, x, hd_sin(x)), w), 0);
    case 5: return hd_apply(hd_grad(function(draw_energy, r, d, meets, "energy")), x, w);
    case 6: return hd_add(hd_apply(f, x, w), hd_apply(g, w, x));
    default: return hd_apply(f, hd_apply(g, x, w), w);
    }
}

static hd drawn(const Body *b, hd x, hd w)
{
    Rng r = { b->seed };
    for (int n = 2 + pick(&r, 3); n > 0; n--) {
        int what = pick(&r, 10);
        x = what < 4 || (what < 8 && !b->meets) ? local(&r, x, w) :
            what < 8 || b->depth <= 0           ? b->meets ? together(&r, x) : x :
                                                  structure(&r, b, x, w);
        x = damped(x);
    }
    return x;
}

/* ==================== the shapes of functions */

static int draw_body(hd *out, const hd *in, int n, void *body)
{
    (void)n;
    *out = drawn(body, in[0], in[1]);
    return 0;
}

static int draw_energy(hd *out, const hd *in, int n, void *body)
{
    (void)n;
    *out = hd_mul_c(hd_sum(hd_square(drawn(body, in[0], in[1]))), .25);
    return 0;
}

static int draw_step(hd *out, const hd *in, int n, void *body)
{
    (void)n;
    hd x = drawn(body, hd_nth(in[0], 0), hd_nth(in[0], 1));
    *out = hd_tuple(hd_tuple(x, hd_nth(in[0], 1)), hd_mul_c(x, .5));
    return 0;
}

static int draw_turn(hd *out, const hd *in, int n, void *body)
{
    (void)n;
    *out = hd_tuple(drawn(body, hd_nth(in[1], 0), hd_nth(in[1], 1)), hd_nth(in[1], 1));
    return 0;
}

/* ==================== programs around the shards */

/* devices NULL: lanes. */
typedef struct Shape { hd_fn *f; const char *devices; int kind; } Shape;
enum { VALUES, GRADIENT, CHAINED, LOOP, BATCH, GRID, KINDS };
static const char *const law[KINDS] = { "values", "gradient", "two maps", "a loop of maps",
    "a batch of maps", "a grid" };

static hd_fn *mapped(const Shape *s)
{
    return s->devices ? hd_pmap(s->f, .devices = s->devices, .axis_name = "i", .in_axes = { 0, HD_NONE })
        : hd_vmap(s->f, .axis_name = "i", .in_axes = { 0, HD_NONE });
}

static int turned(hd *out, const hd *in, int n, void *shape)
{
    hd x = hd_nth(in[1], 0), w = hd_nth(in[1], 1);
    (void)n;
    *out = hd_tuple(hd_apply(mapped(shape), x, w), w);
    return 0;
}

static hd_fn *kept(hd_callback *f, void *env)
{
    hd_fn *g = nmade < MADE ? hd_function(f, env, NULL, "shaped") : NULL;
    if (g)
        made[nmade++] = g;
    return g;
}

static int whole(hd *out, const hd *in, int n, void *shape)
{
    const Shape *s = shape;
    (void)n;
    if (s->kind == GRADIENT)
        *out = hd_sum(hd_square(hd_apply(mapped(s), in[0], in[1])));
    else if (s->kind == LOOP)
        *out = hd_nth(hd_fori(hd_c(0), hd_c(3), kept(turned, shape), hd_tuple(in[0], in[1])), 0);
    else
        *out = hd_apply(mapped(s), hd_apply(mapped(s), in[0], in[1]), in[1]);
    return 0;
}

static hd_fn *shaped(Shape *s)
{
    if (s->kind == VALUES)
        return mapped(s);
    if (s->kind == BATCH)
        return hd_vmap(mapped(s), .in_axes = { 0, HD_NONE });
    if (s->kind == GRID)
        return s->devices ? hd_pmap(mapped(s), .devices = "host", .in_axes = { 0, HD_NONE })
            : hd_vmap(mapped(s), .in_axes = { 0, HD_NONE });
    hd_fn *f = kept(whole, s);
    return s->kind == GRADIENT ? hd_grad(f, .argnums = HD_INTS(0, 1)) : f;
}

static hd_array *filled(Rng *r, hd_ints shape)
{
    float x[B * SHARDS * WIDE];
    for (int k = 0; k < B * SHARDS * WIDE; k++)
        x[k] = (float)(.7 * normal(r));
    return hd_array_new(HD_F32, shape, x, NULL);
}

/* 0: other values; 1: the same but for rounding; 2: the same bits. */
static int agree(const hd_array *a, const hd_array *b, double *worst)
{
    int all = 2;
    for (int k = 0; k < hd_array_len(a); k++) {
        int one = agree(hd_array_nth(a, k), hd_array_nth(b, k), worst);
        all = one < all ? one : all;
    }
    if (hd_array_len(a))
        return all;
    const float *x = hd_data(a), *y = hd_data(b);
    if (!x || !y || hd_array_size(a) != hd_array_size(b))
        return 0;
    for (int64_t k = 0; k < hd_array_size(a); k++) {
        double far = fabs((double)x[k] - (double)y[k]) / (1 + fabs((double)y[k]));
        if (!memcmp(&x[k], &y[k], sizeof *x) || (isnan(x[k]) && isnan(y[k])))
            continue;
        *worst = far > *worst || isnan(far) ? far : *worst;
        all = far < 2e-3 && all ? 1 : 0;
    }
    return all;
}

/* One law of one program: did it hold? */
static bool holds(
    hd_fn *f, const char *devices, int kind, bool exact, hd_array *x, hd_array *w, uint64_t seed)
{
    Shape lanes = { f, NULL, kind }, shards = { f, devices, kind };
    hd_array *want = NULL, *got = NULL;
    double worst = 0;
    int e = hd_call(hd_jit(shaped(&lanes), .device = "host"), &want, x, w);
    int e2 = e ? e : hd_call(shaped(&shards), &got, x, w), same = e || e2 ? 0 : agree(got, want, &worst);
    bool good = same == 2 || (same == 1 && !exact);
    if (!good && (e || e2))
        printf("seed %llu: %s: %s\n", (unsigned long long)seed, law[kind], hd_error());
    else if (!good)
        printf("seed %llu: %s differ by %g\n", (unsigned long long)seed, law[kind], worst);
    hd_drop(want), hd_drop(got);
    return good;
}

int pmap_agrees(int64_t seed, int64_t count, const char *devices, bool one)
{
    int bad = 0;
    bool host = true;
    hd_array *none = hd_array_scalar(HD_F32, 0), *there = hd_put(none, devices);
    hd_drop(none), hd_drop(there);
    if (!there && hd_error_code() == HD_EDEVICE)
        return printf("skipped: %s\n", hd_error()), 77;
    for (const char *s = devices; s && *s; s = strchr(s, ',') ? strchr(s, ',') + 1 : NULL)
        host = host && !strncmp(s, "host", 4);
    for (int64_t k = seed; k < seed + count; k++) {
        Rng r = { (uint64_t)k };
        hd_fn *f = function(draw_body, &r, DEPTH, true, "program");
        hd_array *x = filled(&r, (hd_ints){ 2, { SHARDS, WIDE } }),
                 *x3 = filled(&r, (hd_ints){ 3, { B, SHARDS, WIDE } });
        hd_array *w = filled(&r, (hd_ints){ 1, { WIDE } });
        bool good = true;
        for (int kind = one ? (int)(k % KINDS) : 0; kind < KINDS; kind += one ? KINDS : 1)
            good =
                holds(f, devices, kind, host && kind != GRADIENT, kind >= BATCH ? x3 : x, w, (uint64_t)k) &&
                good;
        bad += !good;
        hd_drop(x), hd_drop(x3), hd_drop(w);
        forget_all();
    }
    printf(
        "%lld programs from seed %lld over %s, %d bad\n", (long long)count, (long long)seed, devices, bad);
    return bad > 0;
}
