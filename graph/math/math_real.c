/*
 * math_real.c - functions of which one text serves f32 and f64: the short ones, and the sums and loops of
 * the others.
 */
#include <math.h>
#include "math_real.h"

Val math_series(Val t, int n, const double *c)
{
    Val p = lit(t, c[n - 1]);
    for (int i = n - 2; i >= 0; i--)
        p = fma_(p, t, lit(t, c[i]));
    return p;
}

/* Clenshaw's recurrence. */
Val math_chebyshev(Val t, int n, const double *c)
{
    Val b1 = lit(t, c[n - 1]), b2 = lit(t, 0), twice = add(t, t);
    for (int i = n - 2; i > 0; i--) {
        Val b = add(sub(mul(twice, b1), b2), lit(t, c[i]));
        b2 = b1, b1 = b;
    }
    return add(sub(mul(t, b1), b2), lit(t, c[0]));
}

void math_turns(Val like, int64_t steps, int n, const Val *init, Val *phi)
{
    Val first[16];
    for (int i = 0; i < n; i++)
        first[i] = K->ins[like].w > K->ins[init[i]].w ? k_splat(K, init[i]) : init[i];
    k_loop(K, "s", steps, n, first, phi);
}

void math_turn(Val go, int n, const Val *phi, const Val *next, Val *out)
{
    Val then[16];
    k_brk(K, any(go));
    for (int i = 0; i < n; i++)
        then[i] = sel(go, next[i], phi[i]);
    k_loop_end(K, then, out);
}

Val math_rsqrt(Val x) { return divide(lit(x, 1), sqrt_(x)); }

/* asinh, acosh, atanh through log1p of an argument that is relatively exact (Kahan's forms): a + a^2/(1 +
 * sqrt(a^2 + 1)); t + sqrt(2t + t^2), t = x - 1; half of log1p(2a + 2a a/(1 - a)). From some power of two
 * on, where nothing else is left of it, log(a) + ln 2. */
static Val far(Val a) { return above(a, is64(a) ? 0x1p54 : 0x1p28); }

Val math_asinh(Val x)
{
    Val a = abs_(x), big = far(a), a2 = mul(a, a);
    Val w = add(a, divide(a2, add(lit(x, 1), sqrt_(plus(a2, 1)))));
    return copysign_(add(log1p_(sel(big, a, w)), sel(big, lit(x, M_LN2), lit(x, 0))), x);
}

Val math_acosh(Val x)
{
    Val big = far(x), t = plus(x, -1);
    Val w = add(t, sqrt_(add(add(t, t), mul(t, t))));
    Val y = add(log1p_(sel(big, x, w)), sel(big, lit(x, M_LN2), lit(x, 0)));
    return sel(below(x, 1), lit(x, NAN), y);
}

Val math_atanh(Val x)
{
    Val a = abs_(x), t = add(a, a);
    Val y = mul(lit(x, 0.5), log1p_(add(t, divide(mul(t, a), sub(lit(x, 1), a)))));
    return copysign_(sel(above(a, 1), lit(x, NAN), y), x);
}
