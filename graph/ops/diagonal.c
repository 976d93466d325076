/*
 * diagonal.c - diagonal: the view of the elements where two axes go together.
 *
 *     y[.., k] = x[.., k, .., k + offset, ..]        offset < 0: x[.., k - offset, .., k, ..]
 *
 * Both axes are gone, and what goes along the diagonal is the last one. The transpose has zeros beside the
 * diagonal.
 */
#include "ops.h"

/* Where it begins along both, and its length. */
typedef struct Line { int axis, along; int64_t first[2], n; } Line;

static Line line_of(const Type *t, int64_t axis, int64_t along, int64_t offset)
{
    Line l = { (int)axis, (int)along, { offset < 0 ? -offset : 0, offset > 0 ? offset : 0 }, 0 };
    int64_t rows = t->dim[axis] - l.first[0], columns = t->dim[along] - l.first[1];
    l.n = rows < columns ? rows : columns;
    l.n = l.n < 0 ? 0 : l.n;
    return l;
}

static Line line_at(const Ins *i, const Type *t)
{
    return line_of(t, ins_int(i, ATTR(diagonal, axis)), ins_int(i, ATTR(diagonal, along)),
        ins_int(i, ATTR(diagonal, offset)));
}

Ref DiagonalOf(Ref x, int axis, int along, int64_t offset)
{
    Attr a = { 0 };
    attr_int(&a, axis), attr_int(&a, along), attr_int(&a, offset);
    return emit(OP_diagonal, 1, &x, &a);
}

static int diagonal_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    struct diagonal_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e || (e = ops_axis(op, t[0], a.axis.v[0])) || (e = ops_axis(op, t[0], a.along.v[0])))
        return e;
    int64_t axis = a.axis.v[0], along = a.along.v[0], offset = a.offset.v[0];
    if (axis == along || offset == INT64_MIN)
        return error_set(E_INVAL, "diagonal: axis %lld of %s has no diagonal with axis %lld, %lld beside it",
            (long long)axis, type_text(t[0]), (long long)along, (long long)offset);
    *out = (Type){ .dt = t[0]->dt };
    for (int d = 0; d < t[0]->rank; d++)
        if (d != axis && d != along)
            out->dim[out->rank++] = t[0]->dim[d];
    out->dim[out->rank++] = line_of(t[0], axis, along, offset).n;
    return 0;
}

/* The diagonal of a square of zeros, which is padded; then both axes go where they were. */
static void diagonal_transpose(const Ins *i, const Ref *ct, Cts *cts)
{
    const Type *t = typ(i->in[0]);
    Line l = line_at(i, t);
    if (!ct[0] || !type_size(typ(ct[0])))
        return;
    int row = t->rank - 2, column = t->rank - 1;
    Ints perm = ints_fill(t->rank, 0), lo = perm, hi = perm, none = perm;
    Type square = *typ(ct[0]), places;
    square.dim[square.rank++] = l.n;
    places = square, places.dt = DT_I32;
    Ref on = Eq(Iota(places, row), Iota(places, column));
    Ref x = Broadcast(ct[0], type_shape(&square), ints_range(0, t->rank - 1));
    x = Select(on, x, Zeros(&square));
    lo.v[row] = l.first[0], hi.v[row] = t->dim[l.axis] - l.first[0] - l.n;
    lo.v[column] = l.first[1], hi.v[column] = t->dim[l.along] - l.first[1] - l.n;
    x = Pad(x, Const((Dtype)t->dt, 0), lo, hi, none);
    for (int d = 0, o = 0; d < t->rank; d++)
        perm.v[d] = d == l.axis ? row : d == l.along ? column : o++;
    ct_add(cts, i->in[0], Transpose(x, perm));
}

static void diagonal_batch(
    const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    Ref y = stacked(x[0], s[0], ax->lane.size);
    int axis = (int)ins_int(i, ATTR(diagonal, axis)), along = (int)ins_int(i, ATTR(diagonal, along));
    out[0] = DiagonalOf(y, axis + 1, along + 1, ins_int(i, ATTR(diagonal, offset)));
    so[0] = STACKED;
}

static int diagonal_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    int64_t fs[MAXRANK], ts[MAXRANK], by[MAXRANK];
    size_t size = dtype_size((Dtype)u[0].dt);
    Line l = line_at(i, t[0]);
    int n = 0;
    if (!type_size(&u[0]))
        return 0;
    ops_strides(t[0], fs);
    ops_strides(&u[0], ts);
    for (int d = 0; d < t[0]->rank; d++)
        if (d != l.axis && d != l.along)
            by[n++] = fs[d];
    by[n] = fs[l.axis] + fs[l.along];
    int64_t from = l.first[0] * fs[l.axis] + l.first[1] * fs[l.along];
    ops_copy(u[0].rank, u[0].dim, size, out[0], ts, (const char *)in[0] + from * (int64_t)size, by);
    return 0;
}

const Rules rules_diagonal = {
    diagonal_infer, ops_jvp_again, diagonal_transpose, diagonal_batch, diagonal_eval
};
