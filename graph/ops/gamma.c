/*
 * gamma.c - gamma_draw(y, a): y, a number drawn from the gamma distribution of shape a, or its logarithm.
 *
 * The rule of its derivative by a is what the row is for. How many candidates a sampler rejects has no
 * derivative; what is differentiated is the number where the distribution function P(a, y) stays: dy/da =
 * -(dP/da) / (dP/dy), which is random_gamma_grad(a, y).
 */
#include "ops.h"

#include <string.h>

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
    if (ins_int(i, ATTR(gamma_draw, logarithm))) { /* by y, which may have become 0 */
        y = Exp(y);
        y = Select(Eq(y, Like(y, 0)),
            Like(y,
                typ(y)->dt == DT_F64     ? 0x1p-1022 :
                    typ(y)->dt == DT_F16 ? 0x1p-14 :
                                           0x1p-126),
            y);
    }
    Ref slope = RandomGammaGrad(x[1], y);
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
