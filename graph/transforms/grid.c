/*
 * grid.c - what each shard runs, where places may be inside places, loops and branches.
 *
 * In:  an instruction over a place, or with places inside.   Out: one program that all devices of a grid
 * run; each place is an axis
 *      of it, the outermost first.
 * What is around a call over a place is computed by all devices of its axis. At the call each takes its row
 * of what is stacked over the axis; afterwards all have all rows, or the sum. These are collectives like the
 * user's own. So what lies between two calls over one axis costs nothing (a row of what was just gathered is
 * one's own), and what a loop or the whole program only reads by rows, and only gathers, is given, carried
 * and kept as rows (to_rows). The grid is that of the most shards. Another place that does not fit it is
 * batched, on each device.
 */
#include <string.h>

#include "transforms.h"

int region_place(const Region *r)
{
    for (int a = 0; a < r->nlane; a++)
        if (r->lane[a].place)
            return a;
    return -1;
}

/* ==================== the grid */

static int64_t grid_inside(const Ins *i, Places *p);

/* Of the grids inside a graph that with the most shards, as further axes; how many there are, 0: none. */
static int64_t grid_in(const Graph *g, Places *p)
{
    const Places around = *p;
    int64_t most = 0;
    for (int n = 0; n < g->nins; n++) {
        Places q = around;
        int64_t shards = g->ins[n]->op == OP_region ? grid_inside(g->ins[n], &q) : 0;
        if (shards > most)
            most = shards, *p = q;
    }
    return most;
}

static int64_t grid_inside(const Ins *i, Places *p)
{
    int a = region_place(i->region);
    const Lane *lane = a >= 0 ? &i->region->lane[a] : NULL;
    int64_t most = 0;
    if (lane && (!lane->size || p->n == MESH_AXES))
        return 0;
    if (lane)
        p->axis[p->n++] = *lane;
    const Places around = *p;
    for (int k = 0; k < i->nsub; k++) {
        Places q = around;
        int64_t shards = grid_in(i->sub[k], &q);
        if (shards > most)
            most = shards, *p = q;
    }
    return lane ? lane->size * (most ? most : 1) : most;
}

Places grid_of(const Ins *i)
{
    Places p = { 0 };
    if (i->op == OP_region)
        grid_inside(i, &p);
    for (int a = 0; a < p.n; a++)
        if (!p.axis[a].name)
            p.axis[a].name = intern(a ? arena_text("shards %d", a) : "shards");
    return p;
}

Mesh grid_mesh(const Places *p)
{
    Mesh m = { .naxis = p->n };
    for (int a = 0; a < p->n; a++)
        m.size[a] = p->axis[a].size, m.name[a] = p->axis[a].name;
    return m;
}

/* ==================== rows */

/* A row along axis `at`, of the shards along axis `axis` of the grid; -1: none. */
typedef struct Row { int axis, at; } Row;

static Ints no_axis(const Type *t, int at)
{
    Ints s = type_shape(t);
    for (int d = at; d + 1 < s.n; d++)
        s.v[d] = s.v[d + 1];
    s.n--;
    return s;
}

/* The shard's own row. Of what has just been gathered it is what the shard gave. */
static Ref own_row(Ref x, const Lane *lane, int at)
{
    const Ins *i = x ? def(x) : NULL;
    if (i && i->op == OP_all_gather && op_axis_name(i) == lane->name &&
        ins_int(i, ATTR(all_gather, axis)) == at)
        return i->in[0];
    if (!x)
        return 0;
    Ints sizes = type_shape(typ(x)), lo = { 1, { at } }, hi = { 1, { sizes.n - 1 - at } },
         none = { 1, { 0 } };
    Ref start = Reshape(AxisIndex(lane->name, lane->size), (Ints){ 1, { 1 } });
    Ints rest = no_axis(typ(x), at);
    sizes.v[at] = 1;
    start = Pad(start, Const(DT_I32, 0), lo, hi, none);
    return Reshape(DynamicSlice(x, start, sizes, (Ints){ 0 }), rest);
}

static Ref all_rows(Ref y, const Lane *lane, int at)
{
    return Collective(OP_all_gather, lane->name, lane->size, at, 0, y);
}

/* Is it the row that own_row takes? */
static Row row_taken(const Graph *g, const Ins *i, const Places *p)
{
    Row none = { -1, 0 }, r = none;
    const Ins *start = i->op == OP_dynamic_slice ? g->def[i->in[1]] : NULL;
    if (start && start->op == OP_pad)
        r.at = (int)ins_int(start, ATTR(pad, lo)), start = g->def[start->in[0]];
    start = start && start->op == OP_reshape ? g->def[start->in[0]] : NULL;
    if (!start || start->op != OP_axis_index)
        return none;
    const Type *x = &g->type[i->in[0]];
    Ints sizes = ins_ints(i, ATTR(dynamic_slice, sizes));
    for (int a = 0; a < p->n; a++)
        if (p->axis[a].name == op_axis_name(start) && x->rank == sizes.n && x->dim[r.at] == p->axis[a].size)
            r.axis = a;
    for (int d = 0; d < sizes.n; d++)
        if (sizes.v[d] != (d == r.at ? 1 : x->dim[d]))
            return none;
    return r;
}

/* How often each value is used, and what uses it last. */
typedef struct Uses { int *n; const Ins **by; } Uses;

static Uses uses_in(const Graph *g)
{
    Uses u = { NEWS(int, g->nval), NEWS(const Ins *, g->nval) };
    for (int n = 0; n < g->nins; n++)
        for (int k = 0; k < g->ins[n]->nin; k++) {
            Ref v = g->ins[n]->in[k];
            u.n[v]++, u.by[v] = g->ins[n];
        }
    for (int k = 0; k < g->nout; k++)
        u.n[g->out[k]]++, u.by[g->out[k]] = NULL;
    return u;
}

/* The rows in which input k is read, if it is read in no other way. */
static Row rows_of_input(const Graph *g, const Uses *u, int k, const Places *p)
{
    Ref v = g->in[k];
    return u->n[v] == 1 && u->by[v] ? row_taken(g, u->by[v], p) : (Row){ -1, 0 };
}

static Row rows_of_output(const Graph *g, int k, const Places *p)
{
    const Ins *i = g->def[g->out[k]];
    for (int a = 0; i && i->op == OP_all_gather && a < p->n; a++)
        if (p->axis[a].name == op_axis_name(i))
            return (Row){ a, (int)ins_int(i, ATTR(all_gather, axis)) };
    return (Row){ -1, 0 };
}

/* ==================== inputs and outputs become rows */

/* in, out: the rows that they become. */
typedef struct ToRows { const Graph *g; const Places *p; const Row *in; } ToRows;

static void read_row(const Ins *i, const Ref *x, Ref *out, void *env)
{
    const ToRows *t = env;
    bool row = false;
    for (int k = 0; k < t->g->nin && i->op == OP_dynamic_slice; k++)
        row = row || (t->in[k].axis >= 0 && i->in[0] == t->g->in[k]);
    if (row)
        out[0] = Reshape(x[0], type_shape(&t->g->type[i->out]));
    else
        again(i, x, out);
}

static Graph *to_rows(const Graph *g, const Row *in, const Row *out, const Places *p)
{
    Ref *map = NEWS(Ref, g->nval), *y = NEWS(Ref, g->nout);
    ToRows t = { g, p, in };
    Graph *h = graph_begin(graph_new());
    h->name = g->name;
    for (int k = 0; k < g->nin; k++) {
        Type type = g->type[g->in[k]];
        if (in[k].axis >= 0)
            type = type_of((Dtype)type.dt, type.rank - 1, no_axis(&type, in[k].at).v);
        map[g->in[k]] = graph_input(type, g->flag[g->in[k]] & V_ACC);
    }
    graph_map_ins(g, map, read_row, &t);
    for (int k = 0; k < g->nout; k++)
        y[k] = map[out && out[k].axis >= 0 ? g->def[g->out[k]]->in[0] : g->out[k]];
    graph_outputs(y, g->nout);
    return graph_dce(graph_end());
}

/* ==================== loops and branches over rows */

static bool some(const Row *r, int n)
{
    for (int k = 0; k < n; k++)
        if (r[k].axis >= 0)
            return true;
    return false;
}

static Row both(Row a, Row b) { return a.axis == b.axis && a.at == b.at ? a : (Row){ -1, 0 }; }

/* In which rows all bodies that read input j read it. */
static Row rows_of_inputs(const Draft *f, const Uses *u, int j, const Places *p)
{
    Row r = { -1, 0 };
    bool read = false;
    for (int n = 0; n < f->nsub; n++) {
        const Graph *b = f->sub[n];
        if (!u[n].n[b->in[j]])
            continue;
        Row own = rows_of_input(b, &u[n], j, p);
        r = read ? both(r, own) : own;
        read = true;
    }
    return r;
}

static Row rows_of_outputs(const Draft *f, int k, const Places *p)
{
    Row r = rows_of_output(f->sub[f->nsub - 1], k, p);
    for (int n = 0; n < f->nsub && f->r.kind == COND; n++)
        r = both(r, rows_of_output(f->sub[n], k, p));
    return r;
}

/* What goes round in a loop is rows if each step gathers it, and reads it by rows. False: there is nothing
 * of the kind. */
static bool region_rows(const Draft *f, const Places *p, Row *in, Row *out)
{
    const Region *r = &f->r;
    int nin = f->sub[0]->nin, nout = draft_results(f), first = r->ncap + r->nacc;
    Uses *u = NEWS(Uses, f->nsub);
    for (int n = 0; n < f->nsub; n++)
        u[n] = uses_in(f->sub[n]);
    for (int j = 0; j < nin; j++)
        in[j] = j < r->ncap || j >= first ? rows_of_inputs(f, u, j, p) : (Row){ -1, 0 };
    for (int k = 0; k < nout; k++)
        out[k] = k >= r->nacc ? rows_of_outputs(f, k, p) : (Row){ -1, 0 };
    for (int k = 0; k < r->ncarry; k++)
        in[first + k] = out[r->nacc + k] = both(in[first + k], out[r->nacc + k]);
    return some(in, nin) || some(out, nout);
}

static void emit_over_rows(const Draft *f, const Places *p, Ref *out)
{
    const Region *r = &f->r;
    int np = region_npred(r), nin = f->sub[0]->nin, nout = draft_results(f),
        steps = r->ncap + region_nloop(r);
    Row *ri = NEWS(Row, nin), *ro = NEWS(Row, nout);
    if (r->nlane || r->rule || error_pending() || !region_rows(f, p, ri, ro)) {
        draft_emit(f, out);
        return;
    }
    Draft g = draft_of(r, f->nin, f->in, f->nsub, f->sub);
    for (int j = 0; j < nin; j++)
        if (ri[j].axis >= 0)
            g.in[np + j] =
                own_row(f->in[np + j], &p->axis[ri[j].axis], ri[j].at + (r->kind == SCAN && j >= steps));
    for (int k = 0; k < f->nsub; k++)
        g.sub[k] = to_rows(f->sub[k], ri, r->kind == WHILE && k == 0 ? NULL : ro, p);
    emit_over_rows(&g, p, out);
    for (int k = 0; k < nout; k++)
        if (ro[k].axis >= 0 && out[k])
            out[k] =
                all_rows(out[k], &p->axis[ro[k].axis], ro[k].at + (r->kind == SCAN && k >= region_nloop(r)));
}

/* ==================== calls over places */

typedef struct Level { const Places *p; int n; } Level;        /* n: how many axes are around */

static Graph *on_level(const Graph *, Level);

/* Where the axis of lane a is among those of a value with these marks; -1: it has none. */
static int axis_at(const uint8_t *m, int a)
{
    int at = 0;
    for (int b = 0; b < a; b++)
        at += m[b] == STACKED;
    return m[a] == STACKED ? at : -1;
}

/* What only the first shard has. */
static Ref first_has(Ref x, const Lane *lane)
{
    Ref zeros = Zeros(typ(x)), index = AxisIndex(lane->name, lane->size);
    return Select(Broadcast(Eq(index, Like(index, 0)), type_shape(typ(x)), (Ints){ 0 }), x, zeros);
}

/* An accumulator cannot be read: its shards begin with zero, and what all have added is added to it
 * afterwards. */
static bool is_apart(const Region *r, int j, Ref x, int a)
{
    return region_group(r, j) == 'a' && marks_in(r, j)[a] != SHARED && graph_acc(cur(), x);
}

/* An operand as one shard has it. */
static Ref shard_operand(const Region *r, int j, Ref x, int a, const Lane *lane)
{
    const uint8_t *m = marks_in(r, j);
    int at = axis_at(m, a);
    if (is_apart(r, j, x, a)) {
        Ints rest = at >= 0 ? no_axis(typ(x), at) : type_shape(typ(x));
        Type t = type_of((Dtype)typ(x)->dt, rest.n, rest.v);
        return Zeros(&t);
    }
    return m[a] == SUMMED ? first_has(x, lane) : at >= 0 ? own_row(x, lane, at) : x;
}

static Ref all_shards(const Region *r, int k, Ref y, int a, const Lane *lane)
{
    int at = axis_at(marks_out(r, k), a);
    if (at >= 0)
        return all_rows(y, lane, at);
    return marks_out(r, k)[a] == SUMMED ? Collective(OP_psum, lane->name, lane->size, 0, 0, y) : y;
}

/* The call without lane axis a, which is an axis of the grid. */
static void one_shard(const Draft *f, int a, const Lane *lane, Ref *out)
{
    const Region *r = &f->r;
    int first = region_npred(r) + r->ncap, nres = draft_results(f);
    Region narrow = *r;
    narrow.nlane--, narrow.remat = false;
    narrow.lane = NEWS(Lane, narrow.nlane);
    narrow.om = NEWS(uint8_t, (size_t)nres * narrow.nlane);
    uint8_t *m = NEWS(uint8_t, r->nlane);
    for (int b = 0; b < narrow.nlane; b++) {
        narrow.lane[b] = r->lane[b + (b >= a)];
        for (int k = 0; k < nres; k++)
            narrow.om[k * narrow.nlane + b] = marks_out(r, k)[b + (b >= a)];
    }
    Draft g = draft_like(&narrow, f->nin, f->nsub);
    for (int j = 0; j < f->nin; j++) {
        for (int b = 0; b < narrow.nlane; b++)
            m[b] = marks_in(r, j)[b + (b >= a)];
        draft_operand(&g, shard_operand(r, j, f->in[j], a, lane), m);
    }
    for (int k = 0; k < g.nsub; k++)
        g.sub[k] = f->sub[k];
    draft_emit(&g, out);
    for (int k = 0; k < nres && !error_pending(); k++) {
        out[k] = all_shards(r, k, out[k], a, lane);
        if (k < r->nacc && is_apart(r, first + k, f->in[first + k], a))
            out[k] = Accum(f->in[first + k], out[k]);
    }
}

/* Collectives over an axis by the name that it has in the grid. */
typedef struct Renamed { const char *from, *to; } Renamed;

static void renamed(const Ins *i, const Ref *x, Ref *out, void *env)
{
    const Renamed *r = env;
    if (op_axis_name(i) == r->from) {
        Ins j = *i;
        int64_t *attr = arena_copy(i->attr, sizeof *attr * (size_t)i->nattr);
        attr[ins_attr(i, ATTR(psum, name), NULL) - i->attr] = (int64_t)(intptr_t)r->to;
        j.attr = attr;
        again(&j, x, out);
    } else if (i->op == OP_region) {
        Draft f = draft_of(i->region, i->nin, x, i->nsub, i->sub);
        for (int k = 0; k < f.nsub; k++)
            f.sub[k] = graph_map(i->sub[k], renamed, env);
        draft_emit(&f, out);
    } else {
        again(i, x, out);
    }
}

/* A place that is no axis of the grid becomes a lane axis of what each shard runs, and those inside it. */
static void batched_place(Draft *f, int a, Ref *out)
{
    Lane *lane = arena_copy(f->r.lane, sizeof *lane * (size_t)f->r.nlane);
    lane[a].place = NULL;
    f->r.lane = lane;
    for (int k = 0; k < f->nsub; k++)
        f->sub[k] = graph_unplaced(f->sub[k]);
    if (!error_pending())
        drop_lane(f, a, 0, false, out);
}

static void level_ins(const Ins *i, const Ref *x, Ref *out, void *env)
{
    Level l = *(Level *)env;
    if (i->op != OP_region) {
        again(i, x, out);
        return;
    }
    Draft f = draft_of(i->region, i->nin, x, i->nsub, i->sub);
    int a = region_place(&f.r), last = f.r.nlane - 1;
    while (a >= 0 && !f.r.lane[last].place)
        last--;
    if (a >= 0 && (a != last || l.n == l.p->n || f.r.lane[a].size != l.p->axis[l.n].size)) {
        batched_place(&f, last, out);
        return;
    }
    const Lane *lane = a >= 0 ? &l.p->axis[l.n++] : NULL;
    Renamed r = { lane ? f.r.lane[a].name : NULL, lane ? lane->name : NULL };
    for (int k = 0; k < f.nsub && !error_pending(); k++) {
        if (r.from && r.from != r.to)
            f.sub[k] = graph_map(f.sub[k], renamed, &r);
        f.sub[k] = f.sub[k] ? on_level(f.sub[k], l) : NULL;
    }
    if (error_pending())
        return;
    if (lane)
        one_shard(&f, a, lane, out);
    else
        emit_over_rows(&f, l.p, out);
}

static Graph *on_level(const Graph *g, Level l)
{
    while (g && graph_has_places(g))
        g = graph_map(g, level_ins, &l);
    return (Graph *)(uintptr_t)g;
}

/* ==================== the whole */

/* A row is taken along one axis after the other: that one among all axes of the array. */
static void note_row(Dealt *d, Row r)
{
    bool gone[MAXRANK + 1] = { false };
    int at = 0;
    for (int a = 0; a < MESH_AXES; a++)
        if (d->over[a] >= 0)
            gone[d->over[a]] = true;
    for (int left = r.at; gone[at] || left; at++)
        left -= !gone[at];
    d->over[r.axis] = (int8_t)at;
}

/* The instruction by itself, over whole operands. */
static Graph *alone(const Ins *i, const Graph *g)
{
    Ref *x = NEWS(Ref, i->nin), *y = NEWS(Ref, i->nout);
    Graph *h = graph_begin(graph_new());
    h->name = g->name;
    for (int k = 0; k < i->nin; k++)
        x[k] = graph_input(g->type[i->in[k]], 0);
    again(i, x, y);
    graph_outputs(y, i->nout);
    return graph_end();
}

/* An array is dealt out over an axis of the grid once. */
static Row further(const Dealt *d, Row r)
{
    return r.axis >= 0 && d->over[r.axis] >= 0 ? (Row){ -1, 0 } : r;
}

Graph *grid_program(const Ins *i, const Graph *g, const Places *p, Dealt *in, Dealt *out)
{
    Graph *h = on_level(alone(i, g), (Level){ p, 0 });
    if (h && !error_pending() && lanes_exchange(h))
        h = graph_matrix(h);
    h = h && !error_pending() ? graph_dce(h) : NULL;
    memset(in, -1, sizeof *in * (size_t)i->nin);
    memset(out, -1, sizeof *out * (size_t)i->nout);
    for (bool more = true; more && h && !error_pending(); ) {
        Row *ri = NEWS(Row, h->nin), *ro = NEWS(Row, h->nout);
        Uses u = uses_in(h);
        for (int k = 0; k < h->nin; k++)
            ri[k] = further(&in[k], rows_of_input(h, &u, k, p));
        for (int k = 0; k < h->nout; k++)
            ro[k] = further(&out[k], rows_of_output(h, k, p));
        if ((more = some(ri, h->nin) || some(ro, h->nout)))
            h = to_rows(h, ri, ro, p);
        for (int k = 0; k < i->nin && more; k++)
            if (ri[k].axis >= 0)
                note_row(&in[k], ri[k]);
        for (int k = 0; k < i->nout && more; k++)
            if (ro[k].axis >= 0)
                note_row(&out[k], ro[k]);
    }
    return h;
}
