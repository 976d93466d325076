/*
 * linalg_panels.c - cholesky, lu, qr and triangular_solve of large matrices, panel by panel: a few columns
 * are factorised by themselves, or a few unknowns found, and what that does to all others is a product.
 *
 *     a panel's columns, the diagonal through its pivots from some row on:
 *     lu      all rows are put in the panel's order; U12 = L11^-1 A12; A22 - L21 U12
 *     qr      its reflections are 1 - V T V', T being triangular; A - V T' V' A
 *
 * All panels are as wide, and each step works on the whole matrix, where what is above the pivots or left of
 * the panel stays as it is: so steps are the same few kernels. A wide panel is factorised likewise, in
 * narrow ones; of a narrow one each matrix is a lane. Of lu the columns are halved first: products of halves
 * are smaller.
 *
 * In: stacks of matrices, with one axis in front. Out: the op's results.
 */
#include "linalg.h"

/* ==================== parts of a stack, at places that are computed; 0: the first */

static Ref start_at(Ref row, Ref column)
{
    Ref zero = Like(row ? row : column, 0), at[] = { zero, row ? row : zero, column ? column : zero };
    for (int k = 0; k < 3; k++)
        at[k] = Reshape(at[k], (Ints){ 1, { 1 } });
    return Concat(at, 3, 0);
}

static Ref rows_at(Ref a, Ref row, int64_t n)
{
    Ints size = type_shape(typ(a));
    size.v[1] = n;
    return DynamicSlice(a, start_at(row, 0), size, (Ints){ 0 });
}

static Ref columns_at(Ref a, Ref column, int64_t n)
{
    Ints size = type_shape(typ(a));
    size.v[2] = n;
    return DynamicSlice(a, start_at(0, column), size, (Ints){ 0 });
}

static Ref plus(Ref k, int64_t n) { return Add(k, Like(k, (double)n)); }
static Ref times(Ref k, int64_t n) { return Mul(k, Like(k, (double)n)); }
/* Where places along an axis are k or more. */
static Ref from(Ref x, int axis, Ref k) { return Ge(places(x, axis), all(k, places(x, axis))); }
static int64_t length_of(Ref v) { return typ(v)->dim[0]; }

static Ref in_order(Ref v, Ref order)
{
    if (!v || !order)
        return 0;
    Ints s = type_shape(typ(v)), column = s;
    column.v[column.n++] = 1;
    return Reshape(MatrixRows(Reshape(v, column), order), s);
}

/* What steps gave for each matrix and column of a panel, by column: [steps, count, b] -> [count, steps b] */
static Ref by_column(Ref v)
{
    if (!v)
        return 0;
    Type t = *typ(v);
    return Reshape(MoveAxis(v, 0, 1), (Ints){ 2, { t.dim[1], t.dim[0] * t.dim[2] } });
}

/* Panels of b columns; with zeros around it, the matrix is whole panels wide and high enough for their
 * pivots. Nothing of what is added is ever a pivot of the rest. */
static Ref whole_panels(Ref a, int64_t pivots, int64_t b, int64_t *panels)
{
    *panels = (pivots + b - 1) / b;
    int64_t rows = *panels * b - matrix_rows(a), columns = *panels * b - matrix_columns(a);
    return MatrixPad(a, 0, rows > 0 ? rows : 0, 0, columns > 0 ? columns : 0);
}

/* ==================== lu
 *
 * Captured: the row of the first column's pivot; vectors as long as a panel is wide, and the narrowest.
 * Carry: the matrix, its rows' order. xs: the panel. ys: the rows that pivots came from. */

static void narrow_lu(const Ref *x, Ref *out) { lu_columns(x[0], x[1], out); }
static void some_lu(Ref a, Ref first, int64_t panels, const Ref *width, Ref *lu);

static void lu_panel(const Ref *x, Ref *out)
{
    int64_t b = length_of(x[1]);
    Ref column = times(x[5], b), row = Add(column, x[0]), f[3] = { 0 };
    some_lu(columns_at(x[3], column, b), row, b / length_of(x[2]), (const Ref[]){ x[2], x[2] }, f);
    Ref a = f[1] ? MatrixRows(x[3], f[1]) : 0;
    if (!a)
        return;
    Ref block = rows_at(a, row, b), right = from(block, 2, plus(column, b));
    Ref u = TriangularSolve(rows_at(f[0], row, b), block, TRI_LOWER | TRI_UNIT);
    Ref below = where(from(f[0], 1, plus(row, b)), f[0]);
    a = Sub(a, Matmul(below, where(right, u)));
    a = DynamicUpdate(a, Select(right, u, block), start_at(row, 0));
    out[0] = DynamicUpdate(a, f[0], start_at(0, column));
    out[1] = in_order(x[4], f[1]), out[2] = f[2];
}

/* width: of panels, and of the narrowest. */
static void some_lu(Ref a, Ref first, int64_t panels, const Ref *width, Ref *lu)
{
    if (matrix_columns(a) <= length_of(width[1])) {
        each_matrix(narrow_lu, 2, (const Ref[]){ a, first }, (const bool[]){ false, true }, 3, lu);
        return;
    }
    Ref order = BroadcastLead(counter(matrix_rows(a)), length_of(a));
    const Ref in[] = { first, width[0], width[1], a, order, counter(panels) };
    loop_scan(lu_panel, &(Loop){ panels, false, 3, 2, 1, 3 }, in, lu);
    lu[2] = by_column(lu[2]);
}

static Ref side_by_side(Ref x, Ref y, int axis)
{
    return x && y ? Concat((const Ref[]){ x, y }, 2, axis) : 0;
}

/* P1 [A11 A21] = [L11 L21] U11, U12 = L11^-1 A12; P2 (A22 - L21 U12) = L22 U22. */
static void halved_lu(Ref a, int64_t h, Ref *out)
{
    int64_t m = matrix_rows(a), n = matrix_columns(a), k = m < n ? m : n;
    while (2 * h < k)
        h *= 2;
    Ref f[3] = { 0 }, g[3] = { 0 };
    Lu(MatrixPart(a, 0, m, 0, h), f);
    Ref b = MatrixRows(MatrixPart(a, 0, m, h, n - h), f[2]), top = MatrixPart(f[0], 0, h, 0, h);
    Ref u = TriangularSolve(top, MatrixPart(b, 0, h, 0, n - h), TRI_LOWER | TRI_UNIT);
    Ref below = MatrixPart(f[0], h, m - h, 0, h);
    Ref rest = Sub(MatrixPart(b, h, m - h, 0, n - h), Matmul(below, u));
    if (rest)
        Lu(rest, g);
    if (!g[0])
        return;
    Ref lower = side_by_side(MatrixRows(below, g[2]), g[0], 2);
    out[0] = side_by_side(side_by_side(top, u, 2), lower, 1);
    out[1] = side_by_side(f[1], plus(g[1], h), 1);
    out[2] = side_by_side(SliceAxis(f[2], 1, 0, h), in_order(SliceAxis(f[2], 1, h, m), g[2]), 1);
}

static Ref first_row(void) { return Const(DT_I32, 0); }
static int64_t width_of(int64_t pivots, const Cut *cut)
{
    return pivots > 2 * cut->wide ? cut->wide : cut->leaf;
}

void lu_panels(const Ins *i, const Ref *x, Ref *out, const Cut *cut)
{
    int64_t m = matrix_rows(x[0]), n = matrix_columns(x[0]), k = m < n ? m : n, panels,
            b = width_of(k, cut);
    Ref lu[3] = { 0 };
    (void)i;
    if (k > cut->halved) {
        halved_lu(x[0], cut->halved, out);
        return;
    }
    Ref a = whole_panels(x[0], k, b, &panels);
    some_lu(a, first_row(), panels, (const Ref[]){ counter(b), counter(cut->leaf) }, lu);
    out[0] = MatrixPart(lu[0], 0, m, 0, n);
    out[1] = lu[2] ? SliceAxis(lu[2], 1, 0, k) : 0;
    out[2] = lu[1] ? SliceAxis(lu[1], 1, 0, m) : 0;
}

/* ==================== triangular_solve
 *
 * Captured: A; a vector as long as a panel is high. Carry: the unknowns, zero where they are not known yet.
 * xs: the panel; its rows of what is beside the diagonal's blocks, where A has it; its rows of b. So a step
 * is a product of whole arrays, and what unknowns are multiplied with is chosen once, for all panels. */

static void unknowns(const Ref *x, Ref *out, int how)
{
    int64_t b = length_of(x[1]);
    Ref row = times(x[3], b), rest = Sub(x[5], Matmul(x[4], x[2]));
    Ref block = columns_at(rows_at(x[0], row, b), row, b);
    out[0] = DynamicUpdate(x[2], TriangularSolve(block, rest, how), start_at(row, 0));
}

static void lower(const Ref *x, Ref *out) { unknowns(x, out, TRI_LOWER); }
static void lower_unit(const Ref *x, Ref *out) { unknowns(x, out, TRI_LOWER | TRI_UNIT); }
static void upper(const Ref *x, Ref *out) { unknowns(x, out, 0); }
static void upper_unit(const Ref *x, Ref *out) { unknowns(x, out, TRI_UNIT); }

/* With further unknowns, which are equal to their right-hand sides. */
static Ref enlarged(Ref a, int64_t more)
{
    int64_t n = matrix_rows(a);
    if (!more)
        return a;
    a = MatrixPad(a, 0, more, 0, more);
    Ref row = places(a, 1), on = And(Eq(row, places(a, 2)), Ge(row, Like(row, (double)n)));
    return Select(on, Like(a, 1), a);
}

/* [count, panels b, columns] -> [panels, count, b, columns] */
static Ref by_rows(Ref v, int64_t panels)
{
    Type t = *typ(v);
    return MoveAxis(Reshape(v, (Ints){ 4, { t.dim[0], panels, t.dim[1] / panels, t.dim[2] } }), 1, 0);
}

void triangular_panels(const Ins *i, const Ref *x, Ref *out, const Cut *cut)
{
    int64_t n = matrix_rows(x[0]), leaf = cut->leaf, panels = (n + leaf - 1) / leaf;
    int64_t more = panels * leaf - n;
    int how = how_solved(i);
    bool turned = how & TRI_TRANSPOSE, low = !(how & TRI_LOWER) == turned, unit = how & TRI_UNIT;
    Ref a = enlarged(turned ? Turned(x[0]) : x[0], more), b = MatrixPad(x[1], 0, more, 0, 0), y = 0;
    Ref size = Like(places(a, 1), (double)leaf), of_row = Div(places(a, 1), size),
        of_column = Div(places(a, 2), size), beside = low ? Lt(of_column, of_row) : Gt(of_column, of_row);
    const Ref in[] = { a, counter(leaf), Like(b, 0), counter(panels), by_rows(where(beside, a), panels),
        by_rows(b, panels) };
    loop_scan(low ? unit ? lower_unit : lower : unit ? upper_unit : upper,
        &(Loop){ panels, !low, 2, 1, 3, 1 }, in, &y);
    out[0] = MatrixPart(y, 0, n, 0, matrix_columns(x[1]));
}

/* ==================== cholesky
 *
 * Captured: the matrix; a vector as long as a panel is wide. Carry: the factor, zero where it is not known
 * yet. xs: the panel. What is above a panel's diagonal is computed with the rest and not kept. */

static void cholesky_panel(const Ref *x, Ref *out)
{
    int64_t b = length_of(x[1]);
    Ref column = times(x[3], b), done = Turned(rows_at(x[2], column, b));
    Ref a = Sub(columns_at(x[0], column, b), Matmul(x[2], done)), l = Cholesky(rows_at(a, column, b));
    a = TriangularSolve(l, a, TRI_RIGHT | TRI_LOWER | TRI_TRANSPOSE);
    a = a ? DynamicUpdate(where(from(a, 1, column), a), l, start_at(column, 0)) : 0;
    out[0] = DynamicUpdate(x[2], a, start_at(0, column));
}

Ref cholesky_panels(Ref a, int64_t leaf)
{
    int64_t n = matrix_rows(a), panels = (n + leaf - 1) / leaf;
    Ref all = enlarged(a, panels * leaf - n), l = 0;
    const Ref in[] = { all, counter(leaf), Like(all, 0), counter(panels) };
    loop_scan(cholesky_panel, &(Loop){ panels, false, 2, 1, 1, 1 }, in, &l);
    return MatrixPart(l, 0, n, 0, n);
}

/* ==================== qr
 *
 * Captured: as for lu. Carry: the matrix, with reflections below the diagonal. xs: the panel. ys: tau. */

static void narrow_qr(const Ref *x, Ref *out) { qr_columns(x[0], x[1], out); }

/* H1 H2 .. = 1 - V T V', T = (1 + diag(tau) S)^-1 diag(tau), where S is V' V above its diagonal. */
static Ref together(Ref v, Ref tau)
{
    Ref s = Triu(Matmul(Adjoint(v), v), 1), on = Along(tau, s, true);
    return TriangularSolve(Mul(on, s), Mul(on, IdentityLike(s)), TRI_UNIT);
}

static void some_qr(Ref a, Ref first, int64_t panels, const Ref *width, Ref *qr);

static void qr_panel(const Ref *x, Ref *out)
{
    int64_t b = length_of(x[1]);
    Ref column = times(x[4], b), row = Add(column, x[0]), a = x[3], f[2] = { 0 };
    some_qr(columns_at(a, column, b), row, b / length_of(x[2]), (const Ref[]){ x[2], x[2] }, f);
    if (!f[0])
        return;
    Ref on = Sub(places(f[0], 1), Add(places(f[0], 2), all(row, places(f[0], 1)))), none = Like(on, 0);
    Ref v = Select(Eq(on, none), Like(f[0], 1), where(Gt(on, none), f[0]));
    Ref w = Matmul(Adjoint(together(v, f[1])), Matmul(Adjoint(v), a));
    a = w ? Sub(a, Matmul(v, where(from(w, 2, plus(column, b)), w))) : 0;
    out[0] = a ? DynamicUpdate(a, f[0], start_at(0, column)) : 0;
    out[1] = f[1];
}

static void some_qr(Ref a, Ref first, int64_t panels, const Ref *width, Ref *qr)
{
    if (matrix_columns(a) <= length_of(width[1])) {
        each_matrix(narrow_qr, 2, (const Ref[]){ a, first }, (const bool[]){ false, true }, 2, qr);
        return;
    }
    const Ref in[] = { first, width[0], width[1], a, counter(panels) };
    loop_scan(qr_panel, &(Loop){ panels, false, 3, 1, 1, 2 }, in, qr);
    qr[1] = by_column(qr[1]);
}

static void reflect(const Ref *x, Ref *out)
{
    Ref q = x[0], v = x[1], t = x[2];
    out[0] = Sub(q, Matmul(v, Matmul(t, Matmul(Adjoint(v), q))));
}

/* [count, rows, panels b] -> [panels, count, rows, b] */
static Ref by_panel(Ref v, int64_t panels)
{
    Type t = *typ(v);
    return MoveAxis(Reshape(v, (Ints){ 4, { t.dim[0], t.dim[1], panels, t.dim[2] / panels } }), 2, 0);
}

void qr_panels(const Ins *i, const Ref *x, Ref *out, const Cut *cut)
{
    int64_t m = matrix_rows(x[0]), n = matrix_columns(x[0]), k = m < n ? m : n,
            p = ins_int(i, ATTR(qr, full)) ? m : k, panels, b = width_of(k, cut), count = length_of(x[0]);
    Ref h[2] = { 0 }, a = whole_panels(x[0], k, b, &panels);
    some_qr(a, first_row(), panels, (const Ref[]){ counter(b), counter(cut->leaf) }, h);
    if (!h[0] || !h[1])
        return;
    Ref v = MatrixPart(h[0], 0, m, 0, panels * b);
    v = Add(Tril(v, -1), IdentityLike(v));
    v = by_panel(v, panels);
    Ref tau = MoveAxis(Reshape(h[1], (Ints){ 3, { count, panels, b } }), 1, 0);
    Ref q = IdentityLike(Full(type_of((Dtype)typ(a)->dt, 3, (const int64_t[]){ count, m, p }), 0));
    loop_scan(reflect, &(Loop){ panels, true, 0, 1, 2, 1 }, (const Ref[]){ q, v, together(v, tau) }, &q);
    out[0] = q;
    out[1] = Triu(MatrixPart(h[0], 0, p, 0, n), 0);
}
