/*
 * sets.c - what walks count with: interned indices and lists of variables, and sets of keys.
 *
 * Invariant: while one program is scheduled (since sets_open), equal indices and equal lists are the same
 * pointer, so that a demand is a few words and a set of demands is a hash table.
 */
#include "demand.h"

#include <string.h>

static _Thread_local struct { HashTable idx, vars; } sets;

void sets_open(void) { memset(&sets, 0, sizeof sets); }

/* n pointers, as an entry has them behind its count. */
typedef struct List { const void *at; int n; } List;
static uint64_t list_hash(List l) { return hash_bytes(l.at, (size_t)l.n * sizeof(void *), (uint64_t)l.n); }
static bool same(List l, int n, const void *at)
{
    return l.n == n && (!n || !memcmp(l.at, at, (size_t)n * sizeof(void *)));
}
static bool idx_is(const void *like, const void *it)
{
    const Idx *i = it;
    return same(*(const List *)like, i->n, i->f);
}
static bool vars_is(const void *like, const void *it)
{
    const Vars *v = it;
    return same(*(const List *)like, v->n, v->a);
}

const Idx *idx_of(const Form *f, int n)
{
    List l = { f, n };
    const void **place = hash_place(&sets.idx, list_hash(l), idx_is, &l);
    if (*place)
        return *place;
    Idx *i = arena_alloc(sizeof(Idx) + sizeof(Form) * (size_t)n);
    *place = i;
    i->n = n;
    i->deps = idx_deps(f, n);
    if (n)
        memcpy(i->f, f, sizeof(Form) * (size_t)n);
    return i;
}

const Vars *vars_of(const Atom *const *a, int n)
{
    List l = { a, n };
    const void **place = hash_place(&sets.vars, list_hash(l), vars_is, &l);
    if (*place)
        return *place;
    Vars *v = arena_alloc(sizeof(Vars) + sizeof(Atom *) * (size_t)n);
    *place = v;
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
        Seen big = { s->n, s->cap ? 2 * s->cap : 8, NULL };
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
