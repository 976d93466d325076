/*
 * test_signature.c - what hd_print_graph writes is a function of the same arguments: trees, results that are
 * trees, data met while tracing, parts that are nothing; and lines of trees that make no sense are refused.
 */
#include <stdlib.h>

#include "suite.h"

static hd_array *table;
static hd line(hd p, hd x)
{
    hd y = hd_add(hd_mul(x, hd_get(p, "w")), hd_get(hd_nth(hd_get(p, "odd \"name\"\n"), 1), "b"));
    return hd_dict({ "out", hd_tuple(y, hd_const(table)) }, { "loss", hd_sum(hd_square(y)) });
}
static hd first(hd t) { return hd_tuple(hd_nth(t, 0)); }
static hd halves(hd x) { return hd_tuple(x, hd_mul_c(x, .5)); }

static char *printed(hd_fn *f, hd_array *const *args, int n)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    ck_assert_msg(hd_print_graph_n(file, f, args, n) == 0, "%s", hd_error());
    fclose(file);
    return text;
}

static char *shown(hd_fn *f, hd_array *const *args, int n)
{
    hd_array *y = NULL;
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    ck_assert_msg(hd_call_n(f, &y, 1, args, n) == 0, "%s", hd_error());
    hd_print(file, y);
    fclose(file);
    hd_drop(y);
    return text;
}

/* Printed and read back: the same text again, the same results. */
static void round_trip(hd_fn *f, hd_array *const *args, int n)
{
    char *text = printed(f, args, n);
    hd_fn *g = hd_parse(text, "again");
    ck_assert_msg(g != NULL, "%s\n%s", hd_error(), text);
    char *a = shown(f, args, n), *b = shown(g, args, n), *again = printed(g, args, n);
    ck_assert_str_eq(a, b);
    ck_assert_str_eq(text, again);
    free(a), free(b), free(again), free(text);
}

START_TEST(trees)
{
    hd_array *inner = hd_array_tuple(
        hd_array_tuple(hd_array_scalar(HD_I32, 3)), hd_array_dict({ "b", hd_array_scalar(HD_F32, 2) }));
    hd_array *p = hd_array_dict({ "w", hd_array_lit(float, (2), 3, 4) }, { "odd \"name\"\n", inner });
    hd_array *x = hd_array_lit(float, (2), 5, -1), *args[2] = { p, x };
    table = hd_array_lit(double, (2, 2), 1, 2, 3.5, -0.25);
    ck_assert_msg(p && x && table, "%s", hd_error());
    round_trip(HD_FN(line), args, 2);
    hd_array *pair = hd_array_tuple(hd_keep(x), hd_keep(table)), *flat[3];
    round_trip(HD_FN(first), &pair, 1);
    round_trip(HD_FN(halves), &x, 1);
    char *text = printed(HD_FN(line), args, 2);
    ck_assert_msg(strstr(text,
                      ";args ({\"odd \\x22name\\x22\\x0a\": ((*), {b: *}), w: *}, *)\n;result {loss: *, "
                      "out: (*, *)}\n"),
        "%s", text);
    hd_array *const leaf[4] = { hd_array_nth(hd_array_nth(inner, 0), 0),
        hd_array_get(hd_array_nth(inner, 1), "b"), hd_array_get(p, "w"), x };
    flat[0] = NULL;
    ck_assert_msg(hd_call_n(hd_parse(text, "leaves"), flat, 1, leaf, 4) == 0, "%s", hd_error());
    ck_assert_str_eq(hd_array_field_name(flat[0], 0), "loss");
    hd_drop(flat[0]), hd_drop(p), hd_drop(x), hd_drop(table), hd_drop(pair);
    free(text);
}
END_TEST

/* A plain function has no such lines. */
START_TEST(plain)
{
    hd_array *x = hd_array_lit(float, (2), 5, -1);
    char *text = printed(HD_FN(halves), &x, 1);
    ck_assert_msg(!strncmp(text, "fn ", 3), "%s", text);
    free(text);
    hd_drop(x);
}
END_TEST

START_TEST(refused)
{
    static const struct { const char *line, *why;
    } bad[] = {
        { ";args (*)", "fewer leaves" },
        { ";args (*, *, *)", "more leaves" },
        { ";args {b: *, a: *}", "in order" },
        { ";args {a: *, a: *}", "in order" },
        { ";args (*, *", "wanted" },
        { ";args (* *)", "wanted" },
        { ";args {a *, b: *}", "wanted" },
        { ";args {\"a: *, b: *}", "string" },
        { ";args (*, *) x", "end of the line" },
        { ";args ", "wanted" },
        { ";result (*, *)", "more leaves" },
        { ";result none", "fewer leaves" },
        { ";result", NULL },
        { ";args (*, *)", NULL },
    };
    hd_array *a = hd_array_scalar(HD_F32, 1), *y = NULL, *const args[2] = { a, a };
    char text[2000];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text,
            "%s\nfn f(x0: f32[], x1: f32[]) -> f32[] { v2: f32[] = add x0 x1 ret v2 }", bad[i].line);
        int e = hd_call_n(hd_parse(text, "f"), &y, 1, args, 2);
        ck_assert_msg(!e == !bad[i].why && (!e || strstr(hd_error(), bad[i].why)), "%s: %d %s", bad[i].line,
            e, hd_error());
        hd_drop(y), y = NULL;
    }
    memset(text, '(', sizeof text), memcpy(text, ";args ", 6), text[1998] = '\n', text[1999] = 0;
    char *deep = malloc(4000);
    snprintf(deep, 4000, "%sfn f(x0: f32[], x1: f32[]) -> f32[] { v2: f32[] = add x0 x1 ret v2 }", text);
    ck_assert(hd_call_n(hd_parse(deep, "f"), &y, 1, args, 2) == HD_EINVAL && strstr(hd_error(), "too deep"));
    free(deep);
    hd_drop(a);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("signature");
    TCase *c = suite_case(s);
    tcase_add_test(c, trees);
    tcase_add_test(c, plain);
    tcase_add_test(c, refused);
    return suite_run(s);
}
