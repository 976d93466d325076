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

/* Element `at` of a carried value of n: is it made as each other one is? made: instructions of one. */
typedef struct Alike { const Spec *s; const bool *packed; const Atom *at; int64_t n; double made; } Alike;

static int input_number(const Graph *g, Ref v)
{
    int o = 0;
    while (g->in[o] != v)
        o++;
    return o;
}

/* Do elements that follow one another lie side by side? */
static bool beside(const Alike *a, MemRef p, const Visit *x, int rank)
{
    Form f = layout_form(p.layout, NULL, x->idx, rank, NULL);
    return form_coef(f, a->at) == 1 && !form_opaque(f, a->at);
}

/* What the step reads: elements of a carried value that is a vector itself, each its own; elements of an
 * array that lie side by side; captures that are read before the loop, and become vectors there. */
static bool reads_alike(const Alike *a, const Visit *x)
{
    const Region *r = a->s->ins->region;
    int o = input_number(x->g, x->v);
    const Type *t = &x->g->type[x->v];
    MemRef p = a->s->stored[a->s->ins->in[o]];
    Form step = form_a(atom_var("t", r->length, 0));
    switch (region_group(r, o)) {
    case 'c': return a->s->region->first[0][o];
    case 'y':
        return a->packed[o - r->ncap] && type_size(t) == a->n &&
            form_linear(x->idx, t->dim, t->rank) == form_a(a->at);
    case 'x': return p.buf && beside(a, memref_lead(p, &step, 1), x, t->rank);
    default: return false;
    }
}

/* A value that is a number in the kernel, or may be: made of constants and positions. */
static bool is_number(const Graph *g, Ref v, int *left)
{
    const Ins *i = g->def[v];
    if (!i || --*left < 0)
        return i != NULL;
    for (int k = 0; k < i->nin; k++)
        if (!is_number(g, i->in[k], left))
            return false;
    return i->op != OP_data;
}

/* A function is text once a kernel, and applied; but where an operand is a number it stands where it is
 * used, and these have loops and branches there. */
static bool opened(const Machine *m, const Graph *g, const Ins *i)
{
    int left = (int)m->walk_chain;
    switch (i->op) {
    case OP_rem: case OP_betaln: case OP_zeta: case OP_polygamma: case OP_igamma: case OP_igammac:
    case OP_random_gamma_grad: case OP_regularized_incomplete_beta: break;
    default: return false;
    }
    for (int k = 0; k < i->nin; k++)
        if (is_number(g, i->in[k], &left))
            return true;
    return false;
}

/* WALK_DONE: it is not. */
static Onward alike(DemandWalk *w, Visit *x)
{
    Alike *a = w->ctx;
    const Atom **e;
    int dt = x->g->type[x->v].dt;
    if (!set_has(x->key->deps, a->at))          /* all elements share it */
        return WALK_PAST;
    if (!x->i)
        return reads_alike(a, x) ? WALK_PAST : WALK_DONE;
    const OpRow *op = &optab[x->i->op];
    visit_demands(x);
    for (int k = 0; k < x->n; k++)
        if (elems_of(x->d[k].idx, x->d[k].n, &e))
            return WALK_DONE;
    if (op_views(x->i->op) && x->n == 1)
        return WALK_INTO;
    if (!dtype_float((Dtype)dt) && dt != DT_BOOL)
        return WALK_DONE;
    if (op->element == IS_SUM) {
        if (space_size(x->ks, x->nk) > a->s->target->machine->body_unroll)
            return WALK_DONE;
        x->loops = vars_join(x->loops, x->ks, x->nk);
    } else if (op->element != IS_POINT || opened(a->s->target->machine, x->g, x->i))
        return WALK_DONE;
    a->made += x->loops->vol;
    return WALK_INTO;
}

/* Instructions that a vector of carried value o saves; false: its elements are not made alike. */
static bool vector_saves(const Spec *s, const bool *packed, int o, double *saved)
{
    const Graph *g = s->ins->sub[0];
    const Type *t = &g->type[g->out[o]];
    Alike a = { .s = s, .packed = packed, .n = type_size(t) };
    Form idx[MAXRANK];
    a.at = elem_space("e", &a.n, 1, 0)[0];
    form_unlinear(form_a(a.at), t->dim, t->rank, idx);
    DemandWalk w = { .g = g, .visit = alike, .ctx = &a };
    if (demand_walk(&w, g->out[o], idx, 0, vars_of(NULL, 0)))
        return false;
    *saved += a.made * (double)(a.n - 1) - s->target->machine->vector_back * (double)(a.n + W);
    return true;
}

/* Carried values of a scan that go along as vectors too: of some elements, up to W, which a step makes
 * alike, where that saves more than it takes to hand elements back. On processors, where there are no lanes,
 * and where what else leaves a step is carried: other results would compute their elements once more. */
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
    double saved = 0;
    int n = 0;
    for (int o = 0; o < nl; o++)
        if (packed[o] && (n++, !vector_saves(s, packed, o, &saved)))
            return;
    s->packed = n && saved >= 0 ? packed : NULL;
}

/* ==================== rows: what products multiply */

/* By value: instructions that an element of it takes, each as often as it is used; -1: there is a reduction
 * inside. */
static double *chains_of(const Graph *g)
{
    double *length = NEWS(double, g->nval);
    for (int n = 0; n < g->nins; n++) {
        const Ins *i = g->ins[n];
        OpElement is = optab[i->op].element;
        bool free = i->op == OP_const || i->op == OP_iota;
        bool plain = free || is == IS_POINT || is == IS_PART || op_views(i->op);
        double sum = !free;
        for (int k = 0; k < i->nin; k++) {
            plain = plain && length[i->in[k]] >= 0;
            sum += length[i->in[k]];
        }
        for (int k = 0; k < i->nout; k++)
            length[i->out + (Ref)k] = plain ? sum : -1;
    }
    return length;
}

/* What products multiply and the step computes: once, into rows, and not again for each block of the
 * product's results. Where few results share an element, what is short is computed as it is read. */
static void choose_factors(Spec *s)
{
    const Graph *g = s->ins->sub[0];
    const Machine *m = s->target->machine;
    const double *length = chains_of(g);
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
        if (!g->def[v] || optab[g->def[v]->op].cost == 0 || optab[g->def[v]->op].element == IS_SUM ||
            refs_have(s->factor, v) || n < W || n > m->factor_row || length[v] < 0 ||
            (type_size(&g->type[i->out]) <= n / 2 && length[v] <= (double)m->dear))
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
