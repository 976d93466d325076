/*
 * test_recursion.c - functions that apply themselves: an error with the function's name and the user's line
 * where this would never end, a result where it does, on a small stack.
 *
 * Directly, through every transform and every kind of control flow, mutually, and through calls made while
 * tracing.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "heddle.h"
#include "suite_run.h"

#ifdef __SANITIZE_ADDRESS__
enum { STACK = 4 << 20 };
#else
enum { STACK = 512 << 10 };                     /* of the thread that a case runs in */
#endif

/* ==================== functions that never end. LINE_ names the line where each applies itself */

#define LINE(f) enum { LINE_##f = __LINE__ + 1 };

LINE(itself)
static hd itself(hd x) { return hd_apply(itself, hd_sin(x)); }
LINE(by_grad)
static hd by_grad(hd x) { return hd_mul(x, hd_apply(hd_grad(by_grad), x)); }
LINE(by_jvp)
static hd by_jvp(hd x) { return hd_nth(hd_apply(hd_jvp(by_jvp), x, x), 0); }
LINE(by_vjp)
static hd by_vjp(hd x) { return hd_nth(hd_apply(hd_vjp(by_vjp), x, x), 0); }
LINE(by_jacobian)
static hd by_jacobian(hd x) { return hd_sum(hd_apply(hd_hessian(by_jacobian), x)); }
LINE(by_jit)
static hd by_jit(hd x) { return hd_apply(hd_jit(hd_jit(by_jit)), x); }
LINE(by_vmap)
static hd by_vmap(hd x) { return hd_index(hd_apply(hd_vmap(by_vmap), hd_stack(0, x, x)), 0, 0); }
LINE(by_partial)
static hd by_partial(hd x) { return hd_apply(hd_partial(by_partial, hd_sin(x))); }
LINE(by_tree_map)
static hd by_tree_map(hd x) { return hd_nth(hd_tree_map(by_tree_map, hd_tuple(x, x)), 0); }
static hd scanned(hd c, hd x) { return hd_tuple(hd_nth(hd_scan(scanned, c, hd_ones(HD_F32, 3)), 0), x); }
LINE(by_scan)
static hd by_scan(hd x) { return hd_nth(hd_scan(scanned, x, hd_ones(HD_F32, 3)), 0); }
LINE(by_map)
static hd by_map(hd x) { return hd_index(hd_map(by_map, hd_stack(0, x, x)), 0, 0); }
static hd looped(hd i, hd c) { return (void)i, hd_fori(hd_c(0), hd_c(2), looped, c); }
LINE(by_fori)
static hd by_fori(hd x) { return hd_fori(hd_c(0), hd_c(2), looped, x); }
static hd small(hd x) { return hd_lt(x, hd_c(3)); }
LINE(by_while)
static hd by_while(hd x) { return hd_while(small, by_while, x); }
LINE(by_cond)
static hd by_cond(hd x) { return hd_cond(hd_lt(x, hd_c(9)), by_cond, hd_cos, x); }
LINE(by_switch)
static hd by_switch(hd x) { return hd_switch(hd_c(1), HD_FNS(hd_sin, by_switch), x); }

static hd pong(hd x);
static hd ping(hd x) { return hd_apply(pong, x); }
LINE(pong)
static hd pong(hd x) { return hd_apply(hd_grad(ping), x); }

/* Other types each time: nothing repeats, and it does not end either. */
LINE(grows)
static hd grows(hd x) { return hd_sum(hd_apply(grows, hd_stack(0, x, x))); }
LINE(longer)
static hd longer(hd x) { return hd_apply(longer, hd_concatenate(0, x, hd_ones(HD_F32, 1))); }
LINE(doubles)
static hd doubles(hd x) { return hd_apply(doubles, hd_concatenate(0, x, x)); }
static hd nested(hd c, hd x)
{
    hd_ints d = hd_shape(c);
    d.v[0]++;
    return hd_tuple(c, hd_nth(hd_scan(nested, hd_zeros_n(HD_F32, d), hd_stack(0, x, x)), 0));
}
static hd by_nested(hd x) { return hd_nth(hd_scan(nested, x, x), 1); }
LINE(weak)
static hd weak(hd x) { return hd_apply(weak, hd_add(x, hd_c(1))); }
static hd from_weak(hd x) { return hd_add(x, hd_apply(weak, hd_c(0))); }

/* A call of its own, with data, while it is traced. */
static hd_array *point;
static hd calls(hd x)
{
    hd_array *y = NULL;
    if (hd_call(calls, &y, point))
        return HD_NIL;
    hd z = hd_mul(x, hd_const(y));
    hd_drop(y);
    return z;
}

/* ==================== one that ends: sums by halves */

static hd halves(hd x)
{
    int64_t n = hd_dim(x, 0);
    if (n == 1)
        return hd_index(x, 0, 0);
    return hd_add(hd_apply(halves, hd_slice(x, HD_INTS(0), HD_INTS(n / 2), HD_INTS())),
                  hd_apply(halves, hd_slice(x, HD_INTS(n / 2), HD_INTS(n), HD_INTS())));
}

/* Deep, and not recursive. */
static hd shorter(hd x)
{
    int64_t n = hd_dim(x, 0);
    return n == 1 ? hd_index(x, 0, 0) : hd_apply(shorter, hd_slice(x, HD_INTS(1), HD_INTS(n), HD_INTS()));
}

static hd_fn *stacked(int n)
{
    hd_fn *f = HD_FN(hd_sin);
    for (int i = 0; i < n; i++)
        f = i % 2 ? hd_jit(f) : hd_grad(f);
    return f;
}

/* ==================== in a thread with a small stack */

typedef struct Run {
    hd_fn *f;
    hd_array *x;
    int code, line;
    double value;
    const char *words;
    char text[4000];
} Run;

static void *run(void *arg)
{
    Run *r = arg;
    hd_array *y = NULL;
    r->code = hd_call_n(r->f, &y, 1, &r->x, 1);
    r->value = r->code ? 0 : hd_item(y);
    snprintf(r->text, sizeof r->text, "%s", hd_error());
    hd_drop(y);
    return NULL;
}

static void in_thread(Run *r)
{
    pthread_attr_t a;
    pthread_t t;
    pthread_attr_init(&a);
    ck_assert_int_eq(pthread_attr_setstacksize(&a, STACK), 0);
    ck_assert_int_eq(pthread_create(&t, &a, run, r), 0);
    pthread_join(t, NULL);
    pthread_attr_destroy(&a);
}

static void refused_code(int code, hd_fn *f, hd_array *x, const char *name, const char *words, int line)
{
    char where[64];
    Run r = { .f = f, .x = x };
    in_thread(&r);
    ck_assert_msg(r.code == code, "%s: code %d: %s", name, r.code, r.text);
    ck_assert_msg(strstr(r.text, name) && strstr(r.text, words), "%s, %s: %s", name, words, r.text);
    snprintf(where, sizeof where, "test_recursion.c:%d", line);
    ck_assert_msg(!line || strstr(r.text, where), "%s: no %s in: %s", name, where, r.text);
    ck_assert_msg(strlen(r.text) < 2000, "%s: %zu characters", name, strlen(r.text));
}

static void refused(hd_fn *f, hd_array *x, const char *name, const char *words, int line)
{
    refused_code(HD_ETRACE, f, x, name, words, line);
}

static void setup(void) { point = hd_array_scalar(HD_F32, 0.5); }

static void teardown(void)
{
    hd_drop(point);
    ck_assert_int_eq(hd_live(), 0);
}

START_TEST(never_ending)
{
#define NEVER(f) refused(HD_FN(f), point, #f, "applies itself", LINE_##f)
    NEVER(itself);
    NEVER(by_grad);
    NEVER(by_jvp);
    NEVER(by_vjp);
    NEVER(by_jacobian);
    NEVER(by_jit);
    NEVER(by_vmap);
    NEVER(by_partial);
    NEVER(by_tree_map);
    NEVER(by_map);
    NEVER(by_while);
    NEVER(by_cond);
    NEVER(by_switch);
    refused(HD_FN(by_scan), point, "scanned", "applies itself", LINE_by_scan - 2);
    refused(HD_FN(by_fori), point, "looped", "applies itself", LINE_by_fori - 2);
    refused(HD_FN(ping), point, "ping", "applies itself", LINE_pong);
    refused(HD_FN(pong), point, "pong", "applies itself", LINE_pong - 2);
    refused(hd_grad(itself), point, "itself", "applies itself", LINE_itself);
    refused(HD_FN(calls), point, "calls", "applies itself", 0);
}
END_TEST

START_TEST(other_types)
{
    hd_array *x = hd_array_lit(float, (2), 1, 2);
    refused(HD_FN(longer), x, "longer", "deep", LINE_longer);
    refused(HD_FN(from_weak), point, "weak", "deep", LINE_weak);
    refused(HD_FN(by_nested), x, "nested", "deep", 0);
    refused_code(HD_ESHAPE, HD_FN(grows), point, "grows", "16", LINE_grows);
    refused_code(HD_ESHAPE, HD_FN(doubles), x, "doubles", "bytes", LINE_doubles);
    hd_drop(x);
}
END_TEST

START_TEST(ending)
{
    float v[64];
    for (int i = 0; i < 64; i++)
        v[i] = (float)i;
    hd_array *x = hd_array_of(v, 64), *y = hd_array_of(v, 61);
    Run r = { .f = HD_FN(halves), .x = x }, s = { .f = HD_FN(shorter), .x = y };
    in_thread(&r), in_thread(&s);
    ck_assert_msg(!r.code && r.value == 63 * 64 / 2, "%g: %s", r.value, r.text);
    ck_assert_msg(!s.code && s.value == 60, "%g: %s", s.value, s.text);
    hd_drop(x), hd_drop(y);
}
END_TEST

START_TEST(deep)
{
    float v[1000] = { 0 };
    hd_array *x = hd_array_of(v, 1000);
    refused(HD_FN(shorter), x, "shorter", "deep", 0);
    refused(stacked(100000), point, "hd_sin", "deep", 0);
    hd_drop(x);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("recursion");
    TCase *t = tcase_create("recursion");
    setenv("HEDDLE_DEVICE", "host", 1);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, never_ending);
    tcase_add_test(t, other_types);
    tcase_add_test(t, ending);
    tcase_add_test(t, deep);
    suite_add_tcase(s, t);
    return suite_run(s);
}
