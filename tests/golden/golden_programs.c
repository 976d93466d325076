/*
 * golden_programs.c - the named programs of control flow and of derivatives of small functions.
 *
 * In:  arrays.   Out: arrays, in the order in which the stored cases have them.
 */
#include <string.h>

#include "golden.h"

#define ARGS const json_t *a, const hd *x, int n
#define UNUSED (void)a, (void)n

static hd i32(double v) { return hd_cast(hd_c(v), HD_I32); }
static hd one_more(hd v) { return hd_add(v, hd_c(1)); }
static hd sum_squares(hd v) { return hd_sum(hd_square(v)); }
static hd cube(hd v) { return hd_mul(hd_mul(v, v), v); }

/* ---- fori ---- */

static hd poly_step(hd x, hd i, hd v) { return hd_add(hd_mul(v, x), hd_cast(i, hd_dtype(v))); }
static hd fori_polynomial(ARGS)
{
    (void)n;
    return hd_fori(i32(attr_f(a, "lower", 0)), i32(attr_f(a, "upper", 0)), hd_partial(poly_step, x[0]),
        hd_ones_like(x[0]));
}

static hd half_step(hd x, hd i, hd v) { (void)i; return hd_add(hd_mul(v, hd_c(0.5)), x); }
static hd fori_dynamic(ARGS)
{
    UNUSED;
    return hd_fori(i32(0), x[0], hd_partial(half_step, x[1]), hd_zeros_like(x[1]));
}

static hd update_step(hd i, hd v)
{
    hd before = hd_dynamic_index(v, hd_sub(i, hd_c(1)), 0), here = hd_dynamic_index(v, i, 0);
    return hd_dynamic_update_index(v, hd_add(here, before), i, 0);
}
static hd fori_index_update(ARGS)
{
    UNUSED;
    return hd_fori(i32(1), i32((double)hd_dim(x[0], 0)), update_step, x[0]);
}

static hd fib_step(hd i, hd s)
{
    (void)i;
    return hd_tuple(hd_nth(s, 1), hd_add(hd_nth(s, 0), hd_nth(s, 1)));
}
static hd fori_fibonacci(ARGS) { UNUSED; return hd_fori(i32(0), x[0], fib_step, hd_tuple(i32(0), i32(1))); }

/* ---- while ---- */

static hd collatz_cond(hd s) { return hd_gt(hd_nth(s, 0), hd_c(1)); }
static hd collatz_body(hd s)
{
    hd v = hd_nth(s, 0), even = hd_eq(hd_mod(v, hd_c(2)), hd_c(0));
    v = hd_where(even, hd_floor_divide(v, hd_c(2)), one_more(hd_mul(hd_c(3), v)));
    return hd_tuple(v, one_more(hd_nth(s, 1)), hd_maximum(hd_nth(s, 2), v));
}
static hd collatz(ARGS)
{
    UNUSED;
    hd s = hd_while(collatz_cond, collatz_body, hd_tuple(x[0], i32(0), x[0]));
    return hd_tuple(hd_nth(s, 1), hd_nth(s, 2));
}

static hd gcd_cond(hd s) { return hd_ne(hd_nth(s, 1), hd_c(0)); }
static hd gcd_body(hd s) { return hd_tuple(hd_nth(s, 1), hd_rem(hd_nth(s, 0), hd_nth(s, 1))); }
static hd gcd(ARGS) { UNUSED; return hd_nth(hd_while(gcd_cond, gcd_body, hd_tuple(x[0], x[1])), 0); }

static hd newton_cond(hd v, hd s)
{
    hd r = hd_nth(s, 0), far = hd_gt(hd_abs(hd_sub(hd_mul(r, r), v)), hd_mul(hd_c(1e-4), v));
    return hd_and(far, hd_lt(hd_nth(s, 1), hd_c(60)));
}
static hd newton_body(hd v, hd s)
{
    hd r = hd_nth(s, 0);
    return hd_tuple(hd_mul(hd_c(0.5), hd_add(r, hd_div(v, r))), one_more(hd_nth(s, 1)));
}
static hd newton_sqrt(ARGS)
{
    UNUSED;
    return hd_while(hd_partial(newton_cond, x[0]), hd_partial(newton_body, x[0]), hd_tuple(x[0], i32(0)));
}

static hd mandel_cond(hd limit, hd s)
{
    hd u = hd_nth(s, 0), v = hd_nth(s, 1);
    return hd_and(hd_le(hd_add(hd_mul(u, u), hd_mul(v, v)), hd_c(4)), hd_lt(hd_nth(s, 2), limit));
}
static hd mandel_body(hd cr, hd ci, hd s)
{
    hd u = hd_nth(s, 0), v = hd_nth(s, 1);
    return hd_tuple(hd_add(hd_sub(hd_mul(u, u), hd_mul(v, v)), cr),
        hd_add(hd_mul(hd_mul(hd_c(2), u), v), ci), one_more(hd_nth(s, 2)));
}
static hd mandelbrot(ARGS)
{
    (void)n;
    return hd_nth(
        hd_while(hd_partial(mandel_cond, i32(attr_f(a, "limit", 10))), hd_partial(mandel_body, x[0], x[1]),
            hd_tuple(hd_zeros_like(x[0]), hd_zeros_like(x[1]), i32(0))),
        2);
}

static hd reject_cond(hd accept, hd s) { return hd_ge(hd_nth(s, 1), accept); }
static hd reject_body(hd s)
{
    hd keys = hd_random_split(hd_nth(s, 0), 2);
    return hd_tuple(hd_index(keys, 0, 0), hd_random_uniform_n(hd_index(keys, 0, 1), HD_F32, HD_INTS()),
        one_more(hd_nth(s, 2)));
}
static hd rejection_sample(ARGS)
{
    (void)n;
    hd accept = hd_cast(hd_c(attr_f(a, "accept", 0.5)), HD_F32);
    hd s = hd_while(
        hd_partial(reject_cond, accept), reject_body, hd_tuple(x[0], hd_cast(hd_c(1), HD_F32), i32(0)));
    return hd_tuple(hd_nth(s, 1), hd_nth(s, 2));
}

static hd array_cond(hd s) { return hd_lt(sum_squares(hd_nth(s, 0)), hd_c(100)); }
static hd array_body(hd s) { return hd_tuple(hd_mul(hd_nth(s, 0), hd_c(2)), one_more(hd_nth(s, 1))); }
static hd while_array(ARGS) { UNUSED; return hd_while(array_cond, array_body, hd_tuple(x[0], i32(0))); }

static hd never_cond(hd v) { return hd_gt(hd_sum(v), hd_c(1e6)); }
static hd while_never(ARGS) { UNUSED; return hd_while(never_cond, one_more, x[0]); }

static hd capture_cond(hd limit, hd s) { return hd_lt(hd_nth(s, 0), limit); }
static hd capture_body(hd limit, hd v, hd s)
{
    return hd_tuple(hd_add(hd_nth(s, 0), v), hd_add(hd_nth(s, 1), limit));
}
static hd while_with_capture(ARGS)
{
    UNUSED;
    return hd_while(hd_partial(capture_cond, x[0]), hd_partial(capture_body, x[0], x[1]),
        hd_tuple(x[1], hd_zeros_like(x[1])));
}

static hd inner_body(hd i, hd t) { return hd_tuple(one_more(hd_nth(t, 0)), hd_add(hd_nth(t, 1), i)); }
static hd outer_body(hd s)
{
    hd i = hd_nth(s, 0);
    hd t = hd_while(hd_partial(capture_cond, i), hd_partial(inner_body, i), hd_tuple(i32(0), hd_nth(s, 1)));
    return hd_tuple(one_more(i), hd_nth(t, 1), hd_add(hd_nth(s, 2), hd_nth(t, 0)));
}
static hd while_nested(ARGS)
{
    UNUSED;
    hd s = hd_while(hd_partial(capture_cond, x[0]), outer_body, hd_tuple(i32(0), i32(0), i32(0)));
    return hd_tuple(hd_nth(s, 1), hd_nth(s, 2));
}

/* ---- cond, switch ---- */

static hd exp_1(hd v) { return hd_add(hd_exp(v), hd_c(1)); }
static hd twice(hd v) { return hd_mul(v, hd_c(2)); }
static hd cond_sin_exp(ARGS) { UNUSED; return hd_cond(x[0], hd_sin, exp_1, x[1]); }

static hd safe_log(hd v) { return hd_log(hd_add(hd_abs(v), hd_c(1))); }
static hd minus_three(hd v) { return hd_sub(hd_zeros_like(v), hd_c(3)); }
static hd cond_on_data(ARGS)
{
    UNUSED;
    return hd_cond(hd_gt(hd_sum(x[0]), hd_c(0)), safe_log, minus_three, x[0]);
}
static hd cond_log_trap(ARGS) { UNUSED; return hd_cond(hd_gt(x[0], hd_c(0)), hd_log, twice, x[0]); }

static hd both_yes(hd u, hd v) { return hd_tuple(hd_add(u, v), hd_mul(u, v)); }
static hd both_no(hd u, hd v) { return hd_tuple(hd_sub(u, v), v); }
static hd cond_two_outputs(ARGS) { UNUSED; return hd_cond(x[0], both_yes, both_no, x[1], x[2]); }

static hd ten_times(hd v) { return hd_mul(v, hd_c(10)); }
static hd inner_cond(hd v) { return hd_cond(hd_gt(v, hd_c(2)), ten_times, hd_square, v); }
static hd cond_nested(ARGS) { UNUSED; return hd_cond(hd_gt(x[0], hd_c(1)), inner_cond, hd_neg, x[0]); }

static hd captured_yes(hd w, hd v) { return hd_mul(v, w); }
static hd captured_no(hd w, hd v) { return hd_add(v, hd_mul(w, w)); }
static hd cond_captured(ARGS)
{
    UNUSED;
    return hd_cond(x[0], hd_partial(captured_yes, x[2]), hd_partial(captured_no, x[2]), x[1]);
}

static hd switch_four(ARGS)
{
    UNUSED;
    return hd_switch(x[0], HD_FNS(one_more, hd_square, hd_sin, hd_neg), x[1]);
}

/* ---- scan ---- */

static hd cumsum_step(hd c, hd v) { c = hd_add(c, v); return hd_tuple(c, c); }
static hd scan_cumsum(ARGS)
{
    (void)n;
    hd_ints s = hd_shape(x[0]), row = { s.n - 1, { 0 } };
    memcpy(row.v, s.v + 1, (size_t)(s.n > 1 ? s.n - 1 : 0) * sizeof *s.v);
    return hd_scan(
        cumsum_step, hd_zeros_n(hd_dtype(x[0]), row), x[0], .reverse = attr_b(a, "reverse", false));
}

static hd several_step(hd c, hd s)
{
    hd u = hd_nth(s, 0), v = hd_nth(s, 1);
    hd old = hd_nth(c, 0), p = hd_add(hd_mul(old, hd_c(0.5)), u),
       q = hd_tanh(hd_add(hd_nth(c, 1), hd_mul(old, v)));
    return hd_tuple(hd_tuple(p, q), hd_tuple(hd_add(p, q), hd_mul(u, q)));
}
static hd scan_several(ARGS)
{
    (void)n;
    return hd_scan(
        several_step, hd_tuple(x[0], x[1]), hd_tuple(x[2], x[3]), .reverse = attr_b(a, "reverse", false));
}

static hd logistic_step(hd c, hd none)
{
    (void)none;
    c = hd_mul(hd_mul(hd_c(3.5), c), hd_sub(hd_c(1), c));
    return hd_tuple(c, c);
}
static hd scan_length_only(ARGS)
{
    (void)n;
    return hd_scan(logistic_step, x[0], HD_NIL, .length = attr_i(a, "length", 1));
}

static hd rnn_step(hd w, hd u, hd h, hd v)
{
    h = hd_tanh(hd_add(hd_dot(w, h), hd_dot(u, v)));
    return hd_tuple(h, sum_squares(h));
}
static hd scan_rnn_loss(ARGS)
{
    UNUSED;
    hd s = hd_scan(hd_partial(rnn_step, x[0], x[1]), x[2], x[3]);
    return hd_add(hd_sum(hd_nth(s, 1)), hd_sum(hd_nth(s, 0)));
}

static hd element_step(hd c, hd e) { return hd_tuple(hd_add(hd_mul(c, hd_c(0.9)), e), hd_mul(c, e)); }
static hd row_step(hd c, hd row)
{
    hd s = hd_scan(element_step, c, row);
    return hd_tuple(hd_add(hd_nth(s, 0), hd_sum(row)), hd_nth(s, 1));
}
static hd scan_of_scan(ARGS) { UNUSED; return hd_scan(row_step, x[0], x[1]); }

static hd add_e(hd e, hd c) { return hd_add(c, e); }
static hd halve(hd c) { return hd_mul(c, hd_c(0.5)); }
static hd cond_step(hd c, hd e)
{
    c = hd_cond(hd_gt(e, hd_c(0)), hd_partial(add_e, e), halve, c);
    return hd_tuple(c, c);
}
static hd scan_of_cond(ARGS) { UNUSED; return hd_scan(cond_step, x[0], x[1]); }

static hd big(hd s) { return hd_ge(hd_nth(s, 0), hd_c(1)); }
static hd halve_count(hd s) { return hd_tuple(hd_div(hd_nth(s, 0), hd_c(2)), one_more(hd_nth(s, 1))); }
static hd while_step(hd count, hd e)
{
    hd s = hd_while(big, halve_count, hd_tuple(e, i32(0)));
    return hd_tuple(hd_add(count, hd_nth(s, 1)), hd_nth(s, 0));
}
static hd scan_of_while(ARGS) { UNUSED; return hd_scan(while_step, i32(0), x[0]); }

static hd power_step(hd m, hd p, hd none)
{
    (void)none;
    p = hd_matmul(p, m);
    return hd_tuple(p, hd_sum(hd_diag(p)));
}
static hd scan_matrix_power(ARGS)
{
    (void)n;
    hd eye = hd_eye(hd_dtype(x[0]), hd_dim(x[0], 0));
    return hd_scan(hd_partial(power_step, x[0]), eye, HD_NIL, .length = attr_i(a, "length", 1));
}

static hd walk_step(hd table, hd p, hd w)
{
    p = hd_dynamic_index(table, p, 0);
    return hd_tuple(p, hd_mul(hd_cast(p, hd_dtype(w)), w));
}
static hd scan_dynamic_index(ARGS) { UNUSED; return hd_scan(hd_partial(walk_step, x[0]), i32(0), x[1]); }

static hd sin_sum(hd v) { return hd_sum(hd_sin(v)); }
static hd map_sin_sum(ARGS) { UNUSED; return hd_map(sin_sum, x[0]); }

static hd associative_scan_max(ARGS)
{
    (void)n;
    return hd_associative_scan(
        hd_maximum, x[0], .axis = (int)attr_i(a, "axis", 0), .reverse = attr_b(a, "reverse", false));
}

static hd linear_maps(hd p, hd q)
{
    hd s = hd_nth(q, 0);
    return hd_tuple(hd_mul(s, hd_nth(p, 0)), hd_add(hd_mul(s, hd_nth(p, 1)), hd_nth(q, 1)));
}
static hd associative_scan_linear(ARGS)
{
    UNUSED;
    return hd_associative_scan(linear_maps, hd_tuple(x[0], x[1]));
}

/* ---- checkpoints ---- */

static hd sin_layer(hd w, hd h) { return hd_sin(hd_dot(w, h)); }
static hd checkpointed_mlp(ARGS)
{
    UNUSED;
    hd_fn *layer = hd_checkpoint(sin_layer);
    return sum_squares(hd_apply(layer, x[0], hd_apply(layer, x[0], x[1])));
}

static hd tanh_step(hd w, hd h, hd x) { (void)x; return hd_tuple(hd_tanh(hd_dot(w, h)), hd_sum(h)); }
static hd checkpointed_scan(ARGS)
{
    (void)n;
    hd s =
        hd_scan(hd_checkpoint(hd_partial(tanh_step, x[0])), x[1], HD_NIL, .length = attr_i(a, "length", 0));
    return hd_add(sum_squares(hd_nth(s, 0)), hd_sum(hd_nth(s, 1)));
}

/* ---- derivatives of small functions ---- */

static hd stop_gradient_product(ARGS)
{
    UNUSED;
    hd s = hd_stop_gradient(x[0]);
    return hd_sum(hd_add(hd_mul(x[0], s), hd_sin(s)));
}

static hd straight_through_round(ARGS)
{
    UNUSED;
    return sum_squares(hd_add(x[0], hd_stop_gradient(hd_sub(hd_round(x[0]), x[0]))));
}

static hd rosenbrock(ARGS)
{
    UNUSED;
    int64_t m = hd_dim(x[0], 0);
    hd hi = hd_slice(x[0], HD_INTS(1), HD_INTS(m), HD_INTS()),
       lo = hd_slice(x[0], HD_INTS(0), HD_INTS(m - 1), HD_INTS());
    return hd_sum(
        hd_add(hd_mul(hd_c(100), hd_square(hd_sub(hi, hd_square(lo)))), hd_square(hd_sub(hd_c(1), lo))));
}

static hd vector_function(ARGS)
{
    UNUSED;
    return hd_stack(0, hd_mul(hd_sum(hd_sin(x[0])), hd_index(x[1], 0, 0)),
        hd_add(hd_prod(x[0]), sum_squares(x[1])),
        hd_mul(hd_exp(hd_neg(sum_squares(x[0]))), hd_index(x[1], 0, -1)));
}

static hd tanh_scalar(ARGS) { UNUSED; return hd_tanh(x[0]); }

static hd sin_square(hd v) { return hd_mul(hd_sin(v), hd_square(v)); }
static hd grad_of_grad(ARGS)
{
    UNUSED;
    hd_fn *one = hd_grad(sin_square), *two = hd_grad(one);
    return hd_tuple(hd_apply(one, x[0]), hd_apply(two, x[0]), hd_apply(hd_grad(two), x[0]));
}

static hd cubes_and_product(hd v) { return hd_add(hd_sum(cube(v)), hd_prod(v)); }
static hd jvp_of_grad(ARGS) { UNUSED; return hd_apply(hd_jvp(hd_grad(cubes_and_product)), x[0], x[1]); }
static hd along(hd v, hd at) { return hd_nth(hd_apply(hd_jvp(cubes_and_product), at, v), 1); }
static hd grad_of_jvp(ARGS) { UNUSED; return hd_apply(hd_grad(hd_partial(along, x[1])), x[0]); }

static hd probe_mul_grad(hd v)
{
    return hd_mul(v, hd_apply(hd_grad(hd_partial(hd_mul, v)), hd_cast(hd_c(2), hd_dtype(v))));
}
static hd probe_add_grad(hd v)
{
    return hd_mul(v, hd_apply(hd_grad(hd_partial(hd_add, v)), hd_cast(hd_c(1), hd_dtype(v))));
}
static hd perturbation_product(ARGS)
{
    UNUSED;
    return hd_tuple(hd_apply(hd_grad(probe_mul_grad), x[0]), hd_apply(hd_grad(probe_add_grad), x[0]));
}

static hd slope(hd_fn *f, hd at) { return hd_nth(hd_apply(hd_jvp(f), at, hd_ones_like(at)), 1); }
static hd probe_mul_jvp(hd v) { return hd_mul(v, slope(hd_partial(hd_mul, v), twice(hd_ones_like(v)))); }
static hd probe_add_jvp(hd v) { return hd_mul(v, slope(hd_partial(hd_add, v), hd_ones_like(v))); }
static hd x_y_y(hd v, hd y) { return hd_mul(hd_mul(v, y), y); }
static hd probe_mixed(hd v) { return hd_mul(v, hd_apply(hd_grad(hd_partial(x_y_y, v)), hd_ones_like(v))); }
static hd perturbation_forward(ARGS)
{
    UNUSED;
    return hd_tuple(slope(HD_FN(probe_mul_jvp), x[0]), slope(HD_FN(probe_add_jvp), x[0]),
        slope(HD_FN(probe_mixed), x[0]));
}

static hd shifted_cube(hd at, hd h) { return cube(hd_add(at, h)); }
static hd d_cube(hd at) { return hd_apply(hd_grad(hd_partial(shifted_cube, at)), hd_zeros_like(at)); }
static hd shifted_d_cube(hd at, hd h) { return d_cube(hd_add(at, h)); }
static hd perturbation_amazing(ARGS)
{
    UNUSED;
    return hd_apply(hd_grad(hd_partial(shifted_d_cube, x[0])), hd_zeros_like(x[0]));
}

static hd times_plus(hd u, hd total, hd v) { return hd_add(hd_mul(u, v), total); }
static hd closure_row(hd total, hd ys, hd u)
{
    return hd_apply(hd_vmap(hd_partial(times_plus, u, total)), ys);
}
static hd closure_under_vmap(ARGS)
{
    UNUSED;
    return hd_apply(hd_vmap(hd_partial(closure_row, hd_sum(x[0]), x[1])), x[0]);
}

static hd sum_sin_product(hd y, hd v) { return hd_sum(hd_sin(hd_mul(v, y))); }
static hd grad_squares(hd y, hd v) { return sum_squares(hd_apply(hd_grad(sum_sin_product), y, v)); }
static hd closure_under_grad(ARGS)
{
    UNUSED;
    return hd_apply(hd_grad(hd_partial(grad_squares, x[1])), x[0]);
}

static hd capture_step(hd w, hd c, hd e) { return hd_tuple(hd_add(hd_mul(c, w), e), hd_mul(c, e)); }
static hd captured_row(hd w, hd r)
{
    return hd_sum(hd_nth(hd_scan(hd_partial(capture_step, w), hd_zeros_like(w), r), 1));
}
static hd rows_times(hd w, hd xs, hd v)
{
    return hd_mul(hd_sum(hd_apply(hd_vmap(hd_partial(captured_row, w)), xs)), v);
}
static hd closure_scan_captures(ARGS)
{
    UNUSED;
    return hd_tuple(hd_apply(hd_grad(hd_partial(rows_times, x[0], x[1])), x[0]),
        hd_sum(hd_apply(hd_vmap(hd_partial(captured_row, x[0])), x[1])));
}

static hd sin_step(hd w, hd c, hd e) { return hd_tuple(hd_sin(hd_add(hd_mul(c, w), e)), HD_NIL); }
static hd final_state(hd w, hd row)
{
    return hd_nth(hd_scan(hd_partial(sin_step, w), hd_zeros_like(w), row), 0);
}
static hd vmap_of_grad_of_scan(ARGS)
{
    UNUSED;
    return hd_apply(hd_vmap(hd_grad(final_state), .in_axes = { HD_NONE, 0 }), x[0], x[1]);
}

static hd where_trap(ARGS) { UNUSED; return hd_where(hd_gt(x[0], hd_c(0)), hd_sqrt(x[0]), hd_c(0)); }
static hd where_guarded(ARGS)
{
    UNUSED;
    hd ok = hd_gt(x[0], hd_c(0));
    return hd_where(ok, hd_sqrt(hd_where(ok, x[0], hd_c(1))), hd_c(0));
}
static hd norm(ARGS) { UNUSED; return hd_sqrt(hd_sum(hd_mul(x[0], x[0]))); }

static const GoldenRow rows[] = {
#define R(name) { #name, name }
    R(fori_polynomial), R(fori_dynamic), R(fori_index_update), R(fori_fibonacci), R(collatz), R(gcd),
    R(newton_sqrt), R(mandelbrot), R(rejection_sample), R(while_array), R(while_never),
    R(while_with_capture), R(while_nested), R(cond_sin_exp), R(cond_on_data), R(cond_log_trap),
    R(cond_two_outputs), R(cond_nested), R(cond_captured), R(switch_four), R(scan_cumsum), R(scan_several),
    R(scan_length_only), R(scan_rnn_loss), R(scan_of_scan), R(scan_of_cond), R(scan_of_while),
    R(scan_matrix_power), R(scan_dynamic_index), R(map_sin_sum), R(checkpointed_mlp), R(checkpointed_scan),
    R(associative_scan_max), R(associative_scan_linear), R(stop_gradient_product), R(straight_through_round),
    R(rosenbrock), R(vector_function), R(tanh_scalar), R(grad_of_grad), R(jvp_of_grad), R(grad_of_jvp),
    R(perturbation_product), R(perturbation_forward), R(perturbation_amazing), R(closure_under_vmap),
    R(closure_under_grad), R(closure_scan_captures), R(vmap_of_grad_of_scan), R(where_trap),
    R(where_guarded), R(norm), { NULL, NULL }
};

extern const GoldenRow golden_guide_rows[], golden_collective_rows[], golden_rule_rows[];

GoldenFn *golden_programs(const char *op, const json_t *attrs, const char **missing)
{
    GoldenFn *f = golden_row(rows, op);
    if (!f)
        f = golden_row(golden_guide_rows, op);
    if (!f)
        f = golden_row(golden_collective_rows, op);
    if (!f)
        f = golden_row(golden_rule_rows, op);
    hd_random_older(!attr_b(attrs, "partitionable", true));
    return *missing ? NULL : f;
}
