/*
 * measure.c - one workload, from a function never seen to its steady state.
 *
 * Inputs are on the device before any clock starts. A call ends when its result could be read. Each call
 * returns new results; those of the call before are released first.
 */
#include "measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static double ms_of(struct timeval t) { return 1e3 * (double)t.tv_sec + 1e-3 * (double)t.tv_usec; }

/* Time in the system, and all time, of all threads so far. */
static double processor_ms(double *all)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    *all = ms_of(u.ru_utime) + ms_of(u.ru_stime);
    return ms_of(u.ru_stime);
}

static int once(const Workload *w, hd_fn *f, hd_array **out, hd_array *const *args, int n)
{
    int e = w->call ? w->call(f, out, args, n) : hd_call_n(f, out, 1, args, n);
    return e ? e : hd_wait(*out);
}

static hd waking(hd x) { return hd_mul(x, hd_c(3)); }
static hd waking_too(hd x) { return hd_mul(x, hd_c(5)); }

static int called_on(hd_fn *f, hd_array *x)
{
    hd_array *y = NULL;
    int e = hd_call(f, &y, x);
    e = e ? e : hd_wait(y);
    hd_drop(y);
    return e;
}

/* A device starts up with its first programs, large and small ones; that is nobody's first call. So do its
 * compilers: two programs at once, so that two of them begin, and neither call waits (tier 0). */
static int wake(const char *device)
{
    hd_fn *f[] = { HD_FN(waking), HD_FN(waking_too) };
    const char *said = getenv("HEDDLE_TIER");
    char *tier = said ? strdup(said) : NULL;
    int e = 0;
    setenv("HEDDLE_TIER", "", 1);
    for (int k = 0; k < 2; k++) {
        hd_array *host = A(1, k ? 1 : 1 << 20), *x = hd_put(host, device);
        for (int j = 0; j < 2; j++)
            e = e ? e : called_on(f[j], x);
        for (int j = 0; j < 2; j++)
            e = e ? e : hd_compile(f[j], x);
        hd_drop(host), hd_drop(x);
    }
    if (tier)
        setenv("HEDDLE_TIER", tier, 1);
    else
        unsetenv("HEDDLE_TIER");
    free(tier);
    if (getenv("HEDDLE_DUMP"))
        fprintf(stderr, "---- awake\n"); /* what is dumped from here on is the workload's */
    return e;
}

static int arguments(const Workload *w, const char *device, hd_array **args, int *n)
{
    *n = w->args(w->size, args);
    for (int i = 0; i < *n; i++) {
        hd_array *there = hd_put(args[i], device);
        hd_drop(args[i]);
        args[i] = there;
        if (!there || hd_wait(there))
            return hd_error_code();
    }
    return 0;
}

/* As a user calls it. What its parts cost is asked for afterwards, since that waits for compiled code, which
 * a call need not; and not at all where the first call is all that is wanted and did not wait, as for
 * first.py. */
static int first(const Workload *w, hd_fn *f, hd_array **out, hd_array *const *args, int n, Times *t)
{
    double start = now_ms();
    int e = once(w, f, out, args, n);
    t->first = now_ms() - start;
    const char *tier = getenv("HEDDLE_TIER");
    if (!t->first_only || (tier && !strcmp(tier, "1")))
        e = e ? e : hd_cost_n(f, &t->cost, args, n);
    const hd_cost_info *c = &t->cost;
    t->run = fmax(0, t->first - c->trace_ms - c->transform_ms - c->schedule_ms - c->compile_ms);
    return e;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

enum { MOST_CALLS = 2000, WARM_CALLS = 2, LEAST_CALLS = 5 };

static int steady(const Workload *w, hd_fn *f, hd_array *const *args, int n, double seconds, Times *t)
{
    static double ms[MOST_CALLS];
    double stop = 0, sys = 0, all = 0, all_end;
    int k = -WARM_CALLS;
    for (; k < LEAST_CALLS || (now_ms() < stop && k < MOST_CALLS); k++) {
        hd_array *out = NULL;
        if (!k)
            stop = now_ms() + 1e3 * seconds, sys = processor_ms(&all);
        double start = now_ms();
        int e = once(w, f, &out, args, n);
        if (k >= 0)
            ms[k] = now_ms() - start;
        hd_drop(out);
        if (e)
            return e;
    }
    t->sys = (processor_ms(&all_end) - sys) / k, t->cpu = (all_end - all) / k;
    qsort(ms, (size_t)k, sizeof *ms, ascending);
    t->min = ms[0], t->median = ms[k / 2], t->calls = k;
    return 0;
}

int measure(const Workload *w, const char *device, double seconds, Times *t)
{
    hd_array *args[MAX_ARGS] = { NULL }, *out = NULL;
    hd_fn *f;
    int n = 0, e = wake(device);

    *t = (Times){ .first_only = seconds < 0 };
    if (!e && !(e = arguments(w, device, args, &n)) &&
        !(e = (f = w->function(w->size)) ? 0 : hd_error_code()) && !(e = first(w, f, &out, args, n, t)) &&
        !(e = checksum(out, &t->sum))) {
        t->bytes = bytes_of(out);
        for (int i = 0; i < n; i++)
            t->bytes += bytes_of(args[i]);
        t->flops = w->flops ? w->flops(w->size, out) : 0;
        hd_drop(out), out = NULL;
        if (seconds >= 0)
            e = steady(w, f, args, n, seconds, t);
    }
    hd_drop(out);
    for (int i = 0; i < n; i++)
        hd_drop(args[i]);
    return e;
}
