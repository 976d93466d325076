/*
 * test_stack.c - tracing, transforming, scheduling, lowering, printing and parsing need little stack,
 * however long or deep a program.
 *
 * In:  programs, each in a thread of 512 KiB.   Out: what they compute, and how much of the stack was
 * touched.
 * HEDDLE_TEST_STACK=KiB gives another size, and each program then says what it touched.
 */
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "heddle.h"

#include "compile.h"
#include "backend.h"
#include "graph.h"
#include "kernel.h"
#include "opencl_c.h"
#include "spirv.h"
#include "suite_run.h"

/* ==================== a thread whose stack ends in a page that must not be touched */

typedef void Work(const void *);
typedef struct Job { Work *work; const void *env; } Job;

static void *begin(void *job)
{
    ((Job *)job)->work(((Job *)job)->env);
    return NULL;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
enum { SMALL = 8 << 20 };                       /* frames are many times as large */
#else
enum { SMALL = 512 << 10 };
#endif

static void on_small_stack(const char *name, Work *work, const void *env)
{
    const char *kib = getenv("HEDDLE_TEST_STACK");
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = kib ? (size_t)atol(kib) << 10 : SMALL, clean = 0;
    char *stack = mmap(NULL, page + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(stack, MAP_FAILED);
    ck_assert_int_eq(mprotect(stack, page, PROT_NONE), 0);
    memset(stack + page, 0xA5, size);
    pthread_attr_t a;
    pthread_t t;
    pthread_attr_init(&a);
    ck_assert_int_eq(pthread_attr_setstack(&a, stack + page, size), 0);
    Job job = { work, env };
    ck_assert_int_eq(pthread_create(&t, &a, begin, &job), 0);
    pthread_join(t, NULL);
    while (clean < size && (unsigned char)stack[page + clean] == 0xA5)
        clean++;
    if (kib)
        printf("%-28s %zu KiB %.1f s\n", name, (size - clean) >> 10, (double)clock() / CLOCKS_PER_SEC);
    pthread_attr_destroy(&a);
    munmap(stack, page + size);
}

/* ==================== chains */

enum { N = 20000 };

static hd mixed(hd x, int i)
{
    switch (i % 5) {
    case 0: return hd_sin(x);
    case 1: return hd_mul(x, x);
    case 2: return hd_add(x, hd_c(.25));
    case 3: return hd_flip(x, 0);
    default: return hd_where(hd_gt(x, hd_c(.5)), hd_neg(x), x);
    }
}
static hd views(hd x, int i)
{
    switch (i % 4) {
    case 0: return hd_roll(x, 1 + i % 7, 0);
    case 1: return hd_flip(x, 0);
    case 2: return hd_reshape(hd_transpose(hd_reshape(x, 8, 8), 1, 0), 64);
    default:
        return hd_pad(
            hd_slice(x, HD_INTS(1), HD_INTS(63), HD_INTS(1)), hd_c(0), HD_INTS(1), HD_INTS(1), HD_INTS(0));
    }
}
static hd sums(hd x, int i) { return hd_sub(x, i % 2 ? hd_sum(x) : hd_max(x)); }
static hd products(hd x, int i) { (void)i; hd m = hd_reshape(x, 8, 8); return hd_ravel(hd_dot(m, m)); }
static hd running(hd x, int i) { return i % 2 ? hd_cumsum(x, 0) : hd_sort(x, 0); }
static hd indexed(hd x, int i) { (void)i; return hd_take(x, hd_cast(hd_rem(x, hd_c(64)), HD_I32), 0); }
static hd joined(hd x, int i)
{
    (void)i;
    return hd_slice(hd_concatenate(0, x, hd_mul(x, x)), HD_INTS(1), HD_INTS(65), HD_INTS(1));
}
static hd scalars(hd x, int i) { return hd_add(x, hd_mul(hd_sum(x), hd_c(i))); }
static hd widths(hd x, int i) { return hd_cast(hd_cast(x, i % 2 ? HD_F16 : HD_I32), HD_F32); }
static hd ends(hd x, int i) { return i == 199 || i == 99 ? hd_mul(x, hd_sum(x)) : views(x, i); }
static hd step(hd c, hd x) { return hd_tuple(hd_add(hd_mul(c, x), hd_c(1)), c); }
static hd loops(hd x, int i) { (void)i; return hd_nth(hd_scan(step, hd_sum(x), x), 1); }

static hd long_step(hd c, hd x)
{
    for (int i = 0; i < N / 20; i++)
        c = i % 5 == 3 ? hd_div(c, x) : mixed(c, i);
    return hd_tuple(c, c);
}
static hd long_body(hd x, int i) { (void)i; return hd_nth(hd_scan(long_step, hd_sum(x), x), 1); }
static hd long_row(hd c, hd x)
{
    for (int i = 0; i < N / 20; i++)
        c = i % 7 == 3 ? hd_mul(c, hd_sum(x)) : mixed(c, i);
    return hd_tuple(c, c);
}
static hd long_rows(hd x, int i)
{
    (void)i;
    return hd_nth(hd_scan(long_row, x, hd_transpose(hd_reshape(hd_concatenate(0, x, x), 64, 2), 1, 0)), 0);
}

typedef struct Chain { const char *name; hd (*link)(hd, int); int n; bool grad, vmap; } Chain;

static hd chain(hd x, const void *env)
{
    const Chain *c = *(const Chain *const *)env;
    for (int i = 0; i < c->n; i++)
        x = c->link(x, i);
    return c->grad ? hd_sum(x) : x;
}

/* The way without a device: traced, printed, parsed, scheduled for both shapes, and written in both
 * languages. */
static void schedule(const char *text, bool gpu)
{
    Arena *a = arena_new(), *before = arena_use(a);
    Graph *g = graph_parse(text, "program");
    ck_assert_msg(g != NULL, "%s", error_text());
    const Target target = { .machine = gpu ? &machine_gpu : &machine_processor,
        .f64 = true,
        .i64 = true,
        .f16 = true,
        .max_alloc = 1ll << 32 };
    Plan *p = plan_schedule(graph_dce(g), &target);
    ck_assert_msg(p && !error_pending(), "%s", error_text());
    Kernel **list;
    int n, local;
    plan_code(p, &list, &n);
    Text t = { 0 };
    plan_print(p, &t);
    for (int k = 0; k < n; k++) {
        uint32_t *words;
        size_t nwords;
        ck_assert_msg(!k_check(list[k]), "%s", error_text());
        k_dump(list[k], &t);
        if (gpu) {
            const SpirvCaps caps = { .i64 = true,
                .f64 = true,
                .byte_storage = true,
                .short_storage = true,
                .group = 64,
                .fma = { FMA_NATIVE, FMA_NATIVE } };
            ck_assert_msg(!spirv_write(list[k], &caps, &words, &nwords, &local), "%s", error_text());
            free(words);
        }
    }
    const OpenclCaps caps = { .f64 = true, .one_item = true, .cache = 1 << 20 };
    if (!gpu)
        ck_assert_msg(!opencl_c_print((const Kernel *const *)list, n, &caps, &t), "%s", error_text());
    text_free(&t);
    arena_use(before);
    arena_drop(a);
}

static void run_chain(const void *env)
{
    const Chain *c = env;
    hd_fn *f = hd_bind(chain, c);
    f = c->grad ? hd_grad(f) : f;
    f = c->vmap ? hd_vmap(f) : f;
    hd_array *x = c->vmap ? hd_array_abstract(HD_F32, 4, 64) : hd_array_abstract(HD_F32, 64);
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    ck_assert_msg(hd_print_graph(out, f, x) == 0, "%s", hd_error());
    fclose(out);
    for (int gpu = 0; gpu < 2; gpu++)
        schedule(text, gpu);
    free(text);
    hd_drop(x);
}

static const Chain chains[] = {
    { "mixed", mixed, N, false, false },
    { "mixed, vmap of grad", mixed, N / 40, true, true },
    { "views", views, N / 100, false, false },
    { "views, grad", views, N / 100, true, false },
    { "sums, grad", sums, N / 100, true, false },
    { "products", products, N / 100, false, false },
    { "running, grad", running, N / 200, true, false },
    { "indexed, grad", indexed, N / 200, true, false },
    { "joined, grad", joined, N / 40, true, false },
    { "scalars", scalars, N / 100, false, false },
    { "widths", widths, N / 10, false, false },
    { "ends", ends, N / 100, false, false },
    { "long body, vmap of grad", long_body, 1, true, true },
    { "long rows, vmap", long_rows, 1, false, true },
    { "loops, grad", loops, N / 200, true, false },
};

START_TEST(test_chain)
{
    const Chain *c = &chains[_i];
    const char *only = getenv("HEDDLE_TEST_CHAIN");
    if (only && strcmp(only, c->name))
        return;
    on_small_stack(c->name, run_chain, c);
}
END_TEST

/* ==================== regions, trees, arguments: on devices */

static const char *const devices[] = { "host", "opencl:0", "vulkan:0" };

static bool have(const char *device)
{
    Device *d = device_find(device);
    error_clear();
    return d != NULL;
}

/* A text with regions in regions: of one step, or the first of two branches. */
enum { DEEPEST = 128 };

static void run_regions(const void *device)
{
    Text t = { 0 };
    for (int i = 0; i < DEEPEST; i++)
        text_add(&t, "fn f(x: f32[]) -> f32[] {\n%s {\n", i % 3 ?
            "s: f32[] = sin x y: f32[] = region scan s cap=0 acc=0 carry=1 length=1" :
            "zero: i32[] = const dtype=i32 bits=0 y: f32[] = region cond zero x cap=0 acc=0 carry=1");
    text_add(&t, "fn f(x: f32[]) -> f32[] { y: f32[] = add x x");
    for (int i = DEEPEST; i > 0; i--)
        text_add(&t, " ret y }\n%s}", i % 3 == 1 ? "fn g(x: f32[]) -> f32[] { ret x }" : "");
    text_add(&t, " ret y }");
    hd_fn *f = hd_jit(hd_parse(t.s, "deep"), .device = device);
    hd_array *x = hd_array_scalar(HD_F32, 3), *y = NULL;
    ck_assert_msg(hd_call(f, &y, x) == 0, "%s", hd_error());
    double z = 3;
    for (int i = 0; i < DEEPEST; i++)
        z = i % 3 ? sin(z) : z;
    ck_assert_double_eq_tol(hd_item(y), 2 * z, 1e-4);
    hd_drop(x), hd_drop(y);
    text_free(&t);
}

enum { TREE = 1000 };
static hd twice(hd x) { return hd_add(x, x); }
static hd each_twice(hd x) { return hd_tree_map(twice, x); }

static void run_tree(const void *device)
{
    hd_array *x = hd_array_scalar(HD_F32, 3), *y = NULL;
    for (int i = 0; i < TREE; i++)
        x = i % 2 ? hd_array_tuple(x) : hd_array_dict({ "a", x });
    ck_assert_msg(hd_call(hd_jit(each_twice, .device = device), &y, x) == 0, "%s", hd_error());
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    ck_assert_msg(hd_print(out, y) == 0, "%s", hd_error());
    fclose(out);
    ck_assert_ptr_ne(strstr(text, "6"), NULL);
    free(text);
    hd_array *z = hd_put(y, "host");
    ck_assert_msg(z != NULL, "%s", hd_error());
    hd_drop(x), hd_drop(y), hd_drop(z);
}

enum { ARGS = 10000 };
static hd all_twice(const hd *x, int n)
{
    hd *y = malloc((size_t)n * sizeof *y);
    for (int i = 0; i < n; i++)
        y[i] = i % 1000 ? x[i] : twice(x[i]);
    hd t = hd_tuple_n(y, n);
    free(y);
    return t;
}

static void run_arguments(const void *device)
{
    hd_array **x = calloc(ARGS, sizeof *x), **y = calloc(ARGS, sizeof *y);
    for (int i = 0; i < ARGS; i++)
        x[i] = hd_array_scalar(HD_F32, i);
    ck_assert_msg(hd_call_n(hd_jit(all_twice, .device = device), y, ARGS, x, ARGS) == 0, "%s", hd_error());
    for (int i = 0; i < ARGS; i += 500)
        ck_assert_double_eq(hd_item(y[i]), i % 1000 ? i : 2 * i);
    for (int i = 0; i < ARGS; i++)
        hd_drop(x[i]), hd_drop(y[i]);
    free(x), free(y);
}

static void run_long(const void *device)
{
    static const Chain full = { "long", mixed, N, false, false },
                       part = { "long", mixed, N / 400, false, false };
    /* its compiler takes minutes for all */
    const Chain *c = strcmp(device, "vulkan:0") ? &full : &part;
    float v[64];
    for (int i = 0; i < 64; i++)
        v[i] = (float)i / 64;
    hd_array *x = hd_array_of(v, 64), *y = NULL;
    ck_assert_msg(hd_call(hd_jit(hd_bind(chain, c), .device = device), &y, x) == 0, "%s", hd_error());
    ck_assert_msg(hd_wait(y) == 0, "%s", hd_error());
    hd_drop(x), hd_drop(y);
}

static const struct { const char *name; Work *work; } on_devices[] = {
    { "regions", run_regions }, { "tree", run_tree }, { "arguments", run_arguments }, { "long", run_long },
};
enum { ON_DEVICES = sizeof on_devices / sizeof *on_devices };

START_TEST(test_device)
{
    char name[64];
    const char *device = devices[_i / ON_DEVICES], *only = getenv("HEDDLE_TEST_CHAIN");
    snprintf(name, sizeof name, "%s, %s", on_devices[_i % ON_DEVICES].name, device);
    if ((only && strcmp(only, name)) || !have(device))
        return;
    on_small_stack(name, on_devices[_i % ON_DEVICES].work, device);
    ck_assert_int_eq(hd_live(), 0);
}
END_TEST

/* Deeper ones are an error that names the limit, in data and among symbols; what was taken over is gone. */
static hd deeper(hd x)
{
    for (int i = 0; i <= TREE; i++)
        x = hd_tuple(x);
    return x;
}

START_TEST(test_too_deep)
{
    hd_array *x = hd_array_scalar(HD_F32, 3), *y = NULL;
    ck_assert_int_eq(hd_eval_shape(deeper, &y, x), HD_EINVAL);
    ck_assert_msg(strstr(hd_error(), "nested more than 1000 deep"), "%s", hd_error());
    for (int i = 0; i < TREE && x; i++)
        x = hd_array_tuple(x);
    ck_assert_msg(x != NULL, "%s", hd_error());
    x = hd_array_dict({ "a", x });
    ck_assert(!x);
    ck_assert_msg(strstr(hd_error(), "nested more than 1000 deep"), "%s", hd_error());
    ck_assert_int_eq(hd_live(), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("stack");
    TCase *c = tcase_create("stack");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, test_chain, 0, (int)(sizeof chains / sizeof *chains));
    tcase_add_loop_test(c, test_device, 0, 3 * ON_DEVICES);
    tcase_add_test(c, test_too_deep);
    suite_add_tcase(s, c);
    return suite_run(s);
}
