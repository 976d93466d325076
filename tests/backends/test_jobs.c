/*
 * test_jobs.c - compilers in processes of their own: what they compile, and what becomes of jobs when a
 * program is missing, useless or killed, and of compilers when their process ends.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend.h"
#include "jobs.h"
#include "opencl.h"
#include "suite_run.h"

static const char good[] = "__kernel void f(__global float *x) { x[0] = 1; }";
static const OclDevice *device;
static char mark[64];

/* Processes that have our mark in their environment, and are no programs of tests: how many; killed? */
static int compilers(bool end)
{
    DIR *d = opendir("/proc");
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[300], text[1 << 16] = "", name[64] = "";
        snprintf(path, sizeof path, "/proc/%.200s/environ", e->d_name);
        FILE *f = fopen(path, "r");
        size_t k = f ? fread(text, 1, sizeof text - 1, f) : 0;
        if (f)
            fclose(f);
        snprintf(path, sizeof path, "/proc/%.200s/comm", e->d_name);
        if (!(f = fopen(path, "r")))
            continue;
        if (!fgets(name, sizeof name, f))
            name[0] = 0;
        fclose(f);
        if (strncmp(name, "heddle-compiler", 15) || !memmem(text, k, mark, strlen(mark)))
            continue;
        n++;
        if (end)
            kill(atoi(e->d_name), SIGKILL);
    }
    if (d)
        closedir(d);
    return n;
}

static Job *job_for(const char *name, const char *source, bool urgent)
{
    return job_new(&(JobText){ .device = name, .driver = device->version, .options = "-cl-std=CL1.2",
        .source = source, .nsource = strlen(source) + 1, .urgent = urgent });
}

static Job *job(const char *source, bool urgent)
{
    Job *j = job_for(device->name[0], source, urgent);
    ck_assert(j);
    return j;
}

static bool works(Job *j)
{
    size_t n = 0;
    ck_assert(job_ended(j, -1));
    void *binary = job_result(j, &n);
    bool is = binary && n > 0;
    free(binary);
    job_drop(j);
    return is;
}

START_TEST(compiles)
{
    ck_assert(jobs_possible());
    ck_assert(works(job(good, true)));
    ck_assert(!works(job("__kernel void f(", true)));
    Job *j = job_for("no such device", good, true);
    ck_assert(!works(j));
    ck_assert(works(job(good, false)));
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* they are nobody's children */
}
END_TEST

/* More than are sent at once; some are given up while they wait, and one overtakes. */
START_TEST(many)
{
    enum { N = 150 };
    Job *j[N];
    for (int k = 0; k < N; k++)
        j[k] = job(k % 3 ? good : "__kernel void f(", k % 7 == 0);
    ck_assert(job_ended(j[N - 1], -1));
    for (int k = 0; k < N; k += 2)
        job_drop(j[k]);
    for (int k = 1; k < N; k += 2)
        ck_assert_int_eq(works(j[k]), k % 3 != 0);
}
END_TEST

START_TEST(killed)
{
    char long_one[1 << 16] = "__kernel void f(__global float *x) { float y = x[0];\n";
    for (int k = 0; k < 1000; k++)
        strcat(long_one, "y = native_sin(y) * y + x[(int)y];\n");
    strcat(long_one, "x[1] = y; }");
    Job *j = job(long_one, true);
    for (int k = 0; k < 1000 && compilers(false) == 0; k++)
        usleep(1000);
    ck_assert_int_ge(compilers(true), 1);
    size_t n;
    ck_assert(job_ended(j, -1)); /* whether it had been taken or not */
    free(job_result(j, &n));
    job_drop(j);
    ck_assert(works(job(good, true)));
}
END_TEST

START_TEST(useless)
{
    static const char *const programs[] = { "/bin/false", "/bin/true", "/nonexistent/compiler" };
    setenv("HEDDLE_COMPILER", programs[_i], 1);
    ck_assert(!works(job(good, true)));
    ck_assert(!works(job(good, false)));
}
END_TEST

START_TEST(switched_off)
{
    setenv("HEDDLE_COMPILER", "off", 1);
    ck_assert(!jobs_possible());
    ck_assert(!job_for(device->name[0], good, true));
}
END_TEST

/* A process that ends in the midst of it, with a child of its own that lives on, leaves no compiler, but for
 * as long as there is something to be kept. */
START_TEST(ends_with_us)
{
    pid_t child = fork();
    if (child == 0) {
        job(good, true), job(good, false);
        jobs_forked(); /* as fork() has it called; this test alone holds no device */
        _exit(0);
    }
    waitpid(child, NULL, 0);
    for (int k = 0; k < 10000 && compilers(false); k++)
        usleep(10000);
    ck_assert_int_eq(compilers(false), 0);
}
END_TEST

/* ==================== what another process compiles */

static char folder[64], path[100];

static Job *job_kept(const char *key, const char *value)
{
    JobText t = { .device = device->name[0], .driver = device->version, .options = "-cl-std=CL1.2",
        .source = good, .nsource = sizeof good, .urgent = true };
    job_row(&t.rows, key, strlen(key), value, strlen(value), true);
    Job *j = job_new(&t);
    free(t.rows.s);
    ck_assert(j);
    return j;
}

/* It is not compiled while another process has the claim; what that one keeps is taken, if it is of the same
 * row; and if it dies, it is compiled after all. */
START_TEST(claimed)
{
    static const char *const kept[] = { "row and what another made", "other words", NULL };
    const char *last = kept[_i];
    snprintf(folder, sizeof folder, "/tmp/heddle-jobs-XXXXXX");
    ck_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/kept.db", folder);
    setenv("HEDDLE_CACHE", path, 1);
    int claim = cache_claim("key", 3, 0);
    ck_assert_int_ge(claim, 0);
    Job *j = job_kept("key", "row and ");
    ck_assert(!job_ended(j, 300));
    ck_assert(works(job(good, true)));          /* others go on meanwhile */
    if (last)
        ck_assert_int_eq(cache_put("key", 3, last, strlen(last)), CACHE_KEPT);
    cache_claim_end(claim);                     /* as the system does for who ends */
    ck_assert(job_ended(j, -1));
    size_t n;
    char *binary = job_result(j, &n);
    ck_assert(binary && n);
    ck_assert_int_eq(n == 17 && !memcmp(binary, "what another made", 17), _i == 0);
    free(binary);
    job_drop(j);
    char command[100];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

int main(void)
{
    Device *d = device_find("opencl:0");
    device = (const OclDevice *)d;
    if (!d || !device->one_compiler)
        return printf("no PoCL\n"), 77;
    snprintf(mark, sizeof mark, "HEDDLE_TEST_MARK=%d", (int)getpid());
    putenv(mark);
    Suite *suite = suite_create("jobs");
    TCase *t = tcase_create("jobs");
    tcase_set_timeout(t, 600);
    tcase_add_test(t, compiles);
    tcase_add_test(t, many);
    tcase_add_test(t, killed);
    tcase_add_loop_test(t, useless, 0, 3);
    tcase_add_test(t, switched_off);
    tcase_add_test(t, ends_with_us);
    tcase_add_loop_test(t, claimed, 0, 3);
    suite_add_tcase(suite, t);
    return suite_run(suite);
}
