/*
 * effects.c - what a running program tells: checks that fail.
 *
 * In: symbols while tracing; after a call the states of the program's effects, further results of it. Out: an instruction each; the
 * call's error. A place of an effect orders it in time: where it stands in the program, and the steps of the loops around it.
 */
#include "api.h"
#include <stdlib.h>
#include <string.h>

/* ==================== while tracing */

static Ref condition_of(const char *what, hd x)
{
    Ref c = tracing() ? sym_ref(x) : 0;
    if (!c)
        return 0;
    if (typ(c)->rank) {
        error_set(E_SHAPE, "%s: the condition is %s, not a scalar: say whether hd_all or hd_any of them hold", what,
            type_text(typ(c)));
        return 0;
    }
    return typ(c)->dt == DT_BOOL ? c : Ne(c, Like(c, 0));
}

void hd_check(hd condition, const char *message)
{
    OP(hd_check);
    Ref c = condition_of("hd_check", condition);
    if (c && !message)
        error_set(E_INVAL, "hd_check: the message is NULL");
    else if (c)
        Check(c, intern(message));
}

/* ==================== where something happened */

/* What one lane did at one time. */
typedef struct Event {
    const Effect *e;
    int64_t lane;                               /* counts through all lane axes */
    const int32_t *step;                        /* of the loops around it, `stride` apart */
    int64_t stride;
} Event;

static int order(int64_t a, int64_t b) { return (a > b) - (a < b); }

/* Which was earlier? */
static int event_order(const Event *a, const Event *b)
{
    int loop = 0;
    for (int k = 0; k < a->e->nplace && k < b->e->nplace; k++) {
        const EffectStep *p = &a->e->place[k], *q = &b->e->place[k];
        int c = order(p->at, q->at);
        if (!c && p->loop)
            c = p->loop * order(a->step[loop * a->stride], b->step[loop * b->stride]), loop++;
        c = c ? c : order(p->body, q->body);
        if (c)
            return c;
    }
    return order(a->lane, b->lane);
}

static int64_t lanes_of(const Effect *e, int from, int to)
{
    int64_t n = 1;
    for (int k = from; k < to; k++)
        n *= e->lane[k].size;
    return n;
}

/* "i 3, lane 0, step 2": axes by their names, then the steps. "" outside lanes and loops. */
static void where(Text *t, const Event *v, const char *before, const char *after)
{
    const Effect *e = v->e;
    int n = 0;
    for (int k = 0; k < e->nlane; k++) {
        const char *name = e->lane[k].name && e->lane[k].name[0] ? e->lane[k].name : "lane";
        text_add(t, "%s%.*s %lld", n++ ? ", " : before, (int)strcspn(name, "'"), name,
            (long long)(v->lane / lanes_of(e, k + 1, e->nlane) % e->lane[k].size));
    }
    for (int k = 0; k < e->nloop; k++)
        text_add(t, "%sstep %d", n++ ? ", " : before, (int)v->step[k * v->stride]);
    text_add(t, "%s", n ? after : "");
}

/* ==================== checks */

/* The states of an effect, read; NULL after an error. What is read is one block, to be freed. */
static void **read_states(const Effect *e, Mem *const *state)
{
    size_t bytes = (size_t)e->nstate * sizeof(void *);
    for (int s = 0; s < e->nstate; s++)
        bytes += (type_bytes(&e->state[s]) + 15) / 16 * 16;
    void **x = malloc(bytes + 16);
    if (!x) {
        error_set(E_NOMEM, "out of host memory");
        return NULL;
    }
    char *at = (char *)x + ((size_t)e->nstate * sizeof(void *) + 15) / 16 * 16;
    for (int s = 0; s < e->nstate; s++) {
        size_t n = type_bytes(&e->state[s]);
        x[s] = at, at += (n + 15) / 16 * 16;
        if (n && state[s]->device->backend->read(state[s], 0, x[s], n)) {
            free(x);
            return NULL;
        }
    }
    return x;
}

/* The earliest failure of a check, if it is earlier than *best, whose states are *kept. 0, or a code. */
static int look_at(const Effect *e, Mem *const *state, Event *best, void ***kept)
{
    void **x = read_states(e, state);
    int64_t n = lanes_of(e, 0, e->nlane);
    bool mine = false;
    if (!x)
        return (int)error_code();
    int32_t *code = x[0];
    int64_t stride = e->nstate > 1 ? (int32_t *)x[1] - code : 0;
    for (int64_t k = 0; k < n; k++) {
        Event v = { e, k, code + k, stride };
        if (!code[k])
            continue;
        for (int s = 0; s < e->nloop; s++)
            code[k + s * stride]--;             /* a code is the step + 1 */
        if (!best->e || event_order(&v, best) < 0)
            *best = v, mine = true;
    }
    if (mine) {
        free(*kept);
        *kept = x;
    } else {
        free(x);
    }
    return 0;
}

static int check_failed(const Event *v)
{
    Text t = { 0 };
    where(&t, v, " (", ")");
    Loc before = loc_set(v->e->loc);
    int e = error_set(E_CHECK, "hd_check: %s%s", v->e->text, t.s ? t.s : "");
    loc_set(before);
    text_free(&t);
    return e;
}

/* The first of the states says whether any check failed. */
static int settle_checks(const Program *p, Mem *const *state)
{
    const Effects *all = &p->effects;
    uint8_t failed = 0;
    Event best = { 0 };
    void **kept = NULL;
    int e = state[0]->device->backend->read(state[0], 0, &failed, 1);
    for (int k = 0; k < all->n && failed && !e; k++)
        if (all->effect[k].op == OP_check)
            e = look_at(&all->effect[k], state + all->effect[k].first - p->nout, &best, &kept);
    if (!e && failed)
        e = check_failed(&best);
    free(kept);
    return e;
}

int effects_settle(const Program *p, Mem *const *state)
{
    bool checks = false;
    for (int k = 0; k < p->effects.n; k++)
        checks |= p->effects.effect[k].op == OP_check;
    return checks ? settle_checks(p, state) : 0;
}
