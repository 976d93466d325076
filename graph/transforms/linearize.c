/*
 * linearize.c - a derivative cut in two: what does not depend on tangents, once, and a linear function of
 * tangents.
 *
 * In:  a graph. Out: one that computes it and the residuals, and one that is linear, from residuals and
 * tangents. As in reverse mode the jvp goes into a graph that is marked `linear`, where each instruction
 * depends on a tangent or does not. Residuals are what linear instructions read of the others; but not
 * constants, nor views, of which the smaller thing that is seen is kept, nor cheap functions of what is kept
 * anyway.
 */
#include "transforms.h"

/* ==================== residuals */

static bool is_view(Op op)
{
    return op == OP_broadcast || op == OP_reshape || op == OP_transpose || op == OP_reverse ||
        op == OP_shear || op == OP_named || op == OP_constrain || op == OP_stop_gradient;
}

/* Values that are not linear and are read by what is, through views: candidates. Only what the tangents
 * out[] need. */
static bool *candidates(const Graph *h, const Ref *out, int nout)
{
    bool *need = NEWS(bool, h->nval), *wanted = NEWS(bool, h->nval);
    for (int k = 0; k < nout; k++)
        need[out[k]] = true;
    for (int n = h->nins - 1; n >= 0; n--) {
        const Ins *i = h->ins[n];
        bool some = any_bit(need + i->out, i->nout);
        if (some && (linear_ins(h, i) || is_view(i->op) || !i->nin))
            for (int k = 0; k < i->nin; k++)
                need[i->in[k]] = true;
        else
            for (int k = 0; k < i->nout; k++)
                wanted[i->out + (Ref)k] = need[i->out + (Ref)k];
    }
    for (int k = 0; k < h->nin; k++)
        wanted[h->in[k]] = need[h->in[k]];
    return wanted;
}

/* Candidates that are not cheap functions of candidates before them. Returns how many; kept: bits by
 * value. */
static int residuals(const Graph *h, const Ref *out, int nout, bool *kept)
{
    bool *wanted = candidates(h, out, nout), *have = NEWS(bool, h->nval);
    int count = 0;
    for (int k = 0; k < h->nin; k++)
        have[h->in[k]] = kept[h->in[k]] = wanted[h->in[k]], count += wanted[h->in[k]];
    for (int n = 0; n < h->nins; n++) {
        const Ins *i = h->ins[n];
        bool again = i->op != OP_region && (!i->nin || optab[i->op].again);
        for (int k = 0; k < i->nin; k++)
            again = again && have[i->in[k]];
        for (Ref v = i->out; v < i->out + (Ref)i->nout && !linear_ins(h, i); v++) {
            have[v] = again || wanted[v];
            kept[v] = wanted[v] && !again;
            count += kept[v];
        }
    }
    return count;
}

/* ==================== the two graphs */

static Graph *primal_part(const Graph *h, const Ref *z, int nout, const bool *kept, int count)
{
    Graph *g = arena_copy(h, sizeof *h);
    Ref *out = NEWS(Ref, nout + count);
    int n = 0;
    for (; n < nout; n++)
        out[n] = z[n];
    for (Ref v = 1; v < (Ref)h->nval; v++)
        if (kept[v])
            out[n++] = v;
    g->out = out, g->nout = n, g->linear = false;
    return graph_dce(g);
}

/* Of graph h, what is linear or cheap and has its operands; the rest is kept, or of the primal part. */
static void linear_map(const Ins *i, const Ref *x, Ref *out, void *h)
{
    bool ready = !out[0] && (linear_ins(h, i) || !i->nin || optab[i->op].again);
    for (int k = 0; k < i->nin; k++)
        ready = ready && x[k];
    if (ready)
        again(i, x, out);
}

/* tangent: of the inputs, in h; out: the tangents of the results. */
static Graph *linear_part(
    const Graph *h, const Ref *tangent, int ntangent, const Ref *out, int nout, const bool *kept)
{
    Ref *map = NEWS(Ref, h->nval), *z = NEWS(Ref, nout);
    graph_begin(graph_new());
    for (Ref v = 1; v < (Ref)h->nval; v++)
        if (kept[v])
            map[v] = graph_input(h->type[v], 0);
    for (int k = 0; k < ntangent; k++)
        map[tangent[k]] = graph_input(h->type[tangent[k]], 0);
    graph_map_ins(h, map, linear_map, (void *)(uintptr_t)h);
    for (int k = 0; k < nout; k++)
        z[k] = map[out[k]];
    graph_outputs(z, nout);
    Graph *part = graph_end();
    return error_pending() ? NULL : graph_dce(part);
}

int graph_linearize(const Graph *g, const bool *wrt, Graph **primal, Graph **linear)
{
    Ref *P = NEWS(Ref, g->nval), *T = NEWS(Ref, g->nval), *z = NEWS(Ref, g->nout), *dz = NEWS(Ref, g->nout),
        *dx = NEWS(Ref, g->nin);
    Graph *h = linear_begin(g, wrt, P, T);
    int nout = 0, nx = 0;
    jvp_into(g, P, T);
    h->linear = false;
    for (int k = 0; k < g->nout; k++) {
        z[k] = P[g->out[k]];
        if (is_inexact(z[k]))
            dz[nout++] = or_zero(T[g->out[k]], z[k]);
    }
    for (int k = 0; k < g->nin; k++)
        if (wrt[k])
            dx[nx++] = T[g->in[k]];
    graph_end();
    if (error_pending())
        return (int)error_code();
    bool *kept = NEWS(bool, h->nval);
    int count = residuals(h, dz, nout, kept);
    *primal = primal_part(h, z, g->nout, kept, count);
    *linear = linear_part(h, dx, nx, dz, nout, kept);
    return error_pending() ? (int)error_code() : 0;
}

/* ==================== is it linear? */

const Ins *graph_nonlinear(const Graph *g, const bool *wrt)
{
    Ref *P = NEWS(Ref, g->nval), *T = NEWS(Ref, g->nval);
    Graph *h = linear_begin(g, wrt, P, T);
    bool *depends = NULL;
    int known = 0, cap = 0, seen = 0;
    const Ins *found = NULL;
    Loc before = loc_here();
    for (int n = 0; n < g->nins && !found && !error_pending(); n++) {
        loc_set(g->ins[n]->loc.file ? g->ins[n]->loc : before);
        jvp_ins(g->ins[n], P, T);
        while (known < h->nval)
            PUSH(depends, known, cap, false);
        for (int k = 0; k < g->nin && !n; k++)
            depends[h->in[k]] = wrt[k];
        for (; seen < h->nins; seen++) {
            const Ins *i = h->ins[seen];
            bool on = false;
            for (int k = 0; k < i->nin; k++)
                on = on || depends[i->in[k]];
            if (on && linear_ins(h, i))
                found = g->ins[n];
            for (int k = 0; k < i->nout; k++)
                depends[i->out + (Ref)k] = on;
        }
    }
    loc_set(before);
    h->linear = false;
    graph_end();
    return found;
}
