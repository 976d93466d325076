/*
 * collective.c - lanes of a named axis meet: axis_index, psum, pmax, pmin, all_gather, psum_scatter,
 * all_to_all, ppermute.
 *
 * Attributes `name size`: the axis, an interned string, and how many lanes it has; each value is what one
 * lane has. Where vmap takes that axis (the lane of Axis has this name) the lanes are axis 0 of a stacked
 * operand, and a collective is an ordinary op over axis 0, or a view: nothing is left of it. Over other axes
 * it batches as any op does. So no collective of lanes is ever scheduled; one that is left is over an axis
 * that is not there, or an exchange of shards. Derivatives are JAX's: psum transposes to psum, all_gather
 * to psum_scatter and back, all_to_all and ppermute to themselves backwards. The lanes that hold the
 * largest share the derivative of pmax.
 */
#include "ops.h"

#include <string.h>

_Static_assert(OP_ppermute - OP_axis_index == 7 && OP_psum == OP_axis_index + 1,
    "collectives are rows beside one another");

/* ==================== attributes */

/* at, to: axes, where the op has them */
typedef struct Meet { const char *name; int64_t size; int at, to; } Meet;

static Meet meet_of(const Ins *i)
{
    Meet m = { .name = (const char *)(intptr_t)ins_int(i, ATTR(psum, name)),
        .size = ins_int(i, ATTR(psum, size)) };
    if (i->op == OP_all_gather || i->op == OP_psum_scatter)
        m.at = (int)ins_int(i, ATTR(all_gather, axis));
    if (i->op == OP_all_to_all)
        m.at = (int)ins_int(i, ATTR(all_to_all, split)), m.to = (int)ins_int(i, ATTR(all_to_all, concat));
    return m;
}

static Ref emit_meet(Op op, const Meet *m, Ref x, Ref source)
{
    Attr a = { 0 };
    attr_int(&a, (int64_t)(intptr_t)m->name), attr_int(&a, m->size);
    if (op == OP_all_gather || op == OP_psum_scatter || op == OP_all_to_all)
        attr_int(&a, m->at);
    if (op == OP_all_to_all)
        attr_int(&a, m->to);
    return emit(op, op == OP_axis_index ? 0 : source ? 2 : 1, (const Ref[]){ x, source }, &a);
}

bool op_meets(const Ins *i)
{
    return i->op >= OP_axis_index && i->op <= OP_ppermute;
}

const char *op_axis_name(const Ins *i)
{
    return op_meets(i) ? meet_of(i).name : NULL;
}

Ref AxisIndex(const char *name, int64_t size)
{
    return emit_meet(OP_axis_index, &(Meet){ .name = name, .size = size }, 0, 0);
}

Ref Collective(Op op, const char *name, int64_t size, int at, int to, Ref x)
{
    return emit_meet(op, &(Meet){ name, size, at, to }, x, 0);
}

Ref Permute(const char *name, int64_t size, Ref x, Ref source)
{
    return emit_meet(OP_ppermute, &(Meet){ .name = name, .size = size }, x, source);
}

static int meet_attrs(Op op, const int64_t *attr, int nattr, Meet *m)
{
    union {
        struct psum_attrs name;
        struct all_gather_attrs axis;
        struct all_to_all_attrs axes;
    } a;
    int e = ops_attrs(op, attr, nattr, &a);
    if (e)
        return e;
    *m = (Meet){ .name = (const char *)(intptr_t)a.name.name.v[0], .size = a.name.size.v[0] };
    if (op == OP_all_gather || op == OP_psum_scatter)
        m->at = (int)a.axis.axis.v[0];
    if (op == OP_all_to_all)
        m->at = (int)a.axes.split.v[0], m->to = (int)a.axes.concat.v[0];
    return m->size >= 0 ?
        0 :
        error_set(E_SHAPE, "%s: an axis of %lld lanes", optab[op].name, (long long)m->size);
}

/* ==================== types */

static Ints without_axis(Ints a, int at)
{
    for (int d = at; d + 1 < a.n; d++)
        a.v[d] = a.v[d + 1];
    a.n--;
    return a;
}

static Ints with_axis(Ints a, int at, int64_t n)
{
    for (int d = a.n; d > at; d--)
        a.v[d] = a.v[d - 1];
    a.v[at] = n, a.n++;
    return a;
}

/* The axis that is dealt out has one element a lane. */
static int dealt_axis(Op op, const Type *t, const Meet *m)
{
    int e = ops_axis(op, t, m->at);
    if (!e && t->dim[m->at] != m->size)
        e = error_set(E_SHAPE,
            "%s: axis %d of %s must have one element for each of the %lld lanes of axis \"%s\"",
            optab[op].name, m->at, type_text(t), (long long)m->size, m->name);
    return e;
}

static int new_axis(Op op, Type *out, const Type *t, Ints shape, int at, const Meet *m)
{
    if (at < 0 || at > shape.n)
        return error_set(E_SHAPE, "%s: a new axis at %d of %s", optab[op].name, at, type_text(t));
    if (shape.n == MAXRANK)
        return error_set(E_SHAPE, "%s: %s has the largest number of axes", optab[op].name, type_text(t));
    return ops_result(op, out, t->dt, with_axis(shape, at, m->size));
}

static int index_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    Meet m;
    (void)nin, (void)t;
    *out = type_scalar(DT_I32);
    return meet_attrs(op, attr, nattr, &m);
}

static int number_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    Meet m;
    (void)nin;
    *out = *t[0];
    if (t[0]->dt == DT_BOOL && op == OP_psum)
        return error_set(E_DTYPE, "%s: bool has no sums; convert it", optab[op].name);
    return meet_attrs(op, attr, nattr, &m);
}

static int gather_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    Meet m;
    (void)nin;
    int e = meet_attrs(op, attr, nattr, &m);
    return e ? e : new_axis(op, out, t[0], type_shape(t[0]), m.at, &m);
}

static int deal_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    Meet m;
    (void)nin;
    int e = meet_attrs(op, attr, nattr, &m);
    if (e || (e = dealt_axis(op, t[0], &m)))
        return e;
    Ints rest = without_axis(type_shape(t[0]), m.at);
    return op == OP_all_to_all ? new_axis(op, out, t[0], rest, m.to, &m) :
                                 ops_result(op, out, t[0]->dt, rest);
}

static int permute_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    Meet m;
    (void)nin;
    *out = *t[0];
    int e = meet_attrs(op, attr, nattr, &m);
    if (!e && (t[1]->dt != DT_I32 || t[1]->rank != 1 || t[1]->dim[0] != m.size))
        e = error_set(E_SHAPE, "%s: the sources are i32[%lld], one a lane, not %s", optab[op].name,
            (long long)m.size, type_text(t[1]));
    return e;
}

/* ==================== derivatives */

/* Lanes with the largest (or least) value share: their tangents' mean. */
static void extreme_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    Meet m = meet_of(i);
    Ref holds = Convert(Eq(x[0], z[0]), typ(z[0])->dt);
    Ref sum = emit_meet(OP_psum, &m, Mul(t[0], holds), 0), count = emit_meet(OP_psum, &m, holds, 0);
    tz[0] = Div(sum, count);
}

static void permute_jvp(const Ins *i, const Ref *x, const Ref *t, const Ref *z, Ref *tz)
{
    (void)z;
    Meet m = meet_of(i);
    tz[0] = t[0] ? emit_meet(OP_ppermute, &m, t[0], x[1]) : 0;
}

static void sum_transpose(const Ins *i, const Ref *ct, Cts *c)
{
    Meet m = meet_of(i);
    ct_add(c, i->in[0], emit_meet(OP_psum, &m, ct[0], 0));
}

static void gather_transpose(const Ins *i, const Ref *ct, Cts *c)
{
    Meet m = meet_of(i);
    ct_add(c, i->in[0], emit_meet(i->op == OP_all_gather ? OP_psum_scatter : OP_all_gather, &m, ct[0], 0));
}

static void exchange_transpose(const Ins *i, const Ref *ct, Cts *c)
{
    Meet m = meet_of(i), back = { m.name, m.size, m.to, m.at };
    ct_add(c, i->in[0], emit_meet(OP_all_to_all, &back, ct[0], 0));
}

/* Rows of an operand at places; -1, which is outside, leaves a row of the first operand as it is. */
static Ref put_rows(Ref into, Ref place, Ref rows)
{
    Attr a = { 0 };
    attr_list(&a, NULL, 0);                     /* window_dims: a row is one number */
    attr_int(&a, 0), attr_int(&a, 0);           /* inserted, scatter_map */
    attr_list(&a, NULL, 0), attr_list(&a, NULL, 0);
    attr_int(&a, 2), attr_int(&a, 0), attr_int(&a, 0);          /* what is outside is left out; set */
    return emit(OP_scatter, 3,
        (const Ref[]){ into, Reshape(place, (Ints){ 2, { typ(place)->dim[0], 1 } }), rows }, &a);
}

/* Who received from me is who I receive from. */
static void permute_transpose(const Ins *i, const Ref *ct, Cts *c)
{
    Meet m = meet_of(i);
    Type t = type_of(DT_I32, 1, &m.size);
    Ref back = put_rows(Full(t, -1), i->in[1], Iota(t, 0));
    ct_add(c, i->in[0], emit_meet(OP_ppermute, &m, ct[0], back));
}

/* ==================== lanes */

/* Rows of a stacked operand; -1: zeros. */
static Ref rows_of(Ref x, Ref source)
{
    Attr a = { 0 };
    Ints sizes = type_shape(typ(x)), window = { 0 };
    int64_t n = typ(source)->dim[0];
    for (int d = 1; d < sizes.n; d++)
        window.v[window.n++] = d;
    sizes.v[0] = 1;
    attr_list(&a, window.v, window.n);
    attr_int(&a, 0), attr_int(&a, 0);
    attr_list(&a, NULL, 0), attr_list(&a, NULL, 0);
    attr_list(&a, sizes.v, sizes.n);
    attr_int(&a, 1);                            /* moved inside: those rows are not used */
    Ref got = emit(OP_gather, 2, (const Ref[]){ x, Reshape(source, (Ints){ 2, { n, 1 } }) }, &a);
    if (!got)
        return 0;
    Ref has = Broadcast(Ge(source, Like(source, 0)), type_shape(typ(got)), (Ints){ 1, { 0 } });
    return Select(has, got, Zeros(typ(got)));
}

/* Over its own axis, whose lanes are axis 0 of x. *state: of the result. */
static Ref met(const Ins *i, const Meet *m, Ref x, Ref source, uint8_t *state)
{
    Ints first = { 1, { 0 } };
    *state = SHARED;
    switch (i->op) {
    case OP_psum: return Sum(x, first);
    case OP_pmax: return Reduce(OP_reduce_max, x, first);
    case OP_pmin: return Reduce(OP_reduce_min, x, first);
    case OP_all_gather: return MoveAxis(x, 0, m->at);
    default: break;
    }
    *state = STACKED;
    if (i->op == OP_psum_scatter)
        return MoveAxis(Sum(x, first), m->at, 0);
    /* the axis dealt out becomes the lanes, the lanes become an axis */
    if (i->op == OP_all_to_all)
        return MoveAxis(MoveAxis(x, m->at + 1, 0), 1, m->to + 1);
    return rows_of(x, source);
}

/* Over another axis: one more in front. */
static Ref beside(const Ins *i, Meet m, Ref x, Ref source)
{
    m.at++, m.to++;
    return emit_meet(i->op, &m, x, source);
}

static void meet_batch(const Ins *i, const Ref *x, const uint8_t *s, const Axis *ax, Ref *out, uint8_t *so)
{
    Meet m = meet_of(i);
    bool mine = ax->lane.name && m.name == ax->lane.name;
    if (mine && m.size != ax->lane.size) {
        error_set(E_SHAPE, "%s: axis \"%s\" has %lld lanes, not %lld", optab[i->op].name, m.name,
            (long long)ax->lane.size, (long long)m.size);
        return;
    }
    if (i->op == OP_ppermute && s[1] != SHARED) {
        error_set(E_SHAPE, "ppermute: the lanes that send must be known, not computed");
        return;
    }
    if (mine && i->op == OP_axis_index) {
        out[0] = Iota(type_of(DT_I32, 1, &ax->lane.size), 0), so[0] = STACKED;
    } else if (!mine && s[0] == SHARED) {
        again(i, x, out), so[0] = SHARED;
    } else if (mine && i->op == OP_psum && s[0] == SHARED) {
        out[0] = Mul(x[0], Like(x[0], (double)ax->lane.size)), so[0] = SHARED;
    } else if (mine) {
        if (!ax->lane.size && (i->op == OP_pmax || i->op == OP_pmin))
            out[0] = Zeros(typ(x[0])), so[0] = SHARED;
        else
            out[0] = met(i, &m, stacked(x[0], s[0], ax->lane.size), i->op == OP_ppermute ? x[1] : 0, &so[0]);
    } else {
        out[0] = beside(i, m, stacked(x[0], s[0], ax->lane.size), i->op == OP_ppermute ? x[1] : 0),
        so[0] = STACKED;
    }
}

/* ==================== shards: bytes are exchanged, and each computes what it needs of them */

static const char *exchange_name(const Meet *m, int *exchanges)
{
    return intern(arena_text("%s#%d", m->name, ++*exchanges));
}

/* [lanes, ...]: of all shards. */
static Ref gathered(Meet m, Ref x, int *exchanges)
{
    Type all = type_add_lead(typ(x), m.size);
    return type_size(&all) ? Collective(OP_all_gather, exchange_name(&m, exchanges), m.size, 0, 0, x) :
                             Zeros(&all);
}

/* x: [lanes, ...], a row for each shard. The rows for this one. */
static Ref dealt(Meet m, Ref x, int *exchanges)
{
    return type_size(typ(x)) ? Collective(OP_all_to_all, exchange_name(&m, exchanges), m.size, 0, 0, x) : x;
}

static Ref reduced(Op op, Ref x)
{
    Ints first = { 1, { 0 } };
    return op == OP_psum ? Sum(x, first) : Reduce(op == OP_pmax ? OP_reduce_max : OP_reduce_min, x, first);
}

/* bytes that come to a shard before it reduces them, while the next come */
enum { CHUNK = 512 << 10 };

/* Each shard reduces a part, in the order of the shards as everywhere, and all get the same bits of it: in
 * one exchange of x as [shards, chunks, length], or, between ranks, in one that deals the parts out and one
 * that gathers them. */
static Ref reduced_in_parts(Op op, const Meet *m, ReduceWay way, Ref x, int *exchanges)
{
    Type t = *typ(x);
    int64_t size = type_size(&t), chunks = way == REDUCE_IN_STEPS ? 1 : (int64_t)type_bytes(&t) / CHUNK + 1;
    int64_t len = (size + m->size * chunks - 1) / (m->size * chunks), all = m->size * chunks * len;
    Ints none = { 1, { 0 } }, more = { 1, { all - size } };
    x = Reshape(x, (Ints){ 1, { size } });
    if (more.v[0])
        x = Pad(x, Const((Dtype)t.dt, 0), none, more, none);
    if (way == REDUCE_IN_STEPS) {
        x = dealt(*m, Reshape(x, (Ints){ 2, { m->size, len } }), exchanges);
        x = gathered(*m, reduced(op, x), exchanges);
    } else {
        x = Reshape(x, (Ints){ 3, { m->size, chunks, len } });
        x = Collective(op, exchange_name(m, exchanges), m->size, 0, 0, x);
    }
    return Reshape(SliceAxis(Reshape(x, (Ints){ 1, { all } }), 0, 0, size), type_shape(&t));
}

Ref reduced_over(Op op, const char *name, int64_t size, ReduceWay way, Ref x, int *exchanges)
{
    const Meet m = { .name = name, .size = size };
    return way == REDUCE_WHOLE ? reduced(op, gathered(m, x, exchanges)) :
                                 reduced_in_parts(op, &m, way, x, exchanges);
}

bool op_reduces(const Ins *i) { return i->op == OP_psum || i->op == OP_pmax || i->op == OP_pmin; }

Graph *reduce_chunk(const Ins *i, const Type *x)
{
    Graph *g = graph_begin(graph_new());
    const Type t = type_of((Dtype)x->dt, 2, (const int64_t[]){ x->dim[0], x->dim[2] });
    const Ref out = reduced((Op)i->op, graph_input(t, 0));
    graph_outputs(&out, 1);
    graph_end();
    return graph_dce(g);
}

Ref collective_exchanged(const Ins *i, const Ref *x, Ref index, Together how, int *exchanges)
{
    Meet m = meet_of(i);
    size_t all = i->op == OP_axis_index ? 0 : type_bytes(typ(x[0])) * (size_t)m.size;
    switch (i->op) {
    case OP_axis_index:
        return index;
    case OP_all_gather:
        return MoveAxis(gathered(m, x[0], exchanges), 0, m.at);
    case OP_psum_scatter:
        return reduced(OP_psum, dealt(m, MoveAxis(x[0], m.at, 0), exchanges));
    case OP_all_to_all:
        return MoveAxis(dealt(m, MoveAxis(x[0], m.at, 0), exchanges), 0, m.to);
    case OP_ppermute:
        return all ? Permute(exchange_name(&m, exchanges), m.size, x[0], x[1]) : x[0];
    default:
        if (!all)
            return x[0];
        return reduced_over((Op)i->op, m.name, m.size,
            (int64_t)all <= how.direct ? REDUCE_WHOLE :
                how.steps              ? REDUCE_IN_STEPS :
                                         REDUCE_IN_PARTS,
            x[0], exchanges);
    }
}

Ref exchange_first(const Lane *lane, Ref x, int *exchanges)
{
    Type t = *typ(x);
    return Reshape(
        SliceAxis(gathered((Meet){ .name = lane->name, .size = lane->size }, x, exchanges), 0, 0, 1),
        type_shape(&t));
}

static bool exchanges_itself(const Ins *i) { return op_meets(i) && i->op != OP_axis_index; }
bool graph_exchanges(const Graph *g) { return graph_find(g, exchanges_itself); }

bool ins_exchanges(const Ins *i)
{
    bool found = exchanges_itself(i);
    for (int k = 0; k < i->nsub && !found; k++)
        found = graph_exchanges(i->sub[k]);
    return found;
}

/* That of shards has a number. */
static bool has_number(const Ins *i) { return exchanges_itself(i) && strchr(meet_of(i).name, '#'); }

bool ins_ordered(const Ins *i)
{
    bool found = has_number(i);
    for (int k = 0; k < i->nsub && !found; k++)
        found = graph_find(i->sub[k], has_number);
    return found;
}

/* ==================== the host */

static int meet_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    (void)t, (void)in, (void)u, (void)out;
    return error_set(E_TRACE, "%s: no axis \"%s\" is around it", optab[i->op].name, meet_of(i).name);
}

#define RULES(name, infer, jvp, transpose) \
    const Rules rules_##name = { infer, jvp, transpose, meet_batch, meet_eval };
RULES(axis_index, index_infer, ops_jvp_zero, NULL)
RULES(psum, number_infer, ops_jvp_again, sum_transpose)
RULES(pmax, number_infer, extreme_jvp, NULL)
RULES(pmin, number_infer, extreme_jvp, NULL)
RULES(all_gather, gather_infer, ops_jvp_again, gather_transpose)
RULES(psum_scatter, deal_infer, ops_jvp_again, gather_transpose)
RULES(all_to_all, deal_infer, ops_jvp_again, exchange_transpose)
RULES(ppermute, permute_infer, permute_jvp, permute_transpose)
