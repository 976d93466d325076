/*
 * prepare.h - graph in, graph out: what a schedule wants to be simpler is rewritten, and how each
 * region is run is chosen.
 */
#ifndef HEDDLE_PREPARE_H
#define HEDDLE_PREPARE_H

#include "demand.h"
#include "target.h"

/* What a graph is: a program (body false) or a body of a step. Inputs from the first_x-th
 * on and results from the first_y-th on are slices at STEP of arrays with `steps` of them (0: none are). A
 * result k < ncarry may be made in place of input first_carry + k. */
typedef struct Bounds { bool body; int first_x, first_y; int64_t steps; int first_carry, ncarry; } Bounds;

/* How a region is run. Bodies must be expanded before they are judged. */
typedef enum RegionRun { RUN_LANES, RUN_ROWS, RUN_STEPS, RUN_MATRIX } RegionRun;
RegionRun region_run(const Region *, int nin, int nsub, Graph *const *sub, const Target *);

/* A program, or a body of a step, ready to be scheduled; with the bodies of its own steps, likewise. */
typedef struct Prepared {
    const Graph *g; Bounds bounds;
    const struct Prepared *const **body;        /* by first result, by number; NULL: it is no step */
} Prepared;

/* a program or the body of a loop of kernels; NULL after an error */
Graph *prepare(const Graph *, const Target *);
int prepared_check(const Graph *);              /* 0, or an error: something has no kernel of its own */
/* likewise after prepare_seal(): accumulators may be copied */
int sealed_check(const Graph *);
Graph *prepare_body(const Graph *, const Target *);     /* what lanes run: only expanded */
/* sums of products that differ in where they read become one */
const Graph *prepare_taps(const Graph *);
/* Results, and operands of steps, are values of their own. */
Graph *prepare_seal(const Graph *, const Target *, const Bounds *);
void prepare_region(const Ins *, const Ref *x, Ref *out, const Target *);       /* as it is run */
void prepare_inner(const Ins *, const Ref *x, Ref *out, const Target *);        /* inside a body: expanded */
/* as if the graph had it */
void prepare_one(Op, int nin, const Ref *x, const Attr *, Ref *out, const Target *);
void prepare_into(const Graph *, const Ref *args, Ref *out, const Target *, bool split);

/* prepare_linalg.c: a factorisation or a solve. whole: of a program; else inside a body, where it may
 * stay. */
void prepare_linalg(const Ins *, const Ref *x, Ref *out, const Target *, bool whole);
/* A program whose factorisations of complex matrices are loops; g itself where there is none. */
Graph *prepare_complex(const Graph *, const Target *);
void prepare_fft(const Ins *, const Ref *x, Ref *out, const Target *, bool whole);     /* likewise */

/* in_place.c: carries of loops of kernels that are changed where they lie. The writes that lead to result k,
 * last one first. */
enum { IN_PLACE_MAX = 16 };
int in_place_chain(const Graph *, const Bounds *, int k, const Target *, const Ins **link);
Ins *in_place_write(const Graph *, const Ins *, const Ref *x);  /* as a scatter, in the current graph */

/* Are so many sums over rows worth a private row of them? */
static inline bool row_of_sums(const Machine *m, double sums, int64_t rows)
{
    return sums >= (double)m->row_sums_least && sums <= (double)m->row_sums && rows >= m->row_sums_rows;
}

#endif
