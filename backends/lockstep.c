/*
 * lockstep.c - the machine of a device that runs work-items in groups.
 *
 * In:  what it says of itself. Out: the table of a gpu with that in it; what a device does not say is as in
 * machine.def. Which driver says it, or who made the device, is not asked.
 */
#include "lockstep.h"

enum {
    LANES_MOST = 64,
    ITEM_LOCAL = 80         /* bytes: a group's part of running values of f64, of which an item has eight */
};

static void said(int64_t *to, int64_t v) { *to = v > 0 ? v : *to; }
static int64_t lesser(int64_t a, int64_t b) { return a > 0 && a < b ? a : b; }

/* Groups grow by doubling. */
static int64_t power(int64_t most)
{
    int64_t n = 1;
    while (2 * n <= most)
        n *= 2;
    return n;
}

void lockstep_machine(Machine *m, const Lockstep *f)
{
    *m = machine_gpu;
    if (f->lanes > 1)                           /* 1 is what drivers say that do not know */
        m->lanes = power(lesser(f->lanes, LANES_MOST));
    m->vector_bits = 32 * m->lanes;
    said(&m->cores, f->cores), said(&m->line, f->line), said(&m->l2, f->l2);
    said(&m->core_items, f->core_items), said(&m->core_registers, f->core_registers);
    m->local_memory = f->local;
    m->group_items = power(lesser(f->side[0], lesser(f->side[1], lesser(f->items, f->local / ITEM_LOCAL))));
    said(&m->core_local, f->core_local);
    if (m->core_local < m->local_memory)
        m->core_local = m->local_memory;
    if (m->core_items < m->group_items)
        m->core_items = m->group_items;
    machine_follow(m);
}
