/*
 * code.c - what a kernel is to a machine before it runs: what its instructions cost, its registers, its
 * groups on a core.
 *
 * In:  a finished kernel and a profile. Out: a SimCode.
 * A vector of W lanes is W instructions of an item, as compilers for such machines make of it. Places cost
 * integers once a scope: those that differ by a constant share a sum, which is counted on from step to step.
 * Registers are those of the values that live at once, in the order in which the instructions stand.
 */
#include "sim.h"

#include <string.h>

/* ==================== what an instruction is */

static SimCost of_integer(const KIns *i, Dtype dt)
{
    bool wide = dtype_size(dt) == 8;
    switch (i->op) {
    case K_DIV:
    case K_REM:
        return (SimCost){ C_INTEGER, wide ? 70 : 20 };
    case K_MUL:
    case K_MULHI:
        return (SimCost){ C_INTEGER, wide ? 4 : 1 };
    default:
        return (SimCost){ C_INTEGER, wide ? 2 : 1 };
    }
}

static SimCost of_float(const KIns *i, Dtype dt)
{
    SimClass c = dt == DT_F64 ? C_F64 : C_F32;
    switch (i->op) {
    case K_DIV:
    case K_SQRT:
        return (SimCost){ (uint8_t)c, 10 };
    case K_MAX:
    case K_MIN:
        return (SimCost){ (uint8_t)c, 2 }; /* nan, and the sign of zero */
    case K_FLOOR:
    case K_CEIL:
    case K_RINT:
    case K_TRUNC:
        return (SimCost){ C_CONVERT, 1 };
    default:
        return (SimCost){ (uint8_t)c, 1 };
    }
}

static SimCost cost_of(const Kernel *k, const KIns *i)
{
    Dtype dt = i->narg ? (Dtype)k->ins[i->arg[i->narg - 1]].dt : (Dtype)i->dt;
    SimCost c;
    switch (i->op) {
    case K_SPLAT:
    case K_BITS:
    case K_INDEX:
        return (SimCost){ C_CONTROL, 0 }; /* the same registers; see index */
    case K_CONVERT:
    case K_ROUND:
        c = (SimCost){ C_CONVERT, 1 };
        break;
    case K_APPLY:
        return (SimCost){ C_CONTROL, 0 }; /* what it costs is its scope's */
    default:
        if (kop[i->op].is != KC_LANES && kop[i->op].is != KC_ACROSS)
            return (SimCost){ C_CONTROL, 0 };
        c = dtype_float(dt) ? of_float(i, dt) : of_integer(i, dt);
    }
    c.times *= kop[i->op].is == KC_ACROSS ? W - 1 : i->w;
    return c;
}

static float flops_of(const KIns *i)
{
    bool is = dtype_float((Dtype)i->dt) &&
        (i->op == K_ADD || i->op == K_SUB || i->op == K_MUL || i->op == K_FMA || i->op == K_DIV ||
            i->op == K_SQRT);
    return i->op == K_HSUM || i->op == K_HPROD ? W - 1 : is ? i->w * (i->op == K_FMA ? 2 : 1) : 0;
}

/* ==================== places */

static float form_cost(Form f, const Atom *loop)
{
    float n = 0;
    bool moves = false;
    for (int t = 0; t < f->n; t++) {
        const Atom *a = f->t[t].a;
        bool here = !loop || a->kind == A_VAL || set_has(a->deps, loop);
        if (atom_is_lane(a) || !here)
            continue;
        if (a->kind == A_DIV || a->kind == A_MOD)
            n += form_cost(a->f, loop) + (a->d & (a->d - 1) ? 4 : 1);
        else if (a->kind == A_CLAMP)
            n += form_cost(a->f, loop) + 2;
        else if (a->kind == A_WITHIN)
            n += form_cost(a->f, loop);
        moves |= loop != NULL, n += !loop;
    }
    return n + moves;
}

static bool same_terms(Form f, Form g)
{
    return f->n == g->n && (!f->n || !memcmp(f->t, g->t, sizeof *f->t * (size_t)f->n));
}

static void places(SimCode *c, int scope, const Atom *loop)
{
    const KScope *s = &c->k->scope[scope];
    for (int n = 0; n < s->nbody; n++) {
        const KIns *i = &c->k->ins[s->body[n]];
        bool known = false;
        if (kop[i->op].is == KC_SCOPE)
            places(c, i->scope, i->op == K_LOOP ? i->var : loop);
        if (i->op == K_APPLY)
            places(c, c->k->function[i->bits]->scope, NULL);
        for (int m = n - 1; m >= 0 && m > n - 200 && i->form && !known; m--) {
            const KIns *j = &c->k->ins[s->body[m]];
            known = j->form && same_terms(i->form, j->form);
        }
        if (i->form && !known)
            c->index[s->body[n]] = form_cost(i->form, i->op == K_INDEX ? NULL : loop) *
                (float)(i->op == K_INDEX ? i->w : 1) / c->unroll[scope];
    }
}

/* A loop of straight lines is written out; what its steps have alike is one instruction then. */
static void unrolled(SimCode *c, const Profile *m)
{
    const Kernel *k = c->k;
    for (int s = 0; s < k->nscope; s++)
        c->unroll[s] = 1;
    for (int v = 1; v < k->nins; v++) {
        const KIns *i = &k->ins[v];
        bool plain = i->op == K_LOOP && i->n > 0;
        for (int n = 0; plain && n < k->scope[i->scope].nbody; n++) {
            KOp op = (KOp)k->ins[k->scope[i->scope].body[n]].op;
            plain = kop[op].is != KC_SCOPE && op != K_BRK && op != K_BARRIER;
        }
        if (plain)
            c->unroll[i->scope] = (float)(i->n < (int64_t)m->unroll ? i->n : (int64_t)m->unroll);
    }
}

/* ==================== registers */

typedef struct Live {
    const SimCode *c;
    int *from, *to, *end, now;
} Live; /* by Val; end: by scope, of loops */

static void used(void *x, Val v)
{
    Live *l = x;
    l->to[v] = l->now > l->to[v] ? l->now : l->to[v];
}

static void number(Live *l, int scope)
{
    const Kernel *k = l->c->k;
    for (int n = 0; n < k->scope[scope].nbody; n++) {
        Val v = k->scope[scope].body[n];
        const KIns *i = &k->ins[v];
        l->from[v] = l->to[v] = ++l->now;
        for (int p = 0; i->op == K_LOADS && p < i->group; p++)
            l->from[i->part[p]] = l->to[i->part[p]] = l->now;
        k_uses(k, v, used, l);
        if (i->op == K_APPLY) {
            const KFunction *f = k->function[i->bits];
            for (int p = 0; p < f->narg; p++)
                l->from[f->arg[p]] = l->to[f->arg[p]] = l->now;
            number(l, f->scope);
            l->now++;
            for (int p = 0; p < f->nresult; p++)
                used(l, f->result[p]);
            l->from[v] = l->to[v] = l->now;
            for (int p = 0; i->part && p < i->group; p++)
                l->from[i->part[p]] = l->to[i->part[p]] = l->now;
        }
        if (kop[i->op].is != KC_SCOPE)
            continue;
        l->now += i->op == K_LOOP;              /* a carried value takes the place of what it begins as */
        for (int p = 0; i->op == K_LOOP && p < i->ncarry; p++)
            l->from[i->phi[p]] = l->to[i->phi[p]] = l->now;
        number(l, i->scope);
        l->now++;
        for (int p = 0; i->op == K_LOOP && p < i->ncarry; p++)
            used(l, i->next[p]);                /* and what is next that of the last one */
        if (i->op == K_IF)
            k_uses(k, v, used, l);
        l->end[i->scope] = i->op == K_LOOP ? l->now : 0;
        l->now += i->op == K_LOOP;
        for (int p = 0; p < i->ncarry; p++)
            l->from[i->out[p]] = l->to[i->out[p]] = l->now;
    }
}

/* What comes from outside of a loop lives to its end. */
static void from_outside(Live *l)
{
    const Kernel *k = l->c->k;
    for (int v = 1; v < k->nins; v++)
        for (int s = 1; l->from[v] && s < k->nscope; s++) {
            int last = l->end[s];
            Val loop = 0;
            for (int p = 0; last && !loop && p < k->scope[k->scope[s].parent].nbody; p++)
                if (kop[k->ins[k->scope[k->scope[s].parent].body[p]].op].is == KC_SCOPE &&
                    k->ins[k->scope[k->scope[s].parent].body[p]].scope == s)
                    loop = k->scope[k->scope[s].parent].body[p];
            if (loop && l->from[v] < l->from[loop] && l->to[v] > l->from[loop] && l->to[v] < last)
                l->to[v] = last;
        }
}

static int room(const KIns *i)
{
    if (i->op == K_CONST || i->op == K_SPLAT || i->op == K_BITS || !i->w || i->op == K_LOOP || i->op == K_IF)
        return 0;
    return i->dt == DT_BOOL ? 1 : i->w * (dtype_size((Dtype)i->dt) == 8 ? 2 : 1);
}

static void registers(SimCode *c, const Profile *m)
{
    const Kernel *k = c->k;
    Live l = { c, NEWS(int, k->nins), NEWS(int, k->nins), NEWS(int, k->nscope), 0 };
    number(&l, 0);
    from_outside(&l);
    int *more = NEWS(int, l.now + 3), now = 0, most = 0;
    for (int v = 1; v < k->nins; v++)
        if (l.from[v])
            more[l.from[v]] += room(&k->ins[v]), more[l.to[v] + 1] -= room(&k->ins[v]);
    for (int t = 0; t <= l.now; t++) {
        now += more[t];
        most = now > most ? now : most;
    }
    for (int p = 0; p < k->npriv; p++)
        if (k->priv[p]->space == PRIVATE && !c->far[p])
            most += (int)(k->priv[p]->size * (int64_t)(dtype_size((Dtype)k->priv[p]->dt) + 3) / 4);
    int step = (int)m->register_step,
        all = most + 2 * k->nparam + 6; /* addresses, numbers, what is between */
    all = (all + step - 1) / step * step;
    c->spilled = all > (int)m->item_registers ? all - (int)m->item_registers : 0;
    c->registers = all - c->spilled;
}

/* ==================== groups */

static void groups(SimCode *c, const Profile *m)
{
    const Kernel *k = c->k;
    bool open = !k_meets(k);
    for (int d = 0; d < 3; d++) {
        c->group[d] = d < k->ngrid && k->grid[d].group > 0 ? k->grid[d].group : 1;
        open &= d >= k->ngrid || !k->grid[d].group;
    }
    if (open && k->ngrid)
        c->group[0] = k->grid[0].n < (int64_t)m->group ? k->grid[0].n : (int64_t)m->group;
    c->group[0] = c->group[0] < 1 ? 1 : c->group[0];
    c->items = c->group[0] * c->group[1] * c->group[2];
    c->subgroups = (int)((c->items + (int64_t)m->lanes - 1) / (int64_t)m->lanes);
    for (int p = 0; p < k->npriv; p++)
        if (k->priv[p]->space == LOCAL)
            c->local += (k->priv[p]->size * (int64_t)dtype_size((Dtype)k->priv[p]->dt) + 15) / 16 * 16;
    double most = m->groups, fit = (double)(int)(m->subgroups / c->subgroups);
    most = fit < most ? fit : most;
    fit = (double)(int)(m->registers / (c->registers * m->lanes * c->subgroups));
    most = fit < most ? fit : most;
    fit = c->local ? (double)(int)(m->local_memory / (double)c->local) : most;
    most = fit < most ? fit : most;
    c->resident = most < 1 ? 1 : (int)most;
}

SimCode *sim_code(const Kernel *k, const Profile *m)
{
    SimCode *c = NEW(SimCode);
    c->k = k;
    c->cost = NEWS(SimCost, k->nins), c->index = NEWS(float, k->nins), c->flops = NEWS(float, k->nins);
    c->far = NEWS(bool, k->npriv), c->barriers = NEWS(bool, k->nscope);
    k_barriers(k, c->barriers);
    for (int v = 1; v < k->nins; v++) {
        const KIns *i = &k->ins[v];
        c->cost[v] = cost_of(k, i), c->flops[v] = flops_of(i);
        for (int p = 0; i->buf && i->buf->space == PRIVATE && p < k->npriv; p++)
            for (int t = 0; k->priv[p] == i->buf && t < i->form->n; t++)
                c->far[p] |= !atom_is_lane(i->form->t[t].a);
    }
    for (int p = 0; p < k->nparam; p++)
        c->bytes += (double)k->param[p]->size * (double)dtype_size((Dtype)k->param[p]->dt);
    c->unroll = NEWS(float, k->nscope);
    unrolled(c, m);
    places(c, 0, NULL);
    registers(c, m);
    groups(c, m);
    if (c->items > (int64_t)m->group_items || (double)c->local > m->local_group)
        error_set(E_DEVICE,
            "sim:%s: kernel %s has groups of %lld work-items and %lld bytes of local memory; at most "
            "%.0f and %.0f",
            m->name, k->name, (long long)c->items, (long long)c->local, m->group_items, m->local_group);
    return c;
}
