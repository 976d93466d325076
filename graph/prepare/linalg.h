/*
 * linalg.h - one matrix at a time: the algorithms of linear algebra as graphs, and loops to write them with.
 */
#ifndef HEDDLE_PREPARE_LINALG_H
#define HEDDLE_PREPARE_LINALG_H

#include "prepare.h"

/* What the instruction computes, of operands x in the current graph: single matrices (rank 2), or stacks. */
typedef void LinalgFn(const Ins *, const Ref *x, Ref *out);

/* Of one, element by element (linalg_written.c); a step a column (linalg_loops.c). */
LinalgFn cholesky_written, triangular_written, lu_written, solve_written;
LinalgFn cholesky_loop, triangular_loop, qr_loop, lu_loop, solve_loop;
LinalgFn eigh_loop, svd_loop; /* linalg_jacobi.c: a step a round of rotations */
/* Of stacks, in two halves, until they have `leaf` rows: linalg_blocks.c. */
typedef void BlocksFn(const Ins *, const Ref *x, Ref *out, int64_t leaf);
BlocksFn cholesky_blocks, triangular_blocks, solve_blocks;

/* A scan in the current graph. Operands and body: captures, carry, xs; results: carry, ys. */
typedef void LoopBody(const Ref *x, Ref *out);
typedef struct Loop {
    int64_t length;
    bool reverse;
    int captures, carry, xs, results;
} Loop;
void loop_scan(LoopBody *, const Loop *, const Ref *x, Ref *out);

int how_solved(const Ins *); /* a triangular_solve's TRI_RIGHT ... */
Ref matrix_element(Ref matrix, int64_t row, int64_t column); /* of one matrix, a scalar */

#endif
