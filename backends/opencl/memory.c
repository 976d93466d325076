/*
 * memory.c - device memory: allocation with slack, a pool, and what is still being computed into it.
 *
 * In:  sizes, bytes.   Out: OclMem.
 * Every piece lies between SLACK bytes that a kernel may read past its ends (borders then load without clamping).
 * Queues are in order, so on one queue nothing needs to wait; between the two queues of a device the last command that used a
 * memory is what a program for the other queue waits for. The same events say when it is ready. Memory goes to the pool with its
 * events. A command that has ended by the time it could be noted leaves none, which is what the quick queue lives by.
 */
#include "opencl.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 1 << 21, LARGE = 2 * PAGE };      /* bytes: a large page; from where memory is in large pages */

static void CL_CALLBACK gone(cl_mem m, void *memory)
{
    (void)m;
    free(memory);
}

/* In large pages, which the system gives to who asks: a stream over 64 MiB then crosses 32 of them and not 16384. NULL: as
 * the driver has it. */
static void *large(const OclDevice *d, size_t bytes)
{
    void *p = d->base.info.is_cpu && bytes >= LARGE ? aligned_alloc(PAGE, (bytes + PAGE - 1) / PAGE * PAGE) : NULL;
#ifdef MADV_HUGEPAGE
    if (p)
        madvise(p, bytes, MADV_HUGEPAGE);
#endif
    return p;
}

cl_mem ocl_memory(OclDevice *d, size_t bytes, cl_int *e)
{
    void *p = large(d, bytes);
    if (p) {
        cl_mem m = ocl.clCreateBuffer(d->context, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, bytes, p, e);
        if (*e == CL_SUCCESS && ocl.clSetMemObjectDestructorCallback(m, gone, p) == CL_SUCCESS)
            return m;
        if (*e == CL_SUCCESS)
            ocl.clReleaseMemObject(m);
        free(p);
    }
    return ocl.clCreateBuffer(d->context, CL_MEM_READ_WRITE, bytes, NULL, e);
}

bool ocl_buffer(OclDevice *d, size_t bytes, cl_mem *whole, cl_mem *part)
{
    cl_int e = CL_SUCCESS;
    size_t total = bytes + d->align + SLACK;
    *whole = *part = NULL;
    if (total > d->base.info.max_alloc) {
        error_set(E_NOMEM, "%s: %zu bytes in one piece; its limit is %llu", d->base.info.name, bytes,
            (unsigned long long)d->base.info.max_alloc);
        return false;
    }
    *whole = ocl_memory(d, total, &e);
    if (e == CL_SUCCESS) {
        cl_buffer_region r = { d->align, bytes };
        *part = ocl.clCreateSubBuffer(*whole, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &r, &e);
        if (e == CL_SUCCESS)
            return true;
        ocl.clReleaseMemObject(*whole);
        *whole = NULL;
    }
    char what[96];
    snprintf(what, sizeof what, "%s: %zu bytes", d->base.info.name, bytes);
    ocl_fail(e, what);
    return false;
}

/* Written under the lock; whether there is one at all may be asked without. */
static void set_event(cl_event *to, cl_event e)
{
    cl_event before = *to;
    if (e)
        ocl.clRetainEvent(e);
    if (before)
        ocl.clReleaseEvent(before);
    if (before != e)
        __atomic_store_n(to, e, __ATOMIC_RELEASE);
}

static bool none(cl_event *e) { return !__atomic_load_n(e, __ATOMIC_ACQUIRE); }

static void destroy(OclMem *m)
{
    set_event(&m->written, NULL);
    for (int q = 0; q < QUEUES; q++)
        set_event(&m->used[q], NULL);
    __atomic_add_fetch(&((OclDevice *)m->base.device)->destroyed, 1, __ATOMIC_RELEASE);
    if (m->mem)
        ocl.clReleaseMemObject(m->mem);
    if (m->whole)
        ocl.clReleaseMemObject(m->whole);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

void ocl_pool_empty(OclDevice *d)
{
    for (Mem *m; (m = pool_take(&d->pool, 0)) != NULL;)
        destroy((OclMem *)m);
}

int ocl_alloc(Device *dev, size_t bytes, Mem **out)
{
    OclDevice *d = (OclDevice *)dev;
    size_t capacity = pool_class(bytes);
    OclMem *m = (OclMem *)pool_take(&d->pool, capacity);
    if (!m) {
        if ((m = calloc(1, sizeof *m)) == NULL)
            return error_set(E_NOMEM, "no memory for an array of %zu bytes", bytes);
        pthread_mutex_init(&m->lock, NULL);
        m->base.device = dev;
        m->base.capacity = capacity;
        if (!ocl_buffer(d, capacity, &m->whole, &m->mem)) {
            destroy(m);
            return error_code();
        }
    }
    m->base.refs = 1;
    m->base.bytes = bytes;
    set_event(&m->written, NULL);
    *out = &m->base;
    return 0;
}

void ocl_release(Mem *mem)
{
    if (!pool_give(&((OclDevice *)mem->device)->pool, mem))
        destroy((OclMem *)mem);                 /* the driver keeps it until commands that use it are finished */
}

void ocl_mem_used(OclMem *m, int queue, cl_event e, bool writes)
{
    pthread_mutex_lock(&m->lock);
    set_event(&m->used[queue], e);
    if (writes) {
        set_event(&m->written, e);
        m->writer = queue;
    }
    pthread_mutex_unlock(&m->lock);
}

int ocl_mem_waits(OclMem *m, int queue, bool writes, cl_event *list)
{
    int n = 0;
    bool free = none(&m->written);
    for (int q = 0; writes && q < QUEUES; q++)
        free = free && none(&m->used[q]);
    if (free)
        return 0;
    pthread_mutex_lock(&m->lock);
    if (!writes && m->written && m->writer != queue)
        ocl.clRetainEvent(list[n++] = m->written);
    for (int q = 0; writes && q < QUEUES; q++)
        if (q != queue && m->used[q])
            ocl.clRetainEvent(list[n++] = m->used[q]);
    pthread_mutex_unlock(&m->lock);
    return n;
}

static cl_event pending(OclMem *m)
{
    if (none(&m->written))
        return NULL;
    pthread_mutex_lock(&m->lock);
    cl_event e = m->written;
    if (e)
        ocl.clRetainEvent(e);
    pthread_mutex_unlock(&m->lock);
    return e;
}

static void settled(OclMem *m, cl_event e)      /* it is finished: nobody needs to wait for it again */
{
    pthread_mutex_lock(&m->lock);
    if (m->written == e)
        set_event(&m->written, NULL);
    pthread_mutex_unlock(&m->lock);
}

int ocl_wait(Mem *mem)
{
    OclMem *m = (OclMem *)mem;
    cl_event e = pending(m);
    if (!e)
        return 0;
    cl_int code = ocl.clWaitForEvents(1, &e);
    if (code == CL_SUCCESS)
        settled(m, e);
    ocl.clReleaseEvent(e);
    return code == CL_SUCCESS ? 0 : ocl_fail(code, "a computation failed on the device");
}

bool ocl_ready(Mem *mem)
{
    cl_event e = pending((OclMem *)mem);
    cl_int status = CL_COMPLETE;
    if (!e)
        return true;
    ocl.clGetEventInfo(e, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL);
    ocl.clReleaseEvent(e);
    return status <= CL_COMPLETE;               /* failed is ready too: waiting will say so */
}

int ocl_write(Mem *mem, size_t offset, const void *data, size_t n)
{
    OclMem *m = (OclMem *)mem;
    OclDevice *d = (OclDevice *)mem->device;
    cl_event waits[QUEUES];
    if (!n)
        return 0;
    int k = ocl_mem_waits(m, -1, true, waits);
    cl_int e = k ? ocl.clWaitForEvents((cl_uint)k, waits) : CL_SUCCESS;
    for (int i = 0; i < k; i++)
        ocl.clReleaseEvent(waits[i]);
    int queue = d->nqueue - 1;
    ocl_enter(d, queue);
    if (e == CL_SUCCESS)
        e = ocl.clEnqueueWriteBuffer(d->queue[queue], m->mem, CL_TRUE, offset, n, data, 0, NULL, NULL);
    ocl_leave(d, queue);
    return e == CL_SUCCESS ? 0 : ocl_fail(e, "writing an array to the device");
}

int ocl_read(Mem *mem, size_t offset, void *out, size_t n)
{
    OclMem *m = (OclMem *)mem;
    OclDevice *d = (OclDevice *)mem->device;
    int code = ocl_wait(mem);
    if (code || !n)
        return code;
    int queue = d->nqueue - 1;
    ocl_enter(d, queue);
    cl_int e = ocl.clEnqueueReadBuffer(d->queue[queue], m->mem, CL_TRUE, offset, n, out, 0, NULL, NULL);
    ocl_leave(d, queue);
    return e == CL_SUCCESS ? 0 : ocl_fail(e, "reading an array from the device");
}
