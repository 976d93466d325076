/*
 * fault.h - failures of drivers on demand, so that what happens after them can be tested.
 *
 * HEDDLE_FAULT=KIND:CALL:N makes the N-th call of a driver's function fail (N from 1): `vulkan:vkQueueSubmit:3`. With a
 * `+` behind N all calls from the N-th on fail; CALL may be `*`, any function of that kind. What fails is not called.
 * `opencl:event:N` is a command of a queue that fails on the device, after its call has returned.
 */
#ifndef HEDDLE_FAULT_H
#define HEDDLE_FAULT_H

#include <stdbool.h>

extern bool fault_wanted;                       /* may a call fail? Read through fault() */
bool fault_due(const char *kind, const char *call);
/* As if HEDDLE_FAULT were `spec` from here on; NULL: no call fails. false: it reads otherwise, and none does. To be called
 * while no other thread is in a driver. */
bool fault_set(const char *spec);
long fault_calls(void);                         /* calls since then that KIND:CALL means */

/* Must this call fail? Each fallible call of a driver asks once, just before: fault("opencl", "clFinish"). */
static inline bool fault(const char *kind, const char *call) { return fault_wanted && fault_due(kind, call); }

#endif
