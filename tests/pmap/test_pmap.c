/*
 * test_pmap.c - maps over devices: they equal vmap in every composition, to the bit where the devices are
 * one; results stay where they are and go into the next map without a detour; lists of devices that do not
 * fit; what becomes of shards when one fails. PoCL is asked for four devices, so that there are several of a
 * kind; of what a machine lacks the test takes the host.
 */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "fault.h"
#include "suite.h"

enum { N = 4, W = 3 };
static const float in12[N * W] = { .5f, -1, 2, .25f, 3, -2, .75f, 1.5f, -.5f, 1, -.25f, .1f };
static const float ones3[W] = { 1, .5f, -2 };

#define OVER(list) .devices = list, .axis_name = "i"

static hd_array *rows(void) { return hd_array_new(HD_F32, (hd_ints){ 2, { N, W } }, in12, NULL); }
static hd_array *row(void) { return hd_array_new(HD_F32, (hd_ints){ 1, { W } }, ones3, NULL); }

/* Four devices of as many kinds as there are. */
static const char *mixed(void)
{
    static char list[100];
    snprintf(list, sizeof list, "%s,host,%s,%s", there("opencl:0") ? "opencl:0" : "host",
        there("vulkan:0") ? "vulkan:0" : "host", there("opencl:1") ? "opencl:1" : "host");
    return list;
}

static bool several(void) { return there("opencl:3"); }

/* ==================== one value after the other */

static void near(const hd_array *a, const hd_array *b, double tol, const char *what)
{
    ck_assert_msg(a && b && hd_array_len(a) == hd_array_len(b), "%s: %s", what, hd_error());
    for (int k = 0; k < hd_array_len(a); k++)
        near(hd_array_nth(a, k), hd_array_nth(b, k), tol, what);
    if (hd_array_len(a))
        return;
    hd_ints s = hd_array_shape(a), t = hd_array_shape(b);
    size_t n = (size_t)hd_array_size(a), bytes = n * hd_dtype_size(hd_array_dtype(a));
    ck_assert_msg(
        s.n == t.n && !memcmp(s.v, t.v, sizeof *s.v * (size_t)s.n) && hd_array_dtype(a) == hd_array_dtype(b),
        "%s: shapes", what);
    const void *p = hd_data(a), *q = hd_data(b);
    ck_assert_msg(p && q, "%s: %s", what, hd_error());
    if (tol == 0 || hd_array_dtype(a) != HD_F32) {
        ck_assert_msg(!memcmp(p, q, bytes), "%s: other bits", what);
        return;
    }
    for (size_t k = 0; k < n; k++) {
        double x = ((const float *)p)[k], y = ((const float *)q)[k];
        ck_assert_msg(
            fabs(x - y) <= tol * (1 + fabs(y)), "%s: element %zu is %.9g, not %.9g", what, k, x, y);
    }
}

static hd_array *called(hd_fn *f, hd_array *x, hd_array *w, const char *what)
{
    hd_array *y = NULL, *args[2] = { x, w };
    ck_assert_msg(!hd_call_n(f, &y, 1, args, w ? 2 : 1), "%s: %s", what, hd_error());
    return y;
}

/* ==================== the law */

static hd local(hd x) { return hd_add(hd_tanh(x), hd_mul_c(x, .5)); }
static hd met(hd x) { return hd_add(x, hd_psum(hd_square(x), "i")); }
static hd means(hd x) { return hd_tuple(hd_pmean(x, "i"), hd_pmax(x, "i"), hd_pmin(x, "i")); }
static hd numbered(hd x) { return hd_mul(x, hd_cast(hd_axis_index("i"), HD_F32)); }
static hd gathers(hd x) { return hd_tuple(hd_all_gather(x, "i", 1, false), hd_all_gather(x, "i", 0, true)); }
static hd four(hd x) { return hd_mul(hd_iota(HD_F32, 0, 4), hd_sum(x)); }
static hd scatters(hd x)
{
    return hd_tuple(hd_psum_scatter(four(x), "i", 0, false), hd_all_to_all(four(x), "i", 0, 0, true));
}
static hd turned(hd x)
{
    static const int ring[N][2] = { { 0, 1 }, { 1, 2 }, { 2, 3 }, { 3, 0 } },
                     some[2][2] = { { 0, 2 }, { 3, 0 } };
    return hd_tuple(hd_ppermute(x, "i", ring, N), hd_ppermute(x, "i", some, 2));
}
static hd step(hd x, hd nothing)
{
    (void)nothing;
    x = hd_add(hd_mul_c(x, .5), hd_pmean(hd_sin(x), "i"));
    return hd_tuple(x, hd_sum(x));
}
static hd scanned(hd x) { return hd_scan(step, x, HD_NIL, .length = 3); }
static hd below(hd s) { return hd_lt(hd_nth(s, 1), hd_c(3)); }
static hd turn(hd s) { return hd_tuple(hd_nth(step(hd_nth(s, 0), HD_NIL), 0), hd_add_c(hd_nth(s, 1), 1)); }
static hd looped(hd x) { return hd_nth(hd_while(below, turn, hd_tuple(x, hd_zeros(HD_I32))), 0); }
static hd summed(hd x) { return hd_psum(x, "i"); }
static hd as_is(hd x) { return x; }
static hd branched(hd x) { return hd_cond(hd_gt(hd_psum(hd_sum(x), "i"), hd_c(0)), summed, as_is, x); }
static hd twice(hd i, hd x) { (void)i; return hd_mul_c(x, 2); }
static hd own_trips(hd x) { return hd_fori(hd_c(0), hd_axis_index("i"), twice, x); }
static hd by_number(hd x) { return hd_switch(hd_axis_index("i"), HD_FNS(as_is, hd_neg, hd_square), x); }
static hd shared_sum(hd x) { (void)x; return hd_psum(hd_c(.1f), "i"); }
static hd inner_lane(hd s) { return hd_add(hd_sin(s), hd_psum(s, "j,i")); }
static hd vmap_inside(hd x) { return hd_apply(hd_vmap(inner_lane, .axis_name = "j"), x); }
static hd pmap_inside(hd x) { return hd_apply(hd_pmap(inner_lane, .axis_name = "j", .devices = "host"), x); }
/* Devices inline the call, which reads the second first; the host does not. */
static hd second_first(hd a, hd b) { return hd_add(b, hd_sin(a)); }
static hd in_order(hd x)
{
    hd all = hd_sum(hd_all_gather(x, "i", 0, false), 0);
    return hd_apply(hd_checkpoint(second_first), all, hd_psum(hd_square(x), "i"));
}
/* And it finds then that what comes from the others is not wanted; nor what a loop does. */
static hd sum_turn(hd k, hd x) { (void)k; return hd_sin(hd_psum(x, "i")); }
static hd unwanted(hd a, hd b, hd first)
{
    return hd_where(first, a, hd_add(hd_psum(b, "i"), hd_fori(hd_c(0), hd_c(2), sum_turn, b)));
}
static hd dead(hd x)
{
    return hd_apply(hd_checkpoint(unwanted), hd_psum(hd_sin(x), "i"), x, hd_gt(hd_c(1), hd_c(0)));
}
/* What has no elements is not computed, but all meet on the way to it. */
static hd empty_turn(hd x, hd k, hd none)
{
    (void)k;
    return hd_add(none, hd_slice_axis(hd_psum(x, "i"), 0, 0, 0));
}
static hd empty(hd x) { return hd_fori(hd_c(0), hd_c(2), hd_partial(empty_turn, x), hd_zeros(HD_F32, 0)); }
static hd all_meet(hd x) { return hd_tuple(in_order(x), dead(x), empty(x)); }
static hd dtypes(hd x)
{
    hd k = hd_cast(x, HD_I32);
    return hd_tuple(hd_psum(k, "i"), hd_pmax(hd_gt(x, hd_c(0)), "i"),
        hd_cast(hd_psum(hd_cast(x, HD_F16), "i"), HD_F32), hd_all_gather(hd_cast(k, HD_U8), "i", 0, false),
        hd_psum(hd_zeros(HD_F32, 0, 2), "i"));
}
static hd large(hd x) { return hd_sum(hd_psum(hd_mul(hd_iota(HD_F32, 0, 50001), hd_sum(x)), "i")); }

#define LAW(f) { #f, f }
static const struct { const char *name; hd (*f)(hd);
} law[] = {
    LAW(local),
    LAW(met),
    LAW(means),
    LAW(numbered),
    LAW(gathers),
    LAW(scatters),
    LAW(turned),
    LAW(scanned),
    LAW(looped),
    LAW(branched),
    LAW(own_trips),
    LAW(by_number),
    LAW(shared_sum),
    LAW(vmap_inside),
    LAW(pmap_inside),
    LAW(all_meet),
    LAW(dtypes),
    LAW(large),
};

static void holds(int k, const char *list, double tol)
{
    hd_array *x = rows();
    hd_array *want =
        called(hd_jit(hd_vmap(law[k].f, .axis_name = "i"), .device = "host"), x, NULL, law[k].name);
    hd_array *got = called(hd_pmap(law[k].f, OVER(list)), x, NULL, law[k].name);
    near(got, want, tol, law[k].name);
    hd_drop(got), hd_drop(want), hd_drop(x);
}

START_TEST(equals_vmap)
{
    for (int k = 0; k < (int)(sizeof law / sizeof *law); k++) {
        holds(k, "host,host:3,host,host:2", 0);
        holds(k, "host", 0);
        holds(k, mixed(), 1e-5);
    }
}
END_TEST

/* ==================== under other transforms */

static const char *list_now;

static hd first(hd (*f)(hd), hd x) { hd y = f(x); return hd_len(y) ? hd_nth(y, 0) : y; }

/* Each function as one value of the rows, mapped by either. */
#define ENERGY(f) \
    static hd f##_of(hd x) { return first(f, x); } \
    static hd f##_v(hd x) { return hd_sum(hd_square(hd_apply(hd_vmap(f##_of, .axis_name = "i"), x))); } \
    static hd f##_p(hd x) { return hd_sum(hd_square(hd_apply(hd_pmap(f##_of, OVER(list_now)), x))); }
ENERGY(local)
ENERGY(met) ENERGY(means) ENERGY(numbered) ENERGY(gathers) ENERGY(scatters) ENERGY(turned) ENERGY(scanned)
    ENERGY(branched) ENERGY(by_number) ENERGY(vmap_inside) static hd largest(hd x)
{
    return hd_pmax(x, "i");
}
static hd dealt(hd x) { return hd_all_to_all(four(x), "i", 0, 0, true); }
ENERGY(largest) ENERGY(dealt)

#define BOTH(f) \
    { \
#f, f##_v, f##_p \
    }
static const struct {
    const char *name;
    hd (*v)(hd), (*p)(hd);
} energy[] = {
    BOTH(local),
    BOTH(met),
    BOTH(means),
    BOTH(numbered),
    BOTH(gathers),
    BOTH(scatters),
    BOTH(turned),
    BOTH(scanned),
    BOTH(branched),
    BOTH(by_number),
    BOTH(vmap_inside),
    BOTH(largest),
    BOTH(dealt),
};

static void same_gradient(int k, const char *list, double tol)
{
    list_now = list;
    hd_array *x = rows(),
             *want = called(hd_jit(hd_grad(energy[k].v), .device = "host"), x, NULL, energy[k].name);
    hd_fn *f = hd_jit(hd_grad(energy[k].p), .device = "host");
    hd_array *got = called(f, x, NULL, energy[k].name);
    near(got, want, tol, energy[k].name);
    hd_drop(got), hd_drop(want), hd_drop(x);
    hd_forget(energy[k].p);
}

START_TEST(gradients)
{
    for (int k = 0; k < (int)(sizeof energy / sizeof *energy); k++) {
        same_gradient(k, "host,host", 1e-6);
        same_gradient(k, mixed(), 1e-5);
    }
}
END_TEST

/* ==================== around and inside */

static hd scalar_loss(hd w, hd x) { return hd_sum(hd_square(hd_tanh(hd_mul(w, x)))); }
static hd averaged(hd w, hd x) { return hd_pmean(hd_apply(hd_grad(scalar_loss), w, x), "i"); }
static hd trained(hd w, hd x) { return hd_sub(w, hd_mul_c(averaged(w, x), .1)); }
static hd train_step_v(hd w, hd x)
{
    return hd_apply(hd_vmap(trained, .axis_name = "i", .in_axes = { HD_NONE }, .out_axes = HD_NONE), w, x);
}
static hd train_step_p(hd w, hd x)
{
    return hd_apply(hd_pmap(trained, OVER("host,host"), .in_axes = { HD_NONE }, .out_axes = HD_NONE), w, x);
}
static hd epochs_v(hd w, hd x) { for (int k = 0; k < 3; k++) w = train_step_v(w, x); return w; }
static hd epochs_p(hd w, hd x) { for (int k = 0; k < 3; k++) w = train_step_p(w, x); return w; }
static hd turn_v(hd x, hd i, hd w) { (void)i; return train_step_v(w, x); }
static hd turn_p(hd x, hd i, hd w) { (void)i; return train_step_p(w, x); }
static hd loop_v(hd w, hd x) { return hd_fori(hd_c(0), hd_c(3), hd_partial(turn_v, x), w); }
static hd loop_p(hd w, hd x) { return hd_fori(hd_c(0), hd_c(3), hd_partial(turn_p, x), w); }
static hd columns_v(hd w, hd x)
{
    return hd_apply(hd_vmap(hd_mul, .in_axes = { 0, 1 }, .out_axes = 1), w, x);
}
static hd columns_p(hd w, hd x)
{
    return hd_apply(hd_pmap(hd_mul, .devices = "host", .in_axes = { 0, 1 }, .out_axes = 1), w, x);
}
static hd outside_v(hd w, hd x)
{
    return hd_apply(hd_vmap(hd_partial(train_step_v, w)), hd_stack(0, x, hd_sin(x)));
}
static hd outside_p(hd w, hd x)
{
    return hd_apply(hd_vmap(hd_partial(train_step_p, w)), hd_stack(0, x, hd_sin(x)));
}
static hd across_v(hd w, hd x)
{
    return hd_apply(hd_vmap(hd_partial(train_step_v, w), .in_axes = { 1 }), hd_stack(1, x, hd_sin(x)));
}
static hd across_p(hd w, hd x)
{
    return hd_apply(hd_vmap(hd_partial(train_step_p, w), .in_axes = { 1 }), hd_stack(1, x, hd_sin(x)));
}
static hd through_v(hd w, hd x) { return hd_sum(hd_square(epochs_v(w, x))); }
static hd through_p(hd w, hd x) { return hd_sum(hd_square(epochs_p(w, x))); }
static hd captured_v(hd w, hd x) { return hd_sum(hd_apply(hd_vmap(hd_partial(scalar_loss, w)), x)); }
static hd captured_p(hd w, hd x)
{
    return hd_sum(hd_apply(hd_pmap(hd_partial(scalar_loss, w), .devices = "host,host"), x));
}

static void same_of(hd_fn *v, hd_fn *p, double tol, const char *what)
{
    hd_array *w = row(), *x = rows(), *want = called(hd_jit(v, .device = "host"), w, x, what),
             *got = called(p, w, x, what);
    near(got, want, tol, what);
    hd_drop(got), hd_drop(want), hd_drop(w), hd_drop(x);
}

START_TEST(compositions)
{
    same_of(HD_FN(train_step_v), HD_FN(train_step_p), 0, "pmap of grad");
    same_of(HD_FN(epochs_v), HD_FN(epochs_p), 0, "one after the other");
    same_of(HD_FN(loop_v), HD_FN(loop_p), 0, "inside a loop");
    same_of(HD_FN(columns_v), HD_FN(columns_p), 0, "other axes");
    same_of(HD_FN(outside_v), HD_FN(outside_p), 0, "vmap outside");
    same_of(HD_FN(across_v), HD_FN(across_p), 0, "vmap outside, of another axis");
    same_of(hd_grad(through_v), hd_grad(through_p), 1e-6, "grad of several");
    same_of(hd_grad(captured_v), hd_grad(captured_p), 1e-6, "grad by what is captured");
    same_of(hd_hessian(captured_v), hd_hessian(captured_p), 1e-6, "second derivatives");
    same_of(hd_vmap(hd_grad(captured_v), .in_axes = { 0, HD_NONE }),
        hd_vmap(hd_grad(captured_p), .in_axes = { 0, HD_NONE }), 1e-6, "vmap of grad");
}
END_TEST

/* ==================== where results are */

static hd six_rows(hd x) { return hd_reshape(hd_broadcast_to(x, 3, N, W), 6, 2 * W); }

START_TEST(stays)
{
    const char *list = several() ? "opencl:0,opencl:1,opencl:2,opencl:3" : mixed();
    hd_array *x = rows(), *there4 = hd_put(x, list), *y, *z, *want, *whole;
    ck_assert_msg(there4 && (!several() || !strcmp(hd_array_device(there4), list)), "%s: %s",
        hd_array_device(there4), hd_error());
    near(there4, x, 0, "dealt out and read");
    y = called(hd_pmap(met, OVER(list)), there4, NULL, "first");
    if (several())
        ck_assert_str_eq(hd_array_device(y), list);
    z = called(hd_pmap(local, OVER(list)), y, NULL, "second");
    ck_assert(hd_wait(z) == 0 && hd_ready(z));
    want = called(hd_jit(hd_vmap(met, .axis_name = "i"), .device = "host"), x, NULL, "one device");
    near(y, want, 1e-5, "two maps");
    whole = called(HD_FN(local), y, NULL, "a function of one device");      /* put together */
    near(whole, z, 1e-5, "together");
    hd_drop(whole);
    whole = hd_put(y, "host");
    ck_assert_str_eq(hd_array_device(whole), "host");
    near(whole, want, 1e-5, "moved");
    hd_drop(whole), hd_drop(want), hd_drop(z), hd_drop(y), hd_drop(there4), hd_drop(x);
}
END_TEST

/* Without a list: those of the default one's kind, as many as the axis has places, or divide it. */
START_TEST(default_list)
{
    ck_assert_ptr_nonnull(hd_default_device("host"));
    hd_array *x = rows(), *x6 = called(HD_FN(six_rows), x, NULL, "six rows"), *y;
    y = called(hd_pmap(met, .axis_name = "i"), x, NULL, "all");
    ck_assert_str_eq(hd_array_device(y), "host,host:1,host:2,host:3");
    hd_drop(y);
    y = called(hd_pmap(met, .axis_name = "i"), x6, NULL, "six");
    ck_assert_str_eq(hd_array_device(y), "host,host:1,host:2");
    hd_drop(y), hd_drop(x6), hd_drop(x);
}
END_TEST

static hd none_of(hd x) { return hd_psum(x, "i"); }

static hd product(hd x, hd y) { return hd_mul(x, y); }

START_TEST(one_copy)
{
    hd_array *x = rows(),
             *y = called(hd_pmap(none_of, OVER(mixed()), .out_axes = HD_NONE), x, NULL, "out none");
    hd_array *want =
        called(hd_jit(hd_vmap(none_of, .axis_name = "i", .out_axes = HD_NONE), .device = "host"), x, NULL,
            "out none");
    ck_assert_int_eq(hd_array_shape(y).n, 1);
    near(y, want, 1e-6, "out none");
    ck_assert_ptr_null(strchr(hd_array_device(y), ','));
    /* Copies on some devices and copies on others go together, wherever a function runs. */
    hd_array *z = called(
        hd_pmap(none_of, OVER("host:4,host:3,host:4,host:3"), .out_axes = HD_NONE), x, NULL, "elsewhere");
    hd_array *both = called(HD_FN(product), y, z, "copies of different devices"),
             *square = called(HD_FN(product), want, want, "product");
    near(both, square, 1e-5, "copies of different devices");
    hd_drop(square), hd_drop(both), hd_drop(z), hd_drop(want), hd_drop(y), hd_drop(x);
}
END_TEST

/* ==================== lists that do not fit */

static void refused(hd_fn *f, enum hd_code code, const char *word, const char *more)
{
    hd_array *x = rows(), *y = NULL;
    int e = f ? hd_call(f, &y, x) : (int)hd_error_code();
    ck_assert_msg(e == (int)code && !y, "%d, not %d: %s", e, (int)code, hd_error());
    ck_assert_msg(strstr(hd_error(), word) && strstr(hd_error(), more), "\"%s\", \"%s\" are not in \"%s\"",
        word, more, hd_error());
    ck_assert_msg(strstr(hd_error(), "test_pmap.c:"), "no line: %s", hd_error());
    hd_drop(x);
}

static hd in_a_loop(hd i, hd x) { (void)i; return hd_apply(hd_pmap(local, .devices = "host,moon:0"), x); }
static hd loops_over(hd x) { return hd_fori(hd_c(0), hd_c(2), in_a_loop, x); }
static hd alone(hd x) { return hd_cond(hd_gt(hd_sum(x), hd_c(0)), summed, as_is, x); }

START_TEST(lists)
{
    refused(hd_pmap(local, .devices = "host,moon:0"), HD_EDEVICE, "moon:0", "there are");
    refused(hd_pmap(local, .devices = "host,host,host"), HD_ESHAPE, "4", "3 devices");
    refused(hd_pmap(local, .devices = "host,host,host,host,host"), HD_ESHAPE, "4", "5 devices");
    refused(hd_pmap(local, .devices = "host,,host"), HD_EINVAL, "names of devices", "host,,host");
    refused(HD_FN(loops_over), HD_EDEVICE, "moon:0", "there are");
    refused(hd_vmap(local, .devices = "host"), HD_EINVAL, "hd_pmap", ".devices");
    refused(hd_pmap(local, .devices = "host", .axis_size = 3), HD_ESHAPE, "axis_size is 3", "hd_pmap");
    refused(hd_pmap(local, OVER("host,host"), .out_axes = HD_NONE), HD_EINVAL, "none", "hd_pmap");
    refused(hd_pmap(alone, OVER("host,host")), HD_EINVAL, "not all lanes", "cond");
    hd_array *x = rows();
    ck_assert_ptr_null(hd_put(x, "host,host,host"));
    ck_assert_msg(strstr(hd_error(), "3 devices"), "%s", hd_error());
    hd_drop(x);
}
END_TEST

/* ==================== checks and rules of the user's own */

static hd positive(hd x)
{
    hd s = hd_sum(x);
    hd_check(hd_gt(s, hd_c(-2)), "the sum is positive");
    return hd_add(x, hd_psum(s, "i"));
}
static hd cube(hd x) { return hd_mul(hd_square(x), x); }
/* ten times too much */
static hd cube_rule(hd x, hd t) { return hd_tuple(cube(x), hd_mul(hd_mul_c(hd_square(x), 30), t)); }
static hd ruled(hd x) { return hd_psum(hd_apply(hd_custom_jvp(cube, cube_rule), x), "i"); }
ENERGY(ruled)

START_TEST(from_inside)
{
    const float low[N * W] = { [7] = -9 };
    hd_array *x = rows(), *bad = hd_array_new(HD_F32, (hd_ints){ 2, { N, W } }, low, NULL), *y = NULL, *v,
             *p;
    hd_fn *f = hd_pmap(positive, OVER("host,host"));
    ck_assert_int_eq(hd_call(f, &y, bad), HD_ECHECK);
    ck_assert_msg(strstr(hd_error(), "the sum is positive (i 2)") != NULL, "%s", hd_error());
    y = called(f, x, NULL, "a check that holds");
    list_now = "host,host";
    v = called(hd_grad(ruled_v), x, NULL, "rule"), p = called(hd_grad(ruled_p), x, NULL, "rule");
    near(p, v, 1e-6, "rule");
    hd_drop(y), hd_drop(v), hd_drop(p), hd_drop(bad), hd_drop(x);
}
END_TEST

static hd fails(hd x) { return hd_psum(hd_mul(x, hd_psum(x, "i")), "i"); }

/* ==================== a shard that fails */

/* One call with the n-th call of a driver refused: right, or one error that names the device; then a call
 * that works. */
static bool refused_once(hd_fn *f, hd_array *x, const hd_array *want, const char *kind, int n)
{
    char spec[40], name[40];
    snprintf(spec, sizeof spec, "%s:*:%d", kind, n);
    snprintf(name, sizeof name, "%s:0", kind);
    fault_set(spec);
    hd_array *y = NULL;
    int e = hd_call(f, &y, x);
    e = e ? e : hd_wait(y);
    fault_set(NULL);
    if (e)
        ck_assert_msg(strstr(hd_error(), name) != NULL && strstr(hd_error(), "test_pmap.c:"), "%s: %s", spec,
            hd_error());
    else
        near(y, want, 0, spec);
    hd_drop(y);
    y = called(f, x, NULL, "after a failure");
    near(y, want, 0, "after a failure");
    hd_drop(y);
    return e;
}

/* A driver refuses one call after the other. */
START_TEST(faults)
{
    static const char *const kind[] = { "opencl", "vulkan" };
    hd_array *x = rows();
    for (int k = 0; k < 2; k++) {
        char list[80], name[20];
        snprintf(name, sizeof name, "%s:0", kind[k]);
        snprintf(list, sizeof list, "%s,host,%s,host", name, name);
        if (!there(name))
            continue;
        hd_fn *f = hd_pmap(fails, OVER(list));
        hd_array *want = called(f, x, NULL, "before");
        int failed = 0, before = threads_now();
        for (int n = 1; n <= 100; n++)
            failed += refused_once(f, x, want, kind[k], n);
        ck_assert_int_gt(failed, 10);
        for (int k = 0; k < 10000 && threads_now() != before; k++)
            /* the system takes a joined thread off its list a moment later */
            usleep(1000);
        ck_assert_int_eq(threads_now(), before);
        hd_drop(want);
    }
    hd_drop(x);
}
END_TEST

/* ==================== calls from several threads */

static void *calls(void *x)
{
    hd_array *y, *in = x;
    for (int k = 0; k < 20; k++) {
        y = NULL;
        if (hd_call(hd_pmap(scanned, OVER("host,host")), &y, in))
            return x;
        hd_drop(y);
    }
    return NULL;
}

START_TEST(threads)
{
    pthread_t t[3];
    hd_array *x = rows();
    void *bad = NULL;
    for (int k = 0; k < 3; k++)
        ck_assert_int_eq(pthread_create(&t[k], NULL, calls, x), 0);
    for (int k = 0; k < 3; k++) {
        pthread_join(t[k], &bad);
        ck_assert_ptr_null(bad);
    }
    hd_drop(x);
}
END_TEST

int main(void)
{
    fault_set("opencl:open:1000000");                 /* drivers are opened so that their calls can fail */
    setenv("POCL_DEVICES", "pthread pthread pthread pthread", 1);
    setenv("HEDDLE_HOST_DEVICES", "5", 1);
    Suite *s = suite_create("pmap");
    TCase *c = suite_case(s);
    tcase_add_test(c, equals_vmap);
    tcase_add_test(c, gradients);
    tcase_add_test(c, compositions);
    tcase_add_test(c, stays);
    tcase_add_test(c, default_list);
    tcase_add_test(c, one_copy);
    tcase_add_test(c, lists);
    tcase_add_test(c, from_inside);
    tcase_add_test(c, faults);
    tcase_add_test(c, threads);
    return suite_run(s);
}
