/*
 * test_sim.c - work-groups, and a GPU in software: hand-built kernels give the same bits on all devices that
 * there are, their faults are found and named by line, and what is slow on every GPU is slow here.
 *
 * Ratios are held against published ones, within a factor of 2 (docs/sim.md has the sources).
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "in_arena.h"
#include "backend.h"
#include "graph.h"
#include "groups.h"
#include "run.h"
#include "sim.h"
#include "suite_run.h"

/* ==================== data */

static bool sorted; /* the second input is: first what is positive */

static float draw(int64_t i) { return (float)((i * 2654435761u >> 7) % 2048) / 1024 - 1; }

/* Memories of the parameters, by number: inputs drawn, the result not written yet. */
typedef struct Memories {
    void *p[3];
    float *out;
} Memories;

static Memories data_of(const Hand *h)
{
    Memories d = { { 0 }, NEWS(float, h->out->size) };
    for (int p = 0; p < h->k->nparam; p++) {
        int in = h->k->param[p] == h->in[0] ? 0 : 1;
        float *x = h->k->param[p] == h->out ? d.out : NEWS(float, h->n);
        for (int64_t i = 0; x != d.out && i < h->n; i++)
            x[i] = in && sorted ? (i < h->n / 2 ? 1 : -1) : draw(i + in * 7919);
        d.p[p] = x;
    }
    return d;
}

/* As the reading executor has it, which checks on the way. */
static float *read_it(const Hand *h)
{
    Memories d = data_of(h);
    ck_assert_msg(!k_check(h->k), "%s", error_text());
    ck_assert_msg(!k_run(h->k, &(KLaunch){ .param = d.p }), "%s", error_text());
    return d.out;
}

/* ==================== sim, without a device */

typedef struct Simulated {
    SimMachine machine;
    SimCode *code;
    SimCounts counts;
    SimTime time;
    float *out;
    int e;
} Simulated;

static Simulated simulate(const Hand *h, const char *profile, int64_t sample)
{
    Simulated s = { .machine = { .sample = sample } };
    SimPiece piece[3], *param[3];
    const size_t at[3] = { 0 };
    Memories d = data_of(h);
    ck_assert_msg(!profile_read(&s.machine.profile, profile), "%s", error_text());
    const Profile *m = &s.machine.profile;
    s.machine.l1 = calloc((size_t)m->cores, sizeof *s.machine.l1);
    s.machine.l2 = sim_cache_new(m->l2, m->line, m->sector);
    s.code = sim_code(h->k, m);
    for (int p = 0; p < h->k->nparam; p++) {
        size_t n = (size_t)h->k->param[p]->size * sizeof(float);
        piece[p] = (SimPiece){ d.p[p], calloc(n, 1), n, (uint64_t)(p + 1) << 32 };
        memset(piece[p].known, d.p[p] != d.out, n);
        param[p] = &piece[p];
    }
    const SimLaunch l = { s.code, &s.machine, &s.counts, param, at, 0 };
    s.e = error_pending() ? (int)error_code() : sim_launch(&l);
    s.time = sim_time(s.code, &s.counts, m);
    s.out = d.out;
    for (int c = 0; c < (int)m->cores; c++)
        sim_cache_drop(s.machine.l1[c]);
    free(s.machine.l1), sim_cache_drop(s.machine.l2);
    for (int p = 0; p < h->k->nparam; p++)
        free(piece[p].known);
    return s;
}

static void same(const Hand *h, const float *x, const float *y, const char *where)
{
    for (int64_t i = 0; i < h->out->size; i++)
        ck_assert_msg(!memcmp(&x[i], &y[i], sizeof *x), "%s on %s: element %lld is %.9g, not %.9g",
            h->k->name, where, (long long)i, (double)y[i], (double)x[i]);
}

/* ==================== devices */

static void on_device(Hand *h, const char *name, const float *expected)
{
    Device *d = device_find(name);
    error_clear();
    if (!d)
        return;
    Plan plan = { 0 };
    Memories data = data_of(h);
    Mem *in[3], *out;
    int nin = 0;
    const Backend *b = d->backend;
    for (int p = 0; p < h->k->nparam; p++) {
        Buffer *x = h->k->param[p];
        bool result = x == h->out;
        x->slot = plan_slot(&plan, result ? SLOT_RESULT : SLOT_ARG, DT_F32, x->size, x->name);
        plan.slot[x->slot].index = result ? 0 : nin;
        if (result)
            continue;
        ck_assert(!b->alloc(d, (size_t)x->size * 4, &in[nin]) &&
            !b->write(in[nin], 0, data.p[p], (size_t)x->size * 4));
        nin++;
    }
    plan.narg = nin, plan.nresult = 1, plan.alias = NEWS(int, 1), plan.alias[0] = -1;
    plan_step(&plan, S_LAUNCH)->kernel = h->k;
    plan.nkernel = 1;
    Exec *e = b->build(d, &plan);
    ck_assert_msg(e && !b->run(e, nin, in, 1, &out), "%s on %s: %s", h->k->name, name, error_text());
    ck_assert_msg(!b->read(out, 0, data.out, (size_t)h->out->size * 4), "%s", error_text());
    same(h, expected, data.out, name);
    b->drop(e), mem_drop(out);
    for (int k = 0; k < nin; k++)
        mem_drop(in[k]);
}

static Hand every(int which)
{
    switch (which) {
    case 0:
        return product(64, ROWS_FIRST);
    case 1:
        return product(64, COLUMNS_FIRST);
    case 2:
        return product(64, TILED);
    case 3:
        return transpose(64);
    case 4:
        return transpose_staged(64, 32, 32);
    case 5:
        return transpose_staged(64, 16, 17);
    case 6:
        return axpy(512, 64);
    case 7:
        return two_ways(512);
    default:
        return tree_sum(512, 128);
    }
}

START_TEST(the_same_everywhere)
{
    static const char *const machines[] = { "h200", "rx7900xtx", "arcb580", "malig715" };
    Hand h = every(_i);
    const float *x = read_it(&h);
    for (int m = 0; m < 4; m++) {
        Simulated s = simulate(&h, machines[m], 0);
        ck_assert_msg(!s.e, "%s: %s", machines[m], error_text());
        same(&h, x, s.out, machines[m]);
    }
    on_device(&h, "opencl:0", x);
    on_device(&h, "vulkan:0", x);
    on_device(&h, "kernel", x);
}
END_TEST

START_TEST(what_they_compute)
{
    Hand h = product(64, TILED);
    const float *c = read_it(&h);
    for (int64_t y = 0; y < 64; y++)
        for (int64_t x = 0; x < 64; x++) {
            float s = 0;
            for (int64_t t = 0; t < 64; t++)
                s = fmaf(draw(y * 64 + t), draw(t * 64 + x + 7919), s);
            ck_assert(c[y * 64 + x] == s);
        }
    h = transpose_staged(64, 16, 17);
    c = read_it(&h);
    for (int64_t i = 0; i < 64 * 64; i++)
        ck_assert(c[i % 64 * 64 + i / 64] == draw(i));
}
END_TEST

/* ==================== what is slow */

static double us(Hand h, const char *profile)
{
    Simulated s = simulate(&h, profile, 8);
    ck_assert_msg(!s.e, "%s: %s", h.k->name, error_text());
    if (getenv("HEDDLE_TEST_VERBOSE")) {
        printf("%s on %s: %d registers, %d groups a core:", h.k->name, profile, s.code->registers,
            s.code->resident);
        for (int k = 0; k < 6; k++)
            printf(" %s %.4g,", sim_part[k], s.time.part[k]);
        printf(" roof %.4g us\n", s.time.roof);
    }
    return s.time.us;
}

static void ratio(const char *what, double slow, double fast, double published)
{
    double r = slow / fast;
    if (getenv("HEDDLE_TEST_VERBOSE"))
        printf("%s: %.4g us to %.4g us, %.3g times; published %.3g\n", what, slow, fast, r, published);
    ck_assert_msg(r > 1 && r > published / 2 && r < published * 2,
        "%s: %.3g us to %.3g us is %.3g times, and %.3g "
        "is published",
        what, slow, fast, r, published);
}

START_TEST(published_ratios)
{
    double rows = us(product(512, ROWS_FIRST), "a6000"), columns = us(product(512, COLUMNS_FIRST), "a6000"),
           tiles = us(product(512, TILED), "a6000");
    ratio("product, rows first to columns first", rows, columns, 6.4);
    ratio("product, columns first to tiles", columns, tiles, 1.5);
    double plain = us(transpose(1024), "h200"), staged = us(transpose_staged(1024, 32, 32), "h200"),
           padded = us(transpose_staged(1024, 32, 33), "h200");
    ratio("transpose, plain to padded tiles", plain, padded, 6.3);
    ratio("transpose, tiles to padded tiles", staged, padded, 1.6);
    ratio("groups of 1 to 256", us(axpy(1 << 20, 1), "h200"), us(axpy(1 << 20, 256), "h200"), 32);
    double mixed = us(two_ways(1 << 20), "h200");
    sorted = true;
    double apart = us(two_ways(1 << 20), "h200");
    sorted = false;
    ratio("branches, mixed to sorted", mixed, apart, 2);
}
END_TEST

/* ==================== faults */

static void found(const Hand *h, const char *what)
{
    Memories d = data_of(h);
    static const char *const machines[] = { "h200", "malig715" };
    for (int m = 0; m < 2; m++) {
        Simulated s = simulate(h, machines[m], 0);
        ck_assert_msg(s.e && strstr(error_text(), what) && strstr(error_text(), "user.c:17"),
            "%s: not \"%s\" and the line, but: %s", machines[m], what, s.e ? error_text() : "nothing");
        error_clear();
    }
    ck_assert_msg(k_run(h->k, &(KLaunch){ .param = d.p }) && strstr(error_text(), "user.c:17"),
        "not noticed by the reader: %s, but: %s", what, error_text());
    error_clear();
}

static Hand planted(int64_t n, int64_t group, Form *item)
{
    Hand h = axpy(n, group);
    h.k = k_new("fault");
    k_writes(h.k, h.out);
    *item = form_a(k_grid(h.k, "g0", n, group));
    return h;
}

#define AT_LINE(...) \
    do { \
        Loc was_ = loc_set((Loc){ "user.c", 17 }); \
        __VA_ARGS__; \
        loc_set(was_); \
    } while (0)

START_TEST(faults)
{
    Form i;
    Hand h = planted(128, 64, &i); /* all groups write what one of them has */
    AT_LINE(k_store(h.k, h.out, k_item(h.k, 0), k_load(h.k, h.in[0], i)));
    k_finish(h.k), found(&h, "is written otherwise by work-item");

    h = planted(128, 64, &i); /* a neighbour's element, and no barrier */
    Buffer *s = k_local(h.k, DT_F32, 64);
    Form l = k_item(h.k, 0), mirror = form_addc(form_mul(l, -1), 63);
    k_store(h.k, s, l, k_load(h.k, h.in[0], i));
    Val before = 0;
    AT_LINE(before = k_load(h.k, s, mirror));
    k_store(h.k, h.out, i, before);
    k_finish(h.k);
    for (int m = 0; m < 2; m++) { /* which item meets it first depends on who goes first */
        Simulated x = simulate(&h, m ? "malig715" : "h200", 0);
        ck_assert_msg(x.e && strstr(error_text(), "user.c:17"), "not noticed, but: %s", error_text());
        error_clear();
    }

    h = planted(128, 64, &i); /* the same with one is right */
    s = k_local(h.k, DT_F32, 64), l = k_item(h.k, 0), mirror = form_addc(form_mul(l, -1), 63);
    k_store(h.k, s, l, k_load(h.k, h.in[0], i));
    k_barrier(h.k);
    k_store(h.k, h.out, i, k_load(h.k, s, mirror));
    k_finish(h.k);
    read_it(&h);
    ck_assert(!simulate(&h, "h200", 0).e);

    h = planted(128, 64, &i); /* one element too far */
    AT_LINE(k_store(h.k, h.out, form_addc(i, 1), k_load(h.k, h.in[0], i)));
    k_finish(h.k), found(&h, "out[128] of 128 elements is written");

    h = planted(128, 64, &i); /* the last item of a group has no neighbour that wrote */
    s = k_local(h.k, DT_F32, 65), l = k_item(h.k, 0);
    k_store(h.k, s, l, k_load(h.k, h.in[0], i));
    k_barrier(h.k);
    AT_LINE(before = k_load(h.k, s, form_addc(l, 1)));
    k_store(h.k, h.out, i, before);
    k_finish(h.k), found(&h, "l0[64] is read before it is written");
}
END_TEST

/* Half of a group comes to a barrier: the verifier says so, and who runs it all the same. */
START_TEST(barriers_for_some)
{
    Form i;
    Hand h = planted(128, 64, &i);
    Val item = k_index(h.k, k_item(h.k, 0));
    k_if(h.k, k2(h.k, K_LT, DT_BOOL, item, k_bits(h.k, (Dtype)h.k->ins[item].dt, 32)));
    AT_LINE(k_barrier(h.k));
    k_if_end(h.k, 0, NULL, NULL, NULL);
    k_store(h.k, h.out, i, k_load(h.k, h.in[0], i));
    k_finish(h.k);
    ck_assert_msg(k_check(h.k) && strstr(error_text(), "barrier") && strstr(error_text(), "user.c:17"), "%s",
        error_text());
    error_clear();
    Simulated s = simulate(&h, "h200", 0);
    ck_assert_msg(
        s.e && strstr(error_text(), "does not come to the barrier") && strstr(error_text(), "user.c:17"),
        "%s", error_text());
    error_clear();
    Memories d = data_of(&h);
    ck_assert(k_run(h.k, &(KLaunch){ .param = d.p }) && strstr(error_text(), "not all items"));
    error_clear();
}
END_TEST

/* Global memory that nobody wrote. */
START_TEST(unwritten)
{
    Form i;
    Hand h = planted(128, 64, &i);
    Val was = 0;
    AT_LINE(was = k_load(h.k, h.out, i));
    k_store(h.k, h.out, i, k2(h.k, K_ADD, DT_F32, was, k_load(h.k, h.in[0], i)));
    k_finish(h.k);
    Simulated s = simulate(&h, "h200", 0);
    ck_assert_msg(s.e && strstr(error_text(), "out[0] is read before it is written") &&
            strstr(error_text(), "user.c:17"),
        "%s", error_text());
    error_clear();
}
END_TEST

/* ==================== counts */

START_TEST(counts)
{
    Hand h = axpy(4096, 64);
    Simulated s = simulate(&h, "h200", 0);
    SimCounts *n = &s.counts;
    ck_assert(n->ran == 64 && n->groups == 64 && n->launches == 1);
    ck_assert(n->asked == 3 * 128 && n->sectors == 4 * n->asked && n->least == n->sectors);
    ck_assert(n->touched == 3 * 4096 * 4 && n->to_memory == n->touched);
    ck_assert(n->issued[C_F32] == 128 && n->busy[C_F32] == 4096 && n->flops == 2 * 4096);
    h = axpy(4096, 16); /* half of the lanes idle */
    s = simulate(&h, "h200", 0);
    ck_assert(n->busy[C_F32] == 16 * n->issued[C_F32]);
    h = transpose(64); /* a sector for each element that is written */
    s = simulate(&h, "h200", 0);
    ck_assert(n->sectors == 64 * 64 / 32 * (4 + 32) && n->least == 64 * 64 / 32 * 8);
    h = transpose_staged(64, 32, 32); /* 32 words of one bank */
    s = simulate(&h, "h200", 0);
    ck_assert(n->conflicts == 64 * 64 / 32 * 31);
    h = transpose_staged(64, 32, 33);
    s = simulate(&h, "h200", 0);
    ck_assert(n->conflicts == 0 && n->least == n->sectors && n->barriers == 4 * 8);
    h = two_ways(512); /* every subgroup goes both ways */
    s = simulate(&h, "h200", 0);
    ck_assert(n->split == 2 * 16 && n->busy[C_F32] < 0.55 * 32 * n->issued[C_F32]);
    h = transpose(512);
    s = simulate(&h, "h200", 8);
    ck_assert(n->ran == 8 && n->groups == 16 * 64);
}
END_TEST

START_TEST(profiles)
{
    Profile p;
    char path[] = "/tmp/heddle-profile-XXXXXX", name[64];
    int fd = mkstemp(path);
    ck_assert(fd >= 0);
    FILE *f = fdopen(fd, "w");
    fputs("lanes 8\n# nothing\nbandwith 3\n", f), fclose(f);
    ck_assert(profile_read(&p, path) && strstr(error_text(), ":3: \"bandwith\""));
    error_clear();
    snprintf(name, sizeof name, "%s", path);
    unlink(path);
    ck_assert(profile_read(&p, "h300") && strstr(error_text(), "h200"));
    error_clear();
}
END_TEST

static TCase *in_case(Suite *s, const char *name)
{
    TCase *c = tcase_create(name);
    tcase_add_checked_fixture(c, arena_in, arena_out);
    tcase_set_timeout(c, 300);
    suite_add_tcase(s, c);
    return c;
}

int main(void)
{
    Suite *s = suite_create("sim");
    TCase *c = in_case(s, "devices");
    tcase_add_loop_test(c, the_same_everywhere, 0, 9);
    c = in_case(s, "sim");
    tcase_add_test(c, what_they_compute);
    tcase_add_test(c, faults);
    tcase_add_test(c, barriers_for_some);
    tcase_add_test(c, unwritten);
    tcase_add_test(c, counts);
    tcase_add_test(c, profiles);
    c = in_case(s, "ratios");
    tcase_add_test(c, published_ratios);
    int failed = suite_run_unforked(s);
    device_close_all();
    return failed != 0;
}
