/*
 * elements.c - loops written on scalars, and lifted over the elements of arrays, each of which has its own
 * count of steps.
 *
 * In:  functions that emit what is done to one element.   Out: regions, with the elements as lanes.
 */
#include "graph.h"
#include <string.h>

enum { MOST = 24 };                             /* operands of a loop */

/* g of scalars, for every element. */
static void over_lanes(const Graph *g, const Ref *x, Ints shape, Ref *y)
{
    Type all = type_of(DT_F32, shape.n, shape.v);
    int64_t lanes = type_size(&all);
    Ref *V = NEWS(Ref, g->nval);
    uint8_t *S = NEWS(uint8_t, g->nval);
    for (int k = 0; k < g->nin; k++) {
        bool own = typ(x[k])->rank > 0;
        V[g->in[k]] = own ? Reshape(x[k], (Ints){ 1, { lanes } }) : x[k],
        S[g->in[k]] = own ? STACKED : SHARED;
    }
    batch_into(g, V, S, &(Axis){ { .size = lanes }, 0 }, false);
    for (int k = 0; k < g->nout; k++)
        y[k] = error_pending() ? 0 : Reshape(stacked(V[g->out[k]], S[g->out[k]], lanes), shape);
}

/* A function, its operands and its results, with their lengths: hence the parameters. */
void each_element(ScalarFn *f, const void *env, int n, const Ref *x, Ints shape, int ny, Ref *y)
{
    Type type[MOST];
    Ref in[MOST];
    memset(y, 0, sizeof *y * (size_t)ny);
    for (int k = 0; k < n; k++) {
        if (!x[k])
            return;
        type[k] = *typ(x[k]);
    }
    if (!shape.n) {
        f(x, y, env);
        return;
    }
    graph_begin(graph_new());
    for (int k = 0; k < n; k++)
        in[k] = graph_input(type_scalar((Dtype)type[k].dt), 0);
    f(in, y, env);
    graph_outputs(y, ny);
    Graph *g = graph_end();
    if (!error_pending())
        over_lanes(g, x, shape, y);
}

static Graph *body(StepFn *f, int n, const Type *type, int nout)
{
    Ref in[MOST], out[MOST] = { 0 };
    graph_begin(graph_new());
    for (int k = 0; k < n; k++)
        in[k] = graph_input(type[k], 0);
    f(in, out);
    graph_outputs(out, nout);
    return graph_end();
}

void loop_while(StepFn *more, StepFn *step, int ncap, int ncarry, const Ref *x, Ref *out)
{
    Type type[MOST];
    memset(out, 0, sizeof *out * (size_t)ncarry);
    for (int k = 0; k < ncap + ncarry; k++) {
        if (!x[k])
            return;
        type[k] = *typ(x[k]);
    }
    Graph *sub[2] = { body(more, ncap + ncarry, type, 1), body(step, ncap + ncarry, type, ncarry) };
    Region r = region_plain(WHILE, ncap, 0, ncarry);
    if (!error_pending())
        emit_region(&r, ncap + ncarry, x, 2, sub, out);
}
