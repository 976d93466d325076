/*
 * stage.c - what a kernel stores, in which loops: phases in front of the stores, private rows between them,
 * which variable is the vector, which copies are a loop.
 *
 * In:  a Spec whose outer axes and blocks are chosen. Out: its stages.
 * Sums whose index is known in front of the stores run in levels, each after those that it needs; those of
 * one level and space share a loop. What two loops over the same space need and is dear lies in a private
 * row between them. All by symbolic indices: where blocks begin is a variable.
 */
#include "schedule.h"

#include <string.h>

int long_variable(const Atom *const *a, int n)
{
    for (int p = n - 1; p >= 0; p--)
        if (atom_extent(a[p]) >= W)
            return p;
    return n - 1;
}

Flight spec_flight(const Spec *s, int64_t extent, int sums)
{
    const Machine *m = s->target->machine;
    int64_t vectors = extent / W;
    int most = s->written.sums, all = s->written.flight / sums, n = all > most ? most : all < 1 ? 1 : all;
    if (n > vectors)
        n = vectors ? (int)vectors : 1;
    while (vectors % n && n > 1 && vectors < m->even_turns * n)
        n--;
    return (Flight){ n, vectors && extent % W >= m->rest };
}

/* Rows whose distance is a multiple of row_way would have one set in the first cache. */
static int64_t row_apart(const Machine *m, int64_t size) { return size % m->row_way ? 0 : m->row_shift; }

/* ==================== what is evaluated */

MemRef frame_stored(const struct Frame *fr, Ref v)
{
    if (!fr->stored[v].buf || refs_have(fr->made, v))
        return (MemRef){ 0 };
    MemRef copy = memref_instead(fr->instead, v);
    return copy.buf ? copy : fr->stored[v];
}

bool frame_leaf(const struct Frame *fr, Ref v)
{
    return frame_stored(fr, v).buf || (fr->outside_of && fr->outside_of[v]);
}

static bool leaf_of(const void *fr, Ref v) { return frame_leaf(fr, v); }

static void count_users(const Planner *p, struct Frame *fr, const Ref *roots, int n)
{
    fr->users = (UserCount){ .g = fr->g, .leaf = leaf_of, .frame = fr };
    users_count(&fr->users, &p->s->walk, roots, n);
}

/* ==================== the vector of a loop: where most loads are side by side or shared */

int loop_price(const Machine *m, Form f, const Atom *a)
{
    int64_t c = form_coef(f, a);
    if (c != 0 && c != 1)
        return (int)m->load_far;
    for (int j = 0; j < f->n; j++)
        if (f->t[j].a != a && set_has(f->t[j].a->deps, a))
            return (int)m->load_far;
    return 1;
}

/* Places that an element needs, a buffer's each once. A row that phases before number `phase` have written
 * is none, nor is a panel of the kernel's own: there lanes lie side by side. */
typedef struct Loads {
    const Planner *p;
    const Spec *spec; int phase;                /* NULL: rows and panels are what they are made of */
    Form *f; int n, cap;
} Loads;

static Onward load_met(DemandWalk *, Visit *);

static void loads_open(Loads *l)
{
    struct Frame *fr = l->p->fr;
    walk_anew(&l->p->s->inside, (DemandWalk){ .g = fr->g, .fr = fr, .visit = load_met, .ctx = l });
    seen_clear(&l->p->s->loads);
}

static bool in_row(const Loads *l, const Visit *x)
{
    MapKey key = map_key(x->v, 0, 0, x->idx, x->key->n);
    int row = (int)(intptr_t)map_get(&x->fr->rows, key.w, key.n) - 1;
    bool panel = false;
    for (int k = 0; l->spec && k < l->spec->npanel; k++)
        panel = panel || (l->spec->panel[k].v == x->v && l->spec->panel[k].idx == x->key);
    return panel || (row >= 0 && row < l->phase);
}

static Onward load_met(DemandWalk *w, Visit *x)
{
    Loads *l = w->ctx;
    MemRef p = frame_stored(x->fr, x->v);
    if (l->spec && in_row(l, x))
        return WALK_PAST;
    if (p.buf) {
        Form f = layout_form(p.layout, NULL, x->idx, x->key->n, NULL);
        if (seen_add(&l->p->s->loads, PTR(p.buf), PTR(f), 0, 0))
            PUSH(l->f, l->n, l->cap, f);
        return WALK_PAST;
    }
    return !x->i || x->i->op == OP_region || frame_leaf(x->fr, x->v) ? WALK_PAST : WALK_INTO;
}

static void add_loads(Loads *l, Ref v, const Form *idx) { demand_walk(&l->p->s->inside, v, idx, 0, NULL); }

/* short_price: of a variable that has no whole vector. */
/* Of a variable that has no whole vector: no matter what the loads are; after those that have one. They are
 * no prices. */
enum { NEVER = 1 << 30, LAST = 1000 };

static int best_vector(const Machine *m, const Loads *l, const Atom *const *a, int n, int64_t short_price)
{
    int best = n - 1;
    int64_t least = INT64_MAX;
    for (int p = n - 1; p >= 0; p--) {
        int64_t c = atom_extent(a[p]) < W ? short_price : 0;
        for (int j = 0; j < l->n; j++)
            c += loop_price(m, l->f[j], a[p]);
        if (c < least)
            least = c, best = p;
    }
    return best;
}

static int sum_vector(const Planner *p, const Want *want, int n)
{
    Loads l = { .p = p };
    const Atom *const *ks = NULL;
    int nk = 0;
    loads_open(&l);
    for (int j = 0; j < n; j++) {
        Demand d[2];
        int nd = elem_reduce(p->fr->g, p->fr->g->def[want[j].v], want[j].idx, &ks, &nk, d);
        for (int k = 0; nk > 1 && k < nd; k++)
            add_loads(&l, d[k].v, d[k].idx);
    }
    return nk > 1 ? best_vector(p->m, &l, ks, nk, NEVER) : 0;
}

typedef struct Short { const Planner *p; int64_t most; } Short;

static Onward short_met(DemandWalk *w, Visit *x)
{
    Short *s = w->ctx;
    if (frame_leaf(x->fr, x->v) || !x->i || x->i->op == OP_region)
        return WALK_PAST;
    if (optab[x->i->op].element != IS_SUM)
        return WALK_INTO;
    visit_demands(x);
    int64_t n = space_size(x->ks, x->nk);
    if (n > s->p->spec->unroll)
        return WALK_PAST;
    s->most = n > s->most ? n : s->most;
    return WALK_INTO;
}

/* Of a short sum inside of these, which is written out: all that it adds is in registers at once. */
static int sum_within(const Planner *p, const Want *want, int n)
{
    Short s = { p, 0 };
    DemandWalk w = { .g = p->fr->g, .fr = p->fr, .visit = short_met, .ctx = &s };
    const Atom *const *ks;
    int nk;
    for (int j = 0; j < n; j++) {
        Demand d[2];
        int nd = elem_reduce(p->fr->g, p->fr->g->def[want[j].v], want[j].idx, &ks, &nk, d);
        for (int k = 0; k < nd; k++)
            demand_walk(&w, d[k].v, d[k].idx, 0, NULL);
    }
    return (int)s.most;
}

/* Lines of a step: what it computes, and the loops of the sums in it. */
typedef struct StepText { const Planner *p; double lines; } StepText;

static Onward text_met(DemandWalk *w, Visit *x)
{
    StepText *t = w->ctx;
    const Machine *m = t->p->m;
    bool sum = x->i && optab[x->i->op].element == IS_SUM;
    if (frame_leaf(x->fr, x->v) || !x->i || x->i->op == OP_region) {
        t->lines += 1;
        return WALK_PAST;
    }
    t->lines += sum ? m->sum_lines : m->code_line * optab[x->i->op].code;
    return WALK_INTO;
}

static double step_lines(const Planner *p, const Demand *d, int n)
{
    struct Frame *fr = p->fr;
    StepText t = { p, 0 };
    DemandWalk like = { .g = fr->g, .fr = fr, .visit = text_met, .ctx = &t };
    DemandWalk *w = walk_anew(&p->s->inside, like);
    for (int k = 0; k < n; k++)
        demand_walk(w, d[k].v, d[k].idx, 0, NULL);
    return t.lines * p->envs.n;
}

/* Lanes far apart, elements next to one another along the innermost variable: so many steps are written out
 * that loads become blocks, as far as that is not long text: the loops of sums in a step are text, too. */
static int sum_steps(const Planner *p, const Want *want, int n, int phase)
{
    Loads l = { .p = p, .spec = p->spec, .phase = phase };
    const Env *e = p->envs.at[0];
    Subst s = { .n = e->n, .from = e->a, .to = e->f };
    const Atom *const *ks = NULL;
    double lines = 0;
    int nk = 0;
    loads_open(&l);
    for (int j = 0; j < n; j++) {
        Demand d[2];
        int nd = elem_reduce(p->fr->g, p->fr->g->def[want[j].v], want[j].idx, &ks, &nk, d);
        for (int k = 0; k < nd; k++)
            add_loads(&l, d[k].v, d[k].idx);
    }
    for (int j = 0; j < n; j++) {
        Demand d[2];
        lines += step_lines(p, d, elem_reduce(p->fr->g, p->fr->g->def[want[j].v], want[j].idx, &ks, &nk, d));
    }
    int64_t steps = 1;
    for (int j = 0; nk && j < l.n && steps == 1; j++) {
        int64_t lane = form_coef(l.f[j], ks[nk - 1]) == 1 ? form_coef(form_subst(l.f[j], &s), LANE) : 0;
        steps = lane != 0 && lane != 1 ? p->m->turned : 1;
    }
    while (steps > 1 && (atom_extent(ks[nk - 1]) % steps || (double)steps * lines > (double)p->m->text))
        steps /= 2;
    return (int)steps;
}

static Form store_form(const Store *st)
{
    Form at[MAXRANK];
    int64_t dim[MAXRANK];
    if (!st->chunk)
        return layout_form(st->to.layout, NULL, st->idx, st->nidx, NULL);
    for (int d = 0; d < st->nspace; d++)
        at[d] = form_a(st->space[d]), dim[d] = atom_extent(st->space[d]);
    return form_linear(at, dim, st->nspace);
}

static int store_vector(const Planner *p, const StoreLoop *l)
{
    const Store *first = &p->st[l->store[0]];
    Loads all = { .p = p };
    if (p->spec->vec || first->nspace <= 1)
        return first->nspace - 1;
    loads_open(&all);
    for (int j = 0; j < l->n; j++)
        PUSH(all.f, all.n, all.cap, store_form(&p->st[l->store[j]]));
    for (int j = 0; j < l->n; j++)
        add_loads(&all, p->st[l->store[j]].v, p->st[l->store[j]].idx);
    return best_vector(p->m, &all, first->space, first->nspace, LAST);
}

/* ==================== phases */

typedef struct Level { int level; bool lanes; const Atom *const *ks; int nk; Want *want; int n, cap; } Level;
typedef struct Ready {
    Planner *p;
    Map level;                                  /* by element; 0: none */
    Level *phase; int n, cap;
} Ready;

static void phase_add(Ready *q, const Level *like, const Visit *x)
{
    Level *p = NULL;
    for (int j = 0; j < q->n && !p; j++)
        if (q->phase[j].level == like->level && q->phase[j].ks == x->ks && q->phase[j].lanes == like->lanes)
            p = &q->phase[j];
    if (!p) {
        PUSH(q->phase, q->n, q->cap, *like);
        p = &q->phase[q->n - 1];
        p->ks = x->ks, p->nk = x->nk;
    }
    PUSH(p->want, p->n, p->cap, (Want){ x->v, x->idx });
}

static Onward ready_visit(DemandWalk *w, Visit *x)
{
    (void)w;
    return !x->i || x->i->op == OP_region || frame_leaf(x->fr, x->v) ? WALK_PAST : WALK_INTO;
}

static int level_of(const Ready *q, Ref v, const Idx *idx)
{
    const uint64_t key[2] = { v, PTR(idx) };
    return (int)(intptr_t)map_get(&q->level, key, sizeof key);
}

static void level_set(Ready *q, Ref v, const Idx *idx, int level)
{
    const uint64_t key[2] = { v, PTR(idx) };
    if (level)
        *map_at(&q->level, key, sizeof key) = (void *)(intptr_t)level;
}

/* The highest level of what an element needs. */
static int level_below(const Ready *q, const Visit *x)
{
    int level = 0;
    const Atom **e;
    for (int j = 0; j < x->n; j++) {
        int l = level_of(q, x->d[j].v, idx_of(x->d[j].idx, x->d[j].n));
        level = l > level ? l : level;
        for (int k = elems_of(x->d[j].idx, x->d[j].n, &e) - 1; k >= 0; k--)
            if (e[k]->g == x->g) {
                l = level_of(q, e[k]->v, idx_of(e[k]->idx, e[k]->nidx));
                level = l > level ? l : level;
            }
    }
    return level;
}

/* Does it differ by lane in some copy? */
static bool has_lanes(const Planner *p, const Form *idx, int n)
{
    for (int e = 0; e < p->envs.n; e++) {
        Subst s = { .n = p->envs.at[e]->n, .from = p->envs.at[e]->a, .to = p->envs.at[e]->f };
        for (int j = 0; j < n; j++)
            if (form_vector(form_subst(idx[j], &s)))
                return true;
    }
    return false;
}

/* Of a sum that is no phase, as far as the scheduler knows. */
static void inner_add(Planner *p, const Visit *x)
{
    Spec *s = p->spec;
    for (int k = 0; k < s->ninner; k++)
        if (s->inner[k].g == x->g && s->inner[k].v == x->v)
            return;
    Want w = { x->v, x->idx };
    int steps = has_lanes(p, x->idx, x->key->n) ? sum_steps(p, &w, 1, 0) : 1;
    if (x->nk > 1 || steps > 1)
        PUSH(s->inner, s->ninner, p->inner_cap, (InnerSum){ x->g, x->v, sum_vector(p, &w, 1), steps });
}

static void ready_leave(DemandWalk *w, Visit *x)
{
    Ready *q = w->ctx;
    Planner *p = q->p;
    visit_demands(x);
    int level = level_below(q, x), rank = x->key->n;
    bool sum = optab[x->i->op].element == IS_SUM, tile = p->spec->tile && p->spec->tile->product == x->v,
         phase = sum && env_binds(p->envs.at[0], x->idx, rank) &&
        (tile || space_size(x->ks, x->nk) > (p->envs.n > p->m->sum_copies ? 1 : p->spec->unroll)) &&
        type_size(&x->g->type[x->i->in[0]]);
    for (int j = 0; phase && j < x->nk; j++)
        phase = !env_get(p->envs.at[0], x->ks[j]);
    bool lanes = phase && has_lanes(p, x->idx, rank);
    if (phase && (tile || !(lanes && users_chain(&x->fr->users, x->v))))
        phase_add(q, &(Level){ .level = ++level, .lanes = lanes }, x);
    else if (sum)
        inner_add(p, x);
    level_set(q, x->v, x->key, level);
}

/* In order of levels; of one level in the order they were found. */
static void sort_phases(Level *p, int n)
{
    for (int j = 1; j < n; j++) {
        Level x = p[j];
        int k = j;
        for (; k > 0 && p[k - 1].level > x.level; k--)
            p[k] = p[k - 1];
        p[k] = x;
    }
}

/* ==================== private rows */

typedef struct RowPlan {
    Planner *p; Stage *out; int cap;
    Map stop, before;                           /* what phases give; what an earlier loop evaluates: Loop */
    const Atom *const *space; int nspace, phase;
    MapKey *mine; int nmine, mine_cap;
} RowPlan;

typedef struct Loop { const Atom *const *space; int phase; } Loop;

static bool covers(const AtomSet *s, const Atom *const *space, int nspace)
{
    for (int j = 0; j < nspace; j++)
        if (space[j]->hi && !set_has(s, space[j]))
            return false;
    for (int k = 0; k < s->n; k++) {            /* nor may it depend on a loop inside of these */
        bool mine = s->a[k]->depth == 0;
        for (int j = 0; j < nspace && !mine; j++)
            mine = space[j] == s->a[k];
        if (!mine)
            return false;
    }
    return true;
}

/* Vectors where the vector is outside. */
static bool row_fits(const RowPlan *r)
{
    const Planner *p = r->p;
    return space_size(r->space, r->nspace) * p->envs.n * (p->spec->vec ? W : 1) <= p->m->row;
}

static int64_t kept_apart(const RowPlan *r)
{
    int64_t size = space_size(r->space, r->nspace);
    return size * (r->p->spec->vec ? W : 1) + (r->p->envs.n > 1 ? row_apart(r->p->m, size) : 0);
}

static Onward row_visit(DemandWalk *w, Visit *x)
{
    RowPlan *r = w->ctx;
    MapKey key = map_key(x->v, 0, 0, x->idx, x->key->n);
    if (map_get(&r->stop, key.w, key.n) || frame_leaf(x->fr, x->v) || !x->i || x->i->op == OP_region)
        return WALK_PAST;
    bool sum = optab[x->i->op].element == IS_SUM;
    const Loop *was = map_get(&r->before, key.w, key.n);
    if ((sum || elem_cost(x->g, x->i) >= (double)r->p->m->dear) && was && was->space == r->space &&
        covers(x->key->deps, r->space, r->nspace)) {
        void **row = map_at(&x->fr->rows, key.w, key.n);
        if (!*row && row_fits(r)) {
            *row = (void *)(intptr_t)(was->phase + 1);
            PUSH(r->out->row, r->out->nrow, r->cap,
                (KeptRow){ { x->v, x->idx }, r->space, r->nspace, kept_apart(r) });
        }
        if (*row)
            return WALK_PAST;
    }
    PUSH(r->mine, r->nmine, r->mine_cap, key);
    return WALK_INTO;
}

static void row_loop(RowPlan *r, const Loop *l, int nspace, const Demand *d, int n)
{
    if (space_size(l->space, nspace) <= r->p->spec->unroll)
        return;
    r->space = l->space, r->nspace = nspace, r->nmine = 0;
    struct Frame *fr = r->p->fr;
    DemandWalk like = { .g = fr->g, .fr = fr, .visit = row_visit, .ctx = r },
               *w = walk_anew(&r->p->s->inside, like);
    for (int j = 0; j < n; j++)
        demand_walk(w, d[j].v, d[j].idx, 0, NULL);
    for (int j = 0; j < r->nmine; j++) {
        void **b = map_at(&r->before, r->mine[j].w, r->mine[j].n);
        *b = *b ? *b : arena_copy(l, sizeof *l);
    }
}

/* The same space of a store as elem_space gave it: pointers to compare by. */
static const Atom *const *store_space(const Level *ph, int n, const Store *s)
{
    for (int j = 0; j < n; j++)
        if (ph[j].nk == s->nspace && !memcmp(ph[j].ks, s->space, sizeof *s->space * (size_t)s->nspace))
            return ph[j].ks;
    return s->space;
}

static void plan_rows(Planner *p, Stage *out, const Level *ph, int nph)
{
    RowPlan r = { .p = p, .out = out };
    const Graph *g = p->fr->g;
    if (p->spec->team)                          /* what items share out is in registers, or computed again */
        return;
    for (int j = 0; j < nph; j++)
        for (int w = 0; w < ph[j].n; w++) {
            MapKey key = map_key(ph[j].want[w].v, 0, 0, ph[j].want[w].idx, g->type[ph[j].want[w].v].rank);
            *map_at(&r.stop, key.w, key.n) = &r;
        }
    for (int j = 0; j < nph; j++) {
        Demand *d = NEWS(Demand, 2 * ph[j].n);
        int n = 0, nk;
        const Atom *const *ks;
        for (int w = 0; w < ph[j].n; w++)
            n += elem_reduce(g, g->def[ph[j].want[w].v], ph[j].want[w].idx, &ks, &nk, d + n);
        row_loop(&r, &(Loop){ ph[j].ks, j }, ph[j].nk, d, n);
    }
    for (int j = 0; j < p->nst; j++)
        if (p->st[j].nspace) {
            Demand d = { .v = p->st[j].v, .idx = p->st[j].idx, .n = p->st[j].nidx };
            row_loop(&r, &(Loop){ store_space(ph, nph, &p->st[j]), nph }, p->st[j].nspace, &d, 1);
        }
}

/* ==================== loops */

/* A phase's sums, so many in a loop that their accumulators stay in registers. */
static Phase phase_of(const Planner *p, const Level *l, int number)
{
    int most = p->envs.n < p->m->sums ? (int)p->m->sums / p->envs.n : 1, cap = 0;
    Phase ph = { .ks = l->ks, .nk = l->nk };
    for (int j = 0; j < l->n; j += most) {
        SumLoop s = { .want = l->want + j, .n = l->n - j < most ? l->n - j : most };
        s.vector = l->lanes ? -1 : sum_vector(p, s.want, s.n);
        s.steps = l->lanes ? sum_steps(p, s.want, s.n, number) : 1;
        s.within = sum_within(p, s.want, s.n);
        s.team = p->spec->team && !p->spec->tile;
        s.roll = roll_of_sums(p, &(Copies){ p->envs, number }, s.want, s.n);
        PUSH(ph.loop, ph.nloop, cap, s);
    }
    return ph;
}

/* Copies of each environment: of the variable that is the vector, in vectors or one by one. */
static Rolled roll_tile(const Planner *p, const StoreLoop *l, bool vec, int tile, int phase)
{
    const Store *st = &p->st[l->store[0]];
    const Env **es = NEWS(const Env *, p->envs.n);
    Form at[MAXRANK], *x = NEWS(Form, tile);
    for (int j = 0; j < st->nspace; j++)
        at[j] = form_c(0);
    for (int e = 0; e < p->envs.n; e++)
        es[e] = env_sets(p->envs.at[e], st->space, at, st->nspace);
    for (int c = 0; c < tile; c++)
        x[c] = vec ? form_addc(form_a(LANE), c * W) : form_c(c);
    Envs tiled = env_block((Envs){ es, p->envs.n }, tile, st->space[l->vector], x);
    return roll_of_stores(p, &(Copies){ tiled, phase }, l->store, l->n);
}

static Rolled roll_whole(const Planner *p, const StoreLoop *l, int phase)
{
    const Store *st = &p->st[l->store[0]];
    return roll_of_stores(p, &(Copies){ env_space(p->envs, st->space, st->nspace), phase }, l->store, l->n);
}

static void plan_store(const Planner *p, StoreLoop *l, int phase)
{
    const Store *st = &p->st[l->store[0]];
    int64_t size = space_size(st->space, st->nspace);
    l->whole = size <= p->spec->unroll && (p->spec->vec || size == 1);
    if (l->whole) {
        l->roll[0] = roll_whole(p, l, phase);
        return;
    }
    l->vector = store_vector(p, l);
    int64_t len = atom_extent(st->space[l->vector]);
    const Spec *s = p->spec;
    bool vec = !s->vec && len >= W;
    /* where storing twice does no harm */
    l->twice = vec && len % W > 1 && s->kind == SPEC_LOOPS && !s->in_place && !s->chunk;
    if (vec && p->spec->inner_tile > 1)
        l->roll[0] = roll_tile(p, l, true, p->spec->inner_tile, phase);
    if (vec)
        l->roll[1] = roll_tile(p, l, true, 1, phase);
    l->roll[2] = roll_tile(p, l, false, 1, phase);
}

static void plan_stores(Planner *p, Stage *out)
{
    bool *done = NEWS(bool, p->nst);
    int cap = 0;
    for (int j = 0; j < p->nst; j++) {
        StoreLoop l = { .store = NEWS(int, p->nst) };
        for (int o = j; o < p->nst; o++)
            if (!done[o] && p->st[o].nspace == p->st[j].nspace &&
                !memcmp(p->st[o].space, p->st[j].space, sizeof *p->st[j].space * (size_t)p->st[j].nspace)) {
                l.store[l.n++] = o;
                done[o] = true;
            }
        if (!l.n)
            continue;
        plan_store(p, &l, out->nphase);
        PUSH(out->loop, out->nloop, cap, l);
    }
}

static void plan_stage(Planner *p, Stage *out)
{
    Ready q = { .p = p };
    struct Frame *fr = p->fr;
    DemandWalk like = {
        .g = fr->g, .fr = fr, .visit = ready_visit, .leave = ready_leave, .ctx = &q, .computed = true
    };
    walk_anew(&p->s->walk, like);
    for (int j = 0; j < p->nst && !p->spec->maps; j++)
        demand_walk(&p->s->walk, p->st[j].v, p->st[j].idx, 0, NULL);
    sort_phases(q.phase, q.n);
    plan_rows(p, out, q.phase, q.n);
    out->phase = NEWS(Phase, q.n);
    for (int j = 0; j < q.n; j++)
        out->phase[out->nphase++] = phase_of(p, &q.phase[j], j);
    plan_stores(p, out);
    fr->rows = (Map){ 0 };
}

/* ==================== the block of a work-item */

/* Where a block begins: at a multiple of its size, or anywhere if the last one overlaps its neighbour. */
static Form base_of(const OuterAxis *x)
{
    if (x->blocks <= 1)
        return form_c(0);
    if (x->blocks * x->size == x->n)
        return form_mul(form_a(atom_var("b", x->blocks, 0)), x->size);
    return form_a(atom_var("b", x->n - x->size + 1, 0));
}

/* The outer variables that are digits of one. */
static const Env *env_digits(const Spec *s, const Env *e)
{
    int64_t dim[MAXRANK];
    Form f[MAXRANK], m = env_get(e, s->flat);
    for (int d = 0; d < s->nflat; d++)
        dim[d] = atom_extent(s->flat_of[d]);
    form_unlinear(m ? m : form_c(0), dim, s->nflat, f);
    return env_sets(e, s->flat_of, f, s->nflat);
}

Envs spec_block(const Spec *s, const OuterAxis *x, int n, const Form *base)
{
    const Env *one = env_new(0);
    Envs envs = { arena_copy(&one, sizeof one), 1 };
    for (int j = 0; j < n; j++) {
        bool vec = x[j].a == s->vec;
        int copies = (int)(x[j].size / x[j].items / (vec ? W : 1));
        Form *f = NEWS(Form, copies);
        for (int c = 0; c < copies; c++)
            f[c] = vec ? form_add(form_addc(base[j], c * W), form_a(LANE)) : form_addc(base[j], c);
        envs = env_block(envs, copies, x[j].a, f);
    }
    const Env **at = NEWS(const Env *, envs.n);
    for (int e = 0; e < envs.n; e++)
        at[e] = env_copy(s->flat ? env_digits(s, envs.at[e]) : envs.at[e], e);
    return (Envs){ at, envs.n };
}

static Envs block_of_item(const Spec *s)
{
    Form base[MAXRANK];
    for (int j = 0; j < s->naxis; j++) {
        const OuterAxis *x = &s->axis[j];
        base[j] = base_of(x);
        if (x->items > 1)
            base[j] = form_add(base[j], form_mul(form_a(atom_var("b", x->items, 0)), x->size / x->items));
    }
    return spec_block(s, s->axis, s->naxis, base);
}

/* ==================== kernels */

static struct Frame *frame_of(const Planner *p, const Spec *s)
{
    struct Frame *fr = NEW(struct Frame);
    *fr = (struct Frame){ .g = s->g, .stored = s->stored, .instead = s->instead, .made = s->made };
    Ref *root = NEWS(Ref, s->nstore);
    for (int j = 0; j < s->nstore; j++)
        root[j] = s->store[j].v;
    count_users(p, fr, root, s->maps ? 0 : s->nstore);
    return fr;
}

static void stage_of_loops(Planner *p)
{
    const Spec *s = p->spec;
    Store *st = NEWS(Store, s->nstore);
    for (int j = 0; j < s->nstore; j++)
        if (type_size(&s->g->type[s->store[j].v]))
            st[p->nst++] = s->store[j];
    p->st = st;
    if (p->nst)
        plan_stage(p, &p->spec->stage[0]);
}

static int lead_of(const Spec *s, const uint8_t *mark, Form *lead)
{
    Form lane[MAXRANK];
    for (int a = 0; a < s->ins->region->nlane; a++)
        lane[a] = form_a(s->outer[a]);
    return lane_lead(s->ins->region, mark, lane, lead);
}

/* A value of the step in a private row. */
static MemRef row_memref(const Graph *g, Ref v)
{
    return (MemRef){ NEW(Buffer), layout_natural(g->type[v].dim, g->type[v].rank) };
}

/* The body as it is lowered: captures and xs are where they are stored, carried values in rows. */
static struct Frame *frame_of_step(const Planner *p, struct Frame *outer, Form step)
{
    const Spec *s = p->spec;
    const Region *r = s->ins->region;
    const Graph *b = s->ins->sub[0];
    MemRef *stored = NEWS(MemRef, b->nval);
    struct Frame *fr = NEW(struct Frame);
    *fr = (struct Frame){ .g = b, .stored = stored, .outer = outer, .outside = NEWS(Outside, b->nin),
                          .outside_of = NEWS(int, b->nval) };
    for (int o = 0; o < b->nin; o++) {
        char group = region_group(r, o);
        if (group == 'a' || group == 'y') {
            stored[b->in[o]] = row_memref(b, b->in[o]);
            continue;
        }
        Outside *q = &fr->outside[o];
        q->v = s->ins->in[o];
        q->nlead = lead_of(s, r->im + o * r->nlane, q->lead);
        if (group == 'x')
            q->lead[q->nlead++] = step;
        MemRef at = frame_stored(outer, q->v);
        if (at.buf && !at.layout->nlead)
            stored[b->in[o]] = memref_lead(at, q->lead, q->nlead);
        else
            fr->outside_of[b->in[o]] = o + 1;
    }
    count_users(p, fr, b->out, b->nout);
    return fr;
}

Store store_of(const Graph *g, Ref v, MemRef to)
{
    const Type *t = &g->type[v];
    const Atom *const *space = elem_space("k", t->dim, t->rank, 1);
    Store s = { .v = v, .nidx = t->rank, .nspace = t->rank, .to = to };
    for (int d = 0; d < t->rank; d++)
        s.idx[d] = form_a(s.space[d] = space[d]);
    return s;
}

/* Where result o of a step goes. */
static MemRef result_memref(const Spec *s, int o, Form step)
{
    const Region *r = s->ins->region;
    Form lead[MAXRANK + 1];
    if (o < region_nloop(r))
        return row_memref(s->ins->sub[0], s->ins->sub[0]->out[o]);
    int n = lead_of(s, r->om + o * r->nlane, lead);
    lead[n++] = step;
    return memref_lead(s->stored[s->ins->out + (Ref)o], lead, n);
}

/* From the row of one lane to that of the next. */
static int64_t lane_apart(const Machine *m, const Type *t)
{
    int64_t size = type_size(t) ? type_size(t) : 1;
    return size + row_apart(m, size);
}

static void lanes_apart(Spec *s, const Machine *m)
{
    const Region *r = s->ins->region;
    const Graph *b = s->ins->sub[0];
    s->carry_apart = NEWS(int64_t, region_nloop(r));
    s->factor_apart = NEWS(int64_t, s->factor.n);
    for (int k = 0; k < region_nloop(r); k++)
        s->carry_apart[k] = lane_apart(m, &b->type[b->in[r->ncap + k]]);
    for (int k = 0; k < s->factor.n; k++)
        s->factor_apart[k] = lane_apart(m, &b->type[s->factor.v[k]]);
}

static void stages_of_step(Planner *p)
{
    Spec *s = p->spec;
    const Region *r = s->ins->region;
    const Graph *b = s->ins->sub[0];
    Form step = form_a(atom_var("t", r->length, 0));
    Store *st = NEWS(Store, b->nout + s->factor.n);
    p->fr = frame_of_step(p, p->fr, step);
    s->uses = &p->fr->users;
    p->st = st;
    for (int k = 0; k < s->factor.n; k++)
        st[p->nst++] = store_of(b, s->factor.v[k], row_memref(b, s->factor.v[k]));
    if (p->nst)
        plan_stage(p, &s->stage[0]);
    for (int k = 0; k < s->factor.n; k++)
        ((MemRef *)(uintptr_t)p->fr->stored)[s->factor.v[k]] = st[k].to;
    p->nst = 0;
    for (int o = 0; o < b->nout; o++)
        if (type_size(&b->type[b->out[o]]) && (o < region_nloop(r) || s->live[o]))
            st[p->nst++] = store_of(b, b->out[o], result_memref(s, o, step));
    plan_stage(p, &s->stage[1]);
}

void spec_stages(Sched *sched, Spec *s)
{
    const Machine *m = s->target->machine;
    Planner p = { .s = sched, .spec = s, .m = m };
    s->written = (Written){ s->unroll, m->unroll_block, m->body_unroll, (int)m->sum_vectors,
                            (int)m->flight, m->choose };
    if (s->kind == SPEC_ROWS)
        lanes_apart(s, m);
    p.fr = frame_of(&p, s);
    s->uses = s->maps ? NULL : &p.fr->users;
    if (s->total <= 0 || !spec_blocks(s) || s->kind == SPEC_LANES)
        return;
    p.envs = block_of_item(s);
    if (s->kind == SPEC_LOOPS)
        stage_of_loops(&p);
    else if (s->ins->region->length > 0)
        stages_of_step(&p);
    int64_t by[4 * MAXRANK], by_k;
    s->roll_moves = s->kind == SPEC_ROWS && m->private_arrays && p.envs.n >= m->roll_copies &&
        roll_even(p.envs, p.envs.n, 1, by, &by_k);
}
