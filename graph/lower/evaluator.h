/*
 * evaluator.h - the lowering of kernel specifications: evaluator, reductions, kernels, regions, own shapes.
 * Private to lower*.c.
 *
 * Everything is evaluated *at a block of environments*: eval_at(v, index, envs) gives one value of the
 * kernel for each environment, where an environment says what each symbolic variable is in this copy (base +
 * lane, base + 1, a constant, a loop's variable). Elementwise ops map over the block, views ask for their
 * operand at another index, a reduction opens one loop for the whole block. A map is a block of 1, a
 * register tile of a matrix product one of 8 x 2.
 */
#ifndef HEDDLE_EVALUATOR_H
#define HEDDLE_EVALUATOR_H

#include "lower.h"
#include "mathematics.h"

/* ==================== frames */

/* A value with an element each in registers, a set for each environment; or in a private array. */
typedef struct Held {
    Type t; int64_t size; int ne;
    Val *val;                                   /* [element * ne + k]; NULL: in memory */
    /* in memory, or where a copy lies for indices known only when running */
    MemRef mem;
    int spill;                                  /* the scope where that copy was written, + 1 */
} Held;

typedef struct Frame Frame;
/* what a body's parameter is: held, or a value outside at lead + index */
typedef struct Param {
    Held *held;
    Frame *fr; Ref v; Form lead[MAXRANK + 1]; int nlead;
    Form zero[MAXRANK]; int nzero;              /* summed operands: nothing where one of these is not 0 */
} Param;

typedef struct Row { struct Row *next; Buffer *buf; Form f; int64_t pad; bool filled, written; } Row;

/* A graph being evaluated: the kernel's own, a body lowered over private rows (whole), or a body in
 * registers. */
struct Frame {
    int id; const Graph *g; Frame *up;
    bool whole, by_env;                         /* by_env: what is stored is private to an environment */
    const MemRef *stored; Insteads instead; Refs made;
    Param *param; int *param_of;                /* by value: number + 1; NULL: no parameters */
    /* lanes that its values are for, as Lower.mask: others may lack them */
    const Val *mask;
    /* (value, index) -> Row: what two phases need and is dear; all of them */
    Map rows; Row *row;
    const UserCount *users;                     /* NULL: nobody asks */
};

typedef struct Lower {
    const Spec *spec; Kernel *k;
    Frame *top, *frames;                        /* the whole frame in work; the innermost open frame */
    const Atom *vec;                            /* the vector variable; NULL: the innermost loop */
    Envs base;          /* of regions: the block of lanes, k = 0 .. base.n - 1 */
    const Val *mask;                            /* by k: lanes that are active; NULL: all */
    Map memo, forms, regions;
    int calls, nframe, nrolled, depth;
    bool strict, failed;                        /* strict: clamp although slack would do */
    const AtomSet *within;                      /* clamps that the index being made lost; NULL: none */
    bool alone;                                 /* one work-item */
    /* Of a group that does a block together: which item of it this is. Where its block begins, by axis */
    Form member; const Form *base_of;
    /* side by side with others: which work-item of this one it is; NULL: the grid says it */
    Form item;
} Lower;

Frame *frame_new(Lower *, const Graph *);
void frame_push(Lower *, Frame *);
void frame_pop(Lower *, Frame *);
MemRef frame_memref(const Frame *, Ref v);        /* buf NULL: computed */
/* a private array that has all elements like this one; NULL: none does yet */
const Row *frame_row(const Frame *, Ref v, const Form *idx);
Param *frame_param(const Frame *, Ref v);       /* NULL: none */
/* which element of q->v it is; in the arena */
Form *param_index(const Param *, const Form *idx, int n);

/* ==================== the evaluator (lower.c) */

/* What an instruction is asked for: elements of a value of its at idx, which in environment e is
 * real[e * rank ..]. i: NULL: an input. */
typedef struct Element { Frame *fr; const Ins *i; Ref v; const Form *idx, *real; Envs envs; } Element;

void eval_at(Lower *, Frame *, Ref v, const Form *idx, Envs, Val *out);
Val eval_one(Lower *, Frame *, Ref v, const Form *idx, const Env *);
void memo_set(Lower *, Frame *, Ref v, const Form *idx, const Env *, Val);
bool memo_known(Lower *, Frame *, Ref v, const Form *idx, Envs);
Form form_in(Lower *, Form, const Env *);
/* the base of a whole vector at a multiple of W; NULL: it is none */
Form aligned_base(Lower *, Form);
bool has_lanes(Lower *, const Form *idx, int n, Envs);
Val load_memref(Lower *, const MemRef *, const Form *idx, int n, const Env *);
void store_memref(Lower *, const MemRef *, const Form *idx, int n, const Env *, Val);
Val held_at(Lower *, Held *, const Form *idx, const Form *real, const Env *);
Val lower_fail(Lower *);                        /* notes the error */
/* What is built from here on is of this instruction's line, until loc_set() with the line that this
 * gives. */
static inline Loc loc_enter(const Ins *i) { return i && i->loc.file ? loc_set(i->loc) : loc_here(); }
bool scope_open(const Kernel *, int scope);
static inline int width(const Lower *L, Val v) { return L->k->ins[v].w; }
static inline Dtype dtype_of(const Lower *L, Val v) { return (Dtype)L->k->ins[v].dt; }
Val widen_val(Lower *, Val);                        /* W lanes */
Val index_const(Lower *, Val like, int64_t);
Form at_most(Lower *, Form, int64_t);           /* the lesser of a form and a number */
Val clamp_val(Lower *, Val, int64_t lo, int64_t hi);    /* an index value */
/* any integer as an index brought into lo .. hi */
Val index_of(Lower *, Val, Dtype, int64_t lo, int64_t hi);
Val select_val(Lower *, Val cond, Val x, Val y);
Val and_val(Lower *, Val x, Val y);             /* bool; 0 is none */
Val or_val(Lower *, Val x, Val y);
Val any_val(Lower *, const Val *, int n);       /* of all: 1 lane */
Val const_val(Lower *, Dtype, const void *element);
Val convert_val(Lower *, Val, Dtype from, Dtype to);    /* dtypes of the graph */
bool any_zero(const Type *);                    /* no elements */
void element_index(const Type *, int64_t c, Form *idx);       /* the index of element c */

/* ops whose element is more than a view or an elementwise function (lower_ops.c) */
bool op_special(int op);
void op_element(Lower *, const Element *, Val *out);

/* ==================== reductions and phases (lower_reduce.c, lower_stores.c) */

void lower_reduce(Lower *, Frame *, const SumLoop *, Envs, const Val *start, Val *out);
Val reduce_step(Lower *, int op, Dtype, Val, Val);  /* one step of a reduction op, on registers */
Val reduce_identity(Lower *, int op, Dtype);
/* phases, then stores */
void run_stage(Lower *, Frame *, const Stage *, const Store *, Envs);
typedef struct Puts { const StoreLoop *loop; const Store *const *st; } Puts;   /* stores over one space */
void store_loop(Lower *, Frame *, const Puts *, Envs);
/* no loops of their own, but over copies */
void put_stores(Lower *, Frame *, const Puts *, const Rolled *, Envs);

/* Stores that the items of a group share out (lower_team.c). */
void team_stores(Lower *, Frame *, const Puts *, Envs);
Form tile_slice(const Lower *);                 /* which slice of a tile's items this one is of */
/* Fills the tiles of a map (lower_tile.c); e: any of its environments. */
void tile_copies(Lower *, const Env *e);

/* ==================== panels (lower_panel.c) */

/* a copy of its own for the block of the vector that is bound */
void lower_panel(Lower *, const Panel *, Envs);

/* ==================== copies as a loop (lower_roll.c) */

/* put_stores() that way, if the specification says so. False: nothing was done. */
bool roll_stores(Lower *, Frame *, const Puts *, const Rolled *, Envs);
/* lower_reduce() that way, likewise. */
bool roll_reduce(Lower *, Frame *, const SumLoop *, Envs, Val *out);
/* Opens a loop over all environments: the one of the loop; or all of them, and none is open. For copies
 * without computations. */
Envs roll_all(Lower *, Envs);

/* a loop over the elements of a shape in vectors, the rest one by one; flat: the element's number */
typedef void SweepFn(Lower *, void *ctx, const Form *idx, Form flat);
void sweep_space(Lower *, const int64_t *dim, int n, SweepFn *, void *ctx);

/* ==================== regions (lower_region.c), private rows (lower_rows.c), own shapes (lower_own.c) */

void region_lanes(Lower *, Envs);
void region_rows(Lower *, Envs);
void region_value(Lower *, const Element *, Val *out);
/* A carried value as a vector beside its elements (lower_pack.c): what it is now, and the step's
 * elements. */
typedef struct Pack { int n; const Val *phi; Val *next, wide; } Pack;
Val pack_start(Lower *, const Val *x, int64_t n);
/* The vectors that the step makes; next then are their elements. false: there are none. */
bool pack_step(Lower *, const Pack *, int n, Val *next);
/* evaluates the regions inside a body, in front of a loop that would repeat them */
void regions_first(Lower *, Frame *);
/* at an index that is not constant */
bool touches_held(Frame *, Ref v, const Form *idx);
void lower_scatter(Lower *);                    /* lower_scatter.c */
void lower_sort(Lower *);                       /* lower_sort.c */
void lower_cumulative(Lower *);


/* Work-items over the independent things of an own shape; opens loops and, where items do not divide, a
 * branch. */
typedef struct Items { bool loop, guard; } Items;
Form grid_open(Lower *, int d, int64_t n);        /* dimension d of the grid, of n */
Form items_open(Lower *, Items *);
void items_close(Lower *, const Items *);

#endif
