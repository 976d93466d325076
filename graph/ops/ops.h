/*
 * ops.h - what the rules of structural ops share: lists of axes, checks with messages, views of dense
 * arrays, wide arithmetic.
 *
 * A rule file holds one stanza an op: infer, jvp, transpose, batch, eval, then `const Rules rules_<op>`.
 * Evaluation is exact per instruction: f64 computes in long double, other floats in double, integers modulo
 * 2^64; a result is rounded, or wraps, once, when it is stored.
 */
#ifndef HEDDLE_OPS_H
#define HEDDLE_OPS_H

#include "graph.h"

/* ==================== lists of axes */

/* every entry + 1: axes once a lane axis is in front */
Ints ints_up(Ints);
/* one more in front; a full list stays as it is: ops_room */
Ints ints_lead(int64_t first, Ints);
Ints ints_push(Ints, int64_t last);
/* the axes below rank that are not in the list, in order */
Ints ints_others(int rank, Ints axes);
Ints ints_pick(const Type *, Ints axes);                /* their sizes */
const char *ints_text(Ints);                            /* "(0, 2)"; in the arena */

/* ==================== checks for infer: 0, or an error code after error_set() */

/* By the op's schema, no list longer than MAXRANK. attrs: its struct, as struct gather_attrs; NULL: it has
 * none. */
int ops_attrs(Op, const int64_t *attr, int nattr, void *attrs);
int ops_axis(Op, const Type *, int64_t axis);                           /* in range */
int ops_axes(Op, const char *what, const Type *, Ints axes);            /* in range and distinct */
int ops_rising(Op, const char *what, Ints);                             /* strictly increasing */
int ops_index_type(Op, const Type *);                                   /* integers */
/* holds the dtype all positions along the axis? */
int ops_counts(Op, const Type *, int64_t axis, Dtype);
/* sizes are not negative and can be counted */
int ops_result(Op, Type *out, Dtype, Ints shape);
/* for batch: is there room for one more axis? else an error */
bool ops_room(Op, int rank);

/* ==================== pieces of rules */

Ref ops_again(const Ins *, Ref x);                      /* the same op, one operand, one result */
void ops_jvp_zero(const Ins *, const Ref *x, const Ref *t, const Ref *z, Ref *tz);
/* one operand, linear */
void ops_jvp_again(const Ins *, const Ref *x, const Ref *t, const Ref *z, Ref *tz);
/* The same op on stacked operands: the lanes ride along. */
void ops_batch_again(const Ins *, const Ref *x, const uint8_t *s, const Axis *, Ref *out, uint8_t *so);
/* All operands with the lanes on axis 0. */
void ops_stack(const Ins *, const Ref *x, const uint8_t *s, const Axis *, Ref *y);
void ops_stacked_out(const Ins *, uint8_t *so);
Ref ops_take_along(Ref x, Ref index, int axis);         /* x[.., index[.., k, ..], ..], clamped; gather.c */

/* ==================== dense arrays on the host */

/* malloc, with room for one more; NULL after error_set() */
void *ops_temp(size_t n, size_t size);
void ops_strides(const Type *, int64_t *stride);        /* in elements */
/* to[i . ts] = from[i . fs] for every index i of the box; strides in elements of `size` bytes, of either
 * sign. */
void ops_copy(int rank, const int64_t *dim, size_t size, void *to, const int64_t *ts, const void *from,
    const int64_t *fs);
/* Offsets of all indices over these axes, row-major; *n of them, to be freed. */
int64_t *ops_offsets(const Type *, Ints axes, int64_t *n);
/* an integer as int64_t; a large u64 becomes INT64_MAX */
int64_t ops_index(Dtype, const void *p);

/* A counter over the indices of a box; `at` is the dot product with each of up to three lists of strides. */
typedef struct Walk { int rank; int64_t dim[MAXRANK], idx[MAXRANK], step[3][MAXRANK], at[3]; } Walk;
void walk_start(Walk *, int rank, const int64_t *dim);  /* strides zero: the caller fills them in */
bool walk_next(Walk *);                                 /* false after the last one */

/* ==================== wide values: one of the three, by class */

typedef enum Class { CL_INT, CL_FLOAT, CL_COMPLEX } Class;             /* bool counts as an integer */
Class ops_class(Dtype);
bool ops_wide(Dtype);                                   /* computes in long double */
typedef struct Wide { long double f, im; int64_t i; } Wide;
Wide ops_load(Dtype, const void *p);
void ops_store(Dtype, void *p, Wide);                   /* one rounding */

/* Numbers equal scatter's combine for the first five. */
typedef enum Join { J_SET, J_ADD, J_MUL, J_MIN, J_MAX, J_AND, J_OR, J_XOR } Join;
/* as an element of the dtype, but not rounded to it */
Wide ops_join(Join, Dtype, Wide old, Wide next);
Wide ops_identity(Join, Dtype);                         /* what changes nothing; not for J_SET */
bool ops_is_nan(Dtype, Wide);

#endif
