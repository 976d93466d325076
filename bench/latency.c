/*
 * latency.c - where the time of a small call goes: microseconds of each thing that a program does between
 * kernels.
 *
 *     latency [DEVICE]      one line a thing: median and 99th percentile of single tries, least of a run of
 *     many
 *
 * Then the parts of one call, those that nobody can time from outside called as hd_call does, and what the
 * first, second and hundredth call of a function cost.
 */
#include "measure.h"                            /* first: heddle.h with its macros, which api.h leaves out */
#include "api.h"

#include <math.h>
#include <stdlib.h>

enum { TRIES = 2000, RUN = 100, MOST_LEAVES = 100, NEW_FUNCTIONS = 5 };

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
static hd_fn *new_function(void)
{
    static int count;
    count++;
    return hd_bind(counted, count);
}

static int trace_new(Bench *b)
{
    hd_array *out = NULL;
    int e = hd_eval_shape_n(new_function(), &out, 1, &b->x, 1);
    hd_drop(out);
    return e;
}

/* ==================== measuring */

static int ascending(const void *p, const void *q)
{
    double x = *(const double *)p, y = *(const double *)q;
    return (x > y) - (x < y);
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, ascending);
    return v[n / 2];
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
    double middle = median(us, TRIES);
    printf("%-42s median %8.2f us   99 %% %8.2f us   in a row %8.2f us\n", name, middle,
        us[TRIES * 99 / 100], least);
    return 0;
}

/* What lies between two stamps: the check of the arguments comes with a lookup, a call with both and the
 * enqueueing. */
enum { COMPILED, FOUND, CALLED, WAITED, DROPPED, ENQUEUED, STAMPS };

static int parts(Bench *b)
{
    static double us[STAMPS][TRIES];
    double t[STAMPS + 1], m[STAMPS];
    Device *d = device_find(b->device);
    Mem *in = d ? store_on(b->x->store, d, true) : NULL, *mem;
    int e = in ? 0 : hd_error_code();
    for (int i = 0; i < TRIES && !e; i++) {
        hd_array *out = NULL;
        t[COMPILED] = now_ms();
        e = hd_compile_n(b->one, &b->x, 1);
        t[FOUND] = now_ms();
        Program *p = program_of(b->one, &b->x, 1, d, NULL);
        t[CALLED] = now_ms();
        e = e ? e : hd_call_n(b->one, &out, 1, &b->x, 1);
        t[WAITED] = now_ms();
        e = e ? e : hd_wait(out);
        t[DROPPED] = now_ms();
        hd_drop(out);
        t[ENQUEUED] = now_ms();
        e = e ? e : d->backend->run(p->exec, 1, &in, 1, &mem);
        t[STAMPS] = now_ms();
        if (!e && !(e = d->backend->wait(mem)))
            mem_drop(mem);
        kept_drop((Kept *)p);
        for (int k = 0; k < STAMPS; k++)
            us[k][i] = 1e3 * (t[k + 1] - t[k]);
    }
    if (in)
        mem_drop(in);
    for (int k = 0; k < STAMPS; k++)
        m[k] = median(us[k], TRIES);
    if (!e)
        printf("the parts of a call: argument check %.2f, lookup %.2f, enqueue %.2f, wait %.2f, result %.2f "
               "us\n",
            m[COMPILED] - m[FOUND], m[FOUND], m[ENQUEUED], m[WAITED],
            fmax(0, m[CALLED] - m[COMPILED] - m[ENQUEUED] + m[DROPPED]));
    return e;
}

static int numbered(Bench *b)
{
    static double us[RUN][NEW_FUNCTIONS];
    int e = 0;
    for (int k = 0; k < NEW_FUNCTIONS && !e; k++) {
        b->one = new_function();
        for (int i = 0; i < RUN && !e; i++) {
            double start = now_ms();
            e = call_and_wait(b);
            us[i][k] = 1e3 * (now_ms() - start);
        }
    }
    if (!e)
        printf("call number 1 of a function %.0f us (what the disk cache has is not compiled), 2 %.2f us, "
               "%d %.2f us\n",
            median(us[0], NEW_FUNCTIONS), median(us[1], NEW_FUNCTIONS), RUN,
            median(us[RUN - 1], NEW_FUNCTIONS));
    return e;
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
    e |= parts(&b);
    e |= numbered(&b);
    for (int i = 0; i < RUN; i++)
        hd_drop(b.queue[i]);
    hd_drop(b.x), hd_drop(b.y), hd_drop(b.leaves);
    if (hd_live())
        fprintf(stderr, "latency: %lld arrays were leaked\n", (long long)hd_live());
    return e || hd_live() ? 1 : 0;
}
