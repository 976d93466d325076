/*
 * fuzz_file.c - .npy and .npz files from strangers.
 *
 * In:  bytes, as a file in memory. What is refused has an error; what loads saves, and loads the same again.
 * Seeds: what hd_save writes, and archives of it that are deflated.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "api.h"
#include "fuzz_target.h"

#ifdef HEDDLE_FUZZ
_Noreturn void fuzz_wrong(const char *format, ...)
{
    fprintf(stderr, "%s\n", format);
    abort();
}
#endif

static uint64_t contents(const hd_array *a, uint64_t h)
{
    for (int k = 0; k < hd_array_len(a); k++) {
        const char *key = hd_array_field_name(a, k);
        h = contents(hd_array_nth(a, k), key ? hash_bytes(key, strlen(key), h) : h + 1);
    }
    return hd_array_len(a) || a->tree ? array_hash(a, h) :
                                        hash_bytes(hd_data(a), a->store->bytes, array_hash(a, h));
}

/* Keys that zip has no room for, or that are not what they seem, are refused. */
static void save_again(hd_array *a)
{
    char name[64];
    snprintf(name, sizeof name, "%s/heddle-fuzz-%d%s", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm",
        (int)getpid(), a->tree ? ".npz" : ".npy");
    int e = hd_save(name, a);
    if (e) {
        if (e != HD_EINVAL)
            fuzz_wrong("not saved");
        return;
    }
    hd_array *b = hd_load(name);
    if (!b || contents(a, 0) != contents(b, 0))
        fuzz_wrong("what was saved loads as something else");
    hd_drop(b);
    unlink(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd;
    static char name[40];
    if (!fd) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    }
    if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size)
        fuzz_wrong("no file in memory");
    int64_t live = hd_live();
    hd_array *a = hd_load(name);
    if (!a != !!hd_error_code())
        fuzz_wrong(a ? "loaded, with an error" : "refused without an error");
    if (a)
        save_again(a);
    hd_error();
    hd_drop(a);
    if (hd_live() != live)
        fuzz_wrong("arrays are left");
    return 0;
}

/* ==================== what to begin with */

static size_t saved(const char *ending, hd_array *a, char *to, size_t room)
{
    char name[64];
    snprintf(name, sizeof name, "/tmp/heddle-seed-%d%s", (int)getpid(), ending);
    if (!a || hd_save(name, a))
        fuzz_wrong("a seed is not saved");
    FILE *f = fopen(name, "rb");
    size_t n = f ? fread(to, 1, room, f) : 0;
    if (f)
        fclose(f);
    unlink(name);
    hd_drop(a);
    return n;
}

static char *put_(char *p, uint64_t v, int n)
{
    for (; n; n--, v >>= 8)
        *p++ = (char)v;
    return p;
}

/* An archive of one deflated entry, without zip64. */
static size_t deflated(const char *npy, size_t n, char *to)
{
    char *p = to;
    uint32_t crc = (uint32_t)crc32(0, (const Bytef *)npy, (uInt)n);
    z_stream s = { .next_in = (Bytef *)(uintptr_t)npy,
        .avail_in = (uInt)n,
        .next_out = (Bytef *)to + 35,
        .avail_out = 4096 };
    deflateInit2(&s, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY);
    deflate(&s, Z_FINISH);
    deflateEnd(&s);
    p = put_(put_(put_(put_(p, 0x04034b50, 4), 20, 2), 8ull << 16, 8), crc, 4);
    p = put_(put_(put_(put_(p, s.total_out, 4), n, 4), 5, 2), 0, 2);
    memcpy(p, "a.npy", 5);
    p += 5 + s.total_out;
    uint64_t at = (uint64_t)(p - to);
    p = put_(put_(put_(put_(put_(p, 0x02014b50, 4), 20, 2), 20, 2), 8ull << 16, 8), crc, 4);
    p = put_(put_(put_(put_(put_(p, s.total_out, 4), n, 4), 5, 2), 0, 8), 0, 8);
    memcpy(p, "a.npy", 5);
    p += 5;
    p = put_(put_(put_(put_(p, 0x06054b50, 4), 0, 4), 1, 2), 1, 2);
    p = put_(put_(put_(p, (uint64_t)(p - to) - 12 - at, 4), at, 4), 0, 2);
    return (size_t)(p - to);
}

void fuzz_seeds(const char *folder, FuzzTake *take)
{
    static char one[1 << 14], two[1 << 14];
    static const int some[6] = { 1, 2, 3, 4, 5, 6 };
    (void)folder;
    for (int d = HD_BOOL; d <= HD_KEY; d += 3) {
        hd_ints shape = { d % 4, { 2, 1, 0, 3 } };
        size_t n = saved(".npy", hd_array_new((enum hd_dtype)d, shape, some, NULL), one, sizeof one);
        take(one, n);
        take(two, deflated(one, n, two));
    }
    hd_array *a = hd_array_dict_n(
        (hd_array_pair[]){ { "w", hd_array_new(HD_I32, (hd_ints){ 2, { 2, 3 } }, some, NULL) },
            { "t",
                hd_array_tuple_n(
                    (hd_array *[]){ hd_array_scalar(HD_F32, 1), hd_array_tuple_n(NULL, 0) }, 2) },
            { "0", hd_array_dict_n((hd_array_pair[]){ { "0", hd_array_scalar(HD_F16, 2) } }, 1) } },
        3);
    take(one, saved(".npz", a, one, sizeof one));
}

void fuzz_words(FuzzTake *take)
{
    static const char *const words[] = { "PK\3\4", "PK\1\2", "PK\5\6", "PK\6\6", "PK\6\7", "\x93NUMPY",
        "'descr': ", "'fortran_order': True", "'shape': (", "(2, 3)", "(2,)", "()", "'>f4'", "'<f8'",
        "'|b1'", "'|V2'", "'<c16'", "a/b.npy", "0.npy", "/", ".npy", "{}" };
    for (size_t k = 0; k < sizeof words / sizeof *words; k++)
        take(words[k], strlen(words[k]));
    take("\xff\xff\xff\xff\xff\xff\xff\xff", 8);
    take("\0\0\0\0\0\0\0\0", 8);
}
