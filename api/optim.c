/*
 * optim.c - optimisers, as optax defines them: functions of trees, (params, grads, state) to tuple(params,
 * state).
 *
 * The state is tuple(first moments, second moments, steps), the same for all, so that one may follow
 * another. Each optimiser is one or two maps that make new moments, and one that takes a step.
 */
#include "formulas.h"

#include <math.h>

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
    double keep; /* of the moment being updated: m' = keep m + add g */
    double add;
    bool squares;
    Ref steps;
    hd part[3]; /* of the state */
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

/* part[which] of the state becomes keep times itself and add times the gradients, or their squares. */
static void moments(Update *s, int which, double keep, double add, hd grads)
{
    s->keep = keep, s->add = add, s->squares = which == 1;
    s->part[which] = sym_map(s->what, moment_leaf, s, 2, (const hd[]){ s->part[which], grads });
}

/* (parameter, step) -> parameter less rate times (step + weight decay times parameter) */
static Ref descend(const Update *s, Ref p, Ref step)
{
    double decay = s->o->weight_decay;
    if (decay != 0)
        step = Add(step, times(p, decay));
    return Sub(p, Mul(rate_for(s, p), step));
}

/* The parts of the state, and one step more. false after an error */
static bool begin(Update *s, const char *what, hd state, hd rate)
{
    const Tree *t = sym_type(state);
    s->what = what, s->rate = rate;
    if (!t || t->kind != T_TUPLE || t->n != 3) {
        if (sym_usable(state))
            error_set(E_INVAL, "%s: the state is what hd_opt_init(params) made, not %s", what,
                t ? tree_text(t) : "nothing");
        return false;
    }
    for (int i = 0; i < 3; i++)
        s->part[i] = hd_nth(state, i);
    Ref r = sym_usable(s->part[0]) && sym_usable(s->part[1]) ? sym_ref(s->part[2]) : 0;
    s->steps = r ? Add(r, Like(r, 1)) : 0;
    s->part[2] = sym_of(s->steps);
    return s->steps != 0;
}

/* The new parameters, of leaves of these trees, and the state. */
static hd end(Update *s, LeafFn *leaf, int n, const hd *trees)
{
    return sym_tuple((const hd[]){ sym_map(s->what, leaf, s, n, trees), sym_tuple(s->part, 3) }, 2);
}

/* ==================== gradient descent, with momentum
 * m = momentum m + g, and the step is m; Nesterov's looks ahead, momentum m + g. */

static hd sgd_leaf(const hd *x, int n, void *env)
{
    Ref r[3];
    const Update *s = env;
    if (unify(s->what, n, x, r))
        return HD_NIL;
    Ref step = s->o->nesterov ? Add(times(r[1], s->o->momentum), r[2]) : r[1];
    return sym_of(descend(s, r[0], step));
}

hd hd_sgd_n(hd params, hd grads, hd state, hd rate, const hd_opt_opts *o)
{
    OP(hd_sgd_n);
    OPTIONS(hd_opt_opts, o);
    Update s = { .o = o };
    if (!begin(&s, "hd_sgd", state, rate))
        return HD_NIL;
    moments(&s, 0, o->momentum, 1, grads);
    return end(&s, sgd_leaf, 3, (const hd[]){ params, s.part[0], grads });
}

/* ==================== Adam, and with Nesterov's look ahead NAdam */

/* 1 - b^t, as a number of the leaf's dtype, at its shape; t is `more` steps from here */
static Ref correction(const Update *s, double b, int more, Ref leaf)
{
    Ref t = Convert(s->steps, DT_F32);
    if (t && more)
        t = Add(t, Like(t, more));
    Ref c = t ? Sub(Like(t, 1), Pow(Like(t, b), t)) : 0;
    return c ? scalar_to(Convert(c, (Dtype)typ(leaf)->dt), shape_of(leaf)) : 0;
}

/* (parameter, first moment, second moment, gradient) -> parameter */
static hd adam_leaf(const hd *x, int n, void *env)
{
    Ref r[4];
    const Update *s = env;
    double b1 = or_default(s->o->b1, 0.9), b2 = or_default(s->o->b2, 0.999);
    if (unify(s->what, n, x, r))
        return HD_NIL;
    Ref m = Div(r[1], correction(s, b1, s->o->nesterov, r[1]));
    if (s->o->nesterov)
        m = Add(times(m, b1), times(Div(r[3], correction(s, b1, 0, r[3])), 1 - b1));
    Ref v = Div(r[2], correction(s, b2, 0, r[2])), root = Sqrt(v);
    Ref step = root ? Div(m, Add(root, Like(root, or_default(s->o->eps, 1e-8)))) : 0;
    return sym_of(descend(s, r[0], step));
}

static hd adam(const char *what, const hd *given, const hd_opt_opts *o)
{
    Update s = { .o = o };
    double b1 = or_default(o->b1, 0.9), b2 = or_default(o->b2, 0.999);
    if (!begin(&s, what, given[2], given[3]))
        return HD_NIL;
    moments(&s, 0, b1, 1 - b1, given[1]);
    moments(&s, 1, b2, 1 - b2, given[1]);
    return end(&s, adam_leaf, 4, (const hd[]){ given[0], s.part[0], s.part[1], given[1] });
}

hd hd_adam_n(hd params, hd grads, hd state, hd rate, const hd_opt_opts *o)
{
    OP(hd_adam_n);
    OPTIONS(hd_opt_opts, o);
    return adam("hd_adam", (const hd[]){ params, grads, state, rate }, o);
}

hd hd_adamw_n(hd params, hd grads, hd state, hd rate, const hd_opt_opts *o)
{
    OP(hd_adamw_n);
    OPTIONS(hd_opt_opts, o);
    hd_opt_opts with = *o;
    with.weight_decay = or_default(o->weight_decay, 1e-4);
    return adam("hd_adamw", (const hd[]){ params, grads, state, rate }, &with);
}

/* ==================== RMSProp: the gradient by the root of its running square; momentum is that of steps */

/* The rate times what a parameter is moved by. */
static Ref rms_step(const Update *s, Ref p, Ref square, Ref g)
{
    Ref step = Mul(g, Rsqrt(Add(square, Like(square, or_default(s->o->eps, 1e-8)))));
    if (s->o->weight_decay != 0)
        step = Add(step, times(p, s->o->weight_decay));
    return Mul(rate_for(s, p), step);
}

/* (first moment, parameter, second moment, gradient) -> first moment */
static hd rms_moment_leaf(const hd *x, int n, void *env)
{
    Ref r[4];
    const Update *s = env;
    if (unify(s->what, n, x, r))
        return HD_NIL;
    return sym_of(Add(times(r[0], s->o->momentum), rms_step(s, r[1], r[2], r[3])));
}

/* (parameter, first moment, second moment, gradient) -> parameter */
static hd rms_leaf(const hd *x, int n, void *env)
{
    Ref r[4];
    const Update *s = env;
    if (unify(s->what, n, x, r))
        return HD_NIL;
    bool first = s->o->momentum != 0;
    Ref step = !first || s->o->nesterov ? rms_step(s, r[0], r[2], r[3]) : r[1];
    return sym_of(Sub(r[0], first && s->o->nesterov ? Add(times(r[1], s->o->momentum), step) : step));
}

hd hd_rmsprop_n(hd params, hd grads, hd state, hd rate, const hd_opt_opts *o)
{
    OP(hd_rmsprop_n);
    OPTIONS(hd_opt_opts, o);
    Update s = { .o = o };
    double decay = or_default(o->b2, 0.9);
    if (!begin(&s, "hd_rmsprop", state, rate))
        return HD_NIL;
    moments(&s, 1, decay, 1 - decay, grads);
    if (o->momentum != 0)
        s.part[0] =
            sym_map(s.what, rms_moment_leaf, &s, 4, (const hd[]){ s.part[0], params, s.part[1], grads });
    return end(&s, rms_leaf, 4, (const hd[]){ params, s.part[0], s.part[1], grads });
}

/* ==================== Adagrad: the gradient by the root of the sum of its squares, and .initial */

static hd adagrad_leaf(const hd *x, int n, void *env)
{
    Ref r[3];
    const Update *s = env;
    if (unify(s->what, n, x, r))
        return HD_NIL;
    Ref sum = Add(r[1], Like(r[1], or_default(s->o->initial, 0.1)));
    Ref step = Mul(r[2], Rsqrt(Add(sum, Like(sum, or_default(s->o->eps, 1e-7)))));
    return sym_of(descend(s, r[0], step));
}

hd hd_adagrad_n(hd params, hd grads, hd state, hd rate, const hd_opt_opts *o)
{
    OP(hd_adagrad_n);
    OPTIONS(hd_opt_opts, o);
    Update s = { .o = o };
    if (!begin(&s, "hd_adagrad", state, rate))
        return HD_NIL;
    moments(&s, 1, 1, 1, grads);
    return end(&s, adagrad_leaf, 3, (const hd[]){ params, s.part[1], grads });
}

/* ==================== Lion: the sign of a moment, which keeps more of the past than the step does */

/* (parameter, first moment as it was, gradient) -> parameter */
static hd lion_leaf(const hd *x, int n, void *env)
{
    Ref r[3];
    const Update *s = env;
    double b1 = or_default(s->o->b1, 0.9);
    if (unify(s->what, n, x, r))
        return HD_NIL;
    return sym_of(descend(s, r[0], Sign(Add(times(r[2], 1 - b1), times(r[1], b1)))));
}

hd hd_lion_n(hd params, hd grads, hd state, hd rate, const hd_opt_opts *o)
{
    OP(hd_lion_n);
    OPTIONS(hd_opt_opts, o);
    Update s = { .o = o };
    double b2 = or_default(o->b2, 0.99);
    if (!begin(&s, "hd_lion", state, rate))
        return HD_NIL;
    hd before = s.part[0];
    moments(&s, 0, b2, 1 - b2, grads);
    return end(&s, lion_leaf, 3, (const hd[]){ params, before, grads });
}

/* ==================== clipping */

typedef struct Limit {
    const char *what;
    double most;
    Ref norm;
} Limit;

static bool limit_given(const Limit *l)
{
    if (l->most >= 0)
        return true;
    error_set(E_INVAL, "%s: the limit is a number from 0 on, not %g", l->what, l->most);
    return false;
}

static hd within_leaf(const hd *x, int n, void *env)
{
    const Limit *l = env;
    Ref r = float_ref(l->what, x[0]);
    (void)n;
    return sym_of(r ? Min(Max(r, Like(r, -l->most)), Like(r, l->most)) : 0);
}

hd hd_clip_by_value(hd tree, double limit)
{
    Limit l = { "hd_clip_by_value", limit, 0 };
    OP(hd_clip_by_value);
    return limit_given(&l) ? sym_map(l.what, within_leaf, &l, 1, &tree) : HD_NIL;
}

/* The sum of squares of all elements, in f32 at least. */
static Ref squares(Ref r)
{
    Ref x = r && dtype_size((Dtype)typ(r)->dt) < 4 ? Convert(r, DT_F32) : r;
    return x ? Sum(square(x), ints_run(0, typ(x)->rank)) : 0;
}

/* x as it is where its norm, or that of all, is below the limit; else of the limit's length. */
static hd norm_leaf(const hd *x, int n, void *env)
{
    const Limit *l = env;
    (void)n;
    Ref r = float_ref(l->what, x[0]), norm = !r ? 0 : l->norm ? l->norm : Sqrt(squares(r));
    if (!norm)
        return HD_NIL;
    Ref most = Like(norm, l->most), below = Lt(norm, most), by = choose(below, Like(norm, 1), norm);
    Ref scale = choose(below, Like(norm, 1), Div(most, by));
    return sym_of(Mul(r, scalar_to(Convert(scale, (Dtype)typ(r)->dt), shape_of(r))));
}

hd hd_clip_by_norm(hd tree, double limit)
{
    Limit l = { "hd_clip_by_norm", limit, 0 };
    OP(hd_clip_by_norm);
    return limit_given(&l) ? sym_map(l.what, norm_leaf, &l, 1, &tree) : HD_NIL;
}

/* The length of all leaves as one vector, f32, or f64 where a leaf is. */
static Ref global_norm(const char *what, hd tree)
{
    int n = 0;
    hd *leaf = sym_leaves(tree, &n);
    Ref sum = leaf || !n ? Const(DT_F32, 0) : 0;
    if (!leaf)
        return 0;
    for (int k = 0; sum && k < n; k++) {
        Ref s = squares(float_ref(what, leaf[k]));
        if (!s)
            return 0;
        Dtype d = typ(s)->dt == DT_F64 || typ(sum)->dt == DT_F64 ? DT_F64 : DT_F32;
        sum = Add(Convert(sum, d), Convert(s, d));
    }
    return Sqrt(sum);
}

hd hd_global_norm(hd tree)
{
    OP(hd_global_norm);
    return sym_of(global_norm("hd_global_norm", tree));
}

hd hd_clip_by_global_norm(hd tree, double limit)
{
    Limit l = { "hd_clip_by_global_norm", limit, 0 };
    OP(hd_clip_by_global_norm);
    l.norm = limit_given(&l) ? global_norm(l.what, tree) : 0;
    return l.norm ? sym_map(l.what, norm_leaf, &l, 1, &tree) : HD_NIL;
}
