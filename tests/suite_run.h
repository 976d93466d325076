/*
 * suite_run.h - the end of every Check suite: its tests run, and whether any failed is what main returns.
 * CK_VERBOSITY says how much is told, CK_RUN_CASE which case runs, CK_FORK=no that all run in this process.
 */
#ifndef HEDDLE_TESTS_SUITE_RUN_H
#define HEDDLE_TESTS_SUITE_RUN_H

#include <check.h>

static inline int suite_run_as(Suite *s, enum fork_status forks)
{
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, forks);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}

static inline int suite_run(Suite *s) { return suite_run_as(s, CK_FORK_GETENV); }

/* Of suites whose devices stay open from test to test: all in this process. */
static inline int suite_run_unforked(Suite *s) { return suite_run_as(s, CK_NOFORK); }

#endif
