/*
 * lower_tile.c - operands of which a group copies a tile to local memory, before its items read from there.
 *
 * In:  the tiles of a Spec, a block that is the whole group's. Out: local arrays, filled; whoever evaluates the
 * value at that index from here on loads from there (Row).
 * Who reads what is decided by the operand: items that follow one another read what lies side by side in memory. Who needs
 * it is decided by what is computed from it. Between the two is a barrier, and one behind, if more is copied.
 *
 *      for each s steps:   a[k][i] = x[i][k]  of the rows of the tile; b[k][j] = y[k][j] of its columns
 *                          barrier
 *                          sums of the item's own rows and columns += a[k][i] * b[k][j]    for each k
 *                          barrier
 */
#include "reduce.h"

/* The first place of the tile along a variable; of the steps in it: 0. */
static Form tile_base(const Lower *L, const Atom *a)
{
    const Spec *s = L->spec;
    for (int j = 0; j < s->naxis; j++)
        if (s->axis[j].a == a)
            return L->base_of[j];
    return form_c(0);
}

static int64_t tile_size(const Spec *s, const Atom *a)
{
    for (int j = 0; j < s->naxis; j++)
        if (s->axis[j].a == a)
            return s->axis[j].size;
    return s->tile->steps;
}

/* Where in the local array an element is, of the variables of the tile. */
static Row *row_of(Lower *L, const Staged *o)
{
    const Spec *s = L->spec;
    int64_t row = tile_size(s, o->a[1]) + o->pad;
    Row *r = NEW(Row);
    Form base[2] = { tile_base(L, o->a[0]), tile_base(L, o->a[1]) };
    Form at[2];
    for (int d = 0; d < 2; d++)
        at[d] = form_add(form_a(o->a[d]), form_mul(base[d], -1));
    r->f = form_add(form_mul(at[0], row), at[1]);
    Dtype dt = math_register((Dtype)L->top->g->type[o->v].dt);
    r->buf = k_local(L->k, dt, tile_size(s, o->a[0]) * row);
    return r;
}

/* The variables of a product, `first` steps on. */
static const Env *at_step(const Spec *s, const Env *e, Form first, Form step)
{
    const Tile *t = s->tile;
    int64_t dim[MAXRANK];
    Form f[MAXRANK];
    for (int j = 0; j < t->ks->n; j++)
        dim[j] = atom_extent(t->ks->a[j]);
    form_unlinear(form_add(first, step), dim, t->ks->n, f);
    return env_set(env_sets(e, t->ks->a, f, t->ks->n), t->step, step);
}

/* All of one: `steps` of them from `first` on, if it is of a product. */
static void copy_tile(Lower *L, const Staged *o, const Row *r, Form first, int64_t steps, const Env *e)
{
    const Spec *s = L->spec;
    int64_t n[2], fast = o->fast, items = s->team;
    for (int d = 0; d < 2; d++)
        n[d] = o->a[d] == s->tile->step ? steps : tile_size(s, o->a[d]);
    int copies = (int)((n[0] * n[1] + items - 1) / items);
    const Env **es = NEWS(const Env *, copies);
    Val *x = NEWS(Val, copies);
    for (int c = 0; c < copies; c++) {
        /* the last items of the last copy do the same as the last one that has something to do */
        Form at[2], m = at_most(L, form_addc(L->member, c * items), n[0] * n[1] - 1);
        at[fast] = form_mod(m, n[fast]), at[!fast] = form_div(m, n[fast]);
        es[c] = e;
        for (int d = 0; d < 2; d++)
            es[c] = o->a[d] == s->tile->step ? at_step(s, es[c], first, at[d]) :
                env_set(es[c], o->a[d], form_add(tile_base(L, o->a[d]), at[d]));
    }
    eval_at(L, L->top, o->v, o->idx, (Envs){ es, copies }, x);
    for (int c = 0; c < copies && !L->failed; c++)
        k_store(L->k, r->buf, form_in(L, r->f, es[c]), x[c]);
}

/* From here on they are read from there; row NULL: they are not. */
static void read_tile(Lower *L, const Staged *o, Row *row)
{
    MapKey key = map_key(o->v, 0, 0, o->idx, L->top->g->type[o->v].rank);
    *map_at(&L->top->rows, key.w, key.n) = row;
    if (row)
        row->filled = true;
}

void tile_copies(Lower *L, const Env *e)
{
    const Tile *t = L->spec->tile;
    Row *row[TILES];
    for (int j = 0; j < t->n; j++)
        copy_tile(L, &t->of[j], row[j] = row_of(L, &t->of[j]), NULL, 0, e);
    k_barrier(L->k);
    for (int j = 0; j < t->n; j++)
        read_tile(L, &t->of[j], row[j]);
}

/* `steps` steps of a product from `first` on. */
static void tile_steps(Lower *L, const Reds *all, Row *const *row, Form first, int64_t steps, Envs envs, Val *acc)
{
    const Spec *s = L->spec;
    const Tile *t = s->tile;
    for (int j = 0; j < t->n; j++)
        read_tile(L, &t->of[j], NULL);
    for (int j = 0; j < t->n; j++)
        copy_tile(L, &t->of[j], row[j], first, steps, envs.at[0]);
    k_barrier(L->k);
    for (int j = 0; j < t->n; j++)
        read_tile(L, &t->of[j], row[j]);
    Form k = steps > 1 ? form_a(k_loop(L->k, "k", steps, envs.n, acc, acc)) : form_c(0);
    const Env **es = NEWS(const Env *, envs.n);
    for (int e = 0; e < envs.n; e++)
        es[e] = at_step(s, envs.at[e], first, k);
    reduce_steps(L, all, (Envs){ es, envs.n }, acc);
    if (steps > 1)
        k_loop_end(L->k, acc, acc);
}

void tile_reduce(Lower *L, const Reds *all, Envs envs, Val *acc)
{
    const Tile *t = L->spec->tile;
    int64_t n = (int64_t)t->ks->vol, count = n / t->steps, rest = n % t->steps;
    Row *row[TILES];
    Form first = form_c(0);
    for (int j = 0; j < t->n; j++)
        row[j] = row_of(L, &t->of[j]);
    for (int e = 0; e < envs.n; e++)
        acc[e] = widen_val(L, acc[e]);
    if (count > 1)
        first = form_mul(form_a(k_loop(L->k, "t", count, envs.n, acc, acc)), t->steps);
    if (count)
        tile_steps(L, all, row, first, t->steps, envs, acc);
    if (count > 1 || (count && rest))
        k_barrier(L->k);
    if (count > 1)
        k_loop_end(L->k, acc, acc);
    if (rest)
        tile_steps(L, all, row, form_c(count * t->steps), rest, envs, acc);
    for (int j = 0; j < t->n; j++)
        read_tile(L, &t->of[j], NULL);
}
