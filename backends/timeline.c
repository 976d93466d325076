/*
 * timeline.c - what ran when, as a file.
 *
 * In:  HEDDLE_TIMELINE=FILE; whose work a thread does, a shard on a device, and where it begins and ends
 * something.   Out: a list of
 * events in JSON, as trace viewers take them (Perfetto, about:tracing): a process for each device, a thread
 * in it for each shard. Events stand in the order in which they happened, whatever clocks say. The list is
 * closed behind each event and opened again by the next, so that the file is whole wherever the process
 * ends.
 */
#include "backend.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *file;

/* Lanes that have been given their names. */
typedef struct Named {
    struct Named *next;
    int pid, tid;
    char device[sizeof((DeviceInfo *)0)->name];
} Named;
static Named *named;
static int devices;

static _Thread_local struct { int pid, tid; } lane;

static void open_file(void)
{
    const char *name = getenv("HEDDLE_TIMELINE");
    if (!name || !*name)
        return;
    if (!(file = fopen(name, "w"))) {
        fprintf(stderr, "heddle: HEDDLE_TIMELINE=%s cannot be written\n", name);
        return;
    }
    fputs("[\n]\n", file);
    fflush(file);
}

bool timeline_wanted(void)
{
    pthread_once(&once, open_file);
    return file;
}

/* ==================== with the lock held */

static void add_text(const char *s)
{
    for (; *s; s++)
        if (*s == '"' || *s == '\\' || (unsigned char)*s < ' ')
            fprintf(file, "\\u%04x", (unsigned char)*s);
        else
            fputc(*s, file);
}

static void event_begin(const char *phase, int pid, int tid, const char *name)
{
    bool first = fseek(file, -3, SEEK_END) || ftell(file) <= 1;
    fprintf(
        file, "%s{\"ph\":\"%s\",\"pid\":%d,\"tid\":%d,\"name\":\"", first ? "\n" : ",\n", phase, pid, tid);
    add_text(name ? name : "?");
    fputc('"', file);
}

static void event_end(void)
{
    fputs("}\n]\n", file);
    fflush(file);
}

static void name_lane(const char *what, int pid, int tid, const char *name)
{
    event_begin("M", pid, tid, what);
    fputs(",\"args\":{\"name\":\"", file);
    add_text(name);
    fputs("\"}", file);
    event_end();
}

/* The number of a device; a lane that is new is named. */
static int number_of(int tid, const char *device)
{
    char name[40];
    int pid = 0;
    for (Named *n = named; n; n = n->next)
        if (!strcmp(n->device, device)) {
            pid = n->pid;
            if (n->tid == tid)
                return pid;
        }
    Named *n = malloc(sizeof *n);
    if (!n)
        return pid;
    *n = (Named){ named, pid ? pid : ++devices, tid, "" };
    snprintf(n->device, sizeof n->device, "%s", device);
    snprintf(name, sizeof name, tid ? "shard %d" : "whole", tid - 1);
    named = n;
    if (!pid)
        name_lane("process_name", n->pid, 0, device);
    name_lane("thread_name", n->pid, tid, name);
    return n->pid;
}

static void event(const char *phase, const char *name)
{
    struct timespec t;
    pthread_mutex_lock(&lock);
    clock_gettime(CLOCK_MONOTONIC, &t);
    event_begin(phase, lane.pid, lane.tid, name);
    fprintf(file, ",\"ts\":%.3f", 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec);
    event_end();
    pthread_mutex_unlock(&lock);
}

/* ==================== for others */

void timeline_lane(int shard, const char *device)
{
    if (!timeline_wanted())
        return;
    pthread_mutex_lock(&lock);
    lane.tid = shard + 1;
    lane.pid = number_of(lane.tid, device);
    pthread_mutex_unlock(&lock);
}

void timeline_begin(const char *name)
{
    if (timeline_wanted())
        event("B", name);
}

void timeline_end(const char *name)
{
    if (timeline_wanted())
        event("E", name);
}
