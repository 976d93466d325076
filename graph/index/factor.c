/*
 * factor.c - is a value a product of factors that each see a part of its dimensions?
 *
 * In:  a value whose first dimensions a sum runs over. Out: whether some factor depends on a part of the others alone.
 */
#include "demand.h"

#define FACTOR_MAX  3000

typedef struct Factor { const Graph *g; const Vars *kept, *rows; Seen seen; int count, dear; bool columns; } Factor;

/* below: what is dear has been judged as a whole; only reductions over the rows are of interest there. */
static bool partial_one(Factor *f, Ref v, const Form *idx, bool below, Todos *s)
{
    const Idx *key = idx_of(idx, f->g->type[v].rank);
    if (!seen_add(&f->seen, v, PTR(key), below, 0))
        return false;
    if (++f->count > FACTOR_MAX)
        return true;
    const Ins *i = f->g->def[v];
    int n = 0;
    bool part = !below && set_meets(key->deps, f->kept) && !set_covers(key->deps, f->kept);
    bool outer = i && i->op == OP_dot && (ins_attr(i, 0, &n), n == 0);
    if (!i || optab[i->op].form == IS_OWN)
        return part;
    if (optab[i->op].form == IS_SUM && !outer) {
        f->columns = f->columns || (set_meets(key->deps, f->kept) && !set_meets(key->deps, f->rows));
        return part;
    }
    if (optab[i->op].cost >= f->dear) {
        if (part)
            return true;
        below = true;
    }
    Demand *d;
    const Atom *const *ks;
    int nk, nd = demands_of(f->g, v, idx, &d, &ks, &nk);
    todo_demands(s, d, nd, (Todo){ .tag = below });
    return false;
}

static bool partial(Factor *f, Ref v, const Form *idx)
{
    Todos s = { 0 };
    bool is = false;
    todo_add(&s, (Todo){ .v = v, .idx = idx });
    for (Todo t; !is && todo_next(&s, &t);)
        is = partial_one(f, t.v, t.idx, t.tag, &s);
    return is;
}

/* Does some factor depend on a part of the kept dimensions (those behind `rows`) alone? Then a register tile is better
 * than rows of sums. dear: instructions of a function that is not done twice. */
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
    Factor f = { .g = g, .kept = vars_of(kept, n), .rows = vars_of(gone, m), .dear = dear };
    bool p = partial(&f, v, idx);
    if (columns)
        *columns = f.columns;
    return p;
}
