/*
 * target.h - what a device can do, as far as schedules depend on it.
 */
#ifndef HEDDLE_TARGET_H
#define HEDDLE_TARGET_H

#include "base.h"

typedef struct Target {
    const char *device;                         /* its name, for messages */
    bool gpu;                                   /* shape: else cpu */
    bool f64, i64, f16;
    bool no_library;                            /* no functions of f64 that K_CALL calls */
    int64_t max_alloc;                          /* bytes of one allocation */
} Target;

#endif
