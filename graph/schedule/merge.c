/*
 * merge.c - kernels out of roots.
 *
 * In:  roots in the order of their values; what is stored is decided.
 * Out: groups of roots in an order in which each finds what it reads; a group is one kernel.
 * Roots become one kernel when their outer spaces are equal, no kernel between them needs one and feeds the
 * other, and they share a load or read one another at the same index, or are tiny.
 */
#include "schedule.h"

#include <string.h>

/* The last groups, which a root may still join, and more: a bit of Near is group % BEHIND. It is the size of
 * a set, and no price: what a root is compared with is `walk_back`. */
enum { BEHIND = 256, WORDS = BEHIND / 64 };
typedef struct Near { uint64_t w[WORDS]; } Near;
typedef struct Edges { int *to, n, cap; } Edges;

typedef struct Merge {
    Sched *s;
    Group *g; int n, cap;
    Edges *needs;                               /* by group: the groups it needs, directly */
    /* by group: of those in the window all that it needs, transitively; of a group that has left the window
     * as it was then: what it needs by itself does not change any more */
    Near *dep;
    int *where;                                 /* by value: group + 1 */
    Seen *reads;                                /* by group: (value, index) that it loads */
    int exchange;                               /* the last group so far that exchanges something, + 1 */
} Merge;

/* ==================== what a root reads */

typedef struct Reader { Sched *s; Root *r; int cap; } Reader;

/* tag: the root itself, which is not loaded. */
static Onward read_value(DemandWalk *w, Visit *x)
{
    Reader *q = w->ctx;
    if (q->s->stored[x->v].buf && !x->tag) {
        if (seen_add(&q->s->loads, x->v, PTR(x->key), 0, 0))
            PUSH(q->r->read, q->r->nread, q->cap, (Need){ .root = x->v, .idx = x->key });
        return WALK_PAST;
    }
    if (!x->i)
        return WALK_PAST;
    q->r->code += 1 + optab[x->i->op].cost;
    x->tag = false;
    return WALK_INTO;
}

static void root_reads(Sched *s, Root *r)
{
    Reader q = { .s = s, .r = r };
    DemandWalk like = { .g = s->g, .visit = read_value, .ctx = &q, .computed = true },
               *w = walk_anew(&s->walk, like);
    seen_clear(&s->loads);
    if (r->kind == ROOT_VALUE || r->kind == ROOT_SUMS) {
        demand_walk(w, r->kind == ROOT_SUMS ? r->x : r->v, r->idx->f, r->kind == ROOT_VALUE, NULL);
        return;
    }
    for (int k = 0; k <= r->ins->nin; k++) {
        Ref v = k < r->ins->nin ? r->ins->in[k] : r->x;
        const Type *t = &s->g->type[v];
        Form idx[MAXRANK];
        const Atom *const *o = elem_space("k", t->dim, t->rank, 1);
        for (int d = 0; d < t->rank; d++)
            idx[d] = form_a(o[d]);
        if (v)
            demand_walk(w, v, idx, k == r->ins->nin, NULL);
    }
}

/* ==================== may a root join a group? */

static bool is_contraction(const Sched *s, Ref v) { return s->g->def[v] && s->g->def[v]->op == OP_dot; }

static bool may_join(Merge *m, const Root *r, int n)
{
    const Group *k = &m->g[n];
    const Machine *most = m->s->target->machine;
    if (r->code > most->merged_piece && k->code > most->merged_piece &&
        k->code + r->code > most->merged_code)
        return false;
    double turns = m->s->turns[r->v] > k->turns ? m->s->turns[r->v] : k->turns;
    if (text_exceeds(most, k->text + m->s->text[r->v], turns))
        return false;
    bool mine = false, share = false, heavy = is_contraction(m->s, r->v);
    for (int j = 0; j < k->n; j++) {
        const Root *q = k->root[j];
        if (!root_merges(q) || q->space != r->space)
            return false;
        if (q->kind == ROOT_SUMS && r->kind == ROOT_SUMS && q->chunk != r->chunk)
            return false;
        heavy = heavy || is_contraction(m->s, q->v);
        for (int a = 0; a < r->nread; a++)
            if (r->read[a].root == q->v) {
                if (q->kind == ROOT_SUMS || r->read[a].idx != q->idx)
                    return false;
                mine = true;
            }
    }
    for (int a = 0; a < r->nread && !mine && !share; a++) {
        const Need *x = &r->read[a];
        share = x->idx->n && seen_has(&m->reads[n], x->root, PTR(x->idx), 0, 0);
        bool varies = false;
        for (int d = 0; d < x->idx->n; d++)
            varies = varies || !form_const(x->idx->f[d]);
        share = share && varies;
    }
    /* a launch costs more than all of it */
    if (r->space->vol <= (double)most->tiny && k->n < most->tiny_roots)
        share = true;
    return (mine || share) && !(heavy && r->space->n > 1 && !mine);
}

static void add_reads(Seen *set, const Root *r)
{
    for (int a = 0; a < r->nread; a++)
        seen_add(set, r->read[a].root, PTR(r->read[a].idx), 0, 0);
}

/* ==================== which groups a group needs */

static bool near_has(const Near *s, int k) { return s->w[k % BEHIND / 64] >> (k % 64) & 1; }
static void near_add(Near *s, int k) { s->w[k % BEHIND / 64] |= 1ull << (k % 64); }
static void near_drop(Near *s, int k) { s->w[k % BEHIND / 64] &= ~(1ull << (k % 64)); }
static void near_join(Near *s, const Near *more)
{
    for (int k = 0; k < WORDS; k++)
        s->w[k] |= more->w[k];
}

static bool in_window(const Merge *m, int k) { return k > m->n - BEHIND; }

/* What k needs, of the window. One that has left it was followed by BEHIND - 1 groups at that time. */
static Near needed_by(const Merge *m, int k)
{
    Near all = { 0 };
    if (in_window(m, k))
        return m->dep[k];
    for (int j = k + 1; j < k + BEHIND; j++)
        if (near_has(&m->dep[k], j) && in_window(m, j)) {
            near_add(&all, j);
            near_join(&all, &m->dep[j]);
        }
    return all;
}

/* between: what is needed by something that is needed. */
typedef struct Path { Edges direct; Near between; } Path;

static void path_add(const Merge *m, Path *p, int k)
{
    if (k < 0)
        return;
    for (int j = 0; j < p->direct.n; j++)
        if (p->direct.to[j] == k)
            return;
    PUSH(p->direct.to, p->direct.n, p->direct.cap, k);
    Near below = needed_by(m, k);
    near_join(&p->between, &below);
}

/* All shards come to their exchanges in one order. */
static Path path_of(Merge *m, const Root *r, bool exchanges)
{
    Path p = { 0 };
    for (int a = 0; a < r->nread; a++)
        path_add(m, &p, m->where[r->read[a].root] - 1);
    if (exchanges)
        path_add(m, &p, m->exchange - 1);
    return p;
}

static int group_new(Merge *m)
{
    int n = m->n;
    PUSH(m->g, m->n, m->cap, (Group){ 0 });
    for (int k = n < BEHIND ? 0 : n - BEHIND + 1; k < n; k++)
        near_drop(&m->dep[k], n);               /* that was group n - BEHIND */
    return n;
}

/* Group n needs what is on the path, and so does what needs it. */
static void group_needs(Merge *m, int n, const Path *p)
{
    Near all = p->between;
    for (int k = 0; k < p->direct.n; k++)
        if (p->direct.to[k] != n) {
            PUSH(m->needs[n].to, m->needs[n].n, m->needs[n].cap, p->direct.to[k]);
            if (in_window(m, p->direct.to[k]))
                near_add(&all, p->direct.to[k]);
        }
    near_drop(&all, n);
    near_join(&m->dep[n], &all);
    for (int k = m->n < BEHIND ? 0 : m->n - BEHIND + 1; k < m->n; k++)
        if (near_has(&m->dep[k], n))
            near_join(&m->dep[k], &all);
}

static int group_for(Merge *m, const Root *r, const Path *p)
{
    const int64_t most = m->s->target->machine->walk_back, back = most < BEHIND ? most : BEHIND - 1;
    if (root_merges(r))
        for (int n = m->n - 1; n >= 0 && n >= m->n - back; n--)
            if (!near_has(&p->between, n) && may_join(m, r, n))
                return n;
    return group_new(m);
}

static void group_root(Merge *m, Root *r)
{
    bool exchanges = r->kind == ROOT_STEPS && ins_exchanges(r->ins);
    root_reads(m->s, r);
    Path p = path_of(m, r, exchanges);
    int best = group_for(m, r, &p);
    group_needs(m, best, &p);
    if (exchanges)
        m->exchange = best + 1;
    Group *g = &m->g[best];
    PUSH(g->root, g->n, g->cap, r);
    g->code += r->code;
    g->text += m->s->text[r->v];
    g->turns = m->s->turns[r->v] > g->turns ? m->s->turns[r->v] : g->turns;
    add_reads(&m->reads[best], r);
    for (int k = 0; k < (root_merges(r) ? 1 : r->ins->nout); k++)
        m->where[r->v + (Ref)k] = best + 1;
}

/* A carry is changed in place after every other look at it. readers: by value, the groups that read it. */
static void writes_last(Merge *m)
{
    Edges *readers = NEWS(Edges, m->s->g->nval);
    for (int r = 0; r < m->n; r++)
        for (int k = 0; k < m->g[r].n; k++)
            for (int a = 0; a < m->g[r].root[k]->nread; a++) {
                Edges *e = &readers[m->g[r].root[k]->read[a].root];
                if (!e->n || e->to[e->n - 1] != r)
                    PUSH(e->to, e->n, e->cap, r);
            }
    for (int n = 0; n < m->n; n++) {
        const Root *w = m->g[n].root[0];
        Ref p = w->kind == ROOT_INS ? w->ins->in[0] : 0;
        if (!p || w->spec != SPEC_SCATTER || m->s->stored[p].buf != m->s->stored[w->v].buf)
            continue;
        for (int k = 0; k < readers[p].n; k++)
            if (readers[p].to[k] != n)
                PUSH(m->needs[n].to, m->needs[n].n, m->needs[n].cap, readers[p].to[k]);
    }
}

/* ==================== order */

/* The groups that n needs come before it; most have smaller numbers, so this is no deep recursion. */
static void visit(const Merge *m, int n, bool *done, Group *out, int *count)
{
    if (done[n])
        return;
    done[n] = true;
    for (int k = 0; k < m->needs[n].n; k++)
        visit(m, m->needs[n].to[k], done, out, count);
    out[(*count)++] = m->g[n];
}

Group *merge_roots(Sched *s, int *n)
{
    Merge m = { .s = s };
    m.dep = NEWS(Near, s->nroot);
    m.needs = NEWS(Edges, s->nroot);
    m.where = NEWS(int, s->g->nval);
    m.reads = NEWS(Seen, s->nroot);
    for (int k = s->nroot - 1; k >= 0; k--)
        group_root(&m, s->root[k]);
    writes_last(&m);
    Group *out = NEWS(Group, m.n);
    bool *done = NEWS(bool, m.n);
    *n = 0;
    for (int k = 0; k < m.n; k++)
        visit(&m, k, done, out, n);
    return out;
}
