/*
 * lower_pack.c - a small state as vectors: what a step does alike to every element of a carried value is
 * done once, in lanes.
 *
 * In:  a loop being built without lanes, whose state is in registers, and what the step made of it, element
 * by element.
 * Out: the same as vectors, of the carried values that the specification names: their elements are made by
 * the same instructions. They hand their elements back, so that whoever asks for one does not compute it
 * again.
 * Leaves are the carried vectors themselves, values that all elements share (an element of the state that
 * all rows of a product multiply), loads side by side, and invariants, which are put together in front of
 * the loop. Lanes beyond the value's elements compute whatever: no lane looks at another, and no integer is
 * divided.
 */
#include "evaluator.h"

#include <string.h>

enum { ARGS = 3 };                              /* operands of what becomes a vector */

static bool alike(const KIns *a, const KIns *b)
{
    return a->op == b->op && a->dt == b->dt && a->w == b->w && a->narg == b->narg && a->bits == b->bits &&
           a->home == b->home && a->buf == b->buf;
}

/* Lanes compute what elements did: not memory, structure, or what stops at the wrong operand. */
static bool lanewise(const KIns *i)
{
    bool divides = i->op == K_DIV || i->op == K_REM;
    return (kop[i->op].is == KC_LANES || i->op == K_APPLY) && i->narg && i->narg <= ARGS &&
        (!divides || dtype_float((Dtype)i->dt));
}

/* Invariants as a vector. */
static Val join(Lower *L, const Val *x, int n)
{
    Kernel *k = L->k;
    Val lane = k_index(k, form_a(LANE)), v = widen_val(L, x[n - 1]);
    for (int j = n - 2; j >= 0; j--)
        v = k3(k, K_SELECT, dtype_of(L, v), k2(k, K_EQ, DT_BOOL, lane, index_const(L, lane, j)), x[j], v);
    return v;
}

/* Loads of elements side by side as one; 0: they are not. */
static Val load_row(Kernel *k, const Val *x, int n)
{
    const KIns *a = &k->ins[x[0]];
    int64_t lo, hi;
    if (a->op != K_LOAD || a->buf->space != GLOBAL || k_changes(k, a->buf))
        return 0;
    for (int j = 1; j < n; j++)
        if (!alike(a, &k->ins[x[j]]) || k->ins[x[j]].form != form_addc(a->form, j))
            return 0;
    form_range(a->form, &lo, &hi);
    return hi + W > a->buf->size + SLACK ? 0 : k_load(k, a->buf, form_add(a->form, form_a(LANE)));
}

typedef struct Packer { Lower *L; const Pack *pack; int npack, n; Map seen; } Packer;

static Val packed(Packer *, const Val *x);

/* Its first two operands may change places: the builder orders factors by age, which differs by element. */
static bool turns(KOp op) { return kop[op].commutes || op == K_FMA; }

/* These n values are of one instruction: its vector. Operands that commute are in the order of the last. */
static Val packed_op(Packer *p, const Val *x)
{
    Kernel *k = p->L->k;
    KIns like = k->ins[x[p->n - 1]];
    Val arg[ARGS], y[ARGS][W];
    for (int j = 0; j < p->n; j++) {
        const KIns *i = &k->ins[x[j]];
        if (!alike(i, &like))
            return 0;
        const KIns *first = &k->ins[like.arg[0]];
        bool swap =
            turns((KOp)i->op) && !alike(&k->ins[i->arg[0]], first) && alike(&k->ins[i->arg[1]], first);
        for (int c = 0; c < like.narg; c++)
            y[c][j] = i->arg[swap && c < 2 ? 1 - c : c];
    }
    for (int c = 0; c < like.narg; c++)
        if (!(arg[c] = packed(p, y[c])))
            return 0;
    if (like.op == K_APPLY)
        return math_again(k, k->function[like.bits], arg);
    return k_emit(k, (KOp)like.op, (Dtype)(like.op == K_ROUND ? like.bits : like.dt), like.narg, arg);
}

/* The vector of these n values, or the one that they all are; 0: there is none. */
static Val packed(Packer *p, const Val *x)
{
    Lower *L = p->L;
    Kernel *k = L->k;
    int n = p->n, home = 0;
    bool same = true;
    for (int j = 0; j < n; j++) {
        same = same && x[j] == x[0];
        home = k->ins[x[j]].home == k->cur ? k->cur : home;
    }
    for (int g = 0; g < p->npack; g++)
        if (p->pack[g].n == n && !memcmp(x, p->pack[g].phi, sizeof *x * (size_t)n))
            return p->pack[g].wide;
    if (same)
        return x[0];
    void **known = map_at(&p->seen, x, sizeof *x * (size_t)n);
    if (*known)
        return (Val)(uintptr_t)*known;
    Val v = load_row(k, x, n);
    if (!v && home != k->cur)
        v = join(L, x, n);
    if (!v && lanewise(&k->ins[x[0]]))
        v = packed_op(p, x);
    *known = (void *)(uintptr_t)v;              /* entries stay where they are */
    return v;
}

/* Elements of a vector. */
static void unpack(Lower *L, Val v, int n, Val *x)
{
    Buffer *b = k_private(L->k, dtype_of(L, v), W);
    k_store(L->k, b, form_a(LANE), v);
    for (int j = 0; j < n; j++)
        x[j] = k_load(L->k, b, form_c(j));
}

Val pack_start(Lower *L, const Val *x, int64_t n)
{
    for (int64_t j = 0; j < n; j++)
        if (!x[j] || width(L, x[j]) > 1 || dtype_of(L, x[j]) != dtype_of(L, x[0]))
            return lower_fail(L);
    return join(L, x, (int)n);
}

/* Where the scheduler was wrong, since instructions have become others than it thought, elements go along by
 * themselves; HEDDLE_CHECK=spec makes it an error. */
bool pack_step(Lower *L, const Pack *pack, int n, Val *next)
{
    for (int g = 0; g < n; g++) {
        Packer p = { L, pack, n, pack[g].n, { 0 } };
        next[g] = packed(&p, pack[g].next);
        if (!next[g] && check_stage("spec"))
            lower_fail(L);
        if (!next[g] || L->failed)
            return false;
        next[g] = widen_val(L, next[g]);
    }
    for (int g = 0; g < n; g++)
        unpack(L, next[g], pack[g].n, pack[g].next);
    return true;
}
