/*
 * control.h - what the files of control flow share: user's functions as bodies of regions, over trees.
 *
 * A body is traced at the types of one step (traced_body); its graph takes what it captures first
 * (body_graph). All of them report an error and give NULL, HD_NIL or a code.
 */
#ifndef HEDDLE_CONTROL_H
#define HEDDLE_CONTROL_H

#include "api.h"

/* f at these arguments, a tuple; verb: "scanned", for the message of what is wrong inside. */
const Traced *traced_body(const char *verb, hd_fn *f, const Tree *args);
/* Everything that some body captures, once. */
CapSet all_captures(int n, const Traced *const *);
/* The graph of a body with all captures in front. want: types of the results, where constants take their
 * dtype. */
Graph *body_graph(const Traced *, const CapSet *, const Type *want);
/* Leaves as values: constants take the dtype of type[], which may be NULL. 0, or a code. */
int values(hd tree, const Type *type, Ref *out);
hd built(const Tree *, const Ref *leaves);      /* a tree of results */
const Tree *tree_or_nothing(hd);                /* NULL after an error */
/* A kind of loop: its function, what happens to a body, whether it returns tuple(carry, y). */
typedef struct Looping { const char *what, *verb; bool pair; } Looping;
/* The body of a loop at n arguments, of which args[at] is the carry. */
const Traced *loop_body(Looping, hd_fn *f, const Tree **args, int n, int at);
/* A scan of body t: (captures, carry, x) -> (carry, y), with .length, .reverse, .segments and .unroll of the
 * options. */
void scan_region(const Traced *t, const Type *want, int ncarry, const Ref *carry, int nx, const Ref *xs,
    const hd_scan_opts *, Ref *out);

#endif
