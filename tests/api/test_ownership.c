/*
 * test_ownership.c - arrays used after their end: dropped twice, donated, parts whose whole is gone, taken
 * over and dropped all the same. It is told with the lines where the array was made and where it ended,
 * hd_live() stays right, and with HEDDLE_CHECK=memory what was never dropped is listed by line.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heddle.h"
#include "suite_run.h"

static hd twice(hd x) { return hd_mul(x, hd_c(2)); }

static char wrote[4096];                        /* to stderr, by the program that ran last */

/* Runs a program of its own process to its end; false if it was killed or failed. */
static bool ran(void (*program)(void), const char *check)
{
    int p[2], status = 0;
    size_t n = 0;
    ck_assert(!pipe(p));
    pid_t child = fork();
    if (!child) {
        setenv("HEDDLE_CHECK", check, 1), setenv("HEDDLE_DEVICE", "host", 1);
        dup2(p[1], 2), close(p[0]), close(p[1]);
        program();
        exit(0);
    }
    close(p[1]);
    for (ssize_t k; (k = read(p[0], wrote + n, sizeof wrote - 1 - n)) > 0; )
        n += (size_t)k;
    wrote[n] = 0;
    close(p[0]);
    waitpid(child, &status, 0);
    return WIFEXITED(status) && !WEXITSTATUS(status);
}

static hd_array *made(void) { return hd_array_lit(float, (3), 1, 2, 3); }
enum { MADE_AT = __LINE__ - 1 };

/* Ends the program unless the error names this, where it was made, and the line of this file where it
 * ended. */
static void must_say(const char *what, int line)
{
    char at[64], from[64];
    snprintf(at, sizeof at, "test_ownership.c:%d", line),
        snprintf(from, sizeof from, "test_ownership.c:%d", MADE_AT);
    if (strstr(hd_error(), what) && strstr(hd_error(), at) && strstr(hd_error(), from))
        return;
    fprintf(stderr, "not %s, %s, %s: %s\n", what, at, from, hd_error());
    _exit(1);
}

static void must(bool yes, const char *what)
{
    if (!yes)
        fprintf(stderr, "%s: %s\n", what, hd_error()), _exit(1);
}

static void dropped_twice(void)
{
    hd_array *a = made(), *b = made();
    hd_drop(a);
    int line = __LINE__ - 1;
    hd_drop(a);
    must_say("hd_drop: the array", line);
    must(hd_live() == 1, "one is alive");
    hd_drop(b);
    must(hd_live() == 0, "none is alive");
}

static void used_after_drop(void)
{
    float v[3] = { 0 };
    hd_array *a = made(), *r = NULL;
    hd_drop(a);
    int line = __LINE__ - 1;
    must(hd_call(twice, &r, a) == HD_EINVAL && !r, "refused");
    must_say("hd_call: argument 0: ", line);
    must(hd_read(a, v, 3) && !hd_data(a) && !hd_array_size(a) && !hd_keep(a) && hd_print(stderr, a) &&
            hd_wait(a),
        "every other use");
    must(!hd_array_tuple(a) && hd_error()[0], "as a part");
    must(!hd_put(a, "host") && hd_error()[0] && hd_save("/tmp/none.npy", a), "elsewhere");
    must_say("hd_save: ", line);
    must(hd_live() == 0, "none is alive");
}

static void used_after_donation(void)
{
    hd_array *a = made(), *r = NULL, *q = NULL;
    hd_fn *f = hd_jit(twice, .donate = HD_INTS(0));
    must(!hd_call(f, &r, a), "donated");
    int line = __LINE__ - 1;
    must(hd_call(f, &q, a) != 0, "refused");
    must_say("donated to the call", line);
    hd_drop(r);
    must(hd_live() == 0, "none is alive");
}

static void part_of_what_is_gone(void)
{
    hd_array *d = hd_array_dict({ "w", made() }), *w = hd_array_get(d, "w"), *r = NULL;
    hd_drop(d);
    int line = __LINE__ - 1;
    must(hd_call(twice, &r, w) != 0, "refused");
    must_say("dropped with what held it", line);
    must(hd_live() == 0, "none is alive");
}

static void taken_over_and_dropped(void)
{
    hd_array *a = made(), *d = hd_array_dict({ "w", a }), *r = NULL;
    hd_drop(a);
    must_say("belongs to a dictionary", __LINE__ - 1);
    must(!hd_call(twice, &r, a), "the dictionary still has it");
    must(!hd_array_tuple(a), "it cannot be put elsewhere without hd_keep");
    must_say("belongs to a dictionary", __LINE__ - 1);
    must(hd_call(hd_jit(twice, .donate = HD_INTS(0)), &r, a) != 0, "nor donated");
    hd_array *both = hd_array_tuple(hd_keep(a), hd_keep(a));
    must(both && hd_live() == 4, "a, d, r and the tuple");
    hd_drop(d), hd_drop(both), hd_drop(r);
    must(hd_live() == 0, "none is alive");
    hd_array *b = made();
    must(!hd_array_tuple(b, b), "one reference twice");
    must(hd_live() == 0, "what was taken over is gone with it");
}

/* What hd_data gave is as dead as its array; with the variable it reads as nan. */
static void view_after_drop(void)
{
    hd_array *a = made();
    const volatile float *p = hd_data(a);
    hd_drop(a);
    must(p[0] != p[0] && p[2] != p[2], "nan");
}

/* A pointer that never was an array is told too, as long as it can be read. */
static void never_an_array(void)
{
    static _Alignas(16) char zeros[1024];
    hd_array *a = (hd_array *)zeros, *r = NULL;
    must(hd_call(twice, &r, a) != 0 && strstr(hd_error(), "no array"), "refused");
    hd_drop(a);
    must(hd_live() == 0, "none is alive");
}

static void (*const mistakes[])(void) = { dropped_twice, used_after_drop, used_after_donation,
    part_of_what_is_gone, taken_over_and_dropped, never_an_array };
enum { MISTAKES = sizeof mistakes / sizeof *mistakes };

START_TEST(told)
{
    ck_assert_msg(ran(mistakes[_i], ""), "%s", wrote);
    ck_assert_str_eq(wrote, "");                /* nothing is printed where nobody asked */
}
END_TEST

START_TEST(told_and_written)
{
    ck_assert_msg(ran(mistakes[_i], "memory"), "%s", wrote);
    ck_assert_msg(strstr(wrote, "heddle: ") && !strstr(wrote, "never dropped"), "%s", wrote);
}
END_TEST

/* ---- with the variable nothing is forgotten, however many arrays come after */
static void long_ago(void)
{
    hd_array *a = made();
    hd_drop(a);
    int line = __LINE__ - 1;
    for (int i = 0; i < 5000; i++)
        hd_drop(made());
    hd_drop(a);
    must_say("hd_drop: ", line);
}

START_TEST(never_forgotten)
{
    ck_assert_msg(ran(long_ago, "memory"), "%s", wrote);
    ck_assert_msg(ran(view_after_drop, "memory"), "%s", wrote);
}
END_TEST

static void leaks(void)
{
    hd_array *r = NULL, *keep[3], *scalar = hd_array_scalar(HD_I32, 1);
    for (int i = 0; i < 3; i++)
        keep[i] = made();
    must(!hd_call(twice, &r, keep[0]), "called");
    hd_array *d = hd_array_dict({ "a", scalar }, { "b", keep[1] });
    must(d != NULL, "made");
}
enum { CALL_AT = __LINE__ - 4, DICT_AT = __LINE__ - 3 };

START_TEST(listed)
{
    char want[512];
    ck_assert_msg(ran(leaks, "memory"), "%s", wrote);
    ck_assert_msg(strstr(wrote, "heddle: 4 arrays were never dropped:") != NULL, "%s", wrote);
    snprintf(want, sizeof want, "2 made at %s:%d, f32[3]", __FILE__, MADE_AT);
    ck_assert_msg(strstr(wrote, want) != NULL, "%s: %s", want, wrote);
    snprintf(want, sizeof want, "1 made at %s:%d, f32[3]", __FILE__, CALL_AT);
    ck_assert_msg(strstr(wrote, want) != NULL, "%s: %s", want, wrote);
    snprintf(want, sizeof want, "1 made at %s:%d, a dictionary of 2", __FILE__, DICT_AT);
    ck_assert_msg(strstr(wrote, want) != NULL, "%s: %s", want, wrote);
    ck_assert_msg(ran(leaks, ""), "%s", wrote);
    ck_assert_str_eq(wrote, "");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ownership");
    TCase *c = tcase_create("mistakes");
    tcase_set_timeout(c, 60);
    tcase_add_loop_test(c, told, 0, MISTAKES);
    tcase_add_loop_test(c, told_and_written, 0, MISTAKES);
    tcase_add_test(c, never_forgotten);
    tcase_add_test(c, listed);
    suite_add_tcase(s, c);
    return suite_run(s);
}
