/*
 * rules.c - functions with rules of the user's own: hd_custom_jvp, hd_custom_vjp, hd_custom_vmap.
 *
 * In:  a function, its rules, the types of its arguments. Out: a Traced whose graph is one call with a rule
 * (graph.h). The rule
 *      is an object that knows how to trace the user's functions when a transform asks for them, and what
 *      their results must be like; graphs see leaves, so trees are taken apart here.
 * Traced when asked, a rule may apply its own function. By then the traces around the function have ended.
 * Where it or a rule of derivatives holds symbols of them, the rule is traced at once instead, and what it
 * captures are operands of the call. A rule for lanes cannot be, as their number is not known, nor can
 * what a rule that is traced at once applies itself, which might be its own function: such a rule is asked
 * later, as a closure (closure.c).
 */
#include "api.h"
#include <string.h>

enum { ASK, BWD, PUSH };                        /* the rule, or fwd; of custom_vjp alone; of hd_root too */
typedef struct FnRule {
    Rule r;                                     /* first: this is what graphs hold */
    /* what to trace; NULL: said is all there is, or it is later that knows */
    hd_fn *part[3];
    const Closure *later;
    const Tree *in, *out, *saved;               /* arguments, a tuple; result; RULE_BACK: what fwd saved */
    const Bound *axes;                          /* named axes around the call */
    const Type *captures; int ncaptures;        /* types of the first operands of the call */
    Said said, pushed;                          /* what was asked at once */
} FnRule;

/* ==================== what a rule returns */

/* Where a part of what the rule returned is in what is wanted, for messages. */
typedef struct Fit {
    const FnRule *rule;
    const char *what;
    const Tree *root;
    bool absent;
    int leaf;
    const Type *bad;
} Fit;

static const char *place_of(const FnRule *r)
{
    return arena_text("%s:%d", r->r.loc.file ? r->r.loc.file : "?", r->r.loc.line);
}

static bool misfit(const FnRule *r, const char *what, const Tree *got, const Tree *want, bool absent)
{
    error_set(E_INVAL, "%s: %s that its rule, given at %s, returns is %s, where %s is wanted%s", r->r.name,
        what, place_of(r), tree_text(got), tree_text(want),
        absent ? ": of the same shapes and dtypes; HD_NIL is zero" : "");
    return false;
}

/* Takes what is wanted out of the leaves that the rule returned, from `at` on. absent: HD_NIL may
 * stand for a part, which gives 0; so do leaves that are no floats. Its parameters are a tree with its
 * leaves on either side. */
static bool taken(const FnRule *r, const char *what, const Tree *want, const Tree *have, bool absent,
    const Ref *leaf, Ref *out)
{
    int *got = NEWS(int, want->nleaf);
    const Tree **weak = NEWS(const Tree *, have->nleaf);
    Type *type = NEWS(Type, want->nleaf);
    if (!tree_given(want, have, absent, got))
        return misfit(r, what, have, want, absent);
    tree_leaves(have, weak), tree_types(want, type);
    for (int k = 0; k < want->nleaf; k++) {
        bool none = got[k] < 0 || (absent && !dtype_inexact((Dtype)type[k].dt));
        out[k] = none                    ? 0 :
            weak[got[k]]->kind == T_WEAK ? number(what, weak[got[k]]->value, (Dtype)type[k].dt) :
                                           leaf[got[k]];
    }
    return !error_pending();
}

static const Tree *pair_of(const FnRule *r, const char *pair, const Tree *t)
{
    if (t->kind == T_TUPLE && t->n == 2)
        return t;
    error_set(E_INVAL, "%s: its rule, given at %s, must return tuple(%s), not %s", r->r.name, place_of(r),
        pair, tree_text(t));
    return NULL;
}

/* ==================== tracing a rule */

/* The named axes that were around the call are around its rule. */
static const Bound *axes_copy(const Bound *b)
{
    if (!b)
        return NULL;
    Bound *c = NEW(Bound);
    *c = *b, c->home = NULL, c->up = (Bound *)axes_copy(b->up);
    return c;
}

static const Traced *rule_traced(const FnRule *r, int which, const Tree *const *part, int n)
{
    Context frame;
    Loc loc = loc_here();
    Bound *around = axes_bound;
    const Tree *args = tree_tuple(part, n);
    context_push(&frame, "by the rule given", NULL, r->r.loc);
    axes_bound = (Bound *)axes_copy(r->axes);
    const Traced *t = r->later ? closure_traced(r->later, which, args) : graph_of(r->part[which], args);
    axes_bound = around;
    context_pop(&frame);
    loc_set(loc);
    return t;
}

/* How a rule that is asked later captures what it holds; NULL: it is not asked later. */
static const CapSet *held_captures(const FnRule *r)
{
    CapSet *s = r->later ? NEW(CapSet) : NULL;
    for (int k = 0; s && k < r->ncaptures; k++)
        cap_add(s, &(Cap){ .sym = closure_sym(k), .type = r->captures[k] });
    return s;
}

/* ---- the graph that a rule says: captures, then what the caller adds */

typedef struct Saying { const FnRule *rule; const Traced *t; Ref *in, *out; int nin; } Saying;

/* Begins the graph, with the captures of the call. closed: where those of the rule are among them; NULL: the
 * rule is traced apart, and has data alone, which become constants. */
static void saying(Saying *s, const FnRule *r, const Traced *t, const CapSet *closed)
{
    *s = (Saying){ r, t, NEWS(Ref, t->g->nin), NEWS(Ref, t->g->nout), t->ncap };
    graph_begin(graph_new())->name = t->g->name;
    Ref *c = NEWS(Ref, r->ncaptures);
    for (int k = 0; k < r->ncaptures; k++)
        c[k] = graph_input(r->captures[k], 0);
    for (int k = 0; k < t->ncap && !error_pending(); k++) {
        const Cap *cap = &t->cap[k];
        if (closed && cap_find(closed, cap) >= 0)
            s->in[k] = c[cap_find(closed, cap)];
        else if (cap->data)
            s->in[k] = Data(cap->type, store_host(cap->data));
        else
            error_set(E_TRACE,
                "%s: its rule, given at %s, uses a symbol of a program around it: give it by hd_partial or "
                "hd_bind, or "
                "as an argument",
                r->r.name, place_of(r));
    }
}

static void say_inputs(Saying *s, const Tree *t, bool cotangents)
{
    Type *type = NEWS(Type, t->nleaf);
    tree_types(t, type);
    for (int k = 0; k < t->nleaf; k++)          /* integers have no tangents: theirs are zeros */
        s->in[s->nin++] =
            cotangents && !dtype_inexact((Dtype)type[k].dt) ? Zeros(&type[k]) : graph_input(type[k], 0);
}

static bool said(Saying *s)
{
    if (error_pending())
        return false;
    graph_inline(s->t->g, s->in, s->out);
    return !error_pending();
}

static bool say_end(const Ref *out, int n, Said *to)
{
    graph_outputs(out, n);
    to->g = graph_end();
    return !error_pending();
}

/* Tangents, or cotangents, of float leaves that are not 0, behind the n outputs there are. */
static int say_given(const Tree *t, const Ref *d, Ref *out, int n, Said *to)
{
    Type *type = NEWS(Type, t->nleaf);
    bool *given = NEWS(bool, t->nleaf);
    int fl = 0;
    tree_types(t, type);
    for (int k = 0; k < t->nleaf; k++) {
        if (!dtype_inexact((Dtype)type[k].dt))
            continue;
        if ((given[fl++] = d[k] != 0))
            out[n++] = d[k];
    }
    to->given = given;
    return n;
}

/* ---- by kind */

/* Values may not depend on tangents. */
static bool values_apart(const FnRule *r, const Graph *g, int nin)
{
    bool *in = NEWS(bool, g->nin), *on = NEWS(bool, g->nval);
    for (int k = nin; k < g->nin; k++)
        in[k] = true;
    affected(g, in, false, NULL, on);
    for (int k = 0; k < r->out->nleaf; k++)
        if (on[g->out[k]]) {
            error_set(E_DIFF,
                "%s: the value that its rule, given at %s, returns depends on the tangents it is given",
                r->r.name, place_of(r));
            return false;
        }
    return true;
}

static const Traced *jvp_traced(const FnRule *r)
{
    int n = r->in->n;
    const Tree **part = NEWS(const Tree *, 2 * n);
    for (int k = 0; k < 2 * n; k++)
        part[k] = r->in->part[k % n];
    return rule_traced(r, ASK, part, 2 * n);
}

static bool say_jvp(const FnRule *r, const Traced *t, const CapSet *closed, Said *to)
{
    Saying s;
    const Tree *y = t ? pair_of(r, "y, dy", t->out) : NULL;
    int ny = r->out->nleaf, nin = r->r.nclosed + r->in->nleaf;
    if (!y)
        return false;
    Ref *out = NEWS(Ref, 2 * ny), *dy = NEWS(Ref, ny);
    saying(&s, r, t, closed);
    say_inputs(&s, r->in, false), say_inputs(&s, r->in, true);
    bool good = said(&s) && taken(r, "the value", r->out, y->part[0], false, s.out, out)
        && taken(r, "the tangent", r->out, y->part[1], true, s.out + y->part[0]->nleaf, dy);
    int n = good ? say_given(r->out, dy, out, ny, to) : 0;
    return say_end(out, n, to) && good && values_apart(r, to->g, nin);
}

static const Traced *fwd_traced(const FnRule *r) { return rule_traced(r, ASK, r->in->part, r->in->n); }

static const Traced *back_traced(const FnRule *r)
{
    return rule_traced(r, BWD, (const Tree *[]){ r->saved, r->out }, 2);
}

static bool say_back(const FnRule *r, const Traced *t, const CapSet *closed, Said *to)
{
    Saying s;
    const Tree *dx = r->in->n == 1 ? r->in->part[0] : r->in;
    if (!t)
        return false;
    Ref *out = NEWS(Ref, dx->nleaf), *d = NEWS(Ref, dx->nleaf);
    saying(&s, r, t, closed);
    say_inputs(&s, r->saved, false), say_inputs(&s, r->out, true);
    bool good = said(&s) && taken(r, "the cotangent", dx, t->out, true, s.out, d);
    int n = good ? say_given(dx, d, out, 0, to) : 0;
    return say_end(out, n, to) && good;
}

/* The way forward: what was saved and tangents, to the tangents of all float results. */
static bool has_push(const FnRule *r) { return r->part[PUSH] || (r->later && closure_has(r->later, PUSH)); }
static const Traced *push_traced(const FnRule *r)
{
    const Tree **part = NEWS(const Tree *, 1 + r->in->n);
    part[0] = r->saved;
    for (int k = 0; k < r->in->n; k++)
        part[1 + k] = r->in->part[k];
    return rule_traced(r, PUSH, part, 1 + r->in->n);
}

static bool say_push(const FnRule *r, const Traced *t, const CapSet *closed, Said *to)
{
    Saying s;
    int n = 0;
    if (!t)
        return false;
    Type *type = NEWS(Type, r->out->nleaf);
    Ref *out = NEWS(Ref, r->out->nleaf), *d = NEWS(Ref, r->out->nleaf);
    tree_types(r->out, type);
    saying(&s, r, t, closed);
    say_inputs(&s, r->saved, false), say_inputs(&s, r->in, true);
    bool good = said(&s) && taken(r, "the tangent", r->out, t->out, true, s.out, d);
    for (int k = 0; good && k < r->out->nleaf; k++)
        if (dtype_inexact((Dtype)type[k].dt))
            out[n++] = d[k] ? d[k] : Zeros(&type[k]);
    return say_end(out, n, to) && good;
}

static bool push(const Rule *rule, int64_t lanes, Said *to)
{
    const FnRule *r = (const FnRule *)rule;
    (void)lanes;
    *to = r->pushed;
    return r->pushed.g || say_push(r, push_traced(r), held_captures(r), to);
}

static bool say_vjp(const FnRule *r, const Traced *t, const CapSet *closed, FnRule *back, Said *to)
{
    Saying s;
    const Tree *y = t ? pair_of(r, "y, saved", t->out) : NULL;
    if (!y)
        return false;
    int ny = r->out->nleaf, nsaved = y->part[1]->nleaf;
    Ref *out = NEWS(Ref, ny + nsaved);
    saying(&s, r, t, closed);
    say_inputs(&s, r->in, false);
    bool good = said(&s) && taken(r, "the value", r->out, y->part[0], false, s.out, out);
    for (int k = 0; k < nsaved; k++)
        out[ny + k] = s.out[y->part[0]->nleaf + k];
    *back = *r;
    back->r.kind = RULE_BACK, back->r.nclosed += nsaved, back->r.push = has_push(r) ? push : NULL;
    back->saved = tree_strong(y->part[1]);
    to->back = &back->r;
    return say_end(out, ny + nsaved, to) && good;
}

static bool say_vmap(const FnRule *r, int64_t lanes, Said *to)
{
    Saying s;
    Type *in = NEWS(Type, r->in->nleaf), *out = NEWS(Type, r->out->nleaf);
    const Type *nin = in, *nout = out;
    tree_types(r->in, in), tree_types(r->out, out);
    for (int k = 0; k < r->in->nleaf; k++)
        in[k] = type_add_lead(&in[k], lanes);
    for (int k = 0; k < r->out->nleaf; k++)
        out[k] = type_add_lead(&out[k], lanes);
    const Tree *args = tree_retype(r->in, &nin), *y = tree_retype(r->out, &nout);
    const Traced *t = rule_traced(r, ASK, args->part, args->n);
    if (!t)
        return false;
    Ref *z = NEWS(Ref, y->nleaf);
    saying(&s, r, t, held_captures(r));
    say_inputs(&s, args, false);
    bool good = said(&s) && taken(r, "the result", y, t->out, false, s.out, z);
    return say_end(z, y->nleaf, to) && good;
}

/* ==================== the object */

static const Tree *tree_kept(const Tree *t) { return t ? tree_copy(t) : NULL; }

static const Rule *copy(const Rule *rule)
{
    FnRule *c = arena_copy(rule, sizeof *c);
    c->in = tree_kept(c->in), c->out = tree_kept(c->out), c->saved = tree_kept(c->saved);
    c->later = closure_copy(c->later);
    c->captures = arena_copy(c->captures, (size_t)c->ncaptures * sizeof *c->captures);
    c->axes = axes_copy(c->axes);
    c->r.axis = arena_copy(c->r.axis, (size_t)c->r.naxis * sizeof *c->r.axis);
    if (c->said.g) {
        int n = c->r.kind == RULE_BACK ? c->in->nleaf : c->out->nleaf;
        c->said.g = graph_clone(c->said.g);
        c->said.given = c->said.given ? arena_copy(c->said.given, (size_t)n) : NULL;
        c->said.back = rule_copy(c->said.back);
    }
    c->pushed.g = c->pushed.g ? graph_clone(c->pushed.g) : NULL;
    return &c->r;
}

/* Asked by a transform. */
static bool say(const Rule *rule, int64_t lanes, Said *to)
{
    const FnRule *r = (const FnRule *)rule;
    *to = r->said;
    if (r->said.g)
        return true;
    switch (r->r.kind) {
    case RULE_JVP: return say_jvp(r, jvp_traced(r), held_captures(r), to);
    case RULE_VJP: return say_vjp(r, fwd_traced(r), held_captures(r), NEW(FnRule), to);
    case RULE_BACK: return say_back(r, back_traced(r), held_captures(r), to);
    default: return say_vmap(r, lanes, to);
    }
}

static bool parts_dead(const FnRule *r)
{
    bool dead = false;
    for (int k = 0; k < 3; k++)
        dead |= r->part[k] && r->part[k]->dead;
    return dead;
}

bool rule_dead(const Graph *g)
{
    for (int n = 0; g->rules && n < g->nins; n++) {
        const Ins *i = g->ins[n];
        const Rule *rule = i->region ? i->region->rule : NULL;
        while (rule && rule->batched)
            rule = rule->batched->rule;
        const FnRule *r = rule && rule->say == say ? (const FnRule *)rule : NULL;
        if (r && (parts_dead(r) || closure_dead(r->later) || (r->said.g && rule_dead(r->said.g)) ||
                (r->pushed.g && rule_dead(r->pushed.g))))
            return true;
        for (int k = 0; k < i->nsub; k++)
            if (rule_dead(i->sub[k]))
                return true;
    }
    return false;
}

/* ==================== a rule that closes over symbols: traced at once */

/* Such rules under way in this thread. What one applies is asked later, or this might never end: a rule may
 * apply its own function, or one made of it, of which the same is true. */
typedef struct Closing { const hd_fn *f; const Tree *args; struct Closing *up; } Closing;
static _Thread_local Closing *closing;

static bool holds_symbols(const hd_fn *f, const Traced *t)
{
    for (int k = 0; k < t->ncap; k++)
        if (!t->cap[k].data)
            return true;
    return f->key.owner != 0;
}

static void add_captures(CapSet *s, const Traced *t)
{
    for (int k = 0; t && k < t->ncap; k++)
        cap_add(s, &t->cap[k]);
}

static void captures_are(FnRule *r, const CapSet *s)
{
    Type *type = NEWS(Type, s->n);
    for (int k = 0; k < s->n; k++)
        type[k] = s->cap[k].type;
    r->captures = type, r->ncaptures = r->r.nclosed = s->n;
}

static bool ask_jvp(FnRule *r, CapSet *s)
{
    const Traced *t = jvp_traced(r);
    add_captures(s, t);
    captures_are(r, s);
    return say_jvp(r, t, s, &r->said);
}

/* What bwd and push capture is known only when they have been traced, and fwd's graph has all captures in
 * front: so fwd is said twice. */
static bool ask_vjp(FnRule *r, CapSet *s)
{
    const Traced *t = fwd_traced(r), *u, *v = NULL;
    FnRule *back = NEW(FnRule);
    add_captures(s, t);
    captures_are(r, s);
    if (!say_vjp(r, t, s, back, &(Said){ 0 }) || !(u = back_traced(back)) ||
        (has_push(r) && !(v = push_traced(back))))
        return false;
    add_captures(s, u), add_captures(s, v);
    captures_are(r, s);
    return say_vjp(r, t, s, back, &r->said) && say_back(back, u, s, &back->said) &&
        (!v || say_push(back, v, s, &back->pushed));
}

/* Its functions end with this trace. */
static bool ends_here(const FnRule *r)
{
    bool some = false;
    for (int k = 0; k < 3; k++)
        some |= r->part[k] && r->part[k]->key.owner;
    return some;
}

static void forget_parts(FnRule *r)
{
    for (int k = 0; k < 3; k++)
        r->part[k] = NULL;
}

static void ask_later(FnRule *r, CapSet *s)
{
    r->later = closure_of(r->part, s);
    captures_are(r, s);
    forget_parts(r);
}

/* ==================== the call */

static FnRule *rule_of(hd_fn *f, const Tree *args, const Traced *t)
{
    FnRule *r = NEW(FnRule);
    int n = 0;
    for (const Bound *b = axes_bound; b; b = b->up)
        n++;
    const char **axis = NEWS(const char *, n);
    *r = (FnRule){ .part = { f->key.rule, f->key.bwd, f->key.push },
        .in = args,
        .out = tree_strong(t->out),
        .axes = axes_copy(axes_bound) };
    r->r = (Rule){ .kind = (uint8_t)(RULE_JVP + (f->key.kind - FN_CUSTOM_JVP)),
        .name = fn_name(f),
        .loc = f->loc,
        .say = say,
        .copy = copy,
        .axis = axis,
        .naxis = n };
    if (f->key.kind == FN_CUSTOM_VMAP)
        r->r.kind = RULE_VMAP;
    n = 0;
    for (const Bound *b = axes_bound; b; b = b->up)
        axis[n++] = b->unique;
    return r;
}

static bool ask_at_once(FnRule *r, hd_fn *f, const Tree *args, CapSet *s)
{
    Closing here = { f, args, closing };
    closing = &here;
    bool good = r->r.kind == RULE_JVP ? ask_jvp(r, s) : ask_vjp(r, s);
    closing = here.up;
    return good;
}

/* The function at these types: captures, arguments -> one call. The call has no line of its own, so it takes
 * that of whoever applies it. */
static const Traced *the_call(const Traced *t, const FnRule *rule, const CapSet *s, const Tree *args)
{
    Region r = region_plain(CALL, s->n + args->nleaf, 0, 0);
    Type *type = NEWS(Type, args->nleaf);
    Ref *in = NEWS(Ref, s->n + args->nleaf), *out = NEWS(Ref, t->g->nout);
    Graph *body = body_graph(t, s, NULL), *g = graph_begin(graph_new());
    g->name = t->g->name, g->ncap = s->n;
    tree_types(args, type);
    for (int k = 0; k < s->n + args->nleaf; k++)
        in[k] = graph_input(k < s->n ? s->cap[k].type : type[k - s->n], 0);
    r.rule = &rule->r;
    Loc loc = loc_set((Loc){ 0 });
    emit_region(&r, s->n + args->nleaf, in, 1, &body, out);
    loc_set(loc);
    graph_outputs(out, t->g->nout);
    graph_end();
    Traced *c = NEW(Traced);
    *c = (Traced){ g, s->cap, s->n, args, rule->out, keys_recaptured(t, s) };
    return error_pending() ? NULL : c;
}

const Traced *custom(hd_fn *f, const Tree *args)
{
    const Traced *t = graph_of(f->key.inner, args);
    if (!t)
        return NULL;
    FnRule *r = rule_of(f, args, t);
    CapSet s = all_captures(1, &t);
    bool good = true;
    captures_are(r, &s);
    if (ends_here(r) && (closing || r->r.kind == RULE_VMAP))
        ask_later(r, &s);
    else if (r->r.kind != RULE_VMAP && holds_symbols(f, t))
        good = ask_at_once(r, f, args, &s);
    if (ends_here(r) && r->said.back)
        forget_parts((FnRule *)r->said.back);
    if (ends_here(r))
        forget_parts(r);
    return good ? the_call(t, r, &s, args) : NULL;
}

/* The very function, from within its rule: it would be taken for one that never ends. */
const Traced *custom_again(hd_fn *f, const Tree *args)
{
    bool rule = f->key.kind == FN_CUSTOM_JVP || f->key.kind == FN_CUSTOM_VJP;
    for (const Closing *c = closing; rule && c; c = c->up)
        if (c->f == f && tree_equal(c->args, args))
            return custom(f, args);
    return NULL;
}

/* ==================== making them */

static hd_fn *with_rule(FnKind kind, hd_fn *f, hd_fn *rule, hd_fn *bwd, hd_fn *push)
{
    hd_fn *const rules[] = { rule, bwd, push };
    error_begin();
    FnKey k = fn_key(kind, f);
    k.rule = rule, k.bwd = bwd, k.push = push;
    for (int i = 0; i < 3; i++)
        if (trace_top && rules[i] && rules[i]->key.owner)
            k.owner = trace_top->owner;
    return fn_make(&k, NULL, 0, f->text);
}

hd_fn *hd_custom_jvp_n(hd_fn *f, hd_fn *rule)
{
    OP(hd_custom_jvp_n);
    bool good = fn_in("hd_custom_jvp", f) && fn_in("hd_custom_jvp", rule);
    return good ? with_rule(FN_CUSTOM_JVP, f, rule, NULL, NULL) : NULL;
}

hd_fn *hd_custom_vjp_n(hd_fn *f, hd_fn *fwd, hd_fn *bwd)
{
    OP(hd_custom_vjp_n);
    bool good = fn_in("hd_custom_vjp", f) && fn_in("hd_custom_vjp", fwd) && fn_in("hd_custom_vjp", bwd);
    return good ? with_rule(FN_CUSTOM_VJP, f, fwd, bwd, NULL) : NULL;
}

hd_fn *fn_both_ways(hd_fn *f, hd_fn *fwd, hd_fn *bwd, hd_fn *push)
{
    return f && fwd && bwd && push ? with_rule(FN_CUSTOM_VJP, f, fwd, bwd, push) : NULL;
}

hd_fn *hd_custom_vmap_n(hd_fn *f, hd_fn *rule)
{
    OP(hd_custom_vmap_n);
    bool good = fn_in("hd_custom_vmap", f) && fn_in("hd_custom_vmap", rule);
    return good ? with_rule(FN_CUSTOM_VMAP, f, rule, NULL, NULL) : NULL;
}
