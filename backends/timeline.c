/*
 * timeline.c - what ran when, as a file.
 *
 * In:  HEDDLE_TIMELINE=FILE, and spans of time, each with a name and the lane it is drawn in.   Out: a list of events in JSON, as
 * trace viewers take them (Perfetto, about:tracing). The list is never closed, which they allow: a process that ends at any point
 * leaves a file that can be read.
 */
#include "backend.h"

#include <stdlib.h>
#include <time.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *file;

static void open_file(void)
{
    const char *name = getenv("HEDDLE_TIMELINE");
    if (!name || !*name)
        return;
    if (!(file = fopen(name, "w")))
        fprintf(stderr, "heddle: HEDDLE_TIMELINE=%s cannot be written\n", name);
    else
        fputs("[\n", file);
}

bool timeline_wanted(void)
{
    pthread_once(&once, open_file);
    return file;
}

double timeline_now(void)
{
    struct timespec t;
    if (!timeline_wanted())
        return 0;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

void timeline_add(const char *name, int lane, double since)
{
    if (!timeline_wanted())
        return;
    double now = timeline_now();
    pthread_mutex_lock(&lock);
    fprintf(file, "{\"ph\":\"X\",\"pid\":1,\"tid\":%d,\"ts\":%.3f,\"dur\":%.3f,\"name\":\"", lane, since, now - since);
    for (const char *s = name ? name : "?"; *s; s++)
        if (*s == '"' || *s == '\\' || (unsigned char)*s < ' ')
            fprintf(file, "\\u%04x", (unsigned char)*s);
        else
            fputc(*s, file);
    fputs("\"},\n", file);
    fflush(file);
    pthread_mutex_unlock(&lock);
}
