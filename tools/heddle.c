/*
 * heddle.c - the command line.
 *
 *     heddle devices                         every device, its driver and limits, and what is missing
 *     heddle run FILE.hd [options]           runs a program in text form and prints its results
 *
 * In:  a program; arguments from --in FILE.npy, else from the file's own ";in" lines, else made by a formula.
 * Out: the results, as hd_print writes them. Transforms are applied in the order in which they are given. What happens on the
 *      way is shown by HEDDLE_DUMP=trace,graph,plan,kernel,code,time.
 */
#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "backend.h"

enum { MAX_STEPS = 16, MAX_ARGS = 16 };
enum { KEY_VMAP = 256, KEY_GRAD, KEY_VALUE_AND_GRAD, KEY_JVP, KEY_VJP, KEY_JACFWD, KEY_JACREV, KEY_HESSIAN };

typedef struct Options {
    const char *command, *file, *device, *in[MAX_ARGS];
    int nin, nstep;
    struct { int key; int64_t n; } step[MAX_STEPS];
    bool print;
} Options;

/* ---- devices ---- */

static int devices(void)
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
        printf("           memory  %.1f GiB, %s\n", (double)d.memory / (1 << 30), d.is_cpu ? "a processor" : "an accelerator");
        printf("           types   f32%s%s%s\n", d.has_f16 ? " f16" : ", f16 as storage", d.has_f64 ? ", f64" : ", no f64",
            d.has_i64 ? ", i64" : ", no i64");
        if (d.notes && *d.notes)
            printf("           note    %s\n", d.notes);
    }
    for (int i = 0; device_missing(i); i++)
        printf("missing    %s\n", device_missing(i));
    return failed;
}

/* ---- run ---- */

/* A file's text; NULL after a sentence: a folder, or a device that never ends, is no program. */
static char *slurp(const char *path)
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

/* Numbers of a line, or made: a sine-like walk in [-1, 1) for floats, 0 1 2 ... for integers. Short lines repeat. */
static hd_array *argument(const Type *t, const char *line, int64_t lead)
{
    int64_t each = type_size(t), size = each * (lead ? lead : 1);
    size_t width = dtype_size((Dtype)t->dt);
    char *data = calloc((size_t)(size ? size : 1), width);
    hd_ints shape = { 0 };
    if (lead)
        shape.v[shape.n++] = lead;
    for (int d = 0; d < t->rank; d++)
        shape.v[shape.n++] = t->dim[d];
    const char *at = line;
    for (int64_t i = 0; data && i < size; i++) {
        double v = t->dt == DT_BOOL || dtype_int((Dtype)t->dt) ? (double)(i % 128) : (double)((i * 2654435761u >> 8) % 65536) / 32768 - 1;
        if (line) {
            char *end;
            v = strtod(at, &end);
            if (end == at || (memchr(at, '\n', (size_t)(end - at)) != NULL))
                v = strtod(line, &end);         /* from its beginning again */
            at = end;
        }
        if (dtype_float((Dtype)t->dt))
            dtype_store_f((Dtype)t->dt, data + (size_t)i * width, v);
        else
            dtype_store_i((Dtype)t->dt, data + (size_t)i * width, (int64_t)v);
    }
    hd_array *a = data ? hd_array_new((enum hd_dtype)t->dt, shape, data, NULL) : NULL;
    free(data);
    return a;
}

static hd_fn *transformed(hd_fn *f, const Options *o, int64_t *lead)
{
    for (int i = 0; i < o->nstep; i++) {
        hd_vmap_opts v = { 0 };
        hd_grad_opts g = { 0 };
        switch (o->step[i].key) {
        case KEY_VMAP: f = hd_vmap_n(f, &v); *lead = o->step[i].n; break;
        case KEY_GRAD: f = hd_grad_n(f, &g); break;
        case KEY_VALUE_AND_GRAD: f = hd_value_and_grad_n(f, &g); break;
        case KEY_JVP: f = hd_jvp_n(f); break;
        case KEY_VJP: f = hd_vjp_n(f); break;
        case KEY_JACFWD: f = hd_jacfwd_n(f, &g); break;
        case KEY_JACREV: f = hd_jacrev_n(f, &g); break;
        case KEY_HESSIAN: f = hd_hessian_n(f, &g); break;
        }
    }
    return f;
}

/* The program's inputs; after jvp their tangents too, after vjp the outputs' cotangents. */
static int argument_types(const char *text, const char *name, const Options *o, Type *t)
{
    Arena *a = arena_new(), *before = arena_use(a);
    Graph *g = graph_parse(text, name);
    int n = 0;
    for (int i = 0; g && i < g->nin && n < MAX_ARGS; i++)
        t[n++] = g->type[g->in[i]];
    for (int s = 0; g && s < o->nstep; s++) {
        bool jvp = o->step[s].key == KEY_JVP, vjp = o->step[s].key == KEY_VJP;
        for (int i = 0; jvp && i < g->nin && n < MAX_ARGS; i++)
            t[n++] = g->type[g->in[i]];
        for (int i = 0; vjp && i < g->nout && n < MAX_ARGS; i++)
            t[n++] = g->type[g->out[i]];
    }
    arena_use(before);
    arena_drop(a);
    return g ? n : -1;
}

static int run(const Options *o)
{
    char *text = slurp(o->file);
    Type t[MAX_ARGS];
    hd_array *arg[MAX_ARGS] = { 0 }, *out = NULL;
    int64_t lead = 0;
    if (!text)
        return 1;
    int n = argument_types(text, o->file, o, t), failed = 1;
    if (n < 0)
        fprintf(stderr, "%s\n", error_text());
    else {
        hd_jit_opts j = { .device = o->device };
        hd_fn *f = hd_jit_n(transformed(hd_parse(text, o->file), o, &lead), &j);
        for (int i = 0; i < n; i++)
            arg[i] = i < o->nin ? hd_load(o->in[i]) : argument(&t[i], in_line(text, i), lead);
        failed = (o->print && hd_print_graph_n(stdout, f, arg, n)) || hd_call_n(f, &out, 1, arg, n);
        if (failed)
            fprintf(stderr, "%s\n", hd_error());
        else
            failed = hd_print(stdout, out);
    }
    for (int i = 0; i < MAX_ARGS; i++)
        hd_drop(arg[i]);
    hd_drop(out);
    free(text);
    return failed;
}

/* ---- arguments ---- */

static error_t parse(int key, char *arg, struct argp_state *s)
{
    Options *o = s->input;
    if (key >= KEY_VMAP && key <= KEY_HESSIAN) {
        if (o->nstep == MAX_STEPS)
            argp_error(s, "too many transforms");
        o->step[o->nstep].key = key;
        o->step[o->nstep++].n = arg ? atoll(arg) : 0;
        if (key == KEY_VMAP && (!arg || atoll(arg) < 1))
            argp_error(s, "--vmap wants how many examples");
        return 0;
    }
    switch (key) {
    case 'd': o->device = arg; return 0;
    case 'p': o->print = true; return 0;
    case 'i':
        if (o->nin == MAX_ARGS)
            argp_error(s, "too many arguments");
        o->in[o->nin++] = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (!o->command)
            o->command = arg;
        else if (!o->file)
            o->file = arg;
        else
            argp_error(s, "one program at a time");
        return 0;
    case ARGP_KEY_END:
        if (!o->command || (strcmp(o->command, "devices") && strcmp(o->command, "run")))
            argp_error(s, "devices, or run FILE.hd");
        if (!strcmp(o->command, "run") && !o->file)
            argp_error(s, "which program?");
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

static const struct argp_option options[] = {
    { "device", 'd', "NAME", 0, "where to run: host, opencl:0 ...", 0 },
    { "in", 'i', "FILE.npy", 0, "an argument; once for each, in order", 0 },
    { "print", 'p', NULL, 0, "print the transformed program too", 0 },
    { NULL, 0, NULL, 0, "Transforms, in the order given:", 1 },
    { "vmap", KEY_VMAP, "N", 0, "over N examples", 1 },
    { "grad", KEY_GRAD, NULL, 0, "gradient in the first argument", 1 },
    { "value-and-grad", KEY_VALUE_AND_GRAD, NULL, 0, "and the value", 1 },
    { "jvp", KEY_JVP, NULL, 0, "forward derivative; tangents follow the arguments", 1 },
    { "vjp", KEY_VJP, NULL, 0, "reverse derivative; a cotangent follows the arguments", 1 },
    { "jacfwd", KEY_JACFWD, NULL, 0, "Jacobian, forward", 1 },
    { "jacrev", KEY_JACREV, NULL, 0, "Jacobian, reverse", 1 },
    { "hessian", KEY_HESSIAN, NULL, 0, "second derivatives", 1 },
    { 0 }
};

int main(int argc, char **argv)
{
    static const struct argp argp = { options, parse, "devices\nrun FILE.hd", "Heddle on the command line.", NULL, NULL, NULL };
    Options o = { 0 };
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    return !strcmp(o.command, "devices") ? devices() : run(&o);
}
