/*
 * linalg.c - cholesky, triangular_solve: of stacks of matrices, in the last two axes.
 *
 * On the host: the textbook's loop in the widest numbers there are (linalg_host.h). Derivatives are JAX's:
 * Murray, "Differentiation of the Cholesky decomposition", and Giles, "An extended collection of matrix
 * derivative results".
 */
#include <string.h>

#include "linalg.h"

/* ==================== what all factorisations share */

int matrix_check(Op op, const Type *t, bool square)
{
    const char *name = optab[op].name;
    Dtype part = dtype_part((Dtype)t->dt);
    if (part != DT_F32 && part != DT_F64)
        return error_set(E_DTYPE,
            "%s: %s: matrices are factorised in f32, f64, c64 or c128; convert with hd_cast", name,
            type_text(t));
    if (t->rank < 2)
        return error_set(E_SHAPE, "%s: %s is no matrix: rows and columns are the last two axes; reshape it",
            name, type_text(t));
    if (square && t->dim[t->rank - 1] != t->dim[t->rank - 2])
        return error_set(E_SHAPE, "%s: the matrices of %s are not square: %lld rows and %lld columns", name,
            type_text(t), (long long)t->dim[t->rank - 2], (long long)t->dim[t->rank - 1]);
    return 0;
}

Type matrix_type(const Type *stack, Dtype dt, int64_t rows, int64_t columns)
{
    Type t = *stack;
    t.dt = dt;
    t.dim[t.rank - 2] = rows, t.dim[t.rank - 1] = columns;
    return t;
}

Type vector_type(const Type *stack, Dtype dt, int64_t n)
{
    Type t = *stack;
    t.dt = dt;
    t.dim[--t.rank] = 0;
    t.dim[t.rank - 1] = n;
    return t;
}

Stack stack_of(const Type *t)
{
    Stack s = { 1, t->dim[t->rank - 2], t->dim[t->rank - 1] };
    for (int d = 0; d < t->rank - 2; d++)
        s.count *= t->dim[d];
    return s;
}

int linalg_eval(const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    return (dtype_complex((Dtype)t[0]->dt) ? complex_linalg_eval : real_linalg_eval)(i, t, in, u, out);
}

/* ==================== cholesky */

static int cholesky_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    int e = ops_attrs(op, attr, nattr, NULL);
    if (e || (e = matrix_check(op, t[0], true)))
        return e;
    *out = *t[0];
    return 0;
}

Ref Cholesky(Ref a) { return emit(OP_cholesky, 1, &a, NULL); }

/* dL = L phi(L^-1 dA L^-H), where phi is the lower triangle with half of the diagonal. */
static void cholesky_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)i, (void)x;
    Ref s = TriangularSolve(Conjugate(z[0]), Mirrored(t[0]), TRI_RIGHT | TRI_LOWER | TRI_TRANSPOSE);
    s = TriangularSolve(z[0], s, TRI_LOWER);
    Ref half = Add(Like(z[0], 1), IdentityLike(z[0]));
    tz[0] = Matmul(z[0], Div(Tril(s, 0), half));
}

const Rules rules_cholesky = { cholesky_infer, cholesky_jvp, NULL, ops_batch_again, linalg_eval };

/* ==================== triangular_solve: bit k of how is attribute k */

_Static_assert(sizeof(struct triangular_solve_attrs) == 4 * sizeof(Ints), "a bit of how for each attribute");
_Static_assert(TRI_RIGHT == 1 << ATTR(triangular_solve, right) &&
        TRI_LOWER == 1 << ATTR(triangular_solve, lower) &&
        TRI_TRANSPOSE == 1 << ATTR(triangular_solve, transpose) &&
        TRI_UNIT == 1 << ATTR(triangular_solve, unit),
    "in their order");

int triangular_how(const Ins *i)
{
    int how = 0;
    for (int k = 0; k < 4; k++)
        how |= ins_int(i, k) ? 1 << k : 0;
    return how;
}

Ref TriangularSolve(Ref a, Ref b, int how)
{
    return emit(OP_triangular_solve, 2, (const Ref[]){ a, b },
        ATTRS(1, how & 1, 1, how >> 1 & 1, 1, how >> 2 & 1, 1, how >> 3 & 1));
}

/* Of a stack and of what it meets: one dtype, the same leading axes, and sizes that fit. */
int matrix_meets(Op op, const Type *a, const Type *b, bool right)
{
    const char *name = optab[op].name;
    if (a->dt != b->dt)
        return error_set(
            E_DTYPE, "%s: the dtypes differ: %s and %s; convert one", name, type_text(a), type_text(b));
    if (b->rank != a->rank || memcmp(a->dim, b->dim, sizeof *a->dim * (size_t)(a->rank - 2)))
        return error_set(E_SHAPE, "%s: %s and %s are not stacks of as many matrices; broadcast one", name,
            type_text(a), type_text(b));
    if (b->dim[b->rank - (right ? 1 : 2)] != a->dim[a->rank - 1])
        return error_set(E_SHAPE, "%s: %s has %lld unknowns and %s has %lld %s", name, type_text(a),
            (long long)a->dim[a->rank - 1], type_text(b), (long long)b->dim[b->rank - (right ? 1 : 2)],
            right ? "columns" : "rows");
    return 0;
}

static int triangular_solve_infer(
    Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    Ints a[4];
    int e = ops_attrs(op, attr, nattr, a);
    if (e || (e = matrix_check(op, t[0], true)) ||
        (e = matrix_meets(op, t[0], t[1], a[ATTR(triangular_solve, right)].v[0])))
        return e;
    for (int k = 0; k < 4; k++)
        if (a[k].v[0] != 0 && a[k].v[0] != 1)
            return error_set(E_INVAL, "triangular_solve: right, lower, transpose and unit are 0 or 1");
    *out = *t[1];
    return 0;
}

/* A x = b: dx = A^-1 (db - dA x), where of dA counts what is read of A. */
static void triangular_solve_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    int how = triangular_how(i);
    Ref d = t[1];
    if (t[0]) {
        int unit = how & TRI_UNIT ? 1 : 0;
        Ref da = how & TRI_LOWER ? Tril(t[0], -unit) : Triu(t[0], unit);
        da = how & TRI_TRANSPOSE ? Turned(da) : da;
        Ref p = Neg(how & TRI_RIGHT ? Matmul(z[0], da) : Matmul(da, z[0]));
        d = d ? Add(d, p) : p;
    }
    tz[0] = TriangularSolve(x[0], d, how);
}

static void triangular_solve_transpose(const Ins *i, const Ref *ct, Cts *cts)
{
    ct_add(cts, i->in[1], TriangularSolve(i->in[0], ct[0], triangular_how(i) ^ TRI_TRANSPOSE));
}

/* lanes, rows, columns -> rows, lanes columns */
void batch_sides(const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    Ref y[4];
    int r = typ(x[1])->rank;
    int axis = i->op == OP_triangular_solve && triangular_how(i) & TRI_RIGHT ? r - 3 : r - 2;
    if (!type_size(typ(x[1]))) {
        ops_batch_again(i, x, s, ax, out, so);
        return;
    }
    Ref b = MoveAxis(x[1], 0, axis);
    Type t = *typ(b);
    Ints shape = { 0 };
    for (int d = 0; d < r; d++)
        if (d == axis + 1)
            shape.v[shape.n - 1] *= t.dim[d];
        else
            shape.v[shape.n++] = t.dim[d];
    for (int k = 0; k < i->nin; k++)
        y[k] = k == 1 ? Reshape(b, shape) : x[k];
    again(i, y, out);
    out[0] = out[0] ? MoveAxis(Reshape(out[0], type_shape(&t)), axis, 0) : 0;
    so[0] = STACKED;
}

static void triangular_solve_batch(
    const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    if (s[0] == SHARED)
        batch_sides(i, x, s, ax, out, so);
    else
        ops_batch_again(i, x, s, ax, out, so);
}

const Rules rules_triangular_solve = { triangular_solve_infer, triangular_solve_jvp,
    triangular_solve_transpose, triangular_solve_batch, linalg_eval };
