/*
 * random.c - random numbers: functions of a key, which is typed, key[], or two words, u32[2].
 *
 * The generator is threefry2x32 with 20 rounds. Element i of an array, whatever its shape, is made from the
 * counter i (64 bits) and nothing else, so values do not depend on how an array is cut up; this is
 * jax.random's "partitionable" layout, and bits, integers and uniforms are JAX's bit for bit; the layout
 * before it is there on request. Samplers are formulas of uniforms, so everything maps over keys with
 * hd_vmap.
 */
#include "random.h"

#include <math.h>

/* ==================== keys and bits */

/* Are these keys as words? */
static bool pairs(const Type *t) { return t->dt == DT_U32 && t->rank && t->dim[t->rank - 1] == 2; }

/* The words of a key. */
static int words_in(const char *what, hd key, Key *k)
{
    Ref r = sym_ref(key);
    if (!r)
        return E_INVAL;
    const Type *t = typ(r);
    k->typed = t->dt == DT_KEY;
    if (k->typed ? t->rank : pairs(t) && t->rank > 1)
        return error_set(E_SHAPE,
            "%s: one key is wanted, but %s is an array of them; use hd_vmap or hd_index", what,
            type_text(t));
    if (!k->typed && !pairs(t))
        return error_set(t->dt == DT_U32 ? E_SHAPE : E_DTYPE,
            "%s: a key is key[] or u32[2], not %s; make one with hd_random_key or "
            "hd_key, outside with hd_array_random_key or hd_array_key",
            what, type_text(t));
    if (k->typed)
        r = Bitcast(r, DT_U32);
    for (int i = 0; i < 2; i++)
        if (!(k->word[i] = squeeze_axis(SliceAxis(r, 0, i, i + 1), 0)))
            return E_INTERNAL;
    return 0;
}

int key_in(const char *what, hd key, Key *k)
{
    return words_in(what, key, k) || key_use(sym_ref(key)) ? E_INVAL : 0;
}

bool blocks(Key k, Ref high, Ref low, Ref *out)
{
    if (!high || !low)
        return false;
    Ints shape = shape_of(low);
    const Ref in[4] = { scalar_to(k.word[0], shape), scalar_to(k.word[1], shape), high, low };
    return emit_n(OP_threefry, 4, in, NULL, out) == 2;
}

/* The position of each element: high and low word. */
static bool counters(Ints shape, Ref *c)
{
    Type t = type_of(DT_U32, shape.n, shape.v);
    int64_t n = type_size(&t);
    if (!shape.n) {
        c[0] = c[1] = Const(DT_U32, 0);
    } else if (n <= (int64_t)1 << 32) {
        c[0] = Zeros(&t);
        c[1] = Reshape(Iota(type_of(DT_U32, 1, &n), 0), shape);
    } else {
        Ref i = Reshape(Iota(type_of(DT_U64, 1, &n), 0), shape);
        c[0] = i ? Convert(ShiftRightLogical(i, Like(i, 32)), DT_U32) : 0;
        c[1] = i ? Convert(i, DT_U32) : 0;
    }
    return c[0] && c[1];
}

static bool counted(Key k, Ints shape, Ref *out)
{
    Ref c[2];
    return counters(shape, c) && blocks(k, c[0], c[1], out);
}

/* ==================== the older layout: an array's words of 32 bits are counted through, and word i of n is
 * the first of the block of (i, i + half), or the second of (i - half, i); half is that of n, rounded up,
 * and a counter of n itself is 0. */

static _Thread_local bool older;

bool hd_random_older(bool on)
{
    bool before = older;
    older = on;
    return before;
}

/* Counters of a word: where it is, and whether it is the second of its block. */
static void halves(Ref word, int64_t n, Ref *high, Ref *low, Ref *second)
{
    double half = (double)((n + 1) / 2);
    *second = Ge(word, Like(word, half));
    *high = Select(*second, Sub(word, Like(word, half)), word);
    *low = Add(*high, Like(word, half));
    if (n & 1)
        *low = Select(Eq(*low, Like(word, (double)n)), Like(word, 0), *low);
}

static Ref words(Key k, int64_t n)
{
    Type t = type_of(DT_U32, 1, &(int64_t){ (n + 1) / 2 });
    Ref high, low, second, w[2];
    halves(Iota(t, 0), n, &high, &low, &second);
    return blocks(k, high, low, w) ? take_range(join(w[0], w[1], 0), 0, 0, n) : 0;
}

/* Can their words be counted? else an error */
static bool few(Ints shape)
{
    Type t = type_of(DT_U64, shape.n, shape.v);
    if (type_size(&t) <= INT32_MAX)
        return true;
    error_set(E_SHAPE, "the older layout of random bits has no %s", type_text(&t));
    return false;
}

static Ref older_bits(Key k, Dtype d, Ints shape)
{
    Type t = type_of(d, shape.n, shape.v);
    int64_t n = type_size(&t), size = (int64_t)dtype_size(d), parts = size < 4 ? 4 / size : 1,
            whole = (n + parts - 1) / parts;
    if (!few(shape))
        return 0;
    if (size == 8) {
        Ref w = words(k, 2 * n), high = w ? Convert(take_range(w, 0, 0, n), DT_U64) : 0;
        return high ?
            Reshape(
                Or(ShiftLeft(high, Like(high, 32)), Convert(take_range(w, 0, n, 2 * n), DT_U64)), shape) :
            0;
    }
    Ref w = words(k, whole);
    if (parts > 1 && w) {
        Type each = type_of(DT_U32, 2, (const int64_t[]){ whole, parts });
        Ref part = Iota(each, 1);
        w = ShiftRightLogical(
            Broadcast(w, type_shape(&each), ints1(0)), Mul(part, Like(part, 8 * (double)size)));
        w = take_range(flat(Convert(w, d)), 0, 0, n);
    }
    return w ? Reshape(w, shape) : 0;
}

bool keys_of(Key k, Ints shape, Ref *out)
{
    Type t = type_of(DT_U32, shape.n, shape.v);
    int64_t n = type_size(&t);
    if (!older)
        return counted(k, shape, out);
    Ref w = few(shape) ? words(k, 2 * n) : 0;
    w = w ? Reshape(w, (Ints){ 2, { n, 2 } }) : 0;
    for (int i = 0; i < 2; i++)
        out[i] = w ? Reshape(SliceAxis(w, 1, i, i + 1), shape) : 0;
    return out[0] && out[1];
}

/* Keys of two words, typed where they are made of one that is. */
static Ref key_of(const Ref *word, bool typed)
{
    int last = typ(word[0])->rank;
    Ref pair = join(unsqueeze(word[0], last), unsqueeze(word[1], last), last);
    return typed ? Bitcast(pair, DT_KEY) : pair;
}

int split(Key k, int n, Key *out)
{
    for (int i = 0; i < n; i++) {
        Ref w[2];
        if (!blocks(k, Const(DT_U32, older ? i : 0), Const(DT_U32, older ? n + i : i), w))
            return E_INTERNAL;
        out[older ? i / 2 : i].word[older ? i % 2 : 0] = w[0];
        out[older ? (n + i) / 2 : i].word[older ? (n + i) % 2 : 1] = w[1];
    }
    return 0;
}

/* The words joined for 64 bits, mixed for 32, their low part for less. */
static Ref bits_of(const Ref *word, Dtype d)
{
    if (d != DT_U64)
        return Convert(Xor(word[0], word[1]), d);
    Ref high = Convert(word[0], DT_U64);
    return high ? Or(ShiftLeft(high, Like(high, 32)), Convert(word[1], DT_U64)) : 0;
}

Ref bits(Key k, Dtype d, Ints shape)
{
    Ref w[2];
    if (older)
        return older_bits(k, d, shape);
    return counted(k, shape, w) ? bits_of(w, d) : 0;
}

hd hd_key(uint64_t seed)
{
    OP(hd_key);
    if (!tracing())
        return HD_NIL;
    const uint32_t word[2] = { (uint32_t)(seed >> 32), (uint32_t)seed };
    return sym_of(Data(type_of(DT_U32, 1, (const int64_t[]){ 2 }), word));
}

hd hd_random_key(uint64_t seed)
{
    OP(hd_random_key);
    return tracing() ? sym_of(ConstBits(DT_KEY, (int64_t)(seed << 32 | seed >> 32))) : HD_NIL;
}

hd hd_key_data(hd keys)
{
    OP(hd_key_data);
    Ref r = sym_ref(keys);
    if (!r || pairs(typ(r)))
        return sym_of(r);
    if (typ(r)->dt == DT_KEY)
        return sym_of(Bitcast(r, DT_U32));
    error_set(E_DTYPE, "hd_key_data: keys are wanted, key[..] or u32[.., 2], not %s", type_text(typ(r)));
    return HD_NIL;
}

hd hd_wrap_key_data(hd words)
{
    OP(hd_wrap_key_data);
    Ref r = sym_ref(words);
    if (!r || pairs(typ(r)))
        return sym_of(r ? Bitcast(r, DT_KEY) : 0);
    error_set(typ(r)->dt == DT_U32 ? E_SHAPE : E_DTYPE,
        "hd_wrap_key_data: the words of keys are u32[.., 2], not %s", type_text(typ(r)));
    return HD_NIL;
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
    return sym_of(keys_of(k, ints1(n), w) ? key_of(w, k.typed) : 0);
}

hd hd_random_fold_in(hd key, hd data)
{
    Key k;
    Ref w[2];
    OP(hd_random_fold_in);
    Ref d = sym_weak(data, NULL) ? sym_ref_as(data, DT_I64) : sym_ref(data);
    if (words_in("hd_random_fold_in", key, &k) || !int_operand("hd_random_fold_in", "data", d))
        return HD_NIL;
    if (typ(d)->rank) {
        error_set(
            E_SHAPE, "hd_random_fold_in: one number is folded in, not %s; use hd_vmap", type_text(typ(d)));
        return HD_NIL;
    }
    d = Convert(d, DT_U32);
    return sym_of(d && blocks(k, Like(d, 0), d, w) ? key_of(w, k.typed) : 0);
}

/* ==================== checks */

/* A key, and the shape of what is drawn. 0, or a code. */
int draw_in(const char *what, hd key, hd_ints list, Key *k, Ints *shape)
{
    return key_in(what, key, k) || ints_in(what, list, shape) ? E_INVAL : countable(what, *shape);
}

int float_dtype(const char *what, enum hd_dtype d)
{
    if (dtype_float((Dtype)d))
        return 0;
    return error_set(E_DTYPE, "%s: draws f16, bf16, f32 or f64, not %s", what,
        is_dtype(d) ? dtype_name((Dtype)d) : "this number");
}

int parameters(const char *what, int n, Ref *r, Ints *shape)
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

/* The draw as a user asks for it, and what comes of it: hence the parameters. */
int params_in(const char *what, hd key, hd_ints list, int n, const hd *x, Key *k, Ints *shape, Ref *r)
{
    if (unify_dtype(what, n, x, r) || !float_ref(what, sym_of(r[0])))
        return E_DTYPE;
    return draw_in(what, key, list, k, shape) || parameters(what, n, r, shape) ? E_SHAPE : 0;
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
typedef struct FloatBits {
    Dtype word, drawn;
    int bits, mantissa;
    int64_t one;
    double above_minus_one, tiny;
} FloatBits;

/* above_minus_one: the number next to -1, toward 0; tiny: the least normal one */
static FloatBits layout(Dtype d)
{
    switch (d) {
    case DT_F16: return (FloatBits){ DT_U16, DT_U16, 16, 10, 0x3C00, -1 + 0x1p-11, 0x1p-14 };
    case DT_BF16: return (FloatBits){ DT_U16, DT_U8, 8, 7, 0x3F80, -1 + 0x1p-8, 0x1p-126 };
    case DT_F64: return (FloatBits){ DT_U64, DT_U64, 64, 52, 0x3FF0000000000000, -1 + 0x1p-53, 0x1p-1022 };
    default: return (FloatBits){ DT_U32, DT_U32, 32, 23, 0x3F800000, -1 + 0x1p-24, 0x1p-126 };
    }
}

/* The top bits, as many as the mantissa has, under the exponent of 1: from 1 to 2, less 1. */
static Ref unit_from(Ref b, Dtype d)
{
    FloatBits l = layout(d);
    b = b ? Convert(b, l.word) : 0;
    if (!b)
        return 0;
    b = ShiftRightLogical(b, Like(b, l.bits - l.mantissa));
    Ref f = b ? Bitcast(Or(b, scalar_to(ConstBits(l.word, l.one), shape_of(b))), d) : 0;
    return f ? Sub(f, Like(f, 1)) : 0;
}

Ref unit(Key k, Dtype d, Ints shape) { return unit_from(bits(k, layout(d).drawn, shape), d); }

bool places(Ints shape, Dtype d, Ref *at)
{
    Type t = type_of(DT_U32, shape.n, shape.v);
    int64_t n = type_size(&t), size = (int64_t)dtype_size(layout(d).drawn), parts = size < 4 ? 4 / size : 1;
    at[SECOND] = Const(DT_BOOL, 0), at[SHIFT] = Const(DT_U32, 0);
    if (!counters(shape, at) || (older && !few(shape)))
        return false;
    Ref i = at[LOW];
    if (older && size == 8)
        at[HIGH] = i, at[LOW] = Add(i, Like(i, (double)n));
    else if (older) {
        Ref whole = Div(i, Like(i, (double)parts));
        at[SHIFT] = Mul(Sub(i, Mul(whole, Like(i, (double)parts))), Like(i, 8 * (double)size));
        halves(whole, (n + parts - 1) / parts, &at[HIGH], &at[LOW], &at[SECOND]);
    }
    return at[HIGH] && at[LOW] && at[SECOND] && at[SHIFT];
}

Ref unit_at(Key k, const Ref *at, Dtype d)
{
    Ref w[2];
    Dtype drawn = layout(d).drawn;
    if (!blocks(k, at[HIGH], at[LOW], w))
        return 0;
    if (!older || drawn == DT_U64)
        return unit_from(bits_of(w, drawn), d);
    return unit_from(Convert(ShiftRightLogical(Select(at[SECOND], w[1], w[0]), at[SHIFT]), drawn), d);
}

Ref uniform(Key k, Ints shape, Ref low, Ref high)
{
    if (!low || !high)
        return 0;
    Ref f = unit(k, (Dtype)typ(low)->dt, shape);
    return Max(low, Add(Mul(f, Sub(high, low)), low));
}

Ref uniform_from(Key k, Dtype d, Ints shape, double low, double high)
{
    Type t = type_of(d, shape.n, shape.v);
    return uniform(k, shape, Full(t, low), Full(t, high));
}

/* ==================== samplers of a dtype */

static Ref draw_unit(Key k, Dtype d, Ints s) { return unit(k, d, s); }

/* The inverse of the distribution function at a uniform. */
Ref draw_normal(Key k, Dtype d, Ints s)
{
    Ref u = uniform_from(k, d, s, layout(d).above_minus_one, 1);
    return u ? Mul(Like(u, sqrt(2)), ErfInv(u)) : 0;
}

/* Uniform over (0, 1): the least normal number in the place of zero, which has no logarithm. */
static Ref unit_above_zero(Key k, Dtype d, Ints s)
{
    Ref u = unit(k, d, s);
    return u ? Max(u, Like(u, layout(d).tiny)) : 0;
}

Ref draw_gumbel(Key k, Dtype d, Ints s)
{
    Ref u = unit_above_zero(k, d, s);
    return u ? Neg(Log(Neg(Log(u)))) : 0;
}

Ref draw_exponential(Key k, Dtype d, Ints s) { return Neg(Log1p(Neg(unit(k, d, s)))); }

static Ref draw_laplace(Key k, Dtype d, Ints s)
{
    Ref u = uniform_from(k, d, s, layout(d).above_minus_one, 1);
    return Mul(Sign(u), Log1p(Neg(Abs(u))));
}

static Ref draw_logistic(Key k, Dtype d, Ints s)
{
    Ref u = unit_above_zero(k, d, s);
    return u ? Sub(Log(u), Log1p(Neg(u))) : 0;
}

static Ref draw_cauchy(Key k, Dtype d, Ints s)
{
    Ref u = uniform_from(k, d, s, ldexp(1, -layout(d).mantissa), 1);
    return u ? Tan(Mul(Like(u, 3.14159265358979323846), Sub(u, Like(u, 0.5)))) : 0;
}

/* The length of a normal vector in three dimensions. */
Ref draw_maxwell(Key k, Dtype d, Ints s)
{
    s.v[s.n++] = 3;
    return Sqrt(Sum(square(draw_normal(k, d, s)), ints1(s.n - 1)));
}

typedef Ref DrawFn(Key, Dtype, Ints shape);
static DrawFn draw_complex_normal;

static hd draw(const char *what, DrawFn *f, hd key, enum hd_dtype d, hd_ints list)
{
    Key k;
    Ints shape;
    bool whole = f == draw_complex_normal && dtype_complex((Dtype)d);
    if ((!whole && float_dtype(what, d)) || draw_in(what, key, list, &k, &shape))
        return HD_NIL;
    return sym_of(f(k, (Dtype)d, shape));
}

#define SAMPLER(name, f) \
    hd hd_random_##name##_n(hd key, enum hd_dtype d, hd_ints shape) \
    { OP(hd_random_##name##_n); return draw("hd_random_" #name, f, key, d, shape); }
/* A complex number's parts are drawn with keys of their own, of half the variance each. */
static Ref draw_complex_normal(Key k, Dtype d, Ints s)
{
    Key sub[2];
    Ref z[2];
    if (!dtype_complex(d))
        return draw_normal(k, d, s);
    if (split(k, 2, sub))
        return 0;
    for (int w = 0; w < 2; w++)
        if ((z[w] = draw_normal(sub[w], dtype_part(d), s)))
            z[w] = Div(z[w], Like(z[w], sqrt(2)));
    return Complex(z[0], z[1]);
}

SAMPLER(uniform, draw_unit)
SAMPLER(normal, draw_complex_normal)
SAMPLER(gumbel, draw_gumbel)
SAMPLER(exponential, draw_exponential)
SAMPLER(laplace, draw_laplace)
SAMPLER(logistic, draw_logistic)
SAMPLER(cauchy, draw_cauchy)
SAMPLER(maxwell, draw_maxwell)

/* The first bit of what a uniform of 64 bits, or of 32, would be made of. */
Ref draw_rademacher(Key k, Dtype d, Ints shape)
{
    bool wide = dtype_size(d) == 8;
    Ref b = bits(k, wide ? DT_U64 : DT_U32, shape);
    Ref r = Convert(Lt(b, Like(b, wide ? 0x1p63 : 0x1p31)), d);
    return Sub(Mul(r, Like(r, 2)), Like(r, 1));
}

hd hd_random_rademacher_n(hd key, enum hd_dtype d, hd_ints list)
{
    Key k;
    Ints shape;
    OP(hd_random_rademacher_n);
    if (draw_in("hd_random_rademacher", key, list, &k, &shape) ||
        !real_dtype("hd_random_rademacher", (Dtype)d))
        return HD_NIL;
    if (d == HD_BOOL || dtype_unsigned((Dtype)d) || dtype_complex((Dtype)d)) {
        error_set(E_DTYPE, "hd_random_rademacher: draws integers and floats with a sign, not %s",
            dtype_name((Dtype)d));
        return HD_NIL;
    }
    return sym_of(draw_rademacher(k, (Dtype)d, shape));
}

/* ==================== integers */

/* Integers from low to high - 1, of their dtype. Twice the bits are drawn and reduced by high * 2^bits + low
 * = r modulo the span, all wrapping. Dtypes below 32 bits are drawn in i32. A constant `high` may be one
 * more than the dtype's largest number. */
Ref randint(Key k, Ints shape, Ref low, Ref high, bool beyond)
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
