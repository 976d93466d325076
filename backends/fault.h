/*
 * fault.h - failures on demand, so that what happens after them can be tested.
 *
 * HEDDLE_FAULT=KIND:CALL:N makes the N-th call of that kind fail (N from 1). With a `+` behind N all calls
 * from the N-th on fail. What fails is not called. With `@S` behind them the calls do not fail: they take S
 * seconds longer, `opencl:compile:1@2.5`. CALL is one of
 *      what every backend is asked for: open, compile, alloc, upload, download, launch, copy, wait,
 *      exchange: `host:launch:17` a function of its driver: `vulkan:vkQueueSubmit:3`
 *      `event`, of opencl: a command of a queue that fails on the device, after its call has returned
 *      `*`: any of these.
 */
#ifndef HEDDLE_FAULT_H
#define HEDDLE_FAULT_H

#include <stdbool.h>

extern bool fault_wanted;                       /* may a call fail? Read through fault() */
bool fault_due(const char *kind, const char *call);
/* As if HEDDLE_FAULT were `spec` from here on; NULL: no call fails. false: it reads otherwise, and none
 * does. To be called while no other thread is in a driver. */
bool fault_set(const char *spec);
/* What must fail, as it was asked for. false: nothing */
bool fault_asked(const char **kind, const char **call);
long fault_calls(void);                         /* calls since then that KIND:CALL means */

/* Must this call fail? Each fallible call asks once, just before: fault("opencl", "clFinish"). */
static inline bool fault(const char *kind, const char *call)
{
    return fault_wanted && fault_due(kind, call);
}

#endif
