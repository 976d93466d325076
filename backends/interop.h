/*
 * interop.h - the application's own objects: its context and queue become a device, its memory an array.
 *
 * Handles are those of its API, as pointers. What is given is kept (retained), as long as it is used.
 */
#ifndef HEDDLE_INTEROP_H
#define HEDDLE_INTEROP_H

#include "backend.h"

typedef struct ClApp { void *context, *device, *queue; } ClApp;
/* event: before it the memory is not to be read; NULL: now */
typedef struct ClMemory { void *memory; size_t offset; void *event; } ClMemory;

/* ---- opencl/adopt.c */
Device *ocl_adopt(const char *name, const ClApp *);     /* NULL after an error */
/* A memory of the application's; kernels read up to SLACK_BYTES before and behind it. 0, or an error. */
int ocl_borrow(Device *, const ClMemory *, size_t bytes, Mem **);
/* Where it is, borrowed; and an event, the caller's: of the end of all that was begun on its device. */
int ocl_lend(Mem *, ClMemory *);
int ocl_done(Mem *, void **event);

#endif
