/*
 * golden_transforms.c - transforms over flat functions: each takes a function of arrays to a function of
 * arrays whose result is one flat tuple, so that they nest in any order.
 */
#include <stdio.h>
#include <string.h>

#include "golden.h"

static hd flat(const hd *parts, int n)
{
    hd leaf[256];
    int k = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < hd_leaf_count(parts[i]) && k < 256; j++)
            leaf[k++] = hd_leaf(parts[i], j);
    return hd_tuple_n(leaf, k);
}

hd golden_base(const hd *x, int n, const void *env)
{
    const CaseEnv *e = env;
    hd y = e->f(e->attrs, x, n);
    return hd_ok(y) ? flat(&y, 1) : y;
}

typedef struct FnEnv { hd_fn *f; int n, v[HD_MAX_RANK]; bool flag; } FnEnv;

static hd_fn *with_env(hd (*f)(const hd *, int, const void *), FnEnv e) { return hd_bind(f, e); }

static hd flat_function(const hd *x, int n, const void *env)
{
    hd y = hd_apply_n(((const FnEnv *)env)->f, x, n);
    return hd_ok(y) ? flat(&y, 1) : y;
}

static hd first_function(const hd *x, int n, const void *env)
{
    return hd_nth(hd_apply_n(((const FnEnv *)env)->f, x, n), 0);
}

static hd_fn *flattened(hd_fn *f) { return f ? with_env(flat_function, (FnEnv){ .f = f }) : NULL; }
static hd_fn *first_of(hd_fn *f) { return f ? with_env(first_function, (FnEnv){ .f = f }) : NULL; }

static bool inexact(hd x)
{
    enum hd_dtype d = hd_dtype(x);
    return d == HD_F16 || d == HD_BF16 || d == HD_F32 || d == HD_F64 || d == HD_C64 || d == HD_C128;
}

/* Arguments: those not in wrt, then those in wrt; result: the inexact outputs of f. */
static hd chosen_function(const hd *x, int n, const void *env)
{
    const FnEnv *e = env;
    hd full[64], out[64];
    int other = 0, k = 0;
    for (int i = 0; i < n; i++) {
        int at = -1;
        for (int j = 0; j < e->n; j++)
            at = e->v[j] == i ? j : at;
        full[i] = at < 0 ? x[other++] : x[n - e->n + at];
    }
    hd y = hd_apply_n(e->f, full, n);
    for (int i = 0; i < hd_len(y); i++)
        if (inexact(hd_nth(y, i)))
            out[k++] = hd_nth(y, i);
    return hd_tuple_n(out, k);
}

/* f as a function of the arguments in wrt alone; the others are fixed to symbols. */
static hd_fn *chosen(const FnEnv *e, const hd *x, int n, hd *wrt)
{
    hd others[64];
    int k = 0;
    for (int i = 0; i < n; i++) {
        bool in = false;
        for (int j = 0; j < e->n; j++)
            in = in || e->v[j] == i;
        if (!in)
            others[k++] = x[i];
    }
    for (int j = 0; j < e->n; j++)
        wrt[j] = x[e->v[j]];
    hd_fn *f = with_env(chosen_function,
        (FnEnv){ .f = e->f,
            .n = e->n,
            .v = { e->v[0], e->v[1], e->v[2], e->v[3], e->v[4], e->v[5], e->v[6], e->v[7], e->v[8], e->v[9],
                e->v[10], e->v[11], e->v[12], e->v[13], e->v[14], e->v[15] } });
    return k ? hd_partial_n(f, others, k) : f;
}

/* dy of n arguments and n directions: at once, or from what is kept of the point. */
static hd along(hd_fn *f, const hd *in, int n, bool kept)
{
    hd x[64];
    if (!kept)
        return hd_nth(hd_apply_n(hd_jvp_n(f), in, 2 * n), 1);
    x[0] = hd_nth(hd_apply_n(hd_linearize_n(f), in, n), 1);
    for (int j = 0; j < n; j++)
        x[1 + j] = in[n + j];
    return hd_apply_n(hd_linearized_n(f), x, n + 1);
}

/* args, tangents of wrt -> outputs, tangents of the inexact outputs */
static hd jvp_function(const hd *x, int n, const void *env)
{
    const FnEnv *e = env;
    hd in[64];
    int nargs = n - e->n;
    hd_fn *f = chosen(e, x, nargs, in);
    for (int j = 0; j < e->n; j++)
        in[e->n + j] = x[nargs + j];
    const hd parts[] = { hd_apply_n(e->f, x, nargs), along(f, in, e->n, e->flag) };
    return flat(parts, 2);
}

static hd pulled(const FnEnv *e, const hd *x, int nargs, const hd *ct, int nct)
{
    hd in[64];
    hd_fn *f = chosen(e, x, nargs, in);
    in[e->n] = hd_tuple_n(ct, nct);
    return hd_nth(hd_apply_n(hd_vjp_n(f), in, e->n + 1), 1);
}

/* args, cotangents of the inexact outputs -> outputs, cotangents of wrt. v[15]: how many args */
static hd vjp_function(const hd *x, int n, const void *env)
{
    const FnEnv *e = env;
    int nargs = e->v[15];
    const hd parts[] = { hd_apply_n(e->f, x, nargs), pulled(e, x, nargs, x + nargs, n - nargs) };
    return flat(parts, 2);
}

/* (wrt..; others and cotangents fixed) -> cotangents: differentiated once more along the tangents. */
static hd pull_function(const hd *x, int n, const void *env)
{
    const FnEnv *e = env;
    int nargs = e->v[15], nother = nargs - e->n, nct = n - nargs;
    hd full[64];
    int other = 0;
    for (int i = 0; i < nargs; i++) {
        int at = -1;
        for (int j = 0; j < e->n; j++)
            at = e->v[j] == i ? j : at;
        full[i] = at < 0 ? x[other++] : x[nother + nct + at];
    }
    hd y = pulled(e, full, nargs, x + nother, nct);
    return flat(&y, 1);
}

/* args, tangents, cotangents -> outputs, tangents, cotangents and, where asked, the derivative of those
 * along the tangents */
static hd derivatives_function(const hd *x, int n, const void *env)
{
    const FnEnv *e = env;
    int nargs = e->v[15], nct = n - nargs - e->n, k = 0;
    hd fixed[64], in[64], parts[4] = { hd_apply_n(e->f, x, nargs) };
    hd_fn *f = chosen(e, x, nargs, in);
    for (int j = 0; j < e->n; j++)
        in[e->n + j] = x[nargs + j];
    parts[1] = along(f, in, e->n, false);
    parts[2] = pulled(e, x, nargs, x + nargs + e->n, nct);
    if (!e->flag)
        return flat(parts, 3);
    for (int i = 0; i < nargs; i++) {
        bool wrt = false;
        for (int j = 0; j < e->n; j++)
            wrt = wrt || e->v[j] == i;
        if (!wrt)
            fixed[k++] = x[i];
    }
    for (int i = 0; i < nct; i++)
        fixed[k++] = x[nargs + e->n + i];
    hd_fn *pull = with_env(pull_function, *e);
    pull = k ? hd_partial_n(pull, fixed, k) : pull;
    parts[3] = hd_nth(hd_apply_n(hd_jvp_n(pull), in, 2 * e->n), 1);
    return flat(parts, 4);
}

static void axes_text(const json_t *v, char *out, size_t n)
{
    size_t k = 0;
    out[0] = 0;
    for (size_t i = 0; i < json_array_size(v) && k < n; i++) {
        const json_t *a = json_array_get(v, i);
        if (json_is_null(a))
            k += (size_t)snprintf(out + k, n - k, "%snone", i ? ", " : "");
        else
            k += (size_t)snprintf(out + k, n - k, "%s%lld", i ? ", " : "", (long long)json_integer_value(a));
    }
}

const char *pmap_devices;

/* The k-th device of the list, from its beginning again where it is at its end. */
static void add_device(char *text, size_t n, int64_t k)
{
    const char *at = pmap_devices;
    for (; k > 0; k--)
        at = strchr(at, ',') ? strchr(at, ',') + 1 : pmap_devices;
    strncat(text, text[0] ? "," : "", n - strlen(text) - 1);
    size_t len = strcspn(at, ","), room = n - strlen(text) - 1;
    strncat(text, at, len < room ? len : room);
}

typedef struct PmapEnv { hd_fn *f; const json_t *t; } PmapEnv;
static hd_vmap_opts map_options(const json_t *t, char *text, size_t n);

/* The map over as many devices as its axis has places: those of the list in turn. */
static hd pmap_function(const hd *x, int n, const void *env)
{
    const PmapEnv *e = env;
    char text[512], devices[1024] = "";
    hd_vmap_opts o = map_options(e->t, text, sizeof text);
    int64_t lanes = o.axis_size;
    for (int i = 0; i < n && i < HD_MAX_RANK; i++)
        if (o.in_axes[i] != HD_NONE)
            lanes = hd_dim(x[i], o.in_axes[i]);
    for (int64_t k = 0; k < lanes; k++)
        add_device(devices, sizeof devices, k);
    o.devices = devices;
    return hd_apply_n(hd_pmap_n(e->f, &o), x, n);
}

static hd_fn *apply_map(hd_fn *f, const json_t *t)
{
    char text[512];
    hd_vmap_opts o = map_options(t, text, sizeof text);
    PmapEnv e = { f, t };
    hd (*over)(const hd *, int, const void *) = pmap_function;
    return pmap_devices ? hd_bind(over, e) : hd_vmap_n(f, &o);
}

/* text: room for what the options point at. */
static hd_vmap_opts map_options(const json_t *t, char *text, size_t n)
{
    hd_vmap_opts o = { 0 };
    const json_t *in = json_object_get(t, "in_axes"), *out = json_object_get(t, "out_axes");
    for (size_t i = 0; i < json_array_size(in) && i < HD_MAX_RANK; i++)
        o.in_axes[i] = json_is_null(json_array_get(in, i)) ?
            HD_NONE :
            (int32_t)json_integer_value(json_array_get(in, i));
    for (size_t i = 0; json_is_integer(in) && i < HD_MAX_RANK; i++)
        o.in_axes[i] = (int32_t)json_integer_value(in);
    if (json_is_array(out)) {
        text[0] = '(';
        axes_text(out, text + 1, n - 3);
        strcat(text, json_array_size(out) == 1 ? ",)" : ")");
        o.out_tree = text;
    } else
        o.out_axes = json_is_null(out) ? HD_NONE : (int32_t)json_integer_value(out);
    o.axis_size = attr_i(t, "axis_size", 0);
    o.axis_name = attr_s(t, "axis_name", NULL);
    return o;
}

hd_fn *golden_apply(hd_fn *f, const json_t *t, const char **missing)
{
    const char *kind = attr_s(t, "transform", "");
    hd_ints wrt = attr_l(t, "wrt");
    hd_grad_opts o = { .argnums = wrt };
    FnEnv e = { .f = f, .n = wrt.n };
    for (int i = 0; i < wrt.n; i++)
        e.v[i] = (int)wrt.v[i];
    if (!strcmp(kind, "checkpoint"))
        return hd_checkpoint_n(f, &(hd_checkpoint_opts){ 0 });
    if (!strcmp(kind, "jit"))
        return hd_jit_n(f, &(hd_jit_opts){ 0 });
    if (!strcmp(kind, "vmap") || !strcmp(kind, "pmap"))        /* the law: they are the same */
        return apply_map(f, t);
    if (!strcmp(kind, "grad"))
        return flattened(hd_grad_n(first_of(f), &o));
    if (!strcmp(kind, "value_and_grad"))
        return flattened(hd_value_and_grad_n(first_of(f), &o));
    if (!strcmp(kind, "jacfwd"))
        return flattened(hd_jacfwd_n(first_of(f), &o));
    if (!strcmp(kind, "jacrev"))
        return flattened(hd_jacrev_n(first_of(f), &o));
    if (!strcmp(kind, "hessian"))
        return flattened(hd_hessian_n(first_of(f), &o));
    e.flag = !strcmp(kind, "linearize");
    if (!strcmp(kind, "jvp") || e.flag)
        return with_env(jvp_function, e);
    e.v[15] = (int)attr_i(t, "nargs", 0);
    e.flag = attr_b(t, "second", false);
    if (!strcmp(kind, "vjp"))
        return with_env(vjp_function, e);
    if (!strcmp(kind, "derivatives"))
        return with_env(derivatives_function, e);
    *missing = kind;
    return NULL;
}
