/*
 * exchange.c - shards of one program, each in a thread of its own, give one another bytes.
 *
 * In:  what a shard gives, and the name of the exchange, which all come to in the same order.   Out: the parts that it gets, one
 *      after the other in the order of the shards, so that whatever is made of them has one order too.
 * Nothing is computed here, so there is no arithmetic that could differ from a device's: a sum of shards is an exchange, and then
 * a sum like any other.
 * An exchange is two meetings: at the first everybody's bytes are there, after the second nobody reads them any more. A shard that
 * fails, or ends while others wait, makes every meeting fail from there on: nobody waits for ever.
 */
#include "backend.h"

#include <stdlib.h>
#include <string.h>

typedef struct Share { const void *bytes; size_t n; const char *name; } Share;

struct Party {
    pthread_mutex_t lock;
    pthread_cond_t met;
    int n, here, gone;                          /* shards; come to the meeting; left for good */
    uint64_t meeting;
    bool failed;
    int first;                                  /* who failed first; -1: nobody */
    Share share[];
};

static _Thread_local Party *party;
static _Thread_local int me;

Party *party_new(int n)
{
    Party *p = calloc(1, sizeof *p + sizeof *p->share * (size_t)n);
    if (!p)
        return error_set(E_NOMEM, "no memory for %d shards", n), NULL;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->met, NULL);
    p->n = n, p->first = -1;
    return p;
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
    p->gone++;
    note_failure(p, code);
    p->failed = p->failed || p->here;
    pthread_cond_broadcast(&p->met);
    pthread_mutex_unlock(&p->lock);
    party = NULL;
}

int party_first(const Party *p) { return p->first; }

/* With the lock held. Do all mean the same exchange? */
static bool same_name(const Party *p)
{
    for (int k = 1; k < p->n; k++)
        if (strcmp(p->share[k].name, p->share[0].name) || p->share[k].n != p->share[0].n)
            return false;
    return true;
}

static void all_here(Party *p)
{
    p->here = 0, p->meeting++;
    pthread_cond_broadcast(&p->met);
}

/* Everybody's bytes are there; or somebody will not come. */
static int begin(Party *p)
{
    pthread_mutex_lock(&p->lock);
    uint64_t meeting = p->meeting;
    p->failed = p->failed || p->gone;
    if (!p->failed && ++p->here == p->n && !(p->failed = !same_name(p)))
        all_here(p);
    if (p->failed)
        pthread_cond_broadcast(&p->met);
    while (p->meeting == meeting && !p->failed)
        pthread_cond_wait(&p->met, &p->lock);
    bool met = p->meeting != meeting;           /* even if one of them has failed since: all come to the end */
    pthread_mutex_unlock(&p->lock);
    return met ? 0 : error_set(E_DEVICE, "another shard did not come to an exchange with this one");
}

/* Nobody reads the others' bytes any more. Whoever has begun comes here, also with an error. */
static void end(Party *p, int code)
{
    pthread_mutex_lock(&p->lock);
    uint64_t meeting = p->meeting;
    note_failure(p, code);
    if (++p->here == p->n)
        all_here(p);
    while (p->meeting == meeting)
        pthread_cond_wait(&p->met, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

/* Of a permutation, from one shard or none. */
static int permuted(const Party *p, const int32_t *from, size_t n, PutFn *put, void *x)
{
    int32_t s = from[me];
    if (s >= 0 && s < p->n)
        return put(x, 0, p->share[s].bytes, n);
    void *zeros = calloc(1, n);
    int e = zeros ? put(x, 0, zeros, n) : error_set(E_NOMEM, "no memory for what shards exchange");
    free(zeros);
    return e;
}

static int parts(const Party *p, Swap swap, size_t n, const int32_t *from, PutFn *put, void *x)
{
    size_t row = swap == SWAP_DEAL ? n / (size_t)p->n : n, at = swap == SWAP_DEAL ? row * (size_t)me : 0;
    int e = 0;
    if (swap == SWAP_PERMUTE)
        return permuted(p, from, n, put, x);
    for (int k = 0; k < p->n && !e; k++)
        e = put(x, row * (size_t)k, (const char *)p->share[k].bytes + at, row);
    return e;
}

int exchange(Swap swap, const char *name, const void *mine, size_t n, const int32_t *from, PutFn *put, void *x)
{
    Party *p = party;
    if (!p)
        return error_set(E_TRACE, "no axis is around exchange \"%s\"", name);
    p->share[me] = (Share){ mine, n, name };
    double since = timeline_now();
    int e = begin(p);
    timeline_add(name, me, since);
    if (e)
        return e;
    e = parts(p, swap, n, from, put, x);
    end(p, e);
    return e;
}
