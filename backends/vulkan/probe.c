/*
 * probe.c - what a device computes exactly: quotients, square roots, fma, sums and products of small
 * numbers; what it makes of constants; whether it ends loops before their time.
 *
 * In:  a device whose features are known.   Out: the rest of its caps.
 * A kernel computes them of some thousands of operands, of which many lie where mistakes are (halfway cases,
 * results below the normal numbers, cancellation); the host knows the right bits. What is not right
 * everywhere is corrected by the kernels themselves (exact.c), so that all devices give the same bits.
 */
#include "vk.h"

#include <math.h>
#include <string.h>

enum { COUNT = 8192, OUTS = 5 };                /* quotient, root, fma, sum, product */

/* ==================== operands */

typedef struct Random { uint64_t s; } Random;

static uint64_t any(Random *r)
{
    r->s ^= r->s << 13, r->s ^= r->s >> 7, r->s ^= r->s << 17;
    return r->s;
}

/* A number with an exponent in lo .. hi and a mantissa that is random, or has few bits, or nearly all. */
static double number(Random *r, int lo, int hi, int mantissa)
{
    uint64_t m = any(r) >> (64 - mantissa), kind = any(r) >> 62;
    if (kind == 0)
        m &= m >> 20 & any(r) >> (64 - mantissa);
    else if (kind == 1)
        m |= ~0ull >> (64 - mantissa + any(r) % 4);
    int e = lo + (int)(any(r) % (uint64_t)(hi - lo + 1));
    double x = ldexp((double)((1ull << mantissa) | (m & ((1ull << mantissa) - 1))), e - mantissa);
    return any(r) & 1 ? -x : x;
}

static void operands(Random *r, bool wide, int i, double *x, double *y, double *z)
{
    int m = wide ? 52 : 23, most = wide ? 1000 : 120, low = wide ? -1074 : -149;
    switch (i % 4) {
    case 0:                                     /* everywhere */
        *x = number(r, -most, most, m), *y = number(r, -most, most, m), *z = number(r, -most, most, m);
        break;
    case 1:                                     /* near each other */
        *x = number(r, -2, 2, m), *y = number(r, -2, 2, m);
        *z = any(r) & 1 ? -(*x * *y) : number(r, -60, 2, m);
        break;
    case 2:                                     /* results below the normal numbers */
        *x = number(r, low / 2 - 8, low / 2 + 12, m), *y = number(r, low / 2 - 8, low / 2 + 12, m);
        *z = number(r, low, low + 30, m);
        break;
    default:                                    /* operands there */
        *x = number(r, low, low + m, m), *y = number(r, -m, m, m), *z = number(r, low, low + m, m);
    }
}

/* ==================== the kernel */

static Kernel *probe_kernel(Dtype dt, Buffer *in, Buffer *out)
{
    Kernel *k = k_new("probe");
    const Atom *i = atom_var("i", COUNT / W, 0);
    k->ngrid = 1, k->grid[0] = (Grid){ i, COUNT / W, 0 };
    k_where(k, i, 0);
    Form at = form_add(form_mul(form_a(i), W), form_a(LANE));
    Val x = k_load(k, &in[0], at), y = k_load(k, &in[1], at), z = k_load(k, &in[2], at);
    const Val r[OUTS] = { k2(k, K_DIV, dt, x, y), k1(k, K_SQRT, dt, k1(k, K_ABS, dt, x)),
        k3(k, K_FMA, dt, x, y, z), k2(k, K_ADD, dt, x, z), k2(k, K_MUL, dt, x, y) };
    for (int o = 0; o < OUTS; o++)
        k_store(k, &out[o], at, r[o]);
    k_finish(k);
    return k;
}

/* One launch. b: the buffers of nin arguments, then those of nout results; lists and lengths are the
 * parameters. */
static int run(VkDev *d, Kernel *k, const Buffer *b, int nin, void *const *in, int nout, void *const *out)
{
    int alias[OUTS] = { -1, -1, -1, -1, -1 }, e = 0, n = nin + nout;
    Slot slot[3 + OUTS] = { { 0 } };
    Mem *m[3 + OUTS] = { NULL };
    for (int i = 0; i < n; i++)
        slot[i] = (Slot){ .kind = i < nin ? SLOT_ARG : SLOT_RESULT,
            .dt = b[i].dt,
            .index = i < nin ? i : i - nin,
            .size = b[i].size,
            .bytes = (size_t)b[i].size * dtype_size((Dtype)b[i].dt),
            .name = b[i].name };
    Step step = { .kind = S_LAUNCH, .kernel = k };
    Plan p = { .step = &step,
        .nstep = 1,
        .slot = slot,
        .nslot = n,
        .narg = nin,
        .nresult = nout,
        .alias = alias,
        .nkernel = 1 };
    Exec *exec = error_pending() ? NULL : vk_build(&d->base, &p);
    if (!exec)
        return error_code();
    for (int i = 0; i < nin && !e; i++)
        e = vk_alloc(&d->base, slot[i].bytes, &m[i]) ? (int)error_code() :
                                                       vk_write(m[i], 0, in[i], slot[i].bytes);
    e = e ? e : vk_run(exec, nin, m, nout, m + nin);
    for (int o = 0; o < nout && !e; o++)
        e = vk_read(m[nin + o], 0, out[o], slot[nin + o].bytes);
    for (int i = 0; i < n; i++)
        mem_drop(m[i]);
    vk_drop(exec);
    return e;
}

/* ==================== loops */

/* Turns of a loop after which this driver ends it. */
static int probe_loop(VkDev *d)
{
    enum { TURNS = 1 << 18 };
    static const int32_t one = 1;
    int32_t got = 0;
    Buffer b[2] = { { .name = "one", .dt = DT_I32, .size = 1 },
        { .name = "turns", .dt = DT_I32, .size = 1, .slot = 1 } };
    Kernel *k = k_new("probe_loop");
    Val x = k_load(k, &b[0], form_c(0)), init = k_bits(k, DT_I32, 0), phi, out;
    k_loop(k, "t", TURNS, 1, &init, &phi);
    Val next = k2(k, K_ADD, DT_I32, phi, x);
    k_loop_end(k, &next, &out);
    k_store(k, &b[1], form_c(0), out);
    k_finish(k);
    int e = run(d, k, b, 1, (void *[]){ (void *)(uintptr_t)&one }, 1, (void *[]){ &got });
    d->caps.loop_limit = got < TURNS ? got : 0;
    return e;
}

/* ==================== constants that are seen */

enum { FOLDS = 6, SPECIALS = 8 };

/* What a compiler takes for something simpler that is not the same: of infinities, nan, the sign of a
 * zero. */
static int probe_zeros(VkDev *d, Dtype dt)
{
    static const double x[SPECIALS] = { 0, -0.0, INFINITY, -INFINITY, NAN, 1, -1, 2 };
    char in[SPECIALS * 8], out[FOLDS * SPECIALS * 8];
    size_t size = dtype_size(dt);
    Buffer b[2] = { { .name = "x", .dt = (uint8_t)dt, .size = SPECIALS },
        { .name = "folds", .dt = (uint8_t)dt, .size = FOLDS * SPECIALS, .slot = 1 } };
    Kernel *k = k_new("probe_zeros");
    Form at = form_a(k_loop(k, "i", SPECIALS, 0, NULL, NULL));
    Val v = k_load(k, &b[0], at), zero = k_const(k, dt, 0);
    const Val r[FOLDS] = { k2(k, K_MUL, dt, v, zero), k2(k, K_ADD, dt, v, zero), k2(k, K_SUB, dt, zero, v),
        k2(k, K_DIV, dt, zero, v), k2(k, K_DIV, dt, v, zero), k2(k, K_SUB, dt, v, v) };
    for (int f = 0; f < FOLDS; f++)
        k_store(k, &b[1], form_add(form_mul(at, FOLDS), form_c(f)), r[f]);
    k_loop_end(k, NULL, NULL);
    k_finish(k);
    for (int i = 0; i < SPECIALS; i++)
        dtype_store_f(dt, in + (size_t)i * size, x[i]);
    int e = run(d, k, b, 1, (void *[]){ in }, 1, (void *[]){ out });
    for (int i = 0; i < SPECIALS && !e; i++) {
        const volatile double z = 0;
        const double want[FOLDS] = { x[i] * z, x[i] + z, z - x[i], z / x[i], x[i] / z, x[i] - x[i] };
        for (int f = 0; f < FOLDS; f++) {
            double got = dtype_load_f(dt, out + (size_t)(i * FOLDS + f) * size);
            bool same =
                want[f] != want[f] ? got != got : got == want[f] && !signbit(got) == !signbit(want[f]);
            d->caps.folds_zeros |= !same;
        }
    }
    return e;
}

/* Comparisons of an i32 made 64 bits wide with constants, all as bits. */
static Val comparisons(Kernel *k, Val x, const int64_t *c, int n)
{
    _Static_assert(K_GE - K_EQ == 5, "six comparisons");
    Val bits = k_bits(k, DT_I32, 0), wide = k1(k, K_CONVERT, DT_I64, x);
    for (int i = 0; i < n; i++)
        for (int op = K_EQ; op <= K_GE; op++) {
            Val holds = k2(k, (KOp)op, DT_BOOL, wide, k_bits(k, DT_I64, c[i]));
            Val bit = k_bits(k, DT_I32, 1ll << (6 * i + op - K_EQ));
            bits = k2(k, K_OR, DT_I32, bits, k3(k, K_SELECT, DT_I32, holds, bit, k_bits(k, DT_I32, 0)));
        }
    return bits;
}

static int probe_extension(VkDev *d)
{
    static const int32_t x[SPECIALS] = { 0, 95, 96, -1, -96, INT32_MAX, INT32_MIN, 7 };
    static const int64_t c[] = { 0, 95, -96, INT32_MAX, (int64_t)INT32_MIN - 1 };
    int32_t got[SPECIALS] = { 0 };
    Buffer b[2] = { { .name = "x", .dt = DT_I32, .size = SPECIALS },
        { .name = "bits", .dt = DT_I32, .size = SPECIALS, .slot = 1 } };
    Kernel *k = k_new("probe_extension");
    Form at = form_a(k_loop(k, "i", SPECIALS, 0, NULL, NULL));
    k_store(k, &b[1], at, comparisons(k, k_load(k, &b[0], at), c, 5));
    k_loop_end(k, NULL, NULL);
    k_finish(k);
    int e = run(d, k, b, 1, (void *[]){ (void *)(uintptr_t)x }, 1, (void *[]){ got });
    for (int i = 0; i < SPECIALS && !e; i++) {
        int32_t want = 0;
        for (int j = 0; j < 5; j++) {
            const bool holds[] = { x[i] == c[j], x[i] != c[j], x[i]<c[j], x[i] <= c[j], x[i]> c[j],
                x[i] >= c[j] };
            for (int o = 0; o < 6; o++)
                want |= holds[o] << (6 * j + o);
        }
        d->caps.extends_badly |= got[i] != want;
    }
    return e;
}

/* ==================== judging */

static bool same32(const float *x, const float *y)
{
    return (*x != *x && *y != *y) || !memcmp(x, y, sizeof *x);
}

static bool same64(const double *x, const double *y)
{
    return (*x != *x && *y != *y) || !memcmp(x, y, sizeof *x);
}

static int probe(VkDev *d, bool wide)
{
    static const char *const name[] = { "x", "y", "z", "div", "sqrt", "fma", "add", "mul" };
    Dtype dt = wide ? DT_F64 : DT_F32;
    size_t size = dtype_size(dt);
    Random r = { 88172645463325252ull };
    void *in[3], *out[OUTS];
    bool good[OUTS] = { true, true, true, true, true };
    for (int i = 0; i < 3; i++)
        in[i] = arena_alloc(COUNT * size);
    for (int o = 0; o < OUTS; o++)
        out[o] = arena_alloc(COUNT * size);
    for (int i = 0; i < COUNT; i++) {
        double x[3];
        operands(&r, wide, i, &x[0], &x[1], &x[2]);
        for (int a = 0; a < 3; a++)
            dtype_store_f(dt, (char *)in[a] + (size_t)i * size, x[a]);
    }
    Buffer b[3 + OUTS];
    for (int i = 0; i < 3 + OUTS; i++)
        b[i] = (Buffer){ .name = name[i], .dt = dt, .space = GLOBAL, .size = COUNT, .slot = i };
    int e = run(d, probe_kernel(dt, b, b + 3), b, 3, in, OUTS, out);
    for (int i = 0; i < COUNT && !e; i++)
        if (wide) {
            double x = ((double *)in[0])[i], y = ((double *)in[1])[i], z = ((double *)in[2])[i];
            const double want[OUTS] = { x / y, sqrt(fabs(x)), fma(x, y, z), x + z, x * y };
            for (int o = 0; o < OUTS; o++)
                good[o] &= same64(&want[o], (double *)out[o] + i);
        } else {
            float x = ((float *)in[0])[i], y = ((float *)in[1])[i], z = ((float *)in[2])[i];
            const float want[OUTS] = { x / y, sqrtf(fabsf(x)), fmaf(x, y, z), x + z, x * y };
            for (int o = 0; o < OUTS; o++)
                good[o] &= same32(&want[o], (float *)out[o] + i);
        }
    SpirvCaps *c = &d->caps;
    c->exact_div[wide] = good[0], c->exact_sqrt[wide] = good[1],
    c->keeps_denormals[wide] = good[3] && good[4];
    c->fma[wide] = good[2] ? FMA_NATIVE : !wide && c->f64 && c->i64 ? FMA_WIDE : FMA_INTEGER;
    return e;
}

int vk_probe(VkDev *d)
{
    Arena *own = arena_new(), *before = own ? arena_use(own) : NULL;
    if (!own)
        return error_set(E_NOMEM, "no memory for a device");
    form_open();
    SpirvCaps *c = &d->caps;
    for (int i = 0; i < 2; i++)
        c->exact_div[i] = c->exact_sqrt[i] = c->keeps_denormals[i] = true, c->fma[i] = FMA_NATIVE;
    c->folds_zeros = c->extends_badly = false;
    int e = probe_loop(d);
    e = e ? e : probe_zeros(d, DT_F32);
    if (!e && c->f64)
        e = probe_zeros(d, DT_F64);
    if (!e && c->i64)
        e = probe_extension(d);
    if (!e)
        e = probe(d, false);
    if (!e && c->f64)
        e = probe(d, true);
    form_close();
    arena_use(before);
    arena_drop(own);
    return e;
}
