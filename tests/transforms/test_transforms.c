/*
 * test_transforms.c - what graphs look like after transforms, and what they cost: the claims that values
 * alone do not show. That the values are right is fuzz.c's to say.
 */
#include <stdlib.h>

#include "graph.h"
#include "suite_run.h"
#include "values.h"

static Arena *arena;

static void setup(void)
{
    error_clear();
    arena_use(arena = arena_new());
    ck_assert(device_use("host"));
}

static void teardown(void)
{
    arena_use(NULL);
    arena_drop(arena);
    device_close_all();
}

/* ==================== building */

static Type real(int rank, int64_t a, int64_t b) { return type_of(DT_F64, rank, (const int64_t[]){ a, b }); }
static Ints axis(int k) { return (Ints){ 1, { k } }; }
static Ref total(Ref v) { return Sum(v, ints_of((const int64_t[]){ 0, 1, 2, 3 }, typ(v)->rank)); }
static Ref times(Ref v, double c) { return Mul(v, Like(v, c)); }
static Ref matvec(Ref m, Ref v) { return Dot(m, v, axis(1), axis(0), (Ints){ 0 }, (Ints){ 0 }, DT_NONE); }
static Ref real_input(int rank, int64_t a, int64_t b) { return graph_input(real(rank, a, b), 0); }
static Ref index_input(void) { return graph_input(type_scalar(DT_I32), 0); }

static Graph *end(Ref a, Ref b)
{
    const Ref out[] = { a, b };
    graph_outputs(out, b ? 2 : 1);
    return graph_end();
}

static Ref row(Ref table, Ref i)
{
    Ref zero = Reshape(Const(DT_I32, 0), axis(1)), at[] = { Reshape(i, axis(1)), zero };
    int64_t n = typ(table)->dim[1];
    Ints sizes = { 2, { 1, n } };
    return Reshape(DynamicSlice(table, Concat(at, 2, 0), sizes, (Ints){ 0 }), axis((int)n));
}

/* Gradients of a scalar function; with the value first, if asked for. */
static Graph *grad(const Graph *f, const bool *wrt, bool value)
{
    const Graph *v = graph_vjp(f, wrt);
    ck_assert_msg(v != NULL, "%s", error_text());
    graph_begin(graph_new());
    Ref *x = NEWS(Ref, v->nin), *z = NEWS(Ref, v->nout);
    for (int k = 0; k < f->nin; k++)
        x[k] = graph_input(f->type[f->in[k]], 0);
    x[f->nin] = Const(DT_F64, 1);
    graph_inline(v, x, z);
    graph_outputs(value ? z : z + 1, value ? v->nout : v->nout - 1);
    return graph_dce(graph_end());
}

/* Sum over n lanes of a scalar function. */
static Graph *sum_over_lanes(const Graph *f, const uint8_t *states, int64_t n)
{
    const uint8_t stack = STACKED;
    const Lane lane = { n, NULL, NULL };
    const Graph *b = graph_batch(f, states, &stack, &lane, false, false);
    ck_assert_msg(b != NULL, "%s", error_text());
    graph_begin(graph_new());
    Ref *x = NEWS(Ref, b->nin), z;
    for (int k = 0; k < b->nin; k++)
        x[k] = graph_input(b->type[b->in[k]], 0);
    graph_inline(b, x, &z);
    return end(total(z), 0);
}

/* ==================== looking */

static int count_op(const Graph *g, Op op)
{
    int n = 0;
    for (int k = 0; k < g->nins; k++) {
        const Ins *i = g->ins[k];
        n += i->op == op;
        for (int b = 0; b < i->nsub; b++)
            n += count_op(i->sub[b], op);
    }
    return n;
}

static bool has_type(const Graph *g, Type t, bool inside)
{
    for (int v = 1; v < g->nval; v++)
        if (type_equal(&g->type[v], &t))
            return true;
    for (int k = 0; inside && k < g->nins; k++)
        for (int b = 0; b < g->ins[k]->nsub; b++)
            if (has_type(g->ins[k]->sub[b], t, true))
                return true;
    return false;
}

static const Ins *nth_region(const Graph *g, int n)
{
    for (int k = 0; k < g->nins; k++)
        if (g->ins[k]->op == OP_region && !n--)
            return g->ins[k];
    return NULL;
}

/* Elements computed, every branch counted; adding in place counts what is added. */
static int64_t cost(const Graph *g)
{
    int64_t n = 0;
    for (int k = 0; k < g->nins; k++) {
        const Ins *i = g->ins[k];
        bool in_place = i->op == OP_accum || i->op == OP_accum_slice || i->op == OP_dynamic_update;
        if (i->op == OP_region) {
            int64_t turns = i->region->kind == SCAN ? i->region->length : 1, inside = 0;
            for (int b = 0; b < i->nsub; b++)
                inside += cost(i->sub[b]);
            for (int a = 0; a < i->region->nlane; a++)
                turns *= i->region->lane[a].size;
            n += turns * inside;
        } else if (in_place) {
            n += type_size(&g->type[i->in[1]]);
        } else {
            for (int r = 0; r < i->nout && i->op != OP_broadcast; r++)
                n += type_size(&g->type[i->out + (Ref)r]);
        }
    }
    return n;
}

/* ==================== programs */

enum { STEPS = 7, H = 5 };

/* (w, h, xs) -> sum(h) + sum of |h|^2 over steps h = tanh(w h + x). */
static Graph *rnn(void)
{
    graph_begin(graph_new());
    Ref w = real_input(2, H, H), h = real_input(1, H, 0), x = real_input(1, H, 0);
    Ref next = Tanh(Add(matvec(w, h), x));
    Graph *cell = end(next, total(Mul(next, next)));
    graph_begin(graph_new());
    Ref in[] = { real_input(2, H, H), real_input(1, H, 0), real_input(2, STEPS, H) }, z[2];
    Region r = region_plain(SCAN, 1, 0, 1);
    r.length = STEPS;
    emit_region(&r, 3, in, 1, &cell, z);
    return end(Add(total(z[0]), total(z[1])), 0);
}

/* (table, idx) -> a walk that reads a row a step; in one branch of a cond, if asked for. */
static Graph *walk(int64_t rows, bool in_branch)
{
    Graph *sub[2];
    for (int k = 0; k < 2; k++) {
        graph_begin(graph_new());
        Ref t = real_input(2, rows, 3), i = index_input(), c = real_input(1, 3, 0);
        sub[k] = end(k ? Mul(c, row(t, i)) : Add(c, Like(c, 1)), 0);
    }
    graph_begin(graph_new());
    Ref t = real_input(2, rows, 3), c = real_input(1, 3, 0), i = index_input(), next;
    if (in_branch) {
        Region r = region_plain(COND, 3, 0, 0);
        Ref taken = Convert(Gt(i, Const(DT_I32, 2)), DT_I32);
        emit_region(&r, 4, (const Ref[]){ taken, t, i, c }, 2, sub, &next);
    } else {
        next = Tanh(Add(times(c, 0.5), row(t, i)));
    }
    Graph *step = end(next, total(next));
    graph_begin(graph_new());
    Ref in[] = { real_input(2, rows, 3), 0, graph_input(type_of(DT_I32, 1, (const int64_t[]){ STEPS }), 0) },
        z[2];
    in[1] = Full(real(1, 3, 0), 1);
    Region r = region_plain(SCAN, 1, 0, 1);
    r.length = STEPS;
    emit_region(&r, 3, in, 1, &step, z);
    return end(total(Mul(z[1], z[1])), 0);
}

/* (w, x) -> sum(sin(sin(w x))), computed again in reverse mode if asked for. */
static Graph *sines(bool again)
{
    graph_begin(graph_new());
    Ref w = real_input(2, 3, 3), x = real_input(1, 3, 0);
    Graph *f = end(Sin(Sin(matvec(w, x))), 0);
    graph_begin(graph_new());
    Ref in[] = { real_input(2, 3, 3), real_input(1, 3, 0) }, z;
    Region r = region_plain(CALL, 2, 0, 0);
    r.remat = again;
    emit_region(&r, 2, in, 1, &f, &z);
    return end(total(z), 0);
}

static const bool first_of[] = { true, false, false }, both[] = { true, true, true };
static const uint8_t rnn_lanes[] = { SHARED, STACKED, STACKED };

/* ==================== claims */

START_TEST(residuals_of_a_loop)
{
    Graph *g = grad(rnn(), both, false);
    Type weights = type_of(DT_F64, 3, (const int64_t[]){ STEPS, H, H });
    ck_assert_msg(!has_type(g, weights, true), "the captured weight is stacked");
    ck_assert_int_eq(nth_region(g, 0)->nout, 1 + 2);        /* the carry, and two vectors a step */
}
END_TEST

START_TEST(lanes_of_a_loop)
{
    Graph *g = grad(sum_over_lanes(rnn(), rnn_lanes, 4), both, false), *m = graph_matrix(g);
    Type weights = type_of(DT_F64, 3, (const int64_t[]){ 4, H, H });
    ck_assert_msg(!has_type(m, weights, true), "there is a weight gradient a lane");
    for (int n = 0; nth_region(g, n); n++) {
        const Ins *i = nth_region(g, n);
        ck_assert_int_eq(i->region->nlane, 1);
        for (int k = 0; k < i->sub[0]->nin; k++)
            ck_assert_msg(i->sub[0]->type[i->sub[0]->in[k]].dim[0] != 4, "vmap changed a body");
    }
    ck_assert(!graph_has_lanes(m));
}
END_TEST

START_TEST(tables_cost_a_row_a_step)
{
    for (int branch = 0; branch < 2; branch++) {
        int64_t lanes[2], plain[2];
        for (int big = 0; big < 2; big++) {
            int64_t rows = big ? 10000 : 100;
            Graph *f = walk(rows, branch);
            const uint8_t states[] = { SHARED, STACKED };
            Graph *m = graph_matrix(grad(sum_over_lanes(f, states, 4), first_of, false));
            ck_assert_msg(m != NULL, "%s", error_text());
            plain[big] = cost(grad(f, first_of, false));
            lanes[big] = cost(m);
            ck_assert(!has_type(m, type_of(DT_F64, 3, (const int64_t[]){ 4, rows, 3 }), true));
        }
        ck_assert_int_eq(plain[0], plain[1]);
        ck_assert_int_eq(lanes[0], lanes[1]);
    }
}
END_TEST

START_TEST(checkpoints)
{
    Graph *g = grad(sines(true), both, false);
    ck_assert_int_eq(count_op(g, OP_sin), 1);               /* the forward part is dead */
    ck_assert_int_eq(count_op(g, OP_barrier), 1);
    ck_assert_int_eq(count_op(grad(sines(true), both, true), OP_sin), 3);
    ck_assert_int_eq(count_op(grad(sines(false), both, true), OP_sin), 2);
}
END_TEST

START_TEST(short_gradient)
{
    graph_begin(graph_new());
    Ref x = real_input(1, 4, 0);
    Graph *f = end(total(Mul(Sin(x), x)), 0);
    ck_assert_int_eq(grad(f, both, false)->nins, 4);
}
END_TEST

START_TEST(placement_stays)
{
    Graph *body = rnn();
    graph_begin(graph_new());
    Type steps = type_of(DT_F64, 3, (const int64_t[]){ 2, STEPS, H });
    Ref in[] = { real_input(2, H, H), real_input(2, 2, H), graph_input(steps, 0) }, z;
    Region r = region_plain(CALL, 3, 0, 0);
    Lane lane = { 2, intern("d"), intern("devices") };
    r.lane = &lane, r.nlane = 1;
    r.im = (uint8_t[]){ SHARED, STACKED, STACKED }, r.om = (uint8_t[]){ STACKED };
    emit_region(&r, 3, in, 1, &body, &z);
    Graph *g = grad(end(total(z), 0), first_of, false);
    int n = 0;
    for (const Ins *i; (i = nth_region(g, n)); n++)
        ck_assert_str_eq(i->region->lane[0].place, "devices");
    ck_assert_int_eq(n, 2);
    ck_assert_int_eq(nth_region(g, 1)->region->om[0], SUMMED);
}
END_TEST

/* x * 0.5 until it is below 1. */
static Graph *halving(void)
{
    Graph *sub[2];
    for (int k = 0; k < 2; k++) {
        graph_begin(graph_new());
        Ref x = real_input(0, 0, 0);
        sub[k] = end(k ? times(x, 0.5) : Gt(x, Like(x, 1)), 0);
    }
    graph_begin(graph_new());
    Ref x = real_input(0, 0, 0), z;
    Loc before = loc_set((Loc){ "loop.c", 42 });
    Region r = region_plain(WHILE, 0, 0, 1);
    emit_region(&r, 1, &x, 2, sub, &z);
    loc_set(before);
    return end(z, 0);
}

START_TEST(reverse_mode_through_while)
{
    ck_assert(!graph_vjp(halving(), both));
    ck_assert_int_eq(error_code(), E_DIFF);
    ck_assert_msg(
        strstr(error_text(), "loop.c:42") && strstr(error_text(), "use scan or fori"), "%s", error_text());
    error_clear();
    ck_assert(graph_jvp(halving(), both) != NULL);
}
END_TEST

START_TEST(a_while_nobody_asks_for)
{
    graph_begin(graph_new());
    Ref x = real_input(0, 0, 0), z;
    graph_inline(halving(), &x, &z);
    Graph *f = end(Mul(x, x), z);
    const Graph *v = graph_vjp(f, both);
    ck_assert(!v && error_code() == E_DIFF);                /* its cotangent is an input */
    error_clear();
    graph_begin(graph_new());
    x = real_input(0, 0, 0);
    graph_inline(halving(), &x, &z);
    f = end(Mul(x, Convert(Convert(z, DT_I32), DT_F64)), 0);
    ck_assert_msg(graph_vjp(f, both) != NULL, "%s", error_text());
}
END_TEST

/* (n, step): n times, counts to five by `step`: endless for a step of 0, which a lane that is done may
 * have. */
static Graph *nested_counts(void)
{
    Graph *inner[2], *outer[2];
    for (int k = 0; k < 2; k++) {
        graph_begin(graph_new());
        Ref s = index_input(), j = index_input();
        inner[k] = end(k ? Add(j, s) : Lt(j, Const(DT_I32, 5)), 0);
    }
    for (int k = 0; k < 2; k++) {
        graph_begin(graph_new());
        Ref s = index_input(), n = index_input(), t = index_input(), j;
        Region r = region_plain(WHILE, 1, 0, 1);
        if (k)
            emit_region(&r, 2, (const Ref[]){ s, Const(DT_I32, 0) }, 2, inner, &j);
        outer[k] = k ? end(Sub(n, Const(DT_I32, 1)), Add(t, j)) : end(Gt(n, Const(DT_I32, 0)), 0);
    }
    graph_begin(graph_new());
    Ref n = index_input(), s = index_input(), z[2];
    Region r = region_plain(WHILE, 1, 0, 2);
    emit_region(&r, 3, (const Ref[]){ s, n, Const(DT_I32, 0) }, 2, outer, z);
    return end(z[1], 0);
}

START_TEST(an_idle_lane_keeps_no_loop_alive)
{
    const uint8_t stack[] = { STACKED, STACKED };
    const Lane lane = { 3, NULL, NULL };
    Type t = type_of(DT_I32, 1, (const int64_t[]){ 3 });
    Values in[] = { { t, (double[]){ 3, 1, 0 } }, { t, (double[]){ 1, 2, 0 } } }, out;
    Graph *g = graph_batch(nested_counts(), stack, stack, &lane, false, false);
    const Graph *form[] = { g, graph_matrix(g) };
    for (int k = 0; k < 2; k++) {
        ck_assert_msg(!graph_check(form[k]) && !evaluate(form[k], in, &out), "%s", error_text());
        ck_assert(out.v[0] == 15 && out.v[1] == 6 && out.v[2] == 0);
    }
}
END_TEST

/* The loop's condition is shared by all lanes, and nobody takes the branch it is in. */
START_TEST(a_branch_that_nobody_takes)
{
    Graph *loop[2], *sub[2];
    for (int k = 0; k < 2; k++) {
        graph_begin(graph_new());
        Ref s = index_input(), j = index_input();
        loop[k] = end(k ? Add(j, s) : Lt(j, Const(DT_I32, 5)), 0);
    }
    for (int k = 0; k < 2; k++) {
        graph_begin(graph_new());
        Ref x = real_input(0, 0, 0), s = index_input(), j;
        Region r = region_plain(WHILE, 1, 0, 1);
        if (k)
            emit_region(&r, 2, (const Ref[]){ s, Const(DT_I32, 0) }, 2, loop, &j);
        sub[k] = end(k ? Mul(x, Convert(j, DT_F64)) : Neg(x), 0);
    }
    graph_begin(graph_new());
    Ref x = real_input(0, 0, 0), s = index_input(), z;
    Region r = region_plain(COND, 2, 0, 0);
    emit_region(&r, 3, (const Ref[]){ Convert(Gt(x, Like(x, 0)), DT_I32), x, s }, 2, sub, &z);
    Graph *f = end(z, 0);
    const uint8_t states[] = { STACKED, SHARED }, out_state = STACKED;
    const Lane lane = { 2, NULL, NULL };
    Graph *m = graph_matrix(graph_batch(f, states, &out_state, &lane, false, false));
    Values in[] = { { real(1, 2, 0), (double[]){ -1, -2 } }, { type_scalar(DT_I32), (double[]){ 0 } } }, out;
    ck_assert_msg(m && !evaluate(m, in, &out), "%s", error_text());
    ck_assert(out.v[0] == 1 && out.v[1] == 2);
}
END_TEST

/* Captured twice, a value's cotangent so far is threaded once. */
START_TEST(captured_twice)
{
    graph_begin(graph_new());
    Ref a = real_input(0, 0, 0), b = real_input(0, 0, 0), c = real_input(0, 0, 0);
    Graph *step = end(Mul(c, Add(a, times(b, 2))), 0);
    graph_begin(graph_new());
    Ref x = real_input(0, 0, 0), z;
    Region r = region_plain(SCAN, 2, 0, 1);
    r.length = 2;
    emit_region(&r, 3, (const Ref[]){ x, x, x }, 1, &step, &z);
    Graph *g = grad(end(Add(z, times(x, 10)), 0), both, false);         /* 9 x^3 + 10 x */
    Values in = { type_scalar(DT_F64), (double[]){ 2 } }, out;
    ck_assert_msg(!graph_check(g) && !evaluate(g, &in, &out), "%s", error_text());
    ck_assert(out.v[0] == 27 * 4 + 10);
}
END_TEST

/* (t, x, s): under x[0] > 0, and there under s, if nested: a product with t; then with_square: plus |t|^2,
 * so that t has a cotangent before the conditions are reached. In idle lanes both factors of t's gradient
 * are nan. */
static Graph *guarded_product(bool nested, bool with_square)
{
    Graph *inner[2], *outer[2];
    for (int k = 0; k < 2; k++) {
        graph_begin(graph_new());
        Ref t = real_input(2, 2, 2), x = real_input(1, 2, 0);
        inner[k] = end(k ? Mul(matvec(t, x), x) : matvec(t, x), 0);
    }
    for (int k = 0; k < 2; k++) {
        graph_begin(graph_new());
        Ref t = real_input(2, 2, 2), x = real_input(1, 2, 0), s = index_input(), z = x;
        Region r = region_plain(COND, 2, 0, 0);
        if (k && nested)
            emit_region(&r, 3, (const Ref[]){ s, t, x }, 2, inner, &z);
        else if (k)
            graph_inline(inner[1], (const Ref[]){ t, x }, &z);
        outer[k] = end(z, 0);
    }
    graph_begin(graph_new());
    Ref t = real_input(2, 2, 2), x = real_input(1, 2, 0), s = index_input(), z;
    Region r = region_plain(COND, 3, 0, 0);
    Ref positive = Convert(Gt(Reshape(SliceAxis(x, 0, 0, 1), (Ints){ 0 }), Const(DT_F64, 0)), DT_I32);
    emit_region(&r, 4, (const Ref[]){ positive, t, x, s }, 2, outer, &z);
    return end(with_square ? Add(total(z), total(Mul(t, t))) : total(z), 0);
}

START_TEST(idle_lanes_add_nothing)
{
    const uint8_t states[] = { SHARED, STACKED, STACKED };
    for (int kind = 0; kind < 4; kind++) {
        bool nested = kind & 1, square = kind & 2;
        Graph *g = grad(sum_over_lanes(guarded_product(nested, square), states, 4), first_of, false);
        double t[] = { 1, 2, 3, 4 }, xs[] = { 1, 2, NAN, NAN, 5, 6, NAN, NAN };
        Values in[] = { { real(2, 2, 2), t }, { real(2, 4, 2), xs },
            { type_of(DT_I32, 1, (const int64_t[]){ 4 }), (double[]){ 1, 1, 0, 0 } } },
               lanes, matrix;
        ck_assert_msg(
            !evaluate(g, in, &lanes) && !evaluate(graph_matrix(g), in, &matrix), "%s", error_text());
        for (int k = 0; k < 4; k++) {
            int a = k / 2, b = k % 2;
            double want = xs[a] * xs[b] + (nested ? 1 : xs[4 + a]) * xs[4 + b];
            want += square ? 4 * 2 * t[k] : 0;
            ck_assert_msg(fabs(lanes.v[k] - want) < 1e-9, "kind %d: %g, not %g", kind, lanes.v[k], want);
            ck_assert_msg(fabs(matrix.v[k] - want) < 1e-9, "kind %d, matrix form: %g, not %g", kind,
                matrix.v[k], want);
        }
    }
}
END_TEST

/* An accumulator inside a loop whose lanes all start from it, and of which lane 0 counts: no other axis may
 * touch it. */
START_TEST(accumulator_of_lane_zero)
{
    Graph *sub[2];
    for (int k = 0; k < 2; k++) {
        graph_begin(graph_new());
        Ref a = real_input(0, 0, 0), b = real_input(0, 0, 0);
        sub[k] = end(k ? Mul(a, b) : Mul(a, Sin(b)), 0);
    }
    Type indices = type_of(DT_I32, 1, (const int64_t[]){ 3 });
    graph_begin(graph_new());
    Ref i = graph_input(indices, 0), a = real_input(1, 2, 0), c = real_input(0, 0, 0), z;
    Region r = region_plain(COND, 2, 0, 0);
    r.lane = (Lane[]){ { 2, NULL, NULL }, { 3, NULL, NULL } }, r.nlane = 2;
    r.im = (uint8_t[]){ SHARED, STACKED, STACKED, SUMMED, SHARED, SHARED },
    r.om = (uint8_t[]){ STACKED, STACKED };
    emit_region(&r, 3, (const Ref[]){ i, a, c }, 2, sub, &z);
    Graph *step = end(Mul(c, total(z)), 0);
    graph_begin(graph_new());
    Ref in[] = { graph_input(indices, 0), real_input(1, 2, 0), real_input(0, 0, 0) };
    Region loop = region_plain(SCAN, 2, 0, 1);
    loop.length = 2;
    emit_region(&loop, 3, in, 1, &step, &z);
    Graph *g = grad(end(z, 0), (const bool[]){ false, true, true }, false);
    Values v[] = { { indices, (double[]){ 0, 1, 1 } }, { real(1, 2, 0), (double[]){ 1, 2 } },
                   { type_scalar(DT_F64), (double[]){ 0.5 } } }, lanes[2], matrix[2];
    ck_assert_msg(!graph_check(g) && !evaluate(g, v, lanes), "%s", error_text());
    Graph *m = graph_matrix(g);
    ck_assert_msg(m && !graph_check(m) && !evaluate(m, v, matrix), "%s", error_text());
    ck_assert(all_same(matrix, lanes, 2, 1e-12));
}
END_TEST

/* What all lanes add to, from one start: rows; the start serves every lane. */
START_TEST(cotangent_of_a_shared_start)
{
    graph_begin(graph_new());
    Ref x = real_input(1, 2, 0), acc = graph_input(real(1, 2, 0), V_ACC);
    Graph *body = end(Accum(acc, Mul(x, x)), 0);
    graph_begin(graph_new());
    Ref in[] = { real_input(2, 3, 2), real_input(1, 2, 0) }, z;
    Region r = region_plain(CALL, 1, 1, 0);
    Lane lane = { 3, NULL, NULL };
    r.lane = &lane, r.nlane = 1;
    r.im = (uint8_t[]){ STACKED, SHARED }, r.om = (uint8_t[]){ STACKED };
    emit_region(&r, 2, in, 1, &body, &z);
    Graph *g = grad(end(total(z), 0), both, false);
    Values v[] = { { real(2, 3, 2), (double[]){ 1, 2, 3, 4, 5, 6 } },
        { real(1, 2, 0), (double[]){ 7, 8 } } },
           out[2];
    ck_assert_msg(!graph_check(g) && !evaluate(g, v, out), "%s", error_text());
    for (int k = 0; k < 6; k++)
        ck_assert(out[0].v[k] == 2 * (k + 1));
    ck_assert(out[1].v[0] == 3 && out[1].v[1] == 3);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("transforms");
    TCase *t = tcase_create("claims");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, residuals_of_a_loop);
    tcase_add_test(t, lanes_of_a_loop);
    tcase_add_test(t, tables_cost_a_row_a_step);
    tcase_add_test(t, checkpoints);
    tcase_add_test(t, short_gradient);
    tcase_add_test(t, placement_stays);
    tcase_add_test(t, reverse_mode_through_while);
    tcase_add_test(t, a_while_nobody_asks_for);
    tcase_add_test(t, an_idle_lane_keeps_no_loop_alive);
    tcase_add_test(t, a_branch_that_nobody_takes);
    tcase_add_test(t, captured_twice);
    tcase_add_test(t, cotangent_of_a_shared_start);
    tcase_add_test(t, idle_lanes_add_nothing);
    tcase_add_test(t, accumulator_of_lane_zero);
    suite_add_tcase(s, t);
    return suite_run(s);
}
