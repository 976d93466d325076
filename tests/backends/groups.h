/*
 * groups.h - kernels with work-groups, built by hand as textbooks have them, each in a good and in a bad
 * form.
 */
#ifndef HEDDLE_TESTS_GROUPS_H
#define HEDDLE_TESTS_GROUPS_H

#include "kernel.h"

/* A kernel over f32 arrays: inputs first, then the result; n elements each. */
typedef struct Hand {
    Kernel *k;
    Buffer *in[2], *out;
    int nin;
    int64_t n;
} Hand;

/* x * y of n by n. Rows along the fastest dimension of the grid (strided), columns along it, tiles of both
 * in local memory. */
typedef enum Product { ROWS_FIRST, COLUMNS_FIRST, TILED } Product;
Hand product(int64_t n, Product);
/* Element by element; through a tile, whose rows are `row` elements apart: tile, or tile + 1. */
Hand transpose(int64_t n);
Hand transpose_staged(int64_t n, int64_t tile, int64_t row);
/* 2 x + y in groups of so many. */
Hand axpy(int64_t n, int64_t group);
/* y > 0: one long polynomial of x, else another. */
Hand two_ways(int64_t n);
/* Sums of groups: a tree in local memory with a barrier a level; result g is that of group g. */
Hand tree_sum(int64_t n, int64_t group);

#endif
