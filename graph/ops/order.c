/*
 * order.c - sort, top_k.
 *
 * The order: numbers ascending, -0 equal to +0 (but below it for top_k), all NaNs equal and last; complex
 * numbers by real, then imaginary part.
 * Descending is that order backwards, NaNs first; equal keys keep their places in both. An element becomes
 * an unsigned word with the same order, so one integer comparison serves every dtype. Derivatives follow the
 * permutation.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops.h"

/* ==================== order of elements */

static uint64_t float_word(double v, bool signs)
{
    uint64_t bits;
    if (v != v)
        return UINT64_MAX;
    v = v == 0 && !signs ? 0 : v;
    memcpy(&bits, &v, sizeof bits);
    return bits >> 63 ? ~bits : bits | 1ull << 63;
}

static int words_of(Dtype dt) { return ops_class(dt) == CL_COMPLEX ? 2 : 1; }

static void order_words(Dtype dt, const void *p, bool descending, bool signs, uint64_t *word)
{
    uint64_t flip = descending ? UINT64_MAX : 0;
    Wide w = ops_load(dt, p);
    if (ops_class(dt) == CL_INT) {
        word[0] = ((uint64_t)w.i ^ (dtype_signed(dt) ? 1ull << 63 : 0)) ^ flip;
        return;
    }
    word[0] = float_word((double)w.f, signs) ^ flip;
    if (ops_class(dt) == CL_COMPLEX)
        word[1] = float_word((double)w.im, signs) ^ flip;
}

/* A line of n keys of nw words each, and places in it. */
static bool after(const uint64_t *key, int nw, int64_t a, int64_t b)
{
    for (int k = 0; k < nw; k++)
        if (key[a * nw + k] != key[b * nw + k])
            return key[a * nw + k] > key[b * nw + k];
    return false;
}

/* Stable; at ends sorted, tmp is as long. Merges runs of 1, 2, 4, ... */
static void merge_sort(const uint64_t *key, int nw, int64_t *at, int64_t *tmp, int64_t n)
{
    for (int64_t w = 1; w < n; w *= 2) {
        for (int64_t lo = 0; lo < n; lo += 2 * w) {
            int64_t mid = lo + w < n ? lo + w : n, hi = mid + w < n ? mid + w : n, a = lo, b = mid;
            for (int64_t k = lo; k < hi; k++)
                tmp[k] = b >= hi || (a < mid && !after(key, nw, at[a], at[b])) ? at[a++] : at[b++];
        }
        memcpy(at, tmp, (size_t)n * sizeof *at);
    }
}

/* signs: of zeros count */
typedef struct Sorter { int nw; uint64_t *key; int64_t *at, *tmp; bool signs; } Sorter;

static bool sorter_start(Sorter *s, int64_t n, int nw)
{
    *s = (Sorter){ nw, ops_temp((size_t)n * (size_t)nw, 8), ops_temp((size_t)n, 8), ops_temp((size_t)n, 8),
        false };
    return s->key && s->at && s->tmp;
}

static void sorter_end(Sorter *s) { free(s->key), free(s->at), free(s->tmp); }

/* Sorts the line that begins at this offset; s->at becomes the permutation. The parameters are the
 * operands and where a line of them lies. */
static void sort_line(Sorter *s, int keys, const Type *const *t, const void *const *in, int64_t line,
    const int64_t *along,
    int64_t n, bool descending)
{
    for (int64_t l = 0; l < n; l++) {
        uint64_t *word = s->key + l * s->nw;
        s->at[l] = l;
        for (int k = 0; k < keys; k++) {
            Dtype dt = (Dtype)t[k]->dt;
            order_words(dt, (const char *)in[k] + (size_t)(line + along[l]) * dtype_size(dt), descending,
                s->signs, word);
            word += words_of(dt);
        }
    }
    merge_sort(s->key, s->nw, s->at, s->tmp, n);
}

/* ==================== sort: operands together, by the first keys of them */

static int sort_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    struct sort_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e)
        return e;
    if (nin < 1)
        return error_set(E_INVAL, "sort: of nothing; give at least one operand");
    if ((e = ops_axis(op, t[0], a.axis.v[0])))
        return e;
    if (a.keys.v[0] < 1 || a.keys.v[0] > nin)
        return error_set(E_INVAL, "sort: %lld keys of %d operands; sort by 1 to %d of them",
            (long long)a.keys.v[0], nin, nin);
    if (a.descending.v[0] != 0 && a.descending.v[0] != 1)
        return error_set(E_INVAL, "sort: descending is 0 or 1, not %lld", (long long)a.descending.v[0]);
    for (int k = 0; k < nin; k++) {
        Type u = *t[k];
        if (dtype_stored((Dtype)u.dt) && k < a.keys.v[0])
            return error_set(E_DTYPE,
                "sort: by %s, which is for storage: sort by what hd_cast makes of it, and let it come along",
                type_text(t[k]));
        if (u.dt == DT_KEY && k < a.keys.v[0])
            return error_set(E_DTYPE,
                "sort: by %s: random keys have no order; sort by something else, and let them come along",
                type_text(t[k]));
        u.dt = t[0]->dt;
        if (!type_equal(&u, t[0]))
            return error_set(E_SHAPE,
                "sort: operand 0 is %s, operand %d is %s; what is sorted together has one "
                "shape",
                type_text(t[0]), k, type_text(t[k]));
        out[k] = *t[k];
    }
    return 0;
}

static void emit_sort(const Ins *i, int nin, const Ref *x, int64_t axis, Ref *out)
{
    Attr a = { 0 };
    attr_int(&a, axis), attr_int(&a, ins_int(i, ATTR(sort, keys))),
        attr_int(&a, ins_int(i, ATTR(sort, descending)));
    if (emit_n(OP_sort, nin, x, &a, out) != nin)
        memset(out, 0, (size_t)nin * sizeof *out);
}

/* The permutation: what becomes of 0, 1, 2, ... sorted along. */
static void sort_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)z;
    int axis = (int)ins_int(i, ATTR(sort, axis)), keys = (int)ins_int(i, ATTR(sort, keys));
    Ref *y = NEWS(Ref, keys + 1), *sorted = NEWS(Ref, keys + 1);
    Type u = *typ(x[0]);
    u.dt = type_counter(u.dim[axis]);
    memcpy(y, x, (size_t)keys * sizeof *y);
    y[keys] = Iota(u, axis);
    emit_sort(i, keys + 1, y, axis, sorted);
    for (int k = 0; k < i->nin; k++)
        tz[k] = t[k] && sorted[keys] ? ops_take_along(t[k], sorted[keys], axis) : 0;
}

static void sort_batch(const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    Ref *y = NEWS(Ref, i->nin);
    ops_stack(i, x, s, ax, y);
    emit_sort(i, i->nin, y, ins_int(i, ATTR(sort, axis)) + 1, out);
    ops_stacked_out(i, so);
}

static int sort_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    (void)u;
    int keys = (int)ins_int(i, ATTR(sort, keys)), nw = 0;
    bool descending = ins_int(i, ATTR(sort, descending));
    Ints axis = ints_fill(1, ins_int(i, ATTR(sort, axis)));
    int64_t n, m, *line = ops_offsets(t[0], ints_others(t[0]->rank, axis), &n),
                  *along = ops_offsets(t[0], axis, &m);
    for (int k = 0; k < keys; k++)
        nw += words_of((Dtype)t[k]->dt);
    Sorter s;
    bool ok = sorter_start(&s, m, nw) && line && along;
    for (int64_t l = 0; ok && l < n; l++) {
        sort_line(&s, keys, t, in, line[l], along, m, descending);
        for (int k = 0; k < i->nin; k++) {
            size_t size = dtype_size((Dtype)t[k]->dt);
            for (int64_t j = 0; j < m; j++)
                memcpy((char *)out[k] + (size_t)(line[l] + along[j]) * size,
                    (const char *)in[k] + (size_t)(line[l] + along[s.at[j]]) * size, size);
        }
    }
    sorter_end(&s), free(line), free(along);
    return ok ? 0 : error_code();
}

const Rules rules_sort = { sort_infer, sort_jvp, NULL, sort_batch, sort_eval };

/* ==================== top_k: the first k of the descending order along the last axis, 0 before -0, and
 * where they were */

static int top_k_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    struct top_k_attrs a;
    Ints s = type_shape(t[0]);
    int e = ops_attrs(op, attr, nattr, &a);
    if (e)
        return e;
    if (!s.n)
        return error_set(E_SHAPE, "top_k: the scalar %s has no axis to choose along; reshape it to [1]",
            type_text(t[0]));
    if (ops_class((Dtype)t[0]->dt) == CL_COMPLEX)
        return error_set(
            E_DTYPE, "top_k: %s: complex numbers have no largest; use their parts", type_text(t[0]));
    if (a.k.v[0] < 0 || a.k.v[0] > s.v[s.n - 1])
        return error_set(E_SHAPE, "top_k: k = %lld of the last axis of %s; k is 0 to %lld",
            (long long)a.k.v[0], type_text(t[0]), (long long)s.v[s.n - 1]);
    if (s.v[s.n - 1] > INT32_MAX)
        return error_set(E_SHAPE, "top_k: the last axis of %s is too long for i32 positions; use argsort",
            type_text(t[0]));
    s.v[s.n - 1] = a.k.v[0];
    if ((e = ops_result(op, &out[0], (Dtype)t[0]->dt, s)))
        return e;
    return ops_result(op, &out[1], DT_I32, s);
}

static void top_k_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)i, (void)x;
    tz[0] = t[0] && z[1] ? ops_take_along(t[0], z[1], typ(t[0])->rank - 1) : 0;
    tz[1] = 0;
}

static int top_k_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    (void)u;
    Dtype dt = (Dtype)t[0]->dt;
    size_t size = dtype_size(dt);
    int64_t k = ins_int(i, ATTR(top_k, k)), m = t[0]->dim[t[0]->rank - 1], n = m ? type_size(t[0]) / m : 0;
    int64_t axes_n, *along = ops_offsets(t[0], ints_fill(1, t[0]->rank - 1), &axes_n);
    Sorter s;
    bool ok = sorter_start(&s, m, 1) && along;
    s.signs = true;
    for (int64_t l = 0; ok && l < n; l++) {
        sort_line(&s, 1, t, in, l * m, along, m, true);
        for (int64_t j = 0; j < k; j++) {
            memcpy((char *)out[0] + (size_t)(l * k + j) * size,
                (const char *)in[0] + (size_t)(l * m + s.at[j]) * size, size);
            ((int32_t *)out[1])[l * k + j] = (int32_t)s.at[j];
        }
    }
    sorter_end(&s), free(along);
    return ok ? 0 : error_code();
}

const Rules rules_top_k = { top_k_infer, top_k_jvp, NULL, ops_batch_again, top_k_eval };
