/*
 * schedule_regions.c - roots of regions, of steps and of own shapes.
 *
 * In:  an instruction that is a kernel or a step by itself. Out: its root; what it wants to find in memory
 * is forced to be stored.
 */
#include "schedule.h"

#include <string.h>

static Root *root_new(Sched *s, RootKind kind, const Ins *i, const Vars *space)
{
    Root *r = NEW(Root);
    *r = (Root){ .kind = kind, .v = i->out, .ins = i, .space = space, .inner = vars_of(NULL, 0),
                 .live = NEWS(bool, i->nout) };
    for (int k = 0; k < i->nout; k++)
        r->live[k] = s->need[i->out + (Ref)k].n > 0 || s->out[i->out + (Ref)k];
    PUSH(s->root, s->nroot, s->root_cap, r);
    return r;
}

/* An operand is read whole: all but its leading dimensions, whose indices are lead[], by loops. */
static double need_whole(Sched *s, const Root *r, Ref v, const Form *lead, int nlead)
{
    const Type *t = &s->g->type[v];
    const Atom *const *k = elem_space("k", t->dim + nlead, t->rank - nlead, 1);
    const Vars *loops = vars_of(k, t->rank - nlead);
    Form idx[MAXRANK];
    for (int d = 0; d < t->rank; d++)
        idx[d] = d < nlead ? lead[d] : form_a(k[d - nlead]);
    need_add(s, v, idx_of(idx, t->rank), r->space, r->v, loops);
    return loops->vol;
}

/* A few instructions on what is stored: a step computes them as it reads. Negative: it is more than that. */
static int cheap_budget(const Sched *s, Ref v, int budget)
{
    const Ins *i = s->g->def[v];
    if (budget < 0 || !i || optab[i->op].element == IS_OWN || index_only(s, v))
        return budget;
    if (optab[i->op].element != IS_POINT)
        return -1;
    budget -= optab[i->op].cost;
    for (int k = 0; k < i->nin; k++)
        budget = cheap_budget(s, i->in[k], budget);
    return budget;
}

static Root *root_lanes(Sched *s, const Ins *i, bool rows)
{
    const Region *r = i->region;
    const Machine *m = s->target->machine;
    int64_t size[MAXRANK];
    for (int k = 0; k < r->nlane; k++)
        size[k] = r->lane[k].size;
    const Atom *const *o = elem_space("o", size, r->nlane, 0);
    Root *root = root_new(s, ROOT_INS, i, vars_of(o, r->nlane));
    root->spec = rows ? SPEC_ROWS : SPEC_LANES;
    bool *dyn = NEWS(bool, i->nin);
    for (int b = 0; b < i->nsub; b++) {
        bool *in = NEWS(bool, i->sub[b]->nin);
        body_dynamic(i->sub[b], in);
        for (int k = 0; k < i->sub[b]->nin; k++)
            dyn[k + region_npred(r)] |= in[k];
    }
    for (int k = 0; k < i->nin; k++) {
        Form lead[MAXRANK];
        int n = 0;
        for (int l = 0; l < r->nlane; l++)
            if (r->im[k * r->nlane + l] == STACKED)
                lead[n++] = form_a(o[l]);
        char group = region_group(r, k);
        double rest = need_whole(s, root, i->in[k], lead, n);
        bool cheap = index_only(s, i->in[k]) ||
            (group == 'x' && !dyn[k] && cheap_budget(s, i->in[k], (int)m->step_code) >= 0);
        if ((rest > (double)m->held || dyn[k] || (rows && (group == 'c' || group == 'x'))) && !cheap)
            s->force[i->in[k]] = true;
    }
    return root;
}

static Root *root_steps(Sched *s, const Ins *i)
{
    Root *root = root_new(s, ROOT_STEPS, i, vars_of(NULL, 0));
    for (int k = 0; k < i->nin; k++) {
        need_whole(s, root, i->in[k], NULL, 0);
        s->force[i->in[k]] = s->natural[i->in[k]] = true;
    }
    for (int k = 0; k < i->nout; k++) {
        root->live[k] = true;                   /* the bodies write all of them */
        s->natural[i->out + (Ref)k] = true;
    }
    return root;
}

/* The dimensions of a result that an own shape works on independently. */
static int independent(const Graph *g, const Ins *i, int64_t *dim, bool *last)
{
    const Type *t = &g->type[i->out];
    bool moves[MAXRANK] = { 0 };
    int n = 0, m;
    if (i->op == OP_scatter) {
        const int64_t *map = ins_attr(i, ATTR(scatter, scatter_map), &m);
        for (int k = 0; k < m; k++)
            moves[map[k]] = true;
    } else
        moves[ins_int(i, ATTR(cumsum, axis))] = true;
    for (int d = 0; d < t->rank; d++)
        if (!moves[d])
            dim[n++] = t->dim[d];
    *last = n && !moves[t->rank - 1];
    return n;
}

/* Reductions that an operand would need again and again inside loops of single elements are stored. */
static Onward force_reduction(DemandWalk *w, Visit *x)
{
    Sched *s = w->ctx;
    if (!x->i || optab[x->i->op].element == IS_OWN || x->i->op == OP_data)
        return WALK_PAST;
    bool sum = optab[x->i->op].element == IS_SUM;
    s->force[x->v] = s->force[x->v] || sum;
    return sum ? WALK_PAST : WALK_INTO;
}

/* Few instructions a step of `a` on what is stored or will be, each `stride` elements after the last; what
 * does not depend on a is evaluated outside of its loop. Negative: more than that. */
static int few_along(const Sched *s, Ref v, const Form *idx, const Atom *a, int64_t stride, int budget)
{
    const Graph *g = s->g;
    const Ins *i = g->def[v];
    const Type *t = &g->type[v];
    if (budget < 0 || !set_has(idx_deps(idx, t->rank), a))
        return budget;
    if (!i || optab[i->op].element == IS_OWN || optab[i->op].element == IS_SUM || i->op == OP_data)
        return form_coef(form_linear(idx, t->dim, t->rank), a) == stride ? budget : -1;
    if (optab[i->op].element != IS_POINT && !op_views(i->op) && !index_only(s, v))
        return -1;
    Demand *d;
    budget -= optab[i->op].element == IS_POINT ? optab[i->op].cost : 0;
    for (int k = 0, n = elem_rule(g, i, (int)(v - i->out), idx, &d); k < n; k++)
        budget = few_along(s, d[k].v, d[k].idx, a, stride, budget);
    return budget;
}

/* All that is done with running values is a map that takes few instructions an element: its root, which they
 * then store instead of themselves. *x: what the map stores before it is reshaped, of the shape of the
 * running values. */
static Root *map_after(Sched *s, const Ins *i, Ref *x)
{
    const Graph *g = s->g;
    const Type *t = &g->type[i->out];
    const Need *n = s->need[i->out].k;
    Root *r = NULL;
    if (i->op == OP_scatter || i->op == OP_sort || s->out[i->out] || s->force[i->out] ||
        s->need[i->out].n != 1)
        return NULL;
    for (int k = 0; k < s->nroot && !r; k++)
        r = s->root[k]->kind == ROOT_VALUE && s->root[k]->v == n->root ? s->root[k] : NULL;
    if (!r || r->inner->n || n->loops->n)
        return NULL;
    const Type *u = &g->type[r->v];
    for (*x = r->v; g->def[*x]->op == OP_reshape;)
        *x = g->def[*x]->in[0];
    bool same =
        g->type[*x].rank == t->rank && !memcmp(g->type[*x].dim, t->dim, sizeof *t->dim * (size_t)t->rank);
    if (!same || form_linear(n->idx->f, t->dim, t->rank) != form_linear(r->idx->f, u->dim, u->rank))
        return NULL;
    const Atom *const *o = elem_space("o", t->dim, t->rank, 0), *along = o[ins_int(i, ATTR(cumsum, axis))];
    Form idx[MAXRANK];
    for (int d = 0; d < t->rank; d++)
        idx[d] = form_a(o[d]);
    int64_t stride = form_coef(form_linear(idx, t->dim, t->rank), along);
    return few_along(s, *x, idx, along, stride, (int)s->target->machine->step_code) >= 0 ? r : NULL;
}

/* Operands are read once, but for the positions of a scatter, which every work-item reads. */
static Root *root_own(Sched *s, const Ins *i)
{
    int64_t dim[MAXRANK];
    bool last;
    int n = independent(s->g, i, dim, &last);
    const Vars *space = vars_of(elem_space("o", dim, n, 0), n);
    Ref x;
    DemandWalk sums = { .g = s->g, .visit = force_reduction, .ctx = s };
    Root *root = map_after(s, i, &x);
    if (root) {
        *root = (Root){ .kind = ROOT_INS,
            .v = root->v,
            .x = x,
            .ins = i,
            .space = space,
            .inner = root->inner,
            .live = NEWS(bool, 1) };
        root->live[0] = true;
        value_walk(&sums, x);
    } else
        root = root_new(s, ROOT_INS, i, space);
    root->spec = i->op == OP_scatter ? SPEC_SCATTER : i->op == OP_sort ? SPEC_SORT : SPEC_CUMULATIVE;
    root->chunk = last;
    bool in_place = s->stored[i->out].buf && s->stored[i->out].buf == s->stored[i->in[0]].buf;
    for (int k = 0; k < i->nin; k++) {
        need_whole(s, root, i->in[k], NULL, 0);
        value_walk(&sums, i->in[k]);
        if (i->op == OP_scatter && (k == 1 || (k && in_place)) && !index_only(s, i->in[k]))
            s->force[i->in[k]] = true;
    }
    return root;
}

Root *root_ins(Sched *s, const Ins *i)
{
    if (op_meets(i) || i->op == OP_callback)
        return root_steps(s, i);
    if (i->op != OP_region)
        return root_own(s, i);
    if (s->prepared->body[i->out])
        return root_steps(s, i);
    switch (region_run(i->region, i->nin, i->nsub, i->sub, s->target)) {
    case RUN_LANES: return root_lanes(s, i, false);
    case RUN_ROWS: return root_lanes(s, i, true);
    default:
        error_set(E_INTERNAL, "a region of kind %d with lanes was not rewritten before scheduling",
            i->region->kind);
        return NULL;
    }
}
