/*
 * sharded.h - what the files about arrays over a mesh share: the factors of an instruction.
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

#endif
