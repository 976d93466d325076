/*
 * ops_product.c - products: all of them are the one contraction of the graph (dot), after axes are put in
 * place.
 *
 * Operands of different batch sizes (1 against n, or an axis missing) are not broadcast: such an axis is a
 * free one of the operand that has it, so that a product with one shared matrix stays one large product.
 */
#include "formulas.h"

/* ==================== dot, matmul, tensordot */

static bool same_size(const char *what, Ref x, int xa, Ref y, int ya)
{
    if (typ(x)->dim[xa] == typ(y)->dim[ya])
        return true;
    error_set(E_SHAPE, "%s: inner dimensions differ: axis %d of %s and axis %d of %s",
        what, xa, type_text(typ(x)), ya, type_text(typ(y)));
    return false;
}

/* May a product have this type? What contracts must have products and sums. */
static bool multiplies(const char *what, Ref x)
{
    if (typ(x)->dt != DT_BOOL)
        return true;
    error_set(E_DTYPE, "%s: bool has no sums; write hd_cast(x, HD_I32)", what);
    return false;
}

static bool fits_rank(const char *what, Ref x, Ref y, int rank)
{
    if (rank <= MAXRANK)
        return true;
    error_set(E_SHAPE, "%s: %s and %s make %d axes; no array has more than %d",
        what, type_text(typ(x)), type_text(typ(y)), rank, MAXRANK);
    return false;
}

/* The parameters of dot_general: contracted and batched axes of both operands. */
static Ref contract(const char *what, Ref x, Ref y, Ints xc, Ints yc, Ints xb, Ints yb)
{
    if (!x || !y || !multiplies(what, x) ||
        !fits_rank(what, x, y, typ(x)->rank + typ(y)->rank - 2 * xc.n - xb.n))
        return 0;
    return Dot(x, y, xc, yc, xb, yb, DT_NONE);
}

hd hd_dot(hd x, hd y)
{
    Ref r[2];
    Ints none = { 0 };
    OP(hd_dot);
    if (unify_dtype("hd_dot", 2, (const hd[]){ x, y }, r))
        return HD_NIL;
    int xr = typ(r[0])->rank, yr = typ(r[1])->rank;
    if (!xr || !yr)
        return sym_of(bin(OP_mul, r[0], r[1]));
    int inner = yr == 1 ? 0 : yr - 2;
    if (!same_size("hd_dot", r[0], xr - 1, r[1], inner))
        return HD_NIL;
    return sym_of(contract("hd_dot", r[0], r[1], ints1(xr - 1), ints1(inner), none, none));
}

/* Batch axes are those in front of the last two, aligned at their ends. */
static Ref matmul(Ref x, Ref y)
{
    static const char what[] = "hd_matmul";
    bool row = typ(x)->rank == 1, column = typ(y)->rank == 1;

    if (row)
        x = unsqueeze(x, 0);
    if (column)
        y = unsqueeze(y, 1);
    Type a = *typ(x), b = *typ(y);
    int nx = a.rank - 2, ny = b.rank - 2, n = nx > ny ? nx : ny;
    Ints xs = { 0 }, ys = { 0 }, xb = { 0 }, yb = { 0 }, xfree = { 0 }, yfree = { 0 }, both = { 0 };

    /* axes of size 1 against n are dropped; xfree, yfree, both: which result axis each remaining batch axis
     * is */
    for (int i = 0; i < n; i++) {
        int64_t p = i < n - nx ? 1 : a.dim[i - (n - nx)], q = i < n - ny ? 1 : b.dim[i - (n - ny)];
        if (p != q && p != 1 && q != 1) {
            error_set(E_SHAPE, "%s: batch axes do not fit: %s and %s", what, type_text(&a), type_text(&b));
            return 0;
        }
        if (p == q) {
            xb.v[xb.n++] = xs.n, yb.v[yb.n++] = ys.n, both.v[both.n++] = i;
            xs.v[xs.n++] = p, ys.v[ys.n++] = q;
        } else if (q == 1) {
            xfree.v[xfree.n++] = i, xs.v[xs.n++] = p;
        } else {
            yfree.v[yfree.n++] = i, ys.v[ys.n++] = q;
        }
    }
    /* an axis that is missing on one side and 1 on the other was taken as both's: the missing one gets it by
     * reshape */
    xs.v[xs.n++] = a.dim[nx], xs.v[xs.n++] = a.dim[nx + 1];
    ys.v[ys.n++] = b.dim[ny], ys.v[ys.n++] = b.dim[ny + 1];
    x = Reshape(x, xs), y = Reshape(y, ys);
    if (!x || !y || !same_size(what, x, xs.n - 1, y, ys.n - 2))
        return 0;
    Ref z = contract(what, x, y, ints1(xs.n - 1), ints1(ys.n - 2), xb, yb);
    if (!z)
        return 0;

    /* z has: both, xfree, rows, yfree, columns */
    Ints perm = { 0 };
    perm.n = n + 2;
    for (int i = 0; i < both.n; i++)
        perm.v[both.v[i]] = i;
    for (int i = 0; i < xfree.n; i++)
        perm.v[xfree.v[i]] = both.n + i;
    for (int i = 0; i < yfree.n; i++)
        perm.v[yfree.v[i]] = both.n + xfree.n + 1 + i;
    perm.v[n] = both.n + xfree.n, perm.v[n + 1] = n + 1;
    z = Transpose(z, perm);
    if (column)
        z = squeeze_axis(z, n + 1);
    return row ? squeeze_axis(z, n) : z;
}

hd hd_matmul(hd x, hd y)
{
    Ref r[2];
    OP(hd_matmul);
    if (unify_dtype("hd_matmul", 2, (const hd[]){ x, y }, r))
        return HD_NIL;
    if (!rank_ref("hd_matmul", sym_of(r[0]), 1) || !rank_ref("hd_matmul", sym_of(r[1]), 1))
        return HD_NIL;
    return sym_of(matmul(r[0], r[1]));
}

/* Lists of axes of two operands that go together. Both operands bring three parameters each. 0, or a
 * code. */
static int pairs(const char *what, Ref x, Ref y, hd_ints xl, hd_ints yl, Ints *xa, Ints *ya)
{
    Ints sorted;
    *xa = *ya = (Ints){ 0 };
    if (xl.n != yl.n)
        return error_set(E_INVAL, "%s: %d axes of %s go with %d of %s",
            what, xl.n, type_text(typ(x)), yl.n, type_text(typ(y)));
    if (!xl.n)
        return 0;
    if (axes_of(what, xl, typ(x)->rank, &sorted, NULL) || axes_of(what, yl, typ(y)->rank, &sorted, NULL))
        return E_INVAL;
    for (int i = 0; i < xl.n; i++) {
        xa->v[xa->n++] = axis_of(what, xl.v[i], typ(x)->rank);
        ya->v[ya->n++] = axis_of(what, yl.v[i], typ(y)->rank);
        if (!same_size(what, x, (int)xa->v[i], y, (int)ya->v[i]))
            return E_SHAPE;
    }
    return 0;
}

hd hd_tensordot(hd x, hd y, hd_ints x_axes, hd_ints y_axes)
{
    static const char what[] = "hd_tensordot";
    Ref r[2];
    Ints xa, ya, none = { 0 };
    OP(hd_tensordot);
    if (unify_dtype(what, 2, (const hd[]){ x, y }, r) || pairs(what, r[0], r[1], x_axes, y_axes, &xa, &ya))
        return HD_NIL;
    return sym_of(contract(what, r[0], r[1], xa, ya, none, none));
}

hd hd_dot_general(hd x, hd y, hd_ints x_contract, hd_ints y_contract, hd_ints x_batch, hd_ints y_batch)
{
    static const char what[] = "hd_dot_general";
    Ref r[2];
    Ints xc, yc, xb, yb;
    OP(hd_dot_general);
    if (unify_dtype(what, 2, (const hd[]){ x, y }, r) ||
        pairs(what, r[0], r[1], x_contract, y_contract, &xc, &yc) ||
        pairs(what, r[0], r[1], x_batch, y_batch, &xb, &yb))
        return HD_NIL;
    for (int i = 0; i < xb.n; i++)
        if (ints_has(&xc, xb.v[i]) || ints_has(&yc, yb.v[i])) {
            error_set(E_INVAL, "%s: axis %lld is both contracted and a batch axis", what,
                (long long)(ints_has(&xc, xb.v[i]) ? xb.v[i] : yb.v[i]));
            return HD_NIL;
        }
    return sym_of(contract(what, r[0], r[1], xc, yc, xb, yb));
}

/* ==================== small products */

hd hd_vdot(hd x, hd y)
{
    Ref r[2];
    Ints none = { 0 };
    OP(hd_vdot);
    if (unify_dtype("hd_vdot", 2, (const hd[]){ x, y }, r))
        return HD_NIL;
    if (type_size(typ(r[0])) != type_size(typ(r[1]))) {
        error_set(E_SHAPE, "hd_vdot: %s and %s have different numbers of elements",
            type_text(typ(r[0])), type_text(typ(r[1])));
        return HD_NIL;
    }
    return sym_of(contract("hd_vdot", flat(r[0]), flat(r[1]), ints1(0), ints1(0), none, none));
}

hd hd_outer(hd x, hd y)
{
    Ref r[2];
    OP(hd_outer);
    if (unify_dtype("hd_outer", 2, (const hd[]){ x, y }, r))
        return HD_NIL;
    return sym_of(bin(OP_mul, unsqueeze(flat(r[0]), 1), unsqueeze(flat(r[1]), 0)));
}

/* Axis i of the result is axis i of x times axis i of y: a product of x with axes of 1 between, and y with
 * axes of 1 before. */
hd hd_kron(hd x, hd y)
{
    Ref r[2];
    Ints xs = { 0 }, ys = { 0 }, shape = { 0 };
    OP(hd_kron);
    if (unify_dtype("hd_kron", 2, (const hd[]){ x, y }, r))
        return HD_NIL;
    Type a = *typ(r[0]), b = *typ(r[1]);
    int n = a.rank > b.rank ? a.rank : b.rank;
    if (!fits_rank("hd_kron", r[0], r[1], 2 * n))
        return HD_NIL;
    for (int i = 0; i < n; i++) {
        int64_t p = i < n - a.rank ? 1 : a.dim[i - (n - a.rank)],
                q = i < n - b.rank ? 1 : b.dim[i - (n - b.rank)];
        xs.v[xs.n++] = p, xs.v[xs.n++] = 1, ys.v[ys.n++] = 1, ys.v[ys.n++] = q;
        shape.v[shape.n++] = p * q;
    }
    Ref z = bin(OP_mul, Reshape(r[0], xs), Reshape(r[1], ys));
    return sym_of(z ? Reshape(z, shape) : 0);
}

/* The k-th of the last axis, which is dropped. */
static Ref part(Ref x, int k)
{
    int a = typ(x)->rank - 1;
    return squeeze_axis(SliceAxis(x, a, k, k + 1), a);
}

static Ref minor(Ref x, Ref y, int i, int j)
{
    return bin(OP_sub, bin(OP_mul, part(x, i), part(y, j)), bin(OP_mul, part(x, j), part(y, i)));
}

/* Of vectors of 3 in the last axis; of 2, as if the third component were 0: two such vectors have a number
 * as product. */
hd hd_cross(hd x, hd y)
{
    Ref r[2];
    OP(hd_cross);
    if (unify_dtype("hd_cross", 2, (const hd[]){ x, y }, r))
        return HD_NIL;
    int64_t size[2];
    for (int i = 0; i < 2; i++) {
        if (!rank_ref("hd_cross", sym_of(r[i]), 1))
            return HD_NIL;
        size[i] = typ(r[i])->dim[typ(r[i])->rank - 1];
        if (size[i] != 2 && size[i] != 3) {
            error_set(E_SHAPE, "hd_cross: vectors of 2 or 3 in the last axis are wanted, not %s",
                type_text(typ(r[i])));
            return HD_NIL;
        }
    }
    if (size[0] == 2 && size[1] == 2)
        return sym_of(minor(r[0], r[1], 0, 1));
    for (int i = 0; i < 2; i++)
        if (size[i] == 2)
            r[i] = pad_axis(r[i], typ(r[i])->rank - 1, 0, 1, Const((Dtype)typ(r[i])->dt, 0));
    Ref c[3] = { minor(r[0], r[1], 1, 2), minor(r[0], r[1], 2, 0), minor(r[0], r[1], 0, 1) };
    for (int i = 0; i < 3; i++)
        if (!c[i] || !(c[i] = unsqueeze(c[i], typ(c[i])->rank)))
            return HD_NIL;
    return sym_of(Concat(c, 3, typ(c[0])->rank - 1));
}
