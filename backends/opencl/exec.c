/*
 * exec.c - executables: a plan with compiled code (code.c), and its replay.
 *
 * In:  Plan, then memories.   Out: memories that are being computed.
 * All commands of an executable go to one
 * in-order queue, chosen by the work in the plan; so its arena of temporaries is used by one call after the
 * other, and calls in flight need no copy of it. Enqueueing is locked, because a kernel's arguments are
 * state.
 */
#include "jobs.h"
#include "opencl.h"
#include "opencl_c.h"
#include "reading.h"

#include <stdlib.h>
#include <string.h>

typedef struct Arguments {
    cl_mem *mem;
    int n, step; /* how many; the place of the step behind them */
} Arguments;

/* A kernel of the user's (hd_kernel), compiled. */
typedef struct OclUser {
    const UserKernel *of;
    cl_kernel kernel;
    struct OclUser *next;
} OclUser;

typedef struct OclExec {
    Exec base;
    Plan *plan;
    Frame *top;
    int queue;
    Units code;
    Reading *reading; /* tier 0, until the code is there; NULL: it is, or must be */
    _Atomic bool compiled; /* it has kernels, a frame and all that they need */
    Kernel **list;
    cl_kernel *kernel;
    int nkernel; /* by Kernel.id, as is list */
    /* by Kernel.id: what is set, as long as no more memories were destroyed */
    Arguments *set;
    unsigned destroyed;
    OclUser *user;
    cl_mem *owned;
    int nowned, owned_cap; /* everything to release */
    cl_mem arena; /* temporaries; NULL: an allocation each */
    bool tried; /* some came from the disk, and nobody has seen it run */
    pthread_mutex_t lock;
} OclExec;

typedef struct Call {
    OclExec *e;
    OclQueue *queue;
    uint64_t first, last; /* the numbers of its commands; 0: none yet */
    bool apart; /* what it moves goes by the device's queue for that */
} Call;

/* ---- building the program ---- */

/* ---- memory that stays ---- */

static cl_mem own(OclExec *x, cl_mem m)
{
    if (x->nowned == x->owned_cap) {
        int cap = x->owned_cap ? 2 * x->owned_cap : 16;
        cl_mem *p = realloc(x->owned, (size_t)cap * sizeof *p);
        if (!p)
            return ocl.clReleaseMemObject(m), error_set(E_NOMEM, "no memory for a program"), NULL;
        x->owned = p;
        x->owned_cap = cap;
    }
    return x->owned[x->nowned++] = m;
}

static cl_mem piece(OclExec *x, size_t bytes)
{
    cl_mem whole, part;
    if (!ocl_buffer((OclDevice *)x->base.device, bytes ? bytes : 1, &whole, &part))
        return NULL;
    /* released in this order: a piece is made from it and keeps it */
    bool kept = own(x, whole) != NULL;
    if (!kept)
        ocl.clReleaseMemObject(part);
    return kept && own(x, part) ? part : NULL;
}

static cl_mem constant(OclExec *x, const Slot *s)
{
    OclDevice *d = (OclDevice *)x->base.device;
    cl_mem m = piece(x, s->bytes);
    ocl_enter(d, x->queue);
    cl_int e = m && s->bytes ?
        ocl.clEnqueueWriteBuffer(d->queue[x->queue].cl, m, CL_TRUE, 0, s->bytes, s->data, 0, NULL, NULL) :
        CL_SUCCESS;
    ocl_leave(d, x->queue);
    return e == CL_SUCCESS ? m : (ocl_fail(d, e, "writing a constant to the device"), NULL);
}

/* Temporaries are pieces of one arena; each is an allocation of its own where the arena is too large for
 * one, and under HEDDLE_CHECK=buffers, so that simulators see overruns. */
static Spot place(void *exec, const Slot *s)
{
    OclExec *x = exec;
    OclDevice *d = (OclDevice *)x->base.device;
    cl_int e;
    if (s->kind == SLOT_CONST)
        return (Spot){ constant(x, s), 0 };
    if (!x->arena)
        return (Spot){ piece(x, s->bytes), 0 };
    cl_buffer_region r = { s->offset, s->bytes ? s->bytes : 1 };
    cl_mem m = ocl.clCreateSubBuffer(x->arena, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &r, &e);
    if (e != CL_SUCCESS)
        return ocl_fail(d, e, "a piece of the arena"), (Spot){ NULL, 0 };
    return (Spot){ own(x, m), 0 };
}

/* The quick queue has one processor; the other one costs more for every launch than its processors may
 * save. */
static int queue_for(const OclDevice *d, const Plan *p)
{
    return d->nqueue > 1 &&
            p->work * (1 - 1.0 / d->units) < (double)d->base.info.machine.launch * p->launches ?
        1 :
        0;
}

static int make_room(OclExec *x, Kernel **list)
{
    x->kernel = calloc((size_t)x->nkernel + 1, sizeof *x->kernel);
    x->set = calloc((size_t)x->nkernel + 1, sizeof *x->set);
    for (int k = 0; x->set && k < x->nkernel; k++) {
        x->set[k] = (Arguments){ calloc((size_t)list[k]->nparam + 1, sizeof(cl_mem)), list[k]->nparam,
            list[k]->nparam };
        if (!x->set[k].mem)
            error_set(E_NOMEM, "no memory for a program");
    }
    if (!x->kernel || !x->set)
        error_set(E_NOMEM, "no memory for a program");
    return (int)error_code();
}

/* With the code there, and the lock held where others may see it: kernels, and memory that stays. */
static int complete(OclExec *x)
{
    OclDevice *d = (OclDevice *)x->base.device;
    const Plan *p = x->plan;
    cl_int e = CL_SUCCESS;
    for (int k = 0; k < x->nkernel && e == CL_SUCCESS; k++)
        if (!x->kernel[k])
            x->kernel[k] = ocl_code_kernel(&x->code, k, x->list[k], &x->set[k].step, &e);
    if (e != CL_SUCCESS)
        return ocl_fail(d, e, "a kernel");
    x->tried = units_tried(&x->code);
    if (!x->arena && p->bytes && p->bytes + 2 * SLACK_BYTES + d->align < d->base.info.max_alloc &&
        !check_wanted("buffers")) {
        x->arena = ocl_memory(d, p->bytes + SLACK_BYTES, &e);
        if (e != CL_SUCCESS)
            return x->arena = NULL, ocl_fail(d, e, "temporary memory of a program");
    }
    x->top = x->top ? x->top : replay_frame(p, &d->base, place, x);
    if (x->top && dump_wanted("time"))
        units_tell(&x->code, x->list);
    x->compiled = x->top != NULL;
    return x->top ? 0 : (int)error_code();
}

/* Until its code is there, or to see whether it is. 0, NOT_YET, or an error. */
static int come_to_code(OclExec *x, bool wait)
{
    if (x->compiled)
        return 0;
    int e = units_finish(&x->code, wait);
    if (e)
        return e;
    pthread_mutex_lock(&x->lock);
    e = x->compiled ? 0 : complete(x);
    pthread_mutex_unlock(&x->lock);
    return e;
}

static bool code_ready(void *exec) { return come_to_code(exec, false) != NOT_YET; }

int ocl_finish(Exec *exec) { return come_to_code((OclExec *)exec, true); }

/* Reading gives the same bits where the device rounds as the standard says. It waits for its arguments,
 * which nobody may in a queue of the application's: what is in it may wait for the application. */
static bool may_read(const OclDevice *d, const Plan *p)
{
    return !d->adopted && d->one_compiler && d->exact_division && jobs_possible() && tier0_possible(p);
}

static OclExec *exec_new(Device *dev, Plan *p)
{
    OclExec *x = calloc(1, sizeof *x);
    if (!x)
        return error_set(E_NOMEM, "no memory for a program"), NULL;
    pthread_mutex_init(&x->lock, NULL);
    x->base.device = dev;
    dev->live++;
    x->plan = p;
    x->queue = queue_for((OclDevice *)dev, p);
    plan_code(p, &x->list, &x->nkernel);
    make_room(x, x->list);
    return x;
}

static Exec *start(Device *dev, Plan *p, bool wait)
{
    OclDevice *d = (OclDevice *)dev;
    OclExec *x = exec_new(dev, p);
    wait = wait || !may_read(d, p);
    int e = (int)error_code();
    e = e ? e : ocl_code_open(&x->code, d, x->queue, x->list, x->nkernel, wait ? WANTED_NOW : WANTED_SOON);
    e = e ? e : come_to_code(x, wait || !tier0_pays(p, units_expected(&x->code)));
    if (e == NOT_YET && dump_wanted("time"))
        fprintf(stderr, "---- time tier 0: %d kernels are read while they are compiled\n", x->nkernel);
    if (e == NOT_YET)
        e = (x->reading = reading_new(p, dev, code_ready, x)) ? 0 : (int)error_code();
    if (!e && !error_pending())
        return &x->base;
    if (x)
        ocl_drop(&x->base);
    return NULL;
}

Exec *ocl_build(Device *d, Plan *p) { return start(d, p, true); }
Exec *ocl_begin(Device *d, Plan *p) { return start(d, p, false); }

Exec *ocl_again(Device *dev, Plan *p)
{
    OclExec *x = exec_new(dev, p);
    int e = (int)error_code();
    e = e ? e : ocl_code_open(&x->code, (OclDevice *)dev, x->queue, x->list, x->nkernel, WANTED_IF_THERE);
    /* code that another program of this process is waiting for is not there */
    e = e ? e : come_to_code(x, false);
    if (!e && !error_pending())
        return &x->base;
    if (x)
        ocl_drop(&x->base);
    return NULL;
}

/* The process still lives: what came from the disk may be used from now on without care. */
static void worked(OclExec *x)
{
    if (x->tried)
        units_worked(&x->code);
    x->tried = false;
}

void ocl_drop(Exec *exec)
{
    OclExec *x = (OclExec *)exec;
    worked(x);
    for (int k = 0; x->kernel && k < x->nkernel; k++)
        if (x->kernel[k])
            ocl.clReleaseKernel(x->kernel[k]);
    units_drop(&x->code);
    for (OclUser *u = x->user, *next; u; u = next) {
        next = u->next;
        ocl.clReleaseKernel(u->kernel), free(u);
    }
    for (int k = 0; x->set && k < x->nkernel; k++)
        free(x->set[k].mem);
    free(x->set);
    replay_frame_drop(x->top);
    reading_drop(x->reading);
    for (int i = 0; i < x->nowned; i++)
        ocl.clReleaseMemObject(x->owned[i]);
    if (x->arena)
        ocl.clReleaseMemObject(x->arena);
    free(x->owned);
    free(x->kernel);
    pthread_mutex_destroy(&x->lock);
    x->base.device->live--;
    free(x);
}

int ocl_code(Exec *exec, Text *t)
{
    const OpenclCaps caps = ocl_caps((OclDevice *)exec->device);
    Kernel **list;
    int n;
    plan_code(exec->plan, &list, &n);
    return opencl_c_print((const Kernel *const *)list, n, &caps, t);
}

/* ---- running ---- */

static int enqueued(Call *c, cl_int e, cl_event now, const char *what)
{
    if (e != CL_SUCCESS)
        return ocl_fail((OclDevice *)c->e->base.device, e, what);
    c->last = ocl_queued(c->queue, now);
    c->first = c->first ? c->first : c->last;
    return 0;
}

static int launch(void *call, const Frame *f, const Kernel *k, int64_t step)
{
    Call *c = call;
    cl_kernel kernel = c->e->kernel[k->id];
    size_t global[3] = { 1, 1, 1 };
    size_t local[3] = { 1, 1, 1 };
    cl_int e = CL_SUCCESS, at = (cl_int)step;
    cl_event now = NULL;
    cl_mem *set = c->e->set[k->id].mem;
    for (int i = 0; i < k->nparam && e == CL_SUCCESS; i++) {
        cl_mem m = f->mem[k->param[i]->slot].buffer;
        if (set[i] == m)
            continue;
        e = ocl.clSetKernelArg(kernel, (cl_uint)i, sizeof m, &m);
        set[i] = e == CL_SUCCESS ? m : NULL;
    }
    if (k->stepped && e == CL_SUCCESS)
        e = ocl.clSetKernelArg(kernel, (cl_uint)c->e->set[k->id].step, sizeof at, &at);
    for (int i = 0; i < k->ngrid; i++) {
        local[i] = k->grid[i].group ? (size_t)k->grid[i].group : 1;
        global[i] = ((size_t)k->grid[i].n + local[i] - 1) / local[i] * local[i];
    }
    if (e == CL_SUCCESS)
        e = ocl.clEnqueueNDRangeKernel(
            c->queue->cl, kernel, k->ngrid ? (cl_uint)k->ngrid : 1, NULL, global, local, 0, NULL, &now);
    return enqueued(c, e, now, k->name);
}

static cl_command_queue way_of(const Call *c)
{
    return c->apart ? ((OclDevice *)c->e->base.device)->moving : c->queue->cl;
}

/* Nobody else knows of this copy. */
static int copy_now(Call *c, Spot from, Spot to, size_t bytes)
{
    cl_event now;
    cl_int e =
        ocl.clEnqueueCopyBuffer(way_of(c), from.buffer, to.buffer, from.at, to.at, bytes, 0, NULL, &now);
    if (e == CL_SUCCESS) {
        e = ocl.clWaitForEvents(1, &now);
        ocl.clReleaseEvent(now);
    }
    return e == CL_SUCCESS ? 0 : ocl_fail((OclDevice *)c->e->base.device, e, "copying on the device");
}

static int copy(void *call, Spot from, Spot to, size_t bytes)
{
    Call *c = call;
    cl_event now;
    if (c->apart)
        return copy_now(c, from, to, bytes);
    cl_int e =
        ocl.clEnqueueCopyBuffer(c->queue->cl, from.buffer, to.buffer, from.at, to.at, bytes, 0, NULL, &now);
    return enqueued(c, e, now, "copying on the device");
}

/* ---- kernels of the user's: compiled when they are first launched, for this program ---- */

static int user_fails(OclExec *x, const UserKernel *u, cl_program p, cl_int e)
{
    char log[2000] = "";
    OclDevice *d = (OclDevice *)x->base.device;
    if (p)
        ocl.clGetProgramBuildInfo(p, d->id[x->queue], CL_PROGRAM_BUILD_LOG, sizeof log - 1, log, NULL);
    return error_set(ocl_no_memory(e) ? E_NOMEM : E_DEVICE, "hd_kernel %s: %s cannot build it: %s%s%s",
        u->name, d->base.info.name, ocl_error(e), *log ? "\n" : "", log);
}

static cl_kernel user_kernel(OclExec *x, const UserKernel *u)
{
    OclDevice *d = (OclDevice *)x->base.device;
    cl_int e = CL_SUCCESS;
    const char *text = u->opencl;
    for (OclUser *k = x->user; k; k = k->next)
        if (k->of == u)
            return k->kernel;
    OclUser *k = calloc(1, sizeof *k);
    if (!k)
        return error_set(E_NOMEM, "no memory for a kernel"), NULL;
    cl_program p = ocl.clCreateProgramWithSource(d->context, 1, &text, NULL, &e);
    if (e == CL_SUCCESS)
        e = ocl.clBuildProgram(p, 1, &d->id[x->queue], "", NULL, NULL);
    if (e == CL_SUCCESS)
        k->kernel = ocl.clCreateKernel(p, u->name, &e);
    if (e != CL_SUCCESS)
        user_fails(x, u, p, e);
    if (p)
        ocl.clReleaseProgram(p);
    if (e != CL_SUCCESS)
        return free(k), NULL;
    k->of = u, k->next = x->user, x->user = k;
    return k->kernel;
}

/* A parameter in the middle of a buffer, as those of later lanes are, is a buffer of its own meanwhile. */
static cl_mem user_memory(Call *c, const UserArg *a, cl_int *e)
{
    OclDevice *d = (OclDevice *)c->e->base.device;
    cl_mem m = NULL;
    *e = CL_SUCCESS;
    if (!a->at.at)
        return a->at.buffer;
    m = ocl.clCreateBuffer(d->context, CL_MEM_READ_WRITE, a->bytes ? a->bytes : 1, NULL, e);
    if (*e == CL_SUCCESS && a->bytes && copy(c, a->at, (Spot){ m, 0 }, a->bytes))
        *e = CL_INVALID_VALUE;
    return m;
}

static int user_back(Call *c, const UserArg *a, cl_mem m, int e)
{
    if (a->at.at && m) {
        e = e || !a->written || !a->bytes ? e : copy(c, (Spot){ m, 0 }, a->at, a->bytes);
        ocl.clReleaseMemObject(m);
    }
    return e;
}

static int user_launch(Call *c, const UserKernel *u, cl_kernel kernel)
{
    size_t global[3], local[3];
    cl_event now = NULL;
    for (int k = 0; k < 3; k++)
        global[k] = (size_t)u->global[k], local[k] = (size_t)(u->local[k] ? u->local[k] : 1);
    cl_int e = ocl.clEnqueueNDRangeKernel(
        c->queue->cl, kernel, 3, NULL, global, u->local[0] ? local : NULL, 0, NULL, &now);
    return enqueued(c, e, now, u->name);
}

static int user(void *call, const UserKernel *u, int n, const UserArg *arg)
{
    Call *c = call;
    cl_kernel kernel = user_kernel(c->e, u);
    cl_mem *m = calloc((size_t)n + 1, sizeof *m);
    cl_int e = CL_SUCCESS;
    int bad = !kernel ? (int)error_code() : m ? 0 : error_set(E_NOMEM, "no memory for a kernel");
    for (int k = 0; k < n && !bad; k++) {
        m[k] = user_memory(c, &arg[k], &e);
        e = e == CL_SUCCESS ? ocl.clSetKernelArg(kernel, (cl_uint)k, sizeof m[k], &m[k]) : e;
        if (e != CL_SUCCESS)
            bad = error_set(E_DEVICE, "hd_kernel %s: parameter %d of %d: %s", u->name, k, n, ocl_error(e));
    }
    bad = bad ? bad : user_launch(c, u, kernel);
    for (int k = 0; k < n && m; k++)
        bad = user_back(c, &arg[k], m[k], bad);
    free(m);
    return bad;
}

static int settle(void *call)
{
    Call *c = call;
    uint64_t newest = ocl_newest(c->queue); /* what computes an argument, too */
    cl_int e = newest ? ocl_wait_for(c->queue, newest) : CL_SUCCESS;
    if (e == CL_SUCCESS && c->last)
        e = ocl_outcome(c->queue, c->first, c->last);
    return e == CL_SUCCESS ?
        0 :
        ocl_fail((OclDevice *)c->e->base.device, e, "a computation failed on the device");
}

/* What is read decides what runs next, so what it was computed from must have ended well. */
static int fetch(void *call, Spot from, void *out, size_t bytes)
{
    Call *c = call;
    cl_int e = ocl.clEnqueueReadBuffer(way_of(c), from.buffer, CL_TRUE, from.at, bytes, out, 0, NULL, NULL);
    return e == CL_SUCCESS ? c->apart ? 0 : settle(call) :
                             ocl_fail((OclDevice *)c->e->base.device, e, "reading a condition");
}

static const void *seen(void *call, Spot at)
{
    (void)call, (void)at;
    return NULL;
}

static int store(void *call, Spot to, const void *bytes, size_t n)
{
    Call *c = call;
    cl_int e = ocl.clEnqueueWriteBuffer(way_of(c), to.buffer, CL_TRUE, to.at, n, bytes, 0, NULL, NULL);
    return e == CL_SUCCESS ? 0 : ocl_fail((OclDevice *)c->e->base.device, e, "writing what shards exchange");
}

static int apart(void *call)
{
    Call *c = call;
    cl_int e = ocl.clFlush(c->queue->cl);
    c->apart = true;
    return e == CL_SUCCESS ? 0 : ocl_fail((OclDevice *)c->e->base.device, e, "beginning a computation");
}

static int joined(void *call)
{
    ((Call *)call)->apart = false;
    return settle(call);
}

static void away(void *call, bool is)
{
    Call *c = call;
    (is ? ocl_leave : ocl_enter)((OclDevice *)c->e->base.device, c->e->queue);
}

static bool speaks(const UserKernel *u) { return u->opencl; }

static const Replay steps = { launch, copy, fetch, store, settle, apart, joined, seen, away, user, speaks };

static Spot spot(Mem *m) { return (Spot){ ((OclMem *)m)->mem, 0 }; }

/* What another queue still does with the memories of a call is waited for here and not by the driver, since
 * the quick queue works in its caller. An argument that could not be computed ends the call before it
 * begins. */
static int may_begin(OclExec *x, int nin, Mem *const *in, int nout, Mem **out)
{
    int e = 0;
    for (int i = 0; i < nin && !e; i++)
        e = ocl_mem_reads((OclMem *)in[i], x->queue);
    for (int i = 0; i < nout && !e; i++)
        if (x->plan->alias[i] == -1)
            e = ocl_mem_writes((OclMem *)out[i], x->queue);
    return e;
}

/* Drivers may tell a memory from one that was destroyed, though both have one handle. */
static void forget_arguments(OclExec *x)
{
    unsigned now = __atomic_load_n(&((OclDevice *)x->base.device)->destroyed, __ATOMIC_ACQUIRE);
    if (x->destroyed == now)
        return;
    for (int k = 0; k < x->nkernel; k++)
        memset(x->set[k].mem, 0, sizeof(cl_mem) * (size_t)x->set[k].n);
    x->destroyed = now;
}

/* A failure that was seen while the commands were given to the queue: of one of them, or of what computes an
 * argument. One that is seen later is theirs too (queue.c). */
static int seen_to_fail(OclExec *x, const Call *c, int nin, Mem *const *in)
{
    cl_int e = ocl_outcome(c->queue, c->first, c->last);
    if (e < 0)
        return ocl_fail((OclDevice *)x->base.device, e, "a computation failed on the device");
    int code = 0;
    for (int i = 0; i < nin && !code; i++)
        code = ocl_mem_reads((OclMem *)in[i], x->queue);
    return code;
}

/* Commands that have ended well, as those of the quick queue have when they return, leave nothing to wait
 * for. */
static int enqueue_all(OclExec *x, int nin, Mem *const *in, int nout, Mem **out)
{
    OclDevice *d = (OclDevice *)x->base.device;
    Call c = { .e = x, .queue = &d->queue[x->queue] };
    forget_arguments(x);
    int e = replay(&steps, &d->base, &c, x->top, in, out, spot);
    if (!c.last)
        return e;
    cl_int flushed = ocl.clFlush(c.queue->cl);
    if (flushed != CL_SUCCESS && !e)
        e = ocl_fail(d, flushed, "beginning a computation");
    if (x->tried && !d->adopted && ocl_wait_for(c.queue, c.last) == CL_SUCCESS)
        worked(x);
    bool pending = e || ocl_outcome(c.queue, c.first, c.last) != CL_SUCCESS;
    if (!e && c.queue->nbad)
        e = seen_to_fail(x, &c, nin, in);
    for (int i = 0; pending && i < nin; i++)
        ocl_mem_used((OclMem *)in[i], x->queue, c.last, false);
    for (int i = 0; pending && i < nout; i++)
        if (x->plan->alias[i] == -1)
            ocl_mem_used((OclMem *)out[i], x->queue, c.last, true);
    return e;
}

/* A call of tier 0. Whatever goes wrong, the device is to say. */
static bool read_through(OclExec *x, int nin, Mem *const *in, int nout, Mem **out)
{
    if (!x->reading || come_to_code(x, false) != NOT_YET)
        return false;
    if (!tier0_run(x->reading, nin, in, nout, out))
        return true;
    error_clear();
    return false;
}

int ocl_run(Exec *exec, int nin, Mem *const *in, int nout, Mem **out)
{
    OclExec *x = (OclExec *)exec;
    OclDevice *d = (OclDevice *)exec->device;
    int e = replay_outputs(x->plan, exec->device, in, nout, out);
    if (!e && !x->compiled && read_through(x, nin, in, nout, out))
        return 0;
    e = e ? e : come_to_code(x, true);
    if (!e && x->plan->nstep)
        e = may_begin(x, nin, in, nout, out);
    if (!e && x->plan->nstep) {
        pthread_mutex_lock(&x->lock);
        ocl_enter(d, x->queue);
        e = enqueue_all(x, nin, in, nout, out);
        ocl_leave(d, x->queue);
        pthread_mutex_unlock(&x->lock);
    }
    if (e)
        replay_forget(nout, out);
    return e;
}
