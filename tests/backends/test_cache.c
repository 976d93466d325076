/*
 * test_cache.c - the disk cache of compiled programs: many processes, forks, damage, strangers' files, homes
 * that cannot be written.
 *
 * In:  a folder of its own under the temporary directory.   Out: nothing is lost, nothing wrong comes back,
 * nothing fails.
 */
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend.h"
#include "rates.h"
#include "suite_run.h"

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

/* Who finds another writing for long leaves the entry out; it is put again. */
static bool insist(const char *key, const char *data)
{
    for (int i = 0; i < 200; i++) {
        put(key, data);
        if (holds(key, data))
            return true;
    }
    return false;
}

/* What another program, or a broken disk, does to the file. */
static void sql(const char *text)
{
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 10000);
    ck_assert_int_eq(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

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

/* Each child writes and reads its own keys and a common one, all at once; the parent had the file open
 * before. */
/* A measurement counts a quarter, and none more than 4 times what was known; the next process knows it. */
START_TEST(rates)
{
    Rate *r = rate_of("rate", 2);
    ck_assert_double_eq(rate_ms(r, 10), 20);
    rate_seen(r, 100, .5), rate_seen(r, 0, 100);        /* too little */
    ck_assert_double_eq(rate_ms(r, 1), 2);
    rate_seen(r, 10, 40);
    ck_assert_double_eq(rate_ms(r, 1), 2.5);
    rate_seen(r, 1, 1e9);
    ck_assert_double_eq(rate_ms(r, 1), 2.5 + (10 - 2.5) / 4);
    ck_assert_ptr_eq(rate_of("rate", 7), r);
    ck_assert_double_eq(rate_ms(rate_of("another", 3), 2), 6);
    void *data;
    size_t n;
    char key[72] = "rate";
    strcpy(key + 8, "rate");
    ck_assert(cache_get(key, sizeof key, &data, &n) && n == sizeof(double));
    ck_assert_double_eq(*(double *)data, rate_ms(r, 1));
    free(data);
}
END_TEST

/* What is kept of an earlier process counts instead of a guess. */
START_TEST(rates_of_before)
{
    const double each = 5, wrong = -1;
    char key[72] = "rate";
    strcpy(key + 8, "before");
    cache_put(key, sizeof key, &each, sizeof each);
    ck_assert_double_eq(rate_ms(rate_of("before", 1), 1), 5);
    strcpy(key + 8, "wrong!");
    cache_put(key, sizeof key, &wrong, sizeof wrong);
    ck_assert_double_eq(rate_ms(rate_of("wrong!", 1), 1), 1);
}
END_TEST

START_TEST(many_processes)
{
    enum { CHILDREN = 8, KEYS = 20 };
    pid_t child[CHILDREN];
    put("before", "fork");
    for (int c = 0; c < CHILDREN; c++)
        if ((child[c] = fork()) == 0) {
            bool good = false;
            for (int i = 0; i < 200 && !good; i++)
                good = holds("before", "fork");
            for (int k = 0; k < KEYS; k++) {
                char key[32];
                snprintf(key, sizeof key, "%d/%d", c, k);
                good = good && insist(key, key) && insist("common", "common");
            }
            _exit(good ? 0 : 1);
        }
    for (int c = 0; c < CHILDREN; c++) {
        int status;
        ck_assert_int_eq(waitpid(child[c], &status, 0), child[c]);
        ck_assert_msg(
            WIFEXITED(status) && WEXITSTATUS(status) == 0, "child %d saw a wrong or missing entry", c);
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
    if (cache_put("x", 1, "y", 1) != CACHE_NONE || holds("x", "y"))
        _exit(2);
}

/* ---- files that are not ours are neither used nor changed ---- */

static void make_file(const char *bytes, size_t n)
{
    char at[300];
    snprintf(at, sizeof at, "%s/deep", folder);
    mkdir(at, 0700);
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    ck_assert(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    close(fd);
}

static size_t contents(char *to, size_t n)
{
    int fd = open(path, O_RDONLY);
    ssize_t k = fd >= 0 ? read(fd, to, n) : -1;
    close(fd);
    ck_assert(k >= 0);
    return (size_t)k;
}

static void stays_as_it_is(const char *what)
{
    static char before[1 << 16], after[1 << 16];
    size_t n = contents(before, sizeof before);
    ck_assert_msg(in_child(use_in_vain) == 0, "%s is used", what);
    ck_assert_msg(contents(after, sizeof after) == n && !memcmp(before, after, n), "%s is changed", what);
}

START_TEST(another_kind_of_file)
{
    make_file("a letter of some length that somebody wrote and would not like to lose, nor to find a "
              "database in it",
        100);
    stays_as_it_is("a text");
    make_file("short", 5);
    stays_as_it_is("a short text");
}
END_TEST

START_TEST(another_database)
{
    make_file("", 0);
    sql("create table program2(key, data); insert into program2 values (1, 2)");
    stays_as_it_is("a database of another application");
}
END_TEST

START_TEST(empty_file)                          /* as mktemp makes them */
{
    make_file("", 0);
    ck_assert_int_eq(in_child(use), 0);
}
END_TEST

START_TEST(in_a_folder)
{
    setenv("HEDDLE_CACHE", folder, 1);
    ck_assert_int_eq(in_child(use), 0);
    snprintf(path, sizeof path, "%s/compiled.db", folder);
    ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

START_TEST(made_for_its_user)
{
    struct stat s;
    umask(0);
    put("x", "y");
    ck_assert(stat(path, &s) == 0);
    ck_assert_uint_eq(s.st_mode & 0777, 0600);
}
END_TEST

START_TEST(writable_by_others)
{
    char at[300];
    ck_assert_int_eq(in_child(use), 0);
    ck_assert_int_eq(chmod(path, 0666), 0);
    stays_as_it_is("a file that others can write");
    ck_assert_int_eq(chmod(path, 0600), 0);
    snprintf(at, sizeof at, "%s/deep", folder);
    ck_assert_int_eq(chmod(at, 0777), 0);
    stays_as_it_is("a file in a folder that others can write");
    ck_assert_int_eq(chmod(at, 0755), 0);
    ck_assert_int_eq(in_child(use), 0);
}
END_TEST

START_TEST(of_another_user)
{
    if (geteuid() != 0)
        return;                                 /* only the superuser can give a file away */
    ck_assert_int_eq(in_child(use), 0);
    ck_assert_int_eq(chown(path, 12345, (gid_t)-1), 0);
    stays_as_it_is("a file of another user");
}
END_TEST

START_TEST(symbolic_link)
{
    char real[300];
    ck_assert_int_eq(in_child(use), 0);
    snprintf(real, sizeof real, "%s/elsewhere", folder);
    ck_assert_int_eq(rename(path, real), 0);
    ck_assert_int_eq(symlink(real, path), 0);
    stays_as_it_is("a file behind a symbolic link");
}
END_TEST

/* ---- damage ---- */

/* The file is ours, and nothing in it can be read. */
START_TEST(garbage)
{
    char noise[4096];
    ck_assert_int_eq(in_child(use), 0);
    memset(noise, 0xa5, sizeof noise);
    int fd = open(path, O_WRONLY);
    for (int i = 0; i < 8; i++)
        ck_assert(pwrite(fd, noise, sizeof noise, 100 + (off_t)sizeof noise * i) == sizeof noise);
    close(fd);
    in_child(use);                              /* may find out only now */
    ck_assert_msg(in_child(use) == 0, "a damaged file is not made anew");
}
END_TEST

START_TEST(damaged_entry)
{
    put("k", "the text that is damaged");
    sql("update program2 set data = cast('the text that is DAMAGED' as blob)");
    ck_assert(!holds("k", "the text that is damaged"));
    put("k", "well again");
    ck_assert(holds("k", "well again"));
    sql("update program2 set data = substr(data, 1, 4)");
    ck_assert(!holds("k", "well again"));
}
END_TEST

START_TEST(exchanged_entries)
{
    put("one", "first");
    put("two", "second");
    sql("create temp table t as select * from program2;"
        "update program2 set (sum, data) = (select t.sum, t.data from t where t.key != program2.key)");
    ck_assert(!holds("one", "first"));
    ck_assert(!holds("two", "second"));
}
END_TEST

START_TEST(removed_while_open)
{
    put("x", "1");
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_msg(!holds("x", "1"), "a file that was removed is still used");
    ck_assert(insist("z", "3"));
    ck_assert_msg(access(path, F_OK) == 0, "no file takes the place of the removed one");
}
END_TEST

static void use_without_room(void)
{
    static char blob[1 << 20];
    void *data;
    size_t n;
    const struct rlimit most = { 1 << 16, 1 << 16 };
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &most))
        _exit(3);
    cache_put("big", 3, blob, sizeof blob);
    if (cache_get("big", 3, &data, &n))
        _exit(2);
    if (!holds("before", "it was full"))
        _exit(4);
}

START_TEST(full_disk)
{
    put("before", "it was full");
    ck_assert_int_eq(in_child(use_without_room), 0);
    ck_assert_int_eq(in_child(use), 0);
}
END_TEST

/* ---- what ends the process that loads it ---- */

static bool try_it(bool *tried)
{
    void *data;
    size_t n;
    bool there = cache_try("k", 1, &data, &n, tried);
    if (there)
        free(data);
    return there;
}

static void try_and_crash(void)
{
    bool tried;
    if (!try_it(&tried) || !tried)
        _exit(2);
    raise(SIGKILL);
}

static void try_and_work(void)
{
    bool tried;
    if (!try_it(&tried) || !tried)
        _exit(2);
    cache_worked("k", 1);
}

static void missing_now(void)
{
    bool tried;
    if (try_it(&tried))
        _exit(2);
}

static void known_to_work(void)
{
    bool tried;
    if (!try_it(&tried) || tried)
        _exit(2);
}

START_TEST(crashes_once)
{
    put("k", "a binary that ends the process");
    ck_assert(WIFSIGNALED(in_child(try_and_crash)));
    ck_assert_msg(in_child(missing_now) == 0, "what ended a process is tried again");
    put("k", "a good binary");
    ck_assert_int_eq(in_child(try_and_work), 0);
    ck_assert_int_eq(in_child(known_to_work), 0);
    ck_assert_int_eq(in_child(known_to_work), 0);
    cache_drop("k", 1);
    ck_assert_int_eq(in_child(missing_now), 0);
}
END_TEST

START_TEST(tried_by_two)                        /* at once: the other one lives */
{
    bool tried;
    put("k", "a binary");
    ck_assert(try_it(&tried) && tried);
    pid_t child = fork();
    if (child == 0)
        _exit(try_it(&tried) && tried ? 0 : 2);
    int status;
    waitpid(child, &status, 0);
    ck_assert_msg(status == 0, "what another process loads just now is gone");
}
END_TEST

/* ---- locks ---- */

/* Holds the lock for writing until it is told, or for a time in which hits that wait for it would not come
 * to an end. */
static void hold(int ready, int told)
{
    sqlite3 *db;
    struct timeval most = { .tv_sec = 30 };
    fd_set set;
    FD_ZERO(&set);
    FD_SET(told, &set);
    bool good = sqlite3_open(path, &db) == SQLITE_OK &&
        sqlite3_exec(db, "begin immediate", NULL, NULL, NULL) == SQLITE_OK;
    good = good && write(ready, "", 1) == 1 && select(told + 1, &set, NULL, NULL, &most) == 1;
    _exit(good ? 0 : 1);
}

START_TEST(hits_while_another_writes)
{
    enum { HITS = 60 };
    int ready[2], told[2], status;
    char c;
    put("k", "there");
    sql("update program2 set used = 0");        /* so that each hit would like to note its use */
    ck_assert(pipe(ready) == 0 && pipe(told) == 0);
    pid_t child = fork();
    if (child == 0)
        hold(ready[1], told[0]);
    ck_assert_int_eq(read(ready[0], &c, 1), 1);
    for (int i = 0; i < HITS; i++)
        ck_assert(holds("k", "there"));
    ck_assert_int_eq(cache_put("other", 5, "left out", 8), CACHE_BUSY);
    ck_assert_int_eq(write(told[1], "", 1), 1);
    waitpid(child, &status, 0);
    ck_assert_msg(status == 0, "%d hits waited for who writes", HITS);
    ck_assert(insist("other", "there"));
}
END_TEST

/* Somebody else's turn at writing is waited for: what was made is kept. */
START_TEST(kept_after_another)
{
    int ready[2], told[2];
    char c;
    put("k", "there");
    ck_assert(pipe(ready) == 0 && pipe(told) == 0);
    pid_t child = fork();
    if (child == 0)
        hold(ready[1], told[0]);
    ck_assert_int_eq(read(ready[0], &c, 1), 1);
    pid_t teller = fork();
    if (teller == 0) {
        usleep(300000);
        _exit(write(told[1], "", 1) != 1);
    }
    put("other", "kept");
    ck_assert(holds("other", "kept"));
    waitpid(child, NULL, 0), waitpid(teller, NULL, 0);
}
END_TEST

/* ---- claims ---- */

static int claim(const char *key, int wait_ms) { return cache_claim(key, strlen(key), wait_ms); }

/* One process has a claim until it gives it back, or is killed; other keys are not held up by it. */
START_TEST(claims)
{
    int ready[2];
    char c;
    ck_assert(pipe(ready) == 0);
    pid_t child = fork();
    if (child == 0) {
        bool mine = claim("one", 0) >= 0;
        ck_assert_int_eq(write(ready[1], mine ? "y" : "n", 1), 1);
        pause();
    }
    ck_assert(read(ready[0], &c, 1) == 1 && c == 'y');
    ck_assert_int_eq(claim("one", 20), CLAIM_TAKEN);
    int other = claim("two", 0);
    ck_assert_int_ge(other, 0);
    ck_assert_int_eq(claim("two", 0), CLAIM_TAKEN);     /* also of another thread of this process */
    cache_claim_end(other);
    other = claim("two", 0);
    ck_assert_int_ge(other, 0);
    cache_claim_end(other);
    kill(child, SIGKILL);
    int one = claim("one", 20000);
    ck_assert_int_ge(one, 0);
    cache_claim_end(one);
    waitpid(child, NULL, 0);
    setenv("HEDDLE_CACHE", "off", 1);
    ck_assert_int_eq(claim("one", 0), CLAIM_NONE);
}
END_TEST

START_TEST(read_only)
{
    /* permissions do not bind the superuser: a file in the folder's place does */
    if (geteuid() == 0) {
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
    tcase_add_test(t, rates);
    tcase_add_test(t, rates_of_before);
    tcase_add_test(t, many_processes);
    tcase_add_test(t, crash);
    tcase_add_test(t, another_kind_of_file);
    tcase_add_test(t, another_database);
    tcase_add_test(t, empty_file);
    tcase_add_test(t, in_a_folder);
    tcase_add_test(t, made_for_its_user);
    tcase_add_test(t, writable_by_others);
    tcase_add_test(t, of_another_user);
    tcase_add_test(t, symbolic_link);
    tcase_add_test(t, garbage);
    tcase_add_test(t, damaged_entry);
    tcase_add_test(t, exchanged_entries);
    tcase_add_test(t, removed_while_open);
    tcase_add_test(t, full_disk);
    tcase_add_test(t, crashes_once);
    tcase_add_test(t, tried_by_two);
    tcase_add_test(t, hits_while_another_writes);
    tcase_add_test(t, kept_after_another);
    tcase_add_test(t, claims);
    tcase_add_test(t, read_only);
    tcase_add_test(t, switched_off);
    tcase_add_test(t, capped);
    suite_add_tcase(suite, t);
    return suite_run(suite);
}
