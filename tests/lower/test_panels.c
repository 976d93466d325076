/*
 * test_panels.c - products whose work-items copy panels for themselves, with sizes that no block divides.
 *
 * In:  small integers, whose sums are exact in any order; a machine that has panels for the smallest
 * products (panels.txt). Out: what the host gives, bit for bit, from kernels that are read.
 */
#include <stdlib.h>
#include <string.h>

#include "heddle.h"
#include "suite_run.h"

static hd plain(hd x, hd y) { return hd_matmul(x, y); }
static hd turned(hd x, hd y) { return hd_matmul(x, hd_transpose(y)); }
static hd rows_turned(hd x, hd y) { return hd_matmul(hd_transpose(x), y); }
static hd both_turned(hd x, hd y) { return hd_matmul(hd_transpose(x), hd_transpose(y)); }
static hd itself(hd x, hd y) { return hd_add(hd_matmul(hd_transpose(x), x), hd_sum(y)); }
static hd then(hd x, hd y) { return hd_add(hd_abs(hd_matmul(x, y)), hd_matmul(hd_neg(x), y)); }
static hd of_halves(hd x, hd y) { return hd_matmul(hd_cast(x, HD_F16), hd_cast(y, HD_F16)); }
static hd of_integers(hd x, hd y) { return hd_matmul(hd_cast(x, HD_I32), hd_cast(y, HD_I32)); }

typedef struct Product { hd (*f)(hd, hd); bool left, right, lanes; } Product;
static const Product product[] = { { plain, false, false, true }, { turned, false, true, false },
    { rows_turned, true, false, false }, { both_turned, true, true, false }, { itself, true, false, false },
    { then, false, false, true }, { of_halves, false, false, true }, { of_integers, false, false, true } };
static const int size[][4] = { { 0, 8, 5, 32 }, { 0, 64, 37, 33 }, { 0, 17, 64, 100 }, { 0, 100, 71, 47 },
    { 0, 130, 16, 64 }, { 0, 41, 1, 65 }, { 3, 20, 17, 40 }, { 2, 40, 30, 70 } };
enum { PRODUCTS = sizeof product / sizeof *product, SIZES = sizeof size / sizeof *size };

static hd_array *filled(int lanes, int rows, int columns)
{
    size_t n = (size_t)(lanes ? lanes : 1) * (size_t)rows * (size_t)columns;
    float *p = malloc(n * sizeof *p);
    ck_assert_ptr_nonnull(p);
    for (size_t k = 0; k < n; k++)
        p[k] = (float)(k * 7 % 11) - 5;
    hd_array *a = lanes ? hd_array_of(p, lanes, rows, columns) : hd_array_of(p, rows, columns);
    free(p);
    return a;
}

static hd_array *result(const Product *p, const char *device, hd_array *x, hd_array *y)
{
    hd_array *r = NULL;
    ck_assert_msg(!hd_call(hd_jit(p->f, .device = device), &r, x, y), "%s", hd_error());
    return r;
}

START_TEST(exact)
{
    const Product *p = &product[_i % PRODUCTS];
    const int *s = size[_i / PRODUCTS];
    if (s[0] && !p->lanes)
        return;
    hd_array *x = filled(s[0], p->left ? s[2] : s[1], p->left ? s[1] : s[2]);
    hd_array *y = filled(s[0], p->right ? s[3] : s[2], p->right ? s[2] : s[3]);
    hd_array *r = result(p, "kernel", x, y), *want = result(p, "host", x, y);
    size_t n = (size_t)hd_array_size(want) * (hd_array_dtype(want) == HD_F16 ? 2 : 4);
    ck_assert_msg(!memcmp(hd_data(r), hd_data(want), n), "product %d of %d x %d x %d",
        (int)(p - product), s[1], s[2], s[3]);
    hd_drop(x), hd_drop(y), hd_drop(r), hd_drop(want);
}
END_TEST

int main(void)
{
    setenv("HEDDLE_MACHINE", "lower/panels.txt", 1);
    Suite *s = suite_create("panels");
    TCase *c = tcase_create("all");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, exact, 0, PRODUCTS * SIZES);
    suite_add_tcase(s, c);
    return suite_run(s);
}
