/*
 * inputs.c - arguments of the workloads: a formula of the linear index, exact in f32, the same in every
 * language.
 *
 * An integer hash and not a sine of the index: sines differ between mathematics libraries, and a matrix of
 * sines has rank 2, which hides errors.
 */
#include "workloads.h"

#include <math.h>
#include <stdlib.h>

uint32_t mix(uint32_t i, uint32_t k)
{
    uint32_t h = i + k * 0x9E3779B9u;
    h ^= h >> 16, h *= 0x7FEB352Du;
    h ^= h >> 15, h *= 0x846CA68Bu;
    return h ^ (h >> 16);
}

static int64_t size_of(hd_ints dims)
{
    int64_t n = 1;
    for (int i = 0; i < dims.n; i++)
        n *= dims.v[i];
    return n;
}

hd_array *input(int k, double r, double c, hd_ints dims)
{
    int64_t n = size_of(dims);
    float *v = malloc((size_t)n * sizeof *v + 1);
    hd_array *a = NULL;
    if (!v)
        return NULL;
    for (int64_t i = 0; i < n; i++)
        v[i] = (float)(c + r * ((mix((uint32_t)i, (uint32_t)k) >> 8) * 0x1p-23 - 1.0));
    a = hd_array_new(HD_F32, dims, v, NULL);
    free(v);
    return a;
}

hd_array *dense(int k, int64_t n, int64_t m) { return AR(k, sqrt(3.0 / (double)n), 0, n, m); }

hd_array *whole(int k, uint32_t below, hd_ints dims)
{
    int64_t n = size_of(dims);
    int32_t *v = malloc((size_t)n * sizeof *v + 1);
    hd_array *a = NULL;
    if (!v)
        return NULL;
    for (int64_t i = 0; i < n; i++)
        v[i] = (int32_t)(mix((uint32_t)i, (uint32_t)k) % below);
    a = hd_array_new(HD_I32, dims, v, NULL);
    free(v);
    return a;
}

hd_array *seed_key(uint64_t seed) { return hd_array_key(seed); }

hd_array *layers(const int64_t *sizes, int n)
{
    hd_array *layer[MAX_ARGS];
    for (int i = 0; i < n - 1; i++) {
        hd_array *w = dense(FIRST_LAYER + i, sizes[i], sizes[i + 1]);
        hd_array *b = AR(FIRST_BIAS + i, 0.1, 0, sizes[i + 1]);
        layer[i] = hd_array_tuple(w, b);
    }
    return hd_array_tuple_n(layer, n - 1);
}
