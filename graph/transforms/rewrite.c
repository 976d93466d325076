/*
 * rewrite.c - a graph again, instruction by instruction: each is emitted as a function says, on what its
 * operands became.
 */
#include "transforms.h"

void rewrite_ins(const Graph *g, Ref *map, Rewrite *f, void *env)
{
    Ref *x = NEWS(Ref, graph_width(g).nin);
    Loc before = loc_here();
    for (int n = 0; n < g->nins && !error_pending(); n++) {
        const Ins *i = g->ins[n];
        for (int k = 0; k < i->nin; k++)
            x[k] = map[i->in[k]];
        loc_set(i->loc);
        f(i, x, map + i->out, env);
    }
    loc_set(before);
}

Graph *rewrite_end(const Graph *g, const Ref *map)
{
    Ref *out = NEWS(Ref, g->nout);
    for (int k = 0; k < g->nout; k++)
        out[k] = map[g->out[k]];
    graph_outputs(out, g->nout);
    return graph_end();
}

Graph *graph_rewrite(const Graph *g, Rewrite *f, void *env)
{
    Ref *map = NEWS(Ref, g->nval);
    Graph *h = graph_begin(graph_new());
    h->ncap = g->ncap, h->name = g->name;
    for (int k = 0; k < g->nin; k++)
        map[g->in[k]] = input_like(g, k, g->flag[g->in[k]] & V_ACC);
    rewrite_ins(g, map, f, env);
    rewrite_end(g, map);
    return error_pending() ? NULL : h;
}
