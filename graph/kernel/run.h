/*
 * run.h - a kernel that is read instead of compiled.
 */
#ifndef HEDDLE_KERNEL_RUN_H
#define HEDDLE_KERNEL_RUN_H

#include "kernel.h"

/* What a launch is given. */
typedef struct KLaunch {
    /* by parameter: as many elements as the buffer has, and nothing around them */
    void *const *param;
    int64_t step;
    /* Asked now and then, with env: is the result not wanted any more? NULL: it is. */
    bool (*enough)(void *env);
    void *env;
} KLaunch;

enum { K_LEFT = -1 };                           /* it was enough in the midst of it */

/* All work-items, one after the other; where they meet at barriers, those of a group in turn, from one
 * barrier to the next. 0, K_LEFT, or an error that names kernel, instruction and line: a place outside of
 * its buffer (loads may go as far as the slack around it, where they find nothing useful), an element of its
 * own or of local memory that is read before it is written, an element that one work-item writes and another
 * one reads or writes otherwise with no barrier of their group in between, a barrier to which not all of a
 * group come, arithmetic that has no result. */
int k_run(const Kernel *, const KLaunch *);

#endif
