/*
 * test_progress.c - word of what takes long: nobody is told in the first second; then a function of the
 * program's, or a line on a terminal, and nothing in a pipe.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "progress.h"
#include "suite.h"

static int calls, done, all;

static void told(int d, int a, void *user)
{
    ck_assert_ptr_eq(user, &calls);
    calls++, done = d, all = a;
}

static void wait_of_three(bool fails)
{
    Progress p = { 0 };
    progress(&p, 0, 3);
    progress(&p, 1, 3); /* at once: nothing yet */
    int before = calls;
    usleep(1100000);
    progress(&p, 1, 3);
    progress(&p, 1, 3); /* no change: not again */
    ck_assert_int_le(calls, before + 1);
    progress(&p, 2, 3);
    progress_end(&p, fails);
}

START_TEST(function)
{
    hd_on_progress(told, &calls);
    wait_of_three(false);
    ck_assert(calls == 3 && done == 3 && all == 3);
    wait_of_three(true);
    ck_assert(calls == 5 && done == 2);
    Progress quick = { 0 };
    progress(&quick, 1, 2), progress_end(&quick, false);
    ck_assert_int_eq(calls, 5);
}
END_TEST

/* What is written to stderr, where that is this file. */
static size_t written(int to, int from, char *text, size_t n)
{
    int saved = dup(STDERR_FILENO);
    ck_assert(dup2(to, STDERR_FILENO) >= 0);
    wait_of_three(false);
    dup2(saved, STDERR_FILENO), close(saved);
    fcntl(from, F_SETFL, O_NONBLOCK);
    ssize_t k = read(from, text, n - 1);
    text[k > 0 ? k : 0] = 0;
    return k > 0 ? (size_t)k : 0;
}

START_TEST(pipe_is_silent)
{
    char text[500];
    int end[2];
    ck_assert(!pipe(end));
    ck_assert_uint_eq(written(end[1], end[0], text, sizeof text), 0);
}
END_TEST

START_TEST(terminal)
{
    char text[500];
    int ours = posix_openpt(O_RDWR | O_NOCTTY);
    if (ours < 0 || grantpt(ours) || unlockpt(ours))
        return; /* there are no terminals here */
    int theirs = open(ptsname(ours), O_RDWR | O_NOCTTY);
    ck_assert(theirs >= 0);
    ck_assert_uint_gt(written(theirs, ours, text, sizeof text), 0);
    ck_assert_msg(strstr(text, "compiling 2 of 3 kernels") && strstr(text, "\033[K"), "%s", text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("progress");
    TCase *t = suite_case(suite);
    tcase_add_test(t, function);
    tcase_add_test(t, pipe_is_silent);
    tcase_add_test(t, terminal);
    return suite_run(suite);
}
