/*
 * ranks.c - what goes wrong in one process of several: a call that only one makes, another function, a rank
 * that ends, is killed or stopped, before its first call, between calls, in the middle of one and at the
 * end; a shard that fails; and what does not: a rank that works for long, a job that is stopped as a whole.
 * Run by ranks_faults.sh as `ranks CASE` on three ranks; rank 1 is the odd one.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"
#include "heddle.h"

static const char *what = "";
static bool odd;                                /* this is rank 1, after what all do first */

static bool is(const char *name) { return odd && !strcmp(what, name); }

/* Longer than HEDDLE_MPI_TIMEOUT, in seconds: how long what takes long takes. */
static const char *longer(void) { return getenv("RANKS_LONGER") ? getenv("RANKS_LONGER") : "5"; }

/* This process, for so long. */
static void stop(void)
{
    const pid_t me = getpid();
    if (fork() == 0) {
        sleep((unsigned)atoi(longer()));
        kill(me, SIGCONT);
        _exit(0);
    }
    raise(SIGSTOP);
}

/* For good, whoever wakes it. */
static void stay(void)
{
    while (true)
        raise(SIGSTOP);
}

static hd met(hd x)
{
    hd far = hd_psum(hd_square(x), "i");
    return hd_add(hd_sin(x), far);
}
static hd other(hd x) { return hd_sub(x, hd_psum(x, "i")); }

/* A function on the host in the middle of a program. */
static int strange(hd_array *const *args, int nargs, hd_array **out, int nout, void *user)
{
    static int calls;
    (void)nout, (void)user, (void)nargs;
    calls++;
    if (is("takes long"))
        sleep((unsigned)atoi(longer()));
    if (calls == 2 && !strcmp(what, "all stopped in a scan"))
        stop();
    if (is("stopped at home"))
        stay();
    if (is("killed at home"))
        raise(SIGKILL);
    if (is("fails") && calls == 1)
        return hd_fail("this one refuses"), 1;
    if (calls == 2 && (is("killed in a scan") || is("killed in a grid")))
        raise(SIGKILL);
    if (calls == 2 && is("stopped in a scan"))
        stay();
    if (calls == 2 && is("crashes in a scan"))
        abort();
    if (calls == 2 && is("exits in a scan"))
        exit(3);
    if (calls == 2 && is("fails in a scan"))
        return hd_fail("this one refuses"), 1;
    out[0] = hd_keep(args[0]);
    return 0;
}

static hd through(hd x) { return hd_callback(strange, NULL, x, x); }
static hd failing(hd x) { return hd_psum(through(x), "i"); }
/* Between two maps, on one device. */
static hd around(hd x) { return hd_apply(hd_pmap(met, .axis_name = "i"), through(x)); }
static hd turn(hd c, hd nothing)
{
    (void)nothing;
    return hd_tuple(hd_mul_c(hd_add(through(c), hd_psum(c, "i")), .25), HD_NIL);
}
static hd scanned(hd x) { return hd_nth(hd_scan(turn, x, HD_NIL, .length = 4), 0); }
static hd inner(hd x) { return hd_psum(hd_psum(through(hd_sin(x)), "j"), "i"); }
static hd gridded(hd x) { return hd_apply(hd_pmap(inner, .axis_name = "j"), x); }
static hd twice(hd x)
{
    hd_fn *f = hd_pmap(gridded, .axis_name = "i", .devices = "0/host,1/host,2/host");
    return hd_apply(f, hd_stack(1, x, x));
}

static int told(int e)
{
    if (e)
        fprintf(stderr, "rank %d says: %s\n", hd_rank(), hd_error());
    return e;
}

static int call(hd_fn *f, hd_array *x)
{
    hd_array *y = NULL;
    int e = hd_call(f, &y, x);
    e = told(e || hd_data(y) ? e : hd_error_code());
    hd_drop(y);
    return e;
}

/* ... and does not read it. */
static int call_alone(hd_fn *f, hd_array *x)
{
    hd_array *y = NULL;
    int e = told(hd_call(f, &y, x));
    hd_drop(y);
    return e;
}

int main(int n, char **v)
{
    const float data[] = { 1, 2, 3 };
    what = n > 1 ? v[1] : "";
    const char *number = getenv("OMPI_COMM_WORLD_RANK");
    odd = number && !strcmp(number, "1");
    if (is("never comes"))
        return sleep(2), 0;
    if (is("crashes before"))
        abort();
    char slow[60];
    snprintf(slow, sizeof slow, "host:compile:1@%s", longer());
    if (is("takes long"))
        fault_set(slow);
    hd_array *x = hd_array_new(HD_F32, (hd_ints){ 1, { 3 } }, data, NULL);
    hd_fn *f = hd_pmap(met, .axis_name = "i"), *g = hd_pmap(other, .axis_name = "i"),
          *h = hd_pmap(failing, .axis_name = "i"), *scan = hd_pmap(scanned, .axis_name = "i");
    int e = is("comes late") ? sleep(3), call(f, x) : call(f, x);
    if (is("ends"))
        return 0;
    if (is("killed"))
        raise(SIGKILL);
    if (is("stopped"))
        stay();
    snprintf(slow, sizeof slow, "host:download:1@%s", longer());
    if (is("takes long"))
        fault_set(slow);
    if (!strcmp(what, "takes long")) {
        e = e ? e : call(f, x);
        e = e ? e : call(h, x);
        e = e ? e : call(HD_FN(around), x);
    } else if (!strcmp(what, "fails")) {
        e = e ? e : !call(h, x);
    } else if (!strcmp(what, "fails in a scan")) {
        e = e ? e : !call(scan, x);
    } else if (!strcmp(what, "different")) {
        e = e ? e : !call(odd ? g : f, x);
    } else if (!strcmp(what, "does not read")) {
        e = e ? e : odd ? call_alone(f, x) : call(f, x);
    } else if (!strcmp(what, "alone")) {        /* the others end */
        return odd ? call(f, x) : 0;
    } else if (strstr(what, "at home")) {
        e = e ? e : call(HD_FN(around), x);
    } else if (strstr(what, "in a scan")) {
        e = e ? e : call(scan, x);
    } else if (strstr(what, "in a grid")) {
        e = e ? e : call(HD_FN(twice), x);
    } else if (!strcmp(what, "stopped at the end")) {
        if (odd)
            stay();
    } else {
        e = e ? e : call(f, x);
    }
    if (!strncmp(what, "fails", 5) || !strcmp(what, "different"))
        e = e ? e : call(f, x);                 /* the next call works */
    hd_drop(x);
    return e != 0;
}
