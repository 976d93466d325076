/*
 * linalg_loops.c - a step a column, for one matrix: what lanes carry in registers or private rows.
 *
 * Elements that a step works on are chosen by comparing their places with the step's number, and the others
 * are kept: every element of the matrix is at a place that is known when the kernel is written.
 */
#include "linalg.h"

#include <math.h>

/* 0 .. n - 1 along an axis, for x's elements. */
static Ref places(Ref x, int axis) { return Iota(type_of(DT_I32, typ(x)->rank, typ(x)->dim), axis); }
static Ref all(Ref scalar, Ref x) { return Broadcast(scalar, type_shape(typ(x)), (Ints){ 0 }); }
static Ref counter(int64_t n) { return Iota(type_of(DT_I32, 1, &n), 0); }
static Ref at(Ref x, int axis, Ref k) { return Eq(places(x, axis), all(k, places(x, axis))); }
static Ref behind(Ref x, int axis, Ref k) { return Gt(places(x, axis), all(k, places(x, axis))); }
static Ref where(Ref p, Ref x) { return Select(p, x, Like(x, 0)); }
static Ref total(Ref x, int axis) { return Sum(x, (Ints){ 1, { axis } }); }
/* Rows and columns from (r, c) on; 0: the first. */
static Ref part_at(Ref x, Ref r, Ref c, int64_t rows, int64_t columns)
{
    Ref one[2] = { r ? r : Like(c, 0), c ? c : Like(r, 0) };
    for (int k = 0; k < 2; k++)
        one[k] = Reshape(one[k], (Ints){ 1, { 1 } });
    return DynamicSlice(x, Concat(one, 2, 0), (Ints){ 2, { rows, columns } }, (Ints){ 0 });
}
static Ref column_at(Ref x, Ref k)
{
    int64_t n = matrix_rows(x);
    return Reshape(part_at(x, 0, k, n, 1), (Ints){ 1, { n } });
}
static Ref diagonal_at(Ref x, Ref k) { return Reshape(part_at(x, k, k, 1, 1), (Ints){ 0 }); }
static Ref dotted(Ref v, Ref a)
{
    return Dot(v, a, (Ints){ 1, { 0 } }, (Ints){ 1, { 0 } }, (Ints){ 0 }, (Ints){ 0 }, DT_NONE);
}
static Ref outer(Ref rows, Ref columns, Ref like)
{
    return Mul(Along(rows, like, true), Along(columns, like, false));
}

/* ==================== cholesky: carry the matrix; xs: the column */

static void cholesky_step(const Ref *x, Ref *out)
{
    Ref a = x[0], k = x[1], c = column_at(a, k), pivot = diagonal_at(a, k);
    Ref root = Sqrt(Select(Gt(pivot, Like(pivot, 0)), pivot, Like(pivot, NAN)));
    Ref below = where(behind(c, 0, k), Div(c, all(root, c)));
    c = Select(at(c, 0, k), all(root, c), below);
    out[0] = Select(at(a, 1, k), Along(c, a, true), Sub(a, outer(below, below, a)));
}

void cholesky_loop(const Ins *i, const Ref *x, Ref *out)
{
    int64_t n = matrix_rows(x[0]);
    Ref l;
    (void)i;
    loop_scan(cholesky_step, &(Loop){ n, false, 0, 1, 1, 1 }, (const Ref[]){ x[0], counter(n) }, &l);
    Ref last = l ? matrix_element(l, n - 1, n - 1) : 0;
    out[0] = last ? Select(all(Ne(last, last), l), Tril(Like(l, NAN), 0), l) : 0;
}

/* ==================== triangular_solve: carry the unknowns; xs: the unknown's place, its row of A, its b */

static void substitute(const Ref *x, Ref *out, bool unit)
{
    Ref v = x[0], r = x[2], b = x[3], here = at(r, 0, x[1]);
    Ref known = x[4]; /* of which elements of the row the unknowns are known */
    Ref y = Sub(b, dotted(where(known, r), v));
    if (!unit) {
        Ref d = total(where(here, r), 0);
        y = Div(y, all(d, y));
    }
    out[0] = Select(Along(here, v, true), Along(y, v, false), v);
}

static void substitute_divided(const Ref *x, Ref *out) { substitute(x, out, false); }
static void substitute_unit(const Ref *x, Ref *out) { substitute(x, out, true); }

static Ref substituted(Ref a, Ref b, int how)
{
    bool turned = how & TRI_TRANSPOSE, lower = !(how & TRI_LOWER) == turned;
    a = turned ? Turned(a) : a;
    Ref x, r = places(a, 0), c = places(a, 1);
    const Ref in[] = { Like(b, 0), counter(matrix_rows(a)), a, b, lower ? Lt(c, r) : Gt(c, r) };
    loop_scan(how & TRI_UNIT ? substitute_unit : substitute_divided,
        &(Loop){ matrix_rows(a), !lower, 0, 1, 4, 1 }, in, &x);
    return x;
}

void triangular_loop(const Ins *i, const Ref *x, Ref *out)
{
    out[0] = substituted(x[0], x[1], how_solved(i));
}

/* ==================== qr. Carry the matrix; xs: the column; ys: tau.
 * Afterwards r is the upper triangle, and a reflection's vector is what is below the diagonal, with a one on
 * it. */

static void qr_step(const Ref *x, Ref *out)
{
    Ref a = x[0], k = x[1], c = column_at(a, k), alpha = diagonal_at(a, k), below = behind(c, 0, k);
    Ref open = Select(at(c, 0, k), c, where(below, c));
    Ref big = Reduce(OP_reduce_max, Abs(open), (Ints){ 1, { 0 } });
    Ref unit = Select(Gt(big, Like(big, 0)), big, Like(big, 1));
    Ref v = where(below, Div(c, all(unit, c))), rest = total(Mul(v, v), 0);
    Ref one = Div(alpha, unit), none = Eq(rest, Like(rest, 0));
    Ref beta = Neg(Copysign(Sqrt(Add(Mul(one, one), rest)), one));
    Ref tau = Select(none, Like(beta, 0), Div(Sub(beta, one), beta));
    Ref by = Select(none, Like(beta, 1), Sub(one, beta)), top = Select(none, alpha, Mul(beta, unit));
    v = Select(at(c, 0, k), Like(c, 1), Div(v, all(by, c)));
    Ref w = dotted(v, a);
    w = where(behind(w, 0, k), Mul(w, all(tau, w)));
    c = Select(at(c, 0, k), all(top, c), Select(below, v, c));
    out[0] = Select(at(a, 1, k), Along(c, a, true), Sub(a, outer(v, w, a)));
    out[1] = tau;
}

static void reflect_step(const Ref *x, Ref *out)
{
    Ref q = x[0], v = x[1], tau = x[2], w = dotted(v, q);
    out[0] = Sub(q, outer(v, Mul(w, all(tau, w)), q));
}

static Ref of_size(Ref x, int64_t rows, int64_t columns)
{
    return Full(type_of((Dtype)typ(x)->dt, 2, (const int64_t[]){ rows, columns }), 0);
}

void qr_loop(const Ins *i, const Ref *x, Ref *out)
{
    int64_t m = matrix_rows(x[0]), n = matrix_columns(x[0]), k = m < n ? m : n,
            p = ins_int(i, ATTR(qr, full)) ? m : k;
    Ref h[2], eye = IdentityLike(of_size(x[0], m, p));
    out[0] = eye, out[1] = of_size(x[0], p, n);
    if (!k)
        return;
    loop_scan(qr_step, &(Loop){ k, false, 0, 1, 1, 2 }, (const Ref[]){ x[0], counter(k) }, h);
    if (!h[0])
        return;
    Ref v = MatrixPart(h[0], 0, m, 0, k);
    v = Add(Tril(v, -1), IdentityLike(v));
    loop_scan(reflect_step, &(Loop){ k, true, 0, 1, 2, 1 }, (const Ref[]){ eye, Turned(v), h[1] }, out);
    out[1] = Triu(MatrixPart(h[0], 0, p, 0, n), 0);
}

/* ==================== lu. Carry the matrix and its rows' order; xs: the column; ys: the pivot's row */

/* The largest of what is on and below row k of a column: its row. */
static Ref pivot_row(Ref column, Ref k)
{
    Ref open = Ge(places(column, 0), all(k, places(column, 0)));
    return Arg(OP_argmax, Select(open, Abs(column), Like(column, -1)), 0, DT_I32);
}

/* Rows k and p of a change places. */
static Ref traded(Ref a, Ref k, Ref p)
{
    int64_t n = matrix_columns(a);
    Ref rk = Reshape(part_at(a, k, 0, 1, n), (Ints){ 1, { n } });
    Ref rp = Reshape(part_at(a, p, 0, 1, n), (Ints){ 1, { n } });
    return Select(at(a, 0, k), Along(rp, a, false), Select(at(a, 0, p), Along(rk, a, false), a));
}

/* The step of a matrix whose rows have traded places. */
static Ref eliminated(Ref a, Ref k)
{
    int64_t n = matrix_columns(a);
    Ref c = column_at(a, k), pivot = diagonal_at(a, k), below = behind(c, 0, k);
    Ref row = Reshape(part_at(a, k, 0, 1, n), (Ints){ 1, { n } });
    Ref f = where(below, Select(all(Eq(pivot, Like(pivot, 0)), c), c, Div(c, all(pivot, c))));
    Ref next = Sub(a, outer(f, where(behind(row, 0, k), row), a));
    return Select(at(a, 1, k), Along(Select(below, f, c), a, true), next);
}

static void lu_step(const Ref *x, Ref *out)
{
    Ref a = x[0], order = x[1], k = x[2], p = pivot_row(column_at(a, k), k);
    Ref here = at(order, 0, k), there = at(order, 0, p);
    Ref ok = total(where(here, order), 0), op = total(where(there, order), 0);
    out[0] = eliminated(traded(a, k, p), k);
    out[1] = Select(here, all(op, order), Select(there, all(ok, order), order));
    out[2] = p;
}

void lu_loop(const Ins *i, const Ref *x, Ref *out)
{
    int64_t m = matrix_rows(x[0]), n = matrix_columns(x[0]), k = m < n ? m : n;
    Ref y[3] = { x[0], counter(m), Full(type_of(DT_I32, 1, &k), 0) };
    (void)i;
    if (k)
        loop_scan(
            lu_step, &(Loop){ k, false, 0, 2, 1, 3 }, (const Ref[]){ x[0], counter(m), counter(k) }, y);
    out[0] = y[0], out[1] = y[2], out[2] = y[1];
}

/* ==================== solve: carry the matrix with the right-hand sides beside it; then substitute */

static void solve_step(const Ref *x, Ref *out)
{
    Ref a = x[0], k = x[1];
    out[0] = eliminated(traded(a, k, pivot_row(column_at(a, k), k)), k);
}

void solve_loop(const Ins *i, const Ref *x, Ref *out)
{
    int64_t n = matrix_rows(x[0]), sides = matrix_columns(x[1]);
    Ref a = ins_int(i, ATTR(solve, transpose)) ? Turned(x[0]) : x[0], y;
    const Ref in[] = { Concat((const Ref[]){ a, x[1] }, 2, 1), counter(n) };
    loop_scan(solve_step, &(Loop){ n, false, 0, 1, 1, 1 }, in, &y);
    out[0] = y ? substituted(MatrixPart(y, 0, n, 0, n), MatrixPart(y, 0, n, n, sides), 0) : 0;
}
