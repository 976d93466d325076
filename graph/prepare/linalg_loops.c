/*
 * linalg_loops.c - a step a column, for one matrix: what lanes carry in registers or private rows.
 *
 * Elements that a step works on are chosen by comparing their places with the step's number, and the others
 * are kept: every element of the matrix is at a place that is known when the kernel is written.
 */
#include "linalg.h"

#include <math.h>

static Ref at(Ref x, int axis, Ref k) { return Eq(places(x, axis), all(k, places(x, axis))); }
static Ref behind(Ref x, int axis, Ref k) { return Gt(places(x, axis), all(k, places(x, axis))); }
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
static Ref row_at(Ref x, Ref k)
{
    int64_t n = matrix_columns(x);
    return Reshape(part_at(x, k, 0, 1, n), (Ints){ 1, { n } });
}
static Ref element_at(Ref x, Ref r, Ref c) { return Reshape(part_at(x, r, c, 1, 1), (Ints){ 0 }); }
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
    Ref a = x[0], k = x[1], c = column_at(a, k), pivot = element_at(a, k, k);
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

/* ==================== qr. Carry the matrix; xs: the column and its pivot's row; ys: tau.
 * Afterwards r is the upper triangle, and a reflection's vector is what is below the diagonal, with a one on
 * it. Of complex numbers a reflection is as LAPACK's: what it makes of the pivot is real. */

static void qr_step(const Ref *x, Ref *out)
{
    Ref a = x[0], k = x[1], row = x[2], c = column_at(a, k), alpha = element_at(a, row, k),
        here = at(c, 0, row), below = behind(c, 0, row), open = Select(here, c, where(below, c));
    Ref big = Reduce(OP_reduce_max, Abs(open), one_axis(0));
    Ref unit = as_those(Select(Gt(big, Like(big, 0)), big, Like(big, 1)), c);
    Ref v = where(below, Div(c, all(unit, c))), rest = total(squares(v), 0);
    Ref one = Div(alpha, unit), none = Eq(rest, Like(rest, 0)), re = real_part(one);
    none = is_complex(a) ? And(none, Eq(ImagPart(one), Like(rest, 0))) : none;
    Ref beta = as_those(Neg(Copysign(Sqrt(Add(squares(one), rest)), re)), c);
    Ref tau = Select(none, Like(beta, 0), Div(Sub(beta, one), beta));
    Ref by = Select(none, Like(beta, 1), Sub(one, beta)), top = Select(none, alpha, Mul(beta, unit));
    v = Select(here, Like(c, 1), Div(v, all(by, c)));
    Ref w = dotted(Conjugate(v), a);
    w = where(behind(w, 0, k), Mul(w, all(Conjugate(tau), w)));
    c = Select(here, all(top, c), Select(below, v, c));
    out[0] = Select(at(a, 1, k), Along(c, a, true), Sub(a, outer(v, w, a)));
    out[1] = tau;
}

static void reflect_step(const Ref *x, Ref *out)
{
    Ref q = x[0], v = x[1], tau = x[2], w = dotted(Conjugate(v), q);
    out[0] = Sub(q, outer(v, Mul(w, all(tau, w)), q));
}

static Ref of_size(Ref x, int64_t rows, int64_t columns)
{
    return Full(type_of((Dtype)typ(x)->dt, 2, (const int64_t[]){ rows, columns }), 0);
}

/* A number for each column: its pivot's row. */
static Ref pivots_from(Ref row, Ref columns) { return row ? Add(columns, all(row, columns)) : columns; }

void qr_columns(Ref a, Ref row, Ref *qr)
{
    int64_t m = matrix_rows(a), n = matrix_columns(a), k = row || n < m ? n : m;
    const Ref in[] = { a, counter(k), pivots_from(row, counter(k)) };
    loop_scan(qr_step, &(Loop){ k, false, 0, 1, 2, 2 }, in, qr);
}

void qr_loop(const Ins *i, const Ref *x, Ref *out)
{
    int64_t m = matrix_rows(x[0]), n = matrix_columns(x[0]), k = m < n ? m : n,
            p = ins_int(i, ATTR(qr, full)) ? m : k;
    Ref h[2], eye = IdentityLike(of_size(x[0], m, p));
    out[0] = eye, out[1] = of_size(x[0], p, n);
    if (!k)
        return;
    qr_columns(x[0], 0, h);
    if (!h[0])
        return;
    Ref v = MatrixPart(h[0], 0, m, 0, k);
    v = Add(Tril(v, -1), IdentityLike(v));
    loop_scan(reflect_step, &(Loop){ k, true, 0, 1, 2, 1 }, (const Ref[]){ eye, Turned(v), h[1] }, out);
    out[1] = Triu(MatrixPart(h[0], 0, p, 0, n), 0);
}

/* ==================== lu. Carry the matrix and its rows' order; xs: the column and its pivot's row; ys: the
 * row that it came from */

/* As LAPACK chooses: of a complex number the sum of its parts. */
static Ref size_of(Ref x) { return is_complex(x) ? Add(Abs(RealPart(x)), Abs(ImagPart(x))) : Abs(x); }

/* The largest of what is on and below row k of a column: its row. */
static Ref pivot_row(Ref column, Ref k)
{
    Ref open = Ge(places(column, 0), all(k, places(column, 0))), size = size_of(column);
    return Arg(OP_argmax, Select(open, size, Like(size, -1)), 0, DT_I32);
}

/* Rows k and p of a change places. */
static Ref traded(Ref a, Ref k, Ref p)
{
    return Select(at(a, 0, k), Along(row_at(a, p), a, false),
        Select(at(a, 0, p), Along(row_at(a, k), a, false), a));
}

/* The step of a matrix whose rows have traded places. */
static Ref eliminated(Ref a, Ref k, Ref row)
{
    Ref c = column_at(a, k), pivot = element_at(a, row, k), below = behind(c, 0, row), r = row_at(a, row);
    Ref f = where(below, Select(all(Eq(pivot, Like(pivot, 0)), c), c, Div(c, all(pivot, c))));
    Ref next = Sub(a, outer(f, where(behind(r, 0, k), r), a));
    return Select(at(a, 1, k), Along(Select(below, f, c), a, true), next);
}

static void lu_step(const Ref *x, Ref *out)
{
    Ref a = x[0], order = x[1], k = x[2], row = x[3], p = pivot_row(column_at(a, k), row);
    Ref here = at(order, 0, row), there = at(order, 0, p);
    Ref ok = total(where(here, order), 0), op = total(where(there, order), 0);
    out[0] = eliminated(traded(a, row, p), k, row);
    out[1] = Select(here, all(op, order), Select(there, all(ok, order), order));
    out[2] = p;
}

void lu_columns(Ref a, Ref row, Ref *lu)
{
    int64_t m = matrix_rows(a), n = matrix_columns(a), k = row || n < m ? n : m;
    const Ref in[] = { a, counter(m), counter(k), pivots_from(row, counter(k)) };
    loop_scan(lu_step, &(Loop){ k, false, 0, 2, 2, 3 }, in, lu);
}

void lu_loop(const Ins *i, const Ref *x, Ref *out)
{
    int64_t m = matrix_rows(x[0]), n = matrix_columns(x[0]), none = 0;
    Ref y[3] = { x[0], counter(m), Full(type_of(DT_I32, 1, &none), 0) };
    (void)i;
    if (m && n)
        lu_columns(x[0], 0, y);
    out[0] = y[0], out[1] = y[2], out[2] = y[1];
}

/* ==================== solve: carry the matrix with the right-hand sides beside it; then substitute */

static void solve_step(const Ref *x, Ref *out)
{
    Ref a = x[0], k = x[1];
    out[0] = eliminated(traded(a, k, pivot_row(column_at(a, k), k)), k, k);
}

void solve_loop(const Ins *i, const Ref *x, Ref *out)
{
    int64_t n = matrix_rows(x[0]), sides = matrix_columns(x[1]);
    Ref a = ins_int(i, ATTR(solve, transpose)) ? Turned(x[0]) : x[0], y;
    const Ref in[] = { Concat((const Ref[]){ a, x[1] }, 2, 1), counter(n) };
    loop_scan(solve_step, &(Loop){ n, false, 0, 1, 1, 1 }, in, &y);
    out[0] = y ? substituted(MatrixPart(y, 0, n, 0, n), MatrixPart(y, 0, n, n, sides), 0) : 0;
}
