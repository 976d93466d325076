/*
 * golden_linalg.c - linear algebra of the stored cases. Where a factorisation has a choice of signs, cases
 * say which one they have.
 */
#include <string.h>

#include "api.h"
#include "golden.h"

static hd pair(hd x, hd y) { return hd_tuple_n((const hd[]){ x, y }, 2); }

static hd cholesky(const json_t *a, const hd *x, int n)
{
    (void)a, (void)n;
    return hd_tril(hd_cholesky(x[0]), 0);
}

static hd triangular_solve(const json_t *a, const hd *x, int n)
{
    (void)n;
    return hd_triangular_solve_n(attr_b(a, "conjugate_a", false) ? hd_conj(x[0]) : x[0], x[1],
        &(const hd_triangular_opts){ .right = !attr_b(a, "left_side", false),
            .upper = !attr_b(a, "lower", false),
            .transpose = attr_b(a, "transpose_a", false),
            .unit = attr_b(a, "unit_diagonal", false) });
}

static hd diagonal(hd x) { return sym_of(Diagonal(sym_ref(x))); }
static hd columns_times(hd x, hd v) { return hd_mul(x, hd_expand_dims_n(v, (hd_ints){ 1, { -2 } })); }
static hd rows_times(hd x, hd v) { return hd_mul(x, hd_expand_dims_n(v, (hd_ints){ 1, { -1 } })); }

/* The diagonal of r is not negative. */
static hd qr(const json_t *a, const hd *x, int n)
{
    (void)n;
    hd f = hd_qr_n(x[0], &(const hd_qr_opts){ .full = attr_b(a, "full_matrices", false) });
    hd q = hd_nth(f, 0), r = hd_nth(f, 1), one = hd_ones_like(diagonal(r));
    hd s = hd_where(hd_lt(diagonal(r), hd_c(0)), hd_neg(one), one);
    return pair(columns_times(q, s), rows_times(r, s));
}

static hd lu(const json_t *a, const hd *x, int n)
{
    (void)a, (void)n;
    return hd_lu(x[0]);
}

/* Columns are scaled by 1 or -1, so that the largest entry of each (the first such) is positive. */
static hd signed_columns(hd v)
{
    hd w = hd_stop_gradient(v);
    hd k = hd_expand_dims_n(hd_argmax(hd_abs(w), -2), (hd_ints){ 1, { -2 } });
    return hd_mul(v, hd_sign(hd_take_along_axis(w, k, -2)));
}

static hd eigh(const json_t *a, const hd *x, int n)
{
    (void)a, (void)n;
    hd f = hd_eigh(x[0]);
    return pair(hd_nth(f, 0), signed_columns(hd_nth(f, 1)));
}

static hd svd(const json_t *a, const hd *x, int n)
{
    (void)a, (void)n;
    hd f = hd_svd_n(x[0], NULL);
    return pair(hd_nth(f, 1), hd_matmul(columns_times(hd_nth(f, 0), hd_nth(f, 1)), hd_nth(f, 2)));
}

static hd solve(const json_t *a, const hd *x, int n)
{
    (void)a, (void)n;
    return hd_solve(x[0], x[1]);
}
static hd inv(const json_t *a, const hd *x, int n)
{
    (void)a, (void)n;
    return hd_inv(x[0]);
}
static hd det(const json_t *a, const hd *x, int n)
{
    (void)a, (void)n;
    return hd_det(x[0]);
}

static const GoldenRow table[] = { { "cholesky", cholesky }, { "triangular_solve", triangular_solve },
    { "qr", qr }, { "lu", lu }, { "eigh", eigh }, { "svd", svd }, { "jnp.linalg.solve", solve },
    { "jnp.linalg.inv", inv }, { "jnp.linalg.det", det }, { NULL, NULL } };

GoldenFn *golden_linalg(const char *op) { return golden_row(table, op); }
