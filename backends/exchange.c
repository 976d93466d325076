/*
 * exchange.c - shards of one program, each in a thread of its own, give one another bytes.
 *
 * In:  what a shard gives, and the name of the exchange, which all come to in the same order.   Out: the parts that it gets, one
 *      after the other in the order of the shards, so that whatever is made of them has one order too.
 * Nothing is computed here, so there is no arithmetic that could differ from a device's: a sum of shards is an exchange, and then
 * a sum like any other.
 * An exchange is two meetings: at the first everybody's bytes are there, after the second nobody reads them any more. A shard that
 * fails, or ends while others wait, makes every meeting fail from there on: nobody waits for ever.
 * Shards may be a grid of several axes, in row-major order. An exchange is over one of them, which its name begins with: those
 * that differ along that axis alone meet, and no others.
 */
#include "backend.h"

#include <stdlib.h>
#include <string.h>

typedef struct Share { const void *bytes; size_t n; const char *name; } Share;

/* How many have come to the meeting of a group, and which that is. */
typedef struct Meeting { int here; uint64_t number; } Meeting;

struct Party {
    pthread_mutex_t lock;
    pthread_cond_t met;
    int n, naxis; PartyAxis axis[PARTY_AXES];
    bool failed;
    int first;                                  /* who failed first; -1: nobody */
    Meeting *meeting;                           /* by axis, then by the first shard of the group */
    bool *gone;                                 /* by shard: left for good */
    Share share[];
};

/* Those that meet: size shards, from the first on; this one is number `index` of them. */
typedef struct Group { int first, stride, size, index; Meeting *meeting; } Group;

static _Thread_local Party *party;
static _Thread_local int me;

Party *party_new(int naxis, const PartyAxis *axis)
{
    int n = 1;
    for (int a = 0; a < naxis; a++)
        n *= axis[a].size;
    size_t shares = sizeof(Share) * (size_t)n, meetings = sizeof(Meeting) * (size_t)n * (size_t)naxis;
    Party *p = calloc(1, sizeof *p + shares + meetings + (size_t)n);
    if (!p)
        return error_set(E_NOMEM, "no memory for %d shards", n), NULL;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->met, NULL);
    p->n = n, p->first = -1, p->naxis = naxis;
    p->meeting = (Meeting *)(void *)(p->share + n);
    p->gone = (bool *)(p->meeting + n * naxis);
    memcpy(p->axis, axis, sizeof *axis * (size_t)naxis);
    return p;
}

/* The group of this shard along an axis. */
static Group group_along(Party *p, int a)
{
    Group g = { .stride = 1, .size = p->axis[a].size };
    for (int b = a + 1; b < p->naxis; b++)
        g.stride *= p->axis[b].size;
    g.index = me / g.stride % g.size, g.first = me - g.index * g.stride;
    g.meeting = &p->meeting[a * p->n + g.first];
    return g;
}

static int member(const Group *g, int k) { return g->first + k * g->stride; }

/* The axis is what stands before the last # of the name. -1: none of them. */
static int axis_named(const Party *p, const char *name)
{
    const char *end = strrchr(name, '#');
    size_t n = end ? (size_t)(end - name) : strlen(name);
    for (int a = 0; a < p->naxis; a++)
        if (strlen(p->axis[a].name) == n && !memcmp(p->axis[a].name, name, n))
            return a;
    return -1;
}

void party_drop(Party *p)
{
    if (!p)
        return;
    pthread_cond_destroy(&p->met);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

void party_enter(Party *p, int number)
{
    party = p, me = number;
}

/* With the lock held. */
static void note_failure(Party *p, int code)
{
    if (code && p->first < 0)
        p->first = me;
    p->failed = p->failed || code;
}

void party_leave(int code)
{
    Party *p = party;
    pthread_mutex_lock(&p->lock);
    p->gone[me] = true;
    note_failure(p, code);
    for (int a = 0; a < p->naxis; a++)
        p->failed = p->failed || group_along(p, a).meeting->here;
    pthread_cond_broadcast(&p->met);
    pthread_mutex_unlock(&p->lock);
    party = NULL;
}

int party_first(const Party *p) { return p->first; }

/* With the lock held. Do all mean the same exchange? */
static bool same_name(const Party *p, const Group *g)
{
    const Share *one = &p->share[g->first];
    for (int k = 1; k < g->size; k++) {
        const Share *other = &p->share[member(g, k)];
        if (strcmp(other->name, one->name) || other->n != one->n)
            return false;
    }
    return true;
}

static bool any_gone(const Party *p, const Group *g)
{
    bool gone = false;
    for (int k = 0; k < g->size; k++)
        gone = gone || p->gone[member(g, k)];
    return gone;
}

static void all_here(Party *p, Meeting *m)
{
    m->here = 0, m->number++;
    pthread_cond_broadcast(&p->met);
}

/* Everybody's bytes are there; or somebody will not come. */
static int begin(Party *p, const Group *g)
{
    Meeting *m = g->meeting;
    pthread_mutex_lock(&p->lock);
    uint64_t number = m->number;
    p->failed = p->failed || any_gone(p, g);
    if (!p->failed && ++m->here == g->size && !(p->failed = !same_name(p, g)))
        all_here(p, m);
    if (p->failed)
        pthread_cond_broadcast(&p->met);
    while (m->number == number && !p->failed)
        pthread_cond_wait(&p->met, &p->lock);
    bool met = m->number != number;             /* even if one of them has failed since: all come to the end */
    pthread_mutex_unlock(&p->lock);
    return met ? 0 : error_set(E_DEVICE, "another shard did not come to an exchange with this one");
}

/* Nobody reads the others' bytes any more. Whoever has begun comes here, also with an error. */
static void end(Party *p, const Group *g, int code)
{
    Meeting *m = g->meeting;
    pthread_mutex_lock(&p->lock);
    uint64_t number = m->number;
    note_failure(p, code);
    if (++m->here == g->size)
        all_here(p, m);
    while (m->number == number)
        pthread_cond_wait(&p->met, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

/* Of a permutation, from one shard or none. */
static int permuted(const Party *p, const Group *g, const int32_t *from, size_t n, PutFn *put, void *x)
{
    int32_t s = from[g->index];
    if (s >= 0 && s < g->size)
        return put(x, 0, p->share[member(g, s)].bytes, n);
    void *zeros = calloc(1, n);
    int e = zeros ? put(x, 0, zeros, n) : error_set(E_NOMEM, "no memory for what shards exchange");
    free(zeros);
    return e;
}

static int parts(const Party *p, const Group *g, Swap swap, size_t n, const int32_t *from, PutFn *put, void *x)
{
    bool deal = swap == SWAP_DEAL;
    size_t row = deal ? n / (size_t)g->size : n, at = deal ? row * (size_t)g->index : 0;
    int e = 0;
    if (swap == SWAP_PERMUTE)
        return permuted(p, g, from, n, put, x);
    for (int k = 0; k < g->size && !e; k++)
        e = put(x, row * (size_t)k, (const char *)p->share[member(g, k)].bytes + at, row);
    return e;
}

int exchange(Swap swap, const char *name, const void *mine, size_t n, const int32_t *from, PutFn *put, void *x)
{
    Party *p = party;
    int a = p ? axis_named(p, name) : -1;
    if (a < 0)
        return error_set(E_TRACE, "no axis is around exchange \"%s\"", name);
    Group g = group_along(p, a);
    p->share[me] = (Share){ mine, n, name };
    double since = timeline_now();
    int e = begin(p, &g);
    timeline_add(name, me, since);
    if (e)
        return e;
    e = parts(p, &g, swap, n, from, put, x);
    end(p, &g, e);
    return e;
}
