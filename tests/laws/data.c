/*
 * data.c - the data of laws: drawn from a generator whose seed is what an input is, special values first.
 */
#include <math.h>

#include "data.h"

/* ==================== random data: splitmix64 */

static uint64_t rng_next(Rng *r)
{
    uint64_t z = r->s += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static int pick(Rng *r, int n) { return (int)((rng_next(r) >> 33) % (uint64_t)n); }
static double uniform(Rng *r, double lo, double hi)
{
    return lo + (hi - lo) * (double)(rng_next(r) >> 11) * 0x1p-53;
}

const FloatForm form[DT_COUNT] = { [DT_F16] = { 10, -14, 15 },
    [DT_BF16] = { 7, -126, 127 },
    [DT_F32] = { 23, -126, 127 },
    [DT_F64] = { 52, -1022, 1023 } };

static double special_float(Dtype dt, int k, int *n)
{
    double least = ldexp(1, form[dt].least), tiny = ldexp(least, -form[dt].mantissa);
    double most = ldexp(2 - ldexp(1, -form[dt].mantissa), form[dt].most);
    const double all[] = { 0.0, -0.0, 1, -1, INFINITY, -INFINITY, NAN, 0.5, -0.5, 2, -2, 3, -3, 1.5, -1.5,
        2.5, -2.5, most, -most, least, -least, tiny, -tiny, least - tiny,
        1 - ldexp(1, -form[dt].mantissa - 1), 1 + ldexp(1, -form[dt].mantissa), 10, -100, 1e4, 0.1,
        2147483648.0, -2147483649.0 };
    *n = (int)(sizeof all / sizeof *all);
    return all[k % *n];
}

static int64_t special_int(Dtype dt, int k, int *n)
{
    int w = dt == DT_BOOL ? 1 : 8 * (int)dtype_size(dt);
    uint64_t bit = 1ull << (w - 1);
    int64_t top = (int64_t)bit;
    const int64_t all[] = { 0, 1, -1, 2, -2, 3, 7, w - 1, w, w + 1, top, (int64_t)(bit - 1),
        (int64_t)(bit + 1), 100, -100, 31, 64, top / 3 };
    *n = (int)(sizeof all / sizeof *all);
    return dt == DT_BOOL ? k & 1 : all[k % *n];
}

static double any_float(Dtype dt, Rng *r)
{
    int n;
    uint64_t bits = rng_next(r);
    switch (pick(r, 6)) {
    case 0: return special_float(dt, (int)(bits >> 33), &n);
    case 1: return uniform(r, -1, 1);
    case 2: return uniform(r, -20, 20);
    case 3: return exp(uniform(r, -12, 12));
    case 4: return round(uniform(r, -12, 12)) / 2;
    }
    double v = dtype_load_f(dt, &bits);
    return isnan(v) ? NAN : v;                  /* the one nan that every format keeps */
}

static int64_t any_int(Dtype dt, Rng *r)
{
    int n;
    uint64_t bits = rng_next(r);
    switch (pick(r, 3)) {
    case 0: return special_int(dt, (int)(bits >> 33), &n);
    case 1: return (int64_t)(bits % 20) - 8;
    }
    return (int64_t)bits;
}

/* Where the k-th pair, or value, of a sweep over special values is. -1: the sweep is over. */
static int sweep(Kind kind, int64_t k, int n)
{
    if (kind == EDGE_1)
        return k < n ? (int)k : -1;
    if (k >= (int64_t)n * n || (kind != EDGE_2A && kind != EDGE_2B))
        return -1;
    return (int)(kind == EDGE_2A ? k / n : k % n);
}

static double float_at(Dtype dt, Kind kind, int64_t limit, int64_t k, Rng *r)
{
    int n, chance;
    special_float(dt, 0, &n);
    int at = sweep(kind, k, n);
    switch (kind) {
    case ZEROS:
        chance = pick(r, 16);
        return chance == 0 ? copysign(0, (double)-limit) :
            chance < 4     ? (double)limit :
                             copysign(0, (double)limit);
    case SMALL: return (double)(pick(r, 17) - 8) / 8;
    case POW2: return (pick(r, 2) ? -1 : 1) * ldexp(1, pick(r, 3) - 1);
    default: return at >= 0 ? special_float(dt, at, &n) : any_float(dt, r);
    }
}

static int64_t int_at(const Need *need, int64_t k, Rng *r)
{
    int n;
    Dtype dt = (Dtype)need->t.dt;
    special_int(dt, 0, &n);
    int at = sweep(need->kind, k, n);
    switch (need->kind) {
    case SMALL: return dtype_unsigned(dt) || dt == DT_BOOL ? pick(r, 8) : pick(r, 9) - 4;
    case INDEX: return pick(r, (int)need->limit + 4) - 2;
    case INSIDE: return pick(r, (int)need->limit);
    default: return at >= 0 ? special_int(dt, at, &n) : any_int(dt, r);
    }
}

/* ==================== values: the bytes of an array */

Bytes bytes_of(Type t) { return (Bytes){ t, arena_alloc(type_bytes(&t) + 16) }; }
char *element(Bytes b, int64_t k) { return b.p + (size_t)k * dtype_size((Dtype)b.t.dt); }
double value_at(Bytes b, int64_t k)
{
    Dtype dt = (Dtype)b.t.dt;
    return dtype_float(dt) ? dtype_load_f(dt, element(b, k)) : (double)dtype_load_i(dt, element(b, k));
}

Bytes draw(const Need *need, int salt, int lane, bool flushes)
{
    Dtype dt = (Dtype)need->t.dt;
    const int64_t key[] = { dt, need->kind, need->limit, salt, lane };
    Rng r = { hash_bytes(key, sizeof key, 1) };
    Bytes b = bytes_of(need->t);
    int64_t n = type_size(&need->t);
    for (int64_t k = 0; k < n; k++)
        if (dtype_float(dt)) {
            double v = float_at(dt, need->kind, need->limit, k, &r);
            dtype_store_f(dt, element(b, k), v);
            if (flushes && fabs(v) < ldexp(1, form[dt].least))
                dtype_store_f(dt, element(b, k), copysign(0, v));
        } else {
            int64_t v = int_at(need, k, &r);
            dtype_store_i(dt, element(b, k), dt == DT_BOOL ? v & 1 : need->kind == PERM ? k : v);
        }
    for (int64_t k = n - 1; need->kind == PERM && k > 0; k--) {
        int64_t j = pick(&r, (int)k + 1), x = dtype_load_i(dt, element(b, k));
        dtype_store_i(dt, element(b, k), dtype_load_i(dt, element(b, j)));
        dtype_store_i(dt, element(b, j), x);
    }
    return b;
}

Bytes draw_smooth(Type t, Rng *r, double lo, double hi)
{
    Bytes b = bytes_of(t);
    for (int64_t k = 0; k < type_size(&t); k++)
        dtype_store_f((Dtype)t.dt, element(b, k), uniform(r, lo, hi));
    return b;
}
