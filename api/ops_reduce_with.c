/*
 * ops_reduce_with.c - hd_reduce: reductions with an associative function of the user's, over trees.
 *
 * A function that is one of the reductions of the op table, or one for each part of a tree, is that. Any
 * other is a loop for each element of the result, as lanes of one region; where there are few of them and
 * much to reduce, the rows are cut into about sqrt(n) pieces, which are lanes too, and their results are
 * reduced in turn. Neighbours are combined in their order, so the function need not commute.
 */
#include "reduce_with.h"

#include <math.h>
#include <string.h>

#include "control.h"

/* ==================== reductions of the op table */

static const struct {
    Op one, all;
} rows[] = {
    { OP_add, OP_reduce_sum },
    { OP_mul, OP_reduce_prod },
    { OP_max, OP_reduce_max },
    { OP_min, OP_reduce_min },
    { OP_and, OP_reduce_and },
    { OP_or, OP_reduce_or },
    { OP_xor, OP_reduce_xor },
};
enum { ROWS = sizeof rows / sizeof *rows };

Op reduction_of(const Traced *t, int leaf)
{
    const Graph *g = t->g;
    const Ins *one = NULL;
    if (t->ncap || g->nin != 2 * g->nout)
        return OP_COUNT;
    for (int k = 0; k < g->nins; k++)
        if (g->ins[k]->nout == 1 && g->ins[k]->out == g->out[leaf])
            one = g->ins[k];
    if (!one || one->nin != 2)
        return OP_COUNT;
    Ref x = g->in[leaf], y = g->in[g->nout + leaf];
    bool both = (one->in[0] == x && one->in[1] == y) || (one->in[0] == y && one->in[1] == x);
    for (int k = 0; both && k < ROWS; k++)
        if (rows[k].one == one->op)
            return rows[k].all;
    return OP_COUNT;
}

Ref reduction_identity(Op op, Dtype dt)
{
    int64_t top = (int64_t)((uint64_t)1 << (8 * dtype_size(dt) - 1));
    bool most = op == OP_reduce_min;
    switch (op) {
    case OP_reduce_prod:
        return Const(dt, 1);
    case OP_reduce_and:
        return dt == DT_BOOL ? Const(dt, 1) : ConstBits(dt, -1);
    case OP_reduce_max:
    case OP_reduce_min:
        if (dtype_float(dt))
            return Const(dt, most ? INFINITY : -INFINITY);
        if (dt == DT_BOOL)
            return Const(dt, most);
        return !dtype_signed(dt) ? ConstBits(dt, most ? -1 : 0) : ConstBits(dt, most ? ~top : top);
    default:
        return Const(dt, 0);
    }
}

Ref with_init(Op op, Ref init, Ref reduced)
{
    for (int k = 0; k < ROWS && reduced && init != reduction_identity(op, (Dtype)typ(reduced)->dt); k++)
        if (rows[k].all == op)
            return bin(rows[k].one, reduced, init);
    return reduced;
}

/* ==================== any other function */

const Traced *combining(const char *what, hd_fn *f, const Tree *one)
{
    const Tree *pair[] = { one, one };
    const Traced *t = traced_body("combined", f, tree_tuple(pair, 2));
    if (!t || tree_equal(tree_strong(t->out), one))
        return t;
    error_set(E_SHAPE, "%s: %s combines two of %s and returns %s: it must return what it is given", what,
        fn_name(f), tree_text(one), tree_text(t->out));
    return NULL;
}

typedef struct Combine {
    hd_fn *f;
} Combine;

static hd step(hd acc, hd x, const void *env)
{
    const hd pair[] = { acc, x };
    const hd both[] = { apply(((const Combine *)env)->f, pair, 2), HD_NIL };
    return hd_ok(both[0]) ? hd_tuple_n(both, 2) : HD_NIL;
}

/* One lane: the first, and the others in order. */
static hd fold_lane(hd first, hd others, const void *env)
{
    const Combine *c = env;
    hd z = hd_scan_n(hd_function_(102, (uintptr_t)step, fn_name(c->f), c, sizeof *c), first, others, NULL);
    return hd_ok(z) ? hd_nth(z, 0) : HD_NIL;
}

static hd tree_of(const Tree *one, const Ref *r)
{
    Type *type = NEWS(Type, one->nleaf);
    for (int k = 0; k < one->nleaf; k++)
        type[k] = *typ(r[k]);
    const Type *next = type;
    return built(tree_retype(one, &next), r);
}

/* r[k]: (n, m), becomes (m): a lane for each of the m. */
static int fold_rows(hd_fn *f, const Tree *one, Ref *r)
{
    Combine c = { f };
    Ref *first = NEWS(Ref, one->nleaf), *others = NEWS(Ref, one->nleaf);
    int64_t n = typ(r[0])->dim[0];
    for (int k = 0; k < one->nleaf; k++) {
        first[k] = squeeze_axis(take_range(r[k], 0, 0, 1), 0);
        others[k] = n > 1 ? take_range(r[k], 0, 1, n) : 0;
        r[k] = first[k];
        if (!first[k] || (n > 1 && !others[k]))
            return error_code();
    }
    if (n == 1)
        return 0;
    const hd in[] = { tree_of(one, first), tree_of(one, others) };
    hd_fn *lane = hd_function_(102, (uintptr_t)fold_lane, fn_name(f), &c, sizeof c);
    hd_fn *over = lane ? hd_vmap_n(lane, &(const hd_vmap_opts){ .in_axes = { 0, 1 } }) : NULL;
    hd z = over ? apply(over, in, 2) : HD_NIL;
    return !hd_ok(z) || values(z, NULL, r) ? E_INVAL : 0;
}

/* Pieces of m rows as rows of their own: (n, w) becomes (m, n / m * w). */
static Ref in_pieces(Ref r, int64_t n, int64_t m)
{
    int64_t w = typ(r)->dim[1];
    Ref pieces = Reshape(take_range(r, 0, 0, n / m * m), (Ints){ 3, { n / m, m, w } });
    return pieces ? Reshape(MoveAxis(pieces, 1, 0), (Ints){ 2, { m, n / m * w } }) : 0;
}

enum { LANES = 1024, LONG = 256 }; /* enough to keep a device busy; worth two rounds */

int combine_rows(hd_fn *f, const Tree *one, Ref *r)
{
    int64_t n = typ(r[0])->dim[0], w = typ(r[0])->dim[1], m = (int64_t)sqrt((double)n);
    if (n < LONG || w >= LANES)
        return fold_rows(f, one, r);
    Ref *rest = NEWS(Ref, one->nleaf);
    for (int k = 0; k < one->nleaf; k++)
        rest[k] = take_range(r[k], 0, n / m * m, n), r[k] = in_pieces(r[k], n, m);
    int e = fold_rows(f, one, r);
    if (!e && n % m)
        e = fold_rows(f, one, rest);
    for (int k = 0; k < one->nleaf && !e; k++) {
        r[k] = Reshape(r[k], (Ints){ 2, { n / m, w } });
        r[k] = n % m ? join(r[k], unsqueeze(rest[k], 0), 0) : r[k];
        e = r[k] ? 0 : E_INVAL;
    }
    return e ? e : combine_rows(f, one, r);
}

/* ==================== hd_reduce */

/* Leaves of one shape; *one: the tree of their scalars. NULL after an error. */
static Ref *operands(const char *what, hd x, const Tree **one)
{
    const Tree *tree = tracing() ? sym_type(x) : NULL;
    if (!tree || !tree->nleaf)
        return tree ? error_set(E_INVAL, "%s: x is %s: there is nothing to reduce", what, tree_text(tree)),
               NULL : NULL;
    tree = tree_strong(tree);
    Ref *r = NEWS(Ref, tree->nleaf);
    Type *type = NEWS(Type, tree->nleaf);
    if (values(x, NULL, r))
        return NULL;
    for (int k = 0; k < tree->nleaf; k++) {
        Ints a = shape_of(r[0]), b = shape_of(r[k]);
        if (a.n != b.n || memcmp(a.v, b.v, sizeof *a.v * (size_t)a.n))
            return error_set(E_SHAPE, "%s: the parts of x have one shape, but %s is there, and %s", what,
                       type_text(typ(r[0])), type_text(typ(r[k]))),
                   NULL;
        type[k] = type_scalar((Dtype)typ(r[k])->dt);
    }
    const Type *next = type;
    *one = tree_retype(tree, &next);
    return r;
}

/* The reduced axes in front, as one; the others behind, as one. */
static Ref as_rows(Ref r, Ints axes)
{
    Ints others = { 0 }, order = axes;
    int64_t n = size_along(r, axes);
    for (int d = 0; d < typ(r)->rank; d++)
        if (!ints_has(&axes, d))
            others.v[others.n++] = d;
    for (int k = 0; k < others.n; k++)
        order.v[order.n++] = others.v[k];
    int64_t all = 1;
    for (int k = 0; k < others.n; k++)
        all *= typ(r)->dim[others.v[k]];
    return Reshape(Transpose(r, order), (Ints){ 2, { n, all } });
}

static hd combined(hd_fn *f, const Tree *one, const Ref *init, Ref *r, Ints axes)
{
    int64_t n = size_along(r[0], axes);
    Ints shape = shape_of(r[0]), left = ints_without(shape, &axes);
    Ref *x = NEWS(Ref, one->nleaf);
    for (int k = 0; k < one->nleaf; k++)
        x[k] = n && type_size(typ(r[k])) ? as_rows(r[k], axes) : scalar_to(init[k], left);
    if (!n || !type_size(typ(r[0])))
        return tree_of(one, x);
    hd_fn *over = hd_vmap_n(f, &(const hd_vmap_opts){ .in_axes = { HD_NONE, 0 } });
    if (!over || combine_rows(f, one, x))
        return HD_NIL;
    const hd pair[] = { tree_of(one, init), tree_of(one, x) };
    hd z = apply(over, pair, 2);
    if (!hd_ok(z) || values(z, NULL, x))
        return HD_NIL;
    for (int k = 0; k < one->nleaf; k++)
        x[k] = Reshape(x[k], left);
    return tree_of(one, x);
}

hd hd_reduce_n(hd_fn *f, hd init, hd x, hd_ints list)
{
    static const char what[] = "hd_reduce";
    const Tree *one, *given;
    Ints axes;
    OP(hd_reduce_n);
    Ref *r = fn_in(what, f) ? operands(what, x, &one) : NULL;
    if (!r || !(given = sym_type(init)) || axes_of(what, list, typ(r[0])->rank, &axes, NULL))
        return HD_NIL;
    if (!tree_same_shape(given, one))
        return error_set(E_SHAPE,
                   "%s: x is a tree of %s, what it begins with is %s: they have the same parts", what,
                   tree_text(one), tree_text(given)),
               HD_NIL;
    Ref *first = NEWS(Ref, one->nleaf);
    Type *type = NEWS(Type, one->nleaf);
    tree_types(one, type);
    if (values(init, type, first))
        return HD_NIL;
    for (int k = 0; k < one->nleaf; k++)
        if (!type_equal(typ(first[k]), &type[k]))
            return error_set(E_SHAPE, "%s: it begins with %s, and elements are %s", what,
                       type_text(typ(first[k])), type_text(&type[k])),
                   HD_NIL;
    const Traced *t = combining(what, f, one);
    if (!t)
        return HD_NIL;
    for (int k = 0; k < one->nleaf; k++)
        if (reduction_of(t, k) == OP_COUNT)
            return combined(f, one, first, r, axes);
    for (int k = 0; k < one->nleaf; k++) {
        Op op = reduction_of(t, k);
        r[k] = with_init(op, first[k], Reduce(op, r[k], axes));
    }
    return tree_of(one, r);
}
