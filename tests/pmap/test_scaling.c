/*
 * test_scaling.c - one program over 2, 16 and 64 devices of a kind: it is compiled once, of as many
 * instructions for all numbers, and the result is that of one device. Counted in what HEDDLE_DUMP=graph
 * shows of what is compiled. What sums take is measured on a pair of them, once, and only where it matters.
 */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "fault.h"
#include "suite.h"

static hd loss(hd w, hd x) { return hd_mean(hd_square(hd_tanh(hd_mul(w, x)))); }
static hd step(hd w, hd x) { return hd_sub(w, hd_mul_c(hd_pmean(hd_apply(hd_grad(loss), w, x), "i"), .1)); }

typedef struct Seen { int graphs, instructions; } Seen;

static const char *listed(int n)
{
    static char list[800];
    int at = snprintf(list, sizeof list, "host");
    for (int k = 1; k < n; k++)
        at += snprintf(list + at, sizeof list - (size_t)at, ",host:%d", k);
    return list;
}

/* What is said on stderr while n devices get their program. */
static Seen compiled(int n, hd_array *w, hd_array *x, hd_array **y)
{
    char line[400];
    Seen s = { 0 };
    FILE *f = tmpfile();
    int before = dup(STDERR_FILENO);
    ck_assert(f && before >= 0 && dup2(fileno(f), STDERR_FILENO) >= 0);
    int e = hd_call(
        hd_pmap(step, .axis_name = "i", .devices = listed(n), .in_axes = { HD_NONE, 0 },
            .out_axes = HD_NONE), y, w, x);
    fflush(stderr);
    dup2(before, STDERR_FILENO);
    close(before);
    ck_assert_msg(!e, "%d devices: %s", n, hd_error());
    rewind(f);
    while (fgets(line, sizeof line, f))
        s.graphs += !strncmp(line, "---- graph", 10), s.instructions += strstr(line, " = ") != NULL;
    fclose(f);
    return s;
}

START_TEST(once_for_all)
{
    static float numbers[64 * 3];
    static const int number[] = { 2, 16, 64 };
    Seen first = { 0 };
    for (int k = 0; k < 64 * 3; k++)
        numbers[k] = sinf((float)k);
    hd_array *w = hd_array_of(numbers, 3);
    for (int k = 0; k < 3; k++) {
        hd_array *x = hd_array_of(numbers, number[k], 3), *y = NULL, *want = NULL;
        Seen s = compiled(number[k], w, x, &y);
        first = k ? first : s;
        ck_assert_msg(s.graphs == 1 && s.instructions > 5 && s.instructions == first.instructions,
            "%d devices: %d graphs, %d instructions, not %d", number[k], s.graphs, s.instructions,
            first.instructions);
        hd_fn *v = hd_vmap(step, .axis_name = "i", .in_axes = { HD_NONE, 0 }, .out_axes = HD_NONE);
        ck_assert_msg(!hd_call(hd_jit(v, .device = "host"), &want, w, x), "%s", hd_error());
        ck_assert(!memcmp(hd_data(y), hd_data(want), 3 * sizeof(float)));
        hd_drop(x), hd_drop(y), hd_drop(want);
    }
    hd_drop(w);
}
END_TEST

static hd summed(hd x) { return hd_psum(hd_sin(x), "i"); }

/* How often shards come to an exchange in a first call, of as many numbers a shard. */
static long exchanges(int n, int64_t size)
{
    float *numbers = calloc((size_t)n * (size_t)size, sizeof *numbers);
    hd_array *x = hd_array_new(HD_F32, (hd_ints){ 2, { n, size } }, numbers, NULL), *y = NULL;
    fault_set("host:exchange:1000000");
    ck_assert_msg(
        !hd_call(hd_pmap(summed, .axis_name = "i", .devices = listed(n)), &y, x) && hd_data(y), "%s",
        hd_error());
    long calls = fault_calls();
    fault_set(NULL);
    hd_drop(x), hd_drop(y);
    free(numbers);
    return calls;
}

/* A sum is one exchange of each shard, gathered or in parts: these devices are not of one realm. */
START_TEST(measured_on_a_pair)
{
    enum { LITTLE = 8, MUCH = 1 << 19, SOME = 1 << 10 };
    enum { PAIR = 2, WAYS = 2, SIZES = 2, ROUNDS = 4, CHAIN = 4 };
    unsetenv("HEDDLE_DUMP");
    setenv("HEDDLE_CACHE", "off", 1);
    ck_assert_int_eq(exchanges(16, LITTLE), 16);            /* what is little, or very much, asks nobody */
    ck_assert_int_eq(exchanges(16, MUCH), 16);
    ck_assert_int_eq(exchanges(16, SOME), 16 + PAIR * WAYS * SIZES * ROUNDS * CHAIN);
    ck_assert_int_eq(exchanges(64, SOME), 64);              /* known by now */
    ck_assert_int_eq(exchanges(3, SOME), 3);
}
END_TEST

int main(void)
{
    fault_set("host:open:1000000");             /* devices are opened so that their calls are counted */
    setenv("HEDDLE_HOST_DEVICES", "64", 1);
    setenv("HEDDLE_DUMP", "graph", 1);
    Suite *s = suite_create("scaling");
    TCase *c = suite_case(s);
    tcase_add_test(c, once_for_all);
    tcase_add_test(c, measured_on_a_pair);
    return suite_run(s);
}
