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
    /* kernels of a text are functions of one, the entry, where that is possible: PoCL takes 50 ms for each
     * kernel beside what is in it */
    bool joined;
    /* the text declares what it calls, for a driver that is told to leave its header out */
    bool declares;
} OpenclCaps;

/* The entry, whose parameters are as many pointers as any of its kernels has, then which kernel it is to be,
 * by its place in the list, and the step:
 *     __kernel void hd_entry(__global void *p0 .., int which, int step) */
#define OPENCL_ENTRY "hd_entry"

/* One text for n finished kernels: a prelude of what they call, then each as
 *     __kernel void NAME(__global const T *restrict .., [int step])
 * with the arguments in the order of Kernel.param. 0, or an error (a dtype the device lacks, a call without
 * a builtin). */
int opencl_c_print(const Kernel *const *, int n, const OpenclCaps *, Text *);

/* How many pointers the entry of that text has; 0: there is none. Is a kernel a function of it? */
int opencl_c_entry(const Kernel *const *, int n, const OpenclCaps *);
bool opencl_c_joins(const Kernel *);

/* opencl_weight.c: how much a kernel is to compile, in instructions. */
int64_t opencl_c_weight(const Kernel *);

/* opencl_check.c: does what was printed of these kernels hold together? 0, or an error. */
int opencl_c_check(const char *text, const Kernel *const *, int n);

#endif
