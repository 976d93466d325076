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

/* kfold.c. The value that the instruction is, where that is known exactly; else 0, with op and args in their
 * normal form. */
Val k_fold(Kernel *, KOp *, Dtype *, int64_t bits, int narg, Val *arg);

int k_groups_check(const Kernel *);             /* kgroup.c, for the verifier */

#endif
