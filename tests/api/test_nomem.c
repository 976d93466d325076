/*
 * test_nomem.c - host memory ends: each allocation of ours fails once, and all of them from each one on.
 *
 * In:  programs traced, lifted, compiled, called, printed, parsed, saved and loaded.   Out: a result or
 * HD_ENOMEM; nothing of the
 * caller's is lost, nothing leaks, and the same program works when memory is back.
 * HEDDLE_TEST_EVERY=K looks at every K-th allocation.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "heddle.h"

#include "backend.h"
#include "failing.h"
#include "suite_run.h"

/* ==================== what is done; each gives a code, and is right when it is 0 */

static const char *device;
static hd_array *x, *m; /* f32[8] of 0 .. 7; f32[8,8] of eighths */
static int turn; /* a function for each, so that it is traced again */

/* Check allocates too. */
static void must(bool right, const char *what)
{
    if (!right)
        atomic_store(&left, -1);
    if (!right)
        ck_abort_msg("%s", what);
}

static bool is(hd_array *y, int i, double v)
{
    float b[64];
    return y && !hd_read_n(y, HD_F32, b, (size_t)hd_array_size(y)) && b[i] > v - 1e-3 && b[i] < v + 1e-3;
}

static hd loss(hd w, hd v) { return hd_sum(hd_square(hd_sub(hd_dot(w, v), v))); }
static hd gradient(hd w, hd v, const void *n)
{
    hd g = hd_apply(hd_grad(loss), w, v);
    return hd_add(g, hd_mul(hd_c(0), hd_c(*(const int *)n)));
}

static int call_gradient(void)
{
    hd_array *y = NULL;
    int e = hd_call(hd_jit(hd_bind(gradient, turn), .device = device), &y, m, x);
    must(e ? !y : y != NULL, "a result where there was an error");
    e = e ? e : hd_wait(y);
    if (!e && !is(y, 1, 2 * (28. / 8 - 0))) /* 2 (w v - v)_0 v_1 */
        e = error_pending() ? (int)error_code() : -1;
    hd_drop(y);
    return e;
}

static hd step(hd c, hd v) { return hd_tuple(hd_add(hd_mul(c, hd_c(.5)), v), c); }
static hd scanned(hd v, const void *n)
{
    hd t = hd_scan(step, hd_c(*(const int *)n * 0.), v);
    return hd_dict({ "last", hd_nth(t, 0) }, { "all", hd_nth(t, 1) });
}

static int call_scan(void)
{
    hd_array *y = NULL, *a[] = { m };
    int e = hd_call_n(hd_jit(hd_vmap(hd_bind(scanned, turn)), .device = device), &y, 1, a, 1);
    e = e ? e : hd_wait(hd_array_get(y, "all"));
    if (!e && !is(hd_array_get(y, "all"), 1, .125))
        e = error_pending() ? (int)error_code() : -1;
    hd_drop(y);
    return e;
}

/* Seen from inside: prints, a check that holds, a function on the host. */
static void unheard(const char *line, void *user) { (void)line, (void)user; }
static int on_host(hd_array *const *args, int n, hd_array **out, int nout, void *user)
{
    (void)n, (void)nout, (void)user;
    out[0] = hd_keep(args[0]);
    return 0;
}
static hd seen_step(hd c, hd v)
{
    hd_debug_print("{} {}", c, v);
    hd_check(hd_lt(v, hd_c(8)), "v is small");
    return hd_tuple(hd_add(c, hd_callback(on_host, NULL, v, v)), c);
}
static hd seen(hd v, const void *n) { return hd_nth(hd_scan(seen_step, hd_c(*(const int *)n * 0.), v), 1); }

static int call_seen(void)
{
    hd_array *y = NULL, *a[] = { x };
    hd_debug_print_to(unheard, NULL);
    int e = hd_call_n(hd_jit(hd_bind(seen, turn), .device = device), &y, 1, a, 1);
    e = e ? e : hd_wait(y);
    if (!e && !is(y, 3, 3)) /* 0 + 1 + 2 */
        e = error_pending() ? (int)error_code() : -1;
    hd_drop(y);
    return e;
}

static hd doubled(hd v, const void *n) { return hd_add(v, hd_add(v, hd_c(*(const int *)n * 0.))); }

static int call_donated(void)
{
    float b[4] = { 1, 2, 3, 4 };
    hd_array *v = hd_array_of(b, 4), *y = NULL;
    if (!v)
        return hd_error_code();
    int e = hd_call(hd_jit(hd_bind(doubled, turn), .device = device, .donate = HD_INTS(0)), &y, v);
    if (e) { /* still ours, and readable */
        must(!y, "a result where there was an error");
        atomic_store(&left, -1);
        must(is(v, 2, 3), "a donated argument is lost");
        hd_drop(v);
        return e;
    }
    e = is(y, 2, 6) ? 0 : error_pending() ? (int)error_code() : -1;
    hd_drop(y);
    return e;
}

static int print_and_parse(void)
{
    static const char text[] =
        "fn f(x: f32[8]) -> f32[8] {\n y: f32[8] = sin x\n z: f32[8] = mul y y\n ret z\n}\n";
    FILE *null = fopen("/dev/null", "w");
    hd_array *y = NULL;
    hd_fn *f = hd_jit(hd_parse(text, "text"), .device = "host");
    int e = hd_call(f, &y, x);
    e = e ? e : hd_print(null, y);
    e = e ? e : hd_print_graph(null, hd_bind(scanned, turn), x);
    hd_drop(y);
    fclose(null);
    return e;
}

static int trees(void)
{
    float b[4] = { 1, 2, 3, 4 };
    hd_array *t = hd_array_dict(
        { "b", hd_array_of(b, 4) }, { "a", hd_array_tuple(hd_array_of(b, 2), hd_array_key(7)) });
    hd_array *u = hd_put(t, device);
    int e = u && t ? 0 : hd_error_code() ? hd_error_code() : -1;
    hd_drop(t), hd_drop(u);
    return e;
}

static int save_and_load(void)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/heddle-nomem-%d.npz", (int)getpid());
    hd_array *t = hd_array_dict({ "m", hd_keep(m) }, { "t", hd_array_tuple(hd_keep(x)) }), *u = NULL;
    int e = t ? hd_save(path, t) : hd_error_code();
    if (!e && !(u = hd_load(path)))
        e = hd_error_code() ? hd_error_code() : -1;
    if (!e && !is(hd_array_nth(hd_array_get(u, "t"), 0), 3, 3))
        e = error_pending() ? (int)error_code() : -1;
    hd_drop(t), hd_drop(u);
    unlink(path);
    return e;
}

static hd drawn(hd key, const void *n)
{
    return hd_add(hd_random_normal(key, HD_F32, 8), hd_c(*(const int *)n * 0.));
}

static int call_random(void)
{
    hd_array *k = hd_array_key(3), *y = NULL;
    int e = hd_call(hd_jit(hd_bind(drawn, turn), .device = device), &y, k);
    e = e ? e : hd_wait(y);
    hd_drop(k), hd_drop(y);
    return e;
}

static hd key_step(hd k, hd x)
{
    hd s = hd_random_split(k, 2);
    return hd_tuple(hd_index(s, 0, 0), hd_mul(hd_random_normal(hd_index(s, 0, 1), HD_F32), x));
}

static hd key_steps(hd keys, const void *n)
{
    hd k = hd_index(hd_where(hd_lit(bool, (2), true, false), keys, hd_flip(keys, 0)), 0, 1);
    hd y = hd_scan(key_step, k, hd_mul(hd_iota(HD_F32, 0, 3), hd_c(1 + *(const int *)n * 0.)));
    return hd_tuple(hd_stack(0, hd_nth(y, 0), k), hd_nth(y, 1));
}

static int call_keys(void)
{
    const uint32_t words[] = { 1, 2, 3, 4 };
    hd_array *k = hd_array_new(HD_KEY, (hd_ints){ 1, { 2 } }, words, NULL), *y = NULL;
    int e = hd_call(hd_jit(hd_bind(key_steps, turn), .device = device), &y, k);
    e = e ? e : hd_wait(y);
    hd_drop(k), hd_drop(y);
    return e;
}

static hd product(hd a, hd b) { return hd_matmul(a, b); }
static hd affine(hd a, hd b)
{
    return hd_tuple(
        hd_mul(hd_nth(a, 0), hd_nth(b, 0)), hd_add(hd_mul(hd_nth(a, 1), hd_nth(b, 0)), hd_nth(b, 1)));
}
static hd running(hd v, const void *n)
{
    hd wide = hd_broadcast_to(hd_mul(v, hd_c(*(const int *)n * 0.)), 5, 9, 9, 8);
    hd y = hd_associative_scan(product, hd_sum(wide, -1), .reverse = true);
    hd z = hd_associative_scan(affine, hd_tuple(v, hd_tanh(v)));
    return hd_tuple(hd_sum(y), z, hd_scan(step, hd_c(0), v, .unroll = 3));
}

static int shape_of_running(void)
{
    hd_array *y[2] = { NULL, NULL }, *z = NULL;
    int e = hd_eval_shape(hd_linearize(hd_bind(running, turn)), y, x);
    e = e ? e : hd_eval_shape(hd_linearized(hd_bind(running, turn)), &z, y[1], x);
    hd_drop(y[0]), hd_drop(y[1]), hd_drop(z);
    return e;
}

static hd pulled(hd c, hd nothing)
{
    (void)nothing;
    return hd_tuple(hd_add(hd_mul(c, hd_c(.5)), hd_psum(c, "i")), hd_c(0));
}
static hd meeting(hd v, const void *n)
{
    return hd_nth(hd_scan(pulled, hd_add(v, hd_c(*(const int *)n * 0.)), HD_NIL, .length = 2), 0);
}

/* Shards in threads of their own, which exchange something; then the result is put together. */
static int call_shards(void)
{
    hd_array *y = NULL, *z = NULL;
    int e = hd_call(hd_pmap(hd_bind(meeting, turn), .axis_name = "i", .devices = "host, host"), &y, x);
    if (!e && !(z = hd_put(y, "host")))
        e = hd_error_code() ? hd_error_code() : -1;
    hd_drop(y), hd_drop(z);
    return e;
}

static hd grid_inner(hd v) { return hd_add(v, hd_psum(hd_psum(hd_sin(v), "j"), "i")); }
static hd grid_outer(hd v) { return hd_apply(hd_pmap(grid_inner, .axis_name = "j"), v); }
static hd gridded(hd v, const void *n)
{
    hd_fn *f = hd_pmap(grid_outer, .axis_name = "i", .devices = "host, host:1, host:2, host:3");
    return hd_apply(f, hd_reshape(hd_add(v, hd_c(*(const int *)n * 0.)), 2, 2, 2));
}

/* Maps in maps: a grid of devices. */
static int call_grid(void)
{
    hd_array *y = NULL;
    int e = hd_call(HD_FN(hd_bind(gridded, turn)), &y, x);
    e = e || hd_data(y) ? e : hd_error_code();
    hd_drop(y);
    return e;
}

/* Places that go to devices by what they cost. */
static hd wide(hd v, const void *n) { return hd_add(hd_sin(v), hd_c(*(const int *)n * 0.)); }
static int call_balanced(void)
{
    hd_array *y = NULL;
    hd_fn *f = hd_pmap(hd_bind(wide, turn), .devices = "host, host:1", .balance = true);
    int e = 0;
    for (int k = 0; k < 3 && !e; k++) { /* measured, moved, run where they are */
        setenv("HEDDLE_PACE", k % 2 ? "host=3" : "host:1=3", 1);
        e = hd_call(f, &y, x);
        e = e || hd_data(y) ? e : hd_error_code();
        hd_drop(y);
        y = NULL;
    }
    return e;
}

/* Arrays over a mesh, and what is put in for them. */
static hd mesh_sum(hd a, hd b, const void *n)
{
    hd y = hd_constrain(hd_matmul(hd_tanh(hd_matmul(a, b)), a), "data, model");
    return hd_sum(hd_mul(y, hd_c(*(const int *)n * 0. + 1)));
}
static hd mesh_gradient(hd a, hd b, const void *n)
{
    return hd_apply(hd_grad(hd_bind(mesh_sum, *(const int *)n)), a, b);
}
static int call_mesh(void)
{
    const hd_mesh *mesh = hd_mesh_new("data: 2, model: 2", "host, host:1, host:2, host:3");
    hd_array *a = mesh ? hd_shard(m, mesh, "data") : NULL, *y = NULL, *z = NULL;
    hd_array *b = a ? hd_shard(m, mesh, "none, model") : NULL;
    int e = b ? hd_call(hd_bind(mesh_gradient, turn), &y, a, b) : hd_error_code();
    if (!e && !(z = hd_shard(y, mesh, "model, data")))
        e = hd_error_code();
    e = e || hd_data(z) ? e : hd_error_code();
    hd_drop(a), hd_drop(b), hd_drop(y), hd_drop(z);
    return e;
}

static hd own(hd k, hd v) { return hd_mul(k, hd_sin(v)); }
static hd own_jvp(hd k, hd v, hd dv) { return hd_tuple(own(k, v), hd_mul(hd_mul(k, hd_cos(v)), dv)); }
static hd own_fwd(hd v) { return hd_tuple(hd_sin(v), hd_tuple(hd_cos(v), v)); }
static hd own_bwd(hd saved, hd dy) { return hd_mul(dy, hd_nth(saved, 0)); }
static hd own_lanes(hd v) { return hd_sin(v); }
static hd own_step(hd c, hd v)
{
    return hd_tuple(hd_add(c, hd_apply(hd_custom_vjp(hd_sin, own_fwd, own_bwd), v)), HD_NIL);
}
static hd own_row(hd k, hd v)
{
    return hd_apply(hd_custom_jvp(hd_partial(own, k), hd_partial(own_jvp, k)), v);
}
static hd own_sum(hd v) { return hd_psum(hd_apply(hd_custom_vjp(hd_sin, own_fwd, own_bwd), v), "i"); }
static hd rules(hd v, const void *n)
{
    hd k = hd_c(*(const int *)n * 0. + 1), y = hd_sum(hd_nth(hd_scan(own_step, hd_c(0), v), 0));
    hd z =
        hd_apply(hd_vmap(own_row, .in_axes = { HD_NONE, 0 }), hd_mul(k, hd_stop_gradient(hd_at(v, 0))), v);
    hd w = hd_apply(hd_vmap(hd_custom_vmap(hd_sin, own_lanes)), hd_mul(v, k));
    return hd_add(y, hd_sum(hd_add(hd_add(z, w), hd_apply(hd_vmap(own_sum, .axis_name = "i"), v))));
}

static int shape_of_rules(void)
{
    hd_array *y = NULL;
    hd_forget(own_fwd); /* kept graphs that ask it go too */
    int e = hd_eval_shape(hd_vmap(hd_grad(hd_bind(rules, turn))), &y, m);
    hd_drop(y);
    return e;
}

static const struct {
    const char *name;
    int (*does)(void);
} acts[] = {
    { "gradient", call_gradient },
    { "scan", call_scan },
    { "donated", call_donated },
    { "print and parse", print_and_parse },
    { "trees", trees },
    { "save and load", save_and_load },
    { "random", call_random },
    { "keys", call_keys },
    { "running", shape_of_running },
    { "shards", call_shards },
    { "grid", call_grid },
    { "balance", call_balanced },
    { "mesh", call_mesh },
    { "rules", shape_of_rules },
    { "seen", call_seen },
};
enum { ACTS = sizeof acts / sizeof *acts };

/* ==================== the sweep */

static void sweep(int act, bool all, int every)
{
    int (*does)(void) = acts[act].does;
    turn = 0;
    /* what is made once is made */
    ck_assert_msg(does() == 0, "%s: %s", acts[act].name, hd_error());
    int64_t live = hd_live();
    for (long n = 0, whole = 0; !whole; n += every) {
        turn++;
        happened = false;
        lasting = all;
        atomic_store(&crumbs, all && turn % 2 ? 16 : 0);
        atomic_store(&left, n);
        int e = does();
        must(!e || !error_pending() || *hd_error(), "an error without a message");
        atomic_store(&left, -1);
        atomic_store(&crumbs, 0);
        whole = !happened;
        ck_assert_msg(e == 0 || e == HD_ENOMEM, "%s on %s, allocation %ld: code %d, %s", acts[act].name,
            device, n, e, hd_error());
        ck_assert_msg(hd_live() == live, "%s on %s, allocation %ld: %d arrays left", acts[act].name, device,
            n, (int)(hd_live() - live));
        e = n % (8 * every) ? 0 : does();
        ck_assert_msg(
            e == 0, "%s on %s, after allocation %ld: code %d, %s", acts[act].name, device, n, e, hd_error());
    }
}

static void on(const char *name, int i, int every)
{
    const char *k = getenv("HEDDLE_TEST_EVERY");
    float b[64];
    device = name;
    for (int j = 0; j < 64; j++)
        b[j] = j < 8 ? (float)j : 0;
    x = hd_array_of(b, 8);
    for (int j = 0; j < 64; j++)
        b[j] = .125f;
    m = hd_array_of(b, 8, 8);
    sweep(i / 2, i % 2, k ? atoi(k) : every);
    hd_drop(x), hd_drop(m);
    ck_assert_int_eq(hd_live(), 0);
}

static bool have(const char *name)
{
    bool is = device_find(name) != NULL;
    error_clear();
    return is;
}

/* The compiler's own memory ends: what it asks for is there, of any size, and E_NOMEM is recorded. */
START_TEST(test_arena)
{
    Arena *a = arena_new(), *before = arena_use(a);
    lasting = true;
    atomic_store(&left, 0);
    char *p = arena_alloc(100 << 20), *q = arena_alloc(16);
    Text t = { 0 };
    char *none = text_take(&t);
    const char *name = intern("a name that nobody had before");
    atomic_store(&left, -1);
    ck_assert(p && q && p[(100 << 20) - 1] == 0 && q[15] == 0 && !none && *name == 'a');
    p[0] = p[(100 << 20) - 1] = q[0] = 1;
    ck_assert_int_eq(error_code(), E_NOMEM);
    arena_use(before);
    arena_drop(a);
    error_clear();
}
END_TEST

START_TEST(test_host) { on("host", _i, 3); }
END_TEST
START_TEST(test_opencl)
{
    if (have("opencl:0"))
        on("opencl:0", _i, 97);
}
END_TEST
START_TEST(test_vulkan)
{
    if (have("vulkan:0"))
        on("vulkan:0", _i, 97);
}
END_TEST

int main(void)
{
    setenv("HEDDLE_HOST_DEVICES", "4", 1);
    Suite *s = suite_create("nomem");
    TCase *c = tcase_create("nomem");
    tcase_set_timeout(c, 600);
    tcase_add_test(c, test_arena);
    tcase_add_loop_test(c, test_host, 0, 2 * ACTS);
    tcase_add_loop_test(c, test_opencl, 0, 2 * ACTS);
    tcase_add_loop_test(c, test_vulkan, 0, 2 * ACTS);
    suite_add_tcase(s, c);
    return suite_run(s);
}
