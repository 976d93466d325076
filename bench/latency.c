/*
 * latency.c - where the time of a small call goes: microseconds of each thing that a program does between kernels.
 *
 *     latency [DEVICE]      one line a thing: median and 99th percentile of single tries, least of a run of many
 */
#include "measure.h"

#include <stdlib.h>

enum { TRIES = 2000, RUN = 100, MOST_LEAVES = 100 };

typedef struct Bench {
    const char *device;
    hd_fn *one, *many;
    hd_array *x, *y, *leaves, *queue[RUN];
    int made;
    float host[16];
} Bench;

typedef int thing(Bench *);

static hd step(hd x) { return hd_add(hd_mul(x, hd_c(.5)), hd_c(1)); }
static hd each(hd xs) { return hd_tree_map(step, xs); }
static hd folded(hd xs)
{
    hd sum = hd_leaf(xs, 0);
    for (int i = 1; i < hd_leaf_count(xs); i++)
        sum = hd_add(sum, hd_leaf(xs, i));
    return sum;
}

/* ==================== things */

static int call_and_wait(Bench *b)
{
    hd_array *out = NULL;
    int e = hd_call_n(b->one, &out, 1, &b->x, 1);
    if (!e)
        e = hd_wait(out);
    hd_drop(out);
    return e;
}

/* Its result goes in a queue that is waited for when it is full: what a call costs that nobody waits for. */
static int call_only(Bench *b)
{
    hd_array *out = NULL;
    int e = hd_call_n(b->one, &out, 1, &b->x, 1);
    hd_drop(b->queue[b->made]);
    b->queue[b->made] = out;
    b->made = (b->made + 1) % RUN;
    return e || b->made ? e : hd_wait(out);
}

static int call_dependent(Bench *b)
{
    hd_array *out = NULL;
    int e = hd_call_n(b->one, &out, 1, &b->y, 1);
    if (e)
        return e;
    hd_drop(b->y);
    b->y = out;
    b->made = (b->made + 1) % RUN;
    return b->made ? 0 : hd_wait(out);
}

static int call_tree(Bench *b)
{
    hd_array *out = NULL;
    int e = hd_call_n(b->many, &out, 1, &b->leaves, 1);
    if (!e)
        e = hd_wait(out);
    hd_drop(out);
    return e;
}

static int put_and_drop(Bench *b)
{
    hd_array *host = hd_array_of(b->host, 16), *there = hd_put(host, b->device);
    int e = there ? hd_wait(there) : hd_error_code();
    hd_drop(host), hd_drop(there);
    return e;
}

static int read_back(Bench *b) { return hd_read(b->x, b->host, 16); }
static int make_and_drop(Bench *b)
{
    hd_array *a = hd_array_of(b->host, 16);
    hd_drop(a);
    return a ? 0 : hd_error_code();
}

static int make_function(Bench *b) { b->one = hd_jit(step); return b->one ? 0 : hd_error_code(); }

/* A function of a new identity each time: the whole trace of a small program. */
static hd counted(hd x, const void *n) { return hd_add(step(step(x)), hd_c((double)*(const int *)n)); }
static int trace_new(Bench *b)
{
    static int count;
    hd_array *out = NULL;
    count++;
    int e = hd_eval_shape_n(hd_bind(counted, count), &out, 1, &b->x, 1);
    hd_drop(out);
    return e;
}

/* ==================== measuring */

static int ascending(const void *p, const void *q)
{
    double x = *(const double *)p, y = *(const double *)q;
    return (x > y) - (x < y);
}

static int show(Bench *b, const char *name, thing *f)
{
    static double us[TRIES];
    double least = 0;
    int e = 0;
    for (int i = 0; i < RUN && !e; i++)
        e = f(b);
    for (int i = 0; i < TRIES && !e; i++) {
        double start = now_ms();
        e = f(b);
        us[i] = 1e3 * (now_ms() - start);
    }
    for (int r = 0; r < TRIES / RUN && !e; r++) {
        double start = now_ms();
        for (int i = 0; i < RUN && !e; i++)
            e = f(b);
        double run = 1e3 * (now_ms() - start) / RUN;
        least = !r || run < least ? run : least;
    }
    if (e) {
        fprintf(stderr, "%s: %s\n", name, hd_error());
        return e;
    }
    qsort(us, TRIES, sizeof *us, ascending);
    printf("%-42s median %8.2f us   99 %% %8.2f us   in a row %8.2f us\n", name, us[TRIES / 2],
        us[TRIES * 99 / 100], least);
    return 0;
}

static int open_all(Bench *b)
{
    hd_array *leaf[MOST_LEAVES], *host = A(1, 16), *tree;
    b->one = HD_FN(step);
    b->x = hd_put(host, b->device), b->y = hd_put(host, b->device);
    hd_drop(host);
    for (int i = 0; i < MOST_LEAVES; i++)
        leaf[i] = A(i, 16);
    tree = hd_array_tuple_n(leaf, MOST_LEAVES);
    b->leaves = hd_put(tree, b->device);
    hd_drop(tree);
    return b->x && b->y && b->leaves ? 0 : hd_error_code();
}

int main(int argc, char **argv)
{
    Bench b = { .device = argc > 1 ? argv[1] : hd_default_device(NULL) };
    int e = open_all(&b);
    if (e) {
        fprintf(stderr, "latency: %s\n", hd_error());
        return 1;
    }
    printf("%s, f32[16]\n", b.device);
    e |= show(&b, "call, wait", call_and_wait);
    e |= show(&b, "call (a hundred, then wait)", call_only);
    e |= show(&b, "call on the last result (then wait)", call_dependent);
    b.many = HD_FN(each);
    e |= show(&b, "call of 100 arrays to 100, wait", call_tree);
    b.many = HD_FN(folded);
    e |= show(&b, "call of 100 arrays to 1, wait", call_tree);
    e |= show(&b, "array from host, to device, drop", put_and_drop);
    e |= show(&b, "array from host, drop", make_and_drop);
    e |= show(&b, "read back", read_back);
    e |= show(&b, "hd_jit of a known function", make_function);
    e |= show(&b, "trace of a new function of 5 operations", trace_new);
    for (int i = 0; i < RUN; i++)
        hd_drop(b.queue[i]);
    hd_drop(b.x), hd_drop(b.y), hd_drop(b.leaves);
    if (hd_live())
        fprintf(stderr, "latency: %lld arrays were leaked\n", (long long)hd_live());
    return e || hd_live() ? 1 : 0;
}
