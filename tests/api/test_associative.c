/*
 * test_associative.c - hd_associative_scan: every kind of combining function, against the same function
 * applied from one end to the other by a host loop over hd_call. Rows of all lengths, axes, directions,
 * lanes; derivatives against differences and against hd_scan; how many kernels it is; what it refuses.
 */
#include <math.h>
#include <stdlib.h>

#include "suite.h"

/* ==================== functions that are associative */

static hd affine(hd a, hd b)                    /* x -> a0 x + a1, then b */
{
    hd s = hd_nth(b, 0);
    return hd_tuple(hd_mul(hd_nth(a, 0), s), hd_add(hd_mul(hd_nth(a, 1), s), hd_nth(b, 1)));
}
static hd affine_rows(hd a, hd b)               /* the same with a vector shifted by a scalar's multiple */
{
    hd s = hd_get(b, "scale");
    return hd_dict({ "scale", hd_mul(hd_get(a, "scale"), s) },
        { "shift", hd_add(hd_mul(hd_get(a, "shift"), s), hd_get(b, "shift")) });
}
/* for every c */
static hd circle(hd c, hd a, hd b) { return hd_add(hd_add(a, b), hd_mul(c, hd_mul(a, b))); }
static hd later(hd a, hd b) { return (void)a, b; }
static hd earlier(hd a, hd b) { return (void)b, a; }
static hd longer(hd a, hd b)                    /* by its key, the first of equals */
{
    hd first = hd_ge(hd_nth(a, 0), hd_nth(b, 0));
    return hd_tuple(
        hd_where(first, hd_nth(a, 0), hd_nth(b, 0)), hd_where(first, hd_nth(a, 1), hd_nth(b, 1)));
}

static hd running_sum(hd x) { return hd_associative_scan(hd_add, x); }
static hd running_max(hd x) { return hd_associative_scan(hd_maximum, x, .axis = -1, .reverse = true); }
static hd running_norm(hd x) { return hd_associative_scan(hd_hypot, x); }
static hd running_circle(hd x) { return hd_associative_scan(hd_partial(circle, hd_full(hd_c(.25), 3)), x); }
static hd running_later(hd x) { return hd_associative_scan(later, x); }
static hd running_earlier(hd x) { return hd_associative_scan(earlier, x, .reverse = true); }
static hd running_product(hd x) { return hd_associative_scan(hd_matmul, x); }
static hd back_product(hd x) { return hd_associative_scan(hd_matmul, x, .reverse = true); }
static hd running_affine(hd x) { return hd_associative_scan(affine, x); }
static hd back_affine(hd x) { return hd_associative_scan(affine, x, .axis = 1, .reverse = true); }
static hd running_rows(hd x) { return hd_associative_scan(affine_rows, x); }
static hd running_longer(hd x) { return hd_associative_scan(longer, x, .axis = 1); }

/* ==================== the same, one after the other: slices are arguments of a function that combines
 * two */

static hd quarter_circle(hd a, hd b) { return circle(hd_full(hd_c(.25), 3), a, b); }

typedef struct Case {
    const char *name; hd_fn *scan, *two;
    int leaves, rank[2]; int64_t dim[2][3];     /* of slices */
    int axis; bool reverse, dict;
} Case;

enum { CASES = 13 };
static void cases(Case *c)
{
    const Case all[CASES] = {
        { "sum", HD_FN(running_sum), HD_FN(hd_add), 1, { 0 }, { { 0 } }, 0, false, false },
        { "max", HD_FN(running_max), HD_FN(hd_maximum), 1, { 1 }, { { 4 } }, 1, true, false },
        { "norm", HD_FN(running_norm), HD_FN(hd_hypot), 1, { 2 }, { { 2, 5 } }, 0, false, false },
        { "capture", HD_FN(running_circle), HD_FN(quarter_circle), 1, { 1 }, { { 3 } }, 0, false, false },
        { "later", HD_FN(running_later), HD_FN(later), 1, { 1 }, { { 3 } }, 0, false, false },
        { "earlier", HD_FN(running_earlier), HD_FN(earlier), 1, { 1 }, { { 70 } }, 0, true, false },
        { "product", HD_FN(running_product), HD_FN(hd_matmul), 1, { 2 }, { { 2, 2 } }, 0, false, false },
        { "large product", HD_FN(running_product), HD_FN(hd_matmul), 1, { 2 }, { { 9, 9 } }, 0, false,
            false },
        { "back product", HD_FN(back_product), HD_FN(hd_matmul), 1, { 2 }, { { 9, 9 } }, 0, true, false },
        { "affine", HD_FN(running_affine), HD_FN(affine), 2, { 0, 0 }, { { 0 }, { 0 } }, 0, false, false },
        { "back affine", HD_FN(back_affine), HD_FN(affine), 2, { 1, 1 }, { { 3 }, { 3 } }, 1, true, false },
        { "rows", HD_FN(running_rows), HD_FN(affine_rows), 2, { 0, 1 }, { { 0 }, { 3 } }, 0, false, true },
        { "longer", HD_FN(running_longer), HD_FN(longer), 2, { 1, 1 }, { { 2 }, { 2 } }, 1, false, false },
    };
    memcpy(c, all, sizeof all);
}

static int64_t slice_size(const Case *c, int l)
{
    int64_t n = 1;
    for (int d = 0; d < c->rank[l]; d++)
        n *= c->dim[l][d];
    return n;
}

/* n >= 0: with that axis. */
static hd_ints shape_of(const Case *c, int l, int64_t n)
{
    hd_ints s = { 0 };
    for (int d = 0; d <= c->rank[l]; d++) {
        if (n >= 0 && d == c->axis)
            s.v[s.n++] = n;
        if (d < c->rank[l])
            s.v[s.n++] = c->dim[l][d];
    }
    return s;
}

/* Where element e of slice i lies. */
static int64_t place_of(const Case *c, int l, int64_t n, int64_t i, int64_t e)
{
    int64_t inner = 1;
    for (int d = c->axis; d < c->rank[l]; d++)
        inner *= c->dim[l][d];
    return (e / inner * n + i) * inner + e % inner;
}

static hd_array *tree_of(const Case *c, hd_array *const *leaf)
{
    if (c->leaves == 1)
        return leaf[0];
    return c->dict ? hd_array_dict({ "scale", leaf[0] }, { "shift", leaf[1] }) :
                     hd_array_tuple(leaf[0], leaf[1]);
}

static const hd_array *part_of(const Case *c, const hd_array *x, int l)
{
    return c->leaves == 1 ? x : hd_array_nth(x, l);
}

static hd_array *slice_at(const Case *c, float *const *v, int64_t n, int64_t i)
{
    hd_array *leaf[2];
    for (int l = 0; l < c->leaves; l++) {
        float s[128];
        for (int64_t e = 0; e < slice_size(c, l); e++)
            s[e] = v[l][place_of(c, l, n, i, e)];
        leaf[l] = hd_array_new(HD_F32, shape_of(c, l, -1), s, NULL);
    }
    return tree_of(c, leaf);
}

static void reference(const Case *c, float *const *v, int64_t n, float *const *want)
{
    hd_array *sum = NULL;
    hd_fn *two = hd_jit(c->two, .device = "host");
    for (int64_t k = 0; k < n; k++) {
        int64_t i = c->reverse ? n - 1 - k : k;
        hd_array *x = slice_at(c, v, n, i), *y = NULL;
        if (sum) {
            ck_assert_msg(hd_call(two, &y, sum, x) == 0, "%s", hd_error());
            hd_drop(sum), hd_drop(x);
        }
        sum = y ? y : x;
        for (int l = 0; l < c->leaves; l++) {
            float s[128];
            ck_assert(!hd_read(part_of(c, sum, l), s, slice_size(c, l)));
            for (int64_t e = 0; e < slice_size(c, l); e++)
                want[l][place_of(c, l, n, i, e)] = s[e];
        }
    }
    hd_drop(sum);
}

static void compare(const Case *c, int64_t n, const char *device)
{
    float *v[2] = { NULL, NULL }, *want[2] = { NULL, NULL };
    hd_array *leaf[2], *y = NULL;
    for (int l = 0; l < c->leaves; l++) {
        int64_t size = n * slice_size(c, l);
        v[l] = malloc((size_t)(4 * size + 4)), want[l] = malloc((size_t)(4 * size + 4));
        for (int64_t k = 0; k < size; k++)
            v[l][k] = (float)((k * 37 + l * 11 + n) % 19 - 8) / 16;
        leaf[l] = hd_array_new(HD_F32, shape_of(c, l, n), v[l], NULL);
    }
    hd_array *x = tree_of(c, leaf);
    reference(c, v, n, want);
    ck_assert_msg(hd_call(hd_jit(c->scan, .device = device), &y, x) == 0, "%s of %lld on %s: %s", c->name,
        (long long)n, device, hd_error());
    for (int l = 0; l < c->leaves; l++) {
        int64_t size = n * slice_size(c, l);
        ck_assert(hd_array_size(part_of(c, y, l)) == size);
        ck_assert(!hd_read(part_of(c, y, l), v[l], size));
        for (int64_t k = 0; k < size; k++)
            ck_assert_msg(fabsf(v[l][k] - want[l][k]) <= 1e-4f * (1 + fabsf(want[l][k])),
                "%s of %lld on %s: %g, not %g, at %lld", c->name, (long long)n, device, v[l][k], want[l][k],
                (long long)k);
        free(v[l]), free(want[l]);
    }
    hd_drop(x), hd_drop(y);
}

START_TEST(values)
{
    static const int64_t lengths[] = { 0, 1, 2, 3, 8, 21 };
    Case c[CASES];
    cases(c);
    for (int k = 0; k < CASES; k++)
        for (size_t j = 0; j < sizeof lengths / sizeof *lengths; j++)
            for (int d = 0; d < DEVICES; d++)
                if (there(devices[d]) && (!d || lengths[j] == 2 || lengths[j] == 21))
                    compare(&c[k], lengths[j], devices[d]);
}
END_TEST

/* ==================== long rows are cut into blocks: a multiple of them, and not */

static hd one_by_one(hd c, hd x) { hd y = affine(c, x); return hd_tuple(y, y); }
static hd head(hd x) { return hd_index(x, 0, 0); }
static hd tail(hd x) { return hd_slice_axis(x, 0, 1, hd_dim(x, 0)); }
static hd with_head(hd first, hd rest) { return hd_concatenate(0, hd_expand_dims(first, 0), rest); }
static hd by_scan(hd x)
{
    hd first = hd_tree_map(head, x);
    return hd_tree_map(with_head, first, hd_nth(hd_scan(one_by_one, first, hd_tree_map(tail, x)), 1));
}

static hd weighed(hd x)
{
    hd y = hd_nth(x, 1);
    return hd_sum(hd_mul(y, hd_sin(hd_iota(HD_F32, 0, hd_dim(y, 0)))));
}
static hd loss(hd x) { return weighed(running_affine(x)); }
static hd loss_by_scan(hd x) { return weighed(by_scan(x)); }

static double worst(const hd_array *a, const hd_array *b)
{
    double most = 0;
    for (int l = 0; l < 2; l++) {
        const float *p = hd_data(hd_array_nth(a, l)), *q = hd_data(hd_array_nth(b, l));
        for (int64_t k = 0; k < hd_array_size(hd_array_nth(a, l)); k++)
            most = fmax(most, fabs((double)p[k] - q[k]) / (1 + fabs(q[k])));
    }
    return most;
}

static hd_array *affine_data(int64_t n)
{
    float *v = malloc((size_t)n * sizeof *v);
    hd_array *leaf[2];
    for (int l = 0; l < 2; l++) {
        for (int64_t k = 0; k < n; k++)
            v[k] = (float)((k * 29 + l) % 23 - 11) / 12;
        leaf[l] = hd_array_of(v, n);
    }
    free(v);
    return hd_array_tuple(leaf[0], leaf[1]);
}

START_TEST(long_rows)
{
    static const int64_t lengths[] = { 65536, 70000, 70003 };
    for (int j = 0; j < 3; j++) {
        hd_array *x = affine_data(lengths[j]), *want = NULL, *y = NULL, *dwant = NULL, *dy = NULL;
        ck_assert_msg(!hd_call(hd_jit(by_scan, .device = "host"), &want, x), "%s", hd_error());
        ck_assert_msg(
            !hd_call(hd_jit(hd_grad(loss_by_scan), .device = "host"), &dwant, x), "%s", hd_error());
        for (int d = 0; d < DEVICES; d++) {
            if (!there(devices[d]) || (d == 2 && j < 2))
                continue;
            ck_assert_msg(!hd_call(hd_jit(running_affine, .device = devices[d]), &y, x), "%s", hd_error());
            ck_assert_msg(worst(y, want) < 1e-5, "%s: %g", devices[d], worst(y, want));
            hd_drop(y);
            if (d == 2)
                continue;
            ck_assert_msg(!hd_call(hd_jit(hd_grad(loss), .device = devices[d]), &dy, x), "%s", hd_error());
            ck_assert_msg(worst(dy, dwant) < 1e-4, "%s: %g", devices[d], worst(dy, dwant));
            hd_drop(dy);
        }
        hd_drop(x), hd_drop(want), hd_drop(dwant);
    }
}
END_TEST

/* ==================== derivatives, by differences: of every kind of function, under jvp, vjp and vmap */

enum { N = 12 };
static hd shaped(hd x, int n, int m) { return hd_reshape(x, n, m); }
static hd squares(hd x)
{
    return hd_sum(hd_mul(hd_square(x), hd_add_c(hd_iota(HD_F64, 0, hd_dim(x, 0), hd_dim(x, 1)), 1)));
}
static hd of_norm(hd x) { return squares(running_norm(shaped(x, 4, 3))); }
static hd of_capture(hd x)
{
    return squares(
        hd_associative_scan(hd_partial(circle, hd_index(shaped(x, 4, 3), 0, 1)), shaped(x, 4, 3)));
}
static hd of_product(hd x) { return hd_sum(hd_sin(running_product(hd_reshape(x, 3, 2, 2)))); }
static hd of_back(hd x)
{
    hd a = shaped(x, 2, 6);
    return squares(hd_nth(back_affine(hd_tuple(a, hd_sin(a))), 1));
}
static hd lifted(hd x) { return hd_pad(x, hd_c(1), HD_INTS(0, 0, 0), HD_INTS(0, 7, 7), HD_INTS()); }
static hd of_large(hd x) { return hd_sum(hd_sin(running_product(lifted(hd_reshape(x, 3, 2, 2))))); }
static hd row(hd x) { return hd_nth(running_affine(hd_tuple(hd_sin(x), x)), 1); }
static hd of_lanes(hd x)
{
    return squares(hd_apply(hd_vmap(row, .in_axes = { 1 }, .out_axes = 1), shaped(x, 3, 4)));
}
static hd along(hd x) { return hd_nth(hd_apply(hd_jvp(of_back), x, hd_cos(x)), 1); }

static double value_of(hd_fn *f, const double *v)
{
    hd_array *x = hd_array_of(v, N), *y = NULL;
    ck_assert_msg(hd_call(hd_jit(f, .device = "host"), &y, x) == 0, "%s", hd_error());
    double r = hd_item(y);
    hd_drop(x), hd_drop(y);
    return r;
}

static void derivative(hd_fn *f, const char *what)
{
    double in[N], want[N], got[N];
    for (int i = 0; i < N; i++)
        in[i] = .3 + .11 * ((i * 5) % N);
    for (int i = 0; i < N; i++) {
        double a[N], b[N], h = 1e-6;
        memcpy(a, in, sizeof a), memcpy(b, in, sizeof b);
        a[i] += h, b[i] -= h;
        want[i] = (value_of(f, a) - value_of(f, b)) / (2 * h);
    }
    hd_array *x = hd_array_of(in, N);
    for (int mode = 0; mode < 2; mode++) {
        hd_array *y = NULL;
        ck_assert_msg(!hd_call(hd_jit(mode ? hd_jacfwd(f) : hd_grad(f), .device = "host"), &y, x), "%s: %s",
            what, hd_error());
        ck_assert(!hd_read(y, got, N));
        for (int i = 0; i < N; i++)
            ck_assert_msg(fabs(got[i] - want[i]) < 1e-6 * (1 + fabs(want[i])), "%s, %s: %g, not %g, at %d",
                what, mode ? "forward" : "reverse", got[i], want[i], i);
        hd_drop(y);
    }
    hd_drop(x);
}

START_TEST(derivatives)
{
    derivative(HD_FN(of_norm), "norm");
    derivative(HD_FN(of_capture), "capture");
    derivative(HD_FN(of_product), "product");
    derivative(HD_FN(of_large), "large product");
    derivative(HD_FN(of_back), "back affine");
    derivative(HD_FN(of_lanes), "lanes");
    derivative(HD_FN(along), "reverse of forward");
}
END_TEST

/* The first row is never combined with itself: of hypot(0, 0) there is no derivative. */
static hd end_of_norm(hd x) { return hd_at(running_norm(x), -1); }

START_TEST(first_row_alone)
{
    hd_array *x = hd_array_lit(float, (3), 0, 3, 4), *y = NULL;
    for (int d = 0; d < DEVICES; d++) {
        if (!there(devices[d]))
            continue;
        ck_assert_msg(!hd_call(hd_jit(hd_grad(end_of_norm), .device = devices[d]), &y, x), "%s", hd_error());
        const float *v = hd_data(y);
        ck_assert_msg(v[0] == 0 && fabsf(v[1] - .6f) < 1e-6f && fabsf(v[2] - .8f) < 1e-6f, "%s: %g %g %g",
            devices[d], v[0], v[1], v[2]);
        hd_drop(y);
    }
    hd_drop(x);
}
END_TEST

/* Of as many axes as there may be. */
static hd many_axes(hd x)
{
    hd_ints shape = { HD_MAX_RANK, { 4, 3, 50, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 } };
    return hd_ravel(hd_associative_scan(hd_partial(circle, hd_c(.25)), hd_reshape_n(x, shape)));
}
static hd many_rows(hd x)
{
    return hd_ravel(hd_associative_scan(hd_partial(circle, hd_full(hd_c(.25), 150)), hd_reshape(x, 4, 150)));
}
/* the later one */
static hd not_by_element(hd a, hd b) { return hd_add(b, hd_sub(hd_max(a), hd_max(a))); }
static hd many_pairs(hd x)
{
    hd_ints shape = { HD_MAX_RANK, { 4, 3, 50, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 } };
    return hd_ravel(hd_associative_scan(not_by_element, hd_reshape_n(x, shape)));
}

START_TEST(ranks)
{
    float v[600];
    for (int k = 0; k < 600; k++)
        v[k] = (float)(k % 17 - 8) / 8;
    hd_array *x = hd_array_of(v, 600), *y = NULL, *z = NULL, *w = NULL;
    ck_assert_msg(!hd_call(many_axes, &y, x) && !hd_call(many_rows, &z, x) && !hd_call(many_pairs, &w, x),
        "%s", hd_error());
    ck_assert(!memcmp(hd_data(y), hd_data(z), sizeof v) && !memcmp(hd_data(w), v, sizeof v));
    hd_drop(x), hd_drop(y), hd_drop(z), hd_drop(w);
}
END_TEST

/* ==================== how much it is */

static hd rows_of(hd x) { return hd_apply(hd_vmap(row), x); }

static hd_cost_info cost_of(hd_fn *f, hd_array *x)
{
    hd_cost_info c;
    ck_assert_msg(hd_cost(hd_jit(f, .device = "opencl:0"), &c, x) == 0, "%s", hd_error());
    hd_drop(x);
    return c;
}

START_TEST(kernels)
{
    if (!there("opencl:0"))
        return;
    ck_assert_int_eq(cost_of(HD_FN(running_affine), affine_data(1000)).kernels, 1);
    ck_assert_int_eq(cost_of(HD_FN(running_affine), affine_data(65536)).kernels, 1);
    ck_assert_int_le(cost_of(HD_FN(running_affine), affine_data(1 << 18)).kernels, 5);
    ck_assert_int_eq(cost_of(HD_FN(running_sum), hd_array_abstract(HD_F32, 1000)).kernels, 1);
    ck_assert_int_eq(cost_of(HD_FN(running_norm), hd_array_abstract(HD_F32, 300, 40)).kernels, 1);
    ck_assert_int_eq(cost_of(HD_FN(running_product), hd_array_abstract(HD_F32, 500, 2, 2)).kernels, 1);
    ck_assert_int_eq(cost_of(HD_FN(rows_of), hd_array_abstract(HD_F32, 64, 100)).kernels, 1);
    hd_cost_info c = cost_of(HD_FN(running_product), hd_array_abstract(HD_F32, 512, 16, 16));
    ck_assert_msg(c.launches <= 2 * 9 + 2, "%d launches", (int)c.launches);     /* no step for each slice */
}
END_TEST

/* ==================== what it refuses */

static hd narrower(hd a, hd b) { return hd_cast(hd_add(a, b), HD_F16); }
static hd wrong_dtype(hd x) { return hd_associative_scan(narrower, x); }
static hd wrong_op(hd x) { return hd_associative_scan(hd_dot, hd_stack(0, x, x)); }
static hd wrong_tree(hd x) { return hd_associative_scan(later, hd_tuple(x, hd_c(1))); }
static hd pair(hd a, hd b) { return hd_tuple(a, b); }
static hd wrong_result(hd x) { return hd_associative_scan(pair, x); }
static hd wrong_sizes(hd x) { return hd_associative_scan(affine, hd_tuple(x, hd_concatenate(0, x, x))); }
static hd wrong_axis(hd x) { return hd_associative_scan(hd_add, x, .axis = 1); }

START_TEST(refusals)
{
    hd_array *x = hd_array_lit(float, (3), 1, 2, 3), *y = NULL;
    ck_assert(hd_call(wrong_dtype, &y, x) == HD_ESHAPE &&
        strstr(hd_error(), "narrower is given slices f32[] and returns f16[]"));
    ck_assert(strstr(hd_error(), "test_associative.c"));
    ck_assert_msg(
        hd_call(wrong_op, &y, x) == HD_ESHAPE && strstr(hd_error(), ": hd_dot is given slices f32[3]"), "%s",
        hd_error());
    ck_assert(hd_call(wrong_tree, &y, x) == HD_ESHAPE && strstr(hd_error(), "xs[1]"));
    ck_assert(
        hd_call(wrong_result, &y, x) == HD_ESHAPE && strstr(hd_error(), "must return what it is given"));
    ck_assert(hd_call(wrong_sizes, &y, x) == HD_ESHAPE && strstr(hd_error(), "there are 3 slices"));
    ck_assert(hd_call(wrong_axis, &y, x) == HD_EINVAL && strstr(hd_error(), "hd_associative_scan"));
    hd_drop(x);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("associative");
    TCase *c = suite_case(s);
    tcase_add_test(c, values);
    tcase_add_test(c, long_rows);
    tcase_add_test(c, derivatives);
    tcase_add_test(c, first_row_alone);
    tcase_add_test(c, ranks);
    tcase_add_test(c, kernels);
    tcase_add_test(c, refusals);
    return suite_run(s);
}
