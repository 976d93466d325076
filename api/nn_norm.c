/*
 * nn_norm.c - layers that normalise, drop out, and look up: layer_norm, rms_norm, batch_norm, dropout,
 * embedding.
 *
 * A normalised layer is (x - mean) / sqrt(variance + eps) over some axes, times scale plus shift. Of 16-bit
 * floats it is computed in f32.
 */
#include "random.h"

/* The layer being made: x in the dtype it is computed in, the axes of its mean, its scale and shift spread
 * over x (0: there is none). */
typedef struct Layer {
    const char *what;
    Ref x;
    Dtype own;
    Ints axes, params;
    double eps;
    Ref scale, shift;
} Layer;

static Ref wide(Ref x) { return x && dtype_size((Dtype)typ(x)->dt) < 4 ? Convert(x, DT_F32) : x; }

/* A parameter, which has the sizes of x along some of its axes, spread over x; 0 where it is not given, or
 * after an error. */
static Ref parameter(const Layer *l, const char *name, hd p)
{
    if (sym_absent(p))
        return 0;
    Ref r = sym_ref_as(p, l->own);
    if (!r)
        return 0;
    Ints shape = { 0 };
    for (int k = 0; k < l->params.n; k++)
        shape.v[shape.n++] = typ(l->x)->dim[l->params.v[k]];
    Type want = type_of(l->own, shape.n, shape.v);
    if (!type_equal(&want, typ(r))) {
        error_set(E_SHAPE, "%s: %s is %s; the sizes of its axes are wanted, %s", l->what, name,
            type_text(typ(r)), type_text(&want));
        return 0;
    }
    return Broadcast(wide(r), shape_of(l->x), l->params);
}

/* Axes of the mean and of parameters are those named; or, of a layer that has none named, the last, and of a
 * batch all but the last. 0, or a code */
static int layer_in(Layer *l, hd x, const hd_layer_opts *o, hd scale, hd shift, bool batch)
{
    Ref r = float_ref(l->what, rank_ref(l->what, x, 1) ? x : HD_NIL);
    if (!r)
        return E_DTYPE;
    int rank = typ(r)->rank;
    l->own = (Dtype)typ(r)->dt, l->x = wide(r), l->eps = o->eps == 0 ? 1e-5 : o->eps;
    if (o->axes.n) {
        if (axes_of(l->what, o->axes, rank, &l->axes, NULL))
            return error_code();
    } else
        l->axes = batch ? ints_run(0, rank - 1) : ints1(rank - 1);
    l->params = batch ? ints_without(ints_run(0, rank), &l->axes) : l->axes;
    l->scale = parameter(l, "scale", scale), l->shift = parameter(l, "shift", shift);
    return error_pending() ? error_code() : 0;
}

static hd layer_out(const Layer *l, Ref y)
{
    if (l->scale)
        y = Mul(y, l->scale);
    if (l->shift)
        y = Add(y, l->shift);
    return sym_of(y ? Convert(y, l->own) : 0);
}

/* c / sqrt(v + eps) */
static Ref divided(const Layer *l, Ref c, Ref v)
{
    return v ? Mul(c, spread(Rsqrt(Add(v, Like(v, l->eps))), l->axes, c)) : 0;
}

hd hd_layer_norm_n(hd x, hd scale, hd shift, const hd_layer_opts *o)
{
    Layer l = { .what = "hd_layer_norm" };
    OP(hd_layer_norm_n);
    OPTIONS(hd_layer_opts, o);
    if (layer_in(&l, x, o, scale, shift, false))
        return HD_NIL;
    Ref c = Sub(l.x, spread(mean(l.x, l.axes), l.axes, l.x));
    return layer_out(&l, divided(&l, c, mean(square(c), l.axes)));
}

hd hd_rms_norm_n(hd x, hd scale, const hd_layer_opts *o)
{
    Layer l = { .what = "hd_rms_norm" };
    OP(hd_rms_norm_n);
    OPTIONS(hd_layer_opts, o);
    if (layer_in(&l, x, o, scale, HD_NIL, false))
        return HD_NIL;
    return layer_out(&l, divided(&l, l.x, mean(square(l.x), l.axes)));
}

/* Mean and variance that are given are those of a run before. */
hd hd_batch_norm_n(hd x, hd scale, hd shift, hd given_mean, hd given_variance, const hd_layer_opts *o)
{
    Layer l = { .what = "hd_batch_norm" };
    OP(hd_batch_norm_n);
    OPTIONS(hd_layer_opts, o);
    if (layer_in(&l, x, o, scale, shift, true))
        return HD_NIL;
    bool given = !sym_absent(given_mean);
    if (given == sym_absent(given_variance)) {
        error_set(E_INVAL, "%s: mean and variance are given both, or neither", l.what);
        return HD_NIL;
    }
    Ref m = given ? parameter(&l, "mean", given_mean) : mean(l.x, l.axes);
    if (!m)
        return HD_NIL;
    Ref c = Sub(l.x, given ? m : spread(m, l.axes, l.x)), y;
    if (given) {
        Ref v = parameter(&l, "variance", given_variance);
        y = v ? Mul(c, Rsqrt(Add(v, Like(v, l.eps)))) : 0;
        return y ? sym_tuple((const hd[]){ layer_out(&l, y), given_mean, given_variance }, 3) : HD_NIL;
    }
    Ref v = mean(square(c), l.axes);
    y = divided(&l, c, v);
    return y ?
        sym_tuple(
            (const hd[]){ layer_out(&l, y), sym_of(Convert(m, l.own)), sym_of(Convert(v, l.own)) }, 3) :
        HD_NIL;
}

/* Each element is 0 with this probability, else divided by the probability that it is not. */
hd hd_dropout(hd key, hd x, double rate)
{
    static const char what[] = "hd_dropout";
    Key k;
    OP(hd_dropout);
    Ref r = float_ref(what, x);
    if (!r || key_in(what, key, &k))
        return HD_NIL;
    if (!(rate >= 0 && rate <= 1)) {
        error_set(E_INVAL, "%s: the rate is a probability, 0 to 1, not %g", what, rate);
        return HD_NIL;
    }
    if (rate == 0 || rate == 1)
        return rate == 0 ? x : sym_of(Like(r, 0));
    Dtype drawn = dtype_size((Dtype)typ(r)->dt) < 4 ? DT_F32 : (Dtype)typ(r)->dt;
    Ref u = unit(k, drawn, shape_of(r));
    return sym_of(u ? Select(Lt(u, Like(u, 1 - rate)), Div(r, Like(r, 1 - rate)), Like(r, 0)) : 0);
}

hd hd_embedding(hd table, hd ids)
{
    static const char what[] = "hd_embedding";
    OP(hd_embedding);
    Ref r = rank_ref(what, table, 2), i = r ? sym_ref(ids) : 0;
    return int_operand(what, "ids", i) ? hd_take(table, ids, 0) : HD_NIL;
}
