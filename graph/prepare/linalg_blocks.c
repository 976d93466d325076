/*
 * linalg_blocks.c - large matrices in two halves, each of which is an op again: products do most of the
 * work.
 *
 * The first half is a power of two of leaves, so that halves of halves are alike and their kernels are
 * compiled once.
 */
#include "linalg.h"

#include <math.h>

/* Where a matrix of n is cut. */
static int64_t half_of(int64_t n, int64_t leaf)
{
    int64_t h = leaf;
    while (2 * h < n)
        h *= 2;
    return h;
}

static Ref joined(Ref x, Ref y, bool rows)
{
    return x && y ? Concat((const Ref[]){ x, y }, 2, typ(x)->rank - (rows ? 2 : 1)) : 0;
}

/* L11 L11' = A11, L21 L11' = A21, L22 L22' = A22 - L21 L21'. What is left is panels, or two of them. */
static Ref factor(Ref a, const Cut *cut)
{
    int64_t n = a ? matrix_rows(a) : 0, h = half_of(n, cut->leaf), r = n - h;
    if (n <= cut->leaf)
        return a ? Cholesky(a) : 0;
    if (n > 2 * cut->leaf && n <= cut->halved / 2)
        return cholesky_panels(a, cut->leaf);
    Ref l11 = factor(MatrixPart(a, 0, h, 0, h), cut);
    Ref l21 = TriangularSolve(l11, MatrixPart(a, h, r, 0, h), TRI_RIGHT | TRI_LOWER | TRI_TRANSPOSE);
    Ref l22 = factor(Sub(MatrixPart(a, h, r, h, r), Matmul(l21, Turned(l21))), cut);
    return joined(MatrixPad(l11, 0, 0, 0, r), joined(l21, l22, false), true);
}

/* A pivot that is no good makes nan of all that follows it: where the last element is, all is to be. */
void cholesky_blocks(const Ins *i, const Ref *x, Ref *out, const Cut *cut)
{
    Ref l = factor(x[0], cut);
    int64_t n = matrix_rows(x[0]);
    (void)i;
    if (!l)
        return;
    Ref last = MatrixPart(l, n - 1, 1, n - 1, 1), bad = Ne(last, last);
    Ints stack = { typ(l)->rank - 2, { 0 } }, dims = stack;
    for (int d = 0; d < stack.n; d++)
        stack.v[d] = typ(l)->dim[d], dims.v[d] = d;
    bad = Broadcast(Reshape(bad, stack), type_shape(typ(l)), dims);
    out[0] = Select(bad, Tril(Like(l, NAN), 0), l);
}

/* P A = L U, by its factors. Transposed: U' L' P x = b. */
void solve_blocks(const Ins *i, const Ref *x, Ref *out, const Cut *cut)
{
    Ref lu = x[2], rows = x[3], y[2];
    (void)cut;
    if (!ins_int(i, ATTR(solve, transpose))) {
        Ref b = TriangularSolve(lu, MatrixRows(x[1], rows), TRI_LOWER | TRI_UNIT);
        out[0] = TriangularSolve(lu, b, 0);
        return;
    }
    int axis = typ(rows)->rank - 1;
    const Ref by[] = { rows, Iota(*typ(rows), axis) };
    Ref b =
        TriangularSolve(lu, TriangularSolve(lu, x[1], TRI_TRANSPOSE), TRI_LOWER | TRI_UNIT | TRI_TRANSPOSE);
    out[0] = emit_n(OP_sort, 2, by, ATTRS(1, axis, 1, 1, 1, 0), y) == 2 ? MatrixRows(b, y[1]) : 0;
}

/* A11 x1 = b1, A22 x2 = b2 - A21 x1; or the other way round. What is left is panels, or two of them. */
void triangular_blocks(const Ins *i, const Ref *x, Ref *out, const Cut *cut)
{
    if (matrix_rows(x[0]) > 2 * cut->leaf && matrix_rows(x[0]) <= cut->halved) {
        triangular_panels(i, x, out, cut);
        return;
    }
    int64_t n = matrix_rows(x[0]), h = half_of(n, cut->leaf), m = matrix_columns(x[1]);
    int how = how_solved(i);
    bool turned = how & TRI_TRANSPOSE, lower = !(how & TRI_LOWER) == turned;
    int64_t at[2] = { lower ? 0 : h, lower ? h : 0 }, size[2] = { lower ? h : n - h, lower ? n - h : h };
    Ref off = turned ? Turned(MatrixPart(x[0], at[0], size[0], at[1], size[1])) :
                       MatrixPart(x[0], at[1], size[1], at[0], size[0]);
    Ref y[2], b = MatrixPart(x[1], at[0], size[0], 0, m);
    for (int k = 0; k < 2; k++) {
        y[k] = TriangularSolve(MatrixPart(x[0], at[k], size[k], at[k], size[k]), b, how);
        b = k ? 0 : Sub(MatrixPart(x[1], at[1], size[1], 0, m), Matmul(off, y[0]));
    }
    out[0] = joined(y[!lower], y[lower], true);
}
