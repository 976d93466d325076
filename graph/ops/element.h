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
long double element_bessel(int order, long double);             /* I0 and I1, times exp(-|x|) */
long double element_expi(long double);
long double element_spence(long double);
long double element_ndtri(long double);
long double element_log_ndtr(long double);
long double element_betaln(long double a, long double b);
long double element_zeta(long double s, long double q);
long double element_polygamma(long double n, long double x);
long double element_igamma(bool upper, long double a, long double x);
long double element_random_gamma_grad(long double a, long double x);
long double element_betainc(long double a, long double b, long double x);

#endif
