/*
 * linear.c - reverse mode: append the jvp, walk the linear instructions backwards, append their transposes.
 *
 * In:  a graph. Out: (x.., cotangents of float outputs..) -> (outputs.., cotangents of the inputs asked
 * for). The jvp goes into a graph marked `linear`: every value knows by one bit whether it depends on a
 * tangent, and a joint region is split when it is emitted, so each instruction is linear or not. Forward
 * values are in scope for the transposes; only regions have residuals, and those are ordinary results of the
 * regions that compute.
 */
#include "transforms.h"

#include <string.h>

struct Cts { Ref *of; int n; };                 /* by value; the graph grows while it is walked */

Cts *cts_new(void)
{
    return NEW(Cts);
}

Ref ct_get(const Cts *c, Ref v)
{
    return (int64_t)v < c->n ? c->of[v] : 0;
}

void ct_set(Cts *c, Ref v, Ref ct)
{
    if ((int64_t)v >= c->n) {
        int n = cur()->nval + cur()->nval / 2;
        c->of = arena_grow(c->of, sizeof(Ref) * (size_t)c->n, sizeof(Ref) * (size_t)n);
        memset(c->of + c->n, 0, sizeof(Ref) * (size_t)(n - c->n));
        c->n = n;
    }
    c->of[v] = ct;
}

/* What is added to the cotangent so far of v, in its dtype: an accumulator's is wider than that of v. */
Ref ct_like(const Cts *c, Ref v, Ref ct)
{
    Ref so_far = ct_get(c, v);
    return ct ? Convert(ct, (Dtype)typ(so_far ? so_far : v)->dt) : 0;
}

void ct_add(Cts *c, Ref v, Ref ct)
{
    Ref so_far = ct_get(c, v);
    if (!ct || !graph_lin(cur(), v))
        return;
    ct = ct_like(c, v, ct);
    ct_set(c, v, !so_far ? ct : graph_acc(cur(), so_far) ? Accum(so_far, ct) : Add(so_far, ct));
}

static void transpose_barrier(const Ins *i, const Ref *ct, Cts *c)
{
    Ref *some = NEWS(Ref, i->nout), *late = NEWS(Ref, i->nout);
    int n = 0;
    for (int k = 0; k < i->nout; k++)
        if (ct[k])
            some[n++] = ct[k];
    Barrier(some, n, late);
    for (int k = 0, at = 0; k < i->nout; k++)
        if (ct[k])
            ct_add(c, i->in[k], late[at++]);
}

static void transpose_ins(const Ins *i, const Ref *ct, Cts *c)
{
    const OpRow *row = &optab[i->op];
    if (i->op == OP_region)
        region_transpose(i, ct, c);
    else if (i->op == OP_barrier)
        transpose_barrier(i, ct, c);
    else if (row->rules && row->rules->transpose)
        row->rules->transpose(i, ct, c);
    else
        error_set(E_DIFF, "reverse mode: %s is not linear in its operands", row->name);
}

void transpose_walk(Cts *c, Ins *const *ins, int n)
{
    Loc before = loc_here();
    int widest = 1;
    for (int k = 0; k < n; k++)
        widest = ins[k]->nout > widest ? ins[k]->nout : widest;
    Ref *ct = NEWS(Ref, widest);
    for (int at = n - 1; at >= 0 && !error_pending(); at--) {
        const Ins *i = ins[at];
        bool wanted = false, lin = false;
        for (int k = 0; k < i->nout; k++) {
            ct[k] = ct_get(c, i->out + (Ref)k);
            wanted |= ct[k] != 0;
            lin |= graph_lin(cur(), i->out + (Ref)k);
        }
        if (!wanted || !lin)
            continue;
        loc_set(i->loc.file ? i->loc : before);
        transpose_ins(i, ct, c);
    }
    loc_set(before);
}

Graph *linear_begin(const Graph *g, const bool *wrt, Ref *P, Ref *T)
{
    Graph *h = graph_begin(graph_new());
    h->linear = true;
    h->ncap = g->ncap;
    for (int k = 0; k < g->nin; k++)
        P[g->in[k]] = input_like(g, k, 0);
    for (int k = 0; k < g->nin; k++)
        if (wrt[k] && is_inexact(P[g->in[k]]))
            T[g->in[k]] = graph_value(g->type[g->in[k]], V_LIN);
    return h;
}

Graph *graph_vjp(const Graph *g, const bool *wrt)
{
    Ref *P = NEWS(Ref, g->nval), *T = NEWS(Ref, g->nval), *out = NEWS(Ref, g->nout + g->nin);
    int n = 0;
    Graph *h = linear_begin(g, wrt, P, T);
    jvp_into(g, P, T);
    h->linear = false;
    int ntodo = h->nins;
    Ins **todo = arena_copy(h->ins, sizeof *h->ins * (size_t)ntodo);
    Cts *c = cts_new();
    for (int k = 0; k < g->nout && !error_pending(); k++) {
        Ref v = g->out[k];
        if (is_inexact(P[v]))
            ct_add(c, T[v], graph_input(*typ(P[v]), 0));
    }
    transpose_walk(c, todo, ntodo);
    for (int k = 0; k < g->nout; k++)
        out[n++] = P[g->out[k]];
    for (int k = 0; k < g->nin; k++)
        if (wrt[k])
            out[n++] = or_zero(ct_get(c, T[g->in[k]]), P[g->in[k]]);
    graph_outputs(out, n);
    graph_end();
    return error_pending() ? NULL : graph_dce(h);
}
