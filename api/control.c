/*
 * control.c - while, fori, cond, switch: user's functions as bodies of regions, over trees. (scan.c has scan
 * and map.)
 *
 * In: functions, and symbols for carry and arguments. Out: one region instruction, its results as trees.
 * Bodies are traced at per-step types; what they capture becomes leading operands, the same ones for all
 * bodies of a region.
 * A carry keeps its types: where it begins as a constant without dtype it takes that of the body's result,
 * as in JAX.
 */
#include "control.h"
#include <string.h>

/* ==================== bodies */

CapSet all_captures(int n, const Traced *const *t)
{
    CapSet s = { 0 };
    for (int i = 0; i < n; i++)
        for (int k = 0; k < t[i]->ncap; k++)
            cap_add(&s, &t[i]->cap[k]);
    return s;
}

Graph *body_graph(const Traced *t, const CapSet *s, const Type *want)
{
    const Graph *g = t->g;
    Graph *h = graph_begin(graph_new());
    Ref *c = NEWS(Ref, s->n), *in = NEWS(Ref, g->nin), *out = NEWS(Ref, g->nout);
    const Tree **leaf = NEWS(const Tree *, g->nout);
    h->name = g->name;
    for (int k = 0; k < s->n; k++)
        c[k] = graph_input(s->cap[k].type, 0);
    for (int k = 0; k < g->nin; k++)
        in[k] = k < t->ncap ? c[cap_find(s, &t->cap[k])] : graph_input(g->type[g->in[k]], 0);
    h->ncap = s->n;
    graph_inline(g, in, out);
    tree_leaves(t->out, leaf);
    for (int k = 0; k < g->nout && want && !error_pending(); k++)
        if (leaf[k]->kind == T_WEAK && want[k].dt != leaf[k]->type.dt)
            out[k] = number(NULL, leaf[k]->value, (Dtype)want[k].dt);
    graph_outputs(out, g->nout);
    graph_end();
    return error_pending() ? NULL : h;
}

const Traced *traced_body(const char *verb, hd_fn *f, const Tree *args)
{
    Context frame;
    Loc loc = loc_here();
    context_push(&frame, verb, NULL, loc);
    const Traced *t = graph_of(f, args);
    context_pop(&frame);
    loc_set(loc);
    return t;
}

/* Does the body give the carry its types again? *carry changes where it was a constant: then trace the body
 * again. */
static int carry_again(const char *what, const Tree **carry, const Tree *out, bool *changed)
{
    const Tree **a = NEWS(const Tree *, (*carry)->nleaf), **b = NEWS(const Tree *, out->nleaf);
    *changed = false;
    if (!tree_same_shape(*carry, out))
        return error_set(E_INVAL, "%s: the carry is %s, but the body returns %s", what, tree_text(*carry),
                         tree_text(out));
    Type *type = NEWS(Type, (*carry)->nleaf);
    tree_leaves(*carry, a), tree_leaves(out, b), tree_types(*carry, type);
    for (int k = 0; k < out->nleaf; k++) {
        if (b[k]->kind == T_WEAK ? !type[k].rank : type_equal(&type[k], &b[k]->type))
            continue;
        if (a[k]->kind != T_WEAK || b[k]->type.rank)
            return error_set(type[k].dt == b[k]->type.dt ? E_SHAPE : E_DTYPE,
                "%s: the carry%s changes type: it is %s, the body "
                "returns %s",
                what, tree_path(*carry, k), type_text(&type[k]), type_text(&b[k]->type));
        type[k] = b[k]->type;
        *changed = true;
    }
    if (*changed) {
        const Type *next = type;
        *carry = tree_retype(*carry, &next);
    }
    return 0;
}

const Traced *loop_body(Looping loop, hd_fn *f, const Tree **args, int n, int at)
{
    bool changed = true;
    const Traced *t = NULL;
    while (changed) {
        const Tree *given = args[at];
        args[at] = tree_strong(given);
        t = traced_body(loop.verb, f, tree_tuple(args, n));
        args[at] = given;
        if (!t)
            return NULL;
        if (loop.pair && (t->out->kind != T_TUPLE || t->out->n != 2)) {
            error_set(E_INVAL, "%s: %s must return tuple(carry, y), not %s", loop.what, fn_name(f),
                tree_text(t->out));
            return NULL;
        }
        if (carry_again(loop.what, &args[at], loop.pair ? t->out->part[0] : t->out, &changed))
            return NULL;
    }
    return t;
}

int values(hd tree, const Type *type, Ref *out)
{
    int n = 0;
    hd *leaf = tree.trace ? sym_leaves(tree, &n) : NULL;
    for (int k = 0; k < n; k++)
        if (!(out[k] = type ? sym_ref_as(leaf[k], (Dtype)type[k].dt) : sym_ref(leaf[k])))
            return (int)error_code();
    return 0;
}

const Tree *tree_or_nothing(hd x)
{
    return x.trace ? sym_type(x) : error_pending() ? NULL : tree_nil();
}

hd built(const Tree *t, const Ref *out)
{
    hd y = HD_NIL;
    if (!error_pending())
        sym_build(tree_strong(t), out, &y);
    return y;
}

/* ==================== while */

/* The condition, or the step, of a loop that also counts: its number of steps so far is the first of what
 * goes round. */
static Graph *with_count(const Graph *b, int ncap, int64_t trips, bool condition)
{
    Ref *in = NEWS(Ref, b->nin), *out = NEWS(Ref, b->nout + 1), count = 0;
    graph_begin(graph_new());
    for (int k = 0; k <= b->nin; k++) {
        if (k == ncap)
            count = graph_input(type_scalar(DT_I32), 0);
        if (k < b->nin)
            in[k] = graph_input(b->type[b->in[k]], 0);
    }
    graph_inline(b, in, out + 1);
    if (condition)
        out[1] = And(out[1], Lt(count, Const(DT_I32, (double)trips)));
    else
        out[0] = Add(count, Const(DT_I32, 1));
    graph_outputs(out + condition, condition ? 1 : b->nout + 1);
    return graph_end();
}

/* (captures, carry, goes) -> goes: what the step before found; or the step, which then asks the
 * condition. */
static Graph *asks_itself(Graph *const *sub, int ncap, bool condition)
{
    const Graph *b = sub[1];
    int n = b->nin, nout = b->nout;
    Ref *in = NEWS(Ref, n + 1), *out = NEWS(Ref, nout + 1);
    graph_begin(graph_new());
    for (int k = 0; k <= n; k++)
        in[k] = graph_input(k < n ? b->type[b->in[k]] : type_scalar(DT_BOOL), 0);
    if (!condition) {
        graph_inline(b, in, out);
        for (int k = 0; k < nout; k++)
            in[ncap + k] = out[k];
        graph_inline(sub[0], in, out + nout);
    }
    graph_outputs(condition ? &in[n] : out, condition ? 1 : nout + 1);
    return graph_end();
}

/* A condition with effects is asked before the loop and at the end of each step; what it finds goes
 * round. */
static void carry_condition(Graph **sub, Region *r, Ref *in, int nin)
{
    Graph *first = sub[0], *own[2] = { asks_itself(sub, r->ncap, true), asks_itself(sub, r->ncap, false) };
    graph_inline(first, in, &in[nin]);
    sub[0] = own[0], sub[1] = own[1];
    r->ncarry++;
}

/* Of a while that nobody bounds: keys that come back within so many steps are taken to be used again. */
enum { SOME_TRIPS = 3 };

/* Two traces at a carry, its types and values, and the results: hence the parameters. cond and body
 * are at the carry's types. */
static void while_region(const Traced *cond, const Traced *body, const Type *want, int n, const Ref *carry,
                         const hd_while_opts *o, Ref *out)
{
    const Traced *t[2] = { cond, body };
    CapSet caps = all_captures(2, t);
    if (keys_loop(2, t, n, carry, NULL, o->max_trips > 0 ? o->max_trips : SOME_TRIPS))
        return;
    int ncap = caps.n;
    Type yes = type_scalar(DT_BOOL);
    Graph *sub[2] = { body_graph(cond, &caps, &yes), body_graph(body, &caps, want) };
    int counts = o->max_trips > 0;
    Ref *in = NEWS(Ref, ncap + n + 2), *all = NEWS(Ref, n + 2);
    caps_ref(caps.cap, ncap, in);
    in[ncap] = Const(DT_I32, 0);
    for (int k = 0; k < n; k++)
        in[ncap + counts + k] = carry[k];
    for (int k = 0; k < 2 && counts && !error_pending(); k++)
        sub[k] = with_count(sub[k], ncap, o->max_trips, k == 0);
    if (error_pending())
        return;
    Region r = region_plain(WHILE, ncap, 0, n + counts);
    r.trips = o->max_trips;
    if (graph_effect(sub[0]))
        carry_condition(sub, &r, in, ncap + r.ncarry);
    emit_region(&r, ncap + r.ncarry, in, 2, sub, all);
    for (int k = 0; k < n; k++)
        out[k] = all[k + counts];
}

static bool trips_given(const char *what, const hd_while_opts *o)
{
    if (o->unroll < 0)
        return error_set(E_INVAL, "%s: .unroll is %lld: it is a number of steps, or HD_ALL", what,
                   (long long)o->unroll),
               false;
    if (o->max_trips >= 0 && o->max_trips <= INT32_MAX)
        return true;
    error_set(E_INVAL, "%s: .max_trips is %lld: it is a number of steps, at most 2^31 - 1", what,
        (long long)o->max_trips);
    return false;
}

static bool is_condition(const Tree *t)
{
    return t->kind == T_WEAK || (t->kind == T_LEAF && t->type.dt == DT_BOOL && !t->type.rank);
}

hd hd_while_n(hd_fn *cond, hd_fn *body, hd init, const hd_while_opts *o)
{
    OP(hd_while_n);
    OPTIONS(hd_while_opts, o);
    const Tree *carry =
        fn_in("hd_while", cond) && fn_in("hd_while", body) && tracing() ? sym_type(init) : NULL;
    if (!carry || !trips_given("hd_while", o))
        return HD_NIL;
    if (o->unroll > 1) {
        error_set(E_INVAL,
            "hd_while: .unroll is for hd_scan, and for hd_fori with constant bounds: data say how many "
            "steps a while "
            "takes");
        return HD_NIL;
    }
    const Traced *b = loop_body((Looping){ "hd_while", "looped", false }, body, &carry, 1, 0), *c = NULL;
    const Tree *strong = tree_strong(carry);
    if (!b || !(c = traced_body("looped", cond, tree_tuple(&strong, 1))))
        return HD_NIL;
    if (!is_condition(c->out)) {
        error_set(E_INVAL, "hd_while: the condition must be bool[], not %s", tree_text(c->out));
        return HD_NIL;
    }
    int n = carry->nleaf;
    Type *want = NEWS(Type, n);
    Ref *in = NEWS(Ref, n), *out = NEWS(Ref, n);
    tree_types(strong, want);
    if (values(init, want, in))
        return HD_NIL;
    while_region(c, b, want, n, in, o, out);
    return built(carry, out);
}

/* ==================== fori: a scan where the bounds are constants, else a while */

/* (captures, i, carry) -> (i + 1, carry'): the counter goes round the loop. */
static const Traced *counted(const Traced *t)
{
    const Graph *g = t->g;
    Graph *h = graph_begin(graph_new());
    Ref *in = NEWS(Ref, g->nin), *out = NEWS(Ref, g->nout + 1);
    h->name = g->name;
    for (int k = 0; k < g->nin; k++)
        in[k] = graph_input(g->type[g->in[k]], 0);
    h->ncap = t->ncap;
    out[0] = Add(in[t->ncap], Like(in[t->ncap], 1));
    graph_inline(g, in, out + 1);
    graph_outputs(out, g->nout + 1);
    graph_end();
    const Tree *part[2] = { t->in->part[0], t->out }, *unit = tree_tuple(NULL, 0);
    Traced *r = NEW(Traced);
    *r = (Traced){ h, t->cap, t->ncap, t->in, tree_tuple(part, 2), keys_counted(t->keys) };
    part[0] = r->out, part[1] = unit;
    r->out = tree_tuple(part, 2);               /* tuple(carry, y) of a scan without y */
    return error_pending() ? NULL : r;
}

/* (upper, i, carry) -> i < upper */
static const Traced *below(const Traced *counter, Ref upper)
{
    const Graph *g = counter->g;
    Graph *h = graph_begin(graph_new());
    Type t = g->type[g->in[counter->ncap]];
    Ref hi = graph_input(t, 0), i = 0;
    for (int k = counter->ncap; k < g->nin; k++) {
        Ref v = graph_input(g->type[g->in[k]], 0);
        i = k == counter->ncap ? v : i;
    }
    Ref yes = Lt(i, hi);
    h->ncap = 1;
    graph_outputs(&yes, 1);
    graph_end();
    Cap *cap = NEW(Cap);
    *cap = (Cap){ .sym = sym_of(upper), .type = t };
    Type b = type_scalar(DT_BOOL);
    Traced *r = NEW(Traced);
    *r = (Traced){ h, cap, 1, counter->in, tree_leaf(&b), { 0 } };
    return error_pending() ? NULL : r;
}

static bool known(Ref v, int64_t *n)
{
    Type t = *typ(v);
    int64_t bits;
    if (!const_of(v, &bits))
        return false;
    char b[8];
    dtype_store_i((Dtype)t.dt, b, bits);
    *n = dtype_load_i((Dtype)t.dt, b);
    return true;
}

/* Both bounds as values of one integer dtype. */
static int bounds(hd lower, hd upper, Ref *b)
{
    hd x[2] = { lower, upper };
    bool weak[2] = { sym_weak(lower, NULL), sym_weak(upper, NULL) };
    for (int k = 0; k < 2; k++)
        if (!weak[k] && !(b[k] = sym_ref(x[k])))
            return (int)error_code();
    Dtype d = !weak[0] ? (Dtype)typ(b[0])->dt : !weak[1] ? (Dtype)typ(b[1])->dt : DT_I32;
    for (int k = 0; k < 2; k++) {
        if (weak[k] && dtype_int(d) && !(b[k] = sym_ref_as(x[k], d)))
            return (int)error_code();
        if (!dtype_int(d) || typ(b[k])->dt != d || typ(b[k])->rank)
            return error_set(E_DTYPE,
                "hd_fori: the bounds must be integer scalars of one dtype, not %s and %s", hd_str(lower),
                hd_str(upper));
    }
    return 0;
}

hd hd_fori_n(hd lower, hd upper, hd_fn *body, hd init, const hd_while_opts *o)
{
    OP(hd_fori_n);
    OPTIONS(hd_while_opts, o);
    Ref b[2];
    int64_t lo, hi;
    if (!fn_in("hd_fori", body) || !tracing() || !trips_given("hd_fori", o) || bounds(lower, upper, b))
        return HD_NIL;
    const Tree *args[2] = { tree_leaf(typ(b[0])), sym_type(init) };
    const Traced *t = args[1] ? loop_body((Looping){ "hd_fori", "looped", false }, body, args, 2, 1) : NULL;
    if (!t)
        return HD_NIL;
    int n = args[1]->nleaf + 1;
    Type *want = NEWS(Type, n);
    Ref *in = NEWS(Ref, n), *out = NEWS(Ref, n);
    want[0] = *typ(b[0]), in[0] = b[0];
    tree_types(args[1], want + 1);
    const Traced *c = values(init, want + 1, in + 1) ? NULL : counted(t), *cond;
    if (!c)
        return HD_NIL;
    if (!o->max_trips && known(b[0], &lo) && known(b[1], &hi)) {
        bool none = dtype_unsigned((Dtype)want[0].dt) ? (uint64_t)hi <= (uint64_t)lo : hi <= lo;
        uint64_t steps = none ? 0 : (uint64_t)hi - (uint64_t)lo;
        if (steps > INT64_MAX) {
            error_set(E_INVAL, "hd_fori: the bounds are more than 2^63 - 1 steps apart");
            return HD_NIL;
        }
        scan_region(
            c, want, n, in, 0, NULL, &(hd_scan_opts){ .length = (int64_t)steps, .unroll = o->unroll }, out);
    } else if (o->unroll > 1) {
        error_set(E_INVAL, "hd_fori: .unroll is for bounds that are constants, without .max_trips");
        return HD_NIL;
    } else if ((cond = below(c, b[1])))
        while_region(cond, c, want, n, in, o, out);
    return built(args[1], out + 1);
}

/* ==================== cond and switch */

/* The common type of the branches' results; constants take the dtype of the others. want: by leaf. */
static int branch_types(const char *what, int n, const Traced *const *t, Type *want)
{
    const Tree *first = t[0]->out;
    const Tree **leaf = NEWS(const Tree *, first->nleaf);
    bool *typed = NEWS(bool, first->nleaf);
    tree_types(first, want);
    for (int i = 0; i < n; i++) {
        if (!tree_same_shape(first, t[i]->out))
            return error_set(E_INVAL, "%s: the branches return different trees: %s and %s", what,
                tree_text(first), tree_text(t[i]->out));
        tree_leaves(t[i]->out, leaf);
        for (int k = 0; k < first->nleaf; k++)
            if (leaf[k]->kind != T_WEAK && !typed[k])
                typed[k] = true, want[k] = leaf[k]->type;
    }
    for (int i = 0; i < n; i++) {
        tree_leaves(t[i]->out, leaf);
        for (int k = 0; k < first->nleaf; k++)
            if (leaf[k]->kind == T_WEAK ? want[k].rank != 0 : !type_equal(&want[k], &leaf[k]->type))
                return error_set(E_SHAPE,
                    "%s: the branches return different types: the result%s is %s, and %s in "
                    "branch %d",
                    what, tree_path(first, k), type_text(&want[k]), tree_text(leaf[k]), i);
    }
    return 0;
}

static hd branches(const char *what, Ref index, int n, hd_fn *const *f, const hd *args, int nargs)
{
    nargs = sym_count(what, args, nargs);
    if (nargs < 0)
        return HD_NIL;
    const Tree **at = NEWS(const Tree *, nargs);
    const Traced **t = NEWS(const Traced *, n);
    for (int i = 0; i < nargs; i++)
        if (!(at[i] = tree_or_nothing(args[i])))
            return HD_NIL;
    for (int i = 0; i < nargs; i++)
        at[i] = tree_strong(at[i]);
    const Tree *in_tree = tree_tuple(at, nargs);
    for (int i = 0; i < n; i++)
        if (!fn_in(what, f[i]) || !(t[i] = traced_body("chosen", f[i], in_tree)))
            return HD_NIL;
    int nout = t[0]->g->nout, leaf = 0;
    Type *want = NEWS(Type, nout);
    if (branch_types(what, n, t, want))
        return HD_NIL;
    CapSet caps = all_captures(n, t);
    int ncap = caps.n;
    Graph **sub = NEWS(Graph *, n);
    for (int i = 0; i < n; i++)
        if (!(sub[i] = body_graph(t[i], &caps, want)))
            return HD_NIL;
    Ref *in = NEWS(Ref, 1 + ncap + in_tree->nleaf), *out = NEWS(Ref, nout);
    in[0] = index;
    caps_ref(caps.cap, ncap, in + 1);
    for (int i = 0; i < nargs; i++) {
        if (values(args[i], NULL, in + 1 + ncap + leaf))
            return HD_NIL;
        leaf += at[i]->nleaf;
    }
    if (error_pending())
        return HD_NIL;
    if (keys_branches(n, t, in + 1 + ncap))
        return HD_NIL;
    Region r = region_plain(COND, ncap + leaf, 0, 0);
    emit_region(&r, 1 + ncap + leaf, in, n, sub, out);
    return built(t[0]->out, out);
}

hd hd_cond_n(hd pred, hd_fn *yes, hd_fn *no, const hd *args, int n)
{
    OP(hd_cond_n);
    Ref p = fn_in("hd_cond", yes) && fn_in("hd_cond", no) ? sym_ref(pred) : 0;
    if (!p)
        return HD_NIL;
    if (typ(p)->rank) {
        error_set(E_SHAPE,
            "hd_cond: the predicate is %s, not a scalar: choose elements with hd_where, or write the "
            "function for "
            "one example and hd_vmap it",
            type_text(typ(p)));
        return HD_NIL;
    }
    if (typ(p)->dt != DT_BOOL)
        p = Ne(p, Like(p, 0));
    return branches("hd_cond", Convert(p, DT_I32), 2, (hd_fn *[]){ no, yes }, args, n);
}

hd hd_switch_n(hd index, hd_fns f, const hd *args, int n)
{
    OP(hd_switch_n);
    double v;
    Ref i = sym_weak(index, &v) ? sym_ref_as(index, DT_I32) : sym_ref(index);
    if (!i)
        return HD_NIL;
    Type t = *typ(i);
    if (list_in("hd_switch", f.f, f.n, 0))
        return HD_NIL;
    if (t.rank || !dtype_int((Dtype)t.dt) || f.n < 1) {
        error_set(t.rank ? E_SHAPE : E_DTYPE,
            "hd_switch: the index is %s, an integer scalar is wanted; there are %d "
            "branches",
            type_text(&t), f.n);
        return HD_NIL;
    }
    if (dtype_size((Dtype)t.dt) >= 4 && t.dt != DT_I32)         /* clamped before it is narrowed */
        i = Min(Max(i, Like(i, 0)), Const((Dtype)t.dt, f.n - 1));
    i = Convert(i, DT_I32);
    return branches("hd_switch", i, f.n, f.f, args, n);
}

/* ==================== */

static hd stop(const hd *x, int n, void *env)
{
    (void)n, (void)env;
    return sym_weak(*x, NULL) ? *x : sym_of(StopGradient(sym_ref(*x)));
}

hd hd_stop_gradient(hd x)
{
    OP(hd_stop_gradient);
    return sym_map("hd_stop_gradient", stop, NULL, 1, &x);
}

static hd name_leaf(const hd *x, int n, void *name)
{
    (void)n;
    Ref r = sym_ref(x[0]);
    return sym_of(r ? NameValue(r, name) : 0);
}

hd hd_checkpoint_name(hd x, const char *name)
{
    OP(hd_checkpoint_name);
    if (name && name[0] && !strpbrk(name, ", "))
        return sym_map("hd_checkpoint_name", name_leaf, (void *)(uintptr_t)intern(name), 1, &x);
    error_set(
        E_INVAL, "hd_checkpoint_name: %s is no name: it has no spaces and commas", name ? name : "NULL");
    return HD_NIL;
}

hd hd_apply_n(hd_fn *f, const hd *args, int n)
{
    OP(hd_apply_n);
    n = fn_in("hd_apply", f) ? sym_count("hd_apply", args, n) : -1;
    return n < 0 ? HD_NIL : apply(f, args, n);
}
