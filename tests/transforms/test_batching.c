/*
 * test_batching.c - vmap of an op is that op with one more axis: never a loop over lanes, never an
 * instruction for each lane.
 *
 * In:  the cases of laws_table.c, which know how to build each row of the op table. Out: each instruction of
 * the row is taken
 *      alone, its operands stacked in every combination, and the graph that vmap makes of it is read: one
 *      instruction of the row, else only moves, and no more of them for fifty lanes than for three; under a
 *      second vmap too. Collectives are built here.
 * No device is needed. What lanes compute is a law of laws.c; what kernels become of it is seen in
 * test_plans.c.
 */
#include <stdlib.h>
#include <string.h>

#include "laws.h"
#include "suite_run.h"

/* ==================== what laws_table.c builds with */

static Ref made[64];
static int nmade;

Ints dims_(int n, const int64_t *v) { return ints_of(v, n); }
bool may(Dtype dt) { return (void)dt, true; }
void out(Ref v) { made[nmade++] = v; }
Ref in(Dtype dt, Kind kind, int64_t limit, Ints shape)
{
    return (void)kind, (void)limit, graph_input(type_of(dt, shape.n, shape.v), 0);
}
Ref in_again(Ref v) { return graph_input(*typ(v), 0); }

static Graph *case_of(Op op, Dtype dt, int variant)
{
    graph_begin(graph_new());
    law_table[op].make(op, dt, variant);
    graph_outputs(made, nmade);
    Graph *g = graph_end();
    ck_assert_msg(!error_pending(), "%s: %s", optab[op].name, error_text());
    return g;
}

static Dtype dtype_for(uint32_t all)
{
    static const Dtype order[] = { DT_F32, DT_I32, DT_U32, DT_BOOL };
    for (int k = 0; k < 4; k++)
        if (all >> order[k] & 1)
            return order[k];
    return DT_NONE;
}

/* ==================== one instruction, and its lanes */

/* A graph of i alone; operands that are one value stay one input. */
static Graph *alone(const Graph *g, const Ins *i)
{
    Graph *h = graph_begin(graph_new());
    Ref *x = NEWS(Ref, i->nin + 1), *z = NEWS(Ref, i->nout + 1);
    for (int k = 0; k < i->nin; k++)
        for (int j = 0; j <= k && !x[k]; j++)
            x[k] = j == k            ? graph_input(g->type[i->in[k]], g->flag[i->in[k]] & V_ACC) :
                i->in[j] == i->in[k] ? x[j] :
                                       0;
    again(i, x, z);
    graph_outputs(z, i->nout);
    graph_end();
    return error_pending() ? NULL : h;
}

/* g over lanes, those operands stacked whose bit is set. */
static Graph *over(const Graph *g, unsigned stack, const char *axis, int64_t lanes)
{
    uint8_t *in = NEWS(uint8_t, g->nin + 1), *out = NEWS(uint8_t, g->nout + 1);
    for (int k = 0; k < g->nin; k++)
        in[k] = stack >> k & 1 ? STACKED : SHARED;
    for (int k = 0; k < g->nout; k++)
        out[k] = STACKED;
    const Lane lane = { lanes, axis, NULL };
    Graph *b = graph_batch(g, in, out, &lane, false, false);
    return error_pending() ? NULL : graph_dce(b);
}

/* Moves elements, or makes them from nothing. */
static bool moves(Op op)
{
    return op == OP_broadcast || op == OP_reshape || op == OP_transpose || op == OP_const || op == OP_iota;
}

/* ==================== the laws */

static int wrong, seen;

static void complain(Op op, const Graph *b, const char *what)
{
    Text t = { 0 };
    graph_print(b, &t);
    printf("%s: %s\n%s\n", optab[op].name, what, t.s);
    text_free(&t);
    wrong++;
}

/* Of this row `same` instructions, `others` that are no moves, and no region but where the row is one. */
static void judge(Op op, const Graph *b, int same, int others)
{
    int is = 0, rest = 0;
    for (int n = 0; n < b->nins; n++) {
        const Ins *i = b->ins[n];
        is += i->op == op;
        rest += i->op != op && !moves((Op)i->op);
        if (i->op == OP_region && i->op != op)
            complain(op, b, "a region over lanes");
    }
    if (is != same || rest > others)
        complain(op, b, arena_text("%d of its instructions and %d others", is, rest));
}

static void alike(Op op, const Graph *few, const Graph *many)
{
    ck_assert_msg(few && many, "%s: %s", optab[op].name, error_text());
    if (few->nins != many->nins)
        complain(op, many, arena_text("%d instructions for few lanes, %d for many", few->nins, many->nins));
}

/* The value of pad is a scalar: where each lane has its own, it is padded with zeros, and a second pad says
 * where. */
static bool value_a_lane(Op op, unsigned stack) { return op == OP_pad && stack & 2; }

static void each(Op op, const Graph *g, const Ins *i)
{
    Graph *h = alone(g, i);
    ck_assert_msg(h != NULL, "%s: %s", optab[op].name, error_text());
    for (int k = 0; k < h->nin; k++)
        if (h->type[h->in[k]].rank > MAXRANK - 2)
            return;
    for (unsigned stack = 1; stack < 1u << h->nin; stack++, seen++) {
        Graph *few = over(h, stack, NULL, 3), *many = over(h, stack, NULL, 50);
        alike(op, few, many);
        judge(op, many, value_a_lane(op, stack) ? 2 : 1, value_a_lane(op, stack));
        unsigned all = (1u << h->nin) - 1;
        Graph *twice = over(many, all, NULL, 7), *matrix = op == OP_region ? graph_matrix(many) : NULL;
        ck_assert_msg(twice && (matrix || op != OP_region), "%s: %s", optab[op].name, error_text());
        judge(op, twice, value_a_lane(op, all) ? 2 : 1, value_a_lane(op, all));
        if (matrix)
            alike(op, graph_matrix(few), matrix);
    }
}

/* A collective: over another axis it is what it was, over its own it is no loop. */
static Graph *meeting(Op op, int64_t lanes)
{
    const char *name = intern("i");
    const int64_t shape[] = { lanes, 3 };
    int32_t *from = NEWS(int32_t, lanes);
    for (int k = 0; k < lanes; k++)
        from[k] = (int32_t)((k + 1) % lanes);
    graph_begin(graph_new());
    Ref x = graph_input(type_of(DT_F32, 2, shape), 0);
    Ref y = op == OP_ppermute ? Permute(name, lanes, x, Data(type_of(DT_I32, 1, &lanes), from)) :
        op == OP_axis_index   ? Add(Convert(AxisIndex(name, lanes), DT_F32),
                                    Reshape(Slice(x, DIMS(0, 0), DIMS(1, 1), DIMS(1, 1)), NO_DIMS)) :
                                Collective(op, name, lanes, 0, 1, x);
    graph_outputs(&y, 1);
    Graph *g = graph_end();
    return error_pending() ? NULL : g;
}

/* An effect is an instruction like others until the program is whole. */
static Graph *effect(Op op)
{
    graph_begin(graph_new());
    Ref x = in(DT_F32, SMALL, 0, DIMS(3)), ok = in(DT_BOOL, ANY, 0, NO_DIMS);
    out(op == OP_check ? Check(ok, intern("message")) :
                         DebugPrint(intern("{} {}"), (const Ref[]){ x, ok }, 2));
    graph_outputs(made, nmade);
    return graph_end();
}

static void meet(Op op)
{
    const Graph *few = meeting(op, 3), *many = meeting(op, 50);
    ck_assert_msg(few && many, "%s: %s", optab[op].name, error_text());
    alike(op, over(few, 1, intern("i"), 3), over(many, 1, intern("i"), 50));
    judge(op, over(many, 1, intern("i"), 50), 0, 4);
    alike(op, over(few, 1, intern("j"), 7), over(few, 1, intern("j"), 70));
    judge(op, over(few, 1, intern("j"), 70), 1, 3);
    seen++;
}

START_TEST(row)
{
    Arena *a = arena_new();
    arena_use(a);
    Op op = (Op)(_i + 1);
    seen = wrong = 0;
    const Law *law = &law_table[op];
    Dtype dt = dtype_for(law->dtypes);
    bool nullary = op == OP_const || op == OP_data || op == OP_iota;
    ck_assert_msg(law->make && dt, "%s has no law", optab[op].name);
    for (int v = 0; v < law->variants && !nullary; v++) {
        nmade = 0;
        const Graph *g = op_effect(op) ? effect(op) : case_of(op, dt, v);
        for (int n = 0; n < g->nins; n++)
            if (g->ins[n]->op == op && g->ins[n]->nin)
                each(op, g, g->ins[n]);
    }
    if (op >= OP_axis_index && op <= OP_ppermute)
        meet(op);
    arena_use(NULL);
    arena_drop(a);
    fflush(stdout);
    ck_assert_msg(seen || nullary, "no case shows %s", optab[op].name);
    ck_assert_msg(!wrong, "%s: %d", optab[op].name, wrong);
}
END_TEST

/* The laws notice a loop over lanes, and instructions for each lane. */
START_TEST(itself)
{
    arena_use(arena_new());
    graph_begin(graph_new());
    Ref x = graph_input(type_of(DT_F32, 2, (const int64_t[]){ 3, 4 }), 0), row[3], z;
    for (int k = 0; k < 3; k++)
        row[k] = Sin(SliceAxis(x, 0, k, k + 1));
    z = Concat(row, 3, 0);
    graph_outputs(&z, 1);
    judge(OP_sin, graph_end(), 1, 0);
    ck_assert_int_eq(wrong, 1);
    graph_begin(graph_new());
    Ref e = Sin(graph_input(type_of(DT_F32, 1, (const int64_t[]){ 4 }), 0));
    graph_outputs(&e, 1);
    Graph *body = graph_end();
    graph_begin(graph_new());
    Region r = region_plain(SCAN, 0, 0, 0);
    r.length = 3;
    x = graph_input(type_of(DT_F32, 2, (const int64_t[]){ 3, 4 }), 0);
    emit_region(&r, 1, &x, 1, &body, &z);
    graph_outputs(&z, 1);
    judge(OP_sin, graph_end(), 1, 0);
    ck_assert_int_gt(wrong, 1);
    wrong = 0;
    Arena *a = arena_use(NULL);
    arena_drop(a);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("batching");
    TCase *t = tcase_create("rows");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, itself);
    tcase_add_loop_test(t, row, 0, OP_COUNT - 1);
    suite_add_tcase(s, t);
    return suite_run(s);
}
