/*
 * test_trees.c - derivatives, lanes and shapes of functions whose arguments and results are trees: Jacobians
 * and Hessians are trees of trees, argument numbers are lists and count from either end, parts may be
 * nothing, axes mirror trees; hd_eval_shape says of every transform what a call gives.
 */
#include <math.h>
#include <stdlib.h>

#include "suite.h"

/* ==================== a function of three arguments: parameters, x, an integer; and what it gives */

static hd value(hd p, hd x, hd n)
{
    hd h = hd_tanh(hd_add(hd_dot(hd_get(p, "w"), x), hd_nth(hd_get(p, "t"), 0)));
    hd s = hd_sum(hd_mul(h, hd_nth(hd_get(p, "t"), 1)));
    return hd_dict({ "h", h }, { "s", hd_tuple(hd_mul(s, hd_cast(n, HD_F64)), HD_NIL) });
}
static hd with_aux(hd p, hd x, hd n)
{
    return hd_tuple(value(p, x, n), hd_dict({ "n", n }, { "none", HD_NIL }, { "x", hd_square(x) }));
}
static hd scalar(hd p, hd x, hd n)
{
    hd y = value(p, x, n);
    return hd_add(hd_sum(hd_exp(hd_get(y, "h"))), hd_square(hd_nth(hd_get(y, "s"), 0)));
}
static hd scalar_with_aux(hd p, hd x, hd n) { return hd_tuple(scalar(p, x, n), hd_tuple(n, HD_NIL, x)); }

/* All that is differentiable in one array, t, w, x, so that differences are taken along its elements. */
enum { N_ALL = 12 };
static double at[N_ALL];

static hd_array *params(const double *v)
{
    return hd_array_dict({ "t", hd_array_tuple(hd_array_of(v, 2), hd_array_of(v + 2, 1)) },
        { "w", hd_array_of(v + 3, 2, 3) });
}

static void arguments(hd_array **a)
{
    for (int i = 0; i < N_ALL; i++)
        at[i] = .2 + .13 * ((i * 5) % 7 - 3);
    a[0] = params(at), a[1] = hd_array_of(at + 9, 3), a[2] = hd_array_lit(int, (), 3);
}

static void drop_all(hd_array **a, int n)
{
    for (int i = 0; i < n; i++)
        hd_drop(a[i]);
}

/* h and s of value, or the scalar alone, at v. */
static void evaluate(hd_fn *f, const double *v, double *out)
{
    hd_array *p = params(v), *x = hd_array_of(v + 9, 3), *n = hd_array_lit(int, (), 3), *y = NULL;
    ck_assert_msg(!hd_call(f, &y, p, x, n), "%s", hd_error());
    if (hd_array_len(y)) {
        ck_assert(!hd_read(hd_array_get(y, "h"), out, 2));
        out[2] = hd_item(hd_array_nth(hd_array_get(y, "s"), 0));
    } else
        out[0] = hd_item(y);
    hd_drop(p), hd_drop(x), hd_drop(n), hd_drop(y);
}

/* d result k / d element i */
static void differences(hd_fn *f, double d[3][N_ALL])
{
    for (int i = 0; i < N_ALL; i++) {
        double a[N_ALL], b[N_ALL], ya[3], yb[3];
        memcpy(a, at, sizeof a), memcpy(b, at, sizeof b);
        a[i] += 1e-6, b[i] -= 1e-6;
        evaluate(f, a, ya), evaluate(f, b, yb);
        for (int k = 0; k < 3; k++)
            d[k][i] = (ya[k] - yb[k]) / 2e-6;
    }
}

/* Is this array, of shape out + in, the derivatives of results k .. k+rows-1 by elements i ..
 * i+columns-1? */
static void block(
    const hd_array *a, double d[3][N_ALL], int k, int rows, int i, int columns, const char *what)
{
    ck_assert_msg(a && !hd_array_len(a) && hd_array_size(a) == rows * columns, "%s: a wrong block", what);
    const double *v = hd_data(a);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            ck_assert_msg(fabs(v[r * columns + c] - d[k + r][i + c]) < 1e-6, "%s: %g, not %g", what,
                v[r * columns + c], d[k + r][i + c]);
}

static void by_params(const hd_array *j, double d[3][N_ALL], int k, int rows, const char *what)
{
    const hd_array *t = hd_array_get(j, "t"), *w = hd_array_get(j, "w");
    block(hd_array_nth(t, 0), d, k, rows, 0, 2, what), block(hd_array_nth(t, 1), d, k, rows, 2, 1, what);
    block(w, d, k, rows, 3, 6, what);
    ck_assert(hd_array_shape(w).n == (rows > 1) + 2);
}

static void jacobians(bool reverse)
{
    hd_array *a[3], *j = NULL, *aux[2] = { NULL, NULL };
    double d[3][N_ALL];
    arguments(a);
    differences(HD_FN(value), d);

    hd_fn *f = reverse ? hd_jacrev(value) : hd_jacfwd(value);
    ck_assert_msg(!hd_call(f, &j, a[0], a[1], a[2]), "%s", hd_error());
    by_params(hd_array_get(j, "h"), d, 0, 2, "one argument"),
        by_params(hd_array_nth(hd_array_get(j, "s"), 0), d, 2, 1, "one argument");
    ck_assert(
        hd_array_len(hd_array_get(j, "s")) == 2 && !hd_array_len(hd_array_nth(hd_array_get(j, "s"), 1)));
    hd_drop(j), j = NULL;

    f = reverse ? hd_jacrev(value, .argnums = HD_INTS(-2, 0)) : hd_jacfwd(value, .argnums = HD_INTS(-2, 0));
    ck_assert_msg(!hd_call(f, &j, a[0], a[1], a[2]), "%s", hd_error());
    for (int k = 0; k < 2; k++) {
        const hd_array *y = k ? hd_array_nth(hd_array_get(j, "s"), 0) : hd_array_get(j, "h");
        ck_assert(hd_array_len(y) == 2);
        block(hd_array_nth(y, 0), d, 2 * k, 2 - k, 9, 3, "two arguments");
        by_params(hd_array_nth(y, 1), d, 2 * k, 2 - k, "two arguments");
    }
    hd_drop(j), j = NULL;

    f = reverse ? hd_jacrev(with_aux, .has_aux = true, .argnums = HD_INTS(1)) :
        hd_jacfwd(with_aux, .has_aux = true, .argnums = HD_INTS(1));
    ck_assert_msg(!hd_call(f, aux, a[0], a[1], a[2]), "%s", hd_error());
    block(hd_array_get(aux[0], "h"), d, 0, 2, 9, 3, "aux");
    ck_assert(hd_item(hd_array_get(aux[1], "n")) == 3 && !hd_array_len(hd_array_get(aux[1], "none")));
    ck_assert(((const double *)hd_data(hd_array_get(aux[1], "x")))[1] == at[10] * at[10]);
    drop_all(aux, 2), drop_all(a, 3);
}

START_TEST(jacobian_trees)
{
    jacobians(false);
    jacobians(true);
}
END_TEST

static void flat_gradient(const hd_array *g, double *out)      /* of tuple(parameters, x) */
{
    const hd_array *t = hd_array_get(hd_array_nth(g, 0), "t");
    ck_assert(!hd_read(hd_array_nth(t, 0), out, 2) && !hd_read(hd_array_nth(t, 1), out + 2, 1));
    ck_assert(!hd_read(hd_array_get(hd_array_nth(g, 0), "w"), out + 3, 6) &&
        !hd_read(hd_array_nth(g, 1), out + 9, 3));
}

START_TEST(gradients)
{
    hd_array *a[3], *g = NULL, *vg[2] = { NULL, NULL }, *ga[2] = { NULL, NULL };
    double d[3][N_ALL], got[N_ALL];
    arguments(a);
    differences(HD_FN(scalar), d);
    ck_assert_msg(
        !hd_call(hd_grad(scalar, .argnums = HD_INTS(0, -2)), &g, a[0], a[1], a[2]), "%s", hd_error());
    flat_gradient(g, got);
    for (int i = 0; i < N_ALL; i++)
        ck_assert_msg(fabs(got[i] - d[0][i]) < 1e-6, "%d: %g, not %g", i, got[i], d[0][i]);
    ck_assert(!hd_call(
        hd_value_and_grad(scalar_with_aux, .argnums = HD_INTS(-2), .has_aux = true), vg, a[0], a[1], a[2]));
    ck_assert(hd_array_len(vg[0]) == 2 && hd_array_len(hd_array_nth(vg[0], 1)) == 3);
    block(vg[1], d, 0, 1, 9, 3, "value and gradient");
    ck_assert(!hd_call(
        hd_grad(scalar_with_aux, .argnums = HD_INTS(-2, 0), .has_aux = true), ga, a[0], a[1], a[2]));
    block(hd_array_nth(ga[0], 0), d, 0, 1, 9, 3, "gradient with aux");
    by_params(hd_array_nth(ga[0], 1), d, 0, 1, "gradient with aux");
    ck_assert(hd_item(hd_array_nth(ga[1], 0)) == 3);
    hd_drop(g), drop_all(vg, 2), drop_all(ga, 2), drop_all(a, 3);
}
END_TEST

/* The Hessian's block [i][j] is the derivative by j of the gradient by i. */
START_TEST(hessians)
{
    hd_array *a[3], *h = NULL, *ha[2] = { NULL, NULL };
    double want[N_ALL][N_ALL];
    arguments(a);
    for (int i = 0; i < N_ALL; i++) {
        double side[2][N_ALL], v[N_ALL];
        for (int s = 0; s < 2; s++) {
            hd_array *b[3], *g = NULL;
            memcpy(v, at, sizeof v);
            v[i] += s ? -1e-6 : 1e-6;
            b[0] = params(v), b[1] = hd_array_of(v + 9, 3), b[2] = hd_keep(a[2]);
            ck_assert(!hd_call(hd_grad(scalar, .argnums = HD_INTS(0, 1)), &g, b[0], b[1], b[2]));
            flat_gradient(g, side[s]);
            hd_drop(g), drop_all(b, 3);
        }
        for (int j = 0; j < N_ALL; j++)
            want[j][i] = (side[0][j] - side[1][j]) / 2e-6;
    }
    ck_assert_msg(
        !hd_call(hd_hessian(scalar, .argnums = HD_INTS(0, 1)), &h, a[0], a[1], a[2]), "%s", hd_error());
    /* [p.w][x] */
    const hd_array *wx = hd_array_nth(hd_array_get(hd_array_nth(h, 0), "w"), 1);
    /* [x][p.t[0]] */
    const hd_array *xt = hd_array_nth(hd_array_get(hd_array_nth(hd_array_nth(h, 1), 0), "t"), 0);
    const hd_array *ww = hd_array_get(hd_array_nth(hd_array_get(hd_array_nth(h, 0), "w"), 0), "w");
    ck_assert(hd_array_shape(wx).n == 3 && hd_array_shape(ww).n == 4 && hd_array_dim(xt, 0) == 3);
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 6; j++) {
            ck_assert(fabs(((const double *)hd_data(ww))[i * 6 + j] - want[3 + i][3 + j]) < 1e-5);
            if (j < 3)
                ck_assert(fabs(((const double *)hd_data(wx))[i * 3 + j] - want[3 + i][9 + j]) < 1e-5);
            if (i < 3 && j < 2)
                ck_assert(fabs(((const double *)hd_data(xt))[i * 2 + j] - want[9 + i][j]) < 1e-5);
        }
    ck_assert_msg(
        !hd_call(hd_hessian(scalar_with_aux, .argnums = HD_INTS(1), .has_aux = true), ha, a[0], a[1], a[2]),
        "%s", hd_error());
    ck_assert(hd_array_size(ha[0]) == 9 && hd_item(hd_array_nth(ha[1], 0)) == 3);
    ck_assert(fabs(((const double *)hd_data(ha[0]))[5] - want[10][11]) < 1e-5);
    hd_drop(h), drop_all(ha, 2), drop_all(a, 3);
}
END_TEST

static void refused(hd_fn *f, hd_array **a, const char *word)
{
    hd_array *y = NULL;
    ck_assert_msg(
        hd_call(f, &y, a[0], a[1], a[2]) && strstr(hd_error(), word) && strstr(hd_error(), "test_trees.c"),
        "%s", hd_error());
}

START_TEST(refusals)
{
    hd_array *a[3];
    arguments(a);
    refused(hd_grad(scalar, .argnums = HD_INTS(3)), a, "no argument 3");
    refused(hd_jacfwd(value, .argnums = HD_INTS(-4)), a, "no argument -4");
    refused(hd_jacrev(value, .argnums = HD_INTS(1, -2)), a, "argument 1 is named twice");
    refused(hd_hessian(scalar, .argnums = HD_INTS(0, 2)), a, "argument 2 is i32[]");
    refused(hd_jacrev(scalar, .has_aux = true), a, "must return tuple(value, aux)");
    refused(hd_grad(value), a, "must return a real scalar");
    drop_all(a, 3);
}
END_TEST

/* ==================== lanes */

static hd holes(hd x) { return hd_tuple(hd_sin(x), HD_NIL, hd_dict({ "a", HD_NIL }, { "b", hd_sum(x) })); }
static hd nested(hd t, hd d, hd s)
{
    hd a = hd_nth(hd_nth(t, 0), 0), b = hd_nth(hd_nth(t, 0), 1), c = hd_nth(t, 1);
    return hd_tuple(hd_tuple(hd_add(a, b), c), hd_dict({ "k", hd_mul(hd_get(d, "k"), s) }));
}
static hd absent(hd x, hd none) { return hd_ok(none) ? hd_fail("there is something") : hd_mul_c(x, 2); }
static hd absent_inside(hd x) { return hd_apply(hd_vmap(absent), x, HD_NIL); }
static hd same_for_all(hd x) { return hd_tuple(hd_sum(x), x); }
static hd numbered(hd x) { return hd_add(x, hd_cast(hd_axis_index("i"), HD_F32)); }

START_TEST(lanes)
{
    hd_array *x = hd_array_lit(float, (2, 3), 1, 2, 3, 4, 5, 6), *y = NULL;
    ck_assert_msg(!hd_call(hd_vmap(holes), &y, x), "%s", hd_error());
    ck_assert(hd_array_len(y) == 3 && hd_array_dim(hd_array_nth(y, 0), 0) == 2 &&
        !hd_array_len(hd_array_nth(y, 1)));
    ck_assert(((const float *)hd_data(hd_array_get(hd_array_nth(y, 2), "b")))[1] == 15);
    hd_drop(y), y = NULL;
    ck_assert_msg(!hd_call(hd_vmap(holes, .out_tree = "1, none, {a: 0, b: -1}"), &y, x), "%s", hd_error());
    ck_assert(hd_array_dim(hd_array_nth(y, 0), 0) == 3 && hd_array_dim(hd_array_nth(y, 0), 1) == 2);
    hd_drop(y), y = NULL;
    ck_assert_msg(!hd_call(absent_inside, &y, x) && ((const float *)hd_data(y))[5] == 12, "%s", hd_error());
    hd_drop(y), y = NULL;
    ck_assert_msg(
        !hd_call(
            hd_vmap(same_for_all, .in_axes = { HD_NONE }, .out_tree = "none, 1", .axis_size = 4), &y, x),
        "%s", hd_error());
    ck_assert(hd_item(hd_array_nth(y, 0)) == 21 && hd_array_dim(hd_array_nth(y, 1), 1) == 4);
    hd_drop(y), y = NULL;
    ck_assert_msg(
        !hd_call(hd_vmap(numbered, .in_axes = { HD_NONE }, .axis_size = 2, .axis_name = "i", .out_axes = -1),
            &y, x),
        "%s", hd_error());
    ck_assert(hd_array_shape(y).n == 3 && hd_array_dim(y, 2) == 2 && ((const float *)hd_data(y))[1] == 2);
    hd_drop(x), hd_drop(y);
}
END_TEST

START_TEST(nested_axes)
{
    hd_array *v = hd_array_lit(float, (2, 3), 1, 2, 3, 4, 5, 6), *one = hd_array_lit(float, (3), 7, 8, 9),
             *y = NULL;
    hd_array *t = hd_array_tuple(hd_array_tuple(hd_keep(v), hd_keep(one)), hd_keep(v)),
             *d = hd_array_dict({ "k", hd_keep(v) });
    hd_array *s = hd_array_lit(float, (2), 2, 3);
    hd_fn *f = hd_vmap(nested, .in_tree = "((0, none), -2), {k: 0}, 0", .out_tree = "(1, 0), {k: -1}");
    ck_assert_msg(!hd_call(f, &y, t, d, s), "%s", hd_error());
    const float *a = hd_data(hd_array_nth(hd_array_nth(y, 0), 0)),
                *k = hd_data(hd_array_get(hd_array_nth(y, 1), "k"));
    ck_assert(a[0] == 8 && a[1] == 11 && k[0] == 2 && k[1] == 12);
    ck_assert(!memcmp(hd_data(hd_array_nth(hd_array_nth(y, 0), 1)), hd_data(v), 24));
    hd_drop(v), hd_drop(one), hd_drop(t), hd_drop(d), hd_drop(s), hd_drop(y);
}
END_TEST

/* A result with nothing in it is an argument again. */
static hd through(hd x, hd c) { return hd_nth(hd_apply(hd_vjp(holes), x, c), 1); }

START_TEST(nothing_again)
{
    hd_array *x = hd_array_lit(float, (3), 1, 2, 3), *y = NULL, *pair[2] = { NULL, NULL }, *dx = NULL;
    ck_assert(!hd_call(holes, &y, x));
    ck_assert_msg(!hd_call(through, &dx, x, y), "%s", hd_error());
    ck_assert_msg(!hd_call(hd_jvp(holes), pair, x, x), "%s", hd_error());
    hd_drop(dx), hd_drop(y), dx = y = NULL;
    ck_assert_msg(!hd_call(through, &dx, x, pair[1]), "%s", hd_error());
    hd_drop(x), hd_drop(dx), drop_all(pair, 2);
}
END_TEST

/* Nothing for a direction, or a part of it, is zero, and so it is for a cotangent. */
static hd pieces(hd p, hd x)
{
    return hd_tuple(hd_mul(hd_get(p, "a"), hd_sin(x)), hd_tuple(hd_sum(hd_exp(hd_get(p, "b"))), x));
}
static hd some(hd p, hd x, hd whole)
{
    hd none = hd_zeros_like(hd_get(p, "b")),
       part = hd_dict({ "a", x }, { "b", whole.trace ? none : HD_NIL });
    hd zero = hd_dict({ "a", none }, { "b", none });
    hd a = hd_apply(hd_jvp(pieces), p, x, part, hd_cos(x)),
       b = hd_apply(hd_jvp(pieces), p, x, whole.trace ? zero : HD_NIL, x);
    hd back = hd_tuple(x, hd_tuple(whole.trace ? hd_c(0) : HD_NIL, x));
    hd last = hd_tuple(whole.trace ? none : HD_NIL, hd_tuple(hd_c(2), whole.trace ? none : HD_NIL));
    return hd_tuple(a, b, hd_apply(hd_vjp(pieces), p, x, back), hd_apply(hd_vjp(pieces), p, x, last));
}
static hd some_absent(hd p, hd x) { return some(p, x, HD_NIL); }
static hd some_zero(hd p, hd x) { return some(p, x, x); }
static hd too_little(hd p, hd x) { return hd_apply(hd_jvp(pieces), p, x, hd_dict({ "a", x }), x); }

static void equal(const hd_array *a, const hd_array *b)
{
    ck_assert(hd_array_len(a) == hd_array_len(b) && hd_array_size(a) == hd_array_size(b));
    for (int k = 0; k < hd_array_len(a); k++)
        equal(hd_array_nth(a, k), hd_array_nth(b, k));
    for (int64_t k = 0; !hd_array_len(a) && k < hd_array_size(a); k++)
        ck_assert(((const float *)hd_data(a))[k] == ((const float *)hd_data(b))[k]);
}

START_TEST(nothing_is_zero)
{
    hd_array *x = hd_array_lit(float, (3), 1, 2, 3),
             *p = hd_array_dict({ "a", hd_keep(x) }, { "b", hd_keep(x) }), *y = NULL, *z = NULL;
    ck_assert_msg(!hd_call(some_absent, &y, p, x) && !hd_call(some_zero, &z, p, x), "%s", hd_error());
    equal(y, z);
    hd_drop(y), hd_drop(z);
    ck_assert_msg(
        hd_call(too_little, &y, p, x) == HD_EINVAL && strstr(hd_error(), "its direction {a: f32[3]}"), "%s",
        hd_error());
    hd_drop(x), hd_drop(p);
}
END_TEST

/* ==================== shapes without values */

static hd sampled(hd x) { return hd_add(hd_sum(x), hd_random_normal(hd_key(7), HD_F32, 5)); }
static hd centered(hd x) { return hd_tuple(hd_sub(x, hd_pmean(x, "i")), hd_all_gather(x, "i", 0, false)); }
static hd step(hd c, hd x) { c = hd_tanh(hd_add(c, x)); return hd_tuple(c, hd_tuple(hd_sum(c), HD_NIL)); }
static hd scanned(hd x) { return hd_scan(step, hd_zeros(HD_F32, 4), x, .reverse = true, .unroll = 2); }
static hd scanned_total(hd x) { return hd_sum(hd_nth(scanned(x), 0)); }
static hd below(hd x) { return hd_lt(hd_sum(x), hd_c(1e3)); }
static hd doubled(hd x) { return hd_mul_c(x, 2); }
static hd looped(hd x) { return hd_while(below, doubled, hd_abs(hd_add_c(x, 1)), .max_trips = 20); }
static hd looped_total(hd x) { return hd_sum(looped(x)); }
static hd chosen(hd x) { return hd_cond(hd_gt(hd_sum(x), hd_c(0)), doubled, hd_sin, x); }
static hd running(hd x) { return hd_associative_scan(hd_maximum, x, .axis = -1); }
static hd own_jvp(hd x, hd dx) { return hd_tuple(hd_sin(x), hd_mul(dx, hd_cos(x))); }
static hd own(hd x) { return hd_sum(hd_apply(hd_custom_jvp(hd_sin, own_jvp), x)); }
static hd cut(hd x) { return hd_sum(hd_apply(hd_checkpoint(scanned_total), x)); }
static hd lists(hd x) { return hd_tuple(hd_argsort(x, 0), hd_top_k(x, 2, 0), hd_unique(hd_ravel(x), 3)); }

static void same_shapes(const hd_array *shape, const hd_array *data, const char *what)
{
    ck_assert_msg(hd_array_len(shape) == hd_array_len(data), "%s", what);
    for (int k = 0; k < hd_array_len(data); k++)
        same_shapes(hd_array_nth(shape, k), hd_array_nth(data, k), what);
    hd_ints a = hd_array_shape(shape), b = hd_array_shape(data);
    ck_assert_msg(hd_array_dtype(shape) == hd_array_dtype(data) && a.n == b.n &&
            !memcmp(a.v, b.v, sizeof *a.v * (size_t)a.n),
        "%s", what);
}

START_TEST(shapes)
{
    struct { const char *name; hd_fn *f;
    } all[] = {
        { "sampled", HD_FN(sampled) },
        { "named", hd_vmap(centered, .axis_name = "i") },
        { "scan", HD_FN(scanned) },
        { "lanes of scan", hd_vmap(hd_vmap(step)) },
        { "gradient of scan", hd_grad(scanned_total) },
        { "hessian of scan", hd_hessian(scanned_total) },
        { "while", HD_FN(looped) },
        { "gradient of while", hd_grad(looped_total) },
        { "cond", HD_FN(chosen) },
        { "lanes of cond", hd_vmap(chosen) },
        { "jacfwd", hd_jacfwd(running) },
        { "jacrev", hd_jacrev(chosen) },
        { "own", hd_value_and_grad(own) },
        { "checkpoint", hd_grad(cut) },
        { "linearize", hd_linearize(scanned) },
        { "jit", hd_jit(hd_jacrev(hd_checkpoint(scanned))) },
        { "lists", HD_FN(lists) },
        { "lanes of lists", hd_vmap(lists, .in_axes = { 1 }, .out_axes = 1) },
    };
    hd_array *x = hd_array_lit(float, (3, 4), 1, -2, 3, .5, .25, .125, 2, 3, 1, .75, -.5, -.25),
             *s = hd_array_abstract(HD_F32, 3, 4);
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        hd_array *y = NULL, *shape = NULL, *args[2] = { x, x }, *types[2] = { s, s };
        int n = all[k].f == hd_vmap(hd_vmap(step)) ? 2 : 1;
        ck_assert_msg(!hd_eval_shape_n(all[k].f, &shape, 1, types, n), "%s: %s", all[k].name, hd_error());
        ck_assert_msg(!hd_call_n(all[k].f, &y, 1, args, n), "%s: %s", all[k].name, hd_error());
        same_shapes(shape, y, all[k].name);
        ck_assert_msg(hd_array_len(shape) || !hd_data(shape), "%s", all[k].name);
        hd_drop(y), hd_drop(shape);
    }
    hd_drop(x), hd_drop(s);
}
END_TEST

START_TEST(shapes_of_two)
{
    hd_array *x = hd_array_lit(float, (3), 1, -2, 3), *y[2] = { NULL, NULL }, *shape[2] = { NULL, NULL },
             *d = NULL, *dshape = NULL;
    ck_assert(!hd_eval_shape(hd_jvp(holes), shape, x, x) && !hd_call(hd_jvp(holes), y, x, x));
    same_shapes(shape[0], y[0], "jvp"), same_shapes(shape[1], y[1], "jvp");
    ck_assert(!hd_eval_shape(through, &dshape, x, shape[1]) && !hd_call(through, &d, x, y[1]));
    same_shapes(dshape, d, "vjp");
    hd_drop(d), hd_drop(dshape), d = dshape = NULL;
    ck_assert(!hd_eval_shape(hd_linear_transpose(doubled), &dshape, x, x) &&
        !hd_call(hd_linear_transpose(doubled), &d, x, x));
    same_shapes(dshape, d, "linear transpose");
    hd_drop(x), drop_all(y, 2), drop_all(shape, 2), hd_drop(d), hd_drop(dshape);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("trees");
    TCase *c = suite_case(s);
    tcase_add_test(c, jacobian_trees);
    tcase_add_test(c, gradients);
    tcase_add_test(c, hessians);
    tcase_add_test(c, refusals);
    tcase_add_test(c, lanes);
    tcase_add_test(c, nested_axes);
    tcase_add_test(c, nothing_again);
    tcase_add_test(c, nothing_is_zero);
    tcase_add_test(c, shapes);
    tcase_add_test(c, shapes_of_two);
    return suite_run(s);
}
