/*
 * graph.h - the intermediate representation, whole: values, instructions, regions, graphs; the builder; the
 * passes.
 *
 * A graph is an array of instructions in order: operands precede users. A value is an index (Ref); a map
 * over values is an array; a pass is a `for` loop. 0 is "no value" and, as a tangent or cotangent, "zero".
 * Builders act on the thread's current graph (graph_begin / graph_end), so rules read as mathematics.
 * Every graph is closed: inputs are its only free values, and the first ncap of them are what the function
 * captured.
 */
#ifndef HEDDLE_GRAPH_H
#define HEDDLE_GRAPH_H

#include "base.h"

/* ==================== data */

typedef uint32_t Ref;                           /* a value */

/* dims beyond rank are 0: types compare with memcmp */
typedef struct Type { uint8_t dt, rank; int64_t dim[MAXRANK]; } Type;

/* Operations: one row each in ops.def. */
typedef enum Op {
    OP_NONE,
#define ELEM(name, Name, ...)   OP_##name,
#define STRUC(name, ...)        OP_##name,
#include "ops.def"
    OP_COUNT
} Op;

/* Attributes are lists of integers, by the schema of the op's row: words separated by spaces, a list where
 * the word ends in *. Stored one after the other, each with its count in front ("axis=2, shape=3,4" is 1 2 2
 * 3 4), so that equality is memcmp and hashing, printing and parsing know no op. Words `dtype` print as
 * names, `bits` as the constant they are, `name` and the entries of `names` as the strings that are interned
 * there. */
#define ATTR_MAX 256
typedef struct Attr { int n; int64_t v[ATTR_MAX]; } Attr;      /* for building; an Ins keeps its own copy */
void attr_list(Attr *, const int64_t *v, int n);
void attr_int(Attr *, int64_t v);
#define ATTRS(...) \
    (&(const Attr){ sizeof((const int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t), { __VA_ARGS__ } })

typedef struct Graph Graph;
typedef struct Region Region;

typedef struct Ins {
    uint16_t op;
    int nin, nout, nsub;
    Ref *in;                                    /* operands, all < out */
    Ref out;                                    /* first result; results are out .. out + nout - 1 */
    const int64_t *attr; int nattr;             /* flat, as above */
    const void *blob; size_t nblob;             /* `data`: the bytes of a constant array, row-major */
    Region *region;                             /* op == OP_region */
    Graph **sub;                                /* its bodies */
    Loc loc;                                    /* the user's source line */
} Ins;

/* The k-th attribute of the schema: its values, and how many through *n (n may be NULL). */
const int64_t *ins_attr(const Ins *, int k, int *n);
const int64_t *attr_nth(const int64_t *attr, int nattr, int k, int *n);
Ints ins_ints(const Ins *, int k);
int64_t ins_int(const Ins *, int k);

/* Marks of region operands and results, for each lane axis; also the state of a value in batching. */
typedef enum Mark { SHARED, STACKED, SUMMED } Mark;
static inline uint8_t mark_dual(uint8_t m) { return m == SHARED ? SUMMED : m == SUMMED ? SHARED : STACKED; }

typedef struct Lane {
    int64_t size;
    const char *name;                           /* interned; NULL: no collective can reach it */
    /* a device list, "balanced " in front: uneven; NULL: where the program runs */
    const char *place;
} Lane;

/* What the user says of a function instead of having it looked at: its derivative, forwards or backwards, or
 * what it does to lanes. A call that has a rule is not inlined before the program is compiled. This layer
 * knows no more of a rule than how to ask for the graph that it stands for, which is traced when it is first
 * needed: it may apply the function itself.
 *     RULE_JVP   (operands, tangents of float arguments) -> (results, tangents of float results, those
 *     given)
 *     RULE_VJP   (operands) -> (results, saved); the derivative is a call of `back` on (captures, saved,
 *     tangents)
 *     RULE_BACK  (captures and saved, cotangents of float results) -> (cotangents of float arguments, those
 *     given) RULE_VMAP  (captures, arguments with the lanes on axis 0) -> results with the lanes on axis 0
 * Arguments are the operands after the first nclosed, which are what function and rule captured. */
typedef enum RuleKind { RULE_JVP, RULE_VJP, RULE_BACK, RULE_VMAP } RuleKind;
typedef struct Rule Rule;
/* given: by float result, or argument */
typedef struct Said { Graph *g; const bool *given; const Rule *back; } Said;
typedef bool SayFn(const Rule *, int64_t lanes, Said *);       /* false after an error. lanes: RULE_VMAP's */
struct Rule {
    uint8_t kind;
    int nclosed;
    const char *name; Loc loc;                  /* the function; where it was given the rule */
    SayFn *say;
    /* RULE_BACK, what it is in forward mode: (captures and saved, tangents of float arguments) -> tangents
     * of float results; NULL: it is not known */
    SayFn *push;
    const Rule *(*copy)(const Rule *);          /* into the current arena; NULL: it is all here */
    /* interned: named axes around the call, which the rule may use */
    const char *const *axis; int naxis;
    const struct Batched *batched;              /* that of a call whose lanes are gone; NULL: the user's */
};
/* What it was, and the lanes that are gone; in and out: states of operands and results. masked: the first
 * operand is a mask. */
typedef struct Batched {
    const Rule *rule;
    struct Lane *lane;
    bool masked;
    int nin, nout;
    uint8_t *in, *out;
} Batched;

typedef enum RegionKind { CALL, SCAN, WHILE, COND } RegionKind;
extern const char *const region_kind_name[4];

/* Control flow, calls and device maps: closed bodies run over lanes.
 *     operands  [index (COND, i32),] captures, accumulators, carry, xs       body: (captures, accumulators,
 *     carry, x)
 *     results   accumulators, carry, ys                                            -> (accumulators',
 *     carry', y)
 * Bodies never see the lanes. A stacked operand's leading dimensions are its lane axes, outermost first;
 * then, for xs and ys, the steps; then the example. WHILE has two bodies, condition (one bool) and step;
 * COND one a branch. An accumulator is only added to and used once, so it is always in place. */
struct Region {
    uint8_t kind;
    bool reverse;                               /* SCAN: from the last step to the first */
    bool remat;                                 /* a checkpoint: reverse mode stores only what `save` says */
    /* interned; NULL: nothing; "dots": products; else names of `named`, with commas */
    const char *save;
    bool split;                                 /* all linear or none: not to be split again */
    bool effects;                               /* some body has one: never dead */
    int ncap, nacc, ncarry, nlane;
    int64_t length;                             /* SCAN */
    /* WHILE: its condition holds at most so often; 0: no bound is known */
    int64_t trips;
    Lane *lane;
    /* marks: im[operand * nlane + lane], om[result * nlane + lane] */
    uint8_t *im, *om;
    const Rule *rule;                           /* CALL; NULL: none */
};
static inline int region_npred(const Region *r) { return r->kind == COND; }
static inline int region_nloop(const Region *r) { return r->nacc + r->ncarry; }
/* 'p' 'c' 'a' 'y' 'x': index, capture, accumulator, carry, xs */
char region_group(const Region *, int operand);

/* flags of a value: depends on a tangent; is an accumulator */
enum { V_LIN = 1, V_ACC = 2 };

struct Graph {
    Ins **ins; int nins, ins_cap;
    /* by value; nval counts value 0; def is NULL for inputs */
    Type *type; uint8_t *flag; Ins **def; int nval, val_cap;
    Ref *in; int nin, in_cap, ncap;
    Ref *out; int nout;
    /* under linearisation: a joint region is split as it is emitted */
    bool linear;
    bool rules;                                 /* a call in it, or in a body of it, has a rule */
    HashTable found;                            /* instructions, by what they are */
    const char *name;
};

static inline bool graph_lin(const Graph *g, Ref v) { return g->flag[v] & V_LIN; }
static inline bool graph_acc(const Graph *g, Ref v) { return g->flag[v] & V_ACC; }

/* ==================== types (type.c) */

Type type_of(Dtype, int rank, const int64_t *dim);
Type type_scalar(Dtype);
bool type_equal(const Type *, const Type *);
/* of an array; keys and complex numbers leave room for the axis of their words, their parts */
int type_rank_most(Dtype);
int64_t type_size(const Type *);                /* elements; 1 for rank 0 */
size_t type_bytes(const Type *);
Ints type_shape(const Type *);
const char *type_text(const Type *);            /* "f32[3,4]"; in the arena */
Type type_drop_lead(const Type *, int n);       /* without the first n dimensions */
Type type_add_lead(const Type *, int64_t n);    /* with one more in front */
/* of positions among n: i32 where it counts to n, else i64 */
Dtype type_counter(int64_t n);

/* ==================== the op table (table.c, from ops.def) */

/* Attributes by name: struct gather_attrs has an Ints for each, ATTR(gather, sizes) is which one it is. */
#define LIST(word)                              Ints word;
#define INT(word)                               Ints word;
#define NO_ATTRS
#define ELEM(...)
#define STRUC(name, nin, nout, element, cost, again, attrs) struct name##_attrs { attrs };
#include "ops.def"
#undef LIST
#undef INT
#define ATTR(op, word)  ((int)(offsetof(struct op##_attrs, word) / sizeof(Ints)))
/* Ops that share code share the places of their attributes. */
#define SAME_ATTR(op, other, word) \
    _Static_assert(ATTR(op, word) == ATTR(other, word), #op " and " #other " differ in " #word)

/* Types of the results from those of the operands. 0, or an error code after error_set(). */
typedef int InferFn(Op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out);
/* t: tangents of the operands (0: zero; not all are); z: results, already emitted. Writes tz. Forward mode,
 * in the current graph. */
typedef void JvpFn(const Ins *, const Ref *x, const Ref *t, const Ref *z, Ref *tz);
/* i is linear, in the current graph; ct: cotangents of its results (0: zero; not all are). Adds to those of
 * its operands. */
typedef struct Cts Cts;
typedef void TransposeFn(const Ins *i, const Ref *ct, Cts *);
/* x, s: operands and their states, not all shared; the lane axis of a stacked one is axis 0. Writes results
 * and states. */
typedef struct Axis { Lane lane; Ref mask; } Axis;      /* mask: bool[lanes], which are active; 0: all */
typedef void BatchFn(const Ins *, const Ref *x, const uint8_t *s, const Axis *, Ref *out, uint8_t *so);
/* Exact evaluation on the host: in[k] and out[k] are dense row-major; types t of operands, u of results. 0,
 * or an error code. */
typedef int EvalFn(
    const Ins *, const Type *const *t, const void *const *in, const Type *u, void *const *out);

typedef struct Rules {
    InferFn *infer;
    JvpFn *jvp;
    TransposeFn *transpose;
    BatchFn *batch;
    EvalFn *eval;
} Rules;

/* What an elementwise row accepts, and gives. */
enum {
    F_ = 1,
    I_ = 2,
    U_ = 4,
    B_ = 8,
    C_ = 16, /* complex: it has a row in complex.def, too */
    NUM_ = F_ | I_ | U_,
    INT_ = I_ | U_,
    BITS_ = I_ | U_ | B_,
    ANY_ = 15
};
enum { SAME_, BOOL_, PART_ }; /* PART_: of complex numbers the dtype of their parts */

/* What an element of a result is, for those who write kernels. */
typedef enum OpElement {
    IS_POINT,                                   /* a function of the same element of each operand */
    /* an element of the operand, at an index that follows from its own */
    IS_VIEW,
    IS_PASS,                                    /* the operand's, as it is */
    IS_LEAF,                                    /* a function of the index; or data */
    /* of elements of operands, by a rule of its own in index/elem.c */
    IS_PART,
    IS_SUM,                                     /* of many elements: a reduction or a product */
    IS_OWN,                                     /* part of what a kernel or a step of its own makes */
    IS_GONE                                     /* none: it is rewritten before anything is scheduled */
} OpElement;

#define REF_ONE 0xFFFFFFFFu /* a partial derivative that is 1: the product is not emitted */
#define REF_MINUS 0xFFFFFFFEu                   /* -1 */
/* operands (0 beyond the arity) and result; 0: the derivative is zero */
typedef Ref PartialFn(Ref x, Ref y, Ref w, Ref z);

typedef struct AttrWord { const char *word; bool list; } AttrWord;     /* not a list: one number */
typedef struct OpRow {
    const char *name;
    int nin, nout;                              /* -1: any number */
    const AttrWord *attrs;                      /* the schema of the attributes; ends with a NULL word */
    /* moves: elements are moved and not looked at, so keys may be among them */
    bool elementwise, moves;
    uint8_t accepts, gives;                     /* elementwise rows */
    /* operands are put in order, for finding identical instructions */
    bool commutes;
    PartialFn *partial[3];                      /* elementwise rows; all NULL: zero derivative ... */
    bool no_derivative;                         /* ... or none known: an error when a tangent reaches it */
    uint8_t element;                             /* OpElement */
    /* of an element that is no sum: cheap instructions; instructions of its text */
    int cost, code;
    bool fused;                                 /* a function whose polynomials are of fma */
    bool again;                                 /* cheap enough to be computed again rather than stored */
    const Rules *rules;
} OpRow;
extern const OpRow optab[OP_COUNT];
/* of one element, somewhere */
static inline bool op_views(int op) { return optab[op].element == IS_VIEW || optab[op].element == IS_PASS; }
Op op_find(const char *name);                   /* OP_NONE if there is none */
int callback_results(const int64_t *attr, int nattr);
/* The same call where operands and results have become as(their type); the function sees what they were. */
void callback_again(const Graph *, const Ins *, Type (*as)(const Type *), const Ref *x, Ref *out);
const void *callback_kernel(const Ins *);       /* of hd_kernel its UserKernel (plan.h); NULL */
/* The op's infer, and no key where a number is wanted. */
int op_infer(Op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out);
int op_results(Op, int nin, const int64_t *attr, int nattr);   /* how many; not for regions */

/* ==================== building (emit.c, fold.c) */

Graph *graph_new(void);                         /* in the current arena */
Graph *graph_begin(Graph *);                    /* makes it current; they nest; returns its argument */
/* back to the one before; returns the one that was current */
Graph *graph_end(void);
Graph *cur(void);
Ref graph_input(Type t, uint8_t flag);          /* a new input of the current graph */
/* a value that nothing defines: a placeholder for a tangent */
Ref graph_value(Type t, uint8_t flag);
void graph_outputs(const Ref *, int n);         /* of the current graph */

/* Fold, find an identical instruction, else append. 0 after an error, and at once if an operand is 0. */
Ref emit(Op, int nin, const Ref *in, const Attr *);             /* attr may be NULL */
/* The same for ops of several results: writes out[0 .. nout-1]; returns how many, 0 after an error. */
int emit_n(Op, int nin, const Ref *in, const Attr *, Ref *out);
/* Appends as is: no folding, no finding. flags: one a result. */
Ins *append(Op, int nin, const Ref *in, const Attr *, int nout, const Type *, const uint8_t *flag);
/* The same instruction on other operands in the current graph, at its own place in the source; regions too.
 * out: nout refs. */
void again(const Ins *, const Ref *x, Ref *out);
void graph_inline(const Graph *, const Ref *args, Ref *out);    /* its instructions into the current graph */

/* What a draft of one result (op, operands, attributes) is equal to without being computed, exactly; 0:
 * nothing. */
Ref fold(const Ins *draft, const Type *result);

const Type *typ(Ref);                           /* in the current graph */
const Ins *def(Ref);                            /* NULL for inputs */
bool is_float(Ref);
bool is_complex(Ref);
bool is_inexact(Ref); /* floats and complex numbers: what has a tangent */
/* is v filled with one constant, seen through views? its bits, as stored */
bool const_of(Ref, int64_t *bits);
bool const_is(Ref, double);                     /* filled with this number (sign of zero counts) */

/* Builders. Elementwise ones come from the table: Add(x, y), Exp(x) ... */
#define ELEM(name, Name, arity, ...)    ELEM_DECL_##arity(Name)
#define ELEM_DECL_1(Name)               Ref Name(Ref x);
#define ELEM_DECL_2(Name)               Ref Name(Ref x, Ref y);
#define ELEM_DECL_3(Name)               Ref Name(Ref x, Ref y, Ref w);
#define STRUC(...)
#include "ops.def"
Ref RealPart(Ref); /* parts of complex numbers; and a number of parts */
Ref ImagPart(Ref);
Ref Conj(Ref);
Ref Complex(Ref re, Ref im); /* f32 or f64 */
Ref Select(Ref predicate, Ref x, Ref y);        /* elementwise: x where true */
Ref StopGradient(Ref);
/* the same value, which a checkpoint may save by this name */
Ref NameValue(Ref, const char *interned);
Ref Constrain(Ref, int open, const char *interned);       /* the same value, dealt out over a mesh so */
Ref GammaDraw(Ref y, Ref a, bool logarithm);    /* y, with its derivative by a */
Ref Const(Dtype, double);                       /* scalar; rounded to the dtype */
Ref ConstBits(Dtype, int64_t bits);             /* the element's bits, sign- or zero-extended */
Ref Full(Type, double);                         /* filled with a constant */
Ref FullBits(Type, int64_t bits);
Ref Zeros(const Type *);
Ref Like(Ref v, double);                        /* a constant of v's type */
Ref Data(Type, const void *bytes);              /* a constant array, copied */
Ref Iota(Type, int axis);
Ref Convert(Ref, Dtype);
Ref Bitcast(Ref, Dtype);
Ref ReducePrecision(Ref, int exponent_bits, int mantissa_bits);
Ref Broadcast(Ref, Ints shape, Ints dims);      /* operand's axis k is result's axis dims[k] */
Ref BroadcastLead(Ref, int64_t n);              /* one more axis in front */
Ref Reshape(Ref, Ints shape);
Ref Transpose(Ref, Ints perm);
Ref MoveAxis(Ref, int from, int to);
Ref Slice(Ref, Ints start, Ints limit, Ints step);
Ref SliceAxis(Ref, int axis, int64_t start, int64_t limit);     /* step 1 */
Ref Pad(Ref x, Ref value, Ints lo, Ints hi, Ints interior);     /* value: scalar of x's dtype */
Ref Concat(const Ref *, int n, int axis);
Ref Reverse(Ref, Ints axes);
Ref Shear(Ref, int axis, int along, int64_t step);      /* y[.., i, .., k] = x[.., i + k * step, .., k] */
Ref DiagonalOf(Ref, int axis, int along, int64_t offset);    /* y[.., k] = x[.., k, .., k + offset, ..] */
Ref Reduce(Op, Ref, Ints axes);                 /* OP_reduce_sum ... OP_reduce_xor */
Ref Sum(Ref, Ints axes);
Ref Arg(Op, Ref, int axis, Dtype index);        /* OP_argmax, OP_argmin */
Ref Cumulative(Op, Ref, int axis, bool reverse);
Ref Dot(Ref, Ref, Ints lc, Ints rc, Ints lb, Ints rb, Dtype out);      /* DT_NONE: the operands' dtype */
Ref DynamicSlice(Ref x, Ref starts, Ints sizes, Ints xb);
Ref DynamicUpdate(Ref x, Ref u, Ref starts);
Ref Check(Ref ok, const char *message);         /* interned, as the format below */
Ref DebugPrint(const char *format, const Ref *values, int n);
/* A call of a function on the host at dense arrays: operands of types t, results of types u. 0, or an error
 * code. */
typedef int HostCall(void (*f)(void), void *user, int nin, const Type *t, const void *const *in, int nout,
    const Type *u, void *const *out);
/* f and user are what the call is given; kernel: of hd_kernel, which is not called but launched, where the
 * device has its language; NULL. */
typedef struct HostFn {
    HostCall *call; void (*f)(void); void *user;
    const void *kernel;
    bool batched;
} HostFn;
void Callback(const HostFn *, int nin, const Ref *x, int nout, const Type *, Ref *out);
Ref AxisIndex(const char *name, int64_t size);  /* names of axes are interned */
/* OP_psum ... OP_all_to_all; at, to: axes */
Ref Collective(Op, const char *name, int64_t size, int at, int to, Ref x);
Ref Permute(const char *name, int64_t size, Ref x, Ref source);
Ref Accum(Ref acc, Ref x);
Ref AccumSlice(Ref acc, Ref u, Ref starts, Ints xb);
void Barrier(const Ref *x, int n, Ref *out);

/* Stacks of matrices: the last two axes are rows and columns (matrix.c, ops/linalg*.c). */
int64_t matrix_rows(Ref);
int64_t matrix_columns(Ref);
Ref Turned(Ref);                                /* rows and columns change places */
Ref Conjugate(Ref);                             /* of reals: the same */
Ref Adjoint(Ref);                               /* turned, and conjugate */
Ref Matmul(Ref, Ref);
Ref MatrixPart(Ref, int64_t row, int64_t rows, int64_t column, int64_t columns);
Ref MatrixPad(Ref, int64_t above, int64_t below, int64_t left, int64_t right);  /* with zeros */
Ref Tril(Ref, int64_t diagonal);               /* zeros above that diagonal; 0: the main one, 1: above it */
Ref Triu(Ref, int64_t diagonal);               /* zeros below it */
Ref IdentityLike(Ref);
Ref Mirrored(Ref);                              /* equal to its adjoint, with this lower triangle */
Ref Diagonal(Ref);
Ref MatrixRows(Ref x, Ref rows);                /* the rows whose numbers are in rows[.., k], i32 */
Ref Along(Ref v, Ref x, bool rows);             /* v, an element for each column (or row) of x, broadcast */
/* How a triangular matrix A meets its unknown. Plain: A x = b, A upper. */
enum { TRI_RIGHT = 1, TRI_LOWER = 2, TRI_TRANSPOSE = 4, TRI_UNIT = 8 };
Ref TriangularSolve(Ref a, Ref b, int how);
Ref Cholesky(Ref);
void Qr(Ref, bool full, Ref *qr);               /* q, r */
void Lu(Ref, Ref *lu);                          /* the factors, pivots, the permutation of rows */
Ref Solve(Ref a, Ref b, Ref lu, Ref permutation, bool transpose);
void Eigh(Ref, Ref *wv);                        /* values, vectors as columns */
void Svd(Ref, bool full, Ref *usv);
void Fft(Ref re, Ref im, int axis, bool inverse, Ref *z);      /* re, im */

/* ==================== passes over graphs */

/* dead code gone; renumbered from the results in operand order */
Graph *graph_dce(const Graph *);
/* With only these inputs and outputs (NULL: all), dead code gone. */
Graph *graph_restrict(const Graph *, const bool *keep_in, const bool *keep_out);
void graph_live(const Graph *, const bool *outs, bool *live);           /* live: nval bits */
/* the first that is, in a body too; NULL: none */
const Ins *graph_find(const Graph *, bool (*is)(const Ins *));
int graph_check(const Graph *);                 /* the verifier: 0, or an error that names the instruction */
void graph_print(const Graph *, Text *);
/* NULL after an error with line and column */
Graph *graph_parse(const char *text, const char *name);
/* the same instructions on the same operands: for round-trip tests */
bool graph_equal(const Graph *, const Graph *);

/* ==================== transforms */

/* (x.., tangents of the inputs in wrt..) -> (outputs.., tangents of float outputs..) */
Graph *graph_jvp(const Graph *, const bool *wrt);
/* (x.., cotangents of float outputs..) -> (outputs.., cotangents of the inputs in wrt..) */
Graph *graph_vjp(const Graph *, const bool *wrt);
/* The same derivative in two graphs: (x..) -> (outputs.., residuals..), and, linear, (residuals.., tangents
 * of the inputs in wrt..) -> tangents of float outputs. 0, or a code. */
int graph_linearize(const Graph *, const bool *wrt, Graph **primal, Graph **linear);
/* The first instruction whose derivative by the inputs in wrt depends on where it is taken; NULL: it is
 * linear in them. */
const Ins *graph_nonlinear(const Graph *, const bool *wrt);
/* Inlines g into the current graph with its jvp: P, T by value of g; inputs are set by the caller. */
void jvp_into(const Graph *, Ref *P, Ref *T);
/* x: primal and tangent for every input where tin; outputs primal and, where tout, tangent (zeros made
 * real). */
Graph *graph_joint(const Graph *, const bool *tin, const bool *tout);
Ref or_zero(Ref tangent, Ref primal);           /* zeros like the primal for 0 */

/* Walks linear instructions ins[0..n) of the current graph backwards. */
Ref ct_get(const Cts *, Ref v);
/* ct in the dtype of the cotangent so far: half floats are summed in f32 */
Ref ct_like(const Cts *, Ref v, Ref ct);
void ct_set(Cts *, Ref v, Ref ct);
/* adds; in place where the cotangent so far is an accumulator; 0 is fine */
void ct_add(Cts *, Ref v, Ref ct);
Cts *cts_new(void);
void transpose_walk(Cts *, Ins *const *ins, int n);

/* Inlines g into the current graph over lanes: V, S by value of g (value, state). elim: regions lose the
 * axis at once. */
void batch_into(const Graph *, Ref *V, uint8_t *S, const Axis *, bool elim);
Graph *graph_batch(
    const Graph *, const uint8_t *in, const uint8_t *out, const Lane *, bool masked, bool elim);
Ref stacked(Ref, uint8_t state, int64_t n);     /* with the lanes on axis 0; a broadcast if it is shared */
Ref active(Ref, uint8_t state, const Axis *);   /* stacked, and zero where a lane is idle */
Ref lane_sum(Ref, uint8_t state, const Axis *); /* the sum over active lanes */
Ref settle(Ref, uint8_t state, uint8_t want, const Axis *);
Graph *graph_matrix(const Graph *);             /* a lowering: no region has lanes any more */
bool graph_has_lanes(const Graph *);
/* a lowering: key[..] is u32[.., 2]; g itself where there is none */
Graph *graph_without_keys(const Graph *);
/* a lowering: f8_e4m3fn, f8_e5m2 and u4 are u8, i4 is i8; g itself where there is none */
Graph *graph_without_stored(const Graph *);
/* a lowering: c64[..] is f32[.., 2], c128[..] f64[.., 2]; g itself where there is none */
Graph *graph_without_complex(const Graph *);

/* ---- arrays over devices: a grid of shards, numbered row by row, and for each of its axes the axis of the
 * array that is dealt out along it, -1: each shard has all of it. Several may deal out one axis of the
 * array, the first in the largest pieces. */
enum { MESH_AXES = 4 };
/* interned; NULL: none */
typedef struct Mesh { int naxis; int64_t size[MESH_AXES]; const char *name[MESH_AXES]; } Mesh;
typedef struct Dealt { int8_t over[MESH_AXES]; } Dealt;
int64_t mesh_shards(const Mesh *);
int64_t mesh_place(const Mesh *, int axis, int64_t shard);      /* where a shard is along the axis */
Type mesh_share(const Mesh *, const Dealt *, const Type *);      /* what a shard has of it */
/* The first element of a shard's share along each axis. */
void mesh_start(const Mesh *, const Dealt *, const Type *, int64_t shard, int64_t *start);

/* ---- arrays over a mesh (transforms/sharded.c) */
/* How a value of this type is to be dealt out, by the text of a constraint; axes before the first are left
 * as they are. 0, or a code. */
typedef int SpecFn(const Mesh *, const char *text, int first, const Type *, Dealt *out);
/* Collectives that were put in: sums (psum, pmax, pmin, psum_scatter), gathers (all_gather), exchanges
 * (all_to_all). text: NULL, or a line is added for each operand that is gathered or moved since its op needs
 * it so. */
typedef struct Moves {
    int sums, gathers, exchanges; Text *text;
    /* what the text of a constraint means; NULL: there is none */
    SpecFn *spec;
} Moves;
/* What each shard computes; in: how each input is dealt out, which divides it; out: how the results are. The
 * program has neither rules nor effects nor places. */
Graph *graph_sharded(const Graph *, const Mesh *, const Dealt *in, Dealt *out, Moves *);
/* What shards reduce: each reduces all, which it gathers; or its part, in one exchange; or its part, which
 * is dealt out, and gathered again, in exchanges of their own. */
typedef enum ReduceWay { REDUCE_WHOLE, REDUCE_IN_PARTS, REDUCE_IN_STEPS } ReduceWay;
/* direct: up to so many bytes of all shards whole, more in parts; -1: in parts, as shards may compute other
 * bits from the same values. steps: parts in steps, as between ranks and between near devices. */
typedef struct Together { int64_t direct; bool steps; } Together;
/* Its collectives over axes of the mesh become exchanges (transforms/placed.c); further inputs are where a
 * shard is along each axis. */
Graph *graph_exchanging(const Graph *, const Mesh *, const Dealt *in, Together);

/* ---- axes with a place (transforms/placed.c, grid.c) */
Graph *graph_unplaced(const Graph *);           /* a lowering: they become lanes of the program itself */
bool graph_has_places(const Graph *);           /* is there such an axis, in a body too? */
bool graph_has_pieces(const Graph *);           /* is anything to be run by several devices? */
/* The axes of a grid of shards, the outermost first, each with a name of its own. */
typedef struct Places { int n; Lane axis[MESH_AXES]; } Places;
/* the places of an instruction and of what is inside it; n is 0: none */
Places grid_of(const Ins *);
Mesh grid_mesh(const Places *);
/* A call over a place, its outermost lane axis, or a region with such a call inside; or, where `over` is
 * NULL, what one device computes between. at: of a call, the axis of the value that its shards are shares
 * of. */
typedef struct Piece { const Ins *over; Graph *g; int nin, nout; Ref *in, *out; int *in_at, *out_at; } Piece;
/* The program in pieces, in an order in which they can run; their operands and results are values of *moved,
 * which has the inputs and outputs of the program. How many; 0 after an error. */
int graph_pieces(const Graph *, const Graph **moved, Piece **out);
/* What one shard computes: inputs are its shares of the operands, then its place along each axis of the
 * grid, an i32. What is left of its collectives are exchanges. in, out: by operand and result, how it is
 * dealt out. */
Graph *graph_shard(const Piece *, const Graph *, const Places *, Together, Dealt *in, Dealt *out);
/* A collective as exchanges and ops over axis 0. What is exchanged: all_gather and all_to_all with at = to =
 * 0, ppermute; psum, pmax and pmin of x[shards, chunks, length], in parts; each has a name of its own.
 * index: the number of the shard. */
Ref collective_exchanged(const Ins *, const Ref *x, Ref index, Together, int *exchanges);
bool op_reduces(const Ins *);                   /* psum, pmax or pmin */
/* What such an exchange computes of a chunk of x: [shards, length] -> [length]. */
Graph *reduce_chunk(const Ins *, const Type *x);
/* What shards reduce, each all that is gathered, or its part. */
Ref reduced_over(Op, const char *axis, int64_t size, ReduceWay, Ref x, int *exchanges);
Ref exchange_first(const Lane *, Ref x, int *exchanges);        /* what the first shard along an axis has */
/* is there a collective, in a body too? axis_index does not count */
bool graph_exchanges(const Graph *);
bool ins_exchanges(const Ins *);
/* An exchange of shards, or a region that has one: all shards come to all of them, in the order of the graph
 * in which they became exchanges, whatever each device's own graph is rewritten to. */
bool ins_ordered(const Ins *);
bool op_meets(const Ins *);                     /* is it a collective, or axis_index? */
const char *op_axis_name(const Ins *);          /* its axis; NULL for any other */
/* A collective over this axis in the graph, or in a body of it; axis_index does not count. NULL: none. */
const Ins *graph_meets(const Graph *, const char *axis);
/* ... in a body of the region; NULL for no axis, too */
const Ins *region_meets(const Ins *, const char *axis);

/* ---- effects (transforms/effects.c): what a program does beside its results. While transforms run they are
 * instructions that are never dead; then they become results that nobody asked for, which the front end
 * reads after a call. */
bool op_effect(int op);
bool ins_effect(const Ins *);                   /* an effect, or a region that has one */
bool graph_effect(const Graph *);
/* the same without effects, of which it is none */
void again_quiet(const Ins *, const Ref *x, Ref *out);
Graph *graph_quiet(const Graph *);              /* without any */
/* One piece of a format, up to a value, added to t (or not: NULL): "ab{{c" as "ab{c". Returns what is behind
 * it; *value: was a value there? NULL: a brace by itself. */
const char *format_piece(const char *format, Text *t, bool *value);
/* An effect of a program. Its place orders it in time: for each region around it its number in the graph,
 * the body, and whether it loops (1, or -1 in reverse); then its own number. */
typedef struct EffectStep { int at, body, loop; } EffectStep;
typedef struct Effect {
    int op;
    const char *text; Loc loc;                  /* the message, or the format */
    EffectStep *place; int nplace, nloop;
    /* the lanes of its records; the last nown are behind the rows */
    Lane *lane; int nlane, nown;
    int64_t rows;                               /* debug_print: of its ring; 0: outside loops, one record */
    int first, nstate; Type *state;             /* among the results of the program */
} Effect;
/* nout: results they take, behind the others */
typedef struct Effects { Effect *effect; int n, cap, nout; } Effects;
/* Without effects g itself. First of the new results, where there are checks: bool, has one failed? Then
 * what each has:
 *   check        a code for each loop around it, outermost first: the step of its first failure + 1, or 0; 1
 *   outside loops
 *   debug_print  how many records there were; rows of: whether there is a record; its steps (in loops); its
 *   values */
Graph *graph_lift_effects(const Graph *, Effects *);

/* What a set of values reaches. tangent: which have tangents; else which differ by lane of the axis named
 * (NULL: any). */
void affected(const Graph *, const bool *in, bool tangent, const char *axis, bool *on);

/* ---- regions (transforms/region*.c) */
Region region_plain(RegionKind, int ncap, int nacc, int ncarry);        /* no lanes */
/* Normalises (inlines plain calls, hoists invariants, drops what is unused, splits a joint region), then
 * appends. */
void emit_region(const Region *, int nin, const Ref *in, int nsub, Graph *const *sub, Ref *out);
void append_region(const Region *, int nin, const Ref *in, int nsub, Graph *const *sub, Ref *out);
int region_check(const Ins *, const Graph *);
Type region_result(const Region *, int nsub, Graph *const *sub, int k);
void region_bits(const Region *, int nin, int nsub, Graph *const *sub, const bool *in, bool tangent,
    const char *axis, bool *out);
void region_live(const Region *, int nin, int nsub, Graph *const *sub, bool *res, bool *in);
/* Only the results in res, which it closes over the carry; in: the operands left; out, bodies: what is left
 * of the region. */
void region_restrict(
    const Region *, int nin, int nsub, Graph *const *sub, bool *res, bool *in, Region *out, Graph **bodies);
/* ---- loops of scalars (transforms/elements.c) */
/* Captures and carry -> the next carry, or whether to go on. At most 24 operands. */
typedef void StepFn(const Ref *x, Ref *out);
/* While more: carry = step. x: the captures and the first carry. */
void loop_while(StepFn *more, StepFn *step, int ncap, int ncarry, const Ref *x, Ref *out);
typedef void ScalarFn(const Ref *x, Ref *y, const void *env);
/* f for every element of a shape. x: scalars, which all share, and arrays of the shape. y: zeros after an
 * error. */
void each_element(ScalarFn *f, const void *env, int n, const Ref *x, Ints shape, int ny, Ref *y);

void region_jvp(const Ins *, const Ref *x, const Ref *t, Ref *z, Ref *tz);
void region_transpose(const Ins *, const Ref *ct, Cts *);
void region_batch(
    const Ins *, const Ref *x, const uint8_t *s, const Axis *, bool elim, Ref *out, uint8_t *so);

/* ---- results that are not what they should be (transforms/wrong.c) */
/* What HEDDLE_WRONG says is wrong on this kind of device; else g itself. NULL after an error. */
Graph *graph_wrong(Graph *g, const char *kind);
/* Every float result is a rounding off, as an order of sums or a function of a few ULP might have it. */
Graph *graph_shaken(const Graph *, uint32_t seed);

/* ---- rules (transforms/rule.c) */
extern const char *const rule_word[];           /* by kind, as text has it */
/* of a call that was text: asking it is an error */
const Rule *rule_lost(RuleKind, int nclosed, const char *name);
/* notes in the graph that the region asks a rule */
void rule_asked(Graph *, const Region *, int nsub, Graph *const *sub);
const Rule *rule_copy(const Rule *);           /* NULL for NULL */
/* A call in a body that has to be batched where vmap takes the axis: its rule is for lanes, or may use the
 * axis. */
bool region_asks(const Region *, int nsub, Graph *const *sub, const char *axis);
/* g with what is left of derivatives for reverse mode as the functions of tangents that they are; NULL after
 * an error: the rule of one does not say */
Graph *graph_forward(Graph *);
Graph *graph_without_rules(const Graph *);      /* a lowering: calls with rules are inlined */

#endif
