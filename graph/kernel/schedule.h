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
void elem_open(void);                           /* forgets the names: after form_open */
int elem_depth(const Form *idx, int n);
bool elem_is_view(int op);                      /* index arithmetic: broadcast reshape transpose slice reverse barrier ... */
bool elem_is_pointwise(int op);                 /* an element of the result is a function of the same element of each operand */
bool elem_is_reduce(int op);                    /* reduce_*, dot */
bool elem_is_own(int op);                       /* a shape of its own: scatter, sort, cumulative, region, exchange */
double elem_cost(const Graph *, const Ins *);   /* of one element, in cheap instructions */
int elem_op_cost(int op);                       /* of ops that are not reductions */
const AtomSet *idx_deps(const Form *, int n);

/* What a walk over operands has still to look at, the next one on top. It is no recursion, which would be as deep as a chain is
 * long. fr, tag: the walk's own. */
typedef struct Todo { Ref v; const Form *idx; struct Frame *fr; int tag; } Todo;
typedef struct Todos { Todo *at; int n, cap; } Todos;
void todo_add(Todos *, Todo);
void todo_demands(Todos *, const Demand *, int n, Todo like);   /* the first of them on top */
bool todo_next(Todos *, Todo *);                /* false: none is left */
int elems_of(const Form *, int n, const Atom ***);     /* the A_ELEM atoms inside, outermost only */
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
/* lead NULL: the layout's own; env NULL: 0 */
Form layout_form(const Layout *, const Form *lead, const Form *idx, int n, Form env);

typedef struct Place { Buffer *buf; const Layout *layout; } Place;      /* buf NULL: not stored */

/* ==================== a kernel before it is written */

typedef enum SpecKind {
    SPEC_LOOPS,                                 /* map, reduce, row, contract: the evaluator at blocks of environments */
    SPEC_LANES,                                 /* a region, small state: unrolled in registers */
    SPEC_ROWS,                                  /* a scan, larger state: private rows, the body lowered by the same code */
    /* Own shapes, one instruction each. outer: the independent dimensions of the result, in order: all but the axis (sort,
     * cumulative), all that no index vector moves (scatter); vec: the last of them, if it is the innermost dimension and has
     * W elements. Operands may be stored or not: read them by the evaluator. Every live result is stored. */
    SPEC_SCATTER, SPEC_SORT, SPEC_CUMULATIVE
} SpecKind;

typedef struct Store {                          /* one thing that a kernel computes, and where it goes */
    Ref v; Form idx[MAXRANK]; int nidx;
    const Atom *space[MAXRANK]; int nspace;     /* loops inside: what idx has beyond the outer variables */
    Place to;
    int64_t chunk;                              /* > 0: a private row of sums over this many outer steps, stored at the end */
} Store;

typedef struct Block { const Atom *a; int n; } Block;

/* One digit of one key of a sort: bits shift .. shift + width - 1 of its word. */
typedef struct SortPass { int key, shift, width; } SortPass;
int sort_passes(const Graph *, const Ins *, const SortPass **out);      /* in order */
int sort_key_bits(Dtype);
/* A kernel of a sort in chunks: counts the digits of a pass, or moves by them. counts: a table a chunk of every row. */
typedef struct SortPart { int64_t chunks; int pass; bool count; Place counts; } SortPart;

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
    Store *store; int nstore;                   /* SPEC_CUMULATIVE: what is stored instead of its result, if so */
    const Ins *ins;                             /* SPEC_LANES, SPEC_ROWS, and own shapes */
    bool *live;                                 /* of its results */
    /* SPEC_SORT: 2 * nin places. [k]: where operand k goes and comes from (needed if the axis is longer than SORT_SHORT);
     * [nin + k]: stands in for result k where that is not live (else buf may be NULL). NULL: none. */
    Place *scratch;
    const SortPart *sort;                       /* which part of it this kernel is; NULL: all of it */
    /* A store overwrites what this kernel reads (at the same index): no block may run twice. A SPEC_SCATTER whose result has the
     * place of its first operand does not copy it, and runs index positions in parallel if they are unique. */
    bool in_place;
    const Target *target;
} Spec;

enum { SORT_SHORT = 128 };                      /* rows up to this length are sorted by comparing all, without scratch */

/* Several: one work-item computes one after the other. NULL after an error. */
Kernel *lower(const Spec *const *, int n);

/* ==================== between the files of the scheduler
 * Indices and lists of variables are interned while a program is scheduled: equal ones are the same pointer. */

typedef struct Idx { int n; const AtomSet *deps; Form f[]; } Idx;
typedef struct Vars { int n; double vol; const Atom *a[]; } Vars;       /* vol: product of the extents */
void sets_open(void);
const Idx *idx_of(const Form *, int n);
const Vars *vars_of(const Atom *const *, int n);
const Vars *vars_join(const Vars *, const Atom *const *, int n);        /* more behind */
const Vars *vars_upto(const Vars *, const AtomSet *);                   /* up to the innermost one that is in the set */
double vars_vol_upto(const Vars *, const Vars *, const AtomSet *);      /* volume of both in a row, up to the same */
double vars_vol_in(const Vars *, const AtomSet *);                      /* volume of those in the set */
bool set_meets(const AtomSet *, const Vars *);
bool set_covers(const AtomSet *, const Vars *);
static inline int64_t atom_extent(const Atom *a) { return a->hi + 1; }

typedef struct Seen { int n, cap; uint64_t (*key)[4]; } Seen;           /* a set of keys; zero it */
bool seen_add(Seen *, uint64_t, uint64_t, uint64_t, uint64_t);          /* true if it is new */
bool seen_has(const Seen *, uint64_t, uint64_t, uint64_t, uint64_t);
#define PTR(p)  ((uint64_t)(uintptr_t)(p))

/* Who evaluates a value: the root's outer space (of that root alone), the loops inside, the symbolic index. */
typedef struct Need { const Vars *space; Ref root; const Vars *loops; const Idx *idx; } Need;
typedef struct Needs { Need *k; int n, cap; } Needs;

/* A region takes one of these forms. Bodies must be expanded (prepare.c) before they are judged. */
typedef enum RegionForm { REGION_LANES, REGION_ROWS, REGION_STEPS, REGION_MATRIX } RegionForm;
enum { CHEAP = 4 };                             /* instructions that a step of rows repeats rather than store, or have a kernel for */
enum { STATE_MAX = 192, CODE_MAX = 1200, ROW_MAX = 8192, HELD_MAX = 64, TURNS = 50 };
RegionForm region_form(const Region *, int nin, int nsub, Graph *const *sub, const Target *);
double body_state(const Graph *, const Region *, bool acc_only);        /* elements of the carry and accumulators */
double body_code(const Graph *);                /* instructions of a body with everything unrolled */
double body_weight(const Graph *);              /* instructions an evaluation of every element of a body costs */
void body_dynamic(const Graph *, bool *dyn);    /* which inputs are read at computed indices */

/* A kernel's worth of work before merging: a value, or the results of one instruction. */
typedef enum RootKind { ROOT_VALUE, ROOT_SUMS, ROOT_INS, ROOT_STEPS } RootKind;
typedef struct Root {
    RootKind kind;
    Ref v;                                      /* what is stored (SUMS: partial sums of x) */
    /* SUMS; INS: of the shape of the result of ins, a function of it, stored in its stead as v; 0: v is the result */
    Ref x; int64_t chunk;
    const Vars *space, *inner; const Idx *idx;  /* outer variables, loops inside, index of v */
    const Ins *ins; SpecKind spec; bool *live;  /* INS, STEPS */
    Need *read; int nread; Seen reads; int code;        /* merge.c: stored values that it loads; cost of its instructions */
} Root;

typedef struct Sched {
    const Graph *g;
    const Target *target;
    Plan *plan;
    const char *prefix;                         /* of kernel names */
    Place *stored;                              /* by value */
    Needs *need; Seen needed;                   /* by value */
    bool *out, *force, *natural; int *depth;    /* by value; natural: no layout of its own */
    Root **root; int nroot, root_cap;           /* in reverse order of values */
    Place **packed;                             /* by value, by dimension: turned copies made so far */
    bool *own, *none; Place *instead;           /* by value: of the kernel being made; nothing */
    const Spec **small; int nsmall, small_cap;  /* what the last step computes, if more may join it ... */
    int small_step;                             /* ... and how many steps there were then */
} Sched;

/* What v needs at idx: elem_rule or elem_reduce, whichever it is. Leaves (inputs, constants, own shapes) give 0. */
int demands_of(const Graph *, Ref v, const Form *idx, Demand **out, const Atom *const **ks, int *nk);
void need_add(Sched *, Ref v, const Vars *space, Ref root, const Vars *loops, const Form *idx, int n);
bool index_only(const Graph *, Ref v);          /* a function of the index alone: nothing to gain from storing it */
bool store_pays(const Sched *, const Ins *, Ref v);
Root *root_value(Sched *, Ref v);
Root *root_sums(Sched *, const Ins *);          /* NULL: not such a sum */
Root *root_ins(Sched *, const Ins *);           /* regions and own shapes */
bool outer_product(const Graph *, Ref v, int rows, bool *columns);      /* columns: does it need reductions over rows? */
Layout *layout_lanes_inside(const int64_t *dim, int n, int nlane);
Layout *layout_packed(const int64_t *dim, int n, int d);
void layout_step(Layout *, int64_t size);       /* STEP * size in front */

typedef struct Group { Root **root; int n, cap; int code; } Group;
Group *merge_roots(Sched *, int *n);
/* Copies that the kernel wants of its operands become kernels before it. */
Spec *shape_spec(Sched *, const char *name, const Vars *space, const Store *, int nstore, bool *own);
Spec *shape_ins(Sched *, const char *name, const Root *);
Spec *shape_sort(Sched *, Spec *, Loc);                 /* the same of a sort; its kernels but the last one are steps */
void schedule_kernel(Sched *, const Spec *, Loc);       /* lowers it: a step */
Buffer *schedule_buffer(Sched *, SlotKind, Dtype, int64_t size, const char *name);

Graph *prepare(const Graph *, const Target *);  /* a program or the body of a loop of kernels; NULL after an error */
Graph *prepare_body(const Graph *, const Target *);     /* what lanes run: only expanded */
const Graph *prepare_taps(const Graph *);       /* sums of products that differ in where they read become one */
typedef struct Bounds Bounds;
/* Results, and operands of steps, are values of their own. */
Graph *prepare_seal(const Graph *, const Target *, const Bounds *);
void prepare_region(const Ins *, const Ref *x, Ref *out, const Target *);       /* takes its form */
void prepare_inner(const Ins *, const Ref *x, Ref *out, const Target *);        /* inside a body: expanded */
void prepare_one(Op, int nin, const Ref *x, const Attr *, Ref *out, const Target *);   /* as if the graph had it */
void prepare_into(const Graph *, const Ref *args, Ref *out, const Target *, bool split);

/* in_place.c: carries of loops of kernels that are changed where they lie. The writes that lead to result k, last one
 * first. */
enum { IN_PLACE_MAX = 16 };
int in_place_chain(const Graph *, const Bounds *, int k, const Ins **link);
Ins *in_place_write(const Graph *, const Ins *, const Ref *x);  /* as a scatter, in the current graph */

/* schedule.c: the one schedule of a graph that is a program (body false) or a body of a step. Inputs from the first_x-th
 * on and results from the first_y-th on are slices at STEP of arrays with `steps` of them (0: none are). A result
 * k < ncarry may be made in place of input first_carry + k; then its alias says so. */
struct Bounds { bool body; int first_x, first_y; int64_t steps; int first_carry, ncarry; };
Plan *schedule_graph(const Graph *, const Target *, const char *prefix, Bounds);
int plan_slot(Plan *, SlotKind, Dtype, int64_t size, const char *name);
const char *spec_note(const Spec *, bool packed);
Step *plan_step(Plan *, StepKind);
bool plan_layout(Plan *);                       /* arena offsets by liveness */

#endif
