/*
 * stage.h - the loops of a kernel as they are planned: between stage.c and roll.c.
 */
#ifndef HEDDLE_STAGE_H
#define HEDDLE_STAGE_H

#include "schedule.h"

/* What is evaluated: the kernel's graph, or the body of a step in rows. */
typedef struct Outside { Ref v; Form lead[MAXRANK + 1]; int nlead; } Outside;
struct Frame {
    const Graph *g;
    const Place *stored; Insteads instead; Refs made;
    struct Frame *outer;                        /* NULL: the kernel's graph */
    /* by value, number + 1: what is an element of outer, at lead + index */
    Outside *outside; int *outside_of;
    UserCount users;
    Map rows;                                   /* (value, index) -> the phase that writes it, + 1 */
};

typedef struct Planner {
    Sched *s; Spec *spec; const Machine *m;
    struct Frame *fr;
    const Store *st; int nst;
    Envs envs;                                  /* copies of a block; bases are variables */
    int inner_cap;
} Planner;

Place frame_stored(const struct Frame *, Ref);  /* buf NULL: computed */
bool frame_leaf(const struct Frame *, Ref);     /* stored, or outside */
/* 1: one element or side by side; load_far: each lane for itself */
int loop_price(const Machine *, Form, const Atom *);

/* Which copies become a loop when they are stored, or summed (want), in phase number `phase`. */
typedef struct Copies { Envs envs; int phase; } Copies;
Rolled roll_of_stores(const Planner *, const Copies *, const int *store, int n);
Rolled roll_of_sums(const Planner *, const Copies *, const Want *, int n);

#endif
