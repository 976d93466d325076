/* workloads_latency.c - what a call costs: nothing here is large enough to matter otherwise. */
#include "workloads.h"

#include <math.h>

static hd one_more(hd x) { return plus(x, 1); }
static hd each_more(hd xs) { return hd_tree_map(one_more, xs); }
static hd wave(hd x) { return plus(times(.9, hd_sin(x)), .1); }

static hd chain(hd x, const void *n)
{
    for (int64_t i = 0; i < *(const int64_t *)n; i++)
        x = wave(x);
    return x;
}

static hd relax(hd w, hd b, hd x, hd nothing)
{
    (void)nothing;
    return hd_tuple(hd_tanh(hd_add(hd_dot(w, x), b)), HD_NIL);
}

static hd relaxed(hd w, hd b, hd x, const void *n)
{
    return hd_nth(hd_scan(hd_partial(relax, w, b), x, HD_NIL, .length = *(const int64_t *)n), 0);
}

static hd_fn *one_fn(const int64_t *s) { (void)s; return HD_FN(one_more); }
static hd_fn *each_fn(const int64_t *s) { (void)s; return HD_FN(each_more); }
static hd_fn *chain_fn(const int64_t *s) { return hd_bind(chain, s[1]); }
static hd_fn *wave_fn(const int64_t *s) { (void)s; return HD_FN(wave); }
static hd_fn *scan_fn(const int64_t *s) { return hd_bind(relaxed, s[1]); }

static int one_args(const int64_t *s, hd_array **a) { a[0] = A(1, s[0]); return 1; }

static int each_args(const int64_t *s, hd_array **a)
{
    hd_array *x[100];
    for (int i = 0; i < 100; i++)
        x[i] = A(i, s[0]);
    a[0] = hd_array_tuple_n(x, 100);
    return 1;
}

static int scan_args(const int64_t *s, hd_array **a)
{
    a[0] = AR(1, .5, 0, s[0], s[0]), a[1] = AR(2, .5, 0, s[0]), a[2] = A(3, s[0]);
    return 3;
}

/* The function called 100 times on its own result. */
static int calls(hd_fn *f, hd_array **out, hd_array *const *args, bool wait)
{
    hd_array *x = hd_keep(args[0]);
    for (int i = 0; i < 100; i++) {
        hd_array *y = NULL;
        int e = hd_call_n(f, &y, 1, &x, 1);
        hd_drop(x);
        if (e)
            return e;
        if (wait && (e = hd_wait(y))) {
            hd_drop(y);
            return e;
        }
        x = y;
    }
    *out = x;
    return 0;
}

static int hundred(hd_fn *f, hd_array **out, hd_array *const *args, int n)
{
    (void)n;
    return calls(f, out, args, false);
}
static int hundred_waits(hd_fn *f, hd_array **out, hd_array *const *args, int n)
{
    (void)n;
    return calls(f, out, args, true);
}

#define ROW(n, f, arg, to, ...) \
    { .name = #n, .group = "latency", .function = f##_fn, .args = arg, .target = to, __VA_ARGS__ }
#define FIRST(n, of) { .name = #n, .group = "latency", .first_call_of = #of, .target = .7 }
#define BOTH(...)   .size = { __VA_ARGS__ }, .small = { __VA_ARGS__ }

const Workload latency_workloads[] = {
    ROW(lat_one, one, one_args, 4, BOTH(1)),
    ROW(lat_args100, each, each_args, 4, BOTH(16)),
    ROW(lat_chain100, chain, one_args, 2, BOTH(16, 100)),
    ROW(lat_calls100, wave, one_args, 5, BOTH(16), .call = hundred),
    ROW(lat_calls100_sync, wave, one_args, 5, BOTH(16), .call = hundred_waits),
    ROW(lat_scan1000, scan, scan_args, 2, BOTH(8, 1000)),
    FIRST(compile_mlp, mlp_step),
    FIRST(compile_transformer, transformer_grad),
    FIRST(compile_rnn, rnn_grad),
    { 0 },
};
