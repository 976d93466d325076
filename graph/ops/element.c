/*
 * element.c - rules of the elementwise operations: one set for every row of the table, and those of their
 * own kind (select, convert, reduce_precision, stop_gradient, accum, barrier).
 *
 * A row has everything in its columns: what it accepts, what it gives, its partial derivatives. So infer,
 * jvp, batch and eval are written once. Of the rows only add, sub, neg, mul and div can be linear in an
 * operand: tangents are made of nothing else.
 */
#include <string.h>

#include "element.h"
#include "ops.h"

/* ==================== infer */

static bool accepted(const OpRow *row, Dtype dt)
{
    int kind = dtype_float(dt) ? F_ :
        dtype_signed(dt)       ? I_ :
        dtype_unsigned(dt)     ? U_ :
        dt == DT_BOOL          ? B_ :
        dtype_complex(dt)      ? C_ :
                                 0;
    return kind & row->accepts;
}

static const char *accepts_text(int a)
{
    switch (a) {
    case F_ | C_:
        return "floats and complex numbers";
    case NUM_ | C_:
        return "numbers";
    case ANY_ | C_:
        return "numbers and bool";
    case F_: return "floats";
    case INT_: return "integers";
    case BITS_: return "integers and bool";
    case NUM_: return "floats and integers";
    default: return "floats, integers and bool";
    }
}

static int same_types(Op op, int nin, const Type *const *t, int first)
{
    const char *name = optab[op].name;
    for (int k = first + 1; k < nin; k++) {
        if (t[k]->dt != t[first]->dt)
            return error_set(E_DTYPE, "%s: dtypes differ: %s and %s; convert one of them", name,
                type_text(t[first]), type_text(t[k]));
        if (!type_equal(t[k], t[first]))
            return error_set(E_SHAPE, "%s: shapes differ: %s and %s; broadcast or reshape one of them", name,
                             type_text(t[first]), type_text(t[k]));
    }
    return 0;
}

static int element_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    const OpRow *row = &optab[op];
    (void)attr, (void)nattr;
    int err = same_types(op, nin, t, 0);
    if (err)
        return err;
    if (!accepted(row, (Dtype)t[0]->dt))
        return error_set(E_DTYPE, "%s of %s is not defined: it takes %s", row->name, type_text(t[0]),
                         accepts_text(row->accepts));
    Dtype dt = (Dtype)t[0]->dt;
    dt = row->gives == BOOL_ ? DT_BOOL : row->gives == PART_ ? dtype_part(dt) : dt;
    *out = type_of(dt, t[0]->rank, t[0]->dim);
    return 0;
}

/* ==================== jvp */

static Ref plus(Ref s, Ref u) { return s && u ? Add(s, u) : s ? s : u; }

static void element_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    const OpRow *row = &optab[i->op];
    tz[0] = 0;
    if (!is_inexact(z[0]))
        return;
    if (row->no_derivative) {
        error_set(E_DIFF,
            "the derivative of %s is not known; wrap it in stop_gradient or give one of your own",
            row->name);
        return;
    }
    for (int k = 0; k < i->nin; k++) {
        PartialFn *f = row->partial[k];
        Ref d = t[k] && f ? f(x[0], i->nin > 1 ? x[1] : 0, i->nin > 2 ? x[2] : 0, z[0]) : 0;
        Ref p = !d ? 0 : d == REF_ONE ? t[k] : d == REF_MINUS ? Neg(t[k]) : Mul(t[k], d);
        if (p) /* of a real result of complex numbers the real part */
            tz[0] = plus(tz[0], is_complex(p) && !is_complex(z[0]) ? RealPart(p) : p);
    }
}

static void jvp_zero(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)i, (void)x, (void)t, (void)z;
    tz[0] = 0;
}

static void jvp_again(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)x;
    tz[0] = 0;
    if (t[0] && is_inexact(z[0]))
        again(i, t, tz);
}

/* ==================== transpose */

static bool linear(Ref v) { return graph_lin(cur(), v); }

static void not_linear(const Ins *i)
{
    error_set(E_DIFF,
        "%s is not linear in its operands, so it has no transpose: a rule of one's own computes tangents "
        "that are "
        "linear in the tangents it is given",
        optab[i->op].name);
}

static void element_transpose(const Ins *i, const Ref *ct, Cts *c)
{
    Ref x = i->in[0], y = i->nin > 1 ? i->in[1] : 0, k = ct[0];
    switch (i->op) {
    case OP_add:
        ct_add(c, x, k);
        ct_add(c, y, k);
        return;
    case OP_sub:
        ct_add(c, x, k);
        if (linear(y))
            ct_add(c, y, Neg(k));
        return;
    case OP_neg:
        ct_add(c, x, Neg(k));
        return;
    case OP_mul:
        if (linear(x) && linear(y))
            break;
        if (linear(x))
            ct_add(c, x, Mul(k, y));
        else
            ct_add(c, y, Mul(k, x));
        return;
    case OP_div:
        if (linear(y))
            break;
        ct_add(c, x, Div(k, y));
        return;
    default:
        break;
    }
    not_linear(i);
}

/* ==================== batch */

static bool no_summed(const Ins *i, const uint8_t *s)
{
    for (int k = 0; k < i->nin; k++)
        if (s[k] == SUMMED) {
            error_set(E_INTERNAL, "an accumulator is read by %s", optab[i->op].name);
            return false;
        }
    return true;
}

/* All operands get the lanes, by a view where they are shared; one instruction does all of them. */
static void element_batch(
    const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    Ref y[3];
    out[0] = 0;
    so[0] = STACKED;
    if (!no_summed(i, s))
        return;
    for (int k = 0; k < i->nin; k++)
        y[k] = stacked(x[k], s[k], ax->lane.size);
    again(i, y, out);
}

const Rules rules_element = { element_infer, element_jvp, element_transpose, element_batch, element_eval };

/* ==================== select(predicate, x, y) */

static int select_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)attr, (void)nattr;
    if (t[0]->dt != DT_BOOL)
        return error_set(
            E_DTYPE, "select: the predicate is %s, not bool; compare it with something", type_text(t[0]));
    int err = same_types(op, nin, t, 1);
    if (err)
        return err;
    Type p = type_of((Dtype)t[1]->dt, t[0]->rank, t[0]->dim);
    if (!type_equal(&p, t[1]))
        return error_set(E_SHAPE, "select: shapes differ: predicate %s, values %s; broadcast the predicate",
                         type_text(t[0]), type_text(t[1]));
    *out = p;
    return 0;
}

static void select_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)i, (void)z;
    tz[0] = t[1] || t[2] ? Select(x[0], or_zero(t[1], x[1]), or_zero(t[2], x[2])) : 0;
}

static void select_transpose(const Ins *i, const Ref *ct, Cts *c)
{
    Ref zero = Zeros(typ(ct[0]));
    if (linear(i->in[0])) {
        not_linear(i);
        return;
    }
    if (linear(i->in[1]))
        ct_add(c, i->in[1], Select(i->in[0], ct[0], zero));
    if (linear(i->in[2]))
        ct_add(c, i->in[2], Select(i->in[0], zero, ct[0]));
}

static int select_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    size_t size = dtype_size((Dtype)u->dt);
    int64_t n = type_size(u);
    const uint8_t *p = in[0];
    (void)i, (void)t;
    for (int64_t k = 0; k < n; k++)
        memcpy((char *)out[0] + (size_t)k * size, (const char *)in[p[k] ? 1 : 2] + (size_t)k * size, size);
    return 0;
}

const Rules rules_select = { select_infer, select_jvp, select_transpose, element_batch, select_eval };

/* ==================== convert: floats to integers saturate toward zero, integers wrap, to bool: not zero.
 * Of complex numbers the real part counts. */

static int convert_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    struct convert_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e)
        return e;
    if (a.dtype.v[0] <= DT_NONE || a.dtype.v[0] >= DT_COUNT)
        return error_set(E_DTYPE, "convert: %s to a dtype that there is not", type_text(t[0]));
    return ops_result(op, out, (Dtype)a.dtype.v[0], type_shape(t[0]));
}

static void convert_transpose(const Ins *i, const Ref *ct, Cts *c)
{
    if (linear(i->in[0]))
        ct_add(c, i->in[0], Convert(ct[0], (Dtype)typ(i->in[0])->dt));
}

static void convert_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    if (t[0] && z[0] && dtype_f8((Dtype)typ(z[0])->dt))
        error_set(E_DIFF,
            "the derivative of convert to %s is not defined: what is between two of its numbers is lost; "
            "write hd_stop_gradient, or give a rule of your own with hd_custom_jvp",
            dtype_name((Dtype)typ(z[0])->dt));
    else
        jvp_again(i, x, t, z, tz);
}

const Rules rules_convert = { convert_infer, convert_jvp, convert_transpose, element_batch, convert_eval };

/* ==================== reduce_precision: rounds to a smaller format, kept in the same dtype */

static int reduce_precision_infer(
    Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    struct reduce_precision_attrs a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e)
        return e;
    if (!dtype_float((Dtype)t[0]->dt))
        return error_set(E_DTYPE, "reduce_precision of %s is not defined: it takes floats", type_text(t[0]));
    int64_t exponent = a.exponent.v[0], mantissa = a.mantissa.v[0];
    if (exponent < 1 || exponent > 62 || mantissa < 0 || mantissa > 62)
        return error_set(
            E_INVAL, "reduce_precision: a format has at least 1 bit of exponent and 0 of mantissa");
    *out = *t[0];
    return 0;
}

static void transpose_again(const Ins *i, const Ref *ct, Cts *c)
{
    Ref r;
    again(i, ct, &r);
    ct_add(c, i->in[0], r);
}

const Rules rules_reduce_precision = { reduce_precision_infer, jvp_again, transpose_again, element_batch,
                                       reduce_precision_eval };

/* ==================== stop_gradient: the same value, a constant for derivatives */

static int first_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)op, (void)nin, (void)attr, (void)nattr;
    *out = *t[0];
    return 0;
}

static int copy_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    (void)t;
    for (int k = 0; k < i->nin; k++)
        if (out[k] != in[k])
            memcpy(out[k], in[k], type_bytes(&u[k]));
    return 0;
}

static void stop_transpose(const Ins *i, const Ref *ct, Cts *c) { (void)i, (void)ct, (void)c; }

const Rules rules_stop_gradient = { first_infer, jvp_zero, stop_transpose, element_batch, copy_eval };

/* ==================== named: the same value, with a name for checkpoints */

static int named_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    struct named_attrs a;
    *out = *t[0];
    return ops_attrs(op, attr, nattr, &a);
}

/* Its tangent has no name: what a checkpoint saves is not linear. */
static void named_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)i, (void)x, (void)z;
    tz[0] = t[0];
}

static void named_transpose(const Ins *i, const Ref *ct, Cts *c) { ct_add(c, i->in[0], ct[0]); }

const Rules rules_named = { named_infer, named_jvp, named_transpose, element_batch, copy_eval };

/* ==================== constrain: the same value, dealt out over a mesh as its name says; so are tangent and
 * cotangent */

static int constrain_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    struct constrain_attrs a;
    (void)nin;
    *out = *t[0];
    int e = ops_attrs(op, attr, nattr, &a);
    return e || (a.open.v[0] >= 0 && a.open.v[0] <= t[0]->rank) ?
        e :
        error_set(
            E_SHAPE, "%s: %lld open axes of %s", optab[op].name, (long long)a.open.v[0], type_text(t[0]));
}

static Ref constrained(const Ins *i, int more, Ref x)
{
    const char *name = (const char *)(intptr_t)ins_int(i, ATTR(constrain, name));
    return Constrain(x, (int)ins_int(i, ATTR(constrain, open)) + more, name);
}

static void constrain_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)x, (void)z;
    tz[0] = t[0] ? constrained(i, 0, t[0]) : 0;
}

static void constrain_transpose(const Ins *i, const Ref *ct, Cts *c)
{
    ct_add(c, i->in[0], constrained(i, 0, ct[0]));
}

/* Lanes are in front, and open. */
static void constrain_batch(
    const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    out[0] = constrained(i, 1, stacked(x[0], s[0], ax->lane.size));
    so[0] = STACKED;
}

const Rules rules_constrain = { constrain_infer, constrain_jvp, constrain_transpose, constrain_batch,
    copy_eval };

/* ==================== accum(accumulator, x): adds in place; linear in both */

static int accum_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)attr, (void)nattr;
    int err = same_types(op, nin, t, 0);
    *out = *t[0];
    return err;
}

static void accum_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)i, (void)x, (void)z;
    tz[0] = t[0] && t[1] ? Accum(t[0], t[1]) : t[0] ? t[0] : t[1];
}

static void accum_transpose(const Ins *i, const Ref *ct, Cts *c)
{
    ct_add(c, i->in[0], ct[0]);
    ct_add(c, i->in[1], ct[0]);
}

/* An accumulator of all lanes takes the sum over the active ones; of one a lane, idle lanes add nothing,
 * since an accumulator is never selected: that would copy it. */
static void accum_batch(const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    if (s[0] == SUMMED) {
        out[0] = Accum(x[0], lane_sum(x[1], s[1], ax));
        so[0] = SUMMED;
    } else if (x[0] && graph_acc(cur(), x[0])) {
        out[0] = Accum(stacked(x[0], s[0], ax->lane.size), active(x[1], s[1], ax));
        so[0] = STACKED;
    } else {
        element_batch(i, x, s, ax, out, so);
    }
}

const Rules rules_accum = { accum_infer, accum_jvp, accum_transpose, accum_batch, element_eval };

/* ==================== barrier: n values in, the same n out; keeps them together and is never folded */

static int barrier_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)op, (void)attr, (void)nattr;
    for (int k = 0; k < nin; k++)
        out[k] = *t[k];
    return 0;
}

/* Tangents and cotangents pass a barrier of their own, those that are there. */
static void barrier_some(const Ref *v, int n, Ref *out)
{
    Ref *some = NEWS(Ref, n);
    int m = 0;
    for (int k = 0; k < n; k++)
        if (v[k])
            some[m++] = v[k];
    Barrier(some, m, some);
    m = 0;
    for (int k = 0; k < n; k++)
        out[k] = v[k] ? some[m++] : 0;
}

static void barrier_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)x, (void)z;
    barrier_some(t, i->nin, tz);
}

static void barrier_transpose(const Ins *i, const Ref *ct, Cts *c)
{
    Ref *k = NEWS(Ref, i->nin);
    barrier_some(ct, i->nin, k);
    for (int j = 0; j < i->nin; j++)
        ct_add(c, i->in[j], k[j]);
}

static void barrier_batch(
    const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    (void)ax;
    Barrier(x, i->nin, out);
    memcpy(so, s, i->nin);
}

const Rules rules_barrier = { barrier_infer, barrier_jvp, barrier_transpose, barrier_batch, copy_eval };
