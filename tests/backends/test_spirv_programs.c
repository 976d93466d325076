/*
 * test_spirv_programs.c - programs on two backends: the same bits on a Vulkan device and on an OpenCL one,
 * and what the host reference gives within the bounds of the functions. Then what Vulkan says where it
 * cannot.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "both.h"

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
        { "lgamma", -1 }, { "digamma", -1 }, { "trigamma", -1 }, { "bessel_i0e", 4 },
        { "bessel_i1e", 4 }, { "expi", -1 }, { "spence", 4 }, { "ndtri", 6 }, { "log_ndtr", 6 },
        { "xlogy", 2 }, { "xlog1py", 2 }, { "entr", 2 }, { "betaln", -1 }, { "zeta", -1 },
        { "polygamma", -1 }, { "igamma", -1 }, { "igammac", -1 }, { "random_gamma_grad", -1 },
        { "regularized_incomplete_beta", -1 } };
    for (size_t i = 0; i < sizeof b / sizeof *b; i++)
        if (!strcmp(name, b[i].name))
            return b[i].ulp < 0 ? -1 : b[i].ulp + 0.5;          /* the host's own rounding */
    return 0;
}

/* Functions of narrow floats are those of f32, rounded: a few will do. Those of f64 are tried by ulp and the
 * laws, where a device has fma. */
static bool chosen(const Row *r, Dtype dt)
{
    if (dt == DT_F64 && optab[op_find(r->name)].fused)
        return false;
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
        if (!accepted(row, dt) || !chosen(row, dt))
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
int main(void)
{
    if (!both_open())
        return 0;
    Suite *s = suite_create("programs of spirv");
    TCase *c = both_case(s, "programs");
    tcase_add_loop_test(c, functions, 0, 8);
    tcase_add_loop_test(c, programs, 0, PROGRAMS);
    c = both_case(s, "errors");
    tcase_add_test(c, a_loop_without_end);
    tcase_add_test(c, a_device_without_small_arrays);
    return both_run(s);
}
