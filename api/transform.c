/*
 * transform.c - what a description means: the graph of grad(f), vmap(f) ... at given argument types.
 *
 * In: a function that is not the user's, and the types of its arguments. Out: a Traced like that of any
 * other function.
 * Every rule has one form: take the graph of the inner function, transform it (graph.h), and write a new
 * closed graph around it with the same captures: transform_open(), formulas, transform_finish(). Trees exist
 * only here and in transform_vmap.c: graphs see leaves.
 */
#include "transform.h"

/* ==================== a new graph around an inner function */

void transform_open(const Traced *t, const Tree *args, Ref **in)
{
    Type *type = NEWS(Type, args->nleaf);
    Graph *g = graph_begin(graph_new());
    g->name = t->g->name;
    *in = NEWS(Ref, t->ncap + args->nleaf);
    for (int i = 0; i < t->ncap; i++)
        (*in)[i] = graph_input(t->cap[i].type, 0);
    tree_types(args, type);
    for (int i = 0; i < args->nleaf; i++)
        (*in)[t->ncap + i] = graph_input(type[i], 0);
    g->ncap = t->ncap;
}

Traced *transform_finish(const Traced *inner, const Tree *args, const Tree *out, const Ref *ref)
{
    graph_outputs(ref, out->nleaf);
    Graph *g = graph_end();
    if (error_pending())
        return NULL;
    Traced *t = NEW(Traced);
    *t = (Traced){ graph_dce(g), inner->cap, inner->ncap, args, out, keys_of_inputs(inner->keys) };
    return error_pending() ? NULL : t;
}

void leaf_types(const Tree *t, const Type **out)
{
    Type *type = NEWS(Type, t->nleaf);
    tree_types(t, type);
    *out = type;
}

static int first_leaf(const Tree *args, int k)
{
    int n = 0;
    for (int i = 0; i < k; i++)
        n += args->part[i]->nleaf;
    return n;
}

/* ==================== which arguments a derivative is of */

typedef struct Wrt {
    int n, arg[MAXRANK];                        /* arguments, in the order asked for */
    bool *in;                                   /* by input of the inner graph */
} Wrt;

static int wrt_of(const hd_fn *f, const char *what, const Tree *args, int ncap, Wrt *w)
{
    hd_ints a = f->key.argnums;
    const Type *type;
    *w = (Wrt){ .n = a.n ? a.n : 1, .in = NEWS(bool, ncap + args->nleaf) };
    leaf_types(args, &type);
    for (int i = 0; i < w->n; i++) {
        int64_t k = a.n ? a.v[i] : 0;
        k += k < 0 ? args->n : 0;
        if (k < 0 || k >= args->n)
            return loc_set(f->loc), error_set(E_INVAL, "%s: there is no argument %lld: %s takes %d", what,
                                              (long long)(a.n ? a.v[i] : 0), fn_name(f), args->n);
        w->arg[i] = (int)k;
        for (int j = 0, at = first_leaf(args, (int)k); j < args->part[k]->nleaf; j++) {
            if (f->key.holomorphic && !dtype_complex((Dtype)type[at + j].dt))
                return loc_set(f->loc),
                       error_set(E_DIFF, "%s: argument %d%s is %s: with .holomorphic arguments are complex",
                           what, (int)k, tree_path(args->part[k], j), type_text(&type[at + j]));
            if (!dtype_inexact(type[at + j].dt))
                return loc_set(f->loc),
                       error_set(E_DIFF,
                           "%s: argument %d%s is %s: derivatives are taken of "
                           "floating-point "
                           "arguments; choose others with .argnums%s",
                           what, (int)k, tree_path(args->part[k], j), type_text(&type[at + j]),
                           type[at + j].dt == DT_KEY ? "" : ", or convert with hd_cast");
            if (w->in[ncap + at + j])
                return loc_set(f->loc),
                       error_set(E_INVAL, "%s: argument %d is named twice in .argnums", what, (int)k);
            w->in[ncap + at + j] = true;
        }
    }
    return 0;
}

/* One derivative bare, several a tuple. */
static const Tree *per_argument(const Wrt *w, const Tree *const *part)
{
    return w->n == 1 ? part[0] : tree_tuple(part, w->n);
}

/* The cotangents r[] of a vjp, which come in the order of the inputs, in the order of the arguments asked
 * for. */
static int in_order(const Wrt *w, const Tree *args, int ncap, const Ref *r, Ref *out)
{
    int n = 0;
    for (int i = 0; i < w->n; i++) {
        int at = ncap + first_leaf(args, w->arg[i]), k = 0;
        for (int j = 0; j < at; j++)
            k += w->in[j];
        for (int j = 0; j < args->part[w->arg[i]]->nleaf; j++)
            out[n++] = r[k + j];
    }
    return n;
}

/* ==================== grad */

static bool has_aux(const hd_fn *f, const char *what, const Tree *out)
{
    if (!f->key.aux || (out->kind == T_TUPLE && out->n == 2))
        return true;
    FAIL_AT(f, E_INVAL, "%s: with .has_aux %s must return tuple(value, aux), not %s", what, fn_name(f),
        tree_text(out));
    return false;
}

static const Traced *grad(const hd_fn *f, const Tree *args)
{
    const char *what = f->key.value ? "hd_value_and_grad" : "hd_grad";
    const Traced *t = graph_of(f->key.inner, args);
    Wrt w;
    if (!t || !has_aux(f, what, t->out))
        return NULL;
    const Tree *value = tree_strong(f->key.aux ? t->out->part[0] : t->out),
        *aux = f->key.aux ? tree_strong(t->out->part[1]) : NULL;
    bool leaf = value->kind == T_LEAF && !value->type.rank,
         complex = leaf && dtype_complex((Dtype)value->type.dt);
    if (complex != f->key.holomorphic && leaf && (complex || dtype_float((Dtype)value->type.dt)))
        return FAIL_AT(f, E_DIFF,
                   complex ?
                       "%s: %s returns the complex number %s: take hd_real of it, or, of a function that is "
                       "complex differentiable, say .holomorphic = true" :
                       "%s: with .holomorphic %s must return a complex number, not %s",
                   what, fn_name(f), tree_text(value)),
               NULL;
    if (!leaf || !dtype_inexact((Dtype)value->type.dt))
        return FAIL_AT(f, E_DIFF, "%s: %s must return a real scalar, not %s%s", what, fn_name(f),
                   tree_text(value),
                   value->kind == T_TUPLE && !f->key.aux ? "; for tuple(value, aux) say .has_aux = true" :
                                                           ""),
               NULL;
    if (wrt_of(f, what, args, t->ncap, &w))
        return NULL;
    Graph *v = graph_vjp(t->g, w.in);
    if (!v)
        return NULL;
    Ref *in, *x = NEWS(Ref, v->nin), *r = NEWS(Ref, v->nout), *out = NEWS(Ref, v->nout + args->nleaf);
    int nin = t->g->nin, n = 0;
    transform_open(t, args, &in);
    for (int i = 0; i < nin; i++)
        x[i] = in[i];
    for (int i = nin; i < v->nin; i++)
        x[i] = Full(v->type[v->in[i]], i == nin);               /* the value is the first float output */
    graph_inline(v, x, r);
    const Tree **part = NEWS(const Tree *, w.n);
    for (int i = 0; i < w.n; i++)
        part[i] = args->part[w.arg[i]];
    const Tree *d = per_argument(&w, part), *pair[2];
    /* The order of results: value, aux, derivative with the value; else derivative, aux. */
    if (f->key.value) {
        for (int i = 0; i < t->g->nout; i++)
            out[n++] = r[i];
        in_order(&w, args, t->ncap, r + t->g->nout, out + n);
        pair[0] = value, pair[1] = aux;
        pair[0] = aux ? tree_tuple(pair, 2) : value, pair[1] = d;
        return transform_finish(t, args, tree_tuple(pair, 2), out);
    }
    n = in_order(&w, args, t->ncap, r + t->g->nout, out);
    for (int i = 1; aux && i < t->g->nout; i++)
        out[n++] = r[i];
    pair[0] = d, pair[1] = aux;
    return transform_finish(t, args, aux ? tree_tuple(pair, 2) : d, out);
}

/* ==================== jvp and vjp: directions are arguments */

/* The inner function at the first n arguments; the float leaves of these are differentiated. */
static const Traced *over_first(const hd_fn *f, const Tree *args, int n, bool **wrt)
{
    const Tree *first = tree_tuple(args->part, n);
    const Traced *t = graph_of(f->key.inner, first);
    const Type *type;
    if (!t)
        return NULL;
    *wrt = NEWS(bool, t->g->nin);
    leaf_types(first, &type);
    for (int i = 0; i < first->nleaf; i++)
        (*wrt)[t->ncap + i] = dtype_inexact(type[i].dt);
    return t;
}

static bool float_leaf(const Graph *g, Ref v) { return dtype_inexact((Dtype)g->type[v].dt); }

/* got[]: for each leaf of the first n arguments the leaf of the directions, which are the others; -1: it is
 * zero. */
static bool directions(const hd_fn *f, const Tree *args, int n, int *got)
{
    int before = 0;
    for (int i = 0; i < n; i++) {
        const Tree *x = args->part[i], *dx = args->part[n + i];
        if (!tree_given(x, dx, true, got)) {
            FAIL_AT(
                f, E_INVAL, "hd_jvp: argument %d is %s, its direction %s", i, tree_text(x), tree_text(dx));
            return false;
        }
        for (int k = 0; k < x->nleaf; k++, got++)
            *got += *got < 0 ? 0 : before;
        before += dx->nleaf;
    }
    return true;
}

static const Traced *jvp(const hd_fn *f, const Tree *args)
{
    int n = args->n / 2, *got = NEWS(int, args->nleaf);
    bool *wrt;
    if (args->n % 2 || !n)
        return FAIL_AT(f, E_INVAL, "hd_jvp: arguments are (x..., dx...): an even number, not %d", args->n),
               NULL;
    const Traced *t = directions(f, args, n, got) ? over_first(f, args, n, &wrt) : NULL;
    for (int i = 0; t && i < t->g->nin - t->ncap; i++)
        wrt[t->ncap + i] = wrt[t->ncap + i] && got[i] >= 0;
    Graph *d = t ? graph_jvp(t->g, wrt) : NULL;
    if (!d)
        return NULL;
    Ref *in, *x = NEWS(Ref, d->nin), *r = NEWS(Ref, d->nout), *out = NEWS(Ref, 2 * t->g->nout);
    int nin = t->g->nin, nx = nin - t->ncap, k = nin, y = t->g->nout;
    transform_open(t, args, &in);
    for (int i = 0; i < nin; i++)
        x[i] = in[i];
    for (int i = 0; i < nx; i++)
        if (wrt[t->ncap + i])
            x[k++] = in[nin + got[i]];
    graph_inline(d, x, r);
    for (int i = 0; i < t->g->nout; i++) {
        out[i] = r[i];
        out[t->g->nout + i] = float_leaf(t->g, t->g->out[i]) ? r[y++] : Zeros(&t->g->type[t->g->out[i]]);
    }
    const Tree *one = tree_strong(t->out), *pair[2] = { one, one };
    return transform_finish(t, args, tree_tuple(pair, 2), out);
}

/* ---- the same derivative, of which what does not depend on the direction is a result */

static const Tree *residual_tree(const Graph *primal, int from)
{
    const Tree **part = NEWS(const Tree *, primal->nout - from);
    for (int k = from; k < primal->nout; k++)
        part[k - from] = tree_leaf(&primal->type[primal->out[k]]);
    return tree_tuple(part, primal->nout - from);
}

static const Traced *linearize(const hd_fn *f, const Tree *args)
{
    bool *wrt;
    Graph *primal, *linear;
    const Traced *t = over_first(f, args, args->n, &wrt);
    if (!t || graph_linearize(t->g, wrt, &primal, &linear))
        return NULL;
    Ref *in, *out = NEWS(Ref, primal->nout);
    transform_open(t, args, &in);
    graph_inline(primal, in, out);
    const Tree *pair[2] = { tree_strong(t->out), residual_tree(primal, t->g->nout) };
    return transform_finish(t, args, tree_tuple(pair, 2), out);
}

static const Traced *linearized(const hd_fn *f, const Tree *args)
{
    bool *wrt;
    Graph *primal, *linear;
    const Tree *dx = tree_tuple(args->part + 1, args->n - 1 > 0 ? args->n - 1 : 0);
    if (args->n < 2)
        return FAIL_AT(f, E_INVAL, "hd_linearized: arguments are (residuals, dx...): at least 2, not %d",
                   args->n),
               NULL;
    const Traced *t = over_first(f, dx, dx->n, &wrt);
    if (!t || graph_linearize(t->g, wrt, &primal, &linear))
        return NULL;
    const Tree *kept = residual_tree(primal, t->g->nout);
    if (!tree_given(kept, args->part[0], false, NEWS(int, kept->nleaf)))
        return FAIL_AT(f, E_INVAL,
                   "hd_linearized: the residuals are %s, those that hd_linearize(%s) gives for arguments "
                   "like dx "
                   "are %s",
                   tree_text(args->part[0]), fn_name(f), tree_text(kept)),
               NULL;
    Ref *in, *x = NEWS(Ref, linear->nin), *r = NEWS(Ref, linear->nout), *out = NEWS(Ref, t->g->nout);
    transform_open(t, args, &in);
    int n = kept->nleaf, nx = t->g->nin - t->ncap, k = 0;
    for (int i = 0; i < n; i++)
        x[i] = in[t->ncap + i];
    for (int i = 0; i < nx; i++)
        if (wrt[t->ncap + i])
            x[n + k++] = in[t->ncap + n + i];
    graph_inline(linear, x, r);
    for (int i = 0, j = 0; i < t->g->nout; i++)
        out[i] = float_leaf(t->g, t->g->out[i]) ? r[j++] : Zeros(&t->g->type[t->g->out[i]]);
    Traced *now = transform_finish(t, args, tree_strong(t->out), out);
    if (now)
        now->keys = (KeyUses){ 0 };               /* random numbers are residuals: they were drawn before */
    return now;
}

/* Do the cotangents that v gives depend on the point? Then the function is not linear. */
static bool depends_on_point(const Traced *t, const Graph *v, const bool *wrt)
{
    bool *outs = NEWS(bool, v->nout), *live = NEWS(bool, v->nval), any = false;
    for (int k = t->g->nout; k < v->nout; k++)
        outs[k] = true;
    graph_live(v, outs, live);
    for (int i = t->ncap; i < t->g->nin; i++)
        any = any || (wrt[i] && live[v->in[i]]);
    return any;
}

static const char *op_text(const Ins *i)
{
    static const char *const kinds[] = { "call", "scan", "while", "cond" };
    return i->op == OP_region ? kinds[i->region->kind] : optab[i->op].name;
}

static void not_linear(const hd_fn *f, const Traced *t, const bool *wrt)
{
    const Ins *i = graph_nonlinear(t->g, wrt);
    const char *at = i && i->loc.file ? arena_text(" at %s:%d", i->loc.file, i->loc.line) : "";
    FAIL_AT(f, E_DIFF,
        "hd_linear_transpose: %s is not linear: the derivative of %s%s depends on where it is taken",
        fn_name(f), i ? op_text(i) : "it", at);
}

static const Traced *vjp(const hd_fn *f, const Tree *args)
{
    const char *what = f->key.bare ? "hd_linear_transpose" : "hd_vjp";
    int n = args->n - 1;
    bool *wrt;
    if (n < 1)
        return FAIL_AT(f, E_INVAL, "%s: arguments are (x..., dy): at least 2, not %d", what, args->n), NULL;
    const Traced *t = over_first(f, args, n, &wrt);
    if (!t)
        return NULL;
    const Tree *y = tree_strong(t->out), *dy = args->part[n];
    int *got = NEWS(int, y->nleaf);
    if (!tree_given(y, dy, true, got))
        return FAIL_AT(
                   f, E_INVAL, "%s: the result is %s, its cotangent %s", what, tree_text(y), tree_text(dy)),
               NULL;
    Graph *v = graph_vjp(t->g, wrt);
    if (!v)
        return NULL;
    if (f->key.bare && depends_on_point(t, v, wrt))
        return not_linear(f, t, wrt), NULL;
    Ref *in, *x = NEWS(Ref, v->nin), *r = NEWS(Ref, v->nout), *out = NEWS(Ref, v->nout + args->nleaf);
    int nin = t->g->nin, k = nin, o = 0, ct = t->g->nout;
    transform_open(t, args, &in);
    for (int i = 0; i < nin; i++)
        x[i] = in[i];
    for (int i = 0; i < t->g->nout; i++)
        if (float_leaf(t->g, t->g->out[i]))
            x[k++] = got[i] < 0 ? Zeros(&t->g->type[t->g->out[i]]) : in[nin + got[i]];
    graph_inline(v, x, r);
    for (int i = 0; i < t->g->nout && !f->key.bare; i++)
        out[o++] = r[i];
    for (int i = t->ncap; i < nin; i++)
        out[o++] = wrt[i] ? r[ct++] : Zeros(typ(in[i]));
    const Tree *dx = n == 1 ? args->part[0] : tree_tuple(args->part, n), *pair[2] = { y, dx };
    return transform_finish(t, args, f->key.bare ? dx : tree_tuple(pair, 2), out);
}

/* ==================== Jacobians: one directional derivative, batched over an identity */

/* [n] + shape of t: the i-th is one at element i. */
static Ref basis(const Type *t)
{
    int64_t n = type_size(t);
    Type square = type_of(DT_I32, 2, (int64_t[]){ n, n });
    Type full = type_add_lead(t, n);
    return Reshape(Convert(Eq(Iota(square, 0), Iota(square, 1)), (Dtype)t->dt), type_shape(&full));
}

/* d over n lanes; input k is stacked, the others shared. Results of d as they come, with their states. */
static void over_basis(const Graph *d, const Ref *x, int k, int64_t n, Ref *out)
{
    Ref *V = NEWS(Ref, d->nval);
    uint8_t *S = NEWS(uint8_t, d->nval);
    for (int i = 0; i < d->nin; i++)
        V[d->in[i]] = x[i], S[d->in[i]] = i == k ? STACKED : SHARED;
    batch_into(d, V, S, &(Axis){ { .size = n }, 0 }, false);
    for (int i = 0; i < d->nout; i++)
        out[i] = error_pending() ? 0 : stacked(V[d->out[i]], S[d->out[i]], n);
}

/* forward: a directional derivative of y; else a cotangent of x */
static bool joined(const hd_fn *f, bool forward, const Type *y, const Type *x, Type *out)
{
    if (y->rank + x->rank > MAXRANK) {
        FAIL_AT(f, E_SHAPE, "a derivative of %s by %s has more than %d axes", type_text(y), type_text(x),
            MAXRANK);
        return false;
    }
    *out = *y;
    for (int d = 0; d < x->rank; d++)
        out->dim[out->rank++] = x->dim[d];
    out->dt = forward ? y->dt : x->dt;
    return true;
}

/* Everything of a Jacobian but its entries. */
typedef struct Jac {
    const hd_fn *f; const Traced *t; const Tree *args, *value; Wrt w;
    Ref *in;                                    /* inputs of the new graph */
    const Type *x; const Type *y;               /* types of argument leaves, value leaves */
    int nx, ny; int *leaf;                      /* argument leaves asked for, in order */
    Ref *entry; Type *type;                     /* [value leaf][argument leaf] */
    Ref *aux;                                   /* outputs of the inner function */
} Jac;

static void jac_forward(Jac *j)
{
    const Graph *g = j->t->g;
    for (int l = 0; l < j->nx && !error_pending(); l++) {
        bool *wrt = NEWS(bool, g->nin);
        int at = j->t->ncap + j->leaf[l], y = g->nout;
        wrt[at] = true;
        Graph *d = graph_jvp(g, wrt);
        if (!d)
            return;
        Ref *x = NEWS(Ref, d->nin), *r = NEWS(Ref, d->nout);
        for (int i = 0; i < g->nin; i++)
            x[i] = j->in[i];
        const Type *t = &j->x[j->leaf[l]];
        x[g->nin] = basis(t);
        over_basis(d, x, g->nin, type_size(t), r);
        for (int k = 0; k < j->ny && !error_pending(); k++) {
            /* value leaves come first, and are all float */
            Ref c = MoveAxis(r[y + k], 0, j->y[k].rank);
            j->entry[k * j->nx + l] = Reshape(c, type_shape(&j->type[k * j->nx + l]));
        }
    }
}

static void jac_reverse(Jac *j)
{
    const Graph *g = j->t->g;
    Graph *v = graph_vjp(g, j->w.in);
    if (!v)
        return;
    Ref *x = NEWS(Ref, v->nin), *r = NEWS(Ref, v->nout), *o = NEWS(Ref, v->nout);
    for (int k = 0; k < j->ny && !error_pending(); k++) {
        for (int i = 0; i < v->nin; i++)
            x[i] = i < g->nin ? j->in[i] : i == g->nin + k ? basis(&j->y[k]) : Zeros(&v->type[v->in[i]]);
        over_basis(v, x, g->nin + k, type_size(&j->y[k]), r);
        in_order(&j->w, j->args, j->t->ncap, r + g->nout, o);
        for (int l = 0; l < j->nx && !error_pending(); l++)
            j->entry[k * j->nx + l] = Reshape(o[l], type_shape(&j->type[k * j->nx + l]));
    }
}

/* The value's tree with a tree of derivatives at each leaf. */
static const Tree *tree_of_trees(const Tree *t, const Tree *const **next)
{
    if (t->kind != T_DICT && t->kind != T_TUPLE)
        return t->nleaf ? *(*next)++ : t;
    const Tree **p = NEWS(const Tree *, t->n);
    for (int i = 0; i < t->n; i++)
        p[i] = tree_of_trees(t->part[i], next);
    return tree_like(t, p);
}

static const Tree *jac_tree(const Jac *j)
{
    const Tree **leaf = NEWS(const Tree *, j->ny), **part = NEWS(const Tree *, j->w.n);
    const Type *type = j->type;
    for (int k = 0; k < j->ny; k++) {
        for (int i = 0; i < j->w.n; i++)
            part[i] = tree_retype(j->args->part[j->w.arg[i]], &type);
        leaf[k] = per_argument(&j->w, part);
    }
    const Tree *const *next = leaf;
    return tree_of_trees(j->value, &next);
}

/* Forwards a complex argument has two directions, and backwards a complex result has two cotangents, unless
 * the function is complex differentiable. 0, or a code. */
static int jac_complex(const Jac *j, int y)
{
    bool forward = j->f->key.kind == FN_JACFWD, whole = j->f->key.holomorphic;
    if (whole && !dtype_complex((Dtype)j->y[y].dt))
        return FAIL_AT(j->f, E_DIFF, "with .holomorphic the result%s of %s must be complex, not %s",
            tree_path(j->value, y), fn_name(j->f), type_text(&j->y[y]));
    if (!whole && !forward && dtype_complex((Dtype)j->y[y].dt))
        return FAIL_AT(j->f, E_DIFF,
            "hd_jacrev: the result%s of %s is %s: take parts of it, or, of a function that is complex "
            "differentiable, say .holomorphic = true",
            tree_path(j->value, y), fn_name(j->f), type_text(&j->y[y]));
    for (int l = 0; l < j->nx && !whole && forward; l++)
        if (dtype_complex((Dtype)j->x[j->leaf[l]].dt))
            return FAIL_AT(j->f, E_DIFF,
                "hd_jacfwd: an argument of %s is %s: give parts of it, or, of a function that is complex "
                "differentiable, say .holomorphic = true",
                fn_name(j->f), type_text(&j->x[j->leaf[l]]));
    return 0;
}

static int jac_types(Jac *j)
{
    leaf_types(j->args, &j->x);
    leaf_types(j->value, &j->y);
    j->ny = j->value->nleaf;
    j->leaf = NEWS(int, j->args->nleaf);
    for (int i = 0; i < j->w.n; i++)
        for (int l = 0, at = first_leaf(j->args, j->w.arg[i]); l < j->args->part[j->w.arg[i]]->nleaf; l++)
            j->leaf[j->nx++] = at + l;
    j->entry = NEWS(Ref, j->nx * j->ny), j->type = NEWS(Type, j->nx * j->ny);
    for (int k = 0; k < j->ny; k++) {
        if (jac_complex(j, k))
            return (int)error_code();
        if (!dtype_inexact(j->y[k].dt))
            return FAIL_AT(j->f, E_DIFF,
                "the result%s of %s is %s: only floating-point results have derivatives",
                tree_path(j->value, k), fn_name(j->f), type_text(&j->y[k]));
        for (int l = 0; l < j->nx; l++)
            if (!joined(
                    j->f, j->f->key.kind == FN_JACFWD, &j->y[k], &j->x[j->leaf[l]], &j->type[k * j->nx + l]))
                return (int)error_code();
    }
    return 0;
}

static const Traced *jacobian(const hd_fn *f, const Tree *args)
{
    const char *what = f->key.kind == FN_JACFWD ? "hd_jacfwd" : "hd_jacrev";
    Jac j = { .f = f, .args = args };
    if (!(j.t = graph_of(f->key.inner, args)) || !has_aux(f, what, j.t->out))
        return NULL;
    j.value = tree_strong(f->key.aux ? j.t->out->part[0] : j.t->out);
    if (wrt_of(f, what, args, j.t->ncap, &j.w) || jac_types(&j))
        return NULL;
    transform_open(j.t, args, &j.in);
    (f->key.kind == FN_JACFWD ? jac_forward : jac_reverse)(&j);
    int n = j.nx * j.ny, nout = j.t->g->nout;
    Ref *out = NEWS(Ref, n + nout), *all = NEWS(Ref, nout);
    for (int i = 0; i < n; i++)
        out[i] = j.entry[i];
    const Tree *pair[2] = { jac_tree(&j), NULL };
    if (f->key.aux && !error_pending()) {
        graph_inline(j.t->g, j.in, all);
        for (int i = j.ny; i < nout; i++)
            out[n++] = all[i];
        pair[1] = tree_strong(j.t->out->part[1]);
    }
    return transform_finish(j.t, args, f->key.aux ? tree_tuple(pair, 2) : pair[0], out);
}

/* ==================== partial, parsed */

/* The symbols become captures: they are already the first inputs. */
static const Traced *partial(const hd_fn *f, const Tree *args)
{
    const hd *sym = f->env;
    int n = (int)(f->size / sizeof *sym), leaves = 0;
    const Tree **p = NEWS(const Tree *, n + args->n);
    for (int i = 0; i < n + args->n; i++) {
        p[i] = i >= n ? args->part[i - n] : sym[i].trace ? sym_type(sym[i]) : tree_nil();
        if (!p[i])
            return NULL;
        leaves += i < n ? p[i]->nleaf : 0;
    }
    const Traced *t = graph_of(f->key.inner, tree_tuple(p, n + args->n));
    if (!t)
        return NULL;
    Cap *cap = NEWS(Cap, t->ncap + leaves);
    int at = t->ncap;
    for (int i = 0; i < t->ncap; i++)
        cap[i] = t->cap[i];
    for (int i = 0; i < n; i++) {
        int k = 0;
        hd *leaf = sym[i].trace ? sym_leaves(sym[i], &k) : NULL;
        for (int j = 0; j < k; j++, at++)
            cap[at] = (Cap){ .sym = leaf[j], .type = t->g->type[t->g->in[at]] };
    }
    Graph *g = arena_copy(t->g, sizeof *t->g);
    g->ncap = at;
    Traced *r = NEW(Traced);
    *r = (Traced){ g, cap, at, args, t->out, t->keys };
    return r;
}

static const Tree *leaves_of(const Graph *g, const Ref *v, int n)
{
    const Tree **p = NEWS(const Tree *, n);
    for (int i = 0; i < n; i++)
        p[i] = tree_leaf(&g->type[v[i]]);
    return tree_tuple(p, n);
}

static const Traced *parsed(const hd_fn *f, const Tree *args)
{
    Graph *g = graph_parse(f->env, f->text);
    if (!g)
        return NULL;
    const Tree *in, *out, *arrays = leaves_of(g, g->in, g->nin), *results = leaves_of(g, g->out, g->nout);
    if (signature_parse(f->env, "args", arrays, &in) || signature_parse(f->env, "result", results, &out))
        return NULL;
    out = out ? out : g->nout == 1 ? results->part[0] : results;
    if (!in || tree_equal(args, arrays))        /* the leaves one by one are always taken */
        in = arrays;
    if (args->n != in->n)
        return FAIL_AT(f, E_INVAL, "%s takes %d arguments, not %d", f->text, in->n, args->n), NULL;
    for (int i = 0; i < in->n; i++)
        if (!tree_equal(args->part[i], in->part[i]))
            return FAIL_AT(f, E_INVAL, "%s: argument %d is %s, the text says %s", f->text, i,
                       tree_text(args->part[i]), tree_text(in->part[i])),
                   NULL;
    g->ncap = 0;
    Traced *t = NEW(Traced);
    *t = (Traced){ g, NULL, 0, args, out, { 0 } };
    return t;
}

/* ==================== checkpoint */

/* A call that is not inlined: reverse mode cuts it where it says. */
static const Traced *checkpoint(const hd_fn *f, const Tree *args)
{
    const Traced *t = graph_of(f->key.inner, args);
    if (!t)
        return NULL;
    Ref *in, *out = NEWS(Ref, t->g->nout);
    Graph *body = t->g;
    Region r = region_plain(CALL, t->g->nin, 0, 0);
    r.remat = true, r.save = f->key.save;
    transform_open(t, args, &in);
    emit_region(&r, t->g->nin, in, 1, &body, out);
    return transform_finish(t, args, tree_strong(t->out), out);
}

/* ==================== all of them */

const Traced *transform(hd_fn *f, const Tree *args)
{
    static const char *const verb[] = {
        [FN_VMAP] = "vmapped",
        [FN_PMAP] = "mapped over devices",
        [FN_CHECKPOINT] = "checkpointed",
        [FN_GRAD] = "differentiated",
        [FN_JACFWD] = "differentiated",
        [FN_JACREV] = "differentiated",
        [FN_JVP] = "differentiated",
        [FN_VJP] = "differentiated",
        [FN_LINEARIZE] = "differentiated",
        [FN_LINEARIZED] = "differentiated",
        [FN_CUSTOM_JVP] = "given a rule",
        [FN_CUSTOM_VJP] = "given a rule",
        [FN_CUSTOM_VMAP] = "given a rule",
    };
    Context frame;
    const Traced *t = NULL;
    Loc loc = loc_here();
    if (f->key.kind == FN_PARTIAL)
        return partial(f, args);
    if (f->key.kind == FN_PARSED)
        return parsed(f, args);
    context_push(&frame, verb[f->key.kind], NULL, f->loc);
    loc_set(f->loc);
    switch (f->key.kind) {
    case FN_CHECKPOINT: t = checkpoint(f, args); break;
    case FN_VMAP: case FN_PMAP: t = transform_vmap(f, args); break;
    case FN_GRAD: t = grad(f, args); break;
    case FN_JACFWD: case FN_JACREV: t = jacobian(f, args); break;
    case FN_JVP: t = jvp(f, args); break;
    case FN_VJP: t = vjp(f, args); break;
    case FN_CUSTOM_JVP: case FN_CUSTOM_VJP: case FN_CUSTOM_VMAP: t = custom(f, args); break;
    case FN_LINEARIZE: t = linearize(f, args); break;
    case FN_LINEARIZED: t = linearized(f, args); break;
    default: error_set(E_INTERNAL, "a function of unknown kind %d", (int)f->key.kind);
    }
    context_pop(&frame);
    loc_set(loc);
    return t;
}
