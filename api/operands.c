/*
 * operands.c - symbols as operands: constants find their dtype, shapes are broadcast, axes are counted from
 * either end.
 *
 * In: symbols. Out: values of the current trace that an op of the graph accepts as they are: one dtype, one
 * shape.
 */
#include "api.h"
#include <math.h>
#include <string.h>

/* Does the number have an exact meaning in this dtype? Floats round; integers must be whole and in range. */
static bool fits(double v, Dtype d)
{
    if (dtype_inexact(d) || dtype_f8(d))
        return true;
    if (d == DT_BOOL)
        return v == 0 || v == 1;
    bool sign = dtype_signed(d) || d == DT_I4;
    double top = ldexp(1, dtype_bits(d) - sign), low = sign ? -top : 0;
    return v == trunc(v) && v >= low && v < top;
}

Ref number(const char *what, double v, Dtype d)
{
    if (d == DT_KEY) {
        error_set(E_DTYPE,
            "%s%sthe constant %.17g is no random key: keys are made by hd_random_key and hd_random_split",
            what ? what : "", what ? ": " : "", v);
        return 0;
    }
    if (fits(v, d))
        return Const(d, v);
    error_set(E_DTYPE, "%s%sthe constant %.17g is no %s: convert the other operand with hd_cast",
        what ? what : "", what ? ": " : "", v, dtype_name(d));
    return 0;
}

Ref sym_ref_as(hd x, Dtype d)
{
    double v;
    return sym_weak(x, &v) ? number(NULL, v, d) : sym_ref(x);
}

int unify_dtype(const char *what, int n, const hd *x, Ref *r)
{
    Dtype d = DT_NONE;
    Ref first = 0;
    double v;
    for (int i = 0; i < n; i++) {
        r[i] = 0;
        if (sym_weak(x[i], NULL))
            continue;
        if (!(r[i] = sym_ref(x[i])))
            return (int)error_code();
        if (d == DT_NONE)
            d = typ(r[i])->dt, first = r[i];
        else if (d != typ(r[i])->dt)
            return error_set(E_DTYPE, "%s: the dtypes differ: %s and %s; %s", what, type_text(typ(first)),
                type_text(typ(r[i])),
                d == DT_KEY || typ(r[i])->dt == DT_KEY ?
                    "a random key is no number, and its words are hd_key_data" :
                    "convert one with hd_cast");
    }
    for (int i = 0; i < n; i++)
        if (sym_weak(x[i], &v) && !(r[i] = number(what, v, d == DT_NONE ? DT_F32 : d)))
            return (int)error_code();
    return 0;
}

Ref broadcast_to(Ref x, Ints shape)
{
    if (!x)
        return 0;
    Type t = *typ(x);
    int off = shape.n - t.rank;
    Ints keep = { 0 }, dims = { 0 };
    bool fit = off >= 0 && shape.n <= MAXRANK;
    for (int d = 0; fit && d < t.rank; d++) {
        fit = t.dim[d] == shape.v[d + off] || t.dim[d] == 1;
        if (t.dim[d] == shape.v[d + off])
            keep.v[keep.n++] = t.dim[d], dims.v[dims.n++] = d + off;
    }
    if (!fit) {
        Type to = type_of(t.dt, shape.n < MAXRANK ? shape.n : MAXRANK, shape.v);
        error_set(E_SHAPE,
            "%s does not broadcast to %s: sizes must be equal, or 1, counted from the last axis",
            type_text(&t), type_text(&to));
        return 0;
    }
    if (keep.n == shape.n)
        return x;
    if (keep.n != t.rank)
        x = Reshape(x, keep);
    return Broadcast(x, shape, dims);
}

int unify_shape(const char *what, int n, Ref *r)
{
    Ints s = { 0 };
    for (int i = 0; i < n; i++) {
        if (!r[i])
            return (int)error_code();
        if (typ(r[i])->rank > s.n)
            s.n = typ(r[i])->rank;
    }
    for (int d = 0; d < s.n; d++)
        s.v[d] = 1;
    for (int i = 0; i < n; i++) {
        const Type *t = typ(r[i]);
        for (int d = 0, off = s.n - t->rank; d < t->rank; d++)
            if (s.v[d + off] == 1)
                s.v[d + off] = t->dim[d];
            else if (t->dim[d] != 1 && t->dim[d] != s.v[d + off]) {
                const Type *o = t;
                for (int k = 0; k < i; k++) {
                    const Type *u = typ(r[k]);
                    int e = d + off - (s.n - u->rank);
                    if (e >= 0 && u->dim[e] != 1)
                        o = u;
                }
                return error_set(
                    E_SHAPE, "%s: shapes do not broadcast: %s and %s", what, type_text(o), type_text(t));
            }
    }
    for (int i = 0; i < n; i++)
        if (!(r[i] = broadcast_to(r[i], s)))
            return (int)error_code();
    return 0;
}

int unify(const char *what, int n, const hd *x, Ref *r)
{
    int e = unify_dtype(what, n, x, r);
    return e ? e : unify_shape(what, n, r);
}

/* The op on numbers, computed in f64: constants stay constants. false where the row cannot. */
static bool on_numbers(Op op, int n, const hd *x, double *out)
{
    const OpRow *row = &optab[op];
    double v[3];
    const void *in[3];
    Type t = type_scalar(DT_F64);
    const Type *types[3] = { &t, &t, &t };
    if (!row->rules || !row->rules->eval || row->gives == BOOL_ || !(row->accepts & F_))
        return false;
    for (int i = 0; i < n; i++) {
        if (!sym_weak(x[i], &v[i]))
            return false;
        in[i] = &v[i];
    }
    Ref refs[3] = { 1, 2, 3 };
    Ins ins = { .op = (uint16_t)op, .nin = n, .nout = 1, .in = refs, .out = 4 };
    void *result[1] = { out };
    return row->rules->eval(&ins, types, in, &t, result) == 0;
}

hd elem(Op op, int n, const hd *x)
{
    Ref r[3];
    double v;
    if (n > 0 && n <= 3 && optab[op].elementwise && on_numbers(op, n, x, &v))
        return sym_const(v);
    if (!tracing() || unify(optab[op].name, n, x, r))
        return HD_NIL;
    return sym_of(emit(op, n, r, NULL));
}

/* ==================== lists */

int list_in(const char *what, const void *list, int n, int least)
{
    if (n >= least && (list || !n))
        return 0;
    error_begin();
    if (n < least)
        return error_set(E_INVAL, "%s: a count of %d", what, n);
    return error_set(E_INVAL, "%s: the list is NULL", what);
}

bool fn_in(const char *what, const hd_fn *f)
{
    if (!f && !error_pending())
        error_set(E_INVAL, "%s: the function is NULL", what);
    return f != NULL;
}

int ints_in(const char *what, hd_ints a, Ints *out)
{
    if (a.n < 0 || a.n > MAXRANK)
        return error_set(E_INVAL, "%s: a list of %d integers; at most %d", what, a.n, MAXRANK);
    *out = ints_of(a.v, a.n);
    return 0;
}

hd_ints ints_out(Ints a)
{
    hd_ints r = { a.n, { 0 } };
    memcpy(r.v, a.v, sizeof r.v);
    return r;
}

int axis_of(const char *what, int64_t axis, int rank)
{
    if (axis >= -rank && axis < rank)
        return (int)(axis < 0 ? axis + rank : axis);
    if (axis == HD_KEEP || axis == HD_NONE)
        error_set(E_INVAL, "%s: an axis is wanted here", what);
    else if (!rank)
        error_set(E_INVAL, "%s: axis %lld of a scalar, which has no axes; reshape it to [1] first", what,
            (long long)axis);
    else
        error_set(E_INVAL, "%s: axis %lld is out of range for an array of %d; axes are %d to %d", what,
            (long long)axis, rank, -rank, rank - 1);
    return -1;
}

int axes_of(const char *what, hd_ints axes, int rank, Ints *out, bool *keep)
{
    bool in[MAXRANK] = { false };
    if (keep)
        *keep = false;
    if (axes.n < 0 || axes.n > MAXRANK)
        return error_set(E_INVAL, "%s: a list of %d axes", what, axes.n);
    if (axes.n > 0 && keep && axes.v[axes.n - 1] == HD_KEEP)
        *keep = true, axes.n--;
    for (int i = 0; i < axes.n; i++) {
        int a = axis_of(what, axes.v[i], rank);
        if (a < 0)
            return (int)error_code();
        if (in[a])
            return error_set(E_INVAL, "%s: axis %d is named twice", what, a);
        in[a] = true;
    }
    *out = (Ints){ 0 };
    for (int d = 0; d < rank; d++)
        if (in[d] || !axes.n)
            out->v[out->n++] = d;
    return 0;
}
