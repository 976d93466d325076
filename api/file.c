/*
 * file.c - .npy and .npz: arrays and trees as numpy keeps them.
 *
 * .npy is one array. .npz is a zip archive of .npy files, the tree's paths as names: {"hidden": {"w": a}} is
 * "hidden/w.npy".
 * A tuple's parts are named 0, 1, ...; a dictionary that has exactly these keys loads as a tuple. bf16, which numpy
 * lacks, is "V2", as ml_dtypes writes it. Archives are written without compression and read with or without; large
 * ones are zip64.
 * Saving writes a new file beside the old one and then takes its place in one step.
 */
#define _FILE_OFFSET_BITS 64
#include "api.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* ==================== dtypes in words */

static const struct { const char *descr; Dtype dt; } words[] = {
    { "|b1", DT_BOOL }, { "|i1", DT_I8 }, { "<i2", DT_I16 }, { "<i4", DT_I32 }, { "<i8", DT_I64 },
    { "|u1", DT_U8 }, { "<u2", DT_U16 }, { "<u4", DT_U32 }, { "<u8", DT_U64 },
    { "<f2", DT_F16 }, { "|V2", DT_BF16 }, { "<f4", DT_F32 }, { "<f8", DT_F64 }, { "<c8", DT_C64 }, { "<c16", DT_C128 },
};
enum { WORDS = sizeof words / sizeof *words };

static const char *descr_of(Dtype d)
{
    for (int i = 0; i < WORDS; i++)
        if (words[i].dt == d)
            return words[i].descr;
    return NULL;
}

/* *swap: the bytes of each number are in the other order. */
static Dtype dtype_of(const char *s, size_t n, bool *swap)
{
    for (int i = 0; i < WORDS; i++)
        if (n == strlen(words[i].descr) && !memcmp(s + 1, words[i].descr + 1, n - 1) && strchr("<>=|", s[0])) {
            *swap = s[0] == '>';
            return words[i].dt;
        }
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

/* ==================== one array: header and bytes */

static size_t npy_header(const Type *t, char *out, size_t room)
{
    char d[640];
    int n = snprintf(d, sizeof d, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr_of((Dtype)t->dt));
    for (int i = 0; i < t->rank; i++)
        n += snprintf(d + n, sizeof d - (size_t)n, "%lld,%s", (long long)t->dim[i], i + 1 < t->rank ? " " : "");
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

static const char *value_of(const char *dict, const char *key)
{
    char quoted[40];
    const char *s;
    snprintf(quoted, sizeof quoted, "'%s'", key);
    if (!(s = strstr(dict, quoted)))
        return NULL;
    for (s += strlen(quoted); *s == ' ' || *s == ':'; s++)
        ;
    return s;
}

typedef struct Npy { Type type; bool swap, fortran; const char *data; size_t bytes; } Npy;

static int damaged(const char *path, const char *why) { return error_set(E_IO, "%s: %s", path, why); }

/* The text of the header into a type. */
static int npy_dict(const char *path, const char *dict, Npy *a)
{
    const char *descr = value_of(dict, "descr"), *order = value_of(dict, "fortran_order"), *shape = value_of(dict,
                                                                                                             "shape");
    int64_t dim[MAXRANK];
    int rank = 0;
    if (!descr || (*descr != '\'' && *descr != '"') || !order || !shape || *shape != '(')
        return damaged(path, "the .npy header is not as numpy writes it, or the array has fields");
    size_t n = strcspn(descr + 1, "'\"");
    Dtype d = dtype_of(descr + 1, n, &a->swap);
    if (d == DT_NONE)
        return error_set(E_DTYPE, "%s: numpy's dtype '%.*s' has no counterpart", path, (int)n, descr + 1);
    a->fortran = !strncmp(order, "True", 4);
    for (const char *s = shape + 1; *s && *s != ')'; ) {
        char *end;
        long long v = strtoll(s, &end, 10);
        if (end == s) {
            s++;
            continue;
        }
        if (rank == MAXRANK || v < 0)
            return error_set(E_SHAPE, "%s: the array has more than %d axes, or a negative size", path, MAXRANK);
        dim[rank++] = v;
        s = end;
    }
    int64_t bytes = (int64_t)dtype_size(d);
    for (int i = 0; i < rank; i++)
        if (__builtin_mul_overflow(bytes, dim[i] ? dim[i] : 1, &bytes))
            return damaged(path, "the array is too large");
    a->type = type_of(d, rank, dim);
    return 0;
}

static int npy_parse(const char *path, const char *p, size_t n, Npy *a)
{
    const unsigned char *u = (const unsigned char *)p;
    if (n < 12 || memcmp(p, "\x93NUMPY", 6))
        return damaged(path, "this is no .npy file");
    bool wide = u[6] >= 2;
    size_t head = wide ? 12 : 10, len = u[8] | (size_t)u[9] << 8;
    if (wide)
        len |= (size_t)u[10] << 16 | (size_t)u[11] << 24;
    if (len > n - head)
        return damaged(path, "the file ends too early");
    char *dict = malloc(len + 1);
    if (!dict)
        return error_set(E_NOMEM, "out of host memory");
    memcpy(dict, p + head, len), dict[len] = 0;
    int e = npy_dict(path, dict, a);
    free(dict);
    if (e)
        return e;
    a->data = p + head + len, a->bytes = type_bytes(&a->type);
    return a->bytes > n - head - len ? damaged(path, "the file ends too early") : 0;
}

static hd_array *npy_array(const char *path, const char *p, size_t n)
{
    Npy a;
    int64_t stride[MAXRANK], s;
    if (npy_parse(path, p, n, &a))
        return NULL;
    s = (int64_t)dtype_size((Dtype)a.type.dt);
    for (int i = 0; i < a.type.rank; i++)
        stride[i] = s, s *= a.type.dim[i];      /* of a file in Fortran's order */
    char *copy = NULL;
    if (a.swap) {
        if (!(copy = malloc(a.bytes + 1)))
            return error_set(E_NOMEM, "out of host memory"), NULL;
        memcpy(copy, a.data, a.bytes);
        swap_bytes(copy, a.bytes, (Dtype)a.type.dt);
    }
    hd_array *r = hd_array_new((enum hd_dtype)a.type.dt, ints_out(type_shape(&a.type)), copy ? copy : a.data,
                               a.fortran ? stride : NULL);
    free(copy);
    return r;
}

/* ==================== reading archives */

static uint64_t le(const char *p, int n)
{
    uint64_t v = 0;
    for (int i = n; i-- > 0; )
        v = v << 8 | (unsigned char)p[i];
    return v;
}

typedef struct Item { const char *name; size_t name_n; uint64_t size, packed, offset; uint32_t crc; int method; } Item;
typedef struct Zip { const char *path, *p; size_t n; uint64_t count, at; } Zip;

static int zip_open(Zip *z)
{
    size_t end = z->n >= 22 ? z->n - 22 : SIZE_MAX;
    while (end != SIZE_MAX && memcmp(z->p + end, "PK\5\6", 4))
        end = end && z->n - end < 65600 ? end - 1 : SIZE_MAX;
    if (end == SIZE_MAX)
        return damaged(z->path, "this is no .npz file (no zip directory at its end)");
    z->count = le(z->p + end + 10, 2), z->at = le(z->p + end + 16, 4);
    if (end >= 20 && !memcmp(z->p + end - 20, "PK\6\7", 4)) {   /* zip64 */
        uint64_t far = le(z->p + end - 12, 8);
        if (far > z->n - 56 || memcmp(z->p + far, "PK\6\6", 4))
            return damaged(z->path, "the zip64 directory is damaged");
        z->count = le(z->p + far + 32, 8), z->at = le(z->p + far + 48, 8);
    }
    return 0;
}

/* 64-bit fields, where those of 32 bits are full, in this order. */
static void zip64_extra(Item *e, const char *x, size_t n)
{
    for (size_t at = 0; at + 4 <= n; ) {
        size_t id = le(x + at, 2), len = le(x + at + 2, 2), k = at + 4;
        if (len > n - at - 4)
            return;
        if (id == 1) {
            uint64_t *field[3] = { &e->size, &e->packed, &e->offset };
            for (int i = 0; i < 3; i++)
                if (*field[i] == UINT32_MAX && k + 8 <= at + 4 + len)
                    *field[i] = le(x + k, 8), k += 8;
        }
        at += 4 + len;
    }
}

static int zip_next(Zip *z, Item *e)
{
    const char *h = z->p + z->at;
    if (z->at > z->n || z->n - z->at < 46 || memcmp(h, "PK\1\2", 4))
        return damaged(z->path, "the zip directory is damaged");
    size_t nn = le(h + 28, 2), nx = le(h + 30, 2), nc = le(h + 32, 2);
    if (z->n - z->at - 46 < nn + nx + nc)
        return damaged(z->path, "the zip directory is damaged");
    *e = (Item){ h + 46, nn, le(h + 24, 4), le(h + 20, 4), le(h + 42, 4), (uint32_t)le(h + 16, 4), (int)le(h + 10, 2) };
    zip64_extra(e, h + 46 + nn, nx);
    z->at += 46 + nn + nx + nc;
    return 0;
}

static int inflate_all(const char *in, uint64_t n, char *out, uint64_t size)
{
    z_stream s = { 0 };
    int r = inflateInit2(&s, -MAX_WBITS);
    uint64_t done = 0, used = 0;
    while (r == Z_OK) {
        s.next_in = (Bytef *)(uintptr_t)(in + used), s.next_out = (Bytef *)out + done;
        s.avail_in = n - used > 1u << 30 ? 1u << 30 : (uInt)(n - used);
        s.avail_out = size - done > 1u << 30 ? 1u << 30 : (uInt)(size - done);
        uInt i = s.avail_in, o = s.avail_out;
        r = inflate(&s, Z_NO_FLUSH);
        used += i - s.avail_in, done += o - s.avail_out;
        if (r == Z_OK && i == s.avail_in && o == s.avail_out)
            r = Z_BUF_ERROR;
    }
    inflateEnd(&s);
    return r == Z_STREAM_END && done == size ? 0 : 1;
}

static uint32_t crc_of(const char *p, uint64_t n)
{
    uLong c = crc32(0, NULL, 0);
    for (; n; ) {
        uInt k = n > 1u << 30 ? 1u << 30 : (uInt)n;
        c = crc32(c, (const Bytef *)p, k);
        p += k, n -= k;
    }
    return (uint32_t)c;
}

static hd_array *zip_array(const Zip *z, const Item *e)
{
    if (e->offset > z->n || z->n - e->offset < 30 || memcmp(z->p + e->offset, "PK\3\4", 4))
        return damaged(z->path, "an entry of the archive is damaged"), NULL;
    uint64_t from = e->offset + 30 + le(z->p + e->offset + 26, 2) + le(z->p + e->offset + 28, 2);
    if (from > z->n || e->packed > z->n - from || (e->method != 0 && e->method != 8))
        return damaged(z->path, "an entry of the archive is damaged, or packed in a way other than deflate"), NULL;
    const char *data = z->p + from;
    char *unpacked = NULL;
    if (e->method == 8) {
        if (!(unpacked = malloc(e->size + 1)))
            return error_set(E_NOMEM, "out of host memory: %llu bytes", (unsigned long long)e->size), NULL;
        if (inflate_all(data, e->packed, unpacked, e->size)) {
            free(unpacked);
            return damaged(z->path, "an entry of the archive cannot be unpacked"), NULL;
        }
        data = unpacked;
    }
    hd_array *a = NULL;
    if ((e->method == 0 && e->size != e->packed) || crc_of(data, e->size) != e->crc)
        damaged(z->path, "an entry of the archive has another checksum");
    else
        a = npy_array(z->path, data, e->size);
    free(unpacked);
    return a;
}

/* ---- names with "/" into a tree: sorted leaves, split at the first part of their names */
typedef struct Named { char *name; hd_array *value; } Named;

static int by_name(const void *a, const void *b) { return strcmp(((const Named *)a)->name, ((const Named *)b)->name); }

/* Takes the values over: a tuple of them if the keys are exactly 0 .. n-1, else a dictionary. */
static hd_array *tuple_or_dict(const hd_array_pair *pair, int n)
{
    hd_array **part = calloc((size_t)n + 1, sizeof *part), *r;
    int i = 0;
    for (; part && i < n; i++) {
        char *end, text[16];
        long k = strtol(pair[i].key, &end, 10);
        snprintf(text, sizeof text, "%ld", k);
        if (*end || k < 0 || k >= n || strcmp(text, pair[i].key) || part[k])
            break;
        part[k] = pair[i].value;
    }
    r = part && n && i == n ? hd_array_tuple_n(part, n) : hd_array_dict_n(pair, n);
    free(part);
    return r;
}

/* Entries a[0..n), whose names agree in their first `at` bytes. Takes the values over. */
static hd_array *nest(const char *path, Named *a, int n, size_t at)
{
    hd_array_pair *pair = calloc((size_t)n + 1, sizeof *pair);
    hd_array *r = NULL;
    int k = 0;
    for (int i = 0; i < n && pair; k++) {
        char *key = a[i].name + at, *slash = strchr(key, '/');
        int j = i + 1;
        if (!slash) {
            pair[k] = (hd_array_pair){ key, a[i].value };
        } else {
            size_t len = (size_t)(slash - a[i].name) + 1;
            while (j < n && !strncmp(a[j].name, a[i].name, len))
                j++;
            pair[k].value = nest(path, a + i, j - i, len);
            *slash = 0, pair[k].key = key;
        }
        i = j;
    }
    if (!pair)
        error_set(E_NOMEM, "out of host memory");
    else
        r = tuple_or_dict(pair, k);
    free(pair);
    return r;
}

static hd_array *npz_load(const char *path, const char *p, size_t n)
{
    Zip z = { .path = path, .p = p, .n = n };
    if (zip_open(&z))
        return NULL;
    if (z.count > n / 46)
        return damaged(path, "the zip directory is damaged"), NULL;
    Named *a = calloc(z.count + 1, sizeof *a);
    hd_array *r = NULL;
    int count = 0;
    bool bad = !a && error_set(E_NOMEM, "out of host memory");
    for (uint64_t i = 0; i < z.count && !bad; i++) {
        Item e = { 0 };
        if ((bad = zip_next(&z, &e) != 0))
            break;
        if (e.name_n && e.name[e.name_n - 1] == '/')
            continue;                           /* a folder */
        size_t k = e.name_n > 4 && !memcmp(e.name + e.name_n - 4, ".npy", 4) ? e.name_n - 4 : e.name_n;
        a[count].name = strndup(e.name, k);
        a[count].value = zip_array(&z, &e);
        bad = !a[count].name || !a[count].value;
        count++;
    }
    if (!bad) {
        qsort(a, (size_t)count, sizeof *a, by_name);
        r = nest(path, a, count, 0);
    }
    for (int i = 0; i < count; i++) {
        if (bad)
            array_drop(a[i].value);
        free(a[i].name);
    }
    free(a);
    return r;
}

hd_array *hd_load(const char *path)
{
    struct stat s;
    OP(hd_load);
    error_begin();
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0 || fstat(fd, &s) || !S_ISREG(s.st_mode)) {
        error_set(E_IO, "%s: %s", path ? path : "hd_load", !path ? "the path is NULL" : fd < 0 ? strerror(errno) :
                  "this is no file");
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    size_t n = (size_t)s.st_size, done = 0;
    char *p = malloc(n + 1);
    ssize_t k = 1;
    while (p && done < n && (k = read(fd, p + done, n - done)) > 0)
        done += (size_t)k;
    hd_array *a = NULL;
    if (!p)
        error_set(E_NOMEM, "%s: out of host memory: %zu bytes", path, n);
    else if (done < n)
        error_set(E_IO, "%s: %s", path, k < 0 ? strerror(errno) : "the file became shorter while it was read");
    else
        a = n > 4 && !memcmp(p, "PK", 2) ? npz_load(path, p, n) : npy_array(path, p, n);
    close(fd);
    free(p);
    return a;
}

/* ==================== writing */

typedef struct Out {
    FILE *f; const char *path;
    uint64_t at;                                /* bytes so far */
    Text dir; uint64_t count;                   /* the zip directory, as bytes */
} Out;

static int put(Out *o, const void *p, size_t n)
{
    if (n && fwrite(p, 1, n, o->f) != n)
        return error_set(E_IO, "%s: %s", o->path, strerror(errno));
    o->at += n;
    return 0;
}

static void num(char **p, uint64_t v, int n)
{
    for (int i = 0; i < n; i++)
        *(*p)++ = (char)(v >> (8 * i));
}

static void dir_bytes(Out *o, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        text_char(&o->dir, p[i], 1);
}

/* Fields that the local header and the directory share. All sizes are in the zip64 field. */
static char *zip_common(char *p, uint32_t crc, size_t name_n, size_t extra_n)
{
    num(&p, 45, 2), num(&p, 0x800, 2), num(&p, 0, 2);           /* version, names in UTF-8, stored */
    num(&p, 0, 2), num(&p, 0x21, 2);                            /* 1980-01-01: equal trees make equal files */
    num(&p, crc, 4), num(&p, UINT32_MAX, 4), num(&p, UINT32_MAX, 4);
    num(&p, name_n, 2), num(&p, extra_n, 2);
    return p;
}

static int zip_put(Out *o, const char *name, const char *head, size_t nh, const char *data, size_t nd)
{
    char b[128], *p = b;
    uint64_t from = o->at, size = nh + nd;
    uint32_t crc = (uint32_t)crc32_combine(crc_of(head, nh), crc_of(data, nd), (z_off_t)nd);
    size_t nn = strlen(name);
    memcpy(p, "PK\3\4", 4), p += 4;
    p = zip_common(p, crc, nn, 20);
    int e = put(o, b, (size_t)(p - b)) || put(o, name, nn);
    p = b;
    num(&p, 1, 2), num(&p, 16, 2), num(&p, size, 8), num(&p, size, 8);
    e = e || put(o, b, (size_t)(p - b)) || put(o, head, nh) || put(o, data, nd);
    p = b;
    memcpy(p, "PK\1\2", 4), p += 4;
    num(&p, 45, 2);
    p = zip_common(p, crc, nn, 28);
    num(&p, 0, 2), num(&p, 0, 2), num(&p, 0, 2), num(&p, 0, 4), num(&p, UINT32_MAX, 4);
    dir_bytes(o, b, (size_t)(p - b)), dir_bytes(o, name, nn);
    p = b;
    num(&p, 1, 2), num(&p, 24, 2), num(&p, size, 8), num(&p, size, 8), num(&p, from, 8);
    dir_bytes(o, b, (size_t)(p - b));
    o->count++;
    return e ? (int)error_code() : 0;
}

static int zip_close(Out *o)
{
    char b[128], *p = b;
    uint64_t at = o->at, n = o->dir.n;
    int e = put(o, o->dir.s, o->dir.n);
    uint64_t end = o->at;
    memcpy(p, "PK\6\6", 4), p += 4;
    num(&p, 44, 8), num(&p, 45, 2), num(&p, 45, 2), num(&p, 0, 4), num(&p, 0, 4);
    num(&p, o->count, 8), num(&p, o->count, 8), num(&p, n, 8), num(&p, at, 8);
    memcpy(p, "PK\6\7", 4), p += 4;
    num(&p, 0, 4), num(&p, end, 8), num(&p, 1, 4);
    memcpy(p, "PK\5\6", 4), p += 4;
    num(&p, 0, 2), num(&p, 0, 2), num(&p, UINT16_MAX, 2), num(&p, UINT16_MAX, 2);
    num(&p, UINT32_MAX, 4), num(&p, UINT32_MAX, 4);
    num(&p, 0, 2);
    return e ? e : put(o, b, (size_t)(p - b));
}

static int save_leaf(Out *o, const hd_array *a, const char *name)
{
    char head[1024];
    size_t nh = npy_header(&a->type, head, sizeof head);
    if (!a->store)
        return error_set(E_INVAL, "hd_save: the array is abstract: it has a type but no contents");
    char *data = malloc(a->store->bytes + 1);
    if (!data)
        return error_set(E_NOMEM, "out of host memory: %zu bytes", a->store->bytes);
    int e = store_read(a->store, data);
    if (!e && name)
        e = zip_put(o, name, head, nh, data, a->store->bytes);
    else if (!e)
        e = put(o, head, nh) || put(o, data, a->store->bytes) ? (int)error_code() : 0;
    free(data);
    return e;
}

static int save_tree(Out *o, const hd_array *a, const char *prefix)
{
    Text name = { 0 };
    int e = 0;
    if (!a->tree) {
        text_add(&name, "%s.npy", prefix);
        e = save_leaf(o, a, name.s);
        text_free(&name);
        return e;
    }
    for (int i = 0; i < a->n && !e; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        const char *key = a->key ? a->key[i] : number;
        if (strchr(key, '/') || !*key)
            return error_set(E_INVAL, "hd_save: the key \"%s\" is empty or has a \"/\", which .npz keeps for nesting",
                             key);
        text_add(&name, "%s%s%s", prefix, *prefix ? "/" : "", key);
        e = save_tree(o, a->part[i], name.s);
        text_free(&name);
    }
    return e;
}

static int save(Out *o, const hd_array *a, bool npz)
{
    int e = npz ? save_tree(o, a, "") : save_leaf(o, a, NULL);
    return e || !npz ? e : zip_close(o);
}

static bool ends(const char *s, const char *with)
{
    size_t n = strlen(s), k = strlen(with);
    return n > k && !strcmp(s + n - k, with);
}

int hd_save(const char *path, const hd_array *a)
{
    static _Atomic int serial;
    if (!a)
        return error_pass();
    error_begin();
    if (!array_alive("hd_save", -1, a))
        return error_told((int)error_code());
    bool npz = path && ends(path, ".npz");
    if (!npz && (!path || !ends(path, ".npy")))
        return error_told(error_set(E_INVAL, "hd_save: \"%s\" must end in .npy (an array) or .npz (a tree)",
                                    path ? path : ""));
    if (npz != a->tree)
        return error_told(error_set(E_INVAL, npz ? "hd_save: %s: a single array is saved as .npy" :
                                    "hd_save: %s: a tree is saved as "
                                    ".npz", path));
    Text beside = { 0 };
    text_add(&beside, "%s.%d.%d", path, (int)getpid(), ++serial);
    int fd = open(beside.s, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666), e = 0;
    Out o = { .f = fd < 0 ? NULL : fdopen(fd, "wb"), .path = path };
    if (!o.f) {
        e = error_set(E_IO, "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
    } else {
        e = save(&o, a, npz);
        bool lost = fflush(o.f) || fsync(fd);
        lost = fclose(o.f) || lost;
        if (!e && (lost || rename(beside.s, path)))
            e = error_set(E_IO, "%s: %s", path, strerror(errno));
    }
    if (e && fd >= 0)
        unlink(beside.s);
    text_free(&beside), text_free(&o.dir);
    return error_told(e);
}
