/*
 * pool.c - memory that nobody holds, kept for the next array of its size: a fresh allocation costs a page
 * fault for every 4 KiB.
 *
 * In:  memories whose last reference is gone.   Out: the same, for allocations of the same class; and what
 * there is no room for.
 * A list for each class, newest first, and one through all of them by age: giving, taking and making room
 * look at one memory each.
 */
#include "backend.h"

#include <stdlib.h>

size_t pool_class(size_t bytes)
{
    size_t step = 256;
    while (step * 256 < bytes)
        step *= 2;
    return bytes ? (bytes + step - 1) / step * step : step;
}

/* The list of a class: up to 64 KiB one each 256 bytes, above one each 128th of a power of two. */
static Mem **list_of(Pool *p, size_t capacity)
{
    size_t first = 0;
    for (; capacity > 256 * 256; first += 128)
        capacity = (capacity + 1) / 2;
    size_t k = first + capacity / 256;
    return &p->list[k < POOL_LISTS ? k : POOL_LISTS - 1];
}

int too_large(const Device *d, size_t bytes)
{
    return error_set(E_NOMEM, "%s: %.3f GiB in one piece; its limit is %.3f GiB", d->info.name,
        (double)bytes / (1 << 30), (double)d->info.max_alloc / (1 << 30));
}

void pool_new(Pool *p, uint64_t memory)
{
    const char *mb = getenv("HEDDLE_POOL_MB");
    pthread_mutex_init(&p->lock, NULL);
    p->cap = mb ? (size_t)strtoull(mb, NULL, 10) << 20 : (size_t)(memory / 4);
}

static void unlink_mem(Pool *p, Mem *m)
{
    *(m->before ? &m->before->next : list_of(p, m->capacity)) = m->next;
    if (m->next)
        m->next->before = m->before;
    *(m->older ? &m->older->newer : &p->oldest) = m->newer;
    *(m->newer ? &m->newer->older : &p->newest) = m->older;
    m->next = m->before = m->older = m->newer = NULL;
    p->held -= m->capacity;
}

static void link_mem(Pool *p, Mem *m)
{
    Mem **list = list_of(p, m->capacity);
    m->next = *list, m->before = NULL;
    if (m->next)
        m->next->before = m;
    *list = m;
    m->older = p->newest, m->newer = NULL;
    *(m->older ? &m->older->newer : &p->oldest) = m;
    p->newest = m;
    p->held += m->capacity;
}

Mem *pool_take(Pool *p, size_t capacity)
{
    pthread_mutex_lock(&p->lock);
    Mem *m = capacity ? *list_of(p, capacity) : p->oldest;
    for (p->looked++; m && capacity && m->capacity != capacity; p->looked++)
        m = m->next;
    if (m)
        unlink_mem(p, m);
    pthread_mutex_unlock(&p->lock);
    return m;
}

Mem *pool_give(Pool *p, Mem *m)
{
    Mem *out = NULL;
    pthread_mutex_lock(&p->lock);
    while (m->capacity <= p->cap && p->held + m->capacity > p->cap) {
        Mem *old = p->oldest;
        unlink_mem(p, old);
        old->next = out, out = old;
        p->looked++;
    }
    if (m->capacity <= p->cap)
        link_mem(p, m);
    else
        m->next = out, out = m;
    pthread_mutex_unlock(&p->lock);
    return out;
}
