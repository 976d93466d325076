/*
 * test_ranks.c - what is over the processes of one job, and is the same in one process alone: places of a
 * map go to ranks by what they cost there, in all ranks alike; lists of devices that cannot be meant are
 * refused. Run by ranks.sh on several ranks, too.
 */
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

/* How many places each rank has had, of which there are most known to this test. */
static void places_of_ranks(int *n)
{
    float own[4] = { 0 };
    own[hd_rank()] = (float)here; /* what a rank gives its own shard */
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
        places_of_ranks(n);
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

int main(void)
{
    setenv("HEDDLE_HOST_DEVICES", "2", 1);
    Suite *s = suite_create("ranks");
    TCase *c = suite_case(s);
    tcase_add_test(c, balance);
    tcase_add_test(c, lists);
    return suite_run(s);
}
