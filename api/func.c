/*
 * func.c - functions: the user's, and descriptions of what transforms make of them; interned.
 *
 * A function is told from another by its key, compared by value: what kind it is, of which function, with
 * which options, which C function in which loaded object, which bytes are bound to it. Making it again gives
 * the same pointer, so what is kept of it (graphs by argument types, programs by types and device) is found
 * again.
 * Lifetime: until it is forgotten, and all that was made of it with it. One that holds symbols, or bytes
 * bound inside a trace (which may be symbols), ends with that trace. The record of a function that has ended
 * is kept for a while, so that a pointer that outlives it is an error with a message.
 */
#include "api.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

pthread_mutex_t front_lock;
_Thread_local Entry *entry_top;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_recursive(void)
{
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&front_lock, &a);
}

/* Around fork(), which waits for nobody: held by another thread, it guards tables that are half written. In
 * the child the lock's owner is another thread, even if it is the one that forked. */
static bool held;
static void before_fork(void) { held = !pthread_mutex_trylock(&front_lock); }

static void in_parent(void)
{
    if (held)
        pthread_mutex_unlock(&front_lock);
}

static void in_child(void)
{
    if (!held)
        process_cut();
    make_recursive();
    for (const Entry *e = entry_top; e; e = e->up)
        pthread_mutex_lock(&front_lock);
}

static void make_lock(void)
{
    make_recursive();
    pthread_atfork(before_fork, in_parent, in_child);
}

static void lock(void)
{
    pthread_once(&once, make_lock);
    pthread_mutex_lock(&front_lock);
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

Phase phase_begin(Phase next)
{
    Entry *e = entry_top;
    if (!e)
        return PHASE_OTHER;
    Phase before = e->phase;
    double now = now_ms();
    e->ms[before] += now - e->since;
    e->phase = next, e->since = now;
    return before;
}

int entry_begin(Entry *e)
{
    Arena *a = process_usable() ? NULL : arena_new();
    if (!a)
        return (int)error_code();
    lock();
    *e = (Entry){ .arena = a,
        .saved = arena_use(a),
        .top = trace_top,
        .bound = axes_bound,
        .loc = loc_here(),
        .up = entry_top,
        .since = now_ms() };
    trace_top = NULL, axes_bound = NULL;
    entry_top = e;
    return 0;
}

void entry_end(Entry *e)
{
    for (int i = 0; i < e->nkept; i++)
        store_drop(e->kept[i]);
    entry_top = e->up;
    trace_top = e->top, axes_bound = e->bound;
    loc_set(e->loc);
    arena_use(e->saved);
    arena_drop(e->arena);
    kept_trim(PROGRAMS);
    if (!e->up)
        kept_trim(GRAPHS);                      /* nothing reads one any more */
    hd_fn *doomed = e->doomed;
    pthread_mutex_unlock(&front_lock);
    for (hd_fn *next; doomed; doomed = next) {
        next = doomed->later;
        hd_forget_n(doomed);
    }
}

/* ==================== the table */

static hd_fn **table;
static size_t table_cap, table_count;

static bool same(const hd_fn *f, const FnKey *k, const void *env, size_t size, uint64_t hash)
{
    return f->hash == hash && f->size == size && !memcmp(&f->key, k, sizeof *k) &&
           (!size || !memcmp(f->env, env, size));
}

static int table_grow(void)
{
    size_t cap = table_cap ? 2 * table_cap : 64;
    hd_fn **t = calloc(cap, sizeof *t);
    if (!t)
        return error_set(E_NOMEM, "out of host memory");
    for (size_t i = 0; i < table_cap; i++)
        for (hd_fn *f = table[i], *next; f; f = next) {
            next = f->next;
            f->next = t[f->hash & (cap - 1)], t[f->hash & (cap - 1)] = f;
        }
    free(table);
    table = t, table_cap = cap;
    return 0;
}

/* ==================== the end of functions. Records are reused only after many others */

enum { GRAVES = 1024 };
static hd_fn *grave[GRAVES];
static size_t buried;

static void bury(hd_fn *f)
{
    hd_fn **at = &table[f->hash & (table_cap - 1)];
    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
    table_count--;
    if (f->key.inner)
        *(f->before ? &f->before->after : &f->key.inner->made) = f->after;
    if (f->after)
        f->after->before = f->before;
    kept_forget(f);
    free(f->env);
    f->env = NULL;
    f->dead = true;
    free(grave[buried % GRAVES]);
    grave[buried++ % GRAVES] = f;
}

/* A function whose rule this is. */
static hd_fn *ruled(const hd_fn *f)
{
    for (size_t k = 0; f->rules && k < table_cap; k++)
        for (hd_fn *g = table[k]; g; g = g->next)
            if (g->key.rule == f || g->key.bwd == f || g->key.push == f)
                return g;
    return NULL;
}

static bool memo_gone(const Kept *k) { return rule_dead(((const Memo *)k)->traced->g); }

/* All that was made of it first, and graphs in which it is a rule. */
static void fn_end(hd_fn *f)
{
    bool rules = false;
    f->back = NULL;
    for (hd_fn *g = f, *next; !f->dead; g = next) {
        if ((next = g->made ? g->made : ruled(g))) {
            next->back = g;
            continue;
        }
        next = g->back;
        rules |= g->rules;
        bury(g);
    }
    if (rules)
        kept_sweep(GRAPHS, memo_gone);
}

void fns_end(hd_fn *list)
{
    lock();
    for (hd_fn *next; list; list = next) {
        next = list->beside;
        fn_end(list);
    }
    pthread_mutex_unlock(&front_lock);
}

void hd_forget_n(hd_fn *f)
{
    if (!f || process_usable())
        return;
    lock();
    bool ends = !f->dead && !f->key.owner && !entry_top;
    void (*drop)(void *) = ends ? f->drop : NULL;
    void *payload = f->payload;
    if (ends)
        fn_end(f);
    else if (!f->dead && !f->key.owner && !f->doomed) {
        Entry *outermost = entry_top;
        while (outermost->up)
            outermost = outermost->up;
        f->doomed = true, f->later = outermost->doomed, outermost->doomed = f;
    }
    pthread_mutex_unlock(&front_lock);
    if (drop)
        drop(payload);
}

int64_t hd_program_limit(int64_t programs)
{
    if (process_usable())
        return 0;
    lock();
    int64_t before = kept_limit(programs);
    kept_trim(PROGRAMS);
    if (!entry_top)
        kept_trim(GRAPHS);
    pthread_mutex_unlock(&front_lock);
    return before;
}

int fn_ended(const hd_fn *f)
{
    if (!f->dead)
        return 0;
    const char *name = f->text ? f->text : "another", *file = f->loc.file ? f->loc.file : "?";
    return f->key.owner ?
        error_set(E_TRACE, "the function made of %s at %s:%d has ended with the trace it was made in", name,
            file, f->loc.line) :
        error_set(E_INVAL, "the function made of %s was forgotten: make it again", name);
}

static hd_fn *fn_new(const FnKey *k, const void *env, size_t size, const char *text, uint64_t hash)
{
    hd_fn *f = calloc(1, sizeof *f);
    void *copy = size ? malloc(size) : NULL;
    if (!f || (size && !copy)) {
        free(f), free(copy);
        error_set(E_NOMEM, "out of host memory");
        return NULL;
    }
    if (size)
        memcpy(copy, env, size);
    *f = (hd_fn){ .key = *k, .env = copy, .size = size, .text = text, .loc = loc_here(), .hash = hash };
    return f;
}

/* Into the table, the list of its trace, the list of what is made of the inner function. */
static void enter(hd_fn *f)
{
    hd_fn **slot = &table[f->hash & (table_cap - 1)], *inner = f->key.inner;
    f->next = *slot, *slot = f;
    table_count++;
    if (f->key.owner) {
        Trace *t = trace_owning(f->key.owner);
        f->beside = t->made, t->made = f;
    }
    if (!inner)
        return;
    if ((f->after = inner->made))
        inner->made->before = f;
    inner->made = f;
}

hd_fn *fn_make(const FnKey *k, const void *env, size_t size, const char *text)
{
    uint64_t hash = hash_bytes(env, size, hash_bytes(k, sizeof *k, 0));
    hd_fn *f = NULL;
    if (process_usable())
        return NULL;
    lock();
    hd_fn *const of[] = { k->inner, k->rule, k->bwd, k->push };
    bool alive = true;
    for (int i = 0; i < 4; i++)
        alive = alive && (!of[i] || !fn_ended(of[i]));
    if (alive && (2 * table_count < table_cap || !table_grow())) {
        for (f = table[hash & (table_cap - 1)]; f && !same(f, k, env, size, hash); f = f->next)
            ;
        if (!f && (f = fn_new(k, env, size, text, hash)))
            enter(f);
        for (int i = 1; f && i < 4; i++)
            if (of[i])
                of[i]->rules = true;
    }
    pthread_mutex_unlock(&front_lock);
    return f;
}

/* ==================== making them */

enum { CALLBACK = 200 };                        /* the shape of hd_function; others are those of HD_SHAPE_ */

/* The name in what the macros wrote down: "predict, .in_axes = { HD_NONE, 0 }" is predict, and so is what
 * its own macro makes of the name of an op, "(hd_at_(file, line, (void (*)(void))hd_sin), hd_sin)". */
static const char *name_in(const char *text)
{
    char b[64];
    size_t n = 0;
    int depth = 0;
    const char *op = text && !strncmp(text, "(hd_at_(", 8) ? strstr(text, "), ") : NULL;
    text = op ? op + 3 : text;
    for (; text && text[n] && n < sizeof b - 1 && (depth || text[n] != ',') && (depth || text[n] != ')');
         n++) {
        depth += (text[n] == '(') - (text[n] == ')');
        b[n] = text[n];
    }
    while (n && b[n - 1] == ' ')
        n--;
    b[n] = 0;
    return intern(n ? b : "a function");
}

/* The trace that a function over f ends with, if f does. */
static uint32_t owner_over(const hd_fn *f)
{
    return f->key.owner && trace_top ? trace_top->owner : 0;
}

FnKey fn_key(FnKind kind, hd_fn *inner)
{
    FnKey k;
    memset(&k, 0, sizeof k);                    /* keys are compared as bytes */
    k.kind = kind, k.inner = inner;
    k.owner = inner ? owner_over(inner) : 0;
    return k;
}

hd_fn *hd_function_(int shape, uintptr_t f, const char *text, const void *env, size_t size)
{
    if (shape == 1000)
        return fn_in("a call or a transform", (hd_fn *)f) ? (hd_fn *)f : NULL;
    PLACE(hd_function_);
    error_begin();
    if (process_usable())
        return NULL;
    bool bound = shape >= 99 && shape <= 108, known = bound || (shape >= -1 && shape <= 8);
    if (!f || !known || (size && !env)) {
        error_set(E_INVAL, !f ? "a function is NULL" : !known ? "%d is no shape of a function" :
                  "hd_bind: what is bound is NULL", shape);
        return NULL;
    }
    FnKey k = fn_key(FN_USER, NULL);
    k.shape = shape, k.f = f, k.code = code_of(f);
    if (!k.code) {
        error_set(E_INVAL,
            "%s lies in no loaded program or library: a function that is made while the program runs, "
            "as callbacks of other languages are, is made known by hd_function",
            name_in(text));
        return NULL;
    }
    if (size && trace_top)
        k.owner = trace_top->owner;
    return fn_make(&k, env, size, name_in(text));
}

hd_fn *hd_function(hd_callback *f, void *payload, void (*drop)(void *payload), const char *name)
{
    static _Atomic uint64_t made;
    error_begin();
    if (!f)
        return error_set(E_INVAL, "hd_function: the function is NULL"), NULL;
    FnKey k = fn_key(FN_USER, NULL);
    k.shape = CALLBACK, k.f = (uintptr_t)f, k.code = ++made;
    hd_fn *g = fn_make(&k, NULL, 0, name_in(name));
    if (g)
        g->payload = payload, g->drop = drop;
    return g;
}

const char *fn_name(const hd_fn *f)
{
    while (f->key.inner)
        f = f->key.inner;
    return f->text;
}

hd_fn *hd_partial_n(hd_fn *f, const hd *args, int n)
{
    OP(hd_partial_n);
    if (!fn_in("hd_partial", f) || !tracing())
        return NULL;
    if ((n = sym_count("hd_partial", args, n)) < 0)
        return NULL;
    for (int i = 0; i < n; i++)
        if (args[i].trace ? !sym_usable(args[i]) : error_pending())
            return NULL;
    FnKey k = fn_key(FN_PARTIAL, f);
    k.owner = trace_top->owner;
    return fn_make(&k, args, sizeof *args * (size_t)n, f->text);
}

hd_fn *hd_parse(const char *text, const char *name)
{
    OP(hd_parse);
    Entry e;
    error_begin();
    if (!text)
        return error_set(E_INVAL, "hd_parse: the text is NULL"), NULL;
    if (entry_begin(&e))
        return NULL;
    FnKey k = fn_key(FN_PARSED, NULL);
    Graph *g = graph_parse(text, name ? name : "text");
    hd_fn *f =
        g && !graph_check(g) ? fn_make(&k, text, strlen(text) + 1, intern(name ? name : "text")) : NULL;
    entry_end(&e);
    return f;
}

/* ==================== transforms: options into keys */

static bool bad_list(const char *what, hd_ints a)
{
    Ints ignored;
    return ints_in(what, a, &ignored) != 0;
}

hd_fn *hd_jit_n(hd_fn *f, const hd_jit_opts *o)
{
    OP(hd_jit_n);
    OPTIONS(hd_jit_opts, o);
    if (!fn_in("hd_jit", f))
        return NULL;
    error_begin();
    FnKey k = fn_key(FN_JIT, f);
    if (bad_list("hd_jit: .donate", o->donate))
        return NULL;
    k.device = intern(o->device);
    k.donate = o->donate;
    return fn_make(&k, NULL, 0, f->text);
}

hd_fn *hd_checkpoint_n(hd_fn *f, const hd_checkpoint_opts *o)
{
    OP(hd_checkpoint_n);
    OPTIONS(hd_checkpoint_opts, o);
    if (!fn_in("hd_checkpoint", f))
        return NULL;
    error_begin();
    FnKey k = fn_key(FN_CHECKPOINT, f);
    if (o->save && !strcmp(o->save, "everything"))
        return f;
    k.save = o->save && o->save[0] && strcmp(o->save, "nothing") ? intern(o->save) : NULL;
    return fn_make(&k, NULL, 0, f->text);
}

/* The place of the axis: its devices, and whether they get what suits their speed (place_balanced). */
static const char *place_text(const hd_vmap_opts *o)
{
    Text t = { 0 };
    text_add(&t, "%s%s", o->balance ? "balanced " : "", o->devices ? o->devices : "");
    const char *s = intern(t.s);                /* NULL: there was no memory for it */
    text_free(&t);
    return s;
}

static hd_fn *mapped(FnKind kind, hd_fn *f, const hd_vmap_opts *o)
{
    const char *what = kind == FN_PMAP ? "hd_pmap" : "hd_vmap";
    OPTIONS(hd_vmap_opts, o);
    if (!fn_in(what, f))
        return NULL;
    error_begin();
    if (o->axis_size < 0) {
        error_set(
            E_INVAL, "%s: .axis_size is %lld: it is the number of lanes", what, (long long)o->axis_size);
        return NULL;
    }
    if (o->devices && kind == FN_VMAP) {
        error_set(E_INVAL, "hd_vmap: .devices is \"%s\": hd_pmap is what runs over devices", o->devices);
        return NULL;
    }
    if (o->balance && kind == FN_VMAP) {
        error_set(E_INVAL, "hd_vmap: .balance is for hd_pmap, which deals lanes out to devices");
        return NULL;
    }
    FnKey k = fn_key(kind, f);
    memcpy(k.in_axes, o->in_axes, sizeof k.in_axes);
    k.out_axes = o->out_axes;
    k.in_tree = intern(o->in_tree), k.out_tree = intern(o->out_tree);
    k.axis_size = o->axis_size;
    k.axis_name = intern(o->axis_name);
    if (kind == FN_PMAP && !(k.device = place_text(o)))
        return NULL;
    return fn_make(&k, NULL, 0, f->text);
}

hd_fn *hd_vmap_n(hd_fn *f, const hd_vmap_opts *o) { OP(hd_vmap_n); return mapped(FN_VMAP, f, o); }
hd_fn *hd_pmap_n(hd_fn *f, const hd_vmap_opts *o) { OP(hd_pmap_n); return mapped(FN_PMAP, f, o); }

static hd_fn *derivative(FnKind kind, hd_fn *f, const hd_grad_opts *o, bool value)
{
    OPTIONS(hd_grad_opts, o);
    if (!fn_in("a derivative", f))
        return NULL;
    error_begin();
    FnKey k = fn_key(kind, f);
    if (bad_list("argnums", o->argnums))
        return NULL;
    k.argnums = o->argnums;
    k.aux = o->has_aux, k.holomorphic = o->holomorphic;
    k.value = value;
    return fn_make(&k, NULL, 0, f->text);
}

hd_fn *hd_grad_n(hd_fn *f, const hd_grad_opts *o) { OP(hd_grad_n); return derivative(FN_GRAD, f, o, false); }
hd_fn *hd_value_and_grad_n(hd_fn *f, const hd_grad_opts *o)
{
    OP(hd_value_and_grad_n);
    return derivative(FN_GRAD, f, o, true);
}

hd_fn *hd_jacfwd_n(hd_fn *f, const hd_grad_opts *o)
{
    OP(hd_jacfwd_n);
    return derivative(FN_JACFWD, f, o, false);
}
hd_fn *hd_jacrev_n(hd_fn *f, const hd_grad_opts *o)
{
    OP(hd_jacrev_n);
    return derivative(FN_JACREV, f, o, false);
}

hd_fn *hd_hessian_n(hd_fn *f, const hd_grad_opts *o)
{
    OP(hd_hessian_n);
    return derivative(FN_JACFWD, derivative(FN_JACREV, f, o, false), o, false);
}

static hd_fn *directional(FnKind kind, hd_fn *f, bool bare)
{
    if (!fn_in("a derivative", f))
        return NULL;
    error_begin();
    FnKey k = fn_key(kind, f);
    k.bare = bare;
    return fn_make(&k, NULL, 0, f->text);
}

hd_fn *hd_jvp_n(hd_fn *f) { OP(hd_jvp_n); return directional(FN_JVP, f, false); }
hd_fn *hd_vjp_n(hd_fn *f) { OP(hd_vjp_n); return directional(FN_VJP, f, false); }
hd_fn *hd_linearize_n(hd_fn *f) { OP(hd_linearize_n); return directional(FN_LINEARIZE, f, false); }
hd_fn *hd_linearized_n(hd_fn *f) { OP(hd_linearized_n); return directional(FN_LINEARIZED, f, false); }
hd_fn *hd_linear_transpose_n(hd_fn *f) { OP(hd_linear_transpose_n); return directional(FN_VJP, f, true); }

/* ==================== calling a C function */

static hd call_plain(uintptr_t p, const hd *a, int n)
{
    switch (n) {
    case 0: return ((hd (*)(void))p)();
    case 1: return ((hd (*)(hd))p)(a[0]);
    case 2: return ((hd (*)(hd, hd))p)(a[0], a[1]);
    case 3: return ((hd (*)(hd, hd, hd))p)(a[0], a[1], a[2]);
    case 4: return ((hd (*)(hd, hd, hd, hd))p)(a[0], a[1], a[2], a[3]);
    case 5: return ((hd (*)(hd, hd, hd, hd, hd))p)(a[0], a[1], a[2], a[3], a[4]);
    case 6: return ((hd (*)(hd, hd, hd, hd, hd, hd))p)(a[0], a[1], a[2], a[3], a[4], a[5]);
    case 7: return ((hd (*)(hd, hd, hd, hd, hd, hd, hd))p)(a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
    default:
        return ((hd(*)(hd, hd, hd, hd, hd, hd, hd, hd))p)(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
    }
}

/* void * and const void * are passed alike. */
static hd call_bound(uintptr_t p, const hd *a, int n, void *e)
{
    switch (n) {
    case 0: return ((hd (*)(void *))p)(e);
    case 1: return ((hd (*)(hd, void *))p)(a[0], e);
    case 2: return ((hd (*)(hd, hd, void *))p)(a[0], a[1], e);
    case 3: return ((hd (*)(hd, hd, hd, void *))p)(a[0], a[1], a[2], e);
    case 4: return ((hd (*)(hd, hd, hd, hd, void *))p)(a[0], a[1], a[2], a[3], e);
    case 5: return ((hd (*)(hd, hd, hd, hd, hd, void *))p)(a[0], a[1], a[2], a[3], a[4], e);
    case 6: return ((hd (*)(hd, hd, hd, hd, hd, hd, void *))p)(a[0], a[1], a[2], a[3], a[4], a[5], e);
    case 7:
        return ((hd(*)(hd, hd, hd, hd, hd, hd, hd, void *))p)(a[0], a[1], a[2], a[3], a[4], a[5], a[6], e);
    default:
        return ((hd(*)(hd, hd, hd, hd, hd, hd, hd, hd, void *))p)(
            a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], e);
    }
}

static hd call_back(const hd_fn *f, const hd *a, int n)
{
    hd y = HD_NIL;
    int e = ((hd_callback *)f->key.f)(&y, a, n, f->payload);
    if (e && !error_pending())
        error_set(e > E_OK && e <= E_INTERNAL ? (Code)e : E_INVAL, "%s returned %d", f->text, e);
    return e ? HD_NIL : y;
}

hd fn_call(const hd_fn *f, const hd *a, int n)
{
    if (f->key.shape == CALLBACK)
        return call_back(f, a, n);
    if (code_of(f->key.f) != f->key.code) {
        error_set(E_INVAL, "%s was in a library that has been closed: hd_forget its functions before that",
            f->text);
        return HD_NIL;
    }
    int shape = f->key.shape, want = shape >= 100 ? shape - 100 : shape;
    void *env = f->size ? arena_copy(f->env, f->size) : NULL;   /* the function may write to its copy */
    if (shape == -1)
        return ((hd (*)(const hd *, int))f->key.f)(a, n);
    if (shape == 99)
        return ((hd (*)(const hd *, int, void *))f->key.f)(a, n, env);
    if (want != n) {
        error_set(E_INVAL, "%s takes %d argument%s, not %d", f->text, want, want == 1 ? "" : "s", n);
        return HD_NIL;
    }
    return shape < 99 ? call_plain(f->key.f, a, n) : call_bound(f->key.f, a, n, env);
}

/* ==================== graphs by argument types */

static bool pure(const Traced *t)
{
    for (int i = 0; i < t->ncap; i++)
        if (!t->cap[i].data)
            return false;
    return true;
}

static void memo_free(Kept *k)
{
    Memo *m = (Memo *)k;
    for (int i = 0; i < m->traced->ncap && m->arena; i++)
        store_drop(m->traced->cap[i].data);
    arena_drop(m->arena);
    free(m);
}

/* What the axes around are called is part of what a function was traced for. */
static const char *axes_around(void) { return axes_bound ? axes_bound->all : NULL; }

static bool memo_fits(const Kept *k, const void *args)
{
    const Memo *m = (const Memo *)k;
    return m->axes == axes_around() && tree_equal(m->traced->in, args);
}

/* Keeps a graph beside its function: its own copy, and the data it captured. */
static const Traced *remember(hd_fn *f, const Traced *t, uint64_t hash)
{
    Trace *owner = f->key.owner ? trace_owning(f->key.owner) : NULL;
    Arena *a = owner ? owner->arena : f->key.owner ? NULL : arena_new();
    Memo *m = a ? malloc(sizeof *m) : NULL;
    if (!m) {                                   /* no memory to remember it, or made elsewhere */
        arena_drop(owner ? NULL : a);
        return t;
    }
    Arena *saved = arena_use(a);
    Traced *c = NEW(Traced);
    *c = (Traced){ graph_clone(t->g), arena_copy(t->cap, sizeof *t->cap * (size_t)t->ncap), t->ncap,
        tree_copy(t->in), tree_copy(t->out),
        { arena_copy(t->keys.use, sizeof *t->keys.use * (size_t)t->keys.n), t->keys.n } };
    arena_use(saved);
    if (error_pending()) {                      /* memory ended on the way: a copy of a part */
        arena_drop(owner ? NULL : a);
        free(m);
        return NULL;
    }
    for (int i = 0; i < c->ncap && !owner; i++)
        store_keep(c->cap[i].data);
    *m = (Memo){ { .hash = hash, .free = memo_free }, c, owner ? NULL : a, axes_around() };
    kept_put(GRAPHS, f, &m->kept);
    return c;
}

/* What this thread is tracing and transforming, innermost first. */
typedef struct Going { const hd_fn *f; const Tree *args; int depth; const struct Going *up; } Going;
static _Thread_local const Going *going;
enum { DEEPEST = 128 };

/* A function that needs itself at the same types never ends; one that needs itself at others may, if not for
 * ever. */
static bool ends(const Going *g)
{
    for (const Going *outer = g->up; outer; outer = outer->up)
        if (outer->f == g->f && tree_equal(outer->args, g->args)) {
            error_set(E_TRACE,
                "%s applies itself to the same types again, %s, and so would never end: repeat with "
                "hd_scan, hd_fori or hd_while",
                fn_name(g->f), tree_text(g->args));
            return false;
        }
    if (g->depth > DEEPEST)
        error_set(E_TRACE,
            "functions and transforms are nested more than %d deep, here %s: repeat with hd_scan, "
            "hd_fori or hd_while",
            DEEPEST, fn_name(g->f));
    return g->depth <= DEEPEST;
}

static const Traced *traced(hd_fn *f, const Tree *args)
{
    Going here = { f, args, going ? going->depth + 1 : 1, going };
    const Traced *again = custom_again(f, args);
    if (again || !ends(&here))
        return again;
    going = &here;
    Phase before = phase_begin(f->key.kind < FN_JIT ? PHASE_TRACE : PHASE_TRANSFORM);
    const Traced *t = f->key.kind == FN_USER ? trace_user(f, args) : transform(f, args);
    phase_begin(before);
    going = here.up;
    return t;
}

const Traced *graph_of(hd_fn *f, const Tree *args)
{
    while (f && f->key.kind == FN_JIT && !f->dead)
        f = f->key.inner;
    if (!f || error_pending() || fn_ended(f))
        return NULL;
    if (f->key.kind != FN_USER && f->key.kind != FN_PARTIAL)
        args = tree_strong(args);
    const char *axes = axes_around();
    uint64_t hash = hash_bytes(&f, sizeof f, hash_bytes(&axes, sizeof axes, tree_hash(args)));
    Kept *k = kept_find(GRAPHS, f, hash, memo_fits, args);
    kept_drop(k);                               /* the shelf keeps it until this entry is over */
    const Traced *t = k ? ((Memo *)k)->traced : traced(f, args);
    return t && !k && pure(t) ? remember(f, t, hash) : t;
}
