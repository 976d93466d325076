/*
 * test_plans.c - what the scheduler must do with programs, whatever they compute: how many kernels, which
 * loops and branches.
 *
 * In:  programs against heddle.h.   Out: their plans and kernel texts, looked into. No device is needed.
 */
#include "plans.h"
#include "suite_run.h"

/* ---- softmax over any axis is one kernel */

static hd softmax0(hd x) { return hd_softmax(x, 0); }
static hd softmax1(hd x) { return hd_softmax(x, 1); }
static hd softmax2(hd x) { return hd_softmax(x, 2); }

START_TEST(softmax_any_axis)
{
    hd (*const f[])(hd) = { softmax0, softmax1, softmax2 };
    for (int axis = 0; axis < 3; axis++) {
        hd_array *x = hd_array_abstract(HD_F32, 40, 33, 70);
        Seen s = look(HD_FN(f[axis]), &x, 1);
        ck_assert_msg(s.kernels == 1, "softmax over axis %d: %d kernels\n%s", axis, s.kernels, s.plan);
        done(&s, &x, 1);
    }
}
END_TEST

START_TEST(softmax_under_vmap)
{
    for (int axis = 0; axis < 2; axis++) {
        hd_array *x = hd_array_abstract(HD_F32, 64, 128);
        hd_fn *f = hd_vmap(softmax0, .in_axes = { axis }, .out_axes = axis);
        Seen s = look(f, &x, 1);
        ck_assert_msg(s.kernels == 1, "vmap over axis %d: %d kernels\n%s", axis, s.kernels, s.plan);
        done(&s, &x, 1);
    }
}
END_TEST

/* ---- per-example gradients: no loop of launches over the examples */

static hd loss(hd params, hd x, hd y)
{
    hd z = hd_add(hd_dot(x, hd_get(params, "w")), hd_get(params, "b"));
    return hd_mean(hd_sigmoid_cross_entropy(z, y));
}

START_TEST(per_example_gradients)
{
    hd_array *args[] = { hd_array_dict(
                             { "w", hd_array_abstract(HD_F32, 2) }, { "b", hd_array_abstract(HD_F32) }),
        hd_array_abstract(HD_F32, 4096, 2), hd_array_abstract(HD_F32, 4096, 3) };
    Seen s = look(hd_vmap(hd_grad(loss), .in_axes = { HD_NONE, 0, 0 }), args, 3);
    ck_assert_msg(s.kernels == 1 && s.steps == 1, "%d kernels in %d steps\n%s", s.kernels, s.steps, s.plan);
    done(&s, args, 3);
}
END_TEST

/* ---- what is small is one launch, however many kernels it would be, while its text is short: a Hessian of
 * three inputs */

static hd bumps(hd x) { return hd_sum(hd_mul(hd_sin(x), hd_softmax(x, 0))); }

START_TEST(small_kernels_join)
{
    hd_array *x = hd_array_abstract(HD_F32, 3);
    Seen s = look(hd_hessian(bumps), &x, 1);
    ck_assert_msg(s.kernels == 1 && s.steps == 1, "%d kernels in %d steps\n%s", s.kernels, s.steps, s.plan);
    done(&s, &x, 1);
}
END_TEST

/* ---- a small recurrent cell: 200 steps are one launch, with the loop inside */

static hd cell(hd w, hd u, hd b, hd h, hd x)
{
    h = hd_tanh(hd_add(hd_add(hd_dot(h, w), hd_dot(x, u)), b));
    return hd_tuple(h, h);
}

static hd rnn(hd w, hd u, hd b, hd xs)
{
    return hd_nth(hd_scan(hd_partial(cell, w, u, b), hd_zeros(HD_F32, 8), xs), 1);
}

START_TEST(recurrent_cell)
{
    hd_array *args[] = { hd_array_abstract(HD_F32, 8, 8), hd_array_abstract(HD_F32, 8, 8),
        hd_array_abstract(HD_F32, 8), hd_array_abstract(HD_F32, 64, 200, 8) };
    Seen s = look(hd_vmap(rnn, .in_axes = { HD_NONE, HD_NONE, HD_NONE, 0 }), args, 4);
    ck_assert_msg(s.kernels == 1 && s.steps == 1, "%d kernels in %d steps\n%s", s.kernels, s.steps, s.plan);
    ck_assert_msg(strstr(s.code, "< 200;") != NULL, "no loop of 200 steps in\n%s", s.code);
    done(&s, args, 4);
}
END_TEST

/* ---- a dear branch is a branch, entered when a lane takes it */

static hd dear(hd x)
{
    for (int i = 0; i < 8; i++)
        x = hd_sin(hd_add(hd_exp(x), hd_c(1)));
    return x;
}
static hd cheap(hd x) { return hd_mul(x, hd_c(2)); }
static hd choose(hd x) { return hd_cond(hd_gt(x, hd_c(0)), dear, cheap, x); }

START_TEST(branches)
{
    hd_array *x = hd_array_abstract(HD_F32, 4096);
    Seen s = look(hd_vmap(choose), &x, 1);
    ck_assert_msg(s.kernels == 1, "%d kernels\n%s", s.kernels, s.plan);
    ck_assert_msg(strstr(s.code, "if (") != NULL, "no branch in\n%s", s.code);
    done(&s, &x, 1);
}
END_TEST

/* ---- a while per lane is one loop in one kernel */

static hd far(hd s) { return hd_lt(hd_abs(hd_nth(s, 0)), hd_c(100)); }
static hd step(hd s) { return hd_tuple(hd_mul(hd_nth(s, 0), hd_c(1.5)), hd_add(hd_nth(s, 1), hd_c(1))); }
static hd trips(hd x) { return hd_while(far, step, hd_tuple(x, hd_cast(hd_c(0), HD_I32))); }

START_TEST(loops_of_lanes)
{
    hd_array *x = hd_array_abstract(HD_F32, 1000);
    Seen s = look(hd_vmap(trips), &x, 1);
    ck_assert_msg(s.kernels == 1, "%d kernels\n%s", s.kernels, s.plan);
    ck_assert_msg(strstr(s.code, "break;") != NULL, "no loop that ends by itself in\n%s", s.code);
    done(&s, &x, 1);
}
END_TEST

/* ---- sharing: a chain of diamonds must not double at every link */

static hd rolls(hd x, int n)
{
    for (int i = 0; i < n; i++)
        x = hd_add(x, hd_roll(x, 1, 0));
    return x;
}
static hd rolls10(hd x) { return rolls(x, 10); }
static hd rolls20(hd x) { return rolls(x, 20); }
static hd rolls30(hd x) { return rolls(x, 30); }

START_TEST(diamonds)
{
    hd_fn *const f[] = { HD_FN(rolls10), HD_FN(rolls20), HD_FN(rolls30) };
    size_t lines[3];
    for (int k = 0; k < 3; k++) {
        hd_array *x = hd_array_abstract(HD_F32, 1000);
        Seen s = look(f[k], &x, 1);
        lines[k] = s.lines;
        ck_assert_msg(s.kernels <= 10 * (k + 1), "%d kernels", s.kernels);
        done(&s, &x, 1);
    }
    size_t first = lines[1] - lines[0], second = lines[2] - lines[1];
    ck_assert_msg(
        second <= first + first / 2 + 20, "%zu %zu %zu lines: not linear", lines[0], lines[1], lines[2]);
}
END_TEST

/* ---- exp of a row and of a column are computed once each, not once an element */

static hd outer_sum(hd a, hd b)
{
    return hd_add(hd_expand_dims(hd_exp(a), 1), hd_expand_dims(hd_exp(b), 0));
}

START_TEST(no_repeated_work)
{
    hd_array *args[] = { hd_array_abstract(HD_F32, 700), hd_array_abstract(HD_F32, 900) };
    Seen s = look(HD_FN(outer_sum), args, 2);
    ck_assert_msg(s.kernels >= 2, "exp(b) is evaluated for every row\n%s", s.plan);
    ck_assert_int_ge(count(s.plan, "launch"), 2);
    done(&s, args, 2);
}
END_TEST

/* ---- views cost nothing: no kernel of their own between an input and what uses it */

static hd views(hd x) { return hd_sum(hd_mul(hd_transpose(hd_reshape(x, 30, 20)), hd_c(2)), 0); }

START_TEST(views_are_free)
{
    hd_array *x = hd_array_abstract(HD_F32, 20, 30);
    Seen s = look(HD_FN(views), &x, 1);
    ck_assert_msg(s.kernels == 1, "%d kernels\n%s", s.kernels, s.plan);
    done(&s, &x, 1);
}
END_TEST

/* ---- what is done with running values is done where they are stored */

static hd ran(hd x, hd y) { return hd_mul(hd_reshape(hd_cumsum(x, 0), 30, 40), y); }
static hd running(hd x) { return hd_cumsum(x, 0); }

START_TEST(map_after_running_values)
{
    hd_array *args[] = { hd_array_abstract(HD_F32, 1200), hd_array_abstract(HD_F32, 30, 40) };
    Seen s = look(HD_FN(ran), args, 2);
    ck_assert_msg(s.kernels == 1, "%d kernels\n%s", s.kernels, s.plan);
    done(&s, args, 2);
    /* in pieces: their sums, what is before each, then one pass */
    hd_array *x = hd_array_abstract(HD_F32, 1 << 20);
    s = look(HD_FN(running), &x, 1);
    ck_assert_msg(
        s.kernels == 3 && !strstr(s.plan, "f32[1048576] temporary"), "%d kernels\n%s", s.kernels, s.plan);
    done(&s, &x, 1);
}
END_TEST

/* ---- what is larger than the cache is written around it */

static hd twice(hd x) { return hd_mul(x, hd_c(2)); }

START_TEST(around_the_cache)
{
    static const struct { int n, streams; } all[] = { { 1 << 20, 1 }, { 1000, 0 } };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        hd_array *x = hd_array_abstract(HD_F32, all[k].n);
        Seen s = look(HD_FN(twice), &x, 1);
        ck_assert_msg(count(s.code, "HD_STREAM(float, 16, __global, (") == all[k].streams, "%s", s.code);
        ck_assert_msg(count(s.code, "HD_STREAMED();") == all[k].streams, "%s", s.code);
        done(&s, &x, 1);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("plans");
    TCase *t = tcase_create("plans");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, softmax_any_axis);
    tcase_add_test(t, softmax_under_vmap);
    tcase_add_test(t, per_example_gradients);
    tcase_add_test(t, small_kernels_join);
    tcase_add_test(t, recurrent_cell);
    tcase_add_test(t, branches);
    tcase_add_test(t, loops_of_lanes);
    tcase_add_test(t, diamonds);
    tcase_add_test(t, no_repeated_work);
    tcase_add_test(t, views_are_free);
    tcase_add_test(t, map_after_running_values);
    tcase_add_test(t, around_the_cache);
    suite_add_tcase(suite, t);
    return suite_run(suite);
}
