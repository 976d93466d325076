/*
 * test_indexing.c - what spares a program its loops: elements by their indices, slices along one axis, plain
 * numbers as operands, fill values, names of list ops as functions, lists of structs. Held against loops in
 * C, on every device.
 */
#include <math.h>
#include <stdlib.h>

#include "suite.h"

static hd_array *ran(hd_fn *f, hd_array *x)
{
    hd_array *y = NULL;
    ck_assert_msg(hd_call(f, &y, x) == 0, "%s", hd_error());
    return y;
}

static void same(hd_array *y, const float *want, int64_t n, const char *what)
{
    const float *got = hd_data(y);
    ck_assert_msg(hd_array_size(y) == n, "%s: %lld elements, not %lld", what, (long long)hd_array_size(y),
        (long long)n);
    for (int64_t i = 0; i < n; i++)
        ck_assert_msg(got[i] == want[i] || (isnan(got[i]) && isnan(want[i])),
            "%s: element %lld is %g, not %g", what, (long long)i, (double)got[i], (double)want[i]);
    hd_drop(y);
}

/* ==================== x[i, :, j] */

/* Each axis of x[3,4,5] has one of these: nothing (0), a whole axis (1), one place (2), [2] (3), [3,1]
 * places (4). */
enum { A = 3, B = 4, C = 5 };
typedef struct Way { int of[3]; } Way;
/* -9 and 7 are outside of each axis */
static const int32_t two[2] = { 1, -1 }, three[3] = { -9, 0, 7 };

static hd index_of(int kind)
{
    return kind == 1 ? HD_NIL : kind == 2 ? hd_c(-2) : kind == 3 ? hd_lit(int32_t, (2), 1, -1)
        : hd_lit(int32_t, (3, 1), -9, 0, 7);
}

static int given(const Way *w)
{
    int n = 3;
    while (n > 0 && !w->of[n - 1])
        n--;
    return n;
}

static hd read_ways(const hd *x, int n, const void *env)
{
    const Way *w = env;
    hd index[3];
    (void)n;
    for (int d = 0; d < 3; d++)
        index[d] = index_of(w->of[d]);
    return hd_at_n(x[0], index, given(w));
}

static hd add_ways(const hd *x, int n, const void *env)
{
    const Way *w = env;
    hd index[3];
    (void)n;
    for (int d = 0; d < 3; d++)
        index[d] = index_of(w->of[d]);
    return hd_at_update_n(x[0], hd_c(1), HD_ADD, index, given(w));
}

/* numpy's rule, told with loops: i over the shape of the indices, w over whole axes; out[...] = where x is
 * read, or -1 for outside. Returns how many there are. */
static int places(const Way *w, bool clip, int *out)
{
    static const int size[3] = { A, B, C };
    int rows = 1, columns = 1, n = 0, first = -1, last = -1, taken = 0;
    for (int d = 0; d < 3; d++) {
        if (w->of[d] < 2)
            continue;
        first = first < 0 ? d : first, last = d, taken++;
        rows = w->of[d] == 4 ? 3 : rows, columns = w->of[d] == 3 ? 2 : columns;
    }
    bool together = taken && last - first == taken - 1;
    int before[3] = { 1, 1, 1 }, after[3] = { 1, 1, 1 };
    for (int d = 0; d < 3; d++)
        if (w->of[d] < 2)
            *(together && d < first ? &before[d] : &after[d]) = size[d];
    for (int b = 0; b < before[0] * before[1] * before[2]; b++)
        for (int r = 0; r < rows * columns; r++)
            for (int a = 0; a < after[0] * after[1] * after[2]; a++) {
                int at = 0, bb = b, aa = a, i[3] = { 0 };
                for (int d = 2; d >= 0; d--) {
                    if (w->of[d] < 2 && before[d] > 1)
                        i[d] = bb % before[d], bb /= before[d];
                    else if (w->of[d] < 2)
                        i[d] = aa % after[d], aa /= after[d];
                    else
                        i[d] = w->of[d] == 2 ? -2 : w->of[d] == 3 ? two[r % columns] : three[r / columns];
                }
                for (int d = 0; d < 3 && at >= 0; d++) {
                    i[d] += i[d] < 0 ? size[d] : 0;
                    bool inside = i[d] >= 0 && i[d] < size[d];
                    i[d] = i[d] < 0 ? 0 : i[d] >= size[d] ? size[d] - 1 : i[d];
                    at = inside || clip ? at * size[d] + i[d] : -1;
                }
                out[n++] = at;
            }
    return n;
}

static void one_way(const char *device, hd_array *x, const float *v, Way w)
{
    static int at[A * B * C * 6];
    static float want[A * B * C * 6];
    char what[80];
    snprintf(what, sizeof what, "%s: x[%d, %d, %d]", device, w.of[0], w.of[1], w.of[2]);
    int n = places(&w, true, at);
    for (int i = 0; i < n; i++)
        want[i] = v[at[i]];
    same(ran(hd_jit(hd_bind(read_ways, w), .device = device), x), want, n, what);
    memcpy(want, v, sizeof(float) * A * B * C);
    n = places(&w, false, at);
    for (int i = 0; i < n; i++)
        if (at[i] >= 0)
            want[at[i]]++;
    same(ran(hd_jit(hd_bind(add_ways, w), .device = device), x), want, A * B * C, what);
}

START_TEST(by_indices)
{
    const char *device = devices[_i];
    float v[A * B * C];
    for (int i = 0; i < A * B * C; i++)
        v[i] = (float)(i * i % 37);
    if (!there(device))
        return;
    hd_array *x = hd_array_of(v, A, B, C);
    int step = _i ? 7 : 1;                      /* all on the host, a share where compiling takes its time */
    for (int k = 0; k < 125; k += step) {
        Way w = { { k % 5, k / 5 % 5, k / 25 } };
        if ((!w.of[0] && (w.of[1] || w.of[2])) || (!w.of[1] && w.of[2]))
            continue;                           /* nothing, then something: there is no such list */
        one_way(device, x, v, w);
    }
    hd_drop(x);
}
END_TEST

static hd corner(hd x) { return hd_at(x, 1, -1, 2); }
static hd set_corner(hd x) { return hd_at_set(x, -5, 1, -1, 2); }
static hd set_row(hd x) { return hd_at_set(x, hd_iota(HD_F32, 0, 5), 1, 0); }
static hd largest(hd x) { return hd_at_max(hd_at_min(hd_at_mul(x, 2, 0, 0, 0), 1, 2, 3, 4), 50, 0, 0, 1); }
static hd rows(hd x, hd i) { return hd_at(x, i, HD_NIL, 0); }
static hd squares(hd x, hd i) { return hd_sum(hd_square(hd_at(x, i, 1))); }

START_TEST(values_and_derivatives)
{
    float v[A * B * C], want[A * B * C];
    for (int i = 0; i < A * B * C; i++)
        v[i] = want[i] = (float)i + 1;
    hd_array *x = hd_array_of(v, A, B, C), *i = hd_array_lit(int32_t, (2), 2, 2), *y = NULL;
    same(ran(HD_FN(corner), x), &v[1 * 20 + 3 * 5 + 2], 1, "corner");
    want[1 * 20 + 3 * 5 + 2] = -5;
    same(ran(HD_FN(set_corner), x), want, A * B * C, "set_corner");
    memcpy(want, v, sizeof v);
    for (int k = 0; k < 5; k++)
        want[20 + k] = (float)k;
    same(ran(HD_FN(set_row), x), want, A * B * C, "set_row");
    memcpy(want, v, sizeof v);
    want[0] = 2, want[A * B * C - 1] = 1, want[1] = 50;
    same(ran(HD_FN(largest), x), want, A * B * C, "largest");
    ck_assert_int_eq(hd_call(rows, &y, x, i), 0);
    same(y, (const float[]){ v[40], v[45], v[50], v[55], v[40], v[45], v[50], v[55] }, 8, "rows");
    ck_assert_msg(hd_call(hd_grad(squares), &y, x, i) == 0, "%s", hd_error());
    memset(want, 0, sizeof want);
    for (int k = 0; k < 5; k++)
        want[45 + k] = 4 * v[45 + k];           /* the row is read twice */
    same(y, want, A * B * C, "gradient");
    ck_assert_int_eq(hd_call(hd_vmap(rows, .in_axes = { HD_NONE, 0 }), &y, x, i), 0);
    same(y, (const float[]){ v[40], v[45], v[50], v[55], v[40], v[45], v[50], v[55] }, 8, "lanes");
    hd_drop(x), hd_drop(i);
}
END_TEST

/* Indices of every width, and far outside. */
static hd wide(hd x)
{
    hd far = hd_lit(int64_t, (3), INT64_MIN + 1, 1, INT64_MAX - 4),
       more = hd_lit(uint64_t, (3), UINT64_MAX, 1, 3);
    hd small = hd_lit(int8_t, (3), -1, 1, 100);
    return hd_stack(0, hd_at(x, far), hd_at(x, more), hd_at(x, small),
        hd_slice_axis(hd_at_add(x, 1, far), 0, 0, 3), hd_slice_axis(hd_at_add(x, 1, more), 0, 0, 3));
}

START_TEST(wide_indices)
{
    hd_array *x = hd_array_lit(float, (4), 10, 11, 12, 13);
    const float want[] = { 10, 11, 13,  13, 11, 13,  13, 11, 13,  10, 12, 12,  10, 12, 12 };
    for (int d = 0; d < DEVICES; d++)
        if (there(devices[d]))
            same(ran(hd_jit(wide, .device = devices[d]), x), want, 15, devices[d]);
    hd_drop(x);
}
END_TEST

static hd of_empty(hd x) { return hd_tuple(hd_at(x, 0), hd_at_set(x, 3, 0), hd_at_n(x, NULL, 0)); }
START_TEST(empty)
{
    hd_array *x = hd_array_new(HD_F32, HD_INTS(0, 2), NULL, NULL), *y[3] = { NULL };
    ck_assert_msg(hd_call(of_empty, y, x) == 0, "%s", hd_error());
    same(y[0], (const float[]){ NAN, NAN }, 2, "nothing to read");
    ck_assert_int_eq(hd_array_size(y[1]), 0);
    ck_assert_int_eq(hd_array_size(y[2]), 0);
    hd_drop(x), hd_drop(y[1]), hd_drop(y[2]);
}
END_TEST

/* ==================== slices, rolls, numbers */

static hd slices(hd x)
{
    return hd_concatenate(
        0, hd_slice_axis(x, 0, 1, 3), hd_slice_axis(x, -1, -2, HD_LAST), hd_slice_axis(x, 0, 0, -5));
}
static hd rolls(hd x) { return hd_roll_n(x, HD_INTS(1, -1, 1), HD_INTS(0, 1, 0)); }
static hd two_rolls(hd x) { return hd_roll(hd_roll(x, 2, 0), -1, 1); }
static hd numbers(hd x)
{
    return hd_stack(0, hd_add_c(x, 2), hd_sub_c(x, 2), hd_mul_c(x, 2), hd_div_c(x, 2), hd_pow_c(x, 2),
        hd_maximum_c(x, 2), hd_minimum_c(x, 2), hd_c_sub(2, x), hd_c_div(2, x), hd_add_all(x, 1, x, .5),
        hd_mul_all(2, x, x), hd_add_all(x));
}
static hd plain_numbers(hd x)
{
    hd c = hd_c(2);
    return hd_stack(0, hd_add(x, c), hd_sub(x, c), hd_mul(x, c), hd_div(x, c), hd_pow(x, c),
        hd_maximum(x, c), hd_minimum(x, c), hd_sub(c, x), hd_div(c, x),
        hd_add(hd_add(hd_add(x, hd_c(1)), x), hd_c(.5)), hd_mul(hd_mul(c, x), x), x);
}
static hd log_sigmoids(hd x) { return hd_log_sigmoid(x); }
static hd diagonals(hd x)
{
    return hd_concatenate(0, hd_diagonal(x, 0, 0, 1), hd_diagonal(x, 1, 0, 1), hd_diagonal(x, 1, 1, 0),
        hd_diagonal(x, -1, 0, -1), hd_diagonal(x, 3, 0, 1));
}
static hd diagonal_squares(hd x) { return hd_sum(hd_square(hd_diagonal(x, 1, 0, 1))); }

START_TEST(short_words)
{
    hd_array *x = hd_array_lit(float, (5), 1, 2, 3, 4, 5),
             *m = hd_array_lit(float, (2, 3), 1, 2, 3, 4, 5, 6);
    hd_array *far = hd_array_lit(float, (4), 0, -1000, 1000, -1), *y;
    same(ran(HD_FN(slices), x), (const float[]){ 2, 3, 4, 5 }, 4, "slices");
    y = ran(HD_FN(two_rolls), m);
    same(ran(HD_FN(rolls), m), hd_data(y), 6, "rolls");
    hd_drop(y);
    same(ran(HD_FN(diagonals), m), (const float[]){ 1, 5, 2, 6, 4, 4 }, 6, "diagonals");
    same(ran(hd_grad(diagonal_squares), m), (const float[]){ 0, 4, 0, 0, 0, 12 }, 6, "their gradient");
    y = ran(HD_FN(plain_numbers), x);
    same(ran(HD_FN(numbers), x), hd_data(y), 60, "numbers");
    hd_drop(y);
    y = ran(HD_FN(log_sigmoids), far);
    const float *v = hd_data(y);
    ck_assert(
        fabsf(v[0] + 0.6931472f) < 1e-6f && v[1] == -1000 && v[2] == 0 && fabsf(v[3] + 1.3132616f) < 1e-6f);
    hd_drop(y), hd_drop(x), hd_drop(m), hd_drop(far);
}
END_TEST

/* ==================== sides and fill values */

static hd sides(hd x)
{
    hd s = hd_lit(float, (4), 1, 2, 2, 3);
    return hd_cast(hd_stack(0, hd_searchsorted(s, x), hd_searchsorted(s, x, .side = HD_RIGHT)), HD_F32);
}
static hd fills(hd x)
{
    hd i = hd_lit(int32_t, (4), 0, -1, 5, -9), u = hd_lit(uint8_t, (4), 0, 1, 3, 255);
    return hd_stack(0, hd_take(x, i, 0, .fill = hd_c(7)), hd_take(x, i, 0, .mode = HD_CLIP),
        hd_take(x, u, 0, .fill = hd_c(7)), hd_take_along_axis(x, i, 0, .fill = hd_c(7)),
        hd_unique(x, 4, .fill = hd_c(9)), hd_unique(x, 4),
        hd_cast(hd_nth(hd_nonzero(hd_gt(x, hd_c(1)), 4, .fill = hd_c(-1)), 0), HD_F32));
}
static hd row_fills(hd x) { return hd_take(x, hd_lit(int32_t, (2), 3, 0), 1, .fill = hd_c(0)); }

START_TEST(sides_and_fills)
{
    hd_array *x = hd_array_lit(float, (3), 2, 0, 3),
             *m = hd_array_lit(float, (2, 2, 2), 1, 2, 3, 4, 5, 6, 7, 8);
    same(ran(HD_FN(sides), x), (const float[]){ 1, 0, 3, 3, 0, 4 }, 6, "sides");
    const float want[] = { 2, 3, 7, 7, 2, 3, 3, 2, 2, 0, 7, 7, 2, 3, 7, 7, 0, 2, 3, 9, 0, 2, 3, 0, 0, 2, -1,
        -1 };
    for (int d = 0; d < DEVICES; d++)
        if (there(devices[d]))
            same(ran(hd_jit(fills, .device = devices[d]), x), want, 28, devices[d]);
    same(ran(HD_FN(row_fills), m), (const float[]){ 0, 0, 1, 2, 0, 0, 5, 6 }, 8, "rows filled");
    hd_drop(x), hd_drop(m);
}
END_TEST

/* ==================== classes drawn for a shape */

static hd one_draw(hd key) { return hd_random_categorical(key, hd_lit(float, (3), 0, 1, 2), 0); }
static hd many_draws(hd key) { return hd_random_categorical(key, hd_lit(float, (3), 0, 1, 2), 0, 6, 5); }
static hd spread_draws(hd key)
{
    return hd_random_categorical(key, hd_broadcast_to(hd_lit(float, (3), 0, 1, 2), 6, 5, 3), -1);
}
static hd wrong_draws(hd key) { return hd_random_categorical(key, hd_zeros(HD_F32, 2, 3), 1, 3); }

START_TEST(classes)
{
    hd_array *key = hd_array_key(7), *a = ran(HD_FN(many_draws), key), *b = ran(HD_FN(spread_draws), key),
             *c = ran(HD_FN(one_draw), key);
    ck_assert_int_eq(hd_array_size(a), 30);
    ck_assert(!memcmp(hd_data(a), hd_data(b), 30 * sizeof(int32_t)));
    ck_assert(hd_array_shape(c).n == 0);
    hd_drop(a), hd_drop(b), hd_drop(c), c = NULL;
    ck_assert_int_eq(hd_call(wrong_draws, &c, key), HD_ESHAPE);
    ck_assert_msg(strstr(hd_error(), "f32[3]") && strstr(hd_error(), "f32[2]"), "%s", hd_error());
    hd_drop(key);
}
END_TEST

/* ==================== list ops by name */

START_TEST(names_as_functions)
{
    hd_array *m = hd_array_lit(float, (2, 2), 3, 4, 0, 2);
    same(ran(hd_grad(hd_sum), m), (const float[]){ 1, 1, 1, 1 }, 4, "grad of sum");
    same(ran(hd_vmap(hd_norm), m), (const float[]){ 5, 2 }, 2, "vmap of norm");
    same(ran(hd_vmap(hd_max), m), (const float[]){ 4, 2 }, 2, "vmap of max");
    same(ran(HD_FN(hd_transpose), m), (const float[]){ 3, 0, 4, 2 }, 4, "transpose");
    same(ran(hd_vmap(hd_flip), m), (const float[]){ 4, 3, 2, 0 }, 4, "vmap of flip");
    hd_drop(m);
}
END_TEST

/* ==================== lists in structs */

enum { DEPTH = 3 };
#define LINEAR(F, S) F(w) F(b[2])
HD_STRUCT(linear, LINEAR);
#define NET(F, S) S(linear, layer[DEPTH]) F(scale)
HD_STRUCT(net, NET);

static hd forward(hd params, hd x)
{
    net p = hd_unpack(net, params);
    for (int i = 0; i < DEPTH; i++)
        x = hd_add(hd_mul(x, p.layer[i].w), hd_sub(p.layer[i].b[0], p.layer[i].b[1]));
    return hd_mul(x, p.scale);
}
static hd doubled(hd params)
{
    net p = hd_unpack(net, params);
    for (int i = 0; i < DEPTH; i++)
        p.layer[i].b[1] = hd_mul_c(p.layer[i].b[1], 2);
    return hd_pack(net, p);
}
static hd third(hd params) { return hd_nth(hd_get(hd_nth(hd_get(params, "layer"), 2), "b"), 1); }
static hd too_many(hd params)
{
    return hd_unpack(linear, hd_dict({ "w", params }, { "b", hd_tuple(params, params, params) })).w;
}

START_TEST(lists_of_structs)
{
    net_data d = { .scale = hd_array_scalar(HD_F32, 10) };
    for (int i = 0; i < DEPTH; i++) {
        d.layer[i].w = hd_array_scalar(HD_F32, i + 1);
        d.layer[i].b[0] = hd_array_scalar(HD_F32, 0.5), d.layer[i].b[1] = hd_array_scalar(HD_F32, i);
    }
    hd_array *p = hd_array_pack(net, d), *x = hd_array_scalar(HD_F32, 2), *y = NULL;
    ck_assert_msg(p != NULL, "%s", hd_error());
    ck_assert_int_eq(hd_array_len(hd_array_get(p, "layer")), DEPTH);
    ck_assert_msg(hd_call(forward, &y, p, x) == 0, "%s", hd_error());
    same(y, (const float[]){ 10 * (((2 * 1 + .5f) * 2 + .5f - 1) * 3 + .5f - 2) }, 1, "forward");
    y = ran(HD_FN(doubled), p);
    net_data back = hd_array_unpack(net, y);
    ck_assert(
        hd_item(back.layer[2].b[1]) == 4 && hd_item(back.layer[1].w) == 2 && hd_item(back.scale) == 10);
    hd_drop(y);
    same(ran(HD_FN(third), p), (const float[]){ 2 }, 1, "third");
    y = NULL;
    ck_assert_int_eq(hd_call(too_many, &y, x), HD_EINVAL);
    ck_assert_msg(strstr(hd_error(), "b[2]"), "%s", hd_error());
    hd_drop(p), hd_drop(x);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("indexing");
    TCase *c = suite_case(s);
    tcase_add_loop_test(c, by_indices, 0, DEVICES);
    tcase_add_test(c, values_and_derivatives);
    tcase_add_test(c, wide_indices);
    tcase_add_test(c, empty);
    tcase_add_test(c, short_words);
    tcase_add_test(c, sides_and_fills);
    tcase_add_test(c, classes);
    tcase_add_test(c, names_as_functions);
    tcase_add_test(c, lists_of_structs);
    return suite_run(s);
}
