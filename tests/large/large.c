/*
 * large.c - arrays beyond 2^31 elements, 2^32 elements and 4 GiB, by hand: gigabytes and minutes.
 *
 * In:  a device, the bits of the size. Out: a line a case; exit code 1 if one is wrong. A device may refuse,
 * with an error that says how many GiB it has: that is a line, too.
 * What an element is can be said from its place alone, so nothing is kept to compare with; most results are
 * a few elements from the end, where an index of 32 bits would have gone around.
 *
 *      large [--device NAME] [--bits 31|32] [--case NAME]         6 GiB with 31, on a device of its own
 */
#include <stdlib.h>
#include <string.h>

#include <heddle.h>

static struct { const char *device, *only; int bits; } option = { "host", NULL, 31 };
static int64_t n;                               /* 2^bits + 9 */
static int wrong;

/* Up to 199; the second last is the largest. */
static uint8_t element(int64_t k)
{
    uint64_t z = (uint64_t)k * 2654435761u;
    return k == n - 2 ? 255 : (uint8_t)((z ^ z >> 21 ^ (uint64_t)k >> 32) % 200);
}

/* ==================== cases: of u8[n], some elements each */

static hd last(hd x, int64_t k) { return hd_slice_axis(x, 0, hd_dim(x, 0) - k, hd_dim(x, 0)); }
static hd places(void)
{
    const int64_t at[] = { 0, 1ll << 31, (1ll << 31) - 1, n - 2, n - 1, -1, -n };
    return hd_lit_n(HD_I64, HD_INTS(7), at);
}

static hd opposite(hd x) { return last(hd_not(x), 5); }
static hd sliced(hd x) { return last(x, 5); }
static hd strided(hd x) { return last(hd_slice(x, HD_INTS(n % 3), HD_INTS(n), HD_INTS(3)), 2); }
static hd flipped(hd x) { return hd_slice_axis(hd_flip(x), 0, 0, 5); }
static hd taken(hd x) { return hd_take(x, places(), 0); }
static hd largest(hd x) { return hd_argmax(x, 0); }
static hd smallest(hd x) { return hd_min(x); }
static hd summed(hd x) { return hd_reduce(hd_add, hd_cast(hd_c(0), HD_U8), x); }
static hd running(hd x) { return last(hd_cumsum(x, 0), 2); }
static hd part(hd x)
{
    const int64_t at = n - 5;
    return hd_dynamic_slice(x, hd_lit_n(HD_I64, HD_INTS(1), &at), HD_INTS(5));
}
static hd updated(hd x)
{
    const int64_t at = n - 4;
    hd sevens = hd_full(hd_cast(hd_c(7), HD_U8), 3);
    hd y = hd_dynamic_update_slice(x, sevens, hd_lit_n(HD_I64, HD_INTS(1), &at));
    return last(y, 5);
}
static hd scattered(hd x)
{
    const int64_t at[] = { n - 1, n - 3, 1ll << 31 };
    hd y = hd_at_add(x, hd_full(hd_cast(hd_c(7), HD_U8), 3), hd_lit_n(HD_I64, HD_INTS(3), at));
    return last(y, 5);
}
static hd joined(hd x) { return last(hd_concatenate(0, x, hd_slice_axis(x, 0, 0, 3)), 8); }
static hd rows(hd x)                            /* a product with more rows than 2^31 */
{
    return hd_ravel(last(hd_dot(hd_reshape(x, n, 1), hd_full(hd_cast(hd_c(3), HD_U8), 1, 1)), 5));
}
/* What the k-th of the elements that a case gives should be. */
static int64_t at_end(int k, int m) { return n - m + k; }
static int64_t want_opposite(int k) { return (uint8_t)~element(at_end(k, 5)); }
static int64_t want_sliced(int k) { return element(at_end(k, 5)); }
static int64_t want_strided(int k) { return element(n - 6 + 3 * k); }
static int64_t want_flipped(int k) { return element(n - 1 - k); }
static int64_t want_taken(int k)
{
    const int64_t at[] = { 0, 1ll << 31, (1ll << 31) - 1, n - 2, n - 1, n - 1, 0 };
    return element(at[k]);
}
static int64_t want_largest(int k) { (void)k; return n - 2; }
static int64_t want_smallest(int k) { (void)k; return 0; }
static int64_t total;                           /* of all, as u8 */
static int64_t want_summed(int k) { (void)k; return (uint8_t)total; }
static int64_t want_running(int k) { return (uint8_t)(k ? total : total - element(n - 1)); }
static int64_t want_updated(int k) { return k && k < 4 ? 7 : element(at_end(k, 5)); }
static int64_t want_scattered(int k)
{
    return (uint8_t)(element(at_end(k, 5)) + (k == 4 || k == 2 ? 7 : 0));
}
static int64_t want_joined(int k) { return k < 5 ? element(at_end(k, 5)) : element(k - 5); }
static int64_t want_rows(int k) { return (uint8_t)(3 * element(at_end(k, 5))); }

typedef struct Large { const char *name; hd (*f)(hd); int64_t (*want)(int k); int results; } Large;
static const Large all[] = {
    { "not", opposite, want_opposite, 5 }, { "slice", sliced, want_sliced, 5 },
    { "strides", strided, want_strided, 2 }, { "flip", flipped, want_flipped, 5 },
    { "take", taken, want_taken, 7 }, { "argmax", largest, want_largest, 1 },
    { "min", smallest, want_smallest, 1 }, { "sum", summed, want_summed, 1 },
    { "cumsum", running, want_running, 2 }, { "dynamic_slice", part, want_sliced, 5 },
    { "dynamic_update", updated, want_updated, 5 }, { "at_add", scattered, want_scattered, 5 },
    { "concatenate", joined, want_joined, 8 }, { "dot", rows, want_rows, 5 },
};

static int64_t number(const hd_array *y, int k)
{
    const void *p = hd_data(y);
    switch (hd_array_dtype(y)) {
    case HD_U8: return ((const uint8_t *)p)[k];
    case HD_I32: return ((const int32_t *)p)[k];
    default: return ((const int64_t *)p)[k];
    }
}

static void one_case(const Large *c, const hd_array *x)
{
    hd_array *y = NULL, *given = (hd_array *)(uintptr_t)x;
    hd_fn *f = hd_jit(c->f, .device = option.device);
    if (hd_call(f, &y, given) || hd_wait(y)) {
        wrong += !strstr(hd_error(), "GiB");
        printf("%s: refused: %s\n", c->name, hd_error());
        hd_drop(y);
        return;
    }
    bool ok = hd_array_size(y) == c->results;
    for (int k = 0; ok && k < c->results; k++)
        if (number(y, k) != c->want(k)) {
            printf("FAIL %s: element %d is %lld, not %lld\n", c->name, k, (long long)number(y, k),
                (long long)c->want(k));
            ok = false;
        }
    wrong += !ok;
    if (ok)
        printf("%s: right\n", c->name);
    fflush(stdout);
    hd_drop(y);
}

/* f32 beyond 4 GiB, made where it is read. */
static hd numbers(hd x)
{
    int64_t m = (1ll << 30) + 11;
    hd y = hd_mul(hd_add(hd_iota(HD_F32, 0, m), x), hd_c(0.5));
    return hd_tuple(last(y, 3), hd_max(y));
}

static void floats(void)
{
    static const float zero[] = { 0 };
    hd_array *x = hd_array_new(HD_F32, HD_INTS(), zero, NULL), *y[2] = { 0 };
    if (hd_call(hd_jit(numbers, .device = option.device), y, x)) {
        wrong += !strstr(hd_error(), "GiB");
        printf("f32: refused: %s\n", hd_error());
    } else {
        bool ok = *(const float *)hd_data(y[0]) == 0x1p29f && *(const float *)hd_data(y[1]) == 0x1p29f;
        wrong += !ok;
        printf("%sf32: %g %g\n", ok ? "" : "FAIL ", (double)*(const float *)hd_data(y[0]),
            (double)*(const float *)hd_data(y[1]));
        hd_drop(y[0]), hd_drop(y[1]);
    }
    hd_drop(x);
}

int main(int argc, char **argv)
{
    for (int k = 1; k + 1 < argc; k += 2)
        if (!strcmp(argv[k], "--device"))
            option.device = argv[k + 1];
        else if (!strcmp(argv[k], "--case"))
            option.only = argv[k + 1];
        else if (!strcmp(argv[k], "--bits"))
            option.bits = atoi(argv[k + 1]);
    n = (1ll << option.bits) + 9;
    uint8_t *data = malloc((size_t)n);
    hd_array *x = NULL;
    for (int64_t k = 0; data && k < n; k++)
        data[k] = element(k), total += data[k];
    x = data ? hd_array_new(HD_U8, HD_INTS(n), data, NULL) : NULL;
    free(data);
    if (!x)
        return fprintf(stderr, "%s\n", hd_error()), 2;
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        if (!option.only || !strcmp(option.only, all[k].name))
            one_case(&all[k], x);
    hd_drop(x);
    if (!option.only || !strcmp(option.only, "f32"))
        floats();
    printf("%d wrong on %s\n", wrong, option.device);
    return wrong > 0;
}
