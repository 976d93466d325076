/*
 * closure.c - functions that hold symbols, asked after the traces of those symbols have ended.
 *
 * In:  functions that end with a trace, while it is open. Out: a record of what they are made of, and of
 *      every symbol in their bytes; those are captures of whoever keeps the record.
 * A rule is traced when a transform asks for it, which may be long after. Then for each trace whose symbols
 * were held one with the same number is opened, in which those symbols are values again, the functions are
 * made again from their bytes, and what they capture is found by the symbol. So nothing in the bytes is
 * changed or guessed: eight bytes that only look like a symbol are one capture too many, which nobody reads.
 */
#include "api.h"
#include <string.h>

/* A function that ends with its trace, as parts; or one that lives on. */
typedef struct Frozen {
    hd_fn *alive;
    FnKey key;
    void *env;
    size_t size;
    const char *text;
    const struct Frozen *part[4]; /* inner, rule, bwd, push */
} Frozen;

/* A symbol, and the number of its capture or, of a node, its parts. depth: of its trace, from the
 * outermost. */
typedef struct Held {
    hd sym;
    int depth;
    Type type;
    int cap;
    const Tree *tree;
    hd *part;
} Held;

struct Closure {
    const Frozen *f[3];
    Held *held;
    int n, room;
};

/* ==================== what functions hold */

static int depth_of(const Trace *t)
{
    int n = 0;
    for (; t->up; t = t->up)
        n++;
    return n;
}

static void hold(Closure *c, hd x, CapSet *s)
{
    const Trace *t = sym_holder(x);
    if (!t)
        return;
    for (int k = 0; k < c->n; k++)
        if (c->held[k].sym.trace == x.trace && c->held[k].sym.ref == x.ref)
            return;
    const Node *d = sym_node(x, t);
    Held h = { .sym = x, .depth = depth_of(t), .cap = -1 };
    if (d)
        h.tree = d->tree, h.part = d->part;
    else
        h.type = t->g->type[x.ref], h.cap = cap_add(s, &(Cap){ .sym = x, .type = h.type });
    PUSH(c->held, c->n, c->room, h);
    for (int k = 0; d && d->part && k < d->tree->n; k++)
        hold(c, d->part[k], s);
}

static const Frozen *freeze(Closure *c, hd_fn *f, CapSet *s)
{
    Frozen *z = NEW(Frozen);
    hd_fn *const part[] = { f->key.inner, f->key.rule, f->key.bwd, f->key.push };
    if (!f->key.owner) {
        z->alive = f, f->rules = true; /* where it is forgotten, this is noticed */
        return z;
    }
    *z = (Frozen){ .key = f->key, .env = arena_copy(f->env, f->size), .size = f->size, .text = f->text };
    for (int k = 0; k < 4; k++)
        z->part[k] = part[k] ? freeze(c, part[k], s) : NULL;
    for (size_t at = 0; at + sizeof(hd) <= f->size; at += sizeof(uint32_t)) {
        hd x;
        memcpy(&x, (const char *)f->env + at, sizeof x);
        hold(c, x, s);
    }
    return z;
}

Closure *closure_of(hd_fn *const f[3], CapSet *s)
{
    Closure *c = NEW(Closure);
    for (int k = 0; k < 3; k++)
        c->f[k] = f[k] ? freeze(c, f[k], s) : NULL;
    return c;
}

/* ==================== keeping it */

static const Frozen *frozen_copy(const Frozen *f)
{
    if (!f)
        return NULL;
    Frozen *z = arena_copy(f, sizeof *f);
    z->env = arena_copy(f->env, f->size);
    for (int k = 0; k < 4; k++)
        z->part[k] = frozen_copy(f->part[k]);
    return z;
}

Closure *closure_copy(const Closure *c)
{
    if (!c)
        return NULL;
    Closure *d = arena_copy(c, sizeof *c);
    d->held = arena_copy(c->held, (size_t)c->n * sizeof *c->held), d->room = c->n;
    for (int k = 0; k < 3; k++)
        d->f[k] = frozen_copy(c->f[k]);
    for (int k = 0; k < c->n; k++) {
        Held *h = &d->held[k];
        h->part = h->part ? arena_copy(h->part, (size_t)h->tree->n * sizeof *h->part) : NULL;
        h->tree = h->tree ? tree_copy(h->tree) : NULL;
    }
    return d;
}

static bool frozen_dead(const Frozen *f)
{
    bool dead = f && f->alive && f->alive->dead;
    for (int k = 0; f && k < 4; k++)
        dead |= f->part[k] && frozen_dead(f->part[k]);
    return dead;
}

bool closure_dead(const Closure *c)
{
    bool dead = false;
    for (int k = 0; c && k < 3; k++)
        dead |= frozen_dead(c->f[k]);
    return dead;
}

/* ==================== asking it */

/* Bytes that are one of the functions this was made of are the one made now. */
static void point_anew(char *env, size_t size, const hd_fn *before, const hd_fn *now)
{
    for (size_t at = 0; before && at + sizeof before <= size; at += sizeof before)
        if (!memcmp(env + at, &before, sizeof before))
            memcpy(env + at, &now, sizeof now);
}

static hd_fn *thaw(const Frozen *f)
{
    if (f->alive)
        return fn_ended(f->alive) ? NULL : f->alive;
    FnKey k = f->key;
    hd_fn **part[] = { &k.inner, &k.rule, &k.bwd, &k.push };
    char *env = arena_copy(f->env, f->size);
    for (int i = 0; i < 4; i++) {
        hd_fn *before = *part[i];
        if (f->part[i] && !(*part[i] = thaw(f->part[i])))
            return NULL;
        point_anew(env, f->size, before, *part[i]);
    }
    k.owner = trace_top->owner;
    return fn_make(&k, env, f->size, f->text);
}

/* The values and nodes of a trace that has ended, as far as they are held. */
static void open_again(Trace *t, const Closure *c, uint32_t serial)
{
    uint32_t values = 1, nodes = 0;
    for (int k = 0; k < c->n; k++) {
        const Held *h = &c->held[k];
        uint32_t at = (h->sym.ref & ~SYM_NODE) + 1, *most = h->tree ? &nodes : &values;
        if (h->sym.trace == serial)
            *most = at > *most ? at : *most;
    }
    const Held **of = NEWS(const Held *, values);
    trace_again(t, serial);
    t->node = NEWS(Node, nodes), t->nnode = t->node_cap = (int)nodes;
    for (uint32_t k = 0; k < nodes; k++)
        t->node[k].tree = tree_nil();
    for (int k = 0; k < c->n; k++) {
        const Held *h = &c->held[k];
        if (h->sym.trace == serial && h->tree)
            t->node[h->sym.ref & ~SYM_NODE] = (Node){ h->tree, h->part };
        else if (h->sym.trace == serial)
            of[h->sym.ref] = h;
    }
    graph_begin(t->g);
    for (uint32_t v = 1; v < values; v++)
        graph_value(of[v] ? of[v]->type : type_scalar(DT_F32), 0);
    graph_end();
}

/* The capture that a symbol of the innermost of these traces is; -1: none of what is held. */
static int held_as(const Closure *c, const Trace *t, hd x)
{
    for (int k = 0; k < c->n; k++)
        if (c->held[k].cap >= 0 && c->held[k].sym.trace == x.trace && c->held[k].sym.ref == x.ref)
            return c->held[k].cap;
    for (int k = 0; t && k < t->caps.n; k++)
        if (t->capref[k] == x.ref && x.trace == t->serial && !t->caps.cap[k].data)
            return held_as(c, t->up, t->caps.cap[k].sym);
    return -1;
}

bool closure_has(const Closure *c, int which) { return c->f[which] != NULL; }

hd closure_sym(int capture) { return (hd){ UINT32_MAX, (uint32_t)capture + 1 }; }

/* Opens a trace for each that something is held of, from the outermost, or else one for the functions. */
static int open_all(const Closure *c, Trace **open)
{
    int n = 0, left = c->n;
    for (int depth = 0; left; depth++) {
        const Held *one = NULL;
        for (int k = 0; k < c->n; k++)
            if (c->held[k].depth == depth)
                one = &c->held[k], left--;
        if (one)
            open_again(open[n++] = NEW(Trace), c, one->sym.trace);
    }
    if (!n)
        trace_again(open[n++] = NEW(Trace), 0);
    return n;
}

const Traced *closure_traced(const Closure *c, int which, const Tree *args)
{
    Trace *before = trace_top, **open = NEWS(Trace *, c->n + 1);
    trace_top = NULL;
    int n = open_all(c, open);
    hd_fn *f = thaw(c->f[which]);
    const Traced *t = f ? graph_of(f, args) : NULL;
    Traced *u = t ? arena_copy(t, sizeof *t) : NULL;
    Cap *cap = t ? arena_copy(t->cap, (size_t)t->ncap * sizeof *t->cap) : NULL;
    for (int k = 0; t && k < t->ncap; k++)
        if (!cap[k].data) {
            int at = held_as(c, trace_top, cap[k].sym);
            cap[k].sym = at < 0 ? HD_NIL : closure_sym(at);
        }
    while (n)
        trace_over(open[--n]);
    trace_top = before;
    if (u)
        u->cap = cap;
    return u;
}
