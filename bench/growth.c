/*
 * growth.c - how time and memory grow with size. Each law must hold on every device, whatever its speed.
 *
 *     growth [--device D] [--limit S] [--json FILE] [vmap] [scan] [memory] [graph]
 *
 * One line a size, then whether the law holds; in the file one object a law, with its points and the most
 * they may have.
 *
 * Every size runs in a process of its own with empty caches, so that first calls are first calls and memory
 * is its own.
 */
#define _GNU_SOURCE
#include "measure.h"

#include <ftw.h>
#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_POINTS = 7 };

typedef struct Point {
    double first, run, compile;                 /* ms; compile: the first call without its run */
    double kilobytes;                           /* growth of the process in the calls */
} Point;

/* ==================== programs */

static hd scaled(hd x) { return hd_mul(hd_tanh(hd_dot(x, x)), x); }

static hd relax(hd w, hd b, hd x, hd nothing)
{
    (void)nothing;
    return hd_tuple(hd_tanh(hd_add(hd_dot(w, x), b)), HD_NIL);
}

static hd relaxed(hd w, hd b, hd x, const void *n)
{
    return hd_nth(hd_scan(hd_partial(relax, w, b), x, HD_NIL, .length = *(const int64_t *)n), 0);
}

static hd many(hd x, const void *n)
{
    for (int64_t i = 0; i < *(const int64_t *)n / 2; i++) {
        x = i % 3 == 0 ? hd_sin(x) : i % 3 == 1 ? hd_mul(x, x) : hd_flip(x, 0);
        x = hd_add(x, x);
    }
    return x;
}

static hd_fn *vmap_fn(int64_t n) { (void)n; return hd_vmap(scaled); }
static hd_fn *scan_fn(int64_t n) { return hd_bind(relaxed, n); }
static hd_fn *graph_fn(int64_t n) { return hd_bind(many, n); }
static hd_fn *memory_fn(int64_t n) { (void)n; return workload_named("rnn_grad")->function(NULL); }

static int vmap_args(int64_t n, hd_array **a) { a[0] = A(1, n, 8); return 1; }
static int graph_args(int64_t n, hd_array **a) { (void)n; a[0] = A(1, 64); return 1; }

static int scan_args(int64_t n, hd_array **a)
{
    (void)n;
    a[0] = AR(1, .5, 0, 8, 8), a[1] = AR(2, .5, 0, 8), a[2] = A(3, 8);
    return 3;
}

enum { HIDDEN = 64, FEATURES = 16, BATCH = 16, STATE_KB = HIDDEN * BATCH * 4 / 1024 };

static int memory_args(int64_t n, hd_array **a)
{
    const int64_t size[MAX_SIZES] = { n, HIDDEN, FEATURES, BATCH };
    return workload_named("rnn_grad")->args(size, a);
}

/* ==================== laws: the most that a point may have, after the one before of a tenth of its size */

static const Point anything = { INFINITY, INFINITY, INFINITY, INFINITY };

static Point vmap_most(const Point *p, const int64_t *size, int i)
{
    Point most = anything;
    (void)size;
    most.first = 1.5 * p[0].first;
    if (i)
        most.run = 11 * p[i - 1].run + p[0].run;        /* that of one is a launch */
    return most;
}

static Point scan_most(const Point *p, const int64_t *size, int i)
{
    Point most = anything;
    (void)size;
    most.compile = 1.2 * p[0].compile;
    if (i > 1)
        most.run = 11 * p[i - 1].run;
    return most;
}

/* Three states a step, and the arguments that lie there anyway. */
static Point memory_most(const Point *p, const int64_t *size, int i)
{
    Point most = anything;
    if (i)
        most.kilobytes = p[i - 1].kilobytes + 3.0 * STATE_KB * (double)(size[i] - size[i - 1]) + 2048;
    return most;
}

static Point graph_most(const Point *p, const int64_t *size, int i)
{
    Point most = anything;
    (void)size;
    if (i)
        most.compile = 12 * p[i - 1].compile;
    return most;
}

static bool within(const Point *p, const Point *most)
{
    return p->first <= most->first && p->run <= most->run && p->compile <= most->compile &&
        p->kilobytes <= most->kilobytes;
}

typedef struct Law {
    const char *name;
    hd_fn *(*function)(int64_t);
    int (*args)(int64_t, hd_array **);
    Point (*most)(const Point *, const int64_t *size, int i);
    int64_t size[MOST_POINTS + 1];
} Law;

static const Law laws[] = {
    { "vmap", vmap_fn, vmap_args, vmap_most, { 1, 10, 100, 1000, 10000, 100000, 1000000 } },
    { "scan", scan_fn, scan_args, scan_most, { 10, 100, 1000, 10000, 100000, 1000000 } },
    { "memory", memory_fn, memory_args, memory_most, { 64, 256, 1024, 4096 } },
    { "graph", graph_fn, graph_args, graph_most, { 100, 1000, 10000, 100000 } },
};

/* ==================== one size */

static double peak_kilobytes(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_maxrss;
}

static hd waking(hd x) { return hd_mul(x, hd_c(3)); }

static int one(hd_fn *f, hd_array *const *args, int n, double *ms)
{
    hd_array *out = NULL;
    double start = now_ms();
    int e = hd_call_n(f, &out, 1, args, n);
    if (!e)
        e = hd_wait(out);
    *ms = now_ms() - start;
    hd_drop(out);
    return e;
}

static int point(const Law *law, int64_t size, const char *device, Point *p)
{
    if (!device)
        device = hd_default_device(NULL);       /* not in the parent: drivers do not survive a fork */
    hd_array *args[MAX_ARGS], *x = A(1, 1 << 20), *there = hd_put(x, device);
    double ms, stop;
    int n = law->args(size, args), e = one(HD_FN(waking), &there, 1, &ms);
    hd_drop(x), hd_drop(there);
    for (int i = 0; i < n; i++) {
        hd_array *moved = hd_put(args[i], device);
        hd_drop(args[i]);
        args[i] = moved;
    }
    double before = peak_kilobytes();
    if (!e && !(e = one(law->function(size), args, n, &p->first))) {
        p->run = INFINITY;
        stop = now_ms() + 300;
        for (int k = 0; !e && (k < 5 || now_ms() < stop); k++) {
            e = one(law->function(size), args, n, &ms);
            p->run = fmin(p->run, ms);
        }
        p->compile = p->first - p->run;
        p->kilobytes = peak_kilobytes() - before;
    }
    for (int i = 0; i < n; i++)
        hd_drop(args[i]);
    if (e)
        fprintf(stderr, "%s %lld: %s\n", law->name, (long long)size, hd_error());
    return e;
}

static int remove_entry(const char *path, const struct stat *s, int flag, struct FTW *f)
{
    (void)s, (void)flag, (void)f;
    return remove(path);
}

/* The point, from a process of its own. False if it gave none in time. */
static bool apart(const Law *law, int64_t size, const char *device, double limit, Point *p)
{
    char cache[] = "/tmp/heddle-growth-XXXXXX", db[64];
    int fd[2];
    if (!mkdtemp(cache) || pipe(fd))
        return false;
    fflush(NULL);
    pid_t pid = fork();
    if (!pid) {
        snprintf(db, sizeof db, "%s/programs.db", cache);
        setenv("HEDDLE_CACHE", db, 1), setenv("POCL_CACHE_DIR", cache, 1),
            setenv("XDG_CACHE_HOME", cache, 1);
        int e = point(law, size, device, p);
        ssize_t done = e ? 0 : write(fd[1], p, sizeof *p);
        _exit(done != (ssize_t)sizeof *p);
    }
    close(fd[1]);
    struct pollfd wait = { fd[0], POLLIN, 0 };
    bool got = poll(&wait, 1, (int)(1e3 * limit)) > 0 && read(fd[0], p, sizeof *p) == (ssize_t)sizeof *p;
    if (!got)
        kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(fd[0]);
    nftw(cache, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return got;
}

/* ==================== the program */

typedef struct Options { const char *device, *json; double limit; char **names; int n; } Options;

static const char usage[] =
    "Usage: growth [OPTION...] [vmap] [scan] [memory] [graph]\nHow time and memory grow.\n"
    "  -d, --device NAME    where to run\n"
    "  -l, --limit SECONDS  a size that takes longer breaks its law (default 300)\n"
    "  -j, --json FILE      one JSON object a law\n";

static bool parse(int argc, char **argv, Options *o)
{
    static const struct option known[] = { { "device", 1, NULL, 'd' }, { "limit", 1, NULL, 'l' },
        { "json", 1, NULL, 'j' }, { 0 } };
    for (int key; (key = getopt_long(argc, argv, "d:l:j:", known, NULL)) != -1; )
        switch (key) {
        case 'd': o->device = optarg; break;
        case 'l': o->limit = atof(optarg); break;
        case 'j': o->json = optarg; break;
        default: return fputs(usage, stderr), false;
        }
    o->names = argv + optind, o->n = argc - optind;
    return true;
}

static json_t *numbers(const Point *p)
{
    const char *const key[] = { "first_ms", "run_ms", "compile_ms", "kilobytes" };
    const double value[] = { p->first, p->run, p->compile, p->kilobytes };
    json_t *row = json_object();
    for (int i = 0; i < 4; i++)
        if (isfinite(value[i]))
            json_object_set_new(row, key[i], json_real(value[i]));
    return row;
}

/* What breaks its law is measured once more, and the less counts. points: gets what the file has of each. */
static bool judge(const Law *law, const Options *o, FILE *text, json_t *points)
{
    Point p[MOST_POINTS] = { 0 };
    bool all = true, got = true;
    for (int i = 0; got && law->size[i]; i++) {
        got = apart(law, law->size[i], o->device, o->limit, &p[i]);
        Point most = law->most(p, law->size, i);
        bool holds = got && within(&p[i], &most);
        Point again;
        /* noise only adds */
        if (got && !holds && apart(law, law->size[i], o->device, o->limit, &again)) {
            p[i] = (Point){ .first = fmin(p[i].first, again.first),
                .run = fmin(p[i].run, again.run),
                .compile = fmin(p[i].compile, again.compile),
                .kilobytes = fmin(p[i].kilobytes, again.kilobytes) };
            most = law->most(p, law->size, i);
            holds = within(&p[i], &most);
        }
        if (got)
            fprintf(text, "%-8s %8lld  first %10.2f ms  run %10.4f ms  memory %8.0f KiB%s\n", law->name,
                (long long)law->size[i], p[i].first, p[i].run, p[i].kilobytes, holds ? "" : "  <");
        else
            fprintf(text, "%-8s %8lld  gave no result in %g s  <\n", law->name, (long long)law->size[i],
                o->limit);
        fflush(text);
        json_t *row = got ? numbers(&p[i]) : json_object();
        json_object_set_new(row, "size", json_integer(law->size[i]));
        json_object_set_new(row, "holds", json_boolean(holds));
        json_object_set_new(row, "most", numbers(&most));
        json_array_append_new(points, row);
        all = all && holds;
    }
    fprintf(text, "%-8s %s\n", law->name, all ? "holds" : "does not hold");
    return all;
}

static bool wanted(const Law *law, const Options *o)
{
    bool named = !o->n;
    for (int k = 0; k < o->n; k++)
        named |= !strcmp(o->names[k], law->name);
    return named;
}

int main(int argc, char **argv)
{
    Options o = { .limit = 300 };
    bool all = true;
    if (!parse(argc, argv, &o))
        return 2;
    FILE *out = !o.json ? NULL : strcmp(o.json, "-") ? fopen(o.json, "w") : stdout;
    if (o.json && !out) {
        fprintf(stderr, "growth: cannot open %s\n", o.json);
        return 2;
    }
    for (size_t i = 0; i < sizeof laws / sizeof *laws; i++) {
        if (!wanted(&laws[i], &o))
            continue;
        json_t *points = json_array();
        bool holds = judge(&laws[i], &o, out == stdout ? stderr : stdout, points);
        json_t *row = json_pack("{s:s, s:b, s:o}", "law", laws[i].name, "holds", holds, "points", points);
        if (out) {
            json_dumpf(row, out, JSON_COMPACT);
            fputc('\n', out), fflush(out);
        }
        json_decref(row);
        all = all && holds;
    }
    if (out && out != stdout)
        fclose(out);
    return !all;
}
