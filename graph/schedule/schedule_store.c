/*
 * schedule_store.c - which values are stored.
 *
 * In:  a value and the demands on it: who evaluates it, in which outer space, inside which loops, at which
 *      symbolic index.
 * Out: whether recomputing costs more than a store and the loads.
 * Evaluations are the product of all loops up to the innermost that the index depends on, once for each
 * distinct index: so exp(b)[j] inside loops (i, j) counts n * m times although it depends on j alone.
 */
#include "schedule.h"

#include <math.h>

/* ==================== text */

static double own_lines(const Machine *m, const Ins *i)
{
    return optab[i->op].element == IS_SUM ? m->sum_lines : m->code_line * optab[i->op].code;
}

/* Lines of a value if nothing of what it needs were stored, but products; what several use is shared out to
 * them. And which values sums are in. */
void text_open(Sched *s)
{
    const Graph *g = s->g;
    const Machine *m = s->target->machine;
    const double most = m->text_cap * (double)m->text;
    int *uses = NEWS(int, g->nval);
    for (int n = 0; n < g->nins; n++)
        for (int k = 0; k < g->ins[n]->nin; k++)
            uses[g->ins[n]->in[k]]++;
    for (int n = 0; n < g->nins; n++) {
        const Ins *i = g->ins[n];
        if (optab[i->op].element == IS_OWN)
            continue;
        double sum = own_lines(m, i);
        bool summing = optab[i->op].element == IS_SUM;
        for (int k = 0; k < i->nin && i->op != OP_dot; k++)
            sum += s->lines[i->in[k]] / uses[i->in[k]];
        for (int k = 0; k < i->nin; k++)
            summing = summing || s->summing[i->in[k]];
        for (int k = 0; k < i->nout; k++) {
            s->lines[i->out + (Ref)k] = sum < most ? sum : most;
            s->summing[i->out + (Ref)k] = summing;
        }
    }
}

/* What an element adds to the text of its root: short loops are written out, long ones are of vectors. */
static double lines_at(const Sched *s, Ref v, const Vars *loops)
{
    const Ins *i = s->g->def[v];
    const Machine *m = s->target->machine;
    double copies = loops->vol <= (double)m->unroll ? loops->vol : (double)m->sum_vectors;
    return i && optab[i->op].element != IS_OWN ? own_lines(m, i) * copies : 0;
}

void text_root(Sched *s, const Root *r)
{
    s->text[r->v] += lines_at(s, r->v, vars_of(NULL, 0));
    s->turns[r->v] = r->space->vol * r->inner->vol;
}

bool text_exceeds(const Machine *m, double lines, double turns)
{
    double launch = (double)(m->launch ? m->launch : m->beside);
    return lines > (double)m->text &&
        (lines > (double)m->text_alone || lines * turns / W > launch);
}

/* Is the text of a root that needs it too long, and computing it a part of that? */
static bool too_long(const Sched *s, const Needs *d, Ref v)
{
    const Machine *m = s->target->machine;
    if (s->lines[v] < (double)m->text_kept)
        return false;
    if (s->sums[v] >= m->text_sums)
        return true;
    for (int k = 0; k < d->n; k++)
        if (text_exceeds(m, s->text[d->k[k].root], s->turns[d->k[k].root]))
            return true;
    return false;
}

/* ==================== demands */

void need_add(Sched *s, Ref v, const Idx *i, const Vars *space, Ref root, const Vars *loops)
{
    Needs *d = &s->need[v];
    if (seen_add(&s->needed, v | (uint64_t)root << 32, PTR(space), PTR(loops), PTR(i))) {
        double turns = space->vol * loops->vol;
        s->text[root] += lines_at(s, v, loops);
        s->turns[root] = s->turns[root] > turns ? s->turns[root] : turns;
        PUSH(d->k, d->n, d->cap, (Need){ space, root, loops, i });
    }
    const Atom **e;
    /* computed indices are elements of values too */
    for (int k = 0, m = elems_of(i->f, i->n, &e); k < m; k++)
        need_add(s, e[k]->v, idx_of(e[k]->idx, e[k]->nidx), space, root, loops);
}

/* What is left of a budget after a value that is a function of the index alone; negative if it is not, or
 * costs more. */
static double index_budget(const Graph *g, Ref v, double budget)
{
    while (budget >= 0) {
        const Ins *i = g->def[v];
        if (!i)
            return -1;
        if (i->op == OP_iota || i->op == OP_const)
            return budget;
        if (op_views(i->op) || i->op == OP_convert) {
            v = i->in[i->op == OP_barrier ? v - i->out : 0];
            continue;
        }
        if (optab[i->op].element != IS_POINT)
            return -1;
        budget -= optab[i->op].cost;
        for (int k = 1; k < i->nin; k++)
            budget = index_budget(g, i->in[k], budget);
        v = i->in[0];
    }
    return -1;
}

bool index_only(const Sched *s, Ref v)
{
    return index_budget(s->g, v, (double)s->target->machine->index_code) >= 0;
}

/* In how many kernels are roots of so many lines in all that need a value? */
static double kernels_of(const Sched *s, double lines, double turns)
{
    const Machine *m = s->target->machine;
    return text_exceeds(m, lines, turns) ? ceil(lines / (double)m->text) : 1;
}

/* How often elements are evaluated. Roots with the same outer space may become one kernel, as far as its
 * text is not too long, and share what is cheap; a contraction is not left to that hope (apart). */
static double evaluations(const Sched *s, const Needs *d, Ref v, bool apart)
{
    double sum = 0;
    bool *done = NEWS(bool, d->n);
    for (int j = 0; j < d->n; j++) {
        if (done[j])
            continue;
        /* each root has counted the value itself */
        double most = 0, turns = 0, lines = s->lines[v], own = own_lines(s->target->machine, s->g->def[v]);
        int roots = 0;
        Ref last = 0;
        for (int k = j; k < d->n; k++) {
            const Need *a = &d->k[j], *b = &d->k[k];
            if (done[k] || a->idx != b->idx || a->space != b->space || (apart && a->root != b->root))
                continue;
            double vol = vars_vol_upto(b->space, b->loops, b->idx->deps);
            most = vol > most ? vol : most;
            done[k] = true;
            if (b->root != last)
                lines += s->text[last = b->root] - own, roots++;
            turns = s->turns[last] > turns ? s->turns[last] : turns;
        }
        double kernels = kernels_of(s, lines, turns);
        sum += most * (kernels < roots ? kernels : roots);
    }
    return sum;
}

/* A long reduction that too few outer elements would share. */
static bool nobody_shares(const Machine *m, const Needs *d, double space, double size, double evals)
{
    if (space <= (double)m->long_sum || evals * space <= (double)m->long_work)
        return false;
    for (int k = 0; k < d->n; k++) {
        double all = d->k[k].space->vol > size ? d->k[k].space->vol : size;
        if (vars_vol_in(d->k[k].space, d->k[k].idx->deps) < (double)m->share && all >= (double)m->share)
            return true;
    }
    return false;
}

/* Products whose batch is summed: pieces of a long contraction, each short enough for its operands to stay
 * in a cache. Inside the loop of the sum they would all be streamed for each block of results. */
static bool in_pieces(const Machine *m, const Graph *g, const Needs *d, const Ins *i, double cost)
{
    int nb = 0;
    double results = 1;
    if (i->op == OP_dot)
        ins_attr(i, ATTR(dot, lhs_batch), &nb);
    for (int k = nb; k < g->type[i->out].rank; k++)
        results *= (double)g->type[i->out].dim[k];
    if (results < (double)m->many_blocks)
        return false;
    for (int k = 0; k < d->n; k++)
        for (int b = 0; b < nb; b++) {
            Form f = d->k[k].idx->f[b];
            if (!form_const(f) && !set_meets(form_deps(f), d->k[k].loops))
                return false;
        }
    return nb && d->n && cost >= (double)m->long_sum;
}

/* Sums of columns that are added up: where groups have several items each piece has items of its own. */
static bool sums_in_pieces(const Machine *m, const Needs *d, const Ins *i, double size, double all)
{
    if (!grouped(m) || optab[i->op].element != IS_SUM || i->op == OP_dot || all < (double)m->sum_work ||
        size > (double)m->column_pieces)
        return false;
    for (int k = 0; k < d->n; k++)
        if (!set_meets(d->k[k].idx->deps, d->k[k].loops))
            return false;
    return d->n > 0;
}

/* A product inside of a loop: where groups have several items a kernel of its own does it by tiles. */
static bool product_apart(const Machine *m, const Needs *d, const Ins *i, double size, double cost)
{
    bool inside = false;
    for (int k = 0; k < d->n; k++)
        inside = inside || set_meets(d->k[k].idx->deps, d->k[k].loops);
    return inside && grouped(m) && i->op == OP_dot && size >= (double)(m->lanes * m->lanes) &&
        cost / 2 > (double)m->unroll;
}

/* A product of matrices that lanes of a region read: there each element would be a sum of its own, while
 * a kernel that does it by blocks reads what it multiplies once for many results. */
static bool product_of_lanes(const Sched *s, const Needs *d, const Ins *i, double cost)
{
    const Graph *g = s->g;
    const Machine *m = s->target->machine;
    double steps = cost / 2, all = (double)type_size(&g->type[i->out]), least = (double)m->tile_rows;
    double stack = 1, columns;
    int batch = 0;
    if (i->op != OP_dot || steps <= (double)m->unroll)
        return false;
    ins_attr(i, ATTR(dot, lhs_batch), &batch);
    for (int k = 0; k < batch; k++)
        stack *= (double)g->type[i->out].dim[k];
    columns = (double)type_size(&g->type[i->in[1]]) / (stack * steps);
    if (columns < least || all / (stack * columns) < least)
        return false;
    for (int k = 0; k < d->n; k++) {
        const Ins *root = g->def[d->k[k].root];
        if (root && root->op == OP_region)
            return true;
    }
    return false;
}

bool store_pays(const Sched *s, const Ins *i, Ref v)
{
    const Graph *g = s->g;
    const Needs *d = &s->need[v];
    const Machine *m = s->target->machine;
    double cost = elem_cost(g, i), size = (double)type_size(&g->type[v]);
    if (size == 0 || i->op == OP_const || i->op == OP_data || i->op == OP_iota)
        return false;
    if (index_only(s, v))
        return false;
    /* Cuts of a regular chain are one kernel. Walks over operands that are recursions are of this depth at
     * most. */
    if (d->n > m->walk_needs || s->depth[v] > (cost > 0 ? m->deep : m->deep_views))
        return true;
    if (cost == 0)
        return false;
    if (too_long(s, d, v) || in_pieces(m, g, d, i, cost) || product_apart(m, d, i, size, cost) ||
        product_of_lanes(s, d, i, cost) ||
        sums_in_pieces(m, d, i, size, (double)type_size(&g->type[i->in[0]])))
        return true;
    double evals = evaluations(s, d, v, i->op == OP_dot);
    if (evals > size && s->lines[v] >= (double)m->text_twice)
        return true;
    if (optab[i->op].element == IS_SUM && nobody_shares(m, d, cost / 2, size, evals))
        return true;
    return evals > size && evals * cost > m->store_gain * (size * (cost + m->store) + evals * m->load);
}
