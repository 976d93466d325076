/*
 * host.h - between the device and the evaluator of the host reference. Private to backends/host/.
 */
#ifndef HEDDLE_HOST_H
#define HEDDLE_HOST_H

#include "backend.h"
#include "graph.h"

/* A value while a program runs; evaluate.c says who owns it. */
typedef struct Buf {
    int refs;
    size_t bytes;
    char *p;
    /* a row of that one; NULL: has bytes of its own, unless lent */
    struct Buf *parent;
    bool lent;                                  /* the caller's memory */
} Buf;

Buf *buf_head(size_t bytes, void *p);           /* of bytes that are there */
void buf_drop(Buf *);
void bufs_drop(Buf **, int n);
bool buf_mine(const Buf *);                     /* has nobody else a part of it? */

/* room for so many, and never none. NULL: out of memory, which is said */
void *bytes_new(size_t);
void *list_new(size_t n, size_t size);          /* zeroed, for a while; free() it. NULL likewise */

/* A graph with how often each value is read. */
typedef struct Prog {
    const Graph *g;
    int *uses;
    int widest;                                 /* the most operands or results of an instruction */
    struct Prog ***sub;                         /* by instruction: its bodies */
} Prog;

Prog *prog_new(const Graph *);                  /* NULL after an error */
void prog_drop(Prog *);

typedef struct HostExec { Exec exec; Prog *prog; bool nan; } HostExec;

/* Takes the operands x over; results z are all NULL after an error. */
int run_graph(const HostExec *, const Prog *, Buf **x, Buf **z);

#endif
