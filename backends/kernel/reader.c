/*
 * reader.c - the device `kernel`: plans as every device gets them, whose kernels are read instruction by
 * instruction (graph/kernel/run.c).
 *
 * In:  a plan. Out: its results, or an error where a kernel does what it must not: reads or writes outside
 * of a buffer, two work-items
 *      that race.
 * A third opinion for tests, beside the host, which knows no plans, and drivers, which forgive much. It is
 * in no list: who names it gets it (`--device kernel`, HEDDLE_DEVICE=kernel). It plans for a processor, or
 * for what HEDDLE_MACHINE says. Memory is the host's.
 */
#include "backend.h"
#include "graph.h"
#include "reading.h"

#include <stdlib.h>
#include <string.h>

typedef struct ReaderExec {
    Exec exec;
    Reading *reading;
} ReaderExec;

/* ==================== memory: the host's */

static int alloc(Device *d, size_t n, Mem **m) { return host_backend.alloc(d, n, m); }
static void release(Mem *m) { host_backend.release(m); }
static int put(Mem *m, size_t at, const void *p, size_t n) { return host_backend.write(m, at, p, n); }
static int get(Mem *m, size_t at, void *p, size_t n) { return host_backend.read(m, at, p, n); }
static int copied(Mem *to, Mem *from, const Strided *s) { return host_backend.copy(to, from, s); }
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
static const void *map(Mem *m) { return host_backend.map(m); }

static Spot spot(Mem *m) { return (Spot){ (void *)(uintptr_t)host_backend.map(m), 0 }; }
/* ==================== running */

static int run(Exec *exec, int nin, Mem *const *in, int nout, Mem **out)
{
    (void)nin;
    int e = replay_outputs(exec->plan, exec->device, in, nout, out);
    e = e ? e : reading_run(((ReaderExec *)exec)->reading, in, out, spot);
    if (e)
        replay_forget(nout, out);
    return e;
}

/* ==================== programs and the device */

static void drop(Exec *exec)
{
    reading_drop(((ReaderExec *)exec)->reading);
    free(exec);
}

static Exec *build(Device *d, Plan *p)
{
    ReaderExec *e = calloc(1, sizeof *e);
    if (!e)
        return error_set(E_NOMEM, "no memory for a program"), NULL;
    e->exec.device = d, e->exec.plan = p;
    if (!(e->reading = reading_new(p, d, NULL, NULL)))
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
    i->is_cpu = i->has_f16 = true;
    i->has_f64 = i->has_i64 = !check_wanted("narrow");
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
