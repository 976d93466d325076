/*
 * test_errors.c - what must be refused, and what the message says: the words of errors.def, and the file and
 * line of the mistake.
 *
 * Each line of errors.def is a program. golden/errors.jsonl lists the situations in which JAX refuses; a
 * case of it that errors.def does not name fails the test.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "misuse.h"
#include "suite_run.h"

static hd add2(hd x, hd y) { return hd_add(x, y); }
static hd same(hd x) { return x; }
static hd twice(hd x) { return hd_mul(x, hd_c(2)); }

/* ==================== the table */

START_TEST(table)
{
    int wrong = 0;
    for (int k = 0; k < misuse_count; k++) {
        const Misuse *m = &misuses[k];
        const char *why = m->f ? misuse_judge(m, "host") : NULL;
        if (why)
            printf("%s: %s\n", m->name, why), wrong++;
        if (getenv("HEDDLE_TEST_VERBOSE") && m->f && m->kind != 'o')
            printf("%-34s %s\n", m->name, hd_error());
    }
    fflush(stdout);
    ck_assert_msg(!wrong, "%d messages are not right", wrong);
}
END_TEST

/* Each stored situation has a row. */
START_TEST(complete)
{
    FILE *f = fopen("golden/errors.jsonl", "r");
    char *line = NULL;
    size_t cap = 0;
    int seen = 0;
    ck_assert_msg(f != NULL, "golden/errors.jsonl is read from the tests' folder");
    while (getline(&line, &cap, f) > 0) {
        json_t *j = json_loads(line, JSON_ALLOW_NUL, NULL);
        const char *name = json_string_value(json_object_get(j, "case"));
        ck_assert_msg(name && misuse_find(name), "errors.def does not speak of %s", name ? name : line);
        json_decref(j);
        seen++;
    }
    free(line);
    fclose(f);
    ck_assert_int_gt(seen, 200);
}
END_TEST

/* ==================== what is no expression */

static hd_array *x3;

static void setup(void) { x3 = hd_array_lit(float, (3), 1, 2, 3); }

static void teardown(void)
{
    hd_drop(x3);
    ck_assert_int_eq(hd_live(), 0);
}

#define EXPECT(call, code, words, line) \
    do { \
        int got_ = (call); \
        const char *lack_ = misuse_lacks(hd_error(), words, (line) ? "test_errors.c" : NULL, line); \
        ck_assert_msg(got_ == (code) && !lack_, "code %d, no %s in: %s", got_, lack_ ? lack_ : "mistake", \
            hd_error()); \
    } while (0)

static hd stolen;
static hd leak(hd x) { return stolen = hd_sin(x); }
enum { LINE_OF_USE = __LINE__ + 1 };
static hd use_leak(hd x) { return hd_add(x, stolen); }

START_TEST(leaked)
{
    hd_array *r = NULL;
    ck_assert_int_eq(hd_call(leak, &r, x3), 0);
    hd_drop(r), r = NULL;
    EXPECT(hd_call(use_leak, &r, x3), HD_ETRACE, "ended|leak|use_leak", LINE_OF_USE);
    ck_assert_int_eq(hd_call(hd_vmap(leak), &r, x3), 0);
    hd_drop(r), r = NULL;
    EXPECT(hd_call(use_leak, &r, x3), HD_ETRACE, "ended", LINE_OF_USE);
    ck_assert_ptr_null(r);
}
END_TEST

START_TEST(outside)
{
    ck_assert(!hd_ok(hd_c(1)));
    ck_assert_int_eq(hd_error_code(), HD_ETRACE);
    ck_assert(!hd_ok(hd_sin(HD_NIL)));
}
END_TEST

START_TEST(storing)
{
    hd_array *r = x3, *before = x3;
    EXPECT(hd_call(same, &x3, x3), HD_EINVAL, "would be lost|donate", __LINE__);
    ck_assert_ptr_eq(x3, before);
    ck_assert_int_eq(hd_call(hd_jit(twice, .donate = HD_INTS(0)), &r, x3), 0);
    x3 = r;                                     /* it was handed over */
    float v[3];
    ck_assert_int_eq(hd_read(x3, v, 3), 0);
    ck_assert(v[0] == 2 && v[2] == 6);
    r = NULL;
    EXPECT(hd_call(hd_jit(twice, .donate = HD_INTS(1)), &r, x3), HD_EINVAL, "donate|1", __LINE__);
    EXPECT(hd_call(hd_jit(twice, .donate = HD_INTS(0, 0)), &r, x3), HD_EINVAL, "donate|argument 0|twice",
        __LINE__);
    EXPECT(hd_call(hd_jit(twice, .donate = HD_INTS(-1, 0)), &r, x3), HD_EINVAL, "donate|argument 0|twice",
        __LINE__);
    EXPECT(hd_call(hd_jit(twice, .donate = { -1, { 0 } }), &r, x3), HD_EINVAL, "donate|-1", __LINE__);
    ck_assert_ptr_null(r);
}
END_TEST

START_TEST(devices)
{
    hd_array *r = NULL;
    EXPECT(hd_call(hd_jit(twice, .device = "opencl:99"), &r, x3), HD_EDEVICE, "opencl:99|host", __LINE__);
    ck_assert_ptr_null(hd_put(x3, "nowhere"));
    ck_assert_int_eq(hd_error_code(), HD_EDEVICE);
    ck_assert_ptr_null(hd_default_device("nowhere"));
}
END_TEST

START_TEST(data)
{
    float f[4];
    double d[3];
    hd_array *bad;
    ck_assert_int_eq(hd_read(x3, f, 4), HD_ESHAPE);
    ck_assert_int_eq(hd_read(x3, d, 3), HD_EDTYPE);
    ck_assert(hd_item(x3) != hd_item(x3));
    ck_assert_ptr_null(bad = hd_array_lit(float, (2, 2), 1, 2, 3));
    ck_assert_ptr_null(bad = hd_array_new(HD_F32, HD_INTS(-1), f, NULL));
    ck_assert_ptr_null(bad = hd_array_new((enum hd_dtype)99, HD_INTS(1), f, NULL));
    ck_assert_ptr_null(hd_array_get(x3, "w"));
    ck_assert_ptr_null(hd_array_nth(x3, 2));
    ck_assert_str_ne(hd_error(), "");           /* told of: the next failure is the next message */
    ck_assert_ptr_null(bad = hd_load("no/such/file.npy"));
    EXPECT(hd_error_code(), HD_EIO, "no/such/file.npy", 0);
    EXPECT(hd_save("no/such/folder/x.npy", x3), HD_EIO, "no/such/folder", 0);
    EXPECT(hd_save("x.txt", x3), HD_EINVAL, ".npy|.npz", 0);
}
END_TEST

/* Outputs are untouched after a failure, and the next call works. */
START_TEST(after)
{
    hd_array *r = x3, *w = hd_array_lit(float, (2), 1, 2);
    EXPECT(hd_call(same, &r, r), HD_EINVAL, "would be lost", 0);
    r = NULL;
    ck_assert_int_eq(hd_call(add2, &r, x3, w), HD_ESHAPE);
    ck_assert_ptr_null(r);
    ck_assert_int_eq(hd_call(add2, &r, x3, x3), 0);
    hd_drop(r);
    hd_array *two[2] = { NULL, NULL };
    ck_assert_int_eq(hd_call(same, two, x3), HD_EINVAL);
    ck_assert(!two[0] && !two[1]);
    hd_drop(w);
}
END_TEST

/* A message of one thread is not the message of another. */
#include <pthread.h>
static void *quiet(void *p) { return (void)p, (void *)(hd_error()[0] ? 1l : 0l); }

START_TEST(of_a_thread)
{
    hd_array *r = NULL, *w = hd_array_lit(float, (2), 1, 2);
    pthread_t t;
    void *got;
    ck_assert_int_eq(hd_call(add2, &r, x3, w), HD_ESHAPE);
    ck_assert_int_eq(pthread_create(&t, NULL, quiet, NULL), 0);
    pthread_join(t, &got);
    ck_assert_ptr_null(got);
    ck_assert(strstr(hd_error(), "f32[2]") != NULL);
    hd_drop(w);
}
END_TEST

/* The test of messages notices what is missing. */
START_TEST(itself)
{
    const char *m = "errors.def:7: add: f32[3] and f32[5] do not broadcast";
    ck_assert_ptr_null(misuse_lacks(m, "add|f32[3]", "errors.def", 7));
    ck_assert_ptr_nonnull(misuse_lacks(m, "add|f32[4]", "errors.def", 7));
    ck_assert_ptr_nonnull(misuse_lacks(m, "add", "errors.def", 70));
    ck_assert_ptr_nonnull(misuse_lacks(m, "add", "test_errors.c", 7));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("errors");
    TCase *t = tcase_create("table"), *u = tcase_create("calls");
    setenv("HEDDLE_DEVICE", "host", 1);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, itself);
    tcase_add_test(t, table);
    tcase_add_test(t, complete);
    tcase_add_checked_fixture(u, setup, teardown);
    tcase_add_test(u, leaked);
    tcase_add_test(u, outside);
    tcase_add_test(u, storing);
    tcase_add_test(u, devices);
    tcase_add_test(u, data);
    tcase_add_test(u, after);
    tcase_add_test(u, of_a_thread);
    suite_add_tcase(s, t);
    suite_add_tcase(s, u);
    return suite_run(s);
}
