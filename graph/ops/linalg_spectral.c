/*
 * linalg_spectral.c - eigh, svd. On the host by Jacobi's rotations, until none is left to make.
 *
 * Signs of vectors are the algorithm's, and of equal values any basis is as right as another: programs
 * should not depend on either. Derivatives are JAX's (Giles; Townsend, "Differentiating the singular value
 * decomposition"), infinite where values are equal, but for svd, which leaves such pairs out.
 */
#include "linalg.h"

/* ==================== eigh: of the lower triangle, w ascending, v's columns */

static int eigh_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    int e = ops_attrs(op, attr, nattr, NULL);
    if (e || (e = matrix_check(op, t[0], true)))
        return e;
    out[0] = vector_type(t[0], dtype_part((Dtype)t[0]->dt), t[0]->dim[t[0]->rank - 1]);
    out[1] = *t[0];
    return 0;
}

void Eigh(Ref a, Ref *wv) { emit_n(OP_eigh, 1, &a, NULL, wv); }

/* Reals, as numbers like x's. */
static Ref as_those(Ref v, Ref x) { return v && is_complex(x) ? Convert(v, (Dtype)typ(x)->dt) : v; }
static Ref real_diagonal(Ref x)
{
    x = Diagonal(x);
    return x && is_complex(x) ? RealPart(x) : x;
}

/* 1 / (w_j - w_i), and 0 on the diagonal; w: columns less rows. */
static Ref reciprocal_gaps(Ref w, Ref like)
{
    w = as_those(w, like);
    Ref gap = Sub(Along(w, like, false), Along(w, like, true)), one = IdentityLike(like);
    return Sub(Div(Like(like, 1), Add(gap, one)), one);
}

/* With D = V' dA V: dw is its diagonal, dV = V (D / (w_j - w_i)). */
static void eigh_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)i, (void)x;
    Ref d = Matmul(Matmul(Adjoint(z[1]), Mirrored(t[0])), z[1]);
    tz[0] = real_diagonal(d);
    tz[1] = Matmul(z[1], d ? Mul(reciprocal_gaps(z[0], d), d) : 0);
}

const Rules rules_eigh = { eigh_infer, eigh_jvp, NULL, ops_batch_again, linalg_eval };

/* ==================== svd: u diag(s) v = a, s descending; full: u and v are square */

static int svd_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    struct svd_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e || (e = matrix_check(op, t[0], false)))
        return e;
    if (a.full.v[0] != 0 && a.full.v[0] != 1)
        return error_set(E_INVAL, "svd: full is 0 or 1, not %lld", (long long)a.full.v[0]);
    Dtype dt = (Dtype)t[0]->dt;
    int64_t m = t[0]->dim[t[0]->rank - 2], n = t[0]->dim[t[0]->rank - 1], k = m < n ? m : n;
    Type u = matrix_type(t[0], dt, m, a.full.v[0] ? m : k),
         v = matrix_type(t[0], dt, a.full.v[0] ? n : k, n);
    out[1] = vector_type(t[0], dtype_part(dt), k);
    if ((e = ops_result(op, &out[0], dt, type_shape(&u))))
        return e;
    return ops_result(op, &out[2], dt, type_shape(&v));
}

void Svd(Ref a, bool full, Ref *usv) { emit_n(OP_svd, 1, &a, ATTRS(1, full), usv); }

/* 1 / x, and 0 where x is 0 */
static Ref reciprocal(Ref x)
{
    Ref none = Eq(x, Like(x, 0));
    return Select(none, Like(x, 0), Div(Like(x, 1), Select(none, Like(x, 1), x)));
}

/* What of x lies outside the space of u's columns, divided by s. */
static Ref outside(Ref x, Ref u, Ref s)
{
    Ref rest = Sub(x, Matmul(u, Matmul(Adjoint(u), x)));
    return Div(rest, Along(s, rest, false));
}

/* With D = U' dA V and F_ij = 1 / (s_j^2 - s_i^2): ds is D's diagonal, dU = U (F (D S + S D')), dV = V (F (S
 * D + D' S)). Of complex numbers the imaginary part of D's diagonal, divided by s, turns U. */
static void svd_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    int64_t m = matrix_rows(x[0]), n = matrix_columns(x[0]);
    if (ins_int(i, ATTR(svd, full)) && m != n) {
        error_set(E_DIFF, "svd: %s: the derivative is known where u and v are thin", type_text(typ(x[0])));
        return;
    }
    Ref u = z[0], v = Adjoint(z[2]), da = t[0], d = Matmul(Matmul(Adjoint(u), da), v);
    tz[1] = real_diagonal(d);
    if (!d)
        return;
    Ref s = as_those(z[1], d);
    Ref columns = Along(s, d, false), rows = Along(s, d, true);
    Ref f = reciprocal(Mul(Add(columns, rows), Sub(columns, rows)));
    Ref ds = Mul(columns, d), sd = Mul(rows, d);
    Ref tu = Mul(f, Add(ds, Adjoint(ds))), tv = Matmul(v, Mul(f, Add(sd, Adjoint(sd))));
    if (is_complex(d)) {
        Ref turn = Mul(Sub(d, Adjoint(d)), Mul(IdentityLike(d), Like(d, 0.5)));
        tu = Add(tu, Mul(turn, Along(reciprocal(s), d, true)));
    }
    tu = Matmul(u, tu);
    if (m > n)
        tu = Add(tu, outside(Matmul(da, v), u, s));
    if (n > m)
        tv = Add(tv, outside(Matmul(Adjoint(da), u), v, s));
    tz[0] = tu, tz[2] = Adjoint(tv);
}

const Rules rules_svd = { svd_infer, svd_jvp, NULL, ops_batch_again, linalg_eval };
