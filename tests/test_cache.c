/*
 * test_cache.c - the disk cache of compiled programs: many processes, forks, damage, homes that cannot be written.
 *
 * In:  a folder of its own under the temporary directory.   Out: nothing is lost, nothing wrong comes back, nothing fails.
 */
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend.h"

static char folder[256], path[300];

static void setup(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.200s/heddle-cache-XXXXXX", tmp ? tmp : "/tmp");
    ck_assert(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/deep/programs.db", folder);
    setenv("HEDDLE_CACHE", path, 1);
}

static void teardown(void)
{
    char command[400];
    chmod(folder, 0700);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}

static bool holds(const char *key, const char *want)
{
    void *data = NULL;
    size_t n = 0;
    if (!cache_get(key, strlen(key), &data, &n))
        return false;
    bool same = n == strlen(want) && !memcmp(data, want, n);
    free(data);
    ck_assert_msg(same, "another blob came back for %s", key);
    return true;
}

static void put(const char *key, const char *data) { cache_put(key, strlen(key), data, strlen(data)); }

START_TEST(keeps)
{
    ck_assert(!holds("a", "1"));
    put("a", "first");
    put("b", "second");
    put("a", "again");
    ck_assert(holds("a", "again"));
    ck_assert(holds("b", "second"));
    ck_assert(!holds("c", ""));
}
END_TEST

/* Each child writes and reads its own keys and a common one, all at once; the parent had the file open before. */
START_TEST(many_processes)
{
    enum { CHILDREN = 8, KEYS = 20 };
    pid_t child[CHILDREN];
    put("before", "fork");
    for (int c = 0; c < CHILDREN; c++)
        if ((child[c] = fork()) == 0) {
            bool good = holds("before", "fork");
            for (int k = 0; k < KEYS; k++) {
                char key[32];
                snprintf(key, sizeof key, "%d/%d", c, k);
                put(key, key);
                put("common", "common");
                good = good && holds(key, key) && holds("common", "common");
            }
            _exit(good ? 0 : 1);
        }
    for (int c = 0; c < CHILDREN; c++) {
        int status;
        ck_assert_int_eq(waitpid(child[c], &status, 0), child[c]);
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child %d saw a wrong or missing entry", c);
    }
    for (int c = 0; c < CHILDREN; c++)
        for (int k = 0; k < KEYS; k++) {
            char key[32];
            snprintf(key, sizeof key, "%d/%d", c, k);
            ck_assert_msg(holds(key, key), "%s is lost", key);
        }
}
END_TEST

/* A process that dies while it writes leaves a file that others can use. */
START_TEST(crash)
{
    put("old", "kept");
    pid_t child = fork();
    if (child == 0) {
        for (int k = 0;; k++) {
            char key[32];
            snprintf(key, sizeof key, "crash%d", k);
            put(key, key);
        }
    }
    usleep(150000);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    ck_assert(holds("old", "kept"));
    put("new", "written");
    ck_assert(holds("new", "written"));
}
END_TEST

/* In a child, so that the file is opened anew. */
static int in_child(void (*f)(void))
{
    pid_t child = fork();
    int status;
    if (child == 0) {
        f();
        _exit(0);
    }
    waitpid(child, &status, 0);
    return status;
}

static void use(void)
{
    put("x", "y");
    if (!holds("x", "y"))
        _exit(2);
}

static void use_in_vain(void)
{
    put("x", "y");
    if (holds("x", "y"))
        _exit(2);
}

START_TEST(garbage)
{
    char command[700];
    snprintf(command, sizeof command, "mkdir -p '%s/deep' && head -c 20000 /dev/urandom > '%s'", folder, path);
    ck_assert_int_eq(system(command), 0);
    ck_assert_msg(in_child(use) == 0, "a file that is no database is not replaced");
}
END_TEST

/* One bit of an entry turns: the entry is gone, not wrong. */
START_TEST(damaged_entry)
{
    char command[900];
    put("k", "the text that is damaged");
    snprintf(command, sizeof command,
        "sqlite3 '%s' \"update program1 set data = cast('the text that is DAMAGED' as blob)\" 2>/dev/null", path);
    if (system(command) != 0)
        return;                                 /* no sqlite3 shell here */
    ck_assert(!holds("k", "the text that is damaged"));
    put("k", "well again");
    ck_assert(holds("k", "well again"));
}
END_TEST

START_TEST(read_only)
{
    if (geteuid() == 0) {                       /* permissions do not bind the superuser: a file in the folder's place does */
        char command[700];
        snprintf(command, sizeof command, "touch '%s/deep'", folder);
        ck_assert_int_eq(system(command), 0);
    } else
        ck_assert_int_eq(chmod(folder, 0500), 0);
    ck_assert_msg(in_child(use_in_vain) == 0, "a home that cannot be written");
}
END_TEST

START_TEST(switched_off)
{
    setenv("HEDDLE_CACHE", "off", 1);
    ck_assert_int_eq(in_child(use_in_vain), 0);
}
END_TEST

START_TEST(capped)
{
    setenv("HEDDLE_CACHE_MB", "1", 1);
    char *blob = malloc(200000);
    memset(blob, 'x', 200000);
    for (int k = 0; k < 20; k++) {
        char key[32];
        snprintf(key, sizeof key, "big%d", k);
        cache_put(key, strlen(key), blob, 200000);
    }
    int left = 0;
    for (int k = 0; k < 20; k++) {
        char key[32];
        void *data;
        size_t n;
        snprintf(key, sizeof key, "big%d", k);
        if (cache_get(key, strlen(key), &data, &n)) {
            left++;
            free(data);
        }
    }
    free(blob);
    unsetenv("HEDDLE_CACHE_MB");
    ck_assert_msg(left >= 1 && left <= 6, "%d entries of 200 kB under a cap of 1 MB", left);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cache");
    TCase *t = tcase_create("cache");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, keeps);
    tcase_add_test(t, many_processes);
    tcase_add_test(t, crash);
    tcase_add_test(t, garbage);
    tcase_add_test(t, damaged_entry);
    tcase_add_test(t, read_only);
    tcase_add_test(t, switched_off);
    tcase_add_test(t, capped);
    suite_add_tcase(suite, t);
    SRunner *r = srunner_create(suite);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
