/*
 * test_positions.c - positions and sizes that a dtype does not hold: a wider dtype, or an error with a
 * sentence; never a wrap.
 *
 * In:  functions of an array of 2^33 elements, of which only types are worked out, and of small ones in
 * narrow integers.
 * Out: the dtype of positions, words of the error, or values.
 */
#include <stdlib.h>
#include <string.h>

#include "heddle.h"
#include "suite_run.h"

#define LONG_AXIS (INT64_C(1) << 33)

static hd zero(enum hd_dtype d) { return hd_cast(hd_c(0), d); }
static hd step(hd c, hd x) { return (void)x, hd_tuple(c, hd_zeros(HD_F32, INT64_C(1) << 30)); }

static hd largest_at(hd x) { return hd_argmax(x, 0); }
static hd smallest_at(hd x) { return hd_argmin(x, 0); }
static hd order(hd x) { return hd_argsort(x, 0); }
static hd place(hd x) { return hd_searchsorted(x, zero(HD_F32)); }
static hd not_zero(hd x) { return hd_nth(hd_nonzero(x, 4), 0); }
static hd first_three(hd x) { return hd_nth(hd_top_k(x, 3, 0), 1); }
static hd steps(hd x)
{
    return (void)x, hd_nth(hd_scan(step, zero(HD_F32), HD_NIL, .length = INT64_C(1) << 40), 1);
}
static hd spread_out(hd x)
{
    return hd_pad(x, zero(HD_F32), HD_INTS(0), HD_INTS(0), HD_INTS(INT64_C(1) << 31));
}
static hd padded(hd x)
{
    return hd_pad(x, zero(HD_F32), HD_INTS(INT64_MAX), HD_INTS(INT64_MAX), HD_INTS(0));
}
static hd wider(hd x)
{
    return hd_cast(hd_broadcast_to(hd_cast(x, HD_I8), INT64_C(1) << 28, LONG_AXIS), HD_F64);
}
static hd counted(hd x) { return (void)x, hd_iota(HD_I32, 0, LONG_AXIS); }
static hd few(hd x) { return (void)x, hd_iota(HD_I8, 0, 300); }
static hd range(hd x) { return (void)x, hd_arange(HD_I8, 100, 131, 10); }
static hd line(hd x) { return (void)x, hd_linspace(HD_U8, 0, 300, 4); }

/* dtype of the result, or what the error says */
static const struct { const char *name; hd (*f)(hd x); enum hd_dtype dt; const char *says;
} types[] = {
    { "argmax", largest_at, HD_I64, NULL },
    { "argmin", smallest_at, HD_I64, NULL },
    { "argsort", order, HD_I64, NULL },
    { "searchsorted", place, HD_I64, NULL },
    { "nonzero", not_zero, HD_I64, NULL },
    { "top_k", first_three, HD_NODTYPE, "too long for i32 positions" },
    { "scan", steps, HD_NODTYPE, "more bytes than can be addressed" },
    { "pad between", spread_out, HD_NODTYPE, "too large a size" },
    { "pad around", padded, HD_NODTYPE, "too large a size" },
    { "cast", wider, HD_NODTYPE, "more bytes than can be addressed" },
    { "iota", counted, HD_NODTYPE, "i32 counts to 2147483647" },
    { "short iota", few, HD_NODTYPE, "i8 counts to 127" },
    { "arange", range, HD_NODTYPE, "not all values of i8" },
    { "linspace", line, HD_NODTYPE, "not all values of u8" },
};
enum { TYPES = sizeof types / sizeof *types };

START_TEST(beyond)
{
    hd_array *x = hd_array_abstract(HD_F32, LONG_AXIS), *z = NULL;
    const char *name = types[_i].name;
    int code = hd_eval_shape(hd_jit(types[_i].f), &z, x);
    if (types[_i].says)
        ck_assert_msg(
            code && strstr(hd_error(), types[_i].says), "%s: %s", name, code ? hd_error() : "no error");
    else
        ck_assert_msg(
            !code && hd_array_dtype(z) == types[_i].dt, "%s: %s", name, code ? hd_error() : "another dtype");
    hd_drop(x), hd_drop(z);
}
END_TEST

/* ---- values: indices in dtypes that do not count to the size of the axis */

static hd table(void) { return hd_iota(HD_I32, 0, 300); }
static hd from_the_end(hd x) { return (void)x, hd_take(table(), hd_cast(hd_c(-1), HD_I8), 0); }
static hd window(hd x)
{
    return (void)x,
           hd_index(hd_dynamic_slice(table(), hd_cast(hd_full(hd_c(-3), 1), HD_I8), HD_INTS(2)), 0, 0);
}
static hd byte(hd x) { return (void)x, hd_take(table(), hd_cast(hd_c(200), HD_U8), 0); }
static hd all_of_a_dtype(hd x) { return (void)x, hd_sum(hd_arange(HD_I8, -128, 128, 1)); }
static hd class(hd x) { return (void)x, hd_sum(hd_one_hot(zero(HD_U8), 300, HD_I32)); }
static hd small_argmax(hd x) { return hd_argmax(x, 0); }

static const struct { const char *name; hd (*f)(hd x); double value;
} values[] = {
    { "take from the end", from_the_end, 299 },
    { "a window from the end", window, 297 },
    { "take", byte, 200 },
    { "arange of all i8", all_of_a_dtype, -128 },
    { "one_hot", class, 1 },
    { "argmax", small_argmax, 1 },
};
enum { VALUES = sizeof values / sizeof *values };

START_TEST(narrow)
{
    hd_array *x = hd_array_lit(float, (3), 1, 3, 2), *z = NULL;
    ck_assert_msg(!hd_call(hd_jit(values[_i].f), &z, x), "%s: %s", values[_i].name, hd_error());
    ck_assert_msg(
        hd_item(z) == values[_i].value, "%s: %g, not %g", values[_i].name, hd_item(z), values[_i].value);
    hd_drop(x), hd_drop(z);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("positions");
    TCase *t = tcase_create("positions");
    tcase_add_loop_test(t, beyond, 0, TYPES);
    tcase_add_loop_test(t, narrow, 0, VALUES);
    tcase_set_timeout(t, 120);
    suite_add_tcase(s, t);
    return suite_run(s);
}
