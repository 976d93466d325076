/*
 * memory.c - device memory: buffers with slack at both ends, a pool, transfers.
 *
 * In:  sizes, bytes.   Out: VkMem.
 * Where the device's own memory is seen by the host (processors, integrated graphics) arrays are written and read in
 * place; elsewhere by way of a staging buffer. Calls finish before they return, so an array that somebody holds is
 * always ready. Memory that nobody holds goes to a pool and is handed out again for the same size.
 */
#include "vk.h"

#include <stdlib.h>
#include <string.h>

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

void vk_piece_drop(VkDev *d, VkPiece *p)
{
    if (p->host)
        d->f.UnmapMemory(d->device, p->memory);
    if (p->buffer)
        d->f.DestroyBuffer(d->device, p->buffer, NULL);
    if (p->memory)
        d->f.FreeMemory(d->device, p->memory, NULL);
    memset(p, 0, sizeof *p);
}

static VkResult piece_new(VkDev *d, size_t bytes, int type, bool map, VkPiece *p)
{
    const VkBufferCreateInfo b = { .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
        .size = round_up(bytes, 256) + 2 * SLACK,
        .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT |
            VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT |
            VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT };
    VkMemoryRequirements need;
    VkResult e = d->f.CreateBuffer(d->device, &b, NULL, &p->buffer);
    if (e)
        return e;
    d->f.GetBufferMemoryRequirements(d->device, p->buffer, &need);
    const VkMemoryAllocateFlagsInfo flags = { .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
        .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT };
    const VkMemoryAllocateInfo a = { .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .pNext = &flags,
        .allocationSize = need.size, .memoryTypeIndex = (uint32_t)type };
    if ((e = d->f.AllocateMemory(d->device, &a, NULL, &p->memory)) ||
        (e = d->f.BindBufferMemory(d->device, p->buffer, p->memory, 0)))
        return e;
    const VkBufferDeviceAddressInfo at = { .sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO, .buffer = p->buffer };
    p->address = d->f.GetBufferDeviceAddress(d->device, &at) + SLACK;
    void *host = NULL;
    if (map && (e = d->f.MapMemory(d->device, p->memory, 0, VK_WHOLE_SIZE, 0, &host)) == VK_SUCCESS)
        p->host = (unsigned char *)host + SLACK;
    return e;
}

bool vk_piece(VkDev *d, size_t bytes, bool host, VkPiece *p)
{
    memset(p, 0, sizeof *p);
    if (bytes > d->base.info.max_alloc - 4 * SLACK) {
        error_set(E_NOMEM, "%s: %zu bytes in one piece; its limit is %llu", d->base.info.name, bytes,
            (unsigned long long)d->base.info.max_alloc);
        return false;
    }
    VkResult e = piece_new(d, bytes, host ? d->type_host : d->type_near, host || d->mapped, p);
    if (!e)
        return true;
    vk_piece_drop(d, p);
    char what[96];
    snprintf(what, sizeof what, "%s: %zu bytes", d->base.info.name, bytes);
    vk_fail(e, what);
    return false;
}

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
    const VkBufferCopy r = { write ? SLACK : at + SLACK, write ? at + SLACK : SLACK, n };
    d->f.CmdCopyBuffer(c, write ? d->staging.buffer : p->buffer, write ? p->buffer : d->staging.buffer, 1, &r);
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
    if (!p->host)
        return staged(d, p, at, NULL, data, n);
    memcpy(p->host + at, data, n);
    return 0;
}

int vk_piece_read(VkDev *d, VkPiece *p, size_t at, void *out, size_t n)
{
    if (!n)
        return 0;
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
    VkMem *m = (VkMem *)pool_take(&d->pool, capacity);
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
    if (!pool_give(&d->pool, mem))
        destroy(d, (VkMem *)mem);
}

int vk_write(Mem *mem, size_t offset, const void *data, size_t n)
{
    return vk_piece_write((VkDev *)mem->device, &((VkMem *)mem)->piece, offset, data, n);
}

int vk_read(Mem *mem, size_t offset, void *out, size_t n)
{
    return vk_piece_read((VkDev *)mem->device, &((VkMem *)mem)->piece, offset, out, n);
}
