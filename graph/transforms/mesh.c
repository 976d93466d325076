/*
 * mesh.c - grids of shards: where a shard is, and what it has of an array.
 */
#include "graph.h"

int64_t mesh_shards(const Mesh *m)
{
    int64_t n = 1;
    for (int a = 0; a < m->naxis; a++)
        n *= m->size[a];
    return n;
}

int64_t mesh_place(const Mesh *m, int axis, int64_t shard)
{
    for (int a = m->naxis - 1; a > axis; a--)
        shard /= m->size[a];
    return shard % m->size[axis];
}

Type mesh_share(const Mesh *m, const Dealt *s, const Type *t)
{
    Type share = *t;
    for (int a = 0; a < m->naxis; a++)
        if (s->over[a] >= 0)
            share.dim[s->over[a]] /= m->size[a];
    return share;
}

void mesh_start(const Mesh *m, const Dealt *s, const Type *t, int64_t shard, int64_t *start)
{
    int64_t left[MAXRANK];
    for (int d = 0; d < t->rank; d++)
        start[d] = 0, left[d] = t->dim[d];
    for (int a = 0; a < m->naxis; a++) {
        int d = s->over[a];
        if (d >= 0)
            left[d] /= m->size[a], start[d] += left[d] * mesh_place(m, a, shard);
    }
}
