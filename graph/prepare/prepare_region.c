/*
 * prepare_region.c - regions rewritten before they are scheduled.
 *
 * In:  a region and its operands in the current graph. Out: the same results from what has a form: lanes or
 * rows
 *      without summed marks, steps without lanes, or no region at all (a matrix, whose bodies are
 *      batched).
 * Large scans lose their accumulators first: an accumulator takes no part in the steps, so what is added to
 * it, or the factors of the product that is added, leave the loop as ys, and one sum, product or scatter
 * over all steps and lanes follows.
 */
#include "graph_map.h"
#include "prepare.h"

#include <string.h>

static const uint8_t *marks(const uint8_t *m, const Region *r, int k)
{
    return m + (size_t)k * (size_t)r->nlane;
}

static bool any_summed(const uint8_t *m, int n)
{
    for (int k = 0; k < n; k++)
        if (m[k] == SUMMED)
            return true;
    return false;
}

static bool all_stacked(const uint8_t *m, int n)
{
    for (int k = 0; k < n; k++)
        if (m[k] != STACKED)
            return false;
    return true;
}

static bool zero(Ref v)
{
    int64_t bits;
    return const_of(v, &bits) && bits == 0;
}

static Ref added(Ref start, Ref z)
{
    return zero(start) ? z : graph_acc(cur(), start) ? Accum(start, z) : Add(start, z);
}

/* ==================== without summed marks */

/* Lane 0 gets it, the others zeros: rows, of which all but the first are zero. k: lane. */
static Ref first_row(const Region *r, const uint8_t *m, int k, Ref v)
{
    Ints s = type_shape(typ(v)), lo = { s.n + 1, { 0 } }, hi = lo;
    int at = 0;
    for (int l = 0; l < k; l++)
        at += m[l] == STACKED;
    if (s.n >= MAXRANK) {
        error_set(E_SHAPE, "%s: an operand summed over lanes needs one more axis than %d", type_text(typ(v)),
            MAXRANK);
        return 0;
    }
    for (int d = s.n; d > at; d--)
        s.v[d] = s.v[d - 1];
    s.v[at] = 1;
    s.n++;
    hi.v[at] = r->lane[k].size - 1;
    return Pad(Reshape(v, s), Const((Dtype)typ(v)->dt, 0), lo, hi, (Ints){ s.n, { 0 } });
}

/* One result back from rows: summed over the lanes that were summed, lane 0's where lanes were shared. */
static Ref unstacked(const Region *r, const uint8_t *was, const uint8_t *is, Ref v, const Target *target)
{
    Ints axes = { 0 };
    for (int l = r->nlane - 1; l >= 0; l--) {
        int at = 0;
        for (int j = 0; j < l; j++)
            at += is[j] == STACKED;
        if (was[l] != SHARED || is[l] == SHARED || !v)
            continue;
        Type t = *typ(v);
        v = SliceAxis(v, at, 0, 1);
        for (int d = at; d < t.rank - 1; d++)
            t.dim[d] = t.dim[d + 1];
        v = Reshape(v, ints_of(t.dim, t.rank - 1));
    }
    for (int l = 0, at = 0; l < r->nlane; l++) {
        if (was[l] == SUMMED)
            axes.v[axes.n++] = at;
        at += was[l] != SHARED;
    }
    if (!axes.n || !v)
        return v;
    Attr a = { 0 };
    attr_list(&a, axes.v, axes.n);
    prepare_one(OP_reduce_sum, 1, &v, &a, &v, target);
    return v;
}

/* A result summed over lanes becomes a row a lane, then a sum; the start of an accumulator counts once,
 * after it. An operand that lane 0 alone gets becomes rows, and then lanes no longer agree: shared results
 * become rows, of which one is taken. */
static void settled(const Ins *draft, Ref *out, const Target *target)
{
    const Region *r = draft->region;
    const Ref *in = draft->in;
    Graph *const *sub = draft->sub;
    int nin = draft->nin, nsub = draft->nsub, nout = sub[nsub - 1]->nout, first = region_npred(r) + r->ncap,
        nl = r->nlane;
    Region s = *r;
    Ref *x = NEWS(Ref, nin), *start = NEWS(Ref, nout);
    memcpy(x, in, sizeof *x * (size_t)nin);
    if (!nl) {
        append_region(r, nin, in, nsub, sub, out);
        return;
    }
    s.im = arena_copy(r->im, (size_t)nin * (size_t)nl);
    s.om = arena_copy(r->om, (size_t)nout * (size_t)nl);
    for (int k = 0; k < nout * nl; k++)
        s.om[k] = s.om[k] == SUMMED ? STACKED : s.om[k];
    /* accumulators apart, what depends on it differs along lane k % nl */
    for (int k = 0; k < nin * nl; k++)
        if (s.im[k] == SUMMED && region_group(r, k / nl) != 'a')
            for (int j = 0; j < nout; j++)
                s.om[j * nl + k % nl] = STACKED;
    for (int k = 0; k < r->nacc; k++)
        if (memcmp(marks(r->om, r, k), marks(s.om, &s, k), (size_t)nl)) {
            Type t = region_result(&s, nsub, sub, k);
            start[k] = x[first + k];
            x[first + k] = Zeros(&t);
            memcpy(s.im + (first + k) * nl, marks(s.om, r, k), (size_t)nl);
        }
    for (int k = 0; k < nin; k++) {
        uint8_t *m = s.im + k * nl;
        for (int l = 0; l < nl && x[k]; l++)
            if (m[l] == SUMMED) {
                x[k] = first_row(r, m, l, x[k]);
                m[l] = STACKED;
            }
    }
    if (error_pending())
        return;
    append_region(&s, nin, x, nsub, sub, out);
    for (int k = 0; k < nout; k++) {
        out[k] = unstacked(r, marks(r->om, r, k), marks(s.om, r, k), out[k], target);
        if (start[k])
            out[k] = added(start[k], out[k]);
    }
}

/* ==================== as a matrix: the region alone in a graph, its lanes taken out, inlined */

static void matrix(const Ins *i, const Region *r, const Ref *x, Ref *out, const Target *target)
{
    int nin = i->nin, nout = i->nout;
    Type *t = NEWS(Type, nin);
    uint8_t *flag = NEWS(uint8_t, nin);
    Ref *in = NEWS(Ref, nin), *res = NEWS(Ref, nout);
    for (int k = 0; k < nin; k++) {
        t[k] = *typ(x[k]);
        flag[k] = cur()->flag[x[k]] & V_ACC;
    }
    Graph *g = graph_begin(graph_new());
    for (int k = 0; k < nin; k++)
        in[k] = graph_input(t[k], flag[k]);
    append_region(r, nin, in, i->nsub, i->sub, res);
    graph_outputs(res, nout);
    graph_end();
    Graph *h = error_pending() ? NULL : graph_matrix(g);
    if (h && !error_pending())
        prepare_into(h, x, out, target, true);
}

/* ==================== large scans */

/* Weights that are contracted along their rows enter turned: dot(v, w) over w's axis 1 reads w along
 * rows. */
static bool turned(const Region *r, const Graph *b, const Ins *j, const uint8_t *im)
{
    if (j->op != OP_dot)
        return false;
    int n, nb;
    const int64_t *rc = ins_attr(j, ATTR(dot, rhs_contract), &n);
    ins_attr(j, ATTR(dot, rhs_batch), &nb);
    if (n != 1 || rc[0] != 1 || nb || b->type[j->in[1]].rank != 2)
        return false;
    for (int k = 0; k < r->ncap; k++)
        if (b->in[k] == j->in[1])
            return !r->nlane || !any_summed(marks(im, r, k), r->nlane);
    return false;
}

static int capture_of(const Graph *b, const Region *r, Ref v)
{
    for (int k = 0; k < r->ncap; k++)
        if (b->in[k] == v)
            return k;
    return -1;
}

static Ref transposed(Ref v)
{
    Ints p = { typ(v)->rank, { 0 } };
    for (int d = 0; d < p.n; d++)
        p.v[d] = d < p.n - 2 ? d : 2 * p.n - 3 - d;
    return Transpose(v, p);
}

/* A scan as data that is changed in place: attributes, operands, body. */
typedef struct Scan { Region r; int nin; Ref *x; Graph *body; } Scan;

/* extra: by capture, what is turned. */
typedef struct Turning { const Scan *s; const Ref *extra; } Turning;

static void turned_ins(const Ins *i, const Ref *x, Ref *out, void *env)
{
    const Turning *t = env;
    const Scan *s = t->s;
    if (turned(&s->r, s->body, i, s->r.im))
        out[0] = Dot(x[0], t->extra[capture_of(s->body, &s->r, i->in[1])],
            ins_ints(i, ATTR(dot, lhs_contract)), (Ints){ 1, { 0 } }, ins_ints(i, ATTR(dot, lhs_batch)),
            (Ints){ 0 }, (Dtype)ins_int(i, ATTR(dot, dtype)));
    else
        again(i, x, out);
}

static Graph *turned_body(const Scan *s, const bool *turn, Ref *extra)
{
    const Graph *b = s->body;
    Ref *m = NEWS(Ref, b->nval);
    graph_begin(graph_new());
    for (int k = 0; k < b->nin; k++) {
        for (int c = 0; k == s->r.ncap && c < s->r.ncap; c++)
            if (turn[c]) {
                Type t = b->type[b->in[c]];
                extra[c] = graph_input(type_of((Dtype)t.dt, 2, (const int64_t[]){ t.dim[1], t.dim[0] }), 0);
            }
        m[b->in[k]] = input_like(b, k, b->flag[b->in[k]] & V_ACC);
    }
    graph_map_ins(b, m, turned_ins, &(Turning){ s, extra });
    return graph_map_end(b, m);
}

static void turn_weights(Scan *s)
{
    const Graph *b = s->body;
    const Region *r = &s->r;
    bool *turn = NEWS(bool, r->ncap);
    int n = 0;
    for (int k = 0; k < b->nins; k++)
        if (turned(r, b, b->ins[k], r->im)) {
            int c = capture_of(b, r, b->ins[k]->in[1]);
            n += !turn[c];
            turn[c] = true;
        }
    if (!n || r->ncap == b->nin)
        return;
    Graph *body = turned_body(s, turn, NEWS(Ref, r->ncap));
    Ref *x = NEWS(Ref, s->nin + n);
    uint8_t *im = NEWS(uint8_t, (s->nin + n) * (r->nlane + 1));
    int to = 0;
    for (int k = 0; k < s->nin; k++) {
        for (int c = 0; k == r->ncap && c < r->ncap; c++)
            if (turn[c]) {
                x[to] = transposed(s->x[c]);
                if (r->nlane)
                    memcpy(im + to * r->nlane, marks(r->im, r, c), (size_t)r->nlane);
                to++;
            }
        x[to] = s->x[k];
        if (r->nlane)
            memcpy(im + to * r->nlane, marks(r->im, r, k), (size_t)r->nlane);
        to++;
    }
    s->body = body;
    s->x = x;
    s->nin += n;
    s->r.ncap += n;
    s->r.im = im;
}

/* ---- accumulators leave the loop */

typedef struct Addend {
    /* what is added: a product (turned), slices, or else a value */
    const Ins *dot, *slice; Ints perm;
    Dtype dt;                                   /* in which; products of half floats are f32 at once */
    /* values of the body that are needed, and their places among the ys */
    Ref v[2]; int at[2];
    int n;
} Addend;

static bool addend_of(const Scan *s, int k, Addend *a)
{
    const Graph *b = s->body;
    const Ins *d = b->def[b->out[k]];
    *a = (Addend){ 0 };
    if (!d || (d->op != OP_accum && d->op != OP_accum_slice) || d->in[0] != b->in[s->r.ncap + k])
        return false;
    if (d->op == OP_accum_slice) {
        a->slice = d;
        a->v[0] = d->in[1], a->v[1] = d->in[2];
        a->n = 2;
        return true;
    }
    const Ins *e = b->def[d->in[1]];
    a->dt = (Dtype)b->type[d->out].dt;
    if (e && e->op == OP_convert && dtype_sum((Dtype)b->type[e->in[0]].dt) == a->dt)
        e = b->def[e->in[0]];
    if (e && e->op == OP_transpose && b->def[e->in[0]] && b->def[e->in[0]]->op == OP_dot) {
        a->perm = ins_ints(e, ATTR(transpose, perm));
        e = b->def[e->in[0]];
    }
    int nb = 0;
    if (e && e->op == OP_dot)
        ins_attr(e, ATTR(dot, lhs_batch), &nb);
    if (e && e->op == OP_dot && !nb) {
        a->dot = e;
        a->v[0] = e->in[0], a->v[1] = e->in[1];
        a->n = 2;
    } else {
        a->perm.n = 0;
        a->v[0] = d->in[1];
        a->n = 1;
    }
    return true;
}

/* Which xs operand a value of the body is, where all lanes have their own; or -1. */
static int whole_x(const Scan *s, Ref v)
{
    for (int k = s->r.ncap + region_nloop(&s->r); k < s->body->nin; k++)
        if (s->body->in[k] == v && (!s->r.nlane || all_stacked(marks(s->r.im, &s->r, k), s->r.nlane)))
            return k;
    return -1;
}

static double lanes_all(const Region *r)
{
    double n = 1;
    for (int k = 0; k < r->nlane; k++)
        n *= (double)r->lane[k].size;
    return n;
}

/* All addends, or none: then the accumulators stay. extra: values that become ys. */
static Addend *addends(const Scan *s, const Machine *m, const Ref *x, Ref *extra, int *nextra)
{
    Addend *a = NEWS(Addend, s->r.nacc);
    double room = lanes_all(&s->r) * (double)s->r.length;
    *nextra = 0;
    for (int k = 0; k < s->r.nacc; k++) {
        Type t = region_result(&s->r, 1, &s->body, k);
        if (!addend_of(s, k, &a[k]) || !type_equal(&t, typ(x[s->r.ncap + k])))
            return NULL;
        for (int j = 0; j < a[k].n; j++) {
            const Type *u = &s->body->type[a[k].v[j]];
            bool fits = whole_x(s, a[k].v[j]) >= 0 || room * (double)type_size(u) <= (double)m->stacked;
            if (!fits || s->r.nlane + 1 + u->rank > MAXRANK)
                return NULL;
            a[k].at[j] = -1;
            for (int e = 0; e < *nextra; e++)
                if (extra[e] == a[k].v[j])
                    a[k].at[j] = e;
            if (a[k].at[j] < 0 && whole_x(s, a[k].v[j]) < 0)
                extra[a[k].at[j] = (*nextra)++] = a[k].v[j];
        }
    }
    return a;
}

/* The body without its accumulators, with more ys. */
static Graph *body_without(const Scan *s, const Ref *extra, int nextra)
{
    const Graph *b = s->body;
    int nacc = s->r.nacc, n = b->nout - nacc + nextra;
    Ref *args = NEWS(Ref, b->nin), *wanted = NEWS(Ref, n), *out = NEWS(Ref, n);
    Graph part = *b, *h = graph_begin(graph_new());
    for (int k = 0; k < b->nin; k++)
        args[k] = k >= s->r.ncap && k < s->r.ncap + nacc ? Zeros(&b->type[b->in[k]])
                                                         : graph_input(b->type[b->in[k]], 0);
    for (int k = 0; k < n; k++)
        wanted[k] = k < b->nout - nacc ? b->out[nacc + k] : extra[k - (b->nout - nacc)];
    part.out = wanted;
    part.nout = n;
    graph_inline(&part, args, out);
    graph_outputs(out, n);
    graph_end();
    return graph_dce(h);
}

static Ints shifted(Ints first, Ints more, int by)
{
    for (int k = 0; k < more.n; k++)
        first.v[first.n++] = more.v[k] + by;
    return first;
}

/* One accumulator's result from what was stacked: stack[j] has the lanes, the steps, then the example. */
static Ref summed_up(
    const Scan *s, int k, const Addend *a, const Ref *stack, Ref start, const Target *target)
{
    int nl = s->r.nlane;
    Ints gone = { 0 }, kept = { 0 };
    Attr at = { 0 };
    Ref z = 0;
    for (int l = 0; l < nl; l++) {
        Ints *to = marks(s->r.om, &s->r, k)[l] == SUMMED ? &gone : &kept;
        to->v[to->n++] = l;
    }
    gone.v[gone.n++] = nl;
    if (a->slice) {
        Ints own = ins_ints(a->slice, ATTR(dynamic_slice, sizes)), xb = { nl + 1, { 0 } };
        for (int l = 0; l < nl; l++)
            xb.v[l] = ints_has(&kept, l);
        xb = shifted(xb, own, 0);
        attr_list(&at, xb.v, xb.n);
        prepare_one(OP_accum_slice, 3, (const Ref[]){ start, stack[0], stack[1] }, &at, &z, target);
        return z;
    }
    if (!a->dot) {
        attr_list(&at, gone.v, gone.n);
        prepare_one(OP_reduce_sum, 1, stack, &at, &z, target);
        return z ? added(start, z) : 0;
    }
    Ints lc = shifted(gone, ins_ints(a->dot, ATTR(dot, lhs_contract)), nl + 1),
         rc = shifted(gone, ins_ints(a->dot, ATTR(dot, rhs_contract)), nl + 1);
    const Ints *list[] = { &lc, &rc, &kept, &kept };
    for (int j = 0; j < 4; j++)
        attr_list(&at, list[j]->v, list[j]->n);
    attr_int(&at, a->dt);
    prepare_one(OP_dot, 2, stack, &at, &z, target);
    if (!z)
        return 0;
    if (a->perm.n) {
        Ints p = { kept.n, { 0 } };
        for (int j = 0; j < kept.n; j++)
            p.v[j] = j;
        z = Transpose(z, shifted(p, a->perm, kept.n));
    }
    return added(start, z);
}

/* false: some accumulator is not simply added to. */
static bool hoist_sums(const Scan *s, Ref *out, const Target *target)
{
    int nacc = s->r.nacc, nout = s->body->nout, nextra, nl = s->r.nlane;
    Ref *extra = NEWS(Ref, 2 * nacc);
    Addend *a = addends(s, target->machine, s->x, extra, &nextra);
    if (!a)
        return false;
    Graph *body = body_without(s, extra, nextra);
    int nin = s->nin - nacc, n = nout - nacc + nextra;
    Region r = s->r;
    Ref *x = NEWS(Ref, nin), *res = NEWS(Ref, n);
    r.nacc = 0;
    r.im = NEWS(uint8_t, nin * nl);
    r.om = NEWS(uint8_t, n * nl);
    for (int k = 0, to = 0; k < s->nin; k++)
        if (k < r.ncap || k >= r.ncap + nacc) {
            x[to] = s->x[k];
            memcpy(r.im + to++ * nl, s->r.im + k * nl, (size_t)nl);
        }
    for (int k = 0; k < n; k++)
        for (int l = 0; l < nl; l++)
            r.om[k * nl + l] = k < nout - nacc ? s->r.om[(nacc + k) * nl + l] : STACKED;
    Ins i = { .op = OP_region, .nin = nin, .nout = n, .nsub = 1, .in = x, .region = &r,
              .sub = &body };
    if (n)
        prepare_region(&i, x, res, target);
    for (int k = 0; k < nout - nacc && !error_pending(); k++)
        out[nacc + k] = res[k];
    for (int k = 0; k < nacc && !error_pending(); k++) {
        Ref stack[2] = { 0 };
        for (int j = 0; j < a[k].n; j++) {
            int w = whole_x(s, a[k].v[j]);
            stack[j] = w >= 0 ? s->x[w] : res[nout - nacc + a[k].at[j]];
        }
        out[k] = summed_up(s, k, &a[k], stack, s->x[s->r.ncap + k], target);
    }
    return true;
}

/* ---- what steps give that can be computed from something else that they give */

typedef struct Derive {
    const Graph *b; const Region *r; const Ref *out;
    bool *gone;                                 /* by result: derived, so nothing is derived from it */
    int k, budget;                              /* the result; instructions that its expression may have */
} Derive;

static Ref derived(Derive *d, Ref v)
{
    const Graph *b = d->b;
    const Region *r = d->r;
    for (int m = region_nloop(r); m < b->nout; m++)
        if (m != d->k && !d->gone[m] && b->out[m] == v &&
            !memcmp(marks(r->om, r, m), marks(r->om, r, d->k), (size_t)r->nlane))
            return d->out[m];
    const Ins *i = b->def[v], *c = i;
    while (c && op_views(c->op) && c->nin == 1)
        c = b->def[c->in[0]];
    if (c && c->op == OP_const)
        return Broadcast(ConstBits((Dtype)b->type[v].dt, ins_int(c, ATTR(const, bits))),
            type_shape(typ(d->out[d->k])), (Ints){ 0 });
    if (!i || optab[i->op].element != IS_POINT || (d->budget -= optab[i->op].cost) < 0)
        return 0;
    Ref *x = NEWS(Ref, i->nin), y;
    for (int j = 0; j < i->nin; j++)
        if (!(x[j] = derived(d, i->in[j])))
            return 0;
    again(i, x, &y);
    return y;
}

/* A loop stores what every step gives. What is a few instructions on another result - the derivative of
 * tanh, of which the result is known - is no longer stored: who reads it computes it. */
static void derive(const Region *r, const Graph *b, Ref *out, const Target *t)
{
    Derive d = { b, r, out, NEWS(bool, b->nout), 0, 0 };
    for (d.k = region_nloop(r); d.k < b->nout && !error_pending(); d.k++) {
        d.budget = (int)t->machine->step_code;
        Ref v = derived(&d, b->out[d.k]);
        d.gone[d.k] = v;
        out[d.k] = v ? v : out[d.k];
    }
}

/* ==================== regions */

static Graph **expanded(const Ins *i, const Target *t, bool drop_lanes)
{
    Graph **sub = NEWS(Graph *, i->nsub);
    for (int k = 0; k < i->nsub && !error_pending(); k++) {
        const Graph *b = i->sub[k];
        if (drop_lanes && graph_has_lanes(b))
            b = graph_matrix(b);
        sub[k] = b ? prepare_body(b, t) : NULL;
    }
    return sub;
}

/* A loop of no steps gives what it began with. */
static bool no_steps(const Ins *i, const Ref *x, Ref *out)
{
    const Region *r = i->region;
    if (r->kind != SCAN || r->length || r->nlane)
        return false;
    for (int k = 0; k < i->nout; k++) {
        Type t = region_result(r, i->nsub, i->sub, k);
        out[k] = k < region_nloop(r) ? x[r->ncap + k] : Zeros(&t);
    }
    return true;
}

static bool empty_lanes(const Region *r)
{
    for (int k = 0; k < r->nlane; k++)
        if (!r->lane[k].size)
            return true;
    return false;
}

void prepare_inner(const Ins *i, const Ref *x, Ref *out, const Target *t)
{
    if (no_steps(i, x, out))
        return;
    if (i->region->kind == CALL && !i->region->nlane) {
        prepare_into(i->sub[0], x, out, t, false);
        return;
    }
    Graph **sub = expanded(i, t, false);
    if (!error_pending())
        append_region(i->region, i->nin, x, i->nsub, sub, out);
}

void prepare_region(const Ins *i, const Ref *x, Ref *out, const Target *t)
{
    Region r = *i->region;
    r.rule = NULL;                              /* nothing is differentiated after this */
    if (no_steps(i, x, out))
        return;
    if (r.kind == CALL && !r.nlane) {
        prepare_into(i->sub[0], x, out, t, true);
        return;
    }
    if (r.kind == CALL || empty_lanes(&r) || (r.kind == SCAN && !r.length)) {
        matrix(i, &r, x, out, t);
        return;
    }
    Graph **sub = expanded(i, t, true);
    if (error_pending())
        return;
    if (region_run(&r, i->nin, i->nsub, sub, t) == RUN_LANES) {
        settled(&(Ins){ .nin = i->nin, .in = (Ref *)x, .nsub = i->nsub, .sub = sub, .region = &r }, out, t);
        if (r.kind == SCAN)
            derive(&r, sub[0], out, t);
        return;
    }
    sub = expanded(i, t, false);
    if (error_pending())
        return;
    Scan s = { r, i->nin, (Ref *)x, sub[0] };
    if (r.kind == SCAN) {
        turn_weights(&s);
        if (r.nacc && body_state(sub[0], &r, true) > (double)t->machine->state && hoist_sums(&s, out, t))
            return;
        sub[0] = s.body;
    }
    RegionRun form = region_run(&s.r, s.nin, i->nsub, sub, t);
    switch (form) {
    case RUN_LANES: case RUN_ROWS: case RUN_STEPS:
        settled(&(Ins){ .nin = s.nin, .in = s.x, .nsub = i->nsub, .sub = sub, .region = &s.r }, out, t);
        if (form == RUN_ROWS)
            derive(&s.r, sub[0], out, t);
        return;
    default:
        matrix(i, &r, x, out, t);
    }
}
