/*
 * host.c - the host reference: a device that evaluates the graph itself, instruction by instruction, each
 * exact and rounded once.
 *
 * In: a graph whose arena outlives the Exec. Out: the meaning of the program; every other backend is
 * measured against it, and it is what runs where there is no driver.
 */
#include "host.h"
#include "memory.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ALIGN = 64 };

/* ==================== memory */

typedef struct HostMem { Mem mem; void *p; } HostMem;

/* Room for n bytes, and never none. */
void *bytes_new(size_t n) { return memory_new("host", n, ALIGN); }

static HostMem *mem_of(Device *d, void *p, size_t bytes)
{
    HostMem *m = malloc(sizeof *m);
    if (!m) {
        error_set(E_NOMEM, "host: out of memory: %zu bytes asked for", sizeof *m);
        return NULL;
    }
    *m = (HostMem){ .mem = { .device = d, .bytes = bytes, .refs = 1 }, .p = p };
    return m;
}

static int host_alloc(Device *d, size_t n, Mem **out)
{
    void *p = bytes_new(n);
    HostMem *m = p ? mem_of(d, p, n) : NULL;
    *out = m ? &m->mem : NULL;
    if (!m)
        free(p);
    return m ? 0 : E_NOMEM;
}

static void host_release(Mem *mem)
{
    free(((HostMem *)mem)->p);
    free(mem);
}

static int in_range(const Mem *m, size_t offset, size_t n)
{
    if (offset > m->bytes || n > m->bytes - offset)
        return error_set(
            E_INTERNAL, "host: bytes %zu to %zu of a memory of %zu", offset, offset + n, m->bytes);
    return 0;
}

static int host_write(Mem *m, size_t offset, const void *p, size_t n)
{
    int err = in_range(m, offset, n);
    if (!err && n)
        memcpy((char *)((HostMem *)m)->p + offset, p, n);
    return err;
}

static int host_read(Mem *m, size_t offset, void *p, size_t n)
{
    int err = in_range(m, offset, n);
    if (!err && n)
        memcpy(p, (const char *)((HostMem *)m)->p + offset, n);
    return err;
}

static int host_copy(Mem *to, Mem *from, const Strided *s)
{
    for (size_t k = 0; k < s->n; k++)
        memcpy((char *)((HostMem *)to)->p + s->to + k * s->to_step,
            (const char *)((HostMem *)from)->p + s->from + k * s->from_step, s->bytes);
    return 0;
}

static int host_wait(Mem *m) { (void)m; return 0; }
static bool host_ready(Mem *m) { (void)m; return true; }
static const void *host_map(Mem *m) { return ((HostMem *)m)->p; }

/* ==================== executables */

static Exec *host_build_graph(Device *d, const Graph *g)
{
    HostExec *e = list_new(1, sizeof *e);
    if (!e)
        return NULL;
    e->exec.device = d;
    e->nan = check_wanted("nan");
    e->prog = prog_new(g);
    if (!e->prog) {
        free(e);
        return NULL;
    }
    return &e->exec;
}

static Exec *host_build(Device *d, Plan *p)
{
    (void)d, (void)p;
    error_set(E_INTERNAL, "host: runs graphs, not plans");
    return NULL;
}

static void host_drop(Exec *exec)
{
    prog_drop(((HostExec *)exec)->prog);
    free(exec);
}

static int host_code(Exec *exec, Text *t)
{
    graph_print(((HostExec *)exec)->prog->g, t);
    return 0;
}

static int bind_inputs(const Graph *g, int nin, Mem *const *in, Buf **x)
{
    if (nin != g->nin)
        return error_set(E_INTERNAL, "host: the program takes %d arguments, not %d", g->nin, nin);
    for (int k = 0; k < nin; k++) {
        const Type *t = &g->type[g->in[k]];
        if (in[k]->bytes < type_bytes(t))
            return error_set(E_INTERNAL, "host: argument %d has %zu bytes and should be %s", k, in[k]->bytes,
                             type_text(t));
        if (!(x[k] = buf_head(type_bytes(t), ((HostMem *)in[k])->p)))
            return E_NOMEM;
        x[k]->lent = true;
    }
    return 0;
}

/* A result's bytes become a memory; they are copied if somebody else has them too. Takes the value over. */
static int give(Device *d, Buf *b, Mem **out)
{
    HostMem *m = NULL;
    if (buf_mine(b)) {
        if ((m = mem_of(d, b->p, b->bytes)))
            b->lent = true;
        *out = m ? &m->mem : NULL;
    } else if (!host_alloc(d, b->bytes, out)) {
        m = (HostMem *)*out;
        if (b->bytes)
            memcpy(m->p, b->p, b->bytes);
    }
    buf_drop(b);
    return m ? 0 : E_NOMEM;
}

/* Memory of inputs and of results, as the device sees it and as buffers: hence the parameters. */
static int run_bound(HostExec *e, int nin, Mem *const *in, int nout, Mem **out, Buf **x, Buf **z)
{
    int err = bind_inputs(e->prog->g, nin, in, x);
    if (err) {
        bufs_drop(x, nin);
        return err;
    }
    err = run_graph(e, e->prog, x, z);
    for (int k = 0; !err && k < nout; k++) {
        err = give(e->exec.device, z[k], &out[k]);
        z[k] = NULL;
    }
    bufs_drop(z, nout);
    return err;
}

static int host_run(Exec *exec, int nin, Mem *const *in, int nout, Mem **out)
{
    HostExec *e = (HostExec *)exec;
    if (nout != e->prog->g->nout)
        return error_set(E_INTERNAL, "host: the program gives %d results, not %d", e->prog->g->nout, nout);
    for (int k = 0; k < nout; k++)
        out[k] = NULL;
    Buf **x = list_new((size_t)nin + (size_t)nout, sizeof *x);
    Arena *scratch = arena_new(), *before;      /* for what rules say in errors */
    int err = x && scratch ? 0 : E_NOMEM;
    if (!err) {
        before = arena_use(scratch);
        err = run_bound(e, nin, in, nout, out, x, x + nin);
        arena_use(before);
    }
    for (int k = 0; err && k < nout; k++)
        if (out[k])
            mem_drop(out[k]), out[k] = NULL;
    arena_drop(scratch);
    free(x);
    return err;
}

/* ==================== the device */

static void cpu_model(char *to, size_t n)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "r");
    snprintf(to, n, "CPU");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (!colon || strncmp(line, "model name", 10))
            continue;
        colon[strcspn(colon, "\n")] = 0;
        snprintf(to, n, "%s", colon + (colon[1] == ' ' ? 2 : 1));
        break;
    }
    if (f)
        fclose(f);
}

/* Several are the same processor: what runs over many devices can be tried without them. */
static int host_count(void)
{
    const char *s = getenv("HEDDLE_HOST_DEVICES");
    long n = s ? strtol(s, NULL, 10) : 1;
    return n < 1 ? 1 : n > HOST_DEVICES ? HOST_DEVICES : (int)n;
}

static const char *host_missing(void) { return NULL; }

static Device *host_open(int index)
{
    Device *d = list_new(1, sizeof *d);
    if (!d)
        return NULL;
    d->backend = &host_backend;
    DeviceInfo *i = &d->info;
    snprintf(i->name, sizeof i->name, index ? "host:%d" : "host", index);
    snprintf(i->driver, sizeof i->driver, "reference evaluator");
    cpu_model(i->model, sizeof i->model);
    i->kind = "host";
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    i->memory = i->max_alloc = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
    i->is_cpu = i->has_f16 = i->has_f64 = i->has_i64 = true;
    return d;
}

static void host_close(Device *d) { free(d); }

const Backend host_backend = {
    .kind = "host",
    .count = host_count,
    .missing = host_missing,
    .open = host_open,
    .close = host_close,
    .alloc = host_alloc,
    .pin = host_alloc,
    .release = host_release,
    .write = host_write,
    .read = host_read,
    .copy = host_copy,
    .wait = host_wait,
    .ready = host_ready,
    .map = host_map,
    .build = host_build,
    .build_graph = host_build_graph,
    .run = host_run,
    .drop = host_drop,
    .code = host_code,
};
