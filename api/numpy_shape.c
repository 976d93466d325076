/*
 * numpy_shape.c - arrays put together and turned, choices among several, functions along an axis.
 */
#include "formulas.h"

/* ==================== shapes */

/* A quarter turn from axis `from` to axis `to`, `times` times. */
hd hd_rot90(hd x, int times, int from, int to)
{
    static const char what[] = "hd_rot90";
    OP(hd_rot90);
    Ref r = rank_ref(what, x, 2);
    int a = r ? axis_of(what, from, typ(r)->rank) : -1, b = a < 0 ? -1 : axis_of(what, to, typ(r)->rank);
    if (b < 0)
        return HD_NIL;
    if (a == b) {
        error_set(E_INVAL, "%s: axes %d and %d are the same", what, from, to);
        return HD_NIL;
    }
    Ints swap = ints_run(0, typ(r)->rank);
    swap.v[a] = b, swap.v[b] = a;
    switch ((times % 4 + 4) % 4) {
    case 1:
        return sym_of(Transpose(Reverse(r, ints1(b)), swap));
    case 2:
        return sym_of(Reverse(Reverse(r, ints1(a)), ints1(b)));
    case 3:
        return sym_of(Reverse(Transpose(r, swap), ints1(b)));
    }
    return x;
}

/* Each vector spread over the grid of all: axis k is the k-th's. */
hd hd_meshgrid_n(const hd *xs, int n)
{
    static const char what[] = "hd_meshgrid";
    hd out[MAXRANK];
    Ints shape = { 0 };
    OP(hd_meshgrid_n);
    n = tracing() ? sym_count(what, xs, n) : -1;
    if (n < 0)
        return HD_NIL;
    if (n > MAXRANK) {
        error_set(E_SHAPE, "%s: %d vectors; an array has at most %d axes", what, n, MAXRANK);
        return HD_NIL;
    }
    for (int k = 0; k < n; k++) {
        Ref r = sym_ref(xs[k]);
        if (!r)
            return HD_NIL;
        if (typ(r)->rank > 1) {
            error_set(E_SHAPE, "%s: vectors are wanted, not %s", what, type_text(typ(r)));
            return HD_NIL;
        }
        shape.v[shape.n++] = type_size(typ(r));
    }
    for (int k = 0; k < n; k++)
        out[k] = sym_of(Broadcast(flat(sym_ref(xs[k])), shape, ints1(k)));
    return sym_tuple(out, n);
}

/* Rows of blocks: `columns` of them side by side along the last axis, these rows one below the other. */
hd hd_block_n(int columns, const hd *xs, int n)
{
    static const char what[] = "hd_block";
    OP(hd_block_n);
    n = tracing() ? sym_count(what, xs, n) : -1;
    if (n < 0)
        return HD_NIL;
    if (columns < 1 || n < 1 || n % columns) {
        error_set(E_INVAL, "%s: %d blocks are no rows of %d", what, n, columns);
        return HD_NIL;
    }
    hd *row = NEWS(hd, n / columns), *part = NEWS(hd, columns);
    for (int i = 0; i < n / columns; i++) {
        for (int k = 0; k < columns; k++) {
            Ref r = sym_ref(xs[i * columns + k]);
            if (!r)
                return HD_NIL;
            while (typ(r)->rank < 2 && (r = unsqueeze(r, 0)))
                ;
            part[k] = sym_of(r);
        }
        row[i] = hd_concatenate_n(-1, part, columns);
    }
    return hd_concatenate_n(-2, row, n / columns);
}

/* ==================== choices */

/* The value of the first condition that holds, else `otherwise`. */
hd hd_select_n(const hd *conditions, const hd *values, int n, hd otherwise)
{
    OP(hd_select_n);
    if (!tracing() || !sym_usable(otherwise))
        return HD_NIL;
    if (n < 0 || (n && (!conditions || !values))) {
        error_set(E_INVAL, "hd_select_n: %d conditions and values", n);
        return HD_NIL;
    }
    hd y = otherwise;
    for (int k = n - 1; k >= 0; k--)
        y = hd_where(conditions[k], values[k], y);
    return y;
}

/* As hd_select of functions of x: one a condition, and perhaps one more for where none holds (else 0). */
hd hd_piecewise_n(hd x, const hd *conditions, int n, hd_fns functions)
{
    static const char what[] = "hd_piecewise";
    OP(hd_piecewise_n);
    Ref r = sym_ref(x);
    if (!r)
        return HD_NIL;
    if (n < 0 || (n && !conditions) || !functions.f || (functions.n != n && functions.n != n + 1)) {
        error_set(E_INVAL, "%s: %d conditions and %d functions; as many, or one function more, are wanted",
            what, n, functions.n);
        return HD_NIL;
    }
    hd y = functions.n > n ? hd_apply_n(functions.f[n], &x, 1) : sym_of(Like(r, 0));
    for (int k = n - 1; k >= 0; k--)
        y = hd_where(conditions[k], hd_apply_n(functions.f[k], &x, 1), y);
    return y;
}

/* ==================== along an axis */

/* f of every vector along the axis; its results take the axis' place. */
hd hd_apply_along_axis_n(hd_fn *f, int axis, hd x)
{
    static const char what[] = "hd_apply_along_axis";
    OP(hd_apply_along_axis_n);
    Ref r = rank_ref(what, x, 1);
    int a = r ? axis_of(what, axis, typ(r)->rank) : -1;
    if (a < 0)
        return HD_NIL;
    int rank = typ(r)->rank;
    r = MoveAxis(r, a, rank - 1);
    Ints outer = shape_of(r);
    int64_t n = outer.v[--outer.n], lanes = 1;
    for (int k = 0; k < outer.n; k++)
        lanes *= outer.v[k];
    hd rows = sym_of(Reshape(r, (Ints){ 2, { lanes, n } }));
    hd y = hd_apply_n(hd_vmap_n(f, &(const hd_vmap_opts){ 0 }), &rows, 1);
    Ref z = sym_ref(y);
    if (!z)
        return HD_NIL;
    Ints shape = outer;
    int own = typ(z)->rank - 1;
    if (outer.n + own > MAXRANK) {
        error_set(E_SHAPE, "%s: results of %d axes for each of %s have too many axes", what, own,
            type_text(typ(r)));
        return HD_NIL;
    }
    for (int k = 0; k < own; k++)
        shape.v[shape.n++] = typ(z)->dim[k + 1];
    z = Reshape(z, shape);
    for (int k = 0; z && k < own; k++) /* to where the axis was, in order */
        z = MoveAxis(z, outer.n + k, a + k);
    return sym_of(z);
}

/* x with values where indices say along the axis; every other axis is as x has it. */
hd hd_put_along_axis(hd x, hd indices, hd values, int axis)
{
    static const char what[] = "hd_put_along_axis";
    OP(hd_put_along_axis);
    Ref r = rank_ref(what, x, 1), i = r ? sym_ref(indices) : 0;
    int a = i ? axis_of(what, axis, typ(r)->rank) : -1;
    if (a < 0 || !int_operand(what, "indices", i))
        return HD_NIL;
    Ints want = shape_of(r);
    bool fits = typ(i)->rank == want.n;
    for (int k = 0; fits && k < want.n; k++)
        fits = k == a || typ(i)->dim[k] == want.v[k];
    if (!fits) {
        error_set(E_SHAPE, "%s: indices are %s; of the shape of %s but for axis %d they are wanted", what,
            type_text(typ(i)), type_text(typ(r)), a);
        return HD_NIL;
    }
    hd at[MAXRANK];
    Type t = *typ(i);
    for (int k = 0; k < want.n; k++) {
        t.dt = type_counter(t.dim[k]);
        at[k] = k == a ? indices : sym_of(Iota(t, k));
    }
    return hd_at_update_n(x, values, HD_SET, at, want.n);
}

/* The order that sorts by the last key, then by the one before it ... : i32 indices along the axis. */
hd hd_lexsort(hd keys, int axis)
{
    static const char what[] = "hd_lexsort";
    OP(hd_lexsort);
    int n = sym_usable(keys) ? hd_len(keys) : 0;
    if (n < 1) {
        if (!error_pending())
            error_set(E_INVAL, "%s: a tuple of keys is wanted", what);
        return HD_NIL;
    }
    hd *x = NEWS(hd, n + 1);
    Ref first = rank_ref(what, hd_nth(keys, n - 1), 1);
    int a = first ? axis_of(what, axis, typ(first)->rank) : -1;
    if (a < 0)
        return HD_NIL;
    Type t = *typ(first);
    t.dt = type_counter(t.dim[a]);
    for (int k = 0; k < n; k++)
        x[k] = hd_nth(keys, n - 1 - k);
    x[n] = sym_of(Iota(t, a));
    return hd_nth(hd_sort_n(hd_tuple_n(x, n + 1), a, &(const hd_sort_opts){ .keys = n }), n);
}

/* The k-th smallest at its place along the axis, smaller ones in front of it: sorted is one such order. */
static bool place_given(const char *what, hd x, int64_t k, int axis)
{
    Ref r = rank_ref(what, x, 1);
    int a = r ? axis_of(what, axis, typ(r)->rank) : -1;
    if (a < 0)
        return false;
    int64_t n = typ(r)->dim[a];
    if (k >= -n && k < n)
        return true;
    error_set(E_INVAL, "%s: there is no element %lld along axis %d of %s", what, (long long)k, a,
        type_text(typ(r)));
    return false;
}

hd hd_partition(hd x, int64_t k, int axis)
{
    OP(hd_partition);
    return place_given("hd_partition", x, k, axis) ? hd_sort_n(x, axis, NULL) : HD_NIL;
}

hd hd_argpartition(hd x, int64_t k, int axis)
{
    OP(hd_argpartition);
    return place_given("hd_argpartition", x, k, axis) ? hd_argsort(x, axis) : HD_NIL;
}
