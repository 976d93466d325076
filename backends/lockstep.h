/*
 * lockstep.h - what a device that runs work-items in groups says of itself. 0: it does not say.
 */
#ifndef HEDDLE_LOCKSTEP_H
#define HEDDLE_LOCKSTEP_H

#include "target.h"

typedef struct Lockstep {
    int64_t lanes;                              /* of a subgroup */
    int64_t items, side[2];                     /* of a group at most: in all, along its first two axes */
    int64_t local;                              /* bytes that they share */
    int64_t cores;                              /* compute units */
    int64_t line, l2;                           /* bytes of a line of the caches, of the last one */
    int64_t core_items, core_registers, core_local;     /* what a core has at once for all its groups */
} Lockstep;

/* The table of a gpu, with what the device says in its place. */
void lockstep_machine(Machine *, const Lockstep *);

#endif
