/*
 * fuzz.c - random programs under random transforms, held to the laws that transforms obey.
 *
 * In:  seeds. A seed makes a random nest of straight code, scans, whiles, conds, calls over lanes, vmaps and
 *      checkpoints: a closed graph from three vectors to one. Random transforms around it give such a graph
 *      again.
 * Out: for every seed that breaks a law, the seed and the law. Laws:
 *      check     the verifier passes after every transform
 *      matrix    the matrix form computes what the lanes compute
 *      vmap      a batched graph computes, row by row, what the graph computes
 *      adjoint   <ct, jvp(t)> = <vjp(ct), t>
 *      primal    jvp and vjp give the function's own results
 *      slope     jvp is the limit of difference quotients (f64)
 *      text      what is printed parses to the same graph
 *      With --device NAME one law instead: the program, its derivatives and its lanes give on the device
 *      what they give on the host; with --bits also, in f32, bit by bit what the kernels of its plan give
 *      when they are read.
 *
 *      With --views: programs of views instead (fuzz_views.c), --many of them in one graph.
 *
 *      With --pmap: programs whose shards meet (fuzz_pmap.c), over these devices and as lanes.
 *
 *      fuzz [--seed N] [--count N] [--only LAW] [--verbose]
 *      fuzz [--bits | --views [--many N]] --device NAME [--seed N] [--count N] [--verbose]
 *      fuzz --pmap NAME,NAME [--seed N] [--count N]
 *      exit code: 1 if a law was broken, 77 if the device is not there
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

enum { N = 3 };                                 /* the length of every vector */

static Values values_random(Type t, Rng *r)
{
    Values a = values_new(t);
    for (int64_t k = 0; k < type_size(&t); k++)
        a.v[k] = normal(r);
    return a;
}

/* ==================== building: a program is a closed graph (w, x, y) -> z of vectors */

static Dtype real = DT_F64;                      /* of all numbers but counters */

static Type vec(void) { return type_of(real, 1, (const int64_t[]){ N }); }
static Type mat(void) { return type_of(real, 2, (const int64_t[]){ N, N }); }
static Type scalar(void) { return type_scalar(real); }
static Ints axis(int k) { return (Ints){ 1, { k } }; }

typedef struct Args { Ref w, x, y; } Args;

static Args begin3(void)
{
    graph_begin(graph_new());
    Args a;
    a.w = graph_input(vec(), 0);
    a.x = graph_input(vec(), 0);
    a.y = graph_input(vec(), 0);
    return a;
}

static Graph *end1(Ref z)
{
    graph_outputs(&z, 1);
    return graph_end();
}

static Graph *end_with(const Ref *z, int n)
{
    graph_outputs(z, n);
    return graph_end();
}

static Ref call(const Graph *f, Ref w, Ref x, Ref y)
{
    Ref z = 0;
    graph_inline(f, (const Ref[]){ w, x, y }, &z);
    return z;
}

static Ref times(Ref v, double c) { return Mul(v, Like(v, c)); }
static Ref total(Ref v) { return Sum(v, axis(0)); }
static Ref splat(Ref s) { return Broadcast(s, ints_of((const int64_t[]){ N }, 1), (Ints){ 0 }); }
static Ref over_rows(Ref v) { return Broadcast(v, ints_of((const int64_t[]){ N, N }, 2), axis(0)); }
static Ref over_columns(Ref v) { return Broadcast(v, ints_of((const int64_t[]){ N, N }, 2), axis(1)); }
static Ref outer(Ref v, Ref w) { return Mul(over_rows(v), over_columns(w)); }
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
static void vmap(const Graph *f, const Ref *in, const uint8_t *states, int64_t n, Ref *out)
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

typedef struct Gen { Rng r; bool forward_only; } Gen;

static Graph *program(Gen *, int depth);

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
    const Graph *f = program(g, depth), *h = kind == 1 ? program(g, depth) : NULL;
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
    const Graph *f = program(g, depth);
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
    const Graph *f = program(g, depth);
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
        const Graph *f = program(g, depth);
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
    const Graph *f = program(g, depth);
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
    const Graph *f = with_element(program(g, depth), rows);
    Args a = begin3();
    Ref e = SliceAxis(rows ? outer(a.y, a.x) : a.y, 0, 0, n), z;
    vmap(f, (const Ref[]){ a.w, a.x, a.y, e }, (const uint8_t[]){ SHARED, SHARED, SHARED, STACKED }, n, &z);
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
    const Graph *f = program(g, depth);
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
    const Graph *f = program(g, depth);
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
    Graph *f = program(g, depth);
    Args a = begin3();
    Region r = region_plain(CALL, 3, 0, 0);
    r.remat = true;
    Ref z;
    region(r, (const Ref[]){ a.w, a.x, a.y }, 3, &f, 1, &z);
    return end1(z);
}

static Graph *program(Gen *g, int depth)
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

/* ==================== random transforms around them */

static const bool wrt_w[] = { true, false, false }, wrt_x[] = { false, true, false },
                  wrt_wx[] = { true, true, false };
static const bool wrt_all[] = { true, true, true };

/* The sum of sines of f: a scalar to be differentiated. */
static Graph *loss(const Graph *f)
{
    Args a = begin3();
    return end1(total(Sin(call(f, a.w, a.x, a.y))));
}

static Graph *grad(const Graph *f, const bool *wrt)
{
    const Graph *v = graph_vjp(loss(f), wrt);
    if (!v)
        return NULL;
    Args a = begin3();
    Ref z[4];
    graph_inline(v, (const Ref[]){ a.w, a.x, a.y, Const(real, 1) }, z);
    return end1(z[1]);
}

static Graph *tangent(const Graph *f)
{
    const Graph *j = graph_jvp(f, wrt_wx);
    if (!j)
        return NULL;
    Args a = begin3();
    Ref z[2];
    graph_inline(j, (const Ref[]){ a.w, a.x, a.y, a.y, a.w }, z);
    return end1(z[1]);
}

/* Rows of the Jacobian by vmap of the pullback, columns by vmap of the jvp; mixed together. */
static Graph *jacobians(const Graph *f)
{
    const Graph *j = graph_jvp(f, wrt_w), *p = graph_vjp(f, wrt_x);
    if (!j || !p)
        return NULL;
    Args a = begin3();
    const uint8_t states[] = { SHARED, SHARED, SHARED, STACKED };
    Type index = type_of(DT_I32, 2, (const int64_t[]){ N, N });
    Ref hit = Eq(Iota(index, 0), Iota(index, 1)), eye = Select(hit, Full(mat(), 1), Full(mat(), 0));
    const Ref in[] = { a.w, a.x, a.y, eye };
    Ref columns[2], rows[2];
    vmap(j, in, states, N, columns);
    vmap(p, in, states, N, rows);
    return end1(Sum(Mul(columns[1], Sin(rows[1])), axis(1)));
}

static Graph *wrap_vmap(Gen *g, const Graph *f)
{
    Args a = begin3();
    Ref z, all = outer(a.y, a.x);
    uint8_t states[3] = { SHARED, SHARED, SHARED };
    Ref in[] = { a.w, a.x, a.y };
    int some = 1 + pick(&g->r, 7);
    for (int k = 0; k < 3; k++)
        if (some >> k & 1)
            in[k] = Add(all, over_columns(in[k])), states[k] = STACKED;
    vmap(f, in, states, N, &z);
    return end1(total(z));
}

static Graph *wrap(Gen *g, Graph *f, int n)
{
    for (; f && n > 0; n--)
        switch (pick(&g->r, g->forward_only ? 3 : 6)) {
        case 0: f = tangent(f); break;
        case 1: case 2: f = wrap_vmap(g, f); break;
        case 3: f = grad(f, wrt_x); break;
        case 4: f = grad(f, wrt_w); break;
        default: f = jacobians(f); break;
        }
    return f;
}

/* ==================== laws */

static FuzzOptions option = { .seed = 1, .count = 100, .many = 1 };
static char broken[4096];

static bool wanted(const char *law) { return !option.only || !strcmp(option.only, law); }

static bool fails(const char *law, const char *what)
{
    snprintf(broken, sizeof broken, "%s (%s)%s%s", law, what, error_pending() ? ": " : "", error_text());
    return false;
}

static double tolerance = 1e-8, rounding = 1e-12;       /* of results; a few roundings of arguments */

/* Does a change of the arguments by a few roundings change the results by more than the tolerance? Then they
 * prove nothing: nests of derivatives of loops can be as steep as they like. */
static bool too_steep(const Graph *g, const Values *in, const Values *out)
{
    Values *moved = NEWS(Values, g->nin), *z = NEWS(Values, g->nout);
    for (int k = 0; k < g->nin; k++) {
        moved[k] = values_new(in[k].t);
        for (int64_t j = 0; j < type_size(&in[k].t); j++)
            moved[k].v[j] = in[k].v[j] * (1 + (j % 2 ? rounding : -rounding));
    }
    return !evaluate(g, moved, z) && !all_same(z, out, g->nout, tolerance);
}

/* Evaluates g both ways. False: a law is broken. */
static bool lanes_and_matrix(const Graph *g, const char *what, const Values *in, Values *out)
{
    if (!g || graph_check(g))
        return fails("check", what);
    if (evaluate(g, in, out))
        return fails("run", what);
    if (!wanted("matrix"))
        return true;
    const Graph *m = graph_matrix(g);
    Values *got = NEWS(Values, g->nout);
    if (!m || graph_check(m) || graph_has_lanes(m))
        return fails("check", arena_text("matrix form of %s", what));
    if (evaluate(m, in, got))
        return fails("run", arena_text("matrix form of %s", what));
    for (int k = 0; k < g->nout; k++)
        if (!all_same(&got[k], &out[k], 1, tolerance) && !too_steep(g, in, out))
            return fails("matrix", arena_text("%s, result %d: %s", what, k, difference(got[k], out[k])));
    return true;
}

static double inner(Values a, Values b)
{
    double s = 0;
    for (int64_t k = 0; k < type_size(&a.t); k++)
        s += a.v[k] * b.v[k];
    return s;
}

/* Central differences. A program may bend or jump anywhere, so one of several step widths has to agree. */
static bool law_slope(const Graph *f, const Values *in, const Values *t, Values dz)
{
    double worst = 0;
    for (int64_t j = 0; j < type_size(&dz.t); j++)
        if (!(fabs(dz.v[j]) < 1e3))             /* too steep for difference quotients */
            return true;
    for (double h = 1e-3; h > 1e-8; h /= 10) {
        Values moved[3], up, down;
        for (int way = 1; way >= -1; way -= 2) {
            for (int k = 0; k < 3; k++) {
                moved[k] = values_new(in[k].t);
                for (int64_t j = 0; j < type_size(&in[k].t); j++)
                    moved[k].v[j] = in[k].v[j] + way * h * t[k].v[j];
            }
            if (evaluate(f, moved, way > 0 ? &up : &down))
                return fails("run", "moved arguments");
        }
        for (int64_t j = 0; j < type_size(&dz.t); j++)
            up.v[j] = (up.v[j] - down.v[j]) / (2 * h);
        if (same(up.v, dz.v, type_size(&dz.t), 2e-5))
            return true;
        worst = up.v[0];
    }
    return fails("slope", arena_text("jvp %g, difference quotient %g", dz.v[0], worst));
}

static bool law_vmap(const Graph *f, Rng *r)
{
    Lane lane = { 2, NULL, NULL };
    uint8_t states[3], out = STACKED;
    Values in[3], one[3], all, single;
    for (int k = 0; k < 3; k++) {
        states[k] = (uint8_t)pick(r, 2);
        Type t = vec();
        in[k] = values_random(states[k] ? type_add_lead(&t, lane.size) : t, r);
    }
    const Graph *g = graph_batch(f, states, &out, &lane, false, false);
    if (!lanes_and_matrix(g, "vmap", in, &all))
        return false;
    for (int64_t n = 0; n < lane.size; n++) {
        for (int k = 0; k < 3; k++)
            one[k] = (Values){ vec(), in[k].v + (states[k] ? n * N : 0) };
        if (evaluate(f, one, &single))
            return fails("run", "one lane");
        if (!same(all.v + n * N, single.v, N, tolerance))
            return fails("vmap", "a lane differs");
    }
    return true;
}

static bool law_text(const Graph *f)
{
    Text text = { 0 };
    graph_print(f, &text);
    const Graph *again = graph_parse(text.s, "printed");
    bool ok = again && graph_equal(f, again);
    text_free(&text);
    return ok || fails("text", "print and parse");
}

static bool laws_forward(const Graph *f, Rng *r, const Values *in, Values z, Values *t, Values *dz)
{
    Values all[6], jz[2];
    const Graph *j = graph_jvp(f, wrt_all);
    for (int k = 0; k < 3; k++) {
        t[k] = values_random(vec(), r);
        all[k] = in[k], all[3 + k] = t[k];
    }
    if (!lanes_and_matrix(j, "jvp", all, jz))
        return false;
    if (!all_same(jz, &z, 1, tolerance))
        return fails("primal", "jvp");
    *dz = jz[1];
    return !wanted("slope") || law_slope(f, in, t, *dz);
}

static bool laws_reverse(const Graph *f, Rng *r, const Values *in, Values z, const Values *t, Values dz)
{
    Values all[4] = { in[0], in[1], in[2], values_random(vec(), r) }, back[4];
    if (!lanes_and_matrix(graph_vjp(f, wrt_all), "vjp", all, back))
        return false;
    if (!all_same(back, &z, 1, tolerance))
        return fails("primal", "vjp");
    double there = inner(all[3], dz), here = 0, scale = 0;
    for (int k = 0; k < 3; k++) {
        here += inner(back[k + 1], t[k]);
        scale += sqrt(inner(back[k + 1], back[k + 1]) * inner(t[k], t[k]));
    }
    if (wanted("adjoint") && !near(there, here, scale, 1e-7))
        return fails("adjoint", arena_text("%.17g and %.17g", there, here));
    const Graph *w = wrap_vmap(&(Gen){ .r = *r }, f);   /* grad of vmap, vmap of grad of vmap */
    const Graph *g = grad(w, wrt_x);
    return lanes_and_matrix(g, "grad of vmap", in, back)
        && lanes_and_matrix(wrap_vmap(&(Gen){ .r = *r }, g), "vmap of grad of vmap", in, back);
}

static bool refuses_reverse(const Graph *f)
{
    Graph *v = graph_vjp(f, wrt_all);
    bool ok = v || (error_code() == E_DIFF && strstr(error_text(), "while"));
    error_clear();
    return ok || fails("check", "reverse mode through a while gives its error");
}

/* ==================== the host and a device */

/* NULL: laws on the host; whose bits are the kernels' own, if they are asked for */
static Device *other, *reader;

static bool same_bits(const Values *a, const Values *b)
{
    for (int64_t j = 0; j < type_size(&a->t); j++)
        if (!(a->v[j] == b->v[j] && signbit(a->v[j]) == signbit(b->v[j])) &&
            !(isnan(a->v[j]) && isnan(b->v[j])))
            return false;
    return true;
}

/* The plan that the other device gets, read: what its printer and its compiler made of it gives the same
 * bits. */
static bool bits_of_kernels(const Graph *g, const char *what, const Values *in, const Values *got)
{
    Values *read = NEWS(Values, g->nout);
    Device *host = device;
    DeviceInfo own = reader->info;
    reader->info = other->info, device = reader;
    int code = evaluate(graph_dce(g), in, read);
    reader->info = own, device = host;
    if (code)
        return fails("kernels", what);
    for (int k = 0; k < g->nout; k++)
        if (!same_bits(&got[k], &read[k]))
            return fails("kernels", arena_text("%s, result %d: %s", what, k, difference(got[k], read[k])));
    return true;
}

static bool same_on_device(const Graph *g, const char *what, const Values *in)
{
    if (!g)
        return fails("check", what);
    Values *want = NEWS(Values, g->nout), *got = NEWS(Values, g->nout);
    Device *host = device;
    if (evaluate(g, in, want))
        return fails("run", what);
    device = other;
    int code = evaluate(graph_dce(g), in, got);
    device = host;
    if (code)
        return fails("device", what);
    for (int k = 0; k < g->nout; k++)
        if (!all_same(&got[k], &want[k], 1, tolerance) && !too_steep(g, in, want))
            return fails("device", arena_text("%s, result %d: %s", what, k, difference(got[k], want[k])));
    return !reader || bits_of_kernels(g, what, in, got);
}

static bool laws_on_device(const Graph *f, bool forward_only, const Values *in, Rng *r)
{
    static const uint8_t states[] = { STACKED, SHARED, STACKED };
    const Lane lane = { 2, NULL, NULL };
    const uint8_t out = STACKED;
    Values all[6], many[3];
    for (int k = 0; k < 3; k++) {
        Type t = vec();
        all[k] = in[k], all[3 + k] = values_random(t, r);
        many[k] = states[k] ? values_random(type_add_lead(&t, lane.size), r) : in[k];
    }
    return same_on_device(f, "the program", in)
        && same_on_device(graph_jvp(f, wrt_all), "jvp", all)
        && (forward_only || same_on_device(graph_vjp(f, wrt_all), "vjp", all))
        && same_on_device(graph_batch(f, states, &out, &lane, false, false), "vmap", many);
}

static bool try_seed(uint64_t seed)
{
    Gen g = { .r = { seed * 0x9E3779B97F4A7C15u + 1 } };
    g.forward_only = pick(&g.r, 10) < 3;
    int depth = 1 + pick(&g.r, 3), around = pick(&g.r, 3);
    Graph *f = wrap(&g, program(&g, depth), around);
    Rng r = { seed + 77 };
    Values in[3] = { values_random(vec(), &r), values_random(vec(), &r), values_random(vec(), &r) }, z, t[3],
           dz;
    if (!f || error_pending())
        return fails("check", "building the program");
    if (option.verbose) {
        Text text = { 0 };
        graph_print(f, &text);
        puts(text.s);
        text_free(&text);
    }
    if (other)
        return laws_on_device(f, g.forward_only, in, &r);
    return lanes_and_matrix(f, "the program", in, &z)
        && (!wanted("text") || law_text(f))
        && (!wanted("vmap") || law_vmap(f, &r))
        && laws_forward(f, &r, in, z, t, &dz)
        && (g.forward_only ? refuses_reverse(f) : laws_reverse(f, &r, in, z, t, dz));
}

/* ==================== the command */

static bool read_options(int argc, char **argv)
{
    for (int k = 1; k < argc; k++) {
        bool more = k + 1 < argc;
        if (!strcmp(argv[k], "--seed") && more)
            option.seed = strtoll(argv[++k], NULL, 10);
        else if (!strcmp(argv[k], "--count") && more)
            option.count = strtoll(argv[++k], NULL, 10);
        else if (!strcmp(argv[k], "--many") && more)
            option.many = strtoll(argv[++k], NULL, 10);
        else if (!strcmp(argv[k], "--only") && more)
            option.only = argv[++k];
        else if (!strcmp(argv[k], "--device") && more)
            option.device = argv[++k];
        else if (!strcmp(argv[k], "--pmap") && more)
            option.pmap = argv[++k];
        else if (!strcmp(argv[k], "--bits"))
            option.bits = true;
        else if (!strcmp(argv[k], "--views"))
            option.views = true;
        else if (!strcmp(argv[k], "--verbose"))
            option.verbose = true;
        else
            return false;
    }
    return option.many > 0 && (!(option.views || option.bits) || option.device);
}

int main(int argc, char **argv)
{
    int bad = 0;
    if (!read_options(argc, argv)) {
        fprintf(stderr,
            "usage: fuzz [--seed N] [--count N] [--only LAW] [--verbose]\n"
            "       fuzz [--bits | --views [--many N]] --device NAME [--seed N] [--count N] [--verbose]\n"
            "       fuzz --pmap NAME,NAME [--seed N] [--count N]\n");
        return 2;
    }
    if (option.pmap)
        return pmap_agrees(option.seed, option.count, option.pmap);
    if (!device_use("host")) {
        fprintf(stderr, "%s\n", error_text());
        return 2;
    }
    if (option.device && !(other = device_find(option.device))) {
        printf("skipped: %s\n", error_text());
        return 77;
    }
    if (option.bits && !(reader = device_find("kernel"))) {
        fprintf(stderr, "%s\n", error_text());
        return 2;
    }
    /* f64 has no functions there, and nowhere functions of ours */
    if (other && (reader || !other->info.has_f64 || !strcmp(other->info.kind, "vulkan")))
        real = DT_F32, tolerance = 2e-3, rounding = 1e-6;
    for (int64_t seed = option.seed; !option.views && seed < option.seed + option.count; seed++) {
        Arena *arena = arena_new(), *before = arena_use(arena);
        error_clear();
        if (!try_seed((uint64_t)seed)) {
            printf("seed %lld: %s\n", (long long)seed, broken);
            fflush(stdout);
            bad++;
        }
        arena_use(before);
        arena_drop(arena);
    }
    if (option.views)
        bad = views_agree(&option, device, other);
    device_close_all();
    printf("%lld programs from seed %lld, %d bad\n", (long long)option.count, (long long)option.seed, bad);
    return bad > 0;
}
