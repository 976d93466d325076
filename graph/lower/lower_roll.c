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
static bool roll_begin(Roll *r, Lower *L, const Rolled *roll, Envs envs)
{
    *r = (Roll){ .L = L, .n = roll->n, .s = roll->s, .by = NEWS(int64_t, envs.at[0]->n + 1) };
    if (roll_even(envs, r->n, r->s, r->by, &r->by_k))
        return true;
    error_set(E_INTERNAL, "kernel %s: copies that are a loop are not as far from one another", L->k->name);
    L->failed = true;
    return false;
}

/* The environments of the loop: one for each of those that stay copies. */
static Envs rolled(const Roll *r, Envs envs, Form c)
{
    int left = envs.n / r->n;
    const Env **out = NEWS(const Env *, left);
    for (int j = 0; j < left; j++) {
        const Env *from = envs.at[j / r->s * r->n * r->s + j % r->s];
        Env *e = NEW(Env);
        *e = *from;
        e->f = NEWS(Form, from->n);
        for (int a = 0; a < from->n; a++)
            e->f[a] = form_add(from->f[a], form_mul(c, r->by[a]));
        e->k = -2 - r->L->nrolled++;            /* nobody else's */
        e->kf = form_addc(form_mul(c, r->by_k), from->k);
        out[j] = e;
    }
    return (Envs){ out, left };
}

Envs roll_all(Lower *L, Envs envs)
{
    Roll r;
    if (!L->spec->roll_moves || !roll_begin(&r, L, &(Rolled){ .n = envs.n, .s = 1 }, envs))
        return envs;
    return rolled(&r, envs, form_a(k_loop(L->k, "c", envs.n, 0, NULL, NULL)));
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

/* Evaluates what must be there, opens the loop: its environments. None after an error. */
static Envs roll_open(Roll *r, Frame *fr, const Rolled *roll, Envs envs, Form *c)
{
    Lower *L = r->L;
    Kept *kept = NEWS(Kept, roll->nfirst);
    Val *x = NEWS(Val, envs.n);
    for (int j = 0; j < roll->nfirst; j++) {
        const Leaf *l = &roll->first[j];
        eval_at(L, leaf_frame(fr, l), l->at.v, l->at.idx, envs, x);
        if (L->failed)
            return (Envs){ 0 };
        kept[j] = keep(L, x, envs.n, envs.n);
        for (int e = 0; e < envs.n; e++)
            kept_store(L, &kept[j], form_c(e), x[e]);
    }
    *c = form_a(k_loop(L->k, "c", r->n, 0, NULL, NULL));
    Envs es = rolled(r, envs, *c);
    for (int j = 0; j < roll->nfirst; j++)
        for (int o = 0; o < es.n; o++) {
            const Leaf *l = &roll->first[j];
            Val x = k_load(L->k, kept[j].buf, kept_at(&kept[j], number(r, o, *c)));
            memo_set(L, leaf_frame(fr, l), l->at.v, l->at.idx, es.at[o], x);
        }
    return es;
}

bool roll_stores(Lower *L, Frame *fr, const Puts *p, const Rolled *roll, Envs envs)
{
    Roll r;
    Form c;
    if (!roll->n)
        return false;
    Envs es = { 0 };
    if (roll_begin(&r, L, roll, envs))
        es = roll_open(&r, fr, roll, envs, &c);
    if (es.n) {
        put_stores(L, fr, p, &(Rolled){ 0 }, es);
        k_loop_end(L->k, NULL, NULL);
    }
    return true;
}

bool roll_reduce(Lower *L, Frame *fr, const SumLoop *of, Envs envs, Val *out)
{
    Roll r;
    Form c;
    if (!of->roll.n)
        return false;
    Envs es = { 0 };
    if (roll_begin(&r, L, &of->roll, envs))
        es = roll_open(&r, fr, &of->roll, envs, &c);
    if (!es.n)
        return true;
    int left = es.n, n = of->n;
    Val *x = NEWS(Val, n * left);
    Kept *kept = NEWS(Kept, n);
    lower_reduce(L, fr, of, es, NULL, x);
    for (int j = 0; j < n && !L->failed; j++) {
        kept[j] = keep(L, x + j * left, left, envs.n);
        for (int o = 0; o < left; o++)
            kept_store(L, &kept[j], number(&r, o, c), x[j * left + o]);
    }
    k_loop_end(L->k, NULL, NULL);
    for (int j = 0; j < n * envs.n; j++)
        out[j] = L->failed ? 0 :
            k_load(L->k, kept[j / envs.n].buf, kept_at(&kept[j / envs.n], form_c(j % envs.n)));
    return true;
}
