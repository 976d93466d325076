/*
 * batch.c - vmap: one loop forwards.
 *
 * In:  a graph, and for each input its value over the lanes and its state: shared by all lanes, stacked
 * (lanes on
 *      axis 0), or summed (an accumulator of all lanes). Out: V and S, by value of the graph.
 * What no lane changes is computed once. A region gets one more lane axis and its bodies are left alone;
 * where lanes go (elim) its bodies are batched instead, under a mask of the lanes that are active. A mask
 * never selects an accumulator: it masks what is added.
 * graph_matrix takes every lane axis out of every region, bodies first. It is a lowering: nothing is
 * differentiated after it.
 */
#include "transforms.h"

/* ==================== states */

/* The mask along axis `axis` of a value like v. */
static Ref mask_like(const Axis *ax, Ref v, int axis)
{
    Ints dims = { 1, { axis } };
    return Broadcast(ax->mask, type_shape(typ(v)), dims);
}

static Ref active_along(Ref v, int axis, const Axis *ax)
{
    return ax->mask ? Select(mask_like(ax, v, axis), v, Zeros(typ(v))) : v;
}

Ref stacked(Ref v, uint8_t state, int64_t n)
{
    return state == STACKED ? v : BroadcastLead(v, n);
}

Ref active(Ref v, uint8_t state, const Axis *ax)
{
    return active_along(stacked(v, state, ax->lane.size), 0, ax);
}

/* The sum over lanes of a product over its first batch axis is one product: the gradient of a weight is one
 * product, not one matrix a lane. Both factors lose their idle lanes, since 0 * nan is nan. */
static Ref sum_of_dots(const Ins *i, const Axis *ax, Dtype to)
{
    Ints lc = ins_ints(i, ATTR(dot, lhs_contract)), rc = ins_ints(i, ATTR(dot, rhs_contract)),
         lb = ins_ints(i, ATTR(dot, lhs_batch)), rb = ins_ints(i, ATTR(dot, rhs_batch));
    Ref x = active_along(i->in[0], (int)lb.v[0], ax), y = active_along(i->in[1], (int)rb.v[0], ax);
    lc.v[lc.n++] = lb.v[0];
    rc.v[rc.n++] = rb.v[0];
    return Dot(x, y, lc, rc, ints_of(lb.v + 1, lb.n - 1), ints_of(rb.v + 1, rb.n - 1), to);
}

/* v has the lanes. to: its dtype, or the one that it is about to be converted to. */
static Ref sum_over_lanes(Ref v, Dtype to, const Axis *ax)
{
    const Ins *i = def(v);
    if (i && i->op == OP_convert && dtype_sum((Dtype)typ(i->in[0])->dt) == to)
        return sum_over_lanes(i->in[0], to, ax);        /* half floats on their way into a sum */
    if (i && i->op == OP_transpose && ins_ints(i, ATTR(transpose, perm)).v[0] == 0) {
        Ints perm = ins_ints(i, ATTR(transpose, perm)), rest = { 0 };
        for (int k = 1; k < perm.n; k++)
            rest.v[rest.n++] = perm.v[k] - 1;
        return Transpose(sum_over_lanes(i->in[0], to, ax), rest);
    }
    if (i && i->op == OP_dot && ins_ints(i, ATTR(dot, lhs_batch)).n)
        return sum_of_dots(i, ax, to);
    return Sum(Convert(active(v, STACKED, ax), to), (Ints){ 1, { 0 } });
}

Ref lane_sum(Ref v, uint8_t state, const Axis *ax)
{
    if (state == SUMMED || !v)
        return v;
    v = stacked(v, state, ax->lane.size);
    return v ? sum_over_lanes(v, (Dtype)typ(v)->dt, ax) : 0;
}

Ref settle(Ref v, uint8_t state, uint8_t want, const Axis *ax)
{
    if (!v)
        return 0;
    if (want == STACKED)
        return stacked(v, state, ax->lane.size);
    if (want == SUMMED)
        return lane_sum(v, state, ax);
    if (state != STACKED)
        return v;
    Type one = type_drop_lead(typ(v), 1);       /* all lanes agree: the first */
    return ax->lane.size ? Reshape(SliceAxis(v, 0, 0, 1), type_shape(&one)) : Zeros(&one);
}

/* ==================== lanes that meet */

const Ins *region_meets(const Ins *i, const char *axis)
{
    const Ins *found = NULL;
    for (int k = 0; axis && k < i->nsub && !found; k++)
        found = graph_meets(i->sub[k], axis);
    return found;
}

const Ins *graph_meets(const Graph *g, const char *axis)
{
    for (int n = 0; n < g->nins; n++) {
        const Ins *i = g->ins[n], *inside = i->op == OP_region ? region_meets(i, axis) : NULL;
        if (inside || (op_axis_name(i) && i->op != OP_axis_index && op_axis_name(i) == axis))
            return inside ? inside : i;
    }
    return NULL;
}

/* ==================== graphs */

static bool any_state(const uint8_t *s, int n)
{
    for (int k = 0; k < n; k++)
        if (s[k] != SHARED)
            return true;
    return false;
}

static void batch_op(const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    const OpRow *row = &optab[i->op];
    bool adds = i->op == OP_accum || i->op == OP_accum_slice || i->op == OP_scatter;
    for (int k = 0; k < i->nin; k++)
        if (s[k] == SUMMED && (k || !adds)) {
            error_set(E_INTERNAL, "an accumulator of all lanes is read by %s", row->name);
            return;
        }
    if (row->rules && row->rules->batch)
        row->rules->batch(i, x, s, ax, out, so);
    else
        error_set(E_INTERNAL, "%s has no rule for lanes", row->name);
}

void batch_into(const Graph *g, Ref *V, uint8_t *S, const Axis *ax, bool elim)
{
    Width w = graph_width(g);
    Ref *x = NEWS(Ref, w.nin);
    uint8_t *s = NEWS(uint8_t, w.nin);
    Loc before = loc_here();
    for (int n = 0; n < g->nins && !error_pending(); n++) {
        const Ins *i = g->ins[n];
        Ref *out = V + i->out;
        uint8_t *so = S + i->out;
        for (int k = 0; k < i->nin; k++)
            x[k] = V[i->in[k]], s[k] = S[i->in[k]];
        for (int k = 0; k < i->nout; k++)
            out[k] = 0, so[k] = i->op == OP_barrier ? s[k] : SHARED;
        loc_set(i->loc.file ? i->loc : before);
        /* not in idle lanes */
        bool some = any_state(s, i->nin) || (ax->mask && (ins_effect(i) || i->op == OP_callback));
        if (i->op == OP_region && (some || (ax->mask && elim) || region_meets(i, ax->lane.name)
                                   || region_asks(i->region, i->nsub, i->sub, ax->lane.name)))
            region_batch(i, x, s, ax, elim, out, so);
        else if (i->op == OP_barrier || (!some && !(ax->lane.name && op_axis_name(i) == ax->lane.name)))
            again(i, x, out);
        else
            batch_op(i, x, s, ax, out, so);
    }
    loc_set(before);
}

Graph *graph_batch(
    const Graph *g, const uint8_t *in, const uint8_t *out, const Lane *lane, bool masked, bool elim)
{
    Ref *V = NEWS(Ref, g->nval), *z = NEWS(Ref, g->nout);
    uint8_t *S = NEWS(uint8_t, g->nval);
    Axis ax = { *lane, 0 };
    Graph *h = graph_begin(graph_new());
    h->ncap = masked ? 0 : g->ncap;
    if (masked)
        ax.mask = graph_input(type_of(DT_BOOL, 1, &lane->size), 0);
    for (int k = 0; k < g->nin; k++) {
        Ref v = g->in[k];
        Type t = in[k] == STACKED ? type_add_lead(&g->type[v], lane->size) : g->type[v];
        V[v] = graph_input(t, g->flag[v] & V_ACC);
        S[v] = in[k];
    }
    batch_into(g, V, S, &ax, elim);
    for (int k = 0; k < g->nout; k++)
        z[k] = settle(V[g->out[k]], S[g->out[k]], out[k], &ax);
    graph_outputs(z, g->nout);
    return graph_end();
}

/* ==================== regions as matrices: without lanes */

static bool has_lanes(const Ins *i) { return i->op == OP_region && i->region->nlane; }
bool graph_has_lanes(const Graph *g) { return graph_find(g, has_lanes); }

/* A checkpoint has no more to say, as nothing is differentiated from here. */
static void lower_region(const Ins *i, const Ref *x, Ref *out, void *env)
{
    (void)env;
    if (i->op != OP_region) {
        again(i, x, out);
        return;
    }
    Draft f = draft_of(i->region, i->nin, x, i->nsub, i->sub);
    f.r.remat = false, f.r.rule = NULL;
    for (int k = 0; k < f.nsub; k++)
        f.sub[k] = graph_matrix(f.sub[k]);
    if (error_pending())
        return;
    if (f.r.nlane)
        drop_lane(&f, f.r.nlane - 1, 0, true, out);
    else
        draft_emit(&f, out);
}

Graph *graph_matrix(const Graph *g)
{
    Graph *h = graph_map(g, lower_region, NULL);
    return h ? graph_dce(h) : NULL;
}
