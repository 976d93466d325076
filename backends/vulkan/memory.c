/*
 * memory.c - arrays in device memory: a pool, transfers.
 *
 * In:  sizes, bytes.   Out: VkMem.
 * Where the device's own memory is seen by the host (processors, integrated graphics) arrays are written and
 * read in place; elsewhere by way of a staging buffer. A memory knows the number of what ends computing it,
 * and of the last that uses it (queue.c): commands are in order anyway, so only the host waits for them.
 * Memory that nobody holds goes to a pool with its numbers, and is handed out again for the same size.
 */
#include "vk.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* ==================== transfers */

enum { STAGING = 1 << 22 };

static const VkCommandBufferUsageFlags once = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;

static bool staging(VkDev *d)                   /* with the lock held */
{
    if (!d->staging_size && vk_piece(d, STAGING, true, &d->staging))
        d->staging_size = STAGING;
    return d->staging_size && (d->stream.pool || vk_stream_new(d, &d->stream));
}

/* Bytes from buffer to buffer, of which one is the piece's; two places and a direction are the
 * parameters. */
static int through(VkDev *d, VkPiece *p, size_t at, VkBuffer other, size_t place, size_t n, bool write)
{
    VkCommandBuffer c = vk_stream_open(d, &d->stream, once);
    if (!c)
        return error_code();
    const VkBufferCopy r = { write ? place : p->at + at, write ? p->at + at : place, n };
    d->f.CmdCopyBuffer(c, write ? other : p->buffer, write ? p->buffer : other, 1, &r);
    vk_barrier(d, c);
    return vk_stream_run(d, &d->stream);
}

static int in_parts(VkDev *d, VkPiece *p, size_t at, unsigned char *out, const unsigned char *in, size_t n)
{
    int e = 0;
    for (size_t done = 0, k; done < n && !e; done += k) {
        k = n - done < STAGING ? n - done : STAGING;
        if (in)
            memcpy(d->staging.host, in + done, k);
        e = through(d, p, at + done, d->staging.buffer, d->staging.at, k, in != NULL);
        if (out && !e)
            memcpy(out + done, d->staging.host, k);
    }
    return e;
}

/* What is pinned for the device needs no staging buffer. */
static int staged(VkDev *d, VkPiece *p, size_t at, unsigned char *out, const unsigned char *in, size_t n)
{
    VkBuffer pinned;
    size_t place;
    bool whole = vk_pinned(d, in ? in : out, &pinned, &place);
    pthread_mutex_lock(&d->lock);
    int e = staging(d) ? 0 : (int)error_code();
    e = e ? e : whole ? through(d, p, at, pinned, place, n, in) : in_parts(d, p, at, out, in, n);
    pthread_mutex_unlock(&d->lock);
    return e;
}

/* Inside of the device's own memory. */
static int copied(VkDev *d, const VkPiece *to, const VkPiece *from, const Strided *s)
{
    pthread_mutex_lock(&d->lock);
    VkCommandBuffer c = staging(d) ? vk_stream_open(d, &d->stream, once) : NULL;
    for (size_t k = 0; c && k < s->n; k++) {
        const VkBufferCopy r = { from->at + s->from + k * s->from_step, to->at + s->to + k * s->to_step,
            s->bytes };
        d->f.CmdCopyBuffer(c, from->buffer, to->buffer, 1, &r);
    }
    if (c)
        vk_barrier(d, c);
    int e = c ? vk_stream_run(d, &d->stream) : (int)error_code();
    pthread_mutex_unlock(&d->lock);
    return e;
}

int vk_piece_write(VkDev *d, VkPiece *p, size_t at, const void *data, size_t n)
{
    if (!n)
        return 0;
    if (vk_lost(d))
        return error_code();
    if (!p->host)
        return staged(d, p, at, NULL, data, n);
    memcpy(p->host + at, data, n);
    return 0;
}

int vk_piece_read(VkDev *d, VkPiece *p, size_t at, void *out, size_t n)
{
    if (!n)
        return 0;
    if (vk_lost(d))
        return error_code();
    if (!p->host)
        return staged(d, p, at, out, NULL, n);
    memcpy(out, p->host + at, n);
    return 0;
}

/* ==================== arrays */

void vk_mem_used(VkMem *m, uint64_t number, bool writes)
{
    uint64_t before = m->used;
    while (before < number && !atomic_compare_exchange_weak(&m->used, &before, number))
        ;
    if (writes)
        m->written = number;
}

/* Before the host reads it; before it writes. */
static int computed(VkMem *m) { return vk_wait_for((VkDev *)m->base.device, m->written, m->written); }

static int unused(VkMem *m)
{
    VkDev *d = (VkDev *)m->base.device;
    VkResult e = vk_until(d, m->used);
    return !e ? 0 : vk_lost(d) ? (int)error_code() : vk_fails(d, e, "waiting for what uses an array");
}

int vk_wait(Mem *m) { return computed((VkMem *)m); }

/* failed is ready too: waiting will say so */
bool vk_ready(Mem *m) { return !vk_pending((VkDev *)m->device, ((VkMem *)m)->written); }

int vk_copy(Mem *to, Mem *from, const Strided *s)
{
    if (computed((VkMem *)from) || unused((VkMem *)to))
        return error_code();
    return vk_piece_copy((VkDev *)to->device, &((VkMem *)to)->piece, &((VkMem *)from)->piece, s);
}

int vk_piece_copy(VkDev *d, const VkPiece *b, const VkPiece *a, const Strided *s)
{
    if (vk_lost(d))
        return error_code();
    if (!a->host || !b->host)
        return copied(d, b, a, s);
    for (size_t k = 0; k < s->n; k++)
        memcpy(b->host + s->to + k * s->to_step, a->host + s->from + k * s->from_step, s->bytes);
    return 0;
}

static void destroy(VkDev *d, VkMem *m)
{
    m->piece.used = m->used;
    vk_piece_drop(d, &m->piece);
    free(m);
}

void vk_pool_empty(VkDev *d)
{
    for (Mem *m; (m = pool_take(&d->pool, 0)) != NULL || (m = pool_take(&d->pinned, 0)) != NULL;)
        destroy(d, (VkMem *)m);
}

static int allocated(Device *dev, size_t bytes, bool pinned, Mem **out)
{
    VkDev *d = (VkDev *)dev;
    size_t capacity = pool_class(bytes);
    VkMem *m = vk_lost(d) ? NULL : (VkMem *)pool_take(pinned ? &d->pinned : &d->pool, capacity);
    if (!m) {
        if ((m = calloc(1, sizeof *m)) == NULL)
            return error_set(E_NOMEM, "no memory for an array of %zu bytes", bytes);
        m->base.device = dev;
        m->base.capacity = capacity;
        m->pinned = pinned;
        if (!vk_piece(d, capacity, pinned, &m->piece)) {
            free(m);
            return error_code();
        }
        m->used = m->piece.used;
    }
    m->written = 0;
    m->base.refs = 1;
    m->base.bytes = bytes;
    dev->live += !pinned;
    *out = &m->base;
    return 0;
}

int vk_alloc(Device *d, size_t bytes, Mem **out) { return allocated(d, bytes, false, out); }
int vk_pin(Device *d, size_t bytes, Mem **out) { return allocated(d, bytes, true, out); }

void vk_release(Mem *mem)
{
    VkDev *d = (VkDev *)mem->device;
    Pool *pool = ((VkMem *)mem)->pinned ? &d->pinned : &d->pool;
    d->base.live -= pool == &d->pool;
    if (mem->borrowed) {
        free(mem);
        return;
    }
    for (Mem *m = pool_give(pool, mem), *next; m; m = next) {
        next = m->next;
        destroy(d, (VkMem *)m);
    }
}

int vk_write(Mem *mem, size_t offset, const void *data, size_t n)
{
    if (n && unused((VkMem *)mem))
        return error_code();
    return vk_piece_write((VkDev *)mem->device, &((VkMem *)mem)->piece, offset, data, n);
}

int vk_read(Mem *mem, size_t offset, void *out, size_t n)
{
    if (computed((VkMem *)mem))
        return error_code();
    return vk_piece_read((VkDev *)mem->device, &((VkMem *)mem)->piece, offset, out, n);
}
