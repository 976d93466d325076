/*
 * linalg_complex.c - factorisations of complex matrices on the host: those of linalg*.c, in wide numbers
 * with two parts.
 *
 * Conventions are LAPACK's: diagonals of l of cholesky and of r of qr are real, and lu's pivot has the
 * largest sum of its parts' absolute values.
 */
#include <complex.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "linalg.h"

typedef long double _Complex Number;

static Number number(Real re, Real im) { return __builtin_complex(re, im); }
static Real norm(Number z) { return creall(z) * creall(z) + cimagl(z) * cimagl(z); }
static Real parts(Number z) { return fabsl(creall(z)) + fabsl(cimagl(z)); }

/* ==================== stacks */

enum { MOST = 4 };

static void load(const Type *t, const void *from, int64_t at, int64_t n, Number *to)
{
    int64_t size = (int64_t)dtype_size((Dtype)t->dt);
    for (int64_t k = 0; k < n; k++) {
        Wide v = ops_load((Dtype)t->dt, (const char *)from + (at * n + k) * size);
        to[k] = dtype_complex((Dtype)t->dt) ? number(v.f, v.im) : number((Real)v.i, 0);
    }
}

static void store(const Type *t, void *to, int64_t at, int64_t n, const Number *from)
{
    int64_t size = (int64_t)dtype_size((Dtype)t->dt);
    for (int64_t k = 0; k < n; k++)
        ops_store((Dtype)t->dt, (char *)to + (at * n + k) * size,
            (Wide){ .f = creall(from[k]), .im = cimagl(from[k]), .i = (int64_t)creall(from[k]) });
}

int complex_stack_eval(ComplexEval *f, const Ins *i, const Type *const *t, const void *const *in,
    const Type *u, void *const *out)
{
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
        f(i, s, x, y);
        for (int k = 0; k < i->nout; k++)
            store(&u[k], out[k], at, ny[k], y[k]);
    }
    for (int k = 0; k < MOST; k++)
        free(x[k]), free(y[k]);
    return (int)error_code();
}

/* ==================== cholesky */

void complex_cholesky(const Ins *i, const Stack *s, Number *const *in, Number *const *out)
{
    (void)i;
    int64_t n = s->rows;
    Number *l = out[0];
    bool good = true;
    for (int64_t j = 0; j < n; j++)
        for (int64_t r = 0; r < n; r++) {
            Number v = r < j ? 0 : in[0][r * n + j];
            for (int64_t k = 0; k < j && r >= j; k++)
                v -= l[r * n + k] * conjl(l[j * n + k]);
            good = good && (r != j || creall(v) > 0);
            l[r * n + j] = r < j ? 0 : r == j ? sqrtl(creall(v)) : v / creall(l[j * n + j]);
        }
    for (int64_t k = 0; k < n * n && !good; k++)
        l[k] = k % n > k / n ? 0 : number(NAN, NAN);
}

/* ==================== qr */

/* H = 1 - tau v v', H' makes (beta, 0 ...) of x; as reflector() in linalg_factor.c. */
static Number reflector(Number *x, int64_t n, int64_t step, Real *beta)
{
    Real rest = 0;
    Number first = x[0];
    for (int64_t k = 1; k < n; k++)
        rest = hypotl(rest, cabsl(x[k * step]));
    *beta = creall(first);
    if (rest == 0 && cimagl(first) == 0)
        return 0;
    *beta = -copysignl(hypotl(cabsl(first), rest), creall(first));
    for (int64_t k = 1; k < n; k++)
        x[k * step] /= first - *beta;
    return (*beta - first) / *beta;
}

/* a = (1 - tau v v') a. The parameters are those of LAPACK's larf. */
static void reflect(
    const Number *v, int64_t n, int64_t step, Number tau, Number *a, int64_t columns, int64_t row)
{
    for (int64_t c = 0; c < columns; c++) {
        Number w = a[c];
        for (int64_t k = 1; k < n; k++)
            w += conjl(v[k * step]) * a[k * row + c];
        for (int64_t k = 0; k < n; k++)
            a[k * row + c] -= tau * w * (k ? v[k * step] : 1);
    }
}

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
            reflect(v, m - j, n, conjl(tau[j]), v + 1, n - j - 1, n);
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

void complex_qr(const Ins *i, const Stack *s, Number *const *in, Number *const *out)
{
    int64_t m = s->rows, n = s->columns;
    factor(in[0], m, n, ins_int(i, ATTR(qr, full)) || m < n ? m : n, out[0], out[1]);
}

/* ==================== lu, solve */

/* As eliminate() in linalg_lu.c, with its parameters. */
static void eliminate(Number *a, int64_t m, int64_t n, Number *b, int64_t sides, Number *pivot, Number *at)
{
    for (int64_t c = 0; c < m && c < n; c++) {
        int64_t p = c;
        for (int64_t r = c + 1; r < m; r++)
            p = parts(a[r * n + c]) > parts(a[p * n + c]) ? r : p;
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

void complex_lu(const Ins *i, const Stack *s, Number *const *in, Number *const *out)
{
    (void)i;
    memcpy(out[0], in[0], sizeof(Number) * (size_t)(s->rows * s->columns));
    for (int64_t r = 0; r < s->rows; r++)
        out[2][r] = (Real)r;
    eliminate(out[0], s->rows, s->columns, NULL, 0, out[1], out[2]);
}

void complex_solve(const Ins *i, const Stack *s, Number *const *in, Number *const *out)
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
        for (int64_t r = n - 1; r >= 0; r--)
            for (int64_t j = 0; j < sides; j++) {
                for (int64_t c = r + 1; c < n; c++)
                    x[r * sides + j] -= a[r * n + c] * x[c * sides + j];
                x[r * sides + j] /= a[r * n + r];
            }
    }
    free(a), free(at);
}

/* ==================== rotations */

typedef struct Rotation {
    Real c;
    Number s, t; /* x' = c x - s y, y' = t x + c y */
} Rotation;

/* Of two columns whose squares are a and b, and whose product x' y is g: orthogonal afterwards. y is turned
 * by g's phase first, so that g is real. */
static Rotation rotation(Real a, Real b, Number g)
{
    Real size = cabsl(g), z = (b - a) / (2 * size),
         t = copysignl(1, z) / (fabsl(z) + sqrtl(1 + z * z)), c = 1 / sqrtl(1 + t * t);
    Number phase = g / size;
    return (Rotation){ c, c * t * conjl(phase), c * t * phase };
}

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
        if (!isfinite(creall(a[k])) || !isfinite(cimagl(a[k])))
            return false;
    return true;
}

static void fill(Number *a, int64_t n, Number v)
{
    for (int64_t k = 0; k < n; k++)
        a[k] = v;
}

static void identity(Number *v, int64_t n)
{
    for (int64_t k = 0; k < n * n; k++)
        v[k] = k / n == k % n;
}

/* Columns, as rows of x of length m, and of v of length n, by their values; down: the largest first. Three
 * arrays with their lengths are the parameters. */
static void order(Number *w, int64_t count, Number *x, int64_t m, Number *v, int64_t n, bool down)
{
    const Rotation swap = { 0, -1, 1 }; /* they change places */
    for (int64_t k = 0; k < count; k++)
        for (int64_t j = k; j > 0; j--) {
            Real step = creall(w[j]) - creall(w[j - 1]);
            if (!(down ? step > 0 : step < 0))
                break;
            rotate(w + j - 1, w + j, 1, 1, swap);
            rotate(x + (j - 1) * m, x + j * m, m, 1, swap);
            if (v)
                rotate(v + (j - 1) * n, v + j * n, n, 1, swap);
        }
}

enum { SWEEPS = 60 };

/* Rows of x are columns of m numbers, which become orthogonal; the same is done to rows of v, of n numbers.
 * Two arrays with their sizes are the parameters. */
static void orthogonalise(Number *x, int64_t count, int64_t m, Number *v, int64_t n)
{
    bool moved = true;
    for (int sweep = 0; sweep < SWEEPS && moved; sweep++) {
        moved = false;
        for (int64_t j = 0; j < count; j++)
            for (int64_t k = j + 1; k < count; k++) {
                Real a = 0, b = 0;
                Number g = 0, *p = x + j * m, *q = x + k * m;
                for (int64_t l = 0; l < m; l++)
                    a += norm(p[l]), b += norm(q[l]), g += conjl(p[l]) * q[l];
                if (g == 0 || cabsl(g) <= 4 * LDBL_EPSILON * sqrtl(a * b))
                    continue;
                Rotation r = rotation(a, b, g);
                moved = true;
                rotate(p, q, m, 1, r);
                rotate(v + j * n, v + k * n, n, 1, r);
            }
    }
}

/* ==================== eigh: of the columns of a, moved until it is positive: they become multiples of its
 * vectors */

void complex_eigh(const Ins *i, const Stack *s, Number *const *in, Number *const *out)
{
    int64_t n = s->rows;
    Number *x = ops_temp((size_t)(n * n), sizeof *x), *v = ops_temp((size_t)(n * n), sizeof *v), *w = out[0];
    Real by = 0;
    (void)i;
    for (int64_t k = 0; x && k < n * n; k++) { /* row k / n is that column */
        int64_t r = k % n, c = k / n;
        x[k] = r > c ? in[0][r * n + c] : r == c ? creall(in[0][r * n + c]) : conjl(in[0][c * n + r]);
        by = hypotl(by, cabsl(x[k]));
    }
    if (x && v && !finite_all(x, n * n)) {
        fill(w, n, NAN), fill(out[1], n * n, number(NAN, NAN));
    } else if (x && v) {
        by = by == 0 ? 1 : by * 1.5L;
        for (int64_t k = 0; k < n; k++)
            x[k * n + k] += by;
        identity(v, n);
        orthogonalise(x, n, n, v, n);
        for (int64_t k = 0; k < n; k++) { /* (a + by) v is in x: its length is w + by */
            Number product = 0;
            for (int64_t l = 0; l < n; l++)
                product += conjl(v[k * n + l]) * x[k * n + l];
            w[k] = creall(product) - by;
        }
        order(w, n, x, n, v, n, false);
        for (int64_t k = 0; k < n * n; k++)
            out[1][k] = v[k % n * n + k / n];
    }
    free(x), free(v);
}

/* ==================== svd */

/* As real_svd() in linalg_spectral.c. Four matrices and three lengths are the parameters. */
static void tall(Number *x, int64_t m, int64_t n, int64_t p, Number *u, Number *s, Number *v)
{
    Number *r = ops_temp((size_t)(p * n), sizeof *r), *a = ops_temp((size_t)(m * n), sizeof *a);
    identity(v, n);
    orthogonalise(x, n, m, v, n);
    for (int64_t j = 0; j < n; j++) {
        Real length = 0;
        for (int64_t l = 0; l < m; l++)
            length = hypotl(length, cabsl(x[j * m + l]));
        s[j] = length;
    }
    order(s, n, x, m, v, n, true);
    if (a && r) {
        for (int64_t k = 0; k < m * n; k++)
            a[k] = x[k % n * m + k / n];
        factor(a, m, n, p, u, r); /* orthogonal columns, where some are zero, too */
        for (int64_t k = 0; k < m * p; k++)
            u[k] = k % p < n && creall(r[k % p * n + k % p]) < 0 ? -u[k] : u[k];
    }
    free(a), free(r);
}

void complex_svd(const Ins *i, const Stack *st, Number *const *in, Number *const *out)
{
    int64_t m = st->rows, n = st->columns, k = m < n ? m : n, big = m < n ? n : m;
    int64_t p = ins_int(i, ATTR(svd, full)) ? m : k, q = ins_int(i, ATTR(svd, full)) ? n : k,
            side = m < n ? q : p;
    if (!finite_all(in[0], m * n)) {
        Number nan = number(NAN, NAN);
        fill(out[0], m * p, nan), fill(out[1], k, NAN), fill(out[2], q * n, nan);
        return;
    }
    Number *x = ops_temp((size_t)(m * n), sizeof *x), *u = ops_temp((size_t)(big * side), sizeof *u),
           *v = ops_temp((size_t)(k * k), sizeof *v);
    if (x && u && v) { /* of a, or where it is wide of its adjoint, whose columns are rows of x */
        for (int64_t j = 0; j < m * n; j++)
            x[j] = m < n ? conjl(in[0][j]) : in[0][j % m * n + j / m];
        tall(x, big, k, side, u, out[1], v);
        for (int64_t j = 0; j < m * p; j++)
            out[0][j] = m < n ? v[j % p * k + j / p] : u[j];
        for (int64_t j = 0; j < q * n; j++)
            out[2][j] = conjl(m < n ? u[j % n * side + j / n] : v[j]);
    }
    free(x), free(u), free(v);
}
