/*
 * test_api.c - data: arrays of every dtype in and out, strides, trees, structs, files; functions as values;
 * and nothing left alive.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "heddle.h"

static char folder[] = "/tmp/heddle-test-XXXXXX";

static void setup(void) { ck_assert_int_eq(hd_live(), 0); }
static void teardown(void)
{
    ck_assert_msg(hd_live() == 0, "%lld arrays are left alive: %s", (long long)hd_live(), hd_error());
}

/* ==================== dtypes and strides */

static const enum hd_dtype all_dtypes[] = { HD_BOOL, HD_I8, HD_I16, HD_I32, HD_I64, HD_U8, HD_U16, HD_U32,
    HD_U64, HD_F16, HD_BF16, HD_F32, HD_F64, HD_C64, HD_C128, HD_KEY };
enum { NDTYPE = sizeof all_dtypes / sizeof *all_dtypes };

static void fill(enum hd_dtype d, unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        /* no nan among floats */
        p[i] = d == HD_BOOL ? i % 3 == 0 : (unsigned char)(i * 37 + 11) & 0x3f;
}

START_TEST(in_and_out)
{
    for (int k = 0; k < NDTYPE; k++) {
        enum hd_dtype d = all_dtypes[k];
        unsigned char bytes[24 * 16], back[24 * 16];
        size_t size = hd_dtype_size(d);
        fill(d, bytes, 24 * size);
        hd_array *a = hd_array_new(d, HD_INTS(2, 3, 4), bytes, NULL);
        ck_assert_msg(a != NULL, "%s: %s", hd_dtype_name(d), hd_error());
        ck_assert_int_eq(hd_array_dtype(a), d);
        ck_assert_int_eq(hd_array_size(a), 24);
        ck_assert(hd_array_shape(a).n == 3 && hd_array_dim(a, -1) == 4 && hd_array_dim(a, 0) == 2);
        ck_assert_int_eq(hd_read_n(a, d, back, 24), 0);
        ck_assert(!memcmp(bytes, back, 24 * size));
        ck_assert(!memcmp(bytes, hd_data(a), 24 * size));
        hd_drop(a);
    }
}
END_TEST

/* Element (i, j) of a [3,2] view lies anywhere: transposed, backwards, apart, in one place. */
START_TEST(strides)
{
    static const int64_t ways[][3] = { { 2, 1, 0 }, { 1, 3, 0 }, { -2, 1, 4 }, { 4, 2, 0 }, { 0, 1, 0 },
        { -1, -3, 5 }, { 0, 0, 2 } };
    for (int k = 0; k < NDTYPE; k++) {
        enum hd_dtype d = all_dtypes[k];
        int64_t size = (int64_t)hd_dtype_size(d);
        unsigned char bytes[12 * 16];
        fill(d, bytes, (size_t)(12 * size));
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
            const int64_t s[] = { ways[w][0] * size, ways[w][1] * size };
            const unsigned char *from = bytes + ways[w][2] * size;
            hd_array *a = hd_array_new(d, HD_INTS(3, 2), from, s);
            ck_assert_msg(a != NULL, "%s", hd_error());
            const unsigned char *p = hd_data(a);
            for (int64_t i = 0; i < 3; i++)
                for (int64_t j = 0; j < 2; j++)
                    ck_assert(!memcmp(p + (i * 2 + j) * size, from + i * s[0] + j * s[1], (size_t)size));
            hd_drop(a);
        }
    }
}
END_TEST

START_TEST(corner_shapes)
{
    const float any[3] = { 0 };
    for (int d = -1; d <= 99; d += 50)
        ck_assert_msg(
            !hd_array_new((enum hd_dtype)d, HD_INTS(3), any, NULL) && hd_error_code() == HD_EDTYPE, "%d", d);
    const float one = 7;
    hd_ints sixteen = { 16, { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 } };
    hd_array *none = hd_array_new(HD_F32, HD_INTS(3, 0), NULL, NULL),
             *scalar = hd_array_new(HD_F32, HD_INTS(), &one, NULL);
    hd_array *deep = hd_array_new(HD_F32, sixteen, &one, NULL), *half = hd_array_scalar(HD_F16, 0.1);
    ck_assert(none && scalar && deep && half);
    ck_assert_int_eq(hd_array_size(none), 0);
    ck_assert_int_eq(hd_read_n(none, HD_F32, NULL, 0), 0);
    ck_assert(hd_item(scalar) == 7 && hd_item(deep) == 7 && hd_item(half) == 0.0999755859375);
    hd_drop(none), hd_drop(scalar), hd_drop(deep), hd_drop(half);
    hd_array *big = hd_array_scalar(HD_I8, 100), *key = hd_array_key(0x100000002);
    ck_assert(hd_item(big) == 100 && hd_array_size(key) == 2);
    hd_drop(big), hd_drop(key), hd_drop(NULL);
}
END_TEST

/* Every dtype goes through a program and comes back. */
static hd through(hd x) { return hd_tuple(hd_flip(x, 0), hd_cast(hd_cast(x, HD_F32), hd_dtype(x))); }

START_TEST(every_dtype_computes)
{
    for (int k = 0; k < NDTYPE && all_dtypes[k] < HD_C64; k++) {
        enum hd_dtype d = all_dtypes[k];
        size_t size = hd_dtype_size(d);
        float small[] = { 1, 0, 1, 5 };
        hd_array *f = hd_array_of(small, 4), *a = hd_array_new(d, HD_INTS(4), NULL, NULL),
                 *r[2] = { NULL, NULL };
        ck_assert_ptr_null(a);                  /* elements, but no bytes to take them from */
        unsigned char bytes[4 * 8] = { 0 };
        for (int i = 0; i < 4; i++) {
            hd_array *e = hd_array_scalar(d, d == HD_BOOL ? small[i] != 0 : (double)small[i]);
            memcpy(bytes + (size_t)i * size, hd_data(e), size);
            hd_drop(e);
        }
        a = hd_array_new(d, HD_INTS(4), bytes, NULL);
        ck_assert_msg(!hd_call(through, r, a), "%s: %s", hd_dtype_name(d), hd_error());
        ck_assert(!memcmp(hd_data(r[1]), bytes, 4 * size));
        for (int i = 0; i < 4; i++)
            ck_assert(!memcmp(
                (const char *)hd_data(r[0]) + (size_t)i * size, bytes + (size_t)(3 - i) * size, size));
        hd_drop(a), hd_drop(f), hd_drop(r[0]), hd_drop(r[1]);
    }
}
END_TEST

/* ==================== trees */

START_TEST(trees)
{
    hd_array *t = hd_array_dict({ "w", hd_array_lit(float, (2), 1, 2) },
        { "inner",
            hd_array_tuple(
                hd_array_scalar(HD_I32, 5), hd_array_dict({ "z", hd_array_scalar(HD_F32, 6) })) });
    ck_assert_msg(t != NULL, "%s", hd_error());
    /* in order of keys */
    ck_assert(hd_array_len(t) == 2 && !strcmp(hd_array_field_name(t, 0), "inner"));
    hd_array *inner = hd_array_get(t, "inner");
    ck_assert(
        hd_array_len(inner) == 2 && !hd_array_field_name(inner, 0) && hd_item(hd_array_nth(inner, 0)) == 5);
    ck_assert(hd_item(hd_array_get(hd_array_nth(inner, 1), "z")) == 6);
    ck_assert_ptr_eq(hd_keep(t), t);
    hd_drop(t);
    ck_assert(hd_item(hd_array_nth(inner, 0)) == 5);
    hd_drop(t);
    hd_array *none = hd_array_dict_n(NULL, 0), *empty = hd_array_tuple_n(NULL, 0);
    ck_assert(hd_array_len(none) == 0 && hd_array_len(empty) == 0);
    hd_drop(none), hd_drop(empty);
    ck_assert_ptr_null(
        hd_array_dict({ "w", hd_array_scalar(HD_F32, 1) }, { "w", hd_array_scalar(HD_F32, 2) }));
    ck_assert_str_ne(hd_error(), "");           /* and both scalars are gone */
}
END_TEST

#define LINEAR(F, S) F(w) F(b)
HD_STRUCT(linear, LINEAR);
#define NET(F, S) S(linear, hidden) S(linear, out) F(scale)
HD_STRUCT(net, NET);

static hd evaluate(hd params, hd x)
{
    net p = hd_unpack(net, params);
    hd h = hd_tanh(hd_add(hd_mul(x, p.hidden.w), p.hidden.b));
    p.scale = hd_mul(p.scale, hd_add(hd_mul(h, p.out.w), p.out.b));
    return hd_pack(net, p);
}

START_TEST(structs)
{
#define S(v) hd_array_scalar(HD_F32, v)
    hd_array *p = hd_array_pack(
        net, { .hidden = { .w = S(2), .b = S(1) }, .out = { .w = S(3), .b = S(4) }, .scale = S(0.5) });
    hd_array *x = S(0.25), *r = NULL;
    ck_assert_msg(p && !hd_call(evaluate, &r, p, x), "%s", hd_error());
    net_data d = hd_array_unpack(net, r);
    ck_assert(fabs(hd_item(d.scale) - 0.5 * (3 * tanh(1.5) + 4)) < 1e-6 && hd_item(d.hidden.w) == 2);
    ck_assert(hd_item(hd_array_get(hd_array_get(r, "out"), "b")) == 4);
    hd_drop(p), hd_drop(x), hd_drop(r);
}
END_TEST

/* ==================== files */

static const char *path(const char *name)
{
    static char b[2][200];
    static int k;
    k ^= 1;
    snprintf(b[k], sizeof b[k], "%s/%s", folder, name);
    return b[k];
}

static void same_tree(const hd_array *a, const hd_array *b)
{
    int n = hd_array_len(a);
    ck_assert_int_eq(n, hd_array_len(b));
    for (int i = 0; i < n; i++) {
        const char *ka = hd_array_field_name(a, i), *kb = hd_array_field_name(b, i);
        ck_assert(!ka == !kb && (!ka || !strcmp(ka, kb)));
        same_tree(hd_array_nth(a, i), hd_array_nth(b, i));
    }
    if (n)
        return;
    size_t bytes = (size_t)hd_array_size(a) * hd_dtype_size(hd_array_dtype(a));
    hd_ints s = hd_array_shape(a), t = hd_array_shape(b);
    ck_assert_msg(
        hd_array_dtype(a) == hd_array_dtype(b) && s.n == t.n && !memcmp(s.v, t.v, (size_t)s.n * sizeof *s.v),
        "%s rank %d, and %s rank %d", hd_dtype_name(hd_array_dtype(a)), s.n,
        hd_dtype_name(hd_array_dtype(b)), t.n);
    ck_assert(!bytes || !memcmp(hd_data(a), hd_data(b), bytes));
}

static void round_trip(const char *name, hd_array *a)
{
    ck_assert_msg(a && !hd_save(path(name), a), "%s: %s", name, hd_error());
    hd_array *b = hd_load(path(name));
    ck_assert_msg(b != NULL, "%s: %s", name, hd_error());
    same_tree(a, b);
    hd_drop(a), hd_drop(b);
}

START_TEST(files)
{
    for (int k = 0; k < NDTYPE; k++) {
        unsigned char bytes[24 * 16];
        fill(all_dtypes[k], bytes, 24 * hd_dtype_size(all_dtypes[k]));
        if (all_dtypes[k] != HD_BF16)           /* numpy has none; test below */
            round_trip("a.npy", hd_array_new(all_dtypes[k], HD_INTS(2, 3, 4), bytes, NULL));
    }
    round_trip("scalar.npy", hd_array_scalar(HD_F64, 2.5));
    round_trip("none.npy", hd_array_new(HD_I32, HD_INTS(0, 5), NULL, NULL));
    round_trip("tree.npz",
        hd_array_dict({ "w", hd_array_lit(float, (2, 2), 1, 2, 3, 4) },
            { "deep",
                hd_array_dict(
                    { "b", hd_array_lit(int, (3), 1, 2, 3) }, { "c", hd_array_scalar(HD_U8, 9) }) }));
}
END_TEST

/* What is no array of ours is an error, whatever is cut off or changed. */
START_TEST(damaged_files)
{
    hd_array *a = hd_array_dict({ "w", hd_array_lit(float, (64), 1) }, { "b", hd_array_scalar(HD_F32, 2) });
    ck_assert_ptr_null(a);                      /* 64 values are wanted */
    a = hd_array_dict({ "w", hd_array_lit(float, (4), 1, 2, 3, 4) }, { "b", hd_array_scalar(HD_F32, 2) });
    for (int zip = 0; zip < 2; zip++) {
        const char *whole = zip ? "whole.npz" : "whole.npy", *cut = zip ? "cut.npz" : "cut.npy";
        char bytes[4096];
        ck_assert_int_eq(hd_save(path(whole), zip ? a : hd_array_get(a, "w")), 0);
        FILE *f = fopen(path(whole), "rb");
        size_t n = fread(bytes, 1, sizeof bytes, f);
        fclose(f);
        ck_assert(n > 80 && n < sizeof bytes);
        for (size_t k = 0; k < n; k += 1 + n / 97) {
            for (int how = 0; how < 2; how++) {
                f = fopen(path(cut), "wb");
                char c = bytes[k];
                bytes[k] = how ? (char)~c : c;
                fwrite(bytes, 1, how ? n : k, f);
                bytes[k] = c;
                fclose(f);
                hd_array *r = hd_load(path(cut));       /* data may differ; nothing may break */
                ck_assert(r || hd_error_code() == HD_EIO || hd_error_code() == HD_EINVAL ||
                    hd_error_code() == HD_EDTYPE);
                ck_assert_msg(how || !r, "%zu bytes of %zu were read as a file", k, n);
                hd_drop(r);
            }
        }
    }
    hd_drop(a);
}
END_TEST

/* ==================== functions */

static hd square(hd x) { return hd_mul(x, x); }
static hd cube(hd x) { return hd_mul(square(x), x); }
static int traced;
static hd counted(hd x) { return traced++, hd_sin(x); }
static hd times_env(hd x, const void *env) { return hd_mul(x, hd_c(*(const double *)env)); }
static hd sum_sin(hd x) { return hd_sum(hd_sin(x)); }
static hd matvec(hd m, hd v) { return hd_dot(m, v); }

START_TEST(interned)
{
    ck_assert_ptr_eq(HD_FN(square), HD_FN(square));
    ck_assert(HD_FN(square) != HD_FN(cube));
    ck_assert_ptr_eq(hd_jit(hd_vmap(hd_grad(square))), hd_jit(hd_vmap(hd_grad(square))));
    ck_assert(hd_vmap(square, .in_axes = { 0 }) == hd_vmap(square) &&
        hd_vmap(square, .in_axes = { 1 }) != hd_vmap(square));
    double two = 2, three = 3, again = 2;
    ck_assert_ptr_eq(hd_bind(times_env, two), hd_bind(times_env, again));
    ck_assert(hd_bind(times_env, two) != hd_bind(times_env, three));
    hd_array *x = hd_array_lit(float, (2), 1, 2), *y = hd_array_lit(float, (3), 1, 2, 3), *r = NULL;
    for (int k = 0; k < 5; k++) {
        ck_assert_int_eq(hd_call(hd_jit(counted), &r, x), 0);
        hd_drop(r), r = NULL;
    }
    ck_assert_int_eq(traced, 1);                /* once for each new type */
    ck_assert_int_eq(hd_call(hd_jit(counted), &r, y), 0);
    hd_drop(r);
    ck_assert_int_eq(traced, 2);
    ck_assert_int_eq(hd_call(hd_bind(times_env, three), &r, x), 0);
    ck_assert(((const float *)hd_data(r))[1] == 6);
    hd_drop(r), hd_drop(x), hd_drop(y);
}
END_TEST

START_TEST(calls)
{
    hd_array *m = hd_array_lit(float, (2, 3), 1, 2, 3, 4, 5, 6), *v = hd_array_lit(float, (3), 1, 0, -1),
             *y = hd_array_lit(float, (2), 1, 10);
    hd_array *r = NULL, *shape = NULL, *bare = hd_array_abstract(HD_F32, 2, 3);
    ck_assert_int_eq(hd_eval_shape(matvec, &shape, bare, v), 0);
    ck_assert(hd_array_dim(shape, 0) == 2 && hd_array_dtype(shape) == HD_F32);
    ck_assert_int_eq(hd_compile(hd_jit(matvec), m, v), 0);
    ck_assert_int_eq(hd_call(hd_jit(matvec), &r, m, v), 0);
    ck_assert(!hd_wait(r) && hd_ready(r) && ((const float *)hd_data(r))[0] == -2);
    hd_drop(r), hd_drop(shape), hd_drop(bare);
    /* the transpose of a product: (m, v), dy -> dm, dv is bilinear, so by v alone */
    hd_array *back = NULL;
    ck_assert_int_eq(hd_call(hd_vjp(matvec), &back, m, v, y), 0);
    const float *dv = hd_data(hd_array_nth(hd_array_nth(back, 1), 1));
    ck_assert(dv[0] == 41 && dv[1] == 52 && dv[2] == 63);
    hd_drop(back);
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    ck_assert_int_eq(hd_print_graph(f, hd_grad(sum_sin), v), 0);
    fclose(f);
    hd_fn *again = hd_parse(text, "again");
    ck_assert_msg(again && !hd_call(again, &r, v), "%s\n%s", hd_error(), text);
    ck_assert(fabsf(((const float *)hd_data(r))[2] - cosf(-1)) < 1e-6f);
    free(text);
    hd_drop(r), hd_drop(m), hd_drop(v), hd_drop(y);
}
END_TEST

/* What a program cost to make, and what it is: once, and the same when asked again. Tracing was done for the
 * first device. */
static hd turned(hd x, hd y) { return (void)y, hd_tuple(hd_sin(x), hd_tanh(x)); }
static hd turns(hd x) { return hd_nth(hd_scan(turned, x, HD_NIL, .length = 5), 0); }

START_TEST(costs)
{
    hd_array *x = hd_array_lit(float, (3), 1, 2, 3), *y = hd_array_lit(float, (2), 1, 2), *r = NULL;
    hd_cost_info c = { 0 }, again, host;
    hd_fn *f = hd_vmap(turns);
    ck_assert_msg(!hd_cost(f, &c, x), "%s", hd_error());
    ck_assert(c.trace_ms > 0 && c.transform_ms > 0 && c.compile_ms > 0);
    ck_assert(c.kernels ? c.schedule_ms > 0 && c.launches >= c.kernels : !c.launches && !c.temporary_bytes);
    ck_assert(!hd_call(f, &r, x) && !hd_cost(f, &again, x) && !memcmp(&c, &again, sizeof c));
    ck_assert(!hd_cost(hd_jit(turns, .device = "host"), &host, x) && !host.kernels && !host.schedule_ms);
    ck_assert(host.trace_ms > 0 && !hd_cost(hd_jit(hd_vmap(turns), .device = "host"), &host, x));
    ck_assert(!strcmp(hd_default_device(NULL), "host") || host.trace_ms == 0);
    c = (hd_cost_info){ .kernels = -1 };
    ck_assert_int_eq(hd_cost(turns, NULL, x), HD_EINVAL);
    ck_assert_msg(strstr(hd_error(), "hd_cost"), "%s", hd_error());
    ck_assert_int_eq(hd_cost_n(NULL, &c, &x, 1), HD_EINVAL);
    ck_assert_int_eq(hd_cost_n(f, &c, (hd_array *[]){ NULL }, 1), HD_EINVAL);
    ck_assert(hd_cost(matvec, &c, x, y) != 0 && c.kernels == -1);       /* as it was: shapes do not fit */
    hd_drop(x), hd_drop(y), hd_drop(r);
    ck_assert_int_eq(hd_live(), 0);
}
END_TEST

/* Donated in place, a hundred times; nothing grows. */
static hd step(hd p, hd x) { return hd_tuple(hd_add(p, x), hd_sum(p)); }

START_TEST(donation)
{
    hd_array *p = hd_array_lit(float, (2), 0, 0), *x = hd_array_lit(float, (2), 1, 2), *both[2];
    for (int k = 0; k < 100; k++) {
        both[0] = both[1] = NULL;
        ck_assert_msg(!hd_call(hd_jit(step, .donate = HD_INTS(0)), both, p, x), "%s", hd_error());
        p = both[0];
        hd_drop(both[1]);
        ck_assert_int_eq(hd_live(), 2);
    }
    ck_assert(((const float *)hd_data(p))[1] == 200);
    hd_drop(p), hd_drop(x);
}
END_TEST

START_TEST(printed)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    hd_array *a = hd_array_dict(
        { "m", hd_array_lit(float, (2, 2), 1, 2.5, -3, 4) }, { "i", hd_array_scalar(HD_I64, -7) });
    ck_assert_int_eq(hd_print(f, a), 0);
    fclose(f);
    ck_assert_msg(
        strstr(text, "2.5") && strstr(text, "-7") && strstr(text, "m") && text[n - 1] == '\n', "%s", text);
    free(text);
    hd_drop(a);
}
END_TEST

/* Each device that is there gives what the host gives, and arrays move between them. */
static hd mixture(hd x) { return hd_softmax(hd_add(hd_exp(x), hd_flip(x, 0)), 0); }

START_TEST(devices)
{
    hd_array *x = hd_array_lit(float, (5), 0.5, -1, 2, 0, 1), *want = NULL;
    int n = hd_device_count();
    ck_assert_int_ge(n, 1);
    ck_assert_int_eq(hd_call(hd_jit(mixture, .device = "host"), &want, x), 0);
    for (int k = 0; k < n; k++) {
        hd_device_info d;
        ck_assert_int_eq(hd_device(k, &d), 0);
        hd_array *there = hd_put(x, d.name), *r = NULL;
        ck_assert_msg(there && !strcmp(hd_array_device(there), d.name), "%s: %s", d.name, hd_error());
        ck_assert_msg(!hd_call(hd_jit(mixture), &r, there), "%s: %s", d.name, hd_error());
        ck_assert_str_eq(hd_array_device(r), d.name);
        for (int i = 0; i < 5; i++)
            ck_assert(fabsf(((const float *)hd_data(r))[i] - ((const float *)hd_data(want))[i]) < 1e-6f);
        hd_array *home = hd_put(r, "host");
        ck_assert(home && !memcmp(hd_data(home), hd_data(r), 20));
        hd_drop(there), hd_drop(r), hd_drop(home);
    }
    hd_device_info d;
    ck_assert_int_ne(hd_device(n, &d), 0);
    hd_drop(x), hd_drop(want);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("api");
    TCase *t = tcase_create("host"), *u = tcase_create("devices");
    if (!mkdtemp(folder))
        return 1;
    setenv("HEDDLE_DEVICE", "host", 1);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, in_and_out);
    tcase_add_test(t, strides);
    tcase_add_test(t, corner_shapes);
    tcase_add_test(t, every_dtype_computes);
    tcase_add_test(t, trees);
    tcase_add_test(t, structs);
    tcase_add_test(t, files);
    tcase_add_test(t, damaged_files);
    tcase_add_test(t, interned);
    tcase_add_test(t, calls);
    tcase_add_test(t, costs);
    tcase_add_test(t, donation);
    tcase_add_test(t, printed);
    tcase_add_checked_fixture(u, setup, teardown);
    tcase_set_timeout(u, 120);
    tcase_add_test(u, devices);
    suite_add_tcase(s, t);
    suite_add_tcase(s, u);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    char command[200];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) || failed > 0;
}
