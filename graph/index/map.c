/*
 * map.c - tables from bytes to pointers.
 *
 * Entries stay where they are: a place that map_at() gave holds while the table grows.
 */
#include "index.h"

#include <string.h>

typedef struct Node { struct Node *next; uint64_t h; void *val; size_t n; unsigned char key[]; } Node;

static struct Node *node_find(const Map *m, const void *key, size_t n, uint64_t h)
{
    for (Node *e = m->cap ? m->slot[h & (m->cap - 1)] : NULL; e; e = e->next)
        if (e->h == h && e->n == n && !memcmp(e->key, key, n))
            return e;
    return NULL;
}

static void map_grow(Map *m)
{
    size_t cap = m->cap ? 2 * m->cap : 64;
    Node **slot = NEWS(Node *, cap);
    for (size_t i = 0; i < m->cap; i++)
        for (Node *e = m->slot[i], *next; e; e = next) {
            next = e->next;
            e->next = slot[e->h & (cap - 1)];
            slot[e->h & (cap - 1)] = e;
        }
    m->slot = slot, m->cap = cap;
}

void **map_at(Map *m, const void *key, size_t n)
{
    uint64_t h = hash_bytes(key, n, 17);
    Node *e = node_find(m, key, n, h);
    if (e)
        return &e->val;
    if (m->n >= m->cap)
        map_grow(m);
    e = arena_alloc(sizeof *e + n);
    e->h = h, e->n = n;
    memcpy(e->key, key, n);
    e->next = m->slot[h & (m->cap - 1)];
    m->slot[h & (m->cap - 1)] = e;
    m->n++;
    return &e->val;
}

void *map_get(const Map *m, const void *key, size_t n)
{
    if (!m->n)
        return NULL;
    const Node *e = node_find(m, key, n, hash_bytes(key, n, 17));
    return e ? e->val : NULL;
}

MapKey map_key(uint64_t a, uint64_t b, uint64_t c, const Form *idx, int n)
{
    MapKey k = { .n = sizeof(uint64_t) * (size_t)(n + 3), .w = { a, b, c } };
    for (int j = 0; j < n; j++)
        k.w[3 + j] = (uintptr_t)idx[j];
    return k;
}
