/*
 * plan.c - plans as data: slots, the arena, text.
 *
 * In:  steps over slots. Out: an offset in one arena for every temporary, those of bodies included, by
 * liveness; the plan's text.
 * Invariant: two temporaries whose lives overlap do not overlap in the arena; offsets are page-aligned and
 * 64 elements before and behind each slot are inside the arena, so that loads at borders need no clamp.
 */
#include "plan.h"
#include "target.h"

#include <stdlib.h>
#include <string.h>

int plan_slot(Plan *p, SlotKind kind, Dtype dt, int64_t size, const char *name)
{
    size_t bytes = (size_t)size * dtype_size(dt);
    PUSH(p->slot, p->nslot, p->slot_cap,
        (Slot){ .kind = kind, .dt = dt, .size = size, .bytes = bytes, .name = name });
    return p->nslot - 1;
}

Step *plan_step(Plan *p, StepKind kind)
{
    PUSH(p->step, p->nstep, p->step_cap, (Step){ .kind = kind });
    return &p->step[p->nstep - 1];
}

int step_pongs(const Step *s)
{
    return s->kind == S_LOOP                ? 2 * s->ncarry :
        s->kind == S_WHILE                  ? 2 * s->ncarry + 1 :
        s->kind == S_EXCHANGE && s->nbody ? 4 :
                                              0;
}

/* ==================== the arena */

/* Something that needs room while steps first .. last run: a slot, or the temporaries of a step's bodies. */
typedef struct Item { size_t bytes, at; int first, last, number; Slot *slot; Step *step; } Item;

static void touch(Item *i, int step)
{
    if (i->first < 0)
        i->first = step;
    i->last = step;
}

static int by_size(const void *a, const void *b)
{
    const Item *x = a, *y = b;
    return x->bytes != y->bytes ? (x->bytes < y->bytes ? 1 : -1) : x->number - y->number;
}

/* Bytes of the arena: parts of it in order, none of which touches the next. */
typedef struct Part { size_t from, to; } Part;
typedef struct Parts { Part *of; int n, cap; } Parts;

/* The first that ends behind `at`. */
static int parts_find(const Parts *p, size_t at)
{
    int lo = 0, hi = p->n;
    while (lo < hi) {
        int m = (lo + hi) / 2;
        if (p->of[m].to > at)
            hi = m;
        else
            lo = m + 1;
    }
    return lo;
}

static void parts_add(Parts *p, Part x)
{
    int k = parts_find(p, x.from ? x.from - 1 : 0), end = k;
    for (; end < p->n && p->of[end].from <= x.to; end++) {
        x.from = p->of[end].from < x.from ? p->of[end].from : x.from;
        x.to = p->of[end].to > x.to ? p->of[end].to : x.to;
    }
    if (end == k) {
        PUSH(p->of, p->n, p->cap, x);
        memmove(p->of + k + 1, p->of + k, sizeof x * (size_t)(p->n - 1 - k));
    } else {
        memmove(p->of + k + 1, p->of + end, sizeof x * (size_t)(p->n - end));
        p->n -= end - k - 1;
    }
    p->of[k] = x;
}

/* What has its offset: a tree over steps, node k above 2k and 2k + 1, step s at node size + s. whole: what
 * lives during all steps below a node; some: during some of them. So an item is noted, and what lives at the
 * same time is found, at a few nodes, however long it lives. */
typedef struct Taken { int size; Parts *whole, *some; } Taken;

/* Nodes that steps first .. last are made of, and, marked as above, those between them and the root. */
typedef struct Node { int at; bool above; } Node;
enum { NODES = 128 };                           /* four a level of at most 31 */

static int nodes_of(const Taken *p, const Item *it, Node *out)
{
    int n = 0, a = p->size + it->first, b = p->size + it->last + 1;
    for (int k = a >> 1; k; k >>= 1)
        out[n++] = (Node){ k, true };
    for (int k = (b - 1) >> 1; k; k >>= 1)
        out[n++] = (Node){ k, true };
    for (; a < b; a >>= 1, b >>= 1) {
        if (a & 1)
            out[n++] = (Node){ a++, false };
        if (b & 1)
            out[n++] = (Node){ --b, false };
    }
    return n;
}

/* The lowest gap among those that live at the same time and have their offsets. */
static void item_fit(Taken *p, Item *it)
{
    Node node[NODES];
    int n = nodes_of(p, it, node), past[NODES] = { 0 };         /* parts that end before it */
    for (bool moved = true; moved;) {
        moved = false;
        for (int k = 0; k < n; k++) {
            const Parts *x = &(node[k].above ? p->whole : p->some)[node[k].at];
            for (; past[k] < x->n && x->of[past[k]].from < it->at + it->bytes; past[k]++)
                if (x->of[past[k]].to > it->at)
                    it->at = x->of[past[k]].to, moved = true;
        }
    }
    for (int k = 0; k < n; k++) {
        parts_add(&p->some[node[k].at], (Part){ it->at, it->at + it->bytes });
        if (!node[k].above)
            parts_add(&p->whole[node[k].at], (Part){ it->at, it->at + it->bytes });
    }
}

static void shift(Plan *p, size_t by)
{
    for (int k = 0; k < p->nslot; k++)
        if (p->slot[k].kind == SLOT_TEMP)
            p->slot[k].offset += by;
    for (int n = 0; n < p->nstep; n++)
        for (int k = 0; k < p->step[n].nbody; k++)
            shift(p->step[n].body[k], by);
}

static void layout(Plan *p)
{
    Item *all = NEWS(Item, p->nslot + p->nstep);
    Taken taken = { .size = 1 };
    int n = 0;
    while (taken.size < p->nstep)
        taken.size *= 2;
    taken.whole = NEWS(Parts, 2 * taken.size), taken.some = NEWS(Parts, 2 * taken.size);
    for (int k = 0; k < p->nslot; k++)
        all[k] = (Item){ .first = -1, .slot = &p->slot[k] };
    for (int s = 0; s < p->nstep; s++) {
        Step *st = &p->step[s];
        for (int k = 0; st->kernel && k < st->kernel->nparam; k++)
            touch(&all[st->kernel->param[k]->slot], s);
        for (int k = 0; k < st->nin; k++)
            touch(&all[st->in[k]], s);
        for (int k = 0; k < st->nout; k++)
            touch(&all[st->out[k]], s);
        for (int k = 0; k < step_pongs(st); k++)
            touch(&all[st->pong[k]], s);
    }
    for (int k = 0; k < p->nslot; k++)          /* room for temporaries that anything touches */
        if (p->slot[k].kind == SLOT_TEMP && all[k].first >= 0 && p->slot[k].bytes) {
            size_t slack = SLACK * dtype_size((Dtype)p->slot[k].dt);
            all[n] = all[k];
            all[n].bytes = (p->slot[k].bytes + slack + PLAN_PAGE - 1) / PLAN_PAGE * PLAN_PAGE;
            all[n].number = n;
            n++;
        }
    for (int s = 0; s < p->nstep; s++) {        /* bodies of one step never run at once: they share */
        Step *st = &p->step[s];
        size_t most = 0;
        for (int k = 0; k < st->nbody; k++) {
            layout(st->body[k]);
            most = st->body[k]->bytes > most ? st->body[k]->bytes : most;
        }
        if (most) {
            all[n] = (Item){ .bytes = most, .first = s, .last = s, .number = n, .step = st };
            n++;
        }
    }
    qsort(all, (size_t)n, sizeof *all, by_size);
    for (int k = 0; k < n; k++) {
        item_fit(&taken, &all[k]);
        if (all[k].slot)
            all[k].slot->offset = all[k].at;
        else
            for (int j = 0; j < all[k].step->nbody; j++)
                shift(all[k].step->body[j], all[k].at);
        if (all[k].at + all[k].bytes > p->bytes)
            p->bytes = all[k].at + all[k].bytes;
    }
}

bool plan_layout(Plan *p)
{
    layout(p);
    shift(p, PLAN_PAGE);                        /* slack in front of the first slot */
    if (p->bytes)
        p->bytes += PLAN_PAGE;
    return !error_pending();
}

/* ==================== what a call costs */

void plan_count(Plan *p)
{
    for (int n = 0; n < p->nstep; n++) {
        const Step *st = &p->step[n];
        double most = 0, sum = 0, launches = 0;
        if (st->kernel) {
            p->work += st->kernel->work;
            p->launches++;
            p->nkernel++;
        }
        for (int k = 0; k < st->nbody; k++) {
            Plan *body = st->body[k];
            plan_count(body);
            p->nkernel += body->nkernel;
            sum += body->work;
            most = body->work > most ? body->work : most;
            launches += body->launches;
        }
        bool turns = st->kind == S_LOOP || st->kind == S_EXCHANGE;
        p->launches += launches * (turns ? (double)st->trip : st->kind == S_WHILE ? TURNS : 1);
        p->work += turns ? most * (double)st->trip : st->kind == S_WHILE ? sum * TURNS : most;
    }
}

/* ==================== text */

static void print_slots(Text *t, const Plan *p, const char *word, const int *slot, int n)
{
    text_add(t, " %s", word);
    for (int k = 0; k < n; k++)
        text_add(t, "%s%s", k ? " " : "(", p->slot[slot[k]].name);
    text_add(t, n ? ")" : "()");
}

static void print_plan(const Plan *p, Text *t, int pad)
{
    static const char *const kinds[] = { "argument", "result", "temporary", "constant" };
    static const char *const steps[] = { "launch", "loop", "while", "branch", "copy", "exchange", "host" };
    for (int k = 0; k < p->nslot; k++) {
        const Slot *s = &p->slot[k];
        text_char(t, ' ', pad);
        text_add(t, "slot %-6s %s[%lld] %s", s->name, dtype_name(s->dt), (long long)s->size, kinds[s->kind]);
        if (s->kind == SLOT_TEMP)
            text_add(t, " at %zu", s->offset);
        else if (s->kind != SLOT_CONST)
            text_add(t, " %d", s->index);
        text_add(t, "\n");
    }
    for (int k = 0; k < p->nresult; k++)
        if (p->alias[k] != -1) {
            text_char(t, ' ', pad);
            text_add(t, "result %d is %s %d\n", k, p->alias[k] >= 0 ? "argument" : "result",
                     p->alias[k] >= 0 ? p->alias[k] : -2 - p->alias[k]);
        }
    for (int n = 0; n < p->nstep; n++) {
        const Step *s = &p->step[n];
        text_char(t, ' ', pad);
        text_add(t, "%s %s", steps[s->kind], s->kernel ? s->kernel->name : s->note ? s->note : "");
        if (s->kernel) {
            text_add(t, " %s\n", s->note ? s->note : "");
            continue;
        }
        if (s->kind == S_LOOP)
            text_add(t, " %lld times%s", (long long)s->trip, s->reverse ? " backwards" : "");
        print_slots(t, p, "in", s->in, s->nin);
        print_slots(t, p, "out", s->out, s->nout);
        text_add(t, "\n");
        for (int k = 0; k < s->nbody; k++) {
            text_char(t, ' ', pad + 4);
            text_add(t, "body %d\n", k);
            print_plan(s->body[k], t, pad + 8);
        }
    }
}

void plan_print(const Plan *p, Text *t)
{
    text_add(t, "plan: %d arguments, %d results, %d kernels, %zu bytes, about %.2g cycles\n", p->narg,
        p->nresult, p->nkernel, p->bytes, p->work);
    print_plan(p, t, 4);
}

static void collect(const Plan *p, Kernel ***list, int *n, int *cap)
{
    for (int s = 0; s < p->nstep; s++) {
        if (p->step[s].kernel)
            PUSH(*list, *n, *cap, p->step[s].kernel);
        for (int k = 0; k < p->step[s].nbody; k++)
            collect(p->step[s].body[k], list, n, cap);
    }
}

void plan_kernels(const Plan *p, Kernel ***list, int *n)
{
    int cap = 0;
    *list = NULL;
    *n = 0;
    collect(p, list, n, &cap);
}

typedef struct Hash2 { uint64_t h[2]; } Hash2;

static void code_of(Kernel *k)
{
    Text t = { 0 };
    k_dump_plain(k, &t);
    for (int i = 0; i < 2; i++)
        k->code[i] = hash_bytes(t.s, t.n, 1 + (uint64_t)i);
    text_free(&t);
}

/* Kernels of the same text are one: a long chain that was cut repeats itself. */
void plan_code(const Plan *p, Kernel ***list, int *n)
{
    Kernel **all, **open;
    int count, slots = 64;
    plan_kernels(p, &all, &count);
    while (slots < 2 * count)
        slots *= 2;
    open = NEWS(Kernel *, slots);
    Hash2 *key = NEWS(Hash2, slots);
    *list = NEWS(Kernel *, count);
    *n = 0;
    for (int k = 0; k < count; k++) {
        if (all[k]->nins)                       /* else it was read back, and has nothing but its code */
            code_of(all[k]);
        const Hash2 h = { { all[k]->code[0], all[k]->code[1] } };
        int at = (int)(h.h[0] % (uint64_t)slots);
        while (open[at] && memcmp(&key[at], &h, sizeof h))
            at = (at + 1) % slots;
        if (!open[at]) {
            key[at] = h;
            open[at] = (*list)[*n] = all[k];
            all[k]->id = (*n)++;
        }
        all[k]->id = open[at]->id;
    }
}
