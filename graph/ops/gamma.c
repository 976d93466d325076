/*
 * gamma.c - gamma_draw(y, a): y, a number drawn from the gamma distribution of shape a, or its logarithm.
 *
 * The rule of its derivative by a is what the row is for. How many candidates a sampler rejects has no
 * derivative; what is differentiated is the number where the distribution function P(a, y) stays: dy/da =
 * -(dP/da) / (dP/dy). P is the power series x^a e^-x / Gamma(a + 1) sum x^n / ((a + 1) .. (a + n)); where x
 * > 1 and x > a, it is one less a continued fraction (Cephes' igam and igamc). Both are differentiated step
 * by step until the derivative no longer moves. They take some sqrt(a) steps, so from a = 1e3 (f64: 1e6) on
 * y is a function of a by Wilson and Hilferty's cube root, which is as near there.
 */
#include "ops.h"

#include <math.h>
#include <string.h>

static Ref plus(Ref x, double c) { return Add(x, Like(x, c)); }
static Ref square(Ref x) { return Mul(x, x); }
static Ref small(Ref x, Ref of) { return Mul(Like(x, typ(x)->dt == DT_F64 ? 0x1p-52 : 0x1p-23), Abs(of)); }

/* ==================== the series: x; carry: a + n, the term, the sum, the derivatives of both */

static void series_moves(const Ref *v, Ref *out) { out[0] = Gt(Abs(v[4]), small(v[0], v[5])); }

static void next_term(const Ref *v, Ref *out)
{
    Ref r = plus(v[1], 1), by = Div(v[0], r), slope = Sub(Mul(v[4], by), Div(Mul(v[2], v[0]), square(r)));
    out[0] = r, out[1] = Mul(v[2], by), out[2] = Add(v[3], out[1]), out[3] = slope,
    out[4] = Add(v[5], slope);
}

static Ref by_series(Ref a, Ref x)
{
    Ref one = Like(a, 1), zero = Like(a, 0), v[6] = { x }, sum[5];
    next_term((const Ref[]){ x, a, one, one, zero, zero }, v + 1);
    loop_while(series_moves, next_term, 1, 5, v, sum);
    Ref outer = Sub(Log(x), Digamma(plus(a, 1)));
    return Neg(Div(Mul(Add(sum[4], Mul(sum[2], outer)), x), a));
}

/* ==================== the fraction. Carry: the step, y, z; numerators and denominators before last and
 * last; their derivatives; the quotient, its derivative, and how far that moved */

enum { STEP, Y, Z, P2, Q2, P1, Q1, DP2, DQ2, DP1, DQ1, QUOTIENT, SLOPE, MOVED, PARTS };

static void fraction_moves(const Ref *v, Ref *out)
{
    out[0] = And(Gt(v[MOVED], Like(v[MOVED], typ(v[MOVED])->dt == DT_F64 ? 0x1p-52 : 0x1p-23)),
        Lt(v[STEP], Like(v[STEP], 2000)));
}

/* c is the step, and y c the coefficient of what is before last; its derivative by a is -c, that of z -1. */
static Ref next_part(const Ref *v, int before, int last)
{
    return Sub(Mul(v[last], v[Z]), Mul(v[before], Mul(v[Y], v[STEP])));
}

static void next_quotient(const Ref *v, Ref *out)
{
    Ref w[PARTS], big, scale;
    for (int k = 0; k < PARTS; k++)
        w[k] = v[k];
    w[STEP] = plus(v[STEP], 1), w[Y] = plus(v[Y], 1), w[Z] = plus(v[Z], 2);
    Ref p = next_part(w, P2, P1), q = next_part(w, Q2, Q1);
    Ref dp = Add(Sub(next_part(w, DP2, DP1), v[P1]), Mul(v[P2], w[STEP]));
    Ref dq = Add(Sub(next_part(w, DQ2, DQ1), v[Q1]), Mul(v[Q2], w[STEP]));
    Ref none = Eq(q, Like(q, 0)), r = Select(none, v[QUOTIENT], Div(p, q));
    Ref slope = Select(none, v[SLOPE], Div(Sub(dp, Mul(r, dq)), q));
    big = Gt(Abs(p), Like(p, 0x1p23)), scale = Select(big, Like(p, 0x1p-23), Like(p, 1));
    for (int k = 0; k < 4; k++) {
        out[P2 + k] = Mul(k < 2 ? v[P1 + k] : k == 2 ? p : q, scale);
        out[DP2 + k] = Mul(k < 2 ? v[DP1 + k] : k == 2 ? dp : dq, scale);
    }
    out[STEP] = w[STEP], out[Y] = w[Y], out[Z] = w[Z], out[QUOTIENT] = r, out[SLOPE] = slope;
    out[MOVED] = Select(none, Like(r, 1), Abs(Sub(slope, v[SLOPE])));
}

static Ref by_fraction(Ref a, Ref x)
{
    Ref one = Like(a, 1), zero = Like(a, 0), y = Sub(one, a), z = Add(Add(x, y), one), q = Mul(z, x),
        last[PARTS];
    Ref r = Div(plus(x, 1), q), slope = Div(Mul(r, x), q);
    loop_while(fraction_moves, next_quotient, 0, PARTS,
        (const Ref[]){ zero, y, z, one, x, plus(x, 1), q, zero, zero, zero, Neg(x), r, slope, one }, last);
    return Mul(Add(last[SLOPE], Mul(last[QUOTIENT], Sub(Log(x), Digamma(a)))), x);
}

/* ==================== */

/* y = a w^3, w = 1 - 1/(9 a) + z / (3 sqrt a) for a normal z that stays */
static Ref by_root(Ref a, Ref y)
{
    Ref w = Cbrt(Div(y, a)), ninth = Div(Like(a, 1.0 / 9), a),
        half_z = Mul(Like(w, 0.5), Add(plus(w, -1), ninth));
    return Add(Mul(w, square(w)), Mul(Mul(Like(w, 3), square(w)), Sub(ninth, half_z)));
}

/* a, y -> dy/da. Each way is given what ends it at once where another is taken. */
static void slope_of(const Ref *v, Ref *out, const void *env)
{
    (void)env;
    Ref a = v[0], y = v[1], one = Like(a, 1), none = Or(Le(a, Like(a, 0)), Le(y, Like(y, 0)));
    Ref large = Gt(a, Like(a, typ(a)->dt == DT_F64 ? 1e6 : 1e3)), upper = And(Gt(y, one), Gt(y, a));
    Ref series = Or(large, Or(upper, none)), fraction = Or(large, Not(upper));
    Ref low = by_series(Select(series, one, a), Select(series, one, y));
    Ref high = by_fraction(Select(fraction, one, a), Select(fraction, Like(a, 2), y));
    Ref slope = Select(large, by_root(a, y), Select(upper, high, low));
    Ref nan = Or(Or(Ne(a, a), Ne(y, y)), Or(Lt(a, Like(a, 0)), Lt(y, Like(y, 0))));
    out[0] = Select(nan, Like(a, NAN), Select(none, Like(a, 0), slope));
}

/* Of half floats in f32. */
static Ref gamma_slope(Ref a, Ref y)
{
    if (!a || !y)
        return 0;
    Dtype d = (Dtype)typ(a)->dt;
    Ref slope, in[2] = { a, y };
    for (int k = 0; k < 2 && dtype_size(d) < 4; k++)
        in[k] = Convert(in[k], DT_F32);
    Type t = *typ(a);
    each_element(slope_of, NULL, 2, in, type_shape(&t), 1, &slope);
    return Convert(slope, d);
}

/* ==================== the row */

static int gamma_draw_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    struct gamma_draw_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e)
        return e;
    if (a.logarithm.v[0] < 0 || a.logarithm.v[0] > 1)
        return error_set(E_INVAL, "gamma_draw: logarithm is 0 or 1");
    for (int k = 0; k < nin; k++)
        if (!dtype_float((Dtype)t[k]->dt) || !type_equal(t[k], t[0]))
            return error_set(type_equal(t[k], t[0]) ? E_DTYPE : E_SHAPE,
                "gamma_draw: operands are floats of one type, not %s and %s", type_text(t[0]),
                type_text(t[1]));
    *out = *t[0];
    return 0;
}

static void gamma_draw_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    if (!t[1])
        return;
    Ref y = z[0];
    if (ins_int(i, ATTR(gamma_draw, logarithm))) {                        /* by y, which may have become 0 */
        y = Exp(y);
        y = Select(Eq(y, Like(y, 0)),
            Like(y,
                typ(y)->dt == DT_F64     ? 0x1p-1022 :
                    typ(y)->dt == DT_F16 ? 0x1p-14 :
                                           0x1p-126),
            y);
    }
    Ref slope = gamma_slope(x[1], y);
    tz[0] = Mul(ins_int(i, ATTR(gamma_draw, logarithm)) ? Div(slope, y) : slope, t[1]);
}

static int gamma_draw_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    (void)i, (void)t;
    memcpy(out[0], in[0], type_bytes(u));
    return 0;
}

const Rules rules_gamma_draw = { gamma_draw_infer, gamma_draw_jvp, NULL, ops_batch_again, gamma_draw_eval };
