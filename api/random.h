/*
 * random.h - what the files of random numbers share: keys as two words, bits, uniforms, the samplers of a
 * dtype.
 *
 * Everything is written on values (Ref). A value of 0 is a failure that has been reported; every function
 * here passes it on.
 */
#ifndef HEDDLE_RANDOM_H
#define HEDDLE_RANDOM_H

#include "formulas.h"

/* Two words of a key as scalars. typed: it was key[]. */
typedef struct Key { Ref word[2]; bool typed; } Key;

/* ---- keys and bits (random.c). int: 0, or a code */
/* and it is used: a second time is an error with HEDDLE_CHECK=keys */
int key_in(const char *what, hd key, Key *);
int split(Key, int n, Key *out);                /* a few keys */
bool blocks(Key, Ref high, Ref low, Ref *out);  /* the block of each counter (high, low): two words */
bool keys_of(Key, Ints shape, Ref *out);        /* a key for each element: two words */
Ref bits(Key, Dtype, Ints shape);               /* unsigned */

/* ---- arguments (random.c). 0, or a code */
int draw_in(const char *what, hd key, hd_ints list, Key *, Ints *shape);
int float_dtype(const char *what, enum hd_dtype);
/* Parameters at the shape of what is drawn; without a shape, the shape is the parameters'. */
int parameters(const char *what, int n, Ref *r, Ints *shape);
/* Key, shape and float parameters of one dtype, brought to the shape. */
int params_in(const char *what, hd key, hd_ints list, int n, const hd *x, Key *, Ints *shape, Ref *r);

/* r broadcast so that all its axes but *axis have this shape; *axis moves along (random_order.c). 0 after an
 * error. */
Ref over_batch(const char *what, const char *name, Ref r, Ints shape, int *axis);

/* ---- samplers of a dtype (random.c) */
/* Where the bits of each element are: the counter of its block, and in the older layout which word, and from
 * which bit on. */
enum { HIGH, LOW, SECOND, SHIFT, PLACE };
bool places(Ints shape, Dtype, Ref *at);
Ref unit_at(Key, const Ref *at, Dtype);         /* uniform over [0, 1): the element at this place */
Ref unit(Key, Dtype, Ints shape);               /* uniform over [0, 1) */
Ref uniform(Key, Ints shape, Ref low, Ref high);        /* over [low, high): of the shape and dtype */
Ref uniform_from(Key, Dtype, Ints shape, double low, double high);
Ref draw_normal(Key, Dtype, Ints shape);
Ref draw_gumbel(Key, Dtype, Ints shape);
Ref draw_exponential(Key, Dtype, Ints shape);
Ref draw_maxwell(Key, Dtype, Ints shape);
Ref draw_rademacher(Key, Dtype, Ints shape);
/* beyond: high is the dtype's largest number, and meant one more */
Ref randint(Key, Ints shape, Ref low, Ref high, bool beyond);

/* ---- samplers that reject (random_loop.c); parameters are of the shape and dtype */
Ref draw_gamma(Key, Ref a, bool logarithm);
Ref draw_poisson(Key, Ref lambda);              /* lambda is f32; i32 */
Ref draw_binomial(Key, Ref count, Ref p);       /* of the dtype of p */

#endif
