/*
 * linalg_factor.c - qr: q r = a by Householder's reflections, as LAPACK's geqrf has them: the sign of an
 * element on r's diagonal is against that of the element which it takes the place of.
 */
#include "linalg.h"

/* ==================== qr */

static int qr_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    struct qr_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e || (e = matrix_check(op, t[0], false)))
        return e;
    if (a.full.v[0] != 0 && a.full.v[0] != 1)
        return error_set(E_INVAL, "qr: full is 0 or 1, not %lld", (long long)a.full.v[0]);
    int64_t m = t[0]->dim[t[0]->rank - 2], n = t[0]->dim[t[0]->rank - 1];
    int64_t p = a.full.v[0] || m < n ? m : n;
    Dtype dt = (Dtype)t[0]->dt;
    Type q = matrix_type(t[0], dt, m, p), r = matrix_type(t[0], dt, p, n);
    if ((e = ops_result(op, &out[0], dt, type_shape(&q))))
        return e;
    return ops_result(op, &out[1], dt, type_shape(&r));
}

void Qr(Ref a, bool full, Ref *qr) { emit_n(OP_qr, 1, &a, ATTRS(1, full), qr); }

/* Q and R of as many columns as rows: with W = Q' dA R^-1 and S its lower triangle less its adjoint, and the
 * imaginary part of its diagonal, dQ = Q (S - W) + dA R^-1 and dR = (W - S) R. */
static void qr_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)i;
    int64_t m = matrix_rows(x[0]), n = matrix_columns(x[0]);
    if (m < n || matrix_rows(z[1]) != n) {
        error_set(E_DIFF,
            "qr: %s: the derivative is known where there are no more columns than rows, and q is thin",
            type_text(typ(x[0])));
        return;
    }
    Ref by = TriangularSolve(z[1], t[0], TRI_RIGHT), w = Matmul(Adjoint(z[0]), by), low = Tril(w, -1);
    Ref s = low ? Sub(low, Adjoint(low)) : 0;
    if (s && is_complex(s))
        s = Add(s, Mul(IdentityLike(w), Sub(w, Convert(RealPart(w), (Dtype)typ(w)->dt))));
    Ref left = s ? Sub(w, s) : 0;
    tz[0] = left ? Sub(by, Matmul(z[0], left)) : 0;
    tz[1] = Matmul(left, z[1]);
}

const Rules rules_qr = { qr_infer, qr_jvp, NULL, ops_batch_again, linalg_eval };
