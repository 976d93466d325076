/*
 * map.c - tables from bytes to pointers.
 *
 * Entries stay where they are: a place that map_at() gave holds while the table grows.
 */
#include "index.h"

#include <string.h>

typedef struct Node { void *val; size_t n; unsigned char key[]; } Node;
typedef struct Bytes { const void *at; size_t n; } Bytes;

static bool node_is(const void *like, const void *it)
{
    const Bytes *b = like;
    const Node *e = it;
    return e->n == b->n && !memcmp(e->key, b->at, b->n);
}

static uint64_t key_hash(const void *key, size_t n) { return hash_bytes(key, n, 17); }

void **map_at(Map *m, const void *key, size_t n)
{
    const void **place = hash_place(m, key_hash(key, n), node_is, &(Bytes){ key, n });
    if (!*place) {
        Node *e = arena_alloc(sizeof *e + n);
        e->n = n;
        memcpy(e->key, key, n);
        *place = e;
    }
    return &((Node *)(uintptr_t)*place)->val;
}

void *map_get(const Map *m, const void *key, size_t n)
{
    const Node *e = hash_find(m, key_hash(key, n), node_is, &(Bytes){ key, n });
    return e ? e->val : NULL;
}

MapKey map_key(uint64_t a, uint64_t b, uint64_t c, const Form *idx, int n)
{
    MapKey k = { .n = sizeof(uint64_t) * (size_t)(n + 3), .w = { a, b, c } };
    for (int j = 0; j < n; j++)
        k.w[3 + j] = (uintptr_t)idx[j];
    return k;
}
