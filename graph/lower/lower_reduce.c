/*
 * lower_reduce.c - reductions: one loop for a group of them at a block of environments; phases; loops over what a
 * kernel stores.
 *
 * In:  reductions of one space, or what a kernel shall store.   Out: their values; stores.
 * Invariant: accumulators are in the register type, wide from the start where the vector is outside; f16 and bf16
 * are summed in f32 and rounded once. Any extent is right: what is left of vectors or of unrolled steps is a
 * loop of its own.
 * The phases of a row kernel: reductions whose index is known in front of the stores run in levels, those of one
 * level and space in one loop. What two loops over the same space need and is dear lies in a private row between them.
 * One file: phases, rows and loops over stores are three users of the same nest of loops, which no one else sees.
 */
#include "evaluator.h"

#include <math.h>
#include <string.h>

typedef struct Red {
    Ref v; const Form *idx; const Ins *i;
    const Atom *const *ks; int nk;
    Demand d[2];
    /* the operands are multiplied first: with one rounding, where they are floats */
    bool product;
    int op;                                     /* of the graph: what combines */
    Dtype acc;                                  /* graph's dtype of the accumulator: never f16, bf16 */
    Dtype res;
} Red;

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

/* Lanes -> 1. */
static Val horizontal(Lower *L, int op, Dtype dt, Val x)
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

int64_t space_size(const Atom *const *a, int n)
{
    int64_t s = 1;
    for (int j = 0; j < n; j++)
        s *= a[j]->hi + 1;
    return s;
}

bool chained(Frame *fr, Ref v)
{
    const Ins *i = fr->g->def[v];
    if (!i || (i->op != OP_dot && i->op != OP_reduce_sum) || frame_place(fr, v).buf)
        return false;
    const Users *u = map_get(&fr->users, &v, sizeof v);
    return u && u->n == 1 && (u->op == OP_add || u->op == OP_accum);
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
    Red r = { .v = v, .idx = idx, .i = g->def[v] };
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
    Key key = key_of(r.d[0].v, 0, 0, r.d[0].idx, r.d[0].n);
    if (frame_place(fr, r.d[0].v).buf || map_get(&fr->rows, key.w, key.n))
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

/* One step of every reduction at every environment; acc: [reduction * ne + environment], 0: nothing yet. */
static void red_step(Lower *L, Frame *fr, const Red *r, int nr, const Env *const *envs, int ne, Val *acc)
{
    SCRATCH(Val, x, 2 * ne);
    for (int j = 0; j < nr; j++, acc += ne) {
        Loc was = loc_enter(r[j].i);
        for (int o = 0; o <= r[j].product; o++) {
            Dtype from = (Dtype)fr->g->type[r[j].d[o].v].dt;
            eval_at(L, fr, r[j].d[o].v, r[j].d[o].idx, envs, ne, x + o * ne);
            for (int e = 0; e < ne; e++)
                x[o * ne + e] = convert_val(L, x[o * ne + e], math_register(from), r[j].acc);
        }
        for (int e = 0; e < ne; e++)
            acc[e] = r[j].product ? multiply_add(L, r[j].acc, x[e], x[ne + e], acc[e]) :
                acc[e] ? reduce_step(L, r[j].op, r[j].acc, acc[e], x[e]) : x[e];
        loc_set(was);
    }
}

/* The largest (smallest) with nan apart: the steps are one instruction where what is nan may be lost, and whether there was one
 * is another for two vectors of operands. nan[e]: of u accumulators each, from acc + e * u on. */
static bool nan_apart(const Red *r, int nr)
{
    for (int j = 0; j < nr; j++)
        if (!dtype_float(r[j].acc) || (step_op(r[j].op, r[j].acc) != K_MAX && step_op(r[j].op, r[j].acc) != K_MIN))
            return false;
    return true;
}

/* The larger (smaller) of what is no nan. Of equal ones it may be either; so the sign is made of both. */
static Val further(Lower *L, bool max, Val x, Val y)
{
    Kernel *k = L->k;
    Dtype dt = dtype_of(L, x), bits = dt == DT_F64 ? DT_I64 : DT_I32;
    Val z = select_val(L, k2(k, max ? K_GT : K_LT, DT_BOOL, x, y), x, y);
    Val both = k2(k, max ? K_AND : K_OR, bits, k1(k, K_BITS, bits, x), k1(k, K_BITS, bits, y));
    int64_t sign = dt == DT_F64 ? INT64_MIN : INT32_MIN;
    both = k2(k, max ? K_OR : K_AND, bits, both, k_bits(k, bits, max ? ~sign : sign));
    return k1(k, K_BITS, dt, k2(k, max ? K_AND : K_OR, bits, k1(k, K_BITS, bits, z), both));
}

static void step_apart(Lower *L, Frame *fr, const Red *r, int nr, const Env *const *envs, int ne, int u, Val *acc, Val *nan)
{
    Kernel *k = L->k;
    for (int j = 0; j < nr; j++, acc += ne) {
        Dtype dt = r[j].acc, from = (Dtype)fr->g->type[r[j].d[0].v].dt;
        Loc was = loc_enter(r[j].i);
        SCRATCH(Val, x, ne);
        eval_at(L, fr, r[j].d[0].v, r[j].d[0].idx, envs, ne, x);
        for (int e = 0; e < ne; e++) {
            x[e] = convert_val(L, x[e], math_register(from), dt);
            acc[e] = further(L, step_op(r[j].op, dt) == K_MAX, acc[e], x[e]);
        }
        for (int e = 0; e < ne; e += u, nan++) {
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

static const Env **env_block(const Env *const *envs, int ne, int copies, const Atom *a, const Form *f)
{
    const Env **out = NEWS(const Env *, ne * copies);
    for (int e = 0; e < ne; e++)
        for (int c = 0; c < copies; c++)
            out[e * copies + c] = env_set(envs[e], a, f[c]);
    return out;
}

typedef struct Nest {
    /* the innermost variable: count steps of u of it (of vectors, if vec) */
    const Atom *v;
    int64_t count, first; int u;
    bool vec, spread, apart;                    /* spread: every copy has an accumulator of its own; apart: and nan is, behind */
    int past;                                   /* > 0: the last W elements, of which so many have been counted */
} Nest;

/* Lanes from `past` on take a step. */
static void step_past(Lower *L, int past, int n, const Val *old, Val *acc)
{
    Val lane = k_index(L->k, form_a(LANE)), on = k2(L->k, K_GE, DT_BOOL, lane, index_const(L, lane, past));
    for (int j = 0; j < n; j++)
        acc[j] = select_val(L, on, acc[j], old[j]);
}

/* Loops over ks with n accumulators carried, [reduction * per + environment (* u + copy, if spread)]. */
static void nest(Lower *L, Frame *fr, const Red *r, int nr, const Nest *q, Val *acc, int n, const Env *const *envs,
    int ne)
{
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
    const Env **es = NEWS(const Env *, ne);
    for (int e = 0; e < ne; e++)
        es[e] = env_sets(envs[e], bind, at, nb);
    SCRATCH(Form, x, q->u);
    for (int c = 0; c < q->u; c++) {
        x[c] = form_addc(form_mul(base, q->u), c + q->first);
        x[c] = q->past ? form_addc(form_a(LANE), q->v->hi + 1 - W) :
            q->vec ? form_add(form_mul(x[c], W), form_a(LANE)) : x[c];
    }
    Val *old = arena_copy(acc, sizeof *acc * (size_t)n);
    if (q->apart)
        step_apart(L, fr, r, nr, env_block(es, ne, q->u, q->v, x), ne * q->u, q->u, acc, acc + nr * ne * q->u);
    else if (q->spread)
        red_step(L, fr, r, nr, env_block(es, ne, q->u, q->v, x), ne * q->u, acc);
    else
        for (int c = 0; c < q->u; c++)          /* into the same accumulators, in order */
            red_step(L, fr, r, nr, env_block(es, ne, 1, q->v, &x[c]), ne, acc);
    if (q->past)
        step_past(L, q->past, n, old, acc);
    while (opened--)
        k_loop_end(k, acc, acc);
}

/* ==================== which loads an element needs */

int load_price(const Machine *m, Form f, const Atom *a)
{
    int64_t c = form_coef(f, a);
    if (c != 0 && c != 1)
        return (int)m->load_far;
    for (int j = 0; j < f->n; j++)
        if (f->t[j].a != a && set_has(f->t[j].a->deps, a))
            return (int)m->load_far;
    return 1;
}

void lower_loads(Lower *L, Frame *fr, Ref v, const Form *idx, Loads *out)
{
    Key key = key_of((uint64_t)fr->id, v, 0, idx, fr->g->type[v].rank);
    void **been = map_at(&out->seen, key.w, key.n);
    if (*been)
        return;
    *been = out;
    Place p = frame_place(fr, v);
    if (p.buf) {
        Form f = layout_form(p.layout, NULL, idx, fr->g->type[v].rank, NULL);
        const void *at[2] = { p.buf, f };
        if (!*(been = map_at(&out->seen, at, sizeof at))) {
            *been = out;
            PUSH(out->f, out->n, out->cap, f);
        }
        return;
    }
    const Ins *i = fr->g->def[v];
    if (!i || i->op == OP_region || frame_param(fr, v))
        return;
    Demand two[2], *d = two;
    const Atom *const *ks;
    int nk, n = optab[i->op].form == IS_SUM ? elem_reduce(fr->g, i, idx, &ks, &nk, two) :
        elem_rule(fr->g, i, (int)(v - i->out), idx, &d);
    for (int j = 0; j < n; j++)
        lower_loads(L, fr, d[j].v, d[j].idx, out);
}

/* The variable of an inner space that is the vector: where most loads are side by side or shared. */
static const Atom *inner_vector(Lower *L, Frame *fr, const Red *r, int nr)
{
    const Atom *best = r->nk ? r->ks[r->nk - 1] : NULL;
    if (r->nk < 2)
        return best;
    Loads all = { 0 };
    for (int j = 0; j < nr; j++)
        for (int o = 0; o <= r[j].product; o++)
            lower_loads(L, fr, r[j].d[o].v, r[j].d[o].idx, &all);
    int64_t least = INT64_MAX;
    for (int p = r->nk - 1; p >= 0; p--) {
        int64_t c = r->ks[p]->hi + 1 < W ? 1 << 30 : 0;
        for (int j = 0; j < all.n; j++)
            c += load_price(L->m, all.f[j], r->ks[p]);
        if (c < least)
            least = c, best = r->ks[p];
    }
    return best;
}

/* Lanes far apart, elements next to one another along the loop: unrolled, so that loads become blocks. */
static int unit_unroll(Lower *L, Frame *fr, const Red *r, int nr, const Env *e)
{
    const Atom *v = r->ks[r->nk - 1];
    Subst s = { .n = e->n, .from = e->a, .to = e->f };
    bool strided = false;
    for (int j = 0; j < nr; j++)
        for (int o = 0; o <= r[j].product; o++) {
            Loads all = { 0 };
            lower_loads(L, fr, r[j].d[o].v, r[j].d[o].idx, &all);
            for (int n = 0; n < all.n && !strided; n++) {
                int64_t c = form_coef(all.f[n], v) == 1 ? form_coef(form_subst(all.f[n], &s), LANE) : 0;
                strided = c != 0 && c != 1;
            }
        }
    int u = strided ? W : 1;
    while ((v->hi + 1) % u)
        u /= 2;
    return u;
}

/* ==================== reductions */

/* No loop: the operands at one large block, so that what is nested tiles over it. */
static void reduce_unrolled(Lower *L, Frame *fr, const Red *r, int nr, const Env *const *envs, int ne, Val *acc)
{
    int n = (int)space_size(r->ks, r->nk);
    int64_t dim[MAXRANK];
    for (int j = 0; j < r->nk; j++)
        dim[j] = r->ks[j]->hi + 1;
    const Env **es = NEWS(const Env *, n * ne);
    for (int c = 0; c < n; c++) {
        Form at[MAXRANK];
        form_unlinear(form_c(c), dim, r->nk, at);
        for (int e = 0; e < ne; e++)
            es[c * ne + e] = env_sets(envs[e], r->ks, at, r->nk);
    }
    Val *all = NEWS(Val, n * ne);
    for (int j = 0; j < nr; j++)
        for (int o = 0; o <= r[j].product; o++)
            eval_at(L, fr, r[j].d[o].v, r[j].d[o].idx, es, n * ne, all);
    for (int c = 0; c < n; c++)
        red_step(L, fr, r, nr, es + c * ne, ne, acc);
}

/* The vector is the innermost loop: u vectors of accumulators for each, put together at the end; then what is left. */
static void reduce_inside(Lower *L, Frame *fr, const Red *r, int nr, const Env *const *envs, int ne, Val *acc)
{
    const Atom *v = inner_vector(L, fr, r, nr);
    int64_t n = v->hi + 1, nv = n / W;
    int most = (int)L->m->sum_vectors, all = (int)L->m->flight / (ne * nr), u = all > most ? most : all < 1 ? 1 : all;
    if (u > nv)
        u = nv ? (int)nv : 1;
    while (nv % u && u > 1 && nv < 4 * u)
        u--;
    Nest tail = { .v = v, .u = 1, .count = n % W, .first = nv * W };
    bool past = nv && n % W > 2;                /* a vector for what is left, too */
    if (nv) {
        bool apart = u > 1 && nan_apart(r, nr);
        Val *part = NEWS(Val, nr * ne * (u + apart)), *first = NEWS(Val, nr * ne), *nan = part + nr * ne * u;
        for (int j = 0; j < nr * ne * u; j++)
            part[j] = widen_val(L, acc[j / u]);
        for (int j = 0; apart && j < nr * ne; j++)
            nan[j] = widen_val(L, k_bits(L->k, DT_BOOL, 0));
        Nest q = { .v = v, .u = u, .count = nv / u, .vec = true, .spread = true, .apart = apart };
        nest(L, fr, r, nr, &q, part, nr * ne * (u + apart), envs, ne);
        for (int j = 0; apart && j < nr * ne; j++)
            part[j * u] = select_val(L, nan[j], k_const(L->k, r[j / ne].acc, NAN), part[j * u]);
        for (int j = 0; j < nr * ne; j++)
            first[j] = part[j * u];
        Nest rest = { .v = v, .u = 1, .count = nv % u, .first = nv / u * u, .vec = true };
        nest(L, fr, r, nr, &rest, first, nr * ne, envs, ne);
        Nest last = { .v = v, .u = 1, .count = past, .vec = true, .past = W - (int)(n % W) };
        nest(L, fr, r, nr, &last, first, nr * ne, envs, ne);
        for (int j = 0; j < nr * ne; j++)
            part[j * u] = first[j];
        for (int j = 0; j < nr * ne; j++) {
            const Red *q1 = &r[j / ne];
            Loc was = loc_enter(q1->i);
            for (int m = u; m > 1; m = (m + 1) / 2)
                for (int c = 0; c < m / 2; c++)
                    part[j * u + c] = reduce_step(L, q1->op, q1->acc, part[j * u + c], part[j * u + m - 1 - c]);
            acc[j] = horizontal(L, q1->op, q1->acc, part[j * u]);
            loc_set(was);
        }
    }
    if (!past)
        nest(L, fr, r, nr, &tail, acc, nr * ne, envs, ne);
}

void lower_reduce(Lower *L, Frame *fr, const Want *want, int nr, const Env *const *envs, int ne, const Val *start,
    Val *out)
{
    Red *r = NEWS(Red, nr);
    bool lanes = !fr->whole && L->vec, empty = false, loop = true;
    for (int j = 0; j < nr; j++) {
        r[j] = red_of(L, fr, want[j].v, want[j].idx);
        lanes = lanes || has_lanes(L, r[j].idx, fr->g->type[r[j].v].rank, envs, ne);
        empty = empty || any_zero(&fr->g->type[r[j].i->in[0]]);
    }
    int64_t n = space_size(r->ks, r->nk);
    Loc was = loc_enter(r->i);                  /* of the loop they share */
    if (n == 1 || (n <= L->m->unroll && n * ne <= L->m->unroll_block))
        loop = false;
    else if (!fr->whole) {
        loop = n > L->m->body_unroll;
        for (int j = 0; loop && j < nr; j++)
            for (int o = 0; o <= r[j].product; o++)
                loop = loop && !touches_held(L, fr, r[j].d[o].v, r[j].d[o].idx);
        if (loop)
            regions_first(L, fr);
    }
    for (int j = 0; j < nr * ne; j++)
        out[j] = start ? start[j] : !loop && !empty ? 0 : reduce_identity(L, r[j / ne].op, r[j / ne].acc);
    if (empty)
        ;
    else if (!loop)
        reduce_unrolled(L, fr, r, nr, envs, ne, out);
    else if (lanes) {
        int u = unit_unroll(L, fr, r, nr, envs[0]);
        for (int j = 0; j < nr * ne; j++)
            out[j] = widen_val(L, out[j]);
        Nest q = { .v = r->ks[r->nk - 1], .u = u, .count = (r->ks[r->nk - 1]->hi + 1) / u };
        nest(L, fr, r, nr, &q, out, nr * ne, envs, ne);
    } else
        reduce_inside(L, fr, r, nr, envs, ne, out);
    for (int j = 0; j < nr * ne; j++)
        out[j] = convert_val(L, out[j], r[j / ne].acc, r[j / ne].res);
    loc_set(was);
}

/* ==================== phases */

typedef struct Phase { int level; const Atom *const *ks; int nk; bool lanes; Want *want; int n, cap; } Phase;
typedef struct Ready {
    Lower *L; Frame *fr;
    const Env *const *envs; int ne;
    Map level;
    Phase *phase; int n, cap;
    struct Open *open; int nopen, open_cap;
} Ready;

/* An element whose operands are being looked at: a walk with a stack of its own, from operands to users. */
typedef struct Open {
    Ref v; const Form *idx;
    const Atom *const *ks; int nk;
    Want *need; int n, at, cap;                 /* what it needs, and how many of that are done */
    int level;                                  /* the highest of those */
} Open;

static void phase_add(Ready *q, int level, Ref v, const Form *idx, const Atom *const *ks, int nk, bool lanes)
{
    Phase *p = NULL;
    for (int j = 0; j < q->n && !p; j++)
        if (q->phase[j].level == level && q->phase[j].ks == ks && q->phase[j].lanes == lanes)
            p = &q->phase[j];
    if (!p) {
        PUSH(q->phase, q->n, q->cap, (Phase){ .level = level, .ks = ks, .nk = nk, .lanes = lanes });
        p = &q->phase[q->n - 1];
    }
    PUSH(p->want, p->n, p->cap, (Want){ v, arena_copy(idx, sizeof *idx * (size_t)(q->fr->g->type[v].rank + 1)) });
}

/* false: its level is known. */
static bool ready_open(Ready *q, Ref v, const Form *idx, int *level)
{
    const Graph *g = q->fr->g;
    const Ins *i = g->def[v];
    Key key = key_of(v, 0, 0, idx, g->type[v].rank);
    intptr_t *at = (intptr_t *)map_at(&q->level, key.w, key.n);
    *level = *at ? (int)*at - 1 : 0;
    if (*at)
        return false;
    *at = 1;
    if (!i || i->op == OP_region || frame_place(q->fr, v).buf || frame_param(q->fr, v))
        return false;
    Open o = { .v = v, .idx = idx };
    Demand *d;
    const Atom **elem;
    for (int j = 0, n = demands_of(g, v, idx, &d, &o.ks, &o.nk); j < n; j++) {
        PUSH(o.need, o.n, o.cap, (Want){ d[j].v, d[j].idx });
        for (int e = 0, ne = elems_of(d[j].idx, d[j].n, &elem); e < ne; e++)
            if (elem[e]->g == g)
                PUSH(o.need, o.n, o.cap, (Want){ elem[e]->v, elem[e]->idx });
    }
    PUSH(q->open, q->nopen, q->open_cap, o);
    return true;
}

static int ready_close(Ready *q, const Open *o)
{
    const Type *t = &q->fr->g->type[o->v];
    const Ins *i = q->fr->g->def[o->v];
    int level = o->level;
    if (optab[i->op].form == IS_SUM && env_binds(q->envs[0], o->idx, t->rank) &&
        space_size(o->ks, o->nk) > (q->ne > 4 ? 1 : q->L->m->unroll)) {
        bool fresh = true, lanes = has_lanes(q->L, o->idx, t->rank, q->envs, q->ne);
        for (int j = 0; j < o->nk; j++)
            fresh = fresh && !env_get(q->envs[0], o->ks[j]);
        if (fresh && !(chained(q->fr, o->v) && lanes) && !any_zero(&q->fr->g->type[i->in[0]]))
            phase_add(q, ++level, o->v, o->idx, o->ks, o->nk, lanes);
    }
    Key key = key_of(o->v, 0, 0, o->idx, t->rank);
    *(intptr_t *)map_at(&q->level, key.w, key.n) = level + 1;
    return level;
}

static void ready_walk(Ready *q, Ref v, const Form *idx)
{
    int level;
    ready_open(q, v, idx, &level);
    while (q->nopen) {
        Open o = q->open[q->nopen - 1];
        bool more = o.at < o.n;
        q->open[q->nopen - 1].at++;
        if (more && ready_open(q, o.need[o.at].v, o.need[o.at].idx, &level))
            continue;
        if (!more) {
            level = ready_close(q, &o);
            q->nopen--;
        }
        if (q->nopen && q->open[q->nopen - 1].level < level)
            q->open[q->nopen - 1].level = level;
    }
}

/* In order of levels; of one level in the order they were found. */
static void sort_phases(Phase *p, int n)
{
    for (int j = 1; j < n; j++) {
        Phase x = p[j];
        int k = j;
        for (; k > 0 && p[k - 1].level > x.level; k--)
            p[k] = p[k - 1];
        p[k] = x;
    }
}

/* ==================== private rows */

typedef struct RowPlan {
    Lower *L; Frame *fr;
    int copies;
    Map stop, before;                           /* what phases give; what an earlier loop evaluates: its space */
    Map seen;
    const Atom *const *space; int nspace;
    Key *mine; int nmine, cap;
} RowPlan;

typedef struct SpaceOf { const Atom *const *a; int n; } SpaceOf;

static bool covers(const Form *idx, int n, const Atom *const *space, int nspace)
{
    const AtomSet *s = idx_deps(idx, n);
    for (int j = 0; j < nspace; j++)
        if (space[j]->hi && !set_has(s, space[j]))
            return false;
    for (int k = 0; k < s->n; k++) {            /* nor may it depend on a loop inside of these */
        bool mine = s->a[k]->depth == 0;
        for (int j = 0; j < nspace && !mine; j++)
            mine = space[j] == s->a[k];
        if (!mine)
            return false;
    }
    return true;
}

static Row *row_new(RowPlan *p, Ref v)
{
    /* vectors where the vector is outside */
    int64_t size = space_size(p->space, p->nspace), wide = p->L->vec ? W : 1, s = wide;
    if (size * p->copies * wide > p->L->m->row)
        return NULL;
    Row *r = NEW(Row);
    r->f = wide > 1 ? form_a(LANE) : form_c(0);
    for (int j = p->nspace - 1; j >= 0; j--) {
        r->f = form_add(r->f, form_mul(form_a(p->space[j]), s));
        s *= p->space[j]->hi + 1;
    }
    r->pad = size * wide + (size % 512 == 0 && p->copies > 1 ? 16 : 0);
    r->buf = k_private(p->L->k, (Dtype)p->fr->g->type[v].dt, r->pad * p->copies);
    r->next = p->fr->row;
    p->fr->row = r;
    return r;
}

static void row_one(RowPlan *p, Ref v, const Form *idx, Todos *s)
{
    const Graph *g = p->fr->g;
    int rank = g->type[v].rank, nk;
    Key key = key_of(v, 0, 0, idx, rank);
    void **been = map_at(&p->seen, key.w, key.n);
    if (*been || map_get(&p->stop, key.w, key.n) || frame_place(p->fr, v).buf || frame_param(p->fr, v))
        return;
    *been = p;
    const Ins *i = g->def[v];
    if (!i || i->op == OP_region)
        return;
    bool red = optab[i->op].form == IS_SUM;
    const SpaceOf *was = map_get(&p->before, key.w, key.n);
    if ((red || elem_cost(g, i) >= (double)p->L->m->dear) && was && was->a == p->space && covers(idx, rank, p->space, p->nspace)) {
        void **row = map_at(&p->fr->rows, key.w, key.n);
        if (!*row)
            *row = row_new(p, v);
        if (*row)
            return;
    }
    PUSH(p->mine, p->nmine, p->cap, key);
    Demand *d;
    const Atom *const *ks;
    int n = demands_of(g, v, idx, &d, &ks, &nk);
    todo_demands(s, d, n, (Todo){ 0 });
}

static void row_loop(RowPlan *p, const Atom *const *space, int nspace, const Demand *d, int n)
{
    if (space_size(space, nspace) <= p->L->m->unroll)
        return;
    p->space = space, p->nspace = nspace, p->nmine = 0;
    p->seen = (Map){ 0 };
    Todos todo = { 0 };
    todo_demands(&todo, d, n, (Todo){ 0 });
    for (Todo t; todo_next(&todo, &t);)
        row_one(p, t.v, t.idx, &todo);
    SpaceOf *s = NEW(SpaceOf);
    *s = (SpaceOf){ space, nspace };
    for (int j = 0; j < p->nmine; j++) {
        void **b = map_at(&p->before, p->mine[j].w, p->mine[j].n);
        *b = *b ? *b : s;
    }
}

/* The same space of a store as elem_space gave it: pointers to compare by. */
static const Atom *const *store_space(const Phase *ph, int n, const Store *s)
{
    for (int j = 0; j < n; j++)
        if (ph[j].nk == s->nspace && !memcmp(ph[j].ks, s->space, sizeof *s->space * (size_t)s->nspace))
            return ph[j].ks;
    return s->space;
}

static void plan_rows(Lower *L, Frame *fr, const Phase *ph, int nph, const Store *st, int nst, int copies)
{
    RowPlan p = { .L = L, .fr = fr, .copies = copies };
    for (int j = 0; j < nph; j++)
        for (int w = 0; w < ph[j].n; w++) {
            Key key = key_of(ph[j].want[w].v, 0, 0, ph[j].want[w].idx, fr->g->type[ph[j].want[w].v].rank);
            *map_at(&p.stop, key.w, key.n) = &p;
        }
    for (int j = 0; j < nph; j++) {
        Demand *d = NEWS(Demand, 2 * ph[j].n);
        int n = 0, nk;
        const Atom *const *ks;
        for (int w = 0; w < ph[j].n; w++)
            n += elem_reduce(fr->g, fr->g->def[ph[j].want[w].v], ph[j].want[w].idx, &ks, &nk, d + n);
        row_loop(&p, ph[j].ks, ph[j].nk, d, n);
    }
    for (int j = 0; j < nst; j++)
        if (st[j].nspace) {
            Demand d = { .v = st[j].v, .n = st[j].nidx };
            memcpy(d.idx, st[j].idx, sizeof d.idx);
            row_loop(&p, store_space(ph, nph, &st[j]), st[j].nspace, &d, 1);
        }
}

static void rows_filled(Frame *fr)
{
    for (Row *r = fr->row; r; r = r->next)
        r->filled = r->filled || r->written;
}

/* ==================== stores */

void run_stores(Lower *L, Frame *fr, const Store *st, int n, const Env *const *envs, int ne)
{
    Ready q = { .L = L, .fr = fr, .envs = envs, .ne = ne };
    for (int j = 0; j < n; j++)
        ready_walk(&q, st[j].v, st[j].idx);
    sort_phases(q.phase, q.n);
    plan_rows(L, fr, q.phase, q.n, st, n, ne);
    for (int p = 0; p < q.n; p++) {
        Phase *ph = &q.phase[p];
        Val *out = NEWS(Val, ph->n * ne);
        int most = ne < L->m->sums ? (int)L->m->sums / ne : 1;
        for (int j = 0; j < ph->n; j += most) {
            int m = ph->n - j < most ? ph->n - j : most;
            if (!roll_reduce(L, fr, ph->want + j, m, envs, ne, out + j * ne))
                lower_reduce(L, fr, ph->want + j, m, envs, ne, NULL, out + j * ne);
        }
        for (int j = 0; j < ph->n * ne; j++)
            memo_set(L, fr, ph->want[j / ne].v, ph->want[j / ne].idx, envs[j % ne], out[j]);
        rows_filled(fr);                        /* whole by now */
    }
    bool *done = NEWS(bool, n);
    for (int j = 0; j < n; j++) {
        const Store **one = NEWS(const Store *, n);
        int m = 0;
        for (int o = j; o < n; o++)
            if (!done[o] && st[o].nspace == st[j].nspace &&
                !memcmp(st[o].space, st[j].space, sizeof *st[j].space * (size_t)st[j].nspace)) {
                one[m++] = &st[o];
                done[o] = true;
            }
        Loc was = loc_enter(fr->g->def[st[j].v]);
        if (m)
            store_loop(L, fr, st[j].space, st[j].nspace, one, m, envs, ne);
        loc_set(was);
    }
    fr->rows = (Map){ 0 };
    fr->row = NULL;
}

void put_stores(Lower *L, Frame *fr, const Store *const *st, int n, const Env *const *envs, int ne)
{
    if (roll_stores(L, fr, st, n, envs, ne))
        return;
    Val *x = NEWS(Val, ne);
    for (int j = 0; j < n; j++) {
        Loc was = loc_enter(fr->g->def[st[j]->v]);
        eval_at(L, fr, st[j]->v, st[j]->idx, envs, ne, x);
        for (int e = 0; e < ne && !L->failed; e++) {
            if (!st[j]->chunk) {
                store_place(L, &st[j]->to, st[j]->idx, st[j]->nidx, envs[e], x[e]);
                continue;
            }
            Form at[MAXRANK];                   /* a row of sums */
            for (int d = 0; d < st[j]->nspace; d++)
                at[d] = form_a(st[j]->space[d]);
            Val sum = load_place(L, &st[j]->to, at, st[j]->nspace, envs[e]);
            sum = reduce_step(L, OP_reduce_sum, dtype_of(L, sum), sum, x[e]);
            store_place(L, &st[j]->to, at, st[j]->nspace, envs[e], sum);
        }
        loc_set(was);
    }
}

/* The variable of a store's space that is the vector. */
static int store_vector(Lower *L, Frame *fr, const Atom *const *space, int n, const Store *const *st, int nst)
{
    if (L->vec || n == 1)
        return n - 1;
    Loads all = { 0 };
    for (int j = 0; j < nst; j++) {
        Form f;
        if (st[j]->chunk) {
            Form at[MAXRANK];
            int64_t dim[MAXRANK];
            for (int d = 0; d < st[j]->nspace; d++)
                at[d] = form_a(st[j]->space[d]), dim[d] = st[j]->space[d]->hi + 1;
            f = form_linear(at, dim, st[j]->nspace);
        } else
            f = layout_form(st[j]->to.layout, NULL, st[j]->idx, st[j]->nidx, NULL);
        PUSH(all.f, all.n, all.cap, f);
    }
    for (int j = 0; j < nst; j++)
        lower_loads(L, fr, st[j]->v, st[j]->idx, &all);
    int best = n - 1;
    int64_t least = INT64_MAX;
    for (int p = n - 1; p >= 0; p--) {
        int64_t c = space[p]->hi + 1 < W ? 1000 : 0;
        for (int j = 0; j < all.n; j++)
            c += load_price(L->m, all.f[j], space[p]);
        if (c < least)
            least = c, best = p;
    }
    return best;
}

void store_loop(Lower *L, Frame *fr, const Atom *const *space, int n, const Store *const *st, int nst,
    const Env *const *envs, int ne)
{
    int64_t size = space_size(space, n), dim[MAXRANK];
    bool lanes = L->vec;
    if (size <= L->m->unroll && (lanes || size == 1)) {
        const Env **es = NEWS(const Env *, size * ne);
        for (int j = 0; j < n; j++)
            dim[j] = space[j]->hi + 1;
        for (int c = 0; c < size; c++) {
            Form at[MAXRANK];
            form_unlinear(form_c(c), dim, n, at);
            for (int e = 0; e < ne; e++)
                es[c * ne + e] = env_sets(envs[e], space, at, n);
        }
        put_stores(L, fr, st, nst, es, (int)size * ne);
        return;
    }
    int v = store_vector(L, fr, space, n, st, nst), opened = 0;
    const Env **es = NEWS(const Env *, ne);
    Form at[MAXRANK];
    for (int j = 0; j < n; j++) {
        at[j] = form_c(0);
        if (j != v && space[j]->hi) {
            at[j] = form_a(k_loop(L->k, "j", space[j]->hi + 1, 0, NULL, NULL));
            opened++;
        }
    }
    for (int e = 0; e < ne; e++)
        es[e] = env_sets(envs[e], space, at, n);
    int tile = L->spec->inner_tile > 1 ? L->spec->inner_tile : 1;
    int64_t len = space[v]->hi + 1, nv = lanes ? 0 : len / W;
    /* where storing twice does no harm, what is left is a vector that overlaps the one before */
    bool twice = nv && len % W > 1 && L->spec->kind == SPEC_LOOPS && !L->spec->in_place && !L->spec->chunk;
    const struct { bool vec; int u; int64_t first, count; } part[4] = {
        { true, tile, 0, nv / tile }, { true, 1, nv / tile * tile, nv % tile },
        { false, 1, nv * W, twice ? 0 : len - nv * W }, { true, 1, 0, twice }
    };
    for (int p = 0; p < 4; p++) {
        if (!part[p].count)
            continue;
        SCRATCH(Form, x, tile);
        Form base = form_c(0);
        bool loop = part[p].count > 1;
        if (loop)
            base = form_mul(form_a(k_loop(L->k, "j", part[p].count, 0, NULL, NULL)), part[p].u);
        for (int c = 0; c < part[p].u; c++) {
            x[c] = form_addc(base, c + part[p].first);
            x[c] = p == 3 ? form_addc(form_a(LANE), len - W) :
                part[p].vec ? form_add(form_mul(x[c], W), form_a(LANE)) : x[c];
        }
        put_stores(L, fr, st, nst, env_block(es, ne, part[p].u, space[v], x), ne * part[p].u);
        if (loop)
            k_loop_end(L->k, NULL, NULL);
    }
    while (opened--)
        k_loop_end(L->k, NULL, NULL);
}

void sweep_space(Lower *L, const int64_t *dim, int n, SweepFn *fn, void *ctx)
{
    int64_t size = 1;
    for (int d = 0; d < n; d++)
        size *= dim[d];
    for (int vec = 1; vec >= 0; vec--) {
        int64_t count = vec ? size / W : size % W;
        if (!count)
            continue;
        Form idx[MAXRANK], f = form_c(0);
        if (count > 1)
            f = form_a(k_loop(L->k, "s", count, 0, NULL, NULL));
        f = vec ? form_add(form_mul(f, W), form_a(LANE)) : form_addc(f, size / W * W);
        form_unlinear(f, dim, n, idx);
        fn(L, ctx, idx, f);
        if (count > 1)
            k_loop_end(L->k, NULL, NULL);
    }
}
