/*
 * linalg_factor.c - qr: q r = a by Householder's reflections, as LAPACK's geqrf has them: the sign of an
 * element on r's diagonal is against that of the element which it takes the place of.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

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

/* H = 1 - tau v v' makes (beta, 0 ...) of x: v with a one in front in the place of x. tau 0: H is 1. */
static Real reflector(Real *x, int64_t n, int64_t step, Real *beta)
{
    Real rest = 0, first = n ? x[0] : 0;
    for (int64_t k = 1; k < n; k++)
        rest = hypotl(rest, x[k * step]);
    *beta = first;
    if (rest == 0)
        return 0;
    *beta = -copysignl(hypotl(first, rest), first);
    for (int64_t k = 1; k < n; k++)
        x[k * step] /= first - *beta;
    return (*beta - first) / *beta;
}

/* a = H a; v has a one in front that is not there. The parameters are those of LAPACK's larf. */
static void reflect(const Real *v, int64_t n, int64_t step, Real tau, Real *a, int64_t columns, int64_t row)
{
    for (int64_t c = 0; c < columns; c++) {
        Real w = a[c];
        for (int64_t k = 1; k < n; k++)
            w += v[k * step] * a[k * row + c];
        for (int64_t k = 0; k < n; k++)
            a[k * row + c] -= tau * w * (k ? v[k * step] : 1);
    }
}

void real_qr(const Real *a, int64_t m, int64_t n, int64_t p, Real *q, Real *r)
{
    int64_t k = m < n ? m : n;
    Real *h = ops_temp((size_t)(m * n), sizeof *h), *tau = ops_temp((size_t)k, sizeof *tau);
    if (h && tau) {
        memcpy(h, a, sizeof *h * (size_t)(m * n));
        for (int64_t j = 0; j < k; j++) {
            Real *v = h + j * n + j, beta;
            tau[j] = reflector(v, m - j, n, &beta);
            reflect(v, m - j, n, tau[j], v + 1, n - j - 1, n);
            v[0] = beta;
        }
        for (int64_t j = 0; j < p * n; j++)
            r[j] = j / n > j % n ? 0 : h[j];
        for (int64_t j = 0; j < m * p; j++)
            q[j] = j / p == j % p;
        for (int64_t j = k - 1; j >= 0; j--)
            reflect(h + j * n + j, m - j, n, tau[j], q + j * p, p, p);
    }
    free(h), free(tau);
}

static void qr_one(const Ins *i, const Stack *s, Real *const *in, Real *const *out)
{
    int64_t m = s->rows, n = s->columns;
    real_qr(in[0], m, n, ins_int(i, ATTR(qr, full)) || m < n ? m : n, out[0], out[1]);
}

static int qr_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    if (dtype_complex((Dtype)t[0]->dt))
        return complex_stack_eval(complex_qr, i, t, in, u, out);
    return stack_eval(qr_one, i, t, in, u, out);
}

const Rules rules_qr = { qr_infer, qr_jvp, NULL, ops_batch_again, qr_eval };
