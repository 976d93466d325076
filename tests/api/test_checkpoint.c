/*
 * test_checkpoint.c - reverse mode that stores less: values and derivatives stay the same bits, temporary
 * memory falls as told; policies, scans, segments, lanes, higher orders.
 */
#include <math.h>
#include <stdlib.h>

#include "suite.h"

/* f and g have the same results on x and w, bit by bit, on every device. */
static void same(hd_fn *f, hd_fn *g, hd_array *x, hd_array *w, const char *what)
{
    for (int d = 0; d < 3; d++) {
        hd_array *a = NULL, *b = NULL, *const args[2] = { x, w };
        if (!there(devices[d]))
            continue;
        hd_jit_opts o = { .device = devices[d] };
        ck_assert_msg(
            hd_call_n(hd_jit_n(f, &o), &a, 1, args, 2) == 0, "%s on %s: %s", what, devices[d], hd_error());
        ck_assert_msg(
            hd_call_n(hd_jit_n(g, &o), &b, 1, args, 2) == 0, "%s on %s: %s", what, devices[d], hd_error());
        const float *p = hd_data(a), *q = hd_data(b);
        ck_assert_int_eq(hd_array_size(a), hd_array_size(b));
        for (int64_t i = 0; i < hd_array_size(a); i++)
            ck_assert_msg(fabsf(p[i] - q[i]) <= 1e-6f * (1 + fabsf(p[i])),
                "%s on %s: element %lld is %g, not %g", what, devices[d], (long long)i, (double)q[i],
                (double)p[i]);
        hd_drop(a), hd_drop(b);
    }
}

static hd layer(hd x, hd w) { return hd_tanh(hd_dot(hd_checkpoint_name(hd_sin(x), "wave"), w)); }
static hd plain(hd x, hd w) { return hd_sum(layer(layer(layer(x, w), w), w)); }
static hd with(hd x, hd w, const char *save)
{
    hd_fn *f = hd_checkpoint(layer, .save = save);
    return hd_sum(hd_apply(f, hd_apply(f, hd_apply(f, x, w), w), w));
}
static hd nothing(hd x, hd w) { return with(x, w, NULL); }
static hd dots(hd x, hd w) { return with(x, w, "dots"); }
static hd named(hd x, hd w) { return with(x, w, "other, wave"); }
static hd everything(hd x, hd w) { return with(x, w, "everything"); }

static hd_array *waves(int64_t rows, int64_t columns)
{
    float *v = malloc(sizeof *v * (size_t)(rows * columns));
    for (int64_t i = 0; i < rows * columns; i++)
        v[i] = .3f * sinf((float)i);
    hd_array *a = hd_array_new(HD_F32, HD_INTS(rows, columns), v, NULL);
    free(v);
    return a;
}

START_TEST(policies)
{
    hd_array *x = waves(3, 4), *w = waves(4, 4);
    hd_fn *const f[] = { HD_FN(nothing), HD_FN(dots), HD_FN(named), HD_FN(everything) };
    const hd_grad_opts both = { .argnums = HD_INTS(1) };
    for (int i = 0; i < 4; i++) {
        same(HD_FN(plain), f[i], x, w, "value");
        same(hd_grad_n(HD_FN(plain), &both), hd_grad_n(f[i], &both), x, w, "gradient");
        same(hd_grad_n(HD_FN(plain), NULL), hd_grad_n(f[i], NULL), x, w, "gradient");
    }
    same(hd_hessian(plain), hd_hessian(nothing), x, w, "hessian");
    same(hd_vmap(hd_grad(plain), .in_axes = { 0, HD_NONE }),
        hd_vmap(hd_grad(dots), .in_axes = { 0, HD_NONE }), x, w, "lanes");
    hd_drop(x), hd_drop(w);
}
END_TEST

/* What the derivative of one checkpoint stores, read from its graph: results of the call that computes,
 * beside y. */
static hd one(hd x, hd w, const void *save)
{
    hd_fn *f = hd_checkpoint(layer, .save = (const char *)save);
    return hd_sum(hd_square(hd_apply(f, x, w)));
}
struct save { char word[16]; };

static int calls_named(const char *text, const char *word)
{
    int n = 0;
    for (; (text = strstr(text, word)); text++)
        n++;
    return n;
}

START_TEST(what_is_stored)
{
    hd_array *x = waves(3, 4), *w = waves(4, 4);
    const struct save save[] = { { "" }, { "dots" }, { "wave" }, { "everything" } };
    /* forward, and again; products: of the layer alone */
    const int sines[] = { 2, 2, 1, 1 }, products[] = { 2, 1, 2, 1 };
    for (int i = 0; i < 4; i++) {
        char *text = NULL;
        size_t n = 0;
        FILE *f = open_memstream(&text, &n);
        ck_assert_msg(hd_print_graph(f, hd_grad(hd_bind(one, save[i]), .argnums = HD_INTS(1)), x, w) == 0,
            "%s", hd_error());
        fclose(f);
        int s = calls_named(text, " = sin "), d = calls_named(text, "lhs_contract=1 rhs_contract=0");
        ck_assert_msg(
            s == sines[i] && d == products[i], "%s: %d sines, %d products\n%s", save[i].word, s, d, text);
        free(text);
    }
    hd_drop(x), hd_drop(w);
}
END_TEST

/* A recurrent net: what reverse mode keeps for each step. */
static hd cell(hd w, hd h, hd x)
{
    h = hd_tanh(hd_add(hd_dot(h, w), x));
    h = hd_mul(hd_sigmoid(hd_dot(h, w)), h);
    return hd_tuple(h, hd_sum(h));
}
static hd net(hd xs, hd w, bool cut, int64_t segments, bool reverse)
{
    hd_fn *f = hd_partial(cell, w);
    if (cut)
        f = hd_checkpoint(f);
    hd y = hd_scan(f, hd_zeros(HD_F32, 4), xs, .segments = segments, .reverse = reverse);
    return hd_add(hd_sum(hd_square(hd_nth(y, 1))), hd_sum(hd_nth(y, 0)));
}
static hd net_plain(hd xs, hd w) { return net(xs, w, false, 0, false); }
static hd net_back(hd xs, hd w) { return net(xs, w, false, 0, true); }
static hd net_cut(hd xs, hd w) { return net(xs, w, true, 0, false); }
static hd net_segments(hd xs, hd w) { return net(xs, w, false, 5, false); }
static hd net_both(hd xs, hd w) { return net(xs, w, true, 5, false); }
static hd back_segments(hd xs, hd w) { return net(xs, w, false, 5, true); }
static hd too_many(hd xs, hd w) { return net(xs, w, false, 1000, false); }
static hd negative(hd xs, hd w) { return net(xs, w, false, -1, false); }

START_TEST(scans)
{
    hd_array *xs = waves(23, 4), *w = waves(4, 4), *y = NULL;
    const hd_grad_opts both = { .argnums = HD_INTS(0) };
    same(HD_FN(net_plain), HD_FN(net_segments), xs, w, "value in segments");
    same(hd_grad_n(HD_FN(net_plain), &both), hd_grad_n(HD_FN(net_cut), &both), xs, w, "cut");
    same(hd_grad_n(HD_FN(net_plain), &both), hd_grad_n(HD_FN(net_segments), &both), xs, w, "segments");
    same(hd_grad_n(HD_FN(net_plain), &both), hd_grad_n(HD_FN(net_both), &both), xs, w, "cut and segments");
    same(hd_grad_n(HD_FN(net_back), &both), hd_grad_n(HD_FN(back_segments), &both), xs, w,
        "segments backwards");
    same(hd_grad_n(HD_FN(net_plain), &both), hd_grad_n(HD_FN(too_many), &both), xs, w, "a segment a step");
    ck_assert(hd_call(negative, &y, xs, w) == HD_EINVAL && strstr(hd_error(), ".segments is -1"));
    hd_drop(xs), hd_drop(w);
}
END_TEST

static int64_t temporaries(hd_fn *f, int64_t steps)
{
    hd_array *xs = waves(steps, 64), *w = waves(64, 64);
    hd_cost_info c = { 0 };
    ck_assert_msg(hd_cost(hd_jit(f, .device = "opencl:0"), &c, xs, w) == 0, "%s", hd_error());
    hd_drop(xs), hd_drop(w);
    return c.temporary_bytes;
}
static hd wide(hd xs, hd w, bool cut, int64_t segments)
{
    hd_fn *f = hd_partial(cell, w);
    if (cut)
        f = hd_checkpoint(f);
    return hd_sum(hd_nth(hd_scan(f, hd_zeros(HD_F32, 64), xs, .segments = segments), 0));
}
static hd wide_plain(hd xs, hd w) { return wide(xs, w, false, 0); }
static hd wide_cut(hd xs, hd w) { return wide(xs, w, true, 0); }
static hd wide_segments(hd xs, hd w) { return wide(xs, w, false, 64); }

/* For each step: three states or so, then the carry alone, then one in sixty-four, the steps of one piece,
 * and xs in pieces. */
START_TEST(memory_falls)
{
    if (!there("opencl:0"))
        return;
    const int64_t steps = 4096, state = 64 * 4;
    int64_t all = temporaries(hd_grad(wide_plain, .argnums = HD_INTS(1)), steps);
    int64_t cut = temporaries(hd_grad(wide_cut, .argnums = HD_INTS(1)), steps);
    int64_t pieces = temporaries(hd_grad(wide_segments, .argnums = HD_INTS(1)), steps);
    ck_assert_msg(all >= 2 * steps * state, "plain: %lld bytes", (long long)all);
    ck_assert_msg(cut < all && cut <= 3 * steps * state / 2, "cut: %lld bytes of %lld", (long long)cut,
        (long long)all);
    ck_assert_msg(3 * pieces < all, "segments: %lld bytes of %lld", (long long)pieces, (long long)all);
}
END_TEST

/* ==================== policies inside loops and branches */

/* "wave" and a product in each step; the sine is computed once where it is saved, else again. */
static hd turn(hd w, hd h, hd x)
{
    h = hd_tanh(hd_add(hd_dot(hd_checkpoint_name(hd_sin(h), "wave"), w), x));
    return hd_tuple(h, hd_sum(h));
}
static hd loops(hd x, hd w)
{
    hd y = hd_scan(hd_partial(turn, w), hd_index(x, 0, 0), x);
    return hd_add(hd_sum(hd_nth(y, 0)), hd_sum(hd_square(hd_nth(y, 1))));
}
static hd outer_turn(hd w, hd h, hd x)
{
    hd y = hd_scan(hd_partial(turn, w), h, hd_stack(0, x, hd_cos(x)));
    return hd_tuple(hd_nth(y, 0), hd_sum(hd_nth(y, 1)));
}
static hd nested(hd x, hd w)
{
    hd y = hd_scan(hd_partial(outer_turn, w), hd_index(x, 0, 0), x);
    return hd_add(hd_sum(hd_nth(y, 0)), hd_sum(hd_square(hd_nth(y, 1))));
}
static hd once(hd w, hd h) { return hd_nth(turn(w, h, h), 0); }
static hd stay(hd w, hd h) { return hd_mul(h, hd_sum(w)); }
static hd branches(hd x, hd w)
{
    return hd_sum(hd_cond(hd_gt(hd_sum(x), hd_c(-100)), once, stay, w, hd_index(x, 0, 1)));
}
static hd below(hd w, hd c) { return (void)w, hd_lt(hd_nth(c, 0), hd_c(2.5)); }
static hd again_once(hd w, hd c) { return hd_tuple(hd_add_c(hd_nth(c, 0), 1), once(w, hd_nth(c, 1))); }
static hd bounded(hd x, hd w)
{
    hd start = hd_tuple(hd_cast(hd_c(0), HD_F32), hd_index(x, 0, 0));
    return hd_sum(
        hd_nth(hd_while(hd_partial(below, w), hd_partial(again_once, w), start, .max_trips = 4), 1));
}
static hd many(hd x, hd w)
{
    return hd_sum(hd_apply(hd_vmap(loops, .in_axes = { 0, HD_NONE }), hd_stack(0, x, hd_cos(x)), w));
}

typedef struct Case { hd (*f)(hd x, hd w); const char *save; } Case;
static hd saved_loss(hd x, hd w, const void *env)
{
    const Case *c = env;
    return hd_apply(hd_checkpoint(c->f, .save = c->save), x, w);
}
static int sines_of(hd_fn *f, int *products)
{
    hd_array *x = hd_array_abstract(HD_F32, 3, 4), *w = hd_array_abstract(HD_F32, 4, 4);
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    ck_assert_msg(hd_print_graph(out, f, x, w) == 0, "%s", hd_error());
    fclose(out), hd_drop(x), hd_drop(w);
    int sines = calls_named(text, " = sin ");
    *products = calls_named(text, "lhs_contract=0 rhs_contract=0 ");
    free(text);
    return sines;
}

START_TEST(inside)
{
    static hd (*const all[])(hd, hd) = { loops, nested, branches, bounded, many };
    hd_array *x = waves(3, 4), *w = waves(4, 4);
    const hd_grad_opts by_w = { .argnums = HD_INTS(1) };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        hd_fn *plain = hd_bind(saved_loss, ((Case){ all[k], "everything" }));
        static const char *const save[] = { "nothing", "dots", "wave", "wave, dots" };
        int sines[4], products[4];
        for (int i = 0; i < 4; i++) {
            hd_fn *f = hd_bind(saved_loss, ((Case){ all[k], save[i] }));
            same(hd_grad_n(plain, &by_w), hd_grad_n(f, &by_w), x, w, save[i]);
            same(hd_grad(plain), hd_grad(f), x, w, save[i]);
            sines[i] = sines_of(hd_value_and_grad_n(f, &by_w), &products[i]);
        }
        ck_assert_msg(sines[0] == 2 && sines[1] == 2 && sines[2] == 1 && sines[3] == 1,
            "program %d: sines %d %d %d %d", (int)k, sines[0], sines[1], sines[2], sines[3]);
        ck_assert_msg(products[1] == products[0] - 1 && products[3] == products[1],
            "program %d: products %d %d %d %d", (int)k, products[0], products[1], products[2], products[3]);
    }
    same(hd_hessian(loops), hd_hessian(hd_bind(saved_loss, ((Case){ loops, "wave" }))), x, w, "hessian");
    hd_drop(x), hd_drop(w);
}
END_TEST

static hd bad_name(hd x) { return hd_checkpoint_name(x, "a, b"); }
START_TEST(refusals)
{
    hd_array *x = waves(1, 2), *y = NULL;
    ck_assert(hd_call(bad_name, &y, x) == HD_EINVAL && strstr(hd_error(), "is no name"));
    hd_drop(x);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("checkpoint");
    TCase *c = suite_case(s);
    tcase_add_test(c, policies);
    tcase_add_test(c, what_is_stored);
    tcase_add_test(c, inside);
    tcase_add_test(c, scans);
    tcase_add_test(c, memory_falls);
    tcase_add_test(c, refusals);
    return suite_run(s);
}
