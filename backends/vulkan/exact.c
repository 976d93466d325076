/*
 * exact.c - what devices do not compute exactly, as small kernels of one lane.
 *
 * In:  which one.   Out: a finished kernel that loads its operands at place 0 and stores its result there.
 * Floats by integers: a number is taken apart into sign, exponent and mantissa, the result is computed with
 * enough bits behind its last one and a sticky bit that stands for the rest, and rounded once, to nearest
 * even, at its own spacing: so results below the normal ones are right too, also on devices that flush them.
 * One text serves f32 (in u32) and f64 (in u64).
 */
#include "spirv_words.h"

#include <string.h>

static _Thread_local Kernel *K;

/* ==================== a vocabulary: values know their dtype */

static Dtype dt_of(Val x) { return (Dtype)K->ins[x].dt; }
static Val c_(Dtype dt, uint64_t bits) { return k_bits(K, dt, (int64_t)bits); }
static Val like(Val x, uint64_t bits) { return c_(dt_of(x), bits); }
static Val op2(KOp op, Val x, Val y) { return k2(K, op, dt_of(x), x, y); }
static Val add(Val x, Val y) { return op2(K_ADD, x, y); }
static Val sub(Val x, Val y) { return op2(K_SUB, x, y); }
static Val mul(Val x, Val y) { return op2(K_MUL, x, y); }
static Val and_(Val x, Val y) { return op2(K_AND, x, y); }
static Val or_(Val x, Val y) { return op2(K_OR, x, y); }
static Val xor_(Val x, Val y) { return op2(K_XOR, x, y); }
static Val shl(Val x, Val n) { return op2(K_SHL, x, n); }
static Val shr(Val x, Val n) { return op2(K_SHR, x, n); }
static Val addc(Val x, uint64_t c) { return add(x, like(x, c)); }
static Val andc(Val x, uint64_t c) { return and_(x, like(x, c)); }
static Val shlc(Val x, int n) { return shl(x, like(x, (uint64_t)n)); }
static Val shrc(Val x, int n) { return shr(x, like(x, (uint64_t)n)); }
static Val compare(KOp op, Val x, Val y) { return k2(K, op, DT_BOOL, x, y); }
static Val eq(Val x, Val y) { return compare(K_EQ, x, y); }
static Val eqc(Val x, uint64_t c) { return eq(x, like(x, c)); }
static Val nec(Val x, uint64_t c) { return compare(K_NE, x, like(x, c)); }
static Val lt(Val x, Val y) { return compare(K_LT, x, y); }
static Val gt(Val x, Val y) { return compare(K_GT, x, y); }
static Val not_(Val x) { return k1(K, K_NOT, DT_BOOL, x); }
static Val both(Val x, Val y) { return k2(K, K_AND, DT_BOOL, x, y); }
static Val either(Val x, Val y) { return k2(K, K_OR, DT_BOOL, x, y); }
static Val sel(Val c, Val x, Val y) { return k3(K, K_SELECT, dt_of(x), c, x, y); }
static Val bits(Val x, Dtype to) { return dt_of(x) == to ? x : k1(K, K_BITS, to, x); }
static Val convert(Val x, Dtype to) { return k1(K, K_CONVERT, to, x); }
static Val flag(Val c, Val x) { return sel(c, like(x, 1), like(x, 0)); }       /* 0 or 1, as x is */
static Val clz(Val x) { return k1(K, K_CLZ, dt_of(x), x); }

/* Exponents are unsigned values that may be meant negative. */
static Dtype signed_as(Val x) { return dt_of(x) == DT_U32 ? DT_I32 : DT_I64; }
static Val less(Val x, Val y) { Dtype s = signed_as(x); return lt(bits(x, s), bits(y, s)); }
static Val lessc(Val x, int64_t c) { return less(x, like(x, (uint64_t)c)); }
static Val most(Val x, int64_t c) { return sel(lessc(x, c), x, like(x, (uint64_t)c)); }       /* min(x, c) */

/* ==================== numbers as integers */

typedef struct Shape { Dtype dt, ut; int b, m; uint64_t inf, bias, hidden, sign; } Shape;

static Shape shape_of(bool wide)
{
    return wide ? (Shape){ DT_F64, DT_U64, 64, 52, 0x7ffull << 52, 1023, 1ull << 52, 1ull << 63 }
        : (Shape){ DT_F32, DT_U32, 32, 23, 0xffull << 23, 127, 1ull << 23, 1ull << 31 };
}

typedef struct Number {
    Val bits, sign, mag;                        /* as they lie; the sign bit alone; without it */
    /* m has its leading bit at s->m: m * 2^(e - bias - s->m). 0: both are 0 */
    Val e, m;
    Val zero, inf, nan, finite;
} Number;

static Number apart(const Shape *s, Val x)
{
    Number n = { .bits = bits(x, s->ut) };
    n.sign = andc(n.bits, s->sign), n.mag = andc(n.bits, s->sign - 1);
    n.zero = eqc(n.mag, 0), n.inf = eqc(n.mag, s->inf), n.nan = gt(n.mag, like(n.mag, s->inf));
    n.finite = lt(n.mag, like(n.mag, s->inf));
    Val e = shrc(n.mag, s->m), m = andc(n.mag, s->hidden - 1), low = eqc(e, 0);
    /* 0 has all bits in front: no matter */
    Val up = sub(clz(m), like(m, (uint64_t)(s->b - 1 - s->m)));
    up = sel(low, andc(up, (uint64_t)s->b - 1), like(up, 0));
    n.m = sel(low, shl(m, up), or_(m, like(m, s->hidden)));
    n.e = sel(low, sub(like(up, 1), up), e);
    return n;
}

/* To the right, and what falls off sticks. n: 0 .. b-1. */
static Val jam(const Shape *s, Val x, Val n)
{
    Val back = shl(shr(x, n), n);
    (void)s;
    return or_(shr(x, n), flag(compare(K_NE, back, x), x));
}

/* m has its leading bit at s->m + 3, the last one sticky: sign, m * 2^(e - bias - s->m - 3), rounded. */
static Val pack(const Shape *s, Val sign, Val e, Val m)
{
    Val low = lessc(e, 1), off = sub(like(e, 1), e), most_off = like(e, (uint64_t)s->m + 5);
    off = sel(low, sel(less(off, most_off), off, most_off), like(e, 0));
    m = jam(s, m, off);
    e = sel(low, like(e, 1), most(e, (int64_t)(s->inf >> s->m)));
    Val r = shrc(m, 3), rest = andc(m, 7);
    Val up = either(gt(rest, like(m, 4)), both(eqc(rest, 4), nec(andc(r, 1), 0)));
    Val out = add(add(shlc(addc(e, (uint64_t)-1), s->m), r), flag(up, r));
    Val inf = like(out, s->inf);
    return or_(sign, sel(lt(out, inf), out, inf));
}

static Val nan_like(const Shape *s, Val x) { return like(x, s->inf | s->hidden >> 1); }

/* ==================== two words */

typedef struct Pair { Val hi, lo; } Pair;

static Pair pair_sel(Val c, Pair x, Pair y) { return (Pair){ sel(c, x.hi, y.hi), sel(c, x.lo, y.lo) }; }
static Val pair_less(Pair x, Pair y) { return either(lt(x.hi, y.hi), both(eq(x.hi, y.hi), lt(x.lo, y.lo))); }

static Pair pair_add(Pair x, Pair y)
{
    Val lo = add(x.lo, y.lo);
    return (Pair){ add(add(x.hi, y.hi), flag(lt(lo, x.lo), lo)), lo };
}

static Pair pair_sub(Pair x, Pair y)
{
    return (Pair){ sub(sub(x.hi, y.hi), flag(lt(x.lo, y.lo), x.lo)), sub(x.lo, y.lo) };
}

/* Left by n: 0 .. 2b-1. */
static Pair pair_shl(const Shape *s, Pair x, Val n)
{
    Val big = not_(lt(n, like(n, (uint64_t)s->b))), k = andc(n, (uint64_t)s->b - 1);
    Val hi = sel(big, x.lo, x.hi), lo = sel(big, like(x.lo, 0), x.lo);
    Val rest = shr(shrc(lo, 1), xor_(k, like(k, (uint64_t)s->b - 1)));
    return (Pair){ or_(shl(hi, k), rest), shl(lo, k) };
}

/* Right by n, 0 .. 2b-1, and what falls off sticks. */
static Pair pair_jam(const Shape *s, Pair x, Val n)
{
    Val big = not_(lt(n, like(n, (uint64_t)s->b))), k = andc(n, (uint64_t)s->b - 1), zero = like(x.lo, 0);
    Val hi = sel(big, zero, x.hi), lo = sel(big, x.hi, x.lo), lost = sel(big, x.lo, zero);
    Val back = shl(shr(lo, k), k);
    lost = or_(lost, xor_(back, lo));
    Val rest = shl(shlc(hi, 1), xor_(k, like(k, (uint64_t)s->b - 1)));
    return (Pair){ shr(hi, k), or_(or_(shr(lo, k), rest), flag(nec(lost, 0), lo)) };
}

/* ==================== x * y + z
 * Product and addend are pairs with their leading bits at 2b-3, so that a sum has room; the smaller is moved
 * down to the exponent of the larger. Where the exponents are two or more apart a difference loses one bit
 * at most, so what sticks is far below the rounding; where they are not, nothing falls off. */

static Val fma_exact(const Shape *s, Val x, Val y, Val z)
{
    Number a = apart(s, x), b = apart(s, y), c = apart(s, z);
    int top = 2 * s->b - 3;
    Pair p = { k2(K, K_MULHI, s->ut, a.m, b.m), mul(a.m, b.m) };
    Val long_ = nec(andc(2 * s->m + 1 >= s->b ? p.hi : p.lo, 1ull << ((2 * s->m + 1) % s->b)), 0);
    p = pair_shl(s, p, sub(like(p.lo, (uint64_t)(top - 2 * s->m)), flag(long_, p.lo)));
    Val ep = add(sub(add(a.e, b.e), like(a.e, s->bias)), flag(long_, a.e)), sign = xor_(a.sign, b.sign);
    Pair q = { shlc(c.m, top - s->b - s->m), like(c.m, 0) };
    Val ez = sel(c.zero, like(c.e, (uint64_t)-4096), c.e);
    Val zbig = less(ep, ez), apart_ = sel(zbig, sub(ez, ep), sub(ep, ez));
    apart_ = sel(lt(apart_, like(ep, 2 * (uint64_t)s->b - 1)), apart_, like(ep, 2 * (uint64_t)s->b - 1));
    Val e = sel(zbig, ez, ep);
    Pair pm = pair_jam(s, p, sel(zbig, apart_, like(apart_, 0)));
    Pair qm = pair_jam(s, q, sel(zbig, like(apart_, 0), apart_));
    Val same = eq(sign, c.sign), flip = pair_less(pm, qm);
    Pair r = pair_sel(same, pair_add(pm, qm), pair_sub(pair_sel(flip, qm, pm), pair_sel(flip, pm, qm)));
    Val rsign = sel(both(not_(same), flip), c.sign, sign);
    Val none = eqc(or_(r.hi, r.lo), 0);
    Val lead = sel(eqc(r.hi, 0), addc(clz(r.lo), (uint64_t)s->b), clz(r.hi));
    r = pair_shl(s, r, sel(none, like(lead, 0), addc(lead, (uint64_t)-1)));     /* leading bit at 2b-2 */
    e = sub(addc(e, 2), lead);
    int down = s->b - 2 - (s->m + 3);
    Val m = or_(shrc(r.hi, down), flag(nec(or_(andc(r.hi, (1ull << down) - 1), r.lo), 0), r.hi));
    Val exact = sel(none, like(m, 0), pack(s, rsign, e, m));
    /* A product that is 0 leaves z, of two zeros the sign of a sum; one that is nan or infinite, itself or
     * nan. */
    Val pzero = either(a.zero, b.zero), zeros = sel(same, sign, like(sign, 0));
    Val out = sel(pzero, sel(c.zero, zeros, c.bits), exact);
    Val inf = either(a.inf, b.inf), pnan = either(either(a.nan, b.nan), both(inf, pzero));
    out = sel(both(c.inf, not_(inf)), c.bits, out);
    out = sel(inf, or_(sign, like(sign, s->inf)), out);
    Val nan = either(either(pnan, c.nan), both(both(inf, c.inf), not_(same)));
    return bits(sel(nan, nan_like(s, out), out), s->dt);
}

/* f32 in f64, where the product is exact: the sum's last bit is made odd where something is lost, so that
 * rounding it again is right. The error of the sum is exact (two-sum); it is nan, and nothing is done, where
 * the sum is. */
static Val fma_wide(Val x, Val y, Val z)
{
    Val p = mul(convert(x, DT_F64), convert(y, DT_F64)), a = convert(z, DT_F64);
    Val s = add(p, a), t = sub(s, p), err = add(sub(p, sub(s, t)), sub(a, t)), zero = c_(DT_F64, 0);
    Val b = bits(s, DT_U64), above = gt(err, zero), lost = either(above, lt(err, zero));
    Val out = sel(eq(above, gt(s, zero)), addc(b, 1), addc(b, (uint64_t)-1));
    return convert(bits(sel(both(lost, eqc(andc(b, 1), 0)), out, b), DT_F64), DT_F32);
}

/* ==================== division and square root, a bit of the result a step */

static Val div_exact(const Shape *s, Val x, Val y)
{
    Number a = apart(s, x), b = apart(s, y);
    Val sign = xor_(a.sign, b.sign), small = lt(a.m, b.m), r = sel(small, shlc(a.m, 1), a.m), q = like(r, 0);
    Val e = sub(addc(sub(a.e, b.e), s->bias), flag(small, a.e));
    for (int i = 0; i < s->m + 4; i++) {
        Val fits = not_(lt(r, b.m));
        q = or_(shlc(q, 1), flag(fits, q));
        r = shlc(sel(fits, sub(r, b.m), r), 1);
    }
    Val out = pack(s, sign, e, or_(q, flag(nec(r, 0), q)));
    out = sel(either(a.zero, b.inf), sign, out);
    out = sel(either(a.inf, b.zero), or_(sign, like(sign, s->inf)), out);
    Val nan = either(either(a.nan, b.nan), either(both(a.zero, b.zero), both(a.inf, b.inf)));
    return bits(sel(nan, nan_like(s, out), out), s->dt);
}

static Val sqrt_exact(const Shape *s, Val x)
{
    Number a = apart(s, x);
    Val E = sub(a.e, like(a.e, s->bias)), odd = nec(andc(E, 1), 0);
    Val m = sel(odd, shlc(a.m, 1), a.m), half = k2(K, K_SAR, s->ut, E, like(E, 1));
    Val root = like(m, 0), r = root;
    for (int i = 0; i < s->m + 4; i++) {
        int at = s->m - 2 * i;
        Val two = at >= 0 ? andc(shrc(m, at), 3) : at == -1 ? andc(shlc(m, 1), 3) : like(m, 0);
        r = or_(shlc(r, 2), two);
        Val t = or_(shlc(root, 2), like(root, 1)), fits = not_(lt(r, t));
        r = sel(fits, sub(r, t), r);
        root = or_(shlc(root, 1), flag(fits, root));
    }
    Val out = pack(s, like(m, 0), addc(half, s->bias), or_(root, flag(nec(r, 0), root)));
    out = sel(either(a.zero, a.inf), a.bits, out);
    Val nan = either(a.nan, both(nec(a.sign, 0), not_(a.zero)));
    return bits(sel(nan, nan_like(s, out), out), s->dt);
}

/* ==================== narrow floats: their bits, in the low half of a word */

static Val half_out(Val x)
{
    Val u = bits(x, DT_U32), sign = andc(shrc(u, 16), 0x8000), a = andc(u, 0x7fffffff), e = shrc(a, 23);
    Val normal = shrc(add(add(a, like(a, 0xfffu - 0x38000000u)), andc(shrc(a, 13), 1)), 13);
    Val m = or_(andc(a, 0x7fffff), like(a, 0x800000)), off = sub(like(e, 126), e);     /* below 2^-14 */
    off = sel(lt(e, like(e, 101)), like(e, 25), sel(lt(e, like(e, 113)), off, like(e, 14)));
    Val q = shr(m, off), half = shl(like(m, 1), sub(off, like(off, 1)));
    Val tiny = shr(add(add(m, addc(half, (uint64_t)-1)), andc(q, 1)), off);
    Val nan = or_(andc(shrc(a, 13), 0x3ff), like(a, 0x7e00));
    Val r = sel(lt(a, like(a, 0x38800000)), tiny, normal);
    r = sel(lt(a, like(a, 0x477ff000)), r, like(r, 0x7c00));
    return or_(sign, sel(gt(a, like(a, 0x7f800000)), nan, r));
}

static Val half_in(Val h)
{
    Val sign = shlc(andc(h, 0x8000), 16), a = andc(h, 0x7fff), m = andc(a, 0x3ff);
    Val tiny = bits(mul(convert(a, DT_F32), k_const(K, DT_F32, 0x1p-24)), DT_U32);
    Val r = sel(lt(a, like(a, 0x400)), tiny, addc(shlc(a, 13), 0x38000000));
    Val special = or_(shlc(m, 13), sel(eqc(m, 0), like(m, 0x7f800000), like(m, 0x7fc00000)));
    return bits(or_(sign, sel(lt(a, like(a, 0x7c00)), r, special)), DT_F32);
}

static Val bfloat_out(Val x)
{
    Val u = bits(x, DT_U32), nan = gt(andc(u, 0x7fffffff), like(u, 0x7f800000));
    Val near = shrc(add(addc(u, 0x7fff), andc(shrc(u, 16), 1)), 16);
    return sel(nan, or_(shrc(u, 16), like(u, 0x40)), near);
}

/* ==================== the upper half of a product of 64-bit integers, from four of 32 bits */

static Val mulhi(Val x, Val y, bool is_signed)
{
    Val ux = bits(x, DT_U64), uy = bits(y, DT_U64), low = like(ux, 0xffffffff);
    Val xl = and_(ux, low), xh = shrc(ux, 32), yl = and_(uy, low), yh = shrc(uy, 32);
    Val t = add(mul(xh, yl), shrc(mul(xl, yl), 32)), u = add(mul(xl, yh), and_(t, low));
    Val r = add(add(mul(xh, yh), shrc(t, 32)), shrc(u, 32));
    if (!is_signed)
        return r;
    Val zero = like(x, 0), none = like(r, 0);
    r = sub(r, sel(lt(x, zero), uy, none));
    return bits(sub(r, sel(lt(y, zero), ux, none)), DT_I64);
}

/* ==================== kernels */

static const struct { Dtype in, out; int n;
} signature[T_COUNT] = {
    [T_FMA32] = { DT_F32, DT_F32, 3 },
    [T_FMA64] = { DT_F64, DT_F64, 3 },
    [T_DIV32] = { DT_F32, DT_F32, 2 },
    [T_DIV64] = { DT_F64, DT_F64, 2 },
    [T_SQRT32] = { DT_F32, DT_F32, 1 },
    [T_SQRT64] = { DT_F64, DT_F64, 1 },
    [T_HALF_IN] = { DT_U32, DT_F32, 1 },
    [T_HALF_OUT] = { DT_F32, DT_U32, 1 },
    [T_BFLOAT_OUT] = { DT_F32, DT_U32, 1 },
    [T_MULHI_U64] = { DT_U64, DT_U64, 2 },
    [T_MULHI_I64] = { DT_I64, DT_I64, 2 },
};

static Val body(Template t, FmaForm form, const Val *x)
{
    Shape s = shape_of(t == T_FMA64 || t == T_DIV64 || t == T_SQRT64);
    switch (t) {
    case T_FMA32: return form == FMA_WIDE ? fma_wide(x[0], x[1], x[2]) : fma_exact(&s, x[0], x[1], x[2]);
    case T_FMA64: return fma_exact(&s, x[0], x[1], x[2]);
    case T_DIV32: case T_DIV64: return div_exact(&s, x[0], x[1]);
    case T_SQRT32: case T_SQRT64: return sqrt_exact(&s, x[0]);
    case T_HALF_IN: return half_in(x[0]);
    case T_HALF_OUT: return half_out(x[0]);
    case T_BFLOAT_OUT: return bfloat_out(x[0]);
    case T_MULHI_U64: return mulhi(x[0], x[1], false);
    default: return mulhi(x[0], x[1], true);
    }
}

int exact_signature(Template t, Dtype *out)
{
    *out = signature[t].out;
    return signature[t].n;
}

void exact_template(Exact *e, Template t, FmaForm form)
{
    static const char *const name[] = { "x", "y", "z" };
    Val x[3] = { 0 };
    Kernel *before = K;
    memset(e, 0, sizeof *e);
    K = e->k = k_new("exact");
    e->nin = signature[t].n;
    for (int i = 0; i < e->nin; i++) {
        e->in[i] = (Buffer){
            .name = name[i], .dt = (uint8_t)signature[t].in, .space = GLOBAL, .size = 1, .slot = i
        };
        x[i] = k_load(K, &e->in[i], form_c(0));
    }
    e->out = (Buffer){
        .name = "out", .dt = (uint8_t)signature[t].out, .space = GLOBAL, .size = 1, .slot = e->nin
    };
    k_store(K, &e->out, form_c(0), body(t, form, x));
    k_finish(K);
    K = before;
}
