/*
 * test_pmap_faults.c - what follows when a device fails in the middle of a map over unlike devices.
 *
 * In:  a step over two hosts, OpenCL and Vulkan whose shards meet several times, and each kind of call to
 * each kind of device,
 *      failing at its first, second ... place, once and for good: some hundred failures.
 * Out: the right bits, or one error that names the device and the line of the map; what the caller holds
 * stays readable, the other
 *      devices work on, and so does this one once its calls succeed again. No call waits for ever; no thread
 *      and no array is left.
 * PoCL is asked for several devices; a device that is not there is another host.
 */
#include <stdlib.h>
#include <unistd.h>

#include "fault.h"
#include "suite.h"

enum { N = 4, W = 3, MANY = 200 };
static const float in12[N * W] = { .5f, -1, 2, .25f, 3, -2, .75f, 1.5f, -.5f, 1, -.25f, .1f };
static const char *const kind[] = { "host", "opencl", "vulkan" };
enum { KINDS = sizeof kind / sizeof *kind };

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
static hd halved(hd x) { return hd_mul_c(hd_psum(x, "i"), .5); }

static char all[100];                           /* the devices of the step */
static char others[KINDS][100];                 /* those that are not of this kind, as many */

static void choose_devices(void)
{
    const char *name[N] = { "host", there("opencl:0") ? "opencl:0" : "host:2",
        there("vulkan:0") ? "vulkan:0" : "host:3", "host:1" };
    snprintf(all, sizeof all, "%s,%s,%s,%s", name[0], name[1], name[2], name[3]);
    for (int k = 0; k < KINDS; k++)
        for (int i = 0, at = 0; i < N; i++) {
            bool hit = !strncmp(name[i], kind[k], strlen(kind[k]));
            const char *s = !hit  ? name[i] :
                k                 ? "host" :
                there("opencl:1") ? "opencl:1" :
                there("vulkan:0") ? "vulkan:0" :
                                    "";
            at += snprintf(others[k] + at, sizeof others[k] - (size_t)at, "%s%s", i && *s ? "," : "", s);
        }
}

static hd_fn *over(hd (*f)(hd), const char *list) { return hd_pmap(f, .devices = list, .axis_name = "i"); }

static hd_array *rows(void) { return hd_array_new(HD_F32, (hd_ints){ 2, { N, W } }, in12, NULL); }

/* Calls f and reads what it gives. */
static int bytes_of(hd_fn *f, hd_array *x, float *to)
{
    hd_array *y = NULL;
    int e = hd_call(f, &y, x);
    if (!e && hd_data(y))
        memcpy(to, hd_data(y), sizeof in12);
    else
        e = (int)hd_error_code();
    hd_drop(y);
    return e;
}

static void works(hd_fn *f, hd_array *x, const float *want, const char *spec, const char *when)
{
    float y[N * W];
    ck_assert_msg(!bytes_of(f, x, y), "%s, %s: %s", spec, when, hd_error());
    ck_assert_msg(!memcmp(y, want, sizeof y), "%s, %s: other bits", spec, when);
}

typedef struct Known {
    hd_array *x, *held;
    float step[N * W], held_bytes[N * W], halved[KINDS][N * W];
} Known;

/* One failure; true if the call noticed. */
static bool strike(const Known *w, int k, const char *call, int n, bool for_good)
{
    char spec[60];
    float y[N * W];
    int before = threads_now();
    hd_fn *f = over(step, all);
    snprintf(spec, sizeof spec, "%s:%s:%d%s", kind[k], call, n, for_good ? "+" : "");
    if (!strcmp(call, "compile"))
        hd_forget(f), f = over(step, all);
    ck_assert(fault_set(spec));
    int e = bytes_of(f, w->x, y);
    if (e) {
        ck_assert_msg(strstr(hd_error(), kind[k]) && strstr(hd_error(), "test_pmap_faults.c:"), "%s: \"%s\"",
            spec, hd_error());
    } else {
        ck_assert_msg(!memcmp(y, w->step, sizeof y), "%s: other bits", spec);
    }
    no_more_threads(before, spec);
    if (others[k][0])
        works(over(halved, others[k]), w->x, w->halved[k], spec, "on the others");
    fault_set(NULL);
    ck_assert_msg(hd_data(w->x) && !memcmp(hd_data(w->x), in12, sizeof in12), "%s: the argument", spec);
    hd_array *copy = hd_put(w->held, "host");   /* of what is still on the devices */
    ck_assert_msg(copy && hd_data(copy) && !memcmp(hd_data(copy), w->held_bytes, sizeof y),
        "%s: a result: %s", spec, hd_error());
    hd_drop(copy);
    works(over(step, all), w->x, w->step, spec, "afterwards");
    no_more_threads(before, spec);
    return e;
}

static void learn(Known *w)
{
    w->x = rows();
    ck_assert_msg(!hd_call(over(step, all), &w->held, w->x), "%s", hd_error());
    ck_assert_int_eq(bytes_of(over(step, all), w->held, w->step), 0);
    ck_assert_int_eq(bytes_of(over(step, all), w->x, w->step), 0);
    memcpy(w->held_bytes, w->step, sizeof w->step);
    for (int k = 0; k < KINDS; k++)
        if (others[k][0])
            ck_assert_msg(
                !bytes_of(over(halved, others[k]), w->x, w->halved[k]), "%s: %s", others[k], hd_error());
}

static bool in_list(int k) { return strstr(all, kind[k]) != NULL; }

/* Each kind of call, until the step makes no more of them. */
START_TEST(strikes)
{
    static const char *const call[] = { "alloc", "upload", "download", "launch", "copy", "wait", "exchange",
        "compile", "event" };
    Known w = { 0 };
    int struck = 0, noticed = 0;
    choose_devices();
    learn(&w);
    for (int k = 0; k < KINDS; k++)
        for (size_t c = 0; c < sizeof call / sizeof *call && in_list(k); c++) {
            int seen = 0;
            char none[60];
            float y[N * W];
            snprintf(none, sizeof none, "%s:%s:1000000", kind[k], call[c]);
            if (!strcmp(call[c], "compile"))
                hd_forget(over(step, all));
            fault_set(none);
            ck_assert_int_eq(bytes_of(over(step, all), w.x, y), 0);
            long calls = fault_calls();
            ck_assert_msg(
                calls || !strcmp(call[c], "copy") || !strcmp(call[c], "wait") || !strcmp(call[c], "event"),
                "%s: no %s", kind[k], call[c]);
            for (int n = 1; n <= calls; n++)
                for (int good = 0; good < 2; good++)
                    struck++, seen += strike(&w, k, call[c], n, good);
            ck_assert_msg(!calls || seen, "%s: nobody notices that %s fails", kind[k], call[c]);
            noticed += seen;
        }
    ck_assert_msg(struck >= MANY || !strstr(all, "opencl") || !strstr(all, "vulkan"), "%d failures", struck);
    ck_assert_int_gt(noticed, struck / 2);
    fprintf(stderr, "%d failures over %s, %d noticed\n", struck, all, noticed);
    hd_drop(w.held), hd_drop(w.x);
}
END_TEST

/* A device that does not open is named, and asked again by the next call. */
START_TEST(opening)
{
    static const char *const first[] = { "host:2", "opencl:0", "vulkan:0" };
    setenv("HEDDLE_DEVICE", "host", 1);
    for (int k = 0; k < KINDS; k++) {
        char spec[40], list[60];
        float y[N * W];
        hd_array *x = rows();
        snprintf(spec, sizeof spec, "%s:open:%d", kind[k], k ? 1 : 2);  /* the first host is opened, too */
        snprintf(list, sizeof list, "host,%s", first[k]);
        ck_assert(fault_set(spec));
        ck_assert(bytes_of(over(halved, list), x, y));
        bool missing = strstr(hd_error(), "there is no device");
        ck_assert_msg(strstr(hd_error(), first[k]) && strstr(hd_error(), "test_pmap_faults.c:"), "%s: %s",
            spec, hd_error());
        ck_assert_msg(missing || (strstr(hd_error(), "open") && !bytes_of(over(halved, list), x, y)),
            "%s: %s", spec, hd_error());
        hd_drop(x);
        fault_set("host:open:1000000");               /* what is opened from here on can fail, too */
    }
}
END_TEST

int main(void)
{
    fault_set("host:open:1000000");                   /* devices are opened so that their calls can fail */
    setenv("POCL_DEVICES", "pthread pthread", 1);
    setenv("HEDDLE_HOST_DEVICES", "5", 1);
    Suite *s = suite_create("pmap_faults");
    TCase *c = suite_case(s);
    tcase_add_test(c, opening);
    tcase_add_test(c, strikes);
    return suite_run(s);
}
