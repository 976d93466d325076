/*
 * stored.c - dtypes that are for storage, as what devices have: bytes.
 *
 * In: a graph whose values may be f8_e4m3fn, f8_e5m2, i4 or u4. Out: one without: f8_e4m3fn, f8_e5m2 and u4
 * are u8, i4 is i8, the same bytes, so arguments and results are what they were. What moves elements moves
 * the bytes; a conversion is some instructions on integers, for each element, so kernels convert as they
 * load and as they store:
 *
 *     convert f8_e5m2 -> f32      bits of f32 put together from those of the byte, whose exponent counts
 *                                 from elsewhere; below the least one a whole number times a power of two
 *     convert f32 -> i4           into the range, then toward zero
 *
 * The host needs none of this: to it an element is what dtype_load_f gives of it.
 */
#include "transforms.h"

#include <math.h>

static Dtype bytes_of(Dtype d) { return d == DT_I4 ? DT_I8 : dtype_stored(d) ? DT_U8 : d; }

static Type as_bytes(const Type *t)
{
    Type u = *t;
    u.dt = bytes_of((Dtype)t->dt);
    return u;
}

/* ==================== floats of 8 bits: sign, exponent from -bias on, `bits` of fraction */

typedef struct Small { int bits, bias; } Small;

static Small small_of(Dtype d) { return d == DT_F8E5M2 ? (Small){ 2, 15 } : (Small){ 3, 7 }; }

/* These bits for each element. */
static Ref word(Ref like, uint32_t bits)
{
    return like ? FullBits(type_of(DT_U32, typ(like)->rank, typ(like)->dim), bits) : 0;
}

static Ref left(Ref v, uint32_t n) { return ShiftLeft(v, word(v, n)); }
static Ref right(Ref v, uint32_t n) { return ShiftRightLogical(v, word(v, n)); }
static Ref masked(Ref v, uint32_t bits) { return And(v, word(v, bits)); }
static Ref raised(Ref v, uint32_t n) { return Add(v, word(v, n)); }
static Ref times(Ref v, int power) { return Mul(v, Like(v, ldexp(1, power))); }

/* A byte as f32. */
static Ref widened(Ref byte, Dtype from)
{
    Small s = small_of(from);
    uint32_t most = from == DT_F8E5M2 ? 0x7C : 0x7E;
    Ref b = Convert(byte, DT_U32), mag = masked(b, 0x7F), sign = left(masked(b, 0x80), 24);
    Ref normal = raised(left(mag, 23 - (uint32_t)s.bits), (uint32_t)(127 - s.bias) << 23);
    Ref tiny = Bitcast(times(Convert(mag, DT_F32), 1 - s.bias - s.bits), DT_U32);
    Ref v = Select(Lt(mag, word(b, 1u << s.bits)), tiny, normal);
    if (from == DT_F8E5M2)
        v = Select(Eq(mag, word(b, most)), word(b, 0x7F800000), v);
    v = Select(Gt(mag, word(b, most)), word(b, 0x7FC00000), v);
    return Bitcast(Or(v, sign), DT_F32);
}

/* f32 as a byte, to nearest even: what is added to the bits carries over into the exponent. */
static Ref narrowed(Ref x, Dtype to)
{
    Small s = small_of(to);
    bool e5 = to == DT_F8E5M2;
    uint32_t drop = 23 - (uint32_t)s.bits, least = (uint32_t)(128 - s.bias) << 23;
    Ref u = Bitcast(x, DT_U32), a = masked(u, 0x7FFFFFFF), sign = masked(right(u, 24), 0x80);
    Ref odd = masked(right(a, drop), 1), up = raised(Add(a, odd), (1u << (drop - 1)) - 1);
    Ref normal = Sub(right(up, drop), word(u, (uint32_t)(127 - s.bias) << s.bits));
    /* below the least exponent: a whole number of the least steps */
    Ref below = Lt(a, word(u, least)), size = Bitcast(Select(below, a, word(u, 0)), DT_F32);
    Ref v = Select(below, Convert(Round(times(size, s.bias - 1 + s.bits)), DT_U32), normal);
    v = Select(Gt(v, word(u, e5 ? 0x7C : 0x7E)), word(u, e5 ? 0x7C : 0x7F), v);
    v = Select(Gt(a, word(u, 0x7F800000)), word(u, e5 ? 0x7E : 0x7F), v);
    return Convert(Or(v, sign), DT_U8);
}

/* ==================== integers of 4 bits: whatever is in the upper half of a byte */

static Ref four_bits(Ref byte, Dtype d)
{
    Ref low = And(byte, Like(byte, 15));
    return d == DT_I4 ? Sub(Xor(low, Like(low, 8)), Like(low, 8)) : low;
}

static Ref to_four_bits(Ref x, Dtype to)
{
    if (!x || !dtype_float((Dtype)typ(x)->dt))
        return four_bits(Convert(x, bytes_of(to)), to);
    Ref v = Convert(x, DT_I32);
    Ref low = Like(v, to == DT_I4 ? -8 : 0), high = Like(v, to == DT_I4 ? 7 : 15);
    v = Select(Lt(v, low), low, Select(Gt(v, high), high, v));
    return Convert(v, bytes_of(to));
}

/* ==================== the lowering */

static Ref converted(Ref x, Dtype from, Dtype to)
{
    if (dtype_stored(from)) {
        x = dtype_f8(from) ? widened(x, from) : four_bits(x, from);
    } else if (dtype_complex(from) && dtype_stored(to)) {
        x = RealPart(x);
    }
    if (!x || !dtype_stored(to))
        return Convert(x, to);
    return dtype_f8(to) ? narrowed(Convert(x, DT_F32), to) : to_four_bits(x, to);
}

static void without_stored(const Graph *g, const Ins *i, const Ref *x, Ref *out)
{
    Dtype from = i->nin ? (Dtype)g->type[i->in[0]].dt : DT_NONE;
    Dtype to = i->nout ? (Dtype)g->type[i->out].dt : DT_NONE;
    switch (i->op) {
    case OP_convert: out[0] = converted(x[0], from, to); break;
    case OP_bitcast: out[0] = Bitcast(x[0], bytes_of(to)); break;
    case OP_const: out[0] = ConstBits(bytes_of(to), ins_int(i, ATTR(const, bits))); break;
    case OP_data: out[0] = Data(as_bytes(&g->type[i->out]), i->blob); break;
    case OP_callback: callback_again(g, i, as_bytes, x, out); break;
    default: again(i, x, out);
    }
}

Graph *graph_without_stored(const Graph *g)
{
    return graph_without(g, &(Lacking){ dtype_stored, as_bytes, without_stored });
}
