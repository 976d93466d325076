/* Lists: shapes, axes, axes of parts of trees; functions of any number of arguments; types without data. */
#include <heddle.h>

static hd total(const hd *args, int n)
{
    hd sum = hd_c(0);
    for (int i = 0; i < n; i++)
        sum = hd_add(sum, hd_sum(args[i]));
    return sum;
}

static hd attention(hd q, hd k, hd v)                   /* f32[t,d] */
{
    hd s = hd_einsum("td,sd->ts", q, k);
    hd e = hd_exp(hd_sub(s, hd_max(s, -1, HD_KEEP)));
    return hd_dot(hd_div(e, hd_sum(e, -1, HD_KEEP)), v);
}

static hd affine(hd p, hd x) { return hd_add(hd_mul(hd_get(p, "scale"), x), hd_get(p, "shift")); }

int main(void)
{
    static float m[2 * 3 * 8 * 8];
    hd_array *q = hd_array_of(m, 8, 8), *x = hd_array_of(m, 2, 3, 8, 8), *w = hd_array_of(m, 4, 3, 3, 3),
             *r[4], *like;
    /* f32[8], f32[] */
    hd_array *p = hd_array_dict({ "scale", hd_array_of(m, 8) }, { "shift", hd_array_of(m) });

    if (hd_call(total, &r[0], q, x, w) || hd_call(attention, &r[1], q, q, q) ||
        hd_call(hd_jit(total), &r[2], w) ||
        hd_call(hd_vmap(affine, .in_tree = "{scale: 0, shift: none}, 0"), &r[3], p, q))
        return fprintf(stderr, "%s\n", hd_error()), 1;
    hd_array *spec = hd_array_abstract(HD_F32, 16, 16);
    if (hd_eval_shape(attention, &like, spec, spec, spec) || hd_compile(attention, spec, spec, spec))
        return fprintf(stderr, "%s\n", hd_error()), 1;
    hd_print(stdout, like);
    for (int i = 0; i < 4; i++)
        hd_drop(r[i]);
    hd_drop(q), hd_drop(x), hd_drop(w), hd_drop(p), hd_drop(spec), hd_drop(like);
    return 0;
}
