/*
 * test_effects.c - what is seen from inside a running program, on every device: hd_check and hd_debug_print
 * straight, in loops and branches, for lanes, named too, under derivatives and checkpoints; lanes that are
 * off; order; which of several failures is told.
 */
#include <pthread.h>
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

/* The call fails on every device, and the error ends in these words, at the line of the check; NULL: it does
 * not fail. */
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
        ck_assert_msg(
            at && !strcmp(at + strlen(line), end), "%s: %s, not: %s%s", devices[d], hd_error(), line, end);
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
static hd nest(hd c, hd x)
{
    return hd_tuple(hd_add(c, hd_apply(hd_vmap(grows, .axis_name = "i"), hd_mul(x, c))), hd_c(0));
}
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
static hd scan_kept(hd c, hd x)
{
    return hd_tuple(hd_mul(c, hd_apply(hd_checkpoint(positive), x)), hd_c(0));
}
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
    hd_array *x = numbers(1, 2, 3, .5), *one = hd_array_scalar(HD_F32, 1),
             *far = hd_array_scalar(HD_F32, 8.5);
    fails(hd_vmap(asking), x, "asked below 8 (lane 1, step 1)");
    fails(HD_FN(asking), one, "asked below 8 (step 2)");
    fails(HD_FN(asking), far, "asked below 8");
    hd_drop(x), hd_drop(one), hd_drop(far);
}
END_TEST

/* ==================== hd_debug_print */

static char said[1 << 17];
static size_t nsaid;
static void say(const char *line, void *user)
{
    (void)user;
    size_t n = strlen(line);
    ck_assert_uint_lt(nsaid + n + 2, sizeof said);
    memcpy(said + nsaid, line, n);
    said[nsaid + n] = '\n', said[nsaid += n + 1] = 0;
}

/* What f prints of x, on every device. */
static void prints(hd_fn *f, hd_array *x, const char *want)
{
    hd_debug_print_to(say, NULL);
    for (int d = 0; d < DEVICES; d++)
        for (int again = 0; again < 2 && there(devices[d]); again++) {
            hd_array *y = NULL;
            said[nsaid = 0] = 0;
            ck_assert_msg(
                hd_call(hd_jit(f, .device = devices[d]), &y, x) == 0, "%s: %s", devices[d], hd_error());
            ck_assert_msg(!strcmp(said, want), "%s:\n%swanted:\n%s", devices[d], said, want);
            hd_drop(y);
        }
    hd_debug_print_to(NULL, NULL);
}

static void prints_of(hd_fn *f, const float *v, const char *want)
{
    hd_array *x = hd_array_of(v, N);
    prints(f, x, want);
    hd_drop(x);
}

static const float four[N] = { 1, 2, 3, 4 };

static hd shows(hd x)
{
    hd_debug_print("x = {}", x);
    return hd_square(x);
}
static hd talks(hd x)
{
    hd_debug_print("begins");
    hd y = shows(hd_sum(x));
    hd_debug_print("{{{}}} {} {}", hd_gt(y, hd_c(1)), hd_c(2), hd_cast(hd_at(x, 3), HD_I32));
    hd_debug_print("all: {}", hd_reshape(x, 2, 2));
    return hd_c(1);
}
static hd shows_scan(hd c, hd x) { return hd_tuple(hd_add(c, shows(x)), hd_c(0)); }
static hd in_steps(hd x) { return hd_nth(hd_scan(shows_scan, hd_c(0), x), 0); }
static hd in_steps_back(hd x) { return hd_nth(hd_scan(shows_scan, hd_c(0), x, .reverse = true), 0); }

START_TEST(print_straight)
{
    prints_of(HD_FN(talks), four, "begins\nx = 10.0\n{True} 2.0 4\nall: [[1. 2.]\n      [3. 4.]]\n");
    prints_of(
        hd_vmap(shows), four, "[lane 0] x = 1.0\n[lane 1] x = 2.0\n[lane 2] x = 3.0\n[lane 3] x = 4.0\n");
    prints_of(hd_vmap(shows, .axis_name = "b"), four,
        "[b 0] x = 1.0\n[b 1] x = 2.0\n[b 2] x = 3.0\n[b 3] x = 4.0\n");
}
END_TEST

static hd doubled(hd x)
{
    hd_debug_print("doubles {}", x);
    return hd_mul_c(x, 2);
}
static hd until_9(hd x) { return hd_while(below, doubled, x); }
static hd all_until_9(hd x) { return hd_sum(hd_apply(hd_vmap(until_9, .axis_name = "i"), x)); }

static const char forwards[] = "[step 0] x = 1.0\n[step 1] x = 2.0\n[step 2] x = 3.0\n[step 3] x = 4.0\n";

START_TEST(print_loops)
{
    prints_of(HD_FN(in_steps), four, forwards);
    prints_of(HD_FN(in_steps_back), four,
        "[step 3] x = 4.0\n[step 2] x = 3.0\n[step 1] x = 2.0\n[step 0] x = 1.0\n");
    prints_of(HD_FN(all_until_9), (const float[]){ 4, 9, 1, 5 },
        "[i 0, step 0] doubles 4.0\n[i 2, step 0] doubles 1.0\n[i 3, step 0] doubles 5.0\n[i 0, step 1] "
        "doubles 8.0\n"
        "[i 2, step 1] doubles 2.0\n[i 2, step 2] doubles 4.0\n[i 2, step 3] doubles 8.0\n");
}
END_TEST

static hd yes(hd x)
{
    hd_debug_print("yes {}", x);
    return x;
}
static hd no(hd x)
{
    hd_debug_print("no {}", x);
    return hd_neg(x);
}
static hd either(hd x) { return hd_cond(hd_gt(x, hd_c(2.5)), yes, no, x); }
static hd either_all(hd x) { return hd_sum(hd_apply(hd_vmap(either), x)); }
static hd either_step(hd c, hd x)
{
    hd_debug_print("before");
    c = hd_add(c, hd_sum(hd_apply(hd_vmap(either, .axis_name = "j"), hd_stack(0, x, hd_mul_c(x, 2)))));
    hd_debug_print("c = {}", c);
    return hd_tuple(c, c);
}
static hd either_scan(hd x) { return hd_nth(hd_scan(either_step, hd_c(0), hd_slice_axis(x, 0, 0, 2)), 0); }

START_TEST(print_branches)
{
    prints_of(
        HD_FN(either_all), four, "[lane 0] no 1.0\n[lane 1] no 2.0\n[lane 2] yes 3.0\n[lane 3] yes 4.0\n");
    prints_of(HD_FN(either_scan), four,
        "[step 0] before\n[j 0, step 0] no 1.0\n[j 1, step 0] no 2.0\n[step 0] c = -3.0\n"
        "[step 1] before\n[j 0, step 1] no 2.0\n[j 1, step 1] yes 4.0\n[step 1] c = -1.0\n");
    prints_of(hd_vmap(either, .axis_name = "k"), (const float[]){ 9, 1, 9, 1 },
        "[k 1] no 1.0\n[k 3] no 1.0\n[k 0] yes 9.0\n[k 2] yes 9.0\n");
}
END_TEST

/* ---- under derivatives: the primal, once; in checkpoints not again */

static hd kept_step(hd c, hd x) { return hd_tuple(hd_add(c, hd_apply(hd_checkpoint(shows), x)), hd_c(0)); }
static hd kept_steps(hd x) { return hd_nth(hd_scan(kept_step, hd_c(0), x), 0); }
static hd segments(hd x) { return hd_nth(hd_scan(shows_scan, hd_c(0), x, .segments = 2), 0); }
static hd shows_sum(hd x) { return shows(hd_sum(x)); }

START_TEST(print_derivatives)
{
    hd_fn *j = hd_jvp(in_steps);
    prints_of(hd_grad(in_steps), four, forwards);
    prints_of(hd_value_and_grad(in_steps), four, forwards);
    prints_of(hd_bind(with_x, j), four, forwards);
    prints_of(hd_grad(kept_steps), four, forwards);
    prints_of(hd_jacfwd(in_steps), four, forwards);
    prints_of(hd_jacrev(in_steps), four, forwards);
    prints_of(hd_hessian(in_steps), four, forwards);
    prints_of(hd_grad(shows_sum), four, "x = 10.0\n");
    prints_of(hd_hessian(shows_sum), four, "x = 10.0\n");
    prints_of(
        hd_grad(either_all), four, "[lane 0] no 1.0\n[lane 1] no 2.0\n[lane 2] yes 3.0\n[lane 3] yes 4.0\n");
    prints_of(hd_grad(segments), four,
        "[step 0, step 0] x = 1.0\n[step 0, step 1] x = 2.0\n[step 1, step 0] x = 3.0\n[step 1, step 1] x = "
        "4.0\n");
}
END_TEST

/* ---- a ring */

static hd counts(hd x)
{
    hd_debug_print("{}", x);
    return hd_add_c(x, 1);
}
static hd ends(hd end, hd x) { return hd_lt(x, end); }
static hd count_to(hd x) { return hd_while(hd_partial(ends, hd_at(x, 1)), counts, hd_at(x, 0)); }

START_TEST(print_ring)
{
    char *want = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&want, &n);
    fprintf(f, "[step 376] 376 earlier records of this print are left out: it keeps 1024\n");
    for (int k = 376; k < 1400; k++)
        fprintf(f, "[step %d] %d.0\n", k, k);
    fclose(f);
    prints_of(HD_FN(count_to), (const float[]){ 0, 1400, 0, 0 }, want);
    prints_of(HD_FN(count_to), (const float[]){ 3, 3, 0, 0 }, "");
    free(want);
}
END_TEST

/* ---- calls of one function in several threads at once */

static _Thread_local char mine[1 << 12];
static void say_mine(const char *line, void *user)
{
    (void)user;
    strcat(strcat(mine, line), "\n");
}

static void *calls(void *at)
{
    char want[256];
    float k = *(float *)at, v[N] = { k, k + 1, k + 2, k + 3 };
    hd_array *x = hd_array_of(v, N), *y = NULL;
    snprintf(want, sizeof want,
        "[step 0] x = %g.0\n[step 1] x = %g.0\n[step 2] x = %g.0\n[step 3] x = %g.0\n", (double)k,
        (double)k + 1, (double)k + 2, (double)k + 3);
    for (int n = 0; n < 20; n++) {
        mine[0] = 0;
        int e = hd_call(in_steps, &y, x);
        hd_drop(y), y = NULL;
        if (e || strcmp(mine, want))
            return "another thread's lines";
    }
    hd_drop(x);
    return NULL;
}

START_TEST(threads)
{
    pthread_t t[4];
    float at[4] = { 0, 10, 20, 30 };
    void *wrong;
    hd_debug_print_to(say_mine, NULL);
    for (int k = 0; k < 4; k++)
        ck_assert_int_eq(pthread_create(&t[k], NULL, calls, &at[k]), 0);
    for (int k = 0; k < 4; k++)
        ck_assert(!pthread_join(t[k], &wrong) && !wrong);
    hd_debug_print_to(NULL, NULL);
}
END_TEST

/* ---- a print is there though nothing needs it, each by itself though alike; a call that fails has printed
 * before */

static hd alike(hd x)
{
    hd_debug_print("same {}", hd_sum(x));
    hd_debug_print("same {}", hd_sum(x));
    return hd_c(0);
}
static hd shows_and_fails(hd x)
{
    shows_sum(x);
    CHECK(hd_lt(hd_sum(x), hd_c(1)), "small");
    return x;
}

START_TEST(print_kept)
{
    hd_array *x = numbers(1, 2, 3, 4), *y = NULL;
    prints_of(HD_FN(alike), four, "same 10.0\nsame 10.0\n");
    said[nsaid = 0] = 0;
    hd_debug_print_to(say, NULL);
    ck_assert_int_eq(hd_call(shows_and_fails, &y, x), HD_ECHECK);
    hd_debug_print_to(NULL, NULL);
    ck_assert_str_eq(said, "x = 10.0\n");
    hd_drop(x);
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
                        "fn c(x0: f32[]) -> bool[] { v1: bool[] = lt x0 x0 v2: bool[] = check v1 name=\"m\" "
                        "names=() ret v2 }\n"
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

static hd no_brace(hd x)
{
    hd_debug_print("{", x);
    return x;
}
static hd too_few(hd x)
{
    hd_debug_print("{} {}", x);
    return x;
}

START_TEST(errors)
{
    hd_array *x = numbers(1, 2, 3, 4), *y = NULL;
    ck_assert(hd_call(shaped, &y, x) == HD_ESHAPE && strstr(hd_error(), "bool[4]") &&
        strstr(hd_error(), "hd_all"));
    ck_assert(hd_call(unsaid, &y, x) == HD_EINVAL && strstr(hd_error(), "message"));
    ck_assert(hd_call(no_brace, &y, x) == HD_EINVAL && strstr(hd_error(), "{{"));
    ck_assert(hd_call(too_few, &y, x) == HD_EINVAL && strstr(hd_error(), "wants 2 values, and 1"));
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
    tcase_add_test(c, print_straight);
    tcase_add_test(c, print_loops);
    tcase_add_test(c, print_branches);
    tcase_add_test(c, print_derivatives);
    tcase_add_test(c, print_ring);
    tcase_add_test(c, threads);
    tcase_add_test(c, print_kept);
    tcase_add_test(c, text);
    tcase_add_test(c, errors);
    return suite_run(s);
}
