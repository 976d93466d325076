/*
 * dot.c - the general product: batch axes, contracted axes, then the free axes of the left and of the right
 * factor.
 *
 * Bilinear: a factor's cotangent is the cotangent contracted with the other factor over that one's free
 * axes. Lanes of both factors become a batch axis, lanes of one a free axis, so mapping a product makes one
 * larger product, never a loop.
 */
#include <complex.h>
#include <stdlib.h>
#include <string.h>

#include "ops.h"

/* As they stand among the attributes; the dtype of the result is behind them. */
enum {
    LC = ATTR(dot, lhs_contract),
    RC = ATTR(dot, rhs_contract),
    LB = ATTR(dot, lhs_batch),
    RB = ATTR(dot, rhs_batch),
    TO = ATTR(dot, dtype)
};
_Static_assert(LC == 0 && RC == 1 && LB == 2 && RB == 3 && TO == 4, "an attribute of each factor in turn");

static bool same_class(Dtype a, Dtype b)
{
    return ops_class(a) == ops_class(b) && (a == DT_BOOL) == (b == DT_BOOL);
}

static int paired_sizes(const Type *l, const Type *r, Ints la, Ints ra, const char *what)
{
    for (int k = 0; k < la.n; k++)
        if (l->dim[la.v[k]] != r->dim[ra.v[k]])
            return error_set(E_SHAPE,
                "dot: %s . %s: %s axis %lld of the left has size %lld, its partner, axis "
                "%lld of the right, has %lld; they must be equal",
                type_text(l), type_text(r), what, (long long)la.v[k], (long long)l->dim[la.v[k]],
                (long long)ra.v[k], (long long)r->dim[ra.v[k]]);
    return 0;
}

static int dot_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    Ints a[5];
    int e = ops_attrs(op, attr, nattr, a);
    if (e)
        return e;
    if (t[0]->dt != t[1]->dt)
        return error_set(E_DTYPE, "dot: the factors are %s and %s; convert them to one dtype",
            type_text(t[0]), type_text(t[1]));
    int64_t dt = a[TO].v[0];
    if (dt <= DT_NONE || dt >= DT_COUNT || !same_class((Dtype)dt, (Dtype)t[0]->dt))
        return error_set(E_DTYPE,
            "dot: %s . %s cannot give %s; choose a dtype of the same kind, and convert the "
            "result",
            type_text(t[0]), type_text(t[1]),
            dt > DT_NONE && dt < DT_COUNT ? dtype_name((Dtype)dt) : "an unknown dtype");
    if (a[LC].n != a[RC].n || a[LB].n != a[RB].n)
        return error_set(E_SHAPE,
            "dot: %s . %s: contracted axes %s and %s, batch axes %s and %s come in pairs; "
            "name as many on the left as on the right",
            type_text(t[0]), type_text(t[1]), ints_text(a[LC]), ints_text(a[RC]), ints_text(a[LB]),
            ints_text(a[RB]));
    if (a[LC].n + a[LB].n > MAXRANK)
        return error_set(
            E_SHAPE, "dot: more contracted and batch axes than %d; name every axis once", MAXRANK);
    Ints l = ints_concat(a[LB], a[LC]), r = ints_concat(a[RB], a[RC]);
    if ((e = ops_axes(op, "batch and contracted axes of the left factor", t[0], l)) ||
        (e = ops_axes(op, "batch and contracted axes of the right factor", t[1], r)) ||
        (e = paired_sizes(t[0], t[1], a[LC], a[RC], "contracted")) ||
        (e = paired_sizes(t[0], t[1], a[LB], a[RB], "batch")))
        return e;
    Ints free_l = ints_others(t[0]->rank, l), free_r = ints_others(t[1]->rank, r);
    if (a[LB].n + free_l.n + free_r.n > MAXRANK)
        return error_set(E_SHAPE, "dot: %s . %s would have %d axes; at most %d are possible",
            type_text(t[0]), type_text(t[1]), a[LB].n + free_l.n + free_r.n, MAXRANK);
    Ints shape = ints_concat(ints_pick(t[0], ints_concat(a[LB], free_l)), ints_pick(t[1], free_r));
    return ops_result(op, out, (Dtype)dt, shape);
}

/* ==================== derivative: attributes keep, so a tangent has the dtype of the result */

static Ref dot_again(const Ins *i, Ref x, Ref y)
{
    return Dot(
        x, y, ins_ints(i, LC), ins_ints(i, RC), ins_ints(i, LB), ins_ints(i, RB), (Dtype)ins_int(i, TO));
}

static void dot_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)z;
    Ref u = t[0] ? dot_again(i, t[0], x[1]) : 0, v = t[1] ? dot_again(i, x[0], t[1]) : 0;
    tz[0] = u && v ? Add(u, v) : u ? u : v;
}

/* ct has batch, free axes of the left, free axes of the right. Contracted with the other factor over that
 * one's free axes it has batch, my free axes, the contracted ones in the other's order; then my order. */
static Ref dot_transpose_to(const Ins *i, Ref ct, int k)
{
    Ints c[2] = { ins_ints(i, LC), ins_ints(i, RC) }, b[2] = { ins_ints(i, LB), ins_ints(i, RB) };
    Type mine = *typ(i->in[k]), other = *typ(i->in[1 - k]);
    Ints free_mine = ints_others(mine.rank, ints_concat(b[k], c[k]));
    Ints free_other = ints_others(other.rank, ints_concat(b[1 - k], c[1 - k]));
    int nb = b[k].n, at = nb + (k == 0 ? free_mine.n : 0);
    Dtype wide =
        dtype_size((Dtype)typ(ct)->dt) > dtype_size((Dtype)mine.dt) ? (Dtype)typ(ct)->dt : (Dtype)mine.dt;
    Ref v = Dot(Convert(ct, wide), Convert(i->in[1 - k], wide), ints_range(at, at + free_other.n),
        free_other, ints_range(0, nb), b[1 - k], (Dtype)mine.dt);
    Ints left = ints_others(other.rank, ints_concat(b[1 - k], free_other));
    Ints order = ints_concat(b[k], free_mine), perm = order;
    /* the partner of each contracted axis of the other, in its order */
    for (int j = 0; j < left.n; j++)
        for (int l = 0; l < c[k].n; l++)
            if (c[1 - k].v[l] == left.v[j])
                order = ints_push(order, c[k].v[l]);
    perm.n = order.n;
    for (int d = 0; d < order.n; d++)
        perm.v[order.v[d]] = d;
    return v ? Transpose(v, perm) : 0;
}

static void dot_transpose(const Ins *i, const Ref *ct, Cts *cts)
{
    bool l = graph_lin(cur(), i->in[0]), r = graph_lin(cur(), i->in[1]);
    if (l && r) {
        error_set(E_DIFF, "dot: a product of two tangents is not linear and has no transpose");
        return;
    }
    if (l || r)
        ct_add(cts, i->in[r], dot_transpose_to(i, ct[0], r));
}

/* ==================== lanes */

static void dot_batch(const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    (void)ax;
    Ints a[4];
    for (int k = 0; k < 4; k++) {
        a[k] = ins_ints(i, k);
        if (s[k % 2] == STACKED)
            a[k] = ints_up(a[k]);
    }
    int rank[2] = { typ(x[0])->rank, typ(x[1])->rank };
    int free_l = rank[0] - a[LC].n - a[LB].n, free_r = rank[1] - a[RC].n - a[RB].n;
    bool both = s[0] == STACKED && s[1] == STACKED;
    so[0] = STACKED;
    out[0] = 0;
    if (!ops_room(OP_dot, a[LB].n + free_l + free_r - (both ? 2 : 1)))
        return;
    if (both) {
        out[0] =
            Dot(x[0], x[1], a[LC], a[RC], ints_lead(0, a[LB]), ints_lead(0, a[RB]), (Dtype)ins_int(i, TO));
        return;
    }
    Ref v = Dot(x[0], x[1], a[LC], a[RC], a[LB], a[RB], (Dtype)ins_int(i, TO));
    int at = a[LB].n + (s[0] == STACKED ? 0 : free_l);
    out[0] = v ? MoveAxis(v, at, 0) : 0;
}

/* ==================== evaluation: both factors made wide once; accumulators over the right factor's free
 * axes */

typedef struct Space { int64_t n, *l, *r; } Space;      /* offsets into both factors; either may be NULL */

typedef struct Product {
    Space batch, left, right, inner;
    Dtype dt, to;                               /* of factors and result */
    void *x, *y, *acc;                          /* wide elements; a row of the result */
} Product;

/* T: double or long double, its complex, or uint64_t for integers and bools. A sum of one is that product,
 * -0 included. */
#define ROW(T, ADD) do { \
        const T *x = p->x, *y = p->y; \
        T *acc = p->acc; \
        for (int64_t j = 0; j < p->right.n; j++) \
            acc[j] = 0; \
        for (int64_t k = 0; k < p->inner.n; k++) { \
            T f = x[lo + p->inner.l[k]]; \
            const T *row = y + ro + p->inner.r[k]; \
            if (p->inner.n == 1) \
                for (int64_t j = 0; j < p->right.n; j++) \
                    acc[j] = f * row[p->right.r[j]]; \
            else \
                for (int64_t j = 0; j < p->right.n; j++) \
                    acc[j] ADD f * row[p->right.r[j]]; \
        } \
    } while (0)

static void dot_row(const Product *p, int64_t lo, int64_t ro, bool wide)
{
    Class c = ops_class(p->dt);
    if (c == CL_INT && p->dt == DT_BOOL)
        ROW(uint64_t, |=);
    else if (c == CL_INT)
        ROW(uint64_t, +=);
    else if (c == CL_FLOAT && !wide)
        ROW(double, +=);
    else if (c == CL_FLOAT)
        ROW(long double, +=);
    else if (!wide)
        ROW(double _Complex, +=);
    else
        ROW(long double _Complex, +=);
}

/* Element k of an array of the computing type. */
static void widen(const Product *p, void *a, int64_t k, Wide w, bool wide)
{
    Class c = ops_class(p->dt);
    if (c == CL_INT)
        ((uint64_t *)a)[k] = (uint64_t)w.i;
    else if (c == CL_FLOAT && !wide)
        ((double *)a)[k] = (double)w.f;
    else if (c == CL_FLOAT)
        ((long double *)a)[k] = w.f;
    else if (!wide)
        ((double _Complex *)a)[k] = __builtin_complex((double)w.f, (double)w.im);
    else
        ((long double _Complex *)a)[k] = __builtin_complex(w.f, w.im);
}

static Wide narrow(const Product *p, int64_t k, bool wide)
{
    Class c = ops_class(p->dt);
    if (c == CL_INT)
        return (Wide){ .i = (int64_t)((uint64_t *)p->acc)[k] };
    if (c == CL_FLOAT)
        return (Wide){ .f = wide ? ((long double *)p->acc)[k] : ((double *)p->acc)[k] };
    if (!wide)
        return (
            Wide){ .f = creal(((double _Complex *)p->acc)[k]), .im = cimag(((double _Complex *)p->acc)[k]) };
    return (Wide){ .f = creall(((long double _Complex *)p->acc)[k]),
        .im = cimagl(((long double _Complex *)p->acc)[k]) };
}

static size_t wide_size(const Product *p, bool wide)
{
    Class c = ops_class(p->dt);
    return c == CL_INT ? sizeof(uint64_t) :
                         (wide ? sizeof(long double) : sizeof(double)) * (c == CL_COMPLEX ? 2 : 1);
}

static void *widened(const Product *p, const Type *t, const void *in, bool wide)
{
    int64_t n = type_size(t);
    size_t size = dtype_size(p->dt);
    void *a = ops_temp((size_t)n, wide_size(p, wide));
    for (int64_t k = 0; a && k < n; k++)
        widen(p, a, k, ops_load(p->dt, (const char *)in + (size_t)k * size), wide);
    return a;
}

static void product_run(const Product *p, void *out, bool wide)
{
    size_t size = dtype_size(p->to);
    char *to = out;
    for (int64_t b = 0; b < p->batch.n; b++)
        for (int64_t m = 0; m < p->left.n; m++) {
            dot_row(p, p->batch.l[b] + p->left.l[m], p->batch.r[b], wide);
            for (int64_t j = 0; j < p->right.n; j++, to += size)
                ops_store(p->to, to, narrow(p, j, wide));
        }
}

static int dot_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    Ints a[4];
    for (int k = 0; k < 4; k++)
        a[k] = ins_ints(i, k);
    Product p = { .dt = (Dtype)t[0]->dt, .to = (Dtype)u[0].dt };
    bool wide = ops_wide(p.dt) || ops_wide(p.to);
    p.batch.l = ops_offsets(t[0], a[LB], &p.batch.n);
    p.batch.r = ops_offsets(t[1], a[RB], &p.batch.n);
    p.inner.l = ops_offsets(t[0], a[LC], &p.inner.n);
    p.inner.r = ops_offsets(t[1], a[RC], &p.inner.n);
    p.left.l = ops_offsets(t[0], ints_others(t[0]->rank, ints_concat(a[LB], a[LC])), &p.left.n);
    p.right.r = ops_offsets(t[1], ints_others(t[1]->rank, ints_concat(a[RB], a[RC])), &p.right.n);
    p.x = widened(&p, t[0], in[0], wide);
    p.y = widened(&p, t[1], in[1], wide);
    p.acc = ops_temp((size_t)p.right.n, wide_size(&p, wide));
    bool ok =
        p.batch.l && p.batch.r && p.inner.l && p.inner.r && p.left.l && p.right.r && p.x && p.y && p.acc;
    if (ok)
        product_run(&p, out[0], wide);
    free(p.batch.l), free(p.batch.r), free(p.inner.l), free(p.inner.r), free(p.left.l), free(p.right.r);
    free(p.x), free(p.y), free(p.acc);
    return ok ? 0 : error_code();
}

const Rules rules_dot = { dot_infer, dot_jvp, dot_transpose, dot_batch, dot_eval };
