/*
 * reduce.h - a reduction as it is written: between lower_reduce.c and the files of groups.
 */
#ifndef HEDDLE_REDUCE_H
#define HEDDLE_REDUCE_H

#include "evaluator.h"

typedef struct Red {
    const Graph *g; Ref v; const Form *idx; const Ins *i;
    const Atom *const *ks; int nk;
    Demand d[2];
    /* the operands are multiplied first: with one rounding, where they are floats */
    bool product;
    int op;                                     /* of the graph: what combines */
    Dtype acc;                                  /* graph's dtype of the accumulator: never f16, bf16 */
    Dtype res;
} Red;

/* Those of one loop. */
typedef struct Reds { Frame *fr; const Red *r; int n; } Reds;

/* One step of every reduction at every environment; acc: [reduction * ne + environment], 0: nothing yet. */
void reduce_steps(Lower *, const Reds *, Envs, Val *acc);
Val reduce_across(Lower *, int op, Dtype, Val);         /* lanes -> 1 */

/* The same shared out to the items of a group (lower_team.c), or over tiles in local memory
 * (lower_tile.c). */
void team_reduce(Lower *, const Reds *, const SumLoop *, Envs, Val *acc);
void tile_reduce(Lower *, const Reds *, Envs, Val *acc);
void team_running(Lower *);                     /* running values (lower_running.c) */

#endif
