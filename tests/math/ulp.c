/*
 * ulp.c - how wrong the elementary functions of a device are, in units of the last place.
 *
 *     ulp [--device D] [--stride N] [--dtype f32|f64|f16|bf16] [NAME...]
 *
 * In:  functions of one argument over all bit patterns of f32, every N-th (default 61; 1: all 2^32), of f16
 * and bf16 over all of
 *      them, of f64 over patterns whose upper half goes through every N-th; functions of two over drawn and
 *      special pairs. Special values come first in each.
 * Out: a row a function: the largest error, where, both values, how many results are nan where the reference
 * is not or the
 *      other way round, how many zeros have the wrong sign or are inexact where the function promises
 *      exactness, or at an infinity. Exit status 1 if a function is over its bound.
 * The reference is the C library in double, for f64 in long double. The unit is the spacing of the dtype at
 * the reference, at least that of its denormals; what overflows counts as the first power of two beyond. For
 * x < 0 lgamma and digamma are sums of two terms that cancel: there the unit is that of the larger term.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "heddle.h"
#include "ops/element.h"

typedef long double Real;
typedef union Bits { double d; float f; uint64_t u; uint32_t w; uint16_t h; } Bits;

enum { CHUNK = 1 << 19, EXACT = 1, TERMS = 2 };                 /* flags of a function */

/* ==================== references */

static double digamma_d(double x) { return (double)element_digamma(x); }
static double trigamma_d(double x) { return (double)element_trigamma(x); }
static double erf_inv_d(double x) { return (double)element_erf_inv(x); }
static double lgamma_d(double x) { int s; return lgamma_r(x, &s); }
static Real lgamma_l(Real x) { int s; return lgammal_r(x, &s); }
static Real bessel_i0e_l(Real x) { return element_bessel(0, x); }
static Real bessel_i1e_l(Real x) { return element_bessel(1, x); }
static double bessel_i0e_d(double x) { return (double)element_bessel(0, x); }
static double bessel_i1e_d(double x) { return (double)element_bessel(1, x); }
static double expi_d(double x) { return (double)element_expi(x); }
static double spence_d(double x) { return (double)element_spence(x); }
static double ndtri_d(double x) { return (double)element_ndtri(x); }
static double log_ndtr_d(double x) { return (double)element_log_ndtr(x); }
static double rsqrt_d(double x) { return 1 / sqrt(x); }
static Real rsqrt_l(Real x) { return 1 / sqrtl(x); }
static Real logistic_l(Real x) { return x < 0 ? expl(x) / (1 + expl(x)) : 1 / (1 + expl(-x)); }
static double logistic_d(double x) { return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)); }
static double div_d(double x, double y) { return x / y; }
static Real div_l(Real x, Real y) { return x / y; }

typedef struct Function {
    const char *name;
    double (*d)(double);
    Real (*l)(Real);
    double (*d2)(double, double);
    Real (*l2)(Real, Real);
    double bound, bound64;                      /* of f32, f64 */
    int flags;
} Function;

#define ONE(name, b, b64, flags) { #name, name, name##l, NULL, NULL, b, b64, flags }
#define OWN(name, l, b, b64, flags) { #name, name##_d, l, NULL, NULL, b, b64, flags }
#define TWO(name, b, b64, flags) { #name, NULL, NULL, name, name##l, b, b64, flags }
static const Function table[] = {
    ONE(exp, 1.1, 1, 0),
    ONE(exp2, 1.1, 1, EXACT),
    ONE(expm1, 1.7, 1.8, 0),
    ONE(log, 0.9, 0.9, 0),
    ONE(log2, 1.7, 0.9, EXACT),
    ONE(log1p, 1.6, 1.5, 0),
    ONE(tanh, 1.3, 1.5, 0),
    OWN(logistic, logistic_l, 1.6, 1.9, 0),
    ONE(sin, 2, 0.9, 0),
    ONE(cos, 2.1, 0.9, 0),
    ONE(tan, 2.3, 1.4, 0),
    ONE(asin, 1.2, 1.2, 0),
    ONE(acos, 1.2, 1.1, 0),
    ONE(atan, 1.6, 1.5, 0),
    ONE(sinh, 1.5, 1.8, 0),
    ONE(cosh, 1.9, 1.7, 0),
    ONE(asinh, 2, 1.9, 0),
    ONE(acosh, 2.1, 1.9, 0),
    ONE(atanh, 1.95, 1.9, 0),
    ONE(erf, 2, 1.4, 0),
    ONE(erfc, 4.1, 2, 0),
    OWN(erf_inv, element_erf_inv, 2.9, 2.4, 0),
    OWN(lgamma, lgamma_l, 3.9, 3.2, TERMS),
    OWN(digamma, element_digamma, 4.5, 5, TERMS),
    OWN(trigamma, element_trigamma, 4.5, 5.5, 0),
    OWN(bessel_i0e, bessel_i0e_l, 4, 4, 0),
    OWN(bessel_i1e, bessel_i1e_l, 4, 4, 0),
    OWN(expi, element_expi, 12, 16, TERMS),
    OWN(spence, element_spence, 4, 4, 0),
    OWN(ndtri, element_ndtri, 6, 8, 0),
    OWN(log_ndtr, element_log_ndtr, 6, 8, 0),
    ONE(cbrt, 0.51, 0.8, EXACT),
    ONE(sqrt, 0.5, 0.5, EXACT),
    OWN(rsqrt, rsqrt_l, 1.5, 1.5, EXACT),
    TWO(pow, 1.1, 1.5, EXACT),
    TWO(atan2, 1.6, 1.6, 0),
    TWO(hypot, 1.2, 0.9, EXACT),
    { "div", NULL, NULL, div_d, div_l, 0.5, 0.5, EXACT },
};
enum { FUNCTIONS = sizeof table / sizeof *table };

/* ==================== dtypes */

typedef struct Format { enum hd_dtype dt; int mant, emin, emax; } Format;
static const Format formats[] = { { HD_F32, 23, -126, 127 }, { HD_F64, 52, -1022, 1023 },
    { HD_F16, 10, -14, 15 }, { HD_BF16, 7, -126, 127 } };

static Real load(const Format *f, const void *p, int64_t k)
{
    switch (f->dt) {
    case HD_F32: return ((const float *)p)[k];
    case HD_F64: return ((const double *)p)[k];
    case HD_F16: return half_to_double(((const uint16_t *)p)[k]);
    default: return bfloat_to_double(((const uint16_t *)p)[k]);
    }
}

static void store(const Format *f, void *p, int64_t k, double v)
{
    switch (f->dt) {
    case HD_F32: ((float *)p)[k] = (float)v; break;
    case HD_F64: ((double *)p)[k] = v; break;
    case HD_F16: ((uint16_t *)p)[k] = half_from_double(v); break;
    default: ((uint16_t *)p)[k] = bfloat_from_double(v);
    }
}

static Real unit(const Format *f, Real r)
{
    int e;
    if (f->dt == HD_F64) {
        frexpl(r, &e);
        e--;
    } else {
        Bits b = { .d = (double)r };
        e = (int)(b.u >> 52 & 0x7ff) - 1023;
    }
    e = r == 0 || e < f->emin ? f->emin : e > f->emax ? f->emax : e;
    return ldexpl(1, e - f->mant);
}

static Real within(const Format *f, Real x)
{
    Real top = ldexpl(1, f->emax + 1);
    return x > top ? top : x < -top ? -top : x;
}

/* ==================== arguments */

static uint64_t state = 88172645463325252ull;

static uint64_t draw(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static double uniform(void) { return (double)(draw() >> 11) * 0x1p-53; }

/* Special values, of which pairs are taken too. */
static const double special[] = { 0, -0.0, INFINITY, -INFINITY, NAN, 1, -1, 2, -2, 3, -3, 0.5, -0.5, 4, 8,
    10, 100, 27, 1000, 64, -4, -5, -27, -100, -1000, 1.5, -1.5, -2.5, 0x1p-149, -0x1p-149, 0x1p-126,
    -0x1p-126, 0x1p-1074, -0x1p-1022, 0x1.fffffep127, -0x1.fffffep127, DBL_MAX, -DBL_MAX, 65504, -65504,
    0x1p-24, 0x1p-14, 16777215, -16777215, 16777216, 8388607.5, 1e30, -1e30, 0x1.fffffep-1, 0x1.000002p0,
    -0x1.fffffep-1, 0x1p-10, 0x1p52, -0x1p53 };
enum { SPECIALS = sizeof special / sizeof *special };

/* Argument k of a function of one: through the patterns in order. */
static double pattern(const Format *f, uint64_t k, uint64_t stride)
{
    Bits b = { 0 };
    uint64_t at = k * stride;
    switch (f->dt) {
    case HD_F32: b.w = (uint32_t)at; return b.f;
    case HD_F16: return half_to_double((uint16_t)k);
    case HD_BF16: return bfloat_to_double((uint16_t)k);
    default:
        b.u = (uint64_t)(uint32_t)at << 32 | (draw() & 0xffffffff);
        if (k & 1)                              /* exponents from -20 to 11: where things happen */
            b.u = (b.u & 0x800fffffffffffffull) | (uint64_t)(1003 + (draw() >> 40) % 32) << 52;
        return b.d;
    }
}

static double random_pattern(const Format *f)
{
    Bits b = { .u = draw() };
    if (f->dt == HD_F32)
        return (b.w = (uint32_t)(b.u >> 16), b.f);
    if (f->dt == HD_F64)
        return b.d;
    return f->dt == HD_F16 ? half_to_double((uint16_t)(b.u >> 16)) : bfloat_to_double((uint16_t)(b.u >> 16));
}

/* Argument pairs: any patterns; of like size; for pow results in range, and small numbers to whole
 * powers. */
static void pair(const Format *f, const Function *fn, uint64_t k, double *x, double *y)
{
    *x = random_pattern(f), *y = random_pattern(f);
    if (k % 4 == 0)
        return;
    if (strcmp(fn->name, "pow")) {
        if (k & 1)
            *y = *x * (0.25 + 4 * uniform());
    } else if (k % 4 == 3) {
        *x = (double)(draw() % 2000) / 4 - 250, *y = (double)(draw() % 60) - 30;
    } else {
        *x = k & 1 ? 0.5 + 2 * uniform() : fabs(*x);
        *y = ((f->emax + 1) * 2.2 * uniform() - 1.18 * (f->emax + 1)) / log2(*x);
    }
}

/* ==================== one function */

typedef struct Report {
    Real worst;
    double x, y, got;
    Real want;
    uint64_t n, nans, specials;
    double first;
} Report;

static Real reference(const Format *f, const Function *fn, Real x, Real y)
{
    if (fn->d2)
        return f->dt == HD_F64 ? fn->l2(x, y) : fn->d2((double)x, (double)y);
    return f->dt == HD_F64 ? fn->l(x) : fn->d((double)x);
}

/* The terms of which a value of lgamma or digamma below zero, or of expi, is the sum: the larger unit. */
static Real unit_of_terms(const Format *f, const Function *fn, Real x, Real r)
{
    if (fn->l == element_expi)
        return unit(f, fabsl(r) > 1 ? r : 1);
    Real p = fn->l(-x + (fn->l == element_digamma));
    Real q = fn->l == element_digamma ? fabsl(r - p) : 1;
    p = fabsl(p) > q ? fabsl(p) : q;
    return isfinite(p) ? unit(f, p) : unit(f, 1);
}

static void judge(const Format *f, const Function *fn, Real x, Real y, Real got, bool exactly, Report *to)
{
    Real want = reference(f, fn, x, y);
    to->n++;
    if (isnan(got) || isnan(want)) {
        if (isnan(got) != isnan(want) && !to->nans++)
            to->first = (double)x;
        return;
    }
    bool wrong = (got == 0 || want == 0) && signbit(got) != signbit(want);
    char q[8];
    store(f, q, 0, (double)want);
    wrong |= exactly && (fn->flags & EXACT || isinf(x)) && load(f, q, 0) == want && got != want;
    if (wrong && !to->specials++)
        to->first = (double)x;
    Real u = unit(f, want);
    if ((x < 0 || fn->l == element_expi) && fn->flags & TERMS && isfinite(want)) {
        Real t = unit_of_terms(f, fn, x, want);
        u = t > u ? t : u;
    }
    Real e = fabsl(within(f, got) - within(f, want)) / u;
    if (e > to->worst)
        to->worst = e, to->x = (double)x, to->y = (double)y, to->got = (double)got, to->want = want;
}

static hd_fn *program(const Format *f, const Function *fn, const char *device)
{
    char text[512];
    const char *t = hd_dtype_name(f->dt);
    snprintf(text, sizeof text, "fn %s(x0: %s[%d]%s%s%s) -> %s[%d] {\n v9: %s[%d] = %s x0%s\n ret v9\n}\n",
        fn->name, t, CHUNK, fn->d2 ? ", x1: " : "", fn->d2 ? t : "", fn->d2 ? "[524288]" : "", t, CHUNK, t,
        CHUNK, fn->name, fn->d2 ? " x1" : "");
    return hd_jit(hd_parse(text, fn->name), .device = device);
}

static void fill(
    const Format *f, const Function *fn, uint64_t from, uint64_t total, uint64_t stride, char *x, char *y)
{
    uint64_t nspecial = fn->d2 ? SPECIALS * SPECIALS : SPECIALS;
    for (uint64_t k = 0; k < CHUNK; k++) {
        double a = 1, b = 1;
        if (from + k < nspecial)
            a = special[(from + k) % SPECIALS], b = special[(from + k) / SPECIALS % SPECIALS];
        else if (fn->d2)
            pair(f, fn, from + k, &a, &b);
        else if (from + k - nspecial < total)
            a = pattern(f, from + k - nspecial, stride);
        store(f, x, (int64_t)k, a);
        store(f, y, (int64_t)k, b);
    }
}

static bool measure(const Format *f, const Function *fn, const char *device, uint64_t stride, Report *to)
{
    uint64_t all = f->dt == HD_F16 || f->dt == HD_BF16 ? 65536 : (1ull << 32) / stride;
    uint64_t nspecial = fn->d2 ? SPECIALS * SPECIALS : SPECIALS,
             total = nspecial + (fn->d2 ? all / 8 + (1 << 20) : all);
    size_t size = hd_dtype_size(f->dt);
    char *x = malloc(CHUNK * size), *y = malloc(CHUNK * size);
    hd_fn *p = program(f, fn, device);
    hd_ints shape = { 1, { CHUNK } };
    int failed = !p || !x || !y;
    for (uint64_t from = 0; from < total && !failed; from += CHUNK) {
        fill(f, fn, from, all, stride, x, y);
        hd_array *a = hd_array_new(f->dt, shape, x, NULL), *b = hd_array_new(f->dt, shape, y, NULL),
                 *z = NULL;
        failed = fn->d2 ? hd_call(p, &z, a, b) : hd_call(p, &z, a);
        const void *got = failed ? NULL : hd_data(z);
        failed = !got;
        for (uint64_t k = 0; k < CHUNK && from + k < total && !failed; k++)
            judge(f, fn, load(f, x, (int64_t)k), load(f, y, (int64_t)k), load(f, got, (int64_t)k),
                from + k < nspecial, to);
        hd_drop(a), hd_drop(b), hd_drop(z);
    }
    free(x), free(y);
    return !failed;
}

/* Functions of f16 and bf16 are those of f32, rounded once. */
static double bound(const Format *f, const Function *fn)
{
    double b = f->dt == HD_F64 ? fn->bound64 : fn->bound;
    return f->dt == HD_F16 ? 0.5 + b * 0x1p-12 : f->dt == HD_BF16 ? 0.5 + b * 0x1p-15 : b;
}

static int report(const Format *f, const Function *fn, const char *device, uint64_t stride)
{
    Report r = { .worst = -1 };
    clock_t t = clock();
    if (!measure(f, fn, device, stride, &r)) {
        printf("%-9s %-5s %s\n", fn->name, hd_dtype_name(f->dt), hd_error());
        return 1;
    }
    bool good = r.worst <= bound(f, fn) && !r.nans && !r.specials;
    printf("%-9s %-5s %8.4Lf (%.4g) at %.9g", fn->name, hd_dtype_name(f->dt), r.worst, bound(f, fn), r.x);
    if (fn->d2)
        printf(", %.9g", r.y);
    printf(": %.9g, not %.12Lg; %llu samples, %llu wrong nan, %llu wrong special", r.got, r.want,
        (unsigned long long)r.n, (unsigned long long)r.nans, (unsigned long long)r.specials);
    if (r.nans || r.specials)
        printf(" (first at %.9g)", r.first);
    printf("%s  [%.0f s]\n", good ? "" : "  OVER", (double)(clock() - t) / CLOCKS_PER_SEC);
    fflush(stdout);
    return !good;
}

static int usage(void)
{
    fprintf(stderr, "ulp [--device D] [--stride N] [--dtype f32|f64|f16|bf16] [NAME...]\nfunctions:");
    for (int k = 0; k < FUNCTIONS; k++)
        fprintf(stderr, " %s", table[k].name);
    fprintf(stderr, "\n");
    return 2;
}

int main(int argc, char **argv)
{
    const char *device = NULL;
    uint64_t stride = 61;
    const Format *f = formats;
    int i = 1, bad = 0;
    for (; i + 1 < argc && !strncmp(argv[i], "--", 2); i += 2) {
        if (!strcmp(argv[i], "--device"))
            device = argv[i + 1];
        else if (!strcmp(argv[i], "--stride") && strtoull(argv[i + 1], NULL, 10) > 0)
            stride = strtoull(argv[i + 1], NULL, 10);
        else if (!strcmp(argv[i], "--dtype"))
            for (f = formats; f < formats + 4 && strcmp(hd_dtype_name(f->dt), argv[i + 1]); f++)
                ;
        else
            return usage();
        if (f == formats + 4)
            return usage();
    }
    for (int k = 0; k < FUNCTIONS; k++) {
        bool chosen = i == argc;
        for (int a = i; a < argc; a++)
            chosen |= !strcmp(argv[a], table[k].name);
        if (chosen)
            bad |= report(f, &table[k], device, stride);
    }
    return bad;
}
