/*
 * compose_rows.h - what both files of rows are made of: wrappers of flat functions, and what they are in
 * numbers.
 */
#ifndef HEDDLE_TESTS_COMPOSE_ROWS_H
#define HEDDLE_TESTS_COMPOSE_ROWS_H

#include "compose.h"

enum { LANES_MOST = 3, TURNS = 4 };

/* What a wrapper knows. All bytes are set: they are its identity. */
typedef struct Env { hd_fn *f; uint64_t seed; int64_t nin, nout; } Env;

Env env_of(const Fun *, uint64_t seed);
hd inside(const Env *, const hd *x);
unsigned bit(uint64_t seed, int k);
void same_arguments(const Fun *inner, Fun *);
hd flat_tuple(hd y);                                  /* a tuple of arrays */
hd_fn *flattened(hd_fn *);
hd_ints all_of(int n);                          /* 0, 1 ... n - 1 */
Value copied(Value);
double mean_of(Value);

bool want_same(const Fun *, uint64_t seed, const Value *x, Value *y);
void make_checkpoint(const Fun *, uint64_t seed, Fun *);
void make_custom_jvp(const Fun *, uint64_t seed, Fun *);
void make_custom_vjp(const Fun *, uint64_t seed, Fun *);

/* Derivatives: along t, or the i-th element of argument k. */
bool along(const Fun *, const Value *x, const Value *t, Value *dy);
bool along_one(const Fun *, const Value *x, int k, int64_t i, Value *dy);
bool want_jvp(const Fun *, uint64_t seed, const Value *x, Value *y);
bool want_vjp(const Fun *, uint64_t seed, const Value *x, Value *y);
hd first_result(const hd *x, int n, const void *env);

/* Lanes. How many, what lane l is given, and what all give side by side. */
int lanes_of(uint64_t seed);
hd_ints with_axis(hd_ints, bool last, int lanes);
void make_lanes(const Fun *inner, uint64_t seed, Fun *, const char *axis);
void lane_arguments(const Fun *inner, uint64_t seed, int lane, const Value *x, Value *a);
void gather_lanes(const Fun *inner, uint64_t seed, Value lane[][PARTS], Value *y);
/* The function, then a collective over axis i; the same in numbers. */
hd meeting(const hd *x, int n, const void *env);
unsigned meeting_of(uint64_t seed);
void lanes_meet(const Fun *, unsigned how, int lanes, Value lane[][PARTS]);
bool want_named(const Fun *, uint64_t seed, const Value *x, Value *y);

/* Loops: what is carried on from c, and the same in numbers, in place. */
hd carried(hd c, hd y);
void carry_on(const Fun *, Value c, const Value *y);
int steps_of(uint64_t seed);
bool backwards(uint64_t seed);
void make_scan(const Fun *, uint64_t seed, Fun *);

/* Branches: the function; at half its arguments, twice what it gives. */
hd plain_branch(const hd *x, int n, const void *env);
hd other_branch(const hd *x, int n, const void *env);

#endif
