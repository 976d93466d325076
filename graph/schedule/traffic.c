/*
 * traffic.c - what a kernel loads and computes, counted symbolically.
 *
 * In:  the stores of a kernel. Out: its loads, with the loops that they are inside; its operations; the
 * loads of each reduction by itself, since a register tile pays by those only.
 */
#include "schedule.h"

static Form memref_form(const Sched *s, Ref v, const Form *idx)
{
    return layout_form(s->stored[v].layout, NULL, idx, s->g->type[v].rank, NULL);
}

static bool loaded(const Traffic *t, Ref v) { return t->s->stored[v].buf && !refs_have(t->made, v); }

/* The loads of one reduction, up to the next one. */
typedef struct SumLoads { Traffic *t; const Vars *loops; } SumLoads;

static Onward tile_load(DemandWalk *w, Visit *x)
{
    SumLoads *l = w->ctx;
    Traffic *t = l->t;
    if (!loaded(t, x->v))
        return x->i && optab[x->i->op].element != IS_SUM ? WALK_INTO : WALK_PAST;
    Form f = memref_form(t->s, x->v, x->idx);
    if (seen_add(&t->s->loads, PTR(f), 1, 0, 0))
        PUSH(t->tile, t->ntile, t->tile_cap, (Load){ .f = f, .loops = l->loops, .v = x->v });
    return WALK_PAST;
}

/* tag: inside of a reduction. */
static void count_sum(DemandWalk *w, Visit *x)
{
    Traffic *t = w->ctx;
    visit_demands(x);
    x->loops = vars_join(x->loops, x->ks, x->nk);
    x->tag = true;
    PUSH(t->work, t->nwork, t->work_cap, (Work){ x->i->op, 1, 1, x->loops, x->key->deps });
    t->nred++;
    SumLoads l = { .t = t, .loops = x->loops };
    DemandWalk *inside = walk_anew(&t->s->inside, (DemandWalk){ .g = w->g, .visit = tile_load, .ctx = &l });
    seen_clear(&t->s->loads);
    for (int k = 0; k < x->n; k++)
        demand_walk(inside, x->d[k].v, x->d[k].idx, 0, NULL);
}

static Onward count(DemandWalk *w, Visit *x)
{
    Traffic *t = w->ctx;
    if (loaded(t, x->v)) {
        PUSH(t->load, t->nload, t->load_cap,
            (Load){ memref_form(t->s, x->v, x->idx), x->loops, false, x->v, x->key,
                (Dtype)t->s->g->type[x->v].dt });
        return WALK_PAST;
    }
    if (!x->i)
        return WALK_PAST;
    if (optab[x->i->op].element == IS_SUM)
        count_sum(w, x);
    else if (elem_cost(w->g, x->i) > 0)
        PUSH(t->work, t->nwork, t->work_cap,
            (Work){ x->i->op, elem_cost(w->g, x->i), optab[x->i->op].code, x->loops, x->key->deps });
    return WALK_INTO;
}

void traffic_count(Traffic *t, const Store *st, int nstore)
{
    DemandWalk like = { .g = t->s->g, .visit = count, .ctx = t, .computed = true },
               *w = walk_anew(&t->s->walk, like);
    for (int k = 0; k < nstore; k++) {
        const Vars *loops = vars_of(st[k].space, st[k].nspace);
        if (!st[k].chunk)
            PUSH(t->load, t->nload, t->load_cap,
                (Load){ layout_form(st[k].to.layout, NULL, st[k].idx, st[k].nidx, NULL), loops, true, 0,
                    NULL, (Dtype)t->s->g->type[st[k].v].dt });
        demand_walk(w, st[k].v, st[k].idx, 0, loops);
    }
}

bool form_stride(Form f, const Atom *a, int64_t *stride)
{
    int64_t s = 0, inner;
    for (int k = 0; k < f->n; k++) {
        const Atom *b = f->t[k].a;
        if (b == a)
            s += f->t[k].k;
        else if (b->kind == A_WITHIN) {
            if (!form_stride(b->f, a, &inner))
                return false;
            s += f->t[k].k * inner;
        } else if (set_has(b->deps, a))
            return false;
    }
    *stride = s;
    return true;
}

bool form_opaque(Form f, const Atom *a)
{
    for (int k = 0; k < f->n; k++)
        if (f->t[k].a != a && set_has(f->t[k].a->deps, a))
            return true;
    return false;
}

/* Blocks are turned in registers where elements are words (pass.c). */
double load_cost(const Machine *m, const Load *l, const Atom *a)
{
    const Form f = l->f;
    int64_t s;
    if (!form_stride(f, a, &s))
        return (double)m->load_far;
    if (s == 0 || s == 1)
        return 1;
    for (int k = 0; k < f->n && dtype_size(l->dt) >= dtype_size(DT_F32); k++)
        if (f->t[k].a != a && f->t[k].k == 1)
            return (double)m->load_near;
    return (double)m->load_far;
}

const Atom *loops_phase(const Vars *l)
{
    const Atom *best = NULL;
    for (int k = 0; k < l->n; k++)
        if (l->a[k]->depth == l->a[0]->depth && (!best || l->a[k]->id > best->id))
            best = l->a[k];
    return best;
}

bool form_depends(Form f, const Atom *a) { return set_has(form_deps(f), a); }

bool traffic_shared(const Traffic *t, const Atom *a)
{
    double n = 0, all = 0;
    for (int k = 0; k < t->ntile; k++)
        if (t->tile[k].loops->vol >= (double)t->s->target->machine->tile_sum) {
            all += t->tile[k].loops->vol;
            n += form_depends(t->tile[k].f, a) ? 0 : t->tile[k].loops->vol;
        }
    return all > 0 && n >= t->s->target->machine->tile_free * all;
}
