/*
 * test_null.c - every public function with what other languages pass: NULL, 0, negative and huge counts,
 * numbers that are no member of their enum, symbols that never were.
 *
 * null.def says what kind each parameter is; a kind is a list of values, the first of which is good. All
 * pairs of wrong values are tried, outside a program and while one is traced. What comes back is a value, or
 * a failure of which hd_error() tells: never a crash.
 */
#define HD_PLAIN
#include <ctype.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "heddle.h"
#include "suite_run.h"

/* every list is longer than the largest count that is tried: 99 */
enum { MANY = 128 };
enum { MOST = 7 };                              /* arguments */

#define KIND(name, type, ...) \
    static type const list_##name[] = { __VA_ARGS__ }; \
    enum { N_##name = sizeof list_##name / sizeof *list_##name }; \
    static type v_##name(int k) { return list_##name[k]; }

/* ==================== numbers and texts */

KIND(DTYPE, enum hd_dtype, HD_F32, 0, HD_BOOL, HD_C64, (enum hd_dtype)99, (enum hd_dtype) - 1,
    (enum hd_dtype)INT_MIN)
KIND(AXIS, int, 0, -1, 1, 99, -99, INT_MIN, INT_MAX)
KIND(COUNT, int, 1, 0, -1, -2, INT_MIN, 99)
KIND(SIZE, int64_t, 1, 0, -1, 99, INT64_MIN, INT64_MAX)
KIND(DOUBLE, double, 1, 0, -1, NAN, INFINITY, DBL_MAX)
KIND(FLAG, bool, true, false)
KIND(BYTES, size_t, 8, 0, 3, 99)
typedef int LanePair[2];
static const LanePair lane_pairs[MANY];
KIND(LANES, const LanePair *, lane_pairs, NULL)
KIND(TEXT, const char *, "a", NULL, "", "%s%n", "(((", "none, {a: 0")
KIND(FORMAT, const char *, "a", NULL, "")
KIND(PATH, const char *, "/dev/null/a.npy", NULL, "", ".npz", "/")
KIND(SHAPE, hd_ints, { 1, { 3 } }, { 0 }, { -1, { 0 } }, { INT_MIN, { 0 } }, { 17, { 1 } }, { 99, { 1 } },
    { 1, { 0 } }, { 1, { -1 } }, { 1, { INT64_MIN } }, { 1, { INT64_MAX } }, { 2, { INT64_MAX, INT64_MAX } },
    { 3, { 0, INT64_MAX, INT64_MAX } })
KIND(AXES, hd_ints, { 1, { 0 } }, { 0 }, { -1, { 0 } }, { INT_MIN, { 0 } }, { 17, { 0 } }, { 1, { 99 } },
    { 1, { HD_KEEP } }, { 2, { 0, 0 } }, { 1, { INT64_MAX } })

/* ==================== memory */

static const double bytes[MANY];
static const int64_t strides[HD_MAX_RANK];
static double room[MANY];
static hd_cost_info cost;
static hd_device_info info;
static hd_difference difference;
KIND(BYTE, const void *, bytes, NULL)
KIND(STRIDES, const int64_t *, NULL, strides)
KIND(ROOM, void *, room, NULL)
KIND(COST, hd_cost_info *, &cost, NULL)
KIND(HANDLE, void *, NULL)
KIND(OFFSET, size_t *, NULL)
static const hd_vulkan_app no_vulkan;
KIND(VULKAN, const hd_vulkan_app *, NULL, &no_vulkan)
KIND(VKBUFFER, hd_vk_buffer, 0)
KIND(VKSEMAPHORE, hd_vk_semaphore, 0)
KIND(WIDE, uint64_t, 8, 0, 99)
KIND(WIDEP, uint64_t *, NULL)
KIND(DIFFERENCE, hd_difference *, &difference, NULL)
KIND(DEVICES, const char *, "kernel", "nowhere")
KIND(INFO, hd_device_info *, &info, NULL)

static const hd_field inner[] = { { "a", NULL, 0 }, { "c[2]", NULL, 2 }, { NULL, NULL, 0 } };
static const hd_field fields[] = { { "a", NULL, 0 }, { "b", inner, 0 }, { NULL, NULL, 0 } },
                      none[] = { { NULL, NULL, 0 } };
KIND(FIELDS, const hd_field *, fields, NULL, none)

/* ==================== functions */

static hd first(const hd *x, int n, void *env) { (void)env; return n ? x[0] : hd_c(1); }
static hd twice(const hd *x, int n, void *env)
{
    return hd_tuple_n((const hd[]){ first(x, n, env), first(x, n, env) }, 2);
}
static hd nothing(const hd *x, int n, void *env) { (void)x, (void)n, (void)env; return HD_NIL; }
static hd stale(const hd *x, int n, void *env) { (void)x, (void)n, (void)env; return (hd){ 77, 7 }; }

typedef hd Body(const hd *, int, void *);
static int call_back(hd *out, const hd *x, int n, void *payload) { return *out = first(x, n, payload), 0; }
static int on_host(hd_array *const *args, int nargs, hd_array **out, int nout, void *user)
{
    (void)args, (void)nargs, (void)out, (void)nout, (void)user;
    return 1;
}
static const hd_kernel_def kernel_def, kernel_named = { .name = "k" };
KIND(KERNEL, const hd_kernel_def *, NULL, &kernel_def, &kernel_named)
KIND(HOST, hd_host_fn *, on_host, NULL)
typedef void Write(const char *line, void *user);
KIND(WRITE, Write *, NULL)
KIND(USER, void *, NULL)
typedef void Ending(void *payload);
static void ended(void *payload) { (void)payload; }
KIND(CALLBACK, hd_callback *, call_back, NULL)
KIND(ENDING, Ending *, ended, NULL)
KIND(PROGRESS, hd_progress *, NULL)
typedef void Op(void);
KIND(OPS, Op *, NULL)
enum { N_CODE = 2 };
static uintptr_t v_CODE(int k) { return k ? 0 : (uintptr_t)first; }
KIND(KIND, int, -1, 0, 1, -2, INT_MIN, INT_MAX, 9, 99, 100, 109, 999, 1000)

enum { N_FN = 5, N_FNS = 5 };
static hd_fn *v_FN(int k)
{
    static Body *const body[N_FN] = { first, NULL, twice, nothing, stale };
    return body[k] ? hd_function_(99, (uintptr_t)body[k], "f", NULL, 0) : NULL;
}

static hd_fns v_FNS(int k)
{
    static hd_fn *f[MANY], *none[MANY];
    for (int i = 0; i < MANY; i++)
        f[i] = v_FN(0);
    const hd_fns list[N_FNS] = { { 2, f }, { 2, none }, { 2, NULL }, { -1, f }, { INT_MIN, f } };
    return list[k];
}

#define WRONG_LISTS(name, T, field) \
    KIND(name, const T *, &(const T){ 0 }, NULL, &(const T){ .field = { -1, { 0 } } }, \
        &(const T){ .field = { 99, { 0 } } }, &(const T){ .field = { INT_MIN, { 0 } } }, \
        &(const T){ .field = { 1, { INT64_MIN } } }, &(const T){ .field = { 2, { 0 } } })
WRONG_LISTS(GRAD, hd_grad_opts, argnums)
WRONG_LISTS(JIT, hd_jit_opts, donate)
KIND(VMAP, const hd_vmap_opts *, &(const hd_vmap_opts){ 0 }, NULL, &(const hd_vmap_opts){ .axis_size = -5 },
    &(const hd_vmap_opts){ .axis_size = INT64_MAX }, &(const hd_vmap_opts){ .out_axes = INT32_MAX },
    &(const hd_vmap_opts){ .in_axes = { INT32_MAX } },
    &(const hd_vmap_opts){ .in_tree = "", .out_tree = "" }, &(const hd_vmap_opts){ .devices = "" },
    &(const hd_vmap_opts){ .devices = "host,,nowhere" })
KIND(SCAN, const hd_scan_opts *, &(const hd_scan_opts){ 0 }, NULL, &(const hd_scan_opts){ .length = -1 },
    &(const hd_scan_opts){ .length = INT64_MIN }, &(const hd_scan_opts){ .length = INT64_MAX },
    &(const hd_scan_opts){ .unroll = -1 },
    &(const hd_scan_opts){ .unroll = INT64_MAX, .segments = INT64_MAX })
KIND(CHECKPOINT, const hd_checkpoint_opts *, &(const hd_checkpoint_opts){ 0 }, NULL,
    &(const hd_checkpoint_opts){ .save = ",, ," }, &(const hd_checkpoint_opts){ .save = "dots" })
KIND(TRIPS, const hd_while_opts *, &(const hd_while_opts){ 0 }, NULL,
    &(const hd_while_opts){ .max_trips = -1 }, &(const hd_while_opts){ .max_trips = INT64_MAX },
    &(const hd_while_opts){ .max_trips = 3 }, &(const hd_while_opts){ .unroll = -1 },
    &(const hd_while_opts){ .unroll = INT64_MAX })
KIND(ROOT, const hd_root_opts *, &(const hd_root_opts){ 0 }, NULL, &(const hd_root_opts){ .steps = -1 },
    &(const hd_root_opts){ .tolerance = 1e300 })
KIND(RUNNING, const hd_associative_scan_opts *, &(const hd_associative_scan_opts){ 0 }, NULL,
    &(const hd_associative_scan_opts){ .axis = INT_MIN },
    &(const hd_associative_scan_opts){ .axis = 1, .reverse = true })
KIND(MAP, const hd_map_opts *, &(const hd_map_opts){ 0 }, NULL, &(const hd_map_opts){ .batch_size = -1 },
    &(const hd_map_opts){ .batch_size = INT64_MAX })
KIND(WINDOW, const hd_window_opts *, &(const hd_window_opts){ .window = { 1, { 2 } } }, NULL,
    &(const hd_window_opts){ 0 }, &(const hd_window_opts){ .window = { -1, { 0 } } },
    &(const hd_window_opts){ .window = { 1, { INT64_MAX } } },
    &(const hd_window_opts){ .window = { 17, { 1 } } },
    &(const hd_window_opts){ .window = { 1, { 2 } }, .stride = { 1, { 0 } } },
    &(const hd_window_opts){ .window = { 1, { 2 } }, .pad = { 2, { INT64_MIN, INT64_MAX } } },
    &(const hd_window_opts){ .window = { 1, { 2 } }, .dilation = { 1, { INT64_MAX } }, .same = true },
    &(const hd_window_opts){ .window = { 1, { 2 } }, .base_dilation = { 2, { 1, 1 } } })
KIND(CONV, const hd_conv_opts *, &(const hd_conv_opts){ 0 }, NULL, &(const hd_conv_opts){ .dims = "" },
    &(const hd_conv_opts){ .dims = "NC,OI->CN" }, &(const hd_conv_opts){ .dims = "NN,OO->NN" },
    &(const hd_conv_opts){ .groups = -1 },
    &(const hd_conv_opts){ .groups = INT64_MAX, .batch_groups = INT64_MAX },
    &(const hd_conv_opts){ .stride = { 99, { 0 } } }, &(const hd_conv_opts){ .pad = { 1, { 5 } } },
    &(const hd_conv_opts){ .x_dilation = { 1, { INT64_MIN } }, .same = true })
KIND(SORT, const hd_sort_opts *, &(const hd_sort_opts){ 0 }, NULL, &(const hd_sort_opts){ .keys = -1 },
    &(const hd_sort_opts){ .keys = INT_MAX })
KIND(MESH, const hd_mesh *, NULL, NULL)
KIND(PUT, const hd_put_opts *, &(const hd_put_opts){ 0 }, NULL, &(const hd_put_opts){ .axis = 77 },
    &(const hd_put_opts){ .axis = INT_MIN })
KIND(SVD, const hd_svd_opts *, &(const hd_svd_opts){ 0 }, NULL, &(const hd_svd_opts){ .full = true })
KIND(NORM, enum hd_norm_kind, HD_FROBENIUS, HD_NUCLEAR, (enum hd_norm_kind)-1, (enum hd_norm_kind)5)
KIND(FACTOR, enum hd_factor, HD_CHOLESKY, HD_SVD, (enum hd_factor) - 1, (enum hd_factor)3)
KIND(QR, const hd_qr_opts *, &(const hd_qr_opts){ 0 }, NULL, &(const hd_qr_opts){ .full = true })
KIND(TRIANGULAR, const hd_triangular_opts *, &(const hd_triangular_opts){ 0 }, NULL,
    &(const hd_triangular_opts){ .right = true, .upper = true })
KIND(TAKE, const hd_take_opts *, &(const hd_take_opts){ 0 }, NULL,
    &(const hd_take_opts){ .mode = (enum hd_mode)99 }, &(const hd_take_opts){ .mode = (enum hd_mode) - 1 },
    &(const hd_take_opts){ .fill = { 77, 7 } })
KIND(SEARCH, const hd_search_opts *, &(const hd_search_opts){ 0 }, NULL,
    &(const hd_search_opts){ .side = (enum hd_side)99 })
KIND(PERMUTATION, const hd_permutation_opts *, &(const hd_permutation_opts){ 0 }, NULL,
    &(const hd_permutation_opts){ .axis = 77 })
KIND(CHOICE, const hd_choice_opts *, &(const hd_choice_opts){ 0 }, NULL,
    &(const hd_choice_opts){ .p = { 77, 7 } })
KIND(
    FILL, const hd_fill_opts *, &(const hd_fill_opts){ 0 }, NULL, &(const hd_fill_opts){ .fill = { 77, 7 } })
KIND(COMBINE, enum hd_combine, HD_SET, HD_MAX, (enum hd_combine)99, (enum hd_combine)INT_MIN)
KIND(OPT, const hd_opt_opts *, &(const hd_opt_opts){ 0 }, NULL,
    &(const hd_opt_opts){ .momentum = NAN, .b1 = INFINITY })
KIND(OVERLAP, const hd_overlap_opts *, &(const hd_overlap_opts){ 0 }, NULL,
    &(const hd_overlap_opts){ .overlap = (enum hd_overlap)99 },
    &(const hd_overlap_opts){ .overlap = (enum hd_overlap) - 1 })
KIND(LAYER, const hd_layer_opts *, &(const hd_layer_opts){ 0 }, NULL, &(const hd_layer_opts){ .eps = NAN },
    &(const hd_layer_opts){ .axes = { -1, { 0 } } }, &(const hd_layer_opts){ .axes = { 99, { 0 } } },
    &(const hd_layer_opts){ .axes = { 1, { INT64_MIN } } })
KIND(ATTENTION, const hd_attention_opts *, &(const hd_attention_opts){ 0 }, NULL,
    &(const hd_attention_opts){ .mask = { 77, 7 } }, &(const hd_attention_opts){ .window = { 99, { 0 } } },
    &(const hd_attention_opts){ .window = { 2, { INT64_MIN, INT64_MAX } } },
    &(const hd_attention_opts){ .scale = INFINITY, .bias = { 77, 7 } })
KIND(SCHEDULE, const hd_schedule_opts *, &(const hd_schedule_opts){ 0 }, NULL,
    &(const hd_schedule_opts){ .begin = INT64_MIN, .power = NAN },
    &(const hd_schedule_opts){ .end = INFINITY })
KIND(RNG, enum hd_rng, HD_THREEFRY, HD_PHILOX, (enum hd_rng) - 1, (enum hd_rng)7)
#define ROWS_OF_ONE .index_axes = { 1, { 0 } }, .collapsed_axes = { 1, { 0 } }, .sizes = { 1, { 1 } }
KIND(INDEX, const hd_index_opts *, &(const hd_index_opts){ ROWS_OF_ONE }, NULL,
    &(const hd_index_opts){ ROWS_OF_ONE, .mode = (enum hd_mode)99 },
    &(const hd_index_opts){ ROWS_OF_ONE, .mode = (enum hd_mode) - 1 },
    &(const hd_index_opts){
        .index_axes = { 1, { 0 } }, .collapsed_axes = { 1, { 0 } }, .combine = (enum hd_combine)99 },
    &(const hd_index_opts){
        .index_axes = { 1, { 0 } }, .collapsed_axes = { 1, { 0 } }, .combine = (enum hd_combine)INT_MIN },
    &(const hd_index_opts){ .window_axes = { -1, { 0 } } },
    &(const hd_index_opts){ .collapsed_axes = { 99, { 0 } } },
    &(const hd_index_opts){ .index_axes = { 1, { INT64_MAX } } },
    &(const hd_index_opts){ .sizes = { 1, { INT64_MIN } } },
    &(const hd_index_opts){ .x_batch_axes = { 1, { 99 } } },
    &(const hd_index_opts){ .indices_batch_axes = { 1, { -99 } } })

/* ==================== data */

static hd_array *leaf, *tree, *abstract, *wrong_out[MANY];

static hd_array *v_D(int k) { return (hd_array *const[]){ leaf, NULL, tree, abstract }[k]; }
static hd_array *v_DROP(int k) { return hd_keep(v_D(k)); }
enum { N_D = 4, N_DROP = 4, N_ARRAYS = 4, N_OWNED = 3, N_OUT = 2, N_APAIRS = 4, N_VARS = 2, N_FILES = 2 };

static hd_array **many(hd_array *a)
{
    static hd_array *list[4][MANY];
    static int turn;
    hd_array **l = list[turn = (turn + 1) % 4];
    for (int i = 0; i < MANY; i++)
        l[i] = a;
    return l;
}

static hd_array *const *v_ARRAYS(int k)
{
    return k == 1 ? NULL : many(k == 0 ? leaf : k == 2 ? NULL : abstract);
}

/* What is taken over has been kept before, once for each time it may be dropped. */
static hd_array *kept(void)
{
    for (int i = 0; i < MANY; i++)
        hd_keep(leaf);
    return leaf;
}
static hd_array *const *v_OWNED(int k) { return k == 1 ? NULL : many(k == 0 ? kept() : NULL); }
static hd_array **v_OUT(int k) { return k ? NULL : memset(wrong_out, 0, sizeof wrong_out); }
static hd_array *const *const *v_VARS(int k)
{
    static hd_array *const *list[MANY];
    for (int i = 0; i < MANY; i++)
        list[i] = &leaf;
    return k ? NULL : list;
}

static const hd_array_pair *v_APAIRS(int k)
{
    static hd_array_pair list[MANY + 1];
    static char key[MANY][16];
    for (int i = 0; i < MANY; i++) {
        snprintf(key[i], sizeof key[i], "k%d", i);
        list[i] = (hd_array_pair){ k == 2 ? NULL : key[i], k == 3 ? NULL : i ? hd_keep(leaf) : kept() };
    }
    return k == 1 ? NULL : list;
}

static FILE *v_FILES(int k)
{
    static FILE *f;
    return k ? NULL : f ? f : (f = fopen("/dev/null", "w"));
}

/* ==================== symbols: those of the program being traced, and wrong ones */

enum { ARGS = 7, WRONG = 12 };
static hd arg[ARGS];                            /* f32[3], f32[3,3], key, i32[1], bool, i32, {a: f32[3]} */

static hd symbol(int good, int k)
{
    uint32_t t = arg[0].trace;
    const hd wrong[WRONG] = { { 0 }, { 0, 0 }, { UINT32_MAX, UINT32_MAX }, { 1, 1 }, { t, 0 },
        { t, INT_MAX }, { t, UINT32_MAX }, { t + 1, 1 }, arg[6], arg[1], arg[4],
        t ? hd_c(1e300) : (hd){ 0, 5 } };
    return k ? wrong[k] : arg[good];
}

#define SYMBOL(name, good) enum { N_##name = WRONG }; static hd v_##name(int k) { return symbol(good, k); }
SYMBOL(X, 0)
SYMBOL(K, 2)
SYMBOL(I, 3)
SYMBOL(B, 4)
SYMBOL(S, 5)
SYMBOL(T, 6)
enum { N_STATE = WRONG, N_SYMS = 3, N_INDICES = 4, N_PAIRS = 4 };
static hd v_STATE(int k) { return k || !arg[0].trace ? symbol(0, k) : hd_opt_init(arg[6]); }

static const hd *many_of(hd x)
{
    static hd list[MANY + 1];
    for (int i = 0; i < MANY; i++)
        list[i] = x;
    list[MANY] = HD_END;
    return list;
}

static const hd *v_SYMS(int k) { return k == 1 ? NULL : many_of(k == 2 ? HD_NIL : arg[0]); }
static const hd *v_INDICES(int k)
{
    return k == 1 ? NULL : many_of(k == 2 ? HD_NIL : k == 3 ? arg[0] : arg[3]);
}

static const hd_pair *v_PAIRS(int k)
{
    static hd_pair list[MANY + 1];
    static char key[MANY][16];
    for (int i = 0; i < MANY; i++) {
        snprintf(key[i], sizeof key[i], "k%d", i);
        list[i] = (hd_pair){ k == 2 ? NULL : key[i], k == 3 ? HD_NIL : arg[0] };
    }
    return k == 1 ? NULL : list;
}

/* ==================== what comes back */

static const char *current;                     /* the function, for messages */
static const int *values;

static void told(bool failed)
{
    ck_assert_msg(!failed || hd_error()[0], "%s fails and does not say why (values %d %d %d %d %d %d)",
        current, values[0], values[1], values[2], values[3], values[4], values[5]);
}

static void got_hd(hd x) { told(!x.trace); }
static void got_number(int n) { (void)n; }
static void got_size(size_t n) { (void)n; }
static void got_long(int64_t n) { (void)n; }
static void got_real(double v) { (void)v; }
static void got_ints(hd_ints v) { (void)v; }
static void got_text(const char *s) { got_size(s ? strlen(s) : 0); }
static void got_pointer(const void *p) { (void)p; }
static void got_array(hd_array *a) { hd_drop(a); }
static void got_fn(hd_fn *f) { told(!f); }

static void got_code(int e)
{
    told(e != 0);
    for (int i = 0; i < MANY; i++)
        hd_drop(wrong_out[i]), wrong_out[i] = NULL;
}

#define GOT(v) \
    _Generic((v), hd: got_hd, int: got_number, unsigned: got_number, size_t: got_size, int64_t: got_long, double: got_real, \
    bool: got_number, hd_ints: got_ints, const char *: got_text, hd_array *: got_array, \
    hd_fn *: got_fn, default: got_pointer)(v)

#define NTH_(a, b, c, d, e, f, g, h, N, ...) N
#define COUNT_ARGS(...) NTH_(__VA_ARGS__, 7, 6, 5, 4, 3, 2, 1, 0, 0)
#define JOIN(a, b)  JOIN_(a, b)
#define JOIN_(a, b) a##b
#define V0(f)                f()
#define V1(f, a)             f(v_##a(v[0]))
#define V2(f, a, b)          f(v_##a(v[0]), v_##b(v[1]))
#define V3(f, a, b, c)       f(v_##a(v[0]), v_##b(v[1]), v_##c(v[2]))
#define V4(f, a, b, c, d)    f(v_##a(v[0]), v_##b(v[1]), v_##c(v[2]), v_##d(v[3]))
#define V5(f, a, b, c, d, e) f(v_##a(v[0]), v_##b(v[1]), v_##c(v[2]), v_##d(v[3]), v_##e(v[4]))
#define V6(f, a, b, c, d, e, g) \
    f(v_##a(v[0]), v_##b(v[1]), v_##c(v[2]), v_##d(v[3]), v_##e(v[4]), v_##g(v[5]))
#define V7(f, a, b, c, d, e, g, h) \
    f(v_##a(v[0]), v_##b(v[1]), v_##c(v[2]), v_##d(v[3]), v_##e(v[4]), v_##g(v[5]), v_##h(v[6]))
#define CALL(...) JOIN(V, COUNT_ARGS(__VA_ARGS__))(__VA_ARGS__)

#define N0(f)                0
#define N1(f, a)             N_##a
#define N2(f, a, b)          N_##a, N_##b
#define N3(f, a, b, c)       N_##a, N_##b, N_##c
#define N4(f, a, b, c, d)    N_##a, N_##b, N_##c, N_##d
#define N5(f, a, b, c, d, e) N_##a, N_##b, N_##c, N_##d, N_##e
#define N6(f, a, b, c, d, e, g) N_##a, N_##b, N_##c, N_##d, N_##e, N_##g
#define N7(f, a, b, c, d, e, g, h) N_##a, N_##b, N_##c, N_##d, N_##e, N_##g, N_##h

#define NAME_(f, ...) f
#define ROW(...) \
    static void JOIN(try_, NAME_(__VA_ARGS__, 0))(const int *v) \
    { \
        (void)v; \
        GOT(CALL(__VA_ARGS__)); \
    }
#define ACT(...) \
    static void JOIN(try_, NAME_(__VA_ARGS__, 0))(const int *v) \
    { \
        (void)v; \
        got_code(CALL(__VA_ARGS__)); \
    }
#define LENT(...) \
    static void JOIN(try_, NAME_(__VA_ARGS__, 0))(const int *v) \
    { \
        (void)v; \
        got_pointer(CALL(__VA_ARGS__)); \
    }
#define VOID(...) static void JOIN(try_, NAME_(__VA_ARGS__, 0))(const int *v) { (void)v; CALL(__VA_ARGS__); }
#pragma GCC diagnostic ignored "-Wformat-security"
#include "null.def"
#undef ROW
#undef ACT
#undef LENT
#undef VOID

#define STR(x)  STR_(x)
#define STR_(x) #x
#define ROW(...) { STR(NAME_(__VA_ARGS__, 0)), JOIN(try_, NAME_(__VA_ARGS__, 0)), COUNT_ARGS(__VA_ARGS__), \
    { JOIN(N, COUNT_ARGS(__VA_ARGS__))(__VA_ARGS__) } },
#define ACT ROW
#define LENT ROW
#define VOID ROW
static const struct Row { const char *name; void (*call)(const int *); int n, values[MOST]; } rows[] = {
#include "null.def"
};
enum { ROWS = sizeof rows / sizeof *rows };

/* ==================== the sweep */

static void call(const struct Row *r, const int *v)
{
    current = r->name, values = v;
    r->call(v);
}

/* A program whose only purpose is to fail, so that nothing is kept of it. */
static hd traced(const hd *x, int n, void *env)
{
    int v[MOST];
    memcpy(v, env, sizeof v);
    memcpy(arg, x, sizeof *x * (size_t)n);
    call(&rows[((const int *)env)[MOST]], v);
    memset(arg, 0, sizeof arg);
    return hd_fail("the end");
}

static void attempt(const struct Row *r, const int *v, bool trace)
{
    int env[MOST + 1];
    if (!trace) {
        call(r, v);
        return;
    }
    memcpy(env, v, MOST * sizeof *env);
    env[MOST] = (int)(r - rows);
    static hd_array *a[ARGS], *out;
    if (!a[0]) {
        a[0] = hd_array_abstract_n(HD_F32, (hd_ints){ 1, { 3 } }),
        a[1] = hd_array_abstract_n(HD_F32, (hd_ints){ 2, { 3, 3 } });
        a[2] = hd_array_abstract_n(HD_U32, (hd_ints){ 1, { 2 } }),
        a[3] = hd_array_abstract_n(HD_I32, (hd_ints){ 1, { 1 } });
        a[4] = hd_array_abstract_n(HD_BOOL, (hd_ints){ 0 }),
        a[5] = hd_array_abstract_n(HD_I32, (hd_ints){ 0 });
        a[6] = hd_array_dict_n(
            (const hd_array_pair[]){ { "a", hd_array_abstract_n(HD_F32, (hd_ints){ 1, { 3 } }) } }, 1);
    }
    ck_assert_msg(hd_eval_shape_n(hd_function_(99, (uintptr_t)traced, r->name, env, sizeof env), &out, 1, a,
                      ARGS) != 0 &&
            hd_error()[0],
        "%s makes its program succeed", r->name);
}

/* Each parameter in turn, and each pair of them, with all that can be wrong. */
static void sweep(const struct Row *r, bool trace)
{
    int v[MOST] = { 0 };
    attempt(r, v, trace);
    for (int i = 0; i < r->n; i++)
        for (int a = 1; a < r->values[i]; a++) {
            v[i] = a;
            attempt(r, v, trace);
            for (int j = i + 1; j < r->n; j++, v[j - 1] = 0)
                for (v[j] = 1; v[j] < r->values[j]; v[j]++)
                    attempt(r, v, trace);
            v[i] = 0;
        }
}

static void make_data(void)
{
    const float one[3] = { 1, 2, 3 };
    leaf = hd_array_new(HD_F32, (hd_ints){ 1, { 3 } }, one, NULL);
    tree = hd_array_dict_n((const hd_array_pair[]){ { "a", hd_keep(leaf) } }, 1);
    abstract = hd_array_abstract_n(HD_F32, (hd_ints){ 1, { 3 } });
    ck_assert(leaf && tree && abstract);
}

static void crashed(int signal_number)
{
    fprintf(stderr, "%s crashes with values %d %d %d %d %d %d\n", current, values[0], values[1], values[2],
        values[3], values[4], values[5]);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

START_TEST(survives)
{
    make_data();
    signal(SIGSEGV, crashed), signal(SIGABRT, crashed), signal(SIGFPE, crashed);
    for (int i = 0; i < ROWS; i++) {
        sweep(&rows[i], false);
        sweep(&rows[i], true);
        hd_default_device("host");
        hd_array *out = NULL, *const args[] = { leaf };
        ck_assert_msg(!hd_call_n(v_FN(2), &out, 1, args, 1), "after %s: %s", rows[i].name, hd_error());
        hd_drop(out);
    }
}
END_TEST

/* Is there a row for every function that the header declares? */
START_TEST(complete)
{
    static char text[1 << 18];
    FILE *f = fopen("../api/heddle.h", "r");
    ck_assert_ptr_nonnull(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    ck_assert(feof(f));
    fclose(f);
    int declared = 0;
    for (const char *p = strstr(text, "1. basics"); (p = strstr(p, "HD_API ")); ) {
        char name[64] = "";
        const char *end = strchr(p, '('), *s = end;
        while (isalnum((unsigned char)s[-1]) || s[-1] == '_')
            s--;
        snprintf(name, sizeof name, "%.*s", (int)(end - s), s);
        int k = 0;
        while (k < ROWS && strcmp(rows[k].name, name))
            k++;
        ck_assert_msg(k < ROWS, "%s is in heddle.h and not in null.def", name);
        p = end, declared++;
    }
    ck_assert_int_eq(declared, ROWS);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("null");
    TCase *c = tcase_create("everything");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, complete);
    tcase_add_test(c, survives);
    suite_add_tcase(s, c);
    return suite_run(s);
}
