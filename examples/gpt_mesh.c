/* A small transformer on a mesh of two by two devices, trained twice from the same start: on one device, and
 * with the batch dealt out along "data" and heads and hidden units along "model". The program is the same;
 * only where its arrays lie differs. The losses agree, and a layer takes two sums over "model": after the
 * heads are mixed, and after its hidden units.
 *     gpt_mesh --devices "opencl:0, vulkan:0, host, host:1"
 *     mpirun -n 4 gpt_mesh --devices "0/host, 1/host, 2/host, 3/host"         (the first rank prints) */
#include <getopt.h>
#include <heddle.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char text[] =
    "the weaver lifts the warp and throws the shuttle through the shed. the heddle holds each thread, and "
    "lifts it when "
    "the pattern says so. so the cloth grows, row by row, as long as there is thread. ";

enum { LETTERS = 27, WINDOW = 8, WIDTH = 16, HEADS = 4, BATCH = 8, LAYERS = 2, STEPS = 8 };

#define LAYER(F, S) F(query) F(key) F(value) F(mix) F(up) F(down)
HD_STRUCT(layer, LAYER);
#define GPT(F, S) F(embedding) F(position) F(output) S(layer, layers)
HD_STRUCT(gpt, GPT);

/* ==================== one example, one device */

/* [HEADS,WINDOW,...] */
static hd heads(hd x) { return hd_transpose(hd_reshape(x, WINDOW, HEADS, WIDTH / HEADS), 1, 0, 2); }

static hd attention(layer p, hd x)
{
    hd q = heads(hd_matmul(x, p.query)), k = heads(hd_matmul(x, p.key)), v = heads(hd_matmul(x, p.value));
    hd scores = hd_div_c(hd_einsum("hik,hjk->hij", q, k), sqrt((double)WIDTH / HEADS));
    hd seen = hd_tril(hd_ones(HD_BOOL, WINDOW, WINDOW), 0);
    hd looked = hd_einsum("hij,hjk->ihk", hd_softmax(hd_where(seen, scores, hd_c(-1e9)), -1), v);
    return hd_matmul(hd_reshape(looked, WINDOW, WIDTH), p.mix);
}

static hd block(hd x, hd weights)                       /* a scan's step: the layers are its inputs */
{
    layer p = hd_unpack(layer, weights);
    x = hd_add(x, attention(p, hd_standardize(x, -1)));
    x = hd_add(x, hd_matmul(hd_gelu(hd_matmul(hd_standardize(x, -1), p.up)), p.down));
    return hd_tuple(x, HD_NIL);
}

static hd loss(hd params, hd tokens)                    /* i32[WINDOW + 1] */
{
    gpt p = hd_unpack(gpt, params);
    hd x = hd_add(hd_take(p.embedding, hd_slice_axis(tokens, 0, 0, WINDOW), 0), p.position);
    x = hd_nth(hd_scan(block, x, hd_pack(layer, p.layers)), 0);
    hd logits = hd_matmul(hd_standardize(x, -1), p.output);
    return hd_mean(
        hd_softmax_cross_entropy(logits, hd_one_hot(hd_slice_axis(tokens, 0, 1, HD_LAST), LETTERS, HD_F32)));
}

static hd batch_loss(hd params, hd batch)
{
    return hd_mean(hd_apply(hd_vmap(loss, .in_axes = { HD_NONE, 0 }), params, batch));
}

static hd step(hd params, hd moments, hd batch)
{
    hd r = hd_apply(hd_value_and_grad(batch_loss), params, batch);
    return hd_tuple(hd_adam(params, hd_nth(r, 1), moments, hd_c(1e-2)), hd_nth(r, 0));
}

static hd weights(hd key, int i, int64_t n, int64_t m)
{
    return hd_div_c(
        hd_random_normal(hd_random_fold_in(key, hd_c(i)), HD_F32, LAYERS, n, m), sqrt((double)n));
}

static hd start(hd key)
{
    hd p = hd_pack(gpt,
        {
            .embedding = hd_at(weights(key, 0, LETTERS, WIDTH), 0),
            .position = hd_at(weights(key, 1, WINDOW, WIDTH), 0),
            .output = hd_at(weights(key, 2, WIDTH, LETTERS), 0),
            .layers = { .query = weights(key, 3, WIDTH, WIDTH),
                .key = weights(key, 4, WIDTH, WIDTH),
                .value = weights(key, 5, WIDTH, WIDTH),
                .mix = weights(key, 6, WIDTH, WIDTH),
                .up = weights(key, 7, WIDTH, 4 * WIDTH),
                .down = weights(key, 8, 4 * WIDTH, WIDTH) },
        });
    return hd_tuple(p, hd_opt_init(p));
}

/* ==================== over a mesh */

/* Columns of what leads to heads and hidden units, rows of what comes from them; layers are whole. */
static hd_array *laid_out(const hd_array *params, const hd_mesh *mesh)
{
    gpt_data p = hd_array_unpack(gpt, params);
    return hd_array_pack(gpt,
        {
            .embedding = hd_shard(p.embedding, mesh, ""),
            .position = hd_shard(p.position, mesh, ""),
            .output = hd_shard(p.output, mesh, ""),
            .layers = { .query = hd_shard(p.layers.query, mesh, "none, none, model"),
                .key = hd_shard(p.layers.key, mesh, "none, none, model"),
                .value = hd_shard(p.layers.value, mesh, "none, none, model"),
                .mix = hd_shard(p.layers.mix, mesh, "none, model"),
                .up = hd_shard(p.layers.up, mesh, "none, none, model"),
                .down = hd_shard(p.layers.down, mesh, "none, model") },
        });
}

/* Windows of the text, other ones in each step. */
static hd_array *windows(int number)
{
    int32_t t[BATCH][WINDOW + 1];
    for (int b = 0; b < BATCH; b++)
        for (int k = 0; k <= WINDOW; k++) {
            char c = text[(size_t)(number * 31 + b * 17 + k) % (sizeof text - 1)];
            t[b][k] = c >= 'a' && c <= 'z' ? c - 'a' : LETTERS - 1;
        }
    return hd_array_of(&t[0][0], BATCH, WINDOW + 1);
}

/* mesh NULL: one device. The arguments are taken over. */
static int train(const hd_mesh *mesh, hd_array *params, hd_array *moments, double *losses)
{
    hd_fn *f = hd_jit(step, .donate = HD_INTS(0, 1));
    int e = 0;
    for (int k = 0; k < STEPS && !e; k++) {
        hd_array *batch = windows(k), *rows = mesh ? hd_shard(batch, mesh, "data") : hd_keep(batch),
                 *out[2] = { NULL };
        if (!(e = hd_call(f, out, params, moments, rows))) {
            params = hd_keep(hd_array_nth(out[0], 0)), moments = hd_keep(hd_array_nth(out[0], 1));
            losses[k] = hd_item(out[1]);
        }
        hd_drop(out[0]), hd_drop(out[1]), hd_drop(batch), hd_drop(rows);
    }
    hd_drop(params), hd_drop(moments);
    return e;
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "devices", 1, NULL, 'd' }, { 0 } };
    const char *devices = "host, host:1, host:2, host:3";
    double one[STEPS], many[STEPS];
    hd_array *key, *both = NULL, *batch, *params = NULL;
    hd_cost_info forward, whole;

    setenv("HEDDLE_HOST_DEVICES", "4", 0);
    for (int k; (k = getopt_long(argc, argv, "d:", options, NULL)) != -1; )
        if (k == 'd')
            devices = optarg;
        else
            return 1;
    const hd_mesh *mesh = hd_mesh_new("data: 2, model: 2", devices);
    key = hd_array_key(0), batch = windows(0);
    int status = !mesh || hd_call(start, &both, key);
    if (!status) {
        params = laid_out(hd_array_nth(both, 0), mesh);
        hd_array *rows = hd_shard(batch, mesh, "data");
        status = hd_cost(batch_loss, &forward, params, rows) ||
            hd_cost(hd_value_and_grad(batch_loss), &whole, params, rows) ||
            train(NULL, hd_keep(hd_array_nth(both, 0)), hd_keep(hd_array_nth(both, 1)), one) ||
            train(mesh, hd_keep(params), hd_keep(hd_array_nth(both, 1)), many);
        hd_drop(rows);
    }
    if (status)
        fprintf(stderr, "%s\n", hd_error());
    bool prints = hd_rank() == 0;
    for (int k = 0; k < STEPS && !status; k++) {
        if (prints)
            printf("step %d: loss %.4f on one device, %.4f on the mesh\n", k, one[k], many[k]);
        status |= !(fabs(one[k] - many[k]) < 2e-4);
    }
    if (!status && prints)
        printf("sums: %d forward, %d with the gradient; gathers: %d\n", (int)forward.sums, (int)whole.sums,
               (int)(forward.gathers + whole.gathers));
    /* Forward two in a layer, whose step is there once, and one of the loss; backward two in a layer, and
     * one for each of nine weights. */
    status = status || forward.sums != 3 || whole.sums != 3 + 2 + 9 || forward.gathers + whole.gathers;
    hd_drop(key), hd_drop(both), hd_drop(batch), hd_drop(params);
    return status;
}
