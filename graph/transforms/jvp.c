/*
 * jvp.c - forward mode: one loop forwards.
 *
 * In:  a graph, and for each input its primal and its tangent in the current graph; a tangent of 0 is zero,
 * and
 *      zeros vanish because they are symbolic, never because a product was folded.
 * Out: P and T, by value of the graph: primal and tangent. Only floats have tangents.
 * A rule of the op table is asked only where some operand has a tangent.
 */
#include "transforms.h"

Ref or_zero(Ref tangent, Ref primal)
{
    return tangent || !primal ? tangent : Zeros(typ(primal));
}

static void jvp_barrier(const Ins *i, const Ref *x, const Ref *t, Ref *z, Ref *tz)
{
    Ref *some = NEWS(Ref, i->nin), *late = NEWS(Ref, i->nin);
    int n = 0;
    Barrier(x, i->nin, z);
    for (int k = 0; k < i->nin; k++)
        if (t[k])
            some[n++] = t[k];
    Barrier(some, n, late);
    for (int k = i->nin - 1; k >= 0; k--)
        tz[k] = t[k] ? late[--n] : 0;
}

static void jvp_op(const Ins *i, const Ref *x, const Ref *t, Ref *z, Ref *tz)
{
    const OpRow *row = &optab[i->op];
    bool some = false;
    again(i, x, z);
    for (int k = 0; k < i->nout; k++)
        some |= is_inexact(z[k]) || (z[k] && dtype_f8((Dtype)typ(z[k])->dt)); /* convert refuses that */
    if (!some)
        return;
    if (!row->rules || !row->rules->jvp) {
        error_set(E_DIFF, "%s has no derivative", row->name);
        return;
    }
    row->rules->jvp(i, x, t, z, tz);
    for (int k = 0; k < i->nout; k++)
        if (!is_inexact(z[k]))
            tz[k] = 0;
}

static bool any_ref(const Ref *v, int n)
{
    for (int k = 0; k < n; k++)
        if (v[k])
            return true;
    return false;
}

void jvp_ins(const Ins *i, Ref *P, Ref *T)
{
    SCRATCH(Ref, x, i->nin);
    SCRATCH(Ref, t, i->nin);
    Ref *z = P + i->out, *tz = T + i->out;
    for (int k = 0; k < i->nin; k++)
        x[k] = P[i->in[k]], t[k] = T[i->in[k]];
    for (int k = 0; k < i->nout; k++)
        tz[k] = 0;
    if (!any_ref(t, i->nin))
        again(i, x, z);
    else if (i->op == OP_region)
        region_jvp(i, x, t, z, tz);
    else if (i->op == OP_barrier)
        jvp_barrier(i, x, t, z, tz);
    else
        jvp_op(i, x, t, z, tz);
}

void jvp_into(const Graph *g, Ref *P, Ref *T)
{
    Loc before = loc_here();
    for (int n = 0; n < g->nins && !error_pending(); n++) {
        loc_set(g->ins[n]->loc.file ? g->ins[n]->loc : before);
        jvp_ins(g->ins[n], P, T);
    }
    loc_set(before);
}

Graph *graph_joint(const Graph *g, const bool *tin, const bool *tout)
{
    Ref *P = NEWS(Ref, g->nval), *T = NEWS(Ref, g->nval), *out = NEWS(Ref, 2 * g->nout);
    int n = 0;
    graph_begin(graph_new());
    for (int k = 0; k < g->nin; k++) {
        uint8_t acc = g->flag[g->in[k]] & V_ACC;
        P[g->in[k]] = input_like(g, k, acc);
        T[g->in[k]] = tin[k] ? input_like(g, k, acc | V_LIN) : 0;
    }
    jvp_into(g, P, T);
    for (int k = 0; k < g->nout; k++) {
        Ref v = g->out[k];
        out[n++] = P[v];
        if (tout[k])
            out[n++] = or_zero(T[v], P[v]);
    }
    graph_outputs(out, n);
    return graph_end();
}

/* An integer has no tangent: its input is there, so that places do not depend on dtypes, and nothing reads
 * it. */
Graph *graph_jvp(const Graph *g, const bool *wrt)
{
    Ref *P = NEWS(Ref, g->nval), *T = NEWS(Ref, g->nval), *out = NEWS(Ref, 2 * g->nout);
    int n = 0;
    Graph *h = graph_begin(graph_new());
    h->ncap = g->ncap;
    for (int k = 0; k < g->nin; k++)
        P[g->in[k]] = input_like(g, k, 0);
    for (int k = 0; k < g->nin; k++)
        if (wrt[k]) {
            Ref t = input_like(g, k, 0);
            T[g->in[k]] = is_inexact(t) ? t : 0;
        }
    jvp_into(g, P, T);
    for (int k = 0; k < g->nout; k++)
        out[n++] = P[g->out[k]];
    for (int k = 0; k < g->nout; k++)
        if (is_inexact(P[g->out[k]]))
            out[n++] = or_zero(T[g->out[k]], P[g->out[k]]);
    graph_outputs(out, n);
    graph_end();
    h = error_pending() ? NULL : graph_dce(h);
    return h ? graph_forward(h) : NULL;
}
