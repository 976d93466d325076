/*
 * effects.c - checks and prints become results of the program that nobody asked for.
 *
 * In:  a graph whose effects are instructions. Out: one without; each effect has a few values, its state,
 * that go round with the
 *      carry of every region around it, and end as results. Steps are counted where there are effects
 *      inside: a scan gets the numbers of its steps as xs, a while carries a count. A branch that is not
 *      taken passes states on; lanes are axes of the states, where they may differ. So lanes that are idle,
 *      or have ended, need no thought: their carry stays as it is.
 *      It is a lowering: nothing is differentiated after it.
 *      check        for each loop around it the step of its first failure + 1; outside loops 1; 0: it held
 *      debug_print  a count, and a ring of records with one more row, where lanes that do not print write
 */
#include "transforms.h"

bool op_effect(int op) { return op == OP_check || op == OP_debug_print; }
bool ins_effect(const Ins *i) { return op_effect(i->op) || (i->op == OP_region && i->region->effects); }

bool graph_effect(const Graph *g)
{
    for (int n = 0; n < g->nins; n++)
        if (ins_effect(g->ins[n]))
            return true;
    return false;
}

/* ==================== without effects */

static void quiet_ins(const Ins *i, const Ref *x, Ref *out, void *none)
{
    (void)none;
    again_quiet(i, x, out);
}

Graph *graph_quiet(const Graph *b)
{
    Ref *map = NEWS(Ref, b->nval);
    graph_map_begin(b, map, V_ACC | V_LIN);
    graph_map_ins(b, map, quiet_ins, NULL);
    return graph_map_end(b, map);
}

void again_quiet(const Ins *i, const Ref *x, Ref *out)
{
    if (op_effect(i->op)) {
        out[0] = x[0];
        return;
    }
    Ins same = *i;
    if (ins_effect(i)) {
        same.sub = NEWS(Graph *, i->nsub);
        for (int k = 0; k < i->nsub; k++)
            same.sub[k] = graph_quiet(i->sub[k]);
    }
    again(&same, x, out);
}

/* ==================== a graph on its way */

/* of a print in loops: at most so many records a lane, in so much memory */
enum { RECORDS = 1024, RING_BYTES = 1 << 24 };

/* A loop around what is being rewritten: the number of its step, a value of the current graph; how often it
 * turns, -1: unknown. */
typedef struct Loop { Ref step; int64_t turns; } Loop;

typedef struct Lift {
    Effects *all;
    EffectStep *place; int nplace, place_cap;
    Loop *loop; int nloop, loop_cap;
    int64_t lanes;                              /* of the regions around */
} Lift;

/* A graph being rewritten: the new one, and the states of its effects. */
typedef struct Body {
    const Graph *from; Graph *to;
    Ref *map;                                   /* values of from */
    /* the program, which states begin in; else they are inputs */
    bool whole;
    Ref *in, *now; int nin, nnow, in_cap, now_cap;      /* states as they come in, and as they are by now */
    /* further inputs: steps of the loops around; of a scan or while its own */
    Ref *step, own;
} Body;

static int state_new(Body *b, Effect *e, Type t)
{
    Ref v = b->whole ? Zeros(&t) : graph_input(t, 0);
    PUSH(b->in, b->nin, b->in_cap, v);
    PUSH(b->now, b->nnow, b->now_cap, v);
    e->state[e->nstate++] = t;
    return b->nin - 1;
}

static Effect *effect_new(Lift *l, const Ins *i, int at)
{
    Effect e = { .op = i->op,
        .text = (const char *)(intptr_t)ins_int(i, ATTR(check, name)),
        .loc = i->loc,
        .nplace = l->nplace + 1,
        .nloop = l->nloop };
    const int64_t *names = ins_attr(i, ATTR(check, names), &e.nown);
    e.place = NEWS(EffectStep, e.nplace);
    for (int k = 0; k < l->nplace; k++)
        e.place[k] = l->place[k];
    e.place[l->nplace] = (EffectStep){ .at = at };
    e.nlane = e.nown, e.lane = NEWS(Lane, e.nlane);
    for (int k = 0; k < e.nlane; k++)
        e.lane[k].name = (const char *)(intptr_t)names[k];
    e.state = NEWS(Type, l->nloop + i->nin + 3);
    PUSH(l->all->effect, l->all->n, l->all->cap, e);
    return &l->all->effect[l->all->n - 1];
}

static void own_lanes(Effect *e, Ref on)
{
    for (int k = 0; k < e->nown; k++)
        e->lane[k].size = typ(on)->dim[k];
}

/* ==================== checks */

static void lift_check(Lift *l, Body *b, const Ins *i, Ref ok, int at)
{
    Effect *e = effect_new(l, i, at);
    Type t = type_of(DT_I32, typ(ok)->rank, typ(ok)->dim);
    Ref first = 0;
    own_lanes(e, ok);
    for (int k = 0; k < l->nloop || !k; k++) {
        Ref one = Full(t, 1),
            code = l->nloop ? Add(Broadcast(l->loop[k].step, type_shape(&t), (Ints){ 0 }), one) : one;
        int s = state_new(b, e, t);
        first = first ? first : And(Not(ok), Eq(b->now[s], Zeros(&t)));
        b->now[s] = Select(first, code, b->now[s]);
    }
}

/* ==================== prints */

/* How many records of a print are kept, a lane; *all: none is ever left out. */
static int64_t ring_rows(const Lift *l, const Ref *x, int n, bool *all)
{
    int64_t turns = 1, bytes = 0, rows = RECORDS, room = RING_BYTES / (l->lanes > 0 ? l->lanes : 1);
    for (int k = 0; k < l->nloop; k++)
        turns = turns < 0 || l->loop[k].turns < 0 || turns > RECORDS ? -1 : turns * l->loop[k].turns;
    for (int k = 0; k < n; k++)
        bytes += (int64_t)type_bytes(typ(x[k]));
    while (rows > 1 && bytes > room / rows)
        rows /= 2;
    *all = turns >= 0 && turns <= rows;
    return *all && turns ? turns : rows;
}

/* The row at `pos` becomes v. */
static Ref put_row(Ref ring, Ref v, Ref pos)
{
    Ints start = { 1, { 1 } }, rest = { 1, { typ(ring)->rank - 1 } };
    Type zeros = type_of(DT_I32, 1, rest.v);
    Ref first = Reshape(pos, start);
    return DynamicUpdate(
        ring, BroadcastLead(v, 1), rest.v[0] ? Concat((const Ref[]){ first, Zeros(&zeros) }, 2, 0) : first);
}

/* The steps of the loops around, as one array. */
static Ref steps_now(const Lift *l)
{
    Ref *s = NEWS(Ref, l->nloop);
    for (int k = 0; k < l->nloop; k++)
        s[k] = Reshape(l->loop[k].step, (Ints){ 1, { 1 } });
    return Concat(s, l->nloop, 0);
}

static void lift_print(Lift *l, Body *b, const Ins *i, const Ref *x, int at)
{
    Effect *e = effect_new(l, i, at);
    bool all;
    int64_t rows = ring_rows(l, x, i->nin, &all);
    int n = i->nin + (l->nloop > 0), count = state_new(b, e, type_scalar(DT_I32));
    Ref *v = NEWS(Ref, n), any = x[0], was = b->now[count], pos;
    for (int k = 0; k < i->nin; k++)
        if (typ(x[k])->rank == MAXRANK) {
            error_set(E_SHAPE, "hd_debug_print: %s has too many axes", type_text(typ(x[k])));
            return;
        }
    own_lanes(e, x[0]);
    if (e->nown)
        any = Reduce(OP_reduce_or, any, ints_range(0, e->nown));
    b->now[count] = Add(was, Convert(any, DT_I32));
    e->rows = l->nloop ? rows : 0;
    pos = Select(any, all ? was : And(was, Like(was, (double)(rows - 1))), Like(was, (double)rows));
    v[0] = x[0];
    if (l->nloop)
        v[1] = steps_now(l);
    for (int k = 1; k < i->nin; k++)
        v[k + n - i->nin] = x[k];
    for (int k = 0; k < n; k++) {
        int s = state_new(b, e, type_add_lead(typ(v[k]), l->nloop ? rows + 1 : 1));
        b->now[s] = l->nloop ? put_row(b->now[s], v[k], pos) : BroadcastLead(v[k], 1);
    }
}

/* ==================== regions */

static void lift_graph(Lift *l, Body *b);

static bool loops(const Region *r) { return r->kind == SCAN || r->kind == WHILE; }

/* Body n of a region, rewritten but for its inputs' order, its results, and the states of other bodies. */
static Body lift_body(Lift *l, const Region *r, const Graph *from, int at, int n)
{
    Body b = { .from = from, .map = NEWS(Ref, from->nval), .step = NEWS(Ref, l->nloop) };
    Loop *around = arena_copy(l->loop, sizeof *l->loop * (size_t)l->nloop);
    int nloop = l->nloop;
    int64_t lanes = l->lanes;
    b.to = graph_begin(graph_new());
    for (int k = 0; k < from->nin; k++)
        b.map[from->in[k]] = input_like(from, k, from->flag[from->in[k]]);
    for (int k = 0; k < nloop; k++)
        b.step[k] = l->loop[k].step = graph_input(type_scalar(DT_I32), 0);
    if (loops(r)) {
        b.own = graph_input(type_scalar(DT_I32), 0);
        PUSH(l->loop, l->nloop, l->loop_cap,
            (Loop){ b.own,
                r->kind == SCAN ? r->length :
                    r->trips    ? r->trips :
                                  -1 });
    }
    PUSH(l->place, l->nplace, l->place_cap, (EffectStep){ at, n, !loops(r) ? 0 : r->reverse ? -1 : 1 });
    for (int a = 0; a < r->nlane; a++)
        l->lanes *= r->lane[a].size;
    lift_graph(l, &b);
    l->nplace--;
    l->nloop = nloop, l->lanes = lanes;
    for (int k = 0; k < nloop; k++)
        l->loop[k] = around[k];
    graph_end();
    return b;
}

/* Inputs in the order of the region's operands; results: accumulators, carry, a while's count, states, ys.
 * first: number of this body's first state among all, whose types are given. A body and where its states
 * stand among all are the parameters. */
static Graph *close_body(
    Body *b, const Region *r, bool condition, int first, const Type *state, int nstate, int nloop)
{
    int n = 0, old = b->from->nin, fixed = r->ncap + region_nloop(r);
    Ref *in = NEWS(Ref, old + nloop + nstate + 1), *st = NEWS(Ref, nstate), *now = NEWS(Ref, nstate);
    Ref *out = NEWS(Ref, b->from->nout + nstate + 1);
    graph_begin(b->to);
    for (int k = 0; k < nstate; k++) {
        bool mine = k >= first && k < first + b->nin;
        st[k] = mine ? b->in[k - first] : graph_input(state[k], 0);
        now[k] = mine ? b->now[k - first] : st[k];
    }
    for (int k = 0; k <= old; k++) {
        for (int s = 0; k == r->ncap && s < nloop; s++)
            in[n++] = b->step[s];
        if (k == fixed && r->kind == WHILE)
            in[n++] = b->own;
        for (int s = 0; k == fixed && s < nstate; s++)
            in[n++] = st[s];
        if (k < old)
            in[n++] = b->map[b->from->in[k]];
    }
    if (r->kind == SCAN)
        in[n++] = b->own;
    b->to->in = in, b->to->in_cap = b->to->nin = n, n = 0;
    for (int k = 0; k <= b->from->nout; k++) {
        if (k == region_nloop(r) && !condition) {
            if (r->kind == WHILE)
                out[n++] = Add(b->own, Const(DT_I32, 1));
            for (int s = 0; s < nstate; s++)
                out[n++] = now[s];
        }
        if (k < b->from->nout)
            out[n++] = b->map[b->from->out[k]];
    }
    graph_outputs(out, n);
    return graph_end();
}

/* The lanes of a region become axes of the states that may differ along them; all states of an effect
 * alike. */
static void lane_axes(const Draft *f, const Effects *all, int first, int slot, int operand)
{
    int nlane = f->r.nlane, nres = draft_results(f);
    uint8_t *om = NEWS(uint8_t, (size_t)(nres - slot) * nlane);
    lane_marks(f, slot, om);
    for (int n = first; n < all->n; n++) {
        Effect *e = &all->effect[n];
        Lane *lane = NEWS(Lane, nlane + e->nlane);
        int more = 0;
        for (int a = 0; a < nlane; a++) {
            uint8_t m = SHARED;
            for (int s = 0; s < e->nstate; s++)
                m = om[s * nlane + a] == STACKED ? STACKED : m;
            for (int s = 0; s < e->nstate; s++)
                f->r.om[(slot + s) * nlane + a] = f->r.im[(operand + s) * nlane + a] = m;
            if (m == STACKED)
                lane[more++] = f->r.lane[a];
        }
        for (int k = 0; k < e->nlane; k++)
            lane[more + k] = e->lane[k];
        e->lane = lane, e->nlane += more;
        om += e->nstate * nlane, slot += e->nstate, operand += e->nstate;
    }
}

/* The region with its rewritten bodies, its operands but the states; *operand, *slot: of the first
 * state. What goes in and what comes out are the parameters. */
static Draft lifted_form(
    const Lift *l, const Ins *i, const Ref *x, Graph **sub, int nstate, int *operand, int *slot)
{
    const Region *r = i->region;
    uint8_t *shared = NEWS(uint8_t, r->nlane);
    Draft f = draft_like(r, i->nin + l->nloop + nstate + 2, i->nsub);
    int np = region_npred(r), fixed = np + r->ncap + region_nloop(r), n = 0;
    *slot = region_nloop(r) + (r->kind == WHILE);
    for (int k = 0; k <= i->nin; k++) {
        for (int s = 0; k == np + r->ncap && s < l->nloop; s++)
            draft_operand(&f, l->loop[s].step, shared);
        if (k == fixed && r->kind == WHILE)
            draft_operand(&f, Const(DT_I32, 0), shared);
        if (k == fixed)
            *operand = f.nin;
        for (int s = 0; k == fixed && s < nstate; s++)
            draft_operand(&f, 0, shared);
        if (k < i->nin)
            draft_operand(&f, x[k], marks_in(r, k));
    }
    if (r->kind == SCAN)
        draft_operand(&f, Iota(type_of(DT_I32, 1, &r->length), 0), shared);
    f.r.ncap += l->nloop, f.r.ncarry += nstate + (r->kind == WHILE);
    f.r.remat = false, f.r.rule = NULL;
    for (int k = 0; k < i->nsub; k++)
        f.sub[k] = sub[k];
    f.r.om = NEWS(uint8_t, (size_t)(i->nout + nstate + 1) * r->nlane);
    for (int k = 0; k < i->nout; k++, n++) {
        n += k == region_nloop(r) ? nstate + (r->kind == WHILE) : 0;
        for (int a = 0; a < r->nlane; a++)
            f.r.om[n * r->nlane + a] = marks_out(r, k)[a];
    }
    if (r->kind == WHILE)                       /* the count: as the path, whatever that is */
        lane_marks(&f, *slot - 1, f.r.om + (size_t)(*slot - 1) * r->nlane);
    return f;
}

/* The states of a region's effects at the graph around it, which are its operands. */
static void states_around(Body *b, Draft *f, Effects *all, int first, int slot, int operand)
{
    for (int n = first; n < all->n; n++) {
        Effect *e = &all->effect[n];
        int nstate = e->nstate;
        e->nstate = 0;
        for (int s = 0; s < nstate; s++, slot++, operand++) {
            if (e->state[s].rank + e->nlane > MAXRANK) {
                error_set(E_SHAPE, "%s: %s with the lanes around it has more than %d axes",
                    optab[e->op].name, type_text(&e->state[s]), MAXRANK);
                return;
            }
            int k = state_new(b, e, region_result(&f->r, f->nsub, f->sub, slot));
            f->in[operand] = b->in[k];
        }
    }
}

static void lift_region(Lift *l, Body *b, const Ins *i, const Ref *x, int at)
{
    const Region *r = i->region;
    Body *body = NEWS(Body, i->nsub);
    Graph **sub = NEWS(Graph *, i->nsub);
    Type *state = NULL;
    int first = l->all->n, nstate = 0, cap = 0, operand = 0, slot = 0;
    for (int k = 0; k < i->nsub; k++) {
        body[k] = lift_body(l, r, i->sub[k], at, k);
        for (int s = 0; s < body[k].nin; s++)
            PUSH(state, nstate, cap, body[k].to->type[body[k].in[s]]);
    }
    for (int k = 0, mine = 0; k < i->nsub; mine += body[k++].nin)
        sub[k] = close_body(&body[k], r, r->kind == WHILE && !k, mine, state, nstate, l->nloop);
    if (error_pending())
        return;
    Draft f = lifted_form(l, i, x, sub, nstate, &operand, &slot);
    lane_axes(&f, l->all, first, slot, operand);
    states_around(b, &f, l->all, first, slot, operand);
    Ref *out = NEWS(Ref, draft_results(&f));
    if (error_pending())
        return;
    draft_emit(&f, out);
    for (int s = 0; s < nstate; s++)
        b->now[b->nnow - nstate + s] = out[slot + s];
    for (int k = 0; k < i->nout; k++)
        b->map[i->out + (Ref)k] = out[k < region_nloop(r) ? k : k + nstate + (r->kind == WHILE)];
}

/* ==================== graphs */

typedef struct Lifting { Lift *l; Body *b; int at; } Lifting;      /* at: which instruction it is */

static void lift_ins(const Ins *i, const Ref *x, Ref *out, void *env)
{
    Lifting *g = env;
    int n = g->at++;
    if (i->op == OP_check)
        lift_check(g->l, g->b, i, x[0], n);
    else if (i->op == OP_debug_print)
        lift_print(g->l, g->b, i, x, n);
    else if (ins_effect(i))
        lift_region(g->l, g->b, i, x, n);
    else
        again(i, x, out);
    if (op_effect(i->op))
        out[0] = x[0];
}

static void lift_graph(Lift *l, Body *b)
{
    graph_map_ins(b->from, b->map, lift_ins, &(Lifting){ l, b, 0 });
}

/* Has a check failed, in any lane? 0: there are none. */
static Ref any_failed(const Effects *all, const Ref *state)
{
    Ref any = 0;
    for (int n = 0; n < all->n; state += all->effect[n++].nstate) {
        if (all->effect[n].op != OP_check)
            continue;
        Ref failed = Ne(state[0], Zeros(typ(state[0])));
        failed = Reduce(OP_reduce_or, failed, ints_range(0, typ(failed)->rank));
        any = any ? Or(any, failed) : failed;
    }
    return any;
}

Graph *graph_lift_effects(const Graph *g, Effects *all)
{
    *all = (Effects){ 0 };
    if (!graph_effect(g))
        return (Graph *)g;
    Lift l = { .all = all, .lanes = 1 };
    Body b = { .from = g, .to = graph_begin(graph_new()), .map = NEWS(Ref, g->nval), .whole = true };
    b.to->ncap = g->ncap, b.to->name = g->name;
    for (int k = 0; k < g->nin; k++)
        b.map[g->in[k]] = input_like(g, k, 0);
    lift_graph(&l, &b);
    Ref *out = NEWS(Ref, g->nout + b.nin + 1), any = error_pending() ? 0 : any_failed(all, b.now);
    int n = 0;
    for (; n < g->nout; n++)
        out[n] = b.map[g->out[n]];
    if (any)
        out[n++] = any;
    for (int e = 0, s = 0; e < all->n; s += all->effect[e++].nstate)
        all->effect[e].first = n + s;
    for (int s = 0; s < b.nin; s++)
        out[n++] = b.now[s];
    all->nout = n - g->nout;
    graph_outputs(out, n);
    graph_end();
    return error_pending() ? NULL : graph_dce(b.to);
}
