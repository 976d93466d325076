/*
 * without.c - a graph without values of dtypes that devices do not have: what the lowerings of keys, complex
 * numbers and what is for storage share.
 *
 * In: a graph, which dtypes are lacking, what their types and instructions become. Out: one without them,
 * the bodies of its regions too; the graph itself where there are none.
 */
#include "transforms.h"

static bool met(const Graph *g, const Lacking *l)
{
    for (Ref v = 1; v < (Ref)g->nval; v++)
        if (l->is((Dtype)g->type[v].dt))
            return true;
    for (int n = 0; n < g->nins; n++)
        for (int k = 0; k < g->ins[n]->nsub; k++)
            if (met(g->ins[n]->sub[k], l))
                return true;
    return false;
}

/* Is any operand or result of such a dtype? */
static bool concerned(const Graph *g, const Lacking *l, const Ins *i)
{
    for (int k = 0; k < i->nin; k++)
        if (l->is((Dtype)g->type[i->in[k]].dt))
            return true;
    for (int k = 0; k < i->nout; k++)
        if (l->is((Dtype)g->type[i->out + (Ref)k].dt))
            return true;
    return false;
}

static void region(const Lacking *l, const Ins *i, const Ref *x, Ref *out)
{
    Draft f = draft_of(i->region, i->nin, x, i->nsub, i->sub);
    for (int k = 0; k < i->nsub; k++)
        f.sub[k] = graph_without(i->sub[k], l);
    if (!error_pending())
        draft_emit(&f, out);
}

typedef struct Without { const Graph *g; const Lacking *l; } Without;

static void without(const Ins *i, const Ref *x, Ref *out, void *env)
{
    const Without *w = env;
    if (i->op == OP_region)
        region(w->l, i, x, out);
    else if (concerned(w->g, w->l, i))
        w->l->ins(w->g, i, x, out);
    else
        again(i, x, out);
}

Graph *graph_without(const Graph *g, const Lacking *l)
{
    if (!met(g, l))
        return (Graph *)(uintptr_t)g;
    Ref *map = NEWS(Ref, g->nval);
    Graph *h = graph_begin(graph_new());
    h->ncap = g->ncap, h->name = g->name;
    for (int k = 0; k < g->nin; k++)
        map[g->in[k]] = graph_input(l->as(&g->type[g->in[k]]), g->flag[g->in[k]] & V_ACC);
    graph_map_ins(g, map, without, &(Without){ g, l });
    graph_map_end(g, map);
    return error_pending() ? NULL : graph_dce(h);
}
