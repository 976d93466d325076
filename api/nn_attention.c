/*
 * nn_attention.c - dot_product_attention, as jax.nn has it: softmax(q k' scale + bias) v for each head, with
 * what a query may not look at left out.
 *
 * Queries are [batch, T, heads, d], keys and values [batch, S, groups, d]; each group of heads shares its
 * keys and values. Logits and softmax are f32 at least.
 */
#include "formulas.h"

#include <math.h>

/* Inside, heads are two axes: groups, and heads of a group. Logits are [B, G, H, T, S]. */
typedef struct Attention {
    int64_t B, T, S, N, G, D;
    Ref q, k, v;
} Attention;

static const char what[] = "hd_dot_product_attention";

static bool refuse(const char *why, Ref x)
{
    error_set(E_SHAPE, "%s: %s, not %s", what, why, type_text(typ(x)));
    return false;
}

/* q, k, v with a batch axis, sizes checked. */
static bool heads_in(Attention *a, hd q, hd k, hd v)
{
    Ref r[3];
    if (unify_dtype(what, 3, (const hd[]){ q, k, v }, r) || !float_ref(what, sym_of(r[0])))
        return false;
    int rank = typ(r[0])->rank;
    if (rank != 3 && rank != 4)
        return refuse("queries are [T, heads, d] or [batch, T, heads, d]", r[0]);
    for (int i = 1; i < 3; i++)
        if (typ(r[i])->rank != rank)
            return refuse(i == 1 ? "keys have as many axes as queries" : "values are as keys", r[i]);
    for (int i = 0; i < 3; i++)
        if (rank == 3 && !(r[i] = unsqueeze(r[i], 0)))
            return false;
    Type tq = *typ(r[0]), tk = *typ(r[1]);
    if (!type_equal(&tk, typ(r[2])))
        return refuse("values are as keys", r[2]);
    if (tk.dim[0] != tq.dim[0] || tk.dim[3] != tq.dim[3])
        return refuse("keys have the batch and the d of queries", r[1]);
    if (tk.dim[2] ? tq.dim[2] % tk.dim[2] : tq.dim[2])
        return refuse("the heads of queries are a multiple of those of keys", r[1]);
    *a = (Attention){ tq.dim[0], tq.dim[1], tk.dim[1], tq.dim[2], tk.dim[2], tq.dim[3], r[0], r[1], r[2] };
    return true;
}

static int64_t of_group(const Attention *a) { return a->G ? a->N / a->G : 0; }

/* A mask or a bias, [batch, heads, T, S] with sizes of 1 that broadcast, at the shape of the logits. */
static Ref over_logits(const Attention *a, const char *name, Ref r)
{
    const int64_t want[] = { a->B, a->N, a->T, a->S };
    Ints axes = { 0 }, shape = { 0 }, full = { 5, { a->B, a->G, of_group(a), a->T, a->S } };
    if (!r)
        return 0;
    while (r && typ(r)->rank < 4 && typ(r)->rank > 0)
        r = unsqueeze(r, 0);
    if (!r)
        return 0;
    Type t = *typ(r);
    bool fits = t.rank == 4;
    for (int k = 0; fits && k < 4; k++)
        fits = t.dim[k] == 1 || t.dim[k] == want[k];
    if (!fits) {
        error_set(E_SHAPE,
            "%s: %s is %s, which does not broadcast to [%lld, %lld, %lld, %lld]: batch, "
            "heads, T, S",
            what, name, type_text(&t), (long long)a->B, (long long)a->N, (long long)a->T, (long long)a->S);
        return 0;
    }
    for (int k = 0; k < 4; k++) { /* axes of size 1 are left out; heads become groups and heads of a group */
        if (t.dim[k] == 1 && (k == 1 || want[k] != 1))
            continue;
        int at = k == 0 ? 0 : k + 1;
        if (k == 1)
            shape.v[shape.n++] = a->G, axes.v[axes.n++] = 1, shape.v[shape.n++] = of_group(a),
            axes.v[axes.n++] = 2;
        else
            shape.v[shape.n++] = t.dim[k], axes.v[axes.n++] = at;
    }
    return Broadcast(Reshape(r, shape), full, axes);
}

/* i along the axis of logits is below the length of the batch's element. */
static Ref within(const char *name, hd lengths, Type t, int axis)
{
    Ref n = sym_ref(lengths);
    if (!int_operand(what, name, n))
        return 0;
    if (typ(n)->rank != 1 || typ(n)->dim[0] != t.dim[0]) {
        error_set(E_SHAPE, "%s: %s are %s; one for each of the batch, [%lld], is wanted", what, name,
            type_text(typ(n)), (long long)t.dim[0]);
        return 0;
    }
    return Lt(Iota(t, axis), Broadcast(Convert(n, DT_I32), type_shape(&t), ints1(0)));
}

static Ref both(Ref mask, Ref more) { return mask && more ? And(mask, more) : more; }

/* What may be looked at, of the logits' shape; 0: all, or an error is pending. */
static Ref visible(const Attention *a, const hd_attention_opts *o)
{
    const int64_t dim[] = { a->B, a->G, of_group(a), a->T, a->S };
    Type t = type_of(DT_I32, 5, dim);
    Ref mask = 0, query = Iota(t, 3), key = Iota(t, 4);
    if (!sym_absent(o->mask)) {
        Ref m = sym_ref(o->mask);
        if (m && typ(m)->dt != DT_BOOL) {
            error_set(E_DTYPE,
                "%s: the mask is bool, true where a key is looked at, not %s; what is added "
                "is .bias",
                what, type_text(typ(m)));
            return 0;
        }
        mask = over_logits(a, "mask", m);
    }
    if (o->causal)
        mask = both(mask, Ge(query, key));
    if (o->window.n) {
        Ref left = Add(key, Like(key, (double)o->window.v[0])),
            right = Sub(key, Like(key, (double)o->window.v[1]));
        mask = both(mask, And(Le(query, left), Ge(query, right)));
    }
    if (!sym_absent(o->query_lengths))
        mask = both(mask, within("query_lengths", o->query_lengths, t, 3));
    if (!sym_absent(o->key_lengths))
        mask = both(mask, within("key_lengths", o->key_lengths, t, 4));
    return error_pending() ? 0 : mask;
}

/* By their largest; rows of no keys have none. */
static Ref softmax_last(Ref x)
{
    Ints last = ints1(typ(x)->rank - 1);
    if (!typ(x)->dim[last.v[0]])
        return x;
    Ref e = Exp(Sub(x, spread(stop_gradient(Reduce(OP_reduce_max, x, last)), last, x)));
    return e ? Div(e, spread(Sum(e, last), last, e)) : 0;
}

hd hd_dot_product_attention_n(hd query, hd key, hd value, const hd_attention_opts *o)
{
    Attention a;
    OP(hd_dot_product_attention_n);
    OPTIONS(hd_attention_opts, o);
    if (!sym_usable(query) || !heads_in(&a, query, key, value))
        return HD_NIL;
    if (o->window.n != 0 &&
        (o->window.n != 2 || o->window.v[0] < 0 || o->window.v[1] < 0 || o->window.v[0] > INT32_MAX ||
            o->window.v[1] > INT32_MAX)) {
        error_set(E_INVAL,
            "%s: .window is how many keys before and after the query are seen, two numbers "
            "from 0 on",
            what);
        return HD_NIL;
    }
    Dtype own = (Dtype)typ(a.q)->dt, at = own == DT_F64 ? DT_F64 : DT_F32;
    Ints batch = { 2, { 0, 2 } }, qshape = { 5, { a.B, a.T, a.G, of_group(&a), a.D } };
    Ref q = Reshape(a.q, qshape); /* B T G H D . B S G D -> B G T H S */
    Ref logits = Dot(q, a.k, ints1(4), ints1(3), batch, batch, at);
    logits = logits ? Transpose(logits, (Ints){ 5, { 0, 1, 3, 2, 4 } }) : 0;
    if (!logits)
        return HD_NIL;
    logits = Mul(logits, Like(logits, o->scale == 0 ? 1 / sqrt((double)a.D) : o->scale));
    if (!sym_absent(o->bias)) {
        Ref bias = sym_ref(o->bias);
        if (!bias || !float_ref(what, o->bias) || !(bias = over_logits(&a, "bias", bias)))
            return HD_NIL;
        logits = Add(logits, Convert(bias, at));
    }
    Ref mask = visible(&a, o);
    if (error_pending())
        return HD_NIL;
    if (mask)
        logits = Select(mask, logits,
            Like(logits, -0.7 * (at == DT_F64 ? 1.7976931348623157e308 : 3.4028234663852886e38)));
    Ref p = logits ? softmax_last(logits) : 0;
    p = p ? Convert(p, own) : 0; /* B G H T S . B S G D -> B G H T D */
    Ref y = p ? Dot(p, a.v, ints1(4), ints1(1), (Ints){ 2, { 0, 1 } }, batch, DT_NONE) : 0;
    y = y ? Transpose(y, (Ints){ 5, { 0, 3, 1, 2, 4 } }) : 0;
    y = y ? Reshape(y, shape_of(a.q)) : 0;
    if (y && !sym_absent(o->query_lengths)) {
        const int64_t dim[] = { a.B, a.T, a.N, a.D };
        Ref there = within("query_lengths", o->query_lengths, type_of(DT_I32, 4, dim), 1);
        y = there ? Select(there, y, Like(y, 0)) : 0;
    }
    Ref like = sym_ref(query);
    return sym_of(y && like ? Reshape(y, shape_of(like)) : 0);
}

hd hd_dot_product_attention(hd query, hd key, hd value)
{
    OP(hd_dot_product_attention);
    return hd_dot_product_attention_n(query, key, value, NULL);
}
