/*
 * walk.c - the one walk from an element to what it needs.
 *
 * In:  an element of a value. Out: calls of visit, for each element on the way once, operands after users,
 * in their order. It is no recursion, which would be as deep as a chain is long.
 */
#include "demand.h"

static void add(Todos *s, const Visit *x, Ref v, const Form *idx)
{
    todo_add(s, (Todo){ .v = v, .idx = idx, .tag = x->tag, .loops = x->loops });
}

/* The first operand is on top, then what its index is computed from. */
static void operands(const DemandWalk *w, Todos *s, Visit *x)
{
    const Atom **e;
    visit_demands(w, x);
    for (int k = x->n - 1; k >= 0; k--) {
        for (int j = (w->computed ? elems_of(x->d[k].idx, x->d[k].n, &e) : 0) - 1; j >= 0; j--)
            add(s, x, e[j]->v, e[j]->idx);
        add(s, x, x->d[k].v, x->d[k].idx);
    }
}

void visit_demands(const DemandWalk *w, Visit *x)
{
    if (x->n < 0)
        x->n = demands_of(w->g, x->v, x->idx, &x->d, &x->ks, &x->nk);
}

bool demand_walk(DemandWalk *w, Ref v, const Form *idx, int tag, const Vars *loops)
{
    Todos s = { 0 };
    todo_add(&s, (Todo){ .v = v, .idx = idx, .tag = tag, .loops = loops });
    for (Todo t; todo_next(&s, &t);) {
        Visit x = { .v = t.v,
            .idx = t.idx,
            .key = idx_of(t.idx, w->g->type[t.v].rank),
            .i = w->g->def[t.v],
            .tag = t.tag,
            .n = -1 };
        x.loops = t.loops ? vars_upto(t.loops, x.key->deps) : NULL;
        if (!seen_add(&w->seen, t.v, PTR(x.key), PTR(x.loops), (uint64_t)t.tag))
            continue;
        switch (w->visit(w, &x)) {
        case WALK_INTO: operands(w, &s, &x); break;
        case WALK_PAST: break;
        case WALK_DONE: return true;
        }
    }
    return false;
}
