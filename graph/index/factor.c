/*
 * factor.c - is a value a product of factors that each see a part of its dimensions?
 *
 * In:  a value whose first dimensions a sum runs over. Out: whether some factor depends on a part of the
 * others alone.
 */
#include "demand.h"

#define FACTOR_MAX  3000

typedef struct Factor { const Vars *kept, *rows; int count, dear; bool columns; } Factor;

/* tag: what is dear has been judged as a whole; only reductions over the rows are of interest below. */
static Onward partial(DemandWalk *w, Visit *x)
{
    Factor *f = w->ctx;
    int n = 0;
    if (++f->count > FACTOR_MAX)
        return WALK_DONE;
    bool part = !x->tag && set_meets(x->key->deps, f->kept) && !set_covers(x->key->deps, f->kept);
    bool outer = x->i && x->i->op == OP_dot && (ins_attr(x->i, ATTR(dot, lhs_contract), &n), n == 0);
    if (!x->i || optab[x->i->op].element == IS_OWN)
        return part ? WALK_DONE : WALK_PAST;
    if (optab[x->i->op].element == IS_SUM && !outer) {
        f->columns = f->columns || (set_meets(x->key->deps, f->kept) && !set_meets(x->key->deps, f->rows));
        return part ? WALK_DONE : WALK_PAST;
    }
    if (optab[x->i->op].cost >= f->dear) {
        if (part)
            return WALK_DONE;
        x->tag = true;
    }
    return WALK_INTO;
}

/* Does some factor depend on a part of the kept dimensions (those behind `rows`) alone? Then a register tile
 * is better than rows of sums. dear: instructions of a function that is not done twice. */
bool outer_product(const Graph *g, Ref v, int rows, int dear, bool *columns)
{
    const Type *t = &g->type[v];
    Form idx[MAXRANK];
    const Atom *kept[MAXRANK], *gone[MAXRANK];
    int n = 0, m = 0;
    for (int d = 0; d < t->rank; d++) {
        idx[d] = form_c(0);
        if (t->dim[d] == 1)
            continue;
        const Atom *a = elem_space(arena_text("t%d_", d), &t->dim[d], 1, 0)[0];
        idx[d] = form_a(a);
        if (d >= rows)
            kept[n++] = a;
        else
            gone[m++] = a;
    }
    Factor f = { .kept = vars_of(kept, n), .rows = vars_of(gone, m), .dear = dear };
    DemandWalk w = { .g = g, .visit = partial, .ctx = &f };
    bool p = demand_walk(&w, v, idx, false, NULL);
    if (columns)
        *columns = f.columns;
    return p;
}
