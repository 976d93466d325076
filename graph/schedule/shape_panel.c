/*
 * shape_panel.c - operands of which a work-item copies panels for itself.
 *
 * In:  what a product loads, counted; its vector and blocks. Out: the panels of its Spec.
 * A block of 8 rows and 32 columns of a product reads 32 neighbours of each row of its right-hand side.
 * Where that operand is large, those lie a page apart, no processor fetches them ahead, and where rows are
 * a power of two apart they push one another out of its caches. So a work-item copies the 32 columns once,
 * and then many rows of the left-hand side go by, which are read in order: they are turned before, if they
 * do not lie that way.
 *
 *      work-item        p[k][0 .. 31] = b[k][j .. j + 31]      for all k
 *                       c[i .. i + 7][j .. j + 31] =           for many blocks i
 *                           sum over k of a[i .. i + 7][k] * p[k][0 .. 31]
 */
#include "schedule.h"

static const Machine *machine(const Traffic *t) { return t->s->target->machine; }

static double each_bytes(const Traffic *t, const Load *l)
{
    return (double)dtype_size((Dtype)t->s->g->type[l->v].dt);
}

/* How many positions of outer variables that it does not depend on. */
static double passing(const Vars *space, const AtomSet *deps)
{
    double n = 1;
    for (int k = 0; k < space->n; k++)
        n *= set_has(deps, space->a[k]) ? 1 : (double)atom_extent(space->a[k]);
    return n;
}

static bool blocks_share(const Spec *spec, const Traffic *t, const Vars *space)
{
    if (!spec->vec || spec->chunk || !traffic_shared(t, spec->vec) ||
        atom_extent(spec->vec) < machine(t)->tile_vectors * W)
        return false;
    for (int k = 0; k < spec->nstore; k++)
        if (spec->store[k].nspace)
            return false;
    for (int k = 0; k < space->n; k++)
        if (space->a[k] != spec->vec && atom_extent(space->a[k]) > 1 && traffic_shared(t, space->a[k]))
            return true;
    return false;
}

/* The loops around a load that it depends on. */
static const Vars *steps_of(const Load *l)
{
    const Atom *a[MAXRANK];
    int n = 0;
    for (int k = 0; k < l->loops->n && n < MAXRANK; k++)
        if (form_depends(l->f, l->loops->a[k]))
            a[n++] = l->loops->a[k];
    return vars_of(a, n);
}

/* Is each step's load so far from the last one's that nobody fetches it ahead? */
static bool steps_apart(const Traffic *t, const Load *l)
{
    const Vars *k = steps_of(l);
    int64_t apart = k->n ? form_coef(l->f, k->a[k->n - 1]) : 0;
    return (double)(apart < 0 ? -apart : apart) * each_bytes(t, l) > (double)machine(t)->ahead;
}

bool panel_reads(const Spec *spec, const Traffic *t, const Load *l, const Vars *space)
{
    const Machine *m = machine(t);
    if (!m->own_panel || l->store || !l->v || !l->loops->n || !spec->vec || !form_affine(l->f) ||
        !form_depends(l->f, spec->vec) || !blocks_share(spec, t, space))
        return false;
    if (form_coef(l->f, spec->vec) == 1 && !steps_apart(t, l))
        return false;
    double row = steps_of(l)->vol * each_bytes(t, l);
    return row * (double)(m->tile_vectors * W) <= (double)m->own_panel &&
        row * (double)atom_extent(spec->vec) > (double)m->own_panel_from &&
        passing(space, form_deps(l->f)) >= (double)m->own_panel_uses;
}

bool panel_passes_by(const Spec *spec, const Traffic *t, const Load *l, const Vars *space)
{
    if (!spec->vec || l->store || !l->v || !l->loops->n || form_depends(l->f, spec->vec) ||
        !steps_apart(t, l))
        return false;
    for (int k = 0; k < t->nload; k++)
        if (panel_reads(spec, t, &t->load[k], space))
            return true;
    return false;
}

static bool blocked(const Spec *spec, const AtomSet *deps)
{
    for (int k = 0; k < spec->nblock; k++)
        if (spec->block[k].a != spec->vec && set_has(deps, spec->block[k].a))
            return true;
    return false;
}

static bool have(const Panel *p, int n, const Load *l)
{
    for (int k = 0; k < n; k++)
        if (p[k].v == l->v && p[k].idx == l->idx)
            return true;
    return false;
}

void choose_panels(Spec *spec, const Traffic *t, const Vars *space)
{
    Panel *p = arena_alloc(sizeof *p * (size_t)(t->nload + 1));
    int64_t width = W;
    int n = 0;
    double room = (double)machine(t)->own_panel;
    const AtomSet *deps = NULL;
    for (int k = 0; k < spec->nblock; k++)
        width = spec->block[k].a == spec->vec ? W * spec->block[k].n : width;
    for (int k = 0; k < t->nload; k++) {
        const Load *l = &t->load[k];
        if (!panel_reads(spec, t, l, space) || have(p, n, l))
            continue;
        const AtomSet *all = deps ? set_join(deps, l->idx->deps) : l->idx->deps;
        double bytes = steps_of(l)->vol * each_bytes(t, l) * (double)width;
        if (bytes > room || blocked(spec, all) || passing(space, all) < (double)machine(t)->own_panel_uses)
            continue;
        p[n++] = (Panel){ .v = l->v, .idx = l->idx, .ks = steps_of(l) };
        room -= bytes;
        deps = all;
    }
    spec->panel = p, spec->npanel = n;
    spec->at = elem_space("p", &width, 1, 0)[0];
}
