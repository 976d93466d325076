/*
 * roll.c - which blocks of copies become loops.
 *
 * In:  what copies compute.   Out: over how many of them a loop goes, and what is evaluated in front of it.
 * A register tile needs its copies side by side; what follows the tile - an activation, a difference, a
 * store - does not, and written once for each copy it is most of a kernel's text and of the time that a
 * compiler takes. Where copies lie at even distances, and little of what they compute is shared between
 * them, they become a loop: what must be there first (sums in registers) goes through a private array. Only
 * on processors: elsewhere a private array that is indexed leaves the registers.
 */
#include "stage.h"

#include <string.h>

typedef struct Roll {
    const Planner *p; const Copies *c;
    int n, s;
    /* how far from copy to copy: by atom of the environments, and k */
    int64_t *by, by_k;
    const Atom *lane;                           /* the variable that has the lane */
    double each, shared;                        /* instructions of a copy; those that copies share */
    bool bad;
    Leaf *leaf; int nleaf, cap;                 /* what must be there before */
    DemandWalk walk;
} Roll;

/* ==================== distances */

bool roll_even(Envs envs, int n, int s, int64_t *by, int64_t *by_k)
{
    int na = envs.at[0]->n;
    *by_k = envs.at[s]->k - envs.at[0]->k;
    for (int e = 0; e < envs.n; e++)
        if (envs.at[e]->n != na || ((e / s) % n && envs.at[e]->k - envs.at[e - s]->k != *by_k))
            return false;
    for (int j = 0; j < na; j++)
        for (int e = s; e < envs.n; e++) {
            if (envs.at[e]->a[j] != envs.at[0]->a[j])
                return false;
            if ((e / s) % n == 0)
                continue;
            Form d = form_add(envs.at[e]->f[j], form_mul(envs.at[e - s]->f[j], -1));
            if (!form_const(d) || (e > s && d->c != by[j]))
                return false;
            by[j] = d->c;
        }
    return true;
}

static bool moves(const Roll *r, const struct Frame *fr, const AtomSet *deps)
{
    const Env *e = r->c->envs.at[0];
    if (fr->outer)                              /* what a step computes is private to a copy */
        return true;
    for (int j = 0; j < e->n; j++)
        if (r->by[j] && set_has(deps, e->a[j]))
            return true;
    return false;
}

/* ==================== what a copy computes */

static void reach_place(Roll *r, const Place *p, const Form *idx, int n)
{
    Form f = layout_form(p->layout, NULL, idx, n, NULL);
    /* neighbours become block loads: side by side */
    r->bad = r->bad || (r->lane && loop_price(r->p->m, f, r->lane) > 1);
}

/* Does an index that it needs depend on an element of another graph? */
static bool abroad(Visit *x)
{
    const Atom **e;
    visit_demands(x);
    for (int j = 0; j < x->n; j++)
        for (int k = elems_of(x->d[j].idx, x->d[j].n, &e) - 1; k >= 0; k--)
            if (e[k]->g != x->g)
                return true;
    return false;
}

/* Is there a row that phases before have written? */
static bool filled(const Roll *r, const Visit *x)
{
    MapKey key = map_key(x->v, 0, 0, x->idx, x->key->n);
    const void *at = map_get(&x->fr->rows, key.w, key.n);
    return at && (int)(intptr_t)at - 1 < r->c->phase;
}

static Onward count_one(DemandWalk *w, Visit *x)
{
    Roll *r = w->ctx;
    struct Frame *fr = x->fr;
    const Ins *i = x->i;
    int rank = x->key->n;
    if (r->bad)
        return WALK_DONE;
    bool own = moves(r, fr, x->key->deps);
    double *price = own ? &r->each : &r->shared;
    Place p = frame_stored(fr, x->v);
    if (p.buf || filled(r, x)) {
        if (p.buf)
            reach_place(r, &p, x->idx, rank);
        *price += 1;
        return WALK_PAST;
    }
    if (fr->outside_of && fr->outside_of[x->v]) {
        const Outside *o = &fr->outside[fr->outside_of[x->v] - 1];
        Form *all = NEWS(Form, o->nlead + rank);
        memcpy(all, o->lead, sizeof *all * (size_t)o->nlead);
        memcpy(all + o->nlead, x->idx, sizeof *all * (size_t)rank);
        walk_to(w, &(Visit){ .g = fr->outer->g, .fr = fr->outer }, o->v, all);
        return WALK_PAST;
    }
    bool sum = i && (i->op == OP_add || i->op == OP_accum) &&
        (users_chain(&fr->users, i->in[0]) || users_chain(&fr->users, i->in[1]));
    if (!i || sum || optab[i->op].element == IS_SUM || i->op == OP_region) {
        if (own)
            PUSH(r->leaf, r->nleaf, r->cap, (Leaf){ { x->v, x->idx }, fr != r->p->fr });
        return WALK_PAST;
    }
    *price += optab[i->op].cost;
    r->bad = abroad(x);
    return WALK_INTO;
}

static void count_store(Roll *r, const Store *st)
{
    r->bad = st->chunk != 0;
    r->each += 1;
    reach_place(r, &st->to, st->idx, st->nidx);
    demand_walk(&r->walk, st->v, st->idx, 0, NULL);
}

/* Sums that are no products, which want the register tile. */
static void count_want(Roll *r, const Want *w)
{
    const Graph *g = r->p->fr->g;
    const Ins *i = g->def[w->v];
    const Atom *const *ks;
    Demand d[2];
    int nk;
    elem_reduce(g, i, w->idx, &ks, &nk, d);
    r->bad = r->bad || i->op == OP_dot ||
        (g->def[d->v] && g->def[d->v]->op == OP_mul && r->p->spec->contract);
    r->each += 1;
    if (!r->bad)
        demand_walk(&r->walk, d->v, d->idx, 0, NULL);
}

typedef struct Asked { const int *store; int nstore; const Want *want; int nwant; } Asked;

static bool worth(Roll *r, const Asked *a)
{
    const Env *e = r->c->envs.at[0];
    struct Frame *fr = r->p->fr;
    int ne = r->c->envs.n;
    r->walk = (DemandWalk){ .g = fr->g, .fr = fr, .visit = count_one, .ctx = r, .computed = true };
    for (int j = 0; j < e->n; j++)
        if (form_coef(e->f[j], LANE))
            r->lane = e->a[j];
    for (int j = 0; j < a->nstore && !r->bad; j++)
        count_store(r, &r->p->st[a->store[j]]);
    for (int j = 0; j < a->nwant && !r->bad; j++)
        count_want(r, &a->want[j]);
    for (int j = 0; j < r->nleaf; j++) {
        const struct Frame *of = r->leaf[j].outer ? fr->outer : fr;
        r->bad = r->bad || !env_binds(e, r->leaf[j].at.idx, of->g->type[r->leaf[j].at.v].rank);
    }
    double saved = r->each * (ne - ne / r->n) - 2.0 * r->nleaf * ne;
    return !r->bad && saved >= (double)r->p->m->roll_saved && 4 * r->shared <= r->each;
}

/* The longest loop that is worth it. */
static Rolled roll_find(const Planner *p, const Copies *c, const Asked *a)
{
    int64_t least = p->m->roll_copies;
    for (int n = p->m->private_arrays ? c->envs.n : 0; n >= least; n--)
        for (int s = 1; n * s <= c->envs.n; s++) {
            Roll r = { .p = p, .c = c, .n = n, .s = s, .by = NEWS(int64_t, c->envs.at[0]->n + 1) };
            if (c->envs.n % (n * s) == 0 && roll_even(c->envs, n, s, r.by, &r.by_k) && worth(&r, a))
                return (Rolled){ n, s, r.leaf, r.nleaf };
        }
    return (Rolled){ 0 };
}

Rolled roll_of_stores(const Planner *p, const Copies *c, const int *store, int n)
{
    return roll_find(p, c, &(Asked){ .store = store, .nstore = n });
}

Rolled roll_of_sums(const Planner *p, const Copies *c, const Want *want, int n)
{
    return roll_find(p, c, &(Asked){ .want = want, .nwant = n });
}
