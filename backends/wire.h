/*
 * wire.h - what Heddle asks of MPI, as a table.
 *
 * The table is in a module of its own (mpi/mpi.c), which is opened where a process is one of several: so
 * libheddle itself is not linked to MPI, and what runs alone never loads it. All calls come from one thread
 * at a time. Messages from one rank to another arrive in the order in which they were sent, those of each
 * kind for themselves.
 */
#ifndef HEDDLE_WIRE_H
#define HEDDLE_WIRE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct Wire {
    /* Begins MPI unless the application has; then `ending` is called before MPI ends, whoever ends it. NULL,
     * or why it cannot be. */
    const char *(*open)(int *rank, int *size, void (*ending)(void));
    bool (*ready)(void);                        /* has every rank opened it? */
    const char *(*usable)(void);                /* NULL, or why this thread may not call it now */
    void *(*send)(int to, int kind, const void *, size_t);      /* a request; NULL: it cannot be */
    void *(*receive)(int from, int kind, void *, size_t);       /* from -1: whoever sends first */
    /* 1: it is, and the request is gone; 0: not yet; -1: it failed, and is gone */
    int (*done)(void *request, int *from);
    void (*cancel)(void *request);              /* what nobody has sent is not received any more */
    void (*close)(void);                        /* ends MPI, where this module began it */
    void (*abort)(int code);                    /* ends every rank of the job */
} Wire;

const Wire *heddle_wire(void);                  /* the module's one symbol */

#endif
