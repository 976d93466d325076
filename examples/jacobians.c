/* Jacobians by transform and by hand, Hessians of a batch, derivatives by two arguments. */
#include <heddle.h>

static hd softmax(hd x) { return hd_softmax(x, -1); }
static hd energy(hd x) { return hd_sum(hd_mul(hd_sin(x), x)); }
static hd bilinear(hd x, hd y) { return hd_dot(x, y); }

static hd by_columns(hd x)              /* forward: one column for each direction */
{
    hd columns = hd_nth(
        hd_apply(hd_vmap(hd_jvp(softmax), .in_axes = { HD_NONE, 0 }), x, hd_eye(HD_F32, hd_dim(x, 0))), 1);
    return hd_transpose(columns);
}

static hd by_rows(hd x)                 /* reverse: one row for each output */
{
    return hd_nth(
        hd_apply(hd_vmap(hd_vjp(softmax), .in_axes = { HD_NONE, 0 }), x, hd_eye(HD_F32, hd_dim(x, 0))), 1);
}

static hd hvp(hd x, hd v)               /* Hessian times vector: forward over reverse */
{
    return hd_nth(hd_apply(hd_jvp(hd_grad(energy)), x, v), 1);
}

int main(void)
{
    hd_array *theta = hd_array_lit(float, (3), 1, 0, -1),
             *batch = hd_array_lit(float, (2, 3), 1, 2, 3, 4, 5, 6);
    hd_array *rev, *fwd, *cols, *rows, *hess, *product, *both[2];

    if (hd_call(hd_jacrev(softmax), &rev, theta)
        || hd_call(hd_jacfwd(softmax), &fwd, theta)
        || hd_call(by_columns, &cols, theta)
        || hd_call(by_rows, &rows, theta)
        || hd_call(hd_vmap(hd_hessian(energy)), &hess, batch)
        || hd_call(hvp, &product, theta, theta)
        || hd_call(hd_grad(bilinear, .argnums = HD_INTS(0, 1)), both, theta, theta))
        return fprintf(stderr, "%s\n", hd_error()), 1;
    hd_print(stdout, rev), hd_print(stdout, hess), hd_print(stdout, product);
    hd_drop(rev), hd_drop(fwd), hd_drop(cols), hd_drop(rows), hd_drop(hess), hd_drop(product),
        hd_drop(both[0]), hd_drop(both[1]);
    hd_drop(theta), hd_drop(batch);
    return 0;
}
