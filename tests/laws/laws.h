/*
 * laws.h - what laws.c asks of the rows of the op table: a Law for each, and how to build its cases.
 *
 * A case is a closed graph around one op: some inputs, and the results of the op for one choice of shapes
 * and attributes. In table.c each row says how many cases it has and builds the k-th for a dtype;
 * laws.c evaluates them.
 */
#ifndef HEDDLE_TESTS_LAWS_H
#define HEDDLE_TESTS_LAWS_H

#include "graph.h"

/* What an input holds. Data is drawn from a generator whose seed is the input's position, kind and dtype. */
typedef enum Kind {
    /* special values (nan, infinities, zeros, limits of integers) and random bits */
    ANY,
    /* operands of elementwise ops: ANY, and pairs of special values */
    EDGE_1, EDGE_2A, EDGE_2B, EDGE_3,
    /* limit -1 or 1: zeros of its sign, some of the other, some limits */
    ZEROS,
    SMALL,                                      /* few bits: sums and products of many are exact */
    POW2,                                       /* products of many are exact */
    INDEX,                                      /* limit: -2 .. limit + 1 */
    INSIDE,                                     /* limit: 0 .. limit - 1 */
    PERM,                                       /* 0 .. size - 1 in some order */
} Kind;

typedef struct Need { Type t; Kind kind; int64_t limit; } Need;

/* Builders, in the current graph: a new input, a result. */
Ref in(Dtype, Kind, int64_t limit, Ints shape);
Ref in_again(Ref);                              /* another input like this one */
void out(Ref);
bool may(Dtype);                                /* does the device at hold have it? */
Ints dims_(int n, const int64_t *v);
#define DIMS(...) \
    dims_((int)(sizeof((const int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), \
        (const int64_t[]){ __VA_ARGS__ })
#define NO_DIMS    ((Ints){ 0 })

typedef enum Derivative {
    SLOPE,                                      /* difference quotients, and the adjoint identity */
    STOPPED,                                    /* zero by definition, whatever the quotients say */
    MISSING,                                    /* an error that names the op */
} Derivative;

typedef struct Law {
    void (*make)(Op, Dtype, int variant);       /* NULL: the row has no law, which is a failure */
    int variants;
    uint32_t dtypes;                            /* 1 << dtype */
    uint8_t derivative;
    uint8_t unknown;                            /* 1 << operand: by it the derivative is an error */
    /* 1 << variant: those that difference quotients can judge; 0: all */
    uint32_t quotients;
    uint32_t forward;                           /* 1 << variant: those where reverse mode is an error */
    uint32_t long_text;                         /* 1 << variant: Vulkan compiles it for minutes; see --all */
    /* bounds for f32 (16-bit floats follow) and f64; 0: the same bits */
    double ulp, ulp64;
    /* f32 on the host, where a case is several ops; 0: it rounds once */
    double ulp_host;
    double lo[3], hi[3];                        /* operands for difference quotients; 0, 0: -2 .. 2 */
    double step, tolerance;                     /* of the quotients; 0: 1e-5, 1e-6 */
    /* an ULP of what, where the result is a small difference; x: the first operands */
    double (*scale)(const double *x, double want);
} Law;

extern const Law law_table[OP_COUNT];

enum {
    FLOATS = 1 << DT_F16 | 1 << DT_BF16 | 1 << DT_F32 | 1 << DT_F64,
    SIGNED = 1 << DT_I8 | 1 << DT_I16 | 1 << DT_I32 | 1 << DT_I64,
    UNSIGNED = 1 << DT_U8 | 1 << DT_U16 | 1 << DT_U32 | 1 << DT_U64,
    NUMBERS = FLOATS | SIGNED | UNSIGNED,
    BITS = SIGNED | UNSIGNED | 1 << DT_BOOL,
    EVERY = NUMBERS | 1 << DT_BOOL,
    MOVED = EVERY | 1 << DT_KEY /* of rows that move elements */
};

enum { LONG = 1536 };                           /* elements of an elementwise case */

#endif
