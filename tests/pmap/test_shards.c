/*
 * test_shards.c - arrays in shares along any axis: what is dealt out is the same array; maps take shares of
 * any axis and leave them where they are, without a step on another device; other shares are made of those
 * that are there.
 */
#include <stdlib.h>
#include <unistd.h>

#include "suite.h"

static char timeline[] = "/tmp/heddle-shards-XXXXXX";
static const char four[] = "host,host:1,host:2,host:3";

/* Numbers 0, 1 ... of any shape and dtype. */
static hd_array *numbers(enum hd_dtype dt, hd_ints shape)
{
    char v[8 * 1024] = { 0 };
    int64_t n = 1, size = (int64_t)hd_dtype_size(dt);
    for (int d = 0; d < shape.n; d++)
        n *= shape.v[d];
    for (int64_t k = 0; k < n; k++)
        if (dt == HD_F32)
            ((float *)(void *)v)[k] = (float)k;
        else
            v[k * size] = (char)k;
    return hd_array_new(dt, shape, v, NULL);
}

static void same(const hd_array *a, const hd_array *b)
{
    ck_assert_msg(a && b, "%s", hd_error());
    ck_assert_int_eq(hd_array_size(a), hd_array_size(b));
    size_t n = (size_t)hd_array_size(a) * hd_dtype_size(hd_array_dtype(a));
    ck_assert(!memcmp(hd_data(a), hd_data(b), n));
}

/* Steps of the home device that the file tells of so far. */
static int home_steps(void)
{
    char line[400];
    int n = 0;
    FILE *f = fopen(timeline, "r");
    while (f && fgets(line, sizeof line, f))
        n += strstr(line, "\"tid\":-1,") != NULL;
    if (f)
        fclose(f);
    return n;
}

START_TEST(dealt_out)
{
    static const enum hd_dtype dt[] = { HD_F32, HD_I8, HD_I64 };
    hd_array *x, *y, *z;
    for (int k = 0; k < 3; k++)
        for (int axis = 0; axis < 3; axis++) {
            x = numbers(dt[k], (hd_ints){ 3, { 4, 8, 4 } });
            y = hd_put(x, four, .axis = axis);
            ck_assert_str_eq(hd_array_device(y), four);
            z = hd_put(y, "host:3,host:1", .axis = (axis + 1) % 3);
            ck_assert_str_eq(hd_array_device(z), "host:3,host:1");
            same(y, x), same(z, x);
            hd_drop(z);
            z = hd_put(y, "host:2");
            same(z, x);
            hd_drop(x), hd_drop(y), hd_drop(z);
        }
    x = numbers(HD_F32, (hd_ints){ 2, { 0, 4 } });
    y = hd_put(x, four, .axis = -1);
    same(y, x);
    ck_assert_ptr_null(hd_put(x, four, .axis = 2));
    ck_assert_ptr_nonnull(strstr(hd_error(), "no axis 2"));
    ck_assert_ptr_nonnull(strstr(hd_error(), "test_shards.c:"));
    ck_assert_ptr_null(hd_put(x, "host,host:1,host:2", .axis = 1));
    ck_assert_ptr_nonnull(strstr(hd_error(), "of 4"));
    hd_drop(x), hd_drop(y);
}
END_TEST

static hd twice_and_sum(hd x) { return hd_add(hd_mul_c(x, 2), hd_psum(hd_sum(x), "i")); }
static hd pair(hd x, hd y) { return hd_tuple(hd_add(x, y), hd_sub(x, y), hd_sum(x)); }

/* Maps over the middle axis, one after the other: nothing is computed elsewhere, whole or not. */
START_TEST(any_axis)
{
    hd_array *x = numbers(HD_F32, (hd_ints){ 3, { 2, 4, 3 } }), *there4 = hd_put(x, four, .axis = 1), *y, *z,
             *want, *out[3];
    hd_fn *f = hd_pmap(twice_and_sum, .axis_name = "i", .devices = four, .in_axes = { 1 }, .out_axes = 1);
    hd_fn *v =
        hd_jit(hd_vmap(twice_and_sum, .axis_name = "i", .in_axes = { 1 }, .out_axes = 1), .device = "host");
    int before = home_steps();
    ck_assert_msg(!hd_call(f, &y, there4), "%s", hd_error());
    ck_assert_str_eq(hd_array_device(y), four);
    ck_assert_msg(!hd_call(f, &z, y), "%s", hd_error());
    ck_assert_str_eq(hd_array_device(z), four);
    ck_assert_int_eq(home_steps(), before);
    ck_assert(!hd_call(v, &want, x));
    same(y, want);
    hd_drop(want);
    ck_assert(!hd_call(v, &want, y));
    same(z, want);
    hd_drop(want);
    /* Different axes in, and out; two places a device. */
    hd_array *t = numbers(HD_F32, (hd_ints){ 3, { 4, 2, 3 } });
    f = hd_pmap(pair, .devices = "host,host:1", .in_axes = { 1, 0 }, .out_tree = "(2, 1, 0)");
    v = hd_jit(hd_vmap(pair, .in_axes = { 1, 0 }, .out_tree = "(2, 1, 0)"), .device = "host");
    hd_array *two[3];
    ck_assert_msg(!hd_call(f, out, x, t), "%s", hd_error());
    ck_assert(!hd_call(v, two, x, t));
    for (int k = 0; k < 3; k++) {
        same(out[k], two[k]);
        ck_assert_str_eq(hd_array_device(out[k]), "host,host:1");
        hd_drop(out[k]), hd_drop(two[k]);
    }
    ck_assert_int_eq(home_steps(), before);
    hd_drop(t), hd_drop(x), hd_drop(there4), hd_drop(y), hd_drop(z);
}
END_TEST

static hd mixed_use(hd x)
{
    hd y = hd_apply(
        hd_pmap(twice_and_sum, .axis_name = "i", .devices = four, .in_axes = { 2 }, .out_axes = 2), x);
    hd z = hd_apply(
        hd_pmap(twice_and_sum, .axis_name = "i", .devices = four, .in_axes = { 2 }, .out_axes = 0), y);
    return hd_tuple(y, z, hd_sum(hd_add(y, hd_transpose(z, 1, 2, 0))));
}
static hd mixed_plain(hd x)
{
    hd y = hd_apply(hd_vmap(twice_and_sum, .axis_name = "i", .in_axes = { 2 }, .out_axes = 2), x);
    hd z = hd_apply(hd_vmap(twice_and_sum, .axis_name = "i", .in_axes = { 2 }, .out_axes = 0), y);
    return hd_tuple(y, z, hd_sum(hd_add(y, hd_transpose(z, 1, 2, 0))));
}

/* A result that is read in more than one order. */
START_TEST(several_readers)
{
    hd_array *x = numbers(HD_F32, (hd_ints){ 3, { 2, 3, 4 } }), *got[3], *want[3];
    ck_assert_msg(!hd_call(hd_jit(mixed_use, .device = "host"), got, x), "%s", hd_error());
    ck_assert(!hd_call(hd_jit(mixed_plain, .device = "host"), want, x));
    for (int k = 0; k < 3; k++)
        same(got[k], want[k]), hd_drop(got[k]), hd_drop(want[k]);
    hd_drop(x);
}
END_TEST

int main(void)
{
    int made = mkstemp(timeline);
    if (made >= 0)
        close(made);
    setenv("HEDDLE_TIMELINE", timeline, 1);
    setenv("HEDDLE_HOST_DEVICES", "4", 1);
    Suite *s = suite_create("shards");
    TCase *c = suite_case(s);
    tcase_add_test(c, dealt_out);
    tcase_add_test(c, any_axis);
    tcase_add_test(c, several_readers);
    int failed = suite_run(s);
    unlink(timeline);
    return failed;
}
