/*
 * memory.h - how much memory the system has left: asked before gigabytes are, by whatever runs on the host.
 */
#ifndef HEDDLE_MEMORY_H
#define HEDDLE_MEMORY_H

#include <stddef.h>

/* NULL after an error, which says how much there is. More than is left would be promised, and the machine
 * swap or end the process. free() gives it back; align: a power of two, or 0. */
void *memory_new(const char *who, size_t n, size_t align);

#endif
