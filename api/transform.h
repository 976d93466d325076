/*
 * transform.h - a new graph around that of an inner function: between transform.c and transform_vmap.c.
 */
#ifndef HEDDLE_TRANSFORM_H
#define HEDDLE_TRANSFORM_H

#include "api.h"

/* Begins a graph with the captures of t and these arguments; *in: its inputs. */
void transform_open(const Traced *t, const Tree *args, Ref **in);
/* Ends it. NULL after an error. */
Traced *transform_finish(const Traced *inner, const Tree *args, const Tree *out, const Ref *ref);
void leaf_types(const Tree *t, const Type **out);

const Traced *transform_vmap(const hd_fn *f, const Tree *args);

/* An error of the transform itself: at the place where it was written. */
#define FAIL_AT(f, ...) (loc_set((f)->loc), error_set(__VA_ARGS__))

#endif
