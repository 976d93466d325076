/*
 * timeline.c - what ran when, as a file.
 *
 * In:  HEDDLE_TIMELINE=FILE; whose work a thread does, a shard on a device, and where it begins and ends
 * something.   Out: a list of
 * events in JSON, as trace viewers take them (Perfetto, about:tracing): a process for each device, a thread
 * in it for each shard. Events stand in the order in which they happened, whatever clocks say. The list is
 * closed behind each event and opened again by the next, so that the file is whole wherever the process
 * ends.
 * In a job of several ranks, rank 0 writes one file for all: a process in it for each rank, a thread for
 * each shard on a device. The others keep their events until ranks.c takes them along, at the end of each
 * call, and they say when by the clock of rank 0, which ranks.c has compared theirs with. What never joins
 * its job leaves a file of its own, FILE.PID.
 */
#include "ranks.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* shard -1: what one device runs between shards. told: the file has its name. */
typedef struct Lane {
    struct Lane *next;
    int shard, number, device; /* which lane, and which device, by first use */
    bool told;
    char on[sizeof((DeviceInfo *)0)->name];
} Lane;

typedef struct Event {
    struct Event *next;
    Lane *lane;
    double us;
    char phase, name[];
} Event;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *path; /* NULL: nobody wants it */
static FILE *file; /* NULL: events are kept */
static int rank = -1; /* -1: alone, or it has not joined its job yet */
static double ahead; /* of this clock: how far that of rank 0 is */
static Lane *lanes;
static Event *kept, **kept_end = &kept;

static _Thread_local Lane *lane;

double timeline_clock(void)
{
    struct timespec t;
    const char *number = check_wanted("clocks") ? getenv("OMPI_COMM_WORLD_RANK") : NULL;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec + (number ? 1e9 * atoi(number) : 0);
}

static void open_file(const char *name)
{
    if (!(file = fopen(name, "w"))) {
        fprintf(stderr, "heddle: HEDDLE_TIMELINE=%s cannot be written\n", name);
        path = NULL;
        return;
    }
    fputs("[\n]\n", file);
    fflush(file);
}

static void write_kept(void);

/* A process of several that has never met the others. */
static void at_exit(void)
{
    char name[4096];
    pthread_mutex_lock(&lock);
    if (rank < 0 && kept) {
        snprintf(name, sizeof name, "%s.%d", path, (int)getpid());
        open_file(name);
        write_kept();
    }
    pthread_mutex_unlock(&lock);
}

static void begin(void)
{
    path = getenv("HEDDLE_TIMELINE");
    path = path && *path ? path : NULL;
    if (path && ranks_several())
        atexit(at_exit);
    else if (path)
        open_file(path);
}

bool timeline_wanted(void)
{
    pthread_once(&once, begin);
    return path;
}

/* ==================== events as text, with the lock held */

static void add_text(Text *t, const char *s)
{
    for (; *s; s++)
        text_add(
            t, *s == '"' || *s == '\\' || (unsigned char)*s < ' ' ? "\\u%04x" : "%c", (unsigned char)*s);
}

static int pid_of(const Lane *l) { return rank < 0 ? l->device : rank + 1; }
static int tid_of(const Lane *l) { return rank < 0 ? l->shard + 1 : l->number; }

static void add_name(Text *t, const char *what, const Lane *l, int tid, const char *name)
{
    text_add(t, "{\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"name\":\"%s\",\"args\":{\"name\":\"", pid_of(l), tid,
        what);
    add_text(t, name);
    text_add(t, "\"}}\n");
}

/* The names of a lane that is new, and of its process. */
static void add_lane(Text *t, Lane *l)
{
    char name[80], who[40];
    bool first = true;
    for (const Lane *m = lanes; m; m = m->next)
        first = first && !(m->told && (rank >= 0 || m->device == l->device));
    l->told = true;
    snprintf(who, sizeof who, "rank %d", rank);
    if (first)
        add_name(t, "process_name", l, 0, rank < 0 ? l->on : who);
    if (l->shard >= 0)
        snprintf(name, sizeof name, "shard %d%s%s", l->shard, rank < 0 ? "" : " on ", rank < 0 ? "" : l->on);
    else
        snprintf(name, sizeof name, rank < 0 ? "whole" : "whole on %s", l->on);
    add_name(t, "thread_name", l, tid_of(l), name);
}

/* One line each. */
static void add_event(Text *t, const Event *e)
{
    if (!e->lane->told)
        add_lane(t, e->lane);
    text_add(
        t, "{\"ph\":\"%c\",\"pid\":%d,\"tid\":%d,\"name\":\"", e->phase, pid_of(e->lane), tid_of(e->lane));
    add_text(t, e->name);
    text_add(t, "\",\"ts\":%.3f}\n", e->us + ahead);
}

static void write_lines(const char *s)
{
    for (size_t n; *s; s += n + (s[n] == '\n')) {
        n = strcspn(s, "\n");
        bool first = fseek(file, -3, SEEK_END) || ftell(file) <= 1;
        fprintf(file, "%s%.*s\n]\n", first ? "\n" : ",\n", (int)n, s);
        fflush(file);
    }
}

/* All that is kept, as text, or NULL. */
static char *take_kept(void)
{
    Text t = { 0 };
    for (Event *e; (e = kept); free(e)) {
        kept = e->next;
        add_event(&t, e);
    }
    kept_end = &kept;
    return t.s;
}

static void write_kept(void)
{
    char *s = file ? take_kept() : NULL;
    if (s)
        write_lines(s);
    free(s);
}

static void event(char phase, const char *name)
{
    size_t n = strlen(name) + 1;
    Event *e = lane ? malloc(sizeof *e + n) : NULL;
    if (!e)
        return;
    pthread_mutex_lock(&lock);
    *e = (Event){ .lane = lane, .phase = phase, .us = timeline_clock() };
    memcpy(e->name, name, n);
    *kept_end = e, kept_end = &e->next;
    write_kept();
    pthread_mutex_unlock(&lock);
}

/* ==================== for others */

void timeline_joins(int number, double us)
{
    pthread_mutex_lock(&lock);
    rank = number, ahead = us;
    if (!rank)
        open_file(path);
    write_kept();
    pthread_mutex_unlock(&lock);
}

char *timeline_take(void)
{
    pthread_mutex_lock(&lock);
    char *s = rank > 0 ? take_kept() : NULL;
    pthread_mutex_unlock(&lock);
    return s;
}

void timeline_put(const char *text)
{
    pthread_mutex_lock(&lock);
    if (file)
        write_lines(text);
    pthread_mutex_unlock(&lock);
}

void timeline_lane(int shard, const char *device)
{
    int all = 1, other = 0, same = 0;
    if (!timeline_wanted())
        return;
    pthread_mutex_lock(&lock);
    lane = NULL;
    for (Lane *l = lanes; l; l = l->next, all++) {
        bool here = !strcmp(l->on, device);
        same = here ? l->device : same, other = l->device > other ? l->device : other;
        if (here && l->shard == shard)
            lane = l;
    }
    if (!lane && (lane = calloc(1, sizeof *lane))) {
        lane->next = lanes, lane->shard = shard, lane->number = all, lane->device = same ? same : other + 1;
        snprintf(lane->on, sizeof lane->on, "%s", device);
        lanes = lane;
    }
    pthread_mutex_unlock(&lock);
}

void timeline_begin(const char *name)
{
    if (timeline_wanted())
        event('B', name ? name : "?");
}

void timeline_end(const char *name)
{
    if (timeline_wanted())
        event('E', name ? name : "?");
}
