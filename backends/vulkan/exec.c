/*
 * exec.c - executables: a plan as pipelines, and its runs.
 *
 * In:  Plan, then memories.   Out: memories that are computed.
 * A pipeline a kernel. A run records its commands with a barrier behind each, submits them where the host
 * must read something (a condition) and at its end, and waits. What kernels need to know of a launch lies in
 * the table: the addresses of its parameters. A full table is submitted, waited for, and begun again.
 * The table's first word is set by loops that the driver ended before their time (spirv_loop.c).
 * Runs of an executable are one after the other: its arena of temporaries and its table are theirs in turn.
 */
#include "replay.h"
#include "vk.h"

#include <stdlib.h>
#include <string.h>

enum { TABLE = 1 << 16, HEAD = 8 };

typedef struct Entry { VkPipeline pipeline; uint32_t *words; size_t n; int local; const char *name; } Entry;

typedef struct VkExec {
    Exec base;
    Plan *plan;
    Frame *top;
    Entry *code; int ncode;                      /* by Kernel.id */
    VkPiece **owned; int nowned, owned_cap;     /* everything to release */
    VkPiece *arena, *table; size_t used;
    VkStream stream;
    bool apart;                                 /* its commands run, and what moves goes beside them */
    pthread_mutex_t lock;
} VkExec;

static VkDev *device_of(const VkExec *x) { return (VkDev *)x->base.device; }

/* ---- building ---- */

static int build_code(VkExec *x, Kernel **list)
{
    VkDev *d = device_of(x);
    VkKept kept;
    uint64_t code[2] = { 1, 2 };
    bool whole = true;
    for (int k = 0; k < x->ncode; k++) {
        Entry *c = &x->code[k];
        c->name = list[k]->name;
        if (spirv_write(list[k], &d->caps, &c->words, &c->n, &c->local))
            return error_code();
        if (check_stage("spirv") && spirv_check(c->name, c->words, c->n))
            return error_code();
        for (int h = 0; h < 2; h++)
            code[h] = hash_bytes(c->words, 4 * c->n, code[h]);
    }
    vk_kept_open(d, &kept, code);
    for (int k = 0; k < x->ncode && whole; k++) {
        Entry *c = &x->code[k];
        whole = (c->pipeline = vk_pipeline(d, &kept, c->name, c->words, c->n)) != VK_NULL_HANDLE;
    }
    vk_kept_close(d, &kept, whole);
    return whole ? 0 : (int)error_code();
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

/* Temporaries are places in one arena; each is an allocation of its own where the arena is too large for
 * one, and under HEDDLE_CHECK=buffers. */
static Spot place(void *exec, const Slot *s)
{
    VkExec *x = exec;
    if (s->kind == SLOT_TEMP && x->arena)
        return (Spot){ x->arena, s->offset };
    return (Spot){ s->kind == SLOT_CONST ? constant(x, s) : piece(x, s->bytes, false), 0 };
}

static bool build(VkExec *x, Plan *p)
{
    VkDev *d = device_of(x);
    Kernel **list;
    plan_code(p, &list, &x->ncode);
    x->code = calloc((size_t)x->ncode + 1, sizeof *x->code);
    if (!x->code)
        return error_set(E_NOMEM, "no memory for a program"), false;
    if (build_code(x, list))
        return false;
    if (p->bytes && p->bytes + 8 * SLACK_BYTES < d->base.info.max_alloc && !check_wanted("buffers") &&
        !(x->arena = piece(x, p->bytes, false)))
        return false;
    if (!(x->top = replay_frame(p, &d->base, place, x)) || !(x->table = piece(x, TABLE, true)))
        return false;
    memset(x->table->host, 0, x->used = HEAD);
    return vk_stream_new(d, &x->stream);
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
        if (x->code[k].pipeline && !d->lost)
            d->f.DestroyPipeline(d->device, x->code[k].pipeline, NULL);
        free(x->code[k].words);
    }
    replay_frame_drop(x->top);
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
        spirv_text(c->name, c->words, c->n, c->local, t);
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

static int launch(void *exec, const Frame *f, const Kernel *k, int64_t step)
{
    VkExec *x = exec;
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

static const Replay steps = { launch, copy, fetch, store, settle, apart, joined, seen, away };

static Spot spot(Mem *m) { return (Spot){ &((VkMem *)m)->piece, 0 }; }

int vk_run(Exec *exec, int nin, Mem *const *in, int nout, Mem **out)
{
    VkExec *x = (VkExec *)exec;
    (void)nin;
    int e = replay_outputs(x->plan, exec->device, in, nout, out);
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
