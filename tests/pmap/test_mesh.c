/*
 * test_mesh.c - arrays over a mesh: what is dealt out is the same array; a function of such arrays gives
 * what it gives of whole ones, each device computing with its share; how many sums and gathers that takes,
 * and which ops gather. In a job of four processes the mesh is over these.
 */
#include <math.h>
#include <stdlib.h>

#include "suite.h"

static const char *four;

static const hd_mesh *grid(void)
{
    const hd_mesh *m = hd_mesh_new("data: 2, model: 2", four);
    ck_assert_msg(m != NULL, "%s", hd_error());
    return m;
}

/* Numbers between -1 and 1, all different. */
static hd_array *numbers(hd_ints shape)
{
    static float v[4096];
    int64_t n = 1;
    for (int d = 0; d < shape.n; d++)
        n *= shape.v[d];
    for (int64_t k = 0; k < n; k++)
        v[k] = (float)sin(1.0 + 1.7 * (double)k);
    return hd_array_new(HD_F32, shape, v, NULL);
}

static void near(const hd_array *a, const hd_array *b, double tol, const char *what)
{
    ck_assert_msg(a && b && hd_array_len(a) == hd_array_len(b), "%s: %s", what, hd_error());
    for (int k = 0; k < hd_array_len(a); k++)
        near(hd_array_nth(a, k), hd_array_nth(b, k), tol, what);
    if (hd_array_len(a))
        return;
    ck_assert_msg(
        hd_array_size(a) == hd_array_size(b) && hd_array_dtype(a) == hd_array_dtype(b), "%s: types", what);
    size_t n = (size_t)hd_array_size(a);
    const void *p = hd_data(a), *q = hd_data(b);
    ck_assert_msg(p && q, "%s: %s", what, hd_error());
    if (hd_array_dtype(a) != HD_F32) {
        ck_assert_msg(!memcmp(p, q, n * hd_dtype_size(hd_array_dtype(a))), "%s: other values", what);
        return;
    }
    for (size_t k = 0; k < n; k++) {
        double x = ((const float *)p)[k], y = ((const float *)q)[k];
        ck_assert_msg(
            fabs(x - y) <= tol * (1 + fabs(y)), "%s: element %zu is %.9g, not %.9g", what, k, x, y);
    }
}

/* ==================== the law: over a mesh as on one device */

/* x: f32[4,6,8], y: f32[8,6] */
static hd elementwise(hd x, hd y) { return hd_add(hd_tanh(x), hd_mean(hd_square(y))); }
static hd product(hd x, hd y) { return hd_matmul(x, y); }
static hd twice(hd x, hd y) { return hd_matmul(hd_relu(hd_matmul(x, y)), hd_transpose(y, 1, 0)); }
static hd batched(hd x, hd y) { (void)y; return hd_einsum("bij,bkj->bik", x, hd_sin(x)); }
static hd sums(hd x, hd y)
{
    return hd_tuple(hd_sum(x), hd_sum(x, 0), hd_mean(x, 2), hd_max(x, 0), hd_min(y, 1), hd_max(y));
}
static hd tests(hd x, hd y)
{
    return hd_tuple(hd_all(hd_gt(x, hd_c(-2)), 0), hd_any(hd_gt(y, hd_c(.9)), 0, 1), hd_prod(y, 0));
}
static hd views(hd x, hd y)
{
    hd t = hd_transpose(x, 2, 0, 1);
    return hd_tuple(hd_reshape(x, 4, 48), hd_reshape(t, 2, 4, 24), hd_slice_axis(x, 1, 1, 4), hd_flip(x, 1),
        hd_broadcast_to(y, 3, 8, 6),
        hd_pad(x, hd_c(2), (hd_ints){ 3, { 0, 1, 0 } }, (hd_ints){ 3, { 0, 2, 0 } }, (hd_ints){ 0 }),
        hd_concatenate(0, x, hd_neg(x)));
}
static hd softmaxes(hd x, hd y)
{
    return hd_tuple(hd_softmax(x, -1), hd_softmax(x, 0), hd_standardize(y, -1));
}
static hd rows(hd x, hd y)
{
    int32_t which[] = { 3, 0, 5, 1 };
    hd k = hd_lit_n(HD_I32, HD_INTS(4), which);
    return hd_tuple(
        hd_take(y, k, 0), hd_take(x, k, 1), hd_at(x, 2), hd_segment_sum(y, hd_iota(HD_I32, 0, 8), 8));
}
static hd positions(hd x, hd y)
{
    return hd_tuple(hd_tril(x, 0), hd_mul(x, hd_iota(HD_F32, 0, 4, 6, 8)), hd_argmax(x, 0), hd_argmax(x, 1),
        hd_cumsum(x, 0), hd_sort(y, 0));
}
static hd rnn_step(hd y, hd h, hd x)
{
    h = hd_tanh(hd_add(hd_matmul(hd_matmul(h, y), hd_transpose(y, 1, 0)), x));
    return hd_tuple(h, hd_sum(h, -1));
}
static hd scanned(hd x, hd y)
{
    return hd_scan(hd_partial(rnn_step, y), hd_zeros(HD_F32, 4, 8), hd_transpose(x, 1, 0, 2));
}
static hd one_sequence(hd y, hd x)
{
    return hd_nth(hd_scan(hd_partial(rnn_step, y), hd_zeros(HD_F32, 8), x), 0);
}
static hd lanes(hd x, hd y) { return hd_apply(hd_vmap(one_sequence, .in_axes = { HD_NONE, 0 }), y, x); }
static hd go_on(hd s) { return hd_lt(hd_sum(hd_square(hd_nth(s, 0))), hd_c(50)); }
static hd grow(hd s)
{
    return hd_tuple(hd_mul_c(hd_nth(s, 0), 1.5), hd_add(hd_nth(s, 1), hd_sum(hd_nth(s, 0), 0)));
}
static hd loops(hd x, hd y) { (void)y; return hd_while(go_on, grow, hd_tuple(x, hd_zeros(HD_F32, 6, 8))); }
static hd left(hd x) { return hd_mul_c(x, 2); }
static hd right(hd x) { return hd_sub(x, hd_mean(x)); }
static hd branches(hd x, hd y) { return hd_cond(hd_gt(hd_sum(y), hd_c(0)), left, right, x); }
static hd random_part(hd x, hd y)
{
    (void)y;
    return hd_add(x, hd_random_normal(hd_key(3), HD_F32, 4, 6, 8));
}
static hd energy(hd y, hd x)
{
    return hd_mean(hd_square(hd_matmul(hd_tanh(hd_matmul(x, y)), hd_transpose(y, 1, 0))));
}
static hd gradient(hd x, hd y) { return hd_apply(hd_value_and_grad(energy), y, x); }
static hd energy_lanes(hd y, hd x) { return hd_mean(hd_square(lanes(x, y))); }
static hd gradient_lanes(hd x, hd y) { return hd_apply(hd_value_and_grad(energy_lanes), y, x); }
static hd energy_rows(hd y, hd x)
{
    return hd_sum(hd_mul(hd_nth(rows(x, y), 0), hd_nth(rows(hd_sin(x), y), 0)));
}
static hd gradient_rows(hd x, hd y) { return hd_apply(hd_grad(energy_rows), y, x); }
static hd energy_scan(hd y, hd x) { return hd_sum(hd_square(hd_nth(scanned(x, y), 1))); }
static hd gradient_scan(hd x, hd y) { return hd_apply(hd_grad(energy_scan), y, x); }

#define LAW(f) { #f, f }
static const struct { const char *name; hd (*f)(hd, hd);
} law[] = {
    LAW(elementwise),
    LAW(product),
    LAW(twice),
    LAW(batched),
    LAW(sums),
    LAW(tests),
    LAW(views),
    LAW(softmaxes),
    LAW(rows),
    LAW(positions),
    LAW(scanned),
    LAW(lanes),
    LAW(loops),
    LAW(branches),
    LAW(random_part),
    LAW(gradient),
    LAW(gradient_lanes),
    LAW(gradient_rows),
    LAW(gradient_scan),
};

static const char *const spec_x[] = { "data", "none, none, model", "data, none, model", "model, data",
    "data+model", "none, model, data", "" };
static const char *const spec_y[] = { "model", "none, model", "data, model", "model, data", "",
    "data+model" };

/* Over ranks a third of the pairs of specs. */
START_TEST(same_as_one)
{
    const hd_mesh *m = grid();
    hd_array *x = numbers((hd_ints){ 3, { 4, 6, 8 } }), *y = numbers((hd_ints){ 2, { 8, 6 } });
    hd_array *xs[7], *ys[6], *want, *got;
    for (int a = 0; a < 7; a++)
        ck_assert_msg((xs[a] = hd_shard(x, m, spec_x[a])) != NULL, "%s", hd_error());
    for (int b = 0; b < 6; b++)
        ck_assert_msg((ys[b] = hd_shard(y, m, spec_y[b])) != NULL, "%s", hd_error());
    for (int k = 0; k < (int)(sizeof law / sizeof *law); k++) {
        char what[100];
        ck_assert_msg(
            !hd_call(hd_jit(law[k].f, .device = "host"), &want, x, y), "%s: %s", law[k].name, hd_error());
        for (int a = 0; a < 7; a++)
            for (int b = a % 2; b<6; b += hd_ranks()> 1 ? 6 : 2) {
                snprintf(what, sizeof what, "%s of \"%s\", \"%s\"", law[k].name, spec_x[a], spec_y[b]);
                ck_assert_msg(!hd_call(law[k].f, &got, xs[a], ys[b]), "%s: %s", what, hd_error());
                near(got, want, 2e-5, what);
                hd_drop(got);
            }
        hd_drop(want);
    }
    for (int a = 0; a < 7; a++)
        hd_drop(xs[a]);
    for (int b = 0; b < 6; b++)
        hd_drop(ys[b]);
    hd_drop(x), hd_drop(y);
}
END_TEST

/* ==================== counts */

static hd_cost_info cost_of(hd_fn *f, hd_array *x, hd_array *y, const char *sx, const char *sy)
{
    hd_array *a = hd_shard(x, grid(), sx), *b = hd_shard(y, grid(), sy);
    hd_cost_info c = { 0 };
    ck_assert_msg(a && b && !hd_cost(f, &c, a, b), "%s", hd_error());
    hd_drop(a), hd_drop(b);
    return c;
}

static hd three(hd x, hd y)
{
    return hd_add(hd_add(hd_matmul(x, y), hd_matmul(hd_sin(x), y)), hd_matmul(hd_cos(x), y));
}

/* Products by rows or columns take one sum or none, three into one sum one; what has to be whole is named
 * with its line. */
START_TEST(counts)
{
    hd_array *x = numbers((hd_ints){ 3, { 4, 6, 8 } }), *y = numbers((hd_ints){ 2, { 8, 6 } });
    static const struct { hd (*f)(hd, hd); const char *x, *y; int sums, gathers, exchanges; } want[] = {
        { elementwise, "data", "model", 1, 0, 0 },          { product, "data", "none, model", 0, 0, 0 },
        { product, "data, none, model", "model", 1, 0, 0 }, { product, "data", "model", 1, 0, 0 },
        { twice, "data", "none, model", 1, 0, 0 },          { three, "data", "model", 1, 0, 0 },
        { product, "model", "none, model", 0, 1, 0 },       { batched, "data", "", 0, 0, 0 },
        { gradient, "data", "none, model", 3, 0, 0 },       { lanes, "data+model", "", 0, 0, 0 },
        { gradient_lanes, "data", "", 2, 0, 0 },            { scanned, "data", "", 0, 0, 0 },
    };
    for (int k = 0; k < (int)(sizeof want / sizeof *want); k++) {
        hd_cost_info c = cost_of(hd_jit(want[k].f), x, y, want[k].x, want[k].y);
        ck_assert_msg(
            c.sums == want[k].sums && c.gathers == want[k].gathers && c.exchanges == want[k].exchanges,
            "case %d: %d sums, %d gathers, %d exchanges: %s", k, (int)c.sums, (int)c.gathers,
            (int)c.exchanges, c.gathered);
        ck_assert_msg(want[k].gathers || !c.gathered[0], "case %d: %s", k, c.gathered);
    }
    hd_cost_info c = cost_of(HD_FN(positions), x, y, "data", "model");
    ck_assert_msg(strstr(c.gathered, "test_mesh.c:") &&
            strstr(c.gathered, "sort gathers f32[8,6] over \"model\"") &&
            strstr(c.gathered, "cumsum gathers") && strstr(c.gathered, "argmax gathers"),
        "%s", c.gathered);
    hd_drop(x), hd_drop(y);
}
END_TEST

static hd as_said(hd x, hd y)
{
    return hd_matmul(
        hd_constrain(hd_matmul(x, y), "data, none, model"), hd_constrain(hd_transpose(y, 1, 0), "model"));
}
static hd energy_said(hd y, hd x) { return hd_sum(hd_square(as_said(x, y))); }
static hd gradient_said(hd x, hd y) { return hd_apply(hd_grad(energy_said), y, x); }
static hd row_said(hd y, hd x) { return hd_constrain(hd_matmul(x, y), "none, model"); }
static hd rows_said(hd x, hd y) { return hd_apply(hd_vmap(row_said, .in_axes = { HD_NONE, 0 }), y, x); }
static hd step_said(hd y, hd h, hd x)
{
    h = hd_constrain(hd_tanh(hd_add(h, hd_matmul(x, y))), "none, model");
    return hd_tuple(h, h);
}
static hd scan_said(hd x, hd y)
{
    return hd_nth(hd_scan(hd_partial(step_said, y), hd_zeros(HD_F32, 6, 6), x), 1);
}
static hd whole_said(hd x, hd y) { (void)y; return hd_constrain(x, ""); }
static hd wrong_said(hd x, hd y) { (void)y; return hd_constrain(x, "rows"); }
static hd odd_said(hd x, hd y) { (void)x; return hd_constrain(hd_slice_axis(y, 0, 0, 3), "data"); }

/* What the program says of a value is how it lies; on one device, and in its derivative, the value is the
 * same. */
START_TEST(constraints)
{
    static const struct { hd (*f)(hd, hd); const char *spec;
    } said[] = {
        { as_said, "data, none, none" },
        { gradient_said, NULL },
        { rows_said, "data, none, model" },
        { scan_said, "none, none, model" },
        { whole_said, "none, none, none" },
    };
    hd_array *x = numbers((hd_ints){ 3, { 4, 6, 8 } }), *y = numbers((hd_ints){ 2, { 8, 6 } }), *z = NULL,
             *want;
    hd_array *a = hd_shard(x, grid(), "data"), *b = hd_shard(y, grid(), "");
    for (int k = 0; k < (int)(sizeof said / sizeof *said); k++) {
        ck_assert_msg(
            !hd_call(said[k].f, &z, a, b) && !hd_call(said[k].f, &want, x, y), "%d: %s", k, hd_error());
        ck_assert_msg(
            !said[k].spec || !strcmp(hd_array_spec(z), said[k].spec), "%d: %s", k, hd_array_spec(z));
        near(z, want, 2e-5, "constrained");
        hd_drop(z), hd_drop(want);
        z = NULL;
    }
    ck_assert_int_eq(hd_call(wrong_said, &z, a, b), HD_EINVAL);
    ck_assert_msg(
        strstr(hd_error(), "no axis \"rows\"") && strstr(hd_error(), "test_mesh.c:"), "%s", hd_error());
    ck_assert_int_eq(hd_call(odd_said, &z, a, b), HD_ESHAPE);
    ck_assert_msg(
        strstr(hd_error(), "axis 0, of 3") && strstr(hd_error(), "test_mesh.c:"), "%s", hd_error());
    hd_drop(a), hd_drop(b), hd_drop(x), hd_drop(y);
}
END_TEST

/* Each device has its share of the result, and no more; a share that is there stays. */
START_TEST(shares)
{
    hd_array *x = numbers((hd_ints){ 3, { 4, 6, 8 } }), *y = numbers((hd_ints){ 2, { 8, 6 } });
    hd_array *a = hd_shard(x, grid(), "data"), *b = hd_shard(y, grid(), "none, model"), *z, *again;
    ck_assert_str_eq(hd_array_spec(a), "data, none, none");
    ck_assert_str_eq(hd_array_spec(x), "");
    ck_assert_msg(!hd_call(product, &z, a, b), "%s", hd_error());
    ck_assert_str_eq(hd_array_spec(z), "data, none, model");
    ck_assert_str_eq(hd_array_device(z), four);
    again = hd_shard(
        z, hd_mesh_new("model: 2, data: 2", hosts("host,host:2,host:1,host:3")), "data, none, model");
    ck_assert_str_eq(hd_array_spec(again), "data, none, model");
    near(again, z, 0, "the same shares in another mesh");
    ck_assert_ptr_eq(hd_mesh_new(" data:2,model : 2", hosts("host,host:1 ,host:2, host:3")), grid());
    hd_drop(a), hd_drop(b), hd_drop(x), hd_drop(y), hd_drop(z), hd_drop(again);
}
END_TEST

/* ==================== what cannot be */

static void refused(const void *p, enum hd_code code, const char *word)
{
    ck_assert_msg(!p && hd_error_code() == (int)code && strstr(hd_error(), word),
        "%d, not %d with \"%s\": %s", hd_error_code(), (int)code, word, hd_error());
    ck_assert_msg(strstr(hd_error(), "test_mesh.c:") != NULL, "no line: %s", hd_error());
}

START_TEST(mistakes)
{
    refused(hd_mesh_new("data: 2", "host, host"), HD_EDEVICE, "twice");
    refused(hd_mesh_new("data: 3", "host, host:1"), HD_ESHAPE, "3 places");
    refused(hd_mesh_new("data: 2, data: 2", four), HD_EINVAL, "two axes");
    refused(hd_mesh_new("data", four), HD_EINVAL, "data: 2, model: 2");
    refused(hd_mesh_new("data: 0", four), HD_EINVAL, "size from 1");
    refused(hd_mesh_new("a: 1, b: 1, c: 1, d: 1, e: 1", "host"), HD_EINVAL, "more than 4");
    refused(hd_mesh_new("data: 2", "moon:0"), HD_EDEVICE, "moon:0");
    hd_array *x = numbers((hd_ints){ 2, { 6, 3 } }), *a, *b, *z = NULL;
    refused(hd_shard(x, grid(), "none, model"), HD_ESHAPE, "axis 1, of 3");
    refused(hd_shard(x, grid(), "data+model"), HD_ESHAPE, "4 shards");
    refused(hd_shard(x, grid(), "rows"), HD_EINVAL, "no axis \"rows\"");
    refused(hd_shard(x, grid(), "data, data"), HD_EINVAL, "deals out two axes");
    refused(hd_shard(x, grid(), "model+data"), HD_EINVAL, "order of the mesh");
    refused(hd_shard(x, grid(), "data, none, none"), HD_ESHAPE, "2 axes");
    refused(hd_shard(x, grid(), "data,,none"), HD_EINVAL, "or none");
    a = hd_shard(x, grid(), "data"), b = hd_shard(x, hd_mesh_new("data: 2", hosts("host, host:1")), "data");
    ck_assert_int_eq(hd_call(hd_add, &z, a, b), HD_EDEVICE);
    ck_assert_ptr_nonnull(strstr(hd_error(), "different meshes"));
    ck_assert(!hd_call(hd_jit(hd_add, .device = "host:1"), &z, a, b));      /* one device is meant */
    ck_assert_str_eq(hd_array_device(z), "host:1");
    hd_drop(z), hd_drop(a), hd_drop(b), hd_drop(x);
}
END_TEST

int main(void)
{
    setenv("HEDDLE_HOST_DEVICES", "4", 1);
    four = hosts("host,host:1,host:2,host:3");
    Suite *s = suite_create("mesh");
    TCase *c = suite_case(s);
    tcase_add_test(c, same_as_one);
    tcase_add_test(c, counts);
    tcase_add_test(c, constraints);
    tcase_add_test(c, shares);
    tcase_add_test(c, mistakes);
    return suite_run(s);
}
