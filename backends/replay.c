/*
 * replay.c - running a plan's steps: launches, loops, conditions, branches, copies.
 *
 * In:  a frame, and memories for its arguments and results.   Out: commands, in order, through the backend's
 * functions.
 * A body plan is a frame of its own. Carries of a loop go back and forth between two buffers and end in the
 * step's results.
 */
#include "replay.h"

#include <stdlib.h>
#include <string.h>

/* ---- whose memory it is ---- */

static _Thread_local struct { const Plan *plan; int slot; } wanted;

/* The step that writes a slot; NULL: a step's body does, or none. */
static const Step *writer(const Plan *p, int slot)
{
    for (int i = 0; i < p->nstep; i++) {
        const Step *s = &p->step[i];
        for (int k = 0; k < s->nout; k++)
            if (s->out[k] == slot)
                return s;
        for (int k = 0; s->kernel && k < s->kernel->nparam; k++)
            if (s->kernel->written[k] && s->kernel->param[k]->slot == slot)
                return s;
    }
    return NULL;
}

const char *replay_wants(Loc *loc)
{
    const Step *s = wanted.plan ? writer(wanted.plan, wanted.slot) : NULL;
    *loc = s && s->loc.file ? s->loc : loc_here();
    return s && s->kernel ? s->kernel->name : NULL;
}

static void wants(const Plan *p, int slot) { wanted.plan = p, wanted.slot = slot; }

/* ---- frames ---- */

static void spans(Frame *f, size_t from, size_t to)
{
    f->low = from < f->low ? from : f->low, f->high = to > f->high ? to : f->high;
}

static bool fill(Frame *f, const Plan *p, const Device *d, Spot (*place)(void *, const Slot *), void *x)
{
    f->plan = p, f->low = SIZE_MAX;
    f->mem = calloc((size_t)p->nslot + 1, sizeof *f->mem);
    f->body = calloc((size_t)p->nstep + 1, sizeof *f->body);
    f->ahead = calloc((size_t)p->nstep + 1, sizeof *f->ahead);
    if (!f->mem || !f->body || !f->ahead)
        return error_set(E_NOMEM, "no memory for a program"), false;
    for (int s = 0; s < p->nslot; s++)
        if (p->slot[s].kind == SLOT_TEMP || p->slot[s].kind == SLOT_CONST) {
            wants(p, s);
            bool good = !device_fault(d, "alloc") && (f->mem[s] = place(x, &p->slot[s])).buffer != NULL;
            wants(NULL, 0);
            if (!good)
                return false;
        }
    for (int s = 0; s < p->nslot; s++)
        if (p->slot[s].kind == SLOT_TEMP)
            spans(f, p->slot[s].offset, p->slot[s].offset + p->slot[s].bytes);
    for (int s = 0; s < p->nstep; s++) {
        const Step *st = &p->step[s];
        if (st->nbody && !(f->body[s] = calloc((size_t)st->nbody, sizeof(Frame))))
            return error_set(E_NOMEM, "no memory for a program"), false;
        for (int b = 0; b < st->nbody; b++) {
            Frame *body = &f->body[s][b];
            if (!fill(body, st->body[b], d, place, x))
                return false;
            spans(f, body->low, body->high);
        }
    }
    return true;
}

static void empty(Frame *f)
{
    for (int s = 0; f->body && s < f->plan->nstep; s++) {
        for (int b = 0; f->body[s] && b < f->plan->step[s].nbody; b++)
            if (f->body[s][b].plan)
                empty(&f->body[s][b]);
        free(f->body[s]);
    }
    free(f->mem);
    free(f->body);
    free(f->ahead);
}

Frame *replay_frame(const Plan *p, const Device *d, Spot (*place)(void *, const Slot *), void *x)
{
    Frame *f = calloc(1, sizeof *f);
    if (f && fill(f, p, d, place, x))
        return f;
    if (!f)
        error_set(E_NOMEM, "no memory for a program");
    replay_frame_drop(f);
    return NULL;
}

void replay_frame_drop(Frame *f)
{
    if (f)
        empty(f);
    free(f);
}

/* ---- steps ---- */

typedef struct Run { const Replay *r; const Device *d; void *x; } Run;

static int run_plan(const Run *, Frame *, int64_t step);

static int launch(const Run *c, const Frame *f, const Kernel *k, int64_t step)
{
    int e = device_fault(c->d, "launch");
    return e ? e : c->r->launch(c->x, f, k, step);
}

static int copy(const Run *c, Spot from, Spot to, size_t bytes)
{
    if (!bytes || (from.buffer == to.buffer && from.at == to.at))
        return 0;
    int e = device_fault(c->d, "copy");
    return e ? e : c->r->copy(c->x, from, to, bytes);
}

static int fetch(const Run *c, Spot from, void *out, size_t bytes)
{
    int e = device_fault(c->d, "download");
    return e ? e : c->r->fetch(c->x, from, out, bytes);
}

static int store(const Run *c, Spot to, const void *bytes, size_t n)
{
    int e = device_fault(c->d, "upload");
    return e ? e : c->r->store(c->x, to, bytes, n);
}

/* The arguments and results of a body, by number. */
static void bind(Frame *body, const Spot *in, const Spot *out)
{
    for (int s = 0; s < body->plan->nslot; s++) {
        const Slot *slot = &body->plan->slot[s];
        if (slot->kind == SLOT_ARG)
            body->mem[s] = in[slot->index];
        else if (slot->kind == SLOT_RESULT)
            body->mem[s] = out[slot->index];
    }
}

/* One run of a body. A result that is an argument, or another result, is copied. */
static int run_body(
    const Run *c, Frame *body, const Spot *in, const Spot *out, const size_t *bytes, int64_t step)
{
    bind(body, in, out);
    int e = run_plan(c, body, step);
    for (int k = 0; k < body->plan->nresult && !e; k++) {
        int a = body->plan->alias[k];
        if (a != -1)
            e = copy(c, a >= 0 ? in[a] : out[-2 - a], out[k], bytes[k]);
    }
    return e;
}

/* What a step's bodies are bound to: in, out with the results' sizes; one allocation. */
typedef struct Bound { Spot *in, *out; size_t *bytes; } Bound;

static int bound_new(Bound *b, const Frame *f, const Step *s)
{
    size_t n = (size_t)s->nin + (size_t)s->nout;
    b->in = calloc(n + 1, sizeof *b->in + sizeof *b->bytes);
    if (!b->in)
        return error_set(E_NOMEM, "no memory for a loop");
    b->out = b->in + s->nin;
    b->bytes = (size_t *)(void *)(b->in + n);
    for (int k = 0; k < s->nin; k++)
        b->in[k] = f->mem[s->in[k]];
    for (int k = 0; k < s->nout; k++)
        b->out[k] = f->mem[s->out[k]], b->bytes[k] = f->plan->slot[s->out[k]].bytes;
    return 0;
}

static int run_loop(const Run *c, Frame *f, const Step *s, Frame *body)
{
    Bound b;
    int e = bound_new(&b, f, s);
    for (int k = 0; k < s->ncarry && !e && s->trip == 0; k++)
        e = copy(c, b.in[s->ncap + k], b.out[k], b.bytes[k]);
    for (int64_t t = 0; t < s->trip && !e; t++) {
        for (int k = 0; k < s->ncarry; k++)
            b.out[k] = t == s->trip - 1 ? f->mem[s->out[k]] : f->mem[s->pong[2 * k + (t & 1)]];
        e = run_body(c, body, b.in, b.out, b.bytes, s->reverse ? s->trip - 1 - t : t);
        for (int k = 0; k < s->ncarry; k++)
            b.in[s->ncap + k] = b.out[k];
    }
    free(b.in);
    return e;
}

/* The flag is the one result of body 0; it lies in the last slot of pong. */
static int run_while(const Run *c, Frame *f, const Step *s, Frame *body)
{
    Bound b;
    int e = bound_new(&b, f, s);
    Spot flag_mem = f->mem[s->pong[2 * s->ncarry]];
    const size_t one = 1;
    for (int64_t t = 0; !e; t++) {
        unsigned char flag = 0;
        e = run_body(c, &body[0], b.in, &flag_mem, &one, 0);
        e = e ? e : fetch(c, flag_mem, &flag, 1);
        if (e || !flag)
            break;
        for (int k = 0; k < s->ncarry; k++)
            b.out[k] = f->mem[s->pong[2 * k + (t & 1)]];
        e = run_body(c, &body[1], b.in, b.out, b.bytes, 0);
        for (int k = 0; k < s->ncarry; k++)
            b.in[s->ncap + k] = b.out[k];
    }
    for (int k = 0; k < s->ncarry && !e; k++)
        e = copy(c, b.in[s->ncap + k], f->mem[s->out[k]], b.bytes[k]);
    free(b.in);
    return e;
}

static int run_branch(const Run *c, Frame *f, const Step *s, Frame *body)
{
    Bound b;
    int32_t index = 0;
    int e = bound_new(&b, f, s);
    e = e ? e : fetch(c, b.in[0], &index, sizeof index);
    index = index < 0 ? 0 : index >= s->nbody ? s->nbody - 1 : index;
    e = e ? e : run_body(c, &body[index], b.in + 1, b.out, b.bytes, 0);
    free(b.in);
    return e;
}

/* ==================== what goes before its turn, while bytes of other ranks are on their way

   Launches and copies, and loops and branches of nothing else, that touch nothing of what is still to be
   done before them. Within a loop that has an exchange itself, these are steps of the same turn: the next
   one computes in the temporaries that what is left of this one reads; and what would not need anything
   that goes round has left the loop (graph/transforms/hoist.c). */

enum { AHEAD = 32 };                            /* steps that are looked at */

static bool goes(const Step *s)
{
    bool all = s->kind == S_LAUNCH || s->kind == S_COPY || s->kind == S_LOOP || s->kind == S_WHILE ||
        s->kind == S_BRANCH;
    for (int b = 0; b < s->nbody && all; b++)
        for (int k = 0; k < s->body[b]->nstep && all; k++)
            all = goes(&s->body[b]->step[k]);
    return all;
}

/* What a step touches: a slot, or the part of the arena that its bodies compute in. */
typedef struct Touch { int slot; size_t from, to; bool writes; } Touch;

static Touch slot_touched(const Frame *f, int slot, bool writes)
{
    const Slot *s = &f->plan->slot[slot];
    return (Touch){ slot, s->offset, s->offset + s->bytes, writes };
}

/* The k-th; false: there are no more. */
static bool touched(const Frame *f, int step, int k, Touch *t)
{
    const Step *s = &f->plan->step[step];
    if (s->kind == S_LAUNCH) {
        if (k < s->kernel->nparam)
            *t = slot_touched(f, s->kernel->param[k]->slot, s->kernel->written[k]);
        return k < s->kernel->nparam;
    }
    const int in = s->nin, out = in + s->nout, all = out + step_pongs(s);
    if (k < all)
        *t = slot_touched(f, k < in ? s->in[k] : k < out ? s->out[k - in] : s->pong[k - out], k >= in);
    else if (k < all + s->nbody)
        *t = (Touch){ -1, f->body[step][k - all].low, f->body[step][k - all].high, true };
    return k < all + s->nbody;
}

static bool share_memory(const Frame *f, const Touch *a, const Touch *b)
{
    const bool in_arena[] = { a->slot < 0 || f->plan->slot[a->slot].kind == SLOT_TEMP,
        b->slot < 0 || f->plan->slot[b->slot].kind == SLOT_TEMP };
    if (in_arena[0] && in_arena[1])
        return (a->slot >= 0 && a->slot == b->slot) || (a->from < b->to && b->from < a->to);
    return a->slot >= 0 && b->slot >= 0 && (a->slot == b->slot ||
        f->mem[a->slot].buffer == f->mem[b->slot].buffer);
}

/* Does one write what the other touches? */
static bool in_order(const Frame *f, int s, int t)
{
    Touch a = { 0 }, b = { 0 };
    for (int k = 0; touched(f, s, k, &a); k++)
        for (int j = 0; touched(f, t, j, &b); j++)
            if ((a.writes || b.writes) && share_memory(f, &a, &b))
                return true;
    return false;
}

/* Nothing that is still to be done before it, from the exchange on, has to do with it. */
static bool may_go(const Frame *f, int exchange, int s)
{
    bool may = true;
    for (int k = exchange; k < s && may; k++)
        may = f->ahead[k] || !in_order(f, k, s);
    return may;
}

static int run_one(const Run *, Frame *, int i, int64_t step);

/* What an exchange's functions know. They are called while this thread is away. reduce: of the chunks that
 * are dealt out. at: which step it is; beside: launches were begun meanwhile. */
typedef struct Traded {
    const Run *run;
    Frame *frame; int at; int64_t step; bool beside;
    Spot given, whole, dealt[2], reduced[2];
    Frame *reduce; size_t bytes;
} Traded;

static int back(const Run *c, int e)
{
    c->r->away(c->x, true);
    return e;
}

/* Where bytes of an area go, or come from. */
static Spot spot_of(const Traded *t, Area a, bool comes, size_t at)
{
    Spot s = a == WHOLE ? comes ? t->given : t->whole :
        comes           ? t->reduced[a - CHUNK_0] :
                          t->dealt[a - CHUNK_0];
    s.at += at;
    return s;
}

static int put_part(void *x, Area area, size_t to, const void *part, size_t n)
{
    const Traded *t = x;
    t->run->r->away(t->run->x, false);
    return back(t->run, store(t->run, spot_of(t, area, false, to), part, n));
}

static int fetch_part(void *x, Area area, size_t at, void *part, size_t n)
{
    const Traded *t = x;
    t->run->r->away(t->run->x, false);
    return back(t->run, fetch(t->run, spot_of(t, area, true, at), part, n));
}

static int copy_part(void *x, Area area, size_t to, const Given *from, size_t at, size_t n)
{
    const Traded *t = x;
    t->run->r->away(t->run->x, false);
    return back(t->run,
        copy(t->run, (Spot){ (void *)(uintptr_t)from->place, from->at + at }, spot_of(t, area, false, to),
            n));
}

static int joined(Traded *t)
{
    int e = t->beside ? t->run->r->joined(t->run->x) : 0;
    t->beside = false;
    return e;
}

static int settle(void *x)
{
    Traded *t = x;
    t->run->r->away(t->run->x, false);
    int e = joined(t);
    return back(t->run, e ? e : t->run->r->settle(t->run->x));
}

/* What stands behind the exchange, up to a step that cannot go. */
static int go_ahead(void *x)
{
    Traded *t = x;
    Frame *f = t->frame;
    int e = 0, n = 0, end = t->at + 1 + AHEAD;
    t->run->r->away(t->run->x, false);
    for (int s = t->at + 1; s < f->plan->nstep && s < end && !e; s++) {
        if (!goes(&f->plan->step[s]))
            break;
        if (!may_go(f, t->at, s))
            continue;
        if (!n++)
            timeline_begin("beside an exchange");
        e = run_one(t->run, f, s, t->step);
        f->ahead[s] = true;
    }
    if (n)
        timeline_end("beside an exchange");
    exchange_beside += (uint64_t)n;
    e = e || !n ? e : t->run->r->apart(t->run->x);
    t->beside = n && !e;
    return back(t->run, e);
}

static int reduce_part(void *x, int turn)
{
    const Traded *t = x;
    const Run *c = t->run;
    c->r->away(c->x, false);
    int e = run_body(c, t->reduce, &t->dealt[turn], &t->reduced[turn], &t->bytes, 0);
    return back(c, e ? e : c->r->apart(c->x));
}

static int reduced_now(void *x)
{
    const Traded *t = x;
    t->run->r->away(t->run->x, false);
    return back(t->run, t->run->r->joined(t->run->x));
}

static Given given_at(const Run *c, Spot s) { return (Given){ c->r->seen(c->x, s), s.buffer, s.at }; }

/* What is there for the others is theirs until all have it. */
static int run_exchange(const Run *c, Frame *f, int at, int64_t step)
{
    const Step *s = &f->plan->step[at];
    Frame *body = f->body[at];
    const Slot *who = s->nin > 1 ? &f->plan->slot[s->in[1]] : NULL;
    Traded x = { .run = c,
        .frame = f,
        .at = at,
        .step = step,
        .given = f->mem[s->in[0]],
        .whole = f->mem[s->out[0]],
        .reduce = body };
    Trade t = { .n = f->plan->slot[s->in[0]].bytes,
        .given = given_at(c, x.given),
        .x = &x,
        .put = put_part,
        .fetch = fetch_part,
        .copy = copy_part,
        .settle = settle,
        .beside = go_ahead };
    for (int k = 0; k < 2 && body; k++) {
        x.dealt[k] = f->mem[s->pong[k]], x.reduced[k] = f->mem[s->pong[2 + k]];
        x.bytes = f->plan->slot[s->pong[2]].bytes;
        t.reduced[k] = given_at(c, x.reduced[k]);
        t.chunks = (size_t)s->trip, t.reduce = reduce_part, t.reduced_now = reduced_now;
    }
    int32_t *senders = who ? malloc(who->bytes) : NULL;
    int e = who && !senders ? error_set(E_NOMEM, "no memory for what shards exchange") :
                              device_fault(c->d, "exchange");
    if (!e && who)
        e = fetch(c, f->mem[s->in[1]], senders, who->bytes);
    c->r->away(c->x, true);
    e = e ? e : exchange(s->swap, s->name, &t, senders);
    c->r->away(c->x, false);
    if (x.beside)                               /* after an error */
        joined(&x);
    free(senders);
    return e;
}

/* A kernel of the user's, launched for each lane that is on: its operands and results lie lane behind lane.
 * What lanes that are off give is zeros. */
static int run_user(const Run *c, const Frame *f, const Step *s)
{
    const Slot *slot = f->plan->slot, *on = &slot[s->in[0]];
    int n = s->nin - 1 + s->nout, e = 0;
    size_t lanes = on->bytes, most = 0;
    UserArg *arg = calloc((size_t)n + 1, sizeof *arg);
    uint8_t *is = calloc(lanes + 1, 1), *zeros = NULL;
    for (int k = 0; k < s->nout; k++)
        most = slot[s->out[k]].bytes > most ? slot[s->out[k]].bytes : most;
    e = arg && is ? 0 : error_set(E_NOMEM, "no memory for a kernel");
    if (!e && on->kind == SLOT_CONST)
        memcpy(is, on->data, lanes);
    else if (!e && lanes)
        e = fetch(c, f->mem[s->in[0]], is, lanes);
    for (size_t l = 0; l < lanes && !e; l++) {
        for (int k = 0; k < n; k++) {
            int place = k < s->nin - 1 ? s->in[k + 1] : s->out[k - s->nin + 1];
            arg[k] = (UserArg){ f->mem[place], slot[place].bytes / lanes, k >= s->nin - 1 };
            arg[k].at.at += l * arg[k].bytes;
        }
        if (is[l] && !(e = device_fault(c->d, "launch")))
            e = c->r->user(c->x, s->host.user, n, arg);
        if (!is[l] && !zeros && !(zeros = calloc(most + 1, 1)))
            e = error_set(E_NOMEM, "no memory for a kernel");
        for (int k = s->nin - 1; k < n && !is[l] && !e; k++)
            e = arg[k].bytes ? store(c, arg[k].at, zeros, arg[k].bytes) : 0;
    }
    free(arg), free(is), free(zeros);
    return e;
}

/* Copies of operands and room for results, in one block. */
static int run_host(const Run *c, const Frame *f, const Step *s)
{
    const Slot *slot = f->plan->slot;
    int n = s->nin + s->nout, e = 0;
    size_t bytes = 0;
    if (s->host.user && c->r->user && c->r->speaks(s->host.user)) {
        Loc was = loc_set(s->loc);
        e = run_user(c, f, s);
        loc_set(was);
        return e;
    }
    for (int k = 0; k < n; k++)
        bytes += (slot[k < s->nin ? s->in[k] : s->out[k - s->nin]].bytes + 15) / 16 * 16;
    void **x = calloc(1, ((size_t)n * sizeof *x + 15) / 16 * 16 + bytes + 16);
    if (!x)
        return error_set(E_NOMEM, "no memory for a callback");
    char *at = (char *)x + ((size_t)n * sizeof *x + 15) / 16 * 16;
    for (int k = 0; k < n; k++) {
        const Slot *t = &slot[k < s->nin ? s->in[k] : s->out[k - s->nin]];
        x[k] = at, at += (t->bytes + 15) / 16 * 16;
        e = e || k >= s->nin || !t->bytes ? e : fetch(c, f->mem[s->in[k]], x[k], t->bytes);
    }
    Loc before = loc_set(s->loc);
    c->r->away(c->x, true);
    e = e ? e : s->host.run(&s->host, (const void *const *)x, x + s->nin);
    c->r->away(c->x, false);
    loc_set(before);
    for (int k = 0; k < s->nout && !e; k++)
        if (slot[s->out[k]].bytes)
            e = store(c, f->mem[s->out[k]], x[s->nin + k], slot[s->out[k]].bytes);
    free(x);
    return e;
}

static int run_one(const Run *c, Frame *f, int i, int64_t step)
{
    const Step *s = &f->plan->step[i];
    switch (s->kind) {
    case S_LAUNCH:   return launch(c, f, s->kernel, step);
    case S_LOOP:     return run_loop(c, f, s, f->body[i]);
    case S_HOST:     return run_host(c, f, s);
    case S_WHILE:    return run_while(c, f, s, f->body[i]);
    case S_BRANCH:   return run_branch(c, f, s, f->body[i]);
    case S_EXCHANGE: return run_exchange(c, f, i, step);
    case S_COPY:
        return copy(c, f->mem[s->in[0]], f->mem[s->out[0]], f->plan->slot[s->out[0]].bytes);
    }
    return 0;
}

static int run_plan(const Run *c, Frame *f, int64_t step)
{
    int e = 0;
    memset(f->ahead, 0, (size_t)f->plan->nstep);
    for (int i = 0; i < f->plan->nstep && !e; i++)
        e = f->ahead[i] ? 0 : run_one(c, f, i, step);
    return e;
}

/* ---- calls ---- */

/* What the application may write again is no result: that is a copy. */
static int own_copy(Device *d, Mem *in, Mem **out)
{
    const Strided whole = { .bytes = in->bytes, .n = 1 };
    return d->backend->alloc(d, in->bytes, out) ? (int)error_code() :
        in->bytes                               ? d->backend->copy(*out, in, &whole) :
                                                  0;
}

int replay_outputs(const Plan *p, Device *d, Mem *const *in, int nout, Mem **out)
{
    memset(out, 0, (size_t)nout * sizeof *out);
    for (int s = 0; s < p->nslot; s++) {
        const Slot *slot = &p->slot[s];
        if (slot->kind != SLOT_RESULT || out[slot->index])
            continue;
        wants(p, s);
        int e = d->backend->alloc(d, slot->bytes, &out[slot->index]);
        wants(NULL, 0);
        if (e)
            return e;
    }
    for (int k = 0; k < nout; k++) {
        int a = p->alias[k];
        if (a >= 0 && in[a]->borrowed) {
            if (own_copy(d, in[a], &out[k]))
                return error_code();
        } else if (a >= 0)
            out[k] = mem_keep(in[a]);
        else if (a <= -2)
            out[k] = mem_keep(out[-2 - a]);
        else if (!out[k] && d->backend->alloc(d, 0, &out[k]))   /* of size zero: no slot */
            return error_code();
    }
    return 0;
}

void replay_forget(int nout, Mem **out)
{
    for (int k = 0; k < nout; k++)
        mem_drop(out[k]), out[k] = NULL;
}

/* A program, where it runs, and the memory of its inputs and results: hence the parameters. */
int replay(const Replay *r, const Device *d, void *x, Frame *f, Mem *const *in, Mem *const *out,
    Spot (*spot)(Mem *))
{
    const Run c = { r, d, x };
    for (int s = 0; s < f->plan->nslot; s++) {
        const Slot *slot = &f->plan->slot[s];
        if (slot->kind == SLOT_ARG)
            f->mem[s] = spot(in[slot->index]);
        else if (slot->kind == SLOT_RESULT)
            f->mem[s] = spot(out[slot->index]);
    }
    return run_plan(&c, f, 0);
}
