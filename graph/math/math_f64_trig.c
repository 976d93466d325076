/*
 * math_f64_trig.c - circular functions and their inverses, in f64, built in the kernel IR. Common ground:
 * math_exp.c and math_f64.c.
 *
 * In:  a value of any size: arguments above 1500000 are reduced with 192 bits of 2/pi.   Out: within 2
 * ULP.
 */
#include <math.h>
#include "math_f64.h"

#define HALF_PI     0x1.921fb54442d18p+0
#define HALF_PI_LOW 6.123233995736766e-17       /* pi/2 is the sum of both */
#define LIMIT       1500000.0

/* x - n pi/2, |n| < 2^20, in two pieces. pi/2 is cut into 33, 33, 33 and 53 bits: products of the first
 * three with n are exact, so are the differences where they cancel, and where they round their roundings
 * are put back. */
static void less_half_pi(Val x, Val n, Val *t, Val *low)
{
    static const double piece[] = { 0x1.921fb54400000p+0, 0x1.0b4611a600000p-34, 0x1.3198a2e000000p-69,
        0x1.b839a252049c1p-104 };
    Val a = x, lost = 0;
    for (int i = 0; i < 3; i++) {
        Val p = mul(n, D(piece[i])), next = sub(a, p), e = sub(sub(a, next), p);
        lost = lost ? add(lost, e) : e;
        a = next;
    }
    Val rest = sub(lost, mul(n, D(piece[3])));
    *t = add(a, rest);
    *low = add(sub(a, *t), rest);
}

/* Four neighbours from word i (0 .. 16) on of 2/pi's bits, 64 zeros in front: five rounds in which a bit of
 * i decides whether the words move. */
static void two_over_pi(Val i, Val out[4])
{
    static const uint64_t word[20] = { 0, 0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041,
        0xfe5163abdebbc561, 0xb7246e3a424dd2e0, 0x06492eea09d1921c, 0xfe1deb1cb129a73e, 0xe88235f52ebb4484,
        0xe99c7026b45f7e41, 0x3991d639835339f4, 0x9c845f8bbdf9283b, 0x1ff897ffde05980f, 0xef2f118b5a0a6d1f,
        0x6d367ecf27cb09b7, 0x4f463f669e5fea2d, 0x7527bac7ebe5f17b, 0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08,
        0x56033046fc7b6bab };
    Val w[20];
    for (int k = 0; k < 20; k++)
        w[k] = L(word[k]);
    for (int step = 16; step; step /= 2) {
        Val far = ne(and(i, L(step)), L(0));
        /* 16 is the largest i: where that bit is set no word moves again. */
        int keep = step == 16 ? 4 : step + 3;
        for (int k = 0; k < keep; k++)
            w[k] = sel(far, w[k + step], w[k]);
    }
    for (int k = 0; k < 4; k++)
        out[k] = w[k];
}

/* x > 0 as quadrant * pi/2 + r + low, by 192 bits of 2/pi from the first whose product with x is below 4.
 * x = m 2^e: the top word of m * bits counts quarters of turns in its two highest bits. */
static void reduce_big(Val x, Val *r, Val *low, Val *quadrant)
{
    Val ix = bits(x, DT_U64), w[4];
    Val m = or(and(ix, L(0x000fffffffffffff)), L(0x0010000000000000));
    Val o = sub(shr_n(ix, 52), L(1013)), sh = and(o, L(63)), back = sub(L(63), sh);
    two_over_pi(shr_n(o, 6), w);
    for (int k = 0; k < 3; k++)
        w[k] = or(shl(w[k], sh), shr(shr_n(w[k + 1], 1), back));
    Val product = mul(m, w[1]), mid = add(product, mulhi(m, w[2]));
    Val high = add(add(mul(m, w[0]), mulhi(m, w[1])), sel(lt(mid, product), L(1), L(0)));
    Val q = shr_n(add(high, L(1ull << 61)), 62);
    high = sub(high, shl_n(q, 62));
    Val top = and(add(high, L(512)), L(~1023ull));
    Val a = convert(bits(top, DT_I64), DT_F64);
    Val b = fma_(convert(mid, DT_F64), D(0x1p-64), convert(bits(sub(high, top), DT_I64), DT_F64));
    Val by = D(HALF_PI * 0x1p-62), p = mul(a, by);
    Val rest = add(fma_(a, by, neg(p)), fma_(a, D(HALF_PI_LOW * 0x1p-62), mul(b, by)));
    *r = add(p, rest);
    *low = add(sub(p, *r), rest);
    *quadrant = q;
}

/* Of r + low after q quarters of turns, z = r^2: sin = r + (r z p(z) + low (1 - z/2)), cos = 1 - z/2 + (z^2
 * p(z) - r low) with what the rounding of 1 - z/2 took. Of cos x the quarters are one more; sin x has the
 * sign of x. */
static Val sine(Val x, bool cosine, Val r, Val low, Val q)
{
    Val z = mul(r, r), h = mul(D(0.5), z);
    Val ps = POLY(z, -0.16666666666666666, 0.008333333333333331, -0.00019841269841265065,
        2.7557319219339167e-06, -2.5052106232447578e-08, 1.6058531618986147e-10, -7.586697117706918e-13);
    Val pc = POLY(z, 0.041666666666666664, -0.0013888888888887398, 2.480158729876569e-05,
        -2.7557317271729793e-07, 2.08761462684032e-09, -1.1382632425521717e-11);
    Val s = add(r, fma_(mul(r, z), ps, fma_(neg(h), low, low)));
    Val w = sub(D(1), h), c = add(w, add(sub(sub(D(1), w), h), fma_(mul(z, z), pc, neg(mul(r, low)))));
    q = cosine ? add(q, L(1)) : q;
    Val y = bits(sel(eq(and(q, L(1)), L(1)), c, s), DT_U64), turned = shl_n(shr_n(q, 1), 63);
    return bits(xor(y, cosine ? turned : xor(turned, and(bits(x, DT_U64), L(INT64_MIN)))), DT_F64);
}

/* t = r + (r z p(z) + low (1 + z)); odd quarters -1/t, corrected by the rounding of t. No float is a
 * multiple of pi/2: every finite argument has a finite result. */
static Val tangent(Val x, Val r, Val l, Val q)
{
    Val z = mul(r, r);
    Val p = POLY(z, 0.3333333333333333, 0.13333333333333, 0.05396825396865546, 0.02186948851707438,
        0.008863236003485818, 0.0035921209805615966, 0.0014559027390503058, 0.0005895756061544555,
        0.000241226353512688, 8.998520298342289e-05, 5.558784710570148e-05, -1.1013613221811344e-05,
        3.651618193613342e-05, -1.83153428020867e-05, 8.48334725267473e-06);
    Val w = fma_(mul(r, z), p, fma_(l, z, l)), t = add(r, w), v = divide(D(-1), t);
    Val e = fma_(v, t, D(1));                   /* v t = -1, but for roundings */
    v = fma_(v, fma_(v, add(sub(r, t), w), e), v);
    Val y = sel(eq(and(q, L(1)), L(1)), v, t);
    return bits(xor(bits(y, DT_U64), and(bits(x, DT_U64), L(INT64_MIN))), DT_F64);
}

static Val circular(int op, Val x, Val r, Val low, Val q)
{
    return op == OP_tan ? tangent(x, r, low, q) : sine(x, op == OP_cos, r, low, q);
}

static Val circular_big(Kernel *k, int what, const Val *x)
{
    (void)k;
    Val ax = abs_(*x), r, low, q;
    reduce_big(ax, &r, &low, &q);
    return circular(what - MATH_OTHER, *x, sel(lt(ax, D(INFINITY)), r, D(NAN)), low, q);
}

/* |x| as quarters of turns and |r| <= pi/4 with its low part. */
static Val of_quarters(int op, const char *big, Val x)
{
    Val ax = abs_(x), magic = D(MAGIC64), at = add(mul(ax, D(0.6366197723675814)), magic), r, low;
    less_half_pi(ax, sub(at, magic), &r, &low);
    Val y = circular(op, x, r, low, bits(at, DT_U64));
    return math_where_big(not(le(ax, D(LIMIT))), op, big, circular_big, x, y);
}

Val f64_sin(Val x) { return sel(eq(x, D(0)), x, of_quarters(OP_sin, "sin_big", x)); }
Val f64_cos(Val x) { return of_quarters(OP_cos, "cos_big", x); }
Val f64_tan(Val x) { return of_quarters(OP_tan, "tan_big", x); }

/* ==================== inverses */

/* |x| <= 1/2: x + x z p(z), z = x^2. Above: z = (1 - |x|)/2 exactly, s = sqrt z, asin = pi/2 - 2(s + s z
 * p(z)). */
static Val asin_poly(Val z)
{
    return POLY(z, 0.16666666666666669, 0.07499999999998433, 0.04464285714635543, 0.030381944138531247,
        0.02237217294214989, 0.017352392720869973, 0.013971212973552933, 0.011479177415184906,
        0.01032281435018578, 0.005457506718640358, 0.01740087944269402, -0.014851887071247204,
        0.028757851367421566);
}

Val f64_asin(Val x)
{
    Val a = abs_(x), big = gt(a, D(0.5)), zb = mul(sub(D(1), a), D(0.5)), s = sqrt_(zb);
    Val z = sel(big, zb, mul(a, a)), t = sel(big, s, a), p = mul(mul(t, z), asin_poly(z));
    Val t2 = add(t, t), d = sub(D(HALF_PI), t2), l = add(sub(sub(D(HALF_PI), d), t2), D(HALF_PI_LOW));
    return copysign_(sel(big, sub(d, sub(mul(D(2), p), l)), add(t, p)), x);
}

/* The square root's rounding counts where the result is small: it is put back. */
Val f64_acos(Val x)
{
    Val a = abs_(x), big = gt(a, D(0.5)), zb = mul(sub(D(1), a), D(0.5)), s = sqrt_(zb);
    Val z = sel(big, zb, mul(a, a)), t = sel(big, s, x), p = mul(mul(t, z), asin_poly(z));
    Val low = sub(p, D(HALF_PI_LOW)), mid = sub(D(HALF_PI), add(t, low));
    Val c = sel(gt(s, D(0)), divide(fma_(neg(s), s, zb), add(s, s)), D(0));
    return sel(big, sel(lt(x, D(0)), mul(mid, D(2)), mul(add(t, add(p, c)), D(2))), mid);
}

/* On 0 .. 1. */
static Val atan_poly(Val q)
{
    Val z = mul(q, q);
    Val p = POLY(z, -0.3333333333333333, 0.1999999999999992, -0.14285714285701234, 0.11111111110268297,
        -0.0909090906193528, 0.07692307078827029, -0.06666657934573768, 0.05882264416776449,
        -0.052624922290256754, 0.04758080083637821, -0.043306538430670664, 0.03938687540798632,
        -0.035271331066871296, 0.030330719265790507, -0.024191345810140718, 0.01718398172211335,
        -0.010412153260359241, 0.005140912856746939, -0.0019612554271685326, 0.0005376839297396244,
        -9.371186345052626e-05, 7.767624330289919e-06);
    return fma_(mul(q, z), p, q);
}

Val f64_atan(Val x)
{
    Val a = abs_(x), big = gt(a, D(1)), p = atan_poly(sel(big, divide(D(1), a), a));
    return copysign_(sel(big, sub(D(HALF_PI), sub(p, D(HALF_PI_LOW))), p), x);
}

/* Quotient of the smaller by the larger, then pi/2 - and pi - as the octant asks. C's table of zeros and
 * infinities: min/max = 0/0 counts as 0, inf/inf as 1. */
Val f64_atan2(Val y, Val x)
{
    Val ay = abs_(y), ax = abs_(x), swap = gt(ay, ax), larger = sel(swap, ay, ax), less = sel(swap, ax, ay);
    Val q = divide(less, larger);
    q = sel(eq(larger, D(0)), D(0), q);
    q = sel(eq(less, D(INFINITY)), D(1), q);
    Val p = atan_poly(q);
    p = sel(swap, sub(D(HALF_PI), sub(p, D(HALF_PI_LOW))), p);
    p = sel(lt(bits(x, DT_I64), k_bits(K, DT_I64, 0)), sub(D(2 * HALF_PI), sub(p, D(2 * HALF_PI_LOW))), p);
    return sel(and(le(ax, D(INFINITY)), le(ay, D(INFINITY))), copysign_(p, y), add(x, y));
}
