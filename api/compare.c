/*
 * compare.c - a program on the host and on a device, and the distance between their results; hd_compare.
 *
 * In: compare.h. The host runs the program three times, twice with roundings of its own; the device once.
 */
#include "compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ==================== distances */

/* A float's place on the number line of its dtype, zeros at 0. */
static int64_t ordered(Dtype dt, const void *p)
{
    int64_t bits = dtype_load_i(dt, p);
    int w = (int)(8 * dtype_size(dt));
    uint64_t mask = ((uint64_t)1 << (w - 1)) - 1;
    int64_t mag = (int64_t)((uint64_t)bits & mask);
    return (uint64_t)bits >> (w - 1) & 1 ? -mag : mag;
}

static double unit_of(Dtype dt)
{
    return dt == DT_F16 ? 0x1p-10 : dt == DT_BF16 ? 0x1p-7 : dt == DT_F32 ? 0x1p-23 : 0x1p-52;
}
static double least_of(Dtype dt) { return dt == DT_F16 ? 0x1p-24 : dt == DT_F64 ? 0x1p-1022 : 0x1p-126; }

static int bar_of(double ulp)
{
    int k = 0;
    while (ulp >= 1 && k < GAP_BARS - 1)
        ulp /= 2, k++;
    return k;
}

/* Numbers of one element: what is there, what should be, and what it is with roundings. */
typedef struct Four {
    double got, want, shaken[COMPARE_RUNS], size;
    int64_t ulp;
} Four;

/* In roundings; infinite where no rounding explains it. */
static double roundings(const Four *f, Dtype dt)
{
    double slack = 0, d = fabs(f->got - f->want);
    if (f->got == f->want || (isnan(f->got) && isnan(f->want)))
        return 0;
    for (int k = 0; k < COMPARE_RUNS; k++) {
        double s = fabs(f->shaken[k] - f->want);
        if (isnan(s) && !(isinf(f->want) && f->shaken[k] == f->want))
            return 0; /* with roundings it is no number, or another infinity */
        slack = s > slack ? s : slack;
    }
    if (isinf(slack))
        return 0;
    if (isnan(d) || isinf(d))
        return INFINITY;
    if (dtype_float(dt))
        slack += unit_of(dt) * fabs(f->size) + least_of(dt);
    return slack > 0 ? d / slack : INFINITY;
}

static void gap_add(Gap *g, const Four *f, Dtype dt, int64_t at)
{
    double d = fabs(f->got - f->want), r = roundings(f, dt), ulp = (double)f->ulp;
    if (isnan(f->got) != isnan(f->want))
        g->nan++, ulp = d = INFINITY;
    else if (isnan(f->got) || f->got == f->want)
        ulp = d = 0;
    double rel = d == 0 ? 0 : d / fabs(f->want);
    g->ulp = ulp > g->ulp ? ulp : g->ulp;
    g->absolute = d > g->absolute ? d : g->absolute;
    g->relative = rel > g->relative ? rel : g->relative;
    g->bar[bar_of(ulp)]++;
    if (r > g->roundings || (d > 0 && g->at < 0))
        g->roundings = r > g->roundings ? r : g->roundings, g->at = at, g->got = f->got, g->want = f->want;
}

static double as_number(Dtype dt, const char *p)
{
    int64_t i;
    if (dtype_float(dt))
        return dtype_load_f(dt, p);
    i = dtype_load_i(dt, p);
    return dt == DT_U64 ? (double)(uint64_t)i : (double)i;
}

/* Complex numbers are their parts, keys their words. */
static Gap gap_of(const Type *t, const char *got, const char *want, char *const *shaken)
{
    Dtype dt = t->dt == DT_KEY ? DT_U32 : dtype_part((Dtype)t->dt);
    size_t width = dtype_size(dt), parts = dtype_size((Dtype)t->dt) / width;
    int64_t n = type_size(t) * (int64_t)parts;
    Gap g = { .at = -1, .size = type_size(t) };
    for (int64_t k = 0; k < n; k++) {
        size_t at = (size_t)k * width, other = parts > 1 && dtype_float(dt) ? (size_t)(k ^ 1) * width : at;
        Four f = { .got = as_number(dt, got + at), .want = as_number(dt, want + at) };
        f.size = other == at ? f.want : hypot(f.want, as_number(dt, want + other));
        for (int s = 0; s < COMPARE_RUNS; s++)
            f.shaken[s] = as_number(dt, shaken[s] + at);
        f.ulp = dtype_float(dt) ? llabs(ordered(dt, got + at) - ordered(dt, want + at)) :
                                  (int64_t)fmin(fabs(f.got - f.want), 0x1p62);
        if (!dtype_float(dt) && !f.ulp && memcmp(got + at, want + at, width))
            f.ulp = 1, f.got = f.want + 1; /* beyond what a double tells apart */
        gap_add(&g, &f, dt, k / (int64_t)parts);
    }
    return g;
}

/* ==================== running */

static int fetch(Mem *const *m, const Graph *g, void **out)
{
    int e = 0;
    for (int k = 0; k < g->nout && !e; k++) {
        size_t bytes = type_bytes(&g->type[g->out[k]]);
        out[k] = arena_try(bytes + 1);
        e = !out[k] ? (int)error_code() : bytes ? m[k]->device->backend->read(m[k], 0, out[k], bytes) : 0;
    }
    return e;
}

/* The results, whole code and no reading of kernels. watch: of the host. 0, or a code. */
static int run_on(Device *d, const Trial *t, const HostWatch *watch, void **out)
{
    const Graph *g = t->g;
    Exec *x = compile_shard(graph_clone(g), d);
    Mem **in = NEWS(Mem *, g->nin + g->nout), **res = in + g->nin;
    int e = x ? 0 : (int)error_code(), nin = 0;
    for (; nin < g->nin && !e; nin++)
        if (!(in[nin] = mem_with(d, t->in[nin], type_bytes(&g->type[g->in[nin]]))))
            e = (int)error_code();
    if (!e) {
        host_watch(watch);
        if (watch)
            watch->begin(watch->env, x->graph);
        e = d->backend->run(x, nin, in, g->nout, res);
        host_watch(NULL);
        e = e ? e : fetch(res, g, out);
        for (int k = 0; k < g->nout; k++)
            if (res[k])
                mem_drop(res[k]);
    }
    for (int k = 0; k < nin; k++)
        if (in[k])
            mem_drop(in[k]);
    if (x)
        d->backend->drop(x);
    return e;
}

int compare_host(const Trial *t, const HostWatch *watch, void **out)
{
    Device *host = device_find("host");
    return host ? run_on(host, t, watch, out) : (int)error_code();
}

Comparison *comparison_new(Trial t, double tol)
{
    Comparison *c = NEW(Comparison);
    *c = (Comparison){ .trial = t, .tol = tol, .want = NEWS(void *, t.g->nout) };
    int e = compare_host(&t, NULL, c->want);
    for (int s = 0; s < COMPARE_RUNS && !e; s++) {
        Trial shaken = { graph_shaken(t.g, (uint32_t)s + 1), t.in };
        c->shaken[s] = NEWS(void *, t.g->nout);
        e = shaken.g ? compare_host(&shaken, NULL, c->shaken[s]) : (int)error_code();
    }
    return e ? NULL : c;
}

bool gap_agrees(const Gap *g, double tol)
{
    return tol > 0 ? g->roundings <= tol : g->ulp == 0 && g->nan == 0;
}

int compare_on(Comparison *c, Device *d, Compared *out)
{
    const Graph *g = c->trial.g;
    void **got = NEWS(void *, g->nout);
    *out = (Compared){ .device = d, .agree = true, .worst = -1, .out = NEWS(Gap, g->nout) };
    if (run_on(d, &c->trial, NULL, got)) {
        if (error_code() == E_NOMEM)
            return E_NOMEM;
        out->failed = arena_text("%s", error_text()), out->agree = false;
        error_clear();
        return 0;
    }
    for (int k = 0; k < g->nout; k++) {
        char *shaken[COMPARE_RUNS];
        for (int s = 0; s < COMPARE_RUNS; s++)
            shaken[s] = c->shaken[s][k];
        Gap *gap = &out->out[k];
        *gap = gap_of(&g->type[g->out[k]], got[k], c->want[k], shaken);
        out->agree = out->agree && gap_agrees(gap, c->tol);
        if (out->worst < 0 || gap->roundings > out->out[out->worst].roundings ||
            (gap->roundings == out->out[out->worst].roundings && gap->ulp > out->out[out->worst].ulp))
            out->worst = k;
    }
    return 0;
}

/* ==================== what is compared */

static int leaf_data(hd_array *const *args, int n, void **in)
{
    int nleaf = 0;
    for (int i = 0; i < n; i++)
        nleaf = array_leaves(args[i], NULL, nleaf);
    hd_array **leaf = NEWS(hd_array *, nleaf);
    for (int i = 0, k = 0; i < n; i++)
        k = array_leaves(args[i], leaf, k);
    for (int k = 0; k < nleaf; k++) {
        if (!leaf[k]->store)
            return error_set(E_INVAL, "hd_compare: an argument is abstract: it has a type but no contents");
        if (!(in[k] = (void *)(uintptr_t)store_host(leaf[k]->store)))
            return (int)error_code();
    }
    return 0;
}

int compare_trial(hd_fn *f, hd_array *const *args, int n, Trial *out)
{
    const Tree **part = NEWS(const Tree *, n);
    for (int i = 0; i < n; i++)
        part[i] = array_tree(args[i]);
    const Traced *t = graph_of(f, tree_tuple(part, n));
    if (!t)
        return (int)error_code();
    out->in = NEWS(void *, t->g->nin);
    for (int k = 0; k < t->ncap; k++)
        if (!t->cap[k].data)
            return error_set(E_TRACE, "%s uses a symbol of another program", t->g->name);
        else if (!(out->in[k] = (void *)(uintptr_t)store_host(t->cap[k].data)))
            return (int)error_code();
    if (leaf_data(args, n, out->in + t->ncap))
        return (int)error_code();
    out->g = compile_plain(graph_clone(t->g));
    return out->g ? 0 : (int)error_code();
}

int compare_devices(const char *names, Device ***out)
{
    Device **list = NULL, *d;
    int n = 0, cap = 0;
    for (int i = 0; !names && i < device_count(); i++) {
        if (!strcmp(device_kind(i), "host"))
            continue;
        if (!(d = device_at(i)))
            return -1;
        PUSH(list, n, cap, d);
    }
    char *text = names ? arena_copy(names, strlen(names) + 1) : NULL, *save = NULL;
    for (char *w = text ? strtok_r(text, ", ", &save) : NULL; w; w = strtok_r(NULL, ", ", &save)) {
        if (!(d = device_find(w)))
            return -1;
        PUSH(list, n, cap, d);
    }
    if (!n)
        error_set(E_DEVICE, names ? "no device is named in \"%s\"" : "there is no device but the host",
            names ? names : "");
    *out = list;
    return n ? n : -1;
}

/* ==================== hd_compare */

static double larger(double a, double b) { return a > b || isnan(a) ? a : b; }

static void difference_add(hd_difference *d, const Compared *m, int nout)
{
    const Level *level;
    const Ins *i = compare_blamed(m, &level);
    bool worse = false;
    for (int k = 0; k < nout && !m->failed; k++) {
        const Gap *g = &m->out[k];
        d->nan_mismatches += g->nan;
        d->ulp = larger(g->ulp, d->ulp), d->absolute = larger(g->absolute, d->absolute);
        d->relative = larger(g->relative, d->relative);
        if (g->roundings > d->roundings || d->output < 0)
            d->roundings = larger(g->roundings, d->roundings), d->output = k, worse = true;
    }
    if (m->failed)
        d->roundings = INFINITY, worse = true;
    d->agree = d->agree && m->agree;
    if (worse)
        snprintf(d->device, sizeof d->device, "%s", m->device->info.name);
    if (d->born[0] || m->agree)
        return;
    if (m->failed)
        snprintf(d->born, sizeof d->born, "%s", m->failed);
    else if (i)
        snprintf(d->born, sizeof d->born, "%s %s", compare_place(i), compare_name(level, i));
    else
        snprintf(d->born, sizeof d->born, "no instruction by itself");
}

static int compared(hd_difference *out, const char *devices, hd_fn *f, hd_array *const *args, int n)
{
    Device **list;
    Trial t;
    int nd = compare_devices(devices, &list);
    hd_difference d = { .agree = true, .output = -1 };
    if (nd < 0 || compare_trial(f, args, n, &t))
        return (int)error_code();
    Comparison *c = comparison_new(t, COMPARE_TOLERANCE);
    for (int k = 0; k < nd && c; k++) {
        Compared m;
        if (compare_on(c, list[k], &m) || (!m.agree && !m.failed && compare_nodes(c, &m)))
            return (int)error_code();
        difference_add(&d, &m, t.g->nout);
    }
    if (!c || error_pending())
        return (int)error_code();
    *out = d;
    return 0;
}

int hd_compare_n(hd_difference *out, const char *devices, hd_fn *f, hd_array *const *args, int nargs)
{
    OP(hd_compare_n);
    Entry entry;
    if (callback_runs())
        return error_told(error_set(E_INVAL, "hd_compare: a function of hd_callback may not run programs"));
    if (list_in("hd_compare: arguments", args, nargs, 0) || !fn_in("hd_compare", f))
        return error_told((int)error_code());
    for (int i = 0; i < nargs; i++)
        if (!args[i])
            return error_told(error_pass());
        else if (!array_alive("hd_compare", i, args[i]))
            return error_told((int)error_code());
    error_forget();
    if (!out)
        return error_told(error_set(E_INVAL, "hd_compare: there is no output"));
    int e = fn_ended(f) ? (int)error_code() : entry_begin(&entry);
    if (!e) {
        e = compared(out, devices, f, args, nargs);
        entry_end(&entry);
    }
    return error_told(e);
}
