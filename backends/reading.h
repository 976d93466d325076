/*
 * reading.h - plans whose kernels are read instead of compiled (graph/kernel/run.c), in the host's memory.
 */
#ifndef HEDDLE_READING_H
#define HEDDLE_READING_H

#include "replay.h"

typedef struct Reading Reading;
/* ready: for tier 0, asked with exec now and then: is compiled code there? NULL: it will not be. NULL after
 * an error */
Reading *reading_new(const Plan *, const Device *, bool (*ready)(void *exec), void *exec);
void reading_drop(Reading *); /* NULL is fine */
/* One run at a time. spot: where the host has the bytes of an argument or result. */
int reading_run(Reading *, Mem *const *in, Mem *const *out, Spot (*spot)(Mem *));

/* ==================== tier 0: a program's first calls, while its code is compiled */

/* Does reading it give the bits that the device gives? Not what calls functions of the user, nor what
 * exchanges something with other shards. */
bool tier0_possible(const Plan *);
/* Is it read in less time than its code will be there? HEDDLE_TIER=0: yes, however much work it is. */
bool tier0_pays(const Plan *, double compile_ms);
/* Arguments are read from their device, results written to it. The results are there (replay_outputs).
 * K_LEFT: in the midst of it the code was ready. */
extern _Atomic uint64_t tier0_runs; /* so far, to their end, for tests */
int tier0_run(Reading *, int nin, Mem *const *in, int nout, Mem *const *out);

#endif
