/*
 * graph_map.c - a graph made anew: each instruction is emitted as a function says, on what its operands
 * became.
 */
#include "graph_map.h"

Width graph_width(const Graph *g)
{
    Width w = { 1, 1 };
    for (int n = 0; n < g->nins; n++) {
        const Ins *i = g->ins[n];
        w.nin = i->nin > w.nin ? i->nin : w.nin;
        w.nout = i->nout > w.nout ? i->nout : w.nout;
    }
    return w;
}

Ref input_like(const Graph *g, int k, uint8_t flags)
{
    return graph_input(g->type[g->in[k]], flags);
}

void graph_map_same(const Ins *i, const Ref *x, Ref *out, void *none)
{
    (void)none;
    again(i, x, out);
}

/* through: errors are no matter, since what they leave is 0 and passes through. */
static void each(const Graph *g, Ref *map, MapIns *f, void *env, bool through)
{
    Ref *x = NEWS(Ref, graph_width(g).nin);
    Loc before = loc_here();
    for (int n = 0; n < g->nins && (through || !error_pending()); n++) {
        const Ins *i = g->ins[n];
        for (int k = 0; k < i->nin; k++)
            x[k] = map[i->in[k]];
        loc_set(i->loc.file ? i->loc : before);
        f(i, x, map + i->out, env);
    }
    loc_set(before);
}

void graph_map_ins(const Graph *g, Ref *map, MapIns *f, void *env) { each(g, map, f, env, false); }

Graph *graph_map_begin(const Graph *g, Ref *map, uint8_t flags)
{
    Graph *h = graph_begin(graph_new());
    h->linear = g->linear && flags & V_LIN;
    for (int k = 0; k < g->nin; k++)
        map[g->in[k]] = input_like(g, k, g->flag[g->in[k]] & flags);
    return h;
}

Graph *graph_map_end(const Graph *g, const Ref *map)
{
    Ref *out = NEWS(Ref, g->nout);
    for (int k = 0; k < g->nout; k++)
        out[k] = map[g->out[k]];
    graph_outputs(out, g->nout);
    return graph_end();
}

Graph *graph_map(const Graph *g, MapIns *f, void *env)
{
    Ref *map = NEWS(Ref, g->nval);
    Graph *h = graph_map_begin(g, map, V_ACC);
    h->ncap = g->ncap, h->name = g->name;
    graph_map_ins(g, map, f, env);
    graph_map_end(g, map);
    return error_pending() ? NULL : h;
}

void graph_inline(const Graph *g, const Ref *args, Ref *out)
{
    Ref *map = NEWS(Ref, g->nval);
    for (int k = 0; k < g->nin; k++)
        map[g->in[k]] = args[k];
    each(g, map, graph_map_same, NULL, true);
    for (int k = 0; k < g->nout; k++)
        out[k] = map[g->out[k]];
}
