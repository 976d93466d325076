/*
 * region_stored.c - values of bodies that are stored: a body that gives them, and one that takes them
 * instead of computing them; and what a checkpoint saves by its policy.
 *
 * In:  a body, and which of its values are stored. Out: the body with those values as further results, or as
 *      further inputs. Of a scan they are ys and then xs, of a call or a cond results and then captures.
 * A policy reaches into loops and branches. Of
 *          y = scan { h' = tanh(named(h * w, "pre") + x) }
 * the region is made to give "pre" of each step as one more result, which is then a value that is saved like
 * any other; where the values of the scan are computed again, its steps take "pre" as one more x. What a
 * while computes is computed again, as nobody knows how many steps it would store for; with .max_trips it is
 * a scan here.
 */
#include "transforms.h"

#include <string.h>

/* ==================== bodies that give and take */

void stored_slots(Slots *s, const Graph *b, Stored *cut)
{
    bool *mine = NEWS(bool, s->n + cut->n);
    cut->slot = NEWS(int, cut->n);
    for (int k = 0; k < cut->n; k++) {
        const Type *t = &b->type[cut->v[k]];
        int at = 0;
        while (at < s->n && (mine[at] || !type_equal(&s->type[at], t)))
            at++;
        if (at == s->n)
            PUSH(s->type, s->n, s->cap, *t);
        mine[at] = true;
        cut->slot[k] = at;
    }
}

/* A region of which some results, beyond what goes round, are known: it takes them, and gives the others. */
static void with_known(const Ins *i, const Ref *x, const Ref *known, Ref *out)
{
    const Region *r = i->region;
    int n = 0, given = 0;
    bool *res = NEWS(bool, i->nout);
    Stored *cut = NEWS(Stored, i->nsub);
    Slots s = { 0 };
    Ref *stored = NEWS(Ref, i->nout);
    uint8_t *marks = NEWS(uint8_t, (size_t)i->nout * r->nlane);
    for (int k = 0; k < i->nout; k++) {
        const Graph *last = i->sub[i->nsub - 1];
        given += res[k] = k < region_nloop(r) || !known[k];
        if (res[k])
            continue;
        for (int b = 0; b < i->nsub; b++)
            PUSH(cut[b].v, cut[b].n, cut[b].room, i->sub[b]->out[k]);
        for (int a = 0; a < r->nlane; a++)
            marks[n * r->nlane + a] = marks_out(r, k)[a];
        stored[n++] = known[k];
        PUSH(s.type, s.n, s.cap, last->type[last->out[k]]);
    }
    for (int b = 0; b < i->nsub; b++) {
        cut[b].slot = NEWS(int, n);
        for (int k = 0; k < n; k++)
            cut[b].slot[k] = k;
    }
    if (!given)
        return;
    Draft f = draft_of(r, i->nin, x, i->nsub, i->sub), g = stored_draft(&f, cut, &s, stored, marks);
    g = draft_restrict(&g, res);
    Ref *got = NEWS(Ref, draft_results(&g));
    draft_emit(&g, got);
    for (int k = 0, at = 0; k < i->nout; k++)
        out[k] = res[k] ? got[at++] : 0;
}

/* An instruction of a body that takes what is stored: effects were observed before. */
static void take_ins(const Ins *i, const Ref *x, const Ref *known, Ref *out)
{
    bool some = false;
    for (int k = 0; k < i->nout; k++)
        some |= known[k] != 0, out[k] = 0;
    if (i->op != OP_region || !some || i->region->kind == WHILE || i->region->rule) {
        again_quiet(i, x, out);
        return;
    }
    with_known(i, x, known, out);
}

/* z: room for results. take: what is stored is known. */
typedef struct StoredIns { bool take; Ref *z; } StoredIns;

static void stored_ins(const Ins *i, const Ref *x, Ref *out, void *env)
{
    const StoredIns *s = env;
    if (s->take)
        take_ins(i, x, out, s->z);
    else
        again(i, x, s->z);
    for (int k = 0; k < i->nout; k++)
        out[k] = out[k] ? out[k] : s->z[k];
}

Graph *stored_body(const Graph *b, const Stored *cut, const Slots *s, int at)
{
    StoredIns how = { at >= 0, NEWS(Ref, graph_width(b).nout) };
    Ref *map = NEWS(Ref, b->nval), *slot = NEWS(Ref, s->n), *out = NEWS(Ref, b->nout + s->n);
    int nout = 0;
    graph_begin(graph_new())->linear = b->linear;
    for (int j = 0; j <= b->nin; j++) {
        for (int k = 0; j == at && k < s->n; k++)
            slot[k] = graph_input(s->type[k], 0);
        if (j < b->nin)
            map[b->in[j]] = input_like(b, j, b->flag[b->in[j]]);
    }
    for (int k = 0; at >= 0 && k < cut->n; k++)
        map[cut->v[k]] = slot[cut->slot[k]];
    graph_map_ins(b, map, stored_ins, &how);
    for (; nout < b->nout; nout++)
        out[nout] = map[b->out[nout]];
    for (int k = 0; at < 0 && k < cut->n; k++)
        slot[cut->slot[k]] = map[cut->v[k]];
    for (int k = 0; at < 0 && k < s->n; k++)
        out[nout++] = slot[k] ? slot[k] : Zeros(&s->type[k]);
    graph_outputs(out, nout);
    return graph_end();
}

Draft stored_draft(
    const Draft *f, const Stored *cut, const Slots *s, const Ref *stored, const uint8_t *marks)
{
    const Region *r = &f->r;
    int np = region_npred(r), at = r->kind == SCAN ? f->nin : np + r->ncap;
    Draft g = draft_like(r, f->nin + s->n, f->nsub);
    for (int j = 0; j <= f->nin; j++) {
        for (int k = 0; j == at && k < s->n; k++)
            draft_operand(&g, stored[k], marks + (size_t)k * r->nlane);
        if (j < f->nin)
            draft_operand(&g, f->in[j], marks_in(r, j));
    }
    g.r.ncap += r->kind == SCAN ? 0 : s->n;
    for (int k = 0; k < f->nsub; k++)
        g.sub[k] = stored_body(f->sub[k], &cut[k], s, at - np);
    return g;
}

/* ==================== policies */

/* Is this a value that the checkpoint saves: a product, or one with a name of the list? */
static bool saved(const char *save, const Ins *i)
{
    const char *dots = "dots",
               *name = i->op == OP_named ? (const char *)(intptr_t)ins_int(i, ATTR(named, name)) :
        i->op == OP_dot                  ? dots :
                                           NULL;
    size_t n = name ? strlen(name) : 0;
    for (const char *s = save; name && *s; s += *s == ',') {
        s += strspn(s, " ");
        size_t k = strcspn(s, ", ");
        if (k == n && !memcmp(s, name, n))
            return true;
        s += strcspn(s, ",");
    }
    return false;
}

/* The bodies of a region with what is saved in them, for the results that are needed, as further results.
 * Returns how many. */
static int saved_inside(const char *save, const Ins *i, const bool *need, Graph **sub)
{
    const Region *r = i->region;
    bool *res = arena_copy(need, (size_t)i->nout), *in = NEWS(bool, i->nin);
    Stored *cut = NEWS(Stored, i->nsub);
    Slots s = { 0 };
    if (r->kind == WHILE || r->rule)
        return 0;
    region_live(r, i->nin, i->nsub, i->sub, res, in);
    for (int b = 0; b < i->nsub; b++) {
        bool *inner = NEWS(bool, i->sub[b]->nval);
        for (int k = 0; k < i->nout; k++)
            inner[i->sub[b]->out[k]] |= res[k];
        sub[b] = stored_by_policy(save, i->sub[b], inner, &cut[b]);
        stored_slots(&s, sub[b], &cut[b]);
    }
    for (int b = 0; b < i->nsub && s.n; b++)
        sub[b] = stored_body(sub[b], &cut[b], &s, -1);
    return s.n;
}

/* Region i with other bodies, which have further results. */
static void emit_wider(const Ins *i, const Ref *x, Graph *const *sub, Ref *out)
{
    Draft f = draft_of(i->region, i->nin, x, i->nsub, sub);
    int nlane = f.r.nlane, nout = draft_results(&f);
    f.r.om = NEWS(uint8_t, (size_t)nout * nlane);
    for (int k = 0; k < i->nout * nlane; k++)
        f.r.om[k] = i->region->om[k];
    lane_marks(&f, i->nout, f.r.om + (size_t)i->nout * nlane);
    draft_emit(&f, out);
}

/* What a policy saves, by first result: is it the instruction's own; bodies that have it as further results,
 * and how many. z: room for results. */
typedef struct Policy { bool *mine; Graph ***sub; int *more; Stored *cut; Ref *z; } Policy;

static void policy_ins(const Ins *i, const Ref *x, Ref *out, void *env)
{
    const Policy *p = env;
    int more = p->more[i->out];
    if (more)
        emit_wider(i, x, p->sub[i->out], p->z);
    else
        again(i, x, p->z);
    for (int k = 0; k < i->nout; k++)
        out[k] = p->z[k];
    for (int k = p->mine[i->out] ? 0 : i->nout; k < i->nout + more; k++)
        PUSH(p->cut->v, p->cut->n, p->cut->room, p->z[k]);
}

Graph *stored_by_policy(const char *save, const Graph *b, bool *need, Stored *cut)
{
    Policy p = { NEWS(bool, b->nval), NEWS(Graph **, b->nval), NEWS(int, b->nval), cut, NULL };
    int most = 0;
    for (int n = b->nins - 1; n >= 0; n--) {
        const Ins *i = b->ins[n];
        Ref v = i->out;
        if (linear_ins(b, i) || !any_bit(need + v, i->nout))
            continue;
        p.mine[v] = saved(save, i);
        if (i->op == OP_region)
            p.more[v] = saved_inside(save, i, need + v, p.sub[v] = NEWS(Graph *, i->nsub));
        most = p.more[v] > most ? p.more[v] : most;
        for (int k = 0; k < i->nin && !p.mine[v]; k++)
            need[i->in[k]] = true;
    }
    Ref *map = NEWS(Ref, b->nval);
    p.z = NEWS(Ref, graph_width(b).nout + most);
    graph_map_begin(b, map, V_ACC | V_LIN);
    graph_map_ins(b, map, policy_ins, &p);
    return graph_map_end(b, map);
}
