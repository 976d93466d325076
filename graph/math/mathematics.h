/*
 * mathematics.h - what every elementwise op means, built in the kernel IR once.
 */
#ifndef HEDDLE_MATHEMATICS_H
#define HEDDLE_MATHEMATICS_H

#include "kernel.h"

/* An elementwise op of the graph, without attributes, on values of one dtype. `to` is the result's
 * dtype (differs for comparisons and conversions). dt is the graph's dtype, f16 and bf16 included. 0 after
 * an error. */
Val math_op(Kernel *, int op, Dtype dt, Dtype to, int narg, const Val *);
Val math_reduce_precision(Kernel *, Dtype dt, Val x, int64_t exponent, int64_t mantissa);
/* the same bits; dtypes of one size */
Val math_bitcast(Kernel *, Dtype from, Dtype to, Val);
Dtype math_register(Dtype);                     /* f16, bf16 -> f32; else itself */
/* What is computed again and again: a function of the kernel, known by `what` (an op; or else a number from
 * MATH_OTHER on), and a call of it. Where an operand is a constant, `body` is built where it stands, and
 * folds. */
typedef Val MathBody(Kernel *, int what, const Val *arg);
enum { MATH_OTHER = 1 << 16 };
typedef struct MathFunction { int what; const char *name; MathBody *body; bool seldom; } MathFunction;
Val math_once(Kernel *, const MathFunction *, int narg, const Val *arg);
/* The same function of operands of any lanes; 0: it is none of an op. */
Val math_again(Kernel *, const KFunction *, const Val *arg);
/* One of the two words of a random block, whose key and counter are two words each. */
Val math_threefry(Kernel *, const Val x[4], int which);

#endif
