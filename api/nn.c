/*
 * nn.c - softmax and losses, as jax.nn and optax define them.
 */
#include "formulas.h"

#include <math.h>

/* ==================== softmax and what stands beside it */

/* x less its largest element, which is a constant for derivatives. 0 after an error. */
static Ref shifted(const char *what, hd x, int axis, Ints *axes)
{
    Ref r = float_ref(what, rank_ref(what, x, 1) ? x : HD_NIL);
    int a = r ? axis_of(what, axis, typ(r)->rank) : -1;
    if (a < 0)
        return 0;
    *axes = ints1(a);
    if (!typ(r)->dim[a])
        return r;
    return Sub(r, spread(stop_gradient(Reduce(OP_reduce_max, r, *axes)), *axes, r));
}

hd hd_softmax(hd x, int axis)
{
    Ints a;
    OP(hd_softmax);
    Ref e = Exp(shifted("hd_softmax", x, axis, &a));
    return e ? sym_of(Div(e, spread(Sum(e, a), a, e))) : HD_NIL;
}

static Ref log_softmax(const char *what, hd x, int axis)
{
    Ints a;
    Ref s = shifted(what, x, axis, &a);
    return s ? Sub(s, spread(Log(Sum(Exp(s), a)), a, s)) : 0;
}

hd hd_log_softmax(hd x, int axis)
{
    OP(hd_log_softmax);
    return sym_of(log_softmax("hd_log_softmax", x, axis));
}

/* The variance has 1e-5 added, so that equal elements become 0. */
hd hd_standardize(hd x, int axis)
{
    static const char what[] = "hd_standardize";
    OP(hd_standardize);
    Ref r = float_ref(what, rank_ref(what, x, 1) ? x : HD_NIL);
    int a = r ? axis_of(what, axis, typ(r)->rank) : -1;
    if (a < 0)
        return HD_NIL;
    Ints axes = ints1(a);
    Ref c = Sub(r, spread(mean(r, axes), axes, r));
    Ref v = mean(square(c), axes);
    return sym_of(v ? Mul(c, spread(Rsqrt(Add(v, Like(v, 1e-5))), axes, c)) : 0);
}

/* ==================== losses */

/* -y log sigmoid(x) - (1 - y) log sigmoid(-x), elementwise */
hd hd_sigmoid_cross_entropy(hd logits, hd labels)
{
    static const char what[] = "hd_sigmoid_cross_entropy";
    Ref r[2];
    OP(hd_sigmoid_cross_entropy);
    if (unify(what, 2, (const hd[]){ logits, labels }, r) || !float_ref(what, sym_of(r[0])))
        return HD_NIL;
    Ref yes = softplus(Neg(r[0])), no = softplus(r[0]);
    return sym_of(Add(Mul(r[1], yes), Mul(Sub(Like(r[1], 1), r[1]), no)));
}

hd hd_softmax_cross_entropy(hd logits, hd labels)
{
    static const char what[] = "hd_softmax_cross_entropy";
    Ref r[2];
    OP(hd_softmax_cross_entropy);
    if (unify(what, 2, (const hd[]){ logits, labels }, r))
        return HD_NIL;
    Ref l = log_softmax(what, sym_of(r[0]), -1);
    return l ? sym_of(Neg(Sum(Mul(r[1], l), ints1(typ(l)->rank - 1)))) : HD_NIL;
}

/* Of classes that are numbers. */
hd hd_softmax_cross_entropy_labels(hd logits, hd labels)
{
    static const char what[] = "hd_softmax_cross_entropy_labels";
    OP(hd_softmax_cross_entropy_labels);
    Ref l = log_softmax(what, logits, -1), i = l ? sym_ref(labels) : 0;
    if (!int_operand(what, "labels", i))
        return HD_NIL;
    Type t = *typ(l), u = *typ(i);
    u.dt = t.dt, t.rank--;
    if (!type_equal(&t, &u)) {
        error_set(E_SHAPE, "%s: logits are %s and labels %s; a label for each of the other axes is wanted",
            what, type_text(typ(l)), type_text(typ(i)));
        return HD_NIL;
    }
    Ref y = sym_ref(hd_take_along_axis(sym_of(l), sym_of(unsqueeze(i, t.rank)), -1));
    return sym_of(y ? Neg(squeeze_axis(y, t.rank)) : 0);
}

/* What has the target 0 adds nothing. */
hd hd_kl_divergence(hd log_predictions, hd targets)
{
    static const char what[] = "hd_kl_divergence";
    Ref r[2];
    OP(hd_kl_divergence);
    if (unify(what, 2, (const hd[]){ log_predictions, targets }, r) || !float_ref(what, sym_of(r[0])) ||
        !rank_ref(what, sym_of(r[0]), 1))
        return HD_NIL;
    Ref none = Eq(r[1], Like(r[1], 0)),
        log = choose(none, Like(r[1], 0), Log(choose(none, Like(r[1], 1), r[1])));
    return sym_of(Sum(Mul(r[1], Sub(log, r[0])), ints1(typ(r[0])->rank - 1)));
}

hd hd_smooth_labels(hd labels, double share)
{
    static const char what[] = "hd_smooth_labels";
    OP(hd_smooth_labels);
    Ref r = float_ref(what, rank_ref(what, labels, 1) ? labels : HD_NIL);
    if (!r)
        return HD_NIL;
    int64_t n = typ(r)->dim[typ(r)->rank - 1];
    return sym_of(Add(Mul(r, Like(r, 1 - share)), Like(r, n ? share / (double)n : 0)));
}

/* x - target. 0 after an error */
static Ref error_of(const char *what, hd x, hd target)
{
    Ref r[2];
    if (unify(what, 2, (const hd[]){ x, target }, r) || !float_ref(what, sym_of(r[0])))
        return 0;
    return Sub(r[0], r[1]);
}

hd hd_huber_loss(hd x, hd target, double delta)
{
    static const char what[] = "hd_huber_loss";
    OP(hd_huber_loss);
    Ref e = Abs(error_of(what, x, target));
    if (!e)
        return HD_NIL;
    Ref near = Min(e, Like(e, delta));
    return sym_of(Add(Mul(Like(e, 0.5), square(near)), Mul(Like(e, delta), Sub(e, near))));
}

hd hd_log_cosh_loss(hd x, hd target)
{
    OP(hd_log_cosh_loss);
    Ref e = error_of("hd_log_cosh_loss", x, target);
    return sym_of(e ? Sub(logaddexp(e, Neg(e)), Like(e, log(2))) : 0);
}

hd hd_hinge_loss(hd x, hd target)
{
    static const char what[] = "hd_hinge_loss";
    Ref r[2];
    OP(hd_hinge_loss);
    if (unify(what, 2, (const hd[]){ x, target }, r) || !float_ref(what, sym_of(r[0])))
        return HD_NIL;
    return sym_of(Max(Like(r[0], 0), Sub(Like(r[0], 1), Mul(r[0], r[1]))));
}
