/*
 * lower_kernel.c - a specification -> a finished kernel: grid, blocks, what a work-item does.
 *
 * In:  outer variables with their register blocks, the vector variable, what to store.   Out: a Kernel.
 * What is not in a work-item's chunk is the grid. The last block of an axis overlaps its neighbour, and the
 * last chunk repeats a block, since stores are idempotent; where they are not (in_place, rows of sums)
 * blocks fit exactly.
 * Several specifications make one kernel: of one work-item, which computes them in order, or side by side.
 */
#include "evaluator.h"

#include <string.h>

Form grid_open(Lower *L, int d, int64_t n)
{
    if (L->item)
        return L->item;
    int64_t team = d ? 0 : L->spec->team;       /* of a group in all, one behind the other */
    const Atom *a = k_grid(L->k, arena_text("g%d", d), team ? n * team : n, team);
    if (!team)
        return form_a(a);
    L->member = k_item(L->k, 0);
    return k_group(L->k, 0);
}

/* What does not fit into a work-item: at most three dimensions, one where others are beside it; more are
 * digits of the last. */
static void plan_grid(Lower *L, const OuterAxis *ax, int n, Form *at)
{
    int axis[MAXRANK], m = 0;
    for (int run = 0; run < 2; run++)           /* a run moves after all others */
        for (int j = n - 1; j >= 0; j--)
            if (ax[j].chunk < ax[j].blocks && (ax[j].a == L->spec->run) == run)
                axis[m++] = j;
    for (int d = 0, from = 0; from < m; d++) {
        int to = d < 2 && !L->item ? from + 1 : m, w = to - from;
        int64_t dim[MAXRANK], all = 1;
        Form f[MAXRANK];
        for (int j = 0; j < w; j++) {           /* the last of them is the fastest digit */
            const OuterAxis *x = &ax[axis[to - 1 - j]];
            dim[j] = (x->blocks + x->chunk - 1) / x->chunk;
            all *= dim[j];
        }
        form_unlinear(grid_open(L, d, all), dim, w, f);
        for (int j = 0; j < w; j++)
            at[axis[to - 1 - j]] = f[j];
        from = to;
    }
    if (!m && L->spec->team)
        grid_open(L, 0, 1);
}

Form at_most(Lower *L, Form f, int64_t most)
{
    int64_t lo, hi;
    form_range(f, &lo, &hi);
    if (hi <= most)
        return f;
    Val v = k_index(L->k, f);
    v = k2(L->k, K_MIN, dtype_of(L, v), v, index_const(L, v, most));
    return k_value(L->k, v, 0, most);
}

static Envs block_envs(Lower *L, const OuterAxis *ax, int n, const Form *base);

/* The panels of the block of the vector; what goes by is not known yet. */
static void fill_panels(Lower *L, const OuterAxis *ax, int n, const Form *base)
{
    OuterAxis stay[MAXRANK];
    Form at[MAXRANK];
    int m = 0;
    for (int j = 0; j < n; j++)
        if (!spec_passes(L->spec, ax[j].a))
            stay[m] = ax[j], at[m++] = base[j];
    Envs envs = block_envs(L, stay, m, at);
    for (int k = 0; k < L->spec->npanel; k++)
        lower_panel(L, &L->spec->panel[k], envs);
}

/* The bases of a work-item's blocks; returns how many loops are open. */
static int open_axes(Lower *L, const OuterAxis *ax, int n, const Form *grid, Form *base)
{
    int opened = 0;
    for (int k = 0; k < 2 * n; k++) {
        int j = k % n;
        if (k == n && L->spec->npanel)
            fill_panels(L, ax, n, base);
        if (ax[j].inside != (k >= n))
            continue;
        Form f = grid[j] ? grid[j] : form_c(0);
        if (ax[j].chunk > 1) {
            Form in = form_a(k_loop(L->k, "o", ax[j].chunk, 0, NULL, NULL));
            f = form_add(form_mul(f, ax[j].chunk), in);
            opened++;
        }
        f = at_most(L, f, ax[j].blocks - 1);
        base[j] = at_most(L, form_mul(f, ax[j].size), ax[j].n - ax[j].size);
    }
    return opened;
}

/* The block, and where in the panels each of its vectors is: at its distance from where the block begins. */
static Envs block_envs(Lower *L, const OuterAxis *ax, int n, const Form *base)
{
    const Spec *s = L->spec;
    Form from[MAXRANK];
    /* items of what is behind an axis, whose own are a digit */
    int64_t left = s->tile ? s->team / s->tile->slices : s->team;
    for (int j = 0; j < n; j++) {
        from[j] = base[j];
        if (ax[j].items > 1) {
            left /= ax[j].items;
            Form i = form_mod(form_div(L->member, left), ax[j].items);
            from[j] = form_add(from[j], form_mul(i, ax[j].size / ax[j].items));
        }
    }
    Envs envs = spec_block(s, ax, n, from);
    const Env **at = NEWS(const Env *, envs.n);
    for (int e = 0; e < envs.n && s->npanel; e++) {
        Form vec = NULL;
        for (int j = 0; j < n; j++)
            vec = ax[j].a == s->vec ? from[j] : vec;
        at[e] = env_set(envs.at[e], s->at, form_add(env_get(envs.at[e], s->vec), form_mul(vec, -1)));
    }
    return s->npanel ? (Envs){ at, envs.n } : envs;
}

/* ==================== rows of sums */

typedef struct SumRow { const Store *s; MemRef row; Form chunk; } SumRow;

static void sum_clear(Lower *L, void *ctx, const Form *idx, Form flat)
{
    SumRow *r = ctx;
    (void)idx;
    Val zero = k_bits(L->k, (Dtype)r->row.buf->dt, 0);
    k_store(L->k, r->row.buf, flat, form_vector(flat) ? widen_val(L, zero) : zero);
}

static void sum_out(Lower *L, void *ctx, const Form *idx, Form flat)
{
    SumRow *r = ctx;
    Form at[MAXRANK + 1] = { r->chunk };
    memcpy(at + 1, idx, sizeof *idx * (size_t)r->s->nspace);
    Val x = k_load(L->k, r->row.buf, flat);
    Dtype from = (Dtype)r->row.buf->dt, to = (Dtype)r->s->to.buf->dt;
    store_memref(L, &r->s->to, at, r->s->nspace + 1, env_new(0),
        from == math_register(to) ? x : convert_val(L, x, from, to));
}

static void sum_sweep(Lower *L, SumRow *r, SweepFn *fn)
{
    int64_t dim[MAXRANK];
    for (int d = 0; d < r->s->nspace; d++)
        dim[d] = r->s->space[d]->hi + 1;
    sweep_space(L, dim, r->s->nspace, fn, r);
}

/* A private row a work-item for each sum over the outer steps: cleared, and what the steps store into
 * instead. */
static void sum_open(Lower *L, SumRow *r, const Store *s, Store *inside)
{
    int64_t dim[MAXRANK];
    for (int d = 0; d < s->nspace; d++)
        dim[d] = s->space[d]->hi + 1;
    Dtype dt = math_register((Dtype)L->spec->g->type[s->v].dt);
    r->s = s;
    r->row.buf = k_private(L->k, dt, space_size(s->space, s->nspace));
    r->row.layout = layout_natural(dim, s->nspace);
    inside->to = r->row;
    sum_sweep(L, r, sum_clear);
}

/* ==================== the kernel */

static bool empty_spec(const Spec *s)
{
    for (int j = 0; j < s->nouter; j++)
        if (!s->outer[j])
            return true;
    for (int j = 0; s->ins && s->kind != SPEC_SCATTER && j < s->ins->nout; j++)
        if (s->live[j] && !any_zero(&s->g->type[s->ins->out + j]))
            return false;
    return s->ins && s->kind != SPEC_SCATTER;
}

static int live_stores(const Spec *s, Store *out)
{
    int n = 0;
    for (int j = 0; j < s->nstore; j++)
        if (type_size(&s->g->type[s->store[j].v]))
            out[n++] = s->store[j];
    return n;
}

static void lower_outer(Lower *L)
{
    const Spec *s = L->spec;
    Store *st = NEWS(Store, s->nstore);
    int nst = live_stores(s, st), n = s->naxis, nsum = 0;
    if (s->kind == SPEC_LOOPS && !nst)
        return;
    const OuterAxis *ax = s->axis;
    Form grid[MAXRANK] = { 0 }, base[MAXRANK];
    L->k->work += s->total;
    plan_grid(L, ax, n, grid);
    SumRow *sum = NEWS(SumRow, nst);
    for (int j = 0; j < nst; j++)
        if (st[j].chunk > 0) {
            Store *orig = NEW(Store);
            *orig = st[j];
            sum_open(L, &sum[nsum++], orig, &st[j]);
        }
    int opened = open_axes(L, ax, n, grid, base);
    Envs envs = block_envs(L, ax, n, base);
    L->base = envs, L->base_of = base;
    if (s->tile && !s->tile->product)
        tile_copies(L, envs.at[0]);
    if (s->kind == SPEC_LANES)
        region_lanes(L, envs);
    else if (s->kind == SPEC_ROWS)
        region_rows(L, envs);
    else
        run_stage(L, L->top, &s->stage[0], st, envs);
    while (opened--)
        k_loop_end(L->k, NULL, NULL);
    for (int j = 0; j < nsum; j++) {
        sum[j].chunk = grid[0] ? grid[0] : form_c(0);
        sum_sweep(L, &sum[j], sum_out);
    }
}

/* Said before the first load: what the kernel writes. */
static void say_writes(Lower *L)
{
    const Spec *s = L->spec;
    for (int j = 0; j < s->nstore; j++)
        if (s->store[j].to.buf)
            k_writes(L->k, s->store[j].to.buf);
    for (int j = 0; s->ins && j < s->ins->nout; j++)
        if (s->live[j] && s->stored[s->ins->out + j].buf)
            k_writes(L->k, s->stored[s->ins->out + j].buf);
    for (int j = 0; s->scratch && j < 2 * s->ins->nin; j++)
        if (s->scratch[j].buf)
            k_writes(L->k, s->scratch[j].buf);
    if (s->sort && s->sort->count)
        k_writes(L->k, s->sort->counts.buf);
}

static void lower_spec(Lower *L)
{
    const Spec *s = L->spec;
    Loc was = loc_enter(s->ins ? s->ins : s->nstore ? s->g->def[s->store[s->nstore - 1].v] : NULL);
    L->vec = s->vec;
    L->top = frame_new(L, s->g);
    L->top->whole = true;
    L->top->stored = s->stored, L->top->instead = s->instead, L->top->made = s->made;
    frame_push(L, L->top);
    L->top->users = s->kind == SPEC_ROWS ? NULL : s->uses;
    if (!empty_spec(s)) {
        if (spec_blocks(s))
            lower_outer(L);
        else if (s->kind == SPEC_SCATTER)
            lower_scatter(L);
        else if (s->kind == SPEC_SORT)
            lower_sort(L);
        else
            lower_cumulative(L);
    }
    if (L->failed && !error_pending())
        error_set(E_INTERNAL, "kernel %s: a value could not be built", s->name);
    loc_set(was);
}

/* Each in a branch of its own, for as many work-items as it has. */
static void lower_beside(Lower *L, int n)
{
    int64_t all = 0;
    for (int j = 0; j < n; j++)
        all += spec_items(L[j].spec);
    Form at = grid_open(&L[0], 0, all);
    for (int j = 0; j < n && !error_pending(); j++) {
        Kernel *k = L[j].k;
        int64_t items = spec_items(L[j].spec);
        Val v = k_index(k, at), first = index_const(&L[j], v, 0), end = index_const(&L[j], v, items);
        k_if(k, k2(k, K_AND, DT_BOOL, k2(k, K_GE, DT_BOOL, v, first), k2(k, K_LT, DT_BOOL, v, end)));
        L[j].item = k_value(k, clamp_val(&L[j], v, 0, items - 1), 0, items - 1);
        lower_spec(&L[j]);
        k_if_end(k, 0, NULL, NULL, NULL);
        at = form_addc(at, -items);
    }
}

Kernel *lower(Spec *const *spec, int n)
{
    Kernel *k = k_new(spec[0]->name);
    Lower *L = NEWS(Lower, n);
    for (int j = 0; k && j < n; j++) {
        L[j] = (Lower){ .spec = spec[j], .k = k, .alone = spec[j]->alone };
        say_writes(&L[j]);
    }
    if (n > 1 && !spec[0]->alone)
        lower_beside(L, n);
    else
        for (int j = 0; j < n && !error_pending(); j++)
            lower_spec(&L[j]);
    if (error_pending())
        return NULL;
    if (spec[0]->team)
        k->ahead = true;
    else
        k_groups(k, spec[0]->group);
    k_finish(k);
    return error_pending() ? NULL : k;
}
