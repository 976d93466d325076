/*
 * collectives.c - what collectives between devices cost, by size and path. Over unlike devices there is one
 * path for reductions.
 *
 * In:  a list of devices, sizes.   Out: a table: each collective over those devices for some bytes a shard;
 * for a sum and a largest
 *      both ways, gathered whole and in parts, and which of them the library takes; what each costs beside
 *      memcpy of the bytes that come to a shard. Arguments are on their devices, results stay there. Under
 *      mpirun, over devices of its ranks ("0/host,1/host"), the first rank prints.
 *      collectives [--devices NAME,NAME] [--sizes BYTES,BYTES] [--rounds N] [--markdown]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "heddle.h" /* first: with its macros, which api.h leaves out */
#include "api.h"

enum { SIZES = 16 };

static struct {
    const char *devices;
    int64_t size[SIZES];
    int nsize, rounds, n;
    bool markdown;
} option = { .devices = "host,host,host,host",
    .size = { 1 << 10, 16 << 10, 256 << 10, 4 << 20 },
    .nsize = 4,
    .rounds = 9 };

static hd sum(hd x) { return hd_psum(x, "i"); }
static hd largest(hd x) { return hd_pmax(x, "i"); }
static hd gather(hd x) { return hd_all_gather(x, "i", 0, false); }
static hd scatter(hd x) { return hd_psum_scatter(x, "i", 0, true); }
static hd deal(hd x) { return hd_all_to_all(x, "i", 0, 0, true); }
static hd turn(hd x)
{
    int pair[64][2];
    for (int k = 0; k < option.n; k++)
        pair[k][0] = k, pair[k][1] = (k + 1) % option.n;
    return hd_ppermute(x, "i", pair, option.n);
}

/* A gather round a ring, each shard handing on what it got last. It is not put in order, so costs a little
 * less than it would. */
static hd ring(hd x)
{
    hd got[64] = { x };
    for (int k = 1; k < option.n; k++)
        got[k] = turn(got[k - 1]);
    return hd_stack_n(0, got, option.n);
}

static const struct {
    const char *name;
    hd (*f)(hd);
    bool reduces;
} row[] = {
    { "psum", sum, true },
    { "pmax", largest, true },
    { "all_gather", gather, false },
    { "by a ring", ring, false },
    { "psum_scatter", scatter, false },
    { "all_to_all", deal, false },
    { "ppermute", turn, false },
};

enum { DIRECT, PARTS, ONE };
static const char *const path_name[] = { "gathered", "in parts", "" };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, hd_error());
    exit(1);
}

/* The least time of memcpy of so many bytes. */
static double copying(size_t bytes)
{
    char *a = malloc(bytes), *b = malloc(bytes);
    double least = 0;
    if (!a || !b)
        exit(1);
    memset(a, 1, bytes), memset(b, 2, bytes);
    for (int k = 0; k < option.rounds; k++) {
        double since = now();
        memcpy(k & 1 ? a : b, k & 1 ? b : a, bytes);
        double took = now() - since;
        least = k && least < took ? least : took;
    }
    free(a), free(b);
    return least;
}

/* The least time of a call whose argument is on the devices. */
static double calling(hd_fn *f, hd_array *x)
{
    double least = 0;
    for (int k = -2; k < option.rounds; k++) {
        hd_array *y = NULL;
        double since = now();
        if (hd_call(f, &y, x) || hd_wait(y))
            fail("a call");
        double took = now() - since;
        hd_drop(y);
        least = k > 0 && least < took ? least : took;
    }
    return least;
}

/* What comes to all shards together. */
static size_t moved(int r, int path, int64_t bytes)
{
    size_t n = (size_t)option.n, b = (size_t)bytes;
    return path == DIRECT || row[r].f == gather || row[r].f == ring ? n * n * b :
        path == PARTS                                               ? 2 * n * b :
                                                                      n * b;
}

static void measure(int r, int path, int64_t bytes, bool chosen)
{
    int64_t w = bytes / (int64_t)sizeof(float);
    float *p = calloc((size_t)(option.n * w), sizeof *p);
    crossing_set(path == DIRECT ? INT64_MAX : path == PARTS ? 1 : 0);
    hd_array *x = hd_array_new(HD_F32, (hd_ints){ 2, { option.n, w } }, p, NULL),
             *there = x ? hd_put(x, option.devices) : NULL;
    hd_fn *f = hd_pmap(row[r].f, .devices = option.devices, .axis_name = "i");
    free(p);
    if (!there)
        fail(option.devices);
    double call = calling(f, there), copy = copying(moved(r, path, bytes));
    hd_forget(f);
    hd_drop(x), hd_drop(there);
    crossing_set(0);
    if (!hd_rank())
        printf(option.markdown ? "| `%s` | %lld | %s%s | %.0f | %.0f %% |\n" :
                                 "%-13s %10lld  %-12s%-2s %10.0f us  %5.0f %% of memcpy\n",
            row[r].name, (long long)bytes, path_name[path],
            chosen ? option.markdown ? " (chosen)" : "*" : "", call, 100 * copy / call);
}

/* What the library takes for these devices: the largest of all shards that is gathered. */
static int64_t chosen_crossing(void)
{
    Device **d = NULL;
    int n = devices_listed("collectives", option.devices, &d);
    bool alike = n > 0;
    int64_t c = 0;
    for (int k = 1; k < n; k++)
        alike = alike && d[k]->backend == d[0]->backend && !strcmp(d[k]->info.model, d[0]->info.model);
    if (!n)
        fail(option.devices);
    Arena *arena = arena_new(), *before = arena_use(arena);
    c = alike ? crossing_measured(d, n) : 0;
    arena_use(before);
    arena_drop(arena);
    option.n = n;
    free(d);
    return c;
}

static bool read_options(int argc, char **argv)
{
    for (int k = 1; k < argc; k++) {
        bool more = k + 1 < argc;
        if (!strcmp(argv[k], "--devices") && more)
            option.devices = argv[++k];
        else if (!strcmp(argv[k], "--rounds") && more)
            option.rounds = atoi(argv[++k]);
        else if (!strcmp(argv[k], "--markdown"))
            option.markdown = true;
        else if (!strcmp(argv[k], "--sizes") && more) {
            option.nsize = 0;
            for (char *s = argv[++k]; *s && option.nsize < SIZES; s += *s == ',')
                option.size[option.nsize++] = strtoll(s, &s, 10);
        } else {
            return false;
        }
    }
    return option.rounds > 0 && option.nsize > 0;
}

int main(int argc, char **argv)
{
    if (!read_options(argc, argv))
        return fprintf(stderr,
                   "usage: collectives [--devices NAME,NAME] [--sizes BYTES,BYTES] [--rounds N] "
                   "[--markdown]\n"),
               2;
    int64_t crossing = chosen_crossing();
    if (option.n > 64)
        return fprintf(stderr, "collectives: at most 64 devices\n"), 2;
    if (!hd_rank())
        printf("%d shards on %s: reductions are gathered up to %lld bytes of all shards, in parts above\n\n",
            option.n, option.devices, (long long)crossing);
    if (option.markdown && !hd_rank())
        printf("| collective | bytes a shard | path | microseconds | of memcpy |\n| --- | --- | --- | --- | "
               "--- |\n");
    for (int r = 0; r < (int)(sizeof row / sizeof *row); r++)
        for (int k = 0; k < option.nsize; k++) {
            bool direct = option.size[k] * option.n <= crossing;
            if (!row[r].reduces)
                measure(r, ONE, option.size[k], false);
            for (int path = crossing ? DIRECT : PARTS; row[r].reduces && path <= PARTS; path++)
                measure(r, path, option.size[k], (path == DIRECT) == direct);
        }
    return 0;
}
