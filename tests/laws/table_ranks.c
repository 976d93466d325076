/*
 * table_ranks.c - cases of every row at a rank and at shapes that are asked for.
 *
 * The cases of the other files show what is particular about an op, at the rank where it shows best. Here
 * each row gets arrays of any rank with every kind of size: small ones that differ, ones only, none in front
 * or behind, and a last axis that no vector divides; and it is applied along every axis that it can be
 * applied along. So `laws --rank all` is the table of rows times ranks times sizes.
 *
 *      shape_of_rank(3, SIZES_MIXED)   [3, 2, 5]           shape_of_rank(3, SIZES_NONE_LAST)   [3, 2, 0]
 *      reverse at rank 3: reversed along 0, along 1, along 2, and along all, of [3, 2, 5], [2, 1, 17] ..
 */
#include <string.h>

#include "table.h"

static int rank;

static Ints shape_of_rank(int r, int sizes)
{
    static const int64_t mixed[] = { 3, 2, 5, 1, 2, 3, 2, 1 };
    int64_t d[MAXRANK];
    for (int k = 0; k < r; k++)
        d[k] = sizes == SIZES_ONE ? 1 : sizes == SIZES_LONG ? 1 + (k == 0) : mixed[k];
    if (r && sizes == SIZES_NONE_FIRST)
        d[0] = 0;
    if (r && sizes == SIZES_NONE_LAST)
        d[r - 1] = 0;
    if (r && sizes == SIZES_LONG)
        d[r - 1] = 17;
    return ints_of(d, r);
}

static Ints axes(int n) { return ints_range(0, n); }
static Ints push(Ints s, int64_t n) { return ints_concat(s, DIMS(n)); }
static Ints lead(int64_t n, Ints s) { return ints_concat(DIMS(n), s); }

static Ints with_size(Ints s, int axis, int64_t n)
{
    s.v[axis] = n;
    return s;
}

static Ints without(Ints s, int axis)
{
    Ints z = { 0 };
    for (int k = 0; k < s.n; k++)
        if (k != axis)
            z.v[z.n++] = s.v[k];
    return z;
}

static Ints half(Ints s)
{
    for (int k = 0; k < s.n; k++)
        s.v[k] = (s.v[k] + 1) / 2;
    return s;
}

static Ints reversed(Ints s)
{
    Ints z = s;
    for (int k = 0; k < s.n; k++)
        z.v[k] = s.v[s.n - 1 - k];
    return z;
}

static int64_t product_of(Ints s)
{
    int64_t n = 1;
    for (int k = 0; k < s.n; k++)
        n *= s.v[k];
    return n;
}

static void all_out(int n, const Ref *z)
{
    for (int k = 0; k < n; k++)
        out(z[k]);
}

/* ==================== elements */

static void elements(Op op, Dtype dt, Ints s)
{
    static const Kind kinds[3][3] = { { EDGE_1 }, { EDGE_2A, EDGE_2B }, { EDGE_3, EDGE_3, EDGE_3 } };
    int n = optab[op].nin;
    Ref x[3];
    for (int k = 0; k < n; k++)
        x[k] = in(dt, kinds[n - 1][k], 0, s);
    out(emit(op, n, x, NULL));
}

static void choices(Dtype dt, Ints s)
{
    Ref p = in(DT_BOOL, ANY, 0, s), x = in(dt, ANY, 0, s);
    out(Select(p, x, in_again(x)));
}

static void conversions(Op op, Dtype dt, Ints s)
{
    Ref x = in(dt, EDGE_1, 0, s);
    if (op == OP_reduce_precision)
        out(ReducePrecision(x, 8, 23));
    for (int k = 0; k < 3 && op == OP_convert; k++)
        out(Convert(x, k == 0 ? DT_F32 : k == 1 ? DT_I32 : DT_BOOL));
}

/* Of the same size, of narrower parts along a new axis, of wider ones, which take an axis away. */
static void bits(Dtype dt, Ints s)
{
    static const Dtype as[] = { DT_U8, DT_U16, DT_U32, DT_U64 };
    size_t size = dtype_size(dt);
    Ref x = in(dt, ANY, 0, s);
    for (int k = 0; k < 4; k++) {
        size_t n = dtype_size(as[k]);
        if (!may(as[k]) || as[k] == dt || (dt == DT_KEY && as[k] != DT_U32))
            continue;
        out(Bitcast(n <= size ? x : in(dt, ANY, 0, push(s, (int64_t)(n / size))), as[k]));
    }
    if (dt == DT_U32)
        out(Bitcast(in(dt, ANY, 0, push(s, 2)), DT_KEY));
}

/* Numbers of two parts: what is done to elements, what moves them, what adds them. */
static void complex_numbers(Op op, Dtype dt, Ints s)
{
    Ref x = in(dt, SMALL, 0, s), z = Complex(Add(x, Like(x, 0.03125)), in(dt, SMALL, 0, s));
    Ref y[] = { Mul(z, z), Exp(z), Transpose(z, reversed(axes(rank))), Sum(z, axes(rank)), Conj(z), z };
    for (int k = op == OP_complex ? 0 : 4; k < (op == OP_complex ? 5 : 6); k++) {
        Ref w = op == OP_conj && k == 5 ? Conj(Mul(z, z)) : y[k];
        if (op != OP_imag)
            out(RealPart(w));
        if (op != OP_real)
            out(ImagPart(w));
    }
}

/* ==================== shapes */

static void leaves(Op op, Dtype dt, Ints s)
{
    Type t = type_of(dt, s.n, s.v);
    if (op == OP_const)
        out(Broadcast(Const(dt, 3), s, NO_DIMS));
    if (op == OP_data) {
        char *bytes = arena_alloc(type_bytes(&t) + 16);
        memset(bytes, 1, type_bytes(&t));
        out(Data(t, bytes));
    }
    for (int k = 0; k < rank && op == OP_iota; k++)
        out(Iota(t, k));
}

/* New axes in front, behind and between. */
static void broadcasts(Dtype dt, Ints s)
{
    Ref x = in(dt, ANY, 0, s);
    out(Broadcast(x, lead(3, s), ints_range(1, rank + 1)));
    out(Broadcast(x, push(s, 3), axes(rank)));
    out(Broadcast(x, lead(0, s), ints_range(1, rank + 1)));
    if (rank > 1)
        out(Broadcast(x, ints_concat(DIMS(s.v[0], 2), ints_of(s.v + 1, rank - 1)),
            lead(0, ints_range(2, rank + 1))));
}

static void reshapes(Dtype dt, Ints s)
{
    Ref x = in(dt, ANY, 0, s);
    out(Reshape(x, DIMS(product_of(s))));
    out(Reshape(x, reversed(s)));
    out(Reshape(x, lead(1, s)));
    out(Reshape(Transpose(x, reversed(axes(rank))), s));
}

static void transposes(Dtype dt, Ints s)
{
    Ref x = in(dt, ANY, 0, s);
    out(Transpose(x, reversed(axes(rank))));
    if (rank > 1)
        out(Transpose(x, push(ints_range(1, rank), 0)));
    if (rank > 2)
        out(Transpose(x, ints_concat(DIMS(1, 0), ints_range(2, rank))));
}

/* Each second one from 1 on; the first half; none. */
static void slices(Dtype dt, Ints s)
{
    Ref x = in(dt, ANY, 0, s);
    Ints from = ints_fill(rank, 1);
    for (int k = 0; k < rank; k++)
        from.v[k] = s.v[k] > 1;
    out(Slice(x, from, s, ints_fill(rank, 2)));
    out(Slice(x, ints_fill(rank, 0), half(s), ints_fill(rank, 1)));
    out(Slice(x, s, s, ints_fill(rank, 1)));
}

static void pads(Dtype dt, Ints s)
{
    Ref x = in(dt, ANY, 0, s), v = in(dt, SMALL, 0, NO_DIMS);
    out(Pad(x, v, ints_fill(rank, 1), ints_fill(rank, 0), ints_fill(rank, 0)));
    out(Pad(x, v, ints_fill(rank, 0), ints_fill(rank, 1), ints_fill(rank, 1)));
    Ints less = ints_fill(rank, 0);
    for (int k = 0; k < rank; k++)
        less.v[k] = s.v[k] ? -1 : 0;
    out(Pad(x, v, less, ints_fill(rank, 1), ints_fill(rank, 0)));
}

static void concats(Dtype dt, Ints s)
{
    for (int k = 0; k < rank; k++) {
        Ref x = in(dt, ANY, 0, s), y = in(dt, ANY, 0, with_size(s, k, s.v[k] + 2));
        out(Concat((const Ref[]){ y, x, y }, 3, k));
    }
}

static void reverses(Dtype dt, Ints s)
{
    Ref x = in(dt, ANY, 0, s);
    for (int k = 0; k < rank; k++)
        out(Reverse(x, DIMS(k)));
    out(Reverse(x, axes(rank)));
}

static void two_axes(Op op, Dtype dt, Ints s)
{
    Ref x = in(dt, ANY, 0, s);
    for (int k = 0; k + 1 < rank; k++) {
        out(op == OP_shear ? Shear(x, k, rank - 1, 1) : DiagonalOf(x, k, rank - 1, 0));
        out(op == OP_shear ? Shear(x, rank - 1, k, -1) : DiagonalOf(x, rank - 1, k, 1));
    }
}

/* ==================== reductions */

static bool extreme(Op op)
{
    return op == OP_reduce_max || op == OP_reduce_min || op == OP_cummax || op == OP_cummin;
}

static Kind terms(Op op)
{
    return op == OP_reduce_prod || op == OP_cumprod ? POW2 : extreme(op) ? ANY : SMALL;
}

/* Along each axis, all, every second one, none. Of none the largest is the least number. */
static void reductions(Op op, Dtype dt, Ints s)
{
    Ref x = in(dt, terms(op), 0, s);
    Ints some = NO_DIMS;
    for (int k = 0; k < rank; k++) {
        out(Reduce(op, x, DIMS(k)));
        if (k % 2 == 0)
            some = some.n ? push(some, k) : DIMS(k);
    }
    out(Reduce(op, x, some));
    out(Reduce(op, x, NO_DIMS));
    out(Reduce(op, x, axes(rank)));
}

static void along_each(Op op, Dtype dt, Ints s)
{
    bool arg = op == OP_argmax || op == OP_argmin;
    Ref x = in(dt, arg ? ANY : terms(op), 0, s);
    for (int k = 0; k < rank; k++)
        if (!arg)
            out(Cumulative(op, x, k, k % 2)), out(Cumulative(op, x, k, k % 2 == 0));
        else if (s.v[k])
            out(Arg(op, x, k, DT_I32));
}

/* Of the last axis with the first; of all axes; of none; of matrices in a stack. */
static void products(Dtype dt, Ints s)
{
    const Ints none = NO_DIMS;
    Ref x = in(dt, SMALL, 0, s), y = in_again(x), v = in(dt, SMALL, 0, DIMS(3));
    out(Dot(x, y, axes(rank), axes(rank), none, none, DT_NONE));
    out(Dot(x, v, none, none, none, none, DT_NONE));
    out(Dot(x, y, none, none, axes(rank), axes(rank), DT_NONE));
    if (!rank)
        return;
    int last = rank - 1;
    Ints stack = axes(last), rows = reversed(s);
    out(Dot(x, in(dt, SMALL, 0, rows), DIMS(last), DIMS(0), none, none, DT_NONE));
    out(Dot(x, y, DIMS(0), DIMS(0), none, none, DT_NONE));
    out(Dot(x, in(dt, SMALL, 0, push(s, 2)), DIMS(last), DIMS(last), stack, stack, DT_NONE));
    if (rank > 1)
        out(Dot(x, y, DIMS(last), DIMS(last), axes(last - 1), axes(last - 1), DT_NONE));
}

/* ==================== indexing, order */

static void dynamic(Op op, Dtype dt, Ints s)
{
    Kind kind = op == OP_accum_slice ? SMALL : ANY;
    Ref x = in(dt, kind, 0, s), at = in(DT_I32, INDEX, 3, DIMS(rank)),
        many = in(DT_I32, INDEX, 3, DIMS(2, rank));
    Ints part = half(s);
    if (op == OP_dynamic_slice) {
        out(DynamicSlice(x, at, part, NO_DIMS));
        out(DynamicSlice(x, many, part, DIMS(0)));
        out(DynamicSlice(in(dt, ANY, 0, lead(2, s)), many, part, DIMS(1)));
        return;
    }
    Ref u = in(dt, kind, 1, part), us = in(dt, kind, 1, lead(2, part)), xs = in(dt, kind, 0, lead(2, s));
    if (op == OP_dynamic_update) {
        out(DynamicUpdate(x, u, at));
        out(DynamicUpdate(xs, us, many));
        return;
    }
    out(AccumSlice(x, u, at, NO_DIMS));
    out(AccumSlice(x, us, many, DIMS(0)));
    out(AccumSlice(xs, us, many, DIMS(1)));
}

/* Windows of half the size by indices of all axes; rows along each axis; and none. */
static void gathers(Dtype dt, Ints s)
{
    Ref x = in(dt, ANY, 0, s), at = in(DT_I32, INDEX, 3, DIMS(4, rank));
    const Numbers windows = { ints_range(1, rank + 1), NO_DIMS, axes(rank), NO_DIMS, NO_DIMS, half(s) };
    out(gather_at(x, at, &windows, CLIP));
    out(gather_at(x, at, &windows, FILL));
    out(gather_at(x, in(DT_I32, INSIDE, 3, DIMS(0, rank)), &windows, CLIP));
    for (int k = 0; k < rank; k++) {
        Ints one = with_size(s, k, 1);
        const Numbers rows = { ints_range(1, rank), DIMS(k), DIMS(k), NO_DIMS, NO_DIMS, one };
        if (s.v[k])
            out(gather_at(x, in(DT_I32, INDEX, 2, DIMS(5, 1)), &rows, k % 2 ? CLIP : FILL));
    }
    if (rank < 2 || !s.v[0] || !s.v[1])
        return;
    Ints one = with_size(with_size(s, 0, 1), 1, 1);
    const Numbers own = { ints_range(2, rank), DIMS(1), DIMS(1), DIMS(0), DIMS(0), one };
    out(gather_at(x, in(DT_I32, INDEX, 2, DIMS(s.v[0], 3, 1)), &own, FILL));
}

static void scatters(Dtype dt, Ints s)
{
    const Numbers windows = { ints_range(1, rank + 1), NO_DIMS, axes(rank), NO_DIMS, NO_DIMS, NO_DIMS };
    bool adds = dt != DT_BOOL && dt != DT_KEY;
    Ref x = in(dt, SMALL, 0, s), at = in(DT_I32, INDEX, 3, DIMS(4, rank)),
        u = in(dt, SMALL, 1, lead(4, half(s)));
    if (adds) {
        out(scatter_at(x, at, u, &windows, CLIP, ADD, 0));
        out(scatter_at(x, at, u, &windows, FILL, ADD, 0));
    }
    Ref nowhere = in(DT_I32, INSIDE, 3, DIMS(0, rank));
    out(scatter_at(x, nowhere, in(dt, SMALL, 1, lead(0, half(s))), &windows, CLIP, SET, 0));
    for (int k = 0; k < rank; k++) {
        const Numbers rows = { ints_range(1, rank), DIMS(k), DIMS(k), NO_DIMS, NO_DIMS, NO_DIMS };
        Ints drawn = lead(s.v[k], without(s, k));
        Ref order = in(DT_I32, PERM, 0, DIMS(s.v[k], 1));
        out(scatter_at(x, order, in(dt, SMALL, 1, drawn), &rows, CLIP, SET, 1));
    }
}

static void sorts(Dtype dt, Ints s)
{
    for (int k = 0; k < rank; k++) {
        Ref x = in(dt == DT_KEY ? DT_I32 : dt, SMALL, 0, s), y = in(dt, ANY, 0, s), z[3];
        Ref row[] = { x, y, Iota(type_of(DT_I32, s.n, s.v), k) };
        bool ok = emit_n(OP_sort, 3, row, ATTRS(1, k, 1, 1 + (dt != DT_KEY && k % 2), 1, k == 1), z) == 3;
        for (int j = 0; j < 3; j++)
            out(ok ? z[j] : 0);
    }
}

static void tops(Dtype dt, Ints s)
{
    Ref x = in(dt, ANY, 0, s), z[2];
    for (int64_t k = 0; rank && k <= s.v[rank - 1]; k += s.v[rank - 1] > 0 ? s.v[rank - 1] : 1) {
        bool ok = emit_n(OP_top_k, 1, &x, ATTRS(1, k), z) == 2;
        out(ok ? z[0] : 0);
        out(ok ? z[1] : 0);
    }
}

static void random_words(Ints s)
{
    Ref x[4], z[2];
    for (int k = 0; k < 4; k++)
        x[k] = in(DT_U32, ANY, k, s);
    bool ok = emit_n(OP_threefry, 4, x, NULL, z) == 2;
    out(ok ? z[0] : 0);
    out(ok ? z[1] : 0);
}

static void transforms(Dtype dt, Ints s)
{
    Ref re = in(dt, SMALL, 0, s), im = in(dt, SMALL, 1, s), z[2] = { 0 };
    for (int k = 0; k < rank; k++)
        if (s.v[k]) {
            Fft(re, im, k, k % 2, z);
            all_out(2, z);
        }
}

/* ==================== all of them */

/* sizes + SIZES: of a region, a loop. */
static void make_ranked(Op op, Dtype dt, int sizes)
{
    Ints s = shape_of_rank(rank, sizes % SIZES);
    Ref z[2];
    switch (optab[op].elementwise ? OP_stop_gradient : op) {
    case OP_stop_gradient: elements(op, dt, s); break;
    case OP_select: choices(dt, s); break;
    case OP_convert: case OP_reduce_precision: conversions(op, dt, s); break;
    case OP_complex: case OP_real: case OP_imag: case OP_conj: complex_numbers(op, dt, s); break;
    case OP_named: out(NameValue(in(dt, ANY, 0, s), intern("a"))); break;
    case OP_constrain: out(Constrain(in(dt, ANY, 0, s), 0, intern("data"))); break;
    case OP_const: case OP_data: case OP_iota: leaves(op, dt, s); break;
    case OP_bitcast: bits(dt, s); break;
    case OP_broadcast: broadcasts(dt, s); break;
    case OP_reshape: reshapes(dt, s); break;
    case OP_transpose: transposes(dt, s); break;
    case OP_slice: slices(dt, s); break;
    case OP_pad: pads(dt, s); break;
    case OP_concat: concats(dt, s); break;
    case OP_reverse: reverses(dt, s); break;
    case OP_shear: case OP_diagonal: two_axes(op, dt, s); break;
    case OP_reduce_sum: case OP_reduce_prod: case OP_reduce_max: case OP_reduce_min:
    case OP_reduce_and: case OP_reduce_or: case OP_reduce_xor: reductions(op, dt, s); break;
    case OP_argmax: case OP_argmin: case OP_cumsum: case OP_cumprod: case OP_cummax: case OP_cummin:
        along_each(op, dt, s);
        break;
    case OP_dot: products(dt, s); break;
    case OP_dynamic_slice: case OP_dynamic_update: case OP_accum_slice: dynamic(op, dt, s); break;
    case OP_gather: gathers(dt, s); break;
    case OP_scatter: scatters(dt, s); break;
    case OP_sort: sorts(dt, s); break;
    case OP_top_k: tops(dt, s); break;
    case OP_threefry: random_words(s); break;
    case OP_gamma_draw: out(GammaDraw(in(dt, ANY, 0, s), in(dt, ANY, 0, s), 0)); break;
    case OP_fft: transforms(dt, s); break;
    case OP_accum: out(Accum(in(dt, SMALL, 0, s), in(dt, SMALL, 1, s))); break;
    case OP_barrier:
        Barrier((const Ref[]){ in(dt, ANY, 0, s), in(DT_I32, ANY, 0, s) }, 2, z);
        all_out(2, z);
        break;
    case OP_cholesky: case OP_triangular_solve: case OP_qr: case OP_lu: case OP_solve: case OP_eigh:
    case OP_svd:
        if (rank > 1)
            stack_of_matrices(op, dt, s);
        break;
    default: seen_from_inside(op, dt, s, sizes >= SIZES);
    }
}

/* Bounds and derivatives are the row's own. */
const Law *laws_of_rank(int r)
{
    static Law table[OP_COUNT];
    rank = r;
    for (int op = 1; op < OP_COUNT; op++) {
        const Law *own = &law_table[op];
        bool never = own->quotients >> own->variants;           /* no quotient judges it */
        table[op] = *own;
        table[op].make = make_ranked;
        table[op].variants = op == OP_region ? 2 * SIZES : rank ? SIZES : 1;
        table[op].quotients = never ? 1u << 31 : 0;
        table[op].forward = op == OP_region ? ~0u << SIZES : 0;
    }
    return table;
}
