/*
 * random.c - threefry: key0, key1, x0, x1 (u32 of one shape) -> two words: the 20-round block of
 * Threefry-2x32, elementwise.
 */
#include "ops.h"

static int threefry_infer(Op op, int nin, const Type *const *t, const int64_t *attr, int nattr, Type *out)
{
    int e = ops_attrs(op, attr, nattr, NULL);
    if (e)
        return e;
    for (int k = 0; k < nin; k++) {
        if (t[k]->dt != DT_U32)
            return error_set(
                E_DTYPE, "threefry: operand %d is %s; keys and counters are u32", k, type_text(t[k]));
        if (!type_equal(t[k], t[0]))
            return error_set(E_SHAPE,
                "threefry: operand 0 is %s, operand %d is %s; broadcast them to one shape", type_text(t[0]),
                k, type_text(t[k]));
    }
    out[0] = out[1] = *t[0];
    return 0;
}

static uint32_t turn(uint32_t x, int r) { return x << r | x >> (32 - r); }

/* Five groups of four rounds; after each, the next two of three key words and the group's number go in. */
static void threefry_block(const uint32_t key[2], uint32_t x[2])
{
    static const int by[2][4] = { { 13, 15, 26, 6 }, { 17, 29, 16, 24 } };
    uint32_t ks[3] = { key[0], key[1], key[0] ^ key[1] ^ 0x1BD11BDAu };
    x[0] += ks[0], x[1] += ks[1];
    for (uint32_t g = 0; g < 5; g++) {
        for (int r = 0; r < 4; r++) {
            x[0] += x[1];
            x[1] = turn(x[1], by[g & 1][r]) ^ x[0];
        }
        x[0] += ks[(g + 1) % 3];
        x[1] += ks[(g + 2) % 3] + g + 1;
    }
}

static int threefry_eval(
    const Ins *i, const Type *const *t, const void *const *in, const Type *u, void *const *out)
{
    (void)i, (void)t;
    const uint32_t *const *v = (const uint32_t *const *)in;
    int64_t n = type_size(&u[0]);
    for (int64_t k = 0; k < n; k++) {
        uint32_t key[2] = { v[0][k], v[1][k] }, x[2] = { v[2][k], v[3][k] };
        threefry_block(key, x);
        ((uint32_t *)out[0])[k] = x[0], ((uint32_t *)out[1])[k] = x[1];
    }
    return 0;
}

const Rules rules_threefry = { threefry_infer, ops_jvp_zero, NULL, ops_batch_again, threefry_eval };
