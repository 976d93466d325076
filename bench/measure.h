/* measure.h - one workload in this process, and the machine's limits. Times are in milliseconds. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include "workloads.h"

typedef struct Times {
    double first, run;                          /* the first call; one run, the last part of it */
    hd_cost_info cost;                          /* the parts before; what the program is */
    /* steady state; cpu: of all threads, a call; sys: in the system */
    double min, median, sys, cpu;
    double bytes, flops;
    int calls;
    bool first_only;                            /* nothing is timed but that */
    Checksum sum;
} Times;

double now_ms(void);
/* seconds < 0: the first call only */
int measure(const Workload *, const char *device, double seconds, Times *);

/* Prints what a GPU in software, sim:NAME, predicts of one call (predict.c). false: it does not run there */
bool predict(const char *workload, const char *device);

/* Bytes and operations a millisecond that plain C reaches on all cores. */
typedef struct Limits { double bytes, flops; } Limits;
Limits machine_limits(void);

#endif
