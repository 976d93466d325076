/*
 * region_jvp.c - forward mode over a region, and the cut that makes reverse mode out of it.
 *
 * jvp:   in: a region and the tangents of its operands. Out: the joint region, in which a tangent follows
 *        its primal in the same group with the same marks; which results have one is the fixpoint of
 *        affected.c.
 * split: in: a joint region in a graph under linearisation. Out: F, with the results that are not linear
 *        and the residuals, and L, with the linear results from tangents and residuals. Both are the same
 *        bodies, cut at the residuals (region_stored.c), and then dead code removed; effects are in F
 *        alone. A checkpoint cuts at what it saves, by default nothing, so L computes everything else again
 *        from the operands; a while has an empty cut, too, whose L is the joint loop: it can be run
 *        forwards, and only transposition refuses it.
 */
#include "transforms.h"

void region_jvp(const Ins *i, const Ref *x, const Ref *t, Ref *z, Ref *tz)
{
    const Region *r = i->region;
    if (r->rule && r->rule->kind != RULE_VMAP) {
        rule_jvp(i, x, t, z, tz);
        return;
    }
    int np = region_npred(r), nl = region_nloop(r), nout = 0;
    bool *tin = NEWS(bool, i->nin), *tout = NEWS(bool, i->nout), *none = NEWS(bool, i->nout + 1);
    for (int j = 0; j < i->nin; j++)
        tin[j] = t[j] != 0;
    region_bits(r, i->nin, i->nsub, i->sub, tin, true, NULL, tout);
    for (int k = 0; k < nl; k++)
        tin[np + r->ncap + k] = tout[k];
    Draft f = draft_like(r, 2 * i->nin, i->nsub);
    f.r.split = false, f.r.rule = NULL;
    for (int k = 0; k < i->nsub; k++)
        f.sub[k] = graph_joint(i->sub[k], tin + np, r->kind == WHILE && k == 0 ? none : tout);
    for (int j = 0; j < i->nin; j++) {
        char group = region_group(r, j);
        draft_operand(&f, x[j], marks_in(r, j));
        if (!tin[j])
            continue;
        draft_operand(&f, or_zero(t[j], x[j]), marks_in(r, j));
        f.r.ncap += group == 'c', f.r.nacc += group == 'a', f.r.ncarry += group == 'y';
    }
    f.r.om = NEWS(uint8_t, 2 * (size_t)i->nout * r->nlane);
    for (int k = 0; k < i->nout; k++)
        for (int twice = 0; twice <= tout[k]; twice++, nout++)
            for (int a = 0; a < r->nlane; a++)
                f.r.om[nout * r->nlane + a] = marks_out(r, k)[a];
    Ref *out = NEWS(Ref, nout);
    draft_emit(&f, out);
    for (int k = 0, at = 0; k < i->nout; k++) {
        z[k] = out[at++];
        tz[k] = tout[k] ? out[at++] : 0;
    }
}

/* ==================== linearisation of bodies */

void linear_bodies(Draft *f, const bool *lin)
{
    const Region *r = &f->r;
    int np = region_npred(r);
    for (int n = 0; n < f->nsub; n++) {
        const Graph *b = f->sub[n];
        Ref *x = NEWS(Ref, b->nin), *out = NEWS(Ref, b->nout);
        const Graph *around = cur();
        graph_begin(graph_new())->linear = true;
        for (int j = 0; j < b->nin; j++) {
            int loop = j - r->ncap;             /* what goes round is linear as its result is */
            bool bit = loop >= 0 && loop < region_nloop(r) ? lin[loop] : graph_lin(around, f->in[np + j]);
            x[j] = input_like(b, j, (b->flag[b->in[j]] & V_ACC) | (bit ? V_LIN : 0));
        }
        graph_inline(b, x, out);
        graph_outputs(out, b->nout);
        f->sub[n] = graph_end();
    }
}

/* ==================== the cut */

bool linear_ins(const Graph *b, const Ins *i)
{
    for (int k = 0; k < i->nout; k++)
        if (graph_lin(b, i->out + (Ref)k))
            return true;
    return false;
}

/* Values that a linear instruction or a linear result reads. */
static bool *read_by_linear(const Graph *b, const bool *lin)
{
    bool *read = NEWS(bool, b->nval);
    for (int k = 0; k < b->nout; k++)
        read[b->out[k]] |= lin[k];
    for (int n = 0; n < b->nins; n++)
        for (int k = 0; linear_ins(b, b->ins[n]) && k < b->ins[n]->nin; k++)
            read[b->ins[n]->in[k]] = true;
    return read;
}

/* Is it computed again, and is all there that it is computed from? */
static bool again_from(const Ins *i, const bool *have)
{
    bool all = optab[i->op].again;
    for (int k = 0; k < i->nin; k++)
        all &= have[i->in[k]];
    return all;
}

typedef struct Cutting { const Graph *b; bool *have; Stored *cut; int budget; } Cutting;
enum { AGAIN = 16 };                            /* instructions that one residual is computed again by */

/* Stores v, or what it is computed from by instructions that are cheap to repeat, if those are fewer bytes:
 * of outer(c, c) it is c that is stored, and not its n copies. Returns the bytes; what is there costs
 * none. */
static int64_t store_least(Cutting *c, Ref v)
{
    const Ins *i = c->b->def[v];
    const Type *t = &c->b->type[v];
    int64_t bytes = type_size(t) * (int64_t)dtype_size((Dtype)t->dt), sum = 0;
    int before = c->cut->n;
    if (c->have[v])
        return 0;
    if (i && optab[i->op].again && c->budget-- > 0) {
        for (int k = 0; k < i->nin; k++)
            sum += store_least(c, i->in[k]);
        if (sum < bytes || !sum)
            return sum;
        while (c->cut->n > before)
            c->have[c->cut->v[--c->cut->n]] = false;
    }
    PUSH(c->cut->v, c->cut->n, c->cut->room, v);
    c->have[v] = true;
    return bytes;
}

/* What was stored before something that it can be computed from: (1 + z)(1 - z), and then z = tanh x. */
static void store_no_more(Cutting *c)
{
    Stored all = *c->cut;
    *c->cut = (Stored){ 0 };
    for (int k = 0; k < all.n; k++) {
        const Ins *i = c->b->def[all.v[k]];
        c->have[all.v[k]] = i && again_from(i, c->have);
        c->budget = AGAIN;
        store_least(c, all.v[k]);
    }
}

/* Not stored: captures and xs, which L has; what depends on captures alone, which is the same at every step,
 * so that L computes it again and the hoist takes it out; cheap functions of what L has. */
static Stored residuals(const Region *r, const Graph *b, const bool *lin)
{
    int np = region_npred(r);
    bool *in = NEWS(bool, b->nin), *varies = NEWS(bool, b->nval), *have = NEWS(bool, b->nval);
    bool *read = read_by_linear(b, lin);
    Stored cut = { 0 };
    for (int j = 0; j < b->nin; j++)
        in[j] = r->kind != SCAN || region_group(r, np + j) != 'c';
    affected(b, in, false, NULL, varies);
    for (int j = 0; j < b->nin; j++) {
        Ref v = b->in[j];
        char group = region_group(r, np + j);
        have[v] = group == 'c' || group == 'x';
        if (group == 'y' && read[v] && !graph_lin(b, v))
            store_least(&(Cutting){ b, have, &cut, 0 }, v);
    }
    for (int n = 0; n < b->nins; n++) {
        const Ins *i = b->ins[n];
        bool fixed = i->op != OP_callback;
        if (linear_ins(b, i))
            continue;
        for (int k = 0; k < i->nout; k++)
            fixed &= !varies[i->out + k];
        for (Ref o = i->out; o < i->out + i->nout; o++) {
            have[o] = fixed || again_from(i, have);
            if (read[o])
                store_least(&(Cutting){ b, have, &cut, AGAIN }, o);
            have[o] |= read[o];
        }
    }
    store_no_more(&(Cutting){ b, have, &cut, 0 });
    return cut;
}

/* The residuals come last among the results, and keep what lanes differ in. Returns their marks. */
static const uint8_t *emit_primal(const Draft *wide, const bool *lin, int nres, int n, Ref *out, Ref *stored)
{
    int nlane = wide->r.nlane;
    bool *res = NEWS(bool, nres + n);
    for (int k = 0; k < nres + n; k++)
        res[k] = k >= nres || !lin[k];
    Draft f = draft_restrict(wide, res);
    int kept = draft_results(&f), at = 0;
    uint8_t *tail = f.r.om + (size_t)(kept - n) * nlane;
    lane_marks(&f, kept - n, tail);
    Ref *got = NEWS(Ref, kept);
    draft_emit(&f, got);
    for (int k = 0; k < nres; k++)
        if (res[k])
            out[k] = got[at++];
    for (int k = 0; k < n; k++)
        stored[k] = got[at++];
    return tail;
}

static void emit_linear(const Draft *f, const bool *lin, int nres, Ref *out)
{
    bool *res = NEWS(bool, nres);
    for (int k = 0; k < nres; k++)
        res[k] = lin[k];
    Draft L = draft_restrict(f, res);
    L.r.split = true;
    Ref *got = NEWS(Ref, draft_results(&L));
    draft_emit(&L, got);
    for (int k = 0, at = 0; k < nres; k++)
        if (res[k]) {
            if (lin[k])
                out[k] = got[at];
            at++;
        }
}

void split_region(const Draft *joint, const bool *lin, Ref *out)
{
    Draft f = *joint;
    const Region *r = &joint->r;
    int nres = draft_results(joint), nlane = r->nlane;
    Stored *cut = NEWS(Stored, f.nsub);
    Slots s = { 0 };
    f.sub = NEWS(Graph *, f.nsub);
    for (int k = 0; k < f.nsub; k++)
        f.sub[k] = joint->sub[k];
    linear_bodies(&f, lin);
    for (int k = 0; k < f.nsub && r->kind != WHILE; k++) {
        if (!r->remat)
            cut[k] = residuals(r, f.sub[k], lin);
        else if (r->save)
            f.sub[k] = stored_by_policy(r->save, f.sub[k], read_by_linear(f.sub[k], lin), &cut[k]);
        stored_slots(&s, f.sub[k], &cut[k]);
    }

    Draft wide = draft_of(r, f.nin, f.in, f.nsub, f.sub);
    wide.r.remat = false;
    wide.r.om = NEWS(uint8_t, (size_t)(nres + s.n) * nlane);
    for (int k = 0; k < nres * nlane; k++)
        wide.r.om[k] = r->om[k];
    for (int k = 0; k < f.nsub; k++)
        wide.sub[k] = stored_body(f.sub[k], &cut[k], &s, -1);
    Ref *stored = NEWS(Ref, s.n);
    const uint8_t *marks = emit_primal(&wide, lin, nres, s.n, out, stored);

    Draft L = stored_draft(&f, cut, &s, stored, marks);
    emit_linear(&L, lin, nres, out);
}
