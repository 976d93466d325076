/*
 * test_compare.c - comparing devices with the host: planted faults are found, named by line, and shrunk.
 *
 * Faults are those of HEDDLE_WRONG on the device `kernel`, or on $HEDDLE_TEST_DEVICE.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

#include "compare.h"

static const char straight[] =
    "fn straight(x0: f32[37], x1: f64[5], x2: i32[9], x3: f32[8,37], x4: bf16[40], x5: i32[2])\n"
    "        -> f32[37], f64[5], i32[9], f32[], f32[8], bf16[40], f32[3,5], i64[9] {\n"
    "    v6: f32[37] = add x0 x0 @\"s.c\":1\n"
    "    v7: f32[37] = exp v6 @\"s.c\":2\n"
    "    v8: f32[37] = tanh v7 @\"s.c\":3\n"
    "    v9: f32[] = reduce_sum v8 axes=0 @\"s.c\":4\n"
    "    v10: f64[5] = mul x1 x1 @\"s.c\":5\n"
    "    v11: f64[5] = sub v10 x1 @\"s.c\":6\n"
    "    v12: i32[9] = mul x2 x2 @\"s.c\":7\n"
    "    v13: i32[9] = add v12 x2 @\"s.c\":8\n"
    "    v14: f32[37] = mul v8 x0 @\"s.c\":9\n"
    "    v15: f32[37] = add v14 x0 @\"s.c\":10\n"
    "    v16: f32[8] = dot x3 v15 lhs_contract=1 rhs_contract=0 lhs_batch=() rhs_batch=() dtype=f32 "
    "@\"s.c\":11\n"
    "    v17: bf16[40] = mul x4 x4 @\"s.c\":12\n"
    "    v18: f32[3,5] = dynamic_slice x3 x5 sizes=3,5 xb=() @\"s.c\":13\n"
    "    v19: i64[9] = convert v13 dtype=i64 @\"s.c\":14\n"
    "    ret v15, v11, v13, v9, v16, v17, v18, v19\n"
    "}\n";

static const char loops[] =
    "fn loops(x0: f32[], x1: f32[5,20], x2: f32[5,10,20], x3: i32[20], x4: f32[20]) -> f32[5,20], "
    "f32[5,10,20], f32[20], f32[20] {\n"
    "    v5: f32[5,20], v6: f32[5,10,20] = region scan x0 x1 x2 cap=1 acc=0 carry=1 length=10 lanes(5) in(= "
    "| |) out(| |) @\"l.c\":1 {\n"
    "        fn step(x0: f32[], x1: f32[20], x2: f32[20]) -> f32[20], f32[20] {\n"
    "            v3: f32[20] = broadcast x0 shape=20 dims=()\n"
    "            v4: f32[20] = mul x1 v3 @\"l.c\":2\n"
    "            v5: f32[20] = add v4 x2 @\"l.c\":3\n"
    "            v6: f32[20] = sin v5 @\"l.c\":4\n"
    "            ret v6, v5\n"
    "        }\n"
    "    }\n"
    "    v7: f32[20], v8: i32[20] = region while x0 x4 x3 cap=1 acc=0 carry=2 lanes(20) in(= | |) out(| |) "
    "@\"l.c\":10 {\n"
    "        fn more(x0: f32[], x1: f32[], x2: i32[]) -> bool[] {\n"
    "            v3: i32[] = const dtype=i32 bits=7\n"
    "            v4: bool[] = lt x2 v3 @\"l.c\":11\n"
    "            ret v4\n"
    "        }\n"
    "        fn turn(x0: f32[], x1: f32[], x2: i32[]) -> f32[], i32[] {\n"
    "            v3: i32[] = const dtype=i32 bits=1\n"
    "            v4: i32[] = add x2 v3 @\"l.c\":12\n"
    "            v5: f32[] = mul x1 x0 @\"l.c\":13\n"
    "            v6: f32[] = cos v5 @\"l.c\":14\n"
    "            ret v6, v4\n"
    "        }\n"
    "    }\n"
    "    v9: i32[20] = sign x3 @\"l.c\":20\n"
    "    v10: f32[20] = region cond v9 x4 x0 cap=2 acc=0 carry=0 lanes(20) in(| | =) out(|) @\"l.c\":21 {\n"
    "        fn first(x0: f32[], x1: f32[]) -> f32[] {\n"
    "            v2: f32[] = exp x0 @\"l.c\":22\n"
    "            v3: f32[] = mul v2 x1 @\"l.c\":23\n"
    "            ret v3\n"
    "        }\n"
    "        fn second(x0: f32[], x1: f32[]) -> f32[] {\n"
    "            v2: f32[] = sub x0 x1 @\"l.c\":24\n"
    "            v3: f32[] = tanh v2 @\"l.c\":25\n"
    "            ret v3\n"
    "        }\n"
    "    }\n"
    "    ret v5, v6, v7, v10\n"
    "}\n";

typedef struct Planted {
    const char *program, *fault;
    int line;
} Planted;

static const Planted planted[] = {
    { straight, "mul:dtype=f64", 5 }, /* in one dtype */
    { straight, "mul:dtype=bf16", 12 }, { straight, "mul:dtype=i32", 7 },
    { straight, "add:size=9", 8 }, /* at one size */
    { straight, "exp:from=32", 2 }, /* beyond a vector's end */
    { straight, "tanh:nan", 3 }, /* a nan that should be none */
    { straight, "reduce_sum", 4 }, { straight, "dot:from=7", 11 }, /* the last row of a product */
    { straight, "dynamic_slice", 13 }, { straight, "convert", 14 },
    { straight, "add:of=mul,size=37", 10 }, /* where two are compiled together */
    { loops, "sin:lane=3", 4 }, /* in one lane of a scan */
    { loops, "mul:step=7", 2 }, /* in one step */
    { loops, "cos", 14 }, /* in a while */
    { loops, "tanh", 25 }, /* in a branch */
};
enum { PLANTED = sizeof planted / sizeof *planted, ARGS = 6 };

static const char *device_name(void)
{
    const char *name = getenv("HEDDLE_TEST_DEVICE");
    return name && *name ? name : "kernel";
}

static hd_array *filled(enum hd_dtype dt, hd_ints shape)
{
    int64_t n = 1;
    for (int d = 0; d < shape.n; d++)
        n *= shape.v[d];
    char *p = calloc((size_t)n, 8);
    for (int64_t k = 0; k < n; k++)
        if (dtype_float((Dtype)dt))
            dtype_store_f(
                (Dtype)dt, p + (size_t)k * dtype_size((Dtype)dt), (double)(k * 37 % 64) / 32 - 0.9);
        else
            dtype_store_i((Dtype)dt, p + (size_t)k * dtype_size((Dtype)dt), k * 5 % 7);
    hd_array *a = hd_array_new(dt, shape, p, NULL);
    free(p);
    return a;
}

static int arguments(const char *program, hd_array **a)
{
    static const hd_ints of[2][ARGS] = { { { 1, { 37 } }, { 1, { 5 } }, { 1, { 9 } }, { 2, { 8, 37 } },
                                             { 1, { 40 } }, { 1, { 2 } } },
        { { 0, { 0 } }, { 2, { 5, 20 } }, { 3, { 5, 10, 20 } }, { 1, { 20 } }, { 1, { 20 } } } };
    static const enum hd_dtype dt[2][ARGS] = { { HD_F32, HD_F64, HD_I32, HD_F32, HD_BF16, HD_I32 },
        { HD_F32, HD_F32, HD_F32, HD_I32, HD_F32 } };
    int which = program == loops, n = which ? 5 : 6;
    for (int k = 0; k < n; k++)
        a[k] = filled(dt[which][k], of[which][k]);
    return n;
}

/* What comparing says of a program; in the entry's arena. */
static Compared compared(const char *program, bool shrink)
{
    hd_array *a[ARGS];
    int n = arguments(program, a);
    Device **d;
    Trial t;
    Compared m;
    ck_assert_msg(!compare_trial(hd_parse(program, "program"), a, n, &t), "%s", error_text());
    ck_assert_msg(compare_devices(device_name(), &d) == 1, "%s", error_text());
    Comparison *c = comparison_new(t, COMPARE_TOLERANCE);
    ck_assert_msg(c && !compare_on(c, d[0], &m) && !m.failed, "%s", error_text());
    ck_assert_msg(!compare_nodes(c, &m), "%s", error_text());
    if (shrink)
        ck_assert_msg(!compare_shrink(c, &m), "%s", error_text());
    for (int k = 0; k < n; k++)
        hd_drop(a[k]);
    return m;
}

START_TEST(faults_are_found)
{
    const Planted *p = &planted[_i];
    const Level *level;
    Entry e;
    setenv(
        "HEDDLE_WRONG", arena_text("%.*s:%s", (int)strcspn(device_name(), ":"), device_name(), p->fault), 1);
    ck_assert(!entry_begin(&e));
    Compared m = compared(p->program, true);
    ck_assert_msg(!m.agree, "%s is not found", p->fault);
    const Ins *i = compare_blamed(&m, &level);
    ck_assert_msg(i && i->loc.line == p->line, "%s is said to be at %s, not %d", p->fault,
        i ? compare_place(i) : "no line", p->line);
    ck_assert_msg(m.shrunk && compare_instructions(m.small.g) <= 5, "%s: %d instructions are left", p->fault,
        compare_instructions(m.small.g));
    ck_assert(m.small_gap.roundings > COMPARE_TOLERANCE || m.small_gap.nan);
    entry_end(&e);
    unsetenv("HEDDLE_WRONG");
}
END_TEST

START_TEST(nothing_is_found_where_nothing_is_wrong)
{
    Entry e;
    unsetenv("HEDDLE_WRONG");
    for (int k = 0; k < 2; k++) {
        ck_assert(!entry_begin(&e));
        Compared m = compared(k ? loops : straight, false);
        ck_assert_msg(m.agree, "output %d is %g roundings off", m.worst, m.out[m.worst].roundings);
        ck_assert_msg(!m.born, "%s", m.born ? compare_place(m.born->i) : "");
        entry_end(&e);
    }
}
END_TEST

START_TEST(faults_that_make_no_sense_are_errors)
{
    static const char *const bad[] = { "kernel", "kernel:", "kernel:walk", "kernel:mul:size",
        "kernel:mul:dtype=f31", "kernel:mul:lane=x", "kernel:mul:of=walk", "kernel:mul:all" };
    hd_difference d;
    hd_array *x = hd_array_lit(float, (3), 1, 2, 3);
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        setenv("HEDDLE_WRONG", bad[k], 1);
        hd_fn *f = hd_parse("fn f(x0: f32[3]) -> f32[3] {\n v1: f32[3] = mul x0 x0\n ret v1\n}", "f");
        ck_assert(!hd_compare_n(&d, "kernel", f, &x, 1));
        ck_assert_msg(
            !d.agree && isinf(d.roundings) && strstr(d.born, "HEDDLE_WRONG"), "%s: %s", bad[k], d.born);
    }
    unsetenv("HEDDLE_WRONG");
    hd_drop(x);
}
END_TEST

/* ==================== hd_compare */

static hd power(hd x, hd y) { return hd_mul(hd_sin(x), hd_exp(y)); }

START_TEST(applications_compare)
{
    hd_array *x = hd_array_lit(float, (3), 1, 2, 3), *y = hd_array_lit(float, (3), .5, .25, 4);
    hd_difference d;
    ck_assert_msg(!hd_compare(&d, "kernel", power, x, y), "%s", hd_error());
    ck_assert(d.agree && d.roundings < 16 && d.ulp < 16 && !d.nan_mismatches && !d.born[0]);
    setenv("HEDDLE_WRONG", "kernel:exp", 1);
    ck_assert_msg(!hd_compare(&d, "kernel, host", power, x, y), "%s", hd_error());
    unsetenv("HEDDLE_WRONG");
    ck_assert(!d.agree && d.ulp > 1000 && d.relative > 1e-3 && d.absolute > 1e-3 && d.output == 0);
    ck_assert_msg(strstr(d.born, "test_compare.c:") && strstr(d.born, "exp"), "%s", d.born);
    ck_assert_str_eq(d.device, "kernel");
    ck_assert_int_eq(hd_compare(&d, "nowhere", power, x, y), HD_EDEVICE);
    ck_assert_int_eq(hd_compare(&d, " ,", power, x, y), HD_EDEVICE);
    ck_assert_int_eq(hd_compare(NULL, "kernel", power, x, y), HD_EINVAL);
    hd_array *t = hd_array_abstract(HD_F32, 3);
    ck_assert_int_eq(hd_compare(&d, "kernel", power, x, t), HD_EINVAL);
    ck_assert_msg(strstr(hd_error(), "abstract"), "%s", hd_error());
    hd_drop(x), hd_drop(y), hd_drop(t);
}
END_TEST

/* ==================== HEDDLE_CHECK=nan */

static hd divided(hd x, hd y) { return hd_log(hd_div(x, y)); }
static hd turn(hd y, hd x) { return hd_tuple(hd_div(hd_add(y, hd_c(1)), x), y); }
static hd looped(hd x) { return hd_nth(hd_scan(turn, hd_c(0), x), 0); }

START_TEST(the_first_nan_is_named)
{
    hd_array *one = hd_array_lit(float, (3), 1, 1, 1), *x = hd_array_lit(float, (3), 1, 0, 2),
             *nan = hd_array_lit(float, (3), NAN, INFINITY, 2), *y = NULL,
             *rows = hd_array_lit(float, (2, 3), 1, 2, 3, 1, 2, 0);
    setenv("HEDDLE_CHECK", "nan", 1), setenv("HEDDLE_DEVICE", "host", 1);
    ck_assert_int_eq(hd_call(divided, &y, one, x), HD_EINVAL);
    ck_assert_msg(
        strstr(hd_error(), "div: element 1 of the result f32[3] is inf, made of finite operands") &&
            strstr(hd_error(), "test_compare.c:"),
        "%s", hd_error());
    ck_assert_int_eq(hd_call(divided, &y, x, one), HD_EINVAL);
    ck_assert_msg(strstr(hd_error(), "log: element 1 of the result f32[3] is -inf"), "%s", hd_error());
    ck_assert_msg(!hd_call(divided, &y, nan, one), "what comes in may be nan: %s", hd_error());
    hd_drop(y), y = NULL;
    ck_assert_int_eq(hd_call(hd_vmap(looped), &y, rows), HD_EINVAL);
    ck_assert_msg(strstr(hd_error(), "is inf, made of finite operands (lane 1, step 2)"), "%s", hd_error());
    hd_drop(one), hd_drop(x), hd_drop(nan), hd_drop(rows);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("compare");
    TCase *c = suite_case(s);
    tcase_add_loop_test(c, faults_are_found, 0, PLANTED);
    tcase_add_test(c, nothing_is_found_where_nothing_is_wrong);
    tcase_add_test(c, faults_that_make_no_sense_are_errors);
    tcase_add_test(c, applications_compare);
    tcase_add_test(c, the_first_nan_is_named);
    return suite_run(s);
}
