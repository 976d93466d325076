/*
 * api.h - the front end, private: how symbols, trees, arrays and functions are held, and what ops are
 * written with.
 *
 * An op of heddle.h is a few lines: OP(name) at entry takes the source line the user's macro left; unify()
 * or sym_ref() turn symbols into values of the graph being traced; builders of graph.h make the result;
 * sym_of() gives it back.
 *
 *     hd hd_add(hd x, hd y) { OP(hd_add); return elem(OP_add, 2, (hd[]){ x, y }); }
 *     hd hd_ravel(hd x)     { OP(hd_ravel); return sym_of(Reshape(sym_ref(x), ...)); }
 *
 * Failure is sticky: sym_ref of HD_NIL is 0, builders of 0 give 0, sym_of(0) is HD_NIL.
 */
#ifndef HEDDLE_API_H
#define HEDDLE_API_H

#include <fenv.h>
#include <locale.h>

#define HD_PLAIN
#include "heddle.h"
#include "graph.h"
#include "compile.h"
#include "backend.h"

_Static_assert((int)DT_BOOL == HD_BOOL && (int)DT_F32 == HD_F32 && (int)DT_KEY == HD_KEY &&
        (int)DT_U4 == HD_U4,
    "dtypes are numbered as in heddle.h");
_Static_assert(
    (int)E_INTERNAL == HD_EINTERNAL && (int)E_DIFF == HD_EDIFF, "codes are numbered as in heddle.h");
_Static_assert(MAXRANK == HD_MAX_RANK, "ranks");

/* ==================== places (place.c)
 * hd_at_ pushes (file, line, op); an op takes the top entry if it is its own and keeps what it calls, and
 * what the user's functions that it calls push, away from the entries below. The place stays until the next
 * op, so ops may be built of ops. */
typedef struct At { int floor, height; bool guards; } At;
At at_place(void (*op)(void));                  /* the line alone */
At at_enter(void (*op)(void));                  /* and the caller's mode is set aside */
void at_leave(At *);
At at_lend(void);                               /* the user's function begins: at_back follows */
void at_back(At *);

/* The caller's floating-point mode and locale (mode.c). Whoever comes in through OP finds C's defaults; what
 * the user's functions compute while they are traced is in the caller's own. */
typedef struct Mode {
#if defined(__SSE2__)
    uint32_t sse; uint16_t x87;
#elif defined(__aarch64__)
    uint64_t control, flags;
#else
    fenv_t env;
#endif
    locale_t locale;
} Mode;
void mode_enter(Mode *);
void mode_leave(const Mode *);
#define PLACE(f) __attribute__((cleanup(at_leave), unused)) At at_ = at_place((void (*)(void))(f))
#define OP(f) __attribute__((cleanup(at_leave), unused)) At at_ = at_enter((void (*)(void))(f))

/* ==================== trees: the shape of what functions take and return (tree.c). In an arena; never
 * change. Dictionaries are in order of their keys, which are interned. */
typedef enum TreeKind {
    T_LEAF,                                     /* an array of `type` */
    /* a constant without a dtype of its own: `value`; type is what it is alone */
    T_WEAK,
    T_NIL,                                      /* nothing: no leaf */
    T_DICT, T_TUPLE
} TreeKind;
typedef struct Tree Tree;
struct Tree {
    TreeKind kind;
    Type type; double value;
    int n; const char *const *key; const Tree *const *part;
    int nleaf;                                  /* T_LEAF and T_WEAK below, itself included */
    int depth;                                  /* of a node: 1 more than its deepest part's */
};
bool tree_depth_ok(int);                        /* trees are walked by recursion: else an error */
const Tree *tree_leaf(const Type *);
const Tree *tree_weak(double);
const Tree *tree_nil(void);
const Tree *tree_tuple(const Tree *const *, int n);
const Tree *tree_dict(const char *const *sorted_keys, const Tree *const *, int n);
const Tree *tree_like(const Tree *, const Tree *const *part);           /* the same node with other parts */
/* the same structure with types taken in order from t[]; returns it, and moves *t on */
const Tree *tree_retype(const Tree *, const Type **t);
const Tree *tree_strong(const Tree *);          /* weak leaves become plain ones */
const Tree *tree_copy(const Tree *);            /* into the current arena */
bool tree_equal(const Tree *, const Tree *);    /* weak: same value */
bool tree_same_shape(const Tree *, const Tree *);       /* structure only */
/* got[]: for each leaf of want the number of the leaf of have that is given for it, -1: none. absent:
 * nothing, which as data is an empty tuple, may stand for a part. false: they do not fit. */
bool tree_given(const Tree *want, const Tree *have, bool absent, int *got);
uint64_t tree_hash(const Tree *);
void tree_types(const Tree *, Type *out);       /* of the leaves, in order */
void tree_leaves(const Tree *, const Tree **out);
const char *tree_text(const Tree *);            /* "{b: f32[], w: f32[2]}"; in the arena */
/* where the k-th leaf is: ".w", "[1].w", "" for a bare leaf; in the arena */
const char *tree_path(const Tree *, int leaf);
int key_order(const char *const *key, int n, int *order);      /* sorts; an error for two alike */

/* ==================== symbols (trace.c) */

/* A symbol's value in the current trace. Symbols of enclosing traces are captured; a constant without dtype
 * becomes f32. 0 for HD_NIL; an error for trees, for symbols of traces that have ended, and outside any
 * trace. */
Ref sym_ref(hd);
/* a constant takes this dtype (an error if it does not fit); others as they are */
Ref sym_ref_as(hd, Dtype);
hd sym_of(Ref);                                 /* HD_NIL for 0 */
hd sym_const(double);                           /* hd_c */
/* a constant of this dtype; an error if it does not fit. what may be NULL */
Ref number(const char *what, double, Dtype);
bool sym_weak(hd, double *value);               /* is it a constant without dtype? value may be NULL */
bool sym_tree(hd);                              /* is it a dictionary or tuple? false for HD_NIL */
bool sym_absent(hd);                            /* HD_NIL, and no error is pending */
bool sym_usable(hd);                            /* else an error is pending */
bool tracing(void);                             /* is a program being traced here? else an error */

/* Operands brought to one dtype: constants take that of the arrays (all constants: f32), arrays of two
 * dtypes are an error that names hd_cast. what: the op's name for messages. 0, or a code. */
int unify_dtype(const char *what, int n, const hd *x, Ref *r);
/* broadcasts them to one shape, as numpy does */
int unify_shape(const char *what, int n, Ref *r);
int unify(const char *what, int n, const hd *x, Ref *r);        /* both */
Ref broadcast_to(Ref, Ints shape);              /* numpy's rule, to exactly this shape; 0 after an error */
/* An elementwise row on unified operands. Constants alone give a constant again, where the row keeps the
 * dtype. */
hd elem(Op, int n, const hd *x);

/* Axes. what: the op's name. */
int axis_of(const char *what, int64_t axis, int rank);          /* 0 .. rank-1, or -1 after an error */
/* Reduction lists: empty is all; HD_KEEP at the end sets *keep (NULL: not allowed); sorted, none twice. 0,
 * or a code. */
int axes_of(const char *what, hd_ints axes, int rank, Ints *out, bool *keep);
int ints_in(const char *what, hd_ints, Ints *out);              /* a list as it is, its count checked */
hd_ints ints_out(Ints);
/* What other languages pass: a list that is NULL, or a count below `least` (-1: an end mark says it). 0, or
 * a code. */
int list_in(const char *what, const void *list, int n, int least);
bool fn_in(const char *what, const hd_fn *);    /* false for NULL, with an error unless one is pending */
int fields_in(const char *what, const hd_field *);      /* likewise for the fields of a struct */
/* n, or for -1 how many before HD_END; -1 after an error */
int sym_count(const char *what, const hd *, int n);
/* Options that are NULL are those of { 0 }. */
#define OPTIONS(T, o) const T none_ = { 0 }; if (!(o)) (o) = &none_

/* Fields of structs (symbol.c). */
int field_leaves(const hd_field *);             /* arrays of the whole struct */
int field_count(const hd_field *);              /* fields, a list as one */
int field_items(const hd_field *);              /* n of name[n], else 1 */
bool field_list(const hd_field *);              /* is it a list of items: name[n]? */
const char *field_key(const hd_field *);        /* its name without [n] */

/* Trees of symbols. All give HD_NIL where an operand is HD_NIL. */
hd sym_tuple(const hd *, int n);
hd sym_dict(const char *const *key, const hd *, int n);         /* keys in any order */
int sym_leaf_count(hd);                         /* -1 for HD_NIL */
hd *sym_leaves(hd, int *n);                     /* in the arena; NULL for HD_NIL */
hd sym_like(hd tree, const hd *leaves);         /* the same structure on other leaves */
/* f on corresponding leaves of n trees of one structure; an error says where they differ */
typedef hd LeafFn(const hd *leaves, int n, void *env);
hd sym_map(const char *what, LeafFn *, void *env, int n, const hd *trees);
const Tree *sym_type(hd);                       /* NULL for HD_NIL */
/* a symbol of this shape; weak leaves ignore their Ref */
hd *sym_build(const Tree *, const Ref *leaves, hd *out);

/* ==================== functions (func.c, trace.c, transform.c) */

/* What a function captured: a symbol of an enclosing trace, or data. */
typedef struct Store Store;
typedef struct Cap { hd sym; Store *data; Type type; } Cap;
/* Each once, in order, in the current arena; found by what they are. */
typedef struct CapSet { Cap *cap; int n, cap_cap; int *slot; uint64_t room; } CapSet;
int cap_find(const CapSet *, const Cap *);      /* its number; -1: it is not there */
int cap_add(CapSet *, const Cap *);             /* the number that it has, or gets */
/* A function at given argument types. inputs of g: the captures, then one for each leaf of the arguments;
 * outputs: one for each leaf of the result. */
/* With HEDDLE_CHECK=keys: a random key that was used (keys.c). Its two words are those at `at` in values of
 * a trace; of a
 * Traced: in the inputs with these numbers, or in results that are keys made and used inside. keys.c has two
 * values that are none. */
typedef struct KeyUse {
    uint32_t of[2]; int64_t at[2];
    /* where in this trace, and in the innermost one that is applied there */
    Loc loc, within;
    int region, branch;                         /* of hd_cond, hd_switch; region 0: none */
    bool result;
    /* of a key that was made inside of inputs: them, as values of the trace */
    const uint32_t *in; int nin;
} KeyUse;
typedef struct KeyUses { KeyUse *use; int n; } KeyUses;
typedef struct KeySet { KeyUse *use; int n, cap; int *slot; uint64_t room; } KeySet;

typedef struct Traced { Graph *g; const Cap *cap; int ncap; const Tree *in, *out; KeyUses keys; } Traced;

const Traced *graph_of(hd_fn *, const Tree *args);              /* args: a tuple. NULL after an error */
hd apply(hd_fn *, const hd *args, int n);       /* hd_apply for ops that take functions */
const char *fn_name(const hd_fn *);             /* for messages */

/* ==================== inside the front end ==================== */

#include <pthread.h>

/* ---- errors and where they happened (error.c) */
typedef struct Context { const char *verb, *name; Loc loc; struct Context *up; } Context;
/* What is being done, for messages: "in NAME" where verb is NULL, else "VERB at LOC". The frame is the
 * caller's variable. */
void context_push(Context *, const char *verb, const char *name, Loc);
/* the first pop after an error takes down the whole stack, once */
void context_pop(Context *);
/* At the entry of public functions that work on data: forgets an error that the program has been told of. */
void error_begin(void);
void error_forget(void);                        /* whatever it is; not inside a trace */
int no_memory(size_t bytes);                    /* of the host: the error, and its code */
/* at their exit: the program is told by this code. Returns it */
int error_told(int code);
/* an argument is NULL: the code pending, else an error of its own */
int error_pass(void);

/* ---- data (store.c, array.c) */
/* How an array lies over several devices (sharding.c). of: the mesh of the user's; NULL: it has no names. */
typedef struct Sharding { Type type; Mesh mesh; Dealt spec; const struct hd_mesh *of; } Sharding;
/* Shards of one device may share a memory. ranks: their devices are said by rank; here: even so all their
 * bytes are in this process, and in all the others; brought: they are, as far as this rank knows, in the
 * call over ranks that it is in. */
typedef struct Shards { Sharding sharding; int n; bool ranks, here, brought; Mem *mem[]; } Shards;
struct Store {                                  /* the bytes of an array, on the host or on devices */
    _Atomic int refs;
    pthread_mutex_t lock;
    size_t bytes;
    void *host;                                 /* NULL: only on devices */
    bool lent;                                  /* hd_data has given host away */
    Mem *mem;                                   /* NULL: not yet used on one device */
    struct Shards *shards;                      /* NULL: none */
    Loc *used;                                  /* by word: the call that used a key there; NULL: none did */
};
enum { ALIVE = 0x61727279, GONE = 0x676f6e65 };
struct hd_array {
    uint32_t life;                              /* ALIVE, GONE, or of no array */
    _Atomic uint64_t count;                     /* references; in the upper half those of trees */
    Loc made, gone; const char *how;            /* where it was made, where and how it ended */
    hd_array *next;                             /* of all, with HEDDLE_CHECK=memory */
    bool abstract;                              /* a leaf without contents */
    Type type; Store *store;                    /* a leaf */
    bool tree;
    int depth;                                  /* of a tree: 1 more than its deepest part's */
    /* a tree; key NULL: a tuple. Keys are interned and in order */
    int n; hd_array **part; const char **key;
};
/* ---- how long it lives (life.c) */
hd_array *array_make(void);                     /* one reference, the caller's. NULL after an error */
/* else an error. arg: the argument it is; -1: none */
bool array_alive(const char *what, int arg, const hd_array *);
/* has it a reference that no tree holds? else an error */
bool array_own(const char *what, const hd_array *);
bool array_take(hd_array *);                    /* a tree takes one such over; false after an error */
void array_drop_part(hd_array *);               /* a tree gives it up */
void array_drop(hd_array *);                    /* hd_drop of what is certainly ours; NULL is fine */
/* Memory that hd_data gave away, at its end: with HEDDLE_CHECK=memory it stays, filled with what is nan, or
 * -1. */
bool lent_kept(void *, size_t bytes);
void array_donate(hd_array *);                  /* the same, when a call takes it over */
Store *store_keep(Store *);
void store_drop(Store *);
/* takes over both; NULL: out of memory, both are gone */
Store *store_new(size_t bytes, void *host, Mem *);
/* A reference to the bytes on this device. place: host memory that has not been used yet moves there; else
 * it is copied, as from another device. NULL after an error. */
Mem *store_on(Store *, Device *, bool place);
Mem *mem_with(Device *, const void *bytes, size_t n);   /* new memory that holds them. NULL after an error */
int store_read(Store *, void *dst);             /* waits */
/* a host view that lives as long as the store. NULL after an error */
const void *store_host(Store *);
Device *store_device(Store *);                  /* NULL: host memory, not used yet, or on several */
const char *store_places(Store *);              /* devices, with commas; "": host memory, not used yet */
int store_wait(Store *);                        /* 0, or the late error of what computes it */
bool store_ready(Store *);
/* Without memories yet; NULL: out of memory. */
Shards *shards_new(const Sharding *);
/* Takes the shards over. NULL: one has no memory, or memory is out; then all are gone. */
Store *store_sharded(Shards *);
void shards_drop(Shards *);
/* Bytes on other ranks are brought here, in a call of its own over all of them or in the one that this
 * thread is in; nothing, where there are none. 0, or a code. */
int store_bring(Store *);
/* The call in which it may have been brought has ended, well in all ranks or in none. */
void store_settle(Store *, bool well);
/* is it in this sharding on these devices? */
bool store_lies(const Store *, const Sharding *, Device *const *);
/* the same in another sharding, on a device for each shard */
Store *store_dealt(Store *, const Sharding *, Device *const *, bool ranks);
/* A reference to what shard k of a sharding has, on this device. NULL after an error. */
Mem *store_share(Store *, const Sharding *, int k, Device *);

/* ---- from how many bytes on reductions are in parts (crossing.c) */
/* of devices that are alike; the graph: what shards reduce */
int64_t crossing(const Graph *, Device *const *, int n);
int64_t crossing_measured(Device *const *, int n);
bool devices_all_near(Device *const *, int n);
/* that many from now on, for tests; 0: as measured. Returns the one before */
int64_t crossing_set(int64_t bytes);

/* ---- shardings (sharding.c) */
Sharding sharding_rows(const Type *, int64_t n, int axis);  /* n shares along one axis; -1: n copies */
bool sharding_same(const Sharding *);               /* copies */
/* A part of an array: the elements from `start`, so many along each axis. It lies dense, in row-major
 * order. */
typedef struct Part { int64_t start[MAXRANK], dim[MAXRANK]; } Part;
Part part_whole(const Type *);
Part part_of(const Sharding *, int64_t shard);
bool part_equal(const Type *, const Part *, const Part *);
size_t part_bytes(const Type *, const Part *);
/* What `from` has of `to`: false: nothing. *at, *bytes: where it lies in from's bytes, with whatever is
 * between. */
bool part_cover(const Type *, const Part *from, const Part *to, size_t *at, size_t *bytes);
/* It goes to its place in to's bytes; src: those bytes of from. */
void part_copy(const Type *, const Part *from, const Part *to, const void *src, void *dst);
/* The same as copies between memories of devices: how many; above `most` that many and one. */
int part_strided(const Type *, const Part *from, const Part *to, Strided *, int most);
/* Whether enums have a sign is the compiler's choice. */
static inline bool is_dtype(enum hd_dtype d) { return (unsigned)d - 1 < DT_COUNT - 1; }
/* of an array to be made. 0, or a code */
int array_type(const char *what, enum hd_dtype, hd_ints shape, Type *);
hd_array *array_leaf(const Type *, Store *);    /* takes over the store; NULL: abstract */
/* takes the leaves over; leaves NULL: abstract */
hd_array *array_build(const Tree *, Store *const *leaves);
const Tree *array_tree(const hd_array *);       /* in the arena */
/* The same tree over other stores, of each leaf the one that f makes. NULL after an error. */
typedef Store *ToStore(const hd_array *leaf, const void *env);
hd_array *array_each(const char *what, const hd_array *, ToStore *f, const void *env);
/* All leaves that lie on other ranks, before anything is done with one of them that could fail in this rank
 * alone: so all ranks bring the same. 0, or a code. */
int array_bring(const hd_array *);
uint64_t array_hash(const hd_array *, uint64_t);
bool array_fits(const hd_array *, const Tree *);
/* n leaves so far; returns how many now. out NULL: counts */
int array_leaves(hd_array *, hd_array **out, int n);

/* ---- named axes (axes_named.c): those of the vmaps around what is being traced, innermost first */
typedef struct Bound {
    const char *name, *unique;                  /* the user's, and the graph's; interned */
    int64_t size; Loc loc;                      /* where the vmap was written */
    struct Trace *home;                         /* of the function that is mapped; NULL: not open */
    const char *all;                            /* this one and those around it, as text; interned */
    struct Bound *up;
} Bound;
extern _Thread_local Bound *axes_bound;
int axis_bind(Bound *, const char *name, int64_t size, Loc);   /* 0, or a code */
void axis_unbind(Bound *);
void axes_open(struct Trace *);
void axes_close(const struct Trace *);

/* ---- traces (trace.c) */
typedef struct Node { const Tree *tree; hd *part; } Node;       /* of symbols that are no graph value */
#define SYM_NODE 0x80000000u                    /* in hd.ref: a node, not a value */

typedef struct Trace {
    /* of its symbols, and of the functions that end with it: another number where it is open again */
    uint32_t serial, owner;
    Graph *g;
    /* the one around it; NULL: none whose symbols could be captured */
    struct Trace *up;
    Arena *arena;
    Node *node; int nnode, node_cap;
    CapSet caps; Ref *capref; int capref_cap;   /* what it captures, and the parameter for each */
    hd_fn *made;                                /* functions that end with it */
    KeySet keys; int key_regions;               /* used so far */
    const char *name; Loc loc;
} Trace;
extern _Thread_local Trace *trace_top;
const Traced *trace_user(hd_fn *, const Tree *args);
Trace *trace_find(uint32_t serial);             /* NULL: not open in this thread */
Trace *trace_owning(uint32_t owner);            /* the same, by the number of its functions */
/* One whose symbols are those of a trace that has ended; 0: one without symbols. Nothing runs in it. */
void trace_again(Trace *, uint32_t serial);
void trace_over(Trace *);                       /* its functions end */
/* the open trace that has this symbol; NULL: none, whatever its bytes are */
Trace *sym_holder(hd);
/* the trace of a symbol; NULL for HD_NIL, and after an error */
Trace *sym_home(hd);
const Node *sym_node(hd, const Trace *);        /* NULL: a value of the graph */
Ref capture(Trace *, Cap);                      /* a hidden parameter of the trace */
Ref cap_ref(const Cap *);                       /* its value in the current trace */
void caps_ref(const Cap *, int n, Ref *out);
Graph *graph_clone(const Graph *);              /* everything, bodies too, into the current arena */
hd traced_apply(const Traced *, const hd *args, int n);

/* ---- keys that are used twice (keys.c). Nothing without HEDDLE_CHECK=keys. int: 0, or a code. args: the
 * inputs that are no captures */
int key_use(Ref key);                           /* by a sampler, or a split */
KeyUses keys_used(const Trace *);               /* by a trace that is over */
KeyUses keys_of_inputs(KeyUses);                /* without those that are results */
KeyUses keys_counted(KeyUses);                   /* with one more result in front */
KeyUses keys_recaptured(const Traced *, const CapSet *);        /* with all captures of the set in front */
/* Under vmap; type, axis: of the arguments. */
KeyUses keys_of_lanes(const Traced *, const Type *, const int32_t *axis, int64_t lanes);
int keys_apply(const Traced *, const Ref *args);
void keys_results(const Traced *, const Ref *out);
int keys_branches(int n, const Traced *const *, const Ref *args);
/* All n run in each step of a loop, whose carry the last of them gives. */
int keys_loop(int n, const Traced *const *, int ncarry, const Ref *carry, const Ref *xs, int64_t length);
/* by a function that combines so many slices: any use is one in each step */
int keys_combined(const Traced *, int64_t n);
/* ... by two calls (keys_call.c). in, out: inputs and results of a program, to which the uses belong */
KeyUses keys_of_program(const Traced *);
int keys_before_call(KeyUses, Store *const *in);
/* out NULL: it failed, and did not happen */
void keys_after_call(KeyUses, Store *const *in, Store *const *out);

/* What is being done on the way to a program. */
typedef enum Phase {
    PHASE_OTHER,
    PHASE_TRACE,
    PHASE_TRANSFORM,
    PHASE_SCHEDULE,
    PHASE_COMPILE,
    PHASES
} Phase;

/* One entry from outside: an arena of its own, no trace around. All tracing and compiling is under one
 * lock. */
typedef struct Entry {
    Arena *arena, *saved; Trace *top; Bound *bound; Loc loc;
    struct Entry *up;
    /* what each phase took, without those inside it; this one since then */
    Phase phase; double since, ms[PHASES];
    /* data that traces met: the user may drop it while they run */
    Store **kept; int nkept, kept_cap;
    hd_fn *doomed;                              /* what was forgotten meanwhile, of the outermost entry */
} Entry;
extern _Thread_local Entry *entry_top;
int entry_begin(Entry *);                       /* 0, or a code: then there is nothing to end */
void entry_end(Entry *);
Phase phase_begin(Phase);                       /* returns the one before, to go back to */

/* ---- what is kept of functions, by argument types (kept.c) */
typedef enum ShelfName { GRAPHS, PROGRAMS, SHELVES } ShelfName;
typedef struct Kept {                           /* first member of what is kept */
    hd_fn *f; uint64_t hash;
    void (*free)(struct Kept *);
    _Atomic int refs;                           /* the shelf's, and one for each call that uses it */
    _Atomic bool found;                         /* since it was last put at the end of the queue */
    ShelfName shelf;
    struct Kept *next;                          /* in its bucket */
    struct Kept *older, *newer;                 /* in the queue */
    struct Kept *prior, *more;                  /* of its function */
} Kept;
typedef struct Shelf Shelf;
typedef bool KeptFits(const Kept *, const void *what);
/* with a reference */
Kept *kept_find(ShelfName, const hd_fn *, uint64_t hash, KeptFits *, const void *what);
void kept_drop(Kept *);                         /* NULL is fine */
/* These under front_lock. */
void kept_put(ShelfName, hd_fn *, Kept *);      /* its hash, free and references are set; adds the shelf's */
void kept_trim(ShelfName);                      /* down to the limit */
void kept_forget(hd_fn *);                      /* all of a function */
void kept_sweep(ShelfName, bool (*gone)(const Kept *));         /* what is gone */
int64_t kept_count(ShelfName);
int64_t kept_limit(int64_t n);                  /* sets it if n > 0; returns the one before */

/* ---- functions (func.c) */
typedef enum FnKind {
    FN_USER,
    FN_PARSED,
    FN_PARTIAL,
    FN_JIT,
    FN_CHECKPOINT,
    FN_VMAP,
    FN_PMAP,
    FN_GRAD,
    FN_JACFWD,
    FN_JACREV,
    FN_JVP,
    FN_VJP,
    FN_LINEARIZE,
    FN_LINEARIZED,
    FN_CUSTOM_JVP,
    FN_CUSTOM_VJP,
    FN_CUSTOM_VMAP
} FnKind;
/* arena NULL: its trace's */
typedef struct Memo { Kept kept; const Traced *traced; Arena *arena; const char *axes; } Memo;
typedef struct Program {
    Kept kept;
    const Tree *in, *out;                       /* in: a tuple of the arguments */
    Device *device; Exec *exec; Arena *arena;
    struct Spread *spread;                      /* instead of exec: several devices run it */
    /* the mesh it runs on, and how its inputs lie over it; NULL: none */
    const hd_mesh *mesh; Dealt *dealt;
    int nhidden, nin, nout;                     /* inputs: hidden arrays, then leaves of the arguments */
    Store **hidden;
    Type *type;                                 /* of the results */
    Effects effects;
    KeyUses keys;                               /* of its inputs and results */
    hd_cost_info cost;
} Program;

/* What tells one function from another; compared by value. */
typedef struct FnKey {
    FnKind kind;
    hd_fn *inner;
    int shape; uintptr_t f; uint64_t code;      /* FN_USER; code: what holds it, or a number of its own */
    uint32_t owner;                             /* the number of the trace it ends with; 0: never */
    /* FN_GRAD: the value too; f gives tuple(value, aux). FN_VJP bare: dx alone */
    bool value, aux, bare, holomorphic;
    hd_ints argnums, donate;
    /* interned; FN_PMAP: the list of devices, "" where there is none */
    const char *device;
    int32_t in_axes[HD_MAX_RANK], out_axes;
    const char *in_tree, *out_tree;             /* interned; NULL: by argument */
    int64_t axis_size;
    const char *axis_name;                      /* interned; NULL: the axis has none */
    /* FN_CUSTOM_*; of FN_CUSTOM_VJP rule is fwd, and push (saved, dx...) -> dy, or NULL */
    hd_fn *rule, *bwd, *push;
    const char *save;                           /* FN_CHECKPOINT: interned; NULL: nothing */
} FnKey;
struct hd_fn {
    FnKey key;
    /* FN_USER: copied; FN_PARTIAL: the symbols; FN_PARSED: the text */
    void *env; size_t size;
    void *payload; void (*drop)(void *);        /* of hd_function */
    const char *text;                           /* for messages; interned */
    Loc loc;                                    /* where it was first made */
    uint64_t hash;
    _Atomic bool dead;                          /* forgotten, or its trace has ended */
    /* forgotten while something is traced; others of that entry */
    bool doomed; hd_fn *later;
    hd_fn *next;                                /* in the table */
    hd_fn *beside;                              /* in its trace's list */
    hd_fn *made, *before, *after;               /* functions made of it; others made of the same one */
    bool rules;                                 /* it is the rule of some */
    hd_fn *back;                                /* while functions end: the one that this ends for */
    Kept *kept;
};
/* the loaded object that holds this code; 0: none (code.c) */
uint64_t code_of(uintptr_t f);
/* interned. NULL after an error */
hd_fn *fn_make(const FnKey *, const void *env, size_t size, const char *text);
/* 0, or the code of an error: it was forgotten, or its trace has ended */
int fn_ended(const hd_fn *);
hd fn_call(const hd_fn *, const hd *args, int n);       /* FN_USER: through the right pointer type */
FnKey fn_key(FnKind, hd_fn *inner);             /* all else is 0 */
void fns_end(hd_fn *list);                      /* the trace that owns them ends */
/* recursive: tracing, compiling, and the tables they change */
extern pthread_mutex_t front_lock;

/* ---- transforms (transform.c), axes as text (axes.c) */
const Traced *transform(hd_fn *, const Tree *args);
/* The axis of each leaf, normalised; HD_NONE where there is none. text NULL: by argument. 0, or a code. */
const char *map_name(const hd_fn *);             /* "hd_vmap", or what it is */
int axes_in(const hd_fn *, const Tree *args, int32_t *axis);
int axes_result(const hd_fn *, const Tree *out, int32_t *axis);
int axes_parse(const char *what, const char *text, const Tree *const *part, int n, int32_t *axis);

/* ---- functions that hold symbols, asked after their traces have ended (closure.c) */
typedef struct Closure Closure;
/* Of up to three functions, NULL for none; what they hold becomes captures. */
Closure *closure_of(hd_fn *const f[3], CapSet *);
Closure *closure_copy(const Closure *);         /* into the current arena; NULL for NULL */
bool closure_dead(const Closure *);             /* is a function gone that it is made of? */
/* One of the functions at these types. What it captures is data, or closure_sym(its number in the set); what
 * was not held is HD_NIL. */
const Traced *closure_traced(const Closure *, int which, const Tree *args);
hd closure_sym(int capture);
bool closure_has(const Closure *, int which);   /* is there such a function? */

/* ---- rules of the user's own (rules.c) */
/* of fwd and bwd, as hd_custom_vjp has them; push: forward mode too, (saved, dx...) -> dy. NULL after an
 * error */
hd_fn *fn_both_ways(hd_fn *f, hd_fn *fwd, hd_fn *bwd, hd_fn *push);
const Traced *custom(hd_fn *, const Tree *args);
/* where its own rule, under way, applies it; NULL: it is not */
const Traced *custom_again(hd_fn *, const Tree *args);
bool rule_dead(const Graph *);                  /* is a function gone that a rule in it asks? */

/* ---- bodies (control.c) */
CapSet all_captures(int n, const Traced *const *);      /* everything that some body captures, once */
/* The graph of t with all captures in front. want: types of the results, where constants take their
 * dtype. */
Graph *body_graph(const Traced *, const CapSet *, const Type *want);

/* ---- programs as text (signature.c): the lines ;args and ;result, which say what trees a graph's arrays
 * are */
void signature_print(const Tree *args, const Tree *out, Text *);
/* The tree after ;word over these leaves, a tuple; NULL: there is no such line. 0, or a code. */
int signature_parse(const char *text, const char *word, const Tree *leaves, const Tree **out);

/* ---- meshes (mesh.c) */
/* ranks: its devices were named by rank; device: one for each place */
struct hd_mesh {
    Mesh mesh;
    bool ranks;
    hd_mesh *next;
    Device *device[];
};
bool mesh_names(const Device *);                /* does one that was made name it? */
/* One item of a spec, for axis d: none, or axes of the mesh with + between. 0, or a code. */
int spec_item(const char *what, const Mesh *, const char *item, int d, Dealt *out);
int spec_divides(const char *what, const Mesh *, const Type *, Dealt *spec);
SpecFn constraint_spec;
/* NULL: none lies over one. 0, or a code */
int mesh_of_args(hd_array *const *args, int n, const hd_mesh **mesh);
Dealt store_spec(const Store *, const hd_mesh *);       /* how it lies over the mesh */
/* HEDDLE_DUMP=mesh, and what hd_cost says. shard: with collectives, NULL after an error. */
void mesh_report(const Graph *shard, const Moves *, hd_cost_info *);
/* of its leaves, n so far; returns how many now */
int leaf_specs(const hd_array *, const hd_mesh *, Dealt *out, int n);

/* ---- programs over several devices (shards.c) */
/* "opencl:0, host", or NULL: the default. *out: a list, free() it. How many; 0 after an error. */
int devices_listed(const char *what, const char *names, Device ***out);
bool devices_ranked(const char *names); /* does the list name ranks of a job that has several? */
bool places_known(const Graph *, Device *home); /* every list of devices in it; else an error (grid.c) */
bool grid_ranked(const Places *);               /* are its devices those of ranks? */
/* of each shard, in the arena; NULL after an error */
Device **grid_devices(const Places *, const Device *home);
/* balance.c: places of unequal number, by device of the list: the program there, how many places it has, and
 * what one costs. */
typedef struct Balance {
    int nplace, n;
    Device **device;
    Exec **exec;
    int *count, *next;
    double *cost, *seen; /* by which places go; in the last run. 0: not known */
} Balance;
/* of places on these devices. In the arena */
Balance *balance_new(int nplace, Device *const *, Exec *const *);
/* Do other counts end all sooner, by a tenth? Then they are there now */
bool balance_better(Balance *);
/* label: of the device, in HEDDLE_PACE */
void balance_see(Balance *, const Device *, const char *label, double seconds);
int balance_tell(Balance *); /* over ranks: what each has seen, all know. 0, or a code */
void balance_learn(Balance *); /* what was seen last counts from here on */
/* does the text of a place begin with the word "balanced"? */
bool place_balanced(const char *place);
typedef struct Spread Spread;
/* Of a program with calls over devices, in the current arena, which must outlive it. home: where what is
 * between runs. */
Spread *spread_build(Graph *, Device *home, hd_cost_info *);
/* Of a program over a mesh; in: how its inputs are dealt out. */
Spread *spread_mesh(Graph *, const hd_mesh *, const Dealt *in, Device *home, hd_cost_info *);
void spread_drop(Spread *);
/* in: borrowed; out: new stores of the caller's. take: what the caller makes of them, before all ranks agree
 * that the call went well; of those that it takes it leaves NULL. 0, or a code: then there are none. Over
 * ranks an error that is pending is one of the call, in all of them. */
typedef int SpreadTake(Store **out, void *env);
int spread_run(Spread *, Store *const *in, Store **out, SpreadTake *take, void *env);

/* ---- compiling and calling (compile.c, call.c) */
/* In the current arena, which must outlive it. effects NULL: of a piece of a program, which has none left.
 * NULL after an error. */
Exec *compile(Graph *, Device *, Effects *);
Plan *compile_plan(Graph *, const Target *);    /* as far as that goes without a device */
/* without rules, places and effects: what is compared. NULL after an error */
Graph *compile_plain(Graph *);
/* of a shard: what is left of its collectives are exchanges. Its code is there when it returns */
Exec *compile_shard(Graph *, Device *);
/* one more of the same graph, on a device that is like that one's: nothing is scheduled again */
Exec *compile_again(const Exec *, const Graph *, Device *);
void cost_add(hd_cost_info *, const Exec *);
/* mesh: NULL, or the one that arguments lie over. kept_drop it. */
Program *program_of(hd_fn *, hd_array *const *args, int n, Device *, const hd_mesh *mesh);
/* ==================== warm.c: plans on the disk */
typedef struct WarmKey { char what[8]; uint64_t hash[2]; } WarmKey;
bool warm_key(WarmKey *, const Graph *, const Target *);       /* false: not to be looked for */
Plan *warm_plan(const WarmKey *);               /* NULL: there is none */
void warm_keep(const WarmKey *, const Plan *);
extern _Atomic uint64_t plans_read;             /* so far, with all their code, for tests */

/* The same, when its code is compiled. */
Program *program_with_code(hd_fn *, hd_array *const *args, int n, Device *, const hd_mesh *mesh);
Device *device_of_thread(void);                 /* the default; NULL after an error */

/* as hd_print has it (print.c). 0, or a code */
int text_array(struct Text *, const Type *, const void *data, int hang);

bool callback_runs(void);                       /* in this thread: a function of hd_callback (callback.c) */

/* ---- what a program does beside its results (effects.c) */
/* after a run, which it waits for. 0, or a code */
int effects_settle(const Program *, Mem *const *state);

#endif
