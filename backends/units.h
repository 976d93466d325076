/*
 * units.h - compiled code of a device, in pieces that are each made once, however many programs use them.
 *
 * A unit is what a backend compiles at a time: a text of a few kernels, or the words of one. The backend
 * puts a Unit at the beginning of its own, says how one is made and how it ends, and finds or begins those
 * that a program needs; what waits for them, counts them, tells of them and lets them go is here.
 */
#ifndef HEDDLE_UNITS_H
#define HEDDLE_UNITS_H

#include <pthread.h>

#include "jobs.h"
#include "plan.h"
#include "rates.h"

typedef struct Unit {
    struct Unit *next;
    int refs;                                   /* under the stock's lock, as is the list */
    const void *key; size_t nkey;               /* by which the disk knows it */
    int64_t ins;                                /* instructions of its kernels; 0: it was read back */
    pthread_mutex_t lock;                       /* of what follows */
    Job *job;                                   /* that compiles it; NULL: nobody does */
    /* its code is known; it is from the disk, and has never run */
    bool found, tried;
    /* for HEDDLE_DUMP=time: where it is from, what it took */
    const char *how; double ms;
    _Atomic bool made;                          /* it can be run */
} Unit;

/* The units of a device that some program uses. What the backend says of them is set before stock_open. */
typedef struct Stock {
    void *device;
    /* With its lock held, and its job ended: of what is known of it, or by compiling. 0, or an error. */
    int (*make)(void *device, Unit *);
    void (*end)(void *device, Unit *);          /* it is used no more; begins with unit_close */
    int (*length)(void *device, const Unit *, const Kernel *);  /* of a kernel's text; 0: not known */
    const char *lengths;                        /* what that counts */
    bool slow;                                  /* even of what is known making takes long: threads do it */
    Rate *(*rate)(const void *device);          /* milliseconds of an instruction */
    double unit_ms;                             /* of a unit, beside its instructions */
    int64_t much;                               /* instructions, in less of which that counts most */
    pthread_mutex_t lock; Unit *first;
} Stock;
void stock_open(Stock *);
void stock_close(Stock *);

void unit_open(Unit *, const void *key, size_t nkey);   /* it belongs to whoever made it, until units_add */
void unit_close(Unit *);
/* Of a job that has ended, which goes: what it gave, free() it. NULL: it failed. */
void *unit_job_result(Stock *, Unit *, size_t *n);
/* Its code is neither known nor there, nor just being made. begun: nor is somebody compiling it. */
bool unit_missing(Unit *, bool begun);

/* What a program needs: of each kernel its unit, and each unit once. */
typedef struct Units {
    Stock *of;
    Unit **unit; int n;                         /* by kernel */
    Unit **all; int nall;                       /* with a reference each */
    struct Making *making;                      /* a thread that makes them, while nobody waits */
} Units;
enum { NOT_YET = -1 };

int units_open(Units *, Stock *, int n);        /* of n kernels, none yet. 0, or an error */
/* Both with the stock's lock held: kernel k is in a unit of the stock; in a new one. */
void units_use(Units *, int k, Unit *);
void units_add(Units *, int k, Unit *);
/* Milliseconds until all are there, if what is missing begins now; 0: they are. By what others took. */
double units_expected(const Units *);
/* 0: all are made; NOT_YET, unless it is waited for; or an error. One thread at a time. */
int units_finish(Units *, bool wait);
bool units_tried(const Units *);                /* some is from the disk, and nobody has seen it run */
void units_worked(const Units *);               /* all have run, and the process still lives */
void units_tell(const Units *, Kernel *const *);        /* HEDDLE_DUMP=time: longest first */
void units_drop(Units *);

#endif
