/*
 * test_fault.c - failures of drivers on demand: which calls HEDDLE_FAULT means, and when.
 *
 * In:  specifications, and calls by name.   Out: the calls that fail are those that were asked for.
 */
#include <stdlib.h>
#include <time.h>

#include "fault.h"
#include "suite_run.h"

/* Which of ten calls of a function fail, as bits. */
static unsigned failing(const char *kind, const char *call)
{
    unsigned bits = 0;
    for (int i = 0; i < 10; i++)
        bits |= (unsigned)fault(kind, call) << i;
    return bits;
}

START_TEST(once_and_for_good)
{
    ck_assert(fault_set("opencl:clFinish:3"));
    ck_assert_uint_eq(failing("opencl", "clFlush"), 0);
    ck_assert_uint_eq(failing("vulkan", "clFinish"), 0);
    ck_assert_uint_eq(failing("opencl", "clFinish"), 1 << 2);
    ck_assert_int_eq(fault_calls(), 10);
    ck_assert(fault_set("opencl:clFinish:3+"));
    ck_assert_uint_eq(failing("opencl", "clFinish"), 0x3fc);
    ck_assert(fault_set("opencl:*:2"));
    ck_assert(!fault("opencl", "clFlush"));
    ck_assert(fault("opencl", "clFinish"));
    ck_assert(!fault("opencl", "clFinish"));
    ck_assert(fault_set(NULL));
    ck_assert_uint_eq(failing("opencl", "clFinish"), 0);
}
END_TEST

/* A wait is at least as long as was asked for. */
START_TEST(takes_longer)
{
    struct timespec from, to;
    ck_assert(fault_set("host:launch:2@.05"));
    clock_gettime(CLOCK_MONOTONIC, &from);
    ck_assert_uint_eq(failing("host", "launch"), 0);
    clock_gettime(CLOCK_MONOTONIC, &to);
    ck_assert(1e3 * (double)(to.tv_sec - from.tv_sec) + 1e-6 * (double)(to.tv_nsec - from.tv_nsec) >= 50);
    ck_assert(fault_set("host:launch:9+@.001"));
    ck_assert_uint_eq(failing("host", "launch"), 0);
    ck_assert_int_eq(fault_calls(), 10);
}
END_TEST

START_TEST(reads_otherwise)
{
    static const char *const bad[] = { "", "opencl", "opencl:clFinish",
        "opencl:clFinish:", "opencl:clFinish:0", "opencl:clFinish:-1", "opencl:clFinish:x",
        "opencl:clFinish:1x", "opencl:clFinish:1++", "opencl:clFinish:+", "opencl::1", ":clFinish:1",
        "opencl:clFinish:1:2", "opencl:clFinish:1@", "opencl:clFinish:1@0", "opencl:clFinish:1@x",
        "opencl:clFinish:@1", "opencl:clFinish:1@2+", "opencl:clFinish:1@-1" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(!fault_set(bad[i]), "\"%s\" is taken", bad[i]);
        ck_assert_uint_eq(failing("opencl", "clFinish"), 0);
    }
}
END_TEST

/* Each test has a process of its own, in which the variable has not been read yet. */
START_TEST(variable)
{
    setenv("HEDDLE_FAULT", "vulkan:vkQueueSubmit:2", 1);
    ck_assert_uint_eq(failing("vulkan", "vkQueueSubmit"), 1 << 1);
}
END_TEST

START_TEST(no_variable)
{
    unsetenv("HEDDLE_FAULT");
    ck_assert_uint_eq(failing("vulkan", "vkQueueSubmit"), 0);
    ck_assert(!fault_wanted);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("fault");
    TCase *t = tcase_create("fault");
    suite_add_tcase(s, t);
    tcase_add_test(t, once_and_for_good);
    tcase_add_test(t, takes_longer);
    tcase_add_test(t, reads_otherwise);
    tcase_add_test(t, variable);
    tcase_add_test(t, no_variable);
    return suite_run(s);
}
