/*
 * element_eval.c - exact values of the elementwise rows: each row's expressions, made into loops over blocks
 * of wide numbers.
 *
 * In: dense operands of one dtype. Out: dense results, each rounded (or wrapped) once.
 *     f16 bf16 f32    in double
 *     f64             arithmetic in double, which rounds once by itself; functions in long double
 *     integers        in 128 bits, so that nothing overflows before it wraps; bool as 0 or 1, where any
 *     nonzero
 *     result is 1
 */
#define _GNU_SOURCE                             /* lgammal_r */
#include <math.h>
#include <string.h>

#include "element.h"

#pragma GCC diagnostic ignored "-Wtype-limits"  /* the same text serves signed and unsigned numbers */

__extension__ typedef __int128 Int;
__extension__ typedef unsigned __int128 UInt;

enum { BLOCK = 128 };

/* ==================== what float expressions are written in */

#define FMAX(x, y)      ((x) != (x) ? (x) : (y) != (y) ? (y) : \
                         (x) > (y) ? (x) : (y) > (x) ? (y) : signbit(x) ? (y) : (x))
#define FMIN(x, y)      ((x) != (x) ? (x) : (y) != (y) ? (y) : \
                         (x) < (y) ? (x) : (y) < (x) ? (y) : signbit(x) ? (x) : (y))
#define FCLAMP(l, v, h) FMIN(FMAX(l, v), h)
#define LOGISTIC(x)     (1 / (1 + M(exp)(-(x))))
#define ERFINV(x)       (T)element_erf_inv(x)
#define LGAMMA(x)       (T)log_gamma(x)
#define DIGAMMA(x)      (T)element_digamma(x)
#define TRIGAMMA(x)     (T)element_trigamma(x)
#define BESSEL(n, x)    (T)element_bessel(n, x)
#define EXPI(x)         (T)element_expi(x)
#define SPENCE(x)       (T)element_spence(x)
#define NDTRI(x)        (T)element_ndtri(x)
#define LOGNDTR(x)      (T)element_log_ndtr(x)
#define XLOG(f, x, y)   ((x) == 0 ? 0 : (x) * M(f)(y))
#define ENTR(x)         ((x) < 0 ? (T)-INFINITY : (x) == 0 ? 0 : -(x) * M(log)(x))
#define BETALN(x, y)    (T)element_betaln(x, y)
#define ZETA(x, y)      (T)element_zeta(x, y)
#define POLYGAMMA(x, y) (T)element_polygamma(x, y)
#define IGAMMA(u, x, y) (T)element_igamma(u, x, y)
#define GAMMA_GRAD(x, y) (T)element_random_gamma_grad(x, y)
#define BETAINC(x, y, w) (T)element_betainc(x, y, w)
#define NEXTAFTER(x, y) (T)next_after(dt, (double)(x), (double)(y))

static long double log_gamma(long double x)
{
    int sign;
    return lgammal_r(x, &sign);
}

static double step16(double x, double y, uint16_t (*pack)(double), double (*unpack)(uint16_t))
{
    if (x == 0)
        return copysign(unpack(1), y);
    uint16_t b = pack(x);
    return unpack((uint16_t)((x < y) == (x > 0) ? b + 1 : b - 1));
}

/* The neighbour in the dtype's own grid. */
static double next_after(Dtype dt, double x, double y)
{
    if (x != x || y != y)
        return NAN;
    if (x == y)
        return y;
    switch (dt) {
    case DT_F16: return step16(x, y, half_from_double, half_to_double);
    case DT_BF16: return step16(x, y, bfloat_from_double, bfloat_to_double);
    case DT_F32: return nextafterf((float)x, (float)y);
    default: return nextafter(x, y);
    }
}

/* ==================== what integer expressions are written in */

#define WIDTH           width
#define IDIV(x, y)      ((y) == 0 ? (T)-1 : (x) / (y))
#define IREM(x, y)      ((y) == 0 ? (x) : (x) % (y))
#define IPOW(x, y)      (T)int_pow((Int)(x), (Int)(y))
#define INSIDE(y)       ((y) >= 0 && (y) < (T)width)
#define LOW(x)          ((uint64_t)(x) & UINT64_MAX >> (64 - width))
#define SHL(x, y)       (INSIDE(y) ? (T)((UInt)(x) << (int)(y)) : 0)
#define SHR(x, y)       (INSIDE(y) ? (T)(LOW(x) >> (int)(y)) : 0)
#define SAR(x, y)       (T)(as_signed((uint64_t)(x), width) >> (INSIDE(y) ? (int)(y) : width - 1))
#define POPCOUNT(x)     __builtin_popcountll(LOW(x))
#define CLZ(x)          (LOW(x) ? __builtin_clzll(LOW(x)) - (64 - width) : width)
#define MULHI(x, y)     ((x) * (y) >> width)

static int64_t as_signed(uint64_t x, int width) { return (int64_t)(x << (64 - width)) >> (64 - width); }

/* Wraps. A negative power of other than 1 and -1 is 0. */
static Int int_pow(Int x, Int y)
{
    if (y < 0)
        return x == 1 ? 1 : x == -1 ? (y & 1 ? -1 : 1) : 0;
    UInt r = 1, b = (UInt)x;
    for (; y; y >>= 1, b *= b)
        r *= y & 1 ? b : 1;
    return (Int)r;
}

/* ==================== every row four times */

typedef void RealFn(Dtype dt, int n, const double *const *x, double *z);
typedef void WideFn(Dtype dt, int n, const long double *const *x, long double *z);
typedef void IntFn(int width, int n, const int64_t *const *x, int64_t *z);

#define FLOATS(prefix, name, e) \
    static void prefix##_##name(Dtype dt, int n, const T *const *a, T *r) \
    { \
        for (int k = 0; k < n; k++) { \
            T x = a[0][k], y = a[1][k], w = a[2][k]; \
            (void)dt, (void)x, (void)y, (void)w; \
            r[k] = e; \
        } \
    }
#define INTEGERS(prefix, name, Load, e) \
    static void prefix##_##name(int width, int n, const int64_t *const *a, int64_t *r) \
    { \
        for (int k = 0; k < n; k++) { \
            T x = (T)(Load)a[0][k], y = (T)(Load)a[1][k], w = (T)(Load)a[2][k]; \
            (void)width, (void)x, (void)y, (void)w; \
            r[k] = (int64_t)(uint64_t)(e); \
        } \
    }
#define STRUC(...)

#define T double
#define M(f) f
#define ELEM(name, Name, arity, accepts, gives, commutes, how, f, i, d)  FLOATS(real, name, f)
#include "ops.def"
#undef T
#undef M

#define T long double
#define M(f) f##l
#define ELEM(name, Name, arity, accepts, gives, commutes, how, f, i, d)  FLOATS(wide, name, f)
#define STRUC(...)
#include "ops.def"
#undef T
#undef M

#define T Int
#define ELEM(name, Name, arity, accepts, gives, commutes, how, f, i, d)  INTEGERS(sint, name, int64_t, i)
#define STRUC(...)
#include "ops.def"
#undef T

#define T UInt
#define ELEM(name, Name, arity, accepts, gives, commutes, how, f, i, d)  INTEGERS(uint, name, uint64_t, i)
#define STRUC(...)
#include "ops.def"
#undef T

static const struct { RealFn *real; WideFn *wide; IntFn *sint, *uint; } row[OP_COUNT] = {
#define ELEM(name, ...) [OP_##name] = { real_##name, wide_##name, sint_##name, uint_##name },
#define STRUC(...)
#include "ops.def"
};

/* ==================== blocks in and out */

static void load_real(Dtype dt, const void *p, int n, double *v)
{
    switch (dt) {
    case DT_F16: for (int k = 0; k < n; k++) v[k] = half_to_double(((const uint16_t *)p)[k]); break;
    case DT_BF16: for (int k = 0; k < n; k++) v[k] = bfloat_to_double(((const uint16_t *)p)[k]); break;
    case DT_F32: for (int k = 0; k < n; k++) v[k] = ((const float *)p)[k]; break;
    default: memcpy(v, p, (size_t)n * sizeof *v); break;
    }
}

static void store_real(Dtype dt, void *p, int n, const double *v)
{
    switch (dt) {
    case DT_BOOL: for (int k = 0; k < n; k++) ((uint8_t *)p)[k] = v[k] != 0; break;
    case DT_F16: for (int k = 0; k < n; k++) ((uint16_t *)p)[k] = half_from_double(v[k]); break;
    case DT_BF16: for (int k = 0; k < n; k++) ((uint16_t *)p)[k] = bfloat_from_double(v[k]); break;
    case DT_F32: for (int k = 0; k < n; k++) ((float *)p)[k] = (float)v[k]; break;
    default: memcpy(p, v, (size_t)n * sizeof *v); break;
    }
}

static const void *at(const void *p, Dtype dt, int64_t k)
{
    return (const char *)p + (size_t)k * dtype_size(dt);
}
static void *at_out(void *p, Dtype dt, int64_t k) { return (char *)p + (size_t)k * dtype_size(dt); }

/* Operands and the result, with their dtypes and their length, are the parameters. */
static void eval_real(RealFn *f, Dtype dt, Dtype to, int nin, int64_t size, const void *const *in, void *out)
{
    double buf[3][BLOCK] = { { 0 } }, z[BLOCK];
    const double *x[3] = { buf[0], buf[1], buf[2] };
    for (int64_t k = 0; k < size; k += BLOCK) {
        int n = size - k < BLOCK ? (int)(size - k) : BLOCK;
        for (int j = 0; j < nin; j++)
            load_real(dt, at(in[j], dt, k), n, buf[j]);
        f(dt, n, x, z);
        store_real(to, at_out(out, to, k), n, z);
    }
}

/* f64 through long double. */
static void eval_wide(WideFn *f, int nin, int64_t size, const void *const *in, double *out)
{
    long double buf[3][BLOCK] = { { 0 } }, z[BLOCK];
    const long double *x[3] = { buf[0], buf[1], buf[2] };
    for (int64_t k = 0; k < size; k += BLOCK) {
        int n = size - k < BLOCK ? (int)(size - k) : BLOCK;
        for (int j = 0; j < nin; j++)
            for (int e = 0; e < n; e++)
                buf[j][e] = ((const double *)in[j])[k + e];
        f(DT_F64, n, x, z);
        for (int e = 0; e < n; e++)
            out[k + e] = (double)z[e];
    }
}

/* As eval_real, parameters too. */
static void eval_int(IntFn *f, Dtype dt, Dtype to, int nin, int64_t size, const void *const *in, void *out)
{
    int64_t buf[3][BLOCK] = { { 0 } }, z[BLOCK];
    const int64_t *x[3] = { buf[0], buf[1], buf[2] };
    for (int64_t k = 0; k < size; k += BLOCK) {
        int n = size - k < BLOCK ? (int)(size - k) : BLOCK;
        for (int j = 0; j < nin; j++)
            for (int e = 0; e < n; e++)
                buf[j][e] = dtype_load_i(dt, at(in[j], dt, k + e));
        f((int)dtype_size(dt) * 8, n, x, z);
        for (int e = 0; e < n; e++)
            dtype_store_i(to, at_out(out, to, k + e), z[e]);
    }
}

/* Rows whose value in double is exact, or rounded once as f64 must be. */
static bool in_double(Op op)
{
    _Static_assert(OP_add < OP_neg && OP_nextafter < OP_floor && OP_is_finite < OP_sqrt,
        "arithmetic and rounding come first in the op table");
    _Static_assert(OP_ge - OP_eq == 5, "six comparisons");
    return (op <= OP_is_finite && op != OP_pow) || op == OP_sqrt || (op >= OP_eq && op <= OP_ge);
}

int element_eval(const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    Op op = i->op == OP_accum ? OP_add : (Op)i->op;
    Dtype dt = (Dtype)t[0]->dt, to = (Dtype)u->dt;
    int64_t n = type_size(u);
    if (dtype_complex(dt))
        return complex_eval(i, t, in, u, out);
    if (dt == DT_BOOL && op == OP_not)          /* ~1 is not 0 */
        op = OP_eq;
    if (dtype_float(dt) && (dt != DT_F64 || in_double(op)))
        eval_real(row[op].real, dt, to, i->nin, n, in, out[0]);
    else if (dtype_float(dt))
        eval_wide(row[op].wide, i->nin, n, in, out[0]);
    else
        eval_int(dtype_signed(dt) ? row[op].sint : row[op].uint, dt, to, i->nin, n, in, out[0]);
    return 0;
}

/* ==================== conversions */

/* An integer to a narrow float rounds once: through double it would round twice beyond 2^53, so what double
 * cannot hold is kept as one sticky bit that no narrower rounding loses. */
static double int_to_real(Dtype dt, int64_t v, Dtype to)
{
    bool neg = !dtype_unsigned(dt) && v < 0;
    uint64_t m = neg ? 0 - (uint64_t)v : (uint64_t)v;
    if (to != DT_F64 && m >> 53)
        m = (m & ~0x7FFull) | (uint64_t)((m & 0x7FF) != 0) << 11;
    return neg ? -(double)m : (double)m;
}

static void convert_one(Dtype from, const void *x, Dtype to, void *z)
{
    if (dtype_float(from) || dtype_f8(from))
        dtype_store_f(to, z, dtype_load_f(from, x));
    else if (dtype_float(to) || dtype_f8(to))
        dtype_store_f(to, z, int_to_real(from, dtype_load_i(from, x), to));
    else
        dtype_store_i(to, z, dtype_load_i(from, x));
}

/* Of a complex number the real part counts; a real number becomes one without an imaginary part. */
int convert_eval(const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    Dtype from = (Dtype)t[0]->dt, to = (Dtype)u->dt;
    bool from_pair = dtype_part(from) != from, to_pair = dtype_part(to) != to;
    int64_t n = type_size(u);
    (void)i;
    for (int64_t k = 0; k < n; k++) {
        const char *x = at(in[0], from, k);
        char *z = at_out(out[0], to, k);
        convert_one(dtype_part(from), x, dtype_part(to), z);
        if (to_pair && from_pair)
            convert_one(dtype_part(from), x + dtype_size(dtype_part(from)), dtype_part(to),
                z + dtype_size(dtype_part(to)));
        else if (to_pair)
            memset(z + dtype_size(dtype_part(to)), 0, dtype_size(dtype_part(to)));
    }
    return 0;
}

/* ==================== reduce_precision */

static void format_of(Dtype dt, int *exponent, int *mantissa)
{
    *exponent = dt == DT_F16 ? 5 : dt == DT_F64 ? 11 : 8;
    *mantissa = dt == DT_F16 ? 10 : dt == DT_BF16 ? 7 : dt == DT_F64 ? 52 : 23;
}

/* On the bits of the magnitude: rounds the fraction to nearest even, which carries into the exponent; then
 * what the narrower exponent cannot hold becomes infinite, or zero. */
static uint64_t reduce_bits(uint64_t b, int own_e, int own_m, int e, int m)
{
    uint64_t inf = ((1ull << own_e) - 1) << own_m, sign = b >> (own_e + own_m) << (own_e + own_m);
    b ^= sign;
    if (b > inf)                                /* nan: stays one */
        return sign | b;
    if (m < own_m) {
        uint64_t unit = 1ull << (own_m - m);
        b = (b + unit / 2 - 1 + (b >> (own_m - m) & 1)) & ~(unit - 1);
    }
    if (e < own_e) {
        int bias = (1 << (own_e - 1)) - 1, top = (1 << (e - 1)) - 1, exponent = (int)(b >> own_m) - bias;
        if (exponent > top)
            b = inf;
        else if (exponent < 1 - top)
            b = 0;
    }
    return sign | (b > inf ? inf : b);
}

int reduce_precision_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    Dtype dt = (Dtype)t[0]->dt;
    int e = (int)ins_int(i, ATTR(reduce_precision, exponent)),
        m = (int)ins_int(i, ATTR(reduce_precision, mantissa)), own_e, own_m;
    int64_t n = type_size(u);
    format_of(dt, &own_e, &own_m);
    for (int64_t k = 0; k < n; k++)
        dtype_store_i(dt, at_out(out[0], dt, k),
            (int64_t)reduce_bits((uint64_t)dtype_load_i(dt, at(in[0], dt, k)), own_e, own_m, e, m));
    return 0;
}
