/*
 * call.c - running functions on data, and asking what they would do.
 *
 * In: a function and arrays, borrowed (donated ones are taken over on success). Out: arrays of the caller's.
 * Invariant: after a failure nothing has changed: outputs are untouched, donated arguments are still the
 * caller's.
 */
#include "api.h"
#include "ranks.h"
#include <stdlib.h>
#include <string.h>

/* ==================== arguments as variables: their addresses say whether a result would overwrite one */

enum { VARIABLES = 17 };
static _Thread_local struct { hd_array *value[VARIABLES]; hd_array *const *at[VARIABLES]; } given;

hd_array *const *hd_args_(hd_array *const *const *variables, int n)
{
    for (int i = 0; variables && i < n && i < VARIABLES; i++)
        given.at[i] = variables[i], given.value[i] = *variables[i];
    return given.value;
}

enum { FEW_ARGS = 64 };
typedef struct Call {
    hd_fn *f;
    int n;
    hd_array **args;                            /* a copy: in arg where they are few, else on the heap */
    hd_array *arg[FEW_ARGS];
    hd_array *const *at[VARIABLES]; bool variables;
} Call;

static void call_end(Call *c)
{
    if (c->args != c->arg)
        free(c->args);
}

/* Copies the arguments, since a function that is traced may make calls of its own, and results may be stored
 * over them. 0, or a code. call_end follows in either case. */
static int call_begin(Call *c, hd_fn *f, hd_array *const *args, int n)
{
    *c = (Call){ .f = f, .n = n, .args = c->arg, .variables = args == given.value };
    if (trace_top && error_pending())
        return (int)error_code();
    if (callback_runs())
        return error_set(E_INVAL,
            "hd_call: a function of hd_callback may not call programs: the one that runs holds the device");
    if (list_in("hd_call: arguments", args, n, 0))
        return (int)error_code();
    if (!fn_in("hd_call", f))
        return error_told((int)error_code());
    for (int i = 0; i < n; i++)
        if (!args[i])
            return error_pass();
        else if (!array_alive("hd_call", i, args[i]))
            return (int)error_code();
    error_forget();
    if (fn_ended(f))
        return (int)error_code();
    if (n > FEW_ARGS && !(c->args = malloc((size_t)n * sizeof *args)))
        return error_set(E_NOMEM, "out of host memory");
    for (int i = 0; i < n; i++)
        c->args[i] = args[i];
    for (int i = 0; i < n && c->variables; i++)
        c->at[i] = given.at[i];
    return 0;
}

/* The options of the outermost jits. */
static const char *device_option(const hd_fn *f)
{
    for (; f->key.kind == FN_JIT; f = f->key.inner)
        if (f->key.device)
            return f->key.device;
    return NULL;
}

static int no_output(hd_array **out, int nout)
{
    return out && nout > 0 ? 0 :
        error_set(E_INVAL, "hd_call: there is no output: a pointer to one hd_array * or more is wanted");
}

/* The argument that entry i of .donate names. */
static int64_t donated_at(const Call *c, int i)
{
    int64_t k = c->f->key.donate.v[i];
    return k + (k < 0 ? c->n : 0);
}

static bool gives(const Call *c, int arg)
{
    bool is = false;
    for (int i = 0; i < c->f->key.donate.n; i++)        /* none unless the function is a jit */
        is |= donated_at(c, i) == arg;
    return is;
}

static int donate_check(const Call *c)
{
    for (int i = 0; i < c->f->key.donate.n; i++) {
        int64_t k = donated_at(c, i);
        if (k < 0 || k >= c->n)
            return error_set(E_INVAL, "hd_call: .donate names argument %lld of %d",
                (long long)c->f->key.donate.v[i], c->n);
        if (!array_own("hd_call: .donate", c->args[k]))
            return (int)error_code();
        for (int e = 0; e < i; e++)
            if (donated_at(c, e) == k)
                return error_set(E_INVAL, "hd_call: .donate names argument %lld twice", (long long)k);
            else if (c->args[donated_at(c, e)] == c->args[k])
                return error_set(E_INVAL,
                    "hd_call: arguments %lld and %lld are one array, which can be donated only "
                    "once",
                    (long long)donated_at(c, e), (long long)k);
    }
    return 0;
}

static void donate_take(const Call *c)
{
    for (int k = 0; c->f->key.donate.n && k < c->n; k++)
        if (gives(c, k))
            array_donate(c->args[k]);
}

static int not_overwritten(const Call *c, hd_array **out, int nout)
{
    for (int k = 0; c->variables && k < c->n; k++)
        for (int i = 0; i < nout; i++)
            if (c->at[k] == (hd_array *const *)(out + i) && !gives(c, k))
                return error_set(E_INVAL,
                    "hd_call: argument %d would be lost under the result: donate it, or use "
                    "another variable",
                    k);
    return 0;
}

/* ==================== where it runs */

static _Thread_local char own_default[64];

Device *device_of_thread(void)
{
    return own_default[0] ? device_find(own_default) : device_default();
}

/* What runs on one device runs in this process. */
static Device *own_device(const char *what, const char *name)
{
    Device *d = device_find(name);
    if (!d || !device_far(d))
        return d;
    error_set(E_DEVICE,
        "%s: \"%s\" is another rank's device, and what has one device runs in each rank by itself; "
        "hd_pmap(f, .devices = \"%s\") runs there, as a call of all ranks",
        what, name, name);
    return NULL;
}

const char *hd_default_device(const char *set)
{
    OP(hd_default_device);
    error_begin();
    Device *d = set ? own_device("hd_default_device", set) : device_of_thread();
    if (!d)
        return NULL;
    if (set)
        snprintf(own_default, sizeof own_default, "%s", d->info.name);
    return d->info.name;
}

/* The device of an argument; d: the one so far. */
static int meet(const hd_array *a, int arg, Device **d, int *from)
{
    for (int i = 0; i < a->n; i++)
        if (meet(a->part[i], arg, d, from))
            return (int)error_code();
    Device *here = a->store ? store_device(a->store) : NULL;
    if (here && *d && *d != here)
        return error_set(E_DEVICE,
            "hd_call: arguments are on different devices: argument %d on %s, argument %d on "
            "%s; hd_put one of "
            "them, or say hd_jit(f, .device = ...)",
            *from, (*d)->info.name, arg, here->info.name);
    if (here)
        *d = here, *from = arg;
    return 0;
}

/* *mesh: the one that arguments lie over, NULL: none. */
static Device *device_for(const Call *c, const hd_mesh **mesh)
{
    const char *name = device_option(c->f);
    Device *d = NULL;
    int from = 0;
    *mesh = NULL;
    if (name)
        return own_device("hd_jit", name);
    if (mesh_of_args(c->args, c->n, mesh))
        return NULL;
    if (*mesh)
        return device_of_thread();
    for (int i = 0; i < c->n; i++)
        if (meet(c->args[i], i, &d, &from))
            return NULL;
    return d ? d : device_of_thread();
}

/* ==================== results */

static int tuple_of(const Tree *t, int nout)
{
    if (nout == 1 || (t->kind == T_TUPLE && t->n == nout))
        return 0;
    Arena *a = arena_new(), *saved = arena_use(a);
    int e = error_set(E_INVAL, "hd_call: the result is %s, not a tuple of %d parts, one for each output",
        tree_text(t), nout);
    arena_use(saved);
    arena_drop(a);
    return e;
}

/* Arrays from the leaves, which are taken over; stored only if all could be made. leaves NULL: abstract. */
static int deal(const Tree *t, Store *const *leaves, hd_array **out, int nout)
{
    hd_array *one, **y = nout > 1 ? calloc((size_t)nout, sizeof *y) : &one;
    int at = 0, failed = 0;
    if (!y) {
        for (int i = 0; leaves && i < t->nleaf; i++)
            store_drop(leaves[i]);
        return error_set(E_NOMEM, "out of host memory");
    }
    for (int i = 0; i < nout; i++) {
        const Tree *part = nout == 1 ? t : t->part[i];
        failed |= !(y[i] = array_build(part, leaves ? leaves + at : NULL));
        at += part->nleaf;
    }
    for (int i = 0; i < nout; i++)
        if (failed)
            array_drop(y[i]);
        else
            out[i] = y[i];
    if (nout > 1)
        free(y);
    return failed ? (int)error_code() : 0;
}

/* ==================== running */

typedef struct Run { Mem **in, **out; Store **store; int nin; } Run;

static int gather(Run *r, hd_array *a, int arg, Device *d)
{
    for (int i = 0; i < a->n; i++)
        if (gather(r, a->part[i], arg, d))
            return (int)error_code();
    if (a->tree)
        return 0;
    if (!a->store)
        return error_set(E_INVAL, "hd_call: argument %d is abstract: it has a type but no contents", arg);
    Mem *m = store_on(a->store, d, true);
    if (!m)
        return (int)error_code();
    r->in[r->nin++] = m;
    return 0;
}

/* What lies on other ranks, before anything else. */
static int bring(const Program *p, const Call *c)
{
    int e = 0;
    for (int i = 0; i < p->nhidden && !e; i++)
        e = store_bring(p->hidden[i]);
    for (int i = 0; i < c->n && !e; i++)
        e = array_bring(c->args[i]);
    return e;
}

static int start(Run *r, const Program *p, const Call *c)
{
    if (bring(p, c))
        return (int)error_code();
    for (int i = 0; i < p->nhidden; i++) {
        Mem *m = store_on(p->hidden[i], p->device, true);
        if (!m)
            return (int)error_code();
        r->in[r->nin++] = m;
    }
    for (int i = 0; i < c->n; i++)
        if (gather(r, c->args[i], i, p->device))
            return (int)error_code();
    return p->device->backend->run(p->exec, r->nin, r->in, p->nout + p->effects.nout, r->out);
}

/* What the program did beside its results; after an error the results go, too. */
static int settle_effects(Run *r, const Program *p)
{
    int e = p->effects.nout ? effects_settle(p, r->out + p->nout) : 0;
    for (int i = e ? 0 : p->nout; i < p->nout + p->effects.nout; i++)
        mem_drop(r->out[i]);
    return e;
}

static int finish(Run *r, const Program *p, hd_array **out, int nout)
{
    int failed = 0;
    for (int i = 0; i < p->nout; i++)
        failed |= !(r->store[i] = store_new(type_bytes(&p->type[i]), NULL, r->out[i]));
    if (!failed)
        return deal(p->out, r->store, out, nout);
    for (int i = 0; i < p->nout; i++)
        store_drop(r->store[i]);
    return (int)error_code();
}

/* Said before the driver is asked, which may end the process instead. */
static int fits(const Program *p)
{
    for (int i = 0; i < p->nout; i++)
        if (p->device->info.max_alloc && type_bytes(&p->type[i]) > p->device->info.max_alloc)
            return error_set(E_NOMEM,
                "hd_call: the result %s is %.3f GiB; %s gives at most %.3f GiB in one piece",
                type_text(&p->type[i]), (double)type_bytes(&p->type[i]) / (1 << 30), p->device->info.name,
                (double)p->device->info.max_alloc / (1 << 30));
    return 0;
}

static int leaf_stores(hd_array *a, int arg, Store **out, int *n)
{
    for (int i = 0; i < a->n; i++)
        if (leaf_stores(a->part[i], arg, out, n))
            return (int)error_code();
    if (a->tree)
        return 0;
    if (!a->store)
        return error_set(E_INVAL, "hd_call: argument %d is abstract: it has a type but no contents", arg);
    out[(*n)++] = a->store;
    return 0;
}

/* Effects of a run over several devices: their states, which go, are read on one. */
static int settle_stores(const Program *p, Store **out)
{
    int n = p->effects.nout, e = 0;
    Mem **state = n ? calloc((size_t)n, sizeof *state) : NULL;
    if (n && !state)
        e = error_set(E_NOMEM, "out of host memory");
    for (int k = 0; k < n && !e; k++)
        e = store_bring(out[p->nout + k]);
    for (int k = 0; k < n && !e; k++)
        e = (state[k] = store_on(out[p->nout + k], p->device, true)) ? 0 : (int)error_code();
    e = e || !n ? e : effects_settle(p, state);
    for (int k = 0; k < n; k++)
        mem_drop(state ? state[k] : NULL);
    free(state);
    for (int k = p->nout; k < p->nout + n; k++)
        store_drop(out[k]);
    return e;
}

typedef struct Taken { const Program *p; hd_array **y; int nout; } Taken;

static int take(Store **out, void *taken)
{
    const Taken *t = taken;
    int e = deal(t->p->out, out, t->y, t->nout);
    memset(out, 0, sizeof *out * (size_t)t->p->nout);
    return e;
}

/* The same on several devices: arguments go to each as it needs them. */
static int run_spread(const Program *p, const Call *c, hd_array **out, int nout)
{
    int results = p->nout + p->effects.nout, n = 0;
    Store **s = calloc((size_t)(p->nin + results + 1), sizeof *s);
    hd_array **y = calloc((size_t)nout, sizeof *y);
    int e = s && y ? 0 : error_set(E_NOMEM, "out of host memory");
    for (; !e && n < p->nhidden; n++)
        s[n] = p->hidden[n];
    for (int i = 0; i < c->n && !e; i++)
        e = leaf_stores(c->args[i], i, s, &n);
    e = spread_run(p->spread, s, s + p->nin, take, &(Taken){ p, y, nout });
    e = e ? e : settle_stores(p, s + p->nin);
    for (int i = 0; y && i < nout; i++)
        if (e)
            array_drop(y[i]);
        else
            out[i] = y[i];
    free(s), free(y);
    return e;
}

static int run(const Program *p, const Call *c, hd_array **out, int nout)
{
    if (p->spread)
        return run_spread(p, c, out, nout);
    if (fits(p))
        return (int)error_code();
    size_t n = (size_t)(p->nin + 2 * p->nout + p->effects.nout + 1);
    void **block = calloc(n, sizeof *block);
    if (!block)
        return error_set(E_NOMEM, "out of host memory");
    Run r = { (Mem **)block, (Mem **)(block + p->nin),
        (Store **)(block + p->nin + p->nout + p->effects.nout), 0 };
    int e = start(&r, p, c);
    for (int i = 0; i < r.nin; i++)
        mem_drop(r.in[i]);
    e = e ? e : settle_effects(&r, p);
    if (!e)
        e = finish(&r, p, out, nout);
    free(block);
    return e;
}

/* With what it uses of keys noted at the arrays. */
static int run_noted(const Program *p, const Call *c, hd_array **out, int nout)
{
    if (!p->keys.n)
        return run(p, c, out, nout);
    Store **s = calloc((size_t)(p->nin + p->nout), sizeof *s);
    int n = 0, e = s ? 0 : error_set(E_NOMEM, "out of host memory");
    for (; !e && n < p->nhidden; n++)
        s[n] = p->hidden[n];
    for (int i = 0; i < c->n && !e; i++)
        e = leaf_stores(c->args[i], i, s, &n);
    if (!(e = e ? e : keys_before_call(p->keys, s))) {
        e = run(p, c, out, nout);
        for (int i = 0; i < nout && !e; i++)
            leaf_stores(out[i], i, s, &n);
        keys_after_call(p->keys, s, e ? NULL : s + p->nin);
    }
    free(s);
    return e;
}

static int call(Call *c, hd_array **out, int nout)
{
    if (no_output(out, nout) || donate_check(c) || not_overwritten(c, out, nout))
        return (int)error_code();
    const hd_mesh *mesh;
    Device *d = device_for(c, &mesh);
    Program *p = d ? program_of(c->f, c->args, c->n, d, mesh) : NULL;
    if (!p)
        return (int)error_code();
    int e = tuple_of(p->out, nout);
    e = e ? e : run_noted(p, c, out, nout);
    kept_drop(&p->kept);
    if (!e)
        donate_take(c);
    return e;
}

int hd_call_n(hd_fn *f, hd_array **out, int nout, hd_array *const *args, int nargs)
{
    OP(hd_call_n);
    Call c;
    int e = call_begin(&c, f, args, nargs);
    e = e ? e : call(&c, out, nout);
    call_end(&c);
    return error_told(e);
}

/* ==================== asking */

static const Traced *traced(const Call *c)
{
    const Tree **part = NEWS(const Tree *, c->n);
    for (int i = 0; i < c->n; i++)
        part[i] = array_tree(c->args[i]);
    return graph_of(c->f, tree_tuple(part, c->n));
}

int hd_eval_shape_n(hd_fn *f, hd_array **out, int nout, hd_array *const *args, int nargs)
{
    OP(hd_eval_shape_n);
    Call c;
    Entry entry;
    int e = call_begin(&c, f, args, nargs);
    if (!e && !(e = entry_begin(&entry))) {
        const Traced *t = no_output(out, nout) || not_overwritten(&c, out, nout) ? NULL : traced(&c);
        e = !t || tuple_of(t->out, nout) ? (int)error_code() : deal(tree_strong(t->out), NULL, out, nout);
        entry_end(&entry);
    }
    call_end(&c);
    return error_told(e);
}

static int compiled(hd_fn *f, hd_array *const *args, int nargs, hd_cost_info *cost)
{
    Call c;
    const hd_mesh *mesh;
    Device *d = call_begin(&c, f, args, nargs) ? NULL : device_for(&c, &mesh);
    Program *p = d ? program_with_code(f, c.args, c.n, d, mesh) : NULL;
    call_end(&c);
    if (!p)
        return (int)error_code();
    *cost = p->cost;
    kept_drop(&p->kept);
    return 0;
}

int hd_compile_n(hd_fn *f, hd_array *const *args, int nargs)
{
    OP(hd_compile_n);
    hd_cost_info ignored;
    return error_told(compiled(f, args, nargs, &ignored));
}

int hd_cost_n(hd_fn *f, hd_cost_info *out, hd_array *const *args, int nargs)
{
    OP(hd_cost_n);
    hd_cost_info cost;
    int e = compiled(f, args, nargs, &cost);
    if (!e && !out)
        e = error_set(E_INVAL, "hd_cost: there is no output");
    if (!e)
        *out = cost;
    return error_told(e);
}

/* The same graph with the data that the function captured as constants, so that its arguments are all it
 * needs. */
static Graph *without_captures(const Traced *t)
{
    Ref *in = NEWS(Ref, t->g->nin), *out = NEWS(Ref, t->g->nout);
    if (!t->ncap)
        return t->g;
    Graph *g = graph_begin(graph_new());
    for (int i = 0; i < t->g->nin; i++) {
        const void *data = i < t->ncap && t->cap[i].data ? store_host(t->cap[i].data) : NULL;
        if (i < t->ncap && !data && !error_pending())
            error_set(E_TRACE, "hd_print_graph: %s uses a symbol of another program", t->g->name);
        in[i] =
            i < t->ncap ? (data ? Data(t->cap[i].type, data) : 0) : graph_input(t->g->type[t->g->in[i]], 0);
    }
    if (!error_pending())
        graph_inline(t->g, in, out), graph_outputs(out, t->g->nout);
    g->name = t->g->name;
    graph_end();
    return error_pending() ? NULL : g;
}

int hd_print_graph_n(FILE *file, hd_fn *f, hd_array *const *args, int nargs)
{
    OP(hd_print_graph_n);
    Call c;
    Entry entry;
    Text text = { 0 };
    int e = call_begin(&c, f, args, nargs);
    if (!e && !file)
        e = error_set(E_INVAL, "hd_print_graph: the file is NULL");
    if (!e && !(e = entry_begin(&entry))) {
        const Traced *t = traced(&c);
        Graph *g = t ? without_captures(t) : NULL;
        g = g ? graph_dce(g) : NULL;
        if (g)
            signature_print(t->in, t->out, &text), graph_print(g, &text);
        if (g && text.s && fputs(text.s, file) < 0)
            error_set(E_IO, "hd_print_graph: the file cannot be written");
        text_free(&text);
        entry_end(&entry);
        e = (int)error_code();
    }
    call_end(&c);
    return error_told(e);
}
