/*
 * base.c - element types, arenas, text, interned names, errors.
 *
 * In and out: see base.h. All of it may be called from any thread; what is "current" is the thread's own.
 *
 * Running out of host memory. Builders have no way to hand back a NULL, so arena_alloc() never does:
 *   1. a chunk comes from calloc();
 *   2. where that fails, E_NOMEM is recorded and the request is served from pages that the system promises
 *   to nobody,
 *      of any size. emit() sees the recorded E_NOMEM and returns 0 from then on, so the compiler stops
 *      growing and unwinds with the error;
 *   3. where addresses are used up too, from a reserve that costs nothing until it is touched;
 *   4. where that is used up as well (several threads failing at once), the thread waits until memory comes
 *   back: the
 *      threads that unwind give back their arenas, and the reserve with them.
 * What may be large and has a way to fail (constant arrays, the tables of a graph, host buffers) uses
 * arena_try() or malloc() and never the reserve, so what is left for it is small: the maps of the pass that
 * is under way.
 */
#include "base.h"

#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* ==================== element types */

typedef struct DtypeRow { const char *name; uint8_t size, kind; } DtypeRow;
enum { K_BOOL = 1, K_INT, K_UINT, K_FLOAT, K_COMPLEX, K_KEY, K_F8, K_INT4 };

static const DtypeRow dtypes[DT_COUNT] = {
    [DT_NONE] = { "none", 0, 0 },
    [DT_BOOL] = { "bool", 1, K_BOOL },
    [DT_I8] = { "i8", 1, K_INT },
    [DT_I16] = { "i16", 2, K_INT },
    [DT_I32] = { "i32", 4, K_INT },
    [DT_I64] = { "i64", 8, K_INT },
    [DT_U8] = { "u8", 1, K_UINT },
    [DT_U16] = { "u16", 2, K_UINT },
    [DT_U32] = { "u32", 4, K_UINT },
    [DT_U64] = { "u64", 8, K_UINT },
    [DT_F16] = { "f16", 2, K_FLOAT },
    [DT_BF16] = { "bf16", 2, K_FLOAT },
    [DT_F32] = { "f32", 4, K_FLOAT },
    [DT_F64] = { "f64", 8, K_FLOAT },
    [DT_C64] = { "c64", 8, K_COMPLEX },
    [DT_C128] = { "c128", 16, K_COMPLEX },
    [DT_KEY] = { "key", 8, K_KEY },
    [DT_F8E4M3FN] = { "f8_e4m3fn", 1, K_F8 },
    [DT_F8E5M2] = { "f8_e5m2", 1, K_F8 },
    [DT_I4] = { "i4", 1, K_INT4 },
    [DT_U4] = { "u4", 1, K_INT4 },
};

static const DtypeRow *dtype_row(Dtype d) { return &dtypes[(unsigned)d < DT_COUNT ? d : DT_NONE]; }
const char *dtype_name(Dtype d) { return dtype_row(d)->name; }
size_t dtype_size(Dtype d) { return dtype_row(d)->size; }
bool dtype_half(Dtype d) { return d == DT_F16 || d == DT_BF16; }
Dtype dtype_sum(Dtype d) { return dtype_half(d) ? DT_F32 : d; }
bool dtype_float(Dtype d) { return dtype_row(d)->kind == K_FLOAT; }
bool dtype_complex(Dtype d) { return dtype_row(d)->kind == K_COMPLEX; }
bool dtype_inexact(Dtype d) { return dtype_float(d) || dtype_complex(d); }
Dtype dtype_part(Dtype d) { return d == DT_C64 ? DT_F32 : d == DT_C128 ? DT_F64 : d; }
Dtype dtype_of_parts(Dtype d) { return d == DT_F32 ? DT_C64 : d == DT_F64 ? DT_C128 : DT_NONE; }
bool dtype_signed(Dtype d) { return dtype_row(d)->kind == K_INT; }
bool dtype_unsigned(Dtype d) { return dtype_row(d)->kind == K_UINT; }
bool dtype_int(Dtype d) { return dtype_signed(d) || dtype_unsigned(d); }
bool dtype_f8(Dtype d) { return dtype_row(d)->kind == K_F8; }
bool dtype_stored(Dtype d) { return dtype_f8(d) || dtype_row(d)->kind == K_INT4; }
int dtype_bits(Dtype d) { return d == DT_I4 || d == DT_U4 ? 4 : 8 * (int)dtype_size(d); }

Dtype dtype_parse(const char *name, size_t n)
{
    for (int d = DT_BOOL; d < DT_COUNT; d++)
        if (strlen(dtypes[d].name) == n && !memcmp(dtypes[d].name, name, n))
            return (Dtype)d;
    return DT_NONE;
}

/* Rounds a double once, to nearest even, into a format of 1 + ebits + mbits bits. The value is m * 2^(e -
 * 52) with m < 2^53; the target keeps bits down to 2^(max(e, emin) - mbits). */
static uint16_t pack(double v, int ebits, int mbits)
{
    uint64_t b;
    memcpy(&b, &v, sizeof b);
    uint16_t sign = (uint16_t)(b >> 63 << 15), inf = (uint16_t)(((1u << ebits) - 1) << mbits);
    int e = (int)(b >> 52 & 0x7FF), bias = (1 << (ebits - 1)) - 1;
    uint64_t m = b & 0xFFFFFFFFFFFFFull;
    if (e == 0x7FF)                             /* nan: quiet, with the top bits of what it carried */
        return (uint16_t)(sign | inf | (m ? 1u << (mbits - 1) | (unsigned)(m >> (52 - mbits)) : 0));
    /* zero, or a double's denormal: far below every denormal of ours */
    if (!e)
        return sign;
    m |= 1ull << 52;
    int t = e - 1023 + bias;                    /* biased exponent in the target, if normal */
    int drop = 52 - mbits + (t < 1 ? 1 - t : 0);
    if (drop > 54)
        return sign;
    uint64_t half = 1ull << (drop - 1), low = m & ((half << 1) - 1), q = drop > 53 ? 0 : m >> drop;
    q += low > half || (low == half && (q & 1));
    /* q holds the implicit bit where t >= 1: the exponent minus one is added, and rounding up carries
     * over. */
    uint64_t r = q + ((uint64_t)(t < 1 ? 0 : t - 1) << mbits);
    return (uint16_t)(sign | (r > inf ? inf : r));
}

static double unpack(uint16_t h, int ebits, int mbits)
{
    int e = h >> mbits & ((1 << ebits) - 1), bias = (1 << (ebits - 1)) - 1, m = h & ((1 << mbits) - 1);
    if (e == (1 << ebits) - 1) {                /* an infinity, or a nan with its payload */
        uint64_t b = 0x7FFull << 52 | (uint64_t)m << (52 - mbits) | (uint64_t)(h >> 15) << 63;
        double v;
        memcpy(&v, &b, sizeof v);
        return v;
    }
    double v = e ? ldexp(m | 1 << mbits, e - bias - mbits) : ldexp(m, 1 - bias - mbits);
    return h >> 15 ? -v : v;
}

uint16_t half_from_double(double v) { return pack(v, 5, 10); }
double half_to_double(uint16_t h) { return unpack(h, 5, 10); }
uint16_t bfloat_from_double(double v) { return pack(v, 8, 7); }

double bfloat_to_double(uint16_t h)
{
    uint32_t b = (uint32_t)h << 16;
    float f;
    memcpy(&f, &b, sizeof f);
    return f;
}

/* Floats of 8 bits: e5m2 is the upper half of an f16; e4m3fn has no infinities, and one nan of each sign
 * where they would be. Numbers are rounded to f32 first, as ml_dtypes does it; a nan keeps its sign. */
static uint8_t f8_from_double(Dtype d, double v)
{
    uint8_t sign = signbit(v) ? 0x80 : 0;
    float f = (float)v;
    if (f != f)
        return sign | (d == DT_F8E5M2 ? 0x7E : 0x7F);
    if (d == DT_F8E5M2)
        return (uint8_t)(sign | (pack(fabsf(f), 5, 2) & 0x7F));
    if (fabsf(f) > 464)                         /* half of a step beyond the largest */
        return sign | 0x7F;
    return (uint8_t)(sign | (pack(fabsf(f) / 256, 5, 3) & 0x7F));
}

static double f8_to_double(Dtype d, uint8_t b)
{
    int mag = b & 0x7F;
    double v = d == DT_F8E5M2 ? unpack((uint16_t)mag, 5, 2) :
        mag == 0x7F           ? NAN :
                                256 * unpack((uint16_t)mag, 5, 3);
    return b & 0x80 ? -v : v;
}

#define LOAD(T, p)      __extension__({ T v_; memcpy(&v_, (p), sizeof v_); v_; })
#define STORE(T, p, v)  do { T v_ = (T)(v); memcpy((p), &v_, sizeof v_); } while (0)

/* Integers as numbers; of complex numbers the real part. */
double dtype_load_f(Dtype d, const void *p)
{
    switch (d) {
    case DT_F16: return half_to_double(LOAD(uint16_t, p));
    case DT_BF16: return bfloat_to_double(LOAD(uint16_t, p));
    case DT_F32: case DT_C64: return LOAD(float, p);
    case DT_F64: case DT_C128: return LOAD(double, p);
    case DT_U64: return (double)LOAD(uint64_t, p);
    case DT_F8E4M3FN: case DT_F8E5M2: return f8_to_double(d, LOAD(uint8_t, p));
    default: return (double)dtype_load_i(d, p);
    }
}

/* Into an integer: toward zero, saturating, nan is 0. Into bool: is it not zero? */
static int64_t saturate(Dtype d, double v)
{
    int bits = dtype_bits(d);
    if (v != v)
        return 0;
    if (dtype_unsigned(d) || d == DT_U4)
        return v <= 0           ? 0 :
            v >= ldexp(1, bits) ? (int64_t)(UINT64_MAX >> (64 - bits)) :
                                  (int64_t)(uint64_t)v;
    double top = ldexp(1, bits - 1);
    int64_t max = (int64_t)(UINT64_MAX >> (65 - bits));
    return v >= top ? max : v < -top ? -max - 1 : (int64_t)v;
}

void dtype_store_f(Dtype d, void *p, double v)
{
    switch (d) {
    case DT_F16: STORE(uint16_t, p, half_from_double(v)); break;
    case DT_BF16: STORE(uint16_t, p, bfloat_from_double(v)); break;
    case DT_F32: STORE(float, p, v); break;
    case DT_F64: STORE(double, p, v); break;
    case DT_C64: STORE(float, p, v); STORE(float, (char *)p + 4, 0); break;
    case DT_C128: STORE(double, p, v); STORE(double, (char *)p + 8, 0); break;
    case DT_BOOL: STORE(uint8_t, p, v != 0); break;
    case DT_F8E4M3FN: case DT_F8E5M2: STORE(uint8_t, p, f8_from_double(d, v)); break;
    default: dtype_store_i(d, p, saturate(d, v)); break;
    }
}

/* Of a float (and c64, and a key): its bits, zero-extended. That is the form of a constant's `bits`. Of c128
 * those of its real part: a constant of it has no imaginary part. */
int64_t dtype_load_i(Dtype d, const void *p)
{
    switch (d) {
    case DT_BOOL: return LOAD(uint8_t, p) != 0;
    case DT_I8: return LOAD(int8_t, p);
    case DT_I16: return LOAD(int16_t, p);
    case DT_I32: return LOAD(int32_t, p);
    case DT_U8: case DT_F8E4M3FN: case DT_F8E5M2: return LOAD(uint8_t, p);
    case DT_I4: return ((LOAD(uint8_t, p) & 15) ^ 8) - 8;
    case DT_U4: return LOAD(uint8_t, p) & 15;
    case DT_U16: case DT_F16: case DT_BF16: return LOAD(uint16_t, p);
    case DT_U32: case DT_F32: return LOAD(uint32_t, p);
    case DT_I64:
    case DT_U64:
    case DT_F64:
    case DT_C64:
    case DT_C128:
    case DT_KEY:
        return LOAD(int64_t, p);
    default: return 0;
    }
}

void dtype_store_i(Dtype d, void *p, int64_t v)
{
    if (d == DT_BOOL) {
        STORE(uint8_t, p, v != 0);
        return;
    }
    if (d == DT_I4 || d == DT_U4)               /* four bits, the upper ones as those of a byte */
        v = d == DT_I4 ? ((v & 15) ^ 8) - 8 : v & 15;
    switch (dtype_size(d)) {
    case 1: STORE(uint8_t, p, v); break;
    case 2: STORE(uint16_t, p, v); break;
    case 4: STORE(uint32_t, p, v); break;
    case 8: STORE(int64_t, p, v); break;
    case 16:
        STORE(int64_t, p, v);
        STORE(int64_t, (char *)p + 8, 0);
        break;
    default: break;
    }
}

Ints ints_of(const int64_t *v, int n)
{
    Ints r = { n, { 0 } };
    for (int k = 0; k < n && k < MAXRANK; k++)
        r.v[k] = v[k];
    return r;
}

bool ints_has(const Ints *s, int64_t v)
{
    for (int k = 0; k < s->n && k < MAXRANK; k++)
        if (s->v[k] == v)
            return true;
    return false;
}

Ints ints_fill(int n, int64_t v)
{
    Ints a = { .n = n };
    for (int k = 0; k < n && k < MAXRANK; k++)
        a.v[k] = v;
    return a;
}

Ints ints_range(int64_t from, int64_t to)
{
    Ints a = { 0 };
    for (; from < to && a.n < MAXRANK; from++)
        a.v[a.n++] = from;
    return a;
}

Ints ints_concat(Ints a, Ints b)
{
    for (int k = 0; k < b.n && a.n < MAXRANK; k++)
        a.v[a.n++] = b.v[k];
    return a;
}

/* ==================== arenas */

typedef struct Chunk { struct Chunk *next; size_t bytes; enum { HEAP, PAGES, RESERVE } from; } Chunk;
#define HEAD ((sizeof(Chunk) + 15) & ~(size_t)15)

struct Arena {
    Chunk *chunk;                               /* newest first */
    char *at, *end;                             /* free room in the newest */
    char *last;                                 /* the newest allocation, which may grow where it is */
    size_t next;                                /* size of the next chunk */
};

static _Thread_local Arena *current;
static pthread_key_t own_key;                   /* a thread that chose no arena gets one that ends with it */
static pthread_once_t own_once = PTHREAD_ONCE_INIT;

static _Alignas(16) char reserve[16 << 20];
static size_t reserve_used;
static int reserve_live;                        /* chunks handed out */
static pthread_mutex_t reserve_lock = PTHREAD_MUTEX_INITIALIZER;

static Chunk *reserve_take(size_t bytes)
{
    Chunk *c = NULL;
    pthread_mutex_lock(&reserve_lock);
    if (bytes <= sizeof reserve - reserve_used) {
        c = (Chunk *)(reserve + reserve_used);
        reserve_used += (bytes + 15) & ~(size_t)15;
        reserve_live++;
        c->from = RESERVE;
    }
    pthread_mutex_unlock(&reserve_lock);
    return c;
}

static void reserve_give(void)
{
    pthread_mutex_lock(&reserve_lock);
    if (!--reserve_live) {
        memset(reserve, 0, reserve_used);
        reserve_used = 0;
    }
    pthread_mutex_unlock(&reserve_lock);
}

static void no_memory(size_t bytes) { error_set(E_NOMEM, "out of host memory: %zu bytes", bytes); }

static void pause_a_little(void) { nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL); }

static Chunk *pages_take(size_t bytes)
{
    Chunk *c = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (c == MAP_FAILED)
        return NULL;
    c->bytes = bytes, c->from = PAGES;
    return c;
}

/* Asks for large pages, where a chunk is that large: what fills a graph of ten thousand instructions is
 * touched once, and each page costs a fault. */
static void in_large_pages(char *p, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    enum { PAGE = 4096, LARGE = 4 << 20 };
    size_t skip = -(uintptr_t)p % PAGE;
    if (bytes >= LARGE)
        madvise(p + skip, (bytes - skip) / PAGE * PAGE, MADV_HUGEPAGE);
#else
    (void)p, (void)bytes;
#endif
}

/* A zeroed chunk. Where memory is short, and only if must: pages, the reserve, then waiting. See the head of
 * the file. */
static Chunk *chunk_new(size_t bytes, bool must)
{
    Chunk *c = bytes < HEAD ? NULL : calloc(1, bytes);
    if (c)
        in_large_pages((char *)c, bytes);
    if (c || bytes < HEAD)
        return c;
    no_memory(bytes);
    while (must && !(c = pages_take(bytes)) && !(c = reserve_take(bytes)) && !(c = calloc(1, bytes)))
        pause_a_little();
    return c;
}

static bool arena_extend(Arena *a, size_t bytes, bool must)
{
    size_t want = bytes + HEAD < a->next ? a->next : bytes + HEAD;
    Chunk *c = want < bytes ? NULL : chunk_new(want, false);
    if (!c && want >= bytes && bytes + HEAD < want)             /* a smaller one may do */
        c = chunk_new(want = bytes + HEAD, false);
    if (!c && must)
        c = chunk_new(want = bytes + HEAD, true);
    if (!c)
        return false;
    c->next = a->chunk;
    c->bytes = want;
    a->chunk = c;
    a->at = (char *)c + HEAD;
    a->end = (char *)c + want;
    a->next = a->next < (4u << 20) ? 2 * a->next : a->next;
    return true;
}

static void *arena_in(Arena *a, size_t bytes, bool must)
{
    if (bytes > PTRDIFF_MAX - 64) {
        no_memory(bytes);
        if (!must)
            return NULL;
    }
    bytes = (bytes + 15) & ~(size_t)15;
    if (bytes > (size_t)(a->end - a->at) && !arena_extend(a, bytes, must))
        return NULL;
    void *p = a->last = a->at;
    a->at += bytes;
    return p;
}

static void arena_begin(Arena *a) { *a = (Arena){ .next = 32 << 10 }; }

Arena *arena_new(void)
{
    Arena *a = malloc(sizeof *a);
    if (a)
        arena_begin(a);
    else
        no_memory(sizeof *a);
    return a;
}

static void arena_empty(Arena *a)
{
    for (Chunk *c = a->chunk, *next; c; c = next) {
        next = c->next;
        if (c->from == RESERVE)
            reserve_give();
        else if (c->from == PAGES)
            munmap(c, c->bytes);
        else
            free(c);
    }
}

void arena_drop(Arena *a)
{
    if (!a)
        return;
    if (a == current)
        current = NULL;
    arena_empty(a);
    free(a);
}

Arena *arena_use(Arena *a)
{
    Arena *before = current;
    current = a;
    return before;
}

static void own_drop(void *a) { arena_empty(a); free(a); }
static void own_init(void) { pthread_key_create(&own_key, own_drop); }

static Arena *own_arena(void)
{
    /* no memory for an arena's head: leaks, once */
    static Arena last_resort = { .next = 32 << 10 };
    pthread_once(&own_once, own_init);
    Arena *a = pthread_getspecific(own_key);
    if (a)
        return a;
    a = arena_new();
    if (!a || pthread_setspecific(own_key, a)) {
        free(a);
        while (!(a = arena_new()) && reserve_live)
            pause_a_little();
        return a ? a : &last_resort;
    }
    return a;
}

Arena *arena_current(void) { return current; }
static Arena *arena_here(void) { return current ? current : own_arena(); }
void *arena_alloc(size_t bytes) { return arena_in(arena_here(), bytes, true); }
void *arena_try(size_t bytes) { return arena_in(arena_here(), bytes, false); }

void *arena_copy(const void *p, size_t bytes)
{
    void *q = arena_alloc(bytes);
    if (bytes)
        memcpy(q, p, bytes);
    return q;
}

void *arena_grow(const void *old, size_t old_bytes, size_t new_bytes)
{
    Arena *a = arena_here();
    size_t more = (new_bytes + 15) & ~(size_t)15;
    if (old && old == a->last && more <= (size_t)(a->end - a->last)) {
        a->at = a->last + more;                 /* beyond `at` the chunk is still zero */
        return a->last;
    }
    void *p = arena_alloc(new_bytes);
    if (old && old_bytes)
        memcpy(p, old, old_bytes);
    return p;
}

char *arena_text(const char *format, ...)
{
    va_list ap, again;
    va_start(ap, format);
    va_copy(again, ap);
    int n = format ? vsnprintf(NULL, 0, format, ap) : -1;
    va_end(ap);
    char *s = arena_alloc((size_t)(n < 0 ? 0 : n) + 1);
    if (n >= 0)
        vsnprintf(s, (size_t)n + 1, format, again);
    va_end(again);
    return s;
}

/* ==================== interned names: a table and an arena of their own, under one lock */

static pthread_mutex_t names_lock = PTHREAD_MUTEX_INITIALIZER;
static Arena names = { .next = 32 << 10 };
static HashTable name_table;

static bool name_is(const void *like, const void *it) { return !strcmp(like, it); }

const char *intern(const char *s)
{
    if (!s)
        return NULL;
    pthread_mutex_lock(&names_lock);
    Arena *was = arena_use(&names);
    const void **place = hash_place(&name_table, hash_bytes(s, strlen(s), 0), name_is, s);
    arena_use(was);
    if (!*place) {
        size_t n = strlen(s) + 1;
        *place = memcpy(arena_in(&names, n, true), s, n);
    }
    const char *r = *place;
    pthread_mutex_unlock(&names_lock);
    return r;
}

void base_hold(void)
{
    pthread_mutex_lock(&names_lock);
    pthread_mutex_lock(&reserve_lock);
}

void base_release(void)
{
    pthread_mutex_unlock(&reserve_lock);
    pthread_mutex_unlock(&names_lock);
}

/* ==================== text. Without memory it stays as it was, and E_NOMEM is recorded. */

static bool text_room(Text *t, size_t more)
{
    if (t->n + more < t->cap)
        return true;
    size_t cap = t->cap ? t->cap : 128;
    while (cap <= t->n + more)
        cap *= 2;
    char *s = realloc(t->s, cap);
    if (!s) {
        no_memory(cap);
        return false;
    }
    t->s = s;
    t->cap = cap;
    return true;
}

void text_add(Text *t, const char *format, ...)
{
    va_list ap, again;
    va_start(ap, format);
    va_copy(again, ap);
    size_t room = t->cap - t->n;
    int n = vsnprintf(room ? t->s + t->n : NULL, room, format, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n >= room) {
        if (!text_room(t, (size_t)n)) {
            if (t->s)
                t->s[t->n] = 0;
            va_end(again);
            return;
        }
        vsnprintf(t->s + t->n, (size_t)n + 1, format, again);
    }
    va_end(again);
    t->n += n > 0 ? (size_t)n : 0;
}

void text_char(Text *t, char c, int times)
{
    if (times <= 0 || !text_room(t, (size_t)times))
        return;
    memset(t->s + t->n, c, (size_t)times);
    t->n += (size_t)times;
    t->s[t->n] = 0;
}

/* Names of files come with the program's text and end in comments of kernels: none may end a line, or the
 * comment. */
void text_name(Text *t, const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < ' ' || (unsigned char)*s > '~' || strchr("\\\"*?", *s))
            text_add(t, "\\x%02x", (unsigned char)*s);
        else
            text_char(t, *s, 1);
}

char *text_take(Text *t)
{
    char *s = t->s ? t->s : calloc(1, 1);
    *t = (Text){ 0 };
    if (!s)
        no_memory(1);
    return s;
}

void text_free(Text *t)
{
    free(t->s);
    *t = (Text){ 0 };
}

/* ==================== source places and errors: the thread's own */

static _Thread_local struct { Code code; char text[4096]; } failure;
static _Thread_local Loc here;

int error_set(Code code, const char *format, ...)
{
    if (failure.code)
        return code;
    failure.code = code;
    int n = here.file ? snprintf(failure.text, sizeof failure.text, "%s:%d: ", here.file, here.line) : 0;
    if (n < 0 || (size_t)n >= sizeof failure.text)
        n = 0;
    va_list ap;
    va_start(ap, format);
    int m = vsnprintf(failure.text + n, sizeof failure.text - (size_t)n, format, ap);
    va_end(ap);
    if (m < 0)
        failure.text[n] = 0;
    else if ((size_t)m >= sizeof failure.text - (size_t)n)
        memcpy(failure.text + sizeof failure.text - 4, "...", 4);
    return code;
}

bool error_pending(void) { return failure.code != E_OK; }
Code error_code(void) { return failure.code; }
const char *error_text(void) { return failure.code ? failure.text : ""; }
void error_clear(void) { failure.code = E_OK; failure.text[0] = 0; }
Loc loc_here(void) { return here; }

Loc loc_set(Loc l)
{
    Loc before = here;
    here = l;
    return before;
}

/* ==================== the rest */

static uint64_t mix(uint64_t h) { h ^= h >> 32; h *= 0x9E3779B97F4A7C15ull; return h ^ h >> 29; }

uint64_t hash_bytes(const void *p, size_t n, uint64_t seed)
{
    const unsigned char *s = p;
    uint64_t h = mix(seed ^ (n * 0xD6E8FEB86659FD93ull + 0x2545F4914F6CDD1Dull));
    for (; n >= 8; s += 8, n -= 8)
        h = mix(h ^ LOAD(uint64_t, s)) + 0x632BE59BD9B4E019ull;
    uint64_t tail = 0;
    if (n)
        memcpy(&tail, s, n);
    return mix(mix(h ^ tail));
}

/* At most half of the places are taken, so that every search ends. */
void hash_grow(HashTable *t)
{
    HashTable big = { .cap = t->cap ? 2 * t->cap : 64, .n = t->n };
    big.slot = NEWS(Hashed, big.cap);
    for (size_t k = 0; k < t->cap; k++) {
        size_t at = t->slot[k].hash & (big.cap - 1);
        while (t->slot[k].it && big.slot[at].it)
            at = (at + 1) & (big.cap - 1);
        if (t->slot[k].it)
            big.slot[at] = t->slot[k];
    }
    *t = big;
}

/* A word that means nothing is told once. */
static void tell_unknown(const char *variable, const char *known)
{
    const char *s = getenv(variable);
    while (s && *s) {
        size_t k = strcspn(s, ",");
        const char *at = known;
        while (at && !(strcspn(at, ",") == k && !memcmp(at, s, k)))
            at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL;
        if (k && !at)
            fprintf(stderr, "heddle: %s has no \"%.*s\"; there are %s\n", variable, (int)k, s, known);
        s += k + (s[k] == ',');
    }
}

#define STAGES "trace,graph,prepared,spec,kernel,plan,opencl,spirv"

static pthread_once_t tell_once = PTHREAD_ONCE_INIT;
static void tell(void)
{
    tell_unknown("HEDDLE_DUMP", STAGES ",mesh,code,time,counts");
    tell_unknown("HEDDLE_CHECK",
        "1," STAGES ",nan,keys,memory,stream,buffers,staging,groups,narrow,validation");
}

static bool wanted(const char *variable, const char *word)
{
    pthread_once(&tell_once, tell);
    const char *s = getenv(variable);
    size_t n = strlen(word);
    while (s && *s) {
        size_t k = strcspn(s, ",");
        if (k == n && !memcmp(s, word, n))
            return true;
        s += k + (s[k] == ',');
    }
    return false;
}

static const char *only;                        /* a word instead of HEDDLE_DUMP's, and where it goes */
static FILE *only_to;

void dump_only(const char *word, FILE *f) { only = word, only_to = f; }
bool dump_wanted(const char *word) { return only ? !strcmp(only, word) : wanted("HEDDLE_DUMP", word); }

void dump_text(const char *word, Text *t)
{
    if (!only)
        fprintf(stderr, "---- %s\n", word);
    fputs(t->s ? t->s : "", only ? only_to : stderr);
    text_free(t);
}

bool check_wanted(const char *word) { return wanted("HEDDLE_CHECK", word); }
bool check_stage(const char *word) { return check_wanted("1") || check_wanted(word); }
