/*
 * random_formulas.c - samplers with parameters: inverse distribution functions, and quotients of normal,
 * gamma and exponential numbers. The formulas and the order in which keys are split are jax.random's.
 */
#include "random.h"

#include <math.h>

#define BEGIN(name, n, ...) \
    Key k; \
    Ints shape; \
    Ref r[n]; \
    OP(hd_random_##name##_n); \
    if (params_in("hd_random_" #name, key, list, n, (const hd[]){ __VA_ARGS__ }, &k, &shape, r)) \
        return HD_NIL; \
    const Dtype d = (Dtype)typ(r[0])->dt; \
    (void)d, (void)shape

/* ==================== from one uniform, normal or exponential number */

hd hd_random_bernoulli_n(hd key, hd p, hd_ints list)
{
    BEGIN(bernoulli, 1, p);
    return sym_of(Lt(unit(k, d, shape), r[0]));
}

hd hd_random_truncated_normal_n(hd key, hd low, hd high, hd_ints list)
{
    BEGIN(truncated_normal, 2, low, high);
    Ref root = Like(r[0], sqrt(2));
    Ref u = uniform(k, shape, Erf(Div(r[0], root)), Erf(Div(r[1], root)));
    Ref x = Mul(root, ErfInv(u));
    Ref from = Nextafter(stop_gradient(r[0]), Like(r[0], INFINITY));
    Ref to = Nextafter(stop_gradient(r[1]), Like(r[1], -INFINITY));
    return sym_of(Min(Max(x, from), to));
}

hd hd_random_lognormal_n(hd key, hd sigma, hd_ints list)
{
    BEGIN(lognormal, 1, sigma);
    return sym_of(Exp(Mul(draw_normal(k, d, shape), r[0])));
}

hd hd_random_pareto_n(hd key, hd b, hd_ints list)
{
    BEGIN(pareto, 1, b);
    return sym_of(Exp(Div(draw_exponential(k, d, shape), r[0])));
}

hd hd_random_rayleigh_n(hd key, hd scale, hd_ints list)
{
    BEGIN(rayleigh, 1, scale);
    return sym_of(Mul(r[0], Sqrt(Mul(Log(unit(k, d, shape)), Like(r[0], -2)))));
}

hd hd_random_weibull_min_n(hd key, hd scale, hd concentration, hd_ints list)
{
    BEGIN(weibull_min, 2, scale, concentration);
    return sym_of(Mul(Pow(draw_exponential(k, d, shape), Div(Like(r[1], 1), r[1])), r[0]));
}

/* 0 counts as 1, whose logarithm is finite. */
hd hd_random_geometric_n(hd key, hd p, hd_ints list)
{
    BEGIN(geometric, 1, p);
    Ref u = unit(k, d, shape);
    u = choose(Eq(u, Like(u, 0)), Like(u, 1), u);
    Ref n = Floor(Div(Log(u), Log1p(Neg(r[0]))));
    return sym_of(Convert(Add(n, Like(n, 1)), DT_I32));
}

hd hd_random_triangular_n(hd key, hd left, hd mode, hd right, hd_ints list)
{
    BEGIN(triangular, 3, left, mode, right);
    Ref span = Sub(r[2], r[0]), rise = Sub(r[1], r[0]), fall = Sub(r[2], r[1]), u = unit(k, d, shape);
    Ref up = Add(r[0], Sqrt(Mul(Mul(u, span), rise)));
    Ref down = Sub(r[2], Sqrt(Mul(Mul(Sub(Like(u, 1), u), span), fall)));
    return sym_of(choose(Lt(u, Div(rise, span)), up, down));
}

/* ==================== from several */

hd hd_random_wald_n(hd key, hd mean, hd_ints list)
{
    BEGIN(wald, 1, mean);
    Key sub[2];
    if (split(k, 2, sub))
        return HD_NIL;
    Ref m = r[0], y = square(draw_normal(sub[0], d, shape)), z = unit(sub[1], d, shape), m2 = square(m);
    Ref root = Sqrt(Add(Mul(Mul(Like(m, 4), m), y), Mul(m2, square(y))));
    Ref x = Sub(Add(m, Div(Mul(m2, y), Like(m, 2))), Mul(Div(m, Like(m, 2)), root));
    return sym_of(choose(Le(z, Div(m, Add(m, x))), x, Div(m2, x)));
}

hd hd_random_double_sided_maxwell_n(hd key, hd loc, hd scale, hd_ints list)
{
    BEGIN(double_sided_maxwell, 2, loc, scale);
    Key sub[2];
    if (split(k, 2, sub))
        return HD_NIL;
    Ref x = Mul(draw_rademacher(sub[1], d, shape), draw_maxwell(sub[0], d, shape));
    return sym_of(Add(Mul(x, r[1]), r[0]));
}

/* ==================== from gamma numbers */

hd hd_random_gamma_n(hd key, hd a, hd_ints list)
{
    BEGIN(gamma, 1, a);
    return sym_of(draw_gamma(k, r[0], false));
}

hd hd_random_loggamma_n(hd key, hd a, hd_ints list)
{
    BEGIN(loggamma, 1, a);
    return sym_of(draw_gamma(k, r[0], true));
}

/* x / (x + y) of two gamma numbers, from their logarithms, of which the larger is taken off. */
hd hd_random_beta_n(hd key, hd a, hd b, hd_ints list)
{
    BEGIN(beta, 2, a, b);
    Key sub[2];
    if (split(k, 2, sub))
        return HD_NIL;
    Ref x = draw_gamma(sub[0], r[0], true), y = draw_gamma(sub[1], r[1], true), top = Max(x, y);
    x = Exp(Sub(x, top)), y = Exp(Sub(y, top));
    return sym_of(Div(x, Add(x, y)));
}

static Ref chisquare(Key k, Ref df)
{
    Ref g = Exp(draw_gamma(k, Div(df, Like(df, 2)), true));
    return Mul(g, Like(g, 2));
}

hd hd_random_chisquare_n(hd key, hd df, hd_ints list)
{
    BEGIN(chisquare, 1, df);
    return sym_of(chisquare(k, r[0]));
}

hd hd_random_f_n(hd key, hd dfnum, hd dfden, hd_ints list)
{
    BEGIN(f, 2, dfnum, dfden);
    Key sub[2];
    if (split(k, 2, sub))
        return HD_NIL;
    Ref num = Div(chisquare(sub[1], r[0]), r[0]), den = Div(chisquare(sub[0], r[1]), r[1]);
    return sym_of(Div(num, den));
}

hd hd_random_t_n(hd key, hd df, hd_ints list)
{
    BEGIN(t, 1, df);
    Key sub[2];
    if (split(k, 2, sub))
        return HD_NIL;
    Ref half = Div(r[0], Like(r[0], 2)), n = draw_normal(sub[0], d, shape);
    return sym_of(Mul(n, Sqrt(Div(half, draw_gamma(sub[1], half, false)))));
}

/* A sign, and the root of a gamma number. */
static Ref generalized_normal(Key k, Ref p)
{
    Key sub[2];
    Ref inverse = Div(Like(p, 1), p);
    if (!inverse || split(k, 2, sub))
        return 0;
    Ref g = draw_gamma(sub[0], inverse, false);
    return g ? Mul(draw_rademacher(sub[1], (Dtype)typ(p)->dt, shape_of(p)), Pow(g, inverse)) : 0;
}

hd hd_random_generalized_normal_n(hd key, hd p, hd_ints list)
{
    BEGIN(generalized_normal, 1, p);
    return sym_of(generalized_normal(k, r[0]));
}

/* A direction of generalized normal numbers, and how far inward by an exponential one. */
hd hd_random_ball_n(hd key, hd p, int64_t n, hd_ints list)
{
    BEGIN(ball, 1, p);
    Key sub[2];
    Ints all = shape;
    if (n < 0 || all.n == MAXRANK) {
        error_set(E_SHAPE, "hd_random_ball: %lld dimensions of %s", (long long)n, type_text(typ(r[0])));
        return HD_NIL;
    }
    all.v[all.n++] = n;
    if (countable("hd_random_ball", all) || split(k, 2, sub))
        return HD_NIL;
    Ref spread_p = broadcast_to(unsqueeze(r[0], shape.n), all), g = generalized_normal(sub[0], spread_p);
    Ref e = draw_exponential(sub[1], d, shape);
    if (!g || !e)
        return HD_NIL;
    Ref length = Add(Sum(Pow(Abs(g), spread_p), ints1(shape.n)), e);
    length = Pow(length, Div(Like(r[0], 1), r[0]));
    return sym_of(Div(g, broadcast_to(unsqueeze(length, shape.n), all)));
}

/* The softmax of logarithms of gamma numbers. */
hd hd_random_dirichlet_n(hd key, hd alpha, hd_ints list)
{
    static const char what[] = "hd_random_dirichlet";
    Key k;
    Ints shape;
    OP(hd_random_dirichlet_n);
    Ref a = rank_ref(what, alpha, 1) ? float_ref(what, alpha) : 0;
    if (!a || draw_in(what, key, list, &k, &shape))
        return HD_NIL;
    int axis = typ(a)->rank - 1;
    if (!typ(a)->dim[axis]) {
        error_set(E_SHAPE, "%s: alpha is %s, without a class", what, type_text(typ(a)));
        return HD_NIL;
    }
    a = shape.n ? over_batch(what, "alpha", a, shape, &axis) : a;
    Ref g = draw_gamma(k, a, true);
    if (!g)
        return HD_NIL;
    Ints last = ints1(axis);
    Ref e = Exp(Sub(g, spread(stop_gradient(Reduce(OP_reduce_max, g, last)), last, g)));
    return sym_of(e ? Div(e, spread(Sum(e, last), last, e)) : 0);
}

/* ==================== counts */

hd hd_random_poisson_n(hd key, hd lambda, hd_ints list)
{
    BEGIN(poisson, 1, lambda);
    return sym_of(draw_poisson(k, Convert(r[0], DT_F32)));
}

hd hd_random_binomial_n(hd key, hd n, hd p, hd_ints list)
{
    BEGIN(binomial, 2, n, p);
    return sym_of(draw_binomial(k, r[0], r[1]));
}

/* The classes one after the other: each takes a binomial number of what is left. x: remainder, then p over
 * what is left of it, and a key. */
static Graph *class_step(Dtype d, Ints shape)
{
    Type all = type_of(d, shape.n, shape.v), word = type_scalar(DT_U32);
    graph_begin(graph_new());
    Ref left = graph_input(all, 0), p = graph_input(all, 0);
    Key k = { .word = { graph_input(word, 0), graph_input(word, 0) } };
    Ref n = draw_binomial(k, left, Clamp(Like(p, 0), p, Like(p, 1)));
    graph_outputs((const Ref[]){ n ? Sub(left, n) : 0, n }, 2);
    return graph_end();
}

/* p: the classes first */
static Ref multinomial(Key k, Ref n, Ref p)
{
    Ref w[2], out[2], rest = p ? Cumulative(OP_cumsum, p, 0, true) : 0;
    Ref part = rest ? Div(p, choose(Eq(rest, Like(rest, 0)), Like(rest, 1), rest)) : 0;
    if (!part || !n || !keys_of(k, ints1(typ(p)->dim[0]), w))
        return 0;
    Graph *step = class_step((Dtype)typ(p)->dt, shape_of(n));
    Region r = region_plain(SCAN, 0, 0, 1);
    r.length = typ(p)->dim[0];
    if (error_pending())
        return 0;
    emit_region(&r, 4, (Ref[]){ n, part, w[0], w[1] }, 1, &step, out);
    return error_pending() ? 0 : MoveAxis(out[1], 0, typ(out[1])->rank - 1);
}

hd hd_random_multinomial_n(hd key, hd n, hd p, hd_ints list)
{
    static const char what[] = "hd_random_multinomial";
    Key k;
    Ints shape;
    Ref r[2];
    OP(hd_random_multinomial_n);
    if (!rank_ref(what, p, 1) || unify_dtype(what, 2, (const hd[]){ n, p }, r) ||
        !float_ref(what, sym_of(r[0])) || draw_in(what, key, list, &k, &shape))
        return HD_NIL;
    int axis = typ(r[1])->rank - 1;
    if (!shape.n)
        shape = ints_without(shape_of(r[1]), &(Ints){ 1, { axis } });
    r[1] = over_batch(what, "p", r[1], shape, &axis);
    r[0] = broadcast_to(r[0], shape);
    return r[0] && r[1] ?
        sym_of(multinomial(k, stop_gradient(r[0]), stop_gradient(MoveAxis(r[1], axis, 0)))) :
        HD_NIL;
}
