/*
 * run.c - kernels read instruction by instruction: plain, slow, and suspicious.
 *
 * In:  a finished kernel and memory for its parameters. Out: what it computes, or an error where it does
 * what a device need not
 *      forgive: indices outside of buffers, two work-items at one element.
 * What an instruction gives is what the builder's folds give for constants (k_eval): the IR's definition. So
 * this is a third opinion beside the host, which knows no kernels, and devices, whose printers and compilers
 * may be wrong too.
 *
 * Lanes. A value has W of them, each extended to 64 bits as constants are; of a value of one lane all are
 * equal. Races. Work-items run in order, but a device may run them in any: for each element of a buffer that
 * is written it is remembered who wrote it and who read it (watch.h).
 * Groups. Where a barrier is inside of a scope, its instructions are run by all items of the group, one
 * instruction after the other; any other scope is run by one item after the other. Each item has values and
 * private arrays of its own then: its slot.
 */
#include "run.h"

#include "kir.h"
#include "watch.h"

#include <stdlib.h>
#include <string.h>

/* A buffer while it is run: parameters first, then private ones. */
typedef struct Memory {
    const Buffer *buf;
    unsigned char *p;
    Watch *watch;                               /* by element, of a parameter that is written and our own */
} Memory;

typedef struct Run {
    const Kernel *k;
    const KLaunch *launch;
    Memory *mem;
    int *mem_of;                                /* by Val, of loads and stores: which memory */
    int64_t *val, *var, *next;                  /* W a Val; by atom; carried values between two steps */
    int nvar, item;                             /* items count from 1 */
    bool *barriers;                             /* by scope: one is inside */
    int slot, slots;
    int64_t first[3];                           /* where in the grid the group's first item is */
    int32_t group, phase;
    unsigned turns;                             /* of loops, and work-items: all so far */
    const KIns *at;
} Run;

/* How a scope ends: at its end, by K_BRK, by an error, because nobody wants the result. */
typedef enum Way { ON, LEFT, WRONG, UNWANTED } Way;

static Way wrong_there(const Run *r, const char *what)
{
    Loc was = loc_set(r->at->loc);
    error_set(E_INTERNAL, "kernel %s, work-item %d: v%d (%s): %s", r->k->name, r->item - 1,
        (int)(r->at - r->k->ins), kop[r->at->op].name, what);
    loc_set(was);
    return WRONG;
}
#define wrong(r, ...) wrong_there(r, arena_text(__VA_ARGS__))

static int64_t *lanes(const Run *r, Val v)
{
    return r->val + ((size_t)r->slot * (size_t)r->k->nins + v) * W;
}

/* ==================== addresses */

static int64_t form_at(const Run *, Form, int lane);

static int64_t floor_div(int64_t x, int64_t d) { return x / d - (x % d < 0); }

static int64_t atom_at(const Run *r, const Atom *a, int lane)
{
    int64_t x;
    switch (a->kind) {
    case A_VAR:
        return atom_is_lane(a) ? lane :
            atom_is_step(a)    ? r->launch->step :
            a->id < r->nvar    ? r->var[a->id] :
                                 0;
    case A_VAL: return lanes(r, a->val)[lane];
    case A_DIV: return floor_div(form_at(r, a->f, lane), a->d);
    case A_MOD: return x = form_at(r, a->f, lane), x - a->d * floor_div(x, a->d);
    case A_CLAMP: return x = form_at(r, a->f, lane), x < 0 ? 0 : x < a->d ? x : a->d - 1;
    default: return INT64_MIN;                  /* k_check refuses what is not evaluated */
    }
}

static int64_t form_at(const Run *r, Form f, int lane)
{
    int64_t x = f->c;
    for (int n = 0; n < f->n; n++)
        /* lanes that nobody looks at may wrap */
        x = (int64_t)((uint64_t)x + (uint64_t)f->t[n].k * (uint64_t)atom_at(r, f->t[n].a, lane));
    return x;
}

/* ==================== memory */

static bool outside(const Memory *m, int64_t at, int64_t slack)
{
    return at < -slack || at >= m->buf->size + slack;
}

static int64_t element(const Memory *m, int64_t at)
{
    const void *p = m->p + (size_t)at * dtype_size((Dtype)m->buf->dt);
    return dtype_half((Dtype)m->buf->dt) ? k_bits_of(DT_F32, dtype_load_f((Dtype)m->buf->dt, p)) :
                                           dtype_load_i((Dtype)m->buf->dt, p);
}

/* Where an element is in what is kept: private arrays of the items of a group lie one behind the other. */
static int64_t own(const Run *r, const Memory *m, int64_t at)
{
    return m->buf->space == PRIVATE ? r->slot * m->buf->size + at : at;
}

static Way load_lane(const Run *r, Memory *m, int64_t at, int64_t *out)
{
    bool global = m->buf->space == GLOBAL;
    const Who now = { r->item, r->group, r->phase };
    if (outside(m, at, global ? SLACK : 0))
        return wrong(
            r, "%s[%lld] of %lld elements is read", m->buf->name, (long long)at, (long long)m->buf->size);
    *out = k_wrap((Dtype)r->at->dt, 0x5A5A5A5A5A5A5A5A);        /* what lies around a buffer */
    if (outside(m, at, 0))
        return ON;
    int64_t kept = own(r, m, at);
    int32_t writer = m->watch ? m->watch[kept].wrote.item : NOBODY;
    if (m->buf->space == PRIVATE ? writer != r->item : !global && writer == NOBODY)
        return wrong(r, "%s[%lld] is read before it is written", m->buf->name, (long long)at);
    Race race = m->watch && m->buf->space != PRIVATE ? watch_read(&m->watch[kept], now) : NO_RACE;
    if (race)
        return wrong_there(r, race_text(race, &m->watch[kept], m->buf->name, at));
    *out = element(m, kept);
    return ON;
}

static Way store_lane(const Run *r, Memory *m, int64_t at, int64_t bits)
{
    Dtype dt = (Dtype)m->buf->dt;
    if (outside(m, at, 0))
        return wrong(
            r, "%s[%lld] of %lld elements is written", m->buf->name, (long long)at, (long long)m->buf->size);
    int64_t kept = own(r, m, at);
    unsigned char *p = m->p + (size_t)kept * dtype_size(dt), was[8];
    memcpy(was, p, dtype_size(dt));
    if (dtype_half(dt))
        dtype_store_f(dt, p, k_float_of(DT_F32, bits));
    else
        dtype_store_i(dt, p, bits);
    Watch *w = &m->watch[kept];
    const Who now = { r->item, r->group, r->phase };
    if (m->buf->space == PRIVATE)
        return w->wrote = now, ON;
    Race race = watch_write(w, now, !memcmp(was, p, dtype_size(dt)));
    return race ? wrong_there(r, race_text(race, w, m->buf->name, at)) : ON;
}

static Way run_load(const Run *r, Val v)
{
    const KIns *i = &r->k->ins[v];
    int parts = i->op == K_LOADS ? i->group : 1;
    for (int p = 0; p < parts; p++) {
        int64_t *out = lanes(r, i->op == K_LOADS ? i->part[p] : v);
        for (int l = 0; l < W; l++)
            if (l && i->op == K_LOAD && i->w == 1)
                out[l] = out[0];
            else if (load_lane(r, &r->mem[r->mem_of[v]], form_at(r, i->form, l) + p, &out[l]))
                return WRONG;
    }
    return ON;
}

static Way run_store(const Run *r, Val v)
{
    const KIns *i = &r->k->ins[v];
    bool one = !form_vector(i->form);
    for (int p = 0; p < i->narg; p++)
        for (int l = 0; l < (one ? 1 : W); l++)
            if (store_lane(r, &r->mem[r->mem_of[v]], form_at(r, i->form, l) + p, lanes(r, i->arg[p])[l]))
                return WRONG;
    return ON;
}

/* ==================== values */

/* Lanes 8 apart, then 4, 2, 1. */
static Way run_horizontal(const Run *r, const KIns *i, int64_t *out)
{
    int64_t x[W], c[3] = { 0 };
    memcpy(x, lanes(r, i->arg[0]), sizeof x);
    for (int half = W / 2; half; half /= 2)
        for (int l = 0; l < half; l++) {
            c[0] = x[l], c[1] = x[l + half];
            if (!k_eval((KOp)kop[i->op].joins, (Dtype)i->dt, (Dtype)i->dt, 0, c, &x[l]))
                return wrong(r, "has no result");
        }
    for (int l = 0; l < W; l++)
        out[l] = x[0];
    return ON;
}

static Way run_lane(const Run *r, const KIns *i, int l, int64_t *out)
{
    int64_t c[3] = { 0 };
    if (i->op == K_INDEX)
        return *out = k_wrap((Dtype)i->dt, form_at(r, i->form, l)), ON;
    for (int a = 0; a < i->narg && a < 3; a++)
        c[a] = lanes(r, i->arg[a])[l];
    if (i->op == K_SPLAT)
        *out = c[0];
    else if (i->op == K_SELECT)
        *out = c[0] ? c[1] : c[2];
    else if (!k_eval(i->op, (Dtype)i->dt, (Dtype)r->k->ins[i->arg[0]].dt, i->bits, c, out))
        return wrong(r, "%lld and %lld have no result", (long long)c[0], (long long)c[1]);
    return ON;
}

static Way run_value(const Run *r, Val v)
{
    const KIns *i = &r->k->ins[v];
    int64_t *out = lanes(r, v);
    if (k_across((KOp)i->op))
        return run_horizontal(r, i, out);
    for (int l = 0; l < W; l++)
        if (l && i->w == 1)
            out[l] = out[0];
        else if (run_lane(r, i, l, &out[l]))
            return WRONG;
    return ON;
}

/* ==================== structure */

static Way run_scope(Run *, int scope);

static void copy(const Run *r, const Val *to, const Val *from, int n)
{
    /* all are read before one is written: carried values may be exchanged */
    for (int p = 0; p < n; p++)
        memcpy(r->next + (size_t)p * W, lanes(r, from[p]), W * sizeof *r->val);
    for (int p = 0; p < n; p++)
        memcpy(lanes(r, to[p]), r->next + (size_t)p * W, W * sizeof *r->val);
}

static bool enough(Run *r)
{
    enum { LOOK = 16 };
    return r->launch->enough && ++r->turns % LOOK == 0 && r->launch->enough(r->launch->env);
}

static Way run_loop(Run *r, const KIns *i)
{
    Way way = ON;
    copy(r, i->phi, i->arg, i->ncarry);
    for (int64_t t = 0; (i->n < 0 || t < i->n) && way == ON; t++) {
        r->var[i->var->id] = t;
        if ((way = run_scope(r, i->scope)) == ON)
            copy(r, i->phi, i->next, i->ncarry);
        if (enough(r))
            return UNWANTED;
    }
    copy(r, i->out, i->phi, i->ncarry);
    return way == LEFT ? ON : way;
}

static Way run_if(Run *r, const KIns *i)
{
    bool holds = lanes(r, i->arg[0])[0];
    Way way = holds ? run_scope(r, i->scope) : ON;
    if (way == ON)
        copy(r, i->out, holds ? i->next : i->other, i->ncarry);
    return way;
}

static Way run_apply(Run *r, Val v)
{
    const KIns *i = &r->k->ins[v];
    const KFunction *f = r->k->function[i->bits];
    copy(r, f->arg, i->arg, f->narg);
    Way way = run_scope(r, f->scope);
    for (int n = 0; n < f->nresult; n++)
        memcpy(lanes(r, i->part ? i->part[n] : v), lanes(r, f->result[n]), W * sizeof *r->val);
    return way;
}

static Way run_ins(Run *r, Val v)
{
    const KIns *i = r->at = &r->k->ins[v];
    switch (i->op) {
    case K_LOAD: case K_LOADS: return run_load(r, v);
    case K_STORE: case K_STORES: return run_store(r, v);
    case K_LOOP: return run_loop(r, i);
    case K_IF: return run_if(r, i);
    case K_APPLY: return run_apply(r, v);
    case K_BRK: return lanes(r, i->arg[0])[0] ? ON : LEFT;
    case K_BARRIER: return ON;                  /* of groups of one item */
    default: return run_value(r, v);
    }
}

static Way run_scope(Run *r, int scope)
{
    const KScope *s = &r->k->scope[scope];
    Way way = ON;
    for (int n = 0; n < s->nbody && way == ON; n++)
        way = run_ins(r, s->body[n]);
    return way;
}

/* ==================== launches */

static int64_t group_of(const Kernel *k, int d)
{
    return d < k->ngrid && k->grid[d].group > 0 ? k->grid[d].group : 1;
}

/* The item of this number in the group. false: it is beyond the grid. */
static bool enter(Run *r, int64_t number)
{
    const Kernel *k = r->k;
    int64_t rest = number;
    bool there = true;
    for (int d = 0; d < k->ngrid; d++) {
        r->var[k->grid[d].var->id] = r->first[d] + rest % group_of(k, d);
        rest /= group_of(k, d);
        there &= r->var[k->grid[d].var->id] < k->grid[d].n;
    }
    r->item = (int)((r->group - 1) * k_group_items(k) + number + 1);
    r->slot = r->slots > 1 ? (int)number : 0;
    return there;
}

/* What comes of it for all items: the same, or it is wrong. */
static Way agreed(Run *r, const KIns *i, bool *holds)
{
    for (int s = 0; s < r->slots; s++) {
        enter(r, s);
        bool now = lanes(r, i->arg[0])[0];
        if (s && now != *holds) {
            r->at = i;
            return wrong(r, "a barrier is behind it, and not all items of the group go the same way");
        }
        *holds = now;
    }
    return ON;
}

static Way together(Run *, int scope);

static void copy_all(Run *r, const Val *to, const Val *from, int n)
{
    for (int s = 0; s < r->slots; s++)
        enter(r, s), copy(r, to, from, n);
}

static Way loop_together(Run *r, const KIns *i)
{
    Way way = ON;
    copy_all(r, i->phi, i->arg, i->ncarry);
    for (int64_t t = 0; (i->n < 0 || t < i->n) && way == ON; t++) {
        r->var[i->var->id] = t;
        if ((way = together(r, i->scope)) == ON)
            copy_all(r, i->phi, i->next, i->ncarry);
    }
    copy_all(r, i->out, i->phi, i->ncarry);
    return way == LEFT ? ON : way;
}

static Way if_together(Run *r, const KIns *i)
{
    bool holds = false;
    Way way = agreed(r, i, &holds);
    way = way == ON && holds ? together(r, i->scope) : way;
    if (way == ON)
        copy_all(r, i->out, holds ? i->next : i->other, i->ncarry);
    return way;
}

/* A scope with a barrier inside. An exit from a branch without one is each item's own. */
static Way together(Run *r, int scope)
{
    const KScope *s = &r->k->scope[scope];
    Way way = ON;
    for (int n = 0; n < s->nbody && way == ON; n++) {
        const KIns *i = &r->k->ins[s->body[n]];
        bool holds = true, structure = kop[i->op].is == KC_SCOPE;
        int left = 0;
        if (i->op == K_BARRIER)
            r->phase++;
        else if (i->op == K_BRK)
            way = agreed(r, i, &holds), way = way == ON && !holds ? LEFT : way;
        else if (structure && r->barriers[i->scope])
            way = i->op == K_LOOP ? loop_together(r, i) : if_together(r, i);
        else {
            for (int x = 0; x < r->slots && way != WRONG && way != UNWANTED; x++) {
                enter(r, x), way = run_ins(r, s->body[n]);
                left += way == LEFT;
            }
            way = way == WRONG || way == UNWANTED ? way : left ? LEFT : ON;
            if (left && left < r->slots)
                way = wrong(r, "a barrier is behind it, and not all items of the group go the same way");
        }
    }
    return way;
}

static Way run_group(Run *r)
{
    Way way = ON;
    r->group++, r->phase++;
    for (int p = r->k->nparam; p < r->k->nparam + r->k->npriv; p++)
        if (r->mem[p].buf->space == LOCAL)
            memset(r->mem[p].watch, 0, sizeof(Watch) * (size_t)r->mem[p].buf->size);
    enter(r, 0);
    if (r->slots > 1)
        return together(r, 0);
    for (int64_t x = 0; x < k_group_items(r->k) && way != WRONG && way != UNWANTED; x++)
        if (enter(r, x))
            way = run_scope(r, 0);
    return way != WRONG && enough(r) ? UNWANTED : way;
}

static int all_groups(Run *r)
{
    int64_t n[3] = { 1, 1, 1 }, *at = r->first;
    for (int d = 0; d < r->k->ngrid; d++)
        n[d] = r->k->grid[d].n;
    for (at[2] = 0; at[2] < n[2]; at[2] += group_of(r->k, 2))
        for (at[1] = 0; at[1] < n[1]; at[1] += group_of(r->k, 1))
            for (at[0] = 0; at[0] < n[0]; at[0] += group_of(r->k, 0)) {
                Way way = run_group(r);
                if (way == WRONG || way == UNWANTED)
                    return way == WRONG ? (int)error_code() : K_LEFT;
            }
    return 0;
}

/* Room for what a run needs, of which much depends on the kernel. */
static bool measure(Run *r, int *most)
{
    const Kernel *k = r->k;
    for (int d = 0; d < k->ngrid; d++)
        r->nvar = k->grid[d].var->id >= r->nvar ? k->grid[d].var->id + 1 : r->nvar;
    for (int v = 1; v < k->nins; v++) {
        const KIns *i = &k->ins[v];
        *most = i->ncarry > *most ? i->ncarry : i->narg > *most ? i->narg : *most;
        if (i->op == K_LOOP)
            r->nvar = i->var->id >= r->nvar ? i->var->id + 1 : r->nvar;
    }
    r->mem = calloc((size_t)(k->nparam + k->npriv) + 1, sizeof *r->mem);
    r->mem_of = calloc((size_t)k->nins, sizeof *r->mem_of);
    r->slots = k_meets(k) ? (int)k_group_items(k) : 1;
    r->barriers = calloc((size_t)k->nscope, sizeof *r->barriers);
    r->val = calloc((size_t)k->nins * (size_t)r->slots * W, sizeof *r->val);
    r->var = calloc((size_t)r->nvar + 1, sizeof *r->var);
    r->next = calloc((size_t)*most * W + 1, sizeof *r->next);
    if (r->barriers)
        k_barriers(k, r->barriers);
    return r->mem && r->mem_of && r->val && r->var && r->next && r->barriers;
}

static bool memory_open(Run *r, int n)
{
    const Kernel *k = r->k;
    Memory *m = &r->mem[n];
    bool param = n < k->nparam;
    m->buf = param ? k->param[n] : k->priv[n - k->nparam];
    size_t size = (size_t)m->buf->size;
    size *= param ? 1 : (size_t)r->slots;
    m->p = param ? r->launch->param[n] : calloc(size + 1, dtype_size((Dtype)m->buf->dt));
    if (!param || k->written[n])
        m->watch = calloc(size + 1, sizeof *m->watch);
    return m->p && ((param && !k->written[n]) || m->watch);
}

static bool prepare(Run *r)
{
    const Kernel *k = r->k;
    int most = 0;
    if (!measure(r, &most))
        return false;
    for (int n = 0; n < k->nparam + k->npriv; n++)
        if (!memory_open(r, n))
            return false;
    for (int v = 1; v < k->nins; v++) {
        const KIns *i = &k->ins[v];
        for (r->slot = 0; i->op == K_CONST && r->slot < r->slots; r->slot++)
            for (int l = 0; l < W; l++)
                lanes(r, (Val)v)[l] = i->bits;
        for (int n = 0; i->buf && n < k->nparam + k->npriv; n++)
            r->mem_of[v] = r->mem[n].buf == i->buf ? n : r->mem_of[v];
    }
    return true;
}

static void finish(Run *r)
{
    for (int n = 0; r->mem && n < r->k->nparam + r->k->npriv; n++) {
        if (n >= r->k->nparam)
            free(r->mem[n].p);
        free(r->mem[n].watch);
    }
    free(r->barriers), free(r->mem), free(r->mem_of), free(r->val), free(r->var), free(r->next);
}

int k_run(const Kernel *k, const KLaunch *launch)
{
    Run r = { .k = k, .launch = launch, .at = k->ins };
    int e = prepare(&r) ? all_groups(&r) : error_set(E_NOMEM, "no memory to read a kernel with");
    finish(&r);
    return e;
}
