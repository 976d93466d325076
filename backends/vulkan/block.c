/*
 * block.c - device memory in large blocks, cut into pieces: drivers stop at some thousands of allocations.
 *
 * In:  sizes.   Out: pieces with slack at both ends, at addresses that kernels and the host use.
 * A block is an allocation, a buffer over it, and a list of its holes in the order of their places; a piece
 * is cut from the first hole that it fits, and given back it joins its neighbours. Blocks of the device's
 * own memory and of memory that the host sees are apart. What is large has a block of its own. A block that
 * is empty is given back, but for one of each kind.
 * The memory of a lost device is never given back: nobody knows whether it is still written.
 */
#include "vk.h"

#include <stdlib.h>
#include <string.h>

/* a piece above a SHARE-th has its own block */
enum { GRAIN = 256, FIRST = 4 << 20, LARGEST = 64 << 20, SHARE = 4 };

typedef struct Hole { size_t at, n; struct Hole *next; } Hole;

struct VkBlock {
    VkBuffer buffer;
    VkDeviceMemory memory;
    uint64_t address;                           /* of its first byte */
    unsigned char *host;
    size_t size, used;
    bool own, mapped;                           /* of one piece; of memory that the host sees */
    uint64_t until;                             /* pieces given back are in use up to this number */
    Hole *hole;
    VkBlock *next;
};

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

/* ==================== blocks */

/* The record, not the memory. */
static void block_forget(VkBlock *b)
{
    for (Hole *h; (h = b->hole) != NULL; free(h))
        b->hole = h->next;
    free(b);
}

static void block_drop(VkDev *d, VkBlock *b)
{
    vk_until(d, b->until);
    if (d->base.lost) {
        block_forget(b);
        return;
    }
    d->destroyed++;
    d->taken[b->mapped] -= b->size;
    if (b->host)
        d->f.UnmapMemory(d->device, b->memory);
    if (b->buffer)
        d->f.DestroyBuffer(d->device, b->buffer, NULL);
    if (b->memory)
        d->f.FreeMemory(d->device, b->memory, NULL);
    block_forget(b);
}

/* What the application may do with arrays that are given out. */
enum {
    LENT = VK_BUFFER_USAGE_VERTEX_BUFFER_BIT | VK_BUFFER_USAGE_INDEX_BUFFER_BIT |
        VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT | VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT |
        VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT | VK_BUFFER_USAGE_STORAGE_TEXEL_BUFFER_BIT
};

static VkResult block_fill(VkDev *d, VkBlock *b, bool host)
{
    const VkBufferCreateInfo c = { .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .size = b->size,
        .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT |
            VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT |
            VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT | (d->adopted ? LENT : 0) };
    VkMemoryRequirements need;
    VkResult e = VK_DO(d, CreateBuffer, d->device, &c, NULL, &b->buffer);
    if (e)
        return e;
    d->f.GetBufferMemoryRequirements(d->device, b->buffer, &need);
    const VkMemoryAllocateFlagsInfo flags = { .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
        .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT };
    const VkMemoryAllocateInfo a = { .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .pNext = &flags,
        .allocationSize = need.size, .memoryTypeIndex = (uint32_t)(host ? d->type_host : d->type_near) };
    if ((e = VK_DO(d, AllocateMemory, d->device, &a, NULL, &b->memory)) ||
        (e = VK_DO(d, BindBufferMemory, d->device, b->buffer, b->memory, 0)))
        return e;
    const VkBufferDeviceAddressInfo at = { .sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO,
        .buffer = b->buffer };
    if (!(b->address = d->f.GetBufferDeviceAddress(d->device, &at)))
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    void *mapped = NULL;
    if ((host || d->mapped) &&
        !(e = VK_DO(d, MapMemory, d->device, b->memory, 0, VK_WHOLE_SIZE, 0, &mapped)))
        b->host = mapped;
    return e;
}

/* A block, in the list. */
static VkResult block_new(VkDev *d, size_t size, bool own, bool host, VkBlock **out)
{
    VkBlock *b = calloc(1, sizeof *b);
    Hole *all = calloc(1, sizeof *all);
    if (!b || !all)
        return free(b), free(all), VK_ERROR_OUT_OF_HOST_MEMORY;
    b->size = size, b->own = own, b->mapped = host, b->hole = all;
    *all = (Hole){ .n = b->size };
    d->taken[host] += size;
    VkResult e = block_fill(d, b, host);
    if (e)
        return block_drop(d, b), e;
    b->next = d->block[host];
    *out = d->block[host] = b;
    return VK_SUCCESS;
}

/* A block with room for n bytes: larger than the one before, or no larger than that where memory is
 * short. */
static VkResult block_for(VkDev *d, size_t n, bool host, VkBlock **out)
{
    size_t size = d->block_size[host] ? d->block_size[host] : FIRST;
    bool own = n > LARGEST / SHARE;
    while (size < n * SHARE && size < LARGEST)
        size *= 2;
    if (own || size > d->base.info.max_alloc || block_new(d, size, false, host, out))
        return block_new(d, n, own, host, out);
    d->block_size[host] = size < LARGEST ? 2 * size : size;
    return VK_SUCCESS;
}

/* Gives empty blocks back, but for the first `keep` of each kind. */
static void blocks_trim(VkDev *d, int keep)
{
    for (int host = 0; host < 2; host++) {
        int empty = 0;
        for (VkBlock **at = &d->block[host], *b; (b = *at) != NULL;) {
            if (b->used || (!b->own && empty++ < keep)) {
                at = &b->next;
                continue;
            }
            *at = b->next;
            block_drop(d, b);
        }
    }
}

void vk_blocks_drop(VkDev *d)
{
    pthread_mutex_lock(&d->block_lock);
    blocks_trim(d, 0);
    pthread_mutex_unlock(&d->block_lock);
}

void vk_blocks_forget(VkDev *d)
{
    for (int host = 0; host < 2; host++)
        for (VkBlock *b; (b = d->block[host]) != NULL; block_forget(b))
            d->block[host] = b->next;
}

/* ==================== pieces */

static bool cut(VkBlock *b, size_t n, size_t *place)
{
    for (Hole **at = &b->hole, *h; b->size - b->used >= n && (h = *at) != NULL; at = &h->next) {
        if (h->n < n)
            continue;
        *place = h->at;
        h->at += n, h->n -= n;
        b->used += n;
        if (!h->n)
            *at = h->next, free(h);
        return true;
    }
    return false;
}

static VkResult piece_new(VkDev *d, size_t n, bool host, VkPiece *p)
{
    VkBlock *b = d->block[host];
    size_t at = 0;
    while (b && (b->own || n > LARGEST / SHARE || !cut(b, n, &at)))
        b = b->next;
    if (!b) {
        VkResult e = block_for(d, n, host, &b);
        if (e)
            return e;
        cut(b, n, &at);
    }
    *p = (VkPiece){ .block = b,
        .size = n,
        .buffer = b->buffer,
        .at = at + SLACK_BYTES,
        .address = b->address + at + SLACK_BYTES,
        .host = b->host ? b->host + at + SLACK_BYTES : NULL,
        .used = b->until };
    return VK_SUCCESS;
}

/* What the heap of that kind of memory has; and what is left of what this process should take of it, with
 * what others have: where the driver says so. */
static bool budget(VkDev *d, bool host, uint64_t *size, uint64_t *left)
{
    VkPhysicalDeviceMemoryBudgetPropertiesEXT b = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT
    };
    VkPhysicalDeviceMemoryProperties2 m = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
        .pNext = d->budget ? &b : NULL };
    d->f.GetPhysicalDeviceMemoryProperties2(d->physical, &m);
    const uint32_t heap =
        m.memoryProperties.memoryTypes[host ? d->type_host : d->type_near].heapIndex;
    *size = m.memoryProperties.memoryHeaps[heap].size;
    *left = b.heapBudget[heap] > b.heapUsage[heap] ? b.heapBudget[heap] - b.heapUsage[heap] : 0;
    return d->budget;
}

/* Who wants it, how much there is, and who has it. */
static void no_room(VkDev *d, VkResult e, size_t bytes, bool host)
{
    enum { GIB = 1 << 30 };
    uint64_t size, left;
    char what[400], budgeted[64] = "";
    Loc loc;
    const char *kernel = replay_wants(&loc);
    if (budget(d, host, &size, &left))
        snprintf(budgeted, sizeof budgeted, ", of which %.3f GiB are left", (double)left / GIB);
    snprintf(what, sizeof what,
        "%s: %zu bytes (%.3f GiB)%s%s; its memory is %.3f GiB%s, and arrays and programs of this process "
        "have %.3f GiB", d->base.info.name, bytes, (double)bytes / GIB, kernel ? " for the result of " : "",
        kernel ? kernel : "", (double)size / GIB, budgeted, (double)d->taken[host] / GIB);
    loc = loc_set(loc);
    vk_fail(e, what);
    loc_set(loc);
}

/* What the driver would take from elsewhere is asked for after what the pool holds has been given back. */
static bool over_budget(VkDev *d, size_t bytes, bool host)
{
    uint64_t size, left;
    return d->budget && bytes > LARGEST / SHARE && budget(d, host, &size, &left) && bytes > left;
}

bool vk_piece(VkDev *d, size_t bytes, bool host, VkPiece *p)
{
    memset(p, 0, sizeof *p);
    if (bytes > d->base.info.max_alloc - 4 * SLACK_BYTES) {
        too_large(&d->base, bytes);
        return false;
    }
    if (vk_lost(d))
        return false;
    size_t n = round_up(bytes, GRAIN) + 2 * SLACK_BYTES;
    VkResult e = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    if (!over_budget(d, n, host)) {
        pthread_mutex_lock(&d->block_lock);
        e = piece_new(d, n, host, p);
        pthread_mutex_unlock(&d->block_lock);
    }
    if (e) {                                    /* what the pool holds may be enough */
        vk_pool_empty(d);
        pthread_mutex_lock(&d->block_lock);
        blocks_trim(d, 0);
        e = piece_new(d, n, host, p);
        pthread_mutex_unlock(&d->block_lock);
    }
    if (!e)
        return true;
    no_room(d, e, bytes, host);
    return false;
}

bool vk_pinned(VkDev *d, const void *bytes, VkBuffer *buffer, size_t *at)
{
    const uintptr_t p = (uintptr_t)bytes;
    pthread_mutex_lock(&d->block_lock);
    const VkBlock *b = d->block[true];
    while (b && !(p >= (uintptr_t)b->host && p - (uintptr_t)b->host < b->size))
        b = b->next;
    if (b)
        *buffer = b->buffer, *at = p - (uintptr_t)b->host;
    pthread_mutex_unlock(&d->block_lock);
    return b;
}

/* The place becomes a hole, and one with the holes beside it. Without memory for a hole it is lost until the
 * block is empty. */
static void give_back(VkBlock *b, size_t at, size_t n)
{
    Hole **to = &b->hole;
    while (*to && (*to)->at + (*to)->n < at)
        to = &(*to)->next;
    Hole *h = *to;
    if (h && h->at + h->n == at)
        h->n += n;
    else if (h && at + n == h->at)
        h->at = at, h->n += n;
    else if ((h = malloc(sizeof *h)) != NULL)
        *h = (Hole){ at, n, *to }, *to = h;
    else
        return;
    Hole *next = h->next;
    if (next && h->at + h->n == next->at)
        h->n += next->n, h->next = next->next, free(next);
}

void vk_piece_drop(VkDev *d, VkPiece *p)
{
    VkBlock *b = p->block;
    if (b && !d->base.lost) {
        pthread_mutex_lock(&d->block_lock);
        give_back(b, p->at - SLACK_BYTES, p->size);
        b->until = p->used > b->until ? p->used : b->until;
        b->used -= p->size;
        if (!b->used)
            blocks_trim(d, 1);
        pthread_mutex_unlock(&d->block_lock);
    }
    memset(p, 0, sizeof *p);
}
