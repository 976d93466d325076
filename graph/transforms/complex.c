/*
 * complex.c - complex numbers as what devices have: two reals, on a last axis.
 *
 * In: a graph whose values may be complex. Out: one without, where c64[..] is f32[.., 2] and c128[..] is
 * f64[.., 2]: the same bytes, so arguments, results, constants and what goes around in loops are what they
 * were, and nothing below knows of complex numbers. Inside a graph the two parts are values of their own:
 *
 *     z: c64[n] = mul x y    becomes    re = x.re y.re - x.im y.im, im = x.re y.im + x.im y.re
 *
 * An argument's parts are slices of it, which kernels read side by side, and a result's are put together
 * where it is stored. What moves elements moves the parts, each by itself. What adds to an array in place or
 * puts something in it stays one instruction, on the array with its last axis, unless its parts are there
 * anyway. The host needs none of this.
 */
#include "pairs.h"
#include "transforms.h"

#include <math.h>
#include <string.h>

static bool complex_at(const Graph *g, Ref v) { return dtype_complex((Dtype)g->type[v].dt); }

static Type as_parts(const Type *t)
{
    Type u = *t;
    if (dtype_complex((Dtype)t->dt))
        u.dt = (uint8_t)dtype_part((Dtype)t->dt), u.dim[u.rank++] = 2;
    return u;
}

/* ==================== two parts */

static Ref joined(Pair p)
{
    Ref w[2] = { p.re, p.im };
    if (!p.re || !p.im)
        return 0;
    Type t = *typ(p.re);
    t.dim[t.rank++] = 1;
    for (int k = 0; k < 2; k++)
        w[k] = Reshape(w[k], type_shape(&t));
    return Concat(w, 2, t.rank - 1);
}

/* The instruction that put v[.., 2] together; NULL: it is an array as it is. */
static const Ins *join_of(Ref v)
{
    const Ins *d = def(v);
    int last = typ(v)->rank - 1;
    return d && d->op == OP_concat && d->nin == 2 && ins_int(d, ATTR(concat, axis)) == last &&
            typ(d->in[0])->dim[last] == 1 ?
        d :
        NULL;
}

/* Of [.., 2]. What was joined is taken from where it is. */
static Ref part(Ref v, int w)
{
    if (!v)
        return 0;
    const Ins *d = join_of(v);
    Type t = *typ(v);
    t.dim[--t.rank] = 0;
    return Reshape(d ? d->in[w] : SliceAxis(v, t.rank, w, w + 1), type_shape(&t));
}

static Pair parts(Ref v) { return (Pair){ part(v, 0), part(v, 1) }; }

/* The instruction on each of the two parts. */
static Ref by_parts(const Graph *g, const Ins *i, const Ref *x)
{
    Ref *y = NEWS(Ref, i->nin), z[2] = { 0 };
    for (int w = 0; w < 2; w++) {
        for (int k = 0; k < i->nin; k++)
            y[k] = complex_at(g, i->in[k]) ? part(x[k], w) : x[k];
        again(i, y, &z[w]);
    }
    return joined((Pair){ z[0], z[1] });
}

/* ==================== ops that look at the numbers */

static Ref element(const Graph *g, const Ins *i, const Ref *x)
{
    Pair z = pair_element(
        i->op == OP_accum ? OP_add : (Op)i->op, parts(x[0]), i->nin > 1 ? parts(x[1]) : (Pair){ 0 });
    return complex_at(g, i->out) ? joined(z) : z.re;
}

/* A real number has no imaginary part, and a complex one that becomes real loses it. */
static Ref converted(const Graph *g, const Ins *i, const Ref *x)
{
    Dtype to = (Dtype)g->type[i->out].dt;
    if (!dtype_complex(to))
        return Convert(part(x[0], 0), to);
    if (complex_at(g, i->in[0]))
        return joined(
            (Pair){ Convert(part(x[0], 0), dtype_part(to)), Convert(part(x[0], 1), dtype_part(to)) });
    Ref re = Convert(x[0], dtype_part(to));
    return joined((Pair){ re, Like(re, 0) });
}

static Ref constant(const Ins *i)
{
    Dtype dt = (Dtype)ins_int(i, ATTR(const, dtype)), of = dtype_part(dt);
    uint64_t bits = (uint64_t)ins_int(i, ATTR(const, bits));
    if (dt == DT_C128)
        return joined((Pair){ ConstBits(of, (int64_t)bits), Const(of, 0) });
    return joined(
        (Pair){ ConstBits(of, (int64_t)(bits & UINT32_MAX)), ConstBits(of, (int64_t)(bits >> 32)) });
}

static Ref counted(const Graph *g, const Ins *i)
{
    Type t = g->type[i->out];
    t.dt = (uint8_t)dtype_part((Dtype)t.dt);
    Ref re = Iota(t, (int)ins_int(i, ATTR(iota, axis)));
    return joined((Pair){ re, Like(re, 0) });
}

/* Four products. */
static Ref product(const Graph *g, const Ins *i, const Ref *x)
{
    Attr a = { .n = i->nattr };
    Pair p = parts(x[0]), q = parts(x[1]);
    memcpy(a.v, i->attr, (size_t)i->nattr * sizeof *a.v);
    a.v[a.n - 1] = dtype_part((Dtype)g->type[i->out].dt); /* the dtype of the result is the last */
#define TIMES(x, y) emit(OP_dot, 2, (const Ref[]){ x, y }, &a)
    return joined(
        (Pair){ Sub(TIMES(p.re, q.re), TIMES(p.im, q.im)), Add(TIMES(p.re, q.im), TIMES(p.im, q.re)) });
}

/* Parts come along, as two operands; both are keys where the number is one. */
static void sorted(const Graph *g, const Ins *i, const Ref *x, Ref *out)
{
    Ref *y = NEWS(Ref, 2 * i->nin), *z = NEWS(Ref, 2 * i->nin);
    int n = 0, at = 0, keys = (int)ins_int(i, ATTR(sort, keys)), first = 0;
    for (int k = 0; k < i->nin; k++) {
        bool two = complex_at(g, i->in[k]);
        first += k < keys ? 1 + two : 0;
        for (int w = 0; w < 1 + two; w++)
            y[n++] = two ? part(x[k], w) : x[k];
    }
    if (emit_n(OP_sort, n, y,
            ATTRS(1, ins_int(i, ATTR(sort, axis)), 1, first, 1, ins_int(i, ATTR(sort, descending))), z) != n)
        return;
    for (int k = 0; k < i->nin; k++) {
        bool two = complex_at(g, i->in[k]);
        out[k] = two ? joined((Pair){ z[at], z[at + 1] }) : z[at];
        at += 1 + two;
    }
}

/* ==================== products of many: halves are multiplied, as prod_jvp in ops/reduce.c does */

static Pair cut(Pair x, int axis, int64_t from, int64_t to)
{
    return (Pair){ SliceAxis(x.re, axis, from, to), SliceAxis(x.im, axis, from, to) };
}

/* Ones in front and behind; negative: elements are cut off. */
static Pair padded(Pair x, int axis, int64_t lo, int64_t hi)
{
    const Type *t = typ(x.re);
    Ints none = ints_fill(t->rank, 0), l = none, h = none;
    l.v[axis] = lo, h.v[axis] = hi;
    return (Pair){ Pad(x.re, Const((Dtype)t->dt, 1), l, h, none),
        Pad(x.im, Const((Dtype)t->dt, 0), l, h, none) };
}

static Ref product_of(const Graph *g, const Ins *i, Ref v)
{
    Pair x = parts(v);
    Ints axes = ins_ints(i, ATTR(reduce_prod, axes)), shape = type_shape(&g->type[i->out]);
    for (int k = 0; k < axes.n && x.re && x.im; k++) {
        int axis = (int)axes.v[k];
        int64_t n = typ(x.re)->dim[axis];
        if (!n)
            x = padded(x, axis, 0, n = 1);
        while (n > 1 && x.re && x.im) {
            x = n & 1 ? padded(x, axis, 0, 1) : x;
            n = (n + 1) / 2;
            x = pair_mul(cut(x, axis, 0, n), cut(x, axis, n, 2 * n));
        }
    }
    return x.re && x.im ? joined((Pair){ Reshape(x.re, shape), Reshape(x.im, shape) }) : 0;
}

/* After the step of width w each element is the product of 2w, ending with its own. */
static Ref running_product(const Ins *i, Ref v)
{
    Pair x = parts(v);
    int axis = (int)ins_int(i, ATTR(cumprod, axis));
    bool reverse = ins_int(i, ATTR(cumprod, reverse));
    int64_t n = x.re ? typ(x.re)->dim[axis] : 0;
    for (int64_t w = 1; w < n && x.re && x.im; w *= 2)
        x = pair_mul(x, reverse ? padded(x, axis, -w, w) : padded(x, axis, w, -w));
    return joined(x);
}

/* ==================== A x = b, A triangular
 *
 * The rows of A and b are divided by A's diagonal. Then each number a + bi is the matrix [a -b; b a], and
 * what is left is real, triangular, and has ones on its diagonal. */

static Ref with_axis(Ref v, int axis)
{
    Ints s = v ? type_shape(typ(v)) : (Ints){ 0 };
    for (int d = s.n++; d > axis; d--)
        s.v[d] = s.v[d - 1];
    s.v[axis] = 1;
    return v ? Reshape(v, s) : 0;
}

/* Two rows for one, or two columns: x and y in turn along the axis. */
static Ref in_turn(Ref x, Ref y, int axis)
{
    Ref w[2] = { with_axis(x, axis + 1), with_axis(y, axis + 1) };
    Ints s = x ? type_shape(typ(x)) : (Ints){ 0 };
    s.v[axis] *= 2;
    return w[0] && w[1] ? Reshape(Concat(w, 2, axis + 1), s) : 0;
}

static Ref every_second(Ref v, int axis, int from)
{
    if (!v)
        return 0;
    Ints start = { typ(v)->rank, { 0 } }, limit = type_shape(typ(v)), step = ints_fill(start.n, 1);
    start.v[axis] = from, step.v[axis] = 2;
    return Slice(v, start, limit, step);
}

static Pair pair_turned(Pair x) { return (Pair){ Turned(x.re), Turned(x.im) }; }
static Pair pair_along(Pair v, Pair x) { return (Pair){ Along(v.re, x.re, true), Along(v.im, x.im, true) }; }

static Ref solved(const Ins *i, const Ref *x)
{
    bool right = ins_int(i, ATTR(triangular_solve, right)),
         lower = ins_int(i, ATTR(triangular_solve, lower)),
         transpose = ins_int(i, ATTR(triangular_solve, transpose)),
         unit = ins_int(i, ATTR(triangular_solve, unit));
    Pair a = parts(x[0]), b = parts(x[1]);
    if (right)
        b = pair_turned(b);
    if (right != transpose)
        a = pair_turned(a), lower = !lower;
    if (!a.re || !b.re)
        return 0;
    int row = typ(a.re)->rank - 2;
    if (!unit) {
        Pair d = { Diagonal(a.re), Diagonal(a.im) };
        a = pair_div(a, pair_along(d, a));
        b = pair_div(b, pair_along(d, b));
    }
    Ref one = IdentityLike(a.re), on = Ne(one, Like(one, 0));
    a = (Pair){ Select(on, one, a.re), Select(on, Like(a.im, 0), a.im) };
    Ref m = in_turn(in_turn(a.re, Neg(a.im), row + 1), in_turn(a.im, a.re, row + 1), row);
    Ref y = TriangularSolve(m, in_turn(b.re, b.im, row), (lower ? TRI_LOWER : 0) | TRI_UNIT);
    if (!y)
        return 0;
    Pair z = { every_second(y, row, 0), every_second(y, row, 1) };
    return joined(right ? pair_turned(z) : z);
}

/* Of L the diagonal is real, so a matrix that is taken for numbers so is that of L. */
static Ref factored(Ref x)
{
    Pair a = parts(x);
    if (!a.re || !a.im)
        return 0;
    int row = typ(a.re)->rank - 2;
    Ref one = IdentityLike(a.re), im = Select(Ne(one, Like(one, 0)), Like(a.im, 0), a.im);
    Ref m = in_turn(in_turn(a.re, Neg(im), row + 1), in_turn(im, a.re, row + 1), row);
    Ref l = every_second(Cholesky(m), row + 1, 0);
    return l ? joined((Pair){ every_second(l, row, 0), every_second(l, row, 1) }) : 0;
}

/* ==================== in place: the array stays one, with an axis more */

static Attr attrs_of(const Ins *i)
{
    Attr a = { .n = i->nattr };
    memcpy(a.v, i->attr, (size_t)i->nattr * sizeof *a.v);
    return a;
}

/* Index vectors with one entry more, which is 0. */
static Ref from_zero(Ref starts)
{
    Ints none = ints_fill(typ(starts)->rank, 0), hi = none;
    hi.v[hi.n - 1] = 1;
    return Pad(starts, Const((Dtype)typ(starts)->dt, 0), none, hi, none);
}

static Ref put_in(const Ins *i, const Ref *x)
{
    Attr a = attrs_of(i);
    return emit((Op)i->op, 3, (const Ref[]){ x[0], x[1], from_zero(x[2]) }, &a);
}

/* A window has both parts. */
static Ref scattered(const Ins *i, const Ref *x)
{
    Ints l[5];
    Attr a = { 0 };
    for (int k = 0; k < 5; k++)
        l[k] = ins_ints(i, k);
    _Static_assert(ATTR(scatter, window_dims) == 0 && ATTR(scatter, mode) == 5, "five lists, then numbers");
    l[0].v[l[0].n++] = typ(x[2])->rank - 1;
    for (int k = 0; k < 5; k++)
        attr_list(&a, l[k].v, l[k].n);
    for (int k = ATTR(scatter, mode); k <= ATTR(scatter, unique); k++)
        attr_int(&a, ins_int(i, k));
    return emit(OP_scatter, 3, x, &a);
}

/* What shards add up, [shards, chunks, length]: parts are more of it. */
static Ref exchanged_sum(const Ins *i, const Ref *x)
{
    if (!x[0])
        return 0;
    Type t = *typ(x[0]), u = t;
    u.rank--, u.dim[u.rank - 1] *= 2, u.dim[u.rank] = 0;
    Ref z = 0, y = Reshape(x[0], type_shape(&u));
    again(i, &y, &z);
    return z ? Reshape(z, type_shape(&t)) : 0;
}

/* ==================== the lowering */

static Ref one_result(const Graph *g, const Ins *i, const Ref *x)
{
    Ref z = 0;
    switch (i->op) {
    case OP_complex:
        return joined((Pair){ x[0], x[1] });
    case OP_real:
        return part(x[0], 0);
    case OP_imag:
        return part(x[0], 1);
    case OP_conj:
        return joined((Pair){ part(x[0], 0), Neg(part(x[0], 1)) });
    case OP_convert:
        return converted(g, i, x);
    case OP_const:
        return constant(i);
    case OP_data:
        return Data(as_parts(&g->type[i->out]), i->blob);
    case OP_iota:
        return counted(g, i);
    case OP_dot:
        return product(g, i, x);
    case OP_reduce_prod:
        return product_of(g, i, x[0]);
    case OP_cumprod:
        return running_product(i, x[0]);
    case OP_triangular_solve:
        return solved(i, x);
    case OP_cholesky:
        return factored(x[0]);
    case OP_bitcast:
        return x[0]; /* to the dtype that it has */
    case OP_dynamic_update:
        return join_of(x[0]) ? by_parts(g, i, x) : put_in(i, x);
    case OP_accum_slice:
        return put_in(i, x);
    case OP_psum:
        return exchanged_sum(i, x);
    case OP_scatter:
        return join_of(x[0]) ? by_parts(g, i, x) : scattered(i, x);
    case OP_accum:
    case OP_constrain:
    case OP_all_gather:
    case OP_all_to_all:
    case OP_ppermute:
        again(i, x, &z);
        return z;
    default:
        return optab[i->op].elementwise ? element(g, i, x) : by_parts(g, i, x);
    }
}

static void without_complex(const Graph *g, const Ins *i, const Ref *x, Ref *out)
{
    if (i->op == OP_barrier)
        again(i, x, out);
    else if (i->op == OP_sort)
        sorted(g, i, x, out);
    else if (i->op == OP_callback)
        callback_again(g, i, as_parts, x, out);
    else
        out[0] = one_result(g, i, x);
}

Graph *graph_without_complex(const Graph *g)
{
    return graph_without(g, &(Lacking){ dtype_complex, as_parts, without_complex });
}
