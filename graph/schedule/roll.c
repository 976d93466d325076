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
#include "schedule.h"

#include <string.h>

/* Something that a copy computes, or needs before it (leaf): instructions, and the variables that it
 * depends on. inside: it is private to the copy, whatever it depends on: a step computes it. */
typedef struct Computed { const AtomSet *deps; double price; bool inside, leaf; Leaf at; } Computed;

typedef struct Roll {
    const Planner *p; const Copies *c;
    const Atom *lane;                           /* the variable that has the lane */
    bool bad;                                   /* no loop, over however many of them */
    Computed *made; int nmade, cap;
} Roll;

/* ==================== distances */

/* How much f is more than g, if that is a number. */
static bool ahead(Form f, Form g, int64_t *by)
{
    bool alike = f->n == g->n && !memcmp(f->t, g->t, sizeof *f->t * (size_t)f->n);
    Form d = alike ? NULL : form_add(f, form_mul(g, -1));
    *by = alike ? f->c - g->c : d->c;
    return alike || form_const(d);
}

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
            int64_t d;
            if (!ahead(envs.at[e]->f[j], envs.at[e - s]->f[j], &d) || (e > s && d != by[j]))
                return false;
            by[j] = d;
        }
    return true;
}

/* ==================== what a copy computes */

static void reach_memref(Roll *r, const MemRef *p, const Form *idx, int n)
{
    Form f = layout_form(p->layout, NULL, idx, n, NULL);
    /* neighbours become block loads: side by side */
    r->bad = r->bad || (r->lane && loop_price(r->p->m, f, r->lane) > 1);
}

static void computed_add(Roll *r, const struct Frame *fr, const AtomSet *deps, double price)
{
    PUSH(r->made, r->nmade, r->cap, (Computed){ .deps = deps, .price = price, .inside = fr->outer });
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
    MemRef p = frame_stored(fr, x->v);
    if (p.buf || filled(r, x)) {
        if (p.buf)
            reach_memref(r, &p, x->idx, rank);
        computed_add(r, fr, x->key->deps, 1);
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
        PUSH(r->made, r->nmade, r->cap,
            (Computed){ x->key->deps, 0, fr->outer, true, { { x->v, x->idx }, fr != r->p->fr } });
        return WALK_PAST;
    }
    computed_add(r, fr, x->key->deps, optab[i->op].cost);
    r->bad = abroad(x);
    return WALK_INTO;
}

static void count_store(Roll *r, const Store *st)
{
    r->bad = st->chunk != 0;
    reach_memref(r, &st->to, st->idx, st->nidx);
    demand_walk(&r->p->s->inside, st->v, st->idx, 0, NULL);
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
    if (!r->bad)
        demand_walk(&r->p->s->inside, d->v, d->idx, 0, NULL);
}

typedef struct Asked { const int *store; int nstore; const Want *want; int nwant; } Asked;

/* What a copy computes; false: it is not for a loop. */
static bool survey(Roll *r, const Asked *a)
{
    const Env *e = r->c->envs.at[0];
    struct Frame *fr = r->p->fr;
    walk_anew(&r->p->s->inside,
        (DemandWalk){ .g = fr->g, .fr = fr, .visit = count_one, .ctx = r, .computed = true });
    for (int j = 0; j < e->n; j++)
        if (form_coef(e->f[j], LANE))
            r->lane = e->a[j];
    for (int j = 0; j < a->nstore && !r->bad; j++)
        count_store(r, &r->p->st[a->store[j]]);
    for (int j = 0; j < a->nwant && !r->bad; j++)
        count_want(r, &a->want[j]);
    return !r->bad;
}

static bool moves(const Roll *r, const Computed *x, const int64_t *by)
{
    const Env *e = r->c->envs.at[0];
    for (int j = 0; j < e->n; j++)
        if (by[j] && set_has(x->deps, e->a[j]))
            return true;
    return x->inside;
}

/* A loop over n of the copies, which are `by` apart: does it save enough? `first`: what must be there
 * before. asked: stores and sums of a copy. */
static bool worth(const Roll *r, int n, const int64_t *by, int asked, Rolled *out)
{
    const Env *e = r->c->envs.at[0];
    double each = asked, shared = 0;            /* instructions of a copy; those that copies share */
    int ne = r->c->envs.n, cap = 0;
    out->first = NULL, out->nfirst = 0;
    for (int j = 0; j < r->nmade; j++) {
        const Computed *x = &r->made[j];
        bool own = moves(r, x, by);
        *(own ? &each : &shared) += x->price;
        if (!x->leaf || !own)
            continue;
        const struct Frame *of = x->at.outer ? r->p->fr->outer : r->p->fr;
        if (!env_binds(e, x->at.at.idx, of->g->type[x->at.at.v].rank))
            return false;
        PUSH(out->first, out->nfirst, cap, x->at);
    }
    const Machine *m = r->p->m;
    double saved = each * (ne - ne / n) - m->roll_leaf * out->nfirst * ne;
    return saved >= (double)m->roll_saved && shared <= m->roll_shared * each;
}

/* The longest loop that is worth it. */
static Rolled roll_find(const Planner *p, const Copies *c, const Asked *a)
{
    int ne = c->envs.n;
    Roll r = { .p = p, .c = c };
    if (!p->m->private_arrays || ne < p->m->roll_copies || !survey(&r, a))
        return (Rolled){ 0 };
    int64_t *by = NEWS(int64_t, c->envs.at[0]->n + 1), by_k;
    for (int n = ne; n >= p->m->roll_copies; n--)
        for (int s = 1; n * s <= ne; s++) {
            Rolled it = { .n = n, .s = s };
            if (ne % (n * s) == 0 && roll_even(c->envs, n, s, by, &by_k) &&
                worth(&r, n, by, a->nstore + a->nwant, &it))
                return it;
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
