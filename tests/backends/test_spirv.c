/*
 * test_spirv.c - the kernel IR on two backends: kernels of every operation and dtype give the same bits on a
 * Vulkan device and on an OpenCL one. test_spirv_programs.c does the same with programs.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "both.h"

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
    k->ngrid = 1, k->grid[0] = (Grid){ i, n, 0 };
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
    Dtype to = k_compares(op) ? DT_BOOL : dt;
    return kop[op].arity == 2 ? k2(k, op, to, x, y) : k1(k, op, to, x);
}

/* Is it one that other tests do not make for themselves? */
static bool tried_here(int op, KClass is, Dtype dt)
{
    return kop[op].is == is && kop[op].gives != KG_OTHER && op != K_ROUND &&
        k_takes((KOp)op, dt);
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
            for (int op = 0; op < K_OP_COUNT; op++)
                if (tried_here(op, KC_LANES, dt)) {
                    Val v = operated(k, (KOp)op, dt, x, y, z, c);
                    keep(b, k, at, (Dtype)k->ins[v].dt, v, arena_text("%s of %s, %d lanes", kop[op].name,
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
        for (int op = 0; op < K_OP_COUNT; op++)
            if (tried_here(op, KC_ACROSS, dt)) {
                Val v = k1(k, (KOp)op, dt, x);
                k_store(k,
                    bench_slot(b, true, (Dtype)k->ins[v].dt, N / W,
                        arena_text("%s of %s", kop[op].name, dtype_name(dt))),
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
        k->grid[k->ngrid++] = (Grid){ i, n[d], 0 };
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
    k->ngrid = 1, k->grid[0] = (Grid){ i, TRIES, 0 };
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

int main(void)
{
    if (!both_open())
        return 0;
    Suite *s = suite_create("spirv");
    TCase *c = both_case(s, "kernels");
    tcase_add_test(c, every_operation);
    tcase_add_test(c, every_reduction_of_lanes);
    tcase_add_test(c, every_conversion);
    tcase_add_test(c, memory_of_every_dtype);
    tcase_add_test(c, every_kind_of_place);
    tcase_add_test(c, structures);
    tcase_add_test(c, grids_in_parts);
    tcase_add_test(c, exact_by_integers);
    return both_run(s);
}
