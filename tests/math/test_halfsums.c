/*
 * test_halfsums.c - many half floats are added up in f32 and rounded once, wherever they are added.
 *
 * In:  programs that add 3000 ones, as f16 and as bf16, on every device that is there.   Out: 3000, and
 * 3008, the bf16 next to it.
 * A sum that was rounded at each step would stick at 2048 and at 256.
 */
#include <string.h>

#include "heddle.h"
#include "suite_run.h"

enum { N = 3000, LANES = 50, STEPS = N / LANES };
static const char *const devices[] = { "host", "opencl:0", "vulkan:0" };
static const enum hd_dtype dtypes[] = { HD_F16, HD_BF16 };
static enum hd_dtype dt;

static hd to_f32(hd x) { return hd_cast(x, HD_F32); }
static hd ones(void) { return hd_ones(dt, N); }

/* ---- values */
static hd all(hd ids) { return (void)ids, hd_sum(ones()); }
static hd running(hd ids) { return (void)ids, hd_index(hd_cumsum(ones(), 0), 0, N - 1); }
static hd product(hd ids) { return (void)ids, hd_dot(ones(), ones()); }
static hd segments(hd ids) { return hd_segment_sum(ones(), ids, 1); }
static hd scattered(hd ids)
{
    return hd_scatter(hd_zeros(dt, 1), hd_reshape(ids, N, 1), ones(), .collapsed_axes = HD_INTS(0),
        .index_axes = HD_INTS(0), .combine = HD_ADD);
}

/* ---- gradients: each reads one element 3000 times. */
static hd taken(hd w, hd ids) { return hd_sum(to_f32(hd_take(w, ids, 0))); }
static hd spread(hd w, hd ids) { return (void)ids, hd_sum(to_f32(hd_broadcast_to(w, N))); }

static hd use(hd w, hd c, hd id) { return (void)id, hd_tuple(hd_add(c, hd_sum(to_f32(w))), HD_NIL); }
static hd captured(hd w, hd ids)
{
    return hd_nth(hd_scan(hd_partial(use, w), hd_cast(hd_c(0), HD_F32), ids), 0);
}

static hd look_up(hd w, hd c, hd id)
{
    return hd_tuple(hd_add(c, to_f32(hd_dynamic_index(w, id, 0))), HD_NIL);
}
static hd read_by_step(hd w, hd ids)
{
    return hd_nth(hd_scan(hd_partial(look_up, w), hd_cast(hd_c(0), HD_F32), ids), 0);
}

static hd choose_one(hd w) { return hd_sum(to_f32(w)); }
static hd choose_same(hd w) { return hd_sum(hd_sqrt(hd_square(to_f32(w)))); }
static hd lane(hd w, hd id) { return hd_cond(hd_eq(id, hd_c(0)), choose_one, choose_same, w); }
static hd branches(hd w, hd ids)
{
    return hd_sum(hd_apply(hd_vmap(lane, .in_axes = { HD_NONE, 0 }), w, ids));
}

static hd loops(hd w, hd ids)
{
    return hd_sum(hd_apply(hd_vmap(captured, .in_axes = { HD_NONE, 0 }), w, hd_reshape(ids, LANES, STEPS)));
}

static hd reading_loops(hd w, hd ids)
{
    return hd_sum(
        hd_apply(hd_vmap(read_by_step, .in_axes = { HD_NONE, 0 }), w, hd_reshape(ids, LANES, STEPS)));
}

/* A product a step, whose factors leave the loop. */
static hd matrix_step(hd w, hd c, hd id)
{
    hd x = hd_full(hd_cast(id, dt), 40, 1);
    return hd_tuple(hd_add(c, to_f32(hd_dot(hd_add(hd_transpose(x), hd_cast(hd_c(1), dt)), w))), HD_NIL);
}
static hd matrix_loop(hd w, hd ids)
{
    hd wide = hd_broadcast_to(w, 40, 40);
    return hd_div(
        hd_sum(hd_nth(hd_scan(hd_partial(matrix_step, wide), hd_zeros(HD_F32, 1, 40), ids), 0)), hd_c(1600));
}

typedef hd Program(hd ids);
#define GRADIENT(f) static hd grad_##f(hd ids) { return hd_apply(hd_grad(f), hd_ones(dt, 1), ids); }
GRADIENT(taken) GRADIENT(spread) GRADIENT(captured) GRADIENT(read_by_step) GRADIENT(branches) GRADIENT(loops)
GRADIENT(reading_loops) GRADIENT(matrix_loop)

#define VALUE(f)  { #f, f }
#define GRAD(f) \
    { \
        "gradient: " #f, grad_##f \
    }
static const struct {
    const char *name;
    Program *f;
} programs[] = {
    VALUE(all),
    VALUE(running),
    VALUE(product),
    VALUE(segments),
    VALUE(scattered),
    GRAD(taken),
    GRAD(spread),
    GRAD(captured),
    GRAD(read_by_step),
    GRAD(branches),
    GRAD(loops),
    GRAD(reading_loops),
    GRAD(matrix_loop),
};
enum { PROGRAMS = sizeof programs / sizeof *programs };

typedef struct Which { int program; enum hd_dtype dt; } Which;

static hd run(hd ids, const void *env)
{
    const Which *w = env;
    dt = w->dt;
    return to_f32(hd_reshape(programs[w->program].f(ids), 1));
}

static bool there(const char *device)
{
    hd_device_info info;
    for (int k = 0; k < hd_device_count(); k++)
        if (!hd_device(k, &info) && !strcmp(info.name, device))
            return true;
    return false;
}

START_TEST(rounds_once)
{
    static int32_t zeros[N];
    const char *device = devices[_i];
    hd_array *ids = hd_array_of(zeros, N), *z = NULL;
    for (int k = 0; k < PROGRAMS * 2 && there(device); k++) {
        Which w = { k / 2, dtypes[k % 2] };
        ck_assert_msg(
            !hd_call_n(hd_jit_n(hd_bind(run, w), &(hd_jit_opts){ .device = device }), &z, 1, &ids, 1),
            "%s: %s", programs[w.program].name, hd_error());
        double want = w.dt == HD_F16 ? 3000 : 3008, got = hd_item(z);
        ck_assert_msg(got == want, "%s of %s on %s: %g, not %g", programs[w.program].name,
            hd_dtype_name(w.dt), device, got, want);
        hd_drop(z);
    }
    hd_drop(ids);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("half sums");
    TCase *t = tcase_create("devices");
    tcase_add_loop_test(t, rounds_once, 0, 3);
    tcase_set_timeout(t, 300);
    suite_add_tcase(s, t);
    return suite_run(s);
}
