/*
 * progress.c - word of what takes long.
 *
 * In:  how far a wait has come, again and again.   Out: a call of the program's function, or one line on a
 * terminal that is written over and erased; nothing where stderr is a file or a pipe, nor in the first
 * second.
 */
#include "progress.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 1000 };

static struct {
    pthread_mutex_t lock;
    ProgressTold *f;
    void *user;
} told = { .lock = PTHREAD_MUTEX_INITIALIZER };

void progress_to(ProgressTold *f, void *user)
{
    pthread_mutex_lock(&told.lock);
    told.f = f, told.user = user;
    pthread_mutex_unlock(&told.lock);
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void tell(Progress *p)
{
    pthread_mutex_lock(&told.lock);
    ProgressTold *f = told.f;
    void *user = told.user;
    pthread_mutex_unlock(&told.lock);
    if (f)
        f(p->done, p->all, user);
    else if (isatty(STDERR_FILENO))
        fprintf(stderr, "\rheddle: compiling %d of %d kernels ", p->done, p->all), fflush(stderr);
    p->shown = true;
}

void progress(Progress *p, int done, int all)
{
    const double now = now_ms();
    p->began = p->began ? p->began : now;
    bool changed = done != p->done || all != p->all;
    p->done = done, p->all = all;
    if (now - p->began >= PATIENCE_MS && (changed || !p->shown))
        tell(p);
}

void progress_end(Progress *p, bool failed)
{
    if (!p->shown)
        return;
    if (!failed && p->done < p->all)
        p->done = p->all, tell(p);
    pthread_mutex_lock(&told.lock);
    bool line = !told.f && isatty(STDERR_FILENO);
    pthread_mutex_unlock(&told.lock);
    if (line)
        fprintf(stderr, "\r\033[K"), fflush(stderr);
}
