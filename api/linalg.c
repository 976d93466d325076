/*
 * linalg.c - linear algebra over stacks of matrices: the last two axes are rows and columns.
 *
 * Factorisations are rows of the op table; here symbols become their operands, leading axes broadcast, and
 * what numpy.linalg has beside them is written with them.
 */
#include <math.h>

#include "formulas.h"

/* A stack of matrices. 0 after an error. */
static Ref matrices_of(const char *what, Ref r)
{
    if (!r || typ(r)->rank >= 2)
        return r;
    error_set(E_SHAPE, "%s: a matrix is wanted, with rows and columns as its last two axes, not %s", what,
        type_text(typ(r)));
    return 0;
}

/* Of floats or complex numbers. */
static Ref matrices(const char *what, hd x)
{
    Ref r = sym_ref(x);
    return matrices_of(what, r && is_complex(r) ? r : float_ref(what, x));
}

/* Reals, as numbers like x's. */
static Ref as_those(Ref v, Ref x) { return v && is_complex(x) ? Convert(v, (Dtype)typ(x)->dt) : v; }
static Dtype reals_of(Ref x) { return dtype_part((Dtype)typ(x)->dt); }

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

/* Only the lower triangle would be read: as JAX, the mean of the matrix and its adjoint is. */
static Ref symmetric(Ref a) { return bin(OP_mul, Add(a, Adjoint(a)), Like(a, 0.5)); }

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

hd hd_qr(hd a)
{
    OP(hd_qr);
    return hd_qr_n(a, NULL);
}

/* ==================== solves */

hd hd_triangular_solve_n(hd a, hd b, const hd_triangular_opts *o)
{
    static const char what[] = "hd_triangular_solve";
    Ref r[2];
    OP(hd_triangular_solve_n);
    OPTIONS(hd_triangular_opts, o);
    if (unify_dtype(what, 2, (const hd[]){ a, b }, r) ||
        !(r[0] = matrices(what, sym_of(r[0]))) ||
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

hd hd_triangular_solve(hd a, hd b)
{
    OP(hd_triangular_solve);
    return hd_triangular_solve_n(a, b, NULL);
}

/* ==================== by elimination */

hd hd_lu(hd a)
{
    Ref lu[3] = { 0 };
    OP(hd_lu);
    Ref r = matrices("hd_lu", a);
    if (r)
        Lu(r, lu);
    return tuple_of(lu, 3);
}

/* The factors are kept for derivatives; they have none themselves. */
static Ref solved(Ref a, Ref b)
{
    Ref lu[3] = { 0 };
    Lu(stop_gradient(a), lu);
    return lu[0] ? Solve(a, b, lu[0], lu[2], false) : 0;
}

hd hd_solve(hd a, hd b)
{
    static const char what[] = "hd_solve";
    Ref r[2];
    OP(hd_solve);
    if (unify_dtype(what, 2, (const hd[]){ a, b }, r) || !(r[0] = matrices(what, sym_of(r[0]))) ||
        !square_stack(what, r[0]) || !rank_ref(what, sym_of(r[1]), 1))
        return HD_NIL;
    bool vector = typ(r[1])->rank == 1;
    r[1] = vector ? unsqueeze(r[1], 1) : r[1];
    if (matrix_rows(r[1]) != matrix_rows(r[0])) {
        error_set(E_SHAPE, "%s: %s has %lld unknowns, and the right-hand side %s has %lld rows", what,
            type_text(typ(r[0])), (long long)matrix_rows(r[0]), type_text(typ(sym_ref(b))),
            (long long)matrix_rows(r[1]));
        return HD_NIL;
    }
    if (same_stack(what, &r[0], &r[1]))
        return HD_NIL;
    Ref x = solved(r[0], r[1]);
    return sym_of(x && vector ? squeeze_axis(x, typ(x)->rank - 1) : x);
}

static Ref inverse(Ref a) { return solved(a, IdentityLike(a)); }

hd hd_inv(hd a)
{
    OP(hd_inv);
    Ref r = matrices("hd_inv", a);
    return sym_of(square_stack("hd_inv", r) ? inverse(r) : 0);
}

static Ref at(Ref a, int r, int c)
{
    Ints lead = { typ(a)->rank - 2, { 0 } };
    for (int d = 0; d < lead.n; d++)
        lead.v[d] = typ(a)->dim[d];
    return Reshape(MatrixPart(a, r, 1, c, 1), lead);
}

/* of [[p, q], [r, s]] in columns c and d of rows 1 and 2, or 0 and 1 */
static Ref minor_of(Ref a, int row, int c, int d)
{
    return Sub(Mul(at(a, row, c), at(a, row + 1, d)), Mul(at(a, row, d), at(a, row + 1, c)));
}

/* 1 or -1: how many rows lu exchanged. */
static Ref parity(Ref pivots, Dtype dt)
{
    Ref moved = Ne(pivots, Iota(*typ(pivots), typ(pivots)->rank - 1));
    Ref n = Sum(Convert(moved, DT_I32), ints1(typ(pivots)->rank - 1));
    Ref odd = And(n, Like(n, 1)), z = Convert(odd, dt);
    return Sub(Like(z, 1), Add(z, z));
}

hd hd_det(hd x)
{
    Ref lu[3] = { 0 };
    OP(hd_det);
    Ref a = matrices("hd_det", x);
    if (!square_stack("hd_det", a))
        return HD_NIL;
    if (matrix_rows(a) == 2)
        return sym_of(minor_of(a, 0, 0, 1));
    if (matrix_rows(a) == 3) {
        Ref u = Mul(at(a, 0, 0), minor_of(a, 1, 1, 2)), v = Mul(at(a, 0, 1), minor_of(a, 1, 0, 2));
        return sym_of(Add(Sub(u, v), Mul(at(a, 0, 2), minor_of(a, 1, 0, 1))));
    }
    Lu(a, lu);
    if (!lu[0])
        return HD_NIL;
    Ref p = Reduce(OP_reduce_prod, Diagonal(lu[0]), ints1(typ(a)->rank - 2));
    return sym_of(Mul(p, parity(lu[1], (Dtype)typ(a)->dt)));
}

/* The sign; of a complex number, as sign() has no derivative, its quotient by its size. */
static Ref direction(Ref d)
{
    if (!d || !is_complex(d))
        return Sign(d);
    Ref size = Abs(d), none = Eq(size, Like(size, 0));
    return Div(d, as_those(Select(none, Like(size, 1), size), d));
}

hd hd_slogdet(hd x)
{
    Ref lu[3] = { 0 }, r[2];
    OP(hd_slogdet);
    Ref a = matrices("hd_slogdet", x);
    if (!square_stack("hd_slogdet", a))
        return HD_NIL;
    Lu(a, lu);
    if (!lu[0])
        return HD_NIL;
    Ref d = Diagonal(lu[0]);
    Ints axis = ints1(typ(d)->rank - 1);
    r[0] = Mul(Reduce(OP_reduce_prod, direction(d), axis), parity(lu[1], (Dtype)typ(a)->dt));
    r[1] = Sum(Log(Abs(d)), axis);
    return tuple_of(r, 2);
}

hd hd_cho_solve(hd l, hd b)
{
    static const char what[] = "hd_cho_solve";
    Ref r[2];
    OP(hd_cho_solve);
    if (unify_dtype(what, 2, (const hd[]){ l, b }, r) || !(r[0] = matrices(what, sym_of(r[0]))) ||
        !square_stack(what, r[0]) || !rank_ref(what, sym_of(r[1]), 1))
        return HD_NIL;
    bool vector = typ(r[1])->rank == 1;
    r[1] = vector ? unsqueeze(r[1], 1) : r[1];
    if (same_stack(what, &r[0], &r[1]))
        return HD_NIL;
    Ref y = TriangularSolve(r[0], r[1], TRI_LOWER);
    Ref x = TriangularSolve(Conjugate(r[0]), y, TRI_LOWER | TRI_TRANSPOSE);
    return sym_of(x && vector ? squeeze_axis(x, typ(x)->rank - 1) : x);
}

hd hd_matrix_power(hd x, int n)
{
    OP(hd_matrix_power);
    Ref a = matrices("hd_matrix_power", x), y = 0;
    if (!square_stack("hd_matrix_power", a))
        return HD_NIL;
    unsigned k = n < 0 ? 0u - (unsigned)n : (unsigned)n;
    a = n < 0 ? inverse(a) : a;
    for (; k; k /= 2, a = k ? Matmul(a, a) : a)
        if (k % 2)
            y = y ? Matmul(y, a) : a;
    return sym_of(n ? y : IdentityLike(a));
}

/* Higham's scaling and squaring: Pade's approximant of degree 7 (f64: 13) of a / 2^s, squared s times. */
static Ref pade(Ref a, bool wide)
{
    static const double c7[] = { 17297280, 8648640, 1995840, 277200, 25200, 1512, 56, 1 },
                        c13[] = { 64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800,
                            129060195264000, 10559470521600, 670442572800, 33522128640, 1323241920, 40840800,
                            960960, 16380, 182, 1 };
    const double *c = wide ? c13 : c7;
    Ref power = IdentityLike(a), square = Matmul(a, a), odd = 0, even = 0;
    for (int k = 0; k <= (wide ? 13 : 7); k += 2) {
        Ref e = Mul(power, Like(power, c[k])), o = Mul(power, Like(power, c[k + 1]));
        even = even ? Add(even, e) : e, odd = odd ? Add(odd, o) : o;
        power = Matmul(power, square);
    }
    odd = Matmul(a, odd);
    return solved(Sub(even, odd), Add(even, odd));
}

hd hd_expm(hd x)
{
    enum { SQUARINGS = 16 };
    OP(hd_expm);
    Ref a = matrices("hd_expm", x);
    if (!square_stack("hd_expm", a))
        return HD_NIL;
    int rank = typ(a)->rank;
    bool wide = reals_of(a) == DT_F64;
    if (!type_size(typ(a)))
        return sym_of(a);
    Ref size = Reduce(OP_reduce_max, Sum(Abs(stop_gradient(a)), ints1(rank - 2)), ints1(rank - 2));
    Ref s = Ceil(Log2(Div(size, Like(size, wide ? 5.371920351148152 : 3.925724783138660))));
    s = Max(s, Like(s, 0));
    Ints lead = ints_run(0, rank - 2);
    Ref y = pade(Mul(a, Broadcast(as_those(Exp2(Neg(s)), a), type_shape(typ(a)), lead)), wide);
    for (int k = 0; k < SQUARINGS && y; k++)
        y = Select(Broadcast(Gt(s, Like(s, k)), type_shape(typ(a)), lead), Matmul(y, y), y);
    /* beyond so many squarings it is nan */
    Ref fits = Broadcast(Le(s, Like(s, SQUARINGS)), type_shape(typ(a)), lead);
    return sym_of(y ? Select(fits, y, Like(y, NAN)) : 0);
}

/* ==================== by values */

hd hd_eigh(hd a)
{
    Ref wv[2] = { 0 };
    OP(hd_eigh);
    Ref r = matrices("hd_eigh", a);
    if (square_stack("hd_eigh", r))
        Eigh(symmetric(r), wv);
    return tuple_of(wv, 2);
}

hd hd_eigvalsh(hd a)
{
    Ref wv[2] = { 0 };
    OP(hd_eigvalsh);
    Ref r = matrices("hd_eigvalsh", a);
    if (square_stack("hd_eigvalsh", r))
        Eigh(symmetric(r), wv);
    return sym_of(wv[0]);
}

hd hd_svd_n(hd a, const hd_svd_opts *o)
{
    Ref usv[3] = { 0 };
    OP(hd_svd_n);
    OPTIONS(hd_svd_opts, o);
    Ref r = matrices("hd_svd", a);
    if (r)
        Svd(r, o->full, usv);
    return tuple_of(usv, 3);
}

hd hd_svd(hd a)
{
    OP(hd_svd);
    return hd_svd_n(a, NULL);
}

static Ref values_of(Ref a)
{
    Ref usv[3] = { 0 };
    if (a)
        Svd(a, false, usv);
    return usv[1];
}

hd hd_svdvals(hd a)
{
    OP(hd_svdvals);
    return sym_of(values_of(matrices("hd_svdvals", a)));
}

/* What counts as zero beside the largest value: so many roundings of the longer side. */
static Ref threshold(Ref a, Ref s, double times)
{
    int64_t m = matrix_rows(a), n = matrix_columns(a);
    double eps = reals_of(a) == DT_F64 ? 0x1p-52 : 0x1p-23;
    int axis = typ(s)->rank - 1;
    Ref most = SliceAxis(s, axis, 0, 1);
    return broadcast_to(Mul(most, Like(most, times * eps * (double)(m > n ? m : n))), shape_of(s));
}

/* v diag(1 / s) u', where values up to the threshold count as zero; by b, if there is one */
static Ref pseudo(Ref a, Ref b, double times)
{
    Ref usv[3] = { 0 };
    Svd(a, false, usv);
    if (!usv[1])
        return 0;
    Ref on = Gt(usv[1], stop_gradient(threshold(a, usv[1], times)));
    Ref one = Like(usv[1], 1), by = Select(on, Div(one, Select(on, usv[1], one)), Like(usv[1], 0));
    Ref u = Adjoint(usv[0]), y = b ? Matmul(u, b) : u;
    return y ? Matmul(Adjoint(usv[2]), Mul(Along(as_those(by, y), y, true), y)) : 0;
}

static Ref empty_or(Ref a, Ref (*f)(Ref, Ref, double), Ref b, double times)
{
    if (matrix_rows(a) && matrix_columns(a))
        return f(a, b, times);
    Type t = *typ(a);
    t.dim[t.rank - 2] = matrix_columns(a);
    t.dim[t.rank - 1] = b ? matrix_columns(b) : matrix_rows(a);
    return Zeros(&t);
}

hd hd_pinv(hd a)
{
    OP(hd_pinv);
    Ref r = matrices("hd_pinv", a);
    return sym_of(r ? empty_or(r, pseudo, 0, 10) : 0);
}

hd hd_lstsq(hd a, hd b)
{
    static const char what[] = "hd_lstsq";
    Ref r[2];
    OP(hd_lstsq);
    if (unify_dtype(what, 2, (const hd[]){ a, b }, r) || !(r[0] = matrices(what, sym_of(r[0]))) ||
        !rank_ref(what, sym_of(r[1]), 1))
        return HD_NIL;
    bool vector = typ(r[1])->rank == 1;
    r[1] = vector ? unsqueeze(r[1], 1) : r[1];
    if (matrix_rows(r[1]) != matrix_rows(r[0])) {
        error_set(E_SHAPE, "%s: %s and %s have different numbers of rows", what, type_text(typ(r[0])),
            type_text(typ(sym_ref(b))));
        return HD_NIL;
    }
    if (same_stack(what, &r[0], &r[1]))
        return HD_NIL;
    Ref x = empty_or(r[0], pseudo, r[1], 1);
    return sym_of(x && vector ? squeeze_axis(x, typ(x)->rank - 1) : x);
}

hd hd_matrix_rank(hd a)
{
    OP(hd_matrix_rank);
    Ref r = matrices("hd_matrix_rank", a), s = values_of(r);
    if (!s)
        return HD_NIL;
    int axis = typ(s)->rank - 1;
    Ref on = typ(s)->dim[axis] ? Gt(s, threshold(r, s, 1)) : Ne(s, s);
    return sym_of(Sum(Convert(on, DT_I32), ints1(axis)));
}

/* The k-th value; negative: from the end. */
static Ref value_at(Ref s, int64_t k)
{
    int axis = typ(s)->rank - 1;
    k = k < 0 ? k + typ(s)->dim[axis] : k;
    return squeeze_axis(SliceAxis(s, axis, k, k + 1), axis);
}

static bool some(const char *what, Ref a)
{
    if (!a || (matrix_rows(a) && matrix_columns(a)))
        return a != 0;
    error_set(E_SHAPE, "%s: %s has no elements, and so no such number", what, type_text(typ(a)));
    return false;
}

hd hd_condition_number(hd a)
{
    OP(hd_condition_number);
    Ref r = matrices("hd_condition_number", a), s = some("hd_condition_number", r) ? values_of(r) : 0;
    return sym_of(s ? Div(value_at(s, 0), value_at(s, -1)) : 0);
}

hd hd_matrix_norm(hd a, enum hd_norm_kind kind)
{
    static const char what[] = "hd_matrix_norm";
    OP(hd_matrix_norm);
    Ref r = matrices(what, a);
    if (kind < HD_FROBENIUS || kind > HD_NUCLEAR) {
        error_set(E_INVAL, "%s: there is no norm %d", what, (int)kind);
        return HD_NIL;
    }
    if (!r || (kind != HD_FROBENIUS && kind != HD_NUCLEAR && !some(what, r)))
        return HD_NIL;
    int n = typ(r)->rank;
    Ref s = kind == HD_SPECTRAL || kind == HD_NUCLEAR ? values_of(r) : 0;
    switch (kind) {
    case HD_ONE_NORM:
        return sym_of(Reduce(OP_reduce_max, Sum(Abs(r), ints1(n - 2)), ints1(n - 2)));
    case HD_INF_NORM:
        return sym_of(Reduce(OP_reduce_max, Sum(Abs(r), ints1(n - 1)), ints1(n - 2)));
    case HD_SPECTRAL:
        return sym_of(s ? value_at(s, 0) : 0);
    case HD_NUCLEAR:
        return sym_of(s ? Sum(s, ints1(n - 2)) : 0);
    default:
        return hd_norm_n(sym_of(r), (hd_ints){ 2, { -2, -1 } });
    }
}
