/*
 * test_stored.c - dtypes that are for storage: 8-bit floats and 4-bit integers. All codes of them to every
 * dtype and back, as ml_dtypes rounds; what moves elements moves them; they are printed, saved and read;
 * arithmetic refuses them with the way out.
 */
#include <math.h>
#include <stdio.h>

#include "suite.h"
#include "stored_golden.h"
#include "base.h"

static const char *const where[] = { "host", "kernel", "opencl:0", "vulkan:0" };
enum { WHERE = sizeof where / sizeof *where };
static const enum hd_dtype numbers[] = { HD_BOOL, HD_I8, HD_I16, HD_I32, HD_I64, HD_U8, HD_U16, HD_U32,
    HD_U64, HD_F16, HD_BF16, HD_F32, HD_F64, HD_C64, HD_C128, HD_F8_E4M3FN, HD_F8_E5M2, HD_I4, HD_U4 };
enum { NUMBERS = sizeof numbers / sizeof *numbers };

static hd_array *row(enum hd_dtype d, int64_t n, const void *data)
{
    hd_array *a = hd_array_new(d, (hd_ints){ 1, { n } }, data, NULL);
    ck_assert_msg(a != NULL, "%s", hd_error());
    return a;
}

static bool absent(const char *device) { return strcmp(device, "kernel") && !there(device); }

/* ==================== conversions: many at once, so that a device compiles few programs */

static hd to_all(hd x)
{
    hd y[NUMBERS];
    for (int k = 0; k < NUMBERS; k++)
        y[k] = hd_cast(x, numbers[k]);
    return hd_tuple_n(y, NUMBERS);
}

/* What an element is, as the host's words of it: floats by value, others by their integer. */
static bool same_element(enum hd_dtype d, const char *x, const char *y)
{
    Dtype t = (Dtype)d;
    if (!dtype_float(t) && !dtype_complex(t))
        return dtype_load_i(t, x) == dtype_load_i(t, y);
    double a = dtype_load_f(t, x), b = dtype_load_f(t, y);
    return (a != a && b != b) || (a == b && signbit(a) == signbit(b));
}

/* Of f64 values: the same for every device as the C library's words for it. */
static void all_of(enum hd_dtype d, const char *device, int64_t n, const void *data, const double *value)
{
    hd_array *x = row(d, n, data), *y = NULL, *part[NUMBERS];
    ck_assert_msg(!hd_call(hd_jit(to_all, .device = device), &y, x), "%s %s: %s", device, hd_dtype_name(d),
        hd_error());
    for (int k = 0; k < NUMBERS; k++) {
        if (numbers[k] == d)                    /* the same bytes, whichever nan it is */
            continue;
        part[k] = hd_array_nth(y, k);
        const char *got = hd_data(part[k]);
        size_t size = hd_dtype_size(numbers[k]);
        for (int64_t i = 0; i < n; i++) {
            char want[16] = { 0 };
            if (!dtype_f8((Dtype)d) && !dtype_float((Dtype)numbers[k]) && !dtype_f8((Dtype)numbers[k]) &&
                !dtype_complex((Dtype)numbers[k]))
                dtype_store_i((Dtype)numbers[k], want, (int64_t)value[i]);      /* integers wrap */
            else
                dtype_store_f((Dtype)numbers[k], want, value[i]);
            ck_assert_msg(same_element(numbers[k], got + (size_t)i * size, want),
                "%s: %s number %d, %g, to %s", device, hd_dtype_name(d), (int)i, value[i],
                hd_dtype_name(numbers[k]));
        }
        hd_drop(part[k]);
    }
    hd_drop(x), hd_drop(y);
}

START_TEST(codes)
{
    const struct { enum hd_dtype d; const uint32_t *value; } row_of[] = { { HD_F8_E4M3FN, e4m3fn_values },
        { HD_F8_E5M2, e5m2_values }, { HD_I4, NULL }, { HD_U4, NULL } };
    uint8_t code[256];
    double value[256];
    if (absent(where[_i]))
        return;
    for (int k = 0; k < 256; k++)
        code[k] = (uint8_t)k;
    for (int r = 0; r < 4; r += _i < 2 ? 1 : 2) {       /* compilers take their time */
        for (int k = 0; k < 256; k++) {
            float f = 0;
            if (row_of[r].value)
                memcpy(&f, &row_of[r].value[k], 4);
            int low = r == 2 ? (k & 15) - 2 * (k & 8) : k & 15;
            value[k] = row_of[r].value ? (double)f : (double)low;
        }
        all_of(row_of[r].d, where[_i], 256, code, value);
    }
}
END_TEST

/* ==================== rounding */

static hd to_e4m3fn(hd x) { return hd_cast(x, HD_F8_E4M3FN); }
static hd to_e5m2(hd x) { return hd_cast(x, HD_F8_E5M2); }

static void rounded(hd (*f)(hd), const char *device, int64_t n, const uint32_t *bits, const uint8_t *want)
{
    hd_array *x = row(HD_F32, n, bits), *y = NULL;
    ck_assert_msg(!hd_call(hd_jit(f, .device = device), &y, x), "%s: %s", device, hd_error());
    const uint8_t *got = hd_data(y);
    for (int64_t i = 0; i < n; i++)
        ck_assert_msg(got[i] == want[i], "%s: f32 0x%08X to %s is 0x%02X, not 0x%02X", device, bits[i],
            hd_dtype_name(hd_array_dtype(y)), want[i], got[i]);
    hd_drop(x), hd_drop(y);
}

START_TEST(nearest)
{
    if (absent(where[_i]))
        return;
    rounded(to_e4m3fn, where[_i], sizeof e4m3fn_codes, e4m3fn_from, e4m3fn_codes);
    rounded(to_e5m2, where[_i], sizeof e5m2_codes, e5m2_from, e5m2_codes);
}
END_TEST

/* From all other dtypes: integers wrap in four bits, floats go toward zero and saturate. */
static hd to_stored(hd x)
{
    return hd_tuple(hd_cast(x, HD_I4), hd_cast(x, HD_U4), hd_cast(x, HD_F8_E4M3FN), hd_cast(x, HD_F8_E5M2));
}

START_TEST(from_numbers)
{
    static const double some[] = { 0, 1, 7, 8, 9, 15, 16, 100, -1, -8, -9, 17, 19, 7.9, 15.5, -8.9, -0.5,
        300, 1e9, -1e9 };
    enum { N = sizeof some / sizeof *some };
    static const enum hd_dtype to[] = { HD_I4, HD_U4, HD_F8_E4M3FN, HD_F8_E5M2 };
    if (absent(where[_i]))
        return;
    for (int d = HD_BOOL; d <= HD_C128; d++) {
        char data[16 * N] = { 0 };
        size_t size = hd_dtype_size((enum hd_dtype)d);
        for (int k = 0; k < N; k++)
            dtype_store_f((Dtype)d, data + (size_t)k * size, some[k]);
        hd_array *x = row((enum hd_dtype)d, N, data), *y = NULL;
        ck_assert_msg(
            !hd_call(hd_jit(to_stored, .device = where[_i]), &y, x), "%s: %s", where[_i], hd_error());
        for (int t = 0; t < 4; t++) {
            hd_array *part = hd_array_nth(y, t);
            const char *got = hd_data(part);
            for (int k = 0; k < N; k++) {
                const char *p = data + (size_t)k * size;
                char want;
                if (t < 2 && !dtype_float((Dtype)d) && !dtype_complex((Dtype)d))
                    dtype_store_i((Dtype)to[t], &want, dtype_load_i((Dtype)d, p));
                else
                    dtype_store_f((Dtype)to[t], &want, dtype_load_f((Dtype)d, p));
                ck_assert_msg(got[k] == want, "%s: %s %g to %s: 0x%02X, not 0x%02X", where[_i],
                    hd_dtype_name((enum hd_dtype)d), dtype_load_f((Dtype)d, p), hd_dtype_name(to[t]),
                    want & 255, got[k] & 255);
            }
            hd_drop(part);
        }
        hd_drop(x), hd_drop(y);
    }
}
END_TEST

/* What JAX 0.10.2 gives: lax.convert_element_type. */
START_TEST(four_bits_as_jax)
{
    const int32_t whole[] = { 7, 8, 9, -8, -9, 15, 16, -1, 1000 };
    const int8_t i4[] = { 7, -8, -7, -8, 7, -1, 0, -1, -8 }, u4[] = { 7, 8, 9, 8, 7, 15, 0, 15, 8 };
    const float part[] = { 7.9f, 8, -8.9f, -9, 15.5f, 16, -1, 1e9f, NAN, INFINITY, -INFINITY, .5f, -.5f };
    const int8_t fi4[] = { 7, 7, -8, -8, 7, 7, -1, 7, 0, 7, -8, 0, 0 },
                 fu4[] = { 7, 8, 0, 0, 15, 15, 0, 15, 0, 15, 0, 0, 0 };
    if (absent(where[_i]))
        return;
    for (int f = 0; f < 2; f++) {
        int n = f ? 13 : 9;
        hd_array *x = row(f ? HD_F32 : HD_I32, n, f ? (const void *)part : whole), *y = NULL;
        ck_assert_msg(!hd_call(hd_jit(to_stored, .device = where[_i]), &y, x), "%s", hd_error());
        for (int t = 0; t < 2; t++) {
            hd_array *got = hd_array_nth(y, t);
            ck_assert(!memcmp(hd_data(got), t ? f ? fu4 : u4 : f ? fi4 : i4, (size_t)n));
            hd_drop(got);
        }
        hd_drop(x), hd_drop(y);
    }
}
END_TEST

/* ==================== moved: as their bytes */

static hd places(void) { return hd_lit_n(HD_I32, (hd_ints){ 1, { 3 } }, (const int32_t[]){ 1, 0, 1 }); }
static hd keep(hd c, hd x) { return hd_tuple(x, c); }

static hd moves(hd x)                           /* [4, 3] */
{
    hd first = hd_index(hd_index(x, 0, 0), 0, 1);
    return hd_tuple(hd_transpose(x, 1, 0), hd_concatenate(0, x, hd_flip(x, 0)), hd_take(x, places(), 0),
        hd_pad(x, first, HD_INTS(1, 0), HD_INTS(0, 2), HD_INTS(0, 1)),
        hd_where(hd_gt(hd_reshape(hd_iota(HD_I32, 0, 12), 4, 3), hd_c(5)), x, hd_flip(x, 1)),
        hd_at_set(x, first, hd_c(2)), hd_nth(hd_scan(keep, hd_index(x, 0, 0), x), 1));
}

/* A table of weights in 8 bits, which a product reads. */
static hd weighed(hd w, hd x) { return hd_dot(x, hd_mul(hd_cast(w, HD_F32), hd_c(0.5))); }

START_TEST(moved)
{
    const enum hd_dtype d[] = { HD_F8_E4M3FN, HD_F8_E5M2, HD_I4, HD_U4 };
    uint8_t data[12];
    if (absent(where[_i]))
        return;
    for (int k = 0; k < 12; k++)
        data[k] = (uint8_t)(k % 8);
    for (int t = 0; t < 4; t += _i < 2 ? 1 : 3) {
        hd_array *x = hd_array_new(d[t], (hd_ints){ 2, { 4, 3 } }, data, NULL), *y = NULL, *want = NULL;
        hd_array *u = hd_array_new(HD_U8, (hd_ints){ 2, { 4, 3 } }, data, NULL);
        ck_assert_msg(!hd_call(hd_jit(moves, .device = where[_i]), &y, x), "%s: %s", where[_i], hd_error());
        ck_assert(!hd_call(hd_jit(moves, .device = "host"), &want, u));
        for (int k = 0; k < hd_array_len(y); k++) {
            hd_array *a = hd_array_nth(y, k), *b = hd_array_nth(want, k);
            ck_assert_int_eq(hd_array_dtype(a), d[t]);
            ck_assert_msg(!memcmp(hd_data(a), hd_data(b), (size_t)hd_array_size(b)), "%s: %d", where[_i], k);
            hd_drop(a), hd_drop(b);
        }
        hd_drop(x), hd_drop(y), hd_drop(u), hd_drop(want);
    }
    for (int k = 0; k < 12; k++)
        data[k] = (uint8_t)(0x38 + k);
    float v[4] = { 1, 2, -1, 3 }, sum[3] = { 0 };
    for (int k = 0; k < 12; k++)
        sum[k % 3] += v[k / 3] * 0.5f * (float)dtype_load_f(DT_F8E4M3FN, &data[k]);
    hd_array *w = hd_array_new(HD_F8_E4M3FN, (hd_ints){ 2, { 4, 3 } }, data, NULL);
    hd_array *x = row(HD_F32, 4, v), *y = NULL;
    ck_assert_msg(!hd_call(hd_jit(weighed, .device = where[_i]), &y, w, x), "%s", hd_error());
    ck_assert(!memcmp(hd_data(y), sum, sizeof sum));
    hd_drop(w), hd_drop(x), hd_drop(y);
}
END_TEST

/* ==================== refused, printed, saved */

static hd twice(hd x) { return hd_add(x, x); }
static hd ordered(hd x) { return hd_sort(x, 0); }
static hd through(hd x) { return hd_sum(hd_cast(hd_cast(x, HD_F8_E5M2), HD_F32)); }

START_TEST(refused)
{
    hd_array *x = row(HD_F8_E4M3FN, 2, "\x38\x40"), *i = row(HD_I4, 2, "\1\2"), *y = NULL;
    float f[2] = { 1, 2 };
    hd_array *g = row(HD_F32, 2, f);
    ck_assert_int_eq(hd_call(twice, &y, x), HD_EDTYPE);
    ck_assert_msg(strstr(hd_error(), "for storage") && strstr(hd_error(), "hd_cast(x, HD_F32)") &&
            strstr(hd_error(), "test_stored.c"), "%s", hd_error());
    ck_assert_int_eq(hd_call(twice, &y, i), HD_EDTYPE);
    ck_assert_msg(strstr(hd_error(), "hd_cast(x, HD_I32)"), "%s", hd_error());
    ck_assert_int_eq(hd_call(ordered, &y, x), HD_EDTYPE);
    ck_assert_int_eq(hd_call(hd_grad(through), &y, g), HD_EDIFF);
    ck_assert_msg(strstr(hd_error(), "f8_e5m2") && strstr(hd_error(), "hd_stop_gradient"), "%s", hd_error());
    hd_drop(x), hd_drop(i), hd_drop(g);
}
END_TEST

START_TEST(printed_and_saved)
{
    const enum hd_dtype d[] = { HD_F8_E4M3FN, HD_F8_E5M2, HD_I4, HD_U4 };
    const char *const want[] = { "[1.  1.1 2. ]", "[0.5 0.6 2. ]", "[-8 -7  0]", "[8 9 0]" };
    char name[] = "/tmp/stored-XXXXXX", path[64];
    ck_assert(mkdtemp(name) != NULL);
    snprintf(path, sizeof path, "%s/x.npy", name);
    for (int t = 0; t < 4; t++) {
        hd_array *x = row(d[t], 3, "\x38\x39\x40"), *y = NULL;
        char text[200] = { 0 };
        FILE *f = fmemopen(text, sizeof text, "w");
        ck_assert(f && !hd_print(f, x) && !fclose(f));
        text[strcspn(text, "\n")] = 0;
        ck_assert_msg(!strcmp(text, want[t]), "%s: %s", hd_dtype_name(d[t]), text);
        ck_assert_msg(!hd_save(path, x), "%s", hd_error());
        ck_assert_msg((y = hd_load(path)) != NULL, "%s", hd_error());
        ck_assert(hd_array_dtype(y) == d[t] && !memcmp(hd_data(y), "\x38\x39\x40", 3));
        hd_drop(x), hd_drop(y);
    }
    unlink(path), rmdir(name);
    ck_assert_double_eq(dtype_load_f(DT_F8E4M3FN, "\x7E"), 448);
    hd_array *a = hd_array_scalar(HD_F8_E5M2, 1e9);
    ck_assert(isinf(hd_item(a)));
    hd_drop(a);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("stored");
    TCase *c = suite_case(s);
    tcase_add_loop_test(c, codes, 0, WHERE);
    tcase_add_loop_test(c, nearest, 0, WHERE);
    tcase_add_loop_test(c, from_numbers, 0, 2);         /* 15 programs: where they are quick */
    tcase_add_loop_test(c, four_bits_as_jax, 0, 2);
    tcase_add_loop_test(c, moved, 0, WHERE);
    tcase_add_test(c, refused);
    tcase_add_test(c, printed_and_saved);
    return suite_run(s);
}
