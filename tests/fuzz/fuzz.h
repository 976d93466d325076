/*
 * fuzz.h - between the files of fuzz: random numbers, options, programs of views.
 */
#ifndef HEDDLE_FUZZ_H
#define HEDDLE_FUZZ_H

#include "graph.h"
#include "values.h"

/* ==================== random numbers: splitmix64 */

typedef struct Rng { uint64_t s; } Rng;

static inline uint64_t rng_next(Rng *r)
{
    uint64_t z = r->s += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static inline int pick(Rng *r, int n) { return (int)(rng_next(r) >> 33) % n; }
static inline double uniform(Rng *r) { return (double)(rng_next(r) >> 11) * 0x1p-53; }
static inline double normal(Rng *r)
{
    return sqrt(-2 * log(1 - uniform(r))) * cos(6.283185307179586 * uniform(r));
}

/* ==================== programs of views (fuzz_views.c) */

typedef struct FuzzOptions {
    int64_t seed, count, many;
    const char *only, *device, *pmap;
    bool views, bits, one, verbose;
} FuzzOptions;

/* A random closed graph of views of arrays; *what says which transform is around it. NULL after an error. */
Graph *view_program(Rng *, bool f64, const char **what);
/* Holds `many` programs at a time, in one graph, to what the host gives. Returns how many break that. */
int views_agree(const FuzzOptions *, Device *host, Device *other);

/* ==================== programs whose shards meet (fuzz_pmap.c) */

/* Each over a list of devices, held to its map over lanes on the host. The exit code. one: to one law, by
 * its number in turn, not to all six. */
int pmap_agrees(int64_t seed, int64_t count, const char *devices, bool one);

#endif
