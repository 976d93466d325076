/*
 * math_ir.h - the vocabulary in which mathematics is written: short builders on the kernel that math_op()
 * set. Private to graph/math/. Values know their dtype, so one word serves floats and integers.
 */
#ifndef HEDDLE_MATH_IR_H
#define HEDDLE_MATH_IR_H

#include "graph.h"
#include "mathematics.h"

extern _Thread_local Kernel *math_kernel;
#define K math_kernel

static inline Dtype kdt(Val v) { return (Dtype)K->ins[v].dt; }

/* constants */
static inline Val F(double x) { return k_const(K, DT_F32, x); }
static inline Val U(uint32_t x) { return k_bits(K, DT_U32, x); }
static inline Val I(int32_t x) { return k_bits(K, DT_I32, x); }
static inline Val lit(Val like, double x) { return k_const(K, kdt(like), x); }
static inline Val bits_like(Val like, int64_t x) { return k_bits(K, kdt(like), x); }

static inline Val add(Val x, Val y) { return k2(K, K_ADD, kdt(x), x, y); }
static inline Val sub(Val x, Val y) { return k2(K, K_SUB, kdt(x), x, y); }
static inline Val mul(Val x, Val y) { return k2(K, K_MUL, kdt(x), x, y); }
static inline Val divide(Val x, Val y) { return k2(K, K_DIV, kdt(x), x, y); }
static inline Val fma_(Val x, Val y, Val z) { return k3(K, K_FMA, kdt(x), x, y, z); }
static inline Val neg(Val x) { return k1(K, K_NEG, kdt(x), x); }
static inline Val abs_(Val x) { return k1(K, K_ABS, kdt(x), x); }
static inline Val sqrt_(Val x) { return k1(K, K_SQRT, kdt(x), x); }
static inline Val and(Val x, Val y) { return k2(K, K_AND, kdt(x), x, y); }
static inline Val or(Val x, Val y) { return k2(K, K_OR, kdt(x), x, y); }
static inline Val xor(Val x, Val y) { return k2(K, K_XOR, kdt(x), x, y); }
static inline Val not(Val x) { return k1(K, K_NOT, kdt(x), x); }
static inline Val shl(Val x, Val n) { return k2(K, K_SHL, kdt(x), x, n); }
/* to the right: by sign for signed, else with zeros */
static inline Val shr(Val x, Val n) { return k2(K, dtype_signed(kdt(x)) ? K_SAR : K_SHR, kdt(x), x, n); }
static inline Val shl_n(Val x, int n) { return shl(x, bits_like(x, n)); }
static inline Val shr_n(Val x, int n) { return shr(x, bits_like(x, n)); }
static inline Val mulhi(Val x, Val y) { return k2(K, K_MULHI, kdt(x), x, y); }
static inline Val eq(Val x, Val y) { return k2(K, K_EQ, DT_BOOL, x, y); }
static inline Val ne(Val x, Val y) { return k2(K, K_NE, DT_BOOL, x, y); }
static inline Val lt(Val x, Val y) { return k2(K, K_LT, DT_BOOL, x, y); }
static inline Val le(Val x, Val y) { return k2(K, K_LE, DT_BOOL, x, y); }
static inline Val gt(Val x, Val y) { return k2(K, K_GT, DT_BOOL, x, y); }
static inline Val ge(Val x, Val y) { return k2(K, K_GE, DT_BOOL, x, y); }
static inline Val sel(Val m, Val x, Val y) { return k3(K, K_SELECT, kdt(x), m, x, y); }
static inline Val any(Val m) { return K->ins[m].w > 1 ? k1(K, K_ANY, DT_BOOL, m) : m; }
static inline Val convert(Val x, Dtype to) { return kdt(x) == to ? x : k1(K, K_CONVERT, to, x); }
static inline Val bits(Val x, Dtype to) { return kdt(x) == to ? x : k1(K, K_BITS, to, x); }

/* f32 and its bits */
static inline Val ubits(Val x) { return bits(x, DT_U32); }
static inline Val ibits(Val x) { return bits(x, DT_I32); }
static inline Val flt(Val u) { return bits(u, DT_F32); }
static inline Val tof(Val i) { return convert(i, DT_F32); }
static inline Val toi(Val x) { return convert(x, DT_I32); }
static inline Val asu(Val i) { return bits(i, DT_U32); }
static inline Val asi(Val u) { return bits(u, DT_I32); }
static inline Val sign(Val x) { return and(ubits(x), U(0x80000000u)); }
static inline Val xorsign(Val x, Val s) { return flt(xor(ubits(x), s)); }
static inline Val copysign_(Val x, Val y)               /* f32 and f64 */
{
    Dtype bt = kdt(x) == DT_F64 ? DT_U64 : DT_U32;
    int64_t top = bt == DT_U64 ? INT64_MIN : (int64_t)1 << 31;
    return bits(or
            (and(bits(x, bt), k_bits(K, bt, bt == DT_U64 ? INT64_MAX : INT32_MAX)),
                and(bits(y, bt), k_bits(K, bt, top))),
        kdt(x));
}
static inline Val trunc12(Val x) { return flt(and(ubits(x), U(0xfffff000u))); }
#define MAGIC 12582912.0f

/* keep nan: the comparison is false and x is chosen */
static inline Val atmost(Val x, Val c) { return sel(gt(x, c), c, x); }
static inline Val atleast(Val x, Val c) { return sel(lt(x, c), c, x); }

/* Horner, lowest coefficient first, exact fma steps */
Val math_poly(Val t, int n, const float *c);
#define poly(t, ...) \
    math_poly(t, sizeof((const float[]){ __VA_ARGS__ }) / sizeof(float), (const float[]){ __VA_ARGS__ })
/* The word of a table of five that i (u32) names. */
Val math_word(Val i, uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t e);
#define ph_word math_word

/* A function of the op table: f32's or f64's. */
Val math_function(int op, int n, const Val *x);
/* Its path for arguments that are seldom, in branches; of the op's operands. */
Val math_seldom(int op, const char *name, MathBody *, int n, const Val *x);
/* y, or where `big` what that path gives for x. */
Val math_where_big(Val big, int op, const char *name, MathBody *, Val x, Val y);

/* The column of the op table that says how an op is computed, in two parts: whether by functions, one of
 * f32 and one of f64 or one for EITHER, and by which. */
#define PLAIN(...)                              PLAIN, 0
#define LONG(...)                               PLAIN, 0
#define FUNCTION(cost, code, f)                 FUNCTION, f
#define EITHER(cost, code, f)                   EITHER, f

#define ELEM(name, Name, arity, accepts, gives, commutes, how, ...)     DECLARE(arity, how)
#define DECLARE(arity, ...)                     DECLARE_(arity, __VA_ARGS__)
#define DECLARE_(arity, kind, f)                DECLARE_##kind(arity, f)
#define DECLARE_PLAIN(arity, f)
#define DECLARE_FUNCTION(arity, f)              Val f32_##f(TAKES_##arity), f64_##f(TAKES_##arity);
#define DECLARE_EITHER(arity, f)                Val f(TAKES_##arity);
#define TAKES_1 Val
#define TAKES_2 Val, Val
#define TAKES_3 Val, Val, Val
#define STRUC(...)
#include "ops.def"
Val f32_logn(Val);

#endif
