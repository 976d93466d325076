/*
 * table_complex.c - cases of complex numbers: of every row that accepts them, and of ops that move and add
 * them.
 *
 * Inputs are the parts, and results are taken apart again, so all laws of floats hold of them: bounds of
 * each part, slopes in both real directions, adjoints, lanes, text. Numbers are no multiples of a half: at a
 * cut or a pole it is a convention that decides, and those are in tests/api/test_complex.c.
 */
#include "table.h"

static Ref off(Ref x) { return Add(x, Like(x, 0.03125)); }

static Ref number(Dtype dt, Ints shape)
{
    Ref re = off(in(dt, SMALL, 0, shape)), im = off(in(dt, SMALL, 0, shape));
    return Complex(re, im);
}

/* Both parts. A bool as it is. */
static void parts_out(Ref z)
{
    if (!z || !is_complex(z)) {
        out(z);
        return;
    }
    out(RealPart(z));
    out(ImagPart(z));
}

/* ==================== complex, real, imag, conj */

static void arithmetic(Dtype dt)
{
    Ref x = number(dt, DIMS(160)), y = number(dt, DIMS(160));
    parts_out(Add(x, y));
    parts_out(Sub(x, Conj(y)));
    parts_out(Mul(x, y));
    parts_out(Div(x, y));
    parts_out(Neg(x));
    parts_out(Abs(x));
    parts_out(Pow(x, y));
    out(Eq(x, x));
    out(Ne(x, y));
    parts_out(Select(Ne(x, y), x, y));
    parts_out(Convert(Convert(x, dt), (Dtype)typ(x)->dt));
}

static void functions(Dtype dt, bool inverse)
{
    static const Op direct[] = { OP_exp, OP_exp2, OP_expm1, OP_sin, OP_cos, OP_tan, OP_sinh, OP_cosh,
        OP_tanh, OP_logistic };
    static const Op inverses[] = { OP_sqrt, OP_rsqrt, OP_log, OP_log1p, OP_asin, OP_acos, OP_atan, OP_asinh,
        OP_acosh, OP_atanh };
    Ref x = number(dt, DIMS(160));
    for (int k = 0; k < 10; k++)
        parts_out(emit(inverse ? inverses[k] : direct[k], 1, &x, NULL));
}

/* Its derivative is 0 by definition. */
static void signs(Dtype dt) { parts_out(Sign(number(dt, DIMS(3, 4)))); }

static void moves(Dtype dt)
{
    Ref x = number(dt, DIMS(3, 4)), y = number(dt, DIMS(2, 4)), none = Like(RealPart(y), 0);
    Ref starts = Data(type_of(DT_I32, 1, (const int64_t[]){ 2 }), (const int32_t[]){ 1, 2 }),
        both[] = { x, y };
    Type t = type_of(DT_I32, 2, (const int64_t[]){ 3, 1 });
    parts_out(Transpose(Reshape(x, DIMS(2, 6)), DIMS(1, 0)));
    parts_out(Concat(both, 2, 0));
    parts_out(Reverse(SliceAxis(x, 0, 1, 3), DIMS(1)));
    parts_out(Broadcast(y, DIMS(2, 3, 4), DIMS(0, 2)));
    parts_out(Pad(y, Reshape(SliceAxis(SliceAxis(y, 0, 0, 1), 1, 0, 1), NO_DIMS), DIMS(1, -1), DIMS(0, 2),
        DIMS(1, 0)));
    parts_out(DynamicSlice(x, starts, DIMS(2, 2), NO_DIMS));
    parts_out(DynamicUpdate(x, SliceAxis(y, 1, 0, 2), starts));
    parts_out(Complex(none, RealPart(y)));
    parts_out(Iota(type_of((Dtype)typ(x)->dt, 2, (const int64_t[]){ 2, 3 }), 1));
    parts_out(Like(y, 2.5));
    Attr a = { 0 }; /* rows of x, in reverse, added to it; then put in it */
    attr_list(&a, (const int64_t[]){ 1 }, 1), attr_list(&a, (const int64_t[]){ 0 }, 1);
    attr_list(&a, (const int64_t[]){ 0 }, 1), attr_list(&a, NULL, 0), attr_list(&a, NULL, 0);
    attr_int(&a, 1), attr_int(&a, 1), attr_int(&a, 0);
    parts_out(emit(OP_scatter, 3, (const Ref[]){ x, Reverse(Iota(t, 0), DIMS(0)), Neg(x) }, &a));
}

static void sums(Dtype dt)
{
    Ref x = number(dt, DIMS(3, 5)), y = number(dt, DIMS(5, 2)), s[2] = { x, Neg(x) }, z[2] = { 0 };
    parts_out(Sum(x, DIMS(0)));
    parts_out(Reduce(OP_reduce_prod, x, DIMS(1)));
    parts_out(Reduce(OP_reduce_prod, x, DIMS(0, 1)));
    parts_out(Cumulative(OP_cumsum, x, 1, false));
    parts_out(Cumulative(OP_cumprod, x, 1, true));
    parts_out(Dot(x, y, DIMS(1), DIMS(0), NO_DIMS, NO_DIMS, DT_NONE));
    parts_out(Dot(x, Reverse(x, DIMS(0)), DIMS(1), DIMS(1), DIMS(0), DIMS(0), DT_NONE));
    emit_n(OP_sort, 2, s, ATTRS(1, 1, 1, 1, 1, 0), z);
    parts_out(z[0]);
    parts_out(z[1]);
    parts_out(Sum(SliceAxis(x, 1, 2, 2), DIMS(1)));
}

static void step(const Ref *x, Ref *z)
{
    z[0] = Add(Mul(x[1], x[1]), x[0]);
    z[1] = Add(x[2], Like(x[2], 1));
}
static void few(const Ref *x, Ref *z) { z[0] = And(IsFinite(RealPart(x[1])), Lt(x[2], Like(x[2], 4))); }

/* A loop whose carry is complex, each lane with its own number of steps. */
static void loops(Dtype dt)
{
    Ref c = number(dt, NO_DIMS), z[2] = { 0 };
    loop_while(few, step, 1, 2, (const Ref[]){ c, Mul(c, c), Const(DT_I32, 0) }, z);
    parts_out(z[0]);
}

static void solves(Dtype dt)
{
    Ref a = number(dt, DIMS(2, 3, 3)), b = number(dt, DIMS(2, 3, 2)), one = IdentityLike(a);
    a = Add(a, Mul(one, Like(one, 3)));
    for (int how = 0; how < 16; how += 2) /* from the left */
        parts_out(TriangularSolve(a, b, how));
    parts_out(TriangularSolve(a, Transpose(b, DIMS(0, 2, 1)), TRI_RIGHT | TRI_LOWER | TRI_TRANSPOSE));
}

/* With a diagonal that outweighs the rest. */
static Ref heavy(Ref a, double c)
{
    Ref one = IdentityLike(a);
    return Add(a, Mul(one, Like(one, c)));
}

static Ref positive(Dtype dt, Ints s)
{
    Ref a = number(dt, s);
    return heavy(Matmul(a, Adjoint(a)), (double)s.v[s.n - 1] + 1);
}

static void factors(Dtype dt)
{
    Ref lu[3], qr[2];
    parts_out(Cholesky(positive(dt, DIMS(2, 3, 3))));
    Lu(heavy(number(dt, DIMS(2, 3, 4)), 5), lu);
    parts_out(lu[0]), out(lu[1]), out(lu[2]);
    Qr(heavy(number(dt, DIMS(2, 4, 3)), 5), false, qr);
    parts_out(qr[0]), parts_out(qr[1]);
    Ref a = heavy(number(dt, DIMS(2, 3, 3)), 5), b = number(dt, DIMS(2, 3, 2));
    Lu(StopGradient(a), lu);
    parts_out(Solve(a, b, lu[0], lu[2], false));
    parts_out(Solve(a, b, lu[0], lu[2], true));
}

/* What phases of vectors, which are nobody's, cancel in. */
static void spectra(Dtype dt)
{
    Ref f[3], a = positive(dt, DIMS(3, 3)), b = heavy(number(dt, DIMS(4, 3)), 5);
    Eigh(a, f);
    out(f[0]);
    Ref w = f[0] ? Convert(Sqrt(f[0]), (Dtype)typ(a)->dt) : 0;
    parts_out(Matmul(Mul(f[1], Along(w, f[1], false)), Adjoint(f[1])));
    for (int wide = 0; wide < 2; wide++) {
        Svd(wide ? Adjoint(b) : b, false, f);
        out(f[1]);
        Ref s = f[1] ? Convert(Sqrt(f[1]), (Dtype)typ(a)->dt) : 0;
        parts_out(Matmul(Mul(f[0], Along(s, f[0], false)), f[2]));
    }
}

/* Sizes beyond what a lane does, and none; no derivatives of square factors are known. */
static void large_factors(Dtype dt)
{
    Ref f[3];
    Cholesky(positive(dt, DIMS(0, 3, 3)));
    parts_out(Cholesky(positive(dt, DIMS(20, 20))));
    Qr(heavy(number(dt, DIMS(3, 2)), 5), true, f);
    parts_out(Matmul(f[0], f[1])), parts_out(Matmul(Adjoint(f[0]), f[0]));
    Qr(number(dt, DIMS(0, 3)), false, f);
    Lu(number(dt, DIMS(3, 0)), f);
    out(f[1]), out(f[2]);
    Svd(heavy(number(dt, DIMS(3, 2)), 5), true, f);
    parts_out(Matmul(Adjoint(f[0]), f[0])), parts_out(Matmul(f[2], Adjoint(f[2])));
}

void make_complex(Op op, Dtype dt, int variant)
{
    (void)op;
    switch (variant) {
    case 0:
        arithmetic(dt);
        break;
    case 1:
        functions(dt, false);
        break;
    case 2:
        functions(dt, true);
        break;
    case 3:
        moves(dt);
        break;
    case 4:
        sums(dt);
        break;
    case 5:
        solves(dt);
        break;
    case 6:
        loops(dt);
        break;
    case 8:
        factors(dt);
        break;
    case 9:
        spectra(dt);
        break;
    case 10:
        large_factors(dt);
        break;
    default:
        signs(dt);
    }
}

void make_part(Op op, Dtype dt, int variant)
{
    Ref re = in(dt, ANY, 0, variant ? DIMS(2, 3) : DIMS(40)), im = in_again(re);
    parts_out(emit(op, 1, (const Ref[]){ Reverse(Complex(re, im), DIMS(0)) }, NULL)); /* no fold undoes it */
}
