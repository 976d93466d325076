/*
 * math_real.h - a second vocabulary, for functions of which one text serves f32 and f64: constants take
 * the dtype of the value they meet, elementary functions are those of the dtype.
 */
#ifndef HEDDLE_MATH_REAL_H
#define HEDDLE_MATH_REAL_H

#include "math_ir.h"

static inline bool is64(Val x) { return kdt(x) == DT_F64; }
static inline Val plus(Val x, double c) { return add(x, lit(x, c)); }
static inline Val times(Val x, double c) { return mul(x, lit(x, c)); }
static inline Val below(Val x, double c) { return lt(x, lit(x, c)); }
static inline Val above(Val x, double c) { return gt(x, lit(x, c)); }
static inline Val is(Val x, double c) { return eq(x, lit(x, c)); }
static inline Val is_nan(Val x) { return ne(x, x); }
static inline Val one_over(Val x) { return divide(lit(x, 1), x); }
static inline Val exp_(Val x) { return math_function(OP_exp, 1, &x); }
static inline Val log_(Val x) { return math_function(OP_log, 1, &x); }
static inline Val log1p_(Val x) { return math_function(OP_log1p, 1, &x); }
static inline Val erfc_(Val x) { return math_function(OP_erfc, 1, &x); }
static inline Val pow_(Val x, Val y) { return math_function(OP_pow, 2, (const Val[]){ x, y }); }
static inline Val floor_(Val x) { return k1(K, K_FLOOR, kdt(x), x); }
/* What an error is compared with: half a unit of 1. */
static inline double unit_of(Val x) { return is64(x) ? 0x1p-53 : 0x1p-24; }

/* c[0] + c[1] t + ..., and the series of Chebyshev's polynomials of t in -1 .. 1. */
Val math_series(Val t, int n, const double *c);
Val math_chebyshev(Val t, int n, const double *c);
/* A loop of n steps (-1: until k_brk) whose n values are as wide as `like`, which is as wide as all that
 * meets in it. */
void math_turns(Val like, int64_t steps, int n, const Val *init, Val *phi);
/* Its end: lanes that go on take the next values, the others keep theirs, so that no lane's bits depend on
 * another's. The loop is left where none goes on. */
void math_turn(Val go, int n, const Val *phi, const Val *next, Val *out);

#endif
