/*
 * calibrate.c - the rows of the machine's table that can be measured, as text for HEDDLE_MACHINE.
 *
 *     calibrate [DEVICE] >machine.txt
 *
 * In:  a device whose driver runs on this processor (opencl:0).
 * Out: launch, store, load, load_far in the units of graph/machine.def, each with what it was made from;
 * memory and arithmetic beside them. Each figure is the best of many rounds, for what else the machine does
 * only adds to them. A launch is the slope between programs of few and of many kernels that wait for one
 * another; loads and stores are loops in plain C over what the first cache holds.
 */
#include <heddle.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "measure.h"

enum { FEW = 1, MANY = 33, ROUNDS = 40, LANES = 16, ITEMS = 32, VECTORS = 1 << 9, PASSES = 256 };
#if defined(__x86_64__) && defined(__gnu_linux__)
#define WIDEST \
    __attribute__(( \
        target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), optimize("O3", "fp-contract=fast")))
#else
#define WIDEST
#endif
#define KEEP() __asm__ volatile("" ::: "memory") /* memory is looked at: no load or store is left out */

typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4)));

/* ==================== launches */

static hd chain(hd x, int kernels)
{
    for (int k = 0; k < kernels; k++)           /* running sums have kernels of their own */
        x = hd_cumsum(x, 0);
    return x;
}

static hd few(hd x) { return chain(x, FEW); }
static hd many(hd x) { return chain(x, MANY); }

/* Milliseconds of the best call; negative after an error. */
static double call_ms(hd (*f)(hd), const char *device, hd_array *x)
{
    double best = -1;
    for (int k = 0; k < ROUNDS; k++) {
        hd_array *r = NULL;
        double start = now_ms();
        if (hd_call(hd_jit(f, .device = device), &r, x) || hd_wait(r))
            return -1;
        double ms = now_ms() - start;
        hd_drop(r);
        best = best < 0 || ms < best ? ms : best;
    }
    return best;
}

static double launch_ms(const char *device)
{
    /* for each of ITEMS work-items a few vectors: next to no work */
    static float zeros[ITEMS * LANES * 4];
    hd_array *x = hd_array_of(zeros, 4, ITEMS * LANES);
    double one = x ? call_ms(few, device, x) : -1, all = x ? call_ms(many, device, x) : -1;
    hd_drop(x);
    return one < 0 || all < 0 ? -1 : (all - one) / (MANY - FEW);
}

/* ==================== loops in plain C: nanoseconds a vector of 16 numbers, or of a cycle */

static float *data, *sink;

/* Additions that each wait for the last: one a cycle, on processors of all kinds. */
static void add_chain(void)
{
    unsigned long x = (unsigned long)(size_t)data;
    for (int k = 0; k < VECTORS * PASSES; k++) {
        x += 1;
        __asm__ volatile("" : "+r"(x));
    }
    sink[0] = (float)x;
}

WIDEST static void multiply_adds(void)
{
    Vector v[8], a = { 0.5f };
    for (int k = 0; k < 8; k++)
        v[k] = a + (float)k;
    for (int k = 0; k < VECTORS * PASSES / 8; k++)
        for (int j = 0; j < 8; j++)
            v[j] = v[j] * a + a;
    for (int k = 0; k < 8; k++)
        sink[k] = v[k][k];
}

WIDEST static void loads(void)
{
    Vector s[4] = { { 0 } };
    for (int p = 0; p < PASSES; p++) {
        for (int k = 0; k < VECTORS; k += 4)
            for (int j = 0; j < 4; j++)
                s[j] += *(const Vector *)(data + (k + j) * LANES);
        KEEP();
    }
    sink[0] = (s[0] + s[1] + s[2] + s[3])[0];
}

/* Each lane from a line of its own. */
WIDEST static void loads_apart(void)
{
    Vector s = { 0 };
    for (int p = 0; p < PASSES; p++)
        for (int k = 0; k < VECTORS; k++) {
            const float *at = data + k / LANES * LANES * LANES + k % LANES;
            Vector v;
            for (int j = 0; j < LANES; j++)
                v[j] = at[j * LANES];
            s += v;
        }
    sink[0] = s[0];
}

WIDEST static void stores(void)
{
    Vector v = { 1 };
    for (int p = 0; p < PASSES; p++)
        for (int k = 0; k < VECTORS; k++) {
            *(Vector *)(data + k * LANES) = v;
            KEEP();
        }
}

/* Nanoseconds of a turn, the best of all rounds. */
static double turn_ns(void (*f)(void))
{
    double best = 0;
    for (int k = 0; k < ROUNDS; k++) {
        double start = now_ms();
        f();
        double ms = now_ms() - start;
        best = !best || ms < best ? ms : best;
    }
    return best * 1e6 / ((double)VECTORS * PASSES);
}

/* ==================== the text */

static void row(const char *name, double value, const char *from)
{
    printf("%-18s %-10.5g  # %s\n", name, value, from);
}

/* Programs are to be launched one kernel at a time, each by all cores: as on a machine whose launches are
 * free. */
static int plan_for_launches(char *path)
{
    int f = mkstemp(path);
    const char *text = "launch 0\n";
    if (f < 0 || write(f, text, strlen(text)) != (ssize_t)strlen(text) || close(f))
        return 1;
    return setenv("HEDDLE_MACHINE", path, 1);
}

int main(int argc, char **argv)
{
    char path[] = "/tmp/heddle-calibrate-XXXXXX";
    const char *device = argc > 1 ? argv[1] : "opencl:0";
    size_t bytes = sizeof(float) * VECTORS * LANES;
    data = aligned_alloc(4096, bytes), sink = calloc(64, sizeof *sink);
    if (argc > 2 || !data || !sink || plan_for_launches(path))
        return fprintf(stderr, "calibrate [DEVICE]\n"), 2;
    memset(data, 0, bytes);
    double launch = launch_ms(device), cycle = turn_ns(add_chain), fma = turn_ns(multiply_adds),
           load = turn_ns(loads);
    double apart = turn_ns(loads_apart), store = turn_ns(stores);
    unlink(path);
    if (launch < 0)
        return fprintf(stderr, "calibrate: %s\n", hd_error()), 2;
    Limits most = machine_limits();
    printf("# measured on %s. A cycle is %.3g ns, 16 multiply-adds %.3g ns, loading 16 numbers %.3g ns, "
           "storing them %.3g ns\n",
        device, cycle, fma, load, store);
    printf(
        "# all cores: memory %.3g GB/s, multiply-adds %.4g Gflop/s\n", most.bytes * 1e-6, most.flops * 1e-6);
    row("launch", (double)(long)(launch * 1e6 / cycle),
        "cycles of a launch that waits in a queue; the first one of a call wakes the cores besides");
    row("load", load / fma, "16 numbers from the first cache, in multiply-adds of as many");
    row("store", store / fma, "16 numbers to the first cache, likewise");
    row("load_far", (double)(long)(apart / load + .5),
        "16 numbers from 16 lines, in loads of as many side by side");
    free(data), free(sink);
    return 0;
}
