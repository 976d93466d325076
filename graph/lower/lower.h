/*
 * lower.h - specifications in, a kernel out.
 */
#ifndef HEDDLE_LOWER_H
#define HEDDLE_LOWER_H

#include "spec.h"

/* Several: one work-item computes one after the other, if they are `alone`; else each has work-items of its
 * own in one grid, and none reads what another writes. NULL after an error. */
Kernel *lower(Spec *const *, int n);

#endif
