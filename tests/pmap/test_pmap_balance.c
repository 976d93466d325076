/*
 * test_pmap_balance.c - maps whose places go to devices in proportion to their speed: the result is the
 * same, the numbers follow what a place costs, and follow it again when that changes. What it costs is said,
 * not measured, so no clock is asked.
 */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "suite.h"

enum { PLACES = 12, ROWS = 2 };

/* ==================== which device ran how many places */

static char timeline[] = "/tmp/heddle-balance-XXXXXX";
static long seen;
static void afresh(void) { ck_assert(!truncate(timeline, 0)); }

typedef struct Counts { int n[8]; } Counts;
static char device_of[8][40];                   /* by the number that the file gives it */

/* Since the last look, in the order in which devices first ran. */
static Counts counts(void)
{
    char line[400], name[60];
    int pid;
    Counts c = { { 0 } };
    FILE *f = fopen(timeline, "r");
    ck_assert(f && !fseek(f, seen, SEEK_SET));
    while (fgets(line, sizeof line, f))
        if (sscanf(line,
                "{\"ph\":\"M\",\"pid\":%d,\"tid\":%*d,\"name\":\"process_name\",\"args\":{\"name\":\"%39[^"
                "\"]",
                &pid, name) == 2)
            strcpy(device_of[pid & 7], name);
        else if (sscanf(line, "{\"ph\":\"B\",\"pid\":%d,\"tid\":%*d,\"name\":\"%59[^\"]\"", &pid, name) ==
                2 &&
            !strchr(name, '#'))
            c.n[pid & 7]++;
    seen = ftell(f) > 3 ? ftell(f) - 3 : 0;
    fclose(f);
    return c;
}

static int on(Counts c, const char *device)
{
    for (int k = 0; k < 8; k++)
        if (!strcmp(device_of[k], device))
            return c.n[k];
    return 0;
}

/* ==================== functions */

static hd row(hd x) { return hd_add(hd_tanh(x), hd_sum(x)); }
static hd rows(hd x) { return hd_apply(hd_vmap(row), x); }
static hd numbered(hd x) { return hd_mul(hd_cast(hd_axis_index("i"), HD_F32), rows(x)); }
static hd meet(hd x) { return hd_add(x, hd_psum(hd_sin(x), "i")); }
static hd loss(hd w, hd x) { return hd_sum(hd_square(hd_mul(w, rows(x)))); }
static hd losses(hd w, hd x)
{
    hd_fn *f = hd_pmap(loss, .devices = "host,host:1", .balance = true, .in_axes = { HD_NONE, 0 });
    return hd_sum(hd_apply(f, w, x));
}
static hd losses_v(hd w, hd x) { return hd_sum(hd_apply(hd_vmap(loss, .in_axes = { HD_NONE, 0 }), w, x)); }

static hd_array *numbers(int64_t places)
{
    float v[PLACES * ROWS * 2];
    for (int k = 0; k < PLACES * ROWS * 2; k++)
        v[k] = sinf((float)k * 7);
    return hd_array_new(HD_F32, (hd_ints){ 3, { places, ROWS, 2 } }, v, NULL);
}

static void same(hd_fn *f, hd_fn *v, int64_t places, double tol, const char *what)
{
    hd_array *x = numbers(places), *got = NULL, *want = NULL;
    ck_assert_msg(f && !hd_call(f, &got, x), "%s: %s", what, hd_error());
    ck_assert_msg(
        !hd_call(hd_jit_n(v, &(hd_jit_opts){ .device = "host" }), &want, x), "%s: %s", what, hd_error());
    const float *p = hd_data(got), *q = hd_data(want);
    for (int64_t k = 0; k < hd_array_size(want); k++)
        ck_assert_msg(tol ? fabsf(p[k] - q[k]) <= tol : !memcmp(p + k, q + k, sizeof *p), "%s: element %d",
            what, (int)k);
    hd_drop(got), hd_drop(want), hd_drop(x);
}

/* ==================== tests */

START_TEST(follows_speed)
{
    hd_fn *f = hd_pmap(numbered, .devices = "host,host:1", .axis_name = "i", .balance = true),
          *v = hd_vmap(numbered, .axis_name = "i");
    static const struct { const char *pace; int first, second; } call[] = {
        { "host=1, host:1=3", 6, 6 },           /* nothing is known */
        { "host=1, host:1=3", 9, 3 },
        { "host=1, host:1=3", 9, 3 },
        { "host=5, host:1=1", 9, 3 },           /* it has changed, and is noticed by this call */
        { "host=5, host:1=1", 2, 10 },
        { "host=5.1, host:1=1", 2, 10 },
        { "host=5, host:1=1.01", 2, 10 },       /* nothing to gain */
        { "host=1000, host:1=1", 2, 10 },
        { "host=1000, host:1=1", 1, 11 },       /* one stays, or nobody would know */
        { "host:1=1", 1, 11 },
        { "host:1=1", 6, 6 },
    };
    for (int k = 0; k < (int)(sizeof call / sizeof *call); k++) {
        setenv("HEDDLE_PACE", call[k].pace, 1);
        same(f, v, PLACES, 0, call[k].pace);
        Counts c = counts();
        ck_assert_msg(on(c, "host") == call[k].first && on(c, "host:1") == call[k].second,
            "call %d, %s: %d and %d", k, call[k].pace, on(c, "host"), on(c, "host:1"));
    }
}
END_TEST

START_TEST(numbers_that_do_not_divide)
{
    setenv("HEDDLE_PACE", "host=2", 1);
    for (int k = 0; k < 3; k++) {
        same(hd_pmap(rows, .devices = "host,host:1,host:2", .balance = true), hd_vmap(rows), 4, 0,
            "four on three");
        same(hd_pmap(meet, .devices = "host,host:1,host:2", .axis_name = "i", .balance = true),
            hd_vmap(meet, .axis_name = "i"), 4, 0, "four that meet");
    }
}
END_TEST

START_TEST(measured)
{
    unsetenv("HEDDLE_PACE");
    char list[40];
    snprintf(list, sizeof list, "%s,host", there("opencl:0") ? "opencl:0" : "host:1");
    for (int k = 0; k < 5; k++)
        same(hd_pmap(rows, .devices = list, .balance = true), hd_vmap(rows), PLACES, 1e-5, list);
}
END_TEST

START_TEST(gradients)
{
    setenv("HEDDLE_PACE", "host=2", 1);
    hd_array *w = hd_array_scalar(HD_F32, .7), *x = numbers(6), *got[2], *want[2];
    hd_fn *f = hd_grad(losses, .argnums = { 2, { 0, 1 } }),
          *v = hd_grad(losses_v, .argnums = { 2, { 0, 1 } });
    for (int k = 0; k < 2; k++) {
        ck_assert_msg(!hd_call(f, got, w, x) && !hd_call(v, want, w, x), "%s", hd_error());
        ck_assert(fabs(hd_item(got[0]) - hd_item(want[0])) < 1e-4);
        const float *p = hd_data(got[1]), *q = hd_data(want[1]);
        for (int j = 0; j < 6 * ROWS * 2; j++)
            ck_assert(fabsf(p[j] - q[j]) < 1e-5f);
        hd_drop(got[0]), hd_drop(got[1]), hd_drop(want[0]), hd_drop(want[1]);
    }
    hd_drop(w), hd_drop(x);
}
END_TEST

START_TEST(refused)
{
    hd_array *x = numbers(2), *y = NULL;
    ck_assert_int_eq(
        hd_call(hd_pmap(rows, .devices = "host,host:1,host:2", .balance = true), &y, x), HD_ESHAPE);
    ck_assert_msg(
        strstr(hd_error(), "3 devices") && strstr(hd_error(), "test_pmap_balance.c:"), "%s", hd_error());
    ck_assert_ptr_null(hd_vmap(rows, .balance = true));
    ck_assert_msg(strstr(hd_error(), ".balance is for hd_pmap") != NULL, "%s", hd_error());
    hd_drop(x);
}
END_TEST

int main(void)
{
    int made = mkstemp(timeline);
    if (made >= 0)
        close(made);
    setenv("HEDDLE_TIMELINE", timeline, 1);
    setenv("HEDDLE_HOST_DEVICES", "3", 1);
    Suite *s = suite_create("pmap_balance");
    TCase *c = suite_case(s);
    tcase_add_checked_fixture(c, afresh, NULL);
    tcase_add_test(c, follows_speed);
    tcase_add_test(c, numbers_that_do_not_divide);
    tcase_add_test(c, measured);
    tcase_add_test(c, gradients);
    tcase_add_test(c, refused);
    int failed = suite_run(s);
    unlink(timeline);
    return failed;
}
