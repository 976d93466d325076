/*
 * nn.c - activations, losses and optimisers, as jax.nn and optax define them.
 *
 * Derivatives at kinks are those of jax.nn: relu has 0 at 0, elu has 1, softplus a half. Optimisers are
 * functions of trees: state is tuple(first moments, second moments, steps), the same for all, so that one
 * may follow another.
 */
#include "formulas.h"

#include <math.h>

/* ==================== activations */

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

/* ==================== optimisers */

static hd zero_leaf(const hd *x, int n, void *env)
{
    Ref r = sym_ref(x[0]);
    (void)n, (void)env;
    return r ? sym_of(Like(r, 0)) : HD_NIL;
}

hd hd_opt_init(hd params)
{
    OP(hd_opt_init);
    hd zeros = sym_map("hd_opt_init", zero_leaf, NULL, 1, &params);
    return sym_tuple((const hd[]){ zeros, zeros, sym_of(Const(DT_I32, 0)) }, 3);
}

typedef struct Update {
    const char *what;
    const hd_opt_opts *o;
    hd rate;
    double keep;                                /* of the moment being updated: m' = keep m + add g */
    double add;
    bool squares;
    Ref steps;
} Update;

static Ref times(Ref x, double c) { return c == 1 || !x ? x : Mul(x, Like(x, c)); }

/* The rate as a number of the leaf's dtype. */
static Ref rate_for(const Update *s, Ref leaf)
{
    Ref r = leaf ? sym_ref_as(s->rate, (Dtype)typ(leaf)->dt) : 0;
    return r ? broadcast_to(Convert(r, (Dtype)typ(leaf)->dt), shape_of(leaf)) : 0;
}

/* (moment, gradient) -> moment */
static hd moment_leaf(const hd *x, int n, void *env)
{
    const Update *s = env;
    Ref r[2];
    if (unify_dtype(s->what, n, x, r))
        return HD_NIL;
    Ref g = s->squares ? square(r[1]) : r[1];
    return sym_of(s->keep == 0 ? times(g, s->add) : bin(OP_add, times(r[0], s->keep), times(g, s->add)));
}

/* (parameter, step) -> parameter less rate times (step + weight decay times parameter) */
static Ref descend(const Update *s, Ref p, Ref step)
{
    double decay = s->o->weight_decay;
    if (decay != 0)
        step = Add(step, times(p, decay));
    return Sub(p, Mul(rate_for(s, p), step));
}

static hd sgd_leaf(const hd *x, int n, void *env)
{
    Ref r[2];
    const Update *s = env;
    return unify(s->what, n, x, r) ? HD_NIL : sym_of(descend(s, r[0], r[1]));
}

/* 1 - b^t, as a number of the leaf's dtype, at its shape */
static Ref correction(const Update *s, double b, Ref leaf)
{
    Ref t = Convert(s->steps, DT_F32);
    Ref c = t ? Sub(Like(t, 1), Pow(Like(t, b), t)) : 0;
    return c ? scalar_to(Convert(c, (Dtype)typ(leaf)->dt), shape_of(leaf)) : 0;
}

static double or_default(double v, double otherwise) { return v == 0 ? otherwise : v; }

/* (parameter, first moment, second moment) -> parameter */
static hd adam_leaf(const hd *x, int n, void *env)
{
    Ref r[3];
    const Update *s = env;
    if (unify(s->what, n, x, r))
        return HD_NIL;
    Ref m = Div(r[1], correction(s, or_default(s->o->b1, 0.9), r[1]));
    Ref v = Div(r[2], correction(s, or_default(s->o->b2, 0.999), r[2]));
    Ref root = Sqrt(v);
    Ref step = root ? Div(m, Add(root, Like(root, or_default(s->o->eps, 1e-8)))) : 0;
    return sym_of(descend(s, r[0], step));
}

/* The parts of an optimiser's state. */
static bool state_in(const char *what, hd state, hd *part)
{
    const Tree *t = sym_type(state);
    if (t && t->kind == T_TUPLE && t->n == 3) {
        for (int i = 0; i < 3; i++)
            part[i] = hd_nth(state, i);
        return sym_usable(part[0]) && sym_usable(part[1]) && sym_usable(part[2]);
    }
    if (sym_usable(state))
        error_set(E_INVAL, "%s: the state is what hd_opt_init(params) made, not %s",
            what, t ? tree_text(t) : "nothing");
    return false;
}

/* The count of steps, one more. */
static hd counted(Update *s, hd count)
{
    Ref r = sym_ref(count);
    s->steps = r ? Add(r, Like(r, 1)) : 0;
    return sym_of(s->steps);
}

hd hd_sgd_n(hd params, hd grads, hd state, hd rate, const hd_opt_opts *o)
{
    OP(hd_sgd_n);
    OPTIONS(hd_opt_opts, o);
    Update s = { .what = "hd_sgd", .o = o, .rate = rate, .keep = o->momentum, .add = 1 };
    hd part[3];
    if (!state_in(s.what, state, part))
        return HD_NIL;
    part[2] = counted(&s, part[2]);
    part[0] = sym_map(s.what, moment_leaf, &s, 2, (const hd[]){ part[0], grads });
    params = sym_map(s.what, sgd_leaf, &s, 2, (const hd[]){ params, part[0] });
    return sym_tuple((const hd[]){ params, sym_tuple(part, 3) }, 2);
}

hd hd_adam_n(hd params, hd grads, hd state, hd rate, const hd_opt_opts *o)
{
    OP(hd_adam_n);
    OPTIONS(hd_opt_opts, o);
    Update s = { .what = "hd_adam", .o = o, .rate = rate, .keep = or_default(o->b1, 0.9) };
    hd part[3];
    if (!state_in(s.what, state, part))
        return HD_NIL;
    part[2] = counted(&s, part[2]);
    s.add = 1 - s.keep;
    part[0] = sym_map(s.what, moment_leaf, &s, 2, (const hd[]){ part[0], grads });
    s.keep = or_default(o->b2, 0.999), s.add = 1 - s.keep, s.squares = true;
    part[1] = sym_map(s.what, moment_leaf, &s, 2, (const hd[]){ part[1], grads });
    params = sym_map(s.what, adam_leaf, &s, 3, (const hd[]){ params, part[0], part[1] });
    return sym_tuple((const hd[]){ params, sym_tuple(part, 3) }, 2);
}
