/*
 * lower_own.c - SPEC_CUMULATIVE and SPEC_SORT: what runs along an axis in order.
 *
 * In:  cumsum ..: the running value of one axis.   sort: rows of several operands, put in the order of the first ones.
 * Out: a finished body.
 * A running value is a loop along the axis with vectors over what lies inside of it (or one by one). Floats
 * accumulate wide, every element is rounded as it is stored. A sort is one work-item a row: runs by insertion,
 * then merges from the bottom up between the result and scratch, as many that the last one ends in the result. It
 * is stable; -0 equals 0, nan comes last (first where the order descends).
 */
#include "lower.h"

#include <string.h>

/* ==================== running values */

typedef struct Running {
    Lower *L; const Ins *i;
    const Type *t;
    int axis;
    int64_t inner;                              /* elements inside of the axis */
    Place out;
    const Env *env;
} Running;

/* Along the axis for each of u indices (of what is outside and inside), w: in vectors. */
static void run_along(const Running *R, Form outer, const Form *inner, int u, bool vec)
{
    Lower *L = R->L;
    const Type *t = R->t;
    int64_t n = t->dim[R->axis];
    Dtype dt = math_register((Dtype)t->dt);
    Form idx[4][MAXRANK];
    Val acc[4], phi[4];
    for (int c = 0; c < u; c++) {
        form_unlinear(outer, t->dim, R->axis, idx[c]);
        form_unlinear(inner[c], t->dim + R->axis + 1, t->rank - R->axis - 1, idx[c] + R->axis + 1);
        acc[c] = reduce_identity(L, R->i->op, dt);
        acc[c] = vec ? widen_val(L, acc[c]) : acc[c];
    }
    Form step = form_a(k_loop(L->k, "t", n, u, acc, phi));
    if (ins_int(R->i, 1))
        step = form_addc(form_mul(step, -1), n - 1);
    for (int c = 0; c < u; c++) {
        idx[c][R->axis] = step;
        phi[c] = reduce_step(L, R->i->op, dt, phi[c], eval_one(L, L->top, R->i->in[0], idx[c], R->env));
        if (phi[c])
            store_place(L, &R->out, idx[c], t->rank, R->env, phi[c]);
    }
    k_loop_end(L->k, phi, acc);
}

void lower_cumulative(Lower *L)
{
    const Spec *s = L->spec;
    const Ins *i = s->ins;
    Running R = { .L = L, .i = i, .t = &s->g->type[i->out], .axis = (int)ins_int(i, 0), .inner = 1,
        .out = s->stored[i->out],
        .env = env_new(0) };
    int64_t outer = 1, steps = R.t->dim[R.axis];
    for (int d = 0; d < R.t->rank; d++)
        *(d < R.axis ? &outer : d > R.axis ? &R.inner : &steps) *= d == R.axis ? 1 : R.t->dim[d];
    bool vec = R.inner >= W && (R.inner % W == 0 || frame_place(L->top, i->in[0]).buf != R.out.buf);
    int64_t blocks = vec ? (R.inner + W - 1) / W : R.inner;
    int u = !vec ? 1 : blocks >= 4 ? 4 : (int)blocks;
    int64_t dim[2] = { outer, (blocks + u - 1) / u };
    while (vec && s->in_place && blocks % u)
        u--, dim[1] = (blocks + u - 1) / u;
    Form f[2], in[4];
    Items it;
    form_unlinear(items_open(L, dim[0] * dim[1], 4.0 * (double)steps * u, &it), dim, 2, f);
    for (int c = 0; c < u; c++) {
        in[c] = form_addc(form_mul(f[1], u * (vec ? W : 1)), c * W);
        int64_t lo, hi, most = R.inner - (vec ? W : 1);
        form_range(in[c], &lo, &hi);
        if (hi > most) {                        /* the last vectors overlap: what they store is the same */
            Val v = k_index(L->k, in[c]);
            in[c] = k_value(L->k, k2(L->k, K_MIN, dtype_of(L, v), v, index_const(L, v, most)), 0, most);
        }
        in[c] = vec ? form_add(in[c], form_a(LANE)) : in[c];
    }
    run_along(&R, f[0], in, u, vec);
    items_close(L, &it);
}

/* ==================== sorting */

typedef struct Sort {
    Lower *L; const Ins *i;
    const Type *t;                              /* all operands have this shape */
    int axis, n, keys;
    int64_t len;
    bool descending;
    Form row[MAXRANK];                          /* index of the row; the axis is set as needed */
    const Env *env;
    Dtype it;                                   /* of positions */
    Place *a, *b;                               /* results; scratch */
} Sort;

static Val pos_const(const Sort *S, int64_t c) { return k_bits(S->L->k, S->it, c); }
static Val pos_op(const Sort *S, KOp op, Val x, Val y) { return k2(S->L->k, op, S->it, x, y); }
static Val pos_less(const Sort *S, Val x, Val y) { return k2(S->L->k, K_LT, DT_BOOL, x, y); }

/* Element k of every operand is read or written at a position of the row. */
static const Form *at_pos(Sort *S, Form p)
{
    S->row[S->axis] = p;
    return S->row;
}

static void read_at(Sort *S, const Place *from, Val pos, int first, int n, Val *x)
{
    Form f = k_value(S->L->k, pos, 0, S->len - 1);
    for (int k = first; k < n; k++)
        x[k] = load_place(S->L, &from[k], at_pos(S, f), S->t->rank, S->env);
}

static void write_at(Sort *S, const Place *to, Form f, const Val *x)
{
    for (int k = 0; k < S->n; k++)
        store_place(S->L, &to[k], at_pos(S, f), S->t->rank, S->env, x[k]);
}

/* x before y by one key, ascending: nan is behind all else. */
static Val key_less(Lower *L, Val x, Val y)
{
    Kernel *k = L->k;
    Dtype dt = dtype_of(L, x);
    if (dt == DT_BOOL)
        return k2(k, K_AND, DT_BOOL, k1(k, K_NOT, DT_BOOL, x), y);
    Val less = k2(k, K_LT, DT_BOOL, x, y);
    if (!dtype_float(dt))
        return less;
    return or_val(L, less, and_val(L, k2(k, K_NE, DT_BOOL, y, y), k2(k, K_EQ, DT_BOOL, x, x)));
}

/* Must x stand before y? Lexicographic by the keys. */
static Val before(const Sort *S, const Val *x, const Val *y)
{
    Lower *L = S->L;
    Val less = 0;
    for (int k = S->keys - 1; k >= 0; k--) {
        const Val *p = S->descending ? y : x, *q = S->descending ? x : y;
        Val here = key_less(L, p[k], q[k]);
        if (!less) {
            less = here;
            continue;
        }
        Val not_after = k1(L->k, K_NOT, DT_BOOL, key_less(L, q[k], p[k]));
        less = or_val(L, here, and_val(L, not_after, less));
    }
    return less;
}

typedef struct SortCopy { Sort *S; } SortCopy;

static void sort_copy(Lower *L, void *ctx, const Form *idx, Form flat)
{
    Sort *S = ((SortCopy *)ctx)->S;
    (void)flat;
    for (int k = 0; k < S->n; k++) {
        Val x = eval_one(L, L->top, S->i->in[k], at_pos(S, idx[0]), S->env);
        if (x)
            store_place(L, &S->a[k], at_pos(S, idx[0]), S->t->rank, S->env, x);
    }
}

/* Runs of `run` elements by insertion, in the results. */
static void sort_runs(Sort *S, int64_t run)
{
    Lower *L = S->L;
    Kernel *k = L->k;
    int64_t runs = (S->len + run - 1) / run, steps = run < S->len ? run : S->len;
    Val x[S->n], y[S->n], j, phi;
    if (steps < 2)
        return;
    Form base = form_c(0);
    if (runs > 1)
        base = form_mul(form_a(k_loop(k, "r", runs, 0, NULL, NULL)), run);
    Form p = form_addc(form_add(base, form_a(k_loop(k, "i", steps - 1, 0, NULL, NULL))), 1);
    bool guard = S->len % run && runs > 1;
    Val here = k_index(k, p), first = k_index(k, base);
    if (dtype_of(L, here) != S->it)
        here = k1(k, K_CONVERT, S->it, here);
    if (dtype_of(L, first) != S->it)
        first = k1(k, K_CONVERT, S->it, first);
    if (guard) {
        k_if(k, pos_less(S, here, pos_const(S, S->len)));
        here = pos_op(S, K_MIN, here, pos_const(S, S->len - 1));
    }
    read_at(S, S->a, here, 0, S->n, x);
    k_loop(k, "s", -1, 1, &here, &phi);
    Val left = pos_op(S, K_MAX, pos_op(S, K_SUB, phi, pos_const(S, 1)), pos_const(S, 0));
    read_at(S, S->a, left, 0, S->n, y);
    k_brk(k, and_val(L, pos_less(S, first, phi), before(S, x, y)));
    write_at(S, S->a, k_value(k, phi, 0, S->len - 1), y);
    k_loop_end(k, &left, &j);
    write_at(S, S->a, k_value(k, j, 0, S->len - 1), x);
    if (guard)
        k_if_end(k, 0, NULL, NULL, NULL);
    k_loop_end(k, NULL, NULL);
    if (runs > 1)
        k_loop_end(k, NULL, NULL);
}

/* Neighbouring runs of w elements of one place become runs of 2 w in the other. One loop over the row: i and j are
 * the next elements of the two runs, which end at mid and hi. */
static void sort_merge(Sort *S, const Place *from, const Place *to, Val w)
{
    Lower *L = S->L;
    Kernel *k = L->k;
    Val len = pos_const(S, S->len), last = pos_const(S, S->len - 1), one = pos_const(S, 1);
    Val mid0 = pos_op(S, K_MIN, w, len), hi0 = pos_op(S, K_MIN, pos_op(S, K_ADD, w, w), len);
    Val init[4] = { pos_const(S, 0), mid0, mid0, hi0 }, phi[4], next[4], x[S->n], y[S->n], z[S->n];
    Form p = form_a(k_loop(k, "m", S->len, 4, init, phi));
    Val i = phi[0], j = phi[1], mid = phi[2], hi = phi[3];
    read_at(S, from, pos_op(S, K_MIN, i, last), 0, S->keys, x);
    read_at(S, from, pos_op(S, K_MIN, j, last), 0, S->keys, y);
    Val no_left = k2(k, K_GE, DT_BOOL, i, mid), right = pos_less(S, j, hi);
    right = and_val(L, right, or_val(L, no_left, before(S, y, x)));
    Val take = pos_op(S, K_MIN, k3(k, K_SELECT, S->it, right, j, i), last);
    for (int c = 0; c < S->keys; c++)
        z[c] = select_val(L, right, y[c], x[c]);
    read_at(S, from, take, S->keys, S->n, z);
    write_at(S, to, p, z);
    Val pos = k_index(k, form_addc(p, 1));
    if (dtype_of(L, pos) != S->it)
        pos = k1(k, K_CONVERT, S->it, pos);
    Val end = k2(k, K_EQ, DT_BOOL, pos, hi);
    Val mid1 = pos_op(S, K_MIN, pos_op(S, K_ADD, hi, w), len), hi1 = pos_op(S, K_MIN, pos_op(S, K_ADD, mid1, w), len);
    next[0] = k3(k, K_SELECT, S->it, end, hi, k3(k, K_SELECT, S->it, right, i, pos_op(S, K_ADD, i, one)));
    next[1] = k3(k, K_SELECT, S->it, end, mid1, k3(k, K_SELECT, S->it, right, pos_op(S, K_ADD, j, one), j));
    next[2] = k3(k, K_SELECT, S->it, end, mid1, mid);
    next[3] = k3(k, K_SELECT, S->it, end, hi1, hi);
    k_loop_end(k, next, phi);
}

static int passes(int64_t len, int64_t run)
{
    int n = 0;
    for (; run < len; run *= 2)
        n++;
    return n;
}

static int sort_places(Sort *S)
{
    const Spec *s = S->L->spec;
    for (int k = 0; k < S->n; k++) {
        S->a[k] = s->live[k] ? s->stored[S->i->out + (Ref)k] : s->scratch ? s->scratch[S->n + k] : (Place){ 0 };
        S->b[k] = s->scratch ? s->scratch[k] : (Place){ 0 };
        if (!S->a[k].buf || (S->len > SORT_SHORT && !S->b[k].buf))
            return error_set(E_INTERNAL, "kernel %s: a sort of %s has no scratch", s->name, type_text(S->t));
    }
    return 0;
}

void lower_sort(Lower *L)
{
    const Spec *s = L->spec;
    const Ins *i = s->ins;
    Sort S = { .L = L, .i = i, .t = &s->g->type[i->in[0]], .axis = (int)ins_int(i, 0), .n = i->nin,
        .keys = (int)ins_int(i, 1),
        .descending = ins_int(i, 2), .env = env_new(0), .a = NEWS(Place, i->nin), .b = NEWS(Place, i->nin) };
    int64_t dim[MAXRANK], rows = 1;
    int n = 0, of[MAXRANK];
    S.len = S.t->dim[S.axis];
    for (int d = 0; d < S.t->rank; d++)
        if (d != S.axis)
            of[n] = d, dim[n++] = S.t->dim[d], rows *= S.t->dim[d];
    if (sort_places(&S))
        return;
    S.it = S.len > INT32_MAX / 8 || L->k->wide_index ? DT_I64 : DT_I32;
    int np = S.len > SORT_SHORT ? passes(S.len, 8) : 0;
    int64_t run = S.len <= SORT_SHORT ? SORT_SHORT : np % 2 ? 16 : 8;
    np -= np % 2;
    Form f[MAXRANK];
    Items it;
    form_unlinear(items_open(L, rows, 10.0 * (double)S.len * (np + 4) * S.n, &it), dim, n, f);
    for (int d = 0; d < n; d++)
        S.row[of[d]] = f[d];
    SortCopy c = { &S };
    sweep_space(L, &S.len, 1, sort_copy, &c);
    sort_runs(&S, run);
    if (np && !L->failed) {
        Val w = pos_const(&S, run), phi, next;
        k_loop(L->k, "p", np / 2, 1, &w, &phi);
        sort_merge(&S, S.a, S.b, phi);
        sort_merge(&S, S.b, S.a, pos_op(&S, K_ADD, phi, phi));
        next = pos_op(&S, K_SHL, phi, pos_const(&S, 2));
        k_loop_end(L->k, &next, &w);
    }
    items_close(L, &it);
}
