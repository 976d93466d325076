/*
 * sharded.c - what each shard of a mesh computes of a program over arrays that are dealt out to it.
 *
 * In: a graph without rules, effects and places, and for each input which of its axes each axis of the mesh
 * deals out. Out: the same program over shares, with collectives over the axes of the mesh. One pass,
 * forwards: an instruction's factors (factors.c) say which axes of operands and results go together; each
 * axis of the mesh deals out the factor that most bytes of its operands already have, and the rest is moved
 * to fit. Derivatives are taken before, so they need no rules here.
 * A value is in one of three states along an axis of the mesh: dealt out, whole in each shard, or still to
 * be summed. Sums wait as long as only sums, negation and views follow: three products into one cotangent
 * are one psum. Regions keep their lanes where only those are dealt out; else bodies are taken apart like
 * the program itself, until what goes round has the same state at both ends.
 */
#include "sharded.h"

/* ==================== instructions */

static bool divides(const Sharder *s, const Ins *i, const Factors *f, int k, const int8_t *to, int also)
{
    int64_t n = 1;
    bool fits = true;
    for (int m = 0; m < s->mesh->naxis; m++)
        n *= to[m] == k || m == also ? s->mesh->size[m] : 1;
    for (int j = 0; j < i->nin; j++)
        for (int d = 0; d < s->g->type[i->in[j]].rank; d++)
            fits = fits && (f->in[j][d] != k || s->g->type[i->in[j]].dim[d] % n == 0);
    for (int j = 0; j < i->nout; j++)
        for (int d = 0; d < s->g->type[i->out + (Ref)j].rank; d++)
            fits = fits && (f->out[j][d] != k || s->g->type[i->out + (Ref)j].dim[d] % n == 0);
    return fits;
}

/* The factor that each axis of the mesh deals out; -1: none. Operands have as many votes as bytes. */
static void choose(const Sharder *s, const Ins *i, const Factors *f, int8_t *to)
{
    for (int m = 0; m < MESH_AXES; m++)
        to[m] = -1;
    for (int m = 0; m < s->mesh->naxis; m++) {
        size_t votes[FACTORS] = { 0 }, most = 0;
        for (int j = 0; j < i->nin; j++) {
            int d = s->val[i->in[j]].at.over[m], k = d < 0 ? -1 : f->in[j][d];
            if (k < 0 || !divides(s, i, f, k, to, m))
                continue;
            votes[k] += type_bytes(&s->g->type[i->in[j]]) + 1;
            if (votes[k] > most)
                most = votes[k], to[m] = (int8_t)k;
        }
    }
}

static Dealt dealt_by(const FactorAxes axes, const int8_t *to)
{
    Dealt d = dealt_whole;
    for (int m = 0; m < MESH_AXES; m++)
        for (int a = 0; a < MAXRANK && to[m] >= 0; a++)
            if (axes[a] == to[m])
                d.over[m] = (int8_t)a;
    return d;
}

static unsigned sums_by(const Factors *f, const int8_t *to, FactorKind kind)
{
    unsigned sums = 0;
    for (int m = 0; m < MESH_AXES; m++)
        sums |= to[m] >= 0 && f->kind[to[m]] == kind ? 1u << m : 0;
    return sums;
}

/* Sums that may wait until after this instruction: it is linear in all operands together, and each has them,
 * or is zero. */
static unsigned sums_kept(const Sharder *s, const Ins *i, const int8_t *to)
{
    bool view = i->op == OP_reshape || i->op == OP_transpose;
    if (i->op != OP_add && i->op != OP_sub && i->op != OP_neg && i->op != OP_reduce_sum && !view)
        return 0;
    unsigned kept = ~0u;
    for (int k = 0; k < i->nin; k++) {
        const Val *v = &s->val[i->in[k]];
        kept &= const_is(v->ref, 0) ? ~0u : v->sum;
        if (view && s->uses[i->in[k]] > 1)
            return 0;
    }
    for (int m = 0; m < MESH_AXES; m++)
        kept &= to[m] >= 0 ? ~(1u << m) : ~0u;
    return kept & ((1u << s->mesh->naxis) - 1);
}

/* Sizes among the attributes become those of the share. */
static void local_sizes(const Ins *i, const Graph *g, const Type *out, const Type *in, int64_t *attr)
{
    int64_t *list;
    switch (i->op) {
    case OP_broadcast: case OP_reshape:
        list = attr + (ins_attr(i, ATTR(reshape, shape), NULL) - i->attr);
        memcpy(list, out->dim, sizeof *list * out->rank);
        break;
    case OP_slice:
        list = attr + (ins_attr(i, ATTR(slice, limit), NULL) - i->attr);
        for (int d = 0; d < out->rank; d++)
            if (in->dim[d] != g->type[i->in[0]].dim[d])
                list[d] = in->dim[d];
        break;
    case OP_dynamic_slice:
        list = attr + (ins_attr(i, ATTR(dynamic_slice, sizes), NULL) - i->attr);
        for (int n = ins_ints(i, ATTR(dynamic_slice, sizes)).n, d = 0; d < n; d++)
            list[d] = out->dim[out->rank - n + d];
        break;
    case OP_gather:
        list = attr + (ins_attr(i, ATTR(gather, sizes), NULL) - i->attr);
        Ints dropped = ints_concat(ins_ints(i, ATTR(gather, collapsed)), ins_ints(i, ATTR(gather, x_batch)));
        for (int d = 0, k = 0; d < in->rank; d++)
            if (!ints_has(&dropped, d))
                list[d] = out->dim[ins_ints(i, ATTR(gather, offset_dims)).v[k++]];
        break;
    }
}

static void emit_local(const Sharder *s, const Ins *i, const Type *out, const Ref *x, Ref *y)
{
    Ins local = *i;
    int64_t *attr = arena_copy(i->attr, sizeof *attr * (size_t)(i->nattr ? i->nattr : 1));
    if (i->nin && x[0])
        local_sizes(i, s->g, out, typ(x[0]), attr);
    local.attr = attr;
    again(&local, x, y);
}

static void extremes(Sharder *s, const Factors *f, const int8_t *to, Ref *y)
{
    for (int m = 0; m < s->mesh->naxis; m++)
        if (to[m] >= 0 && (f->kind[to[m]] == F_MAX || f->kind[to[m]] == F_MIN))
            *y = sharded_collective(s, f->kind[to[m]] == F_MAX ? OP_pmax : OP_pmin, m, 0, 0, *y);
}

static bool adds_to(const Ins *i)
{
    bool scatters = i->op == OP_scatter && ins_int(i, ATTR(scatter, combine)) == 1;
    return scatters || i->op == OP_accum || i->op == OP_accum_slice;
}

/* What is added to the first operand, in place: all but that one say in which state the sum is. */
static void add_to(Sharder *s, const Ins *i, const Factors *f, const int8_t *to, Ref *x)
{
    int last = i->nin - 1 - (i->op == OP_accum_slice);          /* what is added: x, u, or the updates */
    Val *acc = &s->val[i->in[0]];
    unsigned made = sums_by(f, to, F_SUM), own = s->val[i->in[last]].sum,
             held = acc->ref && graph_acc(cur(), acc->ref) ? acc->sum : 0;
    for (int m = 0; m < MESH_AXES; m++)
        own &= to[m] >= 0 ? ~(1u << m) : ~0u;
    Val want = { .at = dealt_by(f->in[0], to), .sum = (uint8_t)(made | own | held) };
    for (int m = 0; m < MESH_AXES; m++)
        if (want.at.over[m] >= 0)
            want.sum &= (uint8_t)~(1u << m);
    for (int k = 1; k < i->nin; k++) {
        Dealt at = dealt_by(f->in[k], to);
        Val part = { .at = at, .sum = (uint8_t)(want.sum & ~made) };
        x[k] = k == last ? val_part(s, i, i->in[k], &part) : val_as(s, i, i->in[k], &at, 0);
    }
    x[0] = val_part(s, i, i->in[0], &want);
    Type t = mesh_share(s->mesh, &want.at, &s->g->type[i->out]);
    Val *y = &s->val[i->out];
    emit_local(s, i, &t, x, &y->ref);
    y->at = want.at, y->sum = want.sum;
}

static void plain_op(Sharder *s, const Ins *i)
{
    Factors f = factors_of(i, s->g);
    int8_t to[MESH_AXES];
    Ref *x = NEWS(Ref, i->nin), *y = NEWS(Ref, i->nout);
    choose(s, i, &f, to);
    if (adds_to(i)) {
        add_to(s, i, &f, to, x);
        return;
    }
    unsigned kept = sums_kept(s, i, to);
    for (int k = 0; k < i->nin; k++) {
        Dealt at = dealt_by(f.in[k], to);
        x[k] = val_as(s, i, i->in[k], &at, kept);
    }
    Dealt first = i->nout ? dealt_by(f.out[0], to) : dealt_whole;
    Type t = i->nout ? mesh_share(s->mesh, &first, &s->g->type[i->out]) : (Type){ 0 };
    emit_local(s, i, &t, x, y);
    for (int k = 0; k < i->nout; k++) {
        extremes(s, &f, to, &y[k]);
        s->val[i->out + (Ref)k] =
            (Val){ y[k], dealt_by(f.out[k], to), (uint8_t)(kept | sums_by(&f, to, F_SUM)) };
    }
}

/* Dealt out as the program says; axes that are open stay as they are. */
static void constrain(Sharder *s, const Ins *i)
{
    Dealt want = dealt_whole;
    const Type *t = &s->g->type[i->out];
    int open = (int)ins_int(i, ATTR(constrain, open));
    if (s->moves->spec(s->mesh, (const char *)(intptr_t)ins_int(i, ATTR(constrain, name)), open, t, &want))
        return;
    for (int m = 0; m < MESH_AXES; m++) {
        int d = s->val[i->in[0]].at.over[m];
        if (d >= 0 && d < open && want.over[m] < 0)
            want.over[m] = (int8_t)d;
    }
    Ref x = val_as(s, NULL, i->in[0], &want, 0);
    s->val[i->out] = (Val){ x, want, 0 };
}

static void barrier(Sharder *s, const Ins *i)
{
    Ref *x = NEWS(Ref, i->nin), *y = NEWS(Ref, i->nin);
    for (int k = 0; k < i->nin; k++) {
        val_take_sums(s, i->in[k], ~0u, NULL);
        x[k] = s->val[i->in[k]].ref;
    }
    again(i, x, y);
    for (int k = 0; k < i->nin; k++)
        s->val[i->out + (Ref)k] = (Val){ y[k], s->val[i->in[k]].at, 0 };
}

/* ==================== graphs */

void sharded_all(Sharder *s)
{
    Loc before = loc_here();
    for (int n = 0; n < s->g->nins && !error_pending() && !*s->lanes; n++) {
        const Ins *i = s->g->ins[n];
        loc_set(i->loc);
        if (i->op == OP_region)
            sharded_region(s, i);
        else if (i->op == OP_barrier)
            barrier(s, i);
        else if (i->op == OP_constrain)
            constrain(s, i);
        else
            plain_op(s, i);
    }
    loc_set(before);
}

/* NULL after an error, and where regions have to lose their lanes. */
static Graph *over_shares(
    const Graph *g, const Mesh *mesh, const Dealt *in, Dealt *out, bool *lanes, Moves *moves)
{
    Sharder top = { .mesh = mesh, .lanes = lanes, .moves = moves }, s = sharded_inside(&top, g);
    Ref *y = NEWS(Ref, g->nout);
    Graph *h = graph_begin(graph_new());
    h->name = g->name;
    for (int k = 0; k < g->nin; k++)
        s.val[g->in[k]] = (Val){ graph_input(mesh_share(mesh, &in[k], &g->type[g->in[k]]), 0), in[k], 0 };
    sharded_all(&s);
    for (int k = 0; k < g->nout && !*lanes && !error_pending(); k++) {
        val_take_sums(&s, g->out[k], ~0u, NULL);
        y[k] = s.val[g->out[k]].ref, out[k] = s.val[g->out[k]].at;
    }
    graph_outputs(y, *lanes || error_pending() ? 0 : g->nout);
    graph_end();
    return *lanes || error_pending() ? NULL : h;
}

Graph *graph_sharded(const Graph *g, const Mesh *mesh, const Dealt *in, Dealt *out, Moves *moves)
{
    bool lanes = false;
    Text *text = moves->text;
    size_t n = text ? text->n : 0;
    Graph *h = over_shares(g, mesh, in, out, &lanes, moves);
    if (lanes && !error_pending()) {
        lanes = false;
        *moves = (Moves){ .text = text, .spec = moves->spec };
        if (text)
            text->n = n;
        h = (g = graph_matrix(g)) ? over_shares(g, mesh, in, out, &lanes, moves) : NULL;
    }
    return h ? graph_dce(h) : NULL;
}
