/*
 * test_machine.c - the table that plans depend on: its text, what follows from what, what is refused,
 * $HEDDLE_MACHINE.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend.h"
#include "suite_run.h"

static const char *const kept[] = { "vectors128", "vectors256", "vectors512", "gpu32" };
enum { KEPT = sizeof kept / sizeof *kept };

static void setup(void) { error_clear(); }

static Machine machine_kept(const char *name)
{
    char path[128];
    Machine m = machine_processor;
    snprintf(path, sizeof path, "../machines/%s.txt", name);
    ck_assert_msg(machine_read(&m, path) == 0, "%s", error_text());
    return m;
}

/* What is computed from the rows of the standard machines is what they have. */
START_TEST(standard_rows_agree)
{
    Machine p = machine_processor, g = machine_gpu;
    machine_follow(&p), machine_follow(&g);
    ck_assert(!memcmp(&p, &machine_processor, sizeof p));
    ck_assert(!memcmp(&g, &machine_gpu, sizeof g));
}
END_TEST

START_TEST(text_and_back)
{
    for (int k = 0; k < KEPT; k++) {
        Machine m = machine_kept(kept[k]), back = machine_gpu;
        m.launch += 17, m.store += .25;
        Text t = { 0 };
        machine_print(&m, &t);
        ck_assert_msg(machine_parse(&back, t.s, "text") == 0, "%s", error_text());
        ck_assert_msg(!memcmp(&m, &back, sizeof m), "%s is not what its text says:\n%s", kept[k], t.s);
        text_free(&t);
    }
}
END_TEST

/* A row of the first part moves those that follow from it, unless they have rows of their own, wherever
 * these stand. */
START_TEST(rows_follow)
{
    Machine m = machine_processor, n = machine_processor, o = machine_processor;
    ck_assert_int_eq(machine_parse(&m, "cores 100", "text"), 0);
    ck_assert_int_eq(m.items, 400);
    ck_assert_int_eq(machine_parse(&n, "items 7   # few\n\n  cores\t100\r\n", "text"), 0);
    ck_assert_int_eq(n.items, 7);
    ck_assert_int_eq(machine_parse(&o, "gpu\ncores 100\n", "text"), 0);
    ck_assert_int_eq(o.items, 400);
    ck_assert_int_eq(o.launch, machine_gpu.launch);
    Machine same = m;
    ck_assert(machine_hash(&m) != machine_hash(&n) && machine_hash(&m) == machine_hash(&same));
}
END_TEST

START_TEST(what_is_refused)
{
    static const struct { const char *text, *says; } bad[] = {
        { "cores 2\nspeed 3\n", "file:2: there is no such row: speed" },
        { "cores", "file:1: not a whole number from 0 on: cores" },
        { "cores two", "not a whole number from 0 on: cores two" },
        { "cores 2 3", "not a whole number from 0 on: cores 2 3" },
        { "\ncores -1", "file:2: not a whole number" },
        { "cores 1.5", "not a whole number from 0 on: cores 1.5" },
        { "cores 1e99", "not a whole number" },
        { "store nan", "not a number from 0 on: store nan" },
        { "processors", "there is no such row: processors" },
    };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        Machine m = machine_gpu;
        error_clear();
        ck_assert_int_eq(machine_parse(&m, bad[k].text, "file"), E_INVAL);
        ck_assert_msg(strstr(error_text(), bad[k].says) != NULL, "\"%s\": %s", bad[k].text, error_text());
        ck_assert(!memcmp(&m, &machine_gpu, sizeof m));
    }
    Machine m = machine_gpu;
    error_clear();
    ck_assert_int_eq(machine_read(&m, "no/such/file"), E_IO);
    ck_assert(strstr(error_text(), "no/such/file") != NULL);
}
END_TEST

static const char *const device[] = { "opencl:0", "vulkan:0" };

static int written(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    return f && fputs(text, f) >= 0 && !fclose(f);
}

/* Each test is a process of its own, so these open devices anew. */
START_TEST(variable_replaces_rows)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/heddle-machine-%d", (int)getpid());
    ck_assert(written(path, "flight 3\nstore 9.5\n"));
    setenv("HEDDLE_MACHINE", path, 1);
    Device *d = device_find(device[_i]);
    unlink(path);
    if (!d)
        return;
    ck_assert_int_eq(d->info.machine.flight, 3);
    ck_assert(d->info.machine.store == 9.5);
    ck_assert_int_ge(d->info.machine.cores, 1);
}
END_TEST

START_TEST(variable_with_a_mistake)
{
    char path[64];
    if (!device_find(device[_i]))
        return;
    device_close_all();
    snprintf(path, sizeof path, "/tmp/heddle-machine-%d", (int)getpid());
    ck_assert(written(path, "flights 3\n"));
    setenv("HEDDLE_MACHINE", path, 1);
    Device *d = device_find(device[_i]);
    unlink(path);
    ck_assert_msg(!d && strstr(error_text(), "flights") && strstr(error_text(), ":1:"), "%s", error_text());
}
END_TEST

/* What the system says is taken: a processor has the caches that it has. */
START_TEST(processor_is_asked)
{
    Machine m = machine_processor;
    m.cores = m.l1 = m.l2 = -1;
    processor_machine(&m);
    ck_assert_int_eq(m.cores, sysconf(_SC_NPROCESSORS_ONLN));
    if (access("/sys/devices/system/cpu/cpu0/cache/index0/size", R_OK) == 0) {
        ck_assert_int_ge(m.l1, 4096);
        ck_assert(m.l2 == -1 || m.l2 >= m.l1);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("machine");
    TCase *c = tcase_create("all");
    tcase_add_checked_fixture(c, setup, NULL);
    tcase_set_timeout(c, 300);
    tcase_add_test(c, standard_rows_agree);
    tcase_add_test(c, text_and_back);
    tcase_add_test(c, rows_follow);
    tcase_add_test(c, what_is_refused);
    tcase_add_loop_test(c, variable_replaces_rows, 0, 2);
    tcase_add_loop_test(c, variable_with_a_mistake, 0, 2);
    tcase_add_test(c, processor_is_asked);
    suite_add_tcase(s, c);
    return suite_run(s);
}
