/*
 * reading.h - plans whose kernels are read instead of compiled (graph/kernel/run.c), in the host's memory.
 */
#ifndef HEDDLE_READING_H
#define HEDDLE_READING_H

#include "replay.h"

typedef struct Reading Reading;
Reading *reading_new(const Plan *, const Device *);        /* NULL after an error */
void reading_drop(Reading *); /* NULL is fine */
/* One run at a time. spot: where the host has the bytes of an argument or result. */
int reading_run(Reading *, Mem *const *in, Mem *const *out, Spot (*spot)(Mem *));

/* ==================== tier 0: a program's first calls, while its code is compiled */

/* Does reading it give the bits that the device gives, and soon? Not what calls functions of the
 * user, nor what exchanges something with other shards, nor what takes much work
 * (HEDDLE_TIER=0: however much). */
bool tier0_fits(const Plan *);
/* Arguments are read from their device, results written to it. The results are there (replay_outputs). */
extern _Atomic uint64_t tier0_runs; /* so far, for tests */
int tier0_run(Reading *, int nin, Mem *const *in, int nout, Mem *const *out);

#endif
