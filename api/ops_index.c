/*
 * ops_index.c - reading and writing at computed places.
 *
 * Two families. dynamic_* take one window whose place is data; it is moved so that it fits. take, gather and
 * scatter have an array of places; jax.numpy's default says that what is outside reads as nan (or the least
 * integer) and is not written. Negative indices count from the end, except in gather and scatter, which are
 * lax's.
 */
#include "formulas.h"

#include <math.h>

/* ==================== formulas on values */

Ref fill_value(Dtype d)
{
    if (dtype_float(d))
        return Const(d, NAN);
    if (d == DT_BOOL)
        return Const(d, 1);
    int64_t half = (int64_t)1 << (8 * dtype_size(d) - 2);       /* a quarter of the values */
    return ConstBits(d, dtype_signed(d) ? -half * 2 : dtype_size(d) == 8 ? -1 : half * 4 - 1);
}

static void attr_ints(Attr *a, Ints v) { attr_list(a, v.v, v.n); }

static void attr_dims(Attr *a, const Dims *d)
{
    attr_ints(a, d->window), attr_ints(a, d->collapsed), attr_ints(a, d->map);
    attr_ints(a, d->x_batch), attr_ints(a, d->indices_batch);
}

Ref gather(Ref x, Ref indices, const Dims *d, Ints sizes, int mode)
{
    Attr a = { 0 };
    attr_dims(&a, d);
    attr_ints(&a, sizes);
    attr_int(&a, mode);
    return emit(OP_gather, 2, (const Ref[]){ x, indices }, &a);
}

/* The parameters are those of the op, as ops.h has them. */
Ref scatter(Ref x, Ref indices, Ref updates, const Dims *d, int mode, int combine, bool unique)
{
    Attr a = { 0 };
    attr_dims(&a, d);
    attr_int(&a, mode), attr_int(&a, combine), attr_int(&a, unique);
    return emit(OP_scatter, 3, (const Ref[]){ x, indices, updates }, &a);
}

Ref take(Ref x, Ref index, int axis, int mode)
{
    if (!x || !index)
        return 0;
    Ints sizes = shape_of(x), shape = sizes, more = shape_of(index);
    int rank = sizes.n, extra = more.n;

    if (rank - 1 + extra > MAXRANK || extra == MAXRANK) {
        error_set(E_SHAPE, "hd_take: %s at the places of %s has too many axes; no array has more than %d",
            type_text(typ(x)), type_text(typ(index)), MAXRANK);
        return 0;
    }
    shape.n = axis;
    for (int i = 0; i < extra; i++)
        shape.v[shape.n++] = more.v[i];
    for (int i = axis + 1; i < rank; i++)
        shape.v[shape.n++] = sizes.v[i];
    if (!sizes.v[axis])
        return scalar_to(fill_value((Dtype)typ(x)->dt), shape);
    Dims d = { .window = ints_run(0, axis), .collapsed = ints1(axis), .map = ints1(axis) };
    for (int i = axis + extra; i < rank - 1 + extra; i++)
        d.window.v[d.window.n++] = i;
    sizes.v[axis] = 1;
    return gather(x, unsqueeze(index, extra), &d, sizes, mode);
}

Ref one_hot(Ref index, int64_t n, Dtype d)
{
    index = as_index(index, n);
    if (!index)
        return 0;
    Ref column = unsqueeze(index, typ(index)->rank);
    if (!column)
        return 0;
    Type t = *typ(column);
    t.dim[t.rank - 1] = n;
    return Convert(bin(OP_eq, column, Iota(t, t.rank - 1)), d);
}

static int mode_in(const char *what, enum hd_mode m, int otherwise, int *mode)
{
    *mode = m == HD_CLIP ? MODE_CLIP
        : m == HD_FILL_OR_DROP ? MODE_FILL
        : m == HD_IN_BOUNDS ? MODE_IN_BOUNDS : otherwise;
    if ((unsigned)m <= HD_IN_BOUNDS)
        return 0;
    return error_set(E_INVAL, "%s: .mode is %d, which is not of enum hd_mode", what, (int)m);
}

/* ==================== take */

Ref fill_in(const char *what, hd fill, Ref x)
{
    Ref r = sym_ref_as(fill, (Dtype)typ(x)->dt);
    Type want = type_scalar((Dtype)typ(x)->dt);
    if (!r || type_equal(typ(r), &want))
        return r;
    error_set(E_SHAPE, "%s: .fill must be %s, not %s", what, type_text(&want), type_text(typ(r)));
    return 0;
}

/* x, a checked axis of it, and integer indices; 0 after an error */
static Ref operands(const char *what, hd x, hd indices, int axis, int *a, Ref *i)
{
    double c;
    Ref r = rank_ref(what, x, 1);
    *i = sym_weak(indices, &c) ? sym_ref_as(indices, DT_I32) : sym_ref(indices);
    if (!r || !int_operand(what, "indices", *i) || (*a = axis_of(what, axis, typ(r)->rank)) < 0)
        return 0;
    return r;
}

/* The mode of the op, and the fill as a scalar of x's dtype; 0 where there is none. nonzero after an
 * error. */
static int take_mode(const char *what, const hd_take_opts *o, Ref x, int *mode, Ref *fill)
{
    *mode = MODE_FILL, *fill = 0;
    if (!o)
        return 0;
    if (mode_in(what, o->mode, MODE_FILL, mode))
        return (int)error_code();
    if (sym_absent(o->fill))
        return 0;
    if (!(*fill = fill_in(what, o->fill, x)))
        return (int)error_code();
    if (*mode != MODE_FILL)
        return error_set(
            E_INVAL, "%s: .fill is for what is outside, and this .mode says that nothing is", what);
    *mode = MODE_CLIP;                          /* what is read there is not used */
    return 0;
}

/* What was read where the index is outside 0 .. n-1 is the fill. behind: axes of the result after those of
 * the index. */
static Ref filled(Ref read, Ref index, int64_t n, int behind, Ref fill)
{
    if (!fill || !read)
        return read;
    Ref inside = Lt(index, Like(index, (double)n));
    if (!dtype_unsigned((Dtype)typ(index)->dt))
        inside = And(inside, Ge(index, Like(index, 0)));
    for (int i = 0; inside && i < behind; i++)
        inside = unsqueeze(inside, typ(inside)->rank);
    return choose(inside, read, fill);
}

hd hd_take_n(hd x, hd indices, int axis, const hd_take_opts *o)
{
    int a, mode;
    Ref i, fill;
    OP(hd_take_n);
    Ref r = operands("hd_take", x, indices, axis, &a, &i);
    if (!r || take_mode("hd_take", o, r, &mode, &fill))
        return HD_NIL;
    int64_t n = typ(r)->dim[a];
    i = from_end(i, n);
    return sym_of(filled(take(r, i, a, mode), i, n, typ(r)->rank - 1 - a, fill));
}

hd hd_take(hd x, hd indices, int axis) { OP(hd_take); return hd_take_n(x, indices, axis, NULL); }

/* All axes but one go together: they are batch axes of a gather of single elements. */
hd hd_take_along_axis_n(hd x, hd indices, int axis, const hd_take_opts *o)
{
    static const char what[] = "hd_take_along_axis";
    int a, mode;
    Ref i, fill;
    OP(hd_take_along_axis_n);
    Ref r = operands(what, x, indices, axis, &a, &i);
    if (!r || take_mode(what, o, r, &mode, &fill))
        return HD_NIL;
    Ints xs = shape_of(r), is = shape_of(i);
    if (xs.n != is.n) {
        error_set(E_SHAPE, "%s: %s and indices %s have different numbers of axes",
            what, type_text(typ(r)), type_text(typ(i)));
        return HD_NIL;
    }
    if (xs.n == MAXRANK) {
        error_set(E_SHAPE, "%s: %s has the largest number of axes; one more is needed for a moment",
            what, type_text(typ(r)));
        return HD_NIL;
    }
    for (int k = 0; k < xs.n; k++) {
        if (k == a || xs.v[k] == is.v[k])
            continue;
        if (xs.v[k] != 1 && is.v[k] != 1) {
            error_set(E_SHAPE, "%s: axis %d of %s and of indices %s differ",
                what, k, type_text(typ(r)), type_text(typ(i)));
            return HD_NIL;
        }
        int64_t n = xs.v[k] == 1 ? is.v[k] : xs.v[k];
        xs.v[k] = is.v[k] = n;
    }
    int64_t n = xs.v[a];
    r = broadcast_to(r, xs);
    i = broadcast_to(from_end(i, n), is);
    if (!n)
        return sym_of(scalar_to(fill ? fill : fill_value((Dtype)typ(r)->dt), is));
    Ints one = ints1(a), rest = ints_without(ints_run(0, xs.n), &one), sizes = xs;
    for (int k = 0; k < sizes.n; k++)
        sizes.v[k] = 1;
    Dims d = { .collapsed = one, .map = one, .x_batch = rest, .indices_batch = rest };
    return sym_of(filled(gather(r, unsqueeze(i, is.n), &d, sizes, mode), i, n, 0, fill));
}

hd hd_take_along_axis(hd x, hd indices, int axis)
{
    OP(hd_take_along_axis);
    return hd_take_along_axis_n(x, indices, axis, NULL);
}

hd hd_one_hot(hd index, int64_t n, enum hd_dtype d)
{
    OP(hd_one_hot);
    Ref i = sym_weak(index, NULL) ? sym_ref_as(index, DT_I32) : sym_ref(index);
    if (!int_operand("hd_one_hot", "index", i) || !real_dtype("hd_one_hot", (Dtype)d))
        return HD_NIL;
    if (n < 0) {
        error_set(E_SHAPE, "hd_one_hot: %lld classes", (long long)n);
        return HD_NIL;
    }
    return sym_of(one_hot(i, n, (Dtype)d));
}

/* ==================== one window */

/* Of all axes of x. */
static Dtype counter_of(Ref x)
{
    Dtype dt = DT_I32;
    for (int i = 0; i < typ(x)->rank; i++)
        dt = type_counter(typ(x)->dim[i]) == DT_I64 ? DT_I64 : dt;
    return dt;
}

/* Where a window starts, an integer an axis of x, as i32[rank] (i64 where an axis is too long for it) with
 * negatives counted from the end; 0 after an error. */
static Ref starts_of(const char *what, Ref x, hd starts)
{
    Ref s = sym_ref(starts);
    if (!x || !int_operand(what, "starts", s))
        return 0;
    int rank = typ(x)->rank;
    if (typ(s)->rank != 1 || typ(s)->dim[0] != rank) {
        error_set(E_SHAPE, "%s: %s has %d axes; starts must be i32[%d], not %s",
            what, type_text(typ(x)), rank, rank, type_text(typ(s)));
        return 0;
    }
    if (rank == 0)
        return Convert(s, DT_I32);
    Ref part[MAXRANK];
    for (int i = 0; i < rank; i++)
        if (!(part[i] = Convert(to_start(SliceAxis(s, 0, i, i + 1), typ(x)->dim[i]), counter_of(x))))
            return 0;
    return rank == 1 ? part[0] : Concat(part, rank, 0);
}

hd hd_dynamic_slice(hd x, hd starts, hd_ints list)
{
    static const char what[] = "hd_dynamic_slice";
    Ints sizes, none = { 0 };
    OP(hd_dynamic_slice);
    Ref r = sym_ref(x), s = starts_of(what, r, starts);
    if (!s || ints_in(what, list, &sizes))
        return HD_NIL;
    if (sizes.n != typ(r)->rank) {
        error_set(E_INVAL, "%s: %s has %d axes, but %d sizes are given",
            what, type_text(typ(r)), typ(r)->rank, sizes.n);
        return HD_NIL;
    }
    for (int i = 0; i < sizes.n; i++)
        if (sizes.v[i] < 0 || sizes.v[i] > typ(r)->dim[i]) {
            error_set(E_SHAPE, "%s: %lld elements do not fit in axis %d of %s",
                what, (long long)sizes.v[i], i, type_text(typ(r)));
            return HD_NIL;
        }
    return sym_of(DynamicSlice(r, s, sizes, none));
}

/* Does an update fit into x? */
static bool fits_in(const char *what, Ref x, Ref u)
{
    Type a = *typ(x), b = *typ(u);
    bool ok = a.rank == b.rank;
    for (int i = 0; ok && i < a.rank; i++)
        ok = b.dim[i] <= a.dim[i];
    if (!ok)
        error_set(E_SHAPE, "%s: the update %s does not fit in %s", what, type_text(&b), type_text(&a));
    return ok;
}

hd hd_dynamic_update_slice(hd x, hd update, hd starts)
{
    static const char what[] = "hd_dynamic_update_slice";
    Ref r[2];
    OP(hd_dynamic_update_slice);
    if (unify_dtype(what, 2, (const hd[]){ x, update }, r) || !fits_in(what, r[0], r[1]))
        return HD_NIL;
    Ref s = starts_of(what, r[0], starts);
    return s ? sym_of(DynamicUpdate(r[0], r[1], s)) : HD_NIL;
}

/* The starts of the window at i along one axis. */
static Ref start_at(const char *what, Ref x, int axis, hd i)
{
    Ref k = sym_weak(i, NULL) ? sym_ref_as(i, DT_I32) : sym_ref(i);
    if (!int_operand(what, "i", k))
        return 0;
    if (typ(k)->rank) {
        error_set(E_SHAPE, "%s: i is one place, not %s; use hd_take", what, type_text(typ(k)));
        return 0;
    }
    k = to_start(k, typ(x)->dim[axis]);
    int rank = typ(x)->rank;
    return k ? Pad(Reshape(k, ints1(1)), Const((Dtype)typ(k)->dt, 0), ints1(axis), ints1(rank - 1 - axis),
                   ints1(0)) :
               0;
}

static bool not_empty(const char *what, Ref x, int axis)
{
    if (typ(x)->dim[axis])
        return true;
    error_set(E_SHAPE, "%s: axis %d of %s is empty", what, axis, type_text(typ(x)));
    return false;
}

hd hd_dynamic_index(hd x, hd i, int axis)
{
    static const char what[] = "hd_dynamic_index";
    Ints none = { 0 };
    OP(hd_dynamic_index);
    Ref r = rank_ref(what, x, 1);
    int a = r ? axis_of(what, axis, typ(r)->rank) : -1;
    if (a < 0 || !not_empty(what, r, a))
        return HD_NIL;
    Ref s = start_at(what, r, a, i);
    Ints sizes = shape_of(r);
    sizes.v[a] = 1;
    return s ? sym_of(squeeze_axis(DynamicSlice(r, s, sizes, none), a)) : HD_NIL;
}

/* The update has x's shape without the axis, or with size 1 there. */
hd hd_dynamic_update_index(hd x, hd update, hd i, int axis)
{
    static const char what[] = "hd_dynamic_update_index";
    Ref r[2];
    OP(hd_dynamic_update_index);
    if (unify_dtype(what, 2, (const hd[]){ x, update }, r) || !rank_ref(what, sym_of(r[0]), 1))
        return HD_NIL;
    int rank = typ(r[0])->rank, a = axis_of(what, axis, rank);
    if (a < 0 || !not_empty(what, r[0], a))
        return HD_NIL;
    if (typ(r[1])->rank == rank - 1)
        r[1] = unsqueeze(r[1], a);
    Ints one = shape_of(r[0]);
    one.v[a] = 1;
    Type want = type_of((Dtype)typ(r[0])->dt, rank, one.v);
    if (!type_equal(typ(r[1]), &want)) {
        error_set(E_SHAPE, "%s: the update is %s, but axis %d of %s has room for %s",
            what, type_text(typ(r[1])), a, type_text(typ(r[0])), type_text(&want));
        return HD_NIL;
    }
    Ref s = start_at(what, r[0], a, i);
    return s ? sym_of(DynamicUpdate(r[0], r[1], s)) : HD_NIL;
}

/* ==================== gather and scatter, with dimension numbers */

static int dims_in(const char *what, const hd_index_opts *o, Dims *d)
{
    if ((unsigned)o->combine > HD_MAX)
        return error_set(
            E_INVAL, "%s: .combine is %d, which is not of enum hd_combine", what, (int)o->combine);
    return ints_in(what, o->window_axes, &d->window) || ints_in(what, o->collapsed_axes, &d->collapsed)
        || ints_in(what, o->index_axes, &d->map) || ints_in(what, o->x_batch_axes, &d->x_batch)
        || ints_in(what, o->indices_batch_axes, &d->indices_batch);
}

static Ref index_vectors(const char *what, hd indices)
{
    Ref i = sym_ref(indices);
    if (!int_operand(what, "indices", i))
        return 0;
    if (typ(i)->rank)
        return i;
    error_set(E_SHAPE,
        "%s: index vectors are in the last axis of indices, but %s has none; use hd_expand_dims", what,
        type_text(typ(i)));
    return 0;
}

/* Without a mode windows are promised to be inside; they are moved there all the same, so that none reads
 * elsewhere. */
hd hd_gather_n(hd x, hd indices, const hd_index_opts *o)
{
    Dims d;
    Ints sizes;
    int mode;
    OP(hd_gather_n);
    OPTIONS(hd_index_opts, o);
    Ref r = sym_ref(x), i = index_vectors("hd_gather", indices);
    if (!r || !i || dims_in("hd_gather", o, &d) || mode_in("hd_gather", o->mode, MODE_CLIP, &mode) ||
        ints_in("hd_gather", o->sizes, &sizes))
        return HD_NIL;
    return sym_of(gather(r, i, &d, sizes, mode));
}

hd hd_scatter_n(hd x, hd indices, hd updates, const hd_index_opts *o)
{
    Dims d;
    Ref r[2];
    int mode;
    OP(hd_scatter_n);
    OPTIONS(hd_index_opts, o);
    Ref i = index_vectors("hd_scatter", indices);
    if (!i || unify_dtype("hd_scatter", 2, (const hd[]){ x, updates }, r) || dims_in("hd_scatter", o, &d) ||
        mode_in("hd_scatter", o->mode, MODE_FILL, &mode))
        return HD_NIL;
    return sym_of(scatter(r[0], i, r[1], &d, mode, (int)o->combine, o->unique));
}

/* Rows of x added up by their segment; ids outside 0 .. segments-1, negative ones too, are left out. */
/* What a segment of no rows has. */
static Ref of_none(Type t, enum hd_combine how)
{
    Dtype d = (Dtype)t.dt;
    bool most = how == HD_MIN; /* the largest number is what nothing is above */
    if (how == HD_ADD || how == HD_MUL)
        return Full(t, how == HD_MUL);
    if (dtype_float(d))
        return Full(t, most ? INFINITY : -INFINITY);
    if (d == DT_BOOL || dtype_unsigned(d))
        return FullBits(t, most ? d == DT_BOOL ? 1 : -1 : 0);
    int64_t half = (int64_t)1 << (8 * dtype_size(d) - 2);
    return FullBits(t, most ? half - 1 + half : -half - half);
}

static hd segments(const char *what, hd x, hd ids, int64_t n, enum hd_combine how)
{
    Ref r = rank_ref(what, x, 1), i = r ? sym_ref(ids) : 0;
    if (!r || !int_operand(what, "segment_ids", i) || !real_dtype(what, (Dtype)typ(r)->dt))
        return HD_NIL;
    Type t = *typ(r);
    if (n < 0 || typ(i)->rank != 1 || typ(i)->dim[0] != t.dim[0]) {
        error_set(E_SHAPE,
            "%s: %s needs one segment id a row, i32[%lld], not %s, and a number of segments, not %lld", what,
            type_text(&t), (long long)t.dim[0], type_text(typ(i)), (long long)n);
        return HD_NIL;
    }
    t.dim[0] = n;
    Dims d = { .window = ints_run(1, t.rank), .collapsed = ints1(0), .map = ints1(0) };
    Ref none = of_none(t, how);
    return sym_of(
        n && none ? scatter(none, unsqueeze(as_index(i, n), 1), r, &d, MODE_FILL, how, false) : none);
}

#define SEGMENT(name, how) \
    hd hd_segment_##name(hd x, hd ids, int64_t n) \
    { \
        OP(hd_segment_##name); \
        return segments("hd_segment_" #name, x, ids, n, how); \
    }
SEGMENT(sum, HD_ADD)
SEGMENT(prod, HD_MUL)
SEGMENT(max, HD_MAX)
SEGMENT(min, HD_MIN)
