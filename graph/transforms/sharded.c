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

/* at: the axis of the value that each axis of the mesh deals out; sum: a bit for each over which it is still
 * to be summed. */
typedef struct Val { Ref ref; Dealt at; uint8_t sum; } Val;

/* Of one graph. lanes: a region with lanes has to lose them first, and all is done again. */
typedef struct Sharder {
    const Mesh *mesh;
    const Graph *g;
    Val *val;
    int *uses;
    bool *lanes;
    Moves *moves;
} Sharder;

static const Dealt whole = { { -1, -1, -1, -1 } };

static bool dealt_equal(const Dealt *a, const Dealt *b) { return !memcmp(a, b, sizeof *a); }
static bool state_equal(const Val *a, const Val *b)
{
    return dealt_equal(&a->at, &b->at) && a->sum == b->sum;
}
static bool is_whole(const Val *v) { return dealt_equal(&v->at, &whole) && !v->sum; }

static Dealt shifted(const Dealt *d, int by)
{
    Dealt e = *d;
    for (int m = 0; m < MESH_AXES; m++)
        if (e.over[m] >= 0)
            e.over[m] = (int8_t)(e.over[m] + by);
    return e;
}

/* ==================== from one state to another */

static void tell(Sharder *s, const char *what, const Ins *i, Ref old, int m)
{
    Moves *t = s->moves;
    if (t->text && i)
        text_add(t->text, "%s:%d: %s %s %s over \"%s\"\n", i->loc.file ? i->loc.file : "?", i->loc.line,
            optab[i->op].name, what, type_text(&s->g->type[old]), s->mesh->name[m]);
}

/* A share of what every shard can make itself: constants, positions, and what is computed of them by few
 * instructions. 0: it cannot. */
static Ref made_share(const Mesh *mesh, Ref x, int d, int m, int *few);

static Ref made_again(const Mesh *mesh, const Ins *i, int d, int m, int *few)
{
    Ref y[3], out;
    for (int k = 0; k < i->nin; k++)
        if (--*few < 0 || !(y[k] = made_share(mesh, i->in[k], d, m, few)))
            return 0;
    again(i, y, &out);
    return out;
}

static Ref made_share(const Mesh *mesh, Ref x, int d, int m, int *few)
{
    const Ins *i = def(x);
    Type t = *typ(x);
    int64_t bits;
    t.dim[d] /= mesh->size[m];
    if (const_of(x, &bits))
        return FullBits(t, bits);
    if (!i || error_pending())
        return 0;
    if (i->op == OP_iota && ins_int(i, ATTR(iota, axis)) != d)
        return Iota(t, (int)ins_int(i, ATTR(iota, axis)));
    if (i->op == OP_iota) {
        Ref first = Mul(Convert(AxisIndex(mesh->name[m], mesh->size[m]), (Dtype)t.dt),
            Const((Dtype)t.dt, (double)t.dim[d]));
        return Add(Iota(t, d), Broadcast(first, type_shape(&t), (Ints){ 0 }));
    }
    if (i->op == OP_broadcast) {
        Ints dims = ins_ints(i, ATTR(broadcast, dims));
        int k = 0;
        while (k < dims.n && dims.v[k] != d)
            k++;
        Ref y = i->in[0];
        if (k < dims.n && typ(y)->dim[k] != 1)
            y = made_share(mesh, y, k, m, few);
        return y ? Broadcast(y, type_shape(&t), dims) : 0;
    }
    return optab[i->op].elementwise && i->nin <= 3 ? made_again(mesh, i, d, m, few) : 0;
}

/* The share of axis d that is this shard's along m. */
static Ref share_of(const Mesh *mesh, Ref x, int d, int m)
{
    int few = 32;
    Ref made = made_share(mesh, x, d, m, &few);
    if (made || error_pending())
        return made;
    Ints sizes = type_shape(typ(x)), none = { 0 };
    int64_t n = sizes.n;
    sizes.v[d] /= mesh->size[m];
    Type at = type_of(DT_I32, 1, &n);
    int32_t *one = NEWS(int32_t, n);
    one[d] = (int32_t)sizes.v[d];
    Ref number = Broadcast(AxisIndex(mesh->name[m], mesh->size[m]), type_shape(&at), none);
    return DynamicSlice(x, Mul(number, Data(at, one)), sizes, none);
}

/* Axis d split into [n, rest], or two axes from d on joined. */
static Ref split_axis(Ref x, int d, int64_t n)
{
    Ints s = type_shape(typ(x));
    for (int k = s.n++; k > d; k--)
        s.v[k] = s.v[k - 1];
    s.v[d] = n, s.v[d + 1] /= n;
    return Reshape(x, s);
}

static Ref join_axes(Ref x, int d)
{
    Ints s = type_shape(typ(x));
    s.v[d] *= s.v[d + 1], s.n--;
    for (int k = d + 1; k < s.n; k++)
        s.v[k] = s.v[k + 1];
    return Reshape(x, s);
}

static Ref collective(Sharder *s, Op op, int m, int at, int to, Ref x)
{
    *(op == OP_all_gather       ? &s->moves->gathers :
            op == OP_all_to_all ? &s->moves->exchanges :
                                  &s->moves->sums) += 1;
    return x ? Collective(op, s->mesh->name[m], s->mesh->size[m], at, to, x) : 0;
}

/* Would m be the last of those that deal out axis d? */
static bool comes_last(const Dealt *at, int d, int m)
{
    for (int k = m + 1; k < MESH_AXES; k++)
        if (at->over[k] == d)
            return false;
    return true;
}

/* The sums over these axes. Where all that reads it wants it dealt out anyway, each shard gets its share
 * alone. */
static void take_sums(Sharder *s, Ref old, unsigned sums, const Dealt *want)
{
    Val *v = &s->val[old];
    for (int m = 0; m < s->mesh->naxis; m++) {
        int d = want ? want->over[m] : -1;
        if (!(v->sum & sums & 1u << m))
            continue;
        if (d >= 0 && s->uses[old] == 1 && comes_last(&v->at, d, m)) {
            v->ref = collective(s, OP_psum_scatter, m, d, 0, split_axis(v->ref, d, s->mesh->size[m]));
            v->at.over[m] = (int8_t)d;
        } else {
            v->ref = collective(s, OP_psum, m, 0, 0, v->ref);
        }
        v->sum &= (uint8_t)~(1u << m);
    }
}

/* Axes of the mesh that have to let go: those that are wanted elsewhere, those before which another one
 * belongs, and those that come after one of these. */
static unsigned leaving(const Dealt *have, const Dealt *want)
{
    unsigned gone = 0;
    for (int m = 0; m < MESH_AXES; m++) {
        bool must = have->over[m] >= 0 && want->over[m] != have->over[m];
        for (int k = 0; k < m && have->over[m] >= 0; k++)
            must = must || (have->over[k] == have->over[m] && gone & 1u << k) ||
                   (want->over[k] == have->over[m] && have->over[k] != have->over[m]);
        gone |= must ? 1u << m : 0;
    }
    return gone;
}

/* May axis m of the mesh change from one axis of the value to another at once? */
static bool changes(const Dealt *have, const Dealt *want, unsigned gone, int m)
{
    int d = have->over[m], e = want->over[m];
    bool can = e >= 0 && e != d && comes_last(have, d, m) && comes_last(have, e, m);
    for (int k = 0; k < MESH_AXES; k++)
        can = can && (k == m || !(gone & 1u << k));
    for (int k = 0; k < m; k++)
        can = can && (want->over[k] != e || have->over[k] == e);
    return can;
}

static Ref moved(Sharder *s, const Ins *i, Ref old, Val v, const Dealt *want)
{
    Ref x = v.ref;
    unsigned gone = leaving(&v.at, want);
    for (int m = s->mesh->naxis - 1; m >= 0 && x; m--) {
        int d = v.at.over[m];
        if (!(gone & 1u << m))
            continue;
        if (changes(&v.at, want, gone, m)) {
            tell(s, "moves", i, old, m);
            x = collective(
                s, OP_all_to_all, m, want->over[m], d, split_axis(x, want->over[m], s->mesh->size[m]));
            v.at.over[m] = want->over[m];
        } else {
            tell(s, "gathers", i, old, m);
            x = collective(s, OP_all_gather, m, d, 0, x);
            v.at.over[m] = -1;
        }
        x = x ? join_axes(x, d) : 0;
    }
    for (int m = 0; m < s->mesh->naxis && x; m++)
        if (v.at.over[m] < 0 && want->over[m] >= 0)
            x = share_of(s->mesh, x, want->over[m], m);
    return x;
}

/* A value of the graph dealt out so, with these sums still to be taken. */
static Ref value_as(Sharder *s, const Ins *i, Ref old, const Dealt *want, unsigned sums)
{
    take_sums(s, old, ~sums, want);
    return moved(s, i, old, s->val[old], want);
}

/* As a part of a sum over an axis: the first shard has it, the others have nothing. */
static Ref first_only(const Mesh *mesh, Ref x, int m)
{
    if (!x || const_is(x, 0))
        return x;
    Ref first = Eq(AxisIndex(mesh->name[m], mesh->size[m]), Const(DT_I32, 0));
    return Select(Broadcast(first, type_shape(typ(x)), (Ints){ 0 }), x, Zeros(typ(x)));
}

/* ... so that it has just these sums to be taken. An accumulator of a body that is still in another state is
 * only a placeholder of the right type: the body is done again. */
static Ref part_as(Sharder *s, const Ins *i, Ref old, const Val *want)
{
    Val *v = &s->val[old];
    if (state_equal(v, want))
        return v->ref;
    if (graph_acc(cur(), v->ref))
        return graph_value(mesh_share(s->mesh, &want->at, &s->g->type[old]), V_ACC);
    Ref x = value_as(s, i, old, &want->at, want->sum);
    for (int m = 0; m < s->mesh->naxis; m++)
        if (want->sum & ~v->sum & 1u << m)
            x = first_only(s->mesh, x, m);
    return x;
}

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
    Dealt d = whole;
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
            *y = collective(s, f->kind[to[m]] == F_MAX ? OP_pmax : OP_pmin, m, 0, 0, *y);
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
        x[k] = k == last ? part_as(s, i, i->in[k], &part) : value_as(s, i, i->in[k], &at, 0);
    }
    x[0] = part_as(s, i, i->in[0], &want);
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
        x[k] = value_as(s, i, i->in[k], &at, kept);
    }
    Dealt first = i->nout ? dealt_by(f.out[0], to) : whole;
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
    Dealt want = whole;
    const Type *t = &s->g->type[i->out];
    int open = (int)ins_int(i, ATTR(constrain, open));
    if (s->moves->spec(s->mesh, (const char *)(intptr_t)ins_int(i, ATTR(constrain, name)), open, t, &want))
        return;
    for (int m = 0; m < MESH_AXES; m++) {
        int d = s->val[i->in[0]].at.over[m];
        if (d >= 0 && d < open && want.over[m] < 0)
            want.over[m] = (int8_t)d;
    }
    Ref x = value_as(s, NULL, i->in[0], &want, 0);
    s->val[i->out] = (Val){ x, want, 0 };
}

static void barrier(Sharder *s, const Ins *i)
{
    Ref *x = NEWS(Ref, i->nin), *y = NEWS(Ref, i->nin);
    for (int k = 0; k < i->nin; k++) {
        take_sums(s, i->in[k], ~0u, NULL);
        x[k] = s->val[i->in[k]].ref;
    }
    again(i, x, y);
    for (int k = 0; k < i->nin; k++)
        s->val[i->out + (Ref)k] = (Val){ y[k], s->val[i->in[k]].at, 0 };
}

/* ==================== regions with lanes */

static int stacked_axes(const uint8_t *marks, int below)
{
    int n = 0;
    for (int a = 0; a < below; a++)
        n += marks[a] == STACKED;
    return n;
}

/* The lane axis that axis d of a value is; -1: none. */
static int lane_at(const Region *r, const uint8_t *marks, int d)
{
    for (int a = 0; a < r->nlane; a++)
        if (marks[a] == STACKED && d-- == 0)
            return a;
    return -1;
}

/* Which lane axis each axis of the mesh deals out. False: something else than lanes is dealt out. */
static bool choose_lanes(const Sharder *s, const Ins *i, int8_t *to)
{
    const Region *r = i->region;
    int64_t left[MAXRANK];
    for (int a = 0; a < r->nlane; a++)
        left[a] = r->lane[a].size;
    for (int m = 0; m < MESH_AXES; m++)
        to[m] = -1;
    for (int m = 0; m < s->mesh->naxis; m++) {
        size_t votes[MAXRANK] = { 0 }, most = 0;
        for (int k = 0; k < i->nin; k++) {
            int d = s->val[i->in[k]].at.over[m], a = d < 0 ? -1 : lane_at(r, marks_in(r, k), d);
            if (d >= 0 && a < 0)
                return false;
            if (a < 0 || left[a] % s->mesh->size[m])
                continue;
            votes[a] += type_bytes(&s->g->type[i->in[k]]) + 1;
            if (votes[a] > most)
                most = votes[a], to[m] = (int8_t)a;
        }
        if (to[m] >= 0)
            left[to[m]] /= s->mesh->size[m];
    }
    return true;
}

static Val lanes_state(const uint8_t *marks, const int8_t *to)
{
    Val v = { .at = whole };
    for (int m = 0; m < MESH_AXES; m++) {
        if (to[m] >= 0 && marks[to[m]] == STACKED)
            v.at.over[m] = (int8_t)stacked_axes(marks, to[m]);
        if (to[m] >= 0 && marks[to[m]] == SUMMED)
            v.sum |= (uint8_t)(1u << m);
    }
    return v;
}

/* An accumulator that is in another state than the region would have it: the region begins at zero. */
static bool apart(const Sharder *s, const Region *r, const Ins *i, int k, const Val *want)
{
    const Val *v = &s->val[i->in[k]];
    return region_group(r, k) == 'a' && graph_acc(cur(), v->ref) && !state_equal(v, want);
}

static Ref zero_share(const Sharder *s, Ref old, const Val *v)
{
    Type t = mesh_share(s->mesh, &v->at, &s->g->type[old]);
    return Zeros(&t);
}

/* ... and what it gives is added afterwards. */
static Val added(Sharder *s, const Ins *i, Ref acc, Val x)
{
    Val all = { .at = x.at, .sum = x.sum | s->val[acc].sum };
    for (int m = 0; m < s->mesh->naxis; m++) {
        if (all.at.over[m] >= 0)
            all.sum &= (uint8_t)~(1u << m);
        if (all.sum & ~x.sum & 1u << m)
            x.ref = first_only(s->mesh, x.ref, m);
    }
    all.ref = Accum(part_as(s, i, acc, &all), x.ref);
    return all;
}

/* Fewer lanes in each shard; bodies do not see them. */
static void lanes_region(Sharder *s, const Ins *i)
{
    const Region *r = i->region;
    int8_t to[MESH_AXES];
    Ref *y = NEWS(Ref, i->nout);
    if (!choose_lanes(s, i, to)) {
        *s->lanes = true;
        return;
    }
    Draft f = draft_like(r, i->nin, i->nsub);
    f.r.lane = arena_copy(r->lane, sizeof *r->lane * (size_t)r->nlane);
    for (int m = 0; m < s->mesh->naxis; m++)
        if (to[m] >= 0)
            f.r.lane[to[m]].size /= s->mesh->size[m];
    for (int k = 0; k < i->nin; k++) {
        Val want = lanes_state(marks_in(r, k), to);
        Ref x = apart(s, r, i, k, &want) ? zero_share(s, i->in[k], &want) : part_as(s, i, i->in[k], &want);
        draft_operand(&f, x, marks_in(r, k));
    }
    for (int k = 0; k < i->nsub; k++)
        f.sub[k] = i->sub[k];
    draft_emit(&f, y);
    for (int k = 0; k < i->nout; k++) {
        Val state = lanes_state(marks_out(r, k), to);
        int j = region_npred(r) + r->ncap + k;
        state.ref = y[k];
        s->val[i->out + (Ref)k] =
            k < r->nacc && apart(s, r, i, j, &state) ? added(s, i, i->in[j], state) : state;
    }
}

/* ==================== regions without */

static void all_ins(Sharder *s);

static Sharder inside(const Sharder *s, const Graph *g)
{
    Sharder in = { s->mesh, g, NEWS(Val, g->nval), NEWS(int, g->nval), s->lanes, s->moves };
    for (int n = 0; n < g->nins; n++)
        for (int k = 0; k < g->ins[n]->nin; k++)
            in.uses[g->ins[n]->in[k]]++;
    for (int k = 0; k < g->nout; k++)
        in.uses[g->out[k]]++;
    return in;
}

/* A body over shares. in: states; want: those of the results, NULL: as they come. out: as they came. */
static Graph *body(
    const Sharder *s, const Graph *g, const Val *in, const Val *want, const bool *fixed, Val *out)
{
    Sharder b = inside(s, g);
    Ref *y = NEWS(Ref, g->nout);
    graph_begin(graph_new());
    for (int k = 0; k < g->nin; k++) {
        Type t = mesh_share(s->mesh, &in[k].at, &g->type[g->in[k]]);
        b.val[g->in[k]] = in[k];
        b.val[g->in[k]].ref = graph_input(t, g->flag[g->in[k]] & V_ACC);
    }
    all_ins(&b);
    for (int k = 0; k < g->nout && !error_pending() && !*s->lanes; k++) {
        Val *v = &b.val[g->out[k]];
        if (!graph_acc(cur(), v->ref))
            take_sums(&b, g->out[k], ~0u, NULL);
        out[k] = *v;
        y[k] = fixed[k] && !graph_acc(cur(), v->ref) ? moved(&b, NULL, g->out[k], *v, &want[k].at) : v->ref;
    }
    graph_outputs(y, g->nout);
    return graph_end();
}

/* States of what goes round a region while they are found: of the inputs of its bodies, and of their
 * results. held: which are not to be dealt out along an axis of the mesh, since that has failed. */
typedef struct Trip { int nin, nout; Val *in, *out; uint8_t *held; bool *fixed; Graph **sub; } Trip;

/* What comes round in another state than it went in: taken over if that is to deal out more; else it is
 * whole from now on. */
static bool adopt(Val *in, const Val *out, uint8_t *held, bool acc)
{
    Val was = *in;
    if (acc) {
        in->at = out->at, in->sum = out->sum;
        return !state_equal(&was, in);
    }
    for (int m = 0; m < MESH_AXES; m++) {
        if (in->at.over[m] == out->at.over[m] || *held & 1u << m)
            continue;
        if (in->at.over[m] >= 0)
            *held |= (uint8_t)(1u << m), in->at.over[m] = -1;
        else
            in->at.over[m] = out->at.over[m];
        *held |= was.at.over[m] < 0 ? (uint8_t)(1u << m) : 0;   /* one attempt */
    }
    return !state_equal(&was, in);
}

/* Branches give their results in one state: whole where they differ. */
static bool agree(Val *all, const Val *one)
{
    bool differs = false;
    for (int m = 0; m < MESH_AXES; m++)
        if (all->at.over[m] != one->at.over[m])
            all->at.over[m] = -1, differs = true;
    return differs;
}

static void first_states(Sharder *s, const Ins *i, Trip *t)
{
    const Region *r = i->region;
    int np = region_npred(r);
    for (int j = 0; j < t->nin; j++) {
        Val *v = &s->val[i->in[np + j]];
        char group = region_group(r, np + j);
        if (group != 'a')
            take_sums(s, i->in[np + j], ~0u, NULL);
        t->in[j] = *v;
        if (group == 'a' && !graph_acc(cur(), v->ref))
            t->in[j].sum = 0;
        for (int m = 0; m < MESH_AXES && group == 'x'; m++)
            t->in[j].at.over[m] = v->at.over[m] > 0 ? (int8_t)(v->at.over[m] - 1) : -1;
    }
}

/* All bodies once. False: again. */
static bool round_once(Sharder *s, const Ins *i, Trip *t, bool last)
{
    const Region *r = i->region;
    int nloop = region_nloop(r);
    bool stable = true;
    Val *out = NEWS(Val, t->nout + 1), one = { .at = whole };
    for (int b = 0; b < i->nsub && !error_pending() && !*s->lanes; b++) {
        bool test = r->kind == WHILE && !b, yes = true;
        if (test) {
            t->sub[b] = body(s, i->sub[b], t->in, &one, &yes, out);
            continue;
        }
        t->sub[b] = body(s, i->sub[b], t->in, t->out, t->fixed, out);
        for (int k = 0; k < t->nout; k++)
            if (k < r->nacc || (k < nloop && (r->kind == SCAN || r->kind == WHILE))) {
                bool changed = adopt(&t->in[r->ncap + k], &out[k], &t->held[k], k < r->nacc);
                stable = stable && !changed;
                t->out[k] = t->in[r->ncap + k];
            } else if (r->kind == COND && t->fixed[k]) {
                stable = !agree(&t->out[k], &out[k]) && stable;
            } else {
                t->out[k] = out[k], t->fixed[k] = r->kind == COND;
            }
    }
    return stable || last;
}

static void inner_region(Sharder *s, const Ins *i)
{
    const Region *r = i->region;
    int np = region_npred(r);
    Trip t = { .nin = i->nin - np, .nout = i->nout };
    t.in = NEWS(Val, t.nin), t.out = NEWS(Val, t.nout), t.held = NEWS(uint8_t, t.nout),
    t.fixed = NEWS(bool, t.nout);
    t.sub = NEWS(Graph *, i->nsub);
    first_states(s, i, &t);
    for (int k = 0; k < region_nloop(r); k++)
        t.out[k] = t.in[r->ncap + k], t.fixed[k] = true;
    Moves before = *s->moves;
    for (int k = 0, done = 0; !done && !error_pending() && !*s->lanes; k++) {
        size_t n = before.text ? before.text->n : 0;
        s->moves->sums = before.sums, s->moves->gathers = before.gathers,
        s->moves->exchanges = before.exchanges;
        if (before.text)
            before.text->n = n;
        done = round_once(s, i, &t, k > 12);
    }
    if (error_pending() || *s->lanes)
        return;
    Draft f = draft_like(r, i->nin, i->nsub);
    Ref *y = NEWS(Ref, i->nout);
    for (int k = 0; k < i->nin; k++) {
        Val want = k < np ? (Val){ .at = whole } : t.in[k - np];
        if (region_group(r, k) == 'x')
            want.at = shifted(&want.at, 1);
        draft_operand(&f, part_as(s, i, i->in[k], &want), NULL);
    }
    for (int k = 0; k < i->nsub; k++)
        f.sub[k] = t.sub[k];
    draft_emit(&f, y);
    for (int k = 0; k < i->nout; k++) {
        Val v = { y[k], r->kind == SCAN && k >= region_nloop(r) ? shifted(&t.out[k].at, 1) : t.out[k].at,
            t.out[k].sum };
        s->val[i->out + (Ref)k] = v;
    }
}

static void as_it_is(Sharder *s, const Ins *i)
{
    Ref *x = NEWS(Ref, i->nin), *y = NEWS(Ref, i->nout);
    for (int k = 0; k < i->nin; k++)
        x[k] = s->val[i->in[k]].ref;
    again(i, x, y);
    for (int k = 0; k < i->nout; k++)
        s->val[i->out + (Ref)k] = (Val){ y[k], whole, 0 };
}

static void region(Sharder *s, const Ins *i)
{
    bool plain = true, inside = false;
    for (int k = 0; k < i->nin; k++)
        plain = plain && is_whole(&s->val[i->in[k]]);
    for (int k = 0; k < i->nsub; k++)
        inside = inside || graph_constrains(i->sub[k]);
    if (inside && i->region->nlane)
        *s->lanes = true;
    else if (plain && !inside)
        as_it_is(s, i);
    else if (i->region->nlane)
        lanes_region(s, i);
    else
        inner_region(s, i);
}

/* ==================== graphs */

static void all_ins(Sharder *s)
{
    Loc before = loc_here();
    for (int n = 0; n < s->g->nins && !error_pending() && !*s->lanes; n++) {
        const Ins *i = s->g->ins[n];
        loc_set(i->loc);
        if (i->op == OP_region)
            region(s, i);
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
    Sharder top = { .mesh = mesh, .lanes = lanes, .moves = moves }, s = inside(&top, g);
    Ref *y = NEWS(Ref, g->nout);
    Graph *h = graph_begin(graph_new());
    h->name = g->name;
    for (int k = 0; k < g->nin; k++)
        s.val[g->in[k]] = (Val){ graph_input(mesh_share(mesh, &in[k], &g->type[g->in[k]]), 0), in[k], 0 };
    all_ins(&s);
    for (int k = 0; k < g->nout && !*lanes && !error_pending(); k++) {
        take_sums(&s, g->out[k], ~0u, NULL);
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
