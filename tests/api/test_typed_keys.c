/*
 * test_typed_keys.c - keys that are no numbers: whatever moves arrays moves them as it moves their words;
 * every transform carries them and draws what it draws from u32[2]; arithmetic refuses them with the line
 * and the way out; they are printed, saved and read.
 */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "suite.h"
#include "graph.h"
#include "compile.h"

static hd row(hd keys, int64_t i) { return hd_index(keys, 0, i); }
static hd draw(hd key) { return hd_random_normal(key, HD_F32); }

/* ==================== what moves arrays: x is key[2,3], or u32[2,3], one of their words */

static hd places(void) { return hd_lit_n(HD_I32, (hd_ints){ 1, { 3 } }, (const int32_t[]){ 1, 0, 1 }); }
static hd pair(void) { return hd_lit_n(HD_I32, (hd_ints){ 1, { 2 } }, (const int32_t[]){ 0, 2 }); }
static hd two(void) { return hd_sum(places()); }
static hd mask(void) { return hd_gt(hd_reshape(hd_iota(HD_I32, 0, 6), 2, 3), hd_c(2)); }
static hd corner(hd x) { return row(row(x, 1), 0); }
static hd same(hd x) { return x; }
static hd first_two(hd x) { return hd_slice_axis(x, 0, 0, 2); }

static hd reshaped(hd x) { return hd_reshape(x, 3, 1, 2); }
static hd transposed(hd x) { return hd_transpose(x, 1, 0); }
static hd moved(hd x) { return hd_transpose(hd_reshape(x, 1, 2, 3), 2, 0, 1); }
static hd sliced(hd x) { return hd_slice_axis(x, 1, 1, 3); }
static hd flipped(hd x) { return hd_flip(x, 1); }
static hd rolled(hd x) { return hd_roll(x, 1, 1); }
static hd broad(hd x) { return hd_broadcast_to(x, 4, 2, 3); }
static hd squeezed(hd x) { return hd_squeeze(hd_expand_dims(x, 0), 0); }
static hd joined(hd x) { return hd_concatenate(0, x, hd_flip(x, 0)); }
static hd stacks(hd x) { return hd_stack(1, x, hd_flip(x, 1)); }
static hd tiled(hd x) { return hd_tile(x, 2, 1); }
static hd repeated(hd x) { return hd_repeat(x, 2, 1); }
static hd padded(hd x) { return hd_pad(x, corner(x), HD_INTS(1, 0), HD_INTS(0, 2), HD_INTS(0, 1)); }
static hd full(hd x) { return hd_full(corner(x), 2, 2); }
static hd taken(hd x) { return hd_take(x, places(), 1); }
static hd filled(hd x) { return hd_take(x, hd_add(places(), hd_c(1)), 0, .fill = corner(x)); }
static hd outside(hd x) { return hd_take(x, hd_add(places(), hd_c(1)), 0); }
static hd along(hd x) { return hd_take_along_axis(x, hd_reshape(pair(), 2, 1), 1); }
static hd dynamic(hd x) { return hd_dynamic_index(x, two(), 1); }
static hd window(hd x) { return hd_dynamic_slice(x, pair(), HD_INTS(1, 2)); }
static hd updated(hd x) { return hd_dynamic_update_index(x, row(x, 1), hd_c(0), 0); }
static hd patched(hd x) { return hd_dynamic_update_slice(x, hd_slice_axis(x, 1, 0, 2), pair()); }
static hd at_index(hd x) { return hd_at(x, hd_c(1), two()); }
static hd at_set(hd x) { return hd_at_set(x, corner(x), hd_c(0), two()); }
static hd chosen(hd x) { return hd_where(mask(), x, hd_flip(x, 1)); }
static hd chosen_by_one(hd x) { return hd_where(hd_gt(two(), hd_c(5)), x, hd_flip(x, 0)); }
static hd sorted_along(hd x) { return hd_nth(hd_sort(hd_tuple(places(), row(x, 0)), 0), 1); }
static hd shuffled(hd x) { return hd_random_permutation(hd_key(3), hd_reshape(x, 6)); }
static hd some(hd x) { return hd_random_choice(hd_key(3), hd_reshape(x, 6), 4, true); }
static hd stopped(hd x) { return hd_checkpoint_name(hd_stop_gradient(x), "keys"); }

static hd mapped(hd x) { return hd_apply(hd_vmap(first_two), x); }
static hd mapped_across(hd x) { return hd_apply(hd_vmap(same, .in_axes = { 1 }, .out_axes = 1), x); }
static hd gathers(hd x) { return hd_all_gather(x, "lane", 0, false); }
static hd gathered(hd x) { return hd_apply(hd_vmap(gathers, .axis_name = "lane"), x); }
static hd deals(hd x) { return hd_all_to_all(x, "lane", 0, 0, false); }
static hd dealt(hd x) { return hd_apply(hd_vmap(deals, .axis_name = "lane"), hd_slice_axis(x, 1, 0, 2)); }
static hd passes(hd x) { return hd_ppermute(x, "lane", (const int[][2]){ { 0, 1 }, { 1, 0 } }, 2); }
static hd passed(hd x) { return hd_apply(hd_vmap(passes, .axis_name = "lane"), x); }
static hd turn(hd c, hd x) { return hd_tuple(hd_where(hd_gt(two(), hd_c(1)), hd_flip(x, 0), c), c); }
static hd scanned(hd x) { return hd_nth(hd_scan(turn, row(x, 0), x), 1); }
static hd scanned_back(hd x) { return hd_nth(hd_scan(turn, row(x, 0), x, .reverse = true), 0); }
static hd scanned_lanes(hd x) { return hd_apply(hd_vmap(scanned), hd_stack(0, x, hd_flip(x, 1))); }
static hd goes_on(hd c) { return hd_lt(hd_nth(c, 0), hd_c(4)); }
static hd rolls(hd c) { return hd_tuple(hd_add(hd_nth(c, 0), hd_c(1)), hd_roll(hd_nth(c, 1), 1, 0)); }
static hd turns(hd n, hd x) { return hd_nth(hd_while(goes_on, rolls, hd_tuple(n, x)), 1); }
static hd while_moved(hd x) { return turns(two(), row(x, 0)); }
static hd while_lanes(hd x) { return hd_apply(hd_vmap(turns), pair(), x); }
static hd fori_body(hd i, hd x) { return hd_where(hd_eq(i, hd_c(1)), hd_flip(x, 0), hd_roll(x, 1, 1)); }
static hd counted(hd x) { return hd_fori(hd_c(0), hd_c(3), fori_body, x); }
static hd branched(hd x) { return hd_cond(hd_gt(two(), hd_c(1)), flipped, rolled, x); }
static hd flipped_row(hd x) { return hd_flip(x, 0); }
static hd branch(hd p, hd x) { return hd_switch(p, HD_FNS(same, flipped_row, same), x); }
static hd branch_lanes(hd x) { return hd_apply(hd_vmap(branch), hd_slice_axis(places(), 0, 0, 2), x); }
static hd jitted(hd x) { return hd_apply(hd_jit(rolled), x); }
static hd checkpointed(hd x) { return hd_apply(hd_checkpoint(rolled), x); }

#define MOVE(f) { #f, f }
static const struct { const char *name; hd (*f)(hd);
} move[] = {
    MOVE(reshaped),
    MOVE(transposed),
    MOVE(moved),
    MOVE(sliced),
    MOVE(flipped),
    MOVE(rolled),
    MOVE(broad),
    MOVE(squeezed),
    MOVE(joined),
    MOVE(stacks),
    MOVE(tiled),
    MOVE(repeated),
    MOVE(padded),
    MOVE(full),
    MOVE(taken),
    MOVE(filled),
    MOVE(outside),
    MOVE(along),
    MOVE(dynamic),
    MOVE(window),
    MOVE(updated),
    MOVE(patched),
    MOVE(at_index),
    MOVE(at_set),
    MOVE(chosen),
    MOVE(chosen_by_one),
    MOVE(sorted_along),
    MOVE(shuffled),
    MOVE(some),
    MOVE(stopped),
    MOVE(mapped),
    MOVE(mapped_across),
    MOVE(gathered),
    MOVE(dealt),
    MOVE(passed),
    MOVE(scanned),
    MOVE(scanned_back),
    MOVE(scanned_lanes),
    MOVE(while_moved),
    MOVE(while_lanes),
    MOVE(counted),
    MOVE(branched),
    MOVE(branch_lanes),
    MOVE(jitted),
    MOVE(checkpointed),
};
enum { MOVES = sizeof move / sizeof *move };

static hd six(hd key) { return hd_reshape(hd_random_split(key, 6), 2, 3); }

/* Of each move the words of the keys it gives, and what it makes of the words. */
static hd all_moves(hd key)
{
    hd keys = six(key), words = hd_key_data(keys), out[2 * MOVES];
    for (int k = 0; k < MOVES; k++) {
        hd w = move[k].f(hd_index(words, 2, 0));
        out[2 * k] = hd_key_data(move[k].f(keys));
        out[2 * k + 1] = hd_stack((int)hd_shape(w).n, w, move[k].f(hd_index(words, 2, 1)));
    }
    return hd_tuple_n(out, 2 * MOVES);
}

static hd_array *called(hd (*f)(hd), hd_array *x, const char *device)
{
    hd_array *on = hd_put(x, device), *y = NULL;
    ck_assert_msg(on && !hd_call(f, &y, on), "%s: %s", device, hd_error());
    hd_drop(on);
    return y;
}

static void alike(const hd_array *a, const hd_array *b, const char *what, const char *device)
{
    ck_assert_msg(a && b, "%s: %s", what, hd_error());
    hd_ints s = hd_array_shape(a), t = hd_array_shape(b);
    ck_assert_msg(
        hd_array_dtype(a) == hd_array_dtype(b) && s.n == t.n && !memcmp(s.v, t.v, sizeof *s.v * (size_t)s.n),
        "%s on %s: types", what, device);
    size_t bytes = (size_t)hd_array_size(a) * hd_dtype_size(hd_array_dtype(a));
    ck_assert_msg(!memcmp(hd_data(a), hd_data(b), bytes), "%s on %s: other bits", what, device);
}

START_TEST(moves)
{
    hd_array *key = hd_array_random_key(11), *want = called(all_moves, key, "host");
    ck_assert_int_eq(hd_array_dtype(key), HD_KEY);
    for (int d = 0; d < DEVICES; d++) {
        if (!there(devices[d]))
            continue;
        hd_array *got = called(all_moves, key, devices[d]);
        for (int k = 0; k < MOVES; k++) {
            alike(hd_array_nth(got, 2 * k), hd_array_nth(got, 2 * k + 1), move[k].name, devices[d]);
            alike(hd_array_nth(got, 2 * k), hd_array_nth(want, 2 * k), move[k].name, devices[d]);
        }
        hd_drop(got);
    }
    hd_drop(want), hd_drop(key);
}
END_TEST

/* ==================== drawing: of key[], and of u32[2] */

static hd scaled(hd key, hd x) { return hd_mul(draw(key), x); }
static hd rest(hd k, hd x)
{
    hd s = hd_random_split(k, 2);
    return hd_tuple(row(s, 0), scaled(row(s, 1), x));
}
static hd tangents(hd k, hd x, hd dk, hd dx)
{
    hd d = draw(k);
    (void)dk;
    return hd_tuple(hd_mul(d, x), hd_mul(d, dx));
}
static hd forward(hd k, hd x) { return hd_tuple(scaled(k, x), k); }
static hd backward(hd k, hd dy) { return hd_tuple(HD_NIL, hd_mul(draw(k), dy)); }
static hd rule_lanes(hd k, hd x) { return hd_mul(hd_apply(hd_vmap(draw), k), x); }
static hd slope(hd_fn *f, hd k) { return hd_apply(hd_grad(f, .argnums = HD_INTS(1)), k, hd_c(2.0)); }

static hd bits(hd k) { return hd_random_bits(k, HD_U32, 3); }
static hd split(hd k) { return hd_key_data(hd_random_split(k, 3)); }
static hd folded(hd k) { return hd_key_data(hd_random_fold_in(k, hd_c(5))); }
static hd samples(hd k)
{
    hd a = hd_c(1.5f), x = hd_iota(HD_F32, 0, 4);
    return hd_tuple(hd_random_gamma(k, a, 2), hd_random_poisson(k, a, 2),
        hd_random_randint(k, hd_c(0), hd_c(9), 2), hd_random_bernoulli(k, hd_c(0.5f), 2),
        hd_random_permutation(k, x), hd_random_categorical(k, x, 0),
        hd_random_multinomial(k, hd_c(5), hd_softmax(x, 0)), hd_random_choice(k, x, 2, false),
        hd_random_ball(k, hd_c(2), 2));
}
static hd lanes(hd k) { return hd_apply(hd_vmap(draw), hd_random_split(k, 4)); }
static hd all_lanes(hd k)
{
    return hd_apply(hd_vmap(scaled, .in_axes = { HD_NONE, 0 }), k, hd_iota(HD_F32, 0, 3));
}
static hd carried(hd k) { return hd_nth(hd_scan(rest, k, hd_iota(HD_F32, 0, 4)), 1); }
static hd unrolled(hd k) { return hd_nth(hd_scan(rest, k, hd_iota(HD_F32, 0, 4), .unroll = 2), 1); }
static hd segmented(hd k) { return hd_nth(hd_scan(rest, k, hd_iota(HD_F32, 0, 4), .segments = 2), 1); }
static hd mapped_keys(hd k) { return hd_map(draw, hd_random_split(k, 5), .batch_size = 2); }
static hd loss(hd k, hd x) { return hd_sum(hd_nth(hd_scan(rest, k, hd_mul(x, hd_iota(HD_F32, 0, 4))), 1)); }
static hd graded(hd k) { return slope(HD_FN(loss), k); }
static hd graded_lanes(hd k)
{
    return hd_apply(hd_vmap(hd_grad(loss, .argnums = HD_INTS(1)), .in_axes = { 0, HD_NONE }),
        hd_random_split(k, 3), hd_c(2.0f));
}
static hd graded_again(hd k) { return slope(hd_checkpoint(loss), k); }
static hd forwards(hd k) { return hd_nth(hd_apply(hd_jvp(loss), k, hd_c(2.0f), HD_NIL, hd_c(1.0f)), 1); }
static hd backwards(hd k) { return hd_nth(hd_nth(hd_apply(hd_vjp(loss), k, hd_c(2.0f), hd_c(1.0f)), 1), 1); }
static hd jacobian(hd k) { return hd_apply(hd_jacfwd(loss, .argnums = HD_INTS(1)), k, hd_c(2.0f)); }
static hd with_jvp(hd k) { return slope(hd_custom_jvp(scaled, tangents), k); }
static hd with_vjp(hd k) { return slope(hd_custom_vjp(scaled, forward, backward), k); }
static hd with_vmap(hd k)
{
    return hd_apply(
        hd_vmap(hd_custom_vmap(scaled, rule_lanes)), hd_random_split(k, 3), hd_iota(HD_F32, 0, 3));
}
static hd below(hd c) { return hd_lt(hd_nth(c, 1), hd_c(1)); }
static hd tries(hd c)
{
    hd s = hd_random_split(hd_nth(c, 0), 2);
    return hd_tuple(row(s, 0), draw(row(s, 1)));
}
static hd until(hd k) { return hd_nth(hd_while(below, tries, hd_tuple(k, hd_zeros(HD_F32))), 1); }
static hd until_lanes(hd k) { return hd_apply(hd_vmap(until), hd_random_split(k, 4)); }
static hd uniform(hd k) { return hd_random_uniform(k, HD_F32); }
static hd either(hd k) { return hd_cond(hd_gt(two(), hd_c(1)), draw, uniform, k); }
static hd shared(hd k) { return hd_apply(hd_pmap(draw, .devices = "host, host"), hd_random_split(k, 2)); }
static hd meets(hd k)
{
    return hd_key_data(
        hd_all_gather(hd_ppermute(k, "i", (const int[][2]){ { 0, 1 }, { 1, 0 } }, 2), "i", 0, false));
}
static hd exchanged(hd k)
{
    return hd_apply(hd_pmap(meets, .devices = "host, host", .axis_name = "i"), hd_random_split(k, 2));
}

static const struct { const char *name; hd (*f)(hd);
} drawn[] = {
    MOVE(bits),
    MOVE(split),
    MOVE(folded),
    MOVE(samples),
    MOVE(lanes),
    MOVE(all_lanes),
    MOVE(carried),
    MOVE(unrolled),
    MOVE(segmented),
    MOVE(mapped_keys),
    MOVE(graded),
    MOVE(graded_lanes),
    MOVE(graded_again),
    MOVE(forwards),
    MOVE(backwards),
    MOVE(jacobian),
    MOVE(with_jvp),
    MOVE(with_vjp),
    MOVE(with_vmap),
    MOVE(until),
    MOVE(until_lanes),
    MOVE(either),
    MOVE(shared),
    MOVE(exchanged),
};
enum { DRAWN = sizeof drawn / sizeof *drawn };

/* All in one program: a device compiles it once. */
static hd all_drawn(hd key)
{
    hd out[DRAWN];
    for (int k = 0; k < DRAWN; k++)
        out[k] = drawn[k].f(key);
    return hd_tuple_n(out, DRAWN);
}

static void leaves_alike(const hd_array *a, const hd_array *b, const char *what, const char *device)
{
    ck_assert_msg(a && b, "%s: %s", what, hd_error());
    ck_assert_int_eq(hd_array_len(a), hd_array_len(b));
    for (int k = 0; k < hd_array_len(a); k++)
        alike(hd_array_nth(a, k), hd_array_nth(b, k), what, device);
    if (!hd_array_len(a))
        alike(a, b, what, device);
}

START_TEST(draws)
{
    hd_array *key = hd_array_random_key(12), *raw = hd_array_key(12);
    for (int d = 0; d < DEVICES; d++) {
        if (!there(devices[d]))
            continue;
        hd_array *typed = called(all_drawn, key, devices[d]), *plain = called(all_drawn, raw, devices[d]);
        for (int k = 0; k < DRAWN; k++)
            leaves_alike(hd_array_nth(typed, k), hd_array_nth(plain, k), drawn[k].name, devices[d]);
        hd_drop(typed), hd_drop(plain);
    }
    hd_drop(key), hd_drop(raw);
}
END_TEST

/* ==================== refusing */

static hd add(hd k) { return hd_add(k, k); }
static hd add_number(hd k) { return hd_add(k, hd_c(1)); }
static hd add_words(hd k) { return hd_add(k, hd_key(1)); }
static hd xor(hd k) { return hd_xor(k, k); }
static hd equal(hd k) { return hd_eq(k, k); }
static hd negative(hd k) { return hd_neg(k); }
static hd sine(hd k) { return hd_sin(k); }
static hd sum(hd k) { return hd_sum(k); }
static hd mean(hd k) { return hd_mean(k); }
static hd largest(hd k) { return hd_max(k); }
static hd position(hd k) { return hd_argmax(hd_random_split(k, 2), 0); }
static hd cumulative(hd k) { return hd_cumsum(hd_random_split(k, 2), 0); }
static hd product(hd k) { hd s = hd_random_split(k, 2); return hd_dot(s, s); }
static hd order(hd k) { return hd_sort(hd_random_split(k, 2), 0); }
static hd places_of(hd k) { return hd_argsort(hd_random_split(k, 2), 0); }
static hd top(hd k) { return hd_top_k(hd_random_split(k, 2), 1, 0); }
static hd to_float(hd k) { return hd_cast(k, HD_F32); }
static hd to_key(hd k) { return hd_cast(hd_key_data(k), HD_KEY); }
static hd to_bits(hd k) { return hd_bitcast(k, HD_U64); }
static hd zero_keys(hd k) { (void)k; return hd_zeros(HD_KEY, 2); }
static hd zeros_of(hd k) { return hd_zeros_like(k); }
static hd where_number(hd k) { return hd_where(hd_gt(two(), hd_c(1)), k, hd_c(0)); }
static hd where_words(hd k) { return hd_where(hd_gt(two(), hd_c(1)), k, hd_key(1)); }
static hd index_by(hd k) { return hd_take(hd_iota(HD_F32, 0, 3), k, 0); }
static hd add_into(hd k) { return hd_at_add(hd_random_split(k, 2), k, hd_c(0)); }
static hd psums(hd k) { return hd_psum(k, "lane"); }
static hd psum(hd k) { return hd_apply(hd_vmap(psums, .axis_name = "lane"), hd_random_split(k, 2)); }
static hd swap(hd c, hd x) { return hd_tuple(x, c); }
static hd start_number(hd k) { return hd_nth(hd_scan(swap, hd_c(0), hd_random_split(k, 2)), 0); }
static hd grad_of(hd k) { return hd_apply(hd_grad(draw), k); }
static hd jac_of(hd k) { return hd_apply(hd_jacrev(draw), k); }
static hd hessian_of(hd k) { return hd_apply(hd_hessian(draw), k); }
static hd many(hd k) { return draw(hd_random_split(k, 2)); }
static int host(hd_array *const *x, int n, hd_array **y, int m, void *user)
{
    (void)x, (void)n, (void)y, (void)m, (void)user;
    return 1;
}
static hd callback(hd k) { return hd_callback(host, NULL, hd_c(0.0f), k); }
static hd words_of(hd k) { (void)k; return hd_key_data(hd_iota(HD_F32, 0, 2)); }
static hd wraps(hd k) { return hd_wrap_key_data(hd_reshape(hd_key_data(k), 2, 1)); }
static hd wraps_twice(hd k) { return hd_wrap_key_data(k); }

static const struct { const char *name; hd (*f)(hd); int code; const char *text;
} refused[] = {
    { "add", add, HD_EDTYPE, "add of key[]|hd_key_data" },
    { "add_number", add_number, HD_EDTYPE, "1 is no random key" },
    { "add_words", add_words, HD_EDTYPE, "key[]|u32[2]|hd_key_data" },
    { "xor", xor, HD_EDTYPE, "xor of key[]|hd_key_data" },
    { "equal", equal, HD_EDTYPE, "eq of key[]|hd_key_data" },
    { "negative", negative, HD_EDTYPE, "key[]|hd_key_data" },
    { "sine", sine, HD_EDTYPE, "key[]|hd_key_data" },
    { "sum", sum, HD_EDTYPE, "key[]|hd_key_data" },
    { "mean", mean, HD_EDTYPE, "key[]|hd_key_data" },
    { "largest", largest, HD_EDTYPE, "key[]|hd_key_data" },
    { "position", position, HD_EDTYPE, "key[2]|hd_key_data" },
    { "cumulative", cumulative, HD_EDTYPE, "key[2]|hd_key_data" },
    { "product", product, HD_EDTYPE, "key[2]|hd_key_data" },
    { "order", order, HD_EDTYPE, "key[2]|no order" },
    { "places_of", places_of, HD_EDTYPE, "key[2]|no order" },
    { "top", top, HD_EDTYPE, "key[2]|hd_key_data" },
    { "to_float", to_float, HD_EDTYPE, "key[]|hd_key_data" },
    { "to_key", to_key, HD_EDTYPE, "hd_cast|hd_wrap_key_data" },
    { "to_bits", to_bits, HD_EDTYPE, "key[]|hd_key_data" },
    { "zero_keys", zero_keys, HD_EDTYPE, "hd_zeros|hd_random_split" },
    { "zeros_of", zeros_of, HD_EDTYPE, "hd_zeros_like|hd_random_split" },
    { "where_number", where_number, HD_EDTYPE, "0 is no random key" },
    { "where_words", where_words, HD_EDTYPE, "key[]|u32[2]|hd_key_data" },
    { "index_by", index_by, HD_EDTYPE, "key[]" },
    { "add_into", add_into, HD_EDTYPE, "key[2]|set, not combined" },
    { "psum", psum, HD_EDTYPE, "psum of key[]|hd_key_data" },
    { "start_number", start_number, HD_EDTYPE, "0 is no random key" },
    { "grad_of", grad_of, HD_EDIFF, "key[]|.argnums" },
    { "jac_of", jac_of, HD_EDIFF, "key[]|.argnums" },
    { "hessian_of", hessian_of, HD_EDIFF, "key[]|.argnums" },
    { "many", many, HD_ESHAPE, "key[2]|hd_vmap" },
    { "callback", callback, HD_EDTYPE, "callback of key[]|hd_key_data" },
    { "words_of", words_of, HD_EDTYPE, "f32[2]|u32[.., 2]" },
    { "wraps", wraps, HD_ESHAPE, "u32[2,1]|u32[.., 2]" },
    { "wraps_twice", wraps_twice, HD_EDTYPE, "key[]|u32[.., 2]" },
};

/* The message has the parts of text, which '|' separates, and a line of this file. */
START_TEST(refuses)
{
    hd_array *key = hd_array_random_key(1), *y = NULL;
    ck_assert_msg(hd_eval_shape(refused[_i].f, &y, key), "%s is not refused", refused[_i].name);
    ck_assert_msg(hd_error_code() == refused[_i].code && strstr(hd_error(), "test_typed_keys.c:"), "%s: %s",
        refused[_i].name, hd_error());
    char text[100], *save = NULL;
    snprintf(text, sizeof text, "%s", refused[_i].text);
    for (char *p = strtok_r(text, "|", &save); p; p = strtok_r(NULL, "|", &save))
        ck_assert_msg(strstr(hd_error(), p), "%s: no '%s' in: %s", refused[_i].name, p, hd_error());
    hd_drop(key);
}
END_TEST

static hd axes(hd k, const void *n)
{
    hd_ints shape = { .n = *(const int *)n };
    for (int a = 0; a < shape.n; a++)
        shape.v[a] = 1;
    return hd_reshape_n(k, shape);
}

/* A device has an axis of words behind those of the array. */
START_TEST(largest_rank)
{
    hd_array *key = hd_array_random_key(1), *y = NULL;
    int most = HD_MAX_RANK - 1, more = HD_MAX_RANK;
    for (int d = 0; d < DEVICES; d++) {
        hd_array *on = there(devices[d]) ? hd_put(key, devices[d]) : NULL;
        ck_assert_msg(!on || !hd_call(hd_bind(axes, most), &y, on), "%s: %s", devices[d], hd_error());
        hd_drop(on), hd_drop(y), y = NULL;
    }
    ck_assert(hd_eval_shape(hd_bind(axes, more), &y, key) == HD_ESHAPE);
    ck_assert(!hd_array_abstract_n(HD_KEY, (hd_ints){ .n = HD_MAX_RANK }));
    hd_drop(key);
}
END_TEST

/* ==================== outside */

static hd make_three(hd k) { return hd_random_split(k, 3); }
static hd shows(hd k) { hd_debug_print("{}", k); return draw(k); }
static void keep_line(const char *line, void *to) { snprintf(to, 40, "%s", line); }

START_TEST(printed)
{
    hd_array *key = hd_array_random_key(7), *three = NULL, *y = NULL;
    char *text = NULL, line[40] = "";
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    ck_assert(!hd_call(make_three, &three, key) && !hd_print(f, key) && !hd_print(f, three) && !fclose(f));
    const uint32_t *w = hd_data(three);
    char want[200];
    int width = 0;
    for (int k = 0; k < 3; k++) {
        int m = snprintf(want, sizeof want, "key(%u %u)", w[2 * k], w[2 * k + 1]);
        width = m > width ? m : width;
    }
    n = (size_t)snprintf(want, sizeof want, "key(0 7)\n[");
    for (int k = 0; k < 3; k++) {
        char one[40];
        snprintf(one, sizeof one, "key(%u %u)", w[2 * k], w[2 * k + 1]);
        n += (size_t)snprintf(
            want + n, sizeof want - n, "%*s%s", width, one, k < 2 ? k == 1 ? "\n " : " " : "]\n");
    }
    ck_assert_str_eq(text, want);
    hd_debug_print_to(keep_line, line);
    ck_assert_msg(!hd_call(shows, &y, key), "%s", hd_error());
    hd_debug_print_to(NULL, NULL);
    ck_assert_str_eq(line, "[0 7]");
    free(text), hd_drop(key), hd_drop(three), hd_drop(y);
}
END_TEST

START_TEST(saved)
{
    char name[] = "/tmp/typed_keys_XXXXXX", path[40];
    ck_assert(mkdtemp(name));
    hd_array *key = hd_array_random_key(7), *three = NULL;
    ck_assert(!hd_call(make_three, &three, key));
    for (int zip = 0; zip < 2; zip++) {
        hd_array *tree = zip ? hd_array_dict({ "key", hd_keep(key) }, { "keys", hd_keep(three) }) :
                               hd_keep(three),
                 *back;
        snprintf(path, sizeof path, "%s/keys.np%c", name, zip ? 'z' : 'y');
        ck_assert_msg(!hd_save(path, tree) && (back = hd_load(path)), "%s", hd_error());
        alike(three, zip ? hd_array_get(back, "keys") : back, "saved", path);
        if (zip)
            alike(key, hd_array_get(back, "key"), "saved", path);
        hd_drop(tree), hd_drop(back);
        unlink(path);
    }
    rmdir(name);
    hd_drop(key), hd_drop(three);
}
END_TEST

START_TEST(host_memory)
{
    const uint32_t words[] = { 1, 2, 3, 4 };
    uint32_t back[4] = { 0 };
    hd_array *keys = hd_array_new(HD_KEY, (hd_ints){ 1, { 2 } }, words, NULL), *data = NULL, *again = NULL;
    ck_assert(!hd_call(hd_key_data, &data, keys) && !hd_call(hd_wrap_key_data, &again, data));
    ck_assert_int_eq(hd_array_dtype(data), HD_U32);
    ck_assert(!hd_read(data, back, 4) && !memcmp(back, words, sizeof words));
    alike(again, keys, "wrapped", "host");
    ck_assert(isnan(hd_item(keys)) && strstr(hd_error(), "2 elements"));
    hd_array *one = hd_array_random_key(1);
    ck_assert(isnan(hd_item(one)) && strstr(hd_error(), "hd_key_data"));
    ck_assert(!hd_array_scalar(HD_KEY, 1) && hd_error_code() == HD_EDTYPE &&
        strstr(hd_error(), "hd_array_random_key"));
    ck_assert_str_eq(hd_dtype_name(HD_KEY), "key");
    hd_drop(keys), hd_drop(data), hd_drop(again), hd_drop(one);
}
END_TEST

/* ==================== devices without integers of 64 bits */

static void plan_narrow(Graph *g)
{
    const Target narrow = { .device = "narrow" };
    Plan *p = plan_schedule(g, &narrow);
    ck_assert_msg(p && !error_pending(), "%s", error_text());
}

START_TEST(narrow_device)
{
    Arena *a = arena_new(), *saved = arena_use(a);
    const int64_t n[] = { 2, 3 };
    graph_begin(graph_new());
    Ref keys = graph_input(type_of(DT_KEY, 2, n), 0), p = graph_input(type_of(DT_BOOL, 2, n), 0);
    Ref out[] = { Select(p, Reverse(keys, ints_fill(1, 1)), keys),
        FullBits(type_of(DT_KEY, 2, n), 0x100000002) };
    graph_outputs(out, 2);
    plan_narrow(graph_end());
    arena_use(saved);
    arena_drop(a);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("typed_keys");
    TCase *c = suite_case(s);
    tcase_add_test(c, moves);
    tcase_add_test(c, draws);
    tcase_add_loop_test(c, refuses, 0, sizeof refused / sizeof *refused);
    tcase_add_test(c, largest_rank);
    tcase_add_test(c, printed);
    tcase_add_test(c, saved);
    tcase_add_test(c, host_memory);
    tcase_add_test(c, narrow_device);
    return suite_run(s);
}
