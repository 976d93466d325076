/*
 * probe.c - what a device computes exactly: quotients, square roots, fma, sums and products of small numbers.
 *
 * In:  a device whose features are known.   Out: the rest of its caps.
 * A kernel computes them of some thousands of operands, of which many lie where mistakes are (halfway cases, results
 * below the normal numbers, cancellation); the host knows the right bits. What is not right everywhere is corrected by
 * the kernels themselves (exact.c), so that all devices give the same bits.
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
    k->ngrid = 1, k->grid[0] = (Grid){ i, COUNT / W };
    k_where(k, i, 0);
    Form at = form_add(form_mul(form_a(i), W), form_a(LANE));
    Val x = k_load(k, &in[0], at), y = k_load(k, &in[1], at), z = k_load(k, &in[2], at);
    const Val r[OUTS] = { k2(k, K_DIV, dt, x, y), k1(k, K_SQRT, dt, k1(k, K_ABS, dt, x)), k3(k, K_FMA, dt, x, y, z),
        k2(k, K_ADD, dt, x, z), k2(k, K_MUL, dt, x, y) };
    for (int o = 0; o < OUTS; o++)
        k_store(k, &out[o], at, r[o]);
    k_finish(k);
    return k;
}

/* Three arguments, five results, one launch. */
static int run(VkDev *d, Dtype dt, void *const *in, void *const *out)
{
    static const char *const name[] = { "x", "y", "z", "div", "sqrt", "fma", "add", "mul" };
    Buffer b[3 + OUTS];
    Slot slot[3 + OUTS] = { { 0 } };
    int alias[OUTS], e = 0;
    size_t bytes = COUNT * dtype_size(dt);
    for (int i = 0; i < 3 + OUTS; i++) {
        b[i] = (Buffer){ .name = name[i], .dt = dt, .space = GLOBAL, .size = COUNT, .slot = i };
        slot[i] = (Slot){ .kind = i < 3 ? SLOT_ARG : SLOT_RESULT, .dt = dt, .index = i < 3 ? i : i - 3, .size = COUNT,
            .bytes = bytes, .name = name[i] };
    }
    for (int o = 0; o < OUTS; o++)
        alias[o] = -1;
    Step step = { .kind = S_LAUNCH, .kernel = probe_kernel(dt, b, b + 3) };
    Plan p = { .step = &step, .nstep = 1, .slot = slot, .nslot = 3 + OUTS, .narg = 3, .nresult = OUTS, .alias = alias,
        .nkernel = 1 };
    Mem *x[3] = { NULL }, *y[OUTS] = { NULL };
    Exec *exec = error_pending() ? NULL : vk_build(&d->base, &p);
    for (int i = 0; i < 3 && exec && !e; i++)
        e = vk_alloc(&d->base, bytes, &x[i]) ? (int)error_code() : vk_write(x[i], 0, in[i], bytes);
    if (exec && !e)
        e = vk_run(exec, 3, x, OUTS, y);
    for (int o = 0; o < OUTS && exec && !e; o++)
        e = vk_read(y[o], 0, out[o], bytes);
    for (int i = 0; i < 3; i++)
        mem_drop(x[i]);
    for (int o = 0; o < OUTS; o++)
        mem_drop(y[o]);
    if (exec)
        vk_drop(exec);
    return e ? e : exec ? 0 : (int)error_code();
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
    int e = run(d, dt, in, out);
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
    c->exact_div[wide] = good[0], c->exact_sqrt[wide] = good[1], c->keeps_denormals[wide] = good[3] && good[4];
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
    int e = probe(d, false);
    if (!e && c->f64)
        e = probe(d, true);
    form_close();
    arena_use(before);
    arena_drop(own);
    return e;
}
