/*
 * root.c - solutions of f(theta, x) = 0, found by whatever the user has, differentiated by the implicit
 * function theorem.
 *
 * In:  f, and a function that solves. Out: a function with a derivative of its own: of the solution x, a
 * cotangent g is that of theta by -(df/dtheta)^T u, where (df/dx)^T u = g; and a tangent dtheta is that of x
 * by -u, where (df/dx) u = (df/dtheta) dtheta. Such an equation is the root of a function again, so its
 * solution is found and differentiated in the same way, to any order. It is solved by conjugate gradients on
 * the normal equations, which ask of df/dx neither symmetry nor sign, nor that it is ever written down:
 * products with it and its transpose are derivatives of f.
 */
#include "api.h"
#include <math.h>

/* forward: of the equation with df/dx; else with its transpose. No gaps: it is compared as bytes. */
typedef struct Root { hd_fn *f, *solve, *linear; double tolerance; int64_t steps, forward; } Root;

/* A function of ours that ends with those in r. */
static hd_fn *bound(const Root *r, int nargs, uintptr_t code)
{
    FnKey k = fn_key(FN_USER, NULL);
    k.shape = 100 + nargs, k.f = code, k.code = code_of(code);
    k.rule = r->f, k.bwd = r->solve, k.push = r->linear;
    if (trace_top && (r->f->key.owner || (k.bwd && k.bwd->key.owner) || (k.push && k.push->key.owner)))
        k.owner = trace_top->owner;
    return fn_make(&k, r, sizeof *r, fn_name(r->f));
}

static hd call(hd_fn *f, const hd *x, int n) { return f ? hd_apply_n(f, x, n) : HD_NIL; }
static hd nth(hd x, int k) { return hd_ok(x) ? hd_nth(x, k) : HD_NIL; }
static hd_fn *root_of(const Root *);

/* ==================== the linear equation: q is (theta, x, g) */

/* (df/dx)^T v, or (df/dx) v */
static hd product(hd q, hd v, const void *env)
{
    const Root *r = env;
    hd theta = nth(q, 0), x = nth(q, 1);
    if (r->forward)
        return nth(call(hd_jvp_n(r->f), (const hd[]){ theta, x, HD_NIL, v }, 4), 1);
    return nth(nth(call(hd_vjp_n(r->f), (const hd[]){ theta, x, v }, 3), 1), 1);
}

static hd equation(hd q, hd u, const void *env) { return hd_sub(product(q, u, env), nth(q, 2)); }

static hd_fn *product_at(const Root *r, hd q)
{
    hd_fn *f = bound(r, 2, (uintptr_t)product);
    return f ? hd_partial_n(f, &q, 1) : NULL;
}

static hd squared(hd x)
{
    hd s = hd_ravel(x);
    return hd_dot(s, s);
}

/* The state: u, what is missing, its pull, the direction, the square of the pull, the number of steps. */
static hd cg_step(hd q, hd s, const void *env)
{
    const Root *r = env;
    hd_fn *m = product_at(r, q), *transposed = m ? hd_vjp_n(m) : NULL;
    hd u = nth(s, 0), p = nth(s, 3), square = nth(s, 4), mp = call(m, &p, 1);
    hd a = hd_div(square, squared(mp)), missing = hd_sub(nth(s, 1), hd_mul(a, mp));
    hd pull = nth(call(transposed, (const hd[]){ p, missing }, 2), 1), now = squared(pull);
    p = hd_add(pull, hd_mul(hd_div(now, square), p));
    return hd_tuple_n(
        (const hd[]){ hd_add(u, hd_mul(a, nth(s, 3))), missing, pull, p, now, hd_add(nth(s, 5), hd_c(1)) },
        6);
}

/* below: what the square of the pull has to fall below. */
static hd cg_more(hd below, hd s, const void *env)
{
    const Root *r = env;
    int64_t steps = r->steps ? r->steps : 2 * hd_size(nth(s, 0)) + 10;
    return hd_and(hd_gt(nth(s, 4), below), hd_lt(nth(s, 5), hd_cast(hd_c((double)steps), HD_I32)));
}

static hd conjugate_gradients(hd q, hd u, const void *env)
{
    const Root *r = env;
    hd_fn *m = product_at(r, q), *transposed = m ? hd_vjp_n(m) : NULL;
    hd missing = hd_sub(nth(q, 2), call(m, &u, 1)),
       pull = nth(call(transposed, (const hd[]){ u, missing }, 2), 1);
    if (!hd_ok(pull))
        return HD_NIL;
    double t = r->tolerance > 0 ? r->tolerance : hd_dtype(pull) == HD_F64 ? 1e-12 : 1e-6;
    hd below = hd_mul(squared(pull), hd_c(t * t)), zero = hd_cast(hd_c(0), HD_I32);
    hd start = hd_tuple_n((const hd[]){ u, missing, pull, pull, squared(pull), zero }, 6);
    hd_fn *more = bound(r, 2, (uintptr_t)cg_more), *step = bound(r, 2, (uintptr_t)cg_step);
    if (!more || !step)
        return HD_NIL;
    return nth(hd_while_n(hd_partial_n(more, &below, 1), hd_partial_n(step, &q, 1), start, NULL), 0);
}

static hd given(hd q, hd u, const void *env)
{
    const Root *r = env;
    hd at[] = { nth(q, 0), nth(q, 1), nth(q, 2) };
    (void)u;
    if (!r->forward)
        return call(r->linear, at, 3);
    hd_fn *solve = hd_partial_n(r->linear, at, 2);              /* its transpose solves the other one */
    return call(solve ? hd_linear_transpose_n(solve) : NULL, (const hd[]){ at[2], at[2] }, 2);
}

/* u of the equation at q. */
static hd solved(const Root *r, hd q, bool forward)
{
    Root inner = *r;
    inner.solve = NULL, inner.forward = forward;
    inner.solve = bound(&inner, 2, r->linear ? (uintptr_t)given : (uintptr_t)conjugate_gradients);
    inner.f = bound(&inner, 2, (uintptr_t)equation), inner.linear = NULL, inner.forward = 0;
    hd_fn *f = inner.f && inner.solve ? root_of(&inner) : NULL;
    return call(f, (const hd[]){ q, hd_zeros_like(nth(q, 2)) }, 2);
}

/* ==================== the root */

static hd forward(hd theta, hd x0, const void *env)
{
    hd x = call(root_of(env), (const hd[]){ theta, x0 }, 2), saved = hd_tuple_n((const hd[]){ theta, x }, 2);
    return hd_tuple_n((const hd[]){ x, saved }, 2);
}

static hd backward(hd saved, hd g, const void *env)
{
    const Root *r = env;
    hd theta = nth(saved, 0), x = nth(saved, 1);
    hd u = solved(r, hd_tuple_n((const hd[]){ theta, x, g }, 3), false);
    hd back = call(hd_vjp_n(r->f), (const hd[]){ theta, x, hd_neg(u) }, 3);
    return hd_tuple_n((const hd[]){ nth(nth(back, 1), 0), HD_NIL }, 2);
}

static hd along(hd saved, hd dtheta, hd dx0, const void *env)
{
    const Root *r = env;
    hd theta = nth(saved, 0), x = nth(saved, 1);
    hd g = nth(call(hd_jvp_n(r->f), (const hd[]){ theta, x, dtheta, HD_NIL }, 4), 1);
    (void)dx0;
    return hd_neg(solved(r, hd_tuple_n((const hd[]){ theta, x, g }, 3), true));
}

static hd_fn *root_of(const Root *r)
{
    return fn_both_ways(r->solve, bound(r, 2, (uintptr_t)forward), bound(r, 2, (uintptr_t)backward),
        bound(r, 3, (uintptr_t)along));
}

hd_fn *hd_root_n(hd_fn *f, hd_fn *solve, const hd_root_opts *o)
{
    OP(hd_root_n);
    OPTIONS(hd_root_opts, o);
    if (!fn_in("hd_root", f) || !fn_in("hd_root", solve))
        return NULL;
    error_begin();
    if (o->steps < 0 || !(o->tolerance >= 0)) {
        error_set(E_INVAL, "hd_root: .steps is %lld and .tolerance %g: neither is below 0",
            (long long)o->steps, o->tolerance);
        return NULL;
    }
    return root_of(&(Root){ f, solve, o->linear, o->tolerance, o->steps, 0 });
}
