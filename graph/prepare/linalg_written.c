/*
 * linalg_written.c - small matrices, element by element: each element is a value of its own, so that in a
 * lane's body all of them are in registers.
 */
#include "linalg.h"

#include <math.h>

typedef struct Written {
    int64_t rows, columns;
    Ref **v;                                    /* a row each */
} Written;

/* The elements of x, with room for so many others in each row. */
static Written *taken(Ref x, int64_t others)
{
    Written *w = NEW(Written);
    w->rows = matrix_rows(x), w->columns = matrix_columns(x);
    w->v = NEWS(Ref *, w->rows);
    for (int64_t r = 0; r < w->rows; r++) {
        w->v[r] = NEWS(Ref, w->columns + others);
        for (int64_t c = 0; c < w->columns; c++)
            w->v[r][c] = matrix_element(x, r, c);
    }
    return w;
}

static Ref put_together(const Written *w)
{
    Ref *part = NEWS(Ref, w->rows * w->columns);
    for (int64_t r = 0; r < w->rows; r++)
        for (int64_t c = 0; c < w->columns; c++)
            part[r * w->columns + c] = Reshape(w->v[r][c], (Ints){ 1, { 1 } });
    return Reshape(Concat(part, (int)(w->rows * w->columns), 0), (Ints){ 2, { w->rows, w->columns } });
}

/* x - y z */
static Ref less(Ref x, Ref y, Ref z) { return Sub(x, Mul(y, z)); }

void cholesky_written(const Ins *i, const Ref *x, Ref *out)
{
    Written *a = taken(x[0], 0);
    (void)i;
    int64_t n = a->rows;
    Ref zero = Const((Dtype)typ(x[0])->dt, 0), nan = Const((Dtype)typ(x[0])->dt, NAN);
    for (int64_t c = 0; c < n; c++)
        for (int64_t r = c; r < n; r++) {
            Ref v = a->v[r][c];
            for (int64_t k = 0; k < c; k++)
                v = less(v, a->v[r][k], a->v[c][k]);
            a->v[r][c] = r == c ? Sqrt(Select(Gt(v, zero), v, nan)) : Div(v, a->v[c][c]);
        }
    Ref last = a->v[n - 1][n - 1], bad = Ne(last, last); /* nan, where any pivot was no good */
    for (int64_t r = 0; r < n; r++)
        for (int64_t c = 0; c < n; c++)
            a->v[r][c] = c > r ? zero : Select(bad, nan, a->v[r][c]);
    out[0] = put_together(a);
}

void triangular_written(const Ins *i, const Ref *x, Ref *out)
{
    Written *a = taken(x[0], 0), *b = taken(x[1], 0);
    int how = how_solved(i);
    bool turned = how & TRI_TRANSPOSE, lower = !(how & TRI_LOWER) == turned;
    for (int64_t k = 0; k < b->rows; k++)
        for (int64_t c = 0; c < b->columns; c++) {
            int64_t r = lower ? k : b->rows - 1 - k;
            for (int64_t j = 0; j < k; j++) {
                int64_t s = lower ? j : b->rows - 1 - j;
                b->v[r][c] = less(b->v[r][c], turned ? a->v[s][r] : a->v[r][s], b->v[s][c]);
            }
            b->v[r][c] = how & TRI_UNIT ? b->v[r][c] : Div(b->v[r][c], a->v[r][r]);
        }
    out[0] = put_together(b);
}

/* ==================== elimination: each pivot the largest of its column */

/* p: the row of column c's pivot; hit[r]: is it row r? */
static Ref pivot_of(const Written *a, int64_t c, Ref *hit)
{
    Ref best = Abs(a->v[c][c]), p = Const(DT_I32, (double)c);
    for (int64_t r = c + 1; r < a->rows; r++) {
        Ref size = Abs(a->v[r][c]), more = Gt(size, best);
        best = Select(more, size, best);
        p = Select(more, Const(DT_I32, (double)r), p);
    }
    for (int64_t r = c + 1; r < a->rows; r++)
        hit[r] = Eq(p, Const(DT_I32, (double)r));
    return p;
}

/* Row c and the one that is hit change places, in one column; its elements are v[row][..] */
static void swapped(Written *a, int64_t c, int64_t column, const Ref *hit)
{
    Ref top = a->v[c][column];
    for (int64_t r = c + 1; r < a->rows; r++) {
        a->v[c][column] = Select(hit[r], a->v[r][column], a->v[c][column]);
        a->v[r][column] = Select(hit[r], top, a->v[r][column]);
    }
}

/* Over the first n columns. Rows trade places in all columns and in `carried` ones behind them, or, where
 * nobody asks for what is left of the pivot, from its column on. */
static void eliminate(Written *a, int64_t n, bool whole, int64_t carried, Ref *pivot)
{
    Ref *hit = NEWS(Ref, a->rows);
    for (int64_t c = 0; c < n && c < a->rows; c++) {
        pivot[c] = pivot_of(a, c, hit);
        for (int64_t j = whole ? 0 : c; j < a->columns + carried; j++)
            swapped(a, c, j, hit);
        Ref none = Eq(a->v[c][c], Like(a->v[c][c], 0));
        for (int64_t r = c + 1; r < a->rows; r++) {
            Ref f = a->v[r][c] = Select(none, a->v[r][c], Div(a->v[r][c], a->v[c][c]));
            for (int64_t j = c + 1; j < a->columns; j++)
                a->v[r][j] = less(a->v[r][j], f, a->v[c][j]);
        }
    }
}

static Ref row_of(const Ref *v, int64_t n)
{
    Ref *part = NEWS(Ref, n);
    for (int64_t k = 0; k < n; k++)
        part[k] = Reshape(v[k], (Ints){ 1, { 1 } });
    return Concat(part, (int)n, 0);
}

void lu_written(const Ins *i, const Ref *x, Ref *out)
{
    Written *a = taken(x[0], 1);
    Ref *pivot = NEWS(Ref, a->columns), *order = NEWS(Ref, a->rows);
    (void)i;
    for (int64_t r = 0; r < a->rows; r++)
        a->v[r][a->columns] = Const(DT_I32, (double)r);
    eliminate(a, a->columns, true, 1, pivot);
    for (int64_t r = 0; r < a->rows; r++)
        order[r] = a->v[r][a->columns];
    out[0] = put_together(a);
    out[1] = row_of(pivot, a->rows < a->columns ? a->rows : a->columns);
    out[2] = row_of(order, a->rows);
}

void solve_written(const Ins *i, const Ref *x, Ref *out)
{
    Written *b = taken(x[1], 0);
    Written *a = taken(ins_int(i, ATTR(solve, transpose)) ? Turned(x[0]) : x[0], b->columns);
    int64_t n = a->rows;
    Ref *pivot = NEWS(Ref, n);
    for (int64_t r = 0; r < n; r++)
        for (int64_t c = 0; c < b->columns; c++)
            a->v[r][n + c] = b->v[r][c];
    a->columns = n + b->columns;
    eliminate(a, n, false, 0, pivot);
    for (int64_t r = n - 1; r >= 0; r--)
        for (int64_t c = 0; c < b->columns; c++) {
            Ref v = a->v[r][n + c];
            for (int64_t k = r + 1; k < n; k++)
                v = less(v, a->v[r][k], b->v[k][c]);
            b->v[r][c] = Div(v, a->v[r][r]);
        }
    out[0] = put_together(b);
}
