/*
 * bench.c - runs the workloads: each in a process of its own, with empty caches on disk, then once more with
 * full ones.
 *
 * A process of its own makes the first call a first call, and a crash one row of the table. The child writes
 * one JSON object; the parent adds what it knows about the machine. A time counts only where the checksum
 * agrees.
 */
#define _GNU_SOURCE
#include "measure.h"

#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Options {
    const char *device, *group, *json, *sums;
    double seconds, limit;
    bool list, check, no_cached;
    char **names;
    int nnames;
    const char *child;                          /* a workload: this process runs it */
    bool first;                                 /* child: its first call only */
} Options;

/* ==================== options */

enum { CHILD = 256, FIRST, SUMS, LIMIT, NO_CACHED };

static const char usage[] =
    "Usage: bench [OPTION...] [NAME...]\nTimes the workloads of bench/README.md.\n"
    "  -d, --device NAME       where to run: host, opencl:0, ... (default: the fastest); sim:h200 predicts\n"
    "  -g, --group NAME        only the workloads of this group\n"
    "  -t, --min-time SECONDS  samples of a workload take this long at least (default 1)\n"
    "  -j, --json FILE         one JSON object a workload\n"
    "  -l, --list              names, groups and targets\n"
    "  -c, --check             one call each, for its checksum\n"
    "  --checksums FILE        what results must add up to\n"
    "  --limit SECONDS         a workload that takes longer is given up (default 120)\n"
    "  --no-cached             leave the first call with full caches out\n";

static const struct option known[] = { { "device", 1, NULL, 'd' }, { "group", 1, NULL, 'g' },
    { "min-time", 1, NULL, 't' }, { "json", 1, NULL, 'j' }, { "list", 0, NULL, 'l' },
    { "check", 0, NULL, 'c' }, { "checksums", 1, NULL, SUMS }, { "limit", 1, NULL, LIMIT },
    { "no-cached", 0, NULL, NO_CACHED }, { "child", 1, NULL, CHILD }, { "first", 0, NULL, FIRST }, { 0 } };

static bool take(Options *o, int key, char *arg)
{
    switch (key) {
    case 'd': o->device = arg; return true;
    case 'g': o->group = arg; return true;
    case 't': o->seconds = atof(arg); return true;
    case 'j': o->json = arg; return true;
    case 'l': o->list = true; return true;
    case 'c': o->check = true; return true;
    case SUMS: o->sums = arg; return true;
    case LIMIT: o->limit = atof(arg); return true;
    case NO_CACHED: o->no_cached = true; return true;
    case CHILD: o->child = arg; return true;
    case FIRST: o->first = true; return true;
    default: return false;
    }
}

static bool parse(int argc, char **argv, Options *o)
{
    for (int key; (key = getopt_long(argc, argv, "d:g:t:j:lc", known, NULL)) != -1; )
        if (!take(o, key, optarg))
            return fputs(usage, stderr), false;
    o->names = argv + optind, o->nnames = argc - optind;
    for (int i = 0; i < o->nnames; i++)
        if (!workload_named(o->names[i]))
            return fprintf(stderr, "bench: no workload %s: see --list\n", o->names[i]), false;
    return true;
}

/* Those whose first call is what counts are asked for: the mean is over the others. */
static bool wanted(const Options *o, const Workload *w)
{
    bool named = !o->nnames && (o->group || strcmp(w->group, "first") != 0);
    for (int i = 0; i < o->nnames; i++)
        named |= !strcmp(o->names[i], w->name);
    return named && (!o->group || !strcmp(o->group, w->group));
}

/* ==================== the child */

/* NULL where a number is not finite: JSON has none of those. */
static json_t *times_row(const Times *t)
{
    const Checksum *c = &t->sum;
    if (!isfinite(c->sum) || !isfinite(c->abs))
        return NULL;
    const hd_cost_info *m = &t->cost;
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:i, s:I, s:I, s:I, s:I, "
                     "s:f, s:f, s:[f,f,f,f]}",
        "min_ms", t->min, "median_ms", t->median, "sys_ms", t->sys, "cpu_ms", t->cpu, "bytes", t->bytes,
        "flops", t->flops, "first_call_ms", t->first, "trace_ms", m->trace_ms, "transform_ms",
        m->transform_ms, "schedule_ms", m->schedule_ms, "compile_ms", m->compile_ms, "run_ms", t->run,
        "calls", t->calls, "kernels", (json_int_t)m->kernels, "launches", (json_int_t)m->launches,
        "temporary_bytes", (json_int_t)m->temporary_bytes, "n", (json_int_t)c->n, "sum", c->sum, "abs",
        c->abs, "elems", c->elem[0], c->elem[1], c->elem[2], c->elem[3]);
}

static void tell_device(json_t *row, const char *name)
{
    hd_device_info d;
    int i = 0;
    while (i < hd_device_count() && (hd_device(i, &d) || strcmp(d.name, name)))
        i++;
    if (i == hd_device_count())
        return;
    json_object_set_new(row, "heddle", json_string(hd_version())),
        json_object_set_new(row, "device", json_string(d.name));
    json_object_set_new(row, "model", json_string(d.model)),
        json_object_set_new(row, "driver", json_string(d.driver));
}

static int child(const Options *o)
{
    const Workload *w = workload_named(o->child);
    Times t;
    int e = w && w->function ? measure(w, o->device, o->first || o->check ? -1 : o->seconds, &t) : HD_EINVAL;
    json_t *row = e ? json_pack("{s:s}", "failed", hd_error()) : times_row(&t);
    if (!row)
        row = json_pack("{s:s}", "failed", "the result is not finite");
    tell_device(row, o->device);
    json_dumpf(row, stdout, JSON_COMPACT);
    json_decref(row);
    return 0;
}

/* Everything the child wrote, until it ends or its time is over. */
static json_t *read_row(int fd, pid_t pid, double limit)
{
    char text[1 << 16];
    size_t n = 0;
    double stop = now_ms() + 1e3 * limit;
    bool late = false;
    for (;;) {
        struct pollfd p = { fd, POLLIN, 0 };
        double left = stop - now_ms();
        int k = left > 0 ? poll(&p, 1, (int)left + 1) : 0;
        if (k < 0 && errno == EINTR)
            continue;
        ssize_t got = k > 0 && n < sizeof text - 1 ? read(fd, text + n, sizeof text - 1 - n) : 0;
        if (!k) {
            late = true;
            kill(pid, SIGKILL);
        }
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    int status = 0;
    waitpid(pid, &status, 0);
    text[n] = 0;
    json_t *row = late ? json_pack("{s:s}", "failed", "took too long") : json_loads(text, 0, NULL);
    if (!row && WIFSIGNALED(status))
        row = json_pack("{s:s+}", "failed", "crashed: ", strsignal(WTERMSIG(status)));
    return row ? row : json_pack("{s:s}", "failed", "wrote no result");
}

static json_t *spawn(const Options *o, const char *name, const char *cache, bool first)
{
    int p[2];
    char seconds[32], db[256];
    snprintf(seconds, sizeof seconds, "%g", o->seconds);
    snprintf(db, sizeof db, "%s/programs.db", cache);
    if (pipe(p))
        return NULL;
    fflush(NULL);
    pid_t pid = fork();
    if (!pid) {
        const char *argv[16] = { "bench", "--child", name, "--min-time", seconds };
        int n = 5;
        if (o->device)
            argv[n++] = "--device", argv[n++] = o->device;
        if (first)
            argv[n++] = "--first";
        if (o->check)
            argv[n++] = "--check";
        setenv("HEDDLE_CACHE", db, 1), setenv("POCL_CACHE_DIR", cache, 1),
            setenv("XDG_CACHE_HOME", cache, 1);
        setenv("CUDA_CACHE_PATH", cache, 1), setenv("__GL_SHADER_DISK_CACHE_PATH", cache, 1);
        dup2(p[1], STDOUT_FILENO);
        close(p[0]), close(p[1]);
        execv("/proc/self/exe", (char *const *)argv);
        _exit(127);
    }
    close(p[1]);
    json_t *row = pid > 0 ? read_row(p[0], pid, o->limit) : NULL;
    close(p[0]);
    return row;
}

static int remove_entry(const char *path, const struct stat *s, int flag, struct FTW *f)
{
    (void)s, (void)flag, (void)f;
    return remove(path);
}

/* ==================== rows */

static double number(const json_t *row, const char *key)
{
    return json_number_value(json_object_get(row, key));
}
static const char *failed(const json_t *row) { return json_string_value(json_object_get(row, "failed")); }
static void set(json_t *row, const char *key, double v)
{
    json_object_set_new(row, key, isfinite(v) ? json_real(v) : json_null());
}

static json_t *run_in(const Options *o, const char *name, bool first, bool again, double *cached)
{
    char cache[] = "/tmp/heddle-bench-XXXXXX";
    if (!mkdtemp(cache))
        return json_pack("{s:s}", "failed", "no folder for caches");
    json_t *row = spawn(o, name, cache, first);
    if (row && !failed(row) && again) {
        json_t *second = spawn(o, name, cache, true);
        *cached = second && !failed(second) ? number(second, "first_call_ms") : NAN;
        json_decref(second);
    }
    nftw(cache, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return row;
}

/* First calls of another workload, from nothing each time. */
static json_t *run_compile(const Options *o, const Workload *w)
{
    double ms[3], cached = NAN;
    int n = o->check ? 1 : 3;
    json_t *row = NULL;
    for (int i = 0; i < n; i++) {
        json_decref(row);
        row = run_in(o, w->first_call_of, true, !i && !o->check && !o->no_cached, &cached);
        if (failed(row))
            return row;
        ms[i] = number(row, "first_call_ms");
        for (int k = i; k > 0 && ms[k] < ms[k - 1]; k--) {
            double swap = ms[k];
            ms[k] = ms[k - 1], ms[k - 1] = swap;
        }
    }
    set(row, "min_ms", ms[0]), set(row, "median_ms", ms[n / 2]), set(row, "cached_call_ms", cached);
    set(row, "bytes", 0), set(row, "flops", 0);
    return row;
}

static json_t *run_row(const Options *o, const Workload *w)
{
    double cached = NAN;
    if (w->missing)
        return json_pack("{s:s+}", "failed", "missing: ", w->missing);
    if (w->first_call_of)
        return run_compile(o, w);
    json_t *row = run_in(o, w->name, false, !o->check && !o->no_cached, &cached);
    if (!failed(row))
        set(row, "cached_call_ms", cached);
    return row;
}

static bool sum_of(const json_t *row, Checksum *c)
{
    const json_t *e = json_object_get(row, "elems");
    c->n = json_integer_value(json_object_get(row, "n")), c->sum = number(row, "sum"),
    c->abs = number(row, "abs");
    for (size_t i = 0; i < 4; i++)
        c->elem[i] = json_number_value(json_array_get(e, i));
    return e != NULL;
}

/* Two lines: a call, and what came before it. */
static void print_row(const char *name, const json_t *row, FILE *table)
{
    double error = number(row, "error");
    fprintf(table,
        "%-20s min %10.4f median %10.4f cpu %9.3f sys %8.3f ms  launches %-5.0f bytes %-8.3g flops %-8.3g "
        "bandwidth %.2f roof %.2f  error %.3g%s\n",
        name, number(row, "min_ms"), number(row, "median_ms"), number(row, "cpu_ms"), number(row, "sys_ms"),
        number(row, "launches"), number(row, "bytes"), number(row, "flops"), number(row, "bandwidth_share"),
        number(row, "roofline_share"), error, error <= 1 ? "" : "  CHECKSUM DIFFERS");
    fprintf(table,
        "%20s first call %.1f ms: trace %.1f, transforms %.1f, schedule %.1f, compile %.1f, run %.1f; "
        "cached %.1f\n",
        "", number(row, "first_call_ms"), number(row, "trace_ms"), number(row, "transform_ms"),
        number(row, "schedule_ms"), number(row, "compile_ms"), number(row, "run_ms"),
        number(row, "cached_call_ms"));
    fflush(table);
}

/* Adds names, shares of the limits and the checksum's error; prints it. True if the row counts. */
static bool finish(const Workload *w, json_t *row, const json_t *want, Limits l, FILE *table)
{
    Checksum a, b;
    bool known = want && sum_of(row, &a) && sum_of(want, &b);
    double error = known ? checksum_error(w, &a, &b) : 0, ms = number(row, "min_ms");
    json_object_set_new(row, "name", json_string(w->name)),
        json_object_set_new(row, "group", json_string(w->group));
    set(row, "target", w->target);
    if (failed(row)) {
        fprintf(stderr, "%-20s %s\n", w->name, failed(row));
        return false;
    }
    double memory = l.bytes && ms ? number(row, "bytes") / l.bytes / ms : 0;
    double roof = l.flops && ms ? fmax(memory, number(row, "flops") / l.flops / ms) : 0;
    set(row, "bandwidth_share", memory), set(row, "roofline_share", roof), set(row, "error", error);
    print_row(w->name, row, table);
    return error <= 1;
}

static json_t *read_sums(const char *path)
{
    FILE *f = fopen(path, "r");
    json_t *all = json_object(), *row;
    while (f && (row = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL))) {
        const char *name = json_string_value(json_object_get(row, "name"));
        if (name)
            json_object_set(all, name, row);
        json_decref(row);
    }
    if (f)
        fclose(f);
    return all;
}

static int run_all(const Options *o)
{
    json_t *sums = read_sums(o->sums);
    FILE *out = !o->json ? NULL : strcmp(o->json, "-") ? fopen(o->json, "w") : stdout;
    Limits l = o->check ? (Limits){ 0 } : machine_limits();
    int total = workload_count(), bad = 0, done = 0, many = 0;

    if (!json_object_size(sums) || (o->json && !out)) {
        fprintf(stderr, "bench: cannot open %s\n", json_object_size(sums) ? o->json : o->sums);
        json_decref(sums);
        return 2;
    }
    for (int i = 0; i < total; i++)
        many += wanted(o, workload_at(i));
    if (l.bytes)
        fprintf(stderr, "triad %.1f GB/s, multiply-add %.1f Gflop/s\n", l.bytes / 1e6, l.flops / 1e6);
    for (int i = 0; i < total; i++) {
        const Workload *w = workload_at(i);
        if (!wanted(o, w))
            continue;
        if (isatty(STDERR_FILENO))
            fprintf(stderr, "[%d/%d] %s\r", ++done, many, w->name);
        json_t *row = run_row(o, w);
        bad += !finish(w, row, w->first_call_of ? NULL : json_object_get(sums, w->name), l,
            out == stdout ? stderr : stdout);
        if (out) {
            json_dumpf(row, out, JSON_COMPACT);
            fputc('\n', out), fflush(out);
        }
        json_decref(row);
    }
    if (out && out != stdout)
        fclose(out);
    json_decref(sums);
    fprintf(stderr, "%d of %d workloads %s\n", many - bad, many, bad ? "agree" : "agree: all");
    return bad > 0;
}

static int predict_all(const Options *o)
{
    int bad = 0;
    for (int i = 0; workload_at(i); i++) {
        const Workload *w = workload_at(i);
        if (wanted(o, w) && !w->missing && !w->first_call_of)
            bad += !predict(w->name, o->device);
    }
    return bad > 0;
}

static void list(const Workload *w)
{
    printf("%-8s %-20s %5.4g%s%s\n", w->group, w->name, w->target, w->missing ? "  missing: " : "",
        w->missing ? w->missing : "");
}

int main(int argc, char **argv)
{
    Options o = { .seconds = 1, .limit = 120, .sums = BENCH_CHECKSUMS };
    if (!parse(argc, argv, &o))
        return 2;
    if (o.list) {
        for (int i = 0; workload_at(i); i++)
            if (wanted(&o, workload_at(i)))
                list(workload_at(i));
        return 0;
    }
    if (!o.device)
        o.device = hd_default_device(NULL);
    bool simulated = !strncmp(o.device, "sim:", 4);
    return o.child ? child(&o) : simulated ? predict_all(&o) : run_all(&o);
}
