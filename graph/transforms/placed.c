/*
 * placed.c - lane axes that have a place, a list of devices.
 *
 * In: a graph with calls over such axes. Out, one of two lowerings:
 *      unplaced: the same on one device. Each axis is batched as vmap does it, the innermost first, so
 *      collectives over it are ops over axis 0.
 *      pieces: what several devices run. Calls over a place are cut out, and loops and branches with such
 *      calls inside, one piece each; what lies between two of them is a piece for one device. What a shard
 *      runs is the grid's (grid.c), and its collectives are exchanges.
 */
#include "transforms.h"

static bool is_placed(const Ins *i) { return i->op == OP_region && region_place(i->region) >= 0; }
bool graph_has_places(const Graph *g) { return graph_find(g, is_placed); }

/* ==================== on one device */

static void without_place(const Ins *i, const Ref *x, Ref *out, void *env)
{
    (void)env;
    if (i->op != OP_region) {
        again(i, x, out);
        return;
    }
    Draft f = draft_of(i->region, i->nin, x, i->nsub, i->sub);
    int a = region_place(&f.r);
    for (int k = 0; k < f.nsub; k++)
        f.sub[k] = graph_unplaced(f.sub[k]);
    if (error_pending())
        return;
    if (a >= 0)
        drop_lane(&f, a, 0, false, out);
    else
        draft_emit(&f, out);
}

Graph *graph_unplaced(const Graph *g)
{
    if (!graph_has_places(g))
        return (Graph *)(uintptr_t)g;
    while (g && graph_has_places(g))
        g = graph_map(g, without_place, NULL);
    return g ? graph_dce(g) : NULL;
}

/* ==================== one shard */

/* index: the places of the shard along the axes of the grid. differs: by axis, which values of the graph
 * being rewritten may differ along it. exchanges: so far, which tells them apart. */
typedef struct Shard {
    const Places *p;
    Ref index[MESH_AXES];
    const bool *differs[MESH_AXES];
    Together how;
    int exchanges;
} Shard;


static void exchanged(const Ins *i, const Ref *x, Ref *out, void *shard);

/* Unlike devices may find differently which way to go; where they meet on it, all go the way of the first
 * along each axis. */
static Ref agreed(Ref x, const Ins *i, Shard *s)
{
    for (int a = 0; a < s->p->n && s->how.direct < 0; a++)
        if (region_meets(i, s->p->axis[a].name))
            x = exchange_first(&s->p->axis[a], x, &s->exchanges);
    return x;
}

/* Which values of body n differ along an axis. on: those around the region. */
static const bool *differing(const Ins *i, int n, const bool *on, const char *axis)
{
    const Region *r = i->region;
    const Graph *b = i->sub[n];
    int np = region_npred(r);
    bool *in = NEWS(bool, i->nin), *out = NEWS(bool, i->nout), *inside = NEWS(bool, b->nval);
    for (int j = 0; j < i->nin; j++)
        in[j] = on[i->in[j]];
    region_bits(r, i->nin, i->nsub, i->sub, in, false, axis, out);
    for (int k = 0; k < region_nloop(r); k++)
        in[np + r->ncap + k] |= out[k];
    affected(b, in + np, false, axis, inside);
    return inside;
}

/* The body with exchanges, and the places of the shard as further captures. ask: of a while, what is its
 * condition. */
static Graph *exchanging_body(const Ins *i, int n, Shard *s)
{
    const Graph *b = i->sub[n];
    Shard inner = *s;
    Ref *map = NEWS(Ref, b->nval);
    for (int a = 0; a < s->p->n; a++)
        inner.differs[a] = differing(i, n, s->differs[a], s->p->axis[a].name);
    Graph *h = graph_begin(graph_new());
    for (int k = 0; k <= b->nin; k++) {
        for (int a = 0; k == i->region->ncap && a < s->p->n; a++)
            inner.index[a] = graph_input(type_scalar(DT_I32), 0);
        if (k < b->nin)
            map[b->in[k]] = input_like(b, k, b->flag[b->in[k]] & V_ACC);
    }
    graph_map_ins(b, map, exchanged, &inner);
    if (i->region->kind == WHILE && n == 0)
        map[b->out[0]] = agreed(map[b->out[0]], i, &inner);
    s->exchanges = inner.exchanges;
    graph_map_end(b, map);
    return h;
}

static void exchanging_region(const Ins *i, const Ref *x, Ref *out, Shard *s)
{
    const Region *r = i->region;
    int at = region_npred(r) + r->ncap;
    bool any = false;
    for (int k = 0; k < i->nsub; k++)
        any = any || graph_find(i->sub[k], op_meets);
    if (!any) {
        again(i, x, out);
        return;
    }
    Draft f = draft_like(r, i->nin + s->p->n, i->nsub);
    uint8_t *shared = NEWS(uint8_t, r->nlane);
    for (int j = 0; j <= i->nin; j++) {
        for (int a = 0; j == at && a < s->p->n; a++)
            draft_operand(&f, s->index[a], shared);
        if (j < i->nin)
            draft_operand(&f, j < region_npred(r) ? agreed(x[j], i, s) : x[j], marks_in(r, j));
    }
    f.r.ncap += s->p->n;
    for (int k = 0; k < f.nsub; k++)
        f.sub[k] = exchanging_body(i, k, s);
    draft_emit(&f, out);
}

static void exchanged(const Ins *i, const Ref *x, Ref *out, void *shard)
{
    Shard *s = shard;
    int a = op_meets(i) ? 0 : s->p->n;
    while (a < s->p->n && s->p->axis[a].name != op_axis_name(i))
        a++;
    if (i->op == OP_region)
        exchanging_region(i, x, out, s);
    else if (a == s->p->n)
        again(i, x, out);
    else if (i->op == OP_psum && !s->differs[a][i->in[0]])
        out[0] = Mul(x[0], Like(x[0], (double)ins_int(i, ATTR(psum, size))));
    else if ((i->op == OP_pmax || i->op == OP_pmin) && !s->differs[a][i->in[0]])
        /* though unlike devices round it differently: each has its own largest */
        out[0] = x[0];
    else
        out[0] = collective_exchanged(i, x, s->index[a], s->how, &s->exchanges);
}

/* What lanes of another axis do together with other shards has no lanes any more. */
bool lanes_exchange(const Graph *g)
{
    for (int n = 0; n < g->nins; n++) {
        const Ins *i = g->ins[n];
        for (int k = 0; k < i->nsub; k++)
            if ((i->region->nlane && graph_exchanges(i->sub[k])) || lanes_exchange(i->sub[k]))
                return true;
    }
    return false;
}

static Graph *exchanging(const Graph *h, Shard *s, const Dealt *in)
{
    Ref *map = NEWS(Ref, h->nval);
    Graph *e = graph_begin(graph_new());
    e->name = h->name;
    for (int a = 0; a < s->p->n; a++) {
        bool *on = NEWS(bool, h->nval), *row = NEWS(bool, h->nin);
        for (int k = 0; k < h->nin; k++)
            row[k] = in[k].over[a] >= 0;
        affected(h, row, false, s->p->axis[a].name, on);
        s->differs[a] = on;
    }
    for (int k = 0; k < h->nin; k++)
        map[h->in[k]] = input_like(h, k, 0);
    for (int a = 0; a < s->p->n; a++)
        s->index[a] = graph_input(type_scalar(DT_I32), 0);
    graph_map_ins(h, map, exchanged, s);
    graph_map_end(h, map);
    return graph_dce(e);
}

Graph *graph_exchanging(const Graph *h, const Mesh *mesh, const Dealt *in, Together how)
{
    Places p = { .n = mesh->naxis };
    for (int a = 0; a < p.n; a++)
        p.axis[a] = (Lane){ .name = mesh->name[a], .size = mesh->size[a], .place = "" };
    Shard s = { .p = &p, .how = how };
    return exchanging(h, &s, in);
}

/* In the value whose axis `at` a call sees as its first. */
static void seen_from(Dealt *d, int at)
{
    for (int a = 0; a < MESH_AXES && at; a++)
        if (d->over[a] >= 0)
            d->over[a] = (int8_t)(d->over[a] == 0 ? at : d->over[a] <= at ? d->over[a] - 1 : d->over[a]);
}

Graph *graph_shard(const Piece *piece, const Graph *g, const Places *p, Together how, Dealt *in, Dealt *out)
{
    Loc before = loc_set(piece->over->loc);
    Shard s = { .p = p, .how = how };
    Graph *h = grid_program(piece->over, g, p, in, out);
    h = h && !error_pending() ? exchanging(h, &s, in) : NULL;
    for (int k = 0; k < piece->nin; k++)
        seen_from(&in[k], piece->in_at[k]);
    for (int k = 0; k < piece->nout; k++)
        seen_from(&out[k], piece->out_at[k]);
    loc_set(before);
    return error_pending() ? NULL : h;
}

/* ==================== the program in pieces */

static bool apart(const Ins *i) { return grid_of(i).n; }

/* A call over a place, its outermost lane axis. */
static bool is_over(const Ins *i) { return apart(i) && region_place(i->region) == 0; }

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
    int a = apart(i) ? region_place(i->region) : -1;
    (void)env;
    if (a <= 0) {
        again(i, x, out);
        return;
    }
    const Region *r = i->region;
    Region front = *r;
    Draft f;
    uint8_t *m = NEWS(uint8_t, r->nlane);
    front.lane = NEWS(Lane, r->nlane), front.om = NEWS(uint8_t, (size_t)i->nout * r->nlane);
    for (int b = 0; b < r->nlane; b++)
        front.lane[b] = r->lane[b ? b - (b <= a) : a];
    f = draft_like(&front, i->nin, i->nsub);
    for (int j = 0; j < i->nin; j++) {
        int at = 0;
        for (int b = 0; b < r->nlane; b++) {
            m[b] = marks_in(r, j)[b ? b - (b <= a) : a];
            at += b < a && marks_in(r, j)[b] == STACKED;
        }
        draft_operand(&f, m[0] == STACKED ? MoveAxis(x[j], at, 0) : x[j], m);
    }
    for (int k = 0; k < i->nout * r->nlane; k++) {
        int b = k % r->nlane;
        front.om[k] = marks_out(r, k / r->nlane)[b ? b - (b <= a) : a];
    }
    f.r.om = front.om;
    for (int k = 0; k < i->nsub; k++)
        f.sub[k] = i->sub[k];
    draft_emit(&f, out);
    for (int k = 0; k < i->nout; k++) {
        int at = 0;
        for (int b = 0; b < a; b++)
            at += marks_out(r, k)[b] == STACKED;
        if (out[k] && marks_out(r, k)[a] == STACKED)
            out[k] = MoveAxis(out[k], 0, at);
    }
}

/* depth: how many calls over places it comes after; free: it depends on nothing, so that each piece makes it
 * itself. shares: by instruction, it only moves the axis of a call's result, which then lies in shares along
 * that axis from the start. used: by value, in the part that computes it. */
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
    Ints p = i && i->op == OP_transpose ? ins_ints(i, ATTR(transpose, perm)) : (Ints){ 0 };
    *from = p.n ? (int)p.v[0] : 0;
    return p.n && in_order_but(p, 0);
}

/* ... or the first axis to another place? */
static bool from_front(const Ins *i, int *to)
{
    Ints p = i && i->op == OP_transpose ? ins_ints(i, ATTR(transpose, perm)) : (Ints){ 0 };
    for (*to = 0; *to < p.n && p.v[*to]; )
        ++*to;
    return p.n && in_order_but(p, *to);
}

/* What a call takes in shares: a value, or the one whose axis `at` comes first there. */
static Ref shared_out(const Graph *g, const Ins *over, int j, int *at)
{
    const Ins *i = g->def[over->in[j]];
    if (is_over(over) && marks_in(over->region, j)[0] == STACKED && to_front(i, at))
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
        if (by && is_over(by) && uses[i->in[0]] == 1 &&
            marks_out(by->region, (int)(i->in[0] - by->out))[0] == STACKED)
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
    Piece p = { .over = i,
        .nin = i->nin,
        .nout = i->nout,
        .in = NEWS(Ref, i->nin),
        .out = NEWS(Ref, i->nout),
        .in_at = NEWS(int, i->nin),
        .out_at = NEWS(int, i->nout) };
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
    const Graph *g = graph_map(whole, place_first, NULL);
    g = g ? graph_dce(g) : NULL;
    if (!g)
        return 0;
    Cut c = { g, NEWS(int, g->nval), NEWS(bool, g->nval), NEWS(bool, g->nval), NEWS(bool, g->nins),
        NEWS(bool, g->nval) };
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
