/*
 * linalg_host.h - factorisations and solves on the host, of one kind of numbers: linalg_real.c and
 * linalg_complex.c say what a Number is, and what its parts are, and include this text.
 *
 * Conventions are LAPACK's: diagonals of l of cholesky and of r of qr are real, and lu's pivot has the
 * largest sum of its parts' absolute values. Eigenvalues and singular values are found by Jacobi's
 * rotations, until none is left to make.
 *
 *     Number            long double, or long double _Complex
 *     RE, IM, CONJ, MAGNITUDE, NUMBER(re, im)     their words
 *     LINALG_EVAL       the function that this text defines
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "linalg.h"

/* One matrix after the other: s is the stack of each operand. */
typedef void MatrixEval(const Ins *, const Stack *s, Number *const *in, Number *const *out);

static Real squared(Number z) { return RE(z) * RE(z) + IM(z) * IM(z); }
static Real parts_of(Number z) { return fabsl(RE(z)) + fabsl(IM(z)); }

/* ==================== cholesky */

static void cholesky_one(const Ins *i, const Stack *s, Number *const *in, Number *const *out)
{
    (void)i;
    int64_t n = s->rows;
    Number *l = out[0];
    bool good = true;
    for (int64_t j = 0; j < n; j++)
        for (int64_t r = 0; r < n; r++) {
            Number v = r < j ? 0 : in[0][r * n + j];
            for (int64_t k = 0; k < j && r >= j; k++)
                v -= l[r * n + k] * CONJ(l[j * n + k]);
            good = good && (r != j || RE(v) > 0);
            l[r * n + j] = r < j ? 0 : r == j ? sqrtl(RE(v)) : v / RE(l[j * n + j]);
        }
    for (int64_t k = 0; k < n * n && !good; k++)
        l[k] = k % n > k / n ? 0 : NUMBER(NAN, NAN);
}

/* ==================== triangular_solve */

/* Substitution, for each right-hand side: A(r, c) is at a[r rs + c cs], x(r) at x[r step]. The
 * parameters are those of a triangular solve. */
static void substitute(
    const Number *a, int64_t n, int64_t rs, int64_t cs, bool lower, bool unit, Number *x, int64_t step)
{
    for (int64_t k = 0; k < n; k++) {
        int64_t r = lower ? k : n - 1 - k;
        Number v = x[r * step];
        for (int64_t j = 0; j < k; j++) {
            int64_t c = lower ? j : n - 1 - j;
            v -= a[r * rs + c * cs] * x[c * step];
        }
        x[r * step] = unit ? v : v / a[r * rs + r * cs];
    }
}

/* x A = b is A' x' = b': the unknowns of a side are a row of x. */
static void triangular_solve_one(const Ins *i, const Stack *s, Number *const *in, Number *const *out)
{
    int how = triangular_how(i);
    bool right = how & TRI_RIGHT, turned = right != !!(how & TRI_TRANSPOSE);
    int64_t n = s[0].rows, sides = right ? s[1].rows : s[1].columns;
    memcpy(out[0], in[1], sizeof(Number) * (size_t)(n * sides));
    for (int64_t k = 0; k < sides; k++)
        substitute(in[0], n, turned ? 1 : n, turned ? n : 1, !(how & TRI_LOWER) == turned, how & TRI_UNIT,
            out[0] + (right ? k * n : k), right ? 1 : sides);
}

/* ==================== qr */

/* H = 1 - tau v v', H' makes (beta, 0 ...) of x: v with a one in front in the place of x. tau 0: H is 1. */
static Number reflector(Number *x, int64_t n, int64_t step, Real *beta)
{
    Real rest = 0;
    Number first = n ? x[0] : 0;
    for (int64_t k = 1; k < n; k++)
        rest = hypotl(rest, MAGNITUDE(x[k * step]));
    *beta = RE(first);
    if (rest == 0 && IM(first) == 0)
        return 0;
    *beta = -copysignl(hypotl(MAGNITUDE(first), rest), RE(first));
    for (int64_t k = 1; k < n; k++)
        x[k * step] /= first - *beta;
    return (*beta - first) / *beta;
}

/* a = (1 - tau v v') a; v has a one in front that is not there. Parameters are those of LAPACK's larf. */
static void reflect(
    const Number *v, int64_t n, int64_t step, Number tau, Number *a, int64_t columns, int64_t row)
{
    for (int64_t c = 0; c < columns; c++) {
        Number w = a[c];
        for (int64_t k = 1; k < n; k++)
            w += CONJ(v[k * step]) * a[k * row + c];
        for (int64_t k = 0; k < n; k++)
            a[k * row + c] -= tau * w * (k ? v[k * step] : 1);
    }
}

/* Of one matrix a, m x n: q is m x p (p: m, or the smaller of m and n), r is p x n. */
static void factor(const Number *a, int64_t m, int64_t n, int64_t p, Number *q, Number *r)
{
    int64_t k = m < n ? m : n;
    Number *h = ops_temp((size_t)(m * n), sizeof *h), *tau = ops_temp((size_t)k, sizeof *tau);
    if (h && tau) {
        memcpy(h, a, sizeof *h * (size_t)(m * n));
        for (int64_t j = 0; j < k; j++) {
            Number *v = h + j * n + j;
            Real beta;
            tau[j] = reflector(v, m - j, n, &beta);
            reflect(v, m - j, n, CONJ(tau[j]), v + 1, n - j - 1, n);
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

static void qr_one(const Ins *i, const Stack *s, Number *const *in, Number *const *out)
{
    int64_t m = s->rows, n = s->columns;
    factor(in[0], m, n, ins_int(i, ATTR(qr, full)) || m < n ? m : n, out[0], out[1]);
}

/* ==================== lu, solve */

/* a (m x n) becomes its factors; b (m x sides, or NULL) becomes what L^-1 P makes of it. Matrices with
 * their sizes are the parameters. */
static void eliminate(Number *a, int64_t m, int64_t n, Number *b, int64_t sides, Number *pivot, Number *at)
{
    for (int64_t c = 0; c < m && c < n; c++) {
        int64_t p = c;
        for (int64_t r = c + 1; r < m; r++)
            p = parts_of(a[r * n + c]) > parts_of(a[p * n + c]) ? r : p;
        for (int64_t j = 0; j < n + sides + 1; j++) {
            Number *v = j < n ? a + j : j < n + sides ? b + (j - n) : at;
            int64_t step = j < n ? n : j < n + sides ? sides : 1;
            Number keep = v[c * step];
            v[c * step] = v[p * step], v[p * step] = keep;
        }
        pivot[c] = (Real)p;
        for (int64_t r = c + 1; r < m; r++) {
            Number f = a[r * n + c] = a[c * n + c] == 0 ? a[r * n + c] : a[r * n + c] / a[c * n + c];
            for (int64_t j = c + 1; j < n; j++)
                a[r * n + j] -= f * a[c * n + j];
            for (int64_t j = 0; j < sides; j++)
                b[r * sides + j] -= f * b[c * sides + j];
        }
    }
}

static void lu_one(const Ins *i, const Stack *s, Number *const *in, Number *const *out)
{
    (void)i;
    memcpy(out[0], in[0], sizeof(Number) * (size_t)(s->rows * s->columns));
    for (int64_t r = 0; r < s->rows; r++)
        out[2][r] = (Real)r;
    eliminate(out[0], s->rows, s->columns, NULL, 0, out[1], out[2]);
}

static void solve_one(const Ins *i, const Stack *s, Number *const *in, Number *const *out)
{
    int64_t n = s[0].rows, sides = s[1].columns;
    Number *a = ops_temp((size_t)(n * n), sizeof *a), *at = ops_temp((size_t)(2 * n), sizeof *at);
    Number *x = out[0];
    memcpy(x, in[1], sizeof *x * (size_t)(n * sides));
    for (int64_t k = 0; a && at && k < n * n; k++)
        a[k] = in[0][ins_int(i, ATTR(solve, transpose)) ? k % n * n + k / n : k];
    if (a && at) {
        memset(at, 0, sizeof *at * (size_t)(2 * n));
        eliminate(a, n, n, x, sides, at, at + n);
        for (int64_t j = 0; j < sides; j++)
            substitute(a, n, n, 1, false, false, x + j, sides);
    }
    free(a), free(at);
}

/* ==================== rotations */

typedef struct Rotation {
    Real c;
    Number s, t; /* x' = c x - s y, y' = t x + c y */
} Rotation;

/* Of two columns whose squares are a and b, and whose product x' y is g: orthogonal afterwards. y is turned
 * by g's phase first, so that g is real. Likewise of [[a, g], [g', b]]: diagonal afterwards. */
static Rotation rotation(Real a, Real b, Number g)
{
    Real size = MAGNITUDE(g), z = (b - a) / (2 * size),
         t = copysignl(1, z) / (fabsl(z) + sqrtl(1 + z * z)), c = 1 / sqrtl(1 + t * t);
    Number phase = g / size;
    return (Rotation){ c, c * t * CONJ(phase), c * t * phase };
}

static Rotation conjugated(Rotation r) { return (Rotation){ r.c, CONJ(r.s), CONJ(r.t) }; }

static void rotate(Number *x, Number *y, int64_t n, int64_t step, Rotation r)
{
    for (int64_t k = 0; k < n * step; k += step) {
        Number u = x[k], v = y[k];
        x[k] = r.c * u - r.s * v, y[k] = r.t * u + r.c * v;
    }
}

static bool finite_all(const Number *a, int64_t n)
{
    for (int64_t k = 0; k < n; k++)
        if (!isfinite(RE(a[k])) || !isfinite(IM(a[k])))
            return false;
    return true;
}

static void nan_all(Number *a, int64_t n)
{
    for (int64_t k = 0; k < n; k++)
        a[k] = NUMBER(NAN, NAN);
}

static void identity(Number *v, int64_t n)
{
    for (int64_t k = 0; k < n * n; k++)
        v[k] = k / n == k % n;
}

/* Rows of `n` elements, and their values, by value; down: the largest first. Three arrays with their
 * lengths are the parameters. */
static void order(Number *w, int64_t count, Number *row, int64_t n, Number *other, int64_t m, bool down)
{
    const Rotation turn = { 0, 1, 1 }; /* they change places, and one changes its sign */
    for (int64_t k = 0; k < count; k++)
        for (int64_t j = k; j > 0; j--) {
            Real step = RE(w[j]) - RE(w[j - 1]);
            if (!(down ? step > 0 : step < 0))
                break;
            rotate(w + j - 1, w + j, 1, 1, turn);
            w[j - 1] = -w[j - 1];
            rotate(row + (j - 1) * n, row + j * n, n, 1, turn);
            if (other)
                rotate(other + (j - 1) * m, other + j * m, m, 1, turn);
        }
}

enum { SWEEPS = 60 };

/* ==================== eigh */

/* Of a row, so of a column, and of the rows of v, which are the vectors. */
static bool rotated(Number *a, int64_t n, Number *v, int64_t p, int64_t q)
{
    Number g = a[p * n + q];
    Real size = MAGNITUDE(a[p * n + p]) + MAGNITUDE(a[q * n + q]);
    if (g == 0 || (MAGNITUDE(g) <= LDBL_EPSILON * size && MAGNITUDE(g) < LDBL_EPSILON))
        return false;
    Rotation r = rotation(RE(a[p * n + p]), RE(a[q * n + q]), g);
    rotate(a + p, a + q, n, n, r);
    rotate(a + p * n, a + q * n, n, 1, conjugated(r));
    rotate(v + p * n, v + q * n, n, 1, r);
    return MAGNITUDE(r.s) > LDBL_EPSILON;
}

static void eigh_one(const Ins *i, const Stack *s, Number *const *in, Number *const *out)
{
    int64_t n = s->rows;
    Number *a = ops_temp((size_t)(n * n), sizeof *a), *v = ops_temp((size_t)(n * n), sizeof *v), *w = out[0];
    (void)i;
    for (int64_t k = 0; a && k < n * n; k++) {
        int64_t r = k / n, c = k % n;
        a[k] = r > c ? in[0][k] : r == c ? RE(in[0][k]) : CONJ(in[0][c * n + r]);
    }
    if (a && v && !finite_all(a, n * n)) {
        nan_all(w, n), nan_all(out[1], n * n);
    } else if (a && v) {
        bool moved = true;
        identity(v, n);
        for (int sweep = 0; sweep < SWEEPS && moved; sweep++) {
            moved = false;
            for (int64_t p = 0; p < n; p++)
                for (int64_t q = p + 1; q < n; q++)
                    moved = rotated(a, n, v, p, q) || moved;
        }
        for (int64_t k = 0; k < n; k++)
            w[k] = RE(a[k * n + k]);
        order(w, n, v, n, NULL, 0, false);
        for (int64_t k = 0; k < n * n; k++)
            out[1][k] = v[k % n * n + k / n];
    }
    free(a), free(v);
}

/* ==================== svd */

/* Rows of x are columns of m numbers, which become orthogonal; the same is done to rows of v, of count
 * numbers. */
static void orthogonalise(Number *x, int64_t count, int64_t m, Number *v)
{
    bool moved = true;
    for (int sweep = 0; sweep < SWEEPS && moved; sweep++) {
        moved = false;
        for (int64_t j = 0; j < count; j++)
            for (int64_t k = j + 1; k < count; k++) {
                Real a = 0, b = 0;
                Number g = 0, *p = x + j * m, *q = x + k * m;
                for (int64_t l = 0; l < m; l++)
                    a += squared(p[l]), b += squared(q[l]), g += CONJ(p[l]) * q[l];
                if (g == 0 || MAGNITUDE(g) <= 4 * LDBL_EPSILON * sqrtl(a * b))
                    continue;
                Rotation r = rotation(a, b, g);
                moved = true;
                rotate(p, q, m, 1, r);
                rotate(v + j * count, v + k * count, count, 1, r);
            }
    }
}

/* a is m x n, m >= n, row by row as rows of its transpose: x, n rows of m. u: m x p. v: n rows of n.
 * Four matrices and three lengths are the parameters. */
static void tall(Number *x, int64_t m, int64_t n, int64_t p, Number *u, Number *s, Number *v)
{
    Number *r = ops_temp((size_t)(p * n), sizeof *r), *a = ops_temp((size_t)(m * n), sizeof *a);
    identity(v, n);
    orthogonalise(x, n, m, v);
    for (int64_t j = 0; j < n; j++) {
        Real length = 0;
        for (int64_t l = 0; l < m; l++)
            length = hypotl(length, MAGNITUDE(x[j * m + l]));
        s[j] = length;
    }
    order(s, n, x, m, v, n, true);
    if (a && r) {
        for (int64_t k = 0; k < m * n; k++)
            a[k] = x[k % n * m + k / n];
        factor(a, m, n, p, u, r); /* orthogonal columns, where some are zero, too */
        for (int64_t k = 0; k < m * p; k++)
            u[k] = k % p < n && RE(r[k % p * n + k % p]) < 0 ? -u[k] : u[k];
    }
    free(a), free(r);
}

static void svd_one(const Ins *i, const Stack *st, Number *const *in, Number *const *out)
{
    int64_t m = st->rows, n = st->columns, k = m < n ? m : n, big = m < n ? n : m;
    int64_t p = ins_int(i, ATTR(svd, full)) ? m : k, q = ins_int(i, ATTR(svd, full)) ? n : k,
            side = m < n ? q : p;
    if (!finite_all(in[0], m * n)) {
        nan_all(out[0], m * p), nan_all(out[1], k), nan_all(out[2], q * n);
        return;
    }
    Number *x = ops_temp((size_t)(m * n), sizeof *x), *u = ops_temp((size_t)(big * side), sizeof *u),
           *v = ops_temp((size_t)(k * k), sizeof *v);
    if (x && u && v) { /* of a, or where it is wide of its adjoint, whose columns are rows of x */
        for (int64_t j = 0; j < m * n; j++)
            x[j] = m < n ? CONJ(in[0][j]) : in[0][j % m * n + j / m];
        tall(x, big, k, side, u, out[1], v);
        for (int64_t j = 0; j < m * p; j++)
            out[0][j] = m < n ? v[j % p * k + j / p] : u[j];
        for (int64_t j = 0; j < q * n; j++)
            out[2][j] = CONJ(m < n ? u[j % n * side + j / n] : v[j]);
    }
    free(x), free(u), free(v);
}

/* ==================== stacks: one matrix after the other */

static void load(const Type *t, const void *from, int64_t at, int64_t n, Number *to)
{
    Dtype dt = (Dtype)t->dt;
    const char *p = (const char *)from + (size_t)(at * n) * dtype_size(dt);
    for (int64_t k = 0; k < n; k++, p += dtype_size(dt)) {
        Wide v = ops_load(dt, p);
        to[k] = dtype_inexact(dt) ? NUMBER(v.f, v.im) : NUMBER((Real)v.i, 0);
    }
}

static void store(const Type *t, void *to, int64_t at, int64_t n, const Number *from)
{
    Dtype dt = (Dtype)t->dt;
    char *p = (char *)to + (size_t)(at * n) * dtype_size(dt);
    for (int64_t k = 0; k < n; k++, p += dtype_size(dt)) {
        Wide v = { .f = RE(from[k]), .im = IM(from[k]) };
        if (!dtype_inexact(dt))
            v.i = (int64_t)v.f;
        ops_store(dt, p, v);
    }
}

static MatrixEval *one_of(Op op)
{
    switch (op) {
    case OP_cholesky: return cholesky_one;
    case OP_triangular_solve: return triangular_solve_one;
    case OP_qr: return qr_one;
    case OP_lu: return lu_one;
    case OP_solve: return solve_one;
    case OP_eigh: return eigh_one;
    default: return svd_one;
    }
}

enum { MOST = 4 }; /* operands, and results, of a factorisation */

int LINALG_EVAL(const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    MatrixEval *one = one_of(i->op);
    Stack s[MOST] = { 0 };
    Number *x[MOST] = { 0 }, *y[MOST] = { 0 };
    int64_t nx[MOST] = { 0 }, ny[MOST] = { 0 }, count = stack_of(t[0]).count;
    bool ok = true;
    for (int k = 0; k < i->nin; k++) {
        s[k] = t[k]->rank >= 2 ? stack_of(t[k]) : (Stack){ 0 };
        nx[k] = count ? type_size(t[k]) / count : 0;
        ok = ok && (x[k] = ops_temp((size_t)nx[k], sizeof(Number)));
    }
    for (int k = 0; k < i->nout; k++) {
        ny[k] = count ? type_size(&u[k]) / count : 0;
        ok = ok && (y[k] = ops_temp((size_t)ny[k], sizeof(Number)));
    }
    for (int64_t at = 0; ok && at < count && !error_pending(); at++) {
        for (int k = 0; k < i->nin; k++)
            load(t[k], in[k], at, nx[k], x[k]);
        one(i, s, x, y);
        for (int k = 0; k < i->nout; k++)
            store(&u[k], out[k], at, ny[k], y[k]);
    }
    for (int k = 0; k < MOST; k++)
        free(x[k]), free(y[k]);
    return (int)error_code();
}
