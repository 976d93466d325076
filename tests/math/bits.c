/*
 * bits.c - every elementwise op in every dtype gives the same bits on devices.
 *
 * In:  devices. Out: for each op, dtype and device whose bits are not those of the reader of kernels (device
 *      `kernel`), a line with the arguments and both results; what a device refuses is counted by reason.
 *
 *      bits [--every K] [--only OP] DEVICE...         K: about one op of K, always the same
 *      exit code: 1 if bits differ where they must not, 77 if a device is not there
 */
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"

enum { N = 96, TOGETHER = 2, OPS = 128 };

static const Dtype dtypes[] = { DT_BOOL, DT_I8, DT_I16, DT_I32, DT_I64, DT_U8, DT_U16, DT_U32, DT_U64,
    DT_F16, DT_BF16, DT_F32, DT_F64 };

typedef struct Count {
    int same, differ, refused;
} Count;

static int accepts(const OpRow *row, Dtype dt)
{
    int bit = dt == DT_BOOL ? B_ : dtype_float(dt) ? F_ : dtype_unsigned(dt) ? U_ : I_;
    return row->elementwise && (row->accepts & bit);
}

static double edge(int k)
{
    static const double v[] = { 0, -0., 1, -1, 0.5, -0.5, 2, 3, -3, 10, 100, 1e-3, -1e-3, 1e-30, 1e30, -1e30,
        3.14159265358979, -1.57079632679490, 0.7, 1e-40, -1e-45, 65504, 1.0009765625, 2.5, -2.5, 1e5, 88.5,
        -104, 12.25, 0.999999940395355 };
    int n = (int)(sizeof v / sizeof *v);
    return k < n ? v[k] : k == n ? INFINITY : k == n + 1 ? -INFINITY : k == n + 2 ? NAN : 0;
}

/* Operand j: edges in another order each, then numbers of all sizes. */
static void fill(Dtype dt, int j, void *p)
{
    static const int stride[] = { 1, 7, 11 };
    uint64_t s = 88172645463325252u + (uint64_t)j * 977;
    for (int k = 0; k < N; k++) {
        char *at = (char *)p + (size_t)k * dtype_size(dt);
        int e = k * stride[j] % 48;
        s ^= s << 13, s ^= s >> 7, s ^= s << 17;
        double r = (double)(int64_t)s / 0x1p63 * (k % 3 ? 4 : 300);
        if (dtype_float(dt))
            dtype_store_f(dt, at, k < 48 && e < 33 ? edge(e) : r);
        else if (dt == DT_BOOL)
            *at = (char)(s & 1);
        else
            dtype_store_i(dt, at,
                e < 6 ? (int64_t[]){ 0, 1, -1, INT64_MAX, INT64_MIN, 7 }[e] >> (k % 2 ? 0 : 32) :
                        (int64_t)(s >> (k % 5 * 13)));
    }
}

/* Some ops on shared operands. */
static Graph *program(const int *op, int n, Dtype dt)
{
    Ref x[3], out[TOGETHER];
    Graph *g = graph_begin(graph_new());
    for (int j = 0; j < 3; j++)
        x[j] = graph_input(type_of(dt, 1, &(int64_t){ N }), 0);
    for (int k = 0; k < n; k++)
        out[k] = emit((Op)op[k], optab[op[k]].nin, x, NULL);
    graph_outputs(out, n);
    graph_end();
    g->name = "bits";
    return g;
}

static int run(Device *d, const Graph *g, void **in, void **out)
{
    Exec *x = compile_shard(graph_clone(g), d);
    Mem *m[3] = { NULL }, *res[TOGETHER] = { NULL };
    int e = x ? 0 : (int)error_code();
    for (int j = 0; j < 3 && !e; j++)
        e = (m[j] = mem_with(d, in[j], type_bytes(&g->type[g->in[j]]))) ? 0 : (int)error_code();
    e = e ? e : d->backend->run(x, 3, m, g->nout, res);
    for (int k = 0; k < g->nout && !e; k++) {
        out[k] = arena_alloc(N * 16);
        e = d->backend->read(res[k], 0, out[k], type_bytes(&g->type[g->out[k]]));
    }
    for (int j = 0; j < 3; j++)
        if (m[j])
            mem_drop(m[j]);
    for (int k = 0; k < g->nout; k++)
        if (res[k])
            mem_drop(res[k]);
    if (x)
        d->backend->drop(x);
    return e;
}

static bool same_bits(Dtype dt, const char *a, const char *b)
{
    return !memcmp(a, b, dtype_size(dt)) ||
        (dtype_float(dt) && isnan(dtype_load_f(dt, a)) && isnan(dtype_load_f(dt, b)));
}

static void tell(Dtype dt, const char *p)
{
    if (dtype_float(dt))
        printf(" %.17g", dtype_load_f(dt, p));
    else
        printf(" %lld", (long long)dtype_load_i(dt, p));
}

/* Of one op: how many elements differ, and the first of them. */
static int judge(
    int op, const Graph *g, int k, void **in, const void *got, const void *want, const char *device)
{
    Dtype dt = (Dtype)g->type[g->in[0]].dt, u = (Dtype)g->type[g->out[k]].dt;
    size_t width = dtype_size(u);
    int bad = 0, first = -1;
    for (int e = 0; e < N; e++)
        if (!same_bits(u, (const char *)got + (size_t)e * width, (const char *)want + (size_t)e * width))
            bad++, first = first < 0 ? e : first;
    if (!bad)
        return 0;
    printf("%s %s on %s: %d of %d differ:", optab[op].name, dtype_name(dt), device, bad, N);
    for (int j = 0; j < optab[op].nin; j++)
        tell(dt, (const char *)in[j] + (size_t)first * dtype_size(dt));
    printf(" ->"), tell(u, (const char *)got + (size_t)first * width);
    printf(", not"), tell(u, (const char *)want + (size_t)first * width);
    printf("\n");
    return bad;
}

static void together(const int *op, int n, Dtype dt, Device *d, Device *reader, Count *c)
{
    void *in[3], *want[TOGETHER], *got[TOGETHER];
    Graph *g = program(op, n, dt);
    for (int j = 0; j < 3; j++)
        fill(dt, j, in[j] = arena_alloc(N * 16));
    if (run(reader, g, in, want)) {
        printf("%s: the reader fails: %s\n", dtype_name(dt), error_text()), error_clear(), c->differ++;
        return;
    }
    if (run(d, g, in, got)) {
        if (n == 1)
            printf("%s %s on %s: %s\n", optab[*op].name, dtype_name(dt), d->info.name, error_text()),
                c->refused++;
        error_clear();
        for (int k = 0; k < n && n > 1; k++)
            together(op + k, 1, dt, d, reader, c);
        return;
    }
    for (int k = 0; k < n; k++)
        if (!judge(op[k], g, k, in, got[k], want[k], d->info.name))
            c->same++;
        else
            c->differ++;
}

static void all_ops(Device *d, Device *reader, uint64_t every, const char *only, Count *c)
{
    for (size_t t = 0; t < sizeof dtypes / sizeof *dtypes; t++) {
        int op[OPS], n = 0;
        for (int k = 1; k < OP_COUNT && n < OPS; k++) {
            uint64_t drawn = hash_bytes(optab[k].name, strlen(optab[k].name), t);
            if (accepts(&optab[k], dtypes[t]) && drawn % every == 0 &&
                (!only || !strcmp(only, optab[k].name)))
                op[n++] = k;
        }
        for (int k = 0; k < n; k += TOGETHER) {
            Arena *a = arena_new(), *before = arena_use(a);
            together(op + k, n - k < TOGETHER ? n - k : TOGETHER, dtypes[t], d, reader, c);
            arena_use(before), arena_drop(a);
        }
    }
}

int main(int argc, char **argv)
{
    static const struct option known[] = { { "every", 1, NULL, 'e' }, { "only", 1, NULL, 'o' }, { 0 } };
    uint64_t every = 1;
    const char *only = NULL;
    int bad = 0;
    for (int key; (key = getopt_long(argc, argv, "e:o:", known, NULL)) != -1;)
        if (key == 'e')
            every = strtoull(optarg, NULL, 10);
        else if (key == 'o')
            only = optarg;
        else
            return 2;
    Arena *a = arena_new();
    arena_use(a);
    Device *reader = device_find("kernel");
    for (int k = optind; k < argc && reader; k++) {
        Device *d = device_find(argv[k]);
        if (!d)
            return printf("%s\n", error_text()), 77;
        Count c = { 0 };
        all_ops(d, reader, every ? every : 1, only, &c);
        printf(
            "%s: %d ops of a dtype the same, %d differ, %d refused\n", argv[k], c.same, c.differ, c.refused);
        bad += c.differ || !c.same;
    }
    arena_use(NULL);
    arena_drop(a);
    device_close_all();
    return !reader || bad || optind == argc;
}
