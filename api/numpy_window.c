/*
 * numpy_window.c - window functions of n points, symmetric, as numpy's: hanning, hamming, blackman,
 * bartlett, kaiser.
 */
#include "formulas.h"

/* 0 .. n - 1 by n - 1, computed in f32 at least; of one point, or none, HD_NIL and *all is what there is. */
static Ref places(const char *what, enum hd_dtype d, int64_t n, Ref *all)
{
    *all = 0;
    if (!real_dtype(what, (Dtype)d))
        return 0;
    if (!dtype_float((Dtype)d) || n < 0) {
        error_set(E_INVAL, "%s: %lld points of %s; a float dtype and a size are wanted", what, (long long)n,
            dtype_name((Dtype)d));
        return 0;
    }
    Type t = type_of(dtype_size((Dtype)d) < 4 ? DT_F32 : (Dtype)d, 1, &n);
    Ref k = Iota(t, 0);
    if (n < 2)
        *all = Convert(Add(k, Like(k, 1)), (Dtype)d);
    return n < 2 ? 0 : Div(k, Like(k, (double)(n - 1)));
}

/* a + b cos(2 pi x) + c cos(4 pi x) */
static hd cosines(const char *what, enum hd_dtype d, int64_t n, const double *c)
{
    Ref all, x = places(what, d, n, &all);
    if (!x)
        return sym_of(all);
    Ref y = Add(Like(x, c[0]), Mul(Like(x, c[1]), Cos(Mul(x, Like(x, 2 * PI)))));
    if (c[2] != 0)
        y = Add(y, Mul(Like(x, c[2]), Cos(Mul(x, Like(x, 4 * PI)))));
    return sym_of(Convert(y, (Dtype)d));
}

hd hd_hanning(enum hd_dtype d, int64_t n)
{
    OP(hd_hanning);
    return cosines("hd_hanning", d, n, (const double[]){ 0.5, -0.5, 0 });
}

hd hd_hamming(enum hd_dtype d, int64_t n)
{
    OP(hd_hamming);
    return cosines("hd_hamming", d, n, (const double[]){ 0.54, -0.46, 0 });
}

hd hd_blackman(enum hd_dtype d, int64_t n)
{
    OP(hd_blackman);
    return cosines("hd_blackman", d, n, (const double[]){ 0.42, -0.5, 0.08 });
}

hd hd_bartlett(enum hd_dtype d, int64_t n)
{
    OP(hd_bartlett);
    Ref all, x = places("hd_bartlett", d, n, &all);
    if (!x)
        return sym_of(all);
    Ref one = Like(x, 1);
    return sym_of(Convert(Sub(one, Abs(Sub(Add(x, x), one))), (Dtype)d));
}

/* I0(beta sqrt(1 - (2x - 1)^2)) / I0(beta) */
hd hd_kaiser(enum hd_dtype d, int64_t n, double beta)
{
    OP(hd_kaiser);
    Ref all, x = places("hd_kaiser", d, n, &all);
    if (!x)
        return sym_of(all);
    Ref one = Like(x, 1), b = Abs(Like(x, beta)), at = Mul(b, Sqrt(Mul(Mul(x, Sub(one, x)), Like(x, 4))));
    Ref y = Div(Mul(BesselI0e(at), Exp(Sub(at, b))), BesselI0e(b));
    return sym_of(Convert(y, (Dtype)d));
}
