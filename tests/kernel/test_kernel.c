/*
 * test_kernel.c - the builder of the kernel IR, its passes and its verifier: what folds and what must not,
 * what leaves a loop, what is dead, which loads become blocks.
 */
#include <stdlib.h>
#include <string.h>

#include "in_arena.h"
#include "kernel.h"
#include "suite_run.h"

static Buffer *buffer(const char *name, Dtype dt, int64_t n)
{
    Buffer *b = NEW(Buffer);
    *b = (Buffer){ .name = name, .dt = dt, .size = n, .slot = -1 };
    return b;
}

static double number(const Kernel *k, Val v)
{
    ck_assert_msg(k_is_const(k, v), "v%u is not folded", (unsigned)v);
    int64_t b = k->ins[v].bits;
    return k->ins[v].dt == DT_F32 || k->ins[v].dt == DT_F64 ? dtype_load_f((Dtype)k->ins[v].dt, &b) :
                                                              (double)b;
}

static int op_of(const Kernel *k, Val v) { return k->ins[v].op; }

START_TEST(kernel_folds)
{
    Kernel *k = k_new("k");
    Buffer *b = buffer("a", DT_F32, 64), *u = buffer("u", DT_U32, 64), *h = buffer("h", DT_F16, 64);
    Val x = k_load(k, b, form_c(0)), n = k_load(k, u, form_c(0)), half = k_load(k, h, form_c(3));
    Val one = k_const(k, DT_F32, 1), zero = k_const(k, DT_F32, 0), minus_zero = k_const(k, DT_F32, -0.0);
    ck_assert_uint_eq(k2(k, K_MUL, DT_F32, one, x), x);
    ck_assert_uint_eq(k2(k, K_SUB, DT_F32, x, zero), x);
    ck_assert_uint_eq(k2(k, K_ADD, DT_F32, x, minus_zero), x);
    ck_assert(k2(k, K_ADD, DT_F32, x, zero) != x);              /* -0 */
    ck_assert(!k_is_const(k, k2(k, K_MUL, DT_F32, x, zero)));   /* nan */
    ck_assert(!k_is_const(k, k2(k, K_SUB, DT_F32, x, x)));      /* inf */
    Val q = k2(k, K_DIV, DT_F32, x, k_const(k, DT_F32, 8));
    ck_assert_int_eq(k->ins[q].op, K_MUL);
    ck_assert_int_eq(op_of(k, k2(k, K_DIV, DT_F32, x, k_const(k, DT_F32, 3))), K_DIV);
    ck_assert_int_eq(op_of(k, k2(k, K_DIV, DT_F32, x, k_const(k, DT_F32, 0x1p127))), K_DIV);
    ck_assert_double_eq(number(k, k2(k, K_DIV, DT_F32, one, k_const(k, DT_F32, 3))), (double)(1.0f / 3));
    ck_assert_double_eq(number(k, k1(k, K_CONVERT, DT_F32, k_bits(k, DT_U64, -1))), 0x1p64);
    ck_assert_double_eq(number(k, k2(k, K_MUL, DT_I8, k_bits(k, DT_I8, 100), k_bits(k, DT_I8, 3))), 44);
    ck_assert_double_eq(number(k, k2(k, K_MULHI, DT_U8, k_bits(k, DT_U8, 200), k_bits(k, DT_U8, 200))), 156);
    ck_assert_double_eq(number(k, k1(k, K_CLZ, DT_I16, k_bits(k, DT_I16, 1))), 15);
    ck_assert_double_eq(number(k, k1(k, K_POPCOUNT, DT_I8, k_bits(k, DT_I8, -1))), 8);
    ck_assert_double_eq(number(k, k2(k, K_SHR, DT_I8, k_bits(k, DT_I8, -1), k_bits(k, DT_I8, 4))), 15);
    ck_assert(!k_is_const(k, k2(k, K_DIV, DT_I32, k_bits(k, DT_I32, 1), k_bits(k, DT_I32, 0))));
    ck_assert_uint_eq(
        k1(k, K_CONVERT, DT_I8, k1(k, K_CONVERT, DT_U32, k_load(k, buffer("c", DT_I8, 4), form_c(0)))),
        k_load(k, k->param[3], form_c(0)));
    Val wide = k1(k, K_CONVERT, DT_I64, k1(k, K_CONVERT, DT_U32, k_load(k, k->param[3], form_c(0))));
    /* -1 -> 0xffffffff: not the same as -1 */
    ck_assert_int_eq(op_of(k, k->ins[wide].arg[0]), K_CONVERT);
    ck_assert_uint_eq(k2(k, K_XOR, DT_U32, n, n), k_bits(k, DT_U32, 0));
    ck_assert_uint_eq(
        k2(k, K_SUB, DT_U32, k2(k, K_ADD, DT_U32, n, k_bits(k, DT_U32, 7)), k_bits(k, DT_U32, 7)), n);
    Val m = k2(k, K_LT, DT_BOOL, n, k_bits(k, DT_U32, 9));
    ck_assert_int_eq(op_of(k, k1(k, K_NOT, DT_BOOL, m)), K_GE);
    ck_assert_uint_eq(k3(k, K_SELECT, DT_BOOL, m, k_bits(k, DT_BOOL, 1), k_bits(k, DT_BOOL, 0)), m);
    ck_assert_uint_eq(k3(k, K_SELECT, DT_F32, m, x, x), x);
    ck_assert_uint_eq(k1(k, K_ROUND, DT_F16, half), half);
    ck_assert(k1(k, K_ROUND, DT_BF16, half) != half);
    ck_assert_double_eq(number(k, k1(k, K_ROUND, DT_F16, k_const(k, DT_F32, 1e-8))), 0);
    ck_assert_double_eq(number(k, k1(k, K_HSUM, DT_F32, k_splat(k, one))), 16);
    ck_assert_uint_eq(k2(k, K_ADD, DT_F32, x, q), k2(k, K_ADD, DT_F32, q, x));
    ck_assert(!error_pending());
}
END_TEST

START_TEST(kernel_hoists)
{
    Kernel *k = k_new("k");
    Buffer *a = buffer("a", DT_F32, 1024), *o = buffer("o", DT_F32, 1024);
    k_writes(k, o);
    Val phi, out, zero = k_const(k, DT_F32, 0);
    const Atom *i = k_loop(k, "k", 16, 1, &zero, &phi);
    Val c = k_load(k, a, form_c(5)), x = k_load(k, a, form_a(i)), kept = k_load(k, o, form_c(0));
    ck_assert_int_eq(k->ins[c].home, 0);
    ck_assert_int_eq(k->ins[x].home, k->cur);
    ck_assert_int_eq(k->ins[kept].home, k->cur);
    ck_assert(k_load(k, o, form_c(0)) != kept);
    Val m = k2(k, K_GT, DT_BOOL, x, c), r;
    k_if(k, m);
    Val e = k2(k, K_MUL, DT_F32, c, c);         /* nothing leaves a branch */
    ck_assert_int_eq(k->ins[e].home, k->cur);
    k_if_end(k, 1, &e, &zero, &r);
    ck_assert(!k_visible(k, e) && k_visible(k, r));
    Val next = k2(k, K_ADD, DT_F32, phi, r);
    k_loop_end(k, &next, &out);
    k_store(k, o, form_c(1), out);
    ck_assert_msg(!k_check(k), "%s", error_text());
    k_finish(k);
    ck_assert_msg(!k_check(k), "%s", error_text());
    ck_assert_int_eq(k->nparam, 2);
    ck_assert(k->written[0] && !k->written[1]);
    ck_assert(!error_pending());
}
END_TEST

START_TEST(kernel_dead_code)
{
    Kernel *k = k_new("k");
    Buffer *a = buffer("a", DT_F32, 1024), *unused = buffer("u", DT_F32, 8), *o = buffer("o", DT_F32, 1024);
    k_writes(k, o);
    Val init[2] = { k_const(k, DT_F32, 0), k_const(k, DT_F32, 1) }, phi[2], out[2];
    const Atom *i = k_loop(k, "k", 16, 2, init, phi);
    Val next[2] = { k2(k, K_ADD, DT_F32, phi[0], k_load(k, a, form_a(i))),
        k2(k, K_MUL, DT_F32, phi[1], k_load(k, unused, form_c(0))) };
    k_loop_end(k, next, out);
    const Atom *j = k_loop(k, "k", 16, 1, init, phi);   /* nobody wants it */
    next[0] = k2(k, K_ADD, DT_F32, phi[0], k_load(k, a, form_a(j)));
    k_loop_end(k, next, out + 1);
    k_store(k, o, form_c(1), out[0]);
    k_finish(k);
    ck_assert_msg(!k_check(k), "%s", error_text());
    int loops = 0;
    for (int s = 0; s < k->scope[0].nbody; s++) {
        const KIns *x = &k->ins[k->scope[0].body[s]];
        loops += x->op == K_LOOP;
        ck_assert(x->op != K_LOOP || x->ncarry == 1);
    }
    ck_assert_int_eq(loops, 1);
    ck_assert_int_eq(k->nparam, 2);             /* u is gone */
}
END_TEST

static int count(const Kernel *k, KOp op)
{
    int n = 0;
    for (int s = 0; s < k->nscope; s++)
        for (int i = 0; i < k->scope[s].nbody; i++)
            n += k->ins[k->scope[s].body[i]].op == op;
    return n;
}

START_TEST(kernel_blocks)
{
    Kernel *k = k_new("k");
    Buffer *a = buffer("a", DT_F32, 4096), *o = buffer("o", DT_F32, 4096), *s = buffer("s", DT_I16, 4096);
    k_writes(k, o);
    for (int c = 0; c < 4; c++) {
        Form f = form_addc(form_mul(form_a(LANE), 4), c);
        k_store(k, o, f, k_load(k, a, f));
        k_store(k, o, form_addc(f, 256), k1(k, K_CONVERT, DT_F32, k_load(k, s, f)));
    }
    k_finish(k);
    ck_assert_msg(!k_check(k), "%s", error_text());
    ck_assert_int_eq(count(k, K_LOADS), 1);     /* not of i16 */
    ck_assert_int_eq(count(k, K_STORES), 2);
    k = k_new("k2");                            /* a store between may change what is loaded */
    k_writes(k, o);
    for (int c = 0; c < 2; c++) {
        Form f = form_addc(form_mul(form_a(LANE), 2), c);
        k_store(k, o, f, k2(k, K_ADD, DT_F32, k_load(k, o, f), k_load(k, o, form_c(1))));
    }
    k_finish(k);
    ck_assert_msg(!k_check(k), "%s", error_text());
    ck_assert_int_eq(count(k, K_LOADS) + count(k, K_STORES), 0);
}
END_TEST

START_TEST(kernel_check_finds)
{
    Kernel *k = k_new("k");
    Buffer *o = buffer("o", DT_F32, 64);
    Val phi, out, zero = k_const(k, DT_F32, 0);
    const Atom *i = k_loop(k, "k", 16, 1, &zero, &phi);
    Val x = k2(k, K_ADD, DT_F32, phi, phi);
    k_loop_end(k, &x, &out);
    ck_assert_uint_eq(k1(k, K_NEG, DT_F32, x), 0);      /* of a scope that is closed */
    ck_assert(error_pending());
    error_clear();
    ck_assert_uint_eq(k_load(k, buffer("a", DT_F32, 64), form_a(i)), 0);
    ck_assert(error_pending());
    error_clear();
    k_store(k, o, form_c(0), out);
    ck_assert_msg(!k_check(k), "%s", error_text());
    for (int v = 0; v < k->nins; v++)
        if (k->ins[v].op == K_STORE)
            k->ins[v].arg[0] = x;
    ck_assert_int_ne(k_check(k), 0);
    ck_assert_ptr_nonnull(strstr(error_text(), "store"));
}
END_TEST

START_TEST(kernel_large)
{
    Kernel *k = k_new("k");
    Buffer *a = buffer("a", DT_F32, 1 << 20), *o = buffer("o", DT_F32, 1 << 20);
    k_writes(k, o);
    for (int n = 0; n < 4000; n++) {
        Val x = k_load(k, a, form_addc(form_a(LANE), 16 * n));
        Val y = k_load(k, a, form_addc(form_a(LANE), 16 * (n * 7 % 4000)));
        x = k3(k, K_FMA, DT_F32, x, y, k2(k, K_MUL, DT_F32, x, k_const(k, DT_F32, n)));
        k_store(k, o, form_addc(form_a(LANE), 16 * n), x);
    }
    k_finish(k);
    ck_assert_msg(!k_check(k), "%s", error_text());
    Text t = { 0 };
    k_dump(k, &t);
    ck_assert_uint_gt(t.n, 100000);
    text_free(&t);
}
END_TEST

Suite *kernel_suite(void);
Suite *kernel_suite(void)
{
    Suite *s = suite_create("kernel");
    TCase *k = tcase_create("kernels");
    tcase_add_checked_fixture(k, arena_in, arena_out);
    tcase_add_test(k, kernel_folds);
    tcase_add_test(k, kernel_hoists);
    tcase_add_test(k, kernel_dead_code);
    tcase_add_test(k, kernel_blocks);
    tcase_add_test(k, kernel_check_finds);
    tcase_add_test(k, kernel_large);
    suite_add_tcase(s, k);
    return s;
}

int main(void)
{
    return suite_run(kernel_suite());
}
