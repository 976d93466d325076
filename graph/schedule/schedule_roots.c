/*
 * schedule_roots.c - the outer space of what is stored: which dimensions are the work, which are loops
 * inside.
 *
 * In:  a value to be stored.
 * Out: a Root: outer variables, inner variables, the index of the value in both.
 * The outer space is the smallest set of dimensions (of at least 16 elements, or any where all is little)
 * that the first reductions on each path depend on; what is behind a reduction is that reduction's affair.
 * All dimensions for a map or a contraction; a record's never.
 */
#include "schedule.h"

#include <string.h>

/* only: its index depends on these dimensions and nothing else. */
typedef struct Found { uint32_t dims; Ref v; double space; bool only; } Found;

typedef struct Dims {
    const Graph *g; const bool *force, *summing; const Machine *m; int *walked;
    /* a placeholder for each dimension that is not 1 */
    int rank; const int64_t *dim; const Atom *ph[MAXRANK];
    uint32_t dims, small;                       /* those dimensions; of them those of a record, maybe */
    Found *found; int nfound, cap;
    uint32_t *dear; int ndear, dear_cap;        /* dimensions that each dear value met depends on */
    int count;
} Dims;

static double dims_vol(const Dims *w, uint32_t dims)
{
    double v = 1;
    for (int d = 0; d < w->rank; d++)
        if (dims >> d & 1)
            v *= (double)w->dim[d];
    return v;
}

static uint32_t dims_in(const Dims *w, const AtomSet *s, bool *only)
{
    uint32_t m = 0;
    int n = 0;
    for (int d = 0; d < w->rank; d++)
        if (w->ph[d] && set_has(s, w->ph[d]))
            m |= 1u << d, n++;
    if (only)
        *only = n == s->n;
    return m;
}

/* tag: no reduction is around it. */
static Onward meet(DemandWalk *walk, Visit *x)
{
    Dims *w = walk->ctx;
    if (!w->summing[x->v] && !w->small)
        return WALK_PAST;
    if (w->count > w->m->walk || w->force[x->v] || (!x->tag && walk_met(walk, x, true)))
        return WALK_PAST;
    if (w->count++ > w->m->walk_near && w->walked[x->v] >= w->m->walk_roots)
        return WALK_PAST;
    w->walked[x->v]++;
    if (!x->i || optab[x->i->op].element == IS_OWN)
        return WALK_PAST;
    bool red = optab[x->i->op].element == IS_SUM, only;
    uint32_t dims = dims_in(w, x->key->deps, &only);
    if (w->small && (red || optab[x->i->op].cost >= w->m->record_dear))
        PUSH(w->dear, w->ndear, w->dear_cap, dims);
    visit_demands(x);
    if (red && x->tag)
        PUSH(w->found, w->nfound, w->cap, (Found){ dims, x->v, vars_of(x->ks, x->nk)->vol, only });
    x->tag = x->tag && !red;
    return x->tag || w->small ? WALK_INTO : WALK_PAST;         /* behind a sum only what is dear matters */
}

/* Symbolic positions of the loads that an element needs; false: too many to say. */
typedef struct Unit { const Atom *a; int64_t left; } Unit;

static Onward apart(DemandWalk *w, Visit *x)
{
    Unit *u = w->ctx;
    const Type *t = &w->g->type[x->v];
    if (--u->left < 0)
        return WALK_DONE;
    if (x->i && optab[x->i->op].element != IS_OWN && x->i->op != OP_data)
        return WALK_INTO;
    int64_t k = form_coef(form_linear(x->idx, t->dim, t->rank), u->a);
    return k != 0 && k != 1 ? WALK_DONE : WALK_PAST;
}

static bool loads_unit(const Sched *s, Ref v, const Form *idx, const Atom *a)
{
    Unit u = { .a = a, .left = s->target->machine->walk };
    DemandWalk w = { .g = s->g, .visit = apart, .ctx = &u };
    return !demand_walk(&w, v, idx, 0, NULL);
}

/* A record: trailing dimensions of up to 8 elements in all, unrolled where they share something dear. */
static uint32_t small_dims(const Dims *w)
{
    uint32_t small = 0;
    double vol = 1;
    for (int d = w->rank - 1; d > 0; d--) {
        if (!(w->dims >> d & 1))
            continue;
        vol *= (double)w->dim[d];
        if (vol > (double)w->m->record || !(w->dims & ((1u << d) - 1)))
            break;
        small |= 1u << d;
    }
    return dims_vol(w, w->dims & ~small) < (double)w->m->record_rows ? 0 : small;
}

/* Not of a long sum v: its loops are worth more than what their steps share. */
static uint32_t record_of(const Dims *w, Ref v)
{
    for (int k = 0; k < w->nfound; k++)
        if (w->found[k].v == v && w->found[k].space >= (double)w->m->turn_steps)
            return 0;
    for (int k = 0; k < w->ndear; k++)
        if (w->dear[k] && !(w->dear[k] & w->small))
            return w->small;
    return 0;
}

/* The smallest fit set of dimensions that a first reduction depends on; all dimensions if there is none. */
static uint32_t rows_of(const Dims *w)
{
    uint32_t best = w->dims;
    int size = MAXRANK + 1;
    for (int k = 0; k < w->nfound; k++) {
        const Found *f = &w->found[k];
        int n = __builtin_popcount(f->dims);
        double least = grouped(w->m) ? 2 : (double)w->m->share;         /* a group a row */
        double rest = dims_vol(w, w->dims & ~f->dims);
        bool fits = f->only && f->dims &&
            (f->space > (double)w->m->row_sum || rest <= (double)w->m->row_rest) &&
            (dims_vol(w, f->dims) >= least || dims_vol(w, w->dims) <= (double)w->m->alone);
        /* of equal size: the one whose first dimensions come first */
        if (fits && (n < size || (n == size && (f->dims ^ best) & f->dims & -(f->dims ^ best))))
            best = f->dims, size = n;
    }
    return best;
}

static Root *root_of(Sched *s, Ref v, const Dims *w, uint32_t outer)
{
    const Atom *const *o, *const *k;
    int64_t oe[MAXRANK], ke[MAXRANK];
    int no = 0, nk = 0;
    for (int d = 0; d < w->rank; d++)
        if (w->dims >> d & 1) {
            if (outer >> d & 1)
                oe[no++] = w->dim[d];
            else
                ke[nk++] = w->dim[d];
        }
    o = elem_space("o", oe, no, 0);
    k = elem_space("k", ke, nk, 1);
    Root *r = NEW(Root);
    *r = (Root){ .kind = ROOT_VALUE, .v = v, .space = vars_of(o, no), .inner = vars_of(k, nk) };
    Form idx[MAXRANK];
    for (int d = 0, a = 0, b = 0; d < w->rank; d++)
        idx[d] = !(w->dims >> d & 1) ? form_c(0) : form_a(outer >> d & 1 ? o[a++] : k[b++]);
    r->idx = idx_of(idx, w->rank);
    PUSH(s->root, s->nroot, s->root_cap, r);
    return r;
}

Root *root_value(Sched *s, Ref v)
{
    const Graph *g = s->g;
    const Type *t = &g->type[v];
    const Ins *i = g->def[v];
    Dims w = { .g = g, .force = s->force, .summing = s->summing, .rank = t->rank, .dim = t->dim,
        .m = s->target->machine, .walked = s->walked };
    Form start[MAXRANK];
    bool mine = s->force[v];
    for (int d = 0; d < t->rank; d++) {
        start[d] = form_c(0);
        if (t->dim[d] != 1) {
            w.ph[d] = elem_space(arena_text("t%d_", d), &t->dim[d], 1, 0)[0];
            w.dims |= 1u << d;
            start[d] = form_a(w.ph[d]);
        }
    }
    s->force[v] = false;
    w.small = small_dims(&w);
    bool sum = i && optab[i->op].element == IS_SUM;
    if (w.small || (!sum && s->summing[v])) {
        DemandWalk like = { .g = g, .visit = meet, .ctx = &w };
        demand_walk(walk_anew(&s->walk, like), v, start, true, NULL);
    }
    s->force[v] = mine;
    uint32_t outer = w.dims, record = record_of(&w, v);
    if (record)
        outer &= ~record;
    else if (i && !sum) {
        outer = rows_of(&w);
        int inner = w.dims ? 31 - __builtin_clz(w.dims) : 0;
        if (outer != w.dims && outer >> inner & 1 && !loads_unit(s, v, start, w.ph[inner])) {
            /* no one vector axis suits the store and all loads: the reductions are stored */
            for (int k = 0; k < w.nfound; k++)
                if (w.found[k].dims == outer)
                    s->force[w.found[k].v] = true;
            outer = w.dims;
        }
    }
    return root_of(s, v, &w, outer);
}

/* ==================== sums over rows */

/* Partial sums over chunks of rows (made by split_reduction): outer the rows, inside a private row of
 * sums. */
Root *root_sums(Sched *s, const Ins *i)
{
    const Graph *g = s->g;
    if (i->op != OP_reduce_sum || !s->target->machine->state_row)
        return NULL;
    int n;
    const int64_t *axes = ins_attr(i, ATTR(reduce_sum, axes), &n);
    const Ins *d = g->def[i->in[0]];
    if (n != 1 || axes[0] != 1 || !d || d->op != OP_reshape)
        return NULL;
    const Type *t = &g->type[i->in[0]], *x = &g->type[d->in[0]];
    int64_t sums = 1, rows[MAXRANK + 1];
    for (int k = 2; k < t->rank; k++)
        sums *= rows[k - 1] = t->dim[k];
    rows[0] = t->dim[0] * t->dim[1];
    if (t->rank < 3 || !row_of_sums(s->target->machine, (double)sums, rows[0]) ||
        outer_product(g, i->in[0], 2, (int)s->target->machine->dear, NULL))
        return NULL;
    const Atom *const *o = elem_space("o", rows, 1, 0),
                      *const *k = elem_space("k", rows + 1, t->rank - 2, 1);
    Root *r = NEW(Root);
    *r = (Root){ .kind = ROOT_SUMS, .v = i->out, .x = d->in[0], .chunk = t->dim[1], .space = vars_of(o, 1),
                 .inner = vars_of(k, t->rank - 2) };
    Form idx[MAXRANK], at[MAXRANK];
    idx[0] = form_a(o[0]);
    for (int j = 0; j < t->rank - 2; j++)
        idx[j + 1] = form_a(k[j]);
    form_reindex(idx, rows, t->rank - 1, x->dim, x->rank, at);
    r->idx = idx_of(at, x->rank);
    PUSH(s->root, s->nroot, s->root_cap, r);
    return r;
}
