/*
 * body.c - what the body of a region costs, and what it reads at computed indices.
 */
#include "demand.h"
#include "target.h"

int lane_lead(const Region *r, const uint8_t *mark, const Form *lane, Form *lead)
{
    int n = 0;
    for (int a = 0; a < r->nlane; a++)
        if (mark[a] == STACKED)
            lead[n++] = lane[a];
    return n;
}

static double size_of(const Graph *g, Ref v) { return (double)type_size(&g->type[v]); }

double body_state(const Graph *g, const Region *r, bool acc_only)
{
    double n = 0;
    for (int k = 0; k < (acc_only ? r->nacc : region_nloop(r)); k++)
        n += size_of(g, g->in[r->ncap + k]);
    return n;
}

/* What an instruction that is no region costs, and a body before its first; of a loop: each of its turns? */
typedef struct Price { double start; double (*of)(const Graph *, const Ins *); bool each_turn; } Price;

double region_turns(const Region *r)
{
    return r->kind == SCAN ? (double)r->length : r->kind == WHILE ? TURNS : 1;
}

/* Of a region's bodies the dearest counts. */
static double body_sum(const Graph *g, const Price *p)
{
    double c = p->start;
    for (int n = 0; n < g->nins; n++) {
        const Ins *i = g->ins[n];
        double most = 0;
        for (int k = 0; k < i->nsub; k++) {
            double w = body_sum(i->sub[k], p);
            most = w > most ? w : most;
        }
        c += i->op != OP_region ? p->of(g, i) : p->each_turn ? most * region_turns(i->region) : most;
    }
    return c;
}

static double weight_of(const Graph *g, const Ins *i) { return size_of(g, i->out) * elem_cost(g, i); }

static double code_of(const Graph *g, const Ins *i)
{
    if (optab[i->op].element == IS_SUM)
        return size_of(g, i->out) * (elem_cost(g, i) > 2 ? elem_cost(g, i) / 2 : 1);
    return op_views(i->op) || i->op == OP_const || i->op == OP_data ? 0 : size_of(g, i->out);
}

double body_weight(const Graph *g) { return body_sum(g, &(Price){ 1, weight_of, true }); }
double body_code(const Graph *g) { return body_sum(g, &(Price){ 0, code_of, false }); }

/* Operands of instruction i of g that are read at computed indices; any: its results are. */
static void dynamic_operands(const Graph *g, const Ins *i, bool *dyn, bool any)
{
    int ns;
    if (i->op == OP_region) {
        const Region *r = i->region;
        for (int b = 0; b < i->nsub; b++) {
            bool *in = NEWS(bool, i->sub[b]->nin);
            body_dynamic(i->sub[b], in);
            for (int k = 0; k < i->sub[b]->nin; k++)
                if (in[k] || r->nlane || region_group(r, k + region_npred(r)) == 'x')
                    dyn[i->in[k + region_npred(r)]] = true;
        }
        return;
    }
    if (i->op == OP_dynamic_slice || i->op == OP_gather) {
        const Type *t = &g->type[i->in[0]];
        const int64_t *size =
            ins_attr(i, i->op == OP_gather ? ATTR(gather, sizes) : ATTR(dynamic_slice, sizes), &ns);
        for (int k = 0; k < ns; k++)
            if (size[k] < t->dim[t->rank - ns + k])
                dyn[i->in[0]] = true;
    }
    if (i->op == OP_dynamic_update || i->op == OP_accum_slice) {
        const Type *t = &g->type[i->in[0]], *u = &g->type[i->in[1]];
        for (int k = g->type[i->in[2]].rank - 1; k < u->rank; k++)
            if (u->dim[k] > 1 && u->dim[k] < t->dim[k])
                dyn[i->in[1]] = true;
    }
    for (int k = 0; k < i->nin; k++)
        dyn[i->in[k]] = dyn[i->in[k]] || any;
}

/* Bodies are evaluated element by element at constant indices; only what a slice, a gather or a nested
 * loop's step moves is at a computed one. What is read so from outside should lie in memory. */
void body_dynamic(const Graph *g, bool *in)
{
    bool *dyn = NEWS(bool, g->nval);
    for (int n = g->nins - 1; n >= 0; n--) {
        const Ins *i = g->ins[n];
        bool any = false;
        for (int k = 0; k < i->nout; k++)
            any = any || dyn[i->out + (Ref)k];
        dynamic_operands(g, i, dyn, any);
    }
    for (int k = 0; k < g->nin; k++)
        in[k] = dyn[g->in[k]];
}
