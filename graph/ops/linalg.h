/*
 * linalg.h - what the rules of matrix factorisations share: checks with messages, and stacks of matrices in
 * wide numbers on the host.
 */
#ifndef HEDDLE_LINALG_H
#define HEDDLE_LINALG_H

#include "ops.h"

typedef long double Real;

/* Floats of 32 or 64 bits, or complex numbers of such, in at least two axes; square: as many rows as
 * columns. 0, or an error code. */
int matrix_check(Op, const Type *, bool square);
Type matrix_type(const Type *stack, Dtype, int64_t rows, int64_t columns); /* with its leading axes */
Type vector_type(const Type *stack, Dtype, int64_t n);

/* A stack on the host: matrices of rows x columns, row by row. */
typedef struct Stack {
    int64_t count, rows, columns;
} Stack;
Stack stack_of(const Type *);
/* What an instruction of a factorisation or a solve gives, in wide numbers of its kind: linalg_host.h. */
EvalFn real_linalg_eval, complex_linalg_eval, linalg_eval;
int triangular_how(const Ins *); /* a triangular_solve's TRI_RIGHT ... */

/* Does b go with the stack a: one dtype, the same leading axes, as many rows (right: columns)? */
int matrix_meets(Op, const Type *a, const Type *b, bool right);
/* Of vmap where all lanes share the matrix: theirs are more right-hand sides, of operand 1. */
void batch_sides(const Ins *, const Ref *x, const uint8_t *s, const Axis *, Ref *out, uint8_t *so);

#endif
