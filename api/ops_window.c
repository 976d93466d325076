/*
 * ops_window.c - windows: views of arrays, reductions over them, pooling.
 *
 * A window is a view: a broadcast along a new axis that is sheared (graph/ops/shear.c), of which a slice
 * takes every stride-th. What is done with it are ordinary reductions and products.
 */
#include "windows.h"

#include <string.h>

#include "control.h"
#include "reduce_with.h"

/* ==================== the view */

int64_t windows_span(const Windows *w, int k) { return (w->size.v[k] - 1) * w->dilation.v[k] + 1; }

static int64_t dilated(int64_t n, int64_t base) { return n ? (n - 1) * base + 1 : 0; }

int windows_check(const char *what, Ref x, Windows *w)
{
    const Type *t = typ(x);
    int more = 0;
    for (int k = 0; k < w->axis.n; k++) {
        const int64_t n = t->dim[w->axis.v[k]],
                      all[] = { w->size.v[k], w->stride.v[k], w->dilation.v[k], w->base.v[k] };
        static const char *const name[] = { "window", "stride", "dilation", "base_dilation" };
        for (int j = 0; j < 4; j++)
            if (all[j] < 1 || all[j] > INT32_MAX)
                return error_set(E_INVAL, "%s: %s has %lld for axis %lld of %s; it is 1 or more", what,
                    name[j], (long long)all[j], (long long)w->axis.v[k], type_text(t));
        if (w->lo.v[k] > INT32_MAX || w->lo.v[k] < -INT32_MAX || w->hi.v[k] > INT32_MAX ||
            w->hi.v[k] < -INT32_MAX)
            return error_set(E_INVAL,
                "%s: %lld and %lld elements of padding around axis %lld of %s are too many", what,
                (long long)w->lo.v[k], (long long)w->hi.v[k], (long long)w->axis.v[k], type_text(t));
        if (dilated(n, w->base.v[k]) + w->lo.v[k] + w->hi.v[k] < 0) /* cropped to nothing */
            w->lo.v[k] = 0, w->hi.v[k] = -dilated(n, w->base.v[k]);
        more += w->size.v[k] > 1;
    }
    if (t->rank + more <= MAXRANK)
        return 0;
    return error_set(E_SHAPE, "%s: %s seen through windows along %d axes would have more than %d axes", what,
        type_text(t), more, MAXRANK);
}

void windows_same(Ref x, Windows *w)
{
    for (int k = 0; k < w->axis.n; k++) {
        int64_t n = dilated(typ(x)->dim[w->axis.v[k]], w->base.v[k]), s = w->stride.v[k];
        int64_t more = ((n + s - 1) / s - 1) * s + windows_span(w, k) - n;
        more = more < 0 ? 0 : more;
        w->lo.v[k] = more / 2, w->hi.v[k] = more - more / 2;
    }
}

static Ints zeros(int n) { return (Ints){ .n = n }; }

/* Padding and dilation over all axes of x. */
static void padding(Ref x, const Windows *w, Ints *lo, Ints *hi, Ints *between)
{
    *lo = *hi = *between = zeros(typ(x)->rank);
    for (int k = 0; k < w->axis.n; k++) {
        int a = (int)w->axis.v[k];
        lo->v[a] = w->lo.v[k], hi->v[a] = w->hi.v[k], between->v[a] = w->base.v[k] - 1;
    }
}

Ref window_view(Ref x, const Windows *w, Ref fill, int *place)
{
    Ints lo, hi, between, shape, step = zeros(0);
    if (!x)
        return 0;
    int rank = typ(x)->rank, at = rank;
    padding(x, w, &lo, &hi, &between);
    if (!(x = Pad(x, fill, lo, hi, between)))
        return 0;
    shape = shape_of(x);
    for (int k = 0; k < w->axis.n; k++) {
        place[k] = w->size.v[k] > 1 ? at++ : -1;
        if (place[k] > 0)
            shape.v[shape.n++] = w->size.v[k];
    }
    x = Broadcast(x, shape, ints_run(0, rank));
    for (int k = 0; k < w->axis.n; k++)
        if (place[k] > 0)
            x = Shear(x, (int)w->axis.v[k], place[k], w->dilation.v[k]);
    if (!x)
        return 0;
    for (; step.n < at; step.n++)
        step.v[step.n] = 1;
    for (int k = 0; k < w->axis.n; k++)
        step.v[w->axis.v[k]] = w->stride.v[k];
    return Slice(x, zeros(at), shape_of(x), step);
}

Ref window_sum(Ref y, const Windows *w, Ints shape)
{
    int rank = shape.n;
    Ints lo, hi, between, axes = zeros(0);
    if (!y)
        return 0;
    Ref zero = Const((Dtype)typ(y)->dt, 0);
    for (int k = w->axis.n - 1, at = typ(y)->rank; k >= 0 && y; k--) {
        int a = (int)w->axis.v[k];
        int64_t all = dilated(shape.v[a], w->base.v[k]) + w->lo.v[k] + w->hi.v[k],
                reach = windows_span(w, k) - 1;
        int64_t m = typ(y)->dim[a], room = all - reach - dilated(m, w->stride.v[k]);
        lo = hi = between = zeros(typ(y)->rank);
        lo.v[a] = hi.v[a] = reach, between.v[a] = w->stride.v[k] - 1;
        hi.v[a] += room;
        y = Pad(y, zero, lo, hi, between);
        if (w->size.v[k] > 1)
            axes.v[axes.n++] = --at, y = Shear(y, a, at, -w->dilation.v[k]);
    }
    y = y && axes.n ? Sum(y, axes) : y;
    if (!y)
        return 0;
    /* what padding held goes, what was cropped is zero, dilation is left out */
    Ints front = zeros(rank), back = front, none = front, start = front, limit = shape, step = shape;
    for (int d = 0; d < rank; d++)
        step.v[d] = 1;
    for (int k = 0; k < w->axis.n; k++) {
        int a = (int)w->axis.v[k];
        front.v[a] = -w->lo.v[k], back.v[a] = -w->hi.v[k];
        limit.v[a] = dilated(shape.v[a], w->base.v[k]), step.v[a] = w->base.v[k];
    }
    return Slice(Pad(y, zero, front, back, none), start, limit, step);
}

/* ==================== options: lists for the last axes */

int window_list(const char *what, const char *name, hd_ints list, int axes, int each, Ints *out)
{
    if (ints_in(what, list, out))
        return E_INVAL;
    for (; !list.n && out->n < axes * each; out->n++)
        out->v[out->n] = each == 1;
    if (out->n == axes * each)
        return 0;
    return error_set(E_INVAL, "%s: %s is a list of %d, not %d: %s for each axis of the windows", what, name,
        out->n, axes * each, each > 1 ? "a low and a high number" : "a number");
}

/* 0 after an error. */
static Ref windows_in(const char *what, hd x, const hd_window_opts *o, Windows *w)
{
    Ints pad;
    Ref r = sym_ref(x);
    if (!r || ints_in(what, o->window, &w->size))
        return 0;
    int rank = typ(r)->rank, n = w->size.n;
    if (n < 1 || n > rank)
        return error_set(E_INVAL,
                   "%s: window has %d sizes, for the last axes of %s, which has %d; give it as .window = { "
                   "2, 2 }",
                   what, n, type_text(typ(r)), rank),
               0;
    w->axis = ints_run(rank - n, rank);
    if (window_list(what, "stride", o->stride, n, 1, &w->stride) ||
        window_list(what, "dilation", o->dilation, n, 1, &w->dilation) ||
        window_list(what, "base_dilation", o->base_dilation, n, 1, &w->base) ||
        window_list(what, "pad", o->pad, n, 2, &pad))
        return 0;
    w->lo = w->hi = zeros(n);
    for (int k = 0; k < n; k++)
        w->lo.v[k] = pad.v[2 * k], w->hi.v[k] = pad.v[2 * k + 1];
    if (windows_check(what, r, w))
        return 0;
    if (o->same)
        windows_same(r, w);
    return r;
}

hd hd_windows_n(hd x, const hd_window_opts *o)
{
    Windows w;
    int place[MAXRANK];
    OP(hd_windows_n);
    OPTIONS(hd_window_opts, o);
    Ref r = windows_in("hd_windows", x, o, &w);
    Ref y = r ? window_view(r, &w, Const((Dtype)typ(r)->dt, 0), place) : 0;
    if (!y)
        return HD_NIL;
    Ints shape = ints_run(0, 0); /* a size of 1 has its axis too */
    for (int d = 0; d < typ(r)->rank; d++)
        shape.v[shape.n++] = typ(y)->dim[d];
    if (typ(r)->rank + w.size.n > MAXRANK)
        return error_set(E_SHAPE, "hd_windows: %s with %d window axes has more than %d axes",
                   type_text(typ(r)), w.size.n, MAXRANK),
               HD_NIL;
    for (int k = 0; k < w.size.n; k++)
        shape.v[shape.n++] = w.size.v[k];
    return sym_of(Reshape(y, shape));
}

/* ==================== reductions */

static Ints window_axes(const Windows *w, const int *place)
{
    Ints axes = zeros(0);
    for (int k = 0; k < w->axis.n; k++)
        if (place[k] > 0)
            axes.v[axes.n++] = place[k];
    return axes;
}

static Ref reduce_windows(Op op, Ref x, const Windows *w)
{
    int place[MAXRANK];
    Ref y = window_view(x, w, reduction_identity(op, (Dtype)typ(x)->dt), place);
    Ints axes = window_axes(w, place);
    return y && axes.n ? Reduce(op, y, axes) : y;
}

/* Of each window the element that wins, as a mask over the view: of those that are equal the first; an
 * element of padding never does. A constant for derivatives. */
static Ref winner(Op op, Ref x, const Windows *w)
{
    int place[MAXRANK];
    x = stop_gradient(x);
    Type mask = *typ(x), position;
    mask.dt = DT_BOOL;
    Ref all = window_view(x, w, reduction_identity(op, (Dtype)typ(x)->dt), place);
    Ref hit = window_view(Full(mask, 1), w, Const(DT_BOOL, 0), place);
    Ints axes = window_axes(w, place);
    if (!all || !axes.n)
        return hit;
    Ref most = spread(Reduce(op, all, axes), axes, all), wins = Eq(all, most);
    if (dtype_float((Dtype)typ(x)->dt))
        wins = Or(wins, Ne(all, all)); /* where one is nan, the largest is nan */
    hit = And(hit, wins);
    position = *typ(all), position.dt = DT_I32;
    Ref at = Full(position, 0);
    for (int k = 0; k < axes.n; k++)
        at = Add(Mul(at, Like(at, (double)position.dim[axes.v[k]])), Iota(position, (int)axes.v[k]));
    Ref first = Reduce(OP_reduce_min, Select(hit, at, Like(at, INT32_MAX)), axes);
    return Eq(at, spread(first, axes, at));
}

/* Of each window the element of t where x wins. */
static Ref gathered(Op op, Ref x, Ref t, const Windows *w)
{
    int place[MAXRANK];
    Ref all = window_view(t, w, Const((Dtype)typ(t)->dt, 0), place);
    Ref kept_ones = all ? Select(winner(op, x, w), all, Like(all, 0)) : 0;
    Ints axes = window_axes(w, place);
    return kept_ones && axes.n ? Sum(kept_ones, axes) : kept_ones;
}

/* The derivative of a largest element is that of the first that is it, not a share of all. */
typedef struct Extreme {
    Windows w;
    Op op;
} Extreme;

static hd extreme(hd x, const void *env)
{
    const Extreme *e = env;
    Ref r = sym_ref(x);
    return r ? sym_of(reduce_windows(e->op, r, &e->w)) : HD_NIL;
}

static hd extreme_jvp(hd x, hd t, const void *env)
{
    const Extreme *e = env;
    Ref r = sym_ref(x), d = hd_ok(t) ? sym_ref(t) : 0;
    const hd both[] = { extreme(x, env), d ? sym_of(gathered(e->op, r, d, &e->w)) : HD_NIL };
    return hd_tuple_n(both, 2);
}

static hd extremes(Op op, Ref x, const Windows *w)
{
    Extreme e;
    memset(&e, 0, sizeof e); /* its bytes are the function's identity */
    e.w = *w, e.op = op;
    if (!dtype_float((Dtype)typ(x)->dt))
        return sym_of(reduce_windows(op, x, w));
    hd_fn *f = hd_function_(101, (uintptr_t)extreme, "extreme of windows", &e, sizeof e);
    hd_fn *rule = hd_function_(102, (uintptr_t)extreme_jvp, "its derivative", &e, sizeof e);
    hd_fn *both = hd_custom_jvp_n(f, rule);
    hd v = sym_of(x);
    return both ? apply(both, &v, 1) : HD_NIL;
}

/* ---- any other function: pairs of an element and whether it is one of the array */

typedef struct Masked {
    hd_fn *f;
} Masked;

static hd masked(hd a, hd b, const void *env)
{
    const hd pair[] = { hd_nth(a, 0), hd_nth(b, 0) };
    hd z = apply(((const Masked *)env)->f, pair, 2), is_a = hd_nth(a, 1), is_b = hd_nth(b, 1);
    const hd both[] = { hd_where(is_a, hd_where(is_b, z, pair[0]), pair[1]), hd_or(is_a, is_b) };
    return hd_ok(z) ? hd_tuple_n(both, 2) : HD_NIL;
}

/* The window axes, which are the last, in front and as one; the others as one behind. */
static Ref positions_first(Ref y, int rank)
{
    int64_t n = 1, m = 1;
    for (int d = 0; y && d < typ(y)->rank; d++)
        *(d < rank ? &m : &n) *= typ(y)->dim[d];
    return y ? Transpose(Reshape(y, (Ints){ 2, { m, n } }), (Ints){ 2, { 1, 0 } }) : 0;
}

static hd combine_windows(hd_fn *f, Ref init, Ref x, const Windows *w)
{
    int place[MAXRANK], rank = typ(x)->rank;
    Type mask = *typ(x), number = type_scalar((Dtype)mask.dt), flag = type_scalar(DT_BOOL);
    mask.dt = DT_BOOL;
    Ref all = window_view(x, w, Const((Dtype)typ(x)->dt, 0), place);
    if (!all)
        return HD_NIL;
    Ints shape = shape_of(all);
    shape.n = rank;
    Ref r[] = { positions_first(all, rank),
        positions_first(window_view(Full(mask, 1), w, Const(DT_BOOL, 0), place), rank) };
    const Tree *leaf[] = { tree_leaf(&number), tree_leaf(&flag) };
    Masked m = { f };
    hd_fn *both = hd_function_(102, (uintptr_t)masked, fn_name(f), &m, sizeof m);
    if (!both || !r[1] || combine_rows(both, tree_tuple(leaf, 2), r))
        return HD_NIL;
    hd_fn *over = hd_vmap_n(f, &(const hd_vmap_opts){ .in_axes = { HD_NONE, 0 } });
    const hd pair[] = { sym_of(init), sym_of(r[0]) };
    Ref z = over ? sym_ref(apply(over, pair, 2)) : 0;
    return z ? sym_of(Reshape(choose(r[1], z, init), shape)) : HD_NIL;
}

hd hd_reduce_window_n(hd_fn *f, hd init, hd x, const hd_window_opts *o)
{
    static const char what[] = "hd_reduce_window";
    Windows w;
    Ref both[2];
    OP(hd_reduce_window_n);
    OPTIONS(hd_window_opts, o);
    if (!fn_in(what, f) || !windows_in(what, x, o, &w) ||
        unify_dtype(what, 2, (const hd[]){ init, x }, both))
        return HD_NIL;
    if (typ(both[0])->rank)
        return error_set(E_SHAPE, "%s: the value to begin with is one number, not %s", what,
                   type_text(typ(both[0]))),
               HD_NIL;
    Type number = type_scalar((Dtype)typ(both[1])->dt);
    const Traced *t = combining(what, f, tree_leaf(&number));
    Op op = t ? reduction_of(t, 0) : OP_COUNT;
    if (!t || op == OP_COUNT)
        return t ? combine_windows(f, both[0], both[1], &w) : HD_NIL;
    bool largest = op == OP_reduce_max || op == OP_reduce_min;
    hd y = largest ? extremes(op, both[1], &w) : sym_of(reduce_windows(op, both[1], &w));
    return hd_ok(y) ? sym_of(with_init(op, both[0], sym_ref(y))) : HD_NIL;
}

/* ==================== pooling */

hd hd_max_pool_n(hd x, const hd_window_opts *o)
{
    Windows w;
    OP(hd_max_pool_n);
    OPTIONS(hd_window_opts, o);
    Ref r = windows_in("hd_max_pool", x, o, &w);
    return r ? extremes(OP_reduce_max, r, &w) : HD_NIL;
}

hd hd_min_pool_n(hd x, const hd_window_opts *o)
{
    Windows w;
    OP(hd_min_pool_n);
    OPTIONS(hd_window_opts, o);
    Ref r = windows_in("hd_min_pool", x, o, &w);
    return r ? extremes(OP_reduce_min, r, &w) : HD_NIL;
}

hd hd_avg_pool_n(hd x, const hd_window_opts *o)
{
    static const char what[] = "hd_avg_pool";
    Windows w;
    double n = 1;
    OP(hd_avg_pool_n);
    OPTIONS(hd_window_opts, o);
    Ref r = windows_in(what, x, o, &w), y = r ? float_ref(what, x) : 0;
    for (int k = 0; y && k < w.size.n; k++)
        n *= (double)w.size.v[k];
    y = y ? reduce_windows(OP_reduce_sum, y, &w) : 0;
    return y ? sym_of(Div(y, Like(y, n))) : HD_NIL;
}

/* ==================== select and scatter */

static hd select_and_scatter(const char *what, Op op, hd source, hd x, const hd_window_opts *o)
{
    Windows w;
    Ref both[2];
    if (!windows_in(what, x, o, &w) || unify_dtype(what, 2, (const hd[]){ source, x }, both))
        return HD_NIL;
    Ref mask = winner(op, both[1], &w);
    if (!mask)
        return HD_NIL;
    Ints shape = shape_of(mask), want = shape;
    want.n = typ(both[1])->rank;
    Type t = type_of((Dtype)typ(both[0])->dt, want.n, want.v);
    if (!type_equal(&t, typ(both[0])))
        return error_set(E_SHAPE,
                   "%s: %s seen through these windows has shape %s, so the source has it too, not %s", what,
                   type_text(typ(both[1])), type_text(&t), type_text(typ(both[0]))),
               HD_NIL;
    Ref each = Broadcast(both[0], shape, ints_run(0, want.n));
    return each ? sym_of(window_sum(Select(mask, each, Like(each, 0)), &w, shape_of(both[1]))) : HD_NIL;
}

hd hd_select_and_scatter_max_n(hd source, hd x, const hd_window_opts *o)
{
    OP(hd_select_and_scatter_max_n);
    OPTIONS(hd_window_opts, o);
    return select_and_scatter("hd_select_and_scatter_max", OP_reduce_max, source, x, o);
}

hd hd_select_and_scatter_min_n(hd source, hd x, const hd_window_opts *o)
{
    OP(hd_select_and_scatter_min_n);
    OPTIONS(hd_window_opts, o);
    return select_and_scatter("hd_select_and_scatter_min", OP_reduce_min, source, x, o);
}
