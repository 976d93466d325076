/*
 * spirv_value.c - instructions that give a value, on one component or on four.
 *
 * In:  an instruction of the kernel IR and the ids of its operands.   Out: the id of its result.
 * Floats are never contracted (every sum, product, quotient is decorated so), and what changes only bits is
 * done on bits. What the device does not compute exactly is a call of a function that does (exact.c).
 */
#include "spirv_words.h"

#include <math.h>
#include <string.h>

Reg sp_reg(Dtype dt)
{
    switch (dt) {
    case DT_BOOL: return R_BOOL;
    case DT_I64: case DT_U64: return R_U64;
    case DT_F16: case DT_BF16: case DT_F32: return R_F32;
    case DT_F64: return R_F64;
    default: return R_U32;
    }
}

static int bits_of(Dtype dt) { return 8 * (int)dtype_size(dt); }
static bool is_narrow(Dtype dt) { return dtype_int(dt) && dtype_size(dt) < 4; }
static uint64_t mask_of(Dtype dt) { return UINT64_MAX >> (64 - bits_of(dt)); }

uint32_t sp_splat(Writer *w, Reg r, uint32_t x, int n)
{
    return n == 1 ? x : OP(w, OpCompositeConstruct, sp_type(w, r, n), x, x, x, x);
}

uint32_t sp_extract(Writer *w, Reg r, uint32_t v, int lane)
{
    return OP(w, OpCompositeExtract, sp_type(w, r, 1), v, (uint32_t)lane);
}

static uint32_t op1(Writer *w, int op, Reg r, int n, uint32_t x) { return OP(w, op, sp_type(w, r, n), x); }

static uint32_t op2(Writer *w, int op, Reg r, int n, uint32_t x, uint32_t y)
{
    return OP(w, op, sp_type(w, r, n), x, y);
}

static uint32_t glsl(Writer *w, int f, Reg r, int n, uint32_t x)
{
    return OP(w, OpExtInst, sp_type(w, r, n), w->glsl, (uint32_t)f, x);
}

static uint32_t select_(Writer *w, Reg r, int n, uint32_t c, uint32_t x, uint32_t y)
{
    return OP(w, OpSelect, sp_type(w, r, n), c, x, y);
}

static uint32_t exactly(Writer *w, uint32_t x)
{
    PUT(&w->decor, OpDecorate, x, DecorNoContraction);
    return x;
}

/* ==================== integers */

static uint32_t sign_extend(Writer *w, Dtype dt, int n, uint32_t x)
{
    uint32_t by = sp_const(w, R_U32, n, (uint64_t)(32 - bits_of(dt)));
    return op2(w, OpShiftRightArithmetic, R_U32, n, op2(w, OpShiftLeftLogical, R_U32, n, x, by), by);
}

static uint32_t zero_extend(Writer *w, Dtype dt, int n, uint32_t x)
{
    return is_narrow(dt) ? op2(w, OpBitwiseAnd, R_U32, n, x, sp_const(w, R_U32, n, mask_of(dt))) : x;
}

uint32_t sp_narrow(Writer *w, Dtype dt, int n, uint32_t x)
{
    return !is_narrow(dt) ? x : dtype_signed(dt) ? sign_extend(w, dt, n, x) : zero_extend(w, dt, n, x);
}

uint32_t sp_widen(Writer *w, bool is_signed, int n, uint32_t x)
{
    if (!is_signed || !w->caps->extends_badly)
        return op1(w, is_signed ? OpSConvert : OpUConvert, R_U64, n, x);
    uint32_t sign = sp_const(w, R_U64, n, 1ull << 31);
    return op2(
        w, OpISub, R_U64, n, op2(w, OpBitwiseXor, R_U64, n, op1(w, OpUConvert, R_U64, n, x), sign), sign);
}

static uint32_t low_word(Writer *w, int n, uint32_t x) { return op1(w, OpUConvert, R_U32, n, x); }

static uint32_t high_word(Writer *w, int n, uint32_t x)
{
    return low_word(w, n, op2(w, OpShiftRightLogical, R_U64, n, x, sp_const(w, R_U64, n, 32)));
}

static uint32_t popcount(Writer *w, Dtype dt, int n, uint32_t x)
{
    if (sp_reg(dt) == R_U32)
        return op1(w, OpBitCount, R_U32, n, zero_extend(w, dt, n, x));
    uint32_t lo = op1(w, OpBitCount, R_U32, n, low_word(w, n, x));
    uint32_t hi = op1(w, OpBitCount, R_U32, n, high_word(w, n, x));
    return op1(w, OpUConvert, R_U64, n, op2(w, OpIAdd, R_U32, n, lo, hi));
}

/* FindUMsb of 0 is -1. */
static uint32_t leading(Writer *w, Dtype dt, int n, uint32_t x)
{
    if (sp_reg(dt) == R_U32)
        return op2(w, OpISub, R_U32, n, sp_const(w, R_U32, n, (uint64_t)bits_of(dt) - 1),
            glsl(w, GlslFindUMsb, R_U32, n, zero_extend(w, dt, n, x)));
    uint32_t hi = high_word(w, n, x), none = op2(w, OpIEqual, R_BOOL, n, hi, sp_const(w, R_U32, n, 0));
    uint32_t at = glsl(w, GlslFindUMsb, R_U32, n, select_(w, R_U32, n, none, low_word(w, n, x), hi));
    uint32_t from = select_(w, R_U32, n, none, sp_const(w, R_U32, n, 63), sp_const(w, R_U32, n, 31));
    return op1(w, OpUConvert, R_U64, n, op2(w, OpISub, R_U32, n, from, at));
}

static uint32_t mulhi(Writer *w, Dtype dt, int n, const uint32_t *a)
{
    bool s = dtype_signed(dt);
    if (is_narrow(dt))
        return op2(w, s ? OpShiftRightArithmetic : OpShiftRightLogical, R_U32, n,
            op2(w, OpIMul, R_U32, n, a[0], a[1]), sp_const(w, R_U32, n, (uint64_t)bits_of(dt)));
    if (sp_reg(dt) == R_U64)
        return sp_call(w, s ? T_MULHI_I64 : T_MULHI_U64, n, a);
    uint32_t t = sp_type(w, R_U32, n), two = GLOBAL_(w, OpTypeStruct, 0, t, t);
    uint32_t p = OP(w, s ? OpSMulExtended : OpUMulExtended, two, a[0], a[1]);
    return OP(w, OpCompositeExtract, t, p, 1);
}

/* OpSRem is not defined for negative operands. */
static uint32_t remainder_(Writer *w, Dtype dt, int n, const uint32_t *a)
{
    Reg r = sp_reg(dt);
    return op2(w, OpISub, r, n, a[0], op2(w, OpIMul, r, n, op2(w, OpSDiv, r, n, a[0], a[1]), a[1]));
}

/* As another signedness of the same width first, where the dtype's is not the one that is asked for. */
static uint32_t shift_right(Writer *w, Dtype dt, bool arithmetic, int n, const uint32_t *a)
{
    uint32_t x = a[0];
    if (is_narrow(dt))
        x = arithmetic ? sign_extend(w, dt, n, x) : zero_extend(w, dt, n, x);
    x = op2(w, arithmetic ? OpShiftRightArithmetic : OpShiftRightLogical, sp_reg(dt), n, x, a[1]);
    return sp_narrow(w, dt, n, x);
}

/* ==================== what is one instruction by the table */

enum { Own, None = 0, GLSL = 1 << 16 };         /* added to the number of a function of GLSL.std.450 */
#define Op(name)   Op##name
#define Glsl(name) (GLSL | Glsl##name)
static const int words[K_OP_COUNT][4] = {       /* of floats, signed, unsigned integers, bool */
#define LANES(name, text, arity, takes, gives, commutes, ocl, f, s, u, b) [K_##name] = { f, s, u, b },
#define ACROSS(...)
#define PLAIN(...)
#include "kernel.def"
};
#undef Op
#undef Glsl

static int word_of(KOp op, Dtype of)
{
    return words[op][dtype_float(of) ? 0 : dtype_signed(of) ? 1 : of != DT_BOOL ? 2 : 3];
}

/* The instruction of an op on operands of that dtype; 0 after an error. */
static uint32_t one(Writer *w, KOp op, Dtype of, int n, const uint32_t *a)
{
    Reg r = k_compares(op) ? R_BOOL : sp_reg(of);
    int word = word_of(op, of);
    if (!word)
        return sp_fail(w, E_INTERNAL, "%s of %s has no form", kop[op].name, dtype_name(of)), 0;
    if (word & GLSL)
        return glsl(w, word & ~GLSL, r, n, a[0]);
    return kop[op].arity == 1 ? op1(w, word, r, n, a[0]) : op2(w, word, r, n, a[0], a[1]);
}

static uint32_t int_value(Writer *w, KOp op, Dtype dt, int n, const uint32_t *a)
{
    Reg r = sp_reg(dt);
    bool s = dtype_signed(dt);
    uint32_t less;
    switch (op) {
    case K_REM: return s ? remainder_(w, dt, n, a) : one(w, op, dt, n, a);
    case K_ABS:
        if (!s)
            return a[0];
        less = op2(w, OpSLessThan, R_BOOL, n, a[0], sp_const(w, r, n, 0));
        return sp_narrow(w, dt, n, select_(w, r, n, less, op1(w, OpSNegate, r, n, a[0]), a[0]));
    case K_MAX: case K_MIN:
        return select_(w, r, n, one(w, K_GT, dt, n, a), a[op == K_MIN], a[op == K_MAX]);
    case K_AND: case K_OR: case K_XOR: return one(w, op, dt, n, a);     /* of extended bits extended */
    case K_SHR: case K_SAR: return shift_right(w, dt, op == K_SAR, n, a);
    case K_MULHI: return mulhi(w, dt, n, a);
    case K_POPCOUNT: return popcount(w, dt, n, a[0]);
    case K_CLZ: return leading(w, dt, n, a[0]);
    default: return sp_narrow(w, dt, n, one(w, op, dt, n, a));
    }
}

/* ==================== floats */

static uint32_t on_bits(Writer *w, int op, Reg r, int n, uint32_t x, uint64_t mask)
{
    Reg u = r == R_F64 ? R_U64 : R_U32;
    uint32_t y = op2(w, op, u, n, op1(w, OpBitcast, u, n, x), sp_const(w, u, n, mask));
    return op1(w, OpBitcast, r, n, y);
}

/* The larger (smaller) of x and y, or y if x is nan; sure: it is not. A device may take either of two
 * equal numbers; so the sign is made of both: the larger of two has one if both have. The parameters
 * are the operation, its register and its operands. */
static uint32_t most(Writer *w, bool max, bool sure, Reg r, int n, uint32_t x, uint32_t y)
{
    Reg u = r == R_F64 ? R_U64 : R_U32;
    uint64_t sign = r == R_F64 ? 1ull << 63 : 1ull << 31;
    int with = max ? OpBitwiseAnd : OpBitwiseOr;
    uint32_t c = op2(w, max ? OpFOrdGreaterThan : OpFOrdLessThan, R_BOOL, n, x, y);
    uint32_t both = op2(w, with, u, n, op1(w, OpBitcast, u, n, x), op1(w, OpBitcast, u, n, y));
    both = op2(w, max ? OpBitwiseOr : OpBitwiseAnd, u, n, both, sp_const(w, u, n, max ? sign - 1 : sign));
    uint32_t z = op1(w, OpBitcast, u, n, select_(w, r, n, c, x, y));
    z = op1(w, OpBitcast, r, n, op2(w, with, u, n, z, both));
    return sure ? z : select_(w, r, n, op2(w, OpFUnordNotEqual, R_BOOL, n, x, x), x, z);
}

/* Of a constant that is no zero signs do not matter. */
static uint32_t extreme(Writer *w, const KIns *i, Reg r, int n, const uint32_t *a)
{
    bool max = i->op == K_MAX;
    int64_t bits;
    double c = k_const_of(w->k, i->arg[1], &bits) ? k_float_of(r == R_F64 ? DT_F64 : DT_F32, bits) : NAN;
    if (isnan(c) || c == 0)
        return most(w, max, c == 0, r, n, a[c == 0], a[c != 0]);
    return select_(
        w, r, n, op2(w, max ? OpFOrdGreaterThan : OpFOrdLessThan, R_BOOL, n, a[1], a[0]), a[1], a[0]);
}

static uint32_t fma_(Writer *w, Reg r, int n, const uint32_t *a)
{
    bool wide = r == R_F64;
    if (w->caps->fma[wide] == FMA_NATIVE)
        return exactly(w, OP(w, OpExtInst, sp_type(w, r, n), w->glsl, GlslFma, a[0], a[1], a[2]));
    return sp_call(w, wide ? T_FMA64 : T_FMA32, n, a);
}

static uint32_t float_value(Writer *w, const KIns *i, Dtype dt, int n, const uint32_t *a)
{
    Reg r = sp_reg(dt);
    bool wide = r == R_F64;
    KOp op = (KOp)i->op;
    switch (op) {
    case K_FMA: return fma_(w, r, n, a);
    case K_NEG: return on_bits(w, OpBitwiseXor, r, n, a[0], wide ? 1ull << 63 : 1ull << 31);
    case K_ABS: return on_bits(w, OpBitwiseAnd, r, n, a[0], wide ? INT64_MAX : INT32_MAX);
    case K_MAX: case K_MIN: return extreme(w, i, r, n, a);
    case K_DIV:
        if (!w->caps->exact_div[wide])
            return sp_call(w, wide ? T_DIV64 : T_DIV32, n, a);
        break;
    case K_SQRT:
        if (!w->caps->exact_sqrt[wide])
            return sp_call(w, wide ? T_SQRT64 : T_SQRT32, n, a);
        break;
    case K_FLOOR: case K_CEIL: case K_RINT: case K_TRUNC: return one(w, op, dt, n, a);
    default: break;
    }
    return exactly(w, one(w, op, dt, n, a));
}

static uint32_t rounding(Writer *w, int to, int n, uint32_t x)
{
    if (to == DT_F16) {
        x = sp_call(w, T_HALF_OUT, n, &x);
        return sp_call(w, T_HALF_IN, n, &x);
    }
    x = sp_call(w, T_BFLOAT_OUT, n, &x);
    return op1(w, OpBitcast, R_F32, n, op2(w, OpShiftLeftLogical, R_U32, n, x, sp_const(w, R_U32, n, 16)));
}

/* ==================== conversions */

static uint32_t one_or_zero(Writer *w, Dtype to, int n, uint32_t c)
{
    Reg r = sp_reg(to);
    uint64_t one = r == R_F32 ? 0x3f800000 : r == R_F64 ? 0x3ff0000000000000 : 1;
    return select_(w, r, n, c, sp_const(w, r, n, one), sp_operand(w, r, n, 0));
}

static uint32_t conversion(Writer *w, Dtype of, Dtype to, int n, uint32_t x)
{
    Reg from = sp_reg(of), r = sp_reg(to);
    if (of == DT_BOOL)
        return to == DT_BOOL ? x : one_or_zero(w, to, n, x);
    if (to == DT_BOOL)
        return op2(
            w, dtype_float(of) ? OpFUnordNotEqual : OpINotEqual, R_BOOL, n, x, sp_const(w, from, n, 0));
    if (dtype_float(of) && dtype_float(to))
        return from == r ? x : op1(w, OpFConvert, r, n, x);
    if (dtype_float(to))
        return op1(w, dtype_signed(of) ? OpConvertSToF : OpConvertUToF, r, n, x);
    if (dtype_float(of))
        return sp_narrow(
            w, to, n, op1(w, dtype_signed(to) || is_narrow(to) ? OpConvertFToS : OpConvertFToU, r, n, x));
    if (from != r)
        x = r == R_U64 ? sp_widen(w, dtype_signed(of), n, x) : op1(w, OpUConvert, r, n, x);
    return sp_narrow(w, to, n, x);
}

static uint32_t same_bits(Writer *w, Dtype of, Dtype to, int n, uint32_t x)
{
    Reg from = sp_reg(of), r = sp_reg(to);
    return from == r ? sp_narrow(w, to, n, x) : op1(w, OpBitcast, r, n, x);
}

uint32_t sp_value(Writer *w, const KIns *i, Dtype of, int n, const uint32_t *a)
{
    Dtype dt = (Dtype)i->dt;
    switch (i->op) {
    case K_SELECT: return select_(w, sp_reg(dt), n, a[0], a[1], a[2]);
    case K_CONVERT: return conversion(w, of, dt, n, a[0]);
    case K_BITS: return same_bits(w, of, dt, n, a[0]);
    case K_ROUND: return rounding(w, (int)i->bits, n, a[0]);
    default:
        if (k_compares(i->op) || dt == DT_BOOL)
            return one(w, (KOp)i->op, of, n, a);
        return dtype_float(dt) ? float_value(w, i, dt, n, a) : int_value(w, (KOp)i->op, dt, n, a);
    }
}

/* ==================== over the lanes: pairs 8 apart, then 4, 2, 1 */

static uint32_t join(Writer *w, KOp op, Dtype dt, int n, uint32_t x, uint32_t y)
{
    if ((op == K_HMAX || op == K_HMIN) && dtype_float(dt))
        return most(w, op == K_HMAX, false, sp_reg(dt), n, x, y);
    const KIns i = { .op = kop[op].joins, .dt = dt };
    return sp_value(w, &i, dt, n, (const uint32_t[]){ x, y });
}

uint32_t sp_horizontal(Writer *w, KOp op, Dtype dt, const Ids *x)
{
    Reg r = sp_reg(dt);
    uint32_t a = join(w, op, dt, 4, x->id[0], x->id[2]), b = join(w, op, dt, 4, x->id[1], x->id[3]);
    uint32_t c = join(w, op, dt, 4, a, b), lane[4];
    for (int l = 0; l < 4; l++)
        lane[l] = sp_extract(w, r, c, l);
    return join(w, op, dt, 1, join(w, op, dt, 1, lane[0], lane[2]), join(w, op, dt, 1, lane[1], lane[3]));
}

/* ==================== functions */

static FmaForm form_of(const Writer *w, Template t)
{
    return t == T_FMA32 ? (FmaForm)w->caps->fma[0] : FMA_INTEGER;
}

static uint32_t operand(Writer *w, const Kernel *k, Val v, int n)
{
    const KIns *i = &k->ins[v];
    return i->op == K_CONST ? sp_const(w, sp_reg((Dtype)i->dt), n, (uint64_t)i->bits) : w->val[v].id[0];
}

/* The instructions of a template, n components each. */
static void template_body(Writer *w, const Exact *e, int n, const uint32_t *param)
{
    const Kernel *k = e->k;
    for (int at = 0; at < k->scope[0].nbody; at++) {
        Val v = k->scope[0].body[at];
        const KIns *i = &k->ins[v];
        uint32_t a[3] = { 0 };
        if (i->op == K_LOAD) {
            w->val[v].id[0] = param[i->buf - e->in];
            continue;
        }
        for (int x = 0; x < i->narg && x < 3; x++)
            a[x] = operand(w, k, i->arg[x], n);
        if (i->op == K_STORE)
            PUT(w->to, OpReturnValue, a[0]);
        else
            w->val[v].id[0] = sp_value(w, i, i->narg ? (Dtype)k->ins[i->arg[0]].dt : DT_NONE, n, a);
    }
}

static uint32_t function(Writer *w, Template t, int n)
{
    Exact e;
    Words code = { 0 }, *to = w->to;
    const Kernel *k = w->k;
    Ids *val = w->val;
    uint32_t id = sp_id(w), label = w->last_label, type[4], param[3];
    exact_template(&e, t, form_of(w, t));
    type[0] = sp_type(w, sp_reg((Dtype)e.out.dt), n);
    for (int i = 0; i < e.nin; i++)
        type[1 + i] = sp_type(w, sp_reg((Dtype)e.in[i].dt), n);
    uint32_t ft = sp_global(w, OpTypeFunction, 0, e.nin + 1, type);
    w->to = &code, w->k = e.k, w->val = NEWS(Ids, e.k->nins);
    PUT(w->to, OpFunction, type[0], id, 0, ft);
    for (int i = 0; i < e.nin; i++)
        param[i] = sp_op(w, OpFunctionParameter, type[1 + i], 0, NULL);
    PUT(w->to, OpLabel, sp_id(w));
    template_body(w, &e, n, param);
    sp_put(w->to, OpFunctionEnd, 0, NULL);
    w->to = to, w->k = k, w->val = val, w->last_label = label;
    for (int i = 0; i < code.n; i++)
        PUSH(w->funcs.w, w->funcs.n, w->funcs.cap, code.w[i]);
    return id;
}

uint32_t sp_call(Writer *w, Template t, int n, const uint32_t *a)
{
    uint32_t *f = &w->fn[t][n > 1], args[4];
    Dtype out;
    int count = exact_signature(t, &out);
    if (!*f)
        *f = function(w, t, n);
    args[0] = *f;
    for (int i = 0; i < count; i++)
        args[1 + i] = a[i];
    return sp_op(w, OpFunctionCall, sp_type(w, sp_reg(out), n), count + 1, args);
}
