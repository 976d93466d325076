/*
 * exec.c - executables: a plan compiled into one OpenCL program, and its replay.
 *
 * In:  Plan, then memories.   Out: memories that are being computed.
 * One program an executable, since every program costs about 20 ms. All commands of an executable go to one in-order queue,
 * chosen by the work in the plan; so its arena of temporaries is used by one call after the other, and calls in flight need no
 * copy of it. Enqueueing is locked, because a kernel's arguments are state.
 * A body plan is a frame of its own: what its arguments and results are bound to changes from step to step, the rest does not.
 */
#include "opencl.h"
#include "opencl_c.h"

#include <stdlib.h>
#include <string.h>

typedef struct Frame {
    const Plan *plan;
    cl_mem *mem;                                /* by slot; temporaries and constants stay, the others are bound by each call */
    struct Frame **body;                        /* by step: the frames of its bodies */
} Frame;

typedef struct OclExec {
    Exec base;
    Plan *plan;
    Frame *top;
    int queue;
    cl_program program;
    cl_kernel *kernel; int nkernel;             /* by Kernel.id */
    cl_mem *owned; int nowned, owned_cap;       /* everything to release */
    bool stored;                                /* the compiled program is in the disk cache, kernels included */
    uint64_t key[2];
    char *source;
    pthread_mutex_t lock;
} OclExec;

typedef struct Call {
    OclExec *e;
    cl_command_queue queue;
    cl_event last;
} Call;

/* ---- building the program ---- */

static const char *options(const OclDevice *d)
{
    return d->exact_division ? "-cl-std=CL1.2 -cl-fp32-correctly-rounded-divide-sqrt" : "-cl-std=CL1.2";
}

static int build_failed(OclExec *x, OclDevice *d, cl_int e)
{
    size_t n = 0;
    char *log = NULL;
    if (x->program && ocl.clGetProgramBuildInfo(x->program, d->id[x->queue], CL_PROGRAM_BUILD_LOG, 0, NULL, &n) == CL_SUCCESS &&
        (log = calloc(1, n + 1)) != NULL)
        ocl.clGetProgramBuildInfo(x->program, d->id[x->queue], CL_PROGRAM_BUILD_LOG, n, log, NULL);
    int code = error_set(E_INTERNAL, "%s: the kernel compiler refused a program (%s): %.800s", d->base.info.name, ocl_error(e),
        log ? log : "");
    free(log);
    return code;
}

static bool from_cache(OclExec *x, OclDevice *d)
{
    void *data;
    size_t n;
    cl_int status, e;
    if (!cache_get(x->key, sizeof x->key, &data, &n))
        return false;
    const unsigned char *binary = data;
    x->program = ocl.clCreateProgramWithBinary(d->context, 1, &d->id[x->queue], &n, &binary, &status, &e);
    free(data);
    if (e == CL_SUCCESS && status == CL_SUCCESS && ocl.clBuildProgram(x->program, 1, &d->id[x->queue], options(d), NULL, NULL) == CL_SUCCESS)
        return true;
    if (x->program)                             /* refused: another driver's, or damaged */
        ocl.clReleaseProgram(x->program);
    x->program = NULL;
    return false;
}

static void to_cache(OclExec *x)
{
    cl_uint n = 0;
    if (ocl.clGetProgramInfo(x->program, CL_PROGRAM_NUM_DEVICES, sizeof n, &n, NULL) != CL_SUCCESS || !n || n > QUEUES)
        return;
    cl_device_id ids[QUEUES];
    size_t sizes[QUEUES] = { 0 };
    unsigned char *part[QUEUES] = { NULL };
    OclDevice *d = (OclDevice *)x->base.device;
    if (ocl.clGetProgramInfo(x->program, CL_PROGRAM_DEVICES, sizeof ids, ids, NULL) != CL_SUCCESS ||
        ocl.clGetProgramInfo(x->program, CL_PROGRAM_BINARY_SIZES, sizeof sizes, sizes, NULL) != CL_SUCCESS)
        return;
    bool good = true;
    for (cl_uint i = 0; i < n; i++)
        good = (part[i] = malloc(sizes[i] + 1)) != NULL && good;
    if (good && ocl.clGetProgramInfo(x->program, CL_PROGRAM_BINARIES, sizeof part, part, NULL) == CL_SUCCESS)
        for (cl_uint i = 0; i < n; i++)
            if (ids[i] == d->id[x->queue] && sizes[i])
                cache_put(x->key, sizeof x->key, part[i], sizes[i]);
    for (cl_uint i = 0; i < n; i++)
        free(part[i]);
}

static int build_program(OclExec *x, Kernel **list)
{
    OclDevice *d = (OclDevice *)x->base.device;
    cl_int e = CL_SUCCESS;
    Text t = { 0 };
    text_add(&t, "heddle 0.1.0|%s|%s|", d->key, options(d));
    size_t head = t.n;
    const OpenclCaps caps = { .f64 = d->base.info.has_f64, .one_item = true };
    if (opencl_c_print((const Kernel *const *)list, x->nkernel, &caps, &t))
        return text_free(&t), error_code();
    x->key[0] = hash_bytes(t.s, t.n, 1);
    x->key[1] = hash_bytes(t.s, t.n, 2);
    x->source = strdup(t.s + head);
    text_free(&t);
    if (!x->source)
        return error_set(E_NOMEM, "no memory for a program's text");
    if (!(x->stored = from_cache(x, d))) {
        const char *s = x->source;
        x->program = ocl.clCreateProgramWithSource(d->context, 1, &s, NULL, &e);
        if (e == CL_SUCCESS)
            e = ocl.clBuildProgram(x->program, 1, &d->id[x->queue], options(d), NULL, NULL);
        if (e != CL_SUCCESS)
            return build_failed(x, d, e);
    }
    for (int k = 0; k < x->nkernel; k++) {
        x->kernel[k] = ocl.clCreateKernel(x->program, list[k]->name, &e);
        if (e != CL_SUCCESS)
            return ocl_fail(e, list[k]->name);
    }
    return 0;
}

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
    return own(x, part) && own(x, whole) ? part : NULL;
}

static cl_mem constant(OclExec *x, const Slot *s)
{
    OclDevice *d = (OclDevice *)x->base.device;
    cl_mem m = piece(x, s->bytes);
    ocl_enter(d, x->queue);
    cl_int e = m && s->bytes ? ocl.clEnqueueWriteBuffer(d->queue[x->queue], m, CL_TRUE, 0, s->bytes, s->data, 0, NULL, NULL) : CL_SUCCESS;
    ocl_leave(d, x->queue);
    return e == CL_SUCCESS ? m : (ocl_fail(e, "writing a constant to the device"), NULL);
}

/* Temporaries are pieces of one arena; each is an allocation of its own where the arena is too large for one, and under
 * HEDDLE_CHECK=buffers, so that simulators see overruns. */
static Frame *frame_new(OclExec *x, const Plan *p, cl_mem arena)
{
    Frame *f = calloc(1, sizeof *f);
    if (f)
        f->plan = p, f->mem = calloc((size_t)p->nslot + 1, sizeof *f->mem), f->body = calloc((size_t)p->nstep + 1, sizeof *f->body);
    if (!f || !f->mem || !f->body)
        return error_set(E_NOMEM, "no memory for a program"), f;
    for (int s = 0; s < p->nslot && !error_pending(); s++) {
        const Slot *slot = &p->slot[s];
        if (slot->kind == SLOT_CONST)
            f->mem[s] = constant(x, slot);
        else if (slot->kind == SLOT_TEMP && !arena)
            f->mem[s] = piece(x, slot->bytes);
        else if (slot->kind == SLOT_TEMP) {
            cl_int e;
            cl_buffer_region r = { slot->offset, slot->bytes ? slot->bytes : 1 };
            cl_mem m = ocl.clCreateSubBuffer(arena, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &r, &e);
            if (e != CL_SUCCESS)
                ocl_fail(e, "a piece of the arena");
            else
                f->mem[s] = own(x, m);
        }
    }
    for (int s = 0; s < p->nstep && !error_pending(); s++) {
        const Step *st = &p->step[s];
        if (st->nbody && (f->body[s] = calloc((size_t)st->nbody, sizeof(Frame))) != NULL)
            for (int b = 0; b < st->nbody && !error_pending(); b++) {
                Frame *inner = frame_new(x, st->body[b], arena);
                if (inner)
                    f->body[s][b] = *inner;
                free(inner);
            }
    }
    return f;
}

static void frame_drop(Frame *f)
{
    for (int s = 0; f->body && s < f->plan->nstep; s++) {
        for (int b = 0; f->body[s] && b < f->plan->step[s].nbody; b++)
            if (f->body[s][b].plan)
                frame_drop(&f->body[s][b]);
        free(f->body[s]);
    }
    free(f->mem);
    free(f->body);
}

Exec *ocl_build(Device *dev, Plan *p)
{
    OclDevice *d = (OclDevice *)dev;
    OclExec *x = calloc(1, sizeof *x);
    Kernel **list;
    if (!x)
        return error_set(E_NOMEM, "no memory for a program"), NULL;
    pthread_mutex_init(&x->lock, NULL);
    x->base.device = dev;
    x->plan = p;
    x->queue = d->nqueue > 1 && p->work < QUICK_WORK ? 1 : 0;
    plan_kernels(p, &list, &x->nkernel);
    for (int k = 0; k < x->nkernel; k++)
        list[k]->id = k;
    x->kernel = calloc((size_t)x->nkernel + 1, sizeof *x->kernel);
    cl_mem arena = NULL;
    if (!x->kernel)
        error_set(E_NOMEM, "no memory for a program");
    else if (!x->nkernel || !build_program(x, list)) {
        if (p->bytes && p->bytes + 2 * SLACK + d->align < dev->info.max_alloc && !check_wanted("buffers")) {
            cl_int e;
            arena = ocl.clCreateBuffer(d->context, CL_MEM_READ_WRITE, p->bytes + SLACK, NULL, &e);
            if (e != CL_SUCCESS)
                arena = NULL, ocl_fail(e, "temporary memory of a program");
        }
        if (!error_pending())
            x->top = frame_new(x, p, arena);
        if (arena)
            own(x, arena);
    }
    if (!error_pending())
        return &x->base;
    ocl_drop(&x->base);
    return NULL;
}

void ocl_drop(Exec *exec)
{
    OclExec *x = (OclExec *)exec;
    for (int k = 0; x->kernel && k < x->nkernel; k++)
        if (x->kernel[k])
            ocl.clReleaseKernel(x->kernel[k]);
    if (x->program)
        ocl.clReleaseProgram(x->program);
    if (x->top)
        frame_drop(x->top);
    free(x->top);
    for (int i = 0; i < x->nowned; i++)
        ocl.clReleaseMemObject(x->owned[i]);
    free(x->owned);
    free(x->kernel);
    free(x->source);
    pthread_mutex_destroy(&x->lock);
    free(x);
}

int ocl_code(Exec *exec, Text *t)
{
    const char *s = ((OclExec *)exec)->source;
    text_add(t, "%s", s ? s : "");
    return 0;
}

/* ---- running ---- */

static int enqueued(Call *c, cl_int e, cl_event now, const char *what)
{
    if (e != CL_SUCCESS)
        return ocl_fail(e, what);
    if (c->last)
        ocl.clReleaseEvent(c->last);
    c->last = now;
    return 0;
}

static int launch(Call *c, const Frame *f, const Kernel *k, int64_t step)
{
    cl_kernel kernel = c->e->kernel[k->id];
    size_t global[3] = { 1, 1, 1 };
    const size_t local[3] = { 1, 1, 1 };
    cl_int e = CL_SUCCESS, at = (cl_int)step;
    cl_event now;
    for (int i = 0; i < k->nparam && e == CL_SUCCESS; i++)
        e = ocl.clSetKernelArg(kernel, (cl_uint)i, sizeof(cl_mem), &f->mem[k->param[i]->slot]);
    if (k->stepped && e == CL_SUCCESS)
        e = ocl.clSetKernelArg(kernel, (cl_uint)k->nparam, sizeof at, &at);
    for (int i = 0; i < k->ngrid; i++)
        global[i] = (size_t)k->grid[i].n;
    if (e == CL_SUCCESS)
        e = ocl.clEnqueueNDRangeKernel(c->queue, kernel, k->ngrid ? (cl_uint)k->ngrid : 1, NULL, global, local, 0,
            NULL, &now);
    return enqueued(c, e, now, k->name);
}

static int copy(Call *c, cl_mem from, cl_mem to, size_t bytes)
{
    cl_event now;
    if (from == to || !bytes)
        return 0;
    cl_int e = ocl.clEnqueueCopyBuffer(c->queue, from, to, 0, 0, bytes, 0, NULL, &now);
    return enqueued(c, e, now, "copying on the device");
}

static int fetch(Call *c, cl_mem from, void *out, size_t bytes)
{
    cl_event now;
    cl_int e = ocl.clEnqueueReadBuffer(c->queue, from, CL_TRUE, 0, bytes, out, 0, NULL, &now);
    return enqueued(c, e, now, "reading a condition");
}

static int run_plan(Call *c, Frame *f, int64_t step);

/* The arguments and results of a body, by number. */
static void bind(Frame *body, const cl_mem *in, const cl_mem *out)
{
    for (int s = 0; s < body->plan->nslot; s++) {
        const Slot *slot = &body->plan->slot[s];
        if (slot->kind == SLOT_ARG)
            body->mem[s] = in[slot->index];
        else if (slot->kind == SLOT_RESULT)
            body->mem[s] = out[slot->index];
    }
}

/* One run of a body. A result that is an argument, or another result, is copied. */
static int run_body(Call *c, Frame *body, const cl_mem *in, const cl_mem *out, const size_t *bytes, int64_t step)
{
    bind(body, in, out);
    int e = run_plan(c, body, step);
    for (int k = 0; k < body->plan->nresult && !e; k++) {
        int a = body->plan->alias[k];
        if (a != -1)
            e = copy(c, a >= 0 ? in[a] : out[-2 - a], out[k], bytes[k]);
    }
    return e;
}

typedef struct Bound { cl_mem *in, *out, *start; size_t *bytes; } Bound;

static bool bound_new(Bound *b, const Frame *f, const Step *s)
{
    b->in = calloc((size_t)s->nin + 1, sizeof *b->in);
    b->out = calloc((size_t)s->nout + 1, sizeof *b->out);
    b->start = calloc((size_t)s->ncarry + 1, sizeof *b->start);
    b->bytes = calloc((size_t)s->nout + 1, sizeof *b->bytes);
    if (!b->in || !b->out || !b->start || !b->bytes)
        return error_set(E_NOMEM, "no memory for a loop"), false;
    for (int k = 0; k < s->nin; k++)
        b->in[k] = f->mem[s->in[k]];
    for (int k = 0; k < s->nout; k++)
        b->out[k] = f->mem[s->out[k]], b->bytes[k] = f->plan->slot[s->out[k]].bytes;
    return true;
}

static void bound_drop(Bound *b)
{
    free(b->in);
    free(b->out);
    free(b->start);
    free(b->bytes);
}

/* Carries go back and forth between two buffers, and end in the step's results. */
static int run_loop(Call *c, Frame *f, const Step *s, Frame *body)
{
    Bound b;
    int e = bound_new(&b, f, s) ? 0 : error_code();
    for (int k = 0; k < s->ncarry && !e && s->trip == 0; k++)
        e = copy(c, b.in[s->ncap + k], b.out[k], b.bytes[k]);
    for (int64_t t = 0; t < s->trip && !e; t++) {
        for (int k = 0; k < s->ncarry; k++)
            b.out[k] = t == s->trip - 1 ? f->mem[s->out[k]] : f->mem[s->pong[2 * k + (t & 1)]];
        e = run_body(c, body, b.in, b.out, b.bytes, s->reverse ? s->trip - 1 - t : t);
        for (int k = 0; k < s->ncarry; k++)
            b.in[s->ncap + k] = b.out[k];
    }
    bound_drop(&b);
    return e;
}

/* The flag is the one result of body 0; it lies in the last slot of pong. */
static int run_while(Call *c, Frame *f, const Step *s, Frame *body)
{
    Bound b;
    int e = bound_new(&b, f, s) ? 0 : error_code();
    cl_mem flag_mem = f->mem[s->pong[2 * s->ncarry]];
    const size_t one = 1;
    for (int64_t t = 0; !e; t++) {
        unsigned char flag = 0;
        e = run_body(c, &body[0], b.in, &flag_mem, &one, 0);
        e = e ? e : fetch(c, flag_mem, &flag, 1);
        if (e || !flag)
            break;
        for (int k = 0; k < s->ncarry; k++)
            b.out[k] = f->mem[s->pong[2 * k + (t & 1)]];
        e = run_body(c, &body[1], b.in, b.out, b.bytes, 0);
        for (int k = 0; k < s->ncarry; k++)
            b.in[s->ncap + k] = b.out[k];
    }
    for (int k = 0; k < s->ncarry && !e; k++)
        e = copy(c, b.in[s->ncap + k], f->mem[s->out[k]], b.bytes[k]);
    bound_drop(&b);
    return e;
}

static int run_branch(Call *c, Frame *f, const Step *s, Frame *body)
{
    Bound b;
    int32_t index = 0;
    int e = bound_new(&b, f, s) ? fetch(c, b.in[0], &index, sizeof index) : (int)error_code();
    index = index < 0 ? 0 : index >= s->nbody ? s->nbody - 1 : index;
    e = e ? e : run_body(c, &body[index], b.in + 1, b.out, b.bytes, 0);
    bound_drop(&b);
    return e;
}

static int run_plan(Call *c, Frame *f, int64_t step)
{
    int e = 0;
    for (int i = 0; i < f->plan->nstep && !e; i++) {
        const Step *s = &f->plan->step[i];
        switch (s->kind) {
        case S_LAUNCH: e = launch(c, f, s->kernel, step); break;
        case S_LOOP:   e = run_loop(c, f, s, f->body[i]); break;
        case S_WHILE:  e = run_while(c, f, s, f->body[i]); break;
        case S_BRANCH: e = run_branch(c, f, s, f->body[i]); break;
        case S_COPY:   e = copy(c, f->mem[s->in[0]], f->mem[s->out[0]], f->plan->slot[s->out[0]].bytes); break;
        }
    }
    return e;
}

/* Results that are an argument, or another result, share its memory: arrays never change. */
static int make_outputs(OclExec *x, Mem *const *in, int nout, Mem **out)
{
    for (int s = 0; s < x->plan->nslot; s++) {
        const Slot *slot = &x->plan->slot[s];
        if (slot->kind == SLOT_RESULT && !out[slot->index] && ocl_alloc(x->base.device, slot->bytes, &out[slot->index]))
            return error_code();
    }
    for (int k = 0; k < nout; k++) {
        int a = x->plan->alias[k];
        if (a >= 0)
            out[k] = mem_keep(in[a]);
        else if (a <= -2)
            out[k] = mem_keep(out[-2 - a]);
        else if (!out[k] && ocl_alloc(x->base.device, 0, &out[k]))      /* of size zero: no slot */
            return error_code();
    }
    return 0;
}

/* What another queue still does with the memories of a call. The quick queue works in its caller, so it is waited for here
 * and not by the driver. */
static int other_queue(OclExec *x, int nin, Mem *const *in, int nout, Mem **out)
{
    cl_event *wait = malloc(((size_t)(nin + nout) * QUEUES + 1) * sizeof *wait);
    int n = 0;
    if (!wait)
        return error_set(E_NOMEM, "no memory for a call");
    for (int i = 0; i < nin; i++)
        n += ocl_mem_waits((OclMem *)in[i], x->queue, false, wait + n);
    for (int i = 0; i < nout; i++)
        if (x->plan->alias[i] == -1)
            n += ocl_mem_waits((OclMem *)out[i], x->queue, true, wait + n);
    cl_int e = n ? ocl.clWaitForEvents((cl_uint)n, wait) : CL_SUCCESS;
    for (int i = 0; i < n; i++)
        ocl.clReleaseEvent(wait[i]);
    free(wait);
    return e == CL_SUCCESS ? 0 : ocl_fail(e, "a computation before this one failed on the device");
}

static int enqueue_all(OclExec *x, int nin, Mem *const *in, int nout, Mem **out)
{
    OclDevice *d = (OclDevice *)x->base.device;
    Call c = { .e = x, .queue = d->queue[x->queue] };
    for (int s = 0; s < x->plan->nslot; s++) {
        const Slot *slot = &x->plan->slot[s];
        if (slot->kind == SLOT_ARG)
            x->top->mem[s] = ((OclMem *)in[slot->index])->mem;
        else if (slot->kind == SLOT_RESULT)
            x->top->mem[s] = ((OclMem *)out[slot->index])->mem;
    }
    int e = run_plan(&c, x->top, 0);
    for (int i = 0; c.last && i < nin; i++)
        ocl_mem_used((OclMem *)in[i], x->queue, c.last, false);
    for (int i = 0; c.last && i < nout; i++)
        if (x->plan->alias[i] == -1)
            ocl_mem_used((OclMem *)out[i], x->queue, c.last, true);
    ocl.clFlush(c.queue);
    if (!e && !x->stored && c.last) {           /* drivers compile a kernel when it first runs: store it then */
        ocl.clWaitForEvents(1, &c.last);
        to_cache(x);
        x->stored = true;
    }
    if (c.last)
        ocl.clReleaseEvent(c.last);
    return e;
}

int ocl_run(Exec *exec, int nin, Mem *const *in, int nout, Mem **out)
{
    OclExec *x = (OclExec *)exec;
    OclDevice *d = (OclDevice *)exec->device;
    memset(out, 0, (size_t)nout * sizeof *out);
    int e = make_outputs(x, in, nout, out);
    if (!e && x->plan->nstep && d->nqueue > 1)
        e = other_queue(x, nin, in, nout, out);
    if (!e && x->plan->nstep) {
        pthread_mutex_lock(&x->lock);
        ocl_enter(d, x->queue);
        e = enqueue_all(x, nin, in, nout, out);
        ocl_leave(d, x->queue);
        pthread_mutex_unlock(&x->lock);
    }
    for (int k = 0; e && k < nout; k++)
        mem_drop(out[k]), out[k] = NULL;
    return e;
}
