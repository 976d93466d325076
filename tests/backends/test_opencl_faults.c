/*
 * test_opencl_faults.c - what follows when a call of the OpenCL driver fails, or a command on the device.
 *
 * In:  small programs that use all of the backend: both queues, loops that read conditions, copies,
 * constants, the disk cache.
 * Out: whatever fails and however often, each result is right or an error that names the device; nothing
 * crashes or waits for
 *      ever; once the driver works again, so does everything.
 * Each failure has a process of its own. `test_opencl_faults 1` makes every call fail, once and for good;
 * `5` one in five; without a number one in STRIDE does.
 */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <heddle.h>

#include "fault.h"
#include "suite_run.h"

enum { STRIDE = 47, SMALL = 64, LARGE = 1 << 18, MATRIX = 96 };

static char folder[256], cache[300];
static long stride;                             /* as the command line says; 0: it says nothing */

/* ---- programs whose results are known: their elements are whole numbers ---- */

static hd affine(hd x) { return hd_add(hd_mul(x, hd_c(3)), hd_c(1)); }

static hd long_affine(hd x)
{
    for (int i = 0; i < 12; i++)
        x = hd_sub(hd_c(13), hd_maximum(x, hd_min(x)));
    return hd_add(hd_mul(x, hd_c(3)), hd_c(1));
}

static hd below(hd s) { return hd_lt(hd_sum(s), hd_c(1000)); }
static hd twice(hd s) { return hd_add(s, s); }
static hd doubled(hd x) { return hd_while(below, twice, x); }

static hd step(hd c, hd x)
{
    (void)x;
    hd next = hd_minimum(hd_matmul(c, c), hd_ones_like(c));
    return hd_tuple(next, hd_sum(next));
}

static hd looped(hd x)
{
    hd r = hd_scan(step, x, hd_zeros(HD_F32, 5));
    return hd_add(hd_nth(r, 0), hd_mean(hd_nth(r, 1)));
}

static hd with_table(hd x)
{
    static const float table[SMALL] = { [0 ... SMALL - 1] = 2 };
    hd_array *a = hd_array_new(HD_F32, (hd_ints){ .n = 1, .v = { SMALL } }, table, NULL);
    hd y = hd_mul(x, hd_const(a));
    hd_drop(a);
    return y;
}

/* A vector of n equal elements, or a matrix of m rows. */
static hd_array *filled(float v, int64_t n, int64_t m)
{
    int64_t count = n * (m ? m : 1);
    float *x = malloc((size_t)count * sizeof *x);
    for (int64_t i = 0; i < count; i++)
        x[i] = v;
    hd_array *a = hd_array_new(
        HD_F32, m ? (hd_ints){ .n = 2, .v = { m, n } } : (hd_ints){ .n = 1, .v = { n } }, x, NULL);
    free(x);
    return a;
}

enum { RIGHT, WRONG, FAILED };

static int told(const char *what)               /* an error has its code and says where */
{
    const char *text = hd_error();
    bool good = hd_error_code() && text && (strstr(text, "opencl") || strstr(text, "OpenCL"));
    if (!good)
        fprintf(stderr, "%s: an error that does not name the device: \"%s\"\n", what, text ? text : "");
    return good ? FAILED : WRONG;
}

static int verify(const hd_array *a, const char *what, float want)
{
    const float *x = hd_data(a);
    if (!x)
        return told(what);
    int64_t n = hd_array_size(a);
    for (int64_t i = 0; i < n; i++)
        if (x[i] != want) {
            fprintf(stderr, "%s: element %lld is %g instead of %g\n", what, (long long)i, (double)x[i],
                (double)want);
            return WRONG;
        }
    return RIGHT;
}

static int untold;                              /* calls that failed without saying so */

/* Runs f on x, which goes away. What it gives is being computed. */
static hd_array *on(hd_fn *f, hd_array *x)
{
    hd_array *y = NULL;
    if (x && hd_call_n(hd_jit_n(f, &(hd_jit_opts){ .device = "opencl:0" }), &y, 1, &x, 1)) {
        untold += told("a call") == WRONG;
        y = NULL;
    }
    hd_drop(x);
    return y;
}

static int one(const char *what, float want, hd_array *a)
{
    int verdict = a ? verify(a, what, want) : untold ? WRONG : FAILED;
    hd_drop(a);
    return verdict;
}

/* All programs: the worst that happened. */
static int everything(void)
{
    int worst = RIGHT;
    const int v[] = {
        one("on the quick queue", 7, on(HD_FN(affine), filled(2, SMALL, 0))),
        one("on the large queue", 7, on(HD_FN(long_affine), filled(2, LARGE, 0))),
        one("from queue to queue", 22, on(HD_FN(affine), on(HD_FN(long_affine), filled(2, LARGE, 0)))),
        one("and on", 121,
            on(HD_FN(affine),
                on(HD_FN(affine), on(HD_FN(affine), on(HD_FN(long_affine), filled(1, LARGE, 0)))))),
        one("a loop with a condition", 16, on(HD_FN(doubled), filled(1, SMALL, 0))),
        one("a loop of products", 1 + MATRIX * MATRIX, on(HD_FN(looped), filled(1, MATRIX, MATRIX))),
        one("a constant", 6, on(HD_FN(with_table), filled(3, SMALL, 0))),
    };
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        worst = v[i] == WRONG || worst == WRONG ? WRONG : v[i] > worst ? v[i] : worst;
    return worst;
}

/* ---- processes ---- */

enum { NOT_LISTED = 3, HUNG = 4, CRASHED = 5, SECONDS = 100 };

static bool listed(void)
{
    hd_device_info d;
    for (int i = 0; i < hd_device_count(); i++)
        if (!hd_device(i, &d) && !strcmp(d.name, "opencl:0"))
            return true;
    return false;
}

/* What fails, and then, with a driver that works again, what must not. Devices are listed once in a process,
 * so those whose listing failed are not there later. */
static int in_child(const char *spec, long *calls)
{
    alarm(SECONDS);
    if (!fault_set(spec))
        return CRASHED;
    int first = everything();
    *calls = fault_calls();
    fault_set("opencl:open:1000000");
    if (first == WRONG || !listed())
        return first == FAILED ? NOT_LISTED : WRONG;
    int then = everything();
    if (then == FAILED)
        fprintf(stderr, "afterwards: %s\n", hd_error());
    return then == RIGHT ? first : WRONG;
}

static int outcome(const char *spec, long *calls)
{
    int to[2], status;
    long n = 0;
    pid_t p = pipe(to) ? -1 : fork();
    if (p < 0)
        return CRASHED;
    if (p == 0) {
        int code = in_child(spec, &n);
        _exit(write(to[1], &n, sizeof n) == sizeof n ? code : CRASHED);
    }
    close(to[1]);
    if (read(to[0], &n, sizeof n) != sizeof n)
        n = 0;
    close(to[0]);
    waitpid(p, &status, 0);
    if (calls)
        *calls = n;
    return WIFEXITED(status)                               ? WEXITSTATUS(status) :
        WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? HUNG :
                                                             CRASHED;
}

static int counts[CRASHED + 1];

static void fails(const char *call, long n, bool for_good)
{
    static const char *const said[] = {
        [WRONG] = "a wrong number, or an error without its place, or one that stays",
        [HUNG] = "it waits for ever",
        [CRASHED] = "it crashes"
    };
    char spec[96];
    snprintf(spec, sizeof spec, "opencl:%s:%ld%s", call, n, for_good ? "+" : "");
    int v = outcome(spec, NULL);
    counts[v]++;
    ck_assert_msg(v == RIGHT || v == FAILED || v == NOT_LISTED, "HEDDLE_FAULT=%s: %s", spec, said[v]);
}

/* One call in so many, each once and for good. */
static void sweep(const char *call, long usual)
{
    char spec[96];
    long n = 0;
    snprintf(spec, sizeof spec, "opencl:%s:1000000", call);
    ck_assert_int_eq(outcome(spec, &n), RIGHT);
    ck_assert_msg(n > 20, "only %ld calls of %s", n, call);
    for (long k = 1; k <= n; k += stride ? stride : usual) {
        fails(call, k, false);
        fails(call, k, true);
    }
    fprintf(stderr, "%s: %ld calls; %d failures changed nothing, %d were told, %d took the device away\n",
        call, n, counts[RIGHT], counts[FAILED], counts[NOT_LISTED]);
    ck_assert_int_gt(counts[FAILED], 0);
}

static void setup(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.200s/heddle-faults-XXXXXX", tmp ? tmp : "/tmp");
    ck_assert(mkdtemp(folder) != NULL);
    snprintf(cache, sizeof cache, "%s/programs.db", folder);
    setenv("HEDDLE_CACHE", cache, 1);
}

static void teardown(void)
{
    char command[400];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(calls) { sweep("*", STRIDE); }
END_TEST

/* Commands that fail on the device, after their call has returned. */
START_TEST(commands) { sweep("event", 11); }
END_TEST

/* Where nothing is on disk. */
START_TEST(compiling)
{
    static const char *const call[] = { "clCreateProgramWithSource", "clBuildProgram", "clGetProgramInfo",
        "clCreateKernel" };
    setenv("HEDDLE_CACHE", "off", 1);
    for (size_t i = 0; i < sizeof call / sizeof *call; i++) {
        fails(call[i], 1, false);
        fails(call[i], 2, true);
    }
}
END_TEST

/* What one process compiled, the next one loads: on both queues, each program. */
START_TEST(second_process)
{
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(
            outcome(i ? "opencl:clCreateProgramWithSource:1+" : "opencl:open:1000000", NULL), RIGHT);
}
END_TEST

int main(int argc, char **argv)
{
    long n;
    stride = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
    if (outcome("opencl:open:1000000", &n) == NOT_LISTED)
        return printf("no OpenCL device\n"), 77;
    Suite *suite = suite_create("opencl_faults");
    TCase *t = tcase_create("opencl_faults");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 3600);
    tcase_add_test(t, calls);
    tcase_add_test(t, commands);
    tcase_add_test(t, compiling);
    tcase_add_test(t, second_process);
    suite_add_tcase(suite, t);
    return suite_run(suite);
}
