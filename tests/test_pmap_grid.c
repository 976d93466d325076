/*
 * test_pmap_grid.c - maps over devices inside maps over devices, loops and branches: they equal the same with vmap, to the bit where
 * the devices are one; all devices of the grid work; what is only read by rows stays in rows.
 * Which shards ran, and what they exchanged, is read from the timeline.
 */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "suite.h"

enum { N = 4, M = 6 };
static const float numbers[N * M] = { .5f, -1, 2, .25f, 3, -2, .75f, 1.5f, -.5f, 1, -.25f, .1f, -3, .3f, 1.25f, 2, -.75f, .6f, .2f,
                                      -1.5f, .9f, .4f, -.1f, 1 };

/* ==================== what ran */

static char timeline[] = "/tmp/heddle-grid-XXXXXX";
static long seen;

typedef struct Ran { int shards, exchanges, home; } Ran;

/* Since the last look: how many shards had work, what they exchanged in all, and what was computed between. */
static Ran ran(void)
{
    char line[400], name[60];
    bool shard[64] = { false };
    int tid;
    Ran r = { 0 };
    FILE *f = fopen(timeline, "r");
    ck_assert(f && !fseek(f, seen, SEEK_SET));
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "{\"ph\":\"X\",\"pid\":1,\"tid\":%d,\"ts\":%*f,\"dur\":%*f,\"name\":\"%59[^\"]\"},", &tid, name) != 2)
            continue;
        r.exchanges += strchr(name, '#') != NULL;
        r.home += tid < 0;
        if (tid >= 0 && tid < 64)
            shard[tid] = true;
    }
    for (int k = 0; k < 64; k++)
        r.shards += shard[k];
    seen = ftell(f);
    fclose(f);
    return r;
}

/* ==================== pairs: f with vmap, and with pmap over the list of the moment */

static const char *outer, *inner;

#define VMAP(f, name) hd_vmap(f, .axis_name = name)
#define PMAP(f, name, list) hd_pmap(f, .axis_name = name, .devices = list)

static hd one(hd x) { return hd_add(hd_tanh(x), hd_psum(x, "j")); }
static hd both(hd x) { return hd_add(hd_sin(x), hd_mul(hd_psum(x, "j,i"), hd_pmean(x, "i"))); }
static hd where(hd x)
{
    hd n = hd_cast(hd_axis_index("i,j"), HD_F32);
    return hd_tuple(hd_add(x, n), hd_all_gather(x, "j", 0, false), hd_all_gather(x, "i", 0, false), hd_pmax(x, "i"));
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
        ck_assert_msg(tol ? fabs((double)p[k] - (double)q[k]) <= tol * (1 + fabs((double)q[k])) : !memcmp(p + k, q + k, sizeof *p),
                      "%s: element %zu is %.9g, not %.9g", what, k, (double)p[k], (double)q[k]);
}

static hd_array *grid(int64_t a, int64_t b) { return hd_array_new(HD_F32, (hd_ints){ 3, { a, b, N * M / a / b } }, numbers, NULL); }

static void same(hd_fn *v, hd_fn *p, hd_array *x, double tol, const char *what)
{
    hd_array *want = called(hd_jit_n(v, &(hd_jit_opts){ .device = "host" }), x, what), *got = called(p, x, what);
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
    const char *gpu = there("opencl:0") ? "opencl:0" : "host", *other = there("vulkan:0") ? "vulkan:0" : "host";
    char list[100];
    snprintf(list, sizeof list, "%s,host,%s,host,%s,host:1", gpu, other, gpu);
    nested(list, "", 1e-5);
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
    tcase_add_test(c, maps_in_maps);
    int failed = suite_run(s);
    unlink(timeline);
    return failed;
}
