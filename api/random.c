/*
 * random.c - random numbers: functions of a key, u32[2].
 *
 * The generator is threefry2x32 with 20 rounds. Element i of an array, whatever its shape, is made from the
 * counter i (64 bits) and nothing else, so values do not depend on how an array is cut up; this is jax.random's
 * "partitionable" layout, and bits, integers and uniforms are JAX's bit for bit. Samplers are formulas of
 * uniforms, so everything maps over keys with hd_vmap.
 */
#include "formulas.h"

#include <math.h>

/* ==================== keys and bits */

/* Two words of a key as scalars. */
typedef struct Key { Ref word[2]; } Key;

static int key_in(const char *what, hd key, Key *k)
{
    Ref r = sym_ref(key);
    if (!r)
        return E_INVAL;
    const Type *t = typ(r);
    if (t->dt != DT_U32)
        return error_set(E_DTYPE, "%s: a key is u32[2], not %s; make one with hd_key or hd_array_key",
            what, type_text(t));
    if (t->rank > 1 && t->dim[t->rank - 1] == 2)
        return error_set(E_SHAPE, "%s: one key is wanted, but %s is an array of them; use hd_vmap or hd_index",
            what, type_text(t));
    if (t->rank != 1 || t->dim[0] != 2)
        return error_set(E_SHAPE, "%s: a key is u32[2], not %s; make one with hd_key or hd_array_key",
            what, type_text(t));
    for (int i = 0; i < 2; i++)
        if (!(k->word[i] = squeeze_axis(SliceAxis(r, 0, i, i + 1), 0)))
            return E_INTERNAL;
    return 0;
}

/* The block of each counter (high, low): two words. */
static bool blocks(Key k, Ref high, Ref low, Ref *out)
{
    if (!high || !low)
        return false;
    Ints shape = shape_of(low);
    const Ref in[4] = { scalar_to(k.word[0], shape), scalar_to(k.word[1], shape), high, low };
    return emit_n(OP_threefry, 4, in, NULL, out) == 2;
}

/* The blocks of counters 0 .. n-1. */
static bool numbered(Key k, int64_t n, Ref *out)
{
    Type t = type_of(DT_U32, 1, &n);
    if (n <= (int64_t)1 << 32)
        return blocks(k, Zeros(&t), Iota(t, 0), out);
    t.dt = DT_U64;
    Ref i = Iota(t, 0);
    return i && blocks(k, Convert(ShiftRightLogical(i, Like(i, 32)), DT_U32), Convert(i, DT_U32), out);
}

/* A key of two words. */
static Ref key_of(const Ref *word)
{
    int last = typ(word[0])->rank;
    return join(unsqueeze(word[0], last), unsqueeze(word[1], last), last);
}

static int split(Key k, int64_t n, Key *out)
{
    Ref w[2];
    if (!numbered(k, n, w))
        return E_INTERNAL;
    for (int64_t i = 0; i < n; i++)
        for (int j = 0; j < 2; j++)
            if (!(out[i].word[j] = squeeze_axis(SliceAxis(w[j], 0, i, i + 1), 0)))
                return E_INTERNAL;
    return 0;
}

/* Bits as an unsigned dtype: the words joined for 64, mixed for 32, their low part for less. */
static Ref bits(Key k, Dtype d, Ints shape)
{
    Ref w[2], r;
    Type t = type_of(d, shape.n, shape.v);

    if (!numbered(k, type_size(&t), w))
        return 0;
    if (d == DT_U64) {
        Ref high = Convert(w[0], DT_U64);
        r = Or(ShiftLeft(high, Like(high, 32)), Convert(w[1], DT_U64));
    } else {
        r = Convert(Xor(w[0], w[1]), d);
    }
    return r ? Reshape(r, shape) : 0;
}

hd hd_key(uint64_t seed)
{
    OP(hd_key);
    if (!tracing())
        return HD_NIL;
    const uint32_t word[2] = { (uint32_t)(seed >> 32), (uint32_t)seed };
    return sym_of(Data(type_of(DT_U32, 1, (const int64_t[]){ 2 }), word));
}

hd hd_random_split(hd key, int64_t n)
{
    Key k;
    Ref w[2];
    OP(hd_random_split);
    if (key_in("hd_random_split", key, &k))
        return HD_NIL;
    if (n < 0) {
        error_set(E_INVAL, "hd_random_split: %lld keys", (long long)n);
        return HD_NIL;
    }
    return sym_of(numbered(k, n, w) ? key_of(w) : 0);
}

hd hd_random_fold_in(hd key, hd data)
{
    Key k;
    Ref w[2];
    OP(hd_random_fold_in);
    Ref d = sym_weak(data, NULL) ? sym_ref_as(data, DT_I64) : sym_ref(data);
    if (key_in("hd_random_fold_in", key, &k) || !int_operand("hd_random_fold_in", "data", d))
        return HD_NIL;
    if (typ(d)->rank) {
        error_set(E_SHAPE, "hd_random_fold_in: one number is folded in, not %s; use hd_vmap", type_text(typ(d)));
        return HD_NIL;
    }
    d = Convert(d, DT_U32);
    return sym_of(d && blocks(k, Like(d, 0), d, w) ? key_of(w) : 0);
}

/* ==================== checks */

/* A key, and the shape of what is drawn. 0, or a code. */
static int draw_in(const char *what, hd key, hd_ints list, Key *k, Ints *shape)
{
    return key_in(what, key, k) || ints_in(what, list, shape) ? E_INVAL : countable(what, *shape);
}

static int float_dtype(const char *what, enum hd_dtype d)
{
    if (dtype_float((Dtype)d))
        return 0;
    return error_set(E_DTYPE, "%s: draws f16, bf16, f32 or f64, not %s", what,
        is_dtype(d) ? dtype_name((Dtype)d) : "this number");
}

/* A parameter at the shape of what is drawn; without a shape, the shape is the parameters'. 0, or a code. */
static int parameters(const char *what, int n, Ref *r, Ints *shape)
{
    if (unify_shape(what, n, r))
        return E_SHAPE;
    if (!shape->n)
        *shape = shape_of(r[0]);
    for (int i = 0; i < n; i++)
        if (!(r[i] = broadcast_to(r[i], *shape)))
            return E_SHAPE;
    return 0;
}

hd hd_random_bits_n(hd key, enum hd_dtype d, hd_ints list)
{
    Key k;
    Ints shape;
    OP(hd_random_bits_n);
    if (draw_in("hd_random_bits", key, list, &k, &shape))
        return HD_NIL;
    if (!dtype_unsigned((Dtype)d)) {
        error_set(E_DTYPE, "hd_random_bits: draws u8, u16, u32 or u64");
        return HD_NIL;
    }
    return sym_of(bits(k, (Dtype)d, shape));
}

/* ==================== uniform */

/* How a float is made of bits: its mantissa is drawn, its exponent is that of 1. */
typedef struct Layout { Dtype word, drawn; int bits, mantissa; int64_t one; double above_minus_one, tiny; } Layout;

/* above_minus_one: the number next to -1, toward 0; tiny: the least normal one */
static Layout layout(Dtype d)
{
    switch (d) {
    case DT_F16: return (Layout){ DT_U16, DT_U16, 16, 10, 0x3C00, -1 + 0x1p-11, 0x1p-14 };
    case DT_BF16: return (Layout){ DT_U16, DT_U8, 8, 7, 0x3F80, -1 + 0x1p-8, 0x1p-126 };
    case DT_F64: return (Layout){ DT_U64, DT_U64, 64, 52, 0x3FF0000000000000, -1 + 0x1p-53, 0x1p-1022 };
    default: return (Layout){ DT_U32, DT_U32, 32, 23, 0x3F800000, -1 + 0x1p-24, 0x1p-126 };
    }
}

/* Uniform over [0, 1). */
static Ref unit(Key k, Dtype d, Ints shape)
{
    Layout l = layout(d);
    Ref b = bits(k, l.drawn, shape);
    if (!b)
        return 0;
    b = Convert(b, l.word);
    b = ShiftRightLogical(b, Like(b, l.bits - l.mantissa));
    Ref f = b ? Bitcast(Or(b, scalar_to(ConstBits(l.word, l.one), shape)), d) : 0;
    return f ? Sub(f, Like(f, 1)) : 0;
}

/* Uniform over [low, high): low and high are of the shape and dtype. */
static Ref uniform(Key k, Ints shape, Ref low, Ref high)
{
    if (!low || !high)
        return 0;
    Ref f = unit(k, (Dtype)typ(low)->dt, shape);
    return Max(low, Add(Mul(f, Sub(high, low)), low));
}

static Ref uniform_from(Key k, Dtype d, Ints shape, double low, double high)
{
    Type t = type_of(d, shape.n, shape.v);
    return uniform(k, shape, Full(t, low), Full(t, high));
}

/* ==================== samplers of a dtype */

static Ref draw_unit(Key k, Dtype d, Ints s) { return unit(k, d, s); }

/* The inverse of the distribution function at a uniform. */
static Ref draw_normal(Key k, Dtype d, Ints s)
{
    Ref u = uniform_from(k, d, s, layout(d).above_minus_one, 1);
    return u ? Mul(Like(u, sqrt(2)), ErfInv(u)) : 0;
}


static Ref draw_gumbel(Key k, Dtype d, Ints s)
{
    return Neg(Log(Neg(Log(uniform_from(k, d, s, layout(d).tiny, 1)))));
}

static Ref draw_exponential(Key k, Dtype d, Ints s) { return Neg(Log1p(Neg(unit(k, d, s)))); }

static Ref draw_laplace(Key k, Dtype d, Ints s)
{
    Ref u = uniform_from(k, d, s, layout(d).above_minus_one, 1);
    return Mul(Sign(u), Log1p(Neg(Abs(u))));
}

typedef Ref DrawFn(Key, Dtype, Ints shape);

static hd draw(const char *what, DrawFn *f, hd key, enum hd_dtype d, hd_ints list)
{
    Key k;
    Ints shape;
    if (float_dtype(what, d) || draw_in(what, key, list, &k, &shape))
        return HD_NIL;
    return sym_of(f(k, (Dtype)d, shape));
}

#define SAMPLER(name, f) \
    hd hd_random_##name##_n(hd key, enum hd_dtype d, hd_ints shape) \
    { OP(hd_random_##name##_n); return draw("hd_random_" #name, f, key, d, shape); }
SAMPLER(uniform, draw_unit)
SAMPLER(normal, draw_normal)
SAMPLER(gumbel, draw_gumbel)
SAMPLER(exponential, draw_exponential)
SAMPLER(laplace, draw_laplace)

/* -1 or 1 */
hd hd_random_rademacher_n(hd key, enum hd_dtype d, hd_ints list)
{
    Key k;
    Ints shape;
    OP(hd_random_rademacher_n);
    if (draw_in("hd_random_rademacher", key, list, &k, &shape) || !real_dtype("hd_random_rademacher", (Dtype)d))
        return HD_NIL;
    if (d == HD_BOOL || dtype_unsigned((Dtype)d)) {
        error_set(E_DTYPE, "hd_random_rademacher: %s has no -1", dtype_name((Dtype)d));
        return HD_NIL;
    }
    Ref u = unit(k, DT_F32, shape);
    Ref r = u ? Convert(Lt(u, Like(u, 0.5)), (Dtype)d) : 0;
    return sym_of(r ? Sub(Mul(r, Like(r, 2)), Like(r, 1)) : 0);
}

/* ==================== samplers with parameters */

hd hd_random_bernoulli_n(hd key, hd p, hd_ints list)
{
    static const char what[] = "hd_random_bernoulli";
    Key k;
    Ints shape;
    OP(hd_random_bernoulli_n);
    Ref r = float_ref(what, p);
    if (!r || draw_in(what, key, list, &k, &shape) || parameters(what, 1, &r, &shape))
        return HD_NIL;
    return sym_of(Lt(unit(k, (Dtype)typ(r)->dt, shape), r));
}

hd hd_random_truncated_normal_n(hd key, hd low, hd high, hd_ints list)
{
    static const char what[] = "hd_random_truncated_normal";
    Key k;
    Ints shape;
    Ref r[2];
    OP(hd_random_truncated_normal_n);
    if (unify_dtype(what, 2, (const hd[]){ low, high }, r) || !float_ref(what, sym_of(r[0]))
        || draw_in(what, key, list, &k, &shape) || parameters(what, 2, r, &shape))
        return HD_NIL;
    Ref root = Like(r[0], sqrt(2));
    Ref u = uniform(k, shape, Erf(Div(r[0], root)), Erf(Div(r[1], root)));
    Ref x = Mul(root, ErfInv(u));
    Ref from = Nextafter(stop_gradient(r[0]), Like(r[0], INFINITY));
    Ref to = Nextafter(stop_gradient(r[1]), Like(r[1], -INFINITY));
    return sym_of(Min(Max(x, from), to));
}

/* Integers from low to high - 1, of their dtype. Twice the bits are drawn and reduced by high * 2^bits + low = r
 * modulo the span, all wrapping. Dtypes below 32 bits are drawn in i32. A constant `high` may be one more than the
 * dtype's largest number. */
static Ref randint(Key k, Ints shape, Ref low, Ref high, bool beyond)
{
    Dtype d = (Dtype)typ(low)->dt;
    int width = 8 * (int)dtype_size(d);
    Dtype u = width == 64 ? DT_U64 : DT_U32;
    Key sub[2];

    if (split(k, 2, sub))
        return 0;
    Ref more = bits(sub[0], u, shape), less = bits(sub[1], u, shape);
    Ref span = Convert(Sub(high, low), u), one = Like(span, 1);
    Ref empty = Le(high, low);
    span = choose(empty, one, span);
    if (beyond)
        span = choose(empty, span, Add(span, one));
    Ref factor = Rem(Like(span, width == 64 ? 0x1p32 : 0x1p16), span);
    factor = Rem(Mul(factor, factor), span);
    Ref offset = Rem(Add(Mul(Rem(more, span), factor), Rem(less, span)), span);
    return offset ? Add(low, Convert(offset, d)) : 0;
}

static double largest(Dtype d) { return ldexp(1, 8 * (int)dtype_size(d) - dtype_signed(d)) - 1; }

hd hd_random_randint_n(hd key, hd low, hd high, hd_ints list)
{
    static const char what[] = "hd_random_randint";
    Key k;
    Ints shape;
    Ref r[2];
    double top;
    OP(hd_random_randint_n);
    if (draw_in(what, key, list, &k, &shape))
        return HD_NIL;
    if (sym_weak(low, NULL) && sym_weak(high, NULL))
        low = sym_of(sym_ref_as(low, DT_I32));
    Ref first = sym_weak(low, NULL) ? 0 : sym_ref(low);
    Dtype d = first ? (Dtype)typ(first)->dt : DT_NONE;
    bool beyond = dtype_int(d) && dtype_size(d) < 8 && sym_weak(high, &top) && top == largest(d) + 1;
    if (beyond)
        high = sym_of(ConstBits(d, (int64_t)largest(d)));
    if (unify_dtype(what, 2, (const hd[]){ low, high }, r) || !int_operand(what, "low and high", r[0])
        || parameters(what, 2, r, &shape))
        return HD_NIL;
    d = (Dtype)typ(r[0])->dt;
    if (dtype_size(d) >= 4)
        return sym_of(randint(k, shape, r[0], r[1], beyond));
    r[0] = Convert(r[0], DT_I32), r[1] = Convert(r[1], DT_I32);
    if (beyond)
        r[1] = Add(r[1], Like(r[1], 1));
    return sym_of(Convert(randint(k, shape, r[0], r[1], false), d));
}

/* The logits with batch axes in front, so that all but the classes have this shape; *axis moves along. 0 after an error. */
static Ref batched_logits(const char *what, Ref r, Ints shape, int *axis)
{
    Ints own = ints_without(shape_of(r), &(Ints){ 1, { *axis } }), all = shape_of(r);
    bool fits = shape.n >= own.n && shape.n < MAXRANK;
    for (int i = 1; fits && i <= own.n; i++)
        fits = own.v[own.n - i] == shape.v[shape.n - i] || own.v[own.n - i] == 1;
    if (!fits) {
        Type have = type_of((Dtype)typ(r)->dt, own.n, own.v), want = type_of((Dtype)typ(r)->dt, shape.n, shape.v);
        error_set(E_SHAPE, "%s: the shape %s must be one that the batch axes of the logits, %s, broadcast to", what,
                  type_text(&want), type_text(&have));
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
    if (shape.n && !(r = batched_logits(what, r, shape, &a)))
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

/* A vector sorted by random keys, as often as makes equal keys harmless. */
static Ref shuffle(Key k, Ref v)
{
    int64_t n = typ(v)->dim[0];
    int rounds = n > 1 ? (int)ceil(3 * log((double)n) / log(UINT32_MAX)) : 0;

    for (int i = 0; v && i < rounds; i++) {
        Key sub[2];
        if (split(k, 2, sub))
            return 0;
        k = sub[0];
        v = sort_by(bits(sub[1], DT_U32, ints1(n)), v, 0);
    }
    return v;
}

/* The rows of x in random order. */
static Ref permuted(Key k, Ref x)
{
    if (typ(x)->rank == 1)
        return shuffle(k, x);
    int64_t n = typ(x)->dim[0];
    Type t = type_of(DT_I32, 1, &n);
    return take(x, shuffle(k, Iota(t, 0)), 0, MODE_CLIP);
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

hd hd_random_permutation(hd key, hd x)
{
    Key k;
    OP(hd_random_permutation);
    Ref r = population("hd_random_permutation", x);
    return !r || key_in("hd_random_permutation", key, &k) ? HD_NIL : sym_of(permuted(k, r));
}

hd hd_random_choice(hd key, hd x, int64_t n, bool replace)
{
    static const char what[] = "hd_random_choice";
    Key k;
    OP(hd_random_choice);
    Ref r = population(what, x);
    if (!r || key_in(what, key, &k))
        return HD_NIL;
    int64_t all = typ(r)->dim[0];
    if (n < 0 || n > INT32_MAX || (n && !all) || (!replace && n > all)) {
        error_set(E_SHAPE, "%s: %lld rows%s of %s",
            what, (long long)n, replace ? "" : " without repetition", type_text(typ(r)));
        return HD_NIL;
    }
    if (!replace)
        return sym_of(take_range(permuted(k, r), 0, 0, n));
    Type t = type_of(DT_I32, 1, &n);
    return sym_of(take(r, randint(k, ints1(n), Zeros(&t), Full(t, (double)all), false), 0, MODE_CLIP));
}
