/*
 * pairs.h - complex numbers as pairs of reals: what complex.c rewrites programs with.
 */
#ifndef HEDDLE_PAIRS_H
#define HEDDLE_PAIRS_H

#include "graph.h"

typedef struct Pair {
    Ref re, im;
} Pair;

Pair pair_mul(Pair, Pair);
Pair pair_div(Pair, Pair);
/* What the elementwise row gives; of a row that gives a bool, or one part, that is .re. y: of rows of two
 * operands. */
Pair pair_element(Op, Pair x, Pair y);

#endif
