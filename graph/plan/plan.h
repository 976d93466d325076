/*
 * plan.h - a plan says *when*: steps over slots, all temporaries in one arena.
 *
 * It is data: printable, and all that a backend sees.
 */
#ifndef HEDDLE_PLAN_H
#define HEDDLE_PLAN_H

#include "kernel.h"

#define PLAN_PAGE ((size_t)4096)                /* bytes: temporaries begin at a multiple of it */

typedef enum SlotKind { SLOT_ARG, SLOT_RESULT, SLOT_TEMP, SLOT_CONST } SlotKind;
typedef struct Slot {
    uint8_t kind, dt;
    int index;                                  /* ARG, RESULT: which */
    int64_t size;                               /* elements */
    /* TEMP: offset in the arena, page-aligned, with 64 elements of slack around */
    size_t bytes, offset;
    const void *data;                           /* CONST */
    const char *name;
} Slot;

typedef enum StepKind {
    S_LAUNCH,                                   /* kernel; arguments are its parameters' slots */
    /* trip times body[0], with STEP 0 .. trip-1 (or down, if reverse) */
    S_LOOP,
    /* while body[0] gives true: body[1]. The host reads the flag */
    S_WHILE,
    /* body[index], clamped. The host reads the index from slot in[0] */
    S_BRANCH,
    S_COPY,                                     /* slot in[0] -> slot out[0] */
    /* with other shards: in[0] -> out[0]; in[1], of a permutation: the senders, i32. Where they reduce:
     * body[0] of each of `trip` chunks, [shards, length] -> [length], in pong: two for what comes, two for
     * what it gives */
    S_EXCHANGE,
    S_HOST                                      /* host, on copies of the slots in, into slots out */
} StepKind;

/* What shards give one another: each all it has; each a row of what it has to each; one to one; each a row
 * to each, which reduces what it gets, and all get all of that. */
typedef enum Swap { SWAP_GATHER, SWAP_DEAL, SWAP_PERMUTE, SWAP_REDUCE } Swap;

/* A kernel of the user's (hd_kernel): what a device of its language runs in place of a function on the host.
 * It lives as long as the process. */
typedef struct UserKernel {
    const char *name, *opencl;                  /* interned; opencl NULL: not in that language */
    const uint32_t *spirv; size_t nspirv;       /* words; NULL: likewise */
    int64_t global[3], local[3];                /* local[0] 0: as the driver likes */
} UserKernel;

/* A function of the user's on the host: from dense arrays to dense arrays. 0, or a code. The first of its
 * slots says for each lane whether it is called; user: NULL, or what a device may run instead, lane by
 * lane. */
typedef struct HostStep HostStep;
struct HostStep {
    int (*run)(const HostStep *, const void *const *in, void *const *out);
    const void *what;
    const UserKernel *user;
};

typedef struct Plan Plan;
typedef struct Step {
    StepKind kind;
    struct Spec **spec; int nspec;              /* LAUNCH: what the kernel does; several as one kernel ... */
    Kernel *kernel;                             /* ... and the kernel, once it is lowered */
    Plan **body; int nbody;
    int64_t trip; bool reverse;
    /* Loops, whiles and branches bind the slots of their bodies' arguments and results to slots of this
     * plan.
     * Arguments are: captures, carry, xs; results: carry, ys. A carry starts in `in`, ends in `out`;
     * between, the executor swaps two buffers (pong: slot pairs of this plan, 2 a carry, and a WHILE has one
     * more for its flag). xs and ys are bound whole: the kernels add STEP. A carry that is changed in place
     * is a capture, which a kernel of the body writes. A BRANCH's in[0] is the index, the bodies' arguments
     * follow. */
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
    /* result k is: -1 its own; j argument j itself; -2-j result j again */
    int *alias;
    /* of the arena: bodies' temporaries included (offsets are global) */
    size_t bytes;
    int nkernel;                                /* launches in the text, bodies included */
    bool kept;                                  /* it was read back (plan_unpack) */
    double work, launches;                      /* of a call, loops counted: rough cycles, kernels */
};

int step_pongs(const Step *);                   /* how many slots are in its pong */
int plan_slot(Plan *, SlotKind, Dtype, int64_t size, const char *name);
Step *plan_step(Plan *, StepKind);
bool plan_layout(Plan *);                       /* arena offsets by liveness */
void plan_count(Plan *);                        /* its kernels, work and launches: kernels are there */
void plan_print(const Plan *, Text *);
/* 0, or an error: something is read before it is there, or shares its memory ... */
int plan_check(const Plan *);
void plan_kernels(const Plan *, Kernel ***list, int *n);        /* all of them, bodies included, in order */
/* those that differ; numbers all of them by it (Kernel.id), and says what their code is (Kernel.code) */
void plan_code(const Plan *, Kernel ***list, int *n);

/* plan_keep.c: as bytes, free() them; NULL: not what calls functions of the user's. Codes of kernels are
 * known (plan_code). Read back, kernels have no instructions. NULL: damaged. */
void *plan_pack(const Plan *, size_t *n);
Plan *plan_unpack(const void *, size_t n);

#endif
