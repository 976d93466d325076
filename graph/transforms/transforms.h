/*
 * transforms.h - what the files of this folder share: a region being put together, and a few loops over
 * bits.
 */
#ifndef HEDDLE_TRANSFORMS_H
#define HEDDLE_TRANSFORMS_H

#include "graph_map.h"

/* A region with its operands and bodies, before it is emitted. Marks of operands grow with them
 * (draft_operand). */
typedef struct Draft {
    Region r;
    int nin; Ref *in;
    int nsub; Graph **sub;
} Draft;

/* r without operands and marks, room for nin operands; bodies not yet set. */
Draft draft_like(const Region *r, int nin, int nsub);
/* The region as it stands, on operands x. Nothing is shared with the instruction but the bodies. */
Draft draft_of(const Region *r, int nin, const Ref *x, int nsub, Graph *const *sub);
void draft_operand(Draft *, Ref, const uint8_t *marks);
void draft_emit(const Draft *, Ref *out);
int draft_results(const Draft *);
/* With only the results in res (closed over the carry by the call). */
Draft draft_restrict(const Draft *, bool *res);

/* Dtypes that devices do not have (without.c): which they are, what a type becomes, and what an instruction
 * becomes that has operands or results of them, in the current graph. Regions are not asked about. */
typedef struct Lacking {
    bool (*is)(Dtype);
    Type (*as)(const Type *);
    void (*ins)(const Graph *g, const Ins *, const Ref *x, Ref *out);
} Lacking;
Graph *graph_without(const Graph *, const Lacking *);

static inline const uint8_t *marks_in(const Region *r, int k)
{
    return r->im ? r->im + (size_t)k * r->nlane : NULL;
}
static inline const uint8_t *marks_out(const Region *r, int k)
{
    return r->om ? r->om + (size_t)k * r->nlane : NULL;
}

static inline bool any_bit(const bool *b, int n)
{
    for (int k = 0; k < n; k++)
        if (b[k])
            return true;
    return false;
}

static inline bool all_bits(const bool *b, int n)
{
    for (int k = 0; k < n; k++)
        if (!b[k])
            return false;
    return true;
}

/* A new current graph under linearisation, with the inputs of g: P and, for those in wrt, T, which nothing
 * defines. jvp_into or jvp_ins go on from there. */
Graph *linear_begin(const Graph *g, const bool *wrt, Ref *P, Ref *T);
void jvp_ins(const Ins *, Ref *P, Ref *T);      /* one instruction of jvp_into */
bool linear_ins(const Graph *, const Ins *);    /* does it give what depends on a tangent? */

/* The lane axis that has a place; -1: none. */
int region_place(const Region *);
/* Is there a region with lanes that exchange something with other shards? */
bool lanes_exchange(const Graph *);
/* What each shard of a grid runs, with collectives over its axes: inputs and results are its shares of the
 * operands and results of i. in, out: how they are dealt out. NULL after an error. */
Graph *grid_program(const Ins *i, const Graph *, const Places *, Dealt *in, Dealt *out);

/* Moves what depends on captures alone out of a loop without lanes, where it becomes a capture. */
void hoist(Draft *);
/* Marks of the results from `first` on, which are no accumulators: stacked where they may differ by lane. */
void lane_marks(const Draft *, int first, uint8_t *om);
/* A joint region becomes one that computes and one that is linear. lin: which results have tangents. */
void split_region(const Draft *, const bool *lin, Ref *out);
/* The bodies again under linearisation, so that their own regions are split. */
void linear_bodies(Draft *, const bool *lin);

/* Values of a body that are stored, and the place of each among all that are (region_stored.c). */
typedef struct Stored { Ref *v; int n, room, *slot; } Stored;
typedef struct Slots { Type *type; int n, cap; } Slots;
/* What the body stores gets places. Branches of a cond share those of a type: only one of them stores. */
void stored_slots(Slots *, const Graph *, Stored *);
/* The body that gives what is stored as further results or, where at >= 0, takes it as inputs from there. */
Graph *stored_body(const Graph *, const Stored *, const Slots *, int at);
/* The region with bodies that take what is stored. A cut for each body; marks: of the operands stored[]. */
Draft stored_draft(const Draft *, const Stored *, const Slots *, const Ref *stored, const uint8_t *marks);
/* What a checkpoint saves of what `need` asks for, perhaps through others. In the graph that is returned
 * regions give what is saved inside them as results. */
Graph *stored_by_policy(const char *save, const Graph *, bool *need, Stored *);

/* Rules: the derivative of a call that has one; the transpose of what it leaves; its lanes. */
void rule_jvp(const Ins *, const Ref *x, const Ref *t, Ref *z, Ref *tz);
void rule_transpose(const Ins *, const Ref *ct, Cts *);
void rule_batch(const Ins *, const Ref *x, const uint8_t *s, const Axis *, Ref *out, uint8_t *so);
/* The rule of a call whose lane axis is gone; in and out: states of its operands and results over it.
 * masked: a mask is the first of its operands now. */
const Rule *rule_batched(
    const Rule *, const Lane *, bool masked, int nin, const uint8_t *in, int nout, const uint8_t *out);

/* Takes lane axis k out of a region by batching its bodies. mask: one bit a lane, in scope; 0: all are
 * active. elim: regions in the bodies lose it, too, and this one its other lanes. */
void drop_lane(const Draft *, int k, Ref mask, bool elim, Ref *out);

#endif
