/*
 * test_graph.c - the builder, the text form and memory, without a device: what folds and what must not,
 * constants bit by bit, where a parser's complaint points, dead code in a deep chain, running out of memory.
 */
#include <stdlib.h>
#include <string.h>

#include "graph.h"
#include "suite_run.h"

static Arena *arena;

static void setup(void)
{
    arena = arena_new();
    arena_use(arena);
    graph_begin(graph_new());
}

static void teardown(void)
{
    graph_end();
    error_clear();
    arena_use(NULL);
    arena_drop(arena);
}

static Ref input(Dtype dt, int rank, int64_t a, int64_t b)
{
    return graph_input(type_of(dt, rank, (int64_t[]){ a, b }), 0);
}

/* ==================== folds */

START_TEST(fold_floats)
{
    Ref x = input(DT_F32, 2, 2, 3), y = Sin(x);
    ck_assert_uint_eq(Mul(x, Like(x, 1)), x);
    ck_assert_uint_eq(Mul(Like(x, 1), x), x);
    ck_assert_uint_eq(Div(x, Like(x, 1)), x);
    ck_assert_uint_eq(Sub(x, Like(x, 0)), x);
    ck_assert_uint_eq(Add(x, Like(x, -0.0)), x);
    ck_assert_uint_eq(Neg(Neg(x)), x);
    ck_assert_uint_eq(Convert(x, DT_F32), x);
    ck_assert(const_is(Add(Like(x, 1), Like(x, 2)), 3));
    ck_assert(const_is(Exp(Like(x, 0)), 1));
    /* nan and zeros of either sign forbid these */
    ck_assert_uint_ne(Mul(x, Like(x, 0)), Like(x, 0));
    ck_assert_uint_ne(Add(x, Like(x, 0)), x);
    ck_assert_uint_ne(Sub(x, Like(x, -0.0)), x);
    ck_assert_uint_ne(Sub(x, x), Like(x, 0));
    /* identical instructions are one; operands that commute are in one order */
    ck_assert_uint_eq(Add(x, y), Add(y, x));
    ck_assert_uint_ne(Sub(x, y), Sub(y, x));
    ck_assert_uint_ne(Accum(x, y), Accum(x, y));
    ck_assert(!error_pending());
}
END_TEST

START_TEST(fold_integers)
{
    Ref x = input(DT_I32, 1, 3, 0), p = input(DT_BOOL, 1, 3, 0);
    ck_assert_uint_eq(Add(x, Like(x, 0)), x);
    ck_assert_uint_eq(Mul(x, Like(x, 0)), Like(x, 0));
    ck_assert_uint_eq(And(x, Like(x, -1)), x);
    ck_assert_uint_eq(And(x, Like(x, 0)), Like(x, 0));
    ck_assert_uint_eq(ShiftLeft(x, Like(x, 0)), x);
    ck_assert_uint_eq(Not(Not(p)), p);
    ck_assert_uint_eq(And(p, Like(p, 1)), p);
    ck_assert_uint_eq(Or(p, Like(p, 1)), Like(p, 1));
    ck_assert_uint_eq(Select(p, x, x), x);
    ck_assert_uint_eq(Select(Like(p, 0), Like(x, 2), x), x);
    ck_assert(const_is(Div(Like(x, 7), Like(x, 0)), -1));
    ck_assert(const_is(Mul(Like(x, 65536), Like(x, 65536)), 0));
    ck_assert(const_is(Convert(Full(type_scalar(DT_F32), 1e30), DT_I32), INT32_MAX));
}
END_TEST

START_TEST(fold_shapes)
{
    Ref x = input(DT_F32, 2, 2, 3), sq = input(DT_F32, 2, 3, 3);
    Ints flat = { 1, { 6 } }, shape = { 2, { 2, 3 } }, swap = { 2, { 1, 0 } }, same = { 2, { 0, 1 } };
    Ints none = { 0 }, zeros = { 2, { 0 } };
    ck_assert_uint_eq(Reshape(Reshape(x, flat), shape), x);
    ck_assert_uint_eq(Transpose(Transpose(x, swap), swap), x);
    ck_assert_uint_eq(Transpose(x, same), x);
    ck_assert_uint_eq(Broadcast(sq, (Ints){ 2, { 3, 3 } }, same), sq);
    ck_assert_uint_eq(Reverse(Reverse(x, (Ints){ 1, { 0 } }), (Ints){ 1, { 0 } }), x);
    ck_assert_uint_eq(Sum(x, none), x);
    ck_assert_uint_eq(SliceAxis(x, 0, 0, 2), x);
    ck_assert_uint_ne(SliceAxis(x, 0, 0, 1), x);
    ck_assert_uint_eq(Concat(&x, 1, 0), x);
    ck_assert_uint_eq(Pad(x, Const(DT_F32, 5), zeros, zeros, zeros), x);
    ck_assert_uint_ne(Pad(x, Const(DT_F32, 5), (Ints){ 2, { 1, 0 } }, (Ints){ 2, { -1, 0 } }, zeros), x);
    /* a filled array is one value however it is viewed */
    ck_assert_uint_eq(Zeros(typ(x)), Reshape(Full(type_of(DT_F32, 1, flat.v), 0), shape));
    ck_assert_uint_eq(MoveAxis(x, 0, 1), Transpose(x, swap));
    ck_assert(!error_pending());
}
END_TEST

START_TEST(mistakes)
{
    Ref x = input(DT_F32, 2, 2, 3), y = input(DT_I32, 1, 3, 0);
    Loc before = loc_set((Loc){ "user.c", 7 });
    /* would fold, but is wrong */
    ck_assert_uint_eq(Mul(x, Full(type_of(DT_F32, 1, (int64_t[]){ 6 }), 1)), 0);
    ck_assert_int_eq(error_code(), E_SHAPE);
    ck_assert_str_eq(error_text(),
                     "user.c:7: mul: shapes differ: f32[2,3] and f32[6]; broadcast or reshape one of them");
    error_clear();
    loc_set(before);
    ck_assert_uint_eq(Add(x, y), 0);
    ck_assert_int_eq(error_code(), E_DTYPE);
    ck_assert_uint_eq(Exp(y), 0);                               /* the first message stays */
    ck_assert(strstr(error_text(), "add: dtypes differ"));
    error_clear();
    ck_assert_uint_eq(Exp(0), 0);                               /* what is missing is passed on in silence */
    ck_assert(!error_pending());
}
END_TEST

/* ==================== text */

static char *printed(const Graph *g)
{
    Text t = { 0 };
    graph_print(g, &t);
    return text_take(&t);
}

/* Every bit pattern of the 16-bit floats, and a spread of the wider ones, is read back as printed. */
START_TEST(constants)
{
    enum { N = 4096 };
    Ref out[4 * N];
    int n = 0;
    for (uint64_t k = 0; k < N; k++) {
        out[n++] = ConstBits(DT_F16, (int64_t)(k * 16 + (k & 15)));
        out[n++] = ConstBits(DT_BF16, (int64_t)(k * 16 + (k & 15)));
        out[n++] = ConstBits(DT_F32, (int64_t)(k * 0xFEDC3 + 7));
        out[n++] = ConstBits(DT_F64, (int64_t)(k * 0xFEDCBA9876543ull));
    }
    graph_outputs(out, n);
    char *a = printed(cur());
    Graph *g = graph_parse(a, "constants");
    ck_assert_msg(g != NULL, "%s", error_text());
    char *b = printed(g);
    ck_assert_str_eq(a, b);
    ck_assert(graph_equal(cur(), g));
    free(a);
    free(b);
}
END_TEST

static const struct { const char *text, *error;
} wrong[] = {
    { "", "t:1:1: expected 'fn', found the end" },
    { "fn f(x0: f32[2]) -> f32[3] { ret x0 }", "t:1:34: expected a result of type f32[3], found f32[2]" },
    { "fn f(x0: f33[2]) -> f32[2] {", "t:1:10: expected a dtype, found 'f33'" },
    { "fn f(x0: f32[2]) -> f32[2] {\n v2: f32[2] = sinn x0\n ret v2 }",
        "t:2:15: expected an operation, found 'sinn'" },
    { "fn f(x0: f32[2]) -> f32[2] {\n v2: f32[2] = add x0 x1\n ret v2 }",
        "t:2:22: expected a value defined before, found 'x1'" },
    { "fn f(x0: f32[2]) -> f32[2] {\n v2: f32[3] = add x0 x0\n ret v2 }",
        "t:2:2: expected f32[2] as the type of v2, found f32[3]" },
    { "fn f(x0: f32[2], x1: i8[2]) -> f32[2] {\n v2: f32[2] = add x0 x1\n ret v2 }",
        "t:2: add: dtypes differ" },
    { "fn f(x0: f32[2]) -> f32[] {\n v2: f32[] = reduce_sum x0 axis=0\n ret v2 }",
        "t:2:28: expected 'axes=', found 'axis=0'" },
    { "fn f(x0: f32[2]) -> f32[2] {\n v2: f32[2] = add x0\n ret v2 }",
        "expected 2 operands of add instead of 1" },
    { "fn f(x0: f32[2]) -> f32[2] {\n x0: f32[2] = neg x0\n ret x0 }",
        "expected a new name, found 'x0' again" },
    { "fn f(x0: f32[2]) -> f32[2] { ret x0 } x", "t:1:39: expected the end, found 'x'" },
    { "fn f() -> i8[] {\n v1: i8[] = const dtype=i8 bits=200 ret v1 }",
        "expected an element of i8, found '200'" },
    { "fn f() -> f32[2] {\n v1: f32[2] = data dtype=f32 shape=2 { 1 } ret v1 }",
        "expected an element of f32, found '}'" },
    { "fn f(x0: f32[99999999999,99999999999]) -> f32[2] { ret x0 }",
        "expected a type whose size can be counted" },
    { "fn f(x0: f32[2]+) -> f32[2], f32[2] { ret x0, x0 }", "accumulator v1 is used 2 times" },
    { "fn f(x0: f32[2]+) -> f32[2] { v2: f32[2] = neg x0 ret v2 }", "reads an accumulator" },
};

START_TEST(parser_errors)
{
    ck_assert_ptr_null(graph_parse(wrong[_i].text, "t"));
    ck_assert_msg(
        strstr(error_text(), wrong[_i].error), "wanted '%s', got '%s'", wrong[_i].error, error_text());
}
END_TEST

/* ==================== passes */

START_TEST(deep_chain)
{
    Ref x = input(DT_F32, 0, 0, 0), y = x, dead = x;
    for (int k = 0; k < 50000; k++) {
        y = Sin(y);
        dead = Cos(dead);
    }
    graph_outputs(&y, 1);
    Graph *d = graph_dce(cur());
    ck_assert_int_eq(d->nins, 50000);
    ck_assert_int_eq(graph_check(d), 0);
}
END_TEST

/* The order in which operands were made does not show. */
START_TEST(order_of_results)
{
    Graph *g[2];
    for (int swap = 0; swap < 2; swap++) {
        graph_begin(graph_new());
        Ref x = input(DT_F32, 0, 0, 0), a = 0, b = 0;
        if (swap)
            b = Cos(x);
        a = Sin(x);
        b = b ? b : Cos(x);
        Ref out = Sub(a, b);
        graph_outputs(&out, 1);
        g[swap] = graph_dce(graph_end());
    }
    ck_assert(graph_equal(g[0], g[1]));
}
END_TEST

/* ==================== element types */

START_TEST(half_floats)
{
    for (uint32_t b = 0; b < 65536; b++) {                      /* every one comes back */
        double h = half_to_double((uint16_t)b), f = bfloat_to_double((uint16_t)b);
        ck_assert(h != h || half_from_double(h) == b);
        ck_assert(f != f || bfloat_from_double(f) == b);
    }
    ck_assert_uint_eq(half_from_double(65519.999), 0x7BFF);
    ck_assert_uint_eq(half_from_double(65520), 0x7C00);
    ck_assert_uint_eq(half_from_double(0x1p-25), 0);            /* half of the least: to even */
    ck_assert_uint_eq(half_from_double(0x1.0000000001p-25), 1);
    /* a denormal rounds up to the least normal */
    ck_assert_uint_eq(half_from_double(0x1.ffcp-15), 0x0400);
    /* through f32 it would round twice, down */
    ck_assert_uint_eq(bfloat_from_double(1 + 0x1p-8 + 0x1p-40), 0x3F81);
    ck_assert_uint_eq(half_from_double(-0.0), 0x8000);
}
END_TEST

START_TEST(integers_round_once)
{
    Ref big = ConstBits(DT_I64, (1ll << 60) + (1ll << 36) + 1), out = Convert(big, DT_F32);
    ck_assert(const_is(out, 0x1p60 + 0x1p37));                  /* through double the tie would go down */
}
END_TEST

int main(void)
{
    Suite *s = suite_create("graph");
    TCase *c = tcase_create("graph");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, fold_floats);
    tcase_add_test(c, fold_integers);
    tcase_add_test(c, fold_shapes);
    tcase_add_test(c, mistakes);
    tcase_add_test(c, constants);
    tcase_add_loop_test(c, parser_errors, 0, sizeof wrong / sizeof *wrong);
    tcase_add_test(c, deep_chain);
    tcase_add_test(c, order_of_results);
    tcase_add_test(c, half_floats);
    tcase_add_test(c, integers_round_once);
    suite_add_tcase(s, c);
    return suite_run(s);
}
