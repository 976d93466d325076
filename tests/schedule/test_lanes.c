/*
 * test_lanes.c - what vmap of control flow is on a device: one kernel, with the loops and branches of one
 * lane in it.
 *
 * In:  programs against heddle.h.   Out: their plans, for a processor and for a GPU, and the words that
 * Vulkan gets.
 */
#include "plans.h"
#include "suite_run.h"

/* ---- mandelbrot: one kernel with a loop, which ends when no lane of a block goes on, each by its own
 * test */

static hd inside(hd limit, hd s)
{
    hd u = hd_nth(s, 0), v = hd_nth(s, 1);
    return hd_and(hd_le(hd_add(hd_mul(u, u), hd_mul(v, v)), hd_c(4)), hd_lt(hd_nth(s, 2), limit));
}

static hd square_plus(hd cr, hd ci, hd s)
{
    hd u = hd_nth(s, 0), v = hd_nth(s, 1);
    return hd_tuple(hd_add(hd_sub(hd_mul(u, u), hd_mul(v, v)), cr), hd_add(hd_mul(hd_mul_c(u, 2), v), ci),
        hd_add_c(hd_nth(s, 2), 1));
}

static hd mandelbrot(hd cr, hd ci)
{
    hd limit = hd_cast(hd_c(1000), HD_I32), none = hd_cast(hd_c(0), HD_I32);
    hd start = hd_tuple(hd_zeros_like(cr), hd_zeros_like(ci), none);
    return hd_nth(hd_while(hd_partial(inside, limit), hd_partial(square_plus, cr, ci), start), 2);
}

START_TEST(loop_with_an_exit_for_each_lane)
{
    hd_array *args[] = { hd_array_abstract(HD_F32, 640), hd_array_abstract(HD_F32, 480) };
    hd_fn *row = hd_vmap(mandelbrot, .in_axes = { 0, HD_NONE });
    Seen s = look_at(hd_vmap(row, .in_axes = { HD_NONE, 0 }), args, 2, _i);
    ck_assert_msg(s.kernels == 1 && s.steps == 1, "%d kernels in %d steps\n%s", s.kernels, s.steps, s.plan);
    ck_assert_msg(s.until == 1, "%d loops that end by a test\n%s", s.until, s.plan);
    ck_assert_msg(s.exits == 1, "no test of the lanes of a vector\n%s", s.plan);
    ck_assert_msg(strstr(s.code, "break;") && s.spirv_loops >= 1, "no loop in what devices get\n%s", s.plan);
    done(&s, args, 2);
}
END_TEST

/* ---- a recurrent network of 8 units and 1000 steps */

static hd cell(hd w, hd u, hd b, hd h, hd x)
{
    h = hd_tanh(hd_add(hd_add(hd_dot(h, w), hd_dot(x, u)), b));
    return hd_tuple(h, h);
}

static hd rnn(hd w, hd u, hd b, hd xs)
{
    return hd_nth(hd_scan(hd_partial(cell, w, u, b), hd_zeros(HD_F32, 8), xs), 1);
}
static hd loss_of_one(hd w, hd u, hd b, hd xs) { return hd_mean(hd_square(rnn(w, u, b, xs))); }

static hd loss_of_batch(hd w, hd u, hd b, hd xs)
{
    return hd_mean(hd_apply(hd_vmap(loss_of_one, .in_axes = { HD_NONE, HD_NONE, HD_NONE, 0 }), w, u, b, xs));
}

static void weights_and_data(hd_array **args)
{
    args[0] = hd_array_abstract(HD_F32, 8, 8), args[1] = hd_array_abstract(HD_F32, 8, 8);
    args[2] = hd_array_abstract(HD_F32, 8), args[3] = hd_array_abstract(HD_F32, 64, 1000, 8);
}

START_TEST(network_forward)
{
    hd_array *args[4];
    weights_and_data(args);
    Seen s = look_at(hd_vmap(rnn, .in_axes = { HD_NONE, HD_NONE, HD_NONE, 0 }), args, 4, _i);
    ck_assert_msg(s.kernels == 1 && s.steps == 1, "%d kernels in %d steps\n%s", s.kernels, s.steps, s.plan);
    ck_assert_msg(s.loops >= 1 && strstr(s.code, "< 1000;"), "no loop of 1000 steps\n%s", s.plan);
    done(&s, args, 4);
}
END_TEST

START_TEST(network_gradient)
{
    hd_fn *batch = hd_grad(loss_of_batch, .argnums = HD_INTS(0, 1, 2)),
          *each = hd_grad(loss_of_one, .argnums = HD_INTS(0, 1, 2));
    hd_fn *all[] = { batch, hd_vmap(each, .in_axes = { HD_NONE, HD_NONE, HD_NONE, 0 }) };
    for (int k = 0; k < 2; k++) {
        hd_array *args[4];
        weights_and_data(args);
        Seen s = look_at(all[k], args, 4, _i);
        ck_assert_msg(
            s.kernels <= 3 && s.steps <= 3, "%d kernels in %d steps\n%s", s.kernels, s.steps, s.plan);
        ck_assert_msg(strstr(s.plan, "launch"), "no launch\n%s", s.plan);
        ck_assert_msg(!strstr(s.plan, "loop"), "a loop of launches\n%s", s.plan);
        /* of a step the states before and after are stored; the derivative of tanh is computed of one */
        ck_assert_int_le(count(s.plan, "f32[512000] temporary"), 2);
        done(&s, args, 4);
    }
}
END_TEST

/* ---- a cond under vmap has a branch */

static hd decay(hd x) { return hd_exp(hd_neg(x)); }
static hd power(hd x) { return hd_exp(hd_mul(x, hd_log(hd_add_c(hd_abs(x), 1)))); }
static hd twice(hd x) { return hd_mul_c(x, 2); }
static hd choose(hd x) { return hd_cond(hd_gt(x, hd_c(0)), decay, power, x); }
static hd both(hd x) { return hd_where(hd_gt(x, hd_c(0)), decay(x), power(x)); }
static hd cheap(hd x) { return hd_cond(hd_gt(x, hd_c(0)), twice, hd_neg, x); }

START_TEST(branch)
{
    hd_array *x = hd_array_abstract(HD_F32, 4096);
    Seen s = look_at(hd_vmap(choose), &x, 1, _i), t = look_at(hd_vmap(both), &x, 1, _i);
    ck_assert_msg(s.kernels == 1 && s.steps == 1, "%d kernels\n%s", s.kernels, s.plan);
    ck_assert_msg(s.ifs == 2 && t.ifs == 0, "%d branches of a cond, %d of a choice", s.ifs, t.ifs);
    ck_assert_msg(
        count(s.code, "if (") == count(t.code, "if (") + 2 && s.spirv_branches == t.spirv_branches + 2,
        "no branches in what devices get\n%s", s.plan);
    free(t.plan), free(t.code);
    done(&s, &x, 1);
}
END_TEST

/* Two lanes of a select cost less than one jump. */
START_TEST(no_branch_for_little)
{
    hd_array *x = hd_array_abstract(HD_F32, 4096);
    Seen s = look_at(hd_vmap(cheap), &x, 1, _i);
    ck_assert_int_eq(s.ifs, 0);
    done(&s, &x, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lanes");
    TCase *t = tcase_create("plans");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, loop_with_an_exit_for_each_lane, 0, 2);
    tcase_add_loop_test(t, network_forward, 0, 2);
    tcase_add_loop_test(t, network_gradient, 0, 2);
    tcase_add_loop_test(t, branch, 0, 2);
    tcase_add_loop_test(t, no_branch_for_little, 0, 2);
    suite_add_tcase(suite, t);
    return suite_run(suite);
}
