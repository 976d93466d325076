/*
 * linalg_written.c - small matrices, element by element: each element is a value of its own, so that in a
 * lane's body all of them are in registers.
 */
#include "linalg.h"

#include <math.h>

enum { SIDE = 16 };                             /* rows and columns of what is written out, at most */
typedef struct Written { int64_t rows, columns; Ref v[SIDE][2 * SIDE]; } Written;

static void taken(Ref x, Written *w)
{
    w->rows = matrix_rows(x), w->columns = matrix_columns(x);
    for (int64_t r = 0; r < w->rows; r++)
        for (int64_t c = 0; c < w->columns; c++)
            w->v[r][c] = matrix_element(x, r, c);
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
    Written *a = NEW(Written);
    (void)i;
    taken(x[0], a);
    int64_t n = a->rows;
    Ref zero = Const((Dtype)typ(x[0])->dt, 0), nan = Const((Dtype)typ(x[0])->dt, NAN);
    for (int64_t c = 0; c < n; c++)
        for (int64_t r = c; r < n; r++) {
            Ref v = a->v[r][c];
            for (int64_t k = 0; k < c; k++)
                v = less(v, a->v[r][k], a->v[c][k]);
            a->v[r][c] = r == c ? Sqrt(Select(Gt(v, zero), v, nan)) : Div(v, a->v[c][c]);
        }
    Ref last = a->v[n - 1][n - 1], bad = Ne(last, last);        /* nan, where any pivot was no good */
    for (int64_t r = 0; r < n; r++)
        for (int64_t c = 0; c < n; c++)
            a->v[r][c] = c > r ? zero : Select(bad, nan, a->v[r][c]);
    out[0] = put_together(a);
}

void triangular_written(const Ins *i, const Ref *x, Ref *out)
{
    Written *a = NEW(Written), *b = NEW(Written);
    int how = how_solved(i);
    bool turned = how & TRI_TRANSPOSE, lower = !(how & TRI_LOWER) == turned;
    taken(x[0], a), taken(x[1], b);
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
