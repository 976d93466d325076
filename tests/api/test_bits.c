/*
 * test_bits.c - what integers are as rows of bits, of every dtype against C; the generators' bits and
 * states, against JAX 0.10.2.
 */
#include <stdlib.h>
#include <string.h>

#include "suite.h"

enum { N = 10 };
static const uint64_t words[N] = { 0, 1, 2, 0x80, 0xff, 0x8000000000000000, 0x0123456789abcdef,
    0xfedcba9876543210, UINT64_MAX, 0x00f0 };
static const int by[] = { 0, 1, 3, 8, 13, 31, 63, 64, 65, -1, -9 };

static int distance;
static hd left(hd x) { return hd_rotate_left(x, hd_c(distance)); }
static hd right(hd x) { return hd_rotate_right(x, hd_c(distance)); }
static hd zeros_in(hd x) { return hd_right_shift_logical(x, hd_c(distance)); }
static hd high(hd x) { return hd_mulhi(x, hd_flip(x, 0)); }

static uint64_t low(uint64_t x, int width) { return width == 64 ? x : x & ((UINT64_C(1) << width) - 1); }
static uint64_t turn(uint64_t x, int n, int w)
{
    n = ((n % w) + w) % w;
    return n ? low(x << n | x >> (w - n), w) : x;
}
static uint64_t reversed(uint64_t x, int w)
{
    uint64_t r = 0;
    for (int k = 0; k < w; k++)
        r |= (x >> k & 1) << (w - 1 - k);
    return r;
}
static int ctz(uint64_t x, int w)
{
    int n = 0;
    while (n < w && !(x >> n & 1))
        n++;
    return n;
}
static uint64_t upper(uint64_t x, uint64_t y, int w, bool sign)
{
    __extension__ typedef unsigned __int128 u128;
    __extension__ typedef __int128 i128;
    if (!sign)
        return low((uint64_t)((u128)x * y >> w), w);
    int s = 64 - w;
    return low((uint64_t)((i128)((int64_t)(x << s) >> s) * ((int64_t)(y << s) >> s) >> w), w);
}

static void holds(hd_fn *f, hd_array *x, const uint64_t *want, const char *what)
{
    hd_array *y = NULL;
    ck_assert_msg(!hd_call(f, &y, x), "%s: %s", what, hd_error());
    ck_assert(hd_array_dtype(y) == hd_array_dtype(x));
    size_t size = hd_dtype_size(hd_array_dtype(y));
    for (int k = 0; k < N; k++) {
        uint64_t got = 0;
        memcpy(&got, (const char *)hd_data(y) + size * (size_t)k, size);
        ck_assert_msg(got == want[k], "%s of %s, element %d: %llx, not %llx", what,
            hd_dtype_name(hd_array_dtype(x)), k, (unsigned long long)got, (unsigned long long)want[k]);
    }
    hd_drop(y);
}

static void all_of(enum hd_dtype d, const char *device)
{
    size_t size = hd_dtype_size(d);
    int w = 8 * (int)size;
    bool sign = d <= HD_I64;
    char bytes[N * 8];
    uint64_t v[N], want[N];
    for (int k = 0; k < N; k++)
        v[k] = low(words[k], w), memcpy(bytes + size * (size_t)k, &v[k], size);
    hd_array *x = hd_array_new(d, HD_INTS(N), bytes, NULL);
#define HOLDS(f, value) \
    for (int k = 0; k < N; k++) \
        want[k] = value; \
    holds(hd_jit(f, .device = device), x, want, #f)
    HOLDS(hd_bit_reverse, reversed(v[k], w));
    HOLDS(hd_ctz, (uint64_t)ctz(v[k], w));
    HOLDS(high, upper(v[k], v[N - 1 - k], w, sign));
    for (size_t i = 0; i < sizeof by / sizeof *by; i++) {
        distance = by[i];
        if (by[i] < 0 && !sign)
            continue;
        hd_forget(left), hd_forget(right), hd_forget(zeros_in);
        HOLDS(left, turn(v[k], by[i], w));
        HOLDS(right, turn(v[k], -by[i], w));
        HOLDS(zeros_in, by[i] < 0 || by[i] >= w ? 0 : v[k] >> by[i]);
    }
    hd_drop(x);
}

START_TEST(bits)
{
    for (int d = HD_I8; d <= HD_U64; d++)
        all_of((enum hd_dtype)d, "host"), all_of((enum hd_dtype)d, "kernel");
}
END_TEST

/* ==================== generators */

static const struct {
    enum hd_rng by;
    enum hd_dtype d;
    int rank;
    int64_t dim[2];
    uint32_t state[4], after[4];
    uint64_t want[12];
} drawn[] = {
    { HD_THREEFRY, HD_U32, 1, { 5 }, { 1, 2, 3, 4 }, { 1, 2, 6, 4 },
        { 1576285164, 2249660814, 740599976, 2425682526, 2436392515 } },
    { HD_THREEFRY, HD_U32, 2, { 3, 3 }, { 1, 2, 3, 4 }, { 1, 2, 9, 4 },
        { 1576285164, 740599976, 2436392515, 2249660814, 2425682526, 1497962777, 1335360347, 3981753173,
            3812192618 } },
    { HD_THREEFRY, HD_U32, 0, { 0 }, { 1, 2, 3, 4 }, { 1, 2, 4, 4 }, { 1576285164 } },
    { HD_THREEFRY, HD_U16, 1, { 5 }, { 1, 2, 3, 4 }, { 1, 2, 6, 4 }, { 13292, 6542, 43176, 64094, 26179 } },
    { HD_THREEFRY, HD_U64, 1, { 3 }, { 1, 2, 3, 4 }, { 1, 2, 6, 4 },
        { 0x8617198e5df433ec, 0x9094fa5e2c24a8a8, 0x5949191991386643 } },
    { HD_THREEFRY, HD_U32, 1, { 12 }, { UINT32_MAX, 2, UINT32_MAX, UINT32_MAX }, { UINT32_MAX, 2, 5, 0 },
        { 1222779461, 4163226226, 3248401789, 2817606839, 2242556780, 3827313093, 3637172351, 2480360142,
            1384891015, 1957699282, 3449978836, 745991317 } },
    { HD_PHILOX, HD_U32, 1, { 5 }, { 1, 2, 3, 4 }, { 1, 2, 5, 4 },
        { 512747620, 1298009047, 1267190206, 761827841, 1383286907 } },
    { HD_PHILOX, HD_U32, 2, { 3, 3 }, { 1, 2, 3, 4 }, { 1, 2, 6, 4 },
        { 512747620, 1298009047, 1267190206, 761827841, 1383286907, 1639995030, 2756207988, 2154813423,
            2586587831 } },
    { HD_PHILOX, HD_U32, 0, { 0 }, { 1, 2, 3, 4 }, { 1, 2, 4, 4 }, { 512747620 } },
    { HD_PHILOX, HD_U8, 1, { 5 }, { 1, 2, 3, 4 }, { 1, 2, 5, 4 }, { 100, 215, 190, 1, 123 } },
    { HD_PHILOX, HD_U64, 1, { 3 }, { 1, 2, 3, 4 }, { 1, 2, 5, 4 },
        { 0x4d5e0bd71e8fe864, 0x2d6892014b87c9be, 0x61c056965273487b } },
    { HD_PHILOX, HD_U32, 1, { 12 }, { UINT32_MAX, 2, UINT32_MAX, UINT32_MAX }, { UINT32_MAX, 2, 2, 0 },
        { 3410382532, 3123383399, 3063983170, 2298972720, 863342564, 571568519, 194482536, 3244168585,
            1292760704, 1666843064, 2320547488, 50443426 } },
    /* Random123's test vector: all zeros */
    { HD_PHILOX, HD_U32, 1, { 4 }, { 0 }, { 0, 0, 1, 0 },
        { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
    { HD_THREEFRY, HD_U32, 1, { 0 }, { 1, 2, 3, 4 }, { 1, 2, 3, 4 }, { 0 } },
};

static hd generate(hd state, const void *env)
{
    int i = *(const int *)env;
    hd_ints shape = { drawn[i].rank, { drawn[i].dim[0], drawn[i].dim[1] } };
    return hd_rng_bit_generator_n(state, drawn[i].by, drawn[i].d, shape);
}
/* a state of two words is the same one */
static hd generate_64(hd state, const void *env)
{
    hd r = generate(hd_bitcast(hd_reshape(state, 2, 2), HD_U64), env);
    return hd_tuple(hd_reshape(hd_bitcast(hd_nth(r, 0), HD_U32), 4), hd_nth(r, 1));
}

static void draws(int i, hd_fn *f, const char *device)
{
    hd_array *state = hd_array_of(drawn[i].state, 4), *out[2] = { NULL };
    ck_assert_msg(!hd_call(hd_jit(f, .device = device), out, state), "%d: %s", i, hd_error());
    ck_assert_msg(!memcmp(hd_data(out[0]), drawn[i].after, 16), "%d on %s: the state", i, device);
    size_t size = hd_dtype_size(drawn[i].d);
    ck_assert(hd_array_dtype(out[1]) == drawn[i].d && hd_array_shape(out[1]).n == drawn[i].rank);
    for (int64_t k = 0; k < hd_array_size(out[1]); k++) {
        uint64_t got = 0;
        memcpy(&got, (const char *)hd_data(out[1]) + size * (size_t)k, size);
        ck_assert_msg(got == drawn[i].want[k], "%d on %s: word %d is %llx, not %llx", i, device, (int)k,
            (unsigned long long)got, (unsigned long long)drawn[i].want[k]);
    }
    hd_drop(state), hd_drop(out[0]), hd_drop(out[1]);
}

START_TEST(generators)
{
    for (int i = 0; i < (int)(sizeof drawn / sizeof *drawn); i++)
        draws(i, hd_bind(generate, i), "host"), draws(i, hd_bind(generate, i), "kernel"),
            draws(i, hd_bind(generate_64, i), "host");
}
END_TEST

/* Lanes have what each state has alone. */
static hd five(hd state) { return hd_nth(hd_rng_bit_generator(state, HD_PHILOX, HD_U32, 5), 1); }
static hd lanes(hd states) { return hd_apply(hd_vmap(five), states); }

START_TEST(generator_lanes)
{
    const uint32_t states[12] = { 9, 9, 9, 9, 1, 2, 3, 4, 0 };
    hd_array *x = hd_array_of(states, 3, 4), *y = NULL;
    ck_assert_msg(!hd_call(lanes, &y, x), "%s", hd_error());
    const uint32_t *got = hd_data(y);
    for (int k = 0; k < 5; k++)
        ck_assert(got[5 + k] == drawn[6].want[k]);
    ck_assert(got[10] == 0x6627e8d5);
    hd_drop(x), hd_drop(y);
}
END_TEST

static hd of_floats(hd x) { return hd_bit_reverse(x); }
static hd short_state(hd x) { return hd_rng_bit_generator(hd_cast(x, HD_U32), HD_PHILOX, HD_U32, 2); }
static hd signed_bits(hd x)
{
    return hd_rng_bit_generator(hd_zeros_like(hd_zeros(HD_U32, 4)), HD_PHILOX, HD_I32, hd_size(x));
}

START_TEST(refused)
{
    const struct {
        hd (*f)(hd);
        const char *words[2];
    } wrong[] = { { of_floats, { "hd_bit_reverse", "f32[3]" } },
        { short_state, { "u32[4] or u64[2]", "u32[3]" } },
        { signed_bits, { "u8, u16, u32 or u64", "generator" } } };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        hd_array *x = hd_array_lit(float, (3), 1, 2, 3), *y = NULL;
        ck_assert(hd_call(hd_function_(1, (uintptr_t)wrong[i].f, "f", NULL, 0), &y, x) != 0);
        for (int k = 0; k < 2; k++)
            ck_assert_msg(strstr(hd_error(), wrong[i].words[k]) && strstr(hd_error(), "test_bits.c"), "%s",
                hd_error());
        hd_drop(x);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("bits");
    TCase *c = suite_case(s);
    tcase_add_test(c, bits);
    tcase_add_test(c, generators);
    tcase_add_test(c, generator_lanes);
    tcase_add_test(c, refused);
    return suite_run(s);
}
