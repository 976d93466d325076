/*
 * linalg_spectral.c - eigh, svd. On the host by Jacobi's rotations, until none is left to make.
 *
 * Signs of vectors are the algorithm's, and of equal values any basis is as right as another: programs
 * should not depend on either. Derivatives are JAX's (Giles; Townsend, "Differentiating the singular value
 * decomposition"), infinite where values are equal, but for svd, which leaves such pairs out.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

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

typedef struct Rotation {
    Real c, s;
} Rotation;

/* Makes the off-diagonal g of [[a, g], [g, b]] zero. */
static Rotation rotation(Real a, Real b, Real g)
{
    Real z = (b - a) / (2 * g), t = copysignl(1, z) / (fabsl(z) + sqrtl(1 + z * z)),
         c = 1 / sqrtl(1 + t * t);
    return (Rotation){ c, c * t };
}

static void rotate(Real *x, Real *y, int64_t n, int64_t step, Rotation r)
{
    for (int64_t k = 0; k < n * step; k += step) {
        Real u = x[k], v = y[k];
        x[k] = r.c * u - r.s * v, y[k] = r.s * u + r.c * v;
    }
}

static bool finite_all(const Real *a, int64_t n)
{
    for (int64_t k = 0; k < n; k++)
        if (!isfinite(a[k]))
            return false;
    return true;
}

static void nan_all(Real *a, int64_t n)
{
    for (int64_t k = 0; k < n; k++)
        a[k] = NAN;
}

static void identity(Real *v, int64_t n)
{
    for (int64_t k = 0; k < n * n; k++)
        v[k] = k / n == k % n;
}

/* Rows of `n` elements, and their values, by value; down: the largest first. Three arrays with their
 * lengths are the parameters. */
static void order(Real *w, int64_t count, Real *row, int64_t n, Real *other, int64_t m, bool down)
{
    for (int64_t k = 0; k < count; k++)
        for (int64_t j = k; j > 0 && (down ? w[j] > w[j - 1] : w[j] < w[j - 1]); j--) {
            Rotation turn = { 0, 1 }; /* they change places, and one changes its sign */
            rotate(w + j - 1, w + j, 1, 1, turn);
            w[j - 1] = -w[j - 1];
            rotate(row + (j - 1) * n, row + j * n, n, 1, turn);
            if (other)
                rotate(other + (j - 1) * m, other + j * m, m, 1, turn);
        }
}

enum { SWEEPS = 60 };

static void eigh_one(const Ins *i, const Stack *s, Real *const *in, Real *const *out)
{
    int64_t n = s->rows;
    Real *a = ops_temp((size_t)(n * n), sizeof *a), *v = ops_temp((size_t)(n * n), sizeof *v), *w = out[0];
    (void)i;
    for (int64_t k = 0; a && k < n * n; k++)
        a[k] = in[0][k / n >= k % n ? k : k % n * n + k / n];
    if (a && v && !finite_all(a, n * n)) {
        nan_all(w, n), nan_all(out[1], n * n);
    } else if (a && v) {
        bool moved = true;
        identity(v, n); /* its rows are the vectors */
        for (int sweep = 0; sweep < SWEEPS && moved; sweep++) {
            moved = false;
            for (int64_t p = 0; p < n; p++)
                for (int64_t q = p + 1; q < n; q++) {
                    Real g = a[p * n + q], size = fabsl(a[p * n + p]) + fabsl(a[q * n + q]);
                    if (g == 0 || (fabsl(g) <= LDBL_EPSILON * size && fabsl(g) < LDBL_EPSILON))
                        continue;
                    Rotation r = rotation(a[p * n + p], a[q * n + q], g);
                    moved = moved || fabsl(r.s) > LDBL_EPSILON;
                    rotate(a + p, a + q, n, n, r);
                    rotate(a + p * n, a + q * n, n, 1, r);
                    rotate(v + p * n, v + q * n, n, 1, r);
                }
        }
        for (int64_t k = 0; k < n; k++)
            w[k] = a[k * n + k];
        order(w, n, v, n, NULL, 0, false);
        for (int64_t k = 0; k < n * n; k++)
            out[1][k] = v[k % n * n + k / n];
    }
    free(a), free(v);
}

static int eigh_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    if (dtype_complex((Dtype)t[0]->dt))
        return complex_stack_eval(complex_eigh, i, t, in, u, out);
    return stack_eval(eigh_one, i, t, in, u, out);
}

const Rules rules_eigh = { eigh_infer, eigh_jvp, NULL, ops_batch_again, eigh_eval };

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

/* a is m x n, m >= n, row by row as rows of its transpose: x, n rows of m. u: m x p. v: n rows of n.
 * Four matrices and three lengths are the parameters. */
static void real_svd(Real *x, int64_t m, int64_t n, int64_t p, Real *u, Real *s, Real *v)
{
    Real *r = ops_temp((size_t)(p * n), sizeof *r), *a = ops_temp((size_t)(m * n), sizeof *a);
    bool moved = true;
    identity(v, n);
    for (int sweep = 0; sweep < SWEEPS && moved; sweep++) {
        moved = false;
        for (int64_t j = 0; j < n; j++)
            for (int64_t k = j + 1; k < n; k++) {
                Real aa = 0, bb = 0, ab = 0, *xj = x + j * m, *xk = x + k * m;
                for (int64_t l = 0; l < m; l++)
                    aa += xj[l] * xj[l], bb += xk[l] * xk[l], ab += xj[l] * xk[l];
                if (ab == 0 || fabsl(ab) <= 4 * LDBL_EPSILON * sqrtl(aa * bb))
                    continue;
                Rotation t = rotation(aa, bb, ab);
                moved = true;
                rotate(xj, xk, m, 1, t);
                rotate(v + j * n, v + k * n, n, 1, t);
            }
    }
    for (int64_t j = 0; j < n; j++) {
        s[j] = 0;
        for (int64_t l = 0; l < m; l++)
            s[j] = hypotl(s[j], x[j * m + l]);
    }
    order(s, n, x, m, v, n, true);
    if (a && r) {
        for (int64_t k = 0; k < m * n; k++)
            a[k] = x[k % n * m + k / n];
        real_qr(a, m, n, p, u, r); /* orthogonal columns, where some are zero, too */
        for (int64_t k = 0; k < m * p; k++)
            u[k] = k % p < n && r[k % p * n + k % p] < 0 ? -u[k] : u[k];
    }
    free(a), free(r);
}

static void svd_one(const Ins *i, const Stack *st, Real *const *in, Real *const *out)
{
    int64_t m = st->rows, n = st->columns, k = m < n ? m : n, big = m < n ? n : m;
    int64_t p = ins_int(i, ATTR(svd, full)) ? m : k, q = ins_int(i, ATTR(svd, full)) ? n : k,
            side = m < n ? q : p;
    if (!finite_all(in[0], m * n)) {
        nan_all(out[0], m * p), nan_all(out[1], k), nan_all(out[2], q * n);
        return;
    }
    Real *x = ops_temp((size_t)(m * n), sizeof *x), *u = ops_temp((size_t)(big * side), sizeof *u),
         *v = ops_temp((size_t)(k * k), sizeof *v);
    if (x && u && v) {
        for (int64_t j = 0; j < m * n; j++)
            x[j] = m < n ? in[0][j] : in[0][j % m * n + j / m];
        real_svd(x, big, k, side, u, out[1], v);
        for (int64_t j = 0; j < m * p; j++)
            out[0][j] = m < n ? v[j % p * k + j / p] : u[j];
        for (int64_t j = 0; j < q * n; j++)
            out[2][j] = m < n ? u[j % n * side + j / n] : v[j];
    }
    free(x), free(u), free(v);
}

static int svd_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    if (dtype_complex((Dtype)t[0]->dt))
        return complex_stack_eval(complex_svd, i, t, in, u, out);
    return stack_eval(svd_one, i, t, in, u, out);
}

const Rules rules_svd = { svd_infer, svd_jvp, NULL, ops_batch_again, svd_eval };
