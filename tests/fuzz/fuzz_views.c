/*
 * fuzz_views.c - random programs of views: rolled, reversed, strided, padded, cut, repeated and mirrored at
 * the edge, concatenated, clamped, read and written at computed places, shared and one on another, in arrays
 * around the width of a vector.
 *
 * In:  seeds.   Out: for every seed that gives on the device what it does not give on the host, a line.
 * A program is a pool of values that grows by random steps; arithmetic between is tame (halves, squares), so
 * that a wrong element is seen in the result and a rounding is not. Places are made of integers, so that no
 * rounding moves them. Around it there is a gradient or lanes, or lanes of a gradient. Compilers take nearly
 * all of the time, so what has long kernels is drawn again.
 * Many programs make one graph: their small kernels are joined, and compiling them takes a fraction of the
 * time. What fails in company is tried alone, and the line says what to call for either.
 */
#include "fuzz.h"

#include "api.h"
#include "formulas.h"

static const int64_t sizes[] = { 1, 2, 3, 5, 15, 16, 17, 31, 33, 64, 100, 257 };
enum { SIZES = sizeof sizes / sizeof *sizes, POOL = 40 };

typedef struct Draw {
    Rng *r;
    Ref v[POOL]; int n;                         /* numbers; the last ones are the newest */
    Ref places;                                 /* integers, a vector */
    Ref scalar;
    int64_t most;                               /* elements of an array */
    bool smooth;                                /* its derivative is wanted: nothing that jumps */
} Draw;

static int below(Draw *d, int64_t n) { return n > 1 ? pick(d->r, (int)n) : 0; }
static Ref any(Draw *d)
{
    return d->v[pick(d->r, 3) ? d->n - 1 - below(d, d->n < 3 ? d->n : 3) : below(d, d->n)];
}
static int64_t dim_of(Ref v, int axis) { return typ(v)->dim[axis]; }
static Dtype dtype_at(Ref v) { return (Dtype)typ(v)->dt; }
static int axis_drawn(Draw *d, Ref v) { return below(d, typ(v)->rank); }
static Ints only(int axis, int rank, int64_t x) { Ints v = ints_fill(rank, 0); v.v[axis] = x; return v; }
static Ref cut(Ref v, int axis, int64_t from, int64_t to) { return SliceAxis(v, axis, from, to); }
static Ref turned(Ref v, int axis) { return Reverse(v, (Ints){ 1, { axis } }); }
static Ref joined(Ref x, Ref y, int axis) { return Concat((const Ref[]){ x, y }, 2, axis); }
static Ref scaled(Ref v, double c) { return Mul(v, Like(v, is_float(v) ? c : c < 1 ? 3 : 2)); }

/* ==================== places */

/* m integers that the program computes, or that the position decides: some of them out of range. */
static Ref places_of(Draw *d, int64_t m, int64_t n)
{
    Type t = type_of(DT_I32, 1, (const int64_t[]){ m });
    if (pick(d->r, 3) == 0) {
        int64_t by = pick(d->r, 3) + 1, from = below(d, n + 6) - 3;
        Ref i = Mul(Iota(t, 0), Full(t, pick(d->r, 2) ? (double)by : -1));
        return Add(i, Full(t, (double)from));
    }
    int64_t have = dim_of(d->places, 0);
    Ref p = d->places;
    for (; have < m; have *= 2)
        p = joined(p, Add(turned(p, 0), Like(p, 1)), 0);
    p = cut(p, 0, 0, m);
    return pick(d->r, 2) ? p : Add(Rem(Mul(p, Full(t, 7)), Full(t, (double)(n + 2))), Full(t, 1));
}

/* Starts of a window that leaves room: constants over the edge, or computed. */
static Ref starts_of(Draw *d, Ref v, const Ints *window)
{
    int rank = typ(v)->rank;
    Ref p[MAXRANK];
    for (int k = 0; k < rank; k++) {
        int64_t room = dim_of(v, k) - window->v[k];
        Ref c =
            pick(d->r, 2) ? 0 : cut(d->places, 0, below(d, dim_of(d->places, 0) - 1), dim_of(d->places, 0));
        p[k] = c ?
            cut(c, 0, 0, 1) :
            Broadcast(Const(DT_I32, (double)(below(d, room + 5) - 2)), (Ints){ 1, { 1 } }, (Ints){ 0 });
    }
    return rank ? Concat(p, rank, 0) : Data(type_of(DT_I32, 1, (const int64_t[]){ 0 }), "");
}

/* ==================== views of the same shape */

/* Repeats or mirrors b elements at both ends. */
static Ref bordered(Ref v, int axis, int64_t b, bool mirror)
{
    int64_t n = dim_of(v, axis);
    if (mirror && n > b)
        return joined(joined(turned(cut(v, axis, 1, b + 1), axis), v, axis),
            turned(cut(v, axis, n - 1 - b, n - 1), axis), axis);
    for (int64_t k = 0; k < b; k++)
        v = joined(joined(cut(v, axis, 0, 1), v, axis), cut(v, axis, n - 1 + 2 * k, n + 2 * k), axis);
    return v;
}

static Ref padded(Draw *d, Ref v, int axis, int64_t lo, int64_t hi, int64_t inside)
{
    int rank = typ(v)->rank;
    Ref value = pick(d->r, 2)              ? Const(dtype_at(v), 3) :
        dtype_at(d->scalar) == dtype_at(v) ? d->scalar :
                                             Const(dtype_at(v), 0);
    return Pad(v, value, only(axis, rank, lo), only(axis, rank, hi), only(axis, rank, inside));
}

static Ref window_of(Draw *d, Ref wide, Ints size)
{
    return DynamicSlice(wide, starts_of(d, wide, &size), size, (Ints){ 0 });
}

static Ref updated(Draw *d, Ref v)
{
    Ints size = type_shape(typ(v));
    Ref u = any(d);
    for (int k = 0; k < size.n; k++)
        size.v[k] = pick(d->r, 2) ? size.v[k] : 1 + below(d, size.v[k]);
    u = window_of(d, v, size);
    return DynamicUpdate(v, pick(d->r, 2) ? scaled(u, 0.5) : u, starts_of(d, v, &size));
}

/* Rows of another view go to computed places. */
static Ref scattered(Draw *d, Ref v, int axis)
{
    static const int combine[] = { 0, 1, 1, 1, 4 };
    int64_t n = dim_of(v, axis), m = 1 + below(d, n + 2);
    Ref to = MoveAxis(v, axis, 0), p = places_of(d, m, n), u = take(to, places_of(d, m, n), 0, 1);
    Dims dims = { .window = ints_range(1, typ(v)->rank), .collapsed = { 1, { 0 } }, .map = { 1, { 0 } } };
    int how = d->smooth ? 1 : combine[pick(d->r, 5)];
    p = Reshape(p, (Ints){ 2, { m, 1 } });
    return MoveAxis(scatter(to, p, scaled(u, 0.5), &dims, 1 + pick(d->r, 2), how, false), 0, axis);
}

/* Sums over windows of m elements, some apart, from the one end or the other. */
static Ref summed_windows(Draw *d, Ref v, int axis)
{
    int rank = typ(v)->rank;
    int64_t m = 1 + below(d, 3), by = 1 + below(d, 2), more = (m - 1) * by;
    Ref p = padded(d, v, axis, more / 2, more - more / 2, 0);
    Ints shape = type_shape(typ(p));
    shape.v[shape.n++] = m;
    p = Shear(Broadcast(p, shape, ints_range(0, rank)), axis, rank, pick(d->r, 2) ? by : -by);
    return Sum(scaled(p, 0.5), (Ints){ 1, { rank } });
}

static Ref moved(Draw *d, Ref v)
{
    int axis = axis_drawn(d, v);
    int64_t n = dim_of(v, axis), by = 1 + below(d, n > 4 && pick(d->r, 2) ? 4 : n), b = 1 + below(d, 3);
    Ints shape = type_shape(typ(v));
    switch (pick(d->r, 16)) {
    case 0: case 1: return by < n ? joined(cut(v, axis, n - by, n), cut(v, axis, 0, n - by), axis) : v;
    case 2: case 3: return turned(v, axis);
    case 4: return cut(bordered(v, axis, b, false), axis, 2 * b, n + 2 * b);
    case 5: return cut(bordered(v, axis, b, true), axis, 0, n);
    case 6: return padded(d, v, axis, by, -by, 0);
    case 7: return padded(d, v, axis, -by, by, 0);
    case 8: return take(v, places_of(d, n, n), axis, 1);
    case 9: return window_of(d, bordered(v, axis, b, pick(d->r, 2)), shape);
    case 10: return updated(d, v);
    case 11: {
        Type t = type_of(DT_I32, shape.n, shape.v);
        return Select(Lt(Iota(t, axis), Like(Iota(t, axis), (double)by)), turned(v, axis), v);
    }
    case 12: {
        Ints step = ints_fill(shape.n, 1);
        step.v[axis] = 2;
        Ref half = Slice(v, ints_fill(shape.n, 0), shape, step);
        return cut(padded(d, half, axis, 0, 1, 1), axis, 0, n);
    }
    case 13: return scattered(d, v, axis);
    case 14: return typ(v)->rank < MAXRANK ? summed_windows(d, v, axis) : v;
    default:
        return pick(d->r, 4) ? scaled(v, 0.5) : Cumulative(OP_cumsum, scaled(v, 0.1), axis, pick(d->r, 2));
    }
}

/* ==================== stencils */

typedef struct Stencil { int axis, border, form; int64_t by; } Stencil;

/* Element i is v's i - by, from beyond the border: the other end, its mirror image, the edge (twice), a
 * constant. */
static Ref shifted(Ref v, const Stencil *s, int64_t by)
{
    int64_t n = dim_of(v, s->axis), b = by < 0 ? -by : by;
    Ref all = by < 0 ? cut(v, s->axis, b, n) : cut(v, s->axis, 0, n - b), beyond = 0;
    switch (s->border) {
    case 0: beyond = by < 0 ? cut(v, s->axis, 0, b) : cut(v, s->axis, n - b, n); break;
    case 1: beyond = turned(by < 0 ? cut(v, s->axis, n - b, n) : cut(v, s->axis, 0, b), s->axis); break;
    case 2: {
        Ref e = by < 0 ? cut(v, s->axis, n - 1, n) : cut(v, s->axis, 0, 1);
        for (beyond = e; dim_of(beyond, s->axis) < b;)
            beyond = joined(beyond, e, s->axis);
        break;
    }
    case 3: {
        Type t = type_of(DT_I32, 1, &n);
        return take(v, Add(Iota(t, 0), Full(t, (double)-by)), s->axis, 1);
    }
    default: return pad_axis(v, s->axis, by, -by, Const(dtype_at(v), 2));
    }
    return by < 0 ? joined(all, beyond, s->axis) : joined(beyond, all, s->axis);
}

static Ref stencil(Ref v, const Stencil *s)
{
    Ref left = shifted(v, s, s->by), right = shifted(v, s, -s->by);
    switch (s->form) {
    case 0: return Sub(Add(scaled(left, 0.5), scaled(right, 0.5)), scaled(v, 0.25));
    case 1: return Add(left, scaled(turned(left, s->axis), 0.5));
    case 2: return left;
    case 3: return Add(scaled(shifted(left, s, s->by), 0.5), scaled(turned(right, s->axis), 0.25));
    default: return Sub(left, scaled(right, 0.5));
    }
}

/* As programs do: the same one again and again, or two in turn. */
static Ref stencils(Draw *d, Ref v)
{
    Stencil s[2];
    for (int k = 0; k < 2; k++) {
        int axis = pick(d->r, 2) ? typ(v)->rank - 1 : axis_drawn(d, v);
        int64_t n = dim_of(v, axis), most = n - 1 < 3 ? n - 1 : 3;
        if (n < 2)
            return v;
        s[k] = (Stencil){ axis, pick(d->r, 5), pick(d->r, 5), 1 + below(d, most) };
    }
    bool two = pick(d->r, 2);
    for (int times = 2 + pick(d->r, 3), k = 0; k < times; k++)
        v = stencil(v, &s[two && k % 2]);
    return v;
}

/* ==================== views of other shapes */

static Ref regrouped(Draw *d, Ref v)
{
    Ints s = type_shape(typ(v));
    int axis = axis_drawn(d, v);
    if (s.n > 1 && pick(d->r, 2)) {             /* two axes become one */
        axis = below(d, s.n - 1);
        s.v[axis] *= s.v[axis + 1];
        for (int k = axis + 1; k + 1 < s.n; k++)
            s.v[k] = s.v[k + 1];
        s.n--;
    } else if (s.n < 4) {                       /* one becomes two */
        int64_t f = 1 + below(d, s.v[axis]);
        for (; s.v[axis] % f; f--)
            ;
        for (int k = s.n++; k > axis; k--)
            s.v[k] = s.v[k - 1];
        s.v[axis] = f, s.v[axis + 1] /= f;
    }
    return Reshape(v, s);
}

static Ref permuted(Draw *d, Ref v)
{
    Ints p = ints_range(0, typ(v)->rank);
    for (int k = p.n - 1; k > 0; k--) {
        int j = below(d, k + 1);
        int64_t t = p.v[k];
        p.v[k] = p.v[j], p.v[j] = t;
    }
    return Transpose(v, p);
}

static Ref strided(Draw *d, Ref v)
{
    Ints from = ints_fill(typ(v)->rank, 0), to = type_shape(typ(v)), step = ints_fill(from.n, 1);
    for (int k = 0; k < from.n; k++) {
        from.v[k] = below(d, to.v[k] < 4 ? to.v[k] : 4);
        to.v[k] -= below(d, to.v[k] - from.v[k] < 3 ? to.v[k] - from.v[k] : 3);
        step.v[k] = pick(d->r, 3) ? 1 : 1 + pick(d->r, 3);
    }
    return Slice(v, from, to, step);
}

static Ref reduced(Draw *d, Ref v)
{
    static const Op op[] = { OP_reduce_sum, OP_reduce_sum, OP_reduce_max };
    int axis = axis_drawn(d, v);
    if (typ(v)->rank < 2)
        return v;
    return Reduce(op[pick(d->r, d->smooth ? 2 : 3)], scaled(v, 0.25), (Ints){ 1, { axis } });
}

static Ref widened(Draw *d, Ref v)
{
    Ints s = type_shape(typ(v)), dims = { 0 };
    int at = below(d, s.n + 1);
    if (s.n == 4)
        return v;
    for (int k = s.n++; k > at; k--)
        s.v[k] = s.v[k - 1];
    s.v[at] = 2 + pick(d->r, 2) * 15;
    for (int k = 0; k < s.n; k++)
        if (k != at)
            dims.v[dims.n++] = k;
    return Broadcast(v, s, dims);
}

static Ref reshaped(Draw *d, Ref v)
{
    int axis = axis_drawn(d, v);
    switch (pick(d->r, 10)) {
    case 0: case 1: return regrouped(d, v);
    case 2: case 3: return permuted(d, v);
    case 4: case 5: return strided(d, v);
    case 6:
        return joined(v, pick(d->r, 2) ? moved(d, v) : cut(v, axis, 0, 1 + below(d, dim_of(v, axis))), axis);
    case 7:
        return padded(d, v, axis, pick(d->r, 4) - 1 + (dim_of(v, axis) < 2), pick(d->r, 4), pick(d->r, 3));
    case 8: return widened(d, v);
    default: return reduced(d, v);
    }
}

/* ==================== loops */

/* A table is read at places that steps bring along; what is carried is moved about. */
static Ref looped(Draw *d, Ref v)
{
    int rank = typ(v)->rank;
    if (rank < 2)
        return v;
    Type table = *typ(v), row = type_drop_lead(&table, 1);
    int64_t length = 1 + below(d, dim_of(d->places, 0) < 9 ? dim_of(d->places, 0) : 9);
    graph_begin(graph_new());
    Draw in = { .r = d->r, .most = d->most, .smooth = true };
    Ref t = graph_input(table, 0), c = graph_input(row, 0), i = graph_input(type_scalar(DT_I32), 0);
    in.places = Add(
        Reshape(i, (Ints){ 1, { 1 } }), Data(type_of(DT_I32, 1, (const int64_t[]){ 1 }), &(int32_t){ 1 }));
    in.v[in.n++] = c;
    in.scalar = Const(row.dt, 1);
    Ref y = take(t, i, 0, 1), z = Add(scaled(pick(d->r, 2) ? moved(&in, c) : c, 0.5), scaled(y, 0.5));
    Ref out[] = { z, pick(d->r, 2) ? y : moved(&in, y) };
    graph_outputs(out, 2);
    Graph *body = graph_end();
    Region r = region_plain(SCAN, 1, 0, 1);
    r.length = length, r.reverse = pick(d->r, 2);
    Ref start = take(v, Const(DT_I32, 0), 0, 1), res[2];
    emit_region(&r, 3, (const Ref[]){ v, start, cut(d->places, 0, 0, length) }, 1, &body, res);
    return pick(d->r, 2) ? joined(res[1], BroadcastLead(res[0], 1), 0) : BroadcastLead(res[0], 2);
}

/* ==================== programs */

static void keep(Draw *d, Ref v)
{
    if (v && d->n < POOL && typ(v)->rank && type_size(typ(v)) <= d->most && type_size(typ(v)))
        d->v[d->n++] = v;
}

static Ref tame(Draw *d, Ref v)
{
    if (!is_float(v))
        return pick(d->r, 2) ? Add(v, Like(v, 1)) : v;
    switch (pick(d->r, 8)) {
    case 0: return Sin(v);
    case 1: case 2: case 3: return Mul(v, scaled(v, 0.25));
    case 4: return d->smooth ? v : Max(v, scaled(v, 0.5));
    default: return Add(scaled(v, 0.7), Like(v, 0.3));
    }
}

static void draw_step(Draw *d)
{
    Ref v = any(d);
    switch (pick(d->r, 13)) {
    case 9: case 10: case 11: case 12: keep(d, stencils(d, v)); break;
    case 0: case 1: keep(d, moved(d, v)); break;
    case 2: case 3: keep(d, reshaped(d, v)); break;
    case 4: case 5: keep(d, Add(moved(d, v), scaled(moved(d, v), 0.5))); break;     /* a diamond */
    case 6: keep(d, Sub(v, moved(d, moved(d, v)))); break;
    case 7: keep(d, tame(d, v)); break;
    default: keep(d, pick(d->r, 3) ? tame(d, moved(d, v)) : looped(d, v));
    }
}

static Type type_drawn(Rng *r, Dtype dt, int64_t most)
{
    Type t = type_of(dt, 1 + pick(r, 4), (const int64_t[]){ 1, 1, 1, 1 });
    int64_t room = most;
    for (int n = t.rank; n > 0; n--) {
        int k = pick(r, n), free = 0, at = -1;
        while (free <= k)                       /* axes in random order, so that each may be the long one */
            free += t.dim[++at] == 1 || at >= t.rank - 1;
        int64_t size = sizes[pick(r, SIZES)];
        for (int tries = 0; size > room && tries < 20; tries++)
            size = sizes[pick(r, SIZES)];
        if (size <= room && t.dim[at] == 1)
            t.dim[at] = size, room /= size;
    }
    return t;
}

static Graph *drawn(Rng *r, Dtype dt, int64_t most, bool smooth)
{
    Draw d = { .r = r, .most = 3 * most, .smooth = smooth };
    int steps = 2 + pick(r, 8);
    graph_begin(graph_new());
    d.v[d.n++] = graph_input(type_drawn(r, dt, most), 0);
    if (pick(r, 2))
        d.v[d.n++] = graph_input(type_drawn(r, dt, most), 0);
    d.places = graph_input(type_of(DT_I32, 1, (const int64_t[]){ sizes[1 + pick(r, 8)] }), 0);
    d.scalar =
        Reshape(SliceAxis(Reshape(d.v[0], (Ints){ 1, { type_size(typ(d.v[0])) } }), 0, 0, 1), (Ints){ 0 });
    for (int k = 0; k < steps; k++)
        draw_step(&d);
    Ref out[] = { d.v[d.n - 1], d.v[below(&d, d.n)] };
    graph_outputs(out, out[0] == out[1] ? 1 : 2);
    return graph_end();
}

/* The gradient of a sum of squares by all numbers. */
static Graph *gradient(const Graph *f)
{
    bool *wrt = NEWS(bool, f->nin);
    graph_begin(graph_new());
    Ref *x = NEWS(Ref, f->nin), *z = NEWS(Ref, f->nout), sum = 0;
    for (int k = 0; k < f->nin; k++) {
        x[k] = graph_input(f->type[f->in[k]], 0);
        wrt[k] = is_float(x[k]);
    }
    graph_inline(f, x, z);
    for (int k = 0; k < f->nout; k++) {
        Ref s = Sum(scaled(Mul(z[k], z[k]), 0.5), ints_range(0, typ(z[k])->rank));
        sum = sum ? Add(sum, s) : s;
    }
    graph_outputs(&sum, 1);
    const Graph *v = graph_vjp(graph_end(), wrt);
    if (!v)
        return NULL;
    graph_begin(graph_new());
    Ref *all = NEWS(Ref, v->nin), *back = NEWS(Ref, v->nout);
    for (int k = 0; k + 1 < v->nin; k++)
        all[k] = graph_input(v->type[v->in[k]], 0);
    all[v->nin - 1] = Const((Dtype)v->type[v->in[v->nin - 1]].dt, 1);
    graph_inline(v, all, back);
    graph_outputs(back + 1, v->nout - 1);
    return graph_end();
}

static Graph *lanes_of(Rng *r, const Graph *f)
{
    static const int64_t count[] = { 2, 16, 17, 33 };
    uint8_t *in = NEWS(uint8_t, f->nin), *out = NEWS(uint8_t, f->nout);
    Lane lane = { count[pick(r, 4)], NULL, NULL };
    for (int k = 0; k < f->nin; k++)
        in[k] = pick(r, 3) ? STACKED : SHARED;
    in[0] = STACKED;
    for (int k = 0; k < f->nout; k++)
        out[k] = STACKED;
    return graph_batch(f, in, out, &lane, false, false);
}

Graph *view_program(Rng *r, bool f64, const char **what)
{
    static const Dtype types[] = { DT_F32, DT_F32, DT_F32, DT_F32, DT_F32, DT_I32, DT_F16, DT_F64 };
    static const char *const around[] = { "as it is", "in lanes", "its gradient", "its gradient in lanes",
        "the gradient of lanes" };
    int kind = pick(r, 8);
    kind = kind > 4 ? 0 : kind;
    Dtype dt = kind > 1 ? DT_F32 : types[pick(r, f64 ? 8 : 7)];
    bool lanes = kind == 1 || kind > 2;
    *what = around[kind];
    Graph *f = drawn(r, dt, lanes ? 64 : 600, kind > 1);
    if (f && !error_pending() && (kind == 1 || kind == 4))
        f = lanes_of(r, f);
    if (f && !error_pending() && kind > 1)
        f = gradient(f);
    if (f && !error_pending() && kind == 3)
        f = lanes_of(r, f);
    return error_pending() ? NULL : f;
}

/* ==================== the host and a device */

typedef struct Trial {
    int64_t seed;
    const char *what;
    Graph *g;
    Values *in, *want, *got;
} Trial;

/* Elements that a kernel reads and writes, each lane's. */
static int accesses(const Kernel *k)
{
    int n = 0;
    for (int i = 0; i < k->nins; i++)
        switch (k->ins[i].op) {
        case K_LOAD: n += k->ins[i].w; break;
        case K_STORE: n += k->ins[k->ins[i].arg[0]].w; break;
        case K_LOADS: case K_STORES: n += W * k->ins[i].group; break;
        default: break;
        }
    return n;
}

/* What compiling its kernels takes: instructions, but where vectors are made of work-items each access is
 * control flow, of which compilers take the square. -1: it cannot be scheduled. */
static int code_size(const Graph *g, const DeviceInfo *info)
{
    const Target target = target_of(info);
    Plan *p = plan_schedule(g, &target);
    Kernel **list;
    int n, code = 0;
    if (!p)
        return -1;
    plan_kernels(p, &list, &n);
    for (int k = 0; k < n; k++)
        code += info->scalar ? accesses(list[k]) * accesses(list[k]) / 300 : list[k]->nins;
    return code;
}

static bool trial_new(Trial *t, int64_t seed, const DeviceInfo *info)
{
    bool f64 = info->has_f64 && strcmp(info->kind, "vulkan");       /* no functions of f64 there */
    Rng r = { (uint64_t)seed * 0x9E3779B97F4A7C15u + 5 };
    int most = pick(&r, 32) ? 400 : 4000, tries = 0;
    *t = (Trial){ .seed = seed };
    do {
        t->g = view_program(&r, f64, &t->what);
        t->g = t->g ? graph_dce(t->g) : NULL;
    } while (t->g && code_size(t->g, info) > most && tries++ < 30);
    if (!t->g || error_pending())
        return false;
    t->in = NEWS(Values, t->g->nin), t->want = NEWS(Values, t->g->nout), t->got = NEWS(Values, t->g->nout);
    for (int k = 0; k < t->g->nin; k++) {
        Type type = t->g->type[t->g->in[k]];
        t->in[k] = values_new(type);
        for (int64_t j = 0; j < type_size(&type); j++)
            t->in[k].v[j] = dtype_int((Dtype)type.dt) ? pick(&r, 40) - 4 : floor(64 * normal(&r)) / 64;
    }
    return !evaluate(t->g, t->in, t->want);
}

/* All in one graph. */
static int run_together(Trial *t, int n, Device *other)
{
    Device *host = device;
    int nin = 0, nout = 0, code;
    for (int k = 0; k < n; k++)
        nin += t[k].g->nin, nout += t[k].g->nout;
    Values *in = NEWS(Values, nin), *got = NEWS(Values, nout);
    Ref *out = NEWS(Ref, nout);
    graph_begin(graph_new());
    nin = nout = 0;
    for (int k = 0; k < n; k++) {
        Ref *x = NEWS(Ref, t[k].g->nin);
        for (int j = 0; j < t[k].g->nin; j++) {
            in[nin++] = t[k].in[j];
            x[j] = graph_input(t[k].in[j].t, 0);
        }
        graph_inline(t[k].g, x, out + nout);
        nout += t[k].g->nout;
    }
    graph_outputs(out, nout);
    Graph *g = graph_end();
    device = other;
    code = evaluate(g, in, got);
    device = host;
    nout = 0;
    for (int k = 0; k < n && !code; k++)
        for (int j = 0; j < t[k].g->nout; j++)
            t[k].got[j] = got[nout++];
    return code;
}

static double tolerance_of(Dtype dt)
{
    return dt == DT_F64 ? 1e-9 : dt == DT_F32 ? 3e-4 : dt == DT_F16 ? 1e-2 : 0;
}

/* Which result is wrong; -1: none. */
static int wrong(const Trial *t)
{
    for (int k = 0; k < t->g->nout; k++)
        if (!all_same(&t->got[k], &t->want[k], 1, tolerance_of((Dtype)t->want[k].t.dt)))
            return k;
    return -1;
}

/* Tries one program alone: does it fail there? */
static bool fails_alone(Trial *t, Device *other)
{
    return run_together(t, 1, other) || wrong(t) >= 0;
}

static int report(Trial *t, int k, int n, int64_t first, Device *other)
{
    const char *text = k < 0 ? error_text() : difference(t->got[k], t->want[k]);
    printf("seed %lld (%s), result %d: %s", (long long)t->seed, t->what, k, text);
    error_clear();
    bool alone = n > 1 && fails_alone(t, other);
    error_clear();
    if (n > 1)
        printf(
            alone ? "; also alone" : "; only in --seed %lld --count %d --many %d", (long long)first, n, n);
    printf("\n");
    fflush(stdout);
    return 1;
}

static int try_many(const FuzzOptions *o, int64_t first, int n, Device *other)
{
    Trial *t = NEWS(Trial, n);
    int bad = 0, m = 0;
    for (int k = 0; k < n; k++) {
        if (!trial_new(&t[m], first + k, &other->info)) {
            printf("seed %lld (%s): %s\n", (long long)first + k, t[m].what ? t[m].what : "?", error_text());
            error_clear();
            bad++;
            continue;
        }
        Text text = { 0 };
        if (o->verbose) {
            graph_print(t[m].g, &text);
            printf("seed %lld, %s\n%s\n", (long long)first + k, t[m].what, text.s);
            fflush(stdout);
        }
        text_free(&text);
        m++;
    }
    if (m && run_together(t, m, other)) {       /* which one is it? */
        printf("seeds %lld .. %lld: %s\n", (long long)first, (long long)first + n - 1, error_text());
        for (int k = 0; k < m; k++) {
            error_clear();
            if (m == 1 || run_together(&t[k], 1, other))
                bad += report(&t[k], -1, 1, first, other);
        }
        error_clear();
        return bad ? bad : 1;
    }
    for (int k = 0; k < m; k++)
        if (wrong(&t[k]) >= 0)
            bad += report(&t[k], wrong(&t[k]), n, first, other);
    return bad;
}

int views_agree(const FuzzOptions *o, Device *host, Device *other)
{
    int bad = 0;
    device = host;
    for (int64_t s = o->seed; s < o->seed + o->count; s += o->many) {
        Arena *arena = arena_new(), *before = arena_use(arena);
        int64_t left = o->seed + o->count - s;
        error_clear();
        bad += try_many(o, s, (int)(left < o->many ? left : o->many), other);
        arena_use(before);
        arena_drop(arena);
    }
    return bad;
}
