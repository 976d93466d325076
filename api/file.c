/*
 * file.c - hd_load and hd_save: arrays as .npy, trees as .npz, as numpy keeps them.
 *
 * .npz is a zip archive of .npy files, the tree's paths as names: {"hidden": {"w": a}} is "hidden/w.npy". A
 * tuple's parts are named 0, 1, ...; a dictionary that has exactly these keys loads as a tuple. What names
 * alone cannot say is an entry without contents and with a note: "hidden/" with "{}" is a dictionary, with
 * "()" a tuple. It is written for what has no parts, and for dictionaries with a tuple's keys. numpy lists
 * these entries among the others.
 */
#define _FILE_OFFSET_BITS 64
#include "file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEEPEST = 200 };                         /* trees in trees, saved and loaded */

/* ==================== names with "/" into a tree: sorted, split at the first part of their names */

/* kind: '{' or '(' of what has a note; 0: an array */
typedef struct Named { char *name, kind; hd_array *value; } Named;

/* "/" before all others: what is below a name follows it, and keys are in order. */
static int by_name(const void *a, const void *b)
{
    const unsigned char *s = (const unsigned char *)((const Named *)a)->name;
    const unsigned char *t = (const unsigned char *)((const Named *)b)->name;
    while (*s && *s == *t)
        s++, t++;
    int x = *s == '/' ? 1 : *s ? *s + 1 : 0, y = *t == '/' ? 1 : *t ? *t + 1 : 0;
    return x - y;
}

static bool below(const char *name, const char *folder)
{
    size_t n = strlen(folder);
    return !strncmp(name, folder, n) && name[n] == '/';
}

/* Do these names make a tree? */
static int names_check(const char *path, const Named *a, int n)
{
    for (int i = 0; i < n; i++) {
        int deep = 0;
        for (const char *s = a[i].name; *s; s++)
            deep += *s == '/';
        if (deep > DEEPEST)
            return error_set(E_IO, "%s: a name has more than %d parts", path, DEEPEST);
        for (int k = i + 1; k < n && k < i + 2; k++)
            if (!a[i].kind && (below(a[k].name, a[i].name) || (!a[k].kind && !strcmp(a[k].name, a[i].name))))
                return error_set(E_IO, "%s: \"%.80s\" is there twice", path, a[i].name);
    }
    return 0;
}

/* Are the keys exactly 0 .. n-1? Then part[k] is the value of k. */
static bool numbered(const char *const *key, hd_array *const *value, int n, hd_array **part)
{
    for (int i = 0; i < n; i++) {
        char *end, text[16];
        long k = strtol(key[i], &end, 10);
        snprintf(text, sizeof text, "%ld", k);
        if (*end || k < 0 || k >= n || strcmp(text, key[i]))
            return false;
        if (part)
            part[k] = value[i];
    }
    return n > 0;
}

/* Takes the values over; the keys are in order. */
static hd_array *inner_of(const char *const *key, hd_array **value, int n, char kind)
{
    hd_array **part = calloc((size_t)n + 1, sizeof *part), *r = NULL;
    hd_array_pair *pair = calloc((size_t)n + 1, sizeof *pair);
    if (!part || !pair) {
        error_set(E_NOMEM, "out of host memory");
        for (int i = 0; i < n; i++)
            array_drop(value[i]);
    } else if (n ? kind != '{' && numbered(key, value, n, part) : kind == '(') {
        r = hd_array_tuple_n(part, n);
    } else {
        for (int i = 0; i < n; i++)
            pair[i] = (hd_array_pair){ key[i], value[i] };
        r = hd_array_dict_n(pair, n);
    }
    free(part), free(pair);
    return r;
}

/* Entries a[0..n), whose names agree in their first `at` bytes. Takes the values over. */
static hd_array *nest(Named *a, int n, size_t at)
{
    const char **key = calloc((size_t)n + 1, sizeof *key);
    hd_array **value = calloc((size_t)n + 1, sizeof *value), *r = NULL;
    char kind = 0;
    int k = 0;
    if (!key || !value) {
        error_set(E_NOMEM, "out of host memory");
        for (int i = 0; i < n; i++)
            array_drop(a[i].value);
    }
    for (int i = 0, j; key && value && i < n; i = j) {
        char *slash = strchr(a[i].name + at, '/');
        j = i + 1;
        if (a[i].kind && !a[i].name[at]) {      /* the note of all of these */
            kind = a[i].kind;
            continue;
        }
        if (slash)
            *slash = 0;
        while (slash && j < n && below(a[j].name, a[i].name))
            j++;
        if (slash)
            *slash = '/';
        value[k] = slash ? nest(a + i, j - i, (size_t)(slash - a[i].name) + 1) : a[i].value;
        if (slash)
            *slash = 0;
        key[k++] = a[i].name + at;
    }
    if (key && value)
        r = inner_of(key, value, k, kind);
    free(key), free(value);
    return r;
}

/* ==================== loading */

/* One entry of the archive: an array, or a note. 0, or a code. */
static int entry(Zip *z, const Item *e, Named *a)
{
    size_t n = e->name_n;
    a->kind = e->note_n == 2 && (!memcmp(e->note, "{}", 2) || !memcmp(e->note, "()", 2)) ? e->note[0] : 0;
    if (a->kind && n == 1 && e->name[0] == '/')
        n = 0;                                  /* the whole tree's */
    else if (!a->kind && n > 4 && !memcmp(e->name + n - 4, ".npy", 4))
        n -= 4;
    a->name = strndup(e->name, n);
    if (!a->name)
        return error_set(E_NOMEM, "out of host memory");
    a->value = a->kind ? NULL : zip_array(z, e);
    return a->kind || a->value ? 0 : (int)error_code();
}

static hd_array *npz_load(Input *f)
{
    Zip z;
    Named *a = NULL;
    hd_array *r = NULL;
    int n = 0, e = zip_open(&z, f);
    if (!e && (z.count > INT32_MAX || !(a = calloc((size_t)z.count + 1, sizeof *a))))
        e = error_set(E_NOMEM, "%s: out of host memory: %llu entries", f->path, (unsigned long long)z.count);
    for (uint64_t i = 0; i < z.count && !e; i++) {
        Item item;
        if ((e = zip_next(&z, &item)))
            break;
        bool note = item.name_n && item.name[item.name_n - 1] == '/';
        if (note && item.note_n != 2)
            continue;                           /* a folder, as other programs write them */
        e = entry(&z, &item, &a[n++]);
    }
    if (!e && z.at < z.n)
        e = damaged(f->path, "the zip directory has more entries than it says");
    if (!e) {
        qsort(a, (size_t)n, sizeof *a, by_name);
        e = names_check(f->path, a, n);
    }
    if (!e)
        r = nest(a, n, 0);
    for (int i = 0; i < n; i++) {
        if (e)
            array_drop(a[i].value);
        free(a[i].name);
    }
    free(a);
    zip_done(&z);
    return r;
}

hd_array *hd_load(const char *path)
{
    struct stat s;
    char magic[2];
    hd_array *a = NULL;
    OP(hd_load);
    error_begin();
    if (!path)
        return error_set(E_INVAL, "hd_load: the path is NULL"), NULL;
    /* a pipe without a writer does not keep us */
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &s)) {
        damaged(path, strerror(errno));
    } else if (!S_ISREG(s.st_mode)) {
        damaged(path, S_ISDIR(s.st_mode) ? "this is a folder, no file" : "this is no regular file");
    } else {
        Input f = { .fd = fd, .path = path, .size = (uint64_t)s.st_size };
        Stream all = { .f = &f, .size = f.size };
        if (f.size > 4 && !input_read(&f, 0, magic, 2) && !memcmp(magic, "PK", 2))
            a = npz_load(&f);
        else
            a = npy_read(&all);
    }
    if (fd >= 0)
        close(fd);
    return a;
}

/* ==================== saving */

static int save_leaf(Output *o, const hd_array *a, const char *name)
{
    char head[1024];
    size_t nh = npy_header(&a->type, head, sizeof head);
    if (!a->store)
        return error_set(E_INVAL, "hd_save: the array is abstract: it has a type but no contents");
    char *data = malloc(a->store->bytes + 1);
    if (!data)
        return no_memory(a->store->bytes);
    int e = store_read(a->store, data);
    if (!e && name)
        e = zip_put(o, name, "", head, nh, data, a->store->bytes);
    else if (!e)
        e = put(o, head, nh) || put(o, data, a->store->bytes) ? (int)error_code() : 0;
    free(data);
    return e;
}

/* Behind the n bytes of a name. Returns how many there are then; 0 after an error. */
static size_t name_add(char *name, size_t n, const char *key)
{
    size_t k = strlen(key);
    if (!k || strchr(key, '/') || !strcmp(key, ".") || !strcmp(key, ".."))
        return error_set(E_INVAL,
                   "hd_save: the key \"%s\" is empty, \".\", \"..\" or has a \"/\": .npz keeps these for "
                   "nesting",
                   key),
               0;
    if (n + k + 6 > NAME_MOST)                  /* "/" in front, ".npy" or "/" behind */
        return error_set(E_INVAL,
                   "hd_save: a path of %zu bytes, \"%.40s...\": .npz has room for names of %d", n + k, key,
                   NAME_MOST),
               0;
    if (n)
        name[n++] = '/';
    memcpy(name + n, key, k + 1);
    return n + k;
}

static int save_tree(Output *o, const hd_array *a, char *name, size_t n, int deep)
{
    int e = 0;
    if (!a->tree) {
        memcpy(name + n, ".npy", 5);
        return save_leaf(o, a, name);
    }
    if (deep == DEEPEST)
        return error_set(E_INVAL, "hd_save: more than %d trees in each other", DEEPEST);
    if (!a->n || (a->key && numbered(a->key, NULL, a->n, NULL))) {
        memcpy(name + n, "/", 2);
        e = zip_put(o, name, a->key ? "{}" : "()", NULL, 0, NULL, 0);
    }
    for (int i = 0; i < a->n && !e; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        size_t k = name_add(name, n, a->key ? a->key[i] : number);
        e = k ? save_tree(o, a->part[i], name, k, deep + 1) : (int)error_code();
    }
    return e;
}

static int save_npz(Output *o, const hd_array *a)
{
    char *name = calloc(1, NAME_MOST + 1);
    if (!name)
        return error_set(E_NOMEM, "out of host memory");
    int e = save_tree(o, a, name, 0, 0);
    free(name);
    return e ? e : zip_close(o);
}

static bool ends(const char *s, const char *with)
{
    size_t n = strlen(s), k = strlen(with);
    return n > k && !strcmp(s + n - k, with);
}

int hd_save(const char *path, const hd_array *a)
{
    OP(hd_save);
    Output o;
    if (!a)
        return error_pass();
    error_begin();
    if (!array_alive("hd_save", -1, a))
        return error_told((int)error_code());
    bool npz = path && ends(path, ".npz");
    if (!npz && (!path || !ends(path, ".npy")))
        return error_told(error_set(
            E_INVAL, "hd_save: \"%s\" must end in .npy (an array) or .npz (a tree)", path ? path : ""));
    if (npz != a->tree)
        return error_told(error_set(E_INVAL, npz ? "hd_save: %s: a single array is saved as .npy" :
                                    "hd_save: %s: a tree is saved as .npz", path));
    if (array_bring(a) || output_begin(&o, path))
        return error_told((int)error_code());
    return error_told(output_end(&o, npz ? save_npz(&o, a) : save_leaf(&o, a, NULL)));
}
