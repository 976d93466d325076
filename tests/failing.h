/*
 * failing.h - allocations of ours that fail when a test says so: one of them, or all from one on.
 *
 * The linker sends our calls of malloc and its like through here (--wrap, for the programs that are listed
 * in tests/CMakeLists.txt); those of drivers and libraries go where they always went. One file of a program
 * includes it.
 */
#ifndef HEDDLE_TESTS_FAILING_H
#define HEDDLE_TESTS_FAILING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static _Atomic long left = -1; /* allocations until one fails; -1: none fails */
static _Atomic bool lasting, happened;
/* allocations so small never fail: a heap that is full has room for some */
static _Atomic size_t crumbs;

static bool fails(size_t size)
{
    if (size <= atomic_load(&crumbs))
        return false;
    if (atomic_load(&left) < 0)
        return false;
    long n = atomic_load(&left);
    if (n > 0) {
        atomic_fetch_sub(&left, 1);
        return false;
    }
    if (!lasting && happened)
        return false;
    happened = true;
    return true;
}

void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
void *__real_aligned_alloc(size_t, size_t);
char *__real_strdup(const char *);
void *__wrap_malloc(size_t);
void *__wrap_calloc(size_t, size_t);
void *__wrap_realloc(void *, size_t);
void *__wrap_aligned_alloc(size_t, size_t);
char *__wrap_strdup(const char *);
void *__wrap_malloc(size_t n) { return fails(n) ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t m) { return fails(n * m) ? NULL : __real_calloc(n, m); }
void *__wrap_realloc(void *p, size_t n) { return fails(n) ? NULL : __real_realloc(p, n); }
void *__wrap_aligned_alloc(size_t a, size_t n) { return fails(n) ? NULL : __real_aligned_alloc(a, n); }
char *__wrap_strdup(const char *s) { return fails(strlen(s) + 1) ? NULL : __real_strdup(s); }

#endif
