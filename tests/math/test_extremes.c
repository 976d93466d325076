/*
 * test_extremes.c - the largest and the smallest where they are zeros: -0 is below 0, bit for bit, on every
 * device that is there.
 *
 * In:  rows of zeros of both signs, negative numbers and nan, of many lengths and every float dtype.   Out:
 * what a loop in C says.
 * Everything that chooses an extreme: of rows and columns, running along them, of two numbers, with a
 * constant zero.
 */
#include <math.h>
#include <string.h>

#include "heddle.h"
#include "suite_run.h"

static const char *const devices[] = { "host", "opencl:0", "vulkan:0" };
static const enum hd_dtype dtypes[] = { HD_F32, HD_F16, HD_BF16, HD_F64 };
enum { DEVICES = 3, DTYPES = 4, ROWS = 19, LONGEST = 150 };
/* the first in every dtype, the others in f32 */
static const int lengths[] = { 33, 2, 5, 16, LONGEST };
enum { LENGTHS = sizeof lengths / sizeof *lengths, CASES = DTYPES + LENGTHS - 1 };

/* Of [ROWS, n]: over rows or columns, running along them, or of two numbers: with the row turned, or a
 * constant. */
typedef enum Kind { OVER, RUNNING, TURNED, CONSTANT } Kind;
typedef struct Op { const char *name; bool max; Kind kind; int axis; double c; } Op;
static const Op ops[] = {
    { "cummax of rows", true, RUNNING, 1, 0 }, { "cummin of rows", false, RUNNING, 1, 0 },
    { "max of rows", true, OVER, 1, 0 }, { "min of rows", false, OVER, 1, 0 },
    { "max of columns", true, OVER, 0, 0 }, { "min of columns", false, OVER, 0, 0 },
    { "cummax of columns", true, RUNNING, 0, 0 }, { "cummin of columns", false, RUNNING, 0, 0 },
    { "maximum", true, TURNED, 1, 0 }, { "minimum", false, TURNED, 1, 0 },
    { "maximum with 0", true, CONSTANT, 1, 0.0 }, { "minimum with 0", false, CONSTANT, 1, 0.0 },
    { "maximum with -0", true, CONSTANT, 1, -0.0 }, { "minimum with -0", false, CONSTANT, 1, -0.0 },
};
enum { OPS = sizeof ops / sizeof *ops };

static hd apply(const Op *op, hd x)
{
    switch (op->kind) {
    case OVER: return op->max ? hd_max(x, op->axis) : hd_min(x, op->axis);
    case RUNNING: return op->max ? hd_cummax(x, op->axis) : hd_cummin(x, op->axis);
    default: {
        hd y = op->kind == TURNED ? hd_flip(x, 1) : hd_c(op->c);
        return op->max ? hd_maximum(x, y) : hd_minimum(x, y);
    }
    }
}

/* In which dtype; without the first so many, whose kernels a device compiles for seconds. */
typedef struct How { enum hd_dtype dt; int skip; } How;

/* Zeros for the largest, zeros for the smallest. */
static hd all_ops(hd for_max, hd for_min, const void *env)
{
    const How *how = env;
    hd out[OPS];
    for (int o = how->skip; o < OPS; o++)
        out[o] = hd_cast(apply(&ops[o], hd_cast(ops[o].max ? for_max : for_min, how->dt)), HD_F32);
    return hd_tuple_n(out + how->skip, OPS - how->skip);
}

static double most(bool max, double x, double y)
{
    if (isnan(x) || isnan(y))
        return NAN;
    if (x == y)
        return (signbit(x) != 0) == max ? y : x;
    return (x > y) == max ? x : y;
}

static bool same(double x, double y)
{
    return isnan(x) ? isnan(y) : x == y && (signbit(x) != 0) == (signbit(y) != 0);
}

/* Mostly the weaker zero, one of the other at a place that moves from row to row; numbers beyond it, or a
 * nan, in some rows. */
static double element(bool max, int n, int r, int k)
{
    double strong = max ? 0.0 : -0.0;
    if (r % 7 == 6 && k == n / 2)
        return NAN;
    if (r % 5 && k == r * 5 % n)
        return strong;
    return (r + k) % 3 == 1 && r % 2 ? (max ? -1 : 1) : -strong;
}

static bool there(const char *device)
{
    hd_device_info info;
    for (int k = 0; k < hd_device_count(); k++)
        if (!hd_device(k, &info) && !strcmp(info.name, device))
            return true;
    return false;
}

/* The right value at row r, column k of what has the shape of x; of reductions, once the row or column is
 * over. */
static double right(const Op *op, const double *x, int n, int r, int k)
{
    const double *row = x + r * n;
    if (op->kind >= TURNED)
        return most(op->max, row[k], op->kind == TURNED ? row[n - 1 - k] : op->c);
    double best = op->axis ? row[0] : x[k];
    for (int s = 1; s <= (op->axis ? k : r); s++)
        best = most(op->max, best, op->axis ? row[s] : x[s * n + k]);
    return best;
}

static void compare(
    const Op *op, const char *device, enum hd_dtype dt, int n, const double *x, const float *got)
{
    for (int r = 0; r < ROWS; r++)
        for (int k = 0; k < n; k++) {
            if (op->kind == OVER && (op->axis ? k < n - 1 : r < ROWS - 1))
                continue;
            double want = right(op, x, n, r, k),
                   g = (double)got[op->kind != OVER ? r * n + k :
                           op->axis                 ? r :
                                                      k];
            ck_assert_msg(same(g, want), "%s of %s[%d,%d] on %s, row %d, column %d: %g, not %g", op->name,
                hd_dtype_name(dt), ROWS, n, device, r, k, g, want);
        }
}

START_TEST(zeros_have_signs)
{
    const char *device = devices[_i / CASES];
    int c = _i % CASES, n = lengths[c < DTYPES ? 0 : c - DTYPES + 1];
    How how = { dtypes[c < DTYPES ? c : 0], strcmp(device, "vulkan:0") ? 0 : 2 };
    static double x[2][ROWS * LONGEST];
    static float f[2][ROWS * LONGEST];
    hd_array *in[2], *out[OPS];
    if (!there(device) || (how.skip && c >= DTYPES))
        return;
    for (int m = 0; m < 2; m++) {
        for (int at = 0; at < ROWS * n; at++)
            f[m][at] = (float)(x[m][at] = element(!m, n, at / n, at % n));
        in[m] = hd_array_of(f[m], ROWS, n);
    }
    int code = hd_call_n(
        hd_jit_n(hd_bind(all_ops, how), &(hd_jit_opts){ .device = device }), out, OPS - how.skip, in, 2);
    ck_assert_msg(!code, "%s on %s: %s", hd_dtype_name(how.dt), device, hd_error());
    for (int o = how.skip; o < OPS; o++) {
        compare(&ops[o], device, how.dt, n, x[!ops[o].max], hd_data(out[o - how.skip]));
        hd_drop(out[o - how.skip]);
    }
    hd_drop(in[0]), hd_drop(in[1]);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("extremes");
    TCase *t = tcase_create("zeros");
    tcase_add_loop_test(t, zeros_have_signs, 0, DEVICES * CASES);
    tcase_set_timeout(t, 300);
    suite_add_tcase(s, t);
    return suite_run(s);
}
