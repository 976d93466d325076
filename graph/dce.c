/*
 * dce.c - what is needed of a graph, and the graph without the rest.
 *
 * In: a closed graph, which inputs and outputs are wanted. Out: a new one, its instructions in depth-first
 * order from the effects and the exchanges of shards, which keep their order and are never dead, and from
 * the outputs, operands in order. So the result does not depend on the order in which C evaluated the user's
 * arguments, nor on anything that is dead; dumps, cache keys and schedules start from here. Unlike devices
 * rewrite the program of a shard unlike, and yet come to the same exchanges in one order.
 * Order needs no more than operands: an accumulator is used once, so what adds to it is in one chain.
 */
#include "graph.h"

#include <string.h>

/* All shards come to an exchange, though what one's own graph has become needs nothing of it. */
static bool never_dead(const Ins *i) { return ins_effect(i) || ins_ordered(i); }

void graph_live(const Graph *g, const bool *outs, bool *live)
{
    memset(live, 0, (size_t)g->nval * sizeof *live);
    for (int k = 0; k < g->nout; k++)
        live[g->out[k]] |= !outs || outs[k];
    for (int n = g->nins - 1; n >= 0; n--) {
        const Ins *i = g->ins[n];
        bool any = never_dead(i);
        for (int k = 0; k < i->nout; k++)
            any |= live[i->out + (Ref)k];
        if (!any)
            continue;
        /* of what it ties together, what is needed */
        const bool *in = i->op == OP_barrier ? live + i->out : NULL;
        if (i->op == OP_region) {
            bool *res = arena_copy(live + i->out, i->nout * sizeof *res), *needed = NEWS(bool, i->nin);
            region_live(i->region, i->nin, i->nsub, i->sub, res, needed);
            in = needed;
        }
        for (int k = 0; k < i->nin; k++)
            live[i->in[k]] |= !in || in[k];
    }
}

/* An instruction whose operands are being visited. */
typedef struct Visit {
    const Ins *i;
    int next;
    /* of a region or a barrier: what is left of it */
    Region region; Graph **body; bool *in, *res;
} Visit;

typedef struct Walk {
    const Graph *g;
    const bool *live;
    bool *seen;                                 /* by first result */
    Ref *m;                                     /* value of g -> value of the new graph */
    bool deep;                                  /* bodies too are brought in order */
    Visit *stack; int depth, cap;
} Walk;

static Graph *restricted(const Graph *, const bool *keep_in, const bool *keep_out, bool deep);

static void visit(Walk *w, Ref v)
{
    const Ins *i = w->g->def[v];
    if (!i || w->seen[i->out])
        return;
    w->seen[i->out] = true;
    Visit e = { .i = i };
    if (i->op == OP_barrier || i->op == OP_region)
        e.in = e.res = arena_copy(w->live + i->out, i->nout * sizeof *e.res);
    if (i->op == OP_region) {
        e.body = NEWS(Graph *, i->nsub);
        e.in = NEWS(bool, i->nin);
        region_restrict(i->region, i->nin, i->nsub, i->sub, e.res, e.in, &e.region, e.body);
        for (int k = 0; w->deep && k < i->nsub; k++)
            e.body[k] = restricted(e.body[k], NULL, NULL, true);
    }
    PUSH(w->stack, w->depth, w->cap, e);
}

/* A region or a barrier without what nobody needs. */
static void leave_part(Walk *w, const Visit *e)
{
    const Ins *i = e->i;
    Ref *x = NEWS(Ref, i->nin), *out = NEWS(Ref, i->nout);
    int n = 0;
    for (int k = 0; k < i->nin; k++)
        if (e->in[k])
            x[n++] = w->m[i->in[k]];
    Loc before = loc_set(i->loc);
    if (i->op == OP_barrier)
        Barrier(x, n, out);
    else
        append_region(&e->region, n, x, i->nsub, e->body, out);
    loc_set(before);
    n = 0;
    for (int k = 0; k < i->nout; k++)
        if (e->res[k])
            w->m[i->out + (Ref)k] = out[n++];
}

static void leave(Walk *w, const Visit *e)
{
    const Ins *i = e->i;
    if (i->op == OP_region || i->op == OP_barrier) {
        leave_part(w, e);
        return;
    }
    Ref *x = NEWS(Ref, i->nin);
    for (int k = 0; k < i->nin; k++)
        x[k] = w->m[i->in[k]];
    again(i, x, &w->m[i->out]);
}

static void walk(Walk *w, Ref from)
{
    visit(w, from);
    while (w->depth) {
        Visit *e = &w->stack[w->depth - 1];
        if (e->next < e->i->nin) {
            int k = e->next++;
            if (!e->in || e->in[k])
                visit(w, e->i->in[k]);
        } else {
            Visit done = *e;
            w->depth--;
            leave(w, &done);
        }
    }
}

static Graph *restricted(const Graph *g, const bool *keep_in, const bool *keep_out, bool deep)
{
    Graph *h = graph_begin(graph_new());
    bool *live = NEWS(bool, g->nval);
    Walk w = { .g = g, .live = live, .seen = NEWS(bool, g->nval), .m = NEWS(Ref, g->nval), .deep = deep };
    graph_live(g, keep_out, live);
    h->name = g->name;
    for (int k = 0; k < g->nin; k++)
        if (!keep_in || keep_in[k]) {
            w.m[g->in[k]] = graph_input(g->type[g->in[k]], g->flag[g->in[k]]);
            h->ncap += k < g->ncap;
        }
    for (int n = 0; n < g->nins; n++)
        if (never_dead(g->ins[n]))
            walk(&w, g->ins[n]->out);
    Ref *out = NEWS(Ref, g->nout);
    int n = 0;
    for (int k = 0; k < g->nout; k++)
        if (!keep_out || keep_out[k]) {
            walk(&w, g->out[k]);
            out[n++] = w.m[g->out[k]];
        }
    graph_outputs(out, n);
    h->linear = g->linear;
    return graph_end();
}

Graph *graph_restrict(const Graph *g, const bool *keep_in, const bool *keep_out)
{
    return restricted(g, keep_in, keep_out, false);
}

Graph *graph_dce(const Graph *g) { return restricted(g, NULL, NULL, true); }

/* ==================== looking for something */

const Ins *graph_find(const Graph *g, bool (*is)(const Ins *))
{
    const Ins *found = NULL;
    for (int n = 0; n < g->nins && !found; n++) {
        const Ins *i = g->ins[n];
        found = is(i) ? i : NULL;
        for (int k = 0; k < i->nsub && !found; k++)
            found = graph_find(i->sub[k], is);
    }
    return found;
}
