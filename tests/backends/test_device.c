/*
 * test_device.c - which device is the default, and what a device lacks: an error of its own, at the line of
 * the op. Each test is a process of its own, so that devices are listed anew.
 */
#include <stdlib.h>

#include "suite.h"

/* A GPU, an OpenCL processor, the host, a Vulkan processor. */
static int speed(const hd_device_info *d)
{
    return strcmp(d->kind, "host") && !d->is_cpu ? 3 :
        !strcmp(d->kind, "opencl")               ? 2 :
                                                   !strcmp(d->kind, "host");
}

static void fastest(void)
{
    hd_device_info d, best = { 0 };
    unsetenv("HEDDLE_DEVICE");
    for (int i = 0; i < hd_device_count(); i++) {
        ck_assert_msg(hd_device(i, &d) == 0, "%s", hd_error());
        if (!best.name || speed(&d) > speed(&best))
            best = d;
    }
    ck_assert_str_eq(hd_default_device(NULL), best.name);
}

START_TEST(all_devices) { fastest(); }
END_TEST

START_TEST(without_opencl)
{
    setenv("OCL_ICD_VENDORS", "/nowhere", 1);
    setenv("OPENCL_VENDOR_PATH", "/nowhere", 1);
    fastest();
}
END_TEST

START_TEST(asked_for)
{
    setenv("HEDDLE_DEVICE", "host", 1);
    ck_assert_str_eq(hd_default_device(NULL), "host");
}
END_TEST

static int line;
static hd wide(hd x)
{
    hd y = hd_add(hd_cast(x, HD_F64), hd_c(1));
    line = __LINE__ + 1;
    return hd_mul(hd_exp(y), y);
}

START_TEST(lacking)
{
    hd_device_info d;
    hd_array *x = hd_array_scalar(HD_F32, 1), *y = NULL;
    for (int i = 0; i < hd_device_count(); i++) {
        ck_assert_int_eq(hd_device(i, &d), 0);
        char place[40];
        int e = hd_call(hd_jit(wide, .device = d.name), &y, x);
        snprintf(place, sizeof place, "test_device.c:%d", line);
        if (!d.has_f64 || (e && strstr(hd_error(), "of f64 is not available")))
            ck_assert_msg(e == HD_EDEVICE && strstr(hd_error(), d.name) && strstr(hd_error(), place),
                "%s: %d %s", d.name, e, hd_error());
        else
            ck_assert_msg(e == 0, "%s: %s", d.name, hd_error());
        hd_drop(y), y = NULL;
    }
    hd_drop(x);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("device");
    TCase *c = suite_case(s);
    tcase_add_test(c, all_devices);
    tcase_add_test(c, without_opencl);
    tcase_add_test(c, asked_for);
    tcase_add_test(c, lacking);
    return suite_run(s);
}
