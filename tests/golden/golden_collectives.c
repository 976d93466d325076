/*
 * golden_collectives.c - what lanes of named axes do together: the programs of the collectives family, by
 * name.
 */
#include <string.h>

#include "golden.h"

/* The names of "axis_name", which is a string or a list of them, with commas. */
static const char *axes(const json_t *a)
{
    static _Thread_local char text[200];
    const json_t *names = json_object_get(a, "axis_name");
    if (json_is_string(names))
        return json_string_value(names);
    text[0] = 0;
    for (size_t i = 0; i < json_array_size(names); i++) {
        strncat(text, i ? "," : "", sizeof text - strlen(text) - 1);
        strncat(text, json_string_value(json_array_get(names, i)), sizeof text - strlen(text) - 1);
    }
    return text;
}

#define ARGS const json_t *a, const hd *x, int n
#define UNUSED (void)a, (void)n

static hd psum(ARGS) { UNUSED; return hd_psum(x[0], axes(a)); }
static hd pmean(ARGS) { UNUSED; return hd_pmean(x[0], axes(a)); }
static hd pmax(ARGS) { UNUSED; return hd_pmax(x[0], axes(a)); }
static hd pmin(ARGS) { UNUSED; return hd_pmin(x[0], axes(a)); }
static hd tuple(hd x, hd y) { return hd_tuple_n((const hd[]){ x, y }, 2); }
static hd axis_index(ARGS) { UNUSED; return tuple(hd_axis_index(axes(a)), x[0]); }
static hd axis_size(ARGS) { UNUSED; return hd_mul(hd_psum(hd_c(1), axes(a)), x[0]); }
static hd psum_two(ARGS) { UNUSED; return hd_psum(tuple(x[0], x[1]), axes(a)); }

static hd all_gather(ARGS)
{
    UNUSED;
    return hd_all_gather(x[0], axes(a), (int)attr_i(a, "axis", 0), attr_b(a, "tiled", false));
}

static hd psum_scatter(ARGS)
{
    UNUSED;
    return hd_psum_scatter(x[0], axes(a), (int)attr_i(a, "scatter_dimension", 0), attr_b(a, "tiled", false));
}

static hd all_to_all(ARGS)
{
    UNUSED;
    return hd_all_to_all(x[0], axes(a), (int)attr_i(a, "split_axis", 0), (int)attr_i(a, "concat_axis", 0),
        attr_b(a, "tiled", false));
}

static hd ppermute(ARGS)
{
    const json_t *perm = json_object_get(a, "perm");
    int pairs[64][2], m = (int)json_array_size(perm);
    (void)n;
    for (int i = 0; i < m; i++)
        for (size_t k = 0; k < 2; k++)
            pairs[i][k] = (int)json_integer_value(json_array_get(json_array_get(perm, (size_t)i), k));
    return hd_ppermute(x[0], axes(a), pairs, m);
}

static hd pshuffle(ARGS)                        /* lane i receives from lane perm[i] */
{
    const json_t *perm = json_object_get(a, "perm");
    int pairs[64][2], m = (int)json_array_size(perm);
    (void)n;
    for (int i = 0; i < m; i++)
        pairs[i][0] = (int)json_integer_value(json_array_get(perm, (size_t)i)), pairs[i][1] = i;
    return hd_ppermute(x[0], axes(a), pairs, m);
}

static hd ring_sum(ARGS)
{
    int pairs[64][2], size = (int)attr_i(a, "size", 1);
    hd total = x[0], passing = x[0];
    (void)n;
    for (int i = 0; i < size; i++)
        pairs[i][0] = i, pairs[i][1] = (i + 1) % size;
    for (int k = 1; k < size; k++)
        passing = hd_ppermute(passing, axes(a), pairs, size), total = hd_add(total, passing);
    return total;
}

static hd normalize_by_axis(ARGS)
{
    UNUSED;
    return hd_div(hd_sub(x[0], hd_pmean(x[0], axes(a))), hd_add(hd_pmax(hd_abs(x[0]), axes(a)), hd_c(1)));
}

static hd batch_norm(ARGS)
{
    UNUSED;
    const hd_ints first = { 1, { 0 } };
    hd m = hd_pmean(hd_mean_n(x[0], first), axes(a)), d = hd_sub(x[0], m);
    hd v = hd_pmean(hd_mean_n(hd_square(d), first), axes(a));
    return hd_mul(hd_mul(x[1], d), hd_rsqrt(hd_add(v, hd_c(1e-3))));
}

static hd softmax_over_axis(ARGS)
{
    UNUSED;
    hd e = hd_exp(hd_sub(x[0], hd_stop_gradient(hd_pmax(hd_stop_gradient(x[0]), axes(a)))));
    return hd_div(e, hd_psum(e, axes(a)));
}

static hd psum_square(ARGS) { UNUSED; return hd_psum(hd_sum(hd_square(x[0])), axes(a)); }

static hd local_times_psum(ARGS)
{
    UNUSED;
    return hd_mul(hd_sum(hd_mul(x[0], x[1])), hd_psum(hd_sum(x[1]), axes(a)));
}

const GoldenRow golden_collective_rows[] = {
#define R(name) { #name, name }
    R(psum), R(pmean), R(pmax), R(pmin), R(axis_index), R(axis_size), R(psum_two), R(all_gather),
    R(psum_scatter), R(all_to_all), R(ppermute), R(pshuffle), R(ring_sum), R(normalize_by_axis),
    R(batch_norm), R(softmax_over_axis), R(psum_square), R(local_times_psum), { NULL, NULL }
};
