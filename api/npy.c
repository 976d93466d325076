/*
 * npy.c - one array as numpy keeps it: a line of text with dtype and shape, then the bytes.
 *
 * In: a stream. Out: an array in host memory; its bytes are read to where they stay.
 * bf16, which numpy lacks, is "V2", as ml_dtypes writes it. The other byte order, Fortran's order and bools
 * that are neither 0 nor 1 are brought to ours. Random keys are records of one field, two words, and what is
 * for storage are records of one byte, named after their dtype, as numpy has no word that tells them apart.
 * The largest header is that of version 1: longer ones describe records.
 */
#include "file.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ==================== dtypes in words */

static const struct { const char *descr; Dtype dt;
} words[] = {
    { "|b1", DT_BOOL },
    { "|i1", DT_I8 },
    { "<i2", DT_I16 },
    { "<i4", DT_I32 },
    { "<i8", DT_I64 },
    { "|u1", DT_U8 },
    { "<u2", DT_U16 },
    { "<u4", DT_U32 },
    { "<u8", DT_U64 },
    { "<f1", DT_F8E5M2 },
    { "<f2", DT_F16 },
    { "|V2", DT_BF16 },
    { "<f4", DT_F32 },
    { "<f8", DT_F64 },
    { "<c8", DT_C64 },
    { "<c16", DT_C128 },
};
enum { WORDS = sizeof words / sizeof *words };

static const struct { const char *descr; Dtype dt;
} records[] = {
    { "[('key', '<u4', (2,))]", DT_KEY },
    { "[('f8_e4m3fn', '|u1')]", DT_F8E4M3FN },
    { "[('f8_e5m2', '|u1')]", DT_F8E5M2 },
    { "[('i4', '|i1')]", DT_I4 },
    { "[('u4', '|u1')]", DT_U4 },
};
enum { RECORDS = sizeof records / sizeof *records };

static const char *descr_of(Dtype d)
{
    for (int i = 0; i < RECORDS; i++)
        if (records[i].dt == d)
            return records[i].descr;
    for (int i = 0; i < WORDS; i++)
        if (words[i].dt == d)
            return words[i].descr;
    return NULL;
}

/* *swap: the bytes of each number are in the other order. */
static Dtype dtype_of(const char *s, size_t n, bool *swap)
{
    for (int i = 0; i < WORDS; i++)
        if (n == strlen(words[i].descr) && !memcmp(s + 1, words[i].descr + 1, n - 1) &&
            strchr("<>=|", s[0])) {
            *swap = s[0] == '>';
            return words[i].dt;
        }
    return DT_NONE;
}

/* DT_NONE: what stands there is no record of ours. */
static Dtype record_of(const char *s)
{
    for (int i = 0; i < RECORDS; i++)
        if (!strncmp(s, records[i].descr, strlen(records[i].descr)))
            return records[i].dt;
    return DT_NONE;
}

static void swap_bytes(char *p, size_t bytes, Dtype d)
{
    size_t n = dtype_size(d);
    if (d == DT_C64 || d == DT_C128)
        n /= 2;
    for (size_t at = 0; at < bytes; at += n)
        for (size_t i = 0; i < n / 2; i++) {
            char c = p[at + i];
            p[at + i] = p[at + n - 1 - i], p[at + n - 1 - i] = c;
        }
}

/* ==================== headers */

size_t npy_header(const Type *t, char *out, size_t room)
{
    char d[640];
    const char *descr = descr_of((Dtype)t->dt), *quote = *descr == '[' ? "" : "'";
    int n = snprintf(
        d, sizeof d, "{'descr': %s%s%s, 'fortran_order': False, 'shape': (", quote, descr, quote);
    for (int i = 0; i < t->rank; i++)
        n += snprintf(
            d + n, sizeof d - (size_t)n, "%lld,%s", (long long)t->dim[i], i + 1 < t->rank ? " " : "");
    n += snprintf(d + n, sizeof d - (size_t)n, "), }");
    if (t->rank > 1) {                          /* numpy has no comma after the last of several */
        char *close = strrchr(d, ')');
        memmove(close - 1, close, strlen(close) + 1), n--;
    }
    size_t total = ((size_t)n + 11 + 63) / 64 * 64;             /* data is aligned to 64 bytes */
    if (total > room)
        return 0;
    memset(out, ' ', total);
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (char)((total - 10) & 255), out[9] = (char)((total - 10) >> 8);
    memcpy(out + 10, d, (size_t)n);
    out[total - 1] = '\n';
    return total;
}

typedef struct Npy { Type type; bool swap, fortran; } Npy;

static const char *value_of(const char *dict, const char *key)
{
    const char *s = strstr(dict, key);
    return s ? s + strlen(key) + strspn(s + strlen(key), " :") : NULL;
}

/* "(3, 4)", with Python 2's "3L" too. */
static int npy_shape(const char *path, const char *s, Dtype d, Type *t)
{
    int64_t dim[MAXRANK], bytes = (int64_t)dtype_size(d);
    int rank = 0;
    for (s += 1 + strspn(s + 1, " "); *s != ')'; s += strspn(s, " ")) {
        char *end;
        errno = 0;
        if (rank == MAXRANK)
            return error_set(E_SHAPE, "%s: the array has more than %d axes", path, MAXRANK);
        dim[rank] = strtoll(s, &end, 10);
        if (*s < '0' || *s > '9' || errno ||
            __builtin_mul_overflow(bytes, dim[rank] ? dim[rank] : 1, &bytes))
            return damaged(path, "the shape is no list of sizes, or too large");
        rank++;
        s = end + (*end == 'L');
        s += strspn(s, " ");
        if (*s != ')' && *s++ != ',')
            return damaged(path, "the shape is no list of sizes");
    }
    *t = type_of(d, rank, dim);
    return 0;
}

/* The text of the header into a type. */
static int npy_dict(const char *path, const char *dict, Npy *a)
{
    const char *descr = value_of(dict, "'descr'"), *order = value_of(dict, "'fortran_order'");
    const char *shape = value_of(dict, "'shape'");
    Dtype record = descr ? record_of(descr) : DT_NONE;
    if (!descr || (*descr != '\'' && !record) || !order || !shape || *shape != '(')
        return damaged(path, "the .npy header is not as numpy writes it, or the array has fields");
    size_t n = strcspn(descr + 1, "'");
    Dtype d = record ? record : dtype_of(descr + 1, n, &a->swap);
    if (d == DT_NONE && n == 3 && !memcmp(descr + 2, "V1", 2))
        return error_set(E_DTYPE,
            "%s: numpy's dtype '%.3s' does not say which numbers of a byte these are: save "
            "x.view(numpy.uint8) and take hd_bitcast of it, or x.astype(numpy.int8) of int4",
            path, descr + 1);
    if (d == DT_NONE)
        return error_set(
            E_DTYPE, "%s: numpy's dtype '%.*s' has no counterpart", path, n < 80 ? (int)n : 80, descr + 1);
    a->fortran = !strncmp(order, "True", 4);
    return npy_shape(path, shape, d, &a->type);
}

static int npy_head(Stream *s, Npy *a)
{
    unsigned char h[12];
    char *dict;
    if (s->size < 10 || stream_read(s, h, 10) || memcmp(h, "\x93NUMPY", 6) || h[6] < 1 || h[6] > 3)
        return damaged(s->f->path, "this is no .npy file");
    size_t len = h[8] | (size_t)h[9] << 8;
    if (h[6] > 1 && stream_read(s, h + 10, 2))
        return (int)error_code();
    if (h[6] > 1 && (h[10] || h[11]))
        return damaged(s->f->path, "the header is longer than that of any array");
    if (!(dict = malloc(len + 1)))
        return no_memory(len + 1);
    dict[len] = 0;
    int e = stream_read(s, dict, len) ? (int)error_code() : npy_dict(s->f->path, dict, a);
    free(dict);
    return e;
}

/* ==================== arrays */

static void to_bools(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = p[i] != 0;
}

/* Takes the bytes over. */
static hd_array *from_fortran(const Type *t, char *data)
{
    int64_t stride[MAXRANK], s = (int64_t)dtype_size((Dtype)t->dt);
    for (int i = 0; i < t->rank; i++)
        stride[i] = s, s *= t->dim[i];
    hd_array *r = hd_array_new((enum hd_dtype)t->dt, ints_out(type_shape(t)), data, stride);
    free(data);
    return r;
}

hd_array *npy_read(Stream *s)
{
    Npy a = { 0 };
    if (npy_head(s, &a))
        return NULL;
    size_t bytes = type_bytes(&a.type);
    Dtype d = (Dtype)a.type.dt;
    if (bytes > s->size)
        return damaged(s->f->path, "the file ends too early"), NULL;
    char *data = input_room(s->f, bytes) ? NULL : malloc(bytes ? bytes : 1);
    if (!data) {
        error_set(E_NOMEM, "%s: out of host memory: %zu bytes", s->f->path, bytes);
        return NULL;
    }
    if (stream_read(s, data, bytes))
        return free(data), NULL;
    if (a.swap)
        swap_bytes(data, bytes, d);
    if (d == DT_BOOL)
        to_bools(data, bytes);
    if (a.fortran && a.type.rank > 1)
        return from_fortran(&a.type, data);
    Store *store = store_new(bytes, data, NULL);
    return store ? array_leaf(&a.type, store) : NULL;
}
