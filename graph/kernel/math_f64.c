/*
 * math_f64.c - functions in f64.
 *
 * In:  the op and its operands.   Out: a value.
 * Where the device's library has the function it is called (K_CALL): within a few ULP by the OpenCL specification, not the
 * same bits on every device. The others are built from those: logistic, erf_inv (a start by Giles 2010's f32 polynomials, then
 * two steps of Halley's method on erf or erfc), digamma and trigamma (recurrence to 10, then Bernoulli's series; reflection).
 */
#include <math.h>
#include "graph.h"
#include "math_ir.h"

#define D(x) k_const(K, DT_F64, (x))

static Val call(int op, int n, const Val *x) { return k_call(K, op, DT_F64, n, x); }
static Val call1(int op, Val x) { return call(op, 1, &x); }

static Val poly64(Val t, int n, const double *c)
{
    Val p = D(c[n - 1]);
    for (int i = n - 2; i >= 0; i--)
        p = fma_(p, t, D(c[i]));
    return p;
}
#define POLY(t, ...) poly64(t, sizeof((const double[]){ __VA_ARGS__ }) / sizeof(double), (const double[]){ __VA_ARGS__ })

/* e = exp(-|x|) never overflows; below 0 e/(1 + e) keeps small results. */
static Val logistic(Val x)
{
    Val e = call1(OP_exp, neg(abs_(x)));
    return divide(sel(lt(x, D(0)), e, D(1)), add(D(1), e));
}

/* From a good start y: f = erf(y) - |x| (or |x|'s complement against erfc, where erf is near 1), f' = 2/sqrt(pi) e^(-y^2). */
static Val erf_inv(Val x)
{
    Val a = abs_(x);
    Val y = convert(f32_erf_inv(convert(sel(lt(a, D(0.999999)), a, D(0.999999)), DT_F32)), DT_F64);
    Val w = neg(call1(OP_log, mul(sub(D(1), a), add(D(1), a))));        /* the far tail: its own start */
    Val l = sqrt_(sel(gt(w, D(10)), sub(w, D(0.6)), D(10)));
    Val far = sub(l, divide(call1(OP_log, l), mul(D(2), l)));
    far = sub(far, divide(D(0.05), l));
    y = sel(gt(a, D(0.999999)), far, y);
    for (int n = 0; n < 3; n++) {
        Val up = sub(call1(OP_erf, y), a), down = sub(sub(D(1), a), call1(OP_erfc, y));
        Val f = sel(gt(a, D(0.5)), down, up);
        Val u = mul(mul(f, D(0.88622692545275801365)), call1(OP_exp, mul(y, y)));
        y = sub(y, divide(u, fma_(y, u, D(1))));
    }
    Val s = sel(lt(x, D(0)), neg(y), y);
    s = sel(eq(a, D(1)), sel(lt(x, D(0)), D(-INFINITY), D(INFINITY)), s);
    return sel(eq(a, D(0)), x, sel(le(a, D(1)), s, D(NAN)));
}

/* The distance of x to the nearest integer, with its sign, exactly. */
static Val fraction(Val x) { return sub(x, k1(K, K_RINT, DT_F64, x)); }

/* Near the zero at 1.46 the recurrence cancels; the sum there is absolute to 1e-16. */
static Val digamma(Val x)
{
    Val below = lt(x, D(0.5)), p = sel(below, sub(D(1), x), x), sum = D(0);
    for (int n = 0; n < 10; n++) {
        Val go = lt(p, D(10));
        sum = sel(go, add(sum, divide(D(1), p)), sum);
        p = sel(go, add(p, D(1)), p);
    }
    Val i = divide(D(1), p), z = mul(i, i);
    Val s = POLY(z, 1. / 12, -1. / 120, 1. / 252, -1. / 240, 1. / 132, -691. / 32760, 1. / 12, -3617. / 8160);
    Val y = sub(sub(sub(call1(OP_log, p), mul(D(0.5), i)), mul(z, s)), sum);
    Val f = mul(fraction(x), D(M_PI));
    Val r = sub(y, divide(D(M_PI), call1(OP_tan, f)));
    r = sel(eq(fraction(x), D(0)), D(NAN), r);
    y = sel(below, r, y);
    y = sel(eq(x, D(0)), divide(D(-1), x), y);
    return sel(eq(x, D(INFINITY)), x, y);
}

static Val trigamma(Val x)
{
    Val below = lt(x, D(0.5)), p = sel(below, sub(D(1), x), x), sum = D(0);
    for (int n = 0; n < 10; n++) {
        Val go = lt(p, D(10)), r = divide(D(1), p);
        sum = sel(go, fma_(r, r, sum), sum);
        p = sel(go, add(p, D(1)), p);
    }
    Val i = divide(D(1), p), z = mul(i, i);
    Val s = POLY(z, 1. / 6, -1. / 30, 1. / 42, -1. / 30, 5. / 66, -691. / 2730, 7. / 6, -3617. / 510);
    Val y = add(sum, add(i, fma_(mul(i, z), s, mul(D(0.5), z))));
    Val f = call1(OP_sin, mul(fraction(x), D(M_PI)));
    Val r = sub(divide(D(M_PI * M_PI), mul(f, f)), y);
    r = sel(eq(fraction(x), D(0)), D(INFINITY), r);
    y = sel(below, r, y);
    return sel(eq(x, D(INFINITY)), D(0), sel(eq(x, D(-INFINITY)), D(NAN), y));
}

Val f64_function(int op, int n, const Val *x)
{
    switch (op) {
    case OP_logistic: return logistic(x[0]);
    case OP_erf_inv:  return erf_inv(x[0]);
    case OP_digamma:  return digamma(x[0]);
    case OP_trigamma: return trigamma(x[0]);
    case OP_rsqrt:    return divide(D(1), sqrt_(x[0]));
    }
    return call(op, n, x);
}
