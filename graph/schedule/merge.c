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

#define LOOK_BACK 200                           /* kernels of one outer space that a root is compared with */

typedef struct Merge {
    Sched *s;
    Group *g; int n, cap;
    /* by group: the groups it needs, and that need it, transitively */
    uint64_t **dep, **rev; int words;
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
        if (seen_add(&q->r->reads, x->v, PTR(x->key), 0, 0))
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
    DemandWalk w = { .g = s->g, .visit = read_value, .ctx = &q, .computed = true };
    if (r->kind == ROOT_VALUE || r->kind == ROOT_SUMS) {
        demand_walk(&w, r->kind == ROOT_SUMS ? r->x : r->v, r->idx->f, r->kind == ROOT_VALUE, NULL);
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
            demand_walk(&w, v, idx, k == r->ins->nin, NULL);
    }
}

/* ==================== may a root join a group? */

static bool bit(const uint64_t *w, int k) { return w[k / 64] >> (k % 64) & 1; }

static bool is_contraction(const Sched *s, Ref v) { return s->g->def[v] && s->g->def[v]->op == OP_dot; }

static bool may_join(Merge *m, const Root *r, int n, const uint64_t *need)
{
    const Group *k = &m->g[n];
    const Machine *most = m->s->target->machine;
    if (r->code > most->merged_piece && k->code > most->merged_piece &&
        k->code + r->code > most->merged_code)
        return false;
    bool mine = false, share = false, heavy = is_contraction(m->s, r->v);
    for (int j = 0; j < k->n; j++) {
        const Root *q = k->root[j];
        if (q->kind > ROOT_SUMS || q->space != r->space)
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
    for (int j = 0; j < m->words; j++)          /* something between needs that kernel */
        if (need[j] & m->rev[n][j])
            return false;
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

/* Group n needs what dep[n] says: the other direction. */
static void note_needed(Merge *m, int n)
{
    for (int k = 0; k < m->words; k++)
        for (uint64_t w = m->dep[n][k]; w; w &= w - 1)
            m->rev[k * 64 + __builtin_ctzll(w)][n / 64] |= 1ull << (n % 64);
}

static void needs(const Merge *m, uint64_t *need, int w)
{
    if (w < 0)
        return;
    need[w / 64] |= 1ull << (w % 64);
    for (int k = 0; k < m->words; k++)
        need[k] |= m->dep[w][k];
}

/* All shards come to their exchanges in one order. */
static void place_root(Merge *m, Root *r)
{
    uint64_t *need = NEWS(uint64_t, m->words);
    bool exchanges = r->kind == ROOT_STEPS && ins_exchanges(r->ins);
    root_reads(m->s, r);
    for (int a = 0; a < r->nread; a++)
        needs(m, need, m->where[r->read[a].root] - 1);
    if (exchanges)
        needs(m, need, m->exchange - 1);
    int best = -1;
    if (r->kind <= ROOT_SUMS)
        for (int n = m->n - 1; n >= 0 && n >= m->n - LOOK_BACK && best < 0; n--)
            if (may_join(m, r, n, need))
                best = n;
    if (best < 0) {
        best = m->n;
        PUSH(m->g, m->n, m->cap, (Group){ 0 });
        m->dep[best] = need;
        m->rev[best] = NEWS(uint64_t, m->words);
        note_needed(m, best);
    } else {
        need[best / 64] &= ~(1ull << (best % 64));
        for (int k = 0; k < m->words; k++)
            m->dep[best][k] |= need[k];
        for (int n = 0; n < m->n; n++)
            if (n == best || bit(m->dep[n], best)) {
                for (int k = 0; k < m->words; k++)
                    m->dep[n][k] |= m->dep[best][k];
                note_needed(m, n);
            }
    }
    if (exchanges)
        m->exchange = best + 1;
    Group *g = &m->g[best];
    PUSH(g->root, g->n, g->cap, r);
    g->code += r->code;
    add_reads(&m->reads[best], r);
    for (int k = 0; k < (r->kind <= ROOT_SUMS ? 1 : r->ins->nout); k++)
        m->where[r->v + (Ref)k] = best + 1;
}

/* A carry is changed in place after every other look at it. */
static void writes_last(Merge *m)
{
    for (int n = 0; n < m->n; n++) {
        const Root *w = m->g[n].root[0];
        Ref p = w->kind == ROOT_INS ? w->ins->in[0] : 0;
        if (!p || w->spec != SPEC_SCATTER || m->s->stored[p].buf != m->s->stored[w->v].buf)
            continue;
        for (int r = 0; r < m->n; r++) {
            bool reads = false;
            for (int k = 0; k < m->g[r].n; k++)
                for (int a = 0; a < m->g[r].root[k]->nread; a++)
                    reads = reads || m->g[r].root[k]->read[a].root == p;
            if (!reads || r == n)
                continue;
            m->dep[n][r / 64] |= 1ull << (r % 64);
            for (int k = 0; k < m->words; k++)
                m->dep[n][k] |= m->dep[r][k];
        }
        for (int r = 0; r < m->n; r++)
            if (bit(m->dep[r], n))
                for (int k = 0; k < m->words; k++)
                    m->dep[r][k] |= m->dep[n][k];
    }
}

/* ==================== order */

static void visit(Merge *m, int n, bool *done, Group *out, int *count)
{
    if (done[n])
        return;
    done[n] = true;
    for (int k = 0; k < m->n; k++)              /* groups are transitive: those of a group come before it */
        if (k != n && bit(m->dep[n], k))
            visit(m, k, done, out, count);
    out[(*count)++] = m->g[n];
}

Group *merge_roots(Sched *s, int *n)
{
    Merge m = { .s = s, .words = (s->nroot + 63) / 64 };
    m.dep = NEWS(uint64_t *, s->nroot);
    m.rev = NEWS(uint64_t *, s->nroot);
    m.where = NEWS(int, s->g->nval);
    m.reads = NEWS(Seen, s->nroot);
    for (int k = s->nroot - 1; k >= 0; k--)
        place_root(&m, s->root[k]);
    writes_last(&m);
    Group *out = NEWS(Group, m.n);
    bool *done = NEWS(bool, m.n);
    *n = 0;
    for (int k = 0; k < m.n; k++)
        visit(&m, k, done, out, n);
    return out;
}
