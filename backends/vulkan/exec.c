/*
 * exec.c - executables: a plan as pipelines, and its runs.
 *
 * In:  Plan, then memories.   Out: memories that are computed.
 * A pipeline a kernel. A run records its commands with a barrier behind each, submits them where the host must read something
 * (a condition) and at its end, and waits. What kernels need to know of a launch lies in the table: the addresses of its
 * parameters. A full table is submitted, waited for, and begun again.
 * Runs of an executable are one after the other: its arena of temporaries and its table are theirs in turn.
 * A body plan is a frame of its own: what its arguments and results are bound to changes from step to step, the rest does not.
 */
#include "vk.h"

#include <stdlib.h>
#include <string.h>

enum { TABLE = 1 << 16 };

typedef struct Spot { VkPiece *piece; size_t at; } Spot;        /* a place in device memory */

typedef struct Frame {
    const Plan *plan;
    Spot *mem;                                  /* by slot; temporaries and constants stay, the others are bound by each call */
    struct Frame **body;                        /* by step: the frames of its bodies */
} Frame;

typedef struct Entry { VkPipeline pipeline; uint32_t *words; size_t n; int local; const char *name; } Entry;

typedef struct VkExec {
    Exec base;
    Plan *plan;
    Frame *top;
    Entry *code; int ncode;                      /* by Kernel.id */
    VkPiece **owned; int nowned, owned_cap;     /* everything to release */
    VkPiece *table; size_t used;
    VkStream stream;
    pthread_mutex_t lock;
} VkExec;

static VkDev *device_of(const VkExec *x) { return (VkDev *)x->base.device; }

/* ---- building ---- */

static int build_code(VkExec *x, Kernel **list)
{
    VkDev *d = device_of(x);
    for (int k = 0; k < x->ncode; k++) {
        Entry *c = &x->code[k];
        c->name = list[k]->name;
        if (spirv_write(list[k], &d->caps, &c->words, &c->n, &c->local))
            return error_code();
        if (!(c->pipeline = vk_pipeline(d, c->name, c->words, c->n)))
            return error_code();
    }
    return 0;
}

static VkPiece *piece(VkExec *x, size_t bytes, bool host)
{
    if (x->nowned == x->owned_cap) {
        int cap = x->owned_cap ? 2 * x->owned_cap : 16;
        VkPiece **p = realloc(x->owned, (size_t)cap * sizeof *p);
        if (!p)
            return error_set(E_NOMEM, "no memory for a program"), NULL;
        x->owned = p;
        x->owned_cap = cap;
    }
    VkPiece *p = calloc(1, sizeof *p);
    if (!p)
        return error_set(E_NOMEM, "no memory for a program"), NULL;
    if (!vk_piece(device_of(x), bytes ? bytes : 1, host, p))
        return free(p), NULL;
    return x->owned[x->nowned++] = p;
}

static VkPiece *constant(VkExec *x, const Slot *s)
{
    VkPiece *p = piece(x, s->bytes, false);
    return p && !vk_piece_write(device_of(x), p, 0, s->data, s->bytes) ? p : NULL;
}

static bool frame_fill(VkExec *x, Frame *, const Plan *, VkPiece *arena);

static bool frame_bodies(VkExec *x, Frame *f, VkPiece *arena)
{
    for (int s = 0; s < f->plan->nstep; s++) {
        const Step *st = &f->plan->step[s];
        if (!st->nbody)
            continue;
        if (!(f->body[s] = calloc((size_t)st->nbody, sizeof(Frame))))
            return error_set(E_NOMEM, "no memory for a program"), false;
        for (int b = 0; b < st->nbody; b++)
            if (!frame_fill(x, &f->body[s][b], st->body[b], arena))
                return false;
    }
    return true;
}

/* Temporaries are places in one arena; each is an allocation of its own where the arena is too large for one, and under
 * HEDDLE_CHECK=buffers. */
static bool frame_fill(VkExec *x, Frame *f, const Plan *p, VkPiece *arena)
{
    f->plan = p;
    f->mem = calloc((size_t)p->nslot + 1, sizeof *f->mem);
    f->body = calloc((size_t)p->nstep + 1, sizeof *f->body);
    if (!f->mem || !f->body)
        return error_set(E_NOMEM, "no memory for a program"), false;
    for (int s = 0; s < p->nslot; s++) {
        const Slot *slot = &p->slot[s];
        if (slot->kind == SLOT_TEMP && arena)
            f->mem[s] = (Spot){ arena, slot->offset };
        else if (slot->kind == SLOT_TEMP || slot->kind == SLOT_CONST) {
            VkPiece *own = slot->kind == SLOT_CONST ? constant(x, slot) : piece(x, slot->bytes, false);
            if (!own)
                return false;
            f->mem[s] = (Spot){ own, 0 };
        }
    }
    return frame_bodies(x, f, arena);
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

static bool build(VkExec *x, Plan *p)
{
    VkDev *d = device_of(x);
    Kernel **list;
    VkPiece *arena = NULL;
    plan_kernels(p, &list, &x->ncode);
    for (int k = 0; k < x->ncode; k++)
        list[k]->id = k;
    x->code = calloc((size_t)x->ncode + 1, sizeof *x->code);
    x->top = calloc(1, sizeof *x->top);
    if (!x->code || !x->top)
        return error_set(E_NOMEM, "no memory for a program"), false;
    if (build_code(x, list))
        return false;
    if (p->bytes && p->bytes + 8 * SLACK < d->base.info.max_alloc && !check_wanted("buffers") &&
        !(arena = piece(x, p->bytes, false)))
        return false;
    return frame_fill(x, x->top, p, arena) && (x->table = piece(x, TABLE, true)) && vk_stream_new(d, &x->stream);
}

Exec *vk_build(Device *dev, Plan *p)
{
    VkExec *x = calloc(1, sizeof *x);
    if (!x)
        return error_set(E_NOMEM, "no memory for a program"), NULL;
    pthread_mutex_init(&x->lock, NULL);
    x->base.device = dev;
    x->plan = p;
    if (build(x, p) && !error_pending())
        return &x->base;
    vk_drop(&x->base);
    return NULL;
}

void vk_drop(Exec *exec)
{
    VkExec *x = (VkExec *)exec;
    VkDev *d = device_of(x);
    vk_stream_drop(d, &x->stream);
    for (int k = 0; x->code && k < x->ncode; k++) {
        if (x->code[k].pipeline)
            d->f.DestroyPipeline(d->device, x->code[k].pipeline, NULL);
        free(x->code[k].words);
    }
    if (x->top && x->top->plan)
        frame_drop(x->top);
    free(x->top);
    for (int i = 0; i < x->nowned; i++) {
        vk_piece_drop(d, x->owned[i]);
        free(x->owned[i]);
    }
    free(x->owned);
    free(x->code);
    pthread_mutex_destroy(&x->lock);
    free(x);
}

/* The words, a byte as two digits: `xxd -r -p | spirv-dis` reads a kernel's. */
int vk_code(Exec *exec, Text *t)
{
    const VkExec *x = (const VkExec *)exec;
    for (int k = 0; k < x->ncode; k++) {
        const Entry *c = &x->code[k];
        text_add(t, "; %s: %zu words of SPIR-V, %d invocations a work-group", c->name, c->n, c->local);
        for (size_t i = 0; i < c->n; i++) {
            const unsigned char *b = (const unsigned char *)&c->words[i];
            text_add(t, "%s%02x%02x%02x%02x", i % 12 ? " " : "\n", b[0], b[1], b[2], b[3]);
        }
        text_add(t, "\n");
    }
    return 0;
}

/* ---- running ---- */

static int flush(VkExec *x)
{
    x->used = 0;
    return vk_stream_run(device_of(x), &x->stream);
}

/* The addresses of a launch's parameters: where in the table they lie. 0 after an error. */
static uint64_t tabulate(VkExec *x, const Frame *f, const Kernel *k)
{
    size_t n = (size_t)(k->nparam ? k->nparam : 1) * sizeof(uint64_t);
    if (n > TABLE)
        return error_set(E_INTERNAL, "kernel %s has %d parameters", k->name, k->nparam), 0;
    if (x->used + n > TABLE && flush(x))
        return 0;
    uint64_t *to = (uint64_t *)(void *)(x->table->host + x->used);
    for (int i = 0; i < k->nparam; i++) {
        const Spot *s = &f->mem[k->param[i]->slot];
        to[i] = s->piece ? s->piece->address + s->at : 0;
    }
    uint64_t at = x->table->address + x->used;
    x->used += n;
    return at;
}

/* Dispatches have a most number of work-groups: more are several parts of the grid. */
static void dispatch(VkExec *x, VkCommandBuffer c, const int64_t n[3], int local, Pushed *p)
{
    VkDev *d = device_of(x);
    const int64_t size[3] = { local, 1, 1 };
    int64_t most[3], at[3];
    for (int i = 0; i < 3; i++)
        most[i] = (d->groups[i] < (1u << 24) ? d->groups[i] : 1 << 24) * size[i];
    for (at[2] = 0; at[2] < n[2]; at[2] += most[2])
        for (at[1] = 0; at[1] < n[1]; at[1] += most[1])
            for (at[0] = 0; at[0] < n[0]; at[0] += most[0]) {
                uint32_t groups[3];
                for (int i = 0; i < 3; i++) {
                    int64_t left = n[i] - at[i] < most[i] ? n[i] - at[i] : most[i];
                    groups[i] = (uint32_t)((left + size[i] - 1) / size[i]);
                    p->start[i] = at[i];
                }
                d->f.CmdPushConstants(c, d->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof *p, p);
                d->f.CmdDispatch(c, groups[0], groups[1], groups[2]);
            }
}

static int launch(VkExec *x, const Frame *f, const Kernel *k, int64_t step)
{
    VkDev *d = device_of(x);
    const Entry *code = &x->code[k->id];
    Pushed p = { .table = tabulate(x, f, k), .step = (int32_t)step };
    int64_t n[3] = { 1, 1, 1 };
    VkCommandBuffer c = p.table ? vk_stream_open(d, &x->stream) : NULL;
    if (!c)
        return error_code();
    for (int i = 0; i < k->ngrid; i++)
        n[i] = k->grid[i].n;
    d->f.CmdBindPipeline(c, VK_PIPELINE_BIND_POINT_COMPUTE, code->pipeline);
    dispatch(x, c, n, code->local, &p);
    vk_barrier(d, c);
    return 0;
}

static int copy(VkExec *x, Spot from, Spot to, size_t bytes)
{
    VkDev *d = device_of(x);
    if (!bytes || (from.piece == to.piece && from.at == to.at))
        return 0;
    VkCommandBuffer c = vk_stream_open(d, &x->stream);
    if (!c)
        return error_code();
    const VkBufferCopy r = { SLACK + from.at, SLACK + to.at, bytes };
    d->f.CmdCopyBuffer(c, from.piece->buffer, to.piece->buffer, 1, &r);
    vk_barrier(d, c);
    return 0;
}

static int fetch(VkExec *x, Spot from, void *out, size_t bytes)
{
    int e = flush(x);
    return e ? e : vk_piece_read(device_of(x), from.piece, from.at, out, bytes);
}

static int run_plan(VkExec *x, Frame *f, int64_t step);

/* The arguments and results of a body, by number. */
static void bind(Frame *body, const Spot *in, const Spot *out)
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
static int run_body(VkExec *x, Frame *body, const Spot *in, const Spot *out, const size_t *bytes, int64_t step)
{
    bind(body, in, out);
    int e = run_plan(x, body, step);
    for (int k = 0; k < body->plan->nresult && !e; k++) {
        int a = body->plan->alias[k];
        if (a != -1)
            e = copy(x, a >= 0 ? in[a] : out[-2 - a], out[k], bytes[k]);
    }
    return e;
}

typedef struct Bound { Spot *in, *out; size_t *bytes; } Bound;

static bool bound_new(Bound *b, const Frame *f, const Step *s)
{
    b->in = calloc((size_t)s->nin + 1, sizeof *b->in);
    b->out = calloc((size_t)s->nout + 1, sizeof *b->out);
    b->bytes = calloc((size_t)s->nout + 1, sizeof *b->bytes);
    if (!b->in || !b->out || !b->bytes)
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
    free(b->bytes);
}

/* Carries go back and forth between two buffers, and end in the step's results. */
static int run_loop(VkExec *x, Frame *f, const Step *s, Frame *body)
{
    Bound b;
    int e = bound_new(&b, f, s) ? 0 : (int)error_code();
    for (int k = 0; k < s->ncarry && !e && s->trip == 0; k++)
        e = copy(x, b.in[s->ncap + k], b.out[k], b.bytes[k]);
    for (int64_t t = 0; t < s->trip && !e; t++) {
        for (int k = 0; k < s->ncarry; k++)
            b.out[k] = t == s->trip - 1 ? f->mem[s->out[k]] : f->mem[s->pong[2 * k + (t & 1)]];
        e = run_body(x, body, b.in, b.out, b.bytes, s->reverse ? s->trip - 1 - t : t);
        for (int k = 0; k < s->ncarry; k++)
            b.in[s->ncap + k] = b.out[k];
    }
    bound_drop(&b);
    return e;
}

/* The flag is the one result of body 0; it lies in the last slot of pong. */
static int run_while(VkExec *x, Frame *f, const Step *s, Frame *body)
{
    Bound b;
    int e = bound_new(&b, f, s) ? 0 : (int)error_code();
    Spot flag_mem = f->mem[s->pong[2 * s->ncarry]];
    const size_t one = 1;
    for (int64_t t = 0; !e; t++) {
        unsigned char flag = 0;
        e = run_body(x, &body[0], b.in, &flag_mem, &one, 0);
        e = e ? e : fetch(x, flag_mem, &flag, 1);
        if (e || !flag)
            break;
        for (int k = 0; k < s->ncarry; k++)
            b.out[k] = f->mem[s->pong[2 * k + (t & 1)]];
        e = run_body(x, &body[1], b.in, b.out, b.bytes, 0);
        for (int k = 0; k < s->ncarry; k++)
            b.in[s->ncap + k] = b.out[k];
    }
    for (int k = 0; k < s->ncarry && !e; k++)
        e = copy(x, b.in[s->ncap + k], f->mem[s->out[k]], b.bytes[k]);
    bound_drop(&b);
    return e;
}

static int run_branch(VkExec *x, Frame *f, const Step *s, Frame *body)
{
    Bound b;
    int32_t index = 0;
    int e = bound_new(&b, f, s) ? fetch(x, b.in[0], &index, sizeof index) : (int)error_code();
    index = index < 0 ? 0 : index >= s->nbody ? s->nbody - 1 : index;
    e = e ? e : run_body(x, &body[index], b.in + 1, b.out, b.bytes, 0);
    bound_drop(&b);
    return e;
}

static int run_plan(VkExec *x, Frame *f, int64_t step)
{
    int e = 0;
    for (int i = 0; i < f->plan->nstep && !e; i++) {
        const Step *s = &f->plan->step[i];
        switch (s->kind) {
        case S_LAUNCH: e = launch(x, f, s->kernel, step); break;
        case S_LOOP:   e = run_loop(x, f, s, f->body[i]); break;
        case S_WHILE:  e = run_while(x, f, s, f->body[i]); break;
        case S_BRANCH: e = run_branch(x, f, s, f->body[i]); break;
        case S_COPY:   e = copy(x, f->mem[s->in[0]], f->mem[s->out[0]], f->plan->slot[s->out[0]].bytes); break;
        }
    }
    return e;
}

/* Results that are an argument, or another result, share its memory: arrays never change. */
static int make_outputs(VkExec *x, Mem *const *in, int nout, Mem **out)
{
    for (int s = 0; s < x->plan->nslot; s++) {
        const Slot *slot = &x->plan->slot[s];
        if (slot->kind == SLOT_RESULT && !out[slot->index] && vk_alloc(x->base.device, slot->bytes, &out[slot->index]))
            return error_code();
    }
    for (int k = 0; k < nout; k++) {
        int a = x->plan->alias[k];
        if (a >= 0)
            out[k] = mem_keep(in[a]);
        else if (a <= -2)
            out[k] = mem_keep(out[-2 - a]);
        else if (!out[k] && vk_alloc(x->base.device, 0, &out[k]))       /* of size zero: no slot */
            return error_code();
    }
    return 0;
}

int vk_run(Exec *exec, int nin, Mem *const *in, int nout, Mem **out)
{
    VkExec *x = (VkExec *)exec;
    (void)nin;
    memset(out, 0, (size_t)nout * sizeof *out);
    int e = make_outputs(x, in, nout, out);
    if (!e && x->plan->nstep) {
        pthread_mutex_lock(&x->lock);
        for (int s = 0; s < x->plan->nslot; s++) {
            const Slot *slot = &x->plan->slot[s];
            if (slot->kind == SLOT_ARG)
                x->top->mem[s] = (Spot){ &((VkMem *)in[slot->index])->piece, 0 };
            else if (slot->kind == SLOT_RESULT)
                x->top->mem[s] = (Spot){ &((VkMem *)out[slot->index])->piece, 0 };
        }
        e = run_plan(x, x->top, 0);
        e = e ? e : flush(x);
        x->used = 0;
        x->stream.open = false;                 /* after an error: what was recorded is forgotten */
        pthread_mutex_unlock(&x->lock);
    }
    if (!e && error_pending())                  /* the validation layer has something to say */
        e = error_code();
    for (int k = 0; e && k < nout; k++)
        mem_drop(out[k]), out[k] = NULL;
    return e;
}
