/*
 * heddle.c - the command line.
 *
 *     heddle devices [--verbose]             every device, its driver and limits, and what is missing; what
 *     its plans depend on
 *     heddle run FILE.hd [options]           runs a program in text form and prints its results
 *     heddle sim FILE.hd --gpu NAME          runs it on a GPU in software and prints what it did there, and
 *     how fast a real one would
 *     heddle show STAGE FILE.hd [options]    what it is at a stage on its way to a device, of which none is
 *     needed
 *     heddle compare FILE.hd... [options]    how far its results are from the host's on devices, and which
 *     instruction makes the difference (compare.c)
 *
 * In:  a program; arguments from --in FILE.npy, else from the file's own ";in" lines, else made by a
 * formula.
 * Out: the results, as hd_print writes them; or the stage's text. Transforms are applied in the order in
 * which they are given.
 */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "heddle_command.h"
#include "opencl_c.h"
#include "spirv.h"

enum { KEY_VMAP = 256, KEY_GRAD, KEY_VALUE_AND_GRAD, KEY_JVP, KEY_VJP, KEY_JACFWD, KEY_JACREV, KEY_HESSIAN,
    KEY_ALL };
/* of compare alone */
enum { KEY_DEVICES = 512, KEY_NODES, KEY_TOL, KEY_JSON, KEY_HTML, KEY_SHRINK };

/* ---- devices ---- */

/* Rows of HEDDLE_MACHINE, which the host, that plans nothing, has none of. */
static void show_machine(int i)
{
    Device *d = device_at(i);
    Text t = { 0 };
    if (!d || d->backend->build_graph)
        return;
    machine_print(&d->info.machine, &t);
    printf("%s", t.s ? t.s : "");
    text_free(&t);
}

static int devices(bool verbose)
{
    int n = hd_device_count(), failed = 0;
    for (int i = 0; i < n; i++) {
        hd_device_info d;
        if (hd_device(i, &d)) {
            fprintf(stderr, "%s\n", hd_error());
            failed = 1;
            continue;
        }
        printf("%-10s %s\n", d.name, d.model);
        printf("           driver  %s\n", d.driver);
        printf("           memory  %.1f GiB, %s\n", (double)d.memory / (1 << 30),
            d.is_cpu ? "a processor" : "an accelerator");
        printf("           types   f32%s%s%s\n", d.has_f16 ? " f16" : ", f16 as storage",
            d.has_f64 ? ", f64" : ", no f64", d.has_i64 ? ", i64" : ", no i64");
        if (d.notes && *d.notes)
            printf("           note    %s\n", d.notes);
        if (verbose)
            show_machine(i);
    }
    for (int i = 0; device_missing(i); i++)
        printf("missing    %s\n", device_missing(i));
    return failed;
}

/* ---- run ---- */

char *slurp(const char *path)
{
    FILE *f = fopen(path, "rb");
    const char *why = f ? NULL : strerror(errno);
    Text t = { 0 };
    char part[4096];
    size_t n;
    while (!why && (n = fread(part, 1, sizeof part, f)) > 0) {
        why = memchr(part, 0, n) ? "this is no text: it has zero bytes" : NULL;
        text_add(&t, "%.*s", (int)n, part);
    }
    if (f && ferror(f))
        why = strerror(errno);
    if (f)
        fclose(f);
    if (!why)
        return text_take(&t);
    fprintf(stderr, "heddle: %s: %s\n", path, why);
    text_free(&t);
    return NULL;
}

/* The k-th ";in" line of the program's text, or NULL. */
static const char *in_line(const char *text, int k)
{
    for (const char *s = text; s; s = strchr(s, '\n')) {
        s += *s == '\n';
        if (!strncmp(s, ";in", 3) && k-- == 0)
            return s + 3;
        if (!*s)
            return NULL;
    }
    return NULL;
}

/* Numbers of a line, or made: a sine-like walk in [-1, 1) for floats, 0 1 2 ... for integers. Short lines
 * repeat. */
static hd_array *filled(Dtype dt, hd_ints shape, int64_t size, const char *line)
{
    size_t width = dtype_size(dt);
    char *data = calloc((size_t)(size ? size : 1), width);
    const char *at = line;
    for (int64_t i = 0; data && i < size; i++) {
        double v = dt == DT_BOOL || dtype_int(dt) ? (double)(i % 128) :
                                                    (double)((i * 2654435761u >> 8) % 65536) / 32768 - 1;
        if (line) {
            char *end;
            v = strtod(at, &end);
            if (end == at || (memchr(at, '\n', (size_t)(end - at)) != NULL))
                v = strtod(line, &end);         /* from its beginning again */
            at = end;
        }
        if (dtype_float(dt))
            dtype_store_f(dt, data + (size_t)i * width, v);
        else
            dtype_store_i(dt, data + (size_t)i * width, (int64_t)v);
    }
    hd_array *a = data ? hd_array_new((enum hd_dtype)dt, shape, data, NULL) : NULL;
    free(data);
    return a;
}

/* Contents for an abstract array, or tuple of them; *leaf counts arrays, whose lines are in the program's
 * text. */
static hd_array *contents(const hd_array *t, const char *text, int *leaf)
{
    hd_array *part[MAX_ARGS];
    int n = hd_array_len(t);
    if (!t || n > MAX_ARGS)
        return NULL;
    if (!t->tree)
        return filled(
            (Dtype)hd_array_dtype(t), hd_array_shape(t), hd_array_size(t), in_line(text, (*leaf)++));
    for (int i = 0; i < n; i++)
        part[i] = contents(hd_array_nth(t, i), text, leaf);
    return hd_array_tuple_n(part, n);
}

static hd_fn *transformed(hd_fn *f, int key)
{
    hd_vmap_opts v = { 0 };
    hd_grad_opts g = { 0 };
    switch (key) {
    case KEY_VMAP: return hd_vmap_n(f, &v);
    case KEY_GRAD: return hd_grad_n(f, &g);
    case KEY_VALUE_AND_GRAD: return hd_value_and_grad_n(f, &g);
    case KEY_JVP: return hd_jvp_n(f);
    case KEY_VJP: return hd_vjp_n(f);
    case KEY_JACFWD: return hd_jacfwd_n(f, &g);
    case KEY_JACREV: return hd_jacrev_n(f, &g);
    default: return hd_hessian_n(f, &g);
    }
}

static int full(void) { return error_set(E_INVAL, "more than %d arguments", MAX_ARGS); }

/* What a transform does to the arguments: vmap adds an axis to each, jvp a tangent of each, vjp a
 * cotangent. */
static int argue(Lifted *p, int key, int64_t lanes)
{
    int n = p->n;
    for (int i = 0; key == KEY_VMAP && i < n; i++) {
        if (p->arg[i]->tree || p->arg[i]->type.rank == HD_MAX_RANK)
            return error_set(E_INVAL, "--vmap: argument %d cannot have an axis more", i);
        hd_ints shape = { 1, { lanes } }, each = hd_array_shape(p->arg[i]);
        for (int d = 0; d < each.n; d++)
            shape.v[shape.n++] = each.v[d];
        hd_array *wide = hd_array_abstract_n(hd_array_dtype(p->arg[i]), shape);
        hd_drop(p->arg[i]);
        p->arg[i] = wide;
    }
    if (key == KEY_JVP && 2 * n > MAX_ARGS)
        return full();
    for (int i = 0; key == KEY_JVP && i < n; i++)
        p->arg[p->n++] = hd_keep(p->arg[i]);
    if (key != KEY_VJP)
        return 0;
    return n == MAX_ARGS ? full() : hd_eval_shape_n(p->f, &p->arg[p->n++], 1, p->arg, n);
}

int read_program(Lifted *p, const char *text, const Options *o)
{
    Arena *a = arena_new(), *before = arena_use(a);
    Graph *g = graph_parse(text, o->file);
    for (int i = 0; g && i < g->nin && i < MAX_ARGS; i++) {
        const Type *t = &g->type[g->in[i]];
        hd_ints shape = { t->rank, { 0 } };
        memcpy(shape.v, t->dim, sizeof *t->dim * (size_t)t->rank);
        p->arg[p->n++] = hd_array_abstract_n((enum hd_dtype)t->dt, shape);
    }
    int e = !g ? (int)error_code() : g->nin > MAX_ARGS ? full() : 0;
    arena_use(before);
    arena_drop(a);
    p->f = e ? NULL : hd_parse(text, o->file);
    for (int s = 0; s < o->nstep && !e; s++) {
        e = argue(p, o->step[s].key, o->step[s].n);
        p->f = transformed(p->f, o->step[s].key);
    }
    if (!e && o->nin > p->n)
        e = error_set(E_INVAL, "--in %s is one too many: the program has %d argument%s", o->in[p->n], p->n,
                      p->n == 1 ? "" : "s");
    return e;
}

void fill_arguments(const Lifted *p, const char *text, const Options *o, hd_array **arg)
{
    int leaf = 0;
    for (int i = 0; i < p->n; i++)
        arg[i] = i < o->nin ? leaf++, hd_load(o->in[i]) : contents(p->arg[i], text, &leaf);
}

static int run(const Options *o)
{
    char *text = slurp(o->file);
    Lifted p = { 0 };
    hd_array *arg[MAX_ARGS] = { 0 }, *out = NULL;
    if (!text)
        return 1;
    int failed = read_program(&p, text, o);
    if (!failed) {
        hd_jit_opts j = { .device = o->device };
        hd_fn *f = hd_jit_n(p.f, &j);
        fill_arguments(&p, text, o, arg);
        failed = (o->print && hd_print_graph_n(stdout, f, arg, p.n)) || hd_call_n(f, &out, 1, arg, p.n) ||
            (!o->gpu && hd_print(stdout, out));
    }
    if (failed)
        fprintf(stderr, "%s\n", hd_error());
    for (int i = 0; i < MAX_ARGS; i++)
        hd_drop(arg[i]), hd_drop(p.arg[i]);
    hd_drop(out);
    free(text);
    return failed != 0;
}

/* ---- sim ---- */

/* Some groups of large launches, unless all are asked for: the table says so. */
static int simulate(Options *o)
{
    const char *base = strrchr(o->gpu, '/');
    char name[64];
    base = base ? base + 1 : o->gpu;
    snprintf(name, sizeof name, "sim:%.*s", (int)strcspn(base, "."), base);
    o->device = name;
    if (setenv("HEDDLE_SIM", o->gpu, 1) || (!o->all && setenv("HEDDLE_SIM_GROUPS", "64", 0)))
        return perror("heddle"), 1;
    dump_only("counts", stdout);
    int failed = run(o);
    o->device = NULL;
    return failed;
}

/* ---- show ---- */

/* What a program is planned and printed for: a machine that is nobody's, whose drivers can do everything. */
typedef struct Shown { Machine machine; Target target; OpenclCaps opencl; SpirvCaps spirv; } Shown;

static const char *const stages[] = { "trace", "graph", "prepared", "spec", "kernel", "plan", "opencl",
    "spirv" };

/* cpu, gpu, or a file with rows of the table. */
static int shown_on(Shown *s, const char *name)
{
    bool gpu = name && !strcmp(name, "gpu");
    s->machine = gpu ? machine_gpu : machine_processor;
    if (name && !gpu && strcmp(name, "cpu") && machine_read(&s->machine, name))
        return 1;
    s->target = (Target){ .device = name ? name : "cpu",
        .machine = &s->machine,
        .f64 = true,
        .i64 = true,
        .f16 = true,
        .max_alloc = INT64_C(1) << 32 };
    s->opencl = (OpenclCaps){ .f64 = true, .one_item = true, .cache = 1 << 20 };
    s->spirv = (SpirvCaps){ .i64 = true,
        .f64 = true,
        .byte_storage = true,
        .short_storage = true,
        .bytes = true,
        .shorts = true,
        .exact_div = { true, true },
        .exact_sqrt = { true, true },
        .group = s->machine.lanes > 1 ? 64 : 8 };
    return 0;
}

/* The kernels of a plan in a device's language. */
static int print_language(const Plan *p, const Shown *m, bool spirv, Text *t)
{
    Kernel **list;
    int n, e = 0, local;
    plan_code(p, &list, &n);
    if (!spirv)
        return opencl_c_print((const Kernel *const *)list, n, &m->opencl, t) ||
            (check_stage("opencl") && opencl_c_check(t->s, (const Kernel *const *)list, n));
    for (int k = 0; k < n && !e; k++) {
        uint32_t *words = NULL;
        size_t nword = 0;
        e = spirv_write(list[k], &m->spirv, &words, &nword, &local);
        e = e || !check_stage("spirv") ? e : spirv_check(list[k]->name, words, nword);
        if (!e)
            spirv_text(list[k]->name, words, nword, local, t);
        free(words);
    }
    return e;
}

/* In an arena and an entry of its own: what the library does for a call. */
static int show_stage(const Lifted *p, const char *stage, const Shown *m)
{
    bool opencl = !strcmp(stage, "opencl"), spirv = !strcmp(stage, "spirv");
    const Tree *tree[MAX_ARGS + 1];
    Entry e;
    Text t = { 0 };
    if (entry_begin(&e))
        return 1;
    for (int i = 0; i < p->n; i++)
        tree[i] = array_tree(p->arg[i]);
    dump_only(stage, stdout);
    const Traced *traced = graph_of(p->f, tree_tuple(tree, p->n));
    Arena *a = arena_new(), *before = arena_use(a);
    const Plan *plan = traced ? compile_plan(graph_clone(traced->g), &m->target) : NULL;
    int failed = !plan || ((opencl || spirv) && print_language(plan, m, spirv, &t)) || error_pending();
    fputs(t.s && !failed ? t.s : "", stdout);
    text_free(&t);
    arena_use(before);
    arena_drop(a);
    entry_end(&e);
    return failed;
}

static int show(const Options *o)
{
    char *text = slurp(o->file);
    Lifted p = { 0 };
    Shown on;
    if (!text)
        return 1;
    int failed = read_program(&p, text, o) || shown_on(&on, o->machine) || show_stage(&p, o->stage, &on);
    if (failed)
        fprintf(stderr, "%s\n", hd_error());
    for (int i = 0; i <= MAX_ARGS; i++)
        hd_drop(p.arg[i]);
    free(text);
    return failed != 0;
}

/* ---- arguments ---- */

static const char usage[] =
    "Usage: heddle devices [--verbose]\n"
    "       heddle run FILE.hd [OPTION...]\n"
    "       heddle sim FILE.hd --gpu NAME [OPTION...]\n"
    "       heddle show STAGE FILE.hd [OPTION...]\n"
    "       heddle compare FILE.hd... [OPTION...]\n"
    "Stages: trace, graph, prepared, spec, kernel, plan, opencl, spirv.\n"
    "  -m, --machine NAME     of show: what it is planned for: cpu, gpu, or a file as of HEDDLE_MACHINE\n"
    "  -d, --device NAME      where to run: host, opencl:0 ...\n"
    "  -g, --gpu NAME         of sim: h200, rx7900xtx, arcb580, malig715, or a file (docs/sim.md)\n"
    "      --all              of sim: every work-group of every launch, and not some of large ones\n"
    "  -i, --in FILE.npy      an argument; once for each, in order (--inputs is the same)\n"
    "  -p, --print            print the transformed program too\n"
    "  -v, --verbose          with devices: the table that plans for each depend on, as HEDDLE_MACHINE "
    "takes it\n"
    "Of compare; its status is 0 where all agree, 1 where something differs, 2 where nothing was compared:\n"
    "  --devices NAMES        with commas: opencl:0,vulkan:0 (all but the host)\n"
    "  --nodes                which instruction makes the difference, run by itself from the host's values\n"
    "  --tol T                how many roundings results may be apart (16); 0: not a bit\n"
    "  --shrink DIR           the smallest program that still differs, its inputs and its kernels, in DIR\n"
    "  --json                 a line of JSON for each program\n"
    "  --html FILE            a page with tables, histograms and the graph\n"
    "Transforms, in the order given:\n"
    "  --vmap N               over N examples; given again: over a batch of batches\n"
    "  --grad                 gradient in the first argument\n"
    "  --value-and-grad       and the value\n"
    "  --jvp                  forward derivative; tangents follow the arguments\n"
    "  --vjp                  reverse derivative; a cotangent follows the arguments\n"
    "  --jacfwd, --jacrev     Jacobian, forward, reverse\n"
    "  --hessian              second derivatives\n";

static _Noreturn void misused(const char *format, ...)
{
    va_list v;
    va_start(v, format);
    fprintf(stderr, "heddle: ");
    vfprintf(stderr, format, v);
    va_end(v);
    fprintf(stderr, "\nheddle --help says more\n");
    exit(2);
}

static int64_t examples(const char *arg)
{
    char *end;
    long long n = strtoll(arg, &end, 10);
    if (*end || end == arg || n < 1)
        misused("--vmap wants how many examples, not \"%s\"", arg);
    return n;
}

static double tolerance(const char *arg)
{
    char *end;
    double t = strtod(arg, &end);
    if (*end || end == arg || !(t >= 0))
        misused("--tol wants how many roundings, not \"%s\"", arg);
    return t;
}

static void compare_option(Options *o, int key, const char *arg)
{
    o->compares = true;
    switch (key) {
    case KEY_DEVICES: o->devices = arg; break;
    case KEY_NODES: o->nodes = true; break;
    case KEY_TOL: o->tol = tolerance(arg); break;
    case KEY_JSON: o->json = true; break;
    case KEY_HTML: o->html = arg; break;
    default: o->shrink = arg;
    }
}

static void option(Options *o, int key, const char *arg)
{
    if (key >= KEY_DEVICES) {
        compare_option(o, key, arg);
        return;
    }
    if (key >= KEY_VMAP && key <= KEY_HESSIAN) {
        if (o->nstep == MAX_STEPS)
            misused("too many transforms");
        o->step[o->nstep].key = key;
        o->step[o->nstep++].n = key == KEY_VMAP ? examples(arg) : 0;
        return;
    }
    switch (key) {
    case 'd':
        if (o->device)
            misused("one device at a time, not %s and %s", o->device, arg);
        o->device = arg;
        break;
    case 'p': o->print = true; break;
    case 'm': o->machine = arg; break;
    case 'v': o->verbose = true; break;
    case 'g': o->gpu = arg; break;
    case KEY_ALL: o->all = true; break;
    case 'i':
        if (o->nin == MAX_ARGS)
            misused("too many arguments");
        o->in[o->nin++] = arg;
        break;
    case 'h': fputs(usage, stdout); exit(0);
    default: misused("what is meant?");
    }
}

static bool is_stage(const char *word)
{
    bool is = false;
    for (size_t k = 0; k < sizeof stages / sizeof *stages; k++)
        is = is || !strcmp(word, stages[k]);
    return is;
}

/* Of compare: programs, and behind --inputs the other arguments. */
static void compare_words(Options *o, char **word, int n)
{
    o->files = word;
    for (int k = 0; k < n; k++) {
        size_t len = strlen(word[k]);
        if (len > 4 && !strcmp(word[k] + len - 4, ".npy"))
            option(o, 'i', word[k]);
        else
            word[o->nfile++] = word[k];
    }
    if (!o->nfile)
        misused("which program?");
    if (o->device || o->print || o->machine || o->verbose)
        misused("compare takes --devices, --nodes, --tol, --shrink, --json, --html, inputs and transforms");
    if (o->nfile > 1 && (o->nin || o->html || o->shrink))
        misused("inputs, --html and --shrink are for one program");
}

static void words(Options *o, char **word, int n)
{
    o->command = n > 0 ? word[0] : NULL;
    bool devices = n && !strcmp(word[0], "devices"), show = n && !strcmp(word[0], "show");
    if (n && !strcmp(word[0], "compare")) {
        compare_words(o, word + 1, n - 1);
        return;
    }
    o->stage = show && n > 1 ? word[1] : NULL;
    o->file = n > 1 + show ? word[1 + show] : NULL;
    bool sim = n && !strcmp(word[0], "sim");
    if (!n || (!devices && !show && !sim && strcmp(word[0], "run")))
        misused("devices, run FILE.hd, sim FILE.hd, show STAGE FILE.hd, or compare FILE.hd");
    if (sim != !!o->gpu || (o->all && !sim) || (sim && o->device))
        misused("sim FILE.hd --gpu NAME, and --all if so: these belong together, and go to no other device");
    if (o->compares)
        misused("--devices, --nodes, --tol, --shrink, --json and --html are for compare");
    if (n > 2 + show)
        misused("one program at a time");
    if (devices && (o->file || o->device || o->nin || o->nstep || o->print || o->machine))
        misused("devices takes nothing else");
    if (show && (!o->stage || !is_stage(o->stage)))
        misused("show trace, graph, prepared, spec, kernel, plan, opencl or spirv of a program, not \"%s\"",
            o->stage ? o->stage : "");
    if (show && (o->device || o->nin || o->print))
        misused("show runs nothing: it takes transforms and --machine alone");
    if (!show && o->machine)
        misused("--machine is for show: devices are what they are");
    if (!devices && o->verbose)
        misused("--verbose is for devices");
    if (!devices && !o->file)
        misused("which program?");
}

int main(int argc, char **argv)
{
    static const struct option known[] = { { "device", 1, NULL, 'd' }, { "in", 1, NULL, 'i' },
        { "print", 0, NULL, 'p' }, { "machine", 1, NULL, 'm' }, { "verbose", 0, NULL, 'v' },
        { "help", 0, NULL, 'h' }, { "gpu", 1, NULL, 'g' }, { "all", 0, NULL, KEY_ALL },
        { "vmap", 1, NULL, KEY_VMAP }, { "grad", 0, NULL, KEY_GRAD },
        { "value-and-grad", 0, NULL, KEY_VALUE_AND_GRAD }, { "jvp", 0, NULL, KEY_JVP },
        { "vjp", 0, NULL, KEY_VJP }, { "jacfwd", 0, NULL, KEY_JACFWD }, { "jacrev", 0, NULL, KEY_JACREV },
        { "hessian", 0, NULL, KEY_HESSIAN }, { "inputs", 1, NULL, 'i' }, { "devices", 1, NULL, KEY_DEVICES },
        { "nodes", 0, NULL, KEY_NODES }, { "tol", 1, NULL, KEY_TOL }, { "json", 0, NULL, KEY_JSON },
        { "html", 1, NULL, KEY_HTML }, { "shrink", 1, NULL, KEY_SHRINK }, { 0 } };
    Options o = { .tol = -1 };
    for (int key; (key = getopt_long(argc, argv, "d:i:pm:g:hv", known, NULL)) != -1; )
        option(&o, key, optarg);
    words(&o, argv + optind, argc - optind);
    return !strcmp(o.command, "devices") ? devices(o.verbose) :
        !strcmp(o.command, "show")       ? show(&o) :
        !strcmp(o.command, "sim")        ? simulate(&o) :
        !strcmp(o.command, "compare")    ? compare_command(&o) :
                                           run(&o);
}
