/*
 * golden.h - the parts of the golden runner: cases are JSON, programs are functions of symbols.
 */
#ifndef HEDDLE_TESTS_GOLDEN_H
#define HEDDLE_TESTS_GOLDEN_H

#include <jansson.h>

#include "heddle.h"

/* A program: arrays in, an array or a tuple of arrays out. n: how many arrays. */
typedef hd GoldenFn(const json_t *attrs, const hd *x, int n);

typedef struct GoldenRow { const char *op; GoldenFn *f; } GoldenRow;

/* The program for an op, or NULL and what is missing. Each file of programs has one table. */
GoldenFn *golden_ops(const char *op, const json_t *attrs, const char **missing);
GoldenFn *golden_linalg(const char *op);                      /* NULL: none of these */
GoldenFn *golden_windows(const char *op);                     /* NULL: none of these */
GoldenFn *golden_random(const char *op, const json_t *attrs, const char **missing);
GoldenFn *golden_programs(const char *op, const json_t *attrs, const char **missing);

typedef struct GoldenTensor {
    enum hd_dtype dt;
    hd_ints shape;
    size_t n;
    void *data;
} GoldenTensor;

/* ---- stored answers that are wrong (golden_wrong.c) */
const char *golden_wrong(const json_t *j); /* why; NULL: they are right */
/* Puts difference quotients of f, the program itself, in their place. false: the case is of another form, or
 * an error. */
bool golden_right(const json_t *j, hd_fn *f, const GoldenTensor *in, GoldenTensor *want, int nout);

/* ---- transforms over flat functions (golden_transforms.c) */

typedef struct CaseEnv { GoldenFn *f; const json_t *attrs; uint64_t serial; } CaseEnv;

extern const char *pmap_devices;                /* that maps run over; NULL: they are vmaps */

hd golden_base(const hd *x, int n, const void *env);            /* the program itself, of a CaseEnv */
/* A function under a transform, the JSON of the list `apply`; NULL, and what is missing. */
hd_fn *golden_apply(hd_fn *f, const json_t *t, const char **missing);

/* What a family came to. */
enum { GOLDEN_REASONS = 64 };
typedef struct GoldenCount {
    char family[40];
    int passed, failed, skipped, nreason;
    struct {
        char why[120];
        int n;
        bool judged;
    } reason[GOLDEN_REASONS];
} GoldenCount;

void golden_skip(GoldenCount *, const char *reason);
void golden_judged(GoldenCount *, const char *reason); /* run, but not by the stored answer */
/* Prints families and reasons; returns how many cases are skipped without a good reason. */
int golden_table(const GoldenCount *, int n, const char *device);

GoldenFn *golden_row(const GoldenRow *, const char *op);       /* in a table that ends with { NULL, NULL } */

/* Attributes. Absent or null: the given default, or an empty list. */
int64_t attr_i(const json_t *attrs, const char *name, int64_t otherwise);
double attr_f(const json_t *attrs, const char *name, double otherwise);
bool attr_b(const json_t *attrs, const char *name, bool otherwise);
const char *attr_s(const json_t *attrs, const char *name, const char *otherwise);
hd_ints attr_l(const json_t *attrs, const char *name);         /* a number counts as a list of one */
bool attr_has(const json_t *attrs, const char *name);          /* there, and not null */
enum hd_dtype attr_dtype(const json_t *attrs, const char *name, enum hd_dtype otherwise);
enum hd_dtype golden_dtype(const char *name);

#endif
