/*
 * linalg_jacobi.c - eigh, svd: rotations of pairs of rows, until all rows are orthogonal (Hestenes).
 *
 * A step rotates every row with a partner: in a round of a tournament each meets one other, and after a
 * sweep of rounds each has met all. What rotations make of rows is an orthogonal matrix times what was
 * there. So the rows of a' become those of diag(s) u', and the same rotations make v' of the identity. A
 * symmetric matrix is moved by a multiple of the identity first, until it is positive definite and well
 * conditioned: then its rows become multiples of its eigenvectors, and nothing else is carried.
 *
 * How many sweeps there are does not depend on the data: convergence is quadratic once angles are small.
 */
#include "linalg.h"

#include <math.h>

static Ints one(int64_t v) { return (Ints){ 1, { v } }; }
static Ref all(Ref scalar, Ref x) { return Broadcast(scalar, type_shape(typ(x)), (Ints){ 0 }); }
static Ref counter(int64_t n) { return Iota(type_of(DT_I32, 1, &n), 0); }
static Ref total(Ref x, int axis) { return Sum(x, one(axis)); }
static double precision(Ref x) { return typ(x)->dt == DT_F64 ? 0x1p-52 : 0x1p-23; }
static Ref zeros(Ref x, int64_t rows, int64_t columns)
{
    return Full(type_of((Dtype)typ(x)->dt, 2, (const int64_t[]){ rows, columns }), 0);
}

/* Whom each of n meets in round k: the tournament's circle, around the last of an even number. Who meets
 * nobody meets itself. */
static Ref partners(int64_t n, Ref k)
{
    Ref i = counter(n), round = all(k, i), m = Like(i, (double)(n - 1 + n % 2));
    Ref other = Rem(Add(Sub(Add(round, round), i), m), m);
    if (n % 2)
        return other;
    Ref last = Like(i, (double)(n - 1));
    return Select(Eq(i, last), round, Select(Eq(other, i), last, other));
}

/* Cosine and sine for every row: x' = c x - s y makes it orthogonal to its partner's. */
static void rotation(Ref x, Ref y, Ref partner, Ref *c, Ref *s)
{
    Ref a = total(Mul(x, x), 1), b = total(Mul(y, y), 1), g = total(Mul(x, y), 1);
    Ref own = counter(matrix_rows(x)), first = Lt(own, partner), z = Div(Sub(b, a), Add(g, g));
    Ref sign = Select(Eq(z, Like(z, 0)), Select(first, Like(z, 1), Like(z, -1)), Copysign(Like(z, 1), z));
    Ref t = Div(sign, Add(Abs(z), Sqrt(Add(Mul(z, z), Like(z, 1)))));
    Ref small = Mul(Sqrt(Mul(a, b)), Like(a, precision(x)));
    Ref on = And(Ne(own, partner), Gt(Abs(g), small));
    *c = Select(on, Rsqrt(Add(Mul(t, t), Like(t, 1))), Like(t, 1));
    *s = Select(on, Mul(*c, t), Like(t, 0));
}

static Ref rotated(Ref x, Ref y, Ref c, Ref s)
{
    return Sub(Mul(Along(c, x, true), x), Mul(Along(s, y, true), y));
}

static void eigh_step(const Ref *x, Ref *out)
{
    Ref partner = partners(matrix_rows(x[0]), x[1]), y = MatrixRows(x[0], partner), c, s;
    rotation(x[0], y, partner, &c, &s);
    out[0] = rotated(x[0], y, c, s);
}

static void svd_step(const Ref *x, Ref *out)
{
    Ref partner = partners(matrix_rows(x[0]), x[2]), y = MatrixRows(x[0], partner), c, s;
    rotation(x[0], y, partner, &c, &s);
    out[0] = rotated(x[0], y, c, s);
    out[1] = rotated(x[1], MatrixRows(x[1], partner), c, s);
}

/* The rounds of all sweeps. */
static Ref rounds(int64_t n, Ref x, int64_t *steps)
{
    int64_t sweep = n - 1 + n % 2, sweeps = typ(x)->dt == DT_F64 ? 8 : 6;
    for (int64_t k = 1; k < n; k *= 2)
        sweeps++;
    *steps = n > 1 ? sweep * sweeps : 0;
    Ref k = counter(*steps);
    return n > 1 ? Rem(k, Like(k, (double)sweep)) : k;
}

/* The largest absolute value, or one where that is zero: nothing that is divided by it overflows. */
static Ref largest(Ref a)
{
    Ref big = Reduce(OP_reduce_max, Abs(a), (Ints){ 2, { 0, 1 } });
    return Select(Eq(big, Like(big, 0)), Like(big, 1), big);
}

/* Where something is not finite, everything is nan. */
static Ref or_nan(Ref v, Ref big) { return Select(all(IsFinite(big), v), v, Like(v, NAN)); }

/* In the order of w, by the positions that a sort gives. */
static Ref in_order(Ref w, bool down, Ref *sorted)
{
    Ref y[2] = { 0 };
    emit_n(OP_sort, 2, (const Ref[]){ w, counter(typ(w)->dim[0]) }, ATTRS(1, 0, 1, 1, 1, down), y);
    *sorted = y[0];
    return y[1];
}

void eigh_loop(const Ins *i, const Ref *x, Ref *out)
{
    int64_t n = matrix_rows(x[0]), steps;
    Ref a = Mirrored(x[0]), big = largest(a), y;
    (void)i;
    a = Div(a, all(big, a));
    Ref by =
        Mul(Sqrt(Reduce(OP_reduce_sum, Mul(a, a), (Ints){ 2, { 0, 1 } })), Const((Dtype)typ(a)->dt, 1.5));
    y = Add(a, Mul(IdentityLike(a), all(by, a)));
    Ref k = rounds(n, a, &steps);
    if (steps)
        loop_scan(eigh_step, &(Loop){ steps, false, 0, 1, 1, 1 }, (const Ref[]){ y, k }, &y);
    if (!y)
        return;
    Ref v = Div(y, Along(Sqrt(total(Mul(y, y), 1)), y, true)), w = total(Mul(Matmul(v, a), v), 1);
    Ref order = in_order(Mul(w, all(big, w)), false, &w);
    out[0] = or_nan(w, big), out[1] = or_nan(Turned(MatrixRows(v, order)), big);
}

/* As many columns as rows, or fewer. */
static void svd_tall(Ref a, bool full, Ref *usv)
{
    int64_t n = matrix_columns(a), steps;
    Ref big = largest(a), x = Turned(Div(a, all(big, a))), y[2] = { x, IdentityLike(zeros(a, n, n)) }, qr[2];
    Ref k = rounds(n, a, &steps);
    if (steps)
        loop_scan(svd_step, &(Loop){ steps, false, 0, 2, 1, 2 }, (const Ref[]){ x, y[1], k }, y);
    if (!y[0])
        return;
    Ref s = Mul(Sqrt(total(Mul(y[0], y[0]), 1)), all(big, total(y[0], 1))), order = in_order(s, true, &s);
    Qr(Turned(MatrixRows(y[0], order)), full, qr);
    Ref d = Diagonal(qr[1]), sign = Select(Lt(d, Like(d, 0)), Like(d, -1), Like(d, 1));
    int64_t p = matrix_columns(qr[0]);
    Type rest = type_of((Dtype)typ(a)->dt, 1, (const int64_t[]){ p - n });
    Ref more = p > n ? Concat((const Ref[]){ sign, Full(rest, 1) }, 2, 0) : sign;
    usv[0] = or_nan(Mul(qr[0], Along(more, qr[0], false)), big);
    usv[1] = or_nan(s, big);
    usv[2] = or_nan(MatrixRows(y[1], order), big);
}

void svd_loop(const Ins *i, const Ref *x, Ref *out)
{
    int64_t m = matrix_rows(x[0]), n = matrix_columns(x[0]);
    bool full = ins_int(i, ATTR(svd, full));
    if (!m || !n) { /* no values, and vectors that nothing asks for */
        out[0] = IdentityLike(zeros(x[0], m, full ? m : 0));
        out[1] = Full(type_of((Dtype)typ(x[0])->dt, 1, (const int64_t[]){ 0 }), 0);
        out[2] = IdentityLike(zeros(x[0], full ? n : 0, n));
        return;
    }
    if (m >= n) {
        svd_tall(x[0], full, out);
        return;
    }
    Ref usv[3] = { 0 };
    svd_tall(Turned(x[0]), full, usv);
    out[0] = Turned(usv[2]), out[1] = usv[1], out[2] = Turned(usv[0]);
}
