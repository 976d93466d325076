/*
 * prepare.c - the graph rewritten before it is scheduled.
 *
 * In:  a graph. Out: one that means the same, in which every op has a kernel of its own: positions of
 * extremes and the
 *      largest k become reductions and a sort, random blocks become arithmetic, gathers that fill become a
 *      select, products have the dtype of their factors, sums of half floats run in f32, reductions over
 *      nothing are constants, values without elements are constants. `split`: and long reductions with few
 *      results become two stages, regions take their form.
 * Invariant: rewriting what is already rewritten changes nothing but the split; so bodies may be expanded
 * more than once.
 */
#include "graph_map.h"
#include "prepare.h"

#include <math.h>
#include <string.h>

static Type with_dt(const Type *t, Dtype dt) { Type u = *t; u.dt = dt; return u; }
static Ints one(int64_t v) { return (Ints){ 1, { v } }; }
static Ints without(Ints s, int axis)
{
    Ints r = { 0 };
    for (int k = 0; k < s.n; k++)
        if (k != axis)
            r.v[r.n++] = s.v[k];
    return r;
}

/* ==================== two stages */

static int64_t divisor(int64_t n, int64_t k)
{
    while (n > 1 && k % n)
        n--;
    return n;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t pieces(const Machine *m, int64_t k, double results)
{
    int64_t n = results > 1 ? least(k / m->piece, m->pieces) : least(k / m->piece_alone, m->pieces_alone);
    return divisor(n < 1 ? 1 : n, k);
}

/* Axis a becomes two: n pieces. */
static Ref in_pieces(Ref x, int a, int64_t n)
{
    const Type *t = typ(x);
    Ints s = { t->rank + 1, { 0 } };
    for (int d = 0; d < t->rank; d++)
        s.v[d + (d > a)] = t->dim[d];
    s.v[a] = n;
    s.v[a + 1] = t->dim[a] / n;
    return Reshape(x, s);
}

/* Elements of memory behind a value: of what its views look at. */
static double behind(Ref v)
{
    double n = (double)type_size(typ(v));
    for (const Ins *i = def(v); i; i = def(v)) {
        if (!op_views(i->op) && i->op != OP_dynamic_slice && i->op != OP_pad)
            break;
        v = i->in[0];
        double m = (double)type_size(typ(v));
        n = m < n && i->op != OP_pad ? m : n;
    }
    return n;
}

/* Work-items copy panels of the right-hand side for themselves where its rows lie apart, many rows of the
 * left pass by each panel, and all steps of it fit: then it is read once, and needs no pieces. */
static bool in_own_panels(const Machine *m, Ref y, double rows, double steps)
{
    double size = (double)dtype_size((Dtype)typ(y)->dt), row = size * (double)type_size(typ(y)) / steps;
    return row > (double)m->ahead && rows >= (double)m->own_panel_uses &&
        steps * (double)m->panel * size <= (double)m->own_panel;
}

/* A product of arrays that leave the caches before the next block of results wants them again, with few
 * results: the leading contracted axes are cut into pieces that fit, one after the other; the results of all
 * pieces are added. 0: no need. */
static Ref cut_dot(const Machine *m, Ref x, Ref y, Ints lc, Ints rc, const Type *whole)
{
    double results = (double)type_size(whole), all = behind(x) + behind(y), room = all / (8 * results),
           n = 1;
    double want = all * (double)dtype_size((Dtype)typ(x)->dt) / (double)m->near, steps = 1;
    for (int k = 0; k < lc.n; k++)
        steps *= (double)typ(x)->dim[lc.v[k]];
    want = want > room ? room : want;
    want = want > steps / (double)m->piece_steps ? steps / (double)m->piece_steps : want;
    double left = (double)type_size(typ(x)) / steps, right = (double)type_size(typ(y)) / steps;
    double reads = (double)m->piece_reads;      /* a vector: each is read once */
    if (want < 4 || results < reads * 256 || left <= reads || right <= reads ||
        in_own_panels(m, y, left, steps))
        return 0;
    Ints lb = { 0 }, rb = { 0 };
    while (lc.n && n < want && typ(x)->rank < MAXRANK && typ(y)->rank < MAXRANK) {
        int64_t e = typ(x)->dim[lc.v[0]], p = divisor((int64_t)(want / n), e);
        int a = (int)lc.v[0], b = (int)rc.v[0];
        if (p == 1)
            break;
        n *= (double)p;
        lb.v[lb.n++] = a, rb.v[rb.n++] = b;
        if (p == e) {
            lc = without(lc, 0), rc = without(rc, 0);
            continue;
        }
        x = in_pieces(x, a, p), y = in_pieces(y, b, p);
        for (int k = 0; k < lc.n; k++)
            lc.v[k] += lc.v[k] >= a, rc.v[k] += rc.v[k] >= b;
        for (int k = 0; k < lb.n; k++)
            lb.v[k] += lb.v[k] > a, rb.v[k] += rb.v[k] > b;
        break;
    }
    Ref z = n >= 4 ? Dot(x, y, lc, rc, lb, rb, DT_NONE) : 0;
    Ints axes = { lb.n, { 0 } };
    for (int k = 0; k < lb.n; k++)
        axes.v[k] = k;
    return z ? Sum(z, axes) : 0;
}

/* The product i of x and y, which is `whole`, in parts where that is better. */
static Ref split_dot(const Machine *m, const Ins *i, Ref x, Ref y, Ref whole)
{
    const Type *s = typ(x), *u = typ(y);
    Ints lc = ins_ints(i, ATTR(dot, lhs_contract)), rc = ins_ints(i, ATTR(dot, rhs_contract));
    if (ins_ints(i, ATTR(dot, lhs_batch)).n || s->rank >= MAXRANK || u->rank >= MAXRANK ||
        typ(whole)->rank >= MAXRANK)
        return whole;
    Ref cut = cut_dot(m, x, y, lc, rc, typ(whole));
    if (cut || lc.n != 1)
        return cut ? cut : whole;
    double results = (double)type_size(typ(whole)), k = (double)s->dim[lc.v[0]];
    int64_t n = pieces(m, s->dim[lc.v[0]], results);
    bool both = s->rank > 1 && u->rank > 1;
    if (results >= (double)(m->few_blocks * (both ? m->block_results : m->line_results)) ||
        k * results < (double)m->dot_work || n < m->pieces_least)
        return whole;
    Ref l = in_pieces(x, (int)lc.v[0], n), r = in_pieces(y, (int)rc.v[0], n);
    return Sum(Dot(l, r, one(lc.v[0] + 1), one(rc.v[0] + 1), lc, rc, DT_NONE), one(0));
}

/* Sums over leading rows: each work-item a chunk of rows, a private row of sums. 0: not such a sum. */
static Ref split_rows(const Machine *m, Ref x, Ints axes)
{
    const Type *t = typ(x);
    int64_t rows = 1;
    double sums = 1;
    bool columns;
    for (int d = 0; d < t->rank; d++)
        if (d < axes.n)
            rows *= t->dim[d];
        else
            sums *= (double)t->dim[d];
    for (int d = 0; d < axes.n; d++)
        if (axes.v[d] != d)
            return 0;
    int64_t n = divisor(m->row_pieces, rows);
    if (!row_of_sums(m, sums, rows) || n < m->row_pieces_least || t->rank - axes.n + 2 > MAXRANK ||
        outer_product(cur(), x, axes.n, (int)m->dear, &columns))
        return 0;
    /* it needs columns before rows anyway: so columns, all of it */
    if (columns && sums >= (double)m->columns)
        return 0;
    Ints s = { t->rank - axes.n + 2, { n, rows / n } };
    for (int d = axes.n; d < t->rank; d++)
        s.v[d - axes.n + 2] = t->dim[d];
    return Sum(Sum(Reshape(x, s), one(1)), one(0));
}

static Ref split_reduce(const Machine *m, Op op, Ref x, Ints axes)
{
    const Type *t = typ(x);
    double k = 1, results = 1;
    int a = (int)axes.v[0];
    for (int d = 0; d < t->rank; d++)
        *(ints_has(&axes, d) ? &k : &results) *= (double)t->dim[d];
    for (int j = 0; j < axes.n; j++)
        a = t->dim[axes.v[j]] > t->dim[a] ? (int)axes.v[j] : a;
    Ref rows = op == OP_reduce_sum && axes.n ? split_rows(m, x, axes) : 0;
    if (rows)
        return rows;
    int64_t n = pieces(m, t->dim[a], results);
    double few = (double)m->few_blocks;
    if (m->group_items > 1 && !ints_has(&axes, t->rank - 1)) {         /* an item a column, not a group */
        few = (double)m->columns;
        n = divisor(least((int64_t)(few / results), t->dim[a] / m->few_rows), t->dim[a]);
    }
    if (n < m->pieces_least || results >= few || k * results < (double)m->sum_work || t->rank >= MAXRANK)
        return Reduce(op, x, axes);
    Ints first = { 0 };
    int at = a;
    for (int j = 0; j < axes.n; j++) {
        first.v[first.n++] = axes.v[j] + (axes.v[j] >= a);
        at -= axes.v[j] < a;
    }
    return Reduce(op, Reduce(op, in_pieces(x, a, n), first), one(at));
}

/* ==================== reductions and products */

/* The least integer of a dtype with a sign. */
static int64_t least_signed(Dtype d) { return INT64_MIN >> (64 - 8 * (int)dtype_size(d)); }

static Ref identity(Op op, const Type *t)
{
    bool lo = op == OP_reduce_max, f = dtype_float((Dtype)t->dt),
         u = dtype_unsigned((Dtype)t->dt) || t->dt == DT_BOOL;
    const int64_t least = u ? 0 : least_signed((Dtype)t->dt), most = t->dt == DT_BOOL ? 1 : ~least;
    switch (op) {
    case OP_reduce_prod: return Full(*t, 1);
    case OP_reduce_and: return FullBits(*t, t->dt == DT_BOOL ? 1 : -1);
    case OP_reduce_max: case OP_reduce_min:
        return f ? Full(*t, lo ? -INFINITY : INFINITY) : FullBits(*t, lo ? least : most);
    default: return Zeros(t);
    }
}

/* split: long ones in two stages, as that machine wants them. */
static Ref reduced(Op op, Ref x, Ints axes, const Machine *split)
{
    if (!x)
        return 0;
    Dtype dt = (Dtype)typ(x)->dt;
    Type t = { .dt = dt };
    for (int d = 0; d < typ(x)->rank; d++)
        if (!ints_has(&axes, d))
            t.dim[t.rank++] = typ(x)->dim[d];
    if (!axes.n)
        return x;
    if (!type_size(typ(x)))
        return identity(op, &t);
    if (dtype_half(dt) && (op == OP_reduce_sum || op == OP_reduce_prod))
        return Convert(reduced(op, Convert(x, DT_F32), axes, split), dt);
    if (dt == DT_BOOL)
        op = op == OP_reduce_max ? OP_reduce_or : op == OP_reduce_min ? OP_reduce_and : op;
    return split ? split_reduce(split, op, x, axes) : Reduce(op, x, axes);
}

/* In the wider dtype of factors and result; half floats in f32; of bools, whether any pair is true. */
/* i, a dot, on factors x, y; to: the dtype of the result. split: NULL: it is one product. */
static Ref product(const Ins *i, Ref x, Ref y, Dtype to, const Type *result, const Machine *split)
{
    Dtype from = (Dtype)typ(x)->dt, dt = dtype_size(to) > dtype_size(from) ? to : from;
    if (!type_size(typ(x)) || !type_size(typ(y)))
        return Zeros(result);
    if (dt == DT_BOOL) {
        Ref n = product(i, Convert(x, DT_I32), Convert(y, DT_I32), DT_I32, result, split);
        return n ? Ne(n, Like(n, 0)) : 0;
    }
    dt = dtype_half(dt) ? DT_F32 : dt;
    x = Convert(x, dt);
    y = Convert(y, dt);
    Ref whole = Dot(x, y, ins_ints(i, ATTR(dot, lhs_contract)), ins_ints(i, ATTR(dot, rhs_contract)),
        ins_ints(i, ATTR(dot, lhs_batch)), ins_ints(i, ATTR(dot, rhs_batch)), DT_NONE);
    return Convert(split && whole ? split_dot(split, i, x, y, whole) : whole, to);
}

/* The first NaN, else the first of the extremes: the least position of those. */
static Ref position(Op op, Ref x, int axis, Dtype index, const Machine *split)
{
    Type t = with_dt(typ(x), type_counter(typ(x)->dim[axis]));
    Ref best = reduced(op == OP_argmax ? OP_reduce_max : OP_reduce_min, x, one(axis), split);
    Ints dims = { 0 };
    for (int d = 0; d < t.rank; d++)
        if (d != axis)
            dims.v[dims.n++] = d;
    Ref hit = Eq(x, Broadcast(best, type_shape(typ(x)), dims));
    if (is_float(x))
        hit = Or(hit, Ne(x, x));
    return Convert(
        reduced(OP_reduce_min, Select(hit, Iota(t, axis), FullBits(t, t.dim[axis] - 1)), one(axis), split),
        index);
}

static Op of_cumulative(Op op)
{
    return op == OP_cumsum ? OP_reduce_sum :
        op == OP_cumprod   ? OP_reduce_prod :
        op == OP_cummax    ? OP_reduce_max :
                             OP_reduce_min;
}

static Ref combined(Op op, Ref x, Ref y)
{
    return op == OP_cumsum ? Add(x, y) :
        op == OP_cumprod   ? Mul(x, y) :
        op == OP_cummax    ? Max(x, y) :
                             Min(x, y);
}

static Ref cumulative(const Machine *m, Op op, Ref x, int axis, bool reverse);

/* A long axis with little beside it: within pieces at once, then what lies before each piece. More work in
 * parallel, and a sum of many numbers loses less. */
static Ref in_two_stages(const Machine *m, Op op, Ref x, int axis, bool reverse, int64_t n)
{
    Type t = *typ(x);
    Ref y = in_pieces(x, axis, n), within = Cumulative(op, y, axis + 1, reverse);
    Ref total = Reduce(of_cumulative(op), y, one(axis + 1));
    Ref upto = cumulative(m, op, total, axis, reverse);
    Type edge = *typ(total);
    edge.dim[axis] = 1;
    Ref none = identity(of_cumulative(op), &edge);
    Ref rest = SliceAxis(upto, axis, reverse ? 1 : 0, reverse ? n : n - 1);
    const Ref parts[] = { reverse ? rest : none, reverse ? none : rest };
    Ints dims = { 0 };
    for (int d = 0; d <= t.rank; d++)
        if (d != axis + 1)
            dims.v[dims.n++] = d;
    Ref before = Broadcast(Concat(parts, 2, axis), type_shape(typ(within)), dims);
    return Reshape(combined(op, before, within), type_shape(&t));
}

static Ref cumulative(const Machine *m, Op op, Ref x, int axis, bool reverse)
{
    Type t = *typ(x);
    Dtype dt = (Dtype)t.dt;
    int64_t len = t.dim[axis];
    if (len == 1)
        return x;
    if (dtype_half(dt) && (op == OP_cumsum || op == OP_cumprod))
        return Convert(cumulative(m, op, Convert(x, DT_F32), axis, reverse), dt);
    int64_t n = len >= 2 * m->running_piece && type_size(&t) / len < m->running_beside ?
        divisor(len / m->running_piece, len) :
        1;
    return n >= 4 ? in_two_stages(m, op, x, axis, reverse, n) : Cumulative(op, x, axis, reverse);
}

/* ==================== order, random bits, bits */

/* Floats as integers of the same order, in which -0 is below 0; the same turns them back. nan: the
 * largest. */
static Ref in_order(Ref b)
{
    int width = 8 * (int)dtype_size((Dtype)typ(b)->dt);
    Ref sign = ShiftRightArithmetic(b, Like(b, width - 1));
    return Xor(b, And(sign, FullBits(*typ(b), INT64_MAX >> (64 - width))));
}

static Ref order_of(Ref x)
{
    static const Dtype same[] = { [2] = DT_I16, [4] = DT_I32, [8] = DT_I64 };
    Ref b = in_order(Bitcast(x, same[dtype_size((Dtype)typ(x)->dt)]));
    return Select(
        Ne(x, x), FullBits(*typ(b), INT64_MAX >> (64 - 8 * (int)dtype_size((Dtype)typ(b)->dt))), b);
}

static void largest(Ref x, int64_t k, Ref *out)
{
    Type t = with_dt(typ(x), DT_I32);
    Dtype dt = (Dtype)typ(x)->dt;
    int axis = t.rank - 1;
    Ref in[2] = { is_float(x) ? order_of(x) : x, Iota(t, axis) }, sorted[2] = { in[0], in[1] };
    if (t.dim[axis] > 1 && emit_n(OP_sort, 2, in, ATTRS(1, axis, 1, 1, 1, 1), sorted) != 2)
        return;
    for (int j = 0; j < 2; j++)
        out[j] = SliceAxis(sorted[j], axis, 0, k);
    out[0] = dtype_float(dt) ? Bitcast(in_order(out[0]), dt) : out[0];
}

static Dtype unsigned_of(size_t bytes)
{
    return bytes == 1 ? DT_U8 : bytes == 2 ? DT_U16 : bytes == 4 ? DT_U32 : DT_U64;
}

/* A change of width: the last axis is made of, or taken from, shifted parts. */
static Ref bitcast(Ref x, Dtype to)
{
    size_t m = dtype_size((Dtype)typ(x)->dt), n = dtype_size(to);
    if (m == n)
        return Bitcast(x, to);
    Dtype narrow = unsigned_of(m < n ? m : n), wide = unsigned_of(m < n ? n : m);
    if (m > n) {
        Type t = with_dt(typ(x), wide);
        Ints dims = { t.rank, { 0 } };
        for (int d = 0; d < t.rank; d++)
            dims.v[d] = d;
        t.dim[t.rank++] = (int64_t)(m / n);
        Ref all = Broadcast(Bitcast(x, wide), type_shape(&t), dims);
        Ref shift = Mul(Iota(t, t.rank - 1), Full(t, 8.0 * (double)n));
        return Bitcast(Convert(ShiftRightLogical(all, shift), narrow), to);
    }
    Type t = with_dt(typ(x), wide);
    Ref part = Convert(Bitcast(x, narrow), wide), shift = Mul(Iota(t, t.rank - 1), Full(t, 8.0 * (double)m));
    return Bitcast(Reduce(OP_reduce_or, ShiftLeft(part, shift), one(t.rank - 1)), to);
}

/* ==================== indices */

/* As i32, where no axis needs more; what does not fit stays out of range. */
static Ref index_i32(Ref x, Ref index)
{
    for (int d = 0; d < typ(x)->rank; d++)
        if (typ(x)->dim[d] > INT32_MAX)
            return index;
    switch (typ(index)->dt) {
    case DT_I32: return index;
    case DT_U32: case DT_U64: return Convert(Min(index, FullBits(*typ(index), INT32_MAX)), DT_I32);
    case DT_I64:
        return Convert(
            Clamp(FullBits(*typ(index), INT32_MIN), index, FullBits(*typ(index), INT32_MAX)), DT_I32);
    default: return Convert(index, DT_I32);
    }
}

static Ref filling(const Type *t)
{
    if (dtype_float((Dtype)t->dt))
        return Full(*t, NAN);
    bool s = dtype_signed((Dtype)t->dt);
    return FullBits(*t,
        t->dt == DT_BOOL ? 1 :
            s            ? least_signed((Dtype)t->dt) :
                           -1);
}

/* Windows that leave x are filled: the places inside, spread over the windows, choose. */
static Ref gather(const Ins *i, Ref x, Ref index)
{
    Ints offset = ins_ints(i, ATTR(gather, offset_dims)), map = ins_ints(i, ATTR(gather, start_map)),
         size = ins_ints(i, ATTR(gather, sizes)), batch = { 0 };
    int64_t mode = ins_int(i, ATTR(gather, mode));
    Attr a = { 0 };
    for (int k = 0; k < ATTR(gather, mode); k++) {
        Ints l = ins_ints(i, k);
        attr_list(&a, l.v, l.n);
    }
    attr_int(&a, 1);
    index = index_i32(x, index);
    Ref y = emit(OP_gather, 2, (const Ref[]){ x, index }, &a), inside = 0;
    if (mode != 2 || !y)
        return y;
    int last = typ(index)->rank - 1;
    for (int k = 0; k < map.n; k++) {
        Ref e = Reshape(SliceAxis(index, last, k, k + 1), without(type_shape(typ(index)), last));
        Ref in = And(Ge(e, Like(e, 0)), Le(e, Like(e, (double)(typ(x)->dim[map.v[k]] - size.v[map.v[k]]))));
        inside = inside ? And(inside, in) : in;
    }
    if (!inside)
        return y;
    for (int d = 0; d < typ(y)->rank; d++)
        if (!ints_has(&offset, d))
            batch.v[batch.n++] = d;
    return Select(Broadcast(inside, type_shape(typ(y)), batch), y, filling(typ(y)));
}

/* Half floats that several updates may add to are summed in f32 and rounded once. */
static Ref emit_scatter(const Ref *x, const Attr *a, bool joins)
{
    Dtype dt = (Dtype)typ(x[0])->dt, sum = joins ? dtype_sum(dt) : dt;
    Type index = *typ(x[1]), places = type_of(DT_BOOL, index.rank - 1, index.dim);
    if (type_size(&places) == 1)
        sum = dt;
    Ref y = emit(OP_scatter, 3, (const Ref[]){ Convert(x[0], sum), x[1], Convert(x[2], sum) }, a);
    return Convert(y, dt);
}

static Ints moved_up(Ints v, int64_t from)      /* there is one more dimension, at `from` */
{
    for (int k = 0; k < v.n; k++)
        v.v[k] += v.v[k] >= from;
    return v;
}

static Ints with_first(int64_t first, Ints rest)
{
    Ints all = { 1, { first } };
    for (int k = 0; k < rest.n; k++)
        all.v[all.n++] = rest.v[k];
    return all;
}

/* Many updates of few elements, as in counting: pieces of them are added up side by side, then the pieces,
 * in an order that does not depend on the cores. 0: no need. */
static Ref split_scatter(const Machine *m, const Ins *i, const Ref *x)
{
    const Type *t = typ(x[0]), *places = typ(x[1]), *u = typ(x[2]);
    Ints win = ins_ints(i, ATTR(scatter, window_dims)), ins = ins_ints(i, ATTR(scatter, inserted)),
         map = ins_ints(i, ATTR(scatter, scatter_map)), xb = ins_ints(i, ATTR(scatter, x_batch)),
         ib = ins_ints(i, ATTR(scatter, indices_batch));
    double own = (double)type_size(t), all = (double)type_size(u), beside = 1;
    int a = -1, ua = -1;
    for (int d = 0; d < places->rank - 1; d++)
        if (!ints_has(&ib, d) && (a < 0 || places->dim[d] > places->dim[a]))
            a = d;
    for (int d = 0, at = 0; d < u->rank && a >= 0; d++)
        if (!ints_has(&win, d) && at++ == a)
            ua = d;
    for (int d = 0; d < t->rank; d++)
        beside *= ints_has(&map, d) ? 1 : (double)t->dim[d];
    int64_t n = a < 0 ? 0 : pieces(m, places->dim[a], 2);
    if (n < m->pieces_least || beside >= (double)m->few_blocks || all < (double)m->piece_alone ||
        2 * own * (double)n > all || !const_is(x[0], 0) || t->rank >= MAXRANK ||
        places->rank >= MAXRANK || u->rank >= MAXRANK)
        return 0;
    Type part = type_of((Dtype)t->dt, t->rank + 1, (int64_t[MAXRANK]){ 0 });
    for (int d = 0; d <= t->rank; d++)
        part.dim[d] = d ? t->dim[d - 1] : n;
    Ints lists[] = { moved_up(win, ua + 1), moved_up(ins, 0), moved_up(map, 0),
                     with_first(0, moved_up(xb, 0)), with_first(a, moved_up(ib, a)) };
    Attr at = { 0 };
    for (int k = 0; k < 5; k++)
        attr_list(&at, lists[k].v, lists[k].n);
    attr_int(&at, ins_int(i, ATTR(scatter, mode)));
    attr_int(&at, ins_int(i, ATTR(scatter, combine)));
    attr_int(&at, 0);
    Ref in[] = { Zeros(&part), in_pieces(x[1], a, n), in_pieces(x[2], ua, n) };
    return Reduce(OP_reduce_sum, emit(OP_scatter, 3, in, &at), one(0));
}

static Ref scatter(const Ins *i, const Ref *x, const Machine *split)
{
    enum { ADD = 1, MUL = 2 };
    if (!type_size(typ(x[2])))
        return x[0];
    Attr a = { .n = i->nattr };
    memcpy(a.v, i->attr, sizeof *i->attr * (size_t)i->nattr);
    int64_t combine = ins_int(i, ATTR(scatter, combine));
    bool joins = (combine == ADD || combine == MUL) && !ins_int(i, ATTR(scatter, unique));
    Ref in[] = { x[0], index_i32(x[0], x[1]), x[2] };
    Dtype dt = (Dtype)typ(x[0])->dt;
    bool counts = split && combine == ADD && joins && dtype_sum(dt) == dt && dt != DT_BOOL;
    Ref y = counts ? split_scatter(split, i, in) : 0;
    return y ? y : emit_scatter(in, &a, joins);
}

/* Slices of several places of a batch meet in one accumulator: a scatter that adds. */
static Ref accum_slice(const Ins *i, const Ref *x)
{
    Ints xb = ins_ints(i, ATTR(accum_slice, xb)), window = { 0 }, map = { 0 }, mine = { 0 }, theirs = { 0 };
    int lead = 0;
    for (int k = 0; k < xb.n; k++)
        if (xb.v[k]) {
            mine.v[mine.n++] = lead++;
            theirs.v[theirs.n++] = k;
        }
    if (!type_size(typ(x[1])))
        return x[0];
    if (lead == xb.n)
        return AccumSlice(x[0], x[1], x[2], xb);
    for (int d = lead; d < typ(x[0])->rank; d++) {
        map.v[map.n++] = d;
        window.v[window.n] = window.n + xb.n;
        window.n++;
    }
    Attr a = { 0 };
    const Ints none = { 0 }, *list[] = { &window, &none, &map, &mine, &theirs };
    for (int k = 0; k < 5; k++)
        attr_list(&a, list[k]->v, list[k]->n);
    attr_int(&a, 1), attr_int(&a, 1), attr_int(&a, 0);          /* clip, add, not unique */
    return emit_scatter((const Ref[]){ x[0], x[2], x[1] }, &a, true);
}

static Ref concat(const Ins *i, const Ref *x)
{
    Ref *part = NEWS(Ref, i->nin);
    int n = 0;
    for (int k = 0; k < i->nin; k++)
        if (type_size(typ(x[k])))
            part[n++] = x[k];
    return n == 1 ? part[0] : Concat(part, n, (int)ins_int(i, ATTR(concat, axis)));
}

/* Of the negative it is the same, though its derivative at 0 is not: nothing is differentiated any more. */
static Ref magnitude(Ref x)
{
    const Ins *d = x ? def(x) : NULL;
    return Abs(d && (d->op == OP_neg || d->op == OP_abs) ? d->in[0] : x);
}

/* ==================== one instruction after the other */

static void rewrite(const Ins *i, const Ref *x, Ref *out, const Type *t, const Target *target, bool whole)
{
    const Machine *split = whole ? target->machine : NULL;
    switch (i->op) {
    case OP_reduce_sum: case OP_reduce_prod: case OP_reduce_max: case OP_reduce_min: case OP_reduce_and:
    case OP_reduce_or: case OP_reduce_xor:
        out[0] = reduced((Op)i->op, x[0], ins_ints(i, ATTR(reduce_sum, axes)), split);
        return;
    case OP_dot:
        out[0] = product(i, x[0], x[1], (Dtype)ins_int(i, ATTR(dot, dtype)), t, split);
        return;
    case OP_argmax: case OP_argmin:
        out[0] = position((Op)i->op, x[0], (int)ins_int(i, ATTR(argmax, axis)),
            (Dtype)ins_int(i, ATTR(argmax, dtype)), split);
        return;
    case OP_cumsum: case OP_cumprod: case OP_cummax: case OP_cummin:
        out[0] = cumulative(target->machine, (Op)i->op, x[0], (int)ins_int(i, ATTR(cumsum, axis)),
            ins_int(i, ATTR(cumsum, reverse)));
        return;
    /* nothing is differentiated any more */
    case OP_named: case OP_constrain: case OP_gamma_draw: out[0] = x[0]; return;
    case OP_top_k: largest(x[0], ins_int(i, ATTR(top_k, k)), out); return;
    case OP_bitcast: out[0] = bitcast(x[0], (Dtype)ins_int(i, ATTR(bitcast, dtype))); return;
    case OP_gather: out[0] = gather(i, x[0], x[1]); return;
    case OP_scatter: out[0] = scatter(i, x, split); return;
    case OP_accum_slice: out[0] = accum_slice(i, x); return;
    case OP_concat: out[0] = concat(i, x); return;
    case OP_abs: out[0] = magnitude(x[0]); return;
    case OP_dynamic_update:
        if (!type_size(typ(x[1])))
            out[0] = x[0];
        else
            again(i, x, out);
        return;
    case OP_sort:
        if (t->dim[ins_int(i, ATTR(sort, axis))] == 1)
            memcpy(out, x, sizeof *x * i->nin);
        else
            again(i, x, out);
        return;
    case OP_pad:
        if (!type_size(typ(x[0])))
            out[0] = Broadcast(x[1], type_shape(t), (Ints){ 0 });
        else
            again(i, x, out);
        return;
    case OP_cholesky: case OP_triangular_solve: case OP_qr: case OP_lu: case OP_solve: case OP_eigh:
    case OP_svd:
        prepare_linalg(i, x, out, target, whole);
        return;
    case OP_fft: prepare_fft(i, x, out, target, whole); return;
    case OP_region:
        if (split)
            prepare_region(i, x, out, target);
        else
            prepare_inner(i, x, out, target);
        return;
    default:
        again(i, x, out);
    }
}

void prepare_one(Op op, int nin, const Ref *x, const Attr *a, Ref *out, const Target *target)
{
    const Type *in[3];
    Type t;
    Ins i = { .op = (uint16_t)op, .nin = nin, .nout = 1, .in = (Ref *)x, .attr = a->v, .nattr = a->n };
    for (int k = 0; k < nin; k++)
        in[k] = typ(x[k]);
    if (!op_infer(op, nin, in, a->v, a->n, &t))
        rewrite(&i, x, out, &t, target, true);
}

/* A graph that is rewritten for a device; whole: of a program, whose sums may be split, and whose regions
 * are run in some way. */
typedef struct Preparing { const Graph *g; const Target *target; bool whole; } Preparing;

static void prepare_ins(const Ins *i, const Ref *x, Ref *out, void *env)
{
    const Preparing *p = env;
    const Type *t = &p->g->type[i->out];
    bool some = ins_ordered(i);                 /* what has no elements is not computed, but others wait */
    for (int k = 0; k < i->nout; k++)
        some = some || type_size(&t[k]);
    if (some)
        rewrite(i, x, out, t, p->target, p->whole);
    for (int k = 0; k < i->nout; k++)
        if (!type_size(&t[k]))
            out[k] = Zeros(&t[k]);
}

void prepare_into(const Graph *g, const Ref *args, Ref *out, const Target *t, bool split)
{
    Ref *map = NEWS(Ref, g->nval);
    for (int k = 0; k < g->nin; k++)
        map[g->in[k]] = args[k];
    graph_map_ins(g, map, prepare_ins, &(Preparing){ g, t, split });
    for (int k = 0; k < g->nout; k++)
        out[k] = map[g->out[k]];
}

static Graph *rewritten(const Graph *g, const Target *t, bool split)
{
    Graph *h = graph_map(g, prepare_ins, &(Preparing){ g, t, split });
    return h ? graph_dce(h) : NULL;
}

Graph *prepare(const Graph *g, const Target *t) { return rewritten(prepare_taps(g), t, true); }
Graph *prepare_body(const Graph *g, const Target *t) { return rewritten(g, t, false); }

/* ==================== values of their own */

static Ref copy_of(Ref v)
{
    uint8_t flag = 0;
    return append(OP_stop_gradient, 1, &v, NULL, 1, typ(v), &flag)->out;
}

static bool sliced(const Graph *g, const Bounds *b, Ref v)
{
    for (int k = b->first_x; b->steps && k < g->nin; k++)
        if (g->in[k] == v)
            return true;
    return false;
}

static bool is_step(const Ins *i, const Target *t)
{
    if (i && (op_meets(i) || i->op == OP_callback))
        return true;
    return i && i->op == OP_region && region_run(i->region, i->nin, i->nsub, i->sub, t) == RUN_STEPS;
}

/* What is known of the values of a graph that is sealed: an operand or a result of a step; a carry that is
 * changed in place. */
typedef struct Seal { const Graph *g; const Target *t; const Bounds *b; bool *bound, *write; } Seal;

/* As it stands, but: what a step binds is whole, never a slice at STEP. */
static void seal_ins(const Ins *i, const Ref *x, Ref *out, void *env)
{
    const Seal *s = env;
    const Graph *g = s->g;
    Ref *y = arena_copy(x, sizeof *x * (size_t)i->nin);
    bool step = is_step(i, s->t);
    for (int k = 0; k < i->nin; k++) {
        if (step && sliced(g, s->b, i->in[k]))
            y[k] = copy_of(x[k]);
        s->bound[i->in[k]] |= step;
    }
    if (s->write[i->out] && i->op != OP_scatter) {
        Ins *j = in_place_write(g, i, y);
        j->loc = i->loc;
        out[0] = j->out;
        return;
    }
    Ins *j = append((Op)i->op, i->nin, y, NULL, i->nout, &g->type[i->out], &g->flag[i->out]);
    j->attr = i->attr, j->nattr = i->nattr;
    j->blob = i->blob, j->nblob = i->nblob;
    j->region = i->region, j->sub = i->sub, j->nsub = i->nsub, j->loc = i->loc;
    for (int k = 0; k < i->nout; k++) {
        out[k] = j->out + (Ref)k;
        s->bound[i->out + (Ref)k] |= step;
    }
}

/* What a body gives has a place of its own; what is an output is computed by a kernel. */
Graph *prepare_seal(const Graph *g, const Target *t, const Bounds *b)
{
    Ref *m = NEWS(Ref, g->nval);
    bool *given = NEWS(bool, g->nval);          /* it is an output already */
    Seal s = { g, t, b, NEWS(bool, g->nval), NEWS(bool, g->nval) };
    const Ins *link[IN_PLACE_MAX];
    for (int k = 0; k < b->ncarry; k++)
        for (int n = in_place_chain(g, b, k, t, link) - 1; n >= 0; n--)
            s.write[link[n]->out] = true;
    Graph *h = graph_map_begin(g, m, V_ACC);
    h->ncap = g->ncap, h->name = g->name;
    graph_map_ins(g, m, seal_ins, &s);
    Ref *out = NEWS(Ref, g->nout);
    for (int k = 0; k < g->nout; k++) {
        Ref v = g->out[k];
        const Ins *i = g->def[v];
        bool own = (i && i->op == OP_data) || (b->body && (!i || given[v])) ||
            (b->steps && k >= b->first_y && s.bound[v]);
        out[k] = own ? copy_of(m[v]) : m[v];
        given[v] = true;
    }
    graph_outputs(out, g->nout);
    return graph_end();
}
