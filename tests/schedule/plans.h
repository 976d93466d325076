/*
 * plans.h - the plan of a function, looked into: what test suites of the scheduler share. No device is
 * needed.
 */
#ifndef HEDDLE_TESTS_PLANS_H
#define HEDDLE_TESTS_PLANS_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "heddle.h"

#include "compile.h"
#include "graph.h"
#include "kernel.h"
#include "opencl_c.h"
#include "spirv.h"

/* What a plan is: kernels, steps, and of all kernels loops that count, loops that run until an exit test,
 * exit tests that ask whether any lane of a vector goes on, branches. spirv_loops, spirv_branches: of the
 * words that Vulkan gets. */
typedef struct Seen {
    int kernels, steps, loops, until, exits, ifs, spirv_loops, spirv_branches;
    char *plan, *code;
    size_t lines;
} Seen;

static inline void look_into(const Kernel *k, Seen *s)
{
    for (int v = 1; v < k->nins; v++) {
        const KIns *i = &k->ins[v];
        s->loops += i->op == K_LOOP && i->n >= 0;
        s->until += i->op == K_LOOP && i->n < 0;
        s->exits +=
            i->op == K_BRK && k->ins[i->arg[0]].op == K_ANY && k->ins[k->ins[i->arg[0]].arg[0]].w == W;
        s->ifs += i->op == K_IF;
    }
    const SpirvCaps caps = { .i64 = true,
        .f64 = true,
        .byte_storage = true,
        .short_storage = true,
        .bytes = true,
        .shorts = true,
        .group = 64,
        .exact_div = { true, true },
        .exact_sqrt = { true, true } };
    enum { LOOP_MERGE = 246, SELECTION_MERGE = 247 };
    uint32_t *words;
    size_t n;
    int local;
    ck_assert_msg(spirv_write(k, &caps, &words, &n, &local) == 0, "%s", error_text());
    for (size_t at = 5; at < n; at += words[at] >> 16) {
        s->spirv_loops += (words[at] & 0xFFFF) == LOOP_MERGE;
        s->spirv_branches += (words[at] & 0xFFFF) == SELECTION_MERGE;
    }
    free(words);
}

/* The plan of a function at these arguments. gpu: scheduled for one, else for a processor. */
static inline Seen look_at(hd_fn *f, hd_array *const *args, int n, bool gpu)
{
    Seen s = { 0 };
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    ck_assert_msg(hd_print_graph_n(out, f, args, n) == 0, "%s", hd_error());
    fclose(out);
    Arena *a = arena_new(), *before = arena_use(a);
    Graph *g = graph_parse(text, "program");
    ck_assert_msg(g != NULL, "%s", error_text());
    const Target target = {
        .machine = gpu ? &machine_gpu : &machine_processor, .f64 = true, .i64 = true, .max_alloc = 1ll << 32
    };
    Plan *p = plan_schedule(graph_dce(g), &target);
    ck_assert_msg(p != NULL, "%s", error_text());
    Kernel **list;
    plan_kernels(p, &list, &s.kernels);
    for (int k = 0; k < s.kernels; k++)
        ck_assert_msg(k_check(list[k]) == 0, "%s", error_text()), look_into(list[k], &s);
    Text plan = { 0 }, code = { 0 };
    const OpenclCaps caps = { .f64 = true, .one_item = true, .cache = 1 << 20 };
    plan_print(p, &plan);
    ck_assert_msg(
        opencl_c_print((const Kernel *const *)list, s.kernels, &caps, &code) == 0, "%s", error_text());
    s.steps = p->nstep;
    s.plan = text_take(&plan);
    s.code = text_take(&code);
    for (const char *c = s.code; *c; c++)
        s.lines += *c == '\n';
    arena_use(before);
    arena_drop(a);
    free(text);
    return s;
}

static inline Seen look(hd_fn *f, hd_array *const *args, int n) { return look_at(f, args, n, false); }

static inline void done(Seen *s, hd_array **args, int n)
{
    free(s->plan);
    free(s->code);
    for (int i = 0; i < n; i++)
        hd_drop(args[i]);
}

static inline int count(const char *text, const char *word)
{
    int n = 0;
    for (const char *s = text; (s = strstr(s, word)) != NULL; s += strlen(word))
        n++;
    return n;
}

#endif
