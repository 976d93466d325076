/*
 * compose_base.c - the function at the bottom of a composition, drawn by seed, and flat functions in
 * numbers.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compose.h"

uint64_t mixed(uint64_t seed, uint64_t more)
{
    uint64_t z = seed + (more + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* ==================== numbers */

enum { MOST = 1 << 22 };
static double pool[MOST];
static int64_t used;

double *numbers(int64_t n)
{
    if (used + n > MOST) {
        fprintf(stderr, "compose: more than %d numbers in one composition\n", MOST);
        exit(2);
    }
    double *p = pool + used;
    memset(p, 0, sizeof *p * (size_t)n);
    used += n;
    return p;
}
void numbers_end(void) { used = 0; }

int64_t elements(hd_ints s)
{
    int64_t n = 1;
    for (int k = 0; k < s.n; k++)
        n *= s.v[k];
    return n;
}

Value value_new(hd_ints s) { return (Value){ s, numbers(elements(s)) }; }

/* ==================== flat functions */

bool fun_shapes(Fun *f)
{
    hd_array *x[PARTS], *y = NULL;
    for (int k = 0; k < f->nin; k++)
        x[k] = hd_array_abstract_n(HD_F64, f->in[k]);
    bool ok = !hd_eval_shape_n(f->f, &y, 1, x, f->nin);
    f->nout = ok ? hd_array_len(y) : 0;
    for (int k = 0; k < f->nout && k < PARTS; k++)
        f->out[k] = hd_array_shape(hd_array_nth(y, k));
    for (int k = 0; k < f->nin; k++)
        hd_drop(x[k]);
    hd_drop(y);
    return ok && f->nout <= PARTS;
}

bool fun_call(const Fun *f, const Value *x, Value *y)
{
    hd_array *a[PARTS], *r = NULL;
    for (int k = 0; k < f->nin; k++)
        a[k] = hd_array_new(HD_F64, x[k].shape, x[k].v, NULL);
    bool ok = !hd_call_n(hd_jit_n(f->f, &(hd_jit_opts){ .device = "host" }), &r, 1, a, f->nin);
    for (int k = 0; ok && k < hd_array_len(r); k++) {
        hd_array *part = hd_array_nth(r, k);
        y[k] = value_new(hd_array_shape(part));
        ok = !hd_read(part, y[k].v, (size_t)elements(y[k].shape));
    }
    for (int k = 0; k < f->nin; k++)
        hd_drop(a[k]);
    hd_drop(r);
    return ok;
}

/* ==================== a random function: f[n], f[] -> f[n], f[] */

enum { KEPT = 12, STEPS_OF_BASE = 6, LONGEST = 4 };

typedef struct Draw { uint64_t s; hd v[KEPT], r[KEPT]; int nv, nr, n; } Draw;

static int pick(Draw *d, int n) { return (int)((d->s = mixed(d->s, 1)) >> 33) % n; }
static hd vector(Draw *d) { return d->v[pick(d, d->nv)]; }
static hd scalar(Draw *d) { return d->r[pick(d, d->nr)]; }
static double constant(Draw *d) { return (double)(pick(d, 33) - 16) / 16; }

static hd matrix(Draw *d, hd like)
{
    double m[LONGEST * LONGEST];
    for (int k = 0; k < d->n * d->n; k++)
        m[k] = constant(d);
    return hd_cast(hd_lit_n(HD_F64, HD_INTS(d->n, d->n), m), hd_dtype(like));
}

/* The last in front. */
static hd permuted(hd v, int n)
{
    int from[LONGEST];
    for (int k = 0; k < n; k++)
        from[k] = (k + n - 1) % n;
    return hd_take(v, hd_lit_n(HD_I32, HD_INTS(n), from), 0);
}

/* Somewhere, computed. */
static hd place(hd s, int n)
{
    return hd_minimum_c(hd_cast(hd_mul_c(hd_abs(s), n - 0.5), HD_I32), n - 1);
}

static hd new_vector(Draw *d)
{
    hd v = vector(d), u = vector(d), s = scalar(d);
    switch (pick(d, 16)) {
    case 0: return hd_sin(v);
    case 1: return hd_tanh(hd_add(v, s));
    case 2: return hd_mul(v, u);
    case 3: return hd_sub(hd_mul_c(v, constant(d)), u);
    case 4: return hd_dot(matrix(d, v), v);
    case 5: return hd_dot(hd_outer(v, u), v);
    case 6: return hd_mul_c(hd_cumsum(v, 0), 0.5);
    case 7: return hd_flip(v, 0);
    case 8: return permuted(v, d->n);
    case 9: return hd_softmax(v, 0);
    case 10: return hd_exp(hd_neg(hd_square(v)));
    case 11: return hd_sqrt(hd_add_c(hd_square(v), 1));
    case 12: return hd_at_set(v, s, pick(d, d->n));
    case 13: return hd_at_add(v, hd_mul(s, s), place(s, d->n));
    case 14: return hd_where(hd_gt(v, u), hd_mul_c(v, 0.5), u);
    default: return hd_add(hd_div(v, hd_add_c(hd_square(u), 1)), s);
    }
}

static hd new_scalar(Draw *d)
{
    hd v = vector(d), u = vector(d), s = scalar(d);
    switch (pick(d, 9)) {
    case 0: return hd_dot(v, u);
    case 1: return hd_logsumexp(v);
    case 2: return hd_mul(s, hd_mean(v));
    case 3: return hd_prod(hd_add_c(hd_mul_c(v, 0.3), 1));
    case 4: return hd_dynamic_index(v, place(s, d->n), 0);
    case 5: return hd_max(v);
    case 6: return hd_index(v, 0, pick(d, d->n));
    case 7: return hd_log1p(hd_square(s));
    default: return hd_cos(hd_add(s, hd_sum(hd_mul(v, u))));
    }
}

static hd base(hd x, hd s, const void *env)
{
    Draw d = { .s = *(const uint64_t *)env, .v = { x }, .r = { s }, .nv = 1, .nr = 1 };
    d.n = (int)hd_dim(x, 0);
    for (int k = 0; k < STEPS_OF_BASE; k++)
        if (pick(&d, 3))
            d.v[d.nv] = new_vector(&d), d.nv++;
        else
            d.r[d.nr] = new_scalar(&d), d.nr++;
    /* tame: loops apply it over and over */
    hd v = hd_mul_c(d.v[d.nv - 1], 0.4), r = hd_mul_c(d.r[d.nr - 1], 0.4);
    return hd_tuple(
        hd_sin(hd_add(v, hd_mul(r, x))), hd_tanh(hd_add(hd_add(r, hd_mul_c(s, 0.5)), hd_mean(v))));
}

void base_make(uint64_t seed, Fun *f)
{
    int n = 1 + (int)(mixed(seed, 70) >> 33) % LONGEST;
    *f = (Fun){ .nin = 2, .in = { HD_INTS(n), HD_INTS() } };
    f->f = hd_bind(base, seed);
}
