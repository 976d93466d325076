/*
 * compile_opencl.c - the part of heddle-compiler that asks OpenCL's drivers.
 *
 * In:  OpenCL C.   Out: binaries.
 */
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"

enum { DEVICES = 64 };

#define CALLS(X) \
    X(clGetPlatformIDs) \
    X(clGetDeviceIDs) X(clGetDeviceInfo) X(clCreateContext) X(clCreateProgramWithSource) X(clBuildProgram) \
        X(clGetProgramInfo) X(clReleaseProgram)
static struct {
#define X(f) __typeof__(&f) f;
    CALLS(X)
#undef X
} cl;

static bool loader_open(void)
{
    void *lib = dlopen("libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
    bool all = lib;
#define X(f) all = all && (*(void **)(void *)&cl.f = dlsym(lib, #f)) != NULL;
    CALLS(X)
#undef X
    return all;
}

/* ==================== devices: found by name, opened once */

static struct {
    cl_device_id id;
    cl_context context;
    char name[256], driver[256];
} device[DEVICES];
static int ndevice;

static void list_devices(void)
{
    cl_platform_id p[16];
    cl_device_id id[DEVICES];
    cl_uint np = 0, n = 0;
    setenv("POCL_DEVICES", "basic pthread", 0);
    if (!loader_open() || cl.clGetPlatformIDs(16, p, &np))
        return;
    for (cl_uint k = 0; k < np && k < 16; k++) {
        if (cl.clGetDeviceIDs(p[k], CL_DEVICE_TYPE_ALL, DEVICES, id, &n))
            continue;
        for (cl_uint d = 0; d < n && ndevice < DEVICES; d++) {
            device[ndevice].id = id[d];
            cl.clGetDeviceInfo(id[d], CL_DEVICE_NAME, 255, device[ndevice].name, NULL);
            cl.clGetDeviceInfo(id[d], CL_DRIVER_VERSION, 255, device[ndevice].driver, NULL);
            ndevice++;
        }
    }
}

static int find_device(const char *name, const char *driver)
{
    for (int d = 0; d < ndevice; d++)
        if (!strcmp(device[d].name, name) && !strcmp(device[d].driver, driver)) {
            cl_int e = CL_SUCCESS;
            if (!device[d].context)
                device[d].context = cl.clCreateContext(NULL, 1, &device[d].id, NULL, NULL, &e);
            return e == CL_SUCCESS ? d : -1;
        }
    return -1;
}

/* The binary, which makes drivers compile that would do so when a kernel first runs. free() it. */
void *compile_opencl(const Work *w, size_t *n)
{
    static bool listed;
    const char *source = w->source;
    unsigned char *binary = NULL;
    cl_int e;
    if (!listed)
        list_devices(), listed = true;
    int d = w->nsource && !source[w->nsource - 1] ? find_device(w->device, w->driver) : -1;
    cl_program p = d < 0 ? NULL : cl.clCreateProgramWithSource(device[d].context, 1, &source, NULL, &e);
    if (d < 0 || e != CL_SUCCESS)
        return NULL;
    if (!cl.clBuildProgram(p, 1, &device[d].id, w->options, NULL, NULL) &&
        !cl.clGetProgramInfo(p, CL_PROGRAM_BINARY_SIZES, sizeof *n, n, NULL) && *n &&
        (binary = malloc(*n)) != NULL &&
        cl.clGetProgramInfo(p, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL))
        free(binary), binary = NULL;
    cl.clReleaseProgram(p);
    return binary;
}
