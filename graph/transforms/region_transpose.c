/*
 * region_transpose.c - reverse mode over a region. Transposition is duality:
 *
 *      capture <-> accumulator      carry <-> carry      xs <-> ys
 *      operand shared <-> result summed      stacked <-> stacked      operand summed <-> result shared
 *
 * In:  a linear region of the current graph and the cotangents of its results. Out: the transposed region,
 * and its
 *      results added to the cotangents of the operands.
 * Cotangents so far of linear captures go in as accumulators and come out augmented, so that a table which
 * is read a row a step costs a row a step. An accumulator keeps its mark: what is summed counts once; of
 * half floats it is f32, so that no step rounds. Call and cond get the cotangents of their results as
 * captures; scan as xs, and runs the other way.
 */
#include "transforms.h"

typedef struct List { int *v; int n; } List;    /* numbers of operands, or of results */

/* Who becomes what. Operands and results of the transposed region are in the order of these lists. */
typedef struct Duality {
    const Ins *i;
    const Region *r;
    bool scan;
    int np;
    List caps, xs;                              /* not linear: they stay */
    List act, yct;                              /* results that have a cotangent: accumulators; ys */
    /* linear captures with an accumulator, and without; linear xs */
    List thread, plain, lxs;
    List carry;                                 /* operands */
    /* of a value that is captured twice: the one to be threaded */
    bool *first;
} Duality;

static List list_new(int max)
{
    return (List){ NEWS(int, max), 0 };
}

static void list_add(List *l, int k)
{
    l->v[l->n++] = k;
}

static bool *first_captures(const Ins *i)
{
    bool *first = NEWS(bool, i->nin), *seen = NEWS(bool, cur()->nval);
    for (int j = 0; j < i->nin; j++)
        if (region_group(i->region, j) == 'c') {
            first[j] = !seen[i->in[j]];
            seen[i->in[j]] = true;
        }
    return first;
}

static Duality duality(const Ins *i, const Ref *ct, const Cts *c)
{
    const Region *r = i->region;
    Duality d = {
        .i = i, .r = r, .scan = r->kind == SCAN, .np = region_npred(r), .first = first_captures(i)
    };
    List *operands[] = { &d.caps, &d.xs, &d.thread, &d.plain, &d.lxs, &d.carry };
    for (size_t k = 0; k < sizeof operands / sizeof *operands; k++)
        *operands[k] = list_new(i->nin);
    d.act = list_new(i->nout), d.yct = list_new(i->nout);
    for (int j = 0; j < i->nin; j++) {
        bool lin = graph_lin(cur(), i->in[j]);
        switch (region_group(r, j)) {
        case 'c':
            if (!lin)
                list_add(&d.caps, j);
            else if (is_inexact(i->in[j])) /* no cotangent so far: call and cond have nothing to add to */
                list_add(d.scan || (ct_get(c, i->in[j]) && d.first[j]) ? &d.thread : &d.plain, j);
            break;
        case 'y':
            list_add(&d.carry, j);
            break;
        case 'x':
            list_add(lin ? &d.lxs : &d.xs, j);
            break;
        }
    }
    for (int k = 0; k < i->nout; k++)
        if (ct[k] && (k < r->nacc || k >= region_nloop(r)))
            list_add(k < r->nacc ? &d.act : &d.yct, k);
    return d;
}

static const uint8_t *dual_marks(const uint8_t *m, int nlane)
{
    uint8_t *out = NEWS(uint8_t, nlane);
    for (int a = 0; a < nlane; a++)
        out[a] = mark_dual(m[a]);
    return out;
}

/* ==================== bodies */

/* The body's input for this operand. */
static Ref input_of(const Duality *d, const Graph *b, int operand)
{
    return b->in[operand - d->np];
}

static Ref example_input(const Graph *b, Ref v, uint8_t flags)
{
    Type t = b->type[v];
    t.dt = flags & V_ACC ? dtype_sum((Dtype)t.dt) : (Dtype)t.dt;
    return graph_input(t, flags);
}

/* Further inputs for the operands, or the results, of a list. */
static void operand_inputs(const Duality *d, const Graph *b, const List *l, uint8_t flags, Ref *by_operand)
{
    for (int k = 0; k < l->n; k++)
        by_operand[l->v[k]] = example_input(b, input_of(d, b, l->v[k]), flags);
}

static void result_inputs(const Graph *b, const List *l, Ref *by_result)
{
    for (int k = 0; k < l->n; k++)
        by_result[l->v[k]] = example_input(b, b->out[l->v[k]], 0);
}

/* What is computed again waits for the cotangents, or finding identical instructions would undo it. */
static void wait_for_cotangents(const Duality *d, Ref *x, Ref *ct)
{
    const List *lists[] = { &d->caps, &d->act, &d->yct };
    int n = 0, most = d->caps.n + d->act.n + d->yct.n;
    Ref *from[] = { x, ct, ct }, *v = NEWS(Ref, most), *late = NEWS(Ref, most);
    for (int l = 0; l < 3; l++)
        for (int k = 0; k < lists[l]->n; k++)
            v[n++] = from[l][lists[l]->v[k]];
    Barrier(v, n, late);
    n = 0;
    for (int l = 0; l < 3; l++)
        for (int k = 0; k < lists[l]->n; k++)
            from[l][lists[l]->v[k]] = late[n++];
}

/* The body's cotangents, from its results backwards. x: its inputs by operand; ct: cotangents of its
 * results; acc: accumulators, by operand. */
static void walk_body(const Duality *d, const Graph *b, const Ref *x, const Ref *ct, const Ref *acc)
{
    Graph *h = cur();
    Ref *z = NEWS(Ref, b->nout), *out = NEWS(Ref, d->i->nin);
    int start = h->nins, n = 0;
    graph_inline(b, x + d->np, z);
    int ntodo = h->nins - start;
    Ins **todo = arena_copy(h->ins + start, sizeof *todo * (size_t)ntodo);
    Cts *c = cts_new();
    for (int k = 0; k < d->thread.n; k++)
        ct_set(c, x[d->thread.v[k]], acc[d->thread.v[k]]);
    for (int k = 0; k < b->nout; k++)
        ct_add(c, z[k], ct[k]);
    transpose_walk(c, todo, ntodo);
    const List *results[] = { &d->thread, &d->carry, d->scan ? &d->lxs : &d->plain };
    for (int l = 0; l < 3; l++)
        for (int k = 0; k < results[l]->n; k++) {
            Ref v = x[results[l]->v[k]];
            out[n++] = or_zero(ct_get(c, v), v);
        }
    graph_outputs(out, n);
}

static Graph *transpose_body(const Duality *d, const Graph *b)
{
    const Region *r = d->r;
    Ref *x = NEWS(Ref, d->i->nin), *acc = NEWS(Ref, d->i->nin), *ct = NEWS(Ref, b->nout);
    graph_begin(graph_new());
    operand_inputs(d, b, &d->caps, 0, x);
    result_inputs(b, &d->act, ct);
    if (!d->scan)
        result_inputs(b, &d->yct, ct);
    operand_inputs(d, b, &d->thread, V_ACC, acc);
    for (int k = r->nacc; k < region_nloop(r); k++)
        ct[k] = example_input(b, b->out[k], 0);
    operand_inputs(d, b, &d->xs, 0, x);
    if (d->scan)
        result_inputs(b, &d->yct, ct);
    if (r->remat)
        wait_for_cotangents(d, x, ct);
    for (int j = d->np; j < d->i->nin; j++) {   /* the linear ones: placeholders */
        Ref v = input_of(d, b, j);
        if (!x[j])
            x[j] = graph_value(b->type[v], V_LIN | (b->flag[v] & V_ACC));
    }
    walk_body(d, b, x, ct, acc);
    Graph *h = graph_end();
    return error_pending() ? h : graph_dce(h);
}

/* ==================== the region */

static Draft transposed(const Duality *d, const Ref *ct, const Cts *c)
{
    const Ins *i = d->i;
    const Region *r = d->r;
    int nlane = r->nlane, nres = 0;
    Region plain =
        region_plain(r->kind, d->caps.n + d->act.n + (d->scan ? 0 : d->yct.n), d->thread.n, d->carry.n);
    plain.length = r->length;
    plain.reverse = d->scan && !r->reverse;
    plain.lane = r->lane, plain.nlane = nlane;
    Draft f = draft_like(&plain, i->nin + i->nout, i->nsub);
    for (int j = 0; j < d->np; j++)
        draft_operand(&f, i->in[j], marks_in(r, j));
    for (int k = 0; k < d->caps.n; k++)
        draft_operand(&f, i->in[d->caps.v[k]], marks_in(r, d->caps.v[k]));
    for (int k = 0; k < d->act.n; k++)
        draft_operand(&f, ct[d->act.v[k]], dual_marks(marks_out(r, d->act.v[k]), nlane));
    for (int k = 0; !d->scan && k < d->yct.n; k++)
        draft_operand(&f, ct[d->yct.v[k]], dual_marks(marks_out(r, d->yct.v[k]), nlane));
    for (int k = 0; k < d->thread.n; k++) {
        int j = d->thread.v[k];
        Ref so_far = d->first[j] ? ct_get(c, i->in[j]) : 0;
        so_far = Convert(or_zero(so_far, i->in[j]), dtype_sum((Dtype)typ(i->in[j])->dt));
        draft_operand(&f, so_far, dual_marks(marks_in(r, j), nlane));
    }
    for (int k = r->nacc; k < region_nloop(r); k++)
        draft_operand(&f, or_zero(ct[k], i->out + (Ref)k), dual_marks(marks_out(r, k), nlane));
    for (int k = 0; k < d->xs.n; k++)
        draft_operand(&f, i->in[d->xs.v[k]], marks_in(r, d->xs.v[k]));
    for (int k = 0; d->scan && k < d->yct.n; k++)
        draft_operand(&f, ct[d->yct.v[k]], dual_marks(marks_out(r, d->yct.v[k]), nlane));
    for (int k = 0; k < i->nsub; k++)
        f.sub[k] = transpose_body(d, i->sub[k]);
    f.r.om = NEWS(uint8_t, (size_t)(i->nin + 1) * nlane);
    const List *results[] = { &d->thread, &d->carry, d->scan ? &d->lxs : &d->plain };
    for (int l = 0; l < 3; l++)
        for (int k = 0; k < results[l]->n; k++, nres++)
            for (int a = 0; a < nlane; a++)
                f.r.om[nres * nlane + a] = mark_dual(marks_in(r, results[l]->v[k])[a]);
    return f;
}

/* An accumulator's cotangent passes through to the value it started from: summed over the lanes which that
 * value served. */
static Ref pass_through(const Region *r, int k, Ref ct)
{
    const uint8_t *from = marks_in(r, region_npred(r) + r->ncap + k), *to = marks_out(r, k);
    Ints gone = { 0 };
    for (int a = 0, axis = 0; a < r->nlane; a++) {
        if (to[a] != STACKED)
            continue;
        if (from[a] == SHARED)
            gone.v[gone.n++] = axis;
        axis++;
    }
    return gone.n ? Sum(ct, gone) : ct;
}

void region_transpose(const Ins *i, const Ref *ct, Cts *c)
{
    const Region *r = i->region;
    if (r->kind == WHILE) {
        error_set(E_DIFF,
            "reverse mode through a while loop: the number of steps is not known; give it a bound with "
            ".max_trips, or use scan or fori with constant bounds");
        return;
    }
    if (r->rule) {
        rule_transpose(i, ct, c);
        return;
    }
    Duality d = duality(i, ct, c);
    Draft f = transposed(&d, ct, c);
    if (error_pending())
        return;
    int n = d.thread.n, first = region_npred(r) + r->ncap;
    Ref *out = NEWS(Ref, draft_results(&f));
    draft_emit(&f, out);
    for (int k = 0; k < n; k++)
        if (d.first[d.thread.v[k]])
            ct_set(c, i->in[d.thread.v[k]], out[k] ? ct_like(c, i->in[d.thread.v[k]], out[k]) : 0);
    for (int k = 0; k < n; k++)
        if (!d.first[d.thread.v[k]])
            ct_add(c, i->in[d.thread.v[k]], out[k]);
    for (int k = 0; k < d.carry.n; k++)
        ct_add(c, i->in[d.carry.v[k]], out[n++]);
    const List *last = d.scan ? &d.lxs : &d.plain;
    for (int k = 0; k < last->n; k++)
        ct_add(c, i->in[last->v[k]], out[n++]);
    for (int k = 0; k < d.act.n; k++)
        ct_add(c, i->in[first + d.act.v[k]], pass_through(r, d.act.v[k], ct[d.act.v[k]]));
}
