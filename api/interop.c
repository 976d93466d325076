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
