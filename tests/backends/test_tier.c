/*
 * test_tier.c - tier 0: first calls whose kernels are read while they are compiled. The bits are those of
 * the compiled code, as are errors and what is printed; the code is taken when it is there; and what might
 * differ is never read.
 */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jobs.h"
#include "reading.h"
#include "suite.h"

enum { N = 37 };

/* ==================== programs */

static hd wave(hd x) { return hd_add(hd_mul(hd_sin(x), hd_c(3)), hd_exp(hd_neg(hd_mul(x, x)))); }
static hd total(hd x) { return hd_sum(hd_tanh(hd_mul(x, x))); }
static hd sorted(hd x) { return hd_sort(hd_log(hd_add(hd_abs(x), hd_c(1))), 0); }
static hd divided(hd x) { return hd_div(hd_sqrt(hd_abs(x)), hd_sub(x, hd_c(.25))); }
static hd product(hd x)
{
    hd y = hd_outer(hd_sin(x), x);
    return hd_matmul(y, hd_transpose(y));
}
static hd running(hd x) { return hd_cumsum(hd_cos(x), 0); }
static hd slope(hd x) { return hd_apply(hd_grad(total), x); }
static hd halves(hd x) { return hd_cast(hd_mul(hd_cast(x, HD_F16), hd_cast(x, HD_F16)), HD_F32); }
static hd words(hd x) { return hd_cast(hd_add(hd_cast(hd_mul(x, hd_c(1000)), HD_I32), hd_c(7)), HD_F32); }
static hd checked(hd x)
{
    hd_check(hd_lt(hd_sum(x), hd_c(1)), "the sum is large");
    return hd_mul(x, hd_c(2));
}

static hd (*const program[])(hd) = { wave, total, sorted, divided, product, running, slope, halves, words };
enum { PROGRAMS = sizeof program / sizeof *program };

static hd_array *numbers(void)
{
    float v[N];
    for (int k = 0; k < N; k++)
        v[k] = (float)sin(k * 1.7) * (float)(k % 5 + .3);
    return hd_array_new(HD_F32, HD_INTS(N), v, NULL);
}

static size_t bytes_of(hd_array *a) { return (size_t)hd_array_size(a) * hd_dtype_size(hd_array_dtype(a)); }

/* ==================== */

START_TEST(same_bits)
{
    hd_array *x = numbers(), *read = NULL, *compiled = NULL;
    hd_fn *f = HD_FN(program[_i]);
    uint64_t before = tier0_runs;
    ck_assert_msg(!hd_call(f, &read, x), "%s", hd_error());
    ck_assert_uint_eq(tier0_runs, before + 1);
    ck_assert(!hd_compile(f, x));
    ck_assert(!hd_call(f, &compiled, x));
    ck_assert_uint_eq(tier0_runs, before + 1);
    size_t n = bytes_of(read);
    ck_assert_uint_eq(bytes_of(compiled), n);
    ck_assert_msg(!memcmp(hd_data(read), hd_data(compiled), n), "program %d: other bits", _i);
    hd_drop(x), hd_drop(read), hd_drop(compiled);
}
END_TEST

START_TEST(taken_when_ready)
{
    hd_array *x = numbers(), *r = NULL;
    uint64_t before = tier0_runs, last = ~before;
    while (tier0_runs != last) { /* until a call is not read any more */
        last = tier0_runs;
        ck_assert(!hd_call(wave, &r, x));
        hd_drop(r);
        usleep(10000);
    }
    ck_assert_uint_gt(tier0_runs, before);
    hd_drop(x);
}
END_TEST

START_TEST(errors)
{
    hd_array *x = hd_array_lit(float, (2), 3, 4), *r = NULL;
    char read[512];
    uint64_t before = tier0_runs;
    ck_assert_int_eq(hd_call(checked, &r, x), HD_ECHECK);
    snprintf(read, sizeof read, "%s", hd_error());
    ck_assert_uint_eq(tier0_runs, before + 1);
    ck_assert(!hd_compile(checked, x));
    ck_assert_int_eq(hd_call(checked, &r, x), HD_ECHECK);
    ck_assert_str_eq(hd_error(), read);
    hd_drop(x);
}
END_TEST

static int negative(hd_array *const *args, int n, hd_array **out, int nout, void *user)
{
    (void)n, (void)nout, (void)user;
    return !(out[0] = hd_array_scalar(HD_F32, -hd_item(args[0])));
}

static hd of_host(hd x)
{
    hd s = hd_sum(x);
    return hd_callback(negative, NULL, s, s);
}
static hd mixed(hd i, hd y) { return (void)i, hd_matmul(hd_sin(y), y); }
static hd much(hd x)                            /* short to compile, long to read */
{
    return hd_sum(hd_fori(hd_c(0), hd_c(20000), mixed, hd_outer(x, x)));
}
static hd (*const others[])(hd) = { of_host, much };

START_TEST(not_read)
{
    hd_array *x = numbers(), *r = NULL;
    uint64_t before = tier0_runs;
    ck_assert_msg(!hd_call(others[_i], &r, x), "%s", hd_error());
    ck_assert_uint_eq(tier0_runs, before);
    hd_drop(x), hd_drop(r);
}
END_TEST

/* Reading is begun although it takes long, and left when the code is there. */
START_TEST(left_when_ready)
{
    hd_array *x = numbers(), *r = NULL, *compiled = NULL;
    uint64_t before = tier0_runs;
    setenv("HEDDLE_TIER", "0", 1);
    ck_assert_msg(!hd_call(much, &r, x), "%s", hd_error());
    ck_assert_uint_eq(tier0_runs, before);
    ck_assert(!hd_compile(much, x) && !hd_call(much, &compiled, x));
    ck_assert(!memcmp(hd_data(r), hd_data(compiled), bytes_of(r)));
    hd_drop(x), hd_drop(r), hd_drop(compiled);
}
END_TEST

START_TEST(switched)
{
    hd_array *x = numbers(), *r = NULL;
    uint64_t before = tier0_runs;
    setenv("HEDDLE_TIER", "1", 1);
    ck_assert(!hd_call(wave, &r, x));
    ck_assert_uint_eq(tier0_runs, before);
    hd_drop(x), hd_drop(r);
}
END_TEST

/* ==================== a hundred functions, threads, fork, exit */

static hd kind(hd x, const void *env)
{
    const int k = *(const int *)env;
    hd y = x;
    for (int i = 0; i <= k % 10; i++)
        y = hd_add(hd_mul(hd_sin(y), hd_c(k + 1)), hd_exp(hd_neg(hd_abs(y))));
    return k % 2 ? hd_sum(y) : y;
}

/* None waits for a compiler. */
START_TEST(hundred)
{
    hd_array *x = numbers(), *r = NULL;
    uint64_t before = tier0_runs;
    for (int k = 0; k < 100; k++) {
        ck_assert_msg(!hd_call(hd_bind(kind, k), &r, x), "%s", hd_error());
        hd_drop(r);
    }
    ck_assert_uint_eq(tier0_runs, before + 100);
    hd_drop(x);
}
END_TEST

static void *calls(void *failed)
{
    hd_array *x = numbers();
    for (int k = 0; k < 40; k++) {
        hd_array *r = NULL;
        int which = k % 4;
        if (hd_call(hd_bind(kind, which), &r, x) || (k % 10 == 9 && hd_compile(hd_bind(kind, which), x)))
            *(bool *)failed = true;
        hd_drop(r);
    }
    hd_drop(x);
    return NULL;
}

START_TEST(threads)
{
    pthread_t t[4];
    bool failed[4] = { false };
    for (int k = 0; k < 4; k++)
        ck_assert(!pthread_create(&t[k], NULL, calls, &failed[k]));
    for (int k = 0; k < 4; k++)
        pthread_join(t[k], NULL), ck_assert(!failed[k]);
}
END_TEST

/* While it is compiled: a child is told that its device is gone, and both end. */
START_TEST(forked)
{
    hd_array *x = numbers(), *r = NULL;
    ck_assert(!hd_call(wave, &r, x));
    hd_drop(r);
    pid_t child = fork();
    if (child == 0) {
        alarm(100);
        exit(hd_call(wave, &r, x) == HD_EDEVICE ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert(!hd_compile(wave, x) && !hd_call(wave, &r, x));
    hd_drop(x), hd_drop(r);
}
END_TEST

/* Asked in a child, since each test uses it in a child of this process. */
static bool device_there(const char *name)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        _exit(there(name) ? 0 : 1);
    waitpid(child, &status, 0);
    return status == 0 && jobs_possible();
}

static int failed_on(const char *device)
{
    setenv("HEDDLE_DEVICE", device, 1);
    Suite *suite = suite_create(device);
    TCase *t = suite_case(suite);
    tcase_add_loop_test(t, same_bits, 0, PROGRAMS);
    tcase_add_test(t, taken_when_ready);
    tcase_add_test(t, errors);
    tcase_add_loop_test(t, not_read, strcmp(device, "opencl:0") ? 1 : 0, 2);
    tcase_add_test(t, left_when_ready);
    tcase_add_test(t, switched);
    tcase_add_test(t, hundred);
    tcase_add_test(t, threads);
    tcase_add_test(t, forked);
    return suite_run(suite);
}

int main(void)
{
    static const char *const devices[] = { "opencl:0", "vulkan:0" };
    int failed = 0, n = 0;
    setenv("HEDDLE_CACHE", "off", 1);
    unsetenv("HEDDLE_TIER");
    for (int k = 0; k < 2; k++)
        if (device_there(devices[k]))
            n++, failed += failed_on(devices[k]);
    if (!n)
        return printf("no device, or nothing that compiles in a process of its own\n"), 77;
    return failed != 0;
}
