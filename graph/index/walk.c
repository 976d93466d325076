/*
 * walk.c - the one walk from an element to what it needs.
 *
 * In:  an element of a value, or a value. Out: calls of visit, for each one on the way once, operands after
 * users, in their order; calls of leave, users after operands. It is no recursion, which would be as deep as
 * a chain is long.
 */
#include "demand.h"

/* What is still to be looked at, the next one on top. left: all that it needs has been. */
typedef struct Todo { Visit x; bool left; } Todo;

static void push(DemandWalk *w, Visit x, bool left)
{
    PUSH(w->todo, w->ntodo, w->todo_cap, (Todo){ x, left });
}

void walk_to(DemandWalk *w, const Visit *like, Ref v, const Form *idx)
{
    Visit x = { .v = v, .idx = idx, .g = like->g, .fr = like->fr, .tag = like->tag, .loops = like->loops };
    push(w, x, false);
}

/* The first operand is on top, then what its index is computed from. */
static void operands(DemandWalk *w, Visit *x)
{
    const Atom **e;
    for (int k = x->idx ? 0 : x->i ? x->i->nin : 0; k-- > 0;)
        walk_to(w, x, x->i->in[k], NULL);
    if (!x->idx)
        return;
    visit_demands(x);
    for (int k = x->n - 1; k >= 0; k--) {
        for (int j = (w->computed ? elems_of(x->d[k].idx, x->d[k].n, &e) : 0) - 1; j >= 0; j--)
            if (e[j]->g == x->g)
                walk_to(w, x, e[j]->v, e[j]->idx);
        walk_to(w, x, x->d[k].v, x->d[k].idx);
    }
}

void visit_demands(Visit *x)
{
    if (!x->known)
        x->n = demands_of(x->g, x->v, x->idx, &x->d, &x->ks, &x->nk);
    x->known = true;
}

static uint64_t what(const Visit *x, int tag) { return x->v | (uint64_t)(uint32_t)tag << 32; }

bool walk_met(const DemandWalk *w, const Visit *x, int tag)
{
    return seen_has(&w->seen, what(x, tag), PTR(x->key), PTR(x->loops), PTR(x->fr));
}

/* Fills in what a visit knows; false: it has been. */
static bool meet(DemandWalk *w, Visit *x)
{
    x->i = x->g->def[x->v];
    if (x->idx) {
        x->key = idx_of(x->idx, x->g->type[x->v].rank);
        x->idx = x->key->f;
        x->loops = x->loops ? vars_upto(x->loops, x->key->deps) : NULL;
    }
    return seen_add(&w->seen, what(x, x->tag), PTR(x->key), PTR(x->loops), PTR(x->fr));
}

static bool walk(DemandWalk *w, Visit start)
{
    int base = w->ntodo;
    push(w, start, false);
    while (w->ntodo > base) {
        Todo t = w->todo[--w->ntodo];
        if (t.left) {
            w->leave(w, &t.x);
            continue;
        }
        if (!meet(w, &t.x))
            continue;
        switch (w->visit(w, &t.x)) {
        case WALK_INTO:
            if (w->leave)
                push(w, t.x, true);
            operands(w, &t.x);
            break;
        case WALK_PAST: break;
        case WALK_DONE: w->ntodo = base; return true;
        }
    }
    return false;
}

DemandWalk *walk_anew(DemandWalk *w, DemandWalk like)
{
    like.seen = w->seen, like.todo = w->todo, like.todo_cap = w->todo_cap;
    seen_clear(&like.seen);
    *w = like;
    return w;
}

bool demand_walk(DemandWalk *w, Ref v, const Form *idx, int tag, const Vars *loops)
{
    return walk(w, (Visit){ .v = v, .idx = idx, .g = w->g, .fr = w->fr, .tag = tag, .loops = loops });
}

bool value_walk(DemandWalk *w, Ref v) { return walk(w, (Visit){ .v = v, .g = w->g, .fr = w->fr }); }
