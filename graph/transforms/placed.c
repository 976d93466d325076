/*
 * placed.c - lane axes that have a place, a list of devices.
 *
 * In: a graph with calls over such axes. Out, one of two lowerings:
 *      unplaced: the same on one device. Each axis is batched as vmap does it, the innermost first, so collectives over it
 *      are ops over axis 0.
 *      pieces: what several devices run. Calls over a place that stand in the program itself are cut out, one piece each; what
 *      lies between two of them is a piece for one device. The graph of a shard is the call without that axis, and its
 *      collectives are exchanges.
 * A place inside a loop, a branch or another place is unplaced in either.
 */
#include "transforms.h"

static int place_of(const Region *r)
{
    for (int a = 0; a < r->nlane; a++)
        if (r->lane[a].place)
            return a;
    return -1;
}

bool graph_has_places(const Graph *g)
{
    for (int n = 0; n < g->nins; n++) {
        const Ins *i = g->ins[n];
        if (i->op == OP_region && place_of(i->region) >= 0)
            return true;
        for (int k = 0; k < i->nsub; k++)
            if (graph_has_places(i->sub[k]))
                return true;
    }
    return false;
}

/* ==================== on one device */

static void without_place(const Ins *i, const Ref *x, Ref *out, void *env)
{
    (void)env;
    if (i->op != OP_region) {
        again(i, x, out);
        return;
    }
    Form f = form_of(i->region, i->nin, x, i->nsub, i->sub);
    int a = place_of(&f.r);
    for (int k = 0; k < f.nsub; k++)
        f.sub[k] = graph_unplaced(f.sub[k]);
    if (error_pending())
        return;
    if (a >= 0)
        drop_lane(&f, a, 0, false, out);
    else
        form_emit(&f, out);
}

Graph *graph_unplaced(const Graph *g)
{
    if (!graph_has_places(g))
        return (Graph *)(uintptr_t)g;
    while (g && graph_has_places(g))
        g = graph_rewrite(g, without_place, NULL);
    return g ? graph_dce(g) : NULL;
}

/* ==================== one shard */

/* index: the number of the shard. differs: which values of the graph being rewritten may differ from shard to shard; NULL: any.
 * exchanges: so far, which tells them apart. */
typedef struct Shard { Ref index; const bool *differs; bool alike; int exchanges; } Shard;

static bool asks_index(const Graph *g)
{
    for (int n = 0; n < g->nins; n++) {
        if (g->ins[n]->op == OP_axis_index)
            return true;
        for (int k = 0; k < g->ins[n]->nsub; k++)
            if (asks_index(g->ins[n]->sub[k]))
                return true;
    }
    return false;
}

static void exchanged(const Ins *i, const Ref *x, Ref *out, void *shard);

/* The body with exchanges, and the number of the shard as a further capture. */
static Graph *exchanging_body(const Graph *b, int ncap, Shard *s)
{
    Shard inner = *s;
    inner.differs = NULL;
    Ref *map = NEWS(Ref, b->nval);
    graph_begin(graph_new());
    for (int k = 0; k <= b->nin; k++) {
        if (k == ncap)
            inner.index = graph_input(type_scalar(DT_I32), 0);
        if (k < b->nin)
            map[b->in[k]] = input_like(b, k, b->flag[b->in[k]] & V_ACC);
    }
    rewrite_ins(b, map, exchanged, &inner);
    s->exchanges = inner.exchanges;
    return rewrite_end(b, map);
}

static void exchanging_region(const Ins *i, const Ref *x, Ref *out, Shard *s)
{
    const Region *r = i->region;
    int at = region_npred(r) + r->ncap;
    bool any = false;
    for (int k = 0; k < i->nsub; k++)
        any = any || asks_index(i->sub[k]) || graph_exchanges(i->sub[k]);
    if (!any) {
        again(i, x, out);
        return;
    }
    Form f = form_like(r, i->nin + 1, i->nsub);
    uint8_t *shared = NEWS(uint8_t, r->nlane);
    for (int j = 0; j <= i->nin; j++) {
        if (j == at)
            form_operand(&f, s->index, shared);
        if (j < i->nin)
            form_operand(&f, x[j], marks_in(r, j));
    }
    f.r.ncap++;
    for (int k = 0; k < f.nsub; k++)
        f.sub[k] = exchanging_body(i->sub[k], r->ncap, s);
    form_emit(&f, out);
}

static void exchanged(const Ins *i, const Ref *x, Ref *out, void *shard)
{
    Shard *s = shard;
    if (i->op == OP_region)
        exchanging_region(i, x, out, s);
    else if (i->op == OP_psum && s->differs && !s->differs[i->in[0]])
        out[0] = Mul(x[0], Like(x[0], (double)ins_int(i, 1)));
    else if (op_meets(i))
        out[0] = collective_exchanged(i, x, s->index, s->alike, &s->exchanges);
    else
        again(i, x, out);
}

/* What lanes of another axis do together with other shards has no lanes any more. */
static bool lanes_exchange(const Graph *g)
{
    for (int n = 0; n < g->nins; n++) {
        const Ins *i = g->ins[n];
        for (int k = 0; k < i->nsub; k++)
            if ((i->region->nlane && graph_exchanges(i->sub[k])) || lanes_exchange(i->sub[k]))
                return true;
    }
    return false;
}

/* The call without lane axis `a`, over the shares of its operands; results that are summed over shards are so everywhere. */
static Graph *lone(const Ins *i, const Graph *g, int a)
{
    const Region *r = i->region;
    Region narrow = *r;
    const Lane *lane = &r->lane[a];
    const char *name = lane->name ? lane->name : intern("shards");
    Ref *out = NEWS(Ref, i->nout);
    narrow.nlane--, narrow.remat = false;
    narrow.lane = NEWS(Lane, narrow.nlane);
    narrow.om = NEWS(uint8_t, (size_t)i->nout * narrow.nlane);
    uint8_t *m = NEWS(uint8_t, r->nlane);
    for (int b = 0; b < narrow.nlane; b++) {
        narrow.lane[b] = r->lane[b + (b >= a)];
        for (int k = 0; k < i->nout; k++)
            narrow.om[k * narrow.nlane + b] = marks_out(r, k)[b + (b >= a)];
    }
    Graph *h = graph_begin(graph_new());
    h->name = g->name;
    Form f = form_like(&narrow, i->nin, i->nsub);
    for (int j = 0; j < i->nin; j++) {
        for (int b = 0; b < narrow.nlane; b++)
            m[b] = marks_in(r, j)[b + (b >= a)];
        form_operand(&f, graph_input(region_share(i, g, j, a), 0), m);
    }
    graph_input(type_scalar(DT_I32), 0);
    for (int k = 0; k < i->nsub; k++)
        f.sub[k] = i->sub[k];
    form_emit(&f, out);
    for (int k = 0; k < i->nout && !error_pending(); k++)
        if (marks_out(r, k)[a] == SUMMED)
            out[k] = Collective(OP_psum, name, lane->size, 0, 0, out[k]);
    graph_outputs(out, i->nout);
    return graph_end();
}

Graph *graph_shard(const Ins *i, const Graph *g, int a, bool alike)
{
    Loc before = loc_set(i->loc);
    Graph *h = lone(i, g, a);
    if (!error_pending() && (h = graph_unplaced(h)) && lanes_exchange(h))
        h = graph_matrix(h);
    if (!error_pending() && h) {
        Ref *map = NEWS(Ref, h->nval);
        bool *in = NEWS(bool, h->nin), *on = NEWS(bool, h->nval);
        for (int k = 0; k < h->nin; k++)
            in[k] = k >= i->nin || marks_in(i->region, k)[a] != SHARED;
        affected(h, in, false, i->region->lane[a].name, on);
        Shard s = { .alike = alike, .differs = on };
        Graph *e = graph_begin(graph_new());
        e->name = h->name;
        for (int k = 0; k < h->nin; k++)
            map[h->in[k]] = s.index = input_like(h, k, 0);
        rewrite_ins(h, map, exchanged, &s);
        rewrite_end(h, map);
        h = graph_dce(e);
    }
    loc_set(before);
    return error_pending() ? NULL : h;
}

/* ==================== the program in pieces */

Type region_share(const Ins *i, const Graph *g, int j, int a)
{
    const Region *r = i->region;
    Type t = g->type[i->in[j]];
    int at = 0;
    for (int b = 0; b < a; b++)
        at += marks_in(r, j)[b] == STACKED;
    if (marks_in(r, j)[a] != STACKED)
        return t;
    for (int d = at; d + 1 < t.rank; d++)
        t.dim[d] = t.dim[d + 1];
    t.dim[--t.rank] = 0;
    return t;
}

static bool apart(const Ins *i)
{
    int a = i->op == OP_region ? place_of(i->region) : -1;
    return a >= 0 && i->region->lane[a].size;
}

bool graph_has_pieces(const Graph *g)
{
    for (int n = 0; n < g->nins; n++)
        if (apart(g->ins[n]))
            return true;
    return false;
}

/* Places that are not the outermost lane axis are moved there. */
static void place_first(const Ins *i, const Ref *x, Ref *out, void *env)
{
    int a = apart(i) ? place_of(i->region) : 0;
    (void)env;
    if (!a) {
        again(i, x, out);
        return;
    }
    const Region *r = i->region;
    Region front = *r;
    Form f;
    uint8_t *m = NEWS(uint8_t, r->nlane);
    front.lane = NEWS(Lane, r->nlane), front.om = NEWS(uint8_t, (size_t)i->nout * r->nlane);
    for (int b = 0; b < r->nlane; b++)
        front.lane[b] = r->lane[b ? b - (b <= a) : a];
    f = form_like(&front, i->nin, i->nsub);
    for (int j = 0; j < i->nin; j++) {
        int at = 0;
        for (int b = 0; b < r->nlane; b++) {
            m[b] = marks_in(r, j)[b ? b - (b <= a) : a];
            at += b < a && marks_in(r, j)[b] == STACKED;
        }
        form_operand(&f, m[0] == STACKED ? MoveAxis(x[j], at, 0) : x[j], m);
    }
    for (int k = 0; k < i->nout * r->nlane; k++) {
        int b = k % r->nlane;
        front.om[k] = marks_out(r, k / r->nlane)[b ? b - (b <= a) : a];
    }
    f.r.om = front.om;
    for (int k = 0; k < i->nsub; k++)
        f.sub[k] = i->sub[k];
    form_emit(&f, out);
    for (int k = 0; k < i->nout; k++) {
        int at = 0;
        for (int b = 0; b < a; b++)
            at += marks_out(r, k)[b] == STACKED;
        if (out[k] && marks_out(r, k)[a] == STACKED)
            out[k] = MoveAxis(out[k], 0, at);
    }
}

/* depth: how many calls over places it comes after; free: it depends on nothing, so that each piece makes it itself. shares: by
 * instruction, it only moves the axis of a call's result, which then lies in shares along that axis from the start. used: by value,
 * in the part that computes it. */
typedef struct Cut { const Graph *g; int *depth; bool *free, *wanted, *shares, *used; } Cut;

static bool in_order_but(Ints perm, int at)
{
    for (int d = 1, before = at == 0 ? -1 : (int)perm.v[0]; d < perm.n; d++)
        if (d != at && (int)perm.v[d] < before)
            return false;
        else if (d != at)
            before = (int)perm.v[d];
    return true;
}

/* Is it all that an instruction does to move one axis to the front? *from: that one. */
static bool to_front(const Ins *i, int *from)
{
    Ints p = i && i->op == OP_transpose ? ins_ints(i, 0) : (Ints){ 0 };
    *from = p.n ? (int)p.v[0] : 0;
    return p.n && in_order_but(p, 0);
}

/* ... or the first axis to another place? */
static bool from_front(const Ins *i, int *to)
{
    Ints p = i && i->op == OP_transpose ? ins_ints(i, 0) : (Ints){ 0 };
    for (*to = 0; *to < p.n && p.v[*to]; )
        ++*to;
    return p.n && in_order_but(p, *to);
}

/* What a call takes in shares: a value, or the one whose axis `at` comes first there. */
static Ref shared_out(const Graph *g, const Ins *over, int j, int *at)
{
    const Ins *i = g->def[over->in[j]];
    if (marks_in(over->region, j)[0] == STACKED && to_front(i, at))
        return i->in[0];
    *at = 0;
    return over->in[j];
}

/* Finds what gives the results of calls in another order, and is all that reads them. */
static void find_shares(Cut *c)
{
    const Graph *g = c->g;
    int *uses = NEWS(int, g->nval), to;
    for (int n = 0; n < g->nins; n++)
        for (int k = 0; k < g->ins[n]->nin; k++)
            uses[g->ins[n]->in[k]]++;
    for (int k = 0; k < g->nout; k++)
        uses[g->out[k]]++;
    for (int n = 0; n < g->nins; n++) {
        const Ins *i = g->ins[n], *by = i->op == OP_transpose ? g->def[i->in[0]] : NULL;
        if (by && apart(by) && uses[i->in[0]] == 1 && marks_out(by->region, (int)(i->in[0] - by->out))[0] == STACKED)
            c->shares[n] = from_front(i, &to);
    }
}

static bool is_free(const Cut *c, const Ins *i)
{
    bool free = i->op != OP_region && i->op != OP_barrier && !op_meets(i);
    for (int k = 0; k < i->nin; k++)
        free = free && c->free[i->in[k]];
    return free;
}

static bool is_used(const Cut *c, const Ins *i)
{
    bool used = false;
    for (int k = 0; k < i->nout; k++)
        used = used || c->used[i->out + (Ref)k] || c->wanted[i->out + (Ref)k];
    return used;
}

static void find_used(Cut *c)
{
    for (int n = c->g->nins - 1; n >= 0; n--) {
        const Ins *i = c->g->ins[n];
        for (int k = 0; k < i->nin && !apart(i) && !c->shares[n] && is_used(c, i); k++)
            c->used[i->in[k]] = true;
    }
}

/* wanted: of what a part computes, what others need. */
static void survey(Cut *c)
{
    const Graph *g = c->g;
    int at;
    find_shares(c);
    for (int n = 0; n < g->nins; n++) {
        const Ins *i = g->ins[n];
        int d = 0;
        bool free = is_free(c, i);
        for (int k = 0; k < i->nin; k++) {
            Ref x = apart(i) ? shared_out(g, i, k, &at) : i->in[k];
            d = c->depth[x] > d ? c->depth[x] : d;
        }
        for (int k = 0; k < i->nin && !c->shares[n]; k++) {
            Ref x = apart(i) ? shared_out(g, i, k, &at) : i->in[k];
            c->wanted[x] |= apart(i) || (!c->free[x] && c->depth[x] < d);
        }
        for (int k = 0; k < i->nout; k++)
            c->depth[i->out + (Ref)k] = d + apart(i), c->free[i->out + (Ref)k] = free;
    }
    for (int k = 0; k < g->nout; k++)
        c->wanted[g->out[k]] = true;
    find_used(c);
}

typedef struct Part { const Cut *c; Ref *map; Piece *p; int cap; } Part;

static Ref part_value(Part *part, Ref v)
{
    const Graph *g = part->c->g;
    const Ins *i = g->def[v];
    if (part->map[v])
        return part->map[v];
    if (i && part->c->free[v]) {
        Ref *x = NEWS(Ref, i->nin);
        for (int k = 0; k < i->nin; k++)
            x[k] = part_value(part, i->in[k]);
        again(i, x, part->map + i->out);
        return part->map[v];
    }
    PUSH(part->p->in, part->p->nin, part->cap, v);
    return part->map[v] = graph_input(g->type[v], 0);
}

/* What one device computes after `depth` calls. False: nothing. */
static bool part_at(const Cut *c, int depth, Piece *p)
{
    const Graph *g = c->g;
    Part part = { .c = c, .map = NEWS(Ref, g->nval), .p = p };
    Ref *out = NEWS(Ref, g->nval), *x = NEWS(Ref, graph_width(g).nin);
    *p = (Piece){ .out = NEWS(Ref, g->nval), .g = graph_begin(graph_new()) };
    p->g->name = g->name;
    for (int n = 0; n < g->nins && !error_pending(); n++) {
        const Ins *i = g->ins[n];
        if (apart(i) || c->shares[n] || c->depth[i->out] != depth || !is_used(c, i))
            continue;
        for (int k = 0; k < i->nin && !c->free[i->out]; k++)
            x[k] = part_value(&part, i->in[k]);
        loc_set(i->loc);
        if (!c->free[i->out])
            again(i, x, part.map + i->out);
        for (int k = 0; k < i->nout; k++)
            if (c->wanted[i->out + (Ref)k])
                p->out[p->nout] = i->out + (Ref)k, out[p->nout++] = part_value(&part, i->out + (Ref)k);
    }
    graph_outputs(out, p->nout);
    graph_end();
    return p->nout > 0;
}

static Piece piece_over(const Cut *c, const Ins *i)
{
    Piece p = { .over = i, .nin = i->nin, .nout = i->nout, .in = NEWS(Ref, i->nin), .out = NEWS(Ref, i->nout),
                .in_at = NEWS(int, i->nin), .out_at = NEWS(int, i->nout) };
    for (int j = 0; j < i->nin; j++)
        p.in[j] = shared_out(c->g, i, j, &p.in_at[j]);
    for (int j = 0; j < i->nout; j++)
        p.out[j] = i->out + (Ref)j;
    for (int n = 0; n < c->g->nins; n++) {
        const Ins *t = c->g->ins[n];
        if (c->shares[n] && c->g->def[t->in[0]] == i && from_front(t, &p.out_at[t->in[0] - i->out]))
            p.out[t->in[0] - i->out] = t->out;
    }
    return p;
}

int graph_pieces(const Graph *whole, const Graph **moved, Piece **out)
{
    Loc before = loc_here();
    const Graph *g = graph_rewrite(whole, place_first, NULL);
    g = g ? graph_dce(g) : NULL;
    if (!g)
        return 0;
    Cut c = { g, NEWS(int, g->nval), NEWS(bool, g->nval), NEWS(bool, g->nval), NEWS(bool, g->nins), NEWS(bool, g->nval) };
    Piece *p = NEWS(Piece, 2 * g->nins + 1);
    int n = 0, deepest = 0;
    survey(&c);
    for (Ref v = 1; v < (Ref)g->nval; v++)
        deepest = c.depth[v] > deepest ? c.depth[v] : deepest;
    for (int d = 0; d <= deepest && !error_pending(); d++) {
        for (int k = 0; k < g->nins; k++) {
            const Ins *i = g->ins[k];
            if (!apart(i) || c.depth[i->out] != d)
                continue;
            p[n++] = piece_over(&c, i);
        }
        n += part_at(&c, d, &p[n]);
    }
    loc_set(before);
    *moved = g, *out = p;
    return error_pending() ? 0 : n;
}
