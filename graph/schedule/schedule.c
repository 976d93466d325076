/*
 * schedule.c - graph in, plan out: what is stored, which kernel computes what, in which order.
 *
 * In:  a graph and what the device can do. Out: a Plan, or NULL after an error.
 * One reverse pass over the values. Every value has a set of demands; from them follows how often each
 * element would be evaluated; the value is stored if recomputing costs more than a store and the loads, else
 * its demands pass through its element rule to its operands. Stored values (roots) with the same outer space
 * that demand the same things become one kernel.
 * Invariant: everything is decided before a line of kernel is written; the same graph gives the same plan.
 */
#include "schedule.h"

#include <string.h>

/* ==================== demands */

/* Passes a demand on v through its rule to the operands. */
static void pass(Sched *s, Ref v, const Form *idx, const Vars *space, Ref root, const Vars *loops)
{
    const Ins *i = s->g->def[v];
    Demand *d;
    const Atom *const *ks;
    int nk, n = demands_of(s->g, v, idx, &d, &ks, &nk);
    if (optab[i->op].element == IS_SUM)
        loops = vars_join(vars_upto(loops, idx_deps(idx, s->g->type[v].rank)), ks, nk);
    for (int k = 0; k < n; k++)
        need_add(s, d[k].v, idx_of(d[k].idx, d[k].n), space, root, loops);
}

static void deepen(Sched *s, const Ins *i, int depth, int sums)
{
    sums += optab[i->op].element == IS_SUM;
    for (int k = 0; k < i->nin; k++) {
        if (s->depth[i->in[k]] < depth)
            s->depth[i->in[k]] = depth;
        if (s->sums[i->in[k]] < sums)
            s->sums[i->in[k]] = sums;
    }
}

static void decide(Sched *s, const Ins *i, Ref v)
{
    const Vars *none = vars_of(NULL, 0);
    bool wanted = s->out[v] || s->force[v];
    if ((!s->need[v].n && !wanted) || !type_size(&s->g->type[v]) || i->op == OP_data)
        return;
    Root *r = wanted || s->need[v].n ? root_sums(s, i) : NULL;
    if (r) {
        need_add(s, r->x, r->idx, r->space, v, r->inner);
        deepen(s, i, 1, 0);
    } else if (wanted || store_pays(s, i, v)) {
        r = root_value(s, v);
        text_root(s, r);
        bool loop = r->inner->vol > (double)s->target->machine->unroll;
        pass(s, v, r->idx->f, r->space, v, loop ? r->inner : none);
        deepen(s, i, 1, 0);
    } else {
        for (int k = 0; k < s->need[v].n; k++) {
            const Need *d = &s->need[v].k[k];
            pass(s, v, d->idx->f, d->space, d->root, d->loops);
        }
        deepen(s, i, s->depth[v] + (optab[i->op].element == IS_SUM ? 2 : 1 + optab[i->op].cost), s->sums[v]);
    }
}

static int decide_all(Sched *s)
{
    for (int n = s->g->nins - 1; n >= 0 && !error_pending(); n--) {
        const Ins *i = s->g->ins[n];
        bool live = ins_ordered(i);
        for (int k = 0; k < i->nout; k++)
            live =
                live || s->need[i->out + (Ref)k].n || s->out[i->out + (Ref)k] || s->force[i->out + (Ref)k];
        if (!live)
            continue;
        if (optab[i->op].element == IS_OWN) {
            root_ins(s, i);
            continue;
        }
        for (int k = i->nout - 1; k >= 0; k--)
            decide(s, i, i->out + (Ref)k);
    }
    return error_code();
}

/* ==================== where values lie */

Buffer *schedule_buffer(Sched *s, SlotKind kind, Dtype dt, int64_t size, const char *name)
{
    Buffer *b = NEW(Buffer);
    *b = (Buffer){ .name = name, .dt = dt, .space = GLOBAL, .size = size };
    b->slot = plan_slot(s->plan, kind, dt, size, name);
    return b;
}

static Slot *allot(Sched *s, Ref v, SlotKind kind, const char *name, const Layout *l, int64_t steps)
{
    const Type *t = &s->g->type[v];
    Layout *own = arena_copy(l, sizeof *l);
    if (steps)
        layout_step(own, type_size(t));
    s->stored[v].buf = schedule_buffer(s, kind, (Dtype)t->dt, type_size(t) * (steps ? steps : 1), name);
    s->stored[v].layout = own;
    return &s->plan->slot[s->stored[v].buf->slot];
}

static const Layout *natural(const Graph *g, Ref v)
{
    return layout_natural(g->type[v].dim, g->type[v].rank);
}

static void allot_inputs(Sched *s, Bounds b)
{
    const Graph *g = s->g;
    for (int k = 0; k < g->nin; k++)
        allot(s, g->in[k], SLOT_ARG, arena_text("a%d", k), natural(g, g->in[k]), k < b.first_x ? 0 : b.steps)
            ->index = k;
    for (int n = 0, c = 0; n < g->nins; n++)
        if (g->ins[n]->op == OP_data) {
            Ref v = g->ins[n]->out;
            allot(s, v, SLOT_CONST, arena_text("c%d", c++), natural(g, v), 0)->data = g->ins[n]->blob;
        }
}

/* A carry that is written in place: all of its chain lies where the argument does. */
static bool allot_carry(Sched *s, const Bounds *b, int k)
{
    const Ins *link[IN_PLACE_MAX];
    int n = k < b->ncarry ? in_place_chain(s->g, b, k, s->target, link) : 0;
    for (int j = 0; j < n; j++)
        s->stored[link[j]->out] = s->stored[s->g->in[b->first_carry + k]];
    if (!n)
        return false;
    s->out[s->g->out[k]] = true;
    s->plan->alias[k] = b->first_carry + k;
    return true;
}

/* Results: which are arguments or one another; the rest get slots. */
static void allot_results(Sched *s, Bounds b)
{
    const Graph *g = s->g;
    /* same: by value, the alias of its next use; 0: none yet */
    int *same = NEWS(int, g->nval), *alias = NEWS(int, g->nout);
    for (int j = 0; j < g->nin; j++)
        same[g->in[j]] = j + 1;
    s->plan->alias = alias;
    for (int k = 0; k < g->nout; k++) {
        Ref v = g->out[k];
        int first = same[v];
        same[v] = first ? first : -2 - k;
        alias[k] = -1;
        if (allot_carry(s, &b, k))
            continue;
        if (first) {
            alias[k] = first > 0 ? first - 1 : first;
            continue;
        }
        s->out[v] = true;
        int64_t steps = k >= b.first_y ? b.steps : 0;
        allot(s, v, SLOT_RESULT, arena_text("r%d", k), natural(g, v), steps)->index = k;
    }
}

static void allot_temp(Sched *s, Ref v, bool lanes)
{
    const Type *t = &s->g->type[v];
    if (s->stored[v].buf)
        return;
    const Ins *i = s->g->def[v];
    const Layout *l = layout_natural(t->dim, t->rank);
    if (lanes && !s->natural[v]) {
        const Region *r = i->region;
        int n = 0;
        for (int k = 0; k < r->nlane; k++)
            n += r->om[(int)(v - i->out) * r->nlane + k] == STACKED;
        l = layout_lanes_inside(t->dim, t->rank, n);
    }
    allot(s, v, SLOT_TEMP, arena_text("b%u", v), l, 0);
}

static void allot_roots(Sched *s)
{
    for (int n = s->nroot - 1; n >= 0; n--) {
        const Root *r = s->root[n];
        if (root_merges(r))
            allot_temp(s, r->v, false);
        else
            for (int k = 0; k < r->ins->nout; k++)
                if (r->live[k])
                    allot_temp(s, r->v + (Ref)k, r->kind == ROOT_INS && r->spec == SPEC_LANES);
    }
    /* nothing computes what has no elements, but it is an operand */
    for (Ref v = 1; v < (Ref)s->g->nval; v++)
        if (s->force[v] && !type_size(&s->g->type[v]))
            allot_temp(s, v, false);
}

/* ==================== steps */

static void dump_spec(const Spec *spec)
{
    Text t = { 0 };
    spec_print(spec, &t);
    dump_text("spec", &t);
}

void schedule_kernel(Sched *s, Spec *spec, Loc loc)
{
    if (error_pending())
        return;
    spec_grid(spec);
    spec_group(spec);
    spec_stages(s, spec);
    if (dump_wanted("spec"))
        dump_spec(spec);
    Spec **list = NEW(Spec *);
    *list = spec;
    *plan_step(s->plan, S_LAUNCH) =
        (Step){ .kind = S_LAUNCH, .spec = list, .nspec = 1, .loc = loc, .note = spec_note(spec) };
}

static Refs reads_of(const Group *g)
{
    int n = 0;
    for (int k = 0; k < g->n; k++)
        n += g->root[k]->nread;
    Ref *v = NEWS(Ref, n + 1);
    n = 0;
    for (int k = 0; k < g->n; k++)
        for (int a = 0; a < g->root[k]->nread; a++)
            v[n++] = g->root[k]->read[a].root;
    return (Refs){ v, n };
}

static void kernel_of(Sched *s, const char *name, const Group *g)
{
    Store *st = NEWS(Store, g->n);
    Ref *made = NEWS(Ref, g->n);
    for (int k = 0; k < g->n; k++) {
        const Root *r = g->root[k];
        st[k] = (Store){ .v = r->kind == ROOT_SUMS ? r->x : r->v, .nidx = r->idx->n, .nspace = r->inner->n,
                         .to = s->stored[r->v], .chunk = r->kind == ROOT_SUMS ? r->chunk : 0 };
        memcpy(st[k].idx, r->idx->f, sizeof(Form) * (size_t)r->idx->n);
        memcpy(st[k].space, r->inner->a, sizeof(Atom *) * (size_t)r->inner->n);
        made[k] = r->v;
    }
    const Ins *i = s->g->def[g->root[g->n - 1]->v];
    Spec *spec = shape_spec(s, name, g->root[0]->space, st, g->n, (Refs){ made, g->n });
    spec->reads = reads_of(g);
    schedule_kernel(s, spec, i->loc);
}

/* Carries that the body changes in place become captures of it; the others move up. new_arg, new_result: by
 * the number before. */
static void bind_in_place(Plan *body, const int *new_arg, const int *new_result)
{
    int *alias = NEWS(int, body->nresult), n = 0;
    for (int k = 0; k < body->nslot; k++) {
        Slot *t = &body->slot[k];
        if (t->kind == SLOT_ARG)
            t->index = new_arg[t->index];
        else if (t->kind == SLOT_RESULT && new_result)
            t->index = new_result[t->index];
    }
    for (int k = 0; new_result && k < body->nresult; k++)
        if (new_result[k] >= 0)
            alias[n++] = -1;
    if (new_result) {
        body->alias = alias;
        body->nresult = n;
    }
}

static void copy_step(Sched *s, int from, int to, Loc loc)
{
    Step *st = plan_step(s->plan, S_COPY);
    *st = (Step){ .kind = S_COPY, .in = NEWS(int, 1), .out = NEWS(int, 1), .nin = 1, .nout = 1, .loc = loc };
    st->in[0] = from;
    st->out[0] = to;
}

/* Operands and results of the step, as its bodies number them; carries in place are first copied to where
 * they end. */
static void bind_step(Sched *s, Step *st, const Ins *i)
{
    const Region *r = i->region;
    const Plan *last = st->body[st->nbody - 1];
    int nc = region_nloop(r), nin_place = 0, at, *new_arg = NEWS(int, i->nin),
        *new_result = NEWS(int, i->nout);
    bool loop = r->kind == SCAN || r->kind == WHILE;
    for (int k = 0; loop && k < nc; k++)
        nin_place += last->alias[k] >= 0;
    at = r->ncap;
    for (int pass = 0; pass < 2; pass++)        /* in place first */
        for (int k = 0; loop && k < nc; k++)
            if ((last->alias[k] >= 0) == !pass)
                new_arg[r->ncap + k] = at++;
    for (int k = 0; k < i->nin; k++)
        if (k < r->ncap || k >= r->ncap + nc || !loop)
            new_arg[k] = k;
    at = 0;
    for (int k = 0; k < i->nout; k++)
        new_result[k] = loop && k < nc && last->alias[k] >= 0 ? -1 : at++;
    for (int k = 0; k < i->nin; k++)
        st->in[new_arg[k]] = s->stored[i->in[k]].buf->slot;
    for (int k = 0; k < i->nout; k++) {
        int slot = s->stored[i->out + (Ref)k].buf->slot;
        if (new_result[k] >= 0) {
            st->out[new_result[k]] = slot;
            continue;
        }
        copy_step(s, s->stored[i->in[r->ncap + k]].buf->slot, slot, i->loc);
        st->in[new_arg[r->ncap + k]] = slot;
    }
    for (int k = 0; nin_place && k < st->nbody; k++)
        bind_in_place(st->body[k], new_arg, k == st->nbody - 1 ? new_result : NULL);
    st->ncap = r->ncap + nin_place;
    st->ncarry = nc - nin_place;
    st->nout = at;
}

/* A copy of a capture, packed as the products of the body read it: the same in all steps. Which capture; -1:
 * it is none. */
static int copied_capture(const Plan *body, const Step *st, const Region *r)
{
    const Spec *c = st->nspec == 1 ? st->spec[0] : NULL;
    if (!c || c->kind != SPEC_LOOPS || c->nstore != 1 || c->made.n ||
        body->slot[c->store->to.buf->slot].kind != SLOT_TEMP)
        return -1;
    for (int k = 0; k < r->ncap; k++)
        if (c->g->in[k] == c->store->v)
            return k;
    return -1;
}

/* Is made here, of operand v of the loop. Returns its slot. */
static int copy_before(Sched *s, const Step *made, Ref v)
{
    Spec *c = arena_copy(made->spec[0], sizeof *c);
    const Buffer *q = c->store->to.buf;
    c->g = s->g, c->stored = s->stored, c->instead = (Insteads){ 0 };
    c->naxis = 0, c->stage[0] = (Stage){ 0 };
    c->store = arena_copy(c->store, sizeof *c->store);
    c->store->v = v;
    c->store->to.buf = schedule_buffer(s, SLOT_TEMP, (Dtype)q->dt, q->size, q->name);
    schedule_kernel(s, c, made->loc);
    return c->store->to.buf->slot;
}

/* Copies of captures move from the body of a loop in front of it; the body gets them as captures. */
static void copy_once(Sched *s, Step *loop, const Ins *i)
{
    Plan *b = loop->body[0];
    int *in = NEWS(int, loop->nin + b->nstep), *took = NEWS(int, b->nstep), n = 0, left = 0;
    for (int k = 0; k < b->nstep; k++) {
        int from = copied_capture(b, &b->step[k], i->region);
        if (from < 0) {
            b->step[left++] = b->step[k];
            continue;
        }
        took[n] = b->step[k].spec[0]->store->to.buf->slot;
        in[loop->ncap + n++] = copy_before(s, &b->step[k], i->in[from]);
    }
    if (!n)
        return;
    memcpy(in, loop->in, sizeof *in * (size_t)loop->ncap);
    memcpy(in + loop->ncap + n, loop->in + loop->ncap, sizeof *in * (size_t)(loop->nin - loop->ncap));
    for (int k = 0; k < b->nslot; k++)
        if (b->slot[k].kind == SLOT_ARG && b->slot[k].index >= loop->ncap)
            b->slot[k].index += n;
    for (int k = 0; k < b->nresult; k++)
        b->alias[k] += b->alias[k] >= loop->ncap ? n : 0;
    for (int k = 0; k < n; k++)
        b->slot[took[k]].kind = SLOT_ARG, b->slot[took[k]].index = loop->ncap + k;
    b->nstep = left, b->narg += n;
    loop->in = in, loop->nin += n, loop->ncap += n;
}

/* A region as a step: its bodies are plans of their own, bound to slots of this one. */
static void step_of(Sched *s, const char *name, const Ins *i)
{
    const Region *r = i->region;
    Step st = { .kind = r->kind == SCAN ? S_LOOP :
            r->kind == WHILE            ? S_WHILE :
                                          S_BRANCH,
        .body = NEWS(Plan *, i->nsub),
        .nbody = i->nsub,
        .trip = r->length,
        .reverse = r->reverse,
        .in = NEWS(int, i->nin),
        .nin = i->nin,
        .out = NEWS(int, i->nout),
        .loc = i->loc,
        .note = name };
    for (int k = 0; k < i->nsub; k++) {
        const Prepared *body = s->prepared->body[i->out][k];
        if (!(st.body[k] = schedule_graph(body, s->target, arena_text("%s_%d", name, k))))
            return;
    }
    bind_step(s, &st, i);
    if (st.kind == S_LOOP)
        copy_once(s, &st, i);
    int npong = step_pongs(&st);
    st.pong = NEWS(int, npong);
    for (int k = 0; k < npong; k++) {
        const Slot *to = k < 2 * st.ncarry ? &s->plan->slot[st.out[k / 2]] : NULL;
        st.pong[k] = plan_slot(s->plan, SLOT_TEMP, to ? (Dtype)to->dt : DT_BOOL, to ? to->size : 1,
                               arena_text("%s_p%d", name, k));
    }
    *plan_step(s->plan, st.kind) = st;
}

/* The program of one chunk, and room for two of them. */
static bool reduce_of(Sched *s, Step *st, const char *name, const Ins *i)
{
    const Type *x = &s->g->type[i->in[0]];
    st->swap = SWAP_REDUCE, st->trip = x->dim[1];
    st->body = NEWS(Plan *, 1), st->nbody = 1;
    st->body[0] = schedule_graph(s->prepared->body[i->out][0], s->target, name);
    st->pong = NEWS(int, step_pongs(st));
    for (int k = 0; k < step_pongs(st); k++)
        st->pong[k] = plan_slot(s->plan, SLOT_TEMP, (Dtype)x->dt, (k < 2 ? x->dim[0] : 1) * x->dim[2],
            arena_text("%s_p%d", name, k));
    return st->body[0];
}

/* What shards give one another, by the names that collectives have there. */
static void exchange_of(Sched *s, const char *name, const Ins *i)
{
    Step st = { .kind = S_EXCHANGE,
        .in = NEWS(int, i->nin),
        .nin = i->nin,
        .out = NEWS(int, 1),
        .nout = 1,
        .loc = i->loc,
        .name = op_axis_name(i),
        .note = op_axis_name(i),
        .swap = i->op == OP_all_gather ? SWAP_GATHER :
            i->op == OP_all_to_all     ? SWAP_DEAL :
                                         SWAP_PERMUTE };
    for (int k = 0; k < i->nin; k++)
        st.in[k] = s->stored[i->in[k]].buf->slot;
    st.out[0] = s->stored[i->out].buf->slot;
    if (!op_reduces(i) || reduce_of(s, &st, name, i))
        *plan_step(s->plan, st.kind) = st;
}

/* A callback, with what its rule wants to know. */
typedef struct HostIns { const Ins *i; const Type **t; const Type *u; } HostIns;

static int run_host(const HostStep *h, const void *const *in, void *const *out)
{
    const HostIns *x = h->what;
    return optab[x->i->op].rules->eval(x->i, x->t, in, x->u, out);
}

static void host_step(Sched *s, const char *name, const Ins *i)
{
    HostIns *x = NEW(HostIns);
    *x = (HostIns){ i, NEWS(const Type *, i->nin), &s->g->type[i->out] };
    Step st = { .kind = S_HOST,
        .in = NEWS(int, i->nin),
        .nin = i->nin,
        .out = NEWS(int, i->nout),
        .nout = i->nout,
        .host = { run_host, x, callback_kernel(i) },
        .loc = i->loc,
        .note = name };
    for (int k = 0; k < i->nin; k++) {
        x->t[k] = &s->g->type[i->in[k]];
        st.in[k] = s->stored[i->in[k]].buf->slot;
    }
    for (int k = 0; k < i->nout; k++)
        st.out[k] = s->stored[i->out + (Ref)k].buf->slot;
    *plan_step(s->plan, S_HOST) = st;
}

static void emit_group(Sched *s, const Group *g, int n)
{
    const Root *r = g->root[0];
    if (r->kind == ROOT_STEPS && op_meets(r->ins)) {
        exchange_of(s, arena_text("%sx%d", s->prefix, n), r->ins);
    } else if (r->kind == ROOT_STEPS && r->ins->op == OP_callback) {
        host_step(s, arena_text("%sh%d", s->prefix, n), r->ins);
    } else if (r->kind == ROOT_STEPS) {
        step_of(s, arena_text("%sl%d", s->prefix, n), r->ins);
    } else if (r->kind == ROOT_INS) {
        schedule_kernel(s, shape_ins(s, arena_text("%sk%d", s->prefix, n), r), r->ins->loc);
    } else
        kernel_of(s, arena_text("%sk%d", s->prefix, n), g);
}

Plan *schedule_graph(const Prepared *p, const Target *t, const char *prefix)
{
    const Graph *g = p->g;
    int n = g->nval, ngroup;
    Sched s = { .g = g,
        .prepared = p,
        .target = t,
        .plan = NEW(Plan),
        .prefix = *prefix ? arena_text("%s_", prefix) : "",
        .stored = NEWS(MemRef, n),
        .need = NEWS(Needs, n),
        .out = NEWS(bool, n),
        .force = NEWS(bool, n),
        .natural = NEWS(bool, n),
        .depth = NEWS(int, n),
        .sums = NEWS(int, n),
        .walked = NEWS(int, n),
        .summing = NEWS(bool, n),
        .lines = NEWS(double, n),
        .text = NEWS(double, n),
        .turns = NEWS(double, n),
        .packed = NEWS(MemRef *, n) };
    s.plan->narg = g->nin;
    s.plan->nresult = g->nout;
    allot_inputs(&s, p->bounds);
    allot_results(&s, p->bounds);
    text_open(&s);
    if (decide_all(&s))
        return NULL;
    allot_roots(&s);
    Group *groups = merge_roots(&s, &ngroup);
    for (int k = 0; k < ngroup && !error_pending(); k++)
        emit_group(&s, &groups[k], k);
    return error_pending() ? NULL : s.plan;
}
