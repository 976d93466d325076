/*
 * test_state.c - scans with a small state, which a kernel keeps as vectors where it does the same to all
 * elements: they give on the default device what they give on the host.
 *
 * In:  steps of several kinds, states of 3 to 16 elements, f32 and f64.   Out: the last state and what every
 * step gives.
 */
#include <math.h>
#include <stdlib.h>

#include "heddle.h"
#include "suite_run.h"

/* A product and tanh; two states, xs and ys, backwards; steps that do not do the same to all elements, or
 * look at others' */
enum { RELAX, CELL, SHIFT, MIXED, PICKED, KINDS };
enum { STEPS = 9 };
static const int sizes[] = { 3, 7, 16 };
enum { SIZES = sizeof sizes / sizeof *sizes, CASES = KINDS * SIZES * 2 };

static hd relax(hd w, hd h, hd x)
{
    (void)x;
    return hd_tuple(hd_tanh(hd_add(hd_dot(w, h), hd_sum(h))), HD_NIL);
}

static hd cell(hd w, hd s, hd x)
{
    hd h = hd_nth(s, 0), c = hd_nth(s, 1);
    hd gate = hd_sigmoid(hd_add(hd_dot(w, h), x)), add = hd_tanh(hd_sub(hd_dot(hd_transpose(w), h), x));
    c = hd_add(hd_mul(gate, c), hd_mul(hd_sub(hd_c(1), gate), add));
    h = hd_mul(gate, hd_tanh(c));
    return hd_tuple(hd_tuple(h, c), h);
}

/* Elements change places: the same instructions, but of other elements. */
static hd shift(hd w, hd h, hd x)
{
    hd turned = hd_flip(h, 0);
    return hd_tuple(hd_sin(hd_add(hd_exp(hd_mul(turned, hd_dot(w, h))), x)), HD_NIL);
}

/* One element is made in another way. */
static hd mixed(hd w, hd h, hd x)
{
    hd n = hd_iota(hd_dtype(h), 0, hd_dim(h, 0)), y = hd_tanh(hd_add(hd_dot(w, h), x));
    hd z = hd_where(hd_gt(n, hd_c(2)), y, hd_cos(hd_mul(h, n)));
    return hd_tuple(z, HD_NIL);
}

/* A result that is no state, and integers. */
static hd picked(hd w, hd h, hd x)
{
    hd y = hd_tanh(hd_add(hd_dot(w, h), x)), whole = hd_cast(hd_mul(y, hd_c(8)), HD_I32);
    return hd_tuple(hd_add(y, hd_mul(hd_c(.01), hd_cast(hd_mod(whole, hd_c(3)), hd_dtype(y)))), hd_max(y));
}

static hd kind_relax(hd w, hd h, hd xs) { return hd_scan(hd_partial(relax, w), h, xs); }
static hd kind_cell(hd w, hd h, hd xs)
{
    return hd_scan(hd_partial(cell, w), hd_tuple(h, hd_neg(h)), xs, .reverse = true);
}
static hd kind_shift(hd w, hd h, hd xs) { return hd_scan(hd_partial(shift, w), h, xs); }
static hd kind_mixed(hd w, hd h, hd xs) { return hd_scan(hd_partial(mixed, w), h, xs); }
static hd kind_picked(hd w, hd h, hd xs) { return hd_scan(hd_partial(picked, w), h, xs); }

static hd_array *made(enum hd_dtype dt, int seed, hd_ints shape, const char *device)
{
    int64_t n = 1;
    for (int d = 0; d < shape.n; d++)
        n *= shape.v[d];
    double v[n];
    float f[n];
    for (int64_t k = 0; k < n; k++)
        f[k] = (float)(v[k] = sin((double)(k * 7 + seed)) * .6);
    hd_array *a = hd_array_new(dt, shape, dt == HD_F64 ? (void *)v : f, NULL), *there = hd_put(a, device);
    hd_drop(a);
    return there;
}

static hd_array *run(int n, const char *device)
{
    hd_fn *const kind[] = { HD_FN(kind_relax), HD_FN(kind_cell), HD_FN(kind_shift), HD_FN(kind_mixed),
        HD_FN(kind_picked) };
    enum hd_dtype dt = n % 2 ? HD_F64 : HD_F32;
    int64_t size = sizes[n / 2 % SIZES];
    hd_array *args[] = { made(dt, 1, HD_INTS(size, size), device), made(dt, 2, HD_INTS(size), device),
                         made(dt, 3, HD_INTS(STEPS, size), device) }, *out = NULL;
    ck_assert_msg(
        !hd_call_n(kind[n / 2 / SIZES], &out, 1, args, 3) && !hd_wait(out), "%s: %s", device, hd_error());
    for (int k = 0; k < 3; k++)
        hd_drop(args[k]);
    return out;
}

static double element(const hd_array *a, int64_t k)
{
    const void *p = hd_data(a);
    return hd_array_dtype(a) == HD_F64 ? ((const double *)p)[k] : ((const float *)p)[k];
}

static void compare(int n, const hd_array *got, const hd_array *want)
{
    ck_assert_int_eq(hd_array_len(got), hd_array_len(want));
    for (int p = 0; p < hd_array_len(want); p++)
        compare(n, hd_array_nth(got, p), hd_array_nth(want, p));
    double unit = !hd_array_len(want) && hd_array_dtype(want) == HD_F64 ? 1e-13 : 1e-4;
    for (int64_t k = 0; !hd_array_len(want) && k < hd_array_size(want); k++)
        ck_assert_msg(fabs(element(got, k) - element(want, k)) <= unit * (1 + fabs(element(want, k))),
            "kind %d, %d elements%s: [%lld] is %g, not %g", n / 2 / SIZES, sizes[n / 2 % SIZES],
            n % 2 ? ", f64" : "", (long long)k, element(got, k), element(want, k));
}

START_TEST(agrees)
{
    hd_array *got = run(_i, hd_default_device(NULL)), *want = run(_i, "host");
    compare(_i, got, want);
    hd_drop(got), hd_drop(want);
    ck_assert_int_eq(hd_live(), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("state");
    TCase *c = tcase_create("scans");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, agrees, 0, CASES);
    suite_add_tcase(s, c);
    return suite_run(s);
}
