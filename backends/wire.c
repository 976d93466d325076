/*
 * wire.c - from the environment of a process to MPI: is it one of several, which, and where is the module
 * that speaks to MPI (mpi/mpi.c).
 *
 * In:  what started this process.   Out: the module's table, begun. Nothing is opened before it is asked
 * for.
 */
#define _GNU_SOURCE
#include "mail.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

bool ranks_several(void)
{
    static const char *const size[] = { "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS" };
    const char *off = getenv("HEDDLE_MPI");
    if (off && !strcmp(off, "off"))
        return false;
    for (size_t k = 0; k < sizeof size / sizeof *size; k++)
        if (getenv(size[k]))
            return atoi(getenv(size[k])) > 1;
    int begun = 0, (*initialized)(int *);
    *(void **)(void *)&initialized = dlsym(RTLD_DEFAULT, "MPI_Initialized");
    return initialized && !initialized(&begun) && begun;
}

int ranks_number(void)
{
    static const char *const number[] = { "OMPI_COMM_WORLD_RANK", "PMI_RANK" };
    for (size_t k = 0; k < sizeof number / sizeof *number && ranks_several(); k++)
        if (getenv(number[k]))
            return atoi(getenv(number[k]));
    return -1;
}

/* Beside the library, or where the system looks. */
const Wire *wire_find(char *why, size_t size)
{
    Dl_info self;
    char path[4096];
    void *module = NULL;
    if (dladdr((const void *)(uintptr_t)wire_find, &self) && self.dli_fname &&
        strrchr(self.dli_fname, '/')) {
        snprintf(path, sizeof path, "%.*s/libheddle_mpi.so",
            (int)(strrchr(self.dli_fname, '/') - self.dli_fname), self.dli_fname);
        module = access(path, R_OK) ? NULL : dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    }
    module = module ? module : dlopen("libheddle_mpi.so", RTLD_NOW | RTLD_GLOBAL);
    const Wire *(*wire)(void);
    *(void **)(void *)&wire = module ? dlsym(module, "heddle_wire") : NULL;
    if (!wire)
        snprintf(why, size,
            "this process is one of several, but Heddle's part for MPI is not there: %s. Build it with "
            "libopenmpi-dev, or say HEDDLE_MPI=off, and each process is for itself",
            dlerror());
    return wire ? wire() : NULL;
}

/* MPI's own beginning waits for all ranks, and cannot be given up: then the process ends, and so the job.
 * Seconds are counted one after the other, so that a process that was stopped itself has not waited. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t begun;
    bool done;
    double limit;
} watch = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void *watch_begin(void *unused)
{
    struct timespec t;
    pthread_mutex_lock(&watch.lock);
    for (double waited = 0; !watch.done && waited <= watch.limit; waited++) {
        int late = 0;
        clock_gettime(CLOCK_MONOTONIC, &t);
        t.tv_sec++;
        while (!watch.done && !late)
            late = pthread_cond_timedwait(&watch.begun, &watch.lock, &t);
    }
    if (!watch.done) {
        fprintf(stderr,
            "heddle: not all ranks of this job have come to a call over ranks within %g seconds "
            "(HEDDLE_MPI_TIMEOUT)\n",
            watch.limit);
        _exit(1);
    }
    pthread_mutex_unlock(&watch.lock);
    return unused;
}

const char *wire_begin(const Wire *w, double limit, int *me, int *n, void (*ending)(void))
{
    pthread_condattr_t monotonic;
    pthread_t t;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&watch.begun, &monotonic);
    pthread_condattr_destroy(&monotonic);
    watch.limit = limit;
    bool watched = limit > 0 && !pthread_create(&t, NULL, watch_begin, NULL);
    const char *why = w->open(me, n, ending);
    pthread_mutex_lock(&watch.lock);
    watch.done = true;
    pthread_cond_signal(&watch.begun);
    pthread_mutex_unlock(&watch.lock);
    if (watched)
        pthread_join(t, NULL);
    return why;
}
