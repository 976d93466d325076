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
Dtype math_register(Dtype);                     /* f16, bf16 -> f32; else itself */

#endif
