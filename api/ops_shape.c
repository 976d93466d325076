/*
 * ops_shape.c - arrays from nothing, and other views of arrays: shape, order of axes, parts, joins.
 *
 * Nearly all of these are views for the compiler: index arithmetic that never touches memory.
 */
#include "formulas.h"

#include <math.h>

/* ==================== formulas on values */

Ref scalar_to(Ref scalar, Ints shape) { return scalar ? Broadcast(scalar, shape, (Ints){ 0 }) : 0; }
Ref flat(Ref x) { return x ? Reshape(x, ints1(type_size(typ(x)))) : 0; }

Ref take_range(Ref x, int axis, int64_t from, int64_t to)
{
    return x && from == 0 && to == typ(x)->dim[axis] ? x : SliceAxis(x, axis, from, to);
}

Ref squeeze_axis(Ref x, int axis)
{
    Ints one = ints1(axis);
    return x ? Reshape(x, ints_without(shape_of(x), &one)) : 0;
}

Ref unsqueeze(Ref x, int axis)
{
    if (!x)
        return 0;
    Ints s = shape_of(x);
    if (s.n == MAXRANK) {
        error_set(E_SHAPE, "%s has %d axes already, and no array has more", type_text(typ(x)), MAXRANK);
        return 0;
    }
    for (int i = s.n++; i > axis; i--)
        s.v[i] = s.v[i - 1];
    s.v[axis] = 1;
    return Reshape(x, s);
}

static Ints zeros(int n)
{
    Ints r = { 0 };
    r.n = n;
    return r;
}

Ref pad_axis(Ref x, int axis, int64_t lo, int64_t hi, Ref value)
{
    if (!x || !value)
        return 0;
    Ints none = zeros(typ(x)->rank), l = none, h = none;
    l.v[axis] = lo, h.v[axis] = hi;
    return Pad(x, value, l, h, none);
}

Ref join(Ref a, Ref b, int axis) { return a && b ? Concat((const Ref[]){ a, b }, 2, axis) : 0; }

/* ==================== checks */

int countable(const char *what, Ints shape)
{
    int64_t most = 1;
    for (int i = 0; i < shape.n; i++)
        if (shape.v[i] < 0)
            return error_set(
                E_SHAPE, "%s: size %lld of axis %d is negative", what, (long long)shape.v[i], i);
    for (int i = 0; i < shape.n; i++)
        if (__builtin_mul_overflow(most, shape.v[i] ? shape.v[i] : 1, &most))
            return error_set(E_SHAPE,
                "%s: with size %lld of axis %d the array has more bytes than can be addressed", what,
                (long long)shape.v[i], i);
    return 0;
}

static int shape_in(const char *what, hd_ints list, Ints *shape)
{
    return ints_in(what, list, shape) ? E_INVAL : countable(what, *shape);
}

/* The type of an array to be made. 0, or a code. */
static int type_in(const char *what, enum hd_dtype d, hd_ints list, Type *t)
{
    Ints shape;
    if (!plain_dtype(what, (Dtype)d) || shape_in(what, list, &shape))
        return E_INVAL;
    *t = type_of((Dtype)d, shape.n, shape.v);
    return 0;
}

/* ==================== from nothing */

static hd filled(const char *what, enum hd_dtype d, hd_ints shape, double v)
{
    Type t;
    return !tracing() || type_in(what, d, shape, &t) ? HD_NIL : sym_of(Full(t, v));
}

hd hd_zeros_n(enum hd_dtype d, hd_ints shape) { OP(hd_zeros_n); return filled("hd_zeros", d, shape, 0); }
hd hd_ones_n(enum hd_dtype d, hd_ints shape) { OP(hd_ones_n); return filled("hd_ones", d, shape, 1); }

hd hd_full_n(hd value, hd_ints list)
{
    Ints shape;
    OP(hd_full_n);
    Ref r = sym_ref(value);
    return !r || shape_in("hd_full", list, &shape) ? HD_NIL : sym_of(broadcast_to(r, shape));
}

hd hd_iota_n(enum hd_dtype d, int axis, hd_ints shape)
{
    Type t;
    OP(hd_iota_n);
    if (!tracing() || type_in("hd_iota", d, shape, &t))
        return HD_NIL;
    if (!real_dtype("hd_iota", (Dtype)t.dt))
        return HD_NIL;
    if (t.dt == DT_BOOL) {
        error_set(E_DTYPE, "hd_iota: bool does not count; write hd_cast");
        return HD_NIL;
    }
    int a = axis_of("hd_iota", axis, t.rank);
    return a < 0 ? HD_NIL : sym_of(Iota(t, a));
}

static hd fill_leaf(const hd *x, int n, void *env)
{
    Ref r = sym_ref(x[0]);
    (void)n;
    return r && (typ(r)->dt != DT_KEY || real_dtype("hd_zeros_like", DT_KEY)) ?
        sym_of(Like(r, *(const double *)env)) :
        HD_NIL;
}

static hd like(const char *what, hd x, double v) { return sym_map(what, fill_leaf, &v, 1, &x); }

hd hd_zeros_like(hd x) { OP(hd_zeros_like); return like("hd_zeros_like", x, 0); }
hd hd_ones_like(hd x) { OP(hd_ones_like); return like("hd_ones_like", x, 1); }

/* row + k >= column, over the last two axes of that shape */
static Ref lower(Ints shape, int64_t k)
{
    Type t = type_of(DT_I32, shape.n, shape.v);
    Ref row = Iota(t, shape.n - 2), column = Iota(t, shape.n - 1);
    return row && column ? Ge(Add(row, Like(row, (double)k)), column) : 0;
}

hd hd_eye(enum hd_dtype d, int64_t n)
{
    Type t;
    OP(hd_eye);
    if (!tracing() || type_in("hd_eye", d, (hd_ints){ 2, { n, n } }, &t))
        return HD_NIL;
    Type i = t;
    i.dt = DT_I32;
    return sym_of(Convert(Eq(Iota(i, 0), Iota(i, 1)), (Dtype)t.dt));
}

/* Are these numbers, the first and the last of a range, in an integer dtype? */
static bool range_fits(const char *what, Dtype d, double first, double last)
{
    double bits = 8 * (double)dtype_size(d), least = dtype_signed(d) ? -exp2(bits - 1) : 0;
    double beyond = exp2(dtype_signed(d) ? bits - 1 : bits);
    if (dtype_inexact(d) || d == DT_BOOL || (fmin(first, last) >= least && fmax(first, last) < beyond))
        return true;
    error_set(E_DTYPE, "%s: %g to %g are not all values of %s; use a wider dtype", what, first, last,
        dtype_name(d));
    return false;
}

/* start + k step, in the dtype */
hd hd_arange(enum hd_dtype d, double start, double stop, double step)
{
    Type t;
    OP(hd_arange);
    double n = step != 0 ? fmax(0, ceil((stop - start) / step)) : NAN;
    if (!(n <= 0x1p53)) {
        error_set(
            E_INVAL, "hd_arange: from %g to %g there is no finite number of steps of %g", start, stop, step);
        return HD_NIL;
    }
    if (!tracing() || type_in("hd_arange", d, (hd_ints){ 1, { (int64_t)n } }, &t))
        return HD_NIL;
    if (t.dt == DT_BOOL || (!dtype_inexact((Dtype)t.dt) && (start != floor(start) || step != floor(step)))) {
        error_set(E_DTYPE, "hd_arange: %g, %g ... are not values of %s; use HD_F32",
            start, start + step, dtype_name((Dtype)t.dt));
        return HD_NIL;
    }
    if (n > 0 && !range_fits("hd_arange", (Dtype)t.dt, start, start + (n - 1) * step))
        return HD_NIL;
    /* counting and the product are exact in 32 bits where the dtype's own are not */
    Dtype own = (Dtype)t.dt, wide = dtype_size(own) >= 4 ? own : dtype_float(own) ? DT_F32 : DT_I32;
    wide = wide == DT_I32 && n > INT32_MAX ? DT_I64 : wide;
    t.dt = wide;
    Ref k = Iota(t, 0);
    if (step != 1)
        k = Mul(k, Like(k, step));
    if (start != 0)
        k = Add(k, Like(k, start));
    return sym_of(Convert(k, own));
}

/* Weighted ends, as jax.numpy: start (1 - k/(n-1)) + stop k/(n-1), and the last element is stop itself. */
hd hd_linspace(enum hd_dtype d, double start, double stop, int64_t n)
{
    Type t;
    OP(hd_linspace);
    if (!tracing() || type_in("hd_linspace", d, (hd_ints){ 1, { n } }, &t))
        return HD_NIL;
    Dtype own = (Dtype)t.dt;
    if (n == 0)
        return sym_of(Zeros(&t));
    if (!range_fits("hd_linspace", own, start, stop))
        return HD_NIL;
    t.dt = dtype_part(own) == DT_F64 || (!dtype_inexact(own) && dtype_size(own) > 2) ? DT_F64 : DT_F32;
    Ref r = Full(t, start);
    if (n > 1) {
        t.dim[0] = n - 1;
        Ref k = Iota(t, 0);
        k = Div(k, Like(k, (double)(n - 1)));
        r = Add(Mul(Like(k, start), Sub(Like(k, 1), k)), Mul(Like(k, stop), k));
        r = join(r, scalar_to(Const((Dtype)t.dt, stop), ints1(1)), 0);
    }
    return sym_of(Convert(dtype_inexact(own) ? r : Floor(r), own));
}

/* ==================== shape */

/* The shape asked for, with one -1 worked out. 0, or a code. */
static int resolve(Ref x, Ints *shape)
{
    int64_t size = type_size(typ(x)), rest = 1;
    int unknown = -1;
    bool none = false, over = false;            /* no elements; more than can be counted */

    for (int i = 0; i < shape->n; i++) {
        if (shape->v[i] < -1)
            return error_set(
                E_SHAPE, "hd_reshape: size %lld of axis %d is negative", (long long)shape->v[i], i);
        none |= !shape->v[i];
        if (shape->v[i] >= 0)
            over |= __builtin_mul_overflow(rest, shape->v[i], &rest);
        else if (unknown >= 0)
            return error_set(E_SHAPE, "hd_reshape: only one size may be -1; axes %d and %d are", unknown, i);
        else
            unknown = i;
    }
    rest = none ? 0 : over ? -1 : rest;
    if (unknown >= 0 && rest > 0 && size % rest == 0)
        shape->v[unknown] = size / rest;
    else if (unknown >= 0 || rest != size) {
        Type t = type_of((Dtype)typ(x)->dt, shape->n, shape->v);
        return error_set(E_SHAPE, "hd_reshape: the %lld elements of %s do not make %s",
            (long long)size, type_text(typ(x)), type_text(&t));
    }
    return 0;
}

hd hd_reshape_n(hd x, hd_ints list)
{
    Ints shape;
    OP(hd_reshape_n);
    Ref r = sym_ref(x);
    if (!r || ints_in("hd_reshape", list, &shape) || resolve(r, &shape))
        return HD_NIL;
    return sym_of(Reshape(r, shape));
}

hd hd_ravel(hd x) { OP(hd_ravel); return sym_of(flat(sym_ref(x))); }

hd hd_broadcast_to_n(hd x, hd_ints list)
{
    Ints shape;
    OP(hd_broadcast_to_n);
    Ref r = sym_ref(x);
    return !r || shape_in("hd_broadcast_to", list, &shape) ? HD_NIL : sym_of(broadcast_to(r, shape));
}

/* Axis k of x is axis axes[k] of the result, or has size 1. */
hd hd_broadcast_in_dim(hd x, hd_ints list, hd_ints axes)
{
    static const char what[] = "hd_broadcast_in_dim";
    Ints shape, to, solid = { 0 }, size = { 0 };
    OP(hd_broadcast_in_dim);
    Ref r = sym_ref(x);

    if (!r || shape_in(what, list, &shape) || ints_in(what, axes, &to))
        return HD_NIL;
    Type t = *typ(r), u = type_of((Dtype)t.dt, shape.n, shape.v);
    if (to.n != t.rank) {
        error_set(E_INVAL, "%s: %s has %d axes, but %d places are given", what, type_text(&t), t.rank, to.n);
        return HD_NIL;
    }
    for (int i = 0; i < t.rank; i++) {
        int a = axis_of(what, to.v[i], shape.n);
        if (a < 0)
            return HD_NIL;
        if (i && a <= to.v[i - 1]) {
            error_set(E_INVAL, "%s: places must increase; %lld comes after %lld; use hd_transpose first",
                what, (long long)a, (long long)to.v[i - 1]);
            return HD_NIL;
        }
        to.v[i] = a;
        if (t.dim[i] != 1 && t.dim[i] != shape.v[a]) {
            error_set(E_SHAPE, "%s: axis %d of %s does not become axis %d of %s",
                what, i, type_text(&t), a, type_text(&u));
            return HD_NIL;
        }
        if (t.dim[i] == shape.v[a])
            solid.v[solid.n++] = a, size.v[size.n++] = t.dim[i];
    }
    return sym_of(Broadcast(Reshape(r, size), shape, solid));
}

hd hd_transpose_n(hd x, hd_ints list)
{
    Ints perm, sorted;
    OP(hd_transpose_n);
    Ref r = sym_ref(x);
    if (!r || ints_in("hd_transpose", list, &perm))
        return HD_NIL;
    int rank = typ(r)->rank;
    if (!perm.n)
        for (; perm.n < rank; perm.n++)
            perm.v[perm.n] = rank - 1 - perm.n;
    if (perm.n != rank) {
        error_set(
            E_INVAL, "hd_transpose: %s has %d axes, but %d are named", type_text(typ(r)), rank, perm.n);
        return HD_NIL;
    }
    if (rank && axes_of("hd_transpose", list, rank, &sorted, NULL))    /* in range, none twice */
        return HD_NIL;
    for (int i = 0; i < rank; i++)
        perm.v[i] += perm.v[i] < 0 ? rank : 0;
    return sym_of(Transpose(r, perm));
}

hd hd_moveaxis(hd x, int from, int to)
{
    int a, b;
    OP(hd_moveaxis);
    Ref r = axis_ref("hd_moveaxis", x, from, &a);
    return r && (b = axis_of("hd_moveaxis", to, typ(r)->rank)) >= 0 ? sym_of(MoveAxis(r, a, b)) : HD_NIL;
}

hd hd_swapaxes(hd x, int from, int to)
{
    int a, b;
    OP(hd_swapaxes);
    Ref r = axis_ref("hd_swapaxes", x, from, &a);
    if (!r || (b = axis_of("hd_swapaxes", to, typ(r)->rank)) < 0)
        return HD_NIL;
    Ints perm = ints_run(0, typ(r)->rank);
    perm.v[a] = b, perm.v[b] = a;
    return sym_of(Transpose(r, perm));
}

hd hd_expand_dims_n(hd x, hd_ints list)
{
    Ints axes;
    OP(hd_expand_dims_n);
    Ref r = sym_ref(x);
    if (!r || ints_in("hd_expand_dims", list, &axes))
        return HD_NIL;
    if (!axes.n)
        return x;
    if (typ(r)->rank + axes.n > MAXRANK) {
        error_set(E_SHAPE, "hd_expand_dims: %s and %d more axes; no array has more than %d",
            type_text(typ(r)), axes.n, MAXRANK);
        return HD_NIL;
    }
    if (axes_of("hd_expand_dims", list, typ(r)->rank + axes.n, &axes, NULL))
        return HD_NIL;
    for (int i = 0; i < axes.n; i++)
        r = unsqueeze(r, (int)axes.v[i]);
    return sym_of(r);
}

hd hd_squeeze_n(hd x, hd_ints list)
{
    Ints axes = { 0 };
    OP(hd_squeeze_n);
    Ref r = sym_ref(x);
    if (!r || (list.n && axes_of("hd_squeeze", list, typ(r)->rank, &axes, NULL)))
        return HD_NIL;
    for (int i = 0; !list.n && i < typ(r)->rank; i++)
        if (typ(r)->dim[i] == 1)
            axes.v[axes.n++] = i;
    for (int i = 0; i < axes.n; i++)
        if (typ(r)->dim[axes.v[i]] != 1) {
            error_set(E_SHAPE,
                "hd_squeeze: axis %lld of %s is not of size 1; use hd_index to take one of it",
                (long long)axes.v[i], type_text(typ(r)));
            return HD_NIL;
        }
    return sym_of(Reshape(r, ints_without(shape_of(r), &axes)));
}

/* ==================== order and repetition */

hd hd_flip_n(hd x, hd_ints list)
{
    Ints axes;
    OP(hd_flip_n);
    Ref r = sym_ref(x);
    return !r || axes_of("hd_flip", list, typ(r)->rank, &axes, NULL) ? HD_NIL : sym_of(Reverse(r, axes));
}

hd hd_flip(hd x) { OP(hd_flip); return hd_flip_n(x, (hd_ints){ 0, { 0 } }); }
hd hd_transpose(hd x) { OP(hd_transpose); return hd_transpose_n(x, (hd_ints){ 0, { 0 } }); }

hd hd_diagonal(hd x, int64_t offset, int axis, int along)
{
    int a, b;
    OP(hd_diagonal);
    Ref r = axis_ref("hd_diagonal", x, axis, &a);
    r = r ? axis_ref("hd_diagonal", x, along, &b) : 0;
    return sym_of(r ? DiagonalOf(r, a, b, offset) : 0);
}

static Ref rolled(Ref r, int64_t shift, int axis)
{
    if (!r)
        return 0;
    int64_t n = typ(r)->dim[axis], k = n ? (shift % n + n) % n : 0;
    return k ? join(SliceAxis(r, axis, n - k, n), SliceAxis(r, axis, 0, n - k), axis) : r;
}

hd hd_roll(hd x, int64_t shift, int axis)
{
    int a;
    OP(hd_roll);
    Ref r = axis_ref("hd_roll", x, axis, &a);
    return sym_of(r ? rolled(r, shift, a) : 0);
}

/* An axis that is named twice moves by the sum of its shifts, as in numpy. */
hd hd_roll_n(hd x, hd_ints shifts, hd_ints axes)
{
    static const char what[] = "hd_roll";
    Ints s, k;
    OP(hd_roll_n);
    Ref r = sym_ref(x);
    if (!r || ints_in(what, shifts, &s) || ints_in(what, axes, &k))
        return HD_NIL;
    if (s.n != k.n) {
        error_set(E_INVAL, "%s: %d shifts for %d axes", what, s.n, k.n);
        return HD_NIL;
    }
    for (int i = 0; i < s.n; i++) {
        int a = axis_of(what, k.v[i], typ(r)->rank);
        if (a < 0 || !(r = rolled(r, s.v[i], a)))
            return HD_NIL;
    }
    return sym_of(r);
}

/* Each axis as a pair (outer, inner) of which one is broadcast, then merged. */
static Ref repeated(const char *what, Ref r, const int64_t *outer, const int64_t *inner)
{
    for (int i = 0; r && i < typ(r)->rank; i++) {
        if (outer[i] == 1 && inner[i] == 1)
            continue;
        if (typ(r)->rank == MAXRANK) {
            error_set(E_SHAPE,
                "%s: %s has the largest number of axes; repeating needs one more for a moment", what,
                type_text(typ(r)));
            return 0;
        }
        Ints s = shape_of(r), wide = s, dims = { 0 };
        int64_t n = s.v[i], copies = outer[i] * inner[i];
        if (__builtin_mul_overflow(n, copies, &s.v[i]))
            s.v[i] = INT64_MAX;
        if (countable(what, s))
            return 0;
        int place = inner[i] == 1 ? i : i + 1;
        for (int k = s.n; k > place; k--)
            wide.v[k] = wide.v[k - 1];
        wide.v[place] = copies, wide.n++;
        for (int k = 0; k < wide.n; k++)
            if (k != place)
                dims.v[dims.n++] = k;
        r = Reshape(Broadcast(r, wide, dims), s);
    }
    return r;
}

hd hd_tile_n(hd x, hd_ints list)
{
    Ints times;
    int64_t outer[MAXRANK], inner[MAXRANK];
    OP(hd_tile_n);
    Ref r = sym_ref(x);
    if (!r || shape_in("hd_tile", list, &times))
        return HD_NIL;
    while (r && typ(r)->rank < times.n)
        r = unsqueeze(r, 0);
    for (int i = 0, rank = r ? typ(r)->rank : 0; i < rank; i++)
        outer[i] = i < rank - times.n ? 1 : times.v[i - (rank - times.n)], inner[i] = 1;
    return sym_of(repeated("hd_tile", r, outer, inner));
}

hd hd_repeat(hd x, int64_t times, int axis)
{
    int a;
    int64_t outer[MAXRANK], inner[MAXRANK];
    OP(hd_repeat);
    Ref r = axis_ref("hd_repeat", x, axis, &a);
    if (!r)
        return HD_NIL;
    if (times < 0) {
        error_set(E_INVAL, "hd_repeat: %lld times", (long long)times);
        return HD_NIL;
    }
    for (int i = 0; i < typ(r)->rank; i++)
        outer[i] = 1, inner[i] = i == a ? times : 1;
    return sym_of(repeated("hd_repeat", r, outer, inner));
}

/* ==================== joins and parts */

/* Operands of one dtype in the arena; the count, or 0 after an error. */
static int operands(const char *what, const hd *xs, int n, Ref **out)
{
    n = sym_count(what, xs, n);
    if (n < 0)
        return 0;
    if (n < 1) {
        error_set(E_INVAL, "%s: no arrays are given", what);
        return 0;
    }
    *out = NEWS(Ref, n);
    return unify_dtype(what, n, xs, *out) ? 0 : n;
}

hd hd_stack_n(int axis, const hd *xs, int n)
{
    Ref *r;
    OP(hd_stack_n);
    if (!tracing() || !(n = operands("hd_stack", xs, n, &r)))
        return HD_NIL;
    int a = axis_of("hd_stack", axis, typ(r[0])->rank + 1);
    if (a < 0)
        return HD_NIL;
    for (int i = 1; i < n; i++)
        if (!type_equal(typ(r[i]), typ(r[0]))) {
            error_set(E_SHAPE, "hd_stack: shapes differ: %s and %s; use hd_broadcast_to, or hd_concatenate",
                type_text(typ(r[0])), type_text(typ(r[i])));
            return HD_NIL;
        }
    for (int i = 0; i < n; i++)
        if (!(r[i] = unsqueeze(r[i], a)))
            return HD_NIL;
    return sym_of(n == 1 ? r[0] : Concat(r, n, a));
}

hd hd_concatenate_n(int axis, const hd *xs, int n)
{
    Ref *r;
    OP(hd_concatenate_n);
    if (!tracing() || !(n = operands("hd_concatenate", xs, n, &r)))
        return HD_NIL;
    Type first = *typ(r[0]);
    if (first.rank == 0) {
        error_set(E_SHAPE, "hd_concatenate: scalars have no axis; use hd_stack");
        return HD_NIL;
    }
    int a = axis_of("hd_concatenate", axis, first.rank);
    if (a < 0)
        return HD_NIL;
    for (int i = 1; i < n; i++) {
        Type t = *typ(r[i]);
        int64_t along = t.dim[a];
        t.dim[a] = first.dim[a];
        if (!type_equal(&t, &first)) {
            t.dim[a] = along;
            error_set(E_SHAPE, "hd_concatenate: %s and %s differ in more than axis %d",
                type_text(&first), type_text(&t), a);
            return HD_NIL;
        }
    }
    return sym_of(n == 1 ? r[0] : Concat(r, n, a));
}

hd hd_split(hd x, int64_t parts, int axis)
{
    int a;
    OP(hd_split);
    Ref r = axis_ref("hd_split", x, axis, &a);
    if (!r)
        return HD_NIL;
    int64_t n = typ(r)->dim[a];
    if (parts < 1 || parts > INT32_MAX || n % parts) {
        error_set(E_SHAPE, "hd_split: axis %d of %s does not fall into %lld equal parts",
            a, type_text(typ(r)), (long long)parts);
        return HD_NIL;
    }
    hd *part = NEWS(hd, parts);
    for (int64_t i = 0; i < parts; i++)
        part[i] = sym_of(take_range(r, a, i * (n / parts), (i + 1) * (n / parts)));
    return sym_tuple(part, (int)parts);
}

/* A list with one entry an axis; empty: all `otherwise`. 0, or a code. */
static int per_axis(const char *what, const char *name, hd_ints list, Ref x, int64_t otherwise, Ints *out)
{
    if (ints_in(what, list, out))
        return E_INVAL;
    if (!out->n)
        for (; out->n < typ(x)->rank; out->n++)
            out->v[out->n] = otherwise;
    if (out->n == typ(x)->rank)
        return 0;
    return error_set(E_INVAL, "%s: %s has %d axes, but %s has %d entries",
        what, type_text(typ(x)), typ(x)->rank, name, out->n);
}

hd hd_pad(hd x, hd value, hd_ints low, hd_ints high, hd_ints interior)
{
    static const char what[] = "hd_pad";
    Ints lo, hi, in;
    Ref r[2];
    OP(hd_pad);
    if (unify_dtype(what, 2, (const hd[]){ x, value }, r) || per_axis(what, "low", low, r[0], 0, &lo)
        || per_axis(what, "high", high, r[0], 0, &hi) || per_axis(what, "interior", interior, r[0], 0, &in))
        return HD_NIL;
    Type t = *typ(r[0]);
    if (typ(r[1])->rank) {
        error_set(E_SHAPE, "%s: the value is one number, not %s", what, type_text(typ(r[1])));
        return HD_NIL;
    }
    for (int i = 0; i < t.rank; i++) {
        int64_t n;
        bool over = __builtin_mul_overflow(t.dim[i] ? t.dim[i] - 1 : 0, in.v[i], &n) ||
            __builtin_add_overflow(n, t.dim[i], &n) || __builtin_add_overflow(n, lo.v[i], &n) ||
            __builtin_add_overflow(n, hi.v[i], &n);
        if (in.v[i] >= 0 && (over || n >= 0))   /* what is too large, the op itself says */
            continue;
        if (in.v[i] < 0)
            error_set(E_INVAL, "%s: %lld between the elements of axis %d; only low and high may be negative",
                what, (long long)in.v[i], i);
        else
            error_set(E_SHAPE, "%s: %lld and %lld leave %lld elements of axis %d of %s",
                what, (long long)lo.v[i], (long long)hi.v[i], (long long)n, i, type_text(&t));
        return HD_NIL;
    }
    return sym_of(Pad(r[0], r[1], lo, hi, in));
}

hd hd_slice(hd x, hd_ints start, hd_ints stop, hd_ints step)
{
    static const char what[] = "hd_slice";
    Ints from, to, by;
    OP(hd_slice);
    Ref r = sym_ref(x);
    if (!r || per_axis(what, "start", start, r, 0, &from) || per_axis(what, "step", step, r, 1, &by))
        return HD_NIL;
    if (stop.n == 0)
        to = shape_of(r);
    else if (per_axis(what, "stop", stop, r, 0, &to))
        return HD_NIL;
    for (int i = 0; i < from.n; i++) {
        if (by.v[i] > 0 && 0 <= from.v[i] && from.v[i] <= to.v[i] && to.v[i] <= typ(r)->dim[i])
            continue;
        error_set(E_SHAPE, "%s: from %lld to %lld by %lld is not within axis %d of %s",
            what, (long long)from.v[i], (long long)to.v[i], (long long)by.v[i], i, type_text(typ(r)));
        return HD_NIL;
    }
    return sym_of(Slice(r, from, to, by));
}

hd hd_slice_axis(hd x, int axis, int64_t start, int64_t stop)
{
    static const char what[] = "hd_slice_axis";
    int a;
    OP(hd_slice_axis);
    Ref r = axis_ref(what, x, axis, &a);
    if (!r)
        return HD_NIL;
    int64_t n = typ(r)->dim[a], from = start < 0 ? start + n : start, to = stop < 0 ? stop + n : stop;
    if (stop == HD_LAST)
        to = n;
    if (from >= 0 && from <= to && to <= n)
        return sym_of(SliceAxis(r, a, from, to));
    error_set(E_SHAPE, "%s: from %lld to %lld is not within axis %d of %s", what, (long long)start,
        (long long)stop, a, type_text(typ(r)));
    return HD_NIL;
}

hd hd_index(hd x, int axis, int64_t i)
{
    int a;
    OP(hd_index);
    Ref r = axis_ref("hd_index", x, axis, &a);
    if (!r)
        return HD_NIL;
    int64_t n = typ(r)->dim[a];
    if (i < -n || i >= n) {
        error_set(E_SHAPE, "hd_index: %lld is outside axis %d of %s", (long long)i, a, type_text(typ(r)));
        return HD_NIL;
    }
    i += i < 0 ? n : 0;
    return sym_of(squeeze_axis(SliceAxis(r, a, i, i + 1), a));
}

/* A vector becomes a diagonal by putting n zeros between its elements; a diagonal is every (n+1)-th element
 * of a square. */
hd hd_diag(hd x)
{
    OP(hd_diag);
    Ref r = sym_ref(x);
    if (!r)
        return HD_NIL;
    Type t = *typ(r);
    if (t.rank == 1) {
        int64_t n = t.dim[0];
        Ref line = n ? Pad(r, Const((Dtype)t.dt, 0), ints1(0), ints1(0), ints1(n)) : r;
        return sym_of(Reshape(line, (Ints){ 2, { n, n } }));
    }
    if (t.rank == 2) {
        int64_t n = t.dim[0] < t.dim[1] ? t.dim[0] : t.dim[1];
        r = flat(take_range(take_range(r, 0, 0, n), 1, 0, n));
        return sym_of(Slice(r, ints1(0), ints1(n * n), ints1(n + 1)));
    }
    error_set(E_SHAPE, "hd_diag: a vector or a matrix is wanted, not %s; use hd_vmap for more axes",
        type_text(&t));
    return HD_NIL;
}

static hd triangle(const char *what, hd x, int64_t k, bool below)
{
    Ref r = rank_ref(what, x, 2);
    if (!r)
        return HD_NIL;
    Ref low = lower(shape_of(r), k), zero = Like(r, 0);
    return sym_of(below ? choose(low, r, zero) : choose(low, zero, r));
}

hd hd_tril(hd x, int k) { OP(hd_tril); return triangle("hd_tril", x, k, true); }
hd hd_triu(hd x, int k) { OP(hd_triu); return triangle("hd_triu", x, (int64_t)k - 1, false); }
