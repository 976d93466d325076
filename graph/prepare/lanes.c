/*
 * lanes.c - a graph that is written for one element becomes a region, and lanes are put around it, as vmap
 * makes a batch of a function.
 */
#include "lanes.h"

static Ref one_more(Ref x)
{
    Type once = type_add_lead(typ(x), 1);
    return Reshape(x, type_shape(&once));
}

/* Operands are what the turn reads, and results are its carry, so that nothing is reshaped after it; it
 * begins as zeros, which nothing reads. */
Graph *one_turn(const Graph *g)
{
    int n = g->nin, m = g->nout;
    Ref *x = NEWS(Ref, n + m), *y = NEWS(Ref, m), *in = NEWS(Ref, n);
    graph_begin(graph_new());
    for (int k = 0; k < m; k++)
        graph_input(g->type[g->out[k]], 0);
    for (int k = 0; k < n; k++)
        in[k] = graph_input(g->type[g->in[k]], 0);
    graph_inline(g, in, y);
    graph_outputs(y, m);
    Graph *body = graph_end();
    graph_begin(graph_new());
    for (int k = 0; k < n; k++)
        x[m + k] = one_more(graph_input(g->type[g->in[k]], 0));
    for (int k = 0; k < m; k++)
        x[k] = Zeros(&g->type[g->out[k]]);
    Region r = region_plain(SCAN, 0, 0, m);
    r.length = 1;
    if (!error_pending())
        emit_region(&r, n + m, x, 1, &body, y);
    graph_outputs(y, m);
    return graph_end();
}

Graph *over_lanes(const Graph *g, int64_t lanes, const bool *shared)
{
    Ref *V = NEWS(Ref, g->nval), *out = NEWS(Ref, g->nout);
    uint8_t *S = NEWS(uint8_t, g->nval);
    graph_begin(graph_new());
    for (int k = 0; k < g->nin; k++) {
        Type t = g->type[g->in[k]];
        bool one = shared && shared[k];
        V[g->in[k]] = graph_input(one ? t : type_add_lead(&t, lanes), 0);
        S[g->in[k]] = one ? SHARED : STACKED;
    }
    batch_into(g, V, S, &(Axis){ { .size = lanes }, 0 }, false);
    for (int k = 0; k < g->nout; k++)
        out[k] = stacked(V[g->out[k]], S[g->out[k]], lanes);
    graph_outputs(out, g->nout);
    return graph_end();
}
