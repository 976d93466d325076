/*
 * memory.c - device memory: allocation with slack, a pool, and what is still being computed into it.
 *
 * In:  sizes, bytes.   Out: OclMem.
 * Every piece lies between SLACK_BYTES that a kernel may read past its ends (borders then load without
 * clamping). Queues are in order, so on one queue nothing needs to wait; between the two queues of a device
 * the last command that used a memory is what a program for the other queue waits for. The same numbers say
 * when it is ready. Memory goes to the pool with them: who uses it next waits for who used it last, and does
 * not care whether that went well.
 */
#include "opencl.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* bytes: a large page; from where memory is in large pages */
enum { PAGE = 1 << 21, LARGE = 2 * PAGE };

static void CL_CALLBACK gone(cl_mem m, void *memory)
{
    (void)m;
    free(memory);
}

/* In large pages, which the system gives to who asks: a stream over 64 MiB then crosses 32 of them and not
 * 16384. NULL: as the driver has it. */
static void *large(const OclDevice *d, size_t bytes)
{
    void *p =
        d->base.info.is_cpu && bytes >= LARGE ? aligned_alloc(PAGE, (bytes + PAGE - 1) / PAGE * PAGE) : NULL;
#ifdef MADV_HUGEPAGE
    if (p)
        madvise(p, bytes, MADV_HUGEPAGE);
#endif
    return p;
}

/* A processor's driver takes its memory from the system, and may end the process where that has none: it is
 * asked only where we got some. */
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
    } else if (d->base.info.is_cpu && bytes >= LARGE) {
        *e = CL_MEM_OBJECT_ALLOCATION_FAILURE;
        return NULL;
    }
    return ocl.clCreateBuffer(d->context, CL_MEM_READ_WRITE, bytes, NULL, e);
}

static cl_int buffer_new(OclDevice *d, size_t bytes, cl_mem *whole, cl_mem *part)
{
    cl_int e = CL_SUCCESS;
    cl_buffer_region r = { d->align, bytes };
    *part = NULL;
    *whole = ocl_memory(d, bytes + d->align + SLACK_BYTES, &e);
    if (e == CL_SUCCESS)
        *part = ocl.clCreateSubBuffer(*whole, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &r, &e);
    if (e != CL_SUCCESS && *whole)
        ocl.clReleaseMemObject(*whole);
    *whole = e == CL_SUCCESS ? *whole : NULL;
    return e;
}

bool ocl_buffer(OclDevice *d, size_t bytes, cl_mem *whole, cl_mem *part)
{
    *whole = *part = NULL;
    if (bytes > d->base.info.max_alloc || bytes + d->align + SLACK_BYTES > d->base.info.max_alloc)
        return too_large(&d->base, bytes), false;
    cl_int e = buffer_new(d, bytes, whole, part);
    if (ocl_no_memory(e)) {                     /* what the pool holds may be enough */
        ocl_pool_empty(d);
        e = buffer_new(d, bytes, whole, part);
    }
    if (e == CL_SUCCESS)
        return true;
    char what[64];
    snprintf(what, sizeof what, "%zu bytes (%.3f GiB)", bytes, (double)bytes / (1 << 30));
    ocl_fail(d, e, what);
    return false;
}

static void destroy(OclMem *m)
{
    OclDevice *d = (OclDevice *)m->base.device;
    __atomic_add_fetch(&d->destroyed, 1, __ATOMIC_RELEASE);
    if (m->host)
        ocl.clEnqueueUnmapMemObject(d->queue[0].cl, m->whole, m->host, 0, NULL, NULL);
    if (m->mem)
        ocl.clReleaseMemObject(m->mem);
    if (m->whole)
        ocl.clReleaseMemObject(m->whole);
    free(m);
}

void ocl_pool_empty(OclDevice *d)
{
    for (Mem *m; (m = pool_take(&d->pool, 0)) != NULL || (m = pool_take(&d->pinned, 0)) != NULL;)
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
        m->base.device = dev;
        m->base.capacity = capacity;
        if (!ocl_buffer(d, capacity, &m->whole, &m->mem)) {
            destroy(m);
            return error_code();
        }
    }
    m->base.refs = 1;
    m->base.bytes = bytes;
    dev->live++;
    for (int q = 0; q < QUEUES; q++)
        m->written[q] = 0;
    *out = &m->base;
    return 0;
}

static cl_int pinned_new(OclDevice *d, OclMem *m)
{
    cl_int e = CL_SUCCESS;
    m->whole = ocl.clCreateBuffer(
        d->context, CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR, m->base.capacity, NULL, &e);
    if (e == CL_SUCCESS)
        m->host = ocl.clEnqueueMapBuffer(d->queue[0].cl, m->whole, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 0,
            m->base.capacity, 0, NULL, NULL, &e);
    return e;
}

/* Drivers copy from and to what they have allocated for the host, and mapped, without a copy of their
 * own. */
int ocl_pin(Device *dev, size_t bytes, Mem **out)
{
    OclDevice *d = (OclDevice *)dev;
    size_t capacity = pool_class(bytes);
    OclMem *m = (OclMem *)pool_take(&d->pinned, capacity);
    if (!m) {
        if ((m = calloc(1, sizeof *m)) == NULL)
            return error_set(E_NOMEM, "no memory for %zu bytes that devices exchange", bytes);
        m->base.device = dev, m->base.capacity = capacity;
        cl_int e = pinned_new(d, m);
        if (e != CL_SUCCESS) {
            destroy(m);
            return ocl_fail(d, e, "pinned memory");
        }
    }
    m->base.refs = 1;
    m->base.bytes = bytes;
    *out = &m->base;
    return 0;
}

void ocl_release(Mem *mem)
{
    OclDevice *d = (OclDevice *)mem->device;
    Pool *pool = ((OclMem *)mem)->host ? &d->pinned : &d->pool;
    d->base.live -= pool == &d->pool;
    if (mem->borrowed) {
        destroy((OclMem *)mem);
        return;
    }
    for (Mem *m = pool_give(pool, mem), *next; m; m = next) {
        next = m->next;
        /* the driver keeps it until commands that use it are finished */
        destroy((OclMem *)m);
    }
}

void ocl_mem_used(OclMem *m, int queue, uint64_t command, bool writes)
{
    uint64_t before = m->used[queue];
    while (before < command && !atomic_compare_exchange_weak(&m->used[queue], &before, command))
        ;
    if (writes)
        m->written[queue] = command;
}

int ocl_mem_reads(OclMem *m, int queue)
{
    OclDevice *d = (OclDevice *)m->base.device;
    for (int q = 0; q < d->nqueue; q++) {
        uint64_t command = m->written[q];
        cl_int e = command && q != queue ? ocl_wait_for(&d->queue[q], command) : CL_SUCCESS;
        if (e == CL_SUCCESS && command && (q != queue || d->queue[q].nbad))
            e = ocl_outcome(&d->queue[q], command, command);
        if (e < 0)
            return ocl_fail(d, e, "a computation failed on the device");
    }
    return 0;
}

int ocl_mem_writes(OclMem *m, int queue)
{
    OclDevice *d = (OclDevice *)m->base.device;
    for (int q = 0; q < d->nqueue; q++) {
        cl_int e = m->used[q] && q != queue ? ocl_wait_for(&d->queue[q], m->used[q]) : CL_SUCCESS;
        if (e != CL_SUCCESS)
            return ocl_fail(d, e, "waiting for a computation");
    }
    return 0;
}

enum { NO_QUEUE = -1 };

int ocl_wait(Mem *m) { return ocl_mem_reads((OclMem *)m, NO_QUEUE); }

bool ocl_ready(Mem *mem)                        /* failed is ready too: waiting will say so */
{
    OclMem *m = (OclMem *)mem;
    OclDevice *d = (OclDevice *)mem->device;
    bool ready = true;
    for (int q = 0; q < d->nqueue; q++)
        ready =
            ready && (!m->written[q] || ocl_outcome(&d->queue[q], m->written[q], m->written[q]) != PENDING);
    return ready;
}

int ocl_write(Mem *mem, size_t offset, const void *data, size_t n)
{
    OclMem *m = (OclMem *)mem;
    OclDevice *d = (OclDevice *)mem->device;
    int queue = d->nqueue - 1;
    if (!n)
        return 0;
    if (ocl_mem_writes(m, NO_QUEUE))
        return error_code();
    ocl_enter(d, queue);
    cl_int e = ocl.clEnqueueWriteBuffer(d->queue[queue].cl, m->mem, CL_TRUE, offset, n, data, 0, NULL, NULL);
    ocl_leave(d, queue);
    return e == CL_SUCCESS ? 0 : ocl_fail(d, e, "writing an array to the device");
}

int ocl_read(Mem *mem, size_t offset, void *out, size_t n)
{
    OclMem *m = (OclMem *)mem;
    OclDevice *d = (OclDevice *)mem->device;
    int code = ocl_wait(mem), queue = d->nqueue - 1;
    if (code || !n)
        return code;
    ocl_enter(d, queue);
    cl_int e = ocl.clEnqueueReadBuffer(d->queue[queue].cl, m->mem, CL_TRUE, offset, n, out, 0, NULL, NULL);
    ocl_leave(d, queue);
    return e == CL_SUCCESS ? 0 : ocl_fail(d, e, "reading an array from the device");
}

/* A command for each piece: PoCL 3.1 ends the process in clEnqueueCopyBufferRect between two devices. */
static cl_int copy_strided(cl_command_queue q, OclMem *to, OclMem *from, const Strided *s)
{
    cl_int e = CL_SUCCESS;
    for (size_t k = 0; k < s->n && e == CL_SUCCESS; k++) {
        cl_event done;
        e = ocl.clEnqueueCopyBuffer(q, from->mem, to->mem, s->from + k * s->from_step,
            s->to + k * s->to_step, s->bytes, 0, NULL, &done);
        if (e == CL_SUCCESS) {
            e = k + 1 < s->n ? CL_SUCCESS : ocl.clWaitForEvents(1, &done);
            ocl.clReleaseEvent(done);
        }
    }
    return e;
}

int ocl_copy(Mem *to, Mem *from, const Strided *s)
{
    OclDevice *d = (OclDevice *)to->device;
    int queue = d->nqueue - 1;
    if (ocl_mem_reads((OclMem *)from, NO_QUEUE) || ocl_mem_writes((OclMem *)to, NO_QUEUE))
        return error_code();
    ocl_enter(d, queue);
    cl_int e = copy_strided(d->queue[queue].cl, (OclMem *)to, (OclMem *)from, s);
    ocl_leave(d, queue);
    return e == CL_SUCCESS ? 0 : ocl_fail(d, e, "copying from device to device");
}
