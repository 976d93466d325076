/*
 * lower_roll.c - a block of environments as a loop over its copies.
 *
 * In:  copies at even distances, and what the specification says is evaluated in front of the loop (sums in
 * registers), which goes through a private array.   Out: the loop.
 */
#include "evaluator.h"

#include <string.h>

typedef struct Roll {
    Lower *L;
    /* copies e with the same e / (n * s) and e % s become a loop over n */
    int n, s;
    /* how far from copy to copy: by atom of the environments, and k */
    int64_t *by, by_k;
} Roll;

/* false, and an error: they do not lie at even distances. */
static bool roll_begin(Roll *r, Lower *L, const Rolled *roll, const Env *const *envs, int ne)
{
    *r = (Roll){ .L = L, .n = roll->n, .s = roll->s, .by = NEWS(int64_t, envs[0]->n + 1) };
    if (roll_even(envs, ne, r->n, r->s, r->by, &r->by_k))
        return true;
    error_set(E_INTERNAL, "kernel %s: copies that are a loop are not as far from one another", L->k->name);
    L->failed = true;
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

int roll_all(Lower *L, const Env *const *envs, int ne, const Env *const **out)
{
    Roll r;
    *out = envs;
    if (!L->spec->roll_moves || !roll_begin(&r, L, &(Rolled){ .n = ne, .s = 1 }, envs, ne))
        return ne;
    *out = rolled(&r, envs, ne, form_a(k_loop(L->k, "c", ne, 0, NULL, NULL)));
    return 1;
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

static Frame *leaf_frame(Frame *fr, const Leaf *l)
{
    return l->outer ? fr->up : fr;
}

/* Evaluates what must be there, opens the loop: its environments. NULL after an error. */
static const Env **roll_open(
    Roll *r, Frame *fr, const Rolled *roll, const Env *const *envs, int ne, Form *c)
{
    Lower *L = r->L;
    Kept *kept = NEWS(Kept, roll->nfirst);
    Val *x = NEWS(Val, ne);
    for (int j = 0; j < roll->nfirst; j++) {
        const Leaf *l = &roll->first[j];
        eval_at(L, leaf_frame(fr, l), l->at.v, l->at.idx, envs, ne, x);
        if (L->failed)
            return NULL;
        kept[j] = keep(L, x, ne, ne);
        for (int e = 0; e < ne; e++)
            kept_store(L, &kept[j], form_c(e), x[e]);
    }
    *c = form_a(k_loop(L->k, "c", r->n, 0, NULL, NULL));
    const Env **es = rolled(r, envs, ne, *c);
    for (int j = 0; j < roll->nfirst; j++)
        for (int o = 0; o < ne / r->n; o++)
            memo_set(L, leaf_frame(fr, &roll->first[j]), roll->first[j].at.v, roll->first[j].at.idx, es[o],
                k_load(L->k, kept[j].buf, kept_at(&kept[j], number(r, o, *c))));
    return es;
}

bool roll_stores(
    Lower *L, Frame *fr, const Puts *p, const Rolled *roll, const Env *const *envs, int ne)
{
    Roll r;
    Form c;
    if (!roll->n)
        return false;
    const Env **es = roll_begin(&r, L, roll, envs, ne) ? roll_open(&r, fr, roll, envs, ne, &c) : NULL;
    if (es) {
        put_stores(L, fr, p, &(Rolled){ 0 }, es, ne / r.n);
        k_loop_end(L->k, NULL, NULL);
    }
    return true;
}

bool roll_reduce(Lower *L, Frame *fr, const SumLoop *of, const Env *const *envs, int ne, Val *out)
{
    Roll r;
    Form c;
    if (!of->roll.n)
        return false;
    const Env **es =
        roll_begin(&r, L, &of->roll, envs, ne) ? roll_open(&r, fr, &of->roll, envs, ne, &c) : NULL;
    if (!es)
        return true;
    int left = ne / r.n, n = of->n;
    Val *x = NEWS(Val, n * left);
    Kept *kept = NEWS(Kept, n);
    lower_reduce(L, fr, of, es, left, NULL, x);
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
