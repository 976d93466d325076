/*
 * compose_rows.c - one row a transform: how it is applied to a flat function, and what it must give.
 *
 * In:  a flat function.   Out: another, and its value computed by calls of the first.
 * Each row's traced half and its counterpart in numbers stand one under the other; `want` knows nothing of
 * transforms.
 */
#include <math.h>
#include <string.h>

#include "compose_rows.h"

Env env_of(const Fun *f, uint64_t seed) { return (Env){ f->f, seed, f->nin, f->nout }; }
hd inside(const Env *e, const hd *x) { return hd_apply_n(e->f, x, (int)e->nin); }
unsigned bit(uint64_t seed, int k) { return (unsigned)(mixed(seed, (uint64_t)k) >> 40 & 1); }

void same_arguments(const Fun *inner, Fun *f)
{
    f->nin = inner->nin;
    memcpy(f->in, inner->in, sizeof f->in);
}

/* A tuple of arrays, however the transform packed them. */
hd flat_tuple(hd y)
{
    hd leaf[4 * PARTS];
    int n = hd_leaf_count(y);
    for (int k = 0; k < n && k < 4 * PARTS; k++)
        leaf[k] = hd_leaf(y, k);
    return hd_ok(y) ? hd_tuple_n(leaf, n) : y;
}

static hd flat_function(const hd *x, int n, const void *env)
{
    return flat_tuple(hd_apply_n(((const Env *)env)->f, x, n));
}
hd_fn *flattened(hd_fn *f)
{
    Env e = { .f = f };
    return hd_bind(flat_function, e);
}

hd_ints all_of(int n)
{
    hd_ints l = { .n = n };
    for (int k = 0; k < n; k++)
        l.v[k] = k;
    return l;
}

/* ==================== the same function */

bool want_same(const Fun *inner, uint64_t seed, const Value *x, Value *y)
{
    return (void)seed, fun_call(inner, x, y);
}

static void make_jit(const Fun *inner, uint64_t seed, Fun *f)
{
    (void)seed;
    same_arguments(inner, f);
    f->f = hd_jit_n(inner->f, &(hd_jit_opts){ 0 });
}

void make_checkpoint(const Fun *inner, uint64_t seed, Fun *f)
{
    static const char *const save[] = { NULL, "dots", "everything", "nothing" };
    same_arguments(inner, f);
    f->f = hd_checkpoint_n(inner->f, &(hd_checkpoint_opts){ .save = save[2 * bit(seed, 0) + bit(seed, 1)] });
}

/* ==================== derivatives */

double difference_step = 1e-4;

/* x + h t, given to f. */
static bool beside(const Fun *f, const Value *x, const Value *t, double h, Value *y)
{
    Value a[PARTS];
    for (int k = 0; k < f->nin; k++) {
        a[k] = value_new(f->in[k]);
        for (int64_t i = 0; i < elements(f->in[k]); i++)
            a[k].v[i] = x[k].v[i] + h * t[k].v[i];
    }
    return fun_call(f, a, y);
}

/* (8 (f(x + h t) - f(x - h t)) - (f(x + 2h t) - f(x - 2h t))) / 12 h: right to the fourth order of h. */
bool along(const Fun *f, const Value *x, const Value *t, Value *dy)
{
    static const double at[] = { 1, -1, 2, -2 }, share[] = { 8, -8, -1, 1 };
    Value y[PARTS];
    for (int k = 0; k < f->nout; k++)
        dy[k] = value_new(f->out[k]);
    for (int s = 0; s < 4; s++) {
        if (!beside(f, x, t, at[s] * difference_step, y))
            return false;
        for (int k = 0; k < f->nout; k++)
            for (int64_t i = 0; i < elements(f->out[k]); i++)
                dy[k].v[i] += share[s] * y[k].v[i] / (12 * difference_step);
    }
    return true;
}

/* Along the i-th element of argument k. */
bool along_one(const Fun *f, const Value *x, int k, int64_t i, Value *dy)
{
    Value t[PARTS];
    for (int j = 0; j < f->nin; j++)
        t[j] = value_new(f->in[j]);
    t[k].v[i] = 1;
    return along(f, x, t, dy);
}

static void make_jvp(const Fun *inner, uint64_t seed, Fun *f)
{
    (void)seed;
    f->nin = 2 * inner->nin;
    for (int k = 0; k < f->nin; k++)
        f->in[k] = inner->in[k % inner->nin];
    f->f = flattened(hd_jvp_n(inner->f));
}

bool want_jvp(const Fun *inner, uint64_t seed, const Value *x, Value *y)
{
    (void)seed;
    return fun_call(inner, x, y) && along(inner, x, x + inner->nin, y + inner->nout);
}

/* One number of all results, in which each element has its own weight. */
static double weight(int part, int64_t i) { return 1 + 0.25 * (double)(i % 5) - 0.4 * part; }

static hd weighted_sum(const hd *x, int n, const void *env)
{
    const Env *e = env;
    hd y = inside(e, x), sum = HD_NIL;
    (void)n;
    for (int k = 0; k < hd_len(y); k++) {
        hd v = hd_ravel(hd_nth(y, k)), i = hd_cast(hd_iota(HD_I32, 0, hd_size(v)), hd_dtype(v));
        hd w = hd_add_c(hd_mul_c(hd_mod(i, hd_c(5)), 0.25), 1 - 0.4 * k), s = hd_sum(hd_mul(v, w));
        sum = k ? hd_add(sum, s) : s;
    }
    return hd_ok(y) ? sum : y;
}

static double weighted(const Fun *f, const Value *y)
{
    double sum = 0;
    for (int k = 0; k < f->nout; k++)
        for (int64_t i = 0; i < elements(f->out[k]); i++)
            sum += weight(k, i) * y[k].v[i];
    return sum;
}

static void make_grad(const Fun *inner, uint64_t seed, Fun *f)
{
    Env e = env_of(inner, 0);
    hd_grad_opts o = { .argnums = all_of(inner->nin) };
    hd_fn *s = hd_bind(weighted_sum, e);
    same_arguments(inner, f);
    f->f = flattened(bit(seed, 0) ? hd_value_and_grad_n(s, &o) : hd_grad_n(s, &o));
}

static bool want_grad(const Fun *inner, uint64_t seed, const Value *x, Value *y)
{
    Value v[PARTS];
    int at = 0;
    if (bit(seed, 0)) {
        y[at] = value_new((hd_ints){ 0 });
        if (!fun_call(inner, x, v))
            return false;
        y[at++].v[0] = weighted(inner, v);
    }
    for (int k = 0; k < inner->nin; k++) {
        Value *d = &y[at++];
        *d = value_new(inner->in[k]);
        for (int64_t i = 0; i < elements(inner->in[k]); i++) {
            if (!along_one(inner, x, k, i, v))
                return false;
            d->v[i] = weighted(inner, v);
        }
    }
    return true;
}

/* Cotangents are arguments. */
static hd pulled_back(const hd *x, int n, const void *env)
{
    const Env *e = env;
    hd a[PARTS + 1];
    memcpy(a, x, sizeof *a * (size_t)e->nin);
    a[e->nin] = hd_tuple_n(x + e->nin, n - (int)e->nin);
    return flat_tuple(hd_apply_n(hd_vjp_n(e->f), a, (int)e->nin + 1));
}

static void make_vjp(const Fun *inner, uint64_t seed, Fun *f)
{
    Env e = env_of(inner, 0);
    (void)seed;
    f->nin = inner->nin + inner->nout;
    for (int k = 0; k < f->nin && k < PARTS; k++)
        f->in[k] = k < inner->nin ? inner->in[k] : inner->out[k - inner->nin];
    f->f = hd_bind(pulled_back, e);
}

bool want_vjp(const Fun *inner, uint64_t seed, const Value *x, Value *y)
{
    Value d[PARTS];
    (void)seed;
    if (!fun_call(inner, x, y))
        return false;
    for (int k = 0; k < inner->nin; k++) {
        Value *to = &y[inner->nout + k];
        *to = value_new(inner->in[k]);
        for (int64_t i = 0; i < elements(inner->in[k]); i++) {
            if (!along_one(inner, x, k, i, d))
                return false;
            for (int j = 0; j < inner->nout; j++)
                for (int64_t m = 0; m < elements(inner->out[j]); m++)
                    to->v[i] += d[j].v[m] * x[inner->nin + j].v[m];
        }
    }
    return true;
}

/* Of a function whose result is no scalar. */
static void make_bare_grad(const Fun *inner, uint64_t seed, Fun *f)
{
    (void)seed;
    same_arguments(inner, f);
    f->f = flattened(hd_grad_n(inner->f, &(hd_grad_opts){ 0 }));
}

hd first_result(const hd *x, int n, const void *env) { return (void)n, hd_nth(inside(env, x), 0); }

static void make_jacobian(const Fun *inner, Fun *f, hd_fn *(*jacobian)(hd_fn *, const hd_grad_opts *))
{
    Env e = env_of(inner, 0);
    hd_grad_opts o = { .argnums = all_of(inner->nin) };
    same_arguments(inner, f);
    f->f = flattened(jacobian(hd_bind(first_result, e), &o));
}
static hd_fn *jacfwd(hd_fn *f, const hd_grad_opts *o) { return hd_jacfwd_n(f, o); }
static hd_fn *jacrev(hd_fn *f, const hd_grad_opts *o) { return hd_jacrev_n(f, o); }
static void make_jacfwd(const Fun *inner, uint64_t seed, Fun *f)
{
    (void)seed, make_jacobian(inner, f, jacfwd);
}
static void make_jacrev(const Fun *inner, uint64_t seed, Fun *f)
{
    (void)seed, make_jacobian(inner, f, jacrev);
}

static bool want_jacobian(const Fun *inner, uint64_t seed, const Value *x, Value *y)
{
    Value d[PARTS];
    int64_t m = elements(inner->out[0]);
    (void)seed;
    for (int k = 0; k < inner->nin; k++) {
        int64_t n = elements(inner->in[k]);
        hd_ints s = inner->out[0];
        for (int a = 0; a < inner->in[k].n; a++)
            s.v[s.n++] = inner->in[k].v[a];
        y[k] = value_new(s);
        for (int64_t i = 0; i < n; i++) {
            if (!along_one(inner, x, k, i, d))
                return false;
            for (int64_t j = 0; j < m; j++)
                y[k].v[j * n + i] = d[0].v[j];
        }
    }
    return true;
}

/* ==================== lanes */

int lanes_of(uint64_t seed) { return 1 + (int)(mixed(seed, 55) >> 33) % LANES_MOST; }

/* Argument k: -1 not mapped, else whether its axis is the last. The first is always mapped. */
static int mapped(uint64_t seed, int k)
{
    return k && bit(seed, 2 * k) && bit(seed, 2 * k + 1) ? -1 : (int)bit(seed, 2 * k);
}
static bool last_out(uint64_t seed) { return bit(seed, 77); }

hd_ints with_axis(hd_ints s, bool last, int lanes)
{
    hd_ints t = { .n = s.n + 1 };
    for (int d = 0; d < s.n; d++)
        t.v[d + !last] = s.v[d];
    t.v[last ? s.n : 0] = lanes;
    return t;
}

/* The place of element i, of n, of lane l. */
static int64_t of_lane(bool last, int lanes, int64_t i, int64_t l, int64_t n)
{
    return last ? i * lanes + l : l * n + i;
}

void make_lanes(const Fun *inner, uint64_t seed, Fun *f, const char *axis)
{
    hd_vmap_opts o = { .out_axes = last_out(seed) ? -1 : 0, .axis_name = axis };
    f->nin = inner->nin;
    for (int k = 0; k < f->nin; k++) {
        int m = mapped(seed, k);
        o.in_axes[k] = m < 0 ? HD_NONE : m ? -1 : 0;
        f->in[k] = m < 0 ? inner->in[k] : with_axis(inner->in[k], m, lanes_of(seed));
    }
    f->f = flattened(hd_vmap_n(inner->f, &o));
}

void lane_arguments(const Fun *inner, uint64_t seed, int lane, const Value *x, Value *a)
{
    for (int k = 0; k < inner->nin; k++) {
        int m = mapped(seed, k);
        int64_t n = elements(inner->in[k]);
        a[k] = value_new(inner->in[k]);
        for (int64_t i = 0; i < n; i++)
            a[k].v[i] = x[k].v[m < 0 ? i : of_lane(m, lanes_of(seed), i, lane, n)];
    }
}

/* y[l]: what lane l gives. */
static bool each_lane(const Fun *inner, uint64_t seed, const Value *x, Value y[][PARTS])
{
    for (int l = 0; l < lanes_of(seed); l++) {
        Value a[PARTS];
        lane_arguments(inner, seed, l, x, a);
        if (!fun_call(inner, a, y[l]))
            return false;
    }
    return true;
}

void gather_lanes(const Fun *inner, uint64_t seed, Value lane[][PARTS], Value *y)
{
    bool last = last_out(seed);
    int lanes = lanes_of(seed);
    for (int k = 0; k < inner->nout; k++) {
        int64_t n = elements(inner->out[k]);
        y[k] = value_new(with_axis(inner->out[k], last, lanes));
        for (int l = 0; l < lanes; l++)
            for (int64_t i = 0; i < n; i++)
                y[k].v[of_lane(last, lanes, i, l, n)] = lane[l][k].v[i];
    }
}

static void make_vmap(const Fun *inner, uint64_t seed, Fun *f) { make_lanes(inner, seed, f, NULL); }

static bool want_vmap(const Fun *inner, uint64_t seed, const Value *x, Value *y)
{
    Value lane[LANES_MOST][PARTS];
    if (!each_lane(inner, seed, x, lane))
        return false;
    gather_lanes(inner, seed, lane, y);
    return true;
}

/* Lanes that meet: a result is half its own, a tenth of the lane's number, and of all: the mean, the sum,
 * what the next lane has, or the squared sines of what all have, side by side. */
static hd met(hd v, unsigned how)
{
    int ring[LANES_MOST][2], lanes = (int)hd_axis_size("i");
    for (int l = 0; l < lanes && l < LANES_MOST; l++)
        ring[l][0] = (l + 1) % lanes, ring[l][1] = l;
    switch (how) {
    case 0: return hd_pmean(v, "i");
    case 1: return hd_psum(v, "i");
    case 2: return hd_ppermute(v, "i", ring, lanes);
    default: return hd_sum(hd_square(hd_sin(hd_all_gather(v, "i", 0, false))), 0);
    }
}

hd meeting(const hd *x, int n, const void *env)
{
    const Env *e = env;
    hd y = inside(e, x), out[PARTS];
    (void)n;
    for (int k = 0; k < hd_len(y) && k < PARTS; k++) {
        hd v = hd_nth(y, k), i = hd_mul_c(hd_cast(hd_axis_index("i"), hd_dtype(v)), 0.1);
        out[k] = hd_add(hd_add(hd_mul_c(v, 0.5), met(v, (unsigned)e->seed)), i);
    }
    return hd_ok(y) ? hd_tuple_n(out, hd_len(y)) : y;
}

unsigned meeting_of(uint64_t seed) { return 2 * bit(seed, 78) + bit(seed, 79); }

static void make_named(const Fun *inner, uint64_t seed, Fun *f)
{
    Env e = env_of(inner, meeting_of(seed));
    Fun meets = *inner;
    meets.f = hd_bind(meeting, e);
    make_lanes(&meets, seed, f, "i");
}

/* What lane l has of the others, of the elements v of all. */
static double met_of(unsigned how, const double *v, int lanes, int l)
{
    double sum = 0, squares = 0;
    for (int k = 0; k < lanes; k++)
        sum += v[k], squares += sin(v[k]) * sin(v[k]);
    const double all[] = { sum / lanes, sum, v[(l + 1) % lanes], squares };
    return all[how];
}

void lanes_meet(const Fun *f, unsigned how, int lanes, Value lane[][PARTS])
{
    for (int k = 0; k < f->nout; k++)
        for (int64_t i = 0; i < elements(f->out[k]); i++) {
            double v[LANES_MOST];
            for (int l = 0; l < lanes; l++)
                v[l] = lane[l][k].v[i];
            for (int l = 0; l < lanes; l++)
                lane[l][k].v[i] = 0.5 * v[l] + met_of(how, v, lanes, l) + 0.1 * l;
        }
}

bool want_named(const Fun *inner, uint64_t seed, const Value *x, Value *y)
{
    Value lane[LANES_MOST][PARTS];
    int lanes = lanes_of(seed);
    if (!each_lane(inner, seed, x, lane))
        return false;
    lanes_meet(inner, meeting_of(seed), lanes, lane);
    gather_lanes(inner, seed, lane, y);
    return true;
}

/* ==================== loops: the first argument is carried */

/* What is carried on: of the type of c, whatever the function gives. */
hd carried(hd c, hd y)
{
    hd m = HD_NIL;
    for (int k = 0; k < hd_len(y); k++)
        m = k ? hd_add(m, hd_mean(hd_nth(y, k))) : hd_mean(hd_nth(y, k));
    hd next = hd_add(hd_mul_c(c, 0.5), hd_mul_c(hd_sin(m), 0.3));
    for (int k = 0; k < hd_len(y); k++) {
        hd_ints s = hd_shape(hd_nth(y, k)), t = hd_shape(c);
        if (s.n == t.n && !memcmp(s.v, t.v, sizeof *s.v * (size_t)s.n))
            next = hd_add(next, hd_mul_c(hd_sin(hd_nth(y, k)), 0.2));
    }
    return hd_ok(y) ? next : y;
}

void carry_on(const Fun *f, Value c, const Value *y)
{
    double m = 0;
    int64_t n = elements(c.shape);
    for (int k = 0; k < f->nout; k++)
        for (int64_t i = 0, size = elements(f->out[k]); i < size; i++)
            m += y[k].v[i] / (double)size;
    for (int64_t i = 0; i < n; i++)
        c.v[i] = 0.5 * c.v[i] + 0.3 * sin(m);
    for (int k = 0; k < f->nout; k++)
        if (f->out[k].n == c.shape.n &&
            !memcmp(f->out[k].v, c.shape.v, sizeof *c.shape.v * (size_t)c.shape.n))
            for (int64_t i = 0; i < n; i++)
                c.v[i] += 0.2 * sin(y[k].v[i]);
}

Value copied(Value x)
{
    Value c = value_new(x.shape);
    memcpy(c.v, x.v, sizeof *c.v * (size_t)elements(x.shape));
    return c;
}

int steps_of(uint64_t seed) { return 1 + (int)(mixed(seed, 56) >> 33) % 4; }

bool backwards(uint64_t seed) { return bit(seed, 0); }

static hd scan_step(hd xs, const Env *e, hd c)
{
    hd x[PARTS] = { c };
    for (int k = 1; k < e->nin; k++)
        x[k] = hd_nth(xs, k - 1);
    hd y = inside(e, x);
    return hd_ok(y) ? hd_tuple(carried(c, y), y) : y;
}
static hd scan_body(hd c, hd xs, const void *env) { return scan_step(xs, env, c); }

static hd scanned(const hd *x, int n, const void *env)
{
    const Env *e = env;
    hd_fn *body = hd_bind(scan_body, *e);
    hd_scan_opts o = { .length = steps_of(e->seed), .reverse = backwards(e->seed) };
    o.segments = bit(e->seed, 1) && bit(e->seed, 2) ? 2 : 0;
    o.unroll = bit(e->seed, 4) ? 2 : 0;
    if (bit(e->seed, 3))
        body = hd_checkpoint(body);
    return flat_tuple(hd_scan_n(body, x[0], n > 1 ? hd_tuple_n(x + 1, n - 1) : HD_NIL, &o));
}

void make_scan(const Fun *inner, uint64_t seed, Fun *f)
{
    Env e = env_of(inner, seed);
    f->nin = inner->nin;
    for (int k = 0; k < f->nin; k++) {
        f->in[k] = inner->in[k];
        for (int d = f->in[k].n; k && d >= 0; d--)
            f->in[k].v[d] = d ? inner->in[k].v[d - 1] : steps_of(seed);
        f->in[k].n += k > 0;
    }
    f->f = hd_bind(scanned, e);
}

static bool want_scan(const Fun *inner, uint64_t seed, const Value *x, Value *y)
{
    Value c = copied(x[0]), a[PARTS], r[PARTS];
    for (int k = 0; k < inner->nout; k++) {
        hd_ints s = { .n = inner->out[k].n + 1, .v = { steps_of(seed) } };
        memcpy(s.v + 1, inner->out[k].v, sizeof *s.v * (size_t)inner->out[k].n);
        y[k + 1] = value_new(s);
    }
    for (int step = 0; step < steps_of(seed); step++) {
        int t = backwards(seed) ? steps_of(seed) - 1 - step : step;
        a[0] = copied(c);
        for (int k = 1; k < inner->nin; k++)
            a[k] = (Value){ inner->in[k], x[k].v + t * elements(inner->in[k]) };
        if (!fun_call(inner, a, r))
            return false;
        carry_on(inner, c, r);
        for (int k = 0; k < inner->nout; k++)
            memcpy(y[k + 1].v + t * elements(inner->out[k]), r[k].v,
                sizeof(double) * (size_t)elements(inner->out[k]));
    }
    y[0] = c;
    return true;
}

/* Once, and on while the mean of the carry is above zero, at most four times. Results: the carry, the number
 * of turns. */
static hd goes_on(hd s)
{
    hd i = hd_nth(s, 1), more = hd_or(hd_lt(i, hd_c(1)), hd_gt(hd_mean(hd_nth(s, 0)), hd_c(0)));
    return hd_and(hd_lt(i, hd_c(TURNS)), more);
}

static hd while_body(const hd *x, int n, const void *env)
{
    hd a[PARTS], s = x[n - 1];
    a[0] = hd_nth(s, 0);
    for (int k = 1; k < n; k++)
        a[k] = x[k - 1];
    hd y = inside(env, a);
    return hd_ok(y) ? hd_tuple(carried(a[0], y), hd_add_c(hd_nth(s, 1), 1)) : y;
}

static hd looped(const hd *x, int n, const void *env)
{
    const Env *e = env;
    hd_fn *body = hd_bind(while_body, *e);
    hd start = hd_tuple(x[0], hd_cast(hd_c(0), HD_I32));
    hd_while_opts o = { .max_trips = (int64_t)e->seed };
    hd s = hd_while_n(HD_FN(goes_on), n > 1 ? hd_partial_n(body, x + 1, n - 1) : body, start, &o);
    return hd_ok(s) ? hd_tuple(hd_nth(s, 0), hd_cast(hd_nth(s, 1), hd_dtype(x[0]))) : s;
}

static void make_bounded(const Fun *inner, int64_t most, Fun *f)
{
    Env e = env_of(inner, (uint64_t)most);
    same_arguments(inner, f);
    f->f = hd_bind(looped, e);
}
static void make_while(const Fun *inner, uint64_t seed, Fun *f)
{
    (void)seed, make_bounded(inner, TURNS, f);
}
static void make_while_open(const Fun *inner, uint64_t seed, Fun *f)
{
    (void)seed, make_bounded(inner, 0, f);
}

double mean_of(Value v)
{
    double sum = 0;
    for (int64_t i = 0; i < elements(v.shape); i++)
        sum += v.v[i];
    return sum / (double)elements(v.shape);
}

static bool want_while(const Fun *inner, uint64_t seed, const Value *x, Value *y)
{
    Value a[PARTS], r[PARTS];
    int turns = 0;
    (void)seed;
    y[0] = copied(x[0]);
    memcpy(a, x, sizeof *a * (size_t)inner->nin);
    for (; turns < TURNS && (turns < 1 || mean_of(y[0]) > 0); turns++) {
        a[0] = copied(y[0]);
        if (!fun_call(inner, a, r))
            return false;
        carry_on(inner, y[0], r);
    }
    y[1] = value_new((hd_ints){ 0 });
    y[1].v[0] = turns;
    return true;
}

/* ==================== branches: the function; or, at half its arguments, twice what it gives */

hd plain_branch(const hd *x, int n, const void *env) { return (void)n, inside(env, x); }

hd other_branch(const hd *x, int n, const void *env)
{
    hd a[PARTS], out[PARTS];
    for (int k = 0; k < n; k++)
        a[k] = hd_mul_c(x[k], 0.5);
    hd y = inside(env, a);
    for (int k = 0; k < hd_len(y) && k < PARTS; k++)
        out[k] = hd_mul_c(hd_nth(y, k), 2);
    return hd_ok(y) ? hd_tuple_n(out, hd_len(y)) : y;
}

static hd chosen(const hd *x, int n, const void *env)
{
    const Env *e = env;
    return hd_cond_n(
        hd_gt(hd_mean(x[0]), hd_c(0)), hd_bind(plain_branch, *e), hd_bind(other_branch, *e), x, n);
}

static void make_cond(const Fun *inner, uint64_t seed, Fun *f)
{
    Env e = env_of(inner, 0);
    (void)seed;
    same_arguments(inner, f);
    f->f = hd_bind(chosen, e);
}

static bool want_cond(const Fun *inner, uint64_t seed, const Value *x, Value *y)
{
    Value a[PARTS];
    bool yes = mean_of(x[0]) > 0;
    (void)seed;
    for (int k = 0; k < inner->nin; k++) {
        a[k] = copied(x[k]);
        for (int64_t i = 0; i < elements(x[k].shape) && !yes; i++)
            a[k].v[i] *= 0.5;
    }
    if (!fun_call(inner, a, y))
        return false;
    for (int k = 0; k < inner->nout && !yes; k++)
        for (int64_t i = 0; i < elements(y[k].shape); i++)
            y[k].v[i] *= 2;
    return true;
}

/* ==================== rules of one's own, which say what is true */

static hd jvp_rule(const hd *x, int n, const void *env)
{
    return hd_apply_n(hd_jvp_n(((const Env *)env)->f), x, n);
}

void make_custom_jvp(const Fun *inner, uint64_t seed, Fun *f)
{
    Env e = env_of(inner, 0);
    (void)seed;
    same_arguments(inner, f);
    f->f = hd_custom_jvp_n(inner->f, hd_bind(jvp_rule, e));
}

static hd vjp_forward(const hd *x, int n, const void *env)
{
    hd y = inside(env, x);
    return hd_ok(y) ? hd_tuple(y, hd_tuple_n(x, n)) : y;
}

static hd vjp_backward(hd saved, hd dy, const void *env)
{
    const Env *e = env;
    hd x[PARTS + 1];
    for (int k = 0; k < e->nin; k++)
        x[k] = hd_nth(saved, k);
    x[e->nin] = dy;
    return hd_nth(hd_apply_n(hd_vjp_n(e->f), x, (int)e->nin + 1), 1);
}

void make_custom_vjp(const Fun *inner, uint64_t seed, Fun *f)
{
    Env e = env_of(inner, 0);
    (void)seed;
    same_arguments(inner, f);
    f->f = hd_custom_vjp_n(inner->f, hd_bind(vjp_forward, e), hd_bind(vjp_backward, e));
}

static hd vmap_rule(const hd *x, int n, const void *env)
{
    return hd_apply_n(hd_vmap_n(((const Env *)env)->f, &(hd_vmap_opts){ 0 }), x, n);
}

static void make_custom_vmap(const Fun *inner, uint64_t seed, Fun *f)
{
    Env e = env_of(inner, 0);
    (void)seed;
    same_arguments(inner, f);
    f->f = hd_custom_vmap_n(inner->f, hd_bind(vmap_rule, e));
}

/* ==================== the table: of every pair and triple */

const Row rows_of_all[] = {
    { .name = "jit", .make = make_jit, .want = want_same },
    { .name = "grad", .make = make_grad, .want = want_grad, .differences = true, .is_reverse = true },
    { .name = "jvp", .make = make_jvp, .want = want_jvp, .differences = true, .is_forward = true },
    { .name = "vjp", .make = make_vjp, .want = want_vjp, .differences = true, .is_reverse = true },
    { .name = "vmap", .make = make_vmap, .want = want_vmap },
    { .name = "named", .make = make_named, .want = want_named },
    { .name = "jacfwd",
        .make = make_jacfwd,
        .want = want_jacobian,
        .differences = true,
        .is_forward = true },
    { .name = "jacrev",
        .make = make_jacrev,
        .want = want_jacobian,
        .differences = true,
        .is_reverse = true },
    { .name = "scan", .make = make_scan, .want = want_scan },
    { .name = "cond", .make = make_cond, .want = want_cond },
    { .name = "while", .make = make_while, .want = want_while },
    { .name = "checkpoint", .make = make_checkpoint, .want = want_same },
    { .name = "custom_jvp", .make = make_custom_jvp, .want = want_same, .rule_forward = true },
    { .name = "custom_vjp",
        .make = make_custom_vjp,
        .want = want_same,
        .forward = "forward mode|hd_custom_jvp" },
    { .name = "custom_vmap", .make = make_custom_vmap, .want = want_same },
    { .name = "while_open", .make = make_while_open, .want = want_while, .reverse = "while|max_trips" },
    { .name = "grad_of_many", .make = make_bare_grad, .never = "hd_grad|scalar" },
};
const int count_of_all = sizeof rows_of_all / sizeof *rows_of_all;
