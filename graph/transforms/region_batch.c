/*
 * region_batch.c - lanes of regions.
 *
 * vmap:        in: a region and the states of its operands. Out: the same region with one more lane axis in
 * front;
 *              marks of results by affected.c. The bodies are untouched, so each lane has its own predicate,
 *              path and trip count. A body whose lanes meet over that axis is batched at once, as where
 *              lanes go.
 * without lanes: in: a region and one of its lane axes. Out: the region without it, its bodies batched.
 *      A loop whose condition differs runs while any lane's holds; a lane that is done keeps its values by
 *      select, and the bits of those that are not go down as the mask of whatever is inside, so that no
 *      finished lane keeps an inner loop alive. A cond whose index differs becomes a call of every branch
 *      under the mask of the lanes that take it. An accumulator is never selected nor copied: what is added
 *      to it is masked; it goes through the branches in turn. Finished lanes need no safe inputs, because
 *      nothing is differentiated after this: select after, never multiply.
 */
#include "transforms.h"

/* An instruction, its operands with their marks and its results with theirs: hence the parameters. */
void region_batch(
    const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, bool elim, Ref *out, uint8_t *so)
{
    const Region *r = i->region;
    int nlane = r->nlane + 1, first = region_npred(r) + r->ncap;
    if (r->rule && r->rule->kind == RULE_VMAP && !elim) {
        rule_batch(i, x, s, ax, out, so);
        return;
    }
    Region wide = *r;
    wide.nlane = nlane;
    wide.lane = NEWS(Lane, nlane);
    wide.lane[0] = ax->lane;
    for (int a = 0; a < r->nlane; a++)
        wide.lane[a + 1] = r->lane[a];
    Draft f = draft_like(&wide, i->nin, i->nsub);
    uint8_t *m = NEWS(uint8_t, nlane);
    bool *in = NEWS(bool, i->nin), *bits = NEWS(bool, i->nout);
    for (int j = 0; j < i->nin; j++) {
        in[j] = s[j] != SHARED;
        m[0] = s[j];
        for (int a = 0; a < r->nlane; a++)
            m[a + 1] = marks_in(r, j)[a];
        draft_operand(&f, x[j], m);
    }
    region_bits(r, i->nin, i->nsub, i->sub, in, false, ax->lane.name, bits);
    f.r.om = NEWS(uint8_t, (size_t)i->nout * nlane);
    for (int k = 0; k < i->nout; k++) {
        bool summed = k < r->nacc && s[first + k] == SUMMED;
        so[k] = f.r.om[k * nlane] = summed ? SUMMED : bits[k] ? STACKED : SHARED;
        for (int a = 0; a < r->nlane; a++)
            f.r.om[k * nlane + a + 1] = marks_out(r, k)[a];
    }
    for (int k = 0; k < i->nsub; k++)
        f.sub[k] = i->sub[k];
    if (elim || region_meets(i, ax->lane.name) || region_asks(r, i->nsub, i->sub, ax->lane.name)
        || (ax->mask && i->region->effects)) {
        drop_lane(&f, 0, ax->mask, elim, out);
        return;
    }
    if (!i->region->effects)                    /* no body meets over it, and none tells of its lanes */
        f.r.lane[0].name = NULL;
    draft_emit(&f, out);
}

/* ==================== places of axes */

/* Of a value with these marks: how many lane axes it has in front of lane k, and without lane k. */
static int depth(const Region *r, const uint8_t *m, int k)
{
    int n = 0;
    for (int a = 0; a < k && a < r->nlane; a++)
        n += m[a] == STACKED;
    return n;
}

static int others(const Region *r, const uint8_t *m, int k)
{
    return depth(r, m, r->nlane) - (m[k] == STACKED);
}

/* One more axis, of size n, at `at`: the same along it. */
static Ref insert_axis(Ref v, int at, int64_t n)
{
    const Type *t = typ(v);
    Ints shape = { 0 }, dims = { 0 };
    for (int d = 0; d <= t->rank; d++) {
        if (d == at)
            shape.v[shape.n++] = n;
        if (d == t->rank)
            break;
        dims.v[dims.n++] = shape.n;
        shape.v[shape.n++] = t->dim[d];
    }
    if (shape.n > MAXRANK) {
        error_set(E_SHAPE, "vmap: %s with one more axis has more than %d dimensions", type_text(t), MAXRANK);
        return 0;
    }
    return Broadcast(v, shape, dims);
}

/* The same, given to lane 0 alone; the others get zeros. */
static Ref insert_first(Ref v, int at, int64_t n)
{
    v = insert_axis(v, at, 1);
    if (!v || !n)
        return v ? SliceAxis(v, at, 0, 0) : 0;
    Ints zero = { typ(v)->rank, { 0 } }, hi = zero;
    hi.v[at] = n - 1;
    return Pad(v, Const(typ(v)->dt, 0), zero, hi, zero);
}

/* Lane 0 of axis `at`. */
static Ref take_first(Ref v, int at)
{
    Type t = *typ(v), u = t;
    for (int d = at; d + 1 < t.rank; d++)
        u.dim[d] = t.dim[d + 1];
    u.dim[--u.rank] = 0;
    return Reshape(SliceAxis(v, at, 0, 1), type_shape(&u));
}

/* ==================== a lane axis goes */

/* A region on its way from lane axis k to none: states of body inputs and results over that axis. */
typedef struct Drop {
    const Draft *from;
    int k, np, nres;
    const Lane *lane;
    bool masked, vary, elim;
    /* of operands, after what goes round was stacked where it differs */
    uint8_t *in;
    uint8_t *loop;                              /* of accumulators and carry: those of in */
    uint8_t *want, *have;                       /* of results: their marks; what the batched bodies give */
    Ref *apart;                                 /* accumulators that have to be joined again, or 0 */
} Drop;

/* An operand with the lane axis behind the other lanes and the steps, where the batched body wants it. */
static Ref operand_over(Drop *d, int j, bool differs)
{
    const Region *r = &d->from->r;
    const uint8_t *m = marks_in(r, j);
    char group = region_group(r, j);
    int at = others(r, m, d->k) + (group == 'x');
    int64_t n = d->lane->size;
    Ref v = d->from->in[j];
    d->in[j] = m[d->k];
    if (m[d->k] == SUMMED && group != 'a') {
        d->in[j] = STACKED;
        return insert_first(v, at, n);
    }
    if (m[d->k] == SHARED && differs) {
        d->in[j] = STACKED;
        /* copies of an accumulator would have to read it */
        if (group == 'a' && graph_acc(cur(), v)) {
            d->apart[j - d->np - r->ncap] = v;
            v = Zeros(typ(v));
        }
        return insert_axis(v, at, n);
    }
    return m[d->k] == STACKED ? MoveAxis(v, depth(r, m, d->k), at) : v;
}

/* The region without the lane, its operands over it; bodies are still per example. */
static Draft without_lane(Drop *d, Ref mask)
{
    const Draft *from = d->from;
    const Region *r = &from->r;
    int rest = r->nlane - 1, k = d->k;
    bool *in = NEWS(bool, from->nin), *bits = NEWS(bool, d->nres);
    uint8_t *m = NEWS(uint8_t, r->nlane);
    for (int j = 0; j < from->nin; j++)
        in[j] = marks_in(r, j)[k] != SHARED;
    region_bits(r, from->nin, from->nsub, from->sub, in, false, d->lane->name, bits);

    Region narrow = *r;
    narrow.nlane = rest, narrow.rule = NULL;
    narrow.lane = NEWS(Lane, rest);
    for (int a = 0; a < rest; a++)
        narrow.lane[a] = r->lane[a + (a >= k)];
    Draft f = draft_like(&narrow, from->nin + 1, from->nsub);
    for (int j = 0; j <= from->nin; j++) {
        if (j == d->np && mask) {
            for (int a = 0; a < rest; a++)
                m[a] = SHARED;
            draft_operand(&f, mask, m);
            f.r.ncap++;
        }
        if (j == from->nin)
            break;
        int loop = j - d->np - r->ncap;
        Ref v = operand_over(d, j, loop >= 0 && loop < region_nloop(r) && bits[loop]);
        for (int a = 0; a < rest; a++)
            m[a] = marks_in(r, j)[a + (a >= k)];
        draft_operand(&f, v, m);
    }
    f.r.om = NEWS(uint8_t, (size_t)d->nres * rest);
    for (int q = 0; q < d->nres; q++)
        for (int a = 0; a < rest; a++)
            f.r.om[q * rest + a] = marks_out(r, q)[a + (a >= k)];
    return f;
}

/* Inputs of a body's batched counterpart in the current graph. */
static void batched_inputs(const Drop *d, const Graph *b, Ref *in)
{
    for (int j = 0; j < b->nin; j++) {
        Ref v = b->in[j];
        Type t = d->in[d->np + j] == STACKED ? type_add_lead(&b->type[v], d->lane->size) : b->type[v];
        in[j] = graph_input(t, b->flag[v] & V_ACC);
    }
}

/* The batched body inlined; its mask, where there is one, is its first input. */
static void inline_batched(
    const Drop *d, const Graph *b, const uint8_t *have, Ref mask, const Ref *in, Ref *out)
{
    Graph *g = graph_batch(b, d->in + d->np, have, d->lane, mask != 0, d->elim);
    Ref *x = NEWS(Ref, b->nin + 1);
    int n = 0;
    if (mask)
        x[n++] = mask;
    for (int j = 0; j < b->nin; j++)
        x[n++] = in[j];
    graph_inline(g, x, out);
}

static Ref any_of(Ref mask)
{
    return Reduce(OP_reduce_or, mask, (Ints){ 1, { 0 } });
}

static Ref choose(Ref mask, Ref yes, Ref no)
{
    return Select(Broadcast(mask, type_shape(typ(yes)), (Ints){ 1, { 0 } }), yes, no);
}

/* which: 0 the condition, 1 the step. The step evaluates the condition again instead of carrying its bits,
 * so that there is no first mask to compute. A condition that all lanes share still asks for an active lane:
 * nobody may have taken this branch. */
static Graph *while_body(const Drop *d, int which)
{
    const Draft *f = d->from;
    const Graph *cond = f->sub[0], *step = f->sub[1];
    int nloop = region_nloop(&f->r);
    uint8_t pred_state = d->vary ? STACKED : SHARED;
    Ref *in = NEWS(Ref, step->nin), *out = NEWS(Ref, step->nout), outer = 0, pred = 0;
    graph_begin(graph_new());
    if (d->masked)
        outer = graph_input(type_of(DT_BOOL, 1, &d->lane->size), 0);
    batched_inputs(d, step, in);
    if (which == 0 || d->vary)
        inline_batched(d, cond, &pred_state, outer, in, &pred);
    Ref m = d->vary && outer ? And(pred, outer) : pred;
    if (which == 0) {
        out[0] = d->vary ? any_of(m) : outer ? And(pred, any_of(outer)) : pred;
        graph_outputs(out, 1);
        return graph_end();
    }
    inline_batched(d, step, d->loop, d->vary ? m : outer, in, out);
    for (int k = f->r.nacc; d->vary && k < nloop; k++)
        out[k] = choose(m, out[k], in[f->r.ncap + k]);
    graph_outputs(out, step->nout);
    return graph_end();
}

/* A path a lane: every branch under the mask of the lanes that take it. */
static Graph *cond_body(const Drop *d)
{
    const Draft *f = d->from;
    const Graph *b0 = f->sub[0];
    Axis ax = { *d->lane, 0 };
    Ref *in = NEWS(Ref, b0->nin), *out = NEWS(Ref, d->nres), *got = NEWS(Ref, d->nres), outer = 0;
    graph_begin(graph_new());
    Ref index = graph_input(type_of(DT_I32, 1, &d->lane->size), 0);
    if (d->masked)
        outer = graph_input(type_of(DT_BOOL, 1, &d->lane->size), 0);
    batched_inputs(d, b0, in);
    index = Max(Min(index, Like(index, f->nsub - 1)), Like(index, 0));
    for (int b = 0; b < f->nsub; b++) {
        Ref m = Eq(index, Like(index, b));
        m = outer ? And(m, outer) : m;
        inline_batched(d, f->sub[b], d->have, m, in, got);
        for (int k = 0; k < d->nres; k++) {
            bool acc = k < f->r.nacc;
            out[k] = acc || !b       ? got[k] :
                d->have[k] == SUMMED ? Add(out[k], got[k]) :
                                       choose(m, got[k], out[k]);
            if (acc)
                in[f->r.ncap + k] = got[k];     /* the next branch adds to what this one left */
        }
    }
    /* an accumulator is not to be read here: finish does it, outside */
    for (int k = f->r.nacc; k < d->nres; k++)
        if (d->want[k] == SHARED && d->have[k] == STACKED) {
            out[k] = settle(out[k], STACKED, SHARED, &ax);
            d->have[k] = SHARED;
        }
    graph_outputs(out, d->nres);
    return graph_end();
}

/* Brings the lane axis of a result to its place, or takes it away. Only what goes round can differ from what
 * is wanted: the bodies settle the rest. No mask: under one, marks over the lane were made by region_batch,
 * and none but accumulators are summed. */
static Ref finish(const Drop *d, int q, Ref v)
{
    const Region *r = &d->from->r;
    const uint8_t *m = marks_out(r, q);
    int at = others(r, m, d->k) + (r->kind == SCAN && q >= region_nloop(r)), to = depth(r, m, d->k);
    uint8_t have = d->have[q], want = d->want[q];
    if (!v)
        return 0;
    if (have == STACKED && want == STACKED)
        v = MoveAxis(v, at, to);
    else if (have == STACKED && want == SUMMED)
        v = Sum(v, (Ints){ 1, { at } });
    else if (have == STACKED && want == SHARED)
        v = take_first(v, at);
    else if (have == SHARED && want == STACKED)
        v = insert_axis(v, to, d->lane->size);
    else if (have == SHARED && want == SUMMED)
        v = Mul(v, Like(v, (double)d->lane->size));
    Ref apart = q < region_nloop(r) ? d->apart[q] : 0;
    return apart ? Accum(apart, v) : v;
}

/* No lanes: an accumulator keeps what it holds, in every lane of the other axes; the rest is empty, or the
 * sum of nothing. */
static void no_lanes(const Draft *f, Ref *out)
{
    const Region *r = &f->r;
    int first = region_npred(r) + r->ncap;
    for (int k = 0; k < draft_results(f); k++) {
        Type t = region_result(r, f->nsub, f->sub, k);
        if (k >= r->nacc || !type_size(&t)) {
            out[k] = Zeros(&t);
            continue;
        }
        const uint8_t *from = marks_in(r, first + k), *to = marks_out(r, k);
        out[k] = f->in[first + k];
        for (int a = 0; a < r->nlane; a++)
            if (from[a] == SHARED && to[a] == STACKED)
                out[k] = insert_axis(out[k], depth(r, to, a), r->lane[a].size);
    }
}

static bool condition_differs(const Drop *d)
{
    const Draft *f = d->from;
    if (f->r.kind == COND)
        return d->in[0] == STACKED;
    if (f->r.kind != WHILE)
        return false;
    const Graph *cond = f->sub[0];
    bool *in = NEWS(bool, cond->nin), *on = NEWS(bool, cond->nval);
    for (int j = 0; j < cond->nin; j++)
        in[j] = d->in[j] != SHARED;
    affected(cond, in, false, d->lane->name, on);
    return on[cond->out[0]];
}

static void batch_bodies(Drop *d, Draft *f)
{
    const Draft *from = d->from;
    int nloop = region_nloop(&from->r);
    for (int q = 0; q < d->nres; q++)
        d->have[q] = q < nloop ? d->loop[q] : d->want[q];
    if (from->r.kind == WHILE) {
        f->sub[0] = while_body(d, 0);
        f->sub[1] = while_body(d, 1);
    } else if (from->r.kind == COND && d->vary) {
        for (int q = 0; q < d->nres; q++)
            d->have[q] = d->want[q] == SUMMED ? SUMMED : STACKED;
        f->r.kind = CALL;
        f->r.ncap++;                            /* the index */
        f->nsub = 1;
        f->sub[0] = cond_body(d);
    } else {
        for (int k = 0; k < from->nsub; k++)
            f->sub[k] = graph_batch(from->sub[k], d->in + d->np, d->have, d->lane, d->masked, d->elim);
    }
}

/* Lanes that meet must come there together: an error that names both lines where they need not. */
static bool meets_alone(const Drop *d)
{
    const Ins *meet = NULL;
    for (int n = 0; d->vary && d->lane->name && n < d->from->nsub && !meet; n++)
        meet = graph_meets(d->from->sub[n], d->lane->name);
    if (!meet)
        return false;
    const char *at = meet->loc.file ? arena_text(" at %s:%d", meet->loc.file, meet->loc.line) : "";
    error_set(E_INVAL,
        "%s over axis \"%s\"%s is inside a %s whose %s differs between the lanes of that axis: not all "
        "lanes "
        "would come there",
        optab[meet->op].name, d->lane->name, at, d->from->r.kind == WHILE ? "while" : "cond",
        d->from->r.kind == WHILE ? "condition" : "index");
    return true;
}

void drop_lane(const Draft *from, int k, Ref mask, bool elim, Ref *out)
{
    const Region *r = &from->r;
    if (!r->lane[k].size) {
        no_lanes(from, out);
        return;
    }
    Drop d = { .from = from, .k = k, .np = region_npred(r), .nres = draft_results(from),
        .lane = &r->lane[k], .masked = mask != 0, .elim = elim };
    d.in = NEWS(uint8_t, from->nin);
    d.loop = d.in + d.np + r->ncap;
    d.want = NEWS(uint8_t, d.nres);
    d.have = NEWS(uint8_t, d.nres);
    d.apart = NEWS(Ref, region_nloop(r));
    for (int q = 0; q < d.nres; q++)
        d.want[q] = marks_out(r, q)[k];
    Draft f = without_lane(&d, mask);
    d.vary = condition_differs(&d);
    if (meets_alone(&d))
        return;
    batch_bodies(&d, &f);
    if (error_pending())
        return;
    if (r->rule && !elim)
        f.r.rule = rule_batched(r->rule, d.lane, d.masked, from->nin, d.in, d.nres, d.have);
    if (f.r.nlane && elim)
        drop_lane(&f, f.r.nlane - 1, 0, true, out);
    else
        draft_emit(&f, out);
    for (int q = 0; q < d.nres; q++)
        out[q] = finish(&d, q, out[q]);
}
