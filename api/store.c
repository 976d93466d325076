/*
 * store.c - the bytes of arrays: on the host, on a device, or in shards on several.
 *
 * A store's bytes lie in host memory until a device first uses them; then they belong to it. Shards are equal shares along the
 * first axis, or copies; what several devices computed stays where it is until somebody wants it whole, elsewhere, or in other
 * shares.
 */
#include "api.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static void no_memory(size_t bytes)
{
    error_set(E_NOMEM, "out of host memory: %zu bytes", bytes);
}

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
    for (int k = 0; k < s->nshard; k++)
        mem_drop(s->shard[k]);
    free(s->shard);
    if (!s->lent || !lent_kept(s->host, s->bytes))
        free(s->host);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

Store *store_shards(size_t bytes, int n, Mem **m, bool same, bool whole)
{
    Store *s = whole ? store_new(bytes, NULL, NULL) : NULL;
    for (int k = 0; !s && k < n; k++)
        mem_drop(m[k]);
    if (s)
        s->shard = m, s->nshard = n, s->same = same;
    else
        free(m);
    return s;
}

/* ==================== questions */

Device *store_device(Store *s)
{
    if (process_usable())
        return NULL;
    pthread_mutex_lock(&s->lock);
    Device *d = s->mem ? s->mem->device : s->nshard == 1 ? s->shard[0]->device : NULL;
    pthread_mutex_unlock(&s->lock);
    return d;
}

const char *store_places(Store *s)
{
    Device *d = store_device(s), *before = NULL;
    Text t = { 0 };
    if (d || s->same)
        return (d ? d : s->shard[0]->device)->info.name;
    for (int k = 0; k < s->nshard; k++) {
        if (s->shard[k]->device != before)
            text_add(&t, "%s%s", before ? "," : "", s->shard[k]->device->info.name);
        before = s->shard[k]->device;
    }
    const char *all = intern(t.s ? t.s : "");
    text_free(&t);
    return all ? all : "";
}

int store_wait(Store *s)
{
    int e = 0;
    if (process_usable())
        return (int)error_code();
    if (s->mem)
        return s->mem->device->backend->wait(s->mem);
    for (int k = 0; k < s->nshard && !e; k++)
        e = s->shard[k]->device->backend->wait(s->shard[k]);
    return e;
}

bool store_ready(Store *s)
{
    bool ready = process_usable() || !s->mem || s->mem->device->backend->ready(s->mem);
    for (int k = 0; k < s->nshard && ready; k++)
        ready = s->shard[k]->device->backend->ready(s->shard[k]);
    return ready;
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

/* Bytes from a place in a store on. With the lock held; what is in several shards is put together. */
static int bytes_from(Store *s, size_t at, void *dst, size_t n)
{
    int e = 0;
    if (s->host || s->mem || s->same) {
        Mem *m = s->mem ? s->mem : s->same ? s->shard[0] : NULL;
        if (s->host && n)
            memcpy(dst, (const char *)s->host + at, n);
        return s->host ? 0 : n ? m->device->backend->read(m, at, dst, n) : m->device->backend->wait(m);
    }
    size_t row = s->bytes / (size_t)s->nshard;
    for (int k = 0; k < s->nshard && !e; k++) {
        size_t first = row * (size_t)k, from = at > first ? at : first, to = at + n < first + row ? at + n : first + row;
        Mem *m = s->shard[k];
        if (from < to)
            e = m->device->backend->read(m, from - first, (char *)dst + (from - at), to - from);
        else if (!row)
            e = m->device->backend->wait(m);
    }
    return e;
}

/* A copy of the one on this device, or NULL. */
static Mem *copy_on(const Store *s, const Device *d)
{
    for (int k = 0; s->same && k < s->nshard; k++)
        if (s->shard[k]->device == d)
            return s->shard[k];
    return NULL;
}

static Mem *moved(Store *s, size_t at, size_t n, Device *d)
{
    Mem *m = NULL;
    void *copy = malloc(n ? n : 1);
    if (!copy)
        no_memory(n);
    else if (!bytes_from(s, at, copy, n))
        m = mem_with(d, copy, n);
    free(copy);
    return m;
}

Mem *store_share(Store *s, int n, int k, Device *d)
{
    size_t row = s->bytes / (size_t)n;
    Mem *m = NULL;
    if (process_usable())
        return NULL;
    pthread_mutex_lock(&s->lock);
    if (s->nshard == n && !s->same && s->shard[k]->device == d)
        m = mem_keep(s->shard[k]);
    else if (s->host)
        m = mem_with(d, (const char *)s->host + row * (size_t)k, row);
    else
        m = moved(s, row * (size_t)k, row, d);
    pthread_mutex_unlock(&s->lock);
    return m;
}

Mem *store_on(Store *s, Device *d, bool place)
{
    Mem *m = NULL;
    if (process_usable())
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
        m = moved(s, 0, s->bytes, d);
    }
    pthread_mutex_unlock(&s->lock);
    return m;
}

int store_read(Store *s, void *dst)
{
    int e = 0;
    if (process_usable())
        return (int)error_code();
    pthread_mutex_lock(&s->lock);
    e = bytes_from(s, 0, dst, s->bytes);
    pthread_mutex_unlock(&s->lock);
    return e;
}

const void *store_host(Store *s)
{
    const void *p = NULL;
    if (process_usable())
        return NULL;
    pthread_mutex_lock(&s->lock);
    bool late = s->mem && !s->host && s->mem->device->backend->wait(s->mem);
    if (s->mem && !s->host && !late)
        p = s->mem->device->backend->map(s->mem);
    if (!s->host && !p && !late) {
        void *own = malloc(s->bytes ? s->bytes : 1);
        if (!own)
            no_memory(s->bytes);
        else if (bytes_from(s, 0, own, s->bytes))
            free(own);
        else
            s->host = own;
    }
    if (s->host)
        s->lent = true, p = s->host;
    pthread_mutex_unlock(&s->lock);
    return p;
}

