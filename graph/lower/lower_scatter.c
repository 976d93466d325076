/*
 * lower_scatter.c - SPEC_SCATTER: the operand, then updates in order.
 *
 * In:  scatter(x, indices, updates): dimension numbers of StableHLO, index vectors in the last axis.   Out:
 * a
 * finished body.
 * What cannot collide is shared out to work-items: batch dimensions, and window dimensions that no index
 * moves and that are whole; a work-item copies its part of x, then applies every update to it in order.
 * Nothing is done twice, since updates are not idempotent: what is left of vectors is done one by one. Where
 * x lies where the result goes, nothing is copied; and if indices are unique besides, index positions are
 * shared out too. Where that is few work-items, a dimension in which windows are one wide is cut into
 * ranges: each is some work-item's own, which reads every index and skips the updates of others. So no two
 * write the same element, the order is that of the updates, and what is copied and updated is whole rows
 * instead of strips.
 */
#include "evaluator.h"

#include <string.h>

typedef struct Scatter {
    Lower *L; const Ins *i; const ScatterSpec *p;
    const Type *x, *ix, *u;
    MemRef out;
    /* by dimension: where, if it is shared out; where the window begins now */
    Form at[MAXRANK], start[MAXRANK];
    int mode, combine;
    const Env *env;
    Form range;                                 /* which, now */
    Form uidx[MAXRANK];                         /* index of the update, now */
} Scatter;

/* ==================== work-items */

Form items_open(Lower *L, Items *it)
{
    Kernel *k = L->k;
    int64_t n = L->spec->share.n, c = L->spec->share.each, items = (n + c - 1) / c;
    Form f = form_c(0);
    *it = (Items){ c > 1, items * c > n };
    k->work += L->spec->share.work;
    if (items > 1)
        f = form_mul(grid_open(L, 0, items), c);
    if (it->loop)
        f = form_add(f, form_a(k_loop(k, "o", c, 0, NULL, NULL)));
    if (it->guard) {
        Val v = k_index(k, f);
        k_if(k, k2(k, K_LT, DT_BOOL, v, index_const(L, v, n)));
        f = k_value(k, k2(k, K_MIN, dtype_of(L, v), v, index_const(L, v, n - 1)), 0, n - 1);
    }
    return f;
}

void items_close(Lower *L, const Items *it)
{
    if (it->guard)
        k_if_end(L->k, 0, NULL, NULL, NULL);
    if (it->loop)
        k_loop_end(L->k, NULL, NULL);
}

/* ==================== ranges */

static bool cut(const Scatter *S, int d) { return d == S->p->rd && S->p->ranges > 1; }
static int64_t rows_of_range(const Scatter *S) { return S->p->dim[S->p->rd].n / S->p->ranges; }
static int64_t rows_left(const Scatter *S) { return S->p->dim[S->p->rd].n % S->p->ranges; }
static Val in_last(const Scatter *S)
{
    Val r = k_index(S->L->k, S->range);
    return k2(S->L->k, K_EQ, DT_BOOL, r, index_const(S->L, r, S->p->ranges - 1));
}

/* Is this start in the work-item's range? The last has what is left over. */
static Val in_range(const Scatter *S, Val c)
{
    Lower *L = S->L;
    Kernel *k = L->k;
    int64_t rows = rows_of_range(S);
    Val at = k_index(k, S->start[S->p->rd]),
        end = k_index(k, form_add(form_mul(S->range, rows), form_c(rows)));
    if (rows_left(S))
        end = select_val(L, in_last(S), index_const(L, end, S->p->dim[S->p->rd].n), end);
    c = and_val(L, c, k2(k, K_GE, DT_BOOL, at, k_index(k, form_mul(S->range, rows))));
    return and_val(L, c, k2(k, K_LT, DT_BOOL, at, end));
}

/* ==================== updates */

static void update_one(Scatter *S, const Form *xi)
{
    static const int op[] = { OP_NONE, OP_add, OP_mul, OP_min, OP_max };
    Lower *L = S->L;
    Dtype dt = (Dtype)S->x->dt;
    Val u = eval_one(L, L->top, S->i->in[2], S->uidx, S->env);
    if (!u)
        return;
    if (S->combine) {
        Val old = load_memref(L, &S->out, xi, S->x->rank, S->env);
        u = math_op(L->k, op[S->combine], dt, dt, 2, (const Val[]){ old, u });
    }
    store_memref(L, &S->out, xi, S->x->rank, S->env, u);
}

/* A part of the vectors' dimension: count vectors (or elements) from first on. */
typedef struct Range { bool vec; Form first; int64_t count; } Range;

static void update_window(Scatter *S, int d, Form *xi, const Range *v);

static void window_loop(Scatter *S, int d, Form *xi, const Range *v)
{
    const ScatterDim *q = &S->p->dim[d];
    Form w = form_c(0);
    if (!v->count)
        return;
    if (v->count > 1)
        w = form_a(k_loop(S->L->k, "w", v->count, 0, NULL, NULL));
    w = form_add(v->vec ? form_add(form_mul(w, W), form_a(LANE)) : w, v->first);
    S->uidx[q->u] = w;
    xi[d] = form_add(S->start[d], w);
    update_window(S, d + 1, xi, v);
    if (v->count > 1)
        k_loop_end(S->L->k, NULL, NULL);
}

static void update_window(Scatter *S, int d, Form *xi, const Range *v)
{
    if (d == S->x->rank) {
        update_one(S, xi);
        return;
    }
    const ScatterDim *q = &S->p->dim[d];
    if (d == S->p->vd && q->shared_out)
        window_loop(S, d, xi, v);
    else if (d == S->p->vd) {
        window_loop(S, d, xi, &(Range){ true, form_c(0), q->window / W });
        window_loop(S, d, xi, &(Range){ false, form_c(q->window / W * W), q->window % W });
    } else if (q->kind == WINDOW && !q->shared_out)
        window_loop(S, d, xi, &(Range){ false, form_c(0), q->window });
    else {
        if (q->kind != INSERTED)
            S->uidx[q->u] = S->at[d];
        xi[d] = q->kind == INSERTED ? S->start[d] : S->at[d];
        update_window(S, d + 1, xi, v);
    }
}

/* Starts of the window at this position; returns a condition: is it all inside, and this work-item's? 0:
 * yes. */
static Val window_start(Scatter *S)
{
    Lower *L = S->L;
    Kernel *k = L->k;
    Dtype dt = (Dtype)S->ix->dt;
    Val c = 0;
    for (int d = 0; d < S->x->rank; d++) {
        const ScatterDim *q = &S->p->dim[d];
        if (q->map < 0)
            continue;
        int64_t room = q->n - q->window, most = dtype_size(dt) == 8 ? INT64_MAX
            : ((int64_t)1 << (8 * dtype_size(dt) - dtype_signed(dt))) - 1;
        Form at[MAXRANK];
        for (int e = 0; e < S->p->nat; e++)
            at[e] = S->uidx[S->p->at[e]];
        at[S->p->nat] = form_c(q->map);
        Val s = eval_one(L, L->top, S->i->in[1], at, S->env);
        if (S->mode != 1) {
            if (dtype_signed(dt))
                c = and_val(L, c, k2(k, K_GE, DT_BOOL, s, k_bits(k, dt, 0)));
            if (room < most)
                c = and_val(L, c, k2(k, K_LE, DT_BOOL, s, k_bits(k, dt, room)));
        }
        S->start[d] = k_value(k, index_of(L, s, dt, 0, room), 0, room);
    }
    return S->p->ranges > 1 ? in_range(S, c) : c;
}

static void update_position(Scatter *S, const Form *pos, const Range *v)
{
    for (int j = 0; j < S->p->npos; j++)
        S->uidx[S->p->pos[j]] = pos[j];
    for (int d = 0; d < S->x->rank; d++)
        if (S->p->dim[d].kind == BATCH)
            S->uidx[S->p->dim[d].u] = S->at[d];
    Form xi[MAXRANK];
    Val inside = window_start(S);
    if (inside)
        k_if(S->L->k, inside);
    update_window(S, 0, xi, v);
    if (inside)
        k_if_end(S->L->k, 0, NULL, NULL, NULL);
}

/* ==================== the copy of x */

typedef struct CopyRest { Scatter *S; Form *xi; int d[MAXRANK]; Form first[MAXRANK]; } CopyRest;

static void copy_one(Lower *L, void *ctx, const Form *idx, Form flat)
{
    CopyRest *c = ctx;
    (void)flat;
    for (int j = 0; idx && c->d[j] >= 0; j++)
        c->xi[c->d[j]] = form_add(idx[j], c->first[j]);
    Val x = eval_one(L, L->top, c->S->i->in[0], c->xi, c->S->env);
    if (x)
        store_memref(L, &c->S->out, c->xi, c->S->x->rank, c->S->env, x);
}

/* The part of x that is this work-item's own: dimensions that are not shared out, in vectors along the last
 * of them or along v. Of the dimension in ranges: so many rows from first on. */
static void copy_rows(Scatter *S, const Range *v, Form first, int64_t rows)
{
    Lower *L = S->L;
    Form xi[MAXRANK];
    CopyRest c = { .S = S, .xi = xi };
    int64_t dim[MAXRANK];
    int n = 0, opened = 0;
    bool along = S->p->vd >= 0 && S->p->dim[S->p->vd].shared_out;
    for (int d = 0; d < S->x->rank; d++) {
        int64_t size = cut(S, d) ? rows : S->p->dim[d].n;
        xi[d] = S->at[d];
        if (along && d == S->p->vd) {
            xi[d] = v->count > 1 ? form_a(k_loop(L->k, "c", v->count, 0, NULL, NULL)) : form_c(0);
            opened += v->count > 1;
            xi[d] = form_add(v->vec ? form_mul(xi[d], W) : xi[d], v->first);
            xi[d] = v->vec ? form_add(xi[d], form_a(LANE)) : xi[d];
        } else if (!S->p->dim[d].shared_out && along) {
            xi[d] = size > 1 ? form_a(k_loop(L->k, "c", size, 0, NULL, NULL)) : form_c(0);
            opened += size > 1;
            xi[d] = cut(S, d) ? form_add(xi[d], first) : xi[d];
        } else if (!S->p->dim[d].shared_out) {
            c.d[n] = d;
            c.first[n] = cut(S, d) ? first : form_c(0);
            dim[n++] = size;
        }
    }
    c.d[n] = -1;
    if (along || !n)
        copy_one(L, &c, NULL, NULL);
    else
        sweep_space(L, dim, n, copy_one, &c);
    while (opened--)
        k_loop_end(L->k, NULL, NULL);
}

static void copy_part(Scatter *S, const Range *v)
{
    if (S->p->ranges == 1) {
        copy_rows(S, v, form_c(0), 0);
        return;
    }
    int64_t rows = rows_of_range(S);
    copy_rows(S, v, form_mul(S->range, rows), rows);
    if (rows_left(S)) {
        k_if(S->L->k, in_last(S));
        copy_rows(S, v, form_c(rows * S->p->ranges), rows_left(S));
        k_if_end(S->L->k, 0, NULL, NULL, NULL);
    }
}

static void scatter_part(Scatter *S, const Form *pos, const Range *v)
{
    Lower *L = S->L;
    if (!S->p->in_place)
        copy_part(S, v);
    if (S->p->spread) {
        update_position(S, pos, v);
        return;
    }
    if (!S->p->npositions || any_zero(S->u))
        return;
    int64_t dim[MAXRANK];
    Form f[MAXRANK], n = form_c(0);
    for (int j = 0; j < S->p->npos; j++)
        dim[j] = S->u->dim[S->p->pos[j]];
    if (S->p->npositions > 1)
        n = form_a(k_loop(L->k, "n", S->p->npositions, 0, NULL, NULL));
    form_unlinear(n, dim, S->p->npos, f);
    update_position(S, f, v);
    if (S->p->npositions > 1)
        k_loop_end(L->k, NULL, NULL);
}

void lower_scatter(Lower *L)
{
    const Spec *s = L->spec;
    const ScatterSpec *p = s->scatter;
    const Ins *i = s->ins;
    const Graph *g = s->g;
    Scatter S = { .L = L, .i = i, .p = p, .x = &g->type[i->in[0]], .ix = &g->type[i->in[1]],
        .u = &g->type[i->in[2]], .out = s->stored[i->out] };
    if (!s->share.n)
        return;
    S.mode = (int)ins_int(i, ATTR(scatter, mode)), S.combine = (int)ins_int(i, ATTR(scatter, combine));
    S.env = env_new(0);
    bool along = p->vd >= 0 && p->dim[p->vd].shared_out;
    int64_t vectors = along ? p->dim[p->vd].n / W : 0, tail = along ? p->dim[p->vd].n % W : 0;
    int64_t dim[3 * MAXRANK], n = 0;
    int of[MAXRANK];
    for (int d = 0; d < S.x->rank; d++) {
        S.start[d] = form_c(0);
        if (p->dim[d].shared_out && d != p->vd)
            of[n] = d, dim[n++] = p->dim[d].n;
    }
    int nd = (int)n;
    for (int j = 0; p->spread && j < p->npos; j++)
        dim[n++] = S.u->dim[p->pos[j]];
    dim[n++] = p->ranges;
    dim[n++] = p->parts;
    Form f[3 * MAXRANK];
    Items it;
    form_unlinear(items_open(L, &it), dim, (int)n, f);
    for (int j = 0; j < nd; j++)
        S.at[of[j]] = f[j];
    S.range = f[n - 2];
    Form part = f[n - 1];
    Range v = { true, form_mul(part, vectors / p->parts * W), vectors / p->parts };
    scatter_part(&S, f + nd, &v);
    if (tail) {
        Val last = p->parts > 1 ? k_index(L->k, part) : 0;
        if (last)
            k_if(L->k, k2(L->k, K_EQ, DT_BOOL, last, index_const(L, last, p->parts - 1)));
        v = (Range){ false, form_c(vectors * W), tail };
        scatter_part(&S, f + nd, &v);
        if (last)
            k_if_end(L->k, 0, NULL, NULL, NULL);
    }
    items_close(L, &it);
}
