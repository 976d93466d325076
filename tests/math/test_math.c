/*
 * test_math.c - elementwise values of every device against those of the host reference, for every dtype.
 *
 * In:  special and drawn values; programs as text, one a dtype, with every op that has one right answer:
 * arithmetic,
 *      comparisons, bits, rounding, remainders, neighbours, conversions to all dtypes, fewer bits.
 *      Rows with a nan in one place, and with none, for the largest and the smallest of each.
 * Out: the same bits as on the host, any nan for a nan. Functions, which are not correctly rounded, are
 * measured by tests/math/ulp.c.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "heddle.h"
#include "suite_run.h"

/* N: not a whole number of vectors; GROUP: results of a program */
enum { N = 4099, MOST = 64, GROUP = 12 };

/* ==================== values */

static uint64_t state = 88172645463325252ull;

static uint64_t draw(void)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state;
}

static const double real[] = { 0, -0.0, INFINITY, -INFINITY, NAN, 1, -1, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 2,
    3, -3, 7, 10, -100, 1000, 127, 128, -128, -129, 255, 256, 32767, 32768, -32768, -32769, 65535, 65536,
    65504, -65504, 65520, 0x1p-24, -0x1p-24, 0x1p-14, 0x1.ffcp-15, 0x1p-25, 0x1.8p-25, 0x1p-126, -0x1p-126,
    0x1p-149, -0x1p-149, 0x1.fffffcp-127, 0x1p-133, 0x1p31, -0x1p31, 0x1p32, 0x1.fffffep30, 0x1p63, -0x1p63,
    0x1p64, 0x1.fffffep127, -0x1.fffffep127, 0x1.fep127, 0x1p-1074, -0x1p-1022, 0x1.fffffffffffffp1023,
    0x1.fffffffffffffp62, 0x1.0010000001p0, 0x1.010000001p0, 1e30 };
static const int64_t whole[] = { 0, 1, -1, 2, -2, 3, -3, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100,
    -100, 127, 128, -128, 255, 256, -7, -8, -16, -32, -64, 32767, 32768, -32768, 65535, 65536, 0xffffff,
    0x1000001, 0x1000003, INT32_MAX, INT32_MIN, 0x80000000, 0xffffffff, 0x100000000, (1ll << 53) + 1,
    -(1ll << 53) - 1, (1ll << 60) + (1 << 7), INT64_MAX, INT64_MIN, INT64_MAX - 1, 0x7fffffbfffffffff,
    0x7fffff4000000001, 2049, 2051, 257, 259, 1000, 65519, 65521, 12345 };

/* Value k of an operand: pairs of special values, then bits as they are drawn, then such of like size. */
static void value(Dtype dt, int operand, int64_t k, void *to)
{
    bool f = dtype_float(dt);
    int64_t n = f ? (int64_t)(sizeof real / sizeof *real) : (int64_t)(sizeof whole / sizeof *whole);
    int64_t at = operand == 0 ? k % n : operand == 1 ? k / n % n : (int64_t)(draw() % (uint64_t)n);
    uint64_t b = draw();
    if (dt == DT_BOOL)
        dtype_store_i(dt, to, (int64_t)(b >> 13 & 1));
    else if (k < n * n && f)
        dtype_store_f(dt, to, real[at]);
    else if (k < n * n)
        dtype_store_i(dt, to, whole[at]);
    else if (k & 1 || !f)
        dtype_store_i(dt, to, (int64_t)(b >> (k & 2 ? 0 : b >> 58)));
    else
        dtype_store_f(dt, to, ldexp((double)(b >> 40) - 0x1p23, (int)(b & 15) - 20));
}

static hd_array *operand(Dtype dt, int which)
{
    size_t size = dtype_size(dt);
    char *p = malloc(N * size);
    ck_assert(p != NULL);
    for (int64_t k = 0; k < N; k++)
        value(dt, which, k, p + (size_t)k * size);
    hd_array *a = hd_array_new((enum hd_dtype)dt, (hd_ints){ 1, { N } }, p, NULL);
    free(p);
    ck_assert_msg(a != NULL, "%s", hd_error());
    return a;
}

/* ==================== programs */

/* Results: op and its attributes, of the first `arity` operands. */
typedef struct Result { const char *op, *attributes; int arity; Dtype to; } Result;
typedef struct Program { Result r[MOST]; int n; } Program;

static void result(Program *p, Dtype to, const char *op, int arity, const char *attributes)
{
    ck_assert(p->n < MOST);
    p->r[p->n++] = (Result){ op, attributes, arity, to };
}

static void results(Program *p, Dtype to, int arity, const char *const *ops)
{
    for (; *ops; ops++)
        result(p, to, *ops, arity, "");
}

static char *program_text(const Result *r, int n, Dtype dt)
{
    static const char *const args[] = { "", " x0", " x0 x1", " x0 x1 x2" };
    Text t = { 0 };
    const char *s = dtype_name(dt);
    text_add(&t, "fn %s(x0: %s[%d], x1: %s[%d], x2: %s[%d]) ->", s, s, N, s, N, s, N);
    for (int k = 0; k < n; k++)
        text_add(&t, "%s %s[%d]", k ? "," : "", dtype_name(r[k].to), N);
    text_add(&t, " {\n");
    for (int k = 0; k < n; k++)
        text_add(&t, "    v%d: %s[%d] = %s%s %s\n", 10 + k, dtype_name(r[k].to), N, r[k].op,
            args[r[k].arity], r[k].attributes);
    text_add(&t, "    ret");
    for (int k = 0; k < n; k++)
        text_add(&t, "%s v%d", k ? "," : "", 10 + k);
    text_add(&t, "\n}\n");
    return text_take(&t);
}

static bool has(const hd_device_info *d, Dtype dt)
{
    return dt == DT_F64 ? d->has_f64 : dt == DT_I64 || dt == DT_U64 ? d->has_i64 : true;
}

static void convert_all(Program *p, Dtype dt, const hd_device_info *d)
{
    static const char *const words[] = { [DT_BOOL] = "dtype=bool",
        [DT_I8] = "dtype=i8",
        [DT_I16] = "dtype=i16",
        [DT_I32] = "dtype=i32",
        [DT_I64] = "dtype=i64",
        [DT_U8] = "dtype=u8",
        [DT_U16] = "dtype=u16",
        [DT_U32] = "dtype=u32",
        [DT_U64] = "dtype=u64",
        [DT_F16] = "dtype=f16",
        [DT_BF16] = "dtype=bf16",
        [DT_F32] = "dtype=f32",
        [DT_F64] = "dtype=f64" };
    for (Dtype to = DT_BOOL; to <= DT_F64; to++)
        if (to != dt && has(d, to))
            result(p, to, "convert", 1, words[to]);
}

static void exact(Program *p, Dtype dt)
{
    static const char *const compare[] = { "eq", "ne", "lt", "le", "gt", "ge", NULL };
    static const char *const bool_2[] = { "add", "mul", "max", "min", "and", "or", "xor", NULL };
    static const char *const int_1[] = { "neg", "abs", "sign", "not", "population_count", "clz", NULL };
    static const char *const int_2[] = { "add", "sub", "mul", "div", "rem", "pow", "max", "min", "and", "or",
        "xor", "shift_left", "shift_right_logical", "shift_right_arithmetic", "mulhi", NULL };
    static const char *const float_1[] = { "neg", "abs", "sign", "floor", "ceil", "round", "trunc", "sqrt",
        NULL };
    static const char *const float_2[] = { "add", "sub", "mul", "div", "rem", "max", "min", "copysign",
        "nextafter", NULL };
    static const char *const fewer[] = { "exponent=5 mantissa=10", "exponent=8 mantissa=7",
        "exponent=4 mantissa=3", "exponent=5 mantissa=2", "exponent=2 mantissa=1", "exponent=11 mantissa=23",
        NULL };
    results(p, DT_BOOL, 2, compare);
    if (dt == DT_BOOL) {
        results(p, dt, 2, bool_2);
        result(p, dt, "not", 1, "");
        return;
    }
    result(p, dt, "clamp", 3, "");
    results(p, dt, 1, dtype_float(dt) ? float_1 : int_1);
    results(p, dt, 2, dtype_float(dt) ? float_2 : int_2);
    if (!dtype_float(dt))
        return;
    result(p, DT_BOOL, "is_finite", 1, "");
    for (int k = 0; fewer[k]; k++)
        result(p, dt, "reduce_precision", 1, fewer[k]);
}

/* ==================== comparison */

/* The same bits, or two nan. */
static bool alike(Dtype dt, const void *got, const void *want)
{
    return !memcmp(got, want, dtype_size(dt)) ||
        (dtype_float(dt) && isnan(dtype_load_f(dt, got)) && isnan(dtype_load_f(dt, want)));
}

static void run(const char *text, const char *device, int n, hd_array **in, hd_array **out)
{
    hd_fn *f = hd_jit(hd_parse(text, "math"), .device = device);
    ck_assert_msg(f != NULL, "%s\n%s", hd_error(), text);
    ck_assert_msg(!hd_call_n(f, out, n, in, 3), "%s: %s", device, hd_error());
}

static const char *element(Dtype dt, const void *p)
{
    static char text[4][40];
    static int k;
    char *s = text[k++ & 3];
    if (dtype_float(dt))
        snprintf(s, 40, "%.17g", dtype_load_f(dt, p));
    else
        snprintf(s, 40, dtype_unsigned(dt) ? "%llu" : "%lld", (long long)dtype_load_i(dt, p));
    return s;
}

static void compare(
    const Result *r, Dtype dt, const char *device, hd_array **in, const hd_array *got, const hd_array *want)
{
    const char *x = hd_data(in[0]), *y = hd_data(in[1]), *a = hd_data(got), *b = hd_data(want);
    size_t size = dtype_size(dt), n = dtype_size(r->to);
    ck_assert_msg(a && b, "%s", hd_error());
    for (size_t k = 0; k < N; k++)
        ck_assert_msg(alike(r->to, a + k * n, b + k * n), "%s %s of %s on %s: (%s, %s) gives %s, not %s",
            r->op, r->attributes, dtype_name(dt), device, element(dt, x + k * size),
            element(dt, y + k * size), element(r->to, a + k * n), element(r->to, b + k * n));
}

static void check_group(const Result *r, int n, Dtype dt, const char *device, hd_array **in)
{
    hd_array *got[GROUP], *want[GROUP];
    char *text = program_text(r, n, dt);
    run(text, device, n, in, got);
    run(text, "host", n, in, want);
    for (int k = 0; k < n; k++) {
        compare(&r[k], dt, device, in, got[k], want[k]);
        hd_drop(got[k]), hd_drop(want[k]);
    }
    free(text);
}

static void check(Dtype dt, const hd_device_info *d)
{
    Program p = { 0 };
    hd_array *in[3];
    exact(&p, dt);
    convert_all(&p, dt, d);
    for (int k = 0; k < 3; k++)
        in[k] = operand(dt, k);
    for (int from = 0; from < p.n; from += GROUP)
        check_group(p.r + from, p.n - from < GROUP ? p.n - from : GROUP, dt, d->name, in);
    for (int k = 0; k < 3; k++)
        hd_drop(in[k]);
}

/* On every device that has the dtype but the host itself. */
static void everywhere(Dtype dt)
{
    hd_device_info d;
    for (int k = 0; k < hd_device_count(); k++) {
        ck_assert_msg(!hd_device(k, &d), "%s", hd_error());
        if (strcmp(d.kind, "host") && has(&d, dt))
            check(dt, &d);
    }
}

START_TEST(bits) { everywhere((Dtype)_i); }
END_TEST

/* ==================== nan in a row */

/* Row r of len + 1 has its nan at column r; the last has none. */
static void nan_rows(Dtype dt, int len, const char *device)
{
    size_t size = dtype_size(dt);
    char *p = malloc((size_t)len * (size_t)(len + 1) * size), text[512];
    ck_assert(p != NULL);
    for (int r = 0; r <= len; r++)
        for (int c = 0; c < len; c++)
            dtype_store_f(dt, p + (size_t)(r * len + c) * size, r == c ? NAN : (c * 7 + r) % len);
    hd_array *x = hd_array_new((enum hd_dtype)dt, (hd_ints){ 2, { len + 1, len } }, p, NULL), *out[2];
    free(p);
    const char *s = dtype_name(dt);
    snprintf(text, sizeof text,
        "fn rows(x: %s[%d,%d]) -> %s[%d], %s[%d] {\n    v1: %s[%d] = reduce_max x axes=1\n"
        "    v2: %s[%d] = reduce_min x axes=1\n    ret v1, v2\n}\n",
        s, len + 1, len, s, len + 1, s, len + 1, s, len + 1, s, len + 1);
    hd_fn *f = hd_jit(hd_parse(text, "rows"), .device = device);
    ck_assert_msg(f != NULL && !hd_call_n(f, out, 2, &x, 1), "%s: %s", device, hd_error());
    for (int k = 0; k < 2; k++) {
        const char *got = hd_data(out[k]);
        ck_assert_msg(got != NULL, "%s", hd_error());
        for (int r = 0; r <= len; r++) {
            double y = dtype_load_f(dt, got + (size_t)r * size);
            ck_assert_msg(r < len ? isnan(y) : y == (k ? 0 : len - 1),
                "%s, the %s of row %d of %d of %s: %g", device, k ? "smallest" : "largest", r, len, s, y);
        }
        hd_drop(out[k]);
    }
    hd_drop(x);
}

START_TEST(nan_in_a_row)
{
    static const int len[] = { 5, 33, 64, 131, 200 };
    hd_device_info d;
    for (int k = 0; k < hd_device_count(); k++) {
        ck_assert_msg(!hd_device(k, &d), "%s", hd_error());
        for (size_t n = 0; has(&d, (Dtype)_i) && n < sizeof len / sizeof *len; n++)
            nan_rows((Dtype)_i, len[n], d.name);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("math");
    TCase *t = tcase_create("values");
    tcase_set_timeout(t, 300);
    tcase_add_loop_test(t, bits, DT_BOOL, DT_F64 + 1);
    tcase_add_loop_test(t, nan_in_a_row, DT_F16, DT_F64 + 1);
    suite_add_tcase(s, t);
    return suite_run(s);
}
