/*
 * adopt.c - the application's own Vulkan: its device and a queue become a device; a buffer becomes the
 * memory of an array.
 *
 * In:  handles that the application has made, and what it has enabled.   Out: a VkDev on that queue; VkMem
 * that are places in its buffers.
 * Both give work to one queue, behind and in front of barriers of everything: so what the application has
 * given to that queue before a call has ended before the call's kernels begin, and the other way round. Who
 * uses another queue has timeline semaphores: the application's, which the queue waits for, and ours, whose
 * value says that an array is there, and is not read any more.
 */
#include "interop.h"
#include "vk.h"

#include <stdlib.h>
#include <string.h>

/* What has been enabled: a chain of structures, of which those of 1.1 and 1.2, and of the extensions that
 * these took up, say what kernels may use. */
static void enabled(const void *chain, VkFeatures *x)
{
    memset(x, 0, sizeof *x);
    for (const VkBaseInStructure *s = chain; s; s = s->pNext) {
        const void *p = s;
        if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2)
            x->all.features = ((const VkPhysicalDeviceFeatures2 *)p)->features;
        else if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES)
            x->v11 = *(const VkPhysicalDeviceVulkan11Features *)p;
        else if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES)
            x->v12 = *(const VkPhysicalDeviceVulkan12Features *)p;
        else if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES)
            x->v11.storageBuffer16BitAccess =
                ((const VkPhysicalDevice16BitStorageFeatures *)p)->storageBuffer16BitAccess;
        else if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_8BIT_STORAGE_FEATURES)
            x->v12.storageBuffer8BitAccess =
                ((const VkPhysicalDevice8BitStorageFeatures *)p)->storageBuffer8BitAccess;
        else if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES)
            x->v12.shaderInt8 = ((const VkPhysicalDeviceShaderFloat16Int8Features *)p)->shaderInt8;
        else if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES)
            x->v12.timelineSemaphore =
                ((const VkPhysicalDeviceTimelineSemaphoreFeatures *)p)->timelineSemaphore;
        else if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_BUFFER_DEVICE_ADDRESS_FEATURES)
            x->v12.bufferDeviceAddress =
                ((const VkPhysicalDeviceBufferDeviceAddressFeatures *)p)->bufferDeviceAddress;
    }
}

static bool has(const char *const *names, const char *name)
{
    while (names && *names && strcmp(*names, name))
        names++;
    return names && *names;
}

/* A queue family that computes, and what all kernels need. */
static bool fits(const VkDev *d, const VkApp *a, const VkFeatures *x)
{
    VkQueueFamilyProperties q[32];
    VkPhysicalDeviceProperties p;
    uint32_t n = 32;
    d->f.GetPhysicalDeviceProperties(d->physical, &p);
    d->f.GetPhysicalDeviceQueueFamilyProperties(d->physical, &n, q);
    if (a->version < VK_API_VERSION_1_2 || p.apiVersion < VK_API_VERSION_1_2)
        error_set(E_DEVICE, "%s: Vulkan 1.2 is wanted; the application uses %u.%u, and the device has %u.%u",
            d->base.info.name, VK_API_VERSION_MAJOR(a->version), VK_API_VERSION_MINOR(a->version),
            VK_API_VERSION_MAJOR(p.apiVersion), VK_API_VERSION_MINOR(p.apiVersion));
    else if (a->family >= n || !(q[a->family].queueFlags & VK_QUEUE_COMPUTE_BIT))
        error_set(E_INVAL, "%s: queue family %u of %u does not compute", d->base.info.name, a->family, n);
    else if (!x->v12.bufferDeviceAddress || !x->v12.timelineSemaphore)
        error_set(E_INVAL,
            "%s: the device was made without %s, as its features say; both bufferDeviceAddress and "
            "timelineSemaphore are wanted", d->base.info.name,
            x->v12.bufferDeviceAddress ? "timelineSemaphore" : "bufferDeviceAddress");
    return !error_pending();
}

static bool take_over(VkDev *d, const VkApp *a)
{
    PFN_vkGetInstanceProcAddr get = a->get ? (PFN_vkGetInstanceProcAddr)a->get : vk_loader();
    const char *lacks = "no Vulkan loader (libvulkan.so.1): apt install libvulkan1";
    VkFeatures x;
    if (!get || !vk_load(&d->f, a->instance, get, &lacks))
        return error_set(E_DEVICE, "%s", lacks), false;
    enabled(a->features, &x);
    d->physical = a->physical, d->device = a->device, d->queue = a->queue, d->family = a->family;
    d->locks = a->lock, d->user = a->user, d->adopted = true;
    d->budget = has(a->extensions, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    return fits(d, a, &x) && !vk_open(d, &x);
}

Device *vk_adopt(const char *name, const VkApp *a)
{
    VkDev *d = vk_device_new(name);
    if (!d || take_over(d, a))
        return d ? &d->base : NULL;
    vk_close(&d->base);
    return NULL;
}

/* ==================== memory */

/* Where kernels find the buffer; 0 after an error. How large it is Vulkan does not say, only what memory it
 * wants, which may be a little more. */
static uint64_t address_of(VkDev *d, const VkLent *x, size_t bytes)
{
    VkMemoryRequirements need;
    VkBuffer b;
    memcpy(&b, &x->buffer, sizeof b);
    const VkBufferDeviceAddressInfo at = { .sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO,
        .buffer = b };
    d->f.GetBufferMemoryRequirements(d->device, b, &need);
    if (x->offset < SLACK_BYTES || x->offset % PLACES)
        return error_set(E_INVAL,
            "the array begins at byte %zu of the buffer; %s wants a multiple of %d, and %d at least: "
            "kernels read up to %d bytes before and behind an array",
            x->offset, d->base.info.name, PLACES, SLACK_BYTES, SLACK_BYTES), 0;
    if (x->offset > need.size || need.size - x->offset < bytes ||
        need.size - x->offset - bytes < SLACK_BYTES)
        return error_set(E_INVAL,
            "the buffer has %zu bytes; the array of %zu bytes at %zu needs %zu, of which the last %d are "
            "read and not used",
            (size_t)need.size, bytes, x->offset, x->offset + bytes + SLACK_BYTES, SLACK_BYTES), 0;
    const uint64_t address = d->f.GetBufferDeviceAddress(d->device, &at);
    if (!address)
        error_set(E_INVAL, "the buffer has no address: it and its memory are made with "
            "VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT and VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT");
    return address;
}

/* What is given to the queue from here on waits for the application's semaphore. */
static int await(VkDev *d, const VkLent *x, uint64_t *number)
{
    VkWork w = { .value = x->value };
    memcpy(&w.after, &x->semaphore, sizeof w.after);
    return vk_give(d, NULL, &w, number);
}

int vk_borrow(Device *dev, const VkLent *x, size_t bytes, Mem **out)
{
    VkDev *d = (VkDev *)dev;
    uint64_t address = address_of(d, x, bytes), number = 0;
    if (!address || (x->semaphore && await(d, x, &number)))
        return (int)error_code();
    VkMem *m = calloc(1, sizeof *m);
    if (!m)
        return error_set(E_NOMEM, "no memory for an array");
    m->base = (Mem){ .device = dev, .bytes = bytes, .capacity = bytes, .refs = 1, .borrowed = true };
    m->piece = (VkPiece){ .at = x->offset, .address = address + x->offset };
    memcpy(&m->piece.buffer, &x->buffer, sizeof m->piece.buffer);
    m->written = m->used = number;
    dev->live++;
    *out = &m->base;
    return 0;
}

void vk_lend(Mem *mem, VkLent *x)
{
    const VkMem *m = (const VkMem *)mem;
    const VkSemaphore s = ((VkDev *)mem->device)->given.timeline;
    *x = (VkLent){ .offset = m->piece.at, .value = m->used };
    memcpy(&x->buffer, &m->piece.buffer, sizeof m->piece.buffer);
    memcpy(&x->semaphore, &s, sizeof s);
}
