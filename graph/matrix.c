/*
 * matrix.c - builders on stacks of matrices: rows and columns are the last two axes, and those before them
 * count the matrices.
 *
 * What they compute follows from ordinary ops, so batching and derivatives do too. Elements that do not
 * belong (the other triangle, a column that is not asked for) are selected away and never multiplied by
 * zero: 0 * nan is nan.
 */
#include "graph.h"

int64_t matrix_rows(Ref x) { return typ(x)->dim[typ(x)->rank - 2]; }
int64_t matrix_columns(Ref x) { return typ(x)->dim[typ(x)->rank - 1]; }

static Ints axes_before(int n)
{
    Ints a = { n, { 0 } };
    for (int d = 0; d < n; d++)
        a.v[d] = d;
    return a;
}

Ref Turned(Ref x)
{
    if (!x)
        return 0;
    Ints perm = axes_before(typ(x)->rank);
    perm.v[perm.n - 2] = perm.n - 1;
    perm.v[perm.n - 1] = perm.n - 2;
    return Transpose(x, perm);
}

Ref Conjugate(Ref x) { return x && is_complex(x) ? Conj(x) : x; }
Ref Adjoint(Ref x) { return Turned(Conjugate(x)); }

Ref Matmul(Ref x, Ref y)
{
    if (!x || !y)
        return 0;
    int r = typ(x)->rank;
    Ints lead = axes_before(r - 2);
    return Dot(x, y, (Ints){ 1, { r - 1 } }, (Ints){ 1, { r - 2 } }, lead, lead, DT_NONE);
}

Ref MatrixPart(Ref x, int64_t row, int64_t rows, int64_t column, int64_t columns)
{
    if (!x)
        return 0;
    int r = typ(x)->rank;
    return SliceAxis(SliceAxis(x, r - 2, row, row + rows), r - 1, column, column + columns);
}

/* Rows and columns of zeros around it. */
Ref MatrixPad(Ref x, int64_t above, int64_t below, int64_t left, int64_t right)
{
    if (!x || !(above | below | left | right))
        return x;
    int r = typ(x)->rank;
    Ints lo = { r, { 0 } }, hi = lo, none = lo;
    lo.v[r - 2] = above, hi.v[r - 2] = below;
    lo.v[r - 1] = left, hi.v[r - 1] = right;
    return Pad(x, Const((Dtype)typ(x)->dt, 0), lo, hi, none);
}

/* The place of each element: its column less its row. */
static Ref offsets(Ref x)
{
    Type t = type_of(DT_I32, 2, typ(x)->dim + typ(x)->rank - 2);
    return Sub(Iota(t, 1), Iota(t, 0));
}

static Ref over_stack(Ref mask, Ref x)
{
    int r = typ(x)->rank;
    return Broadcast(mask, type_shape(typ(x)), (Ints){ 2, { r - 2, r - 1 } });
}

Ref Tril(Ref x, int64_t diagonal)
{
    if (!x)
        return 0;
    Ref at = offsets(x);
    return Select(over_stack(Le(at, Like(at, (double)diagonal)), x), x, Like(x, 0));
}

Ref Triu(Ref x, int64_t diagonal)
{
    if (!x)
        return 0;
    Ref at = offsets(x);
    return Select(over_stack(Ge(at, Like(at, (double)diagonal)), x), x, Like(x, 0));
}

/* One matrix more or less than x's: ones on the diagonal. */
Ref IdentityLike(Ref x)
{
    if (!x)
        return 0;
    Ref at = offsets(x);
    return Select(over_stack(Eq(at, Like(at, 0)), x), Like(x, 1), Like(x, 0));
}

/* The symmetric matrix that has this lower triangle; of complex numbers the diagonal's real parts. */
Ref Mirrored(Ref x)
{
    if (!x)
        return 0;
    Ref at = offsets(x), zero = Like(at, 0);
    Ref y = Select(over_stack(Le(at, zero), x), x, Adjoint(x));
    if (!is_complex(x))
        return y;
    return Select(over_stack(Eq(at, zero), x), Convert(RealPart(x), (Dtype)typ(x)->dt), y);
}

Ref Diagonal(Ref x)
{
    if (!x)
        return 0;
    int64_t m = matrix_rows(x), n = matrix_columns(x), k = m < n ? m : n;
    x = MatrixPart(x, 0, k, 0, k);
    Ref at = offsets(x);
    return Sum(Select(over_stack(Eq(at, Like(at, 0)), x), x, Like(x, 0)), (Ints){ 1, { typ(x)->rank - 2 } });
}

Ref MatrixRows(Ref x, Ref rows)
{
    if (!x || !rows)
        return 0;
    int r = typ(x)->rank;
    Ints lead = axes_before(r - 2), sizes = { r, { 0 } }, index = type_shape(typ(rows));
    index.v[index.n++] = 1;
    for (int d = 0; d < r; d++)
        sizes.v[d] = d == r - 1 ? typ(x)->dim[d] : 1;
    const Ints offset = { 1, { r - 1 } }, row = { 1, { r - 2 } };
    const Ints *list[] = { &offset, &row, &row, &lead, &lead, &sizes };
    Attr a = { 0 };
    for (int k = 0; k < 6; k++)
        attr_list(&a, list[k]->v, list[k]->n);
    attr_int(&a, 1); /* clip */
    return emit(OP_gather, 2, (const Ref[]){ x, Reshape(rows, index) }, &a);
}

/* v has an element for each column of x (rows: for each row), and becomes of x's shape. */
Ref Along(Ref v, Ref x, bool rows)
{
    if (!v || !x)
        return 0;
    Ints dims = axes_before(typ(x)->rank - 1);
    dims.v[dims.n - 1] += !rows;
    return Broadcast(v, type_shape(typ(x)), dims);
}
