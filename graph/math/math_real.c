/*
 * math_real.c - sums and loops for functions of which one text serves f32 and f64.
 */
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
