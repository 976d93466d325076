/* Seen from inside: square roots by Newton's method, each lane with its own number of steps, whose values
 * are printed, and a check that tells which number has no root. */
#include <heddle.h>
#include <math.h>
#include <string.h>

static hd far(hd v, hd x)
{
    return hd_gt(hd_abs(hd_sub(hd_square(x), v)), hd_mul_c(v, 1e-3));
}

static hd closer(hd v, hd x)
{
    hd_debug_print("x = {}", x);
    return hd_mul_c(hd_add(x, hd_div(v, x)), 0.5);
}

static hd root(hd v)
{
    hd_check(hd_ge(v, hd_c(0)), "a number without a root");
    hd x = hd_while(hd_partial(far, v), hd_partial(closer, v), v, .max_trips = 20);
    hd_debug_print("the root of {} is {}", v, x);
    return x;
}

static void to_file(const char *line, void *file) { fprintf(file, "%s\n", line); }

int main(int argc, char **argv)
{
    if (argc == 3 && !hd_default_device(argv[2]))       /* --device NAME */
        return fprintf(stderr, "%s\n", hd_error()), 1;
    hd_debug_print_to(to_file, stdout);             /* else stderr */

    float v[3] = { 4, 2, 0.25f };
    hd_array *x = hd_array_of(v, 3), *y = NULL, *dy = NULL, *one = hd_array_scalar(HD_F32, 4);
    if (hd_call(hd_vmap(root, .axis_name = "number"), &y, x))
        return fprintf(stderr, "%s\n", hd_error()), 1;
    hd_print(stdout, y);

    /* Under a derivative it prints what it does without, once. */
    if (hd_call(hd_grad(root), &dy, one))
        return fprintf(stderr, "%s\n", hd_error()), 1;
    hd_print(stdout, dy);

    /* A check that does not hold is the error of the call: the message, its line, the lane. */
    v[1] = NAN;
    hd_array *wrong = hd_array_of(v, 3), *none = NULL;
    int e = hd_call(hd_vmap(root, .axis_name = "number"), &none, wrong);
    puts(e == HD_ECHECK && !none ? strchr(hd_error(), ' ') + 1 : "no error");
    hd_drop(x), hd_drop(y), hd_drop(dy), hd_drop(one), hd_drop(wrong);
    return 0;
}
