/*
 * sharding.c - how an array lies over several devices: which part of it each shard has, and how parts of one
 * layout are made of those of another.
 */
#include "api.h"
#include <string.h>

Sharding sharding_rows(const Type *t, int64_t n, int axis)
{
    return (Sharding){ .type = *t, .mesh = { .naxis = 1, .size = { n } }, .spec = { { (int8_t)axis } } };
}

bool sharding_same(const Sharding *l)
{
    bool same = true;
    for (int a = 0; a < l->mesh.naxis; a++)
        same = same && (l->spec.over[a] < 0 || l->mesh.size[a] == 1);
    return same;
}

/* ==================== parts */

Part part_whole(const Type *t)
{
    Part p = { 0 };
    memcpy(p.dim, t->dim, sizeof p.dim);
    return p;
}

Part part_of(const Sharding *l, int64_t shard)
{
    Type share = mesh_share(&l->mesh, &l->spec, &l->type);
    Part p = part_whole(&share);
    mesh_start(&l->mesh, &l->spec, &l->type, shard, p.start);
    return p;
}

bool part_equal(const Type *t, const Part *a, const Part *b)
{
    size_t n = sizeof *a->dim * t->rank;
    return !memcmp(a->start, b->start, n) && !memcmp(a->dim, b->dim, n);
}

size_t part_bytes(const Type *t, const Part *p)
{
    Type share = *t;
    memcpy(share.dim, p->dim, sizeof *p->dim * t->rank);
    return type_bytes(&share);
}

/* What two have in common. */
static bool meet(const Type *t, const Part *a, const Part *b, Part *out)
{
    *out = (Part){ 0 };
    for (int d = 0; d < t->rank; d++) {
        int64_t from = a->start[d] > b->start[d] ? a->start[d] : b->start[d];
        int64_t to = a->start[d] + a->dim[d], other = b->start[d] + b->dim[d];
        out->start[d] = from, out->dim[d] = (to < other ? to : other) - from;
        if (out->dim[d] <= 0)
            return false;
    }
    return true;
}

/* In bytes, where an element of the whole array is in a part. */
static size_t offset(const Type *t, const Part *p, const int64_t *at)
{
    int64_t o = 0;
    for (int d = 0; d < t->rank; d++)
        o = o * p->dim[d] + at[d] - p->start[d];
    return (size_t)o * dtype_size((Dtype)t->dt);
}

bool part_cover(const Type *t, const Part *from, const Part *to, size_t *at, size_t *bytes)
{
    Part both;
    int64_t last[MAXRANK];
    if (!meet(t, from, to, &both))
        return false;
    for (int d = 0; d < t->rank; d++)
        last[d] = both.start[d] + both.dim[d] - 1;
    *at = offset(t, from, both.start);
    *bytes = offset(t, from, last) + dtype_size((Dtype)t->dt) - *at;
    return true;
}

void part_copy(const Type *t, const Part *from, const Part *to, const void *src, void *dst)
{
    Part both;
    int64_t at[MAXRANK];
    if (!meet(t, from, to, &both))
        return;
    memcpy(at, both.start, sizeof at);
    size_t first = offset(t, from, at), size = dtype_size((Dtype)t->dt);
    size_t row = t->rank ? (size_t)both.dim[t->rank - 1] * size : size;
    for (int d = t->rank; d >= 0; ) {
        memcpy((char *)dst + offset(t, to, at), (const char *)src + (offset(t, from, at) - first), row);
        for (d = t->rank - 2; d >= 0 && ++at[d] == both.start[d] + both.dim[d]; d--)
            at[d] = both.start[d];
    }
}

int part_strided(const Type *t, const Part *from, const Part *to, Strided *out, int most)
{
    Part both;
    size_t run = dtype_size((Dtype)t->dt);
    int d = t->rank, n = 0;
    int64_t at[MAXRANK];
    if (!meet(t, from, to, &both))
        return 0;
    for (bool whole = true; d && whole; whole = both.dim[d] == from->dim[d] && both.dim[d] == to->dim[d])
        run *= (size_t)both.dim[--d];
    /* axis d - 1: the rows; those before are gone through */
    const int64_t rows = d ? both.dim[d - 1] : 1;
    memcpy(at, both.start, sizeof at);
    for (int e = d; e >= 0; ) {
        if (n == most)
            return most + 1;
        Strided *s = &out[n++];
        *s = (Strided){ .from = offset(t, from, at), .to = offset(t, to, at), .bytes = run };
        s->n = (size_t)rows;
        if (rows > 1) {
            at[d - 1]++;
            s->from_step = offset(t, from, at) - s->from, s->to_step = offset(t, to, at) - s->to;
            at[d - 1]--;
        }
        for (e = d - 2; e >= 0 && ++at[e] == both.start[e] + both.dim[e]; e--)
            at[e] = both.start[e];
    }
    return n;
}
