/*
 * traffic.c - what a kernel loads and computes, counted symbolically.
 *
 * In:  the stores of a kernel. Out: its loads, with the loops that they are inside; its operations; the loads of each
 * reduction by itself, since a register tile pays by those only.
 */
#include "traffic.h"

static Form place_form(const Sched *s, Ref v, const Form *idx)
{
    return layout_form(s->stored[v].layout, NULL, idx, s->g->type[v].rank, NULL);
}

/* The loads of one reduction, up to the next one. */
static void leaves(Traffic *t, Ref v, const Form *idx, const Vars *loops, Seen *been, Seen *forms)
{
    const Graph *g = t->s->g;
    if (!seen_add(been, v, PTR(idx_of(idx, g->type[v].rank)), 0, 0))
        return;
    if (t->s->stored[v].buf && !refs_have(t->made, v)) {
        Form f = place_form(t->s, v, idx);
        if (seen_add(forms, PTR(f), 1, 0, 0))
            PUSH(t->tile, t->ntile, t->tile_cap, (Load){ .f = f, .loops = loops, .v = v });
        return;
    }
    const Ins *i = g->def[v];
    if (!i || optab[i->op].form == IS_SUM)
        return;
    Demand *d;
    const Atom *const *ks;
    int nk, n = demands_of(g, v, idx, &d, &ks, &nk);
    for (int k = 0; k < n; k++)
        leaves(t, d[k].v, d[k].idx, loops, been, forms);
}

static void count(Traffic *t, Ref v, const Form *idx, const Vars *loops, bool inside)
{
    const Graph *g = t->s->g;
    const Idx *key = idx_of(idx, g->type[v].rank);
    loops = vars_upto(loops, key->deps);
    if (!seen_add(&t->seen, v, PTR(key), PTR(loops), inside))
        return;
    if (t->s->stored[v].buf && !refs_have(t->made, v)) {
        PUSH(t->load, t->nload, t->load_cap, (Load){ place_form(t->s, v, idx), loops, false, v, key });
        return;
    }
    const Ins *i = g->def[v];
    if (!i)
        return;
    Demand *d;
    const Atom *const *ks, **e;
    int nk, n = demands_of(g, v, idx, &d, &ks, &nk);
    if (optab[i->op].form == IS_SUM) {
        loops = vars_join(loops, ks, nk);
        inside = true;
        PUSH(t->work, t->nwork, t->work_cap, (Work){ 1, 1, loops, key->deps });
        t->nred++;
        Seen been = { 0 }, forms = { 0 };
        for (int k = 0; k < n; k++)
            leaves(t, d[k].v, d[k].idx, loops, &been, &forms);
    } else if (elem_cost(g, i) > 0)
        PUSH(t->work, t->nwork, t->work_cap, (Work){ elem_cost(g, i), optab[i->op].code, loops, key->deps });
    for (int k = 0; k < n; k++) {
        count(t, d[k].v, d[k].idx, loops, inside);
        for (int j = 0, m = elems_of(d[k].idx, d[k].n, &e); j < m; j++)
            count(t, e[j]->v, e[j]->idx, loops, inside);
    }
}

void traffic_count(Traffic *t, const Store *st, int nstore)
{
    for (int k = 0; k < nstore; k++) {
        const Vars *loops = vars_of(st[k].space, st[k].nspace);
        if (!st[k].chunk)
            PUSH(t->load, t->nload, t->load_cap,
                 (Load){ layout_form(st[k].to.layout, NULL, st[k].idx, st[k].nidx, NULL), loops, true, 0, NULL });
        count(t, st[k].v, st[k].idx, loops, false);
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

double load_cost(const Machine *m, Form f, const Atom *a)
{
    int64_t s;
    if (!form_stride(f, a, &s))
        return (double)m->load_far;
    if (s == 0 || s == 1)
        return 1;
    for (int k = 0; k < f->n; k++)
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
