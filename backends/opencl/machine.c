/*
 * machine.c - what an OpenCL device says of how it runs work-items.
 *
 * In:  a device. Out: its Lockstep. OpenCL itself knows neither subgroups before 3.0 nor what a core holds,
 * so extensions are asked, too: a driver refuses what it does not know, and then nothing was said.
 */
#include "opencl.h"

#include <CL/cl_ext.h>
#include <string.h>

#ifndef CL_DEVICE_PREFERRED_WORK_GROUP_SIZE_MULTIPLE
#define CL_DEVICE_PREFERRED_WORK_GROUP_SIZE_MULTIPLE 0x1067    /* OpenCL 3.0: others refuse it */
#endif

void ocl_ask_number(cl_device_id id, cl_device_info what, int64_t *to)
{
    unsigned char part[8] = { 0 };
    size_t n = 0;
    uint64_t v = 0;
    if (ocl.clGetDeviceInfo(id, what, sizeof part, part, &n) != CL_SUCCESS || n > sizeof part)
        return;
    memcpy(&v, part, sizeof v);                 /* ocl_usable(): bytes are in our order */
    *to = v ? (int64_t)v : *to;
}

/* A list of sizes; how many there are. */
static size_t ask_sizes(cl_device_id id, cl_device_info what, size_t list[8])
{
    size_t n = 0;
    memset(list, 0, 8 * sizeof *list);
    if (ocl.clGetDeviceInfo(id, what, 8 * sizeof *list, list, &n) != CL_SUCCESS || n > 8 * sizeof *list)
        return 0;
    return n / sizeof *list;
}

static int64_t lanes_of(cl_device_id id)
{
    int64_t lanes = 0;
    size_t size[8];
    for (size_t k = ask_sizes(id, CL_DEVICE_SUB_GROUP_SIZES_INTEL, size); k-- > 0;)
        lanes = (int64_t)size[k] > lanes ? (int64_t)size[k] : lanes;
    static const cl_device_info say[] = { CL_DEVICE_WARP_SIZE_NV, CL_DEVICE_WAVEFRONT_WIDTH_AMD,
        CL_DEVICE_PREFERRED_WORK_GROUP_SIZE_MULTIPLE };
    for (size_t k = 0; k < sizeof say / sizeof *say && !lanes; k++)
        ocl_ask_number(id, say[k], &lanes);
    return lanes;
}

Lockstep ocl_lockstep(cl_device_id id)
{
    Lockstep f = { .lanes = lanes_of(id) };
    size_t side[8];
    if (ask_sizes(id, CL_DEVICE_MAX_WORK_ITEM_SIZES, side) >= 2)
        f.side[0] = (int64_t)side[0], f.side[1] = (int64_t)side[1];
    ocl_ask_number(id, CL_DEVICE_MAX_WORK_GROUP_SIZE, &f.items);
    ocl_ask_number(id, CL_DEVICE_LOCAL_MEM_SIZE, &f.local);
    ocl_ask_number(id, CL_DEVICE_MAX_COMPUTE_UNITS, &f.cores);
    ocl_ask_number(id, CL_DEVICE_GLOBAL_MEM_CACHELINE_SIZE, &f.line);
    ocl_ask_number(id, CL_DEVICE_GLOBAL_MEM_CACHE_SIZE, &f.l2);
    ocl_ask_number(id, CL_DEVICE_REGISTERS_PER_BLOCK_NV, &f.core_registers);
    ocl_ask_number(id, CL_DEVICE_LOCAL_MEM_SIZE_PER_COMPUTE_UNIT_AMD, &f.core_local);
    return f;
}
