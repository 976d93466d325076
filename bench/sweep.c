/*
 * sweep.c - how fast matrices are multiplied, by size: square ones, 64 rows times a square, a square times
 * 64 columns.
 *
 *     sweep [DEVICE] [-r ROUNDS] [-f FLOOR] [-c]       -c: by processor time, a core: where others use the
 *     machine too
 *
 * In:  24 sizes from 128 to 2100, odd ones among them.
 * Out: Gflop/s of each and its part of the best of its column. Of square ones from 448 on none should be
 * below FLOOR (0.85). All sizes are measured once a round, so that whoever else uses the machine disturbs
 * every size and not one; the best round counts.
 */
#include <getopt.h>
#include <heddle.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "measure.h"

enum { SIZES = 24, SHAPES = 3, NARROW = 64, FROM = 448 };
static const int size[SIZES] = { 128, 129, 192, 255, 256, 320, 384, 448, 496, 512, 528, 640, 768, 896, 1000,
    1024, 1111, 1152, 1280, 1536, 1789, 2048, 2064, 2100 };
static const char *const shape[SHAPES] = { "n x n x n", "64 x n x n", "n x n x 64" };

static hd product(hd x, hd y) { return hd_matmul(x, y); }

static bool by_core;

static double clock_ms(void)
{
    struct timespec t;
    if (!by_core || clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t))
        return now_ms();
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

typedef struct Case { hd_array *x, *y; double flops, best; } Case;

static hd_array *filled(int rows, int columns)
{
    size_t n = (size_t)rows * (size_t)columns;
    float *p = malloc(n * sizeof *p);
    for (size_t i = 0; p && i < n; i++)
        p[i] = (float)(i % 17) - 8;
    hd_array *a = p ? hd_array_of(p, rows, columns) : NULL;
    free(p);
    return a;
}

static int made(Case *c, int n, int s)
{
    int rows = s == 1 ? NARROW : n, columns = s == 2 ? NARROW : n;
    *c = (Case){ filled(rows, n), filled(n, columns), 2.0 * rows * columns * n, 0 };
    return !c->x || !c->y;
}

/* The best of a few calls; the first one compiles. */
static int timed(Case *c, const char *device)
{
    for (int k = 0; k < 4; k++) {
        hd_array *r = NULL;
        double start = clock_ms();
        if (hd_call(hd_jit(product, .device = device), &r, c->x, c->y) || hd_wait(r))
            return 1;
        double ms = clock_ms() - start;
        hd_drop(r);
        if (!c->best || ms < c->best)
            c->best = ms;
    }
    return 0;
}

static double rate(const Case *c) { return c->best ? c->flops / c->best * 1e-6 : 0; }

static int report(Case (*all)[SIZES], double floor)
{
    double most[SHAPES] = { 0 }, least = 1;
    int worst = 0;
    for (int s = 0; s < SHAPES; s++)
        for (int k = 0; k < SIZES; k++)
            most[s] = rate(&all[s][k]) > most[s] ? rate(&all[s][k]) : most[s];
    printf("%6s", "n");
    for (int s = 0; s < SHAPES; s++)
        printf("  %20s", shape[s]);
    puts("");
    for (int k = 0; k < SIZES; k++) {
        printf("%6d", size[k]);
        for (int s = 0; s < SHAPES; s++)
            printf("  %12.0f  %6.2f", rate(&all[s][k]), rate(&all[s][k]) / most[s]);
        puts("");
        if (size[k] >= FROM && rate(&all[0][k]) < least * most[0])
            least = rate(&all[0][k]) / most[0], worst = size[k];
    }
    printf("Gflop/s, and the part of the best. Of square ones from %d on the least is %.2f, at %d\n", FROM,
        least, worst);
    return least < floor;
}

int main(int argc, char **argv)
{
    static Case all[SHAPES][SIZES];
    int rounds = 4, key;
    double floor = 0.85;
    while ((key = getopt(argc, argv, "r:f:c")) != -1)
        if (key == 'r')
            rounds = atoi(optarg);
        else if (key == 'c')
            by_core = true;
        else if (key == 'f')
            floor = atof(optarg);
        else
            return fprintf(stderr, "sweep [DEVICE] [-r ROUNDS] [-f FLOOR] [-c]\n"), 2;
    const char *device = optind < argc ? argv[optind] : "opencl:0";
    for (int r = 0; r < rounds; r++)
        for (int s = 0; s < SHAPES; s++)
            for (int k = 0; k < SIZES; k++)
                if ((!r && made(&all[s][k], size[k], s)) || timed(&all[s][k], device))
                    return fprintf(stderr, "sweep: %s\n", hd_error()), 2;
    int low = report(all, floor);
    for (int s = 0; s < SHAPES; s++)
        for (int k = 0; k < SIZES; k++)
            hd_drop(all[s][k].x), hd_drop(all[s][k].y);
    return low;
}
