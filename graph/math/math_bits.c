/*
 * math_bits.c - the same bits as a value of another dtype of that size.
 *
 * In:  a value in its register.   Out: another.   A half float is in an f32 register, so its 16 bits are
 * made there.
 */
#include "mathematics.h"

static Dtype unsigned_of(size_t bytes)
{
    return bytes == 1 ? DT_U8 : bytes == 2 ? DT_U16 : bytes == 4 ? DT_U32 : DT_U64;
}

static Val u32(Kernel *k, int64_t c) { return k_bits(k, DT_U32, c); }
static Val uop(Kernel *k, KOp op, Val x, int64_t c) { return k2(k, op, DT_U32, x, u32(k, c)); }

/* A number that f16 holds, in f32, -> its 16 bits in u32; and back. */
static Val half_to_bits(Kernel *k, Val x)
{
    Val b = k1(k, K_BITS, DT_U32, x), sign = uop(k, K_AND, uop(k, K_SHR, b, 16), 0x8000),
        m = uop(k, K_AND, b, 0x7fffffff);
    Val normal = uop(k, K_SHR, uop(k, K_SUB, m, 0x38000000), 13);
    Val tiny = k1(k, K_CONVERT, DT_U32,
        k2(k, K_MUL, DT_F32,
            k1(k, K_ABS, DT_F32,
                k3(k, K_SELECT, DT_F32, k2(k, K_LT, DT_BOOL, m, u32(k, 0x38800000)), x,
                    k_const(k, DT_F32, 0))),
            k_const(k, DT_F32, 0x1p24)));
    Val nan = uop(k, K_OR, uop(k, K_AND, uop(k, K_SHR, m, 13), 0x3ff), 0x7e00);
    Val r = k3(k, K_SELECT, DT_U32, k2(k, K_LT, DT_BOOL, m, u32(k, 0x38800000)), tiny, normal);
    r = k3(k, K_SELECT, DT_U32, k2(k, K_EQ, DT_BOOL, m, u32(k, 0x7f800000)), u32(k, 0x7c00), r);
    r = k3(k, K_SELECT, DT_U32, k2(k, K_GT, DT_BOOL, m, u32(k, 0x7f800000)), nan, r);
    return k2(k, K_OR, DT_U32, r, sign);
}

static Val half_from_bits(Kernel *k, Val h)
{
    Val sign = uop(k, K_SHL, uop(k, K_AND, h, 0x8000), 16), m = uop(k, K_AND, h, 0x7fff),
        big = uop(k, K_SHL, m, 13);
    Val normal = uop(k, K_ADD, big, 0x38000000), wide = uop(k, K_OR, big, 0x7f800000);
    Val tiny = k1(
        k, K_BITS, DT_U32, k2(k, K_MUL, DT_F32, k1(k, K_CONVERT, DT_F32, m), k_const(k, DT_F32, 0x1p-24)));
    Val r = k3(k, K_SELECT, DT_U32, k2(k, K_GE, DT_BOOL, m, u32(k, 0x7c00)), wide, normal);
    r = k3(k, K_SELECT, DT_U32, k2(k, K_LT, DT_BOOL, m, u32(k, 0x400)), tiny, r);
    return k1(k, K_BITS, DT_F32, k2(k, K_OR, DT_U32, r, sign));
}

/* A value in its register -> its bits as an unsigned integer of the dtype's size; and back. */
static Val to_bits(Kernel *k, Val x, Dtype dt)
{
    Dtype u = unsigned_of(dtype_size(dt));
    switch (dt) {
    case DT_BOOL: return k1(k, K_CONVERT, DT_U8, x);
    case DT_F16: return k1(k, K_CONVERT, DT_U16, half_to_bits(k, x));
    case DT_BF16: return k1(k, K_CONVERT, DT_U16, uop(k, K_SHR, k1(k, K_BITS, DT_U32, x), 16));
    default: return u == dt ? x : k1(k, K_BITS, u, x);
    }
}

static Val from_bits(Kernel *k, Val x, Dtype dt)
{
    switch (dt) {
    case DT_BOOL: return k1(k, K_CONVERT, DT_BOOL, x);
    case DT_F16: return half_from_bits(k, k1(k, K_CONVERT, DT_U32, x));
    case DT_BF16: return k1(k, K_BITS, DT_F32, uop(k, K_SHL, k1(k, K_CONVERT, DT_U32, x), 16));
    default: return k->ins[x].dt == dt ? x : k1(k, K_BITS, dt, x);
    }
}

Val math_bitcast(Kernel *k, Dtype from, Dtype to, Val x)
{
    return x ? from_bits(k, to_bits(k, x, from), to) : 0;
}
