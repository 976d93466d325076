/*
 * memory.c - arrays in device memory: a pool, transfers.
 *
 * In:  sizes, bytes.   Out: VkMem.
 * Where the device's own memory is seen by the host (processors, integrated graphics) arrays are written and
 * read in place; elsewhere by way of a staging buffer. Calls finish before they return, so an array that
 * somebody holds is always ready. Memory that nobody holds goes to a pool and is handed out again for the
 * same size.
 */
#include "vk.h"

#include <stdlib.h>
#include <string.h>

/* ==================== transfers */

enum { STAGING = 1 << 22 };

static bool staging(VkDev *d)                   /* with the lock held */
{
    if (!d->staging_size && vk_piece(d, STAGING, true, &d->staging))
        d->staging_size = STAGING;
    return d->staging_size && (d->stream.pool || vk_stream_new(d, &d->stream));
}

/* One part, through the staging buffer. */
static int through(VkDev *d, VkPiece *p, size_t at, size_t n, bool write)
{
    VkCommandBuffer c = vk_stream_open(d, &d->stream);
    if (!c)
        return error_code();
    const VkPiece *from = write ? &d->staging : p, *to = write ? p : &d->staging;
    const VkBufferCopy r = { from->at + (write ? 0 : at), to->at + (write ? at : 0), n };
    d->f.CmdCopyBuffer(c, from->buffer, to->buffer, 1, &r);
    vk_barrier(d, c);
    return vk_stream_run(d, &d->stream);
}

static int staged(VkDev *d, VkPiece *p, size_t at, unsigned char *out, const unsigned char *in, size_t n)
{
    pthread_mutex_lock(&d->lock);
    int e = staging(d) ? 0 : (int)error_code();
    for (size_t done = 0, k; done < n && !e; done += k) {
        k = n - done < STAGING ? n - done : STAGING;
        if (in)
            memcpy(d->staging.host, in + done, k);
        e = through(d, p, at + done, k, in != NULL);
        if (out && !e)
            memcpy(out + done, d->staging.host, k);
    }
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

static void destroy(VkDev *d, VkMem *m)
{
    vk_piece_drop(d, &m->piece);
    free(m);
}

void vk_pool_empty(VkDev *d)
{
    for (Mem *m; (m = pool_take(&d->pool, 0)) != NULL;)
        destroy(d, (VkMem *)m);
}

int vk_alloc(Device *dev, size_t bytes, Mem **out)
{
    VkDev *d = (VkDev *)dev;
    size_t capacity = pool_class(bytes);
    VkMem *m = vk_lost(d) ? NULL : (VkMem *)pool_take(&d->pool, capacity);
    if (!m) {
        if ((m = calloc(1, sizeof *m)) == NULL)
            return error_set(E_NOMEM, "no memory for an array of %zu bytes", bytes);
        m->base.device = dev;
        m->base.capacity = capacity;
        if (!vk_piece(d, capacity, false, &m->piece)) {
            free(m);
            return error_code();
        }
    }
    m->base.refs = 1;
    m->base.bytes = bytes;
    *out = &m->base;
    return 0;
}

void vk_release(Mem *mem)
{
    VkDev *d = (VkDev *)mem->device;
    for (Mem *m = pool_give(&d->pool, mem), *next; m; m = next) {
        next = m->next;
        destroy(d, (VkMem *)m);
    }
}

int vk_write(Mem *mem, size_t offset, const void *data, size_t n)
{
    return vk_piece_write((VkDev *)mem->device, &((VkMem *)mem)->piece, offset, data, n);
}

int vk_read(Mem *mem, size_t offset, void *out, size_t n)
{
    return vk_piece_read((VkDev *)mem->device, &((VkMem *)mem)->piece, offset, out, n);
}
