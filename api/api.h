/*
 * api.h - the front end, private: how symbols, trees, arrays and functions are held, and what ops are written with.
 *
 * An op of heddle.h is a few lines: OP(name) at entry takes the source line the user's macro left; unify() or sym_ref() turn
 * symbols into values of the graph being traced; builders of graph.h make the result; sym_of() gives it back.
 *
 *     hd hd_add(hd x, hd y) { OP(hd_add); return elem(OP_add, 2, (hd[]){ x, y }); }
 *     hd hd_ravel(hd x)     { OP(hd_ravel); return sym_of(Reshape(sym_ref(x), ...)); }
 *
 * Failure is sticky: sym_ref of HD_NIL is 0, builders of 0 give 0, sym_of(0) is HD_NIL.
 */
#ifndef HEDDLE_API_H
#define HEDDLE_API_H

#define HD_PLAIN
#include "heddle.h"
#include "graph.h"
#include "kernel.h"
#include "backend.h"

_Static_assert((int)DT_BOOL == HD_BOOL && (int)DT_F32 == HD_F32 && (int)DT_C128 == HD_C128, "dtypes are numbered as in heddle.h");
_Static_assert((int)E_INTERNAL == HD_EINTERNAL && (int)E_DIFF == HD_EDIFF, "codes are numbered as in heddle.h");
_Static_assert(MAXRANK == HD_MAX_RANK, "ranks");

/* ==================== places (place.c)
 * hd_at_ pushes (file, line, op); an op takes the top entry if it is its own and keeps what it calls, and what the user's
 * functions that it calls push, away from the entries below. The place stays until the next op, so ops may be built of ops. */
typedef struct At { int floor, height; } At;
At at_enter(void (*op)(void));
void at_leave(At *);
#define OP(f) __attribute__((cleanup(at_leave), unused)) At at_ = at_enter((void (*)(void))(f))

/* ==================== trees: the shape of what functions take and return (tree.c). In an arena; never change.
 * Dictionaries are in order of their keys, which are interned. */
typedef enum TreeKind {
    T_LEAF,                                     /* an array of `type` */
    T_WEAK,                                     /* a constant without a dtype of its own: `value`; type is what it is alone */
    T_NIL,                                      /* nothing: no leaf */
    T_DICT, T_TUPLE
} TreeKind;
typedef struct Tree Tree;
struct Tree {
    TreeKind kind;
    Type type; double value;
    int n; const char *const *key; const Tree *const *part;
    int nleaf;                                  /* T_LEAF and T_WEAK below, itself included */
};
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
uint64_t tree_hash(const Tree *);
void tree_types(const Tree *, Type *out);       /* of the leaves, in order */
void tree_leaves(const Tree *, const Tree **out);
const char *tree_text(const Tree *);            /* "{b: f32[], w: f32[2]}"; in the arena */
/* where the k-th leaf is: ".w", "[1].w", "" for a bare leaf; in the arena */
const char *tree_path(const Tree *, int leaf);
int key_order(const char *const *key, int n, int *order);      /* sorts; an error for two alike */

/* ==================== symbols (trace.c) */

/* A symbol's value in the current trace. Symbols of enclosing traces are captured; a constant without dtype becomes f32.
 * 0 for HD_NIL; an error for trees, for symbols of traces that have ended, and outside any trace. */
Ref sym_ref(hd);
Ref sym_ref_as(hd, Dtype);                      /* a constant takes this dtype (an error if it does not fit); others as they are */
hd sym_of(Ref);                                 /* HD_NIL for 0 */
hd sym_const(double);                           /* hd_c */
bool sym_weak(hd, double *value);               /* is it a constant without dtype? value may be NULL */
bool sym_tree(hd);                              /* is it a dictionary or tuple? false for HD_NIL */
bool sym_absent(hd);                            /* HD_NIL, and no error is pending */
bool sym_usable(hd);                            /* else an error is pending */
bool tracing(void);                             /* is a program being traced here? else an error */

/* Operands brought to one dtype: constants take that of the arrays (all constants: f32), arrays of two dtypes are an error
 * that names hd_cast. what: the op's name for messages. 0, or a code. */
int unify_dtype(const char *what, int n, const hd *x, Ref *r);
int unify_shape(const char *what, int n, Ref *r);               /* broadcasts them to one shape, as numpy does */
int unify(const char *what, int n, const hd *x, Ref *r);        /* both */
Ref broadcast_to(Ref, Ints shape);              /* numpy's rule, to exactly this shape; 0 after an error */
/* An elementwise row on unified operands. Constants alone give a constant again, where the row keeps the dtype. */
hd elem(Op, int n, const hd *x);

/* Axes. what: the op's name. */
int axis_of(const char *what, int64_t axis, int rank);          /* 0 .. rank-1, or -1 after an error */
/* Reduction lists: empty is all; HD_KEEP at the end sets *keep (NULL: not allowed); sorted, none twice. 0, or a code. */
int axes_of(const char *what, hd_ints axes, int rank, Ints *out, bool *keep);
int ints_in(const char *what, hd_ints, Ints *out);              /* a list as it is, its count checked */
hd_ints ints_out(Ints);
int sym_count(const hd *, int n);               /* n, or for n < 0 how many before HD_END */

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
hd *sym_build(const Tree *, const Ref *leaves, hd *out);        /* a symbol of this shape; weak leaves ignore their Ref */

/* ==================== functions (func.c, trace.c, transform.c) */

/* What a function captured: a symbol of an enclosing trace, or data. */
typedef struct Store Store;
typedef struct Cap { hd sym; Store *data; Type type; } Cap;
/* A function at given argument types. inputs of g: the captures, then one for each leaf of the arguments; outputs: one for
 * each leaf of the result. */
typedef struct Traced { Graph *g; const Cap *cap; int ncap; const Tree *in, *out; } Traced;

const Traced *graph_of(hd_fn *, const Tree *args);              /* args: a tuple. NULL after an error */
hd apply(hd_fn *, const hd *args, int n);       /* hd_apply for ops that take functions */
uintptr_t fn_user(const hd_fn *);               /* the C function it is, with nothing bound; 0 for any other */
const char *fn_name(const hd_fn *);             /* for messages */
/* A library function of symbols as a function: interned. env is copied. */
hd_fn *fn_internal(hd (*f)(const hd *args, int n, void *env), const void *env, size_t size, const char *name);

#endif
