/*
 * test_effects.c - what is seen from inside a running program, on every device: hd_check straight, in loops and branches, for
 * lanes, named too, under derivatives and checkpoints; lanes that are off; which of several failures is told.
 */
#include <stdlib.h>

#include "suite.h"

enum { N = 4 };

/* ==================== hd_check */

/* Where checks are, by their messages: functions are traced once. */
static struct { const char *message; int line; } known[16];
static int nknown;
static void know(const char *message, int line)
{
    for (int k = 0; k < nknown; k++)
        if (!strcmp(known[k].message, message))
            return;
    ck_assert_int_lt(nknown, 16);
    known[nknown].message = message, known[nknown++].line = line;
}
static int line_of(const char *error)
{
    for (int k = 0; k < nknown; k++)
        if (!strncmp(known[k].message, error, strlen(known[k].message)))
            return known[k].line;
    return 0;
}
#define CHECK(condition, message) (know(message, __LINE__), hd_check(condition, message))

/* The call fails on every device, and the error ends in these words, at the line of the check; NULL: it does not fail. */
static void fails(hd_fn *f, hd_array *x, const char *end)
{
    for (int d = 0; d < DEVICES; d++) {
        char line[64], *at;
        hd_array *y = NULL;
        if (!there(devices[d]))
            continue;
        int e = hd_call(hd_jit(f, .device = devices[d]), &y, x);
        if (!end) {
            ck_assert_msg(!e, "%s: %s", devices[d], hd_error());
            hd_drop(y);
            continue;
        }
        snprintf(line, sizeof line, "test_effects.c:%d: hd_check: ", line_of(end));
        ck_assert_msg(e == HD_ECHECK && !y, "%s: %d %s, not: %s", devices[d], e, hd_error(), end);
        at = strstr(hd_error(), line);
        ck_assert_msg(at && !strcmp(at + strlen(line), end), "%s: %s, not: %s%s", devices[d], hd_error(), line, end);
    }
}

static hd_array *numbers(float a, float b, float c, float d)
{
    float v[N] = { a, b, c, d };
    return hd_array_of(v, N);
}

/* f fails for v as told, and does not for {1, 2, 3, 4}. */
static void both(hd_fn *f, const float *v, const char *end)
{
    hd_array *x = hd_array_of(v, N), *good = numbers(1, 2, 3, 4);
    fails(f, x, end), fails(f, good, NULL), fails(f, x, end);
    hd_drop(x), hd_drop(good);
}

static const float bad[N] = { 1, 2, -3, -4 };

static hd positive(hd x)
{
    CHECK(hd_gt(x, hd_c(0)), "x is positive");
    return hd_log(x);
}
static hd all_of(hd x)
{
    CHECK(hd_all(hd_gt(x, hd_c(0))), "all are positive");
    return hd_log(x);
}
static hd add_up(hd c, hd x) { return hd_tuple(hd_add(c, positive(x)), hd_c(0)); }
static hd scanned(hd x) { return hd_nth(hd_scan(add_up, hd_c(0), x), 0); }
static hd backwards(hd x) { return hd_nth(hd_scan(add_up, hd_c(0), x, .reverse = true), 0); }

START_TEST(straight)
{
    both(HD_FN(all_of), bad, "all are positive");
    both(hd_vmap(positive), bad, "x is positive (lane 2)");
    both(hd_vmap(positive, .axis_name = "batch"), bad, "x is positive (batch 2)");
}
END_TEST

static hd doubles(hd x)
{
    CHECK(hd_lt(x, hd_c(5)), "below 5");
    return hd_mul_c(x, 2);
}
static hd below(hd x) { return hd_lt(x, hd_c(9)); }
static hd grows(hd x) { return hd_while(below, doubles, x); }
static hd grows_all(hd x) { return hd_sum(hd_apply(hd_vmap(grows, .axis_name = "i"), x)); }
static hd bounded(hd x) { return hd_while(below, doubles, x, .max_trips = 20); }

START_TEST(loops)
{
    both(HD_FN(scanned), bad, "x is positive (step 2)");
    both(HD_FN(backwards), bad, "x is positive (step 3)");
    const float v[N] = { 10, 7, 9, 4.5f };      /* lane 1 fails in step 0, lane 3 in step 1 */
    hd_array *x = hd_array_of(v, N), *one = hd_array_scalar(HD_F32, 1.5), *ok = hd_array_scalar(HD_F32, 11);
    fails(HD_FN(grows_all), x, "below 5 (i 1, step 0)");
    fails(HD_FN(grows), one, "below 5 (step 2)");
    fails(HD_FN(bounded), one, "below 5 (step 2)");
    fails(hd_grad(bounded), one, "below 5 (step 2)");
    fails(HD_FN(grows), ok, NULL);
    hd_drop(x), hd_drop(one), hd_drop(ok);
}
END_TEST

/* A branch that is not taken, and a lane that is done, check nothing. */
static hd nothing(hd x) { return hd_mul_c(x, 0); }
static hd chosen(hd x) { return hd_cond(hd_gt(x, hd_c(-3.5)), positive, nothing, x); }
static hd chosen_all(hd x) { return hd_sum(hd_apply(hd_vmap(chosen), x)); }
static hd step_of(hd c, hd x) { return hd_tuple(hd_add(c, chosen(x)), hd_c(0)); }
static hd in_scan(hd x) { return hd_nth(hd_scan(step_of, hd_c(0), x), 0); }

/* Steps of a scan, in each a while a lane. */
static hd nest(hd c, hd x) { return hd_tuple(hd_add(c, hd_apply(hd_vmap(grows, .axis_name = "i"), hd_mul(x, c))), hd_c(0)); }
static hd nested(hd x) { return hd_nth(hd_scan(nest, hd_ones(HD_F32, 3), x), 0); }

START_TEST(branches)
{
    both(HD_FN(chosen_all), bad, "x is positive (lane 2)");
    both(HD_FN(in_scan), bad, "x is positive (step 2)");
    const float off[N] = { 1, 2, -4, -4 };
    hd_array *x = hd_array_of(off, N);
    fails(HD_FN(chosen_all), x, NULL), fails(HD_FN(in_scan), x, NULL);
    hd_drop(x);
    const float v[N] = { 9, 1, .3f, 4 };         /* c: 1, 10, 20 */
    x = hd_array_of(v, N);
    fails(HD_FN(nested), x, "below 5 (i 0, step 2, step 0)");
    hd_drop(x);
}
END_TEST

/* ---- under derivatives: once, in the forward run */

static hd sum_of(hd x) { return hd_sum(hd_apply(hd_vmap(positive), x)); }
static hd kept(hd x) { return hd_sum(hd_apply(hd_checkpoint(sum_of), x)); }
static hd scan_kept(hd c, hd x) { return hd_tuple(hd_mul(c, hd_apply(hd_checkpoint(positive), x)), hd_c(0)); }
static hd chain(hd x) { return hd_nth(hd_scan(scan_kept, hd_c(1), x), 0); }
static hd with_x(hd x, void *f) { return hd_nth(hd_apply(*(hd_fn **)f, x, x), 0); }
static hd jitted(hd x) { return hd_apply(hd_jit(hd_jit(all_of)), x); }

START_TEST(derivatives)
{
    hd_fn *j = hd_jvp(sum_of), *s = hd_jvp(scanned);
    both(hd_grad(sum_of), bad, "x is positive (lane 2)");
    both(hd_grad(scanned), bad, "x is positive (step 2)");
    both(hd_value_and_grad(scanned), bad, "x is positive (step 2)");
    both(hd_grad(chosen_all), bad, "x is positive (lane 2)");
    both(hd_bind(with_x, j), bad, "x is positive (lane 2)");
    both(hd_bind(with_x, s), bad, "x is positive (step 2)");
    both(hd_grad(kept), bad, "x is positive (lane 2)");
    both(hd_grad(chain), bad, "x is positive (step 2)");
    both(hd_jacfwd(scanned), bad, "x is positive (step 2)");
    both(hd_jacrev(scanned), bad, "x is positive (step 2)");
    both(hd_hessian(scanned), bad, "x is positive (step 2)");
    both(HD_FN(jitted), bad, "all are positive");
}
END_TEST

/* ---- lanes that meet are batched at once, under a mask */

static hd meets(hd x) { return hd_sub(positive(hd_add(x, hd_c(9))), hd_psum(x, "i")); }
static hd other(hd x) { return hd_psum(positive(x), "i"); }
static hd agreed(hd x) { return hd_cond(hd_gt(hd_psum(x, "i"), hd_c(0)), other, meets, x); }
static hd inner(hd x) { return hd_add(chosen(x), hd_psum(x, "i")); }

START_TEST(collectives)
{
    both(hd_vmap(agreed, .axis_name = "i"), (const float[]){ 8, 2, -3, -4 }, "x is positive (i 2)");
    both(hd_vmap(inner, .axis_name = "i"), bad, "x is positive (i 2)");
    hd_array *x = numbers(1, 2, -4, -4);
    fails(hd_vmap(agreed, .axis_name = "i"), x, NULL), fails(hd_vmap(inner, .axis_name = "i"), x, NULL);
    hd_drop(x);
}
END_TEST

/* ---- which one */

static hd two(hd x)
{
    hd_check(hd_lt(hd_sum(x), hd_c(100)), "never");
    CHECK(hd_gt(hd_at(x, 1), hd_c(0)), "the first");
    hd_check(hd_gt(hd_at(x, 0), hd_c(0)), "the second");
    return hd_sum(x);
}
static hd alone(hd x)                           /* nothing needs what it checks */
{
    CHECK(hd_gt(hd_sum(hd_sin(x)), hd_c(0)), "alone");
    return hd_c(1);
}
static hd empty(hd c, hd x) { return positive(x), hd_tuple(c, hd_tuple_n(NULL, 0)); }
static hd for_checks(hd x) { return hd_scan(empty, hd_tuple_n(NULL, 0), x), hd_c(1); }
static hd true_it_is(hd x)
{
    hd_check(hd_c(1), "true");
    return x;
}

START_TEST(several)
{
    both(HD_FN(two), (const float[]){ -1, -1, 1, 1 }, "the first");
    both(HD_FN(alone), (const float[]){ -1, -1, -1, -1 }, "alone");
    both(HD_FN(for_checks), bad, "x is positive (step 2)");
    hd_array *x = numbers(1, 2, 3, 4);
    fails(HD_FN(true_it_is), x, NULL);
    hd_drop(x);
}
END_TEST

/* ---- a condition of a while is asked once a step */

static hd asks(hd x)
{
    CHECK(hd_lt(x, hd_c(8)), "asked below 8");
    return hd_lt(x, hd_c(9));
}
static hd twice(hd x) { return hd_mul_c(x, 2); }
static hd asking(hd x) { return hd_while(asks, twice, x); }

START_TEST(conditions)
{
    hd_array *x = numbers(1, 2, 3, .5), *one = hd_array_scalar(HD_F32, 1), *far = hd_array_scalar(HD_F32, 8.5);
    fails(hd_vmap(asking), x, "asked below 8 (lane 1, step 1)");
    fails(HD_FN(asking), one, "asked below 8 (step 2)");
    fails(HD_FN(asking), far, "asked below 8");
    hd_drop(x), hd_drop(one), hd_drop(far);
}
END_TEST

/* ---- text, errors */

START_TEST(text)
{
    char *s = NULL;
    size_t n = 0;
    hd_array *x = hd_array_of(bad, N), *y = NULL;
    FILE *f = open_memstream(&s, &n);
    ck_assert_int_eq(hd_print_graph(f, hd_vmap(chosen, .axis_name = "i"), x), 0);
    fclose(f);
    ck_assert_ptr_nonnull(strstr(s, "check"));
    hd_fn *g = hd_parse(s, "text");
    ck_assert_msg(g != NULL, "%s", hd_error());
    ck_assert_int_eq(hd_call(g, &y, x), HD_ECHECK);
    ck_assert_ptr_nonnull(strstr(hd_error(), "x is positive (i 2)"));
    free(s), hd_drop(x);
    const char *wrong = "fn f(x0: f32[]) -> f32[] { v1: f32[] = region while x0 cap=0 acc=0 carry=1 {\n"
        "fn c(x0: f32[]) -> bool[] { v1: bool[] = lt x0 x0 v2: bool[] = check v1 name=\"m\" names=() ret v2 }\n"
        "fn s(x0: f32[]) -> f32[] { ret x0 } } ret v1 }";
    ck_assert_ptr_null(hd_parse(wrong, "wrong"));
    ck_assert_msg(strstr(hd_error(), "condition has an effect") != NULL, "%s", hd_error());
}
END_TEST

static hd shaped(hd x)
{
    hd_check(hd_gt(x, hd_c(0)), "m");
    return x;
}
static hd unsaid(hd x)
{
    hd_check(hd_gt(hd_sum(x), hd_c(0)), NULL);
    return x;
}

START_TEST(errors)
{
    hd_array *x = numbers(1, 2, 3, 4), *y = NULL;
    ck_assert(hd_call(shaped, &y, x) == HD_ESHAPE && strstr(hd_error(), "bool[4]") && strstr(hd_error(), "hd_all"));
    ck_assert(hd_call(unsaid, &y, x) == HD_EINVAL && strstr(hd_error(), "message"));
    hd_drop(x);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("effects");
    TCase *c = suite_case(s);
    tcase_add_test(c, straight);
    tcase_add_test(c, loops);
    tcase_add_test(c, branches);
    tcase_add_test(c, derivatives);
    tcase_add_test(c, collectives);
    tcase_add_test(c, several);
    tcase_add_test(c, conditions);
    tcase_add_test(c, text);
    tcase_add_test(c, errors);
    return suite_run(s);
}
