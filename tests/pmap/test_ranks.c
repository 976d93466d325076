/*
 * test_ranks.c - what is over the processes of one job, and is the same in one process alone: places of a
 * map go to ranks by what they cost there, in all ranks alike; lists of devices that cannot be meant are
 * refused; whatever call to a device fails in one of them fails in all, and the next one works; shards
 * compute while messages are on their way. Run by ranks.sh on several ranks, too.
 */
#include <math.h>
#include <unistd.h>

#include "backend.h"
#include "fault.h"
#include "suite.h"

enum { PLACES = 12, ROWS = 2 };

/* ==================== balance */

static int here; /* places that this process has run */

static int counted(hd_array *const *args, int n, hd_array **out, int nout, void *user)
{
    (void)n, (void)nout, (void)user;
    here++;
    out[0] = hd_keep(args[0]);
    return 0;
}

static hd row(hd x) { return hd_add(hd_tanh(x), hd_sum(x)); }
static hd rows(hd x) { return hd_apply(hd_vmap(row), hd_callback(counted, NULL, x, x)); }
static hd one(hd x) { return hd_psum(x, "i"); }

/* What each rank has, of four at most: an argument is taken to be the same in all, but a rank
 * gives its own shard what it has itself. */
static void of_ranks(int mine, int *n)
{
    float own[4] = { 0 };
    own[hd_rank()] = (float)mine;
    for (int r = 0; r < hd_ranks(); r++) {
        char list[20];
        snprintf(list, sizeof list, "%d/host", r);
        hd_array *x = hd_array_new(HD_F32, (hd_ints){ 2, { 1, 1 } }, &own[r], NULL), *y = NULL;
        ck_assert_msg(!hd_call(hd_pmap(one, .devices = list, .axis_name = "i"), &y, x), "%s", hd_error());
        n[r] = (int)hd_item(y);
        hd_drop(x), hd_drop(y);
    }
}

/* Costs are said, not measured, so no clock is asked. */
START_TEST(balance)
{
    static const struct {
        const char *pace;
        int first, second;
    } call[] = {
        { "1/host=3, 0/host:1=3", 6, 6 }, /* nothing is known */
        { "1/host=3, 0/host:1=3", 9, 3 },
        { "0/host=5", 9, 3 }, /* it has changed, and is noticed by this call */
        { "0/host=5", 2, 10 }, { "0/host=1000", 2, 10 },
        { "0/host=1000", 1, 11 }, /* one stays, or nobody would know */
    };
    float v[PLACES * ROWS * 2];
    for (int k = 0; k < PLACES * ROWS * 2; k++)
        v[k] = (float)(k % 7) - 3;
    hd_array *x = hd_array_new(HD_F32, (hd_ints){ 3, { PLACES, ROWS, 2 } }, v, NULL), *want, *got;
    ck_assert_msg(!hd_call(hd_jit(hd_vmap(rows), .device = "host"), &want, x), "%s", hd_error());
    const char *list = hd_ranks() > 1 ? "0/host,1/host" : "0/host,0/host:1";
    hd_fn *f = hd_pmap(rows, .devices = list, .balance = true);
    for (int k = 0; k < (int)(sizeof call / sizeof *call); k++) {
        int n[4] = { 0 };
        setenv("HEDDLE_PACE", call[k].pace, 1);
        here = 0;
        ck_assert_msg(!hd_call(f, &got, x) && hd_data(got), "%s", hd_error());
        ck_assert_msg(!memcmp(hd_data(got), hd_data(want), sizeof v), "call %d: other bits", k);
        hd_drop(got);
        if (hd_ranks() == 1) {
            ck_assert_int_eq(here, PLACES);
            continue;
        }
        of_ranks(here, n);
        ck_assert_msg(n[0] == call[k].first && n[1] == call[k].second && !n[2] && !n[3],
            "call %d, %s: %d and %d", k, call[k].pace, n[0], n[1]);
    }
    unsetenv("HEDDLE_PACE");
    for (int k = 0; k < 4; k++) { /* measured, each rank its own device */
        ck_assert_msg(!hd_call(f, &got, x) && hd_data(got), "%s", hd_error());
        ck_assert_msg(!memcmp(hd_data(got), hd_data(want), sizeof v), "measured: other bits");
        hd_drop(got);
    }
    hd_drop(x), hd_drop(want);
}
END_TEST

/* ==================== failures */

enum { SHARDS = 4, WIDE = 3, MOST = 30 };
static const float in12[SHARDS * WIDE] = { .5f, -1, 2, .25f, 3, -2, .75f, 1.5f, -.5f, 1, -.25f, .1f };

static hd turn(hd x, hd nothing)
{
    (void)nothing;
    x = hd_add(hd_mul_c(x, .5), hd_pmean(hd_mul(x, x), "i"));
    return hd_tuple(x, x);
}
static hd step(hd x)
{
    hd r = hd_scan(turn, x, HD_NIL, .length = 2);
    return hd_add(hd_nth(r, 0), hd_sum(hd_all_gather(x, "i", 0, false), 0));
}

static hd_fn *over_all(void)
{
    return hd_pmap(step, .devices = hosts("host,host:1,host:2,host:3"), .axis_name = "i");
}

/* The call's code; *read: that of the reading. */
static int called(hd_array *x, float *to, int *read)
{
    hd_array *y = NULL;
    int e = hd_call(over_all(), &y, x);
    const void *p = e ? NULL : hd_data(y);
    *read = e || p ? e : hd_error_code();
    if (p)
        memcpy(to, p, sizeof in12);
    hd_drop(y);
    return e;
}

/* after: what must hold then, whether the call has failed or not. */
typedef struct Trial {
    int (*called)(hd_array *x, float *to, int *read);
    void (*after)(const char *spec);
} Trial;

/* One failure in one rank; true if the call noticed, there and so everywhere. */
static bool strike(const Trial *t, hd_array *x, const float *want, const char *spec, int victim)
{
    float y[SHARDS * WIDE];
    int code[4], read, before = threads_now();
    if (strstr(spec, "compile"))
        hd_forget(over_all());
    if (hd_rank() == victim)
        ck_assert(fault_set(spec));
    int e = t->called(x, y, &read);
    char text[400];
    snprintf(text, sizeof text, "%s", hd_error());
    fault_set(NULL);
    t->after(text);
    char who[20];                               /* all are told, but for what only a rank itself reads */
    snprintf(who, sizeof who, "%d/host", hd_ranks() > 1 ? victim : 0);
    bool own = hd_ranks() == 1 || (!e && hd_rank() == victim);
    ck_assert_msg(!read || strstr(text, own ? "host" : who), "%s: \"%s\"", spec, text);
    ck_assert_msg(read || !memcmp(y, want, sizeof y), "%s: other bits", spec);
    no_more_threads(before, spec);
    of_ranks(e, code);
    for (int r = 0; r < hd_ranks(); r++)
        ck_assert_msg(code[r] == e, "%s: %d in rank %d, and %d here: %s", spec, code[r], r, e, text);
    e = t->called(x, y, &read);
    ck_assert_msg(!e && !read && !memcmp(y, want, sizeof y), "%s: afterwards: %s", spec, hd_error());
    t->after(text);
    return code[0];
}

/* Each kind of call in each rank, its first ones, once and for good. */
static void strike_all(const Trial *t, const char *const *call, int most)
{
    float want[SHARDS * WIDE], y[SHARDS * WIDE];
    int struck = 0, noticed = 0, read;
    hd_array *x = hd_array_new(HD_F32, (hd_ints){ 2, { SHARDS, WIDE } }, in12, NULL);
    ck_assert_msg(!t->called(x, want, &read) && !read, "%s", hd_error());
    t->after("");
    for (int c = 0; call[c]; c++) {
        char spec[60];
        int calls[4];
        snprintf(spec, sizeof spec, "host:%s:1000000", call[c]);
        if (!strcmp(call[c], "compile"))
            hd_forget(over_all());
        fault_set(spec);
        ck_assert_int_eq(t->called(x, y, &read), 0);
        of_ranks((int)fault_calls(), calls);
        fault_set(NULL);
        t->after(spec);
        for (int k = 0; k < 2 * hd_ranks() * most; k++) {
            int n = 1 + k / 2 % most, victim = k / 2 / most;
            snprintf(spec, sizeof spec, "host:%s:%d%s", call[c], n, k % 2 ? "+" : "");
            if (n <= calls[victim])
                struck++, noticed += strike(t, x, want, spec, victim);
        }
    }
    ck_assert_msg(noticed > struck / 2, "%d of %d failures are noticed", noticed, struck);
    if (hd_rank() == 0)
        fprintf(stderr, "%d failures, each in one of %d ranks, %d noticed\n", struck, hd_ranks(), noticed);
    hd_drop(x);
}

static void nothing(const char *spec) { (void)spec; }

START_TEST(strikes)
{
    static const char *const call[] = { "alloc", "upload", "download", "launch", "wait", "exchange",
        "compile", NULL };
    strike_all(&(Trial){ called, nothing }, call, MOST);
}
END_TEST

/* Of what lies on all ranks each shard wants all, so it is brought to each rank in the midst of the call. */
static hd whole(hd all, hd own) { return hd_add(hd_sum(hd_square(all), 0), hd_psum(own, "i")); }
static hd doubled(hd x) { return hd_mul_c(x, 2); }

static hd_array *far;

static int brought(hd_array *x, float *to, int *read)
{
    const char *list = hosts("host,host:1,host:2,host:3");
    hd_array *y = NULL;
    hd_fn *f = hd_pmap(whole, .devices = list, .axis_name = "i", .in_axes = { HD_NONE, 0 });
    int e = hd_call(hd_pmap(doubled, .devices = list), &far, x);
    e = e ? e : hd_call(f, &y, far, x);
    *read = e || !hd_read_n(y, HD_F32, to, SHARDS * WIDE) ? e : hd_error_code();
    hd_drop(y);
    return e;
}

/* It is here now in all ranks, or all of them still ask for it. */
static void far_there(const char *spec)
{
    float back[SHARDS * WIDE];
    ck_assert_msg(
        !far || !hd_read_n(far, HD_F32, back, SHARDS * WIDE), "after \"%s\": %s", spec, hd_error());
    for (int k = 0; far && k < SHARDS * WIDE; k++)
        ck_assert(back[k] == 2 * in12[k]);
    hd_drop(far);
    far = NULL;
}

START_TEST(brings)
{
    static const char *const call[] = { "alloc", "download", NULL };
    strike_all(&(Trial){ brought, far_there }, call, MOST);
}
END_TEST

/* ==================== messages and computing at once */

static hd apart(hd x)
{
    hd far = hd_psum(hd_sin(x), "i");
    return hd_add(hd_cumsum(hd_tanh(x), 0), far);
}

/* A scan and a while, each of them steps of the plan, and nothing else, need nothing of the others. */
static hd sorts(hd c, hd nothing)
{
    (void)nothing;
    return hd_tuple(hd_tanh(hd_sort(hd_sub(hd_sum(c), c), 0)), HD_NIL);
}
static hd small(hd c) { return hd_lt(hd_sum(c), hd_c(20)); }
static hd grows(hd c) { return hd_add_c(hd_sort(hd_sub(hd_sum(c), c), 0), 1); }
static hd loops(hd x)
{
    hd far = hd_all_gather(x, "i", 0, false);
    hd near = hd_nth(hd_scan(sorts, x, HD_NIL, .length = 3), 0);
    return hd_concatenate(0, far, hd_stack(0, near, hd_while(small, grows, x)));
}

/* What needs nothing of other ranks is begun when a shard's bytes are on their way, before theirs have
 * come. most: steps of it at least. */
static void beside(hd (*apart)(hd), const char *list, int shards, int most)
{
    hd_array *x = hd_array_new(HD_F32, (hd_ints){ 2, { shards, WIDE } }, in12, NULL), *y = NULL;
    hd_array *want = NULL;
    hd_fn *lanes = hd_vmap(apart, .axis_name = "i");
    for (int k = 0; k < 2; k++) {
        const uint64_t before = exchange_beside;
        ck_assert_msg(!hd_call(hd_pmap(apart, .devices = list, .axis_name = "i"), &y, x), "%s", hd_error());
        ck_assert(!hd_call(hd_jit(lanes, .device = "host"), &want, x));
        const uint64_t n = exchange_beside - before;
        ck_assert_msg(hd_rank() < shards && hd_ranks() > 1 ? (int)n >= most : !n,
            "%s: %d steps beside an exchange", list, (int)n);
        const float *a = hd_data(y), *b = hd_data(want);
        for (int j = 0; j < hd_array_size(want); j++)
            ck_assert_msg(a && b && fabsf(a[j] - b[j]) < 1e-5f, "%s: %g, not %g", list, a ? a[j] : 0, b[j]);
        hd_drop(y), hd_drop(want);
    }
    hd_drop(x);
}

START_TEST(overlap)
{
    const char *pocl = hd_ranks() > 1 ? "0/opencl:0,1/opencl:0" : "opencl:0,opencl:0";
    const char *vulkan = hd_ranks() > 1 ? "0/vulkan:0,1/vulkan:0" : "vulkan:0,vulkan:0";
    beside(apart, hosts("host,host:1,host:2,host:3"), SHARDS, 1);
    beside(loops, hosts("host,host:1,host:2,host:3"), SHARDS, 2);
    if (there(hd_ranks() > 1 ? "0/opencl:0" : "opencl:0"))
        beside(loops, pocl, 2, 2);
    if (there(hd_ranks() > 1 ? "0/vulkan:0" : "vulkan:0"))
        beside(loops, vulkan, 2, 2);
}
END_TEST

/* ==================== what cannot be meant */

static void refused(const char *list, enum hd_code code, const char *word, const char *way)
{
    float v[2] = { 1, 2 };
    hd_array *x = hd_array_of(v, 2), *y = NULL;
    for (int k = 0; k < 3; k++) {
        int e = k == 0            ? hd_call(hd_pmap(one, .devices = list, .axis_name = "i"), &y, x) :
            k == 1                ? hd_mesh_new("data: 2", list) ? 0 : hd_error_code() :
            (y = hd_put(x, list)) ? 0 :
                                    hd_error_code();
        ck_assert_msg(e == (int)code && !y, "\"%s\" is taken, or refused with %d: %s", list, e, hd_error());
        ck_assert_msg(
            strstr(hd_error(), word) && strstr(hd_error(), way) && strstr(hd_error(), "test_ranks.c:"),
            "\"%s\": %s", list, hd_error());
    }
    hd_drop(x);
}

START_TEST(lists)
{
    refused("0/host, 9/host", HD_EDEVICE, "no rank 9", "mpirun");
    refused("0/host, 0/moon:0", HD_EDEVICE, "moon:0", "host");
    refused("0/host, host", HD_EINVAL, "with and without", "0/host");
}
END_TEST

/* An array is called to be on that device in all ranks; what has one device is not run on another rank's. */
START_TEST(one_device)
{
    const char *last = hd_ranks() > 1 ? "1/host" : "0/host";
    float v[2] = { 1, 2 }, w[2];
    hd_array *x = hd_array_of(v, 2), *far = hd_put(x, last), *y = NULL;
    const bool own = hd_ranks() == 1 || hd_rank() == 1;
    ck_assert_msg(far && !strcmp(hd_array_device(far), hd_ranks() > 1 ? last : "host"), "%s", hd_error());
    ck_assert_msg(!hd_read(far, w, 2) && !memcmp(v, w, sizeof v), "%s", hd_error());
    int e = hd_call(hd_jit(HD_FN(doubled), .device = last), &y, x);
    ck_assert_msg(own ? !e : e == HD_EDEVICE && strstr(hd_error(), "hd_pmap(f, .devices = \"1/host\")") &&
            strstr(hd_error(), "test_ranks.c:"), "%d: %s", e, hd_error());
    ck_assert(own || !hd_default_device(last));
    hd_drop(x), hd_drop(far), hd_drop(y);
}
END_TEST

/* A map over this process' own devices, and a function of one, of what lies on several ranks: it comes
 * here. */
START_TEST(from_ranks)
{
    hd_array *x = hd_array_new(HD_F32, (hd_ints){ 2, { SHARDS, WIDE } }, in12, NULL), *y = NULL;
    hd_fn *const f[] = { hd_pmap(doubled, .devices = "host, host:1"), hd_jit(hd_vmap(doubled)) };
    for (int k = 0; k < 2; k++) {
        float got[SHARDS * WIDE];
        hd_array *far = hd_put(x, hosts("host,host:1,host:2,host:3"), .axis = 0);
        ck_assert_msg(!hd_call(f[k], &y, far) && !hd_read(y, got, SHARDS * WIDE), "%s", hd_error());
        for (int i = 0; i < SHARDS * WIDE; i++)
            ck_assert(got[i] == 2 * in12[i]);
        hd_drop(far), hd_drop(y);
    }
    hd_drop(x);
}
END_TEST

/* Which of two calls of one function a rank has come to is told by what they are of. */
START_TEST(told_apart)
{
    const bool alone = hd_ranks() == 1, odd = !alone && hd_rank() == 1;
    hd_array *x = hd_array_new(HD_F32, (hd_ints){ 2, { SHARDS, odd ? 1 : WIDE } }, in12, NULL), *y = NULL;
    int e = hd_call(hd_pmap(one, .devices = hosts("host,host:1,host:2,host:3"), .axis_name = "i"), &y, x);
    ck_assert_msg(alone ? !e : e == HD_EDEVICE && strstr(hd_error(), "of f32[4,3]") &&
            strstr(hd_error(), "of f32[4,1]"), "%d: %s", e, hd_error());
    hd_drop(x), hd_drop(y);
}
END_TEST

int main(void)
{
    fault_set("host:open:1000000");             /* devices are opened so that their calls can fail */
    setenv("HEDDLE_HOST_DEVICES", "4", 1);
    Suite *s = suite_create("ranks");
    TCase *c = suite_case(s);
    tcase_add_test(c, balance);
    tcase_add_test(c, strikes);
    tcase_add_test(c, brings);
    tcase_add_test(c, overlap);
    tcase_add_test(c, lists);
    tcase_add_test(c, one_device);
    tcase_add_test(c, from_ranks);
    tcase_add_test(c, told_apart);
    return suite_run(s);
}
