/*
 * workloads.h - the yardstick: programs that Heddle and JAX both run, on the same inputs, to the same
 * numbers.
 *
 * A workload is a function of arrays, arguments made by a formula, and what its results must add up to. All
 * of it is written against heddle.h as a user would write it; nothing here knows what is inside.
 */
#ifndef BENCH_WORKLOADS_H
#define BENCH_WORKLOADS_H

#include <heddle.h>

/* SLOW: what one exp, log, division or root counts for in flops */
enum { MAX_ARGS = 16, MAX_SIZES = 6, SLOW = 20 };
#define FIRST_LAYER 10 /* input numbers of a perceptron's weights: 10, 11, ... */
#define FIRST_BIAS  30

typedef struct Workload Workload;

/* Fills the arguments in; returns how many. */
typedef int args_fn(const int64_t *size, hd_array **args);
/* The work of one call; out: its result, for work that depends on data. */
typedef double flops_fn(const int64_t *size, const hd_array *out);
/* One call from the user's side. */
typedef int call_fn(hd_fn *, hd_array **out, hd_array *const *args, int n);

struct Workload {
    const char *name, *group;
    int64_t size[MAX_SIZES], small[MAX_SIZES];      /* as published, and for a test */
    hd_fn *(*function)(const int64_t *size);
    args_fn *args;
    flops_fn *flops;                                /* NULL: not worth counting */
    call_fn *call;                                  /* NULL: hd_call */
    const char *first_call_of;                      /* what is timed is the first call of that workload */
    const char *missing;                            /* an op that it needs and Heddle lacks */
    /* tol 0: 1e-5. target: least ratio to JAX on two cores */
    double tol, target;
    /* a rounding can move a branch: elements are not compared */
    bool sum_only;
};

extern const Workload guide_workloads[], kernel_workloads[], control_workloads[], model_workloads[];
extern const Workload numeric_workloads[], latency_workloads[], first_workloads[], first_net_workloads[];
int workload_count(void);
const Workload *workload_at(int i);                 /* in groups */
const Workload *workload_named(const char *name);   /* NULL: none */

/* ---- inputs.c: element i of input k is a function of i and k, exact in f32 */
uint32_t mix(uint32_t i, uint32_t k);
hd_array *input(int k, double r, double c, hd_ints dims);       /* c + r u, u in [-1, 1) */
hd_array *dense(int k, int64_t n, int64_t m);                   /* weights that keep variance */
hd_array *whole(int k, uint32_t below, hd_ints dims);           /* i32 in [0, below) */
hd_array *seed_key(uint64_t seed);
hd_array *layers(const int64_t *sizes, int n);                  /* tuple of tuple(w, b) */
#define A(k, ...)           input(k, 1, 0, HD_INTS(__VA_ARGS__))
#define AR(k, r, c, ...)    input(k, r, c, HD_INTS(__VA_ARGS__))
#define Z(k, below, ...)    whole(k, below, HD_INTS(__VA_ARGS__))

/* ---- checksum.c */
typedef struct Checksum { int64_t n; double sum, abs, elem[4]; } Checksum;
int checksum(const hd_array *, Checksum *);                     /* of all leaves in order; 0 or a code */
/* Worst difference of the sum and the elements, over what the tolerance allows: up to 1 passes. */
double checksum_error(const Workload *, const Checksum *got, const Checksum *want);
double bytes_of(const hd_array *);

/* ---- small parts of the programs below */
static inline hd plus(hd x, double c) { return hd_add(x, hd_c(c)); }
static inline hd times(double c, hd x) { return hd_mul(hd_c(c), x); }
hd perceptron(hd params, hd x, hd (*act)(hd));                  /* logits of layers(): act between them */
hd cross_entropy(hd logits, hd label);                          /* of one example; label is an integer */
hd mean_cross_entropy(hd logits, hd labels);                    /* of a batch */
hd normalise(hd x, hd gain, hd shift);                          /* layer norm over the last axis */
hd convolve3x3(hd x, hd w);                                     /* NHWC, HWIO, zeros around */

#endif
