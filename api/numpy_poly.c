/*
 * numpy_poly.c - polynomials and running products of vectors: polyval, polyfit, convolve, correlate.
 *
 * A polynomial is a vector of coefficients, the highest power first; the product of two is their
 * convolution.
 */
#include "formulas.h"

/* ==================== polynomials */

/* p[0] x^(n-1) + ... + p[n-1], by Horner */
hd hd_polyval(hd p, hd x)
{
    Ref r[2];
    OP(hd_polyval);
    if (!vector_and("hd_polyval", p, x, r))
        return HD_NIL;
    Ref y = Like(r[1], 0);
    for (int64_t i = 0; y && i < typ(r[0])->dim[0]; i++)
        y = bin(OP_add, bin(OP_mul, y, r[1]), squeeze_axis(SliceAxis(r[0], 0, i, i + 1), 0));
    return sym_of(y);
}

/* A row for each of x: x^degree ... x, 1 */
static Ref powers(Ref x, int64_t degree)
{
    Ref power = Like(x, 1), all = unsqueeze(power, 1);
    for (int64_t k = 0; all && k < degree; k++) {
        power = Mul(power, x);
        all = join(unsqueeze(power, 1), all, 1);
    }
    return all;
}

/* Least squares of the powers, each column first divided by its length. */
hd hd_polyfit(hd x, hd y, int64_t degree)
{
    static const char what[] = "hd_polyfit";
    Ref r[2];
    OP(hd_polyfit);
    if (unify_dtype(what, 2, (const hd[]){ x, y }, r) || !float_ref(what, sym_of(r[0])))
        return HD_NIL;
    Type t = *typ(r[0]), u = *typ(r[1]);
    if (t.rank != 1 || u.rank < 1 || u.rank > 2 || u.dim[0] != t.dim[0]) {
        error_set(E_SHAPE,
            "%s: x is a vector and y has a value, or a row of values, for each of it: not %s "
            "and %s",
            what, type_text(&t), type_text(&u));
        return HD_NIL;
    }
    if (degree < 0 || degree > 1000 || !t.dim[0]) { /* a power each */
        error_set(E_INVAL,
            "%s: degree %lld through %lld points; a degree from 0 to 1000 and a point are "
            "wanted",
            what, (long long)degree, (long long)t.dim[0]);
        return HD_NIL;
    }
    Ref a = powers(r[0], degree), length = a ? Sqrt(Sum(square(a), ints1(0))) : 0;
    length = length ? choose(Eq(length, Like(length, 0)), Like(length, 1), length) : 0;
    a = a ? Div(a, spread(length, ints1(0), a)) : 0;
    Ref c = a ? sym_ref(hd_lstsq(sym_of(a), sym_of(r[1]))) : 0;
    return sym_of(c ? Div(c, Broadcast(length, shape_of(c), ints1(0))) : 0);
}

/* ==================== running products */

/* All overlaps of x with w turned round: y[k] = sum over j of w[j] x[k-j]. x shifted by j is row j of a
 * matrix that is only a view: x in each row, zeros behind, read as rows one element shorter. */
static Ref overlaps(Ref x, Ref w)
{
    Ints none = { 0 };
    int64_t n = typ(x)->dim[0], m = typ(w)->dim[0];
    Ref rows = Broadcast(x, (Ints){ 2, { m, n } }, ints1(1));
    rows = flat(pad_axis(rows, 1, 0, m, Const((Dtype)typ(x)->dt, 0)));
    rows = Reshape(take_range(rows, 0, 0, m * (n + m - 1)), (Ints){ 2, { m, n + m - 1 } });
    return rows ? Dot(w, rows, ints1(0), ints1(0), none, none, DT_NONE) : 0;
}

/* Of all overlaps of n with m <= n elements: all, the n in the middle, or those without an edge. */
static Ref wanted(Ref all, int64_t n, int64_t m, enum hd_overlap which)
{
    switch (which) {
    case HD_SAME:
        return all ? take_range(all, 0, (m - 1) / 2, (m - 1) / 2 + n) : 0;
    case HD_VALID:
        return all ? take_range(all, 0, m - 1, n) : 0;
    default:
        return all;
    }
}

static bool two_vectors(const char *what, hd x, hd w, enum hd_overlap which, Ref *r)
{
    if (!vector_and(what, x, w, r))
        return false;
    if (typ(r[1])->rank != 1 || !typ(r[0])->dim[0] || !typ(r[1])->dim[0] || typ(r[0])->dt == DT_BOOL) {
        error_set(E_SHAPE, "%s: two vectors of numbers that are not empty are wanted, not %s and %s", what,
            type_text(typ(r[0])), type_text(typ(r[1])));
        return false;
    }
    if ((unsigned)which <= HD_VALID)
        return true;
    error_set(E_INVAL, "%s: .overlap is HD_FULL, HD_SAME or HD_VALID", what);
    return false;
}

hd hd_convolve_n(hd x, hd w, const hd_overlap_opts *o)
{
    Ref r[2];
    OP(hd_convolve_n);
    OPTIONS(hd_overlap_opts, o);
    if (!two_vectors("hd_convolve", x, w, o->overlap, r))
        return HD_NIL;
    int64_t n = typ(r[0])->dim[0], m = typ(r[1])->dim[0];
    bool swap = n < m;
    return sym_of(wanted(overlaps(r[swap], r[!swap]), swap ? m : n, swap ? n : m, o->overlap));
}

hd hd_convolve(hd x, hd w)
{
    OP(hd_convolve);
    return hd_convolve_n(x, w, NULL);
}

/* A longer w slides along x turned round, and so the other way. */
hd hd_correlate_n(hd x, hd w, const hd_overlap_opts *o)
{
    Ref r[2];
    OP(hd_correlate_n);
    OPTIONS(hd_overlap_opts, o);
    if (!two_vectors("hd_correlate", x, w, o->overlap, r))
        return HD_NIL;
    int64_t n = typ(r[0])->dim[0], m = typ(r[1])->dim[0];
    enum hd_overlap which = o->overlap == HD_OVERLAP_DEFAULT ? HD_VALID : o->overlap;
    Ref along = r[0], by = conjugate(r[1]);
    if (n >= m)
        return sym_of(wanted(overlaps(along, Reverse(by, ints1(0))), n, m, which));
    Ref y = wanted(overlaps(by, Reverse(along, ints1(0))), m, n, which);
    return sym_of(y ? Reverse(y, ints1(0)) : 0);
}

hd hd_correlate(hd x, hd w)
{
    OP(hd_correlate);
    return hd_correlate_n(x, w, NULL);
}
