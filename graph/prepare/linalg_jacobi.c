/*
 * linalg_jacobi.c - eigh, svd: rotations of pairs of rows, until all rows are orthogonal (Hestenes).
 *
 * A step rotates every row with a partner: in a round of a tournament each meets one other, and after a
 * sweep of rounds each has met all. What rotations make of rows is a unitary matrix times what was there. So
 * the rows of a' become those of diag(s) u', and the same rotations make v' of the identity. A symmetric
 * matrix is moved by a multiple of the identity first, until it is positive definite and well conditioned:
 * then its rows become multiples of its eigenvectors, and nothing else is carried.
 *
 * Of small matrices a lane makes all sweeps, in registers: as many as always are enough: convergence is
 * quadratic once angles are small. Of larger ones a step of a loop is a sweep of all, each matrix in private
 * rows, and the last one finds nothing to rotate.
 */
#include "linalg.h"

#include <math.h>

static double precision(Ref x)
{
    return dtype_part((Dtype)typ(x)->dt) == DT_F64 ? 0x1p-52 : 0x1p-23;
}
static Ref zeros(Ref x, int64_t rows, int64_t columns)
{
    return Full(type_of((Dtype)typ(x)->dt, 2, (const int64_t[]){ rows, columns }), 0);
}
static Ref no_reals(Ref x, int64_t n)
{
    return Full(type_of(dtype_part((Dtype)typ(x)->dt), 1, (const int64_t[]){ n }), 0);
}

/* ==================== a round */

/* Whom each of n meets in round k: the tournament's circle, around the last of an even number. Who meets
 * nobody meets itself. */
static Ref partners(int64_t n, Ref k)
{
    Ref i = counter(n), round = all(k, i), m = Like(i, (double)(n - 1 + n % 2));
    Ref other = Sub(Add(round, round), i);
    other = Select(Lt(other, Like(i, 0)), Add(other, m), Select(Ge(other, m), Sub(other, m), other));
    if (n % 2)
        return other;
    Ref last = Like(i, (double)(n - 1));
    return Select(Eq(i, last), round, Select(Eq(other, i), last, other));
}

typedef struct Turn {
    Ref c, s;
} Turn;

/* Cosine and sine for every row: x' = c x - s y makes it orthogonal to its partner's. */
static Turn rotation(Ref x, Ref y, Ref partner)
{
    Ref a = total(squares(x), 1), b = total(squares(y), 1), inner = total(Mul(Conjugate(x), y), 1);
    Ref g = is_complex(x) ? Abs(inner) : inner, z = Div(Sub(b, a), Add(g, g));
    Ref own = counter(matrix_rows(x)), first = Lt(own, partner);
    Ref sign = Select(Eq(z, Like(z, 0)), Select(first, Like(z, 1), Like(z, -1)), Copysign(Like(z, 1), z));
    Ref t = Div(sign, Add(Abs(z), Sqrt(Add(Mul(z, z), Like(z, 1)))));
    Ref small = Mul(Sqrt(Mul(a, b)), Like(a, precision(x)));
    Ref on = And(Ne(own, partner), Gt(Abs(g), small));
    Turn r = { .c = Select(on, Rsqrt(Add(Mul(t, t), Like(t, 1))), Like(t, 1)) };
    r.s = Select(on, Mul(r.c, t), Like(t, 0));
    if (is_complex(x)) {
        Ref phase = Div(Conj(inner), as_those(Select(on, g, Like(g, 1)), x));
        r.s = Mul(as_those(r.s, x), phase), r.c = as_those(r.c, x);
    }
    return r;
}

static Ref rotated(Ref x, Ref y, Turn r)
{
    return Sub(Mul(Along(r.c, x, true), x), Mul(Along(r.s, y, true), y));
}

/* ==================== a step is a round: carry the rows, and what the same rotations make; xs: the round */

static void eigh_step(const Ref *x, Ref *out)
{
    Ref partner = partners(matrix_rows(x[0]), x[1]), y = MatrixRows(x[0], partner);
    out[0] = rotated(x[0], y, rotation(x[0], y, partner));
}

static void svd_step(const Ref *x, Ref *out)
{
    Ref partner = partners(matrix_rows(x[0]), x[2]), y = MatrixRows(x[0], partner);
    Turn r = rotation(x[0], y, partner);
    out[0] = rotated(x[0], y, r);
    out[1] = rotated(x[1], MatrixRows(x[1], partner), r);
}

static int64_t rounds_of(int64_t n) { return n > 1 ? n - 1 + n % 2 : 0; }

/* The rounds of all sweeps. */
static Ref rounds(int64_t n, Ref x, int64_t *steps)
{
    int64_t sweep = rounds_of(n), sweeps = precision(x) < 0x1p-24 ? 8 : 6;
    for (int64_t k = 1; k < n; k *= 2)
        sweeps++;
    *steps = sweep * sweeps;
    Ref k = counter(*steps);
    return n > 1 ? Rem(k, Like(k, (double)sweep)) : k;
}

/* ==================== a step is a sweep: carry the rows of all matrices, and what the same rotations make;
 * how far rows of each are from orthogonal, and the number of sweeps */

enum { SWEEPS = 40 };

static void more_sweeps(Ref off, Ref sweep, Ref *out)
{
    /* sums of products are some roundings off */
    Ref far = Gt(off, Like(off, 16 * precision(off)));
    *out = And(Lt(sweep, Like(sweep, SWEEPS)), Reduce(OP_reduce_or, far, one_axis(0)));
}

static void eigh_more(const Ref *x, Ref *out) { more_sweeps(x[1], x[2], out); }
static void svd_more(const Ref *x, Ref *out) { more_sweeps(x[2], x[3], out); }

/* The largest cosine between two rows. */
static Ref far_from_orthogonal(Ref x)
{
    Ref g = Matmul(x, Adjoint(x));
    if (!g)
        return 0;
    Ref size = Sqrt(real_part(Diagonal(g)));
    g = Abs(g);
    Ref both = Mul(Along(size, g, true), Along(size, g, false)), one = IdentityLike(g);
    Ref none = Or(Ne(one, Like(one, 0)), Eq(both, Like(both, 0)));
    Ref off = Select(none, Like(g, 0), Div(g, Select(none, one, both)));
    return Reduce(OP_reduce_max, off, (Ints){ 2, { 1, 2 } });
}

static void eigh_rounds(const Ref *x, Ref *out)
{
    int64_t k = rounds_of(matrix_rows(x[0]));
    loop_scan(eigh_step, &(Loop){ k, false, 0, 1, 1, 1 }, (const Ref[]){ x[0], counter(k) }, out);
}

static void svd_rounds(const Ref *x, Ref *out)
{
    int64_t k = rounds_of(matrix_rows(x[0]));
    loop_scan(svd_step, &(Loop){ k, false, 0, 2, 1, 2 }, (const Ref[]){ x[0], x[1], counter(k) }, out);
}

static void eigh_sweep(const Ref *x, Ref *out)
{
    each_matrix(eigh_rounds, 1, x, NULL, 1, out);
    out[1] = far_from_orthogonal(out[0]), out[2] = Add(x[2], Like(x[2], 1));
}

static void svd_sweep(const Ref *x, Ref *out)
{
    each_matrix(svd_rounds, 2, x, NULL, 2, out);
    out[2] = far_from_orthogonal(out[0]), out[3] = Add(x[3], Like(x[3], 1));
}

/* Of stacks: before the first sweep. */
static Ref all_far(Ref x)
{
    return Full(type_of(dtype_part((Dtype)typ(x)->dt), 1, typ(x)->dim), 1);
}

/* ==================== around the rotations */

/* The largest absolute value, or one where that is zero: nothing that is divided by it overflows. */
static Ref largest(Ref a)
{
    Ref big = Reduce(OP_reduce_max, Abs(a), (Ints){ 2, { 0, 1 } });
    return Select(Eq(big, Like(big, 0)), Like(big, 1), big);
}

static Ref divided(Ref a, Ref by) { return Div(a, all(as_those(by, a), a)); }

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

/* ==================== eigh */

/* The rows to be rotated; the columns of what they are made of, at most 1; what it was divided by. */
static void eigh_start(const Ref *x, Ref *out)
{
    Ref a = Mirrored(x[0]), big = largest(a);
    a = divided(a, big);
    a = is_complex(a) ? Turned(a) : a;
    Ref by = Mul(Sqrt(Reduce(OP_reduce_sum, squares(a), (Ints){ 2, { 0, 1 } })), Like(big, 1.5));
    out[0] = Add(a, Mul(IdentityLike(a), all(as_those(by, a), a)));
    out[1] = a, out[2] = big;
}

/* Of rows that were rotated: values and vectors. */
static void eigh_end(const Ref *x, Ref *out)
{
    Ref y = x[0], a = x[1], big = x[2], length = Sqrt(total(squares(y), 1));
    Ref v = Div(y, Along(as_those(length, y), y, true));
    Ref w = real_part(total(Mul(Matmul(v, a), Conjugate(v)), 1));
    Ref order = in_order(Mul(w, all(big, w)), false, &w);
    out[0] = or_nan(w, big), out[1] = or_nan(Turned(MatrixRows(v, order)), big);
}

void eigh_loop(const Ins *i, const Ref *x, Ref *out)
{
    int64_t n = matrix_rows(x[0]), steps;
    Ref y[3];
    (void)i;
    eigh_start(x, y);
    Ref k = rounds(n, x[0], &steps);
    if (steps)
        loop_scan(eigh_step, &(Loop){ steps, false, 0, 1, 1, 1 }, (const Ref[]){ y[0], k }, y);
    if (y[0])
        eigh_end(y, out);
}

void eigh_sweeps(const Ins *i, const Ref *x, Ref *out, const Cut *cut)
{
    Ref y[3] = { 0 }, z[3] = { 0 };
    (void)i, (void)cut;
    each_matrix(eigh_start, 1, x, NULL, 3, y);
    if (y[0])
        loop_while(eigh_more, eigh_sweep, 0, 3, (const Ref[]){ y[0], all_far(y[0]), Const(DT_I32, 0) }, z);
    y[0] = z[0];
    each_matrix(eigh_end, 3, y, NULL, 2, out);
}

/* ==================== svd, of as many columns as rows, or fewer */

/* The columns, to be rotated; what is rotated with them; what they were divided by. */
static void svd_start(const Ref *x, Ref *out)
{
    int64_t n = matrix_columns(x[0]);
    Ref big = largest(x[0]);
    out[0] = Turned(divided(x[0], big)), out[1] = IdentityLike(zeros(x[0], n, n)), out[2] = big;
}

static void svd_end(const Ref *x, Ref *usv, bool full)
{
    Ref y = x[0], big = x[2], s = Sqrt(total(squares(y), 1)), qr[2] = { 0 };
    int64_t n = matrix_rows(y);
    Ref order = in_order(Mul(s, all(big, s)), true, &s);
    Qr(Turned(MatrixRows(y, order)), full, qr);
    if (!qr[0])
        return;
    Ref d = real_part(Diagonal(qr[1])), sign = Select(Lt(d, Like(d, 0)), Like(d, -1), Like(d, 1));
    int64_t p = matrix_columns(qr[0]);
    Ref more = p > n ? Concat((const Ref[]){ sign, Like(no_reals(y, p - n), 1) }, 2, 0) : sign;
    usv[0] = or_nan(Mul(qr[0], Along(as_those(more, qr[0]), qr[0], false)), big);
    usv[1] = or_nan(s, big);
    usv[2] = or_nan(Conjugate(MatrixRows(x[1], order)), big);
}

static void svd_tall(Ref a, bool full, Ref *usv)
{
    int64_t n = matrix_columns(a), steps;
    Ref y[3];
    svd_start(&a, y);
    Ref k = rounds(n, a, &steps);
    if (steps)
        loop_scan(svd_step, &(Loop){ steps, false, 0, 2, 1, 2 }, (const Ref[]){ y[0], y[1], k }, y);
    if (y[0])
        svd_end(y, usv, full);
}

static void divided_by_largest(const Ref *x, Ref *out)
{
    out[1] = largest(x[0]), out[0] = divided(x[0], out[1]);
}

static Ref lengths(Ref x) { return Sqrt(total(squares(x), 1)); }

/* Of rows s v', which are orthogonal, and of what was rotated with them: s, v, and the latter by s.
 * Rotations are some roundings longer or shorter than one, for both alike. */
static void svd_sorted(const Ref *x, Ref *out)
{
    Ref length = lengths(x[1]), s = Div(lengths(x[0]), length), big = x[2], qr[2] = { 0 };
    Ref turned = Div(x[1], Along(as_those(length, x[1]), x[1], true)), order =
        in_order(Mul(s, all(big, s)), true, &s);
    Qr(Adjoint(MatrixRows(x[0], order)), false, qr);
    if (!qr[0])
        return;
    Ref d = real_part(Diagonal(qr[1])), sign = Select(Lt(d, Like(d, 0)), Like(d, -1), Like(d, 1));
    out[0] = or_nan(s, big);
    out[1] = or_nan(Mul(qr[0], Along(as_those(sign, qr[0]), qr[0], false)), big);
    out[2] = or_nan(MatrixRows(turned, order), big);
}

/* a = q r, and the rows of r become those of s v': rotations of r's rows need few sweeps, and as few numbers
 * are rotated as there are columns (Drmac, Veselic). */
static void svd_tall_sweeps(Ref a, bool full, Ref *usv)
{
    int64_t m = matrix_rows(a), n = matrix_columns(a);
    Ref y[2] = { 0 }, qr[2] = { 0 }, z[4] = { 0 }, w[3] = { 0 };
    each_matrix(divided_by_largest, 1, &a, NULL, 2, y);
    if (y[0])
        Qr(y[0], full, qr);
    if (!qr[0])
        return;
    Ref r = MatrixPart(qr[1], 0, n, 0, n), none = Const(DT_I32, 0);
    loop_while(svd_more, svd_sweep, 0, 4, (const Ref[]){ r, IdentityLike(r), all_far(r), none }, z);
    each_matrix(svd_sorted, 3, (const Ref[]){ z[0], z[1], y[1] }, NULL, 3, w);
    if (!w[0])
        return;
    Ref u = Matmul(MatrixPart(qr[0], 0, m, 0, n), Adjoint(w[2]));
    if (full && m > n)
        u = Concat((const Ref[]){ u, MatrixPart(qr[0], 0, m, n, m - n) }, 2, 2);
    usv[0] = u, usv[1] = w[0], usv[2] = Adjoint(w[1]);
}

/* Where there are fewer rows than columns, of the adjoint. */
static void svd_by(void (*tall)(Ref, bool, Ref *), Ref x, bool full, Ref *out)
{
    Ref usv[3] = { 0 };
    if (matrix_rows(x) >= matrix_columns(x)) {
        tall(x, full, out);
        return;
    }
    tall(Adjoint(x), full, usv);
    out[0] = Adjoint(usv[2]), out[1] = usv[1], out[2] = Adjoint(usv[0]);
}

void svd_sweeps(const Ins *i, const Ref *x, Ref *out, const Cut *cut)
{
    (void)cut;
    svd_by(svd_tall_sweeps, x[0], ins_int(i, ATTR(svd, full)), out);
}

void svd_loop(const Ins *i, const Ref *x, Ref *out)
{
    int64_t m = matrix_rows(x[0]), n = matrix_columns(x[0]);
    bool full = ins_int(i, ATTR(svd, full));
    if (!m || !n) { /* no values, and vectors that nothing asks for */
        out[0] = IdentityLike(zeros(x[0], m, full ? m : 0));
        out[1] = no_reals(x[0], 0);
        out[2] = IdentityLike(zeros(x[0], full ? n : 0, n));
        return;
    }
    svd_by(svd_tall, x[0], full, out);
}
