/*
 * test_ir.c - programs in the text form (ir/): each is parsed, printed, parsed again, brought in order, and
 * evaluated on the host, whose results the file names: ";in" and ";out" lines, one an argument and one a
 * result.
 */
#include <check.h>
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "graph.h"

static char *slurp(const char *path)
{
    FILE *f = fopen(path, "r");
    ck_assert_msg(f != NULL, "%s cannot be read", path);
    char *s = calloc(1, 1 << 16);
    ck_assert(fread(s, 1, (1 << 16) - 1, f) > 0);
    fclose(f);
    return s;
}

static char *printed(const Graph *g)
{
    Text t = { 0 };
    graph_print(g, &t);
    return text_take(&t);
}

/* The same text, the same graph. */
static void round_trip(const Graph *g, const char *path)
{
    char *a = printed(g);
    Graph *h = graph_parse(a, path);
    ck_assert_msg(h != NULL, "%s: %s\n%s", path, error_text(), a);
    char *b = printed(h);
    ck_assert_str_eq(a, b);
    ck_assert_msg(graph_equal(g, h), "%s", path);
    free(a);
    free(b);
}

/* The next line that begins with the word; behind it, through *rest. */
static const char *directive(const char *s, const char *word)
{
    for (; s; s = strchr(s, '\n'), s = s ? s + 1 : NULL)
        if (!strncmp(s, word, strlen(word)))
            return s + strlen(word);
    return NULL;
}

/* One element, as the dtype stores it. */
static const char *element(const char *s, Dtype dt, void *to)
{
    char *end;
    if (dtype_int(dt))
        dtype_store_i(dt, to, dtype_unsigned(dt) ? (int64_t)strtoull(s, &end, 10) : strtoll(s, &end, 10));
    else
        dtype_store_f(dt, to, strtod(s, &end));
    return end;
}

static Mem *argument(Device *d, const Type *t, const char *s)
{
    Mem *m;
    char e[16];
    ck_assert_int_eq(d->backend->alloc(d, type_bytes(t), &m), 0);
    for (int64_t k = 0; k < type_size(t); k++) {
        s = element(s, (Dtype)t->dt, e);
        d->backend->write(m, (size_t)k * dtype_size((Dtype)t->dt), e, dtype_size((Dtype)t->dt));
    }
    return m;
}

static void expect(const Type *t, const char *got, const char *want, const char *path, int result)
{
    Dtype dt = (Dtype)t->dt;
    char e[16];
    for (int64_t k = 0; k < type_size(t); k++, got += dtype_size(dt)) {
        want = element(want, dt, e);
        double x = dtype_load_f(dt, got), y = dtype_load_f(dt, e);
        bool same = x == y ? !signbit(x) == !signbit(y) : x != x ? y != y : fabs(x - y) <= 1e-6 * fabs(y);
        ck_assert_msg(same && (!dtype_int(dt) || dtype_load_i(dt, got) == dtype_load_i(dt, e)),
                      "%s: result %d, element %lld: %.9g and not %.9g", path, result, (long long)k, x, y);
    }
}

static void evaluate(const Graph *g, const char *text, const char *path)
{
    Device *d = device_find("host");
    Exec *x = d->backend->build_graph(d, g);
    Mem *in[8], *out[16];
    ck_assert_msg(x != NULL, "%s: %s", path, error_text());
    const char *s = text;
    for (int k = 0; k < g->nin; k++) {
        s = directive(s, ";in");
        ck_assert_msg(s != NULL, "%s: no ;in line for argument %d", path, k);
        in[k] = argument(d, &g->type[g->in[k]], s);
    }
    ck_assert_msg(!d->backend->run(x, g->nin, in, g->nout, out), "%s: %s", path, error_text());
    s = text;
    for (int k = 0; k < g->nout; k++) {
        s = directive(s, ";out");
        ck_assert_msg(s != NULL, "%s: no ;out line for result %d", path, k);
        expect(&g->type[g->out[k]], d->backend->map(out[k]), s, path, k);
        mem_drop(out[k]);
    }
    for (int k = 0; k < g->nin; k++)
        mem_drop(in[k]);
    d->backend->drop(x);
}

static void program(const char *path)
{
    Arena *a = arena_new(), *before = arena_use(a);
    char *text = slurp(path);
    Graph *g = graph_parse(text, path);
    ck_assert_msg(g != NULL, "%s", error_text());
    round_trip(g, path);
    Graph *d = graph_dce(g), *twice = graph_dce(d);
    ck_assert_msg(!graph_check(d), "%s", error_text());
    ck_assert_msg(graph_equal(d, twice), "%s: dead code elimination is not idempotent", path);
    round_trip(d, path);
    evaluate(g, text, path);
    evaluate(d, text, path);
    free(text);
    arena_use(before);
    arena_drop(a);
}

START_TEST(programs)
{
    struct dirent **list;
    int n = scandir("ir", &list, NULL, alphasort), seen = 0;
    for (int k = 0; k < n; k++) {
        size_t len = strlen(list[k]->d_name);
        char path[300];
        snprintf(path, sizeof path, "ir/%s", list[k]->d_name);
        if (len > 3 && !strcmp(list[k]->d_name + len - 3, ".hd")) {
            program(path);
            seen++;
        }
        free(list[k]);
    }
    ck_assert_int_gt(seen, 5);
    free(list);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ir");
    TCase *c = tcase_create("programs");
    tcase_add_test(c, programs);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    device_close_all();
    return failed != 0;
}
