/*
 * compare_shrink.c - the smallest program that still differs.
 *
 * In:  a comparison whose results differ on a device. Out: a program of a few instructions with the contents
 *      of its inputs, for which host and device differ as well.
 * Where one instruction differs by itself, that is the program already. Else what matters is that several
 * are compiled together: of all that the worst result needs, values become inputs with what the host
 * computed, in large groups first, then one by one, as long as the rest differs. In bodies of regions, where
 * there is nothing to be put in, an instruction gives way to an operand of its type, or to zeros.
 */
#include "compare.h"
#include "graph_map.h"

#include <string.h>

enum { MOST_TRIES = 400 };

typedef struct Shrink {
    const Comparison *c;
    Device *device;
    int tries;
    Gap gap;
} Shrink;

static bool differs(Shrink *s, const Trial *t)
{
    Arena *a = arena_new(), *before = arena_use(a);
    Comparison *c =
        s->tries++ < MOST_TRIES && t->g && !error_pending() ? comparison_new(*t, s->c->tol) : NULL;
    Compared m = { .agree = true };
    bool is = c && !compare_on(c, s->device, &m) && !m.agree && !m.failed;
    if (is && m.worst >= 0)
        s->gap = m.out[m.worst];
    if (error_code() != E_NOMEM)
        error_clear();
    arena_use(before);
    arena_drop(a);
    return is;
}

/* Without what nobody needs. */
static Trial tidy(const Graph *g, void *const *in)
{
    bool *live = NEWS(bool, g->nval), *keep = NEWS(bool, g->nin);
    Trial t = { .in = NEWS(void *, g->nin) };
    int n = 0;
    graph_live(g, NULL, live);
    for (int k = 0; k < g->nin; k++)
        if ((keep[k] = live[g->in[k]]))
            t.in[n++] = in[k];
    t.g = graph_restrict(g, keep, NULL);
    return t;
}

/* ==================== values of the program become inputs */

typedef struct Cut {
    const Graph *g;
    void **value; /* by value: what the host has there */
    bool *given; /* by instruction */
    Ref target;
} Cut;

/* Every value of the program, as the host computes it. */
static int all_values(Cut *c, const Trial *t)
{
    const Graph *g = t->g;
    Ref *map = NEWS(Ref, g->nval), *x = NEWS(Ref, g->nval);
    Graph *all = graph_begin(graph_new());
    int n = 0;
    for (int k = 0; k < g->nin; k++)
        map[g->in[k]] = graph_input(g->type[g->in[k]], 0), c->value[g->in[k]] = t->in[k];
    graph_map_ins(g, map, graph_map_same, NULL);
    for (Ref v = 1; v < (Ref)g->nval; v++)
        if (g->def[v])
            x[n++] = map[v];
    graph_outputs(x, n);
    graph_end();
    void **out = NEWS(void *, n);
    if (error_pending() || compare_host(&(Trial){ all, t->in }, NULL, out))
        return (int)error_code();
    n = 0;
    for (Ref v = 1; v < (Ref)g->nval; v++)
        if (g->def[v])
            c->value[v] = out[n++];
    return 0;
}

/* Data of the inputs of a trial, so far; n: which instruction it is. */
typedef struct Cutting { const Cut *c; void **in; int nin, n; } Cutting;

static void cut_ins(const Ins *i, const Ref *x, Ref *out, void *env)
{
    Cutting *a = env;
    if (!a->c->given[a->n++]) {
        again(i, x, out);
        return;
    }
    for (int k = 0; k < i->nout; k++) {
        out[k] = graph_input(a->c->g->type[i->out + (Ref)k], 0);
        a->in[a->nin++] = a->c->value[i->out + (Ref)k];
    }
}

static Trial cut_trial(const Cut *c)
{
    const Graph *g = c->g;
    Ref *map = NEWS(Ref, g->nval);
    void **in = NEWS(void *, g->nval);
    Graph *h = graph_map_begin(g, map, 0);
    for (int k = 0; k < g->nin; k++)
        in[k] = c->value[g->in[k]];
    graph_map_ins(g, map, cut_ins, &(Cutting){ c, in, g->nin, 0 });
    graph_outputs(&map[c->target], 1);
    graph_end();
    h->name = "small";
    return tidy(h, in);
}

static bool plain_constant(const Graph *g, const Ins *i)
{
    return i->op == OP_const ||
        (i->op == OP_broadcast && g->def[i->in[0]] && g->def[i->in[0]]->op == OP_const);
}

/* Groups of instructions, the largest first, are given, where the rest still differs. */
static void cut_down(Shrink *s, Cut *c, Trial *best)
{
    const Graph *g = c->g;
    bool *was = NEWS(bool, g->nins);
    for (int size = g->nins; size; size /= 2)
        for (int from = 0; from < g->nins; from += size) {
            bool any = false;
            memcpy(was, c->given, (size_t)g->nins);
            for (int n = from; n < from + size && n < g->nins; n++)
                if (!c->given[n] && !plain_constant(g, g->ins[n]))
                    any = c->given[n] = true;
            Trial t = any ? cut_trial(c) : (Trial){ 0 };
            if (any && t.g->nins && differs(s, &t))
                *best = t;
            else
                memcpy(c->given, was, (size_t)g->nins);
        }
}

static int from_whole(Shrink *s, int output, Trial *best)
{
    const Trial *t = &s->c->trial;
    Cut c = { t->g, NEWS(void *, t->g->nval), NEWS(bool, t->g->nins), t->g->out[output] };
    if (all_values(&c, t))
        return (int)error_code();
    Trial whole = cut_trial(&c);
    *best = differs(s, &whole) ? whole : *t; /* else it takes all results together */
    if (best->g == whole.g)
        cut_down(s, &c, best);
    return 0;
}

/* ==================== bodies */

/* The n-th instruction of bodies gives way; how: to an operand of its type, or to zeros. */
typedef struct Replace {
    int left;
    bool zeros, done;
} Replace;

static Graph *replaced_body(const Graph *, Replace *, const bool *fixed);

/* What decides whether a while goes on: it must stay. */
static bool *fixed_values(const Ins *i, int body)
{
    bool *fixed = NEWS(bool, i->sub[body]->nval);
    if (i->region->kind != WHILE)
        return fixed;
    bool *res = NEWS(bool, i->nout), *in = NEWS(bool, i->nin);
    region_live(i->region, i->nin, i->nsub, i->sub, res, in);
    if (body)
        graph_live(i->sub[1], res, fixed);
    else
        memset(fixed, true, (size_t)i->sub[0]->nval);
    return fixed;
}

static void replace_inside(const Ins *i, const Ref *x, Replace *r, Ref *out)
{
    Ins same = *i;
    same.sub = NEWS(Graph *, i->nsub);
    for (int k = 0; k < i->nsub; k++)
        same.sub[k] = replaced_body(i->sub[k], r, fixed_values(i, k));
    again(&same, x, out);
}

static bool replace_here(const Ins *i, const Ref *x, Replace *r, Ref *out)
{
    bool can = i->op != OP_const && i->op != OP_accum && i->op != OP_accum_slice && i->nout == 1;
    if (r->done || !can || r->left-- > 0)
        return false;
    Ref z = 0;
    again(i, x, out);
    Type t = out[0] ? *typ(out[0]) : (Type){ 0 };
    for (int k = 0; k < i->nin && !r->zeros; k++)
        z = z ? z : type_equal(typ(x[k]), &t) && !graph_acc(cur(), x[k]) ? x[k] : 0;
    if (r->zeros && out[0] && t.dt != DT_KEY && !graph_acc(cur(), out[0]))
        z = dtype_complex((Dtype)t.dt) ? 0 : Zeros(&t);
    r->done = true;
    if (z)
        out[0] = z;
    return true;
}

typedef struct Replacing { Replace *r; const bool *fixed; } Replacing;

static void replace_ins(const Ins *i, const Ref *x, Ref *out, void *env)
{
    const Replacing *p = env;
    bool free = !p->fixed || !p->fixed[i->out];
    if (free && i->op == OP_region)
        replace_inside(i, x, p->r, out);
    else if (!free || !p->fixed || !replace_here(i, x, p->r, out))
        again(i, x, out);
}

static Graph *replaced_body(const Graph *g, Replace *r, const bool *fixed)
{
    Ref *map = NEWS(Ref, g->nval);
    graph_map_begin(g, map, V_ACC | V_LIN);
    graph_map_ins(g, map, replace_ins, &(Replacing){ r, fixed });
    return graph_map_end(g, map);
}

static void shrink_bodies(Shrink *s, Trial *best)
{
    for (int n = 0; s->tries < MOST_TRIES;) {
        Replace r = { .left = n };
        bool better = false;
        for (int how = 0; how < 2 && !better; how++) {
            r = (Replace){ .left = n, .zeros = how };
            const Graph *g = replaced_body(best->g, &r, NULL);
            if (!g || error_pending() || !r.done)
                break;
            Trial t = tidy(graph_dce(g), best->in);
            better = compare_instructions(t.g) < compare_instructions(best->g) && differs(s, &t);
            if (better)
                *best = t;
        }
        error_clear();
        if (!r.done)
            return;
        n = better ? n : n + 1;
    }
}

/* ==================== */

int compare_instructions(const Graph *g)
{
    int all = 0;
    for (int n = 0; n < g->nins; n++) {
        all += !plain_constant(g, g->ins[n]);
        for (int k = 0; k < g->ins[n]->nsub; k++)
            all += compare_instructions(g->ins[n]->sub[k]);
    }
    return all;
}

int compare_shrink(const Comparison *c, Compared *m)
{
    Shrink s = { .c = c, .device = m->device };
    Trial best = m->small;
    if (m->agree || m->failed || m->shrunk)
        return 0;
    if (!best.g && from_whole(&s, m->worst, &best))
        return (int)error_code();
    best = tidy(best.g, best.in);
    if (!differs(&s, &best)) /* it took what the others were compiled with */
        best = c->trial;
    shrink_bodies(&s, &best);
    m->small = best, m->small_gap = s.gap, m->shrunk = true;
    return error_pending() ? (int)error_code() : 0;
}
