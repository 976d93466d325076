/*
 * optim_schedules.c - what the rate of an optimiser is at a step, as optax's schedules: numbers of f32 from
 * a count of steps, hd_nth(state, 2).
 */
#include "formulas.h"

#include <math.h>

/* The count as f32, beginning at .begin. 0 after an error */
static Ref count_in(const char *what, hd step, int64_t steps, int64_t begin)
{
    Ref r = sym_ref(step);
    if (!r)
        return 0;
    if (!dtype_int((Dtype)typ(r)->dt) && !is_float(r)) {
        error_set(E_DTYPE, "%s: the step is a number, not %s", what, type_text(typ(r)));
        return 0;
    }
    if (steps <= 0) {
        error_set(E_INVAL, "%s: %lld steps; at least one is wanted", what, (long long)steps);
        return 0;
    }
    r = Convert(r, DT_F32);
    return begin ? Sub(r, Like(r, (double)begin)) : r;
}

static Ref to_power(Ref x, double y) { return y == 1 ? x : Pow(x, Like(x, y)); }

/* from .. to, by (1 - count / steps)^power */
static Ref polynomial(Ref count, double from, double to, int64_t steps, double power)
{
    Ref at = Div(Min(Max(count, Like(count, 0)), Like(count, (double)steps)), Like(count, (double)steps));
    Ref left = to_power(Sub(Like(at, 1), at), power);
    return left ? Add(Mul(Like(left, from - to), left), Like(left, to)) : 0;
}

hd hd_polynomial_schedule_n(hd step, double from, double to, int64_t steps, const hd_schedule_opts *o)
{
    OP(hd_polynomial_schedule_n);
    OPTIONS(hd_schedule_opts, o);
    Ref n = count_in("hd_polynomial_schedule", step, steps, o->begin);
    return sym_of(n ? polynomial(n, from, to, steps, or_default(o->power, 1)) : 0);
}

hd hd_exponential_decay_n(hd step, double from, double factor, int64_t steps, const hd_schedule_opts *o)
{
    OP(hd_exponential_decay_n);
    OPTIONS(hd_schedule_opts, o);
    Ref n = count_in("hd_exponential_decay", step, steps, o->begin);
    if (!n)
        return HD_NIL;
    Ref at = Div(n, Like(n, (double)steps));
    if (o->staircase)
        at = Floor(at);
    Ref y = choose(Gt(n, Like(n, 0)), Mul(Like(n, from), Pow(Like(at, factor), at)), Like(n, from));
    if (o->end != 0)
        y = factor < 1 ? Max(y, Like(y, o->end)) : Min(y, Like(y, o->end));
    return sym_of(y);
}

/* from .. end, by half a period of the cosine */
static Ref cosine(Ref count, double from, double end, int64_t steps, double power)
{
    Ref n = Min(count, Like(count, (double)steps)), turn = Mul(n, Like(n, PI / (double)steps));
    Ref half = to_power(Mul(Add(Cos(turn), Like(turn, 1)), Like(turn, 0.5)), power);
    return half ? Add(Mul(half, Like(half, from - end)), Like(half, end)) : 0;
}

hd hd_cosine_decay_n(hd step, double from, int64_t steps, const hd_schedule_opts *o)
{
    OP(hd_cosine_decay_n);
    OPTIONS(hd_schedule_opts, o);
    Ref n = count_in("hd_cosine_decay", step, steps, o->begin);
    return sym_of(n ? cosine(Max(n, Like(n, 0)), from, o->end, steps, or_default(o->power, 1)) : 0);
}

hd hd_warmup_cosine_decay_n(
    hd step, double from, double peak, int64_t warmup, int64_t steps, const hd_schedule_opts *o)
{
    static const char what[] = "hd_warmup_cosine_decay";
    OP(hd_warmup_cosine_decay_n);
    OPTIONS(hd_schedule_opts, o);
    Ref n = count_in(what, step, steps, o->begin);
    if (!n)
        return HD_NIL;
    if (warmup < 0 || warmup >= steps) {
        error_set(E_INVAL, "%s: %lld steps to the peak of %lld in all; fewer are wanted", what,
            (long long)warmup, (long long)steps);
        return HD_NIL;
    }
    Ref late = Like(n, (double)warmup),
        down = cosine(Max(Sub(n, late), Like(n, 0)), peak, o->end, steps - warmup, or_default(o->power, 1));
    return sym_of(warmup ? choose(Lt(n, late), polynomial(n, from, peak, warmup, 1), down) : down);
}

hd hd_piecewise_constant(hd step, double from, hd_ints boundaries, const double *scales)
{
    static const char what[] = "hd_piecewise_constant";
    Ints at;
    OP(hd_piecewise_constant);
    Ref n = count_in(what, step, 1, 0);
    if (!n || ints_in(what, boundaries, &at) || (at.n && list_in(what, scales, at.n, 0)))
        return HD_NIL;
    Ref y = Like(n, from);
    for (int k = 0; k < at.n; k++)
        y = choose(Ge(n, Like(n, (double)at.v[k])), Mul(y, Like(y, scales[k])), y);
    return sym_of(y);
}
