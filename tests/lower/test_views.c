/*
 * test_views.c - shifted, reversed, padded, repeated and clamped views, shared and one on another, give on
 * every device what they give on the host: borders too. So do values that lanes of a branch ask for first,
 * and rows of halves that begin anywhere.
 *
 * In:  programs of one vector, sizes around the width of vectors.   Out: their results, element for element.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "heddle.h"
#include "suite_run.h"

static const int sizes[] = { 1, 2, 15, 16, 17, 33, 64, 257, 1024 };
enum { SIZES = sizeof sizes / sizeof *sizes, MOST = 1024 };

static hd part(hd x, int64_t from, int64_t to) { return hd_slice(x, HD_INTS(from), HD_INTS(to), HD_INTS()); }

/* ==================== shared views */

static hd rolled(hd x)
{
    hd a = hd_roll(x, 2, 0), b = hd_add(a, hd_flip(a));
    return hd_roll(hd_roll(b, 2, 0), 2, 0);
}

/* x[i-1] + x[i+1] - x[i] with the edges repeated. */
static hd edge(hd x)
{
    int64_t n = hd_dim(x, 0);
    hd left = hd_concatenate(0, part(x, 0, 1), part(x, 0, n - 1)),
       right = hd_concatenate(0, part(x, 1, n), part(x, n - 1, n));
    return hd_sub(hd_add(left, right), x);
}

static hd edges(hd x)
{
    for (int k = 0; k < 5; k++)
        x = edge(x);
    return x;
}

/* A mean of three with the border mirrored, twice. */
static hd mirrored(hd x)
{
    for (int k = 0; k < 2; k++) {
        int64_t n = hd_dim(x, 0), b = n > 2 ? 2 : n - 1;
        hd wide =
            b ? hd_concatenate(0, hd_flip(part(x, 1, b + 1)), x, hd_flip(part(x, n - 1 - b, n - 1))) : x;
        hd sum = hd_add(part(wide, 0, n), part(wide, 2 * b, n + 2 * b));
        x = hd_add(hd_mul(hd_c(0.25), hd_add(sum, part(wide, b, n + b))), hd_mul(hd_c(0.1), hd_flip(x)));
    }
    return x;
}

/* The same value where all of it matters and where a border hides some of it. */
static hd bordered(hd x)
{
    int64_t n = hd_dim(x, 0);
    hd y = hd_concatenate(0, part(x, n / 2, n), hd_sin(x), part(x, 0, (n + 1) / 2));
    hd low = hd_pad(y, hd_c(3), HD_INTS(1), HD_INTS(-1), HD_INTS()),
       high = hd_pad(y, hd_c(4), HD_INTS(-1), HD_INTS(1), HD_INTS());
    return hd_add(hd_add(low, high), hd_add(y, hd_pad(y, hd_c(5), HD_INTS(-2), HD_INTS(2), HD_INTS())));
}

/* ==================== clamps that count */

/* x[clip(i - 3)]: places that the position alone decides. */
static hd clipped(hd x)
{
    int64_t n = hd_dim(x, 0);
    hd at = hd_reshape(hd_sub(hd_iota(HD_I32, 0, n), hd_c(3)), n, 1);
    hd y = hd_gather(hd_sin(x), at, .collapsed_axes = HD_INTS(0), .index_axes = HD_INTS(0),
        .sizes = HD_INTS(1), .mode = HD_CLIP);
    return hd_add(y, hd_flip(y));
}

/* A window of whole rows, written into what a border then moves; its columns are far apart in memory. */
static hd framed(hd x)
{
    hd m = hd_transpose(hd_outer(hd_iota(HD_F32, 0, 20), x)),
       u = hd_transpose(hd_outer(hd_iota(HD_F32, 0, 3), hd_cos(x)));
    hd at = hd_cast(hd_max(x), HD_I32), w = hd_dynamic_update_slice(m, u, hd_stack(0, hd_c(0), at));
    return hd_add(hd_pad(w, hd_c(0), HD_INTS(5, 2), HD_INTS(-5, -2), HD_INTS()), w);
}

/* ==================== lanes */

static hd below(hd v) { return hd_lt(v, hd_c(100)); }
static hd twice(hd v) { return hd_mul(v, hd_c(2)); }
static hd plus(hd y) { return hd_add(y, hd_c(1)); }
static hd times(hd y) { return hd_mul(y, hd_c(3)); }

/* A loop whose result two branches read: neither is the only one that needs it. */
static hd step(hd c, hd x)
{
    hd y = hd_while(below, twice, hd_add(hd_abs(c), hd_c(1))),
       z = hd_cond(hd_gt(x, hd_c(7)), plus, times, y);
    return hd_tuple(hd_div(z, hd_c(50)), z);
}

static hd branch(hd x)
{
    return hd_nth(hd_scan(step, hd_c(1), hd_stack(0, x, hd_mul(x, hd_c(2)), hd_add(x, hd_c(3)))), 1);
}

static hd branches(hd x) { return hd_apply(hd_vmap(branch), x); }

/* ==================== devices */

typedef struct Program { const char *name; hd (*f)(hd); } Program;
static const Program programs[] = {
    { "rolled", rolled },
    { "edges", edges },
    { "mirrored", mirrored },
    { "bordered", bordered },
    { "clipped", clipped },
    { "framed", framed },
    { "branches", branches },
};
enum { PROGRAMS = sizeof programs / sizeof *programs };
static const char *const devices[] = { "opencl:0", "vulkan:0" };

static bool is_here(const char *name)
{
    hd_device_info info;
    for (int k = 0; k < hd_device_count(); k++)
        if (!hd_device(k, &info) && !strcmp(info.name, name))
            return true;
    return false;
}

/* A program at every size, all in one. */
static hd all(const hd *x, int n, const void *env)
{
    const Program *p = &programs[*(const int *)env];
    hd y[SIZES];
    for (int k = 0; k < n; k++)
        y[k] = p->f(x[k]);
    return hd_tuple_n(y, n);
}

static hd_array *run(int which, const char *device)
{
    hd_array *x[SIZES], *out = NULL;
    float v[MOST];
    for (int k = 0; k < MOST; k++)
        v[k] = 1 + (float)(k * 7 % 13);
    for (int k = 0; k < SIZES; k++)
        x[k] = hd_array_of(v, sizes[k]);
    ck_assert_msg(!hd_call_n(hd_jit(hd_bind(all, which), .device = device), &out, 1, x, SIZES), "%s: %s",
        device, hd_error());
    for (int k = 0; k < SIZES; k++)
        hd_drop(x[k]);
    return out;
}

static void compare(const Program *p, hd_array *want, hd_array *got, int size, const char *device)
{
    const float *x = hd_data(got), *y = hd_data(want);
    ck_assert(x && y && hd_array_size(got) == hd_array_size(want));
    for (int64_t k = 0; k < hd_array_size(want); k++)
        ck_assert_msg(fabsf(x[k] - y[k]) <= 1e-5f * fabsf(y[k]) + 1e-5f,
            "%s of %d on %s: element %lld is %g, not %g", p->name, size, device, (long long)k, x[k], y[k]);
}

START_TEST(agrees)
{
    hd_array *want = run(_i, "host");
    for (int d = 0; d < 2; d++) {
        if (!is_here(devices[d]))
            continue;
        hd_array *got = run(_i, devices[d]);
        for (int k = 0; k < SIZES; k++)
            compare(&programs[_i], hd_array_nth(want, k), hd_array_nth(got, k), sizes[k], devices[d]);
        hd_drop(got);
    }
    hd_drop(want);
    ck_assert_int_eq(hd_live(), 0);
}
END_TEST

/* Rows of 31 halves: vectors of a constant and of values, at places that are multiples of an element
 * only. */
static hd half_rows(hd x)
{
    hd y = hd_cast(x, HD_F16),
       gone = hd_pad(y, hd_cast(hd_c(3), HD_F16), HD_INTS(-5, 0), HD_INTS(5, 0), HD_INTS());
    return hd_tuple(gone, hd_concatenate(1, hd_flip(y), y));
}

static hd widened(hd x) { return hd_cast(hd_concatenate(1, hd_nth(x, 0), hd_nth(x, 1)), HD_F32); }

static hd_array *run_halves(const char *device)
{
    float v[5 * 31];
    for (int k = 0; k < 5 * 31; k++)
        v[k] = (float)(k % 37);
    hd_array *x = hd_array_of(v, 5, 31), *rows = NULL, *out = NULL;
    ck_assert_msg(!hd_call(hd_jit(half_rows, .device = device), &rows, x) && !hd_wait(rows), "%s: %s",
        device, hd_error());
    ck_assert_msg(!hd_call(hd_jit(widened, .device = device), &out, rows), "%s: %s", device, hd_error());
    hd_drop(x), hd_drop(rows);
    return out;
}

START_TEST(halves)
{
    const Program p = { "half_rows", half_rows };
    hd_array *want = run_halves("host");
    for (int d = 0; d < 2; d++)
        if (is_here(devices[d])) {
            hd_array *got = run_halves(devices[d]);
            compare(&p, want, got, 31, devices[d]);
            hd_drop(got);
        }
    hd_drop(want);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("views");
    TCase *c = tcase_create("programs");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, agrees, 0, PROGRAMS);
    tcase_add_test(c, halves);
    suite_add_tcase(s, c);
    return suite_run(s);
}
