/*
 * in_place.c - carries of loops of kernels that are changed where they lie.
 *
 * In:  the body of a loop. Out: which results are the carried array with a few windows of it written, and
 * nothing
 *      else: such a carry is bound as a capture that the body writes, so a step costs the windows, not the
 *      array.
 * A chain of writes leads from the parameter to the result, and nothing else looks at what is in between.
 * Every write becomes a scatter; what it writes is computed, and every other look at the parameter is over,
 * before the first of them.
 */
#include "prepare.h"

#include <string.h>

static int uses(const Graph *g, Ref v)
{
    int n = 0;
    for (int k = 0; k < g->nout; k++)
        n += g->out[k] == v;
    for (int j = 0; j < g->nins; j++)
        for (int k = 0; k < g->ins[j]->nin; k++)
            n += g->ins[j]->in[k] == v;
    return n;
}

static bool is_carry(const Graph *g, const Bounds *b, Ref v)
{
    for (int k = 0; k < b->ncarry; k++)
        if (g->in[b->first_carry + k] == v)
            return true;
    return false;
}

/* The places and the windows of a write; false: it is none. */
static bool written(const Ins *i, Ref *places, Ref *windows)
{
    switch (i ? i->op : OP_NONE) {
    case OP_scatter:
        *places = i->in[1], *windows = i->in[2];
        return true;
    case OP_dynamic_update: case OP_accum_slice:
        *windows = i->in[1], *places = i->in[2];
        return true;
    default:
        return false;
    }
}

int in_place_chain(const Graph *g, const Bounds *b, int k, const Target *t, const Ins **link)
{
    Ref p = g->in[b->first_carry + k], v = g->out[k], places, windows;
    int64_t size = type_size(&g->type[p]), sum = 0;
    int n = 0;
    if (size < t->machine->in_place)
        return 0;
    for (; v != p; v = g->def[v]->in[0]) {
        const Ins *i = g->def[v];
        if (n == IN_PLACE_MAX || !written(i, &places, &windows) || uses(g, v) != 1)
            return 0;
        if (is_carry(g, b, places) || is_carry(g, b, windows))
            return 0;
        sum += type_size(&g->type[windows]);
        link[n++] = i;
    }
    return sum * t->machine->in_place_part <= size ? n : 0;
}

/* The same write as a scatter in the current graph: batch axes in front, windows that no axis leaves out. */
Ins *in_place_write(const Graph *g, const Ins *i, const Ref *x)
{
    Attr a = { 0 };
    Ref in[3] = { x[0], x[2], x[1] };
    int nb = g->type[i->in[2]].rank - 1, n = g->type[i->in[1]].rank - nb;
    int64_t batch[MAXRANK], window[MAXRANK], map[MAXRANK];
    for (int d = 0; d < nb; d++)
        batch[d] = d;
    for (int d = 0; d < n; d++)
        window[d] = map[d] = nb + d;
    attr_list(&a, window, n);
    attr_list(&a, NULL, 0);
    attr_list(&a, map, n);
    attr_list(&a, batch, nb);
    attr_list(&a, batch, nb);
    attr_int(&a, 1);                            /* clip */
    attr_int(&a, i->op == OP_accum_slice);      /* add, or set */
    attr_int(&a, 0);
    return append(OP_scatter, 3, in, &a, 1, &g->type[i->out], &g->flag[i->out]);
}
