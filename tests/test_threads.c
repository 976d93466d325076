/*
 * test_threads.c - many threads, one function: each caller gets its own results, whatever is in flight.
 *
 * In:  every device there is.   Out: results that belong to their arguments, and no array left alive.
 */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>

#include "heddle.h"

enum { THREADS = 8, CALLS = 24, SIZE = 1000 };

static hd work(hd x, hd k)
{
    hd y = hd_mul(x, k);
    return hd_tuple(hd_add(y, hd_sum(x)), hd_sum(hd_square(y)));
}

typedef struct Caller { pthread_t thread; hd_fn *f; int number, bad; char why[200]; } Caller;

static void wrong(Caller *c, const char *what)
{
    if (!c->bad++)
        snprintf(c->why, sizeof c->why, "caller %d: %s", c->number, what);
}

/* Small, so that sums of squares are exact. */
static int factor(int n) { return n % 4 + 1; }

/* Queues all calls before it reads the first result, so that the calls of all threads are in flight together. */
static void *caller(void *arg)
{
    Caller *c = arg;
    hd_array *out[CALLS][2] = { { NULL } };
    float x[SIZE], y[SIZE];
    for (int i = 0; i < SIZE; i++)
        x[i] = (float)(i % 8 + c->number);
    hd_array *a = hd_array_of(x, SIZE);
    for (int n = 0; n < CALLS; n++) {
        hd_array *k = hd_array_scalar(HD_F32, factor(n));
        if (hd_call(c->f, out[n], a, k))
            wrong(c, hd_error());
        hd_drop(k);
    }
    double sum = 0, squares = 0;
    for (int i = 0; i < SIZE; i++)
        sum += x[i], squares += (double)x[i] * x[i];
    for (int n = 0; n < CALLS; n++) {
        if (out[n][0] && hd_read(out[n][0], y, SIZE))
            wrong(c, hd_error());
        for (int i = 0; out[n][0] && i < SIZE; i++)
            if (y[i] != (float)(x[i] * factor(n) + sum)) {
                wrong(c, "an element of another call");
                break;
            }
        if (out[n][1] && hd_item(out[n][1]) != squares * factor(n) * factor(n))
            wrong(c, "a sum of another call");
        hd_drop(out[n][0]);
        hd_drop(out[n][1]);
    }
    hd_drop(a);
    return NULL;
}

static void together(hd_fn *f, const char *device)
{
    Caller c[THREADS] = { { 0 } };
    for (int t = 0; t < THREADS; t++) {
        c[t].f = f;
        c[t].number = t;
        ck_assert_int_eq(pthread_create(&c[t].thread, NULL, caller, &c[t]), 0);
    }
    for (int t = 0; t < THREADS; t++)
        ck_assert_int_eq(pthread_join(c[t].thread, NULL), 0);
    for (int t = 0; t < THREADS; t++)
        ck_assert_msg(!c[t].bad, "%s: %s (%d times)", device, c[t].why, c[t].bad);
    ck_assert_int_eq(hd_live(), 0);
}

START_TEST(eight_threads_one_function)
{
    for (int i = 0; i < hd_device_count(); i++) {
        hd_device_info d;
        ck_assert_msg(hd_device(i, &d) == 0, "%s", hd_error());
        for (int round = 0; round < 3; round++)         /* the first round also traces and compiles, once for all */
            together(hd_jit(work, .device = d.name), d.name);
    }
}
END_TEST

/* Each thread makes the function itself, and an error in one is no other's. */
static hd refused(hd x, hd k) { return hd_add(hd_reshape(x, 10, 100), hd_mul(k, hd_iota(HD_F32, 0, 7))); }

static void *failing(void *arg)
{
    Caller *c = arg;
    float x[SIZE] = { 0 };
    for (int n = 0; n < CALLS; n++) {
        hd_array *a = hd_array_of(x, SIZE), *k = hd_array_scalar(HD_F32, 1), *out = NULL, *two[2] = { NULL };
        if (c->number % 2) {
            if (!hd_call(hd_jit(refused), &out, a, k) || hd_error_code() != HD_ESHAPE)
                wrong(c, "shapes that do not fit are no error");
        } else if (hd_call(hd_jit(work, .device = "host"), two, a, k))
            wrong(c, hd_error());
        hd_drop(a), hd_drop(k), hd_drop(two[0]), hd_drop(two[1]);
    }
    return NULL;
}

START_TEST(errors_are_of_one_thread)
{
    Caller c[THREADS] = { { 0 } };
    for (int t = 0; t < THREADS; t++) {
        c[t].number = t;
        ck_assert_int_eq(pthread_create(&c[t].thread, NULL, failing, &c[t]), 0);
    }
    for (int t = 0; t < THREADS; t++)
        pthread_join(c[t].thread, NULL);
    for (int t = 0; t < THREADS; t++)
        ck_assert_msg(!c[t].bad, "%s", c[t].why);
    ck_assert_int_eq(hd_live(), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("threads");
    TCase *t = tcase_create("threads");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, eight_threads_one_function);
    tcase_add_test(t, errors_are_of_one_thread);
    suite_add_tcase(suite, t);
    SRunner *r = srunner_create(suite);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
