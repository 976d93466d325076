/*
 * formulas.h - what the files of ops share: values with numpy's broadcasting, reduced axes put back, checks
 * that name the way out.
 *
 * Ops that are formulas are written on values (Ref) and may call one another; hd_x() around them takes the
 * source line, turns symbols into values, and checks. A value of 0 is a failure that has been reported;
 * every function here passes it on.
 */
#ifndef HEDDLE_FORMULAS_H
#define HEDDLE_FORMULAS_H

#include "api.h"

#define PI 3.14159265358979323846
/* An option that is a number: 0 is none given. */
static inline double or_default(double v, double otherwise) { return v == 0 ? otherwise : v; }

/* ---- formulas (ops_element.c) */
Ref bin(Op, Ref x, Ref y);                      /* an elementwise row of two operands; broadcasts */
Ref choose(Ref p, Ref x, Ref y);                /* p ? x : y; broadcasts */
Ref square(Ref);
Ref is_nan(Ref);                                /* all false where the dtype has none */
Ref stop_gradient(Ref);
Ref logaddexp(Ref x, Ref y);                    /* of one float dtype; broadcasts */
Ref softplus(Ref);
Ref to_float(Ref);                              /* integers and bool become f32 */

/* ---- checks (ops_element.c). what: the op's name. They report and give 0 or false. */
Ref float_ref(const char *what, hd x);          /* an array of floats; a bare constant is f32 */
Ref rank_ref(const char *what, hd x, int least);        /* of at least this rank */
Ref axis_ref(const char *what, hd x, int axis, int *a); /* x, and a checked axis of it; 0 after an error */
/* of: of floats, none of them an empty line, with q in front in the shape */
hd quantile_along(const char *what, hd x, hd q, int axis, Ref (*of)(Ref x, Ref q, int axis));
/* numbers: no random keys */
bool real_dtype(const char *what, Dtype);
bool plain_dtype(const char *what, Dtype);      /* numbers, or dtypes that are for storage */
Ref norm_square(Ref); /* |x|^2, which is real */
Ref conjugate(Ref); /* of a real x: x */
bool int_operand(const char *what, const char *name, Ref);      /* an array of integers */
/* integers wide enough for arithmetic with n: at least i32 */
Ref as_index(Ref, int64_t n);
Ref from_end(Ref index, int64_t n);             /* negative indices count from the end of n */
Ref to_start(Ref index, int64_t n);             /* i32 if n fits, else i64; negative counts from the end */

/* ---- axes (ops_reduce.c) */
Ints ints1(int64_t);
Ints ints_run(int64_t from, int64_t to);        /* from, from + 1 .. to - 1 */
Ints ints_without(Ints, const Ints *axes);      /* the entries whose positions are not among axes */
Ints shape_of(Ref);
int64_t size_along(Ref, Ints axes);             /* elements a reduction over axes takes in */
Ref kept(Ref reduced, Ints axes, Ref of);       /* reduced axes put back with size 1 */
Ref spread(Ref reduced, Ints axes, Ref of);     /* ... and broadcast to the shape of what was reduced */
Ref mean(Ref, Ints axes);                       /* floats, in their dtype; 16 bits are computed in f32 */
Ref logsumexp(Ref, Ints axes);

/* ---- shapes (ops_shape.c) */
/* sizes are not negative, elements can be counted. 0, or a code */
int countable(const char *what, Ints shape);
Ref scalar_to(Ref scalar, Ints shape);
Ref flat(Ref);
Ref take_range(Ref, int axis, int64_t from, int64_t to);        /* a slice along one axis */
Ref squeeze_axis(Ref, int axis);                /* an axis of size 1 is dropped */
Ref unsqueeze(Ref, int axis);                   /* a new axis of size 1 */
Ref pad_axis(Ref, int axis, int64_t lo, int64_t hi, Ref value);
Ref join(Ref a, Ref b, int axis);

/* ---- index (ops_index.c) */
/* Dimension numbers of gather and scatter, as the op table has them. */
typedef struct Dims { Ints window, collapsed, map, x_batch, indices_batch; } Dims;
Ref gather(Ref x, Ref indices, const Dims *, Ints sizes, int mode);
Ref scatter(Ref x, Ref indices, Ref updates, const Dims *, int mode, int combine, bool unique);
Ref fill_in(const char *what, hd fill, Ref x);  /* a scalar of x's dtype; 0 after an error */
/* reading outside an array: nan, the least, the largest, true */
Ref fill_value(Dtype);
Ref take(Ref x, Ref index, int axis, int mode); /* mode of ops.def; indices as they are */
enum { MODE_CLIP = 1, MODE_FILL = 2, MODE_IN_BOUNDS = 3 };
Ref one_hot(Ref index, int64_t n, Dtype);       /* a new last axis */

/* ---- order (ops_order.c) */
bool vector_and(const char *what, hd x, hd y, Ref *r);  /* of one dtype, the first a vector; else an error */
Ref sort1(Ref, int axis);                       /* ascending, nan last */
Ref sort_by(Ref keys, Ref x, int axis);         /* x in the order of keys; stable */
Ref searchsorted(Ref sorted, Ref x, bool right);        /* i32: how many of sorted are < x (right: <= x) */

#endif
