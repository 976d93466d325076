/*
 * share.c - how kernels of one instruction are shared out to work-items.
 *
 * In:  the Spec of a scatter, a sort or running values. Out: what is independent in it, in which vectors,
 * and how much of it a work-item does.
 * Scatter: batch dimensions, and window dimensions that no index moves and that are whole; index positions
 * besides, if the result lies where the operand does and indices are unique. Where that is few work-items,
 * a dimension in which windows are one wide is cut into ranges: each is some work-item's own, which reads
 * every index and skips the updates of others.
 */
#include "schedule.h"

static const Machine *machine(const Spec *s) { return s->target->machine; }

static bool empty(const Type *t) { return !type_size(t); }

/* n independent things, each of about so many cycles. */
static void share(Spec *s, int64_t n, double cycles)
{
    double total = (double)n * cycles, room = item_cycles(machine(s), total) / cycles;
    s->share = (Share){ n, s->alone ? n : room < 1 ? 1 : room < (double)n ? (int64_t)room : n, total };
}

/* Where what an own shape reads is stored; NULL: it is computed. */
static const Buffer *read_of(const Spec *s, Ref v)
{
    return refs_have(s->made, v) ? NULL : s->stored[v].buf;
}

/* ==================== scatter */

static int find_in(const int64_t *v, int n, int64_t x)
{
    for (int k = 0; k < n; k++)
        if (v[k] == x)
            return k;
    return -1;
}

static void read_dims(const Spec *s, ScatterSpec *p)
{
    const Ins *i = s->ins;
    const Type *x = &s->g->type[i->in[0]], *u = &s->g->type[i->in[2]];
    int nw, ni, nm, nb, w = 0;
    const int64_t *win = ins_attr(i, ATTR(scatter, window_dims), &nw),
                  *ins = ins_attr(i, ATTR(scatter, inserted), &ni),
                  *map = ins_attr(i, ATTR(scatter, scatter_map), &nm);
    const int64_t *xb = ins_attr(i, ATTR(scatter, x_batch), &nb),
                  *ib = ins_attr(i, ATTR(scatter, indices_batch), NULL);
    for (int d = 0; d < u->rank; d++)
        if (find_in(win, nw, d) < 0)
            p->at[p->nat++] = d;
    for (int d = 0; d < x->rank; d++) {
        ScatterDim *q = &p->dim[d];
        int b = find_in(xb, nb, d);
        *q = (ScatterDim){ .map = find_in(map, nm, d), .n = x->dim[d], .window = 1 };
        q->kind = b >= 0 ? BATCH : find_in(ins, ni, d) >= 0 ? INSERTED : WINDOW;
        if (b >= 0)
            q->u = p->at[ib[b]];
        else if (q->kind == WINDOW) {
            q->u = (int)win[w++];
            q->window = u->dim[q->u];
        }
        q->shared_out = b >= 0 || (q->kind == WINDOW && q->map < 0 && q->window == q->n);
    }
    p->npositions = 1;
    for (int at = 0; at < p->nat; at++)
        if (find_in(ib, nb, at) < 0) {
            p->pos[p->npos++] = p->at[at];
            p->npositions *= u->dim[p->at[at]];
        }
    int last = x->rank - 1;
    p->vd = last >= 0 && p->dim[last].kind == WINDOW && p->dim[last].window >= W ? last : -1;
}

/* Cycles for what is not shared out: the copy, the updates of all positions, reading their indices. */
typedef struct Cost { double copy, update, scan; } Cost;

static Cost costs(const Machine *m, const ScatterSpec *p, int rank)
{
    double own = 1, window = 1;
    for (int d = 0; d < rank; d++)
        if (!p->dim[d].shared_out || d == p->vd) {
            own *= (double)p->dim[d].n;
            window *= (double)p->dim[d].window;
        }
    double positions = (double)p->npositions, each = p->vd >= 0 ? 1 : (double)m->scatter_lone;
    return (Cost){ p->in_place ? 0 : m->scatter_copy * own, positions * window * each,
                   positions * (double)m->scatter_position };
}

/* Ranges of the outermost dimension that can be cut, n things being shared out anyway. Processors: each has
 * `scatter_item` cycles to do, and reading the indices for all of them may add a quarter. Elsewhere that is
 * done side by side. */
static void choose_ranges(const Spec *s, ScatterSpec *p, int rank, double n)
{
    const Machine *m = machine(s);
    Cost c = costs(m, p, rank);
    double scan = c.scan * (double)m->scatter_scan,
           least = scan > (double)m->scatter_item ? scan : (double)m->scatter_item;
    p->rd = -1, p->ranges = 1;
    for (int d = rank - 1; d >= 0; d--)
        if (p->dim[d].map >= 0 && p->dim[d].window == 1)
            p->rd = d;
    if (p->rd < 0 || p->spread || s->alone)
        return;
    for (int64_t r = 2; r <= p->dim[p->rd].n && (double)r * n <= (double)m->scatter_items; r *= 2)
        if ((double)r * least <= c.copy + c.update)
            p->ranges = r;
}

/* The dimension of vectors in parts, beside ranges in long ones. */
static int64_t parts_of(const Machine *m, const ScatterSpec *p)
{
    if (p->vd < 0 || !p->dim[p->vd].shared_out)
        return 1;
    int64_t vectors = p->dim[p->vd].n / W, n = p->ranges > 1 ? vectors / m->scatter_vectors : vectors;
    n = n < 1 ? 1 : n < m->scatter_parts ? n : m->scatter_parts;
    while (vectors % n)
        n--;
    return n;
}

static void share_scatter(Spec *s)
{
    const Ins *i = s->ins;
    const Type *x = &s->g->type[i->in[0]], *u = &s->g->type[i->in[2]];
    ScatterSpec *p = NEW(ScatterSpec);
    s->scatter = p;
    read_dims(s, p);
    p->in_place = read_of(s, i->in[0]) == s->stored[i->out].buf;
    p->spread = p->in_place && ins_int(i, ATTR(scatter, unique)) && !empty(u);
    if (empty(x) || (p->in_place && empty(u)))  /* nothing to do */
        return;
    int64_t total = 1;
    for (int d = 0; d < x->rank; d++)
        total *= p->dim[d].shared_out && d != p->vd ? p->dim[d].n : 1;
    total *= p->spread ? p->npositions : 1;
    choose_ranges(s, p, x->rank, (double)total);
    p->parts = parts_of(machine(s), p);
    const Machine *m = machine(s);
    Cost c = costs(m, p, x->rank);
    double pieces = (double)(p->ranges * p->parts);
    double per = p->spread ? (c.update + c.scan) / (double)p->npositions / pieces
        : (c.copy + c.update) / pieces + c.scan;
    share(s, total * p->ranges * p->parts, per > (double)m->own_item ? per : (double)m->own_item);
}

/* ==================== running values */

static void share_running(Spec *s)
{
    const Machine *m = machine(s);
    const Ins *i = s->ins;
    const Type *t = &s->g->type[i->out];
    const Buffer *out = s->nstore ? s->store->to.buf : s->stored[i->out].buf;
    int axis = (int)ins_int(i, ATTR(cumsum, axis));
    int64_t outer = 1, inner = 1, steps = t->dim[axis];
    for (int d = 0; d < t->rank; d++)
        *(d < axis ? &outer : &inner) *= d == axis ? 1 : t->dim[d];
    bool apart = !s->in_place && read_of(s, i->in[0]) != out;
    RunningSpec *r = NEW(RunningSpec);
    s->running = r;
    r->outer = outer, r->inner = inner;
    s->team = inner == 1 ? group_items(m, (double)steps, m->group_running) : 0;
    if (s->team) {
        r->lines = 1, r->each = (int)m->group_running, r->items[0] = outer, r->items[1] = 1;
        s->share = (Share){ outer, 1, (double)(m->running_vector * outer * steps) };
        return;
    }
    r->vec = inner >= W && (inner % W == 0 || apart) && !grouped(m);
    r->across = inner == 1 && outer >= W && steps >= W && apart && m->lanes == 1;
    int64_t dim[2] = { r->across ? (outer + W - 1) / W : outer, r->vec ? (inner + W - 1) / W : inner };
    int64_t lines = r->vec ? dim[1] : outer;
    r->lines = r->across || grouped(m) ? 1 : m->lines < LINES ? (int)m->lines : LINES;
    while (r->lines > 1 && (r->lines > lines || (!apart && lines % r->lines)))
        r->lines--;
    r->items[0] = r->vec ? dim[0] : (dim[0] + r->lines - 1) / r->lines;
    r->items[1] = r->vec ? (dim[1] + r->lines - 1) / r->lines : dim[1];
    int64_t beside = r->vec ? r->lines : r->across ? m->load_near : 1;
    share(s, r->items[0] * r->items[1], (double)(m->running_vector * steps * beside));
}

/* ==================== sorts */

static void share_sort(Spec *s)
{
    const Machine *m = machine(s);
    const Type *t = &s->g->type[s->ins->in[0]];
    int64_t len = t->dim[ins_int(s->ins, ATTR(sort, axis))], chunks = s->sort ? s->sort->chunks : 1,
            passes = (s->sort ? 1 : s->npass) + 1;              /* counting is one */
    s->by_rank = len <= m->sort_short;
    double each = s->by_rank ? (double)m->sort_element + (double)len / (double)m->sort_rank :
                               (double)(m->sort_move * passes * s->ins->nin);
    share(s, type_size(t) / len * chunks, each * (double)((len + chunks - 1) / chunks));
}

void spec_share(Spec *s)
{
    if (s->kind == SPEC_SCATTER)
        share_scatter(s);
    else if (empty(&s->g->type[s->ins->out]))   /* nothing to do */
        s->share = (Share){ 0 };
    else if (s->kind == SPEC_SORT)
        share_sort(s);
    else
        share_running(s);
}
