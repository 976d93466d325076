/*
 * shape_group.c - kernels of machines whose work-items run in lockstep, in groups.
 *
 * In:  a specification and what it loads. Out: a flat space with an element a work-item; how many items a
 * group has.
 * Items that follow one another have elements that do, so what a subgroup loads and stores of a row lies
 * side by side, and takes as few sectors as it has bytes for; a vector an item, as processors like it, puts
 * sixteen elements between neighbours. Which machines these are is one fact: group_items, 1 where groups
 * have one item.
 */
#include "schedule.h"
#include "traffic.h"

#include <string.h>

enum { GROUP = 256 };                           /* items that hide latency, and leave registers for each */

bool grouped(const Machine *m) { return m->lanes > 1 && m->group_items > 1; }

bool group_map(Spec *spec, const Traffic *t, const Vars *space)
{
    if (!grouped(spec->target->machine) || t->nred || !space->n || spec->chunk)
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

/* As many as the device lets, in powers of two, while there are two groups for each core. */
void spec_group(Spec *s)
{
    const Machine *m = s->target->machine;
    int64_t items = !spec_blocks(s) ? s->share.n : spec_items(s), most = m->group_items;
    if (!grouped(m) || s->alone)
        return;
    most = most < GROUP ? most : GROUP;
    s->group = m->lanes < most ? m->lanes : most;
    while (2 * s->group <= most && items >= 2 * m->cores * 2 * s->group)
        s->group *= 2;
}
