/*
 * test_keys.c - HEDDLE_CHECK=keys: programs that use a random key twice are refused while they are traced,
 * with both lines and the way out; programs that use each key once are not; and without the word nothing is.
 */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "suite.h"

static hd draw(hd key) { return hd_random_normal(key, HD_F32); }
static hd row(hd keys, int i) { return hd_index(keys, 0, i); }
static hd both(hd a, hd b) { return hd_add(draw(a), draw(b)); }

/* ==================== straight code */

static hd two_samplers(hd k) { return hd_add(draw(k), hd_random_uniform(k, HD_F32)); }
static hd with_parameters(hd k)
{
    return hd_add(hd_random_gamma(k, hd_c(2)), hd_random_poisson(k, hd_c(2.0)));
}
static hd of_bits(hd k)
{
    return hd_tuple(hd_random_bits(k, HD_U32, 2), hd_random_randint(k, hd_c(0), hd_c(9)));
}
static hd of_order(hd k)
{
    hd x = hd_iota(HD_F32, 0, 4);
    return hd_tuple(hd_random_permutation(k, x), hd_random_categorical(k, x, 0));
}
static hd then_split(hd k) { return hd_tuple(draw(k), hd_random_split(k, 2)); }
static hd split_twice(hd k) { return hd_tuple(hd_random_split(k, 2), hd_random_split(k, 3)); }
static hd parts(hd k) { hd s = hd_random_split(k, 2); return both(row(s, 0), row(s, 1)); }
static hd part_twice(hd k) { hd s = hd_random_split(k, 2); return both(row(s, 1), row(s, 1)); }
static hd chain(hd k)
{
    hd s = hd_random_split(k, 2), t = hd_random_split(row(s, 0), 2);
    return both(row(t, 1), row(s, 1));
}
static hd folded(hd k) { return both(hd_random_fold_in(k, hd_c(0)), hd_random_fold_in(k, hd_c(1))); }
static hd folded_twice(hd k) { return both(hd_random_fold_in(k, hd_c(1)), hd_random_fold_in(k, hd_c(1))); }
static hd folded_and_drawn(hd k) { return both(hd_random_fold_in(k, hd_c(1)), k); }
static hd seeds(hd k) { (void)k; return both(hd_key(1), hd_key(2)); }
static hd one_seed(hd k) { (void)k; return both(hd_key(1), hd_key(1)); }

/* ==================== keys that go through views, trees and dynamic indices */

static hd reshaped(hd k) { return both(k, hd_squeeze(hd_reshape(k, 1, 2), 0)); }
static hd grid(hd k, int i, int j)
{
    hd s = hd_random_split(k, 6), g = hd_transpose(hd_reshape(s, 2, 3, 2), 1, 2, 0);
    return both(row(s, i), row(hd_index(g, 2, j / 3), j % 3));
}
static hd grid_same(hd k) { return grid(k, 4, 4); }
static hd grid_other(hd k) { return grid(k, 4, 2); }
static hd flipped_same(hd k) { hd s = hd_random_split(k, 3); return both(row(s, 0), row(hd_flip(s, 0), 2)); }
static hd flipped_other(hd k)
{
    hd s = hd_random_split(k, 3);
    return both(row(s, 0), row(hd_flip(s, 0), 0));
}
static hd joined(hd k, int j, int i)
{
    hd s = hd_random_split(k, 3), rest = hd_slice_axis(s, 0, 1, 3);
    return both(row(s, j), row(hd_concatenate(0, rest, hd_reshape(row(s, 0), 1, 2)), i));
}
static hd joined_same(hd k) { return joined(k, 2, 1); }
static hd joined_border(hd k) { return joined(k, 0, 2); }
static hd joined_other(hd k) { return joined(k, 2, 2); }
static hd in_tuple(hd k) { hd t = hd_tuple(k, hd_c(1)); return both(k, hd_nth(t, 0)); }
static hd in_dict(hd k)
{
    hd t = hd_dict({ "a", row(hd_random_split(k, 2), 0) });
    return both(hd_get(t, "a"), hd_key(3));
}
static hd dynamic_same(hd k)
{
    hd s = hd_random_split(k, 3), i = hd_cast(draw(hd_key(0)), HD_I32);
    return both(hd_dynamic_index(s, i, 0), hd_dynamic_index(s, i, 0));
}
static hd dynamic_other(hd k)
{
    hd s = hd_random_split(k, 3), i = hd_cast(draw(hd_key(0)), HD_I32);
    return both(hd_dynamic_index(s, i, 0), hd_dynamic_index(s, hd_add(i, hd_c(1)), 0));
}

/* ==================== functions that are applied */

static hd weighted(hd k, hd x) { return hd_mul(draw(k), x); }
static hd idle(hd k, hd x) { return hd_add(hd_cast(hd_sum(hd_random_fold_in(k, hd_c(1))), HD_F32), x); }
static hd make_two(hd k) { return hd_random_split(k, 2); }
static hd draw_and_give(hd k) { hd s = hd_random_split(k, 2); return hd_tuple(draw(row(s, 1)), s); }

static hd applied_twice(hd k) { return hd_add(hd_apply(draw, k), hd_apply(draw, k)); }
static hd applied_then_drawn(hd k) { return both(row(hd_apply(make_two, k), 0), k); }
static hd applied_parts(hd k)
{
    hd s = hd_apply(make_two, k);
    return hd_add(hd_apply(draw, row(s, 0)), hd_apply(draw, row(s, 1)));
}
static hd applied_jit(hd k) { return hd_add(hd_apply(hd_jit(draw), k), draw(k)); }
static hd applied_grad(hd k)
{
    hd_fn *g = hd_grad(weighted, .argnums = HD_INTS(1));
    return hd_add(hd_apply(g, k, hd_c(2.0)), draw(k));
}
static hd grad_once(hd k) { return hd_apply(hd_grad(weighted, .argnums = HD_INTS(1)), k, hd_c(2.0)); }
static hd grad_idle(hd k)
{
    return hd_add(hd_apply(hd_grad(idle, .argnums = HD_INTS(1)), k, hd_c(2.0)), draw(k));
}
static hd grad_of_grad(hd k)
{
    hd_fn *g = hd_grad(hd_grad(weighted, .argnums = HD_INTS(1)), .argnums = HD_INTS(1));
    return hd_add(hd_apply(g, k, hd_c(2.0)), draw(k));
}
static hd with_checkpoint(hd k) { return hd_add(hd_apply(hd_checkpoint(draw), k), draw(k)); }
static hd checkpoint_grad(hd k)
{
    return hd_apply(hd_grad(hd_checkpoint(weighted), .argnums = HD_INTS(1)), k, hd_c(2.0));
}
static hd partials(hd k)
{
    hd_fn *f = hd_partial(weighted, k);
    return hd_add(hd_apply(f, hd_c(1.0)), hd_apply(f, hd_c(2.0)));
}
static hd partial_once(hd k) { return hd_apply(hd_partial(weighted, k), hd_c(1.0)); }
static hd given_used(hd k) { return draw(row(hd_nth(hd_apply(draw_and_give, k), 1), 1)); }
static hd given_fresh(hd k) { return draw(row(hd_nth(hd_apply(draw_and_give, k), 1), 0)); }
static hd plain_rule(hd k, hd x, hd dk, hd dx)
{
    (void)dk;
    hd d = draw(k);
    return hd_tuple(hd_mul(d, x), hd_mul(d, dx));
}
static hd with_rule(hd k)
{
    return hd_apply(hd_grad(hd_custom_jvp(weighted, plain_rule), .argnums = HD_INTS(1)), k, hd_c(2.0));
}
static hd rule_twice(hd k) { return hd_add(with_rule(k), draw(k)); }

/* ==================== lanes */

static hd lanes(hd k) { return hd_apply(hd_vmap(draw), hd_random_split(k, 4)); }
static hd lanes_twice(hd k)
{
    hd s = hd_random_split(k, 4);
    return hd_add(hd_apply(hd_vmap(draw), s), hd_apply(hd_vmap(draw), s));
}
static hd lane_again(hd k)
{
    hd s = hd_random_split(k, 4);
    return hd_add(hd_apply(hd_vmap(draw), s), draw(row(s, 2)));
}
static hd lane_columns(hd k, int i)
{
    hd s = hd_random_split(k, 4), t = hd_transpose(hd_slice_axis(s, 0, 0, 3));
    return hd_add(hd_apply(hd_vmap(draw, .in_axes = { 1 }), t), draw(row(s, i)));
}
static hd columns_same(hd k) { return lane_columns(k, 2); }
static hd columns_other(hd k) { return lane_columns(k, 3); }
static hd equal_lanes(hd k) { return hd_apply(hd_vmap(draw), hd_broadcast_to(k, 3, 2)); }
static hd shared(hd k)
{
    return hd_apply(hd_vmap(weighted, .in_axes = { HD_NONE, 0 }), k, hd_iota(HD_F32, 0, 3));
}
static hd shared_twice(hd k) { return hd_add(shared(k), draw(k)); }

/* ==================== loops and branches */

static hd step_captured(hd k, hd carry, hd x) { return hd_tuple(hd_add(carry, weighted(k, x)), hd_c(0)); }
static hd scan_captured(hd k)
{
    return hd_nth(hd_scan(hd_partial(step_captured, k), hd_c(0.0f), hd_iota(HD_F32, 0, 3)), 0);
}
static hd scan_one_step(hd k)
{
    return hd_nth(hd_scan(hd_partial(step_captured, k), hd_c(0.0f), hd_iota(HD_F32, 0, 1)), 0);
}
static hd step_folded(hd k, hd carry, hd i)
{
    return hd_tuple(hd_add(carry, draw(hd_random_fold_in(k, i))), hd_c(0));
}
static hd scan_folded(hd k)
{
    return hd_nth(hd_scan(hd_partial(step_folded, k), hd_c(0.0f), hd_iota(HD_I32, 0, 3)), 0);
}
static hd step_rows(hd carry, hd k) { return hd_tuple(hd_add(carry, draw(k)), hd_c(0)); }
static hd scan_rows(hd k) { return hd_nth(hd_scan(step_rows, hd_zeros(HD_F32), hd_random_split(k, 3)), 0); }
static hd scan_rows_twice(hd k)
{
    hd s = hd_random_split(k, 3);
    return hd_add(hd_nth(hd_scan(step_rows, hd_zeros(HD_F32), s), 0), draw(row(s, 2)));
}
static hd step_kept(hd k, hd x) { return hd_tuple(k, weighted(k, x)); }
static hd scan_kept(hd k) { return hd_nth(hd_scan(step_kept, k, hd_iota(HD_F32, 0, 3)), 1); }
static hd step_split(hd k, hd x)
{
    hd s = hd_random_split(k, 2);
    return hd_tuple(row(s, 0), weighted(row(s, 1), x));
}
static hd scan_split(hd k) { return hd_nth(hd_scan(step_split, k, hd_iota(HD_F32, 0, 3)), 1); }
static hd scan_split_written(hd k)
{
    return hd_nth(hd_scan(step_split, k, hd_iota(HD_F32, 0, 4), .unroll = 2), 1);
}
static hd scan_split_then(hd k) { return hd_add(hd_sum(scan_split(k)), draw(k)); }
static hd step_wrong_half(hd k, hd x)
{
    hd s = hd_random_split(k, 2);
    return hd_tuple(row(s, 1), weighted(row(s, 1), x));
}
static hd scan_wrong_half(hd k) { return hd_nth(hd_scan(step_wrong_half, k, hd_iota(HD_F32, 0, 3)), 1); }
static hd fori_body(hd i, hd c, const void *folds)
{
    hd k = hd_nth(c, 0), use = *(const int *)folds ? hd_random_fold_in(k, i) : k;
    return hd_tuple(k, hd_add(hd_nth(c, 1), draw(use)));
}
static hd fori(hd k, int folds)
{
    return hd_fori(hd_c(0), hd_c(4), hd_bind(fori_body, folds), hd_tuple(k, hd_zeros(HD_F32)));
}
static hd fori_half(hd i, hd k, const void *half)
{
    hd s = hd_random_split(k, 2);
    hd_debug_print("{}", hd_add(draw(row(s, 1)), hd_cast(i, HD_F32)));
    return row(s, *(const int *)half);
}
static hd fori_halves(hd k, int half) { return hd_fori(hd_c(0), hd_c(4), hd_bind(fori_half, half), k); }
static hd fori_used_half(hd k) { return fori_halves(k, 1); }
static hd fori_fresh_half(hd k) { return fori_halves(k, 0); }
static hd fori_kept(hd k) { return fori(k, 0); }
static hd fori_folded(hd k) { return fori(k, 1); }
static hd below_one(hd c) { return hd_lt(hd_nth(c, 1), hd_c(1)); }
static hd asks_key(hd c) { return hd_lt(draw(hd_nth(c, 0)), hd_c(1)); }
static hd turn_kept(hd c) { return hd_tuple(hd_nth(c, 0), draw(hd_nth(c, 0))); }
static hd turn_split(hd c)
{
    hd s = hd_random_split(hd_nth(c, 0), 2);
    return hd_tuple(row(s, 0), draw(row(s, 1)));
}
static hd turn_idle(hd c) { return hd_tuple(hd_nth(c, 0), hd_add(hd_nth(c, 1), hd_c(1))); }
static hd while_kept(hd k) { return hd_while(below_one, turn_kept, hd_tuple(k, hd_zeros(HD_F32))); }
static hd while_split(hd k) { return hd_while(below_one, turn_split, hd_tuple(k, hd_zeros(HD_F32))); }
static hd while_asks(hd k) { return hd_while(asks_key, turn_idle, hd_tuple(k, hd_zeros(HD_F32))); }
static hd while_both(hd k) { return hd_while(asks_key, turn_split, hd_tuple(k, hd_zeros(HD_F32))); }
static hd mapped(hd k) { return hd_map(draw, hd_random_split(k, 5), .batch_size = 2); }
static hd mapped_captured(hd k) { return hd_map(hd_partial(weighted, k), hd_iota(HD_F32, 0, 5)); }

static hd noise(hd k) { return hd_random_uniform(k, HD_F32); }
static hd none(hd k) { (void)k; return hd_zeros(HD_F32); }
static hd yes(void) { return hd_gt(hd_sum(hd_iota(HD_F32, 0, 3)), hd_c(1)); }
static hd branches(hd k) { return hd_cond(yes(), draw, noise, k); }
static hd one_branch(hd k) { return hd_cond(yes(), draw, none, k); }
static hd captured_branches(hd k) { return hd_cond(yes(), hd_partial(draw, k), hd_partial(noise, k)); }
static hd branch_then(hd k) { return hd_add(one_branch(k), draw(k)); }
static hd before_branch(hd k) { hd x = draw(k); return hd_add(x, one_branch(k)); }
static hd in_branch(hd k) { return hd_cond(yes(), two_samplers, none, k); }
static hd branches_twice(hd k) { return hd_add(branches(k), branches(k)); }
static hd pair_branch(hd a, hd b) { return both(a, b); }
static hd pair_none(hd a, hd b) { (void)a, (void)b; return hd_zeros(HD_F32); }
static hd same_for_branch(hd k) { return hd_cond(yes(), pair_branch, pair_none, k, k); }
static hd no_use_in_branch(hd k) { return hd_add(hd_cond(yes(), none, none, k), draw(k)); }

/* ==================== keys that come back after some steps, and keys that the program spells out */

static hd scan3(hd_fn *f, hd carry, int64_t n)
{
    return hd_nth(hd_scan(f, carry, hd_iota(HD_F32, 0, n)), 1);
}
static hd two_keys(hd k) { hd s = hd_random_split(k, 2); return hd_tuple(row(s, 0), row(s, 1)); }
static hd step_swap(hd c, hd x)
{
    return hd_tuple(hd_tuple(hd_nth(c, 1), hd_nth(c, 0)), weighted(hd_nth(c, 0), x));
}
static hd swap_two(hd k) { return scan3(HD_FN(step_swap), two_keys(k), 2); }
static hd swap_three(hd k) { return scan3(HD_FN(step_swap), two_keys(k), 3); }
static hd step_roll(hd c, hd x) { return hd_tuple(hd_roll(c, 1, 0), weighted(row(c, 0), x)); }
static hd roll_four(hd k) { return scan3(HD_FN(step_roll), hd_random_split(k, 4), 4); }
static hd roll_five(hd k) { return scan3(HD_FN(step_roll), hd_random_split(k, 4), 5); }
static hd step_copy(hd c, hd x)
{
    return hd_tuple(hd_tuple(hd_nth(c, 1), hd_nth(c, 1)), weighted(hd_nth(c, 0), x));
}
static hd copy_two(hd k) { return scan3(HD_FN(step_copy), two_keys(k), 2); }
static hd copy_three(hd k) { return scan3(HD_FN(step_copy), two_keys(k), 3); }
static hd step_one_twice(hd c, hd x)
{
    hd fresh = row(hd_random_split(hd_nth(c, 0), 2), 0);
    return hd_tuple(hd_tuple(fresh, fresh), weighted(hd_nth(c, 1), x));
}
static hd made_twice(hd k) { return scan3(HD_FN(step_one_twice), two_keys(k), 2); }
static hd made_once(hd k) { return scan3(HD_FN(step_one_twice), two_keys(k), 1); }
static hd step_row_carried(hd c, hd k) { return hd_tuple(k, both(c, k)); }
static hd row_carried(hd k)
{
    hd s = hd_random_split(k, 4);
    return hd_nth(hd_scan(step_row_carried, row(s, 3), hd_slice_axis(s, 0, 0, 3)), 1);
}
static hd step_row_later(hd c, hd k) { return hd_tuple(k, draw(c)); }
static hd row_later(hd k)
{
    hd s = hd_random_split(k, 4);
    return hd_nth(hd_scan(step_row_later, row(s, 3), hd_slice_axis(s, 0, 0, 3)), 1);
}
static hd turn_swap(hd c)
{
    return hd_tuple(hd_nth(c, 1), hd_nth(c, 0), hd_add(hd_nth(c, 2), draw(hd_nth(c, 0))));
}
static hd below_two(hd c) { return hd_lt(hd_nth(c, 2), hd_c(2)); }
static hd asks_other(hd c) { return hd_lt(draw(hd_nth(c, 1)), hd_c(2)); }
static hd swap_carry(hd k)
{
    hd s = two_keys(k);
    return hd_tuple(hd_nth(s, 0), hd_nth(s, 1), hd_zeros(HD_F32));
}
static hd while_swap(hd k) { return hd_while(below_two, turn_swap, swap_carry(k)); }
static hd while_swap_two(hd k) { return hd_while(below_two, turn_swap, swap_carry(k), .max_trips = 2); }
static hd while_asks_other(hd k) { return hd_while(asks_other, turn_swap, swap_carry(k), .max_trips = 2); }
static hd while_kept_once(hd k)
{
    return hd_while(below_one, turn_kept, hd_tuple(k, hd_zeros(HD_F32)), .max_trips = 1);
}

static hd five(hd x) { return hd_mul(draw(hd_key(5)), x); }
static hd six(hd x) { return hd_mul(draw(hd_random_key(6)), x); }
static hd spelled_typed(hd k) { (void)k; return both(hd_random_key(1), hd_key(1)); }
static hd spelled_words(hd k) { (void)k; return both(hd_wrap_key_data(hd_key(1)), hd_random_key(1)); }
static hd spelled_inside(hd k) { (void)k; return hd_add(hd_apply(five, hd_c(1.0f)), draw(hd_key(5))); }
static hd spelled_applied(hd k)
{
    (void)k;
    return hd_add(hd_apply(six, hd_c(1.0f)), hd_apply(six, hd_c(2.0f)));
}
static hd spelled_others(hd k)
{
    (void)k;
    return hd_add(hd_apply(five, hd_c(1.0f)), hd_apply(six, hd_c(2.0f)));
}
static hd spelled_lanes(hd k) { (void)k; return hd_apply(hd_vmap(five), hd_iota(HD_F32, 0, 3)); }
static hd spelled_grad(hd k)
{
    (void)k;
    return hd_add(hd_apply(hd_grad(five), hd_c(1.0f)), draw(hd_key(5)));
}
static hd step_five(hd c, hd x) { return hd_tuple(c, hd_apply(five, x)); }
static hd spelled_loop(hd k) { return scan3(HD_FN(step_five), k, 3); }
static hd spelled_step(hd k) { return scan3(HD_FN(step_five), k, 1); }
static hd step_gives_five(hd c, hd x) { return hd_tuple(hd_key(5), weighted(hd_key_data(c), x)); }
static hd given_two(hd k) { return scan3(HD_FN(step_gives_five), hd_key_data(k), 2); }
static hd given_three(hd k) { return scan3(HD_FN(step_gives_five), hd_key_data(k), 3); }
static hd step_fixed(hd k, hd c, hd x) { return hd_tuple(c, weighted(hd_random_fold_in(k, hd_c(0)), x)); }
static hd fixed_loop(hd k) { return scan3(hd_partial(step_fixed, k), hd_c(0.0f), 3); }
static hd fixed_step(hd k) { return scan3(hd_partial(step_fixed, k), hd_c(0.0f), 1); }
static hd map_fixed(hd k, hd x) { return weighted(hd_random_fold_in(k, hd_c(0)), x); }
static hd step_applied(hd k, hd c, hd x) { return hd_tuple(c, hd_apply(map_fixed, k, x)); }
static hd applied_loop(hd k) { return scan3(hd_partial(step_applied, k), hd_c(0.0f), 3); }
static hd at_number(hd k, hd i) { return draw(hd_random_fold_in(k, i)); }
static hd step_numbered(hd k, hd c, hd x) { return hd_tuple(c, hd_apply(at_number, k, hd_cast(x, HD_I32))); }
static hd numbered_loop(hd k) { return scan3(hd_partial(step_numbered, k), hd_c(0.0f), 3); }
static hd fixed_map(hd k) { return hd_map(hd_partial(map_fixed, k), hd_iota(HD_F32, 0, 5)); }

/* ==================== typed keys, and their words */

static hd typed_grid(hd k, int i, int j)
{
    hd s = hd_random_split(k, 6), g = hd_transpose(hd_reshape(s, 2, 3), 1, 0);
    return both(row(s, i), row(hd_index(g, 1, j / 3), j % 3));
}
static hd typed_same(hd k) { return typed_grid(k, 4, 4); }
static hd typed_other(hd k) { return typed_grid(k, 4, 2); }
static hd typed_joined(hd k)
{
    hd s = hd_random_split(k, 2);
    return both(row(s, 1), row(hd_concatenate(0, hd_flip(s, 0), s), 0));
}
static hd typed_lanes(hd k) { return hd_apply(hd_vmap(draw), hd_broadcast_to(k, 3)); }
static hd typed_columns(hd k, int i)
{
    hd s = hd_random_split(k, 6), half = hd_slice_axis(hd_reshape(s, 2, 3), 1, 0, 2);
    return hd_add(hd_sum(hd_apply(hd_vmap(hd_vmap(draw), .in_axes = { 1 }), half)), draw(row(s, i)));
}
static hd typed_column_same(hd k) { return typed_columns(k, 4); }
static hd typed_column_other(hd k) { return typed_columns(k, 5); }
static hd words_same(hd k) { hd s = hd_random_split(k, 3); return both(row(s, 1), row(hd_key_data(s), 1)); }
static hd words_other(hd k) { hd s = hd_random_split(k, 3); return both(row(s, 1), row(hd_key_data(s), 2)); }
static hd words_back(hd k)
{
    hd s = hd_random_split(k, 3);
    return both(row(s, 1), row(hd_wrap_key_data(hd_key_data(s)), 1));
}

/* With typed keys, and with words; with words alone; with typed keys alone. */
enum { EITHER, WORDS, TYPED };
#define ONCE(f) { #f, f, false, EITHER }
#define TWICE(f) { #f, f, true, EITHER }
#define OF(which, twice, f) { #f, f, twice, which }
static const struct { const char *name; hd (*f)(hd); bool twice; int which;
} program[] = {
    TWICE(two_samplers),
    TWICE(with_parameters),
    TWICE(of_bits),
    TWICE(of_order),
    TWICE(then_split),
    TWICE(split_twice),
    ONCE(parts),
    TWICE(part_twice),
    ONCE(chain),
    ONCE(folded),
    TWICE(folded_twice),
    ONCE(folded_and_drawn),
    ONCE(seeds),
    TWICE(one_seed),
    OF(WORDS, true, reshaped),
    OF(WORDS, true, grid_same),
    OF(WORDS, false, grid_other),
    TWICE(flipped_same),
    ONCE(flipped_other),
    OF(WORDS, true, joined_same),
    OF(WORDS, true, joined_border),
    OF(WORDS, false, joined_other),
    TWICE(in_tuple),
    ONCE(in_dict),
    TWICE(dynamic_same),
    ONCE(dynamic_other),
    TWICE(applied_twice),
    TWICE(applied_then_drawn),
    ONCE(applied_parts),
    TWICE(applied_jit),
    TWICE(applied_grad),
    ONCE(grad_once),
    OF(WORDS, false, grad_idle),
    TWICE(grad_of_grad),
    TWICE(with_checkpoint),
    ONCE(checkpoint_grad),
    TWICE(partials),
    ONCE(partial_once),
    TWICE(given_used),
    ONCE(given_fresh),
    ONCE(with_rule),
    TWICE(rule_twice),
    ONCE(lanes),
    TWICE(lanes_twice),
    TWICE(lane_again),
    OF(WORDS, true, columns_same),
    OF(WORDS, false, columns_other),
    OF(WORDS, true, equal_lanes),
    ONCE(shared),
    TWICE(shared_twice),
    TWICE(scan_captured),
    ONCE(scan_one_step),
    ONCE(scan_folded),
    ONCE(scan_rows),
    TWICE(scan_rows_twice),
    TWICE(scan_kept),
    ONCE(scan_split),
    ONCE(scan_split_written),
    TWICE(scan_split_then),
    TWICE(scan_wrong_half),
    TWICE(fori_kept),
    ONCE(fori_folded),
    TWICE(fori_used_half),
    ONCE(fori_fresh_half),
    TWICE(while_kept),
    ONCE(while_split),
    TWICE(while_asks),
    TWICE(while_both),
    ONCE(mapped),
    TWICE(mapped_captured),
    ONCE(branches),
    ONCE(one_branch),
    ONCE(captured_branches),
    TWICE(branch_then),
    TWICE(before_branch),
    TWICE(in_branch),
    TWICE(branches_twice),
    TWICE(same_for_branch),
    ONCE(no_use_in_branch),
    ONCE(swap_two),
    TWICE(swap_three),
    ONCE(roll_four),
    TWICE(roll_five),
    ONCE(copy_two),
    TWICE(copy_three),
    TWICE(made_twice),
    ONCE(made_once),
    TWICE(row_carried),
    ONCE(row_later),
    TWICE(while_swap),
    ONCE(while_swap_two),
    TWICE(while_asks_other),
    ONCE(while_kept_once),
    TWICE(spelled_typed),
    TWICE(spelled_words),
    TWICE(spelled_inside),
    TWICE(spelled_applied),
    ONCE(spelled_others),
    ONCE(spelled_lanes),
    TWICE(spelled_grad),
    TWICE(spelled_loop),
    ONCE(spelled_step),
    ONCE(given_two),
    TWICE(given_three),
    TWICE(fixed_loop),
    ONCE(fixed_step),
    TWICE(fixed_map),
    TWICE(applied_loop),
    ONCE(numbered_loop),
    OF(TYPED, true, typed_same),
    OF(TYPED, false, typed_other),
    OF(TYPED, true, typed_joined),
    OF(TYPED, true, typed_lanes),
    OF(TYPED, true, typed_column_same),
    OF(TYPED, false, typed_column_other),
    OF(TYPED, true, words_same),
    OF(TYPED, false, words_other),
    OF(TYPED, true, words_back),
};

static int shape_of_key(hd (*f)(hd), bool typed)
{
    hd_array *key = typed ? hd_array_random_key(7) : hd_array_key(7), *y = NULL;
    int code = hd_eval_shape(f, &y, key);
    hd_drop(key), hd_drop(y);
    return code;
}

static int shape_of_program(hd (*f)(hd)) { return shape_of_key(f, false); }

/* Without the word a key may be used as often as one likes. */
START_TEST(off)
{
    int status = -1;
    pid_t child = fork();
    if (!child) {
        unsetenv("HEDDLE_CHECK");
        _exit(shape_of_program(two_samplers) || shape_of_program(scan_captured) ? 1 : 0);
    }
    waitpid(child, &status, 0);
    ck_assert_int_eq(status, 0);
}
END_TEST

static void judged(int i, bool typed)
{
    int code = shape_of_key(program[i].f, typed);
    ck_assert_msg(!code == !program[i].twice, "%s, %s: %s", program[i].name, typed ? "typed" : "words",
        code ? hd_error() : "nothing was found");
    if (!code)
        return;
    ck_assert_msg(strstr(hd_error(), "a random key is used") && strstr(hd_error(), "hd_random_fold_in"),
        "%s: %s", program[i].name, hd_error());
}

START_TEST(rules)
{
    if (program[_i].which != TYPED)
        judged(_i, false);
    if (program[_i].which != WORDS)
        judged(_i, true);
}
END_TEST

/* Both lines are told: where it is used, and where it was. */
enum { FIRST = __LINE__ + 3 };
static hd two_lines(hd k)
{
    hd a = hd_random_normal(k, HD_F32);
    return hd_add(a, hd_random_uniform(k, HD_F32));
}

START_TEST(lines)
{
    char first[40], second[40];
    snprintf(first, sizeof first, "test_keys.c:%d", FIRST),
        snprintf(second, sizeof second, "test_keys.c:%d", FIRST + 1);
    ck_assert(shape_of_program(two_lines));
    ck_assert_msg(strstr(hd_error(), first) && strstr(hd_error(), second), "%s", hd_error());
}
END_TEST

/* A graph that is kept from before says what it uses, and so does one of it. */
START_TEST(kept)
{
    for (int i = 0; i < 2; i++) {
        ck_assert_msg(!shape_of_program(draw) && !shape_of_program(lanes), "%s", hd_error());
        ck_assert(shape_of_program(applied_twice) && shape_of_program(lanes_twice));
        ck_assert_msg(!shape_of_program(applied_parts), "%s", hd_error());
    }
}
END_TEST

/* ==================== calls */

static hd second(hd s) { return draw(row(s, 1)); }
static hd first(hd s) { return draw(row(s, 0)); }
static hd fails(hd k)
{
    hd_check(hd_lt(draw(k), hd_c(-100)), "so low");
    return draw(hd_random_fold_in(k, hd_c(1)));
}
static hd fold(hd k) { return hd_random_fold_in(k, hd_c(1)); }
static hd swapped(hd k) { return hd_tuple(noise(k), k); }

typedef enum Twice { NOT, USED_TWICE } Twice;

static void call_is(Twice t, hd_fn *f, hd_array *key, const char *what)
{
    hd_array *y = NULL;
    int code = hd_call_n(f, &y, 1, &key, 1);
    ck_assert_msg(!code == !t, "%s: %s", what, code ? hd_error() : "nothing was found");
    ck_assert_msg(
        !code || strstr(hd_error(), "a random key is used twice: by this call"), "%s: %s", what, hd_error());
    hd_drop(y);
}

static void calls_of(bool typed)
{
    hd_array *key = typed ? hd_array_random_key(7) : hd_array_key(7),
             *again = typed ? hd_array_random_key(7) : hd_array_key(7), *s = NULL;
    hd_array *given = NULL, *y = NULL;
    call_is(NOT, HD_FN(fold), key, "numbers folded in");
    call_is(NOT, HD_FN(fold), key, "numbers folded in again");
    ck_assert(!hd_call(make_two, &s, key));
    call_is(USED_TWICE, HD_FN(draw), key, "drawn from, after it was split");
    call_is(NOT, HD_FN(draw), again, "another array of the same key");
    call_is(NOT, HD_FN(first), s, "the first row");
    call_is(NOT, HD_FN(second), s, "the second row");
    call_is(USED_TWICE, HD_FN(second), s, "the second row again");
    hd_drop(again), again = typed ? hd_array_random_key(8) : hd_array_key(8);
    ck_assert(hd_call(both, &y, again, again) && strstr(hd_error(), "used twice"));
    ck_assert(hd_call(fails, &y, again) && strstr(hd_error(), "so low"));
    call_is(NOT, HD_FN(draw_and_give), again, "after calls that did not come about");
    hd_drop(again), again = typed ? hd_array_random_key(9) : hd_array_key(9);
    ck_assert(!hd_call(draw_and_give, &given, again));
    call_is(NOT, HD_FN(first), hd_array_nth(given, 1), "a key that was given");
    call_is(USED_TWICE, HD_FN(second), hd_array_nth(given, 1), "a key that was used and given");
    hd_drop(key), hd_drop(again), hd_drop(s), hd_drop(given);
}

START_TEST(calls)
{
    calls_of(false);
    calls_of(true);
}
END_TEST

/* Both lines are told: of the call, and of the one before. */
START_TEST(call_lines)
{
    hd_array *key = hd_array_random_key(7), *x = NULL, *y = NULL;
    char text[2][40];
    snprintf(text[1], sizeof text[1], "call at ");
    snprintf(text[0], sizeof text[0], "test_keys.c:%d: ", __LINE__ + 2);
    ck_assert(!hd_call(swapped, &x, key));
    ck_assert(hd_call(draw, &y, key) && strstr(hd_error(), text[1]));
    snprintf(text[1], sizeof text[1], "test_keys.c:%d;", __LINE__ - 2);
    ck_assert_msg(
        strstr(hd_error(), text[0]) && strstr(hd_error(), text[1]) && strstr(hd_error(), "test_keys.c:11"),
        "%s", hd_error());
    hd_drop(key), hd_drop(x);
}
END_TEST

int main(void)
{
    setenv("HEDDLE_CHECK", "keys", 1), setenv("HEDDLE_DEVICE", "host", 1);
    Suite *s = suite_create("keys");
    TCase *c = suite_case(s);
    tcase_add_test(c, off);
    tcase_add_loop_test(c, rules, 0, sizeof program / sizeof *program);
    tcase_add_test(c, lines);
    tcase_add_test(c, kept);
    tcase_add_test(c, calls);
    tcase_add_test(c, call_lines);
    return suite_run(s);
}
