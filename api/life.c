/*
 * life.c - the life of an array: who holds it, and what is told of one that is used after its end.
 *
 * In:  arrays that are made, kept, taken over by trees, dropped, donated.   Out: hd_live, and errors with
 * the lines of
 *      the program where the array was made and where it ended.
 * Of an array's references, those that trees hold are counted apart: the program may drop the others only,
 * so a part that a tree has taken over outlives a drop by mistake. What has ended loses its contents at
 * once; its header stays for a while in a ring, so that a pointer to it is told rather than followed. With
 * HEDDLE_CHECK=memory headers stay for good, mistakes are written to stderr when they happen, and what is
 * alive at exit is listed by line.
 */
#include "api.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { ENDED = 512 };                           /* headers that are kept */
enum { KEPT_BYTES = 64 << 20 };                 /* and of host memory, with HEDDLE_CHECK=memory */
#define TREE ((uint64_t)1 << 32)                /* in hd_array.count: a reference that a tree holds */

static uint32_t all(uint64_t count) { return (uint32_t)count; }
static uint32_t of_trees(uint64_t count) { return (uint32_t)(count >> 32); }

static _Atomic int64_t live;
static hd_array *_Atomic ended[ENDED];
static _Atomic uint32_t turn;

/* ---- HEDDLE_CHECK=memory: every array there ever was */
static bool watching;
static pthread_once_t watch_once = PTHREAD_ONCE_INIT;
static hd_array *_Atomic watched;
static void watch_begin(void) { watching = check_wanted("memory"); }

static void watch(hd_array *a)
{
    a->next = atomic_load(&watched);
    while (!atomic_compare_exchange_weak(&watched, &a->next, a))
        ;
}

hd_array *array_make(void)
{
    hd_array *a = calloc(1, sizeof *a);
    if (!a) {
        no_memory(sizeof *a);
        return NULL;
    }
    a->life = ALIVE, a->made = loc_here();
    atomic_init(&a->count, 1);
    pthread_once(&watch_once, watch_begin);
    if (watching)
        watch(a);
    atomic_fetch_add(&live, 1);
    return a;
}

/* The contents go; the header is kept. */
static void end(hd_array *a, const char *how)
{
    a->life = GONE, a->how = how, a->gone = loc_here();
    for (int i = 0; i < a->n; i++)
        if (a->part[i])
            array_drop_part(a->part[i]);
    free(a->part), free(a->key);
    store_drop(a->store);
    a->n = 0, a->part = NULL, a->key = NULL, a->store = NULL;
    atomic_fetch_sub(&live, 1);
    if (watching)
        return;
    hd_array *old = atomic_exchange(&ended[atomic_fetch_add(&turn, 1) % ENDED], a);
    if (old) {
        old->life = 0;
        free(old);
    }
}

/* ==================== mistakes */

static const char *place(Loc l, char *b, size_t n)
{
    snprintf(b, n, l.file ? "%s:%d" : "a line that is not known", l.file, l.line);
    return b;
}

/* Tells of it: by hd_error(), and with HEDDLE_CHECK=memory at once. Apart, out of the way of what is
 * right. */
static __attribute__((noinline, cold, format(printf, 1, 2))) bool mistake(const char *format, ...)
{
    char text[1024], at[300];
    va_list v;
    va_start(v, format);
    vsnprintf(text, sizeof text, format, v);
    va_end(v);
    error_begin();
    error_set(E_INVAL, "%s", text);
    pthread_once(&watch_once, watch_begin);
    if (watching)
        fprintf(stderr, "heddle: %s: %s\n", place(loc_here(), at, sizeof at), text);
    return false;
}

static bool not_alive(const char *what, int arg, const hd_array *a)
{
    char which[32] = "", made[300], gone[300];
    if (arg >= 0)
        snprintf(which, sizeof which, "argument %d: ", arg);
    if (a->life != GONE)
        return mistake("%s: %sthis is no array: it ended long ago, or never was one", what, which);
    return mistake("%s: %sthe array that was made at %s has been %s at %s: it is used after its end", what,
        which, place(a->made, made, sizeof made), a->how, place(a->gone, gone, sizeof gone));
}

static bool not_own(const char *what, const hd_array *a)
{
    char made[300];
    return mistake("%s: the array that was made at %s belongs to a dictionary or tuple, which drops it with "
                   "all it holds: "
                   "hd_keep it first",
        what, place(a->made, made, sizeof made));
}

bool array_alive(const char *what, int arg, const hd_array *a)
{
    return a->life == ALIVE || not_alive(what, arg, a);
}

bool array_own(const char *what, const hd_array *a)
{
    uint64_t c = atomic_load(&a->count);
    return all(c) > of_trees(c) || not_own(what, a);
}

/* ==================== references */

bool array_take(hd_array *a)
{
    static const char what[] = "hd_array_dict or hd_array_tuple";
    if (!array_alive(what, -1, a))
        return false;
    uint64_t c = atomic_fetch_add(&a->count, TREE);
    if (all(c) > of_trees(c))
        return true;
    atomic_fetch_sub(&a->count, TREE);
    return not_own(what, a);
}

void array_drop_part(hd_array *a)
{
    if (all(atomic_fetch_sub(&a->count, TREE + 1)) == 1)
        end(a, "dropped with what held it");
}

void array_drop(hd_array *a)
{
    if (a && all(atomic_fetch_sub(&a->count, 1)) == 1)
        end(a, "dropped");
}

void array_donate(hd_array *a)
{
    if (all(atomic_fetch_sub(&a->count, 1)) == 1)
        end(a, "donated to the call");
}

hd_array *hd_keep(hd_array *a)
{
    PLACE(hd_keep);
    if (!a || !array_alive("hd_keep", -1, a))
        return NULL;
    atomic_fetch_add(&a->count, 1);
    return a;
}

void hd_drop(hd_array *a)
{
    PLACE(hd_drop);
    if (a && array_alive("hd_drop", -1, a) && array_own("hd_drop", a))
        array_drop(a);
}

int64_t hd_live(void) { return atomic_load(&live); }

bool lent_kept(void *host, size_t bytes)
{
    static _Atomic size_t kept;
    if (!watching || !host || atomic_fetch_add(&kept, bytes) > KEPT_BYTES)
        return false;
    memset(host, 0xff, bytes);
    return true;
}

/* ==================== at exit: what is alive, by line */

static int by_line(const void *x, const void *y)
{
    const hd_array *a = *(hd_array *const *)x, *b = *(hd_array *const *)y;
    int files = strcmp(a->made.file ? a->made.file : "", b->made.file ? b->made.file : "");
    return files ? files : a->made.line - b->made.line;
}

static void describe(const hd_array *a, int n)
{
    char made[300];
    fprintf(stderr, "heddle:   %d made at %s", n, place(a->made, made, sizeof made));
    if (a->tree)
        fprintf(stderr, ", a %s of %d\n", a->key ? "dictionary" : "tuple", a->n);
    else
        fprintf(stderr, ", %s%s\n", type_text(&a->type), n > 1 ? " and others" : "");
}

static __attribute__((destructor)) void list_leaks(void)
{
    int n = 0, at = 0;
    for (const hd_array *a = atomic_load(&watched); a; a = a->next)
        n++;
    hd_array **leaked = n ? malloc(sizeof *leaked * (size_t)n) : NULL;
    if (!leaked)
        return;
    n = 0;
    for (hd_array *a = atomic_load(&watched); a; a = a->next)
        if (a->life == ALIVE && all(a->count) > of_trees(a->count))
            leaked[n++] = a;
    qsort(leaked, (size_t)n, sizeof *leaked, by_line);
    if (n)
        fprintf(stderr, "heddle: %d array%s never dropped:\n", n, n == 1 ? " was" : "s were");
    for (int i = 0; i < n; at = i) {
        while (i < n && !by_line(&leaked[at], &leaked[i]))
            i++;
        describe(leaked[at], i - at);
    }
    free(leaked);
}
