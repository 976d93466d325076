/*
 * compile.h - graph in, plan out.
 */
#ifndef HEDDLE_COMPILE_H
#define HEDDLE_COMPILE_H

#include "plan.h"
#include "target.h"

/* NULL after an error (a dtype the device lacks ...). */
Plan *plan_schedule(const Graph *, const Target *);

#endif
