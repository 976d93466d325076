/*
 * shape_tile.c - tiles that the items of a group copy to local memory.
 *
 * In:  a specification and what it loads, on a machine with groups of several items.
 * Out: its Tile, if it has one.
 *
 *      product     a few steps of both operands; each item has a block of rows and a vector of columns
 *      turned      what is loaded along another variable than it is stored along: copied as it lies in
 *                  memory, read as it is stored. Rows of the tile are one element longer, so that a
 *                  column lies in all banks
 *
 * The last tile along a variable overlaps the one before, so that none has an edge.
 */
#include "schedule.h"

#include <string.h>

static const Machine *machine(const Spec *s) { return s->target->machine; }
static int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }

/* Bytes of an element where it is computed with: half floats are f32 there. */
static int64_t in_register(const Traffic *t, Ref v)
{
    Dtype dt = (Dtype)t->s->g->type[v].dt;
    return (int64_t)dtype_size(dtype_half(dt) ? DT_F32 : dt);
}

static bool plain_stores(const Spec *s)
{
    for (int k = 0; k < s->nstore; k++)
        if (s->store[k].nspace || s->store[k].chunk)
            return false;
    return true;
}

/* Do elements that follow one another in a lie side by side where the first result is stored? */
static bool stored_along(const Traffic *t, const Atom *a)
{
    for (int k = 0; k < t->nload; k++)
        if (t->load[k].store)
            return form_coef(t->load[k].f, a) == 1;
    return false;
}

/* ==================== the product */

typedef struct Product { const Traffic *t; Ref v; const Form *idx; const Idx *key; int count; } Product;

static Onward find_product(DemandWalk *w, Visit *x)
{
    Product *p = w->ctx;
    if (!x->i || (p->t->s->stored[x->v].buf && !refs_have(p->t->made, x->v)))
        return WALK_PAST;
    if (optab[x->i->op].element != IS_SUM)
        return WALK_INTO;
    p->v = x->v, p->idx = x->idx, p->key = x->key;
    p->count++;
    return WALK_PAST;
}

/* The outer variable that only one operand depends on: where results lie side by side, else the longest. */
static const Atom *free_of(const Traffic *t, const Vars *space, const AtomSet *mine, const AtomSet *other,
    bool columns)
{
    const Atom *best = NULL;
    for (int k = 0; k < space->n; k++) {
        const Atom *a = space->a[k];
        if (!set_has(mine, a) || set_has(other, a))
            continue;
        if (columns && stored_along(t, a) && atom_extent(a) >= W)
            return a;
        if (!best || atom_extent(a) >= atom_extent(best))
            best = a;
    }
    return best;
}

/* Is what it loads side by side along the last of the steps, and not along a? */
static bool along_steps(const Traffic *t, const Staged *o, const Atom *a, const Atom *step)
{
    bool steps = false;
    for (int k = 0; k < t->nload; k++) {
        const Load *l = &t->load[k];
        if (l->store || !l->loops->n || !(form_depends(l->f, a)))
            continue;
        if (form_coef(l->f, a) == 1)
            return false;
        steps = steps || form_coef(l->f, step) == 1;
    }
    (void)o;
    return steps;
}

static int64_t halved(int64_t n, int64_t most)
{
    int64_t p = 1;
    while (2 * p <= lesser(n, most))
        p *= 2;
    return p;
}

/* Rows of an item, and items along both: so many that all cores have some. */
static void choose_tile(const Machine *m, Tile *t, double results, int *rows, int64_t bytes)
{
    int64_t nrow = atom_extent(t->along[0]), ncolumn = atom_extent(t->along[1]);
    double busy = (double)(m->cores * m->busy * m->lanes), waves = (double)m->product_waves;
    bool many = bytes <= (int64_t)sizeof(float) &&
        results >= waves * busy * (double)m->product_rows * W;
    *rows = (int)halved(nrow, many ? m->product_rows : m->product_rows_few);
    int64_t most = lesser(m->group_items, m->product_items), *down = &t->items[0], *across = &t->items[1];
    *down = *across = 1;
    while (2 * *down * *across <= most) {
        bool taller = 2 * *down * *rows <= nrow, wider = 2 * *across * W <= ncolumn;
        double each = waves * (double)(*down * *rows * *across * W);
        if ((!taller && !wider) || (*down * *across >= m->lanes && results < each * (double)m->cores))
            break;
        if (taller && (!wider || *down * *rows <= *across * W))
            *down *= 2;
        else
            *across *= 2;
    }
    int64_t side = *down * *rows + *across * W + 2 * m->product_pad,
            all = *down * *rows * *across * W * bytes;
    t->steps = m->product_steps;
    while (t->steps > m->product_steps_least &&
        t->steps * side * bytes > lesser(m->product_bytes, m->local_memory))
        t->steps /= 2;
    t->steps = lesser(t->steps, (int64_t)t->ks->vol);
    double items = results / (double)(*rows * W);
    int64_t rest = m->local_memory - t->steps * side * bytes;
    while (2 * t->slices * *down * *across <= lesser(m->group_items, m->product_sliced) && all <= rest &&
        items * (double)t->slices < waves * busy && 2 * t->slices * m->product_slice <= t->steps &&
        t->ks->vol >= (double)(2 * t->slices * m->product_steps))
        t->slices *= 2;
}

bool group_product(Spec *spec, const Traffic *t, const Vars *space)
{
    const Machine *m = machine(spec);
    const Graph *g = t->s->g;
    Product p = { .t = t };
    DemandWalk w = { .g = g, .visit = find_product, .ctx = &p };
    if (!grouped(m) || !m->local_memory || t->nred != 1 || !plain_stores(spec))
        return false;
    for (int k = 0; k < spec->nstore; k++)
        demand_walk(&w, spec->store[k].v, spec->store[k].idx, 0, NULL);
    if (p.count != 1 || g->def[p.v]->op != OP_dot)
        return false;
    Demand d[2];
    const Atom *const *ks;
    int nk;
    elem_reduce(g, g->def[p.v], p.idx, &ks, &nk, d);
    const AtomSet *deps[2] = { idx_deps(d[0].idx, d[0].n), idx_deps(d[1].idx, d[1].n) };
    const Atom *f[2][2];                        /* of each operand: as rows, as columns */
    for (int o = 0; o < 2; o++)
        for (int c = 0; c < 2; c++)
            f[o][c] = free_of(t, space, deps[o], deps[!o], c);
    if (!f[0][0] || !f[1][0])
        return false;
    int o = stored_along(t, f[0][1]) && !stored_along(t, f[1][1]) ? 0 : 1;     /* which has the columns */
    o = atom_extent(f[o][1]) >= W ? o : !o;
    Tile *tile = NEW(Tile);
    *tile = (Tile){ .n = 2, .slices = 1, .product = p.v, .along = { f[!o][0], f[o][1] },
                    .ks = vars_of(ks, nk), .step = elem_space("s", &m->product_steps, 1, 0)[0] };
    if (atom_extent(tile->along[1]) < W || atom_extent(tile->along[0]) < m->small_axis ||
        tile->ks->vol < (double)m->product_steps_least)
        return false;
    int64_t bytes = in_register(t, d[0].v);
    int rows;
    choose_tile(m, tile, space->vol, &rows, bytes);
    for (int c = 0; c < 2; c++) {
        Staged *of = &tile->of[c];
        *of = (Staged){ .v = d[c].v, .idx = arena_copy(d[c].idx, sizeof(Form) * (size_t)d[c].n),
                        .a = { tile->step, tile->along[c == o] } };
        of->fast = along_steps(t, of, of->a[1], ks[nk - 1]) ? 0 : 1;
        of->pad = of->fast ? 0 : c == o ? (int)m->product_pad : 1;
    }
    spec->tile = tile;
    spec->team = tile->items[0] * tile->items[1] * tile->slices;
    spec->vec = tile->along[1];
    spec->block[spec->nblock++] = (Block){ tile->along[0], rows };
    spec->contract = true;
    return true;
}

/* ==================== what is loaded across */

/* A variable along which it lies side by side. */
static const Atom *beside(const Load *l, const Vars *space)
{
    for (int k = 0; k < space->n; k++)
        if (form_coef(l->f, space->a[k]) == 1)
            return space->a[k];
    return NULL;
}

bool group_turned(Spec *spec, const Traffic *t, const Vars *space)
{
    const Machine *m = machine(spec);
    const Atom *a = NULL, *b = NULL;
    const int64_t side = m->turned_side;
    if (!grouped(m) || !m->local_memory || t->nred || !plain_stores(spec) || spec->chunk)
        return false;
    for (int k = 0; k < space->n; k++)
        a = stored_along(t, space->a[k]) ? space->a[k] : a;
    if (!a || atom_extent(a) < side)
        return false;
    Tile *tile = NEW(Tile);
    int64_t bytes = 0;
    for (int k = 0; k < t->nload && tile->n < TILES; k++) {
        const Load *l = &t->load[k];
        int64_t apart = form_coef(l->f, a);
        const Atom *other = beside(l, space);
        if (l->store || (apart >= -1 && apart <= 1) || !other || other == a || (b && other != b) ||
            atom_extent(other) < side)
            continue;
        int64_t each = in_register(t, l->v);
        if (bytes + side * (side + 1) * each > m->local_memory)
            break;
        b = other, bytes += side * (side + 1) * each;
        tile->of[tile->n++] = (Staged){ .v = l->v, .idx = l->idx->f, .a = { a, b }, .fast = 1, .pad = 1 };
    }
    if (!b)
        return false;
    tile->along[0] = b, tile->along[1] = a, tile->slices = 1;
    tile->items[1] = side, tile->items[0] = lesser(m->turned_items, m->group_items / side);
    if (tile->items[0] < 1)
        return false;
    spec->tile = tile;
    spec->team = tile->items[0] * tile->items[1];
    spec->block[spec->nblock++] = (Block){ b, (int)(side / tile->items[0]) };
    return true;
}
