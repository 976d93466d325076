/*
 * units.c - compiled code of a device: who uses it, who makes it, and who waits for it.
 *
 * In:  units that a backend found or began.   Out: units that can be run.
 * A unit is made of what a compiler of another process gave (jobs.h), of what the disk has, or by compiling
 * here, by whoever comes to it first with its lock. Where even the first two take long, as in Mesa's Vulkan,
 * several threads make units while somebody waits, and while nobody does, one, which exit() and fork() leave
 * behind.
 */
#include "units.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend.h"
#include "cache.h"
#include "fault.h"
#include "progress.h"

void stock_open(Stock *s) { pthread_mutex_init(&s->lock, NULL); }
void stock_close(Stock *s) { pthread_mutex_destroy(&s->lock); }

/* ==================== a unit */

void unit_open(Unit *u, const void *key, size_t nkey)
{
    pthread_mutex_init(&u->lock, NULL);
    u->key = key, u->nkey = nkey, u->refs = 1;
}

void unit_close(Unit *u)
{
    job_drop(u->job);
    pthread_mutex_destroy(&u->lock);
}

void *unit_job_result(Stock *s, Unit *u, size_t *n)
{
    void *data = job_result(u->job, n);
    u->how = data ? "compiled by another process" : NULL;
    u->ms = job_ms(u->job);
    if (data && u->ins >= s->much)
        rate_seen(s->rate(s->device), (double)u->ins, u->ms);
    job_drop(u->job);
    u->job = NULL;
    return data;
}

bool unit_missing(Unit *u, bool begun)
{
    if (u->made || pthread_mutex_trylock(&u->lock))     /* locked: somebody makes it */
        return false;
    bool is = !u->made && !u->found && (begun || !u->job);
    pthread_mutex_unlock(&u->lock);
    return is;
}

/* 0, NOT_YET, or an error. */
static int finish(Stock *s, Unit *u)
{
    int e = 0;
    if (u->made)
        return 0;
    if (pthread_mutex_trylock(&u->lock))
        return NOT_YET;
    if (!u->made)
        e = u->job && !job_ended(u->job, 0) ? NOT_YET : s->make(s->device, u);
    pthread_mutex_unlock(&u->lock);
    return e;
}

/* ==================== a program's */

int units_open(Units *c, Stock *of, int n)
{
    *c = (Units){ .of = of, .n = n };
    c->unit = calloc((size_t)n + 1, sizeof *c->unit);
    c->all = calloc((size_t)n + 1, sizeof *c->all);
    return c->unit && c->all ? 0 : error_set(E_NOMEM, "no memory for a program");
}

void units_use(Units *c, int k, Unit *u)
{
    c->unit[k] = u;
    for (int i = 0; i < c->nall; i++)
        if (c->all[i] == u)
            return;
    u->refs++;
    c->all[c->nall++] = u;
}

void units_add(Units *c, int k, Unit *u)
{
    u->next = c->of->first, c->of->first = u;
    c->unit[k] = c->all[c->nall++] = u;
}

double units_expected(const Units *c)
{
    double all = 0, longest = 0;
    for (int k = 0; k < c->nall; k++) {
        Unit *u = c->all[k];
        double ms = 0;
        if (unit_missing(u, true))
            ms = c->of->unit_ms + rate_ms(c->of->rate(c->of->device), (double)u->ins);
        all += ms, longest = ms > longest ? ms : longest;
    }
    return jobs_done(all, longest);
}

bool units_tried(const Units *c)
{
    bool tried = false;
    for (int k = 0; k < c->nall; k++)
        tried |= c->all[k]->tried;
    return tried;
}

void units_worked(const Units *c)
{
    for (int k = 0; k < c->nall; k++) {
        Unit *u = c->all[k];
        pthread_mutex_lock(&u->lock);
        if (u->tried)
            cache_worked(u->key, u->nkey);
        u->tried = false;
        pthread_mutex_unlock(&u->lock);
    }
}

/* ==================== threads that make units */

struct Making {
    Units *c;
    pthread_t thread;
    pid_t process;
    bool waited; /* who asked waits, so exit() and fork() know of them */
    _Atomic bool stop, ended;
};

static void *make_all(void *making)
{
    struct Making *m = making;
    for (int k = 0; k < m->c->nall && !m->stop; k++) {
        if (!m->waited)
            visit_beside();
        if (!process_ending())
            finish(m->c->of, m->c->all[k]);
        if (!m->waited)
            visit_end();
        error_clear();
    }
    m->ended = true;
    return NULL;
}

static struct Making *making_start(Units *c, bool waited)
{
    struct Making *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->c = c, m->process = getpid(), m->waited = waited;
    if (thread_start(&m->thread, make_all, m))
        return m;
    free(m);
    return NULL;
}

static void making_end(struct Making *m, bool stop)
{
    if (!m)
        return;
    m->stop = stop;
    if (m->process == getpid())
        pthread_join(m->thread, NULL);
    free(m);
}

/* ==================== waiting */

static int count(const Units *c)                /* kernels */
{
    int done = 0;
    for (int k = 0; k < c->n; k++)
        done += c->unit[k]->made;
    return done;
}

/* How many are to be made of what is known by now. *compiling: the others; of what another thread makes
 * nobody knows. */
static int ready(const Units *c, int *compiling)
{
    int n = *compiling = 0;
    for (int k = 0; k < c->nall; k++) {
        Unit *u = c->all[k];
        if (u->made || pthread_mutex_trylock(&u->lock))
            continue;
        bool ended = !u->job || job_ended(u->job, 0);
        pthread_mutex_unlock(&u->lock);
        n += ended, *compiling += !ended;
    }
    return n;
}

/* All that are ready, in order. 0, NOT_YET, or an error. */
static int make_ready(Units *c)
{
    int e = 0;
    bool all = true;
    for (int k = 0; k < c->nall && e <= 0; k++) {
        e = finish(c->of, c->all[k]);
        all &= e != NOT_YET;
    }
    return e > 0 ? e : all ? 0 : NOT_YET;
}

/* The same by several threads, where that helps; failures that are asked for come in order. */
static int make_together(Units *c)
{
    enum { MOST = 16 };
    struct Making *helper[MOST];
    int compiling, n = c->of->slow && !fault_wanted ? ready(c, &compiling) - 1 : 0;
    n = n < jobs_at_once() - 1 ? n : jobs_at_once() - 1;
    n = n < MOST ? n : MOST;
    for (int k = 0; k < n; k++)
        helper[k] = making_start(c, true);
    int e = make_ready(c);
    for (int k = 0; k < n; k++)
        making_end(helper[k], e > 0);
    return e;
}

/* Until one that is compiled is there, or a moment has gone by. */
static void pause_for_one(const Units *c)
{
    enum { PAUSE_MS = 20 };
    for (int k = 0; k < c->nall; k++) {
        Unit *u = c->all[k];
        if (u->made || pthread_mutex_trylock(&u->lock))
            continue;
        bool waited = u->job != NULL;
        if (waited)
            job_ended(u->job, PAUSE_MS);
        pthread_mutex_unlock(&u->lock);
        if (waited)
            return;
    }
    usleep(1000 * PAUSE_MS);
}

static void hurry(Unit *u)
{
    if (u->made || pthread_mutex_trylock(&u->lock))
        return;
    job_hurry(u->job);
    pthread_mutex_unlock(&u->lock);
}

static int wait_for_all(Units *c)
{
    Progress p = { 0 };
    int e;
    for (int k = 0; k < c->nall; k++)
        hurry(c->all[k]);
    for (;;) {
        const int before = count(c);
        e = make_together(c);
        progress(&p, count(c), c->n);
        if (e != NOT_YET)
            break;
        if (count(c) == before)
            pause_for_one(c);
    }
    progress_end(&p, e);
    return e;
}

int units_finish(Units *c, bool wait)
{
    int compiling = 0;
    if (c->making && (wait || c->making->ended)) {
        making_end(c->making, false);
        c->making = NULL;
        wait = true; /* what it could not do says why */
    }
    if (wait)
        return wait_for_all(c);
    if (!c->of->slow || count(c) == c->n)
        return c->making ? NOT_YET : make_ready(c);
    if (!c->making && (ready(c, &compiling), !compiling))
        c->making = making_start(c, false);
    return NOT_YET;
}

void units_drop(Units *c)
{
    making_end(c->making, true);
    for (int k = 0; k < c->nall; k++) {
        Unit *u = c->all[k], **at = &c->of->first;
        pthread_mutex_lock(&c->of->lock);
        bool last = !--u->refs;
        while (last && *at != u)
            at = &(*at)->next;
        if (last)
            *at = u->next;
        pthread_mutex_unlock(&c->of->lock);
        if (last)
            c->of->end(c->of->device, u);
    }
    free(c->unit), free(c->all);
    *c = (Units){ 0 };
}

/* ==================== HEDDLE_DUMP=time */

typedef struct Told {
    const Kernel *k;
    const Unit *u;
    int length;
} Told;

static int longest_first(const void *a, const void *b)
{
    return ((const Told *)b)->length - ((const Told *)a)->length;
}

void units_tell(const Units *c, Kernel *const *kernel)
{
    Told *t = malloc(((size_t)c->n + 1) * sizeof *t);
    for (int k = 0; t && k < c->n; k++)
        t[k] = (Told){ kernel[k], c->unit[k], c->of->length(c->of->device, c->unit[k], kernel[k]) };
    if (t)
        qsort(t, (size_t)c->n, sizeof *t, longest_first);
    for (int k = 0; t && k < c->n; k++) {
        int others = -1;
        for (int i = 0; i < c->n; i++)
            others += t[i].u == t[k].u;
        fprintf(stderr, "---- time %s: ", t[k].k->name);
        if (t[k].length)
            fprintf(stderr, "%d %s, ", t[k].length, c->of->lengths);
        fprintf(stderr, "%s", t[k].u->how ? t[k].u->how : "?");
        if (t[k].u->ms > 0)
            fprintf(stderr, ", %.1f ms", t[k].u->ms);
        if (t[k].u->ms > 0 && others)
            fprintf(stderr, " with %d others", others);
        fprintf(stderr, "\n");
    }
    free(t);
}
