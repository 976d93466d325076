/*
 * rules.h - what the suites on rules of the user's own share: calls of one number, and two functions that
 * are alike.
 */
#ifndef HEDDLE_TESTS_RULES_H
#define HEDDLE_TESTS_RULES_H

#include <math.h>

#include "suite.h"

static inline hd_array *vector(int n, float from, float step)
{
    float v[64];
    for (int i = 0; i < n; i++)
        v[i] = from + step * (float)i;
    return hd_array_new(HD_F32, HD_INTS(n), v, NULL);
}

static inline void alike(
    hd_fn *f, hd_fn *g, hd_array *const *args, int n, const char *device, const char *what)
{
    hd_array *a = NULL, *b = NULL;
    hd_jit_opts o = { .device = device };
    ck_assert_msg(
        hd_call_n(hd_jit_n(g, &o), &b, 1, args, n) == 0, "%s, twin on %s: %s", what, device, hd_error());
    ck_assert_msg(hd_call_n(hd_jit_n(f, &o), &a, 1, args, n) == 0, "%s on %s: %s", what, device, hd_error());
    const float *p = hd_data(a), *q = hd_data(b);
    ck_assert_msg(hd_array_size(a) == hd_array_size(b), "%s: sizes", what);
    for (int64_t i = 0; i < hd_array_size(a); i++)
        ck_assert_msg(fabsf(p[i] - q[i]) <= 1e-4f * (1 + fabsf(q[i])),
            "%s on %s: element %lld is %g, not %g", what, device, (long long)i, (double)p[i], (double)q[i]);
    hd_drop(a), hd_drop(b);
}

static inline float number_of(hd_fn *f, float x)
{
    hd_array *a = hd_array_new(HD_F32, HD_INTS(), &x, NULL), *y = NULL, *const args[] = { a };
    ck_assert_msg(hd_call_n(f, &y, 1, args, 1) == 0, "%s", hd_error());
    float v = *(const float *)hd_data(y);
    hd_drop(a), hd_drop(y);
    return v;
}

static inline void is(hd_fn *f, float x, float want)
{
    float got = number_of(f, x);
    ck_assert_msg(fabsf(got - want) <= 1e-4f * (1 + fabsf(want)), "%g, not %g", (double)got, (double)want);
}

static inline void refused(hd_fn *f, float x, const char *const *words)
{
    hd_array *a = hd_array_new(HD_F32, HD_INTS(), &x, NULL), *y = NULL, *const args[] = { a };
    ck_assert(hd_call_n(f, &y, 1, args, 1) != 0);
    for (; *words; words++)
        ck_assert_msg(strstr(hd_error(), *words), "no %s in: %s", *words, hd_error());
    hd_drop(a);
}
#define REFUSED(f, x, ...) refused(f, x, (const char *const[]){ __VA_ARGS__, NULL })

static inline hd square(hd x) { return hd_mul(x, x); }

#endif
