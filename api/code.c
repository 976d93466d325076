/*
 * code.c - whose code a C function is: the half of its identity that its address does not say.
 *
 * A library that is closed and another that is opened may lie at the same address. So the loaded object that
 * holds the code is part of a function's key: where it lies, and which it is, by the build identity that
 * linkers write (else by its file). The list of objects is read again when the loader's counters say that it
 * has changed. The program's own code, and the library's, stay: for them nothing is asked.
 */
#define _GNU_SOURCE
#include "api.h"
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Executable memory of an object. */
typedef struct Segment { uintptr_t low, high; uint64_t object; } Segment;

typedef struct Objects {
    Segment *segment; int n, cap;
    unsigned long long loads, unloads;          /* the loader's counters when it was read */
    bool failed;
} Objects;

static Objects objects;
static Segment own[2];                          /* of the program, of this library */
static pthread_mutex_t objects_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The bytes that the linker wrote to tell one build from another; 0: none. */
static uint64_t build_identity(const struct dl_phdr_info *o, const ElfW(Phdr) *notes)
{
    const char *at = (const char *)(o->dlpi_addr + notes->p_vaddr), *end = at + notes->p_memsz;
    while (end - at >= (ptrdiff_t)sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr) n;
        memcpy(&n, at, sizeof n);
        const char *name = at + sizeof n, *bytes = name + (n.n_namesz + 3) / 4 * 4;
        if (bytes > end || n.n_descsz > (size_t)(end - bytes))
            return 0;
        if (n.n_type == NT_GNU_BUILD_ID && n.n_namesz == 4 && !memcmp(name, "GNU", 4))
            return hash_bytes(bytes, n.n_descsz, 1);
        at = bytes + (n.n_descsz + 3) / 4 * 4;
    }
    return 0;
}

static uint64_t file_identity(const struct dl_phdr_info *o)
{
    struct stat s;
    if (!o->dlpi_name || !*o->dlpi_name || stat(o->dlpi_name, &s))
        return 2;
    uint64_t which[] = { s.st_dev, s.st_ino, (uint64_t)s.st_size, (uint64_t)s.st_mtim.tv_sec,
                         (uint64_t)s.st_mtim.tv_nsec };
    return hash_bytes(which, sizeof which, 3);
}

static uint64_t identity(const struct dl_phdr_info *o)
{
    uint64_t build = 0;
    for (int k = 0; k < o->dlpi_phnum && !build; k++)
        if (o->dlpi_phdr[k].p_type == PT_NOTE)
            build = build_identity(o, &o->dlpi_phdr[k]);
    uint64_t which[] = { o->dlpi_addr, build ? build : file_identity(o) };
    return hash_bytes(which, sizeof which,
                      hash_bytes(o->dlpi_phdr, sizeof *o->dlpi_phdr * o->dlpi_phnum, 0));
}

static int add(struct dl_phdr_info *o, size_t size, void *to)
{
    Objects *all = to;
    uint64_t object = 0;
    (void)size;
    all->loads = o->dlpi_adds, all->unloads = o->dlpi_subs;
    for (int k = 0; k < o->dlpi_phnum; k++) {
        const ElfW(Phdr) *p = &o->dlpi_phdr[k];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X))
            continue;
        if (all->n == all->cap) {
            int cap = all->cap ? 2 * all->cap : 64;
            Segment *s = realloc(all->segment, (size_t)cap * sizeof *s);
            if (!s)
                return all->failed = true, 1;
            all->segment = s, all->cap = cap;
        }
        uintptr_t low = o->dlpi_addr + p->p_vaddr;
        object = object ? object : identity(o);
        all->segment[all->n++] = (Segment){ low, low + p->p_memsz, object };
    }
    return 0;
}

static int changed(struct dl_phdr_info *o, size_t size, void *all)
{
    (void)size;
    const Objects *a = all;
    return 1 + (o->dlpi_adds != a->loads || o->dlpi_subs != a->unloads || a->failed);
}

static const Segment *holder(uintptr_t f)
{
    for (int k = 0; k < objects.n; k++)
        if (f - objects.segment[k].low < objects.segment[k].high - objects.segment[k].low)
            return &objects.segment[k];
    return NULL;
}

static void read_objects(void)
{
    objects.n = 0, objects.failed = false;
    dl_iterate_phdr(add, &objects);
}

static void start(void)
{
    read_objects();
    const Segment *mine = holder((uintptr_t)code_of);
    if (objects.n)
        own[0] = objects.segment[0];            /* the program comes first */
    if (mine)
        own[1] = *mine;
}

uint64_t code_of(uintptr_t f)
{
    pthread_once(&once, start);
    for (int k = 0; k < 2; k++)
        if (f - own[k].low < own[k].high - own[k].low)
            return own[k].object;
    pthread_mutex_lock(&objects_lock);
    if (dl_iterate_phdr(changed, &objects) != 1)
        read_objects();
    const Segment *s = holder(f);
    uint64_t object = s ? s->object : 0;
    pthread_mutex_unlock(&objects_lock);
    return object;
}
