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
/* The k-th matrix, as wide numbers, and back; of n elements. */
void real_load(const Type *, const void *from, int64_t k, int64_t n, Real *to);
void real_store(const Type *, void *to, int64_t k, int64_t n, const Real *from);

/* One matrix after the other: s is the stack of each operand. */
typedef void MatrixEval(const Ins *, const Stack *s, Real *const *in, Real *const *out);
int stack_eval(
    MatrixEval *, const Ins *, const Type *const *t, const void *const *in, const Type *u, void *const *out);

/* The same of complex numbers: linalg_complex.c. */
typedef void ComplexEval(
    const Ins *, const Stack *s, long double _Complex *const *in, long double _Complex *const *out);
int complex_stack_eval(ComplexEval *, const Ins *, const Type *const *t, const void *const *in,
    const Type *u, void *const *out);
ComplexEval complex_cholesky, complex_qr, complex_lu, complex_solve, complex_eigh, complex_svd;

/* Does b go with the stack a: one dtype, the same leading axes, as many rows (right: columns)? */
int matrix_meets(Op, const Type *a, const Type *b, bool right);
/* Of vmap where all lanes share the matrix: theirs are more right-hand sides, of operand 1. */
void batch_sides(const Ins *, const Ref *x, const uint8_t *s, const Axis *, Ref *out, uint8_t *so);

/* Of one matrix a, m x n: q is m x p (p: m, or the smaller of m and n), r is p x n. */
void real_qr(const Real *a, int64_t m, int64_t n, int64_t p, Real *q, Real *r);

#endif
