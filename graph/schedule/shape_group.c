/*
 * shape_group.c - kernels of machines whose work-items run in lockstep, in groups.
 *
 * In:  a specification and what it loads. Out: what an item, or a group of them, does of it; how many items
 * a group has, and how many groups a core then holds.
 * Items that follow one another have elements that do, so what a subgroup loads and stores of a row lies
 * side by side, and takes as few sectors as it has bytes for; a vector an item, as processors like it, puts
 * sixteen elements between neighbours. Which machines these are is one fact: group_items, 1 where groups
 * have one item.
 *
 *      map         an element an item
 *      rows        a group a row: sums and stores inside of it are shared out, sums meet in local memory
 *      columns     an element an item, each with sums of its own whose loads lie beside its neighbours'
 */
#include "schedule.h"

#include <string.h>

bool grouped(const Machine *m) { return m->lanes > 1 && m->group_items > 1; }

static const Machine *machine(const Spec *s) { return s->target->machine; }

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }

/* ==================== a map: an element an item */

bool group_map(Spec *spec, const Traffic *t, const Vars *space)
{
    if (!grouped(machine(spec)) || t->nred || !space->n || spec->chunk)
        return false;
    for (int k = 0; k < spec->nstore; k++)
        if (spec->store[k].nspace)
            return false;
    for (int k = 0; k < t->nload; k++) {        /* a transpose is better off in blocks of registers */
        int64_t apart = form_coef(t->load[k].f, space->a[space->n - 1]);
        if (apart < -1 || apart > 1)
            return false;
    }
    int64_t n = (int64_t)space->vol;
    spec->outer[0] = spec->flat = elem_space("m", &n, 1, 0)[0];
    spec->nouter = 1, spec->nflat = space->n;
    memcpy(spec->flat_of, space->a, sizeof *space->a * (size_t)space->n);
    for (int k = 0; k < t->nload; k++)
        spec->work += 2;
    for (int k = 0; k < t->nwork; k++)
        spec->work += t->work[k].cost;
    return true;
}

/* ==================== rows: a group a row */

/* Elements of the outermost loops around a load. */
static double inside(const Vars *l)
{
    double n = 1;
    for (int k = 0; k < l->n; k++)
        n *= l->a[k]->depth == l->a[0]->depth ? (double)atom_extent(l->a[k]) : 1;
    return n;
}

/* A few elements each, so that loads of one hide those of another. */
int64_t group_items(const Machine *m, double n, int64_t each)
{
    if (!grouped(m) || n < (double)larger(m->lanes, m->unroll + 1))
        return 0;
    int64_t items = larger(m->lanes, W), most = lesser(m->group_items, m->group_most);
    while (2 * items <= most && n > (double)(each * items))
        items *= 2;
    return items <= most ? items : 0;
}

bool group_rows(Spec *spec, const Traffic *t, const Vars *space)
{
    const Machine *m = machine(spec);
    double n = 0, code = 1;
    int64_t rows = 0;
    if (!grouped(m) || spec->vec || spec->chunk || !t->nred)
        return false;
    bool shared = false;                        /* what all rows load is loaded once by a group of several */
    for (int k = 0; k < t->nload; k++) {
        double each = inside(t->load[k].loops);
        n = each > n ? each : n;
        rows += !t->load[k].store && each > (double)m->unroll;
        shared = shared || (!t->load[k].store && each > (double)m->unroll &&
            !set_meets(form_deps(t->load[k].f), space));
    }
    for (int k = 0; k < t->nwork; k++)
        code += t->work[k].loops->n ? t->work[k].code : 0;
    int64_t items = group_items(m, n, m->group_each), written = (int64_t)((double)m->text / code);
    if (!items)
        return false;
    spec->team = items;
    double groups = (double)(m->cores * (m->core_items / items)) * m->group_resident;
    spec->each = shared ? larger(lesser((int64_t)(space->vol / groups), m->group_each), 1) : 0;
    spec->turn = (int)larger(lesser(m->group_turn, written), 1);
    spec->held = (int)larger(lesser(m->group_held / larger(rows, 1), m->group_text * written), spec->turn);
    return true;
}

/* ==================== columns: sums of an item's own */

bool group_columns(Spec *spec, const Traffic *t)
{
    if (!grouped(machine(spec)) || !spec->vec || spec->chunk || !t->nred)
        return false;
    int at = 0;
    while (spec->outer[at] != spec->vec)
        at++;
    for (; at + 1 < spec->nouter; at++)         /* the last one is the fastest of the grid */
        spec->outer[at] = spec->outer[at + 1];
    spec->outer[at] = spec->vec;
    spec->vec = NULL;
    return true;
}

/* ==================== how many items a group has, and groups a core */

/* Registers of an item: what it computes with, its accumulators and what it holds. */
static int64_t registers_of(const Spec *s)
{
    const Machine *m = machine(s);
    int64_t n = m->item_registers, block = s->vec ? W : 1;
    for (int k = 0; k < s->nblock; k++)
        block *= s->block[k].n;
    if (s->tile)
        n += block + (s->tile->product ? W + m->product_rows : 0);
    return n + (s->held ? m->group_held : 0);
}

/* Bytes, all of f32; rows of running values have one element more for each 32, as they are laid out. */
static int64_t local_of(const Spec *s)
{
    const int64_t each = sizeof(float);
    int64_t n = s->held ? (s->team + W) * each : 0;
    if (s->running)
        n = (s->team * s->running->each * 33 / 32 + s->team + W) * each;
    for (int k = 0; s->tile && k < s->tile->n; k++) {
        int64_t side[2] = { s->tile->steps, s->tile->steps };
        for (int d = 0; d < 2; d++)
            for (int j = 0; j < s->naxis; j++)
                if (s->axis[j].a == s->tile->of[k].a[d])
                    side[d] = s->axis[j].size;
        n += side[0] * (side[1] + s->tile->of[k].pad) * each;
    }
    return n;
}

/* Whatever a core has least of says how many groups it holds. */
static void spec_fit(Spec *s)
{
    const Machine *m = machine(s);
    Occupancy *o = &s->fit;
    if (!m->core_items || (s->kind > SPEC_LOOPS && !s->team))
        return;
    o->registers = registers_of(s), o->local = local_of(s);
    o->groups = lesser(m->core_items / s->group, m->core_registers / (o->registers * s->group));
    if (o->local)
        o->groups = lesser(o->groups, m->core_local / o->local);
    o->part = (double)(o->groups * s->group) / (double)m->core_items;
}

/* As many as the device lets, in powers of two, while there are two groups for each core. */
void spec_group(Spec *s)
{
    const Machine *m = machine(s);
    int64_t items = !spec_blocks(s) ? s->share.n : spec_items(s), most = m->group_items;
    if (!grouped(m) || s->alone)
        return;
    if (s->team) {
        s->group = s->team;
        spec_fit(s);
        return;
    }
    most = lesser(most, m->group_most);
    s->group = m->lanes < most ? m->lanes : most;
    while (2 * s->group <= most && items >= 2 * m->cores * 2 * s->group)
        s->group *= 2;
    spec_fit(s);
}
