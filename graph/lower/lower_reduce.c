/*
 * lower_reduce.c - reductions: one loop for a group of them at a block of environments.
 *
 * In:  reductions of one space.   Out: their values.
 * Invariant: accumulators are in the register type, wide from the start where the vector is outside; f16 and
 * bf16 are summed in f32 and rounded once. Any extent is right: what is left of vectors or of unrolled steps
 * is a loop of its own.
 */
#include "reduce.h"

#include <math.h>
#include <string.h>

/* ==================== what combines */

Val reduce_identity(Lower *L, int op, Dtype dt)
{
    Kernel *k = L->k;
    bool f = dtype_float(dt);
    switch (op) {
    case OP_reduce_prod: case OP_cumprod:
        return k_const(k, dt, 1);
    case OP_reduce_max: case OP_cummax:
        if (f)
            return k_const(k, dt, -INFINITY);
        return k_bits(k, dt, dtype_signed(dt) ? INT64_MIN >> (64 - 8 * dtype_size(dt)) : 0);
    case OP_reduce_min: case OP_cummin:
        if (f)
            return k_const(k, dt, INFINITY);
        return k_bits(k, dt, dt == DT_BOOL ? 1 : dtype_signed(dt)
            ? (int64_t)(INT64_MAX >> (64 - 8 * dtype_size(dt))) : -1);
    case OP_reduce_and:
        return k_bits(k, dt, dt == DT_BOOL ? 1 : -1);
    default:                                    /* sums, or, xor */
        return k_bits(k, dt, 0);
    }
}

static KOp step_op(int op, Dtype dt)
{
    bool b = dt == DT_BOOL;
    switch (op) {
    case OP_reduce_prod: case OP_cumprod: return b ? K_AND : K_MUL;
    case OP_reduce_max: case OP_cummax: return b ? K_OR : K_MAX;
    case OP_reduce_min: case OP_cummin: return b ? K_AND : K_MIN;
    case OP_reduce_and: return K_AND;
    case OP_reduce_or: return K_OR;
    case OP_reduce_xor: return K_XOR;
    default: return b ? K_OR : K_ADD;
    }
}

Val reduce_step(Lower *L, int op, Dtype dt, Val x, Val y)
{
    return k2(L->k, step_op(op, dt), dt, x, y);
}

Val reduce_across(Lower *L, int op, Dtype dt, Val x)
{
    Kernel *k = L->k;
    switch (step_op(op, dt)) {
    case K_ADD: return k1(k, K_HSUM, dt, x);
    case K_MUL: return k1(k, K_HPROD, dt, x);
    case K_MAX: return k1(k, K_HMAX, dt, x);
    case K_MIN: return k1(k, K_HMIN, dt, x);
    case K_AND: return k1(k, K_HAND, dt, x);
    case K_XOR: return k1(k, K_HXOR, dt, x);
    default: return dt == DT_BOOL ? k1(k, K_ANY, dt, x) : k1(k, K_HOR, dt, x);
    }
}

/* Which float (or integer) holds both. */
static Dtype wider(Dtype a, Dtype b)
{
    if (dtype_float(a) != dtype_float(b))
        return dtype_float(a) ? a : b;
    if (dtype_float(a))
        return a == DT_F64 || b == DT_F64 ? DT_F64 : DT_F32;
    return b;                                   /* integers wrap: the result's bits are all that count */
}

static Red red_of(Lower *L, Frame *fr, Ref v, const Form *idx)
{
    const Graph *g = fr->g;
    Red r = { .g = g, .v = v, .idx = idx, .i = g->def[v] };
    Dtype from = (Dtype)g->type[r.i->in[0]].dt;
    r.res = (Dtype)g->type[v].dt;
    elem_reduce(g, r.i, idx, &r.ks, &r.nk, r.d);
    r.product = r.i->op == OP_dot;
    r.op = r.product ? OP_reduce_sum : r.i->op;
    r.acc = r.product ? wider(math_register(from), math_register(r.res)) : math_register(from);
    const Ins *m = g->def[r.i->in[0]];
    if (r.product || !L->spec->contract || r.op != OP_reduce_sum || !m || m->op != OP_mul
        || math_register(from) != from)
        return r;
    MapKey key = map_key(r.d[0].v, 0, 0, r.d[0].idx, r.d[0].n);
    if (frame_memref(fr, r.d[0].v).buf || map_get(&fr->rows, key.w, key.n))
        return r;
    Demand *d;
    elem_rule(g, m, 0, r.d[0].idx, &d);
    r.product = true;
    r.d[1] = d[1], r.d[0] = d[0];
    return r;
}

/* A sum of products as the contract shape means it: fma for floats. */
static Val multiply_add(Lower *L, Dtype dt, Val x, Val y, Val c)
{
    Kernel *k = L->k;
    if (dt == DT_BOOL) {
        x = k2(k, K_AND, dt, x, y);
        return c ? k2(k, K_OR, dt, c, x) : x;
    }
    if (!c)
        return k2(k, K_MUL, dt, x, y);
    return dtype_float(dt) ? k3(k, K_FMA, dt, x, y, c) : k2(k, K_ADD, dt, c, k2(k, K_MUL, dt, x, y));
}

void reduce_steps(Lower *L, const Reds *all, Envs envs, Val *acc)
{
    Frame *fr = all->fr;
    const Red *r = all->r;
    SCRATCH(Val, x, 2 * envs.n);
    for (int j = 0; j < all->n; j++, acc += envs.n) {
        Loc was = loc_enter(r[j].i);
        for (int o = 0; o <= r[j].product; o++) {
            Dtype from = (Dtype)fr->g->type[r[j].d[o].v].dt;
            eval_at(L, fr, r[j].d[o].v, r[j].d[o].idx, envs, x + o * envs.n);
            for (int e = 0; e < envs.n; e++)
                x[o * envs.n + e] = convert_val(L, x[o * envs.n + e], math_register(from), r[j].acc);
        }
        for (int e = 0; e < envs.n; e++)
            acc[e] = r[j].product ? multiply_add(L, r[j].acc, x[e], x[envs.n + e], acc[e]) :
                acc[e] ? reduce_step(L, r[j].op, r[j].acc, acc[e], x[e]) : x[e];
        loc_set(was);
    }
}

/* The largest (smallest) with nan apart: the steps are one instruction where what is nan may be lost, and
 * whether there was one is another for two vectors of operands. nan[e]: of u accumulators each, from acc + e
 * * u on. */
static bool nan_apart(const Red *r, int nr)
{
    for (int j = 0; j < nr; j++)
        if (!dtype_float(r[j].acc) ||
            (step_op(r[j].op, r[j].acc) != K_MAX && step_op(r[j].op, r[j].acc) != K_MIN))
            return false;
    return true;
}

/* The larger (smaller) of what is no nan. Of equal ones it may be either; so the sign is made of both. */
static Val further_of(Kernel *k, int what, const Val *x)
{
    bool max = what == MATH_OTHER + OP_max;
    Dtype dt = (Dtype)k->ins[x[0]].dt, bits = dt == DT_F64 ? DT_I64 : DT_I32;
    Val more = k2(k, max ? K_GT : K_LT, DT_BOOL, x[0], x[1]), z = k3(k, K_SELECT, dt, more, x[0], x[1]);
    Val both = k2(k, max ? K_AND : K_OR, bits, k1(k, K_BITS, bits, x[0]), k1(k, K_BITS, bits, x[1]));
    int64_t sign = dt == DT_F64 ? INT64_MIN : INT32_MIN;
    both = k2(k, max ? K_OR : K_AND, bits, both, k_bits(k, bits, max ? ~sign : sign));
    return k1(k, K_BITS, dt, k2(k, max ? K_AND : K_OR, bits, k1(k, K_BITS, bits, z), both));
}

static Val further(Lower *L, bool max, Val x, Val y)
{
    MathFunction f = { MATH_OTHER + (max ? OP_max : OP_min), max ? "further_up" : "further_down", further_of,
        false };
    return math_once(L->k, &f, 2, (const Val[]){ x, y });
}

static void step_apart(Lower *L, const Reds *all, Envs envs, int u, Val *acc, Val *nan)
{
    Frame *fr = all->fr;
    const Red *r = all->r;
    Kernel *k = L->k;
    for (int j = 0; j < all->n; j++, acc += envs.n) {
        Dtype dt = r[j].acc, from = (Dtype)fr->g->type[r[j].d[0].v].dt;
        Loc was = loc_enter(r[j].i);
        SCRATCH(Val, x, envs.n);
        eval_at(L, fr, r[j].d[0].v, r[j].d[0].idx, envs, x);
        for (int e = 0; e < envs.n; e++) {
            x[e] = convert_val(L, x[e], math_register(from), dt);
            acc[e] = further(L, step_op(r[j].op, dt) == K_MAX, acc[e], x[e]);
        }
        for (int e = 0; e < envs.n; e += u, nan++) {
            Val any = 0;
            for (int c = 0; c < u; c++) {
                Val is = k2(k, K_NE, DT_BOOL, x[e + c], x[e + c]);
                any = c ? k2(k, K_OR, DT_BOOL, any, is) : is;
            }
            *nan = k2(k, K_OR, DT_BOOL, *nan, any);
        }
        loc_set(was);
    }
}

/* ==================== loops over a space */

typedef struct Nest {
    /* the innermost variable: count steps of u of it (of vectors, if vec) */
    const Atom *v;
    int64_t count, first; int u;
    /* spread: every copy has an accumulator of its own; apart: and nan is, behind */
    bool vec, spread, apart;
    /* > 0: the last W elements, of which so many have been counted */
    int past;
} Nest;

/* Lanes from `past` on take a step. */
static void step_past(Lower *L, int past, int n, const Val *old, Val *acc)
{
    Val lane = k_index(L->k, form_a(LANE)), on = k2(L->k, K_GE, DT_BOOL, lane, index_const(L, lane, past));
    for (int j = 0; j < n; j++)
        acc[j] = select_val(L, on, acc[j], old[j]);
}

/* Loops over ks with n accumulators carried, [reduction * per + environment (* u + copy, if spread)]. */
static void nest(Lower *L, const Reds *all, const Nest *q, Val *acc, int n, Envs envs)
{
    const Red *r = all->r;
    Kernel *k = L->k;
    int opened = 0, nb = 0;
    if (!q->count)
        return;
    const Atom *bind[MAXRANK];
    Form at[MAXRANK];
    for (int j = 0; j < r->nk; j++)
        if (r->ks[j] != q->v) {
            bind[nb] = r->ks[j];
            if (r->ks[j]->hi) {
                at[nb] = form_a(k_loop(k, "k", r->ks[j]->hi + 1, n, acc, acc));
                opened++;
            } else
                at[nb] = form_c(0);
            nb++;
        }
    Form base = form_c(0);
    if (q->count > 1) {
        base = form_a(k_loop(k, "k", q->count, n, acc, acc));
        opened++;
    }
    const Env **es = NEWS(const Env *, envs.n);
    for (int e = 0; e < envs.n; e++)
        es[e] = env_sets(envs.at[e], bind, at, nb);
    SCRATCH(Form, x, q->u);
    for (int c = 0; c < q->u; c++) {
        x[c] = form_addc(form_mul(base, q->u), c + q->first);
        x[c] = q->past ? form_addc(form_a(LANE), q->v->hi + 1 - W) :
            q->vec ? form_add(form_mul(x[c], W), form_a(LANE)) : x[c];
    }
    Val *old = arena_copy(acc, sizeof *acc * (size_t)n);
    Envs at_all = { es, envs.n };
    if (q->apart)
        step_apart(L, all, env_block(at_all, q->u, q->v, x), q->u, acc, acc + all->n * envs.n * q->u);
    else if (q->spread)
        reduce_steps(L, all, env_block(at_all, q->u, q->v, x), acc);
    else
        for (int c = 0; c < q->u; c++)          /* into the same accumulators, in order */
            reduce_steps(L, all, env_block(at_all, 1, q->v, &x[c]), acc);
    if (q->past)
        step_past(L, q->past, n, old, acc);
    while (opened--)
        k_loop_end(k, acc, acc);
}

/* ==================== which variable is the vector */

/* Of a sum that is no phase; in registers, what is read lies nowhere. */
static const InnerSum *inner_sum(const Lower *L, const Red *r)
{
    const Spec *s = L->spec;
    for (int j = 0; j < s->ninner; j++)
        if (s->inner[j].v == r->v && s->inner[j].g == r->g)
            return &s->inner[j];
    return NULL;
}

static int inner_vector(const Lower *L, const Red *r)
{
    const InnerSum *s = inner_sum(L, r);
    return s ? s->vector : long_variable(r->ks, r->nk);
}

static int steps_written(const Lower *L, const SumLoop *of, const Red *r)
{
    const InnerSum *s = of->steps ? NULL : inner_sum(L, r);
    return of->steps ? of->steps : s ? s->steps : 1;
}

/* ==================== reductions */

/* No loop: the operands at one large block, so that what is nested tiles over it. */
static void reduce_unrolled(Lower *L, const Reds *all, Envs envs, Val *acc)
{
    const Red *r = all->r;
    Envs es = env_space(envs, r->ks, r->nk);
    Val *known = NEWS(Val, es.n);
    for (int j = 0; j < all->n; j++)
        for (int o = 0; o <= r[j].product; o++)
            eval_at(L, all->fr, r[j].d[o].v, r[j].d[o].idx, es, known);
    for (int c = 0; c < es.n; c += envs.n)
        reduce_steps(L, all, (Envs){ es.at + c, envs.n }, acc);
}

/* The vector is the innermost loop: u vectors of accumulators for each, put together at the end; then what
 * is left. */
static void reduce_inside(Lower *L, const Reds *all, const SumLoop *of, Envs envs, Val *acc)
{
    const Red *r = all->r;
    int nr = all->n;
    const Atom *v = r->ks[of->vector >= 0 ? of->vector : inner_vector(L, r)];
    int64_t n = v->hi + 1, nv = n / W;
    Flight f = spec_flight(L->spec, n, envs.n * nr * (of->within ? of->within : 1));
    int u = f.vectors;
    Nest tail = { .v = v, .u = 1, .count = n % W, .first = nv * W };
    if (nv) {
        bool apart = u > 1 && nan_apart(r, nr);
        int sums = nr * envs.n;
        Val *part = NEWS(Val, sums * (u + apart)), *first = NEWS(Val, sums), *nan = part + sums * u;
        for (int j = 0; j < nr * envs.n * u; j++)
            part[j] = widen_val(L, acc[j / u]);
        for (int j = 0; apart && j < nr * envs.n; j++)
            nan[j] = widen_val(L, k_bits(L->k, DT_BOOL, 0));
        Nest q = { .v = v, .u = u, .count = nv / u, .vec = true, .spread = true, .apart = apart };
        nest(L, all, &q, part, nr * envs.n * (u + apart), envs);
        for (int j = 0; apart && j < nr * envs.n; j++)
            part[j * u] = select_val(L, nan[j], k_const(L->k, r[j / envs.n].acc, NAN), part[j * u]);
        for (int j = 0; j < nr * envs.n; j++)
            first[j] = part[j * u];
        Nest rest = { .v = v, .u = 1, .count = nv % u, .first = nv / u * u, .vec = true };
        nest(L, all, &rest, first, nr * envs.n, envs);
        Nest last = { .v = v, .u = 1, .count = f.past, .vec = true, .past = W - (int)(n % W) };
        nest(L, all, &last, first, nr * envs.n, envs);
        for (int j = 0; j < nr * envs.n; j++)
            part[j * u] = first[j];
        for (int j = 0; j < nr * envs.n; j++) {
            const Red *q1 = &r[j / envs.n];
            Loc was = loc_enter(q1->i);
            for (int m = u; m > 1; m = (m + 1) / 2)
                for (int c = 0; c < m / 2; c++)
                    part[j * u + c] =
                        reduce_step(L, q1->op, q1->acc, part[j * u + c], part[j * u + m - 1 - c]);
            acc[j] = reduce_across(L, q1->op, q1->acc, part[j * u]);
            loc_set(was);
        }
    }
    if (!f.past)
        nest(L, all, &tail, acc, nr * envs.n, envs);
}

void lower_reduce(Lower *L, Frame *fr, const SumLoop *of, Envs envs, const Val *start, Val *out)
{
    const Want *want = of->want;
    const Written *w = &L->spec->written;
    int nr = of->n;
    Red *r = NEWS(Red, nr);
    bool lanes = !fr->whole && L->vec, empty = false, loop = true;
    for (int j = 0; j < nr; j++) {
        r[j] = red_of(L, fr, want[j].v, want[j].idx);
        lanes = lanes || has_lanes(L, r[j].idx, fr->g->type[r[j].v].rank, envs);
        empty = empty || any_zero(&fr->g->type[r[j].i->in[0]]);
    }
    int64_t n = space_size(r->ks, r->nk);
    Reds all = { fr, r, nr };
    Loc was = loc_enter(r->i);                  /* of the loop they share */
    if (n == 1 || (n <= w->loop && n * envs.n <= w->block))
        loop = false;
    else if (!fr->whole) {
        loop = n > w->body;
        for (int j = 0; loop && j < nr; j++)
            for (int o = 0; o <= r[j].product; o++)
                loop = loop && !touches_held(fr, r[j].d[o].v, r[j].d[o].idx);
        if (loop)
            regions_first(L, fr);
    }
    for (int j = 0; j < nr * envs.n; j++) {
        const Red *q = &r[j / envs.n];
        /* -0 and -0 are 0 */
        bool from_first = !loop && !empty && !(q->op == OP_reduce_sum && dtype_float(q->acc) && n > 1);
        out[j] = start ? start[j] : from_first ? 0 : reduce_identity(L, q->op, q->acc);
    }
    const Tile *tile = L->spec->tile;
    if (empty)
        ;
    else if (of->team)
        team_reduce(L, &all, of, envs, out);
    else if (tile && tile->product == want->v && fr == L->top)
        tile_reduce(L, &all, envs, out);
    else if (!loop)
        reduce_unrolled(L, &all, envs, out);
    else if (lanes) {
        int u = steps_written(L, of, r);
        for (int j = 0; j < nr * envs.n; j++)
            out[j] = widen_val(L, out[j]);
        Nest q = { .v = r->ks[r->nk - 1], .u = u, .count = (r->ks[r->nk - 1]->hi + 1) / u };
        nest(L, &all, &q, out, nr * envs.n, envs);
    } else
        reduce_inside(L, &all, of, envs, out);
    for (int j = 0; j < nr * envs.n; j++)
        out[j] = convert_val(L, out[j], r[j / envs.n].acc, r[j / envs.n].res);
    loc_set(was);
}
