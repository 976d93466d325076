/*
 * test_alike.c - what the scheduler says of a state's vectors holds for every row of the op table: where it
 * says that elements are made alike, the lowering finds the vector that they are.
 *
 * In:  a scan whose step applies a row to a product, with operands of every kind: the state, a capture, an
 * array of the step, a number; large captures. Out: its plan, and no error. Nothing is run, and no device is
 * needed.
 */
#include <stdlib.h>

#include "compile.h"
#include "graph.h"
#include "suite_run.h"

enum { N = 8, KINDS = 4 };                      /* operands behind the first */
static const char *const operand[KINDS] = { "x1", "x2", "x3", "v3" };
static const char *const numbers[] = { "2.5", "1", "0", "-2" };
enum { NUMBERS = sizeof numbers / sizeof *numbers };

/* row: of floats. first: the product is its first operand; else its last. */
static const char *program(int op, int kind, const char *number, bool first)
{
    const OpRow *row = &optab[op];
    const char *with = operand[kind], *args[3] = { with, with, with };
    args[first ? 0 : row->nin - 1] = "v1";
    Text t = { 0 };
    text_add(&t,
        "fn f(a: f32[8,8], b: f32[8], c: f32[20,8], h: f32[8]) -> f32[8] {\n"
        "    v1: f32[8] = region scan a b h c cap=2 acc=0 carry=1 length=20 {\n"
        "        fn step(x0: f32[8,8], x1: f32[8], x2: f32[8], x3: f32[8]) -> f32[8] {\n"
        "            v1: f32[8] = dot x0 x2 lhs_contract=1 rhs_contract=0 lhs_batch=() rhs_batch=() "
        "dtype=f32\n"
        "            v2: f32[] = const dtype=f32 bits=%s\n"
        "            v3: f32[8] = broadcast v2 shape=8 dims=()\n"
        "            v4: %s[8] = %s", number, row->gives == BOOL_ ? "bool" : "f32", row->name);
    for (int k = 0; k < row->nin; k++)
        text_add(&t, " %s", args[k]);
    text_add(&t, row->gives == BOOL_ ? "\n            v5: f32[8] = select v4 v1 x2\n" :
                                       "\n            v5: f32[8] = add v4 x2\n");
    text_add(&t, "            ret v5\n        }\n    }\n    ret v1\n}\n");
    const char *s = arena_text("%s", t.s);
    text_free(&t);
    return s;
}

static void plans(const char *text)
{
    const Target t = { .machine = &machine_processor, .f64 = true, .i64 = true, .max_alloc = 1 << 30 };
    Graph *g = graph_parse(text, "program");
    ck_assert_msg(g != NULL, "%s\n%s", text, error_text());
    ck_assert_msg(plan_schedule(g, &t) != NULL, "%s\n%s", text, error_text());
}

START_TEST(alike)
{
    Arena *arena = arena_new(), *before = arena_use(arena);
    error_clear();
    for (int kind = 0; kind < (optab[_i].nin > 1 ? KINDS : 1); kind++)
        for (int n = 0; n < (kind == KINDS - 1 ? NUMBERS : 1); n++)
            for (int first = 0; first < (optab[_i].nin > 1 ? 2 : 1); first++)
                plans(program(_i, kind, numbers[n], first));
    arena_use(before);
    arena_drop(arena);
}
END_TEST

/* Captures that are too large to be read before the loop: rows of them lie apart, or side by side. */
START_TEST(captures)
{
    static const char *const layouts[] = { "16,20", "20,16" };
    Arena *arena = arena_new(), *before = arena_use(arena);
    error_clear();
    for (int k = 0; k < 2; k++)
        plans(arena_text(
            "fn f(a: f32[20,16], b: f32[%s], h: f32[16]) -> f32[16] {\n"
            "    v1: f32[16] = region scan a b h cap=2 acc=0 carry=1 length=20 {\n"
            "        fn step(x0: f32[20,16], x1: f32[%s], x2: f32[16]) -> f32[16] {\n"
            "            v1: f32[20] = dot x0 x2 lhs_contract=1 rhs_contract=0 lhs_batch=() rhs_batch=() "
            "dtype=f32\n"
            "            v2: f32[16] = dot x1 v1 lhs_contract=%d rhs_contract=0 lhs_batch=() rhs_batch=() "
            "dtype=f32\n"
            "            v3: f32[16] = tanh v2\n"
            "            ret v3\n        }\n    }\n    ret v1\n}\n", layouts[k], layouts[k], 1 - k));
    arena_use(before);
    arena_drop(arena);
}
END_TEST

int main(void)
{
    setenv("HEDDLE_CHECK", "spec", 1);
    Suite *s = suite_create("alike");
    TCase *c = tcase_create("rows");
    tcase_set_timeout(c, 120);
    for (int op = 1; op < OP_COUNT; op++)
        if (optab[op].elementwise && optab[op].accepts & F_)
            tcase_add_loop_test(c, alike, op, op + 1);
    tcase_add_test(c, captures);
    suite_add_tcase(s, c);
    return suite_run(s);
}
