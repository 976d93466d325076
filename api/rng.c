/*
 * rng.c - rng_bit_generator: bits from a state that says where a generator is, and the state behind them.
 *
 * The op of StableHLO, with the bits and states of XLA. A state is two words of 64 bits, a key and a count
 * of blocks. Threefry-2x32 of 20 rounds makes two words of 32 bits of a count; Philox4x32-10 (Salmon,
 * Moraes, Dror and Shaw: Parallel random numbers, as easy as 1, 2, 3) makes four, of the count and the key
 * as one of 128 bits. Of Philox all words follow one another; of Threefry the two of a block lie along one
 * axis, the first of even size, else the first of the largest. Fewer than 32 bits are the low ones of a
 * word; 64 are two words of a block, the lower half first.
 */
#include "random.h"

/* A 64-bit word as two: [0] the lower half */
static void halves(Ref word, Ref *half)
{
    half[0] = word ? Convert(word, DT_U32) : 0;
    half[1] = word ? Convert(ShiftRightLogical(word, Like(word, 32)), DT_U32) : 0;
}

/* Ten rounds: products of two of the words with constants go into the others; then the key moves on. */
static void philox(Ref *x, const Ref *key)
{
    Ref k[2] = { key[0], key[1] };
    for (int round = 0; x[0] && x[3] && round < 10; round++) {
        Ref a = Like(x[0], 0xD2511F53u), b = Like(x[0], 0xCD9E8D57u);
        Ref high[2] = { Mulhi(x[0], a), Mulhi(x[2], b) }, low[2] = { Mul(x[0], a), Mul(x[2], b) };
        x[0] = Xor(Xor(high[1], x[1]), k[0]), x[1] = low[1];
        x[2] = Xor(Xor(high[0], x[3]), k[1]), x[3] = low[0];
        k[0] = Add(k[0], Like(k[0], 0x9E3779B9u)), k[1] = Add(k[1], Like(k[1], 0xBB67AE85u));
    }
}

static int64_t elements(Ints shape)
{
    int64_t n = 1;
    for (int k = 0; k < shape.n; k++)
        n *= shape.v[k];
    return n;
}

/* The count of each block: first, first + 1 .. */
static Ref counts(Ref first, Ints blocks)
{
    int64_t n = elements(blocks);
    return Reshape(Add(scalar_to(first, ints1(n)), Iota(type_of(DT_U64, 1, &n), 0)), blocks);
}

/* n words in a row; *made: how many blocks. Where the count overflows, the key in the block counts on. */
static Ref philox_words(const Ref *state, int64_t n, int64_t *made)
{
    Ref x[4], key[2], all = 0;
    Ints each = ints1(*made = n / 4 + (n % 4 != 0));
    Ref low = counts(state[1], each), high = scalar_to(state[0], each);
    halves(low, x), halves(high, key);
    halves(low ? Add(high, Convert(Lt(low, scalar_to(state[1], each)), DT_U64)) : 0, x + 2);
    philox(x, key);
    for (int k = 0; k < 4; k++)
        all = k ? join(all, unsqueeze(x[k], 1), 1) : unsqueeze(x[k], 1);
    return all ? take_range(flat(all), 0, 0, n) : 0;
}

/* The axis along which blocks have two words; -1: a scalar has none. */
static int axis_of_two(Ints shape)
{
    int at = -1;
    for (int k = 0; k < shape.n; k++)
        if (shape.v[k] % 2 == 0)
            return k;
    for (int k = 0; k < shape.n; k++)
        at = at < 0 || shape.v[k] > shape.v[at] ? k : at;
    return at;
}

/* The two words of each of these blocks. */
static bool threefry(const Ref *state, Ints each, Ref *word, int64_t *made)
{
    Key k = { 0 };
    Ref x[2];
    *made = elements(each);
    halves(state[0], k.word), halves(counts(state[1], each), x);
    return blocks(k, x[0], x[1], word);
}

static Ref threefry_words(const Ref *state, Ints shape, int64_t *made)
{
    Ref word[2];
    Ints each = shape;
    int at = axis_of_two(shape);
    if (at >= 0)
        each.v[at] = shape.v[at] / 2 + shape.v[at] % 2;
    if (!threefry(state, each, word, made))
        return 0;
    if (at < 0)
        return word[0];
    Ref all = join(unsqueeze(word[0], at + 1), unsqueeze(word[1], at + 1), at + 1);
    each.v[at] *= 2;
    return all ? take_range(Reshape(all, each), at, 0, shape.v[at]) : 0;
}

/* low, high: the words of 64 bits */
static Ref joined(Ref low, Ref high)
{
    high = high ? Convert(high, DT_U64) : 0;
    return high && low ? Or(ShiftLeft(high, Like(high, 32)), Convert(low, DT_U64)) : 0;
}

static Ref generated(const Ref *state, enum hd_rng by, Dtype d, Ints shape, int64_t *made)
{
    Ref word[2];
    int64_t n = elements(shape);
    if (d != DT_U64) {
        Ref w = by == HD_PHILOX ? philox_words(state, n, made) : threefry_words(state, shape, made);
        return w ? Convert(Reshape(w, shape), d) : 0;
    }
    if (by == HD_THREEFRY)
        return threefry(state, shape, word, made) ? joined(word[0], word[1]) : 0;
    Ref w = philox_words(state, 2 * n, made);
    w = w ? Reshape(w, (Ints){ 2, { n, 2 } }) : 0;
    for (int k = 0; w && k < 2; k++)
        word[k] = squeeze_axis(SliceAxis(w, 1, k, k + 1), 1);
    return w ? Reshape(joined(word[0], word[1]), shape) : 0;
}

hd hd_rng_bit_generator_n(hd state, enum hd_rng by, enum hd_dtype d, hd_ints list)
{
    static const char what[] = "hd_rng_bit_generator";
    Ints shape;
    Ref part[2];
    int64_t made = 0;
    OP(hd_rng_bit_generator_n);
    Ref r = sym_ref(state);
    if (!r || ints_in(what, list, &shape) || countable(what, shape))
        return HD_NIL;
    bool words = typ(r)->dt == DT_U32;
    if ((!words && typ(r)->dt != DT_U64) || typ(r)->rank != 1 || typ(r)->dim[0] != (words ? 4 : 2)) {
        error_set(E_SHAPE, "%s: a state is u32[4] or u64[2], not %s", what, type_text(typ(r)));
        return HD_NIL;
    }
    if ((unsigned)by > HD_PHILOX || !dtype_unsigned((Dtype)d)) {
        error_set((unsigned)by > HD_PHILOX ? E_INVAL : E_DTYPE,
            "%s: HD_THREEFRY or HD_PHILOX, and u8, u16, u32 or u64 are wanted", what);
        return HD_NIL;
    }
    Ref s = words ? joined(SliceAxis(Reshape(r, (Ints){ 2, { 2, 2 } }), 1, 0, 1),
                        SliceAxis(Reshape(r, (Ints){ 2, { 2, 2 } }), 1, 1, 2)) :
                    r;
    s = s ? Reshape(s, ints1(2)) : 0;
    for (int k = 0; k < 2; k++)
        if (!(part[k] = s ? squeeze_axis(SliceAxis(s, 0, k, k + 1), 0) : 0))
            return HD_NIL;
    Ref bits = generated(part, by, (Dtype)d, shape, &made);
    Ref after = Add(part[1], scalar_to(ConstBits(DT_U64, made), (Ints){ 0 })), half[2];
    if (!bits || !after)
        return HD_NIL;
    Ref next = join(unsqueeze(part[0], 0), unsqueeze(after, 0), 0);
    if (words) {
        halves(next, half);
        next = Reshape(join(unsqueeze(half[0], 1), unsqueeze(half[1], 1), 1), ints1(4));
    }
    return sym_tuple((const hd[]){ sym_of(next), sym_of(bits) }, 2);
}
