/*
 * shape_sort.c - how a sort is done: passes over digits, scratch, chunks of long rows.
 *
 * In:  a sort. Out: its Spec. Kernels that have to run before the last one become steps.
 * A row of n elements takes a pass for each digit of each key, the last key first, and a table of all values
 * that a digit has: long rows have wider digits. Where rows are too few to share out, a row is cut into
 * chunks, and a pass is two kernels: digits counted by chunk, elements moved.
 */
#include "schedule.h"

#include <string.h>

/* Bits of a key that say anything. */
static int key_bits(Dtype dt)
{
    switch (dt) {
    case DT_BOOL: return 1;
    case DT_F16: return 19;                     /* in registers it is f32: what is left of those */
    default: return 8 * (int)dtype_size(dt);
    }
}

static int sort_passes(const Machine *m, const Graph *g, const Ins *i, const SortPass **out)
{
    int64_t len = g->type[i->in[0]].dim[ins_int(i, ATTR(sort, axis))];
    int most = (int)(len < m->sort_long ? m->sort_bits : m->sort_bits_long), n = 0;
    SortPass *p = NEWS(SortPass, ins_int(i, ATTR(sort, keys)) * 64);
    for (int k = (int)ins_int(i, ATTR(sort, keys)) - 1; k >= 0; k--) {
        int bits = key_bits((Dtype)g->type[i->in[k]].dt), digits = (bits + most - 1) / most;
        int width = (bits + digits - 1) / digits;
        for (int at = 0; at < bits; at += width)
            p[n++] = (SortPass){ k, at, at + width < bits ? width : bits - at, bits };
    }
    *out = p;
    return n;
}

/* Row-major, but for the axis, which is innermost. */
static const Layout *layout_rows(const Type *t, int axis)
{
    int64_t dim[MAXRANK];
    int of[MAXRANK], n = 0;
    for (int d = 0; d < t->rank; d++)
        if (d != axis)
            of[n] = d, dim[n++] = t->dim[d];
    of[n] = axis, dim[n++] = t->dim[axis];
    Layout *l = arena_copy(layout_natural(dim, n), sizeof *l);
    for (int k = 0; k < l->ndigit; k++)
        l->digit[k].dim = of[l->digit[k].dim];
    return l;
}

/* Arrays that rows are moved into, and stand-ins for results that nobody wants. */
static void scratch(Sched *s, Spec *spec, const Ins *i)
{
    const Type *t = &s->g->type[i->out];
    int axis = (int)ins_int(i, ATTR(sort, axis));
    spec->scratch = NEWS(MemRef, 2 * i->nin);
    for (int k = 0; k < 2 * i->nin; k++) {
        int r = k % i->nin;
        if (k < i->nin ? t->dim[axis] <= s->target->machine->sort_short : spec->live[r])
            continue;
        Dtype dt = (Dtype)s->g->type[i->out + (Ref)r].dt;
        spec->scratch[k].layout = layout_rows(t, axis);
        spec->scratch[k].buf =
            schedule_buffer(s, SLOT_TEMP, dt, type_size(t), arena_text("%s_s%d", spec->name, k));
    }
}

/* Chunks of a row; 1: rows are enough, or short. Who moves a chunk reads the counters of all of them, so
 * more chunks are less to move and more to read. */
static int64_t chunks_of(const Machine *m, const Type *t, int axis)
{
    int64_t len = t->dim[axis], rows = type_size(t) / len, n = len / m->sort_piece;
    n = n < m->sort_items / rows ? n : m->sort_items / rows;
    while (n > 1 && n * n > (m->sort_counters * len) >> m->sort_bits_long)
        n--;
    return n < 2 ? 1 : (len + (len + n - 1) / n - 1) / ((len + n - 1) / n);     /* none is empty */
}

Spec *shape_sort(Sched *s, Spec *spec, Loc loc)
{
    const Ins *i = spec->ins;
    const Type *t = &s->g->type[i->out];
    if (!type_size(t))
        return spec;
    int n = spec->npass = sort_passes(s->target->machine, s->g, i, &spec->pass);
    scratch(s, spec, i);
    int64_t chunks = chunks_of(s->target->machine, t, (int)ins_int(i, ATTR(sort, axis))),
            rows = type_size(t) / t->dim[ins_int(i, ATTR(sort, axis))];
    if (chunks == 1)
        return spec;
    Dtype dt = t->dim[ins_int(i, ATTR(sort, axis))] > INT32_MAX ? DT_I64 : DT_I32;
    int64_t values = INT64_C(1) << s->target->machine->sort_bits_long;
    Buffer *counts =
        schedule_buffer(s, SLOT_TEMP, dt, rows * chunks * values, arena_text("%s_n", spec->name));
    for (int k = 0; k < 2 * n; k++) {
        Spec *part = NEW(Spec);
        *part = *spec;
        part->name = arena_text("%s_%s%d", spec->name, k % 2 ? "move" : "count", k / 2);
        part->sort = arena_copy(&(SortPart){ .chunks = chunks, .pass = k / 2, .count = k % 2 == 0,
            .counts = { counts, NULL } }, sizeof(SortPart));
        if (k == 2 * n - 1)
            return part;
        schedule_kernel(s, part, loc);
    }
    return spec;
}
