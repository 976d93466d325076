/*
 * scaling.c - one program over N devices: what compiling it costs, and how long a step is predicted to take.
 *
 *     scaling [--width W] [--rows R] [--alpha MICROSECONDS] [--beta GIGABYTES_A_SECOND]
 *
 * The program is a step of data-parallel training: each device has R rows, all have the W x W weights,
 * gradients are summed.
 * Out: a table of what N = 1 ... 64 devices of this processor take to build, in time and memory, and one of
 * predicted times. A step is predicted as compute + sum. Compute: measured on one device. Sum: a link takes
 * alpha + bytes / beta for a message. It is measured here between two devices of this processor, unless
 * --alpha and --beta say what another link takes. Small sums are direct, each device gets N - 1 messages;
 * large ones go in parts, as Heddle does it: 2 (N - 1) messages of a part each.
 */
#include <getopt.h>
#include <heddle.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "measure.h"

/* DIRECT: what is gathered whole, in bytes of all */
enum { ROUNDS = 15, DIRECT = 256 << 10, LINKS = 64 };

static hd loss(hd w, hd x) { return hd_mean(hd_square(hd_tanh(hd_matmul(x, w)))); }
static hd slope(hd w, hd x) { return hd_apply(hd_grad(loss), w, x); }
static hd step(hd w, hd x) { return hd_sub(w, hd_mul_c(hd_pmean(slope(w, x), "devices"), .1)); }
static hd swapped(hd x) { return hd_ppermute(x, "devices", (const int[][2]){ { 0, 1 }, { 1, 0 } }, 2); }

static void failed(void)
{
    fprintf(stderr, "scaling: %s\n", hd_error());
    exit(1);
}

/* Rank 3, or, with n of 0, rank 2. */
static hd_array *filled(int64_t n, int64_t rows, int64_t columns)
{
    size_t size = (size_t)((n ? n : 1) * rows * columns);
    float *p = malloc(size * sizeof *p);
    for (size_t i = 0; p && i < size; i++)
        p[i] = (float)(i % 17) / 16;
    hd_array *a = p ?
        hd_array_new(
            HD_F32, n ? (hd_ints){ 3, { n, rows, columns } } : (hd_ints){ 2, { rows, columns } }, p, NULL) :
        NULL;
    free(p);
    if (!a)
        failed();
    return a;
}

static const char *devices(int n)
{
    static char list[LINKS * 10];
    char *s = list + sprintf(list, "host");
    for (int k = 1; k < n; k++)
        s += sprintf(s, ",host:%d", k);
    return list;
}

/* The least of some runs, after one that builds. */
static double best_ms(hd_fn *f, hd_array *x, hd_array *y)
{
    hd_array *args[2] = { x, y };
    double best = INFINITY;
    for (int k = 0; k <= ROUNDS; k++) {
        hd_array *z = NULL;
        double since = now_ms();
        if (hd_call_n(f, &z, 1, args, y ? 2 : 1) || hd_wait(z))
            failed();
        double ms = now_ms() - since;
        best = k && ms < best ? ms : best;
        hd_drop(z);
    }
    return best;
}

/* ==================== what building takes */

static double resident_kb(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%*s %ld", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1024;
}

static void build(int n, int64_t rows, int64_t width)
{
    hd_array *w = filled(0, width, width), *x = filled(n, rows, width);
    hd_fn *f = hd_pmap(
        step, .axis_name = "devices", .devices = devices(n), .in_axes = { HD_NONE, 0 }, .out_axes = HD_NONE);
    double kb = resident_kb(), since = now_ms();
    if (hd_compile(f, w, x))
        failed();
    printf("| %d | %.1f | %.0f |\n", n, now_ms() - since, resident_kb() - kb);
    hd_drop(w), hd_drop(x);
}

/* ==================== the model */

typedef struct Link { double alpha, beta; } Link;               /* ms; ms a byte */

/* Of two shards that each give the other what they have, a little or much, which lies there already. */
static Link measured(void)
{
    enum { SMALL = 64, LARGE = 1 << 20 };
    hd_fn *f = hd_pmap(swapped, .axis_name = "devices", .devices = devices(2));
    hd_array *small = filled(2, 1, SMALL), *large = filled(2, 1, LARGE), *s = hd_put(small, devices(2)),
             *l = hd_put(large, devices(2));
    if (!s || !l)
        failed();
    double a = best_ms(f, s, NULL), b = best_ms(f, l, NULL);
    hd_drop(small), hd_drop(large), hd_drop(s), hd_drop(l);
    return (Link){ a, (b - a) / (4.0 * LARGE) };
}

static double sum_ms(const Link *l, int n, double bytes)
{
    double direct = (n - 1) * (l->alpha + bytes * l->beta),
           parts = 2.0 * (n - 1) * (l->alpha + bytes / n * l->beta);
    return bytes * n <= DIRECT ? direct : parts;
}

static void scaled(const Link *l, int64_t rows, int64_t width)
{
    hd_array *w = filled(0, width, width), *x = filled(0, rows, width);
    double compute = best_ms(HD_FN(slope), w, x), bytes = 4.0 * (double)(width * width);
    hd_drop(w), hd_drop(x);
    printf("\nA step on one device: %.3f ms. A link: %.1f us and %.2f GB/s. The gradient: %.0f KiB.\n\n",
        compute, 1e3 * l->alpha, 1e-6 / l->beta, bytes / 1024);
    printf("| devices | sum, ms | step, ms | rows a second, of N times one device's |\n| --- | --- | --- | "
           "--- |\n");
    static const int n[] = { 8, 64, 1024 };
    for (int k = 0; k < 3; k++) {
        double s = sum_ms(l, n[k], bytes);
        printf("| %d | %.3f | %.3f | %.0f %% |\n", n[k], s, compute + s, 100 * compute / (compute + s));
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "width", 1, NULL, 'w' }, { "rows", 1, NULL, 'r' },
        { "alpha", 1, NULL, 'a' }, { "beta", 1, NULL, 'b' }, { 0 } };
    int64_t width = 256, rows = 256;
    Link given = { -1, -1 }, link;

    for (int k; (k = getopt_long(argc, argv, "w:r:a:b:", options, NULL)) != -1; )
        switch (k) {
        case 'w': width = atoll(optarg); break;
        case 'r': rows = atoll(optarg); break;
        case 'a': given.alpha = 1e-3 * atof(optarg); break;
        case 'b': given.beta = 1e-6 / atof(optarg); break;
        default: return 2;
        }
    setenv("HEDDLE_HOST_DEVICES", "64", 1);
    hd_array *little = filled(0, 2, 2);
    best_ms(HD_FN(slope), little, little);                      /* devices are opened */
    hd_drop(little);
    printf("| devices | building, ms | memory of it, KiB |\n| --- | --- | --- |\n");
    for (int n = 1; n <= LINKS; n *= 4)
        build(n, 2, 32);
    link = measured();
    link.alpha = given.alpha >= 0 ? given.alpha : link.alpha,
    link.beta = given.beta >= 0 ? given.beta : link.beta;
    scaled(&link, rows, width);
    return 0;
}
