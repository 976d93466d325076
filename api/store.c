/*
 * store.c - the bytes of arrays: on the host, on a device, or in shards on several.
 *
 * A store's bytes lie in host memory until a device first uses them; then they belong to it. Shards are
 * equal shares, or copies, by a layout; what several devices computed stays where it is until somebody wants
 * it whole, elsewhere, or in another layout. Then only what a part of the new layout has in common with one
 * of the old is read: by the device that wants it, where it is near all that have it, else by way of the
 * host.
 */
#include "api.h"
#include "ranks.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* ==================== making and dropping */

Store *store_new(size_t bytes, void *host, Mem *mem)
{
    Store *s = malloc(sizeof *s);
    if (!s) {
        free(host);
        if (mem)
            mem_drop(mem);
        no_memory(sizeof *s);
        return NULL;
    }
    *s = (Store){ .refs = 1, .bytes = bytes, .host = host, .mem = mem };
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

Store *store_keep(Store *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void store_drop(Store *s)
{
    if (!s || atomic_fetch_sub(&s->refs, 1) > 1)
        return;
    mem_drop(s->mem);
    shards_drop(s->shards);
    if (!s->lent || !lent_kept(s->host, s->bytes))
        free(s->host);
    free(s->used);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

Shards *shards_new(const Sharding *l)
{
    size_t n = (size_t)mesh_shards(&l->mesh);
    Shards *s = calloc(1, sizeof *s + n * sizeof *s->mem);
    if (!s)
        no_memory(sizeof *s + n * sizeof *s->mem);
    else
        s->sharding = *l, s->n = (int)n;
    return s;
}

void shards_drop(Shards *s)
{
    for (int k = 0; s && k < s->n; k++)
        mem_drop(s->mem[k]);
    free(s);
}

Store *store_sharded(Shards *shards)
{
    bool whole = shards != NULL;
    for (int k = 0; whole && k < shards->n; k++)
        whole = shards->mem[k];
    Store *s = whole ? store_new(type_bytes(&shards->sharding.type), NULL, NULL) : NULL;
    if (s)
        s->shards = shards;
    else
        shards_drop(shards);
    return s;
}

/* ==================== questions */

Device *store_device(Store *s)
{
    if (process_usable())
        return NULL;
    pthread_mutex_lock(&s->lock);
    const Shards *p = s->shards;
    Device *d = s->mem ? s->mem->device : p && p->n == 1 && !p->ranks ? p->mem[0]->device : NULL;
    pthread_mutex_unlock(&s->lock);
    return d;
}

const char *store_places(Store *s)
{
    Device *d = store_device(s), *before = NULL;
    Text t = { 0 };
    char label[64];
    const Shards *p = s->shards;
    bool one = p && p->n == 1 && p->ranks;      /* of them, and called so in all */
    if (d || (p && sharding_same(&p->sharding) && !p->sharding.of && !one))
        return (d ? d : p->mem[0]->device)->info.name;
    for (int k = 0; p && k < p->n; k++) {
        const Device *own = p->mem[k]->device;
        if (own != before)
            text_add(&t, "%s%s", before ? "," : "",
                p->ranks ? device_label(own, label, sizeof label) : own->info.name);
        before = p->mem[k]->device;
    }
    const char *all = intern(t.s ? t.s : "");
    text_free(&t);
    return all ? all : "";
}

static int wait_shards(const Shards *s)
{
    int e = 0;
    for (int k = 0; k < s->n && !e; k++)
        e = s->mem[k]->device->backend->wait(s->mem[k]);
    return e;
}

int store_wait(Store *s)
{
    if (process_usable())
        return (int)error_code();
    if (s->mem)
        return s->mem->device->backend->wait(s->mem);
    return s->shards ? wait_shards(s->shards) : 0;
}

bool store_ready(Store *s)
{
    bool ready = process_usable() || !s->mem || s->mem->device->backend->ready(s->mem);
    for (int k = 0; s->shards && k < s->shards->n && ready; k++)
        ready = s->shards->mem[k]->device->backend->ready(s->shards->mem[k]);
    return ready;
}

/* ==================== what lies on other ranks */

/* Is it the first of those that have the same part? */
static bool original(const Sharding *l, int64_t shard)
{
    bool first = true;
    for (int a = 0; a < l->mesh.naxis; a++)
        first = first && (l->spec.over[a] >= 0 || !mesh_place(&l->mesh, a, shard));
    return first;
}

/* A memory on this device that is this part already, or NULL. */
static Mem *there(const Store *s, const Part *p, const Device *d)
{
    for (int k = 0; s->shards && k < s->shards->n; k++) {
        Part have = part_of(&s->shards->sharding, k);
        if (s->shards->mem[k]->device == d && part_equal(&s->shards->sharding.type, &have, p))
            return s->shards->mem[k];
    }
    return NULL;
}

/* The same list in all ranks, of each part its first memory. */
static int bring(Shards *p)
{
    Mem **list = calloc((size_t)p->n + 1, sizeof *list);
    int n = 0;
    if (!list)
        return no_memory(sizeof *list * (size_t)p->n), (int)E_NOMEM;
    for (int k = 0; k < p->n; k++)
        if (original(&p->sharding, k))
            list[n++] = p->mem[k];
    int e = ranks_gather(n, list, NULL);
    free(list);
    return e;
}

int store_bring(Store *s)
{
    Shards *p = s->shards;
    if (!p || !p->ranks || p->here || p->brought || s->host)
        return 0;
    if (callback_runs())
        return error_set(
            E_DEVICE, "in a callback, an array that lies on several ranks cannot be read: read it before");
    bool own = !ranks_inside();
    char what[120];
    snprintf(what, sizeof what, "the reading of an array of %zu bytes in %d shards", s->bytes, p->n);
    int e = own ? ranks_enter(what, hash_bytes(what, strlen(what), 0)) : 0;
    if (e)
        return e;
    e = bring(p);
    e = own ? ranks_leave(e) : e;
    p->brought = !e;
    if (own)
        store_settle(s, !e);
    return e;
}

/* In all ranks, or in none: then each asks for it again. */
void store_settle(Store *s, bool well)
{
    Shards *p = s->shards;
    if (!p || !p->brought)
        return;
    p->here = well, p->brought = false;
}

bool store_lies(const Store *s, const Sharding *l, Device *const *device)
{
    bool lies = s->shards != NULL;
    for (int64_t k = 0; lies && k < mesh_shards(&l->mesh); k++) {
        Part part = part_of(l, k);
        lies = there(s, &part, device[k]) != NULL;
    }
    return lies;
}

/* ==================== bytes from one place to another */

Mem *mem_with(Device *d, const void *bytes, size_t n)
{
    Mem *m = NULL;
    if (d->backend->alloc(d, n ? n : 1, &m))
        return NULL;
    if (n && d->backend->write(m, 0, bytes, n)) {
        mem_drop(m);
        return NULL;
    }
    return m;
}

/* Bytes of a memory from a place on; of none it is waited for. */
static int bytes_of(Mem *m, size_t at, void *dst, size_t n)
{
    return n ? m->device->backend->read(m, at, dst, n) : m->device->backend->wait(m);
}

/* What a part of an array, which lies in a memory or on the host, has of another. */
static int part_from(const Type *t, const Part *from, Mem *m, const char *host, const Part *to, void *dst)
{
    size_t at, n;
    if (!part_cover(t, from, to, &at, &n))
        return 0;
    void *between = host ? NULL : malloc(n);
    if (!host && !between)
        return no_memory(n);
    int e = host ? 0 : bytes_of(m, at, between, n);
    if (!e)
        part_copy(t, from, to, host ? host + at : between, dst);
    free(between);
    return e;
}

/* A part of what is in shards, put together. With the lock held. */
static int part_of_shards(const Shards *s, const Part *to, void *dst)
{
    const Type *t = &s->sharding.type;
    int e = type_size(t) ? 0 : wait_shards(s);
    for (int k = 0; k < s->n && !e; k++) {
        Part from = part_of(&s->sharding, k);
        if (!original(&s->sharding, k))
            continue;
        if (part_equal(t, &from, to))
            return bytes_of(s->mem[k], 0, dst, part_bytes(t, to));
        e = part_from(t, &from, s->mem[k], NULL, to, dst);
    }
    return e;
}

/* A part of an array of this type. With the lock held. */
static int part_of_store(Store *s, const Type *t, const Part *to, void *dst)
{
    Part whole = part_whole(t);
    if (s->host || s->mem)
        return part_from(t, &whole, s->mem, s->host, to, dst);
    return part_of_shards(s->shards, to, dst);
}

static int whole_of_store(Store *s, void *dst)
{
    if (s->host && s->bytes)
        memcpy(dst, s->host, s->bytes);
    if (s->host || s->mem)
        return s->host ? 0 : bytes_of(s->mem, 0, dst, s->bytes);
    Part whole = part_whole(&s->shards->sharding.type);
    return part_of_shards(s->shards, &whole, dst);
}

/* ---- from device to device */

/* What goes in more pieces is put together on the host: each is a command. */
enum { PIECES = 256, LISTS = 64 };
typedef struct Copies { Strided what[LISTS]; Mem *from[LISTS]; int n; size_t pieces; } Copies;

/* What this memory has of a part. false: it is not near, or in too many pieces. */
static bool add_copies(Copies *c, const Type *t, const Part *have, Mem *m, const Part *to, const Device *d)
{
    int n = part_strided(t, have, to, c->what + c->n, LISTS - c->n);
    if (n > LISTS - c->n || (n && !devices_near(m->device, d)))
        return false;
    for (int k = 0; k < n; k++) {
        c->pieces += c->what[c->n].n;
        c->from[c->n++] = m;
    }
    return c->pieces <= PIECES;
}

/* All that makes up a part. */
static bool find_copies(Copies *c, const Store *s, const Type *t, const Part *to, const Device *d)
{
    const Shards *p = s->shards;
    Part whole = part_whole(t);
    bool near = !s->host && type_size(t);
    if (s->mem)
        return near && add_copies(c, t, &whole, s->mem, to, d);
    for (int k = 0; p && k < p->n && near; k++) {
        Part have = part_of(&p->sharding, k);
        near = !original(&p->sharding, k) || add_copies(c, t, &have, p->mem[k], to, d);
    }
    return near && p;
}

static Mem *copied(const Copies *c, Device *d, size_t bytes)
{
    Mem *m = NULL;
    int e = d->backend->alloc(d, bytes, &m);
    for (int k = 0; k < c->n && !e; k++)
        e = d->backend->copy(m, c->from[k], &c->what[k]);
    if (!e)
        return m;
    mem_drop(m);
    return NULL;
}

static Mem *share_moved(Store *s, const Type *t, const Part *p, Device *d)
{
    Part whole = part_whole(t);
    size_t n = part_bytes(t, p), at, cover;
    Copies near = { .n = 0 };
    if (find_copies(&near, s, t, p, d))
        return copied(&near, d, n);
    if (s->host && part_cover(t, &whole, p, &at, &cover) && cover == n)
        return mem_with(d, (const char *)s->host + at, n);
    Mem *m = NULL;
    void *copy = malloc(n ? n : 1);
    if (!copy)
        no_memory(n);
    else if (!part_of_store(s, t, p, copy))
        m = mem_with(d, copy, n);
    free(copy);
    return m;
}

Mem *store_share(Store *s, const Sharding *l, int k, Device *d)
{
    Part p = part_of(l, k);
    size_t n = part_bytes(&l->type, &p);
    Mem *m;
    if (process_usable())
        return NULL;
    if (device_far(d))
        return far_mem(d, n);
    pthread_mutex_lock(&s->lock);
    Mem *have = s->mem && s->mem->device == d && n == s->bytes ? s->mem : there(s, &p, d);
    m = have ? mem_keep(have) : share_moved(s, &l->type, &p, d);
    pthread_mutex_unlock(&s->lock);
    return m;
}

/* What a shard before this one has of the same part on the same device, or NULL. */
static Mem *same_share(const Shards *p, int shard, const Device *d)
{
    Part want = part_of(&p->sharding, shard);
    for (int k = 0; k < shard; k++) {
        Part have = part_of(&p->sharding, k);
        if (p->mem[k]->device == d && part_equal(&p->sharding.type, &have, &want))
            return p->mem[k];
    }
    return NULL;
}

Store *store_dealt(Store *s, const Sharding *l, Device *const *device, bool ranks)
{
    Shards *p = store_bring(s) ? NULL : shards_new(l);
    bool whole = p != NULL;
    if (p)
        p->ranks = ranks;
    for (int k = 0; whole && k < p->n; k++) {
        Mem *have = same_share(p, k, device[k]);
        whole = (p->mem[k] = have ? mem_keep(have) : store_share(s, l, k, device[k]));
    }
    return store_sharded(p);
}

/* A copy of the whole on this device, or NULL. */
static Mem *copy_on(const Store *s, const Device *d)
{
    Part whole = s->shards ? part_whole(&s->shards->sharding.type) : (Part){ 0 };
    return s->shards ? there(s, &whole, d) : NULL;
}

static Mem *moved(Store *s, Device *d)
{
    Mem *m = NULL;
    const int64_t bytes = (int64_t)s->bytes;
    const Type t = s->shards ? s->shards->sharding.type : type_of(DT_U8, 1, &bytes);
    const Part whole = part_whole(&t);
    Copies near = { .n = 0 };
    if (find_copies(&near, s, &t, &whole, d))
        return copied(&near, d, s->bytes);
    void *copy = malloc(s->bytes ? s->bytes : 1);
    if (!copy)
        no_memory(s->bytes);
    else if (!whole_of_store(s, copy))
        m = mem_with(d, copy, s->bytes);
    free(copy);
    return m;
}

Mem *store_on(Store *s, Device *d, bool place)
{
    Mem *m = NULL;
    if (process_usable() || store_bring(s))
        return NULL;
    pthread_mutex_lock(&s->lock);
    if (s->mem && s->mem->device == d) {
        m = mem_keep(s->mem);
    } else if (copy_on(s, d)) {
        m = mem_keep(copy_on(s, d));
    } else if (s->host) {
        m = mem_with(d, s->host, s->bytes);
        if (m && place && !s->mem) {
            s->mem = mem_keep(m);
            if (!s->lent)
                free(s->host), s->host = NULL;
        }
    } else {
        m = moved(s, d);
    }
    pthread_mutex_unlock(&s->lock);
    return m;
}

int store_read(Store *s, void *dst)
{
    int e = 0;
    if (process_usable() || store_bring(s))
        return (int)error_code();
    pthread_mutex_lock(&s->lock);
    e = whole_of_store(s, dst);
    pthread_mutex_unlock(&s->lock);
    return e;
}

const void *store_host(Store *s)
{
    const void *p = NULL;
    if (process_usable() || store_bring(s))
        return NULL;
    pthread_mutex_lock(&s->lock);
    bool late = s->mem && !s->host && s->mem->device->backend->wait(s->mem);
    if (s->mem && !s->host && !late)
        p = s->mem->device->backend->map(s->mem);
    if (!s->host && !p && !late) {
        void *own = malloc(s->bytes ? s->bytes : 1);
        if (!own)
            no_memory(s->bytes);
        else if (whole_of_store(s, own))
            free(own);
        else
            s->host = own;
    }
    if (s->host)
        s->lent = true, p = s->host;
    pthread_mutex_unlock(&s->lock);
    return p;
}

