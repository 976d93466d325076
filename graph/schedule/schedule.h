/*
 * schedule.h - between the files of the scheduler. Private to graph/schedule/.
 */
#ifndef HEDDLE_SCHEDULE_H
#define HEDDLE_SCHEDULE_H

#include "plan.h"
#include "prepare.h"
#include "spec.h"

/* Who evaluates a value: the root's outer space (of that root alone), the loops inside, the symbolic
 * index. */
typedef struct Need { const Vars *space; Ref root; const Vars *loops; const Idx *idx; } Need;
typedef struct Needs { Need *k; int n, cap; } Needs;

/* A kernel's worth of work before merging: a value, or the results of one instruction. */
typedef enum RootKind { ROOT_VALUE, ROOT_SUMS, ROOT_INS, ROOT_STEPS } RootKind;
typedef struct Root {
    RootKind kind;
    Ref v;                                      /* what is stored (SUMS: partial sums of x) */
    /* SUMS; INS: of the shape of the result of ins, a function of it, stored in its stead as v; 0: v is the
     * result */
    Ref x; int64_t chunk;
    const Vars *space, *inner; const Idx *idx;  /* outer variables, loops inside, index of v */
    const Ins *ins; SpecKind spec; bool *live;  /* INS, STEPS */
    /* merge.c: stored values that it loads; cost of its instructions */
    Need *read; int nread; int code;
} Root;
/* Is it loops over elements, which others may share? */
static inline bool root_merges(const Root *r) { return r->kind == ROOT_VALUE || r->kind == ROOT_SUMS; }

typedef struct Sched {
    const Graph *g; const Prepared *prepared;
    const Target *target;
    Plan *plan;
    const char *prefix;                         /* of kernel names */
    MemRef *stored;                              /* by value */
    Needs *need; Seen needed;                   /* by value */
    bool *out, *force, *natural; int *depth;    /* by value; natural: no layout of its own */
    int *sums;                                  /* by value: sums on the way to it from a root, at most */
    /* by value: lines that computing it takes, all that it needs included; of a root: lines so far */
    double *lines, *text, *turns;               /* turns: of a root: of the innermost loop, all together */
    bool *summing;                              /* by value: is it a sum, or made of one? */
    /* memory of the walks that are made for each root or kernel, and of those inside of them */
    DemandWalk walk, inside;
    Seen loads;                                 /* what they have met */
    int *walked;                                /* by value: roots whose outer space was looked for there */
    Root **root; int nroot, root_cap;           /* in reverse order of values */
    MemRef **packed;                             /* by value, by dimension: turned copies made so far */
} Sched;

void need_add(Sched *, Ref v, const Idx *, const Vars *space, Ref root, const Vars *loops);
/* a function of the index alone: nothing to gain from storing it */
bool index_only(const Sched *, Ref v);
void text_open(Sched *);                        /* counts lines */
void text_root(Sched *, const Root *);          /* those of the value itself */
/* more lines than a kernel has, if that many turns of its loops take longer than a launch */
bool text_exceeds(const Machine *, double lines, double turns);
bool store_pays(const Sched *, const Ins *, Ref v);
Root *root_value(Sched *, Ref v);
Root *root_sums(Sched *, const Ins *);          /* NULL: not such a sum */
Root *root_ins(Sched *, const Ins *);           /* regions and own shapes */

typedef struct Group { Root **root; int n, cap; int code; double text, turns; } Group;
Group *merge_roots(Sched *, int *n);
/* Copies that the kernel wants of its operands become kernels before it. */
Spec *shape_spec(Sched *, const char *name, const Vars *space, const Store *, int nstore, Refs made);
Spec *shape_ins(Sched *, const char *name, const Root *);
/* the same of a sort; its kernels but the last one are steps */
Spec *shape_sort(Sched *, Spec *, Loc);
void schedule_kernel(Sched *, Spec *, Loc);     /* a step */
void spec_grid(Spec *);                         /* its axes, and the work of all */
/* shape_group.c: on machines whose groups have several items; false: the kernel is not of that kind */
bool grouped(const Machine *);
typedef struct Traffic Traffic;
bool group_map(Spec *, const Traffic *, const Vars *space);
bool group_rows(Spec *, const Traffic *, const Vars *space);
/* items for rows of n elements, of which each has about so many; 0: for each row one */
int64_t group_items(const Machine *, double n, int64_t each);
bool group_columns(Spec *, const Traffic *);
/* shape_tile.c: tiles in local memory, of a product, or of what is loaded across */
bool group_product(Spec *, const Traffic *, const Vars *space);
bool group_turned(Spec *, const Traffic *, const Vars *space);
void spec_group(Spec *);
void spec_stages(Sched *, Spec *);              /* phases, private rows, loops over copies (stage.c) */
void spec_share(Spec *);                        /* the same of own shapes (share.c) */
void spec_bodies(Spec *);                       /* of regions: how their bodies are run (bodies.c) */
void spec_alone(Spec *);                        /* one work-item does it */
Buffer *schedule_buffer(Sched *, SlotKind, Dtype, int64_t size, const char *name);

/* small kernels that follow one another become one (join.c) */
void join_plan(Plan *, const Machine *);
Plan *schedule_graph(const Prepared *, const Target *, const char *prefix);

/* ==================== what a kernel loads and computes, counted symbolically (traffic.c) */

/* v: what is loaded */
typedef struct Load { Form f; const Vars *loops; bool store; Ref v; const Idx *idx; Dtype dt; } Load;
/* deps: of the element; of a reduction's steps, its result's */
typedef struct Work { int op; double cost, code; const Vars *loops; const AtomSet *deps; } Work;
struct Traffic {
    Sched *s; Refs made;
    Load *load; int nload, load_cap;
    Work *work; int nwork, work_cap;
    Load *tile; int ntile, tile_cap;            /* loads inside reductions, for each reduction */
    int nred;
};

void traffic_count(Traffic *, const Store *, int nstore);

/* Does about half of what reductions load not depend on a? Then a block of it shares those loads. */
bool traffic_shared(const Traffic *, const Atom *a);
/* panels (shape_panel.c): does a work-item copy what is loaded here for itself; is it loaded beside that */
bool panel_reads(const Spec *, const Traffic *, const Load *, const Vars *space);
bool panel_passes_by(const Spec *, const Traffic *, const Load *, const Vars *space);
void choose_panels(Spec *, const Traffic *, const Vars *space);

/* Elements between lanes if a is the vector; false: each lane goes its own way. */
bool form_stride(Form, const Atom *, int64_t *);
bool form_depends(Form, const Atom *);
bool form_opaque(Form, const Atom *);           /* does a occur inside another atom? */
/* of a vector of them, in loads: 1, load_near, load_far */
double load_cost(const Machine *, const Load *, const Atom *);
const Atom *loops_phase(const Vars *);          /* the vector of the outermost loop; NULL without loops */

/* ==================== the loops of a kernel as they are planned: between stage.c and roll.c */

/* What is evaluated: the kernel's graph, or the body of a step in rows. */
typedef struct Outside { Ref v; Form lead[MAXRANK + 1]; int nlead; } Outside;
struct Frame {
    const Graph *g;
    const MemRef *stored; Insteads instead; Refs made;
    struct Frame *outer;                        /* NULL: the kernel's graph */
    /* by value, number + 1: what is an element of outer, at lead + index */
    Outside *outside; int *outside_of;
    UserCount users;
    Map rows;                                   /* (value, index) -> the phase that writes it, + 1 */
};

typedef struct Planner {
    Sched *s; Spec *spec; const Machine *m;
    struct Frame *fr;
    const Store *st; int nst;
    Envs envs;                                  /* copies of a block; bases are variables */
    int inner_cap;
} Planner;

MemRef frame_stored(const struct Frame *, Ref);  /* buf NULL: computed */
bool frame_leaf(const struct Frame *, Ref);     /* stored, or outside */
/* 1: one element or side by side; load_far: each lane for itself */
int loop_price(const Machine *, Form, const Atom *);

/* Which copies become a loop when they are stored, or summed (want), in phase number `phase`. */
typedef struct Copies { Envs envs; int phase; } Copies;
Rolled roll_of_stores(const Planner *, const Copies *, const int *store, int n);
Rolled roll_of_sums(const Planner *, const Copies *, const Want *, int n);

#endif
