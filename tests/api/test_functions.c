/*
 * test_functions.c - the life of functions: callbacks with a payload, which are other functions each time
 * they are made; forgetting, with all that was made of a function; how many programs are kept, and that
 * memory stays flat.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "heddle.h"
#include "api.h"
#include "suite_run.h"

/* ==================== callbacks */

typedef struct Scale { double by; int traced, dropped; } Scale;

static int scale(hd *out, const hd *in, int n, void *payload)
{
    Scale *s = payload;
    s->traced++;
    if (n != 1)
        return hd_fail("scale wants 1 argument, got %d", n), HD_EINVAL;
    *out = hd_mul(in[0], hd_c(s->by));
    return 0;
}

static void dropped(void *payload) { ((Scale *)payload)->dropped++; }

static int gives_up(hd *out, const hd *in, int n, void *code)
{
    *out = n ? in[0] : HD_NIL;
    return *(int *)code;
}

static int gives_nothing(hd *out, const hd *in, int n, void *p)
{
    return (void)out, (void)in, (void)n, (void)p, 0;
}

static hd_array *x3;

static void setup(void) { x3 = hd_array_lit(float, (3), 1, 2, 3); }

static void teardown(void)
{
    hd_drop(x3);
    ck_assert_int_eq(hd_live(), 0);
}

static float last_of(hd_fn *f)
{
    float v[3] = { 0 };
    hd_array *y = NULL;
    ck_assert_msg(!hd_call(f, &y, x3) && !hd_read(y, v, 3), "%s", hd_error());
    hd_drop(y);
    return v[2];
}

static void fails(hd_fn *f, int code, const char *words)
{
    hd_array *y = NULL;
    int got = hd_call(f, &y, x3);
    ck_assert_msg(got == code && strstr(hd_error(), words), "code %d, %s", got, hd_error());
    ck_assert_ptr_null(y);
}

START_TEST(callback)
{
    Scale s = { .by = 4 };
    hd_fn *f = hd_function(scale, &s, dropped, "scale");
    ck_assert_ptr_nonnull(f);
    ck_assert(last_of(f) == 12 && last_of(f) == 12);
    ck_assert(last_of(hd_vmap(f)) == 12);
    ck_assert_int_eq(s.traced, 2);              /* f32[3] and, for vmap, f32[] */
    hd_array *pair[2] = { x3, x3 }, *y = NULL;
    ck_assert_int_eq(hd_call_n(f, &y, 1, pair, 2), HD_EINVAL);
    ck_assert_msg(strstr(hd_error(), "scale wants 1 argument, got 2") != NULL, "%s", hd_error());
    hd_forget(f);
    ck_assert_int_eq(s.dropped, 1);
    hd_forget(f);
    ck_assert_int_eq(s.dropped, 1);
    hd_fn *none = NULL;
    hd_forget_n(NULL), hd_forget(none);
    ck_assert_ptr_nonnull(strstr(hd_error(), "scale wants"));       /* no error of its own */
}
END_TEST

/* One callback and one payload's address, as when the first was freed and the second is where it was. */
START_TEST(identity)
{
    Scale s = { .by = 2 };
    hd_fn *f = hd_function(scale, &s, NULL, "scale");
    ck_assert(last_of(f) == 6 && last_of(hd_jit(f)) == 6);
    hd_forget(f);
    s.by = 10;
    hd_fn *g = hd_function(scale, &s, NULL, "scale");
    ck_assert(last_of(g) == 30 && last_of(hd_jit(g)) == 30);
    s.by = 100;
    hd_fn *h = hd_function(scale, &s, NULL, "scale");
    ck_assert(g != h && last_of(h) == 300 && last_of(g) == 30);
    hd_forget(g), hd_forget(h);
}
END_TEST

START_TEST(codes)
{
    int code = HD_ESHAPE;
    hd_fn *f = hd_function(gives_up, &code, NULL, "gives_up");
    fails(f, HD_ESHAPE, "gives_up returned 2");
    code = -7;
    fails(f, HD_EINVAL, "gives_up returned -7");
    code = 0;
    ck_assert(last_of(f) == 3);
    hd_fn *g = hd_function(gives_nothing, NULL, NULL, NULL);
    fails(g, HD_EINVAL, "returned nothing");
    hd_forget(f), hd_forget(g);
    ck_assert_ptr_null(hd_function(NULL, NULL, NULL, "none"));
    ck_assert_int_eq(hd_error_code(), HD_EINVAL);
}
END_TEST

/* What is made while the program runs has no identity that could be seen. */
START_TEST(made_at_run_time)
{
    char *code = malloc(64), local[64];
    ck_assert_ptr_null(hd_function_(1, (uintptr_t)code, "made", NULL, 0));
    ck_assert_msg(
        strstr(hd_error(), "made lies in no loaded") && strstr(hd_error(), "hd_function"), "%s", hd_error());
    ck_assert_ptr_null(hd_function_(101, (uintptr_t)local, "bound", local, 8));
    ck_assert_ptr_nonnull(hd_function_(1, (uintptr_t)(hd (*)(hd))hd_sin, "hd_sin", NULL, 0));
    free(code);
}
END_TEST

/* ==================== forgetting */

static int traces;
static hd half(hd x) { return traces++, hd_mul(x, hd_c(0.5)); }
static hd quarter(hd x) { return hd_apply(half, hd_apply(half, x)); }
static hd bound(hd x, const void *env) { return hd_add(x, hd_c(*(const double *)env)); }

START_TEST(forgotten)
{
    int64_t programs = kept_count(PROGRAMS), graphs = kept_count(GRAPHS);
    hd_fn *f = hd_jit(half), *g = hd_vmap(hd_vmap(f)), *h = hd_jit(hd_grad(f), .donate = HD_INTS(0));
    ck_assert(last_of(f) == 1.5f && last_of(f) == 1.5f);
    ck_assert_int_eq(traces, 1);
    ck_assert_int_eq(kept_count(PROGRAMS), programs + 1);
    hd_forget(half);
    ck_assert_int_eq(kept_count(PROGRAMS), programs);
    ck_assert_int_eq(kept_count(GRAPHS), graphs);
    fails(f, HD_EINVAL, "half was forgotten");
    fails(g, HD_EINVAL, "forgotten");
    fails(h, HD_EINVAL, "forgotten");
    ck_assert_ptr_null(hd_vmap(f));
    ck_assert_msg(strstr(hd_error(), "forgotten") != NULL, "%s", hd_error());
    ck_assert(last_of(hd_jit(half)) == 1.5f);
    ck_assert_int_eq(traces, 2);
    hd_forget(hd_jit(half));                    /* the graph of half itself stays */
    ck_assert(last_of(hd_jit(half)) == 1.5f);
    ck_assert_int_eq(traces, 2);
    double a = 1, b = 2;
    ck_assert(last_of(hd_bind(bound, a)) == 4 && last_of(hd_bind(bound, b)) == 5);
    hd_forget(hd_bind(bound, a));
    ck_assert(last_of(hd_bind(bound, b)) == 5 && last_of(hd_bind(bound, a)) == 4);
    hd_fn *p = hd_parse("fn f(x0: f32[3]) -> f32[3] {\n v1: f32[3] = neg x0\n ret v1\n}\n", "f");
    ck_assert(last_of(p) == -3);
    hd_forget(p);
    fails(p, HD_EINVAL, "f was forgotten");
}
END_TEST

/* Forgotten while it is traced: it lasts until that is over. */
static hd_fn *within;
static Scale inner = { .by = 3 };
static hd forgets(hd x)
{
    hd y = hd_apply(within, x);
    hd_forget(within), hd_forget(within), hd_forget(forgets), hd_forget(half);
    ck_assert_int_eq(inner.dropped, 0);
    return hd_add(hd_apply(half, hd_apply(within, y)), hd_apply(hd_partial(within, x)));
}

START_TEST(while_traced)
{
    traces = 0;
    within = hd_function(scale, &inner, dropped, "within");
    hd_fn *f = HD_FN(forgets);
    ck_assert(last_of(f) == 3 * 9 / 2.f + 9);
    ck_assert_int_eq(inner.dropped, 1);
    fails(f, HD_EINVAL, "forgets was forgotten");
    fails(within, HD_EINVAL, "within was forgotten");
    ck_assert(last_of(HD_FN(quarter)) == 0.75f);
    ck_assert_int_eq(traces, 2);                /* half again */
}
END_TEST

/* A long chain of transforms ends from its outer end. */
START_TEST(chain)
{
    hd_fn *f = HD_FN(half);
    for (int i = 0; i < 100000; i++)
        f = hd_grad(f);
    ck_assert_ptr_nonnull(f);
    hd_forget(half);
    ck_assert(last_of(HD_FN(half)) == 1.5f);
}
END_TEST

/* ==================== how many are kept */

/* dims are the digits of i: 10^5 shapes, with sizes of zero among them. */
static int call_shape(hd_fn *f, int i)
{
    static const bool no[9 * 9 * 9 * 9 * 9];
    hd_ints shape = { 5, { i % 10, i / 10 % 10, i / 100 % 10, i / 1000 % 10, i / 10000 % 10 } };
    hd_array *x = hd_array_new(HD_BOOL, shape, no, NULL), *y = NULL;
    int e = hd_call_n(f, &y, 1, &x, 1) || hd_wait(y);
    hd_drop(x), hd_drop(y);
    return e;
}

static long resident(void)
{
    long pages = 0, all;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%ld %ld", &all, &pages) != 2)
        pages = 0;
    if (f)
        fclose(f);
    return pages * sysconf(_SC_PAGESIZE) >> 10;
}

static hd flip(hd x) { return traces++, hd_not(x); }

START_TEST(least_recently_used)
{
    int64_t before = hd_program_limit(3);
    hd_fn *f = hd_jit(flip);
    ck_assert_int_eq(hd_program_limit(0), 3);
    traces = 0;
    for (int i = 1; i <= 3; i++)
        ck_assert_int_eq(call_shape(f, i), 0);
    ck_assert_int_eq(traces, 3);
    for (int i = 4; i < 30; i++) {              /* 1 is used all the time, and stays */
        ck_assert_int_eq(call_shape(f, 1), 0);
        ck_assert_int_eq(call_shape(f, i), 0);
        ck_assert_int_le(kept_count(PROGRAMS), 3);
        ck_assert_int_le(kept_count(GRAPHS), 3);
    }
    int so_far = traces;
    ck_assert_int_eq(call_shape(f, 1), 0);
    ck_assert_int_eq(traces, so_far);
    ck_assert_int_eq(call_shape(f, 5), 0);
    ck_assert_int_eq(traces, so_far + 1);
    ck_assert_int_eq(hd_program_limit(1), 3);
    ck_assert_int_le(kept_count(PROGRAMS), 1);
    ck_assert_int_eq(call_shape(f, 5), 0);
    ck_assert_int_eq(call_shape(f, 6), 0);
    hd_program_limit(before);
}
END_TEST

static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

/* Milliseconds for a call of each of the first shapes: the least of some tries. */
static double hits(hd_fn *f)
{
    double least = 1e9;
    for (int r = 0; r < 9; r++) {
        double start = cpu_ms();
        for (int i = 0; i < 64; i++)
            ck_assert_int_eq(call_shape(f, i), 0);
        least = fmin(least, cpu_ms() - start);
    }
    return least;
}

/* A program is found as fast among many as among few. */
START_TEST(found_alike)
{
    int64_t before = hd_program_limit(10000);
    hd_fn *f = HD_FN(flip);
    double few = hits(f);
    for (int i = 0; i < 2000; i++)
        ck_assert_int_eq(call_shape(f, i), 0);
    ck_assert_int_ge(kept_count(PROGRAMS), 2000);
    double many = hits(f);
    ck_assert_msg(many < 4 * few, "%g us among few, %g among many", 1e3 * few / 64, 1e3 * many / 64);
    hd_program_limit(before);
}
END_TEST

/* What is freed stays with AddressSanitizer for a while. */
#ifdef __SANITIZE_ADDRESS__
enum { GROWTH = 1 << 30 };
#else
enum { GROWTH = 2048 };                         /* KiB */
#endif

static int setting(const char *variable, int otherwise)
{
    const char *s = getenv(variable);
    return s ? atoi(s) : otherwise;
}

/* Memory after as many shapes again is what it was. HEDDLE_TEST_SHAPES says how many, HEDDLE_TEST_GROWTH how
 * many KiB a device may keep of them. */
START_TEST(flat)
{
    int n = setting("HEDDLE_TEST_SHAPES", 4000), most = setting("HEDDLE_TEST_GROWTH", GROWTH);
    int64_t before = hd_program_limit(n < 1000 ? 20 : 100);
    hd_fn *f = HD_FN(flip);
    for (int i = 0; i < n / 2; i++)
        ck_assert_msg(!call_shape(f, 11111 + i), "%s", hd_error());
    long half_way = resident();
    for (int i = n / 2; i < n; i++)
        ck_assert_msg(!call_shape(f, 11111 + i), "%s", hd_error());
    long grown = resident() - half_way;
    printf("%d shapes: %ld KiB, then %ld more\n", n, half_way, grown);
    ck_assert_int_le(kept_count(PROGRAMS), 100);
    ck_assert_msg(grown < most, "%d shapes more cost %ld KiB", n / 2, grown);
    hd_program_limit(before);
}
END_TEST

/* Functions that come and go leave nothing either. */
START_TEST(come_and_go)
{
    Scale s = { .by = 2 };
    long half_way = 0;
    for (int i = 0; i < 4000; i++) {
        if (i == 2000)
            half_way = resident();
        hd_fn *f = hd_function(scale, &s, dropped, "scale");
        ck_assert(last_of(hd_jit(hd_vmap(f))) == 6);
        hd_forget(f);
    }
    ck_assert_int_eq(s.dropped, 4000);
    ck_assert_msg(resident() - half_way < GROWTH, "%ld KiB", resident() - half_way);
}
END_TEST

/* In a process of its own: drivers do not survive a fork. */
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
    if (getenv("HEDDLE_DEVICE") && absent(getenv("HEDDLE_DEVICE")))
        return 77;
    Suite *s = suite_create("functions");
    TCase *t = tcase_create("functions"), *u = tcase_create("flat");
    setenv("HEDDLE_DEVICE", "host", 0);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 300);
    tcase_add_test(t, callback);
    tcase_add_test(t, identity);
    tcase_add_test(t, codes);
    tcase_add_test(t, made_at_run_time);
    tcase_add_test(t, forgotten);
    tcase_add_test(t, while_traced);
    tcase_add_test(t, chain);
    tcase_add_test(t, least_recently_used);
    tcase_add_test(t, found_alike);
    tcase_add_test(t, come_and_go);
    tcase_set_timeout(u, 600);
    tcase_add_test(u, flat);
    suite_add_tcase(s, t);
    suite_add_tcase(s, u);
    return suite_run(s);
}
