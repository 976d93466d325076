/*
 * test_bench.c - the workloads of bench/, without a clock: at a small size every device agrees with the
 * host's evaluator, element for element (programs whose first call counts are long to compile: their kernels
 * are read); at their own size their plans have no more kernels than they had when last improved, and
 * those no more lines.
 */
#include "api.h"
#undef HD_PLAIN
#include "suite_run.h"
#include "workloads.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static hd_array *run(const Workload *w, const char *device)
{
    hd_array *args[MAX_ARGS], *out = NULL;
    int n = w->args(w->small, args), e = 0;
    for (int i = 0; i < n; i++) {
        hd_array *there = hd_put_n(args[i], device, NULL);
        hd_drop(args[i]);
        args[i] = there;
    }
    hd_fn *f = w->function(w->small);
    e = w->call ? w->call(f, &out, args, n) : hd_call_n(f, &out, 1, args, n);
    if (!e)
        e = hd_wait(out);
    ck_assert_msg(!e, "%s on %s: %s", w->name, device, hd_error());
    for (int i = 0; i < n; i++)
        hd_drop(args[i]);
    return out;
}

/* Of a complex number each part is an element. */
static double element(const hd_array *a, int64_t i)
{
    const void *p = hd_data(a);
    switch (hd_array_dtype(a)) {
    case HD_F32: case HD_C64: return ((const float *)p)[i];
    case HD_I32: return ((const int32_t *)p)[i];
    case HD_U32: return ((const uint32_t *)p)[i];
    default: ck_abort_msg("a dtype that no workload has");
    }
    return 0;
}

static void same(const Workload *w, const hd_array *got, const hd_array *want)
{
    double tol = w->tol > 1e-5 ? w->tol : 1e-5;
    if (hd_array_len(want)) {
        for (int i = 0; i < hd_array_len(want); i++)
            same(w, hd_array_nth(got, i), hd_array_nth(want, i));
        return;
    }
    Checksum c;
    int64_t n = hd_array_size(want) * (hd_array_dtype(want) == HD_C64 ? 2 : 1);
    ck_assert_int_eq(checksum(want, &c), 0);
    ck_assert_int_eq(hd_array_size(got), hd_array_size(want));
    for (int64_t i = 0; i < n; i++) {
        double a = element(got, i), b = element(want, i), scale = fmax(fabs(b), c.abs / (double)n);
        ck_assert_msg(
            fabs(a - b) <= tol * scale, "%s: element %lld is %.9g, not %.9g", w->name, (long long)i, a, b);
    }
}

START_TEST(agrees)
{
    const Workload *w = workload_at(_i);
    Checksum got, want;
    const char *device = strcmp(w->group, "first") ? hd_default_device(NULL) : "kernel";
    if (!w->function)
        return;
    hd_array *a = run(w, device), *b = run(w, "host");
    if (!w->sum_only)
        same(w, a, b);
    ck_assert(!checksum(a, &got) && !checksum(b, &want));
    double error = checksum_error(w, &got, &want);
    ck_assert_msg(
        error <= 1, "%s on %s: the checksum is off by %g times the tolerance", w->name, device, error);
    hd_drop(a), hd_drop(b);
    ck_assert_int_eq(hd_live(), 0);
}
END_TEST

/* ==================== kernels */

/* The best plan so far, and, where the scheduler does not find that one, how many kernels its own has: no
 * more than that. */
typedef struct Most { const char *name; int best, reached; } Most;

static const Most most[] = {
    { "predict_1m", 1, 0 },
    { "scaled_loss_256k", 1, 0 },
    { "normalize_256", 1, 0 },
    { "normalize_last_256", 2, 0 },
    { "pairwise_3", 2, 0 },
    { "pairwise_64", 2, 0 },
    { "pergrad_1m", 1, 0 },
    { "pergrad_mlp", 7, 13 },
    { "pergrad_clip", 10, 16 },
    { "jacrev_512", 3, 0 },
    { "jacfwd_512", 3, 0 },
    { "hessian_4096", 10, 0 },
    { "dropout_4m", 1, 0 },
    { "rnn_h8", 1, 0 },
    { "rnn_h8_grad", 6, 0 },
    { "rnn", 2, 0 },
    { "rnn_grad", 8, 0 },
    { "saxpy_16m", 1, 0 },
    { "exp_16m", 1, 0 },
    { "tanh_16m", 1, 0 },
    { "erf_16m", 1, 0 },
    { "gelu_16m", 1, 0 },
    { "sum_16m", 2, 0 },
    { "softmax", 1, 0 },
    { "logsumexp", 1, 0 },
    { "layernorm", 1, 0 },
    { "layernorm_grad", 3, 0 },
    { "transpose_4096", 1, 0 },
    { "gemm_256", 1, 0 },
    { "gemm_512", 1, 0 },
    { "gemm_1024", 2, 0 },
    { "gemm_2048", 2, 0 },
    { "gemm_gelu_1024", 2, 0 },
    { "gemm_skinny", 1, 0 },
    { "gram_256k", 1, 0 },
    { "bmm_512", 1, 0 },
    { "matvec_4096", 1, 0 },
    { "conv3x3", 2, 0 },
    { "dwconv3x3", 1, 0 },
    { "gather", 1, 0 },
    { "random_bits_16m", 1, 0 },
    { "uniform_16m", 1, 0 },
    { "normal_16m", 1, 0 },
    { "mandelbrot", 2, 0 },
    { "collatz_1m", 1, 0 },
    { "newton_1m", 1, 0 },
    { "rare_branch", 1, 0 },
    { "logistic_10k", 1, 0 },
    { "lorenz_rk4", 1, 0 },
    { "hodgkin_huxley", 1, 0 },
    { "hodgkin_huxley_grad", 5, 0 },
    { "nbody", 2, 0 },
    { "heat2d", 1, 0 },
    { "metropolis", 2, 0 },
    { "kalman", 1, 0 },
    { "mlp_step", 16, 18 },
    { "lstm", 2, 0 },
    { "gru", 2, 0 },
    { "lstm_grad", 13, 17 },
    { "gru_grad", 12, 16 },
    { "attention", 3, 0 },
    { "transformer", 9, 11 },
    { "fft_1m", 6, 0 },
    { "lat_scan1000", 1, 0 },
};

/* What compilers take their time for: no kernel has more lines than this, but those that had when they were
 * last improved. */
enum { LINES = 600 };
typedef struct Longest { const char *name; int lines; } Longest;

static const Longest longest[] = {
    { "solve_8", 1074 },                        /* a matrix in registers, whose rows trade places */
    { "first_ode", 996 },                       /* seven stages and their tangents, sine and cosine */
};

static int lines_of(const Kernel *k)
{
    Text t = { 0 };
    int n = 0;
    k_dump_plain(k, &t);
    for (const char *s = t.s; s && *s; s++)
        n += *s == '\n';
    text_free(&t);
    return n;
}

/* Bytes of its temporaries, lines of its longest kernel. */
typedef struct Planned { size_t bytes; int lines; } Planned;

/* Kernels of the plan that a CPU gets. */
static int kernels(const Workload *w, const int64_t *sizes, char *text, size_t size, Planned *is)
{
    hd_array *args[MAX_ARGS];
    const Tree *tree[MAX_ARGS];
    Entry e;
    Kernel **list;
    Text t = { 0 };
    const Target cpu = { .f64 = true, .i64 = true, .f16 = true, .max_alloc = INT64_C(1) << 32 };
    int count = -1, n = w->args(sizes, args);
    hd_fn *f = w->function(sizes);

    ck_assert_int_eq(entry_begin(&e), 0);
    for (int i = 0; i < n; i++)
        tree[i] = array_tree(args[i]);
    const Traced *traced = graph_of(f, tree_tuple(tree, n));
    const Graph *g = traced ? graph_dce(graph_clone(traced->g)) : NULL;
    const Plan *p = g ? plan_schedule(g, &cpu) : NULL;
    if (p) {
        plan_kernels(p, &list, &count);
        plan_print(p, &t);
        *is = (Planned){ p->bytes, 0 };
        for (int k = 0; k < count; k++)
            is->lines = lines_of(list[k]) > is->lines ? lines_of(list[k]) : is->lines;
    }
    snprintf(text, size, "%.*s", (int)size - 1, p ? t.s : error_text());
    text_free(&t);
    entry_end(&e);
    for (int i = 0; i < n; i++)
        hd_drop(args[i]);
    return count;
}

START_TEST(few_kernels)
{
    static char text[3000];
    const Most *m = &most[_i];
    const Workload *w = workload_named(m->name);
    ck_assert_msg(w != NULL, "%s", m->name);
    Planned is;
    int n = kernels(w, w->size, text, sizeof text, &is);
    int limit = m->reached ? m->reached : m->best;
    ck_assert_msg(n >= 0 && n <= limit, "%s: %d kernels, not %d\n%s", m->name, n, limit, text);
}
END_TEST

START_TEST(short_kernels)
{
    static char text[3000];
    const Workload *w = workload_at(_i);
    Planned is;
    int limit = LINES;
    for (size_t k = 0; k < sizeof longest / sizeof *longest; k++)
        limit = strcmp(longest[k].name, w->name) ? limit : longest[k].lines;
    if (w->missing || w->first_call_of)
        return;
    ck_assert_msg(kernels(w, w->size, text, sizeof text, &is) >= 0, "%s: %s", w->name, text);
    ck_assert_msg(is.lines <= limit, "%s: a kernel of %d lines, not %d", w->name, is.lines, limit);
}
END_TEST

/* Gradients through time: memory grows with the steps alone. Three states a step would do; four are kept. */
START_TEST(memory_is_linear)
{
    enum { HIDDEN = 64, FEATURES = 16, BATCH = 16, SHORT = 1024, LONG = 4096 };
    static char text[3000];
    const Workload *w = workload_named("rnn_grad");
    const int64_t one[MAX_SIZES] = { SHORT, HIDDEN, FEATURES, BATCH },
                  four[MAX_SIZES] = { LONG, HIDDEN, FEATURES, BATCH };
    Planned less, more;
    ck_assert_msg(kernels(w, one, text, sizeof text, &less) > 0, "%s", text);
    ck_assert_msg(kernels(w, four, text, sizeof text, &more) > 0, "%s", text);
    double states = (double)(more.bytes - less.bytes) / (LONG - SHORT) / (HIDDEN * BATCH * 4);
    ck_assert_msg(states <= 4.01, "%.2f states a step are kept\n%s", states, text);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("bench");
    TCase *values = tcase_create("values"), *plans = tcase_create("kernels");
    tcase_set_timeout(values, 600), tcase_set_timeout(plans, 60);
    tcase_add_loop_test(values, agrees, 0, workload_count());
    tcase_add_test(plans, memory_is_linear);
    tcase_add_loop_test(plans, short_kernels, 0, workload_count());
    tcase_add_loop_test(plans, few_kernels, 0, (int)(sizeof most / sizeof *most));
    suite_add_tcase(s, plans), suite_add_tcase(s, values);
    return suite_run(s);
}
