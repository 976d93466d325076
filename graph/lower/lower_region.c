/*
 * lower_region.c - regions in registers: the carried values of a loop are the elements of the state, one set
 * for each lane of a block; branches are entered if a lane takes them; a mask remembers which lanes are
 * active.
 *
 * In:  a region, its lanes as forms, a block of environments.   Out: loops and branches; results in
 * registers or in memory.
 * Invariant: a value that differs by lane is a vector from before the loop. Under a mask nothing is stored
 * and results are selected, so an idle lane may compute anything; but no loop runs for idle lanes alone:
 * every loop whose end lanes decide asks `any(mask)`. What a region captures is evaluated in front of its
 * loop, since loops do not hoist themselves.
 */
#include "evaluator.h"

#include <string.h>

typedef struct Run {
    Lower *L; Frame *fr; const Ins *i; const Region *r;
    /* of the lane axes: symbolic; none inside a body without lanes */
    const Form *lane;
    Envs envs;
    bool top;                                   /* results go to memory */
    const bool *live;
    Held **res;                                 /* by result; NULL: in memory, or not wanted */
} Run;

static void run(Run *);

/* ==================== frames of bodies */

/* carried: accumulators and carry; NULL: they are operands like others. t: the step; NULL: none. */
static Frame *body_frame(Run *R, int sub, Held *const *carried, Form t)
{
    const Graph *g = R->i->sub[sub];
    const Region *r = R->r;
    Frame *f = frame_new(R->L, g);
    f->mask = R->L->mask;
    f->param = NEWS(Param, g->nin);
    f->param_of = NEWS(int, g->nval);
    for (int n = 0; n < g->nin; n++) {
        int o = n + region_npred(r);
        char group = region_group(r, o);
        Param *p = &f->param[n];
        f->param_of[g->in[n]] = n + 1;
        if (carried && (group == 'a' || group == 'y')) {
            p->held = carried[n - r->ncap];
            continue;
        }
        const uint8_t *mark = r->im + o * r->nlane;
        p->fr = R->fr, p->v = R->i->in[o];
        p->nlead = lane_lead(R->r, mark, R->lane, p->lead);
        if (group == 'x' && t)
            p->lead[p->nlead++] = t;
        for (int a = 0; a < r->nlane; a++)
            if (mark[a] == SUMMED)
                p->zero[p->nzero++] = R->lane[a];
    }
    return f;
}

/* Does v at idx read something held in registers at an index of these variables? Then there can be no loop
 * over them. */
static bool meets(const AtomSet *vars, const AtomSet *s)
{
    for (int j = 0; j < s->n; j++)
        if (set_has(vars, s->a[j]))
            return true;
    return false;
}

static Onward touch(DemandWalk *w, Visit *x)
{
    if (x->fr->whole || !meets(w->ctx, x->key->deps))
        return WALK_PAST;
    Param *q = frame_param(x->fr, x->v);
    if (q && q->held)
        return q->held->val ? WALK_DONE : WALK_PAST;
    if (q) {
        walk_to(w, &(Visit){ .g = q->fr->g, .fr = q->fr }, q->v, param_index(q, x->idx, x->key->n));
        return WALK_PAST;
    }
    return !x->i ? WALK_PAST : x->i->op == OP_region ? WALK_DONE : WALK_INTO;
}

bool touches_held(Frame *fr, Ref v, const Form *idx)
{
    const AtomSet *vars = idx_deps(idx, fr->g->type[v].rank);
    DemandWalk w = {
        .g = fr->g, .fr = fr, .visit = touch, .ctx = (void *)(uintptr_t)vars, .computed = true
    };
    return demand_walk(&w, v, idx, 0, NULL);
}

/* ==================== results */

static int64_t elements(const Type *t) { return any_zero(t) ? 0 : type_size(t); }

/* Of copies that lie at one address the first stores. */
static bool first_there(Lower *L, const MemRef *p, Envs envs, int e)
{
    const Layout *l = p->layout;
    for (int d = 0; d < e && !l->env_stride; d++) {
        bool same = true;
        for (int j = 0; j < l->nlead; j++)
            same = same && form_in(L, l->lead[j], envs.at[d]) == form_in(L, l->lead[j], envs.at[e]);
        if (same)
            return false;
    }
    return true;
}

/* What lanes share is stored by the first of them: 0 where there is no other, else a condition. */
static Val first_lanes(Run *R, const uint8_t *mark)
{
    Lower *L = R->L;
    Val c = 0;
    for (int a = 0; R->top && a < R->r->nlane; a++) {
        if (mark[a] != SHARED)
            continue;
        Form f = form_in(L, R->lane[a], R->envs.at[0]);
        f = form_add(f, form_mul(form_a(LANE), -form_coef(f, LANE)));
        int64_t lo, hi;
        form_range(f, &lo, &hi);
        if (lo != hi) {
            Val n = k_index(L->k, f);
            c = and_val(L, c, k2(L->k, K_EQ, DT_BOOL, n, index_const(L, n, 0)));
        }
    }
    return c;
}

static void store_all(Run *R, const Type *t, const MemRef *p, const uint8_t *mark, const Val *x)
{
    Lower *L = R->L;
    Val guard = first_lanes(R, mark);
    if (guard)
        k_if(L->k, guard);
    for (int64_t c = 0; c < elements(t); c++) {
        Form idx[MAXRANK];
        element_index(t, c, idx);
        for (int e = 0; e < R->envs.n; e++)
            if (first_there(L, p, R->envs, e))
                store_memref(L, p, idx, t->rank, R->envs.at[e], x[c * R->envs.n + e]);
    }
    if (guard)
        k_if_end(L->k, 0, NULL, NULL, NULL);
}

/* Every element of v, a value of the body f, to memory: one by one, or in a loop where that is possible and
 * worth it. */
static void store_value(Run *R, Frame *f, Ref v, const MemRef *p, const uint8_t *mark)
{
    Lower *L = R->L;
    const Type *t = &f->g->type[v];
    int64_t size = elements(t);
    Store s = { .v = v, .nidx = t->rank, .nspace = t->rank, .to = *p };
    const Atom *const *space = elem_space("y", t->dim, t->rank, 1);
    for (int d = 0; d < t->rank; d++)
        s.space[d] = space[d], s.idx[d] = form_a(space[d]);
    if (size > L->spec->written.body && !touches_held(f, v, s.idx)) {
        regions_first(L, f);
        Val guard = first_lanes(R, mark);
        if (guard)
            k_if(L->k, guard);
        const Store *one = &s;
        int first = 0;
        StoreLoop loop = { .store = &first, .n = 1,
            .vector = L->vec ? s.nspace - 1 : long_variable(s.space, s.nspace) };
        store_loop(L, f, &(Puts){ &loop, &one }, R->envs);
        if (guard)
            k_if_end(L->k, 0, NULL, NULL, NULL);
        return;
    }
    Val *x = NEWS(Val, size * R->envs.n);
    for (int64_t c = 0; c < size; c++) {
        Form idx[MAXRANK];
        element_index(t, c, idx);
        eval_at(L, f, v, idx, R->envs, x + c * R->envs.n);
    }
    if (!L->failed)
        store_all(R, t, p, mark, x);
}

static MemRef result_memref(const Run *R, int n)
{
    Form lead[MAXRANK];
    int m = lane_lead(R->r, R->r->om + n * R->r->nlane, R->lane, lead);
    return memref_lead(R->L->spec->stored[R->i->out + (Ref)n], lead, m);
}

/* A private array for every element of a value, for each environment: vectors where lanes are vectors. */
static Held *held_memory(Lower *L, const Type *t, int ne)
{
    Held *h = NEW(Held);
    int64_t lanes = L->vec ? W : 1;
    *h = (Held){ .t = *t, .size = elements(t), .ne = ne };
    Layout *l = NEW(Layout);
    *l = *layout_natural(t->dim, t->rank);
    for (int j = 0; j < l->ndigit; j++)
        l->digit[j].stride *= lanes;
    l->env_stride = h->size * lanes;
    l->base = lanes > 1 ? form_a(LANE) : NULL;
    h->mem = (MemRef){ k_private(L->k, (Dtype)t->dt, (h->size ? h->size : 1) * lanes * ne), l };
    return h;
}

static Held *held_values(const Type *t, int ne, Val *val)
{
    Held *h = NEW(Held);
    *h = (Held){ .t = *t, .size = elements(t), .ne = ne, .val = val };
    return h;
}

/* Every element of v of the frame, in registers. */
static Val *value_elements(Run *R, Frame *f, Ref v)
{
    const Type *t = &f->g->type[v];
    int64_t size = elements(t);
    Val *x = NEWS(Val, size * R->envs.n);
    for (int64_t c = 0; c < size; c++) {
        Form idx[MAXRANK];
        element_index(t, c, idx);
        eval_at(R->L, f, v, idx, R->envs, x + c * R->envs.n);
    }
    return x;
}

/* ==================== loops */

typedef struct State {
    int64_t n, *from;                           /* elements in all; where each carried value begins */
    const Type **type;
    Val *val;                                   /* [(from[carry] + element) * ne + lane] */
} State;

/* The state of a region inside is a vector always, so that of a body around one may become one. */
static bool wide(const Run *R, int n)
{
    const Graph *g = R->i->sub[R->i->nsub - 1];
    bool inside = !R->top;
    for (int j = 0; j < g->nins && !inside; j++)
        inside = g->ins[j]->op == OP_region;
    if (inside && R->L->vec)
        return true;
    const Env *e = R->envs.at[0];
    for (int a = 0; a < R->r->nlane; a++)
        if (R->r->om[n * R->r->nlane + a] == STACKED && form_vector(form_in(R->L, R->lane[a], e)))
            return true;
    return false;
}

static const RegionSpec *region_spec(const Run *R)
{
    const Spec *s = R->L->spec;
    for (int j = 0; j < s->nregion; j++)
        if (s->region[j].ins == R->i)
            return &s->region[j];
    return NULL;
}

/* What a body reads of outside is evaluated here, where the specification says so: in front of the loop or
 * branch. */
static void read_captures(Run *R, const RegionSpec *spec, int sub)
{
    const Graph *g = R->i->sub[sub];
    Frame *f = body_frame(R, sub, NULL, NULL);
    for (int n = 0; n < g->nin; n++)
        if (spec->first[sub][n])
            value_elements(R, f, g->in[n]);
}

static State state_start(Run *R)
{
    const Region *r = R->r;
    const Graph *g = R->i->sub[R->i->nsub - 1];
    int nl = region_nloop(r);
    State s = { .from = NEWS(int64_t, nl + 1), .type = NEWS(const Type *, nl) };
    for (int n = 0; n < nl; n++) {
        s.type[n] = &g->type[g->in[r->ncap + n]];
        s.from[n + 1] = s.from[n] + elements(s.type[n]);
    }
    s.n = s.from[nl];
    s.val = NEWS(Val, s.n * R->envs.n);
    Frame *f = body_frame(R, R->i->nsub - 1, NULL, NULL);
    for (int n = 0; n < nl; n++) {
        Val *x = value_elements(R, f, g->in[r->ncap + n]);
        bool w = wide(R, n);
        for (int64_t c = 0; c < elements(s.type[n]) * R->envs.n; c++)
            s.val[s.from[n] * R->envs.n + c] = w ? widen_val(R->L, x[c]) : x[c];
    }
    return s;
}

static Held **state_held(const Run *R, const State *s, Val *val)
{
    int nl = region_nloop(R->r);
    Held **h = NEWS(Held *, nl);
    for (int n = 0; n < nl; n++)
        h[n] = held_values(s->type[n], R->envs.n, val + s->from[n] * R->envs.n);
    return h;
}

/* One step's y goes to memory: the array in memory at the step. */
static void store_step(Run *R, Frame *f, int n, Form t)
{
    const Graph *g = f->g;
    MemRef p = R->top ? result_memref(R, n) : R->res[n]->mem;
    p = memref_lead(p, &t, 1);
    store_value(R, f, g->out[n], &p, R->r->om + n * R->r->nlane);
}

/* Carried values that go along as vectors too, by number. */
typedef struct Packed { int n, *which; } Packed;

static Packed packs(const Run *R, const State *s, Val *start)
{
    int nl = region_nloop(R->r), n = 0, *which = NEWS(int, nl);
    const bool *packed = R->top ? R->L->spec->packed : NULL;
    for (int o = 0; packed && o < nl; o++)
        if (packed[o]) {
            start[n] = pack_start(R->L, s->val + s->from[o], s->from[o + 1] - s->from[o]);
            which[n++] = o;
        }
    return (Packed){ n, which };
}

/* Behind the state lie its vectors. */
static void pack_state(Run *R, Frame *f, const State *s, Packed packed, const Val *phi, Val *next)
{
    int n = packed.n;
    Pack *p = NEWS(Pack, n);
    for (int j = 0; j < n; j++) {
        int64_t at = s->from[packed.which[j]];
        p[j] = (Pack){ (int)(s->from[packed.which[j] + 1] - at), phi + at, next + at, phi[s->n + j] };
    }
    if (!pack_step(R->L, p, n, next + s->n)) {
        memcpy(next + s->n, phi + s->n, sizeof *next * (size_t)n);
        return;
    }
    for (int j = 0; j < n; j++)
        for (int c = 0; c < p[j].n; c++) {
            Form idx[MAXRANK];
            element_index(s->type[packed.which[j]], c, idx);
            memo_set(R->L, f, f->g->out[packed.which[j]], idx, R->envs.at[0], p[j].next[c]);
        }
}

static void run_scan(Run *R)
{
    Lower *L = R->L;
    const Region *r = R->r;
    const Graph *g = R->i->sub[0];
    int nl = region_nloop(r), nx = (int)(R->i->nout);
    read_captures(R, region_spec(R), 0);
    State s = state_start(R);
    int64_t nv = s.n * R->envs.n;
    for (int n = nl; n < nx; n++)
        if (!R->top) {
            const Type *t = &g->type[g->out[n]];
            Type all = type_add_lead(t, r->length);
            R->res[n] = held_memory(L, &all, R->envs.n);
        }
    if (r->length > 0 && !L->failed) {
        Val *phi = NEWS(Val, nv + nl), *next = NEWS(Val, nv + nl), *start = NEWS(Val, nv + nl);
        memcpy(start, s.val, sizeof *start * (size_t)nv);
        Packed packed = packs(R, &s, start + nv);
        Form t = form_a(k_loop(L->k, "t", r->length, (int)nv + packed.n, start, phi));
        if (r->reverse)
            t = form_addc(form_mul(t, -1), r->length - 1);
        Frame *f = body_frame(R, 0, state_held(R, &s, phi), t);
        frame_push(L, f);
        for (int n = 0; n < nl; n++)
            memcpy(next + s.from[n] * R->envs.n, value_elements(R, f, g->out[n]),
                sizeof *next * (size_t)((s.from[n + 1] - s.from[n]) * R->envs.n));
        if (packed.n && !L->failed)
            pack_state(R, f, &s, packed, phi, next);
        for (int n = nl; n < nx; n++)
            if (R->live[n] && !L->failed)
                store_step(R, f, n, t);
        frame_pop(L, f);
        k_loop_end(L->k, next, start);
        s.val = start;
    }
    Held **h = state_held(R, &s, s.val);
    for (int n = 0; n < nl; n++)
        R->res[n] = h[n];
}

/* Lanes that are done keep their results by select; what nobody reads afterwards is not selected, since a
 * mask remembers who is done. */
static void run_while(Run *R)
{
    Lower *L = R->L;
    Kernel *k = L->k;
    const Graph *cond = R->i->sub[0], *g = R->i->sub[1];
    int nl = region_nloop(R->r), ne = R->envs.n;
    read_captures(R, region_spec(R), 0);
    read_captures(R, region_spec(R), 1);
    State s = state_start(R);
    int64_t nv = s.n * ne;
    bool vector = !R->top && L->vec, dead = false;
    for (int64_t j = 0; j < nv; j++)
        vector = vector || width(L, s.val[j]) > 1;
    for (int n = 0; n < nl; n++)
        dead = dead || (!R->live[n] && elements(s.type[n]));
    bool masked = vector || ne > 1, carry = masked && dead;
    Val *init = NEWS(Val, nv + ne), *phi = NEWS(Val, nv + ne), *next = NEWS(Val, nv + ne),
        *m = NEWS(Val, ne);
    const Val *outside = L->mask;
    const Form none = NULL;                     /* the condition has no axes */
    memcpy(init, s.val, sizeof *init * (size_t)nv);
    for (int e = 0; carry && e < ne; e++) {
        init[nv + e] = outside ? outside[R->envs.at[e]->k] : k_bits(k, DT_BOOL, 1);
        init[nv + e] = vector ? widen_val(L, init[nv + e]) : init[nv + e];
    }
    if (L->failed)
        return;
    k_loop(k, "w", -1, (int)nv + (carry ? ne : 0), init, phi);
    Held **h = state_held(R, &s, phi);
    Frame *f = body_frame(R, 0, h, NULL);
    frame_push(L, f);
    eval_at(L, f, cond->out[0], &none, R->envs, m);
    frame_pop(L, f);
    for (int e = 0; e < ne; e++)
        m[e] = carry ? and_val(L, m[e], phi[nv + e]) :
            outside  ? and_val(L, m[e], outside[R->envs.at[e]->k]) :
                       m[e];
    k_brk(k, any_val(L, m, ne));
    L->mask = masked ? m : outside;
    f = body_frame(R, 1, h, NULL);
    frame_push(L, f);
    for (int n = 0; n < nl; n++) {
        Val *x = value_elements(R, f, g->out[n]);
        for (int64_t c = 0; c < elements(s.type[n]) * ne; c++) {
            Val old = phi[s.from[n] * ne + c];
            next[s.from[n] * ne + c] = !masked || !R->live[n] ? x[c] : select_val(L, m[c % ne], x[c], old);
        }
    }
    frame_pop(L, f);
    L->mask = outside;
    for (int e = 0; carry && e < ne; e++)
        next[nv + e] = m[e];
    k_loop_end(k, next, phi);
    h = state_held(R, &s, phi);
    for (int n = 0; n < nl; n++)
        R->res[n] = h[n];
}

/* ==================== branches */

/* Which lanes take branch b: an index out of range takes the nearest. */
static Val takes(Lower *L, Val index, int b, int n)
{
    KOp op = b == 0 ? K_LE : b == n - 1 ? K_GE : K_EQ;
    return n == 1 ? k_bits(L->k, DT_BOOL, 1) :
                    k2(L->k, op, DT_BOOL, index, k_bits(L->k, dtype_of(L, index), b));
}

/* All results of a branch, one after the other. */
static void branch_values(Run *R, int b, Val *x)
{
    Frame *f = body_frame(R, b, NULL, NULL);
    const Graph *g = R->i->sub[b];
    frame_push(R->L, f);
    for (int n = 0; n < g->nout; n++) {
        int64_t m = elements(&g->type[g->out[n]]) * R->envs.n;
        memcpy(x, value_elements(R, f, g->out[n]), sizeof *x * (size_t)m);
        x += m;
    }
    frame_pop(R->L, f);
}

/* A branch is entered if a lane takes it; others are evaluated without asking. */
static void run_cond(Run *R)
{
    Lower *L = R->L;
    const RegionSpec *spec = region_spec(R);
    int ne = R->envs.n, nb = R->i->nsub;
    int64_t nv = 0;
    const Val *outside = L->mask;
    const Graph *g0 = R->i->sub[0];
    for (int n = 0; n < g0->nout; n++)
        nv += elements(&g0->type[g0->out[n]]) * ne;
    Form lead[MAXRANK];
    Val *index = NEWS(Val, ne), *res = NEWS(Val, nv), *x = NEWS(Val, nv);
    lane_lead(R->r, R->r->im, R->lane, lead);
    eval_at(L, R->fr, R->i->in[0], lead, R->envs, index);
    for (int b = 0; b < nb && !L->failed; b++) {
        Val *hit = NEWS(Val, ne), *other = NEWS(Val, nv);
        for (int e = 0; e < ne; e++) {
            hit[e] = takes(L, index[e], b, nb);
            hit[e] = outside ? and_val(L, hit[e], outside[R->envs.at[e]->k]) : hit[e];
        }
        bool masked = ne > 1 || width(L, hit[0]) > 1;
        bool enter = spec->enter[b];
        L->mask = masked ? hit : outside;
        if (enter) {
            read_captures(R, spec, b);
            k_if(L->k, any_val(L, hit, ne));
        }
        branch_values(R, b, x);
        for (int64_t j = 0; j < nv && !L->failed; j++) {
            if (b && (masked || !enter))
                x[j] = select_val(L, hit[j % ne], x[j], res[j]);
            other[j] = b ? res[j] : k_bits(L->k, dtype_of(L, x[j]), 0);
        }
        if (enter)
            k_if_end(L->k, (int)nv, x, other, x);
        memcpy(res, x, sizeof *res * (size_t)nv);
    }
    L->mask = outside;
    for (int n = 0; n < g0->nout; n++) {
        const Type *t = &g0->type[g0->out[n]];
        R->res[n] = held_values(t, ne, res);
        res += elements(t) * ne;
    }
}

/* ==================== regions */

static void run_call(Run *R)
{
    Frame *f = body_frame(R, 0, NULL, NULL);
    frame_push(R->L, f);
    for (int n = 0; n < f->g->nout && !R->L->failed; n++) {
        if (!R->live[n])
            continue;
        if (R->top) {
            MemRef p = result_memref(R, n);
            store_value(R, f, f->g->out[n], &p, R->r->om + n * R->r->nlane);
        } else
            R->res[n] =
                held_values(&f->g->type[f->g->out[n]], R->envs.n, value_elements(R, f, f->g->out[n]));
    }
    frame_pop(R->L, f);
}

static void run(Run *R)
{
    for (int j = 0; j < R->i->nout * R->r->nlane; j++)
        if (R->r->om[j] == SUMMED) {
            error_set(E_INTERNAL, "kernel %s: a result that lanes sum reached the lowering", R->L->k->name);
            R->L->failed = true;
            return;
        }
    switch (R->r->kind) {
    case CALL: run_call(R); break;
    case SCAN: run_scan(R); break;
    case WHILE: run_while(R); break;
    default: run_cond(R);
    }
}

void region_lanes(Lower *L, Envs envs)
{
    const Spec *s = L->spec;
    const Region *r = s->ins->region;
    Form lane[MAXRANK];
    for (int a = 0; a < r->nlane; a++)
        lane[a] = form_a(s->outer[a]);
    Run R = { L, L->top, s->ins, r, lane, envs, true, s->live, NEWS(Held *, s->ins->nout) };
    run(&R);
    for (int n = 0; n < s->ins->nout && !L->failed; n++)
        if (s->live[n] && R.res[n]) {
            MemRef p = result_memref(&R, n);
            store_all(&R, &R.res[n]->t, &p, r->om + n * r->nlane, R.res[n]->val);
        }
}

/* Lanes inside a body: a loop over them, results in private arrays. */
static void run_inner_lanes(Run *R)
{
    Lower *L = R->L;
    const Region *r = R->r;
    int64_t dim[MAXRANK], lanes = 1;
    Form lane[MAXRANK];
    Held **all = NEWS(Held *, R->i->nout);
    for (int a = 0; a < r->nlane; a++) {
        dim[a] = r->lane[a].size;
        lanes *= dim[a];
    }
    for (int n = 0; n < R->i->nout; n++)
        all[n] = held_memory(L, &R->fr->g->type[R->i->out + (Ref)n], R->envs.n);
    if (lanes) {
        form_unlinear(form_a(k_loop(L->k, "l", lanes, 0, NULL, NULL)), dim, r->nlane, lane);
        R->lane = lane;
        run(R);
        for (int n = 0; n < R->i->nout && !L->failed; n++) {
            Form lead[MAXRANK];
            int m = lane_lead(R->r, r->om + n * r->nlane, R->lane, lead);
            MemRef p = memref_lead(all[n]->mem, lead, m);
            Held *h = R->res[n];
            for (int64_t c = 0; c < h->size; c++) {
                Form idx[MAXRANK];
                element_index(&h->t, c, idx);
                for (int k = 0; k < R->envs.n; k++) {
                    const Env *e = R->envs.at[k];
                    store_memref(L, &p, idx, h->t.rank, e, held_at(L, h, idx, idx, e));
                }
            }
        }
        k_loop_end(L->k, NULL, NULL);
    }
    memcpy(R->res, all, sizeof *all * (size_t)R->i->nout);
}

typedef struct Inner { Held **res; int scope; Frame *call; } Inner;

static Inner *inner_of(Lower *L, Frame *fr, const Ins *i)
{
    const void *key[2] = { fr, i };
    void **p = map_at(&L->regions, key, sizeof key);
    return *p ? *p : (*p = NEW(Inner));
}

static Run inner_run(Lower *L, Frame *fr, const Ins *i)
{
    bool *live = NEWS(bool, i->nout);
    memset(live, 1, sizeof *live * (size_t)i->nout);
    return (Run){ L, fr, i, i->region, NULL, L->base, false, live, NEWS(Held *, i->nout) };
}

/* A region inside a body: all of its results at once, for every lane of the block that the body runs for.
 * Whoever asks first may be a branch that fewer lanes take. */
static Held **inner_region(Lower *L, Frame *fr, const Ins *i)
{
    Inner *in = inner_of(L, fr, i);
    if (in->res && scope_open(L->k, in->scope))
        return in->res;
    Run R = inner_run(L, fr, i);
    const Val *asking = L->mask;
    L->mask = fr->mask;
    in->scope = L->k->cur;
    if (i->region->nlane)
        run_inner_lanes(&R);
    else
        run(&R);
    L->mask = asking;
    return in->res = R.res;
}

/* A call without lanes is its body's values as they are asked for; NULL: another kind of region. */
static Frame *inner_call(Lower *L, Frame *fr, const Ins *i)
{
    if (i->region->kind != CALL || i->region->nlane)
        return NULL;
    Inner *in = inner_of(L, fr, i);
    if (!in->call) {
        Run R = inner_run(L, fr, i);
        in->call = body_frame(&R, 0, NULL, NULL);
        in->call->mask = fr->mask;
    }
    return in->call;
}

void region_value(Lower *L, const Element *el, Val *out)
{
    const Ins *i = el->i;
    int rank = el->fr->g->type[el->v].rank;
    Frame *call = inner_call(L, el->fr, i);
    if (call) {
        frame_push(L, call);
        eval_at(L, call, call->g->out[el->v - i->out], el->idx, el->envs, out);
        frame_pop(L, call);
        return;
    }
    Held *res = inner_region(L, el->fr, i)[el->v - i->out];
    for (int e = 0; e < el->envs.n; e++)
        out[e] = L->failed || !res ? 0 : held_at(L, res, el->idx, el->real + e * rank, el->envs.at[e]);
}

void regions_first(Lower *L, Frame *fr)
{
    for (int j = 0; j < fr->g->nins && !L->failed; j++) {
        const Ins *i = fr->g->ins[j];
        if (i->op != OP_region)
            continue;
        Frame *call = inner_call(L, fr, i);
        if (call) {
            frame_push(L, call);
            regions_first(L, call);
            frame_pop(L, call);
        } else
            inner_region(L, fr, i);
    }
}
