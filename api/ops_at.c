/*
 * ops_at.c - elements by their indices, as numpy writes x[i, :, j] and JAX x.at[i, :, j].add(v).
 *
 * In: one index for each of the first axes of x: integers, which broadcast to one shape, or HD_NIL for a
 * whole axis.
 * Out: a gather or a scatter; slices where plain numbers are read. The axes that the indices broadcast to
 * stand where the first of them stood; where a whole axis lies between two indices they come first. Negative
 * indices count from the end. Outside of x a read is moved to the nearest element, and a write is left out,
 * as in JAX.
 */
#include "formulas.h"

#include <math.h>

/* x seen through its indices: the index vectors in the last axis of `vectors`, and which axes are which. */
typedef struct Indexed {
    Ref x, vectors;
    /* axes of x that have an index; axes of the result that are whole ones; a window */
    Ints taken, windows, sizes;
    Ints result;                                /* the shape of x[i, :, j] */
    bool nothing;                               /* an axis that has an index is empty: no index is inside */
} Indexed;

/* An index of axis d as an array of integers of one dtype for all of x, negative ones counted from the end;
 * what is outside stays outside. 0 after an error. */
static Ref index_of(const char *what, hd index, Ref x, int d, Dtype common)
{
    Ref i = sym_weak(index, NULL) ? sym_ref_as(index, DT_I32) : sym_ref(index);
    if (i && typ(i)->dt == DT_BOOL) {
        error_set(E_DTYPE,
            "%s: there is no indexing by bool, whose result would have no fixed shape; hd_nonzero gives the "
            "places of true, hd_where chooses by element",
            what);
        return 0;
    }
    if (!int_operand(what, "indices", i))
        return 0;
    int64_t n = typ(x)->dim[d];
    i = from_end(i, n);
    if (!i || (Dtype)typ(i)->dt == common)
        return i;
    Dtype own = (Dtype)typ(i)->dt;
    if (dtype_size(own) >= dtype_size(common)) {        /* must fit: outside is outside, however far */
        i = Min(i, Like(i, (double)n));
        i = dtype_unsigned(own) ? i : Max(i, Like(i, -1));
    }
    return i ? Convert(i, common) : 0;
}

/* i32 where all sizes fit. */
static Dtype index_dtype(Ref x)
{
    for (int d = 0; d < typ(x)->rank; d++)
        if (typ(x)->dim[d] >= INT32_MAX)
            return DT_I64;
    return DT_I32;
}

/* The indices side by side in a new last axis; *shape: what they broadcast to. 0 after an error. */
static Ref vectors_of(const char *what, Ref *index, int n, Ints *shape)
{
    *shape = (Ints){ 0 };
    if (!n)
        return Zeros(&(Type){ .dt = DT_I32, .rank = 1 });       /* one vector of no numbers: all of x */
    if (unify_shape(what, n, index))
        return 0;
    *shape = shape_of(index[0]);
    if (shape->n == MAXRANK) {
        error_set(E_SHAPE,
            "%s: indices of %s have the largest number of axes; one more is needed for a moment", what,
            type_text(typ(index[0])));
        return 0;
    }
    for (int i = 0; i < n; i++)
        if (!(index[i] = unsqueeze(index[i], shape->n)))
            return 0;
    return n == 1 ? index[0] : Concat(index, n, shape->n);
}

/* Sizes, windows and the shape of the result, once the taken axes and the shape of the indices are known. */
static int laid_out(const char *what, Indexed *v, Ints shape)
{
    Ints all = shape_of(v->x);
    int k = v->taken.n, first = k ? (int)v->taken.v[0] : 0;
    bool together = !k || v->taken.v[k - 1] - first == k - 1;
    int at = together ? first : 0;
    if (all.n - k + shape.n > MAXRANK)
        return error_set(E_SHAPE, "%s: the result would have %d axes; no array has more than %d", what,
                         all.n - k + shape.n, MAXRANK);
    v->sizes = all;
    for (int d = 0; d <= all.n; d++) {
        for (int i = 0; d == at && i < shape.n; i++)
            v->result.v[v->result.n++] = shape.v[i];
        if (d == all.n)
            break;
        if (ints_has(&v->taken, d)) {
            v->nothing |= !all.v[d];
            v->sizes.v[d] = 1;
            continue;
        }
        v->windows.v[v->windows.n++] = v->result.n;
        v->result.v[v->result.n++] = all.v[d];
    }
    return 0;
}

static int indexed(const char *what, Ref x, const hd *index, int n, Indexed *v)
{
    *v = (Indexed){ .x = x };
    Ref list[MAXRANK];
    Ints shape;
    if (!x)
        return (int)error_code();
    n = sym_count(what, index, n);
    if (n < 0)
        return (int)error_code();
    if (n > typ(x)->rank)
        return error_set(
            E_INVAL, "%s: %d indices, but %s has %d axes", what, n, type_text(typ(x)), typ(x)->rank);
    Dtype common = index_dtype(x);
    for (int d = 0; d < n; d++) {
        if (sym_absent(index[d]))
            continue;
        if (!(list[v->taken.n] = index_of(what, index[d], x, d, common)))
            return (int)error_code();
        v->taken.v[v->taken.n++] = d;
    }
    v->vectors = vectors_of(what, list, v->taken.n, &shape);
    return v->vectors ? laid_out(what, v, shape) : (int)error_code();
}

/* ==================== reading and writing */

/* Where all indices are plain numbers: slices, which fuse with what is around them, and whose derivative is
 * a pad where that of a gather is a scatter. 0 where they are not, and where there is something to complain
 * about. */
static Ref sliced(Ref x, const hd *index, int n)
{
    double at[MAXRANK];
    Ints taken = { 0 };

    n = x ? sym_count("hd_at", index, n) : 0;
    if (n > (x ? typ(x)->rank : 0))
        return 0;
    for (int d = 0; d < n; d++) {
        if (sym_absent(index[d]))
            continue;
        if (!sym_weak(index[d], at + d) || !typ(x)->dim[d] || fabs(at[d]) > INT32_MAX ||
            at[d] != trunc(at[d]))
            return 0;
        taken.v[taken.n++] = d;
    }
    for (int k = 0; x && k < taken.n; k++) {
        int64_t d = taken.v[k], size = typ(x)->dim[d], i = (int64_t)at[d];
        i += i < 0 ? size : 0;
        i = i < 0 ? 0 : i < size ? i : size - 1;
        x = SliceAxis(x, (int)d, i, i + 1);
    }
    return x && taken.n ? Reshape(x, ints_without(shape_of(x), &taken)) : 0;
}

hd hd_at_n(hd x, const hd *indices, int n)
{
    Indexed v;
    OP(hd_at_n);
    Ref r = sym_ref(x), part = sliced(r, indices, n);
    if (part)
        return sym_of(part);
    if (indexed("hd_at", r, indices, n, &v))
        return HD_NIL;
    if (v.nothing)
        return sym_of(scalar_to(fill_value((Dtype)typ(v.x)->dt), v.result));
    Dims d = { .window = v.windows, .collapsed = v.taken, .map = v.taken };
    return sym_of(gather(v.x, v.vectors, &d, v.sizes, MODE_CLIP));
}

hd hd_at_update_n(hd x, hd value, enum hd_combine combine, const hd *indices, int n)
{
    static const char *const name[] = { "hd_at_set", "hd_at_add", "hd_at_mul", "hd_at_min", "hd_at_max" };
    Indexed v;
    Ref r[2];
    OP(hd_at_update_n);
    if ((int)combine < HD_SET || combine > HD_MAX) {
        error_set(E_INVAL,
            "hd_at_update_n: there is no combination %d; HD_SET, HD_ADD, HD_MUL, HD_MIN and HD_MAX are",
            (int)combine);
        return HD_NIL;
    }
    const char *what = name[combine];
    if (unify_dtype(what, 2, (const hd[]){ x, value }, r) || indexed(what, r[0], indices, n, &v))
        return HD_NIL;
    Ref u = broadcast_to(r[1], v.result);
    if (!u || v.nothing)
        return sym_of(u ? v.x : 0);
    Dims d = { .window = v.windows, .collapsed = v.taken, .map = v.taken };
    return sym_of(scatter(v.x, v.vectors, u, &d, MODE_FILL, (int)combine, false));
}
