/*
 * plan_check.c - the verifier of plans: what executors rely on.
 *
 * In:  a plan with its arena laid out. Out: 0, or the error of the first step that breaks a rule:
 *      slots have the bytes of their elements, temporaries lie inside the arena; nothing is read before it
 *      was written, and no argument or constant is written; steps bind their bodies' arguments and results
 *      to slots of the same size and dtype; what two temporaries hold at the same time does not overlap,
 *      those of bodies included.
 * Lives are found here again and not asked of plan.c: two that agree are right more often than one.
 */
#include "plan.h"

#include <string.h>

/* A temporary's offset in the arena, and the steps of its plan from its first use to its last one. */
typedef struct Life { size_t from, to; int first, last; const char *name; } Life;

typedef struct Check {
    const Plan *p;
    bool *known;                                /* by slot: written by now */
    /* arguments in front that may be written: carries in place */
    int nwritable;
    const Life *around; int naround;            /* what other plans hold while this one runs */
    size_t bytes;                               /* of the whole arena */
} Check;

#define wrong(...) error_set(E_INTERNAL, "plan: %s", arena_text(__VA_ARGS__))

/* ==================== slots and results */

static int slot_check(const Check *c, const Slot *s)
{
    size_t slack = SLACK * dtype_size((Dtype)s->dt);
    int most = s->kind == SLOT_ARG ? c->p->narg : s->kind == SLOT_RESULT ? c->p->nresult : 1;
    if (s->bytes != (size_t)s->size * dtype_size((Dtype)s->dt))
        return wrong("slot %s has %zu bytes for %lld elements of %s", s->name, s->bytes, (long long)s->size,
            dtype_name((Dtype)s->dt));
    if ((s->kind == SLOT_ARG || s->kind == SLOT_RESULT) && (s->index < 0 || s->index >= most))
        return wrong("slot %s is number %d of %d", s->name, s->index, most);
    if (s->kind == SLOT_RESULT && c->p->alias[s->index] != -1)
        return wrong("slot %s is a result that is something else", s->name);
    if (s->kind == SLOT_CONST && s->bytes && !s->data)
        return wrong("slot %s is a constant without data", s->name);
    return s->kind == SLOT_TEMP && s->bytes && c->bytes &&
            (s->offset % PLAN_PAGE || s->offset + s->bytes + slack > c->bytes) ?
        wrong("slot %s at %zu is not in the arena of %zu bytes", s->name, s->offset, c->bytes) :
        0;
}

/* A result is a slot, an argument, or an earlier result. */
static int results_check(const Plan *p)
{
    for (int k = 0; k < p->nresult; k++) {
        int slots = 0, a = p->alias[k];
        for (int s = 0; s < p->nslot; s++)
            slots += p->slot[s].kind == SLOT_RESULT && p->slot[s].index == k;
        if (a >= p->narg || (a < -1 && -2 - a >= k))
            return wrong("result %d is one that is not there: %d", k, a);
        if (a == -1 && slots != 1)
            return wrong("result %d has %d slots", k, slots);
    }
    return 0;
}

/* ==================== steps */

static int slot_known(const Check *c, int slot, const char *reader)
{
    if (slot < 0 || slot >= c->p->nslot)
        return wrong("%s uses a slot that is not there", reader);
    return c->known[slot] || !c->p->slot[slot].bytes ?
        0 :
        wrong("%s reads %s before it is written", reader, c->p->slot[slot].name);
}

static int slot_write(const Check *c, int slot, const char *writer)
{
    if (slot < 0 || slot >= c->p->nslot)
        return wrong("%s uses a slot that is not there", writer);
    const Slot *s = &c->p->slot[slot];
    if (s->kind == SLOT_CONST || (s->kind == SLOT_ARG && s->index >= c->nwritable))
        return wrong("%s writes %s, which is %s", writer, s->name,
            s->kind == SLOT_CONST ? "a constant" : "an argument");
    c->known[slot] = true;
    return 0;
}

static int launch_check(const Check *c, const Kernel *k)
{
    for (int n = 0; n < k->nparam; n++) {
        const Buffer *b = k->param[n];
        if (!k->written[n] && slot_known(c, b->slot, k->name))
            return (int)error_code();
        if (k->written[n] && slot_write(c, b->slot, k->name))
            return (int)error_code();
        const Slot *s = &c->p->slot[b->slot];
        if (s->dt != b->dt || s->size != b->size)
            return wrong("%s takes %s %s[%lld], the slot has %s[%lld]", k->name, b->name,
                dtype_name((Dtype)b->dt), (long long)b->size, dtype_name((Dtype)s->dt), (long long)s->size);
    }
    return 0;
}

static const Slot *slot_of(const Plan *p, SlotKind kind, int index)
{
    for (int k = 0; k < p->nslot; k++)
        if (p->slot[k].kind == kind && p->slot[k].index == index)
            return &p->slot[k];
    return NULL;
}

/* Arguments (or results) of a body are those slots of the plan around it. */
static int bound(const Check *c, const char *name, const Plan *body, SlotKind kind, const int *slot, int n)
{
    for (int k = 0; k < n; k++) {
        const Slot *in = slot_of(body, kind, k), *out = &c->p->slot[slot[k]];
        if (in && (in->dt != out->dt || in->size != out->size))
            return wrong("%s binds %s %s[%lld] to %s %s[%lld]", name, in->name, dtype_name((Dtype)in->dt),
                (long long)in->size, out->name, dtype_name((Dtype)out->dt), (long long)out->size);
    }
    return 0;
}

static int bodies_check(const Check *c, const Step *s, const char *name)
{
    const int *in = s->kind == S_BRANCH ? s->in + 1 : s->in;
    int nin = s->kind == S_BRANCH ? s->nin - 1 : s->nin;
    int bodies = s->kind == S_LOOP ? 1 : s->kind == S_WHILE ? 2 : s->nbody;
    if (s->nbody != bodies || s->nbody < 1)
        return wrong("%s has %d bodies", name, s->nbody);
    for (int k = 0; k < s->nbody; k++) {
        const Plan *body = s->body[k];
        bool flag = s->kind == S_WHILE && !k;
        if (body->narg > nin || body->nresult != (flag ? 1 : s->nout))
            return wrong("%s: body %d has %d arguments and %d results, the step %d and %d", name, k,
                body->narg, body->nresult, nin, s->nout);
        if (bound(c, name, body, SLOT_ARG, in, body->narg) ||
            (!flag && bound(c, name, body, SLOT_RESULT, s->out, s->nout)))
            return (int)error_code();
    }
    return 0;
}

static int pongs_check(const Check *c, const Step *s, const char *name)
{
    for (int k = 0; k < step_pongs(s); k++) {
        const Slot *a = &c->p->slot[s->pong[k]], *b = k < 2 * s->ncarry ? &c->p->slot[s->out[k / 2]] : NULL;
        if (a->kind != SLOT_TEMP || (b && (a->dt != b->dt || a->size != b->size)))
            return wrong("%s: %s cannot hold a carry between two steps", name, a->name);
    }
    return 0;
}

/* Its body takes a chunk of all shards' bytes and gives what becomes of it. */
static int reduce_check(const Check *c, const Step *s, const char *name)
{
    const Plan *body = s->body[0];
    int64_t chunk = c->p->slot[s->pong[0]].size;
    for (int k = 0; k < step_pongs(s); k++)
        if (c->p->slot[s->pong[k]].kind != SLOT_TEMP)
            return wrong("%s: %s cannot hold a chunk", name, c->p->slot[s->pong[k]].name);
    if (s->nbody != 1 || body->narg != 1 || body->nresult != 1 || s->trip < 1 ||
        c->p->slot[s->in[0]].size != s->trip * chunk || c->p->slot[s->out[0]].size != s->trip * chunk)
        return wrong("%s: %lld chunks of %lld elements", name, (long long)s->trip, (long long)chunk);
    return bound(c, name, body, SLOT_ARG, s->pong, 1) || bound(c, name, body, SLOT_RESULT, s->pong + 2, 1) ?
        (int)error_code() :
        0;
}

static int step_check(const Check *c, const Step *s)
{
    const char *name = s->kernel ? s->kernel->name : s->note ? s->note : "a copy";
    if (s->kind == S_LAUNCH)
        return s->kernel ? launch_check(c, s->kernel) : wrong("a launch of nothing");
    for (int k = 0; k < s->nin; k++)
        if (slot_known(c, s->in[k], name))
            return (int)error_code();
    for (int k = 0; k < s->nout; k++)
        if (slot_write(c, s->out[k], name))
            return (int)error_code();
    if (s->kind == S_COPY && c->p->slot[s->in[0]].bytes != c->p->slot[s->out[0]].bytes)
        return wrong("a copy of %s to %s, which is not as large", c->p->slot[s->in[0]].name,
            c->p->slot[s->out[0]].name);
    if (s->kind == S_EXCHANGE && s->nbody)
        return reduce_check(c, s, name);
    if (s->kind != S_LOOP && s->kind != S_WHILE && s->kind != S_BRANCH)
        return 0;
    /* Carries in place lie behind the captures of their own region, and are captures of the plan. */
    return bodies_check(c, s, name) || pongs_check(c, s, name) ? (int)error_code() : 0;
}

/* ==================== lives in the arena */

static void use(Life *l, int slot, int step)
{
    l[slot].first = l[slot].first < 0 ? step : l[slot].first;
    l[slot].last = step;
}

/* By slot; first < 0: never used. */
static Life *lives_of(const Plan *p)
{
    Life *l = NEWS(Life, p->nslot);
    for (int k = 0; k < p->nslot; k++)
        l[k] = (Life){ p->slot[k].offset, p->slot[k].offset + p->slot[k].bytes, -1, -1, p->slot[k].name };
    for (int n = 0; n < p->nstep; n++) {
        const Step *s = &p->step[n];
        for (int k = 0; s->kernel && k < s->kernel->nparam; k++)
            use(l, s->kernel->param[k]->slot, n);
        for (int k = 0; k < s->nin; k++)
            use(l, s->in[k], n);
        for (int k = 0; k < s->nout; k++)
            use(l, s->out[k], n);
        for (int k = 0; k < step_pongs(s); k++)
            use(l, s->pong[k], n);
    }
    for (int k = 0; k < p->nslot; k++)
        if (p->slot[k].kind != SLOT_TEMP || !p->slot[k].bytes)
            l[k].first = -1;
    return l;
}

static bool overlap(const Life *a, const Life *b) { return a->from < b->to && b->from < a->to; }

static int lives_check(const Check *c, const Life *l)
{
    for (int k = 0; k < c->p->nslot; k++) {
        for (int j = 0; l[k].first >= 0 && j < c->naround; j++)
            if (overlap(&l[k], &c->around[j]))
                return wrong(
                    "%s lies where %s does, which is in use around it", l[k].name, c->around[j].name);
        for (int j = 0; l[k].first >= 0 && j < k; j++)
            if (l[j].first >= 0 && l[j].first <= l[k].last && l[k].first <= l[j].last &&
                overlap(&l[k], &l[j]))
                return wrong("%s and %s are in use at the same time and overlap", l[k].name, l[j].name);
    }
    return 0;
}

static int level_check(Check c);

/* The bodies of a step, with what is in use around them. */
static int inside_check(const Check *c, const Life *l, int step)
{
    const Step *s = &c->p->step[step];
    Life *around = NEWS(Life, c->naround + c->p->nslot);
    int n = c->naround;
    if (n)
        memcpy(around, c->around, sizeof *around * (size_t)n);
    for (int k = 0; k < c->p->nslot; k++)
        if (l[k].first >= 0 && l[k].first <= step && step <= l[k].last)
            around[n++] = l[k];
    for (int k = 0; k < s->nbody; k++)
        if (level_check((Check){ .p = s->body[k],
                .nwritable = s->kind == S_BRANCH ? 0 : s->ncap,
                .around = around,
                .naround = n,
                .bytes = c->bytes }))
            return (int)error_code();
    return 0;
}

static int level_check(Check c)
{
    const Plan *p = c.p;
    const Life *l = lives_of(p);
    c.known = NEWS(bool, p->nslot);
    if (results_check(p) || lives_check(&c, l))
        return (int)error_code();
    for (int k = 0; k < p->nslot; k++) {
        c.known[k] = p->slot[k].kind == SLOT_ARG || p->slot[k].kind == SLOT_CONST;
        if (slot_check(&c, &p->slot[k]))
            return (int)error_code();
    }
    for (int n = 0; n < p->nstep; n++)
        if (step_check(&c, &p->step[n]) || (p->step[n].nbody && inside_check(&c, l, n)))
            return (int)error_code();
    for (int k = 0; k < p->nslot; k++)
        if (p->slot[k].kind == SLOT_RESULT && p->slot[k].bytes && !c.known[k])
            return wrong("result %d is never written", p->slot[k].index);
    return 0;
}

int plan_check(const Plan *p) { return level_check((Check){ .p = p, .bytes = p->bytes }); }
