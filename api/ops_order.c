/*
 * ops_order.c - sorting and what follows from it, and the small functions of jax.numpy that are formulas of
 * other ops.
 *
 * Order of floats: -0 and 0 are equal, nan is last. Sorts are stable.
 */
#include "formulas.h"

#include <math.h>

/* ==================== sorting */

/* n values sorted together along an axis by the first `keys` of them; out may be x. */
static bool sort_n(const Ref *x, int n, int axis, int keys, Ref *out)
{
    const Attr *a = ATTRS(1, axis, 1, keys, 1, 0);
    Ref *r = NEWS(Ref, n);
    if (emit_n(OP_sort, n, x, a, r) != n)
        return false;
    for (int i = 0; i < n; i++)
        out[i] = r[i];
    return true;
}

Ref sort1(Ref x, int axis) { return x && sort_n(&x, 1, axis, 1, &x) ? x : 0; }

Ref sort_by(Ref keys, Ref x, int axis)
{
    Ref r[2] = { keys, x };
    return keys && x && sort_n(r, 2, axis, 1, r) ? r[1] : 0;
}

/* The arrays of a sort: x itself, or the parts of a tuple. The count, or 0 after an error. */
static int sorted_operands(hd x, int axis, Ref **out, int *a)
{
    static const char what[] = "hd_sort";
    int n = 1;
    hd one = x, *part = &one;

    if (sym_tree(x))
        part = sym_leaves(x, &n);
    if (!part)
        return 0;
    if (n < 1) {
        error_set(E_INVAL, "%s: there is nothing to sort", what);
        return 0;
    }
    Ref *r = *out = NEWS(Ref, n);
    for (int i = 0; i < n; i++)
        if (!(r[i] = rank_ref(what, part[i], 1)))
            return 0;
    for (int i = 1; i < n; i++) {
        Type t = *typ(r[0]), u = *typ(r[i]);
        t.dt = u.dt;
        if (!type_equal(&t, &u)) {
            error_set(E_SHAPE, "%s: arrays sorted together have one shape, but these are %s and %s",
                what, type_text(typ(r[0])), type_text(typ(r[i])));
            return 0;
        }
    }
    return (*a = axis_of(what, axis, typ(r[0])->rank)) < 0 ? 0 : n;
}

/* Descending is ascending read backwards: nan comes first. Of several arrays equal keys keep their order; in
 * one they are told apart by the sign of zero alone, and are read backwards too, as jax.numpy.sort does. */
hd hd_sort_n(hd x, int axis, const hd_sort_opts *o)
{
    Ref *r;
    int a, n;
    OP(hd_sort_n);
    OPTIONS(hd_sort_opts, o);
    int keys = o->keys ? o->keys : 1;

    if (!(n = sorted_operands(x, axis, &r, &a)))
        return HD_NIL;
    if (keys < 1 || keys > n) {
        error_set(E_INVAL, "hd_sort: %d keys, but there are %d arrays", keys, n);
        return HD_NIL;
    }
    for (int i = 0; o->descending && n > 1 && i < n; i++)
        r[i] = Reverse(r[i], ints1(a));
    if (!sort_n(r, n, a, keys, r))
        return HD_NIL;
    hd *out = NEWS(hd, n);
    for (int i = 0; i < n; i++)
        out[i] = sym_of(o->descending ? Reverse(r[i], ints1(a)) : r[i]);
    return sym_tree(x) ? sym_like(x, out) : out[0];
}

hd hd_argsort(hd x, int axis)
{
    int a;
    OP(hd_argsort);
    Ref r = axis_ref("hd_argsort", x, axis, &a);
    if (!r)
        return HD_NIL;
    Type t = *typ(r);
    t.dt = type_counter(t.dim[a]);
    return sym_of(sort_by(r, Iota(t, a), a));
}

hd hd_top_k(hd x, int64_t k, int axis)
{
    int a;
    Ref out[2];
    OP(hd_top_k);
    Ref r = axis_ref("hd_top_k", x, axis, &a);
    if (!r)
        return HD_NIL;
    int last = typ(r)->rank - 1;
    if (k < 0 || k > typ(r)->dim[a]) {
        error_set(E_SHAPE, "hd_top_k: axis %d of %s has no %lld largest elements",
            a, type_text(typ(r)), (long long)k);
        return HD_NIL;
    }
    r = MoveAxis(r, a, last);
    if (!r || emit_n(OP_top_k, 1, &r, ATTRS(1, k), out) != 2)
        return HD_NIL;
    const hd pair[2] = { sym_of(MoveAxis(out[0], last, a)), sym_of(MoveAxis(out[1], last, a)) };
    return sym_tuple(pair, 2);
}

/* ==================== search */

/* a <= b in the order of sorting */
static Ref ordered(Ref a, Ref b, bool or_equal)
{
    Ref r = or_equal ? bin(OP_le, a, b) : bin(OP_lt, a, b);
    if (!r || !is_float(a))
        return r;
    Ref nan = or_equal ? is_nan(b) : bin(OP_and, is_nan(b), Not(is_nan(a)));
    return bin(OP_or, r, nan);
}

/* Halving, once for each bit of the answer: what is sought lies in (low, high]. Steps that have nothing left
 * to halve change nothing, so all elements take the same number. */
Ref searchsorted(Ref sorted, Ref x, bool right)
{
    if (!sorted || !x)
        return 0;
    int64_t n = typ(sorted)->dim[0];
    Type t = *typ(x);
    t.dt = type_counter(n);
    Ref low = Zeros(&t), high = Full(t, (double)n);
    for (int64_t span = n; low && high && span > 0; span /= 2) {
        Ref middle = Add(low, ShiftRightLogical(Sub(high, low), Like(low, 1)));
        Ref v = take(sorted, middle, 0, MODE_CLIP);
        Ref left = And(right ? ordered(x, v, false) : ordered(x, v, true), Lt(low, high));
        Ref go = And(Not(left), Lt(low, high));
        high = choose(left, middle, high);
        low = choose(go, Add(middle, Like(middle, 1)), low);
    }
    return high;
}

/* Two operands of one dtype, the first a vector. 0 after an error. */
bool vector_and(const char *what, hd x, hd y, Ref *r)
{
    if (unify_dtype(what, 2, (const hd[]){ x, y }, r))
        return false;
    if (typ(r[0])->rank == 1)
        return true;
    error_set(E_SHAPE, "%s: a vector is wanted, not %s", what, type_text(typ(r[0])));
    return false;
}

hd hd_searchsorted_n(hd sorted, hd x, const hd_search_opts *o)
{
    Ref r[2];
    OP(hd_searchsorted_n);
    OPTIONS(hd_search_opts, o);
    bool right = o->side == HD_RIGHT;
    if ((unsigned)o->side > HD_RIGHT) {
        error_set(E_INVAL, "hd_searchsorted: .side is %d: HD_LEFT or HD_RIGHT is wanted", (int)o->side);
        return HD_NIL;
    }
    return vector_and("hd_searchsorted", sorted, x, r) ? sym_of(searchsorted(r[0], r[1], right)) : HD_NIL;
}

hd hd_searchsorted(hd sorted, hd x) { OP(hd_searchsorted); return hd_searchsorted_n(sorted, x, NULL); }

/* Is between them nothing else? Their difference is nan. */
static Ref same_infinity(Ref x, Ref y)
{
    return And(Eq(x, y), Eq(Abs(x), Like(x, INFINITY)));
}

/* Straight lines between points; beyond them the outermost values. Points that coincide have no slope. */
static Ref interp(Ref x, Ref xp, Ref fp)
{
    int64_t n = typ(xp)->dim[0];
    Dtype d = (Dtype)typ(x)->dt;
    double eps = d == DT_F64 ? 0x1p-104 : d == DT_F32 ? 0x1p-46 : d == DT_F16 ? 0x1p-20 : 0x1p-14;
    Ref at = searchsorted(xp, x, true);

    if (!at)
        return 0;
    at = Min(Max(at, Like(at, 1)), Like(at, (double)(n > 1 ? n - 1 : 1)));
    Ref before = Sub(at, Like(at, 1));
    Ref x0 = take(xp, before, 0, MODE_CLIP), x1 = take(xp, at, 0, MODE_CLIP);
    Ref f0 = take(fp, before, 0, MODE_CLIP), f1 = take(fp, at, 0, MODE_CLIP);
    Ref dx = Sub(x1, x0), none = Or(Le(Abs(dx), Like(dx, eps)), same_infinity(f0, f1));
    Ref f = Add(f0, Mul(Div(Sub(x, x0), choose(none, Like(dx, 1), dx)), Sub(f1, f0)));
    f = choose(none, f0, f);
    Ref first = squeeze_axis(take_range(xp, 0, 0, 1), 0),
        last = squeeze_axis(take_range(xp, 0, n - 1, n), 0);
    f = choose(bin(OP_lt, x, first), squeeze_axis(take_range(fp, 0, 0, 1), 0), f);
    return choose(bin(OP_gt, x, last), squeeze_axis(take_range(fp, 0, n - 1, n), 0), f);
}

hd hd_interp(hd x, hd xp, hd fp)
{
    Ref r[3];
    OP(hd_interp);
    if (unify_dtype("hd_interp", 3, (const hd[]){ x, xp, fp }, r) || !float_ref("hd_interp", sym_of(r[0])))
        return HD_NIL;
    const Type *a = typ(r[1]), *b = typ(r[2]);
    if (a->rank != 1 || !type_equal(a, b) || a->dim[0] < 1) {
        error_set(E_SHAPE, "hd_interp: xp and fp are vectors of one size, not %s and %s",
            type_text(a), type_text(b));
        return HD_NIL;
    }
    return sym_of(interp(r[0], r[1], r[2]));
}

/* ==================== counting */

/* counts[k] = how many of index are k, 0 .. n-1 */
static Ref count(Ref index, int64_t n, Dtype d)
{
    Attr a = { 0 };
    Type t = type_of(d, 1, &n), ones = type_of(d, 1, typ(index)->dim);
    Ref r[3] = { Zeros(&t), unsqueeze(index, 1), Full(ones, 1) };
    attr_list(&a, NULL, 0);
    attr_int(&a, 0), attr_int(&a, 0);
    attr_list(&a, NULL, 0), attr_list(&a, NULL, 0);
    attr_int(&a, MODE_FILL), attr_int(&a, HD_ADD), attr_int(&a, 0);
    return emit(OP_scatter, 3, r, &a);
}

/* How many of x are in each interval [edge, next edge); the last one takes its upper end too. */
hd hd_histogram(hd x, hd edges)
{
    Ref r[2];
    OP(hd_histogram);
    if (!vector_and("hd_histogram", edges, x, r))
        return HD_NIL;
    int64_t n = typ(r[0])->dim[0];
    if (n < 2) {
        error_set(E_SHAPE, "hd_histogram: two edges at least make an interval; %s has fewer",
            type_text(typ(r[0])));
        return HD_NIL;
    }
    Ref edge = to_float(r[0]), v = flat(to_float(r[1]));
    if (!edge || !v)
        return HD_NIL;
    Ref at = searchsorted(edge, v, true);
    at = choose(bin(OP_eq, v, squeeze_axis(SliceAxis(edge, 0, n - 1, n), 0)), Like(at, (double)(n - 1)), at);
    Ref all = count(at, n, (Dtype)typ(v)->dt);
    return sym_of(all ? SliceAxis(all, 0, 1, n) : 0);
}

/* Positions in 0 .. n-1 of the first `size` true elements of a vector, 0 for those there are not; *there:
 * which are. */
static Ref positions(Ref mask, int64_t size, Ref *there)
{
    int64_t n = typ(mask)->dim[0];
    Type t = type_of(type_counter(n), 1, &size), b = type_of(DT_BOOL, 1, &size);
    *there = Zeros(&b);
    if (!n || !size)
        return Zeros(&t);
    Ref upto = Cumulative(OP_cumsum, Convert(mask, (Dtype)t.dt), 0, false);
    Ref k = Iota(t, 0);
    if (!upto || !k)
        return 0;
    k = Add(k, Like(k, 1));                     /* the k-th is where the count first reaches k */
    Ref total = squeeze_axis(SliceAxis(upto, 0, n - 1, n), 0);
    *there = bin(OP_le, k, total);
    return choose(*there, searchsorted(upto, k, false), Like(k, 0));
}

static bool size_given(const char *what, int64_t size)
{
    if (size >= 0 && size <= INT32_MAX)
        return true;
    error_set(E_INVAL, "%s: a result of %lld elements", what, (long long)size);
    return false;
}

/* The fill where an option gives one and nothing is there. */
static Ref fill_up(const char *what, const hd_fill_opts *o, Ref there, Ref x)
{
    if (!x || !o || sym_absent(o->fill))
        return x;
    Ref fill = fill_in(what, o->fill, x);
    return fill ? choose(there, x, fill) : 0;
}

hd hd_nonzero_n(hd x, int64_t size, const hd_fill_opts *o)
{
    hd out[MAXRANK];
    Ref there;
    OP(hd_nonzero_n);
    Ref r = rank_ref("hd_nonzero", x, 1);
    if (!r || !size_given("hd_nonzero", size))
        return HD_NIL;
    Type t = *typ(r);
    Ref f = flat(r);
    Ref at = positions(typ(f)->dt == DT_BOOL ? f : Ne(f, Like(f, 0)), size, &there);
    for (int i = t.rank - 1; at && i >= 0; i--) {
        Ref n = Like(at, t.dim[i] ? (double)t.dim[i] : 1);
        out[i] = sym_of(fill_up("hd_nonzero", o, there, Rem(at, n)));
        at = Div(at, n);
    }
    return at ? sym_tuple(out, t.rank) : HD_NIL;
}

hd hd_nonzero(hd x, int64_t size) { OP(hd_nonzero); return hd_nonzero_n(x, size, NULL); }

hd hd_unique_n(hd x, int64_t size, const hd_fill_opts *o)
{
    Ref there = 0;
    OP(hd_unique_n);
    Ref r = sym_ref(x);
    if (!r || !size_given("hd_unique", size))
        return HD_NIL;
    r = flat(r);
    int64_t n = typ(r)->dim[0];
    Type t = type_of((Dtype)typ(r)->dt, 1, &size);
    if (!n) {
        Type none = type_of(DT_BOOL, 1, &size);
        return sym_of(fill_up("hd_unique", o, Zeros(&none), Zeros(&t)));
    }
    r = sort1(r, 0);
    Ref before = SliceAxis(r, 0, 0, n - 1), after = SliceAxis(r, 0, 1, n);
    Ref fresh = Ne(before, after);
    if (fresh && is_float(r))
        fresh = And(fresh, Not(And(is_nan(before), is_nan(after))));
    fresh = join(scalar_to(Const(DT_BOOL, 1), ints1(1)), fresh, 0);
    r = fresh ? take(r, positions(fresh, size, &there), 0, MODE_CLIP) : 0;
    return sym_of(fill_up("hd_unique", o, there, r));
}

hd hd_unique(hd x, int64_t size) { OP(hd_unique); return hd_unique_n(x, size, NULL); }

/* ==================== statistics */

/* Between the two nearest of the sorted elements, weighted by distance; nan where there is one. q in front
 * in the shape. */
static Ref quantile(Ref x, Ref q, int axis)
{
    int64_t n = typ(x)->dim[axis];
    Dtype own = (Dtype)typ(x)->dt;
    Ref bad = Reduce(OP_reduce_or, is_nan(x), ints1(axis));

    if (dtype_size(own) < 4)                    /* positions must be exact */
        x = Convert(x, DT_F32), q = Convert(q, DT_F32);
    x = MoveAxis(sort1(x, axis), axis, 0);
    if (!x)
        return 0;
    int more = typ(x)->rank - 1;
    Ref at = Mul(q, Like(q, (double)(n - 1))), low = Floor(at), high = Ceil(at), up = Sub(at, low);
    Ref top = Like(at, (double)(n - 1)), zero = Like(at, 0);
    Dtype place = type_counter(n);
    low = Convert(Min(Max(low, zero), top), place), high = Convert(Min(Max(high, zero), top), place);
    Ref below = take(x, low, 0, MODE_CLIP), above = take(x, high, 0, MODE_CLIP);
    for (int i = 0; i < more; i++)
        up = up ? unsqueeze(up, typ(up)->rank) : 0;
    if (!up)
        return 0;
    Ref r = bin(OP_add, bin(OP_mul, below, Sub(Like(up, 1), up)), bin(OP_mul, above, up));
    Ref one = bin(OP_or, Eq(up, Like(up, 0)), same_infinity(below, above));
    r = choose(one, below, r);                  /* nothing of what is infinite is taken from it */
    r = choose(bad, Like(r, NAN), r);
    return r ? Convert(r, own) : 0;
}

hd quantile_along(const char *what, hd x, hd q, int axis, Ref (*of)(Ref x, Ref q, int axis))
{
    int a = 0;
    Ref r = to_float(axis_ref(what, x, axis, &a));
    Ref p = r ? sym_ref_as(q, (Dtype)typ(r)->dt) : 0;
    if (!r || !p || !float_ref(what, sym_of(p)))
        return HD_NIL;
    if (!typ(r)->dim[a]) {
        error_set(E_SHAPE, "%s: %s is empty along axis %d", what, type_text(typ(r)), a);
        return HD_NIL;
    }
    if (typ(r)->rank - 1 + typ(p)->rank > MAXRANK) {
        error_set(
            E_SHAPE, "%s: %s for each of %s has too many axes", what, type_text(typ(r)), type_text(typ(p)));
        return HD_NIL;
    }
    return sym_of(of(r, Convert(p, (Dtype)typ(r)->dt), a));
}

hd hd_quantile(hd x, hd q, int axis)
{
    OP(hd_quantile);
    return quantile_along("hd_quantile", x, q, axis, quantile);
}

hd hd_median(hd x, int axis)
{
    OP(hd_median);
    return quantile_along("hd_median", x, sym_const(0.5), axis, quantile);
}

hd hd_diff(hd x, int axis)
{
    int a;
    OP(hd_diff);
    Ref r = axis_ref("hd_diff", x, axis, &a);
    if (!r)
        return HD_NIL;
    int64_t n = typ(r)->dim[a];
    Ref from = SliceAxis(r, a, 0, n > 0 ? n - 1 : 0), to = SliceAxis(r, a, n > 0 ? 1 : 0, n);
    return sym_of(typ(r)->dt == DT_BOOL ? Ne(to, from) : Sub(to, from));
}

/* Rows are variables, columns observations; divided by one less than there are. */
hd hd_cov(hd x)
{
    Ints none = { 0 };
    OP(hd_cov);
    Ref r = to_float(rank_ref("hd_cov", x, 1));
    if (!r)
        return HD_NIL;
    if (typ(r)->rank > 2) {
        error_set(E_SHAPE, "hd_cov: a vector or a matrix is wanted, not %s; use hd_vmap for more axes",
            type_text(typ(r)));
        return HD_NIL;
    }
    bool one = typ(r)->rank == 1;
    if (one)
        r = unsqueeze(r, 0);
    int64_t n = typ(r)->dim[1];
    Ref c = Sub(r, spread(mean(r, ints1(1)), ints1(1), r));
    Ref s = c ? Dot(c, conjugate(c), ints1(1), ints1(1), none, none, DT_NONE) : 0;
    s = s ? Div(s, Like(s, (double)(n > 1 ? n - 1 : 0))) : 0;
    return sym_of(one || (s && typ(s)->dim[0] == 1) ? Reshape(s, none) : s);
}
