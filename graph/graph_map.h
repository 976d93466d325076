/*
 * graph_map.h - a graph made anew, instruction by instruction: the one loop that copies graphs.
 *
 * A map is an array by value of the old graph: what each value became in the current one. Most passes are
 * one call of graph_map(). Those whose new graph has other inputs or results write down what its inputs
 * become, then call graph_map_ins(), then say what its results are.
 */
#ifndef HEDDLE_GRAPH_MAP_H
#define HEDDLE_GRAPH_MAP_H

#include "graph.h"

/* What an instruction becomes in the current graph. x: what its operands became; out: gets what its results
 * become. */
typedef void MapIns(const Ins *i, const Ref *x, Ref *out, void *env);
/* It stays as it is (again()). */
void graph_map_same(const Ins *, const Ref *x, Ref *out, void *none);

/* g with each instruction mapped, and inputs like its own; NULL after an error. */
Graph *graph_map(const Graph *g, MapIns *, void *env);

/* The three parts of it. A new current graph with inputs like those of g, which keep these of their flags;
 * it is under linearisation as g is, if V_LIN is among them. */
Graph *graph_map_begin(const Graph *g, Ref *map, uint8_t flags);
/* The instructions of g in order, each at its own line, up to the first error. map: its inputs are there. */
void graph_map_ins(const Graph *g, Ref *map, MapIns *, void *env);
/* The current graph ends with what the results of g became. */
Graph *graph_map_end(const Graph *g, const Ref *map);

/* An input of the current graph like input k of g, with these flags. */
Ref input_like(const Graph *g, int k, uint8_t flags);

/* Room for the operands of the widest instruction, and for its results. */
typedef struct Width { int nin, nout; } Width;
Width graph_width(const Graph *);

#endif
