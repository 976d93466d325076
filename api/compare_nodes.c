/*
 * compare_nodes.c - which instruction makes a difference, and does not only pass it on.
 *
 * In:  a comparison. While the host runs the program again, the operands of every run of every instruction
 *      are kept, in bodies too. Out: the first instruction, in the program's order, that differs when the
 *      device gets the host's operands.
 * By itself. An instruction of the program becomes a program of one instruction. One in a body becomes a
 * region of one instruction, whose lanes and steps are those around it and whose operands are stacked: what
 * the host kept is in that order already. Where a while or a cond is around, each run is a lane of a call.
 * Many such programs are compiled as one; who differs there is run once more alone. Of a region that differs
 * the bodies are looked at; where nothing in them differs, it is the region itself.
 */
#include "compare.h"

#include <string.h>

enum { TOGETHER = 24, KEPT_BYTES = 1 << 26 };

/* ==================== what the host ran */

/* arena: the comparison's; the host runs in one of its own */
typedef struct Record {
    Level *top;
    size_t kept;
    Arena *arena;
} Record;

static Level *level_new(const Level *up, const Ins *region, int body, const Graph *g)
{
    Level *l = NEW(Level);
    *l = (Level){ .up = up, .region = region, .body = body, .g = g, .site = NEWS(Site, g->nins) };
    for (int n = 0; n < g->nins; n++) {
        const Ins *i = g->ins[n];
        l->site[n] = (Site){ .i = i,
            .level = l,
            .in = NEWS(char *, i->nin),
            .bytes = NEWS(size_t, i->nin),
            .room = NEWS(size_t, i->nin) };
    }
    return l;
}

static Level *level_in(Level *l, const Ins *region, int body)
{
    for (int k = 0; k < l->ninner; k++)
        if (l->inner[k]->region == region && l->inner[k]->body == body)
            return l->inner[k];
    PUSH(l->inner, l->ninner, l->room, level_new(l, region, body, region->sub[body]));
    return l->inner[l->ninner - 1];
}

static Level *level_at(Record *r, HostAt *at)
{
    if (!at)
        return r->top;
    if (at->noted != at->body + 1)
        at->note = level_in(level_at(r, at->up), at->region, at->body), at->noted = at->body + 1;
    return at->note;
}

static bool keep(Site *s, int k, const void *p, size_t n)
{
    if (s->bytes[k] + n > s->room[k]) {
        size_t room = 2 * s->room[k] > s->bytes[k] + n ? 2 * s->room[k] : s->bytes[k] + n;
        char *more = arena_try(room + 1);
        if (!more)
            return false;
        if (s->bytes[k])
            memcpy(more, s->in[k], s->bytes[k]);
        s->in[k] = more, s->room[k] = room;
    }
    if (n)
        memcpy(s->in[k] + s->bytes[k], p, n);
    s->bytes[k] += n;
    return true;
}

static void record(Record *r, const Ins *i, HostAt *at, const void *const *in)
{
    Level *l = level_at(r, at);
    int n = l->next;
    while (l->g->ins[n % l->g->nins] != i)
        n++;
    n %= l->g->nins;
    l->next = n + 1;
    Site *s = &l->site[n];
    size_t all = 0;
    for (int k = 0; k < i->nin; k++)
        all += type_bytes(&l->g->type[i->in[k]]);
    if (l->cut || (at && r->kept + all > KEPT_BYTES)) {
        l->cut = true;
        return;
    }
    r->kept += at ? all : 0;
    s->runs++;
    for (int k = 0; k < i->nin && !l->cut; k++)
        l->cut = !keep(s, k, in[k], type_bytes(&l->g->type[i->in[k]]));
}

static void see(void *env, const Ins *i, HostAt *at, const void *const *in)
{
    Record *r = env;
    Arena *before = arena_use(r->arena);
    record(r, i, at, in);
    arena_use(before);
}

static void begin(void *env, const Graph *g) { ((Record *)env)->top = level_new(NULL, NULL, 0, g); }

static const Level *watched(Comparison *c)
{
    Record r = { .arena = arena_current() };
    void **out = NEWS(void *, c->trial.g->nout);
    if (!c->level && !compare_host(&c->trial, &(HostWatch){ begin, see, &r }, out))
        c->level = r.top;
    return c->level;
}

/* ==================== one instruction by itself */

/* Programs of one instruction, in the current graph. */
typedef struct Alone {
    const Site **site;
    int *first;
    int n; /* number of its first output */
    void **in;
    int nin, in_cap;
    Ref *out;
    int nout, out_cap;
} Alone;

/* A constant, as it stands in the program; 0: it is none. */
static Ref same_constant(const Graph *g, Ref v)
{
    const Ins *i = g->def[v];
    Ref x = 0, z = 0;
    if (i && i->op == OP_const)
        again(i, NULL, &z);
    if (i && i->op == OP_broadcast && (x = same_constant(g, i->in[0])))
        again(i, &x, &z);
    return z;
}

static bool is_constant(const Graph *g, Ref v)
{
    const Ins *i = g->def[v];
    return i && (i->op == OP_const || (i->op == OP_broadcast && is_constant(g, i->in[0])));
}

/* The instruction alone: inputs are its operands that are no constants. */
static Graph *alone_graph(const Site *s)
{
    const Graph *g = s->level->g;
    const Ins *i = s->i;
    Ref *x = NEWS(Ref, i->nin), *out = NEWS(Ref, i->nout);
    Graph *b = graph_begin(graph_new());
    Loc before = loc_set(i->loc);
    for (int k = 0; k < i->nin; k++)
        if (!(x[k] = same_constant(g, i->in[k])))
            x[k] = graph_input(g->type[i->in[k]], 0);
    again(i, x, out);
    graph_outputs(out, i->nout);
    loc_set(before);
    graph_end();
    return error_pending() ? NULL : b;
}

/* A region whose only body is b, with all operands and results stacked. */
static Graph *wrapped(const Graph *b, Region r, Loc loc)
{
    Ref *in = NEWS(Ref, b->nin), *out = NEWS(Ref, b->nout);
    Graph *sub = (Graph *)(uintptr_t)b, *g = graph_begin(graph_new());
    Loc before = loc_set(loc);
    r.im = NEWS(uint8_t, b->nin * r.nlane + 1), r.om = NEWS(uint8_t, b->nout * r.nlane + 1);
    memset(r.im, STACKED, (size_t)(b->nin * r.nlane)), memset(r.om, STACKED, (size_t)(b->nout * r.nlane));
    r.ncap = r.kind == CALL ? b->nin : 0;
    for (int k = 0; k < b->nin; k++) {
        Type t = b->type[b->in[k]];
        t = r.kind == SCAN ? type_add_lead(&t, r.length) : t;
        for (int a = r.nlane - 1; a >= 0; a--)
            t = type_add_lead(&t, r.lane[a].size);
        in[k] = graph_input(t, 0);
    }
    emit_region(&r, b->nin, in, 1, &sub, out);
    graph_outputs(out, b->nout);
    loc_set(before);
    graph_end();
    return error_pending() ? NULL : g;
}

/* How often a body runs, and how many axes that is, as its regions say; -1: nobody knows before. */
static int64_t runs_around(const Level *l, int *axes)
{
    int64_t n = 1;
    for (*axes = 0; l->up && n >= 0; l = l->up) {
        const Region *r = l->region->region;
        n = r->kind == WHILE || r->kind == COND ? -1 : n * (r->kind == SCAN ? r->length : 1);
        *axes += r->nlane + (r->kind == SCAN);
        for (int a = 0; a < r->nlane; a++)
            n *= r->lane[a].size;
    }
    return n;
}

static int widest(const Graph *b)
{
    int most = 0;
    for (int k = 0; k < b->nin; k++)
        most = b->type[b->in[k]].rank > most ? b->type[b->in[k]].rank : most;
    for (int k = 0; k < b->nout; k++)
        most = b->type[b->out[k]].rank > most ? b->type[b->out[k]].rank : most;
    return most;
}

static Lane *plain_lanes(const Region *r)
{
    Lane *lane = NEWS(Lane, r->nlane);
    for (int a = 0; a < r->nlane; a++)
        lane[a].size = r->lane[a].size;
    return lane;
}

/* As a whole program, with the regions around it. NULL after an error. */
static Graph *alone_program(const Site *s)
{
    Graph *b = alone_graph(s);
    int axes;
    int64_t runs = runs_around(s->level, &axes);
    if (b && s->level->up && (runs != s->runs || widest(b) + axes > type_rank_most(DT_C64))) {
        Region r = region_plain(CALL, 0, 0, 0);
        r.nlane = 1, r.lane = &(Lane){ .size = s->runs };
        r.lane = arena_copy(r.lane, sizeof *r.lane);
        return wrapped(b, r, s->level->region->loc);
    }
    for (const Level *l = s->level; b && l->up; l = l->up) {
        Region r = region_plain(l->region->region->kind, 0, 0, 0);
        r.length = l->region->region->length, r.nlane = l->region->region->nlane;
        r.lane = plain_lanes(l->region->region);
        if (r.kind == SCAN || r.nlane)
            b = wrapped(b, r, l->region->loc);
    }
    return b;
}

static void alone_add(Alone *a, const Site *s)
{
    const Graph *b = alone_program(s);
    Ref *in = b ? NEWS(Ref, b->nin) : NULL, *out = b ? NEWS(Ref, b->nout) : NULL;
    if (!b)
        return;
    for (int k = 0, n = 0; k < s->i->nin; k++)
        if (!is_constant(s->level->g, s->i->in[k])) {
            in[n] = graph_input(b->type[b->in[n]], 0), n++;
            PUSH(a->in, a->nin, a->in_cap, s->in[k] ? (void *)s->in[k] : (void *)"");
        }
    graph_inline(b, in, out);
    a->site[a->n] = s, a->first[a->n++] = a->nout;
    for (int k = 0; k < b->nout; k++)
        PUSH(a->out, a->nout, a->out_cap, out[k]);
}

/* The sites as one program. false: an error, or nothing is left of them */
static bool alone_trial(Alone *a, const Site *const *s, int n, Trial *t)
{
    *a = (Alone){ .site = NEWS(const Site *, n), .first = NEWS(int, n + 1) };
    Graph *g = graph_begin(graph_new());
    for (int k = 0; k < n && !error_pending(); k++)
        alone_add(a, s[k]);
    a->first[a->n] = a->nout;
    graph_outputs(a->out, a->nout);
    graph_end();
    g->name = "alone";
    *t = (Trial){ g, a->in };
    return !error_pending() && a->nout;
}

/* Which of them is the first that differs; n: none does. */
static int first_different(const Comparison *c, Device *d, const Site *const *s, int n, Gap *gap, Trial *t)
{
    Alone a;
    Compared m;
    bool ran = alone_trial(&a, s, n, t);
    Comparison *of = ran ? comparison_new(*t, c->tol) : NULL;
    if (!of || compare_on(of, d, &m) || m.failed)
        return error_clear(), n > 1 && ran ? -1 : n;
    for (int k = 0; k < a.n; k++)
        for (int o = a.first[k]; o < a.first[k + 1]; o++)
            if (!gap_agrees(&m.out[o], c->tol)) {
                *gap = m.out[o];
                for (int j = 0; j < n; j++)
                    if (s[j] == a.site[k])
                        return j;
            }
    return n;
}

/* ==================== the first of all */

/* Something is to be seen of it: it ran, it is no constant, and all its runs were kept. */
static bool eligible(const Site *s)
{
    const Ins *i = s->i;
    bool all = true;
    for (int k = 0; k < i->nin; k++)
        all = all && is_constant(s->level->g, i->in[k]);
    return s->runs && !s->level->cut && i->op != OP_const && i->op != OP_data && i->op != OP_callback &&
        i->op != OP_barrier && (!all || i->op == OP_iota);
}

static const Site *born_in(Comparison *, Compared *, const Level *);

/* A site that differed among others: is it one that does alone? In a region, what in it does. */
static const Site *confirmed(Comparison *c, Compared *m, const Site *s)
{
    Gap gap;
    Trial t;
    if (first_different(c, m->device, &s, 1, &gap, &t) == 1)
        return NULL;
    const Site *inside = NULL;
    for (int k = 0; k < s->level->ninner && !inside; k++)
        if (s->level->inner[k]->region == s->i)
            inside = born_in(c, m, s->level->inner[k]);
    if (!inside)
        m->gap = gap, m->small = t;
    return inside ? inside : s;
}

static const Site *born_in(Comparison *c, Compared *m, const Level *l)
{
    const Site **list = NEWS(const Site *, l->g->nins), *found = NULL;
    int n = 0, at = 0;
    for (int k = 0; k < l->g->nins; k++)
        if (eligible(&l->site[k]))
            list[n++] = &l->site[k];
    while (at < n && !found && error_code() != E_NOMEM) {
        int many = n - at < TOGETHER ? n - at : TOGETHER, k = many;
        Gap gap;
        Trial t;
        k = first_different(c, m->device, list + at, many, &gap, &t);
        for (int j = 0; k < 0 && j < many && !found; j++) /* one of them cannot be compiled there */
            found = confirmed(c, m, list[at + j]);
        if (k >= 0 && k < many)
            found = confirmed(c, m, list[at + k]);
        at += k < 0 || k == many ? many : k + 1;
    }
    return found;
}

int compare_nodes(Comparison *c, Compared *m)
{
    const Level *top = watched(c);
    if (!top)
        return (int)error_code();
    m->looked = true;
    m->born = born_in(c, m, top);
    if (!m->born && !m->agree && !error_pending())
        compare_shrink(c, m);
    return error_pending() ? (int)error_code() : 0;
}

/* ==================== names */

const char *compare_name(const Level *l, const Ins *i)
{
    const Graph *g = l ? l->g : NULL;
    const char *what = i->op == OP_region ? region_kind_name[i->region->kind] : optab[i->op].name;
    return arena_text("v%d: %s = %s", (int)i->out, g ? type_text(&g->type[i->out]) : "", what);
}

const Ins *compare_blamed(const Compared *m, const Level **level)
{
    const Graph *g = m->small.g;
    *level = m->born ? m->born->level : NULL;
    return m->born ? m->born->i : m->shrunk && g && g->nout ? g->def[g->out[0]] : NULL;
}

const char *compare_place(const Ins *i)
{
    return i->loc.file ? arena_text("%s:%d", i->loc.file, i->loc.line) : "no line";
}
