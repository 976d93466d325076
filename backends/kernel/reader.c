/*
 * reader.c - the device `kernel`: plans as every device gets them, whose kernels are read instruction by
 * instruction (graph/kernel/run.c).
 *
 * In:  a plan. Out: its results, or an error where a kernel does what it must not: reads or writes outside
 * of a buffer, two work-items
 *      that race.
 * A third opinion for tests, beside the host, which knows no plans, and drivers, which forgive much. It is
 * in no list: who names it gets it (`--device kernel`, HEDDLE_DEVICE=kernel). It plans for a processor, or
 * for what HEDDLE_MACHINE says. Memory is the host's. A temporary has an allocation of its own, so that an
 * overrun meets nobody else.
 */
#include "backend.h"
#include "graph.h"
#include "replay.h"
#include "run.h"

#include <stdlib.h>
#include <string.h>

typedef struct ReaderExec {
    Exec exec;
    Frame *frame;
    void **owned; int nowned, cap;              /* temporaries */
    pthread_mutex_t lock;                       /* they serve one run at a time */
} ReaderExec;

/* ==================== memory: the host's */

static int alloc(Device *d, size_t n, Mem **m) { return host_backend.alloc(d, n, m); }
static void release(Mem *m) { host_backend.release(m); }
static int put(Mem *m, size_t at, const void *p, size_t n) { return host_backend.write(m, at, p, n); }
static int get(Mem *m, size_t at, void *p, size_t n) { return host_backend.read(m, at, p, n); }
static int wait_for(Mem *m) { (void)m; return 0; }
static bool ready(Mem *m) { (void)m; return true; }
static const void *map(Mem *m) { return host_backend.map(m); }

static Spot spot(Mem *m) { return (Spot){ (void *)(uintptr_t)host_backend.map(m), 0 }; }
static char *bytes_at(Spot s) { return (char *)s.buffer + s.at; }

static Spot place(void *x, const Slot *s)
{
    ReaderExec *e = x;
    if (s->kind == SLOT_CONST && s->data)
        return (Spot){ (void *)(uintptr_t)s->data, 0 };
    if (e->nowned == e->cap) {
        int cap = e->cap ? 2 * e->cap : 16;
        void **p = realloc(e->owned, (size_t)cap * sizeof *p);
        if (!p)
            return error_set(E_NOMEM, "no memory for a program"), (Spot){ NULL, 0 };
        e->owned = p, e->cap = cap;
    }
    void *p = malloc(s->bytes + 16);
    if (!p)
        return error_set(E_NOMEM, "no memory for a program"), (Spot){ NULL, 0 };
    memset(p, 0xA5, s->bytes);                  /* nothing may depend on what is there */
    return (Spot){ e->owned[e->nowned++] = p, 0 };
}

/* ==================== running */

/* A function of f64, as the host has it. */
static void call(int op, int n, const double *x, double *out)
{
    const Type t = type_scalar(DT_F64), *types[] = { &t, &t, &t };
    const void *in[] = { &x[0], &x[1], &x[2] };
    void *z[] = { out };
    const Ins i = { .op = (uint16_t)op, .nin = n, .nout = 1 };
    optab[op].rules->eval(&i, types, in, &t, z);
}

static int launch(void *x, const Frame *f, const Kernel *k, int64_t step)
{
    (void)x;
    void **param = calloc((size_t)k->nparam + 1, sizeof *param);
    if (!param)
        return error_set(E_NOMEM, "no memory for a launch");
    for (int n = 0; n < k->nparam; n++)
        param[n] = bytes_at(f->mem[k->param[n]->slot]);
    int e = k_run(k, &(KLaunch){ param, step, call });
    free(param);
    return e;
}

static int copy(void *x, Spot from, Spot to, size_t n)
{
    (void)x;
    if (n)
        memmove(bytes_at(to), bytes_at(from), n);
    return 0;
}

static int fetch(void *x, Spot from, void *out, size_t n)
{
    (void)x;
    if (n)
        memcpy(out, bytes_at(from), n);
    return 0;
}

static int store(void *x, Spot to, const void *p, size_t n)
{
    (void)x;
    if (n)
        memcpy(bytes_at(to), p, n);
    return 0;
}

static int settled(void *x) { (void)x; return 0; }
static const void *seen(void *x, Spot s) { (void)x; return bytes_at(s); }

static void away(void *x, bool is)
{
    ReaderExec *e = x;
    if (is)
        pthread_mutex_unlock(&e->lock);
    else
        pthread_mutex_lock(&e->lock);
}

static int run(Exec *exec, int nin, Mem *const *in, int nout, Mem **out)
{
    static const Replay steps = { launch, copy, fetch, store, settled, seen, away };
    ReaderExec *e = (ReaderExec *)exec;
    (void)nin;
    if (replay_outputs(exec->plan, exec->device, in, nout, out)) {
        replay_forget(nout, out);
        return (int)error_code();
    }
    pthread_mutex_lock(&e->lock);
    int code = replay(&steps, exec->device, e, e->frame, in, out, spot);
    pthread_mutex_unlock(&e->lock);
    if (code)
        replay_forget(nout, out);
    return code;
}

/* ==================== programs and the device */

static void drop(Exec *exec)
{
    ReaderExec *e = (ReaderExec *)exec;
    replay_frame_drop(e->frame);
    for (int k = 0; k < e->nowned; k++)
        free(e->owned[k]);
    free(e->owned);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

static Exec *build(Device *d, Plan *p)
{
    ReaderExec *e = calloc(1, sizeof *e);
    if (!e)
        return error_set(E_NOMEM, "no memory for a program"), NULL;
    pthread_mutex_init(&e->lock, NULL);
    e->exec.device = d, e->exec.plan = p;
    if (!(e->frame = replay_frame(p, d, place, e)))
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

static int count(void) { return 1; }

static Device *open_device(int index)
{
    (void)index;
    Device *d = calloc(1, sizeof *d);
    if (!d)
        return error_set(E_NOMEM, "out of host memory"), NULL;
    d->backend = &kernel_backend;
    DeviceInfo *i = &d->info;
    snprintf(i->name, sizeof i->name, "kernel"), snprintf(i->model, sizeof i->model, "reader of kernels");
    snprintf(i->driver, sizeof i->driver, "none");
    i->kind = "kernel", i->memory = i->max_alloc = UINT64_C(1) << 32, i->machine = machine_processor;
    i->is_cpu = i->has_f16 = i->has_f64 = i->has_i64 = true;
    if (machine_override(&i->machine))
        return free(d), NULL;
    return d;
}

static void close_device(Device *d) { free(d); }

const Backend kernel_backend = {
    .kind = "kernel",
    .hidden = true,
    .count = count,
    .open = open_device,
    .close = close_device,
    .alloc = alloc,
    .release = release,
    .write = put,
    .read = get,
    .wait = wait_for,
    .ready = ready,
    .map = map,
    .build = build,
    .run = run,
    .drop = drop,
    .code = code,
};
