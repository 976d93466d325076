/*
 * test_spirv.c - the kernel IR on two backends: kernels and programs give the same bits on a Vulkan device
 * and on an OpenCL one, and what the host reference gives within the bounds of the functions; spirv-val
 * accepts every module.
 *
 * In:  kernels of every operation and dtype, programs against heddle.h; inputs drawn, special values among
 * them.
 * One file: each case runs through the same comparison of two devices and the host.
 * Out: nothing, or where the bits differ. A nan is a nan, whatever its bits. Without a Vulkan device nothing
 * is tested,
 *      and without spirv-val no module is judged; both are said.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "heddle.h"

#include "compile.h"
#include "graph.h"
#include "kernel.h"
#include "vk.h"

static Device *vulkan, *other, *host;
static Arena *arena;

static void setup(void)
{
    error_clear();
    arena_use(arena = arena_new());
}

static void teardown(void)
{
    arena_use(NULL);
    arena_drop(arena);
    arena = NULL;
    error_clear();
}

/* ==================== spirv-val */

static bool have_val;

static void judge(const Kernel *k, const SpirvCaps *caps)
{
    uint32_t *words;
    size_t n;
    int local;
    char path[] = "/tmp/heddle-spirv-XXXXXX", command[100];
    ck_assert_msg(spirv_write(k, caps, &words, &n, &local) == 0, "%s", error_text());
    ck_assert(words[0] == 0x07230203 && n > 5);
    if (have_val) {
        int fd = mkstemp(path);
        ck_assert(fd >= 0 && write(fd, words, 4 * n) == (ssize_t)(4 * n));
        close(fd);
        snprintf(command, sizeof command, "spirv-val --target-env vulkan1.2 %s", path);
        int e = system(command);
        if (!e)
            unlink(path);
        ck_assert_msg(!e, "spirv-val refuses kernel %s: %s", k->name, path);
    }
    free(words);
}

static void judge_plan(const Plan *p)
{
    Kernel **list;
    int n;
    plan_kernels(p, &list, &n);
    for (int i = 0; i < n; i++)
        judge(list[i], &((VkDev *)vulkan)->caps);
}

/* ==================== running a plan, and comparing what it gives */

/* out[k]: the bytes of result k, in the arena. */
static void run_exec(Exec *e, const size_t *in_bytes, const void *const *in, int nin,
    const size_t *out_bytes, void **out, int nout)
{
    const Backend *b = e->device->backend;
    Mem *x[nin + 1], *y[nout + 1];
    for (int k = 0; k < nin; k++) {
        ck_assert_msg(!b->alloc(e->device, in_bytes[k], &x[k]), "%s", error_text());
        ck_assert_msg(!b->write(x[k], 0, in[k], in_bytes[k]), "%s", error_text());
    }
    ck_assert_msg(!b->run(e, nin, x, nout, y), "%s: %s", e->device->info.name, error_text());
    for (int k = 0; k < nout; k++) {
        out[k] = arena_alloc(out_bytes[k] + 1);
        ck_assert_msg(!b->read(y[k], 0, out[k], out_bytes[k]), "%s: %s", e->device->info.name, error_text());
        mem_drop(y[k]);
    }
    for (int k = 0; k < nin; k++)
        mem_drop(x[k]);
}

static bool element_nan(Dtype dt, const char *p) { return dtype_float(dt) && isnan(dtype_load_f(dt, p)); }

static void same_bits(const char *what, Dtype dt, int64_t n, const void *x, const void *y)
{
    size_t size = dtype_size(dt);
    const char *a = x, *b = y;
    for (int64_t i = 0; i < n; i++, a += size, b += size)
        if (memcmp(a, b, size) && !(element_nan(dt, a) && element_nan(dt, b)))
            ck_abort_msg("%s: element %lld of %lld: %.17g and %.17g (%llx and %llx)", what, (long long)i,
                (long long)n, dtype_load_f(dt, a), dtype_load_f(dt, b),
                (unsigned long long)dtype_load_i(dt, a), (unsigned long long)dtype_load_i(dt, b));
}

/* ==================== inputs */

static uint64_t seed = 88172645463325252ull;
static uint64_t any(void)
{
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return seed;
}

static double special(Dtype dt)
{
    static const double s[] = { 0, -0.0, 1, -1, 0.5, 2, INFINITY, -INFINITY, NAN, 0x1p-149, -0x1p-140,
        0x1p-126, 0x1.fffffep127, -0x1.fffffep127, 0x1p-24, 0x1p-14, 65504, 1.5, 2.5, -2.5, 0x1p23,
        0x1.921fb6p1, 100, -7.5 };
    static const double d[] = { 0x1p-1074, 0x1p-1022, 0x1.fffffffffffffp1023, -0x1.8p-1073 };
    return dt == DT_F64 && any() % 4 == 0 ? d[any() % 4] : s[any() % (sizeof s / sizeof *s)];
}

/* Numbers of all kinds: special ones, ordinary ones, any bits. */
static void draw(Dtype dt, void *p, int64_t n)
{
    size_t size = dtype_size(dt);
    for (int64_t i = 0; i < n; i++) {
        char *e = (char *)p + (size_t)i * size;
        uint64_t r = any(), kind = any() % 4;
        if (dt == DT_BOOL)
            *e = r & 1;
        else if (dtype_float(dt) && kind < 3)
            dtype_store_f(dt, e, kind == 0 ? special(dt)
                : ((double)(r >> 11) * 0x1p-53 - 0.5) * (kind == 1 ? 20 : 2000));
        else if (dtype_int(dt) && kind < 2)
            dtype_store_i(dt, e, (int64_t)(r % 40) - 20);
        else
            memcpy(e, &r, size);
    }
}

/* ==================== kernels by hand: all of them in one plan */

enum { N = 256, MAX_SLOTS = 1024, MAX_KERNELS = 256 };

typedef struct Bench {
    Plan plan;
    Slot slot[MAX_SLOTS];
    Step step[MAX_KERNELS];
    int alias[MAX_SLOTS];
    void *data[MAX_SLOTS];
    const char *what[MAX_SLOTS];
} Bench;

static Bench *bench_new(void)
{
    Bench *b = NEW(Bench);
    b->plan.slot = b->slot, b->plan.step = b->step, b->plan.alias = b->alias;
    return b;
}

static Buffer *bench_slot(Bench *b, bool result, Dtype dt, int64_t n, const char *what)
{
    Plan *p = &b->plan;
    Buffer *r = NEW(Buffer);
    int s = p->nslot++, at = result ? p->nresult++ : p->narg++;
    ck_assert(s < MAX_SLOTS);
    *r = (Buffer){ .name = result ? "out" : "in", .dt = dt, .space = GLOBAL, .size = n, .slot = s };
    b->slot[s] = (Slot){ .kind = result ? SLOT_RESULT : SLOT_ARG, .dt = dt, .index = at, .size = n,
        .bytes = (size_t)n * dtype_size(dt), .name = what };
    if (result)
        b->alias[at] = -1, b->what[at] = what;
    else {
        b->data[at] = arena_alloc((size_t)n * dtype_size(dt));
        draw(dt, b->data[at], n);
    }
    return r;
}

static Buffer *bench_in(Bench *b, Dtype dt, int64_t n) { return bench_slot(b, false, dt, n, "in"); }

static void bench_kernel(Bench *b, Kernel *k)
{
    k_finish(k);
    ck_assert_msg(!error_pending() && !k_check(k), "%s", error_text());
    ck_assert(b->plan.nstep < MAX_KERNELS);
    b->step[b->plan.nstep++] = (Step){ .kind = S_LAUNCH, .kernel = k };
    b->plan.nkernel++;
}

static void bench_sizes(const Bench *b, size_t *in, size_t *out)
{
    for (int s = 0; s < b->plan.nslot; s++)
        (b->slot[s].kind == SLOT_ARG ? in : out)[b->slot[s].index] = b->slot[s].bytes;
}

static void bench_run(Bench *b, Device *d, void **out)
{
    size_t in_bytes[MAX_SLOTS], out_bytes[MAX_SLOTS];
    bench_sizes(b, in_bytes, out_bytes);
    Exec *e = d->backend->build(d, &b->plan);
    ck_assert_msg(e != NULL, "%s: %s", d->info.name, error_text());
    run_exec(e, in_bytes, (const void *const *)b->data, b->plan.narg, out_bytes, out, b->plan.nresult);
    d->backend->drop(e);
}

static void bench_compare(Bench *b)
{
    void **x = NEWS(void *, MAX_SLOTS), **y = NEWS(void *, MAX_SLOTS);
    judge_plan(&b->plan);
    bench_run(b, vulkan, x);
    if (!other)
        return;
    bench_run(b, other, y);
    for (int s = 0; s < b->plan.nslot; s++)
        if (b->slot[s].kind == SLOT_RESULT)
            same_bits(b->slot[s].name, (Dtype)b->slot[s].dt, b->slot[s].size, x[b->slot[s].index],
                y[b->slot[s].index]);
}

/* A kernel whose work-items are i: of one element each, or of W. */
static Kernel *item_kernel(const char *name, int w, Form *at)
{
    int64_t n = N / w;
    Kernel *k = k_new(name);
    const Atom *i = atom_var("i", n, 0);
    k->ngrid = 1, k->grid[0] = (Grid){ i, n };
    k_where(k, i, 0);
    *at = w == 1 ? form_a(i) : form_add(form_mul(form_a(i), W), form_a(LANE));
    return k;
}

static void keep(Bench *b, Kernel *k, Form at, Dtype dt, Val v, const char *what)
{
    ck_assert_msg(v != 0, "%s: %s", what, error_text());
    k_store(k, bench_slot(b, true, dt, N, what), at, v);
}

static const Dtype registers[] = { DT_BOOL, DT_I8, DT_I16, DT_I32, DT_I64, DT_U8, DT_U16, DT_U32, DT_U64,
    DT_F32, DT_F64 };
enum { REGISTERS = sizeof registers / sizeof *registers };

static const char *const op_names[K_OP_COUNT] = { [K_ADD] = "add",
    [K_SUB] = "sub",
    [K_MUL] = "mul",
    [K_DIV] = "div",
    [K_REM] = "rem",
    [K_FMA] = "fma",
    [K_NEG] = "neg",
    [K_ABS] = "abs",
    [K_MAX] = "max",
    [K_MIN] = "min",
    [K_SQRT] = "sqrt",
    [K_FLOOR] = "floor",
    [K_CEIL] = "ceil",
    [K_RINT] = "rint",
    [K_TRUNC] = "trunc",
    [K_AND] = "and",
    [K_OR] = "or",
    [K_XOR] = "xor",
    [K_NOT] = "not",
    [K_SHL] = "shl",
    [K_SHR] = "shr",
    [K_SAR] = "sar",
    [K_MULHI] = "mulhi",
    [K_POPCOUNT] = "popcount",
    [K_CLZ] = "clz",
    [K_EQ] = "eq",
    [K_NE] = "ne",
    [K_LT] = "lt",
    [K_LE] = "le",
    [K_GT] = "gt",
    [K_GE] = "ge",
    [K_SELECT] = "select",
    [K_HSUM] = "hsum",
    [K_HPROD] = "hprod",
    [K_HMAX] = "hmax",
    [K_HMIN] = "hmin",
    [K_HAND] = "hand",
    [K_HOR] = "hor",
    [K_HXOR] = "hxor",
    [K_ANY] = "any" };

static bool takes(KOp op, Dtype dt)
{
    char kind = dt == DT_BOOL ? 'b' : dtype_int(dt) ? 'i' : 'f';
    switch (op) {
    case K_ADD:
    case K_SUB:
    case K_MUL:
    case K_DIV:
    case K_NEG:
    case K_ABS:
    case K_MAX:
    case K_MIN:
    case K_LT:
    case K_LE:
    case K_GT:
    case K_GE:
    case K_EQ:
    case K_NE:
    case K_HSUM:
    case K_HPROD:
    case K_HMAX:
    case K_HMIN:
        return kind != 'b';
    case K_FMA: case K_SQRT: case K_FLOOR: case K_CEIL: case K_RINT: case K_TRUNC: return kind == 'f';
    case K_AND: case K_OR: case K_XOR: case K_NOT: case K_HAND: case K_HOR: case K_HXOR: return kind != 'f';
    case K_REM:
    case K_SHL:
    case K_SHR:
    case K_SAR:
    case K_MULHI:
    case K_POPCOUNT:
    case K_CLZ:
        return kind == 'i';
    case K_ANY: return kind == 'b';
    case K_SELECT: return true;
    default: return false;
    }
}

/* The operands of an operation, in the range that it is defined for. */
static Val operated(Kernel *k, KOp op, Dtype dt, Val x, Val y, Val z, Val c)
{
    if (dtype_int(dt) && (op == K_DIV || op == K_REM))          /* not 0, and not MIN / -1 */
        y = k2(k, K_OR, dt, k2(k, K_AND, dt, y, k_bits(k, dt, 0x7f)), k_bits(k, dt, 1));
    if (op == K_SHL || op == K_SHR || op == K_SAR)
        y = k2(k, K_AND, dt, y, k_bits(k, dt, 8 * (int64_t)dtype_size(dt) - 1));
    if (op == K_SELECT)
        return k3(k, op, dt, c, x, y);
    if (op == K_FMA)
        return k3(k, op, dt, x, y, z);
    Dtype to = (op >= K_EQ && op <= K_GE) || op == K_ANY ? DT_BOOL : dt;
    bool two = op <= K_REM || op == K_MAX || op == K_MIN || (op >= K_AND && op <= K_XOR) || (op >= K_SHL &&
        op <= K_MULHI) || (op >= K_EQ && op <= K_GE);
    return two ? k2(k, op, to, x, y) : k1(k, op, to, x);
}

START_TEST(every_operation)
{
    Bench *b = bench_new();
    form_open();
    for (int d = 0; d < REGISTERS; d++)
        for (int w = 1; w <= W; w += W - 1) {
            Dtype dt = registers[d];
            Form at;
            Kernel *k = item_kernel(arena_text("ops_%s_%d", dtype_name(dt), w), w, &at);
            Val x = k_load(k, bench_in(b, dt, N), at), y = k_load(k, bench_in(b, dt, N), at);
            Val z = k_load(k, bench_in(b, dt, N), at), c = k_load(k, bench_in(b, DT_BOOL, N), at);
            for (int op = K_ADD; op < K_HSUM; op++)
                if (takes((KOp)op, dt)) {
                    Val v = operated(k, (KOp)op, dt, x, y, z, c);
                    keep(b, k, at, (Dtype)k->ins[v].dt, v, arena_text("%s of %s, %d lanes", op_names[op],
                        dtype_name(dt), w));
                }
            bench_kernel(b, k);
        }
    bench_compare(b);
    form_close();
}
END_TEST

START_TEST(every_reduction_of_lanes)
{
    Bench *b = bench_new();
    form_open();
    for (int d = 0; d < REGISTERS; d++) {
        Dtype dt = registers[d];
        Form at;
        Kernel *k = item_kernel(arena_text("lanes_%s", dtype_name(dt)), W, &at);
        Form item = form_a(k->grid[0].var);
        Val x = k_load(k, bench_in(b, dt, N), at);
        for (int op = K_HSUM; op <= K_ANY; op++)
            if (takes((KOp)op, dt)) {
                Val v = k1(k, (KOp)op, op == K_ANY ? DT_BOOL : dt, x);
                k_store(k,
                    bench_slot(b, true, (Dtype)k->ins[v].dt, N / W,
                        arena_text("%s of %s", op_names[op], dtype_name(dt))),
                    item, v);
            }
        bench_kernel(b, k);
    }
    bench_compare(b);
    form_close();
}
END_TEST

/* A float in the range of an integer dtype, and no nan. */
static Val in_range(Kernel *k, Val x, Dtype from, Dtype to)
{
    if (!dtype_float(from) || !dtype_int(to))
        return x;
    double most = ldexp(1, 8 * (int)dtype_size(to) - (dtype_signed(to) ? 1 : 0)) * 0.75;
    double least = dtype_signed(to) ? -most : 0;
    Val hi = k_const(k, from, most), lo = k_const(k, from, least);
    Val ok = k2(k, K_AND, DT_BOOL, k2(k, K_LE, DT_BOOL, x, hi), k2(k, K_GE, DT_BOOL, x, lo));
    return k3(k, K_SELECT, from, ok, x, hi);
}

START_TEST(every_conversion)
{
    Bench *b = bench_new();
    form_open();
    for (int d = 0; d < REGISTERS; d++)
        for (int w = 1; w <= W; w += W - 1) {
            Dtype from = registers[d];
            Form at;
            Kernel *k = item_kernel(arena_text("convert_%s_%d", dtype_name(from), w), w, &at);
            Val x = k_load(k, bench_in(b, from, N), at);
            for (int t = 0; t < REGISTERS; t++) {
                Dtype to = registers[t];
                if (to == from)
                    continue;
                keep(b, k, at, to, k1(k, K_CONVERT, to, in_range(k, x, from, to)),
                    arena_text("%s as %s, %d lanes", dtype_name(from), dtype_name(to), w));
                if (dtype_size(to) == dtype_size(from) && from != DT_BOOL && to != DT_BOOL)
                    keep(b, k, at, to, k1(k, K_BITS, to, x),
                        arena_text("bits of %s as %s, %d lanes", dtype_name(from), dtype_name(to), w));
            }
            bench_kernel(b, k);
        }
    bench_compare(b);
    form_close();
}
END_TEST

/* Loads and stores of every dtype; f16 and bf16 by value, rounded as instructions and as memory. */
START_TEST(memory_of_every_dtype)
{
    Bench *b = bench_new();
    form_open();
    for (Dtype dt = DT_BOOL; dt <= DT_F64; dt++)
        for (int w = 1; w <= W; w += W - 1) {
            Form at, back;
            Kernel *k = item_kernel(arena_text("memory_%s_%d", dtype_name(dt), w), w, &at);
            Buffer *in = bench_in(b, dt, N);
            const char *what = arena_text("%s, %d lanes", dtype_name(dt), w);
            back = form_addc(form_mul(at, -1), N - 1);
            keep(b, k, at, dt, k_load(k, in, at), what);
            keep(b, k, back, dt, k_load(k, in, at), what);
            keep(b, k, at, dt, k_load(k, in, back), what);
            Buffer *row = k_private(k, dt, 2 * W);
            Form in_row = form_mod(at, W);
            k_store(k, row, in_row, k_load(k, in, at));
            keep(b, k, at, dt, k_load(k, row, in_row), what);
            bench_kernel(b, k);
        }
    const Dtype narrow[] = { DT_F16, DT_BF16 };
    for (int d = 0; d < 2; d++)
        for (int w = 1; w <= W; w += W - 1) {
            Form at;
            Kernel *k = item_kernel(arena_text("round_%s_%d", dtype_name(narrow[d]), w), w, &at);
            Val x = k_load(k, bench_in(b, DT_F32, N), at), r = k_emit(k, K_ROUND, narrow[d], 1, &x);
            keep(b, k, at, DT_F32, r, "rounded");
            keep(b, k, at, narrow[d], x, "stored narrow");
            bench_kernel(b, k);
        }
    bench_compare(b);
    form_close();
}
END_TEST

/* Places of every kind: quotients and remainders rounded down, clamps, values as indices, gathers, strides,
 * blocks. */
static void places(Bench *b, bool wide)
{
    Form at;
    Kernel *k = item_kernel(wide ? "places_wide" : "places", W, &at);
    Buffer *in = bench_in(b, DT_F32, N), *index = bench_in(b, DT_U8, N), *sign = bench_in(b, DT_BOOL, N);
    Buffer *record = bench_in(b, DT_F32, 8 * N);
    if (wide)
        k->wide_index = true;
    static const int64_t d[] = { 2, 3, 7, 16, 100 };
    for (int i = 0; i < 5; i++) {
        Form f = form_addc(form_mul(at, 3), -2 * N);            /* negative and positive */
        Form q = form_clamp(form_addc(form_div(f, d[i]), N / 2), N), r = form_mod(f, d[i]);
        keep(b, k, at, DT_F32, k_load(k, in, q), "at a quotient");
        keep(b, k, at, DT_F32, k_load(k, in, r), "at a remainder");
        keep(b, k, at, wide ? DT_I64 : DT_I32, k_index(k, form_div(f, d[i])), "a quotient");
        keep(b, k, at, wide ? DT_I64 : DT_I32, k_index(k, form_mod(at, d[i])), "a remainder");
    }
    Form g = k_value(k, k_load(k, index, at), 0, 255), s = k_value(k, k_load(k, sign, at), 0, 1);
    keep(b, k, at, DT_F32, k_load(k, in, form_clamp(g, N)), "gathered");
    keep(b, k, at, DT_F32, k_load(k, in, form_add(form_mul(s, 100), form_div(g, 2))), "gathered by a bool");
    Buffer *out = bench_slot(b, true, DT_F32, 8 * N, "records");
    Buffer *spread = bench_slot(b, true, DT_F32, 5 * N, "strided");
    for (int c = 0; c < 8; c++)
        k_store(k, out, form_addc(form_mul(at, 8), 7 - c), k_load(k, record, form_addc(form_mul(at, 8), c)));
    for (int c = 0; c < 5; c++)                 /* every fifth */
        k_store(
            k, spread, form_addc(form_mul(at, 5), c), k_load(k, record, form_addc(form_mul(at, 5), 4 - c)));
    bench_kernel(b, k);
}

START_TEST(every_kind_of_place)
{
    Bench *b = bench_new();
    form_open();
    places(b, false);
    places(b, true);
    bench_compare(b);
    form_close();
}
END_TEST

/* Loops that count, loops that are left, branches with results, values that swap, in one lane and in W. */
static void structure(Bench *b, int w)
{
    Form at;
    Kernel *k = item_kernel(arena_text("structure_%d", w), w, &at);
    Val x = k_load(k, bench_in(b, DT_F32, N), at), one = k_const(k, DT_F32, 1),
        half = k_const(k, DT_F32, 0.5);
    Val n = k_load(k, bench_in(b, DT_U8, N), at), zero = k_bits(k, DT_U8, 0), unit = k_bits(k, DT_U8, 1);
    Val a = w > 1 ? k_splat(k, one) : one,
        z = w > 1 ? k_splat(k, k_const(k, DT_F32, 0)) : k_const(k, DT_F32, 0);
    Val init[3] = { a, z, n }, phi[3], out[3], inner[1], last[1];
    k_loop(k, "t", -1, 3, init, phi);           /* Fibonacci, as many steps as each lane wants */
    Val go = k2(k, K_NE, DT_BOOL, phi[2], zero);
    k_brk(k, w > 1 ? k1(k, K_ANY, DT_BOOL, go) : go);
    const Val next[] = { k3(k, K_SELECT, DT_F32, go, k2(k, K_ADD, DT_F32, phi[0], phi[1]), phi[0]),
        k3(k, K_SELECT, DT_F32, go, phi[0], phi[1]),
        k3(k, K_SELECT, DT_U8, go, k2(k, K_SUB, DT_U8, phi[2], unit), phi[2]) };
    k_loop_end(k, next, out);
    keep(b, k, at, DT_F32, out[0], "left by its lanes");
    Val swap_in[2] = { x, out[1] }, swap[2], swapped[2];
    /* two that swap, a branch and a loop inside */
    const Atom *s = k_loop(k, "s", 5, 2, swap_in, swap);
    Val odd = k2(k, K_EQ, DT_BOOL, k_index(k, form_mod(form_a(s), 2)), k_bits(k, DT_I32, 1)), r[1];
    k_if(k, odd);
    Val from[1] = { swap[0] };
    k_loop(k, "u", 3, 1, from, inner);
    k_brk(k, k2(k, K_LT, DT_BOOL, k_index(k, form_a(s)), k_bits(k, DT_I32, 3)));
    const Val step[1] = { k2(k, K_MUL, DT_F32, inner[0], half) };
    k_loop_end(k, step, last);
    k_if_end(k, 1, last, &swap[1], r);
    const Val turned[2] = { swap[1], r[0] };
    k_loop_end(k, turned, swapped);
    keep(b, k, at, DT_F32, swapped[0], "swapped");
    keep(b, k, at, DT_F32, swapped[1], "swapped, the other");
    bench_kernel(b, k);
}

/* Neighbours through memory of the work-group, between barriers. */
static void meeting(Bench *b)
{
    Form at;
    Kernel *k = item_kernel("meeting", W, &at);
    Buffer *shared = NEW(Buffer);
    *shared = (Buffer){ .name = "l0", .dt = DT_F32, .space = LOCAL, .size = W, .slot = -1 };
    PUSH(k->priv, k->npriv, k->priv_cap, shared);
    k_store(k, shared, form_a(LANE), k_load(k, bench_in(b, DT_F32, N), at));
    k_barrier(k);
    keep(b, k, at, DT_F32, k_load(k, shared, form_addc(form_mul(form_a(LANE), -1), W - 1)),
        "through local memory");
    bench_kernel(b, k);
}

START_TEST(structures)
{
    Bench *b = bench_new();
    form_open();
    structure(b, 1);
    structure(b, W);
    meeting(b);
    bench_compare(b);
    form_close();
}
END_TEST

/* More work-groups than a dispatch may have: the grid comes in parts, along every dimension. */
START_TEST(grids_in_parts)
{
    uint32_t *most = ((VkDev *)vulkan)->groups, before[3];
    const int64_t n[3] = { 37, 5, 7 };
    Bench *b = bench_new();
    form_open();
    Kernel *k = k_new("parts");
    Form at = form_c(0);
    for (int d = 0; d < 3; d++) {
        const Atom *i = atom_var("i", n[d], 0);
        k->grid[k->ngrid++] = (Grid){ i, n[d] };
        k_where(k, i, 0);
        at = form_add(form_mul(at, n[d]), form_a(i));
    }
    Buffer *in = bench_in(b, DT_I32, 37 * 5 * 7), *out = bench_slot(b, true, DT_I32, 37 * 5 * 7, "in parts");
    k_store(k, out, at, k2(k, K_ADD, DT_I32, k_load(k, in, at), k_index(k, at)));
    bench_kernel(b, k);
    memcpy(before, most, sizeof before);
    most[0] = 2, most[1] = 3, most[2] = 2;
    bench_compare(b);
    memcpy(most, before, sizeof before);
    form_close();
}
END_TEST

/* ==================== arithmetic by integers, as devices need it that round loosely */

enum { TRIES = 1 << 15 };

static void exact_kernel(Bench *b, Dtype dt)
{
    Kernel *k = k_new(arena_text("exact_%s", dtype_name(dt)));
    const Atom *i = atom_var("i", TRIES, 0);
    k->ngrid = 1, k->grid[0] = (Grid){ i, TRIES };
    k_where(k, i, 0);
    Form at = form_a(i);
    Val x = k_load(k, bench_in(b, dt, TRIES), at), y = k_load(k, bench_in(b, dt, TRIES), at);
    Val z = k_load(k, bench_in(b, dt, TRIES), at);
    k_store(k, bench_slot(b, true, dt, TRIES, "fma"), at, k3(k, K_FMA, dt, x, y, z));
    k_store(k, bench_slot(b, true, dt, TRIES, "quotient"), at, k2(k, K_DIV, dt, x, y));
    k_store(k, bench_slot(b, true, dt, TRIES, "root"), at, k1(k, K_SQRT, dt, x));
    bench_kernel(b, k);
}

/* Halfway cases, cancellation, results at the ends of the range. */
static void hard_operands(Dtype dt, char *x, char *y, char *z)
{
    size_t size = dtype_size(dt);
    int m = dt == DT_F32 ? 23 : 52, low = dt == DT_F32 ? -149 : -1074;
    for (int i = 0; i < TRIES; i++, x += size, y += size, z += size) {
        double a = dtype_load_f(dt, x), b = dtype_load_f(dt, y);
        switch (i % 5) {
        case 0:                                 /* near cancellation, or half of a last place away */
            dtype_store_f(dt, x, a = 1 + (double)(any() % (1 << 12)) * 0x1p-12);
            dtype_store_f(dt, y, b = 1 + (double)(any() % (1 << 12)) * 0x1p-12);
            dtype_store_f(
                dt, z, any() & 1 ? -a * b : ldexp(1 + (double)(any() % 8) / 8, -m - (int)(any() % 4)));
            break;
        case 1:                                 /* results below the normal numbers */
            dtype_store_f(dt, x, ldexp(a, low / 2 - (int)(any() % 16)));
            dtype_store_f(dt, y, ldexp(b, low / 2 - (int)(any() % 16)));
            dtype_store_f(dt, z, any() & 1 ? 0 : ldexp((double)(any() % 9), low));
            break;
        case 2:                                 /* quotients there */
            dtype_store_f(dt, x, ldexp(1 + (double)(any() % 999) / 7, low + m - 5));
            dtype_store_f(dt, y, ldexp(1 + (double)(any() % 16) / 16, 3 + (int)(any() % 8)));
            break;
        default:                                /* as drawn: special values, all magnitudes */
            break;
        }
    }
}

START_TEST(exact_by_integers)
{
    SpirvCaps *caps = &((VkDev *)vulkan)->caps, before = *caps;
    Bench *b = bench_new();
    void **out = NEWS(void *, 2 * 3);
    const int kinds = vulkan->info.has_f64 ? 2 : 1;
    form_open();
    for (int t = 0; t < kinds; t++) {
        exact_kernel(b, t ? DT_F64 : DT_F32);
        hard_operands(t ? DT_F64 : DT_F32, b->data[3 * t], b->data[3 * t + 1], b->data[3 * t + 2]);
    }
    for (int form = FMA_WIDE; form <= FMA_INTEGER; form++) {
        if (form == FMA_WIDE && !vulkan->info.has_f64)
            continue;
        for (int t = 0; t < 2; t++)
            caps->exact_div[t] = caps->exact_sqrt[t] = false, caps->fma[t] = t ? FMA_INTEGER : (uint8_t)form;
        judge_plan(&b->plan);
        bench_run(b, vulkan, out);
        for (int i = 0; i < TRIES; i++) {
            const float *x = b->data[0], *y = b->data[1], *z = b->data[2];
            const float want[] = { fmaf(x[i], y[i], z[i]), x[i] / y[i], sqrtf(x[i]) };
            for (int o = 0; o < 3; o++)
                same_bits(arena_text("%s of %a, %a, %a in form %d", b->what[o], (double)x[i], (double)y[i],
                    (double)z[i], form), DT_F32, 1, (float *)out[o] + i, &want[o]);
        }
        for (int i = 0; i < TRIES && kinds > 1; i++) {
            const double *x = b->data[3], *y = b->data[4], *z = b->data[5];
            const double want[] = { fma(x[i], y[i], z[i]), x[i] / y[i], sqrt(x[i]) };
            for (int o = 0; o < 3; o++)
                same_bits(arena_text("%s of %a, %a, %a", b->what[3 + o], x[i], y[i], z[i]), DT_F64, 1,
                    (double *)out[3 + o] + i, &want[o]);
        }
    }
    *caps = before;
    form_close();
}
END_TEST

/* ==================== programs: one plan, two backends, and the host */

/* A result against the reference: floats within `bound` units of the last place, or of the largest element's
 * (sums). */
static void near_host(
    const char *what, Dtype dt, int64_t n, const char *x, const char *want, double bound, bool sums)
{
    size_t size = dtype_size(dt);
    double largest = 0;
    int digits = dt == DT_F64 ? 52 : dt == DT_F32 ? 23 : dt == DT_F16 ? 10 : 7;
    int low = dt == DT_F64 ? -1074 : dt == DT_F32 ? -149 : dt == DT_F16 ? -24 : -133;
    for (int64_t i = 0; i < n && dtype_float(dt) && sums; i++) {
        double v = fabs(dtype_load_f(dt, want + (size_t)i * size));
        largest = isfinite(v) && v > largest ? v : largest;
    }
    for (int64_t i = 0; i < n; i++, x += size, want += size) {
        if (!dtype_float(dt)) {
            ck_assert_msg(!memcmp(x, want, size), "%s: element %lld is %lld, on the host %lld", what,
                (long long)i, (long long)dtype_load_i(dt, x), (long long)dtype_load_i(dt, want));
            continue;
        }
        double a = dtype_load_f(dt, x), b = dtype_load_f(dt, want), big = sums ? largest : fabs(b);
        int e = big > 0 && isfinite(big) ? ilogb(big) - digits : low;
        double unit = ldexp(1, e < low ? low : e);
        bool good = (isnan(a) && isnan(b)) || a == b || fabs(a - b) <= bound * unit;
        ck_assert_msg(good, "%s: element %lld is %.9g, on the host %.9g: %.2f units", what, (long long)i, a,
            b, fabs(a - b) / unit);
    }
}

static Exec *built(Device *d, Plan *p)
{
    Exec *e = d->backend->build(d, p);
    ck_assert_msg(e != NULL, "%s: %s", d->info.name, error_text());
    return e;
}

/* in: bytes by argument. bound < 0: not against the host. */
static void graph_on_both(const char *name, const Graph *g, const void *const *in, double bound, bool sums)
{
    size_t nin = (size_t)g->nin, nout = (size_t)g->nout, in_bytes[nin + 1], out_bytes[nout + 1];
    void *x[nout + 1], *y[nout + 1];
    const Target target = {
        .f64 = vulkan->info.has_f64, .i64 = vulkan->info.has_i64, .max_alloc = 1ll << 30
    };
    g = graph_dce(g);
    Plan *p = plan_schedule(g, &target);
    ck_assert_msg(p != NULL, "%s: %s", name, error_text());
    judge_plan(p);
    for (int k = 0; k < g->nin; k++)
        in_bytes[k] = type_bytes(&g->type[g->in[k]]);
    for (int k = 0; k < g->nout; k++)
        out_bytes[k] = type_bytes(&g->type[g->out[k]]);
    Exec *e = built(vulkan, p);
    run_exec(e, in_bytes, in, g->nin, out_bytes, x, g->nout);
    run_exec(e, in_bytes, in, g->nin, out_bytes, x, g->nout);           /* and again */
    vulkan->backend->drop(e);
    if (other) {
        run_exec(e = built(other, p), in_bytes, in, g->nin, out_bytes, y, g->nout);
        other->backend->drop(e);
        for (int k = 0; k < g->nout; k++) {
            const Type *t = &g->type[g->out[k]];
            same_bits(arena_text("%s, result %d", name, k), (Dtype)t->dt, type_size(t), x[k], y[k]);
        }
    }
    if (bound < 0)
        return;
    e = host->backend->build_graph(host, g);
    ck_assert_msg(e != NULL, "%s: %s", name, error_text());
    run_exec(e, in_bytes, in, g->nin, out_bytes, y, g->nout);
    host->backend->drop(e);
    for (int k = 0; k < g->nout; k++) {
        const Type *t = &g->type[g->out[k]];
        near_host(arena_text("%s, result %d", name, k), (Dtype)t->dt, type_size(t), x[k], y[k], bound, sums);
    }
}

/* ---- all elementwise functions, one graph a function */

typedef struct Row {
    const char *name;
    int arity;
    uint8_t accepts;
    Ref (*f1)(Ref), (*f2)(Ref, Ref), (*f3)(Ref, Ref, Ref);
} Row;

#define ROW_1(Name) Name, NULL, NULL
#define ROW_2(Name) NULL, Name, NULL
#define ROW_3(Name) NULL, NULL, Name
#define STRUC(...)
#define ELEM(name, Name, arity, accepts, ...) { #name, arity, accepts, ROW_##arity(Name) },
static const Row rows[] = {
#include "ops.def"
};

static bool accepted(const Row *r, Dtype dt)
{
    return r->accepts & (dt == DT_BOOL ? B_ : dtype_float(dt) ? F_ : dtype_unsigned(dt) ? U_ : I_);
}

/* Has it a form where the device has no library of f64 functions? */
static bool has_form(const Row *r, Dtype dt)
{
    static const char *const exact[] = { "add", "sub", "mul", "div", "rem", "max", "min", "clamp", "neg",
        "abs", "sign", "copysign", "nextafter", "floor", "ceil", "round", "trunc", "is_finite", "sqrt", "eq",
        "ne", "lt", "le", "gt", "ge" };
    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++)
        if (!strcmp(r->name, exact[i]))
            return true;
    return dt != DT_F64;
}

/* The largest error in units of the last place; negative arguments of the last three cancel, see ulp.c. */
static double bound_of(const char *name)
{
    static const struct {
        const char *name;
        double ulp;
    } b[] = { { "exp", 1 }, { "exp2", 1.1 }, { "expm1", 1.7 }, { "log", 0.9 }, { "log2", 1.7 },
        { "log1p", 1.6 }, { "tanh", 1.3 }, { "logistic", 1.6 }, { "sin", 2 }, { "cos", 2.1 }, { "tan", 2.3 },
        { "asin", 1.2 }, { "acos", 1.2 }, { "atan", 1.6 }, { "sinh", 1.5 }, { "cosh", 1.9 }, { "asinh", 2 },
        { "acosh", 2.1 }, { "atanh", 1.9 }, { "erf", 2 }, { "erfc", 4.1 }, { "erf_inv", 2.9 },
        { "cbrt", 0.51 }, { "rsqrt", 1.5 }, { "pow", 1.1 }, { "atan2", 1.6 }, { "hypot", 1.2 },
        { "lgamma", -1 }, { "digamma", -1 }, { "trigamma", -1 } };
    for (size_t i = 0; i < sizeof b / sizeof *b; i++)
        if (!strcmp(name, b[i].name))
            return b[i].ulp < 0 ? -1 : b[i].ulp + 0.5;          /* the host's own rounding */
    return 0;
}

/* Functions of narrow floats are those of f32, rounded: a few will do. */
static bool chosen(const Row *r, Dtype dt)
{
    static const char *const few[] = { "exp", "tanh", "pow", "sin", "lgamma" };
    for (size_t i = 0; i < sizeof few / sizeof *few; i++)
        if (!strcmp(r->name, few[i]))
            return true;
    return (dt != DT_F16 && dt != DT_BF16) || bound_of(r->name) == 0;
}

/* All exponents, both signs, and the neighbourhood of ordinary numbers. */
static void sweep(Dtype dt, char *p, int64_t n)
{
    draw(dt, p, n);
    for (int64_t i = 0; i < n / 2 && dtype_float(dt); i++) {
        uint64_t bits = any(), e = (uint64_t)i % 256;
        if (dt == DT_F32)
            bits = (bits & 0x807fffff) | e << 23;
        memcpy(p + (size_t)i * dtype_size(dt), &bits, dtype_size(dt));
    }
}

static void elementwise(Dtype dt)
{
    enum { COUNT = 2048 + 13 };
    void *in[3];
    for (int k = 0; k < 3; k++)
        in[k] = arena_alloc(COUNT * dtype_size(dt)), sweep(dt, in[k], COUNT);
    Type t = type_of(dt, 1, (const int64_t[]){ COUNT });
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        const Row *row = &rows[r];
        if (!accepted(row, dt) || !has_form(row, dt) || !chosen(row, dt))
            continue;
        graph_begin(graph_new());
        Ref x = graph_input(t, 0), y = row->arity > 1 ? graph_input(t, 0) : 0;
        Ref w = row->arity > 2 ? graph_input(t, 0) : 0;
        Ref z = row->arity == 1 ? row->f1(x) : row->arity == 2 ? row->f2(x, y) : row->f3(x, y, w);
        graph_outputs(&z, 1);
        graph_on_both(arena_text("%s of %s", row->name, dtype_name(dt)), graph_end(),
            (const void *const *)in, dt == DT_F32 || !dtype_float(dt) ? bound_of(row->name) : -1, false);
    }
}

START_TEST(functions)
{
    static const Dtype all[] = { DT_F32, DT_F64, DT_F16, DT_BF16, DT_BOOL, DT_I8, DT_U32, DT_I64 };
    elementwise(all[_i]);
}
END_TEST

/* ---- reductions, products, order, control flow: against heddle.h */

enum { PROGRAMS = 20 };

static hd saxpy(hd x, hd y) { return hd_add(hd_mul(hd_c(2.5), x), hd_index(y, 0, 3)); }
static hd row_sums(hd x)
{
    return hd_tuple(hd_sum(x, 1), hd_sum(x, 0), hd_sum(x), hd_max(x, 1), hd_min(x, 0), hd_argmax(x, 1));
}
static hd row_logic(hd x)
{
    return hd_tuple(hd_all(hd_lt(x, hd_c(1.5)), 1), hd_any(hd_gt(x, hd_c(1)), 0), hd_prod(x, 1));
}
static hd softmax(hd x)
{
    return hd_tuple(hd_softmax(x, 1), hd_softmax(x, 0), hd_logsumexp(x, 1), hd_standardize(x, 1));
}
static hd views(hd x)
{
    hd y = hd_pad(hd_flip(hd_transpose(x), 0), hd_c(7), HD_INTS(1, 2), HD_INTS(-1, 3), HD_INTS(0, 1));
    hd odd = hd_slice(x, HD_INTS(0, 3), HD_INTS(37, 33), HD_INTS(1, 2));
    return hd_tuple(y, hd_roll(x, 5, 1), hd_concatenate(1, x, odd));
}
static hd order(hd x) { return hd_tuple(hd_cumsum(x, 1), hd_cummax(x, 0), hd_sort(x, 1), hd_argsort(x, 0)); }
static hd pick(hd x)
{
    hd i = hd_rem(hd_mul(hd_iota(HD_I32, 0, 50), hd_c(7)), hd_c(37));
    return hd_tuple(hd_take(x, i, 0), hd_segment_sum(hd_take(x, i, 0), hd_rem(i, hd_c(5)), 5));
}
static hd narrow(hd x)
{
    hd h = hd_cast(x, HD_F16), b = hd_cast(x, HD_BF16);
    return hd_tuple(
        hd_add(hd_mul(h, h), hd_c(0.1)), hd_exp(b), hd_sum(h, 1), hd_cast(hd_mul(x, hd_c(20)), HD_I8));
}
static hd matmul(hd x, hd y)
{
    return hd_tuple(hd_matmul(x, hd_transpose(y)), hd_dot(x, hd_index(y, 0, 3)));
}
static hd einsum(hd x, hd y) { return hd_einsum("ik,jk->ij", hd_tanh(x), y); }

static hd cell(hd w, hd h, hd x)
{
    h = hd_tanh(hd_add(hd_dot(h, w), x));
    return hd_tuple(h, h);
}
static hd rnn(hd x, hd y)                       /* lanes: rows of x; each is 12 steps of 5 */
{
    hd w = hd_mul(hd_slice(y, HD_INTS(0, 0), HD_INTS(5, 5), HD_INTS()), hd_c(0.2));
    return hd_scan(hd_partial(cell, w), hd_zeros(HD_F32, 5),
        hd_reshape(hd_slice(x, HD_INTS(0), HD_INTS(60), HD_INTS()), 12, 5));
}
static hd lanes_scan(hd x, hd y) { return hd_apply(hd_vmap(rnn, .in_axes = { 0, HD_NONE }), x, y); }

static hd big(hd v) { return hd_gt(hd_abs(v), hd_c(0.1)); }
static hd halve(hd v) { return hd_mul(v, hd_c(0.5)); }
static hd small(hd v) { return hd_while(big, halve, v); }
static hd lanes_while(hd x) { return hd_apply(hd_vmap(small), hd_index(x, 0, 2)); }
static hd turn(hd v) { return hd_sin(hd_mul(v, v)); }
static hd kept(hd v) { return hd_neg(v); }
static hd either(hd v) { return hd_cond(hd_gt(v, hd_c(0)), turn, kept, v); }
static hd lanes_cond(hd x) { return hd_apply(hd_vmap(hd_vmap(either)), x); }

static hd steps(hd i, hd v) { return hd_add(hd_matmul(v, v), hd_cast(i, HD_F32)); }
static hd matrix_steps(hd x)                    /* a loop of kernels */
{
    hd m = hd_mul(hd_slice(x, HD_INTS(0, 0), HD_INTS(37, 37), HD_INTS()), hd_c(0.01));
    return hd_fori(hd_cast(hd_c(0), HD_I32), hd_cast(hd_c(5), HD_I32), steps, m);
}
static hd slow_steps(hd i, hd v) { return hd_tanh(steps(hd_rem(i, hd_c(3)), v)); }
static hd long_loop(hd x)                       /* more launches than one submission holds */
{
    hd m = hd_mul(hd_slice(x, HD_INTS(0, 0), HD_INTS(37, 37), HD_INTS()), hd_c(0.01));
    return hd_fori(hd_cast(hd_c(0), HD_I32), hd_cast(hd_c(3000), HD_I32), slow_steps, m);
}
static hd mix(hd i, hd v) { return hd_add(hd_mul(v, hd_c(1664525)), i); }
static hd many(hd v) { return hd_fori(hd_cast(hd_c(0), HD_I32), hd_cast(hd_c(100000), HD_I32), mix, v); }
static hd many_turns(hd x)                      /* more than some drivers go round a loop */
{
    return hd_apply(hd_vmap(many), hd_cast(hd_mul(hd_index(x, 0, 0), hd_c(1000)), HD_I32));
}
static hd large(hd v) { return hd_lt(hd_sum(hd_abs(v)), hd_c(1e6)); }
static hd grow(hd v) { return hd_add(hd_matmul(v, v), hd_c(1)); }
static hd matrix_while(hd x)
{
    return hd_while(large, grow, hd_mul(hd_slice(x, HD_INTS(0, 0), HD_INTS(37, 37), HD_INTS()), hd_c(0.01)));
}
static hd matrix_cond(hd x)
{
    return hd_cond(hd_gt(hd_sum(x), hd_c(0)), row_sums, row_sums, hd_matmul(x, hd_transpose(x)));
}
static hd loss(hd x, hd y) { return hd_sum(hd_square(hd_tanh(hd_matmul(x, hd_transpose(y))))); }
static hd gradient(hd x, hd y) { return hd_apply(hd_grad(loss), x, y); }
static hd nothing(hd x)
{
    return hd_tuple(hd_sum(hd_slice(x, HD_INTS(5, 0), HD_INTS(5, 41), HD_INTS()), 0), x, x);
}

typedef struct Program { const char *name; hd_fn *f; int n; double bound; } Program;

/* Bounds are in units of the largest element: sums round in another order on the host. */
static void program(Program p)
{
    hd_array *x[] = { hd_array_abstract(HD_F32, 37, 61), hd_array_abstract(HD_F32, 29, 61) };
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    ck_assert_msg(hd_print_graph_n(f, p.f, x, p.n) == 0, "%s: %s", p.name, hd_error());
    fclose(f);
    Graph *g = graph_parse(text, p.name);
    ck_assert_msg(g != NULL, "%s: %s", p.name, error_text());
    const void *in[2];
    for (int k = 0; k < g->nin; k++) {
        int64_t n = type_size(&g->type[g->in[k]]);
        float *v = arena_alloc(4 * (size_t)n);
        for (int64_t i = 0; i < n; i++)
            v[i] = (float)((double)(any() >> 11) * 0x1p-53 * 4 - 2);
        in[k] = v;
    }
    graph_on_both(p.name, g, in, p.bound, true);
    free(text);
    hd_drop(x[0]);
    hd_drop(x[1]);
}

START_TEST(programs)
{
    const Program all[] = {
        { "saxpy", HD_FN(saxpy), 2, 1 },
        { "sums of rows", HD_FN(row_sums), 1, 40 },
        { "logic of rows", HD_FN(row_logic), 1, 40 },
        { "softmax", HD_FN(softmax), 1, 40 },
        { "views", HD_FN(views), 1, 0 },
        { "order", HD_FN(order), 1, 40 },
        { "take and scatter", HD_FN(pick), 1, 40 },
        { "narrow floats", HD_FN(narrow), 1, 8 },
        { "product of matrices", HD_FN(matmul), 2, 40 },
        { "einsum", HD_FN(einsum), 2, 40 },
        { "scan under lanes", HD_FN(lanes_scan), 2, 100 },
        { "while under lanes", HD_FN(lanes_while), 1, 1 },
        { "cond under lanes", HD_FN(lanes_cond), 1, 4 },
        { "loop of kernels", HD_FN(matrix_steps), 1, 1000 },
        { "while of kernels", HD_FN(matrix_while), 1, 1e4 },
        { "long loop", HD_FN(long_loop), 1, -1 },
        { "many turns", HD_FN(many_turns), 1, -1 },
        { "branch of kernels", HD_FN(matrix_cond), 1, 1000 },
        { "gradient", HD_FN(gradient), 2, 200 },
        { "of size zero", HD_FN(nothing), 1, 0 },
    };
    ck_assert_int_eq(sizeof all / sizeof *all, PROGRAMS);
    program(all[_i]);
}
END_TEST

/* ==================== what it says */

static hd below(hd v) { return hd_lt(v, hd_c(20000000)); }
static hd one_more(hd v) { return hd_add(v, hd_c(1)); }
static hd twenty_million(hd v) { return hd_while(below, one_more, v); }

/* Right, or an error: a driver that ends loops is not believed. */
START_TEST(a_loop_without_end)
{
    hd_array *x = hd_array_scalar(HD_I32, 0), *out = NULL;
    int e = hd_call(hd_jit(twenty_million, .device = "vulkan:0"), &out, x);
    if (e) {
        ck_assert_msg(((VkDev *)vulkan)->caps.loop_limit > 0, "%s", hd_error());
        ck_assert_msg(strstr(hd_error(), "ends loops after") != NULL, "%s", hd_error());
    } else {
        ck_assert_int_eq((int)hd_item(out), 20000000);
        hd_drop(out);
    }
    hd_drop(x);
}
END_TEST

START_TEST(a_function_without_a_form)
{
    graph_begin(graph_new());
    Ref x = Exp(graph_input(type_of(DT_F64, 1, (const int64_t[]){ 4 }), 0));
    graph_outputs(&x, 1);
    const Graph *g = graph_end();
    const Target target = { .f64 = true, .i64 = true, .max_alloc = 1 << 30 };
    Plan *p = plan_schedule(g, &target);
    ck_assert_msg(p != NULL, "%s", error_text());
    ck_assert(vulkan->backend->build(vulkan, p) == NULL);
    ck_assert_msg(strstr(error_text(), "exp of f64") != NULL, "%s", error_text());
}
END_TEST

START_TEST(a_device_without_small_arrays)
{
    SpirvCaps *caps = &((VkDev *)vulkan)->caps, before = *caps;
    graph_begin(graph_new());
    Ref x = graph_input(type_of(DT_I8, 1, (const int64_t[]){ 4 }), 0);
    x = Add(x, x);
    graph_outputs(&x, 1);
    const Graph *g = graph_end();
    const Target target = { .i64 = true, .max_alloc = 1 << 30 };
    Plan *p = plan_schedule(g, &target);
    ck_assert_msg(p != NULL, "%s", error_text());
    caps->byte_storage = false;
    ck_assert(vulkan->backend->build(vulkan, p) == NULL);
    ck_assert_msg(strstr(error_text(), "8-bit") != NULL, "%s", error_text());
    *caps = before;
}
END_TEST

/* ==================== */

static TCase *cases(Suite *s, const char *name)
{
    TCase *c = tcase_create(name);
    tcase_set_timeout(c, 600);
    tcase_add_checked_fixture(c, setup, teardown);
    suite_add_tcase(s, c);
    return c;
}

int main(void)
{
    vulkan = device_find("vulkan:0");
    if (!vulkan) {
        printf("skipped: %s\n", error_text());
        return 0;
    }
    have_val = system("spirv-val --version >/dev/null 2>&1") == 0;
    if (!have_val)
        printf("no module is judged: spirv-val is not installed (apt install spirv-tools)\n");
    if (!(other = device_find("opencl:0")))
        printf("bits are not compared: %s\n", error_text());
    error_clear();
    host = device_find("host");
    Suite *s = suite_create("spirv");
    TCase *c = cases(s, "kernels");
    tcase_add_test(c, every_operation);
    tcase_add_test(c, every_reduction_of_lanes);
    tcase_add_test(c, every_conversion);
    tcase_add_test(c, memory_of_every_dtype);
    tcase_add_test(c, every_kind_of_place);
    tcase_add_test(c, structures);
    tcase_add_test(c, grids_in_parts);
    tcase_add_test(c, exact_by_integers);
    c = cases(s, "programs");
    tcase_add_loop_test(c, functions, 0, 8);
    tcase_add_loop_test(c, programs, 0, PROGRAMS);
    c = cases(s, "errors");
    tcase_add_test(c, a_loop_without_end);
    tcase_add_test(c, a_function_without_a_form);
    tcase_add_test(c, a_device_without_small_arrays);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);      /* devices stay open */
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    device_close_all();
    return failed != 0;
}
