/*
 * warm.c - plans on the disk: what a process has scheduled and compiled, the next one only reads.
 *
 * In:  a graph as it would be scheduled, and a device.   Out: its plan (plan_keep.c), or nothing.
 * The key is all that a plan depends on: the graph's text, what the device says of itself, and which build
 * of this library it is (cache_build). Where somebody wants to see or to verify what
 * happens on the way, it happens.
 */
#include "api.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 16 << 20 }; /* of a plan with its constants */

static bool watched(void)
{
    static const char *const words[] = { "prepared", "spec", "kernel", "plan", "opencl", "spirv", "code" };
    bool is = getenv("HEDDLE_CHECK") != NULL;
    for (size_t k = 0; k < sizeof words / sizeof *words; k++)
        is |= dump_wanted(words[k]);
    return is;
}

bool warm_key(WarmKey *key, const Graph *g, const Target *t)
{
    Text text = { 0 };
    const uint64_t build = cache_build();
    memset(key, 0, sizeof *key);
    if (!build || watched())
        return false;
    graph_print(g, &text);
    const int64_t facts[] = { t->f64, t->i64, t->f16, t->no_fma64, t->max_alloc,
        (int64_t)machine_hash(t->machine) };
    memcpy(key->what, "plan1", 6);
    for (int i = 0; i < 2; i++) {
        uint64_t h = hash_bytes(facts, sizeof facts, hash_bytes(&build, sizeof build, 1 + (uint64_t)i));
        key->hash[i] = hash_bytes(text.s, text.n, h);
    }
    bool whole = text.s != NULL;
    text_free(&text);
    return whole;
}

_Atomic uint64_t plans_read;

Plan *warm_plan(const WarmKey *key)
{
    void *bytes;
    size_t n;
    if (!cache_get(key, sizeof *key, &bytes, &n))
        return NULL;
    Plan *p = plan_unpack(bytes, n);
    free(bytes);
    return p;
}

void warm_keep(const WarmKey *key, const Plan *p)
{
    size_t n;
    void *bytes = plan_pack(p, &n);
    if (bytes && n <= MOST_BYTES)
        cache_put(key, sizeof *key, bytes, n);
    free(bytes);
}
