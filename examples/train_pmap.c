/*
 * Two networks trained over every device of the machine at once, of whatever kinds they are, or over those
 * of --devices: each computes the gradient of its share of the batch, all take the mean. Trained again on
 * one device, the losses are the same within 1e-3: devices round functions differently, and the optimizer
 * repeats it. Half way the state is saved, dropped and loaded. The losses are drawn in train_pmap.svg.
 *     mpirun -n 4 train_pmap
 * is the same over the devices of four processes, of which the first prints, saves and draws.
 *
 * The networks are the recurrent one of the guide, on the running mean of a signal, and a small transformer
 * on letters. Its letters come in by a product with one-hot rows, not by looking them up, and it has one
 * layer: drivers that run Vulkan on processors take minutes to compile programs with many gathers.
 */
#include <getopt.h>
#include <heddle.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* the batch: shares for up to twelve devices, of so many examples */
enum { SHARES = 12, EACH = 1, STEPS = 24 };
#define TOLERANCE 1e-3

/* ==================== the recurrent network */

enum { FEATURES = 3, HIDDEN = 8, TIME = 6 };

#define RNN(F, S) F(wx) F(wh) F(b)
HD_STRUCT(rnn, RNN);

static hd cell(hd params, hd h, hd x)
{
    rnn w = hd_unpack(rnn, params);
    h = hd_tanh(hd_add(hd_add(hd_dot(x, w.wx), hd_dot(h, w.wh)), w.b));
    return hd_tuple(h, h);
}

/* f32[TIME,FEATURES]; the target is its running mean */
static hd signal_loss(hd params, hd xs)
{
    hd target = hd_broadcast_to(hd_tanh(hd_cumsum(hd_mean(xs, -1, HD_KEEP), 0)), TIME, HIDDEN);
    hd ys = hd_nth(hd_scan(hd_partial(cell, params), hd_zeros(HD_F32, HIDDEN), xs), 1);
    return hd_mean(hd_square(hd_sub(ys, target)));
}

static hd signal_start(hd key)                                  /* tuple(params, batch) */
{
    hd k = hd_random_split(key, 3);
    hd params = hd_pack(rnn, {
        .wx = hd_mul_c(hd_random_normal(hd_at(k, 0), HD_F32, FEATURES, HIDDEN), 0.3),
        .wh = hd_mul_c(hd_random_normal(hd_at(k, 1), HD_F32, HIDDEN, HIDDEN), 0.2),
        .b = hd_zeros(HD_F32, HIDDEN),
    });
    return hd_tuple(params, hd_random_normal(hd_at(k, 2), HD_F32, SHARES, EACH, TIME, FEATURES));
}

/* ==================== the transformer */

static const char text[] = "the weaver lifts the warp and throws the shuttle through the shed. the heddle "
                           "holds each thread, and lifts "
                           "it when the pattern says so. ";
static const char letters[] = " abcdefghilmnoprstuvw.,y";

enum { LETTERS = sizeof letters - 1, WINDOW = 8, WIDTH = 16 };

#define GPT(F, S) F(embedding) F(position) F(query) F(key) F(value) F(up) F(down) F(output)
HD_STRUCT(gpt, GPT);

static hd text_loss(hd params, hd tokens)                       /* i32[WINDOW + 1] */
{
    gpt p = hd_unpack(gpt, params);
    hd rows = hd_one_hot(tokens, LETTERS, HD_F32);
    hd x = hd_add(hd_matmul(hd_slice_axis(rows, 0, 0, WINDOW), p.embedding), p.position),
       z = hd_standardize(x, -1);
    hd scores = hd_div_c(hd_matmul(hd_matmul(z, p.query), hd_transpose(hd_matmul(z, p.key))), sqrt(WIDTH));
    hd seen = hd_tril(hd_ones(HD_BOOL, WINDOW, WINDOW), 0);     /* each place looks at those before it */
    x = hd_add(x, hd_matmul(hd_softmax(hd_where(seen, scores, hd_c(-1e9)), -1), hd_matmul(z, p.value)));
    x = hd_add(x, hd_matmul(hd_relu(hd_matmul(hd_standardize(x, -1), p.up)), p.down));
    return hd_mean(hd_softmax_cross_entropy(
        hd_matmul(hd_standardize(x, -1), p.output), hd_slice_axis(rows, 0, 1, HD_LAST)));
}

static hd weights(hd key, int64_t n, int64_t m)
{
    return hd_div_c(hd_random_normal(key, HD_F32, n, m), sqrt((double)n));
}

static hd text_start(hd key)
{
    int32_t window[SHARES * EACH * (WINDOW + 1)];
    for (int k = 0; k < SHARES * EACH * (WINDOW + 1); k++)      /* windows that follow one another */
        window[k] = (int32_t)(strchr(letters, text[k / (WINDOW + 1) * WINDOW + k % (WINDOW + 1)]) - letters);
    hd k = hd_random_split(key, 8);
    hd params = hd_pack(gpt, {
        .embedding = weights(hd_at(k, 0), LETTERS, WIDTH), .position = weights(hd_at(k, 1), WINDOW, WIDTH),
        .query = weights(hd_at(k, 2), WIDTH, WIDTH), .key = weights(hd_at(k, 3), WIDTH, WIDTH),
        .value = weights(hd_at(k, 4), WIDTH, WIDTH), .up = weights(hd_at(k, 5), WIDTH, 2 * WIDTH),
        .down = weights(hd_at(k, 6), 2 * WIDTH, WIDTH), .output = weights(hd_at(k, 7), WIDTH, LETTERS),
    });
    return hd_tuple(params, hd_lit_n(HD_I32, (hd_ints){ 3, { SHARES, EACH, WINDOW + 1 } }, window));
}

/* ==================== training */

static char list[1000]; /* the devices; "": all of the default's kind */

typedef struct model { const char *name; hd (*loss)(hd, hd); hd (*start)(hd); double rate; } model;

static const model models[] = { { "rnn", signal_loss, signal_start, 0.02 },
    { "gpt", text_loss, text_start, 0.02 } };
enum { MODELS = sizeof models / sizeof *models };

static hd share_loss(hd params, hd batch, const void *env)      /* of a device's examples */
{
    const model *m = env;
    return hd_mean(hd_apply(hd_vmap(m->loss, .in_axes = { HD_NONE, 0 }), params, batch));
}

static hd step(hd state, hd batch, const void *env)             /* tuple(state, loss), the same on all */
{
    const model *m = env;
    hd params = hd_nth(state, 0),
       r = hd_pmean(hd_apply(hd_value_and_grad(hd_bind(share_loss, *m)), params, batch), "shares");
    return hd_tuple(hd_adam(params, hd_nth(r, 1), hd_nth(state, 1), hd_c(m->rate)), hd_nth(r, 0));
}

static hd start(hd key, const void *env)                        /* tuple(state, batch) */
{
    const model *m = env;
    hd s = m->start(key), params = hd_nth(s, 0);
    return hd_tuple(hd_tuple(params, hd_opt_init(params)), hd_nth(s, 1));
}

/* Ranks wait here for one another, and so for what the first of them has done: a call over all ranks. */
static hd together(hd x) { return hd_psum(x, "shares"); }
static int meet(void)
{
    float zeros[SHARES] = { 0 };
    hd_array *x = hd_array_of(zeros, SHARES), *sum = NULL;
    int e = hd_call(hd_pmap(together, .axis_name = "shares", .devices = list), &sum, x);
    hd_drop(x), hd_drop(sum);
    return e;
}

/* The first rank writes the file, all read it. */
static hd_array *saved_and_loaded(hd_array *state)
{
    int e = (hd_rank() == 0 && hd_save("train_pmap.npz", state)) || meet();
    hd_drop(state);
    return e ? NULL : hd_load("train_pmap.npz");
}

static void bar(const char *name, const char *where, int done)  /* for people, not for files */
{
    if (hd_rank() == 0 && isatty(STDERR_FILENO))
        fprintf(stderr, "\r%s on %-11s [%.*s%*s]%s", name, where, done, "########################",
            STEPS - done, "", done == STEPS ? "\n" : "");
}

static int train(const char *name, const char *where, hd_fn *f, hd_array *const from[2], double *losses)
{
    hd_array *state = hd_keep(from[0]), *batch = from[1];
    int e = 0;
    for (int i = 0; i < STEPS && !e; i++) {
        hd_array *out[2] = { NULL };
        if ((e = hd_call(f, out, state, batch)))
            break;
        hd_drop(state);
        losses[i] = hd_item(out[1]);
        hd_drop(out[1]);
        state = i == STEPS / 2 ? saved_and_loaded(out[0]) : out[0];
        e = !state;
        bar(name, where, i + 1);
    }
    hd_drop(state);
    return e;
}

/* On all devices and on one; how far the losses are apart. */
static int compare(const model *m, const char *device, double *losses, double *apart)
{
    double one[STEPS];
    hd_fn *f = hd_bind(step, *m);
    hd_fn *over =
        hd_pmap(f, .axis_name = "shares", .devices = list, .in_axes = { HD_NONE, 0 }, .out_axes = HD_NONE);
    hd_fn *alone = hd_jit(
        hd_vmap(f, .axis_name = "shares", .in_axes = { HD_NONE, 0 }, .out_axes = HD_NONE), .device = device);
    hd_array *key = hd_array_key(1), *from[2] = { NULL };
    int e = hd_call(hd_bind(start, *m), from, key) || train(m->name, "all devices", over, from, losses)
        || train(m->name, "one device", alone, from, one);
    hd_drop(key), hd_drop(from[0]), hd_drop(from[1]);
    for (int i = 0; i < STEPS && !e; i++)
        *apart = fmax(*apart, fabs(losses[i] - one[i]));
    return e;
}

/* ==================== the machine, and the picture */

/* The devices of the machine, with commas, as many as there are equal shares for: of each rank the first,
 * then the second of each. In one process they have no numbers of ranks, and are taken as they come. */
static void found(void)
{
    hd_device_info d;
    int all = hd_device_count(), n = 0, most = all < SHARES ? all : SHARES;
    int *rank = calloc((size_t)all + 1, sizeof *rank), *place = calloc((size_t)all + 1, sizeof *place);
    while (most > 1 && SHARES % most)
        most--;
    for (int i = 0; i < all && !hd_device(i, &d); i++) {
        rank[i] = atoi(d.name);
        place[i] = i && rank[i] == rank[i - 1] ? place[i - 1] + 1 : 0;
    }
    list[0] = 0;
    for (int k = 0; k < all && n < most; k++)
        for (int i = 0; i < all && n < most; i++)
            if (place[i] == k && !hd_device(i, &d)) {
                size_t at = strlen(list);
                snprintf(list + at, sizeof list - at, "%s%s", n++ ? "," : "", d.name);
            }
    free(rank), free(place);
}

static void draw(double losses[MODELS][STEPS], const char *devices)
{
    static const char *const color[MODELS] = { "navy", "firebrick" };
    FILE *f = fopen("train_pmap.svg", "w");
    if (!f)
        return;
    fprintf(f,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 500 300\"><rect width=\"500\" "
        "height=\"300\" fill=\"white\"/>"
        "<text x=\"20\" y=\"24\" font-size=\"14\">loss, %d steps on %s</text>",
        STEPS, devices[0] ? devices : "all devices of a kind");
    for (int m = 0; m < MODELS; m++) {
        fprintf(f, "<polyline fill=\"none\" stroke=\"%s\" points=\"", color[m]);
        for (int i = 0; i < STEPS; i++)
            fprintf(f, "%.1f,%.1f ", 20 + 460.0 * i / (STEPS - 1), 280 - 230 * losses[m][i] / losses[m][0]);
        fprintf(f, "\"/><text x=\"430\" y=\"%d\" font-size=\"12\" fill=\"%s\">%s</text>", 50 + 16 * m,
            color[m], models[m].name);
    }
    fputs("</svg>\n", f);
    fclose(f);
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "device", 1, NULL, 'd' }, { "devices", 1, NULL, 'l' },
        { 0 } };
    const char *device = NULL;                                  /* the one that is compared with */
    double losses[MODELS][STEPS];
    int status = 0;

    found();
    for (int k; (k = getopt_long(argc, argv, "d:l:", options, NULL)) != -1; )
        if (k == 'd') {                                         /* all of its kind */
            device = hd_default_device(optarg), list[0] = 0;
            status = status || !device;
        } else {
            status = status || k == '?';
            snprintf(list, sizeof list, "%s", optarg ? optarg : "");
        }
    for (int m = 0; m < MODELS && !status; m++) {
        double apart = 0;
        if ((status = compare(&models[m], device, losses[m], &apart)))
            break;
        if (hd_rank() == 0)
            printf("%s: loss %.3f at first, %.3f at last, and within %g on one device\n", models[m].name,
                losses[m][0], losses[m][STEPS - 1], TOLERANCE);
        if (apart > TOLERANCE || !(losses[m][STEPS - 1] < losses[m][0]))
            status = fprintf(stderr, "%s: apart by %g, or nothing was learned\n", models[m].name, apart);
    }
    if (status && hd_error_code())
        fprintf(stderr, "%s\n", hd_error());
    if (!status && hd_rank() == 0)
        draw(losses, list);
    return status != 0;
}
