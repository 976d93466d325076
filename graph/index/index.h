/*
 * index.h - index forms: affine sums of atoms with ranges.
 *
 * Forms say *where*; reshapes, tiles, panels and layouts are all this. Nothing here knows what a graph is:
 * an element of a graph's value inside a form is a name (A_ELEM).
 */
#ifndef HEDDLE_INDEX_H
#define HEDDLE_INDEX_H

#include "base.h"

typedef struct Graph Graph;
typedef uint32_t Ref;
typedef uint32_t Val;                           /* a value of a kernel; 0 is none */

enum { W = 16 };                                /* lanes of a vector in the cpu shape */

/* ==================== index forms (form.c)
 * Forms and atoms are interned: equal ones are the same pointer. They live in the current arena; form_open()
 * starts a new table (one a compilation), form_close() ends it. */

typedef struct Atom Atom;
typedef struct Term { const Atom *a; int64_t k; } Term;
/* c + sum of k * a, sorted by atom id, k != 0 */
typedef struct FormRec { int64_t c; int n; Term t[]; } FormRec;
typedef const FormRec *Form;

typedef enum AtomKind {
    /* a loop variable, symbolic or of a kernel; or LANE; or STEP */
    A_VAR,
    A_DIV, A_MOD,                               /* f / d, f % d, rounded down; d > 0 */
    A_CLAMP,                                    /* f brought into 0 .. d-1 */
    /* f, which is in 0 .. d-1 wherever anybody looks at what is there; else anything */
    A_WITHIN,
    /* an integer element of a graph value: g, v, idx; clamped into lo .. hi */
    A_ELEM,
    A_VAL                                       /* an integer value of the kernel */
} AtomKind;

typedef struct AtomSet { int n; const Atom *a[]; } AtomSet;             /* sorted by id; interned */

struct Atom {
    AtomKind kind;
    /* depth, of a reduction's variable: how many reductions it is inside */
    int id, depth;
    int64_t lo, hi;                             /* range, inclusive */
    const char *name;                           /* A_VAR */
    Form f; int64_t d;                          /* A_DIV A_MOD A_CLAMP A_WITHIN */
    const Graph *g; Ref v; const Form *idx; int nidx;       /* A_ELEM */
    Val val; bool wide;                         /* A_VAL: a vector of lanes? */
    /* A_MOD: the quotient of the same: d * pair + this == f. NULL: no one atom is */
    const Atom *pair;
    const AtomSet *deps;                        /* the loop variables inside (itself, for A_VAR) */
};

void form_open(void);
void form_close(void);
extern _Thread_local const Atom *LANE;          /* the lane of a vector: 0 .. W-1 */
extern _Thread_local const Atom *STEP;          /* the step of a loop of kernels: a kernel argument */
/* They are atoms 0 and 1 of every table, so that what reads finished kernels needs no table. */
static inline bool atom_is_lane(const Atom *a) { return a->id == 0; }
static inline bool atom_is_step(const Atom *a) { return a->id == 1; }

const Atom *atom_var(const char *name, int64_t n, int depth);           /* a new variable 0 .. n-1 */
/* A_DIV A_MOD A_CLAMP A_WITHIN: interned */
const Atom *atom_of(AtomKind, Form f, int64_t d, int64_t lo, int64_t hi);
const Atom *atom_elem(const Graph *, Ref v, const Form *idx, int nidx, int64_t lo, int64_t hi);
const Atom *atom_val(Val, bool wide, int64_t lo, int64_t hi);

Form form_c(int64_t);
Form form_a(const Atom *);
Form form_add(Form, Form);
Form form_addc(Form, int64_t);
Form form_mul(Form, int64_t);
Form form_div(Form, int64_t d);
Form form_mod(Form, int64_t d);
Form form_clamp(Form, int64_t n);               /* into 0 .. n-1; nothing where the range says so */
Form form_within(Form, int64_t n);              /* the same as A_WITHIN: a test tells them apart */
int64_t form_coef(Form, const Atom *);
void form_range(Form, int64_t *lo, int64_t *hi);
const AtomSet *form_deps(Form);
bool form_affine(Form);                         /* all atoms are variables */
/* differs by lane: LANE or a vector value is somewhere inside */
bool form_vector(Form);
bool form_fits(Form);                           /* it and all that is computed on the way fit i32 */
static inline bool form_const(Form f) { return f->n == 0; }
bool set_has(const AtomSet *, const Atom *);
const AtomSet *set_join(const AtomSet *, const AtomSet *);
const AtomSet *set_one(const Atom *);
const char *form_text(Form);

/* Row-major position of an index, and back. n dimensions. */
Form form_linear(const Form *idx, const int64_t *dim, int n);
void form_unlinear(Form, const int64_t *dim, int n, Form *idx);
/* Where element idx of a reshaped array (new) lies in the original (old): no division where dimensions
 * group. */
void form_reindex(
    const Form *idx, const int64_t *new_dim, int new_n, const int64_t *old_dim, int old_n, Form *out);

/* Replaces variables (and elements) bottom up. from/to: n pairs. elem (may be NULL: left, at the replaced
 * index) gives the form of an A_ELEM, which it gets as it was; clamp likewise of an A_CLAMP or A_WITHIN
 * whose inner form is already replaced. */
typedef struct Subst {
    int n; const Atom *const *from; const Form *to;
    Form (*elem)(void *ctx, const Atom *), (*clamp)(void *ctx, AtomKind, Form inner, int64_t n);
    void *ctx;
} Subst;
Form form_subst(Form, const Subst *);

/* ==================== tables by hash (map.c) */

typedef HashTable Map;
void **map_at(Map *, const void *key, size_t n);        /* where the value is; it is NULL in a new entry */
void *map_get(const Map *, const void *key, size_t n);

typedef struct MapKey { size_t n; uint64_t w[MAXRANK + 6]; } MapKey;         /* n: bytes */
MapKey map_key(uint64_t a, uint64_t b, uint64_t c, const Form *idx, int n);

/* ==================== environments (env.c) */

/* a[j] is f[j] here; k: which lane's (private rows, state). kf: the same where a loop runs over the copies,
 * and k is then only a name; NULL: k */
typedef struct Env { int n, k; const Atom **a; Form *f, kf; } Env;
const Env *env_new(int k);
const Env *env_set(const Env *, const Atom *, Form);
const Env *env_sets(const Env *, const Atom *const *, const Form *, int n);
const Env *env_copy(const Env *, int k);
/* A block of environments: the copies of what is evaluated. */
typedef struct Envs { const Env *const *at; int n; } Envs;
/* Each environment of a block, once for each of the values f[0 .. copies-1] of a. */
Envs env_block(Envs, int copies, const Atom *a, const Form *f);
/* A copy of each for every element of a space: [element * envs.n + e]. */
Envs env_space(Envs, const Atom *const *space, int n);
int64_t space_size(const Atom *const *space, int n);    /* how many elements it has */
Form env_get(const Env *, const Atom *);        /* NULL: not bound */
static inline Form env_number(const Env *e) { return e->kf ? e->kf : form_c(e->k); }
bool env_binds(const Env *, const Form *idx, int n);    /* all variables of an index */

/* ==================== where an element of a stored value lies in its buffer (layout.c) */

/* An element's address: base + sum of ((index[dim] / div) % mod) * stride (mod 0: no remainder), over lead
 * then idx. */
typedef struct Digit { int dim; int64_t div, mod, stride; } Digit;
typedef struct Layout {
    int ndigit; Digit digit[2 * MAXRANK + 4];
    /* NULL: 0. STEP * size for a slice of an array with the steps in front */
    Form base;
    /* indices in front of those asked for: symbolic, read in the environment */
    int nlead; Form lead[MAXRANK + 1];
    int64_t env_stride;                         /* + this times the environment's number: private rows */
} Layout;
const Layout *layout_natural(const int64_t *dim, int n);
/* lead NULL: the layout's own; env NULL: 0 */
Form layout_form(const Layout *, const Form *lead, const Form *idx, int n, Form env);

Layout *layout_lanes_inside(const int64_t *dim, int n, int nlane);
/* panel: elements of a row of one; 0: no panels */
Layout *layout_packed(const int64_t *dim, int n, int d, int64_t panel);
/* the same with its first indices given: lead */
const Layout *layout_lead(const Layout *, const Form *lead, int n);
void layout_step(Layout *, int64_t size);       /* STEP * size in front */

#endif
