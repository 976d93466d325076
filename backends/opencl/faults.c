/*
 * faults.c - failures of OpenCL on demand: HEDDLE_FAULT=opencl:CALL:N (fault.h).
 *
 * In:  the loader's functions.   Out: the same, each asking first whether it must fail; nothing where the
 * variable is not set.
 * A call that fails does nothing, except that what would release something still does. CALL may be `event`
 * too: the N-th command is taken by its queue and fails there, later, which is how devices fail.
 */
#include "fault.h"
#include "opencl.h"

static ClApi real;

enum { FAILURE = CL_OUT_OF_RESOURCES };

#define FAILS(f) fault("opencl", #f)

/* Functions that return a code, and those that return an object and leave the code in *e. */
#define CODE(f, args, ...) \
    static cl_int CL_API_CALL faulty_##f(__VA_ARGS__) { return FAILS(f) ? FAILURE : real.f args; }
#define OBJECT(type, f, args, ...) \
    static type CL_API_CALL faulty_##f(__VA_ARGS__, cl_int *e) \
    { \
        return FAILS(f) ? *e = FAILURE, (type)NULL : real.f args; \
    }
#define RELEASE(f, type) \
    static cl_int CL_API_CALL faulty_##f(type x) { cl_int e = real.f(x); return FAILS(f) ? FAILURE : e; }

CODE(clGetPlatformIDs, (n, p, found), cl_uint n, cl_platform_id *p, cl_uint *found)
CODE(clGetPlatformInfo, (p, what, n, to, size), cl_platform_id p, cl_platform_info what, size_t n, void *to,
    size_t *size)
CODE(clGetDeviceIDs, (p, type, n, d, found), cl_platform_id p, cl_device_type type, cl_uint n,
    cl_device_id *d, cl_uint *found)
CODE(clGetDeviceInfo, (d, what, n, to, size), cl_device_id d, cl_device_info what, size_t n, void *to,
    size_t *size)
CODE(clSetMemObjectDestructorCallback, (m, f, data), cl_mem m, void(CL_CALLBACK *f)(cl_mem, void *),
    void *data)
CODE(clBuildProgram, (p, n, d, options, f, data), cl_program p, cl_uint n, const cl_device_id *d,
    const char *options, void(CL_CALLBACK *f)(cl_program, void *), void *data)
CODE(clGetProgramBuildInfo, (p, d, what, n, to, size), cl_program p, cl_device_id d,
    cl_program_build_info what, size_t n, void *to, size_t *size)
CODE(clGetProgramInfo, (p, what, n, to, size), cl_program p, cl_program_info what, size_t n, void *to,
    size_t *size)
CODE(clSetKernelArg, (k, i, n, value), cl_kernel k, cl_uint i, size_t n, const void *value)
CODE(clEnqueueReadBuffer, (q, m, wait, at, n, to, nw, w, now), cl_command_queue q, cl_mem m, cl_bool wait,
    size_t at, size_t n, void *to, cl_uint nw, const cl_event *w, cl_event *now)
CODE(clEnqueueWriteBuffer, (q, m, wait, at, n, from, nw, w, now), cl_command_queue q, cl_mem m, cl_bool wait,
    size_t at, size_t n, const void *from, cl_uint nw, const cl_event *w, cl_event *now)
CODE(clEnqueueUnmapMemObject, (q, m, p, nw, w, now), cl_command_queue q, cl_mem m, void *p, cl_uint nw,
    const cl_event *w, cl_event *now)
CODE(clWaitForEvents, (n, e), cl_uint n, const cl_event *e)
CODE(
    clGetEventInfo, (x, what, n, to, size), cl_event x, cl_event_info what, size_t n, void *to, size_t *size)
CODE(clRetainEvent, (x), cl_event x)
CODE(clFlush, (q), cl_command_queue q)
CODE(clGetCommandQueueInfo, (q, what, n, to, size), cl_command_queue q, cl_command_queue_info what, size_t n,
    void *to, size_t *size)
CODE(clSetUserEventStatus, (x, status), cl_event x, cl_int status)
CODE(clRetainContext, (c), cl_context c)
CODE(clRetainCommandQueue, (q), cl_command_queue q)
CODE(clRetainMemObject, (m), cl_mem m)
CODE(clGetContextInfo, (c, what, n, to, size), cl_context c, cl_context_info what, size_t n, void *to,
    size_t *size)
CODE(clGetMemObjectInfo, (m, what, n, to, size), cl_mem m, cl_mem_info what, size_t n, void *to,
    size_t *size)
CODE(clEnqueueMarkerWithWaitList, (q, nw, w, now), cl_command_queue q, cl_uint nw, const cl_event *w,
    cl_event *now)
CODE(clEnqueueBarrierWithWaitList, (q, nw, w, now), cl_command_queue q, cl_uint nw, const cl_event *w,
    cl_event *now)

OBJECT(cl_context, clCreateContext, (p, n, d, f, data, e), const cl_context_properties *p, cl_uint n,
    const cl_device_id *d, void(CL_CALLBACK *f)(const char *, const void *, size_t, void *), void *data)
OBJECT(cl_command_queue, clCreateCommandQueue, (c, d, flags, e), cl_context c, cl_device_id d,
    cl_command_queue_properties flags)
OBJECT(cl_mem, clCreateBuffer, (c, flags, n, p, e), cl_context c, cl_mem_flags flags, size_t n, void *p)
OBJECT(cl_mem, clCreateSubBuffer, (m, flags, type, region, e), cl_mem m, cl_mem_flags flags,
    cl_buffer_create_type type, const void *region)
OBJECT(void *, clEnqueueMapBuffer, (q, m, wait, flags, at, n, nw, w, now, e), cl_command_queue q, cl_mem m,
    cl_bool wait, cl_map_flags flags, size_t at, size_t n, cl_uint nw, const cl_event *w, cl_event *now)
OBJECT(cl_program, clCreateProgramWithSource, (c, n, s, sizes, e), cl_context c, cl_uint n, const char **s,
    const size_t *sizes)
OBJECT(cl_program, clCreateProgramWithBinary, (c, n, d, sizes, b, status, e), cl_context c, cl_uint n,
    const cl_device_id *d, const size_t *sizes, const unsigned char **b, cl_int *status)
OBJECT(cl_kernel, clCreateKernel, (p, name, e), cl_program p, const char *name)
OBJECT(cl_event, clCreateUserEvent, (c, e), cl_context c)

RELEASE(clReleaseContext, cl_context)
RELEASE(clReleaseCommandQueue, cl_command_queue)
RELEASE(clReleaseMemObject, cl_mem)
RELEASE(clReleaseProgram, cl_program)
RELEASE(clReleaseKernel, cl_kernel)
RELEASE(clReleaseEvent, cl_event)

/* The event of a command that the device could not run. */
static cl_int failed_command(cl_command_queue q, cl_event *now)
{
    cl_context c;
    cl_int e = real.clGetCommandQueueInfo(q, CL_QUEUE_CONTEXT, sizeof c, &c, NULL);
    if (e == CL_SUCCESS)
        *now = real.clCreateUserEvent(c, &e);
    return e == CL_SUCCESS ? real.clSetUserEventStatus(*now, FAILURE) : e;
}

/* The parameters are OpenCL's. */
static cl_int CL_API_CALL faulty_clEnqueueNDRangeKernel(cl_command_queue q, cl_kernel k, cl_uint n,
    const size_t *at, const size_t *global, const size_t *local, cl_uint nw, const cl_event *w,
    cl_event *now)
{
    return FAILS(clEnqueueNDRangeKernel) ? FAILURE : FAILS(event) ? failed_command(q, now) :
        real.clEnqueueNDRangeKernel(q, k, n, at, global, local, nw, w, now);
}

/* The parameters are OpenCL's. */
static cl_int CL_API_CALL faulty_clEnqueueCopyBuffer(cl_command_queue q, cl_mem from, cl_mem to, size_t at,
    size_t there, size_t n, cl_uint nw, const cl_event *w, cl_event *now)
{
    return FAILS(clEnqueueCopyBuffer) ? FAILURE : FAILS(event) ? failed_command(q, now) :
        real.clEnqueueCopyBuffer(q, from, to, at, there, n, nw, w, now);
}

#define X(f) #f,
const char *const ocl_calls[] = { CL_FUNCTIONS(X) "event", NULL };
#undef X

void ocl_faults(void)
{
    (void)fault("opencl", "");                  /* reads the variable */
    if (!fault_wanted)
        return;
    real = ocl;
#define X(f) ocl.f = faulty_##f;
    CL_FUNCTIONS(X)
#undef X
}
