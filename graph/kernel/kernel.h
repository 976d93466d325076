/*
 * kernel.h - the second IR: structured SSA with explicit vectors of W lanes.
 *
 * A kernel says *what* a work-item does; printers (OpenCL C text, SPIR-V words) read it.
 */
#ifndef HEDDLE_KERNEL_H
#define HEDDLE_KERNEL_H

#include "index.h"

/* ==================== kernels (kir.c builds, pass.c finishes, kdump.c prints) */

/* Elements, of any type, before and behind every global buffer that may be read; so many bytes. */
enum { SLACK = 64, SLACK_BYTES = 8 * SLACK };

typedef enum Space { GLOBAL, PRIVATE, LOCAL } Space;
typedef struct Buffer {
    const char *name;
    /* of an element in memory: any Dtype. f16 and bf16 load as f32, store rounded */
    uint8_t dt;
    uint8_t space;
    int64_t size;                               /* elements */
    int slot;                                   /* GLOBAL: which slot of the plan; -1 before that is known */
} Buffer;

/* Ops are rows of kernel.def, which says what each is. */
typedef enum KOp {
#define LANES(name, ...)    K_##name,
#define ACROSS(name, ...)   K_##name,
#define PLAIN(name, ...)    K_##name,
#include "kernel.def"
    K_OP_COUNT
} KOp;

typedef enum KClass {
    KC_LANES, KC_ACROSS, KC_OUTSIDE, KC_VALUE, KC_READ, KC_WRITE, KC_SCOPE, KC_EXIT
} KClass;
typedef enum KGives { KG_SAME, KG_BOOL, KG_OTHER } KGives;
typedef struct KRow {
    const char *name;
    uint8_t is, gives;                          /* KClass, KGives */
    int8_t arity;                               /* -1: any number */
    bool commutes;
    uint8_t joins;                              /* KC_ACROSS: the op that joins two lanes */
    const char *takes;                          /* letters of dtypes of operands: f, i, b */
} KRow;
extern const KRow kop[K_OP_COUNT];

typedef struct KIns {
    uint8_t op, dt, w;                          /* w: 1 or W lanes; 0: no value */
    int narg; Val *arg;
    int home;                                   /* scope */
    int64_t bits;
    Form form;                                  /* K_INDEX K_LOAD K_STORE K_LOADS K_STORES */
    Buffer *buf;
    /* K_LOADS K_STORES: lanes are stride apart, group constants side by side; K_APPLY: group results */
    int64_t stride; int group; Val *part;
    /* K_LOOP: arg are the initial values. n < 0: until K_BRK. K_IF: arg[0] the condition, next the values if
     * it holds, other else; out the K_RESULTs of either. */
    const Atom *var; int64_t n; int scope, ncarry; Val *phi, *next, *other, *out;
    Loc loc;
} KIns;

typedef struct KScope { int parent, depth; bool wall; Val *body; int nbody, cap; } KScope;

/* What a kernel computes more than once is text once: a scope of its own, in which nothing is known but its
 * operands, all of w lanes. what: which function, for whoever made it. seldom: printers keep it apart from
 * where it is called. */
typedef struct KFunction {
    const char *name;
    int what, number, scope, around;            /* around: the scope in which it was begun */
    uint8_t dt, w;                              /* dt: of its first operand */
    bool seldom, used;
    int narg, nresult; Val *arg, *result;
} KFunction;

/* printed as the global id of that dimension. group: work-items of a work-group along it; 0: as many as the
 * device likes, one where items meet. Where they do not, the last group of the first dimension may be a
 * part. */
typedef struct Grid { const Atom *var; int64_t n, group; } Grid;

typedef struct Kernel {
    const char *name;
    KIns *ins; int nins, cap;                   /* by Val */
    KScope *scope; int nscope, scope_cap;       /* 0: the kernel's own */
    KFunction **function; int nfunction, function_cap;  /* each behind those that it calls */
    int cur;                                    /* while building */
    Grid grid[3]; int ngrid;                    /* work-items; none: one */
    Buffer **param; int nparam, param_cap;      /* global buffers, in order of arguments */
    bool *written;                              /* by parameter */
    Buffer **priv; int npriv, priv_cap;
    bool stepped;                               /* one more argument: int STEP */
    bool ahead;                                 /* loads begin before what waits for others */
    /* indices are i64; set by the builder too, at the first form that does not fit */
    bool wide_index;
    double work;                                /* rough cycles, all work-items */
    int id;                                     /* the executor's number for it */
    uint64_t code[2];                           /* of its plain text: the same for the same code */
    struct KBuild *build;                       /* tables of the builder */
} Kernel;

Kernel *k_new(const char *name);
Val k_const(Kernel *, Dtype, double);           /* rounded to the dtype */
Val k_bits(Kernel *, Dtype, int64_t bits);
bool k_is_const(const Kernel *, Val);
/* The constant that v is, seen through a splat. */
bool k_const_of(const Kernel *, Val v, int64_t *bits);
/* as constants are kept: extended by sign, or with zeros; f32: with zeros */
int64_t k_wrap(Dtype, int64_t bits);
double k_float_of(Dtype, int64_t bits);
int64_t k_bits_of(Dtype, double);
static inline bool k_across(KOp op) { return kop[op].is == KC_ACROSS; }
static inline bool k_compares(KOp op) { return kop[op].is == KC_LANES && kop[op].gives == KG_BOOL; }
bool k_takes(KOp, Dtype);
/* What an elementwise instruction but K_SELECT gives for constants (three, 0 where it has fewer) of dtype
 * from. false: nothing, as a division by zero, or it is none. */
bool k_eval(KOp, Dtype dt, Dtype from, int64_t bits, const int64_t *c, int64_t *r);
/* Calls fn for each value that the instruction uses itself: arguments and values in its form; for loops and
 * ifs also next and other, which are used inside. */
void k_uses(const Kernel *, Val, void (*fn)(void *ctx, Val used), void *ctx);
/* Folds where exact (integers, selects, identities), finds, hoists to the innermost scope of its operands,
 * or appends there. w is the widest of the operands'. */
Val k_emit(Kernel *, KOp, Dtype, int narg, const Val *);
Val k1(Kernel *, KOp, Dtype, Val), k2(Kernel *, KOp, Dtype, Val, Val),
    k3(Kernel *, KOp, Dtype, Val, Val, Val);
/* The function that is known by that, of operands like these; NULL: there is none yet. */
KFunction *k_function_of(const Kernel *, int what, Dtype, int w);
/* Begins one: what is built up to its end is its scope, and its operands are f->arg. */
KFunction *k_function(Kernel *, int what, const char *name, int narg, const Val *like);
void k_function_end(Kernel *, KFunction *, int n, const Val *result);
int k_widest(const Kernel *, int n, const Val *);
/* its result; of several the call, and they are its parts (KIns.part) */
Val k_apply(Kernel *, const KFunction *, const Val *arg);
Val k_splat(Kernel *, Val);
Val k_index(Kernel *, Form);                    /* i32 (i64 in a kernel with wide indices) */
Form k_value(Kernel *, Val, int64_t lo, int64_t hi);    /* an integer value as a form */
Val k_load(Kernel *, Buffer *, Form);
void k_store(Kernel *, Buffer *, Form, Val);
/* said before the first load: loads of it stay where they are */
void k_writes(Kernel *, Buffer *);
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
/* ---- work-groups (kgroup.c). Items of one share local arrays, and wait for one another at barriers, to
 * which all or none of them come. */
const Atom *k_grid(Kernel *, const char *name, int64_t n, int64_t group);       /* one more dimension */
/* groups of up to so many items, along the first dimension as far as that goes; 0: none */
void k_groups(Kernel *, int64_t items);
Form k_item(const Kernel *, int dimension);     /* which of its group an item is ... */
Form k_group(const Kernel *, int dimension);    /* ... and which group that is */
Buffer *k_local(Kernel *, Dtype, int64_t size);
void k_barrier(Kernel *);
int64_t k_group_items(const Kernel *);          /* of a group, at least 1 */
bool k_meets(const Kernel *);                   /* do items share or wait for anything? */
void k_barriers(const Kernel *, bool *has);     /* by scope: is one inside? */
void k_finish(Kernel *);                        /* the passes: block loads, depth-first order, parameters */
void k_dump(const Kernel *, Text *);
void k_dump_plain(const Kernel *, Text *);     /* the same text for the same code */
/* operands in scope, types and widths right: 0, or an error */
int k_check(const Kernel *);

#endif
