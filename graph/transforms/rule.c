/*
 * rule.c - calls of functions for which the user has given a rule: a derivative, or what they do to lanes.
 *
 * In:  a call that has a rule, where a transform meets it. Out: the graph that the rule stands for, asked
 * for just now,
 *      called in its place with the call's own lanes; so nothing after this knows of rules.
 *   jvp:   RULE_JVP gives values and tangents. RULE_VJP gives values and what is to be saved, and leaves a
 *   linear call of
 *          kind RULE_BACK from tangents to tangents, which nobody can compute: its body is zeros, its
 *          transpose the rule.
 *   vmap:  the call gets one more lane axis, as any region; RULE_VMAP takes the lanes instead. Where lanes
 *   over a named
 *          axis leave the call, because it may use the axis, its rule becomes one that is batched when it is
 *          asked.
 * Invariant: a RULE_BACK is there only between the jvp and the walk backwards. What is left of one in
 * forward mode becomes the function of tangents that its rule knows, or is refused.
 */
#include "transforms.h"

const char *const rule_word[] = { "jvp", "vjp", "back", "vmap" };

static bool says(const Rule *rule, int64_t lanes, Said *s)
{
    *s = (Said){ 0 };
    return rule->say(rule, lanes, s) && !error_pending();
}

/* ==================== who asks */

void rule_asked(Graph *g, const Region *r, int nsub, Graph *const *sub)
{
    g->rules |= r->rule != NULL;
    for (int k = 0; k < nsub; k++)
        g->rules |= sub[k]->rules;
}

/* May the rule use this axis? Not one that was batched over it. */
static bool may_use(const Rule *rule, const char *axis)
{
    for (const Batched *b = rule->batched; b; b = rule->batched) {
        if (b->lane->name == axis)
            return false;
        rule = b->rule;
    }
    for (int k = 0; k < rule->naxis; k++)
        if (rule->axis[k] == axis)
            return true;
    return false;
}

bool region_asks(const Region *r, int nsub, Graph *const *sub, const char *axis)
{
    if (r->rule && (r->rule->kind == RULE_VMAP || (axis && may_use(r->rule, axis))))
        return true;
    for (int k = 0; k < nsub; k++)
        for (int n = 0; sub[k]->rules && n < sub[k]->nins; n++) {
            const Ins *i = sub[k]->ins[n];
            if (i->op == OP_region && region_asks(i->region, i->nsub, i->sub, axis))
                return true;
        }
    return false;
}

/* ==================== forward mode, through what was left for the walk backwards */

static bool is_back(const Ins *i)
{
    return i->op == OP_region && i->region->rule && i->region->rule->kind == RULE_BACK;
}

/* The first such call, in bodies too. mute: of those whose rule does not know the way forward. */
static const Ins *left_over(const Graph *g, bool mute)
{
    for (int n = 0; g->rules && n < g->nins; n++) {
        const Ins *i = g->ins[n],
                  *found = is_back(i) && !(mute && i->region->rule->push) ? i : NULL;
        for (int k = 0; k < i->nsub && !found; k++)
            found = left_over(i->sub[k], mute);
        if (found)
            return found;
    }
    return NULL;
}

static void refuse(const Ins *i)
{
    const Rule *rule = i->region->rule;
    loc_set(i->loc);
    error_set(E_DIFF,
        "forward mode through %s, whose derivative of its own, given at %s:%d by hd_custom_vjp, is for "
        "reverse "
        "mode: use hd_grad, hd_vjp or hd_jacrev, or give it one with hd_custom_jvp",
        rule->name, rule->loc.file ? rule->loc.file : "?", rule->loc.line);
}

/* The call with the function of tangents in its place; NULL after an error. */
static const Ins *pushed(const Ins *i)
{
    const Rule *rule = i->region->rule;
    Said s = { 0 };
    if (!rule->push(rule, 0, &s) || error_pending())
        return NULL;
    Ins *p = arena_copy(i, sizeof *i);
    Region *r = arena_copy(i->region, sizeof *r);
    r->rule = NULL, r->split = false;
    p->region = r, p->sub = arena_copy(&s.g, sizeof s.g);
    return p;
}

static void forward_ins(const Ins *i, const Ref *x, Ref *out, void *env)
{
    (void)env;
    if (is_back(i) && !(i = pushed(i)))
        return;
    if (i->op != OP_region) {
        again(i, x, out);
        return;
    }
    Draft f = draft_of(i->region, i->nin, x, i->nsub, i->sub);
    for (int k = 0; k < i->nsub; k++)
        f.sub[k] = graph_forward(i->sub[k]);
    if (!error_pending())
        draft_emit(&f, out);
}

Graph *graph_forward(Graph *g)
{
    const Ins *mute = left_over(g, true);
    if (mute)
        refuse(mute);
    else if (left_over(g, false) && (g = graph_map(g, forward_ins, NULL)))
        g = graph_dce(g);
    return error_pending() ? NULL : g;
}

/* ==================== a rule that was text */

static bool say_lost(const Rule *rule, int64_t lanes, Said *s)
{
    static const char *const what[] = { "derivative", "derivative", "derivative", "rule for lanes" };
    (void)lanes, (void)s;
    error_set(E_DIFF, "%s had a %s of its own, which is code: the text of the program does not have it",
        rule->name, what[rule->kind]);
    return false;
}

const Rule *rule_lost(RuleKind kind, int nclosed, const char *name)
{
    Rule *r = NEW(Rule);
    *r = (Rule){ .kind = (uint8_t)kind, .nclosed = nclosed, .name = name, .say = say_lost };
    return r;
}

/* ==================== jvp */

/* A plain call over the lanes of r, with room for operands. */
static Draft call_like(const Region *r, int nin, Graph *body)
{
    Region call = region_plain(CALL, 0, 0, 0);
    call.lane = r->lane, call.nlane = r->nlane;
    Draft f = draft_like(&call, nin, 1);
    f.sub[0] = body;
    f.r.om = NEWS(uint8_t, ((size_t)body->nout + 1) * r->nlane);
    return f;
}

static void operand(Draft *f, Ref v, const uint8_t *marks)
{
    draft_operand(f, v, marks);
    f->r.ncap++;
}

static void result(Draft *f, int k, const uint8_t *marks)
{
    for (int a = 0; a < f->r.nlane; a++)
        f->r.om[k * f->r.nlane + a] = marks[a];
}

static bool float_in(const Graph *g, int k) { return dtype_inexact((Dtype)g->type[g->in[k]].dt); }
static bool float_out(const Graph *g, int k) { return dtype_inexact((Dtype)g->type[g->out[k]].dt); }

/* A rule speaks of arguments. What the function captured must be constant, unless the function itself makes
 * nothing of it. */
static bool captures_constant(const Ins *i, const Ref *t)
{
    const Graph *b = i->sub[0];
    const Rule *rule = i->region->rule;
    bool *live = NEWS(bool, b->nval);
    graph_live(b, NULL, live);
    for (int k = 0; k < rule->nclosed; k++)
        if (t[k] && (live[b->in[k]] || rule->kind == RULE_BACK)) {
            error_set(E_DIFF,
                "%s captures a value that is differentiated here, %s, and its derivative of its own, given "
                "at %s:%d, "
                "is one by its arguments alone: make that value an argument",
                rule->name, type_text(typ(t[k])), rule->loc.file ? rule->loc.file : "?", rule->loc.line);
            return false;
        }
    return true;
}

static void jvp_forward(const Ins *i, const Said *s, const Ref *x, const Ref *t, Ref *z, Ref *tz)
{
    const Region *r = i->region;
    Draft f = call_like(r, 2 * i->nin, s->g);
    Ref *out = NEWS(Ref, s->g->nout);
    int n = i->nout;
    for (int k = 0; k < i->nin; k++)
        operand(&f, x[k], marks_in(r, k));
    for (int k = 0; k < i->nin; k++)
        if (k >= r->rule->nclosed && is_inexact(x[k]))
            operand(&f, or_zero(t[k], x[k]), marks_in(r, k));
    for (int k = 0, fl = 0; k < i->nout; k++) {
        result(&f, k, marks_out(r, k));
        if (float_out(i->sub[0], k) && s->given[fl++])
            result(&f, n++, marks_out(r, k));
    }
    draft_emit(&f, out);
    n = i->nout;
    for (int k = 0, fl = 0; k < i->nout; k++) {
        z[k] = out[k];
        tz[k] = float_out(i->sub[0], k) && s->given[fl++] ? out[n++] : 0;
    }
}

/* (captures and saved, tangents) -> zeros like the float results: what it should be is not known. */
static Graph *unknown_body(const Draft *f, const Graph *primal, int nout)
{
    Ref *out = NEWS(Ref, nout);
    int n = 0;
    Graph *h = graph_new();
    const Type **t = NEWS(const Type *, f->nin);
    for (int j = 0; j < f->nin; j++)
        t[j] = typ(f->in[j]);
    graph_begin(h);
    for (int j = 0; j < f->nin; j++) {
        Type example = *t[j];
        for (int a = 0; a < f->r.nlane; a++)
            if (marks_in(&f->r, j)[a] == STACKED)
                example = type_drop_lead(&example, 1);
        graph_input(example, 0);
    }
    for (int k = 0; k < nout; k++)
        if (float_out(primal, k))
            out[n++] = Zeros(&primal->type[primal->out[k]]);
    graph_outputs(out, n);
    return graph_end();
}

/* The call that stands for the derivative until it is transposed. Values, tangents and what was saved
 * are the parameters. */
static void jvp_linear(
    const Ins *i, const Said *s, const Draft *fwd, const Ref *saved, const Ref *x, const Ref *t, Ref *tz)
{
    const Region *r = i->region;
    int nsaved = s->g->nout - i->nout, nclosed = r->rule->nclosed, n = 0;
    Draft f = call_like(r, i->nin + nsaved, s->g);
    for (int k = 0; k < nclosed; k++)
        operand(&f, x[k], marks_in(r, k));
    for (int k = 0; k < nsaved; k++)
        operand(&f, saved[k], marks_out(&fwd->r, i->nout + k));
    for (int k = nclosed; k < i->nin; k++)
        if (is_inexact(x[k]))
            operand(&f, or_zero(t[k], x[k]), marks_in(r, k));
    if (error_pending())
        return;
    f.sub[0] = unknown_body(&f, i->sub[0], i->nout);
    f.r.rule = s->back, f.r.split = true;
    Ref *out = NEWS(Ref, i->nout);
    for (int k = 0; k < i->nout; k++)
        if (float_out(i->sub[0], k))
            result(&f, n++, marks_out(r, k));
    draft_emit(&f, out);
    n = 0;
    for (int k = 0; k < i->nout; k++)
        tz[k] = float_out(i->sub[0], k) ? out[n++] : 0;
}

static void jvp_reverse(const Ins *i, const Said *s, const Ref *x, const Ref *t, Ref *z, Ref *tz)
{
    const Region *r = i->region;
    Draft f = call_like(r, i->nin, s->g);
    Ref *out = NEWS(Ref, s->g->nout);
    for (int k = 0; k < i->nin; k++)
        operand(&f, x[k], marks_in(r, k));
    for (int k = 0; k < i->nout; k++)
        result(&f, k, marks_out(r, k));
    lane_marks(&f, i->nout, f.r.om + (size_t)i->nout * r->nlane);
    draft_emit(&f, out);
    for (int k = 0; k < i->nout; k++)
        z[k] = out[k];
    if (!error_pending())
        jvp_linear(i, s, &f, out + i->nout, x, t, tz);
}

/* What is linear is its own derivative. */
static void jvp_back(const Ins *i, const Ref *x, const Ref *t, Ref *z, Ref *tz)
{
    const Region *r = i->region;
    Ref *in = NEWS(Ref, i->nin);
    for (int k = 0; k < i->nin; k++)
        in[k] = k < r->rule->nclosed ? x[k] : or_zero(t[k], x[k]);
    again(i, x, z);
    Draft f = draft_of(r, i->nin, in, i->nsub, i->sub);
    draft_emit(&f, tz);
}

static bool any_tangent(const Ref *t, int n)
{
    bool some = false;
    for (int k = 0; k < n; k++)
        some |= t[k] != 0;
    return some;
}

void rule_jvp(const Ins *i, const Ref *x, const Ref *t, Ref *z, Ref *tz)
{
    const Rule *rule = i->region->rule;
    bool moves = false;
    Said s;
    for (int k = 0; k < i->nout; k++)
        z[k] = tz[k] = 0;
    if (rule->kind == RULE_BACK && rule->push && any_tangent(t, rule->nclosed)) {
        if ((i = pushed(i)))
            region_jvp(i, x, t, z, tz);
        return;
    }
    if (!captures_constant(i, t))
        return;
    for (int k = rule->nclosed; k < i->nin; k++)
        moves |= t[k] != 0;
    if (!moves) {
        again(i, x, z);
        return;
    }
    if (rule->kind == RULE_BACK) {
        jvp_back(i, x, t, z, tz);
        return;
    }
    if (!says(rule, 0, &s))
        return;
    if (rule->kind == RULE_JVP)
        jvp_forward(i, &s, x, t, z, tz);
    else
        jvp_reverse(i, &s, x, t, z, tz);
}

/* ==================== transposition */

static const uint8_t *dual(const uint8_t *m, int nlane)
{
    uint8_t *out = NEWS(uint8_t, nlane);
    for (int a = 0; a < nlane; a++)
        out[a] = mark_dual(m[a]);
    return out;
}

void rule_transpose(const Ins *i, const Ref *ct, Cts *c)
{
    const Region *r = i->region;
    Said s;
    if (r->rule->kind != RULE_BACK) {
        error_set(E_INTERNAL, "the call of %s was to be linear", r->rule->name);
        return;
    }
    if (!says(r->rule, 0, &s))
        return;
    Draft f = call_like(r, i->nin + i->nout, s.g);
    Ref *out = NEWS(Ref, s.g->nout);
    int n = 0;
    for (int k = 0; k < r->rule->nclosed; k++)
        operand(&f, i->in[k], marks_in(r, k));
    for (int k = 0; k < i->nout; k++)
        operand(&f, or_zero(ct[k], i->out + (Ref)k), dual(marks_out(r, k), r->nlane));
    for (int k = r->rule->nclosed, fl = 0; k < i->nin; k++, fl++)
        if (s.given[fl])
            result(&f, n++, dual(marks_in(r, k), r->nlane));
    draft_emit(&f, out);
    n = 0;
    for (int k = r->rule->nclosed, fl = 0; k < i->nin && !error_pending(); k++, fl++)
        if (s.given[fl])
            ct_add(c, i->in[k], out[n++]);
}

/* ==================== vmap */

void rule_batch(const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    const Rule *rule = i->region->rule;
    bool any = false;
    Said said;
    Ref *in = NEWS(Ref, i->nin);
    for (int k = 0; k < i->nout; k++)
        out[k] = 0, so[k] = STACKED;
    for (int k = 0; k < i->nin; k++)
        any |= s[k] != SHARED;
    if (!any) {
        again(i, x, out);
        for (int k = 0; k < i->nout; k++)
            so[k] = SHARED;
        return;
    }
    for (int k = 0; k < rule->nclosed; k++)
        if (in[k] = x[k], s[k] != SHARED) {
            error_set(E_INVAL,
                "%s captures a value that differs between the lanes here, %s, and its rule for lanes, given "
                "at %s:%d, "
                "is one for its arguments alone: make that value an argument",
                rule->name, type_text(typ(x[k])), rule->loc.file ? rule->loc.file : "?", rule->loc.line);
            return;
        }
    for (int k = rule->nclosed; k < i->nin; k++)
        in[k] = stacked(x[k], s[k], ax->lane.size);
    if (!error_pending() && says(rule, ax->lane.size, &said))
        graph_inline(said.g, in, out);
}

/* ---- rules of calls whose lanes are gone */

/* States over its lanes of the values saved for reverse mode. */
static uint8_t *saved_states(const Batched *b, const Graph *g)
{
    bool *in = NEWS(bool, b->nin), *on = NEWS(bool, g->nval);
    uint8_t *s = NEWS(uint8_t, g->nout);
    for (int k = 0; k < b->nin; k++)
        in[k] = b->in[k] != SHARED;
    affected(g, in, false, b->lane->name, on);
    for (int k = b->nout; k < g->nout; k++)
        s[k] = on[g->out[k]] ? STACKED : SHARED;
    return s;
}

/* The rule of the linear part: (captures, saved, tangents) -> tangents of the float results. */
static const Rule *back_batched(const Batched *b, const Said *s, const uint8_t *saved)
{
    const Graph *g = s->g;
    int nclosed = b->rule->nclosed, n = 0, m = 0;
    uint8_t *in = NEWS(uint8_t, b->nin + g->nout), *out = NEWS(uint8_t, b->nout);
    for (int k = 0; k < nclosed; k++)
        in[n++] = b->in[k];
    for (int k = b->nout; k < g->nout; k++)
        in[n++] = saved[k];
    for (int k = nclosed; k < b->nin; k++)
        if (float_in(g, k))
            in[n++] = b->in[k];
    for (int k = 0; k < b->nout; k++)
        if (float_out(g, k))
            out[m++] = b->out[k];
    return rule_batched(s->back, b->lane, b->masked, n, in, m, out);
}

/* States of what is in and out of the graph that the rule said. Cotangents of arguments that all lanes share
 * are summed. */
static void said_states(const Batched *b, const Said *s, uint8_t *in, uint8_t *out)
{
    const Rule *rule = b->rule;
    const Graph *g = s->g;
    int n = 0, m = 0;
    bool back = rule->kind == RULE_BACK, any = false;
    for (int k = 0; k < b->nin; k++)
        any |= b->in[k] != SHARED;
    for (int k = 0; k < (back ? rule->nclosed : b->nin); k++)
        in[n++] = b->in[k];
    for (int k = 0; back && k < b->nout; k++)
        in[n++] = b->out[k];
    for (int k = rule->nclosed; rule->kind == RULE_JVP && k < b->nin; k++)
        if (float_in(g, k))
            in[n++] = b->in[k];
    for (int k = 0; !back && k < b->nout; k++)
        out[m++] = b->out[k];
    for (int k = 0, fl = 0; rule->kind == RULE_JVP && k < b->nout; k++)
        if (float_out(g, k) && s->given[fl++])
            out[m++] = b->out[k];
    for (int k = rule->nclosed; back && k < b->nin; k++)
        if (s->given[k - rule->nclosed])
            out[m++] = b->in[k] == SHARED && any ? SUMMED : b->in[k];
}

static bool say_batched(const Rule *rule, int64_t lanes, Said *s)
{
    const Batched *b = rule->batched;
    if (!says(b->rule, lanes, s))
        return false;
    uint8_t *in = NEWS(uint8_t, s->g->nin), *out = NEWS(uint8_t, s->g->nout);
    said_states(b, s, in, out);
    if (b->rule->kind == RULE_VJP) {
        const uint8_t *saved = saved_states(b, s->g);
        for (int k = b->nout; k < s->g->nout; k++)
            out[k] = saved[k];
        s->back = back_batched(b, s, saved);
    }
    s->g = graph_batch(s->g, in, out, b->lane, b->masked, false);
    return s->g != NULL;
}

static bool push_batched(const Rule *rule, int64_t lanes, Said *s)
{
    const Batched *b = rule->batched;
    *s = (Said){ 0 };
    if (!b->rule->push(b->rule, lanes, s) || error_pending())
        return false;
    s->g = graph_batch(s->g, b->in, b->out, b->lane, b->masked, false);
    return s->g != NULL;
}

static const Rule *copy_batched(const Rule *r)
{
    const Batched *b = r->batched;
    Rule *c = arena_copy(r, sizeof *r);
    Batched *d = arena_copy(b, sizeof *b);
    d->rule = rule_copy(b->rule);
    d->lane = arena_copy(b->lane, sizeof *b->lane);
    d->in = arena_copy(b->in, (size_t)b->nin), d->out = arena_copy(b->out, (size_t)b->nout);
    c->batched = d;
    c->axis = d->rule->axis;
    return c;
}

const Rule *rule_copy(const Rule *r)
{
    return !r ? NULL : r->copy ? r->copy(r) : arena_copy(r, sizeof *r);
}

/* A lane and the marks of operands and results, with their lengths: hence the parameters. */
const Rule *rule_batched(const Rule *rule, const Lane *lane, bool masked, int nin, const uint8_t *in,
    int nout, const uint8_t *out)
{
    Rule *r = NEW(Rule);
    Batched *b = NEW(Batched);
    *b = (Batched){ rule, arena_copy(lane, sizeof *lane), masked, nin, nout, arena_copy(in, (size_t)nin),
                    arena_copy(out, (size_t)nout) };
    *r = *rule;
    r->nclosed += masked;
    r->say = say_batched, r->push = rule->push ? push_batched : NULL;
    r->copy = copy_batched, r->batched = b;
    return r;
}

/* ==================== the lowering */

static void without_rule(const Ins *i, const Ref *x, Ref *out, void *env)
{
    (void)env;
    if (i->op != OP_region) {
        again(i, x, out);
        return;
    }
    Draft f = draft_of(i->region, i->nin, x, i->nsub, i->sub);
    f.r.rule = NULL;
    for (int k = 0; k < i->nsub; k++)
        f.sub[k] = graph_without_rules(i->sub[k]);
    if (!error_pending())
        draft_emit(&f, out);
}

Graph *graph_without_rules(const Graph *g)
{
    if (g->rules && (g = graph_map(g, without_rule, NULL)))
        g = graph_dce(g);
    return (Graph *)g;
}
