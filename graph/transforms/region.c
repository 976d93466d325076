/*
 * region.c - regions as data: what a region's results are, what of it is needed, whether it is well formed,
 * and how one is emitted.
 *
 * In:  attributes, operands in the current graph, closed bodies. Out: an instruction, or whatever means the
 * same:
 *      emission inlines a plain call, moves invariants out of loops, drops captures and xs that no body
 *      uses, and in a graph under linearisation cuts a joint region in two. So no rule that makes regions
 *      has to think of any of it. A call with a rule of the user's own stays as it is.
 * Invariant: a Graph is never changed once it is a body, so bodies are shared freely between instructions
 * and graphs.
 */
#include "transforms.h"

Region region_plain(RegionKind kind, int ncap, int nacc, int ncarry)
{
    return (Region){ .kind = (uint8_t)kind, .ncap = ncap, .nacc = nacc, .ncarry = ncarry };
}

char region_group(const Region *r, int operand)
{
    const int size[] = { region_npred(r), r->ncap, r->nacc, r->ncarry };
    for (int k = 0; k < 4; operand -= size[k++])
        if (operand < size[k])
            return "pcay"[k];
    return 'x';
}

/* ==================== drafts */

Draft draft_like(const Region *r, int nin, int nsub)
{
    Draft f = { .r = *r, .in = NEWS(Ref, nin), .nsub = nsub, .sub = NEWS(Graph *, nsub) };
    f.r.im = NEWS(uint8_t, (size_t)nin * r->nlane);
    return f;
}

Draft draft_of(const Region *r, int nin, const Ref *x, int nsub, Graph *const *sub)
{
    Draft f = draft_like(r, nin, nsub);
    for (int k = 0; k < nin; k++)
        draft_operand(&f, x[k], marks_in(r, k));
    for (int k = 0; k < nsub; k++)
        f.sub[k] = sub[k];
    return f;
}

void draft_operand(Draft *f, Ref v, const uint8_t *marks)
{
    for (int a = 0; a < f->r.nlane; a++)
        f->r.im[f->nin * f->r.nlane + a] = marks[a];
    f->in[f->nin++] = v;
}

void draft_emit(const Draft *f, Ref *out)
{
    emit_region(&f->r, f->nin, f->in, f->nsub, f->sub, out);
}

int draft_results(const Draft *f)
{
    return f->sub[f->nsub - 1]->nout;
}

Draft draft_restrict(const Draft *f, bool *res)
{
    bool *keep = NEWS(bool, f->nin);
    Draft g = { .in = NEWS(Ref, f->nin), .nsub = f->nsub, .sub = NEWS(Graph *, f->nsub) };
    region_restrict(&f->r, f->nin, f->nsub, f->sub, res, keep, &g.r, g.sub);
    for (int k = 0; k < f->nin; k++)
        if (keep[k])
            g.in[g.nin++] = f->in[k];
    return g;
}

/* ==================== results */

Type region_result(const Region *r, int nsub, Graph *const *sub, int k)
{
    const Graph *b = sub[nsub - 1];
    Type t = b->type[b->out[k]];
    const uint8_t *m = marks_out(r, k);
    if (r->kind == SCAN && k >= region_nloop(r))
        t = type_add_lead(&t, r->length);
    for (int a = r->nlane - 1; a >= 0; a--)
        if (m[a] == STACKED)
            t = type_add_lead(&t, r->lane[a].size);
    return t;
}

/* ==================== what is needed */

void region_live(const Region *r, int nin, int nsub, Graph *const *sub, bool *res, bool *in)
{
    int np = region_npred(r), nl = region_nloop(r), nres = sub[nsub - 1]->nout, widest = 0;
    for (int k = 0; k < nsub; k++)
        widest = sub[k]->nval > widest ? sub[k]->nval : widest;
    bool *live = NEWS(bool, widest), *all = NEWS(bool, nres + 1), *loop = in + np + r->ncap, grown = true;
    for (int k = 0; k <= nres; k++)
        all[k] = true;
    for (int k = 0; k < nin; k++)
        in[k] = k < np || r->rule;
    for (int k = 0; r->rule && k < nres; k++)
        res[k] = true;
    while (grown && !r->rule) {
        for (int k = 0; k < nsub; k++) {
            graph_live(sub[k], r->kind == WHILE && k == 0 ? all : res, live);
            for (int j = 0; j < sub[k]->nin; j++)
                in[np + j] |= live[sub[k]->in[j]];
        }
        grown = false;
        for (int k = 0; k < nl; k++) {
            loop[k] |= res[k];
            grown |= loop[k] && !res[k];
            res[k] = loop[k];
        }
    }
}

static uint8_t *kept_marks(const uint8_t *m, const bool *keep, int n, int nlane)
{
    uint8_t *out = NEWS(uint8_t, (size_t)n * nlane);
    int at = 0;
    for (int k = 0; k < n; k++)
        for (int a = 0; keep[k] && a < nlane; a++)
            out[at++] = m[k * nlane + a];
    return out;
}

/* A region with its bodies, which results and inputs stay, and what becomes of it: hence the
 * parameters. */
void region_restrict(const Region *r, int nin, int nsub, Graph *const *sub, bool *res, bool *in, Region *out,
    Graph **bodies)
{
    int np = region_npred(r), nres = sub[nsub - 1]->nout, left[4] = { 0 };
    region_live(r, nin, nsub, sub, res, in);
    for (int j = 0; j < nin; j++)
        if (in[j])
            switch (region_group(r, j)) {
            case 'c': left[0]++; break;
            case 'a': left[1]++; break;
            case 'y': left[2]++; break;
            }
    Region new = *r;
    new.ncap = left[0], new.nacc = left[1], new.ncarry = left[2];
    new.im = kept_marks(r->im, in, nin, r->nlane);
    new.om = kept_marks(r->om, res, nres, r->nlane);
    for (int k = 0; k < nsub; k++)
        bodies[k] = all_bits(in, nin) && all_bits(res, nres)
            ? sub[k] : graph_restrict(sub[k], in + np, r->kind == WHILE && k == 0 ? NULL : res);
    *out = new;
}

/* ==================== emission */

/* The body with one more result, which is true. */
static Graph *with_token(const Graph *b)
{
    Ref *in = NEWS(Ref, b->nin), *out = NEWS(Ref, b->nout + 1);
    graph_begin(graph_new())->linear = b->linear;
    for (int k = 0; k < b->nin; k++)
        in[k] = input_like(b, k, b->flag[b->in[k]]);
    graph_inline(b, in, out);
    out[b->nout] = ConstBits(DT_BOOL, 1);
    graph_outputs(out, b->nout + 1);
    return graph_end();
}

/* A region that is there for its effects alone has a result all the same, as every instruction has one. */
static void append_for_effects(const Region *r, int nin, const Ref *in, int nsub, Graph *const *sub)
{
    Draft f = draft_of(r, nin, in, nsub, sub);
    Ref token;
    f.r.om = NEWS(uint8_t, r->nlane);
    for (int k = 0; k < nsub; k++)
        f.sub[k] = with_token(sub[k]);
    if (!error_pending())
        append_region(&f.r, f.nin, f.in, nsub, f.sub, &token);
}

static bool have_effects(int nsub, Graph *const *sub)
{
    for (int k = 0; k < nsub; k++)
        if (graph_effect(sub[k]))
            return true;
    return false;
}

void append_region(const Region *r, int nin, const Ref *in, int nsub, Graph *const *sub, Ref *out)
{
    const Graph *g = cur();
    if (!sub[nsub - 1]->nout) {
        append_for_effects(r, nin, in, nsub, sub);
        return;
    }
    int nres = sub[nsub - 1]->nout, first = region_npred(r) + r->ncap;
    bool *lin = NEWS(bool, nin), *lout = NEWS(bool, nres);
    Type *t = NEWS(Type, nres);
    uint8_t *flag = NEWS(uint8_t, nres);
    for (int j = 0; j < nin; j++)
        lin[j] = graph_lin(g, in[j]);
    if (any_bit(lin, nin))
        region_bits(r, nin, nsub, sub, lin, true, NULL, lout);
    for (int k = 0; k < nres; k++) {
        bool acc = k < r->nacc && graph_acc(g, in[first + k]);
        flag[k] = (lout[k] ? V_LIN : 0) | (acc ? V_ACC : 0);
        t[k] = region_result(r, nsub, sub, k);
    }
    if (error_pending())
        return;
    Ins *i = append(OP_region, nin, in, NULL, nres, t, flag);
    i->region = arena_copy(r, sizeof *r);
    i->region->effects = have_effects(nsub, sub);
    i->sub = arena_copy(sub, sizeof *sub * (size_t)nsub);
    i->nsub = nsub;
    rule_asked(cur(), r, nsub, sub);
    for (int k = 0; k < nres; k++)
        out[k] = i->out + (Ref)k;
}

/* Drops captures and xs that no body uses; accumulators and carry are results too, and stay. */
static void tidy(Draft *f)
{
    const Region *r = &f->r;
    int np = region_npred(r), nres = draft_results(f);
    bool *res = NEWS(bool, nres), *keep = NEWS(bool, f->nin);
    for (int k = 0; k < nres; k++)
        res[k] = true;
    region_live(r, f->nin, f->nsub, f->sub, res, keep);
    for (int j = 0; j < f->nin; j++) {
        char group = region_group(r, j);
        keep[j] |= group != 'c' && group != 'x';
    }
    if (all_bits(keep, f->nin))
        return;
    Draft g = draft_like(r, f->nin, f->nsub);
    g.r.ncap = 0;
    for (int j = 0; j < f->nin; j++)
        if (keep[j]) {
            draft_operand(&g, f->in[j], marks_in(r, j));
            g.r.ncap += region_group(r, j) == 'c';
        }
    for (int k = 0; k < f->nsub; k++)
        g.sub[k] = graph_restrict(f->sub[k], keep + np, NULL);
    *f = g;
}

/* (captures, carry) -> carry: a step where the condition holds, else what was. */
static Graph *guarded_step(const Draft *f)
{
    const Graph *step = f->sub[1];
    int n = f->nin, nout = step->nout;
    Ref *in = NEWS(Ref, n + 1), *out = NEWS(Ref, nout), holds;
    Graph *branch[2] = { NULL, f->sub[1] };
    graph_begin(graph_new());
    for (int j = 0; j < n; j++)
        in[j] = input_like(step, j, step->flag[step->in[j]]);
    graph_outputs(in + f->r.ncap, nout);
    branch[0] = graph_end();
    graph_begin(graph_new());
    for (int j = 0; j < n; j++)
        in[j + 1] = input_like(step, j, step->flag[step->in[j]]);
    graph_inline(f->sub[0], in + 1, &holds);
    in[0] = Convert(holds, DT_I32);
    Region cond = region_plain(COND, n, 0, 0);
    emit_region(&cond, n + 1, in, 2, branch, out);
    graph_outputs(out, nout);
    return graph_end();
}

/* A while that turns at most so often is a scan of that length whose steps are guarded: what reverse mode
 * takes. */
static void bounded_scan(const Draft *f, Ref *out)
{
    Region scan = f->r;
    Graph *body = guarded_step(f);
    scan.kind = SCAN, scan.length = f->r.trips, scan.trips = 0;
    emit_region(&scan, f->nin, f->in, 1, &body, out);
}

/* In a graph under linearisation. True: the region was split, and its results are in out. */
static bool linearise(Draft *f, Ref *out)
{
    const Graph *g = cur();
    int nres = draft_results(f);
    bool *in = NEWS(bool, f->nin), *lin = NEWS(bool, nres);
    for (int j = 0; j < f->nin; j++)
        in[j] = graph_lin(g, f->in[j]);
    if (!g->linear || f->r.split || !any_bit(in, f->nin))
        return false;
    region_bits(&f->r, f->nin, f->nsub, f->sub, in, true, NULL, lin);
    if (!any_bit(lin, nres))
        return false;
    if (f->r.kind == WHILE && f->r.trips && !f->r.nacc) {
        bounded_scan(f, out);
        return true;
    }
    if (f->r.kind == WHILE || !all_bits(lin, nres) || have_effects(f->nsub, f->sub)) {
        split_region(f, lin, out);
        return true;
    }
    linear_bodies(f, lin);
    f->r.split = true;
    return false;
}

static bool any_linear(int n, const Ref *v)
{
    for (int k = 0; k < n; k++)
        if (graph_lin(cur(), v[k]))
            return true;
    return false;
}

void emit_region(const Region *r, int nin, const Ref *in, int nsub, Graph *const *sub, Ref *out)
{
    for (int k = 0; k < nsub; k++)
        if (!sub[k])
            return;
    int nres = sub[nsub - 1]->nout;
    for (int k = 0; k < nres; k++)
        out[k] = 0;
    for (int k = 0; k < nin; k++)
        if (!in[k])
            return;
    if (error_pending() || (!nres && (r->kind == WHILE || !have_effects(nsub, sub))))
        return;
    Draft f = draft_of(r, nin, in, nsub, sub);
    if (r->rule && r->rule->kind != RULE_BACK && cur()->linear && any_linear(nin, in))
        /* a tangent goes through: of what is linear the derivative is the function */
        f.r.rule = NULL;
    r = &f.r;
    if (r->kind == CALL && !r->nlane && !r->rule && !r->remat) {
        graph_inline(sub[0], in, out);
        return;
    }
    if (r->nlane && !r->rule && region_asks(r, nsub, sub, NULL)) {
        drop_lane(&f, r->nlane - 1, 0, false, out);
        return;
    }
    if ((r->kind == SCAN || r->kind == WHILE) && !r->nlane && !r->rule)
        hoist(&f);
    if (!r->rule)
        tidy(&f);
    if (!error_pending() && !linearise(&f, out))
        append_region(&f.r, f.nin, f.in, f.nsub, f.sub, out);
}

/* ==================== the verifier's part */

const char *const region_kind_name[4] = { "call", "scan", "while", "cond" };

static int check_counts(const Ins *i, const Region *r)
{
    const char *name = region_kind_name[r->kind];
    int fixed = region_npred(r) + r->ncap + region_nloop(r);
    int bodies = r->kind == WHILE ? 2 : r->kind == COND ? i->nsub : 1;
    if (i->nsub < 1 || i->nsub != bodies)
        return error_set(E_INTERNAL, "%s: %d bodies", name, i->nsub);
    if (i->nin < fixed || (i->nin > fixed && r->kind != SCAN))
        return error_set(E_INTERNAL, "%s: %d operands, where %d are in groups", name, i->nin, fixed);
    if (i->nout != i->sub[i->nsub - 1]->nout || i->nout < region_nloop(r))
        return error_set(E_INTERNAL, "%s: %d results, where the body has %d and %d go round", name, i->nout,
            i->sub[i->nsub - 1]->nout, region_nloop(r));
    if (r->kind == WHILE && i->nout != region_nloop(r))
        return error_set(E_INTERNAL, "while: %d results, where %d go round", i->nout, region_nloop(r));
    if (r->remat && r->kind != CALL)
        return error_set(E_INTERNAL, "%s: only a call is computed again", name);
    if (r->rule && (r->kind != CALL || r->rule->nclosed > i->nin))
        return error_set(E_INTERNAL, "%s: a rule is for calls, with its captures in front", name);
    if (r->nlane && (!r->im || !r->om))
        return error_set(E_INTERNAL, "%s: lanes without marks", name);
    return E_OK;
}

static int check_operand(const Ins *i, const Region *r, const Graph *g, int j, Type example)
{
    char group = region_group(r, j);
    const Type *have = &g->type[i->in[j]];
    Type want = example;
    if (group == 'x')
        want = type_add_lead(&want, r->length);
    for (int a = r->nlane - 1; a >= 0; a--) {
        uint8_t m = marks_in(r, j)[a];
        if (m == STACKED)
            want = type_add_lead(&want, r->lane[a].size);
        if (m > SUMMED || (m == SUMMED && group != 'a' && !dtype_inexact(example.dt)))
            return error_set(E_INTERNAL, "%s: operand %d of %s cannot be summed", region_kind_name[r->kind],
                j, type_text(&example));
    }
    if (!type_equal(have, &want))
        return error_set(E_INTERNAL, "%s: operand %d is %s, where the body's %s needs %s",
            region_kind_name[r->kind], j, type_text(have), type_text(&example), type_text(&want));
    return E_OK;
}

static int check_body(const Ins *i, const Region *r, const Graph *g, int n)
{
    const Graph *b = i->sub[n], *last = i->sub[i->nsub - 1];
    const char *name = region_kind_name[r->kind];
    int np = region_npred(r), code = graph_check(b);
    if (code)
        return code;
    if (b->nin != i->nin - np)
        return error_set(E_INTERNAL, "%s: body %d has %d inputs, not %d", name, n, b->nin, i->nin - np);
    for (int j = np; j < i->nin; j++)
        if ((code = check_operand(i, r, g, j, b->type[b->in[j - np]])))
            return code;
    if (r->kind == WHILE && n == 0) {
        Type flag = type_scalar(DT_BOOL);
        if (b->nout != 1 || !type_equal(&b->type[b->out[0]], &flag))
            return error_set(E_INTERNAL, "while: the condition is not one bool");
        if (graph_effect(b))
            return error_set(E_INTERNAL, "while: the condition has an effect, which belongs in the step");
        return E_OK;
    }
    if (b->nout != i->nout)
        return error_set(E_INTERNAL, "%s: body %d has %d results, not %d", name, n, b->nout, i->nout);
    for (int k = 0; k < b->nout; k++) {
        const Type *t = &b->type[b->out[k]], *u = &last->type[last->out[k]];
        const Type *from = k < region_nloop(r) ? &b->type[b->in[r->ncap + k]] : t;
        if (!type_equal(t, u))
            return error_set(E_INTERNAL, "%s: result %d is %s in body %d and %s in the last", name, k,
                type_text(t), n, type_text(u));
        if (!type_equal(t, from))
            return error_set(E_INTERNAL, "%s: what goes round changes from %s to %s", name, type_text(from),
                type_text(t));
    }
    return E_OK;
}

/* An accumulator keeps its marks, but that one which all lanes start from may end as one a lane. */
static int check_marks(const Region *r, int k)
{
    for (int a = 0; a < r->nlane; a++) {
        uint8_t to = marks_out(r, k)[a], from = to;
        if (k < r->nacc)
            from = marks_in(r, region_npred(r) + r->ncap + k)[a];
        if (to > SUMMED || (from != to && !(from == SHARED && to == STACKED)))
            return error_set(E_INTERNAL, "%s: the marks of result %d", region_kind_name[r->kind], k);
    }
    return E_OK;
}

int region_check(const Ins *i, const Graph *g)
{
    const Region *r = i->region;
    if (!r || r->kind > COND)
        return error_set(E_INTERNAL, "region: without attributes");
    int code = check_counts(i, r);
    if (!code && r->kind == COND)
        code = check_operand(i, r, g, 0, type_scalar(DT_I32));
    for (int n = 0; !code && n < i->nsub; n++)
        code = check_body(i, r, g, n);
    for (int k = 0; !code && k < i->nout; k++) {
        Type t = region_result(r, i->nsub, i->sub, k);
        code = check_marks(r, k);
        if (code)
            return code;
        if (!type_equal(&t, &g->type[i->out + k]))
            code = error_set(E_INTERNAL, "%s: result %d is %s, not %s", region_kind_name[r->kind], k,
                type_text(&t), type_text(&g->type[i->out + k]));
    }
    return code;
}
