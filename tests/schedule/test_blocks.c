/*
 * test_blocks.c - which blocks, runs and panels products have, and on which machine: what the table says
 * decides, and nothing else.
 *
 * In:  machines/, programs as text.   Out: the line that the plan has for each kernel, as the scheduler
 * wrote it.
 * Nothing is run. How fast it is, bench/sweep says.
 */
#include <stdlib.h>
#include <string.h>

#include "compile.h"
#include "graph.h"
#include "suite_run.h"

static Arena *arena;

static void setup(void)
{
    error_clear();
    arena = arena_new();
    arena_use(arena);
}

static void teardown(void)
{
    arena_use(NULL);
    arena_drop(arena);
}

static Machine machine_kept(const char *name)
{
    char path[128];
    Machine m = machine_processor;
    snprintf(path, sizeof path, "../machines/%s.txt", name);
    ck_assert_msg(machine_read(&m, path) == 0, "%s", error_text());
    return m;
}

/* The launches of a program, one after the other; free() it. */
static char *launches(const Machine *m, const char *program)
{
    const Target target = { .device = "a machine",
        .machine = m,
        .f64 = true,
        .i64 = true,
        .f16 = true,
        .max_alloc = INT64_C(1) << 32 };
    Graph *g = graph_parse(program, "program");
    ck_assert_msg(g != NULL, "%s", error_text());
    Plan *p = plan_schedule(g, &target);
    ck_assert_msg(p != NULL, "%s", error_text());
    Text plan = { 0 }, t = { 0 };
    plan_print(p, &plan);
    for (char *s = plan.s, *line; (line = strstr(s, "launch ")) != NULL; s = line + 1)
        text_add(&t, "%.*s\n", (int)strcspn(line, "\n"), line);
    text_free(&plan);
    return text_take(&t);
}

static char *product(int rows, int steps, int columns, bool turned)
{
    return arena_text("fn f(a: f32[%d,%d], b: f32[%d,%d]) -> f32[%d,%d] {\n"
                      "    c: f32[%d,%d] = dot a b lhs_contract=1 rhs_contract=%d lhs_batch=() rhs_batch=() "
                      "dtype=f32\n    ret c\n}\n",
        rows, steps, turned ? columns : steps, turned ? steps : columns, rows, columns, rows, columns,
        turned);
}

typedef struct Case {
    const char *machine;
    int rows, steps, columns;
    bool turned;
    const char *launches;
} Case;

/* Blocks: 32 registers of 512 bits hold 8 x 2 vectors of 16 numbers and what they are made from, 16 of 256
 * bits 6 x 1, 16 of 128 bits 2 x 1. Runs: as many columns as stay in half of the second cache. On a gpu a
 * group does a tile, of which these are the rows of an item; operands are turned on their way to local
 * memory. */
static const Case cases[] = {
    /* small */
    { "vectors128", 200, 200, 200, false,
      "launch k0 contract (200 x2, 200 vec) panels a1 -> r0:dot\n" },
    { "vectors256", 200, 200, 200, false,
      "launch k0 contract (200 x6, 200 vec) panels a1 -> r0:dot\n" },
    { "vectors512", 200, 200, 200, false,
      "launch k0 contract (200 x8, 200 vec x2) -> r0:dot\n" },
    { "gpu32", 200, 200, 200, false,
      "launch k0 contract (200 x4, 200 vec) -> r0:dot\n" },
    /* a quarter of the second cache and more: each work-item copies panels for itself */
    { "vectors128", 1000, 1000, 1000, false,
      "launch k0 contract (1000 x2, 1000 vec) panels a1 -> r0:dot\n" },
    { "vectors256", 1000, 1000, 1000, false,
      "launch k0 contract (1000 x6, 1000 vec) panels a1 -> r0:dot\n" },
    { "vectors512", 1000, 1000, 1000, false,
      "launch k0 contract (1000 x8, 1000 vec x2) panels a1 -> r0:dot\n" },
    { "gpu32", 1000, 1000, 1000, false,
      "launch k0 contract (1000 x4, 1000 vec) -> r0:dot\n" },
    /* rows that collide in the second cache, and rows that do not: the same */
    { "vectors128", 1024, 1024, 1024, false,
      "launch k0 contract (1024 x2, 1024 vec) panels a1 -> r0:dot\n" },
    { "vectors256", 1024, 1024, 1024, false,
      "launch k0 contract (1024 x6, 1024 vec) panels a1 -> r0:dot\n" },
    { "vectors512", 1024, 1024, 1024, false,
      "launch k0 contract (1024 x8, 1024 vec x2) panels a1 -> r0:dot\n" },
    { "gpu32", 1024, 1024, 1024, false,
      "launch k0 contract (1024 x4, 1024 vec) -> r0:dot\n" },
    { "vectors128", 2048, 2048, 2048, false,
      "launch k0 contract (2048 x2, 2048 vec) panels a1 -> r0:dot\n" },
    { "vectors256", 2048, 2048, 2048, false,
      "launch k0 contract (2048 x6, 2048 vec) panels a1 -> r0:dot\n" },
    { "vectors512", 2048, 2048, 2048, false,
      "launch k0 contract (2048 x8, 2048 vec x2) panels a1 -> r0:dot\n" },
    { "gpu32", 2048, 2048, 2048, false,
      "launch k0 contract (2048 x8, 2048 vec) -> r0:dot\n" },
    { "vectors128", 2064, 2064, 2064, false,
      "launch k0 contract (2064 x2, 2064 vec) -> r0:dot\n" },
    { "vectors256", 2064, 2064, 2064, false,
      "launch k0 contract (2064 x6, 2064 vec) panels a1 -> r0:dot\n" },
    { "vectors512", 2064, 2064, 2064, false,
      "launch k0 contract (2064 x8, 2064 vec x2) panels a1 -> r0:dot\n" },
    { "gpu32", 2064, 2064, 2064, false,
      "launch k0 contract (2064 x8, 2064 vec) -> r0:dot\n" },
    /* few rows: a copy made by a kernel would not pay, panels do */
    { "vectors128", 64, 1024, 1024, false,
      "launch k0 contract (64 x2, 1024 vec) panels a1 -> r0:dot\n" },
    { "vectors256", 64, 1024, 1024, false,
      "launch k0 contract (64 x6, 1024 vec) panels a1 -> r0:dot\n" },
    { "vectors512", 64, 1024, 1024, false,
      "launch k0 contract (64 x8, 1024 vec x2) panels a1 -> r0:dot\n" },
    { "gpu32", 64, 1024, 1024, false,
      "launch k0 contract (64 x4, 1024 vec) -> r0:dot\n" },
    /* a right-hand side that stays, of rows that are fetched ahead */
    { "vectors128", 1024, 1024, 64, false,
      "launch k0 contract (1024 x2, 64 vec) run 2 -> r0:dot\n" },
    { "vectors256", 1024, 1024, 64, false,
      "launch k0 contract (1024 x6, 64 vec) -> r0:dot\n" },
    { "vectors512", 1024, 1024, 64, false,
      "launch k0 contract (1024 x8, 64 vec x2) -> r0:dot\n" },
    { "gpu32", 1024, 1024, 64, false,
      "launch k0 contract (1024 x4, 64 vec) -> r0:dot\n" },
    /* turned: panels are turned as they are filled, and so are a group's tiles */
    { "vectors128", 1000, 1000, 1000, true,
      "launch k0 contract (1000 x2, 1000 vec) panels a1 -> r0:dot\n" },
    { "vectors256", 1000, 1000, 1000, true,
      "launch k0 contract (1000 x6, 1000 vec) panels a1 -> r0:dot\n" },
    { "vectors512", 1000, 1000, 1000, true,
      "launch k0 contract (1000 x8, 1000 vec x2) panels a1 -> r0:dot\n" },
    { "gpu32", 1000, 1000, 1000, true,
      "launch k0 contract (1000 x4, 1000 vec) -> r0:dot\n" },
    { "vectors128", 1024, 1024, 1024, true,
      "launch k0 contract (1024 x2, 1024 vec) panels a1 -> r0:dot\n" },
    { "vectors256", 1024, 1024, 1024, true,
      "launch k0 contract (1024 x6, 1024 vec) panels a1 -> r0:dot\n" },
    { "vectors512", 1024, 1024, 1024, true,
      "launch k0 contract (1024 x8, 1024 vec x2) panels a1 -> r0:dot\n" },
    { "gpu32", 1024, 1024, 1024, true,
      "launch k0 contract (1024 x4, 1024 vec) -> r0:dot\n" },
};
enum { CASES = sizeof cases / sizeof *cases };

START_TEST(blocks)
{
    const Case *c = &cases[_i];
    Machine m = machine_kept(c->machine);
    char *s = launches(&m, product(c->rows, c->steps, c->columns, c->turned));
    ck_assert_msg(!strcmp(s, c->launches), "%s, %d x %d x %d%s:\n%s", c->machine, c->rows, c->steps,
        c->columns, c->turned ? " turned" : "", s);
    free(s);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("blocks");
    TCase *c = tcase_create("all");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_loop_test(c, blocks, 0, CASES);
    suite_add_tcase(s, c);
    return suite_run(s);
}
