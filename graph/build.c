/*
 * build.c - builders of the structural operations: C arguments in, attributes in the order of the op's
 * schema out.
 *
 * A builder passes the missing value (0) on. Whether its arguments make sense is for the op's infer rule to
 * say; here is only what must be known to compute the attributes.
 */
#include "graph.h"

#include <string.h>

static Ref emit1(Op op, Ref x, const Attr *a) { return emit(op, 1, &x, a); }

static void attr_ints(Attr *a, Ints s)
{
    if (s.n > MAXRANK)
        error_set(E_SHAPE, "%d dimensions: %d is the most", s.n, MAXRANK);
    attr_list(a, s.v, s.n < MAXRANK ? s.n : MAXRANK);
}

/* ==================== constants */

/* Brings bits to the form that the table finds: sign-extended for signed integers, else zero-extended. */
Ref ConstBits(Dtype dt, int64_t bits)
{
    char e[16] = { 0 };
    if (dt == DT_NONE || dt >= DT_COUNT) {
        error_set(E_DTYPE, "there are no scalar constants of dtype %s", dtype_name(dt));
        return 0;
    }
    dtype_store_i(dt, e, bits);
    return emit(OP_const, 0, NULL, ATTRS(1, dt, 1, dtype_load_i(dt, e)));
}

Ref Const(Dtype dt, double v)
{
    char e[16] = { 0 };
    dtype_store_f(dt, e, v);
    return ConstBits(dt, dtype_load_i(dt, e));
}

static Ref fill(Ref c, const Type *t) { return Broadcast(c, type_shape(t), (Ints){ 0 }); }
Ref Full(Type t, double v) { return fill(Const((Dtype)t.dt, v), &t); }
Ref FullBits(Type t, int64_t bits) { return fill(ConstBits((Dtype)t.dt, bits), &t); }
Ref Zeros(const Type *t) { return Full(*t, 0); }
Ref Like(Ref v, double c) { return v ? Full(*typ(v), c) : 0; }

Ref Iota(Type t, int axis)
{
    Attr a = { 0 };
    attr_int(&a, t.dt);
    attr_list(&a, t.dim, t.rank);
    attr_int(&a, axis);
    return emit(OP_iota, 0, NULL, &a);
}

/* ==================== elementwise, of their own kind */

Ref RealPart(Ref x) { return emit1(OP_real, x, NULL); }
Ref ImagPart(Ref x) { return emit1(OP_imag, x, NULL); }
Ref Conj(Ref x) { return emit1(OP_conj, x, NULL); }
Ref Complex(Ref re, Ref im) { return emit(OP_complex, 2, (const Ref[]){ re, im }, NULL); }

Ref Select(Ref p, Ref x, Ref y) { return emit(OP_select, 3, (const Ref[]){ p, x, y }, NULL); }
Ref Convert(Ref x, Dtype dt) { return emit1(OP_convert, x, ATTRS(1, dt)); }
Ref StopGradient(Ref x) { return emit1(OP_stop_gradient, x, NULL); }

Ref NameValue(Ref x, const char *name)
{
    Attr a = { 0 };
    attr_int(&a, (int64_t)(intptr_t)name);
    return emit(OP_named, 1, &x, &a);
}

Ref Constrain(Ref x, int open, const char *spec)
{
    Attr a = { 0 };
    attr_int(&a, open), attr_int(&a, (int64_t)(intptr_t)spec);
    return emit(OP_constrain, 1, &x, &a);
}

/* Effects of one example: no lane axes yet. */
static Ref effect(Op op, const char *text, const Ref *x, int n)
{
    Attr a = { 0 };
    attr_int(&a, (int64_t)(intptr_t)text);
    attr_list(&a, NULL, 0);
    return emit(op, n, x, &a);
}

Ref Check(Ref ok, const char *message) { return effect(OP_check, message, &ok, 1); }

Ref DebugPrint(const char *format, const Ref *values, int n)
{
    Ref *x = NEWS(Ref, n + 1);
    x[0] = ConstBits(DT_BOOL, 1);
    for (int k = 0; k < n; k++)
        x[k + 1] = values[k];
    return effect(OP_debug_print, format, x, n + 1);
}

Ref GammaDraw(Ref y, Ref a, bool logarithm)
{
    return emit(OP_gamma_draw, 2, (const Ref[]){ y, a }, ATTRS(1, logarithm));
}
Ref Accum(Ref acc, Ref x) { return emit(OP_accum, 2, (const Ref[]){ acc, x }, NULL); }

Ref ReducePrecision(Ref x, int exponent_bits, int mantissa_bits)
{
    return emit1(OP_reduce_precision, x, ATTRS(1, exponent_bits, 1, mantissa_bits));
}

/* ==================== shape */

Ref Bitcast(Ref x, Dtype dt) { return emit1(OP_bitcast, x, ATTRS(1, dt)); }

Ref Broadcast(Ref x, Ints shape, Ints dims)
{
    Attr a = { 0 };
    attr_ints(&a, shape);
    attr_ints(&a, dims);
    return emit1(OP_broadcast, x, &a);
}

Ref BroadcastLead(Ref x, int64_t n)
{
    if (!x)
        return 0;
    Type t = type_add_lead(typ(x), n);
    Ints dims = { typ(x)->rank, { 0 } };
    for (int k = 0; k < dims.n; k++)
        dims.v[k] = k + 1;
    return Broadcast(x, type_shape(&t), dims);
}

static Ref with_ints(Op op, Ref x, Ints s)
{
    Attr a = { 0 };
    attr_ints(&a, s);
    return emit1(op, x, &a);
}

Ref Reshape(Ref x, Ints shape) { return with_ints(OP_reshape, x, shape); }
Ref Transpose(Ref x, Ints perm) { return with_ints(OP_transpose, x, perm); }

Ref MoveAxis(Ref x, int from, int to)
{
    int rank = typ(x)->rank, n = 0;
    if (!x)
        return 0;
    if (from < 0 || from >= rank || to < 0 || to >= rank) {
        error_set(E_INVAL, "axis %d of %s cannot move to %d", from, type_text(typ(x)), to);
        return 0;
    }
    Ints perm = { rank, { 0 } };
    for (int k = 0; k < rank; k++) {
        n += n == from;
        perm.v[k] = k == to ? from : n++;
    }
    return Transpose(x, perm);
}

static Ref with_three(Op op, int nin, const Ref *x, Ints p, Ints q, Ints r)
{
    Attr a = { 0 };
    attr_ints(&a, p);
    attr_ints(&a, q);
    attr_ints(&a, r);
    return emit(op, nin, x, &a);
}

Ref Slice(Ref x, Ints start, Ints limit, Ints step)
{
    return with_three(OP_slice, 1, &x, start, limit, step);
}

Ref SliceAxis(Ref x, int axis, int64_t start, int64_t limit)
{
    if (!x)
        return 0;
    Ints lo = { typ(x)->rank, { 0 } }, hi = type_shape(typ(x)), step = lo;
    if (axis < 0 || axis >= lo.n) {
        error_set(E_INVAL, "slice: axis %d is out of range for %s; axes are 0 to %d", axis,
            type_text(typ(x)), lo.n - 1);
        return 0;
    }
    for (int k = 0; k < lo.n; k++)
        step.v[k] = 1;
    lo.v[axis] = start;
    hi.v[axis] = limit;
    return Slice(x, lo, hi, step);
}

Ref Pad(Ref x, Ref value, Ints lo, Ints hi, Ints interior)
{
    return with_three(OP_pad, 2, (const Ref[]){ x, value }, lo, hi, interior);
}

Ref Concat(const Ref *x, int n, int axis) { return emit(OP_concat, n, x, ATTRS(1, axis)); }

/* Sets of axes are kept in order, so that equal ones are found. */
static Ints ints_sorted(Ints s)
{
    for (int k = 1; k < s.n && k < MAXRANK; k++)
        for (int j = k; j > 0 && s.v[j - 1] > s.v[j]; j--) {
            int64_t v = s.v[j];
            s.v[j] = s.v[j - 1];
            s.v[j - 1] = v;
        }
    return s;
}

Ref Reverse(Ref x, Ints axes) { return with_ints(OP_reverse, x, ints_sorted(axes)); }
Ref Shear(Ref x, int axis, int along, int64_t step)
{
    return emit1(OP_shear, x, ATTRS(1, axis, 1, along, 1, step));
}

/* ==================== reductions and products */

Ref Reduce(Op op, Ref x, Ints axes) { return with_ints(op, x, ints_sorted(axes)); }
Ref Sum(Ref x, Ints axes) { return Reduce(OP_reduce_sum, x, axes); }
Ref Arg(Op op, Ref x, int axis, Dtype index) { return emit1(op, x, ATTRS(1, axis, 1, index)); }
Ref Cumulative(Op op, Ref x, int axis, bool reverse) { return emit1(op, x, ATTRS(1, axis, 1, reverse)); }

/* The parameters of dot_general: contracted and batched axes of both operands, and the dtype of the
 * result. */
Ref Dot(Ref x, Ref y, Ints lc, Ints rc, Ints lb, Ints rb, Dtype out)
{
    Attr a = { 0 };
    attr_ints(&a, lc);
    attr_ints(&a, rc);
    attr_ints(&a, lb);
    attr_ints(&a, rb);
    attr_int(&a, out == DT_NONE ? typ(x)->dt : out);
    return emit(OP_dot, 2, (const Ref[]){ x, y }, &a);
}

/* ==================== indexing */

Ref DynamicSlice(Ref x, Ref starts, Ints sizes, Ints xb)
{
    Attr a = { 0 };
    attr_ints(&a, sizes);
    attr_ints(&a, xb);
    return emit(OP_dynamic_slice, 2, (const Ref[]){ x, starts }, &a);
}

Ref DynamicUpdate(Ref x, Ref u, Ref starts)
{
    return emit(OP_dynamic_update, 3, (const Ref[]){ x, u, starts }, NULL);
}

Ref AccumSlice(Ref acc, Ref u, Ref starts, Ints xb)
{
    Attr a = { 0 };
    attr_ints(&a, xb);
    return emit(OP_accum_slice, 3, (const Ref[]){ acc, u, starts }, &a);
}
