/*
 * layout.h - where an element of a stored value lies in its buffer.
 */
#ifndef HEDDLE_LAYOUT_H
#define HEDDLE_LAYOUT_H

#include "index.h"

/* An element's place: base + sum of ((index[dim] / div) % mod) * stride (mod 0: no remainder), over lead
 * then idx. */
typedef struct Digit { int dim; int64_t div, mod, stride; } Digit;
typedef struct Layout {
    int ndigit; Digit digit[2 * MAXRANK + 4];
    /* NULL: 0. STEP * size for a slice of an array with the steps in front */
    Form base;
    /* indices in front of those asked for: symbolic, read in the environment */
    int nlead; Form lead[MAXRANK + 1];
    int64_t env_stride;                         /* + this times the environment's number: private rows */
} Layout;
const Layout *layout_natural(const int64_t *dim, int n);
/* lead NULL: the layout's own; env NULL: 0 */
Form layout_form(const Layout *, const Form *lead, const Form *idx, int n, Form env);

Layout *layout_lanes_inside(const int64_t *dim, int n, int nlane);
/* panel: elements of a row of one; 0: no panels */
Layout *layout_packed(const int64_t *dim, int n, int d, int64_t panel);
/* the same with its first indices given: lead */
const Layout *layout_lead(const Layout *, const Form *lead, int n);
void layout_step(Layout *, int64_t size);       /* STEP * size in front */

#endif
