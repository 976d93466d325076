/*
 * test_narrow.c - a device without f64 or 64-bit integers says so before it compiles: the op, the dtype, the
 * device, the program's line and what to convert to. HEDDLE_CHECK=narrow makes such devices of those that
 * are here.
 */
#include <stdlib.h>
#include <string.h>

#include "suite.h"

/* where the op is that cannot be: known once it was traced */
static int at_roots, at_counts, at_words, at_complex;
static hd roots(hd x)
{
    at_roots = __LINE__, x = hd_sqrt(hd_cast(x, HD_F64));
    return hd_cast(x, HD_F32);
}
static hd counts(hd x)
{
    at_counts = __LINE__, x = hd_cast(x, HD_I64);
    return hd_cast(hd_mul(x, x), HD_F32);
}
static hd words(hd x)
{
    at_words = __LINE__, x = hd_cast(x, HD_U64);
    return hd_cast(hd_popcount(x), HD_F32);
}
static hd step(hd i, hd x) { return (void)i, roots(x); }
static hd in_a_loop(hd x) { return hd_fori(hd_c(0), hd_c(100), step, x); }
static hd complex_f64(hd x)
{
    at_complex = __LINE__, x = hd_abs(hd_cast(x, HD_C128));
    return hd_cast(x, HD_F32);
}
static hd plain(hd x) { return hd_sqrt(x); }

static const struct {
    hd (*f)(hd);
    const char *op, *dtype, *instead;
    const int *line;
} wide[] = {
    { roots, "convert", "no f64", "f32", &at_roots },
    { counts, "convert", "no i64", "i32", &at_counts },
    { words, "convert", "no u64", "u32", &at_words },
    { in_a_loop, "convert", "no f64", "f32", &at_roots },
    { complex_f64, "convert", "no f64", "f32", &at_complex },
};

static void refuses(const char *device)
{
    const float v[] = { 4, 9, 16 };
    hd_array *x = hd_array_of(v, 3), *y = NULL;
    for (size_t k = 0; k < sizeof wide / sizeof *wide; k++) {
        char line[64];
        ck_assert(hd_call(hd_jit(hd_function_(1, (uintptr_t)wide[k].f, "f", NULL, 0), .device = device), &y,
                      x) == HD_EDEVICE);
        snprintf(line, sizeof line, "test_narrow.c:%d", *wide[k].line);
        const char *all[] = { wide[k].op, wide[k].dtype, wide[k].instead, device, line };
        for (int j = 0; j < 5; j++)
            ck_assert_msg(strstr(hd_error(), all[j]), "no \"%s\" in: %s", all[j], hd_error());
    }
    ck_assert_msg(!hd_call(hd_jit(plain, .device = device), &y, x), "%s", hd_error());
    ck_assert(((const float *)hd_data(y))[2] == 4);
    hd_drop(x), hd_drop(y);
}

START_TEST(told)
{
    hd_device_info d;
    refuses("kernel");
    for (int i = 0; i < hd_device_count(); i++)
        if (!hd_device(i, &d) && strcmp(d.kind, "host")) {
            ck_assert_msg(!d.has_f64 && !d.has_i64, "%s", d.name);
            refuses(d.name);
        }
}
END_TEST

/* Of an argument there is no line of an op: that of the call, and the argument's type. */
static hd same(hd x) { return hd_add(x, x); }
START_TEST(arguments)
{
    const double v[] = { 1, 2 };
    hd_array *x = hd_array_of(v, 2), *y = NULL;
    hd_fn *f = hd_jit(same, .device = "kernel");
    ck_assert(hd_call(f, &y, x) == HD_EDEVICE);
    ck_assert_msg(
        strstr(hd_error(), "an argument") && strstr(hd_error(), "kernel has no f64"), "%s", hd_error());
    hd_drop(x);
}
END_TEST

int main(void)
{
    setenv("HEDDLE_CHECK", "narrow", 1);
    Suite *s = suite_create("narrow");
    TCase *c = suite_case(s);
    tcase_add_test(c, told);
    tcase_add_test(c, arguments);
    return suite_run(s);
}
