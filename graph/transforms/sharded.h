/*
 * sharded.h - what the files about arrays over a mesh share: the factors of an instruction (factors.c),
 * values and how they come from one state to another (sharded_moves.c), regions (sharded_region.c), and the
 * way over all instructions (sharded.c).
 */
#ifndef HEDDLE_SHARDED_H
#define HEDDLE_SHARDED_H

#include "transforms.h"
#include <string.h>

/* What becomes of a factor's parts: they are parts of the result, or go together in it. */
typedef enum FactorKind { F_KEPT, F_SUM, F_MAX, F_MIN } FactorKind;
typedef int8_t FactorAxes[MAXRANK];             /* by axis: its factor, -1: none */
enum { FACTORS = 4 * MAXRANK };
typedef struct Factors { int n; uint8_t kind[FACTORS]; FactorAxes *in, *out; } Factors;
Factors factors_of(const Ins *, const Graph *);
bool graph_constrains(const Graph *);           /* does it say how a value is dealt out, in a body too? */

/* ==================== values */

/* at: the axis of the value that each axis of the mesh deals out; sum: a bit for each over which it is still
 * to be summed. */
typedef struct Val { Ref ref; Dealt at; uint8_t sum; } Val;

/* Of one graph. lanes: a region with lanes has to lose them first, and all is done again. */
typedef struct Sharder {
    const Mesh *mesh;
    const Graph *g;
    Val *val;
    int *uses;
    bool *lanes;
    Moves *moves;
} Sharder;

extern const Dealt dealt_whole;
bool val_equal(const Val *, const Val *);       /* are they in one state? */
bool val_is_whole(const Val *);

/* A collective over axis m of the mesh, counted. */
Ref sharded_collective(Sharder *, Op, int m, int at, int to, Ref);
/* The sums over these axes are taken. Where all that reads the value wants it dealt out anyway, each shard
 * gets its share alone. */
void val_take_sums(Sharder *, Ref old, unsigned sums, const Dealt *want);
/* i: what wants it so, for who asks what is moved; NULL: nothing is told */
Ref val_moved(Sharder *, const Ins *i, Ref old, Val, const Dealt *want);
/* A value of the graph dealt out so, with these sums still to be taken ... */
Ref val_as(Sharder *, const Ins *i, Ref old, const Dealt *want, unsigned sums);
/* ... so that it has just these sums to be taken. */
Ref val_part(Sharder *, const Ins *i, Ref old, const Val *want);
/* As a part of a sum over an axis: the first shard has it, the others have nothing. */
Ref sharded_first(const Mesh *, Ref, int m);

/* ==================== instructions */

Sharder sharded_inside(const Sharder *, const Graph *);        /* of a body */
void sharded_all(Sharder *);                    /* all instructions of its graph */
void sharded_region(Sharder *, const Ins *);

#endif
