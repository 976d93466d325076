/*
 * math_f64.h - what functions of f64 share: logarithm and exponential of numbers in two pieces, and what
 * their own texts build on.
 */
#ifndef HEDDLE_MATH_F64_H
#define HEDDLE_MATH_F64_H

#include "math_real.h"

#define D(x) k_const(K, DT_F64, (x))
#define L(x) k_bits(K, DT_U64, (int64_t)(x))
/* c[0] + c[1] t + ..., lowest coefficient first, exact fma steps. */
#define POLY(t, ...) \
    math_series(t, sizeof((const double[]){ __VA_ARGS__ }) / sizeof(double), (const double[]){ __VA_ARGS__ })

#define LN2_HIGH 0x1.62e42fefa38p-1             /* 42 bits: its product with an exponent is exact */
#define LN2_LOW  0x1.ef35793c7673p-45
/* x + MAGIC holds x, rounded to an integer, in its low bits; less MAGIC it is that integer. |x| < 2^51. */
#define MAGIC64  0x1.8p52

/* e^(h + l), l a correction. */
Val f64_exp_pair(Val h, Val l);
/* log x as a sum of two, to 2^-63 of it; x > 0 and finite. */
void f64_log_pair(Val x, Val *high, Val *low);
/* The distance of x to the nearest integer, with its sign, exactly. */
static inline Val f64_fraction(Val x) { return sub(x, k1(K, K_RINT, DT_F64, x)); }

#endif
