/*
 * linalg_lu.c - lu, solve: Gauss' elimination, each pivot the largest of its column.
 *
 * solve takes the factors that lu made as operands, so that a program factorises once, whatever is derived
 * from it: its derivative is another solve with the same factors, and the factors have none of their own
 * there. On the host, and where matrices are small, it eliminates anew: that costs no more than
 * reading them.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "linalg.h"

/* ==================== lu */

static int lu_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    int e = ops_attrs(op, attr, nattr, NULL);
    if (e || (e = matrix_check(op, t[0], false)))
        return e;
    int64_t m = t[0]->dim[t[0]->rank - 2], n = t[0]->dim[t[0]->rank - 1];
    out[0] = *t[0];
    out[1] = vector_type(t[0], DT_I32, m < n ? m : n);
    out[2] = vector_type(t[0], DT_I32, m);
    return 0;
}

void Lu(Ref a, Ref *lu) { emit_n(OP_lu, 1, &a, NULL, lu); }

/* With P dA = X: dL = L tril(L^-1 X U^-1, -1), dU = triu(L^-1 X U^-1) U, where L and U are made square. */
static void lu_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)i;
    int64_t m = matrix_rows(x[0]), n = matrix_columns(x[0]), k = m < n ? m : n;
    Ref l = MatrixPad(Tril(MatrixPart(z[0], 0, m, 0, k), -1), 0, 0, 0, m - k);
    Ref u = MatrixPad(Triu(MatrixPart(z[0], 0, k, 0, n), 0), 0, n - k, 0, 0);
    if (!l || !u)
        return;
    Ref one = IdentityLike(u);
    l = Add(l, IdentityLike(l));
    u = Add(u, Sub(one, MatrixPad(MatrixPart(one, 0, k, 0, k), 0, n - k, 0, n - k)));
    Ref w = TriangularSolve(l, MatrixRows(t[0], z[2]), TRI_LOWER | TRI_UNIT);
    w = TriangularSolve(u, w, TRI_RIGHT);
    tz[0] = w ? Add(Matmul(l, Tril(w, -1)), Matmul(Triu(w, 0), u)) : 0;
}

/* a (m x n) becomes its factors; b (m x sides, or NULL) becomes what L^-1 P makes of it. Matrices with
 * their sizes are the parameters. */
static void eliminate(Real *a, int64_t m, int64_t n, Real *b, int64_t sides, Real *pivot, Real *at)
{
    for (int64_t c = 0; c < m && c < n; c++) {
        int64_t p = c;
        for (int64_t r = c + 1; r < m; r++)
            p = fabsl(a[r * n + c]) > fabsl(a[p * n + c]) ? r : p;
        for (int64_t j = 0; j < n + sides + 1; j++) {
            Real *v = j < n ? a + j : j < n + sides ? b + (j - n) : at;
            int64_t step = j < n ? n : j < n + sides ? sides : 1;
            Real keep = v[c * step];
            v[c * step] = v[p * step], v[p * step] = keep;
        }
        pivot[c] = (Real)p;
        for (int64_t r = c + 1; r < m; r++) {
            Real f = a[r * n + c] = a[c * n + c] == 0 ? a[r * n + c] : a[r * n + c] / a[c * n + c];
            for (int64_t j = c + 1; j < n; j++)
                a[r * n + j] -= f * a[c * n + j];
            for (int64_t j = 0; j < sides; j++)
                b[r * sides + j] -= f * b[c * sides + j];
        }
    }
}

static void lu_one(const Ins *i, const Stack *s, Real *const *in, Real *const *out)
{
    (void)i;
    memcpy(out[0], in[0], sizeof(Real) * (size_t)(s->rows * s->columns));
    for (int64_t r = 0; r < s->rows; r++)
        out[2][r] = (Real)r;
    eliminate(out[0], s->rows, s->columns, NULL, 0, out[1], out[2]);
}

static int lu_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    if (dtype_complex((Dtype)t[0]->dt))
        return complex_stack_eval(complex_lu, i, t, in, u, out);
    return stack_eval(lu_one, i, t, in, u, out);
}

const Rules rules_lu = { lu_infer, lu_jvp, NULL, ops_batch_again, lu_eval };

/* ==================== solve: a, b, the factors and the permutation of a -> x with A x = b */

static int solve_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    struct solve_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e || (e = matrix_check(op, t[0], true)) || (e = matrix_meets(op, t[0], t[1], false)))
        return e;
    Type rows = vector_type(t[0], DT_I32, t[0]->dim[t[0]->rank - 1]);
    if (!type_equal(t[0], t[2]) || !type_equal(&rows, t[3]))
        return error_set(E_SHAPE, "solve: %s and %s are not the factors and the permutation of %s",
            type_text(t[2]), type_text(t[3]), type_text(t[0]));
    *out = *t[1];
    return 0;
}

Ref Solve(Ref a, Ref b, Ref lu, Ref permutation, bool transpose)
{
    return emit(OP_solve, 4, (const Ref[]){ a, b, lu, permutation }, ATTRS(1, transpose));
}

static void solve_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    bool turned = ins_int(i, ATTR(solve, transpose));
    Ref d = t[1], p = t[0] ? Neg(Matmul(turned ? Turned(t[0]) : t[0], z[0])) : 0;
    d = d && p ? Add(d, p) : d ? d : p;
    tz[0] = d ? Solve(x[0], d, x[2], x[3], turned) : 0;
}

static void solve_transpose(const Ins *i, const Ref *ct, Cts *cts)
{
    ct_add(cts, i->in[1], Solve(i->in[0], ct[0], i->in[2], i->in[3], !ins_int(i, ATTR(solve, transpose))));
}

static void solve_batch(const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    if (s[0] == SHARED && s[2] == SHARED && s[3] == SHARED)
        batch_sides(i, x, s, ax, out, so);
    else
        ops_batch_again(i, x, s, ax, out, so);
}

static void solve_one(const Ins *i, const Stack *s, Real *const *in, Real *const *out)
{
    int64_t n = s[0].rows, sides = s[1].columns;
    Real *a = ops_temp((size_t)(n * n), sizeof *a), *at = ops_temp((size_t)(2 * n), sizeof *at);
    Real *x = out[0];
    memcpy(x, in[1], sizeof *x * (size_t)(n * sides));
    for (int64_t k = 0; a && at && k < n * n; k++)
        a[k] = in[0][ins_int(i, ATTR(solve, transpose)) ? k % n * n + k / n : k];
    if (a && at) {
        memset(at, 0, sizeof *at * (size_t)(2 * n));
        eliminate(a, n, n, x, sides, at, at + n);
        for (int64_t r = n - 1; r >= 0; r--)
            for (int64_t j = 0; j < sides; j++) {
                for (int64_t c = r + 1; c < n; c++)
                    x[r * sides + j] -= a[r * n + c] * x[c * sides + j];
                x[r * sides + j] /= a[r * n + r];
            }
    }
    free(a), free(at);
}

static int solve_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    if (dtype_complex((Dtype)t[0]->dt))
        return complex_stack_eval(complex_solve, i, t, in, u, out);
    return stack_eval(solve_one, i, t, in, u, out);
}

const Rules rules_solve = { solve_infer, solve_jvp, solve_transpose, solve_batch, solve_eval };
