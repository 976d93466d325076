/*
 * compiler.h - what the program heddle-compiler is made of: jobs (compiler.c), and a compiler for each
 * kind of driver.
 */
#ifndef HEDDLE_COMPILER_H
#define HEDDLE_COMPILER_H

#include <stddef.h>

/* A job's parts, as jobs.h says. */
typedef struct Work {
    const char *device, *driver, *options;
    const void *source;
    size_t nsource;
} Work;

/* The binary, free() it; NULL: it cannot be compiled here. */
void *compile_opencl(const Work *, size_t *n);
void *compile_vulkan(const Work *, size_t *n);

#endif
