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

/* Register types: bool, i8..u64, f32, f64. f16 and bf16 are storage: computed in f32, rounded by K_ROUND
 * after every instruction. Elementwise instructions work on 1 or W lanes; an operand of 1 lane is widened
 * where the other has W. */
typedef enum KOp {
    K_NONE,
    K_CONST,                                    /* bits: as an element of dt (f32, f64: IEEE bits) */
    K_INDEX,                                    /* form -> integer */
    K_SPLAT,                                    /* 1 lane -> W */
    /* arithmetic: wraps for integers, one IEEE rounding for floats, never contracted */
    /* K_DIV of integers: divisor not 0, not MIN / -1; toward zero */
    K_ADD, K_SUB, K_MUL, K_DIV,
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
    /* integers wrap; float -> integer toward zero, in range only; bool: != 0; 0/1 */
    K_CONVERT,
    K_BITS,                                     /* the same bits as another type of the same width */
    /* f32 -> f32, rounded to what bits says: DT_F16 or DT_BF16 (k_emit: its dt) */
    K_ROUND,
    /* a function of the device's library, where no text of ours exists; bits: Op */
    K_CALL,
    /* lanes -> 1: pairs of lanes 8 apart, then 4, 2, 1. An operand of 1 lane is W equal lanes */
    K_HSUM, K_HPROD, K_HMAX, K_HMIN, K_HAND, K_HOR, K_HXOR, K_ANY,
    /* memory: form is the element's place; by its LANE coefficient: one element for all, a vector, strided,
     * or a gather */
    K_LOAD, K_STORE,
    K_LOADS, K_STORES,                          /* m strided vectors as one block; part[]: the values */
    /* structure */
    K_LOOP, K_IF, K_BRK,                        /* K_BRK: leave the loop unless arg 0 (1 lane) */
    /* A carried value; a value a loop (that of the phi when it is left) or if leaves; one of a block. bits:
     * the K_LOOP, K_IF or K_LOADS it is of; group: its number there. */
    K_PHI, K_RESULT, K_PART,
    K_BARRIER,                                  /* of the work-group: local and global memory */
    K_OP_COUNT
} KOp;

typedef struct KIns {
    uint8_t op, dt, w;                          /* w: 1 or W lanes; 0: no value */
    int narg; Val *arg;
    int home;                                   /* scope */
    int64_t bits;
    const char *name;                           /* K_CALL: the function's */
    Form form;                                  /* K_INDEX K_LOAD K_STORE K_LOADS K_STORES */
    Buffer *buf;
    /* K_LOADS K_STORES: lanes are stride apart, group constants side by side */
    int64_t stride; int group; Val *part;
    /* K_LOOP: arg are the initial values. n < 0: until K_BRK. K_IF: arg[0] the condition, next the values if
     * it holds, other else; out the K_RESULTs of either. */
    const Atom *var; int64_t n; int scope, ncarry; Val *phi, *next, *other, *out;
    Loc loc;
} KIns;

typedef struct KScope { int parent, depth; bool wall; Val *body; int nbody, cap; } KScope;

/* printed as the global id of that dimension */
typedef struct Grid { const Atom *var; int64_t n; } Grid;

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
bool k_commutes(KOp);
/* Folds where exact (integers, selects, identities), finds, hoists to the innermost scope of its operands,
 * or appends there. w is the widest of the operands'. */
Val k_emit(Kernel *, KOp, Dtype, int narg, const Val *);
Val k1(Kernel *, KOp, Dtype, Val), k2(Kernel *, KOp, Dtype, Val, Val),
    k3(Kernel *, KOp, Dtype, Val, Val, Val);
Val k_call(Kernel *, int op, const char *name, Dtype, int narg, const Val *);
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
void k_barrier(Kernel *);
void k_finish(Kernel *);                        /* the passes: block loads, depth-first order, parameters */
void k_dump(const Kernel *, Text *);
void k_dump_plain(const Kernel *, Text *);     /* the same text for the same code */
/* operands in scope, types and widths right: 0, or an error */
int k_check(const Kernel *);

#endif
