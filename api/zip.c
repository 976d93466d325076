/*
 * zip.c - archives: a directory at the end, entries as they are or deflated.
 *
 * Of zip this is what .npz needs: entries stored or deflated are read, stored ones written, sizes of 64 bits
 * either way. No library does it with less: zlib has the two hard parts, and one that reads all of zip
 * brings ciphers and four compressors into every program.
 */
#define _FILE_OFFSET_BITS 64
#include "file.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ==================== a file, within its size */

int damaged(const char *path, const char *why) { return error_set(E_IO, "%s: %s", path, why); }

int input_read(const Input *f, uint64_t at, void *to, size_t n)
{
    char *p = to;
    if (at > f->size || n > f->size - at)
        return damaged(f->path, "the file ends too early");
    for (ssize_t k; n; p += k, n -= (size_t)k, at += (uint64_t)k)
        if ((k = pread(f->fd, p, n > 1u << 30 ? 1u << 30 : n, (off_t)at)) <= 0) {
            if (k < 0 && errno == EINTR) {
                k = 0;
                continue;
            }
            return damaged(f->path, k ? strerror(errno) : "the file became shorter while it was read");
        }
    return 0;
}

int input_room(Input *f, uint64_t bytes)
{
    const double gib = 1 << 30, all = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    f->total += bytes;
    if (f->total >= bytes && (double)f->total <= all)
        return 0;
    return error_set(E_NOMEM, "%s: its arrays have %.1f GiB or more, this machine %.1f GiB", f->path,
        (double)f->total / gib, all / gib);
}

/* ==================== what comes out of a part of it */

/* Up to room bytes into `to`; *made: how many. */
static int inflate_once(Stream *s, void *to, size_t room, size_t *made)
{
    *made = 0;
    if (!s->z.avail_in && s->packed) {
        size_t k = s->packed < sizeof s->buf ? (size_t)s->packed : sizeof s->buf;
        if (input_read(s->f, s->at, s->buf, k))
            return (int)error_code();
        s->z.next_in = s->buf, s->z.avail_in = (uInt)k;
        s->at += k, s->packed -= k;
    }
    uInt most = room > 1u << 30 ? 1u << 30 : (uInt)room;
    s->z.next_out = to, s->z.avail_out = most;
    int r = s->ended ? Z_BUF_ERROR : inflate(&s->z, Z_NO_FLUSH);
    *made = most - s->z.avail_out;
    s->ended = s->ended || r == Z_STREAM_END;
    return r == Z_OK || r == Z_STREAM_END ?
        0 :
        damaged(s->f->path, "an entry of the archive cannot be unpacked");
}

/* No byte more than its size, and the mark of the end. */
static int inflate_end(Stream *s)
{
    char more;
    size_t made = 0;
    while (!s->ended && !made)
        if (inflate_once(s, &more, 1, &made))
            return (int)error_code();
    return made ? damaged(s->f->path, "an entry of the archive is longer than its size") : 0;
}

static uint32_t crc_of(uint32_t crc, const char *p, uint64_t n)
{
    uLong c = crc;
    for (; n; ) {
        uInt k = n > 1u << 30 ? 1u << 30 : (uInt)n;
        c = crc32(c, (const Bytef *)p, k);
        p += k, n -= k;
    }
    return (uint32_t)c;
}

int stream_read(Stream *s, void *to, size_t n)
{
    int e = n > s->size ? damaged(s->f->path, "the file ends too early") : 0;
    if (!e && !s->inflates) {
        e = input_read(s->f, s->at, to, n);
        s->at += n;
    }
    for (size_t done = 0, made; s->inflates && !e && done < n; done += made)
        e = inflate_once(s, (char *)to + done, n - done, &made);
    if (e)
        return e;
    s->size -= n;
    if (s->sums)
        s->crc = crc_of(s->crc, to, n);
    return 0;
}

/* ==================== reading archives */

static uint64_t le(const char *p, int n)
{
    uint64_t v = 0;
    for (int i = n; i-- > 0; )
        v = v << 8 | (unsigned char)p[i];
    return v;
}

/* bytes of the parts of an archive */
enum { END = 22, LOCATOR = 20, END64 = 56, ENTRY = 46, LOCAL_HEAD = 30 };

/* The last record of the file, in front of a comment; before it the locator of its 64-bit form. *at: where
 * it is. */
static int find_end(const Input *f, char b[LOCATOR + END], uint64_t *at)
{
    size_t n = f->size < LOCATOR + END + UINT16_MAX ? (size_t)f->size : LOCATOR + END + UINT16_MAX, k;
    char *tail = malloc(n + 1);
    int e = tail ? input_read(f, f->size - n, tail, n) : no_memory(n);
    for (k = n < END ? 0 : n - END + 1; !e && k && memcmp(tail + k - 1, "PK\5\6", 4); )
        k--;
    if (!e && !k)
        e = damaged(f->path, "this is no .npz file (no zip directory at its end)");
    if (!e) {
        size_t front = k - 1 < LOCATOR ? k - 1 : LOCATOR;
        memset(b, 0, LOCATOR + END);
        memcpy(b + LOCATOR - front, tail + k - 1 - front, front + END);
        *at = f->size - n + k - 1;
    }
    free(tail);
    return e;
}

int zip_open(Zip *z, Input *f)
{
    char b[LOCATOR + END], far[END64];
    uint64_t end, n, at;
    *z = (Zip){ .f = f };
    if (find_end(f, b, &end))
        return (int)error_code();
    const char *p = b + LOCATOR;
    z->count = le(p + 10, 2), n = le(p + 12, 4), at = le(p + 16, 4);
    if (!memcmp(b, "PK\6\7", 4)) {                             /* zip64 */
        if (input_read(f, le(b + 8, 8), far, END64) || memcmp(far, "PK\6\6", 4))
            return damaged(f->path, "the zip64 directory is damaged");
        z->count = le(far + 32, 8), n = le(far + 40, 8), at = le(far + 48, 8);
    }
    if (at > end || n > end - at || z->count > n / ENTRY)
        return damaged(f->path, "the zip directory is damaged");
    z->n = (size_t)n;
    if (!(z->dir = malloc(z->n + 1)))
        return error_set(E_NOMEM, "%s: out of host memory: %zu bytes", f->path, z->n);
    return input_read(f, at, z->dir, z->n);
}

void zip_done(Zip *z) { free(z->dir); }

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

int zip_next(Zip *z, Item *e)
{
    const char *h = z->dir + z->at;
    if (z->n - z->at < ENTRY || memcmp(h, "PK\1\2", 4))
        return damaged(z->f->path, "the zip directory is damaged");
    size_t nn = le(h + 28, 2), nx = le(h + 30, 2), nc = le(h + 32, 2);
    if (z->n - z->at - ENTRY < nn + nx + nc || memchr(h + ENTRY, 0, nn))
        return damaged(z->f->path, "the zip directory is damaged");
    *e = (Item){ .name = h + ENTRY,
        .name_n = nn,
        .note = h + ENTRY + nn + nx,
        .note_n = nc,
        .size = le(h + 24, 4),
        .packed = le(h + 20, 4),
        .offset = le(h + 42, 4),
        .crc = (uint32_t)le(h + 16, 4),
        .method = (int)le(h + 10, 2),
        .flags = (int)le(h + 8, 2) };
    zip64_extra(e, h + ENTRY + nn, nx);
    z->at += ENTRY + nn + nx + nc;
    if (e->packed > z->f->size || (z->covered += LOCAL_HEAD + nn + e->packed) > z->f->size)
        return damaged(z->f->path, "the archive's entries are larger than the archive");
    return 0;
}

/* Where the entry's bytes begin; checks what is said of them. */
static int zip_stream(const Zip *z, const Item *e, Stream *s)
{
    char h[LOCAL_HEAD];
    if (e->flags & 1 || (e->method != 0 && e->method != 8))
        return damaged(
            z->f->path, "an entry of the archive is encrypted, or packed in a way other than deflate");
    if (e->method ? e->size / PACKS_MOST > e->packed : e->size != e->packed)
        return damaged(z->f->path, "an entry of the archive cannot have the size it claims");
    if (input_read(z->f, e->offset, h, LOCAL_HEAD) || memcmp(h, "PK\3\4", 4))
        return damaged(z->f->path, "an entry of the archive is damaged");
    s->f = z->f, s->sums = true, s->inflates = e->method == 8;
    s->at = e->offset + LOCAL_HEAD + le(h + 26, 2) + le(h + 28, 2);
    s->packed = e->packed, s->size = e->size;
    if (s->at > z->f->size || s->packed > z->f->size - s->at)
        return damaged(z->f->path, "an entry of the archive is damaged");
    if (s->inflates && inflateInit2(&s->z, -MAX_WBITS) != Z_OK)
        return error_set(E_NOMEM, "out of host memory");
    return 0;
}

hd_array *zip_array(Zip *z, const Item *e)
{
    Stream s = { 0 };
    if (zip_stream(z, e, &s))
        return NULL;
    hd_array *a = npy_read(&s);
    bool bad = !a || (s.inflates && !s.size && inflate_end(&s));
    if (!bad && (s.size || s.crc != e->crc))
        bad = damaged(z->f->path, s.size ? "an entry of the archive is longer than its array" :
                      "an entry of the archive has another checksum");
    if (s.inflates)
        inflateEnd(&s.z);
    if (!bad)
        return a;
    array_drop(a);
    return NULL;
}

/* ==================== writing archives */

static void num(char **p, uint64_t v, int n)
{
    for (int i = 0; i < n; i++)
        *(*p)++ = (char)(v >> (8 * i));
}

static int dir_put(Output *o, const void *p, size_t n)
{
    if (n > o->dir_cap - o->dir_n) {
        size_t cap = 2 * o->dir_cap + n + 1024;
        char *d = realloc(o->dir, cap);
        if (!d)
            return no_memory(cap);
        o->dir = d, o->dir_cap = cap;
    }
    if (n)
        memcpy(o->dir + o->dir_n, p, n);
    o->dir_n += n;
    return 0;
}

/* Is it UTF-8? Readers that are told so, and find it is not, give up the archive. */
static bool utf8(const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        int more = c < 0x80       ? 0 :
            c >= 0xC2 && c < 0xE0 ? 1 :
            c >= 0xE0 && c < 0xF0 ? 2 :
            c >= 0xF0 && c < 0xF5 ? 3 :
                                    -1;
        if (more < 0)
            return false;
        for (; more; more--)
            if (((unsigned char)*++s & 0xC0) != 0x80)
                return false;
    }
    return true;
}

/* Fields that the local header and the directory share. All sizes are in the zip64 field. */
static char *zip_common(char *p, uint32_t crc, const char *name, size_t extra_n)
{
    num(&p, 45, 2), num(&p, utf8(name) ? 0x800 : 0, 2), num(&p, 0, 2);  /* version, names in UTF-8, stored */
    /* 1980-01-01: equal trees make equal files */
    num(&p, 0, 2), num(&p, 0x21, 2);
    num(&p, crc, 4), num(&p, UINT32_MAX, 4), num(&p, UINT32_MAX, 4);
    num(&p, strlen(name), 2), num(&p, extra_n, 2);
    return p;
}

/* A name with its note, and a head and data with their sizes: hence the parameters. */
int zip_put(
    Output *o, const char *name, const char *note, const char *head, size_t nh, const char *data, size_t nd)
{
    char b[128], *p = b;
    uint64_t from = o->at, size = nh + nd;
    uint32_t crc = crc_of(crc_of(0, head, nh), data, nd);
    size_t nn = strlen(name);
    memcpy(p, "PK\3\4", 4), p += 4;
    p = zip_common(p, crc, name, 20);
    int e = put(o, b, (size_t)(p - b)) || put(o, name, nn);
    p = b;
    num(&p, 1, 2), num(&p, 16, 2), num(&p, size, 8), num(&p, size, 8);
    e = e || put(o, b, (size_t)(p - b)) || put(o, head, nh) || put(o, data, nd);
    p = b;
    memcpy(p, "PK\1\2", 4), p += 4;
    num(&p, 45, 2);
    p = zip_common(p, crc, name, 28);
    num(&p, strlen(note), 2), num(&p, 0, 2), num(&p, 0, 2), num(&p, 0, 4), num(&p, UINT32_MAX, 4);
    e = e || dir_put(o, b, (size_t)(p - b)) || dir_put(o, name, nn);
    p = b;
    num(&p, 1, 2), num(&p, 24, 2), num(&p, size, 8), num(&p, size, 8), num(&p, from, 8);
    e = e || dir_put(o, b, (size_t)(p - b)) || dir_put(o, note, strlen(note));
    o->count++;
    return e ? (int)error_code() : 0;
}

int zip_close(Output *o)
{
    char b[128], *p = b;
    uint64_t at = o->at;
    if (put(o, o->dir, o->dir_n))
        return (int)error_code();
    uint64_t end = o->at;
    memcpy(p, "PK\6\6", 4), p += 4;
    num(&p, END64 - 12, 8), num(&p, 45, 2), num(&p, 45, 2), num(&p, 0, 4), num(&p, 0, 4);
    num(&p, o->count, 8), num(&p, o->count, 8), num(&p, o->dir_n, 8), num(&p, at, 8);
    memcpy(p, "PK\6\7", 4), p += 4;
    num(&p, 0, 4), num(&p, end, 8), num(&p, 1, 4);
    memcpy(p, "PK\5\6", 4), p += 4;
    num(&p, 0, 2), num(&p, 0, 2), num(&p, UINT16_MAX, 2), num(&p, UINT16_MAX, 2);
    num(&p, UINT32_MAX, 4), num(&p, UINT32_MAX, 4);
    num(&p, 0, 2);
    return put(o, b, (size_t)(p - b));
}
