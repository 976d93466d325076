/*
 * golden_wrong.c - stored derivatives that are wrong, and what is right in their place.
 *
 * In a few places what computed the answers is at fault. Such a case runs as any other; the numbers at fault
 * are replaced by difference quotients of the program itself, on the host in f64, by which the device is
 * then judged. Only cases of the transform `derivatives` without second order are among them.
 */
#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"

static bool any_not_finite(const json_t *out)
{
    for (size_t k = 0; k < json_array_size(out); k++) {
        const json_t *data = json_object_get(json_array_get(out, k), "data");
        for (size_t i = 0; i < json_array_size(data); i++)
            if (json_is_string(json_array_get(data, i))) /* "nan", "inf" */
                return true;
    }
    return false;
}

/* Index vectors of no index: each names the same element. */
static bool named_by_nothing(const json_t *j)
{
    hd_ints s = attr_l(json_array_get(json_object_get(j, "in"), 1), "shape");
    int64_t places = 1;
    for (int k = 0; k < s.n - 1; k++)
        places *= s.v[k];
    return s.n && !s.v[s.n - 1] && places > 1;
}

const char *golden_wrong(const json_t *j)
{
    const char *op = attr_s(j, "op", "");
    if (strcmp(attr_s(j, "family", ""), "derivatives"))
        return NULL;
    if (!strcmp(op, "kink_logaddexp") && any_not_finite(json_object_get(j, "out")))
        return "logaddexp at infinities: XLA's derivatives are nan, or e";
    if (!strcmp(op, "gather") && named_by_nothing(j))
        return "an element named several times by empty index vectors: XLA keeps its last cotangent alone";
    if ((!strcmp(op, "scatter_min") || !strcmp(op, "scatter_max")) &&
        any_not_finite(json_object_get(j, "out")))
        return "a maximum, or minimum, scattered with indices outside that are clipped: XLA divides by 0";
    return NULL;
}

/* ==================== quotients */

/* far: what infinity is for a function that has its limits by then. */
static const double step = 0x1p-12, far = 64;

typedef struct Point {
    hd_fn *f;
    const GoldenTensor *in;
    int nargs;
    double *x[64];
} Point;

static void set(Point *p, const GoldenTensor *in, int nargs)
{
    for (int k = 0; k < nargs; k++) {
        p->x[k] = calloc(in[k].n + 1, sizeof(double));
        for (size_t i = 0; i < in[k].n && in[k].dt == HD_F64; i++) {
            double v = ((const double *)in[k].data)[i];
            p->x[k][i] = isinf(v) ? copysign(far, v) : v;
        }
    }
}

/* The outputs at x + by d, d being what `along` has for each argument; NULL after an error. */
static hd_array *at(const Point *p, const double *const *along, double by)
{
    hd_array *arg[64] = { 0 }, *out = NULL;
    for (int k = 0; k < p->nargs; k++) {
        const GoldenTensor *t = &p->in[k];
        double *moved = calloc(t->n + 1, sizeof(double));
        for (size_t i = 0; i < t->n; i++)
            moved[i] = p->x[k][i] + (along[k] ? by * along[k][i] : 0);
        arg[k] = hd_array_new(t->dt, t->shape, t->dt == HD_F64 ? moved : t->data, NULL);
        free(moved);
    }
    if (hd_call_n(hd_jit_n(p->f, &(hd_jit_opts){ .device = "host" }), &out, 1, arg, p->nargs))
        out = NULL;
    for (int k = 0; k < p->nargs; k++)
        hd_drop(arg[k]);
    return out;
}

/* The derivative of output k along a direction, into d: of four points, so that the third power is exact. */
static bool quotient(const Point *p, const double *const *along, int k, double *d)
{
    static const double weight[] = { -1, 8, -8, 1 }, by[] = { 2, 1, -1, -2 };
    bool good = true;
    for (int q = 0; q < 4 && good; q++) {
        hd_array *y = at(p, along, by[q] * step), *part = y ? hd_array_nth(y, k) : NULL;
        const double *v = part ? hd_data(part) : NULL;
        good = part && (v || !hd_array_size(part));
        for (int64_t i = 0; good && i < hd_array_size(part); i++)
            d[i] = (q ? d[i] : 0) + weight[q] * v[i] / (12 * step);
        hd_drop(y);
    }
    return good;
}

/* Cases whose programs have one result, with all tensors that are differentiated in f64. */
bool golden_right(const json_t *j, hd_fn *f, const GoldenTensor *in, GoldenTensor *want, int nout)
{
    const json_t *t = json_array_get(json_object_get(j, "apply"), 0);
    hd_ints wrt = attr_l(t, "wrt");
    int nargs = (int)attr_i(t, "nargs", 0);
    if (json_array_size(json_object_get(j, "apply")) != 1 ||
        strcmp(attr_s(t, "transform", ""), "derivatives") || attr_b(t, "second", false) ||
        nout != 2 + wrt.n || want[0].dt != HD_F64)
        return false;
    Point p = { .f = f, .in = in, .nargs = nargs };
    const double *along[64] = { 0 }, *ct = in[nargs + wrt.n].data;
    double *d = calloc(want[0].n + 1, sizeof *d);
    set(&p, in, nargs);
    for (int a = 0; a < wrt.n; a++)
        along[wrt.v[a]] = in[nargs + a].data;
    bool good = quotient(&p, along, 0, d);
    for (size_t i = 0; good && i < want[0].n; i++)
        ((double *)want[1].data)[i] = d[i];
    for (int a = 0; a < wrt.n; a++) {
        const GoldenTensor *x = &in[wrt.v[a]];
        double *unit = calloc(x->n + 1, sizeof *unit);
        memset(along, 0, sizeof along);
        along[wrt.v[a]] = unit;
        for (size_t i = 0; good && i < x->n; i++) {
            double sum = 0;
            unit[i] = 1;
            good = quotient(&p, along, 0, d);
            unit[i] = 0;
            for (size_t k = 0; good && k < want[0].n; k++)
                sum += ct[k] * d[k];
            ((double *)want[2 + a].data)[i] = sum;
        }
        free(unit);
    }
    for (int k = 0; k < nargs; k++)
        free(p.x[k]);
    free(d);
    return good;
}
