/*
 * lower_tile.c - operands of which a group copies a tile to local memory, before its items read from there.
 *
 * In:  the tiles of a Spec, a block that is the whole group's. Out: local arrays, filled; whoever evaluates
 * the value at that index from here on loads from there (Row).
 * Who reads what is decided by the operand: items that follow one another read what lies side by side in
 * memory. Who needs it is decided by what is computed from it. Between the two is a barrier, and one behind,
 * if more is copied.
 *
 *      for each s steps:   a[k][i] = x[i][k]  of the rows of the tile; b[k][j] = y[k][j] of its columns
 *                          barrier
 *                          sums of the item's own rows and columns += a[k][i] * b[k][j]    for each k
 *                          barrier
 */
#include "reduce.h"

#include <string.h>

/* The first position of the tile along a variable; of the steps in it: 0. */
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

/* How an item copies its part of one: x, of environments es. */
typedef struct Copy { Val *x; const Env **es; int n; } Copy;

/* Reads it: `steps` of them from `first` on, if it is of a product. */
static Copy copy_read(Lower *L, const Staged *o, Form first, int64_t steps, const Env *e)
{
    const Spec *s = L->spec;
    int64_t n[2], fast = o->fast, items = s->team;
    for (int d = 0; d < 2; d++)
        n[d] = o->a[d] == s->tile->step ? steps : tile_size(s, o->a[d]);
    int copies = (int)((n[0] * n[1] + items - 1) / items);
    Copy c = { NEWS(Val, copies), NEWS(const Env *, copies), copies };
    for (int j = 0; j < copies; j++) {
        /* the last items of the last copy do the same as the last one that has something to do */
        Form at[2], m = at_most(L, form_addc(L->member, j * items), n[0] * n[1] - 1);
        at[fast] = form_mod(m, n[fast]), at[!fast] = form_div(m, n[fast]);
        c.es[j] = e;
        for (int d = 0; d < 2; d++)
            c.es[j] = o->a[d] == s->tile->step ? at_step(s, c.es[j], first, at[d]) :
                env_set(c.es[j], o->a[d], form_add(tile_base(L, o->a[d]), at[d]));
    }
    eval_at(L, L->top, o->v, o->idx, (Envs){ c.es, copies }, c.x);
    return c;
}

static void copy_write(Lower *L, const Copy *c, const Row *r)
{
    for (int j = 0; j < c->n && !L->failed; j++)
        k_store(L->k, r->buf, form_in(L, r->f, c->es[j]), c->x[j]);
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
    for (int j = 0; j < t->n; j++) {
        Copy c = copy_read(L, &t->of[j], NULL, 0, e);
        copy_write(L, &c, row[j] = row_of(L, &t->of[j]));
    }
    k_barrier(L->k);
    for (int j = 0; j < t->n; j++)
        read_tile(L, &t->of[j], row[j]);
}

Form tile_slice(const Lower *L)
{
    const Spec *s = L->spec;
    return form_div(L->member, s->team / s->tile->slices);
}

/* ==================== products */

typedef struct Product {
    Lower *L; const Reds *all; Envs envs;
    Row *row[TILES]; Copy copy[TILES];
    Val *x; int nacc, n;                        /* carried from tile to tile: sums, then what was read */
} Product;

static void read_step(Product *p, Form first, int64_t steps)
{
    const Tile *t = p->L->spec->tile;
    for (int j = 0; j < t->n; j++)
        read_tile(p->L, &t->of[j], NULL);
    for (int j = 0; j < t->n; j++)
        p->copy[j] = copy_read(p->L, &t->of[j], first, steps, p->envs.at[0]);
}

/* What was read goes to local memory. */
static void write_step(Product *p)
{
    const Tile *t = p->L->spec->tile;
    for (int j = 0; j < t->n; j++)
        copy_write(p->L, &p->copy[j], p->row[j]);
    k_barrier(p->L->k);
}

static void add_step(Product *p, Form first, Form step)
{
    const Env **es = NEWS(const Env *, p->envs.n);
    for (int e = 0; e < p->envs.n; e++)
        es[e] = at_step(p->L->spec, p->envs.at[e], first, step);
    reduce_steps(p->L, p->all, (Envs){ es, p->envs.n }, p->x);
}

/* The steps that are in local memory: of each slice one after the other. */
static void sum_step(Product *p, Form first, int64_t steps)
{
    Lower *L = p->L;
    Kernel *k = L->k;
    const Tile *t = L->spec->tile;
    for (int j = 0; j < t->n; j++)
        read_tile(L, &t->of[j], p->row[j]);
    int64_t each = steps / t->slices, rest = steps % t->slices;
    Form slice = tile_slice(L), at = form_c(0);
    if (each > 1)
        at = form_mul(form_a(k_loop(k, "k", each, p->nacc, p->x, p->x)), t->slices);
    if (each)
        add_step(p, first, form_add(at, slice));
    if (each > 1)
        k_loop_end(k, p->x, p->x);
    if (rest) {
        const Val *was = arena_copy(p->x, sizeof *p->x * (size_t)p->nacc);
        Val i = k_index(k, slice), *x = NEWS(Val, p->nacc);
        k_if(k, k2(k, K_LT, DT_BOOL, i, index_const(L, i, rest)));
        add_step(p, first, at_most(L, form_addc(slice, each * t->slices), steps - 1));
        memcpy(x, p->x, sizeof *x * (size_t)p->nacc);
        k_if_end(k, p->nacc, x, was, p->x);
    }
}

/* The first slice adds what the others have, one after the other. */
static void join_slices(Product *p)
{
    Lower *L = p->L;
    Kernel *k = L->k;
    const Tile *t = L->spec->tile;
    const Red *r = p->all->r;
    int64_t rows = tile_size(L->spec, t->along[0]), columns = tile_size(L->spec, t->along[1]);
    Buffer *sums = k_local(k, dtype_of(L, p->x[0]), rows * columns);
    Val slice = k_index(k, tile_slice(L)), *y = NEWS(Val, p->nacc);
    for (int64_t q = 1; q < t->slices && !L->failed; q++) {
        for (int pass = 0; pass < 2; pass++) {
            k_if(k, k2(k, K_EQ, DT_BOOL, slice, index_const(L, slice, pass ? 0 : q)));
            for (int e = 0; e < p->nacc; e++) {
                Form at[2];
                for (int d = 0; d < 2; d++)
                    at[d] = form_add(env_get(p->envs.at[e], t->along[d]),
                        form_mul(tile_base(L, t->along[d]), -1));
                Form f = form_add(form_mul(at[0], columns), at[1]);
                if (pass)
                    y[e] = reduce_step(L, r->op, r->acc, p->x[e], k_load(k, sums, f));
                else
                    k_store(k, sums, f, p->x[e]);
            }
            if (pass)
                k_if_end(k, p->nacc, y, arena_copy(p->x, sizeof *y * (size_t)p->nacc), p->x);
            else
                k_if_end(k, 0, NULL, NULL, NULL);
            if (!pass || q + 1 < t->slices)
                k_barrier(k);
        }
    }
}

/* What the copies read is carried along, behind the sums; or comes from there. */
static void carried(Product *p, bool out)
{
    for (int j = 0, n = p->nacc; j < p->L->spec->tile->n; j++)
        for (int c = 0; c < p->copy[j].n; c++, n++)
            *(out ? &p->copy[j].x[c] : &p->x[n]) = *(out ? &p->x[n] : &p->copy[j].x[c]);
}

/* All whole tiles: while one is summed up, the next one is read. */
static void whole_tiles(Product *p, int64_t count, int64_t steps)
{
    Lower *L = p->L;
    read_step(p, form_c(0), steps);
    if (count > 1) {
        carried(p, false);
        Form t = form_a(k_loop(L->k, "t", count, p->n, p->x, p->x));
        carried(p, true);
        write_step(p);
        read_step(p, form_mul(at_most(L, form_addc(t, 1), count - 1), steps), steps);
        carried(p, false);
        sum_step(p, form_mul(t, steps), steps);
        k_barrier(L->k);
        k_loop_end(L->k, p->x, p->x);
        return;
    }
    write_step(p);
    sum_step(p, form_c(0), steps);
}

void tile_reduce(Lower *L, const Reds *all, Envs envs, Val *acc)
{
    const Spec *s = L->spec;
    const Tile *t = s->tile;
    int64_t n = (int64_t)t->ks->vol, count = n / t->steps, rest = n % t->steps;
    Product p = { .L = L, .all = all, .envs = envs, .nacc = envs.n, .n = envs.n };
    for (int j = 0; j < t->n; j++) {
        p.row[j] = row_of(L, &t->of[j]);
        p.n += (int)((t->steps * tile_size(s, t->of[j].a[1]) + s->team - 1) / s->team);
    }
    p.x = NEWS(Val, p.n);
    for (int e = 0; e < envs.n; e++)
        p.x[e] = widen_val(L, acc[e]);
    if (count)
        whole_tiles(&p, count, t->steps);
    if (rest) {
        if (count == 1)
            k_barrier(L->k);
        read_step(&p, form_c(count * t->steps), rest);
        write_step(&p);
        sum_step(&p, form_c(count * t->steps), rest);
    }
    for (int j = 0; j < t->n; j++)
        read_tile(L, &t->of[j], NULL);
    if (t->slices > 1)
        join_slices(&p);
    memcpy(acc, p.x, sizeof *acc * (size_t)envs.n);
}
