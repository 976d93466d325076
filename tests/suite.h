/*
 * suite.h - what Check suites over the public interface share: the devices to try, nothing left alive, a
 * main.
 */
#ifndef HEDDLE_TESTS_SUITE_H
#define HEDDLE_TESTS_SUITE_H

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "heddle.h"
#include "suite_run.h"

static const char *const devices[] = { "host", "opencl:0", "vulkan:0" };
enum { DEVICES = sizeof devices / sizeof *devices };

/* Is there a device of this name? */
static inline bool there(const char *device)
{
    hd_device_info d;
    for (int i = 0; i < hd_device_count(); i++)
        if (!hd_device(i, &d) && !strcmp(d.name, device))
            return true;
    return false;
}

/* The same list where a program is several processes: host number k is there the host of rank k, or of k
 * less their number. So a suite runs unchanged in one process with four devices and in four with one. */
static inline const char *hosts(const char *list)
{
    static char text[8][200];
    static int turn;
    int ranks = hd_ranks();
    char *to = text[turn++ & 7];
    size_t n = 0;
    if (ranks < 2)
        return list;
    for (const char *s = list; *s; s += *s == ',') {
        s += strspn(s, " ");
        n += (size_t)snprintf(
            to + n, sizeof text[0] - n, "%s%d/host", n ? "," : "", s[4] == ':' ? atoi(s + 5) % ranks : 0);
        s += strcspn(s, ",");
    }
    return to;
}

/* Threads of this process, and two more. */
static inline int threads_now(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/task");
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

/* The system takes a joined thread off its list a moment later. */
static inline void no_more_threads(int before, const char *spec)
{
    for (int k = 0; k < 10000 && threads_now() > before; k++)
        usleep(1000);
    ck_assert_msg(
        threads_now() <= before, "%s: %d threads are left, there were %d", spec, threads_now(), before);
}

static void setup(void) { ck_assert_int_eq(hd_live(), 0); }
static void teardown(void)
{
    ck_assert_msg(hd_live() == 0, "%lld arrays are left alive: %s", (long long)hd_live(), hd_error());
}

/* One case, whose tests begin and end with no array alive. */
static inline TCase *suite_case(Suite *s)
{
    TCase *c = tcase_create("all");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 600);
    suite_add_tcase(s, c);
    return c;
}

#endif
