/*
 * opencl_c.h - kernels as OpenCL C 1.2 text.
 */
#ifndef HEDDLE_OPENCL_C_H
#define HEDDLE_OPENCL_C_H

#include "kernel.h"

/* What the text may use. Everything else in it is core OpenCL C 1.2. */
typedef struct OpenclCaps {
    /* cl_khr_fp64 (asked for only where a kernel computes with it) */
    bool f64;
    /* where a kernel leaves it open work-groups are one item: say so with reqd_work_group_size(1,1,1) */
    bool one_item;
    /* bytes; what is written to larger arrays goes around it. 0: into it */
    uint64_t cache;
} OpenclCaps;

/* One text for n finished kernels: a prelude of what they call, then each as
 *     __kernel void NAME(__global const T *restrict .., [int step])
 * with the arguments in the order of Kernel.param. 0, or an error (a dtype the device lacks, a call without
 * a builtin). */
int opencl_c_print(const Kernel *const *, int n, const OpenclCaps *, Text *);

/* opencl_check.c: does what was printed of these kernels hold together? 0, or an error. */
int opencl_c_check(const char *text, const Kernel *const *, int n);

#endif
