/*
 * lower_team.c - loops that the work-items of a group share out.
 *
 * In:  a sum or stores over variables inside of a block that is the whole group's.
 * Out: what each item does of it; sums that all items have.
 * Element t * items + i is item i's in turn t, so what a subgroup reads at once lies side by side. Loops of
 * few turns are written out: what two of them need of an element is then in a register, since both find it
 * evaluated. A sum meets in local memory: each item stores its own, some add sixteen of those each, and
 * everybody adds up what these have; always in that order.
 */
#include "reduce.h"

#include <string.h>

/* The variables as digits of one number, the innermost last; so many whole turns, and items that have one
 * more. Turns are written out, or a loop of `loops` times `each` and some that are left. */
typedef struct Spread {
    const Atom *a[MAXRANK]; int64_t dim[MAXRANK]; int n;
    int64_t size, items, turns, rest, loops;
    int each, left;
} Spread;

static Spread spread_of(const Lower *L, const Atom *const *ks, int nk, int innermost)
{
    Spread s = { .size = 1, .items = L->spec->team };
    for (int pass = 0; pass < 2; pass++)
        for (int j = 0; j < nk; j++)
            if ((j == innermost) == pass) {
                s.a[s.n] = ks[j];
                s.size *= s.dim[s.n++] = ks[j]->hi + 1;
            }
    s.turns = s.size / s.items, s.rest = s.size % s.items;
    bool loop = s.turns + (s.rest > 0) > L->spec->held;
    s.each = (int)(loop ? L->spec->turn : s.turns);
    s.loops = s.each ? s.turns / s.each : 0;
    s.left = s.each ? (int)(s.turns % s.each) : 0;
    return s;
}

/* Environments of u turns from one on. */
static Envs at_turns(const Lower *L, const Spread *s, Envs envs, Form first, int u)
{
    const Env **es = NEWS(const Env *, u * envs.n);
    for (int c = 0; c < u; c++) {
        Form f[MAXRANK];
        form_unlinear(form_add(form_mul(form_addc(first, c), s->items), L->member), s->dim, s->n, f);
        for (int e = 0; e < envs.n; e++)
            es[e * u + c] = env_sets(envs.at[e], s->a, f, s->n);
    }
    return (Envs){ es, u * envs.n };
}

/* The last turn, which some items do not have: those are at the last element. has: which do. */
static Envs at_rest(Lower *L, const Spread *s, Envs envs, Val *has)
{
    Form f[MAXRANK], m = form_addc(L->member, s->turns * s->items);
    Val v = k_index(L->k, m);
    *has = k2(L->k, K_LT, DT_BOOL, v, index_const(L, v, s->size));
    form_unlinear(at_most(L, m, s->size - 1), s->dim, s->n, f);
    const Env **es = NEWS(const Env *, envs.n);
    for (int e = 0; e < envs.n; e++)
        es[e] = env_sets(envs.at[e], s->a, f, s->n);
    return (Envs){ es, envs.n };
}

/* ==================== sums */

/* What all items have of each of n sums, put together. */
static void join_items(Lower *L, const Reds *all, int each, Val *acc)
{
    Kernel *k = L->k;
    int64_t items = L->spec->team, parts = items / W;
    int n = all->n * each;
    Buffer **own = NEWS(Buffer *, n), **sums = NEWS(Buffer *, n);
    if (k->cur)                                 /* others may still read those of the last time */
        k_barrier(k);
    for (int j = 0; j < n; j++) {
        own[j] = k_local(k, dtype_of(L, acc[j]), items);
        k_store(k, own[j], L->member, acc[j]);
    }
    k_barrier(k);
    if (parts > 4) {
        Val i = k_index(k, L->member);
        for (int j = 0; j < n; j++)
            sums[j] = k_local(k, dtype_of(L, acc[j]), W);
        k_if(k, k2(k, K_LT, DT_BOOL, i, index_const(L, i, W)));
        for (int j = 0; j < n; j++) {
            const Red *r = &all->r[j / each];
            Form row = form_mul(at_most(L, form_mod(L->member, W), parts - 1), W);
            Val x = reduce_across(L, r->op, r->acc, k_load(k, own[j], form_add(row, form_a(LANE))));
            if (parts < W)
                x = select_val(L, k2(k, K_LT, DT_BOOL, i, index_const(L, i, parts)), x,
                    reduce_identity(L, r->op, r->acc));
            k_store(k, sums[j], form_mod(L->member, W), x);
        }
        k_if_end(k, 0, NULL, NULL, NULL);
        k_barrier(k);
        own = sums, parts = 1;
    }
    for (int j = 0; j < n; j++) {
        const Red *r = &all->r[j / each];
        Val x = 0;
        for (int64_t p = 0; p < parts; p++) {
            Val y = k_load(k, own[j], form_addc(form_a(LANE), p * W));
            x = p ? reduce_step(L, r->op, r->acc, x, y) : y;
        }
        acc[j] = reduce_across(L, r->op, r->acc, x);
    }
}

/* u sums side by side become one: pairs, as far apart as they can be. */
static Val folded(Lower *L, const Red *r, Val *x, int u)
{
    for (int m = u; m > 1; m = (m + 1) / 2)
        for (int c = 0; c < m / 2; c++)
            x[c] = reduce_step(L, r->op, r->acc, x[c], x[m - 1 - c]);
    return x[0];
}

/* `loops` times u turns from one on. */
typedef struct Turns { int64_t first, loops; int u; } Turns;

/* They go into sums of their own, which are added to acc. */
static void sum_turns(Lower *L, const Reds *all, const Spread *s, Turns turns, Envs envs, Val *acc)
{
    int n = all->n * envs.n, u = turns.u;
    Form first = form_c(turns.first);
    if (!turns.loops || !u)
        return;
    SCRATCH(Val, part, n * u);
    for (int j = 0; j < n * u; j++)
        part[j] = reduce_identity(L, all->r[j / u / envs.n].op, all->r[j / u / envs.n].acc);
    if (turns.loops > 1)
        first = form_add(first, form_mul(form_a(k_loop(L->k, "k", turns.loops, n * u, part, part)), u));
    reduce_steps(L, all, at_turns(L, s, envs, first, u), part);
    if (turns.loops > 1)
        k_loop_end(L->k, part, part);
    for (int j = 0; j < n; j++) {
        const Red *r = &all->r[j / envs.n];
        acc[j] = reduce_step(L, r->op, r->acc, acc[j], folded(L, r, part + j * u, u));
    }
}

void team_reduce(Lower *L, const Reds *all, const SumLoop *of, Envs envs, Val *acc)
{
    Spread s = spread_of(L, all->r->ks, all->r->nk, of->vector);
    sum_turns(L, all, &s, (Turns){ 0, s.loops, s.each }, envs, acc);
    sum_turns(L, all, &s, (Turns){ s.loops * s.each, 1, s.left }, envs, acc);
    if (s.rest) {
        int n = all->n * envs.n;
        SCRATCH(Val, x, n);
        Val has;
        Envs at = at_rest(L, &s, envs, &has);
        for (int j = 0; j < n; j++)
            x[j] = reduce_identity(L, all->r[j / envs.n].op, all->r[j / envs.n].acc);
        SCRATCH(Val, none, n);
        memcpy(none, x, sizeof *x * (size_t)n);
        reduce_steps(L, all, at, x);
        for (int j = 0; j < n; j++) {
            const Red *r = &all->r[j / envs.n];
            acc[j] = reduce_step(L, r->op, r->acc, acc[j], select_val(L, has, x[j], none[j]));
        }
    }
    if (!L->failed)
        join_items(L, all, envs.n, acc);
}

/* ==================== stores */

void team_stores(Lower *L, Frame *fr, const Puts *puts, Envs envs)
{
    const Store *st = puts->st[0];
    Kernel *k = L->k;
    const Rolled none = { 0 };
    Spread s = spread_of(L, st->space, st->nspace, puts->loop->vector);
    Form first = form_c(0);
    if (s.loops > 1)
        first = form_mul(form_a(k_loop(k, "j", s.loops, 0, NULL, NULL)), s.each);
    if (s.loops)
        put_stores(L, fr, puts, &none, at_turns(L, &s, envs, first, s.each));
    if (s.loops > 1)
        k_loop_end(k, NULL, NULL);
    if (s.left)
        put_stores(L, fr, puts, &none, at_turns(L, &s, envs, form_c(s.loops * s.each), s.left));
    if (s.rest) {
        Val has;
        Envs at = at_rest(L, &s, envs, &has);
        k_if(k, has);
        put_stores(L, fr, puts, &none, at);
        k_if_end(k, 0, NULL, NULL, NULL);
    }
}
