/*
 * table_regions.c - cases of the rows of regions and of what is seen from inside them: accumulators, loops,
 * branches and calls, named axes, effects.
 */
#include "table.h"

void make_accum(Op op, Dtype dt, int variant)
{
    (void)op;
    Ints s = variant ? NO_DIMS : DIMS(4, 3);
    out(Accum(in(dt, SMALL, 0, s), in(dt, SMALL, 1, s)));
}

void make_accum_slice(Op op, Dtype dt, int variant)
{
    (void)op;
    Ref m = in(dt, SMALL, 0, DIMS(6, 5)), u = in(dt, SMALL, 0, DIMS(2, 3)),
        at = in(DT_I32, INDEX, 5, DIMS(2));
    out(AccumSlice(m, u, at, NO_DIMS));
    if (variant)
        return;
    Ref rows = in(DT_I32, INDEX, 6, DIMS(4, 2));
    out(AccumSlice(m, in(dt, SMALL, 0, DIMS(4, 1, 2)), rows, DIMS(0)));
    out(AccumSlice(in(dt, SMALL, 0, DIMS(4, 6, 5)), in(dt, SMALL, 0, DIMS(4, 1, 2)), rows, DIMS(1)));
}

void make_barrier(Op op, Dtype dt, int variant)
{
    (void)op, (void)variant;
    Ref z[2];
    Barrier((const Ref[]){ in(dt, ANY, 0, DIMS(4, 3)), in(DT_I32, ANY, 0, DIMS(2)) }, 2, z);
    out(z[0]);
    out(z[1]);
}

/* What goes round in a region, and what is seen from inside: three numbers, or an array of the shape that is
 * asked for. */
static Ints carried = { 1, { 3 } };

static Type vec(Dtype dt) { return type_of(dt, carried.n, carried.v); }
static Ref splat(Ref s) { return Broadcast(s, carried, NO_DIMS); }
static Ints lead(int64_t n) { return ints_concat(DIMS(n), carried); }
static Ints every_axis(void) { return ints_range(0, carried.n); }

static Graph *body1(Ref z)
{
    graph_outputs(&z, 1);
    return graph_end();
}

/* Keys, some of a and some of b. */
static Ref mixed(Ref a, Ref b)
{
    Type t = vec(DT_BOOL);
    char *some = arena_alloc(type_bytes(&t) + 16);
    for (int64_t k = 0; k < type_size(&t); k++)
        some[k] = k % 2 == 0;
    return Select(Data(t, some), a, b);
}

/* (capture, carry, x) -> carry * x + capture, and the carry that was */
static Graph *step(Dtype dt)
{
    graph_begin(graph_new());
    Ref w = graph_input(vec(dt), 0), c = graph_input(vec(dt), 0), x = graph_input(type_scalar(dt), 0);
    if (dt == DT_KEY)
        graph_outputs((const Ref[]){ mixed(splat(x), Reverse(c, every_axis())), mixed(c, w) }, 2);
    else
        graph_outputs((const Ref[]){ Add(Mul(c, splat(x)), w), Sub(c, w) }, 2);
    return graph_end();
}

static void make_scan(Dtype dt, int64_t length, bool reverse)
{
    Graph *body = step(dt);
    Region r = region_plain(SCAN, 1, 0, 1);
    r.length = length, r.reverse = reverse;
    Ref z[2], x[] = { in(dt, SMALL, 0, carried), in(dt, SMALL, 1, carried), in(dt, SMALL, 2, DIMS(length)) };
    emit_region(&r, 3, x, 1, &body, z);
    out(z[0]), out(z[1]);
}

/* Three branches by an index of any value: the index is clamped. */
static void make_cond(Dtype dt)
{
    Graph *sub[3];
    for (int k = 0; k < 3; k++) {
        graph_begin(graph_new());
        Ref a = graph_input(vec(dt), 0), b = graph_input(vec(dt), 0);
        if (dt == DT_KEY)
            sub[k] = body1(k == 0 ? mixed(a, b) : k == 1 ? mixed(b, a) : Reverse(b, every_axis()));
        else
            sub[k] = body1(k == 0 ? Add(a, b) : k == 1 ? Mul(a, b) : Sub(b, a));
    }
    for (int k = 0; k < 2; k++) {
        Region r = region_plain(COND, 2, 0, 0);
        Ref z, x[] = { in(DT_I32, INDEX, k, NO_DIMS), in(dt, SMALL, 0, carried), in(dt, SMALL, 1, carried) };
        emit_region(&r, 3, x, 3, sub, &z);
        out(z);
    }
}

/* Doubles until something is large or seven trips are done. */
static void make_while(Dtype dt)
{
    Graph *sub[2];
    for (int k = 0; k < 2; k++) {
        graph_begin(graph_new());
        Ref w = graph_input(vec(dt), 0), c = graph_input(vec(dt), 0),
            n = graph_input(type_scalar(DT_I32), 0);
        Ref small = Reduce(OP_reduce_and, Lt(c, Like(c, 20)), every_axis());
        if (k == 0)
            sub[k] = body1(And(small, Lt(n, Const(DT_I32, 7))));
        else {
            graph_outputs((const Ref[]){ Add(Add(c, c), w), Add(n, Const(DT_I32, 1)) }, 2);
            sub[k] = graph_end();
        }
    }
    Region r = region_plain(WHILE, 1, 0, 2);
    Ref z[2], x[] = { in(dt, SMALL, 0, carried), in(dt, SMALL, 1, carried), Const(DT_I32, 0) };
    emit_region(&r, 3, x, 2, sub, z);
    out(z[0]), out(z[1]);
}

void make_named(Op op, Dtype dt, int variant)
{
    (void)op, (void)variant;
    out(NameValue(in(dt, ANY, 0, DIMS(4, 3)), intern("a")));
}

void make_constrain(Op op, Dtype dt, int variant)
{
    (void)op, (void)variant;
    out(Constrain(in(dt, ANY, 0, DIMS(4, 3)), 0, intern("data")));
}

/* Four lanes that meet, and what becomes of them under vmap: an operand a lane, or one of all. */
void make_meet(Op op, Dtype dt, int variant)
{
    const char *name = intern("i");
    const int32_t from[4] = { 2, -1, 3, 0 };
    int64_t four = 4;
    graph_begin(graph_new());
    Ints s = lead(4);
    Ref x = graph_input(type_of(dt, s.n, s.v), 0),
        y = op == OP_axis_index ? AxisIndex(name, 4) :
        op == OP_ppermute       ? Permute(name, 4, x, Data(type_of(DT_I32, 1, &four), from)) :
                                  Collective(op, name, 4, 0, carried.n > 0, x);
    graph_outputs((const Ref[]){ y, x }, 2);
    Graph *one = graph_end();
    Lane lane = { 4, name, NULL };
    uint8_t in_state = variant ? SHARED : STACKED, out_state[] = { STACKED, STACKED };
    Ref z[2], v = in(dt, SMALL, 0, variant ? s : ints_concat(DIMS(4), s));
    graph_inline(graph_batch(one, &in_state, out_state, &lane, false, false), &v, z);
    out(z[0]), out(z[1]);
}

/* Doubled on the host, once a lane or at once. */
static int twice_on_host(void (*f)(void), void *user, int nin, const Type *t, const void *const *in,
    int nout, const Type *u, void *const *y)
{
    (void)f, (void)user, (void)nin, (void)nout, (void)u;
    for (int64_t k = 0; k < type_size(t); k++) {
        size_t at = (size_t)k * dtype_size((Dtype)t->dt);
        if (dtype_float((Dtype)t->dt))
            dtype_store_f(
                (Dtype)t->dt, (char *)y[0] + at, 2 * dtype_load_f((Dtype)t->dt, (const char *)in[0] + at));
        else
            dtype_store_i(
                (Dtype)t->dt, (char *)y[0] + at, 2 * dtype_load_i((Dtype)t->dt, (const char *)in[0] + at));
    }
    return 0;
}

void make_callback(Op op, Dtype dt, int variant)
{
    (void)op;
    Ref x = in(dt, SMALL, 0, lead(4)), z;
    Callback(&(HostFn){ twice_on_host, NULL, NULL, NULL, variant }, 1, &x, 1, typ(x), &z);
    out(z);
}

/* Effects as results: a scan over lanes, each with a check and a print. */
void make_effect(Op op, Dtype dt, int variant)
{
    Lane lane = { 4, intern("i"), NULL };
    Ints row = lead(3);
    Effects all;
    Region r = region_plain(SCAN, 0, 0, 1);
    r.length = 3;
    graph_begin(graph_new());
    Ref c = graph_input(vec(dt), 0), x = graph_input(vec(dt), 0), y = Add(c, x);
    if (op == OP_check)
        Check(Reduce(OP_reduce_and, Gt(y, Like(y, 1)), every_axis()), intern("message"));
    else
        DebugPrint(intern("{}"), &y, 1);
    graph_outputs((const Ref[]){ y, x }, 2);
    Graph *body = graph_end();
    graph_begin(graph_new());
    Ref in_scan[] = { graph_input(vec(dt), 0), graph_input(type_of(dt, row.n, row.v), 0) }, z[2];
    emit_region(&r, 2, in_scan, 1, &body, z);
    graph_outputs(z, 2);
    Graph *one = graph_end();
    uint8_t in_state[] = { STACKED, variant ? SHARED : STACKED }, out_state[] = { STACKED, STACKED };
    Ref v[] = { in(dt, SMALL, 0, lead(4)),
        in(dt, SMALL, 0, variant ? row : ints_concat(DIMS(4), row)) };
    Graph *g = graph_lift_effects(graph_batch(one, in_state, out_state, &lane, false, false), &all);
    Ref *results = NEWS(Ref, g->nout);
    graph_inline(g, v, results);
    for (int k = 0; k < g->nout; k++)
        out(results[k]);
}

/* A call over two lane axes: an operand of all, one a lane; results a lane, and summed into an
 * accumulator. */
static void make_lanes(Dtype dt)
{
    graph_begin(graph_new());
    Ref w = graph_input(vec(dt), 0), v = graph_input(vec(dt), 0), acc = graph_input(vec(dt), V_ACC);
    graph_outputs((const Ref[]){ Accum(acc, Mul(w, v)), Add(v, w) }, 2);
    Graph *body = graph_end();
    Lane lane[] = { { 2, NULL, NULL }, { 4, NULL, NULL } };
    uint8_t im[] = { SHARED, SHARED, STACKED, STACKED, SUMMED, SUMMED },
            om[] = { SUMMED, SUMMED, STACKED, STACKED };
    Region r = region_plain(CALL, 2, 1, 0);
    r.nlane = 2, r.lane = lane, r.im = im, r.om = om;
    r.lane = arena_copy(lane, sizeof lane), r.im = arena_copy(im, sizeof im),
    r.om = arena_copy(om, sizeof om);
    Ref z[2],
        x[] = { in(dt, SMALL, 0, carried), in(dt, SMALL, 1, ints_concat(DIMS(2), lead(4))),
            in(dt, SMALL, 2, carried) };
    emit_region(&r, 3, x, 1, &body, z);
    out(z[0]), out(z[1]);
}

void make_region(Op op, Dtype dt, int variant)
{
    (void)op;
    switch (dt == DT_KEY && variant > 3 ? 3 : variant) {        /* sums and counts have none */
    case 0: make_scan(dt, 5, false); break;
    case 1: make_scan(dt, 4, true); break;
    case 2: make_scan(dt, 0, false); break;
    case 3: make_cond(dt); break;
    case 4: make_lanes(dt); break;
    default: make_while(dt);
    }
}

/* The rows of this file around an array of a shape; loops, which have no reverse mode, are cases apart. */
void seen_from_inside(Op op, Dtype dt, Ints s, bool loop)
{
    const Ints before = carried;
    carried = s;
    if (op == OP_region && loop) {
        if (dt != DT_KEY)
            make_while(dt);
    } else if (op == OP_region) {
        make_scan(dt, 3, false);
        make_cond(dt);
        if (dt != DT_KEY)
            make_lanes(dt);
    } else if (law_table[op].make == make_effect || law_table[op].make == make_callback ||
        law_table[op].make == make_meet)
        for (int variant = 0; variant < 2; variant++)
            law_table[op].make(op, dt, variant);
    carried = before;
}
