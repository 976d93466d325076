/*
 * test_kernel_op.c - hd_kernel: a kernel of the user's as an op, on devices of OpenCL and Vulkan and as a
 * function on the host, under vmap and with a derivative of its own.
 */
#include <check.h>
#include <math.h>

#include "suite.h"

static const char scaled_text[] = "kernel void scaled(global const float *x, global const float *s,\n"
                                  "                   global float *y, global int *n)\n"
                                  "{\n"
                                  "    int i = get_global_id(0);\n"
                                  "    y[i] = x[i] * s[0];\n"
                                  "    if (!i) n[0] = (int)get_global_size(0);\n"
                                  "}\n";

/* The same, in groups of one. */
static const uint32_t scaled_words[] = {
    0x7230203, 66816, 0, 39, 0, 131089, 1, 196622, 0, 1, 720911, 5, 1, 0x6c616373, 25701, 2, 3, 4, 5, 6,
    7, 393232, 1, 17, 1, 1, 1, 262215, 2, 11, 28, 262215, 3, 11, 24, 262215, 8, 6, 4, 262215, 9, 6, 4,
    327752, 10, 0, 35, 0, 327752, 11, 0, 35, 0, 196679, 10, 2, 196679, 11, 2, 262215, 4, 34, 0, 262215, 4,
    33, 0, 262215, 5, 34, 0, 262215, 5, 33, 1, 262215, 6, 34, 0, 262215, 6, 33, 2, 262215, 7, 34, 0,
    262215, 7, 33, 3, 131091, 12, 196641, 13, 12, 196630, 14, 32, 262165, 15, 32, 0, 131092, 16, 262167,
    17, 15, 3, 196637, 8, 14, 196637, 9, 15, 196638, 10, 8, 196638, 11, 9, 262176, 18, 12, 10, 262176, 19,
    12, 11, 262176, 20, 12, 14, 262176, 21, 12, 15, 262176, 22, 1, 17, 262187, 15, 23, 0, 262203, 22, 2,
    1, 262203, 22, 3, 1, 262203, 18, 4, 12, 262203, 18, 5, 12, 262203, 18, 6, 12, 262203, 19, 7, 12,
    327734, 12, 1, 0, 13, 131320, 24, 262205, 17, 25, 2, 327761, 15, 26, 25, 0, 393281, 20, 27, 4, 23, 26,
    262205, 14, 28, 27, 393281, 20, 29, 5, 23, 23, 262205, 14, 30, 29, 327813, 14, 31, 28, 30, 393281, 20,
    32, 6, 23, 26, 196670, 32, 31, 327850, 16, 33, 26, 23, 196855, 34, 0, 262394, 33, 35, 34, 131320, 35,
    262205, 17, 36, 3, 327761, 15, 37, 36, 0, 393281, 21, 38, 7, 23, 23, 196670, 38, 37, 131321, 34,
    131320, 34, 65789, 65592
};

static int on_host;

static void scaled_on_host(void *const *out, const void *const *in, const hd_ints *shape)
{
    const float *x = in[0], *s = in[1];
    on_host++;
    for (int64_t i = 0; i < shape[0].v[0]; i++)
        ((float *)out[0])[i] = x[i] * *s;
    *(int32_t *)out[1] = (int32_t)shape[2].v[0];
}

static hd_kernel_def scaled_def = { .name = "scaled", .opencl = scaled_text, .spirv = scaled_words,
    .spirv_words = sizeof scaled_words / sizeof *scaled_words, .host = scaled_on_host, .global = { 5 },
    .outputs = 2, .output = { { HD_F32, { 1, { 5 } } }, { HD_I32, { 0, { 0 } } } } };

static hd both(hd x, hd s) { return hd_kernel(&scaled_def, x, s); }
static hd scaled(hd x, hd s) { return hd_nth(hd_kernel(&scaled_def, x, s), 0); }
static hd around(hd x, hd s) { return hd_add(scaled(hd_add(x, hd_c(1)), s), x); }

/* d(x s) = dx s + x ds */
static hd scaled_jvp(hd x, hd s, hd dx, hd ds)
{
    return hd_tuple(scaled(x, s), hd_add(hd_mul(dx, s), hd_mul(x, ds)));
}
static hd loss(hd x, hd s) { return hd_sum(hd_square(hd_apply(hd_custom_jvp(scaled, scaled_jvp), x, s))); }

static hd turn(hd y, hd x)
{
    hd z = scaled(y, x);
    return hd_tuple(z, hd_sum(z));
}
static hd plain_loss(hd x, hd s) { return hd_sum(scaled(x, s)); }
static hd looped(hd x, hd s) { return hd_nth(hd_scan(turn, x, s), 1); }

START_TEST(one_call)
{
    const char *device = devices[_i];
    hd_array *x = hd_array_lit(float, (5), 1, 2, 3, 4, 5), *s = hd_array_scalar(HD_F32, 3), *y = NULL,
             *n = NULL, *out[2];
    if (!there(device))
        return;
    on_host = 0;
    ck_assert_msg(!hd_call(hd_jit(both, .device = device), out, x, s), "%s", hd_error());
    y = out[0], n = out[1];
    for (int i = 0; i < 5; i++)
        ck_assert(((const float *)hd_data(y))[i] == 3 * (i + 1));
    ck_assert_int_eq((int)hd_item(n), 5);
    ck_assert_int_eq(on_host > 0, strcmp(device, "host") == 0);
    hd_drop(y), hd_drop(n);
    ck_assert_msg(!hd_call(hd_jit(around, .device = device), &y, x, s), "%s", hd_error());
    for (int i = 0; i < 5; i++)
        ck_assert(((const float *)hd_data(y))[i] == 3 * (i + 2) + (i + 1));
    hd_drop(x), hd_drop(s), hd_drop(y);
}
END_TEST

START_TEST(lanes_loops_derivatives)
{
    const char *device = devices[_i];
    hd_array *x = hd_array_lit(float, (2, 5), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
             *s = hd_array_lit(float, (2), 2, 3), *one = hd_array_lit(float, (5), 1, 2, 3, 4, 5),
             *two = hd_array_scalar(HD_F32, 2),
             *y = NULL;
    if (!there(device))
        return;
    ck_assert_msg(!hd_call(hd_jit(hd_vmap(scaled), .device = device), &y, x, s), "%s", hd_error());
    for (int i = 0; i < 10; i++)
        ck_assert(((const float *)hd_data(y))[i] == (float)(i + 1) * (i < 5 ? 2 : 3));
    hd_drop(y);
    ck_assert_msg(!hd_call(hd_jit(looped, .device = device), &y, one, s), "%s", hd_error());
    ck_assert(((const float *)hd_data(y))[0] == 30 && ((const float *)hd_data(y))[1] == 90);
    hd_drop(y);
    ck_assert_msg(!hd_call(hd_jit(hd_grad(loss), .device = device), &y, one, two), "%s", hd_error());
    for (int i = 0; i < 5; i++)
        ck_assert(((const float *)hd_data(y))[i] == (float)(8 * (i + 1)));      /* 2 x s^2 */
    hd_drop(y), y = NULL;
    ck_assert_int_eq(hd_call(hd_jit(hd_grad(plain_loss), .device = device), &y, one, two), HD_EDIFF);
    ck_assert_msg(strstr(hd_error(), "hd_kernel"), "%s", hd_error());
    hd_drop(x), hd_drop(s), hd_drop(one), hd_drop(two);
}
END_TEST

static hd_kernel_def wrong;
static hd wrongly(hd x, hd s, const void *def) { return hd_kernel((const hd_kernel_def *)def, x, s); }

/* What the call says is wrong. */
static void refused(const char *device, int code, const char *words)
{
    hd_array *x = hd_array_lit(float, (5), 1, 2, 3, 4, 5), *s = hd_array_scalar(HD_F32, 3), *y = NULL;
    int e = hd_call(hd_jit(hd_bind(wrongly, wrong), .device = device), &y, x, s);
    ck_assert_msg(e == code && strstr(hd_error(), words), "%d: %s, not %s", e, hd_error(), words);
    hd_drop(x), hd_drop(s);
}

START_TEST(refusals)
{
    wrong = scaled_def, wrong.name = NULL;
    refused("host", HD_EINVAL, "its name is wanted");
    wrong = scaled_def, wrong.outputs = 0;
    refused("host", HD_EINVAL, "0 outputs");
    wrong = scaled_def, wrong.local[0] = 3;
    refused("host", HD_EINVAL, "in groups of 3");
    wrong = scaled_def, wrong.host = NULL;
    refused("host", HD_EDEVICE, "no host function");
    wrong = scaled_def, wrong.spirv = scaled_words + 1;
    refused("host", HD_EINVAL, "0x07230203");
    if (there("vulkan:0")) {
        wrong = scaled_def, wrong.name = "other";
        refused("vulkan:0", HD_EINVAL, "no entry point of that name");
        wrong = scaled_def, wrong.global[0] = 6, wrong.local[0] = 3;
        refused("vulkan:0", HD_EINVAL, "has groups of 1");
        wrong = scaled_def, wrong.spirv_words = 0, wrong.host = NULL;
        refused("vulkan:0", HD_EDEVICE, "does not run OpenCL C");
    }
    if (!there("opencl:0"))
        return;
    wrong = scaled_def, wrong.opencl = "kernel void scaled(global float *x) { x[0] = nothing; }";
    refused("opencl:0", HD_EDEVICE, "cannot build it");
    wrong = scaled_def, wrong.opencl = "kernel void other(global float *x) { x[0] = 1; }";
    refused("opencl:0", HD_EDEVICE, "CL_INVALID_KERNEL_NAME");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("kernel");
    TCase *c = suite_case(s);
    tcase_add_loop_test(c, one_call, 0, DEVICES);
    tcase_add_loop_test(c, lanes_loops_derivatives, 0, DEVICES);
    tcase_add_test(c, refusals);
    return suite_run(s);
}
