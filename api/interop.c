/*
 * interop.c - the application's own objects: its context and queue as a device, its memory as an array.
 *
 * In:  handles that it has made.   Out: devices by names that it gives; arrays without a copy, and where
 * arrays of such a device lie.
 * Invariant: a device goes only when nothing of ours is on it: no array, no program that runs, no mesh.
 */
#include "api.h"
#include "interop.h"
#include <stdlib.h>
#include <string.h>

/* What a backend of this kind can do with the application's objects is asked of its devices only. */
static Device *own_device(const char *what, const char *name)
{
    Device *d = name ? device_added(name) : NULL;
    if (!d)
        error_set(E_DEVICE, "%s: there is no device \"%s\" that the application has added", what,
            name ? name : "(null)");
    return d;
}

static int add(Device *d)
{
    int e = d ? device_add(d) : (int)error_code();
    if (d && e)
        d->backend->close(d);
    return e;
}

int hd_opencl_device(const char *name, struct _cl_context *context, struct _cl_device_id *device,
    struct _cl_command_queue *queue)
{
    OP(hd_opencl_device);
    error_begin();
    const ClApp a = { context, device, queue };
    if (process_usable())
        return error_told((int)error_code());
    if (!name || !context || !device || !queue)
        return error_told(error_set(E_INVAL,
            "hd_opencl_device: a name, a context, a device and a command queue are wanted; one is NULL"));
    if (!device_nameable(name))
        return error_told((int)error_code());
    return error_told(add(ocl_adopt(name, &a)));
}

int hd_vulkan_device(const char *name, const hd_vulkan_app *a)
{
    OP(hd_vulkan_device);
    error_begin();
    if (process_usable())
        return error_told((int)error_code());
    if (!name || !a || !a->instance || !a->physical_device || !a->device || !a->queue || !a->features)
        return error_told(error_set(E_INVAL,
            "hd_vulkan_device: a name, an instance, a physical device, a device, a queue and the features "
            "that the device was made with are wanted; one is NULL"));
    if (!device_nameable(name))
        return error_told((int)error_code());
    const VkApp app = { .instance = a->instance, .physical = a->physical_device, .device = a->device,
        .queue = a->queue, .family = a->queue_family, .version = a->api_version, .features = a->features,
        .extensions = a->extensions, .lock = a->lock, .user = a->user,
        .get = (void (*(*)(void *, const char *))(void))a->get_instance_proc_addr };
    return error_told(add(vk_adopt(name, &app)));
}

/* ==================== removing */

static const Device *leaving;                   /* under front_lock */

/* Programs over several devices go as well: whether it is one of them is not worth knowing. */
static bool on_leaving(const Kept *k)
{
    const Program *p = (const Program *)k;
    return p->device == leaving || p->spread;
}

int hd_device_remove(const char *name)
{
    OP(hd_device_remove);
    error_begin();
    if (process_usable())
        return error_told((int)error_code());
    Device *d = own_device("hd_device_remove", name);
    if (!d)
        return error_told((int)error_code());
    if (mesh_names(d))
        return error_told(error_set(E_INVAL,
            "hd_device_remove: a mesh of hd_mesh_new names %s, and meshes stay until the program ends",
            name));
    pthread_mutex_lock(&front_lock);
    leaving = d;
    kept_sweep(PROGRAMS, on_leaving);
    pthread_mutex_unlock(&front_lock);
    return error_told(device_remove(name));
}

/* ==================== arrays */

hd_array *hd_array_from_cl(const char *device, enum hd_dtype dtype, hd_ints shape, struct _cl_mem *memory,
    size_t offset, struct _cl_event *after)
{
    OP(hd_array_from_cl);
    error_begin();
    Type t;
    Mem *m = NULL;
    const ClMemory x = { memory, offset, after };
    Device *d = process_usable() ? NULL : own_device("hd_array_from_cl", device);
    if (!d || array_type("hd_array_from_cl", dtype, shape, &t))
        return NULL;
    if (d->backend != &opencl_backend)
        return error_set(E_DEVICE, "hd_array_from_cl: %s is no device of OpenCL's", device), NULL;
    if (!memory)
        return error_set(E_INVAL, "hd_array_from_cl: the buffer is NULL"), NULL;
    if (ocl_borrow(d, &x, type_bytes(&t), &m))
        return NULL;
    Store *s = store_new(type_bytes(&t), NULL, m);
    return s ? array_leaf(&t, s) : NULL;
}

/* The memory of an array that is on a device of the application's. NULL after an error. */
static Mem *memory_of(const char *what, const hd_array *a, const Backend *kind)
{
    if (!a || !array_alive(what, 0, a))
        return NULL;
    Device *d = a->store ? store_device(a->store) : NULL;
    if (d && d->backend == kind && device_added(d->info.name) == d)
        return store_on(a->store, d, false);
    error_set(E_DEVICE,
        "%s: the array is %s, and not on a device that the application has added: hd_put it there", what,
        a->tree ? "a tree" : d ? d->info.name : "in the host's memory");
    return NULL;
}

struct _cl_mem *hd_array_cl_mem(const hd_array *a, size_t *offset)
{
    OP(hd_array_cl_mem);
    error_begin();
    ClMemory x = { 0 };
    Mem *m = memory_of("hd_array_cl_mem", a, &opencl_backend);
    int e = m ? ocl_lend(m, &x) : (int)error_code();
    mem_drop(m);
    if (!e && !offset && x.offset)
        e = error_set(
            E_INVAL, "hd_array_cl_mem: the array begins at byte %zu: offset may not be NULL", x.offset);
    if (!e && offset)
        *offset = x.offset;
    return e ? NULL : x.memory;
}

struct _cl_event *hd_array_cl_done(const hd_array *a)
{
    OP(hd_array_cl_done);
    error_begin();
    void *event = NULL;
    Mem *m = memory_of("hd_array_cl_done", a, &opencl_backend);
    if (m && ocl_done(m, &event))
        event = NULL;
    mem_drop(m);
    return event;
}

/* ==================== of Vulkan's: handles are pointers, or numbers where pointers are short */

/* A place in a buffer, and when it may be read: hence the parameters. */
hd_array *hd_array_from_vk(const char *device, enum hd_dtype dtype, hd_ints shape, hd_vk_buffer buffer,
    uint64_t offset, hd_vk_semaphore after, uint64_t value)
{
    OP(hd_array_from_vk);
    error_begin();
    Type t;
    Mem *m = NULL;
    VkLent x = { .offset = (size_t)offset, .value = value };
    Device *d = process_usable() ? NULL : own_device("hd_array_from_vk", device);
    if (!d || array_type("hd_array_from_vk", dtype, shape, &t))
        return NULL;
    memcpy(&x.buffer, &buffer, sizeof buffer), memcpy(&x.semaphore, &after, sizeof after);
    if (d->backend->kind != vulkan_backend.kind)
        return error_set(E_DEVICE, "hd_array_from_vk: %s is no device of Vulkan's", device), NULL;
    if (!buffer)
        return error_set(E_INVAL, "hd_array_from_vk: the buffer is NULL"), NULL;
    if (vk_borrow(d, &x, type_bytes(&t), &m))
        return NULL;
    Store *s = store_new(type_bytes(&t), NULL, m);
    return s ? array_leaf(&t, s) : NULL;
}

/* Where it is, and when all that was begun with it has ended. */
static bool lent(const char *what, const hd_array *a, VkLent *x)
{
    Mem *m = memory_of(what, a, &vulkan_backend);
    if (m)
        vk_lend(m, x);
    mem_drop(m);
    return m;
}

hd_vk_buffer hd_array_vk_buffer(const hd_array *a, uint64_t *offset)
{
    OP(hd_array_vk_buffer);
    error_begin();
    hd_vk_buffer b = 0;
    VkLent x;
    if (!lent("hd_array_vk_buffer", a, &x))
        return b;
    if (!offset)
        return error_set(E_INVAL, "hd_array_vk_buffer: the array begins at byte %zu: offset may not be NULL",
            x.offset), b;
    *offset = x.offset;
    memcpy(&b, &x.buffer, sizeof b);
    return b;
}

hd_vk_semaphore hd_array_vk_done(const hd_array *a, uint64_t *value)
{
    OP(hd_array_vk_done);
    error_begin();
    hd_vk_semaphore s = 0;
    VkLent x;
    if (!lent("hd_array_vk_done", a, &x))
        return s;
    if (!value)
        return error_set(E_INVAL, "hd_array_vk_done: a place for the semaphore's value is wanted"), s;
    *value = x.value;
    memcpy(&s, &x.semaphore, sizeof s);
    return s;
}
