/*
 * prepare_fft.c - Fourier transforms of any length, in passes over memory.
 *
 * n numbers, n = a m, are a rows of m. A pass transforms the columns, and multiplies element (k, j) of the
 * result by exp(-2 pi i j k / n); what is left are transforms of the rows, with the next passes: Cooley
 * and Tukey, "An algorithm for the machine calculation of complex Fourier series" (1965). Where all is
 * done, each k is a digit of the frequency, the first one the lowest, and digits are read in that order.
 *
 *     [batch, n, inner] -> [batch, k1, m1, inner] -> [batch, k1, k2, m2, inner]
 *                       .. -> [batch, .. k2, k1, inner]
 *
 * A pass is a kernel whose lanes are columns: up to 16 numbers of each are in registers (fft_written.c).
 * The first and the last are as long as a vector where that is possible, so that all passes read and write
 * whole vectors.
 *
 * A prime factor above ODD is a product with its matrix, and a larger one makes of the transform a
 * convolution of a power of two: Bluestein, "A linear filtering approach to the computation of discrete
 * Fourier transform" (1970).
 */
#include "fft.h"
#include "lanes.h"

#include <math.h>
#include <stdlib.h>

typedef enum Role { BATCH, DIGIT, COLUMN, HIGH, LOW, REST, INNER } Role;

/* Numbers with these axes, none of which is 1 long. */
typedef struct Axes {
    int n;
    Role role[MAXRANK];
    int64_t size[MAXRANK];
} Axes;
typedef struct State {
    Parts z;
    Axes axes;
    const Machine *machine;
} State;

static void add_axis(Axes *a, Role r, int64_t size)
{
    if (size > 1)
        a->role[a->n] = r, a->size[a->n++] = size;
}
static Ints sizes(const Axes *a)
{
    Ints s = { .n = a->n };
    for (int d = 0; d < a->n; d++)
        s.v[d] = a->size[d];
    return s;
}
static Parts reshaped(Parts z, Ints s) { return (Parts){ Reshape(z.re, s), Reshape(z.im, s) }; }
static Parts transposed(Parts z, Ints p) { return (Parts){ Transpose(z.re, p), Transpose(z.im, p) }; }
static Parts turned(Parts z) { return (Parts){ z.im, z.re }; }

/* ==================== constants */

/* [rows, columns] of exp(-2 pi i r c / n); columns are `step` apart. */
static Parts table(Dtype d, int64_t n, int64_t rows, int64_t columns, int64_t step)
{
    size_t size = dtype_size(d), all = (size_t)(rows * columns);
    char *w = arena_alloc(2 * all * size + 1);
    for (size_t at = 0; at < all; at++) {
        int64_t r = (int64_t)at / columns, c = (int64_t)at % columns * step;
        double re, im;
        fft_root((int64_t)((__int128)r * c % n), n, &re, &im);
        dtype_store_f(d, w + at * size, re);
        dtype_store_f(d, w + (all + at) * size, im);
    }
    Type t = type_of(d, 2, (const int64_t[]){ rows, columns });
    return (Parts){ Data(t, w), Data(t, w + all * size) };
}

/* The factors between the transform of a columns and that of rows of m, which has the index high * low +
 * l: near [a, low], and far [a, high], which is nothing where one table does. */
typedef struct Factors {
    int64_t high, low;
    Parts near, far;
} Factors;

/* most: elements of a table. */
static Factors factors(Dtype d, int64_t a, int64_t m, int64_t most)
{
    Factors f = { 1, m, { 0 }, { 0 } };
    while (a * f.low > most && f.low > f.high && f.low % 2 == 0)
        f.low /= 2, f.high *= 2;
    if (m > 1)
        f.near = table(d, a * m, a, f.low, 1);
    if (f.high > 1)
        f.far = table(d, a * m, a, f.high, f.low);
    return f;
}

/* ==================== a pass */

static Parts by_factor(Parts x, Parts w)
{
    return (Parts){ Sub(Mul(x.re, w.re), Mul(x.im, w.im)), Add(Mul(x.re, w.im), Mul(x.im, w.re)) };
}

static Ref element(Ref x, int64_t k) { return Reshape(SliceAxis(x, 0, k, k + 1), (Ints){ 0 }); }
static Parts elements(Parts x, int64_t k) { return (Parts){ element(x.re, k), element(x.im, k) }; }

static Ref put_together(const Parts *z, int64_t n, bool im)
{
    Ref part[WRITTEN];
    for (int64_t k = 0; k < n; k++)
        part[k] = Reshape(im ? z[k].im : z[k].re, (Ints){ 1, { 1 } });
    return Concat(part, (int)n, 0);
}

/* (re, im, factors ..) of one column -> (re, im): `tables` of factors, each two parts. */
static Graph *column_graph(Dtype d, int64_t a, int tables)
{
    Type t = type_of(d, 1, &a);
    Parts in[3], z[WRITTEN];
    Ref out[2];
    graph_begin(graph_new());
    for (int k = 0; k <= tables; k++)
        in[k].re = graph_input(t, 0), in[k].im = graph_input(t, 0);
    for (int64_t k = 0; k < a; k++)
        z[k] = elements(in[0], k);
    fft_written(z, a);
    for (int64_t k = 1; k < a && tables; k++) {
        Parts w = elements(in[1], k);
        z[k] = by_factor(z[k], tables > 1 ? by_factor(elements(in[2], k), w) : w);
    }
    out[0] = put_together(z, a, false), out[1] = put_together(z, a, true);
    graph_outputs(out, 2);
    return graph_end();
}

/* The axis REST cut in a, high and low. */
static Axes cut(const Axes *x, int64_t a, const Factors *f)
{
    Axes y = { 0 };
    for (int d = 0; d < x->n; d++)
        if (x->role[d] == REST) {
            add_axis(&y, COLUMN, a), add_axis(&y, HIGH, f->high), add_axis(&y, LOW, f->low);
        } else
            add_axis(&y, x->role[d], x->size[d]);
    return y;
}

/* After a pass: the column is a digit, and what high and low were is the rest. */
static void passed(State *s, const Axes *x, Parts z)
{
    Axes y = { 0 };
    int64_t rest = 1;
    for (int d = 0; d < x->n; d++) {
        bool inside = x->role[d] == HIGH || x->role[d] == LOW;
        rest *= inside ? x->size[d] : 1;
        if (inside && d + 1 < x->n && x->role[d + 1] == LOW)
            continue;
        add_axis(&y, x->role[d] == COLUMN ? DIGIT : inside ? REST : x->role[d], inside ? rest : x->size[d]);
    }
    *s = (State){ y.n == x->n ? z : reshaped(z, sizes(&y)), y, s->machine };
}

/* Lanes: all axes but the column, in order; where nothing is left, the lowest digit is the last, as it
 * will be read. */
static Ints lanes_first(const Axes *x, bool last)
{
    Ints p = { 0 };
    int column = 0, digits = 0;
    for (int d = 0; d < x->n; d++) {
        column = x->role[d] == COLUMN ? d : column;
        digits += x->role[d] == DIGIT;
    }
    int first = x->n && x->role[0] == BATCH;
    for (int d = 0; d < x->n; d++)
        if (d != column)
            p.v[p.n++] = last && x->role[d] == DIGIT ? first + digits - 1 - (d - first) : d;
    p.v[p.n++] = column;
    return p;
}

static Ints inverse_of(Ints p)
{
    Ints q = { .n = p.n };
    for (int d = 0; d < p.n; d++)
        q.v[p.v[d]] = d;
    return q;
}

static void written_pass(State *s, int64_t a, int64_t m)
{
    Dtype d = (Dtype)typ(s->z.re)->dt;
    Factors f = factors(d, a, m, s->machine->fft_table);
    Axes x = cut(&s->axes, a, &f);
    int tables = (m > 1) + (f.high > 1);
    Ints p = lanes_first(&x, m == 1);
    Graph *g = one_turn(column_graph(d, a, tables));
    for (int l = p.n - 2; l >= 0 && !error_pending(); l--) {
        Role r = x.role[p.v[l]];
        const bool shared[6] = { false, false, r != LOW, r != LOW, r != HIGH, r != HIGH };
        g = over_lanes(g, x.size[p.v[l]], shared);
    }
    if (error_pending())
        return;
    Parts z = transposed(reshaped(s->z, sizes(&x)), p);
    Ref in[6] = { z.re, z.im }, out[2];
    for (int k = 0; k < tables; k++) {
        Parts w = transposed(k ? f.far : f.near, (Ints){ 2, { 1, 0 } });
        in[2 + 2 * k] = w.re, in[3 + 2 * k] = w.im;
    }
    graph_inline(g, in, out);
    passed(s, &x, transposed((Parts){ out[0], out[1] }, inverse_of(p)));
}

/* The same by a product: rows of its matrix are the real parts of all frequencies, then the imaginary
 * ones. */
static void product_pass(State *s, int64_t p, int64_t m)
{
    Dtype d = (Dtype)typ(s->z.re)->dt;
    Factors f = factors(d, p, m, s->machine->fft_table);
    Axes x = cut(&s->axes, p, &f);
    Parts w = table(d, p, p, p, 1), z = reshaped(s->z, sizes(&x));
    int at = 0;
    while (x.role[at] != COLUMN)
        at++;
    Ref rows[2] = { Concat((const Ref[]){ w.re, Neg(w.im) }, 2, 1),
        Concat((const Ref[]){ w.im, w.re }, 2, 1) };
    Ref both = Concat((const Ref[]){ z.re, z.im }, 2, at), matrix = Concat(rows, 2, 0);
    Ref y = Dot(matrix, both, (Ints){ 1, { 1 } }, (Ints){ 1, { at } }, (Ints){ 0 }, (Ints){ 0 }, DT_NONE);
    y = MoveAxis(y, 0, at);
    z = (Parts){ SliceAxis(y, at, 0, p), SliceAxis(y, at, p, 2 * p) };
    for (int k = 0; k < (m > 1) + (f.high > 1); k++) {
        Parts of = k ? f.far : f.near;
        int other = at + 1 + (!k && f.high > 1);
        Ints dims = { 2, { at, other } };
        z = by_factor(z, (Parts){ Broadcast(of.re, sizes(&x), dims), Broadcast(of.im, sizes(&x), dims) });
    }
    passed(s, &x, z);
}

/* ==================== which passes */

static int64_t largest_prime(int64_t n)
{
    int64_t most = 1;
    for (int64_t p = 2; p * p <= n; p++)
        for (; n % p == 0; n /= p)
            most = p;
    return n > 1 ? n : most;
}

/* How many passes n takes, if each is as long as it can be. */
static int passes_of(int64_t n)
{
    int count = 0;
    for (; n > 1; count++) {
        int64_t a = WRITTEN;
        while (n % a)
            a--;
        n /= a;
    }
    return count;
}

/* The next of the passes of n. The first is as long as it can be, and so is the last: what is between,
 * of equal lengths. */
static int64_t next_pass(int64_t n, bool first)
{
    int count = passes_of(n);
    int64_t best = 0, end = count > 1 && n % WRITTEN == 0 ? WRITTEN : 1;
    double want = first ? WRITTEN : pow((double)(n / end), 1.0 / (count - (end > 1)));
    for (int64_t a = 2; a <= WRITTEN; a++)
        if (n % a == 0 && passes_of(n / a) < count && (end == 1 || n / a % end == 0) &&
            (!best || fabs(log((double)a / want)) < fabs(log((double)best / want))))
            best = a;
    for (int64_t a = WRITTEN; a > 1 && !best; a--)
        best = n % a ? 0 : a;
    return best;
}

static int64_t length_of(const State *s)
{
    for (int d = 0; d < s->axes.n; d++)
        if (s->axes.role[d] == REST)
            return s->axes.size[d];
    return 1;
}

static void all_passes(State *s)
{
    bool first = true;
    for (int64_t n; !error_pending() && s->z.re && (n = length_of(s)) > 1; first = false) {
        int64_t p = largest_prime(n), a = p > ODD ? p : next_pass(n, first);
        if (p > ODD)
            product_pass(s, p, n / p);
        else
            written_pass(s, a, n / a);
    }
}

/* Digits in the order of the frequency. */
static Parts in_order(const State *s)
{
    const Axes *x = &s->axes;
    Ints p = { 0 };
    for (int r = BATCH; r <= INNER; r++)
        for (int d = 0; d < x->n; d++) {
            int at = r == DIGIT ? x->n - 1 - d : d;
            if (x->role[at] == (Role)r)
                p.v[p.n++] = at;
        }
    return transposed(s->z, p);
}

/* ==================== a convolution of a power of two */

/* j k = (j^2 + k^2 - (k - j)^2) / 2: numbers by a chirp, a convolution with its conjugate, by the chirp
 * again. Of [batch, n, inner]. */
static Parts by_chirp(Parts x)
{
    const Type *t = typ(x.re);
    int64_t n = t->dim[1], m = 1;
    Dtype d = (Dtype)t->dt;
    while (m < 2 * n - 1)
        m *= 2;
    size_t size = dtype_size(d);
    char *w = arena_alloc((size_t)(2 * n) * size), *c = arena_alloc((size_t)(2 * m) * size + 1);
    for (int64_t j = 0; j < n; j++) {
        double re, im;
        fft_root((int64_t)((__int128)j * j % (2 * n)), 2 * n, &re, &im);
        dtype_store_f(d, w + (size_t)j * size, re), dtype_store_f(d, w + (size_t)(n + j) * size, im);
        for (int k = 0; k < (j ? 2 : 1); k++) { /* the filter: 0 .. n-1, zeros, n-1 .. 1 */
            int64_t at = k ? m - j : j;
            dtype_store_f(d, c + (size_t)at * size, re / (double)m);
            dtype_store_f(d, c + (size_t)(m + at) * size, -im / (double)m);
        }
    }
    Type line = type_of(d, 1, &n), filter = type_of(d, 1, &m), wide = *t;
    wide.dim[1] = m;
    Ints along = { 1, { 1 } }, none = ints_fill(3, 0), hi = none;
    hi.v[1] = m - n;
    Ref zero = Const(d, 0), chirp[2] = { Data(line, w), Data(line, w + (size_t)n * size) },
        of[2] = { Data(filter, c), Data(filter, c + (size_t)m * size) }, f[2], y[2];
    Parts by = { Broadcast(chirp[0], type_shape(t), along), Broadcast(chirp[1], type_shape(t), along) };
    x = by_factor(x, by);
    Fft(of[0], of[1], 0, false, f);
    Fft(Pad(x.re, zero, none, hi, none), Pad(x.im, zero, none, hi, none), 1, false, y);
    Parts z = { Broadcast(f[0], type_shape(&wide), along), Broadcast(f[1], type_shape(&wide), along) };
    z = by_factor((Parts){ y[0], y[1] }, z);
    Fft(z.re, z.im, 1, true, y);
    return by_factor((Parts){ SliceAxis(y[0], 1, 0, n), SliceAxis(y[1], 1, 0, n) }, by);
}

/* ==================== all of it */

static Parts along(Parts x, int axis, const Machine *m)
{
    Ints shape = type_shape(typ(x.re));
    int64_t batch = 1, inner = 1, n = shape.v[axis];
    for (int d = 0; d < shape.n; d++)
        batch *= d < axis ? shape.v[d] : 1, inner *= d > axis ? shape.v[d] : 1;
    if (largest_prime(n) > m->prime_product) {
        Parts z = by_chirp(reshaped(x, (Ints){ 3, { batch, n, inner } }));
        return reshaped(z, shape);
    }
    State s = { .machine = m };
    add_axis(&s.axes, BATCH, batch), add_axis(&s.axes, REST, n), add_axis(&s.axes, INNER, inner);
    s.z = reshaped(x, sizes(&s.axes));
    all_passes(&s);
    return error_pending() ? (Parts){ 0 } : reshaped(in_order(&s), shape);
}

/* Inside of a body: a short transform is a part of it. */
static Parts written(Parts x, int axis)
{
    int64_t n = typ(x.re)->dim[axis];
    Parts z[WRITTEN];
    Ref part[2][WRITTEN];
    for (int64_t k = 0; k < n; k++)
        z[k] = (Parts){ SliceAxis(x.re, axis, k, k + 1), SliceAxis(x.im, axis, k, k + 1) };
    fft_written(z, n);
    for (int64_t k = 0; k < n; k++)
        part[0][k] = z[k].re, part[1][k] = z[k].im;
    return (Parts){ Concat(part[0], (int)n, axis), Concat(part[1], (int)n, axis) };
}

void prepare_fft(const Ins *i, const Ref *x, Ref *out, const Target *t, bool whole)
{
    int axis = (int)ins_int(i, ATTR(fft, axis));
    bool inverse = ins_int(i, ATTR(fft, inverse));
    int64_t n = typ(x[0])->dim[axis], lines = type_size(typ(x[0])) / n;
    bool small = n <= WRITTEN && largest_prime(n) <= ODD &&
        (double)lines * fft_code(n) <= (double)t->machine->written_inside;
    if (n == 1) {
        out[0] = x[0], out[1] = x[1];
    } else if (whole || small) {
        Type one = *typ(x[0]);
        Ref y[2];
        graph_begin(graph_new());
        Parts z = { graph_input(one, 0), graph_input(one, 0) };
        z = inverse ? turned(z) : z; /* the other sign: parts change places, before and after */
        z = whole ? along(z, axis, t->machine) : written(z, axis);
        z = inverse ? turned(z) : z;
        y[0] = z.re, y[1] = z.im;
        graph_outputs(y, 2);
        const Graph *g = graph_end();
        if (!error_pending())
            prepare_into(g, x, out, t, whole);
    } else
        again(i, x, out);
}
