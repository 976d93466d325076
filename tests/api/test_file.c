/*
 * test_file.c - files from strangers, and files that must not be lost: hd_load and hd_save.
 *
 * In:  archives written byte by byte, whose fields lie; trees of all kinds; full disks, killed and competing
 * processes.
 * Out: an error and no harm, or the tree that was saved; the old file, whole, where saving failed.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "heddle.h"
#include "suite_run.h"

static char folder[64];

/* In memory if possible: each save waits for the disk. */
static void enter(void)
{
    strcpy(folder, access("/dev/shm", W_OK) ? "/tmp/heddle-XXXXXX" : "/dev/shm/heddle-XXXXXX");
    ck_assert(mkdtemp(folder) && !chdir(folder));
}

static void leave(void)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert(!chdir("/") && !system(command));
}

static int files_here(void)
{
    DIR *d = opendir(".");
    int n = 0;
    for (struct dirent *e; (e = readdir(d)); )
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* The code, and the program has been told. */
static int told(void)
{
    int code = hd_error_code();
    hd_error();
    return code;
}

static void refused(const char *name, enum hd_code code, const char *what)
{
    hd_array *a = hd_load(name);
    ck_assert_msg(!a && told() == (int)code, "%s: %s", what, a ? "was loaded" : hd_error());
    ck_assert_int_eq(hd_live(), 0);
}

/* ==================== archives, byte by byte */

typedef struct Bytes { char *p; size_t n, cap; } Bytes;

static void add(Bytes *b, const void *p, size_t n)
{
    if (b->n + n > b->cap) {
        b->cap = 2 * b->cap + n + 256;
        b->p = realloc(b->p, b->cap);
        ck_assert_ptr_nonnull(b->p);
    }
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

static void num(Bytes *b, uint64_t v, int n)
{
    for (int i = 0; i < n; i++, v >>= 8)
        add(b, &(char){ (char)v }, 1);
}

static void write_file(const char *name, const Bytes *b)
{
    FILE *f = fopen(name, "wb");
    ck_assert(f && fwrite(b->p, 1, b->n, f) == b->n && !fclose(f));
}

/* A header as numpy writes it, and so many zeros behind it. */
static Bytes npy(const char *dict, size_t data)
{
    Bytes b = { 0 };
    add(&b, "\x93NUMPY\1\0", 8);
    num(&b, strlen(dict), 2);
    add(&b, dict, strlen(dict));
    for (size_t i = 0; i < data; i++)
        num(&b, 0, 1);
    return b;
}

/* What is said of an entry; whatever is 0 is said truthfully. */
typedef struct Lie {
    uint64_t size, packed, offset, count, dir_size, dir_at, locator;
    int method, wide, flags;
} Lie;

static void local(Bytes *z, const char *name, size_t nn, const Bytes *data, int method)
{
    num(z, 0x04034b50, 4), num(z, 20, 2), num(z, 0, 2), num(z, (uint64_t)method, 2), num(z, 0, 4);
    num(z, crc32(0, (Bytef *)data->p, (uInt)data->n), 4), num(z, data->n, 4), num(z, data->n, 4);
    num(z, nn, 2), num(z, 0, 2);
    add(z, name, nn), add(z, data->p, data->n);
}

static void directory(
    Bytes *z, const char *name, size_t nn, const Bytes *data, uint64_t offset, const Lie *l)
{
    uint64_t size = l->size ? l->size : data->n, packed = l->packed ? l->packed : data->n;
    offset = l->offset ? l->offset : offset;
    num(z, 0x02014b50, 4), num(z, 45, 2), num(z, 45, 2), num(z, (uint64_t)l->flags, 2),
        num(z, (uint64_t)l->method, 2), num(z, 0, 4);
    num(z, crc32(0, (Bytef *)data->p, (uInt)data->n), 4);
    num(z, l->wide ? UINT32_MAX : packed, 4), num(z, l->wide ? UINT32_MAX : size, 4);
    num(z, nn, 2), num(z, l->wide ? 28 : 0, 2), num(z, 0, 2), num(z, 0, 8),
        num(z, l->wide ? UINT32_MAX : offset, 4);
    add(z, name, nn);
    if (l->wide)
        num(z, 1, 2), num(z, 24, 2), num(z, size, 8), num(z, packed, 8), num(z, offset, 8);
}

static void end_of(Bytes *z, uint64_t count, uint64_t at, const Lie *l)
{
    uint64_t n = l->dir_size ? l->dir_size : z->n - at, end = l->locator ? l->locator : z->n;
    count = l->count ? l->count : count, at = l->dir_at ? l->dir_at : at;
    if (l->wide) {
        num(z, 0x06064b50, 4), num(z, 44, 8), num(z, 45, 2), num(z, 45, 2), num(z, 0, 8);
        num(z, count, 8), num(z, count, 8), num(z, n, 8), num(z, at, 8);
        num(z, 0x07064b50, 4), num(z, 0, 4), num(z, end, 8), num(z, 1, 4);
    }
    num(z, 0x06054b50, 4), num(z, 0, 4), num(z, count, 2), num(z, count, 2), num(z, n, 4), num(z, at, 4),
        num(z, 0, 2);
}

static Bytes archive(const char *name, size_t nn, const Bytes *data, const Lie *l)
{
    Bytes z = { 0 };
    local(&z, name, nn, data, l->method);
    size_t at = z.n;
    directory(&z, name, nn, data, 0, l);
    end_of(&z, 1, at, l);
    return z;
}

static Bytes deflated(const Bytes *b)
{
    Bytes r = { .cap = compressBound((uLong)b->n) };
    z_stream s = { 0 };
    r.p = malloc(r.cap);
    ck_assert_int_eq(deflateInit2(&s, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY), Z_OK);
    s.next_in = (Bytef *)b->p, s.avail_in = (uInt)b->n, s.next_out = (Bytef *)r.p, s.avail_out = (uInt)r.cap;
    ck_assert_int_eq(deflate(&s, Z_FINISH), Z_STREAM_END);
    r.n = s.total_out;
    deflateEnd(&s);
    return r;
}

static const char header[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }\n";

/* Every field with every value that may break sums: the file is refused, and nothing is read beyond it. */
START_TEST(sizes_that_lie)
{
    static const uint64_t values[] = { 2, 21, 22, 45, 46, 1000, 0x7fffffff, 0xfffffffe, 0xffffffff,
        1ull << 40, 1ull << 62, INT64_MAX, -1ull, -2ull, -30ull, -46ull, -56ull, -57ull, -100ull };
    Bytes data = npy(header, 16), packed = deflated(&data), whole;
    for (int wide = 0; wide < 2; wide++) {
        Lie truth = { .wide = wide };
        whole = archive("a.npy", 5, &data, &truth);
        write_file("good.npz", &whole);
        hd_array *a = hd_load("good.npz");
        ck_assert_msg(a && hd_array_len(a) == 1, "%s", hd_error());
        hd_drop(a);
        free(whole.p);
        for (int field = 0; field < 7; field++)
            for (int deflate = 0; deflate < 2; deflate++)
                for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
                    Lie l = { .wide = wide, .method = deflate ? 8 : 0, .size = deflate ? data.n : 0 };
                    if (!((&l.size)[field] = wide ? values[v] : values[v] & UINT32_MAX))
                        continue;
                    if (field == 3 && l.count % 65536 == 1 && !wide)
                        continue;
                    whole = archive("a.npy", 5, deflate ? &packed : &data, &l);
                    write_file("lie.npz", &whole);
                    a = hd_load("lie.npz");     /* a locator that is nowhere needed may say anything */
                    ck_assert_msg(a ? field == 6 && !wide : told() == HD_EIO, "field %d, %llx: %s", field,
                                  (unsigned long long)values[v], a ? "loaded" : hd_error());
                    hd_drop(a);
                    free(whole.p);
                }
    }
    free(data.p), free(packed.p);
}
END_TEST

START_TEST(headers_that_lie)
{
    static const char *const shapes[] = { "(5,)", "(-1,)", "(99999999999999999999,)",
        "(4611686018427387904,)", "(0, 99999999999999999999)", "(4294967296, 4294967296, 4294967296)", "(4",
        "(4,", "(a,)", "(4 4)", "(4;)", "(", "4", "(0x4,)", "( , )" };
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        char dict[200];
        snprintf(dict, sizeof dict, "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }\n", shapes[k]);
        Bytes b = npy(dict, 16), z = archive("a.npy", 5, &b, &(Lie){ 0 });
        write_file("lie.npy", &b);
        write_file("lie.npz", &z);
        refused("lie.npy", HD_EIO, shapes[k]);
        refused("lie.npz", HD_EIO, shapes[k]);
        free(b.p), free(z.p);
    }
    Bytes b = npy(header, 16);
    b.p[6] = 2, b.p[9] = 0, memset(b.p + 10, 0xff, 2);          /* version 2 with a header of 4 GiB */
    write_file("lie.npy", &b);
    refused("lie.npy", HD_EIO, "a long header");
    free(b.p);
    b = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2199023255552,), }\n", 0);
    write_file("lie.npy", &b);
    /* a file with a hole: it has the bytes */
    ck_assert_int_eq(truncate("lie.npy", ((off_t)1 << 43) + (off_t)b.n), 0);
    refused("lie.npy", HD_ENOMEM, "8 TiB of nothing");
    free(b.p);
}
END_TEST

/* Bools that are neither 0 nor 1 would be a third value in kernels. */
START_TEST(bools)
{
    Bytes b = npy("{'descr': '|b1', 'fortran_order': False, 'shape': (3,), }\n", 3);
    b.p[b.n - 1] = 7, b.p[b.n - 2] = 1;
    write_file("b.npy", &b);
    hd_array *a = hd_load("b.npy");
    ck_assert_msg(a != NULL, "%s", hd_error());
    ck_assert(!memcmp(hd_data(a), "\0\1\1", 3));
    hd_drop(a), free(b.p);
}
END_TEST

/* ---- much from little */

static Bytes many(const char *format, int n, const Bytes *data, bool same)
{
    Bytes z = { 0 }, dir = { 0 };
    char name[40];
    for (int k = 0; k < n; k++) {
        int nn = snprintf(name, sizeof name, format, k);
        uint64_t at = same ? 0 : z.n;
        if (!k || !same)
            local(&z, name, (size_t)nn, data, 0);
        directory(&dir, name, (size_t)nn, data, at, &(Lie){ .wide = 1 });
    }
    size_t at = z.n;
    add(&z, dir.p, dir.n);
    end_of(&z, (uint64_t)n, at, &(Lie){ .wide = 1 });
    free(dir.p);
    return z;
}

START_TEST(bombs)
{
    Bytes zeros = npy(header, 1 << 20), packed = deflated(&zeros), whole;
    whole = archive("a.npy", 5, &packed, &(Lie){ .method = 8, .size = (uint64_t)packed.n * 1033 });
    write_file("bomb.npz", &whole);
    refused("bomb.npz", HD_EIO, "more than deflate can make");
    free(whole.p);
    whole = archive("a.npy", 5, &packed, &(Lie){ .method = 8, .size = 1000 });
    write_file("bomb.npz", &whole);
    refused("bomb.npz", HD_EIO, "more than it claims");
    free(whole.p);
    whole = archive("a.npy", 5, &packed, &(Lie){ .method = 8, .size = zeros.n });
    write_file("bomb.npz", &whole);
    refused("bomb.npz", HD_EIO, "an array with a megabyte behind it");
    free(whole.p);
    Bytes one = npy(header, 16);
    whole = many("%d.npy", 1000, &one, true);
    write_file("bomb.npz", &whole);
    refused("bomb.npz", HD_EIO, "one entry a thousand times");
    free(whole.p), free(one.p), free(zeros.p), free(packed.p);
}
END_TEST

START_TEST(many_entries)
{
    Bytes one = npy(header, 16), whole = many(_i ? "%d.npy" : "k%d.npy", 300000, &one, false);
    write_file("many.npz", &whole);
    hd_array *a = hd_load("many.npz");
    ck_assert_msg(a != NULL, "%s", hd_error());
    ck_assert_int_eq(hd_array_len(a), 300000);
    hd_drop(a);
    ck_assert_int_eq(hd_live(), 0);
    free(one.p), free(whole.p);
}
END_TEST

START_TEST(strange_names)
{
    static const struct { const char *name; size_t n; } names[] = { { "a\0b.npy", 7 }, { "\0", 1 } };
    Bytes one = npy(header, 16), whole;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        whole = archive(names[k].name, names[k].n, &one, &(Lie){ 0 });
        write_file("name.npz", &whole);
        refused("name.npz", HD_EIO, "a name with a zero byte");
        free(whole.p);
    }
    char *deep = malloc(60004);
    for (int k = 0; k < 30000; k++)
        memcpy(deep + 2 * k, "a/", 2);
    memcpy(deep + 60000, ".npy", 4);
    whole = archive(deep, 60004, &one, &(Lie){ 0 });
    write_file("name.npz", &whole);
    refused("name.npz", HD_EIO, "30,000 levels");
    free(whole.p), free(deep);
    whole = many("a.npy", 2, &one, false);
    write_file("name.npz", &whole);
    refused("name.npz", HD_EIO, "two of one name");
    free(whole.p), free(one.p);
}
END_TEST

START_TEST(no_files)
{
    ck_assert(!mkfifo("pipe.npy", 0600) && !mkdir("folder.npy", 0700) && !symlink("/dev/zero", "zero.npy"));
    ck_assert(!symlink("loop.npy", "loop.npy"));
    refused("pipe.npy", HD_EIO, "a pipe");
    refused("folder.npy", HD_EIO, "a folder");
    refused("zero.npy", HD_EIO, "a device");
    refused("loop.npy", HD_EIO, "a link to itself");
    refused("", HD_EIO, "no name");
    hd_array *a = hd_array_scalar(HD_F32, 1);
    static const char *const names[] = { "pipe.npy", "folder.npy", "zero.npy", "loop.npy" };
    for (int k = 0; k < 4; k++) {
        struct stat before, after;
        ck_assert(!lstat(names[k], &before));
        ck_assert_int_eq(hd_save(names[k], a), HD_EIO);
        ck_assert(
            !lstat(names[k], &after) && before.st_ino == after.st_ino && before.st_mode == after.st_mode);
    }
    ck_assert_int_eq(files_here(), 4);
    hd_drop(a);
}
END_TEST

/* ==================== the tree that was saved */

static uint64_t seed;
static unsigned draw(unsigned n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

static hd_array *random_leaf(void)
{
    enum hd_dtype d = (enum hd_dtype)(HD_BOOL + draw(HD_KEY - HD_BOOL + 1));
    bool wide = d == HD_KEY || d == HD_C64 || d == HD_C128;         /* these have an axis of their own */
    hd_ints shape = { .n = (int)draw(draw(4) ? 4 : HD_MAX_RANK + !wide) };
    size_t n = hd_dtype_size(d);
    for (int k = 0; k < shape.n; k++)
        n *= (size_t)(shape.v[k] = shape.n > 4 ? 1 + draw(2) : draw(draw(3) ? 6 : 2));
    unsigned char *bytes = malloc(n + 1);
    for (size_t k = 0; k < n; k++)
        bytes[k] = (unsigned char)(d == HD_BOOL ? draw(2) : draw(256));
    hd_array *a = hd_array_new(d, shape, bytes, NULL);
    free(bytes);
    return a;
}

static const char *random_key(int k)
{
    static const char *const odd[] = { "0", "1", "2", "a.npy", "a-b", "a", "a b", "\xc3\xa4", "\xff", "...",
        "\n", "00", "-1", "b\\c", "%s" };
    static char text[32][24];
    snprintf(text[k], sizeof text[k], "%s%.*s", odd[draw(sizeof odd / sizeof *odd)], (int)draw(2), "x");
    return text[k];
}

static hd_array *random_tree(int deep)
{
    int n = (int)draw(5), used = 0;
    hd_array *part[5];
    hd_array_pair pair[6] = { 0 };
    if (deep > 3 || (deep && !draw(3)))
        return random_leaf();
    bool dict = draw(3);
    for (int k = 0; k < n; k++) {
        const char *key = random_key(deep * 5 + k);
        bool twice = false;
        for (int j = 0; j < used; j++)
            twice |= !strcmp(pair[j].key, key);
        if (dict && twice)
            continue;
        pair[used].key = key, part[used++] = random_tree(deep + 1);
    }
    for (int k = 0; k < used; k++)
        pair[k].value = part[k];
    return dict ? hd_array_dict_n(pair, used) : hd_array_tuple_n(part, used);
}

static bool same(const hd_array *a, const hd_array *b)
{
    int n = hd_array_len(a);
    if (n != hd_array_len(b))
        return false;
    for (int i = 0; i < n; i++) {
        const char *x = hd_array_field_name(a, i), *y = hd_array_field_name(b, i);
        if ((x == NULL) != (y == NULL) || (x && strcmp(x, y)) ||
            !same(hd_array_nth(a, i), hd_array_nth(b, i)))
            return false;
    }
    if (n)
        return true;
    char *text[2] = { NULL, NULL };
    size_t size[2];
    for (int k = 0; k < 2; k++) {               /* an empty tree, of which kind? */
        FILE *f = open_memstream(&text[k], &size[k]);
        hd_print(f, k ? b : a);
        fclose(f);
    }
    bool equal = !strcmp(text[0], text[1]);
    bool tree = text[0][0] == '{' || (text[0][0] == '(' && text[0][1] == ')');
    free(text[0]), free(text[1]);
    if (!equal || tree)
        return equal;
    hd_ints s1 = hd_array_shape(a), s2 = hd_array_shape(b);
    size_t bytes = (size_t)hd_array_size(a) * hd_dtype_size(hd_array_dtype(a));
    return hd_array_dtype(a) == hd_array_dtype(b) && s1.n == s2.n &&
        !memcmp(s1.v, s2.v, (size_t)s1.n * sizeof *s1.v) &&
        (!bytes || !memcmp(hd_data(a), hd_data(b), bytes));
}

/* Saved and loaded it is the same; saved again, byte for byte. */
START_TEST(round_trip)
{
    for (seed = 1; seed < 400; seed++) {
        uint64_t now = seed;
        hd_array *a = random_tree(0), *b;
        bool leaf = !hd_array_len(a) && hd_array_dtype(a);
        hd_error();
        ck_assert_int_eq(hd_save(leaf ? "t.npy" : "t.npz", a), 0);
        b = hd_load(leaf ? "t.npy" : "t.npz");
        ck_assert_msg(b && same(a, b), "seed %llu: %s", (unsigned long long)now, hd_error());
        hd_drop(a), hd_drop(b);
        ck_assert_int_eq(hd_live(), 0);
        seed = now;
    }
}
END_TEST

static void key_is(const char *key, bool good)
{
    hd_array *a = hd_array_dict_n((hd_array_pair[]){ { key, hd_array_scalar(HD_F32, 1) } }, 1), *b;
    int e = hd_save("key.npz", a);
    ck_assert_msg(good ? e == 0 : e == HD_EINVAL, "%.20s: %d %s", key, e, hd_error());
    if (good) {
        b = hd_load("key.npz");
        ck_assert_msg(b && same(a, b), "%.20s: %s", key, hd_error());
        hd_drop(b);
        unlink("key.npz");
    }
    ck_assert_int_eq(files_here(), 0);
    hd_drop(a);
}

START_TEST(keys)
{
    static const char *const bad[] = { "", "/", "a/b", "/a", "a/", ".", "..", "../a" };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        key_is(bad[k], false);
    for (size_t n = 65500; n < 65600; n += n > 65520 && n < 65540 ? 1 : 10) {
        char *key = malloc(n + 1);
        memset(key, 'k', n), key[n] = 0;
        key_is(key, n + 6 <= 65535);
        free(key);
    }
    hd_array *a = hd_array_scalar(HD_F32, 1);
    for (int k = 0; k < 200; k++)
        a = hd_array_tuple_n(&a, 1);
    ck_assert_int_eq(hd_save("deep.npz", a), 0);
    hd_array *b = hd_load("deep.npz");
    ck_assert_msg(b && same(a, b), "%s", hd_error());
    hd_drop(b);
    a = hd_array_tuple_n(&a, 1);
    ck_assert_int_eq(hd_save("deep.npz", a), HD_EINVAL);
    hd_drop(a);
}
END_TEST

/* ==================== files that must not be lost */

static hd_array *tree_of(float v, int size)
{
    float *x = malloc(sizeof *x * (size_t)size);
    for (int k = 0; k < size; k++)
        x[k] = v;
    hd_array *a = hd_array_new(HD_F32, (hd_ints){ 1, { size } }, x, NULL);
    free(x);
    return hd_array_dict({ "a", a }, { "b", hd_array_scalar(HD_F32, v) });
}

static float value_in(const char *name)
{
    hd_array *a = hd_load(name);
    ck_assert_msg(a != NULL, "%s", hd_error());
    float v = (float)hd_item(hd_array_get(a, "b"));
    const float *x = hd_data(hd_array_get(a, "a"));
    for (int64_t k = 0; k < hd_array_size(hd_array_get(a, "a")); k++)
        ck_assert(x[k] == v);
    hd_drop(a);
    return v;
}

static void save(const char *name, float v)
{
    hd_array *a = tree_of(v, 1000);
    ck_assert_msg(!hd_save(name, a), "%s", hd_error());
    hd_drop(a);
}

START_TEST(mode_and_links)
{
    struct stat s;
    save("x.npz", 1);
    for (int mode = 0; mode < 0777; mode += 0111 + 020) {
        ck_assert(!chmod("x.npz", 0200 | (mode_t)mode));
        hd_array *a = tree_of(2, 10);
        int e = hd_save("x.npz", a);
        hd_drop(a);
        ck_assert_msg(!e && !stat("x.npz", &s) && (s.st_mode & 07777) == (0200u | (mode_t)mode),
            "%o became %o", 0200 | mode, s.st_mode);
    }
    ck_assert(!chmod("x.npz", 0600) && !mkdir("d", 0700) && !symlink("../x.npz", "d/l.npz") &&
        !symlink("d/l.npz", "m.npz"));
    ck_assert(!symlink("new.npz", "d/dangling.npz"));
    save("m.npz", 3);
    save("d/dangling.npz", 4);
    ck_assert(!lstat("m.npz", &s) && S_ISLNK(s.st_mode) && !lstat("d/l.npz", &s) && S_ISLNK(s.st_mode));
    ck_assert(
        !lstat("d/dangling.npz", &s) && S_ISLNK(s.st_mode) && !lstat("d/new.npz", &s) && S_ISREG(s.st_mode));
    ck_assert(!stat("x.npz", &s) && (s.st_mode & 07777) == 0600);
    ck_assert(value_in("x.npz") == 3 && value_in("m.npz") == 3 && value_in("d/new.npz") == 4);
    ck_assert_int_eq(files_here(), 3);
    mode_t mask = umask(027);
    save("y.npz", 1);
    umask(mask);
    ck_assert(!stat("y.npz", &s) && (s.st_mode & 07777) == 0640);
}
END_TEST

/* A disk that is full after so many bytes: an error, the old file, nothing else. */
START_TEST(full_disk)
{
    struct rlimit all, some;
    struct stat s;
    signal(SIGXFSZ, SIG_IGN);
    save("x.npz", 1);
    hd_array *a = tree_of(2, 5000);
    ck_assert(
        !hd_save("y.npz", a) && !stat("y.npz", &s) && !unlink("y.npz") && !getrlimit(RLIMIT_FSIZE, &all));
    for (off_t most = 0; most < s.st_size; most += most > s.st_size - 600 ? 13 : 1997) {
        some = (struct rlimit){ (rlim_t)most, all.rlim_max };
        ck_assert(!setrlimit(RLIMIT_FSIZE, &some));
        int e = hd_save("x.npz", a);
        ck_assert(!setrlimit(RLIMIT_FSIZE, &all));
        ck_assert_int_eq(e, HD_EIO);
        ck_assert(value_in("x.npz") == 1);
        ck_assert_int_eq(files_here(), 1);
    }
    hd_drop(a);
}
END_TEST

/* Killed in the middle again and again: the file is whole, and the next that saves it leaves nothing beside
 * it. */
START_TEST(killed)
{
    save("x.npz", 0);
    int left = 0;
    for (int k = 0; k < 15; k++) {
        pid_t p = fork();
        if (!p) {
            hd_array *a = tree_of(1, 300000);
            for (;;)
                hd_save("x.npz", a);
        }
        usleep(3000 + (useconds_t)k * 1900);
        ck_assert(!kill(p, SIGKILL) && waitpid(p, NULL, 0) == p);
        value_in("x.npz");
        left += files_here() > 1;
    }
    FILE *f = fopen("x.npz.part", "w");         /* one that was killed long ago */
    ck_assert(f && fputs("half", f) >= 0 && !fclose(f));
    save("x.npz", 5);
    ck_assert(value_in("x.npz") == 5);
    ck_assert_msg(files_here() == 1, "%d files are left, after %d of 15", files_here(), left);
}
END_TEST

/* Processes that save under one name: each says that it did, every file that is ever there is whole, none is
 * left over. */
START_TEST(compete)
{
    enum { SAVERS = 3, TIMES = 12 };
    save("x.npz", 0);
    for (int k = 0; k < SAVERS; k++)
        if (!fork()) {
            int bad = 0;
            hd_array *a = tree_of((float)(k + 1), 20000 + 1000 * k);
            for (int i = 0; i < TIMES; i++)
                bad |= hd_save("x.npz", a) != 0;
            _exit(bad);
        }
    int running = SAVERS, status, seen = 0;
    while (running) {
        seen += value_in("x.npz") > 0;
        pid_t p = waitpid(-1, &status, WNOHANG);
        ck_assert(p >= 0);
        if (p) {
            ck_assert(WIFEXITED(status) && !WEXITSTATUS(status));
            running--;
        }
    }
    ck_assert(seen > 0);
    ck_assert_int_eq(files_here(), 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("file");
    TCase *c = tcase_create("strangers"), *d = tcase_create("saved");
    tcase_set_timeout(c, 60), tcase_set_timeout(d, 60);
    tcase_add_checked_fixture(c, enter, leave);
    tcase_add_checked_fixture(d, enter, leave);
    tcase_add_test(c, sizes_that_lie);
    tcase_add_test(c, headers_that_lie);
    tcase_add_test(c, bools);
    tcase_add_test(c, bombs);
    tcase_add_loop_test(c, many_entries, 0, 2);
    tcase_add_test(c, strange_names);
    tcase_add_test(c, no_files);
    tcase_add_test(d, round_trip);
    tcase_add_test(d, keys);
    tcase_add_test(d, mode_and_links);
    tcase_add_test(d, full_disk);
    tcase_add_test(d, killed);
    tcase_add_test(d, compete);
    suite_add_tcase(s, c), suite_add_tcase(s, d);
    return suite_run(s);
}
