/*
 * random_order.c - random choices: classes by their logits, permutations, rows with and without repetition.
 */
#include "random.h"

#include <math.h>

/* ==================== classes */

Ref over_batch(const char *what, const char *name, Ref r, Ints shape, int *axis)
{
    Ints own = ints_without(shape_of(r), &(Ints){ 1, { *axis } }), all = shape_of(r);
    bool fits = shape.n >= own.n && shape.n < MAXRANK;
    for (int i = 1; fits && i <= own.n; i++)
        fits = own.v[own.n - i] == shape.v[shape.n - i] || own.v[own.n - i] == 1;
    if (!fits) {
        Type have = type_of((Dtype)typ(r)->dt, own.n, own.v),
             want = type_of((Dtype)typ(r)->dt, shape.n, shape.v);
        error_set(E_SHAPE, "%s: the shape %s must be one that the batch axes of %s, %s, broadcast to", what,
                  type_text(&want), name, type_text(&have));
        return 0;
    }
    int64_t classes = all.v[*axis];
    *axis += shape.n - own.n;
    for (int i = shape.n; i > *axis; i--)
        shape.v[i] = shape.v[i - 1];
    shape.v[*axis] = classes, shape.n++;
    return broadcast_to(r, shape);
}

hd hd_random_categorical_n(hd key, hd logits, int axis, hd_ints list)
{
    static const char what[] = "hd_random_categorical";
    Key k;
    Ints shape;
    OP(hd_random_categorical_n);
    Ref r = float_ref(what, logits);
    if (!r || key_in(what, key, &k) || !rank_ref(what, logits, 1) || ints_in(what, list, &shape))
        return HD_NIL;
    int a = axis_of(what, axis, typ(r)->rank);
    if (a < 0)
        return HD_NIL;
    if (!typ(r)->dim[a]) {
        error_set(E_SHAPE, "%s: %s has no classes along axis %d", what, type_text(typ(r)), a);
        return HD_NIL;
    }
    if (shape.n && !(r = over_batch(what, "the logits", r, shape, &a)))
        return HD_NIL;
    Ref g = draw_gumbel(k, (Dtype)typ(r)->dt, shape_of(r));
    return sym_of(g ? Arg(OP_argmax, Add(g, r), a, DT_I32) : 0);
}

hd hd_random_categorical(hd key, hd logits, int axis)
{
    OP(hd_random_categorical);
    return hd_random_categorical_n(key, logits, axis, (hd_ints){ 0, { 0 } });
}

/* ==================== order */

/* Sorted along an axis by random keys, as often as makes equal keys harmless. */
static Ref shuffle(Key k, Ref x, int axis)
{
    int64_t n = type_size(typ(x));
    int rounds = n > 1 ? (int)ceil(3 * log((double)n) / log(UINT32_MAX)) : 0;

    for (int i = 0; x && i < rounds; i++) {
        Key sub[2];
        if (split(k, 2, sub))
            return 0;
        k = sub[0];
        x = sort_by(bits(sub[1], DT_U32, shape_of(x)), x, axis);
    }
    return x;
}

/* What lies along the axis in random order; independent: each row along it in an order of its own. */
static Ref permuted(Key k, Ref x, int axis, bool independent)
{
    if (independent || typ(x)->rank == 1)
        return shuffle(k, x, axis);
    int64_t n = typ(x)->dim[axis];
    return take(x, shuffle(k, Iota(type_of(DT_I32, 1, &n), 0), 0), axis, MODE_CLIP);
}

/* What is permuted or chosen from: an array, or a constant n that stands for 0 .. n-1. */
static Ref population(const char *what, hd x)
{
    double c;
    if (!sym_weak(x, &c))
        return rank_ref(what, x, 1);
    if (!(c >= 0 && c <= INT32_MAX && c == floor(c))) {
        error_set(E_INVAL, "%s: %g is not a number of things", what, c);
        return 0;
    }
    return Iota(type_of(DT_I32, 1, (const int64_t[]){ (int64_t)c }), 0);
}

hd hd_random_permutation_n(hd key, hd x, const hd_permutation_opts *o)
{
    static const char what[] = "hd_random_permutation";
    Key k;
    OP(hd_random_permutation_n);
    OPTIONS(hd_permutation_opts, o);
    Ref r = population(what, x);
    int axis = r ? axis_of(what, o->axis, typ(r)->rank) : -1;
    return axis < 0 || key_in(what, key, &k) ? HD_NIL : sym_of(permuted(k, r, axis, o->independent));
}

hd hd_random_permutation(hd key, hd x)
{
    OP(hd_random_permutation);
    return hd_random_permutation_n(key, x, NULL);
}

/* Which of them are chosen by their probabilities: where a uniform falls into the running sum, or the
 * largest sums of a logarithm and a gumbel number. */
static Ref chosen_by(Key k, Ref p, int64_t n, bool replace)
{
    int64_t all = typ(p)->dim[0];
    if (replace) {
        Ref sum = Cumulative(OP_cumsum, p, 0, false), u = unit(k, (Dtype)typ(p)->dt, ints1(n));
        Ref top = sum ? squeeze_axis(SliceAxis(sum, 0, all - 1, all), 0) : 0;
        return top && u ? searchsorted(sum, Mul(scalar_to(top, ints1(n)), Sub(Like(u, 1), u)), false) : 0;
    }
    Ref g = Add(draw_gumbel(k, (Dtype)typ(p)->dt, ints1(all)), Log(p)), top[2];
    return emit_n(OP_top_k, 1, &g, ATTRS(1, n), top) ? top[1] : 0;
}

/* The probabilities, one for each of them. */
static Ref chances(const char *what, hd p, int64_t all)
{
    Ref r = float_ref(what, p);
    if (r && typ(r)->rank == 1 && typ(r)->dim[0] == all)
        return r;
    if (r)
        error_set(E_SHAPE, "%s: .p is %s, but %lld things are chosen from", what, type_text(typ(r)),
            (long long)all);
    return 0;
}

hd hd_random_choice_n(hd key, hd x, int64_t n, bool replace, const hd_choice_opts *o)
{
    static const char what[] = "hd_random_choice";
    Key k;
    OP(hd_random_choice_n);
    OPTIONS(hd_choice_opts, o);
    Ref r = population(what, x), which = 0;
    if (!r || key_in(what, key, &k))
        return HD_NIL;
    int64_t all = typ(r)->dim[0];
    if (n < 0 || n > INT32_MAX || (n && !all) || (!replace && n > all)) {
        error_set(E_SHAPE, "%s: %lld rows%s of %s",
            what, (long long)n, replace ? "" : " without repetition", type_text(typ(r)));
        return HD_NIL;
    }
    Type t = type_of(DT_I32, 1, &n);
    if (!sym_absent(o->p)) {
        Ref p = chances(what, o->p, all);
        which = !p ? 0 : n ? chosen_by(k, p, n, replace) : Zeros(&t);
    } else if (!replace) {
        return sym_of(take_range(permuted(k, r, 0, false), 0, 0, n));
    } else {
        which = randint(k, ints1(n), Zeros(&t), Full(t, (double)all), false);
    }
    return which ? sym_of(take(r, which, 0, MODE_CLIP)) : HD_NIL;
}

hd hd_random_choice(hd key, hd x, int64_t n, bool replace)
{
    OP(hd_random_choice);
    return hd_random_choice_n(key, x, n, replace, NULL);
}
