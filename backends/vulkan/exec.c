/*
 * exec.c - executables: a plan as pipelines, and its runs.
 *
 * In:  Plan, then memories.   Out: memories that are computed.
 * A pipeline a kernel (code.c). A run records its commands with a barrier behind each, submits them where
 * the host must read something (a condition) and at its end, and waits. What kernels need to know of a
 * launch lies in the table: the addresses of its parameters. A full table is submitted, waited for, and
 * begun again.
 * The table's first word is set by loops that the driver ended before their time (spirv_loop.c).
 * Runs of an executable are one after the other: its arena of temporaries and its table are theirs in turn.
 */
#include "jobs.h"
#include "reading.h"
#include "replay.h"
#include "vk.h"

#include <stdlib.h>
#include <string.h>

enum { TABLE = 1 << 16, HEAD = 8 };

typedef struct VkExec {
    Exec base;
    Plan *plan;
    Frame *top;
    Kernel **list; int nkernel;                 /* by Kernel.id */
    Units code;
    Reading *reading;                           /* tier 0, until there is code; NULL: it is, or must be */
    _Atomic bool compiled;                      /* it has pipelines, a frame and all that they need */
    VkPiece **owned; int nowned, owned_cap;     /* everything to release */
    VkPiece *arena, *table; size_t used;
    VkStream stream;
    bool apart;                                 /* its commands run, and what moves goes beside them */
    pthread_mutex_t lock;
} VkExec;

static VkDev *device_of(const VkExec *x) { return (VkDev *)x->base.device; }

/* ---- building ---- */

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

/* Temporaries are places in one arena; each is an allocation of its own where the arena is too large for
 * one, and under HEDDLE_CHECK=buffers. */
static Spot place(void *exec, const Slot *s)
{
    VkExec *x = exec;
    if (s->kind == SLOT_TEMP && x->arena)
        return (Spot){ x->arena, s->offset };
    return (Spot){ s->kind == SLOT_CONST ? constant(x, s) : piece(x, s->bytes, false), 0 };
}

/* With the code there, and the lock held where others may see it: memory that stays. */
static int complete(VkExec *x)
{
    VkDev *d = device_of(x);
    const Plan *p = x->plan;
    if (p->bytes && p->bytes + 8 * SLACK_BYTES < d->base.info.max_alloc && !check_wanted("buffers") &&
        !x->arena && !(x->arena = piece(x, p->bytes, false)))
        return (int)error_code();
    if (!x->top && !(x->top = replay_frame(p, &d->base, place, x)))
        return (int)error_code();
    if (!x->table && !(x->table = piece(x, TABLE, true)))
        return (int)error_code();
    memset(x->table->host, 0, x->used = HEAD);
    if (!x->stream.pool && !vk_stream_new(d, &x->stream))
        return (int)error_code();
    if (dump_wanted("time"))
        units_tell(&x->code, x->list);
    x->compiled = true;
    return 0;
}

/* Until its code is there, or to see whether it is. 0, NOT_YET, or an error. */
static int come_to_code(VkExec *x, bool wait)
{
    if (x->compiled)
        return 0;
    pthread_mutex_lock(&x->lock);
    int e = x->compiled ? 0 : units_finish(&x->code, wait);
    e = e || x->compiled ? e : complete(x);
    pthread_mutex_unlock(&x->lock);
    return e;
}

static bool code_ready(void *exec) { return come_to_code(exec, false) != NOT_YET; }

int vk_finish(Exec *exec) { return come_to_code((VkExec *)exec, true); }

/* Reading gives the same bits where the device computes all numbers as the standard says. */
static bool may_read(const VkDev *d, const Plan *p)
{
    const bool *exact = d->caps.keeps_denormals;
    return exact[0] && (exact[1] || !d->caps.f64) && jobs_possible() && tier0_possible(p);
}

static VkExec *exec_new(Device *dev, Plan *p)
{
    VkExec *x = calloc(1, sizeof *x);
    if (!x)
        return error_set(E_NOMEM, "no memory for a program"), NULL;
    pthread_mutex_init(&x->lock, NULL);
    x->base.device = dev;
    x->plan = p;
    plan_code(p, &x->list, &x->nkernel);
    return x;
}

/* e: how it began. */
static Exec *started(VkExec *x, int e)
{
    if (x && !e && !error_pending())
        return &x->base;
    if (x)
        vk_drop(&x->base);
    return NULL;
}

static Exec *start(Device *dev, Plan *p, bool wait)
{
    VkDev *d = (VkDev *)dev;
    VkExec *x = exec_new(dev, p);
    int e = x ? vk_code_open(&x->code, d, x->list, x->nkernel, false) : (int)error_code();
    wait = wait || e || !may_read(d, p) || !tier0_pays(p, units_expected(&x->code));
    if (!e)
        vk_code_begin(&x->code, wait);
    e = e ? e : come_to_code(x, wait);
    if (e == NOT_YET && dump_wanted("time"))
        fprintf(stderr, "---- time tier 0: %d kernels are read while they are compiled\n", x->nkernel);
    if (e == NOT_YET)
        e = (x->reading = reading_new(p, dev, code_ready, x)) ? 0 : (int)error_code();
    return started(x, e);
}

Exec *vk_build(Device *d, Plan *p) { return start(d, p, true); }
Exec *vk_begin(Device *d, Plan *p) { return start(d, p, false); }

Exec *vk_again(Device *dev, Plan *p)
{
    VkExec *x = exec_new(dev, p);
    int e = x ? vk_code_open(&x->code, (VkDev *)dev, x->list, x->nkernel, true) : (int)error_code();
    return started(x, e ? e : come_to_code(x, true));
}

void vk_drop(Exec *exec)
{
    VkExec *x = (VkExec *)exec;
    VkDev *d = device_of(x);
    vk_stream_drop(d, &x->stream);
    units_drop(&x->code);
    reading_drop(x->reading);
    replay_frame_drop(x->top);
    for (int i = 0; i < x->nowned; i++) {
        vk_piece_drop(d, x->owned[i]);
        free(x->owned[i]);
    }
    free(x->owned);
    pthread_mutex_destroy(&x->lock);
    free(x);
}

/* The words, a byte as two digits: `xxd -r -p | spirv-dis` reads a kernel's. */
int vk_code(Exec *exec, Text *t)
{
    const VkExec *x = (const VkExec *)exec;
    for (int k = 0; k < x->nkernel; k++) {
        const VkWords w = vk_code_words(&x->code, k);
        spirv_text(x->list[k]->name, w.word, w.n, vk_code_local(&x->code, k), t);
    }
    return 0;
}

/* ---- running ---- */

static int waited(VkExec *x)
{
    VkDev *d = device_of(x);
    volatile uint32_t *cut = (volatile uint32_t *)(void *)x->table->host;
    x->used = HEAD;
    int e = vk_stream_wait(d, &x->stream);
    bool ended = *cut;
    *cut = 0;
    if (e || !ended)
        return e;
    return error_set(E_DEVICE,
        "%s: the driver ends loops after %d turns, and a kernel has more of them; choose "
        "another device",
        d->base.info.name, d->caps.loop_limit);
}

static int flush(VkExec *x)
{
    int e = vk_stream_start(device_of(x), &x->stream);
    return e ? e : waited(x);
}

/* The addresses of a launch's parameters: where in the table they lie. 0 after an error. */
static uint64_t tabulate(VkExec *x, const Frame *f, const Kernel *k)
{
    size_t n = (size_t)(k->nparam + 1) * sizeof(uint64_t);
    if (n > TABLE - HEAD)
        return error_set(E_INTERNAL, "kernel %s has %d parameters", k->name, k->nparam), 0;
    if (x->used + n > TABLE && flush(x))
        return 0;
    uint64_t *to = (uint64_t *)(void *)(x->table->host + x->used);
    for (int i = 0; i < k->nparam; i++) {
        const Spot *s = &f->mem[k->param[i]->slot];
        const VkPiece *p = s->buffer;
        to[i] = p ? p->address + s->at : 0;
    }
    to[k->nparam] = x->table->address;
    uint64_t at = x->table->address + x->used;
    x->used += n;
    return at;
}

/* Dispatches have a most number of work-groups: more are several parts of the grid. */
static void dispatch(VkExec *x, VkCommandBuffer c, const int64_t n[3], const int64_t size[3], Pushed *p)
{
    VkDev *d = device_of(x);
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

static int launch(void *exec, const Frame *f, const Kernel *k, int64_t step)
{
    VkExec *x = exec;
    VkDev *d = device_of(x);
    Pushed p = { .table = tabulate(x, f, k), .step = (int32_t)step };
    int64_t n[3] = { 1, 1, 1 }, size[3] = { vk_code_local(&x->code, k->id), 1, 1 };
    VkCommandBuffer c = p.table ? vk_stream_open(d, &x->stream) : NULL;
    if (!c)
        return error_code();
    for (int i = 0; i < k->ngrid; i++) {
        n[i] = k->grid[i].n;
        size[i] = i && k->grid[i].group ? k->grid[i].group : size[i];
    }
    d->f.CmdBindPipeline(c, VK_PIPELINE_BIND_POINT_COMPUTE, vk_code_pipeline(&x->code, k->id));
    dispatch(x, c, n, size, &p);
    vk_barrier(d, c);
    return 0;
}

static int copy(void *exec, Spot from, Spot to, size_t bytes)
{
    VkExec *x = exec;
    VkDev *d = device_of(x);
    const VkPiece *a = from.buffer, *b = to.buffer;
    if (x->apart)
        return vk_piece_copy(d, b, a, &(Strided){ .from = from.at, .to = to.at, .bytes = bytes, .n = 1 });
    VkCommandBuffer c = vk_stream_open(d, &x->stream);
    if (!c)
        return error_code();
    const VkBufferCopy r = { a->at + from.at, b->at + to.at, bytes };
    d->f.CmdCopyBuffer(c, a->buffer, b->buffer, 1, &r);
    vk_barrier(d, c);
    return 0;
}

static int fetch(void *exec, Spot from, void *out, size_t bytes)
{
    VkExec *x = exec;
    int e = x->apart ? 0 : flush(x);
    return e ? e : vk_piece_read(device_of(x), from.buffer, from.at, out, bytes);
}

static int settle(void *exec) { return flush(exec); }

static int apart(void *exec)
{
    VkExec *x = exec;
    int e = vk_stream_start(device_of(x), &x->stream);
    x->apart = !e;
    return e;
}

static int joined(void *exec)
{
    VkExec *x = exec;
    x->apart = false;
    return waited(x);
}

static const void *seen(void *exec, Spot s)
{
    const VkPiece *p = s.buffer;
    (void)exec;
    return p->host ? p->host + s.at : NULL;
}

/* What was recorded before has ended, but for copies of the same exchange to other places. */
static int store(void *exec, Spot to, const void *bytes, size_t n)
{
    VkExec *x = exec;
    return vk_piece_write(device_of(x), to.buffer, to.at, bytes, n);
}

static void away(void *exec, bool is) { (void)exec, (void)is; }

static const Replay steps = { launch, copy, fetch, store, settle, apart, joined, seen, away, NULL, NULL };

static Spot spot(Mem *m) { return (Spot){ &((VkMem *)m)->piece, 0 }; }

/* A call of tier 0. Whatever goes wrong, the device is to say. */
static bool read_through(VkExec *x, int nin, Mem *const *in, int nout, Mem **out)
{
    if (!x->reading || come_to_code(x, false) != NOT_YET)
        return false;
    if (!tier0_run(x->reading, nin, in, nout, out))
        return true;
    error_clear();
    return false;
}

int vk_run(Exec *exec, int nin, Mem *const *in, int nout, Mem **out)
{
    VkExec *x = (VkExec *)exec;
    int e = replay_outputs(x->plan, exec->device, in, nout, out);
    if (!e && !x->compiled && read_through(x, nin, in, nout, out))
        return 0;
    e = e ? e : come_to_code(x, true);
    if (!e && x->plan->nstep) {
        pthread_mutex_lock(&x->lock);
        e = replay(&steps, exec->device, x, x->top, in, out, spot);
        e = e ? e : flush(x);
        x->used = HEAD;
        x->stream.open = false;                 /* after an error: what was recorded is forgotten */
        pthread_mutex_unlock(&x->lock);
    }
    if (!e && error_pending())                  /* the validation layer has something to say */
        e = error_code();
    if (e)
        replay_forget(nout, out);
    return e;
}
