/*
 * linalg.c - linear algebra over stacks of matrices: the last two axes are rows and columns.
 *
 * Factorisations are rows of the op table; here symbols become their operands, leading axes broadcast, and
 * what numpy.linalg has beside them is written with them.
 */
#include "formulas.h"

/* A stack of matrices of floats. 0 after an error. */
static Ref matrices(const char *what, hd x)
{
    Ref r = float_ref(what, x);
    if (!r || typ(r)->rank >= 2)
        return r;
    error_set(E_SHAPE, "%s: a matrix is wanted, with rows and columns as its last two axes, not %s", what,
        type_text(typ(r)));
    return 0;
}

static bool square_stack(const char *what, Ref a)
{
    if (!a || matrix_rows(a) == matrix_columns(a))
        return a != 0;
    error_set(E_SHAPE, "%s: a square matrix is wanted, not %s", what, type_text(typ(a)));
    return false;
}

/* Leading axes of both broadcast. 0, or a code. */
static int same_stack(const char *what, Ref *a, Ref *b)
{
    Ref *r[2] = { a, b };
    Ints lead = { 0 };
    for (int k = 0; k < 2; k++) {
        int n = typ(*r[k])->rank - 2;
        lead.n = n > lead.n ? n : lead.n;
    }
    for (int d = 0; d < lead.n; d++) {
        lead.v[d] = 1;
        for (int k = 0; k < 2; k++) {
            int at = d - (lead.n - (typ(*r[k])->rank - 2));
            int64_t n = at >= 0 ? typ(*r[k])->dim[at] : 1;
            if (n != 1 && lead.v[d] != 1 && n != lead.v[d])
                return error_set(E_SHAPE, "%s: the stacks %s and %s do not broadcast", what,
                    type_text(typ(*a)), type_text(typ(*b)));
            lead.v[d] = n != 1 ? n : lead.v[d];
        }
    }
    for (int k = 0; k < 2; k++) {
        Ints s = lead;
        s.v[s.n++] = matrix_rows(*r[k]), s.v[s.n++] = matrix_columns(*r[k]);
        if (!(*r[k] = broadcast_to(*r[k], s)))
            return (int)error_code();
    }
    return 0;
}

static hd tuple_of(const Ref *r, int n)
{
    hd x[4];
    for (int k = 0; k < n; k++)
        if (!r[k])
            return HD_NIL;
        else
            x[k] = sym_of(r[k]);
    return sym_tuple(x, n);
}

/* ==================== factorisations */

/* Only the lower triangle would be read: as JAX, the mean of the matrix and its transpose is. */
static Ref symmetric(Ref a) { return bin(OP_mul, Add(a, Turned(a)), Like(a, 0.5)); }

hd hd_cholesky(hd a)
{
    OP(hd_cholesky);
    Ref r = matrices("hd_cholesky", a);
    return sym_of(square_stack("hd_cholesky", r) ? Cholesky(symmetric(r)) : 0);
}

hd hd_qr_n(hd a, const hd_qr_opts *o)
{
    Ref qr[2] = { 0 };
    OP(hd_qr_n);
    OPTIONS(hd_qr_opts, o);
    Ref r = matrices("hd_qr", a);
    if (r)
        Qr(r, o->full, qr);
    return tuple_of(qr, 2);
}

hd hd_qr(hd a) { OP(hd_qr); return hd_qr_n(a, NULL); }

/* ==================== solves */

hd hd_triangular_solve_n(hd a, hd b, const hd_triangular_opts *o)
{
    static const char what[] = "hd_triangular_solve";
    Ref r[2];
    OP(hd_triangular_solve_n);
    OPTIONS(hd_triangular_opts, o);
    if (unify_dtype(what, 2, (const hd[]){ a, b }, r) || !(r[0] = matrices(what, sym_of(r[0]))) ||
        !square_stack(what, r[0]) || !rank_ref(what, sym_of(r[1]), 1))
        return HD_NIL;
    bool vector = typ(r[1])->rank == 1;
    if (vector)
        r[1] = unsqueeze(r[1], o->right ? 0 : 1);
    if (!r[1] || same_stack(what, &r[0], &r[1]))
        return HD_NIL;
    int how = (o->right ? TRI_RIGHT : 0) | (o->upper ? 0 : TRI_LOWER) | (o->transpose ? TRI_TRANSPOSE : 0) |
        (o->unit ? TRI_UNIT : 0);
    Ref x = TriangularSolve(r[0], r[1], how);
    return sym_of(x && vector ? squeeze_axis(x, typ(x)->rank - (o->right ? 2 : 1)) : x);
}

hd hd_triangular_solve(hd a, hd b) { OP(hd_triangular_solve); return hd_triangular_solve_n(a, b, NULL); }
