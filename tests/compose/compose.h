/*
 * compose.h - compositions of transforms: flat functions, one row a transform, and what each row must give.
 *
 * A flat function takes some floating arrays and gives a tuple of such; every row makes one of another, so
 * that rows nest in any order. What a row must give is computed from calls of the function inside, on the
 * host, in f64: derivatives by differences, lanes and steps one after the other. The function inside was
 * judged the same way before, down to one without transforms.
 */
#ifndef HEDDLE_TESTS_COMPOSE_H
#define HEDDLE_TESTS_COMPOSE_H

#include "heddle.h"

enum { PARTS = 32 };

typedef struct Value { hd_ints shape; double *v; } Value;
typedef struct Fun { hd_fn *f; int nin, nout; hd_ints in[PARTS], out[PARTS]; } Fun;

/* seed: what is free in the row - axes, lengths, options. make sets f and the shapes of arguments. */
typedef struct Row {
    const char *name;
    void (*make)(const Fun *inner, uint64_t seed, Fun *);
    /* false: a call failed */
    bool (*want)(const Fun *inner, uint64_t seed, const Value *x, Value *y);
    bool differences;                           /* want is a difference quotient */
    /* words of the error where forward, reverse mode is outside; NULL: none */
    const char *forward, *reverse;
    bool is_forward, is_reverse;                /* which of them the row is */
    bool rule_forward;                          /* its rule goes forward, whatever derivative is outside */
    const char *never;                          /* words of the error that it is itself */
} Row;

extern double difference_step;                  /* of the quotients */
/* Those of which every pair and triple is composed, and those that are only drawn. */
extern const Row rows_of_all[], rows_drawn[];
extern const int count_of_all, count_drawn;

void base_make(uint64_t seed, Fun *);           /* a random function of a vector and a scalar */
bool fun_shapes(Fun *);                         /* the results' shapes; false: an error while tracing */
bool fun_call(const Fun *, const Value *x, Value *y);   /* on the host, in f64 */

/* Numbers that live until the next composition. */
double *numbers(int64_t n);
void numbers_end(void);
int64_t elements(hd_ints);
Value value_new(hd_ints);
uint64_t mixed(uint64_t seed, uint64_t more);

#endif
