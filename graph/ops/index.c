/*
 * index.c - windows at computed places: dynamic_slice, dynamic_update, accum_slice.
 *
 * starts is integer[batch.., k]: one place an index of the batch axes, in the last k axes of x; clamped so
 * that the window fits. Reading a window transposes into the cotangent so far, through accum_slice: the
 * gradient of a table that is read a row at a time costs rows, never tables.
 */
#include <stdlib.h>
#include <string.h>

#include "ops.h"

/* The batch axes that the mask xb selects: in front of x. */
static Ints own_batch(const Type *starts, Ints xb)
{
    Ints b = { 0 };
    for (int d = 0; d < xb.n; d++)
        if (xb.v[d])
            b = ints_push(b, starts->dim[d]);
    return b;
}

/* x[own batch.., dims..], starts[batch.., k], windows of these sizes. */
static int window_check(Op op, const Type *x, const Type *starts, Ints sizes, Ints xb)
{
    int e = ops_index_type(op, starts), nb = starts->rank - 1;
    if (e)
        return e;
    if (nb < 0)
        return error_set(E_SHAPE, "%s: starts are the scalar %s; reshape them to [1], one entry an axis",
            optab[op].name, type_text(starts));
    if (xb.n != nb)
        return error_set(E_SHAPE, "%s: starts %s have %d batch axes, but %d are described by %s",
            optab[op].name, type_text(starts), nb, xb.n, ints_text(xb));
    for (int d = 0; d < nb; d++)
        if (xb.v[d] != 0 && xb.v[d] != 1)
            return error_set(E_INVAL, "%s: %s says of each batch axis whether the operand has it, 0 or 1",
                optab[op].name, ints_text(xb));
    Ints own = own_batch(starts, xb);
    int k = x->rank - own.n;
    if (k != sizes.n || starts->dim[nb] != k)
        return error_set(E_SHAPE,
            "%s: %s has %d axes to index, but there are %lld starts (%s) and %d sizes; give "
            "one an axis",
            optab[op].name, type_text(x), k, (long long)starts->dim[nb], type_text(starts), sizes.n);
    for (int d = 0; d < own.n; d++)
        if (x->dim[d] != own.v[d])
            return error_set(E_SHAPE, "%s: batch axis %d of %s does not match starts %s", optab[op].name, d,
                type_text(x), type_text(starts));
    for (int d = 0; d < k; d++)
        if (sizes.v[d] < 0 || sizes.v[d] > x->dim[own.n + d])
            return error_set(E_SHAPE,
                "%s: a window %s does not fit into %s: along axis %d its size is %lld, "
                "allowed are 0 to %lld",
                optab[op].name, ints_text(sizes), type_text(x), own.n + d, (long long)sizes.v[d],
                (long long)x->dim[own.n + d]);
    return 0;
}

/* u is [batch.., window..]. */
static int update_check(Op op, const Type *x, const Type *u, const Type *starts, Ints xb)
{
    int nb = starts->rank - 1;
    if (x->dt != u->dt)
        return error_set(E_DTYPE, "%s: the operand is %s, the update %s; convert them to one dtype",
            optab[op].name, type_text(x), type_text(u));
    bool fits = u->rank >= nb;
    for (int d = 0; fits && d < nb; d++)
        fits = u->dim[d] == starts->dim[d];
    if (!fits)
        return error_set(E_SHAPE, "%s: the update %s does not begin with the batch axes of the starts, %s",
            optab[op].name, type_text(u), type_text(starts));
    Type window = type_drop_lead(u, nb < 0 ? 0 : nb);
    return window_check(op, x, starts, type_shape(&window), xb);
}

/* ==================== evaluation: all windows, in order */

typedef struct Windows {
    int nb, own, k;                             /* axes: batch, those of them that x has, indexed */
    int64_t size[MAXRANK];                      /* of a window */
    int64_t xs[MAXRANK], us[MAXRANK];           /* strides of x and of the window array */
    Walk walk;                                  /* over the batch: offsets into x, windows, starts */
} Windows;

static void windows_start(Windows *w, const Type *x, const Type *u, const Type *starts, const bool *has)
{
    int64_t ss[MAXRANK];
    *w = (Windows){ .nb = starts->rank - 1 };
    ops_strides(x, w->xs);
    ops_strides(u, w->us);
    ops_strides(starts, ss);
    walk_start(&w->walk, w->nb, starts->dim);
    for (int d = 0; d < w->nb; d++) {
        if (has[d])
            w->walk.step[0][d] = w->xs[w->own++];
        w->walk.step[1][d] = w->us[d];
        w->walk.step[2][d] = ss[d];
    }
    w->k = x->rank - w->own;
    memcpy(w->size, u->dim + w->nb, (size_t)w->k * sizeof *w->size);
}

/* Where the window of this batch index begins in x. */
static int64_t window_at(const Windows *w, const Type *x, const Type *starts, const void *p)
{
    int64_t at = w->walk.at[0];
    size_t size = dtype_size((Dtype)starts->dt);
    for (int d = 0; d < w->k; d++) {
        int64_t v = ops_index((Dtype)starts->dt, (const char *)p + (size_t)(w->walk.at[2] + d) * size);
        int64_t most = x->dim[w->own + d] - w->size[d];
        at += (v < 0 ? 0 : v > most ? most : v) * w->xs[w->own + d];
    }
    return at;
}

/* attr: which attribute says it; -1: all are there. */
static void has_batch(const Ins *i, int attr, int nb, bool *has)
{
    Ints xb = attr < 0 ? ints_fill(nb, 1) : ins_ints(i, attr);
    for (int d = 0; d < nb; d++)
        has[d] = xb.v[d];
}

/* ==================== dynamic_slice */

static int dynamic_slice_infer(
    Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    struct dynamic_slice_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e || (e = window_check(op, t[0], t[1], a.sizes, a.xb)))
        return e;
    if (t[1]->rank - 1 + a.sizes.n > MAXRANK)
        return error_set(E_SHAPE,
            "dynamic_slice: windows of %s at %s would have %d axes; at most %d are possible",
            type_text(t[0]), type_text(t[1]), t[1]->rank - 1 + a.sizes.n, MAXRANK);
    Ints shape = ints_of(t[1]->dim, t[1]->rank - 1);
    return ops_result(op, out, (Dtype)t[0]->dt, ints_concat(shape, a.sizes));
}

static void dynamic_slice_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)z;
    tz[0] = t[0] ? DynamicSlice(t[0], x[1], ins_ints(i, ATTR(dynamic_slice, sizes)),
                       ins_ints(i, ATTR(dynamic_slice, xb))) :
                   0;
}

static void dynamic_slice_transpose(const Ins *i, const Ref *ct, Cts *cts)
{
    Ref x = i->in[0], so_far = ct_get(cts, x);
    Type t = *typ(x);
    ct_set(cts, x,
        AccumSlice(so_far ? so_far : Zeros(&t), ct_like(cts, x, ct[0]), i->in[1],
            ins_ints(i, ATTR(dynamic_slice, xb))));
}

static void dynamic_slice_batch(
    const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    Ints sizes = ins_ints(i, ATTR(dynamic_slice, sizes)), xb = ins_ints(i, ATTR(dynamic_slice, xb));
    out[0] = !ops_room(OP_dynamic_slice, xb.n + sizes.n) || !ops_room(OP_dynamic_slice, xb.n + 1)
        ? 0 : DynamicSlice(x[0], stacked(x[1], s[1], ax->lane.size), sizes, ints_lead(s[0] == STACKED, xb));
    so[0] = STACKED;
}

static int dynamic_slice_eval(const Ins *i, const Type *const *t, const void *const *in, const Type *u,
    void *const *out)
{
    Windows w;
    bool has[MAXRANK];
    size_t size = dtype_size((Dtype)u[0].dt);
    has_batch(i, 1, t[1]->rank - 1, has);
    if (!type_size(&u[0]))
        return 0;
    windows_start(&w, t[0], &u[0], t[1], has);
    do
        ops_copy(w.k, w.size, size, (char *)out[0] + w.walk.at[1] * (int64_t)size, w.us + w.nb,
            (const char *)in[0] + window_at(&w, t[0], t[1], in[1]) * (int64_t)size, w.xs + w.own);
    while (walk_next(&w.walk));
    return 0;
}

const Rules rules_dynamic_slice = {
    dynamic_slice_infer, dynamic_slice_jvp, dynamic_slice_transpose, dynamic_slice_batch, dynamic_slice_eval
};

/* ==================== dynamic_update: every batch axis in all three */

static int dynamic_update_infer(
    Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    int e = ops_attrs(op, attr, nattr, NULL);
    if (e || (e = update_check(op, t[0], t[1], t[2], ints_fill(t[2]->rank ? t[2]->rank - 1 : 0, 1))))
        return e;
    *out = *t[0];
    return 0;
}

static void dynamic_update_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)i, (void)z;
    tz[0] = DynamicUpdate(or_zero(t[0], x[0]), or_zero(t[1], x[1]), x[2]);
}

static Ints window_sizes(Ref u, int nb)
{
    Type t = type_drop_lead(typ(u), nb);
    return type_shape(&t);
}

static void dynamic_update_transpose(const Ins *i, const Ref *ct, Cts *cts)
{
    Type u = *typ(i->in[1]);
    int nb = typ(i->in[2])->rank - 1;
    if (graph_lin(cur(), i->in[0]))
        ct_add(cts, i->in[0], DynamicUpdate(ct[0], Zeros(&u), i->in[2]));
    if (graph_lin(cur(), i->in[1]))
        ct_add(cts, i->in[1], DynamicSlice(ct[0], i->in[2], window_sizes(i->in[1], nb), ints_fill(nb, 1)));
}

static void dynamic_update_batch(
    const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    Ref y[3];
    ops_stack(i, x, s, ax, y);
    out[0] = DynamicUpdate(y[0], y[1], y[2]);
    so[0] = STACKED;
}

static int dynamic_update_eval(const Ins *i, const Type *const *t, const void *const *in, const Type *u,
    void *const *out)
{
    Windows w;
    bool has[MAXRANK];
    size_t size = dtype_size((Dtype)u[0].dt), n = type_bytes(&u[0]);
    if (n && in[0] != out[0])
        memmove(out[0], in[0], n);
    if (!type_size(t[1]))
        return 0;
    has_batch(i, -1, t[2]->rank - 1, has);
    windows_start(&w, t[0], t[1], t[2], has);
    do
        ops_copy(w.k, w.size, size, (char *)out[0] + window_at(&w, t[0], t[2], in[2]) * (int64_t)size,
            w.xs + w.own, (const char *)in[1] + w.walk.at[1] * (int64_t)size, w.us + w.nb);
    while (walk_next(&w.walk));
    return 0;
}

const Rules rules_dynamic_update = { dynamic_update_infer, dynamic_update_jvp, dynamic_update_transpose,
    dynamic_update_batch, dynamic_update_eval };

/* ==================== accum_slice: windows added to an accumulator, in place */

static int accum_slice_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    struct accum_slice_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e || (e = update_check(op, t[0], t[1], t[2], a.xb)))
        return e;
    *out = *t[0];
    return 0;
}

static void accum_slice_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)z;
    tz[0] = t[1] ? AccumSlice(or_zero(t[0], x[0]), t[1], x[2], ins_ints(i, ATTR(accum_slice, xb))) : t[0];
}

static void accum_slice_transpose(const Ins *i, const Ref *ct, Cts *cts)
{
    int nb = typ(i->in[2])->rank - 1;
    if (graph_lin(cur(), i->in[0]))
        ct_add(cts, i->in[0], ct[0]);
    if (graph_lin(cur(), i->in[1]))
        ct_add(cts, i->in[1],
            DynamicSlice(ct[0], i->in[2], window_sizes(i->in[1], nb), ins_ints(i, ATTR(accum_slice, xb))));
}

/* Of an accumulator nothing is selected: what idle lanes would add is made zero. */
static void accum_slice_batch(
    const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    int64_t n = ax->lane.size;
    Ints xb = ins_ints(i, ATTR(accum_slice, xb));
    bool acc = s[0] == SUMMED || graph_acc(cur(), x[0]);
    Ref u = acc ? active(x[1], s[1], ax) : stacked(x[1], s[1], n), starts = stacked(x[2], s[2], n);
    Ref a = s[0] == SUMMED ? x[0] : stacked(x[0], s[0], n);
    out[0] =
        ops_room(OP_accum_slice, xb.n + 1) ? AccumSlice(a, u, starts, ints_lead(s[0] != SUMMED, xb)) : 0;
    so[0] = s[0] == SUMMED ? SUMMED : STACKED;
}

/* Adds a window, element by element; wide: sums of the whole operand, rounded once when all windows are
 * in. */
static void add_window(const Windows *w, Dtype dt, char *x, Wide *wide, int64_t at, const char *u)
{
    size_t size = dtype_size(dt);
    Walk e;
    walk_start(&e, w->k, w->size);
    memcpy(e.step[0], w->xs + w->own, (size_t)w->k * sizeof *w->xs);
    memcpy(e.step[1], w->us + w->nb, (size_t)w->k * sizeof *w->us);
    do {
        size_t to = (size_t)(at + e.at[0]);
        Wide v = ops_load(dt, u + (size_t)(w->walk.at[1] + e.at[1]) * size);
        if (wide)
            wide[to] = ops_join(J_ADD, dt, wide[to], v);
        else
            ops_store(dt, x + to * size, ops_join(J_ADD, dt, ops_load(dt, x + to * size), v));
    } while (walk_next(&e));
}

static int accum_slice_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    Windows w;
    bool has[MAXRANK];
    Dtype dt = (Dtype)u[0].dt;
    int64_t n = type_size(&u[0]), places = 1;
    size_t size = dtype_size(dt);
    if (n && in[0] != out[0])
        memmove(out[0], in[0], type_bytes(&u[0]));
    if (!type_size(t[1]))
        return 0;
    has_batch(i, 0, t[2]->rank - 1, has);
    windows_start(&w, t[0], t[1], t[2], has);
    for (int d = 0; d < w.nb; d++)
        places *= has[d] ? 1 : t[2]->dim[d];
    Wide *wide = NULL;                          /* windows of one array may overlap */
    if (places > 1 && ops_class(dt) != CL_INT) {
        if (!(wide = ops_temp((size_t)n, sizeof *wide)))
            return error_code();
        for (int64_t k = 0; k < n; k++)
            wide[k] = ops_load(dt, (const char *)out[0] + (size_t)k * size);
    }
    do
        add_window(&w, dt, out[0], wide, window_at(&w, t[0], t[2], in[2]), in[1]);
    while (walk_next(&w.walk));
    for (int64_t k = 0; wide && k < n; k++)
        ops_store(dt, (char *)out[0] + (size_t)k * size, wide[k]);
    free(wide);
    return 0;
}

const Rules rules_accum_slice = {
    accum_slice_infer, accum_slice_jvp, accum_slice_transpose, accum_slice_batch, accum_slice_eval
};
