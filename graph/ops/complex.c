/*
 * complex.c - complex numbers on the host: the elementwise rows that accept them, and the ops that take them
 * apart and put them together.
 *
 * c64 is computed in double and c128 in long double, by the functions of C's <complex.h>: another opinion
 * than that of devices, which compute with pairs of reals (transforms/complex.c).
 *
 * Derivatives are JAX's. A tangent is what is added to a number, so it is multiplied by the derivative of a
 * function that has one. A cotangent is what its real inner product, without a conjugate, is taken with:
 * that of real(z) is (ct, 0), that of imag(z) is (0, -ct), and grad of a real f is df/dx - i df/dy.
 */
#define _GNU_SOURCE
#include <complex.h>
#include <math.h>
#include <string.h>

#include "element.h"
#include "ops.h"

#undef I

/* ==================== values of the rows */

#define RE(x) (__real__(x))
#define IM(x) (__imag__(x))
#define PAIR(a, b) __builtin_complex((T)(a), (T)(b))
#define PRODUCT(x, y) PAIR(RE(x) * RE(y) - IM(x) * IM(y), RE(x) * IM(y) + IM(x) * RE(y))
#define LN2 0.693147180559945309417232121458176568L

typedef void PairFn(int64_t n, const void *x, const void *y, void *z);

/* expm1(a + bi) = expm1(a) cos(b) - 2 sin(b / 2)^2 + i exp(a) sin(b) */
#define DEFINE_EXPM1(name, f) \
    static C name(C x) \
    { \
        T s = M##f(sin)(IM(x) / 2), im = IM(x) == 0 ? IM(x) : M##f(exp)(RE(x)) * M##f(sin)(IM(x)); \
        return PAIR(M##f(expm1)(RE(x)) * M##f(cos)(IM(x)) - 2 * s * s, im); \
    }
/* log|1 + z| is half of log1p(2 a + a^2 + b^2), where that is small. */
#define DEFINE_LOG1P(name, f) \
    static C name(C x) \
    { \
        T a = RE(x), b = IM(x), s = a * (2 + a) + b * b; \
        T re = M##f(fabs)(a) < 1 && M##f(fabs)(b) < 1 && s > -0.5 ? M##f(log1p)(s) / 2 : \
                                                                    M##f(log)(M##f(hypot)(1 + a, b)); \
        return PAIR(re, M##f(atan2)(b, 1 + a)); \
    }
/* Anything to the power 0 is 1; 0 to a positive real power is 0, and to any other nan. */
#define DEFINE_POWER(name, f) \
    static C name(C x, C y) \
    { \
        if (y == 0) \
            return 1; \
        if (x == 0) \
            return IM(y) == 0 && RE(y) > 0 ? PAIR(0, 0) : PAIR(NAN, NAN); \
        return M##f##C(pow)(x, y); \
    }
#define M1(f) f
#define M1C(f) c##f
#define M2(f) f##l
#define M2C(f) c##f##l

#define T double
#define C double _Complex
DEFINE_EXPM1(expm1_64, 1)
DEFINE_LOG1P(log1p_64, 1)
DEFINE_POWER(power_64, 1)
#undef T
#undef C
#define T long double
#define C long double _Complex
DEFINE_EXPM1(expm1_128, 2)
DEFINE_LOG1P(log1p_128, 2)
DEFINE_POWER(power_128, 2)
#undef T
#undef C

/* Every row twice: each number computed wide, then rounded. P: of the parts as they are stored. */
#define ROW(prefix, name, e) \
    static void prefix##_##name(int64_t n, const void *in0, const void *in1, void *out) \
    { \
        for (int64_t k = 0; k < n; k++) { \
            const P *p = (const P *)in0 + 2 * k, *q = (const P *)in1 + 2 * k; \
            C x = PAIR(p[0], p[1]), y = PAIR(q[0], q[1]), z = e; \
            (void)x, (void)y; \
            ((P *)out)[2 * k] = (P)RE(z), ((P *)out)[2 * k + 1] = (P)IM(z); \
        } \
    }

#define P float
#define T double
#define C double _Complex
#define M(f) c##f
#define EXPM1 expm1_64
#define LOG1P log1p_64
#define POWER power_64
#define COMPLEX(name, e) ROW(c64, name, e)
#include "complex.def"
#undef P
#undef T
#undef C
#undef M
#undef EXPM1
#undef LOG1P
#undef POWER

#define P double
#define T long double
#define C long double _Complex
#define M(f) c##f##l
#define EXPM1 expm1_128
#define LOG1P log1p_128
#define POWER power_128
#define COMPLEX(name, e) ROW(c128, name, e)
#include "complex.def"

static const struct {
    PairFn *c64, *c128;
} row[OP_COUNT] = {
#define COMPLEX(name, e) [OP_##name] = { c64_##name, c128_##name },
#include "complex.def"
};

int complex_eval(const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    Op op = i->op == OP_accum ? OP_add : (Op)i->op;
    Dtype dt = (Dtype)t[0]->dt, to = (Dtype)u->dt;
    size_t size = dtype_size(dt), small = dtype_size(to);
    PairFn *f = dt == DT_C64 ? row[op].c64 : row[op].c128;
    int64_t n = type_size(u);
    if (!f)
        return error_set(E_INTERNAL, "%s has no row in complex.def", optab[op].name);
    if (to == dt) {
        f(n, in[0], in[i->nin - 1], out[0]);
        return 0;
    }
    for (int64_t k = 0; k < n; k++) { /* one number at a time: of the result one part counts */
        char z[32];
        void *at = (char *)out[0] + (size_t)k * small;
        f(1, (const char *)in[0] + (size_t)k * size, (const char *)in[i->nin - 1] + (size_t)k * size, z);
        if (to == DT_BOOL)
            *(uint8_t *)at = dtype_load_f(dt, z) != 0;
        else
            memcpy(at, z, small);
    }
    return 0;
}

/* ==================== complex(re, im), real, imag, conj */

static int complex_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    int e = ops_attrs(op, attr, nattr, NULL);
    Dtype to = dtype_of_parts((Dtype)t[0]->dt);
    if (e)
        return e;
    if (t[0]->dt != t[1]->dt)
        return error_set(E_DTYPE, "complex: dtypes differ: %s and %s; convert one of them", type_text(t[0]),
            type_text(t[1]));
    if (to == DT_NONE)
        return error_set(E_DTYPE, "complex: parts are f32 or f64, not %s; convert them", type_text(t[0]));
    if (!type_equal(t[0], t[1]))
        return error_set(E_SHAPE, "complex: shapes differ: %s and %s; broadcast or reshape one of them",
            type_text(t[0]), type_text(t[1]));
    return ops_result(op, out, to, type_shape(t[0]));
}

static int part_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    (void)nin;
    int e = ops_attrs(op, attr, nattr, NULL);
    if (e)
        return e;
    if (!dtype_complex((Dtype)t[0]->dt))
        return error_set(
            E_DTYPE, "%s of %s is not defined: it takes complex numbers", optab[op].name, type_text(t[0]));
    *out = *t[0];
    out->dt = (uint8_t)(op == OP_conj ? t[0]->dt : dtype_part((Dtype)t[0]->dt));
    return 0;
}

static void complex_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)i, (void)z;
    tz[0] = Complex(or_zero(t[0], x[0]), or_zero(t[1], x[1]));
}

static void complex_transpose(const Ins *i, const Ref *ct, Cts *c)
{
    if (graph_lin(cur(), i->in[0]))
        ct_add(c, i->in[0], RealPart(ct[0]));
    if (graph_lin(cur(), i->in[1]))
        ct_add(c, i->in[1], Neg(ImagPart(ct[0])));
}

static void part_transpose(const Ins *i, const Ref *ct, Cts *c)
{
    Ref zero = Like(ct[0], 0);
    ct_add(c, i->in[0],
        i->op == OP_conj     ? Conj(ct[0]) :
            i->op == OP_real ? Complex(ct[0], zero) :
                               Complex(zero, Neg(ct[0])));
}

/* Parts as they are: one of in, or both with the sign of the second. */
static int complex_parts_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    Dtype pair = (Dtype)(i->op == OP_complex ? u->dt : t[0]->dt);
    size_t size = dtype_size(dtype_part(pair));
    int64_t n = type_size(u);
    for (int64_t k = 0; k < n; k++) {
        const char *x = (const char *)in[0] + (size_t)k * size * (i->op == OP_complex ? 1 : 2);
        char *z = (char *)out[0] + (size_t)k * size * (pair == (Dtype)u->dt ? 2 : 1);
        if (i->op == OP_real || i->op == OP_imag)
            memcpy(z, i->op == OP_real ? x : x + size, size);
        else if (i->op == OP_complex)
            memcpy(z, x, size), memcpy(z + size, (const char *)in[1] + (size_t)k * size, size);
        else
            ops_store(pair, z, (Wide){ .f = ops_load(pair, x).f, .im = -ops_load(pair, x).im });
    }
    return 0;
}

const Rules rules_complex = { complex_infer, complex_jvp, complex_transpose, ops_batch_again,
    complex_parts_eval };
const Rules rules_real = { part_infer, ops_jvp_again, part_transpose, ops_batch_again, complex_parts_eval };
const Rules rules_imag = { part_infer, ops_jvp_again, part_transpose, ops_batch_again, complex_parts_eval };
const Rules rules_conj = { part_infer, ops_jvp_again, part_transpose, ops_batch_again, complex_parts_eval };
