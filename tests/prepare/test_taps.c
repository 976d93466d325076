/*
 * test_taps.c - sums of products of slices, which the scheduler makes one product: filters of all kinds and
 * their derivatives give on the default device what they give on the host.
 *
 * In:  filters: taps, distances, strides, borders, channels, orders.   Out: values, element for element, of
 * y, dx and dw.
 */
#include <math.h>
#include <stdlib.h>

#include "heddle.h"
#include "suite_run.h"

/* How the terms are written. */
enum { PLAIN, BACKWARDS, BIAS, SHUFFLED, FEWER, FLAT, TWO, TURNED, INFINITE };

typedef struct Filter {
    int rows, columns, apart, stride, border, channels, results, form;
    enum hd_dtype dt;
} Filter;

static const Filter filters[] = {
    { 3, 3, 1, 1, 1, 5, 7, PLAIN, HD_F32 },
    { 3, 3, 1, 1, 1, 16, 32, PLAIN, HD_F32 },
    { 3, 3, 1, 1, 1, 1, 8, PLAIN, HD_F32 },
    { 3, 3, 1, 1, 1, 8, 1, PLAIN, HD_F32 },
    { 1, 5, 1, 1, 2, 4, 6, PLAIN, HD_F32 },
    { 5, 1, 1, 1, 0, 4, 6, BACKWARDS, HD_F32 },
    { 2, 3, 2, 1, 2, 3, 17, BACKWARDS, HD_F32 },
    { 3, 2, 1, 2, 1, 6, 4, PLAIN, HD_F32 },
    { 3, 3, 2, 3, 3, 3, 4, PLAIN, HD_F32 },
    { 3, 3, 1, 1, 0, 4, 4, BIAS, HD_F32 },
    { 3, 3, 1, 1, 1, 4, 4, SHUFFLED, HD_F32 },
    { 3, 3, 1, 1, 1, 4, 4, FEWER, HD_F32 },
    { 3, 3, 1, 1, 1, 4, 4, FLAT, HD_F32 },
    { 3, 3, 1, 2, 1, 4, 4, TWO, HD_F32 },
    { 3, 3, 1, 1, 1, 4, 4, TURNED, HD_F32 },
    { 3, 3, 1, 1, 1, 4, 4, PLAIN, HD_F16 },
    { 3, 3, 1, 1, 1, 4, 4, PLAIN, HD_BF16 },
    { 3, 3, 1, 1, 1, 4, 4, PLAIN, HD_I32 },
    { 2, 2, 1, 1, 0, 4, 4, PLAIN, HD_F32 },
    { 3, 3, 1, 1, 1, 4, 4, INFINITE, HD_F32 },
};
enum { FILTERS = sizeof filters / sizeof *filters, HIGH = 9, WIDE = 11, IMAGES = 2 };

/* The filter's number is the length of the third argument: each is a trace of its own. */
static const Filter *filter_of(hd tag) { return &filters[hd_dim(tag, 0) - 1]; }

static int64_t out_size(const Filter *f, int taps, int64_t size)
{
    return (size + 2 * f->border - (taps - 1) * f->apart - 1) / f->stride + 1;
}

static hd tap(const Filter *f, hd wide, hd w, int a, int b)
{
    int64_t h = (out_size(f, f->rows, HIGH) - 1) * f->stride + 1,
            v = (out_size(f, f->columns, WIDE) - 1) * f->stride + 1;
    int64_t y = a * f->apart, x = b * f->apart;
    hd part = hd_slice(wide, HD_INTS(0, y, x, 0), HD_INTS(IMAGES, y + h, x + v, f->channels),
                       HD_INTS(1, f->stride, f->stride, 1));
    hd m = hd_index(hd_index(w, 0, a), 0, b);
    hd flat = f->form == FLAT || f->form == TURNED ? hd_reshape(part, -1, f->channels) : part;
    return f->form == TURNED ? hd_transpose(hd_matmul(hd_transpose(m), hd_transpose(flat))) :
                               hd_dot(flat, m);
}

static hd filtered(hd x, hd w, hd tag)
{
    const Filter *f = filter_of(tag);
    int taps = f->rows * f->columns;
    int64_t b = f->border;
    x = hd_cast(x, f->dt), w = hd_cast(w, f->dt);
    hd wide = hd_pad(x, hd_cast(hd_c(0), f->dt), HD_INTS(0, b, b, 0), HD_INTS(0, b, b, 0), HD_INTS()),
       y = HD_NIL;
    for (int k = 0; k < taps; k++) {
        int n = f->form == BACKWARDS ? taps - 1 - k : f->form == SHUFFLED ? k * 4 % taps : k;
        if (f->form == FEWER && k == 4)
            continue;
        hd t = tap(f, wide, w, n / f->columns, n % f->columns);
        y = k ? hd_add(y, t) : t;
        if (f->form == BIAS && k == 2)
            y = hd_add(y, hd_c(1));
        if (f->form == TWO && k == 2)
            y = hd_add(y, hd_relu(y));
    }
    return hd_cast(y, HD_F32);
}

/* y, and what it passes to x and w. */
static hd backwards(hd x, hd w, hd tag)
{
    hd y = filtered(x, w, tag);
    hd back = hd_apply(hd_vjp(filtered), x, w, tag, hd_cos(hd_mul(y, hd_c(3))));
    return hd_tuple(y, hd_nth(hd_nth(back, 1), 0), hd_nth(hd_nth(back, 1), 1));
}

static hd_array *made(const Filter *f, int seed, hd_ints shape, const char *device)
{
    static float v[IMAGES * HIGH * WIDE * 64];
    int64_t n = 1;
    for (int k = 0; k < shape.n; k++)
        n *= shape.v[k];
    ck_assert(n <= (int64_t)(sizeof v / sizeof *v));
    for (int64_t k = 0; k < n; k++) {           /* whole for integers, eighths for others */
        v[k] = (float)((((uint32_t)k * 2654435761u + (uint32_t)seed * 40503u) >> 8) % 17) - 8;
        v[k] /= f->dt == HD_I32 ? 1 : 8;
    }
    if (f->form == INFINITE && seed == 2)
        v[0] = INFINITY;
    hd_array *a = hd_array_new(HD_F32, shape, v, NULL), *there = hd_put(a, device);
    hd_drop(a);
    return there;
}

static hd_array *run(int n, const char *device)
{
    const Filter *f = &filters[n];
    hd_array *args[] = {
        made(f, 1, HD_INTS(IMAGES, HIGH, WIDE, f->channels), device),
        made(f, 2, HD_INTS(f->rows, f->columns, f->channels, f->results), device),
        made(f, 3, HD_INTS(n + 1), device)
    }, *out = NULL;
    ck_assert_msg(
        !hd_call_n(HD_FN(backwards), &out, 1, args, 3) && !hd_wait(out), "%s: %s", device, hd_error());
    for (int k = 0; k < 3; k++)
        hd_drop(args[k]);
    return out;
}

START_TEST(agrees)
{
    static const char *part[] = { "y", "dx", "dw" };
    const char *device = hd_default_device(NULL);
    hd_array *got = run(_i, device), *want = run(_i, "host");
    double unit = filters[_i].dt == HD_BF16 ? 1.0 / 128 : filters[_i].dt == HD_F16 ? 1.0 / 1024 : 1e-6;
    for (int p = 0; p < 3; p++) {
        const float *x = hd_data(hd_array_nth(got, p)), *y = hd_data(hd_array_nth(want, p));
        int64_t n = hd_array_size(hd_array_nth(want, p));
        double most = 1;
        ck_assert(x && y && n == hd_array_size(hd_array_nth(got, p)));
        for (int64_t k = 0; k < n; k++)
            most = isfinite(y[k]) && fabsf(y[k]) > most ? fabsf(y[k]) : most;
        for (int64_t k = 0; k < n; k++) {
            bool same = isnan(y[k]) ? isnan(x[k]) :
                isinf(y[k])         ? x[k] == y[k] :
                                      fabs(x[k] - y[k]) <= 16 * unit * most;
            ck_assert_msg(same, "filter %d on %s: %s[%lld] is %g, not %g", _i, device, part[p], (long long)k,
                x[k], y[k]);
        }
    }
    hd_drop(got), hd_drop(want);
    ck_assert_int_eq(hd_live(), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("taps");
    TCase *c = tcase_create("filters");
    tcase_set_timeout(c, 0);
    tcase_add_loop_test(c, agrees, 0, FILTERS);
    suite_add_tcase(s, c);
    return suite_run(s);
}
