/*
 * data.h - what inputs of laws hold, and the bytes of arrays.
 */
#ifndef HEDDLE_TESTS_DATA_H
#define HEDDLE_TESTS_DATA_H

#include "laws.h"

typedef struct Rng { uint64_t s; } Rng;         /* splitmix64 */

/* The format of a float: bits of its mantissa, the least and the largest exponent. */
typedef struct FloatForm { int mantissa, least, most; } FloatForm;
extern const FloatForm form[DT_COUNT];

typedef struct Bytes { Type t; char *p; } Bytes;

Bytes bytes_of(Type t);
char *element(Bytes b, int64_t k);
double value_at(Bytes b, int64_t k);

/* salt: which of several inputs of this kind; lane: which example; flushes: denormals are zeros. */
Bytes draw(const Need *need, int salt, int lane, bool flushes);
Bytes draw_smooth(Type t, Rng *r, double lo, double hi);

#endif
