/*
 * sharded_moves.c - values over a mesh, from one state to another.
 *
 * In: a value, and how it is wanted: which of its axes each axis of the mesh deals out, which sums may wait.
 * Out: the same value so, with the collectives that bring it there: a share is cut out of what is whole, or
 * made again where that takes few instructions, what is dealt out is gathered or goes from one axis to
 * another at once, and a sum of which everybody wants a share is scattered.
 */
#include "sharded.h"

const Dealt dealt_whole = { { -1, -1, -1, -1 } };

static bool dealt_equal(const Dealt *a, const Dealt *b) { return !memcmp(a, b, sizeof *a); }
bool val_equal(const Val *a, const Val *b)
{
    return dealt_equal(&a->at, &b->at) && a->sum == b->sum;
}
bool val_is_whole(const Val *v) { return dealt_equal(&v->at, &dealt_whole) && !v->sum; }

/* ==================== collectives */

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

Ref sharded_collective(Sharder *s, Op op, int m, int at, int to, Ref x)
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
void val_take_sums(Sharder *s, Ref old, unsigned sums, const Dealt *want)
{
    Val *v = &s->val[old];
    for (int m = 0; m < s->mesh->naxis; m++) {
        int d = want ? want->over[m] : -1;
        if (!(v->sum & sums & 1u << m))
            continue;
        if (d >= 0 && s->uses[old] == 1 && comes_last(&v->at, d, m)) {
            v->ref =
                sharded_collective(s, OP_psum_scatter, m, d, 0, split_axis(v->ref, d, s->mesh->size[m]));
            v->at.over[m] = (int8_t)d;
        } else {
            v->ref = sharded_collective(s, OP_psum, m, 0, 0, v->ref);
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

Ref val_moved(Sharder *s, const Ins *i, Ref old, Val v, const Dealt *want)
{
    Ref x = v.ref;
    unsigned gone = leaving(&v.at, want);
    for (int m = s->mesh->naxis - 1; m >= 0 && x; m--) {
        int d = v.at.over[m];
        if (!(gone & 1u << m))
            continue;
        if (changes(&v.at, want, gone, m)) {
            tell(s, "moves", i, old, m);
            x = sharded_collective(
                s, OP_all_to_all, m, want->over[m], d, split_axis(x, want->over[m], s->mesh->size[m]));
            v.at.over[m] = want->over[m];
        } else {
            tell(s, "gathers", i, old, m);
            x = sharded_collective(s, OP_all_gather, m, d, 0, x);
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
Ref val_as(Sharder *s, const Ins *i, Ref old, const Dealt *want, unsigned sums)
{
    val_take_sums(s, old, ~sums, want);
    return val_moved(s, i, old, s->val[old], want);
}

/* As a part of a sum over an axis: the first shard has it, the others have nothing. */
Ref sharded_first(const Mesh *mesh, Ref x, int m)
{
    if (!x || const_is(x, 0))
        return x;
    Ref first = Eq(AxisIndex(mesh->name[m], mesh->size[m]), Const(DT_I32, 0));
    return Select(Broadcast(first, type_shape(typ(x)), (Ints){ 0 }), x, Zeros(typ(x)));
}

/* ... so that it has just these sums to be taken. An accumulator of a body that is still in another state is
 * only a placeholder of the right type: the body is done again. */
Ref val_part(Sharder *s, const Ins *i, Ref old, const Val *want)
{
    Val *v = &s->val[old];
    if (val_equal(v, want))
        return v->ref;
    if (graph_acc(cur(), v->ref))
        return graph_value(mesh_share(s->mesh, &want->at, &s->g->type[old]), V_ACC);
    Ref x = val_as(s, i, old, &want->at, want->sum);
    for (int m = 0; m < s->mesh->naxis; m++)
        if (want->sum & ~v->sum & 1u << m)
            x = sharded_first(s->mesh, x, m);
    return x;
}
