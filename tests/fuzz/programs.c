/*
 * programs.c - random programs: nests of straight code, scans, whiles, conds, calls over lanes and
 * checkpoints, each a closed graph from three vectors to one.
 */
#include "programs.h"

/* ==================== building: a program is a closed graph (w, x, y) -> z of vectors */

Dtype real = DT_F64;

Args begin3(void)
{
    graph_begin(graph_new());
    Args a;
    a.w = graph_input(vec(), 0);
    a.x = graph_input(vec(), 0);
    a.y = graph_input(vec(), 0);
    return a;
}

Graph *end1(Ref z)
{
    graph_outputs(&z, 1);
    return graph_end();
}

static Graph *end_with(const Ref *z, int n)
{
    graph_outputs(z, n);
    return graph_end();
}

Ref call(const Graph *f, Ref w, Ref x, Ref y)
{
    Ref z = 0;
    graph_inline(f, (const Ref[]){ w, x, y }, &z);
    return z;
}

static Ref times(Ref v, double c) { return Mul(v, Like(v, c)); }
Ref total(Ref v) { return Sum(v, axis(0)); }
static Ref splat(Ref s) { return Broadcast(s, ints_of((const int64_t[]){ N }, 1), (Ints){ 0 }); }
static Ref over_rows(Ref v) { return Broadcast(v, ints_of((const int64_t[]){ N, N }, 2), axis(0)); }
Ref over_columns(Ref v) { return Broadcast(v, ints_of((const int64_t[]){ N, N }, 2), axis(1)); }
Ref outer(Ref v, Ref w) { return Mul(over_rows(v), over_columns(w)); }
static Ref matvec(Ref m, Ref v) { return Dot(m, v, axis(1), axis(0), (Ints){ 0 }, (Ints){ 0 }, DT_NONE); }
static Ref one_start(Ref i) { return Reshape(i, ints_of((const int64_t[]){ 1 }, 1)); }
static Ref vector_shape(Ref v) { return Reshape(v, ints_of((const int64_t[]){ N }, 1)); }

static Ref row(Ref table, Ref i)
{
    Ref starts = Concat((const Ref[]){ one_start(i), one_start(Const(DT_I32, 0)) }, 2, 0);
    return vector_shape(DynamicSlice(table, starts, ints_of((const int64_t[]){ 1, N }, 2), (Ints){ 0 }));
}

static void region(Region r, const Ref *in, int nin, Graph *const *sub, int nsub, Ref *out)
{
    emit_region(&r, nin, in, nsub, sub, out);
}

/* f over n lanes (the leading axis of stacked arguments), every result stacked. */
void over_batch(const Graph *f, const Ref *in, const uint8_t *states, int64_t n, Ref *out)
{
    Ref *V = NEWS(Ref, f->nval);
    uint8_t *S = NEWS(uint8_t, f->nval);
    Axis ax = { { n, NULL, NULL }, 0 };
    for (int k = 0; k < f->nin; k++)
        V[f->in[k]] = in[k], S[f->in[k]] = states[k];
    batch_into(f, V, S, &ax, false);
    for (int k = 0; k < f->nout; k++)
        out[k] = stacked(V[f->out[k]], S[f->out[k]], n);
}

/* ==================== random programs */

static Ref shuffle(Ref v, int how)
{
    switch (how) {
    case 0: return Reverse(v, axis(0));
    case 1: return Cumulative(OP_cumsum, v, 0, false);
    case 2: return Concat((const Ref[]){ SliceAxis(v, 0, 1, N), SliceAxis(v, 0, 0, 1) }, 2, 0);
    case 3: return Pad(SliceAxis(v, 0, 0, N - 1), total(v), axis(1), axis(0), axis(0));
    case 4: return splat(Reduce(OP_reduce_max, v, axis(0)));
    case 5: return vector_shape(Reduce(OP_reduce_prod, outer(v, v), axis(1)));
    default: return Sum(Transpose(outer(v, Sin(v)), ints_of((const int64_t[]){ 1, 0 }, 2)), axis(1));
    }
}

static Graph *leaf(Gen *g)
{
    static const double factor[] = { 0.5, 0.7, 1.2 };
    double c = factor[pick(&g->r, 3)];
    int kind = pick(&g->r, 5), how = pick(&g->r, 7);
    Args a = begin3();
    switch (kind) {
    case 0: return end1(Add(Sin(Mul(a.w, a.x)), times(a.y, c)));
    case 1: return end1(Add(times(Mul(a.x, a.y), c), a.w));
    case 2: return end1(Mul(Tanh(Add(a.x, a.y)), a.w));
    case 3: return end1(Mul(Tanh(shuffle(Add(a.x, a.w), how)), times(a.y, c)));
    default: return end1(Select(Gt(a.x, a.y), Mul(a.w, a.x), times(a.y, c)));
    }
}

static Graph *plain(Gen *g, int depth)
{
    int kind = pick(&g->r, 5);
    const Graph *f = random_program(g, depth), *h = kind == 1 ? random_program(g, depth) : NULL;
    Args a = begin3();
    switch (kind) {
    case 0: return end1(Mul(Sin(call(f, a.w, a.y, a.x)), a.w));
    case 1: return end1(Mul(Tanh(call(f, a.w, a.x, a.y)), call(h, a.w, a.x, a.y)));
    case 2: return end1(Tanh(matvec(outer(a.w, a.x), call(f, a.w, a.x, a.y))));
    case 3: {
        Ref at = Convert(times(Reduce(OP_reduce_max, a.x, axis(0)), 2), DT_I32);
        Ref two = DynamicSlice(a.w, one_start(at), axis(2), (Ints){ 0 });
        return end1(Mul(call(f, a.w, a.x, a.y), splat(total(two))));
    }
    default: {
        Ref both[2];
        Barrier((const Ref[]){ call(f, a.w, a.x, a.y), a.y }, 2, both);
        Ref at = Convert(times(total(a.x), 1.5), DT_I32);
        return end1(DynamicUpdate(both[0], SliceAxis(both[1], 0, 0, 1), one_start(at)));
    }
    }
}

/* A step reads a scalar of y; the carry is a vector, and sometimes a counter. Sometimes there are no
 * steps. */
static Graph *scan(Gen *g, int depth)
{
    bool reverse = pick(&g->r, 2), twice = pick(&g->r, 2);
    int64_t length = pick(&g->r, 6) ? N : 0;
    const Graph *f = random_program(g, depth);
    graph_begin(graph_new());
    Ref w = graph_input(vec(), 0), y = graph_input(vec(), 0), w2 = graph_input(vec(), 0);
    Ref c = graph_input(vec(), 0), n = graph_input(type_scalar(DT_I32), 0), e = graph_input(scalar(), 0);
    Ref next = Tanh(call(f, w, c, Mul(y, splat(e))));
    if (twice)
        next = Add(next, times(w2, 0.25));
    Ref k = Add(n, Const(DT_I32, 1)), out[] = { next, k, Mul(total(c), Add(e, Convert(n, real))) };
    Graph *body = end_with(out, 3);
    Args a = begin3();
    Region r = region_plain(SCAN, 3, 0, 2);
    r.length = length, r.reverse = reverse;
    Ref in[] = { a.w, a.y, a.w, a.x, Const(DT_I32, 0), SliceAxis(a.y, 0, 0, length) }, z[3];
    region(r, in, 6, &body, 1, z);
    return end1(Add(z[0], splat(Mul(total(z[2]), Add(Const(real, 1), Convert(z[1], real))))));
}

/* A captured table is read a row a step, through a view that does not change; or is a weight that some steps
 * multiply by. */
static Graph *table_scan(Gen *g, int depth)
{
    bool weight = pick(&g->r, 2);
    const Graph *f = random_program(g, depth);
    Graph *sub[2];
    for (int k = 0; k < 2; k++) {
        graph_begin(graph_new());
        Ref t = graph_input(mat(), 0), c = graph_input(vec(), 0);
        sub[k] = end1(k ? Tanh(matvec(t, c)) : Sin(c));
    }
    graph_begin(graph_new());
    Ref w = graph_input(vec(), 0), t = graph_input(mat(), 0), c = graph_input(vec(), 0);
    Ref i = graph_input(type_scalar(DT_I32), 0), next;
    if (weight) {
        Ref taken = Convert(Gt(total(c), Const(real, 0)), DT_I32);
        region(region_plain(COND, 2, 0, 0), (const Ref[]){ taken, t, call(f, w, c, w) }, 3, sub, 2, &next);
    } else {
        next = Tanh(call(f, w, c, row(Transpose(t, ints_of((const int64_t[]){ 1, 0 }, 2)), i)));
    }
    Graph *body = end_with((const Ref[]){ next, Add(i, Const(DT_I32, 1)) }, 2);
    Args a = begin3();
    Region r = region_plain(SCAN, 2, 0, 2);
    r.length = N;
    Ref z[2];
    region(r, (const Ref[]){ a.w, outer(a.w, a.x), a.y, Const(DT_I32, 0) }, 4, &body, 1, z);
    return end1(z[0]);
}

/* Two or three branches; one reads a row of a table, one multiplies by it; it is captured by all. */
static Graph *cond(Gen *g, int depth)
{
    int n = 2 + pick(&g->r, 2);
    Graph *sub[3];
    for (int k = 0; k < n; k++) {
        const Graph *f = random_program(g, depth);
        graph_begin(graph_new());
        Ref w = graph_input(vec(), 0), x = graph_input(vec(), 0), y = graph_input(vec(), 0),
            t = graph_input(mat(), 0);
        Ref z = k == 1 ? call(f, w, y, x) : call(f, w, x, y);
        sub[k] = end1(k == 1 ? Mul(z, row(t, Const(DT_I32, k))) : k ? Tanh(matvec(t, z)) : z);
    }
    Args a = begin3();
    Ref index = Convert(times(total(a.x), 1.5), DT_I32), z;
    region(
        region_plain(COND, 4, 0, 0), (const Ref[]){ index, a.w, a.x, a.y, outer(a.y, a.w) }, 5, sub, n, &z);
    return end1(z);
}

static Graph *while_loop(Gen *g, int depth)
{
    const Graph *f = random_program(g, depth);
    Type counter = type_scalar(DT_I32);
    Graph *sub[2];
    for (int k = 0; k < 2; k++) {
        graph_begin(graph_new());
        Ref w = graph_input(vec(), 0), y = graph_input(vec(), 0), v = graph_input(vec(), 0);
        Ref n = graph_input(counter, 0);
        if (k == 0) {
            sub[k] = end1(And(Lt(total(Mul(v, v)), Const(real, 4)), Lt(n, Const(DT_I32, 5))));
        } else {
            Ref out[] = { Add(call(f, w, v, y), times(v, 1.3)), Add(n, Const(DT_I32, 1)) };
            sub[k] = end_with(out, 2);
        }
    }
    Args a = begin3();
    Ref z[2];
    region(region_plain(WHILE, 2, 0, 2), (const Ref[]){ a.w, a.y, a.x, Const(DT_I32, 0) }, 4, sub, 2, z);
    return end1(z[0]);
}

/* (w, x, y, e) -> f with e mixed in: what is mapped over the elements, or the rows, of something. */
static Graph *with_element(const Graph *f, bool vector)
{
    graph_begin(graph_new());
    Ref w = graph_input(vec(), 0), x = graph_input(vec(), 0), y = graph_input(vec(), 0);
    Ref e = graph_input(vector ? vec() : scalar(), 0);
    return end1(vector ? call(f, w, Add(x, e), y) : call(f, w, Mul(x, splat(e)), y));
}

static Graph *mapped(Gen *g, int depth)
{
    bool rows = pick(&g->r, 2);
    int64_t n = pick(&g->r, 8) ? N : 0;
    const Graph *f = with_element(random_program(g, depth), rows);
    Args a = begin3();
    Ref e = SliceAxis(rows ? outer(a.y, a.x) : a.y, 0, 0, n), z;
    const uint8_t states[] = { SHARED, SHARED, SHARED, STACKED };
    over_batch(f, (const Ref[]){ a.w, a.x, a.y, e }, states, n, &z);
    return end1(total(z));
}

/* Operand v with its marks over all lanes of r: for each lane that it is stacked over, rows that differ. */
static Ref with_lanes(const Region *r, int operand, Ref v)
{
    for (int a = r->nlane - 1; a >= 0; a--) {
        int64_t n = r->lane[a].size;
        if (r->im[operand * r->nlane + a] != STACKED)
            continue;
        Ref rows = BroadcastLead(v, n), row = Iota(*typ(rows), 0);
        v = is_float(v) ? Mul(rows, Add(Convert(row, real), Like(rows, 1))) : Add(rows, row);
    }
    return v;
}

static Graph *two_branches(const Graph *f)
{
    Args a = begin3();
    Ref e = graph_input(vec(), 0);
    return end1(Mul(call(f, a.y, a.w, a.x), Cos(e)));
}

/* (w, x, carry, e) -> carry, y */
static Graph *step_of(const Graph *f)
{
    Args a = begin3();
    Ref e = graph_input(vec(), 0);
    Ref c = Tanh(Add(call(f, a.w, a.y, e), times(a.y, 0.5)));
    return end_with((const Ref[]){ c, Mul(c, a.x) }, 2);
}

/* A call, a cond or a scan whose lanes are written down, with random marks: what all lanes get, what lane 0
 * alone gets, a row a lane; results that are lane 0's, rows, or sums. */
static Graph *lanes(Gen *g, int depth)
{
    static const RegionKind kinds[] = { CALL, CALL, COND, SCAN };
    RegionKind kind = kinds[pick(&g->r, 4)];
    const Graph *f = random_program(g, depth);
    int np = kind == COND, nin = np + 4, nres = kind == SCAN ? 2 : 1;
    Graph *sub[2] = { kind == SCAN ? step_of(f) : with_element(f, true),
        kind == COND ? two_branches(f) : NULL };
    Args a = begin3();
    Region r = kind == SCAN ? region_plain(SCAN, 2, 0, 1) : region_plain(kind, 4, 0, 0);
    r.length = N, r.reverse = pick(&g->r, 2);
    r.nlane = 1 + pick(&g->r, 2);
    r.lane = NEWS(Lane, r.nlane);
    r.im = NEWS(uint8_t, nin * r.nlane);
    r.om = NEWS(uint8_t, nres * r.nlane);
    for (int k = 0; k < r.nlane; k++)
        r.lane[k].size = pick(&g->r, 12) ? 2 + k : 0;
    for (int k = 0; k < nin * r.nlane; k++)
        r.im[k] = (uint8_t)pick(&g->r, k < np * r.nlane ? 2 : 3);
    for (int k = 0; k < nres * r.nlane; k++)
        r.om[k] = (uint8_t)pick(&g->r, 3);
    Ref in[5], z[2];
    const Ref from[] = { a.w, a.x, a.y, kind == SCAN ? outer(a.x, a.y) : a.x };
    if (np)
        in[0] = with_lanes(&r, 0, Convert(times(total(a.x), 1.5), DT_I32));
    for (int j = np; j < nin; j++)
        in[j] = with_lanes(&r, j, from[j - np]);
    region(r, in, nin, sub, 1 + np, z);
    for (int k = 0; k < nres; k++)
        while (typ(z[k])->rank > 1)
            z[k] = Sum(Sin(z[k]), axis(0));
    return end1(nres == 2 ? Add(z[0], z[1]) : z[0]);
}

/* A mapped scan of which one result is the same in all lanes. */
static Graph *shared_result(Gen *g, int depth)
{
    const Graph *f = random_program(g, depth);
    graph_begin(graph_new());
    Ref w = graph_input(vec(), 0), y = graph_input(vec(), 0), e = graph_input(scalar(), 0);
    Ref c = graph_input(vec(), 0), d = graph_input(scalar(), 0);
    Ref out[] = { Tanh(call(f, w, c, y)), Mul(d, e) };
    Graph *body = end_with(out, 2);

    graph_begin(graph_new());
    Ref in[5];
    for (int k = 0; k < 5; k++)
        in[k] = graph_input(k == 2 || k == 4 ? scalar() : vec(), 0);
    Region r = region_plain(SCAN, 3, 0, 2);
    r.length = 2;
    Ref z[2];
    region(r, in, 5, &body, 1, z);
    Graph *whole = end_with(z, 2);

    Args a = begin3();
    Ref *V = NEWS(Ref, whole->nval);
    uint8_t *S = NEWS(uint8_t, whole->nval);
    const Ref x[] = { a.w, a.y, a.y, a.x, a.y };
    Axis ax = { { N, NULL, NULL }, 0 };
    for (int k = 0; k < 5; k++)
        V[whole->in[k]] = x[k], S[whole->in[k]] = k == 2 || k == 4 ? STACKED : SHARED;
    batch_into(whole, V, S, &ax, false);
    Ref v = whole->out[0], u = whole->out[1];
    return end1(Add(settle(V[v], S[v], SHARED, &ax), stacked(V[u], S[u], N)));
}

static Graph *checkpoint(Gen *g, int depth)
{
    Graph *f = random_program(g, depth);
    Args a = begin3();
    Region r = region_plain(CALL, 3, 0, 0);
    r.remat = true;
    Ref z;
    region(r, (const Ref[]){ a.w, a.x, a.y }, 3, &f, 1, &z);
    return end1(z);
}

Graph *random_program(Gen *g, int depth)
{
    if (!depth)
        return leaf(g);
    switch (pick(&g->r, g->forward_only ? 12 : 10)) {
    case 0: case 1: return plain(g, depth - 1);
    case 2: case 3: return scan(g, depth - 1);
    case 4: return table_scan(g, depth - 1);
    case 5: return cond(g, depth - 1);
    case 6: return mapped(g, depth - 1);
    case 7: return lanes(g, depth - 1);
    case 8: return shared_result(g, depth - 1);
    case 9: return checkpoint(g, depth - 1);
    default: return while_loop(g, depth - 1);
    }
}
