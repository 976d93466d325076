/*
 * layout.c - where an element of a stored value lies in its buffer.
 *
 * A layout is a sum of digits of the index, each times a stride: row-major order, lanes inside, panels and
 * turned copies are all this. Symbolic forms go in, a form comes out; the scheduler counts with it and the
 * lowering loads at it.
 */
#include "index.h"

static void digit(Layout *l, int dim, int64_t div, int64_t mod, int64_t stride)
{
    l->digit[l->ndigit++] = (Digit){ dim, div, mod, stride };
}

const Layout *layout_natural(const int64_t *dim, int n)
{
    Layout *l = NEW(Layout);
    int64_t stride = 1;
    for (int d = n - 1; d >= 0; d--) {
        if (dim[d] != 1)
            digit(l, d, 1, 0, stride);
        stride *= dim[d];
    }
    return l;
}

/* [lanes.., group of W][rest][W]: a work-item reads and writes one contiguous record a step. */
Layout *layout_lanes_inside(const int64_t *dim, int n, int nlane)
{
    if (nlane == 0 || dim[nlane - 1] % W)
        return (Layout *)layout_natural(dim, n);
    Layout *l = NEW(Layout);
    int64_t stride = W;
    digit(l, nlane - 1, 1, W, 1);
    for (int d = n - 1; d >= nlane; stride *= dim[d--])
        digit(l, d, 1, 0, stride);
    digit(l, nlane - 1, W, 0, stride);
    stride *= dim[nlane - 1] / W;
    for (int d = nlane - 2; d >= 0; stride *= dim[d--])
        digit(l, d, 1, 0, stride);
    return l;
}

/* Dimension d innermost; or in panels, each so many of its elements wide. */
Layout *layout_packed(const int64_t *dim, int n, int d, int64_t panel)
{
    Layout *l = NEW(Layout);
    int64_t stride = panel ? panel : dim[d];
    digit(l, d, 1, panel, 1);
    for (int k = n - 1; k >= 0; k--)
        if (k != d) {
            digit(l, k, 1, 0, stride);
            stride *= dim[k];
        }
    if (panel)
        digit(l, d, panel, 0, stride);
    return l;
}

const Layout *layout_lead(const Layout *from, const Form *lead, int n)
{
    Layout *l = arena_copy(from, sizeof *from);
    for (int j = 0; j < n; j++)
        l->lead[l->nlead++] = lead[j];
    return l;
}

void layout_step(Layout *l, int64_t size) { l->base = form_mul(form_a(STEP), size); }

Form layout_form(const Layout *l, const Form *lead, const Form *idx, int n, Form env)
{
    (void)n;
    if (!lead)                                  /* as they are: symbolic */
        lead = l->lead;
    Form f = l->base ? l->base : form_c(0);
    for (int k = 0; k < l->ndigit; k++) {
        const Digit *d = &l->digit[k];
        Form x = d->dim < l->nlead ? lead[d->dim] : idx[d->dim - l->nlead];
        x = form_div(x, d->div);
        if (d->mod)
            x = form_mod(x, d->mod);
        f = form_add(f, form_mul(x, d->stride));
    }
    return env ? form_add(f, form_mul(env, l->env_stride)) : f;
}
