/*
 * values.h - for tests of graphs: dense arrays of numbers, and running a graph on them.
 *
 * In: a graph and an array for each input. Out: an array for each result. Numbers travel as double, whatever
 * the dtype.
 */
#ifndef HEDDLE_TEST_VALUES_H
#define HEDDLE_TEST_VALUES_H

#include <math.h>
#include <string.h>

#include "compile.h"
#include "backend.h"
#include "graph.h"

/* ==================== running: a device, and a graph on dense arrays */

static Device *device;

static inline bool device_use(const char *name)
{
    device = device_find(name);
    return device != NULL;
}

static inline Target target_of(const DeviceInfo *i)
{
    return (Target){ i->name, &i->machine, i->has_f64, i->has_i64, i->has_f16, i->no_fma64,
        (int64_t)i->max_alloc };
}

/* The host evaluates the graph itself; other devices build from a plan of it. */
static inline Exec *exec_of(const Graph *g)
{
    const DeviceInfo *i = &device->info;
    if (device->backend->build_graph)
        return device->backend->build_graph(device, g);
    Target *t = NEW(Target);
    *t = target_of(i);
    Plan *p = plan_schedule(g, t);
    return p && !error_pending() ? device->backend->build(device, p) : NULL;
}

static inline int run_bound(Exec *e, const Graph *g, const void *const *in, void *const *out)
{
    const Backend *b = device->backend;
    Mem **x = NEWS(Mem *, g->nin), **y = NEWS(Mem *, g->nout);
    int code = 0;
    for (int k = 0; k < g->nin && !code; k++) {
        size_t n = type_bytes(&g->type[g->in[k]]);
        code = b->alloc(device, n, &x[k]);
        code = code ? code : b->write(x[k], 0, in[k], n);
    }
    code = code ? code : b->run(e, g->nin, x, g->nout, y);
    for (int k = 0; k < g->nout && !code; k++)
        code = b->read(y[k], 0, out[k], type_bytes(&g->type[g->out[k]]));
    for (int k = 0; k < g->nin; k++)
        mem_drop(x[k]);
    for (int k = 0; k < g->nout; k++)
        mem_drop(y[k]);
    return code;
}

static inline int run_graph(const Graph *g, const void *const *in, void *const *out)
{
    Exec *e = exec_of(g);
    if (!e)
        return error_code();
    int code = run_bound(e, g, in, out);
    device->backend->drop(e);
    return code;
}

/* ==================== values on the host */

typedef struct Values { Type t; double *v; } Values;

static inline Values values_new(Type t)
{
    return (Values){ t, NEWS(double, type_size(&t)) };
}

/* Runs g; out: new values, one a result. */
static inline int evaluate(const Graph *g, const Values *in, Values *out)
{
    const void **x = NEWS(const void *, g->nin);
    void **y = NEWS(void *, g->nout);
    for (int k = 0; k < g->nin; k++) {
        const Type *t = &g->type[g->in[k]];
        if (!type_equal(t, &in[k].t))
            return error_set(E_INTERNAL, "argument %d is %s, not %s", k, type_text(&in[k].t), type_text(t));
        char *p = arena_alloc(type_bytes(t) + 1);
        for (int64_t j = 0; j < type_size(t); j++)
            dtype_store_f(t->dt, p + (size_t)j * dtype_size(t->dt), in[k].v[j]);
        x[k] = p;
    }
    for (int k = 0; k < g->nout; k++)
        y[k] = arena_alloc(type_bytes(&g->type[g->out[k]]) + 1);
    int code = run_graph(g, x, y);
    for (int k = 0; k < g->nout && !code; k++) {
        Type t = g->type[g->out[k]];
        out[k] = values_new(t);
        for (int64_t j = 0; j < type_size(&t); j++)
            out[k].v[j] = dtype_load_f(t.dt, (char *)y[k] + (size_t)j * dtype_size(t.dt));
    }
    return code;
}

static inline bool near(double a, double b, double scale, double tolerance)
{
    return a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= tolerance * (1 + scale);
}

static inline bool same(const double *a, const double *b, int64_t n, double tolerance)
{
    double scale = 0;
    for (int64_t k = 0; k < n; k++)
        scale = isfinite(b[k]) && fabs(b[k]) > scale ? fabs(b[k]) : scale;
    for (int64_t k = 0; k < n; k++)
        if (!near(a[k], b[k], scale, tolerance))
            return false;
    return true;
}

static inline bool all_same(const Values *a, const Values *b, int n, double tolerance)
{
    for (int k = 0; k < n; k++)
        if (!type_equal(&a[k].t, &b[k].t) || !same(a[k].v, b[k].v, type_size(&a[k].t), tolerance))
            return false;
    return true;
}

/* The worst place, for messages. */
static inline const char *difference(Values a, Values b)
{
    int64_t worst = 0;
    for (int64_t k = 0; k < type_size(&a.t) && type_equal(&a.t, &b.t); k++)
        if (!(fabs(a.v[k] - b.v[k]) <= fabs(a.v[worst] - b.v[worst])))
            worst = k;
    return arena_text(
        "%.17g, not %.17g, at %lld of %s", a.v[worst], b.v[worst], (long long)worst, type_text(&a.t));
}

#endif
