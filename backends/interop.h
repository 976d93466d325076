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

/* Vulkan's. version: of what the application uses. get: vkGetInstanceProcAddr, NULL: the system's. features:
 * the chain of structures that the device was made with. Handles that are 64 bits wide are numbers. */
typedef struct VkApp {
    void *instance, *physical, *device, *queue;
    uint32_t family, version;
    const void *features;
    const char *const *extensions;              /* enabled; NULL ends */
    void (*(*get)(void *instance, const char *))(void);
    void (*lock)(void *user, bool locked); void *user;
} VkApp;
/* semaphore: a timeline; 0: none */
typedef struct VkLent { uint64_t buffer; size_t offset; uint64_t semaphore, value; } VkLent;

/* ---- vulkan/adopt.c */
Device *vk_adopt(const char *name, const VkApp *);      /* NULL after an error */
/* A place in a buffer of the application's, after its semaphore has that value. 0, or an error. */
enum { PLACES = 16 };                           /* bytes; offsets are multiples */
int vk_borrow(Device *, const VkLent *, size_t bytes, Mem **);
/* Where it is, borrowed; and when all that was begun with it so far has ended. */
void vk_lend(Mem *, VkLent *);

#endif
