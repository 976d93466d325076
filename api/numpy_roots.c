/*
 * numpy_roots.c - roots of a polynomial by Aberth's iteration: Newton's step of each root, kept away from
 * the others.
 *
 * What is sought is y = x / r, where r is about the size of the largest root (Fujiwara), so that powers of y
 * are in range. The derivative is that of one step more, from roots that are held fixed.
 */
#include "formulas.h"

/* Value and slope of y^n + q[0] y^(n-1) + ... + q[n-1] at each y. */
static void horner(Ref q, Ref y, Ref *value, Ref *slope)
{
    Ref p = Like(y, 1), d = Like(y, 0);
    for (int64_t k = 0; k < typ(q)->dim[0]; k++) {
        Ref c = Broadcast(squeeze_axis(SliceAxis(q, 0, k, k + 1), 0), shape_of(y), (Ints){ 0 });
        d = Add(Mul(d, y), p), p = Add(Mul(p, y), c);
    }
    *value = p, *slope = d;
}

/* Carry: the roots, the largest step, how many there were; captured: q. */
static void roots_step(const Ref *x, Ref *out)
{
    Ref y = x[1], value, slope;
    int64_t n = typ(y)->dim[0];
    horner(x[0], y, &value, &slope);
    Ref zero = Like(y, 0), there = Eq(value, zero);
    Ref newton = Select(there, zero, Div(value, Select(there, Like(y, 1), slope)));
    Ints square = { 2, { n, n } };
    Ref gap = Sub(Broadcast(y, square, ints1(0)), Broadcast(y, square, ints1(1))), one = IdentityLike(gap);
    Ref away = Sum(Sub(Div(Like(gap, 1), Add(gap, one)), one), ints1(1));
    Ref step = Div(newton, Sub(Like(y, 1), Mul(newton, away)));
    out[0] = Sub(y, step);
    out[1] = Reduce(OP_reduce_max, Abs(step), ints1(0));
    out[2] = Add(x[3], Like(x[3], 1));
}

static void roots_more(const Ref *x, Ref *out)
{
    enum { STEPS = 200 };
    Ref eps = Like(x[2], typ(x[2])->dt == DT_F64 ? 0x1p-52 : 0x1p-23);
    out[0] = And(Gt(x[2], eps), Lt(x[3], Like(x[3], STEPS)));
}

/* On a circle, none on the real axis, no two conjugate. */
static Ref circle(Dtype part, int64_t n)
{
    Ref at = Iota(type_of(part, 1, &n), 0);
    Ref angle = bin(OP_add, bin(OP_mul, at, Like(at, 6.283185307179586477 / (double)n)), Like(at, 0.4));
    return Complex(Cos(angle), Sin(angle));
}

/* r, of q's absolute values: the largest |q[k]|^(1/(k+1)); 1 where all are 0. */
static Ref largest_root(Ref size)
{
    Ref k = Iota(*typ(size), 0);
    Ref r = Reduce(OP_reduce_max, Pow(size, Div(Like(k, 1), Add(k, Like(k, 1)))), ints1(0));
    return Select(Eq(r, Like(r, 0)), Like(r, 1), r);
}

hd hd_roots(hd p)
{
    enum { MOST = 256 };
    static const char what[] = "hd_roots";
    OP(hd_roots);
    Ref c = sym_ref(p), y[3] = { 0 };
    c = c && is_complex(c) ? c : float_ref(what, p);
    if (!c)
        return HD_NIL;
    int64_t n = typ(c)->rank == 1 ? typ(c)->dim[0] - 1 : -1;
    if (n < 0 || n > MOST || (!is_complex(c) && !dtype_of_parts((Dtype)typ(c)->dt))) {
        error_set(n < 0 || n > MOST ? E_SHAPE : E_DTYPE,
            "%s: up to %d coefficients are wanted, a vector in f32, f64, c64 or c128, not %s", what,
            MOST + 1, type_text(typ(c)));
        return HD_NIL;
    }
    Dtype part = dtype_part((Dtype)typ(c)->dt);
    c = Convert(c, dtype_of_parts(part));
    if (!n)
        return sym_of(SliceAxis(c, 0, 1, 1));
    Ref first = Broadcast(squeeze_axis(SliceAxis(c, 0, 0, 1), 0), (Ints){ 1, { n } }, (Ints){ 0 });
    Ref q = Div(SliceAxis(c, 0, 1, n + 1), first);
    Ref r = q ? stop_gradient(largest_root(Abs(q))) : 0;
    if (!r)
        return HD_NIL;
    Ref k = Iota(type_of(part, 1, &n), 0), by = Broadcast(r, shape_of(k), (Ints){ 0 });
    q = Mul(q, Convert(Pow(by, Neg(Add(k, Like(k, 1)))), dtype_of_parts(part)));
    loop_while(roots_more, roots_step, 1, 3,
        (const Ref[]){ stop_gradient(q), circle(part, n), Const(part, 1), Const(DT_I32, 0) }, y);
    if (!y[0])
        return HD_NIL;
    Ref at = stop_gradient(y[0]), value, slope;
    horner(q, at, &value, &slope);
    slope = stop_gradient(slope);
    Ref level = Eq(slope, Like(slope, 0)), step = Div(value, Select(level, Like(slope, 1), slope));
    Ref z = Sub(at, Select(level, Like(value, 0), step));
    return sym_of(Mul(z, Convert(by, dtype_of_parts(part))));
}
