/*
 * away.c - letters while the thread that speaks to MPI does something else: it compiles, runs a callback or
 * waits for a device.
 *
 * In:  what to do every so often.   Out: that, done in a thread of its own between away_begin() and
 * away_end(), and never beside the one that is away: away_end() waits for it.
 * So the others hear of a rank that is at work however long that takes, and only one that is gone, or
 * stopped, is silent. The thread is there from joining the job to its end; a child of fork() has none.
 */
#include "mail.h"

#include <signal.h>
#include <time.h>

static struct {
    pthread_mutex_t lock;
    pthread_cond_t over;
    pthread_t thread;
    bool there, is, end;                        /* the thread; somebody is away; nobody will be any more */
    double often;
    void (*turn)(void);
    bool (*may)(void);
} away = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct timespec after(double seconds)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    long ns = t.tv_nsec + (long)(1e9 * (seconds - (double)(time_t)seconds));
    t.tv_sec += (time_t)seconds + ns / 1000000000, t.tv_nsec = ns % 1000000000;
    return t;
}

static void *turns(void *unused)
{
    if (!away.may())
        return unused;
    pthread_mutex_lock(&away.lock);
    while (!away.end) {
        const struct timespec t = after(away.often);
        pthread_cond_timedwait(&away.over, &away.lock, &t);
        if (away.is && !away.end)
            away.turn();
    }
    pthread_mutex_unlock(&away.lock);
    return unused;
}

/* Signals are for the application's threads. */
int away_open(double often, void (*turn)(void), bool (*may)(void))
{
    sigset_t all, before;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&away.over, &monotonic);
    pthread_condattr_destroy(&monotonic);
    away.often = often, away.turn = turn, away.may = may;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    away.there = !pthread_create(&away.thread, NULL, turns, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return away.there ? 0 : error_set(E_NOMEM, "no thread for letters of a job's ranks");
}

void away_close(void)
{
    if (!away.there)
        return;
    pthread_mutex_lock(&away.lock);
    away.end = true;
    pthread_cond_signal(&away.over);
    pthread_mutex_unlock(&away.lock);
    pthread_join(away.thread, NULL);
    away.there = false;
}

static void set(bool is)
{
    pthread_mutex_lock(&away.lock);
    away.is = is;
    pthread_mutex_unlock(&away.lock);
}

void away_begin(void) { set(true); }
void away_end(void) { set(false); }
