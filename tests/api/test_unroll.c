/*
 * test_unroll.c - loops whose steps are written out: the same bits as without, forwards and backwards, for
 * numbers of steps that are a multiple of it or not; what the program looks like; what is refused.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "suite.h"

typedef struct Opts { int64_t unroll, segments, length; bool reverse; } Opts;

static hd step(hd w, hd c, hd x)
{
    hd h = hd_tanh(hd_add(hd_mul(hd_get(c, "h"), w), x));
    return hd_tuple(
        hd_dict({ "h", h }, { "n", hd_add_c(hd_get(c, "n"), 1) }), hd_tuple(hd_mul(h, x), HD_NIL));
}
static hd looped(hd w, hd xs, const void *env)
{
    const Opts *o = env;
    hd init = hd_dict({ "h", hd_zeros(HD_F32, 3) }, { "n", hd_c(0) });
    return hd_scan(
        hd_partial(step, w), init, xs, .unroll = o->unroll, .segments = o->segments, .reverse = o->reverse);
}

static hd tick(hd c, hd none) { return (void)none, hd_tuple(hd_mul_c(hd_sin(hd_add_c(c, 1)), 1.5), HD_NIL); }
static hd ticking(hd w, hd xs, const void *env)
{
    const Opts *o = env;
    return hd_tuple(
        hd_nth(hd_scan(tick, w, HD_NIL, .length = o->length, .unroll = o->unroll), 0), hd_sum(xs));
}
static hd turn(hd w, hd i, hd c) { return hd_add(hd_mul(c, w), hd_sin(hd_cast(i, HD_F32))); }
static hd turning(hd w, hd xs, const void *env)
{
    const Opts *o = env;
    return hd_add(
        hd_fori(hd_c(2), hd_c((double)(2 + o->length)), hd_partial(turn, w), w, .unroll = o->unroll),
        hd_sum(xs));
}

static hd total(hd tree)
{
    hd s = hd_c(0);
    for (int k = 0; k < hd_leaf_count(tree); k++)
        s = hd_add(s, hd_sum(hd_square(hd_cast(hd_leaf(tree, k), HD_F32))));
    return s;
}
static hd loss(hd w, hd xs, const void *env) { return total(looped(w, xs, env)); }
static hd lanes(hd w, hd xs, const void *env)
{
    Opts o = *(const Opts *)env;
    return hd_apply(hd_vmap(hd_bind(looped, o), .in_axes = { 0, HD_NONE }), hd_stack(0, w, hd_neg(w)), xs);
}

static hd_array *run(hd_fn *f, const char *device, int64_t n)
{
    float v[64];
    for (int k = 0; k < 64; k++)
        v[k] = (float)(k % 11 - 5) / 7;
    hd_array *w = hd_array_of(v + 3, 3), *xs = hd_array_of(v, n, 3), *y = NULL;
    ck_assert_msg(hd_call(hd_jit(f, .device = device), &y, w, xs) == 0, "%s", hd_error());
    hd_drop(w), hd_drop(xs);
    return y;
}

/* tolerance 0: the same bits. */
static void same(const hd_array *a, const hd_array *b, double tolerance, const char *what)
{
    if (!hd_array_len(a)) {
        ck_assert(hd_array_size(a) == hd_array_size(b) && hd_array_dtype(a) == hd_array_dtype(b));
        const float *p = hd_data(a), *q = hd_data(b);
        for (int64_t k = 0; k < hd_array_size(a) && tolerance; k++)
            ck_assert_msg(
                fabsf(p[k] - q[k]) <= tolerance * (1 + fabsf(q[k])), "%s: %g, not %g", what, p[k], q[k]);
        ck_assert_msg(tolerance || !hd_array_size(a) || !memcmp(p, q, (size_t)hd_array_size(a) * 4),
            "%s: other bits", what);
    }
    for (int k = 0; k < hd_array_len(a); k++)
        if (hd_array_nth(a, k))
            same(hd_array_nth(a, k), hd_array_nth(b, k), tolerance, what);
}

static void against_loop(hd_fn *(*make)(Opts), double tolerance, const char *what)
{
    static const Opts all[] = { { 2, 0, 12, 0 }, { 5, 0, 12, 1 }, { 3, 0, 12, 0 }, { HD_ALL, 0, 7, 1 },
        { 6, 2, 13, 0 }, { 2, 3, 7, 1 }, { 4, 0, 1, 0 }, { 4, 0, 0, 0 }, { 7, 0, 7, 0 } };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        for (int d = 0; d < DEVICES; d++) {
            if (!there(devices[d]) || (d && k > 1))
                continue;
            Opts plain = { 0, all[k].segments, all[k].length, all[k].reverse };
            hd_array *a = run(make(all[k]), devices[d], all[k].length),
                     *b = run(make(plain), devices[d], all[k].length);
            same(a, b, tolerance, what);
            hd_drop(a), hd_drop(b);
        }
}

static hd_fn *make_scan(Opts o) { return hd_bind(looped, o); }
static hd_fn *make_tick(Opts o) { return hd_bind(ticking, o); }
static hd_fn *make_fori(Opts o) { return hd_bind(turning, o); }
static hd_fn *make_lanes(Opts o) { return hd_bind(lanes, o); }
static hd_fn *make_grad(Opts o) { return hd_grad(hd_bind(loss, o), .argnums = HD_INTS(0, 1)); }

START_TEST(values)
{
    against_loop(make_scan, 0, "scan");
    against_loop(make_tick, 0, "scan without xs");
    against_loop(make_fori, 0, "fori");
    against_loop(make_lanes, 0, "lanes");
}
END_TEST

START_TEST(derivatives)
{
    against_loop(make_grad, 1e-5, "gradient");                  /* sums over steps have another order */
}
END_TEST

/* ==================== arrays of as many axes as there can be: pieces have one more */

enum { AXES = 16 };
static hd deep_step(hd w, hd c, hd x)
{
    hd h = hd_tanh(hd_add(hd_mul(c, w), x));
    return hd_tuple(h, hd_mul(h, x));
}
static hd deep(hd w, hd xs, const void *env)
{
    const Opts *o = env;
    hd_ints rows = { AXES, { hd_dim(xs, 0) } }, row = { AXES - 1, { 0 } };
    for (int k = 1; k < AXES; k++)
        rows.v[k] = row.v[k - 1] = k == 7 ? 3 : 1;
    hd y = hd_scan(hd_partial(deep_step, hd_reshape_n(w, row)), hd_reshape_n(w, row),
        hd_reshape_n(xs, rows), .unroll = o->unroll, .segments = o->segments, .reverse = o->reverse);
    ck_assert(hd_shape(hd_nth(y, 1)).n == AXES);
    return hd_tuple(hd_ravel(hd_nth(y, 0)), hd_ravel(hd_nth(y, 1)));
}
static hd deep_loss(hd w, hd xs, const void *env) { return total(deep(w, xs, env)); }

START_TEST(deepest)
{
    static const Opts all[] = { { 5, 0, 12, 0 }, { 0, 4, 12, 1 }, { 2, 3, 13, 0 } };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        for (int slope = 0; slope < 2; slope++) {
            Opts plain = { 0, 0, all[k].length, all[k].reverse };
            hd_fn *f = slope ? hd_grad(hd_bind(deep_loss, all[k])) : hd_bind(deep, all[k]),
                  *g = slope ? hd_grad(hd_bind(deep_loss, plain)) : hd_bind(deep, plain);
            for (int d = 0; d < DEVICES; d++) {
                if (!there(devices[d]) || (d && k < 2))
                    continue;
                hd_array *a = run(f, devices[d], all[k].length), *b = run(g, devices[d], all[k].length);
                same(a, b, slope ? 1e-5 : 0, "as many axes as there can be");
                hd_drop(a), hd_drop(b);
            }
        }
}
END_TEST

/* ==================== what it looks like */

static int count(const char *text, const char *word)
{
    int n = 0;
    for (; (text = strstr(text, word)); text++)
        n++;
    return n;
}

static char *text_of(Opts o)
{
    hd_array *w = hd_array_abstract(HD_F32, 3), *xs = hd_array_abstract(HD_F32, o.length, 3);
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    ck_assert_msg(hd_print_graph(f, make_scan(o), w, xs) == 0, "%s", hd_error());
    fclose(f);
    hd_drop(w), hd_drop(xs);
    return text;
}

START_TEST(program)
{
    static const struct { Opts o; int scans, steps; const char *length;
    } want[] = {
        { { 0, 0, 12, 0 }, 1, 1, "length=12" },
        { { 4, 0, 12, 0 }, 1, 4, "length=3" },
        { { 5, 0, 12, 0 }, 1, 7, "length=2" },
        { { HD_ALL, 0, 12, 0 }, 0, 12, "" },
    };
    for (size_t k = 0; k < sizeof want / sizeof *want; k++) {
        char *text = text_of(want[k].o);
        ck_assert_msg(count(text, " scan") == want[k].scans && count(text, "tanh") == want[k].steps &&
                strstr(text, want[k].length),
            "%s", text);
        free(text);
    }
}
END_TEST

/* ==================== what it refuses */

static hd small(hd x) { return hd_lt(x, hd_c(9)); }
static hd bad_while(hd x) { return hd_while(small, hd_exp, hd_sum(x), .unroll = 2); }
static hd next(hd i, hd x) { return (void)i, hd_exp(x); }
static hd bad_fori(hd x) { return hd_fori(hd_c(0), hd_cast(hd_sum(x), HD_I32), next, x, .unroll = 2); }
static hd negative(hd x) { return hd_scan(tick, x, HD_NIL, .length = 3, .unroll = -2); }
static hd too_many(hd x) { return hd_scan(tick, x, HD_NIL, .length = HD_ALL, .unroll = HD_ALL); }

START_TEST(refusals)
{
    hd_array *x = hd_array_lit(float, (2), 1, 2), *y = NULL;
    ck_assert(hd_call(bad_while, &y, x) == HD_EINVAL && strstr(hd_error(), "hd_while: .unroll"));
    ck_assert(hd_call(bad_fori, &y, x) == HD_EINVAL && strstr(hd_error(), "bounds that are constants"));
    ck_assert(hd_call(negative, &y, x) == HD_EINVAL && strstr(hd_error(), ".unroll is -2"));
    ck_assert(hd_call(too_many, &y, x) == HD_EINVAL && strstr(hd_error(), "written out") &&
        strstr(hd_error(), "test_unroll.c"));
    hd_drop(x);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("unroll");
    TCase *c = suite_case(s);
    tcase_add_test(c, values);
    tcase_add_test(c, derivatives);
    tcase_add_test(c, deepest);
    tcase_add_test(c, program);
    tcase_add_test(c, refusals);
    return suite_run(s);
}
