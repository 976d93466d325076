/*
 * kernel.h - the second IR: index forms, structured kernels, and the plan that launches them.
 *
 * Index forms say *where*: affine sums of atoms with ranges; reshapes, tiles, panels and record layouts are all this.
 * A kernel says *what*: structured SSA with explicit vectors of W lanes; printers (OpenCL C text, SPIR-V words) read it.
 * A plan says *when*: steps over slots, all temporaries in one arena. It is data: printable, and all that a backend sees.
 */
#ifndef HEDDLE_KERNEL_H
#define HEDDLE_KERNEL_H

#include "base.h"

typedef struct Graph Graph;
typedef uint32_t Ref;
typedef uint32_t Val;                           /* a value of a kernel; 0 is none */

enum { W = 16 };                                /* lanes of a vector in the cpu shape */

/* ==================== index forms (form.c)
 * Forms and atoms are interned: equal ones are the same pointer. They live in the current arena; form_open() starts a new
 * table (one a compilation), form_close() ends it. */

typedef struct Atom Atom;
typedef struct Term { const Atom *a; int64_t k; } Term;
typedef struct FormRec { int64_t c; int n; Term t[]; } FormRec;         /* c + sum of k * a, sorted by atom id, k != 0 */
typedef const FormRec *Form;

typedef enum AtomKind {
    A_VAR,                                      /* a loop variable, symbolic or of a kernel; or LANE; or STEP */
    A_DIV, A_MOD,                               /* f / d, f % d, rounded down; d > 0 */
    A_CLAMP,                                    /* f brought into 0 .. d-1 */
    A_WITHIN,                                   /* f, which is in 0 .. d-1 wherever anybody looks at what is there; else any place */
    A_ELEM,                                     /* an integer element of a graph value: g, v, idx; clamped into lo .. hi */
    A_VAL                                       /* an integer value of the kernel */
} AtomKind;

typedef struct AtomSet { int n; const Atom *a[]; } AtomSet;             /* sorted by id; interned */

struct Atom {
    AtomKind kind;
    int id, depth;                              /* depth, of a reduction's variable: how many reductions it is inside */
    int64_t lo, hi;                             /* range, inclusive */
    const char *name;                           /* A_VAR */
    Form f; int64_t d;                          /* A_DIV A_MOD A_CLAMP A_WITHIN */
    const Graph *g; Ref v; const Form *idx; int nidx;       /* A_ELEM */
    Val val; bool wide;                         /* A_VAL: a vector of lanes? */
    const Atom *pair;                           /* A_MOD: the quotient of the same: d * pair + this == f. NULL: no one atom is */
    const AtomSet *deps;                        /* the loop variables inside (itself, for A_VAR) */
};

void form_open(void);
void form_close(void);
extern _Thread_local const Atom *LANE;          /* the lane of a vector: 0 .. W-1 */
extern _Thread_local const Atom *STEP;          /* the step of a loop of kernels: a kernel argument */
/* They are atoms 0 and 1 of every table, so that what reads finished kernels needs no table. */
static inline bool atom_is_lane(const Atom *a) { return a->id == 0; }
static inline bool atom_is_step(const Atom *a) { return a->id == 1; }

const Atom *atom_var(const char *name, int64_t n, int depth);           /* a new variable 0 .. n-1 */
const Atom *atom_of(AtomKind, Form f, int64_t d, int64_t lo, int64_t hi);               /* A_DIV A_MOD A_CLAMP A_WITHIN: interned */
const Atom *atom_elem(const Graph *, Ref v, const Form *idx, int nidx, int64_t lo, int64_t hi);
const Atom *atom_val(Val, bool wide, int64_t lo, int64_t hi);

Form form_c(int64_t);
Form form_a(const Atom *);
Form form_add(Form, Form);
Form form_addc(Form, int64_t);
Form form_mul(Form, int64_t);
Form form_div(Form, int64_t d);
Form form_mod(Form, int64_t d);
Form form_clamp(Form, int64_t n);               /* into 0 .. n-1; nothing where the range says so */
Form form_within(Form, int64_t n);              /* the same as A_WITHIN: of places that a test tells apart */
int64_t form_coef(Form, const Atom *);
void form_range(Form, int64_t *lo, int64_t *hi);
const AtomSet *form_deps(Form);
bool form_affine(Form);                         /* all atoms are variables */
bool form_vector(Form);                         /* differs by lane: LANE or a vector value is somewhere inside */
bool form_fits(Form);                           /* it and all that is computed on the way fit i32 */
static inline bool form_const(Form f) { return f->n == 0; }
bool set_has(const AtomSet *, const Atom *);
const AtomSet *set_join(const AtomSet *, const AtomSet *);
const AtomSet *set_one(const Atom *);
const char *form_text(Form);

/* Row-major position of an index, and back. n dimensions. */
Form form_linear(const Form *idx, const int64_t *dim, int n);
void form_unlinear(Form, const int64_t *dim, int n, Form *idx);
/* Where element idx of a reshaped array (new) lies in the original (old): no division where dimensions group. */
void form_reindex(const Form *idx, const int64_t *new_dim, int new_n, const int64_t *old_dim, int old_n, Form *out);

/* Replaces variables (and elements) bottom up. from/to: n pairs. elem (may be NULL: left, at the replaced index) gives the form
 * of an A_ELEM, which it gets as it was; clamp likewise of an A_CLAMP or A_WITHIN whose inner form is already replaced. */
typedef struct Subst {
    int n; const Atom *const *from; const Form *to;
    Form (*elem)(void *ctx, const Atom *), (*clamp)(void *ctx, AtomKind, Form inner, int64_t n);
    void *ctx;
} Subst;
Form form_subst(Form, const Subst *);

/* ==================== kernels (kir.c builds, pass.c finishes, dump.c prints) */

typedef enum Space { GLOBAL, PRIVATE, LOCAL } Space;
typedef struct Buffer {
    const char *name;
    uint8_t dt;                                 /* of an element in memory: any Dtype. f16 and bf16 load as f32, store rounded */
    uint8_t space;
    int64_t size;                               /* elements */
    int slot;                                   /* GLOBAL: which slot of the plan; -1 before that is known */
} Buffer;

/* Register types: bool, i8..u64, f32, f64. f16 and bf16 are storage: computed in f32, rounded by K_ROUND after every
 * instruction. Elementwise instructions work on 1 or W lanes; an operand of 1 lane is widened where the other has W. */
typedef enum KOp {
    K_NONE,
    K_CONST,                                    /* bits: as an element of dt (f32, f64: IEEE bits) */
    K_INDEX,                                    /* form -> integer */
    K_SPLAT,                                    /* 1 lane -> W */
    /* arithmetic: wraps for integers, one IEEE rounding for floats, never contracted */
    K_ADD, K_SUB, K_MUL, K_DIV,                 /* K_DIV of integers: divisor not 0, not MIN / -1; toward zero */
    K_REM,                                      /* integers only: same limits */
    K_FMA,                                      /* floats: exact product, one rounding */
    K_NEG, K_ABS,
    K_MAX, K_MIN,                               /* floats: nan if either is; -0 is below 0 */
    K_SQRT, K_FLOOR, K_CEIL, K_RINT, K_TRUNC,
    K_AND, K_OR, K_XOR, K_NOT,                  /* integers and bool */
    K_SHL, K_SHR, K_SAR,                        /* amounts 0 .. width-1 */
    K_MULHI, K_POPCOUNT, K_CLZ,
    K_EQ, K_NE, K_LT, K_LE, K_GT, K_GE,         /* -> bool; unordered: only K_NE is true */
    K_SELECT,                                   /* (bool, if true, if false) */
    K_CONVERT,                                  /* integers wrap; float -> integer toward zero, in range only; bool: != 0; 0/1 */
    K_BITS,                                     /* the same bits as another type of the same width */
    K_ROUND,                                    /* f32 -> f32, rounded to what bits says: DT_F16 or DT_BF16 (k_emit: its dt) */
    K_CALL,                                     /* a function of the device's library, where no text of ours exists; bits: Op */
    /* lanes -> 1: pairs of lanes 8 apart, then 4, 2, 1. An operand of 1 lane is W equal lanes */
    K_HSUM, K_HPROD, K_HMAX, K_HMIN, K_HAND, K_HOR, K_HXOR, K_ANY,
    /* memory: form is the element's place; by its LANE coefficient: one element for all, a vector, strided, or a gather */
    K_LOAD, K_STORE,
    K_LOADS, K_STORES,                          /* m strided vectors as one block; part[]: the values */
    /* structure */
    K_LOOP, K_IF, K_BRK,                        /* K_BRK: leave the loop unless arg 0 (1 lane) */
    /* A carried value; a value a loop (that of the phi when it is left) or if leaves; one of a block. bits: the K_LOOP, K_IF or
     * K_LOADS it is of; group: its number there. */
    K_PHI, K_RESULT, K_PART,
    K_BARRIER,                                  /* of the work-group: local and global memory */
    K_OP_COUNT
} KOp;

typedef struct KIns {
    uint8_t op, dt, w;                          /* w: 1 or W lanes; 0: no value */
    int narg; Val *arg;
    int home;                                   /* scope */
    int64_t bits;
    const char *name;                           /* K_CALL: the op's name */
    Form form;                                  /* K_INDEX K_LOAD K_STORE K_LOADS K_STORES */
    Buffer *buf;
    int64_t stride; int group; Val *part;       /* K_LOADS K_STORES: lanes are stride apart, group constants side by side */
    /* K_LOOP: arg are the initial values. n < 0: until K_BRK. K_IF: arg[0] the condition, next the values if it holds, other
     * else; out the K_RESULTs of either. */
    const Atom *var; int64_t n; int scope, ncarry; Val *phi, *next, *other, *out;
    Loc loc;
} KIns;

typedef struct KScope { int parent, depth; bool wall; Val *body; int nbody, cap; } KScope;

typedef struct Grid { const Atom *var; int64_t n; } Grid;               /* printed as the global id of that dimension */

typedef struct Kernel {
    const char *name;
    KIns *ins; int nins, cap;                   /* by Val */
    KScope *scope; int nscope, scope_cap;       /* 0: the kernel's own */
    int cur;                                    /* while building */
    Grid grid[3]; int ngrid;                    /* work-items; none: one */
    Buffer **param; int nparam, param_cap;      /* global buffers, in order of arguments */
    bool *written;                              /* by parameter */
    Buffer **priv; int npriv, priv_cap;
    bool stepped;                               /* one more argument: int STEP */
    bool wide_index;                            /* indices are i64; set by the builder too, at the first form that does not fit */
    double work;                                /* rough cycles, all work-items */
    int id;                                     /* the executor's number for it */
    struct KBuild *build;                       /* tables of the builder */
} Kernel;

Kernel *k_new(const char *name);
Val k_const(Kernel *, Dtype, double);           /* rounded to the dtype */
Val k_bits(Kernel *, Dtype, int64_t bits);
bool k_is_const(const Kernel *, Val);
/* Folds where exact (integers, selects, identities), finds, hoists to the innermost scope of its operands, or appends there.
 * w is the widest of the operands'. */
Val k_emit(Kernel *, KOp, Dtype, int narg, const Val *);
Val k1(Kernel *, KOp, Dtype, Val), k2(Kernel *, KOp, Dtype, Val, Val), k3(Kernel *, KOp, Dtype, Val, Val, Val);
Val k_call(Kernel *, int op, Dtype, int narg, const Val *);
Val k_splat(Kernel *, Val);
Val k_index(Kernel *, Form);                    /* i32 (i64 in a kernel with wide indices) */
Form k_value(Kernel *, Val, int64_t lo, int64_t hi);    /* an integer value as a form */
Val k_load(Kernel *, Buffer *, Form);
void k_store(Kernel *, Buffer *, Form, Val);
void k_writes(Kernel *, Buffer *);              /* said before the first load: loads of it stay where they are */
Buffer *k_private(Kernel *, Dtype, int64_t size);
bool k_visible(const Kernel *, Val);            /* is its scope open here? */
void k_where(Kernel *, const Atom *, int scope);        /* a grid variable's scope */
/* A loop of n steps (n < 0: until k_brk): returns its variable; phi gets one value for each of inits. */
const Atom *k_loop(Kernel *, const char *name, int64_t n, int ninit, const Val *init, Val *phi);
void k_loop_end(Kernel *, const Val *next, Val *out);
void k_brk(Kernel *, Val cond);
void k_if(Kernel *, Val cond);
void k_if_end(Kernel *, int n, const Val *vals, const Val *others, Val *out);
/* How a form meets the lanes: 0 all one element, n: n apart; false: each lane for itself. */
bool k_mode(const Kernel *, Form, int64_t *stride);
bool k_changes(const Kernel *, const Buffer *);
void k_barrier(Kernel *);
void k_finish(Kernel *);                        /* the passes: block loads, depth-first order, parameters */
void k_dump(const Kernel *, Text *);
void k_dump_plain(const Kernel *, Text *);     /* the same text for the same code */
int k_check(const Kernel *);                    /* operands in scope, types and widths right: 0, or an error */

/* Mathematics, built in the IR once (math.c): an elementwise op of the graph on values of one dtype. `to` is the result's
 * dtype (differs for comparisons and conversions). dt is the graph's dtype, f16 and bf16 included. 0 after an error. */
Val math_op(Kernel *, int op, Dtype dt, Dtype to, const int64_t *attr, int narg, const Val *);
Dtype math_register(Dtype);                     /* f16, bf16 -> f32; else itself */
bool math_calls(int op);                        /* does this op on f64 call the device's library? */

/* ==================== plans (plan.c) */

typedef enum SlotKind { SLOT_ARG, SLOT_RESULT, SLOT_TEMP, SLOT_CONST } SlotKind;
typedef struct Slot {
    uint8_t kind, dt;
    int index;                                  /* ARG, RESULT: which */
    int64_t size;                               /* elements */
    size_t bytes, offset;                       /* TEMP: place in the arena, page-aligned, with 64 elements of slack around */
    const void *data;                           /* CONST */
    const char *name;
} Slot;

typedef enum StepKind {
    S_LAUNCH,                                   /* kernel; arguments are its parameters' slots */
    S_LOOP,                                     /* trip times body[0], with STEP 0 .. trip-1 (or down, if reverse) */
    S_WHILE,                                    /* while body[0] gives true: body[1]. The host reads the flag */
    S_BRANCH,                                   /* body[index], clamped. The host reads the index from slot in[0] */
    S_COPY,                                     /* slot in[0] -> slot out[0] */
    S_EXCHANGE,                                 /* with other shards: in[0] -> out[0]; in[1], of a permutation: the senders, i32 */
    S_HOST                                      /* host, on copies of the slots in, into slots out */
} StepKind;

/* What shards give one another: each all it has; each a row of what it has to each; one to one. */
typedef enum Swap { SWAP_GATHER, SWAP_DEAL, SWAP_PERMUTE } Swap;

/* A function of the user's on the host: from dense arrays to dense arrays. 0, or a code. */
typedef struct HostStep HostStep;
struct HostStep { int (*run)(const HostStep *, const void *const *in, void *const *out); const void *what; };

typedef struct Plan Plan;
typedef struct Step {
    StepKind kind;
    Kernel *kernel;
    Plan **body; int nbody;
    int64_t trip; bool reverse;
    /* Loops, whiles and branches bind the slots of their bodies' arguments and results to slots of this plan.
     * Arguments are: captures, carry, xs; results: carry, ys. A carry starts in `in`, ends in `out`; between, the executor
     * swaps two buffers (pong: slot pairs of this plan, 2 a carry, and a WHILE has one more for its flag). xs and ys
     * are bound whole: the kernels add STEP. A carry that is changed in place is a capture, which a kernel of the body writes.
     * A BRANCH's in[0] is the index, the bodies' arguments follow. */
    int ncap, ncarry;
    int *in, nin, *out, nout, *pong;
    Swap swap; const char *name;                /* of an exchange; the name is the same in all shards */
    HostStep host;                              /* HOST */
    const char *note;                           /* what the scheduler thought, for dumps */
    Loc loc;
} Step;

struct Plan {
    Step *step; int nstep, step_cap;
    Slot *slot; int nslot, slot_cap;            /* of this plan and only it: a body has its own */
    int narg, nresult;
    int *alias;                                 /* result k is: -1 its own; j argument j itself; -2-j result j again */
    size_t bytes;                               /* of the arena: bodies' temporaries included (offsets are global) */
    int nkernel;                                /* launches in the text, bodies included */
    double work, launches;                      /* of a call, loops counted: rough cycles, kernels */
};

/* What a device can do, as far as schedules depend on it. */
typedef struct Target {
    const char *device;                         /* its name, for messages */
    bool gpu;                                   /* shape: else cpu */
    bool f64, i64, f16;
    bool no_library;                            /* no functions of f64 that K_CALL calls */
    int64_t max_alloc;                          /* bytes of one allocation */
} Target;

Plan *plan_schedule(const Graph *, const Target *);     /* NULL after an error (a dtype the device lacks ...) */
void plan_print(const Plan *, Text *);
void plan_kernels(const Plan *, Kernel ***list, int *n);        /* all of them, bodies included, in order */
void plan_code(const Plan *, Kernel ***list, int *n);           /* those that differ; numbers all of them by it (Kernel.id) */

#endif
