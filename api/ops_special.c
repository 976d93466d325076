/*
 * ops_special.c - special functions.
 *
 * Those that need an approximation of their own are rows of the op table on unified operands; the others
 * are formulas of rows, as jax.scipy.special has them.
 */
#include "formulas.h"

#include <math.h>

/* ==================== rows */

#define ROW1(name, row) \
    hd hd_##name(hd x) \
    { \
        OP(hd_##name); \
        return elem(OP_##row, 1, &x); \
    }
#define ROW2(name, row) \
    hd hd_##name(hd x, hd y) \
    { \
        OP(hd_##name); \
        return elem(OP_##row, 2, (const hd[]){ x, y }); \
    }

ROW1(i0e, bessel_i0e)
ROW1(i1e, bessel_i1e)
ROW1(expi, expi)
ROW1(spence, spence)
ROW1(entr, entr)
ROW1(ndtri, ndtri)
ROW1(log_ndtr, log_ndtr)
ROW2(xlogy, xlogy)
ROW2(xlog1py, xlog1py)
ROW2(betaln, betaln)
ROW2(zeta, zeta)
ROW2(polygamma, polygamma)
ROW2(igamma, igamma)
ROW2(igammac, igammac)
ROW2(random_gamma_grad, random_gamma_grad)

hd hd_betainc(hd a, hd b, hd x)
{
    OP(hd_betainc);
    return elem(OP_regularized_incomplete_beta, 3, (const hd[]){ a, b, x });
}

/* ==================== formulas */

hd hd_i0(hd x)
{
    OP(hd_i0);
    Ref r = float_ref("hd_i0", x);
    return sym_of(Mul(Exp(Abs(r)), BesselI0e(r)));
}

hd hd_i1(hd x)
{
    OP(hd_i1);
    Ref r = float_ref("hd_i1", x);
    return sym_of(Mul(Exp(Abs(r)), BesselI1e(r)));
}

/* dP/da = -dx/da dP/dx */
hd hd_igamma_grad_a(hd a, hd x)
{
    Ref r[2];
    OP(hd_igamma_grad_a);
    if (unify("hd_igamma_grad_a", 2, (const hd[]){ a, x }, r) ||
        !float_ref("hd_igamma_grad_a", sym_of(r[0])))
        return HD_NIL;
    Ref none = Eq(r[1], Like(r[1], 0)), there = choose(none, Like(r[1], 1), r[1]);
    Ref log_density = Sub(Sub(Mul(Sub(r[0], Like(r[0], 1)), Log(there)), there), Lgamma(r[0]));
    return sym_of(choose(none, Like(r[0], 0), Neg(Mul(RandomGammaGrad(r[0], there), Exp(log_density)))));
}

/* log of pi^(d (d - 1)/4) Gamma(a) Gamma(a - 1/2) ... */
hd hd_multigammaln(hd a, int d)
{
    OP(hd_multigammaln);
    Ref r = float_ref("hd_multigammaln", a);
    if (!r)
        return HD_NIL;
    if (d < 1 || d > 1000) {                    /* a term each */
        error_set(E_INVAL, "hd_multigammaln: %d dimensions; 1 to 1000 are possible", d);
        return HD_NIL;
    }
    Ref sum = Lgamma(r);
    for (int j = 1; j < d; j++)
        sum = Add(sum, Lgamma(Sub(r, Like(r, 0.5 * j))));
    return sym_of(d > 1 ? Add(sum, Like(r, 0.25 * d * (d - 1) * log(PI))) : sum);
}

hd hd_ndtr(hd x)
{
    OP(hd_ndtr);
    Ref r = float_ref("hd_ndtr", x);
    return r ? sym_of(Mul(Like(r, 0.5), Erfc(Mul(r, Like(r, -sqrt(0.5)))))) : HD_NIL;
}

/* log (x / (1 - x)). Around 1/2, where it is small, by log1p. */
hd hd_logit(hd x)
{
    OP(hd_logit);
    Ref r = float_ref("hd_logit", x);
    if (!r)
        return HD_NIL;
    Ref one = Like(r, 1), mid = And(Gt(r, Like(r, 0.25)), Lt(r, Like(r, 0.75)));
    Ref inner = choose(mid, r, Like(r, 0.5)), outer = choose(mid, Like(r, 0.25), r);
    Ref near = Log1p(Div(Sub(Add(inner, inner), one), Sub(one, inner)));
    return sym_of(choose(mid, near, Sub(Log(outer), Log1p(Neg(outer)))));
}

/* sin(pi x) / (pi x). Near 0 its series, whose derivatives are right to the fifth. */
hd hd_sinc(hd x)
{
    OP(hd_sinc);
    Ref r = float_ref("hd_sinc", x);
    if (!r)
        return HD_NIL;
    Ref y = Mul(r, Like(r, PI)), near = Lt(Abs(y), Like(y, typ(y)->dt == DT_F64 ? 1e-3 : 1e-2));
    Ref away = choose(near, Like(y, 1), y), z = square(choose(near, y, Like(y, 0)));
    Ref series = Mul(z, Sub(Mul(z, Sub(Like(z, 1.0 / 120), Mul(z, Like(z, 1.0 / 5040)))), Like(z, 1.0 / 6)));
    return sym_of(choose(near, Add(series, Like(z, 1)), Div(Sin(away), away)));
}

/* x log (x / y) where both are positive, 0 where x is 0, else infinite */
static Ref relative(Ref x, Ref y)
{
    Ref zero = Like(x, 0), both = And(Gt(x, zero), Gt(y, zero)), none = And(Eq(x, zero), Ge(y, zero));
    Ref p = choose(both, x, Like(x, 1)), q = choose(both, y, Like(y, 1));
    return choose(both, Sub(Neg(Entr(p)), Xlogy(p, q)), choose(none, zero, Like(x, INFINITY)));
}

static bool two_floats(const char *what, hd x, hd y, Ref *r)
{
    return !unify(what, 2, (const hd[]){ x, y }, r) && float_ref(what, sym_of(r[0]));
}

hd hd_rel_entr(hd x, hd y)
{
    Ref r[2];
    OP(hd_rel_entr);
    return two_floats("hd_rel_entr", x, y, r) ? sym_of(relative(r[0], r[1])) : HD_NIL;
}

hd hd_kl_div(hd x, hd y)
{
    Ref r[2];
    OP(hd_kl_div);
    return two_floats("hd_kl_div", x, y, r) ? sym_of(Add(Sub(relative(r[0], r[1]), r[0]), r[1])) : HD_NIL;
}

/* The largest x whose weight is not 0 is taken out, as a constant. */
hd hd_logsumexp_weighted_n(hd x, hd b, hd_ints axes)
{
    static const char what[] = "hd_logsumexp_weighted";
    Ref r[2];
    bool keep;
    Ints a;
    OP(hd_logsumexp_weighted_n);
    if (!two_floats(what, x, b, r) || axes_of(what, axes, typ(r[0])->rank, &a, &keep))
        return HD_NIL;
    Ref none = Eq(r[1], Like(r[1], 0)), v = choose(none, Like(r[0], -INFINITY), r[0]);
    Ref top = size_along(v, a) ? stop_gradient(Reduce(OP_reduce_max, v, a)) : Sum(v, a);
    top = choose(IsFinite(top), top, Like(top, 0));
    Ref e = Mul(Exp(Sub(choose(none, spread(top, a, r[0]), r[0]), spread(top, a, r[0]))), r[1]);
    Ref y = Add(Log(Sum(e, a)), top);
    return sym_of(keep ? kept(y, a, r[0]) : y);
}
