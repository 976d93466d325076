/*
 * test_threads.c - eight threads call one function, each with calls in flight that it has not read, and get
 * their own results.
 *
 * On the host, and on the first OpenCL and Vulkan device where there is one. Also: many threads meet a
 * function that nobody has traced, share arrays, and make errors of their own.
 */
#include <check.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heddle.h"

enum { THREADS = 8, FLIGHT = 6, N = 300 };

static const char *device;
static int rounds = 12;

typedef struct Job { hd_fn *f; int me, failures; char text[300]; hd_array *shared; } Job;

static void run_threads(void *(*work)(void *), Job *job)
{
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, work, &job[i]), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    for (int i = 0; i < THREADS; i++)
        ck_assert_msg(
            !job[i].failures, "thread %d: %d failures, first: %s", i, job[i].failures, job[i].text);
}

static void wrong(Job *j, const char *text)
{
    if (!j->failures++)
        snprintf(j->text, sizeof j->text, "%s", text);
}

/* ==================== calls in flight: y = 3 x + sum(x), through a loop so that there is something to wait
 * for */

static hd add_step(hd c, hd x) { return hd_tuple(hd_add(c, x), x); }
static hd function(hd x)
{
    return hd_add(hd_mul(x, hd_c(3)), hd_nth(hd_scan(add_step, hd_zeros(HD_F32), x), 0));
}

static bool right(const hd_array *y, float base)
{
    const float *p = hd_data(y);
    float sum = base * N + (float)(N / 4) * 6;  /* elements are base + 0, 1, 2, 3, 0 .. */
    for (int i = 0; p && i < N; i++)
        if (p[i] != 3 * (base + (float)(i % 4)) + sum)
            return false;
    return p != NULL;
}

static void *fly(void *arg)
{
    Job *j = arg;
    for (int r = 0; r < rounds && !j->failures; r++) {
        hd_array *y[FLIGHT] = { NULL };
        float base[FLIGHT];
        for (int k = 0; k < FLIGHT; k++) {
            float v[N];
            base[k] = (float)(j->me * 100 + r * FLIGHT + k);
            for (int i = 0; i < N; i++)
                v[i] = base[k] + (float)(i % 4);
            hd_array *x = hd_array_of(v, N);
            if (hd_call(j->f, &y[k], x))
                wrong(j, hd_error());
            hd_drop(x);                         /* the call keeps what it needs */
        }
        for (int k = FLIGHT - 1; k >= 0; k--) {
            if (!j->failures && !right(y[k], base[k]))
                wrong(j, "a result of another call");
            hd_drop(y[k]);
        }
    }
    return NULL;
}

START_TEST(in_flight)
{
    Job job[THREADS];
    hd_fn *f = hd_jit(function, .device = device);
    for (int i = 0; i < THREADS; i++)
        job[i] = (Job){ .f = f, .me = i };
    run_threads(fly, job);
    ck_assert_int_eq(hd_live(), 0);
}
END_TEST

/* ==================== nobody has traced it yet; shapes differ; one array is everybody's argument */

static atomic_int traces;
static hd fresh(hd x, hd y) { return atomic_fetch_add(&traces, 1), hd_sum(hd_mul(hd_add(x, y), y)); }

static void *meet(void *arg)
{
    Job *j = arg;
    for (int r = 0; r < 4 && !j->failures; r++) {
        float v[4] = { (float)j->me, 1, (float)r, 2 }, want = 0;
        int64_t n = 1 + (j->me + r) % 4;        /* four types, met in another order by each thread */
        hd_array *y = hd_array_of(v, n), *part[2] = { hd_keep(hd_array_nth(j->shared, (int)n - 1)), y },
                 *out = NULL;
        for (int i = 0; i < n; i++)
            want += (10 * (float)(i + 1) + v[i]) * v[i];
        if (hd_call_n(j->f, &out, 1, part, 2))
            wrong(j, hd_error());
        else if (hd_item(out) != (double)want)
            wrong(j, "another sum");
        hd_drop(out), hd_drop(part[0]), hd_drop(y);
    }
    return NULL;
}

START_TEST(together)
{
    static const float tens[] = { 10, 20, 30, 40 };
    hd_array *part[4], *shared;
    for (int i = 0; i < 4; i++)
        part[i] = hd_array_of(tens, i + 1);
    shared = hd_array_tuple_n(part, 4);
    Job job[THREADS];
    traces = 0;
    for (int i = 0; i < THREADS; i++)
        job[i] = (Job){ .f = hd_jit(fresh, .device = device), .me = i, .shared = shared };
    run_threads(meet, job);
    hd_drop(shared);
    ck_assert_int_eq(traces, 4);                /* once for each type, however many threads wanted it */
    ck_assert_int_eq(hd_live(), 0);
}
END_TEST

/* ==================== functions made in threads are the same functions; errors are one's own */

static hd square(hd x) { return hd_mul(x, x); }
static hd add2(hd x, hd y) { return hd_add(x, y); }

static void *make(void *arg)
{
    Job *j = arg;
    hd_array *x = hd_array_scalar(HD_F32, j->me),
             *bad = hd_array_new(HD_F32, HD_INTS(j->me + 2), (float[16]){ 0 }, NULL);
    hd_array *three = hd_array_lit(float, (11), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), *r = NULL;
    char mine[40];
    for (int k = 0; k < 20 && !j->failures; k++) {
        hd_fn *f = hd_jit(hd_grad(square), .device = device);
        if (j->f && f != j->f)
            wrong(j, "another function");
        if (hd_call(f, &r, x) || hd_item(r) != 2 * j->me)
            wrong(j, hd_error());
        hd_drop(r), r = NULL;
        snprintf(mine, sizeof mine, "f32[%d]", j->me + 2);
        if (hd_call(hd_jit(add2, .device = device), &r, bad, three) != HD_ESHAPE ||
            !strstr(hd_error(), mine))
            wrong(j, hd_error());
    }
    hd_drop(x), hd_drop(bad), hd_drop(three);
    return NULL;
}

START_TEST(making)
{
    Job job[THREADS];
    for (int i = 0; i < THREADS; i++)
        job[i] = (Job){ .f = hd_jit(hd_grad(square), .device = device), .me = i };
    run_threads(make, job);
    ck_assert_int_eq(hd_live(), 0);
}
END_TEST

/* ==================== programs are given back, and functions forgotten, while others call them */

static int tripled(hd *out, const hd *x, int n, void *by)
{
    return *out = hd_mul(x[n - 1], hd_c(*(float *)by)), 0;
}

/* Everybody's function at more types than are kept, and one of its own that comes and goes. */
static void *crowd(void *arg)
{
    Job *j = arg;
    float v[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, by = (float)j->me + 2;
    for (int r = 0; r < rounds && !j->failures; r++) {
        int64_t n = 1 + (j->me + r) % 6;
        hd_array *x = hd_array_of(v, n), *sum = NULL, *y = NULL, *pair[2] = { x, x };
        hd_fn *own = hd_function(tripled, &by, NULL, "tripled");
        if (hd_call_n(j->f, &sum, 1, pair, 2) || hd_item(sum) != (double)(n * (n + 1) * (2 * n + 1) / 3))
            wrong(j, *hd_error() ? hd_error() : "another sum");
        else if (hd_call(hd_jit(own, .device = device), &y, x) ||
            ((const float *)hd_data(y))[n - 1] != v[n - 1] * by)
            wrong(j, *hd_error() ? hd_error() : "another product");
        hd_forget(own);
        hd_drop(x), hd_drop(sum), hd_drop(y);
    }
    return NULL;
}

/* What all call is forgotten by one of them: then an error says so, and it is made again. */
static hd passing(hd x) { return hd_mul(x, hd_c(2)); }

static void *pass(void *arg)
{
    Job *j = arg;
    for (int r = 0; r < 2 * rounds && !j->failures; r++) {
        float v = (float)(j->me + r);
        hd_array *x = hd_array_of(&v, 1), *y = NULL;
        if (hd_call(hd_jit(passing, .device = device), &y, x)) {
            if (!strstr(hd_error(), "forgotten"))
                wrong(j, hd_error());
        } else if (hd_item(y) != 2 * (double)v)
            wrong(j, "another product");
        if (j->me == 0)
            hd_forget(passing);
        hd_drop(x), hd_drop(y);
    }
    return NULL;
}

START_TEST(forgetting)
{
    Job job[THREADS];
    hd_fn *f = hd_jit(fresh, .device = device);
    int64_t before = hd_program_limit(2);
    for (int i = 0; i < THREADS; i++)
        job[i] = (Job){ .f = f, .me = i };
    run_threads(crowd, job);
    for (int i = 0; i < THREADS; i++)
        job[i] = (Job){ .me = i };
    run_threads(pass, job);
    hd_program_limit(before);
    ck_assert_int_eq(hd_live(), 0);
}
END_TEST

/* The check of results notices a result that is not one's own. */
START_TEST(itself)
{
    float v[N];
    for (int i = 0; i < N; i++)
        v[i] = 5 + (float)(i % 4);
    hd_array *x = hd_array_of(v, N), *y = NULL;
    ck_assert_msg(!hd_call(hd_jit(function, .device = device), &y, x), "%s", hd_error());
    ck_assert(right(y, 5) && !right(y, 6));
    hd_drop(x), hd_drop(y);
}
END_TEST

/* In a process of its own: each test is one, and drivers do not survive a fork. */
static bool absent(const char *name)
{
    pid_t child = fork();
    int status = 1;
    if (!child)
        _exit(hd_default_device(name) == NULL);
    return child < 0 || waitpid(child, &status, 0) < 0 || status != 0;
}

int main(void)
{
    static const char *const devices[] = { "host", "opencl:0", "vulkan:0" };
    int failed = 0;
    const char *only = getenv("HEDDLE_TEST_DEVICE");
    if (getenv("HEDDLE_TEST_ROUNDS"))
        rounds = atoi(getenv("HEDDLE_TEST_ROUNDS"));
    for (size_t k = 0; k < sizeof devices / sizeof *devices; k++) {
        device = devices[k];
        if (only && strcmp(only, device))
            continue;
        if (k && absent(device)) {
            printf("%s is not here\n", device);
            continue;
        }
        Suite *s = suite_create(device);
        TCase *t = tcase_create("threads");
        tcase_set_timeout(t, 300);
        tcase_add_test(t, itself);
        tcase_add_test(t, in_flight);
        tcase_add_test(t, together);
        tcase_add_test(t, making);
        tcase_add_test(t, forgetting);
        suite_add_tcase(s, t);
        SRunner *r = srunner_create(s);
        srunner_run_all(r, CK_ENV);
        failed += srunner_ntests_failed(r);
        srunner_free(r);
    }
    return failed > 0;
}
