/* Two nested maps give all pairs. The same helper serves a distance, a kernel and a score. */
#include <heddle.h>

static hd distance(hd x, hd y) { return hd_sqrt(hd_sum(hd_square(hd_sub(x, y)))); }
static hd rbf(hd x, hd y) { return hd_exp(hd_neg(hd_sum(hd_square(hd_sub(x, y))))); }
static hd score(hd q, hd k) { return hd_div(hd_dot(q, k), hd_sqrt(hd_c((double)hd_dim(q, 0)))); }

static hd_fn *pairs(hd_fn *f)
{
    return hd_jit(hd_vmap(hd_vmap(f, .in_axes = { HD_NONE, 0 }), .in_axes = { 0, HD_NONE }));
}

int main(void)
{
    hd_fn *const functions[] = { HD_FN(distance), HD_FN(rbf), HD_FN(score) };
    hd_array *X = hd_array_lit(float, (3, 2), 0, 0, 1, 0, 0, 1),
             *Y = hd_array_lit(float, (2, 2), 0, 0, 1, 1);

    for (int i = 0; i < 3; i++) {
        hd_array *table;
        if (hd_call(pairs(functions[i]), &table, X, Y))
            return fprintf(stderr, "%s\n", hd_error()), 1;
        hd_print(stdout, table);                        /* f32[3,2] */
        hd_drop(table);
    }
    hd_drop(X), hd_drop(Y);
    return 0;
}
