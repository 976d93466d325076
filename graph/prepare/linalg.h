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
/* How a large matrix is cut: in two, if it has more rows or columns than `halved`; else in panels of `wide`
 * columns, if there are many, and those in panels of `leaf`. Halves end at `leaf` rows. */
typedef struct Cut { int64_t leaf, wide, halved; } Cut;
/* Of stacks, in two halves: linalg_blocks.c; or panel by panel: linalg_panels.c; or a sweep of rotations a
 * step: linalg_jacobi.c. */
typedef void BlocksFn(const Ins *, const Ref *x, Ref *out, const Cut *);
BlocksFn cholesky_blocks, triangular_blocks, solve_blocks, eigh_sweeps, svd_sweeps;
BlocksFn lu_panels, qr_panels, triangular_panels;
Ref cholesky_panels(Ref a, int64_t leaf);       /* nan from the first pivot on that is no good */

/* A scan in the current graph. Operands and body: captures, carry, xs; results: carry, ys. */
typedef void LoopBody(const Ref *x, Ref *out);
typedef struct Loop {
    int64_t length;
    bool reverse;
    int captures, carry, xs, results;
} Loop;
void loop_scan(LoopBody *, const Loop *, const Ref *x, Ref *out);

/* f of a single matrix, over the n operands x of a stack: lanes; shared[k]: operand k is one for all. */
void each_matrix(LoopBody *f, int n, const Ref *x, const bool *shared, int nout, Ref *out);

/* Columns of one matrix, each pivot on the diagonal that begins at `row` of the first column; 0: the
 * first. lu: the factors, the rows' order, pivots. qr: r above that diagonal, reflections below it; tau. */
void lu_columns(Ref a, Ref row, Ref *lu);
void qr_columns(Ref a, Ref row, Ref *qr);

int how_solved(const Ins *); /* a triangular_solve's TRI_RIGHT ... */
Ref matrix_element(Ref matrix, int64_t row, int64_t column); /* of one matrix, a scalar */

/* ==================== small words */

static inline Ints one_axis(int64_t v) { return (Ints){ 1, { v } }; }
/* 0 .. n - 1; the same along an axis, for x's elements. */
static inline Ref counter(int64_t n) { return Iota(type_of(DT_I32, 1, &n), 0); }
static inline Ref places(Ref x, int axis) { return Iota(type_of(DT_I32, typ(x)->rank, typ(x)->dim), axis); }
static inline Ref all(Ref scalar, Ref x)
{
    return Broadcast(scalar, x ? type_shape(typ(x)) : (Ints){ 0 }, (Ints){ 0 });
}
static inline Ref where(Ref p, Ref x) { return Select(p, x, Like(x, 0)); }
static inline Ref total(Ref x, int axis) { return Sum(x, one_axis(axis)); }
static inline Ref real_part(Ref x) { return x && is_complex(x) ? RealPart(x) : x; }
/* Of reals: numbers as x's are. */
static inline Ref as_those(Ref v, Ref x) { return x && is_complex(x) ? Convert(v, (Dtype)typ(x)->dt) : v; }
/* |x|^2 */
static inline Ref squares(Ref x)
{
    if (!x || !is_complex(x))
        return x ? Mul(x, x) : 0;
    Ref re = RealPart(x), im = ImagPart(x);
    return Add(Mul(re, re), Mul(im, im));
}

#endif
