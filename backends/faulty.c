/*
 * faulty.c - failures of a backend's own calls on demand: HEDDLE_FAULT=KIND:CALL:N (fault.h), whatever the
 * vendor.
 *
 * In:  a backend's table.   Out: the same table, whose functions ask first whether they must fail.
 * It is put around a device when that is opened, and only if somebody has asked for failures by then; so it
 * costs nothing. What a plan's steps and the host's instructions do is not in the table: replay.c and host.c
 * ask for themselves.
 */
#include "fault.h"
#include "ranks.h"

#include <string.h>

/* What every backend is asked for. */
static const char *const asked[] = { "open", "compile", "alloc", "upload", "download", "launch", "copy",
    "wait", "exchange", NULL };

typedef struct Faulty { Backend table; const Backend *real; } Faulty;

static const Backend *real(const Device *d) { return ((const Faulty *)(const void *)d->backend)->real; }

static bool in_names(const char *const *names, const char *name)
{
    while (names && *names && strcmp(*names, name))
        names++;
    return names && *names;
}

static void add_names(Text *t, const char *const *names)
{
    for (; names && *names; names++)
        text_add(t, "%s%s", t->n ? ", " : "", *names);
}

void faults_known(const Backend *const *b, int n)
{
    const char *kind, *call;
    Text t = { 0 };
    int k = 0;
    if (!fault_asked(&kind, &call))
        return;
    bool mpi = !strcmp(kind, "mpi");
    while (k < n && strcmp(b[k]->kind, kind))
        k++;
    const char *const *one = mpi ? mail_calls : k < n ? asked : NULL,
                      *const *other = k < n ? b[k]->driver_calls : NULL;
    if (one && (!strcmp(call, "*") || in_names(one, call) || in_names(other, call)))
        return;
    for (int j = 0; !one && j < n; j++)
        add_names(&t, (const char *const[]){ b[j]->kind, NULL });
    add_names(&t, one), add_names(&t, other);
    fprintf(stderr, "heddle: HEDDLE_FAULT: there is no %s \"%s\", and nothing fails; there are: %s, %s\n",
        one ? "call" : "kind", one ? call : kind, t.s ? t.s : "", one ? "*" : "mpi");
    text_free(&t);
    fault_set(NULL);
}

int device_refuses(const Device *d, const char *call)
{
    if (!fault_due(d->backend->kind, call))
        return 0;
    return error_set(strcmp(call, "alloc") ? E_DEVICE : E_NOMEM, "%s: HEDDLE_FAULT lets a call fail: %s",
        d->info.name, call);
}

static int alloc(Device *d, size_t n, Mem **m)
{
    int e = device_fault(d, "alloc");
    return e ? e : real(d)->alloc(d, n, m);
}

static int pin(Device *d, size_t n, Mem **m)
{
    int e = device_fault(d, "alloc");
    return e ? e : real(d)->pin(d, n, m);
}

static int copy(Mem *to, Mem *from, const Strided *s)
{
    int e = device_fault(to->device, "copy");
    return e ? e : real(to->device)->copy(to, from, s);
}

static int write_(Mem *m, size_t at, const void *p, size_t n)
{
    int e = device_fault(m->device, "upload");
    return e ? e : real(m->device)->write(m, at, p, n);
}

static int read_(Mem *m, size_t at, void *p, size_t n)
{
    int e = device_fault(m->device, "download");
    return e ? e : real(m->device)->read(m, at, p, n);
}

static int wait_(Mem *m)
{
    int e = device_fault(m->device, "wait");
    return e ? e : real(m->device)->wait(m);
}

static Exec *build(Device *d, Plan *p) { return device_fault(d, "compile") ? NULL : real(d)->build(d, p); }

static Exec *begin(Device *d, Plan *p) { return device_fault(d, "compile") ? NULL : real(d)->begin(d, p); }

static Exec *again(Device *d, Plan *p) { return device_fault(d, "compile") ? NULL : real(d)->again(d, p); }

static Exec *build_graph(Device *d, const Graph *g)
{
    return device_fault(d, "compile") ? NULL : real(d)->build_graph(d, g);
}

Device *device_open(const Backend *b, int index)
{
    static Faulty table[8];                     /* under the lock of the list */
    int k = 0;
    if (fault(b->kind, "open"))
        return error_set(E_DEVICE, "%s:%d: HEDDLE_FAULT lets a call fail: open", b->kind, index), NULL;
    Device *d = b->open(index);
    if (!d || !fault_wanted)
        return d;
    while (table[k].real && table[k].real != b)
        k++;
    table[k] = (Faulty){ *b, b };
    table[k].table.alloc = alloc, table[k].table.pin = pin, table[k].table.copy = copy,
    table[k].table.write = write_, table[k].table.read = read_, table[k].table.wait = wait_;
    table[k].table.build = build, table[k].table.begin = b->begin ? begin : NULL;
    table[k].table.again = b->again ? again : NULL;
    table[k].table.build_graph = b->build_graph ? build_graph : NULL;
    d->backend = &table[k].table;
    return d;
}
