/*
 * test_linear.c - derivatives cut in two: hd_linearize computes what does not depend on directions,
 * hd_linearized is linear. It gives what hd_jvp gives and computes nothing of the function again; its
 * transpose gives what hd_vjp gives. And transposes of linear functions of several trees, with messages for
 * those that are not linear.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "suite.h"

/* ==================== functions of (parameters, x), which have all that derivatives meet */

static hd layers(hd p, hd x)
{
    hd h = hd_tanh(hd_dot(hd_get(p, "w"), x)), o = hd_softmax(hd_mul(hd_exp(hd_get(p, "b")), h), 0);
    return hd_tuple(hd_dict({ "o", o }, { "n", hd_sum(hd_cast(hd_gt(h, hd_c(0)), HD_I32)) }),
        hd_sum(hd_sin(hd_cumsum(h, 0))));
}
static hd cell(hd w, hd c, hd x)
{
    c = hd_tanh(hd_add(hd_dot(w, c), x));
    return hd_tuple(c, hd_sum(hd_square(c)));
}
static hd recurrent(hd p, hd x)
{
    return hd_scan(hd_partial(cell, hd_get(p, "w")), hd_get(p, "b"), hd_stack(0, x, hd_sin(x), hd_cos(x)));
}
static hd small(hd s) { return hd_lt(hd_nth(s, 1), hd_c(3)); }
static hd more(hd s) { return hd_tuple(hd_sin(hd_mul_c(hd_nth(s, 0), 1.5)), hd_add_c(hd_nth(s, 1), 1)); }
static hd looping(hd p, hd x)
{
    return hd_mul(hd_get(p, "b"), hd_nth(hd_while(small, more, hd_tuple(x, hd_c(0))), 0));
}
static hd wave(hd b, hd x) { return hd_mul(hd_exp(b), hd_sin(x)); }
static hd other(hd b, hd x) { return hd_mul(b, x); }
static hd branching(hd p, hd x)
{
    return hd_cond(hd_gt(hd_sum(x), hd_c(0)), wave, other, hd_get(p, "b"), x);
}
static hd picked(hd p, hd x)
{
    hd at = hd_argsort(x, 0);
    return hd_tuple(hd_take(hd_square(x), at, 0), HD_NIL, hd_max(hd_get(p, "w"), 1), hd_abs(hd_get(p, "b")));
}
static hd own_rule(hd x, hd dx) { return hd_tuple(hd_exp(x), hd_mul(dx, hd_exp(x))); }
static hd ruled(hd p, hd x) { return hd_mul(hd_get(p, "b"), hd_apply(hd_custom_jvp(hd_exp, own_rule), x)); }
static hd straight(hd p, hd x) { return hd_tuple(x, hd_get(p, "b"), hd_sum(hd_get(p, "w"))); }

/* gone: what the linear part has none of */
typedef struct Case { const char *name; hd_fn *f; const char *gone; } Case;
enum { CASES = 7 };
static void cases(Case *c)
{
    const Case all[CASES] = {
        { "layers", HD_FN(layers), "tanh" },          { "recurrent", HD_FN(recurrent), "tanh" },
        { "looping", HD_FN(looping), NULL },         { "branching", HD_FN(branching), "exp" },
        { "picked", HD_FN(picked), "sort" },          { "straight", HD_FN(straight), NULL },
        { "ruled", HD_FN(ruled), "exp" },
    };
    memcpy(c, all, sizeof all);
}

/* (parameters, x) number k */
static void point(int k, hd_array **p, hd_array **x)
{
    float v[20];
    for (int i = 0; i < 20; i++)
        v[i] = .1f + (float)((i * 7 + 3 * k) % 13 - 5) / 8;
    *p = hd_array_dict({ "w", hd_array_of(v, 3, 3) }, { "b", hd_array_of(v + 9, 3) });
    *x = hd_array_of(v + 13, 3);
}

static void same(const hd_array *a, const hd_array *b, const char *what)
{
    ck_assert(hd_array_len(a) == hd_array_len(b));
    for (int k = 0; k < hd_array_len(a); k++)
        if (hd_array_nth(a, k))
            same(hd_array_nth(a, k), hd_array_nth(b, k), what);
    if (hd_array_len(a) || hd_array_dtype(a) != HD_F32)
        return;
    const float *p = hd_data(a), *q = hd_data(b);
    ck_assert(hd_array_size(a) == hd_array_size(b));
    for (int64_t k = 0; k < hd_array_size(a); k++)
        ck_assert_msg(fabsf(p[k] - q[k]) <= 1e-5f * (1 + fabsf(q[k])), "%s: %g, not %g", what, p[k], q[k]);
}

/* One call finds the residuals, others use them. */
static void against_jvp(const Case *c, const char *device)
{
    hd_array *p, *x, *first[2] = { NULL, NULL }, *want[2] = { NULL, NULL };
    point(0, &p, &x);
    int e = hd_call(hd_jit(hd_linearize(c->f), .device = device), first, p, x);
    ck_assert_msg(e == 0, "%s on %s: %s", c->name, device, hd_error());
    for (int k = 1; k < 3; k++) {
        hd_array *dp, *dx, *dy = NULL;
        point(k, &dp, &dx);
        ck_assert_msg(!hd_call(hd_jit(hd_linearized(c->f), .device = device), &dy, first[1], dp, dx),
            "%s: %s", c->name, hd_error());
        ck_assert_msg(
            !hd_call(hd_jit(hd_jvp(c->f), .device = device), want, p, x, dp, dx), "%s", hd_error());
        same(first[0], want[0], c->name), same(dy, want[1], c->name);
        hd_drop(dp), hd_drop(dx), hd_drop(dy), hd_drop(want[0]), hd_drop(want[1]);
        want[0] = want[1] = NULL;
    }
    hd_drop(p), hd_drop(x), hd_drop(first[0]), hd_drop(first[1]);
}

START_TEST(values)
{
    Case c[CASES];
    cases(c);
    for (int k = 0; k < CASES; k++)
        for (int d = 0; d < DEVICES; d++)
            if (there(devices[d]))
                against_jvp(&c[k], devices[d]);
}
END_TEST

static int count(const char *text, const char *word)
{
    int n = 0;
    for (; (text = strstr(text, word)); text++)
        n++;
    return n;
}

static char *text_of(hd_fn *f, hd_array *a, hd_array *b, hd_array *c)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    ck_assert_msg(hd_print_graph(file, f, a, b, c) == 0, "%s", hd_error());
    fclose(file);
    return text;
}

/* The linear part has nothing of the function itself. */
START_TEST(once)
{
    Case c[CASES];
    cases(c);
    for (int k = 0; k < CASES; k++) {
        hd_array *p, *x, *shape[2] = { NULL, NULL };
        if (!c[k].gone)
            continue;
        point(0, &p, &x);
        ck_assert(!hd_eval_shape(hd_linearize(c[k].f), shape, p, x));
        char *text = text_of(hd_linearized(c[k].f), shape[1], p, x);
        ck_assert_msg(!strstr(text, c[k].gone), "%.900s", text);
        free(text);
        hd_drop(p), hd_drop(x), hd_drop(shape[0]), hd_drop(shape[1]);
    }
}
END_TEST

/* Inside a trace hd_jvp at one point and many directions computes straight lines once, too. */
static hd along(hd p, hd dp, hd x, hd dx) { return hd_nth(hd_apply(hd_jvp(layers), p, x, dp, dx), 1); }
static hd many(hd p, hd x, hd dxs)
{
    return hd_apply(hd_vmap(hd_partial(along, p, hd_zeros_like(p), x)), dxs);
}

START_TEST(many_directions)
{
    hd_array *p, *x, *dxs = hd_array_abstract(HD_F32, 50, 3);
    point(0, &p, &x);
    char *text = text_of(HD_FN(many), p, x, dxs);
    ck_assert_msg(count(text, "tanh") == 1 && count(text, "f32[3] = tanh ") == 1, "%.900s", text);
    free(text);
    hd_drop(p), hd_drop(x), hd_drop(dxs);
}
END_TEST

/* A loop has its steps of the function once, and lanes for the directions alone. */
static hd many_of_loop(hd p, hd x, hd dxs)
{
    hd r = hd_nth(hd_apply(hd_linearize(recurrent), p, x), 1);
    return hd_apply(
        hd_vmap(hd_linearized(recurrent), .in_axes = { HD_NONE, HD_NONE, 0 }), r, hd_zeros_like(p), dxs);
}

START_TEST(many_directions_of_loop)
{
    hd_array *p, *x, *dxs = hd_array_abstract(HD_F32, 50, 3);
    point(0, &p, &x);
    char *text = text_of(HD_FN(many_of_loop), p, x, dxs);
    const char *at = strstr(text, "tanh"), *lanes = strstr(text, "lanes(50)");
    ck_assert_msg(count(text, "tanh") == 1 && count(text, "lanes(") == 1 && at < lanes, "%.900s", text);
    free(text);
    hd_drop(p), hd_drop(x), hd_drop(dxs);
}
END_TEST

/* ==================== transforms of the two */

static hd directions(hd_fn *f, hd p, hd x)      /* a basis of x, one after the other and as lanes */
{
    hd r = hd_nth(hd_apply(hd_linearize(f), p, x), 1), none = hd_zeros_like(p);
    return hd_apply(
        hd_vmap(hd_linearized(f), .in_axes = { HD_NONE, HD_NONE, 0 }), r, none, hd_eye(HD_F32, 3));
}
static hd at_basis(hd p, hd x) { return hd_nth(directions(HD_FN(recurrent), p, x), 0); }
static hd jacobian(hd p, hd x)
{
    return hd_transpose(hd_nth(hd_apply(hd_jacfwd(recurrent, .argnums = HD_INTS(1)), p, x), 0));
}

static hd pulled(hd p, hd x)
{
    hd y = hd_apply(hd_linearize(recurrent), p, x);
    return hd_apply(
        hd_linear_transpose(hd_partial(hd_linearized(recurrent), hd_nth(y, 1))), p, x, hd_nth(y, 0));
}
static hd by_vjp(hd p, hd x) { return hd_nth(hd_apply(hd_vjp(recurrent), p, x, recurrent(p, x)), 1); }

static hd slope(hd p, hd x)                     /* a function whose derivative goes through both */
{
    hd r = hd_nth(hd_apply(hd_linearize(layers), p, x), 1);
    return hd_nth(hd_apply(hd_linearized(layers), r, p, hd_sin(x)), 1);
}
static hd slope_by_jvp(hd p, hd x)
{
    return hd_nth(hd_nth(hd_apply(hd_jvp(layers), p, x, p, hd_sin(x)), 1), 1);
}

/* Lanes that meet, in both halves. */
static hd meeting(hd b, hd x) { return hd_mul(hd_sin(x), hd_psum(hd_mul(b, x), "i")); }
static hd met(hd p, hd x)
{
    hd b = hd_get(p, "b");
    hd y = hd_apply(hd_vmap(hd_linearize(meeting), .axis_name = "i"), b, x);
    return hd_apply(hd_vmap(hd_linearized(meeting), .axis_name = "i"), hd_nth(y, 1), x, b);
}
static hd met_by_jvp(hd p, hd x)
{
    hd b = hd_get(p, "b");
    return hd_nth(hd_apply(hd_vmap(hd_jvp(meeting), .axis_name = "i"), b, x, x, b), 1);
}

static void alike(hd_fn *a, hd_fn *b, const char *what)
{
    hd_array *p, *x, *y = NULL, *z = NULL;
    point(4, &p, &x);
    ck_assert_msg(!hd_call(hd_jit(a, .device = "host"), &y, p, x), "%s: %s", what, hd_error());
    ck_assert_msg(!hd_call(hd_jit(b, .device = "host"), &z, p, x), "%s: %s", what, hd_error());
    same(y, z, what);
    hd_drop(p), hd_drop(x), hd_drop(y), hd_drop(z);
}

START_TEST(transforms)
{
    alike(HD_FN(at_basis), HD_FN(jacobian), "lanes");
    alike(HD_FN(pulled), HD_FN(by_vjp), "transpose");
    alike(HD_FN(met), HD_FN(met_by_jvp), "named axes");
    alike(hd_grad(slope, .argnums = HD_INTS(0, 1)), hd_grad(slope_by_jvp, .argnums = HD_INTS(0, 1)),
        "gradient");
    alike(
        hd_jacfwd(slope, .argnums = HD_INTS(1)), hd_jacfwd(slope_by_jvp, .argnums = HD_INTS(1)), "forward");
}
END_TEST

/* ==================== transposes of linear functions of trees */

static hd linear(hd p, hd x)
{
    hd w = hd_lit(float, (2, 3), 1, -2, 3, .5, 4, -1);
    hd a = hd_dot(w, hd_get(p, "b")),
       b = hd_sum(hd_mul(hd_get(p, "w"), hd_expand_dims(hd_arange(HD_F32, 0, 3, 1), 0)), 0);
    return hd_dict({ "u", hd_tuple(hd_add(b, hd_flip(x, 0)), HD_NIL) },
        { "v", hd_concatenate(0, a, hd_slice_axis(x, 0, 0, 2)) });
}
static hd transposed(hd p, hd x, hd y) { return hd_apply(hd_linear_transpose(linear), p, x, y); }

static double product(const hd_array *a, const hd_array *b)
{
    double s = 0;
    for (int k = 0; k < hd_array_len(a); k++)
        s += hd_array_nth(a, k) ? product(hd_array_nth(a, k), hd_array_nth(b, k)) : 0;
    for (int64_t k = 0; !hd_array_len(a) && k < hd_array_size(a); k++)
        s += (double)((const float *)hd_data(a))[k] * ((const float *)hd_data(b))[k];
    return s;
}

START_TEST(trees)
{
    hd_array *p, *x, *dp, *dx, *fx = NULL, *y = NULL, *back = NULL;
    point(1, &p, &x), point(2, &dp, &dx);
    ck_assert_msg(!hd_call(linear, &fx, p, x) && !hd_call(linear, &y, dp, dx), "%s", hd_error());
    ck_assert_msg(!hd_call(transposed, &back, p, x, y), "%s", hd_error());
    ck_assert(hd_array_len(back) == 2 && hd_array_get(hd_array_nth(back, 0), "w"));
    hd_array *in = hd_array_tuple(hd_keep(p), hd_keep(x));
    double a = product(fx, y), b = product(in, back);
    ck_assert_msg(fabs(a - b) < 1e-4 * (1 + fabs(a)), "%g, not %g", b, a);
    hd_drop(p), hd_drop(x), hd_drop(dp), hd_drop(dx), hd_drop(fx), hd_drop(y), hd_drop(back), hd_drop(in);
}
END_TEST

/* ==================== what they refuse */

static hd bent(hd x)
{
    hd y = hd_mul_c(x, 2);
    hd z = hd_sin(y);
    return hd_add(z, x);
}
enum { BENT = __LINE__ - 3 };
static hd squared(hd x) { return hd_mul(x, x); }
static hd squares(hd c, hd x) { return hd_tuple(hd_mul(c, x), HD_NIL); }
static hd in_loop(hd x)
{
    return hd_nth(hd_scan(squares, x, hd_tile_n(hd_expand_dims(x, 0), HD_INTS(3, 1))), 0);
}

static hd back_fwd(hd x) { return hd_tuple(hd_exp(x), x); }
static hd back_bwd(hd x, hd dy) { return hd_mul(hd_exp(x), dy); }
static hd backwards(hd x) { return hd_apply(hd_custom_vjp(hd_exp, back_fwd, back_bwd), x); }

START_TEST(refusals)
{
    hd_array *p, *x, *y = NULL;
    char line[600];
    point(0, &p, &x);
    snprintf(line, sizeof line, "derivative of sin at %s:%d", __FILE__, BENT);
    ck_assert_msg(hd_call(hd_linear_transpose(bent), &y, x, x) == HD_EDIFF && strstr(hd_error(), line), "%s",
        hd_error());
    ck_assert_msg(
        hd_call(hd_linear_transpose(squared), &y, x, x) == HD_EDIFF && strstr(hd_error(), "of mul"), "%s",
        hd_error());
    ck_assert_msg(
        hd_call(hd_linear_transpose(in_loop), &y, x, x) == HD_EDIFF && strstr(hd_error(), "of scan"), "%s",
        hd_error());
    ck_assert_msg(hd_call(hd_linear_transpose(linear), &y, p, x, x) == HD_EINVAL &&
            strstr(hd_error(), "the result is {u:"),
        "%s", hd_error());
    ck_assert_msg(hd_call(hd_linearized(layers), &y, x, p, x) == HD_EINVAL &&
            strstr(hd_error(), "hd_linearize(layers)"),
        "%s", hd_error());
    ck_assert(hd_call(hd_linearized(layers), &y, x) == HD_EINVAL && strstr(hd_error(), "at least 2"));
    hd_array *both[2] = { NULL, NULL };
    int e = hd_call(hd_linearize(backwards), both, x);
    if (!e)
        e = hd_call(hd_linearized(backwards), &y, both[1], x);
    ck_assert_msg(e && strstr(hd_error(), "reverse"), "%d: %s", e, hd_error());
    hd_drop(p), hd_drop(x), hd_drop(both[0]), hd_drop(both[1]);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("linear");
    TCase *c = suite_case(s);
    tcase_add_test(c, values);
    tcase_add_test(c, once);
    tcase_add_test(c, many_directions);
    tcase_add_test(c, many_directions_of_loop);
    tcase_add_test(c, transforms);
    tcase_add_test(c, trees);
    tcase_add_test(c, refusals);
    return suite_run(s);
}
