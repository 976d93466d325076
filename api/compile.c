/*
 * compile.c - from a graph to something that runs, and where programs are kept.
 *
 * compile() is the whole way, with a dump after each arrow
 * (HEDDLE_DUMP=trace,graph,prepared,spec,kernel,plan,code,time) and the verifier between them
 * (HEDDLE_CHECK=1). Programs are kept of their function, found by argument types and device.
 */
#include "api.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* ==================== dumps */

static void dump_graph(const char *word, const Graph *g)
{
    Text t = { 0 };
    if (!dump_wanted(word))
        return;
    graph_print(g, &t);
    dump_text(word, &t);
}

static void dump_plan(const Plan *p)
{
    Text t = { 0 };
    Kernel **k;
    int n;
    if (dump_wanted("plan")) {
        plan_print(p, &t);
        dump_text("plan", &t);
    }
    if (!dump_wanted("kernel"))
        return;
    plan_kernels(p, &k, &n);
    for (int i = 0; i < n; i++)
        k_dump(k[i], &t);
    dump_text("kernel", &t);
}

/* code: whatever the device got; opencl, spirv: that of these devices. */
static void dump_code(Exec *e)
{
    const Backend *b = e->device->backend;
    const char *language = !strcmp(b->kind, "vulkan") ? "spirv" : b->kind;
    const char *word = dump_wanted("code") ? "code" : language;
    Text t = { 0 };
    if (dump_wanted(word) && b->code && !b->code(e, &t))
        dump_text(word, &t);
    text_free(&t);
}

static void dump_time(const char *name)
{
    static const char *const what[PHASES] = { NULL, "trace", "transform", "schedule", "compile" };
    Text shown = { 0 };
    text_name(&shown, name ? name : "?");
    for (int i = PHASE_TRACE; i < PHASES && entry_top && dump_wanted("time"); i++)
        fprintf(stderr, "---- time %s: %s %.3f ms\n", shown.s ? shown.s : "?", what[i], entry_top->ms[i]);
    text_free(&shown);
}

/* ==================== the way */

/* A collective that no vmap has taken up: text has it, or its axis ended. */
static bool all_axes_bound(const Graph *g)
{
    const Ins *i = graph_find(g, op_meets);
    if (!i)
        return true;
    loc_set(i->loc);
    return !error_set(
        E_TRACE, "%s: no axis \"%s\" is around this program", optab[i->op].name, op_axis_name(i));
}

static bool checked(const Graph *g)
{
    return g && !error_pending() && (!check_stage("graph") || !graph_check(g));
}

/* What is needed of it, without rules. */
static Graph *plain(Graph *g)
{
    if (!checked(g) || !checked(g = graph_dce(g)) || !checked(g = graph_forward(g)))
        return NULL;
    return checked(g = graph_without_rules(g)) ? g : NULL;
}

/* What is scheduled: no rules, no places, effects as results. */
static Graph *lowered(Graph *g, Effects *effects, bool shard)
{
    dump_graph("trace", g);
    phase_begin(PHASE_TRANSFORM);
    if (!(g = plain(g)) || !checked(g = graph_unplaced(g)))
        return NULL;
    dump_graph("graph", g);
    if ((!shard && !all_axes_bound(g)) || (effects && !checked(g = graph_lift_effects(g, effects))))
        return NULL;
    return g;
}

static Plan *planned(const Graph *g, const Target *t)
{
    phase_begin(PHASE_SCHEDULE);
    Plan *p = plan_schedule(g, t);
    if (!p || error_pending())
        return NULL;
    dump_plan(p);
    return p;
}

/* This thread asks for code, not for results. */
static _Thread_local bool code_now;

/* Of a plan that another process has made, if all its code is there. */
static Exec *warm_code(Device *d, const WarmKey *key)
{
    phase_begin(PHASE_SCHEDULE);
    Plan *p = warm_plan(key);
    phase_begin(PHASE_COMPILE);
    Exec *e = p ? d->backend->again(d, p) : NULL;
    if (e)
        e->plan = p, plans_read++;
    return e;
}

static Exec *planned_code(const Graph *g, Device *d, bool later)
{
    const Target target = { .device = d->info.name, .machine = &d->info.machine, .f64 = d->info.has_f64,
        .i64 = d->info.has_i64, .f16 = d->info.has_f16, .no_fma64 = d->info.no_fma64,
        .max_alloc = (int64_t)d->info.max_alloc };
    WarmKey key;
    phase_begin(PHASE_SCHEDULE);
    if (!(g = graph_wrong((Graph *)(uintptr_t)g, d->backend->kind)))
        return NULL;
    bool warm = d->backend->again && warm_key(&key, g, &target);
    Exec *e = warm ? warm_code(d, &key) : NULL;
    if (e || error_pending())
        return e;
    Plan *p = planned(g, &target);
    if (!p)
        return NULL;
    phase_begin(PHASE_COMPILE);
    if ((e = (later && !code_now && d->backend->begin ? d->backend->begin : d->backend->build)(d, p)))
        e->plan = p;
    if (e && warm)
        warm_keep(&key, p);
    return e;
}

/* What shards run together is whole from the beginning. */
static Exec *code_for(Graph *g, Device *d, Effects *effects, bool shard)
{
    Exec *e = NULL;
    if (!(g = lowered(g, effects, shard)))
        return NULL;
    if (d->backend->build_graph) {
        phase_begin(PHASE_COMPILE);
        if ((e = d->backend->build_graph(d, g)))
            e->graph = g;
    } else if ((e = planned_code(g, d, effects && !shard)))
        process_watch_exit();
    phase_begin(PHASE_OTHER);
    if (e)
        dump_code(e);
    dump_time(g->name);
    return e;
}

/* What is compared: each program of it can be run by itself. */
Graph *compile_plain(Graph *g)
{
    const char *name = g->name;
    if (!(g = plain(g)) || !checked(g = graph_unplaced(g)) || !all_axes_bound(g))
        return NULL;
    g = checked(g = graph_quiet(g)) ? graph_dce(g) : NULL;
    if (g)
        g->name = name;
    return g;
}

Exec *compile(Graph *g, Device *d, Effects *effects) { return code_for(g, d, effects, false); }
Exec *compile_shard(Graph *g, Device *d) { return code_for(g, d, NULL, true); }

Plan *compile_plan(Graph *g, const Target *t)
{
    Effects effects;
    return (g = lowered(g, &effects, false)) ? planned(g, t) : NULL;
}

/* A plan that was read back has no kernels to compile, should their code have gone meanwhile. */
Exec *compile_again(const Exec *like, const Graph *g, Device *d)
{
    const Backend *b = d->backend;
    Plan *p = (Plan *)(uintptr_t)like->plan;
    Exec *e = like->graph ? b->build_graph(d, like->graph) : p->kept ? b->again(d, p) : b->build(d, p);
    if (!e)
        return error_pending() ? NULL : compile_shard(graph_clone(g), d);
    e->graph = like->graph, e->plan = p;
    return e;
}

/* ==================== programs */

typedef struct Wanted {
    hd_array *const *args;
    int n;
    const Device *device;
    const hd_mesh *mesh;
} Wanted;

/* Do the leaves lie over the mesh as its inputs do, from the k-th on? Returns the next; -1: no. */
static int lie_like(const hd_array *a, const Program *p, int k)
{
    for (int i = 0; i < a->n && k >= 0; i++)
        k = lie_like(a->part[i], p, k);
    if (a->tree || k < 0)
        return k;
    Dealt d = store_spec(a->store, p->mesh);
    return memcmp(&d, &p->dealt[k], sizeof d) ? -1 : k + 1;
}

static bool program_fits(const Kept *k, const void *what)
{
    const Program *p = (const Program *)k;
    const Wanted *w = what;
    bool fits = p->device == w->device && p->mesh == w->mesh && p->in->n == w->n;
    for (int i = 0; fits && i < w->n; i++)
        fits = array_fits(w->args[i], p->in->part[i]);
    for (int i = 0, k = p->nhidden; fits && p->mesh && i < w->n; i++)
        fits = (k = lie_like(w->args[i], p, k)) >= 0;
    return fits;
}

static void program_free(Kept *k)
{
    Program *p = (Program *)k;
    if (p->exec)
        p->device->backend->drop(p->exec);
    spread_drop(p->spread);
    for (int i = 0; i < p->nhidden; i++)
        store_drop(p->hidden[i]);
    free(p->hidden);
    arena_drop(p->arena);
    free(p);
}

void cost_add(hd_cost_info *c, const Exec *e)
{
    if (!e->plan)
        return;
    c->kernels += e->plan->nkernel, c->launches += (int64_t)e->plan->launches;
    c->temporary_bytes += (int64_t)e->plan->bytes;
}

static void cost_times(hd_cost_info *c)
{
    const double *ms = entry_top->ms;
    c->trace_ms = ms[PHASE_TRACE], c->transform_ms = ms[PHASE_TRANSFORM];
    c->schedule_ms = ms[PHASE_SCHEDULE], c->compile_ms = ms[PHASE_COMPILE];
}

/* On the devices of a mesh. */
static int build_over(Program *p, Graph *g)
{
    if ((g = plain(g)) && checked(g = graph_unplaced(g)) && checked(g = graph_lift_effects(g, &p->effects)))
        p->spread = spread_mesh(g, p->mesh, p->dealt, p->device, &p->cost);
    cost_times(&p->cost);
    return p->spread ? 0 : (int)error_code();
}

/* On one device, or on several. */
static int build_code(Program *p, Graph *g)
{
    if (p->mesh)
        return build_over(p, g);
    if (graph_has_places(g) && (!(g = plain(g)) || !places_known(g, p->device)))
        return (int)error_code();
    if (!graph_has_pieces(g)) {
        if ((p->exec = compile(g, p->device, &p->effects)))
            cost_add(&p->cost, p->exec);
    } else if (checked(g = graph_lift_effects(g, &p->effects)))
        p->spread = spread_build(g, p->device, &p->cost);
    cost_times(&p->cost);
    return p->spread || p->exec ? 0 : (int)error_code();
}

/* The program of a traced function; its arena is current. */
static int build(Program *p, const Traced *t, hd_array *const *args, int n)
{
    p->in = tree_copy(t->in), p->out = tree_copy(tree_strong(t->out));
    p->type = NEWS(Type, p->out->nleaf);
    tree_types(p->out, p->type);
    p->nin = t->g->nin, p->nout = t->g->nout;
    p->keys = keys_of_program(t);
    p->hidden = calloc((size_t)t->ncap + 1, sizeof *p->hidden);
    if (!p->hidden)
        return error_set(E_NOMEM, "out of host memory");
    for (int i = 0; i < t->ncap; i++) {
        if (!t->cap[i].data)
            return error_set(E_TRACE, "%s uses a symbol of another program", t->g->name);
        p->hidden[p->nhidden++] = store_keep(t->cap[i].data);
    }
    p->dealt = p->mesh ? NEWS(Dealt, p->nin) : NULL;
    for (int i = 0; i < p->nhidden && p->mesh; i++)
        p->dealt[i] = store_spec(p->hidden[i], p->mesh);
    for (int i = 0, k = p->nhidden; i < n && p->mesh; i++)
        k = leaf_specs(args[i], p->mesh, p->dealt, k);
    return build_code(p, graph_clone(t->g));
}

static Program *make(hd_fn *f, hd_array *const *args, int n, Device *d, const hd_mesh *mesh, uint64_t hash)
{
    const Tree **part = NEWS(const Tree *, n);
    for (int i = 0; i < n; i++)
        part[i] = array_tree(args[i]);
    const Traced *t = graph_of(f, tree_tuple(part, n));
    Program *p = t ? calloc(1, sizeof *p) : NULL;
    Arena *a = p ? arena_new() : NULL;
    if (!a) {
        free(p);
        if (t)
            error_set(E_NOMEM, "out of host memory");
        return NULL;
    }
    p->kept.refs = 1;
    p->kept.hash = hash, p->kept.free = program_free, p->device = d, p->mesh = mesh, p->arena = a;
    Arena *saved = arena_use(a);
    int e = build(p, t, args, n);
    arena_use(saved);
    if (!e && !error_pending()) /* pending: memory ended, and what was made is not whole */
        return p;
    program_free(&p->kept);
    if (!error_pending())
        error_set(
            E_INTERNAL, "%s: %s could not build the program and gave no reason", fn_name(f), d->info.name);
    return NULL;
}

Program *program_with_code(hd_fn *f, hd_array *const *args, int n, Device *d, const hd_mesh *mesh)
{
    bool before = code_now;
    code_now = true;
    Program *p = program_of(f, args, n, d, mesh);
    code_now = before;
    if (!p || !p->exec || !d->backend->finish || !d->backend->finish(p->exec))
        return p;
    kept_drop(&p->kept);
    return NULL;
}

Program *program_of(hd_fn *f, hd_array *const *args, int n, Device *d, const hd_mesh *mesh)
{
    Wanted w = { args, n, d, mesh };
    uint64_t hash = hash_bytes(&f, sizeof f, (uintptr_t)d);
    Entry e;
    for (int i = 0; i < n; i++)
        hash = array_hash(args[i], hash);
    Program *p = (Program *)kept_find(PROGRAMS, f, hash, program_fits, &w);
    if (p || entry_begin(&e))
        return p;
    /* another thread may have been faster */
    p = (Program *)kept_find(PROGRAMS, f, hash, program_fits, &w);
    if (!p && (p = make(f, args, n, d, mesh, hash)))
        kept_put(PROGRAMS, f, &p->kept);
    entry_end(&e);
    return p;
}
