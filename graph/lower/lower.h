/*
 * lower.h - specifications in, a kernel out.
 */
#ifndef HEDDLE_LOWER_H
#define HEDDLE_LOWER_H

#include "spec.h"

/* Several: one work-item computes one after the other. NULL after an error. */
Kernel *lower(Spec *const *, int n);

#endif
