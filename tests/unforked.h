/*
 * unforked.h - the end of suites whose devices stay open from test to test: all in this process.
 */
#ifndef HEDDLE_TESTS_UNFORKED_H
#define HEDDLE_TESTS_UNFORKED_H

#include <check.h>

/* How many tests fail. */
static inline int run_unforked(Suite *s)
{
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed;
}

#endif
