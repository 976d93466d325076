/*
 * cache.c - which sectors a cache holds: lines in sets of sixteen, each with a bit a sector, the one used
 * longest ago gives way.
 */
#include "sim.h"

#include <stdlib.h>

enum { WAYS = 16 };

typedef struct Line {
    uint64_t tag, used;
    uint32_t sectors;
} Line; /* tag 0: none */

struct SimCache {
    uint64_t sets, line, sector, now;
    Line at[];
};

SimCache *sim_cache_new(double bytes, double line, double sector)
{
    uint64_t sets = (uint64_t)(bytes / line / WAYS);
    sets = sets < 1 ? 1 : sets;
    SimCache *c = calloc(1, sizeof *c + sizeof *c->at * WAYS * (size_t)sets);
    if (!c)
        return error_set(E_NOMEM, "no memory for a cache"), NULL;
    c->sets = sets, c->line = (uint64_t)line, c->sector = (uint64_t)sector;
    return c;
}

void sim_cache_drop(SimCache *c) { free(c); }

bool sim_cache_has(SimCache *c, uint64_t address)
{
    uint64_t tag = address / c->line + 1;
    uint32_t bit = 1u << (address % c->line / c->sector);
    /* neighbours of a power of two must not come to one set: hardware mixes higher bits in, too */
    Line *set = c->at + (tag ^ tag / c->sets) % c->sets * WAYS, *oldest = set;
    for (int w = 0; w < WAYS; w++) {
        if (set[w].tag == tag) {
            bool has = set[w].sectors & bit;
            set[w].sectors |= bit, set[w].used = ++c->now;
            return has;
        }
        if (set[w].used < oldest->used)
            oldest = &set[w];
    }
    *oldest = (Line){ tag, ++c->now, bit };
    return false;
}
