/*
 * test_pmap_grid.c - maps over devices inside maps over devices, loops and branches: they equal the same
 * with vmap, to the bit where the devices are one; all devices of the grid work; what is only read by rows
 * stays in rows. Which shards ran, and what they exchanged, is read from the timeline.
 */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "suite.h"

enum { N = 4, M = 6 };
static const float numbers[N * M] = { .5f, -1, 2, .25f, 3, -2, .75f, 1.5f, -.5f, 1, -.25f, .1f, -3, .3f,
    1.25f, 2, -.75f, .6f, .2f, -1.5f, .9f, .4f, -.1f, 1 };

/* ==================== what ran */

static char timeline[] = "/tmp/heddle-grid-XXXXXX";
static long seen;

typedef struct Ran { int shards, exchanges; } Ran;

/* Since the last look: how many shards had work, and what they exchanged in all. */
static Ran ran(void)
{
    char line[400], name[60];
    bool shard[64] = { false };
    int tid;
    Ran r = { 0 };
    FILE *f = fopen(timeline, "r");
    ck_assert(f && !fseek(f, seen, SEEK_SET));
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "{\"ph\":\"B\",\"pid\":%*d,\"tid\":%d,\"name\":\"%59[^\"]\"", &tid, name) != 2 ||
            tid < 1 || tid > 64)
            continue;
        r.exchanges += strchr(name, '#') != NULL;
        shard[tid - 1] = true;
    }
    for (int k = 0; k < 64; k++)
        r.shards += shard[k];
    seen = ftell(f) - 3;                        /* the next event takes the place of the bracket */
    seen = seen > 0 ? seen : 0;
    fclose(f);
    return r;
}

/* Each test has a process of its own, which begins the file anew when something first runs. */
static void afresh(void) { ck_assert(!truncate(timeline, 0)); }

/* ==================== pairs: f with vmap, and with pmap over the list of the moment */

static const char *outer, *inner;

#define VMAP(f, name) hd_vmap(f, .axis_name = name)
#define PMAP(f, name, list) hd_pmap(f, .axis_name = name, .devices = list)

static hd one(hd x) { return hd_add(hd_tanh(x), hd_psum(x, "j")); }
static hd both(hd x) { return hd_add(hd_sin(x), hd_mul(hd_psum(x, "j,i"), hd_pmean(x, "i"))); }
static hd where(hd x)
{
    hd n = hd_cast(hd_axis_index("i,j"), HD_F32);
    return hd_tuple(
        hd_add(x, n), hd_all_gather(x, "j", 0, false), hd_all_gather(x, "i", 0, false), hd_pmax(x, "i"));
}
static hd turned(hd x)
{
    static const int ring[2][2] = { { 0, 1 }, { 1, 0 } }, some[2][2] = { { 0, 1 }, { 1, 2 } };
    return hd_add(hd_ppermute(x, "i", ring, 2), hd_ppermute(x, "j", some, 2));
}
static hd squares(hd x) { return hd_psum(hd_square(x), "j"); }

#define NEST(f) \
    static hd f##_v(hd x) { return hd_apply(VMAP(f, "j"), x); } \
    static hd f##_p(hd x) { return hd_apply(PMAP(f, "j", inner), x); }
NEST(one) NEST(both) NEST(where) NEST(turned) NEST(squares)

/* Something around the inner map, too: computed on all devices of its axis. */
static hd mixed_with(hd (*f)(hd), hd x)
{
    hd y = f(hd_sin(x)), s = hd_psum(hd_sum(y), "i");
    return hd_tuple(hd_mul(f(y), s), hd_sum(y), hd_flip(y, 0));
}
static hd mixed_v(hd x) { return mixed_with(one_v, x); }
static hd mixed_p(hd x) { return mixed_with(one_p, x); }

/* The inner map in a loop of the outer one, whose places turn differently often: those along j together. */
static hd turn_v(hd i, hd x) { (void)i; return hd_mul_c(one_v(x), .5); }
static hd turn_p(hd i, hd x) { (void)i; return hd_mul_c(one_p(x), .5); }
static hd trips_v(hd x) { return hd_fori(hd_c(0), hd_add_c(hd_axis_index("i"), 1), turn_v, x); }
static hd trips_p(hd x) { return hd_fori(hd_c(0), hd_add_c(hd_axis_index("i"), 1), turn_p, x); }

#define PAIR(f) { #f, f##_v, f##_p }
static const struct { const char *name; hd (*v)(hd), (*p)(hd); } nest[] = {
    PAIR(one), PAIR(both), PAIR(where), PAIR(turned), PAIR(squares), PAIR(mixed), PAIR(trips),
};

static hd_array *called(hd_fn *f, hd_array *x, const char *what)
{
    hd_array *y = NULL;
    ck_assert_msg(f && !hd_call(f, &y, x), "%s: %s", what, hd_error());
    return y;
}

static void near(const hd_array *a, const hd_array *b, double tol, const char *what)
{
    ck_assert_msg(a && b && hd_array_len(a) == hd_array_len(b), "%s: %s", what, hd_error());
    for (int k = 0; k < hd_array_len(a); k++)
        near(hd_array_nth(a, k), hd_array_nth(b, k), tol, what);
    if (hd_array_len(a))
        return;
    size_t n = (size_t)hd_array_size(a);
    const float *p = hd_data(a), *q = hd_data(b);
    ck_assert_msg(p && q && n == (size_t)hd_array_size(b), "%s: %s", what, hd_error());
    for (size_t k = 0; k < n; k++)
        ck_assert_msg(tol ? fabs((double)p[k] - (double)q[k]) <= tol * (1 + fabs((double)q[k])) :
                            !memcmp(p + k, q + k, sizeof *p),
            "%s: element %zu is %.9g, not %.9g", what, k, (double)p[k], (double)q[k]);
}

static const char *six_unlike(void)
{
    static char list[100];
    const char *a = there("opencl:0") ? "opencl:0" : "host", *b = there("vulkan:0") ? "vulkan:0" : "host";
    snprintf(list, sizeof list, "%s,host,%s,host,%s,host:1", a, b, a);
    return list;
}

static hd_array *grid(int64_t a, int64_t b)
{
    return hd_array_new(HD_F32, (hd_ints){ 3, { a, b, N * M / a / b } }, numbers, NULL);
}

static void same(hd_fn *v, hd_fn *p, hd_array *x, double tol, const char *what)
{
    hd_array *want = called(hd_jit_n(v, &(hd_jit_opts){ .device = "host" }), x, what),
             *got = called(p, x, what);
    near(got, want, tol, what);
    hd_drop(got), hd_drop(want);
}

static void nested(const char *o, const char *i, double tol)
{
    outer = o, inner = i;
    hd_array *x = grid(2, 3);
    for (int k = 0; k < (int)(sizeof nest / sizeof *nest); k++) {
        ran();
        same(VMAP(nest[k].v, "i"), PMAP(nest[k].p, "i", outer), x, tol, nest[k].name);
        ck_assert_int_eq(ran().shards, 6);
        hd_forget(nest[k].p), hd_forget(turn_p);
    }
    hd_drop(x);
}

START_TEST(maps_in_maps)
{
    nested("host,host:1,host:2,host:3,host:4,host:5", "", 0);
    nested("host,host:1", "", 0);
    nested("host", "host:1,host:3,host:5", 0);
    nested("host,host:1,host:2,host:3", "1", 0);
    nested(six_unlike(), "", 1e-5);
}
END_TEST

START_TEST(shares_stay)
{
    hd_array *x = grid(2, 3), *y;
    outer = "host,host:1,host:2,host:3,host:4,host:5", inner = "";
    ran();
    y = called(PMAP(one_p, "i", outer), x, "in shares");
    ck_assert_str_eq(hd_array_device(y), outer);
    ck_assert_int_eq(ran().exchanges, 6);       /* the sum along j, and no rows */
    hd_forget(one_p);
    hd_drop(y), hd_drop(x);
}
END_TEST

/* ==================== loops and branches */

static hd alone(hd x) { return hd_add(hd_sin(x), hd_mul_c(x, .25)); }
static hd summed(hd x) { return hd_add(x, hd_psum(hd_sin(x), "i")); }
static hd fixed(hd c, hd x) { return hd_add(x, hd_psum(c, "i")); }
static hd energy(hd x) { return hd_psum(hd_sum(hd_square(x)), "i"); }
static hd rows_of(hd (*f)(hd), bool over, hd x)
{
    return hd_apply(over ? PMAP(f, "i", outer) : VMAP(f, "i"), x);
}

/* The same programs with vmap, _v, and with pmap, _p. x: six rows. */
#define PROGRAMS(k, over) \
    static hd turns_##k(hd x) { return rows_of(summed, over, rows_of(alone, over, x)); } \
    static hd step_##k(hd x, hd n) \
    { \
        (void)n; \
        x = turns_##k(x); \
        return hd_tuple(x, rows_of(energy, over, x)); \
    } \
    static hd carried_##k(hd x) { return hd_scan(step_##k, x, HD_NIL, .length = 3); } \
    static hd mean_##k(hd x, hd n) \
    { \
        (void)n; \
        x = hd_sub(rows_of(alone, over, x), hd_mean(x)); \
        return hd_tuple(x, hd_sum(x)); \
    } \
    static hd mingled_##k(hd x) { return hd_scan(mean_##k, x, HD_NIL, .length = 3); } \
    static hd slice_##k(hd c, hd x) \
    { \
        hd y = rows_of(summed, over, hd_mul(x, c)); \
        return hd_tuple(hd_add(c, hd_max(y)), y); \
    } \
    static hd each_##k(hd x) \
    { \
        return hd_scan(slice_##k, hd_c(.5f), hd_stack(0, x, hd_sin(x), hd_neg(x))); \
    } \
    static hd small_##k(hd x) { return hd_lt(hd_max(rows_of(energy, over, x)), hd_c(4000)); } \
    static hd grow_##k(hd x) { return rows_of(summed, over, hd_mul_c(x, 1.5)); } \
    static hd until_##k(hd x) { return hd_while(small_##k, grow_##k, x); } \
    static hd no_##k(hd x) { return rows_of(alone, over, hd_neg(x)); } \
    static hd branched_##k(hd x) { return hd_cond(hd_gt(hd_sum(x), hd_c(0)), grow_##k, no_##k, x); } \
    static hd fixed_##k(hd i, hd s) \
    { \
        hd c = hd_nth(s, 1), x = hd_nth(s, 0); \
        hd_fn *f = hd_partial(fixed, c); \
        (void)i; \
        return hd_tuple( \
            over ? hd_apply(PMAP(f, "i", outer), x) : hd_apply(VMAP(f, "i"), x), hd_mul_c(c, .77)); \
    } \
    static hd constant_##k(hd x) { return hd_fori(hd_c(0), hd_c(3), fixed_##k, hd_tuple(x, hd_max(x))); } \
    static hd lanes_##k(hd x) { return hd_apply(hd_vmap(carried_##k), hd_stack(0, x, hd_sin(x))); } \
    static hd trips_of_##k(hd x) { return until_##k(hd_mul_c(x, .1)); } \
    static hd masked_##k(hd x) \
    { \
        return hd_apply(hd_vmap(trips_of_##k), hd_stack(0, x, hd_mul_c(x, 9), hd_mul_c(x, .2))); \
    } \
    static hd loss_##k(hd x) \
    { \
        return hd_sum(hd_square(hd_nth(hd_scan(step_##k, x, HD_NIL, .length = 3), 0))); \
    } \
    static hd slope_##k(hd x) { return hd_apply(hd_grad(loss_##k), x); } \
    static hd nested_##k(hd x) { return hd_sum(hd_square(rows_of(over ? one_p : one_v, over, x))); } \
    static hd nest_slope_##k(hd x) { return hd_apply(hd_grad(nested_##k), hd_reshape(x, 2, 3, 4)); } \
    static hd every_##k(hd x) { return hd_apply(hd_vmap(nest_slope_##k), hd_stack(0, x, hd_sin(x))); }
PROGRAMS(v, false)
PROGRAMS(p, true)

/* exchanges: how many each of six shards takes part in; -1: not said. */
#define LOOP(f, exchanges) { #f, f##_v, f##_p, exchanges }
static const struct { const char *name; hd (*v)(hd), (*p)(hd); int exchanges;
} loop[] = {
    LOOP(carried, 2 * 3), /* two sums a step, and no rows */
    LOOP(mingled, 1 * 3), /* the rows, from which all compute the mean and the sum */
    LOOP(each, 2 * 3),
    LOOP(until, -1),
    LOOP(branched, 1),
    LOOP(constant, 0),
    LOOP(lanes, -1),
    LOOP(masked, -1),
    LOOP(slope, -1),
    LOOP(nest_slope, -1),
    LOOP(every, -1),
};

static void in_loops(const char *list, int n, double tol)
{
    outer = list, inner = "";
    hd_array *x = hd_array_new(HD_F32, (hd_ints){ 2, { 6, 4 } }, numbers, NULL);
    for (int k = 0; k < n; k++) {
        hd_fn *v = HD_FN(loop[k].v), *p = HD_FN(loop[k].p);
        ran();
        same(v, hd_jit_n(p, &(hd_jit_opts){ .device = "host" }), x, tol + (k > 7 ? 1e-6 : 0), loop[k].name);
        Ran r = ran();
        ck_assert_msg(r.shards == 6, "%s: %d shards ran", loop[k].name, r.shards);
        if (loop[k].exchanges >= 0 && !tol)
            ck_assert_msg(
                r.exchanges == 6 * loop[k].exchanges, "%s: %d exchanges", loop[k].name, r.exchanges);
    }
    hd_drop(x);
}

START_TEST(loops)
{
    in_loops("host,host:1,host:2,host:3,host:4,host:5", (int)(sizeof loop / sizeof *loop), 0);
}
END_TEST

/* Unlike devices agree on which way a loop or a branch goes. */
START_TEST(unlike_devices)
{
    in_loops(six_unlike(), 5, 1e-4);
}
END_TEST

/* ==================== lists that do not fit */

static void refused(hd_fn *f, enum hd_code code, const char *word, const char *more)
{
    hd_array *x = grid(2, 3), *y = NULL;
    int e = hd_call(f, &y, x);
    ck_assert_msg(e == (int)code && !y, "%d, not %d: %s", e, (int)code, hd_error());
    ck_assert_msg(strstr(hd_error(), word) && strstr(hd_error(), more), "\"%s\", \"%s\" are not in \"%s\"",
        word, more, hd_error());
    ck_assert_msg(strstr(hd_error(), "test_pmap_grid.c:"), "no line: %s", hd_error());
    hd_drop(x);
}

static hd of_moon(hd x) { return hd_apply(PMAP(one, "j", "moon:0"), x); }
static hd of_third(hd x) { return hd_apply(PMAP(one, "j", "0,1,2"), x); }
static hd of_two(hd x) { return hd_apply(PMAP(one, "j", "host,host:1"), x); }

START_TEST(lists)
{
    refused(PMAP(alone, "i", "0,1"), HD_EINVAL, "around", "give names");
    refused(PMAP(of_third, "i", "host,host:1,host:2,host:3"), HD_EINVAL, "from 0 to 1", "0,1,2");
    refused(PMAP(of_moon, "i", "host,host:1"), HD_EDEVICE, "moon:0", "there are");
    refused(PMAP(of_two, "i", "host,host:1"), HD_ESHAPE, "axis of 3", "2 devices");
    outer = "host", inner = "";
    refused(PMAP(one_p, "i", "host,host:1,host:2"), HD_ESHAPE, "axis of 2", "3 devices");
}
END_TEST

int main(void)
{
    int made = mkstemp(timeline);
    if (made >= 0)
        close(made);
    setenv("HEDDLE_TIMELINE", timeline, 1);
    setenv("HEDDLE_HOST_DEVICES", "6", 1);
    Suite *s = suite_create("pmap_grid");
    TCase *c = suite_case(s);
    tcase_add_checked_fixture(c, afresh, NULL);
    tcase_add_test(c, maps_in_maps);
    tcase_add_test(c, shares_stay);
    tcase_add_test(c, loops);
    tcase_add_test(c, unlike_devices);
    tcase_add_test(c, lists);
    int failed = suite_run(s);
    unlink(timeline);
    return failed;
}
