/*
 * prepare_check.c - the verifier of prepared graphs: what the scheduler relies on.
 *
 * In:  a graph that prepare() made. Out: 0, or the error of the first instruction that has no kernel: ops
 * that
 *      should have become others, sums of half floats that run in them, gathers that fill, scatters of
 *      nothing.
 */
#include "prepare.h"

static int bad(const Ins *i, const char *what)
{
    return error_set(E_INTERNAL, "prepared graph: instruction v%u (%s) %s", i->out, optab[i->op].name, what);
}

/* prepare.c makes others of these. */
static bool should_be_gone(const Ins *i)
{
    switch (i->op) {
    case OP_argmax:
    case OP_argmin:
    case OP_top_k:
    case OP_named:
    case OP_constrain:
    case OP_gamma_draw:
        return true;
    default: return false;
    }
}

static int check_one(const Graph *g, const Ins *i)
{
    enum { FILL = 2 };
    int dt = g->type[i->out].dt;
    if (should_be_gone(i))
        return bad(i, "has no kernel of its own");
    if (i->op == OP_bitcast && dtype_size((Dtype)g->type[i->in[0]].dt) != dtype_size((Dtype)dt))
        return bad(i, "changes the width of elements");
    if (i->op == OP_gather && ins_int(i, ATTR(gather, mode)) == FILL)
        return bad(i, "fills: a select does that");
    if ((i->op == OP_reduce_sum || i->op == OP_reduce_prod) && dtype_half((Dtype)dt))
        return bad(i, "sums half floats without rounding once");
    return 0;
}

static int check_all(const Graph *g)
{
    for (int n = 0; n < g->nins; n++) {
        const Ins *i = g->ins[n];
        if (i->nout && check_one(g, i))
            return (int)error_code();
        for (int k = 0; k < i->nsub; k++)
            if (check_all(i->sub[k]))
                return (int)error_code();
    }
    return 0;
}

int prepared_check(const Graph *g) { return graph_check(g) || check_all(g) ? (int)error_code() : 0; }

int sealed_check(const Graph *g)
{
    Graph plain = *g;
    plain.flag = NEWS(uint8_t, g->nval);
    for (int v = 0; v < g->nval; v++)
        plain.flag[v] = g->flag[v] & (uint8_t)~V_ACC;
    return prepared_check(&plain);
}
