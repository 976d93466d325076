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

typedef enum DimKind { BATCH, INSERTED, WINDOW } DimKind;
typedef struct Dim {                            /* a dimension of x */
    DimKind kind;
    int map;                                    /* component of the index vector that moves it; -1: none */
    /* WINDOW: dimension of the updates; BATCH: of the updates and indices */
    int u;
    int64_t n, window;
    bool shared_out;                            /* work-items have their own */
    Form at;                                    /* where, if so */
    Form start;                                 /* of the window, now */
} Dim;

typedef struct Scatter {
    Lower *L; const Ins *i;
    const Type *x, *ix, *u;
    Place out;
    Dim dim[MAXRANK];
    /* dimensions of the updates that are index positions, no batch */
    int pos[MAXRANK], npos;
    int64_t npositions;
    bool in_place, spread;                      /* spread: positions are shared out */
    int mode, combine;
    const Env *env;
    int vd;                                     /* the dimension of vectors; -1: none */
    int rd;                                     /* the dimension in ranges; -1: none */
    int64_t ranges;
    Form range;                                 /* which, now */
    Form uidx[MAXRANK];                         /* index of the update, now */
} Scatter;

static int find_in(const int64_t *v, int n, int64_t x)
{
    for (int k = 0; k < n; k++)
        if (v[k] == x)
            return k;
    return -1;
}

/* ==================== work-items */

Form items_open(Lower *L, int64_t n, double cycles, Items *it)
{
    Kernel *k = L->k;
    double total = (double)n * cycles, room = item_cycles(L->m, total) / cycles;
    int64_t c = L->alone ? n : room < 1 ? 1 : room < (double)n ? (int64_t)room : n;
    int64_t items = (n + c - 1) / c;
    Form f = form_c(0);
    *it = (Items){ c > 1, items * c > n };
    k->work += total;
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

/* ==================== what the dimensions are */

static void read_dims(Scatter *S)
{
    const Ins *i = S->i;
    int nw, ni, nm, nb, w = 0, at = 0;
    const int64_t *win = ins_attr(i, 0, &nw), *ins = ins_attr(i, 1, &ni), *map = ins_attr(i, 2, &nm);
    const int64_t *xb = ins_attr(i, 3, &nb), *ib = ins_attr(i, 4, NULL);
    int udim[MAXRANK], n = 0;                   /* dimension of the indices -> of the updates */
    for (int d = 0; d < S->u->rank; d++)
        if (find_in(win, nw, d) < 0)
            udim[n++] = d;
    for (int d = 0; d < S->x->rank; d++) {
        Dim *q = &S->dim[d];
        int b = find_in(xb, nb, d);
        *q = (Dim){ .map = find_in(map, nm, d), .n = S->x->dim[d], .window = 1, .start = form_c(0) };
        q->kind = b >= 0 ? BATCH : find_in(ins, ni, d) >= 0 ? INSERTED : WINDOW;
        if (b >= 0)
            q->u = udim[ib[b]];
        else if (q->kind == WINDOW) {
            q->u = (int)win[w++];
            q->window = S->u->dim[q->u];
        }
        q->shared_out = b >= 0 || (q->kind == WINDOW && q->map < 0 && q->window == q->n);
    }
    S->npositions = 1;
    for (at = 0; at < n; at++)
        if (find_in(ib, nb, at) < 0) {
            S->pos[S->npos++] = udim[at];
            S->npositions *= S->u->dim[udim[at]];
        }
    int last = S->x->rank - 1;
    S->vd = last >= 0 && S->dim[last].kind == WINDOW && S->dim[last].window >= W ? last : -1;
}

/* Cycles for what is not shared out: the copy, the updates of all positions, reading their indices. */
typedef struct Cost { double copy, update, scan; } Cost;

static Cost costs(const Scatter *S)
{
    double own = 1, window = 1;
    for (int d = 0; d < S->x->rank; d++)
        if (!S->dim[d].shared_out || d == S->vd) {
            own *= (double)S->dim[d].n;
            window *= (double)S->dim[d].window;
        }
    return (Cost){ S->in_place ? 0 : own / 2, (double)S->npositions * window * (S->vd >= 0 ? 1 : 8),
                   (double)S->npositions * 4 };
}

/* Ranges of the outermost dimension that can be cut, n things being shared out anyway. Processors: each has
 * LEAST cycles to do, and reading the indices for all of them may add a quarter. Elsewhere that is done side
 * by side. */
static void choose_ranges(Scatter *S, double n)
{
    const Machine *m = S->L->m;
    Cost c = costs(S);
    double scan = c.scan * (double)m->scatter_scan,
           least = scan > (double)m->scatter_item ? scan : (double)m->scatter_item;
    S->rd = -1, S->ranges = 1;
    for (int d = S->x->rank - 1; d >= 0; d--)
        if (S->dim[d].map >= 0 && S->dim[d].window == 1)
            S->rd = d;
    if (S->rd < 0 || S->spread || S->L->alone)
        return;
    for (int64_t r = 2; r <= S->dim[S->rd].n && (double)r * n <= (double)m->scatter_items; r *= 2)
        if ((double)r * least <= c.copy + c.update)
            S->ranges = r;
}

static bool cut(const Scatter *S, int d) { return d == S->rd && S->ranges > 1; }
static int64_t rows_of_range(const Scatter *S) { return S->dim[S->rd].n / S->ranges; }
static int64_t rows_left(const Scatter *S) { return S->dim[S->rd].n % S->ranges; }
static Val in_last(const Scatter *S)
{
    Val r = k_index(S->L->k, S->range);
    return k2(S->L->k, K_EQ, DT_BOOL, r, index_const(S->L, r, S->ranges - 1));
}

/* Is this start in the work-item's range? The last has what is left over. */
static Val in_range(const Scatter *S, Val c)
{
    Lower *L = S->L;
    Kernel *k = L->k;
    int64_t rows = rows_of_range(S);
    Val at = k_index(k, S->dim[S->rd].start),
        end = k_index(k, form_add(form_mul(S->range, rows), form_c(rows)));
    if (rows_left(S))
        end = select_val(L, in_last(S), index_const(L, end, S->dim[S->rd].n), end);
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
        Val old = load_place(L, &S->out, xi, S->x->rank, S->env);
        u = math_op(L->k, op[S->combine], dt, dt, NULL, 2, (const Val[]){ old, u });
    }
    store_place(L, &S->out, xi, S->x->rank, S->env, u);
}

/* A part of the vectors' dimension: count vectors (or elements) from first on. */
typedef struct Range { bool vec; Form first; int64_t count; } Range;

static void update_window(Scatter *S, int d, Form *xi, const Range *v);

static void window_loop(Scatter *S, int d, Form *xi, const Range *v)
{
    const Dim *q = &S->dim[d];
    Form w = form_c(0);
    if (!v->count)
        return;
    if (v->count > 1)
        w = form_a(k_loop(S->L->k, "w", v->count, 0, NULL, NULL));
    w = form_add(v->vec ? form_add(form_mul(w, W), form_a(LANE)) : w, v->first);
    S->uidx[q->u] = w;
    xi[d] = form_add(q->start, w);
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
    const Dim *q = &S->dim[d];
    if (d == S->vd && q->shared_out)
        window_loop(S, d, xi, v);
    else if (d == S->vd) {
        window_loop(S, d, xi, &(Range){ true, form_c(0), q->window / W });
        window_loop(S, d, xi, &(Range){ false, form_c(q->window / W * W), q->window % W });
    } else if (q->kind == WINDOW && !q->shared_out)
        window_loop(S, d, xi, &(Range){ false, form_c(0), q->window });
    else {
        if (q->kind != INSERTED)
            S->uidx[q->u] = q->at;
        xi[d] = q->kind == INSERTED ? q->start : q->at;
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
        Dim *q = &S->dim[d];
        if (q->map < 0)
            continue;
        int64_t room = q->n - q->window, most = dtype_size(dt) == 8 ? INT64_MAX
            : ((int64_t)1 << (8 * dtype_size(dt) - dtype_signed(dt))) - 1;
        Form at[MAXRANK];
        int n = 0, nw;
        const int64_t *win = ins_attr(S->i, 0, &nw);
        for (int e = 0; e < S->u->rank; e++)
            if (find_in(win, nw, e) < 0)
                at[n++] = S->uidx[e];
        at[n] = form_c(q->map);
        Val s = eval_one(L, L->top, S->i->in[1], at, S->env);
        if (S->mode != 1) {
            if (dtype_signed(dt))
                c = and_val(L, c, k2(k, K_GE, DT_BOOL, s, k_bits(k, dt, 0)));
            if (room < most)
                c = and_val(L, c, k2(k, K_LE, DT_BOOL, s, k_bits(k, dt, room)));
        }
        q->start = k_value(k, index_of(L, s, dt, 0, room), 0, room);
    }
    return S->ranges > 1 ? in_range(S, c) : c;
}

static void update_position(Scatter *S, const Form *pos, const Range *v)
{
    for (int j = 0; j < S->npos; j++)
        S->uidx[S->pos[j]] = pos[j];
    for (int d = 0; d < S->x->rank; d++)
        if (S->dim[d].kind == BATCH)
            S->uidx[S->dim[d].u] = S->dim[d].at;
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
        store_place(L, &c->S->out, c->xi, c->S->x->rank, c->S->env, x);
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
    bool along = S->vd >= 0 && S->dim[S->vd].shared_out;
    for (int d = 0; d < S->x->rank; d++) {
        int64_t size = cut(S, d) ? rows : S->dim[d].n;
        xi[d] = S->dim[d].at;
        if (along && d == S->vd) {
            xi[d] = v->count > 1 ? form_a(k_loop(L->k, "c", v->count, 0, NULL, NULL)) : form_c(0);
            opened += v->count > 1;
            xi[d] = form_add(v->vec ? form_mul(xi[d], W) : xi[d], v->first);
            xi[d] = v->vec ? form_add(xi[d], form_a(LANE)) : xi[d];
        } else if (!S->dim[d].shared_out && along) {
            xi[d] = size > 1 ? form_a(k_loop(L->k, "c", size, 0, NULL, NULL)) : form_c(0);
            opened += size > 1;
            xi[d] = cut(S, d) ? form_add(xi[d], first) : xi[d];
        } else if (!S->dim[d].shared_out) {
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
    if (S->ranges == 1) {
        copy_rows(S, v, form_c(0), 0);
        return;
    }
    int64_t rows = rows_of_range(S);
    copy_rows(S, v, form_mul(S->range, rows), rows);
    if (rows_left(S)) {
        k_if(S->L->k, in_last(S));
        copy_rows(S, v, form_c(rows * S->ranges), rows_left(S));
        k_if_end(S->L->k, 0, NULL, NULL, NULL);
    }
}

static void scatter_part(Scatter *S, const Form *pos, const Range *v)
{
    Lower *L = S->L;
    if (!S->in_place)
        copy_part(S, v);
    if (S->spread) {
        update_position(S, pos, v);
        return;
    }
    if (!S->npositions || any_zero(S->u))
        return;
    int64_t dim[MAXRANK];
    Form f[MAXRANK], n = form_c(0);
    for (int j = 0; j < S->npos; j++)
        dim[j] = S->u->dim[S->pos[j]];
    if (S->npositions > 1)
        n = form_a(k_loop(L->k, "n", S->npositions, 0, NULL, NULL));
    form_unlinear(n, dim, S->npos, f);
    update_position(S, f, v);
    if (S->npositions > 1)
        k_loop_end(L->k, NULL, NULL);
}

void lower_scatter(Lower *L)
{
    const Spec *s = L->spec;
    const Ins *i = s->ins;
    const Graph *g = s->g;
    Scatter S = { .L = L, .i = i, .x = &g->type[i->in[0]], .ix = &g->type[i->in[1]], .u = &g->type[i->in[2]],
        .out = s->stored[i->out] };
    if (any_zero(S.x))
        return;
    read_dims(&S);
    S.mode = (int)ins_int(i, 5), S.combine = (int)ins_int(i, 6);
    S.env = env_new(0);
    S.in_place = frame_place(L->top, i->in[0]).buf == S.out.buf;
    S.spread = S.in_place && ins_int(i, 7) && !any_zero(S.u);
    if (S.in_place && any_zero(S.u))
        return;
    bool along = S.vd >= 0 && S.dim[S.vd].shared_out;
    int64_t vectors = along ? S.dim[S.vd].n / W : 0, tail = along ? S.dim[S.vd].n % W : 0, parts = 1;
    int64_t dim[3 * MAXRANK], n = 0, total = 1;
    int of[MAXRANK];
    for (int d = 0; d < S.x->rank; d++)
        if (S.dim[d].shared_out && d != S.vd)
            of[n] = d, dim[n++] = S.dim[d].n;
    int nd = (int)n;
    for (int j = 0; S.spread && j < S.npos; j++)
        dim[n++] = S.u->dim[S.pos[j]];
    for (int j = 0; j < n; j++)
        total *= dim[j];
    choose_ranges(&S, (double)total);
    /* the dimension of vectors: in parts, beside ranges in long ones */
    if (along) {
        parts = S.ranges > 1 ? vectors / L->m->scatter_vectors : vectors;
        for (parts = parts < 1               ? 1 :
                 parts < L->m->scatter_parts ? parts :
                                               L->m->scatter_parts;
             vectors % parts; parts--)
            ;
    }
    dim[n++] = S.ranges;
    dim[n++] = parts;
    total *= S.ranges * parts;
    Form f[3 * MAXRANK];
    Items it;
    Cost c = costs(&S);
    double share = (double)(S.ranges * parts);
    double per = S.spread ? (c.update + c.scan) / (double)S.npositions / share
        : (c.copy + c.update) / share + c.scan;
    form_unlinear(items_open(L, total, per > 8 ? per : 8, &it), dim, (int)n, f);
    for (int j = 0; j < nd; j++)
        S.dim[of[j]].at = f[j];
    S.range = f[n - 2];
    Form part = f[n - 1];
    Range v = { true, form_mul(part, vectors / parts * W), vectors / parts };
    scatter_part(&S, f + nd, &v);
    if (tail) {
        Val last = parts > 1 ? k_index(L->k, part) : 0;
        if (last)
            k_if(L->k, k2(L->k, K_EQ, DT_BOOL, last, index_const(L, last, parts - 1)));
        v = (Range){ false, form_c(vectors * W), tail };
        scatter_part(&S, f + nd, &v);
        if (last)
            k_if_end(L->k, 0, NULL, NULL, NULL);
    }
    items_close(L, &it);
}
