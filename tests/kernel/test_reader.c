/*
 * test_reader.c - kernels read instruction by instruction (graph/kernel/run.c): what they compute, and what
 * is found wrong with them.
 *
 * In:  kernels built here by hand, each right but for one thing. Out: the error that names it. No device is
 * needed.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "in_arena.h"
#include "kernel.h"
#include "run.h"
#include "suite.h"

enum { N = 64 };

/* A kernel over items of its grid, with an input of N f32 and an output of as many. */
typedef struct Made { Kernel *k; Buffer *x, *y; Form g; } Made;

static Buffer *buffer(const char *name, Dtype dt)
{
    Buffer *b = NEW(Buffer);
    *b = (Buffer){ .name = name, .dt = dt, .space = GLOBAL, .size = N };
    return b;
}

static Made made(int64_t items)
{
    Made m = { k_new("k"), buffer("x", DT_F32), buffer("y", DT_F32), NULL };
    const Atom *g = atom_var("g0", items, 0);
    k_where(m.k, g, 0);
    m.k->grid[m.k->ngrid++] = (Grid){ g, items, 0 };
    m.g = form_a(g);
    k_writes(m.k, m.y);
    return m;
}

/* y, or NULL after an error. */
static float *run(const Made *m)
{
    float *x = NEWS(float, N), *y = NEWS(float, N);
    for (int i = 0; i < N; i++)
        x[i] = (float)i + 1, y[i] = -1;
    k_finish(m->k);
    ck_assert_msg(k_check(m->k) == 0, "%s", error_text());
    void **param = NEWS(void *, m->k->nparam);
    for (int p = 0; p < m->k->nparam; p++)
        param[p] = m->k->param[p] == m->x ? x : y;
    return k_run(m->k, &(KLaunch){ .param = param }) ? NULL : y;
}

static void found(const Made *m, const char *what)
{
    ck_assert_msg(!run(m), "not noticed: %s", what);
    ck_assert_msg(strstr(error_text(), what) && strstr(error_text(), "kernel k"), "not \"%s\" but: %s", what,
        error_text());
    error_clear();
}

static Form vector(Form f, int64_t stride) { return form_add(form_mul(f, stride), form_a(LANE)); }

START_TEST(computes)
{
    Made m = made(4);                           /* y = x * x + 1, 16 lanes each */
    Val x = k_load(m.k, m.x, vector(m.g, W));
    k_store(m.k, m.y, vector(m.g, W), k3(m.k, K_FMA, DT_F32, x, x, k_const(m.k, DT_F32, 1)));
    float *y = run(&m);
    ck_assert_msg(y != NULL, "%s", error_text());
    for (int i = 0; i < N; i++)
        ck_assert(y[i] == (float)((i + 1) * (i + 1) + 1));
}
END_TEST

START_TEST(loops)
{
    /* two carried values change places in each of 5 steps, then an exit at the third */
    Made m = made(1);
    const Val init[] = { k_const(m.k, DT_F32, 1), k_const(m.k, DT_F32, 2) };
    Val phi[2], out[2], count, end;
    k_loop(m.k, "t", 5, 2, init, phi);
    k_loop_end(m.k, (const Val[]){ phi[1], phi[0] }, out);
    k_store(m.k, m.y, form_c(0), out[0]);
    const Val zero = k_const(m.k, DT_I32, 0);
    k_loop(m.k, "w", -1, 1, &zero, &count);
    k_brk(m.k, k2(m.k, K_LT, DT_BOOL, count, k_const(m.k, DT_I32, 3)));
    const Val next = k2(m.k, K_ADD, DT_I32, count, k_const(m.k, DT_I32, 1));
    k_loop_end(m.k, &next, &end);
    k_store(m.k, m.y, form_c(1), k1(m.k, K_CONVERT, DT_F32, end));
    k_store(m.k, m.y, form_c(2), k1(m.k, K_HSUM, DT_F32, k_load(m.k, m.x, form_a(LANE))));
    float *y = run(&m);
    ck_assert_msg(y != NULL, "%s", error_text());
    ck_assert(y[0] == 2 && y[1] == 3 && y[2] == 136);
}
END_TEST

/* x * x + 2, and that of itself: a function inside of a function, called twice. */
static Val squared(Kernel *k, int what, Val x)
{
    KFunction *f = k_function_of(k, what, DT_F32, 1);
    if (!f) {
        f = k_function(k, what, what ? "twice" : "once", 1, &x);
        Val in = f->arg[0], two = k_const(k, DT_F32, 2);
        in = what ? squared(k, 0, squared(k, 0, in)) : k3(k, K_FMA, DT_F32, in, in, two);
        k_function_end(k, f, 1, &in);
    }
    return k_apply(k, f, &x);
}

START_TEST(functions)
{
    Made m = made(N);
    Val x = k_load(m.k, m.x, m.g), a = squared(m.k, 1, x), b = squared(m.k, 1, k2(m.k, K_MUL, DT_F32, x, x));
    ck_assert(m.k->nfunction == 2 && squared(m.k, 1, x) == a);
    k_store(m.k, m.y, m.g, k2(m.k, K_ADD, DT_F32, a, b));
    float *y = run(&m);
    ck_assert_msg(y != NULL, "%s", error_text());
    for (int i = 0; i < 4; i++) {
        float s = (float)((i + 1) * (i + 1)), once = s + 2, other = s * s + 2;
        ck_assert(y[i] == once * once + 2 + (other * other + 2));
    }
    m = made(1);                                /* of two results */
    x = k_load(m.k, m.x, form_a(LANE));
    KFunction *f = k_function(m.k, 0, "turned", 2, (const Val[]){ x, x });
    k_function_end(m.k, f, 2, (const Val[]){ k1(m.k, K_NEG, DT_F32, f->arg[1]), f->arg[0] });
    Val call = k_apply(m.k, f, (const Val[]){ x, k_const(m.k, DT_F32, 7) }), *part = m.k->ins[call].part;
    k_store(m.k, m.y, form_a(LANE), part[0]);
    k_store(m.k, m.y, form_addc(form_a(LANE), W), part[1]);
    y = run(&m);
    ck_assert_msg(y && y[3] == -7 && y[W + 3] == 4, "%s", error_text());
    m = made(1);                                /* it knows nothing but its operands */
    x = k_load(m.k, m.x, m.g);
    f = k_function(m.k, 0, "leaks", 1, &x);
    const Val sum = k2(m.k, K_ADD, DT_F32, f->arg[0], x);
    k_function_end(m.k, f, 1, &sum);
    k_store(m.k, m.y, m.g, k_apply(m.k, f, &x));
    k_finish(m.k);
    ck_assert(k_check(m.k) && strstr(error_text(), "is not defined before it"));
    error_clear();
}
END_TEST

START_TEST(bounds)
{
    Made m = made(4);
    k_store(m.k, m.y, vector(form_addc(m.g, 1), W), k_load(m.k, m.x, vector(m.g, W)));
    found(&m, "y[64] of 64 elements is written");
    /* into the slack is no fault, if nothing comes of it; further is */
    m = made(4);
    k_store(m.k, m.y, vector(m.g, W), k_load(m.k, m.x, form_addc(vector(m.g, W), -N)));
    ck_assert(run(&m) != NULL);
    m = made(4);
    k_store(m.k, m.y, vector(m.g, W), k_load(m.k, m.x, form_addc(vector(m.g, W), -N - 1)));
    found(&m, "x[-65] of 64 elements is read");
    m = made(1);
    Buffer *p = k_private(m.k, DT_F32, 8);
    k_store(m.k, p, form_c(3), k_const(m.k, DT_F32, 1));
    k_store(m.k, m.y, form_c(0), k_load(m.k, p, form_c(4)));
    found(&m, "before it is written");
    m = made(1);
    p = k_private(m.k, DT_F32, 8);
    k_store(m.k, p, form_a(LANE), k_load(m.k, m.x, form_a(LANE)));
    k_store(m.k, m.y, form_c(0), k_load(m.k, p, form_c(0)));
    found(&m, "[8] of 8 elements is written");
}
END_TEST

START_TEST(races)
{
    Made m = made(2);                           /* blocks that overlap: the same values, which is right */
    k_store(m.k, m.y, vector(m.g, 8), k_load(m.k, m.x, vector(m.g, 8)));
    ck_assert_msg(run(&m) != NULL, "%s", error_text());
    m = made(2);
    k_store(m.k, m.y, form_a(LANE), k_load(m.k, m.x, vector(m.g, 8)));
    found(&m, "written otherwise by work-item 0");
    m = made(2);                                /* the second one reads what the first one wrote */
    Val before = k_load(m.k, m.y, form_c(0));
    k_store(m.k, m.y, m.g, k2(m.k, K_ADD, DT_F32, before, k_const(m.k, DT_F32, 1)));
    found(&m, "is read, and work-item 0 wrote it");
    m = made(2);                                /* the second one writes what the first one has read */
    before = k_load(m.k, m.y, form_c(1));
    k_store(m.k, m.y, m.g, before);
    found(&m, "another work-item read what was there");
}
END_TEST

START_TEST(arithmetic)
{
    Made m = made(1);                           /* a division by zero has no result */
    Val x = k1(m.k, K_CONVERT, DT_I32, k_load(m.k, m.x, form_c(0)));
    Val zero = k2(m.k, K_SUB, DT_I32, k1(m.k, K_CONVERT, DT_I32, k_load(m.k, m.x, form_c(1))),
        k2(m.k, K_ADD, DT_I32, x, x));
    k_store(m.k, m.y, form_c(0), k1(m.k, K_CONVERT, DT_F32, k2(m.k, K_DIV, DT_I32, x, zero)));
    found(&m, "1 and 0 have no result");
}
END_TEST

/* The device: not listed, there for who names it, and the same numbers as the host's. */
static hd smooth(hd x) { return hd_div(hd_exp(x), hd_sum(hd_exp(x))); }

START_TEST(device)
{
    const float v[] = { 1, 2, 3 };
    float host[3], here[3];
    for (int i = 0; i < hd_device_count(); i++) {
        hd_device_info d;
        ck_assert(!hd_device(i, &d) && strcmp(d.name, "kernel"));
    }
    for (int k = 0; k < 2; k++) {
        hd_array *x = hd_array_new(HD_F32, HD_INTS(3), v, NULL), *there = hd_put(x, k ? "kernel" : "host"),
                 *y = NULL;
        ck_assert_msg(
            there && !hd_call(smooth, &y, there) && !hd_read(y, k ? here : host, 3), "%s", hd_error());
        hd_drop(x), hd_drop(there), hd_drop(y);
    }
    for (int i = 0; i < 3; i++)
        ck_assert(host[i] - here[i] < 1e-6f && here[i] - host[i] < 1e-6f);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("reader");
    tcase_add_test(suite_case(s), device);
    TCase *c = tcase_create("kernels");
    tcase_add_checked_fixture(c, arena_in, arena_out);
    tcase_add_test(c, computes);
    tcase_add_test(c, loops);
    tcase_add_test(c, functions);
    tcase_add_test(c, bounds);
    tcase_add_test(c, races);
    tcase_add_test(c, arithmetic);
    suite_add_tcase(s, c);
    return suite_run(s);
}
