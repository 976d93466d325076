/*
 * test_exchange.c - the ways that bytes take between shards, and what is under way at once.
 *
 * In:  collectives over devices of one kind and of several, of few bytes and of some chunks.   Out: the bits
 * of vmap; devices of one
 *      context copy from one another and nothing goes through the host; else chunks do, of which a shard
 *      takes the first before the last is there; all shards begin before any ends. All of it is counted,
 *      from the order of events and the number of calls: no test here knows what time is.
 * PoCL is asked for four devices; of what a machine lacks the host takes the place.
 */
#include <stdlib.h>
#include <unistd.h>
#if __has_include(<jansson.h>)
#include <jansson.h>
#endif

#include "suite.h"
#include "api.h"

enum { N = 4, LARGE = 3 << 18, SMALL = 16 };    /* three chunks of f32 */

static char trace[] = "/tmp/heddle-trace-XXXXXX";

static const char *mixed(void)
{
    static char list[100];
    snprintf(list, sizeof list, "%s,host,%s,%s", there("opencl:0") ? "opencl:0" : "host:1",
        there("vulkan:0") ? "vulkan:0" : "host:2", there("opencl:1") ? "opencl:1" : "host:3");
    return list;
}

static const char *alike(void) { return "opencl:0,opencl:1,opencl:2,opencl:3"; }

/* Whole numbers, so that sums are exact in any order. */
static hd_array *rows(int64_t w)
{
    hd_array *a = NULL;
    float *x = malloc(sizeof *x * (size_t)(N * w));
    for (int64_t i = 0; i < N * w; i++)
        x[i] = (float)((i * 7 + i / w) % 1000);
    a = hd_array_new(HD_F32, (hd_ints){ 2, { N, w } }, x, NULL);
    free(x);
    return a;
}

static hd summed(hd x) { return hd_add(hd_psum(x, "i"), x); }
static hd gathered(hd x) { return hd_all_gather(x, "i", 0, false); }
static hd dealt(hd x) { return hd_all_to_all(hd_reshape(x, N, -1), "i", 0, 0, true); }
static hd scattered(hd x) { return hd_psum_scatter(hd_reshape(x, N, -1), "i", 0, false); }
static hd turned(hd x)
{
    static const int some[3][2] = { { 0, 2 }, { 3, 0 }, { 2, 1 } };
    return hd_ppermute(x, "i", some, 3);
}
static hd (*const meets[])(hd) = { summed, gathered, dealt, scattered, turned };
enum { MEETS = sizeof meets / sizeof *meets };

static hd_array *called(hd_fn *f, hd_array *x)
{
    hd_array *y = NULL;
    ck_assert_msg(!hd_call(f, &y, x), "%s", hd_error());
    return y;
}

static hd_fn *over(int k, const char *list) { return hd_pmap(meets[k], .devices = list, .axis_name = "i"); }

static void same(const hd_array *a, const hd_array *b, const char *list, int k)
{
    size_t n = (size_t)hd_array_size(b) * sizeof(float);
    ck_assert_msg(hd_data(a) && hd_data(b) && hd_array_size(a) == hd_array_size(b), "%d over %s: %s", k,
        list, hd_error());
    ck_assert_msg(!memcmp(hd_data(a), hd_data(b), n), "%d over %s: other bits", k, list);
}

START_TEST(equals_vmap)
{
    for (int large = 0; large < 2; large++) {
        hd_array *x = rows(large ? LARGE : SMALL);
        for (int k = 0; k < MEETS; k++) {
            const char *const list[] = { "host,host:1,host:2,host:3", mixed(),
                there("opencl:3") ? alike() : mixed() };
            hd_array *want = called(hd_jit(hd_vmap(meets[k], .axis_name = "i"), .device = "host"), x);
            for (int l = 0; l < 3; l++) {
                hd_array *y = called(over(k, list[l]), x), *again = called(over(k, list[l]), x);
                same(y, want, list[l], k), same(again, y, list[l], k);
                hd_drop(again), hd_drop(y);
            }
            hd_drop(want);
        }
        hd_drop(x);
    }
}
END_TEST

/* How many calls of this kind a function makes. */
static long count(const char *what, hd_fn *f, hd_array *x)
{
    char spec[60];
    snprintf(spec, sizeof spec, "%s:1000000", what);
    fault_set(spec);
    hd_array *y = called(f, x);
    ck_assert(!hd_wait(y));
    long n = fault_calls();
    fault_set(NULL);
    hd_drop(y);
    return n;
}

/* Devices of one context: each part is one copy, and no byte is seen by the host. */
START_TEST(from_device_to_device)
{
    hd_array *x = rows(LARGE), *there4 = there("opencl:3") ? hd_put(x, alike()) : NULL;
    for (int k = 0; k < MEETS && there4; k++) {
        hd_drop(called(over(k, alike()), there4));      /* compiled, and its constants are there */
        /* who sends */
        ck_assert_int_eq(count("opencl:download", over(k, alike()), there4), meets[k] == turned ? N : 0);
        /* zeros, of who gets nothing */
        ck_assert_int_eq(count("opencl:upload", over(k, alike()), there4), meets[k] == turned);
        ck_assert_int_ge(count("opencl:copy", over(k, alike()), there4), meets[k] == turned ? N - 1 : N * N);
    }
    hd_drop(there4), hd_drop(x);
}
END_TEST

/* Each chunk that goes through the host, and not one more. */
START_TEST(in_chunks)
{
    hd_array *x = rows(LARGE);
    if (there("opencl:0") && there("vulkan:0")) {
        hd_fn *f = hd_pmap(gathered, .devices = "opencl:0,host,opencl:0,host", .axis_name = "i");
        hd_array *x4 = hd_put(x, "opencl:0,host,opencl:0,host");
        hd_drop(called(f, x4));
        /* each of two shards gives three chunks to the hosts */
        ck_assert_int_eq(count("opencl:download", f, x4), 2 * 3);
        ck_assert_int_eq(count("opencl:upload", f, x4), 2 * 2);     /* what hosts give needs none */
        ck_assert_int_eq(count("opencl:copy", f, x4), 2 * 2);
        hd_drop(x4);
    }
    hd_drop(x);
}
END_TEST

/* ==================== what lies on devices */

/* How often a device of this kind is asked for something while f runs. */
static long asked(const char *kind, const char *what, void (*f)(void *), void *x)
{
    char spec[60];
    snprintf(spec, sizeof spec, "%s:%s:1000000", kind, what);
    fault_set(spec);
    f(x);
    long n = fault_calls();
    fault_set("opencl:none:1"); /* devices that are opened later are asked, too */
    return n;
}

typedef struct Put {
    hd_array *x;
    const char *to;
    int axis;
    hd_array *y;
} Put;

static void put_there(void *put)
{
    Put *p = put;
    hd_drop(p->y);
    p->y = hd_put(p->x, p->to, .axis = p->axis);
    ck_assert_msg(p->y && !hd_wait(p->y), "%s to %s: %s", hd_array_device(p->x), p->to, hd_error());
}

/* From one layout to another, along any axis, of any dtype: near devices copy, and the host sees nothing. */
START_TEST(moved_directly)
{
    static const struct {
        const char *from, *to;
    } way[] = {
        { "opencl:0,opencl:1,opencl:2,opencl:3", "opencl:3,opencl:1" },
        { "opencl:0,opencl:1", "opencl:3,opencl:2,opencl:1,opencl:0" },
        { "opencl:0", "opencl:1" },
        { "opencl:2", "opencl:0,opencl:1,opencl:2,opencl:3" },
        { "opencl:3,opencl:2", "opencl:0" },
    };
    static const enum hd_dtype dt[] = { HD_F32, HD_I8, HD_I64 };
    unsigned char bytes[4 * 8 * 3 * 8];
    for (int k = 0; k < (int)sizeof bytes; k++)
        bytes[k] = (unsigned char)(7 * k + k / 256);
    for (int w = 0; w < (int)(sizeof way / sizeof *way); w++)
        for (int k = 0; k < 9 && there("opencl:3"); k++) {
            hd_array *cube = hd_array_new(dt[k / 3], (hd_ints){ 4, { 4, 8, 1, 3 } }, bytes, NULL);
            Put first = { cube, way[w].from, k % 2, NULL };
            put_there(&first);
            Put p = { first.y, way[w].to, k % 3 % 2 ? 0 : 1, NULL };
            ck_assert_int_eq(asked("opencl", "download", put_there, &p), 0);
            ck_assert_int_eq(asked("opencl", "upload", put_there, &p), 0);
            ck_assert_msg(asked("opencl", "copy", put_there, &p) >= 1, "%s to %s, %d: not copied",
                way[w].from, way[w].to, k);
            size_t n = (size_t)hd_array_size(cube) * hd_dtype_size(dt[k / 3]);
            ck_assert_msg(hd_data(p.y) && !memcmp(hd_data(p.y), hd_data(cube), n), "%s to %s, axis %d",
                way[w].from, way[w].to, k % 3);
            hd_drop(p.y), hd_drop(first.y), hd_drop(cube);
        }
}
END_TEST

/* Shards of one device, which a mesh of more places has, in another layout. */
typedef struct Dealing {
    hd_array *x;
    const hd_mesh *mesh;
    hd_array *y;
} Dealing;

static void deal_again(void *dealing)
{
    Dealing *d = dealing;
    hd_drop(d->y);
    d->y = hd_shard(d->x, d->mesh, "none, i");
    ck_assert_msg(d->y && !hd_wait(d->y), "%s", hd_error());
}

START_TEST(dealt_again_on_one_device)
{
    static const char *const kind[] = { "opencl", "vulkan", "host" };
    for (int k = 0; k < 3; k++) {
        char name[20];
        snprintf(name, sizeof name, "%s:0", kind[k]);
        if (!there(k < 2 ? name : "host"))
            continue;
        const hd_mesh *mesh = hd_mesh_new("i: 4", k < 2 ? name : "host");
        hd_array *x = rows(SMALL);
        Dealing d = { hd_shard(x, mesh, "i"), mesh, NULL };
        deal_again(&d);
        ck_assert_int_eq(asked(kind[k], "download", deal_again, &d), 0);
        ck_assert_int_eq(asked(kind[k], "upload", deal_again, &d), 0);
        long copies = asked(kind[k], "copy", deal_again, &d);
        ck_assert_msg(copies == N * N, "%s: %ld copies", name, copies);
        same(d.y, x, kind[k], 0);
        hd_drop(d.x), hd_drop(d.y), hd_drop(x);
    }
}
END_TEST

/* Of a map whose results the next one takes, nothing moves: over devices of one kind and of several. */
static hd grown(hd x) { return hd_add(hd_mul(x, x), hd_sin(x)); }
static hd shrunk(hd x) { return hd_sub(x, hd_mean(x)); }

typedef struct Chain {
    const char *list;
    hd_array *x, *y;
} Chain;

static void chained(void *chain)
{
    Chain *c = chain;
    hd_array *half = called(hd_pmap(grown, .devices = c->list), c->x);
    hd_drop(c->y);
    c->y = called(hd_pmap(shrunk, .devices = c->list), half);
    ck_assert(!hd_wait(c->y));
    hd_drop(half);
}

START_TEST(maps_chain)
{
    static const char *const kind[] = { "opencl", "vulkan", "host" },
                             *const what[] = { "upload", "download", "copy", "exchange" };
    hd_array *x = rows(SMALL);
    for (int l = 0; l < 2; l++) {
        const char *list = l && there("opencl:3") ? alike() : mixed();
        Chain c = { list, hd_put(x, list), NULL };
        chained(&c); /* compiled, and what is constant is there */
        for (int k = 0; k < 3; k++) {
            for (int w = 0; w < 4; w++)
                ck_assert_int_eq(asked(kind[k], what[w], chained, &c), 0);
            if (strstr(list, kind[k]))
                ck_assert_int_ge(asked(kind[k], "launch", chained, &c), 2);
        }
        ck_assert_str_eq(hd_array_device(c.y), list);
        hd_drop(c.x), hd_drop(c.y);
    }
    hd_drop(x);
}
END_TEST

/* In parts, of every dtype and size, also where chunks do not come out even. */
static hd largest(hd x) { return hd_pmax(x, "i"); }
static hd total(hd x) { return hd_psum(x, "i"); }

/* Some of 1, 2, 0.5, 3. */
static void put_number(enum hd_dtype dt, unsigned char *bytes, size_t k)
{
    static const uint16_t f16[] = { 0x3c00, 0x4000, 0x3800, 0x4200 },
                          bf16[] = { 0x3f80, 0x4000, 0x3f00, 0x4040 };
    static const float f32[] = { 1, 2, .5, 3 };
    static const double f64[] = { 1, 2, .5, 3 };
    const size_t which = (k + k / 7) % 4, n = hd_dtype_size(dt);
    const int64_t whole = dt == HD_BOOL ? which == 0 : (int64_t)which;
    memcpy(bytes + k * n,
        dt == HD_F16      ? (const void *)&f16[which] :
            dt == HD_BF16 ? (const void *)&bf16[which] :
            dt == HD_F32  ? (const void *)&f32[which] :
            dt == HD_F64  ? (const void *)&f64[which] :
                            (const void *)&whole,
        n);
}

START_TEST(parts_of_any_size)
{
    static const enum hd_dtype dt[] = { HD_F32, HD_F16, HD_BF16, HD_I8, HD_U16, HD_I64, HD_F64, HD_BOOL };
    static const int64_t size[] = { 1, 3, 4, 65, (1 << 18) + 13 };
    static unsigned char bytes[N * ((1 << 18) + 13) * 8];
    hd_fn *const f[] = { hd_pmap(total, .devices = mixed(), .axis_name = "i"),
        hd_pmap(largest, .devices = mixed(), .axis_name = "i") };
    hd_fn *const want[] = { hd_jit(hd_vmap(total, .axis_name = "i"), .device = "host"),
        hd_jit(hd_vmap(largest, .axis_name = "i"), .device = "host") };
    for (int d = 0; d < 8; d++)
        for (int s = 0; s < (dt[d] == HD_F32 ? 5 : 4); s++)
            for (int k = dt[d] == HD_BOOL; k < 2; k++) {
                for (size_t b = 0; b < (size_t)(N * size[s]); b++)
                    put_number(dt[d], bytes, b);
                hd_array *x = hd_array_new(dt[d], (hd_ints){ 2, { N, size[s] } }, bytes, NULL);
                hd_array *a = called(f[k], x), *b = called(want[k], x);
                ck_assert_msg(
                    !memcmp(hd_data(a), hd_data(b), (size_t)hd_array_size(b) * hd_dtype_size(dt[d])),
                    "%d of dtype %d, %lld a shard", k, dt[d], (long long)size[s]);
                hd_drop(a), hd_drop(b), hd_drop(x);
            }
}
END_TEST

/* Gathered or in parts: the same bits, whatever is cheaper here; which that is, is measured once. */
static hd rounded(hd x) { return hd_psum(hd_sin(x), "i"); }

static hd_array *on_path(int64_t crossing, hd_array *x, const char *list)
{
    hd_array *y = NULL;
    hd_fn *f = hd_pmap(rounded, .devices = list, .axis_name = "i");
    hd_forget(f), f = hd_pmap(rounded, .devices = list, .axis_name = "i");
    crossing_set(crossing);
    ck_assert_msg(!hd_call(f, &y, x), "%s", hd_error());
    return y;
}

START_TEST(either_path)
{
    const char *list = there("opencl:3") ? alike() : "host,host:1,host:2,host:3";
    const char *spec = there("opencl:3") ? "opencl:exchange:1000000" : "host:exchange:1000000";
    hd_array *x = rows(1 << 12);                /* of a size for which it matters */
    fault_set(spec);
    hd_array *direct = on_path(INT64_MAX, x, list);
    ck_assert_int_eq(fault_calls(), N);
    fault_set(spec);
    hd_array *parts = on_path(1, x, list);
    /* near ones deal out, and gather; others do both in one */
    ck_assert_int_eq(fault_calls(), there("opencl:3") ? 2 * N : N);
    hd_array *measured = on_path(0, x, list);
    same(parts, direct, list, 0), same(measured, direct, list, 0);
    fault_set(spec);
    hd_drop(on_path(0, x, list));
    ck_assert_int_le(fault_calls(), 2 * N);     /* the call's own, and none that measures */
    fault_set(NULL);
    hd_drop(direct), hd_drop(parts), hd_drop(measured), hd_drop(x);
}
END_TEST

/* One call after the other is refused: chunks that are moved, and, of a sum in parts, those that are
 * reduced. */
static void refused(int k, int64_t size, const char *const *what, int n_what)
{
    hd_array *x = rows(size), *y;
    hd_fn *f = over(k, mixed());
    hd_array *want = called(f, x);
    for (int w = 0; w < n_what; w++)
        for (long n = 1, most = count(what[w], f, x); n <= most; n++) {
            char spec[40], kind[20];
            snprintf(spec, sizeof spec, "%s:%ld", what[w], n);
            snprintf(kind, sizeof kind, "%.*s", (int)strcspn(spec, ":"), spec);
            fault_set(spec);
            int e = hd_call(f, &y, x);
            fault_set(NULL);
            ck_assert_msg(e && strstr(hd_error(), "test_exchange.c:") && strstr(hd_error(), kind), "%s: %s",
                spec, hd_error());
            y = called(f, x);
            same(y, want, spec, k);
            hd_drop(y);
        }
    hd_drop(want), hd_drop(x);
}

START_TEST(refused_chunks)
{
    static const char *const moved[] = { "opencl:download", "opencl:upload", "vulkan:upload",
        "opencl:copy" };
    static const char *const all[] = { "opencl:download", "opencl:upload", "vulkan:upload", "opencl:copy",
        "opencl:launch", "vulkan:launch", "host:launch", "opencl:alloc", "opencl:exchange" };
    refused(1, LARGE, moved, 4);
    refused(0, 1 << 17, all, 9);                /* two chunks */
}
END_TEST

/* ==================== what is at once, from the file of events */

#ifdef JANSSON_VERSION

/* Events as they stand in the file, which is whole while the program runs. */
static json_t *events(void)
{
    json_error_t e;
    json_t *all = json_load_file(trace, 0, &e);
    ck_assert_msg(json_is_array(all), "line %d of the file of events: %s", e.line, e.text);
    return all;
}

static const char *text_of(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}
static int number_of(const json_t *o, const char *key)
{
    return (int)json_integer_value(json_object_get(o, key));
}

/* Spans nest in each lane; ends have begun. Gives the most lanes that were in a span of this name at
 * once. */
static int most_at_once(json_t *all, size_t from, const char *name)
{
    int depth[2 * N + 2][N + 1] = { { 0 } }, inside = 0, most = 0;
    double before = 0;
    for (size_t i = from; i < json_array_size(all); i++) {
        const json_t *o = json_array_get(all, i);
        const char *ph = text_of(o, "ph");
        if (*ph == 'M')
            continue;
        int tid = number_of(o, "tid"), pid = number_of(o, "pid"), way = *ph == 'B' ? 1 : -1;
        double ts = json_number_value(json_object_get(o, "ts"));
        ck_assert(tid >= 0 && tid <= N && pid > 0 && pid <= 2 * N + 1 && (*ph == 'B' || *ph == 'E') &&
            ts >= before);
        before = ts;
        depth[pid][tid] += way;
        ck_assert_int_ge(depth[pid][tid], 0);
        if (!strcmp(text_of(o, "name"), name))
            inside += way;
        most = inside > most ? inside : most;
    }
    for (int pid = 0; pid < 2 * N + 2; pid++)
        for (int tid = 0; tid <= N; tid++)
            ck_assert_int_eq(depth[pid][tid], 0);
    return most;
}

static int lanes_named(json_t *all, const char *what, const char *name)
{
    int n = 0;
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *o = json_array_get(all, i);
        n += *text_of(o, "ph") == 'M' && !strcmp(text_of(o, "name"), what) &&
            !strcmp(text_of(json_object_get(o, "args"), "name"), name);
    }
    return n;
}

/* While a shard reduces a chunk, the next comes to it, and the one before goes to others: in each reduction
 * but the first and the last of a shard both. Each has as many as there are chunks. */
START_TEST(reductions_overlap)
{
    hd_array *x = rows(LARGE);
    const char *list = there("opencl:0") ? "opencl:0,host,host,host" : NULL;
    const int chunks = LARGE * (int)sizeof(float) / (512 << 10) + 1;
    if (list) {
        hd_fn *f = hd_pmap(summed, .devices = list, .axis_name = "i");
        hd_drop(called(f, x));
        json_t *all = events();
        enum { LANES = (2 * N + 2) * (N + 1) };
        int reduced[LANES] = { 0 }, inside[LANES] = { 0 }, beside = 0, lanes = 0;
        for (size_t i = 0; i < json_array_size(all); i++) {
            const json_t *o = json_array_get(all, i);
            const int lane = number_of(o, "pid") * (N + 1) + number_of(o, "tid");
            if (*text_of(o, "ph") == 'M')
                continue;
            if (!strcmp(text_of(o, "name"), "reduce")) {
                inside[lane] = *text_of(o, "ph") == 'B';
                reduced[lane] += *text_of(o, "ph") == 'B';
            } else if (inside[lane] && *text_of(o, "ph") == 'B')
                beside += strstr(text_of(o, "name"), "the host") || strstr(text_of(o, "name"), "a device");
        }
        for (int k = 0; k < LANES; k++) {
            lanes += reduced[k] > 0;
            ck_assert_msg(!reduced[k] || reduced[k] == chunks, "%d of %d chunks", reduced[k], chunks);
        }
        ck_assert_int_eq(lanes, N);
        /* of the one before from all, by all; and the next, from the device to the host and to the others */
        ck_assert_int_eq(beside, N * N * (chunks - 1) + (chunks - 1) + (N - 1) * (chunks - 1));
        most_at_once(all, 0, "");
        json_decref(all);
    }
    hd_drop(x);
}
END_TEST

/* Of two exchanges: each shard begins before any ends. */
static hd twice(hd x) { return hd_psum(hd_mul(x, hd_psum(x, "i")), "i"); }

START_TEST(overlap)
{
    hd_array *x = rows(SMALL);
    hd_fn *f = hd_pmap(twice, .devices = "host,host:1,host:2,host:3", .axis_name = "i");
    hd_drop(called(f, x));
    json_t *all = events();
    size_t before = json_array_size(all);
    json_decref(all);
    hd_drop(called(f, x));
    all = events();
    ck_assert_int_eq(most_at_once(all, before, "twice"), N);
    ck_assert_int_eq(json_array_size(all) - before, N * (2 + 2 * 2));
    ck_assert_int_eq(lanes_named(all, "process_name", "host:2"), 1);
    ck_assert_int_eq(lanes_named(all, "thread_name", "shard 3"), 1);
    json_decref(all);
    hd_drop(x);
}
END_TEST

/* The last chunk of a shard comes to the host when the others have taken its first. */
START_TEST(chunks_overlap)
{
    hd_array *x = rows(LARGE);
    const char *list = there("opencl:0") ? "opencl:0,host,host,host" : NULL;
    if (list) {
        hd_fn *f = hd_pmap(gathered, .devices = list, .axis_name = "i");
        hd_drop(called(f, x));
        json_t *all = events();
        int given = 0, taken = 0;
        for (size_t i = 0; i < json_array_size(all); i++) {
            const json_t *o = json_array_get(all, i);
            given += *text_of(o, "ph") == 'B' && !strcmp(text_of(o, "name"), "to the host");
            taken += *text_of(o, "ph") == 'E' && !strcmp(text_of(o, "name"), "from the host");
            if (given == 3)
                ck_assert_int_ge(taken, 3);     /* by three hosts */
        }
        ck_assert_int_eq(given, 3);
        ck_assert_int_eq(taken, 3 * 3);
        most_at_once(all, 0, "");
        json_decref(all);
    }
    hd_drop(x);
}
END_TEST

#endif

int main(void)
{
    int made = mkstemp(trace);
    if (made >= 0)
        close(made);
    setenv("HEDDLE_TIMELINE", trace, 1);
    fault_set("opencl:open:1000000");           /* devices are opened so that their calls can count */
    setenv("POCL_DEVICES", "pthread pthread pthread pthread", 1);
    setenv("HEDDLE_HOST_DEVICES", "4", 1);
    Suite *s = suite_create("exchange");
    TCase *c = suite_case(s);
#ifdef JANSSON_VERSION
    tcase_add_test(c, overlap);
    tcase_add_test(c, chunks_overlap);
    tcase_add_test(c, reductions_overlap);
#endif
    tcase_add_test(c, equals_vmap);
    tcase_add_test(c, from_device_to_device);
    tcase_add_test(c, in_chunks);
    tcase_add_test(c, moved_directly);
    tcase_add_test(c, dealt_again_on_one_device);
    tcase_add_test(c, maps_chain);
    tcase_add_test(c, parts_of_any_size);
    tcase_add_test(c, either_path);
    tcase_add_test(c, refused_chunks);
    int failed = suite_run(s);
    unlink(trace);
    return failed;
}
