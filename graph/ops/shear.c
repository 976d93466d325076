/*
 * shear.c - shear: the view in which one axis moves along with another.
 *
 *     y[.., i, .., k, ..] = x[.., i + k * step, .., k, ..]           step < 0: from the other end
 *
 * With the copies of a broadcast along `along` it is an array seen through windows: x of n elements,
 * broadcast to (n, K), sheared by d, is (n - (K - 1) d, K), whose row i is a window of K elements d apart.
 * Convolutions and pooling are products and reductions over that. No window is ever stored. The transpose of
 * a shear is the opposite shear of a pad, so derivatives stay views too.
 */
#include "ops.h"

/* How far the last of them is moved; elements that the axis loses. */
static int64_t reach_of(const Type *t, int64_t along, int64_t step)
{
    int64_t k = t->dim[along] ? t->dim[along] - 1 : 0, reach = 0;
    return __builtin_mul_overflow(k, step < 0 ? -step : step, &reach) ? INT64_MAX : reach;
}

static int shear_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    struct shear_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e || (e = ops_axis(op, t[0], a.axis.v[0])) || (e = ops_axis(op, t[0], a.along.v[0])))
        return e;
    if (a.axis.v[0] == a.along.v[0] || a.step.v[0] == INT64_MIN)
        return error_set(E_INVAL, "shear: axis %lld of %s cannot move along itself, nor by %lld",
            (long long)a.axis.v[0], type_text(t[0]), (long long)a.step.v[0]);
    int64_t axis = a.axis.v[0], reach = reach_of(t[0], a.along.v[0], a.step.v[0]);
    *out = *t[0];
    out->dim[axis] = out->dim[axis] > reach ? out->dim[axis] - reach : 0;
    return 0;
}

static void shear_transpose(const Ins *i, const Ref *ct, Cts *cts)
{
    const Type *t = typ(i->in[0]);
    int64_t axis = ins_int(i, ATTR(shear, axis)), along = ins_int(i, ATTR(shear, along)),
            step = ins_int(i, ATTR(shear, step));
    Ints zero = ints_fill(t->rank, 0), reach = zero;
    if (!ct[0] || !type_size(typ(ct[0])))
        return;
    reach.v[axis] = reach_of(t, along, step);
    Ref padded = Pad(ct[0], Const((Dtype)t->dt, 0), reach, reach, zero);
    ct_add(cts, i->in[0], Shear(padded, (int)axis, (int)along, -step));
}

static void shear_batch(const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    Ref y = stacked(x[0], s[0], ax->lane.size);
    out[0] = Shear(y, (int)ins_int(i, ATTR(shear, axis)) + 1, (int)ins_int(i, ATTR(shear, along)) + 1,
        ins_int(i, ATTR(shear, step)));
    so[0] = STACKED;
}

static int shear_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    int64_t fs[MAXRANK], ts[MAXRANK], axis = ins_int(i, ATTR(shear, axis)),
                                      along = ins_int(i, ATTR(shear, along)),
                                      step = ins_int(i, ATTR(shear, step));
    size_t size = dtype_size((Dtype)u[0].dt);
    ops_strides(t[0], fs);
    ops_strides(&u[0], ts);
    if (!type_size(&u[0]))
        return 0;
    int64_t from = step < 0 ? reach_of(t[0], along, step) * fs[axis] : 0;
    fs[along] += step * fs[axis];
    ops_copy(u[0].rank, u[0].dim, size, out[0], ts, (const char *)in[0] + from * (int64_t)size, fs);
    return 0;
}

const Rules rules_shear = { shear_infer, ops_jvp_again, shear_transpose, shear_batch, shear_eval };
