/*
 * A recurrent network trained over every device of the machine at once, of whatever kinds they are: each computes the gradient of
 * its sequences, all take the mean. The same again on one device gives the same losses. Half way the parameters are saved,
 * dropped and loaded. The losses are drawn in train_pmap.svg.
 */
#include <heddle.h>
#include <math.h>
#include <string.h>

enum { FEATURES = 3, HIDDEN = 8, TIME = 6, EACH = 4, STEPS = 24, MOST = 8 };      /* EACH: sequences of a device */

#define RNN(F, S) F(wx) F(wh) F(b)
HD_STRUCT(rnn, RNN);

static hd cell(hd params, hd h, hd x)
{
    rnn w = hd_unpack(rnn, params);
    h = hd_tanh(hd_add(hd_add(hd_dot(x, w.wx), hd_dot(h, w.wh)), w.b));
    return hd_tuple(h, h);
}

static hd loss(hd params, hd xs, hd target)                     /* of one sequence */
{
    hd ys = hd_nth(hd_scan(hd_partial(cell, params), hd_zeros(HD_F32, HIDDEN), xs), 1);
    return hd_mean(hd_square(hd_sub(ys, target)));
}

static hd share_loss(hd params, hd xs, hd target)               /* of a device's sequences */
{
    return hd_mean(hd_apply(hd_vmap(loss, .in_axes = { HD_NONE, 0, 0 }), params, xs, target));
}

static hd descend(hd p, hd g) { return hd_sub(p, hd_mul_c(g, 0.5)); }

static hd step(hd params, hd xs, hd target)                     /* tuple(params, loss), the same on all */
{
    hd r = hd_pmean(hd_apply(hd_value_and_grad(share_loss), params, xs, target), "devices");
    return hd_tuple(hd_tree_map(descend, params, hd_nth(r, 1)), hd_nth(r, 0));
}

static hd init(hd key, hd shares)                               /* tuple(params, xs, target) */
{
    int64_t n = hd_dim(shares, 0);
    hd k = hd_random_split(key, 3), xs = hd_random_normal(hd_index(k, 0, 2), HD_F32, n, EACH, TIME, FEATURES);
    hd params = hd_pack(rnn, {
        .wx = hd_mul_c(hd_random_normal(hd_index(k, 0, 0), HD_F32, FEATURES, HIDDEN), 0.3),
        .wh = hd_mul_c(hd_random_normal(hd_index(k, 0, 1), HD_F32, HIDDEN, HIDDEN), 0.2),
        .b = hd_zeros(HD_F32, HIDDEN),
    });
    hd target = hd_broadcast_to(hd_tanh(hd_cumsum(hd_mean(xs, -1, HD_KEEP), 2)), n, EACH, TIME, HIDDEN);
    return hd_tuple(params, xs, target);                        /* the running mean of the features */
}

static int found(char *list, size_t size)                       /* all devices, with commas; how many */
{
    hd_device_info d;
    int n = 0;
    list[0] = 0;
    for (int i = 0; i < hd_device_count() && n < MOST; i++)
        if (!hd_device(i, &d)) {
            size_t at = strlen(list);
            snprintf(list + at, size - at, "%s%s", n++ ? ", " : "", d.name);
        }
    return n;
}

static hd_array *saved_and_loaded(hd_array *params)
{
    hd_array *again = hd_save("train_pmap.npz", params) ? NULL : hd_load("train_pmap.npz");
    hd_drop(params);
    remove("train_pmap.npz");
    return again;
}

static void bar(const char *what, int done)
{
    fprintf(stderr, "\r%-12s [%.*s%*s]%s", what, done, "########################", STEPS - done, "", done == STEPS ? "\n" : "");
}

static int train(const char *what, hd_fn *f, hd_array *const start[3], double *losses)
{
    hd_array *params = hd_keep(start[0]);
    int e = 0;
    for (int i = 0; i < STEPS && !e; i++) {
        hd_array *out[2] = { NULL }, *xs = start[1], *target = start[2];
        if ((e = hd_call(f, out, params, xs, target)))
            break;
        hd_drop(params);
        losses[i] = hd_item(out[1]);
        hd_drop(out[1]);
        params = i == STEPS / 2 ? saved_and_loaded(out[0]) : out[0];
        e = !params;
        bar(what, i + 1);
    }
    hd_drop(params);
    return e;
}

static void draw(const double *losses, const char *devices)
{
    FILE *f = fopen("train_pmap.svg", "w");
    if (!f)
        return;
    fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 500 300\"><rect width=\"500\" height=\"300\" fill=\"white\"/>"
               "<text x=\"20\" y=\"24\" font-size=\"14\">loss, %d steps on %s</text><polyline fill=\"none\" stroke=\"navy\" points=\"",
            STEPS, devices);
    for (int i = 0; i < STEPS; i++)
        fprintf(f, "%.1f,%.1f ", 20 + 460.0 * i / (STEPS - 1), 280 - 230 * losses[i] / losses[0]);
    fputs("\"/></svg>\n", f);
    fclose(f);
}

int main(void)
{
    char list[400];
    static float zeros[MOST];
    double many[STEPS], one[STEPS], apart = 0;
    int n = found(list, sizeof list), status = 1;
    hd_fn *over = hd_pmap(step, .axis_name = "devices", .devices = list, .in_axes = { HD_NONE, 0, 0 }, .out_axes = HD_NONE);
    hd_fn *alone = hd_vmap(step, .axis_name = "devices", .in_axes = { HD_NONE, 0, 0 }, .out_axes = HD_NONE);
    hd_array *key = hd_array_key(0), *shares = hd_array_of(zeros, (size_t)n), *start[3] = { NULL };

    if (hd_call(init, start, key, shares) || train("all devices", over, start, many) || train("one device", alone, start, one))
        goto fail;
    for (int i = 0; i < STEPS; i++)
        apart = fmax(apart, fabs(many[i] - one[i]));
    printf("%d devices: %s\n", n, list);
    printf("loss %.4f at first, %.4f at last; on one device the same within %.0e\n", many[0], many[STEPS - 1], apart);
    draw(many, list);
    status = !(many[STEPS - 1] < many[0]) || apart > 1e-4;
fail:
    if (status)
        fprintf(stderr, "%s\n", hd_error());
    hd_drop(key), hd_drop(shares), hd_drop(start[0]), hd_drop(start[1]), hd_drop(start[2]);
    return status;
}
