/*
 * element.h - values of the elementwise rows, for their rules and for conversions.
 */
#ifndef HEDDLE_ELEMENT_H
#define HEDDLE_ELEMENT_H

#include "graph.h"

/* every row of the table, and accum, which adds; out may be an operand */
EvalFn element_eval;
EvalFn complex_eval; /* the same, of complex operands: complex.c */
EvalFn convert_eval, reduce_precision_eval;

/* Functions that C lacks, to the full accuracy of long double. */
long double element_erf_inv(long double);
long double element_digamma(long double);
long double element_trigamma(long double);

#endif
