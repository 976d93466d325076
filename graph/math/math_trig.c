/*
 * math_trig.c - circular functions and their inverses, in f32, built in the kernel IR. Common ground:
 * math_exp.c.
 *
 * In:  a value of any size: arguments above 3200 are reduced with 96 bits of 2/pi.   Out: within 2.3 ULP.
 */
#include <math.h>
#include "math_ir.h"

static void f32_reduce_big(Val ax, Val *r, Val *rl, Val *quadrant)
{
    Val ix = ubits(ax);
    Val m = or(and(ix, U(0x007fffffu)), U(0x00800000u));
    Val o = sub(shr_n(ix, 23), U(120u));
    Val i = shr_n(o, 5), sh = and(o, U(31u)), us = sub(U(31u), sh);
    Val w0 = ph_word(i, 0u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u);
    Val w1 = ph_word(i, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u);
    Val w2 = ph_word(i, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u);
    Val w3 = ph_word(i, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu);
    w0 = or(shl(w0, sh), shr_n(shr(w1, us), 1));
    w1 = or(shl(w1, sh), shr_n(shr(w2, us), 1));
    w2 = or(shl(w2, sh), shr_n(shr(w3, us), 1));
    Val mid0 = mul(m, w1);
    Val mid = add(mid0, mulhi(m, w2));
    Val hi = add(add(mul(m, w0), mulhi(m, w1)), sel(lt(mid, mid0), U(1u), U(0u)));
    Val q = shr_n(add(hi, U(0x20000000u)), 30);
    hi = sub(hi, shl_n(q, 30));
    Val top = and(add(hi, U(0x80u)), U(0xffffff00u));
    Val a = mul(tof(asi(top)), F(9.31322575e-10f));
    Val b = mul(add(tof(asi(sub(hi, top))), mul(tof(mid), F(2.32830644e-10f))), F(9.31322575e-10f));
    Val a1 = trunc12(a), a2 = sub(a, a1);
    Val head = mul(a1, F(1.5703125f));
    Val rest = add(add(mul(a1, F(0.000483751297f)), mul(a2, F(1.5703125f))), add(mul(a1, F(7.54978942e-08f)),
        add(mul(a2, F(0.000483826792f)), mul(b, F(1.57079637f)))));
    Val s = add(head, rest);
    *r = s;
    *rl = add(sub(head, s), rest);
    *quadrant = q;
}

/* sin, cos.  |x| <= 3200: x = n pi + t (cos: (n + 1/2) pi + t), pi in four pieces of 13, 13, 13 and 24 bits:
   the first three products are exact while |n| < 2^10, the differences too where they cancel,
        and where they round (|t| > 1) the three roundings are
   recovered and subtracted with the last piece; |t| <= pi/2 and one odd polynomial [sin]
   for both, which needs no second series and no blend.  Above: quadrant and r from f32_reduce_big,
        and cos r = sin(pi/2 - |r|).
   sin(+-0) = +-0, sin(inf) = NaN. */
#define PI_A 3.14111328f
#define PI_B 0.000479340553f
#define PI_C 3.17813829e-08f
#define PI_D 5.12668814e-12f
static Val f32_sin_poly(Val t)
{
    Val z = mul(t, t);
    return add(t, mul(mul(t, z), poly(z, -0.166666672f, 0.00833335053f, -0.000198430935f, 2.76270634e-06f,
        -2.55032173e-08f)));
}

/* What x is where `big`, a path that few arguments take: it is called. */
Val math_where_big(Val big, int op, const char *name, MathBody *body, Val x, Val y)
{
    Val out;
    k_if(K, any(big));
    Val new = sel(big, math_seldom(op, name, body, 1, &x), y);
    k_if_end(K, 1, &new, &y, &out);
    return out;
}

/* r with its low part; from pi/2 that is left, if it is not: the other of sine and cosine. */
static Val f32_turned(Val stays, Val ax, Val r, Val rl)
{
    Val other = sub(F(1.57079637f), add(abs_(r), add(F(4.37113883e-08f), xorsign(rl, sign(r)))));
    return sel(lt(ax, F(INFINITY)), sel(stays, r, other), F(NAN));
}

static Val f32_sin_big(Kernel *k, int what, const Val *x)
{
    (void)k, (void)what;
    Val ax = abs_(*x), r, rl, q;
    f32_reduce_big(ax, &r, &rl, &q);
    Val t = f32_turned(eq(and(q, U(1u)), U(0u)), ax, r, rl);
    return xorsign(f32_sin_poly(t), xor(shl_n(shr_n(q, 1), 31), sign(*x)));
}

static Val f32_cos_big(Kernel *k, int what, const Val *x)
{
    (void)k, (void)what;
    Val ax = abs_(*x), r, rl, q;
    f32_reduce_big(ax, &r, &rl, &q);
    Val t = f32_turned(eq(and(q, U(1u)), U(1u)), ax, r, rl);
    return xorsign(f32_sin_poly(t), shl_n(shr_n(add(q, U(1u)), 1), 31));
}

Val f32_sin(Val x)
{
    Val ax = abs_(x);
    Val m = add(mul(x, F(0.318309873f)), F(MAGIC));
    Val n = sub(m, F(MAGIC));
    Val nb = mul(n, F(PI_B)), nc = mul(n, F(PI_C));
    Val a1 = sub(x, mul(n, F(PI_A)));
    Val a2 = sub(a1, nb);
    Val a3 = sub(a2, nc);
    Val t = sub(a3, sub(mul(n, F(PI_D)), add(sub(sub(a1, a2), nb), sub(sub(a2, a3), nc))));
    Val y = xorsign(f32_sin_poly(t), shl_n(ubits(m), 31));
    y = math_where_big(not(le(ax, F(3200.0f))), OP_sin, "sin_big", f32_sin_big, x, y);
    return sel(eq(x, F(0.0f)), x, y);
}

Val f32_cos(Val x)
{
    Val ax = abs_(x);
    Val m = add(sub(mul(ax, F(0.318309873f)), F(0.5f)), F(MAGIC));
    Val n = add(sub(m, F(MAGIC)), F(0.5f));
    Val na = mul(n, F(PI_A)), nb = mul(n, F(PI_B)), nc = mul(n, F(PI_C));
    Val a1 = sub(ax, na);
    Val a2 = sub(a1, nb);
    Val a3 = sub(a2, nc);
    Val t = sub(a3,
        sub(mul(n, F(PI_D)), add(add(sub(sub(ax, a1), na), sub(sub(a1, a2), nb)), sub(sub(a2, a3), nc))));
    Val y = xorsign(f32_sin_poly(t), shl_n(not(ubits(m)), 31));
    return math_where_big(not(le(ax, F(3200.0f))), OP_cos, "cos_big", f32_cos_big, x, y);
}

/* tan.  Quarter periods, |r| <= pi/4 with its low part l; t = r + (r z p(z) + l(1 + 1.5 z)) [tan7]; odd
   quadrants -1/t, corrected by the rounding of t.
   No float is a multiple of pi/2: every finite argument has a finite result. */
static Val f32_tan_poly(Val r, Val l, Val q)
{
    Val z = mul(r, r);
    Val p = poly(z, 0.333333492f, 0.133326709f, 0.0540596955f, 0.021281261f, 0.0108419396f, 7.82278948e-05f,
        0.00438324083f);
    Val w = add(mul(mul(r, z), p), add(l, mul(l, mul(z, F(1.5f)))));
    Val t = add(r, w);
    Val v = divide(F(-1.0f), t);
    v = add(v, mul(mul(v, v), add(sub(r, t), w)));
    return sel(eq(and(q, U(1u)), U(1u)), v, t);
}

static Val f32_tan_big(Kernel *k, int what, const Val *x)
{
    (void)k, (void)what;
    Val ax = abs_(*x), r, l, q;
    f32_reduce_big(ax, &r, &l, &q);
    return f32_tan_poly(sel(lt(ax, F(INFINITY)), r, F(NAN)), l, q);
}

Val f32_tan(Val x)
{
    Val ax = abs_(x);
    Val m = add(mul(ax, F(0.636619747f)), F(MAGIC));
    Val n = sub(m, F(MAGIC));
    Val a =
        sub(sub(sub(ax, mul(n, F(1.57055664f))), mul(n, F(0.000239670277f))), mul(n, F(1.58906914e-08f)));
    Val b = mul(n, F(2.56334407e-12f));
    Val r = sub(a, b);
    Val y = f32_tan_poly(r, sub(sub(a, r), b), ubits(m));
    y = math_where_big(not(le(ax, F(3200.0f))), OP_tan, "tan_big", f32_tan_big, x, y);
    return xorsign(y, sign(x));
}

/* asin, acos.  |x| <= 1/2: x + x z p(z) [asin].  Above: z = (1-|x|)/2 exactly, s = sqrt z, asin = pi/2 - 2(s
   + s z p(z)); the leading 2s is subtracted from pi/2 first, its rounding recovered (Fast2Sum, Dekker 1971),
        the rest after.  |x| > 1: NaN (sqrt < 0). */
Val f32_asin(Val x)
{
    Val a = abs_(x);
    Val big = gt(a, F(0.5f));
    Val zb = mul(sub(F(1.0f), a), F(0.5f));
    Val s = sqrt_(zb);
    Val z = sel(big, zb, mul(a, a)), t = sel(big, s, a);
    Val p =
        mul(mul(t, z), poly(z, 0.166667521f, 0.0749530941f, 0.0454691499f, 0.0241847616f, 0.0421583727f));
    Val t2 = add(t, t), d = sub(F(1.57079637f), t2);
    Val l = sub(sub(sub(F(1.57079637f), d), t2), F(4.37113883e-08f));
    Val y = sel(big, sub(d, sub(mul(F(2.0f), p), l)), add(t, p));
    return copysign_(y, x);
}

Val f32_acos(Val x)
{
    Val a = abs_(x);
    Val big = gt(a, F(0.5f));
    Val zb = mul(sub(F(1.0f), a), F(0.5f));
    Val s = sqrt_(zb);
    Val z = sel(big, zb, mul(a, a)), t = sel(big, s, x);
    Val p =
        mul(mul(t, z), poly(z, 0.166667521f, 0.0749530941f, 0.0454691499f, 0.0241847616f, 0.0421583727f));
    Val lo = add(p, F(4.37113883e-08f));
    Val mid = sub(F(1.57079637f), add(t, lo));
    Val neg = mul(sub(F(1.57079637f), add(t, lo)), F(2.0f));
    Val pos = mul(add(t, p), F(2.0f));
    return sel(big, sel(lt(x, F(0.0f)), neg, pos), mid);
}

/* atan, atan2.  Quotient of the smaller by the larger, x + x z p(z) on [0, 1] [atan9], then pi/2 - and pi -
   as the octant asks. atan2: C's table of zeros and infinities; min/max = 0/0 counts as 0, inf/inf as 1; a
   quotient below 2^-126 underflows gradually.  atan(+-0) = +-0, atan(+-inf) = +-pi/2. */
static Val f32_atan_poly(Val q)
{
    Val z = mul(q, q);
    return add(q,
        mul(mul(q, z),
            poly(z, -0.333332986f, 0.199985296f, -0.142640159f, 0.109508798f, -0.0839929655f, 0.0578809753f,
                -0.0310962554f, 0.0108681293f, -0.00178267132f)));
}

Val f32_atan(Val x)
{
    Val a = abs_(x);
    Val big = gt(a, F(1.0f));
    Val p = f32_atan_poly(sel(big, divide(F(1.0f), a), a));
    return copysign_(sel(big, sub(F(1.57079637f), add(p, F(4.37113883e-08f))), p), x);
}

Val f32_atan2(Val y, Val x)
{
    Val ay = abs_(y), ax = abs_(x);
    Val swap = gt(ay, ax);
    Val mx = sel(swap, ay, ax), mn = sel(swap, ax, ay);
    Val q = divide(mn, mx);
    q = sel(eq(mx, F(0.0f)), F(0.0f), q);
    q = sel(eq(mn, F(INFINITY)), F(1.0f), q);
    Val p = f32_atan_poly(q);
    p = sel(swap, sub(F(1.57079637f), add(p, F(4.37113883e-08f))), p);
    p = sel(lt(ibits(x), I(0)), sub(F(3.14159274f), add(p, F(8.74227766e-08f))), p);
    p = copysign_(p, y);
    Val nan = add(x, y);
    return sel(and(le(ax, F(INFINITY)), le(ay, F(INFINITY))), p, nan);
}

