/*
 * fft.c - the discrete Fourier transform along an axis, of numbers as two parts: re, im -> re, im.
 *
 *     z'[k] = sum over j of z[j] exp(-2 pi i j k / n)
 *
 * inverse: with the other sign, and not divided by n.
 *
 * It is linear, and its matrix symmetric: with C and S the cosines and sines, re' = C re + S im and
 * im' = C im - S re, so the transpose of all of it is the transform with the other sign.
 *
 * On the host a length is cut by its smallest prime again and again (Cooley and Tukey), and a prime above
 * DIRECT is a convolution of a power of two (Bluestein), all in the widest numbers there are.
 */
#define _GNU_SOURCE
#include <complex.h>
#include <math.h>
#include <stdlib.h>

#include "ops.h"

#undef I

enum { DIRECT = 64 };
typedef long double _Complex Number;

static int fft_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    struct fft_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e)
        return e;
    if (t[0]->dt != DT_F32 && t[0]->dt != DT_F64)
        return error_set(E_DTYPE, "fft: %s: parts are f32 or f64; convert to one of them", type_text(t[0]));
    if (!type_equal(t[0], t[1]))
        return error_set(E_SHAPE, "fft: the real parts are %s and the imaginary ones %s; they have one type",
            type_text(t[0]), type_text(t[1]));
    if ((e = ops_axis(op, t[0], a.axis.v[0])))
        return e;
    if (a.inverse.v[0] != 0 && a.inverse.v[0] != 1)
        return error_set(E_INVAL, "fft: inverse is 0 or 1, not %lld", (long long)a.inverse.v[0]);
    out[0] = out[1] = *t[0];
    return 0;
}

void Fft(Ref re, Ref im, int axis, bool inverse, Ref *z)
{
    z[0] = z[1] = 0;
    emit_n(OP_fft, 2, (const Ref[]){ re, im }, ATTRS(1, axis, 1, inverse), z);
}

/* A part that is zero is not there. */
static void transformed(const Ins *i, Ref re, Ref im, bool inverse, Ref *z)
{
    Ref some = re ? re : im;
    z[0] = z[1] = 0;
    if (some)
        Fft(re ? re : Like(some, 0), im ? im : Like(some, 0), (int)ins_int(i, ATTR(fft, axis)), inverse, z);
}

static void fft_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)x, (void)z;
    transformed(i, t[0], t[1], ins_int(i, ATTR(fft, inverse)), tz);
}

static void fft_transpose(const Ins *i, const Ref *ct, Cts *cts)
{
    Ref z[2];
    transformed(i, ct[0], ct[1], !ins_int(i, ATTR(fft, inverse)), z);
    for (int k = 0; k < 2; k++)
        ct_add(cts, i->in[k], z[k]);
}

static void fft_batch(const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    Fft(stacked(x[0], s[0], ax->lane.size), stacked(x[1], s[1], ax->lane.size),
        (int)ins_int(i, ATTR(fft, axis)) + 1, ins_int(i, ATTR(fft, inverse)), out);
    so[0] = so[1] = STACKED;
}

/* ==================== on the host */

/* w[m] = exp(-2 pi i m / n); NULL after an error. */
static Number *roots(int64_t n)
{
    Number *w = ops_temp((size_t)n, sizeof *w);
    for (int64_t m = 0; w && m < n; m++) {
        long double angle = 2 * 3.14159265358979323846264338327950288L * (long double)m / (long double)n;
        w[m] =
            __builtin_complex(4 * m == n || 4 * m == 3 * n ? 0 : cosl(angle), 2 * m == n ? 0 : -sinl(angle));
    }
    return w;
}

static int64_t smallest_prime(int64_t n)
{
    for (int64_t p = 2; p * p <= n; p++)
        if (n % p == 0)
            return p;
    return n;
}

/* n numbers that are `step` apart; w: the roots of some length that n divides. */
typedef struct Line {
    const Number *x;
    int64_t n, step;
} Line;
typedef struct Roots {
    const Number *w;
    int64_t n;
} Roots;

static bool transform(Line, Number *y, Roots);

/* j k = (j^2 + k^2 - (k - j)^2) / 2: numbers by a chirp, a convolution with its conjugate, by the chirp
 * again. */
static bool chirp(Line l, Number *y)
{
    int64_t n = l.n, m = 1;
    while (m < 2 * n - 1)
        m *= 2;
    Number *w = roots(2 * n), *r = roots(m), *a = ops_temp((size_t)m, sizeof *a),
           *b = ops_temp((size_t)m, sizeof *b), *fa = ops_temp((size_t)m, sizeof *fa),
           *fb = ops_temp((size_t)m, sizeof *fb);
    bool ok = w && r && a && b && fa && fb;
#define CHIRP(j) w[(int64_t)((__int128)(j) * (j) % (2 * n))]
    for (int64_t j = 0; ok && j < m; j++) {
        int64_t back = m - j;
        a[j] = j < n ? l.x[j * l.step] * CHIRP(j) : 0;
        b[j] = j < n ? conjl(CHIRP(j)) : back < n ? conjl(CHIRP(back)) : 0;
    }
    ok = ok && transform((Line){ a, m, 1 }, fa, (Roots){ r, m }) &&
        transform((Line){ b, m, 1 }, fb, (Roots){ r, m });
    for (int64_t j = 0; ok && j < m; j++)
        a[j] = conjl(fa[j] * fb[j]);
    ok = ok && transform((Line){ a, m, 1 }, fa, (Roots){ r, m });
    for (int64_t j = 0; ok && j < n; j++)
        y[j] = conjl(fa[j]) * CHIRP(j) / (long double)m;
#undef CHIRP
    free(w), free(r), free(a), free(b), free(fa), free(fb);
    return ok;
}

/* Of n = p m: p transforms of m, each of numbers that are p apart, then m of p. */
static bool transform(Line l, Number *y, Roots r)
{
    int64_t n = l.n, p = smallest_prime(n), m = n / p, apart = r.n / n;
    if (n == 1) {
        y[0] = l.x[0];
        return true;
    }
    if (p == n && n > DIRECT)
        return chirp(l, y);
    Number *t = ops_temp((size_t)p, sizeof *t);
    bool ok = t;
    for (int64_t j = 0; ok && j < p; j++)
        ok = transform((Line){ l.x + j * l.step, m, p * l.step }, y + j * m, r);
    for (int64_t k = 0; ok && k < m; k++) {
        for (int64_t j = 0; j < p; j++)
            t[j] = y[j * m + k] * r.w[j * k * apart];
        for (int64_t q = 0; q < p; q++) {
            Number s = t[0];
            for (int64_t j = 1; j < p; j++)
                s += t[j] * r.w[j * q % p * m * apart];
            y[q * m + k] = s;
        }
    }
    free(t);
    return ok;
}

static int fft_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    (void)u;
    Dtype dt = (Dtype)t[0]->dt;
    size_t size = dtype_size(dt);
    bool inverse = ins_int(i, ATTR(fft, inverse));
    Ints axis = ints_fill(1, ins_int(i, ATTR(fft, axis)));
    int64_t lines, n, *line = ops_offsets(t[0], ints_others(t[0]->rank, axis), &lines),
                      *along = ops_offsets(t[0], axis, &n);
    Number *x = ops_temp((size_t)n, sizeof *x), *y = ops_temp((size_t)n, sizeof *y), *w = roots(n);
    bool ok = line && along && x && y && w;
    for (int64_t k = 0; ok && k < lines && n; k++) {
        for (int64_t j = 0; j < n; j++) {
            size_t at = (size_t)(line[k] + along[j]) * size;
            long double re = ops_load(dt, (const char *)in[0] + at).f,
                        im = ops_load(dt, (const char *)in[1] + at).f;
            x[j] = inverse ? __builtin_complex(im, re) : __builtin_complex(re, im);
        }
        ok = transform((Line){ x, n, 1 }, y, (Roots){ w, n });
        for (int64_t j = 0; ok && j < n; j++) {
            size_t at = (size_t)(line[k] + along[j]) * size;
            ops_store(dt, (char *)out[inverse] + at, (Wide){ .f = __real__ y[j] });
            ops_store(dt, (char *)out[!inverse] + at, (Wide){ .f = __imag__ y[j] });
        }
    }
    free(line), free(along), free(x), free(y), free(w);
    return ok ? 0 : error_code();
}

const Rules rules_fft = { fft_infer, fft_jvp, fft_transpose, fft_batch, fft_eval };
