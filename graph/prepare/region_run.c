/*
 * region_run.c - the form that a region takes.
 *
 * In:  a region whose bodies are expanded.
 * Out: lanes (a kernel whose loop carries the elements of the state in registers), rows (a kernel with the
 * state
 *      in private rows), steps (plans that are repeated, or chosen, by the plan around them), or the matrix
 *      form (a rewriting, prepare_region.c).
 * Invariant: the answer depends on the region and the target alone, so that preparing and scheduling agree.
 */
#include "prepare.h"

#include <string.h>

static double size_of(const Graph *g, Ref v) { return (double)type_size(&g->type[v]); }

/* ==================== what lanes can run */

static bool all_stacked(const int64_t *xb, int n)
{
    for (int k = 0; k < n; k++)
        if (!xb[k])
            return false;
    return true;
}

static bool lanes_run(const Machine *m, const Graph *g, bool nested)
{
    for (int n = 0; n < g->nins; n++) {
        const Ins *i = g->ins[n];
        switch (i->op) {
        case OP_argmax: case OP_argmin: case OP_top_k:
            return false;
        case OP_accum_slice: {
            int nb;
            const int64_t *xb = ins_attr(i, ATTR(accum_slice, xb), &nb);
            if (!all_stacked(xb, nb))
                return false;
            break;
        }
        case OP_region: {
            const Region *r = i->region;
            double ys = 0;
            for (int k = region_nloop(r); r->kind == SCAN && k < i->nout; k++)
                ys += size_of(g, i->out + (Ref)k);
            if (!nested || r->nlane || ys > (double)m->nested_ys ||
                body_state(i->sub[i->nsub - 1], r, false) > (double)m->state)
                return false;
            for (int b = 0; b < i->nsub; b++)
                if (!lanes_run(m, i->sub[b], nested))
                    return false;
            break;
        }
        case OP_data:
            if (size_of(g, i->out) > (double)m->held)
                return false;
            break;
        default:
            if (optab[i->op].element == IS_OWN)
                return false;
        }
    }
    return true;
}

static bool fits_lanes(const Machine *m, const Region *r, int nsub, Graph *const *sub)
{
    for (int b = 0; b < nsub; b++) {
        const Graph *g = sub[b];
        double ys = 0;
        for (int k = 0; k < g->nout; k++)
            ys += k < region_nloop(r) ? 0 : size_of(g, g->out[k]);
        if (body_code(g) + ys > (double)m->body_code || !lanes_run(m, g, true))
            return false;
    }
    return body_state(sub[nsub - 1], r, false) <= (double)m->state;
}

/* ==================== what rows can run: the body's reductions are phases, so none may be inside another */

static Onward nested(DemandWalk *w, Visit *x)
{
    if (!x->i)
        return WALK_PAST;
    bool inside = optab[x->i->op].element == IS_SUM && set_meets(x->key->deps, w->ctx);
    return inside && elem_cost(w->g, x->i) > 16 ? WALK_DONE : WALK_INTO;
}

static bool phases(const Graph *g)
{
    for (int n = 0; n < g->nins; n++) {
        const Ins *i = g->ins[n];
        if (optab[i->op].element != IS_SUM)
            continue;
        const Type *t = &g->type[i->out];
        Form idx[MAXRANK];
        const Atom *const *o = elem_space("o", t->dim, t->rank, 0), *const *ks;
        for (int d = 0; d < t->rank; d++)
            idx[d] = form_a(o[d]);
        Demand d[2];
        int nk, nd = elem_reduce(g, i, idx, &ks, &nk, d);
        DemandWalk w = {
            .g = g, .visit = nested, .ctx = (void *)(uintptr_t)vars_of(ks, nk), .computed = true
        };
        for (int k = 0; k < nd; k++)
            if (demand_walk(&w, d[k].v, d[k].idx, 0, NULL))
                return false;
    }
    return true;
}

static bool fits_rows(const Machine *m, const Region *r, const Graph *g)
{
    if (r->kind != SCAN || !m->state_row || body_state(g, r, false) > (double)m->state_row ||
        !lanes_run(m, g, false))
        return false;
    for (int n = 0; n < g->nins; n++)
        if (g->ins[n]->op == OP_data)
            return false;
    return phases(g);
}

RegionRun region_run(const Region *r, int nin, int nsub, Graph *const *sub, const Target *t)
{
    (void)nin;
    if (r->kind == CALL)
        return RUN_MATRIX;
    for (int k = 0; k < r->nlane; k++)
        if (!r->lane[k].size)
            return RUN_MATRIX;
    if (fits_lanes(t->machine, r, nsub, sub))
        return RUN_LANES;
    if (!r->nlane)
        return RUN_STEPS;
    return fits_rows(t->machine, r, sub[0]) ? RUN_ROWS : RUN_MATRIX;
}
