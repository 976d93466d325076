/*
 * affected.c - one analysis for all transforms: what does a set of values reach?
 *
 * In:  a closed graph and a bit for each of its inputs. Out: a bit for each of its values.
 *      tangent: which values have tangents, if those inputs have.
 *      else:    which values may differ from lane to lane (or from step to step), if those inputs do.
 * Over a region it is a fixpoint, since what reaches one turn of a loop reaches the next. Bits only grow, so
 * it ends.
 */
#include "transforms.h"

/* Does this operand's tangent reach results at all? */
static bool passes(const Ins *i, int k)
{
    const OpRow *row = &optab[i->op];
    if (row->elementwise)
        return row->no_derivative || row->partial[k < 3 ? k : 2];
    return i->op != OP_stop_gradient;
}

static bool tangent_reaches(const Ins *i, const bool *on)
{
    for (int k = 0; k < i->nin; k++)
        if (on[i->in[k]] && passes(i, k))
            return true;
    return false;
}

void affected(const Graph *g, const bool *in, bool tangent, const char *axis, bool *on)
{
    Width w = graph_width(g);
    bool *x = NEWS(bool, w.nin), *out = NEWS(bool, w.nout);
    for (int v = 0; v < g->nval; v++)
        on[v] = false;
    for (int k = 0; k < g->nin; k++)
        on[g->in[k]] = in[k];
    for (int n = 0; n < g->nins; n++) {
        const Ins *i = g->ins[n];
        bool any = false, mine = !tangent && axis && op_axis_name(i) == axis;
        for (int k = 0; k < i->nin; k++)
            any |= x[k] = on[i->in[k]];
        /* where lanes meet all have the same; each has its own number, and its share */
        if (mine) {
            _Static_assert(OP_ppermute - OP_psum_scatter == 2, "what gives each lane its share is last");
            on[i->out] = i->op == OP_axis_index || i->op >= OP_psum_scatter;
            continue;
        }
        if (!any && (i->op != OP_region || tangent || !axis))
            continue;
        if (i->op == OP_region)
            region_bits(i->region, i->nin, i->nsub, i->sub, x, tangent, axis, out);
        for (int k = 0; k < i->nout; k++) {
            bool b = i->op == OP_region ? out[k] :
                i->op == OP_barrier     ? x[k] :
                                          !tangent || tangent_reaches(i, on);
            Dtype dt = g->type[i->out + k].dt;
            on[i->out + k] = b && (!tangent || dtype_inexact(dt));
        }
    }
}

static void set_all(bool *b, int n)
{
    for (int k = 0; k < n; k++)
        b[k] = true;
}

/* One turn: the results that the bodies' inputs reach. False: the path itself differs, and with it
 * everything. The parameters are region_bits's, which keeps what a turn finds. */
static bool one_turn(const Region *r, int nsub, Graph *const *sub, const bool *bits, bool tangent,
    const char *axis, bool *on, bool *out)
{
    for (int k = 0; k < nsub; k++) {
        const Graph *b = sub[k];
        affected(b, bits, tangent, axis, on);
        if (r->kind == WHILE && k == 0) {
            if (on[b->out[0]])
                return false;
            continue;
        }
        for (int j = 0; j < b->nout; j++)
            out[j] |= on[b->out[j]];
    }
    return true;
}

/* A region with its bodies, the inputs that are on, and what is asked: hence the parameters. */
void region_bits(const Region *r, int nin, int nsub, Graph *const *sub, const bool *in, bool tangent,
    const char *axis, bool *out)
{
    int np = region_npred(r), nl = region_nloop(r), nres = sub[nsub - 1]->nout, widest = 0;
    if (np && in[0]) {                          /* the path itself differs */
        set_all(out, nres);
        return;
    }
    /* the rule may use any of them for any result */
    if (r->rule && !(tangent && r->rule->kind == RULE_VMAP)) {
        for (int k = 0; k < nres; k++)
            out[k] = any_bit(in, nin) && (!tangent || dtype_inexact(sub[0]->type[sub[0]->out[k]].dt));
        return;
    }
    for (int k = 0; k < nsub; k++)
        widest = sub[k]->nval > widest ? sub[k]->nval : widest;
    bool *on = NEWS(bool, widest), *bits = NEWS(bool, nin - np), *loop = bits + r->ncap, grown = true;
    for (int k = np; k < nin; k++)
        bits[k - np] = in[k];
    while (grown) {
        for (int k = 0; k < nres; k++)
            out[k] = false;
        if (!one_turn(r, nsub, sub, bits, tangent, axis, on, out)) {
            set_all(out, nres);
            return;
        }
        grown = false;
        for (int k = 0; k < nl; k++) {
            grown |= out[k] && !loop[k];
            loop[k] = out[k] = out[k] || loop[k];
        }
    }
}

void lane_marks(const Draft *f, int first, uint8_t *om)
{
    const Region *r = &f->r;
    int nres = draft_results(f);
    bool *in = NEWS(bool, f->nin), *out = NEWS(bool, nres);
    for (int a = 0; a < r->nlane; a++) {
        for (int j = 0; j < f->nin; j++)
            in[j] = marks_in(r, j)[a] != SHARED;
        region_bits(r, f->nin, f->nsub, f->sub, in, false, r->lane[a].name, out);
        for (int k = first; k < nres; k++)
            om[(k - first) * r->nlane + a] = out[k] ? STACKED : SHARED;
    }
}
