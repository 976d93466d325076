/*
 * nn_activations.c - activations, as jax.nn defines them.
 *
 * Derivatives at kinks are those of jax.nn: relu and relu6 have 0, elu has 1, softplus and what is made of
 * maxima and minima (celu, sparse_sigmoid) a half of what both sides have.
 */
#include "formulas.h"

#include <math.h>

hd hd_sigmoid(hd x)
{
    OP(hd_sigmoid);
    Ref r = sym_ref(x);
    return sym_of(Logistic(r && is_complex(r) ? r : float_ref("hd_sigmoid", x)));
}

/* Of nan: nan. */
hd hd_relu(hd x)
{
    OP(hd_relu);
    Ref r = sym_ref(x);
    return r ? sym_of(choose(Le(r, Like(r, 0)), Like(r, 0), r)) : HD_NIL;
}

/* x times the normal distribution function, in its approximation by tanh. */
hd hd_gelu(hd x)
{
    OP(hd_gelu);
    Ref r = float_ref("hd_gelu", x);
    if (!r)
        return HD_NIL;
    Ref cube = Mul(Mul(r, r), r);
    Ref inner = Mul(Like(r, sqrt(2 / acos(-1))), Add(r, Mul(Like(r, 0.044715), cube)));
    return sym_of(Mul(r, Mul(Like(r, 0.5), Add(Like(r, 1), Tanh(inner)))));
}

hd hd_silu(hd x)
{
    OP(hd_silu);
    Ref r = float_ref("hd_silu", x);
    return sym_of(Mul(r, Logistic(r)));
}

hd hd_elu(hd x)
{
    OP(hd_elu);
    Ref r = float_ref("hd_elu", x);
    if (!r)
        return HD_NIL;
    Ref zero = Like(r, 0), above = Gt(r, zero);
    return sym_of(choose(above, r, Expm1(choose(above, zero, r))));
}

hd hd_log_sigmoid(hd x)
{
    OP(hd_log_sigmoid);
    return sym_of(Neg(softplus(Neg(float_ref("hd_log_sigmoid", x)))));
}
hd hd_softplus(hd x) { OP(hd_softplus); return sym_of(softplus(float_ref("hd_softplus", x))); }

/* ==================== pieces of lines */

static Ref at_least(Ref x, double low) { return bin(OP_max, x, Like(x, low)); }
static Ref at_most(Ref x, double high) { return bin(OP_min, x, Like(x, high)); }
static Ref relu6(Ref x)
{
    Ref low = Like(x, 0), high = Like(x, 6);
    return choose(Le(x, low), low, choose(Ge(x, high), high, x));
}
static Ref hard_sigmoid(Ref x) { return Div(relu6(Add(x, Like(x, 3))), Like(x, 6)); }

hd hd_relu6(hd x)
{
    OP(hd_relu6);
    Ref r = float_ref("hd_relu6", x);
    return r ? sym_of(relu6(r)) : HD_NIL;
}

hd hd_leaky_relu(hd x, double slope)
{
    OP(hd_leaky_relu);
    Ref r = float_ref("hd_leaky_relu", x);
    return r ? sym_of(choose(Ge(r, Like(r, 0)), r, Mul(Like(r, slope), r))) : HD_NIL;
}

hd hd_hard_tanh(hd x)
{
    OP(hd_hard_tanh);
    Ref r = float_ref("hd_hard_tanh", x);
    if (!r)
        return HD_NIL;
    Ref one = Like(r, 1), minus = Like(r, -1);
    return sym_of(choose(Gt(r, one), one, choose(Lt(r, minus), minus, r)));
}

hd hd_hard_sigmoid(hd x)
{
    OP(hd_hard_sigmoid);
    Ref r = float_ref("hd_hard_sigmoid", x);
    return r ? sym_of(hard_sigmoid(r)) : HD_NIL;
}

hd hd_hard_silu(hd x)
{
    OP(hd_hard_silu);
    Ref r = float_ref("hd_hard_silu", x);
    return r ? sym_of(Mul(r, hard_sigmoid(r))) : HD_NIL;
}

/* 0 to -1, x from 1 on, and a parabola between. */
hd hd_sparse_plus(hd x)
{
    OP(hd_sparse_plus);
    Ref r = float_ref("hd_sparse_plus", x);
    if (!r)
        return HD_NIL;
    Ref one = Like(r, 1), between = Div(square(Add(r, one)), Like(r, 4));
    return sym_of(choose(Le(r, Like(r, -1)), Like(r, 0), choose(Ge(r, one), r, between)));
}

hd hd_sparse_sigmoid(hd x)
{
    OP(hd_sparse_sigmoid);
    Ref r = float_ref("hd_sparse_sigmoid", x);
    return r ? sym_of(Mul(Like(r, 0.5), at_most(at_least(Add(r, Like(r, 1)), 0), 2))) : HD_NIL;
}

/* ==================== smooth ones */

hd hd_celu(hd x, double alpha)
{
    OP(hd_celu);
    Ref r = float_ref("hd_celu", x);
    if (!r)
        return HD_NIL;
    Ref a = Like(r, alpha);
    return sym_of(Add(at_least(r, 0), Mul(a, Expm1(Div(at_most(r, 0), a)))));
}

/* The two numbers keep mean 0 and variance 1 from layer to layer (Klambauer et al., Self-Normalizing Neural
 * Networks, 2017). */
hd hd_selu(hd x)
{
    const double alpha = 1.6732632423543772848, scale = 1.0507009873554804935;
    OP(hd_selu);
    Ref r = float_ref("hd_selu", x);
    if (!r)
        return HD_NIL;
    Ref zero = Like(r, 0), above = Gt(r, zero);
    Ref below = Mul(Like(r, alpha), Expm1(choose(above, zero, r)));
    return sym_of(Mul(Like(r, scale), choose(above, r, below)));
}

hd hd_mish(hd x)
{
    OP(hd_mish);
    Ref r = float_ref("hd_mish", x);
    return r ? sym_of(Mul(r, Tanh(softplus(r)))) : HD_NIL;
}

hd hd_soft_sign(hd x)
{
    OP(hd_soft_sign);
    Ref r = float_ref("hd_soft_sign", x);
    return r ? sym_of(Div(r, Add(Abs(r), Like(r, 1)))) : HD_NIL;
}

hd hd_squareplus(hd x, double b)
{
    OP(hd_squareplus);
    Ref r = float_ref("hd_squareplus", x);
    return r ? sym_of(Div(Add(r, Sqrt(Add(square(r), Like(r, b)))), Like(r, 2))) : HD_NIL;
}

hd hd_glu(hd x, int axis)
{
    static const char what[] = "hd_glu";
    int a;
    OP(hd_glu);
    Ref r = axis_ref(what, x, axis, &a);
    if (!r || !float_ref(what, x))
        return HD_NIL;
    const int64_t n = typ(r)->dim[a];
    if (n % 2)
        return error_set(E_SHAPE,
                   "hd_glu: axis %d of %s has %lld elements, and halves of it are multiplied: give it an "
                   "even number",
                   a, type_text(typ(r)), (long long)n),
               HD_NIL;
    return sym_of(Mul(take_range(r, a, 0, n / 2), Logistic(take_range(r, a, n / 2, n))));
}
