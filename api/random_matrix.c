/*
 * random_matrix.c - samplers that need a factorisation: normal vectors of a given covariance, and matrices
 * whose columns or rows are orthonormal. The formulas are jax.random's.
 */
#include "random.h"

/* Batch axes of a mean and a covariance: what both broadcast to. 0, or a code. */
static int common_batch(const char *what, Ref mean, Ref cov, Ints *shape)
{
    Ref r[2] = { unsqueeze(mean, typ(mean)->rank), cov };
    if (!r[0] || unify_shape(what, 2, r))
        return (int)error_code();
    *shape = shape_of(r[0]);
    shape->n -= 2;
    return 0;
}

/* factor z over the batch: one factor for all, or one for each. */
static Ref factor_times(Ref factor, Ref z, Ints shape)
{
    Dtype d = (Dtype)typ(z)->dt;
    Ints none = { 0 }, batch = { shape.n, { 0 } }, all = shape_of(z);
    if (typ(factor)->rank == 2)
        return Dot(z, factor, ints1(shape.n), ints1(1), none, none, d);
    for (int k = 0; k < shape.n; k++)
        batch.v[k] = k;
    if (all.n == MAXRANK)
        return error_set(
                   E_SHAPE, "hd_random_multivariate_normal: %s has no room for matrices", type_text(typ(z))),
               0;
    all.v[all.n] = all.v[all.n - 1], all.n++;
    factor = broadcast_to(factor, all);
    return factor ? Dot(factor, z, ints1(shape.n + 1), ints1(shape.n), batch, batch, d) : 0;
}

/* The roots of eigenvalues, ascending. What rounding left below zero of a covariance that is singular counts
 * as zero; what is further below has no root. */
static Ref roots_of(Ref w)
{
    int axis = typ(w)->rank - 1;
    int64_t n = typ(w)->dim[axis];
    if (!n)
        return w;
    double rounding = (double)n * (typ(w)->dt == DT_F64 ? 0x1p-52 : 0x1p-23);
    Ref most = Abs(SliceAxis(w, axis, n - 1, n)), least = Mul(most, Like(most, -rounding));
    Ref none = And(Lt(w, Like(w, 0)), Ge(w, broadcast_to(least, shape_of(w))));
    return Sqrt(Select(none, Like(w, 0), w));
}

/* A factor of cov: factor factor' = cov. */
static Ref factor_of(enum hd_factor method, Ref cov)
{
    Ref part[3] = { 0 };
    if (method == HD_CHOLESKY)
        return sym_ref(hd_cholesky(sym_of(cov)));
    hd parts = method == HD_EIGH ? hd_eigh(sym_of(cov)) : hd_svd_n(sym_of(cov), NULL);
    for (int k = 0; k < 3 && k < hd_len(parts); k++)
        part[k] = sym_ref(hd_nth(parts, k));
    Ref vectors = part[method == HD_EIGH], values = part[method == HD_SVD];
    return vectors ?
        Mul(vectors, Along(method == HD_EIGH ? roots_of(values) : Sqrt(values), vectors, false)) :
        0;
}

hd hd_random_multivariate_normal_n(hd key, hd mean, hd cov, enum hd_factor method, hd_ints list)
{
    static const char what[] = "hd_random_multivariate_normal";
    Key k;
    Ints shape;
    Ref r[2];
    OP(hd_random_multivariate_normal_n);
    if (method < HD_CHOLESKY || method > HD_SVD) {
        error_set(E_INVAL, "%s: there is no factorisation %d", what, (int)method);
        return HD_NIL;
    }
    if (!rank_ref(what, mean, 1) || !rank_ref(what, cov, 2) ||
        unify_dtype(what, 2, (const hd[]){ mean, cov }, r) || !float_ref(what, sym_of(r[0])) ||
        draw_in(what, key, list, &k, &shape))
        return HD_NIL;
    int axis = typ(r[0])->rank - 1, last = typ(r[1])->rank - 1;
    int64_t n = typ(r[0])->dim[axis];
    if (typ(r[1])->dim[last] != n || typ(r[1])->dim[last - 1] != n) {
        error_set(E_SHAPE, "%s: of the mean %s the covariance is a matrix of %lld by %lld, not %s", what,
            type_text(typ(r[0])), (long long)n, (long long)n, type_text(typ(r[1])));
        return HD_NIL;
    }
    if (!shape.n && common_batch(what, r[0], r[1], &shape))
        return HD_NIL;
    Ref factor = factor_of(method, r[1]);
    Ref all = factor ? over_batch(what, "the mean", r[0], shape, &axis) : 0;
    if (!all || countable(what, shape_of(all)))
        return HD_NIL;
    Ref z = draw_normal(k, (Dtype)typ(all)->dt, shape_of(all));
    Ref y = z ? factor_times(factor, z, shape) : 0;
    return sym_of(y ? Add(all, y) : 0);
}

/* q of a matrix of normal numbers, with the signs that make it one of all such matrices evenly. */
hd hd_random_orthogonal_n(hd key, enum hd_dtype dtype, int64_t n, int64_t m, hd_ints list)
{
    static const char what[] = "hd_random_orthogonal";
    Key k;
    Ints shape;
    OP(hd_random_orthogonal_n);
    if (float_dtype(what, dtype) || draw_in(what, key, list, &k, &shape))
        return HD_NIL;
    if (n < 0 || m < 0 || shape.n + 2 > MAXRANK) {
        error_set(E_SHAPE, "%s: a stack over %d axes of matrices of %lld by %lld", what, shape.n,
            (long long)n, (long long)m);
        return HD_NIL;
    }
    int rows = shape.n;
    shape.v[shape.n++] = n > m ? n : m, shape.v[shape.n++] = n > m ? m : n;
    Ref z = countable(what, shape) ? 0 : draw_normal(k, (Dtype)dtype, shape), qr[2] = { 0 };
    if (z)
        Qr(z, false, qr);
    hd r = qr[1] ? sym_of(qr[1]) : HD_NIL, diagonal = qr[1] ? hd_einsum_n("...ii->...i", &r, 1) : HD_NIL;
    Ref sign = diagonal.trace ? Sign(sym_ref(diagonal)) : 0;
    Ref q = sign ? Mul(qr[0], spread(sign, ints1(rows), qr[0])) : 0;
    return sym_of(q && n < m ? Turned(q) : q);
}
