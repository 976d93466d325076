/*
 * base.h - what every room stands on: element types, arenas, text buffers, source places, errors.
 *
 * Memory. Everything the compiler makes lives in an Arena that is dropped whole; there is no free() in
 * graph/. The current arena is per thread (arena_use), so that builders need no argument for it.
 * Errors. A function that fails records the *first* message of its thread with error_set() and returns 0 /
 * NULL / a non-zero code; whoever is given a null value passes it on in silence. The front end clears and
 * reads the record. Nothing prints, aborts, or jumps.
 */
#ifndef HEDDLE_BASE_H
#define HEDDLE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* ==================== element types. Numbers equal enum hd_dtype of heddle.h (checked in api/). */

typedef enum Dtype {
    DT_NONE,
    DT_BOOL, DT_I8, DT_I16, DT_I32, DT_I64, DT_U8, DT_U16, DT_U32, DT_U64,
    DT_F16, DT_BF16, DT_F32, DT_F64, DT_C64, DT_C128,
    DT_KEY,                                     /* a random key: two words of 32 bits, and no number */
    DT_F8E4M3FN, DT_F8E5M2, DT_I4, DT_U4,       /* stored: converted, moved, and no more; a byte each */
    DT_COUNT
} Dtype;

#define MAXRANK 16

const char *dtype_name(Dtype);                  /* "f32" */
Dtype dtype_parse(const char *name, size_t n);  /* DT_NONE if it is none */
size_t dtype_size(Dtype);                       /* bytes of an element in memory; bool is one byte */
bool dtype_half(Dtype);                         /* f16 bf16 */
/* what many of it are added up in: f32 for f16 and bf16, else itself */
Dtype dtype_sum(Dtype);
bool dtype_float(Dtype);                        /* f16 bf16 f32 f64 */
bool dtype_complex(Dtype); /* c64 c128 */
bool dtype_inexact(Dtype); /* floats and complex numbers: what has derivatives */
Dtype dtype_part(Dtype); /* of c64 f32, of c128 f64; else the dtype itself */
Dtype dtype_of_parts(Dtype); /* of f32 c64, of f64 c128; else none */
bool dtype_signed(Dtype);                       /* i8 .. i64 */
bool dtype_unsigned(Dtype);                     /* u8 .. u64 */
bool dtype_int(Dtype);                          /* i8 .. u64, not bool */
bool dtype_stored(Dtype);                       /* f8_e4m3fn f8_e5m2 i4 u4 */
bool dtype_f8(Dtype);                           /* f8_e4m3fn f8_e5m2 */
int dtype_bits(Dtype);                          /* of an element's value: 4 of i4 and u4, else its bytes' */

/* One element <-> a wide value. Floats travel as double (long double where f64 is computed), integers and
 * bool as int64_t (u64: the same 64 bits). Stores round to nearest even, or wrap. */
double dtype_load_f(Dtype, const void *p);
void dtype_store_f(Dtype, void *p, double v);
int64_t dtype_load_i(Dtype, const void *p);     /* of a float: its bits */
void dtype_store_i(Dtype, void *p, int64_t v);
/* one rounding, to nearest even; denormals, infinities, nan */
uint16_t half_from_double(double);
double half_to_double(uint16_t);
uint16_t bfloat_from_double(double);
double bfloat_to_double(uint16_t);

/* A counted list of integers: axes, shapes. n may be larger than MAXRANK only in error messages. */
typedef struct Ints { int n; int64_t v[MAXRANK]; } Ints;
Ints ints_of(const int64_t *v, int n);
bool ints_has(const Ints *, int64_t);
Ints ints_fill(int n, int64_t v);
Ints ints_range(int64_t from, int64_t to);      /* from, from + 1, ..., to - 1 */
Ints ints_concat(Ints, Ints);                   /* up to MAXRANK entries */

/* ==================== arenas */

typedef struct Arena Arena;
Arena *arena_new(void);                         /* NULL: out of memory */
void arena_drop(Arena *);                       /* NULL is fine */
/* makes it this thread's current arena; returns the one before */
Arena *arena_use(Arena *);
Arena *arena_current(void);
/* from the current arena; zeroed; aligned to 16. Never NULL: see base.c */
void *arena_alloc(size_t bytes);
void *arena_try(size_t bytes);                  /* the same, but NULL after E_NOMEM: for what may be large */
void *arena_copy(const void *, size_t bytes);
char *arena_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define NEW(T)      ((T *)arena_alloc(sizeof(T)))
#define NEWS(T, n)  ((T *)arena_alloc(sizeof(T) * (size_t)((n) > 0 ? (n) : 1)))
/* `name`: room for n values, not set, until the block ends. A few lie on the stack, more in the arena. */
#define SCRATCH(T, name, n) T name##_few[16]; T *name = (n) <= 16 ? name##_few : NEWS(T, n)

/* A growing array in the current arena: PUSH(array, count, capacity, value). */
#define PUSH(a, n, cap, ...) \
    ((n) == (cap) ? (void)((a) = arena_grow((a), (size_t)(n) * sizeof *(a), \
        (size_t)((cap) = (cap) ? 2 * (cap) : 8) * sizeof *(a))) : (void)0, \
     (void)((a)[(n)++] = (__VA_ARGS__)))
void *arena_grow(const void *old, size_t old_bytes, size_t new_bytes);

/* the same pointer for equal text; lives as long as the process */
const char *intern(const char *);

void base_hold(void);                           /* while a process forks: names and memory are whole */
void base_release(void);

/* ==================== text: a growing string on the heap. text_free, or text_take and free() */

typedef struct Text { char *s; size_t n, cap; } Text;
void text_add(Text *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_char(Text *, char c, int times);
/* a name from outside in a text of ours: what is not plain becomes \xNN */
void text_name(Text *, const char *);
char *text_take(Text *);                        /* the string, now the caller's. NULL: no memory, for none */
void text_free(Text *);

/* ==================== source places and errors */

typedef struct Loc { const char *file; int line; } Loc;     /* file: interned or static; NULL: unknown */

/* Codes equal enum hd_code of heddle.h. */
typedef enum Code {
    E_OK, E_INVAL, E_SHAPE, E_DTYPE, E_TRACE, E_DIFF, E_DEVICE, E_NOMEM, E_IO, E_INTERNAL, E_CHECK
} Code;

/* keeps the first; returns the code */
int error_set(Code, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool error_pending(void);
Code error_code(void);
const char *error_text(void);                   /* "" if none */
void error_clear(void);
/* Where the operation now being built was written: put in front of messages, and on every instruction. */
Loc loc_here(void);
Loc loc_set(Loc);                               /* returns the one before */

/* ==================== tables of things that are found by a hash
 * A table holds pointers, or numbers but 0 in their stead, and owns none of them. Whoever asks brings the
 * hash, and says which of those that have it is meant. Its memory is the current arena's. */

uint64_t hash_bytes(const void *, size_t, uint64_t seed);

typedef struct Hashed { uint64_t hash; const void *it; } Hashed;
typedef struct HashTable { size_t cap, n; Hashed *slot; } HashTable;            /* zero it */
typedef bool HashSame(const void *like, const void *it);

void hash_grow(HashTable *);

/* Where a thing like this one is. NULL there: there was none, and the place is for it. Holds until the next
 * one is asked for. */
static inline const void **hash_place(HashTable *t, uint64_t hash, HashSame *same, const void *like)
{
    if (2 * (t->n + 1) > t->cap)
        hash_grow(t);
    size_t k = hash & (t->cap - 1);
    while (t->slot[k].it && (t->slot[k].hash != hash || !same(like, t->slot[k].it)))
        k = (k + 1) & (t->cap - 1);
    t->n += !t->slot[k].it;
    t->slot[k].hash = hash;
    return &t->slot[k].it;
}

/* NULL: there is none. */
static inline const void *hash_find(const HashTable *t, uint64_t hash, HashSame *same, const void *like)
{
    for (size_t k = hash & (t->cap - 1); t->cap && t->slot[k].it; k = (k + 1) & (t->cap - 1))
        if (t->slot[k].hash == hash && same(like, t->slot[k].it))
            return t->slot[k].it;
    return NULL;
}


/* HEDDLE_DUMP and HEDDLE_CHECK hold comma-separated words, those of the stages among them: base.c has them
 * all. */
bool dump_wanted(const char *word);
void dump_text(const char *word, Text *);       /* under its word, to stderr; frees it */
/* from now on this word alone, to that file, without headings: for tools */
void dump_only(const char *word, FILE *);
bool check_wanted(const char *word);
/* is what comes out of this stage verified? "1": every stage */
bool check_stage(const char *word);

#endif
