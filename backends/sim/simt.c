/*
 * simt.c - a launch as a GPU runs it: groups of subgroups, whose lanes go in lockstep.
 *
 * In:  a finished kernel and memory. Out: what it computes, and counts; or an error.
 * A mask a subgroup says which lanes are active. A branch is run by those that take it, a loop until none is
 * left in it; behind either all are together again. A scope with a barrier inside is run by all subgroups of
 * the group, instruction by instruction, any other one by one subgroup after the other. So no subgroup ever
 * has to wait, and a barrier that not all items of a group come to is one whose masks are not full.
 * What an instruction gives is what the builder's folds give for constants (k_eval), so bits are those of
 * every other device.
 *
 * Time. A subgroup issues its instructions in order, each when its operands are there; so much a group takes
 * alone on a core. What many groups side by side do to one another is in tell.c.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

enum { RUN = 4, SEED = 20240817, SUBGROUPS_MAX = 1024 };

int simt_wrong(const Simt *s, int lane, const char *what)
{
    int64_t item = s->first + (int64_t)s->sub * s->lanes + lane;
    Loc was = loc_set(s->now->loc);
    error_set(E_INTERNAL, "kernel %s, group %lld, work-item %lld: v%d (%s): %s", s->k->name,
        (long long)s->group - 1, (long long)item, (int)(s->now - s->k->ins), kop[s->now->op].name, what);
    loc_set(was);
    return error_code();
}

/* ==================== forms */

static int64_t floor_div(int64_t x, int64_t d) { return x / d - (x % d < 0); }

static void add_atom(const Simt *s, const Atom *a, int64_t k, int w, int64_t *out)
{
    int n = s->lanes * w;
    int64_t in[LANES_MAX * W];
    uint64_t by = (uint64_t)k;
    if (a->kind == A_VAR && atom_is_lane(a)) {
        for (int x = 0; x < n && w > 1; x++)
            out[x] = (int64_t)((uint64_t)out[x] + by * (uint64_t)(x % W));
        return;
    }
    if (a->kind == A_VAR) {
        int d = atom_is_step(a) || a->id >= s->nvar ? -1 : s->dim[a->id];
        int64_t same = atom_is_step(a) ? s->l->step : a->id < s->nvar ? s->var[a->id] : 0;
        const int64_t *id = d < 0 ? NULL : s->id[d] + (size_t)s->sub * (size_t)s->lanes;
        for (int x = 0; x < n; x++)
            out[x] = (int64_t)((uint64_t)out[x] + by * (uint64_t)(id ? id[x / w] : same));
        return;
    }
    if (a->kind == A_VAL) {
        const int64_t *v = simt_val(s, a->val);
        bool wide = s->k->ins[a->val].w > 1;
        for (int x = 0; x < n; x++)
            out[x] = (int64_t)((uint64_t)out[x] + by * (uint64_t)v[wide ? w > 1 ? x : x * W : x / w]);
        return;
    }
    simt_form(s, a->f, w, in);
    for (int x = 0; x < n; x++) {
        int64_t q = a->kind == A_CLAMP           ? in[x] < 0 ? 0 :
                          in[x] < a->d                       ? in[x] :
                                                               a->d - 1 :
            a->kind == A_DIV || a->kind == A_MOD ? floor_div(in[x], a->d) :
                                                   in[x];
        q = a->kind == A_MOD ? in[x] - a->d * q : q;
        out[x] = (int64_t)((uint64_t)out[x] + by * (uint64_t)q);
    }
}

void simt_form(const Simt *s, Form f, int w, int64_t *out)
{
    for (int x = 0; x < s->lanes * w; x++)
        out[x] = f->c;
    for (int t = 0; t < f->n; t++)
        add_atom(s, f->t[t].a, f->t[t].k, w, out);
}

/* ==================== time */

static int active(const Simt *s) { return __builtin_popcountll(s->on[s->sub]); }

static double rate(const Profile *m, SimClass c)
{
    switch (c) {
    case C_F32:
        return m->f32;
    case C_F64:
        return m->f64;
    case C_INTEGER:
        return m->integer;
    case C_CONVERT:
        return m->convert;
    case C_SPECIAL:
        return m->special;
    case C_REQUEST:
        return m->requests;
    default:
        return m->lanes * m->schedulers;
    }
}

static void uses(void *x, Val v)
{
    Simt *s = x;
    int64_t at = s->ready[(size_t)s->sub * (size_t)s->k->nins + v];
    s->clock[s->sub] = at > s->clock[s->sub] ? at : s->clock[s->sub];
}

void simt_issue(Simt *s, SimClass c, double times, int64_t wait)
{
    double each = s->m->lanes * s->m->schedulers / rate(s->m, c);
    s->n->issued[c] += times;
    s->n->busy[c] += times * active(s);
    s->clock[s->sub] += (int64_t)(times * (each > 1 ? each : 1) + 0.5);
    int64_t *ready = s->ready + (size_t)s->sub * (size_t)s->k->nins, at = s->clock[s->sub] + wait;
    ready[s->now - s->k->ins] = at;
    for (int p = 0; s->now->op == K_LOADS && p < s->now->group; p++)
        ready[s->now->part[p]] = at;
}

static int64_t wait_of(const Profile *m, SimClass c)
{
    return (int64_t)(c == C_F64              ? m->wait_f64 :
            c == C_SPECIAL || c == C_CONVERT ? m->wait_special :
            c == C_CONTROL                   ? 0 :
                                               m->wait_f32);
}

/* ==================== values */

static int across(Simt *s, const KIns *i, int lane, int64_t *out)
{
    int64_t x[W], c[3] = { 0 };
    memcpy(x, simt_val(s, i->arg[0]) + (size_t)lane * W, sizeof x);
    for (int half = W / 2; half; half /= 2)
        for (int l = 0; l < half; l++) {
            c[0] = x[l], c[1] = x[l + half];
            if (!k_eval((KOp)kop[i->op].joins, (Dtype)i->dt, (Dtype)i->dt, 0, c, &x[l]))
                return simt_wrong(s, lane, "has no result");
        }
    *out = x[0];
    return 0;
}

static int one(Simt *s, const KIns *i, int lane, const int64_t *c, int64_t *out)
{
    if (i->op == K_SPLAT)
        return *out = c[0], 0;
    if (i->op == K_SELECT)
        return *out = c[0] ? c[1] : c[2], 0;
    if (!k_eval((KOp)i->op, (Dtype)i->dt, (Dtype)s->k->ins[i->arg[0]].dt, i->bits, c, out))
        return simt_wrong(
            s, lane, arena_text("%lld and %lld have no result", (long long)c[0], (long long)c[1]));
    return 0;
}

static int value(Simt *s, Val v)
{
    const KIns *i = &s->k->ins[v];
    const SimCost *cost = &s->code->cost[v];
    const int64_t *arg[3] = { 0 };
    int step[3] = { 0 }, w = i->w;
    int64_t *out = simt_val(s, v), form[LANES_MAX * W];
    for (int a = 0; a < i->narg && a < 3; a++)
        arg[a] = simt_val(s, i->arg[a]), step[a] = s->k->ins[i->arg[a]].w > 1;
    if (i->op == K_INDEX)
        simt_form(s, i->form, w, form);
    for (int x = 0; x < s->lanes; x++) {
        if (!simt_on(s, x))
            continue;
        if (k_across((KOp)i->op)) {
            if (across(s, i, x, &out[x]))
                return error_code();
            continue;
        }
        for (int l = 0; l < w; l++) {
            int64_t c[3] = { 0 };
            if (i->op == K_INDEX) {
                out[x * w + l] = k_wrap((Dtype)i->dt, form[x * w + l]);
                continue;
            }
            for (int a = 0; a < 3 && arg[a]; a++)
                c[a] = arg[a][step[a] ? x * W + l : x];
            if (one(s, i, x, c, &out[x * w + l]))
                return error_code();
        }
    }
    s->n->flops += s->code->flops[v] * active(s);
    simt_issue(s, (SimClass)cost->class, cost->times, wait_of(s->m, (SimClass)cost->class));
    return 0;
}

/* ==================== structure */

static int run_scope(Simt *, int scope, int from, int to);

/* Of the lanes that are active; all are read before one is written. */
static void copy(Simt *s, const Val *to, const Val *from, int n)
{
    int64_t *kept = s->next, *ready = s->ready + (size_t)s->sub * (size_t)s->k->nins;
    for (int p = 0; p < n; p++, kept += s->lanes * W) {
        int w = s->k->ins[to[p]].w, wide = s->k->ins[from[p]].w;
        const int64_t *x = simt_val(s, from[p]);
        for (int e = 0; e < s->lanes * w; e++)
            kept[e] = x[wide > 1 ? e : e / w];
        ready[to[p]] = ready[from[p]];
    }
    kept = s->next;
    for (int p = 0; p < n; p++, kept += s->lanes * W) {
        int w = s->k->ins[to[p]].w;
        int64_t *y = simt_val(s, to[p]);
        for (int e = 0; e < s->lanes * w; e++)
            y[e] = simt_on(s, e / w) ? kept[e] : y[e];
    }
}

static bool any(const Simt *s, int from, int to)
{
    uint64_t on = 0;
    for (int u = from; u < to; u++)
        on |= s->on[u];
    return on != 0;
}

static int run_loop(Simt *s, const KIns *i, int from, int to)
{
    uint64_t before[SUBGROUPS_MAX];
    int e = 0;
    for (int u = from; u < to; u++) {
        s->sub = u, before[u - from] = s->on[u];
        copy(s, i->phi, i->arg, i->ncarry);
    }
    for (int64_t t = 0; (i->n < 0 || t < i->n) && !e && any(s, from, to); t++) {
        s->var[i->var->id] = t;
        e = run_scope(s, i->scope, from, to);
        for (int u = from; u < to && !e; u++) {
            s->sub = u, s->now = i;
            if (!s->on[u])
                continue;
            copy(s, i->phi, i->next, i->ncarry);
            simt_issue(s, C_CONTROL, 1 / (double)s->code->unroll[i->scope], 0);
            simt_issue(s, C_INTEGER, 1 / (double)s->code->unroll[i->scope], 0);
            s->n->branches++;
        }
    }
    for (int u = from; u < to; u++) {
        s->sub = u, s->on[u] = before[u - from];
        copy(s, i->out, i->phi, i->ncarry);
    }
    return e;
}

static int run_if(Simt *s, const KIns *i, int from, int to)
{
    uint64_t before[SUBGROUPS_MAX], taken[SUBGROUPS_MAX];
    int e = 0;
    for (int u = from; u < to; u++) {
        s->sub = u, s->now = i;
        const int64_t *c = simt_val(s, i->arg[0]);
        uint64_t on = 0;
        uses(s, i->arg[0]);
        for (int x = 0; x < s->lanes; x++)
            on |= simt_on(s, x) && c[x] ? UINT64_C(1) << x : 0;
        before[u - from] = s->on[u], taken[u - from] = on;
        if (!s->on[u])
            continue;
        simt_issue(s, C_CONTROL, 1, 0);
        s->n->branches++, s->n->split += on && on != s->on[u];
    }
    for (int u = from; u < to; u++) { /* the other way first: nothing is computed on it */
        s->sub = u, s->on[u] = before[u - from] & ~taken[u - from];
        copy(s, i->out, i->other, i->ncarry);
        s->on[u] = taken[u - from];
    }
    if (any(s, from, to))
        e = run_scope(s, i->scope, from, to);
    for (int u = from; u < to; u++) { /* who left a loop from here is not among them */
        s->sub = u;
        copy(s, i->out, i->next, i->ncarry);
        s->on[u] |= before[u - from] & ~taken[u - from];
    }
    return e;
}

static int run_barrier(Simt *s)
{
    int64_t last = 0;
    for (int u = 0; u < s->code->subgroups; u++) {
        s->sub = u;
        for (int x = 0; x < s->lanes; x++)
            if ((s->all[u] & ~s->on[u]) >> x & 1)
                return simt_wrong(s, x, "does not come to the barrier, to which others of its group come");
        last = s->clock[u] > last ? s->clock[u] : last;
    }
    s->phase++;
    for (int u = 0; u < s->code->subgroups; u++)
        s->sub = u, s->clock[u] = last, simt_issue(s, C_CONTROL, 1, 0),
        s->clock[u] += (int64_t)s->m->wait_barrier;
    s->n->barriers += s->code->subgroups;
    return 0;
}

/* A function of the kernel: its operands, its scope, its result, of this subgroup. */
static int run_apply(Simt *s, Val v)
{
    const KIns *i = &s->k->ins[v];
    const KFunction *f = s->k->function[i->bits];
    int sub = s->sub;
    copy(s, f->arg, i->arg, f->narg);
    int e = run_scope(s, f->scope, sub, sub + 1);
    s->sub = sub, s->now = i;
    copy(s, i->part ? i->part : &v, f->result, f->nresult);
    return e;
}

static int run_simple(Simt *s, Val v)
{
    const KIns *i = &s->k->ins[v];
    k_uses(s->k, v, uses, s);
    if (s->code->index[v] > 0)
        simt_issue(s, C_INTEGER, s->code->index[v], (int64_t)s->m->wait_f32);
    if (i->op == K_LOAD || i->op == K_LOADS)
        return simt_load(s, v);
    if (i->op == K_STORE || i->op == K_STORES)
        return simt_store(s, v);
    if (i->op == K_APPLY)
        return run_apply(s, v);
    if (i->op != K_BRK)
        return value(s, v);
    const int64_t *c = simt_val(s, i->arg[0]);
    uint64_t was = s->on[s->sub];
    simt_issue(s, C_CONTROL, 1, 0);
    for (int x = 0; x < s->lanes; x++)
        s->on[s->sub] &= c[x] ? UINT64_MAX : ~(UINT64_C(1) << x);
    s->n->branches++, s->n->split += s->on[s->sub] && s->on[s->sub] != was;
    return 0;
}

static int run_scope(Simt *s, int scope, int from, int to)
{
    const KScope *b = &s->k->scope[scope];
    int e = 0;
    for (int n = 0; n < b->nbody && !e; n++) {
        const KIns *i = &s->k->ins[b->body[n]];
        bool structure = kop[i->op].is == KC_SCOPE;
        s->now = i;
        if (i->op == K_BARRIER)
            e = run_barrier(s);
        else if (structure && s->code->barriers[i->scope])
            e = (i->op == K_LOOP ? run_loop : run_if)(s, i, from, to);
        else
            for (int u = from; u < to && !e; u++) {
                s->sub = u, s->now = i;
                if (!s->on[u])
                    continue;
                e = !structure ? run_simple(s, b->body[n]) :
                                 (i->op == K_LOOP ? run_loop : run_if)(s, i, u, u + 1);
            }
    }
    return e;
}

/* ==================== groups */

/* Where the items of a group are, and which lanes there are. */
static void enter(Simt *s, const int64_t at[3], const int64_t n[3])
{
    const int64_t *g = s->code->group;
    for (int u = 0; u < s->code->subgroups; u++)
        s->all[u] = 0, s->clock[u] = 0;
    memset(s->ready, 0, sizeof *s->ready * (size_t)s->code->subgroups * (size_t)s->k->nins);
    for (int64_t x = 0; x < s->code->items; x++) {
        const int64_t in[3] = { x % g[0], x / g[0] % g[1], x / g[0] / g[1] };
        bool there = true;
        for (int d = 0; d < 3; d++) {
            s->id[d][x] = at[d] * g[d] + in[d];
            there &= s->id[d][x] < n[d];
        }
        s->all[x / s->lanes] |= there ? UINT64_C(1) << x % s->lanes : 0;
    }
    memcpy(s->on, s->all, sizeof *s->on * (size_t)s->code->subgroups);
    for (int p = 0; p < s->k->npriv; p++) {
        SimMemory *m = &s->mem[s->k->nparam + p];
        size_t size = (size_t)m->buf->size;
        size_t all = m->buf->space == LOCAL ? size : size * (size_t)s->code->items;
        memset(m->known, 0, all * dtype_size((Dtype)m->buf->dt));
        if (m->watch)
            memset(m->watch, 0, sizeof *m->watch * size);
    }
}

static int run_group(Simt *s, int64_t g, const int64_t of[3], const int64_t n[3])
{
    const int64_t at[3] = { g % of[0], g / of[0] % of[1], g / of[0] / of[1] };
    int64_t all = 0, some = 0;
    s->group = g + 1, s->first = g * s->code->items;
    s->core = g % (int64_t)s->m->cores;
    s->phase++;
    enter(s, at, n);
    /* without barriers one subgroup's values are enough, but they are few */
    int e = run_scope(s, 0, 0, s->code->subgroups);
    for (int u = 0; u < s->code->subgroups; u++) /* who came first to memory waited for the others, too */
        all += s->clock[u], some += s->all[u] != 0;
    s->n->cycles += (double)all / (double)(some ? some : 1);
    s->n->ran++;
    return e;
}

/* The first, the last, and some in between, neighbours together: caches are between them, too. */
static int run_groups(Simt *s)
{
    int64_t n[3] = { 1, 1, 1 }, of[3], all = 1, sample = s->l->machine->sample;
    uint64_t seed = SEED;
    int e = 0;
    for (int d = 0; d < 3; d++) {
        n[d] = d < s->k->ngrid ? s->k->grid[d].n : 1;
        of[d] = (n[d] + s->code->group[d] - 1) / s->code->group[d], all *= of[d];
    }
    s->n->launches++, s->n->groups += (double)all;
    if (!sample || all <= sample) {
        for (int64_t g = 0; g < all && !e; g++)
            e = run_group(s, g, of, n);
        return e;
    }
    int64_t runs = sample / RUN;
    for (int64_t r = 0; r < runs && !e; r++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        int64_t from = r == 0 ? 0 : r == 1 ? all - RUN : (int64_t)(seed % (uint64_t)(all - RUN));
        for (int64_t g = from; g < from + RUN && !e; g++)
            e = run_group(s, g, of, n);
    }
    return e;
}

/* ==================== room for it */

static bool memory_open(Simt *s, int at)
{
    const Kernel *k = s->k;
    SimMemory *m = &s->mem[at];
    bool param = at < k->nparam, whole = !s->l->machine->sample;
    m->buf = param ? k->param[at] : k->priv[at - k->nparam];
    size_t size = (size_t)m->buf->size, width = dtype_size((Dtype)m->buf->dt);
    if (param) {
        const SimPiece *p = s->l->param[at];
        m->p = p->p + s->l->at[at], m->address = p->address + s->l->at[at];
        m->known = whole ? p->known + s->l->at[at] : NULL;
        m->watch = whole && k->written[at] ? calloc(size + 1, sizeof *m->watch) : NULL;
        m->touched = calloc(size + 1, 1);
        return m->touched && (m->watch || !(whole && k->written[at]));
    }
    size_t all = m->buf->space == LOCAL ? size : size * (size_t)s->code->items;
    m->p = calloc(all + 1, width), m->known = calloc(all + 1, width);
    m->address = m->buf->space == LOCAL ? 0 : UINT64_C(1) << 60; /* not where memory is */
    for (int p = k->nparam; p < at; p++) {
        const Buffer *b = s->mem[p].buf;
        int64_t bytes = b->size * (int64_t)dtype_size((Dtype)b->dt);
        if (b->space == m->buf->space)
            m->address += (uint64_t)(b->space == LOCAL ? (bytes + 15) / 16 * 16 : bytes * s->code->items);
    }
    m->watch = m->buf->space == LOCAL ? calloc(size + 1, sizeof *m->watch) : NULL;
    return m->p && m->known && (m->watch || m->buf->space != LOCAL);
}

static bool measure(Simt *s)
{
    const Kernel *k = s->k;
    size_t subs = (size_t)s->code->subgroups, nins = (size_t)k->nins, all = subs * (size_t)s->lanes;
    int carried = 1; /* values that one step hands to another at once */
    s->at = calloc(nins, sizeof *s->at);
    s->place = calloc(nins, sizeof *s->place);
    for (size_t v = 0; s->at && v < nins; v++) {
        const KIns *i = &k->ins[v];
        s->at[v] = s->stride;
        s->stride += (size_t)s->lanes * (i->w ? i->w : 0);
        carried = i->ncarry > carried ? i->ncarry : carried;
        if (i->op == K_LOOP && i->var->id >= s->nvar)
            s->nvar = i->var->id + 1;
    }
    for (int n = 0; n < k->nfunction; n++) {
        const KFunction *f = k->function[n];
        carried = f->narg > carried ? f->narg : carried;
        carried = f->nresult > carried ? f->nresult : carried;
    }
    for (int d = 0; d < k->ngrid; d++)
        s->nvar = k->grid[d].var->id >= s->nvar ? k->grid[d].var->id + 1 : s->nvar;
    s->val = calloc(s->stride * subs + 1, sizeof *s->val);
    s->next = malloc(sizeof *s->next * ((size_t)carried * (size_t)s->lanes * W + 1));
    s->var = calloc((size_t)s->nvar + 1, sizeof *s->var);
    s->dim = malloc((size_t)s->nvar + 1);
    s->on = calloc(subs, sizeof *s->on), s->all = calloc(subs, sizeof *s->all);
    s->clock = calloc(subs, sizeof *s->clock), s->ready = calloc(subs * nins, sizeof *s->ready);
    s->mem = calloc((size_t)(k->nparam + k->npriv) + 1, sizeof *s->mem);
    bool room = s->at && s->place && s->val && s->next && s->var && s->dim && s->on && s->all && s->clock &&
        s->ready && s->mem;
    for (int d = 0; d < 3; d++)
        room &= (s->id[d] = calloc(all, sizeof **s->id)) != NULL;
    return room;
}

static bool prepare(Simt *s)
{
    const Kernel *k = s->k;
    if (!measure(s))
        return false;
    memset(s->dim, -1, (size_t)s->nvar + 1);
    for (int d = 0; d < k->ngrid; d++)
        s->dim[k->grid[d].var->id] = (int8_t)d;
    for (int p = 0; p < k->nparam + k->npriv; p++)
        if (!memory_open(s, p))
            return false;
    for (int v = 1; v < k->nins; v++) {
        const KIns *i = &k->ins[v];
        for (int p = 0; i->buf && p < k->nparam + k->npriv; p++)
            s->place[v] = s->mem[p].buf == i->buf ? p : s->place[v];
        for (s->sub = 0; i->op == K_CONST && s->sub < s->code->subgroups; s->sub++)
            for (int x = 0; x < s->lanes; x++)
                simt_val(s, (Val)v)[x] = i->bits;
    }
    return true;
}

static void finish(Simt *s)
{
    for (int p = 0; s->mem && p < s->k->nparam + s->k->npriv; p++) {
        if (p >= s->k->nparam)
            free(s->mem[p].p), free(s->mem[p].known);
        free(s->mem[p].watch), free(s->mem[p].touched);
    }
    for (int d = 0; d < 3; d++)
        free(s->id[d]);
    free(s->at), free(s->place), free(s->val), free(s->next), free(s->var), free(s->dim), free(s->on),
        free(s->all);
    free(s->clock), free(s->ready), free(s->mem);
}

int sim_launch(const SimLaunch *l)
{
    for (int c = 0; c < (int)l->machine->profile.cores; c++) { /* first caches do not outlive a launch */
        sim_cache_drop(l->machine->l1[c]);
        l->machine->l1[c] = NULL;
    }
    Simt s = { .l = l, .k = l->code->k, .code = l->code, .m = &l->machine->profile, .n = l->counts };
    s.lanes = (int)s.m->lanes, s.now = s.k->ins;
    int e = prepare(&s) ? run_groups(&s) : error_set(E_NOMEM, "no memory to run a kernel in");
    finish(&s);
    return e;
}
