/*
 * lanes.h - graphs of one element made graphs of many: what is written for one matrix or one line becomes
 * a kernel whose lanes are all of them.
 */
#ifndef HEDDLE_PREPARE_LANES_H
#define HEDDLE_PREPARE_LANES_H

#include "prepare.h"

/* g as a loop of one turn: a region, which lanes can be put around. */
Graph *one_turn(const Graph *);
/* g over lanes, one axis more in front of results and of operands; shared[k]: operand k is one for all. */
Graph *over_lanes(const Graph *, int64_t lanes, const bool *shared);

#endif
