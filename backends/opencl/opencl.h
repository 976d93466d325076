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
#include "lockstep.h"
#include "units.h"
#include "opencl_c.h"

#define CL_FUNCTIONS(X) \
    X(clGetPlatformIDs) X(clGetPlatformInfo) X(clGetDeviceIDs) X(clGetDeviceInfo) X(clCreateContext) \
    X(clReleaseContext) X(clCreateCommandQueue) X(clReleaseCommandQueue) X(clCreateBuffer) \
    X(clCreateSubBuffer) X(clReleaseMemObject) X(clSetMemObjectDestructorCallback) \
    X(clCreateProgramWithSource) X(clCreateProgramWithBinary) X(clBuildProgram) \
    X(clGetProgramBuildInfo) X(clGetProgramInfo) X(clReleaseProgram) X(clCreateKernel) \
    X(clReleaseKernel) X(clSetKernelArg) X(clEnqueueNDRangeKernel) X(clEnqueueReadBuffer) \
    X(clEnqueueWriteBuffer) X(clEnqueueCopyBuffer) X(clEnqueueMapBuffer) X(clEnqueueUnmapMemObject) \
    X(clWaitForEvents) X(clGetEventInfo) X(clRetainEvent) X(clReleaseEvent) X(clFlush) \
    X(clGetCommandQueueInfo) X(clCreateUserEvent) X(clSetUserEventStatus) X(clRetainContext) \
    X(clRetainCommandQueue) X(clRetainMemObject) X(clGetContextInfo) X(clGetMemObjectInfo) \
    X(clEnqueueMarkerWithWaitList) X(clEnqueueBarrierWithWaitList)
typedef struct ClApi {
#define X(f) __typeof__(&f) f;
    CL_FUNCTIONS(X)
#undef X
} ClApi;
extern ClApi ocl;
extern const char *const ocl_calls[];           /* their names, and `event` (faults.c); NULL at the end */

/* Queue 0 is the device; queue 1, where there is one, runs in the caller's thread and is for small programs.
 * Both share a context, so memory is shared. */
enum { QUEUES = 2, MAX_DEVICES = 32, IN_CONTEXT = MAX_DEVICES * QUEUES };

/* How the commands of a queue ended (queue.c). Commands have numbers from 1, in the order in which the queue
 * got them. */
enum { BAD_MAX = 8 };
typedef struct OclQueue {
    cl_command_queue cl;
    pthread_mutex_t lock;
    cl_event *event; size_t head, n, cap;       /* a ring: of the commands that were not yet seen to end */
    /* as many have, well or not; event[head] is the next one's */
    _Atomic uint64_t ended;
    _Atomic int nbad;
    struct { uint64_t from, to; cl_int code; } bad[BAD_MAX];    /* these have failed */
} OclQueue;


typedef struct OclDevice {
    Device base;
    /* of all devices of its platform, which so copy from one another's memory */
    cl_context context;
    cl_device_id id[QUEUES];
    OclQueue queue[QUEUES];
    cl_command_queue moving;                    /* of bytes, while queue 0 computes: all are waited for */
    int nqueue;
    bool adopted;                               /* context and queue are the application's (adopt.c) */
    unsigned units;                             /* processors of queue 0 */
    size_t align;                               /* of sub-buffers, bytes */
    /* bytes, of a processor; 0: another kind of device, or not known */
    cl_ulong cache;
    /* single precision division and square root are correctly rounded */
    bool exact_division;
    /* one thread at a time on the quick queue: it runs commands in its caller */
    pthread_mutex_t quick;
    Pool pool, pinned;
    unsigned destroyed;                         /* memories so far: their handles may come again */
    /* what a compiled program depends on: model, driver, processor features */
    char key[512];
    /* Its compiler works in one thread of a process at a time, so several processes compile (jobs.h), which
     * find the devices by these names. */
    bool one_compiler;
    char name[QUEUES][128], version[128];
    Stock code;                                 /* compiled code in use (code.c) */
} OclDevice;

/* Device memory: a piece in the middle of an allocation, so that vectors may be read past both ends
 * (SLACK_BYTES). */
typedef struct OclMem {
    Mem base;
    cl_mem whole, mem;
    void *host;                                 /* where pinned memory is mapped; NULL: of others */
    /* by queue: the command that ends what computes it; 0: none */
    _Atomic uint64_t written[QUEUES];
    _Atomic uint64_t used[QUEUES];              /* the last command that uses it */
} OclMem;

/* On the application's context and queue, which are kept; NULL: on our own. 0, or an error. */
int ocl_open(OclDevice *, cl_platform_id, cl_context, cl_command_queue);
OclDevice *ocl_device_new(const char *name);    /* without devices of OpenCL; NULL after an error */
void ocl_close(Device *);
Lockstep ocl_lockstep(cl_device_id);            /* what it says of how it runs work-items (machine.c) */
void ocl_ask_number(cl_device_id, cl_device_info, int64_t *);   /* that it reports; what it does not stays */
bool ocl_usable(cl_device_id);                  /* OpenCL 1.2, a compiler, our order of bytes */
void ocl_enter(OclDevice *, int queue);         /* around commands on a queue; nothing for queue 0 */
void ocl_leave(OclDevice *, int queue);
const char *ocl_error(cl_int);                  /* "CL_OUT_OF_RESOURCES" */
int ocl_fail(const OclDevice *, cl_int, const char *what);     /* records an error, returns its code */


/* HEDDLE_FAULT=opencl:CALL:N, where it is set when the loader is opened */
void ocl_faults(void);

/* given: the application's; NULL: a new one. 0, or an error */
int ocl_queue_open(OclDevice *, int queue, cl_command_queue given);
void ocl_queue_close(OclQueue *);
uint64_t ocl_queued(OclQueue *, cl_event);      /* takes the event; the command's number */
enum { PENDING = 1 };
/* Of commands from one number to another: why one failed, else PENDING or CL_SUCCESS. */
cl_int ocl_outcome(OclQueue *, uint64_t from, uint64_t to);
uint64_t ocl_newest(OclQueue *);                /* the number of the last command that the queue got */
/* Until the command and those before it have ended, however; an error: that is not known. */
cl_int ocl_wait_for(OclQueue *, uint64_t command);

cl_mem ocl_memory(OclDevice *, size_t bytes, cl_int *);        /* a buffer of that size */
/* with slack; false after an error */
bool ocl_buffer(OclDevice *, size_t bytes, cl_mem *whole, cl_mem *part);
int ocl_alloc(Device *, size_t, Mem **);
int ocl_pin(Device *, size_t, Mem **);
void ocl_release(Mem *);
int ocl_write(Mem *, size_t, const void *, size_t);
int ocl_read(Mem *, size_t, void *, size_t);
int ocl_copy(Mem *, Mem *, const Strided *);
int ocl_wait(Mem *);
bool ocl_ready(Mem *);
bool ocl_no_memory(cl_int);                     /* is this what the driver says where there is too little? */
void ocl_pool_empty(OclDevice *);
/* The commands of a program, up to that one, use it on that queue. */
void ocl_mem_used(OclMem *, int queue, uint64_t command, bool writes);
/* Before a program on that queue reads it, or writes it: waits for other queues. 0, or an error: what is
 * read was not computed. */
int ocl_mem_reads(OclMem *, int queue);
int ocl_mem_writes(OclMem *, int queue);

/* Code of a plan's kernels, each compiled once however many programs have it (code.c): finds what is there,
 * and begins to compile what is not, or only finds. 0; NOT_YET where something is missing then; an error. */
typedef enum OclWanted { WANTED_NOW, WANTED_SOON, WANTED_IF_THERE } OclWanted;
int ocl_code_open(Units *, OclDevice *, int queue, Kernel *const *, int n, OclWanted);
cl_kernel ocl_code_kernel(const Units *, int k, const Kernel *, int *step, cl_int *);      /* of kernel k */
void ocl_code_stock(OclDevice *);               /* where it is kept, with nothing in it */
OpenclCaps ocl_caps(const OclDevice *);

Exec *ocl_build(Device *, Plan *);
Exec *ocl_begin(Device *, Plan *);
Exec *ocl_again(Device *, Plan *);
int ocl_finish(Exec *);
int ocl_run(Exec *, int nin, Mem *const *in, int nout, Mem **out);
void ocl_drop(Exec *);
int ocl_code(Exec *, Text *);

#endif
