/*
 * test_numpy.c - what api/numpy_*.c gives for small arrays, against the numbers of jax.numpy (0.10.2); two
 * derivatives, and refusals.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

/* with nan, and without */
static const float with_nan[] = { 1, 4, NAN, 2, 0.5f, -3, 8, NAN, 7, NAN, -1, 2.5f };
static const float plain[] = { 1, 4, 0, 2, 0.5f, -3, 8, 6, 7, 5, -1, 2.5f };

static hd nansum(hd x) { return hd_nansum(x, 1); }
static hd nanprod(hd x) { return hd_nanprod(x, 0); }
static hd nanmax(hd x) { return hd_nanmax(x, 1); }
static hd nanmin(hd x) { return hd_nanmin(x, 0); }
static hd nanmean(hd x) { return hd_nanmean(x, 1); }
static hd nanvar(hd x) { return hd_nanvar(x, 1); }
static hd nanstd(hd x) { return hd_nanstd(x, 0); }
static hd nanargmax(hd x) { return hd_nanargmax(x, 1); }
static hd nanargmin(hd x) { return hd_nanargmin(x, 0); }
static hd nanmedian(hd x) { return hd_nanmedian(x, 1); }
static hd nanquantile(hd x)
{
    return hd_nanquantile(x, hd_lit_n(HD_F32, HD_INTS(2), (const float[]){ 0.25f, 0.9f }), 0);
}
static hd percentile(hd x) { return hd_percentile(x, hd_c(30), 1); }
static hd nanpercentile(hd x) { return hd_nanpercentile(x, hd_c(60), 1); }
static hd count(hd x) { return hd_count_nonzero(x, 0); }
static hd corrcoef(hd x) { return hd_corrcoef(x); }
static hd trapezoid(hd x) { return hd_trapezoid(x, HD_NIL, 1); }
static hd trapezoid_at(hd x)
{
    return hd_trapezoid(x, hd_lit_n(HD_F32, HD_INTS(4), (const float[]){ 0, 1, 3, 3.5f }), 1);
}
static hd gradient(hd x) { return hd_gradient(x, 0.5, 1); }
static hd gradient_0(hd x) { return hd_gradient(x, 2, 0); }
static hd bincount(hd x)
{
    (void)x;
    return hd_bincount(hd_lit_n(HD_I32, HD_INTS(6), (const int[]){ 0, 2, 2, -1, 7, 3 }), HD_NIL, 5);
}
static hd quarter(hd x) { return hd_rot90(x, 1, 0, 1); }
static hd three(hd x) { return hd_rot90(x, -1, 0, 1); }
static hd half(hd x) { return hd_rot90(x, 2, 0, 1); }
static hd grid(hd x)
{
    (void)x;
    hd g = hd_meshgrid(hd_arange(HD_F32, 0, 2, 1), hd_arange(HD_F32, 0, 3, 1));
    return hd_stack(0, hd_nth(g, 0), hd_nth(g, 1));
}
static hd row(hd x, int i) { return hd_slice_axis(x, 0, i, i + 1); }
static hd blocks(hd x) { return hd_block(2, row(x, 0), row(x, 0), row(x, 1), row(x, 2)); }
static hd choice(hd x)
{
    const hd when[] = { hd_lt(x, hd_c(0)), hd_gt(x, hd_c(4)) }, then[] = { hd_neg(x), hd_mul_c(x, 10) };
    return hd_select_n(when, then, 2, x);
}
static hd negative(hd x) { return hd_neg(x); }
static hd squared(hd x) { return hd_square(x); }
static hd plus_one(hd x) { return hd_add_c(x, 1); }
static hd pieces(hd x)
{
    const hd when[] = { hd_lt(x, hd_c(0)), hd_gt(x, hd_c(4)) };
    return hd_piecewise_n(x, when, 2, HD_FNS(negative, squared, plus_one));
}
static hd sums(hd x) { return hd_slice_axis(hd_cumsum(x, 0), 0, 1, 4); }
static hd total(hd x) { return hd_sum(x); }
static hd along(hd x) { return hd_apply_along_axis(sums, 1, x); }
static hd along_0(hd x) { return hd_apply_along_axis(total, 0, x); }
static hd put(hd x)
{
    hd i = hd_lit_n(HD_I32, HD_INTS(3, 1), (const int[]){ 0, 3, 1 });
    return hd_put_along_axis(x, i, hd_lit_n(HD_F32, HD_INTS(3, 1), (const float[]){ 9, 8, 7 }), 1);
}
static hd lexsort(hd x)
{
    (void)x;
    return hd_lexsort(hd_tuple(hd_lit_n(HD_I32, HD_INTS(4), (const int[]){ 3, 1, 2, 0 }),
                          hd_lit_n(HD_I32, HD_INTS(4), (const int[]){ 1, 0, 1, 0 })),
        0);
}
static hd hanning(hd x)
{
    (void)x;
    return hd_hanning(HD_F32, 5);
}
static hd hamming(hd x)
{
    (void)x;
    return hd_hamming(HD_F32, 5);
}
static hd blackman(hd x)
{
    (void)x;
    return hd_blackman(HD_F32, 5);
}
static hd bartlett(hd x)
{
    (void)x;
    return hd_bartlett(HD_F32, 5);
}
static hd kaiser(hd x)
{
    (void)x;
    return hd_kaiser(HD_F32, 5, 5);
}
static hd one_point(hd x)
{
    (void)x;
    return hd_kaiser(HD_F32, 1, 5);
}

static hd ids(void) { return hd_lit_n(HD_I32, HD_INTS(3), (const int[]){ 2, 0, 2 }); }
static hd segment_prod(hd x) { return hd_segment_prod(x, ids(), 4); }
static hd segment_max(hd x) { return hd_segment_max(x, ids(), 4); }
static hd segment_least(hd x) { return hd_segment_min(hd_cast(x, HD_I32), ids(), 4); }
static hd six(hd x) { return hd_slice_axis(hd_ravel(x), 0, 0, 6); }
static hd four(void) { return hd_lit_n(HD_F32, HD_INTS(4), (const float[]){ 1, -2, 0.5f, 3 }); }
static hd convolved(hd x) { return hd_convolve(four(), six(x)); }
static hd convolved_same(hd x) { return hd_convolve(six(x), four(), .overlap = HD_SAME); }
static hd convolved_valid(hd x) { return hd_convolve(four(), six(x), .overlap = HD_VALID); }
static hd correlated(hd x) { return hd_correlate(six(x), four()); }
static hd correlated_full(hd x) { return hd_correlate(six(x), four(), .overlap = HD_FULL); }
static hd correlated_same(hd x) { return hd_correlate(six(x), four(), .overlap = HD_SAME); }
static hd correlated_shorter(hd x) { return hd_correlate(four(), six(x), .overlap = HD_SAME); }
static hd turned(void) { return hd_complex(four(), hd_flip(four(), 0)); }
static hd correlated_complex(hd x) { return hd_imag(hd_correlate(hd_cast(six(x), HD_C64), turned())); }
static hd parabola(hd x) { return hd_polyfit(hd_iota(HD_F32, 0, 4), hd_index(x, 0, 0), 2); }
static hd decades(hd x) { return hd_log10(hd_maximum_c(x, 0.1)); }
static hd more(hd x) { return hd_fmax(x, hd_flip(x, 1)); }
static hd less(hd x) { return hd_fmin(x, hd_flip(x, 1)); }
static hd step_up(hd x) { return hd_heaviside(x, hd_c(0.25)); }
static hd near_flip(hd x) { return hd_cast(hd_isclose(x, hd_flip(x, 1), 0.5, 0.75), HD_F32); }
static hd all_near(hd x)
{
    hd all = hd_stack(
        0, hd_allclose(x, x, 0, 0), hd_allclose(x, hd_add_c(x, 1), 0, 0.5), hd_allclose(x, x, 0, 1));
    return hd_cast(all, HD_F32);
}
static hd numbers(hd x)
{
    return hd_nan_to_num(hd_div(x, hd_mul(x, hd_sign(hd_sub_c(hd_abs(x), 1)))));
}
static hd average(hd x) { return hd_average(x, four(), 1); }
static hd average_each(hd x) { return hd_average(x, hd_add_c(hd_abs(x), 1), 0); }
static hd binned(hd x)
{
    return hd_digitize(x, hd_lit_n(HD_F32, HD_INTS(4), (const float[]){ -1, 0.5f, 2.5f, 7 }));
}
static hd lines(hd x) { return hd_polyfit(hd_iota(HD_F32, 0, 3), x, 1); }

static const struct {
    const char *name;
    hd (*f)(hd);
    bool nan;
    int rank;
    int64_t dim[3];
    float want[16];
} cases[] = {
#define NANS(f, ...) { #f, f, true, __VA_ARGS__ },
#define CASE(f, ...) { #f, f, false, __VA_ARGS__ },
    NANS(nansum, 1, { 3 }, { 7, 5.5f, 8.5f })
    NANS(nanprod, 1, { 4 }, { 3.5f, -12, -8, 5 })
    NANS(nanmax, 1, { 3 }, { 4, 8, 7 })
    NANS(nanmin, 1, { 4 }, { 0.5f, -3, -1, 2 })
    NANS(nanmean, 1, { 3 }, { 2.33333325f, 1.83333337f, 2.83333325f })
    NANS(nanvar, 1, { 3 }, { 1.5555557f, 21.0555553f, 10.7222223f })
    NANS(nanstd, 1, { 4 }, { 2.95334101f, 3.5f, 4.5f, 0.25f })
    NANS(nanargmax, 1, { 3 }, { 1, 2, 0 })
    NANS(nanargmin, 1, { 4 }, { 1, 1, 2, 0 })
    NANS(nanmedian, 1, { 3 }, { 2, 0.5f, 2.5f })
    NANS(nanquantile, 2, { 2, 4 }, { 0.75f, -1.25f, 1.25f, 2.125f, 5.79999971f, 3.29999971f, 7.0999999f,
        2.45000005f })
    CASE(percentile, 1, { 3 }, { 0.899999976f, 0.149999917f, 2.1500001f })
    NANS(nanpercentile, 1, { 3 }, { 2.39999986f, 1.99999952f, 3.39999962f })
    CASE(count, 1, { 4 }, { 3, 3, 2, 3 })
    CASE(corrcoef, 2, { 3, 3 }, { 1, -0.760087788f, 0.473939240f, -0.760087788f, 1, -0.830640972f,
        0.473939240f, -0.830640972f, 1 })
    CASE(trapezoid, 1, { 3 }, { 5.5f, 8.25f, 8.75f })
    CASE(trapezoid_at, 1, { 3 }, { 7, 7.25f, 10.375f })
    CASE(gradient, 2, { 3, 4 }, { 6, -1, -2, 4, -7, 7.5f, 9, -4, -4, -8, -2.5f, 7 })
    CASE(gradient_0, 2, { 3, 4 }, { -0.25f, -3.5f, 4, 2, 1.5f, 0.25f, -0.25f, 0.125f, 3.25f, 4, -4.5f,
        -1.75f })
    CASE(bincount, 1, { 5 }, { 2, 0, 2, 1, 0 })
    CASE(quarter, 2, { 4, 3 }, { 2, 6, 2.5f, 0, 8, -1, 4, -3, 5, 1, 0.5f, 7 })
    CASE(three, 2, { 4, 3 }, { 7, 0.5f, 1, 5, -3, 4, -1, 8, 0, 2.5f, 6, 2 })
    CASE(half, 2, { 3, 4 }, { 2.5f, -1, 5, 7, 6, 8, -3, 0.5f, 2, 0, 4, 1 })
    CASE(grid, 3, { 2, 2, 3 }, { 0, 0, 0, 1, 1, 1, 0, 1, 2, 0, 1, 2 })
    CASE(blocks, 2, { 2, 8 }, { 1, 4, 0, 2, 1, 4, 0, 2, 0.5f, -3, 8, 6, 7, 5, -1, 2.5f })
    CASE(choice, 2, { 3, 4 }, { 1, 4, 0, 2, 0.5f, 3, 80, 60, 70, 50, 1, 2.5f })
    CASE(pieces, 2, { 3, 4 }, { 2, 5, 1, 3, 1.5f, 3, 64, 36, 49, 25, 1, 3.5f })
    CASE(along, 2, { 3, 3 }, { 5, 5, 7, -2.5f, 5.5f, 11.5f, 12, 11, 13.5f })
    CASE(along_0, 1, { 4 }, { 8.5f, 6, 7, 10.5f })
    CASE(put, 2, { 3, 4 }, { 9, 4, 0, 2, 0.5f, -3, 8, 8, 7, 7, -1, 2.5f })
    CASE(decades, 2, { 3, 4 }, { 0, 0.60206002f, -1, 0.30103001f, -0.30103001f, -1, 0.90309f, 0.778151274f,
        0.845098078f, 0.69897002f, -1, 0.39794004f })
    NANS(more, 2, { 3, 4 }, { 2, 4, 4, 2, 0.5f, 8, 8, 0.5f, 7, -1, -1, 7 })
    NANS(less, 2, { 3, 4 }, { 1, 4, 4, 1, 0.5f, -3, -3, 0.5f, 2.5f, -1, -1, 2.5f })
    NANS(step_up, 2, { 3, 4 }, { 1, 1, NAN, 1, 1, 0, 1, NAN, 1, NAN, 0, 1 })
    CASE(step_up, 2, { 3, 4 }, { 1, 1, 0.25f, 1, 1, 0, 1, 1, 1, 1, 0, 1 })
    CASE(near_flip, 2, { 3, 4 }, { 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0 })
    NANS(near_flip, 2, { 3, 4 }, { 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0 })
    CASE(all_near, 1, { 3 }, { 1, 0, 1 })
    NANS(all_near, 1, { 3 }, { 0, 0, 0 })
    CASE(numbers, 2, { 3, 4 }, { 3.40282347e+38f, 1, 0, 1, -1, 1, 1, 1, 1, 1, 3.40282347e+38f, 1 })
    NANS(numbers, 2, { 3, 4 }, { 3.40282347e+38f, 1, 0, 1, -1, 1, 1, 0, 1, 0, 3.40282347e+38f, 1 })
    CASE(average, 1, { 3 }, { -0.400000006f, 11.4000006f, 1.60000002f })
    CASE(average_each, 1, { 4 }, { 5.10869551f, 2.5333333f, 5.83333349f, 4.20370388f })
    CASE(binned, 2, { 3, 4 }, { 2, 3, 1, 2, 2, 0, 4, 3, 4, 3, 1, 3 })
    CASE(lexsort, 1, { 4 }, { 3, 1, 2, 0 })
    CASE(segment_prod, 2, { 4, 4 }, { 0.5f, -3, 8, 6, 1, 1, 1, 1, 7, 20, 0, 5, 1, 1, 1, 1 })
    CASE(segment_max, 2, { 4, 4 }, { 0.5f, -3, 8, 6, -INFINITY, -INFINITY, -INFINITY, -INFINITY, 7, 5, 0,
        2.5f, -INFINITY, -INFINITY, -INFINITY, -INFINITY })
    CASE(segment_least, 2, { 4, 4 }, { 0, -3, 8, 6, 0x1p31f, 0x1p31f, 0x1p31f, 0x1p31f, 1, 4, -1, 2,
        0x1p31f, 0x1p31f, 0x1p31f, 0x1p31f })
    CASE(convolved, 1, { 9 }, { 1, 2, -7.5f, 7, 8.5f, -3, 12.25f, 0, -9 })
    CASE(convolved_same, 1, { 6 }, { 2, -7.5f, 7, 8.5f, -3, 12.25f })
    CASE(convolved_valid, 1, { 3 }, { 7, 8.5f, -3 })
    CASE(correlated, 1, { 3 }, { -1, 6.5f, -12.75f })
    CASE(correlated_full, 1, { 9 }, { 3, 12.5f, 0, -1, 6.5f, -12.75f, -0.5f, 6.5f, -3 })
    CASE(correlated_same, 1, { 6 }, { 12.5f, 0, -1, 6.5f, -12.75f, -0.5f })
    CASE(correlated_shorter, 1, { 6 }, { -0.5f, -12.75f, 6.5f, -1, 0, 12.5f })
    CASE(correlated_complex, 1, { 3 }, { -7, -8.5f, 3 })
    CASE(parabola, 1, { 3 }, { -0.25f, 0.65f, 1.65f })
    CASE(lines, 2, { 2, 4 }, { 3, 0.5f, -0.5f, 0.25f, -1.f / 6, 1.5f, 17.f / 6, 3.25f })
    CASE(hanning, 1, { 5 }, { 0, 0.5f, 1, 0.5f, 0 })
    CASE(hamming, 1, { 5 }, { 0.0800000131f, 0.540000021f, 1, 0.540000021f, 0.0800000131f })
    CASE(blackman, 1, { 5 }, { 0, 0.340000033f, 1, 0.340000033f, 0 })
    CASE(bartlett, 1, { 5 }, { 0, 0.5f, 1, 0.5f, 0 })
    CASE(kaiser, 1, { 5 }, { 0.0367108919f, 0.552851617f, 1, 0.552851617f, 0.0367108919f })
    CASE(one_point, 1, { 1 }, { 1 })
};

START_TEST(values)
{
    const char *devices[] = { "host", "kernel" };
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            hd_array *x = hd_array_new(HD_F32, HD_INTS(3, 4), cases[i].nan ? with_nan : plain, NULL),
                     *y = NULL;
            hd_fn *f =
                hd_jit(hd_function_(1, (uintptr_t)cases[i].f, cases[i].name, NULL, 0), .device = devices[k]);
            ck_assert_msg(!hd_call(f, &y, x), "%s: %s", cases[i].name, hd_error());
            hd_ints shape = hd_array_shape(y);
            ck_assert_msg(shape.n == cases[i].rank, "%s has rank %d", cases[i].name, shape.n);
            for (int j = 0; j < shape.n; j++)
                ck_assert_msg(
                    shape.v[j] == cases[i].dim[j], "%s: axis %d is %d", cases[i].name, j, (int)shape.v[j]);
            bool whole = hd_array_dtype(y) == HD_I32;
            ck_assert(whole || hd_array_dtype(y) == HD_F32);
            const void *data = hd_data(y);
            double got[16];
            for (int j = 0; j < hd_array_size(y); j++)
                got[j] = whole ? ((const int *)data)[j] : (double)((const float *)data)[j];
            for (int j = 0; j < hd_array_size(y); j++)
                ck_assert_msg(got[j] == (double)cases[i].want[j] ||
                        (isnan(got[j]) && isnan(cases[i].want[j])) ||
                        fabs(got[j] - (double)cases[i].want[j]) <= 1e-6 * fmax(1, fabs(got[j])),
                    "%s: element %d is %.9g, not %.9g, on %s", cases[i].name, j, got[j],
                    (double)cases[i].want[j], devices[k]);
            hd_drop(x), hd_drop(y);
        }
}
END_TEST

static hd chain(hd a, hd b, hd c) { return hd_einsum("ab,bc,cd->ad", a, b, c); }

/* From the left it would be 16,016 products of numbers, 16 in the first result; from the right 8,000. */
START_TEST(fewest_products)
{
    char *text = NULL;
    size_t size;
    hd_array *a = hd_array_abstract(HD_F32, 4, 1000), *b = hd_array_abstract(HD_F32, 1000, 4),
             *c = hd_array_abstract(HD_F32, 4, 1);
    FILE *f = open_memstream(&text, &size);
    ck_assert_msg(!hd_print_graph(f, chain, a, b, c), "%s", hd_error());
    fclose(f);
    ck_assert_msg(strstr(text, "f32[1000,1]") && !strstr(text, "f32[4,4]"), "%s", text);
    free(text);
    hd_drop(a), hd_drop(b), hd_drop(c);
}
END_TEST

/* More than eight are taken two by two: powers of a matrix, with a label that all of them share. */
static hd many(hd x)
{
    return hd_einsum("zab,zbc,zcd,zde,zef,zfg,zgh,zhi,zij,kz->aj", x, x, x, x, x, x, x, x, x,
        hd_ones(HD_F32, 1, 2));
}

START_TEST(many_operands)
{
    const float v[] = { 1, 1, 1, 0, 0, 2, 1, 0 };       /* Fibonacci's; its 9th power is 16 times itself */
    hd_array *x = hd_array_of(v, 2, 2, 2), *y = NULL;
    ck_assert_msg(!hd_call(many, &y, x), "%s", hd_error());
    const float *got = hd_data(y), want[] = { 55, 34 + 32, 34 + 16, 21 };
    for (int k = 0; k < 4; k++)
        ck_assert_msg(got[k] == want[k], "%d: %g, not %g", k, (double)got[k], (double)want[k]);
    hd_drop(x), hd_drop(y);
}
END_TEST

static hd spread(hd x) { return hd_nanvar(x); }

/* Of what is nan nothing depends. */
START_TEST(slopes)
{
    const float v[] = { 1, NAN, 3, 8 };
    hd_array *x = hd_array_new(HD_F32, HD_INTS(4), v, NULL), *g = NULL;
    ck_assert_msg(!hd_call(hd_grad(spread), &g, x), "%s", hd_error());
    const float *s = hd_data(g);
    for (int k = 0; k < 4; k++)
        ck_assert_msg(fabsf(s[k] - (k == 1 ? 0 : 2 * (v[k] - 4) / 3)) < 1e-6f, "%d: %g", k, (double)s[k]);
    hd_drop(x), hd_drop(g);
}
END_TEST

static hd same_axes(hd x) { return hd_rot90(x, 1, 0, -2); }
static hd odd_blocks(hd x) { return hd_block(2, x, x, x); }
static hd far(hd x) { return hd_partition(x, 4, 1); }

START_TEST(refused)
{
    const struct {
        hd (*f)(hd);
        const char *word;
    } wrong[] = { { same_axes, "axes" }, { odd_blocks, "3 blocks" }, { far, "element 4" } };
    hd_array *x = hd_array_new(HD_F32, HD_INTS(3, 4), plain, NULL), *y = NULL;
    for (int k = 0; k < 3; k++) {
        ck_assert(hd_call(hd_function_(1, (uintptr_t)wrong[k].f, "wrong", NULL, 0), &y, x));
        ck_assert_msg(
            strstr(hd_error(), wrong[k].word) && strstr(hd_error(), "test_numpy.c"), "%s", hd_error());
    }
    hd_drop(x);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("numpy");
    TCase *c = suite_case(s);
    tcase_add_test(c, values);
    tcase_add_test(c, fewest_products);
    tcase_add_test(c, many_operands);
    tcase_add_test(c, slopes);
    tcase_add_test(c, refused);
    return suite_run(s);
}
