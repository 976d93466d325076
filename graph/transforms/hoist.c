/*
 * hoist.c - what a loop without lanes computes from its captures alone leaves the loop when the loop is
 * emitted.
 *
 * In:  a scan or while about to be emitted. Out: the same with more captures, and the invariant instructions
 * in
 *      front of it.
 * This is not only speed: a view or a conversion of a captured table inside a loop would cost a table a step
 * once the loop is transposed, because its cotangent passes through that view at every step.
 * What stays: broadcasts, which are free inside and large outside; regions, since an inner while might not
 * end and this loop may have no steps; effects and callbacks, once a step; collectives, which the lanes of a
 * loop meet in; what only constants reach, which is cheaper to build again than to pass in.
 */
#include "transforms.h"

enum { VARIES, CONSTANT, INVARIANT };

typedef struct Plan {
    uint8_t *state;                             /* by value */
    bool *border;                               /* by value: computed outside, used inside */
    bool *inside;                               /* by value: of what stays in the loop, its first result */
    int nborder;
} Plan;

static bool stays(Op op)
{
    _Static_assert(OP_ppermute - OP_psum == 6, "seven rows in which lanes meet");
    return op == OP_region || op == OP_barrier || op_effect(op) || op == OP_callback || op == OP_accum ||
        op == OP_accum_slice || (op >= OP_psum && op <= OP_ppermute);
}

static uint8_t state_of(const Ins *i, const uint8_t *state)
{
    uint8_t s = CONSTANT;
    if (stays(i->op))
        return VARIES;
    for (int k = 0; k < i->nin; k++) {
        if (state[i->in[k]] == VARIES)
            return VARIES;
        if (state[i->in[k]] == INVARIANT)
            s = INVARIANT;
    }
    return s;
}

static bool any_used(const Ins *i, const bool *used)
{
    return any_bit(used + i->out, i->nout);
}

static Plan plan_of(const Graph *b, int ncap)
{
    Plan p = { NEWS(uint8_t, b->nval), NEWS(bool, b->nval), NEWS(bool, b->nval), 0 };
    bool *used = NEWS(bool, b->nval);
    for (int k = 0; k < ncap; k++)
        p.state[b->in[k]] = INVARIANT;
    for (int n = 0; n < b->nins; n++)
        for (int k = 0, s = state_of(b->ins[n], p.state); k < b->ins[n]->nout; k++)
            p.state[b->ins[n]->out + k] = (uint8_t)s;
    for (int k = 0; k < b->nout; k++)
        used[b->out[k]] = true;
    for (int n = b->nins - 1; n >= 0; n--) {
        const Ins *i = b->ins[n];
        if (!any_used(i, used) && !ins_effect(i))
            continue;
        p.inside[i->out] = p.state[i->out] != INVARIANT || i->op == OP_broadcast;
        for (int k = 0; p.inside[i->out] && k < i->nin; k++)
            used[i->in[k]] = true;
        for (int k = 0; !p.inside[i->out] && k < i->nout; k++)
            if (used[i->out + k])
                p.border[i->out + k] = true, p.nborder++;
    }
    return p;
}

static void if_needed(const Ins *i, const Ref *x, Ref *out, void *need)
{
    if (any_used(i, need))
        again(i, x, out);
}

/* Emits what the border needs into the current graph, and makes its values operands. */
static void lift(const Graph *b, const Plan *p, int ncap, const Ref *captures, Draft *to)
{
    Ref *map = NEWS(Ref, b->nval);
    bool *need = NEWS(bool, b->nval);
    for (int v = 0; v < b->nval; v++)
        need[v] = p->border[v];
    for (int n = b->nins - 1; n >= 0; n--)
        for (int k = 0; any_used(b->ins[n], need) && k < b->ins[n]->nin; k++)
            need[b->ins[n]->in[k]] = true;
    for (int k = 0; k < ncap; k++)
        map[b->in[k]] = captures[k];
    graph_map_ins(b, map, if_needed, need);
    for (int v = 0; v < b->nval; v++)
        if (p->border[v])
            draft_operand(to, map[v], NULL), to->r.ncap++;
}

/* The body with the border of every body as further captures: inputs are the same in all. */
static Graph *body_inside(const Draft *f, const Plan *p, int which)
{
    const Graph *b = f->sub[which];
    Ref *map = NEWS(Ref, b->nval);
    graph_begin(graph_new())->linear = b->linear;
    for (int k = 0; k < f->r.ncap; k++)
        map[b->in[k]] = input_like(b, k, b->flag[b->in[k]]);
    for (int n = 0; n < f->nsub; n++)
        for (int v = 0; v < f->sub[n]->nval; v++)
            if (p[n].border[v]) {
                Ref q = graph_input(f->sub[n]->type[v], f->sub[n]->flag[v]);
                if (n == which)
                    map[v] = q;
            }
    for (int k = f->r.ncap; k < b->nin; k++)
        map[b->in[k]] = input_like(b, k, b->flag[b->in[k]]);
    graph_map_ins(b, map, if_needed, p[which].inside);
    return graph_map_end(b, map);
}

void hoist(Draft *f)
{
    Plan *p = NEWS(Plan, f->nsub);
    int extra = 0;
    for (int n = 0; n < f->nsub; n++)
        extra += (p[n] = plan_of(f->sub[n], f->r.ncap)).nborder;
    if (!extra)
        return;
    Draft g = draft_like(&f->r, f->nin + extra, f->nsub);
    for (int k = 0; k < f->r.ncap; k++)
        draft_operand(&g, f->in[k], NULL);
    for (int n = 0; n < f->nsub; n++)
        lift(f->sub[n], &p[n], f->r.ncap, f->in, &g);
    for (int k = f->r.ncap; k < f->nin; k++)
        draft_operand(&g, f->in[k], NULL);
    for (int n = 0; n < f->nsub; n++)
        g.sub[n] = body_inside(f, p, n);
    *f = g;
}
