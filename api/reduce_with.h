/*
 * reduce_with.h - reductions with a function of the user's: between ops_reduce_with.c and ops_window.c.
 */
#ifndef HEDDLE_REDUCE_WITH_H
#define HEDDLE_REDUCE_WITH_H

#include "formulas.h"

/* f at two trees of scalars of these types; it gives one again. NULL after an error. */
const Traced *combining(const char *what, hd_fn *f, const Tree *one);
/* The reduction that a function of two trees is for one of its leaves by itself; OP_COUNT: none of them. */
Op reduction_of(const Traced *, int leaf);
/* What changes nothing, of such a reduction. */
Ref reduction_identity(Op, Dtype);
/* init combined with a reduction's result, element by element; init as it is where it changes nothing. */
Ref with_init(Op, Ref init, Ref reduced);

/* r[k]: the leaves of a tree, (n, m) each. Combines the n, n > 0, in their order: (m) each. 0, or a code. */
int combine_rows(hd_fn *f, const Tree *one, Ref *r);

#endif
