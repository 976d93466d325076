/*
 * spec.h - a kernel before it is written: what it computes, in which loops and blocks, and where that goes.
 */
#ifndef HEDDLE_SPEC_H
#define HEDDLE_SPEC_H

#include "demand.h"
#include "kernel.h"
#include "target.h"

typedef struct MemRef { Buffer *buf; const Layout *layout; } MemRef;      /* buf NULL: not stored */

/* The same with its first indices given. */
static inline MemRef memref_lead(MemRef p, const Form *lead, int n)
{
    return (MemRef){ p.buf, layout_lead(p.layout, lead, n) };
}

/* A value that a kernel reads from a packed copy; those of a kernel are a few. */
typedef struct Instead { Ref v; MemRef at; } Instead;
typedef struct Insteads { const Instead *of; int n; } Insteads;
static inline MemRef memref_instead(Insteads list, Ref v)
{
    for (int k = 0; k < list.n; k++)
        if (list.of[k].v == v)
            return list.of[k].at;
    return (MemRef){ 0 };
}

typedef enum SpecKind {
    /* map, reduce, row, contract: the evaluator at blocks of environments */
    SPEC_LOOPS,
    SPEC_LANES,                                 /* a region, small state: unrolled in registers */
    /* a scan, larger state: private rows, the body lowered by the same code */
    SPEC_ROWS,
    /* Own shapes, one instruction each. outer: the independent dimensions of the result, in order: all but
     * the axis (sort, cumulative), all that no index vector moves (scatter); vec: the last of them, if it is
     * the innermost dimension and has W elements. Operands may be stored or not: read them by the evaluator.
     * Every live result is stored. */
    SPEC_SCATTER, SPEC_SORT, SPEC_CUMULATIVE
} SpecKind;

typedef struct Store {                          /* one thing that a kernel computes, and where it goes */
    Ref v; Form idx[MAXRANK]; int nidx;
    const Atom *space[MAXRANK]; int nspace;     /* loops inside: what idx has beyond the outer variables */
    MemRef to;
    /* > 0: a private row of sums over this many outer steps, stored at the end */
    int64_t chunk;
} Store;

typedef struct Block { const Atom *a; int n; } Block;

/* An outer variable of a kernel: n elements in blocks of `size`, of which a work-item takes `chunk`. The
 * last block overlaps its neighbour. inside: its loop over blocks is inside of those of the others. items:
 * of a group that does a block together, those along it: each has its part. */
typedef struct OuterAxis { const Atom *a; int64_t n, size, blocks, chunk, items; bool inside; } OuterAxis;

/* One digit of one key of a sort: bits shift .. shift + width - 1 of its word, of which `bits` say
 * anything. */
typedef struct SortPass { int key, shift, width, bits; } SortPass;
/* A kernel of a sort in chunks: counts the digits of a pass, or moves by them. counts: a table a chunk of
 * every row. */
typedef struct SortPart { int64_t chunks; int pass; bool count; MemRef counts; } SortPart;

/* ==================== what is stored, in which loops (stage.c)
 * Sums whose index is known in front of the stores are phases: those of one level and space share a loop.
 * What two loops over the same space need and is dear lies in a private row between them. */

typedef struct Want { Ref v; const Form *idx; } Want;   /* an element of a value */

/* A block of environments as a loop over n of its copies, e with the same e / (n * s) and e % s; n 0: side
 * by side. `first` are evaluated before the loop; outer: of the graph around the body. */
typedef struct Leaf { Want at; bool outer; } Leaf;
typedef struct Rolled { int n, s; Leaf *first; int nfirst; } Rolled;

/* Sums that share a loop; vector: which of its variables is; -1: an outer one, or it is not known. steps: of
 * the innermost variable, so many are written out; 0: as InnerSum says, or one. team: shared out to the
 * items of a group. within: values at once of a short sum inside, which is written out; 0: one. */
typedef struct SumLoop { Want *want; int n, vector, steps; bool team; Rolled roll; int within; } SumLoop;
typedef struct Phase { const Atom *const *ks; int nk; SumLoop *loop; int nloop; } Phase;
/* apart: elements from the row of one copy to that of the next. */
typedef struct KeptRow { Want of; const Atom *const *space; int nspace; int64_t apart; } KeptRow;
/* Stores over one space, by number; vector: the variable that is; whole: written out; twice: what is left of
 * vectors is one that overlaps the last. Copies: of a tile, of a vector, of one element. */
typedef struct StoreLoop { int *store; int n, vector; bool whole, twice; Rolled roll[3]; } StoreLoop;

typedef struct Stage {
    Phase *phase; int nphase;
    KeptRow *row; int nrow;
    StoreLoop *loop; int nloop;
} Stage;

/* The same of a sum that is no phase: it is asked for by what another one adds, or is added to something. */
typedef struct InnerSum { const Graph *g; Ref v; int vector, steps; } InnerSum;

/* How much is written out instead of being a loop: loops of so many elements, if they make no more than so
 * many values of a block; in a body in registers; vectors of sums, each and in all. Of so many elements in
 * registers one is chosen at an index that is known when running; more are copied to memory. */
typedef struct Written { int64_t loop, block, body; int sums, flight; int64_t choose; } Written;

/* ==================== kernels of one instruction: how they are shared out (share.c) */

/* n independent things, of which a work-item does `each`; rough cycles of all. */
typedef struct Share { int64_t n, each; double work; } Share;

typedef enum DimKind { BATCH, INSERTED, WINDOW } DimKind;
typedef struct ScatterDim {                     /* a dimension of a scatter's operand */
    DimKind kind;
    int map;                                    /* component of the index vector that moves it; -1: none */
    /* WINDOW: dimension of the updates; BATCH: of the updates and indices */
    int u;
    int64_t n, window;
    bool shared_out;                            /* work-items have their own */
} ScatterDim;
typedef struct ScatterSpec {
    ScatterDim dim[MAXRANK];
    int at[MAXRANK], nat;                       /* dimensions of the updates that the indices have, too */
    int pos[MAXRANK], npos;                     /* ... and that are no batch: positions, so many in all */
    int64_t npositions;
    bool in_place, spread;                      /* spread: positions are shared out */
    int vd; int64_t parts;                      /* the dimension of vectors, -1: none; in how many parts */
    int rd; int64_t ranges;                     /* the dimension in ranges, -1: none; how many */
} ScatterSpec;

enum { LINES = 4 };                             /* running values, or vectors of them, at once at most */
/* vec: vectors of lines side by side inside of the axis; across: of those outside, and then of as many
 * steps: blocks are read and written whole. Where a group does a line (Spec.team), pieces of it, of which
 * each item has some elements. */
typedef struct RunningSpec {
    bool vec, across;
    int lines, each;                            /* at once; elements of an item, where a group does a line */
    int64_t outer, inner, items[2];             /* lines outside and inside; what is shared out of both */
} RunningSpec;

/* ==================== regions: how their bodies are run (bodies.c) */

typedef struct RegionSpec {
    const Ins *ins;
    bool *enter;                                /* by branch: only if a lane takes it */
    bool **first;                               /* by body: inputs that are read before it; NULL: none */
} RegionSpec;

/* Elements of a value that a work-item copies into a private array, where those that its products read one
 * after the other lie side by side: for all steps (ks) and a block of the vector. Blocks of outer variables
 * that it does not depend on go by while it stays. turn: steps that a turn of the copying loop does. */
typedef struct Panel { Ref v; const Idx *idx; const Vars *ks; int turn; } Panel;

/* A value of which a group copies a tile to local memory: of variables a, the second innermost, rows `pad`
 * longer than they need; items that follow one another read along a[fast]. */
typedef struct Staged { Ref v; const Form *idx; const Atom *a[2]; int fast, pad; } Staged;
/* Tiles of n values, and the block that a group does with them: of so many items along two outer variables.
 * product: they are its operands, and so many of its steps (variables ks; step: which of the tile) are
 * there at once; 0: they are what a map loads. Where results are few, items are slices of as many: each does
 * its part of the steps of a tile, and the first has the sum. */
enum { TILES = 4 };
typedef struct Tile {
    Staged of[TILES]; int n;
    const Atom *along[2]; int64_t items[2], slices;
    Ref product; const Vars *ks; const Atom *step; int64_t steps;
} Tile;
/* What a group takes of a core, roughly: 32-bit registers of an item, bytes of local memory; groups that a
 * core then holds at once, and which part of its items that is. */
typedef struct Occupancy { int64_t registers, local, groups; double part; } Occupancy;

/* A few values. */
typedef struct Refs { const Ref *v; int n; } Refs;
static inline bool refs_have(Refs r, Ref v)
{
    for (int k = 0; k < r.n; k++)
        if (r.v[k] == v)
            return true;
    return false;
}

typedef struct Spec {
    SpecKind kind;
    const char *name;
    const Graph *g;
    const MemRef *stored;                        /* by value of g: where everything that is stored lies */
    Insteads instead;
    Refs made;                                  /* by this kernel, so computed, not loaded */
    /* stored values that it loads, where that is known; v NULL: not known */
    Refs reads;
    const Atom *outer[MAXRANK]; int nouter;
    /* the outer variable that is the vector; NULL: the innermost loop */
    const Atom *vec;
    Block block[MAXRANK]; int nblock;           /* copies of an outer variable: register tile */
    int inner_tile;                             /* vectors side by side in a store loop; 0: 1 */
    /* An outer variable of whose blocks a work-item does so many for each of the others', because what they
     * read stays in the second cache; work-items that follow one another have the same. NULL: as many as it
     * has time for */
    const Atom *run; int64_t run_blocks;
    /* at: where in the block of the vector an element is */
    Panel *panel; int npanel; const Atom *at;
    const Atom *flat;                           /* the outer variables are digits of this one ... */
    const Atom *flat_of[MAXRANK]; int nflat;    /* ... in this order */
    /* rough cycles of a block, of all of them; instructions of the kernel */
    double work, total, code;
    int64_t unroll;                             /* elements of a loop that is written out */
    OuterAxis axis[MAXRANK]; int naxis;              /* of kernels that work in blocks */
    bool alone;                                 /* one work-item does all of it */
    int64_t group;                              /* work-items of a group at most; 0: the device says */
    /* work-items of a group that do a block together; 0: each has its own. Loops inside are shared out to
     * them: of short ones an item has up to `held` elements in registers, of longer ones `turn` at a time */
    int64_t team, each; int held, turn;         /* each: blocks of a group, one after the other; 0: 1 */
    const Tile *tile;                           /* what they copy to local memory; NULL: nothing */
    Occupancy fit;                              /* of groups; groups 0: not known */
    bool contract;
    /* outer steps of a work-item, where a row of sums asks for it; 0: free */
    int64_t chunk;
    /* SPEC_CUMULATIVE: what is stored instead of its result, if so */
    Store *store; int nstore;
    const Ins *ins;                             /* SPEC_LANES, SPEC_ROWS, and own shapes */
    bool *live;                                 /* of its results */
    /* SPEC_SORT: 2 * nin of them. [k]: where operand k goes and comes from (needed if the axis is longer
     * than sort_short); [nin + k]: stands in for result k where that is not live (else buf may be NULL).
     * NULL: none. */
    MemRef *scratch;
    const SortPass *pass; int npass;            /* SPEC_SORT: in order */
    bool by_rank;                               /* SPEC_SORT: of short rows: by comparing all, no passes */
    const SortPart *sort;                       /* which part of it this kernel is; NULL: all of it */
    /* A store overwrites what this kernel reads (at the same index): no block may run twice. A SPEC_SCATTER
     * whose result lies where its first operand does does not copy it, and runs index positions in parallel
     * if they are unique. */
    bool in_place;
    /* SPEC_LOOPS: one; SPEC_ROWS: what a step computes first, and the rest */
    Stage stage[2];
    InnerSum *inner; int ninner;
    bool maps;                                  /* there are no sums: nothing but stores, and no phases */
    const UserCount *uses;                      /* who uses what, in the kernel or a step; NULL: no matter */
    Written written;
    bool roll_moves;                            /* SPEC_ROWS: moving the state is a loop over copies */
    Share share;                                /* own shapes */
    const ScatterSpec *scatter;
    const RunningSpec *running;
    RegionSpec *region; int nregion;            /* SPEC_LANES, SPEC_ROWS: this region and those inside */
    bool *packed;                               /* carried values that go along as vectors; NULL: none */
    Refs factor;                                /* SPEC_ROWS: values of the step that are computed first */
    /* SPEC_ROWS: of carried values and factors: elements from the row of one lane to that of the next */
    int64_t *carry_apart, *factor_apart;
    const Target *target;
} Spec;

/* Does it work in blocks of outer variables? Else it is one instruction that is shared out (own shapes). */
static inline bool spec_blocks(const Spec *s)
{
    _Static_assert(SPEC_LOOPS < SPEC_LANES && SPEC_LANES < SPEC_ROWS && SPEC_ROWS < SPEC_SCATTER &&
        SPEC_SORT > SPEC_SCATTER && SPEC_CUMULATIVE > SPEC_SCATTER, "kinds in blocks come first");
    return s->kind <= SPEC_ROWS;
}

/* A sum whose vector is its own variable, of so many elements, one of `sums` in registers: vectors of
 * accumulators of each; is what is left of vectors one more, of which some lanes count? */
typedef struct Flight { int vectors; bool past; } Flight;
Flight spec_flight(const Spec *, int64_t extent, int sums);
/* Which variable is the vector where nothing is known of loads: the innermost that has a whole one, else the
 * innermost. */
int long_variable(const Atom *const *, int n);

Store store_of(const Graph *, Ref v, MemRef to);        /* every element of v, in loops of its own */
/* Of a kernel that works in blocks: the copies of a block that begins at base[j] along axis j of n. */
Envs spec_block(const Spec *, const OuterAxis *, int n, const Form *base);

/* Do copies e with the same e / (n * s) and e % s lie at even distances? How far: by variable, and k. */
bool roll_even(Envs, int n, int s, int64_t *by, int64_t *by_k);

/* Is it an outer variable whose blocks go by while panels stay? */
bool spec_passes(const Spec *, const Atom *);
int64_t spec_items(const Spec *);               /* work-items of a kernel that works in blocks */
/* what the scheduler thought of it, in a line */
const char *spec_note(const Spec *);
void spec_print(const Spec *, Text *);          /* in a few lines */
int spec_check(const Spec *);                   /* 0, or an error: what is in it does not agree */

#endif
