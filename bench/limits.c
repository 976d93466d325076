/*
 * limits.c - what the cores reach in plain C: a stream triad for memory (through the cache or around it, the
 * faster), chains of fused multiply-adds for arithmetic.
 *
 * One thread a core, the best of several rounds. Vectors are as wide as the machine has them; the loader
 * picks.
 */
#include "measure.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#if defined(__x86_64__) && defined(__gnu_linux__)
#define WIDEST __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), optimize("O3")))
#else
#define WIDEST
#endif

enum { FLOATS = 1 << 23, ROUNDS = 5, LANES = 256, TURNS = 200000, MOST_CORES = 256 };

WIDEST static void triad(float *restrict a, const float *restrict b, const float *restrict c, long n)
{
    for (long i = 0; i < n; i++)
        a[i] = b[i] + 3 * c[i];
}

/* The same with stores around the cache, where the compiler has them on every machine of the kind. */
static void triad_around(float *restrict a, const float *restrict b, const float *restrict c, long n)
{
#ifdef __SSE2__
    for (long i = 0; i + 4 <= n; i += 4)
        _mm_stream_ps(
            a + i, _mm_add_ps(_mm_loadu_ps(b + i), _mm_mul_ps(_mm_set1_ps(3), _mm_loadu_ps(c + i))));
    _mm_sfence();
#else
    triad(a, b, c, n);
#endif
}

/* Enough independent chains to hide the latency of each. */
WIDEST static float chains(float x)
{
    float v[LANES], sum = 0;
    for (int i = 0; i < LANES; i++)
        v[i] = (float)i;
    for (int k = 0; k < TURNS; k++)
        for (int i = 0; i < LANES; i++)
            v[i] = __builtin_fmaf(v[i], x, 1);
    for (int i = 0; i < LANES; i++)
        sum += v[i];
    return sum;
}

typedef struct Core { float *a, *b, *c; long n; float sink; } Core;

static void *run_triad(void *p) { Core *c = p; triad(c->a, c->b, c->c, c->n); return NULL; }
static void *run_around(void *p) { Core *c = p; triad_around(c->a, c->b, c->c, c->n); return NULL; }
static void *run_chains(void *p) { Core *c = p; c->sink = chains(c->a ? .5f : .25f); return NULL; }

/* The least time of several rounds on all cores. */
static double fastest(void *(*f)(void *), Core *core, int n)
{
    pthread_t t[MOST_CORES];
    double best = 0;
    for (int r = 0; r < ROUNDS; r++) {
        double start = now_ms();
        int made = 0;
        while (made < n && !pthread_create(&t[made], NULL, f, &core[made]))
            made++;
        for (int i = 0; i < made; i++)
            pthread_join(t[i], NULL);
        double ms = now_ms() - start;
        if (made == n && (!best || ms < best))
            best = ms;
    }
    return best;
}

Limits machine_limits(void)
{
    static Core core[MOST_CORES];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int n = cores < 1 ? 1 : cores > MOST_CORES ? MOST_CORES : (int)cores;
    long each = FLOATS / n / 4 * 4;
    float *all = aligned_alloc(64, 3 * (size_t)FLOATS * sizeof *all);
    if (!all)
        return (Limits){ 0 };
    memset(all, 0, 3 * (size_t)FLOATS * sizeof *all);
    for (int i = 0; i < n; i++)
        core[i] = (Core){ all + i * each, all + FLOATS + i * each, all + 2 * FLOATS + i * each, each, 0 };
    double stream = fastest(run_triad, core, n), around = fastest(run_around, core, n),
           arithmetic = fastest(run_chains, core, n);
    free(all);
    stream = around && around < stream ? around : stream;
    return (Limits){
        .bytes = stream ? 12.0 * (double)(each * n) / stream : 0,
        .flops = arithmetic ? 2.0 * LANES * TURNS * n / arithmetic : 0,
    };
}
