/*
 * schedule.h - between the scheduler and the lowering: element rules, places, specifications of kernels.
 * Private to graph/kernel/. schedule*.c decides everything before lower*.c writes a line of kernel.
 */
#ifndef HEDDLE_SCHEDULE_H
#define HEDDLE_SCHEDULE_H

#include "graph.h"
#include "kernel.h"

/* ==================== the element rule (elem.c): which elements of which operands an element needs */

typedef struct Demand { Ref v; Form idx[MAXRANK]; int n; int64_t at; } Demand;       /* at: concat: where the part begins */

/* Operand demands of element idx of result k of an op that is not a reduction, region or own shape. Views give one; const,
 * data and iota none; concat the parts that the index range can meet. Returns how many; *out in the arena. */
int elem_rule(const Graph *, const Ins *, int k, const Form *idx, Demand **out);
/* The variables a reduction or dot runs over, and its operands' demands (1 or 2). Variables are named by (extents, position,
 * depth), so the same element demanded by two loops has the same name: that is how rows are found. */
int elem_reduce(const Graph *, const Ins *, const Form *idx, const Atom *const **ks, int *nk, Demand out[2]);
const Atom *const *elem_space(const char *kind, const int64_t *extent, int n, int depth);     /* the same ones whoever asks */
int elem_depth(const Form *idx, int n);
bool elem_is_view(int op);                      /* index arithmetic: broadcast reshape transpose slice reverse barrier ... */
bool elem_is_reduce(int op);                    /* reduce_*, dot */
bool elem_is_own(int op);                       /* a shape of its own: scatter, sort, cumulative, region */
double elem_cost(const Graph *, const Ins *);   /* of one element, in cheap instructions */
const AtomSet *idx_deps(const Form *, int n);
bool idx_equal(const Form *, const Form *, int n);      /* forms are interned: pointers */

/* ==================== where a value lies */

/* An element's place: base + sum of ((index[dim] / div) % mod) * stride (mod 0: no remainder), over lead then idx. */
typedef struct Digit { int dim; int64_t div, mod, stride; } Digit;
typedef struct Layout {
    int ndigit; Digit digit[2 * MAXRANK + 4];
    Form base;                                  /* NULL: 0. STEP * size for a slice of an array with the steps in front */
    int nlead; Form lead[MAXRANK + 1];          /* indices in front of those asked for: symbolic, read in the environment */
    int64_t env_stride;                         /* + this times the environment's number: private rows */
} Layout;
const Layout *layout_natural(const int64_t *dim, int n);
Form layout_form(const Layout *, const Form *lead, const Form *idx, int n, int env);

typedef struct Place { Buffer *buf; const Layout *layout; } Place;      /* buf NULL: not stored */

/* ==================== a kernel before it is written */

typedef enum SpecKind {
    SPEC_LOOPS,                                 /* map, reduce, row, contract: the evaluator at blocks of environments */
    SPEC_LANES,                                 /* a region, small state: unrolled in registers */
    SPEC_ROWS,                                  /* a scan, larger state: private rows, the body lowered by the same code */
    SPEC_SCATTER, SPEC_SORT, SPEC_CUMULATIVE    /* own shapes, one instruction each */
} SpecKind;

typedef struct Store {                          /* one thing that a kernel computes, and where it goes */
    Ref v; Form idx[MAXRANK]; int nidx;
    const Atom *space[MAXRANK]; int nspace;     /* loops inside: what idx has beyond the outer variables */
    Place to;
    int64_t chunk;                              /* > 0: a private row of sums over this many outer steps, stored at the end */
} Store;

typedef struct Block { const Atom *a; int n; } Block;

typedef struct Spec {
    SpecKind kind;
    const char *name;
    const Graph *g;
    const Place *stored;                        /* by value of g: where everything that is stored lies */
    Place *instead;                             /* by value; buf NULL: none. Packed copies that this kernel reads */
    bool *own;                                  /* by value: made by this kernel, so computed, not loaded */
    const Atom *outer[MAXRANK]; int nouter;
    const Atom *vec;                            /* the outer variable that is the vector; NULL: the innermost loop */
    Block block[MAXRANK]; int nblock;           /* copies of an outer variable: register tile */
    int inner_tile;                             /* vectors side by side in a store loop; 0: 1 */
    const Atom *flat;                           /* the outer variables are digits of this one ... */
    const Atom *flat_of[MAXRANK]; int nflat;    /* ... in this order */
    double work;                                /* rough cycles of a block */
    bool contract;
    int64_t chunk;                              /* outer steps of a work-item, where a row of sums asks for it; 0: free */
    Store *store; int nstore;
    const Ins *ins;                             /* SPEC_LANES, SPEC_ROWS, and own shapes */
    bool *live;                                 /* of its results */
    /* SPEC_SORT: 2 * nin places, natural layouts of the operands' types. [k]: merging of operand k (needed if the axis is
     * longer than SORT_SHORT); [nin + k]: stands in for result k where that is not live (else buf may be NULL). NULL: none. */
    Place *scratch;
    /* A store overwrites what this kernel reads (at the same index): no block may run twice. A SPEC_SCATTER whose result has the
     * place of its first operand does not copy it, and runs index positions in parallel if they are unique. */
    bool in_place;
    const Target *target;
} Spec;

enum { SORT_SHORT = 16 };                       /* rows up to this length are sorted by insertion, without scratch */

Kernel *lower(const Spec *);                    /* NULL after an error */

#endif
