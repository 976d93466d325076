/*
 * exchange.c - shards of one program, each in a thread of its own, give one another bytes.
 *
 * In:  what a shard gives, and the name of the exchange, which all come to in the same order.   Out: the
 * parts that it gets, one
 *      after the other in the order of the shards, so that whatever is made of them has one order too.
 * Nothing is computed here, so there is no arithmetic that could differ from a device's: a sum of shards is
 * an exchange, and then a sum like any other.
 * An exchange is two meetings: at the first everybody's bytes are there, after the second nobody reads them
 * any more. A shard that fails, or ends while others wait, makes every meeting fail from there on: nobody
 * waits for ever. Shards may be a grid of several axes, in row-major order. An exchange is over one of them,
 * which its name begins with: those that differ along that axis alone meet, and no others.
 * Bytes take the shortest way there is: from where the host sees them; from device to device, where both are
 * of one realm; else through the host in chunks, so that one shard's copy from its device, and the others'
 * copies to theirs, are under way at once. Where some that meet are of other ranks, each sends its bytes to
 * those as soon as it comes, and waits for theirs after the meeting of those that are here.
 */
#include "ranks.h"

#include <stdlib.h>
#include <string.h>

/* What a shard gives. Through the host it goes in chunks: how many were put into the slots, and how often
 * each was taken by now. */
typedef struct Share {
    const Trade *trade; const char *name;
    char *slot[2]; size_t staged;
    int readers, taken[2];
} Share;

/* How many have come to the meeting of a group, and which that is. */
typedef struct Meeting { int here; uint64_t number; } Meeting;

struct Party {
    pthread_mutex_t lock;
    pthread_cond_t met;
    int n, naxis; PartyAxis axis[PARTY_AXES];
    Device *const *device;                      /* of each shard */
    bool failed;
    int first;                                  /* who failed first; -1: nobody */
    Meeting *meeting;                           /* by axis, then by the first shard of the group */
    bool *gone;                                 /* by shard: left for good */
    uint64_t part;                              /* of a call over ranks */
    Share share[];
};

/* Those that meet: size shards, from the first on; this one is number `index` of them. */
typedef struct Group { int first, stride, size, index; Meeting *meeting; } Group;

static _Thread_local Party *party;
static _Thread_local int me;
static _Thread_local uint32_t exchanges;        /* of this shard so far; the same in all that meet */

Party *party_new(int naxis, const PartyAxis *axis, Device *const *device, uint64_t part)
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
    p->n = n, p->first = -1, p->naxis = naxis, p->device = device, p->part = part;
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

static bool is_near(const Party *p, int shard) { return !device_far(p->device[shard]); }

/* How many of them are in this process. */
static int near(const Party *p, const Group *g)
{
    int n = 0;
    for (int k = 0; k < g->size; k++)
        n += is_near(p, member(g, k));
    return n;
}

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
    party = p, me = number, exchanges = 0;
}

void party_wake(Party *p, bool failed)
{
    pthread_mutex_lock(&p->lock);
    p->failed = p->failed || failed;
    pthread_cond_broadcast(&p->met);
    pthread_mutex_unlock(&p->lock);
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
    const Share *one = &p->share[me];
    for (int k = 0; k < g->size; k++) {
        const Share *other = &p->share[member(g, k)];
        if (is_near(p, member(g, k)) && (strcmp(other->name, one->name) || other->trade->n != one->trade->n))
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

static int not_come(void)
{
    return error_set(E_DEVICE, "another shard did not come to an exchange with this one");
}

/* Everybody's bytes are there; or somebody will not come. */
static int begin(Party *p, const Group *g)
{
    Meeting *m = g->meeting;
    pthread_mutex_lock(&p->lock);
    uint64_t number = m->number;
    p->failed = p->failed || any_gone(p, g);
    if (!p->failed && ++m->here == near(p, g) && !(p->failed = !same_name(p, g)))
        all_here(p, m);
    if (p->failed)
        pthread_cond_broadcast(&p->met);
    while (m->number == number && !p->failed)
        pthread_cond_wait(&p->met, &p->lock);
    /* even if one of them has failed since: all come to the end */
    bool met = m->number != number;
    pthread_mutex_unlock(&p->lock);
    return met ? 0 : not_come();
}

/* Nobody reads the others' bytes any more. Whoever has begun comes here, also with an error. */
static void end(Party *p, const Group *g, int code)
{
    Meeting *m = g->meeting;
    pthread_mutex_lock(&p->lock);
    uint64_t number = m->number;
    note_failure(p, code);
    if (code)
        pthread_cond_broadcast(&p->met);        /* who waits for a chunk of this one waits in vain */
    if (++m->here == near(p, g))
        all_here(p, m);
    while (m->number == number)
        pthread_cond_wait(&p->met, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

/* ==================== bytes */

/* bytes that go through the host at once; how many chunks are under way */
enum { CHUNK = 1 << 20, SLOTS = 2 };

/* What of a shard's bytes goes where: `rows` rows of `row` bytes, each for one other shard, or one row for
 * all. Through the host they go in rounds, `len` bytes of each row in a round. */
typedef struct Flow { Swap swap; const int32_t *from; size_t rows, row, len, rounds; } Flow;

static Flow flow_of(Swap swap, const Group *g, size_t n, const int32_t *from)
{
    Flow f = { swap, from, swap == SWAP_DEAL ? (size_t)g->size : 1, n, n, 1 };
    f.row = n / f.rows;
    f.len = CHUNK / f.rows < f.row ? CHUNK / f.rows : f.row;
    f.rounds = f.len ? (f.row + f.len - 1) / f.len : 1;
    return f;
}

static size_t length_of(const Flow *f, size_t round)
{
    size_t at = round * f->len;
    return f->row - at < f->len ? f->row - at : f->len;
}

/* Does member `to` of the group get something of member `giver`? */
static bool gets(const Flow *f, int to, int giver)
{
    return f->swap != SWAP_PERMUTE || f->from[to] == giver;
}

/* Which row of everybody's that is. */
static size_t row_of(const Flow *f, int to) { return f->swap == SWAP_DEAL ? (size_t)to : 0; }

/* Where what comes from a giver belongs. */
static size_t place_of(const Flow *f, int giver)
{
    return f->swap == SWAP_PERMUTE ? 0 : f->row * (size_t)giver;
}

/* Is it read through the host's memory, a chunk after the other? */
static bool is_staged(const Party *p, const Group *g, int to, int giver)
{
    const Device *a = p->device[member(g, giver)], *b = p->device[member(g, to)];
    return !p->share[member(g, giver)].trade->bytes && a != b && (!a->realm || a->realm != b->realm);
}

/* ---- the giver */

/* One round: from the device into a slot that nobody reads any more. */
static int stage(Party *p, const Group *g, const Flow *f, size_t round)
{
    Share *s = &p->share[me];
    const Trade *t = s->trade;
    int slot = (int)(round % SLOTS), e = 0;
    pthread_mutex_lock(&p->lock);
    while (round >= SLOTS && s->taken[slot] < s->readers && !p->failed)
        pthread_cond_wait(&p->met, &p->lock);
    bool failed = p->failed;
    s->taken[slot] = 0;
    pthread_mutex_unlock(&p->lock);
    timeline_begin("to the host");
    for (int k = 0; k < (f->rows > 1 ? g->size : 1) && !e && !failed; k++)
        if (f->rows == 1 || is_staged(p, g, k, g->index))
            e = t->fetch(t->x, f->row * (size_t)k + round * f->len, s->slot[slot] + f->len * (size_t)k,
                length_of(f, round));
    timeline_end("to the host");
    pthread_mutex_lock(&p->lock);
    s->staged += !e && !failed;
    pthread_cond_broadcast(&p->met);
    pthread_mutex_unlock(&p->lock);
    return failed ? not_come() : e;
}

/* Before the meeting: what it was computed by has ended, and the first chunk is there for those who need
 * it. */
static int offer(Party *p, const Group *g, const Flow *f)
{
    Share *s = &p->share[me];
    for (int k = 0; k < g->size; k++)
        s->readers += gets(f, k, g->index) && is_staged(p, g, k, g->index);
    if (!s->readers)
        return s->trade->settle ? s->trade->settle(s->trade->x) : 0;
    size_t bytes = f->rows * f->len;
    s->slot[0] = malloc(bytes * (f->rounds > 1 ? SLOTS : 1));
    if (!s->slot[0])
        return error_set(E_NOMEM, "no memory for what shards exchange");
    s->slot[1] = s->slot[0] + (f->rounds > 1 ? bytes : 0);
    int e = s->readers < g->size && s->trade->settle ? s->trade->settle(s->trade->x) : 0;
    return e ? e : stage(p, g, f, 0);
}

/* ---- the taker */

/* What needs no rounds: bytes that the host sees, and those of near devices. */
static int take_whole(const Party *p, const Group *g, const Flow *f, int giver)
{
    const Trade *mine = p->share[me].trade, *other = p->share[member(g, giver)].trade;
    size_t at = f->row * row_of(f, g->index);
    if (other->bytes)
        return mine->put(mine->x, place_of(f, giver), (const char *)other->bytes + at, f->row);
    return mine->copy(mine->x, place_of(f, giver), other->place, other->at + at, f->row);
}

static int take_chunk(Party *p, const Group *g, const Flow *f, int giver, size_t round)
{
    Share *s = &p->share[member(g, giver)];
    const Trade *mine = p->share[me].trade;
    int slot = (int)(round % SLOTS);
    pthread_mutex_lock(&p->lock);
    while (s->staged <= round && !p->failed)
        pthread_cond_wait(&p->met, &p->lock);
    bool failed = s->staged <= round;
    pthread_mutex_unlock(&p->lock);
    if (failed)
        return not_come();
    timeline_begin("from the host");
    int e = mine->put(mine->x, place_of(f, giver) + round * f->len,
        s->slot[slot] + f->len * row_of(f, g->index), length_of(f, round));
    timeline_end("from the host");
    pthread_mutex_lock(&p->lock);
    s->taken[slot]++;
    pthread_cond_broadcast(&p->met);
    pthread_mutex_unlock(&p->lock);
    return e;
}

static int no_giver(const Trade *t, size_t n)
{
    void *zeros = calloc(1, n);
    int e = zeros ? t->put(t->x, 0, zeros, n) : error_set(E_NOMEM, "no memory for what shards exchange");
    free(zeros);
    return e;
}

/* Each round gives a chunk and takes one of each other: so two chunks of each shard are in the host's
 * memory, and no more. */
static int take(Party *p, const Group *g, const Flow *f)
{
    const Trade *t = p->share[me].trade;
    bool some = false, staged = false;
    int e = 0;
    for (int k = 0; k < g->size && !e; k++) {
        bool mine = gets(f, g->index, k), slow = mine && is_staged(p, g, g->index, k);
        some = some || mine, staged = staged || slow;
        e = mine && !slow ? take_whole(p, g, f, k) : 0;
    }
    e = e || some ? e : no_giver(t, f->row);
    for (size_t r = 0; r < f->rounds && !e && (staged || p->share[me].readers); r++) {
        e = r && p->share[me].readers ? stage(p, g, f, r) : 0;
        for (int k = 0; k < g->size && !e; k++)
            if (gets(f, g->index, k) && is_staged(p, g, g->index, k))
                e = take_chunk(p, g, f, k, r);
    }
    return e || !t->settle ? e : t->settle(t->x);
}

/* ==================== with shards of other ranks: all of it through the host's memory */

/* What is under way for one exchange of one shard. */
typedef struct Sent { uint64_t number; int left; } Sent;

static int rank_of(const Party *p, int shard) { return device_rank(p->device[shard]); }

/* Is it the first of its rank in the group? */
static bool first_of_rank(const Party *p, const Group *g, int k)
{
    bool first = true;
    for (int j = 0; j < k; j++)
        first = first && rank_of(p, member(g, j)) != rank_of(p, member(g, k));
    return first;
}

/* Everybody's part of what this shard has: in a gather, all of it to each rank once. */
static int send_far(const Party *p, const Group *g, const Flow *f, const char *mine, Sent *sent)
{
    int e = 0;
    for (int k = 0; k < g->size && !e; k++) {
        int to = member(g, k);
        bool gather = f->swap == SWAP_GATHER;
        if (!is_near(p, to) && gets(f, k, g->index) && (!gather || first_of_rank(p, g, k)))
            e = far_send(rank_of(p, to), (ParcelId){ sent->number, me, gather ? -1 : to },
                mine + f->row * row_of(f, k), f->row, &sent->left);
    }
    return e;
}

/* The bytes are the caller's again when they have gone. Other ranks take what is sent to them, whatever
 * became of their shards. */
static void wait_sent(Party *p, Sent *sent)
{
    pthread_mutex_lock(&p->lock);
    while (far_left(&sent->left))
        pthread_cond_wait(&p->met, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

/* What a giver has for this shard; of one of another rank it is waited for. */
static int row_from(Party *p, const Group *g, const Flow *f, int giver, uint64_t number, const void **bytes)
{
    int s = member(g, giver), here = 0;
    if (is_near(p, s)) {
        *bytes = p->share[s].slot[0] + f->row * row_of(f, g->index);
        return 0;
    }
    ParcelId id = { number, s, f->swap == SWAP_GATHER ? -1 : me };
    pthread_mutex_lock(&p->lock);
    while (!(here = far_look(rank_of(p, s), id, bytes, f->row)) && !p->failed)
        pthread_cond_wait(&p->met, &p->lock);
    pthread_mutex_unlock(&p->lock);
    return here > 0 ? 0 : not_come();
}

static int take_far(Party *p, const Group *g, const Flow *f, uint64_t number)
{
    const Trade *t = p->share[me].trade;
    bool some = false;
    int e = 0;
    for (int k = 0; k < g->size && !e; k++) {
        const void *bytes = NULL;
        if (!gets(f, g->index, k))
            continue;
        some = true;
        e = row_from(p, g, f, k, number, &bytes);
        e = e ? e : t->put(t->x, place_of(f, k), bytes, f->row);
    }
    e = e || some ? e : no_giver(t, f->row);
    return e || !t->settle ? e : t->settle(t->x);
}

static void forget_far(const Party *p, const Group *g, uint64_t number)
{
    for (int k = 0; k < g->size; k++) {
        int s = member(g, k);
        if (!is_near(p, s))
            far_forget(rank_of(p, s), (ParcelId){ number, s, -1 }),
                far_forget(rank_of(p, s), (ParcelId){ number, s, me });
    }
}

/* A shard that fails before the meeting fails the others by leaving. */
static int exchange_far(Party *p, const Group *g, const Flow *f)
{
    Share *s = &p->share[me];
    const Trade *t = s->trade;
    Sent sent = { .number = p->part << 32 | exchanges++ };
    char *own = t->bytes ? NULL : malloc(t->n);
    s->slot[0] = t->bytes ? (char *)(uintptr_t)t->bytes : own;
    int e = s->slot[0] ? 0 : error_set(E_NOMEM, "no memory for what shards exchange");
    e = e ? e : t->bytes ? t->settle ? t->settle(t->x) : 0 : t->fetch(t->x, 0, own, t->n);
    e = e ? e : send_far(p, g, f, s->slot[0], &sent);
    timeline_begin(s->name);
    e = e ? e : begin(p, g);
    if (!e) {
        e = take_far(p, g, f, sent.number);
        end(p, g, e);
        forget_far(p, g, sent.number);
    }
    timeline_end(s->name);
    wait_sent(p, &sent);
    free(own);
    return e;
}

/* ==================== exchanges */

int exchange(Swap swap, const char *name, const Trade *t, const int32_t *from)
{
    Party *p = party;
    int a = p ? axis_named(p, name) : -1;
    if (a < 0)
        return error_set(E_TRACE, "no axis is around exchange \"%s\"", name);
    Group g = group_along(p, a);
    Flow f = flow_of(swap, &g, t->n, from);
    Share *s = &p->share[me];
    *s = (Share){ .trade = t, .name = name };
    if (near(p, &g) < g.size)
        return exchange_far(p, &g, &f);
    int e = offer(p, &g, &f);
    timeline_begin(name);
    e = e ? e : begin(p, &g);
    timeline_end(name);
    if (!e) {
        e = take(p, &g, &f);
        end(p, &g, e);
    }
    free(s->slot[0]);
    return e;
}
