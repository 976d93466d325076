/*
 * ops_fft.c - Fourier transforms, of any length, along one axis or several.
 *
 * A transform of length n is a product with the matrix of exp(-2 pi i j k / n), and is computed as one where
 * n is at most LEAF. Longer ones are cut in two: of n = a b numbers, as a rows of b,
 *
 *     transform the columns, multiply element (k, j) by exp(-2 pi i j k / n), transform the rows, and read
 *     the result by columns
 *
 * where a is at most LEAF and b is cut again: Cooley and Tukey, "An algorithm for the machine calculation of
 * complex Fourier series" (1965), in the order of Bailey, "FFTs in external or hierarchical memory" (1990).
 * Rows and columns are views. A length with a prime factor above DIRECT is a convolution of a power of two:
 * Bluestein, "A linear filtering approach to the computation of discrete Fourier transform" (1970).
 *
 * All is products, sums and constants, so lanes and derivatives are theirs: a transform is linear. Numbers
 * are pairs of parts here; a real number has no imaginary one, and nothing is computed for it.
 */
#include <math.h>
#include <stdlib.h>

#include "formulas.h"

enum { LEAF = 16, DIRECT = 64, TABLE = 1 << 14 };

typedef struct Parts {
    Ref re, im;
} Parts; /* im: 0 where all are real */

static Parts swapped(Parts x) { return (Parts){ x.im ? x.im : x.re ? Like(x.re, 0) : 0, x.re }; }
static Parts reshaped(Parts x, Ints s) { return (Parts){ Reshape(x.re, s), x.im ? Reshape(x.im, s) : 0 }; }
static Parts moved(Parts x, int from, int to)
{
    return (Parts){ x.re ? MoveAxis(x.re, from, to) : 0, x.im ? MoveAxis(x.im, from, to) : 0 };
}

/* ==================== constants: exp(-2 pi i m / n) at computed places */

typedef int64_t Place(int64_t k, int64_t j, int64_t n);
static int64_t by_both(int64_t k, int64_t j, int64_t n) { return (int64_t)((__int128)k * j % n); }
/* of n = 2 m: j^2 / 2m, whatever k is */
static int64_t by_square(int64_t k, int64_t j, int64_t n) { return (void)k, (int64_t)((__int128)j * j % n); }

/* [rows, columns], or [columns] where there is one row; columns are `step` apart. */
static Parts roots(Dtype d, int64_t n, Place *place, int64_t rows, int64_t columns, int64_t step)
{
    size_t size = dtype_size(d), all = (size_t)(rows * columns);
    char *w[2] = { malloc(all * size + 1), malloc(all * size + 1) };
    Parts p = { 0 };
    for (size_t at = 0; w[0] && w[1] && at < all; at++) {
        int64_t m = place((int64_t)at / columns, (int64_t)at % columns * step, n);
        long double angle = 2 * 3.14159265358979323846264338327950288L * (long double)m / (long double)n;
        dtype_store_f(d, w[0] + at * size, (double)(4 * m == n || 4 * m == 3 * n ? 0 : cosl(angle)));
        dtype_store_f(d, w[1] + at * size, (double)(2 * m == n ? 0 : -sinl(angle)));
    }
    const int64_t dim[2] = { rows, columns };
    Type t = rows == 1 ? type_of(d, 1, dim + 1) : type_of(d, 2, dim);
    if (w[0] && w[1])
        p = (Parts){ Data(t, w[0]), Data(t, w[1]) };
    else
        error_set(E_NOMEM, "no memory for %zu constants of a Fourier transform", all);
    free(w[0]), free(w[1]);
    return p;
}

/* ==================== products */

static Parts times(Parts x, Parts y)
{
    if (!x.im)
        return (Parts){ Mul(x.re, y.re), Mul(x.re, y.im) };
    return (Parts){ Sub(Mul(x.re, y.re), Mul(x.im, y.im)), Add(Mul(x.re, y.im), Mul(x.im, y.re)) };
}

/* w, along the axes from `axis` on, for each element of x. */
static Parts over(Parts w, int axis, Ref x)
{
    Ints dims = w.re ? ints_run(axis, axis + typ(w.re)->rank) : (Ints){ 0 };
    return (Parts){ Broadcast(w.re, shape_of(x), dims), Broadcast(w.im, shape_of(x), dims) };
}

/* [re im] of n numbers times the matrix of their transform, as one product of reals: rows of it are the real
 * parts of all frequencies, then the imaginary ones. */
static Ref matrix(Dtype d, int64_t n, bool real)
{
    Parts f = roots(d, n, by_both, n, n, 1);
    if (!f.re || !f.im)
        return 0;
    Ref left = join(f.re, f.im, 0);
    return real ? left : join(left, join(Neg(f.im), f.re, 0), 1);
}

/* Along an axis. What is behind it stays behind it, so that all of it is read and written in rows. */
static Parts by_matrix(Parts x, int axis)
{
    int last = x.re ? typ(x.re)->rank - 1 : 0;
    int64_t n = x.re ? typ(x.re)->dim[axis] : 0;
    if (n <= 1)
        return x;
    Ints at = ints1(axis), second = ints1(1), none = { 0 };
    Ref w = matrix((Dtype)typ(x.re)->dt, n, !x.im), z = x.im ? join(x.re, x.im, axis) : x.re;
    if (!w || !z)
        return (Parts){ 0 };
    Ref y = axis == last ? Dot(z, w, at, second, none, none, DT_NONE) :
                           MoveAxis(Dot(w, z, second, at, none, none, DT_NONE), 0, axis);
    return (Parts){ take_range(y, axis, 0, n), take_range(y, axis, n, 2 * n) };
}

/* ==================== along the last axis */

static Parts transformed(Parts x);

/* Element (k, j) of the last two axes by exp(-2 pi i j k / n). A long table is the product of two: columns
 * that are `part` apart, and what is between them. */
static Parts twiddled(Parts x, int64_t n)
{
    int row = typ(x.re)->rank - 2;
    int64_t a = typ(x.re)->dim[row], b = typ(x.re)->dim[row + 1], part = 1;
    Dtype d = (Dtype)typ(x.re)->dt;
    while (part * part < b && a * b > TABLE)
        part = b % (2 * part) ? b : 2 * part;
    if (part == 1 || part >= b)
        return times(x, over(roots(d, n, by_both, a, b, 1), row, x.re));
    Ints whole = shape_of(x.re), cut = whole;
    cut.v[row + 1] = b / part, cut.v[cut.n++] = part;
    Parts y = reshaped(x, cut), far = roots(d, n, by_both, a, b / part, part),
          near = roots(d, n, by_both, a, part, 1);
    Ints dims = ints_run(row, row + 1);
    dims.v[dims.n++] = row + 2;
    near = (Parts){ Broadcast(near.re, cut, dims), Broadcast(near.im, cut, dims) };
    return reshaped(times(y, times(over(far, row, y.re), near)), whole);
}

static Parts in_two(Parts x, int64_t a)
{
    Ints whole = shape_of(x.re), cut = whole;
    int last = whole.n - 1;
    int64_t n = whole.v[last];
    cut.v[last] = a, cut.v[cut.n++] = n / a;
    x = by_matrix(reshaped(x, cut), last);
    x = x.re && x.im ? transformed(twiddled(x, n)) : (Parts){ 0 };
    return x.re && x.im ? reshaped(moved(x, last + 1, last), whole) : x;
}

static int64_t largest_prime(int64_t n)
{
    int64_t most = 1;
    for (int64_t p = 2; p * p <= n; p++)
        for (; n % p == 0; n /= p)
            most = p;
    return n > 1 ? n : most;
}

/* j k = (j^2 + k^2 - (k - j)^2) / 2: numbers by a chirp, a convolution with its conjugate, by the chirp
 * again. The convolution is a product of transforms of m >= 2n - 1 numbers. */
static Parts by_chirp(Parts x)
{
    int last = typ(x.re)->rank - 1;
    int64_t n = typ(x.re)->dim[last], m = 1;
    Dtype d = (Dtype)typ(x.re)->dt;
    while (m < 2 * n - 1)
        m *= 2;
    Parts w = roots(d, 2 * n, by_square, 1, n, 1), y = times(x, over(w, last, x.re));
    Ref zero = Const(d, 0);
    if (!y.re || !y.im || !w.re || !w.im)
        return (Parts){ 0 };
    y = (Parts){ pad_axis(y.re, last, 0, m - n, zero), pad_axis(y.im, last, 0, m - n, zero) };
    Ref c[2] = { w.re, Neg(w.im) }; /* the filter: 0 .. n-1, zeros, n-1 .. 1 */
    for (int k = 0; k < 2; k++) {
        Ref back = Reverse(take_range(c[k], 0, 1, n), ints1(0));
        c[k] = join(pad_axis(c[k], 0, 0, m - 2 * n + 1, zero), back, 0);
    }
    y = transformed(y);
    Parts f = transformed((Parts){ c[0], c[1] });
    if (!y.re || !y.im || !f.re || !f.im)
        return (Parts){ 0 };
    y = swapped(transformed(swapped(times(y, over(f, last, y.re)))));
    if (!y.re || !y.im)
        return (Parts){ 0 };
    y = (Parts){ take_range(y.re, last, 0, n), take_range(y.im, last, 0, n) };
    y = times(y, over(w, last, y.re));
    return (Parts){ Div(y.re, Like(y.re, (double)m)), Div(y.im, Like(y.im, (double)m)) };
}

static Parts transformed(Parts x)
{
    if (!x.re)
        return x;
    int last = typ(x.re)->rank - 1;
    int64_t n = typ(x.re)->dim[last], a = LEAF, p = n > LEAF ? largest_prime(n) : 1;
    if (!type_size(typ(x.re)) || n <= LEAF || (n == p && n <= DIRECT))
        return by_matrix(x, last);
    if (p > DIRECT)
        return by_chirp(x);
    if (p > LEAF)
        return in_two(x, p);
    while (n % a)
        a--;
    return in_two(x, a);
}

/* Along any axis. inverse: of n numbers, with the other sign, divided by n. */
static Parts along(Parts x, int axis, bool inverse)
{
    int last = x.re ? typ(x.re)->rank - 1 : 0;
    if (!x.re)
        return x;
    x = moved(x, axis, last);
    Parts y = inverse ? swapped(transformed(swapped(x))) : transformed(x);
    if (inverse && y.re) {
        double n = (double)typ(y.re)->dim[last];
        y = (Parts){ Div(y.re, Like(y.re, n)), y.im ? Div(y.im, Like(y.im, n)) : 0 };
    }
    return moved(y, last, axis);
}

/* ==================== operands */

typedef struct Axes {
    int n, at[MAXRANK];
} Axes;

/* Axes in the order in which they are named; none: the last. */
static bool named_axes(const char *what, Ref x, hd_ints list, Axes *a)
{
    Ints l;
    *a = (Axes){ 0 };
    if (!x || ints_in(what, list, &l))
        return false;
    if (!l.n)
        l = ints1(-1);
    for (int k = 0; k < l.n; k++) {
        int axis = a->at[a->n++] = axis_of(what, l.v[k], typ(x)->rank);
        if (axis < 0)
            return false;
        for (int j = 0; j < k; j++)
            if (a->at[j] == axis) {
                error_set(E_INVAL, "%s: axis %d is named twice", what, axis);
                return false;
            }
    }
    return true;
}

/* Halves are computed in f32. */
static Ref numbers(const char *what, hd x, bool real)
{
    Ref r = to_float(rank_ref(what, x, 1));
    if (r && real && is_complex(r)) {
        error_set(E_DTYPE, "%s: real numbers are wanted, not %s; take hd_real, or use hd_fft", what,
            type_text(typ(r)));
        return 0;
    }
    return r && dtype_half((Dtype)typ(r)->dt) ? Convert(r, DT_F32) : r;
}

static Parts parts_of(Ref x)
{
    return is_complex(x) ? (Parts){ RealPart(x), ImagPart(x) } : (Parts){ x, 0 };
}
static Ref whole(Parts x) { return x.re ? Complex(x.re, x.im ? x.im : Like(x.re, 0)) : 0; }

static hd fft(const char *what, hd x, hd_ints list, bool inverse)
{
    Axes a;
    Ref r = numbers(what, x, false);
    if (!r || !named_axes(what, r, list, &a))
        return HD_NIL;
    Parts p = parts_of(r);
    for (int k = a.n; k-- > 0;)
        p = along(p, a.at[k], inverse);
    return sym_of(whole(p));
}

hd hd_fft_n(hd x, hd_ints axes)
{
    OP(hd_fft_n);
    return fft("hd_fft", x, axes, false);
}
hd hd_ifft_n(hd x, hd_ints axes)
{
    OP(hd_ifft_n);
    return fft("hd_ifft", x, axes, true);
}

hd hd_rfft_n(hd x, hd_ints list)
{
    Axes a;
    OP(hd_rfft_n);
    Ref r = numbers("hd_rfft", x, true);
    if (!r || !named_axes("hd_rfft", r, list, &a))
        return HD_NIL;
    int axis = a.at[a.n - 1];
    int64_t n = typ(r)->dim[axis];
    Parts p = along((Parts){ r, 0 }, axis, false);
    if (!p.re)
        return HD_NIL;
    p.im = p.im ? p.im : Like(p.re, 0);
    p = (Parts){ take_range(p.re, axis, 0, n ? n / 2 + 1 : 0),
        take_range(p.im, axis, 0, n ? n / 2 + 1 : 0) };
    for (int k = a.n - 1; k-- > 0;)
        p = along(p, a.at[k], false);
    return sym_of(whole(p));
}

/* x[0], x[1] .. and back again, with the other sign in the imaginary part: what the transform of n real
 * numbers is. Of a shorter x the rest is 0, of a longer one what is too much is left out. */
static Ref mirrored(Ref x, int axis, int64_t n, bool odd)
{
    int64_t half = n / 2 + 1, have = x ? typ(x)->dim[axis] : 0;
    if (!x)
        return 0;
    x = have > half ? take_range(x, axis, 0, half) :
        have < half ? pad_axis(x, axis, 0, half - have, Const((Dtype)typ(x)->dt, 0)) :
                      x;
    Ref back = Reverse(take_range(x, axis, 1, n - half + 1), ints1(axis));
    return join(x, odd ? Neg(back) : back, axis);
}

hd hd_irfft_n(hd x, int64_t length, hd_ints list)
{
    Axes a;
    OP(hd_irfft_n);
    Ref r = numbers("hd_irfft", x, false);
    if (!r || !named_axes("hd_irfft", r, list, &a))
        return HD_NIL;
    int axis = a.at[a.n - 1];
    int64_t n = length ? length : 2 * (typ(r)->dim[axis] - 1);
    if (n < 1) {
        error_set(E_SHAPE, "hd_irfft: %lld numbers along axis %d of %s: at least one is wanted",
            (long long)n, axis, type_text(typ(r)));
        return HD_NIL;
    }
    Parts p = parts_of(r);
    for (int k = 0; k < a.n - 1; k++)
        p = along(p, a.at[k], true);
    p = (Parts){ mirrored(p.re, axis, n, false), p.im ? mirrored(p.im, axis, n, true) : 0 };
    return sym_of(p.re ? along(p, axis, true).re : 0);
}

/* ==================== frequencies */

/* 0, 1 .. and from the middle on what is below 0, by 1 / (n spacing) */
static hd frequencies(const char *what, enum hd_dtype d, int64_t n, double spacing, bool half)
{
    if (!tracing())
        return HD_NIL;
    if (!dtype_float((Dtype)d)) {
        error_set(E_DTYPE, "%s: frequencies are f16, bf16, f32 or f64", what);
        return HD_NIL;
    }
    if (n < 1 || !(spacing != 0)) {
        error_set(
            E_INVAL, "%s: %lld numbers that are %g apart have no frequencies", what, (long long)n, spacing);
        return HD_NIL;
    }
    Type t = type_of(DT_I32, 1, (int64_t[]){ half ? n / 2 + 1 : n });
    t.dt = type_counter(n);
    Ref k = Iota(t, 0);
    if (!half)
        k = choose(Gt(k, Like(k, (double)((n - 1) / 2))), Sub(k, Like(k, (double)n)), k);
    k = Convert(k, (Dtype)d);
    return sym_of(k ? Div(k, Like(k, (double)n * spacing)) : 0);
}

hd hd_fftfreq(enum hd_dtype d, int64_t n, double spacing)
{
    OP(hd_fftfreq);
    return frequencies("hd_fftfreq", d, n, spacing, false);
}

hd hd_rfftfreq(enum hd_dtype d, int64_t n, double spacing)
{
    OP(hd_rfftfreq);
    return frequencies("hd_rfftfreq", d, n, spacing, true);
}

/* The first half goes behind the second; of an odd number the middle is 0's place. */
static hd shifted(const char *what, hd x, hd_ints list, bool back)
{
    Axes a;
    Ref r = rank_ref(what, x, 1);
    if (!r || !named_axes(what, r, list, &a))
        return HD_NIL;
    for (int k = 0; k < a.n && r; k++) {
        int64_t n = typ(r)->dim[a.at[k]], first = back ? n / 2 : (n + 1) / 2;
        r = join(take_range(r, a.at[k], first, n), take_range(r, a.at[k], 0, first), a.at[k]);
    }
    return sym_of(r);
}

hd hd_fftshift_n(hd x, hd_ints axes)
{
    OP(hd_fftshift_n);
    return shifted("hd_fftshift", x, axes, false);
}
hd hd_ifftshift_n(hd x, hd_ints axes)
{
    OP(hd_ifftshift_n);
    return shifted("hd_ifftshift", x, axes, true);
}
