/*
 * memory.c - memory of the host for values: what the system would only promise is refused.
 */
#include "memory.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base.h"

enum { MUCH = 1 << 28 };                        /* bytes for which it is worth asking the system */

/* Bytes that there are for us without swapping; of systems that do not say, all. */
static size_t memory_left(void)
{
    FILE *f = fopen("/proc/meminfo", "r");
    char line[128];
    size_t kilobytes = SIZE_MAX / 1024;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %zu kB", &kilobytes) == 1)
            break;
    if (f)
        fclose(f);
    return kilobytes * 1024;
}

void *memory_new(const char *who, size_t n, size_t align)
{
    size_t whole = align ? n / align * align + align : n, left = n < MUCH ? SIZE_MAX : memory_left();
    void *p = whole < n || whole > left ? NULL : align ? aligned_alloc(align, whole) : malloc(n);
    if (!p && n < MUCH)
        error_set(E_NOMEM, "%s: out of memory: %zu bytes asked for", who, n);
    else if (!p)
        error_set(E_NOMEM, "%s: out of memory: %.3f GiB in one piece, of %.3f GiB that are left", who,
            (double)n / (1 << 30), (double)left / (1 << 30));
    return p;
}
