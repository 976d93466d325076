/*
 * windows.h - arrays seen through windows: between ops_window.c and ops_conv.c.
 */
#ifndef HEDDLE_WINDOWS_H
#define HEDDLE_WINDOWS_H

#include "formulas.h"

/* Windows along some axes of an array, a number in each list for each of them. */
typedef struct Windows {
    Ints axis, size, stride;
    Ints lo, hi;                                /* padding; negative crops */
    Ints dilation, base;                        /* 1: elements side by side */
} Windows;

/* Options in lists: a number for each axis, 1 where none is given, or two, 0 where none are. 0, or a
 * code. */
int window_list(const char *what, const char *name, hd_ints, int axes, int each, Ints *out);
/* Sizes of 1 and more, steps too; pads become a size that the axis can have. 0, or a code. */
int windows_check(const char *what, Ref x, Windows *w);
/* lo and hi such that there are ceil(n / stride) windows. */
void windows_same(Ref x, Windows *w);
int64_t windows_span(const Windows *w, int k);  /* elements from the first of a window to its last */

/* x with a last axis for each size above 1, in order; place[k]: which one, or -1. Padding is `fill`. */
Ref window_view(Ref x, const Windows *w, Ref fill, int *place);
/* The transpose of that: each element of x is the sum of what the windows have in its place. shape: x's. */
Ref window_sum(Ref y, const Windows *w, Ints shape);

#endif
