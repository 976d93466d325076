/*
 * test_text.c - text that nobody checked before: programs that end in the middle, names that would be more
 * than names, and how much memory reading takes.
 *
 * In:  texts.   Out: an error with line and column, or the program; what dumps and kernels show of names.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "compile.h"
#include "graph.h"
#include "kernel.h"
#include "opencl_c.h"
#include "suite_run.h"

static Arena *arena, *before;

static void begin(void)
{
    arena = arena_new();
    before = arena_use(arena);
    error_clear();
}

static void end(void)
{
    arena_use(before);
    arena_drop(arena);
}

/* ---- texts that end early */

/* A text whose last byte is the last that may be read. */
static Graph *parse_at_edge(const char *text, size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (n / page + 1) * page;
    char *p = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(p != MAP_FAILED && !mprotect(p + room, page, PROT_NONE));
    char *s = p + room - n - 1;
    memcpy(s, text, n);
    error_clear();
    Graph *g = graph_parse(s, "edge");
    munmap(p, room + page);
    return g;
}

static const char whole[] =
    "fn \"a\\x41\\\"\"(x0: f32[2]) -> f32[2] {\n"
    "    v1: f32[2] = data dtype=f32 shape=2 @\"a\\\\b\":3 { 1 0x7fc00001 }\n"
    "    v2: f32[2], v3: f32[5,2] = region scan x0 cap=0 acc=0 carry=1 length=5 @\"\\x0a\":1 {\n"
    "        fn s(x0: f32[2]) -> f32[2], f32[2] { ret x0, x0 }\n"
    "    }\n"
    "    v4: f32[2] = add v1 v2 ; a comment\n"
    "    ret v4\n"
    "}\n";

START_TEST(every_end)
{
    static const char *const texts[] = { "fn\"fe", "fn\"a\\", "fn\"a\\x", "fn\"a\\x4",
        "fn f(x: f32[2])->f32[2]{v:f32[2]=sin x@\"a\\", "fn \"a\\x00b\"() -> () { ret }" };
    begin();
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
        ck_assert_msg(!parse_at_edge(texts[k], strlen(texts[k])), "%s", texts[k]);
        ck_assert_msg(strstr(error_text(), "edge:1:") != NULL, "%s", error_text());
    }
    for (size_t n = 0; n + 1 < strlen(whole); n++) {
        ck_assert_msg(!parse_at_edge(whole, n) || n + 2 > strlen(whole), "%zu bytes are a program", n);
        ck_assert_msg(!strncmp(error_text(), "edge:", 5), "%zu: %s", n, error_text());
    }
    Graph *g = parse_at_edge(whole, strlen(whole));
    ck_assert_msg(g != NULL, "%s", error_text());
    ck_assert_str_eq(g->name, "aA\"");
    ck_assert_str_eq(g->ins[0]->loc.file, "a\\b");
    end();
}
END_TEST

/* ---- names that would be more than names */

static void no_line_begins(const char *text, const char *what, const char *where)
{
    for (const char *s = text; (s = strstr(s, what)) != NULL; s++) {
        const char *line = s;
        while (line > text && line[-1] != '\n')
            line--;
        ck_assert_msg(
            strstr(line, "//") && strstr(line, "//") < s, "%s: a line of its own: %.200s", where, line);
    }
}

START_TEST(names_stay_names)
{
    static const char *const ends[] = { "\\x0a", "\\x0d", "\\x0b", "*/", "\\\\\\x0a", "?\?/\\x0a" };
    for (size_t k = 0; k < sizeof ends / sizeof *ends; k++) {
        begin();
        const char *text = arena_text("fn \"f%sINJECTED\"(x0: f32[64]) -> f32[64] {\n"
                                      "v1: f32[64] = sin x0 @\"a%sINJECTED();%s#pragma z\":1\n ret v1\n}",
            ends[k], ends[k], ends[k]);
        Graph *g = graph_parse(text, "text");
        ck_assert_msg(g != NULL, "%s", error_text());
        const Target target = { .f64 = true, .i64 = true, .max_alloc = 1ll << 32 };
        Plan *p = plan_schedule(graph_dce(g), &target);
        Kernel **list;
        int n;
        ck_assert_msg(p != NULL, "%s", error_text());
        plan_kernels(p, &list, &n);
        Text plan = { 0 }, code = { 0 }, dump = { 0 };
        const OpenclCaps caps = { .f64 = true, .one_item = true, .cache = 1 << 20 };
        plan_print(p, &plan);
        ck_assert_msg(!opencl_c_print((const Kernel *const *)list, n, &caps, &code), "%s", error_text());
        for (int i = 0; i < n; i++)
            k_dump(list[i], &dump);
        no_line_begins(code.s, "INJECTED", "kernel text");
        no_line_begins(dump.s, "INJECTED", "kernel dump");
        ck_assert_msg(strchr(ends[k], '/') || strstr(code.s, "INJECTED"), "the place is not shown");
        for (const char *s = code.s; *s; s++)
            ck_assert_msg(*s == '\n' || (*s >= ' ' && *s <= '~'), "the byte %d in kernel text", *s);
        ck_assert(!strstr(code.s, "?\?/") && !strstr(plan.s, "INJECTED"));
        text_free(&plan), text_free(&code), text_free(&dump);
        end();
    }
}
END_TEST

/* ---- memory grows with the text, not with its square */

#ifdef __GLIBC__
static size_t in_use(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

static void repeat(Text *t, const char *s, int n)
{
    for (int k = 0; k < n; k++)
        text_add(t, s, k);
}

static size_t memory_of(Text *t)
{
    begin();
    size_t before_it = in_use();
    Graph *g = graph_parse(t->s, "long");
    size_t used = in_use() - before_it;
    ck_assert_msg(g || !strncmp(error_text(), "long:", 5), "%s", error_text());
    text_free(t);
    end();
    return used;
}

/* Twice the text takes at most thrice the memory: places on one line, lanes without their marks, bodies,
 * operands. */
static void text_of(Text *t, int kind, int n)
{
    text_add(t, kind == 1 ? "fn f(" : "fn f(x0: f32[2], i: i32[]) -> f32[2] { ");
    switch (kind) {
    case 0: repeat(t, "v%d: f32[2] = sin x0 @\"file\":1 ", n); break;
    case 1:
        for (int k = 0; k < n; k++)
            text_add(t, "%sx%d: f32[2]", k ? ", " : "", k);
        text_add(t, ") -> f32[2] { = region call ");
        repeat(t, "x%d ", n);
        text_add(t, "cap=0 acc=0 carry=0 lanes(");
        repeat(t, "1 ", n);
        text_add(t, ") in(");
        return;
    case 2:
        text_add(t, "= region cond i cap=0 acc=0 carry=0 { ");
        repeat(t, "fn f() -> () { ret } ", n);
        text_add(t, "} ");
        break;
    case 3:
        text_add(t, "v1: f32[1] = concat ");
        for (int k = 0; k < n; k++)
            text_add(t, "x0 ");
        break;
    }
    text_add(t, "ret x0 }");
}

START_TEST(memory)
{
    Text one = { 0 }, two = { 0 };
    text_of(&one, _i, 4000);
    text_of(&two, _i, 8000);
    size_t less = memory_of(&one), more = memory_of(&two);
    ck_assert_msg(
        more < 3 * less + (1 << 20) && more < 64 << 20, "kind %d: %zu bytes, then %zu", _i, less, more);
}
END_TEST
#endif

int main(void)
{
    Suite *s = suite_create("text");
    TCase *c = tcase_create("hostile");
    tcase_add_test(c, every_end);
    tcase_add_test(c, names_stay_names);
#ifdef __GLIBC__
    tcase_add_loop_test(c, memory, 0, 4);
#endif
    suite_add_tcase(s, c);
    return suite_run(s);
}
