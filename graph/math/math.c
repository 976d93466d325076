/*
 * math.c - from an elementwise op of the graph to kernel IR: the meaning of every op, built from exact
 * instructions.
 *
 * In:  the op, its dtype, operands.   Out: a value. f16 and bf16 are computed in f32 and rounded once, after
 * every op.
 * The edges are defined here, not by drivers: integer division by zero is -1 (all bits), MIN / -1 is MIN, a
 * remainder by zero is the dividend; shifts beyond the width give 0 or the sign; float to integer saturates
 * and nan is 0; max and min give nan if either operand is, and order -0 before +0.
 */
#include <math.h>
#include "graph.h"
#include "math_ir.h"

_Thread_local Kernel *math_kernel;

Val math_poly(Val t, int n, const float *c)
{
    Val p = F(c[n - 1]);
    for (int i = n - 2; i >= 0; i--)
        p = fma_(p, t, F(c[i]));
    return p;
}

Val math_word(Val i, uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t e)
{
    Val w = U(e);
    w = sel(eq(i, U(3)), U(d), w);
    w = sel(eq(i, U(2)), U(c), w);
    w = sel(eq(i, U(1)), U(b), w);
    return sel(eq(i, U(0)), U(a), w);
}

Dtype math_register(Dtype dt) { return dt == DT_F16 || dt == DT_BF16 ? DT_F32 : dt; }

static int width(Dtype dt) { return 8 * (int)dtype_size(dt); }
static int64_t least(Dtype dt) { return dtype_unsigned(dt) ? 0 : INT64_MIN >> (64 - width(dt)); }
static int64_t greatest(Dtype dt)
{
    return dtype_unsigned(dt) ? (int64_t)(UINT64_MAX >> (64 - width(dt))) : INT64_MAX >> (64 - width(dt));
}
static Dtype unsigned_of(Dtype dt)
{
    _Static_assert(DT_I64 - DT_I8 == DT_U64 - DT_U8, "each signed dtype has one without a sign");
    return dt >= DT_I8 && dt <= DT_I64 ? (Dtype)(DT_U8 + (dt - DT_I8)) : dt;
}
static Dtype bits_of(Dtype float_dt) { return float_dt == DT_F64 ? DT_U64 : DT_U32; }

/* ---- integers ---- */

static Val int_divide(Val x, Val y, bool rem)
{
    Dtype dt = kdt(x);
    Val zero = bits_like(x, 0), one = bits_like(x, 1), none = eq(y, zero), bad = none, over = 0;
    if (dtype_signed(dt)) {
        over = and(eq(x, bits_like(x, least(dt))), eq(y, bits_like(x, -1)));
        bad = or(none, over);
    }
    Val r = k2(K, rem ? K_REM : K_DIV, dt, x, sel(bad, one, y));
    if (rem)
        return sel(none, x, r);                 /* MIN rem 1 is 0 as MIN rem -1 shall be */
    return sel(none, bits_like(x, -1), r);      /* MIN / 1 is MIN as MIN / -1 shall be */
}

static Val shift(KOp op, Val x, Val n)
{
    Dtype dt = kdt(x), ut = unsigned_of(dt);
    Val big = ge(convert(n, ut), k_bits(K, ut, width(dt)));
    if (op == K_SAR)
        return k2(K, K_SAR, dt, x, sel(big, bits_like(n, width(dt) - 1), n));
    Val safe = sel(big, bits_like(n, 0), n), y;
    if (op == K_SHR && ut != dt)                /* zeros from the left, whatever the sign */
        y = bits(k2(K, K_SHR, ut, bits(x, ut), bits(safe, ut)), dt);
    else
        y = k2(K, op, dt, x, safe);
    return sel(big, bits_like(x, 0), y);
}

/* By squaring, all bits of the exponent; wraps. A negative exponent: 1 for base 1, +-1 for -1, else 0. */
static Val int_pow(Val x, Val n)
{
    Dtype dt = kdt(x);
    Val r = bits_like(x, 1), b = x, e = n, zero = bits_like(x, 0), one = bits_like(x, 1);
    int bits_used = width(dt) - (dtype_signed(dt) ? 1 : 0);
    if (K->ins[x].w > 1 || K->ins[n].w > 1)
        r = k_splat(K, r);
    Val phi[3], out[3], init[] = { r, b, e };
    k_loop(K, "p", bits_used, 3, init, phi);
    Val odd = ne(and(phi[2], one), zero);
    Val next[] = { sel(odd, mul(phi[0], phi[1]), phi[0]), mul(phi[1], phi[1]), shr(phi[2], one) };
    k_loop_end(K, next, out);
    if (dtype_unsigned(dt))
        return out[0];
    Val odd_n = ne(and(n, one), zero), minus = bits_like(x, -1);
    Val neg_result = sel(eq(x, one), one, sel(eq(x, minus), sel(odd_n, minus, one), zero));
    return sel(lt(n, zero), neg_result, out[0]);
}

static Val int_sign(Val x)
{
    Val zero = bits_like(x, 0), one = bits_like(x, 1), s = sel(gt(x, zero), one, zero);
    return dtype_signed(kdt(x)) ? sel(lt(x, zero), bits_like(x, -1), s) : s;
}

static Val int_op(int op, const Val *a)
{
    Val x = a[0], y = a[1];
    Dtype dt = kdt(x);
    switch (op) {
    case OP_add: return add(x, y);
    case OP_sub: return sub(x, y);
    case OP_mul: return mul(x, y);
    case OP_div: return int_divide(x, y, false);
    case OP_rem: return int_divide(x, y, true);
    case OP_pow: return int_pow(x, y);
    case OP_max: return k2(K, K_MAX, dt, x, y);
    case OP_min: return k2(K, K_MIN, dt, x, y);
    case OP_clamp: return k2(K, K_MIN, dt, k2(K, K_MAX, dt, y, x), a[2]);
    case OP_neg: return neg(x);
    case OP_abs: return dtype_signed(dt) ? abs_(x) : x;
    case OP_sign: return int_sign(x);
    case OP_and: return and(x, y);
    case OP_or: return or(x, y);
    case OP_xor: return xor(x, y);
    case OP_not: return not(x);
    case OP_shift_left: return shift(K_SHL, x, y);
    case OP_shift_right_logical: return shift(K_SHR, x, y);
    case OP_shift_right_arithmetic: return shift(K_SAR, x, y);
    case OP_population_count: return k1(K, K_POPCOUNT, dt, x);
    case OP_clz: return k1(K, K_CLZ, dt, x);
    case OP_mulhi: return mulhi(x, y);
    }
    return 0;
}

static Val bool_op(int op, const Val *a)
{
    Val x = a[0], y = a[1];
    switch (op) {
    case OP_add: case OP_or: case OP_max: return or(x, y);
    case OP_mul: case OP_and: case OP_min: return and(x, y);
    case OP_xor: return xor(x, y);
    case OP_not: return not(x);
    }
    return 0;
}

/* ---- floats ---- */

/* The remainder of a float division, exact: long division in steps of what the mantissa holds. |x| is
 * brought down by subtracting multiples of |y| scaled by powers of two, one bit a step, as many steps as the
 * exponents differ. */
static Val float_rem(Val x, Val y)
{
    Dtype dt = kdt(x), bt = bits_of(dt);
    int mant = dt == DT_F64 ? 52 : 23;
    int64_t one = (int64_t)1 << mant, expmask = dt == DT_F64 ? 0x7ff : 0xff;
    Val zero = k_bits(K, bt, 0), unit = k_bits(K, bt, 1);
    Val ax = abs_(x), ay = abs_(y), bx = bits(ax, bt), by = bits(ay, bt);
    Val ex = shr_n(bx, mant), ey = shr_n(by, mant);
    Val mx = and(bx, k_bits(K, bt, one - 1)), my = and(by, k_bits(K, bt, one - 1));
    mx = sel(eq(ex, zero), mx, or(mx, k_bits(K, bt, one)));
    my = sel(eq(ey, zero), my, or(my, k_bits(K, bt, one)));
    ex = sel(eq(ex, zero), unit, ex);
    ey = sel(eq(ey, zero), unit, ey);
    /* Below the normal numbers: up to the leading bit, or one subtraction a step would not do. */
    Val lead = k_bits(K, bt, width(bt) - 1 - mant), sx = sub(k1(K, K_CLZ, bt, mx), lead),
        sy = sub(k1(K, K_CLZ, bt, my), lead);
    sx = sel(eq(mx, zero), zero, sx), sy = sel(eq(my, zero), zero, sy);
    mx = shl(mx, sx), my = shl(my, sy);
    Val more = and(gt(ax, ay), ne(by, zero));
    /* bits of the quotient still to come, besides the first */
    Val n = sel(more, sub(sub(ex, sx), sub(ey, sy)), zero);
    Val init[] = { mx, n }, phi[2], out[2];
    int w = K->ins[x].w > K->ins[y].w ? K->ins[x].w : K->ins[y].w;
    if (w > 1)
        for (int i = 0; i < 2; i++)
            init[i] = K->ins[init[i]].w > 1 ? init[i] : k_splat(K, init[i]);
    k_loop(K, "r", -1, 2, init, phi);
    Val go = ne(phi[1], zero);
    k_brk(K, any(go));
    Val m = sel(ge(phi[0], my), sub(phi[0], my), phi[0]);
    Val next[] = { sel(go, shl_n(m, 1), phi[0]), sel(go, sub(phi[1], unit), phi[1]) };
    k_loop_end(K, next, out);
    /* exact: a multiple of the least number */
    Val m1 = shr(sel(ge(out[0], my), sub(out[0], my), out[0]), sy);
    /* m1 * 2^(ey - bias - mant): as a denormal or shifted up to its leading bit */
    /* places to the leading bit; huge if m1 = 0 */
    Val top = sub(k1(K, K_CLZ, bt, m1), k_bits(K, bt, width(bt) - 1 - mant));
    Val room = sub(ey, unit), up = sel(eq(m1, zero), zero, sel(lt(top, room), top, room));
    Val mm = shl(m1, up), e = sub(ey, up);
    Val normal = ge(mm, k_bits(K, bt, one));
    Val r = or(and(mm, k_bits(K, bt, one - 1)), sel(normal, shl_n(e, mant), zero));
    r = or(r, and(bits(x, bt), k_bits(K, bt, (int64_t)(1ull << (width(bt) - 1)))));
    Val value = sel(lt(ax, ay), x, bits(r, dt));
    Val inf = k_bits(K, bt, expmask << mant);
    Val bad = or(or(eq(ay, lit(x, 0)), not(lt(bx, inf))), gt(by, inf));
    return sel(bad, lit(x, NAN), value);
}

/* The next number of the dtype's own grid. f16 and bf16 live in f32, whose grid is finer: their step is
 * computed. */
static Val next_after(Dtype dt, Val x, Val y)
{
    Dtype rt = kdt(x), bt = bits_of(rt);
    /* bits of f32 below the grid, for normal numbers */
    int skip = dt == DT_F16 ? 13 : dt == DT_BF16 ? 16 : 0;
    Val zero = lit(x, 0), b = bits(x, bt), step = k_bits(K, bt, (int64_t)1 << skip);
    double tiny = dt == DT_F16 ? 0x1p-24 : dt == DT_BF16 ? 0x1p-133 : rt == DT_F64 ? 0x1p-1074 : 0x1p-149;
    Val away = eq(gt(y, x), gt(x, zero));
    Val r = bits(sel(away, add(b, step), sub(b, step)), rt);
    /* below 2^-14 the grid is even; above 65504 there is infinity */
    if (dt == DT_F16) {
        Val dir = sel(gt(y, x), lit(x, tiny), lit(x, -tiny)), ax = abs_(x);
        Val small = or(lt(ax, lit(x, 0x1p-14)), and(eq(ax, lit(x, 0x1p-14)), not(away)));
        r = sel(small, copysign_(add(x, dir), x), r);
        r = sel(gt(abs_(r), lit(x, 65504)), copysign_(lit(x, INFINITY), r), r);
        r = sel(and(eq(ax, lit(x, INFINITY)), not(away)), copysign_(lit(x, 65504), x), r);
    }
    Val first = sel(gt(y, zero), lit(x, tiny), lit(x, -tiny));
    r = sel(eq(x, zero), first, r);
    r = sel(eq(x, y), y, r);
    return sel(and(eq(x, x), eq(y, y)), r, add(x, y));
}

/* What the op table says: functions of which one text serves both dtypes, and those of f32. */
static Val function_of(int op, const Val *a, bool wide)
{
    Val x = a[0], y = a[1], w = a[2];
    (void)x, (void)y, (void)w;
    switch (op) {
#define ELEM(name, Name, arity, accepts, gives, commutes, how, ...)     CASE(name, arity, how)
#define CASE(name, arity, ...)                                          CASE_(name, arity, __VA_ARGS__)
#define CASE_(name, arity, kind, f)                                     CASE_##kind(name, arity, f)
#define CASE_PLAIN(name, arity, f)
#define CASE_FUNCTION(name, arity, f) \
    case OP_##name: \
        return wide ? f64_##f(OPERANDS_##arity) : f32_##f(OPERANDS_##arity);
#define CASE_EITHER(name, arity, f) \
    case OP_##name: \
        return f(OPERANDS_##arity);
#define OPERANDS_1  x
#define OPERANDS_2  x, y
#define OPERANDS_3  x, y, w
#define STRUC(...)
#include "ops.def"
    }
    return 0;
}

/* ---- what is text once a kernel ---- */

Val math_once(Kernel *k, const MathFunction *m, int n, const Val *x)
{
    int w = k_widest(k, n, x);
    int64_t bits;
    for (int i = 0; i < n; i++)
        if (!w || k_const_of(k, x[i], &bits))
            return w ? m->body(k, m->what, x) : 0;
    KFunction *f = k_function_of(k, m->what, (Dtype)k->ins[x[0]].dt, w);
    if (!f) {
        Loc was = loc_set((Loc){ 0 });          /* it is of no line */
        f = k_function(k, m->what, m->name, n, x);
        f->seldom = m->seldom;
        const Val result = m->body(k, m->what, f->arg);
        k_function_end(k, f, 1, &result);
        loc_set(was);
    }
    return k_apply(k, f, x);
}

Val math_seldom(int op, const char *name, MathBody *body, int n, const Val *x)
{
    return math_once(K, &(MathFunction){ MATH_OTHER + op, name, body, true }, n, x);
}

/* Shorter ones stand where they are used. */
enum { CALL_FROM = 20 };

static Val function_body(Kernel *k, int op, const Val *x)
{
    Val a[3] = { 0 };
    for (int i = 0; i < optab[op].nin; i++)
        a[i] = x[i];
    if (op == OP_rem)
        return float_rem(a[0], a[1]);
    return function_of(op, a, k->ins[a[0]].dt == DT_F64);
}

Val math_function(int op, int n, const Val *x)
{
    if (optab[op].code < CALL_FROM)
        return function_body(K, op, x);
    return math_once(K, &(MathFunction){ op, optab[op].name, function_body, false }, n, x);
}

Val math_again(Kernel *k, const KFunction *f, const Val *x)
{
    if (f->what >= MATH_OTHER)
        return 0;
    Kernel *before = math_kernel;
    math_kernel = k;
    Val y = math_function(f->what, f->narg, x);
    math_kernel = before;
    return y;
}

static Val float_op(int op, Dtype dt, int n, const Val *a)
{
    Val x = a[0], y = a[1];
    Dtype rt = kdt(x);
    switch (op) {
    case OP_add: return add(x, y);
    case OP_sub: return sub(x, y);
    case OP_mul: return mul(x, y);
    case OP_div: return divide(x, y);
    case OP_max: return k2(K, K_MAX, rt, x, y);
    case OP_min: return k2(K, K_MIN, rt, x, y);
    case OP_clamp: return k2(K, K_MIN, rt, k2(K, K_MAX, rt, y, x), a[2]);
    case OP_neg: return neg(x);
    case OP_abs: return abs_(x);
    case OP_sign: return sel(gt(x, lit(x, 0)), lit(x, 1), sel(lt(x, lit(x, 0)), lit(x, -1), x));
    case OP_copysign: return copysign_(x, y);
    case OP_nextafter: return next_after(dt, x, y);
    case OP_floor: return k1(K, K_FLOOR, rt, x);
    case OP_ceil: return k1(K, K_CEIL, rt, x);
    case OP_round: return k1(K, K_RINT, rt, x);
    case OP_trunc: return k1(K, K_TRUNC, rt, x);
    case OP_round_away:                         /* what is cut off is exact */
        y = k1(K, K_TRUNC, rt, x);
        return sel(ge(abs_(sub(x, y)), lit(x, 0.5)), add(y, copysign_(lit(x, 1), x)), y);
    case OP_sqrt: return sqrt_(x);
    }
    return math_function(op, n, a);
}

static Val compare(int op, Val x, Val y)
{
    static const KOp as[] = {
        [OP_eq] = K_EQ, [OP_ne] = K_NE, [OP_lt] = K_LT, [OP_le] = K_LE, [OP_gt] = K_GT, [OP_ge] = K_GE
    };
    if (kdt(x) != DT_BOOL)
        return k2(K, as[op], DT_BOOL, x, y);
    switch (op) {                               /* false < true */
    case OP_eq: return not(xor(x, y));
    case OP_ne: return xor(x, y);
    case OP_lt: return and(not(x), y);
    case OP_le: return or(not(x), y);
    case OP_gt: return and(x, not(y));
    default:    return or(x, not(y));
    }
}

/* ---- conversions ---- */

/* An f64 as an f32 that is odd in its last bit where it is not exact: rounding that once more, to fewer
 * bits, is right. */
static Val round_odd(Val x)
{
    Val y = convert(x, DT_F32), back = convert(y, DT_F64), b = ubits(y);
    Val even = eq(and(b, U(1)), U(0)), inexact = and(ne(back, x), eq(x, x));
    Val above = gt(abs_(back), abs_(x));
    Val odd = sel(above, sub(b, U(1)), add(b, U(1)));
    return flt(sel(and(inexact, even), odd, b));
}

/* An integer as f32, odd likewise: the leading 24 bits, with one bit that says whether anything is below
 * them. */
static Val int_odd(Val x)
{
    Dtype dt = kdt(x), ut = unsigned_of(dt);
    Val zero = bits_like(x, 0), negative = dtype_signed(dt) ? lt(x, zero) : 0;
    Val m = bits(negative ? sel(negative, neg(x), x) : x, ut);
    Val lead = k1(K, K_CLZ, ut, m), keep = k_bits(K, ut, width(ut) - 24), uz = k_bits(K, ut, 0);
    Val s = sel(lt(lead, keep), sub(keep, lead), uz);
    Val t = shr(m, s), odd = or(t, sel(ne(shl(t, s), m), k_bits(K, ut, 1), uz));
    Val scale = flt(shl_n(add(convert(s, DT_U32), U(127)), 23));
    Val y = mul(convert(convert(odd, DT_U32), DT_F32), scale);
    return negative ? sel(negative, neg(y), y) : y;
}

static Val float_to_int(Val x, Dtype to)
{
    double lo = dtype_unsigned(to) ? 0 : -ldexp(1, width(to) - 1),
           hi = ldexp(1, width(to) - (dtype_unsigned(to) ? 0 : 1));
    Val under = lt(x, lit(x, lo)), over = ge(x, lit(x, hi)), nan = ne(x, x);
    Val safe = sel(or(or(under, over), nan), lit(x, 0), x);
    Val y = k1(K, K_CONVERT, to, safe);
    y = sel(under, k_bits(K, to, least(to)), y);
    return sel(over, k_bits(K, to, greatest(to)), y);
}

static Val convert_any(Val x, Dtype from, Dtype to)
{
    Dtype rf = math_register(from), rt = math_register(to);
    bool narrow = to == DT_F16 || to == DT_BF16;
    if (from == to)
        return x;
    if (to == DT_BOOL)
        return ne(x, lit(x, 0));
    if (from == DT_BOOL)
        return k1(K, K_CONVERT, rt, x);
    if (dtype_float(from) && dtype_int(to))
        return float_to_int(x, to);
    if (narrow && rf == DT_F64)
        return round_odd(x);
    if (narrow && dtype_int(from) && width(from) > 16)
        return int_odd(x);
    return convert(x, rt);
}

/* The magnitude of an f16 below 2^-14, to the grid of its denormals with that many bits less. */
static Val reduce_denormal(Val mag, int64_t mantissa)
{
    Val magic = lit(mag, ldexp(1.5, (int)(23 - 14 - mantissa)));
    return sub(add(mag, magic), magic);
}

/* Fewer exponent and mantissa bits, rounding to nearest even on the dtype's own grid; beyond the exponents
 * infinity and zero. */
static Val reduce_precision(Dtype own, Val x, int64_t exponent, int64_t mantissa)
{
    Dtype dt = kdt(x), bt = bits_of(dt);
    int m = dt == DT_F64 ? 52 : 23, e = dt == DT_F64 ? 11 : 8, own_e = own == DT_F16 ? 5 : e;
    const uint64_t top = 1ull << (m + e);
    int64_t bias = ((int64_t)1 << (e - 1)) - 1, sign_bit = (int64_t)top, rest = (int64_t)(top - 1);
    Val b = bits(x, bt), nan = ne(x, x), inf = k_bits(K, bt, ((((int64_t)1 << e) - 1)) << m);
    Val sign_of = and(b, k_bits(K, bt, sign_bit)), r = b;
    if (mantissa < m) {
        int drop = (int)(m - mantissa);
        Val last = and(shr_n(b, drop), k_bits(K, bt, 1));
        r = add(b, add(k_bits(K, bt, ((int64_t)1 << (drop - 1)) - 1), last));
        r = and(r, k_bits(K, bt, ~(((int64_t)1 << drop) - 1)));
    }
    if (own == DT_F16 && mantissa < 10) {
        Val a = abs_(x);
        r = sel(lt(a, lit(a, 0x1p-14)), or(bits(reduce_denormal(a, mantissa), bt), sign_of), r);
    }
    if (exponent < own_e) {
        int64_t small_bias = ((int64_t)1 << (exponent - 1)) - 1;
        Val mag = and(r, k_bits(K, bt, rest));
        Val over = gt(shr_n(mag, m), k_bits(K, bt, bias + small_bias));
        Val under = le(shr_n(mag, m), k_bits(K, bt, bias - small_bias));
        r = sel(over, or(sign_of, inf), sel(under, sign_of, r));
    }
    r = sel(eq(and(b, k_bits(K, bt, rest)), inf), b, r);
    return sel(nan, x, bits(r, dt));
}

/* ---- random bits ---- */

static Val rotate(Val x, int by) { return or(shl_n(x, by), shr_n(x, 32 - by)); }

/* Five groups of four rounds; after each, the next two of three key words and the group's number. */
static void threefry(const Val *x, Val *out)
{
    static const int by[2][4] = { { 13, 15, 26, 6 }, { 17, 29, 16, 24 } };
    Val key[3] = { x[0], x[1], xor(xor(x[0], x[1]), U(0x1BD11BDA)) }, a = add(x[2], x[0]),
        b = add(x[3], x[1]);
    for (int g = 0; g < 5; g++) {
        for (int r = 0; r < 4; r++) {
            a = add(a, b);
            b = xor(rotate(b, by[g & 1][r]), a);
        }
        a = add(a, key[(g + 1) % 3]);
        b = add(add(b, key[(g + 2) % 3]), U((uint32_t)g + 1));
    }
    out[0] = a, out[1] = b;
}

Val math_threefry(Kernel *k, const Val x[4], int which)
{
    Val out[2];
    int w = k_widest(k, 4, x);
    bool known = true;
    for (int i = 0; i < 4; i++)
        known = known && k_is_const(k, x[i]);
    KFunction *f = known || !w ? NULL : k_function_of(k, OP_threefry, DT_U32, w);
    Kernel *before = math_kernel;
    math_kernel = k;
    if (known)
        threefry(x, out);
    else if (w && !f) {
        Loc was = loc_set((Loc){ 0 });
        f = k_function(k, OP_threefry, "threefry", 4, x);
        threefry(f->arg, out);
        k_function_end(k, f, 2, out);
        loc_set(was);
    }
    math_kernel = before;
    Val v = f ? k_apply(k, f, x) : 0;
    return known ? out[which] : v ? k->ins[v].part[which] : 0;
}

/* ---- the entry ---- */

static Val build(int op, Dtype dt, Dtype to, int n, const Val *a)
{
    switch (op) {
    case OP_select: return sel(a[0], a[1], a[2]);
    case OP_stop_gradient: return a[0];
    case OP_convert: return convert_any(a[0], dt, to);
    case OP_is_finite: return lt(abs_(a[0]), lit(a[0], INFINITY));
    case OP_eq: case OP_ne: case OP_lt: case OP_le: case OP_gt: case OP_ge: return compare(op, a[0], a[1]);
    }
    return dt == DT_BOOL ? bool_op(op, a) : dtype_float(dt) ? float_op(op, dt, n, a) : int_op(op, a);
}

Val math_op(Kernel *k, int op, Dtype dt, Dtype to, int narg, const Val *arg)
{
    Val a[3] = { 0 };
    for (int i = 0; i < narg && i < 3; i++)
        if ((a[i] = arg[i]) == 0)
            return 0;
    Kernel *before = math_kernel;
    math_kernel = k;
    Val v = build(op, dt, to, narg, a);
    if (!v)
        error_set(E_INTERNAL, "%s of %s has no form in the kernel IR", optab[op].name, dtype_name(dt));
    bool exact = op == OP_select || op == OP_stop_gradient || op == OP_neg || op == OP_abs || op == OP_max ||
        op == OP_min || op == OP_clamp || op == OP_floor || op == OP_ceil || op == OP_round ||
        op == OP_trunc || op == OP_sign;
    if (v && (to == DT_F16 || to == DT_BF16) && !exact)
        v = k1(k, K_ROUND, to, v);
    math_kernel = before;
    return v;
}

Val math_reduce_precision(Kernel *k, Dtype dt, Val x, int64_t exponent, int64_t mantissa)
{
    Kernel *before = math_kernel;
    math_kernel = k;
    Val v = reduce_precision(dt, x, exponent, mantissa);
    if (dt == DT_F16 || dt == DT_BF16)
        v = k1(k, K_ROUND, dt, v);
    math_kernel = before;
    return v;
}
