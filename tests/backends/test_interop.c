/*
 * test_interop.c - the application's own OpenCL: a device of its context and queue, arrays over its buffers.
 *
 * In:  a context, queues and buffers that this program makes through the loader, as an application does.
 * Out: values without a copy, in the order of its commands; errors that name what does not fit; nothing
 * left.
 */
#include <stdio.h>

#include "opencl.h"
#include "suite.h"

enum { N = 1000 };

static struct App { cl_context context; cl_device_id id; cl_command_queue queue; size_t align; } app;

/* Not PoCL's processor that runs commands in its caller's thread: there an event of the application's that
 * commands wait for locks itself out (PoCL 3.1). */
static cl_device_id a_device(cl_platform_id p)
{
    cl_device_id id[16];
    cl_uint n = 0, k = 0;
    char name[128] = "";
    ck_assert_int_eq(ocl.clGetDeviceIDs(p, CL_DEVICE_TYPE_ALL, 16, id, &n), CL_SUCCESS);
    while (k < n && !ocl.clGetDeviceInfo(id[k], CL_DEVICE_NAME, sizeof name, name, NULL) &&
        !strncmp(name, "basic", 5))
        k++;
    ck_assert(k < n);
    return id[k];
}

/* Each test is a process of its own, so the driver is opened there. false: there is none. */
static bool open_app(void)
{
    cl_platform_id p;
    cl_int e;
    cl_uint bits = 0;
    if (!there("opencl:0"))
        return false;
    ck_assert_int_eq(ocl.clGetPlatformIDs(1, &p, NULL), CL_SUCCESS);
    app.id = a_device(p);
    app.context = ocl.clCreateContext(NULL, 1, &app.id, NULL, NULL, &e);
    ck_assert_int_eq(e, CL_SUCCESS);
    app.queue = ocl.clCreateCommandQueue(app.context, app.id, 0, &e);
    ck_assert_int_eq(e, CL_SUCCESS);
    ocl.clGetDeviceInfo(app.id, CL_DEVICE_MEM_BASE_ADDR_ALIGN, sizeof bits, &bits, NULL);
    app.align = bits / 8 > HD_PADDING ? bits / 8 : HD_PADDING;
    ck_assert_msg(!hd_opencl_device("app", app.context, app.id, app.queue), "%s", hd_error());
    return true;
}

static void close_app(void)
{
    ck_assert_msg(!hd_device_remove("app"), "%s", hd_error());
    ocl.clReleaseCommandQueue(app.queue), ocl.clReleaseContext(app.context);
}

static cl_mem buffer(size_t bytes)
{
    cl_int e;
    cl_mem m = ocl.clCreateBuffer(app.context, CL_MEM_READ_WRITE, bytes, NULL, &e);
    ck_assert_int_eq(e, CL_SUCCESS);
    return m;
}

static void put(cl_mem m, float value)
{
    static float x[N];
    for (int i = 0; i < N; i++)
        x[i] = value + (float)i;
    ck_assert_int_eq(
        ocl.clEnqueueWriteBuffer(app.queue, m, CL_TRUE, app.align, sizeof x, x, 0, NULL, NULL), CL_SUCCESS);
}

static hd_array *over(cl_mem m, cl_event after)
{
    hd_array *a = hd_array_from_cl("app", HD_F32, HD_INTS(N), m, app.align, after);
    ck_assert_msg(a != NULL, "%s", hd_error());
    return a;
}

static void holds(hd_array *a, float scale, float value)
{
    float y[N];
    ck_assert_msg(!hd_read(a, y, N), "%s", hd_error());
    for (int i = 0; i < N; i++)
        ck_assert_float_eq(y[i], scale * (value + (float)i));
}

static hd twice(hd x) { return hd_mul_c(x, 2); }
static hd same(hd x) { return x; }
static hd slope(hd x) { return hd_sum(hd_mul(x, x)); }

/* What the application writes is what a call sees, and a result lies where its own commands can read it. */
START_TEST(shared)
{
    if (!open_app())
        return;
    cl_mem m = buffer(2 * app.align + 4 * N);
    hd_array *r = NULL, *g = NULL, *a;
    for (int k = 0; k < 3; k++) {
        put(m, (float)k);
        a = over(m, NULL);
        ck_assert_str_eq(hd_array_device(a), "app");
        ck_assert_msg(!hd_call(hd_jit(twice), &r, a), "%s", hd_error());
        ck_assert_msg(!hd_call(hd_grad(slope), &g, a), "%s", hd_error());
        ck_assert_str_eq(hd_array_device(r), "app");
        size_t at = 0;
        float y[N];
        cl_mem where = hd_array_cl_mem(r, &at);
        ck_assert_msg(where != NULL, "%s", hd_error());
        ck_assert_int_eq(
            ocl.clEnqueueReadBuffer(app.queue, where, CL_TRUE, at, sizeof y, y, 0, NULL, NULL), CL_SUCCESS);
        for (int i = 0; i < N; i++)
            ck_assert_float_eq(y[i], 2 * (float)(k + i));
        holds(r, 2, (float)k), holds(g, 2, (float)k);
        ck_assert_ptr_eq(hd_array_cl_mem(a, &at), m);
        ck_assert_uint_eq(at, app.align);
        hd_drop(a), hd_drop(r), hd_drop(g);
    }
    ocl.clReleaseMemObject(m);
    close_app();
}
END_TEST

/* A result that is its argument is a copy: the application may write its own memory again. */
START_TEST(results_are_ours)
{
    if (!open_app())
        return;
    cl_mem m = buffer(2 * app.align + 4 * N);
    hd_array *r = NULL;
    put(m, 1);
    hd_array *a = over(m, NULL);
    ck_assert_msg(!hd_call(hd_jit(same), &r, a), "%s", hd_error());
    cl_event done = hd_array_cl_done(a);
    ck_assert_msg(done != NULL, "%s", hd_error());
    ck_assert_int_eq(ocl.clWaitForEvents(1, &done), CL_SUCCESS);
    ocl.clReleaseEvent(done);
    put(m, 100);
    holds(r, 1, 1);
    hd_drop(a), hd_drop(r);
    ocl.clReleaseMemObject(m);
    close_app();
}
END_TEST

/* A call waits for the application's event, which here only the host ends. */
START_TEST(after_an_event)
{
    if (!open_app())
        return;
    cl_int e;
    cl_mem m = buffer(2 * app.align + 4 * N);
    cl_event go = ocl.clCreateUserEvent(app.context, &e);
    put(m, 3);
    hd_array *a = over(m, go), *r = NULL;
    ck_assert_msg(!hd_call(hd_jit(twice), &r, a), "%s", hd_error());
    ck_assert(!hd_ready(a));
    ck_assert_int_eq(ocl.clSetUserEventStatus(go, CL_COMPLETE), CL_SUCCESS);
    holds(r, 2, 3);
    ck_assert(hd_ready(a));
    hd_drop(a), hd_drop(r);
    ocl.clReleaseEvent(go), ocl.clReleaseMemObject(m);
    close_app();
}
END_TEST

/* A piece of a piece begins where both say. */
START_TEST(pieces)
{
    if (!open_app())
        return;
    cl_int e;
    cl_mem m = buffer(3 * app.align + 4 * N);
    const cl_buffer_region r = { app.align, app.align + 4 * N + HD_PADDING };
    cl_mem part = ocl.clCreateSubBuffer(m, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &r, &e);
    ck_assert_int_eq(e, CL_SUCCESS);
    put(part, 7);
    hd_array *a = over(part, NULL), *y = NULL;
    ck_assert_msg(!hd_call(hd_jit(twice), &y, a), "%s", hd_error());
    holds(y, 2, 7);
    hd_drop(a), hd_drop(y);
    ocl.clReleaseMemObject(part), ocl.clReleaseMemObject(m);
    close_app();
}
END_TEST

static void refuses(bool refused, const char *word)
{
    ck_assert_msg(refused && strstr(hd_error(), word), "%s", hd_error());
}

START_TEST(told)
{
    if (!open_app())
        return;
    cl_int e;
    cl_context other = ocl.clCreateContext(NULL, 1, &app.id, NULL, NULL, &e);
    cl_mem m = buffer(app.align + 4 * N), far = ocl.clCreateBuffer(other, 0, 8192, NULL, &e);
    const hd_ints n = HD_INTS(N);
    refuses(hd_opencl_device("app", app.context, app.id, app.queue), "already");
    refuses(hd_opencl_device("host", app.context, app.id, app.queue), "already");
    refuses(hd_opencl_device("1 a", app.context, app.id, app.queue), "a letter");
    refuses(hd_opencl_device("b", other, app.id, app.queue), "another context");
    refuses(!hd_array_from_cl("app", HD_F32, n, m, app.align, NULL), "needs");
    refuses(!hd_array_from_cl("app", HD_F32, n, m, 4, NULL), "a multiple");
    refuses(!hd_array_from_cl("app", HD_F32, HD_INTS(4), far, app.align, NULL), "another context");
    refuses(!hd_array_from_cl("opencl:0", HD_F32, n, m, app.align, NULL), "has added");
    hd_array *a = hd_array_from_cl("app", HD_F32, HD_INTS(N / 2), m, app.align, NULL), *y = NULL;
    refuses(hd_device_remove("app"), "1 arrays");
    ck_assert_msg(!hd_call(hd_jit(twice, .device = "app"), &y, a), "%s", hd_error());
    hd_array *home = hd_put(y, "host");
    refuses(!hd_array_cl_mem(home, NULL), "hd_put");
    hd_drop(a), hd_drop(y), hd_drop(home);
    ocl.clReleaseMemObject(m), ocl.clReleaseMemObject(far), ocl.clReleaseContext(other);
    close_app();
    refuses(hd_device_remove("app"), "no device");
    refuses(!hd_array_from_cl("app", HD_F32, n, m, app.align, NULL), "no device");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("interop");
    TCase *c = suite_case(s);
    tcase_add_test(c, shared);
    tcase_add_test(c, results_are_ours);
    tcase_add_test(c, after_an_event);
    tcase_add_test(c, pieces);
    tcase_add_test(c, told);
    return suite_run(s);
}
