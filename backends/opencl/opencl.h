/*
 * opencl.h - the OpenCL backend's own header: the loader's functions, devices, memory.
 * The loader (libOpenCL.so.1) is opened at run time, so a machine without one still runs the host reference.
 */
#ifndef HEDDLE_OPENCL_H
#define HEDDLE_OPENCL_H

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <pthread.h>

#include "backend.h"

#define CL_FUNCTIONS(X) \
    X(clGetPlatformIDs) X(clGetPlatformInfo) X(clGetDeviceIDs) X(clGetDeviceInfo) X(clCreateContext) X(clReleaseContext) \
    X(clCreateCommandQueue) X(clReleaseCommandQueue) X(clCreateBuffer) X(clCreateSubBuffer) X(clReleaseMemObject) \
    X(clSetMemObjectDestructorCallback) \
    X(clCreateProgramWithSource) X(clCreateProgramWithBinary) X(clBuildProgram) X(clGetProgramBuildInfo) X(clGetProgramInfo) \
    X(clReleaseProgram) X(clCreateKernel) X(clReleaseKernel) X(clSetKernelArg) X(clEnqueueNDRangeKernel) \
    X(clEnqueueReadBuffer) X(clEnqueueWriteBuffer) X(clEnqueueCopyBuffer) X(clEnqueueMarkerWithWaitList) X(clWaitForEvents) \
    X(clGetEventInfo) X(clRetainEvent) X(clReleaseEvent) X(clFlush) X(clFinish)
typedef struct ClApi {
#define X(f) __typeof__(&f) f;
    CL_FUNCTIONS(X)
#undef X
} ClApi;
extern ClApi ocl;

/* Queue 0 is the device; queue 1, where there is one, runs in the caller's thread and is for small programs. Both share a
 * context, so memory is shared. */
enum { QUEUES = 2, LAUNCH_WORK = 50000 };       /* cycles that a launch on queue 0 costs */

typedef struct OclDevice {
    Device base;
    cl_context context;
    cl_device_id id[QUEUES];
    cl_command_queue queue[QUEUES];
    int nqueue;
    unsigned units;                             /* processors of queue 0 */
    size_t align;                               /* of sub-buffers, bytes */
    cl_ulong cache;                             /* bytes, of a processor; 0: another kind of device, or not known */
    bool exact_division;                        /* single precision division and square root are correctly rounded */
    pthread_mutex_t quick;                      /* one thread at a time on the quick queue: it runs commands in its caller */
    Pool pool;
    unsigned destroyed;                         /* memories so far: their handles may come again */
    char key[512];                              /* what a compiled program depends on: model, driver, processor features */
} OclDevice;

/* Device memory: a piece in the middle of an allocation, so that vectors may be read past both ends (SLACK bytes). */
enum { SLACK = 512 };
typedef struct OclMem {
    Mem base;
    cl_mem whole, mem;
    pthread_mutex_t lock;
    cl_event written; int writer;               /* the last command that writes it, and its queue; NULL: nothing pending */
    cl_event used[QUEUES];                      /* the last command on each queue that uses it */
} OclMem;

void ocl_enter(OclDevice *, int queue);         /* around commands on a queue; nothing for queue 0 */
void ocl_leave(OclDevice *, int queue);
const char *ocl_error(cl_int);                  /* "CL_OUT_OF_RESOURCES" */
int ocl_fail(cl_int, const char *what);         /* records an error, returns its code */
cl_mem ocl_memory(OclDevice *, size_t bytes, cl_int *);        /* a buffer of that size */
bool ocl_buffer(OclDevice *, size_t bytes, cl_mem *whole, cl_mem *part);        /* with slack; false after an error */

int ocl_alloc(Device *, size_t, Mem **);
void ocl_release(Mem *);
int ocl_write(Mem *, size_t, const void *, size_t);
int ocl_read(Mem *, size_t, void *, size_t);
int ocl_wait(Mem *);
bool ocl_ready(Mem *);
void ocl_pool_empty(OclDevice *);
/* A command that ended a program used it on that queue. */
void ocl_mem_used(OclMem *, int queue, cl_event, bool writes);
/* Events that a command on this queue must wait for before it uses the memory; appends to list (at most 2 a memory). */
int ocl_mem_waits(OclMem *, int queue, bool writes, cl_event *list);

Exec *ocl_build(Device *, Plan *);
int ocl_run(Exec *, int nin, Mem *const *in, int nout, Mem **out);
void ocl_drop(Exec *);
int ocl_code(Exec *, Text *);

#endif
