/*
 * target.h - what a device can do, and what things cost on it, as far as plans depend on it.
 *
 * A Machine is a table (machine.def): what the device says of itself, what follows from that, prices and
 * limits. Backends fill it, $HEDDLE_MACHINE replaces rows of it, and nothing else in the scheduler asks what
 * kind of device it plans for.
 */
#ifndef HEDDLE_TARGET_H
#define HEDDLE_TARGET_H

#include "base.h"

typedef struct Machine {
#define INT(name, processor, gpu, meaning)  int64_t name;
#define REAL(name, processor, gpu, meaning) double name;
#include "machine.def"
#undef INT
#undef REAL
} Machine;

/* The two that all others are made from, as they are planned for where no device is asked. */
extern const Machine machine_processor, machine_gpu;

void machine_follow(Machine *);                 /* what follows from what the device says */
/* Rows of text, "name value" each, and "gpu" or "processor" alone: all rows of that one. What follows from
 * them is computed, unless it has a row. `#` begins a comment. where: for messages. 0, or an error that
 * names the line. */
int machine_parse(Machine *, const char *text, const char *where);
int machine_read(Machine *, const char *path);  /* a file of it */
int machine_override(Machine *);                /* $HEDDLE_MACHINE, if it is set */
/* all rows, each with its meaning; machine_parse() reads it */
void machine_print(const Machine *, Text *);
uint64_t machine_hash(const Machine *);

/* Cycles of a work-item that does its part of so many. */
static inline double item_cycles(const Machine *m, double total)
{
    double part = total / (double)m->items;
    return part < (double)m->item ? part : (double)m->item;
}

typedef struct Target {
    const char *device;                         /* its name, for messages */
    const Machine *machine;                     /* NULL: machine_processor */
    bool f64, i64, f16;
    bool no_fma64;                              /* fma of f64 is made of integers: no functions of it */
    int64_t max_alloc;                          /* bytes of one allocation */
} Target;

enum { TURNS = 50 };                            /* steps that a while is taken to make */

#endif
