/*
 * sim.h - a GPU in software: what its files share.
 *
 *     sim.c      the device: memory, programs, launches
 *     profile.c  the machine, from text
 *     code.c     what is known of a kernel before it runs: costs, registers, occupancy
 *     simt.c     subgroups in lockstep
 *     access.c   what they read and write: faults, sectors, banks
 *     cache.c    which sectors are where
 *     tell.c     from counts to time; the table
 */
#ifndef HEDDLE_SIM_H
#define HEDDLE_SIM_H

#include "replay.h"
#include "watch.h"

enum { LANES_MAX = 64 };

typedef struct Profile {
    char name[24];
#define REAL(name, value, meaning) double name;
#include "profile.def"
} Profile;

int profile_count(void); /* those that HEDDLE_SIM names */
const char *profile_name(int);
/* "h200", one of backends/sim/profiles; or a file. 0, or an error that names the line. */
int profile_read(Profile *, const char *name);

/* ==================== memory: bytes, and which of them were ever written */

typedef struct SimPiece {
    unsigned char *p, *known;
    size_t n;
    uint64_t address; /* where it lies on the machine, for caches */
} SimPiece;

/* ==================== caches: tags alone, by line, with a bit a sector; least recently used */

typedef struct SimCache SimCache;
SimCache *sim_cache_new(double bytes, double line, double sector);
void sim_cache_drop(SimCache *);
/* Is the sector of this address there? It is from now on. */
bool sim_cache_has(SimCache *, uint64_t address);

/* ==================== what is known of a kernel */

typedef enum SimClass {
    C_F32,
    C_F64,
    C_INTEGER,
    C_CONVERT,
    C_SPECIAL,
    C_REQUEST,
    C_CONTROL,
    C_COUNT
} SimClass;

/* What an instruction is to the machine: so many of a class, each for as many elements as it has lanes. */
typedef struct SimCost {
    uint8_t class;
    float times;
} SimCost;

typedef struct SimCode {
    const Kernel *k;
    SimCost *cost; /* by value */
    float *index; /* by value: integer instructions for its place */
    bool *far; /* by private array: indexed by what is known late: no registers */
    bool *barriers; /* by scope: one is inside */
    float *unroll; /* by scope: steps of its loop that are written out, at least 1 */
    int64_t group[3], items; /* work-items of a group */
    int subgroups; /* of a group */
    int registers, spilled; /* of a work-item */
    int64_t local; /* bytes of a group */
    int resident; /* groups of a core at once */
    float *flops; /* by value: operations on floats, of a lane */
    double bytes; /* of its parameters */
} SimCode;

SimCode *sim_code(const Kernel *, const Profile *); /* in the current arena */

/* ==================== counts of a kernel, of all its launches so far */

typedef struct SimCounts {
    double launches, groups, ran; /* of which so many were run, the others are taken to be like them */
    double issued[C_COUNT], busy[C_COUNT]; /* instructions of subgroups; lanes of theirs that were active */
    double branches, split, barriers; /* of subgroups; those whose lanes went both ways */
    double asked, sectors, least; /* requests to memory, their sectors, the fewest that hold the bytes */
    double lines; /* ... lines of the first cache that they looked up */
    double local, conflicts; /* requests to local memory, cycles that banks made them wait */
    double to_l1, to_l2, written,
        to_memory; /* bytes: asked for, beyond the first cache, stored, beyond the second */
    double touched; /* bytes of elements that it reads or writes, each once */
    double cycles; /* of groups, each alone on a core */
    double flops;
} SimCounts;

typedef struct SimTime {
    double us, roof; /* predicted; the least that this work takes */
    double part[6]; /* microseconds that each part of the machine is busy: sim_part */
    int slowest;
} SimTime;
extern const char *const sim_part[6];
SimTime sim_time(const SimCode *, const SimCounts *, const Profile *);

/* A kernel of a device and what it did. */
typedef struct SimKernel {
    const char *name;
    Loc loc;
    SimCode *code;
    SimCounts counts;
} SimKernel;
/* The kernels of these, a line each. */
void sim_table(const SimKernel *const *, int n, const Profile *, Text *);

/* ==================== a launch */

/* The machine's state beside memory. */
typedef struct SimMachine {
    Profile profile;
    SimCache **l1, *l2; /* l1: by core, made when it is first used */
    int64_t sample; /* groups of a launch that are run; 0: all */
} SimMachine;

typedef struct SimLaunch {
    const SimCode *code;
    SimMachine *machine;
    SimCounts *counts;
    SimPiece *const *param;
    const size_t *at; /* by parameter: the memory, and where in it */
    int64_t step;
} SimLaunch;

/* 0, or an error that names kernel, instruction, item and the user's line. */
int sim_launch(const SimLaunch *);

/* ==================== between simt.c and access.c */

typedef struct SimMemory {
    const Buffer *buf;
    unsigned char *p, *known;
    uint64_t address;
    Watch *watch; /* by element; NULL: nobody writes it, or it is an item's own */
    unsigned char *touched; /* by element; NULL: not counted */
} SimMemory;

typedef struct Simt {
    const SimLaunch *l;
    const Kernel *k;
    const SimCode *code;
    const Profile *m;
    SimCounts *n;
    SimMemory *mem;
    int *place; /* by Val, of loads and stores: which memory */
    int64_t *next; /* carried values between two steps */
    int64_t *val;
    size_t *at, stride; /* by subgroup, then by Val: an element or W a lane */
    int64_t *var;
    int8_t *dim; /* by atom: of loops; which dimension of the grid, -1: none */
    int nvar;
    int64_t *id[3]; /* by item of the group: its place in the grid */
    uint64_t *on, *all; /* by subgroup: lanes that are active; that there are */
    int64_t *ready, *clock; /* by subgroup and Val: when it is there; now */
    int lanes, sub; /* of a subgroup; the one that is at work */
    int64_t group, first, phase, core; /* numbers: the group's, of its first item, of barriers; its core */
    const KIns *now;
} Simt;

static inline int64_t *simt_val(const Simt *s, Val v)
{
    return s->val + (size_t)s->sub * s->stride + s->at[v];
}
static inline bool simt_on(const Simt *s, int lane) { return s->on[s->sub] >> lane & 1; }
/* out: a form for each lane, w elements each */
void simt_form(const Simt *, Form, int w, int64_t *out);
/* counts, and takes the time */
void simt_issue(Simt *, SimClass, double times, int64_t wait);
int simt_wrong(const Simt *, int lane, const char *what);
/* 0, or an error */
int simt_load(Simt *, Val);
int simt_store(Simt *, Val);

#endif
