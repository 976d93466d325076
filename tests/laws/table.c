/*
 * table.c - a Law for each row of the op table: bounds, domains, and graphs that show the op from every
 * side.
 *
 * An elementwise row has four cases: many values (0), a small matrix (1), nothing (2), a scalar (3). A
 * structural row has a function that builds its cases. Floating data of sums and products is such that every
 * order of evaluation gives the same bits, so that a wrong index cannot hide in a tolerance.
 */
#include <math.h>

#include "table.h"

/* ==================== elementwise rows */

static void elementwise(Op op, Dtype dt, int variant)
{
    static const Kind kinds[3][3] = { { EDGE_1 }, { EDGE_2A, EDGE_2B }, { EDGE_3, EDGE_3, EDGE_3 } };
    const Ints shapes[] = { DIMS(LONG), DIMS(2, 3), DIMS(0, 3), NO_DIMS };
    int n = optab[op].nin;
    Ref x[3], z = 0;
    for (int k = 0; k < n; k++)
        x[k] = in(dt, kinds[n - 1][k], 0, shapes[variant]);
    z = emit(op, n, x, NULL);
    out(z);
}

/* Below zero these two are sums of a large and a small term. */
static double lgamma_scale(const double *x, double want)
{
    double y = x[0] < 0 ? fabs(lgamma(1 - x[0])) : 0;
    return y > fabs(want) ? y : fabs(want);
}

static double digamma_scale(const double *x, double want)
{
    double y = x[0] < 0 ? log(1 - x[0]) : 0, z = x[0] < 0 ? fabs(M_PI / tan(M_PI * x[0])) : 0;
    return fmax(fmax(y, z), fabs(want));
}

/* Far out in a tail the error counts as the exponent's. */
static double tail_scale(const double *x, double want)
{
    (void)x;
    return fabs(want) * (1 + fabs(log(fabs(want))));
}

/* What is 1 less another number is as wrong as that. */
static double igamma_scale(const double *x, double want)
{
    bool high = x[1] > 1 && x[1] > x[0];
    return fmax(tail_scale(x, want), high ? 0 : 1);
}

static double betainc_scale(const double *x, double want)
{
    return fmax(tail_scale(x, want), x[2] >= (x[0] + 1) / (x[0] + x[1] + 2) ? 1 : 0);
}

/* Below zero sums on both sides of it cancel: the nearest pole's term. */
static double zeta_scale(const double *x, double want)
{
    return x[1] < 0 && x[0] > 1 ? fmax(fabs(want), pow(fabs(x[1] - rint(x[1])), -x[0])) : want;
}

static double polygamma_scale(const double *x, double want)
{
    double pole = exp(lgamma(x[0] + 1)) * pow(fabs(x[1] - rint(x[1])), -x[0] - 1);
    return x[1] < 0 && x[0] >= 0 ? fmax(fabs(want), pole) : want;
}

/* The largest of three logarithms; below 0 the sum of the operands, which is rounded, may be near a pole. */
static double betaln_scale(const double *x, double want)
{
    double sum = x[0] < 0 || x[1] < 0 ? fabs(lgamma(x[0] + x[1])) : 0;
    return fmax(fmax(fabs(want), 1), fmax(fabs(lgamma(x[0])), sum)) * (sum > 0 ? 1e3 : 1);
}

/* ==================== shapes */

static void make_select(Op op, Dtype dt, int variant)
{
    (void)op;
    const Ints shapes[] = { DIMS(LONG), DIMS(2, 3), DIMS(0, 3), NO_DIMS };
    Ref p = in(DT_BOOL, ANY, 0, shapes[variant]), x = in(dt, EDGE_2A, 0, shapes[variant]);
    out(Select(p, x, in(dt, EDGE_2B, 0, shapes[variant])));
}

static void make_convert(Op op, Dtype dt, int variant)
{
    (void)op;
    Ref x = in(dt, EDGE_1, 0, variant ? DIMS(2, 3) : DIMS(LONG));
    for (int to = DT_BOOL; to <= DT_F64; to++)
        if (variant ? to == DT_F32 : to != (int)dt && may((Dtype)to))
            out(Convert(x, (Dtype)to));
}

static void make_reduce_precision(Op op, Dtype dt, int variant)
{
    static const int bits[][2] = { { 8, 23 }, { 5, 10 }, { 8, 7 }, { 5, 2 }, { 4, 3 }, { 11, 52 },
        { 2, 1 } };
    (void)op;
    Ref x = in(dt, EDGE_1, 0, variant ? DIMS(2, 3) : DIMS(LONG));
    for (int k = 0; k < (variant ? 1 : 7); k++)
        out(ReducePrecision(x, bits[k][0], bits[k][1]));
}

static void make_const(Op op, Dtype dt, int variant)
{
    static const double some[] = { 0, 1, -2, 1.5, 100, INFINITY, NAN };
    (void)op, (void)variant;
    for (int k = 0; k < (dt == DT_BOOL ? 2 : dtype_float(dt) ? 7 : 5); k++)
        out(Const(dt, dtype_unsigned(dt) ? fabs(some[k]) : some[k]));
    out(ConstBits(dt, dt == DT_BOOL ? 1 : 0x41));
}

static void make_data(Op op, Dtype dt, int variant)
{
    (void)op;
    static const double some[] = { 1, 0, 3, -1, 100, 7 };
    Type t = type_of(dt, 2, variant ? (const int64_t[]){ 0, 3 } : (const int64_t[]){ 2, 3 });
    char bytes[6 * 16];
    for (int64_t k = 0; k < 6; k++)
        if (dtype_float(dt))
            dtype_store_f(dt, bytes + k * (int64_t)dtype_size(dt), some[k]);
        else
            dtype_store_i(
                dt, bytes + k * (int64_t)dtype_size(dt), dt == DT_BOOL ? some[k] != 0 : (int64_t)some[k]);
    out(Data(t, bytes));
}

static void make_iota(Op op, Dtype dt, int variant)
{
    (void)op;
    Ints s = variant ? DIMS(3, 0) : DIMS(2, 3, 5);
    for (int axis = 0; axis < s.n; axis++)
        out(Iota(type_of(dt, s.n, s.v), axis));
}

static void make_bitcast(Op op, Dtype dt, int variant)
{
    static const Dtype same_size[] = { DT_U8, DT_I16, DT_F16, DT_BF16, DT_I32, DT_F32, DT_U64, DT_F64 };
    (void)op;
    Ref x = in(dt, ANY, 0, DIMS(6, 8));
    size_t size = dtype_size(dt);
    for (int k = 0; k < 8; k++) {
        Dtype to = same_size[k];
        size_t n = dtype_size(to);
        if (!may(to) || dt == DT_KEY || (dtype_float(to) && variant == 0 && !dtype_float(dt)))
            continue;                           /* a nan's bits may change in a float that is stored again */
        if (variant == 0 ? n == size && to != dt : n < size && !dtype_float(to))
            out(Bitcast(x, to));
    }
    if (variant == 2 && size < 8 && may(DT_U64))
        out(Bitcast(Reshape(x, DIMS(48 * (int64_t)size / 8, 8 / (int64_t)size)), DT_U64));
    if (dt == DT_KEY)
        out(Bitcast(x, DT_U32));
    else
        out(Eq(x, x));                          /* a case has a result, whatever the dtype */
    if (dt == DT_U32)
        out(Bitcast(Reshape(x, DIMS(3, 8, 2)), DT_KEY));
}

static void make_broadcast(Op op, Dtype dt, int variant)
{
    (void)op, (void)variant;
    Ref v = in(dt, ANY, 0, DIMS(3)), m = in(dt, ANY, 0, DIMS(4, 2));
    out(Broadcast(v, DIMS(5, 3), DIMS(1)));
    out(Broadcast(v, DIMS(3, 5), DIMS(0)));
    out(Broadcast(m, DIMS(4, 3, 2, 1), DIMS(0, 2)));
    out(Broadcast(in(dt, ANY, 0, NO_DIMS), DIMS(2, 3), NO_DIMS));
    out(Broadcast(v, DIMS(0, 3), DIMS(1)));
    out(Broadcast(in(dt, ANY, 0, DIMS(0)), DIMS(2, 0), DIMS(1)));
}

static void make_reshape(Op op, Dtype dt, int variant)
{
    (void)op, (void)variant;
    Ref m = in(dt, ANY, 0, DIMS(4, 6));
    out(Reshape(m, DIMS(24)));
    out(Reshape(m, DIMS(2, 3, 1, 4)));
    out(Reshape(Transpose(m, DIMS(1, 0)), DIMS(8, 3)));
    out(Reshape(in(dt, ANY, 0, DIMS(1, 1)), NO_DIMS));
    out(Reshape(in(dt, ANY, 0, DIMS(0, 5)), DIMS(3, 0, 2)));
}

static void make_transpose(Op op, Dtype dt, int variant)
{
    (void)op;
    if (variant == 1 && dt != DT_KEY) {         /* keys have an axis less */
        out(Transpose(in(dt, ANY, 0, DIMS(2, 1, 2, 1, 1, 2, 1, 1, 3, 1, 1, 1, 1, 1, 1, 1)),
                      DIMS(15, 8, 2, 3, 4, 5, 6, 7, 1, 9, 10, 11, 12, 13, 14, 0)));
        return;
    }
    Ref c = in(dt, ANY, 0, DIMS(4, 3, 2));
    out(Transpose(in(dt, ANY, 0, DIMS(5, 7)), DIMS(1, 0)));
    out(Transpose(c, DIMS(2, 0, 1)));
    out(Transpose(c, DIMS(1, 2, 0)));
    out(Transpose(in(dt, ANY, 0, DIMS(0, 3)), DIMS(1, 0)));
}

static void make_slice(Op op, Dtype dt, int variant)
{
    (void)op, (void)variant;
    Ref m = in(dt, ANY, 0, DIMS(7, 9));
    out(Slice(m, DIMS(1, 2), DIMS(6, 9), DIMS(1, 1)));
    out(Slice(m, DIMS(0, 1), DIMS(7, 8), DIMS(3, 2)));
    out(Slice(m, DIMS(2, 3), DIMS(3, 4), DIMS(1, 5)));
    out(Slice(m, DIMS(3, 0), DIMS(3, 9), DIMS(1, 1)));
}

static void make_pad(Op op, Dtype dt, int variant)
{
    (void)op, (void)variant;
    Ref m = in(dt, ANY, 0, DIMS(4, 5)), v = in(dt, SMALL, 0, NO_DIMS);
    out(Pad(m, v, DIMS(1, 2), DIMS(3, 0), DIMS(0, 0)));
    out(Pad(m, v, DIMS(0, 1), DIMS(2, 1), DIMS(2, 1)));
    out(Pad(m, v, DIMS(-1, 2), DIMS(-2, -1), DIMS(0, 1)));
    out(Pad(m, v, DIMS(-4, 0), DIMS(0, 0), DIMS(0, 0)));
    out(Pad(in(dt, ANY, 0, DIMS(0, 2)), v, DIMS(1, 0), DIMS(1, 0), DIMS(3, 1)));
    out(Pad(in(dt, ANY, 0, NO_DIMS), v, NO_DIMS, NO_DIMS, NO_DIMS));
}

static void make_concat(Op op, Dtype dt, int variant)
{
    (void)op, (void)variant;
    Ref a = in(dt, ANY, 0, DIMS(2, 3)), b = in(dt, ANY, 0, DIMS(2, 1)), c = in(dt, ANY, 0, DIMS(2, 0));
    out(Concat((const Ref[]){ a, b, c, a }, 4, 1));
    out(Concat((const Ref[]){ a, in_again(a) }, 2, 0));
    out(Concat((const Ref[]){ c, c }, 2, 1));
}

static void make_reverse(Op op, Dtype dt, int variant)
{
    (void)op, (void)variant;
    Ref c = in(dt, ANY, 0, DIMS(4, 3, 2));
    out(Reverse(c, DIMS(0)));
    out(Reverse(c, DIMS(2, 1)));
    out(Reverse(in(dt, ANY, 0, DIMS(0, 3)), DIMS(1)));
}

static void make_shear(Op op, Dtype dt, int variant)
{
    (void)op, (void)variant;
    Ref c = in(dt, ANY, 0, DIMS(9, 3, 4));
    out(Shear(c, 0, 1, 2));
    out(Shear(c, 0, 2, -2));
    out(Shear(Shear(c, 0, 1, 1), 0, 2, -1));
    out(Shear(c, 2, 1, 1));
    out(Shear(c, 2, 0, -1));                    /* longer than the axis: nothing is left */
    out(Shear(in(dt, ANY, 0, DIMS(4, 0)), 0, 1, 3));
}

static void make_diagonal(Op op, Dtype dt, int variant)
{
    (void)op, (void)variant;
    Ref c = in(dt, ANY, 0, DIMS(5, 3, 4));
    out(DiagonalOf(c, 0, 2, 0));
    out(DiagonalOf(c, 2, 0, 1));
    out(DiagonalOf(c, 1, 2, -2));
    out(DiagonalOf(c, 0, 1, 3));                  /* beside it: nothing */
    out(DiagonalOf(in(dt, ANY, 0, DIMS(0, 3)), 0, 1, 0));
}

/* ==================== reductions */

static Kind data_of(Op op)
{
    switch (op) {
    case OP_reduce_sum: case OP_cumsum: return SMALL;
    case OP_reduce_prod: case OP_cumprod: return POW2;
    default: return ANY;
    }
}

static void make_reduce(Op op, Dtype dt, int variant)
{
    Kind k = data_of(op);
    bool extreme = op == OP_reduce_max || op == OP_reduce_min;
    Ref c = in(dt, k, 0, DIMS(4, 5, 3));
    out(Reduce(op, c, DIMS(1)));
    if (variant == 1)
        return;
    out(Reduce(op, c, DIMS(0, 1, 2)));
    out(Reduce(op, c, DIMS(2, 0)));
    if (variant)
        return;
    Ref m = in(dt, k, 0, DIMS(3, 300)), w = in(dt, k, 0, DIMS(257, 20));
    out(Reduce(op, c, NO_DIMS));
    out(Reduce(op, m, DIMS(1)));
    out(Reduce(op, w, DIMS(0)));
    out(Reduce(op, in(dt, k, 0, DIMS(2, 0)), DIMS(0)));
    out(Reduce(op, in(dt, k, 0, DIMS(2, 0)), DIMS(1)));
    out(Reduce(op, in(dt, k, 0, NO_DIMS), NO_DIMS));
    if (!extreme)
        return;
    Ref zeros = in(dt, ZEROS, op == OP_reduce_max ? -1 : 1, DIMS(40, 90));
    out(Reduce(op, zeros, DIMS(1)));
    out(Reduce(op, zeros, DIMS(0)));
}

static void make_arg(Op op, Dtype dt, int variant)
{
    Ref c = in(dt, ANY, 0, DIMS(4, 5, 3));
    out(Arg(op, c, 1, DT_I32));
    if (variant)
        return;
    out(Arg(op, c, 0, DT_U8));
    out(Arg(op, in(dt, ANY, 0, DIMS(3, 200)), 1, DT_I32));
    out(Arg(op, in(dt, SMALL, 0, DIMS(150, 3)), 0, DT_I32));
    out(Arg(op, in(dt, ANY, 0, DIMS(0, 3)), 1, DT_I32));
}

static void make_cumulative(Op op, Dtype dt, int variant)
{
    Kind k = data_of(op);
    Ref m = in(dt, k, 0, DIMS(4, 9));
    out(Cumulative(op, m, 1, false));
    if (variant == 1)
        return;
    out(Cumulative(op, m, 0, true));
    if (variant)
        return;
    out(Cumulative(op, in(dt, k, 0, DIMS(2, 130)), 1, true));
    Ref w = in(dt, k, 0, DIMS(21, 40));
    out(Cumulative(op, w, 1, true));
    out(Reshape(Add(Cumulative(op, w, 1, false), in(dt, k, 0, DIMS(21, 40))), DIMS(840)));
    out(Cumulative(op, in(dt, k, 0, DIMS(3, 0)), 1, false));
    if (op == OP_cummax || op == OP_cummin)
        out(Cumulative(op, in(dt, ZEROS, op == OP_cummax ? -1 : 1, DIMS(5, 30)), 1, false));
}

static Ref product(Ref x, Ref y, Ints lc, Ints rc, Ints lb, Ints rb)
{
    return Dot(x, y, lc, rc, lb, rb, DT_NONE);
}

static void make_dot(Op op, Dtype dt, int variant)
{
    (void)op;
    const Ints none = NO_DIMS;
    Ref a = in(dt, SMALL, 0, DIMS(5, 7)), b = in(dt, SMALL, 0, DIMS(7, 6)), v = in(dt, SMALL, 0, DIMS(7));
    out(product(a, b, DIMS(1), DIMS(0), none, none));
    if (variant == 1)
        return;
    out(product(a, v, DIMS(1), DIMS(0), none, none));
    out(product(a, in_again(a), DIMS(0, 1), DIMS(0, 1), none, none));
    out(product(v, in(dt, SMALL, 0, DIMS(3)), none, none, none, none));
    Ref c = in(dt, SMALL, 0, DIMS(3, 4, 5)), d = in(dt, SMALL, 0, DIMS(5, 3, 2));
    out(product(c, d, DIMS(2), DIMS(0), DIMS(0), DIMS(1)));
    if (variant)
        return;
    out(product(
        in(dt, SMALL, 0, DIMS(33, 40)), in(dt, SMALL, 0, DIMS(37, 40)), DIMS(1), DIMS(1), none, none));
    out(product(in(dt, SMALL, 0, DIMS(3, 0)), in(dt, SMALL, 0, DIMS(0, 2)), DIMS(1), DIMS(0), none, none));
    Dtype wide = dtype_float(dt) ? DT_F32 : dtype_signed(dt) ? DT_I32 : DT_U32;
    if (dtype_size(dt) < 4)
        out(Dot(a, b, DIMS(1), DIMS(0), none, none, wide));
}

/* ==================== indexing */

static void make_dynamic_slice(Op op, Dtype dt, int variant)
{
    (void)op;
    Ref m = in(dt, ANY, 0, DIMS(6, 5)), at = in(DT_I32, INDEX, 5, DIMS(2));
    out(DynamicSlice(m, at, DIMS(2, 3), NO_DIMS));
    if (variant)
        return;
    Ref c = in(dt, ANY, 0, DIMS(3, 6, 5)), rows = in(DT_I32, INDEX, 5, DIMS(3, 2));
    out(DynamicSlice(c, rows, DIMS(2, 2), DIMS(1)));
    out(DynamicSlice(m, rows, DIMS(1, 4), DIMS(0)));
    out(DynamicSlice(in(dt, ANY, 0, DIMS(3, 7)), in(DT_U8, INSIDE, 9, DIMS(2, 3, 1)), DIMS(2), DIMS(0, 1)));
    out(DynamicSlice(m, at, DIMS(0, 5), NO_DIMS));
}

static void make_dynamic_update(Op op, Dtype dt, int variant)
{
    (void)op;
    Ref m = in(dt, ANY, 0, DIMS(6, 5)), u = in(dt, ANY, 0, DIMS(2, 3)), at = in(DT_I32, INDEX, 5, DIMS(2));
    out(DynamicUpdate(m, u, at));
    if (variant)
        return;
    out(DynamicUpdate(
        in(dt, ANY, 0, DIMS(3, 6)), in(dt, ANY, 0, DIMS(3, 2)), in(DT_I32, INDEX, 6, DIMS(3, 1))));
    out(DynamicUpdate(m, in(dt, ANY, 0, DIMS(0, 5)), at));
}

Ref gather_at(Ref x, Ref index, const Numbers *d, int mode)
{
    Attr a = { 0 };
    const Ints *list[] = { &d->window, &d->dropped, &d->map, &d->xb, &d->ib, &d->sizes };
    for (int k = 0; k < 6; k++)
        attr_list(&a, list[k]->v, list[k]->n);
    attr_int(&a, mode);
    return emit(OP_gather, 2, (const Ref[]){ x, index }, &a);
}

Ref scatter_at(Ref x, Ref index, Ref u, const Numbers *d, int mode, int combine, int unique)
{
    Attr a = { 0 };
    const Ints *list[] = { &d->window, &d->dropped, &d->map, &d->xb, &d->ib };
    for (int k = 0; k < 5; k++)
        attr_list(&a, list[k]->v, list[k]->n);
    attr_int(&a, mode), attr_int(&a, combine), attr_int(&a, unique);
    return emit(OP_scatter, 3, (const Ref[]){ x, index, u }, &a);
}

static void make_gather(Op op, Dtype dt, int variant)
{
    (void)op;
    const Numbers rows = { DIMS(1), DIMS(0), DIMS(0), NO_DIMS, NO_DIMS, DIMS(1, 5) };
    const Numbers windows = { DIMS(1, 2), NO_DIMS, DIMS(0, 1), NO_DIMS, NO_DIMS, DIMS(2, 3) };
    const Numbers own = { DIMS(1), NO_DIMS, DIMS(1), DIMS(0), DIMS(0), DIMS(1, 2) };
    Ref m = in(dt, ANY, 0, DIMS(6, 5)), at = in(DT_I32, INDEX, 6, DIMS(7, 1)),
        two = in(DT_I32, INDEX, 5, DIMS(4, 2));
    out(gather_at(m, at, &rows, CLIP));
    out(gather_at(m, two, &windows, CLIP));
    if (variant == 1)
        return;
    out(gather_at(m, at, &rows, FILL));
    out(gather_at(m, two, &windows, FILL));
    out(gather_at(m, in(DT_U8, INSIDE, 6, DIMS(2, 3, 1)),
               &(const Numbers){ DIMS(0), DIMS(0), DIMS(0), NO_DIMS, NO_DIMS, DIMS(1, 5) }, IN_BOUNDS));
    out(gather_at(m, in(DT_I32, INDEX, 4, DIMS(6, 3, 1)), &own, FILL));
    out(gather_at(m, in(DT_I32, INSIDE, 6, DIMS(0, 1)), &rows, CLIP));
}

/* Where several updates meet, what they make must not depend on their order. */
static void make_scatter(Op op, Dtype dt, int variant)
{
    (void)op;
    const Numbers rows = { DIMS(1), DIMS(0), DIMS(0), NO_DIMS, NO_DIMS, NO_DIMS };
    const Numbers windows = { DIMS(1, 2), NO_DIMS, DIMS(0, 1), NO_DIMS, NO_DIMS, NO_DIMS };
    const Numbers own = { DIMS(1), NO_DIMS, DIMS(1), DIMS(0), DIMS(0), NO_DIMS };
    bool adds = dt != DT_BOOL && dt != DT_KEY;
    Ref at = in(DT_I32, INDEX, 6, DIMS(7, 1)), perm = in(DT_I32, PERM, 0, DIMS(6, 1));
    Ref m = in(dt, ANY, 0, DIMS(6, 5)), s = in(dt, SMALL, 0, DIMS(6, 5)), u = in(dt, SMALL, 0, DIMS(7, 5));
    out(scatter_at(m, perm, in(dt, ANY, 0, DIMS(6, 5)), &rows, CLIP, SET, 1));
    if (adds)
        out(scatter_at(s, at, u, &rows, CLIP, ADD, 0));
    if (variant == 1)
        return;
    if (dt != DT_KEY) {
        out(scatter_at(s, at, u, &rows, FILL, MAX, 0));
        out(scatter_at(s, at, u, &rows, FILL, MIN, 0));
    }
    if (adds && variant == 2)
        out(scatter_at(in(dt, POW2, 0, DIMS(6, 5)), perm, in(dt, POW2, 0, DIMS(6, 5)), &rows, FILL, MUL, 1));
    if (variant)
        return;
    if (adds) {
        out(scatter_at(s, at, u, &rows, FILL, ADD, 0));
        out(scatter_at(in(dt, POW2, 0, DIMS(6, 5)), at, in(dt, POW2, 0, DIMS(7, 5)), &rows, FILL, MUL, 0));
        out(scatter_at(
            s, in(DT_I32, INDEX, 5, DIMS(4, 2)), in(dt, SMALL, 0, DIMS(4, 2, 3)), &windows, FILL, ADD, 0));
        out(scatter_at(
            s, in(DT_I32, INDEX, 4, DIMS(6, 3, 1)), in(dt, SMALL, 0, DIMS(6, 2, 3)), &own, CLIP, ADD, 0));
        /* enough for ranges of rows, which do not divide */
        Ref many = in(DT_I32, INDEX, 301, DIMS(1300, 1)), w = in(dt, SMALL, 0, DIMS(1300, 37));
        out(scatter_at(in(dt, SMALL, 0, DIMS(301, 37)), many, w, &rows, FILL, MAX, 0));
        out(scatter_at(in(dt, SMALL, 0, DIMS(301, 37)), many, w, &rows, CLIP, MIN, 0));
    }
    out(scatter_at(s, in(DT_I32, INSIDE, 6, DIMS(0, 1)), in(dt, SMALL, 0, DIMS(0, 5)), &rows, CLIP, SET, 0));
}

/* ==================== order, random bits */

static void sorted(int n, const Ref *x, int axis, int keys, bool descending)
{
    Ref z[3];
    if (emit_n(OP_sort, n, x, ATTRS(1, axis, 1, keys, 1, descending), z) == n)
        for (int k = 0; k < n; k++)
            out(z[k]);
    else
        out(0);
}

/* Rows with wide digits; for one dtype, a row in chunks, of which the last one is shorter. */
static void long_rows(Dtype dt)
{
    Ints s = dt == DT_F32 ? DIMS(33001) : DIMS(2, 5000);
    Ref key[3] = { in(dt, ANY, 0, s), in(dt, SMALL, 0, s), Iota(type_of(DT_I32, s.n, s.v), s.n - 1) };
    sorted(3, key, s.n - 1, 1, true);
    sorted(3, (const Ref[]){ key[1], key[0], key[2] }, s.n - 1, 2, false);
}

static void make_sort(Op op, Dtype dt, int variant)
{
    (void)op;
    if (variant == 3 && dt != DT_KEY) {         /* of so many, some are nearer than the step of a quotient */
        Ref wide = in(dt, ANY, 0, DIMS(2, 300));
        long_rows(dt);
        sorted(1, &wide, 1, 1, true);
        return;
    }
    Ref m = in(dt, ANY, 0, DIMS(3, 17)), few = in(dt, SMALL, 0, DIMS(3, 17)),
        index = Iota(type_of(DT_I32, 2, (const int64_t[]){ 3, 17 }), 1);
    if (dt == DT_KEY) {                         /* they come along */
        sorted(3, (const Ref[]){ in(DT_I32, SMALL, 0, DIMS(3, 17)), m, few }, variant == 0, 1, variant == 2);
        return;
    }
    sorted(1, &m, 1, 1, false);
    if (variant == 1)
        return;
    sorted(2, (const Ref[]){ few, m }, 1, 1, true);
    if (variant)
        return;
    sorted(1, &m, 0, 1, false);
    sorted(2, (const Ref[]){ few, index }, 1, 1, false);
    sorted(3, (const Ref[]){ few, m, index }, 1, 2, false);
    Ref none = in(dt, ANY, 0, DIMS(2, 0));
    sorted(1, &none, 1, 1, false);
}

static void make_top_k(Op op, Dtype dt, int variant)
{
    Ref m = in(dt, ANY, 0, DIMS(3, 17)), few = in(dt, SMALL, 0, DIMS(2, 40)), z[2];
    for (int64_t k = variant ? 2 : 0; k <= (variant ? 2 : 17); k += variant ? 1 : 17) {
        bool ok = emit_n(op, 1, &m, ATTRS(1, k), z) == 2;
        out(ok ? z[0] : 0);
        out(ok ? z[1] : 0);
    }
    if (!variant && emit_n(op, 1, &few, ATTRS(1, 7), z) == 2)
        out(z[0]), out(z[1]);
    Ref zeros = in(dt, ZEROS, -1, DIMS(2, 20));
    if (!variant && emit_n(op, 1, &zeros, ATTRS(1, 9), z) == 2)
        out(z[0]), out(z[1]);
}

/* Its derivative is that of a distribution function held fixed, which no quotient of the row itself is. */
static void make_gamma_draw(Op op, Dtype dt, int variant)
{
    (void)op;
    out(GammaDraw(in(dt, ANY, 0, DIMS(4, 3)), in(dt, ANY, 0, DIMS(4, 3)), variant));
}

static void make_threefry(Op op, Dtype dt, int variant)
{
    Ref x[4], z[2];
    for (int k = 0; k < 4; k++)
        x[k] = in(dt, ANY, k, variant ? NO_DIMS : DIMS(100));
    bool ok = emit_n(op, 4, x, NULL, z) == 2;
    out(ok ? z[0] : 0);
    out(ok ? z[1] : 0);
}

/* ==================== the table */

/* Rows whose results have the same bits everywhere, over dtypes ts; functions of floats within u ULP of f32,
 * u64 of f64, with the interval where difference quotients are taken. */
#define SAME(ts)                .make = elementwise, .variants = 4, .dtypes = ts, .quotients = 2
#define FUN(u, u64, l, h)       SAME(FLOATS), .ulp = u, .ulp64 = u64, .lo = { l }, .hi = { h }
#define FUN2(u, u64, l, h)      SAME(FLOATS), .ulp = u, .ulp64 = u64, .lo = { l, l }, .hi = { h, h }
#define LOOPS                   .long_text = 9          /* the cases that devices run */
#define ONE_LOOP                .long_text = 1          /* the one with a single number stays */
#define MATRICES                (1 << DT_F32 | 1 << DT_F64)
#define MAKE(f, n, ts)          .make = make_##f, .variants = n, .dtypes = ts

const Law law_table[OP_COUNT] = {
    [OP_add] = { SAME(EVERY) },
    [OP_mul] = { SAME(EVERY) },
    [OP_sub] = { SAME(NUMBERS) },
    [OP_div] = { SAME(NUMBERS), .lo = { -2, 0.5 }, .hi = { 2, 2 } },
    [OP_rem] = { SAME(NUMBERS), .lo = { -2, 0.7 }, .hi = { 2, 0.9 } },
    [OP_pow] = { SAME(NUMBERS), .ulp = 1.5, .ulp64 = 8, .lo = { 0.5, -2 }, .hi = { 2, 2 } },
    [OP_max] = { SAME(EVERY) },
    [OP_min] = { SAME(EVERY) },
    [OP_clamp] = { SAME(NUMBERS), .lo = { -2, -2, 1 }, .hi = { -1, 2, 2 } },
    [OP_neg] = { SAME(NUMBERS) },
    [OP_abs] = { SAME(NUMBERS) },
    [OP_sign] = { SAME(NUMBERS) },
    [OP_copysign] = { SAME(FLOATS) },
    [OP_nextafter] = { SAME(FLOATS), .derivative = MISSING },
    [OP_floor] = { SAME(FLOATS) },
    [OP_ceil] = { SAME(FLOATS) },
    [OP_round] = { SAME(FLOATS) },
    [OP_round_away] = { SAME(FLOATS) },
    [OP_trunc] = { SAME(FLOATS) },
    [OP_is_finite] = { SAME(FLOATS) },

    [OP_sqrt] = { SAME(FLOATS), .lo = { 0.3 }, .hi = { 4 } },
    [OP_rsqrt] = { FUN(1.5, 2, 0.3, 4) },
    [OP_cbrt] = { FUN(1, 4, 0.3, 3) },
    [OP_exp] = { FUN(1.1, 2, -2, 2) },
    [OP_exp2] = { FUN(1.2, 4, -2, 2) },
    [OP_expm1] = { FUN(1.8, 4, -1, 1) },
    [OP_log] = { FUN(1, 2, 0.3, 4) },
    [OP_log2] = { FUN(1.8, 4, 0.3, 4) },
    [OP_log1p] = { FUN(1.8, 4, -0.5, 2) },
    [OP_tanh] = { FUN(1.5, 4, -2, 2) },
    [OP_logistic] = { FUN(1.8, 4, -3, 3) },
    [OP_sin] = { FUN(2.1, 4, -3, 3) },
    [OP_cos] = { FUN(2.1, 4, -3, 3) },
    [OP_tan] = { FUN(2.4, 5, -1, 1) },
    [OP_asin] = { FUN(1.5, 4, -0.9, 0.9) },
    [OP_acos] = { FUN(1.5, 4, -0.9, 0.9) },
    [OP_atan] = { FUN(1.8, 5, -3, 3) },
    [OP_atan2] = { SAME(FLOATS), .ulp = 1.8, .ulp64 = 6, .lo = { 0.3, -2 }, .hi = { 2, 2 } },
    [OP_sinh] = { FUN(1.7, 4, -2, 2) },
    [OP_cosh] = { FUN(2, 4, -2, 2) },
    [OP_asinh] = { FUN(2, 4, -2, 2) },
    [OP_acosh] = { FUN(2.2, 4, 1.3, 4) },
    [OP_atanh] = { FUN(2, 5, -0.9, 0.9) },
    [OP_hypot] = { SAME(FLOATS), .ulp = 1.5, .ulp64 = 4, .lo = { 0.3, 0.3 }, .hi = { 2, 2 } },
    [OP_erf] = { FUN(2, 8, -2, 2) },
    [OP_erfc] = { FUN(4.5, 8, -2, 2) },
    [OP_erf_inv] = { FUN(2.9, 8, -0.8, 0.8) },
    [OP_lgamma] = { FUN(4.5, 8, 0.5, 4), .scale = lgamma_scale },
    [OP_digamma] = { FUN(4.5, 8, 0.7, 4), .scale = digamma_scale },
    [OP_trigamma] = { FUN(4.5, 8, 0.7, 4) },
    [OP_bessel_i0e] = { FUN(4, 4, 0.3, 4) },
    [OP_bessel_i1e] = { FUN(4, 4, 0.3, 4) },
    [OP_expi] = { FUN(12, 16, 0.3, 4), .scale = of_one },
    [OP_spence] = { FUN(4, 4, 0.3, 0.9) },
    [OP_ndtri] = { FUN(6, 8, 0.3, 0.9) },
    [OP_log_ndtr] = { FUN(6, 8, -2, 2) },
    [OP_xlogy] = { FUN2(2, 4, 0.3, 4) },
    [OP_xlog1py] = { FUN2(2, 4, 0.3, 4) },
    [OP_entr] = { FUN(2, 4, 0.3, 4) },
    [OP_betaln] = { LOOPS, FUN2(32, 64, 0.3, 4), .scale = betaln_scale },
    [OP_zeta] = { ONE_LOOP, FUN2(16, 32, 1.5, 4), .unknown = 1, .scale = zeta_scale },
    [OP_polygamma] = { LOOPS, FUN2(32, 64, 1, 4), .unknown = 1, .scale = polygamma_scale },
    [OP_igamma] = { LOOPS, FUN2(64, 128, 0.3, 4), .scale = tail_scale },
    [OP_igammac] = { LOOPS, FUN2(64, 128, 0.3, 4), .scale = igamma_scale },
    [OP_random_gamma_grad] = { LOOPS, FUN2(256, 4096, 0.3, 4), .derivative = MISSING },
    [OP_regularized_incomplete_beta] = { LOOPS, SAME(FLOATS), .ulp = 64, .ulp64 = 128, .lo = { 1, 1, 0.1 },
        .hi = { 4, 4, 0.9 }, .unknown = 3, .scale = betainc_scale },

    [OP_eq] = { SAME(EVERY) },
    [OP_ne] = { SAME(EVERY) },
    [OP_lt] = { SAME(EVERY) },
    [OP_le] = { SAME(EVERY) },
    [OP_gt] = { SAME(EVERY) },
    [OP_ge] = { SAME(EVERY) },

    [OP_and] = { SAME(BITS) },
    [OP_or] = { SAME(BITS) },
    [OP_xor] = { SAME(BITS) },
    [OP_not] = { SAME(BITS) },
    [OP_shift_left] = { SAME(SIGNED | UNSIGNED) },
    [OP_shift_right_logical] = { SAME(SIGNED | UNSIGNED) },
    [OP_shift_right_arithmetic] = { SAME(SIGNED | UNSIGNED) },
    [OP_population_count] = { SAME(SIGNED | UNSIGNED) },
    [OP_clz] = { SAME(SIGNED | UNSIGNED) },
    [OP_mulhi] = { SAME(SIGNED | UNSIGNED) },

    [OP_select] = { MAKE(select, 4, MOVED), .quotients = 2 },
    [OP_convert] = { MAKE(convert, 2, EVERY), .quotients = 2, .step = 0.5, .tolerance = 1e-6 },
    [OP_complex] = { MAKE(complex, 11, MATRICES), .long_text = 0x606, .quotients = 0x37F, .forward = 1 << 6,
        .ulp = 12, .ulp64 = 24, .ulp_host = 4, .scale = of_one, .tolerance = 1e-5 },
    [OP_real] = { MAKE(part, 2, MATRICES) },
    [OP_imag] = { MAKE(part, 2, MATRICES) },
    [OP_conj] = { MAKE(part, 2, MATRICES) },
    [OP_reduce_precision] = { MAKE(reduce_precision, 2, FLOATS), .quotients = 2, .step = 0.5,
        .tolerance = 1e-6 },
    [OP_stop_gradient] = { SAME(MOVED), .derivative = STOPPED },

    [OP_named] = { MAKE(named, 1, MOVED) },
    [OP_constrain] = { MAKE(constrain, 1, MOVED) },

    [OP_const] = { MAKE(const, 1, MOVED) },
    [OP_data] = { MAKE(data, 2, MOVED) },
    [OP_iota] = { MAKE(iota, 2, NUMBERS) },
    [OP_bitcast] = { MAKE(bitcast, 3, NUMBERS | 1 << DT_KEY), .derivative = STOPPED },
    [OP_broadcast] = { MAKE(broadcast, 1, MOVED) },
    [OP_reshape] = { MAKE(reshape, 1, MOVED) },
    [OP_transpose] = { MAKE(transpose, 2, MOVED) },
    [OP_slice] = { MAKE(slice, 1, MOVED) },
    [OP_pad] = { MAKE(pad, 1, MOVED) },
    [OP_concat] = { MAKE(concat, 1, MOVED) },
    [OP_shear] = { MAKE(shear, 1, MOVED) },
    [OP_diagonal] = { MAKE(diagonal, 1, MOVED) },
    [OP_reverse] = { MAKE(reverse, 1, MOVED) },

    [OP_reduce_sum] = { MAKE(reduce, 3, NUMBERS) },
    [OP_reduce_prod] = { MAKE(reduce, 3, NUMBERS), .quotients = 2 | 4 },
    [OP_reduce_max] = { MAKE(reduce, 3, EVERY) },
    [OP_reduce_min] = { MAKE(reduce, 3, EVERY) },
    [OP_reduce_and] = { MAKE(reduce, 3, BITS) },
    [OP_reduce_or] = { MAKE(reduce, 3, BITS) },
    [OP_reduce_xor] = { MAKE(reduce, 3, BITS) },
    [OP_argmax] = { MAKE(arg, 2, EVERY) },
    [OP_argmin] = { MAKE(arg, 2, EVERY) },
    [OP_cumsum] = { MAKE(cumulative, 3, NUMBERS) },
    [OP_cumprod] = { MAKE(cumulative, 3, NUMBERS), .quotients = 2 | 4 },
    [OP_cummax] = { MAKE(cumulative, 3, NUMBERS) },
    [OP_cummin] = { MAKE(cumulative, 3, NUMBERS) },
    [OP_dot] = { MAKE(dot, 3, NUMBERS) },

    [OP_dynamic_slice] = { MAKE(dynamic_slice, 2, MOVED) },
    [OP_dynamic_update] = { MAKE(dynamic_update, 2, MOVED) },
    [OP_gather] = { MAKE(gather, 2, MOVED) },
    [OP_scatter] = { MAKE(scatter, 3, MOVED), .quotients = 2 | 4 },
    [OP_sort] = { MAKE(sort, 4, MOVED), .quotients = 7 },
    [OP_cholesky] = { MAKE(cholesky, 3, MATRICES), .long_text = 2, .ulp = 60, .ulp64 = 60, .scale = of_one },
    [OP_triangular_solve] = { MAKE(triangular_solve, 3, MATRICES), .long_text = 4, .ulp = 60, .ulp64 = 60,
        .scale = of_one },
    [OP_qr] = { MAKE(qr, 3, MATRICES), .quotients = 3, .ulp = 60, .ulp64 = 60, .scale = of_one },
    [OP_lu] = { MAKE(lu, 5, MATRICES), .ulp = 60, .ulp64 = 60, .scale = of_one },
    [OP_solve] = { MAKE(solve, 3, MATRICES), .long_text = 4, .ulp = 60, .ulp64 = 60, .scale = of_one },
    [OP_eigh] = { MAKE(eigh, 4, MATRICES), .ulp = 60, .ulp64 = 60, .scale = of_one, .ulp_host = 4 },
    [OP_svd] = { MAKE(svd, 4, MATRICES), .ulp = 60, .ulp64 = 60, .scale = of_one, .ulp_host = 4 },
    [OP_fft] = { MAKE(fft, 4, MATRICES), .long_text = 14, .ulp = 60, .ulp64 = 60, .scale = of_one,
        .ulp_host = 4 },
    [OP_top_k] = { MAKE(top_k, 2, NUMBERS) },
    [OP_threefry] = { MAKE(threefry, 2, 1 << DT_U32) },
    [OP_gamma_draw] = { MAKE(gamma_draw, 2, FLOATS), .quotients = 4 },

    [OP_axis_index] = { MAKE(meet, 2, NUMBERS) },
    [OP_psum] = { MAKE(meet, 2, NUMBERS) },
    [OP_pmax] = { MAKE(meet, 2, NUMBERS) },
    [OP_pmin] = { MAKE(meet, 2, NUMBERS) },
    [OP_all_gather] = { MAKE(meet, 2, MOVED) },
    [OP_psum_scatter] = { MAKE(meet, 2, NUMBERS) },
    [OP_all_to_all] = { MAKE(meet, 2, MOVED) },
    [OP_ppermute] = { MAKE(meet, 2, MOVED) },

    [OP_callback] = { MAKE(callback, 2, SIGNED | UNSIGNED) },
    [OP_check] = { MAKE(effect, 2, NUMBERS) },
    [OP_debug_print] = { MAKE(effect, 2, NUMBERS) },

    [OP_accum] = { MAKE(accum, 2, NUMBERS) },
    [OP_accum_slice] = { MAKE(accum_slice, 2, NUMBERS) },
    [OP_barrier] = { MAKE(barrier, 1, MOVED) },
    [OP_region] = { MAKE(region, 6, NUMBERS | 1 << DT_KEY), .forward = 1 << 5 },
};
