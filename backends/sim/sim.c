/*
 * sim.c - the device sim:NAME: plans as every device gets them, whose kernels are run by a GPU in software.
 *
 * In:  a plan. Out: its results, or an error where a kernel does what it must not; and counts of what it
 * did. HEDDLE_SIM names the machines, which are in no list otherwise. Memory is the host's, and knows of
 * each byte whether it was ever written. Groups are run one after the other.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#include "reading.h"

typedef struct SimMem {
    Mem mem;
    SimPiece piece;
} SimMem;

typedef struct SimDevice {
    Device base;
    SimMachine machine;
    pthread_mutex_t lock; /* of the machine: one launch at a time */
    uint64_t next; /* address of the next memory */
} SimDevice;

typedef struct SimExec {
    Exec exec;
    Frame *frame;
    SimPiece **owned;
    int nowned, cap; /* temporaries and constants */
    SimKernel **kernel;
    int nkernel; /* by Kernel.id */
    Arena *arena;
} SimExec;

static SimDevice *device_of(Device *d) { return (SimDevice *)d; }
static SimPiece *piece_of(const Mem *m) { return &((SimMem *)(uintptr_t)m)->piece; }

/* ==================== memory */

static int piece_open(SimDevice *d, SimPiece *p, size_t n)
{
    *p = (SimPiece){ malloc(n + 16), calloc(n + 16, 1), n, 0 };
    if (!p->p || !p->known)
        return free(p->p), free(p->known),
               error_set(E_NOMEM, "%s: out of memory: %zu bytes asked for", d->base.info.name, n);
    /* where only some groups run, places are read that others would have written: none lies outside */
    memset(p->p, d->machine.sample ? 0 : 0xA5, n + 16);
    pthread_mutex_lock(&d->lock);
    p->address = d->next, d->next += (n + 2 * SLACK_BYTES + 4095) / 4096 * 4096;
    pthread_mutex_unlock(&d->lock);
    return 0;
}

static void piece_close(SimPiece *p) { free(p->p), free(p->known); }

static int alloc(Device *d, size_t n, Mem **out)
{
    SimMem *m = calloc(1, sizeof *m);
    *out = NULL;
    if (!m || piece_open(device_of(d), &m->piece, n))
        return free(m), error_set(E_NOMEM, "%s: out of memory", d->info.name);
    m->mem = (Mem){ .device = d, .bytes = n, .refs = 1 };
    *out = &m->mem;
    return 0;
}

static void release(Mem *m)
{
    piece_close(piece_of(m));
    free(m);
}

static int in_range(const Mem *m, size_t at, size_t n)
{
    return at > m->bytes || n > m->bytes - at ?
        error_set(E_INTERNAL, "sim: bytes %zu to %zu of a memory of %zu", at, at + n, m->bytes) :
        0;
}

static int put(Mem *m, size_t at, const void *p, size_t n)
{
    int e = in_range(m, at, n);
    if (!e && n)
        memcpy(piece_of(m)->p + at, p, n), memset(piece_of(m)->known + at, 1, n);
    return e;
}

static int get(Mem *m, size_t at, void *p, size_t n)
{
    int e = in_range(m, at, n);
    if (!e && n)
        memcpy(p, piece_of(m)->p + at, n);
    return e;
}

static int copied(Mem *to, Mem *from, const Strided *s)
{
    for (size_t k = 0; k < s->n; k++) {
        size_t a = s->from + k * s->from_step, b = s->to + k * s->to_step;
        int e = in_range(from, a, s->bytes);
        e = e ? e : in_range(to, b, s->bytes);
        if (e)
            return e;
        memmove(piece_of(to)->p + b, piece_of(from)->p + a, s->bytes);
        memmove(piece_of(to)->known + b, piece_of(from)->known + a, s->bytes);
    }
    return 0;
}

static int wait_for(Mem *m)
{
    (void)m;
    return 0;
}
static bool ready(Mem *m)
{
    (void)m;
    return true;
}
static const void *map(Mem *m) { return piece_of(m)->p; }
static Spot spot(Mem *m) { return (Spot){ piece_of(m), 0 }; }

/* ==================== steps */

static Spot place(void *x, const Slot *s)
{
    SimExec *e = x;
    if (e->nowned == e->cap) {
        int cap = e->cap ? 2 * e->cap : 16;
        SimPiece **p = realloc(e->owned, (size_t)cap * sizeof *p);
        if (!p)
            return error_set(E_NOMEM, "no memory for a program"), (Spot){ NULL, 0 };
        e->owned = p, e->cap = cap;
    }
    SimPiece *p = calloc(1, sizeof *p);
    if (!p || piece_open(device_of(e->exec.device), p, s->bytes))
        return free(p), (Spot){ NULL, 0 };
    if (s->kind == SLOT_CONST && s->data)
        memcpy(p->p, s->data, s->bytes), memset(p->known, 1, s->bytes);
    return (Spot){ e->owned[e->nowned++] = p, 0 };
}

static int launch(void *x, const Frame *f, const Kernel *k, int64_t step)
{
    SimExec *e = x;
    SimDevice *d = device_of(e->exec.device);
    SimPiece **param = calloc((size_t)k->nparam + 1, sizeof *param);
    size_t *at = calloc((size_t)k->nparam + 1, sizeof *at);
    SimKernel *sk = e->kernel[k->id];
    for (int p = 0; param && at && p < k->nparam; p++)
        param[p] = f->mem[k->param[p]->slot].buffer, at[p] = f->mem[k->param[p]->slot].at;
    const SimLaunch l = { sk->code, &d->machine, &sk->counts, param, at, step };
    pthread_mutex_lock(&d->lock);
    int r = param && at ? sim_launch(&l) : error_set(E_NOMEM, "no memory for a launch");
    pthread_mutex_unlock(&d->lock);
    free(param), free(at);
    return r;
}

static int copy(void *x, Spot from, Spot to, size_t n)
{
    SimPiece *a = from.buffer, *b = to.buffer;
    (void)x;
    if (n)
        memmove(b->p + to.at, a->p + from.at, n), memmove(b->known + to.at, a->known + from.at, n);
    return 0;
}

static int fetch(void *x, Spot from, void *out, size_t n)
{
    (void)x;
    if (n)
        memcpy(out, ((SimPiece *)from.buffer)->p + from.at, n);
    return 0;
}

static int store(void *x, Spot to, const void *p, size_t n)
{
    SimPiece *b = to.buffer;
    (void)x;
    if (n)
        memcpy(b->p + to.at, p, n), memset(b->known + to.at, 1, n);
    return 0;
}

static int settled(void *x)
{
    (void)x;
    return 0;
}
static const void *seen(void *x, Spot s)
{
    (void)x;
    return ((SimPiece *)s.buffer)->p + s.at;
}
static void away(void *x, bool is) { (void)x, (void)is; }

static const Replay steps = {
    launch, copy, fetch, store, settled, settled, settled, seen, away, NULL, NULL
};

/* ==================== programs */

static int run(Exec *exec, int nin, Mem *const *in, int nout, Mem **out)
{
    SimExec *e = (SimExec *)exec;
    (void)nin;
    int r = replay_outputs(exec->plan, exec->device, in, nout, out);
    r = r ? r : replay(&steps, exec->device, e, e->frame, in, out, spot);
    if (r)
        replay_forget(nout, out);
    else if (dump_wanted("counts")) {
        Text t = { 0 };
        sim_table(
            (const SimKernel *const *)e->kernel, e->nkernel, &device_of(exec->device)->machine.profile, &t);
        dump_text("counts", &t);
    }
    return r;
}

static void drop(Exec *exec)
{
    SimExec *e = (SimExec *)exec;
    replay_frame_drop(e->frame);
    for (int k = 0; k < e->nowned; k++)
        piece_close(e->owned[k]), free(e->owned[k]);
    free(e->owned);
    arena_drop(e->arena);
    free(e);
}

static Exec *build(Device *d, Plan *p)
{
    SimExec *e = calloc(1, sizeof *e);
    if (!e || !(e->arena = arena_new()))
        return free(e), error_set(E_NOMEM, "no memory for a program"), NULL;
    e->exec.device = d, e->exec.plan = p;
    Arena *before = arena_use(e->arena);
    e->frame = replay_frame(p, d, place, e);
    Kernel **list = NULL;
    plan_code(p, &list, &e->nkernel);
    e->kernel = NEWS(SimKernel *, e->nkernel);
    for (int k = 0; k < e->nkernel && e->frame; k++) {
        SimKernel *s = e->kernel[k] = NEW(SimKernel);
        *s = (SimKernel){ .name = list[k]->name, .code = sim_code(list[k], &device_of(d)->machine.profile) };
        for (int v = 1; v < list[k]->nins; v++) /* the line of what is stored last */
            s->loc = kop[list[k]->ins[v].op].is == KC_WRITE && list[k]->ins[v].loc.file ?
                list[k]->ins[v].loc :
                s->loc;
    }
    arena_use(before);
    if (!e->frame || error_pending())
        return drop(&e->exec), NULL;
    return &e->exec;
}

static int code(Exec *exec, Text *t)
{
    Kernel **k;
    int n;
    plan_kernels(exec->plan, &k, &n);
    for (int i = 0; i < n; i++)
        k_dump(k[i], t);
    return 0;
}

/* ==================== the device */

static Device *open_device(int index)
{
    SimDevice *d = calloc(1, sizeof *d);
    if (!d)
        return error_set(E_NOMEM, "out of host memory"), NULL;
    Profile *m = &d->machine.profile;
    DeviceInfo *i = &d->base.info;
    const char *sample = getenv("HEDDLE_SIM_GROUPS");
    if (profile_read(m, profile_name(index)))
        return free(d), NULL;
    d->base.backend = &sim_backend, d->next = 1 << 20;
    pthread_mutex_init(&d->lock, NULL);
    d->machine.sample = sample ? strtoll(sample, NULL, 10) : 0;
    d->machine.sample = d->machine.sample && d->machine.sample < 8 ? 8 : d->machine.sample;
    d->machine.l1 = calloc((size_t)m->cores, sizeof *d->machine.l1);
    d->machine.l2 = sim_cache_new(m->l2, m->line, m->sector);
    snprintf(i->name, sizeof i->name, "sim:%s", m->name);
    snprintf(i->model, sizeof i->model, "%s, simulated", m->name),
        snprintf(i->driver, sizeof i->driver, "none");
    i->kind = "sim", i->memory = i->max_alloc = (uint64_t)m->memory << 20;
    i->has_f16 = i->has_f64 = i->has_i64 = true;
    Machine *t = &i->machine;
    *t = machine_gpu;
    t->lanes = (int64_t)m->lanes, t->cores = (int64_t)m->cores, t->line = (int64_t)m->line;
    t->l1 = (int64_t)m->l1, t->l2 = (int64_t)m->l2, t->local_memory = (int64_t)m->local_group;
    t->group_items = (int64_t)m->group_items, t->core_items = (int64_t)(m->subgroups * m->lanes);
    t->core_registers = (int64_t)m->registers, t->core_local = (int64_t)m->local_memory;
    machine_follow(t);
    if (!d->machine.l1 || !d->machine.l2 || machine_override(t))
        return sim_backend.close(&d->base), NULL;
    return &d->base;
}

static void close_device(Device *device)
{
    SimDevice *d = device_of(device);
    for (int k = 0; d->machine.l1 && k < (int)d->machine.profile.cores; k++)
        sim_cache_drop(d->machine.l1[k]);
    free(d->machine.l1);
    sim_cache_drop(d->machine.l2);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

/* HEDDLE_SIM=machines/mine.txt: sim:mine. */
static const char *name(int index)
{
    static char base[16][24];
    const char *s = profile_name(index), *slash = strrchr(s, '/');
    s = slash ? slash + 1 : s;
    snprintf(base[index & 15], sizeof base[0], "%.*s", (int)strcspn(s, "."), s);
    return base[index & 15];
}

const Backend sim_backend = {
    .kind = "sim",
    .count = profile_count,
    .name = name,
    .open = open_device,
    .close = close_device,
    .alloc = alloc,
    .pin = alloc,
    .release = release,
    .write = put,
    .read = get,
    .copy = copied,
    .wait = wait_for,
    .ready = ready,
    .map = map,
    .build = build,
    .run = run,
    .drop = drop,
    .code = code,
};
