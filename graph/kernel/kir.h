/*
 * kir.h - between the files of the kernel IR: builder, folds, passes, checker. Private to graph/kernel/.
 */
#ifndef HEDDLE_KIR_H
#define HEDDLE_KIR_H

#include "kernel.h"

/* What is known only while a kernel is built. */
typedef struct KBuild {
    HashTable pure;                             /* instructions by what they are, with their home */
    Map where, param;                          /* variable -> scope; buffer -> number of the parameter */
    Val *open; int nopen, open_cap;             /* loops and ifs that are being built */
    int root;                                   /* the outermost scope: the kernel's, or a function's */
} KBuild;

int kmap_get(const Map *, const void *key);    /* -1: not there */
void kmap_put(Map *, const void *key, int val);

/* kfold.c. What an elementwise instruction but K_SELECT gives for constants (three, 0 where it has fewer) of
 * dtype from. false: nothing, as a division by zero, or it is none. */
bool k_eval(KOp, Dtype dt, Dtype from, int64_t bits, const int64_t *c, int64_t *r);
/* The value that the instruction is, where that is known exactly; else 0, with op and args in their normal
 * form. */
Val k_fold(Kernel *, KOp *, Dtype *, int64_t bits, int narg, Val *arg);

/* Calls fn for each value that the instruction uses itself: arguments and values in its form; for loops and
 * ifs also next and other, which are used inside. */
void k_uses(const Kernel *, Val, void (*fn)(void *ctx, Val used), void *ctx);

#endif
