/*
 * lower_roll.c - a block of environments as a loop over its copies.
 *
 * A register tile needs its copies side by side; what follows the tile - an activation, a difference, a
 * store - does not, and written once for each copy it is most of a kernel's text and of the time that a
 * compiler takes. Where copies lie at even distances, and little of what they compute is shared between
 * them, they become a loop: what must be there first (sums in registers) goes through a private array. Only
 * on processors: elsewhere a private array that is indexed leaves the registers.
 */
#include "evaluator.h"

#include <string.h>

typedef struct Leaf { Frame *fr; Ref v; const Form *idx; } Leaf;

typedef struct Roll {
    Lower *L; Frame *fr;
    /* copies e with the same e / (n * s) and e % s become a loop over n */
    int n, s;
    /* how far from copy to copy: by atom of the environments, and k */
    int64_t *by; int64_t by_k;
    const Atom *lane;                           /* the variable that has the lane */
    double each, shared;                        /* instructions of a copy; those that copies share */
    bool bad;
    Leaf *leaf; int nleaf, cap;                 /* what must be there before */
    const Env *first;                           /* the copy that is looked at */
    DemandWalk walk;
} Roll;

/* ==================== distances */

static bool even(Roll *r, const Env *const *envs, int ne)
{
    int s = r->s, na = envs[0]->n;
    r->by = NEWS(int64_t, na + 1);
    r->by_k = envs[s]->k - envs[0]->k;
    for (int e = 0; e < ne; e++)
        if (envs[e]->n != na || ((e / s) % r->n && envs[e]->k - envs[e - s]->k != r->by_k))
            return false;
    for (int j = 0; j < na; j++)
        for (int e = s; e < ne; e++) {
            if (envs[e]->a[j] != envs[0]->a[j])
                return false;
            if ((e / s) % r->n == 0)
                continue;
            Form d = form_add(envs[e]->f[j], form_mul(envs[e - s]->f[j], -1));
            if (!form_const(d) || (e > s && d->c != r->by[j]))
                return false;
            r->by[j] = d->c;
        }
    return true;
}

static bool moves(const Roll *r, const Frame *fr, const Form *idx, int n, const Env *e)
{
    if (fr->by_env)
        return true;
    for (int j = 0; j < e->n; j++)
        for (int d = 0; r->by[j] && d < n; d++)
            if (set_has(form_deps(idx[d]), e->a[j]))
                return true;
    return false;
}

/* The environments of the loop: one for each of those that stay copies. */
static const Env **rolled(const Roll *r, const Env *const *envs, int ne, Form c)
{
    int left = ne / r->n;
    const Env **out = NEWS(const Env *, left);
    for (int j = 0; j < left; j++) {
        const Env *from = envs[j / r->s * r->n * r->s + j % r->s];
        Env *e = NEW(Env);
        *e = *from;
        e->f = NEWS(Form, from->n);
        for (int a = 0; a < from->n; a++)
            e->f[a] = form_add(from->f[a], form_mul(c, r->by[a]));
        e->k = -2 - r->L->nrolled++;            /* nobody else's */
        e->kf = form_addc(form_mul(c, r->by_k), from->k);
        out[j] = e;
    }
    return out;
}

static bool may_roll(const Lower *L, const Env *const *envs, int ne)
{
    return ne >= L->m->roll_copies && !L->mask && L->m->private_arrays && !envs[0]->kf;
}

int roll_all(Lower *L, const Env *const *envs, int ne, const Env *const **out)
{
    Roll r = { .L = L, .n = ne, .s = 1 };
    *out = envs;
    if (!may_roll(L, envs, ne) || !even(&r, envs, ne))
        return ne;
    *out = rolled(&r, envs, ne, form_a(k_loop(L->k, "c", ne, 0, NULL, NULL)));
    return 1;
}

/* ==================== what a copy computes */

static void reach_place(Roll *r, const Place *p, const Form *idx, int n)
{
    Form f = layout_form(p->layout, NULL, idx, n, NULL);
    /* neighbours become block loads: side by side */
    r->bad = r->bad || (r->lane && load_price(r->L->m, f, r->lane) > 1);
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

static Onward count_one(DemandWalk *w, Visit *x)
{
    Roll *r = w->ctx;
    Frame *fr = x->fr;
    const Ins *i = x->i;
    int rank = x->key->n;
    if (r->bad)
        return WALK_DONE;
    bool own = moves(r, fr, x->idx, rank, r->first);
    double *price = own ? &r->each : &r->shared;
    Place p = frame_place(fr, x->v);
    Param *q = frame_param(fr, x->v);
    Key known = key_of(x->v, 0, 0, x->idx, rank);
    Row *row = map_get(&fr->rows, known.w, known.n);
    if (p.buf || (row && row->filled)) {
        if (p.buf)
            reach_place(r, &p, x->idx, rank);
        *price += 1;
        return WALK_PAST;
    }
    if (q && !q->held && !q->nzero) {
        walk_to(w, &(Visit){ .g = q->fr->g, .fr = q->fr }, q->v, param_index(q, x->idx, rank));
        return WALK_PAST;
    }
    bool sum =
        i && (i->op == OP_add || i->op == OP_accum) && (chained(fr, i->in[0]) || chained(fr, i->in[1]));
    if (q || !i || sum || optab[i->op].element == IS_SUM || i->op == OP_region) {
        if (own)
            PUSH(r->leaf, r->nleaf, r->cap, (Leaf){ fr, x->v, x->idx });
        return WALK_PAST;
    }
    *price += optab[i->op].cost;
    r->bad = abroad(x);
    return WALK_INTO;
}

/* Sums that are no products, which want the register tile. */
static void count_want(Roll *r, const Want *w)
{
    const Graph *g = r->fr->g;
    const Ins *i = g->def[w->v];
    const Atom *const *ks;
    Demand d[2];
    int nk;
    elem_reduce(g, i, w->idx, &ks, &nk, d);
    r->bad =
        r->bad || i->op == OP_dot || (g->def[d->v] && g->def[d->v]->op == OP_mul && r->L->spec->contract);
    r->each += 1;
    if (!r->bad)
        demand_walk(&r->walk, d->v, d->idx, 0, NULL);
}

static bool worth(
    Roll *r, const Store *const *st, int nst, const Want *want, int nwant, const Env *const *envs, int ne)
{
    r->first = envs[0];
    r->walk = (DemandWalk){ .g = r->fr->g, .fr = r->fr, .visit = count_one, .ctx = r, .computed = true };
    for (int j = 0; j < envs[0]->n; j++)
        if (form_coef(envs[0]->f[j], LANE))
            r->lane = envs[0]->a[j];
    for (int j = 0; j < nst && !r->bad; j++) {
        r->bad = st[j]->chunk != 0;
        r->each += 1;
        reach_place(r, &st[j]->to, st[j]->idx, st[j]->nidx);
        demand_walk(&r->walk, st[j]->v, st[j]->idx, 0, NULL);
    }
    for (int j = 0; j < nwant && !r->bad; j++)
        count_want(r, &want[j]);
    for (int j = 0; j < r->nleaf; j++)
        r->bad = r->bad || !env_binds(envs[0], r->leaf[j].idx, r->leaf[j].fr->g->type[r->leaf[j].v].rank);
    double saved = r->each * (ne - ne / r->n) - 2.0 * r->nleaf * ne;
    return !r->bad && saved >= (double)r->L->m->roll_saved && 4 * r->shared <= r->each;
}

/* ==================== the loop */

typedef struct Kept { Buffer *buf; int lanes; } Kept;

/* A private array for values of ne copies, of which x are n. */
static Kept keep(Lower *L, const Val *x, int n, int ne)
{
    int lanes = 1;
    for (int e = 0; e < n; e++)
        lanes = width(L, x[e]) > 1 ? W : lanes;
    return (Kept){ k_private(L->k, dtype_of(L, x[0]), (int64_t)ne * lanes), lanes };
}

static Form kept_at(const Kept *k, Form e)
{
    return k->lanes > 1 ? form_add(form_mul(e, k->lanes), form_a(LANE)) : e;
}

static void kept_store(Lower *L, const Kept *k, Form e, Val x)
{
    k_store(L->k, k->buf, kept_at(k, e), k->lanes > 1 ? widen_val(L, x) : x);
}

/* Copy o of those that are left, as the loop's variable says. */
static Form number(const Roll *r, int o, Form c)
{
    return form_addc(form_mul(c, r->s), o / r->s * r->n * r->s + o % r->s);
}

/* Evaluates what must be there, opens the loop: its environments. NULL after an error. */
static const Env **roll_open(Roll *r, const Env *const *envs, int ne, Form *c)
{
    Lower *L = r->L;
    Kept *kept = NEWS(Kept, r->nleaf);
    Val *x = NEWS(Val, ne);
    for (int j = 0; j < r->nleaf; j++) {
        eval_at(L, r->leaf[j].fr, r->leaf[j].v, r->leaf[j].idx, envs, ne, x);
        if (L->failed)
            return NULL;
        kept[j] = keep(L, x, ne, ne);
        for (int e = 0; e < ne; e++)
            kept_store(L, &kept[j], form_c(e), x[e]);
    }
    *c = form_a(k_loop(L->k, "c", r->n, 0, NULL, NULL));
    const Env **es = rolled(r, envs, ne, *c);
    for (int j = 0; j < r->nleaf; j++)
        for (int o = 0; o < ne / r->n; o++)
            memo_set(L, r->leaf[j].fr, r->leaf[j].v, r->leaf[j].idx, es[o],
                k_load(L->k, kept[j].buf, kept_at(&kept[j], number(r, o, *c))));
    return es;
}

/* The longest loop that is worth it. */
static bool roll_find(
    Roll *r, const Store *const *st, int nst, const Want *want, int nwant, const Env *const *envs, int ne)
{
    Lower *L = r->L;
    Frame *fr = r->fr;
    if (!may_roll(L, envs, ne) || !fr->whole)
        return false;
    for (int n = ne; n >= L->m->roll_copies; n--)
        for (int s = 1; n * s <= ne; s++) {
            if (ne % (n * s))
                continue;
            *r = (Roll){ .L = L, .fr = fr, .n = n, .s = s };
            if (even(r, envs, ne) && worth(r, st, nst, want, nwant, envs, ne))
                return true;
        }
    return false;
}

bool roll_stores(Lower *L, Frame *fr, const Store *const *st, int nst, const Env *const *envs, int ne)
{
    Roll r = { .L = L, .fr = fr };
    Form c;
    if (!roll_find(&r, st, nst, NULL, 0, envs, ne))
        return false;
    const Env **es = roll_open(&r, envs, ne, &c);
    if (es) {
        put_stores(L, fr, st, nst, es, ne / r.n);
        k_loop_end(L->k, NULL, NULL);
    }
    return true;
}

bool roll_reduce(Lower *L, Frame *fr, const Want *want, int n, const Env *const *envs, int ne, Val *out)
{
    Roll r = { .L = L, .fr = fr };
    Form c;
    if (!roll_find(&r, NULL, 0, want, n, envs, ne))
        return false;
    const Env **es = roll_open(&r, envs, ne, &c);
    if (!es)
        return true;
    int left = ne / r.n;
    Val *x = NEWS(Val, n * left);
    Kept *kept = NEWS(Kept, n);
    lower_reduce(L, fr, want, n, es, left, NULL, x);
    for (int j = 0; j < n && !L->failed; j++) {
        kept[j] = keep(L, x + j * left, left, ne);
        for (int o = 0; o < left; o++)
            kept_store(L, &kept[j], number(&r, o, c), x[j * left + o]);
    }
    k_loop_end(L->k, NULL, NULL);
    for (int j = 0; j < n * ne; j++)
        out[j] = L->failed ? 0 : k_load(L->k, kept[j / ne].buf, kept_at(&kept[j / ne], form_c(j % ne)));
    return true;
}
