/*
 * kfold.c - what an instruction of a kernel is without being computed.
 *
 * In:  an instruction that is about to be built.
 * Out: a value that it always equals, or 0; its normal form.
 * Invariant: every fold is exact. Integers wrap as their dtype does; floats are IEEE, one rounding. So x * 1
 * and
 *      x - 0 fold, x * 0 and x + 0 do not (nan, the sign of zero). The lanes of the result may be fewer: one
 *      lane stands for W equal ones.
 */
#include "kir.h"

#include <math.h>
#include <string.h>

/* ==================== constants */

static int width(Dtype dt) { return 8 * (int)dtype_size(dt); }

int64_t k_wrap(Dtype dt, int64_t b)
{
    switch (dt) {
    case DT_BOOL: return b != 0;
    case DT_I8: return (int8_t)b;
    case DT_I16: return (int16_t)b;
    case DT_I32: return (int32_t)b;
    case DT_U8: return (uint8_t)b;
    case DT_U16: return (uint16_t)b;
    case DT_U32: case DT_F32: return (uint32_t)b;
    default: return b;
    }
}

double k_float_of(Dtype dt, int64_t bits)
{
    float f;
    double d;
    uint32_t u = (uint32_t)bits;
    if (dt == DT_F32)
        return memcpy(&f, &u, sizeof f), f;
    return memcpy(&d, &bits, sizeof d), d;
}

int64_t k_bits_of(Dtype dt, double x)
{
    float f = (float)x;
    uint32_t u;
    int64_t b;
    if (dt == DT_F32)
        return x != x ? 0x7fc00000 : (memcpy(&u, &f, sizeof u), (int64_t)u);
    return x != x ? 0x7ff8000000000000 : (memcpy(&b, &x, sizeof b), b);
}

bool k_const_of(const Kernel *k, Val v, int64_t *bits)
{
    while (k->ins[v].op == K_SPLAT)
        v = k->ins[v].arg[0];
    *bits = k->ins[v].bits;
    return k->ins[v].op == K_CONST;
}

/* ==================== constant operands */

/* r = op(x, y, z) in one rounding to dt. False: not an operation on floats. */
static bool eval_float(KOp op, Dtype dt, double x, double y, double z, double *r)
{
    bool f = dt == DT_F32;
    switch (op) {
    /* of floats, in double and then rounded: equal to one rounding */
    case K_ADD: *r = x + y; break;
    case K_SUB: *r = x - y; break;
    case K_MUL: *r = x * y; break;
    case K_DIV: *r = x / y; break;
    case K_SQRT: *r = sqrt(x); break;
    case K_FMA: *r = f ? (double)fmaf((float)x, (float)y, (float)z) : fma(x, y, z); break;
    case K_NEG: *r = -x; break;
    case K_ABS: *r = fabs(x); break;
    case K_MAX: *r = x != x || x > y || (x == y && !signbit(x)) ? x : y; break;
    case K_MIN: *r = x != x || x < y || (x == y && signbit(x)) ? x : y; break;
    case K_FLOOR: *r = floor(x); break;
    case K_CEIL: *r = ceil(x); break;
    case K_RINT: *r = rint(x); break;
    case K_TRUNC: *r = trunc(x); break;
    default: return false;
    }
    return true;
}

static int64_t mulhi(Dtype dt, int64_t x, int64_t y)
{
    if (dt == DT_U64)
        return (int64_t)(uint64_t)((unsigned __int128)(uint64_t)x * (uint64_t)y >> 64);
    return (int64_t)((__int128)x * y >> width(dt));
}

static int count(Dtype dt, int64_t x, bool ones)
{
    uint64_t u = (uint64_t)x;
    int w = width(dt);
    if (w < 64)
        u &= (1ull << w) - 1;
    return ones ? __builtin_popcountll(u) : u ? __builtin_clzll(u) - (64 - w) : w;
}

/* Integers and bool, extended to 64 bits. */
static bool eval_int(KOp op, Dtype dt, int64_t x, int64_t y, int64_t *r)
{
    uint64_t a = (uint64_t)x, b = (uint64_t)y;
    bool s = dtype_signed(dt), min = s && x == k_wrap(dt, (int64_t)(1ull << (width(dt) - 1)));
    switch (op) {
    case K_ADD: *r = (int64_t)(a + b); break;
    case K_SUB: *r = (int64_t)(a - b); break;
    case K_MUL: *r = (int64_t)(a * b); break;
    case K_DIV: case K_REM:
        if (!y || (min && y == -1))
            return false;
        *r = op == K_DIV ? s ? x / y : (int64_t)(a / b) : s ? x % y : (int64_t)(a % b);
        break;
    case K_NEG: *r = (int64_t)(0 - a); break;
    case K_ABS: *r = s && x < 0 ? (int64_t)(0 - a) : x; break;
    case K_MAX: *r = (s ? x > y : a > b) ? x : y; break;
    case K_MIN: *r = (s ? x < y : a < b) ? x : y; break;
    case K_AND: *r = x & y; break;
    case K_OR: *r = x | y; break;
    case K_XOR: *r = x ^ y; break;
    case K_NOT: *r = dt == DT_BOOL ? !x : ~x; break;
    case K_SHL: case K_SHR: case K_SAR:
        if (y < 0 || y >= width(dt))
            return false;
        if (op == K_SHL)
            *r = (int64_t)(a << y);
        else if (op == K_SAR)
            *r = width(dt) == 64 ? x >> y : (int64_t)(a << (64 - width(dt))) >> (64 - width(dt)) >> y;
        else
            *r = (int64_t)((width(dt) == 64 ? a : a & ((1ull << width(dt)) - 1)) >> y);
        break;
    case K_MULHI: *r = mulhi(dt, x, y); break;
    case K_POPCOUNT: *r = count(dt, x, true); break;
    case K_CLZ: *r = count(dt, x, false); break;
    default: return false;
    }
    return true;
}

static bool compare(KOp op, Dtype dt, int64_t x, int64_t y)
{
    int c;
    if (dtype_float(dt)) {
        double a = k_float_of(dt, x), b = k_float_of(dt, y);
        if (a != a || b != b)
            return op == K_NE;
        c = (a > b) - (a < b);
    } else if (dtype_signed(dt))
        c = (x > y) - (x < y);
    else
        c = ((uint64_t)x > (uint64_t)y) - ((uint64_t)x < (uint64_t)y);
    switch (op) {
    case K_EQ: return c == 0;
    case K_NE: return c != 0;
    case K_LT: return c < 0;
    case K_LE: return c <= 0;
    case K_GT: return c > 0;
    default: return c >= 0;
    }
}

static int64_t convert(Dtype from, Dtype to, int64_t b)
{
    if (dtype_float(from)) {
        double x = k_float_of(from, b);
        if (dtype_float(to))
            return k_bits_of(to, x);
        if (to == DT_BOOL)
            return x != 0;
        x = trunc(x);
        if (x >= 0x1p63)
            return to == DT_U64 && x < 0x1p64 ? (int64_t)(uint64_t)x : INT64_MAX;
        return x == x && x > -0x1p63 ? k_wrap(to, (int64_t)x) : 0;
    }
    if (to == DT_F32) {                         /* once rounded: not by way of double */
        float f = from == DT_U64 ? (float)(uint64_t)b : (float)b;
        return k_bits_of(to, f);
    }
    return to == DT_F64 ? k_bits_of(to, from == DT_U64 ? (double)(uint64_t)b : (double)b) : k_wrap(to, b);
}

static double rounded(int to, double x)
{
    return to == DT_F16 ? half_to_double(half_from_double(x)) : bfloat_to_double(bfloat_from_double(x));
}

bool k_eval(KOp op, Dtype dt, Dtype from, int64_t bits, const int64_t *c, int64_t *r)
{
    double f;
    if (k_compares(op))
        return *r = compare(op, from, c[0], c[1]), true;
    if (op == K_CONVERT)
        return *r = k_wrap(dt, convert(from, dt, c[0])), true;
    if (op == K_BITS)
        return *r = k_wrap(dt, c[0]), true;
    if (op == K_ROUND)
        return *r = k_bits_of(dt, rounded((int)bits, k_float_of(from, c[0]))), true;
    if (dtype_float(dt)) {
        double x = k_float_of(dt, c[0]), y = k_float_of(dt, c[1]), z = k_float_of(dt, c[2]);
        return eval_float(op, dt, x, y, z, &f) ? *r = k_bits_of(dt, f), true : false;
    }
    return eval_int(op, dt, c[0], c[1], r) ? *r = k_wrap(dt, *r), true : false;
}

/* All operands are constants c of dtype from; 0 where there are fewer than three. */
static Val fold_const(Kernel *k, KOp op, Dtype dt, Dtype from, int64_t bits, const int64_t *c)
{
    int64_t r;
    return k_eval(op, dt, from, bits, c, &r) ? k_bits(k, k_compares(op) ? DT_BOOL : dt, r) : 0;
}

/* ==================== bool: arithmetic and order are logic */

static Val not_(Kernel *k, Val v) { return k1(k, K_NOT, DT_BOOL, v); }

static Val bool_compare(Kernel *k, KOp op, Val x, Val y)
{
    switch (op) {
    case K_EQ: return not_(k, k2(k, K_XOR, DT_BOOL, x, y));
    case K_NE: return k2(k, K_XOR, DT_BOOL, x, y);
    case K_LT: return k2(k, K_AND, DT_BOOL, not_(k, x), y);
    case K_LE: return k2(k, K_OR, DT_BOOL, not_(k, x), y);
    case K_GT: return k2(k, K_AND, DT_BOOL, x, not_(k, y));
    default: return k2(k, K_OR, DT_BOOL, x, not_(k, y));
    }
}

static KOp bool_op(KOp op)
{
    switch (op) {
    case K_ADD: case K_MAX: return K_OR;
    case K_MUL: case K_MIN: return K_AND;
    case K_SUB: return K_XOR;
    case K_HSUM: case K_HMAX: return K_HOR;
    case K_HPROD: case K_HMIN: return K_HAND;
    default: return op;
    }
}

static Val fold_select_bool(Kernel *k, Val c, Val x, Val y)
{
    int64_t b;
    if (k_const_of(k, x, &b))
        return b ? k2(k, K_OR, DT_BOOL, c, y) : k2(k, K_AND, DT_BOOL, not_(k, c), y);
    if (k_const_of(k, y, &b))
        return b ? k2(k, K_OR, DT_BOOL, not_(k, c), x) : k2(k, K_AND, DT_BOOL, c, x);
    return 0;
}

static Val fold_select(Kernel *k, Dtype dt, Val *a)
{
    int64_t b;
    const KIns *c = &k->ins[a[0]];
    if (k_const_of(k, a[0], &b))
        return b ? a[1] : a[2];
    if (a[1] == a[2])
        return a[1];
    if (c->op == K_NOT)
        return k3(k, K_SELECT, dt, c->arg[0], a[2], a[1]);
    if (k->ins[a[1]].op == K_SELECT && k->ins[a[1]].arg[0] == a[0])
        return k3(k, K_SELECT, dt, a[0], k->ins[a[1]].arg[1], a[2]);
    if (k->ins[a[2]].op == K_SELECT && k->ins[a[2]].arg[0] == a[0])
        return k3(k, K_SELECT, dt, a[0], a[1], k->ins[a[2]].arg[2]);
    return dt == DT_BOOL ? fold_select_bool(k, a[0], a[1], a[2]) : 0;
}

/* ==================== one constant operand, equal operands */

static Val fold_int(Kernel *k, KOp *op, Dtype dt, Val *a)
{
    int64_t c, d, ones = dt == DT_BOOL ? 1 : k_wrap(dt, -1);
    if (*op == K_SUB && k_const_of(k, a[1], &c)) {
        *op = K_ADD;
        a[1] = k_bits(k, dt, (int64_t)(0 - (uint64_t)c));
    }
    if (kop[*op].commutes && k_const_of(k, a[0], &c)) {
        Val t = a[0];
        a[0] = a[1], a[1] = t;
    }
    Val x = a[0];
    if (a[0] == a[1])
        switch (*op) {
        case K_SUB: case K_XOR: return k_bits(k, dt, 0);
        case K_AND: case K_OR: case K_MAX: case K_MIN: return x;
        default: break;
        }
    if (!k_const_of(k, a[1], &c))
        return 0;
    bool pow2 = c > 0 && !(c & (c - 1));
    switch (*op) {
    case K_ADD: case K_SHL: case K_SHR: case K_SAR:
        if (!c)
            return x;
        break;
    case K_XOR:
        if (!c)
            return x;
        if (c == ones)
            return k1(k, K_NOT, dt, x);
        break;
    case K_OR:
        if (!c || c == ones)
            return c ? a[1] : x;
        break;
    case K_AND:
        if (!c || c == ones)
            return c ? x : a[1];
        break;
    case K_MUL:
        if (!c || c == 1)
            return c ? x : a[1];
        break;
    case K_DIV: case K_REM:
        if (c == 1)
            return *op == K_DIV ? x : k_bits(k, dt, 0);
        if (!dtype_unsigned(dt) || !pow2)
            return 0;
        return *op == K_DIV ? k2(k, K_SHR, dt, x, k_bits(k, dt, __builtin_ctzll((uint64_t)c)))
                            : k2(k, K_AND, dt, x, k_bits(k, dt, c - 1));
    default:
        return 0;
    }
    const KIns *i = &k->ins[x];
    int64_t r;
    if ((*op == K_ADD || *op == K_MUL || *op == K_AND || *op == K_OR || *op == K_XOR) && i->op == *op &&
        i->dt == dt && k_const_of(k, i->arg[1], &d) && eval_int(*op, dt, d, c, &r))
        return k2(k, *op, dt, i->arg[0], k_bits(k, dt, r));     /* (x + d) + c */
    return 0;
}

/* Is 1 / c exact? */
static bool inverse(Dtype dt, double c, double *r)
{
    int e;
    double m = frexp(c, &e);
    *r = 1 / c;
    return (m == 0.5 || m == -0.5) &&
        (dt == DT_F32 ? fabs(*r) >= 0x1p-126 && fabs(*r) <= 0x1p127 : isnormal(*r));
}

static Val fold_float(Kernel *k, KOp *op, Dtype dt, Val *a)
{
    int64_t b;
    if (kop[*op].commutes && k_const_of(k, a[0], &b)) {
        Val t = a[0];
        a[0] = a[1], a[1] = t;
    }
    if ((*op == K_MAX || *op == K_MIN) && a[0] == a[1])
        return a[0];
    if (*op == K_ADD || *op == K_SUB) {         /* x + -y, x - -y */
        const KIns *y = &k->ins[a[1]], *x = &k->ins[a[0]];
        if (y->op == K_NEG)
            return k2(k, *op == K_ADD ? K_SUB : K_ADD, dt, a[0], y->arg[0]);
        if (x->op == K_NEG && *op == K_ADD)
            return k2(k, K_SUB, dt, a[1], x->arg[0]);
    }
    if (!k_const_of(k, a[1], &b))
        return 0;
    double c = k_float_of(dt, b), r;
    switch (*op) {
    case K_ADD: return c == 0 && signbit(c) ? a[0] : 0;
    case K_SUB: return c == 0 && !signbit(c) ? a[0] : 0;
    case K_MUL: return c == 1 ? a[0] : c == -1 ? k1(k, K_NEG, dt, a[0]) : 0;
    case K_DIV:
        if (c == 1)
            return a[0];
        return inverse(dt, c, &r) ? k2(k, K_MUL, dt, a[0], k_const(k, dt, r)) : 0;
    default: return 0;
    }
}

static Val fold_fma(Kernel *k, Dtype dt, Val *a)
{
    int64_t b, x, y;
    if (k_const_of(k, a[0], &x)) {              /* a product in order */
        Val t = a[0];
        a[0] = a[1], a[1] = t;
    }
    bool constant = k_const_of(k, a[1], &y);
    if (constant && k_float_of(dt, y) == 1)
        return k2(k, K_ADD, dt, a[0], a[2]);
    if (!constant && a[0] > a[1]) {
        Val t = a[0];
        a[0] = a[1], a[1] = t;
    }
    if (k_const_of(k, a[2], &b) && k_float_of(dt, b) == 0 && signbit(k_float_of(dt, b)))
        return k2(k, K_MUL, dt, a[0], a[1]);
    return 0;
}

static Val fold_compare(Kernel *k, KOp *op, Val *a)
{
    Dtype dt = k->ins[a[0]].dt;
    if (dt == DT_BOOL)
        return bool_compare(k, *op, a[0], a[1]);
    if (a[0] == a[1] && (!dtype_float(dt) || *op == K_LT || *op == K_GT))
        return k_bits(k, DT_BOOL, *op == K_EQ || *op == K_LE || *op == K_GE);
    static const KOp turned[] = { [K_EQ] = K_EQ, [K_NE] = K_NE, [K_LT] = K_GT, [K_LE] = K_GE, [K_GT] = K_LT,
        [K_GE] = K_LE };
    int64_t b;
    if (k_const_of(k, a[0], &b)) {              /* the constant to the right */
        Val t = a[0];
        a[0] = a[1], a[1] = t;
        *op = turned[*op];
    }
    return 0;
}

/* ==================== conversions and single operands */

/* Is x -> mid -> to the same as x -> to, for every x of dtype from? */
static bool passes(Dtype from, Dtype mid, Dtype to)
{
    if (dtype_float(mid))                       /* exact there, and back */
        return from == to && (from == DT_BOOL || dtype_size(from) < dtype_size(mid));
    if (from == DT_BOOL)
        return to == DT_BOOL || dtype_int(to);
    if (!dtype_int(from) || !dtype_int(to) || dtype_size(from) > dtype_size(mid))
        return false;
    bool keeps = dtype_signed(from) == dtype_signed(mid) ||
        (dtype_unsigned(from) && dtype_size(from) < dtype_size(mid));
    return dtype_size(to) <= dtype_size(mid) || keeps;
}

static Val fold_convert(Kernel *k, Dtype dt, Val x)
{
    const KIns *i = &k->ins[x];
    if (i->dt == dt)
        return x;
    if (i->op != K_CONVERT || i->dt == DT_BOOL)
        return 0;
    Val y = i->arg[0];
    Dtype from = k->ins[y].dt;
    return passes(from, i->dt, dt) ? k1(k, K_CONVERT, dt, y) : 0;
}

/* Is it a value of the narrow float type already? */
static bool is_rounded(const Kernel *k, Val v, int to, int depth)
{
    const KIns *i = &k->ins[v];
    if (depth > 5)
        return false;
    switch (i->op) {
    case K_ROUND: return i->bits == to;
    case K_LOAD: return i->buf->dt == to;
    case K_CONST: {
        double x = k_float_of(i->dt, i->bits);
        return x != x || rounded(to, x) == x;
    }
    case K_SPLAT: case K_NEG: case K_ABS: case K_FLOOR: case K_CEIL: case K_RINT: case K_TRUNC:
        return is_rounded(k, i->arg[0], to, depth + 1);
    case K_MAX:
    case K_MIN:
        return is_rounded(k, i->arg[0], to, depth + 1) && is_rounded(k, i->arg[1], to, depth + 1);
    case K_SELECT: return is_rounded(k, i->arg[1], to, depth + 1) && is_rounded(k, i->arg[2], to, depth + 1);
    case K_CONVERT: return k->ins[i->arg[0]].dt == DT_BOOL || dtype_size(k->ins[i->arg[0]].dt) == 1;
    default: return false;
    }
}

static bool whole(KOp op) { return op == K_FLOOR || op == K_CEIL || op == K_RINT || op == K_TRUNC; }

static Val fold_unary(Kernel *k, KOp op, Dtype dt, int64_t bits, Val x)
{
    static const KOp inverse_of[] = {
        [K_EQ] = K_NE, [K_NE] = K_EQ, [K_LT] = K_GE, [K_LE] = K_GT, [K_GT] = K_LE, [K_GE] = K_LT
    };
    const KIns *i = &k->ins[x];
    switch (op) {
    case K_CONVERT:
        return fold_convert(k, dt, x);
    case K_BITS:
        return i->dt == dt ? x : i->op == K_BITS ? k1(k, K_BITS, dt, i->arg[0]) : 0;
    case K_ROUND:
        return is_rounded(k, x, (int)bits, 0) ? x : 0;
    case K_NEG:
        return i->op == K_NEG ? i->arg[0] : 0;
    case K_ABS:
        if (i->op == K_ABS || dtype_unsigned(dt))
            return x;
        return i->op == K_NEG && dtype_float(dt) ? k1(k, K_ABS, dt, i->arg[0]) : 0;
    case K_NOT:
        if (i->op == K_NOT)
            return i->arg[0];
        if (dt == DT_BOOL && k_compares(i->op) &&
            (i->op == K_EQ || i->op == K_NE || !dtype_float(k->ins[i->arg[0]].dt)))
            return k2(k, inverse_of[i->op], DT_BOOL, i->arg[0], i->arg[1]);
        return 0;
    case K_FLOOR: case K_CEIL: case K_RINT: case K_TRUNC:
        return whole(i->op) ? x : 0;
    default:
        return 0;
    }
}

/* One lane is W equal lanes. */
static Val fold_horizontal(Kernel *k, KOp op, Dtype dt, Val x)
{
    while (k->ins[x].op == K_SPLAT)
        x = k->ins[x].arg[0];
    if (k->ins[x].w == W)
        return 0;
    for (int n = W; n > 1 && (op == K_HSUM || op == K_HPROD); n /= 2)
        x = k2(k, op == K_HSUM ? K_ADD : K_MUL, dt, x, x);
    return op == K_HXOR ? k_bits(k, dt, 0) : x;
}

Val k_fold(Kernel *k, KOp *op, Dtype *dt, int64_t bits, int n, Val *a)
{
    int64_t c[3] = { 0 };
    if (!n || n > 3)
        return 0;
    if (k->ins[a[0]].dt == DT_BOOL && *dt == DT_BOOL)
        *op = bool_op(*op);
    if (k_across(*op))
        return fold_horizontal(k, *op, *dt, a[0]);
    if (*op == K_SELECT)
        return fold_select(k, *dt, a);
    bool all = true;
    for (int i = 0; i < n; i++)
        all &= k_const_of(k, a[i], &c[i]);
    Val v = all ? fold_const(k, *op, *dt, k->ins[a[0]].dt, bits, c) : 0;
    if (v)
        return v;
    if (k_compares(*op))
        return fold_compare(k, op, a);
    if (n == 1)
        return fold_unary(k, *op, *dt, bits, a[0]);
    if (*op == K_FMA)
        return fold_fma(k, *dt, a);
    return n != 2 ? 0 : dtype_float(*dt) ? fold_float(k, op, *dt, a) : fold_int(k, op, *dt, a);
}
