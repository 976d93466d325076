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
 * of one realm; else through pinned memory of the host in chunks, so that one shard's copy from its device,
 * and the others' copies to theirs, are under way at once. Where some that meet are of other ranks, each
 * sends its bytes to those as soon as it comes, computes what needs nothing of theirs, and waits for theirs
 * after the meeting of those that are here.
 * Where shards reduce, each its part, that goes in chunks, too: while a device reduces one, the next
 * comes to it, and what became of the one before goes to the others.
 */
#include "ranks.h"

#include <stdlib.h>
#include <string.h>

/* Chunks of a shard on their way to others, through two slots: how many were given so far, and how often
 * what is in each was taken. */
typedef struct Way { Mem *pinned; char *slot[2]; size_t given; int readers, taken[2]; } Way;

/* What a shard gives: what it has, in chunks only through the host; what it reduces, always in chunks. */
typedef struct Share { const Trade *trade; const char *name; Way out, reduced; } Share;

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

_Atomic uint64_t exchange_beside;

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
    error_set(E_DEVICE, "another shard did not come to an exchange with this one");
    return (int)error_code();                   /* perhaps it is known why */
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

static Flow flow_of(Swap swap, const Group *g, const Trade *t, const int32_t *from)
{
    Flow f = { .swap = swap, .from = from, .rounds = 1 };
    f.rows = swap == SWAP_DEAL || swap == SWAP_REDUCE ? (size_t)g->size : 1;
    f.row = t->n / f.rows;
    f.len = CHUNK / f.rows < f.row ? CHUNK / f.rows : f.row;
    if (swap == SWAP_REDUCE)
        f.len = f.row / t->chunks;
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
static size_t row_of(const Flow *f, int to) { return f->rows > 1 ? (size_t)to : 0; }

/* Where what comes from a giver belongs. */
static size_t place_of(const Flow *f, int giver)
{
    return f->swap == SWAP_PERMUTE ? 0 : f->row * (size_t)giver;
}

/* Is it read through the host's memory, a chunk after the other? */
static bool is_staged(const Party *p, const Group *g, int to, int giver)
{
    const int s = member(g, giver);
    return !p->share[s].trade->given.bytes && !devices_near(p->device[s], p->device[member(g, to)]);
}

/* ---- the giver */

/* Until nobody needs what is in the slot for this chunk. false: one of them has failed. */
static bool slot_free(Party *p, Way *w, size_t round)
{
    int slot = (int)(round % SLOTS);
    pthread_mutex_lock(&p->lock);
    while (round >= SLOTS && w->taken[slot] < w->readers && !p->failed)
        pthread_cond_wait(&p->met, &p->lock);
    bool failed = p->failed;
    w->taken[slot] = 0;
    pthread_mutex_unlock(&p->lock);
    return !failed || not_come() == 0;
}

static void slot_filled(Party *p, Way *w)
{
    pthread_mutex_lock(&p->lock);
    w->given++;
    pthread_cond_broadcast(&p->met);
    pthread_mutex_unlock(&p->lock);
}

/* One round: from the device into a slot that nobody reads any more. */
static int stage(Party *p, const Group *g, const Flow *f, size_t round)
{
    Share *s = &p->share[me];
    const Trade *t = s->trade;
    char *slot = s->out.slot[round % SLOTS];
    int e = 0;
    if (!slot_free(p, &s->out, round))
        return (int)error_code();
    timeline_begin("to the host");
    for (int k = 0; k < (f->rows > 1 ? g->size : 1) && !e; k++)
        if (f->rows == 1 || is_staged(p, g, k, g->index))
            e = t->fetch(t->x, WHOLE, f->row * (size_t)k + round * f->len, slot + f->len * (size_t)k,
                length_of(f, round));
    timeline_end("to the host");
    if (!e)
        slot_filled(p, &s->out);
    return e;
}

/* Two slots for chunks of so many bytes; one for one. */
static int slots_new(const Party *p, Way *w, size_t bytes, size_t rounds)
{
    Device *d = p->device[me];
    if (d->backend->pin(d, bytes * (rounds > 1 ? SLOTS : 1), &w->pinned))
        return (int)error_code();
    w->slot[0] = (char *)(uintptr_t)d->backend->map(w->pinned);
    w->slot[1] = w->slot[0] + (rounds > 1 ? bytes : 0);
    return 0;
}

/* Before the meeting: what it was computed by has ended, and the first chunk is there for those who need
 * it. */
static int offer(Party *p, const Group *g, const Flow *f)
{
    Share *s = &p->share[me];
    const Trade *t = s->trade;
    for (int k = 0; k < g->size; k++)
        s->out.readers += gets(f, k, g->index) && is_staged(p, g, k, g->index);
    int e = (s->out.readers < g->size || t->reduce) && t->settle ? t->settle(t->x) : 0;
    if (e || !s->out.readers)
        return e;
    e = slots_new(p, &s->out, f->rows * f->len, f->rounds);
    return e ? e : stage(p, g, f, 0);
}

/* ---- the taker */

/* What is there, from a place on: bytes that the host sees, and those of near devices. */
static int take_given(const Trade *mine, Area area, size_t to, const Given *from, size_t at, size_t n)
{
    return from->bytes ? mine->put(mine->x, area, to, (const char *)from->bytes + at, n) :
                         mine->copy(mine->x, area, to, from, at, n);
}

/* What needs no rounds. */
static int take_whole(const Party *p, const Group *g, const Flow *f, int giver)
{
    return take_given(p->share[me].trade, WHOLE, place_of(f, giver),
        &p->share[member(g, giver)].trade->given, f->row * row_of(f, g->index), f->row);
}

/* Until a chunk is in its slot. false: it will not be. */
static bool slot_wait(Party *p, const Way *w, size_t round)
{
    pthread_mutex_lock(&p->lock);
    while (w->given <= round && !p->failed)
        pthread_cond_wait(&p->met, &p->lock);
    bool there = w->given > round;
    pthread_mutex_unlock(&p->lock);
    return there || not_come() == 0;
}

static void slot_taken(Party *p, Way *w, size_t round)
{
    pthread_mutex_lock(&p->lock);
    w->taken[round % SLOTS]++;
    pthread_cond_broadcast(&p->met);
    pthread_mutex_unlock(&p->lock);
}

/* Part of an area of a giver's, as of a round, to a place of one's own: each is one of the parameters. */
static int take_chunk(Party *p, const Group *g, const Flow *f, int giver, size_t round, Area area, size_t to)
{
    Way *w = &p->share[member(g, giver)].out;
    const Trade *mine = p->share[me].trade;
    if (!slot_wait(p, w, round))
        return (int)error_code();
    timeline_begin("from the host");
    int e = mine->put(
        mine->x, area, to, w->slot[round % SLOTS] + f->len * row_of(f, g->index), length_of(f, round));
    timeline_end("from the host");
    slot_taken(p, w, round);
    return e;
}

static int no_giver(const Trade *t, size_t n)
{
    void *zeros = calloc(1, n);
    int e =
        zeros ? t->put(t->x, WHOLE, 0, zeros, n) : error_set(E_NOMEM, "no memory for what shards exchange");
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
    for (size_t r = 0; r < f->rounds && !e && (staged || p->share[me].out.readers); r++) {
        e = r && p->share[me].out.readers ? stage(p, g, f, r) : 0;
        for (int k = 0; k < g->size && !e; k++)
            if (gets(f, g->index, k) && is_staged(p, g, g->index, k))
                e = take_chunk(p, g, f, k, r, WHOLE, place_of(f, k) + r * f->len);
    }
    return e || !t->settle ? e : t->settle(t->x);
}

/* ==================== shards reduce, each its part, chunk by chunk */

static int turn_of(size_t round) { return (int)(round % SLOTS); }

/* What all have for a chunk of this one's part. */
static int deal_chunk(Party *p, const Group *g, const Flow *f, size_t round)
{
    const Trade *t = p->share[me].trade;
    const Area area = turn_of(round) ? CHUNK_1 : CHUNK_0;
    int e = round && p->share[me].out.readers ? stage(p, g, f, round) : 0;
    for (int k = 0; k < g->size && !e; k++)
        e = is_staged(p, g, g->index, k) ?
            take_chunk(p, g, f, k, round, area, f->len * (size_t)k) :
            take_given(t, area, f->len * (size_t)k, &p->share[member(g, k)].trade->given,
                f->row * (size_t)g->index + round * f->len, f->len);
    return e;
}

/* It has become what the others wait for, some of them in the host's memory. */
static int give_reduced(Party *p, const Group *g, const Flow *f, size_t round)
{
    Share *s = &p->share[me];
    const Trade *t = s->trade;
    const int turn = turn_of(round);
    int e = t->reduced_now(t->x);
    timeline_end("reduce");
    for (int k = 0; k < g->size && !e; k++) {
        if (!is_staged(p, g, k, g->index))
            continue;
        e = s->reduced.slot[0] ? 0 : slots_new(p, &s->reduced, f->len, f->rounds);
        timeline_begin("to the host");
        e = e ? e : t->fetch(t->x, turn ? CHUNK_1 : CHUNK_0, 0, s->reduced.slot[turn], f->len);
        timeline_end("to the host");
        break;
    }
    if (!e)
        slot_filled(p, &s->reduced);
    return e;
}

/* What all have made of their parts' chunks. */
static int gather_chunk(Party *p, const Group *g, const Flow *f, size_t round)
{
    const Trade *t = p->share[me].trade;
    const int turn = turn_of(round);
    int e = 0;
    for (int k = 0; k < g->size && !e; k++) {
        Share *s = &p->share[member(g, k)];
        const size_t to = f->row * (size_t)k + round * f->len;
        if (!slot_wait(p, &s->reduced, round))
            return (int)error_code();
        bool staged = is_staged(p, g, g->index, k);
        timeline_begin(staged ? "from the host" : "from a device");
        e = staged ? t->put(t->x, WHOLE, to, s->reduced.slot[turn], f->len) :
                     take_given(t, WHOLE, to, &s->trade->reduced[turn], 0, f->len);
        timeline_end(staged ? "from the host" : "from a device");
        slot_taken(p, &s->reduced, round);
    }
    return e;
}

/* Each turn brings a chunk, while the one before is still being reduced, and then gives that to all. Nobody
 * waits for ever: in each turn all wait only for what others do earlier in it, or in one before. */
static int reduce_parts(Party *p, const Group *g, const Flow *f)
{
    Share *s = &p->share[me];
    const Trade *t = s->trade;
    bool begun = false;
    int e = 0;
    for (size_t r = 0; r <= f->rounds && !e; r++) {
        e = r < f->rounds ? deal_chunk(p, g, f, r) : 0;
        if (!e && begun)
            e = give_reduced(p, g, f, r - 1), begun = false;
        if (!e && r < f->rounds) {
            e = slot_free(p, &s->reduced, r) ? 0 : (int)error_code();
            if (!e) {
                timeline_begin("reduce");
                e = t->reduce(t->x, turn_of(r)), begun = true;
            }
        }
        e = e || !r ? e : gather_chunk(p, g, f, r - 1);
    }
    if (begun) {                                /* after an error */
        t->reduced_now(t->x);
        timeline_end("reduce");
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
        *bytes = p->share[s].out.slot[0] + f->row * row_of(f, g->index);
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
        e = e ? e : t->put(t->x, WHOLE, place_of(f, k), bytes, f->row);
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
    char *own = t->given.bytes ? NULL : malloc(t->n);
    s->out.slot[0] = t->given.bytes ? (char *)(uintptr_t)t->given.bytes : own;
    int e = s->out.slot[0] ? 0 : error_set(E_NOMEM, "no memory for what shards exchange");
    e = e ? e : t->given.bytes ? t->settle ? t->settle(t->x) : 0 : t->fetch(t->x, WHOLE, 0, own, t->n);
    e = e ? e : send_far(p, g, f, s->out.slot[0], &sent);
    timeline_begin(s->name);
    e = e || !t->beside ? e : t->beside(t->x);
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
    Flow f = flow_of(swap, &g, t, from);
    Share *s = &p->share[me];
    *s = (Share){ .trade = t, .name = name, .reduced = { .readers = g.size } };
    if (near(p, &g) < g.size)
        return exchange_far(p, &g, &f);
    int e = offer(p, &g, &f);
    timeline_begin(name);
    e = e ? e : begin(p, &g);
    timeline_end(name);
    if (!e) {
        e = swap == SWAP_REDUCE ? reduce_parts(p, &g, &f) : take(p, &g, &f);
        end(p, &g, e);
    }
    mem_drop(s->out.pinned), mem_drop(s->reduced.pinned);
    return e;
}
