/*
 * golden_ops.c - lax, jax.numpy and jax.nn operations of the stored cases, by name.
 *
 * In:  an op's name and attributes as lax and StableHLO write them.   Out: a program.
 * Operations of lax are built from the graph's own rows, so that each row is met as it is; those of
 * jax.numpy and jax.nn through heddle.h.
 */
#include <string.h>

#include "api.h"
#include "golden.h"

static Ints list(const json_t *a, const char *name)
{
    hd_ints l = attr_l(a, name);
    return ints_of(l.v, l.n);
}

static hd tuple_of(const Ref *r, int n)
{
    hd s[64];
    for (int i = 0; i < n; i++)
        s[i] = sym_of(r[i]);
    return hd_tuple_n(s, n);
}

/* ---- elementwise ---- */

static Ref scalar_to(Ref v, Ref like)
{
    return typ(v)->rank ? v : Broadcast(v, type_shape(typ(like)), ints_of(NULL, 0));
}

static hd square(const json_t *a, const hd *x, int n) { (void)a, (void)n; return hd_square(x[0]); }
static hd integer_pow(const json_t *a, const hd *x, int n)
{
    (void)n;
    return hd_integer_pow(x[0], (int)attr_i(a, "y", 1));
}

static hd round_(const json_t *a, const hd *x, int n)
{
    (void)n;
    bool away = !strcmp(attr_s(a, "rounding_method", "TO_NEAREST_EVEN"), "AWAY_FROM_ZERO");
    return away ? hd_round_away(x[0]) : hd_round(x[0]);
}

static hd clamp(const json_t *a, const hd *x, int n)
{
    (void)a, (void)n;
    Ref v = sym_ref(x[1]);
    return sym_of(Clamp(scalar_to(sym_ref(x[0]), v), v, scalar_to(sym_ref(x[2]), v)));
}

static hd convert(const json_t *a, const hd *x, int n)
{
    (void)n;
    return sym_of(Convert(sym_ref(x[0]), (Dtype)attr_dtype(a, "new_dtype", HD_F32)));
}

static hd bitcast(const json_t *a, const hd *x, int n)
{
    (void)n;
    return sym_of(Bitcast(sym_ref(x[0]), (Dtype)attr_dtype(a, "new_dtype", HD_F32)));
}

static hd reduce_precision(const json_t *a, const hd *x, int n)
{
    (void)n;
    return hd_reduce_precision(
        x[0], (int)attr_i(a, "exponent_bits", 8), (int)attr_i(a, "mantissa_bits", 23));
}

static hd select_n(const json_t *a, const hd *x, int n)
{
    (void)a;
    Ref which = sym_ref(x[0]), out = sym_ref(x[n - 1]);
    for (int k = n - 2; k >= 1; k--) {
        Ref hit = typ(which)->dt == DT_BOOL ? Not(which) : Eq(which, Like(which, k - 1));
        out = Select(scalar_to(hit, out), sym_ref(x[k]), out);
    }
    return sym_of(out);
}

/* An integer exponent counts as the same number in the base's dtype. */
static hd pow_(const json_t *a, const hd *x, int n)
{
    (void)a, (void)n;
    Ref v = sym_ref(x[0]), e = sym_ref(x[1]);
    return sym_of(Pow(v, is_inexact(v) ? Convert(e, (Dtype)typ(v)->dt) : e));
}

/* ---- shape ---- */

static hd slice(const json_t *a, const hd *x, int n)
{
    (void)n;
    return sym_of(
        Slice(sym_ref(x[0]), list(a, "start_indices"), list(a, "limit_indices"), list(a, "strides")));
}

static hd pad(const json_t *a, const hd *x, int n)
{
    (void)n;
    return sym_of(Pad(sym_ref(x[0]), sym_ref(x[1]), list(a, "edge_padding_low"),
        list(a, "edge_padding_high"), list(a, "interior_padding")));
}

static hd rev(const json_t *a, const hd *x, int n)
{
    (void)n;
    return sym_of(Reverse(sym_ref(x[0]), list(a, "dimensions")));
}
static hd transpose(const json_t *a, const hd *x, int n)
{
    (void)n;
    return sym_of(Transpose(sym_ref(x[0]), list(a, "permutation")));
}
static hd reshape(const json_t *a, const hd *x, int n)
{
    (void)n;
    return sym_of(Reshape(sym_ref(x[0]), list(a, "new_sizes")));
}
static hd squeeze(const json_t *a, const hd *x, int n)
{
    (void)n;
    return hd_squeeze_n(x[0], attr_l(a, "dimensions"));
}
static hd expand_dims(const json_t *a, const hd *x, int n)
{
    (void)n;
    return hd_expand_dims_n(x[0], attr_l(a, "dimensions"));
}

static hd broadcast_in_dim(const json_t *a, const hd *x, int n)
{
    (void)n;
    return hd_broadcast_in_dim(x[0], attr_l(a, "shape"), attr_l(a, "broadcast_dimensions"));
}

static hd concatenate(const json_t *a, const hd *x, int n)
{
    return hd_concatenate_n((int)attr_i(a, "dimension", 0), x, n);
}

static hd iota(const json_t *a, const hd *x, int n)
{
    (void)x, (void)n;
    return hd_iota_n(attr_dtype(a, "dtype", HD_F32), (int)attr_i(a, "dimension", 0), attr_l(a, "shape"));
}

/* ---- reductions, products, order ---- */

#define REDUCER(name) \
    static hd name(const json_t *a, const hd *x, int n) \
    { \
        (void)n; \
        return sym_of(Reduce(OP_##name, sym_ref(x[0]), list(a, "axes"))); \
    }
REDUCER(reduce_sum)
REDUCER(reduce_prod) REDUCER(reduce_max) REDUCER(reduce_min) REDUCER(reduce_and) REDUCER(reduce_or)
    REDUCER(reduce_xor)

#define ARG(name) \
    static hd name(const json_t *a, const hd *x, int n) \
    { \
        (void)n; \
        return sym_of(Arg(OP_##name, sym_ref(x[0]), (int)attr_i(a, "axis", 0), \
            (Dtype)attr_dtype(a, "index_dtype", HD_I32))); \
    }
        ARG(argmax) ARG(argmin)

#define CUMULATIVE(name) \
    static hd name(const json_t *a, const hd *x, int n) \
    { \
        (void)n; \
        return sym_of( \
            Cumulative(OP_##name, sym_ref(x[0]), (int)attr_i(a, "axis", 0), attr_b(a, "reverse", false))); \
    }
            CUMULATIVE(cumsum) CUMULATIVE(cumprod) CUMULATIVE(cummax) CUMULATIVE(cummin)

                static hd dot_general(const json_t *a, const hd *x, int n)
{
    (void)n;
    return sym_of(Dot(sym_ref(x[0]), sym_ref(x[1]), list(a, "lhs_contracting_dimensions"),
        list(a, "rhs_contracting_dimensions"), list(a, "lhs_batching_dimensions"),
        list(a, "rhs_batching_dimensions"), (Dtype)attr_dtype(a, "preferred_element_type", HD_NODTYPE)));
}

static hd einsum(const json_t *a, const hd *x, int n)
{
    return hd_einsum_n(attr_s(a, "equation", ""), x, n);
}

static hd sort(const json_t *a, const hd *x, int n)
{
    Ref in[16], out[16];
    for (int i = 0; i < n; i++)
        in[i] = sym_ref(x[i]);
    return emit_n(
               OP_sort, n, in, ATTRS(1, attr_i(a, "dimension", 0), 1, attr_i(a, "num_keys", 1), 1, 0), out) ?
        tuple_of(out, n) :
        HD_NIL;
}

static hd top_k(const json_t *a, const hd *x, int n)
{
    (void)n;
    return hd_top_k(x[0], attr_i(a, "k", 1), (int)attr_i(a, "axis", -1));
}

/* ---- indices ---- */

static int64_t mode(const json_t *a)
{
    const char *m = attr_s(a, "mode", "");
    return !strcmp(m, "clip") ? 1 : !strcmp(m, "fill_or_drop") ? 2 : 3;
}

static void attr_from(Attr *to, const json_t *a, const char *name)
{
    Ints l = list(a, name);
    attr_list(to, l.v, l.n);
}

/* What lies outside is filled with a number of the program: where ones gathered the same way are none. */
static Ref filled(Ref got, const Attr *at, const Ref *in, double fill)
{
    const Type t = type_of(DT_I32, typ(in[0])->rank, typ(in[0])->dim);
    Ref inside = emit(OP_gather, 2, (const Ref[]){ Full(t, 1), in[1] }, at);
    return Select(Eq(inside, Like(inside, 1)), got, Like(got, fill));
}

static hd gather(const json_t *a, const hd *x, int n)
{
    (void)n;
    static const char *const names[] = { "offset_dims", "collapsed_slice_dims", "start_index_map",
        "operand_batching_dims", "start_indices_batching_dims", "slice_sizes" };
    Attr at = { 0 };
    for (int i = 0; i < 6; i++)
        attr_from(&at, a, names[i]);
    attr_int(&at, mode(a));
    const Ref in[] = { sym_ref(x[0]), sym_ref(x[1]) };
    Ref got = emit(OP_gather, 2, in, &at);
    return sym_of(attr_has(a, "fill_value") ? filled(got, &at, in, attr_f(a, "fill_value", 0)) : got);
}

static hd scatter_with(const json_t *a, const hd *x, int combine, bool negate)
{
    static const char *const names[] = { "update_window_dims", "inserted_window_dims",
        "scatter_dims_to_operand_dims", "input_batching_dims", "scatter_indices_batching_dims" };
    Attr at = { 0 };
    for (int i = 0; i < 5; i++)
        attr_from(&at, a, names[i]);
    attr_int(&at, mode(a));
    attr_int(&at, combine);
    attr_int(&at, attr_b(a, "unique_indices", false));
    Ref u = sym_ref(x[2]);
    const Ref in[] = { sym_ref(x[0]), sym_ref(x[1]), negate ? Neg(u) : u };
    return sym_of(emit(OP_scatter, 3, in, &at));
}
/* A function of the elements at places that are named once each: read, computed, written back. */
static hd scatter_apply(const json_t *a, const hd *x, int n)
{
    (void)n;
    Ints inserted = list(a, "inserted_window_dims"), batch = list(a, "input_batching_dims");
    Ints window = list(a, "update_window_dims"), shape = list(a, "update_shape");
    Ref v = sym_ref(x[0]), places = sym_ref(x[1]);
    int64_t size[MAXRANK];
    for (int k = 0, at = 0; k < typ(v)->rank; k++)
        size[k] = ints_has(&inserted, k) || ints_has(&batch, k) ? 1 : shape.v[window.v[at++]];
    Attr g = { 0 };
    attr_list(&g, window.v, window.n);
    attr_list(&g, inserted.v, inserted.n);
    attr_from(&g, a, "scatter_dims_to_operand_dims");
    attr_list(&g, batch.v, batch.n);
    attr_from(&g, a, "scatter_indices_batching_dims");
    attr_list(&g, size, typ(v)->rank);
    attr_int(&g, mode(a));
    Ref got = emit(OP_gather, 2, (const Ref[]){ v, places }, &g);
    bool squares = !strcmp(attr_s(a, "computation", ""), "square");
    const hd all[] = { x[0], x[1], sym_of(squares ? Mul(got, got) : Add(Neg(got), Like(got, 1))) };
    return scatter_with(a, all, 0, false);
}
static hd scatter(const json_t *a, const hd *x, int n) { (void)n; return scatter_with(a, x, 0, false); }
static hd scatter_add(const json_t *a, const hd *x, int n) { (void)n; return scatter_with(a, x, 1, false); }
static hd scatter_sub(const json_t *a, const hd *x, int n) { (void)n; return scatter_with(a, x, 1, true); }
static hd scatter_mul(const json_t *a, const hd *x, int n) { (void)n; return scatter_with(a, x, 2, false); }
static hd scatter_min(const json_t *a, const hd *x, int n) { (void)n; return scatter_with(a, x, 3, false); }
static hd scatter_max(const json_t *a, const hd *x, int n) { (void)n; return scatter_with(a, x, 4, false); }

/* lax counts negative starts from the end before it clamps. */
static Ref starts_of(const hd *s, Ref x)
{
    Ref part[16], all;
    int n = typ(x)->rank;
    for (int k = 0; k < n; k++) {
        Ref v = Convert(sym_ref(s[k]), DT_I32);
        v = Select(Lt(v, Like(v, 0)), Add(v, Like(v, (double)typ(x)->dim[k])), v);
        part[k] = Reshape(v, ints_of((const int64_t[]){ 1 }, 1));
    }
    all = n ? Concat(part, n, 0) : Zeros(&(Type){ .dt = DT_I32, .rank = 1 });
    return all;
}

static hd dynamic_slice(const json_t *a, const hd *x, int n)
{
    (void)n;
    Ref v = sym_ref(x[0]);
    return sym_of(DynamicSlice(v, starts_of(x + 1, v), list(a, "slice_sizes"), ints_of(NULL, 0)));
}

static hd dynamic_update_slice(const json_t *a, const hd *x, int n)
{
    (void)a, (void)n;
    Ref v = sym_ref(x[0]);
    return sym_of(DynamicUpdate(v, sym_ref(x[1]), starts_of(x + 2, v)));
}

/* ---- jax.numpy and jax.nn ---- */

static hd_ints axes_keep(const json_t *a)
{
    hd_ints l = attr_l(a, "axis");
    if (attr_b(a, "keepdims", false)) {
        if (!attr_has(a, "axis"))               /* all of them, by number: the list must not be empty */
            l.n = 0;
        l.v[l.n++] = HD_KEEP;
    }
    return l;
}

static hd softmax(const json_t *a, const hd *x, int n)
{
    (void)n;
    return hd_softmax(x[0], (int)attr_i(a, "axis", -1));
}
static hd log_softmax(const json_t *a, const hd *x, int n)
{
    (void)n;
    return hd_log_softmax(x[0], (int)attr_i(a, "axis", -1));
}
static hd logsumexp(const json_t *a, const hd *x, int n)
{
    (void)n;
    return hd_logsumexp_n(x[0], axes_keep(a));
}
static hd mean(const json_t *a, const hd *x, int n) { (void)n; return hd_mean_n(x[0], axes_keep(a)); }

/* ddof is left to the caller in heddle.h: the sum of squares is divided again. */
static hd var_of(const json_t *a, hd x)
{
    int64_t ddof = attr_i(a, "ddof", 0);
    hd v = hd_var_n(x, axes_keep(a));
    if (!ddof || !hd_ok(v))
        return v;
    double n = (double)hd_size(x) / (double)hd_size(v);
    return hd_mul(v, hd_c(n / (n - (double)ddof)));
}
static hd var(const json_t *a, const hd *x, int n) { (void)n; return var_of(a, x[0]); }
static hd std(const json_t *a, const hd *x, int n) { (void)n; return hd_sqrt(var_of(a, x[0])); }

static hd one_hot(const json_t *a, const hd *x, int n)
{
    (void)n;
    hd y = hd_one_hot(x[0], attr_i(a, "num_classes", 1), attr_dtype(a, "dtype", HD_F32));
    return hd_moveaxis(y, -1, (int)attr_i(a, "axis", -1));
}

static hd jnp_sort(const json_t *a, const hd *x, int n)
{
    (void)n;
    hd_sort_opts o = { .descending = attr_b(a, "descending", false) };
    return hd_sort_n(x[0], (int)attr_i(a, "axis", -1), &o);
}

static hd jnp_argsort(const json_t *a, const hd *x, int n)
{
    (void)n;
    int axis = (int)attr_i(a, "axis", -1);
    if (!attr_b(a, "descending", false))
        return hd_argsort(x[0], axis);
    hd_ints s = hd_shape(x[0]);
    const hd both[] = { x[0], hd_iota_n(HD_I32, axis < 0 ? axis + s.n : axis, s) };
    hd_sort_opts o = { .descending = true };
    return hd_nth(hd_sort_n(hd_tuple_n(both, 2), axis, &o), 1);
}

static hd linspace(const json_t *a, const hd *x, int n)
{
    (void)n;
    int64_t num = attr_i(a, "num", 50);
    enum hd_dtype dt = attr_dtype(a, "dtype", HD_F32);
    bool end = attr_b(a, "endpoint", true);
    hd i = hd_iota_n(dt, 0, (hd_ints){ 1, { num } });
    hd t = hd_div(i, hd_c((double)(end ? (num > 1 ? num - 1 : 1) : num)));
    hd y = hd_add(hd_mul(x[0], hd_sub(hd_c(1), t)), hd_mul(x[1], t));
    return y;
}

static hd arange(const json_t *a, const hd *x, int n)
{
    (void)x, (void)n;
    return hd_arange(
        attr_dtype(a, "dtype", HD_F32), attr_f(a, "start", 0), attr_f(a, "stop", 0), attr_f(a, "step", 1));
}

static hd roll(const json_t *a, const hd *x, int n)
{
    (void)n;
    hd_ints s = attr_l(a, "shift"), k = attr_l(a, "axis");
    hd y = x[0];
    for (int i = 0; i < k.n; i++)
        y = hd_roll(y, s.v[i], (int)k.v[i]);
    return y;
}

static hd tril(const json_t *a, const hd *x, int n)
{
    (void)n;
    return hd_tril(x[0], (int)attr_i(a, "k", 0));
}
static hd triu(const json_t *a, const hd *x, int n)
{
    (void)n;
    return hd_triu(x[0], (int)attr_i(a, "k", 0));
}
static hd where(const json_t *a, const hd *x, int n) { (void)a, (void)n; return hd_where(x[0], x[1], x[2]); }
static hd clip(const json_t *a, const hd *x, int n) { (void)a, (void)n; return hd_clip(x[0], x[1], x[2]); }
static hd cross(const json_t *a, const hd *x, int n) { (void)a, (void)n; return hd_cross(x[0], x[1]); }
static hd kron(const json_t *a, const hd *x, int n) { (void)a, (void)n; return hd_kron(x[0], x[1]); }
/* Counting from the end is left out by numpy's take where it clips, not by hd_take. */
static hd take(const json_t *a, const hd *x, int n)
{
    (void)n;
    int axis = (int)attr_i(a, "axis", 0);
    const char *how = attr_s(a, "mode", "fill");
    hd size = hd_c((double)hd_dim(x[0], axis));
    if (!strcmp(how, "wrap"))
        return hd_take(x[0], hd_mod(x[1], size), axis);
    return hd_take(x[0], strcmp(how, "clip") ? x[1] : hd_clip(x[1], hd_c(0), hd_sub(size, hd_c(1))), axis);
}

static hd convolve(const json_t *a, const hd *x, int n)
{
    (void)n;
    int64_t p = hd_dim(x[0], 0), q = hd_dim(x[1], 0), most = p > q ? p : q, least = p > q ? q : p, start = 0;
    const char *how = attr_s(a, "mode", "full");
    hd all = hd_convolve(x[0], x[1]);
    if (!strcmp(how, "valid"))
        return hd_slice_axis(all, 0, least - 1, most);
    start = !strcmp(how, "same") ? (least - 1) / 2 : 0;
    return start || !strcmp(how, "same") ? hd_slice_axis(all, 0, start, start + most) : all;
}

static hd isclose(const json_t *a, const hd *x, int n)
{
    (void)n;
    hd near = hd_le(hd_abs(hd_sub(x[0], x[1])),
        hd_add(hd_c(attr_f(a, "atol", 0)), hd_mul_c(hd_abs(x[1]), attr_f(a, "rtol", 0))));
    hd finite = hd_and(hd_isfinite(x[0]), hd_isfinite(x[1])), same = hd_eq(x[0], x[1]);
    hd close = hd_where(finite, near, same);
    return attr_b(a, "equal_nan", false) ? hd_or(close, hd_and(hd_isnan(x[0]), hd_isnan(x[1]))) : close;
}

static hd cumlogsumexp(const json_t *a, const hd *x, int n)
{
    (void)n;
    int axis = (int)attr_i(a, "axis", 0);
    bool back = attr_b(a, "reverse", false);
    const hd_ints flipped = { 1, { axis } };
    hd y = hd_cumlogsumexp(back ? hd_flip_n(x[0], flipped) : x[0], axis);
    return back ? hd_flip_n(y, flipped) : y;
}
static hd interp(const json_t *a, const hd *x, int n)
{
    (void)a, (void)n;
    return hd_interp(x[0], x[1], x[2]);
}
static hd searchsorted(const json_t *a, const hd *x, int n)
{
    (void)n;
    bool right = !strcmp(attr_s(a, "side", "left"), "right");
    return hd_searchsorted_n(x[0], x[1], &(hd_search_opts){ .side = right ? HD_RIGHT : HD_LEFT });
}
static hd take_along_axis(const json_t *a, const hd *x, int n)
{
    (void)n;
    return hd_take_along_axis(x[0], x[1], (int)attr_i(a, "axis", 0));
}

#define PART(name, f) \
    static hd name(const json_t *a, const hd *x, int n) \
    { \
        (void)a, (void)n; \
        return f(x[0]); \
    }
PART(real_part, hd_real)
PART(imag_part, hd_imag)
PART(conjugated, hd_conj)

static hd complex_(const json_t *a, const hd *x, int n)
{
    (void)a, (void)n;
    return hd_complex(x[0], x[1]);
}

/* Over the last axes, as many as there are lengths. */
static hd fourier(const json_t *a, const hd *x, int n)
{
    const char *kind = attr_s(a, "fft_type", "FFT");
    hd_ints length = attr_l(a, "fft_length"), axes = { length.n, { 0 } };
    (void)n;
    for (int k = 0; k < axes.n; k++)
        axes.v[k] = k - axes.n;
    if (!strcmp(kind, "IRFFT"))
        return hd_irfft_n(x[0], length.v[length.n - 1], axes);
    return !strcmp(kind, "RFFT") ? hd_rfft_n(x[0], axes) :
        !strcmp(kind, "IFFT")    ? hd_ifft_n(x[0], axes) :
                                   hd_fft_n(x[0], axes);
}

static const GoldenRow table[] = { { "fft", fourier },
    { "real", real_part }, { "imag", imag_part }, { "conj", conjugated },
    { "complex", complex_ }, { "square", square }, { "integer_pow", integer_pow }, { "pow", pow_ },
    { "round", round_ }, { "clamp", clamp }, { "convert_element_type", convert },
    { "bitcast_convert_type", bitcast }, { "reduce_precision", reduce_precision }, { "select_n", select_n },
    { "slice", slice }, { "pad", pad }, { "rev", rev }, { "transpose", transpose }, { "reshape", reshape },
    { "squeeze", squeeze }, { "expand_dims", expand_dims }, { "broadcast_in_dim", broadcast_in_dim },
    { "concatenate", concatenate }, { "iota", iota }, { "reduce_sum", reduce_sum },
    { "reduce_prod", reduce_prod }, { "reduce_max", reduce_max }, { "reduce_min", reduce_min },
    { "reduce_and", reduce_and }, { "reduce_or", reduce_or }, { "reduce_xor", reduce_xor },
    { "argmax", argmax }, { "argmin", argmin }, { "cumsum", cumsum }, { "cumprod", cumprod },
    { "cummax", cummax }, { "cummin", cummin }, { "dot_general", dot_general }, { "einsum", einsum },
    { "sort", sort }, { "top_k", top_k }, { "gather", gather }, { "scatter", scatter },
    { "scatter_add", scatter_add }, { "scatter_sub", scatter_sub }, { "scatter_mul", scatter_mul },
    { "scatter_min", scatter_min }, { "scatter_max", scatter_max }, { "dynamic_slice", dynamic_slice },
    { "dynamic_update_slice", dynamic_update_slice }, { "jax.nn.softmax", softmax },
    { "jax.nn.log_softmax", log_softmax }, { "jax.nn.logsumexp", logsumexp }, { "jnp.mean", mean },
    { "jnp.var", var }, { "jnp.std", std }, { "jax.nn.one_hot", one_hot }, { "jnp.sort", jnp_sort },
    { "jnp.argsort", jnp_argsort }, { "jnp.linspace", linspace }, { "jnp.arange", arange },
    { "jnp.roll", roll }, { "jnp.tril", tril }, { "jnp.triu", triu }, { "jnp.where", where },
    { "jnp.clip", clip }, { "jnp.cross", cross }, { "jnp.kron", kron }, { "jnp.take", take },
    { "jnp.interp", interp }, { "jnp.searchsorted", searchsorted },
    { "jnp.take_along_axis", take_along_axis }, { "jnp.convolve", convolve }, { "jnp.isclose", isclose },
    { "cumlogsumexp", cumlogsumexp }, { "kink_clamp", clamp }, { "scatter_apply", scatter_apply },
    { NULL, NULL } };

/* Rows of the op table that need no attributes go by their own names. */
#define ROW_1(name) \
    static hd row_##name(const json_t *a, const hd *x, int n) \
    { \
        (void)a, (void)n; \
        const Ref in[] = { sym_ref(x[0]) }; \
        return sym_of(emit(OP_##name, 1, in, NULL)); \
    }
#define ROW_2(name) \
    static hd row_##name(const json_t *a, const hd *x, int n) \
    { \
        (void)a, (void)n; \
        const Ref in[] = { sym_ref(x[0]), sym_ref(x[1]) }; \
        return sym_of(emit(OP_##name, 2, in, NULL)); \
    }
#define ROW_3(name) \
    static hd row_##name(const json_t *a, const hd *x, int n) \
    { \
        (void)a, (void)n; \
        const Ref in[] = { sym_ref(x[0]), sym_ref(x[1]), sym_ref(x[2]) }; \
        return sym_of(emit(OP_##name, 3, in, NULL)); \
    }
#define ELEM(name, Name, arity, ...) ROW_##arity(name)
#define STRUC(...)
#include "ops.def"
static const GoldenRow rows[] = {
#define ENTRY_1(name) { #name, row_##name },
#define ENTRY_2(name) { #name, row_##name },
#define ENTRY_3(name) { #name, row_##name },
#define ELEM(name, Name, arity, ...) ENTRY_##arity(name)
#define STRUC(...)
#include "ops.def"
    { NULL, NULL }
};

GoldenFn *golden_ops(const char *op, const json_t *attrs, const char **missing)
{
    GoldenFn *f = golden_row(table, op);
    if (f)
        return f;
    (void)attrs, (void)missing;
    f = golden_row(rows, op);
    return f ? f : golden_linalg(op);
}
