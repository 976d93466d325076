/*
 * golden_windows.c - convolutions, reductions over windows, pooling and reductions with functions of one's
 * own for the golden runner.
 */
#include <math.h>
#include <string.h>

#include "golden.h"

/* "NHWC,HWIO->NHWC" of the numbers that lax has for the dimensions. */
static void letters(
    const json_t *a, const char *side, const char *two, const char *first, const char *second, char *out)
{
    char name[64];
    snprintf(name, sizeof name, "%s_spatial_dimensions", side);
    hd_ints space = attr_l(a, name);
    out[space.n + 2] = 0;
    for (int k = 0; k < space.n; k++)
        out[space.v[k]] = (char)('a' + k);
    out[attr_i(a, first, 0)] = two[0], out[attr_i(a, second, 1)] = two[1];
}

static hd conv(const json_t *a, const hd *x, int n)
{
    (void)n;
    char xs[20], ws[20], ys[20], dims[64];
    letters(a, "input", "NC", "input_batch_dimension", "input_feature_dimension", xs);
    letters(a, "kernel", "OI", "kernel_output_feature_dimension", "kernel_input_feature_dimension", ws);
    letters(a, "output", "NC", "output_batch_dimension", "output_feature_dimension", ys);
    snprintf(dims, sizeof dims, "%s,%s->%s", xs, ws, ys);
    hd_ints stride = attr_l(a, "window_strides"), w_dilation = attr_l(a, "rhs_dilation");
    /* lists of lax are in the order of the kernel's spatial dimensions, ours in that of its axes */
    hd_ints order = attr_l(a, "kernel_spatial_dimensions"), x_dilation = attr_l(a, "lhs_dilation"),
            pad = { 0 };
    hd_conv_opts o = { .dims = dims,
        .groups = attr_i(a, "feature_group_count", 1),
        .batch_groups = attr_i(a, "batch_group_count", 1) };
    const json_t *pads = json_object_get(a, "padding");
    o.stride.n = o.w_dilation.n = o.x_dilation.n = order.n, pad.n = 2 * order.n;
    for (int k = 0; k < order.n; k++) {
        int at = 0;
        for (int j = 0; j < order.n; j++)
            at += order.v[j] < order.v[k];
        const json_t *p = json_array_get(pads, (size_t)k);
        o.stride.v[at] = stride.v[k], o.w_dilation.v[at] = w_dilation.v[k],
        o.x_dilation.v[at] = x_dilation.v[k];
        pad.v[2 * at] = json_integer_value(json_array_get(p, 0));
        pad.v[2 * at + 1] = json_integer_value(json_array_get(p, 1));
    }
    o.pad = pad;
    return hd_conv_n(x[0], x[1], &o);
}

static hd_window_opts options(const json_t *a)
{
    hd_window_opts o = { .window = attr_l(a, "window_dimensions"),
        .stride = attr_l(a, "window_strides"),
        .dilation = attr_l(a, "window_dilation"),
        .base_dilation = attr_l(a, "base_dilation") };
    const json_t *pads = json_object_get(a, "padding");
    for (size_t k = 0; k < json_array_size(pads); k++)
        for (size_t j = 0; j < 2; j++)
            o.pad.v[o.pad.n++] = json_integer_value(json_array_get(json_array_get(pads, k), j));
    return o;
}

static hd window_sum(const json_t *a, const hd *x, int n)
{
    (void)n;
    hd_window_opts o = options(a);
    return hd_reduce_window_n(HD_FN(hd_add), hd_c(0), x[0], &o);
}

/* No number is below the least: with one more, nothing changes. */
static hd window_max(const json_t *a, const hd *x, int n)
{
    (void)n;
    hd_window_opts o = options(a);
    return hd_max_pool_n(x[0], &o);
}

static hd window_min(const json_t *a, const hd *x, int n)
{
    (void)n;
    hd_window_opts o = options(a);
    return hd_min_pool_n(x[0], &o);
}

static hd select_and_scatter(const json_t *a, const hd *x, int n)
{
    (void)n;
    hd_window_opts o = options(a);
    return strcmp(attr_s(a, "select", "ge"), "ge") ? hd_select_and_scatter_min_n(x[0], x[1], &o) :
                                                     hd_select_and_scatter_max_n(x[0], x[1], &o);
}

static hd kink_max_pool(const json_t *a, const hd *x, int n)
{
    (void)a, (void)n;
    return hd_max_pool(x[0], .window = HD_INTS(2));
}

static hd pair_max(hd p, hd q)
{
    hd a = hd_nth(p, 0), b = hd_nth(q, 0), i = hd_nth(p, 1), j = hd_nth(q, 1);
    hd first = hd_or(hd_gt(a, b), hd_and(hd_eq(a, b), hd_lt(i, j)));
    return hd_tuple(hd_where(first, a, b), hd_where(first, i, j));
}
static hd max_and_sum(hd p, hd q)
{
    return hd_tuple(hd_maximum(hd_nth(p, 0), hd_nth(q, 0)), hd_add(hd_nth(p, 1), hd_nth(q, 1)));
}
static hd two_sums(hd p, hd q)
{
    return hd_tuple(hd_add(hd_nth(p, 0), hd_nth(q, 0)), hd_add(hd_nth(p, 1), hd_nth(q, 1)));
}

static hd reduce(const json_t *a, const hd *x, int n)
{
    (void)n;
    const char *how = attr_s(a, "computation", "");
    hd_ints axes = attr_l(a, "dimensions");
    hd low = hd_c(hd_dtype(x[0]) == HD_I32 ? -2147483648.0 : -INFINITY), both = hd_tuple(x[0], x[1]);
    if (!strcmp(how, "argmax"))
        return hd_reduce_n(HD_FN(pair_max), hd_tuple(low, hd_c(2147483647)), both, axes);
    if (!strcmp(how, "max_and_sum"))
        return hd_reduce_n(HD_FN(max_and_sum), hd_tuple(low, hd_c(0)), both, axes);
    return hd_reduce_n(
        HD_FN(two_sums), hd_tuple(hd_c(0), hd_c(0)), hd_tuple(x[0], hd_mul(x[0], x[1])), axes);
}

GoldenFn *golden_windows(const char *op)
{
    static const GoldenRow table[] = { { "conv_general_dilated", conv }, { "reduce_window_sum", window_sum },
        { "reduce_window_max", window_max }, { "reduce_window_min", window_min },
        { "select_and_scatter_add", select_and_scatter }, { "kink_max_pool", kink_max_pool },
        { "reduce", reduce }, { NULL, NULL } };
    return golden_row(table, op);
}
