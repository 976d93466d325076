/*
 * programs.h - random programs as closed graphs (w, x, y) -> z of vectors.
 */
#ifndef HEDDLE_FUZZ_PROGRAMS_H
#define HEDDLE_FUZZ_PROGRAMS_H

#include <math.h>

#include "fuzz.h"

enum { N = 3 }; /* the length of every vector */
extern Dtype real; /* of all numbers but counters */

typedef struct Args {
    Ref w, x, y;
} Args;
typedef struct Gen {
    Rng r;
    bool forward_only;
} Gen;

static inline Type vec(void) { return type_of(real, 1, (const int64_t[]){ N }); }
static inline Type mat(void) { return type_of(real, 2, (const int64_t[]){ N, N }); }
static inline Type scalar(void) { return type_scalar(real); }
static inline Ints axis(int k) { return (Ints){ 1, { k } }; }

Args begin3(void);
Graph *end1(Ref z);
Ref call(const Graph *f, Ref w, Ref x, Ref y);
Ref total(Ref v);
Ref outer(Ref v, Ref w);
Ref over_columns(Ref v);
void over_batch(const Graph *f, const Ref *in, const uint8_t *states, int64_t n, Ref *out);
Graph *random_program(Gen *g, int depth);

#endif
