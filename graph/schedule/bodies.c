/*
 * bodies.c - how the bodies of a region's kernel are run.
 *
 * In:  the Spec of a region in registers or in rows. Out: for it and every region inside, which branches are
 * entered and not just evaluated, what is read in front of loops and branches, and which carried values go
 * along as vectors; for rows, which factors of products a step computes first.
 */
#include "schedule.h"

/* ==================== branches and what is read before */

static bool loops_inside(const Graph *g)
{
    for (int j = 0; j < g->nins; j++)
        if (g->ins[j]->op == OP_region)
            return true;
    return false;
}

static bool used_in(const Graph *g, Ref v)
{
    for (int n = 0; n < g->nout; n++)
        if (g->out[n] == v)
            return true;
    for (int j = 0; j < g->nins; j++)
        for (int n = 0; n < g->ins[j]->nin; n++)
            if (g->ins[j]->in[n] == v)
                return true;
    return false;
}

/* Small things that body b reads of outside. */
static bool *read_first(const Ins *i, int b, int64_t most)
{
    const Region *r = i->region;
    const Graph *g = i->sub[b];
    bool *first = NEWS(bool, g->nin), loop = r->kind == SCAN || r->kind == WHILE;
    for (int n = 0; n < g->nin; n++)
        first[n] = (!loop || region_group(r, n + region_npred(r)) == 'c') &&
            type_size(&g->type[g->in[n]]) <= most && used_in(g, g->in[n]);
    return first;
}

/* A branch is entered if a lane takes it; one that costs less than a function is evaluated without
 * asking. */
static RegionSpec region_of(const Machine *m, const Ins *i)
{
    bool cond = i->region->kind == COND, loop = i->region->kind == SCAN || i->region->kind == WHILE;
    RegionSpec r = { .ins = i, .enter = NEWS(bool, i->nsub), .first = NEWS(bool *, i->nsub) };
    for (int b = 0; b < i->nsub; b++) {
        const Graph *g = i->sub[b];
        r.enter[b] = cond && i->nsub > 1 && (body_weight(g) > (double)m->dear || loops_inside(g));
        if (loop || r.enter[b])
            r.first[b] = read_first(i, b, loop ? m->captured : m->captured_branch);
    }
    return r;
}

static void add_regions(Spec *s, int *cap, const Ins *i)
{
    PUSH(s->region, s->nregion, *cap, region_of(s->target->machine, i));
    for (int b = 0; b < i->nsub; b++)
        for (int n = 0; n < i->sub[b]->nins; n++)
            if (i->sub[b]->ins[n]->op == OP_region)
                add_regions(s, cap, i->sub[b]->ins[n]);
}

/* ==================== a small state as vectors */

/* Carried values of a scan that go along as vectors too. On processors, where there are no lanes, and where
 * what else leaves a step is carried: other results would compute their elements once more. */
static void choose_packed(Spec *s)
{
    const Ins *i = s->ins;
    const Region *r = i->region;
    if (r->kind != SCAN || r->nlane || s->target->machine->lanes > 1)
        return;
    const Graph *g = i->sub[0];
    int nl = region_nloop(r);
    bool *packed = NEWS(bool, nl);
    for (int o = 0; o < nl; o++) {
        const Type *t = &g->type[g->in[r->ncap + o]];
        packed[o] = type_size(t) >= s->target->machine->state_vector && type_size(t) <= W &&
            dtype_float((Dtype)t->dt);
    }
    for (int o = nl; o < g->nout; o++) {
        bool carried = !s->live[o];
        for (int j = 0; j < nl; j++)
            carried = carried || (packed[j] && g->out[o] == g->out[j]);
        if (!carried)
            return;
    }
    s->packed = packed;
}

/* ==================== rows: what products multiply */

/* Is v made of elements alone, no reduction inside? */
static bool plain_chain(const Graph *g, Ref v, int *left)
{
    const Ins *i = g->def[v];
    if (!i || i->op == OP_const || i->op == OP_iota)
        return true;
    if (--*left < 0 || !(optab[i->op].element == IS_POINT || op_views(i->op)))
        return false;
    for (int k = 0; k < i->nin; k++)
        if (!plain_chain(g, i->in[k], left))
            return false;
    return true;
}

/* What products multiply and the step computes: once, into rows, and not again for each block of the
 * product's results. */
static void choose_factors(Spec *s)
{
    const Graph *g = s->ins->sub[0];
    Ref *f = NEWS(Ref, 2 * g->nins);
    s->factor.v = f;
    for (int k = 0; k < 2 * g->nins; k++) {
        const Ins *i = g->ins[k / 2];
        if (i->op != OP_dot)
            continue;
        Ref v = i->in[k % 2];
        for (; g->def[v] && op_views(g->def[v]->op) && g->def[v]->op != OP_barrier; v = g->def[v]->in[0])
            ;
        int64_t n = type_size(&g->type[v]);
        int left = 32;
        if (!g->def[v] || optab[g->def[v]->op].cost == 0 || optab[g->def[v]->op].element == IS_SUM ||
            refs_have(s->factor, v) || n < W || n > s->target->machine->factor_row ||
            type_size(&g->type[i->out]) <= n / 2 || !plain_chain(g, v, &left))
            continue;
        f[s->factor.n++] = v;
    }
}

void spec_bodies(Spec *s)
{
    int cap = 0;
    add_regions(s, &cap, s->ins);
    if (s->kind == SPEC_ROWS)
        choose_factors(s);
    else
        choose_packed(s);
}
