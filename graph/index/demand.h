/*
 * demand.h - which elements of which operands an element of a graph's value needs.
 *
 * The element rule of every op, walks over operands, and what walks count with: interned indices, lists of
 * variables, sets.
 */
#ifndef HEDDLE_DEMAND_H
#define HEDDLE_DEMAND_H

#include "graph.h"
#include "index.h"

/* ==================== the element rule (elem.c): which elements of which operands an element needs */

/* at: concat: where the part begins */
typedef struct Demand { Ref v; const Form *idx; int n; int64_t at; } Demand;

/* Operand demands of element idx of result k of an op that is not a reduction, region or own shape. Views
 * give one; const, data and iota none; concat the parts that the index range can meet. Returns how many;
 * *out in the arena. Where an operand is needed at the same index, that is idx itself. */
int elem_rule(const Graph *, const Ins *, int k, const Form *idx, Demand **out);
/* The variables a reduction or dot runs over, and its operands' demands (1 or 2). Variables are named by
 * (extents, position, depth), so the same element demanded by two loops has the same name: that is how rows
 * are found. */
int elem_reduce(const Graph *, const Ins *, const Form *idx, const Atom *const **ks, int *nk, Demand out[2]);
/* the same ones whoever asks */
const Atom *const *elem_space(const char *kind, const int64_t *extent, int n, int depth);
void elem_open(void);                           /* forgets the names: after form_open */
int elem_depth(const Form *idx, int n);
double elem_cost(const Graph *, const Ins *);   /* of one element, in cheap instructions */
const AtomSet *idx_deps(const Form *, int n);

int elems_of(const Form *, int n, const Atom ***);     /* the A_ELEM atoms inside, outermost only */
bool idx_equal(const Form *, const Form *, int n);      /* forms are interned: pointers */

/* What v needs at idx: elem_rule or elem_reduce, whichever it is. Leaves (inputs, constants, own shapes)
 * give 0. */
int demands_of(const Graph *, Ref v, const Form *idx, Demand **out, const Atom *const **ks, int *nk);

/* ==================== what walks count with (sets.c)
 * Indices and lists of variables are interned while a program is scheduled: equal ones are the same
 * pointer. */

typedef struct Idx { int n; const AtomSet *deps; Form f[]; } Idx;
typedef struct Vars { int n; double vol; const Atom *a[]; } Vars;       /* vol: product of the extents */
void sets_open(void);
const Idx *idx_of(const Form *, int n);
const Vars *vars_of(const Atom *const *, int n);
const Vars *vars_join(const Vars *, const Atom *const *, int n);        /* more behind */
/* up to the innermost one that is in the set */
const Vars *vars_upto(const Vars *, const AtomSet *);
/* volume of both in a row, up to the same */
double vars_vol_upto(const Vars *, const Vars *, const AtomSet *);
double vars_vol_in(const Vars *, const AtomSet *);                      /* volume of those in the set */
bool set_meets(const AtomSet *, const Vars *);
bool set_covers(const AtomSet *, const Vars *);
static inline int64_t atom_extent(const Atom *a) { return a->hi + 1; }

typedef struct Seen { int n, cap; uint64_t (*key)[4]; } Seen;           /* a set of keys; zero it */
bool seen_add(Seen *, uint64_t, uint64_t, uint64_t, uint64_t);          /* true if it is new */
bool seen_has(const Seen *, uint64_t, uint64_t, uint64_t, uint64_t);
void seen_clear(Seen *);                        /* empty again, in the same memory */
#define PTR(p)  ((uint64_t)(uintptr_t)(p))

/* ==================== the walk (walk.c): from an element to what it needs
 * Each element is visited once for each tag, each frame and each list of loops around it (of which those
 * count that it depends on).
 * Whether indices that are elements of values themselves are walked as well is a question of what is asked:
 * `computed`, where it is what is loaded or evaluated; not where it is how indices follow from loops. */

/* to its operands; not to them; nowhere */
typedef enum Onward { WALK_INTO, WALK_PAST, WALK_DONE } Onward;
typedef struct Visit {
    Ref v; const Form *idx; const Idx *key;     /* NULL: the value, whichever element */
    const Ins *i;                               /* NULL: an input */
    /* operands get what visit() leaves here. fr: what evaluates g, if that matters */
    const Graph *g; struct Frame *fr; int tag; const Vars *loops;
    /* after visit_demands(): what it needs, and the loops of a reduction */
    bool known; int n; Demand *d; const Atom *const *ks; int nk;
} Visit;
typedef struct DemandWalk DemandWalk;
struct DemandWalk {
    const Graph *g; struct Frame *fr;           /* where it begins */
    Onward (*visit)(DemandWalk *, Visit *);
    void (*leave)(DemandWalk *, Visit *);       /* after all that it needs; NULL: of no interest */
    void *ctx;
    bool computed;
    Seen seen;                                  /* kept from one start to the next */
    struct Todo *todo; int ntodo, todo_cap;
};
/* A walk like that one, which begins anew in the memory that w has. */
DemandWalk *walk_anew(DemandWalk *w, DemandWalk like);
/* loops: NULL: of no interest. true: visit() said WALK_DONE. */
bool demand_walk(DemandWalk *, Ref v, const Form *idx, int tag, const Vars *loops);
bool value_walk(DemandWalk *, Ref v);           /* over values, not their elements */
void visit_demands(Visit *);
/* in visit(): here as well, with the frame, tag and loops of this one */
void walk_to(DemandWalk *, const Visit *, Ref v, const Form *idx);
bool walk_met(const DemandWalk *, const Visit *, int tag);     /* has it been visited with that tag? */

/* ==================== how often values are used where elements of some are computed (users.c)
 * leaf: what is not computed, but is there. Users of a value: how many operands it is, of which op last. */
typedef struct Users { int n, op; } Users;
typedef struct UserCount {
    const Graph *g;
    bool (*leaf)(const void *frame, Ref); const void *frame;
    Map of;                                     /* value -> Users */
} UserCount;
void users_count(UserCount *, DemandWalk *memory, const Ref *roots, int n);
/* A sum that is computed, and used once, by an addition: it may begin at what is added. */
bool users_chain(const UserCount *, Ref sum);

/* ==================== regions: the first indices of a value with these marks, in lane `lane` */
int lane_lead(const Region *, const uint8_t *mark, const Form *lane, Form *lead);

/* ==================== what the body of a region costs (body.c). Bodies must be expanded before they are
 * judged. */

/* elements of the carry and accumulators */
double body_state(const Graph *, const Region *, bool acc_only);
double body_code(const Graph *);                /* instructions of a body with everything unrolled */
/* instructions an evaluation of every element of a body costs */
double body_weight(const Graph *);
double region_turns(const Region *);            /* of a loop; a while is taken to make TURNS */
void body_dynamic(const Graph *, bool *dyn);    /* which inputs are read at computed indices */

/* Does some factor of v depend on a part of its dimensions behind the first `rows` alone? (factor.c) Then a
 * register tile is better than rows of sums. columns: does it need reductions over rows? May be NULL. */
bool outer_product(const Graph *, Ref v, int rows, int dear, bool *columns);

#endif
