/*
 * lower_stores.c - what a kernel stores: phases in front of the stores, private rows between them, loops
 * over spaces.
 *
 * In:  stores at a block of environments.   Out: loops and stores.
 * The phases of a row kernel: reductions whose index is known in front of the stores run in levels, those of
 * one level and space in one loop. What two loops over the same space need and is dear lies in a private row
 * between them.
 */
#include "evaluator.h"

#include <string.h>

/* ==================== phases */

typedef struct Phase { int level; const Atom *const *ks; int nk; bool lanes; Want *want; int n, cap; } Phase;
typedef struct Ready {
    Lower *L; Frame *fr;
    const Env *const *envs; int ne;
    Map level;                                  /* by element */
    Phase *phase; int n, cap;
} Ready;

static void phase_add(Ready *q, int level, Ref v, const Form *idx, const Atom *const *ks, int nk, bool lanes)
{
    Phase *p = NULL;
    for (int j = 0; j < q->n && !p; j++)
        if (q->phase[j].level == level && q->phase[j].ks == ks && q->phase[j].lanes == lanes)
            p = &q->phase[j];
    if (!p) {
        PUSH(q->phase, q->n, q->cap, (Phase){ .level = level, .ks = ks, .nk = nk, .lanes = lanes });
        p = &q->phase[q->n - 1];
    }
    PUSH(p->want, p->n, p->cap, (Want){ v, idx });
}

static Onward ready_visit(DemandWalk *w, Visit *x)
{
    (void)w;
    return !x->i || x->i->op == OP_region || frame_place(x->fr, x->v).buf || frame_param(x->fr, x->v) ?
        WALK_PAST : WALK_INTO;
}

static int *level_of(Ready *q, Ref v, const Idx *idx)
{
    const uint64_t key[2] = { v, PTR(idx) };
    void **p = map_at(&q->level, key, sizeof key);
    return *p ? *p : (*p = NEW(int));
}

/* The highest level of what an element needs. */
static int level_below(Ready *q, const Visit *x)
{
    int level = 0;
    const Atom **e;
    for (int j = 0; j < x->n; j++) {
        int l = *level_of(q, x->d[j].v, idx_of(x->d[j].idx, x->d[j].n));
        level = l > level ? l : level;
        for (int k = elems_of(x->d[j].idx, x->d[j].n, &e) - 1; k >= 0; k--)
            if (e[k]->g == x->g) {
                l = *level_of(q, e[k]->v, idx_of(e[k]->idx, e[k]->nidx));
                level = l > level ? l : level;
            }
    }
    return level;
}

static void ready_leave(DemandWalk *w, Visit *x)
{
    Ready *q = w->ctx;
    visit_demands(x);
    int level = level_below(q, x), rank = x->key->n;
    if (optab[x->i->op].element == IS_SUM && env_binds(q->envs[0], x->idx, rank) &&
        space_size(x->ks, x->nk) > (q->ne > 4 ? 1 : q->L->m->unroll)) {
        bool fresh = true, lanes = has_lanes(q->L, x->idx, rank, q->envs, q->ne);
        for (int j = 0; j < x->nk; j++)
            fresh = fresh && !env_get(q->envs[0], x->ks[j]);
        if (fresh && !(chained(x->fr, x->v) && lanes) && !any_zero(&x->g->type[x->i->in[0]]))
            phase_add(q, ++level, x->v, x->idx, x->ks, x->nk, lanes);
    }
    *level_of(q, x->v, x->key) = level;
}

/* In order of levels; of one level in the order they were found. */
static void sort_phases(Phase *p, int n)
{
    for (int j = 1; j < n; j++) {
        Phase x = p[j];
        int k = j;
        for (; k > 0 && p[k - 1].level > x.level; k--)
            p[k] = p[k - 1];
        p[k] = x;
    }
}

/* ==================== private rows */

typedef struct RowPlan {
    Lower *L; Frame *fr;
    int copies;
    /* what phases give; what an earlier loop evaluates: its space */
    Map stop, before;
    const Atom *const *space; int nspace;
    Key *mine; int nmine, cap;
} RowPlan;

typedef struct SpaceOf { const Atom *const *a; int n; } SpaceOf;

static bool covers(const Form *idx, int n, const Atom *const *space, int nspace)
{
    const AtomSet *s = idx_deps(idx, n);
    for (int j = 0; j < nspace; j++)
        if (space[j]->hi && !set_has(s, space[j]))
            return false;
    for (int k = 0; k < s->n; k++) {            /* nor may it depend on a loop inside of these */
        bool mine = s->a[k]->depth == 0;
        for (int j = 0; j < nspace && !mine; j++)
            mine = space[j] == s->a[k];
        if (!mine)
            return false;
    }
    return true;
}

static Row *row_new(RowPlan *p, Ref v)
{
    /* vectors where the vector is outside */
    int64_t size = space_size(p->space, p->nspace), wide = p->L->vec ? W : 1, s = wide;
    if (size * p->copies * wide > p->L->m->row)
        return NULL;
    Row *r = NEW(Row);
    r->f = wide > 1 ? form_a(LANE) : form_c(0);
    for (int j = p->nspace - 1; j >= 0; j--) {
        r->f = form_add(r->f, form_mul(form_a(p->space[j]), s));
        s *= p->space[j]->hi + 1;
    }
    r->pad = size * wide + (size % 512 == 0 && p->copies > 1 ? 16 : 0);
    r->buf = k_private(p->L->k, (Dtype)p->fr->g->type[v].dt, r->pad * p->copies);
    r->next = p->fr->row;
    p->fr->row = r;
    return r;
}

static Onward row_visit(DemandWalk *w, Visit *x)
{
    RowPlan *p = w->ctx;
    Key key = key_of(x->v, 0, 0, x->idx, x->key->n);
    if (map_get(&p->stop, key.w, key.n) || frame_place(p->fr, x->v).buf || frame_param(p->fr, x->v) ||
        !x->i || x->i->op == OP_region)
        return WALK_PAST;
    bool red = optab[x->i->op].element == IS_SUM;
    const SpaceOf *was = map_get(&p->before, key.w, key.n);
    if ((red || elem_cost(x->g, x->i) >= (double)p->L->m->dear) && was && was->a == p->space &&
        covers(x->idx, x->key->n, p->space, p->nspace)) {
        void **row = map_at(&p->fr->rows, key.w, key.n);
        if (!*row)
            *row = row_new(p, x->v);
        if (*row)
            return WALK_PAST;
    }
    PUSH(p->mine, p->nmine, p->cap, key);
    return WALK_INTO;
}

static void row_loop(RowPlan *p, const Atom *const *space, int nspace, const Demand *d, int n)
{
    if (space_size(space, nspace) <= p->L->m->unroll)
        return;
    p->space = space, p->nspace = nspace, p->nmine = 0;
    DemandWalk w = { .g = p->fr->g, .visit = row_visit, .ctx = p };
    for (int j = 0; j < n; j++)
        demand_walk(&w, d[j].v, d[j].idx, 0, NULL);
    SpaceOf *s = NEW(SpaceOf);
    *s = (SpaceOf){ space, nspace };
    for (int j = 0; j < p->nmine; j++) {
        void **b = map_at(&p->before, p->mine[j].w, p->mine[j].n);
        *b = *b ? *b : s;
    }
}

/* The same space of a store as elem_space gave it: pointers to compare by. */
static const Atom *const *store_space(const Phase *ph, int n, const Store *s)
{
    for (int j = 0; j < n; j++)
        if (ph[j].nk == s->nspace && !memcmp(ph[j].ks, s->space, sizeof *s->space * (size_t)s->nspace))
            return ph[j].ks;
    return s->space;
}

static void plan_rows(Lower *L, Frame *fr, const Phase *ph, int nph, const Store *st, int nst, int copies)
{
    RowPlan p = { .L = L, .fr = fr, .copies = copies };
    for (int j = 0; j < nph; j++)
        for (int w = 0; w < ph[j].n; w++) {
            Key key = key_of(ph[j].want[w].v, 0, 0, ph[j].want[w].idx, fr->g->type[ph[j].want[w].v].rank);
            *map_at(&p.stop, key.w, key.n) = &p;
        }
    for (int j = 0; j < nph; j++) {
        Demand *d = NEWS(Demand, 2 * ph[j].n);
        int n = 0, nk;
        const Atom *const *ks;
        for (int w = 0; w < ph[j].n; w++)
            n += elem_reduce(fr->g, fr->g->def[ph[j].want[w].v], ph[j].want[w].idx, &ks, &nk, d + n);
        row_loop(&p, ph[j].ks, ph[j].nk, d, n);
    }
    for (int j = 0; j < nst; j++)
        if (st[j].nspace) {
            Demand d = { .v = st[j].v, .n = st[j].nidx };
            memcpy(d.idx, st[j].idx, sizeof d.idx);
            row_loop(&p, store_space(ph, nph, &st[j]), st[j].nspace, &d, 1);
        }
}

static void rows_filled(Frame *fr)
{
    for (Row *r = fr->row; r; r = r->next)
        r->filled = r->filled || r->written;
}

/* ==================== stores */

void run_stores(Lower *L, Frame *fr, const Store *st, int n, const Env *const *envs, int ne)
{
    Ready q = { .L = L, .fr = fr, .envs = envs, .ne = ne };
    DemandWalk w = {
        .g = fr->g, .fr = fr, .visit = ready_visit, .leave = ready_leave, .ctx = &q, .computed = true
    };
    for (int j = 0; j < n; j++)
        demand_walk(&w, st[j].v, st[j].idx, 0, NULL);
    sort_phases(q.phase, q.n);
    plan_rows(L, fr, q.phase, q.n, st, n, ne);
    for (int p = 0; p < q.n; p++) {
        Phase *ph = &q.phase[p];
        Val *out = NEWS(Val, ph->n * ne);
        int most = ne < L->m->sums ? (int)L->m->sums / ne : 1;
        for (int j = 0; j < ph->n; j += most) {
            int m = ph->n - j < most ? ph->n - j : most;
            if (!roll_reduce(L, fr, ph->want + j, m, envs, ne, out + j * ne))
                lower_reduce(L, fr, ph->want + j, m, envs, ne, NULL, out + j * ne);
        }
        for (int j = 0; j < ph->n * ne; j++)
            memo_set(L, fr, ph->want[j / ne].v, ph->want[j / ne].idx, envs[j % ne], out[j]);
        rows_filled(fr);                        /* whole by now */
    }
    bool *done = NEWS(bool, n);
    for (int j = 0; j < n; j++) {
        const Store **one = NEWS(const Store *, n);
        int m = 0;
        for (int o = j; o < n; o++)
            if (!done[o] && st[o].nspace == st[j].nspace &&
                !memcmp(st[o].space, st[j].space, sizeof *st[j].space * (size_t)st[j].nspace)) {
                one[m++] = &st[o];
                done[o] = true;
            }
        Loc was = loc_enter(fr->g->def[st[j].v]);
        if (m)
            store_loop(L, fr, st[j].space, st[j].nspace, one, m, envs, ne);
        loc_set(was);
    }
    fr->rows = (Map){ 0 };
    fr->row = NULL;
}

void put_stores(Lower *L, Frame *fr, const Store *const *st, int n, const Env *const *envs, int ne)
{
    if (roll_stores(L, fr, st, n, envs, ne))
        return;
    Val *x = NEWS(Val, ne);
    for (int j = 0; j < n; j++) {
        Loc was = loc_enter(fr->g->def[st[j]->v]);
        eval_at(L, fr, st[j]->v, st[j]->idx, envs, ne, x);
        for (int e = 0; e < ne && !L->failed; e++) {
            if (!st[j]->chunk) {
                store_place(L, &st[j]->to, st[j]->idx, st[j]->nidx, envs[e], x[e]);
                continue;
            }
            Form at[MAXRANK];                   /* a row of sums */
            for (int d = 0; d < st[j]->nspace; d++)
                at[d] = form_a(st[j]->space[d]);
            Val sum = load_place(L, &st[j]->to, at, st[j]->nspace, envs[e]);
            sum = reduce_step(L, OP_reduce_sum, dtype_of(L, sum), sum, x[e]);
            store_place(L, &st[j]->to, at, st[j]->nspace, envs[e], sum);
        }
        loc_set(was);
    }
}

/* The variable of a store's space that is the vector. */
static int store_vector(
    Lower *L, Frame *fr, const Atom *const *space, int n, const Store *const *st, int nst)
{
    if (L->vec || n == 1)
        return n - 1;
    Loads all = { 0 };
    for (int j = 0; j < nst; j++) {
        Form f;
        if (st[j]->chunk) {
            Form at[MAXRANK];
            int64_t dim[MAXRANK];
            for (int d = 0; d < st[j]->nspace; d++)
                at[d] = form_a(st[j]->space[d]), dim[d] = st[j]->space[d]->hi + 1;
            f = form_linear(at, dim, st[j]->nspace);
        } else
            f = layout_form(st[j]->to.layout, NULL, st[j]->idx, st[j]->nidx, NULL);
        PUSH(all.f, all.n, all.cap, f);
    }
    for (int j = 0; j < nst; j++)
        lower_loads(fr, st[j]->v, st[j]->idx, &all);
    int best = n - 1;
    int64_t least = INT64_MAX;
    for (int p = n - 1; p >= 0; p--) {
        int64_t c = space[p]->hi + 1 < W ? 1000 : 0;
        for (int j = 0; j < all.n; j++)
            c += load_price(L->m, all.f[j], space[p]);
        if (c < least)
            least = c, best = p;
    }
    return best;
}

void store_loop(Lower *L, Frame *fr, const Atom *const *space, int n, const Store *const *st, int nst,
    const Env *const *envs, int ne)
{
    int64_t size = space_size(space, n), dim[MAXRANK];
    bool lanes = L->vec;
    if (size <= L->m->unroll && (lanes || size == 1)) {
        const Env **es = NEWS(const Env *, size * ne);
        for (int j = 0; j < n; j++)
            dim[j] = space[j]->hi + 1;
        for (int c = 0; c < size; c++) {
            Form at[MAXRANK];
            form_unlinear(form_c(c), dim, n, at);
            for (int e = 0; e < ne; e++)
                es[c * ne + e] = env_sets(envs[e], space, at, n);
        }
        put_stores(L, fr, st, nst, es, (int)size * ne);
        return;
    }
    int v = store_vector(L, fr, space, n, st, nst), opened = 0;
    const Env **es = NEWS(const Env *, ne);
    Form at[MAXRANK];
    for (int j = 0; j < n; j++) {
        at[j] = form_c(0);
        if (j != v && space[j]->hi) {
            at[j] = form_a(k_loop(L->k, "j", space[j]->hi + 1, 0, NULL, NULL));
            opened++;
        }
    }
    for (int e = 0; e < ne; e++)
        es[e] = env_sets(envs[e], space, at, n);
    int tile = L->spec->inner_tile > 1 ? L->spec->inner_tile : 1;
    int64_t len = space[v]->hi + 1, nv = lanes ? 0 : len / W;
    /* where storing twice does no harm, what is left is a vector that overlaps the one before */
    bool twice = nv && len % W > 1 && L->spec->kind == SPEC_LOOPS && !L->spec->in_place && !L->spec->chunk;
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
        put_stores(L, fr, st, nst, env_block(es, ne, part[p].u, space[v], x), ne * part[p].u);
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
