/*
 * linalg_lu.c - lu, solve: Gauss' elimination, each pivot the largest of its column.
 *
 * solve takes the factors that lu made as operands, so that a program factorises once, whatever is derived
 * from it: its derivative is another solve with the same factors, and the factors have none of their own
 * there. On the host, and where matrices are small, it eliminates anew: that costs no more than
 * reading them.
 */
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

const Rules rules_lu = { lu_infer, lu_jvp, NULL, ops_batch_again, linalg_eval };

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

const Rules rules_solve = { solve_infer, solve_jvp, solve_transpose, solve_batch, linalg_eval };
