/*
 * sets.c - what walks count with: interned indices and lists of variables, and sets of keys.
 *
 * Invariant: while one program is scheduled (since sets_open), equal indices and equal lists are the same
 * pointer, so that a demand is a few words and a set of demands is a hash table.
 */
#include "demand.h"

#include <string.h>

typedef struct Table { int n, cap; const void **slot; uint64_t *hash; } Table;
static _Thread_local struct { Table idx, vars; } sets;

void sets_open(void) { memset(&sets, 0, sizeof sets); }

static void table_grow(Table *t)
{
    int cap = t->cap ? 2 * t->cap : 256;
    const void **slot = NEWS(const void *, cap);
    uint64_t *hash = NEWS(uint64_t, cap);
    for (int k = 0; k < t->cap; k++)
        if (t->slot[k]) {
            uint64_t at = t->hash[k] & (uint64_t)(cap - 1);
            while (slot[at])
                at = (at + 1) & (uint64_t)(cap - 1);
            slot[at] = t->slot[k];
            hash[at] = t->hash[k];
        }
    *t = (Table){ t->n, cap, slot, hash };
}

/* Entries begin with an int count and end with the pointers, `at` bytes in. */
static const void **table_find(Table *t, const void *list, int n, size_t at, uint64_t *hash)
{
    if (2 * (t->n + 1) > t->cap)
        table_grow(t);
    *hash = hash_bytes(list, (size_t)n * sizeof(void *), (uint64_t)n);
    for (uint64_t k = *hash & (uint64_t)(t->cap - 1);; k = (k + 1) & (uint64_t)(t->cap - 1)) {
        const char *e = t->slot[k];
        if (!e)
            return &t->slot[k];
        if (t->hash[k] == *hash && *(const int *)(const void *)e == n &&
            (!n || !memcmp(e + at, list, (size_t)n * sizeof(void *))))
            return &t->slot[k];
    }
}

static void *table_put(Table *t, const void **slot, uint64_t hash, size_t bytes)
{
    void *e = arena_alloc(bytes);
    *slot = e;
    t->hash[slot - t->slot] = hash;
    t->n++;
    return e;
}

const Idx *idx_of(const Form *f, int n)
{
    uint64_t h;
    const void **s = table_find(&sets.idx, f, n, offsetof(Idx, f), &h);
    if (*s)
        return *s;
    Idx *i = table_put(&sets.idx, s, h, sizeof(Idx) + sizeof(Form) * (size_t)n);
    i->n = n;
    i->deps = idx_deps(f, n);
    if (n)
        memcpy(i->f, f, sizeof(Form) * (size_t)n);
    return i;
}

const Vars *vars_of(const Atom *const *a, int n)
{
    uint64_t h;
    const void **s = table_find(&sets.vars, a, n, offsetof(Vars, a), &h);
    if (*s)
        return *s;
    Vars *v = table_put(&sets.vars, s, h, sizeof(Vars) + sizeof(Atom *) * (size_t)n);
    v->n = n;
    v->vol = 1;
    for (int k = 0; k < n; k++) {
        v->a[k] = a[k];
        v->vol *= (double)atom_extent(a[k]);
    }
    return v;
}

const Vars *vars_join(const Vars *v, const Atom *const *a, int n)
{
    if (!n)
        return v;
    const Atom **l = NEWS(const Atom *, v->n + n);
    for (int k = 0; k < v->n + n; k++)
        l[k] = k < v->n ? v->a[k] : a[k - v->n];
    return vars_of(l, v->n + n);
}

static int last_in(const Vars *v, const AtomSet *s)
{
    int n = v->n;
    while (n && !set_has(s, v->a[n - 1]))
        n--;
    return n;
}

const Vars *vars_upto(const Vars *v, const AtomSet *s)
{
    int n = last_in(v, s);
    return n == v->n ? v : vars_of(v->a, n);
}

double vars_vol_upto(const Vars *outer, const Vars *inner, const AtomSet *s)
{
    int n = last_in(inner, s);
    double v = 1;
    if (n) {
        v = outer->vol;
        for (int k = 0; k < n; k++)
            v *= (double)atom_extent(inner->a[k]);
        return v;
    }
    n = last_in(outer, s);
    for (int k = 0; k < n; k++)
        v *= (double)atom_extent(outer->a[k]);
    return v;
}

double vars_vol_in(const Vars *v, const AtomSet *s)
{
    double r = 1;
    for (int k = 0; k < v->n; k++)
        if (set_has(s, v->a[k]))
            r *= (double)atom_extent(v->a[k]);
    return r;
}

bool set_meets(const AtomSet *s, const Vars *v)
{
    for (int k = 0; k < v->n; k++)
        if (set_has(s, v->a[k]))
            return true;
    return false;
}

bool set_covers(const AtomSet *s, const Vars *v)
{
    for (int k = 0; k < v->n; k++)
        if (!set_has(s, v->a[k]))
            return false;
    return true;
}

/* ==================== sets of keys */

static uint64_t *seen_slot(const Seen *s, const uint64_t k[4])
{
    uint64_t h = hash_bytes(k, 32, 0);
    for (h &= (uint64_t)(s->cap - 1);; h = (h + 1) & (uint64_t)(s->cap - 1)) {
        uint64_t *e = s->key[h];
        if (!(e[0] | e[1] | e[2] | e[3]) || !memcmp(e, k, 32))
            return e;
    }
}

bool seen_add(Seen *s, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    uint64_t k[4] = { a, b, c, d };
    if (2 * (s->n + 1) > s->cap) {
        Seen big = { s->n, s->cap ? 2 * s->cap : 32, NULL };
        big.key = arena_alloc(sizeof *big.key * (size_t)big.cap);
        for (int j = 0; j < s->cap; j++)
            if (s->key[j][0] | s->key[j][1] | s->key[j][2] | s->key[j][3])
                memcpy(seen_slot(&big, s->key[j]), s->key[j], 32);
        *s = big;
    }
    uint64_t *e = seen_slot(s, k);
    if (!memcmp(e, k, 32))
        return false;
    memcpy(e, k, 32);
    s->n++;
    return true;
}

bool seen_has(const Seen *s, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    uint64_t k[4] = { a, b, c, d };
    return s->cap && !memcmp(seen_slot(s, k), k, 32);
}

void seen_clear(Seen *s)
{
    if (s->cap > 32 && 8 * s->n < s->cap)       /* one large set does not make all that follow dear */
        s->cap /= 2;
    if (s->cap)
        memset(s->key, 0, sizeof *s->key * (size_t)s->cap);
    s->n = 0;
}
