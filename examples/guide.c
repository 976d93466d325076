/*
 * guide.c - the vectorisation guide of JAX, told in C: eight sections, each a function of one example that
 * is then lifted over a batch, as docs/guide.md tells them. Every result is printed and compared with the
 * numbers that JAX gives.
 *
 *     guide [--device NAME] [--section N]
 *
 * Without a device it goes through all there are; the exit status is 0 if every section agreed on every one.
 */
#include <getopt.h>
#include <heddle.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ==================== showing and comparing */

static const char *device;                      /* where the section at hand runs */
#define ON_DEVICE(...) hd_jit(__VA_ARGS__, .device = device)

/* n numbers, from i32 or f32. 0, or a code. */
static int read_numbers(const hd_array *x, float *out, size_t n)
{
    int32_t whole[8];

    if (hd_array_dtype(x) != HD_I32)
        return hd_read(x, out, n);
    int code = n > 8 ? HD_ESHAPE : hd_read(x, whole, n);
    for (size_t i = 0; !code && i < n; i++)
        out[i] = (float)whole[i];
    return code;
}

/* Does x hold these numbers? Prints what differs. */
static int compare(const char *label, const hd_array *x, const float *want, size_t n, double tolerance)
{
    float *got = calloc(n ? n : 1, sizeof *got);
    int failures = 0;

    if (!got || read_numbers(x, got, n)) {
        printf("  %s: %s\n", label, got ? hd_error() : "out of memory");
        failures = 1;
    }
    for (size_t i = 0; !failures && i < n; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= tolerance * (1 + fabs((double)want[i])))) {
            printf("  %s: element %zu is %.9g, JAX has %.9g\n", label, i, (double)got[i], (double)want[i]);
            failures = 1;
        }
    free(got);
    return failures;
}

/* Prints a result, compares it, gives it back. */
static int check_n(const char *label, hd_array *x, const float *want, size_t n, double tolerance)
{
    printf("  %s\n", label);
    hd_print(stdout, x);
    int failures = compare(label, x, want, n, tolerance);
    hd_drop(x);
    return failures;
}
#define CHECK(label, x, tolerance, ...) \
    check_n(label, x, (const float[]){ __VA_ARGS__ }, \
        sizeof((const float[]){ __VA_ARGS__ }) / sizeof(float), tolerance)

static int failed(void)
{
    printf("  error: %s\n", hd_error());
    return 1;
}

/* ==================== 1. a batch from one example */

static hd predict(hd params, hd features)                       /* f32[2] -> f32[2] */
{
    hd logits = hd_add(hd_dot(features, hd_get(params, "w")), hd_get(params, "b"));
    return hd_stack(0, logits, hd_sigmoid(logits));
}

static int section_1(void)
{
    hd_array *params = hd_array_dict(
        { "w", hd_array_lit(float, (2), 1.5, -0.5) }, { "b", hd_array_scalar(HD_F32, 0.25) });
    hd_array *one = hd_array_lit(float, (2), 1, 2);
    hd_array *batch = hd_array_lit(float, (3, 2), 1, 2, 2.5, -1, -0.25, 0.75);
    hd_array *single, *all;
    int failures = 0;

    if (hd_call(ON_DEVICE(predict), &single, params, one))
        failures += failed();
    else
        failures += CHECK("one example: logit and probability", single, 2e-6, 0.75, 0.6791787);
    if (hd_call(ON_DEVICE(hd_vmap(predict, .in_axes = { HD_NONE, 0 })), &all, params, batch))
        failures += failed();
    else
        failures += CHECK("a batch of three, parameters shared", all, 2e-6,
            0.75, 0.6791787, 4.5, 0.9890131, -0.5, 0.37754068);
    hd_drop(params), hd_drop(one), hd_drop(batch);
    return failures;
}

/* ==================== 2. which axes are mapped, and where the batch goes */

static hd scaled_loss(hd scale, hd preds, hd targets)           /* f32[], f32[n], f32[n] -> f32[] */
{
    return hd_mul(scale, hd_sum(hd_square(hd_sub(preds, targets))));
}

static hd normalize(hd x)                                       /* f32[28,28] -> f32[28,28] */
{
    return hd_div(hd_sub(x, hd_mean(x)), hd_std(x));
}

static hd images(hd key) { return hd_random_normal(key, HD_F32, 2, 28, 28); }

/* The first numbers of each, and that they are the same images with another order of axes. */
static int compare_images(hd_array *drawn, hd_array *first, hd_array *last)
{
    enum { B = 2, H = 28, W = 28, N = B * H * W };
    static const float pixels[] = { 1.6226422f, 2.0252647f, -0.43359444f, -0.07861735f };
    static const float normal[] = { 1.6656032f, 2.079918f, -0.4503457f, -0.08506021f };
    float *x = calloc(3 * N, sizeof *x), *y = x + N, *z = y + N;
    int failures = 0;

    if (!x || hd_read(drawn, x, N) || hd_read(first, y, N) || hd_read(last, z, N)) {
        free(x);
        return failed();
    }
    for (int i = 0; i < 4; i++)
        if (fabsf(x[i] - pixels[i]) > 1e-5f * 3 || fabsf(y[i] - normal[i]) > 1e-5f * 3)
            printf("  pixel %d is %.9g, normalised %.9g; JAX has %.9g, %.9g\n", i, (double)x[i],
                (double)y[i], (double)pixels[i], (double)normal[i]),
                failures = 1;
    for (int b = 0; b < B; b++)
        for (int i = 0; i < H * W; i++)
            if (fabsf(y[b * H * W + i] - z[i * B + b]) > 1e-5f)
                failures = 1;
    printf("  drawn      %10.6f %10.6f %10.6f ...\n", (double)x[0], (double)x[1], (double)x[2]);
    printf("  normalised %10.6f %10.6f %10.6f ...\n", (double)y[0], (double)y[1], (double)y[2]);
    printf("  batch axis first f32[2,28,28] and last f32[28,28,2]: %s\n",
        failures ? "differ" : "the same numbers");
    free(x);
    return failures;
}

static int section_2(void)
{
    hd_array *scale = hd_array_scalar(HD_F32, 0.5), *key = hd_array_key(0);
    hd_array *preds = hd_array_lit(float, (2, 2), 0.2f, 0.8f, 0.6f, 0.4f);
    hd_array *targets = hd_array_lit(float, (2, 2), 0, 1, 1, 0);
    hd_array *losses, *drawn = NULL, *first = NULL, *last = NULL;
    int failures = 0;

    if (hd_call(
            ON_DEVICE(hd_vmap(scaled_loss, .in_axes = { HD_NONE, 0, 0 })), &losses, scale, preds, targets))
        failures += failed();
    else
        failures += CHECK("losses with one scale", losses, 2e-6, 0.04, 0.16);
    if (hd_call(ON_DEVICE(images), &drawn, key)
        || hd_call(ON_DEVICE(hd_vmap(normalize)), &first, drawn)
        || hd_call(ON_DEVICE(hd_vmap(normalize, .out_axes = -1)), &last, drawn))
        failures += failed();
    else
        failures += compare_images(drawn, first, last);
    hd_drop(scale), hd_drop(key), hd_drop(preds), hd_drop(targets), hd_drop(drawn), hd_drop(first),
        hd_drop(last);
    return failures;
}

/* ==================== 3. all pairs by two maps */

static hd distance(hd x, hd y) { return hd_sqrt(hd_sum(hd_square(hd_sub(x, y)))); }
static hd score(hd q, hd k) { return hd_div(hd_dot(q, k), hd_sqrt(hd_c((double)hd_dim(q, 0)))); }
static hd kernel(hd x, hd y) { return hd_exp(hd_neg(hd_sum(hd_square(hd_sub(x, y))))); }

static hd_fn *pairs(hd_fn *f)                                   /* f32[n,d], f32[m,d] -> f32[n,m] */
{
    return hd_vmap(hd_vmap(f, .in_axes = { HD_NONE, 0 }), .in_axes = { 0, HD_NONE });
}

static int section_3(void)
{
    static const float want[3][6] = {
        { 0, 1.4142135f, 1, 1, 1, 1 },
        { 0, 0, 0, 0.70710677f, 0, 0.70710677f },
        { 1, 0.13533528f, 0.36787945f, 0.36787945f, 0.36787945f, 0.36787945f },
    };
    const struct { const char *label; hd_fn *f; } table[3] = {
        { "Euclidean distances", HD_FN(distance) },
        { "attention scores", HD_FN(score) },
        { "kernel matrix", HD_FN(kernel) },
    };
    hd_array *x = hd_array_lit(float, (3, 2), 0, 0, 1, 0, 0, 1),
             *y = hd_array_lit(float, (2, 2), 0, 0, 1, 1), *r;
    int failures = 0;

    for (int i = 0; i < 3; i++)
        if (hd_call(ON_DEVICE(pairs(table[i].f)), &r, x, y))
            failures += failed();
        else
            failures += check_n(table[i].label, r, want[i], 6, 2e-6);
    hd_drop(x), hd_drop(y);
    return failures;
}

/* ==================== 4. derivatives of one example, batched */

/* of one example with one label or several */
static hd loss(hd params, hd x, hd y)
{
    hd logits = hd_add(hd_dot(x, hd_get(params, "w")), hd_get(params, "b"));
    return hd_mean(hd_sigmoid_cross_entropy(logits, y));
}

static hd softmax(hd x) { return hd_softmax(x, -1); }

/* Column i of the Jacobian is the derivative in direction i; row j is the pull-back of output j. */
static hd by_columns(hd x)
{
    hd_fn *columns = hd_vmap(hd_jvp(softmax), .in_axes = { HD_NONE, 0 }, .out_axes = -1);
    return hd_nth(hd_apply(columns, x, hd_eye(HD_F32, hd_dim(x, 0))), 1);
}

static hd by_rows(hd x)
{
    hd_fn *rows = hd_vmap(hd_vjp(softmax), .in_axes = { HD_NONE, 0 });
    return hd_nth(hd_apply(rows, x, hd_eye(HD_F32, hd_dim(x, 0))), 1);
}

static hd energy(hd x) { return hd_mul(hd_dot(x, x), hd_sum(hd_sin(x))); }

/* The second derivatives of energy, by hand. */
static void energy_hessian(const float *x, int n, float *h)
{
    double square = 0, sines = 0;

    for (int i = 0; i < n; i++)
        square += (double)x[i] * (double)x[i], sines += sin((double)x[i]);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            double a = (double)x[i], b = (double)x[j], v = 2 * a * cos(b) + 2 * b * cos(a);
            h[i * n + j] = (float)(i == j ? v + 2 * sines - square * sin(a) : v);
        }
}

static int per_example_gradients(void)
{
    hd_array *params = hd_array_dict(
        { "w", hd_array_lit(float, (2), 1, -2) }, { "b", hd_array_scalar(HD_F32, 0.3) });
    hd_array *x = hd_array_lit(float, (3, 2), 1, 0, 0.5, 1.5, 2, -1);
    hd_array *y = hd_array_lit(float, (3, 3), 1, 0, 1, 0, 1, 0, 1, 0, 1), *g;
    int failures = 0;

    if (hd_call(ON_DEVICE(hd_vmap(hd_grad(loss), .in_axes = { HD_NONE, 0, 0 })), &g, params, x, y))
        failures += failed();
    else {
        failures += CHECK("gradients of w, one an example", hd_keep(hd_array_get(g, "w")), 2e-6,
            0.1191683, 0.0, -0.116791435, -0.3503743, 0.6398929, -0.31994644);
        failures +=
            CHECK("gradients of b", hd_keep(hd_array_get(g, "b")), 2e-6, 0.1191683, -0.23358287, 0.31994644);
        hd_drop(g);
    }
    hd_drop(params), hd_drop(x), hd_drop(y);
    return failures;
}

static int jacobians(void)
{
    static const float want[9] = {
        0.22269541f, -0.16280341f, -0.059892025f, -0.16280341f, 0.18483645f, -0.022033045f,
        -0.059892025f, -0.022033045f, 0.08192507f,
    };
    const struct { const char *label; hd_fn *f; } table[4] = {
        { "Jacobian of softmax, reverse", hd_jacrev(softmax) }, { "forward", hd_jacfwd(softmax) },
        { "by hand, column by column", HD_FN(by_columns) }, { "by hand, row by row", HD_FN(by_rows) },
    };
    hd_array *theta = hd_array_lit(float, (3), 1, 0, -1), *j;
    int failures = 0;

    for (int i = 0; i < 4; i++)
        if (hd_call(ON_DEVICE(table[i].f), &j, theta))
            failures += failed();
        else
            failures += check_n(table[i].label, j, want, 9, 1e-6);
    hd_drop(theta);
    return failures;
}

static int hessians(void)
{
    static const float points[6] = { 1, 0.5f, -1, 0.25f, 2, -0.75f };
    float want[18];
    hd_array *x = hd_array_of(points, 2, 3), *h;
    int failures = 0;

    for (int i = 0; i < 2; i++)
        energy_hessian(points + 3 * i, 3, want + 9 * i);
    if (hd_call(ON_DEVICE(hd_vmap(hd_hessian(energy))), &h, x))
        failures += failed();
    else
        failures += check_n("Hessians of a batch of two points", h, want, 18, 5e-6);
    hd_drop(x);
    return failures;
}

static int section_4(void) { return per_example_gradients() + jacobians() + hessians(); }

/* ==================== 5. randomness is an argument */

static const double rate = 0.1;

static hd dropout(hd key, hd x)                                 /* one example */
{
    hd keep = hd_random_bernoulli_n(key, hd_c(1 - rate), hd_shape(x));
    return hd_div(hd_mul(hd_cast(keep, HD_F32), x), hd_c(1 - rate));
}

/* a batch: a key of its own for each example */
static hd split_keys(hd key, hd x)
{
    return hd_apply(hd_vmap(dropout), hd_random_split(key, hd_dim(x, 0)), x);
}

static int section_5(void)
{
    hd_array *key = hd_array_key(42), *own, *shared;
    float ones[20], want[20];
    int failures = 0;

    for (int i = 0; i < 20; i++)
        ones[i] = 1, want[i] = 1.1111112f;
    hd_array *x = hd_array_of(ones, 4, 5);
    if (hd_call(ON_DEVICE(hd_vmap(dropout, .in_axes = { HD_NONE, 0 })), &shared, key, x))
        failures += failed();
    else
        failures += check_n("one key for all: every row alike", shared, want, 20, 2e-7);
    want[2] = 0;
    if (hd_call(ON_DEVICE(split_keys), &own, key, x))
        failures += failed();
    else
        failures += check_n("a key for each: element (0, 2) is dropped", own, want, 20, 2e-7);
    hd_drop(key), hd_drop(x);
    return failures;
}

/* ==================== 6. time */

enum { TIME = 5, FEATURES = 3, HIDDEN = 4, SEQUENCES = 4 };

#define RNN(F, S) F(w_hh) F(w_xh) F(b)
HD_STRUCT(rnn, RNN);

static hd cell(hd params, hd h, hd x)
{
    rnn p = hd_unpack(rnn, params);
    h = hd_tanh(hd_add(hd_add(hd_dot(h, p.w_hh), hd_dot(x, p.w_xh)), p.b));
    return hd_tuple(h, h);                                      /* carry, output */
}

static hd run(hd xs, hd params)                                 /* f32[time,features] -> f32[time,hidden] */
{
    return hd_nth(hd_scan(hd_partial(cell, params), hd_zeros(HD_F32, HIDDEN), xs), 1);
}

static hd rnn_loss(hd batch, hd params)
{
    return hd_mean(hd_square(hd_apply(hd_vmap(run, .in_axes = { 0, HD_NONE }), batch, params)));
}

/* Weights made of sines, so that anyone can have the same. */
static hd_array *waves(hd_ints shape, double phase, double scale)
{
    float v[SEQUENCES * TIME * FEATURES];
    int64_t n = 1;

    for (int i = 0; i < shape.n; i++)
        n *= shape.v[i];
    for (int64_t i = 0; i < n && i < (int64_t)(sizeof v / sizeof *v); i++)
        v[i] = (float)(scale * sin(phase + 0.7 * (double)i));
    return hd_array_new(HD_F32, shape, v, NULL);
}

static const float want_sequence[TIME * HIDDEN] = {
    0.3357434f, 0.39068428f, 0.27463636f, 0.018565102f,
    0.34382612f, 0.08662215f, -0.22183722f, -0.40692267f,
    -0.2378167f, -0.1435944f, 0.021272635f, 0.17530927f,
    0.37095195f, 0.36447743f, 0.19244361f, -0.08374792f,
    0.32189664f, 0.083016984f, -0.20359366f, -0.37914088f,
};

/* Of all sequences, the state after the last step. */
static const float want_last[SEQUENCES * HIDDEN] = {
    0.32189664f, 0.083016984f, -0.20359366f, -0.37914088f,
    0.3801328f, 0.36831674f, 0.18868063f, -0.09407334f,
    -0.23155168f, -0.13363786f, 0.030165372f, 0.17866138f,
    0.29294562f, 0.056760967f, -0.21161887f, -0.36747307f,
};

static hd last_step(hd states) { return hd_index(states, 1, -1); }
static hd last_of(hd batch, hd params)
{
    return last_step(hd_apply(hd_vmap(run, .in_axes = { 0, HD_NONE }), batch, params));
}

static int gradients_of_rnn(hd_array *batch, hd_array *params)
{
    hd_array *r[2];
    int failures = 0;

    if (hd_call(ON_DEVICE(hd_value_and_grad(rnn_loss, .argnums = HD_INTS(1))), r, batch, params))
        return failed();
    rnn_data g = hd_array_unpack(rnn, r[1]);
    failures += CHECK("mean square of all states", r[0], 1e-5, 0.06490182);
    failures += CHECK("its gradient for w_hh", hd_keep(g.w_hh), 1e-6,
        0.009314494, -0.023464378, -0.0023688555, -0.018321337,
        0.013693698, -0.010748244, -0.0049034473, -0.025882311,
        0.012134735, 0.0073834155, -0.0053197523, -0.02199615,
        0.0041264845, 0.021423606, -0.0028554033, -0.0063806465);
    failures += CHECK("for w_xh", hd_keep(g.w_xh), 1e-6,
        0.046830148, 0.07966785, -0.024228837, -0.054641273,
        0.023090927, 0.1177942, -0.014685309, 0.021790747,
        -0.011508316, 0.10052009, 0.0017649474, 0.087974235);
    failures += CHECK("for b", hd_keep(g.b), 1e-6, 0.078366295, 0.053951673, -0.026186118, -0.005158551);
    hd_drop(r[1]);
    return failures;
}

static int recurrent(void)
{
    hd_array *params = hd_array_pack(rnn, {
        .w_hh = waves(HD_INTS(HIDDEN, HIDDEN), 0.1, 0.5), .w_xh = waves(HD_INTS(FEATURES, HIDDEN), 1.3, 0.8),
        .b = waves(HD_INTS(HIDDEN), 2.0, 0.2),
    });
    hd_array *one = waves(HD_INTS(TIME, FEATURES), 0.4, 1);
    hd_array *batch = waves(HD_INTS(SEQUENCES, TIME, FEATURES), 0.4, 1), *r;
    int failures = 0;

    if (hd_call(ON_DEVICE(run), &r, one, params))
        failures += failed();
    else
        failures += check_n("states over one sequence", r, want_sequence, TIME * HIDDEN, 2e-6);
    if (hd_call(ON_DEVICE(last_of), &r, batch, params))
        failures += failed();
    else
        failures += check_n("last states of four sequences", r, want_last, SEQUENCES * HIDDEN, 2e-6);
    failures += gradients_of_rnn(batch, params);
    hd_drop(params), hd_drop(one), hd_drop(batch);
    return failures;
}

static int section_6(void) { return recurrent(); }

/* ==================== 7. paths */

/* Halve an even number, treble an odd one and add 1, until 1: each lane has its own branches and its own
 * number of steps. */
#define WALK(F, S) F(n) F(steps) F(top)
HD_STRUCT(walk, WALK);

static hd half(hd n) { return hd_div(n, hd_c(2)); }
static hd treble(hd n) { return hd_add(hd_mul(n, hd_c(3)), hd_c(1)); }
static hd above_one(hd s) { return hd_gt(hd_get(s, "n"), hd_c(1)); }

static hd stride(hd s)
{
    walk w = hd_unpack(walk, s);
    w.n = hd_cond(hd_eq(hd_rem(w.n, hd_c(2)), hd_c(0)), half, treble, w.n);
    w.steps = hd_add(w.steps, hd_c(1));
    w.top = hd_maximum(w.top, w.n);
    return hd_pack(walk, w);
}

/* i32 -> i32[2]: steps, largest number met */
static hd collatz(hd n)
{
    hd start = hd_pack(walk, { .n = n, .steps = hd_zeros_like(n), .top = n });
    walk w = hd_unpack(walk, hd_while(above_one, stride, start));
    return hd_stack(0, w.steps, w.top);
}

/* The branch not taken is nan or inf; neither the value nor the derivative shows it. */
static hd twice(hd x) { return hd_mul(x, hd_c(2)); }
static hd safe_log(hd x) { return hd_cond(hd_gt(x, hd_c(0)), hd_log, twice, x); }

static int section_7(void)
{
    hd_array *n = hd_array_lit(int32_t, (4), 1, 7, 27, 97), *x = hd_array_lit(float, (4), -1, 0, 1, 4);
    hd_array *r, *pair[2];
    int failures = 0;

    if (hd_call(ON_DEVICE(hd_vmap(collatz)), &r, n))
        failures += failed();
    else
        failures += CHECK("steps to 1 from 1, 7, 27, 97, and the largest number on the way", r, 0,
            0, 1, 16, 52, 111, 9232, 118, 9232);
    if (hd_call(ON_DEVICE(hd_vmap(hd_value_and_grad(safe_log))), pair, x))
        return failures + failed();
    failures += CHECK("log of positive numbers, else twice the number", pair[0], 2e-6, -2, 0, 0, 1.3862944);
    failures += CHECK("and its derivative", pair[1], 2e-6, 2, 2, 1, 0.25);
    hd_drop(n), hd_drop(x);
    return failures;
}

/* ==================== 8. lanes that see each other; devices */

static hd share(hd x) { return hd_div(x, hd_psum(x, "i")); }
static hd from_left(hd x)
{
    static const int ring[3][2] = { { 0, 1 }, { 1, 2 }, { 2, 0 } };         /* from, to */
    return hd_ppermute(x, "i", ring, 3);
}

static hd part_loss(hd params, hd x, hd y)                      /* of a worker's part of the batch */
{
    return hd_mean(hd_apply(hd_vmap(loss, .in_axes = { HD_NONE, 0, 0 }), params, x, y));
}

static hd average(hd x) { return hd_pmean(x, "workers"); }
static hd downhill(hd p, hd g) { return hd_sub(p, hd_mul_c(g, 0.1)); }

static hd train_step(hd params, hd x, hd y)                     /* the same new parameters in all workers */
{
    hd r = hd_apply(hd_value_and_grad(part_loss), params, x, y), g = hd_tree_map(average, hd_nth(r, 1));
    return hd_tuple(hd_tree_map(downhill, params, g), average(hd_nth(r, 0)));
}

/* Two workers as lanes of one device; or as places, each on this device. */
static int workers(const char *label, hd_fn *f)
{
    hd_array *params = hd_array_dict(
        { "w", hd_array_lit(float, (2), 1, -2) }, { "b", hd_array_scalar(HD_F32, 0.3) });
    hd_array *x = hd_array_lit(float, (2, 3, 2), 1, 0, 0.5, 1.5, 2, -1, 4, -2, 1, 3, 2, 0), *r[2];
    hd_array *y = hd_array_lit(float, (2, 3, 3), 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0);
    int failures = 0;

    printf("  %s\n", label);
    if (hd_call(f, r, params, x, y))
        failures += failed();
    else {
        failures += CHECK("w", hd_keep(hd_array_get(r[0], "w")), 2e-6, 0.9366437, -1.9337314);
        failures += CHECK("b", hd_keep(hd_array_get(r[0], "b")), 2e-6, 0.286836);
        failures += CHECK("loss of all", r[1], 2e-6, 2.2107363);
        hd_drop(r[0]);
    }
    hd_drop(params), hd_drop(x), hd_drop(y);
    return failures;
}

static hd first(hd x) { return hd_index(x, 0, 0); }
static hd first_worker(hd params, hd x, hd y)
{
    hd r = hd_apply(hd_vmap(train_step, .in_axes = { HD_NONE, 0, 0 }, .axis_name = "workers"), params, x, y);
    return hd_tuple(hd_tree_map(first, hd_nth(r, 0)), first(hd_nth(r, 1)));
}

static int section_8(void)
{
    hd_array *x = hd_array_lit(float, (3), 1, 2, 5), *r;
    char places[128];
    int failures = 0;

    if (hd_call(ON_DEVICE(hd_vmap(share, .axis_name = "i")), &r, x))
        failures += failed();
    else
        failures += CHECK("shares of the sum of all lanes", r, 2e-7, 0.125, 0.25, 0.625);
    if (hd_call(ON_DEVICE(hd_vmap(from_left, .axis_name = "i")), &r, x))
        failures += failed();
    else
        failures += CHECK("what the neighbour has", r, 0, 5, 1, 2);
    snprintf(places, sizeof places, "%s, %s", device, device);
    failures += workers("a step of two workers, as lanes", ON_DEVICE(first_worker));
    failures += workers("as places of a map over devices",
        hd_pmap(train_step, .in_axes = { HD_NONE, 0, 0 }, .out_axes = HD_NONE, .axis_name = "workers",
            .devices = places));
    hd_drop(x);
    return failures;
}

/* ==================== the program */

static const struct { const char *title; int (*run)(void); } sections[] = {
    { "a function of one example, over a batch", section_1 },
    { "mapped and shared arguments; where the batch axis goes", section_2 },
    { "all pairs", section_3 },
    { "gradients, Jacobians, Hessians of each example", section_4 },
    { "random numbers", section_5 },
    { "recurrent networks", section_6 },
    { "branches and loops, each lane its own", section_7 },
    { "lanes that see each other; several devices", section_8 },
};
enum { SECTIONS = sizeof sections / sizeof *sections };

/* NULL: all devices; 0: all sections */
typedef struct Choice { const char *device; int section; } Choice;

/* The failures of the chosen sections on one device. */
static int tell(const char *name, int section)
{
    int failures = 0, told = 0;

    device = name;
    for (int i = 0; i < SECTIONS; i++) {
        if (section && section != i + 1)
            continue;
        printf("%s, section %d: %s\n", name, i + 1, sections[i].title);
        failures += sections[i].run();
        told++;
    }
    if (failures)
        printf("%s: %d results differ\n\n", name, failures);
    else if (told == SECTIONS)
        printf("%s: all sections agree\n\n", name);
    else
        printf("%s: section %d agrees\n\n", name, section);
    return failures;
}

static int usage(void)
{
    fprintf(stderr, "Usage: guide [--device NAME] [--section N]\nThe vectorisation guide, on every device.\n"
                    "  -d, --device NAME   only this device (host, opencl:0 ...); otherwise all there are\n"
                    "  -s, --section N     only this section, 1 to %d; otherwise all\n", SECTIONS);
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "device", 1, NULL, 'd' }, { "section", 1, NULL, 's' },
        { 0 } };
    Choice c = { 0 };
    hd_device_info d;
    int failures = 0;
    char *end = "";

    for (int key; (key = getopt_long(argc, argv, "d:s:", options, NULL)) != -1; )
        if (key == 'd')
            c.device = optarg;
        else if (key != 's' || (c.section = (int)strtol(optarg, &end, 10)) < 1 || c.section > SECTIONS ||
            *end)
            return usage();
    if (optind < argc)
        return usage();
    if (c.device)
        return tell(c.device, c.section) != 0;
    for (int i = 0; i < hd_device_count(); i++)
        if (hd_device(i, &d)) {
            failures++;
            printf("device %d: %s\n", i, hd_error());
        } else {
            failures += tell(d.name, c.section);
        }
    return failures != 0;
}
