/*
 * hundred.c - 100 small functions, each called once: what somebody who tries things out waits for.
 *
 *     hundred [DEVICE] [-f SECONDS]
 *
 * Out: seconds of the clock and of the processor, from the first call to the last result, and the slowest
 * call. Caches on disk are empty, in a folder that is removed at the end. Fails if the clock says more than
 * SECONDS (4), or a result is no number. The functions are ten ways to begin times ten ways to end, of a
 * matrix of 32 x 48.
 */
#define _GNU_SOURCE                             /* nftw */
#include <ftw.h>
#include <getopt.h>
#include <heddle.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROWS = 32, COLUMNS = 48 };

#define FUNCTION(begin, of_x, end, of_y) \
    static hd begin##_##end(hd x) \
    { \
        hd y = of_x; \
        return of_y; \
    }
#define ROW(begin, of_x, end, of_y) (begin##_##end),
#define WITH(X, begin, of_x) \
    X(begin, of_x, all, hd_sum(y)) X(begin, of_x, rows, hd_max(y, -1)) X(begin, of_x, mean, hd_mean(y, 0)) \
    X(begin, of_x, exp, hd_exp(y)) X(begin, of_x, log, hd_log1p(hd_abs(y))) \
    X(begin, of_x, norm, hd_norm(y, -1)) X(begin, of_x, sign, hd_mul(y, hd_sign(y))) \
    X(begin, of_x, back, hd_flip(y, 0)) X(begin, of_x, spread, hd_var(y, -1)) \
    X(begin, of_x, least, hd_min(y, 0))
#define EACH(X) \
    WITH(X, tanh, hd_tanh(x)) WITH(X, square, hd_square(x)) WITH(X, soft, hd_softmax(x, -1)) \
    WITH(X, scaled, hd_mul_c(x, 3)) WITH(X, centred, hd_sub(x, hd_mean(x, 0))) \
    WITH(X, gram, hd_matmul(hd_transpose(x), x)) WITH(X, sums, hd_cumsum(x, 0)) \
    WITH(X, turned, hd_transpose(x)) WITH(X, ratio, hd_div(x, hd_add_c(hd_abs(x), 1))) \
    WITH(X, sorted, hd_sort(x, -1))
EACH(FUNCTION)

typedef hd (*Function)(hd);
static const Function function[] = { EACH(ROW) };
enum { FUNCTIONS = sizeof function / sizeof *function };

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static bool numbers(const hd_array *a)
{
    static float out[COLUMNS * COLUMNS];
    if (hd_read(a, out, (size_t)hd_array_size(a)))
        return false;
    for (int64_t k = 0; k < hd_array_size(a); k++)
        if (!isfinite(out[k]))
            return false;
    return true;
}

/* The slowest call, in ms; negative after an error. */
static double call_all(const char *device, hd_array *x)
{
    double most = 0;
    for (int k = 0; k < FUNCTIONS; k++) {
        hd_array *y = NULL;
        double start = now_ms(), ms;
        if (hd_call(hd_jit(function[k], .device = device), &y, x) || hd_wait(y) || !numbers(y))
            return fprintf(stderr, "hundred: function %d: %s\n", k, hd_error()), -1;
        ms = now_ms() - start;
        most = ms > most ? ms : most;
        hd_drop(y);
    }
    return most;
}

static int remove_entry(const char *path, const struct stat *s, int kind, struct FTW *f)
{
    (void)s, (void)kind, (void)f;
    return remove(path);
}

int main(int argc, char **argv)
{
    static float p[ROWS * COLUMNS];
    char folder[] = "/tmp/heddle-hundred-XXXXXX", path[64];
    double floor = 4;
    int key;
    while ((key = getopt(argc, argv, "f:")) != -1)
        if (key == 'f')
            floor = atof(optarg);
        else
            return fprintf(stderr, "hundred [DEVICE] [-f SECONDS]\n"), 2;
    const char *device = optind < argc ? argv[optind] : "opencl:0";
    for (int k = 0; k < ROWS * COLUMNS; k++)
        p[k] = (float)(k % 17) / 8 - 1;
    if (!mkdtemp(folder))
        return perror("hundred"), 2;
    snprintf(path, sizeof path, "%s/compiled.db", folder);
    setenv("HEDDLE_CACHE", path, 1), setenv("POCL_CACHE_DIR", folder, 1);
    hd_array *x = hd_array_of(p, ROWS, COLUMNS);
    double start = now_ms(), most = x ? call_all(device, x) : -1, s = (now_ms() - start) / 1e3;
    hd_drop(x);
    if (most >= 0)
        printf("%d functions on %s: %.2f s of the clock, %.2f s of the processor; the slowest took %.0f "
               "ms\n",
            FUNCTIONS, device, s, (double)clock() / CLOCKS_PER_SEC, most);
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return most < 0 || s > floor;
}
