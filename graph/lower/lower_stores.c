/*
 * lower_stores.c - what a kernel stores: phases in front of the stores, private rows between them, loops
 * over spaces.
 *
 * In:  a stage of the specification, at a block of environments.   Out: loops and stores.
 */
#include "evaluator.h"

#include <string.h>

/* ==================== private rows */

static Row *row_new(Lower *L, Frame *fr, const KeptRow *k, int copies)
{
    /* vectors where the vector is outside */
    int64_t wide = L->vec ? W : 1, s = wide;
    Row *r = NEW(Row);
    r->f = wide > 1 ? form_a(LANE) : form_c(0);
    for (int j = k->nspace - 1; j >= 0; j--) {
        r->f = form_add(r->f, form_mul(form_a(k->space[j]), s));
        s *= atom_extent(k->space[j]);
    }
    r->pad = k->apart;
    r->buf = k_private(L->k, (Dtype)fr->g->type[k->of.v].dt, r->pad * copies);
    r->next = fr->row;
    return fr->row = r;
}

static void rows_open(Lower *L, Frame *fr, const Stage *g, int copies)
{
    for (int j = 0; j < g->nrow; j++) {
        const Want *w = &g->row[j].of;
        MapKey key = map_key(w->v, 0, 0, w->idx, fr->g->type[w->v].rank);
        *map_at(&fr->rows, key.w, key.n) = row_new(L, fr, &g->row[j], copies);
    }
}

static void rows_filled(Frame *fr)
{
    for (Row *r = fr->row; r; r = r->next)
        r->filled = r->filled || r->written;
}

/* ==================== stores */

static void run_phase(Lower *L, Frame *fr, const Phase *ph, Envs envs)
{
    int n = 0;
    for (int j = 0; j < ph->nloop; j++)
        n += ph->loop[j].n;
    Val *out = NEWS(Val, n * envs.n), *x = out;
    for (int j = 0; j < ph->nloop; x += ph->loop[j++].n * envs.n)
        if (!roll_reduce(L, fr, &ph->loop[j], envs, x))
            lower_reduce(L, fr, &ph->loop[j], envs, NULL, x);
    x = out;
    for (int j = 0; j < ph->nloop; j++)
        for (int w = 0; w < ph->loop[j].n; w++)
            for (int e = 0; e < envs.n; e++)
                memo_set(L, fr, ph->loop[j].want[w].v, ph->loop[j].want[w].idx, envs.at[e], *x++);
}

void run_stage(Lower *L, Frame *fr, const Stage *g, const Store *st, Envs envs)
{
    rows_open(L, fr, g, envs.n);
    for (int p = 0; p < g->nphase; p++) {
        run_phase(L, fr, &g->phase[p], envs);
        rows_filled(fr);                        /* whole by now */
    }
    for (int j = 0; j < g->nloop; j++) {
        const StoreLoop *l = &g->loop[j];
        const Store **of = NEWS(const Store *, l->n);
        for (int k = 0; k < l->n; k++)
            of[k] = &st[l->store[k]];
        Loc was = loc_enter(fr->g->def[of[0]->v]);
        store_loop(L, fr, &(Puts){ l, of }, envs);
        loc_set(was);
    }
    fr->rows = (Map){ 0 };
    fr->row = NULL;
}

void put_stores(Lower *L, Frame *fr, const Puts *p, const Rolled *roll, Envs envs)
{
    const Store *const *st = p->st;
    if (roll_stores(L, fr, p, roll, envs))
        return;
    Val *x = NEWS(Val, envs.n);
    for (int j = 0; j < p->loop->n; j++) {
        Loc was = loc_enter(fr->g->def[st[j]->v]);
        eval_at(L, fr, st[j]->v, st[j]->idx, envs, x);
        for (int e = 0; e < envs.n && !L->failed; e++) {
            if (!st[j]->chunk) {
                store_memref(L, &st[j]->to, st[j]->idx, st[j]->nidx, envs.at[e], x[e]);
                continue;
            }
            Form at[MAXRANK];                   /* a row of sums */
            for (int d = 0; d < st[j]->nspace; d++)
                at[d] = form_a(st[j]->space[d]);
            Val sum = load_memref(L, &st[j]->to, at, st[j]->nspace, envs.at[e]);
            sum = reduce_step(L, OP_reduce_sum, dtype_of(L, sum), sum, x[e]);
            store_memref(L, &st[j]->to, at, st[j]->nspace, envs.at[e], sum);
        }
        loc_set(was);
    }
}

/* All of its values side by side. */
static void store_whole(Lower *L, Frame *fr, const Puts *p, Envs envs)
{
    put_stores(L, fr, p, &p->loop->roll[0], env_space(envs, p->st[0]->space, p->st[0]->nspace));
}

void store_loop(Lower *L, Frame *fr, const Puts *puts, Envs envs)
{
    if (L->spec->team && !L->spec->tile) {
        team_stores(L, fr, puts, envs);
        return;
    }
    if (puts->loop->whole) {
        bool first = L->spec->tile && L->spec->tile->slices > 1;
        if (first) {
            Val slice = k_index(L->k, tile_slice(L));
            k_if(L->k, k2(L->k, K_EQ, DT_BOOL, slice, index_const(L, slice, 0)));
        }
        store_whole(L, fr, puts, envs);
        if (first)
            k_if_end(L->k, 0, NULL, NULL, NULL);
        return;
    }
    const Atom *const *space = puts->st[0]->space;
    int v = puts->loop->vector, n = puts->st[0]->nspace, opened = 0;
    const Env **es = NEWS(const Env *, envs.n);
    Form at[MAXRANK];
    for (int j = 0; j < n; j++) {
        at[j] = form_c(0);
        if (j != v && space[j]->hi) {
            at[j] = form_a(k_loop(L->k, "j", space[j]->hi + 1, 0, NULL, NULL));
            opened++;
        }
    }
    for (int e = 0; e < envs.n; e++)
        es[e] = env_sets(envs.at[e], space, at, n);
    int tile = L->spec->inner_tile > 1 ? L->spec->inner_tile : 1;
    int64_t len = space[v]->hi + 1, nv = L->vec ? 0 : len / W;
    bool twice = puts->loop->twice;
    const struct { bool vec; int u; int64_t first, count; } part[4] = {
        { true, tile, 0, nv / tile }, { true, 1, nv / tile * tile, nv % tile },
        { false, 1, nv * W, twice ? 0 : len - nv * W }, { true, 1, 0, twice }
    };
    for (int p = 0; p < 4; p++) {
        if (!part[p].count)
            continue;
        SCRATCH(Form, x, tile);
        Form base = form_c(0);
        bool loop = part[p].count > 1;
        if (loop)
            base = form_mul(form_a(k_loop(L->k, "j", part[p].count, 0, NULL, NULL)), part[p].u);
        for (int c = 0; c < part[p].u; c++) {
            x[c] = form_addc(base, c + part[p].first);
            x[c] = p == 3 ? form_addc(form_a(LANE), len - W) :
                part[p].vec ? form_add(form_mul(x[c], W), form_a(LANE)) : x[c];
        }
        put_stores(L, fr, puts, &puts->loop->roll[part[p].u > 1 ? 0 : part[p].vec ? 1 : 2],
            env_block((Envs){ es, envs.n }, part[p].u, space[v], x));
        if (loop)
            k_loop_end(L->k, NULL, NULL);
    }
    while (opened--)
        k_loop_end(L->k, NULL, NULL);
}

void sweep_space(Lower *L, const int64_t *dim, int n, SweepFn *fn, void *ctx)
{
    int64_t size = 1;
    for (int d = 0; d < n; d++)
        size *= dim[d];
    for (int vec = 1; vec >= 0; vec--) {
        int64_t count = vec ? size / W : size % W;
        if (!count)
            continue;
        Form idx[MAXRANK], f = form_c(0);
        if (count > 1)
            f = form_a(k_loop(L->k, "s", count, 0, NULL, NULL));
        f = vec ? form_add(form_mul(f, W), form_a(LANE)) : form_addc(f, size / W * W);
        form_unlinear(f, dim, n, idx);
        fn(L, ctx, idx, f);
        if (count > 1)
            k_loop_end(L->k, NULL, NULL);
    }
}
