/*
 * pool.c - memory that nobody holds, kept for the next array of its size: a fresh allocation costs a page fault for every 4 KiB.
 *
 * In:  memories whose last reference is gone.   Out: the same, for allocations of the same class.
 */
#include "backend.h"

size_t pool_class(size_t bytes)
{
    size_t step = 256;
    while (step * 256 < bytes)
        step *= 2;
    return bytes ? (bytes + step - 1) / step * step : step;
}

void pool_new(Pool *p, size_t cap)
{
    pthread_mutex_init(&p->lock, NULL);
    p->cap = cap;
}

Mem *pool_take(Pool *p, size_t capacity)
{
    pthread_mutex_lock(&p->lock);
    Mem **at = &p->first, *m;
    while ((m = *at) != NULL && capacity && m->capacity != capacity)
        at = &m->next;
    if (m) {
        *at = m->next;
        p->held -= m->capacity;
    }
    pthread_mutex_unlock(&p->lock);
    return m;
}

bool pool_give(Pool *p, Mem *m)
{
    pthread_mutex_lock(&p->lock);
    bool room = p->held + m->capacity <= p->cap;
    if (room) {
        m->next = p->first;
        p->first = m;
        p->held += m->capacity;
    }
    pthread_mutex_unlock(&p->lock);
    return room;
}
