/*
 * both.h - what the suites of the kernel IR on two backends share.
 *
 * spirv-val accepts every module; a nan is a nan, whatever its bits. Without a Vulkan device nothing is
 * tested, and without spirv-val no module is judged; both are said.
 */
#ifndef HEDDLE_TESTS_BOTH_H
#define HEDDLE_TESTS_BOTH_H

#include <check.h>

#include "heddle.h"

#include "compile.h"
#include "graph.h"
#include "kernel.h"
#include "vk.h"

extern Device *vulkan, *other, *host;           /* other: NULL without OpenCL */

void judge_plan(const Plan *p);
/* out[k]: the bytes of result k, in the arena. */
void run_exec(Exec *e, const size_t *in_bytes, const void *const *in, int nin,
    const size_t *out_bytes, void **out, int nout);
void same_bits(const char *what, Dtype dt, int64_t n, const void *x, const void *y);

uint64_t any(void);
/* Numbers of all kinds: special ones, ordinary ones, any bits. */
void draw(Dtype dt, void *p, int64_t n);

bool both_open(void);                           /* false: there is no Vulkan device, which it has said */
TCase *both_case(Suite *s, const char *name);   /* whose tests run in an arena of their own */
int both_run(Suite *s);

#endif
