/*
 * compose_drawn.c - rows that are too many for every triple, and come where compositions are drawn:
 * Hessians, linearised functions and their transposes, checkpoints with names, captured arguments, bounded
 * loops, three branches, two axes at once, rules that loop over their own function, what is seen from
 * inside, maps and associative scans, and collectives inside branches, loops, checkpoints and rules.
 */
#include <math.h>
#include <string.h>

#include "compose_rows.h"

/* ==================== derivatives */

static void make_hessian(const Fun *inner, uint64_t seed, Fun *f)
{
    Env e = env_of(inner, 0);
    hd_grad_opts o = { .argnums = all_of(inner->nin) };
    (void)seed;
    same_arguments(inner, f);
    f->f = flattened(hd_hessian_n(hd_bind(first_result, e), &o));
}

/* Differences of first derivatives, which the row of jacrev answers for. */
static bool want_hessian(const Fun *inner, uint64_t seed, const Value *x, Value *y)
{
    Env e = env_of(inner, 0);
    hd_grad_opts o = { .argnums = all_of(inner->nin) };
    Value d[PARTS];
    Fun first = { .f = flattened(hd_jacrev_n(hd_bind(first_result, e), &o)) };
    (void)seed;
    same_arguments(inner, &first);
    if (!fun_shapes(&first))
        return false;
    for (int b = 0; b < inner->nin; b++) {
        int64_t n = elements(inner->in[b]);
        for (int a = 0; a < inner->nin; a++) {
            hd_ints s = first.out[a];
            for (int k = 0; k < inner->in[b].n; k++)
                s.v[s.n++] = inner->in[b].v[k];
            y[a * inner->nin + b] = value_new(s);
        }
        for (int64_t i = 0; i < n; i++) {
            if (!along_one(&first, x, b, i, d))
                return false;
            for (int a = 0; a < inner->nin; a++)
                for (int64_t m = 0; m < elements(first.out[a]); m++)
                    y[a * inner->nin + b].v[m * n + i] = d[a].v[m];
        }
    }
    return true;
}

/* What is kept of the point; the rest is linear. */
static hd_fn *kept(const Env *e, const hd *x, hd *y)
{
    hd both = hd_apply_n(hd_linearize_n(e->f), x, (int)e->nin), residuals = hd_nth(both, 1);
    *y = hd_nth(both, 0);
    return hd_partial_n(hd_linearized_n(e->f), &residuals, 1);
}

static hd pushed(const hd *x, int n, const void *env)
{
    const Env *e = env;
    hd y;
    hd_fn *linear = kept(e, x, &y);
    return flat_tuple(hd_tuple(y, hd_apply_n(linear, x + e->nin, n - (int)e->nin)));
}

static void make_linearize(const Fun *inner, uint64_t seed, Fun *f)
{
    Env e = env_of(inner, 0);
    (void)seed;
    f->nin = 2 * inner->nin;
    for (int k = 0; k < f->nin && k < PARTS; k++)
        f->in[k] = inner->in[k % inner->nin];
    f->f = hd_bind(pushed, e);
}

static hd transposed(const hd *x, int n, const void *env)
{
    const Env *e = env;
    hd y, a[PARTS + 1];
    hd_fn *linear = kept(e, x, &y);
    memcpy(a, x, sizeof *a * (size_t)e->nin);
    a[e->nin] = hd_tuple_n(x + e->nin, n - (int)e->nin);
    return flat_tuple(hd_tuple(y, hd_apply_n(hd_linear_transpose_n(linear), a, (int)e->nin + 1)));
}

static void make_transpose(const Fun *inner, uint64_t seed, Fun *f)
{
    Env e = env_of(inner, 0);
    (void)seed;
    f->nin = inner->nin + inner->nout;
    for (int k = 0; k < f->nin && k < PARTS; k++)
        f->in[k] = k < inner->nin ? inner->in[k] : inner->out[k - inner->nin];
    f->f = hd_bind(transposed, e);
}

/* By the first argument alone; the others are captured. */
static hd last_first(const hd *x, int n, const void *env)
{
    hd a[PARTS];
    a[0] = x[n - 1];
    memcpy(a + 1, x, sizeof *a * (size_t)(n - 1));
    return inside(env, a);
}

static hd by_one(const hd *x, int n, const void *env)
{
    const Env *e = env;
    hd_fn *f = hd_bind(last_first, *e);
    f = n > 2 ? hd_partial_n(f, x + 1, n - 2) : f;
    return flat_tuple(hd_apply(hd_jvp_n(f), x[0], x[n - 1]));
}

static void make_captured(const Fun *inner, uint64_t seed, Fun *f)
{
    Env e = env_of(inner, 0);
    (void)seed;
    same_arguments(inner, f);
    f->in[f->nin++] = inner->in[0];
    f->f = hd_bind(by_one, e);
}

static bool want_captured(const Fun *inner, uint64_t seed, const Value *x, Value *y)
{
    Value t[PARTS];
    (void)seed;
    t[0] = x[inner->nin];
    for (int k = 1; k < inner->nin; k++)
        t[k] = value_new(inner->in[k]);
    return fun_call(inner, x, y) && along(inner, x, t, y + inner->nout);
}

/* ==================== checkpoints with names */

static hd with_names(const hd *x, int n, const void *env)
{
    const Env *e = env;
    hd a[PARTS];
    for (int k = 0; k < n; k++)
        a[k] = hd_checkpoint_name(x[k], bit(e->seed, k) ? "kept" : "more");
    return hd_checkpoint_name(inside(e, a), bit(e->seed, 20) ? "kept" : "more");
}

static void make_names(const Fun *inner, uint64_t seed, Fun *f)
{
    static const char *const save[] = { "kept", "more", "kept, more", "other" };
    Env e = env_of(inner, seed);
    same_arguments(inner, f);
    f->f = hd_checkpoint_n(
        hd_bind(with_names, e), &(hd_checkpoint_opts){ .save = save[2 * bit(seed, 21) + bit(seed, 22)] });
}

/* ==================== loops and branches */

/* So many turns as the mean of the first argument says, one to three; the number of the turn is added. */
static hd turn(const hd *x, int n, const void *env)
{
    hd a[PARTS];
    a[0] = x[n - 1];
    memcpy(a + 1, x, sizeof *a * (size_t)(n - 2));
    hd y = inside(env, a), i = x[n - 2];
    return hd_ok(y) ? hd_add(carried(a[0], y), hd_mul_c(hd_cast(i, hd_dtype(a[0])), 0.05)) : y;
}

static hd turned(const hd *x, int n, const void *env)
{
    const Env *e = env;
    hd_fn *body = hd_bind(turn, *e);
    hd m = hd_mean(x[0]), two = hd_cast(hd_gt(m, hd_c(0)), HD_I32),
       three = hd_cast(hd_gt(m, hd_c(0.3)), HD_I32);
    body = n > 1 ? hd_partial_n(body, x + 1, n - 1) : body;
    hd last = hd_add_c(hd_add(two, three), 1);
    return flat_tuple(
        hd_fori_n(hd_cast(hd_c(0), HD_I32), last, body, x[0], &(hd_while_opts){ .max_trips = TURNS }));
}

static void make_fori(const Fun *inner, uint64_t seed, Fun *f)
{
    Env e = env_of(inner, 0);
    (void)seed;
    same_arguments(inner, f);
    f->f = hd_bind(turned, e);
}

static bool want_fori(const Fun *inner, uint64_t seed, const Value *x, Value *y)
{
    Value a[PARTS], r[PARTS];
    double m = mean_of(x[0]);
    (void)seed;
    y[0] = copied(x[0]);
    memcpy(a, x, sizeof *a * (size_t)inner->nin);
    for (int i = 0; i < 1 + (m > 0) + (m > 0.3); i++) {
        a[0] = copied(y[0]);
        if (!fun_call(inner, a, r))
            return false;
        carry_on(inner, y[0], r);
        for (int64_t k = 0; k < elements(y[0].shape); k++)
            y[0].v[k] += 0.05 * i;
    }
    return true;
}

/* The third: what the function gives, with its sign turned. */
static hd third_branch(const hd *x, int n, const void *env)
{
    hd y = inside(env, x), out[PARTS];
    (void)n;
    for (int k = 0; k < hd_len(y) && k < PARTS; k++)
        out[k] = hd_neg(hd_nth(y, k));
    return hd_ok(y) ? hd_tuple_n(out, hd_len(y)) : y;
}

static hd switched(const hd *x, int n, const void *env)
{
    const Env *e = env;
    hd_fn *f[] = { hd_bind(plain_branch, *e), hd_bind(other_branch, *e), hd_bind(third_branch, *e) };
    hd at = hd_cast(hd_floor(hd_add_c(hd_mul_c(hd_mean(x[0]), 4), 1)), HD_I32);
    return hd_switch_n(at, (hd_fns){ 3, f }, x, n);
}

static void make_switch(const Fun *inner, uint64_t seed, Fun *f)
{
    Env e = env_of(inner, 0);
    (void)seed;
    same_arguments(inner, f);
    f->f = hd_bind(switched, e);
}

/* The function at `by` times its arguments, times `times`. */
static bool scaled_call(const Fun *f, double by, double times, const Value *x, Value *y)
{
    Value a[PARTS];
    for (int k = 0; k < f->nin; k++) {
        a[k] = copied(x[k]);
        for (int64_t i = 0; i < elements(x[k].shape); i++)
            a[k].v[i] *= by;
    }
    if (!fun_call(f, a, y))
        return false;
    for (int k = 0; k < f->nout; k++)
        for (int64_t i = 0; i < elements(y[k].shape); i++)
            y[k].v[i] *= times;
    return true;
}

static bool want_switch(const Fun *inner, uint64_t seed, const Value *x, Value *y)
{
    double at = floor(4 * mean_of(x[0]) + 1);
    (void)seed;
    return at <= 0 ? scaled_call(inner, 1, 1, x, y) :
        at == 1    ? scaled_call(inner, 0.5, 2, x, y) :
                     scaled_call(inner, 1, -1, x, y);
}

/* ==================== a rule for lanes that takes them one after the other */

static hd one_lane(hd x, const void *env)
{
    const Env *e = env;
    hd a[PARTS];
    for (int k = 0; k < e->nin; k++)
        a[k] = hd_nth(x, k);
    return inside(e, a);
}

static hd lanes_in_turn(const hd *x, int n, const void *env)
{
    return hd_map_n(hd_bind(one_lane, *(const Env *)env), hd_tuple_n(x, n), &(hd_map_opts){ 0 });
}

static void make_vmap_rule(const Fun *inner, uint64_t seed, Fun *f)
{
    Env e = env_of(inner, 0);
    (void)seed;
    same_arguments(inner, f);
    f->f = hd_custom_vmap_n(inner->f, hd_bind(lanes_in_turn, e));
}

/* ==================== what is seen from inside: the same function */

static hd watched(const hd *x, int n, const void *env)
{
    const Env *e = env;
    hd y = inside(e, x);
    (void)n;
    if (!hd_ok(y))
        return y;
    hd m = hd_mean(hd_nth(y, 0));
    hd_check(hd_lt(m, hd_c(1e30)), "large");
    hd_debug_print("mean {}", m);
    return y;
}

static void make_effects(const Fun *inner, uint64_t seed, Fun *f)
{
    Env e = env_of(inner, 0);
    (void)seed;
    same_arguments(inner, f);
    f->f = hd_bind(watched, e);
}

/* The host gives 1, whatever it is given. */
static int one(hd_array *const *x, int n, hd_array **out, int nout, void *user)
{
    hd_ints s = hd_array_shape(x[0]);
    double v[512];
    (void)user;
    for (int k = 0; k < 512; k++)
        v[k] = 1;
    if (n != 1 || nout != 1 || elements(s) > 512)
        return hd_fail("%d arguments", n), 1;
    hd_array *wide = hd_array_new(HD_F64, s, v, NULL);
    float narrow[512];
    for (int k = 0; k < 512; k++)
        narrow[k] = 1;
    out[0] = hd_array_dtype(x[0]) == HD_F64 ? hd_keep(wide) : hd_array_new(HD_F32, s, narrow, NULL);
    hd_drop(wide);
    return out[0] ? 0 : 1;
}

static hd asked(const hd *x, int n, const void *env)
{
    const Env *e = env;
    hd y = inside(e, x), m = hd_stop_gradient(hd_mean(x[0])), out[PARTS];
    (void)n;
    hd by = e->seed ? hd_callback_batched(one, NULL, m, m) : hd_callback(one, NULL, m, m);
    for (int k = 0; k < hd_len(y) && k < PARTS; k++)
        out[k] = hd_mul(hd_nth(y, k), by);
    return hd_ok(y) ? hd_tuple_n(out, hd_len(y)) : y;
}

static void make_callback(const Fun *inner, uint64_t seed, Fun *f)
{
    Env e = env_of(inner, bit(seed, 40));
    same_arguments(inner, f);
    f->f = hd_bind(asked, e);
}

/* ==================== along an axis: one after the other, and what has come together up to each */

static hd mapped_over(const hd *x, int n, const void *env)
{
    const Env *e = env;
    hd_map_opts o = { .batch_size = (int64_t)e->seed };
    return flat_tuple(hd_map_n(hd_bind(one_lane, *e), hd_tuple_n(x, n), &o));
}

static void make_map(const Fun *inner, uint64_t seed, Fun *f)
{
    Env e = env_of(inner, 2 * bit(seed, 41) + bit(seed, 42));
    same_arguments(inner, f);
    for (int k = 0; k < f->nin; k++)
        f->in[k] = with_axis(inner->in[k], false, lanes_of(seed));
    f->f = hd_bind(mapped_over, e);
}

static bool want_map(const Fun *inner, uint64_t seed, const Value *x, Value *y)
{
    Value a[PARTS], r[PARTS];
    for (int l = 0; l < lanes_of(seed); l++) {
        for (int k = 0; k < inner->nin; k++)
            a[k] = (Value){ inner->in[k], x[k].v + l * elements(inner->in[k]) };
        if (!fun_call(inner, a, r))
            return false;
        for (int k = 0; k < inner->nout; k++) {
            int64_t n = elements(inner->out[k]);
            y[k] = l ? y[k] : value_new(with_axis(inner->out[k], false, lanes_of(seed)));
            memcpy(y[k].v + l * n, r[k].v, sizeof(double) * (size_t)n);
        }
    }
    return true;
}

/* a + b + ab / 10 is associative: one more than a tenth of it is a product. */
static hd together(hd a, hd b) { return hd_add(hd_add(a, b), hd_mul_c(hd_mul(a, b), 0.1)); }

static hd gathered(const hd *x, int n, const void *env)
{
    const Env *e = env;
    hd y = mapped_over(x, n, env), out[PARTS];
    hd_associative_scan_opts o = { .reverse = e->seed > 1 };
    for (int k = 0; k < hd_len(y) && k < PARTS; k++)
        out[k] = hd_associative_scan_n(HD_FN(together), hd_nth(y, k), &o);
    return hd_ok(y) ? hd_tuple_n(out, hd_len(y)) : y;
}

static void make_associative(const Fun *inner, uint64_t seed, Fun *f)
{
    make_map(inner, seed, f);
    Env e = env_of(inner, 2 * bit(seed, 41) + bit(seed, 42));
    f->f = hd_bind(gathered, e);
}

static bool want_associative(const Fun *inner, uint64_t seed, const Value *x, Value *y)
{
    int lanes = lanes_of(seed), from = bit(seed, 41) ? lanes - 1 : 0, step = bit(seed, 41) ? -1 : 1;
    if (!want_map(inner, seed, x, y))
        return false;
    for (int k = 0; k < inner->nout; k++)
        for (int l = from + step; l >= 0 && l < lanes; l += step)
            for (int64_t i = 0, n = elements(inner->out[k]); i < n; i++) {
                double a = y[k].v[(l - step) * n + i], *b = &y[k].v[l * n + i];
                *b = a + *b + 0.1 * a * *b;
            }
    return true;
}

/* ==================== lanes that meet in a checkpoint, a rule, a branch, a loop */

static void make_meeting_in(
    const Fun *inner, uint64_t seed, Fun *f, void (*make)(const Fun *, uint64_t, Fun *))
{
    Env e = env_of(inner, meeting_of(seed));
    Fun meets = *inner, in = { 0 };
    meets.f = hd_bind(meeting, e);
    make(&meets, seed, &in);
    make_lanes(&in, seed, f, "i");
}
static void make_met_checkpoint(const Fun *inner, uint64_t seed, Fun *f)
{
    make_meeting_in(inner, seed, f, make_checkpoint);
}
static void make_met_jvp(const Fun *inner, uint64_t seed, Fun *f)
{
    make_meeting_in(inner, seed, f, make_custom_jvp);
}
static void make_met_vjp(const Fun *inner, uint64_t seed, Fun *f)
{
    make_meeting_in(inner, seed, f, make_custom_vjp);
}

/* Under a condition that all lanes share. */
static hd agreed(const hd *x, int n, const void *env)
{
    const Env *e = env;
    hd all = hd_pmean(hd_mean(x[0]), "i");
    return hd_cond_n(hd_gt(all, hd_c(0)), hd_bind(plain_branch, *e), hd_bind(other_branch, *e), x, n);
}
static void make_agreed(const Fun *meets, uint64_t seed, Fun *f)
{
    Env e = env_of(meets, 0);
    (void)seed;
    same_arguments(meets, f);
    f->f = hd_bind(agreed, e);
}
static void make_met_cond(const Fun *inner, uint64_t seed, Fun *f)
{
    make_meeting_in(inner, seed, f, make_agreed);
}

static bool want_met_cond(const Fun *inner, uint64_t seed, const Value *x, Value *y)
{
    Value lane[LANES_MOST][PARTS], a[LANES_MOST][PARTS];
    int lanes = lanes_of(seed);
    double all = 0;
    for (int l = 0; l < lanes; l++) {
        lane_arguments(inner, seed, l, x, a[l]);
        all += mean_of(a[l][0]);
    }
    for (int l = 0; l < lanes; l++)
        if (!scaled_call(inner, all > 0 ? 1 : 0.5, 1, a[l], lane[l]))
            return false;
    lanes_meet(inner, meeting_of(seed), lanes, lane);
    for (int l = 0; l < lanes && !(all > 0); l++)
        for (int k = 0; k < inner->nout; k++)
            for (int64_t i = 0; i < elements(inner->out[k]); i++)
                lane[l][k].v[i] *= 2;
    gather_lanes(inner, seed, lane, y);
    return true;
}

/* At every step of a scan. */
static void make_met_scan(const Fun *inner, uint64_t seed, Fun *f)
{
    make_meeting_in(inner, seed, f, make_scan);
}

static bool want_met_scan(const Fun *inner, uint64_t seed, const Value *x, Value *y)
{
    Value lane[LANES_MOST][PARTS], a[LANES_MOST][PARTS], r[LANES_MOST][PARTS], b[PARTS];
    int lanes = lanes_of(seed), steps = steps_of(seed);
    Fun loop = { .nin = 0 };
    make_scan(inner, seed, &loop); /* its shapes */
    loop.nout = inner->nout + 1;
    loop.out[0] = inner->in[0];
    for (int k = 0; k < inner->nout; k++)
        loop.out[k + 1] = with_axis(inner->out[k], false, steps);
    for (int l = 0; l < lanes; l++) {
        lane_arguments(&loop, seed, l, x, a[l]);
        lane[l][0] = copied(a[l][0]);
        for (int k = 1; k < loop.nout; k++)
            lane[l][k] = value_new(loop.out[k]);
    }
    for (int step = 0; step < steps; step++) {
        int t = backwards(seed) ? steps - 1 - step : step;
        for (int l = 0; l < lanes; l++) {
            b[0] = copied(lane[l][0]);
            for (int k = 1; k < inner->nin; k++)
                b[k] = (Value){ inner->in[k], a[l][k].v + t * elements(inner->in[k]) };
            if (!fun_call(inner, b, r[l]))
                return false;
        }
        lanes_meet(inner, meeting_of(seed), lanes, r);
        for (int l = 0; l < lanes; l++) {
            carry_on(inner, lane[l][0], r[l]);
            for (int k = 0; k < inner->nout; k++)
                memcpy(lane[l][k + 1].v + t * elements(inner->out[k]), r[l][k].v,
                    sizeof(double) * (size_t)elements(inner->out[k]));
        }
    }
    gather_lanes(&loop, seed, lane, y);
    return true;
}

/* ==================== two axes: a result is half its own, and the mean over both */

static hd met_by_all(const hd *x, int n, const void *env)
{
    const Env *e = env;
    hd y = inside(e, x), out[PARTS];
    (void)n;
    for (int k = 0; k < hd_len(y) && k < PARTS; k++)
        out[k] = hd_add(hd_mul_c(hd_nth(y, k), 0.5), hd_pmean(hd_nth(y, k), e->seed ? "i, j" : "j, i"));
    return hd_ok(y) ? hd_tuple_n(out, hd_len(y)) : y;
}

static void make_grid(const Fun *inner, uint64_t seed, Fun *f)
{
    Env e = env_of(inner, bit(seed, 30));
    Fun meets = *inner, rows = { 0 };
    meets.f = hd_bind(met_by_all, e);
    make_lanes(&meets, mixed(seed, 31), &rows, "j");
    make_lanes(&rows, seed, f, "i");
}

static bool want_grid(const Fun *inner, uint64_t seed, const Value *x, Value *y)
{
    Value one[LANES_MOST][LANES_MOST][PARTS], row[LANES_MOST][PARTS], a[PARTS], b[PARTS];
    uint64_t within = mixed(seed, 31);
    int n = lanes_of(seed), m = lanes_of(within);
    Fun rows = { 0 };
    make_lanes(inner, within, &rows, NULL); /* its shapes */
    for (int i = 0; i < n; i++) {
        lane_arguments(&rows, seed, i, x, a);
        for (int j = 0; j < m; j++) {
            lane_arguments(inner, within, j, a, b);
            if (!fun_call(inner, b, one[i][j]))
                return false;
        }
    }
    for (int k = 0; k < inner->nout; k++)
        for (int64_t e = 0; e < elements(inner->out[k]); e++) {
            double mean = 0;
            for (int i = 0; i < n; i++)
                for (int j = 0; j < m; j++)
                    mean += one[i][j][k].v[e] / (n * m);
            for (int i = 0; i < n; i++)
                for (int j = 0; j < m; j++)
                    one[i][j][k].v[e] = 0.5 * one[i][j][k].v[e] + mean;
        }
    for (int i = 0; i < n; i++)
        gather_lanes(inner, within, one[i], row[i]);
    rows.nout = inner->nout;
    for (int k = 0; k < inner->nout; k++)
        rows.out[k] = row[0][k].shape;
    gather_lanes(&rows, seed, row, y);
    return true;
}

/* ==================== the table */

const Row rows_drawn[] = {
    { .name = "hessian",
        .make = make_hessian,
        .want = want_hessian,
        .differences = true,
        .is_reverse = true },
    { .name = "linearize",
        .make = make_linearize,
        .want = want_jvp,
        .differences = true,
        .is_forward = true },
    { .name = "transpose",
        .make = make_transpose,
        .want = want_vjp,
        .differences = true,
        .is_reverse = true },
    { .name = "captured",
        .make = make_captured,
        .want = want_captured,
        .differences = true,
        .is_forward = true },
    { .name = "names", .make = make_names, .want = want_same },
    { .name = "fori", .make = make_fori, .want = want_fori },
    { .name = "switch", .make = make_switch, .want = want_switch },
    { .name = "vmap_rule", .make = make_vmap_rule, .want = want_same },
    { .name = "effects", .make = make_effects, .want = want_same },
    { .name = "callback", .make = make_callback, .want = want_same },
    { .name = "map", .make = make_map, .want = want_map },
    { .name = "associative", .make = make_associative, .want = want_associative },
    { .name = "met_checkpoint", .make = make_met_checkpoint, .want = want_named },
    { .name = "met_jvp", .make = make_met_jvp, .want = want_named, .rule_forward = true },
    { .name = "met_vjp", .make = make_met_vjp, .want = want_named, .forward = "forward mode|hd_custom_jvp" },
    { .name = "met_cond", .make = make_met_cond, .want = want_met_cond },
    { .name = "met_scan", .make = make_met_scan, .want = want_met_scan },
    { .name = "grid", .make = make_grid, .want = want_grid },
};
const int count_drawn = sizeof rows_drawn / sizeof *rows_drawn;
