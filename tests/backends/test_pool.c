/*
 * test_pool.c - memory that nobody holds is found by its size and given back by its age, however much of it
 * there is.
 *
 * In:  memories of no device.   Out: which come back, and how many the pool looked at.
 */
#include <stdlib.h>

#include "backend.h"
#include "suite_run.h"

enum { MANY = 200000 };
static Mem mem[MANY];
static Pool pool;

static void fill(size_t (*size)(int), size_t cap)
{
    pool_new(&pool, 0);
    pool.cap = cap;
    for (int i = 0; i < MANY; i++) {
        mem[i].capacity = pool_class(size(i));
        ck_assert_ptr_null(pool_give(&pool, &mem[i]));
    }
}

static size_t small(int i) { return 1 + (size_t)i % 60000; }
static size_t wide(int i) { return ((size_t)1 << (20 + i % 20)) + (size_t)i * 4096; }

/* An allocation looks at no more memories after 200,000 drops than after one: it looked at each of another
 * size before. */
static void few_steps(size_t (*size)(int))
{
    fill(size, SIZE_MAX);
    ck_assert_uint_eq(pool.looked, 0);
    for (int i = 0; i < MANY; i++) {
        uint64_t before = pool.looked;
        Mem *m = pool_take(&pool, pool_class(size(i)));
        ck_assert_ptr_nonnull(m);
        ck_assert_uint_eq(m->capacity, pool_class(size(i)));
        ck_assert_uint_le(pool.looked - before, 2);
    }
    ck_assert_uint_eq(pool.held, 0);
    ck_assert_ptr_null(pool_take(&pool, 256));
    ck_assert_ptr_null(pool_take(&pool, 0));
}

START_TEST(test_small) { few_steps(small); }
END_TEST
START_TEST(test_wide) { few_steps(wide); }
END_TEST

/* What it holds is bounded; what it gives back for room is what lay there longest. */
START_TEST(test_oldest)
{
    static Mem m[8];
    pool_new(&pool, 0);
    pool.cap = 4 * 1024;
    for (int i = 0; i < 4; i++) {
        m[i].capacity = 1024;
        ck_assert_ptr_null(pool_give(&pool, &m[i]));
    }
    ck_assert_ptr_eq(pool_take(&pool, 1024), &m[3]);            /* the newest is in the cache */
    m[4].capacity = 3 * 1024;
    Mem *out = pool_give(&pool, &m[4]);
    ck_assert_ptr_eq(out, &m[1]);
    ck_assert_ptr_eq(out->next, &m[0]);
    ck_assert_ptr_null(out->next->next);
    ck_assert_uint_eq(pool.held, 4 * 1024);
    /* never fits: everything else would go for it, and it as well */
    m[5].capacity = 5 * 1024;
    int n = 0;
    for (out = pool_give(&pool, &m[5]); out; out = out->next)
        n++;
    ck_assert_int_eq(n, 1);
    ck_assert_uint_eq(pool.held, 4 * 1024);
}
END_TEST

START_TEST(test_setting)
{
    setenv("HEDDLE_POOL_MB", "3", 1);
    pool_new(&pool, 1 << 30);
    ck_assert_uint_eq(pool.cap, 3 << 20);
    unsetenv("HEDDLE_POOL_MB");
    pool_new(&pool, 1 << 30);
    ck_assert_uint_eq(pool.cap, 1 << 28);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pool");
    TCase *c = tcase_create("pool");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, test_small);
    tcase_add_test(c, test_wide);
    tcase_add_test(c, test_oldest);
    tcase_add_test(c, test_setting);
    suite_add_tcase(s, c);
    return suite_run(s);
}
