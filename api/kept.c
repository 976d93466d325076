/*
 * kept.c - what is kept of functions: graphs by argument types, and programs by argument types and device.
 *
 * A shelf is a hash table over (function, types). Finding takes one of many locks for a moment and adds a
 * reference, so what is given back while a call in another thread uses it lives until that call is over.
 * Putting and giving back are under front_lock. A shelf holds so many at most: they stand in a queue, and
 * the one in front goes unless it was found since it was queued, which puts it at the end again: about the
 * least recently used.
 */
#include "api.h"
#include <stdatomic.h>
#include <stdlib.h>

enum { LOCKS = 64, BUCKETS = 64 * LOCKS, DEFAULT_LIMIT = 512 };

struct Shelf {
    Kept *bucket[BUCKETS];
    pthread_mutex_t lock[LOCKS];                /* of every LOCKS-th bucket */
    Kept *oldest, *newest;
    int64_t count;
};
static Shelf shelf[SHELVES];
static _Atomic int64_t limit;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void start(void)
{
    const char *said = getenv("HEDDLE_PROGRAMS");
    int64_t n = said ? strtoll(said, NULL, 10) : 0;
    limit = n > 0 ? n : DEFAULT_LIMIT;
    for (int s = 0; s < SHELVES; s++)
        for (int k = 0; k < LOCKS; k++)
            pthread_mutex_init(&shelf[s].lock[k], NULL);
}

static pthread_mutex_t *lock_of(Shelf *s, uint64_t hash)
{
    pthread_once(&once, start);
    return &s->lock[hash % LOCKS];
}

Kept *kept_find(ShelfName name, const hd_fn *f, uint64_t hash, KeptFits *fits, const void *what)
{
    Shelf *s = &shelf[name];
    pthread_mutex_t *lock = lock_of(s, hash);
    pthread_mutex_lock(lock);
    Kept *k = s->bucket[hash % BUCKETS];
    while (k && (k->hash != hash || k->f != f || !fits(k, what)))
        k = k->next;
    if (k) {
        atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
        if (!atomic_load_explicit(&k->found, memory_order_relaxed))
            atomic_store_explicit(&k->found, true, memory_order_relaxed);
    }
    pthread_mutex_unlock(lock);
    return k;
}

void kept_drop(Kept *k)
{
    if (k && atomic_fetch_sub(&k->refs, 1) == 1)
        k->free(k);
}

/* ==================== the queue */

static void enqueue(Shelf *s, Kept *k)
{
    k->older = s->newest, k->newer = NULL;
    *(s->newest ? &s->newest->newer : &s->oldest) = k;
    s->newest = k;
}

static void dequeue(Shelf *s, Kept *k)
{
    *(k->older ? &k->older->newer : &s->oldest) = k->newer;
    *(k->newer ? &k->newer->older : &s->newest) = k->older;
}

void kept_put(ShelfName name, hd_fn *f, Kept *k)
{
    Shelf *s = &shelf[name];
    pthread_mutex_t *lock = lock_of(s, k->hash);
    k->shelf = name, k->f = f;
    k->found = true;
    k->refs++;
    if ((k->more = f->kept))
        f->kept->prior = k;
    f->kept = k;
    enqueue(s, k);
    s->count++;
    pthread_mutex_lock(lock);
    k->next = s->bucket[k->hash % BUCKETS], s->bucket[k->hash % BUCKETS] = k;
    pthread_mutex_unlock(lock);
}

static void take(Kept *k)
{
    Shelf *s = &shelf[k->shelf];
    pthread_mutex_t *lock = lock_of(s, k->hash);
    pthread_mutex_lock(lock);
    Kept **at = &s->bucket[k->hash % BUCKETS];
    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    pthread_mutex_unlock(lock);
    dequeue(s, k);
    s->count--;
    *(k->prior ? &k->prior->more : &k->f->kept) = k->more;
    if (k->more)
        k->more->prior = k->prior;
    kept_drop(k);
}

void kept_trim(ShelfName name)
{
    Shelf *s = &shelf[name];
    pthread_once(&once, start);
    while (s->count > limit) {
        Kept *k = s->oldest;
        if (!atomic_exchange_explicit(&k->found, false, memory_order_relaxed)) {
            take(k);
            continue;
        }
        dequeue(s, k);
        enqueue(s, k);
    }
}

void kept_forget(hd_fn *f)
{
    while (f->kept)
        take(f->kept);
}

void kept_sweep(ShelfName name, bool (*gone)(const Kept *))
{
    for (Kept *k = shelf[name].oldest, *next; k; k = next) {
        next = k->newer;
        if (gone(k))
            take(k);
    }
}

int64_t kept_count(ShelfName name) { return shelf[name].count; }

int64_t kept_limit(int64_t n)
{
    pthread_once(&once, start);
    int64_t before = limit;
    if (n > 0)
        limit = n;
    return before;
}
