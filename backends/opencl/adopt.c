/*
 * adopt.c - the application's own OpenCL: a context, a device of it and a queue become a device; a buffer
 * becomes an array's memory.
 *
 * In:  handles that the application has made.   Out: an OclDevice with one queue, the application's; OclMem
 * that are pieces of its buffers.
 * Both put commands into one queue, which does them in order. So what the application has given to that
 * queue before a call has ended before the call's kernels begin, and the other way round; only who uses
 * another queue, or the host, needs events.
 */
#include "interop.h"
#include "opencl.h"

#include <stdlib.h>

static bool in_context(cl_context c, cl_device_id id)
{
    cl_device_id ids[64];
    size_t n = 0;
    cl_int e = ocl.clGetContextInfo(c, CL_CONTEXT_DEVICES, sizeof ids, ids, &n);
    for (size_t k = 0; e == CL_SUCCESS && k < n / sizeof *ids; k++)
        if (ids[k] == id)
            return true;
    return false;
}

/* The queue must be of the context and the device, and do its commands in order. */
static bool queue_fits(const ClApp *a)
{
    cl_context c = NULL;
    cl_device_id id = NULL;
    cl_command_queue_properties how = 0;
    cl_int e = ocl.clGetCommandQueueInfo(a->queue, CL_QUEUE_CONTEXT, sizeof c, &c, NULL);
    e = e ? e : ocl.clGetCommandQueueInfo(a->queue, CL_QUEUE_DEVICE, sizeof id, &id, NULL);
    e = e ? e : ocl.clGetCommandQueueInfo(a->queue, CL_QUEUE_PROPERTIES, sizeof how, &how, NULL);
    if (e)
        error_set(E_INVAL, "this is no command queue of OpenCL's: %s", ocl_error(e));
    else if (c != a->context || id != a->device)
        error_set(E_INVAL, "the queue is of another context or another device than those given with it");
    else if (how & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE)
        error_set(E_INVAL,
            "the queue does its commands in any order, and calls rely on it: give one that was made without "
            "CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE");
    return !error_pending();
}

Device *ocl_adopt(const char *name, const ClApp *a)
{
    if (opencl_backend.count() == 0 && !ocl.clGetContextInfo) {
        error_set(E_DEVICE, "%s", opencl_backend.missing());
        return NULL;
    }
    if (!in_context(a->context, a->device)) {
        error_set(E_INVAL, "this is no context of OpenCL's with that device");
        return NULL;
    }
    if (!queue_fits(a))
        return NULL;
    if (!ocl_usable(a->device)) {
        error_set(E_DEVICE, "the device has no OpenCL 1.2, or no compiler, and cannot be used");
        return NULL;
    }
    OclDevice *d = ocl_device_new(name);
    cl_platform_id platform = NULL;
    if (!d)
        return NULL;
    d->id[0] = a->device, d->nqueue = 1, d->adopted = true;
    cl_int e = ocl.clGetDeviceInfo(a->device, CL_DEVICE_PLATFORM, sizeof platform, &platform, NULL);
    if (e ? !ocl_fail(d, e, "its platform") : !ocl_open(d, platform, a->context, a->queue))
        return &d->base;
    ocl_close(&d->base);
    return NULL;
}

/* ==================== memory */

/* A piece of a piece is a piece of the whole. */
static cl_int whole_of(cl_mem *m, size_t *offset)
{
    cl_mem parent = NULL;
    size_t at = 0;
    cl_int e = ocl.clGetMemObjectInfo(*m, CL_MEM_ASSOCIATED_MEMOBJECT, sizeof parent, &parent, NULL);
    if (e == CL_SUCCESS && parent)
        e = ocl.clGetMemObjectInfo(*m, CL_MEM_OFFSET, sizeof at, &at, NULL);
    if (e == CL_SUCCESS && parent)
        *m = parent, *offset += at;
    return e;
}

/* Is there a buffer of the device's context, with room around the array, at a possible place? */
static int piece_fits(const OclDevice *d, cl_mem m, size_t offset, size_t bytes)
{
    cl_context c = NULL;
    size_t size = 0;
    cl_int e = ocl.clGetMemObjectInfo(m, CL_MEM_CONTEXT, sizeof c, &c, NULL);
    e = e ? e : ocl.clGetMemObjectInfo(m, CL_MEM_SIZE, sizeof size, &size, NULL);
    if (e)
        return error_set(E_INVAL, "this is no buffer of OpenCL's: %s", ocl_error(e));
    if (c != d->context)
        return error_set(E_INVAL, "the buffer is of another context than %s", d->base.info.name);
    if (offset < d->align || offset % d->align)
        return error_set(E_INVAL,
            "the array begins at byte %zu of the buffer; %s wants a multiple of %zu, and not 0: kernels "
            "read up to %d bytes before and behind an array",
            offset, d->base.info.name, d->align, SLACK_BYTES);
    if (offset > size || size - offset < bytes || size - offset - bytes < SLACK_BYTES)
        return error_set(E_INVAL,
            "the buffer has %zu bytes; the array of %zu bytes at %zu needs %zu, of which the last %d are "
            "read and not used",
            size, bytes, offset, offset + bytes + SLACK_BYTES, SLACK_BYTES);
    return 0;
}

/* Commands of the queue wait for the event. */
static int await(OclDevice *d, OclMem *m, cl_event after)
{
    cl_event begun = NULL;
    cl_int e = ocl.clEnqueueBarrierWithWaitList(d->queue[0].cl, 1, &after, &begun);
    if (e != CL_SUCCESS)
        return ocl_fail(d, e, "waiting for the application's event");
    m->written[0] = ocl_queued(&d->queue[0], begun);
    return 0;
}

int ocl_borrow(Device *dev, const ClMemory *x, size_t bytes, Mem **out)
{
    OclDevice *d = (OclDevice *)dev;
    cl_mem whole = x->memory;
    size_t offset = x->offset;
    cl_int e = whole_of(&whole, &offset);
    if (e)
        return error_set(E_INVAL, "this is no buffer of OpenCL's: %s", ocl_error(e));
    if (piece_fits(d, whole, offset, bytes))
        return error_code();
    OclMem *m = calloc(1, sizeof *m);
    if (!m)
        return error_set(E_NOMEM, "no memory for an array");
    const cl_buffer_region r = { offset, bytes ? bytes : 1 };
    m->base = (Mem){ .device = dev, .bytes = bytes, .capacity = bytes, .refs = 1, .borrowed = true };
    dev->live++;
    if ((e = ocl.clRetainMemObject(whole)) == CL_SUCCESS)
        m->whole = whole,
        m->mem = ocl.clCreateSubBuffer(whole, 0, CL_BUFFER_CREATE_TYPE_REGION, &r, &e);
    int code = e ? ocl_fail(d, e, "a piece of the application's buffer") :
        x->event ? await(d, m, x->event) :
                   0;
    if (code)
        mem_drop(&m->base);
    else
        *out = &m->base;
    return code;
}

int ocl_lend(Mem *mem, ClMemory *x)
{
    x->memory = ((OclMem *)mem)->mem, x->offset = 0;
    cl_mem whole = x->memory;
    cl_int e = whole_of(&whole, &x->offset);
    x->memory = whole;
    return e ? ocl_fail((OclDevice *)mem->device, e, "the place of an array") : 0;
}

int ocl_done(Mem *mem, void **event)
{
    OclDevice *d = (OclDevice *)mem->device;
    cl_event e = NULL;
    cl_int code = ocl.clEnqueueMarkerWithWaitList(d->queue[0].cl, 0, NULL, &e);
    code = code ? code : ocl.clFlush(d->queue[0].cl);
    if (code)
        return ocl_fail(d, code, "an event for the application");
    *event = e;
    return 0;
}
