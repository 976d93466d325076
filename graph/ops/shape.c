/*
 * shape.c - constants and views: const data iota bitcast broadcast reshape transpose slice pad concat
 * reverse.
 *
 * A view moves elements and computes nothing, so each is linear, and its transpose is the view that moves
 * them back (a broadcast: the sum of what was spread out). Bits change their reading only in bitcast, which
 * has no derivative.
 */
#include <stdlib.h>
#include <string.h>

#include "ops.h"

/* ==================== const: one element, by its bits (c128: the bits of its real part) */

static int const_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin, (void)t;
    struct const_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e)
        return e;
    if (a.dtype.v[0] <= DT_NONE || a.dtype.v[0] >= DT_COUNT)
        return error_set(E_DTYPE, "const: %lld is no dtype", (long long)a.dtype.v[0]);
    *out = type_scalar((Dtype)a.dtype.v[0]);
    return 0;
}

static int const_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    (void)t, (void)in;
    int64_t bits = ins_int(i, ATTR(const, bits));
    size_t size = dtype_size((Dtype)u[0].dt), n = size < 8 ? size : 8;
    memset(out[0], 0, size);
    if (n == 1)
        memcpy(out[0], &(uint8_t){ (uint8_t)bits }, 1);
    else if (n == 2)
        memcpy(out[0], &(uint16_t){ (uint16_t)bits }, 2);
    else if (n == 4)
        memcpy(out[0], &(uint32_t){ (uint32_t)bits }, 4);
    else
        memcpy(out[0], &bits, 8);
    return 0;
}

const Rules rules_const = { const_infer, NULL, NULL, NULL, const_eval };

/* ==================== data: a constant array */

static int data_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin, (void)t;
    struct data_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e)
        return e;
    if (a.dtype.v[0] <= DT_NONE || a.dtype.v[0] >= DT_COUNT)
        return error_set(E_DTYPE, "data: %s is no dtype", ints_text(a.dtype));
    return ops_result(op, out, (Dtype)a.dtype.v[0], a.shape);
}

static int data_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    (void)t, (void)in;
    size_t n = type_bytes(&u[0]);
    if (i->nblob != n)
        return error_set(
            E_INTERNAL, "data: %zu bytes are stored for %s, which has %zu", i->nblob, type_text(&u[0]), n);
    if (n)
        memcpy(out[0], i->blob, n);
    return 0;
}

const Rules rules_data = { data_infer, NULL, NULL, NULL, data_eval };

/* ==================== iota: the index along an axis */

static int iota_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin, (void)t;
    struct iota_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e)
        return e;
    int64_t dt = a.dtype.v[0];
    if (dt <= DT_BOOL || dt >= DT_COUNT)
        return error_set(E_DTYPE, "iota: %s does not count; use a number type",
            dt == DT_BOOL ? "bool" :
                            "an "
                            "unknown dtype");
    if ((e = ops_result(op, out, (Dtype)dt, a.shape)))
        return e;
    e = ops_axis(op, out, a.axis.v[0]);
    return e ? e : ops_counts(op, out, a.axis.v[0], (Dtype)dt);
}

static int iota_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    (void)t, (void)in;
    int64_t axis = ins_int(i, ATTR(iota, axis)), n = type_size(&u[0]), stride[MAXRANK];
    Dtype dt = (Dtype)u[0].dt;
    size_t size = dtype_size(dt);
    ops_strides(&u[0], stride);
    for (int64_t k = 0; k < n; k++) {
        int64_t v = k / stride[axis] % u[0].dim[axis];
        ops_store(dt, (char *)out[0] + (size_t)k * size, (Wide){ .f = (long double)v, .i = v });
    }
    return 0;
}

const Rules rules_iota = { iota_infer, NULL, NULL, NULL, iota_eval };

/* ==================== bitcast: the same bytes; a change of width adds or takes away a last axis */

static int bitcast_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    struct bitcast_attrs a;
    Ints s = type_shape(t[0]);
    int e = ops_attrs(op, attr, nattr, &a);
    if (e)
        return e;
    int64_t to = a.dtype.v[0], from = t[0]->dt;
    if (to <= DT_NONE || to >= DT_COUNT)
        return error_set(E_DTYPE, "bitcast: %lld is no dtype", (long long)to);
    if ((to == DT_BOOL) != (from == DT_BOOL))
        return error_set(E_DTYPE,
            "bitcast: %s to %s: the bits of a bool have no meaning; convert, or compare with "
            "zero",
            type_text(t[0]), dtype_name((Dtype)to));
    if (to != from && (dtype_bits((Dtype)to) < 8 || dtype_bits((Dtype)from) < 8))
        return error_set(E_DTYPE,
            "bitcast: %s to %s: how numbers of four bits lie in memory is no part of a program; convert "
            "them with hd_cast",
            type_text(t[0]), dtype_name((Dtype)to));
    if (to != from && (dtype_complex((Dtype)to) || dtype_complex((Dtype)from)))
        return error_set(E_DTYPE,
            "bitcast: %s to %s: complex numbers are two parts; take them with real and imag, put them "
            "together "
            "with complex",
            type_text(t[0]), dtype_name((Dtype)to));
    if ((to == DT_KEY && from != DT_U32 && from != DT_KEY) ||
        (from == DT_KEY && to != DT_U32 && to != DT_KEY))
        return error_set(E_DTYPE,
            "bitcast: %s to %s: a random key is two words, u32[.., 2]; see hd_key_data and hd_wrap_key_data",
            type_text(t[0]), dtype_name((Dtype)to));
    int64_t m = (int64_t)dtype_size((Dtype)from), n = (int64_t)dtype_size((Dtype)to);
    if (m > n) {
        if (s.n >= MAXRANK)
            return error_set(E_SHAPE, "bitcast: %s to %s needs one more axis than %d; reshape it first",
                type_text(t[0]), dtype_name((Dtype)to), MAXRANK);
        s = ints_push(s, m / n);
    } else if (m < n) {
        if (!s.n || s.v[s.n - 1] != n / m)
            return error_set(E_SHAPE,
                "bitcast: %s to %s joins %lld elements, so the last axis must have that "
                "size; reshape it to [.., %lld] first",
                type_text(t[0]), dtype_name((Dtype)to), (long long)(n / m), (long long)(n / m));
        s.n--;
    }
    return ops_result(op, out, (Dtype)to, s);
}

static void bitcast_batch(
    const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    (void)s;
    const Type *t = typ(x[0]);
    bool wider = dtype_size((Dtype)t->dt) > dtype_size((Dtype)ins_int(i, ATTR(bitcast, dtype)));
    out[0] =
        ops_room(OP_bitcast, t->rank - 1 + wider) ? ops_again(i, stacked(x[0], s[0], ax->lane.size)) : 0;
    so[0] = STACKED;
}

static int same_bytes(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    (void)i, (void)t;
    size_t n = type_bytes(&u[0]);
    if (n)
        memmove(out[0], in[0], n);
    return 0;
}

const Rules rules_bitcast = { bitcast_infer, ops_jvp_zero, NULL, bitcast_batch, same_bytes };

/* ==================== broadcast: axis k of the operand is axis dims[k] of the result, of the same size or
 * of size 1 */

static int broadcast_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    struct broadcast_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e || (e = ops_result(op, out, (Dtype)t[0]->dt, a.shape)))
        return e;
    if (a.dims.n != t[0]->rank)
        return error_set(E_SHAPE, "broadcast: %s has %d axes, but %d places are given, %s; give one an axis",
            type_text(t[0]), t[0]->rank, a.dims.n, ints_text(a.dims));
    if ((e = ops_axes(op, "places", out, a.dims)) || (e = ops_rising(op, "places", a.dims)))
        return e;
    for (int k = 0; k < t[0]->rank; k++)
        if (t[0]->dim[k] != 1 && t[0]->dim[k] != a.shape.v[a.dims.v[k]])
            return error_set(E_SHAPE,
                "broadcast: axis %d of %s has size %lld, axis %lld of %s has %lld; only size "
                "1 stretches",
                k, type_text(t[0]), (long long)t[0]->dim[k], (long long)a.dims.v[k], type_text(out),
                (long long)a.shape.v[a.dims.v[k]]);
    return 0;
}

static void broadcast_transpose(const Ins *i, const Ref *ct, Cts *cts)
{
    Type t = *typ(i->in[0]);
    Ints shape = ins_ints(i, ATTR(broadcast, shape)), dims = ins_ints(i, ATTR(broadcast, dims)),
         axes = ints_others(shape.n, dims);
    for (int k = 0; k < dims.n; k++)
        if (t.dim[k] == 1 && shape.v[dims.v[k]] != 1)
            axes = ints_push(axes, dims.v[k]);
    ct_add(cts, i->in[0], Reshape(Sum(ct[0], axes), type_shape(&t)));
}

static void broadcast_batch(
    const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    Ints shape = ins_ints(i, ATTR(broadcast, shape)), dims = ins_ints(i, ATTR(broadcast, dims));
    int64_t n = ax->lane.size;
    out[0] = !ops_room(OP_broadcast, shape.n)
        ? 0 : Broadcast(stacked(x[0], s[0], n), ints_lead(n, shape), ints_lead(0, ints_up(dims)));
    so[0] = STACKED;
}

static int broadcast_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    int64_t from[MAXRANK] = { 0 }, fs[MAXRANK], ts[MAXRANK];
    Ints dims = ins_ints(i, ATTR(broadcast, dims));
    ops_strides(t[0], fs);
    ops_strides(&u[0], ts);
    for (int k = 0; k < dims.n; k++)
        from[dims.v[k]] = t[0]->dim[k] == 1 ? 0 : fs[k];
    ops_copy(u[0].rank, u[0].dim, dtype_size((Dtype)u[0].dt), out[0], ts, in[0], from);
    return 0;
}

const Rules rules_broadcast = { broadcast_infer, ops_jvp_again, broadcast_transpose, broadcast_batch,
    broadcast_eval };

/* ==================== reshape */

static int reshape_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    struct reshape_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e || (e = ops_result(op, out, (Dtype)t[0]->dt, a.shape)))
        return e;
    if (type_size(t[0]) != type_size(out))
        return error_set(E_SHAPE,
            "reshape: %s has %lld elements, %s has %lld; the sizes must multiply to the same "
            "number",
            type_text(t[0]), (long long)type_size(t[0]), type_text(out), (long long)type_size(out));
    return 0;
}

static void reshape_transpose(const Ins *i, const Ref *ct, Cts *cts)
{
    Type t = *typ(i->in[0]);
    ct_add(cts, i->in[0], Reshape(ct[0], type_shape(&t)));
}

static void reshape_batch(
    const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    Ints shape = ins_ints(i, ATTR(reshape, shape));
    int64_t n = ax->lane.size;
    out[0] = ops_room(OP_reshape, shape.n) ? Reshape(stacked(x[0], s[0], n), ints_lead(n, shape)) : 0;
    so[0] = STACKED;
}

const Rules rules_reshape = { reshape_infer, ops_jvp_again, reshape_transpose, reshape_batch, same_bytes };

/* ==================== transpose: axis k of the result is axis perm[k] of the operand */

static int transpose_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    struct transpose_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e)
        return e;
    if (a.perm.n != t[0]->rank)
        return error_set(E_SHAPE,
            "transpose: %s has %d axes, the permutation %s has %d; name every axis once", type_text(t[0]),
            t[0]->rank, ints_text(a.perm), a.perm.n);
    if ((e = ops_axes(op, "the entries of the permutation", t[0], a.perm)))
        return e;
    return ops_result(op, out, (Dtype)t[0]->dt, ints_pick(t[0], a.perm));
}

static void transpose_transpose(const Ins *i, const Ref *ct, Cts *cts)
{
    Ints perm = ins_ints(i, ATTR(transpose, perm)), back = perm;
    for (int k = 0; k < perm.n; k++)
        back.v[perm.v[k]] = k;
    ct_add(cts, i->in[0], Transpose(ct[0], back));
}

static void transpose_batch(
    const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    out[0] = Transpose(
        stacked(x[0], s[0], ax->lane.size), ints_lead(0, ints_up(ins_ints(i, ATTR(transpose, perm)))));
    so[0] = STACKED;
}

static int transpose_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    int64_t from[MAXRANK], fs[MAXRANK], ts[MAXRANK];
    Ints perm = ins_ints(i, ATTR(transpose, perm));
    ops_strides(t[0], fs);
    ops_strides(&u[0], ts);
    for (int k = 0; k < perm.n; k++)
        from[k] = fs[perm.v[k]];
    ops_copy(u[0].rank, u[0].dim, dtype_size((Dtype)u[0].dt), out[0], ts, in[0], from);
    return 0;
}

const Rules rules_transpose = { transpose_infer, ops_jvp_again, transpose_transpose, transpose_batch,
    transpose_eval };

/* ==================== slice: start, start + step, ... below limit */

static int slice_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    struct slice_attrs a;
    Ints s = type_shape(t[0]);
    int e = ops_attrs(op, attr, nattr, &a);
    if (e)
        return e;
    if (a.start.n != s.n || a.limit.n != s.n || a.step.n != s.n)
        return error_set(E_SHAPE,
            "slice: %s has %d axes, but there are %d starts, %d limits and %d steps; give "
            "one an axis",
            type_text(t[0]), s.n, a.start.n, a.limit.n, a.step.n);
    for (int d = 0; d < s.n; d++) {
        int64_t lo = a.start.v[d], hi = a.limit.v[d], step = a.step.v[d];
        if (step < 1)
            return error_set(E_SHAPE,
                "slice: step %lld along axis %d of %s; steps are 1 or more (reverse the axis "
                "first to go backwards)",
                (long long)step, d, type_text(t[0]));
        if (lo < 0 || hi < lo || hi > s.v[d])
            return error_set(E_SHAPE,
                "slice: from %lld to %lld along axis %d of %s; needed: 0 <= start <= limit "
                "<= %lld",
                (long long)lo, (long long)hi, d, type_text(t[0]), (long long)s.v[d]);
        s.v[d] = hi > lo ? (hi - lo - 1) / step + 1 : 0;
    }
    return ops_result(op, out, (Dtype)t[0]->dt, s);
}

static void slice_transpose(const Ins *i, const Ref *ct, Cts *cts)
{
    Type t = *typ(i->in[0]), u = *typ(ct[0]);
    Ints lo = ins_ints(i, ATTR(slice, start)), step = ins_ints(i, ATTR(slice, step)), hi = lo, inner = step;
    for (int d = 0; d < t.rank; d++) {
        hi.v[d] = t.dim[d] - lo.v[d] - (u.dim[d] ? (u.dim[d] - 1) * step.v[d] + 1 : 0);
        inner.v[d] = step.v[d] - 1;
    }
    ct_add(cts, i->in[0], Pad(ct[0], Const((Dtype)t.dt, 0), lo, hi, inner));
}

static void slice_batch(const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    int64_t n = ax->lane.size;
    out[0] = Slice(stacked(x[0], s[0], n), ints_lead(0, ins_ints(i, ATTR(slice, start))),
        ints_lead(n, ins_ints(i, ATTR(slice, limit))), ints_lead(1, ins_ints(i, ATTR(slice, step))));
    so[0] = STACKED;
}

static int slice_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    int64_t fs[MAXRANK], ts[MAXRANK], at = 0;
    Ints lo = ins_ints(i, ATTR(slice, start)), step = ins_ints(i, ATTR(slice, step));
    size_t size = dtype_size((Dtype)u[0].dt);
    ops_strides(t[0], fs);
    ops_strides(&u[0], ts);
    for (int d = 0; d < lo.n; d++) {
        at += lo.v[d] * fs[d];
        fs[d] *= step.v[d];
    }
    if (type_size(&u[0]))
        ops_copy(u[0].rank, u[0].dim, size, out[0], ts, (const char *)in[0] + at * (int64_t)size, fs);
    return 0;
}

const Rules rules_slice = { slice_infer, ops_jvp_again, slice_transpose, slice_batch, slice_eval };

/* ==================== pad: a value around and between the elements; negative lo and hi crop */

static int pad_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    struct pad_attrs a;
    Ints s = type_shape(t[0]);
    int e = ops_attrs(op, attr, nattr, &a);
    if (e)
        return e;
    if (t[1]->rank || t[1]->dt != t[0]->dt)
        return error_set(t[1]->rank ? E_SHAPE : E_DTYPE,
            "pad: %s is padded with %s; the value must be one %s", type_text(t[0]), type_text(t[1]),
            dtype_name((Dtype)t[0]->dt));
    if (a.lo.n != s.n || a.hi.n != s.n || a.interior.n != s.n)
        return error_set(E_SHAPE,
            "pad: %s has %d axes, but there are %d low, %d high and %d interior amounts; "
            "give one an axis",
            type_text(t[0]), s.n, a.lo.n, a.hi.n, a.interior.n);
    for (int d = 0; d < s.n; d++) {
        int64_t n = s.v[d], inside;
        if (a.interior.v[d] < 0)
            return error_set(E_SHAPE,
                "pad: interior amount %lld along axis %d of %s; it is 0 or more (slice with "
                "a step to take elements out)",
                (long long)a.interior.v[d], d, type_text(t[0]));
        bool over = __builtin_mul_overflow(n ? n - 1 : 0, a.interior.v[d], &inside) ||
            __builtin_add_overflow(inside, n, &inside) ||
            __builtin_add_overflow(inside, a.lo.v[d], &inside) ||
            __builtin_add_overflow(inside, a.hi.v[d], &inside);
        if (over || inside < 0)
            return error_set(E_SHAPE,
                "pad: axis %d of %s with %lld below, %lld above and %lld between would have "
                "%s size; crop less",
                d, type_text(t[0]), (long long)a.lo.v[d], (long long)a.hi.v[d], (long long)a.interior.v[d],
                over ? "too large a" : "a negative");
        s.v[d] = inside;
    }
    return ops_result(op, out, (Dtype)t[0]->dt, s);
}

static void pad_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)z;
    tz[0] = Pad(or_zero(t[0], x[0]), or_zero(t[1], x[1]), ins_ints(i, ATTR(pad, lo)),
        ins_ints(i, ATTR(pad, hi)), ins_ints(i, ATTR(pad, interior)));
}

/* The elements of y that came from the operand: put back what was cropped, as zeros, then step through. */
static Ref unpad(const Ins *i, Ref y)
{
    Type t = *typ(y);
    Ints lo = ins_ints(i, ATTR(pad, lo)), hi = ins_ints(i, ATTR(pad, hi)),
         step = ins_ints(i, ATTR(pad, interior)), zero = ints_fill(lo.n, 0), limit = lo;
    Ints front = zero, back = zero;
    for (int d = 0; d < lo.n; d++) {
        front.v[d] = lo.v[d] < 0 ? -lo.v[d] : 0;
        back.v[d] = hi.v[d] < 0 ? -hi.v[d] : 0;
        lo.v[d] = lo.v[d] < 0 ? 0 : lo.v[d];
        limit.v[d] = t.dim[d] + front.v[d] + back.v[d] - (hi.v[d] < 0 ? 0 : hi.v[d]);
        step.v[d]++;
    }
    return Slice(Pad(y, Const((Dtype)t.dt, 0), front, back, zero), lo, limit, step);
}

static void pad_transpose(const Ins *i, const Ref *ct, Cts *cts)
{
    Ref mine = unpad(i, ct[0]);
    if (graph_lin(cur(), i->in[0]))
        ct_add(cts, i->in[0], mine);
    if (!graph_lin(cur(), i->in[1]) || !mine)
        return;
    Ref all = Sum(ct[0], ints_range(0, typ(ct[0])->rank));
    ct_add(cts, i->in[1], Sub(all, Sum(mine, ints_range(0, typ(mine)->rank))));
}

/* A value a lane cannot be an operand of pad: pad with zeros, and select by where the elements went. */
static void pad_batch(const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    int64_t n = ax->lane.size;
    Ints lo = ins_ints(i, ATTR(pad, lo)), hi = ins_ints(i, ATTR(pad, hi)),
         inner = ins_ints(i, ATTR(pad, interior));
    Ints lo1 = ints_lead(0, lo), hi1 = ints_lead(0, hi), inner1 = ints_lead(0, inner);
    Type t = *typ(x[0]);
    Ref y = stacked(x[0], s[0], n);
    so[0] = STACKED;
    if (s[1] != STACKED) {
        out[0] = Pad(y, x[1], lo1, hi1, inner1);
        return;
    }
    if (s[0] == STACKED)
        t = type_drop_lead(&t, 1);
    t.dt = DT_BOOL;
    Ref where = Pad(Full(t, 1), Const(DT_BOOL, 0), lo, hi, inner);
    Ref padded = Pad(y, Const((Dtype)typ(x[0])->dt, 0), lo1, hi1, inner1);
    if (!where || !padded)
        return;
    Ints shape = type_shape(typ(padded));
    out[0] = Select(
        Broadcast(where, shape, ints_range(1, shape.n)), padded, Broadcast(x[1], shape, ints_fill(1, 0)));
}

static int pad_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    int64_t fs[MAXRANK], ts[MAXRANK], dim[MAXRANK], from = 0, to = 0, none = 0, all = type_size(&u[0]),
                                                    one = 1;
    Ints lo = ins_ints(i, ATTR(pad, lo)), inner = ins_ints(i, ATTR(pad, interior));
    size_t size = dtype_size((Dtype)u[0].dt);
    ops_copy(1, &all, size, out[0], &one, in[1], &none);
    ops_strides(t[0], fs);
    ops_strides(&u[0], ts);
    for (int d = 0; d < lo.n; d++) {        /* elements first .. last fall inside the result */
        int64_t step = inner.v[d] + 1;
        int64_t first = lo.v[d] < 0 ? (-lo.v[d] - 1) / step + 1 : 0, room = u[0].dim[d] - 1 - lo.v[d];
        int64_t last = room < 0 ? -1 : room / step;
        last = last < t[0]->dim[d] ? last : t[0]->dim[d] - 1;
        dim[d] = last >= first ? last - first + 1 : 0;
        from += first * fs[d];
        to += (lo.v[d] + first * step) * ts[d];
        ts[d] *= step;
        if (!dim[d])
            return 0;
    }
    ops_copy(u[0].rank, dim, size, (char *)out[0] + to * (int64_t)size, ts,
        (const char *)in[0] + from * (int64_t)size, fs);
    return 0;
}

const Rules rules_pad = { pad_infer, pad_jvp, pad_transpose, pad_batch, pad_eval };

/* ==================== concat */

static int concat_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    struct concat_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e)
        return e;
    if (nin < 1)
        return error_set(E_INVAL, "concat: of nothing has no type; give at least one operand");
    int64_t axis = a.axis.v[0];
    if ((e = ops_axis(op, t[0], axis)))
        return e;
    Ints s = type_shape(t[0]);
    for (int k = 1; k < nin; k++) {
        if (t[k]->dt != t[0]->dt)
            return error_set(E_DTYPE, "concat: operand 0 is %s, operand %d is %s; convert them to one dtype",
                type_text(t[0]), k, type_text(t[k]));
        bool fits = t[k]->rank == t[0]->rank;
        for (int d = 0; fits && d < t[0]->rank; d++)
            fits = d == axis || t[k]->dim[d] == t[0]->dim[d];
        if (!fits)
            return error_set(E_SHAPE,
                "concat: operand 0 is %s, operand %d is %s; only axis %lld, along which they "
                "are joined, may differ",
                type_text(t[0]), k, type_text(t[k]), (long long)axis);
        if (__builtin_add_overflow(s.v[axis], t[k]->dim[axis], &s.v[axis]))
            return error_set(E_SHAPE, "concat: axis %lld would have more elements than can be counted",
                (long long)axis);
    }
    return ops_result(op, out, (Dtype)t[0]->dt, s);
}

static void concat_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)z;
    Ref *y = NEWS(Ref, i->nin);
    for (int k = 0; k < i->nin; k++)
        y[k] = or_zero(t[k], x[k]);
    tz[0] = Concat(y, i->nin, (int)ins_int(i, ATTR(concat, axis)));
}

static void concat_transpose(const Ins *i, const Ref *ct, Cts *cts)
{
    int64_t axis = ins_int(i, ATTR(concat, axis)), at = 0;
    for (int k = 0; k < i->nin; k++) {
        int64_t n = typ(i->in[k])->dim[axis];
        if (graph_lin(cur(), i->in[k]))
            ct_add(cts, i->in[k], SliceAxis(ct[0], (int)axis, at, at + n));
        at += n;
    }
}

static void concat_batch(const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    Ref *y = NEWS(Ref, i->nin);
    ops_stack(i, x, s, ax, y);
    out[0] = Concat(y, i->nin, (int)ins_int(i, ATTR(concat, axis)) + 1);
    so[0] = STACKED;
}

static int concat_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    int64_t axis = ins_int(i, ATTR(concat, axis)), fs[MAXRANK], ts[MAXRANK], at = 0;
    size_t size = dtype_size((Dtype)u[0].dt);
    ops_strides(&u[0], ts);
    if (!type_size(&u[0]))
        return 0;
    for (int k = 0; k < i->nin; k++) {
        ops_strides(t[k], fs);
        ops_copy(u[0].rank, t[k]->dim, size, (char *)out[0] + at * ts[axis] * (int64_t)size, ts, in[k], fs);
        at += t[k]->dim[axis];
    }
    return 0;
}

const Rules rules_concat = { concat_infer, concat_jvp, concat_transpose, concat_batch, concat_eval };

/* ==================== reverse */

static int reverse_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    struct reverse_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e || (e = ops_axes(op, "axes", t[0], a.axes)))
        return e;
    *out = *t[0];
    return 0;
}

static void reverse_transpose(const Ins *i, const Ref *ct, Cts *cts)
{
    ct_add(cts, i->in[0], Reverse(ct[0], ins_ints(i, ATTR(reverse, axes))));
}

static void reverse_batch(
    const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    out[0] = Reverse(stacked(x[0], s[0], ax->lane.size), ints_up(ins_ints(i, ATTR(reverse, axes))));
    so[0] = STACKED;
}

static int reverse_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    int64_t fs[MAXRANK], ts[MAXRANK], at = 0;
    Ints axes = ins_ints(i, ATTR(reverse, axes));
    size_t size = dtype_size((Dtype)u[0].dt);
    ops_strides(t[0], fs);
    ops_strides(&u[0], ts);
    if (!type_size(&u[0]))
        return 0;
    for (int k = 0; k < axes.n; k++) {
        at += fs[axes.v[k]] * (u[0].dim[axes.v[k]] - 1);
        fs[axes.v[k]] *= -1;
    }
    ops_copy(u[0].rank, u[0].dim, size, out[0], ts, (const char *)in[0] + at * (int64_t)size, fs);
    return 0;
}

const Rules rules_reverse = { reverse_infer, ops_jvp_again, reverse_transpose, reverse_batch, reverse_eval };
