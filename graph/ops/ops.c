/*
 * ops.c - the shared parts of the rules: see ops.h. Lists are values; tables are malloc'd and freed by the
 * evaluation that made them, since an arena lives as long as a program and an evaluation may run in a loop.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "ops.h"

/* ==================== lists of axes */

Ints ints_up(Ints a)
{
    for (int k = 0; k < a.n; k++)
        a.v[k]++;
    return a;
}

Ints ints_lead(int64_t first, Ints a)
{
    if (a.n >= MAXRANK)
        return a;
    memmove(a.v + 1, a.v, (size_t)a.n * sizeof *a.v);
    a.v[0] = first;
    a.n++;
    return a;
}

Ints ints_push(Ints a, int64_t last)
{
    if (a.n < MAXRANK)
        a.v[a.n++] = last;
    return a;
}

Ints ints_others(int rank, Ints axes)
{
    Ints a = { 0 };
    for (int d = 0; d < rank; d++)
        if (!ints_has(&axes, d))
            a.v[a.n++] = d;
    return a;
}

Ints ints_pick(const Type *t, Ints axes)
{
    for (int k = 0; k < axes.n; k++)
        axes.v[k] = t->dim[axes.v[k]];
    return axes;
}

const char *ints_text(Ints a)
{
    const char *s = "";
    for (int k = 0; k < a.n && k < MAXRANK; k++)
        s = arena_text("%s%s%lld", s, k ? ", " : "", (long long)a.v[k]);
    return arena_text("(%s)", s);
}

/* ==================== checks */

static int not_by_schema(Op op)
{
    const char *words = "";
    for (const AttrWord *w = optab[op].attrs; w->word; w++)
        words = arena_text("%s%s%s%s", words, *words ? " " : "", w->word, w->list ? "*" : "");
    return error_set(E_INVAL, "%s: attributes do not follow the schema \"%s\"", optab[op].name, words);
}

int ops_attrs(Op op, const int64_t *attr, int nattr, void *attrs)
{
    int at = 0;
    Ints *a = attrs;
    for (const AttrWord *w = optab[op].attrs; w->word; w++) {
        if (at >= nattr || attr[at] < 0 || attr[at] > nattr - at - 1 || (!w->list && attr[at] != 1))
            return not_by_schema(op);
        if (attr[at] > MAXRANK)
            return error_set(E_INVAL, "%s: a list of %lld entries; arrays have at most %d axes",
                optab[op].name, (long long)attr[at], MAXRANK);
        *a++ = ints_of(attr + at + 1, (int)attr[at]);
        at += 1 + (int)attr[at];
    }
    return at == nattr ? 0 : not_by_schema(op);
}

int ops_axis(Op op, const Type *t, int64_t axis)
{
    if (axis >= 0 && axis < t->rank)
        return 0;
    if (!t->rank)
        return error_set(E_SHAPE,
            "%s: axis %lld of the scalar %s, which has no axes; reshape it to [1] first", optab[op].name,
            (long long)axis, type_text(t));
    return error_set(E_SHAPE, "%s: axis %lld is out of range for %s; axes are 0 to %d", optab[op].name,
        (long long)axis, type_text(t), t->rank - 1);
}

int ops_axes(Op op, const char *what, const Type *t, Ints axes)
{
    for (int k = 0; k < axes.n; k++) {
        if (axes.v[k] < 0 || axes.v[k] >= t->rank)
            return error_set(E_SHAPE, "%s: %s %s: axis %lld is out of range for %s; axes are 0 to %d",
                optab[op].name, what, ints_text(axes), (long long)axes.v[k], type_text(t), t->rank - 1);
        for (int j = 0; j < k; j++)
            if (axes.v[j] == axes.v[k])
                return error_set(E_SHAPE, "%s: %s %s name axis %lld of %s twice; name it once",
                    optab[op].name, what, ints_text(axes), (long long)axes.v[k], type_text(t));
    }
    return 0;
}

int ops_rising(Op op, const char *what, Ints a)
{
    for (int k = 1; k < a.n; k++)
        if (a.v[k - 1] >= a.v[k])
            return error_set(E_SHAPE,
                "%s: %s %s must be increasing; sort them, and transpose if another order is "
                "meant",
                optab[op].name, what, ints_text(a));
    return 0;
}

int ops_index_type(Op op, const Type *t)
{
    if (dtype_int((Dtype)t->dt))
        return 0;
    return error_set(E_DTYPE, "%s: indices are %s, but must be integers; convert them to i32",
        optab[op].name, type_text(t));
}

int ops_counts(Op op, const Type *t, int64_t axis, Dtype dt)
{
    if (!dtype_int(dt))
        return 0;
    uint64_t bits = 8 * dtype_size(dt) - dtype_signed(dt), most = UINT64_MAX >> (64 - bits),
             n = (uint64_t)t->dim[axis];
    if (!n || n - 1 <= most)
        return 0;
    return error_set(E_DTYPE, "%s: %s counts to %llu, and axis %lld of %s is longer; use a wider dtype",
        optab[op].name, dtype_name(dt), (unsigned long long)most, (long long)axis, type_text(t));
}

int ops_result(Op op, Type *out, Dtype dt, Ints shape)
{
    if (shape.n > type_rank_most(dt))
        return error_set(E_SHAPE, "%s: the result would have %d axes; at most %d are possible",
            optab[op].name, shape.n, type_rank_most(dt));
    int64_t bytes = (int64_t)dtype_size(dt);
    bool empty = false, over = false;
    for (int d = 0; d < shape.n; d++) {
        if (shape.v[d] < 0)
            return error_set(E_SHAPE, "%s: shape %s has the negative size %lld; sizes are 0 or more",
                optab[op].name, ints_text(shape), (long long)shape.v[d]);
        empty |= !shape.v[d];
        over |= shape.v[d] && __builtin_mul_overflow(bytes, shape.v[d], &bytes);
    }
    if (over && !empty)
        return error_set(E_SHAPE, "%s: shape %s has more bytes than can be addressed; make it smaller",
            optab[op].name, ints_text(shape));
    *out = type_of(dt, shape.n, shape.v);
    return 0;
}

bool ops_room(Op op, int rank)
{
    if (rank < MAXRANK)
        return true;
    error_set(E_SHAPE,
        "%s: vmap would give its result %d axes; at most %d are possible: reshape inside the mapped "
        "function",
        optab[op].name, rank + 1, MAXRANK);
    return false;
}

/* ==================== pieces of rules */

Ref ops_again(const Ins *i, Ref x)
{
    Ref out = 0;
    if (x)
        again(i, &x, &out);
    return out;
}

void ops_jvp_zero(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)x, (void)t, (void)z;
    for (int k = 0; k < i->nout; k++)
        tz[k] = 0;
}

void ops_jvp_again(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)x, (void)z;
    tz[0] = ops_again(i, t[0]);
}

void ops_stack(const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *y)
{
    for (int k = 0; k < i->nin; k++)
        y[k] = stacked(x[k], s[k], ax->lane.size);
}

void ops_stacked_out(const Ins *i, uint8_t *so)
{
    for (int k = 0; k < i->nout; k++)
        so[k] = STACKED;
}

void ops_batch_again(const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    Ref *y = NEWS(Ref, i->nin);
    ops_stack(i, x, s, ax, y);
    again(i, y, out);
    ops_stacked_out(i, so);
}

/* ==================== dense arrays */

void *ops_temp(size_t n, size_t size)
{
    size_t bytes;
    bool many = __builtin_mul_overflow(n + 1, size, &bytes);
    return memory_new("intermediate values", many ? SIZE_MAX : bytes, 0);
}

void ops_strides(const Type *t, int64_t *stride)
{
    int64_t n = 1;
    for (int d = t->rank; d-- > 0; n *= t->dim[d])
        stride[d] = n;
}

/* A box of rank dimensions; where it comes from and where it goes are the parameters, each with its
 * strides. */
static void copy_box(int d, int rank, const int64_t *dim, size_t size, char *to, const int64_t *ts,
    const char *from, const int64_t *fs)
{
    if (d == rank) {
        memcpy(to, from, size);
        return;
    }
    if (d == rank - 1 && ts[d] == 1 && fs[d] == 1) {
        memcpy(to, from, size * (size_t)dim[d]);
        return;
    }
    for (int64_t k = 0; k < dim[d]; k++)
        copy_box(d + 1, rank, dim, size, to + k * ts[d] * (int64_t)size, ts,
            from + k * fs[d] * (int64_t)size, fs);
}

/* As copy_box, parameters too, but for the dimensions that lie together. */
void ops_copy(int rank, const int64_t *dim, size_t size, void *to, const int64_t *ts, const void *from,
    const int64_t *fs)
{
    for (int d = 0; d < rank; d++)
        if (!dim[d])
            return;
    copy_box(0, rank, dim, size, to, ts, from, fs);
}

int64_t *ops_offsets(const Type *t, Ints axes, int64_t *n)
{
    int64_t stride[MAXRANK], dim[MAXRANK];
    ops_strides(t, stride);
    *n = 1;
    for (int k = 0; k < axes.n; k++)
        *n *= dim[k] = t->dim[axes.v[k]];
    int64_t *at = ops_temp((size_t)*n, sizeof *at);
    if (!at || !*n)
        return at;
    Walk w;
    walk_start(&w, axes.n, dim);
    for (int k = 0; k < axes.n; k++)
        w.step[0][k] = stride[axes.v[k]];
    int64_t j = 0;
    do
        at[j++] = w.at[0];
    while (walk_next(&w));
    return at;
}

int64_t ops_index(Dtype dt, const void *p)
{
    int64_t v = dtype_load_i(dt, p);
    return dt == DT_U64 && v < 0 ? INT64_MAX : v;
}

void walk_start(Walk *w, int rank, const int64_t *dim)
{
    memset(w, 0, sizeof *w);
    w->rank = rank;
    memcpy(w->dim, dim, (size_t)rank * sizeof *dim);
}

bool walk_next(Walk *w)
{
    for (int d = w->rank; d-- > 0;) {
        bool wraps = ++w->idx[d] >= w->dim[d];
        for (int k = 0; k < 3; k++)
            w->at[k] += wraps ? -w->step[k][d] * (w->dim[d] - 1) : w->step[k][d];
        if (!wraps)
            return true;
        w->idx[d] = 0;
    }
    return false;
}

/* ==================== wide values */

Class ops_class(Dtype dt)
{
    return dtype_float(dt) ? CL_FLOAT : dt == DT_C64 || dt == DT_C128 ? CL_COMPLEX : CL_INT;
}

bool ops_wide(Dtype dt) { return dt == DT_F64 || dt == DT_C128; }

Wide ops_load(Dtype dt, const void *p)
{
    if (dt == DT_C64)
        return (Wide){ .f = ((const float *)p)[0], .im = ((const float *)p)[1] };
    if (dt == DT_C128)
        return (Wide){ .f = ((const double *)p)[0], .im = ((const double *)p)[1] };
    return dtype_float(dt) ? (Wide){ .f = dtype_load_f(dt, p) } : (Wide){ .i = dtype_load_i(dt, p) };
}

void ops_store(Dtype dt, void *p, Wide v)
{
    if (dt == DT_C64)
        ((float *)p)[0] = (float)v.f, ((float *)p)[1] = (float)v.im;
    else if (dt == DT_C128)
        ((double *)p)[0] = (double)v.f, ((double *)p)[1] = (double)v.im;
    else if (dtype_float(dt))
        dtype_store_f(dt, p, (double)v.f);
    else
        dtype_store_i(dt, p, v.i);
}

bool ops_is_nan(Dtype dt, Wide v) { return ops_class(dt) != CL_INT && (v.f != v.f || v.im != v.im); }

/* NaN if either is; of two zeros the larger is +0. */
static long double extreme(bool max, long double x, long double y)
{
    if (x != x || y != y)
        return x != x ? x : y;
    if (x == y)
        return (signbit(x) != 0) == max ? y : x;
    return (x > y) == max ? x : y;
}

static int64_t join_int(Join j, Dtype dt, int64_t x, int64_t y)
{
    bool flag = dt == DT_BOOL, less = dtype_unsigned(dt) ? (uint64_t)x < (uint64_t)y : x < y;
    switch (j) {
    case J_ADD: return flag ? x | y : (int64_t)((uint64_t)x + (uint64_t)y);
    case J_MUL: return flag ? x & y : (int64_t)((uint64_t)x * (uint64_t)y);
    case J_MIN: return less ? x : y;
    case J_MAX: return less ? y : x;
    case J_AND: return x & y;
    case J_OR: return x | y;
    case J_XOR: return x ^ y;
    default: return y;
    }
}

static long double join_float(Join j, bool wide, long double x, long double y)
{
    switch (j) {
    case J_ADD: return wide ? x + y : (double)x + (double)y;
    case J_MUL: return wide ? x * y : (double)x * (double)y;
    case J_MIN: return extreme(false, x, y);
    case J_MAX: return extreme(true, x, y);
    default: return y;
    }
}

/* An integer may have overflowed its dtype on the way: min and max never follow sums, so only the last wrap
 * counts. */
Wide ops_join(Join j, Dtype dt, Wide x, Wide y)
{
    bool wide = ops_wide(dt);
    switch (ops_class(dt)) {
    case CL_INT: return (Wide){ .i = join_int(j, dt, x.i, y.i) };
    case CL_FLOAT: return (Wide){ .f = join_float(j, wide, x.f, y.f) };
    default: break;
    }
    if (j == J_MUL)
        return (Wide){ .f = x.f * y.f - x.im * y.im, .im = x.f * y.im + x.im * y.f };
    return (Wide){ .f = join_float(j, wide, x.f, y.f), .im = join_float(j, wide, x.im, y.im) };
}

Wide ops_identity(Join j, Dtype dt)
{
    int bits = dtype_size(dt) > 8 ? 64 : 8 * (int)dtype_size(dt);       /* of integers; others have .f */
    int64_t least = dtype_signed(dt) ? (int64_t)(UINT64_MAX << (bits - 1)) : 0;
    int64_t all = (int64_t)(UINT64_MAX >> (64 - bits));
    int64_t most = dt == DT_BOOL ? 1 : dtype_signed(dt) ? ~least : all;
    switch (j) {
    case J_MUL: return (Wide){ .f = 1, .i = 1 };
    case J_MIN: return (Wide){ .f = INFINITY, .i = most };
    case J_MAX: return (Wide){ .f = -INFINITY, .i = least };
    case J_AND: return (Wide){ .i = dt == DT_BOOL ? 1 : -1 };
    default: return (Wide){ 0 };
    }
}
