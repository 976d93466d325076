/* What goes wrong, and how it is found out: once, at the call, with the line of the mistake. */
#include <heddle.h>
#include <string.h>

static hd stolen;

static hd wrong_shape(hd x, hd w) { return hd_sum(hd_tanh(hd_add(hd_c(1), hd_dot(x, w)))); }   
static hd leak(hd x) { return stolen = hd_sin(x); }
static hd use_leak(hd x) { return hd_add(x, stolen); }
static hd layer(hd x)
{
    return hd_dim(x, 0) == 4 ? x : hd_fail("layer wants 4 features, got %d", (int)hd_dim(x, 0));
}
static hd formula(hd x)
{
    return hd_add(hd_sin(x),
                  hd_mul(hd_exp(x),
                         hd_get(x, "no")));             /* line 18 */
}
static hd inspect(hd x) { return hd_sum(hd_add(x, x)); }

static int wants(const char *text)
{
    if (strstr(hd_error(), text))
        return printf("ok: %s\n", hd_error()), 0;
    return printf("WANTED %s, GOT %s\n", text, hd_error()), 1;
}

int main(void)
{
    hd_array *x = hd_array_lit(float, (3), 1, 2, 3), *w = hd_array_lit(float, (2, 2), 1, 2, 3, 4), *r = NULL;
    hd_array *bad =
        hd_array_dict({ "w", hd_array_lit(float, (2, 2), 1, 2, 3) }, { "b", hd_array_scalar(HD_F32, 0) });
    int failures = 0;

    failures += wants("does not match the shape");      /* and the dictionary, with its scalar, is gone */
    failures += bad != NULL || hd_call(layer, &r, bad) == 0;
    failures += hd_call(hd_vmap(wrong_shape, .in_axes = { HD_NONE, HD_NONE }), &r, x, w) != HD_ESHAPE ||
        wants("errors.c:7");
    failures += hd_call(wrong_shape, &r, x) == 0 || wants("2 arguments");
    failures += hd_call(layer, &r, x) == 0 || wants("layer wants 4");
    failures += hd_call(formula, &r, x) == 0 || wants("errors.c:18");
    failures += hd_call(leak, &r, x) != 0;
    hd_drop(r), r = NULL;
    failures += hd_call(use_leak, &r, x) != HD_ETRACE || wants("ended");
    failures += hd_ok(hd_sin(HD_NIL)) || hd_ok(hd_c(1));                /* outside any program */
    failures += hd_call(leak, &x, x) != HD_EINVAL || wants("would be lost");
    float back[4];
    failures += hd_read(x, back, 4) != HD_ESHAPE || wants("another size");
    failures += hd_print_graph(stdout, hd_grad(inspect), x) != 0;
    failures += hd_jit(hd_vmap(layer)) != hd_jit(hd_vmap(layer));       /* interned */
    hd_drop(x), hd_drop(w);
    return failures;
}
