/*
 * ops_fft.c - Fourier transforms along one axis or several, of real numbers and of complex ones.
 *
 * Numbers are two parts, which the op `fft` transforms. A line of 2 h real numbers is transformed as h
 * complex ones: those at even places are their real parts, those at odd places the imaginary ones. What
 * even and odd numbers give is told apart by a symmetry (the frequencies of real numbers at k and -k are
 * conjugates), and put together with exp(-2 pi i k / n), as a step of any transform. Back from frequencies
 * it is the same in reverse.
 */
#include <math.h>
#include <stdlib.h>

#include "formulas.h"

typedef struct Parts {
    Ref re, im;
} Parts;

static Ref imaginary(Ref im, Ref re) { return im || !re ? im : Like(re, 0); }
static Parts nothing(void) { return (Parts){ 0 }; }
static bool there(Parts x) { return x.re && x.im; }

/* Of n numbers; inverse: with the other sign, divided by n. */
static Parts along(Parts x, int axis, bool inverse)
{
    Ref z[2] = { 0 };
    if (!x.re)
        return nothing();
    Fft(x.re, imaginary(x.im, x.re), axis, inverse, z);
    if (!z[0] || !z[1])
        return nothing();
    Ref n = Like(z[0], (double)typ(z[0])->dim[axis]);
    return inverse ? (Parts){ Div(z[0], n), Div(z[1], n) } : (Parts){ z[0], z[1] };
}

/* ==================== real numbers, two by two */

/* exp(-2 pi i k / n) for k < count, along an axis of x. */
static Parts turns(Ref x, int axis, int64_t n, int64_t count)
{
    Dtype d = (Dtype)typ(x)->dt;
    size_t size = dtype_size(d);
    char *w = malloc(2 * (size_t)count * size);
    if (!w)
        return error_set(E_NOMEM, "no memory for %lld constants of a Fourier transform", (long long)count),
               nothing();
    for (int64_t k = 0; k < count; k++) {
        long double angle = 2 * 3.14159265358979323846264338327950288L * (long double)k / (long double)n;
        dtype_store_f(d, w + (size_t)k * size, (double)(4 * k == n ? 0 : cosl(angle)));
        dtype_store_f(d, w + (size_t)(count + k) * size, (double)(2 * k == n ? 0 : -sinl(angle)));
    }
    Type t = type_of(d, 1, &count);
    Parts p = { Data(t, w), Data(t, w + (size_t)count * size) };
    free(w);
    Ints shape = shape_of(x), dims = ints1(axis);
    return (Parts){ Broadcast(p.re, shape, dims), Broadcast(p.im, shape, dims) };
}

static Parts times(Parts x, Parts y)
{
    return (Parts){ Sub(Mul(x.re, y.re), Mul(x.im, y.im)), Add(Mul(x.re, y.im), Mul(x.im, y.re)) };
}

static Ref every_second(Ref x, int axis, int from)
{
    Ints start = ints_fill(typ(x)->rank, 0), step = ints_fill(typ(x)->rank, 1);
    start.v[axis] = from, step.v[axis] = 2;
    return Slice(x, start, shape_of(x), step);
}

/* The sum and the difference of numbers at k and conjugates of those at h - k, halved. */
static void told_apart(Parts x, int axis, Parts *sum, Parts *less)
{
    Parts back = { Reverse(x.re, ints1(axis)), Reverse(x.im, ints1(axis)) };
    Ref half = Like(x.re, 0.5);
    *sum = (Parts){ Mul(Add(x.re, back.re), half), Mul(Sub(x.im, back.im), half) };
    *less = (Parts){ Mul(Sub(x.re, back.re), half), Mul(Add(x.im, back.im), half) };
}

/* n = 2 h numbers: h + 1 frequencies. */
static Parts of_pairs(Ref x, int axis)
{
    int64_t n = typ(x)->dim[axis];
    Parts z = along((Parts){ every_second(x, axis, 0), every_second(x, axis, 1) }, axis, false), even, odd;
    if (!there(z))
        return nothing();
    z = (Parts){ join(z.re, take_range(z.re, axis, 0, 1), axis),
        join(z.im, take_range(z.im, axis, 0, 1), axis) };
    told_apart(z, axis, &even, &odd);
    odd = times((Parts){ odd.im, Neg(odd.re) }, turns(z.re, axis, n, n / 2 + 1));
    return (Parts){ Add(even.re, odd.re), Add(even.im, odd.im) };
}

/* h + 1 frequencies: 2 h numbers. The first and the last have no imaginary part. */
static Ref to_pairs(Parts x, int axis)
{
    int64_t h = typ(x.re)->dim[axis] - 1;
    Type t = *typ(x.re);
    t.dt = DT_I32;
    Ref k = Iota(t, axis), ends = Or(Eq(k, Like(k, 0)), Eq(k, Like(k, (double)h)));
    Parts even, odd;
    told_apart((Parts){ x.re, Select(ends, Like(x.im, 0), x.im) }, axis, &even, &odd);
    Parts w = turns(x.re, axis, 2 * h, h + 1);
    odd = times(odd, (Parts){ w.re, Neg(w.im) });
    Parts z = { Sub(even.re, odd.im), Add(even.im, odd.re) };
    z = along((Parts){ take_range(z.re, axis, 0, h), take_range(z.im, axis, 0, h) }, axis, true);
    if (!there(z))
        return 0;
    Ints both = shape_of(z.re);
    both.v[axis] *= 2;
    return Reshape(join(unsqueeze(z.re, axis + 1), unsqueeze(z.im, axis + 1), axis + 1), both);
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
static Ref whole(Parts x) { return x.re ? Complex(x.re, imaginary(x.im, x.re)) : 0; }

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
    Parts p = n && n % 2 == 0 ? of_pairs(r, axis) : along((Parts){ r, 0 }, axis, false);
    if (!there(p))
        return HD_NIL;
    p = (Parts){ take_range(p.re, axis, 0, n ? n / 2 + 1 : 0),
        take_range(p.im, axis, 0, n ? n / 2 + 1 : 0) };
    for (int k = a.n - 1; k-- > 0;)
        p = along(p, a.at[k], false);
    return sym_of(whole(p));
}

/* The n / 2 + 1 frequencies that n real numbers have: of fewer the rest is 0, more are left out. */
static Ref half_of(Ref x, int axis, int64_t n)
{
    int64_t half = n / 2 + 1, have = x ? typ(x)->dim[axis] : 0;
    if (!x)
        return 0;
    return have > half ? take_range(x, axis, 0, half) :
        have < half    ? pad_axis(x, axis, 0, half - have, Const((Dtype)typ(x)->dt, 0)) :
                         x;
}

/* x[0], x[1] .. and back again, with the other sign in the imaginary part: all frequencies of n real
 * numbers. */
static Ref mirrored(Ref x, int axis, int64_t n, bool odd)
{
    if (!x)
        return 0;
    int64_t half = n / 2 + 1;
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
    p = (Parts){ half_of(p.re, axis, n), half_of(imaginary(p.im, p.re), axis, n) };
    if (!there(p))
        return HD_NIL;
    if (n % 2 == 0)
        return sym_of(to_pairs(p, axis));
    return sym_of(
        along((Parts){ mirrored(p.re, axis, n, false), mirrored(p.im, axis, n, true) }, axis, true).re);
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
