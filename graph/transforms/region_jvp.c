/*
 * region_jvp.c - forward mode over a region, and the cut that makes reverse mode out of it.
 *
 * jvp:   in: a region and the tangents of its operands. Out: the joint region, in which a tangent follows
 * its
 *        primal in the same group with the same marks; which results have one is the fixpoint of affected.c.
 * split: in: a joint region in a graph under linearisation. Out: F, with the results that are not linear and
 * the
 *        residuals, and L, with the linear results from tangents and residuals. Both are the same bodies,
 *        cut at the residuals, and then dead code removed; effects are in F alone. Residuals of a scan are
 *        ys of F and xs of L; of call and cond results and captures. A checkpoint cuts at what it saves, by
 *        default nothing, so L computes everything else again from the operands; a while has an empty cut,
 *        too, whose L is the joint loop: it can be run forwards, and only transposition refuses it.
 */
#include "transforms.h"

#include <string.h>

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

/* values of a body, and where each is stored */
typedef struct Cut { Ref *v; int *slot; int n; } Cut;

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

/* Not stored: captures and xs, which L has; what depends on captures alone, which is the same at every step,
 * so that L computes it again and the hoist takes it out; cheap functions of what L has. */
static Cut residuals(const Region *r, const Graph *b, const bool *lin)
{
    int np = region_npred(r);
    bool *in = NEWS(bool, b->nin), *varies = NEWS(bool, b->nval), *have = NEWS(bool, b->nval);
    bool *read = read_by_linear(b, lin);
    Cut cut = { NEWS(Ref, b->nval), NEWS(int, b->nval), 0 };
    for (int j = 0; j < b->nin; j++)
        in[j] = r->kind != SCAN || region_group(r, np + j) != 'c';
    affected(b, in, false, NULL, varies);
    for (int j = 0; j < b->nin; j++) {
        Ref v = b->in[j];
        char group = region_group(r, np + j);
        have[v] = group == 'c' || group == 'x';
        if (group == 'y' && read[v] && !graph_lin(b, v)) {
            cut.v[cut.n++] = v;
            have[v] = true;
        }
    }
    for (int n = 0; n < b->nins; n++) {
        const Ins *i = b->ins[n];
        bool again = optab[i->op].again, fixed = i->op != OP_callback;
        if (linear_ins(b, i))
            continue;
        for (int k = 0; k < i->nin; k++)
            again &= have[i->in[k]];
        for (int k = 0; k < i->nout; k++)
            fixed &= !varies[i->out + k];
        for (Ref o = i->out; o < i->out + i->nout; o++) {
            if (read[o] && !again && !fixed)
                cut.v[cut.n++] = o;
            have[o] = again || fixed || read[o];
        }
    }
    return cut;
}

/* Is this a value that the checkpoint saves: a product, or one with a name of the list? */
static bool saved(const char *save, const Ins *i)
{
    const char *dots = "dots",
               *name = i->op == OP_named ? (const char *)(intptr_t)ins_int(i, 0) :
        i->op == OP_dot                  ? dots :
                                           NULL;
    size_t n = name ? strlen(name) : 0;
    for (const char *s = save; name && *s; s += *s == ',') {
        s += strspn(s, " ");
        size_t k = strcspn(s, ", ");
        if (k == n && !memcmp(s, name, n))
            return true;
        s += strcspn(s, ",");
    }
    return false;
}

/* What a checkpoint stores: of the values it saves those that the linear part needs, perhaps through
 * others. */
static Cut kept_values(const Region *r, const Graph *b, const bool *lin)
{
    Cut cut = { NEWS(Ref, b->nval), NEWS(int, b->nval), 0 };
    bool *need = read_by_linear(b, lin);
    for (int n = b->nins - 1; n >= 0 && r->save; n--) {
        const Ins *i = b->ins[n];
        bool mine = !linear_ins(b, i) && saved(r->save, i);
        if (!any_bit(need + i->out, i->nout) || linear_ins(b, i))
            continue;
        if (mine)
            cut.v[cut.n++] = i->out;
        for (int k = 0; !mine && k < i->nin; k++)
            need[i->in[k]] = true;
    }
    return cut;
}

typedef struct Slots { Type *type; int n, cap; } Slots;

/* Branches of a cond share slots of a type, since only one of them stores. */
static void assign(Slots *s, const Graph *b, Cut *cut)
{
    bool *mine = NEWS(bool, s->n + cut->n);
    for (int k = 0; k < cut->n; k++) {
        const Type *t = &b->type[cut->v[k]];
        int at = 0;
        while (at < s->n && (mine[at] || !type_equal(&s->type[at], t)))
            at++;
        if (at == s->n)
            PUSH(s->type, s->n, s->cap, *t);
        mine[at] = true;
        cut->slot[k] = at;
    }
}

/* The body with its residuals as further results or, where at >= 0, as further inputs from that place. */
static Graph *cut_body(const Graph *b, const Cut *cut, const Slots *s, int at)
{
    Width w = graph_width(b);
    Ref *map = NEWS(Ref, b->nval), *x = NEWS(Ref, w.nin), *z = NEWS(Ref, w.nout);
    Ref *slot = NEWS(Ref, s->n), *out = NEWS(Ref, b->nout + s->n);
    int nout = 0;
    graph_begin(graph_new())->linear = true;
    for (int j = 0; j <= b->nin; j++) {
        for (int k = 0; j == at && k < s->n; k++)
            slot[k] = graph_input(s->type[k], 0);
        if (j < b->nin)
            map[b->in[j]] = input_like(b, j, b->flag[b->in[j]]);
    }
    for (int k = 0; at >= 0 && k < cut->n; k++)
        map[cut->v[k]] = slot[cut->slot[k]];
    for (int n = 0; n < b->nins; n++) {
        const Ins *i = b->ins[n];
        for (int k = 0; k < i->nin; k++)
            x[k] = map[i->in[k]];
        if (at < 0)
            again(i, x, z);
        else
            again_quiet(i, x, z);
        for (int k = 0; k < i->nout; k++)
            if (!map[i->out + k])
                map[i->out + k] = z[k];
    }
    for (; nout < b->nout; nout++)
        out[nout] = map[b->out[nout]];
    for (int k = 0; at < 0 && k < cut->n; k++)
        slot[cut->slot[k]] = map[cut->v[k]];
    for (int k = 0; at < 0 && k < s->n; k++)
        out[nout++] = slot[k] ? slot[k] : Zeros(&s->type[k]);
    graph_outputs(out, nout);
    return graph_end();
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
    int np = region_npred(r), nres = draft_results(joint), nlane = r->nlane;
    Cut *cut = NEWS(Cut, f.nsub);
    Slots s = { 0 };
    f.sub = NEWS(Graph *, f.nsub);
    for (int k = 0; k < f.nsub; k++)
        f.sub[k] = joint->sub[k];
    linear_bodies(&f, lin);
    for (int k = 0; k < f.nsub && r->kind != WHILE; k++) {
        cut[k] = r->remat ? kept_values(r, f.sub[k], lin) : residuals(r, f.sub[k], lin);
        assign(&s, f.sub[k], &cut[k]);
    }

    Draft wide = draft_of(r, f.nin, f.in, f.nsub, f.sub);
    wide.r.remat = false;
    wide.r.om = NEWS(uint8_t, (size_t)(nres + s.n) * nlane);
    for (int k = 0; k < nres * nlane; k++)
        wide.r.om[k] = r->om[k];
    for (int k = 0; k < f.nsub; k++)
        wide.sub[k] = cut_body(f.sub[k], &cut[k], &s, -1);
    Ref *stored = NEWS(Ref, s.n);
    const uint8_t *marks = emit_primal(&wide, lin, nres, s.n, out, stored);

    int at = r->kind == SCAN ? f.nin : np + r->ncap;
    Draft L = draft_like(r, f.nin + s.n, f.nsub);
    for (int j = 0; j <= f.nin; j++) {
        for (int k = 0; j == at && k < s.n; k++)
            draft_operand(&L, stored[k], marks + (size_t)k * nlane);
        if (j < f.nin)
            draft_operand(&L, f.in[j], marks_in(r, j));
    }
    L.r.ncap += r->kind == SCAN ? 0 : s.n;
    for (int k = 0; k < f.nsub; k++)
        L.sub[k] = cut_body(f.sub[k], &cut[k], &s, at - np);
    emit_linear(&L, lin, nres, out);
}
