/*
 * test_warm.c - a second process: plans and code are on the disk, so nothing is scheduled and nothing is
 * compiled, and the bits are the same; what is damaged, or of another build, is made again.
 */
#include <math.h>
#include <stdlib.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include "suite.h"

enum { N = 40 };
extern _Atomic uint64_t plans_read; /* api.h, which hides what users write */

/* ==================== programs of all kinds of steps */

static hd straight(hd x) { return hd_add(hd_sin(x), hd_mul(hd_exp(hd_neg(x)), hd_cumsum(x, 0))); }
static hd row(hd c, hd x) { return hd_tanh(hd_add(hd_matmul(hd_outer(c, c), x), c)); }
static hd step(hd c, hd x)
{
    hd y = row(c, x);
    return hd_tuple(y, hd_sum(y));
}
static hd loop(hd x) { return hd_nth(hd_scan(step, x, hd_outer(x, x)), 0); }
static hd slope_of(hd x) { return hd_sum(loop(x)); }
static hd slope(hd x) { return hd_apply(hd_grad(slope_of), x); }
static hd below(hd x) { return hd_lt(hd_sum(x), hd_c(1000)); }
static hd twice(hd x) { return hd_add(hd_mul(x, hd_c(2)), hd_c(1)); }
static hd often(hd x) { return hd_while(below, twice, x); }
static hd chosen(hd x) { return hd_cond(hd_gt(hd_sum(x), hd_c(0)), loop, twice, x); }
static hd constant(hd x)
{
    float v[N];
    for (int k = 0; k < N; k++)
        v[k] = 1.f / (float)(k + 3);
    hd_array *a = hd_array_new(HD_F32, HD_INTS(N), v, NULL);
    hd y = hd_sort(hd_mul(x, hd_const(a)), 0);
    hd_drop(a);
    return y;
}

/* Shards that meet, in a loop and out of it: bytes go as they are, and in chunks that one of them sums. */
static hd turn(hd c, hd nothing)
{
    (void)nothing;
    return hd_tuple(hd_sin(hd_add(c, hd_psum(c, "i"))), HD_NIL);
}
static hd shard(hd x)
{
    hd y = hd_nth(hd_scan(turn, x, HD_NIL, .length = 2), 0);
    return hd_add(hd_ppermute(y, "i", (const int[][2]){ { 0, 1 }, { 1, 2 } }, 2), hd_pmax(hd_cos(x), "i"));
}
static hd shards(hd x)
{
    hd_fn *f = hd_pmap(shard, .axis_name = "i", .devices = "opencl:0, opencl:0, host, host");
    return hd_ravel(hd_apply(f, hd_reshape(x, 4, N / 4)));
}

static hd (*const program[])(hd) = { straight, loop, slope, often, chosen, constant, shards };
enum { PROGRAMS = sizeof program / sizeof *program };
static int programs = PROGRAMS; /* that are run */
enum { PIECES = 2 }; /* of the last one, beside what shards run: before and after it */

static unsigned plans(void) { return (unsigned)(programs + (programs == PROGRAMS ? PIECES : 0)); }

typedef struct Result {
    float v[PROGRAMS][N];
    int failed;
    uint64_t read;
    char error[300];
} Result;

static Result run(void)
{
    static Result r;
    float v[N];
    for (int k = 0; k < N; k++)
        v[k] = (float)sin(k * .9) + .1f;
    memset(&r, 0, sizeof r);
    for (int p = 0; p < programs; p++) {
        hd_array *x = hd_array_new(HD_F32, HD_INTS(N), v, NULL), *y = NULL;
        hd_fn *f = HD_FN(program[p]);
        if (hd_call(f, &y, x) || hd_read(y, r.v[p], N))
            r.failed++, snprintf(r.error, sizeof r.error, "%s", hd_error());
        hd_drop(x), hd_drop(y);
    }
    r.read = plans_read;
    return r;
}

/* In a process of its own. */
static Result attempt(const char *fault)
{
    Result r = { .failed = 99 };
    int to[2];
    ck_assert(!pipe(to));
    pid_t child = fork();
    if (child == 0) {
        if (fault)
            setenv("HEDDLE_FAULT", fault, 1);
        r = run();
        _exit(write(to[1], &r, sizeof r) == sizeof r ? 0 : 1);
    }
    close(to[1]);
    for (size_t n = 0; n < sizeof r;) {
        ssize_t k = read(to[0], (char *)&r + n, sizeof r - n);
        if (k <= 0)
            break;
        n += (size_t)k;
    }
    close(to[0]);
    waitpid(child, NULL, 0);
    return r;
}

static Result process(const char *fault)
{
    Result r = attempt(fault);
    ck_assert_msg(!r.failed, "%d failed: %s", r.failed, r.error);
    return r;
}

static char file[300];
static const char *no_compiler, *code_rows; /* of a device: what must not happen; rows of code */

static void folder(void)
{
    char name[200];
    const char *tmp = getenv("TMPDIR");
    snprintf(name, sizeof name, "%.150s/heddle-warm-XXXXXX", tmp ? tmp : "/tmp");
    ck_assert(mkdtemp(name) != NULL);
    snprintf(file, sizeof file, "%s/programs.db", name);
    setenv("HEDDLE_CACHE", file, 1);
}

static void no_folder(void)
{
    char command[400];
    snprintf(command, sizeof command, "rm -rf \"$(dirname '%s')\"", file);
    ck_assert_int_eq(system(command), 0);
}

static void sql(const char *text)
{
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open(file, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 10000);
    ck_assert_int_eq(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* ==================== */

START_TEST(second)
{
    Result first = process(NULL), next;
    ck_assert_uint_eq(first.read, 0);
    next = process(no_compiler);
    ck_assert_uint_eq(next.read, plans());
    ck_assert(!memcmp(first.v, next.v, sizeof first.v));
}
END_TEST

/* Code that is gone is compiled again, from a plan that is made again. */
START_TEST(code_gone)
{
    Result first = process(NULL);
    char text[200];
    snprintf(text, sizeof text, "delete from program2 where substr(key, 1, 7) = cast('%s' as blob)",
        code_rows);
    sql(text);
    Result next = process(NULL);
    ck_assert(!memcmp(first.v, next.v, sizeof first.v));
    ck_assert_uint_eq(process(no_compiler).read, plans());
}
END_TEST

START_TEST(plans_gone)
{
    Result first = process(NULL);
    sql("delete from program2 where substr(key, 1, 5) = cast('plan1' as blob)");
    Result next = process(no_compiler);
    ck_assert_uint_eq(next.read, 0);
    ck_assert(!memcmp(first.v, next.v, sizeof first.v));
}
END_TEST

/* A process that only read its kernels, and ended before there was code: whoever compiled it has kept it. */
START_TEST(never_taken)
{
    setenv("HEDDLE_TIER", "0", 1);
    programs = 1;
    Result first = process(NULL), next = { .failed = 1 };
    for (int k = 0; k < 600 && (next.failed || !next.read); k++, usleep(100000))
        if (next = attempt(no_compiler), (next.failed || !next.read) && k % 20 == 19)
            process(NULL); /* the plan may be missing: where others write, nobody waits to keep it */
    ck_assert_msg(!next.failed, "%s", next.error);
    ck_assert_uint_eq(next.read, 1);
    ck_assert(!memcmp(first.v, next.v, sizeof first.v));
}
END_TEST

static bool device_there(const char *name)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        _exit(there(name) ? 0 : 1);
    waitpid(child, &status, 0);
    return status == 0;
}

static int failed_on(const char *device)
{
    bool vulkan = !strcmp(device, "vulkan:0");
    /* Vulkan has no such call: there it counts that all code of what is read is there */
    no_compiler = vulkan ? NULL : "opencl:clCreateProgramWithSource:1+";
    code_rows = vulkan ? "vk-kern" : "cl-unit";
    programs = vulkan ? 1 : PROGRAMS; /* its compiler takes its time */
    setenv("HEDDLE_DEVICE", device, 1);
    Suite *suite = suite_create(device);
    TCase *t = suite_case(suite);
    tcase_add_checked_fixture(t, folder, no_folder);
    tcase_add_test(t, second);
    tcase_add_test(t, never_taken);
    if (!vulkan) {
        tcase_add_test(t, code_gone);
        tcase_add_test(t, plans_gone);
    }
    return suite_run(suite);
}

int main(void)
{
    static const char *const devices[] = { "opencl:0", "vulkan:0" };
    int failed = 0, n = 0;
    for (int k = 0; k < 2; k++)
        if (device_there(devices[k]))
            n++, failed += failed_on(devices[k]);
    if (!n)
        return printf("no device\n"), 77;
    return failed != 0;
}
