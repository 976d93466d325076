/*
 * gather.c - gather and scatter, with the dimension numbers of StableHLO.
 *
 * Index vectors lie in the last axis of indices; its other axes are places. At a place, map says which axis
 * of x each entry indexes; batch axes of x follow a place's own position. So a place names a window of x.
 * gather copies windows out, scatter combines windows of updates in; both keep a window's axes at the
 * positions `window` of the outer array, without the dropped (collapsed, inserted) and batch axes, which
 * have size 1. A window that leaves x is moved inside (clip), or left out whole: filled by gather, dropped
 * by scatter. Each is the other's transpose: gather adds its cotangent through scatter to what is there, in
 * place.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops.h"

enum { CLIP = 1, FILL = 2, INSIDE = 3 };

typedef struct Dims {
    Ints window, dropped, map, xb, ib;
    Ints sizes;                                 /* of a window, by axis of x */
    int64_t mode;
} Dims;

static Dims dims_of(const Ins *i)
{
    if (i->op == OP_gather)
        return (Dims){ ins_ints(i, ATTR(gather, offset_dims)), ins_ints(i, ATTR(gather, collapsed)),
            ins_ints(i, ATTR(gather, start_map)), ins_ints(i, ATTR(gather, x_batch)),
            ins_ints(i, ATTR(gather, indices_batch)), ins_ints(i, ATTR(gather, sizes)),
            ins_int(i, ATTR(gather, mode)) };
    return (Dims){ ins_ints(i, ATTR(scatter, window_dims)), ins_ints(i, ATTR(scatter, inserted)),
        ins_ints(i, ATTR(scatter, scatter_map)), ins_ints(i, ATTR(scatter, x_batch)),
        ins_ints(i, ATTR(scatter, indices_batch)), .mode = ins_int(i, ATTR(scatter, mode)) };
}

/* The axes of x that a window keeps. */
static Ints kept_axes(const Dims *d, int rank) { return ints_others(rank, ints_concat(d->dropped, d->xb)); }

/* The window sizes of a scatter are those of its updates. */
static Ints update_sizes(const Dims *d, const Type *x, const Type *u)
{
    Ints sizes = ints_fill(x->rank, 1), kept = kept_axes(d, x->rank);
    for (int k = 0; k < kept.n; k++)
        sizes.v[kept.v[k]] = u->dim[d->window.v[k]];
    return sizes;
}

static Ref emit_gather(Ref x, Ref index, const Dims *d)
{
    Attr a = { 0 };
    const Ints *list[] = { &d->window, &d->dropped, &d->map, &d->xb, &d->ib, &d->sizes };
    for (int k = 0; k < 6; k++)
        attr_list(&a, list[k]->v, list[k]->n);
    attr_int(&a, d->mode);
    return emit(OP_gather, 2, (const Ref[]){ x, index }, &a);
}

static Ref emit_scatter(Ref x, Ref index, Ref u, const Dims *d, Join combine, bool unique)
{
    Attr a = { 0 };
    const Ints *list[] = { &d->window, &d->dropped, &d->map, &d->xb, &d->ib };
    for (int k = 0; k < 5; k++)
        attr_list(&a, list[k]->v, list[k]->n);
    attr_int(&a, d->mode), attr_int(&a, combine), attr_int(&a, unique);
    return emit(OP_scatter, 3, (const Ref[]){ x, index, u }, &a);
}

/* ==================== checks */

static int overlap(Op op, const Type *x, const char *what, Ints a, const char *other, Ints b)
{
    for (int k = 0; k < a.n; k++)
        if (ints_has(&b, a.v[k]))
            return error_set(E_SHAPE, "%s: axis %lld of %s is both %s %s and %s %s; it can be one",
                optab[op].name, (long long)a.v[k], type_text(x), what, ints_text(a), other, ints_text(b));
    return 0;
}

/* outer: the array that holds the windows; its rank and window positions must fit. */
static int dims_check(Op op, const Type *x, const Type *index, const Dims *d, int outer)
{
    const char *name = optab[op].name;
    int e;
    if ((e = ops_index_type(op, index)))
        return e;
    if (!index->rank)
        return error_set(E_SHAPE,
            "%s: indices are a scalar; an index vector lies in their last axis: reshape to "
            "[1]",
            name);
    if (d->mode < CLIP || d->mode > INSIDE)
        return error_set(
            E_INVAL, "%s: mode %lld; it is 1 clip, 2 fill or drop, 3 in bounds", name, (long long)d->mode);
    if (index->dim[index->rank - 1] != d->map.n)
        return error_set(E_SHAPE,
            "%s: index vectors of %s have %lld entries, but %d axes of %s are indexed, %s", name,
            type_text(index), (long long)index->dim[index->rank - 1], d->map.n, type_text(x),
            ints_text(d->map));
    if ((e = ops_axes(op, "indexed axes", x, d->map)) || (e = ops_axes(op, "dropped axes", x, d->dropped)) ||
        (e = ops_axes(op, "batch axes", x, d->xb)) || (e = ops_rising(op, "dropped axes", d->dropped)) ||
        (e = ops_rising(op, "batch axes", d->xb)) || (e = ops_rising(op, "window axes", d->window)) ||
        (e = overlap(op, x, "a batch axis", d->xb, "dropped", d->dropped)) ||
        (e = overlap(op, x, "a batch axis", d->xb, "indexed", d->map)))
        return e;
    Type places = type_of(DT_I32, index->rank - 1, index->dim);
    if ((e = ops_axes(op, "batch axes of the places", &places, d->ib)))
        return e;
    if (d->xb.n != d->ib.n)
        return error_set(E_SHAPE, "%s: batch axes %s of %s and %s of the indices %s come in pairs", name,
            ints_text(d->xb), type_text(x), ints_text(d->ib), type_text(index));
    for (int k = 0; k < d->xb.n; k++)
        if (x->dim[d->xb.v[k]] != index->dim[d->ib.v[k]])
            return error_set(E_SHAPE,
                "%s: batch axis %lld of %s and axis %lld of the indices %s differ in size", name,
                (long long)d->xb.v[k], type_text(x), (long long)d->ib.v[k], type_text(index));
    Ints kept = kept_axes(d, x->rank);
    if (kept.n != d->window.n)
        return error_set(E_SHAPE,
            "%s: windows of %s keep %d axes (all but dropped %s and batch %s), but %d "
            "positions %s are given for them",
            name, type_text(x), kept.n, ints_text(d->dropped), ints_text(d->xb), d->window.n,
            ints_text(d->window));
    for (int k = 0; k < d->window.n; k++)
        if (d->window.v[k] < 0 || d->window.v[k] >= outer)
            return error_set(E_SHAPE, "%s: window axes %s do not fit into an array of %d axes", name,
                ints_text(d->window), outer);
    return 0;
}

static int gather_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    struct gather_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e)
        return e;
    Dims d = { a.offset_dims, a.collapsed, a.start_map, a.x_batch, a.indices_batch, a.sizes, a.mode.v[0] };
    const Type *x = t[0], *index = t[1];
    int rank = index->rank - 1 + d.window.n;
    if ((e = dims_check(op, x, index, &d, rank)))
        return e;
    if (rank > MAXRANK)
        return error_set(E_SHAPE, "gather: windows of %s at %s would have %d axes; at most %d are possible",
            type_text(x), type_text(index), rank, MAXRANK);
    if (d.sizes.n != x->rank)
        return error_set(E_SHAPE, "gather: %s has %d axes, but a window has %d sizes, %s; give one an axis",
            type_text(x), x->rank, d.sizes.n, ints_text(d.sizes));
    for (int k = 0; k < x->rank; k++) {
        bool batch = ints_has(&d.xb, k), one = batch || ints_has(&d.dropped, k);
        if (one && d.sizes.v[k] != 1)
            return error_set(E_SHAPE,
                "gather: the window has size %lld along axis %d of %s, which is dropped; "
                "only size 1 can be",
                (long long)d.sizes.v[k], k, type_text(x));
        if (!batch && (d.sizes.v[k] < 0 || d.sizes.v[k] > x->dim[k]))
            return error_set(E_SHAPE,
                "gather: a window of size %lld along axis %d does not fit into %s; allowed "
                "are 0 to %lld",
                (long long)d.sizes.v[k], k, type_text(x), (long long)x->dim[k]);
    }
    Ints shape = ints_fill(rank, 0), places = ints_others(rank, d.window), kept = kept_axes(&d, x->rank);
    for (int k = 0; k < places.n; k++)
        shape.v[places.v[k]] = index->dim[k];
    for (int k = 0; k < kept.n; k++)
        shape.v[d.window.v[k]] = d.sizes.v[kept.v[k]];
    return ops_result(op, out, (Dtype)x->dt, shape);
}

static int scatter_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    struct scatter_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e)
        return e;
    Dims d = { a.window_dims, a.inserted, a.scatter_map, a.x_batch, a.indices_batch, .mode = a.mode.v[0] };
    const Type *x = t[0], *index = t[1], *u = t[2];
    int64_t combine = a.combine.v[0];
    if (combine < J_SET || combine > J_MAX || (a.unique.v[0] != 0 && a.unique.v[0] != 1))
        return error_set(
            E_INVAL, "scatter: combine is 0 set, 1 add, 2 mul, 3 min, 4 max, and unique 0 or 1");
    if (x->dt != u->dt)
        return error_set(E_DTYPE,
            "scatter: the operand is %s, the updates are %s; convert them to one dtype", type_text(x),
            type_text(u));
    if (combine != J_SET && dtype_stored((Dtype)x->dt))
        return error_set(E_DTYPE,
            "scatter: %s: its elements are set, not combined: it is for storage; convert it with hd_cast",
            type_text(x));
    if (combine != J_SET && x->dt == DT_KEY)
        return error_set(
            E_DTYPE, "scatter: %s: random keys are set, not combined: they are no numbers", type_text(x));
    if (combine == J_MUL && ops_class((Dtype)x->dt) == CL_COMPLEX)
        return error_set(E_DTYPE,
            "scatter: %s: products of complex numbers are not made in place, as both parts of each depend "
            "on both; gather, multiply and set, where no place is met twice",
            type_text(x));
    if (combine >= J_MIN && ops_class((Dtype)x->dt) == CL_COMPLEX)
        return error_set(
            E_DTYPE, "scatter: %s: complex numbers have no order; use their parts", type_text(x));
    if ((e = dims_check(op, x, index, &d, u->rank)))
        return e;
    Ints places = ints_others(u->rank, d.window), kept = kept_axes(&d, x->rank);
    bool fits = places.n == index->rank - 1;
    for (int k = 0; fits && k < places.n; k++)
        fits = u->dim[places.v[k]] == index->dim[k];
    if (!fits)
        return error_set(E_SHAPE,
            "scatter: updates %s with window axes %s do not have the places of the indices "
            "%s (all but their last axis)",
            type_text(u), ints_text(d.window), type_text(index));
    for (int k = 0; k < kept.n; k++)
        if (u->dim[d.window.v[k]] > x->dim[kept.v[k]])
            return error_set(E_SHAPE,
                "scatter: windows of the updates %s are larger than axis %lld of %s; %lld is "
                "too much",
                type_text(u), (long long)kept.v[k], type_text(x), (long long)u->dim[d.window.v[k]]);
    *out = *x;
    return 0;
}

/* ==================== reading windows, zero where they are left out */

/* bool, by place: does the window lie inside x? 0: it always does. */
static Ref inside(Ref x, Ref index, const Dims *d)
{
    Type t = *typ(index), row = type_of((Dtype)t.dt, 1, (const int64_t[]){ d->map.n });
    size_t size = dtype_size((Dtype)t.dt);
    if (d->mode != FILL || !d->map.n)
        return 0;
    char *limit = NEWS(char, size * (size_t)d->map.n);
    int64_t most = ops_identity(J_MIN, (Dtype)t.dt).i;
    for (int k = 0; k < d->map.n; k++) {
        int64_t v = typ(x)->dim[d->map.v[k]] - d->sizes.v[d->map.v[k]];
        dtype_store_i((Dtype)t.dt, limit + (size_t)k * size, t.dt != DT_U64 && v > most ? most : v);
    }
    Ints last = ints_fill(1, t.rank - 1);
    Ref below = Le(index, Broadcast(Data(row, limit), type_shape(&t), last));
    return Reduce(OP_reduce_and, And(Ge(index, Zeros(&t)), below), last);
}

static Ref gather_zero(Ref x, Ref index, const Type *result, Dims d)
{
    if (!x || !index)
        return 0;
    for (int k = 0; k < d.dropped.n; k++)
        if (!typ(x)->dim[d.dropped.v[k]])
            return Zeros(result);                       /* no window of size 1 lies inside an empty axis */
    Ref mask = inside(x, index, &d);
    d.mode = d.mode == FILL ? CLIP : d.mode;
    Ref y = emit_gather(x, index, &d);
    Ints places = ints_others(result->rank, d.window);
    return mask ? Select(Broadcast(mask, type_shape(result), places), y, Zeros(result)) : y;
}

/* In three axes, before, at and after: so any rank has room for the index vector. */
Ref ops_take_along(Ref x, Ref index, int axis)
{
    if (!x || !index)
        return 0;
    Type t = *typ(x), u = *typ(index), result = u;
    result.dt = t.dt;
    int64_t before = 1, after = 1, n = t.dim[axis], m = u.dim[axis];
    if (!type_size(&result))
        return Zeros(&result);
    for (int d = 0; d < t.rank; d++)
        *(d < axis ? &before : &after) *= d == axis ? 1 : t.dim[d];
    Dims d = {
        .dropped = ints_fill(1, 1), .map = ints_fill(1, 1), .sizes = ints_fill(3, 1), .mode = CLIP,
        .xb = { 2, { 0, 2 } }, .ib = { 2, { 0, 2 } },
    };
    Ints table = { 3, { before, n, after } }, places = { 4, { before, m, after, 1 } };
    Ref y = emit_gather(Reshape(x, table), Reshape(index, places), &d);
    return Reshape(y, type_shape(&result));
}

/* ==================== derivatives */

static void gather_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    tz[0] = t[0] ? gather_zero(t[0], x[1], typ(z[0]), dims_of(i)) : 0;
}

static void gather_transpose(const Ins *i, const Ref *ct, Cts *cts)
{
    Dims d = dims_of(i);
    Type t = *typ(i->in[0]);
    Ref so_far = ct_get(cts, i->in[0]);
    Ref ct0 = ct_like(cts, i->in[0], ct[0]);
    ct_set(cts, i->in[0], emit_scatter(so_far ? so_far : Zeros(&t), i->in[1], ct0, &d, J_ADD, false));
}

static Ref mask(Ref hit, Ref v) { return Select(hit, v, Like(v, 0)); }

static Ref flags(Ref hit, const Type *t) { return Select(hit, Full(*t, 1), Zeros(t)); }

/* Each update is numbered from 1. The numbers are scattered too, so an element knows whose value it has (0:
 * its own), and an update whether it is there: a sum of what is there, in place of an order of writing. */
static Ref set_jvp(const Ref *x, const Ref *t, const Dims *d)
{
    Type xt = *typ(x[0]), ut = *typ(x[2]), it = *typ(x[1]), list = type_of(DT_I32, it.rank - 1, it.dim);
    int64_t n = type_size(&list);
    Dtype dt = type_counter(n);
    list = type_of(dt, 1, &n);
    xt.dt = dt;
    Ref number = Add(Iota(list, 0), Full(list, 1)), own = 0;
    number = Reshape(number, ints_of(it.dim, it.rank - 1));
    number = Broadcast(number, type_shape(&ut), ints_others(ut.rank, d->window));
    Ref whose = emit_scatter(Zeros(&xt), x[1], number, d, J_SET, false);
    xt.dt = ut.dt;
    own = t[0] ? mask(Eq(whose, Like(whose, 0)), t[0]) : Zeros(&xt);
    ut.dt = dt;
    Ref there = Eq(gather_zero(whose, x[1], &ut, *d), number);
    return emit_scatter(own, x[1], mask(there, t[1]), d, J_ADD, false);
}

/* Equal shares over all that attain the extreme: the operand's element counts as one. */
static Ref extreme_jvp(const Ref *x, const Ref *t, Ref z, const Dims *d)
{
    Type xt = *typ(x[0]), ut = *typ(x[2]);
    Ref own = Eq(x[0], z), theirs = Eq(x[2], gather_zero(z, x[1], &ut, *d));
    Ref in = inside(x[0], x[1], d);
    if (in)
        theirs = And(theirs, Broadcast(in, type_shape(&ut), ints_others(ut.rank, d->window)));
    Ref count = emit_scatter(flags(own, &xt), x[1], flags(theirs, &ut), d, J_ADD, false);
    Ref sum = emit_scatter(
        mask(own, or_zero(t[0], x[0])), x[1], mask(theirs, or_zero(t[2], x[2])), d, J_ADD, false);
    return Div(sum, count);
}

static Ref mul_jvp(const Ref *x, const Ref *t, const Dims *d, bool unique)
{
    if (t[2] && !unique) {
        error_set(E_DIFF,
            "scatter: the derivative of a product by its updates needs to know that every element "
            "has one update; say that indices are unique, or scatter-add logarithms");
        return 0;
    }
    Type xt = *typ(x[0]);
    Ref u = t[0] ? Mul(t[0], emit_scatter(Full(xt, 1), x[1], x[2], d, J_MUL, unique)) : 0;
    Ref v = t[2] ? Mul(x[0], emit_scatter(Zeros(&xt), x[1], t[2], d, J_ADD, unique)) : 0;
    return u && v ? Add(u, v) : u ? u : v;
}

static void scatter_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    Dims d = dims_of(i);
    Join combine = (Join)ins_int(i, ATTR(scatter, combine));
    bool unique = ins_int(i, ATTR(scatter, unique));
    d.sizes = update_sizes(&d, typ(x[0]), typ(x[2]));
    if (combine == J_MUL)
        tz[0] = mul_jvp(x, t, &d, unique);
    else if (combine == J_MIN || combine == J_MAX)
        tz[0] = extreme_jvp(x, t, z[0], &d);
    else if (combine == J_ADD && !t[2])
        tz[0] = t[0];
    else if (combine == J_ADD || unique || !t[2])
        tz[0] = emit_scatter(or_zero(t[0], x[0]), x[1], or_zero(t[2], x[2]), &d, combine, unique);
    else
        tz[0] = set_jvp(x, (const Ref[]){ t[0], t[2] }, &d);
}

static void scatter_transpose(const Ins *i, const Ref *ct, Cts *cts)
{
    Dims d = dims_of(i);
    Type u = *typ(i->in[2]);
    Join combine = (Join)ins_int(i, ATTR(scatter, combine));
    bool unique = ins_int(i, ATTR(scatter, unique)), lx = graph_lin(cur(), i->in[0]),
         lu = graph_lin(cur(), i->in[2]);
    d.sizes = update_sizes(&d, typ(i->in[0]), &u);
    if (combine >= J_MIN || (lu && combine == J_MUL) || (lu && combine == J_SET && !unique)) {
        error_set(E_DIFF,
            "scatter: combining by %s is not linear in what it was given here, and has no transpose",
            combine == J_SET     ? "set, with indices that may repeat," :
                combine == J_MUL ? "mul" :
                combine == J_MIN ? "min" :
                                   "max");
        return;
    }
    if (lx)
        ct_add(cts, i->in[0], combine == J_ADD ? ct[0] : emit_scatter(ct[0], i->in[1],
            combine == J_SET ? Zeros(&u) : i->in[2], &d, combine, unique));
    if (lu)
        ct_add(cts, i->in[2], gather_zero(ct[0], i->in[1], &u, d));
}

/* ==================== lanes: batch axes if both have them, else a window axis or one more axis of places */

static void gather_batch(const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    Dims d = dims_of(i);
    bool sx = s[0] == STACKED, si = s[1] == STACKED;
    out[0] = 0;
    so[0] = STACKED;
    if (!ops_room(OP_gather, typ(x[1])->rank - si - 1 + d.window.n))
        return;
    d.window = ints_up(d.window);
    if (si)
        d.ib = ints_up(d.ib);
    if (sx) {
        d.dropped = ints_up(d.dropped), d.map = ints_up(d.map), d.xb = ints_up(d.xb);
        d.sizes = ints_lead(si ? 1 : ax->lane.size, d.sizes);
    }
    if (sx && si)
        d.xb = ints_lead(0, d.xb), d.ib = ints_lead(0, d.ib);
    else if (sx)
        d.window = ints_lead(0, d.window);
    out[0] = emit_gather(x[0], x[1], &d);
}

/* What all lanes add to one accumulator: lanes are one more axis of places, and idle ones add zero. */
static void scatter_batch(
    const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    int64_t n = ax->lane.size;
    Dims d = dims_of(i);
    Join combine = (Join)ins_int(i, ATTR(scatter, combine));
    bool summed = s[0] == SUMMED, acc = summed || graph_acc(cur(), x[0]), si = summed || s[1] == STACKED;
    Ref u = acc && combine == J_ADD ? active(x[2], s[2], ax) : stacked(x[2], s[2], n);
    Ref index = si ? stacked(x[1], s[1], n) : x[1], a = summed ? x[0] : stacked(x[0], s[0], n);
    d.window = ints_up(d.window);
    if (si)
        d.ib = ints_up(d.ib);
    if (!summed)
        d.dropped = ints_up(d.dropped), d.map = ints_up(d.map), d.xb = ints_up(d.xb);
    if (!summed && si)
        d.xb = ints_lead(0, d.xb), d.ib = ints_lead(0, d.ib);
    else if (!summed)
        d.window = ints_lead(0, d.window);
    out[0] = emit_scatter(a, index, u, &d, combine, ins_int(i, ATTR(scatter, unique)) && !summed);
    so[0] = summed ? SUMMED : STACKED;
}

/* ==================== evaluation: place by place */

typedef struct Sites {
    Dims d;
    Ints kept;
    int64_t xs[MAXRANK];                        /* strides of x */
    /* kept axes: sizes, strides in x and in the outer array */
    int64_t size[MAXRANK], xw[MAXRANK], ow[MAXRANK];
    /* over the places: offsets in x (batch), outer array, indices */
    Walk walk;
} Sites;

static void sites_start(Sites *w, const Ins *i, const Type *x, const Type *index, const Type *outer)
{
    int64_t os[MAXRANK], is[MAXRANK];
    *w = (Sites){ .d = dims_of(i) };
    if (i->op == OP_scatter)
        w->d.sizes = update_sizes(&w->d, x, outer);
    w->kept = kept_axes(&w->d, x->rank);
    ops_strides(x, w->xs);
    ops_strides(outer, os);
    ops_strides(index, is);
    for (int k = 0; k < w->kept.n; k++) {
        w->size[k] = w->d.sizes.v[w->kept.v[k]];
        w->xw[k] = w->xs[w->kept.v[k]];
        w->ow[k] = os[w->d.window.v[k]];
    }
    Ints places = ints_others(outer->rank, w->d.window);
    walk_start(&w->walk, index->rank - 1, index->dim);
    for (int k = 0; k < places.n; k++) {
        w->walk.step[1][k] = os[places.v[k]];
        w->walk.step[2][k] = is[k];
    }
    for (int k = 0; k < w->d.xb.n; k++)
        w->walk.step[0][w->d.ib.v[k]] = w->xs[w->d.xb.v[k]];
}

/* Where the window of this place begins in x; false: it is left out. */
static bool site_at(const Sites *w, const Type *x, const Type *index, const void *p, int64_t *at)
{
    size_t size = dtype_size((Dtype)index->dt);
    *at = w->walk.at[0];
    for (int k = 0; k < w->d.dropped.n; k++)
        if (!x->dim[w->d.dropped.v[k]])
            return false;
    for (int k = 0; k < w->d.map.n; k++) {
        int64_t a = w->d.map.v[k], most = x->dim[a] - w->d.sizes.v[a];
        int64_t v = ops_index((Dtype)index->dt, (const char *)p + (size_t)(w->walk.at[2] + k) * size);
        if (w->d.mode == FILL && (v < 0 || v > most))
            return false;
        *at += (v < 0 ? 0 : v > most ? most : v) * w->xs[a];
    }
    return true;
}

/* What stands for an element that is not there: NaN, the least signed or the greatest unsigned integer,
 * true. */
static void filling(Dtype dt, void *p)
{
    Wide w = { .f = NAN };
    if (ops_class(dt) == CL_INT)
        w = ops_identity(dtype_signed(dt) ? J_MAX : J_MIN, dt);
    ops_store(dt, p, w);
}

static int gather_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    static const int64_t still[MAXRANK];
    char fill[16];
    Sites w;
    int64_t at;
    Dtype dt = (Dtype)u[0].dt;
    int64_t size = (int64_t)dtype_size(dt);
    filling(dt, fill);
    if (!type_size(&u[0]))
        return 0;
    sites_start(&w, i, t[0], t[1], &u[0]);
    do {
        char *to = (char *)out[0] + w.walk.at[1] * size;
        if (site_at(&w, t[0], t[1], in[1], &at))
            ops_copy(w.kept.n, w.size, (size_t)size, to, w.ow, (const char *)in[0] + at * size, w.xw);
        else
            ops_copy(w.kept.n, w.size, (size_t)size, to, w.ow, fill, still);
    } while (walk_next(&w.walk));
    return 0;
}

/* Combines one window. wide: sums and products of the whole operand, rounded once at the end. The
 * operand and the update are two parameters each. */
static void scatter_window(const Sites *w, Join j, Dtype dt, char *x, Wide *wide, int64_t at, const char *u)
{
    size_t size = dtype_size(dt);
    Walk e;
    walk_start(&e, w->kept.n, w->size);
    memcpy(e.step[0], w->xw, sizeof w->xw);
    memcpy(e.step[1], w->ow, sizeof w->ow);
    do {
        size_t to = (size_t)(at + e.at[0]);
        const char *from = u + (size_t)e.at[1] * size;
        if (j == J_SET)
            memcpy(x + to * size, from, size);
        else if (wide)
            wide[to] = ops_join(j, dt, wide[to], ops_load(dt, from));
        else
            ops_store(dt, x + to * size, ops_join(j, dt, ops_load(dt, x + to * size), ops_load(dt, from)));
    } while (walk_next(&e));
}

static int scatter_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    Dtype dt = (Dtype)u[0].dt;
    Join j = (Join)ins_int(i, ATTR(scatter, combine));
    int64_t size = (int64_t)dtype_size(dt), n = type_size(&u[0]), at;
    Sites w;
    if (n && in[0] != out[0])
        memmove(out[0], in[0], type_bytes(&u[0]));
    if (!n || !type_size(t[2]))
        return 0;
    Wide *wide = NULL;
    if ((j == J_ADD || j == J_MUL) && ops_class(dt) != CL_INT) {
        if (!(wide = ops_temp((size_t)n, sizeof *wide)))
            return error_code();
        for (int64_t k = 0; k < n; k++)
            wide[k] = ops_load(dt, (const char *)out[0] + k * size);
    }
    sites_start(&w, i, t[0], t[1], t[2]);
    do
        if (site_at(&w, t[0], t[1], in[1], &at))
            scatter_window(&w, j, dt, out[0], wide, at, (const char *)in[2] + w.walk.at[1] * size);
    while (walk_next(&w.walk));
    for (int64_t k = 0; wide && k < n; k++)
        ops_store(dt, (char *)out[0] + k * size, wide[k]);
    free(wide);
    return 0;
}

const Rules rules_gather = { gather_infer, gather_jvp, gather_transpose, gather_batch, gather_eval };
const Rules rules_scatter = { scatter_infer, scatter_jvp, scatter_transpose, scatter_batch, scatter_eval };
